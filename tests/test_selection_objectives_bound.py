"""The optimality bound: never below the best there is, by brute force, and tight where greedy is."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray, IntArray
from curator.errors import BadSelection
from curator.selection.ball import BallGain
from curator.selection.bound import LATE, Optimality, facility_optimality, optimality
from curator.selection.facility import FacilityGain, facility_location
from curator.selection.greedy import Batched
from curator.selection.logdet import LogDetGain, log_det
from curator.selection.picks import best_similarity
from curator.selection.quotas import Caps
from tests.vectors import round_clumps, unit

NONE = np.zeros(0, np.int64)
OBJECTIVES: dict[str, Callable[[FloatArray, IntArray, IntArray], Batched]] = {
    "facility": FacilityGain,
    "log_det": LogDetGain,
    "ball": lambda vectors, among, given: BallGain(vectors, among, given, threshold=0.8),
}


def value_of(objective: Batched, picks: tuple[int, ...]) -> float:
    total = 0.0
    for pick in picks:
        total += objective.gain(pick)
        objective.add(pick)
    return total


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 3), capped=st.booleans())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_no_selection_exceeds_the_bound(name: str, seed: int, size: int, capped: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors, among = round_clumps(rng, 11, 8, n_clumps=4), np.arange(10)
    caps = Caps(np.arange(11) % 2, np.array([1, 2])) if capped else None
    allowed = [
        picks
        for picks in itertools.combinations(range(10), size)
        if caps is None or np.all(np.bincount(caps.codes[list(picks)], minlength=2) <= caps.most)
    ]
    best = max(value_of(OBJECTIVES[name](vectors, among, np.array([10])), picks) for picks in allowed)
    picks = rng.permutation(allowed)[0]
    found = optimality(OBJECTIVES[name](vectors, among, np.array([10])), picks, caps=caps, among=among)
    reached = value_of(OBJECTIVES[name](vectors, among, np.array([10])), tuple(picks.tolist()))
    assert found.value == pytest.approx(reached, rel=1e-6)
    assert found.limit >= best * (1 - 1e-6)
    assert 0 <= found.share <= min(1.0, found.value / best * (1 + 1e-5) if best > 0 else 1.0)


def test_picks_that_are_the_best_and_apart_are_told_to_be_so() -> None:
    vectors, weights = np.eye(5, dtype=np.float32), np.array([5, 4, 3, 2, 1], np.float32)
    good, bad = (
        optimality(BallGain(vectors, np.arange(5), NONE, threshold=0.9, weights=weights), picks)
        for picks in ([0, 1, 2], [4, 3])
    )
    assert (good.value, round(good.limit, 3), round(good.share, 4)) == (12, 12, 1)
    assert (bad.value, round(bad.limit, 3), round(bad.share, 4)) == (3, 9, 0.3333)


def test_greedy_is_proven_to_be_nearly_the_best(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 600, n_clumps=30)
    everyone = np.arange(600)
    facility = optimality(FacilityGain(vectors, everyone, NONE), facility_location(vectors, 30).positions)
    determinant = optimality(LogDetGain(vectors, everyone, NONE), log_det(vectors, 30).positions)
    drawn = optimality(FacilityGain(vectors, everyone, NONE), rng.choice(600, 30, replace=False))
    assert 1 - 1 / np.e < drawn.share + 0.2 < facility.share < 1
    assert determinant.share > 0.9


def test_the_streamed_bound_of_facility_location_is_the_plain_one(rng: np.random.Generator) -> None:
    vectors, weights = round_clumps(rng, 300), rng.integers(0, 3, 300).astype(np.float32)
    may, taken = rng.random(300) < 0.7, np.array([3, 9])
    caps = Caps(np.arange(300) % 3, np.array([6, 6, 6]))
    how = {"preselected": taken, "candidates": may, "weights": weights, "caps": caps, "shift": 0.1}
    positions = facility_location(vectors, 15, **how).positions  # type: ignore[arg-type]
    streamed = facility_optimality(vectors, positions, **how)  # type: ignore[arg-type]
    among = np.setdiff1d(np.flatnonzero(may), taken)
    objective = FacilityGain(vectors, among, taken, weights=weights, shift=0.1)
    plain = optimality(objective, np.searchsorted(among, positions), caps=caps, among=among, looks=LATE)
    assert not streamed.is_sampled
    assert streamed.value == pytest.approx(plain.value, rel=1e-4)
    assert streamed.limit == pytest.approx(plain.limit, rel=1e-4)


def test_a_bound_on_a_sample_says_so_and_stays_below_the_whole_one(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 3000, n_clumps=40)
    positions = facility_location(vectors, 40).positions
    whole = facility_optimality(vectors, positions)
    part = facility_optimality(vectors, positions, most_points=600)
    assert (whole.is_sampled, part.is_sampled) == (False, True)
    assert part.value == pytest.approx(whole.value, rel=0.05)
    assert whole.value == pytest.approx(float(best_similarity(vectors, vectors[positions]).sum()), rel=1e-3)
    assert whole.share - 0.15 < part.share < whole.share


def test_nothing_to_gain_is_all_there_is(rng: np.random.Generator) -> None:
    assert Optimality(0.0, 0.0).share == 1.0
    assert facility_optimality(unit(rng, 5), NONE).share == 1.0
    assert facility_optimality(unit(rng, 5), np.arange(5)).share == pytest.approx(1.0, abs=1e-4)
    assert facility_optimality(np.zeros((0, 4), np.float32), NONE).share == 1.0


def test_weights_that_do_not_fit_the_bound_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadSelection, match="expected 5 numbers of 0 or more, one per vector"):
        facility_optimality(unit(rng, 5), NONE, weights=np.ones(4, np.float32))
