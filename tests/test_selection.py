"""Selection: every method against a naive version of itself, and the laws that an ordering promises."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, no_progress
from curator.errors import BadSelection, EmptyGraph
from curator.index import knn_graph
from curator.selection import (
    METHODS,
    Caps,
    Picks,
    caps_for,
    every_nth,
    every_nth_picks,
    facility_location,
    k_center,
    parse_budget,
    random_picks,
    run,
    trim_outliers,
    typicality,
    typicality_picks,
)
from curator.selection.facility import MEASURE_EVERY, _Sparse, _Task
from curator.selection.greedy import lazy_greedy, settle
from curator.selection.kcenter import on_torch
from curator.selection.picks import best_similarity, distance_to_earlier
from curator.selection.quotas import Tally, encode, equal_quotas, proportional_quotas
from tests.selections import NONE, asking, cloud, on_circle, unit

few = settings(max_examples=40, deadline=None, derandomize=True)


def naive_k_center(
    vectors: FloatArray, budget: int, *, first: int | None, given: Sequence[int] = (), caps: Caps | None = None
) -> list[int]:
    """One product with all vectors per pick."""
    best = np.full(len(vectors), -2.0, np.float32)
    for j in given:
        best = np.maximum(best, vectors @ vectors[j])
    left = None if caps is None else caps.most.copy()
    may = np.ones(len(vectors), np.bool_)
    may[list(given)] = False
    picks: list[int] = []
    while len(picks) < budget:
        open_ = may if left is None or caps is None else may & (left[caps.codes] > 0)
        if not open_.any():
            break
        rounded = np.where(best > 1 - 1e-6, 1.0, best)
        j = first if first is not None and not picks else int(np.where(open_, rounded, np.inf).argmin())
        picks.append(j)
        may[j] = False
        if left is not None and caps is not None:
            left[caps.codes[j]] -= 1
        best = np.maximum(best, vectors @ vectors[j])
    return picks


def naive_facility(
    similarity: FloatArray,
    budget: int,
    *,
    given: Sequence[int] = (),
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
) -> list[int]:
    """All gains, measured anew for every pick; `similarity` is (candidate, point), cut at 0."""
    n = len(similarity)
    weight = np.ones(n) if weights is None else weights
    best = np.max(similarity[list(given)], axis=0, initial=0.0)
    left = None if caps is None else caps.most.copy()
    picks: list[int] = []
    while len(picks) < budget:
        gains = np.array([settle(g) for g in (np.maximum(similarity - best, 0.0) * weight).sum(axis=1)])
        closed = [i for i in range(n) if left is not None and caps is not None and left[caps.codes[i]] <= 0]
        gains[[*picks, *given, *closed]] = -1.0
        if candidates is not None:
            gains[~candidates] = -1.0
        if gains.max() < 0:
            break
        j = int(gains.argmax())
        picks.append(j)
        if left is not None and caps is not None:
            left[caps.codes[j]] -= 1
        best = np.maximum(best, similarity[j])
    return picks


def along_graph(graph: Neighbors) -> FloatArray:
    """Similarities of the graph's edges both ways, 1 on the diagonal, 0 elsewhere."""
    n = len(graph)
    similarity = np.eye(n, dtype=np.float32)
    for i, (row, values) in enumerate(zip(graph.positions, graph.similarity, strict=True)):
        for j, value in zip(row, values, strict=True):
            if j >= 0:
                similarity[i, j] = similarity[j, i] = max(similarity[i, j], value, 0.0)
    return similarity


def central(vectors: FloatArray) -> int:
    return int((vectors @ vectors.mean(axis=0)).argmax())


# -- k-center --


@pytest.mark.parametrize("n", [5, 300, 6000])
def test_k_center_picks_what_one_product_per_pick_picks(rng: np.random.Generator, n: int) -> None:
    vectors = cloud(rng, n, 24, clusters=40)
    picks = k_center(vectors, 400).positions
    assert_same_k_center(vectors, picks, naive_k_center(vectors, min(n, 400), first=central(vectors)))


