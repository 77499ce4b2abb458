"""Maps: every point at a place in a few dimensions, so that neighbours stay neighbours.

Knows the neighbour graph and the layout; knows nothing of clusters, colours or pictures.
The layout is UMAP (McInnes, Healy and Melville 2018): umap-learn weighs the edges of the graph
that every other stage reads, `layout` moves the points. Both are compiled anew in every process,
seconds before the first map, so umap-learn is imported only when one is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadEmbeddings, EmptyGraph
from curator.index import IndexSpec, knn_graph, listed_search
from curator.layout import lay_out

TOO_FEW = 10  # below this many points a graph layout says nothing that PCA does not
EXTENT = 10.0  # side of the square the layout starts in
ANCHORS = 5  # placed points that a point outside the sample is placed between
PCA_ROWS = 20_000  # rows that shape the principal axes; more do not turn them visibly
BLOCK_ROWS = 16_384
PLACED_ROWS = 131_072  # placed together: the lists of the sample are made anew for each so many
LISTED_ABOVE = 10_000  # points of a sample whose graph is made by lists: 3 s instead of 28 for 50,000, the map as good
NEAR = IndexSpec(min_recall=0.9, sample=100)  # between which points a point lies need not be known exactly
ROUNDING = 1e-6  # a cosine this close to 1 is 1: below it float32 holds only rounding


def umap_map(
    vectors: FloatArray,
    neighbors: Neighbors,
    *,
    n_dims: int = 2,
    seed: int = 0,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    epochs: int = 200,
    sample_up_to: int = 100_000,
    threads: int = 1,
    progress: Progress = no_progress,
) -> FloatArray:
    """Lay the neighbour graph out in `n_dims` dimensions by UMAP, starting from PCA.

    Up to `sample_up_to` points all are laid out. Above, a random sample is, on a graph of its
    own, and every other point is placed between its 5 nearest sampled points, weighted by
    inverse distance: a far cheaper placement than optimising each new point. A point that
    shares no edge with any other is placed in the same way.

    Args:
        vectors: (n, d), each of length 1.
        neighbors: graph over the same n points; missing neighbours (-1) are passed over.
        n_neighbors: size of the neighbourhood kept together, the point itself counted. More
            shows larger structure, fewer finer. No more than the graph holds are used.
        min_dist: how close points may lie, in units of the layout; 0 for clustering, 0.1 for looking.
        epochs: passes over the edges.
        threads: of the searches that place points outside the sample; the layout itself runs on
            one, since only then does a seed fix it.

    Returns:
        (n, n_dims) float32, no unit, comparable within one map only. The same for the same
        arguments. Fewer than 10 points are placed by PCA.

    Raises:
        BadEmbeddings: graph and vectors are of different length.
        EmptyGraph: 10 points or more and not one edge.
    """
    n = len(vectors)
    if len(neighbors) != n:
        raise BadEmbeddings(f"{n} vectors but a neighbour graph over {len(neighbors)}; build the graph again")
    if n < TOO_FEW:
        return pca_map(vectors, n_dims)
    k = max(n_neighbors - 1, 1)
    rng = np.random.default_rng(seed)
    sample, graph = np.arange(n), neighbors
    if n > sample_up_to:
        sample = np.sort(rng.choice(n, size=max(sample_up_to, TOO_FEW), replace=False))  # (s,)
        graph = knn_graph(vectors[sample], k, IndexSpec(threads=threads, seed=seed, flat_up_to=LISTED_ABOVE))
    start = _start(pca_map(vectors, n_dims)[sample], rng)
    placed = _layout(start, graph, k, min_dist, epochs, rng, progress)  # (s, n_dims)
    is_placed = np.isfinite(placed).all(axis=1)  # (s,)
    return _extend(vectors, sample[is_placed], placed[is_placed], threads, progress)


def extend_map(
    vectors: FloatArray, placed: FloatArray, *, threads: int = 1, progress: Progress = no_progress
) -> FloatArray:
    """Place appended points on a map there is; nobody else moves.

    Each new point goes between its 5 nearest placed ones, weighted by inverse distance: what
    `umap_map` does with points outside its sample. What resembles nothing on the map lands between
    whatever is least unlike it, so a map that has grown much is better laid out anew.

    Args:
        vectors: (n, d), each of length 1: those of the placed points first, then the new.
        placed: (m, n_dims) the map of the first m points.
        threads: of the search for the nearest.

    Returns:
        (n, n_dims) float32, the first m rows those of `placed`.

    Raises:
        BadEmbeddings: more points placed than there are vectors, or none.
    """
    if not 0 < len(placed) <= len(vectors):
        raise BadEmbeddings(
            f"a map of {len(placed)} points cannot be extended to {len(vectors)} vectors; expected 1 to "
            f"{len(vectors)} placed points: make the map again"
        )
    return _extend(vectors, np.arange(len(placed)), placed, threads, progress)


def pca_map(vectors: FloatArray, n_dims: int, *, n_shaping: int | None = None) -> FloatArray:
    """Project on the directions of largest variance.

    The axes come from at most 20,000 evenly spaced rows. Each axis points to the side of its
    largest loading, so equal input gives an equal map; axes beyond the rank are zero.

    Args:
        n_shaping: mean and axes come from the first so many points, as if there were no others;
            none: from all.

    Returns:
        (n, n_dims) float32, in units of the vectors, centred on the mean.
    """
    n = len(vectors)
    shaping = vectors[:n_shaping]
    step = max(1, -(-len(shaping) // PCA_ROWS))
    rows = shaping[::step].astype(np.float64)  # (m, d); float64, so threads of the BLAS do not show
    mean = rows.mean(axis=0) if len(rows) else np.zeros(vectors.shape[1])
    axes = _principal_axes(rows - mean, n_dims)  # (d, n_dims)
    projected = np.zeros((n, n_dims), np.float32)
    for start in range(0, n, BLOCK_ROWS):
        projected[start : start + BLOCK_ROWS] = (vectors[start : start + BLOCK_ROWS] - mean) @ axes
    return projected


def neighbour_preservation(points: FloatArray, neighbors: Neighbors, *, k: int = 15) -> float:
    """Share of the graph's neighbours that are still neighbours on the map.

    Args:
        points: (n, n_dims) the map.
        neighbors: graph over the same n points.
        k: neighbours compared per point, at most as many as the graph holds.

    Returns:
        0 to 1; a random map scores about k / n. 1.0 where there is no neighbour to lose.
    """
    from scipy.spatial import cKDTree

    n, k = len(points), min(k, neighbors.k, len(points) - 1)
    true = neighbors.positions[:, : max(k, 0)]  # (n, k)
    if k < 1 or not (true >= 0).any():
        return 1.0
    _, near = cKDTree(points).query(points, k=k + 1)  # (n, k + 1)
    is_self = near == np.arange(n)[:, None]
    is_self[~is_self.any(axis=1), -1] = True  # lost among exact copies: the farthest goes instead
    near = near[~is_self].reshape(n, k)
    kept = (true[:, :, None] == near[:, None, :]).any(axis=2)  # (n, k)
    return float(kept[true >= 0].mean())


def _principal_axes(centred: NDArray[np.float64], n_dims: int) -> NDArray[np.float64]:
    """(d, n_dims) unit axes of largest variance first; zero columns beyond the rank."""
    from scipy.linalg import eigh

    m, d = centred.shape
    axes = np.zeros((d, n_dims))
    wanted = min(n_dims, m, d)
    if wanted == 0:
        return axes
    is_wide = m < d  # the smaller of the two square matrices has the same spectrum
    square = centred @ centred.T if is_wide else centred.T @ centred
    size = len(square)
    values, found = eigh(square, subset_by_index=(size - wanted, size - 1))
    values, found = values[::-1], found[:, ::-1]  # largest first
    if is_wide:
        found = centred.T @ found
    lengths = np.linalg.norm(found, axis=0)
    is_real = (values > 1e-12 * max(float(np.trace(square)), 1e-300)) & (lengths > 0)
    found = found[:, is_real] / lengths[is_real]
    largest = np.abs(found).argmax(axis=0)
    axes[:, : found.shape[1]] = found * np.sign(found[largest, np.arange(found.shape[1])])
    return axes


def _start(projected: FloatArray, rng: np.random.Generator) -> FloatArray:
    """PCA stretched to 0..EXTENT on every axis, exact copies set a hair apart."""
    low, high = projected.min(axis=0), projected.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    start = np.round(EXTENT * (projected - low) / spread, 4)  # rounded: the last bits depend on the BLAS
    placed: FloatArray = (start + rng.normal(scale=1e-4, size=start.shape)).astype(np.float32)
    return placed


def _layout(
    start: FloatArray,
    neighbors: Neighbors,
    k: int,
    min_dist: float,
    epochs: int,
    rng: np.random.Generator,
    progress: Progress,
) -> FloatArray:
    """Optimise all points together, (n, n_dims); a point that neither knows nor is known by any is nan."""
    n, positions = len(start), neighbors.positions[:, :k]  # (n, k)
    is_there = positions >= 0
    if not is_there.any():
        raise EmptyGraph(f"a map needs neighbours, and {n} points have none; set index.neighbors >= 1")
    distance = np.where(is_there, 1.0 - neighbors.similarity[:, :k], 0.0)  # (n, k) cosine
    distance[distance < ROUNDING] = 0.0
    # umap-learn makes no edge to -1 but reads its distance; an infinite one would level the weights of its row
    distance = np.where(is_there, distance, distance.max(axis=1, keepdims=True))
    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore")  # the package's own, about libraries it could use
        from umap.umap_ import find_ab_params, fuzzy_simplicial_set

        graph, _, _ = fuzzy_simplicial_set(
            start,  # read for its length alone: the neighbours are given
            positions.shape[1] + 1,  # the point itself counts
            random_state=None,
            metric="cosine",
            knn_indices=np.column_stack([np.arange(n), positions]).astype(np.int32),
            knn_dists=np.column_stack([np.zeros(n), distance]).astype(np.float32),
        )
        a, b = find_ab_params(1.0, min_dist)
    edges = graph.tocsr().tocoo()  # by head
    is_followed = edges.data * epochs >= edges.data.max()  # the others would not be in any epoch
    heads, tails = edges.row[is_followed].astype(np.int32), edges.col[is_followed].astype(np.int32)
    weights = edges.data[is_followed].astype(np.float32)
    seed = int(rng.integers(2**32))
    placed = lay_out(start, heads, tails, weights, a=a, b=b, epochs=epochs, seed=seed, progress=progress)
    placed[np.bincount(edges.row, minlength=n) == 0] = np.nan
    return placed


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums that umap-learn takes in parallel round differently with every number of threads."""
    from numba import get_num_threads, set_num_threads

    before = get_num_threads()
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


