"""How near a selection is to the best one possible, proven from the gains that were left.

Holds for monotone submodular objectives: facility location, coverage at a
radius, log-determinant. Says nothing of products, k-center or graph cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.selection.picks import (
    ROWS,
    best_similarity,
    blocks,
    check,
    open_positions,
    positions_of,
    weights_of,
)
from curator.selection.quotas import Caps

LOOKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the picks after which all candidates are measured
LATE = (0.75, 1.0)  # where the tightest bound of facility location lies, give or take half a percent
MOST_CELLS = 1_000_000_000  # similarities measured per look where all are too many: 8 core-seconds at a width of 384


@dataclass(frozen=True, slots=True)
class Optimality:
    """What was reached, and what no selection of as many picks under the same caps can exceed."""

    value: float  # of the picks, beside what preselected points give
    limit: float  # the least upper bound found
    is_sampled: bool = False  # an estimate on part of the points, too low rather than too high

    @property
    def share(self) -> float:
        """At least so much of the best possible was reached, 0..1; 1 where nothing could be gained."""
        return 1.0 if self.limit <= 0 else min(self.value / self.limit, 1.0)


class Measured(Protocol):
    """What of an objective is asked here."""

    def first_gains(self) -> FloatArray:
        """What each candidate adds to what is held now, (c,); an upper bound will do."""

    def gain(self, candidate: int) -> float:
        """What this candidate would add now."""

    def add(self, candidate: int) -> None:
        """Pick this candidate."""


def optimality(
    objective: Measured,
    order: IntArray | Sequence[int],
    *,
    caps: Caps | None = None,
    among: IntArray | None = None,
    looks: Sequence[float] = LOOKS,
) -> Optimality:
    """Bound the best selection of as many picks by what the candidates would still add.

    For any picks S: best(k) <= f(S) + the k largest gains that are left after S. Minoux, 1978;
    Leskovec, Krause, Guestrin et al., "Cost-effective Outbreak Detection in Networks", KDD 2007,
    section 3.2. The least over several prefixes of the picks is taken. Costs one measurement of all
    candidates per prefix looked at.

    Args:
        objective: monotone and submodular, holding preselected points and no pick yet; the picks are added to it.
        order: candidates picked, as the objective calls them.
        caps: most picks per group, which hold for the best selection as well; needs `among`.
        among: (c,) positions of the candidates.
        looks: shares 0..1 of the picks after which to look.

    Returns:
        Value, limit and share; for no picks a share of 1.
    """
    picks = np.asarray(order, np.int64)
    codes = None if caps is None or among is None else caps.codes[among]
    most = None if caps is None else caps.most
    look_at = {round(share * len(picks)) for share in looks} | {len(picks)}
    value, limit = 0.0, np.inf
    for done in range(len(picks) + 1):
        if done in look_at:
            gains = objective.first_gains().astype(np.float64)
            gains[picks[:done]] = 0.0  # a pick again adds nothing
            limit = min(limit, value + _largest(gains, len(picks), codes=codes, most=most))
        if done < len(picks):
            value += objective.gain(int(picks[done]))
            objective.add(int(picks[done]))
    return Optimality(value, max(limit, value))


def _largest(
    gains: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    size: int,
    *,
    codes: IntArray | None,
    most: IntArray | None,
) -> float:
    """Sum of the `size` largest, with at most so many of each group."""
    if codes is not None and most is not None:
        order = np.lexsort((-gains, codes))
        starts = np.searchsorted(codes[order], np.arange(len(most)))
        turn = np.arange(len(order)) - starts[codes[order]]
        gains = gains[order[turn < most[codes[order]]]]
    if size == 0:
        return 0.0
    if size < len(gains):
        gains = np.partition(gains, len(gains) - size)[len(gains) - size :]
    return float(gains.sum())


def facility_optimality(
    vectors: FloatArray,
    positions: IntArray,
    *,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
    shift: float = 0.0,
    most_points: int | None = None,
    looks: Sequence[float] | None = None,
) -> Optimality:
    """`optimality` of a facility location, however the picks were found; no similarities are kept.

    Measured on all points to be represented where they are few, else on some spread evenly over
    them. On a sample the largest gains are larger than they are, so the share is on average too low.

    Args:
        vectors: (n, d) unit vectors.
        positions: picks, in order.
        preselected, candidates, weights, caps, shift: as they were for the selection.
        most_points: points to measure on; None: all while that is a billion similarities or fewer. A sample
            wants several points per pick, or any few candidates seem to serve all of them.
        looks: shares 0..1 of the picks after which to look; None: two late ones, on a sample only the end.

    Raises:
        BadSelection: candidates, preselected positions or weights that do not fit the vectors.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    weight = weights_of(weights, len(vectors))
    covered = np.flatnonzero(weight > 0)
    room = max(MOST_CELLS // max(1, len(among)), ROWS) if most_points is None else most_points
    points = covered[np.unique(np.linspace(0, max(len(covered) - 1, 0), min(room, len(covered))).astype(np.int64))]
    objective = _Streamed(vectors, among, given, points=points, weight=weight[points], shift=shift)
    is_sampled = len(points) < len(covered)
    late = (1.0,) if is_sampled else LATE
    slots = np.searchsorted(among, positions)
    found = optimality(objective, slots, caps=caps, among=among, looks=late if looks is None else looks)
    scale = len(covered) / max(1, len(points))  # each point of a sample stands for others
    return Optimality(found.value * scale, found.limit * scale, is_sampled)


class _Streamed:
    """Facility location over some points, with all similarities computed anew whenever they are asked for."""

    def __init__(
        self,
        vectors: FloatArray,
        among: IntArray,
        given: IntArray,
        *,
        points: IntArray,
        weight: FloatArray,
        shift: float,
    ) -> None:
        self._vectors, self._among, self._weight = vectors, among, weight
        self._points = vectors[points]  # (p, d)
        self._floor = np.maximum(best_similarity(self._points, vectors[given]), np.float32(shift))  # (p,)

    def first_gains(self) -> FloatArray:
        gains = np.zeros(len(self._among), np.float64)
        for of in blocks(len(self._among), ROWS):
            rows = self._vectors[self._among[of]]
            for to in blocks(len(self._points), ROWS):
                added = rows @ self._points[to].T  # (b, p)
                added -= self._floor[to]
                np.maximum(added, 0.0, out=added)
                gains[of] += added @ self._weight[to]
        return (gains * (1.0 + 1e-5)).astype(np.float32)

    def gain(self, candidate: int) -> float:
        added = np.maximum(self._points @ self._vectors[self._among[candidate]] - self._floor, 0.0)
        return float(added.astype(np.float64) @ self._weight)

    def add(self, candidate: int) -> None:
        np.maximum(self._floor, self._points @ self._vectors[self._among[candidate]], out=self._floor)
