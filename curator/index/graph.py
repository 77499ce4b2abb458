"""The kNN graph: who is nearest to whom, once for the whole set.

Exact up to `IndexSpec.flat_up_to` vectors and wherever a GPU makes that the plain choice; above,
list against list.
"""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import UsageError
from curator.index.exact import ALMOST, check_unit, choose_backend, exact_search, measure_recall
from curator.index.joined import Sample, attempts, chosen_reach, join_lists
from curator.index.lists import make_lists
from curator.index.spec import IndexSpec, limited_threads


def knn_graph(
    vectors: FloatArray, k: int, spec: IndexSpec | None = None, *, progress: Progress = no_progress
) -> Neighbors:
    """The k nearest neighbours of every vector, itself left out even where exact copies exist.

    Above `flat_up_to` vectors: k-means lists, and each vector against its own list and those the
    border to which is near. How near is read off a sample whose true neighbours are known, and is
    no less than another needs, on which the recall is measured; still below the floor it is chosen
    for a higher one, and past half of all comparisons the search is exact.

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
    backend = choose_backend(spec.device, n_products=len(vectors) * vectors.size)
    on_cpu = backend in ("faiss", "numpy")
    if spec.kind == "flat" or len(vectors) <= spec.flat_up_to or not on_cpu or spec.min_recall == 1.0:
        return _exact_graph(vectors, k, spec, progress=progress)
    return _list_graph(vectors, k, spec, progress=progress)


def without_self(positions: IntArray, similarity: FloatArray, own: IntArray) -> tuple[IntArray, FloatArray]:
    """Drop each row's own position from k + 1 neighbours, or its last one where it is not among them."""
    drop = positions == own[:, None]  # (m, k + 1)
    drop[~drop.any(axis=1), -1] = True  # more copies than k: the row itself was crowded out
    shape = (len(positions), positions.shape[1] - 1)
    return positions[~drop].reshape(shape), similarity[~drop].reshape(shape)


def _exact_graph(vectors: FloatArray, k: int, spec: IndexSpec, *, progress: Progress) -> Neighbors:
    near = exact_search(vectors, vectors, k + 1, threads=spec.threads, device=spec.device, progress=progress)
    return Neighbors(*without_self(*near, np.arange(len(vectors))), recall=1.0)


def _list_graph(vectors: FloatArray, k: int, spec: IndexSpec, *, progress: Progress) -> Neighbors:
    rng = np.random.default_rng(spec.seed)
    with limited_threads(spec.threads):
        lists = make_lists(vectors, int(len(vectors) ** 0.5), seed=spec.seed, threads=spec.threads)
    drawn = rng.permutation(len(vectors))
    check = np.sort(drawn[: spec.sample])
    probe = np.sort(drawn[spec.sample :][: spec.sample // 2 + 1]) if len(vectors) > spec.sample else check
    seen, (true, truth) = _truth(vectors, probe, k, spec)[0], _truth(vectors, check, k, spec)
    known = [Sample(vectors[at], lists.of[at], lists.of[near]) for at, near in ((probe, seen), (check, true))]
    for floor in attempts(spec.min_recall):
        reach = chosen_reach(lists, *known, floor=floor)
        if reach is None:
            break
        positions, similarity = join_lists(
            vectors, lists, vectors, lists, reach, k, is_self=True, threads=spec.threads, progress=progress
        )
        recall = measure_recall(similarity[check], truth)
        if recall >= spec.min_recall:
            return Neighbors(positions, similarity, min(recall, ALMOST))
    return _exact_graph(vectors, k, spec, progress=progress)


def _truth(vectors: FloatArray, sample: IntArray, k: int, spec: IndexSpec) -> tuple[IntArray, FloatArray]:
    near = exact_search(vectors[sample], vectors, k + 1, threads=spec.threads, device=spec.device)
    return without_self(*near, sample)
