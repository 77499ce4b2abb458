"""The kNN graph: who is nearest to whom, once for the whole set.

Exact up to `IndexSpec.flat_up_to` vectors and wherever a GPU or a missing faiss makes that the
plain choice; above, list against list.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from curator.data import FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import UsageError
from curator.index.exact import ALMOST, BLOCK, check_unit, choose_backend, exact_search, in_order, measure_recall, top_k
from curator.index.spec import IndexSpec, find_faiss, in_threads, limited_threads

MARGIN = 0.01  # lists are chosen for this much more than the asked recall: the sample they are chosen on is small
POINTS_PER_LIST = 64  # k-means sees this many vectors per list; more moves the recall by less than 0.01


def knn_graph(
    vectors: FloatArray, k: int, spec: IndexSpec | None = None, *, progress: Progress = no_progress
) -> Neighbors:
    """The k nearest neighbours of every vector, itself left out even where exact copies exist.

    Above `flat_up_to` vectors: k-means lists, and each list against the p lists nearest to it in
    one GEMM. p is read off a sample whose true neighbours are known, the recall measured on
    another; below the floor p doubles, and past half of all lists the search is exact.

    Args:
        vectors: (n, d) float32 of length 1.
        k: neighbours per vector; where n - 1 < k the rest is padded with -1.
        spec: floor of the recall, threads, device; the defaults of `IndexSpec` where none is given.

    Raises:
        BadEmbeddings: the vectors are not (n, d), or not of length 1.
        UsageError: k < 1.
    """
    spec = spec or IndexSpec()
    if k < 1:
        raise UsageError(f"k is {k}; a neighbour graph needs at least 1 neighbour per vector")
    vectors = check_unit(vectors)
    faiss = find_faiss()
    backend = choose_backend(spec.device, n_products=len(vectors) * vectors.size)
    is_exact = spec.kind == "flat" or len(vectors) <= spec.flat_up_to or backend != "faiss" or spec.min_recall == 1.0
    if is_exact or faiss is None:
        return _exact_graph(vectors, k, spec, progress=progress)
    return _list_graph(vectors, k, spec, faiss=faiss, progress=progress)


def without_self(positions: IntArray, similarity: FloatArray, own: IntArray) -> tuple[IntArray, FloatArray]:
    """Drop each row's own position from k + 1 neighbours, or its last one where it is not among them."""
    drop = positions == own[:, None]  # (m, k + 1)
    drop[~drop.any(axis=1), -1] = True  # more copies than k: the row itself was crowded out
    shape = (len(positions), positions.shape[1] - 1)
    return positions[~drop].reshape(shape), similarity[~drop].reshape(shape)


@dataclass(frozen=True, slots=True)
class Lists:
    """The vectors divided among k-means centres."""

    centres: FloatArray  # (c, d) of length 1
    of: IntArray  # (n,) list of each vector
    members: IntArray  # (n,) positions, list after list, ascending within one
    starts: IntArray  # (c + 1,) where each list begins in `members`

    def __len__(self) -> int:
        return len(self.centres)

    def positions(self, which: IntArray) -> IntArray:
        """Positions of the vectors of all lists in `which`."""
        return np.concatenate([self.members[self.starts[i] : self.starts[i + 1]] for i in which])


def make_lists(vectors: FloatArray, n_lists: int, *, seed: int, faiss: ModuleType) -> Lists:
    """Spherical k-means on a sample, then every vector to its nearest centre."""
    means = faiss.Kmeans(
        vectors.shape[1],
        n_lists,
        niter=8,
        spherical=True,
        seed=seed,
        max_points_per_centroid=POINTS_PER_LIST,
        min_points_per_centroid=1,  # faiss would print a warning below 39
    )
    means.train(vectors)
    of = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), 65_536):
        of[start : start + 65_536] = means.index.search(vectors[start : start + 65_536], 1)[1][:, 0]
    members = np.argsort(of, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n_lists))])
    return Lists(means.centroids, of, members, starts.astype(np.int64))


