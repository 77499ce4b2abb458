"""Exact search through rough products: they rule out, float32 decides.

A rough product differs from the true one by a bounded amount (`rough.error_of`). Whatever lies
further below the k-th best than twice that cannot be among the k best; the few others are computed
in float32.
"""

from __future__ import annotations

import sys

import numpy as np

from curator.data import FloatArray, IntArray
from curator.index.best import top_k
from curator.index.rough import Product, error_of, is_fast, rough_products
from curator.index.spec import in_threads

BLOCK = 1_024  # queries of one task
COLUMNS = 2_048  # vectors of one product
WORTH = 1e11  # multiplications below which importing torch costs more than the search
LARGE_K = 512  # neighbours above which most vectors stay candidates
MANY = 24  # candidates per wanted neighbour at which a block of queries is left to plain search
RESCORED = 8  # rows whose candidates are computed together: their vectors stay in the cache


def pays(queries: FloatArray, vectors: FloatArray, k: int) -> bool:
    """Whether search through rough products is faster than plain search, and possible, here."""
    worth = WORTH / 30 if "torch" in sys.modules else WORTH
    n_products = float(len(queries)) * vectors.size
    return n_products >= worth and k <= min(LARGE_K, len(vectors) // 32) and len(queries) >= 128 and is_fast()


def search_filtered(
    queries: FloatArray, vectors: FloatArray, k: int, *, threads: int | None
) -> tuple[IntArray, FloatArray, IntArray]:
    """The k vectors most similar to each query, exactly.

    Args:
        queries: (m, d) float32; vectors: (n, d) float32; lengths about 1.
        k: how many; k <= n / 32.

    Returns:
        positions (m, k), best first and equal ones by position, similarity (m, k) in float32, and
        the queries that were left out, ascending: so many vectors are about as similar to them as the k-th
        that nothing could be ruled out.
    """
    positions = np.empty((len(queries), k), np.int64)
    similarity = np.empty((len(queries), k), np.float32)
    slack = 2 * error_of(queries, vectors)

    def search(start: int) -> int:
        rows = slice(start, start + BLOCK)
        found = _candidates(queries[rows], vectors, k, slack, product)
        if found is None:
            return start
        positions[rows], similarity[rows] = _decide(queries[rows], vectors, *found, k)
        return -1

    with rough_products() as product:
        starts = range(0, len(queries), BLOCK)
        crowded = [start for start in in_threads(search, starts, threads=threads) if start >= 0]
    left = np.flatnonzero(np.isin(np.arange(len(queries)) // BLOCK * BLOCK, crowded))
    return positions, similarity, left


def _candidates(
    queries: FloatArray, vectors: FloatArray, k: int, slack: float, product: Product
) -> tuple[IntArray, IntArray] | None:
    """Queries and vectors, (c,) and (c,), that may belong together, ascending; None where too many may."""
    first = product(queries, vectors[: max(COLUMNS, 32 * k)])
    best = top_k(first, k)[1]  # (b, k) rough
    found: list[tuple[IntArray, FloatArray]] = []
    n_found = 0
    for start in range(0, len(vectors), COLUMNS):
        scores = product(queries, vectors[start : start + COLUMNS])  # (b, c)
        floor = best[:, -1] - np.float32(slack)
        hits = np.flatnonzero(scores >= floor[:, None])
        row, column = np.divmod(hits, scores.shape[1])
        value = scores.ravel()[hits]
        found.append((row * len(vectors) + column + start, value))
        n_found += len(row)
        if n_found > MANY * k * len(queries):
            return None
        if start >= len(first[0]):
            best = _raised(best, row, value)
    code = np.concatenate([code for code, _ in found])
    row, column = np.divmod(code, len(vectors))
    keep = np.concatenate([value for _, value in found]) >= (best[:, -1] - np.float32(slack))[row]
    order = np.argsort(code[keep], kind="stable")
    return row[keep][order], column[keep][order]


def _raised(best: FloatArray, row: IntArray, value: FloatArray) -> FloatArray:
    """The k best values of each row, descending, once `value` has been added to `row` (ascending)."""
    better = value > best[row, -1]
    row, value = row[better], value[better]
    count = np.bincount(row, minlength=len(best))
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    more = np.full((len(best), int(count.max(initial=0))), -np.inf, np.float32)
    more[row, place] = value
    changed = np.flatnonzero(count)
    raised = best.copy()
    raised[changed] = -np.sort(-np.hstack([best[changed], more[changed]]), axis=1)[:, : best.shape[1]]
    return raised


def _decide(
    queries: FloatArray, vectors: FloatArray, row: IntArray, column: IntArray, k: int
) -> tuple[IntArray, FloatArray]:
    """The k best candidates of each query by their float32 similarity."""
    positions = np.empty((len(queries), k), np.int64)
    similarity = np.empty((len(queries), k), np.float32)
    starts = np.searchsorted(row, np.arange(len(queries) + 1))
    for first in range(0, len(queries), RESCORED):
        ends = starts[first : first + RESCORED + 1]
        count = np.diff(ends)
        at = np.full((len(count), int(count.max())), -1, np.int64)
        real = np.arange(at.shape[1]) < count[:, None]
        at[real] = column[ends[0] : ends[-1]]
        rows = slice(first, first + len(count))
        exact = np.matmul(vectors[at], queries[rows, :, None])[:, :, 0]
        exact[~real] = -np.inf
        best = np.argsort(-exact, axis=1, kind="stable")[:, :k]  # stable: of equal ones the lowest position
        positions[rows] = np.take_along_axis(at, best, axis=1)
        similarity[rows] = np.take_along_axis(exact, best, axis=1)
    return positions, similarity