def _extend(vectors: FloatArray, sample: IntArray, placed: FloatArray, threads: int, progress: Progress) -> FloatArray:
    """Every point: those of `sample` where they were placed, the others between their nearest."""
    n = len(vectors)
    points = np.empty((n, placed.shape[1]), np.float32)
    points[sample] = placed
    is_rest = np.ones(n, bool)
    is_rest[sample] = False
    rest = np.flatnonzero(is_rest)
    sampled = vectors[_run(sample)]
    for start in range(0, len(rest), PLACED_ROWS):
        block = _run(rest[start : start + PLACED_ROWS])
        spec = replace(NEAR, threads=threads)
        near, similarity, _ = listed_search(vectors[block], sampled, min(ANCHORS, len(sample)), spec)
        weight = 1.0 / np.maximum(1.0 - similarity, ROUNDING)  # (b, 5): a copy lands on its original
        weight /= weight.sum(axis=1, keepdims=True)
        points[block] = np.einsum("bk,bkd->bd", weight, placed[near])
        progress("map: placing the rest", min(start + PLACED_ROWS, len(rest)), len(rest))
    return points


def _run(positions: IntArray) -> IntArray | slice:
    """Ascending positions as a slice where none is left out: taking it copies nothing."""
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last - first + 1 == len(positions) else positions
