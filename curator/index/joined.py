"""Rows against the lists nearest to theirs, one product for each list: what graph and large searches are made of."""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray, Progress
from curator.index.best import top_k
from curator.index.lists import Lists
from curator.index.rough import products, round_up
from curator.index.spec import in_threads

MARGIN = 0.01  # lists are chosen for this much more than the asked recall: the sample they are chosen on is small
SHARE = 1 / 3  # or for this share of what is missing to 1, where that is less
ROUGH = 0.001  # what rough products may lose of what lies in the lists
SPARE = 4  # candidates beyond k where products are rough: the order of the last few may be off by 1e-4
LARGEST = 2**23  # similarities held at a time: 32 MB, ten times that where all are equal
SMALLEST = 32  # rows of a product, however long the lists are
RESCORED = 8  # rows whose candidates are computed again together: their vectors stay in the cache


def width_for(near: IntArray, of: IntArray, true: IntArray, *, recall: float) -> int:
    """How many nearest lists must be joined so that this share of a sample's true neighbours lies in them.

    A neighbour is found when its list is among those joined with the row's own, so the share
    follows from the lists alone: no trial search.

    Args:
        near: (c, c) lists by nearness to each list, as from `Lists.near`.
        of: (s,) list of each sampled row.
        true: (s, k) list of each of its true neighbours.
    """
    rank = np.empty_like(near)  # (c, c): how near list j is to list i, 0 for itself
    np.put_along_axis(rank, near, np.arange(len(near))[None, :], axis=1)
    at = rank[np.repeat(of, true.shape[1]), true.ravel()]
    found = np.cumsum(np.bincount(at, minlength=len(near))) / len(at)
    return int(np.searchsorted(found, recall)) + 1


def chosen_width(
    near: IntArray, probe: tuple[IntArray, IntArray], check: tuple[IntArray, IntArray], *, floor: float
) -> int:
    """How many nearest lists to join: for a little more than the floor on one sample, and for the floor on another.

    The recall is measured on the second; that it would fall short is known from the lists before anything is joined.

    Args:
        probe, check: `of` and `true` of each sample, as for `width_for`.
    """
    margin = min(MARGIN, SHARE * (1 - floor))
    return max(width_for(near, *probe, recall=floor + margin), width_for(near, *check, recall=floor + ROUGH))


def join_lists(
    rows: FloatArray,
    asked: Lists,
    vectors: FloatArray,
    lists: Lists,
    near: IntArray,
    k: int,
    *,
    is_self: bool,
    threads: int | None,
    progress: Progress,
) -> tuple[IntArray, FloatArray]:
    """The k vectors most similar to each row among the lists nearest to its own.

    Args:
        rows: (m, d); asked: the same centres as `lists`, and who of the rows belongs to which.
        near: (c, p) the lists joined with each, its own first.
        is_self: rows and vectors are the same, and none is its own neighbour.

    Returns:
        positions (m, k) and similarity (m, k); -1 and -1 where the lists hold fewer.
    """
    positions = np.full((len(rows), k), -1, np.int64)
    similarity = np.full((len(rows), k), -1.0, np.float32)

    def join(i: int) -> int:
        own = asked.positions(np.asarray([i]))
        others = np.sort(lists.positions(near[i]))  # ascending: of equal candidates the lowest position comes first
        found = min(k, len(others) - is_self)
        among = vectors[round_up(others) if is_rough else others]  # (c, d), behind the last one repeated
        step = max(SMALLEST, LARGEST // max(len(others), 1))  # thousands of copies make one long list
        for start in range(0, len(own) if found else 0, step):
            some = own[start : start + step]
            scores = product(rows[round_up(some) if is_rough else some], among)[: len(some)]  # (b, c)
            scores[:, len(others) :] = -np.inf
            if is_self:
                scores[np.arange(len(some)), np.searchsorted(others, some)] = -np.inf
            spare = min(SPARE, len(others) - is_self - found) if is_rough else None
            at, score = _best(rows[some], among, scores, found, spare=spare)
            positions[some, :found], similarity[some, :found] = others[at], score
        return len(own)

    done = 0
    with products() as (product, is_rough):
        for n_rows in in_threads(join, np.flatnonzero(np.diff(asked.starts)).tolist(), threads=threads):
            done += n_rows
            progress("neighbours", done, len(rows))
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
