"""The kNN graph: who is nearest to whom, once for the whole set.

Exact up to `IndexSpec.flat_up_to` vectors and wherever a GPU makes that the plain choice; above,
list against list.
"""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import UsageError
from curator.index.best import top_k
from curator.index.exact import ALMOST, check_unit, choose_backend, exact_search, measure_recall
from curator.index.lists import Lists, make_lists
from curator.index.rough import products, round_up
from curator.index.spec import IndexSpec, in_threads, limited_threads

MARGIN = 0.01  # lists are chosen for this much more than the asked recall: the sample they are chosen on is small
SHARE = 1 / 3  # or for this share of what is missing to 1, where that is less
SPARE = 4  # candidates beyond k where products are rough: the order of the last few may be off by 1e-4
LARGEST = 2**23  # similarities held at a time: 32 MB, ten times that where all are equal
SMALLEST = 32  # rows of a product, however long the lists are
RESCORED = 8  # rows whose candidates are computed again together: their vectors stay in the cache


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
        lists = make_lists(vectors, int(2 * len(vectors) ** 0.5), seed=spec.seed, threads=spec.threads)
    among = lists.centres @ lists.centres.T  # (c, c)
    np.fill_diagonal(among, np.inf)  # each list is nearest to itself, even beside an equal one
    near = np.argsort(-among, axis=1, kind="stable")  # (c, c)
    drawn = rng.permutation(len(vectors))
    check = np.sort(drawn[: spec.sample])
    probe = np.sort(drawn[spec.sample :][: spec.sample // 2 + 1]) if len(vectors) > spec.sample else check
    margin = min(MARGIN, SHARE * (1 - spec.min_recall))
    width = _width_for(lists, near, probe, _truth(vectors, probe, k, spec)[0], recall=spec.min_recall + margin)
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
        others = np.sort(lists.positions(near[i]))  # ascending: of equal candidates the lowest position comes first
        found = min(k, len(others) - 1)
        among = vectors[round_up(others) if is_rough else others]  # (c, d), behind the last one repeated
        step = max(SMALLEST, LARGEST // len(others))  # thousands of copies make one long list
        for start in range(0, len(own) if found else 0, step):
            rows = own[start : start + step]
            scores = product(vectors[round_up(rows) if is_rough else rows], among)[: len(rows)]  # (b, c)
            scores[:, len(others) :] = -np.inf
            scores[np.arange(len(rows)), np.searchsorted(others, rows)] = -np.inf
            spare = min(SPARE, len(others) - 1 - found) if is_rough else None
            at, score = _best(vectors[rows], among, scores, found, spare=spare)
            positions[rows, :found], similarity[rows, :found] = others[at], score
        return len(own)

    done = 0
    filled = np.flatnonzero(np.diff(lists.starts))
    with products() as (product, is_rough):
        for n_points in in_threads(join, filled.tolist(), threads=threads):
            done += n_points
            progress("neighbours", done, len(vectors))
    return positions, similarity


def _best(
    rows: FloatArray, among: FloatArray, scores: FloatArray, k: int, *, spare: int | None
) -> tuple[IntArray, FloatArray]:
    """The k best of `scores` (b, c), best first; where they are rough (`spare` given), k + spare are computed again.

    Returns:
        columns (b, k), and similarity (b, k) of `rows` (b, d) to those of `among` (c, d).
    """
    if spare is None:
        return top_k(scores, k)
    at = np.sort(top_k(scores, k + spare)[0], axis=1)  # (b, k + spare)
    exact = np.empty(at.shape, np.float32)
    for start in range(0, len(rows), RESCORED):
        some = slice(start, start + RESCORED)
        exact[some] = np.matmul(among[at[some]], rows[some, :, None])[:, :, 0]
    best = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(at, best, axis=1), np.take_along_axis(exact, best, axis=1)
