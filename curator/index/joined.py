"""Rows against the lists that may hold their neighbours, many rows in each product: graph and large searches.

Who lies in another list lies beyond the plane halfway between its centre and the own one. A row deep inside its
list is far from all such planes and is compared with its own list alone, one at the border with some more; how
near a plane must be is read off a sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.data import FloatArray, IntArray, Progress
from curator.index.lists import Lists
from curator.index.rough import Product, products, round_up
from curator.index.slots import Slots
from curator.index.spec import in_threads

MARGIN = 0.01  # lists are chosen for this much more than the asked recall: the sample they are chosen on is small
SHARE = 1 / 3  # or for this share of what is missing to 1, where that is less
ROUGH = 0.001  # what rough products may lose of what lies in the lists
SPARE = 4  # candidates beyond k where products are rough: the order of the last few may be off by 1e-4
LARGEST = 2**23  # similarities held at a time: 32 MB, ten times that where all are equal
ROWS = 512  # rows of a product: what they give stays in the cache
PADDED = 128  # where products are rough, rows are a multiple of this: there are hundreds of lengths of lists beside
GROUPS = 8  # parts of the rows, within the bounds below
FEWEST, MOST = 16_384, 65_536  # rows that visit lists together: enough in each list that fetching its vectors pays
RESCORED = 8  # rows whose candidates are computed again together: their vectors stay in the cache
SAME = 1e-3  # centres this close have no plane between them; float32 holds their distance no better


@dataclass(frozen=True, slots=True)
class Reach:
    """Which lists a row is compared with."""

    near: IntArray  # (c, p) the lists looked at from each, its own first
    distance: float  # to the plane halfway to a list; it is compared with those no farther


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows whose true neighbours are known."""

    rows: FloatArray  # (s, d)
    of: IntArray  # (s,) list of each
    true: IntArray  # (s, k) list of each of its neighbours


def attempts(floor: float) -> tuple[float, ...]:
    """Recalls to choose the reach for, one after the other where the last turned out below the floor."""
    return floor, (1 + floor) / 2, (3 + floor) / 4


def chosen_reach(lists: Lists, probe: Sample, check: Sample, *, floor: float) -> Reach | None:
    """How far to look: for a little more than the floor on one sample, and for the floor on another.

    A neighbour is found when the row is compared with its list, so the recall follows from the lists alone: no trial
    search. Of several numbers of nearest lists to look at, the one by which fewest vectors are compared.

    Returns:
        None where that is half of all vectors or more.
    """
    near = lists.near()
    c = len(near)
    rank = np.empty_like(near)  # (c, c): how near list j is to list i, 0 for itself
    np.put_along_axis(rank, near, np.arange(c)[None, :], axis=1)
    asked = ((probe, floor + min(MARGIN, SHARE * (1 - floor))), (check, floor + ROUGH))
    everywhere = [plane_distance(lists.centres, each.rows, each.of, np.arange(c)) for each, _ in asked]  # (s, c)
    away = [np.take_along_axis(planes, each.true, axis=1) for planes, (each, _) in zip(everywhere, asked, strict=True)]
    all_away, all_rank = everywhere[1], rank[check.of]  # (s, c)
    sizes = np.diff(lists.starts)
    found: list[tuple[float, Reach]] = []
    for width in [*(2**i for i in range(2, c.bit_length()) if 2**i < c), c]:
        distance = 0.0
        for (sample, recall), planes in zip(asked, away, strict=True):
            is_seen = rank[sample.of[:, None], sample.true] < width
            distance = max(distance, _quantile(np.where(is_seen, planes, np.inf), recall))
        is_met = (all_away <= distance) & (all_rank < width)
        compared = width + float((is_met @ sizes).mean())
        if np.isfinite(distance) and compared < len(lists.of) / 2:
            found.append((compared, Reach(near[:, :width], distance)))
    return min(found, key=lambda each: each[0])[1] if found else None


def plane_distance(centres: FloatArray, rows: FloatArray, own: int | IntArray, others: IntArray) -> FloatArray:
    """How far rows are from the planes between their own list and others.

    (c_own - c_j) x / |c_own - c_j| for centres of length 1: no vector that is nearer to c_j than to c_own lies
    nearer to x. 0 for the own list and for those of the same centre.

    Args:
        rows: (b, d)
        own: list of each, or of all.
        others: (p,)

    Returns:
        (b, p)
    """
    mine, theirs = centres[own], centres[others]
    length = np.sqrt(np.maximum(2 - 2 * (mine @ theirs.T), 0))  # (p,) or (b, p)
    nearer: FloatArray = np.einsum("...d,...d->...", rows, mine)[:, None] - rows @ theirs.T
    return np.where(length > SAME, nearer / np.maximum(length, SAME), np.float32(0))


