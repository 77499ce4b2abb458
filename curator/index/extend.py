"""New points into a neighbour graph that is already there, at the price of the new ones alone.

Knows the append law: rows 0..n_old-1 stand, rows from n_old on are new. An old point keeps those of
its neighbours that no new point beats, so it needs the new vectors only; a new point needs all.
"""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadEmbeddings
from curator.index.best import in_order
from curator.index.exact import ALMOST, BLOCK, check_unit, exact_search, measure_recall
from curator.index.graph import knn_graph, without_self
from curator.index.rough import SUMMED, error_of, products
from curator.index.spec import IndexSpec, in_threads

ANEW = 6.0  # new points per square root of all from which lists over everything cost less than n_new x n products
DOUBTED = 4  # times the sample on which a recall below the floor is measured again: by chance it costs a graph
DENSE = 0.05  # share of a block above which computing it whole in float32 is cheaper than its candidates one by one


def extend_graph(
    old: Neighbors, vectors: FloatArray, *, spec: IndexSpec | None = None, progress: Progress = no_progress
) -> Neighbors:
    """The graph over all `vectors`, the first `len(old)` of which `old` was made of.

    Every new vector is compared with every vector, exactly, and takes its place among the
    neighbours of the old ones: n_new * n products instead of n * n. An exact graph stays exact,
    equal to `knn_graph` over the union up to ties (an old neighbour stays before an equally
    similar new one). What an approximate graph missed among the old it still misses; its recall
    is measured again, below the floor of `spec` on a larger sample, and if it stays there, or where so
    many points are new that it costs less, the graph is made anew.

    Args:
        old: graph over the first points; not changed.
        vectors: (n, d) float32 of length 1, n >= len(old): the old ones in their order, then the new.
        spec: floor of the recall, threads, device; the defaults of `IndexSpec` where none is given.

    Returns:
        graph with as many neighbours per point as `old`; `old` itself where nothing is new.

    Raises:
        BadEmbeddings: the vectors are not (n, d), not of length 1, or fewer than the graph has points.
    """
    spec = spec or IndexSpec()
    vectors = check_unit(vectors)
    n_old, n = len(old), len(vectors)
    if n < n_old:
        raise BadEmbeddings(
            f"the graph has {n_old} points and there are {n} vectors; extending needs the old vectors first, "
            "then the new ones; make the graph anew with index.knn_graph"
        )
    if n == n_old:
        return old
    if _is_cheaper_anew(old, n, spec):
        return knn_graph(vectors, old.k, spec, progress=progress)
    positions = np.full((n, old.k), -1, np.int64)
    similarity = np.full((n, old.k), -1.0, np.float32)
    near = exact_search(
        vectors[n_old:], vectors, old.k + 1, threads=spec.threads, device=spec.device, progress=progress
    )
    positions[n_old:], similarity[n_old:] = without_self(*near, np.arange(n_old, n))
    positions[:n_old], similarity[:n_old] = _offer(old, vectors, spec, progress=progress)
    if old.recall == 1.0:
        return Neighbors(positions, similarity, recall=1.0)
    recall = _recall(similarity, vectors, spec, spec.sample)
    if recall < spec.min_recall:
        recall = _recall(similarity, vectors, spec, DOUBTED * spec.sample)
    if recall < spec.min_recall:
        return knn_graph(vectors, old.k, spec, progress=progress)
    return Neighbors(positions, similarity, recall=min(recall, ALMOST))


def _is_cheaper_anew(old: Neighbors, n: int, spec: IndexSpec) -> bool:
    """Whether a graph by lists over everything costs less than comparing the new with all."""
    if spec.kind == "flat" or spec.min_recall == 1.0 or n <= spec.flat_up_to:
        return len(old) == 0
    n_new = n - len(old)
    if old.recall == 1.0:  # exactness is worth more work, but not the square of a set that has outgrown it
        return n_new > len(old)
    return bool(n_new > ANEW * n**0.5)


def _offer(old: Neighbors, vectors: FloatArray, spec: IndexSpec, *, progress: Progress) -> tuple[IntArray, FloatArray]:
    """Neighbours of the old points once the new ones have been offered to them."""
    n_old = len(old)
    positions, similarity = old.positions.copy(), old.similarity.copy()

    def offer(start: int) -> int:
        rows = slice(start, min(start + BLOCK, n_old))
        for first in range(n_old, len(vectors), BLOCK):
            floor = np.where(positions[rows, -1] < 0, -np.inf, similarity[rows, -1])  # an empty place takes anything
            rough = product(vectors[rows], vectors[first : first + BLOCK])  # (b, c)
            hits = _above(rough, floor, vectors[rows], vectors[first : first + BLOCK], slack)
            positions[rows], similarity[rows] = _placed(positions[rows], similarity[rows], *hits, first=first)
        return rows.stop

    with products() as (product, is_rough):
        slack = error_of(vectors[:n_old], vectors[n_old:]) if is_rough and n_old else SUMMED
        for done in in_threads(offer, range(0, n_old, BLOCK), threads=spec.threads):
            progress("neighbours", done, n_old)
    return positions, similarity


def _above(
    rough: FloatArray, floor: FloatArray, rows: FloatArray, others: FloatArray, slack: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Row, column and float32 similarity of whatever lies above its row's floor, though `rough` may be off by `slack`.

    Above, not at: of equal ones the lower position stays.
    """
    hits = np.flatnonzero(rough > (floor - np.float32(slack))[:, None])
    if len(hits) > DENSE * rough.size:
        scores = (rows @ others.T).ravel()
        hits = np.flatnonzero(scores > np.repeat(floor, len(others)))
        row, column = np.divmod(hits, len(others))
        return row, column, scores[hits]
    row, column = np.divmod(hits, len(others))
    score = np.concatenate(
        [np.zeros(0, np.float32)]
        + [np.vecdot(rows[row[i : i + 1_024]], others[column[i : i + 1_024]]) for i in range(0, len(row), 1_024)]
    )
    is_above = score > floor[row]
    return row[is_above], column[is_above], score[is_above]


def _placed(
    positions: IntArray, similarity: FloatArray, row: IntArray, column: IntArray, score: FloatArray, *, first: int
) -> tuple[IntArray, FloatArray]:
    """Each row's k best of what it has, (b, k), and of what is offered to it at positions from `first` on."""
    if len(row) == 0:
        return positions, similarity
    k = positions.shape[1]
    changed, at = np.unique(row, return_inverse=True)
    count = np.bincount(at)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)  # of an offer within its row
    best_at = np.full((len(changed), k + int(count.max())), -1, np.int64)
    best = np.full(best_at.shape, -np.inf, np.float32)
    best_at[:, :k] = positions[changed]
    best[:, :k] = np.where(best_at[:, :k] < 0, -np.inf, similarity[changed])
    best_at[at, k + place], best[at, k + place] = first + column, score
    best_at, best = in_order(best_at, best)
    positions, similarity = positions.copy(), similarity.copy()
    positions[changed] = best_at[:, :k]
    similarity[changed] = np.where(best_at[:, :k] < 0, -1.0, best[:, :k])
    return positions, similarity


def _recall(similarity: FloatArray, vectors: FloatArray, spec: IndexSpec, size: int) -> float:
    """Recall of the graph whose similarities are given, on a sample searched exactly."""
    rng = np.random.default_rng(spec.seed)
    sample = np.sort(rng.permutation(len(vectors))[:size])
    near = exact_search(vectors[sample], vectors, similarity.shape[1] + 1, threads=spec.threads, device=spec.device)
    return measure_recall(similarity[sample], without_self(*near, sample)[1])
