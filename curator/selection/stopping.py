"""Where an ordering may stop before its budget is spent.

Knows vectors, thresholds and gains; knows nothing of how the ordering was made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadSelection
from curator.selection.picks import CENTRES, ROWS, Picks, blocks

ROUNDING = np.float32(1e-6)  # a similarity short of the threshold by rounding alone reaches it


@dataclass(frozen=True, slots=True)
class Stop:
    """When to stop; the budget stays the most there can be.

    Raises:
        BadSelection: a share outside 0..1, or coverage without a threshold.
    """

    coverage: float | None = None  # share of the points within `threshold` of a pick or preselected point, 0..1
    threshold: float | None = None  # cosine from which a pick stands for a point
    gain: float | None = None  # a pick whose gain is below this share of the first one's is not made, 0..1

    def __post_init__(self) -> None:
        for name, share in (("coverage", self.coverage), ("gain", self.gain)):
            if share is not None and not 0.0 < share <= 1.0:
                raise BadSelection(f"stop at {name} {share}; expected a share above 0 and up to 1, such as 0.95")
        if self.coverage is not None and self.threshold is None:
            raise BadSelection("stop at coverage without a threshold; give the cosine from which a pick covers")


def covering_rank(
    vectors: FloatArray, points: IntArray, order: IntArray, threshold: float, *, given: IntArray
) -> IntArray:
    """Which pick is the first to lie within the threshold of each point, exactly.

    Streams over blocks of points and picks, 2 n k d floating-point operations at most; a point that
    is reached is not compared again.

    Args:
        vectors: (n, d) unit vectors.
        points: (m,) positions of the points to be covered.
        order: (k,) positions of the picks, in order.
        threshold: cosine.
        given: positions that cover from the start.

    Returns:
        (m,) rank 0..k-1; -1: covered from the start; k: by none.
    """
    rank = np.full(len(points), len(order), np.int64)
    limit = np.float32(threshold) - ROUNDING
    for of in blocks(len(points), ROWS):
        rows = vectors[points[of]]
        left = np.arange(of.stop - of.start)
        for at, first in ((given, True), (order, False)):
            for to in blocks(len(at), CENTRES):
                if not len(left):
                    break
                reached: BoolArray = rows[left] @ vectors[at[to]].T >= limit  # (left, picks)
                hit = reached.any(axis=1)
                rank[of.start + left[hit]] = -1 if first else to.start + reached[hit].argmax(axis=1)
                left = left[~hit]
    return rank


def share_covered(rank: IntArray, n_picks: int, *, weights: FloatArray | None = None) -> NDArray[np.float64]:
    """Share of the points covered after each number of picks, (n_picks + 1,), from none to all."""
    weight = np.ones(len(rank), np.float64) if weights is None else np.asarray(weights, np.float64)
    total = float(weight.sum())
    if total <= 0:
        return np.ones(n_picks + 1, np.float64)
    counted = np.bincount(rank + 1, weights=weight, minlength=n_picks + 2)[: n_picks + 1]
    return np.minimum(np.cumsum(counted) / total, 1.0)


def by_coverage(share: NDArray[np.float64], asked: float) -> int | None:
    """Fewest picks that reach a share of coverage; None where all of them do not."""
    reached = np.flatnonzero(share >= asked - 1e-9)
    return int(reached[0]) if len(reached) else None


def by_gain(picks: Picks, share: float, *, distances: bool = False) -> int:
    """How many picks come before the first whose gain is below a share of the first gain.

    Args:
        distances: gains hold a distance to what was picked before; a first pick that has nothing before
            it then says nothing, and the second one's is the measure.
    """
    gains = np.asarray(picks.gains, np.float64)
    says_nothing = distances and len(gains) > 1 and bool(np.isnan(picks.nearest[0]))
    first = float(gains[1] if says_nothing else gains[0]) if len(gains) else 0.0
    low = np.flatnonzero(gains < share * first)
    return int(low[0]) if len(low) else len(gains)


def cut(picks: Picks, n: int) -> Picks:
    """The first n picks."""
    return Picks(picks.positions[:n], picks.gains[:n], picks.covers[:n], picks.nearest[:n])
