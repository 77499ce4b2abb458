"""The best of each row of a block of scores, without sorting whole rows."""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray


def in_order(positions: IntArray, similarity: FloatArray) -> tuple[IntArray, FloatArray]:
    """Each row sorted by similarity, descending, and equal ones by position."""
    order = np.lexsort((positions, -similarity), axis=1)
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def top_k(scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """The k best columns of each row, best first, the lowest of equal ones. Needs k <= columns.

    Four times faster than partitioning whole rows: take the maximum of every 16 columns, strided;
    the k-th largest of those is a floor that k columns reach, and few more do.
    """
    n_rows, n_columns = scores.shape
    n_groups = n_columns // 16
    if n_groups < 2 * k:
        keep = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return keep, np.take_along_axis(scores, keep, axis=1)
    best = scores[:, : 16 * n_groups].reshape(n_rows, 16, n_groups).max(axis=1)  # (r, g)
    floor = np.partition(best, n_groups - k, axis=1)[:, n_groups - k]  # (r,)
    return merge(np.zeros((n_rows, 0), np.int64), np.zeros((n_rows, 0), np.float32), scores, floor, k)


def merge(
    columns: IntArray, values: FloatArray, scores: FloatArray, floor: FloatArray, k: int
) -> tuple[IntArray, FloatArray]:
    """The k best of each row among `values` (at `columns`) so far and those `scores` that reach the row's floor."""
    hits = np.flatnonzero(scores >= floor[:, None])  # several times faster than nonzero over two axes
    row, column = np.divmod(hits, scores.shape[1])
    count = np.bincount(row, minlength=len(scores))
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)  # of a hit within its row
    more = np.full((len(scores), int(count.max(initial=0))), -np.inf, np.float32)
    at = np.full(more.shape, -1, np.int64)
    more[row, place], at[row, place] = scores.ravel()[hits], column
    values, columns = np.hstack([values, more]), np.hstack([columns, at])
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]  # stable: of equal ones the lowest comes first
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