def _exact_graph(vectors: FloatArray, k: int, spec: IndexSpec, *, progress: Progress) -> Neighbors:
    near = exact_search(vectors, vectors, k + 1, threads=spec.threads, device=spec.device, progress=progress)
    return Neighbors(*without_self(*near, np.arange(len(vectors))), recall=1.0)


def _list_graph(vectors: FloatArray, k: int, spec: IndexSpec, *, faiss: ModuleType, progress: Progress) -> Neighbors:
    rng = np.random.default_rng(spec.seed)
    with limited_threads(spec.threads):
        lists = make_lists(vectors, int(2 * len(vectors) ** 0.5), seed=spec.seed, faiss=faiss)
    among = lists.centres @ lists.centres.T  # (c, c)
    np.fill_diagonal(among, np.inf)  # each list is nearest to itself, even beside an equal one
    near = np.argsort(-among, axis=1, kind="stable")  # (c, c)
    drawn = rng.permutation(len(vectors))
    check, probe = np.sort(drawn[: spec.sample]), np.sort(drawn[spec.sample :][: spec.sample // 2 + 1])
    width = _width_for(lists, near, probe, _truth(vectors, probe, k, spec)[0], recall=spec.min_recall + MARGIN)
    truth = _truth(vectors, check, k, spec)[1]
    while width <= len(lists) // 2:
        positions, similarity = _join_lists(vectors, k, lists, near[:, :width], threads=spec.threads, progress=progress)
        recall = measure_recall(similarity[check], truth)
        if recall >= spec.min_recall:
            return Neighbors(positions, similarity, min(recall, ALMOST))
        width *= 2
    return _exact_graph(vectors, k, spec, progress=progress)


def _truth(vectors: FloatArray, sample: IntArray, k: int, spec: IndexSpec) -> tuple[IntArray, FloatArray]:
    near = exact_search(vectors[sample], vectors, k + 1, threads=spec.threads, device=spec.device)
    return without_self(*near, sample)


def _width_for(lists: Lists, near: IntArray, sample: IntArray, truth: IntArray, *, recall: float) -> int:
    """How many nearest lists must be joined so that this share of the sample's true neighbours lies in them.

    A neighbour is found when its list is among those joined with the sample's own, so the share
    follows from the lists alone: no trial search.
    """
    rank = np.empty_like(near)  # (c, c): how near list j is to list i, 0 for itself
    np.put_along_axis(rank, near, np.arange(len(lists))[None, :], axis=1)
    at = rank[np.repeat(lists.of[sample], truth.shape[1]), lists.of[truth.ravel()]]
    found = np.cumsum(np.bincount(at, minlength=len(lists))) / len(at)
    return int(np.searchsorted(found, recall)) + 1


def _join_lists(
    vectors: FloatArray, k: int, lists: Lists, near: IntArray, *, threads: int | None, progress: Progress
) -> tuple[IntArray, FloatArray]:
    """Nearest k of each vector among its list's nearest lists, `near` (c, p)."""
    positions = np.full((len(vectors), k), -1, np.int64)
    similarity = np.full((len(vectors), k), -1.0, np.float32)

    def join(i: int) -> int:
        own = lists.positions(near[i, :1])
        others = lists.positions(near[i])
        found = min(k + 1, len(others))
        for start in range(0, len(own), BLOCK):
            rows = own[start : start + BLOCK]
            at, scores = top_k(vectors[rows] @ vectors[others].T, found)
            nearest = without_self(*in_order(others[at], scores), rows)
            positions[rows, : found - 1], similarity[rows, : found - 1] = nearest
        return len(own)

    done = 0
    filled = np.flatnonzero(np.diff(lists.starts))
    for n_points in in_threads(join, filled.tolist(), threads=threads):
        done += n_points
        progress("neighbours", done, len(vectors))
    return positions, similarity