def join_lists(
    rows: FloatArray,
    asked: Lists,
    vectors: FloatArray,
    lists: Lists,
    reach: Reach,
    k: int,
    *,
    is_self: bool,
    threads: int | None,
    progress: Progress,
) -> tuple[IntArray, FloatArray]:
    """The k vectors most similar to each row among the lists in its reach.

    Args:
        rows: (m, d); asked: the same centres as `lists`, and who of the rows belongs to which.
        is_self: rows and vectors are the same, and none is its own neighbour.

    Returns:
        positions (m, k) and similarity (m, k); -1 and -1 where there are fewer.
    """
    positions = np.full((len(rows), k), -1, np.int64)
    similarity = np.full((len(rows), k), -1.0, np.float32)
    found = min(k, len(vectors) - is_self)
    size = int(np.clip(len(rows) // GROUPS, FEWEST, MOST))
    bounds = np.unique(np.searchsorted(asked.starts, np.arange(0, len(rows) + size, size)).clip(max=len(lists)))
    with products() as (product, is_rough):
        kept = min(k + SPARE * is_rough, len(vectors) - is_self)
        joining = _Join(rows, asked, vectors, lists, reach, kept, is_self, product, is_rough)

        def join(group: int) -> int:
            own, slots = joining.best(int(bounds[group]), int(bounds[group + 1]))
            at, similar = slots.best()
            if is_rough:
                at, similar = _rescored(rows, own, vectors, at, found)
            positions[own, :found], similarity[own, :found] = at, similar
            return len(own)

        done = 0
        for n_rows in in_threads(join, range(len(bounds) - 1 if found > 0 else 0), threads=threads):
            done += n_rows
            progress("neighbours", done, len(rows))
    return positions, similarity


@dataclass(frozen=True, slots=True)
class _Join:
    """What `join_lists` was asked."""

    rows: FloatArray
    asked: Lists
    vectors: FloatArray
    lists: Lists
    reach: Reach
    kept: int
    is_self: bool
    product: Product
    is_rough: bool

    def best(self, first: int, last: int) -> tuple[IntArray, Slots]:
        """The rows of lists `first` to before `last`, and the best of each."""
        starts = self.asked.starts[first : last + 1] - self.asked.starts[first]
        own = self.asked.members[self.asked.starts[first] : self.asked.starts[last]]
        slots = Slots(len(own), self.kept)
        visits = [np.zeros((2, 0), np.int64)]  # which of the rows goes to which list
        for i in range(first, last):
            at = np.arange(starts[i - first], starts[i - first + 1])
            if len(at):
                self._compare(own, at, i, slots, is_home=True)
                row, to = self._abroad(self.rows[own[at]], i)
                visits.append(np.stack([at[row], to]))
        visitors, visited = np.concatenate(visits, axis=1)
        order = np.argsort(visited, kind="stable")
        reached, begins = np.unique(visited[order], return_index=True)
        for j, at in zip(reached.tolist(), np.split(visitors[order], begins)[1:], strict=True):
            self._compare(own, at, j, slots, is_home=False)
        return own, slots

    def _abroad(self, rows: FloatArray, i: int) -> tuple[IntArray, IntArray]:
        """Which of the rows of a list are compared with which list beside it, pair by pair."""
        others, sizes = self.reach.near[i, 1:], np.diff(self.lists.starts)
        is_met = plane_distance(self.lists.centres, rows, i, others) <= self.reach.distance  # (b, p - 1)
        before = np.cumsum(sizes[self.reach.near[i, :-1]])
        is_met[:, before < self.kept + self.is_self] = True  # what is nearer does not hold enough
        row, column = np.nonzero(is_met)
        return row, others[column]

    def _compare(self, own: IntArray, at: IntArray, j: int, slots: Slots, *, is_home: bool) -> None:
        """Rows `own[at]` with all of list j."""
        others = self.lists.positions(np.asarray([j]))
        if not len(others):
            return
        among = self.vectors[round_up(others) if self.is_rough else others]  # (c, d), behind the last one repeated
        step = max(1, min(ROWS, LARGEST // len(others)))  # thousands of copies make one long list
        for start in range(0, len(at), step):
            some = at[start : start + step]
            rows = self.rows[own[round_up(some, least=PADDED) if self.is_rough else some]]
            scores = self.product(rows, among)[: len(some), : len(others)]
            if is_home and self.is_self:
                scores[np.arange(len(some)), np.searchsorted(others, own[some])] = -np.inf
            slots.add(some, others, scores)


def _rescored(
    rows: FloatArray, own: IntArray, vectors: FloatArray, at: IntArray, k: int
) -> tuple[IntArray, FloatArray]:
    """The k best of the candidates `at` (b, k + spare) of rows `own`, in float32."""
    at = np.sort(at, axis=1)  # of equal ones the lowest position comes first
    exact = np.empty(at.shape, np.float32)
    for start in range(0, len(own), RESCORED):
        some = slice(start, start + RESCORED)
        exact[some] = np.matmul(vectors[at[some]], rows[own[some], :, None])[:, :, 0]
    exact[at < 0] = -1.0
    best = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(at, best, axis=1), np.take_along_axis(exact, best, axis=1)


def _quantile(values: IntArray | FloatArray, share: float) -> float:
    """The lowest value that this share of all does not exceed; the highest for a share above 1."""
    ordered = np.sort(values, axis=None)
    return float(ordered[min(max(int(np.ceil(share * len(ordered))), 1), len(ordered)) - 1])
