"""How many picks are enough: the knee of a curve, and the budget that covers a share of the data.

Knows an ordering and who covers whom; past its end the ordering goes on greedily, by the candidate
that covers most of what is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Neighbors
from curator.evidence.curves import default_budgets
from curator.index import TOLERANCE, reaches

BENT = 0.1  # of the curve's height: a knee that lifts it less is no knee
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
SIMILARITIES = 1_000_000_000  # points x picks measured exactly; above, what the graph and the groups say
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Need:
    """Picks that cover a share of the points."""

    share: float  # asked, 0..1
    picks: int | None  # new picks that are enough; None: all candidates together do not reach it

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"share": self.share, "picks": self.picks}


@dataclass(frozen=True, slots=True)
class Plan:
    """Share of the points covered along the budget, and the budgets that cover a given share."""

    threshold: float  # cosine at or above which a pick covers a point
    n_points: int
    n_picks: int  # of the selection; beyond them the ordering was continued
    reached: float  # share the selection covers
    needs: tuple[Need, ...]
    most: int  # picks the continued ordering ends with: all candidates, or enough for the largest share
    covered: float  # share they cover
    path_budgets: IntArray  # (p,)
    path: FloatArray  # (p,) share covered
    first_pick: IntArray  # (n,) number of the first pick that covers each point, 0 covered from the start, -1 by none
    n_given: int = 0  # points labelled already, which cover from the start

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "threshold": self.threshold, "n_points": self.n_points, "n_picks": self.n_picks, "reached": self.reached,
            "needs": [need.to_dict() for need in self.needs], "most": self.most, "covered": self.covered,
            "path": [self.path_budgets.tolist(), [float(v) for v in self.path]],
        }  # fmt: skip

    def sentence(self, share: float = 0.95) -> str:
        """Say how many picks cover the share."""
        need = next(need for need in self.needs if need.share == share)
        goal = f"To cover {share:.0%} within cosine {self.threshold:.2f},"
        if need.picks is None:
            return f"{goal} no budget is known to be enough: all that can be picked cover {self.covered:.1%}."
        if need.picks == 0:
            return f"{goal} the {self.n_given:,} labelled already are enough."
        if need.picks <= self.n_picks:
            return f"{goal} the first {need.picks:,} picks are enough."
        these = f"these {self.n_picks:,}" + (f" and {self.n_given:,} labelled already" if self.n_given else "")
        return f"{goal} {need.picks:,} picks are enough; {these} cover {self.reached:.1%}."


def knee(budgets: IntArray | Sequence[int], values: FloatArray | Sequence[float]) -> int | None:
    """The budget past which each further pick adds less than the average pick of the curve; None where it is straight.

    Both axes are scaled to 0..1; the knee is where the curve lies highest above the straight line
    between its ends. Satopaa, Albrecht, Irwin and Raghavan, "Finding a Kneedle in a Haystack", 2011.

    Args:
        budgets: (b,) increasing.
        values: (b,) never falling.
    """
    x, y = np.asarray(budgets, np.float64), np.asarray(values, np.float64)
    if len(x) < 3 or not y[-1] > y[0]:
        return None
    lift = (y - y[0]) / (y[-1] - y[0]) - (x - x[0]) / (x[-1] - x[0])
    best = int(lift.argmax())
    return int(x[best]) if lift[best] >= BENT else None


@dataclass(frozen=True, slots=True)
class Covering:
    """Who covers whom at a threshold, as far as is known: never more than is so."""

    starts: IntArray  # (n + 1,) where each candidate's points begin in `points`
    points: IntArray  # (e,) positions covered, the candidate itself among them

    def of(self, candidate: int) -> IntArray:
        """Positions that a candidate covers."""
        return self.points[self.starts[candidate] : self.starts[candidate + 1]]


def covering(graph: Neighbors | None, representative: IntArray, threshold: float) -> Covering:
    """What the neighbour graph and the near-duplicate groups say about who covers whom.

    Args:
        graph: over n points; edges at or above the threshold count in both directions.
        representative: (n,) a point at or above the threshold for each, itself where there is none.
        threshold: cosine.
    """
    n = len(representative)
    own = np.arange(n)
    centre, point = [own, representative], [own, own]
    if graph is not None and graph.k:
        close = reaches(graph.similarity, threshold) & (graph.positions >= 0)
        row, column = np.nonzero(close)
        other = graph.positions[row, column]
        centre, point = [*centre, row, other], [*point, other, row]
    pairs = np.unique(np.concatenate(centre).astype(np.int64) * n + np.concatenate(point))
    starts = np.searchsorted(pairs, np.arange(n + 1, dtype=np.int64) * n)
    return Covering(starts, pairs % max(n, 1))


def plan(
    vectors: FloatArray,
    ordering: IntArray,
    covers: Covering,
    *,
    threshold: float,
    candidates: BoolArray,
    points: BoolArray | None = None,
    preselected: IntArray | None = None,
    shares: Sequence[float] = SHARES,
) -> Plan:
    """Share covered along the ordering, and how many picks each share needs, continued where they are too few.

    What the picks cover is measured exactly up to a billion similarities, above that by `covers`;
    what further ones cover always by `covers`, which may know less than there is. So a stated budget
    is enough, and a smaller one may be.

    Args:
        vectors: (n, d) unit vectors.
        ordering: positions picked, best first.
        covers: who covers whom at the threshold.
        threshold: cosine at or above which a pick covers a point.
        candidates: (n,) who may be picked past the ordering's end.
        points: (n,) who is to be covered; None: everyone.
        preselected: positions that cover from the start.
        shares: shares of the points, 0..1.
    """
    given = np.zeros(0, np.int64) if preselected is None else preselected
    inside = np.ones(len(vectors), np.bool_) if points is None else points
    n = int(inside.sum())
    rank = _first_cover(vectors, np.concatenate([given, ordering]), covers, threshold)  # (n,) -1: not covered
    left = inside & (rank < 0)
    since = np.where(rank < 0, -1, np.maximum(rank - len(given) + 1, 0))  # (n,)
    counted = since[inside & (rank >= 0)]
    counts = np.cumsum(np.bincount(counted, minlength=len(ordering) + 1))
    may = candidates.copy()
    may[np.concatenate([given, ordering])] = False
    goal = int(np.ceil(max(shares, default=0.0) * n - 1e-9))
    further = _continued(covers, left, np.flatnonzero(may), goal - int(counts[-1]))
    total = np.concatenate([counts, counts[-1] + np.cumsum(further)]) / max(n, 1)  # (1 + picks,)
    steps = np.union1d(default_budgets(len(ordering), 24), default_budgets(len(total) - 1, 24))
    return Plan(
        threshold=threshold,
        n_points=n,
        n_picks=len(ordering),
        reached=float(total[len(ordering)]),
        needs=tuple(Need(share, _first(total, share)) for share in shares),
        most=len(total) - 1,
        covered=float(total[-1]),
        path_budgets=steps,
        path=total[steps].astype(np.float32),
        first_pick=since,
        n_given=len(given),
    )


def _first(total: NDArray[np.float64], share: float) -> int | None:
    at = int(np.searchsorted(total, share - 1e-9))
    return at if at < len(total) else None


def _first_cover(vectors: FloatArray, picks: IntArray, covers: Covering, threshold: float) -> IntArray:
    """(n,) index of the first pick that covers each point; -1 where none does."""
    rank = np.full(len(vectors), -1, np.int64)
    if len(picks) * len(vectors) > SIMILARITIES:
        for at, pick in reversed(list(enumerate(picks.tolist()))):
            rank[covers.of(pick)] = at
        return rank
    centres = vectors[picks]
    for start in range(0, len(vectors) if len(picks) else 0, BLOCK):
        close = vectors[start : start + BLOCK] @ centres.T >= threshold - TOLERANCE  # (rows, k)
        rank[start : start + BLOCK] = np.where(close.any(axis=1), close.argmax(axis=1), -1)
    order = np.arange(len(picks))
    free = (rank[picks] < 0) | (rank[picks] > order)
    rank[picks[free]] = order[free]  # a pick covers itself, whatever rounding says
    return rank


def _continued(covers: Covering, left: BoolArray, candidates: IntArray, goal: int) -> IntArray:
    """How many of the points left each further pick covers, greedily, until `goal` are; lazy, ties to the lowest."""
    left = left.copy()
    gains = (
        [(-int(left[covers.of(candidate)].sum()), candidate) for candidate in candidates.tolist()] if goal > 0 else []
    )
    heapq.heapify(gains)
    out: list[int] = []
    done = 0
    while gains and done < goal:
        _, candidate = heapq.heappop(gains)
        points = covers.of(candidate)
        gain = int(left[points].sum())
        if gain == 0:
            continue
        if gains and (-gain, candidate) > gains[0]:
            heapq.heappush(gains, (-gain, candidate))
            continue
        left[points] = False
        out.append(gain)
        done += gain
    return np.asarray(out, np.int64)