def test_k_center_stays_exact_when_pools_shrink_and_grow(rng: np.random.Generator) -> None:
    vectors = np.concatenate([cloud(rng, 4000, 8, spread=0.05), unit(rng.normal(size=(400, 8)))])
    picks = k_center(vectors, 1200).positions
    assert_same_k_center(vectors, picks, naive_k_center(vectors, 1200, first=central(vectors)))


def assert_same_k_center(vectors: FloatArray, picks: IntArray, loop: list[int]) -> None:
    """The same picks; where rounding made another of two equally far points first, the same radius."""
    assert np.mean(picks == loop) > 0.98
    for m in (len(loop) // 2, len(loop)):
        radius = [1 - best_similarity(vectors, vectors[p[:m]]).min() for p in (picks, np.array(loop))]
        assert radius[0] == pytest.approx(radius[1], abs=1e-5)


def test_k_center_is_at_most_twice_as_far_as_the_best_picks(rng: np.random.Generator) -> None:
    for _ in range(20):
        vectors = unit(rng.normal(size=(9, 3)))
        chord = np.sqrt(np.maximum(2 - 2 * vectors @ vectors.T, 0))
        best = min(chord[:, list(some)].min(axis=1).max() for some in itertools.combinations(range(9), 3))
        found = chord[:, k_center(vectors, 3).positions].min(axis=1).max()
        assert found <= 2 * best + 1e-6


def test_k_center_starts_with_the_most_central_point() -> None:
    assert k_center(on_circle([0, 10, 20, 30, 90]), 2).positions.tolist() == [3, 4]


def test_k_center_gains_are_the_radius_and_never_rise(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 500)
    picks = k_center(vectors, 60)
    assert picks.gains[0] == 2.0
    assert np.isnan(picks.nearest[0])
    assert np.all(np.diff(picks.gains) <= 0)
    for m in (1, 7, 59):
        left = 1 - best_similarity(vectors, vectors[picks.positions[:m]])
        assert picks.gains[m] == pytest.approx(left.max(), abs=1e-5)
        assert picks.nearest[m] == pytest.approx(left.max(), abs=1e-5)


def test_k_center_goes_far_from_preselected_points_and_never_picks_them() -> None:
    vectors = on_circle([0, 40, 80, 118, 170])
    picks = k_center(vectors, 10, preselected=[0])
    assert picks.positions.tolist() == [4, 2, 1, 3]
    assert picks.gains[0] == pytest.approx(1 - np.cos(np.radians(170)), abs=1e-6)
    assert picks.nearest[0] == pytest.approx(picks.gains[0], abs=1e-6)


@pytest.mark.parametrize("given", [[], [3, 4]])
def test_k_center_tells_how_near_each_pick_is_to_all_before_it(rng: np.random.Generator, given: list[int]) -> None:
    vectors = np.repeat(cloud(rng, 100), 3, axis=0)
    picks = k_center(vectors, 200, preselected=given)  # half of them copies
    expected = distance_to_earlier(vectors, picks.positions, preselected=np.array(given, np.int64))
    np.testing.assert_allclose(picks.nearest, expected, atol=1e-5)
    assert np.isnan(picks.nearest).sum() == (not given)


def test_k_center_picks_candidates_only(rng: np.random.Generator) -> None:
    vectors, may = cloud(rng, 3000), rng.random(3000) < 0.3
    at = np.flatnonzero(may)
    picks = k_center(vectors, 100, candidates=may)
    assert picks.positions.tolist() == at[k_center(vectors[at], 100).positions].tolist()


def test_k_center_takes_copies_last_and_in_order(rng: np.random.Generator) -> None:
    distinct = unit(rng.normal(size=(30, 8)))
    vectors = np.tile(distinct, (5, 1))
    picks = k_center(vectors, 150)
    assert sorted(picks.positions[:30]) == list(range(30))
    assert picks.positions[30:].tolist() == list(range(30, 150))
    assert np.all(picks.gains[30:] == 0)


def test_k_center_among_points_all_equally_far_takes_the_lowest_first() -> None:
    assert k_center(np.eye(40, dtype=np.float32), 40).positions.tolist() == list(range(40))


def test_k_center_stops_where_every_group_is_full(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 2500)
    caps = Caps(rng.integers(0, 60, size=2500), rng.integers(0, 6, size=60))
    picks = k_center(vectors, 2500, caps=caps).positions
    assert np.bincount(caps.codes[picks], minlength=60).tolist() == caps.most.tolist()


@pytest.mark.parametrize("with_caps", [False, True])
@pytest.mark.parametrize("preselected", [[], [3, 77]])
def test_k_center_on_torch_picks_the_same(rng: np.random.Generator, with_caps: bool, preselected: list[int]) -> None:
    pytest.importorskip("torch")
    vectors = cloud(rng, 200)
    caps = Caps(np.arange(200) % 7, np.full(7, 4)) if with_caps else None
    among = np.setdiff1d(np.arange(200), preselected)
    first = -1 if preselected else int((vectors[among] @ vectors[among].mean(axis=0)).argmax())
    slots, similarity = on_torch(
        vectors[among], 60, centres=vectors[preselected], first=first, tally=Tally(caps, among), device="cpu"
    )
    picks = k_center(vectors, 60, preselected=preselected, caps=caps, device="cpu")
    assert among[slots].tolist() == picks.positions.tolist()
    assert np.clip(1 - similarity, 0, 2) == pytest.approx(picks.gains, abs=1e-6)


# -- facility location --


def test_lazy_dense_facility_location_picks_what_naive_greedy_picks(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 150)
    similarity = np.maximum(vectors @ vectors.T, 0.0)
    assert facility_location(vectors, 150).positions.tolist() == naive_facility(similarity, 150)


def test_lazy_sparse_facility_location_picks_what_naive_greedy_picks_along_the_graph(rng: np.random.Generator) -> None:
    vectors, everyone = cloud(rng, 150), np.arange(150)
    graph = knn_graph(vectors, 5)
    task = _Task(vectors, everyone, everyone, np.ones(150, np.float32), np.zeros(150, np.float32), shift=0.0)
    slots, _ = lazy_greedy(
        _Sparse(task, graph), 60, tally=Tally(None, everyone), progress=no_progress
    )  # 64 are measured
    assert slots.tolist() == naive_facility(along_graph(graph), 60)


def test_gains_along_a_graph_are_the_same_alone_and_together(rng: np.random.Generator) -> None:
    vectors, everyone, weight = cloud(rng, 150), np.arange(150), rng.random(150).astype(np.float32)
    found = knn_graph(vectors, 5)
    there = rng.random(found.positions.shape) < 0.8
    graph = Neighbors(np.where(there, found.positions, -1), np.where(there, found.similarity, -1.0), 1.0)
    weight[[0, 7, 8, 149]] = 0.0
    for lonely in (7, 149):  # the last of them, too: whoever covers nothing has no edges
        graph.positions[lonely] = -1
        graph.positions[graph.positions == lonely] = -1
    task = _Task(vectors, everyone, np.flatnonzero(weight), weight, np.zeros(150, np.float32), shift=0.1)
    objective = _Sparse(task, graph)
    similarity = np.maximum(along_graph(graph) - np.float32(0.1), 0.0) * weight
    for picked in (3, 40):
        objective.add(picked)
    best = similarity[[3, 40]].max(axis=0)
    expected = np.maximum(similarity - best, 0.0).sum(axis=1)
    assert expected[7] == expected[149] == 0.0
    np.testing.assert_allclose(objective.first_gains(), expected, rtol=3e-5, atol=1e-6)
    np.testing.assert_allclose(objective.gains(np.array([149, 5, 7, 7, 90])), expected[[149, 5, 7, 7, 90]], rtol=3e-5)
    np.testing.assert_allclose([objective.gain(j) for j in range(150)], expected, rtol=1e-5, atol=1e-6)


def test_what_picks_added_is_measured_on_points_the_graph_does_not_link(rng: np.random.Generator) -> None:
    vectors, everyone = cloud(rng, 300), np.arange(300)
    task = _Task(vectors, everyone, everyone, np.ones(300, np.float32), np.zeros(300, np.float32), shift=0.0)
    objective = _Sparse(task, knn_graph(vectors, 2))
    for candidate in range(MEASURE_EVERY):
        objective.add(candidate)
    best = np.maximum(best_similarity(vectors, vectors[:MEASURE_EVERY]), 0.0)
    added = objective.measure(np.array([100, 200]))
    after = np.maximum(best, vectors @ vectors[100])
    assert added[0] == pytest.approx((after - best).sum(), abs=1e-3)
    assert added[1] == pytest.approx((np.maximum(after, vectors @ vectors[200]) - after).sum(), abs=1e-3)


def test_sparse_facility_location_over_a_complete_graph_is_the_dense_one(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 120)
    graph = knn_graph(vectors, 119)
    sparse, dense = facility_location(vectors, 120, neighbors=graph, dense_up_to=0), facility_location(vectors, 120)
    assert sparse.positions.tolist() == dense.positions.tolist()
    assert sparse.gains == pytest.approx(dense.gains, abs=1e-3)


def test_sparse_facility_location_represents_nearly_as_well_as_the_dense_one(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 3000, 32, clusters=60)
    graph = knn_graph(vectors, 16)
    for budget in (10, 60, 300):
        dense = facility_location(vectors, budget, dense_up_to=3000).positions
        sparse = facility_location(vectors, budget, neighbors=graph, dense_up_to=1000).positions
        value = [float(np.maximum(best_similarity(vectors, vectors[p]), 0).sum()) for p in (sparse, dense)]
        assert value[0] / value[1] > 0.985


def test_facility_location_first_picks_the_middle_of_the_largest_crowd() -> None:
    vectors = on_circle([0, 5, 10, 100, 104])
    picks = facility_location(vectors, 2)
    assert picks.positions.tolist() == [1, 3]
    assert picks.gains[0] == pytest.approx(1 + 2 * np.cos(np.radians(5)), abs=1e-4)  # opposite ones count nothing
    assert picks.nearest[1] == pytest.approx(1 - np.cos(np.radians(95)), abs=1e-5)


@pytest.mark.parametrize("sparse", [False, True])
def test_facility_location_gains_never_rise_and_add_up(rng: np.random.Generator, sparse: bool) -> None:
    vectors = cloud(rng, 900)
    graph = knn_graph(vectors, 899 if sparse else 1)
    picks = facility_location(vectors, 100, neighbors=graph, dense_up_to=0 if sparse else 900)
    assert np.all(np.diff(picks.gains) <= 0)
    reached = np.maximum(best_similarity(vectors, vectors[picks.positions]), 0).sum()
    assert picks.gains.sum() == pytest.approx(reached, rel=1e-3)


def test_facility_location_with_everything_asked_of_it_matches_naive_greedy(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 100)
    may, weights = rng.random(100) < 0.6, rng.integers(0, 4, size=100).astype(np.float32)
    caps = Caps(rng.integers(0, 5, size=100), np.array([3, 0, 9, 2, 5]))
    graph = knn_graph(vectors, 99)
    naive = naive_facility(
        np.maximum(vectors @ vectors.T, 0.0), 40, given=[2, 50], candidates=may, weights=weights, caps=caps
    )
    for dense_up_to in (100, 0):
        picks = facility_location(
            vectors, 40, neighbors=graph, preselected=[2, 50], candidates=may, weights=weights, caps=caps,
            dense_up_to=dense_up_to,
        )  # fmt: skip
        assert picks.positions.tolist() == naive


def test_what_preselected_points_represent_is_not_picked_again() -> None:
    vectors = on_circle([0, 1, 2, 3, 180])
    assert facility_location(vectors, 1).positions.tolist() == [1]
    assert facility_location(vectors, 1, preselected=[1]).positions.tolist() == [4]


def test_a_weight_of_zero_means_not_to_be_represented() -> None:
    vectors = on_circle([0, 1, 2, 3, 90, 93])
    crowd_counts_not = np.array([0, 0, 0, 0, 1, 1], np.float32)
    assert facility_location(vectors, 1, weights=crowd_counts_not).positions.tolist() == [4]


def test_a_shift_makes_weak_similarity_count_as_none() -> None:
    vectors = on_circle([0, 50, 100, 200, 201])  # the second has two half-alike neighbours, the last two each other
    assert facility_location(vectors, 1).positions.tolist() == [1]
    assert facility_location(vectors, 1, shift=0.9).positions.tolist() == [3]  # as good as the fourth: the lowest


def test_first_picks_over_a_thin_graph_stand_for_more_than_their_graph_neighbours(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 4000, 32, clusters=30)
    graph = knn_graph(vectors, 4)
    exact = facility_location(vectors, 20, dense_up_to=4000).positions
    picks = facility_location(vectors, 20, neighbors=graph, dense_up_to=2000).positions
    reached = [best_similarity(vectors, vectors[p]).mean() for p in (picks, exact)]
    assert reached[0] > 0.98 * reached[1]


def test_facility_location_without_a_graph_says_from_which_size_it_needs_one(rng: np.random.Generator) -> None:
    with pytest.raises(EmptyGraph, match="over 40 candidates and 40 points needs a neighbour graph"):
        facility_location(cloud(rng, 40), 5, dense_up_to=30)


# -- laws of an ordering --

GREEDY: dict[str, Callable[..., Picks]] = {
    "dense": facility_location,
    "sparse": lambda v, m, **kw: facility_location(v, m, neighbors=knn_graph(v, 4), dense_up_to=len(v) // 2, **kw),
    "k_center": k_center,
    "random": lambda v, m, **kw: random_picks(v, m, rng=np.random.default_rng(3), **kw),
}


@pytest.mark.parametrize("method", GREEDY)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), data=st.data())
@few
def test_a_prefix_is_the_smaller_selection(method: str, seed: int, n: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    vectors, may = cloud(rng, n, 6), rng.random(n) < 0.8
    given_first = rng.choice(n, data.draw(st.integers(0, min(n, 3))), replace=False)
    large = GREEDY[method](vectors, n, preselected=given_first, candidates=may)
    budget = data.draw(st.integers(0, n))
    small = GREEDY[method](vectors, budget, preselected=given_first, candidates=may)
    assert small.positions.tolist() == large.positions[:budget].tolist()
    assert small.gains.tolist() == large.gains[:budget].tolist()
    np.testing.assert_allclose(small.nearest, large.nearest[:budget], atol=1e-6)


@pytest.mark.parametrize("method", GREEDY)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 60), budget=st.integers(0, 80))
@few
def test_picks_are_distinct_candidates_and_as_many_as_there_are(method: str, seed: int, n: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, may = cloud(rng, n, 6), rng.random(n) < 0.7
    given_first = np.flatnonzero(rng.random(n) < 0.1)
    picks = GREEDY[method](vectors, budget, preselected=given_first, candidates=may)
    eligible = set(np.flatnonzero(may)) - set(given_first)
    assert len(picks) == len(set(picks.positions)) == min(budget, len(eligible))
    assert set(picks.positions) <= eligible


@pytest.mark.parametrize("method", ["dense", "k_center"])
@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_the_points_does_not_matter(method: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, shuffled = cloud(rng, 300), rng.permutation(300)
    plain, moved = GREEDY[method](vectors, 8), GREEDY[method](vectors[shuffled], 8)
    assert shuffled[moved.positions].tolist() == plain.positions.tolist()


def test_gains_that_only_rounding_tells_apart_are_ties() -> None:
    assert settle(2111.9141) == settle(2111.9142)
    assert settle(1.0) == settle(1.0 - 1e-7) > settle(1.0 - 1e-5)
    assert settle(0.0) == 0.0
    assert facility_location(on_circle([20, 70]), 1).positions.tolist() == [0]
    assert k_center(on_circle([70, 20]), 1).positions.tolist() == [0]


@pytest.mark.parametrize("method", GREEDY)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
@few
def test_caps_are_kept_and_filled(method: str, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, codes = cloud(rng, n, 6), rng.integers(0, 4, size=n)
    caps = Caps(codes, rng.integers(0, 8, size=4))
    picked = GREEDY[method](vectors, n, caps=caps).positions
    assert (
        np.bincount(codes[picked], minlength=4).tolist()
        == np.minimum(np.bincount(codes, minlength=4), caps.most).tolist()
    )


@given(seed=st.integers(0, 10_000), n=st.integers(1, 50))
@few
def test_capped_k_center_picks_what_the_naive_loop_picks(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 6)
    caps = Caps(rng.integers(0, 4, size=n), rng.integers(1, 8, size=4))
    picks = k_center(vectors, n // 2 + 1, caps=caps).positions
    assert picks.tolist() == naive_k_center(vectors, n // 2 + 1, first=central(vectors), caps=caps)


def test_arguments_are_left_as_they_were(rng: np.random.Generator) -> None:
    vectors, may, given_first = cloud(rng, 200), rng.random(200) < 0.5, np.array([1, 2])
    before = vectors.copy(), may.copy(), given_first.copy()
    for method in METHODS:
        both = {"groups": ["a", "b"] * 100, "quotas": "equal"}
        run(vectors, asking(method, 20, 200, preselected=given_first, candidates=may, **both))
    for array, copy in zip((vectors, may, given_first), before, strict=True):
        np.testing.assert_array_equal(array, copy)


# -- outliers and typicality --


def test_planted_junk_is_set_aside_strangest_first(rng: np.random.Generator) -> None:
    vectors = np.concatenate([cloud(rng, 200, 32, clusters=3, spread=0.1), unit(rng.normal(size=(6, 32)))])
    trimmed = trim_outliers(knn_graph(vectors, 15), share=6 / 206)
    assert sorted(trimmed) == list(range(200, 206))
    distance = 1 - np.sort(vectors[trimmed] @ vectors.T, axis=1)[:, -11:-1].mean(axis=1)
    assert np.all(np.diff(distance) <= 1e-6)


def test_trimming_judges_only_those_asked_about_and_leaves_enough(rng: np.random.Generator) -> None:
    graph = knn_graph(unit(rng.normal(size=(50, 8))), 5)
    among = np.arange(10, 30)
    assert set(trim_outliers(graph, share=0.5, among=among)) <= set(among)
    assert len(trim_outliers(graph, share=0.5, among=among)) == 10
    assert len(trim_outliers(graph, share=0.5, among=among, keep=18)) == 2
    assert len(trim_outliers(graph, share=0.5, among=among, keep=30)) == 0
    assert len(trim_outliers(graph, share=0.0)) == 0


def test_a_point_without_neighbours_is_the_strangest() -> None:
    graph = Neighbors(np.array([[1], [0], [-1]]), np.array([[0.9], [0.9], [-1.0]], np.float32), 1.0)
    assert trim_outliers(graph, share=0.34).tolist() == [2]
    assert typicality(graph) == pytest.approx([1 / np.sqrt(0.2)] * 2 + [0.5])


def test_a_trim_share_outside_its_range_is_refused() -> None:
    with pytest.raises(BadSelection, match=r"trim share 1\.5; expected a share of 0 or more and below 1"):
        trim_outliers(Neighbors(np.array([[0]]), np.ones((1, 1), np.float32), 1.0), share=1.5)


def test_typicality_is_the_inverse_mean_chord_to_the_neighbours() -> None:
    graph = Neighbors(np.array([[1, 2], [0, 2]]), np.array([[0.5, 0.5], [1.0, 1.0]], np.float32), 1.0)
    assert typicality(graph) == pytest.approx([1.0, 1e6])


def test_typicality_without_neighbours_says_what_to_do() -> None:
    with pytest.raises(EmptyGraph, match="needs at least 1 neighbour per point, got 0"):
        typicality(Neighbors(np.zeros((3, 0), np.int64), np.zeros((3, 0), np.float32), 1.0))


def blobs(rng: np.random.Generator, sizes: Sequence[int]) -> tuple[FloatArray, IntArray]:
    """Tight, far-apart groups, and the group of each point."""
    label = np.repeat(np.arange(len(sizes)), sizes)
    return unit(10 * np.eye(len(sizes))[label] + rng.normal(size=(len(label), len(sizes)))), label


def test_typicality_picks_one_of_each_cluster_largest_first(rng: np.random.Generator) -> None:
    vectors, label = blobs(rng, [10, 30, 20])
    graph = knn_graph(vectors, 5)
    picks = typicality_picks(vectors, 3, neighbors=graph)
    assert label[picks.positions].tolist() == [1, 2, 0]
    score = typicality(graph)
    for pick, gain in zip(picks.positions, picks.gains, strict=True):
        assert gain == score[pick] == score[label == label[pick]].max()


def test_typicality_comes_to_clusters_with_labels_last(rng: np.random.Generator) -> None:
    vectors, label = blobs(rng, [10, 30, 20])
    picks = typicality_picks(vectors, 2, neighbors=knn_graph(vectors, 5), preselected=np.flatnonzero(label == 1)[:1])
    assert label[picks.positions].tolist() == [2, 0]


def test_typicality_obeys_caps_and_candidates_and_repeats_itself(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 300)
    may, graph = rng.random(300) < 0.5, knn_graph(vectors, 8)
    caps = Caps(np.arange(300) % 2, np.array([3, 40]))
    first, second = (typicality_picks(vectors, 30, neighbors=graph, candidates=may, caps=caps) for _ in range(2))
    assert first.positions.tolist() == second.positions.tolist()
    assert len(first) == len(set(first.positions)) == 30
    assert np.all(may[first.positions])
    assert np.sum(first.positions % 2 == 0) <= 3
    assert len(typicality_picks(vectors, 0, neighbors=graph)) == 0


# -- controls --


def test_random_picks_follow_the_generator(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 50)
    one, same, other = (random_picks(vectors, 10, rng=np.random.default_rng(s)).positions.tolist() for s in (1, 1, 2))
    assert one == same != other


def test_every_nth_takes_even_steps() -> None:
    assert every_nth(np.arange(10), 5).tolist() == [0, 2, 4, 6, 8]
    assert every_nth(np.arange(10), 3).tolist() == [0, 3, 6]
    assert every_nth(np.arange(3), 9).tolist() == [0, 1, 2]
    assert every_nth(NONE, 3).tolist() == []


def test_every_nth_with_caps_steps_within_each_group(rng: np.random.Generator) -> None:
    caps = Caps(np.array([0] * 8 + [1] * 4), np.array([2, 4]))
    assert every_nth_picks(cloud(rng, 12), 6, caps=caps).positions.tolist() == [0, 4, 8, 9, 10, 11]
    assert len(every_nth_picks(cloud(rng, 12), 3, caps=caps)) == 3


# -- budgets and quotas --


@pytest.mark.parametrize(
    ("budget", "n", "expected"),
    [
        (147, 4410, 147),
        ("147", 10, 147),
        ("5%", 200, 10),
        (" 3.5 % ", 200, 7),
        ("1%", 10, 1),
        ("5%", 0, 0),
        ("100%", 7, 7),
    ],
)
def test_a_budget_is_a_number_or_a_share(budget: int | str, n: int, expected: int) -> None:
    assert parse_budget(budget, n) == expected


@pytest.mark.parametrize("budget", ["", "many", "0", 0, -3, "2.5", "0%", "101%", "-1%", "nan%", "%"])
def test_a_budget_that_is_neither_is_refused(budget: int | str) -> None:
    with pytest.raises(BadSelection, match="expected a whole number above 0 such as 500, or a share such as 5%"):
        parse_budget(budget, 100)


def test_equal_quotas_give_what_small_groups_cannot_take_to_the_others() -> None:
    assert equal_quotas(np.array([2, 100, 50]), 30).tolist() == [2, 14, 14]
    assert equal_quotas(np.array([2, 100, 50]), 31).tolist() == [2, 15, 14]
    assert equal_quotas(np.array([5, 5, 9]), 2).tolist() == [1, 0, 1]
    assert equal_quotas(np.array([1, 2]), 10).tolist() == [1, 2]
    assert equal_quotas(np.zeros(0, np.int64), 10).tolist() == []


def test_proportional_quotas_round_by_largest_remainder() -> None:
    assert proportional_quotas(np.array([50, 30, 20]), 10).tolist() == [5, 3, 2]
    assert proportional_quotas(np.array([10, 10, 10]), 4).tolist() == [2, 1, 1]
    assert proportional_quotas(np.array([97, 2, 1]), 10).tolist() == [10, 0, 0]
    assert proportional_quotas(np.array([0, 0]), 10).tolist() == [0, 0]


@pytest.mark.parametrize("rule", [equal_quotas, proportional_quotas])
@given(available=st.lists(st.integers(0, 50), max_size=12), budget=st.integers(0, 300))
@few
def test_quotas_add_up_and_no_group_is_asked_for_more_than_it_has(
    rule: Callable[[IntArray, int], IntArray], available: list[int], budget: int
) -> None:
    sizes = np.array(available, np.int64)
    quotas = rule(sizes, budget)
    assert quotas.sum() == min(budget, sizes.sum())
    assert np.all((quotas >= 0) & (quotas <= sizes))
    if rule is equal_quotas:
        short = quotas < sizes
        assert np.all(quotas[short] >= quotas.max(initial=0) - 1)


def test_points_without_a_value_are_one_group() -> None:
    keys, codes = encode(["a", None, float("nan"), "a", np.nan])
    assert keys == ["a", None]
    assert codes.tolist() == [0, 1, 1, 0, 1]


def test_groups_that_a_mapping_does_not_name_share_what_is_left() -> None:
    groups = ["day"] * 5 + ["night"] * 5 + ["dusk", "dawn"] * 3
    caps, unmet = caps_for({"night": 3, "day": 1}, groups=groups, among=np.arange(16), budget=8)
    picks = k_center(unit(np.random.default_rng(0).normal(size=(16, 4))), 8, caps=caps).positions
    taken = [groups[i] for i in picks]
    assert (taken.count("day"), taken.count("night"), len(taken)) == (1, 3, 8)
    assert unmet == ()


def test_quotas_that_cannot_be_met_are_told_in_a_sentence() -> None:
    groups = ["day"] * 5 + ["night"] * 2
    _, unmet = caps_for({"night": 4, "fog": 2}, groups=groups, among=np.arange(7), budget=5)
    assert unmet == (
        "The quotas ask for 6 picks in all and the budget is 5: some groups stay short.",
        "Group 'night' was asked for 4 picks and has 2 to pick from.",
        "Group 'fog' was asked for 2 picks and has 0 to pick from.",
    )


@pytest.mark.parametrize("quota", [-1, 1.5, True])
def test_a_quota_that_is_no_count_is_refused(quota: Any) -> None:
    with pytest.raises(BadSelection, match="for group 'a'; expected a whole number of 0 or more"):
        caps_for({"a": quota}, groups=["a"], among=np.arange(1), budget=1)


def test_an_unknown_rule_for_quotas_is_refused() -> None:
    rule: Any = "fair"
    with pytest.raises(BadSelection, match="quotas 'fair'; expected equal, proportional or a number per group"):
        caps_for(rule, groups=["a"], among=np.arange(1), budget=1)


def test_caps_with_a_group_nobody_numbered_are_refused() -> None:
    with pytest.raises(BadSelection, match=r"group codes 0\.\.3 with 2 caps"):
        Caps(np.array([0, 3]), np.array([1, 1]))
