"""Products of objectives: a pick has to be worth something to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadSelection
from curator.selection.facility import DENSE_UP_TO, FacilityGain
from curator.selection.greedy import Batched, pooled_greedy
from curator.selection.kcenter import DistanceGain
from curator.selection.picks import Picks, check, open_positions, ordered, positions_of
from curator.selection.quotas import Caps, Tally

STRENGTH = 0.5  # exponent of the distance: 1 and more take to oddities, 0 is facility location
RAISED = 1.0 + 1e-5  # bounds: at least the product of one candidate as it is rounded and settled


def mixed(
    vectors: FloatArray,
    budget: int,
    *,
    strength: float = STRENGTH,
    neighbors: Neighbors | None = None,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
    shift: float = 0.0,
    dense_up_to: int = DENSE_UP_TO,
    progress: Progress = no_progress,
) -> Picks:
    """Order candidates by what they add to facility location times the root of their distance to the picks.

    The first factor asks for points that stand for many, the second keeps them apart. Neither ever
    rises, so the lazy greedy is exact; the product has no set function behind it and no guarantee.
    Ties go to the lowest position. A prefix is the smaller selection.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        strength: exponent of the distance, > 0; 0.5 is its root.
        neighbors, weights, shift, dense_up_to: of the facility gain, see `facility_location`.
        preselected: positions that count as picked from the start and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        caps: most picks per group.

    Returns:
        Picks whose gain is the product, no unit; never rising.

    Raises:
        BadSelection: candidates, preselected positions or weights that do not fit the vectors, or
            a strength that is not above 0.
        EmptyGraph: too many points for all similarities, and no graph.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    if not strength > 0:
        raise BadSelection(f"mixed with strength {strength}; expected a number above 0")
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    facility = FacilityGain(
        vectors, among, given, weights=weights, shift=shift, neighbors=neighbors, dense_up_to=dense_up_to
    )
    objective = Product([(facility, 1.0), (DistanceGain(vectors, among, given), strength)])
    slots, gains = pooled_greedy(objective, min(budget, len(among)), tally=Tally(caps, among), progress=progress)
    return ordered(vectors, among[slots], np.minimum.accumulate(gains), preselected=given)


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
