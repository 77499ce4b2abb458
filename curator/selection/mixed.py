"""Products of objectives: a pick has to be worth something to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadSelection
from curator.selection.facility import DENSE_UP_TO, FacilityGain
from curator.selection.greedy import ROUNDING, Batched, pooled_greedy, settle
from curator.selection.kcenter import FARTHEST, DistanceGain
from curator.selection.picks import Picks, check, open_positions, ordered, positions_of
from curator.selection.quotas import Caps, Tally

RAISED = 1.0 + 1e-5  # bounds: at least the product of one candidate as it is rounded and settled
FEW = 100  # picks up to which the distance keeps its first exponent
GROWTH = 0.02  # of the exponent, per pick after those
SHARPEST = 3.0  # times the first exponent, where it ends: the higher, the less the picks stand for


def mixed(
    vectors: FloatArray,
    budget: int,
    *,
    strength: float = 1.0,
    growth: float = GROWTH,
    neighbors: Neighbors | None = None,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
    shift: float = 0.0,
    dense_up_to: int = DENSE_UP_TO,
    progress: Progress = no_progress,
) -> Picks:
    """Order candidates by what they add to facility location times a power of their distance to the picks.

    The first factor asks for points that stand for many, the second keeps them apart. With few picks
    it matters that each kind of thing is there, with many how far they are spread: from the hundredth
    pick on the power grows, up to three times the first. It depends on the picks made, not on the
    budget, so a prefix is the smaller selection. Neither factor ever rises, the distance being a share
    of the farthest there can be, so the lazy greedy is exact; the product has no set function behind
    it and no guarantee. Ties go to the lowest position.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        strength: exponent of the distance up to the hundredth pick, preselected points counted, > 0.
        growth: what each one after adds to the exponent, 0 or more, until it is three times `strength`.
        neighbors, weights, shift, dense_up_to: of the facility gain, see `facility_location`.
        preselected: positions that count as picked from the start and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        caps: most picks per group.

    Returns:
        Picks whose gain is the facility gain times the cosine distance, no unit, or the lowest of an
        earlier pick where that is less; never rising.

    Raises:
        BadSelection: candidates, preselected positions or weights that do not fit the vectors, a
            strength that is not above 0 or a growth that is below.
        EmptyGraph: too many points for all similarities, and no graph.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    if not (strength > 0 and growth >= 0):
        raise BadSelection(
            f"mixed with strength {strength} and growth {growth}; expected numbers above 0 and of 0 or more"
        )
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    facility = FacilityGain(
        vectors, among, given, weights=weights, shift=shift, neighbors=neighbors, dense_up_to=dense_up_to
    )
    exponent = Exponent(strength, growth, n_picked=len(given))
    objective = MixedGain(facility, DistanceGain(vectors, among, given), exponent)
    slots, _ = pooled_greedy(objective, min(budget, len(among)), tally=Tally(caps, among), progress=progress)
    return ordered(vectors, among[slots], np.minimum.accumulate(objective.plain), preselected=given)


@dataclass(slots=True)
class Exponent:
    """A power that grows with the picks, after the first hundred."""

    start: float
    growth: float
    n_picked: int

    @property
    def now(self) -> float:
        """The exponent of the next pick."""
        return min(self.start + self.growth * max(self.n_picked - FEW, 0), SHARPEST * self.start)


class MixedGain:
    """Facility gain times a growing power of the distance, as a share of the farthest there can be.

    Args:
        facility: first factor.
        distance: second factor, 0..2, over the same candidates.
        exponent: of the distance; grows as candidates are picked.
    """

    def __init__(self, facility: FacilityGain, distance: DistanceGain, exponent: Exponent) -> None:
        self._facility, self._distance, self._exponent = facility, distance, exponent
        self.plain: list[float] = []  # of each pick, its two gains when picked, multiplied

    def first_gains(self) -> FloatArray:
        """Bound of each candidate's gain now, (c,)."""
        return self._bounds(self._facility.first_gains(), self._distance.first_gains())

    def gains(self, candidates: IntArray) -> FloatArray:
        """Bounds of the gain of these now, (b,)."""
        return self._bounds(self._facility.gains(candidates), self._distance.gains(candidates))

    def gain(self, candidate: int) -> float:
        """What this candidate would add now, 0 or more; the distance is settled first, for powers enlarge rounding."""
        share = settle(self._distance.gain(candidate) / FARTHEST)
        return share**self._exponent.now * max(self._facility.gain(candidate), 0.0) if share else 0.0

    def add(self, candidate: int) -> None:
        """Pick this candidate."""
        self.plain.append(max(self._facility.gain(candidate), 0.0) * self._distance.gain(candidate))
        self._facility.add(candidate)
        self._distance.add(candidate)
        self._exponent.n_picked += 1

    def _bounds(self, facility: FloatArray, distance: FloatArray) -> FloatArray:
        share: NDArray[np.float64] = (distance / FARTHEST).astype(np.float64) * (1.0 + ROUNDING)
        found = RAISED * np.maximum(facility, 0.0) * share**self._exponent.now
        return cast(FloatArray, found)  # as float64: high powers of small numbers would be 0 in float32


class Product:
    """Product of the gains of several objectives over the same candidates, each to its own power.

    Args:
        factors: objectives and their strengths, > 0. None of them ever rises or falls below 0, so
            neither does their product.
        relative: gains are shares of the highest of the first gains, so that high powers of small
            numbers do not vanish.

    Raises:
        BadSelection: no factor, or a strength that is not above 0.
    """

    def __init__(self, factors: Sequence[tuple[Batched, float]], *, relative: bool = False) -> None:
        if not factors or not all(strength > 0 for _, strength in factors):
            strengths = [strength for _, strength in factors]
            raise BadSelection(f"a product of strengths {strengths}; expected one or more, each above 0")
        self._factors = tuple(factors)
        self._scale = 1.0
        if relative:
            highest = self.first_gains().max(initial=0.0) / RAISED
            self._scale = 1.0 / highest if highest > 0 else 1.0

    def first_gains(self) -> FloatArray:
        """Bound of each candidate's product now, (c,)."""
        return self._product([objective.first_gains() for objective, _ in self._factors])

    def gains(self, candidates: IntArray) -> FloatArray:
        """Bounds of the product of these now, (b,)."""
        return self._product([objective.gains(candidates) for objective, _ in self._factors])

    def gain(self, candidate: int) -> float:
        """Product of what this candidate would add now, 0 or more; after a 0 the others are not asked."""
        product = self._scale
        for objective, strength in self._factors:
            product *= max(objective.gain(candidate), 0.0) ** strength
            if product == 0.0:
                break
        return product

    def add(self, candidate: int) -> None:
        """Pick this candidate."""
        for objective, _ in self._factors:
            objective.add(candidate)

    def _product(self, gains: list[FloatArray]) -> FloatArray:
        product: NDArray[np.float64] = np.full(len(gains[0]), RAISED * self._scale, np.float64)
        for found, (_, strength) in zip(gains, self._factors, strict=True):
            product *= np.maximum(found, 0.0).astype(np.float64) ** strength
        return cast(FloatArray, product)  # as float64: high powers of small numbers would be 0 in float32
