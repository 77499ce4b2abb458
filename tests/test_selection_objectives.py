"""Objectives beyond k-center and facility location: each against a naive version of itself, and their laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, no_progress
from curator.errors import BadSelection, EmptyGraph
from curator.index import knn_graph, normalise
from curator.selection.ball import BallGain, ball_coverage
from curator.selection.facility import FacilityGain, facility_location
from curator.selection.graphcut import graph_cut
from curator.selection.greedy import ALONE, POOL_MAX, Batched, lazy_greedy, pooled_greedy, settle
from curator.selection.hierarchy import hierarchical
from curator.selection.kcenter import DistanceGain, k_center
from curator.selection.logdet import LogDetGain, log_det
from curator.selection.mixed import Product, mixed
from curator.selection.picks import Picks, best_similarity
from curator.selection.quotas import Caps, Tally
from curator.selection.uncertainty import entropy, margin
from tests.vectors import round_clumps, slow_video, unit

NONE = np.zeros(0, np.int64)
few = settings(max_examples=12, deadline=None, derandomize=True)
Select = Callable[..., Picks]
METHODS: dict[str, Select] = {
    "log_det": log_det,
    "graph_cut": lambda v, m, **kw: graph_cut(v, m, balance_at=20, **kw),
    "ball_coverage": lambda v, m, **kw: ball_coverage(v, m, threshold=0.8, **kw),
    "mixed": mixed,
    "hierarchical": hierarchical,
}
GREEDY = [name for name in METHODS if name != "hierarchical"]


def objectives(vectors: FloatArray, among: IntArray, given: IntArray, **how: Any) -> dict[str, Batched]:
    graph = knn_graph(vectors, 12)
    return {
        "facility": FacilityGain(vectors, among, given, **how),
        "facility along a graph": FacilityGain(vectors, among, given, neighbors=graph, dense_up_to=0, **how),
        "distance": DistanceGain(vectors, among, given),
        "log_det": LogDetGain(vectors, among, given, **how),
        "ball": BallGain(vectors, among, given, threshold=0.8, **how),
        "product": Product(
            [(FacilityGain(vectors, among, given, **how), 1.0), (DistanceGain(vectors, among, given), 2)]
        ),
    }


OBJECTIVES = ["facility", "facility along a graph", "distance", "log_det", "ball", "product"]


def naive_greedy(objective: Batched, n: int, budget: int) -> list[int]:
    """Every gain, one by one, for every pick."""
    picks: list[int] = []
    for _ in range(min(budget, n)):
        gains = np.array([-1.0 if c in picks else settle(objective.gain(c)) for c in range(n)])
        picks.append(int(gains.argmax()))
        objective.add(picks[-1])
    return picks


# -- the seam: what every objective promises the greedy loops --


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gains_never_rise_and_bounds_are_bounds(rng: np.random.Generator, name: str) -> None:
    vectors = round_clumps(rng, 150)
    among, taken = np.setdiff1d(np.arange(150), [4, 77]), np.array([4, 77])
    objective = objectives(vectors, among, taken, weights=rng.random(150).astype(np.float32))[name]
    before = np.full(len(among), np.inf)
    for step, pick in enumerate(rng.choice(len(among), 30, replace=False).tolist()):
        some = rng.choice(len(among), 40, replace=False)
        bounds = objective.first_gains() if step % 7 == 0 else objective.gains(np.arange(len(among)))
        assert objective.gains(some) == pytest.approx(bounds[some], rel=1e-4, abs=1e-5)
        gains = np.array([objective.gain(c) for c in range(len(among))])
        assert np.all(gains >= 0)
        assert np.all(gains <= before * (1 + 1e-5) + 1e-5)
        assert np.all(gains <= bounds + 1e-6)
        assert gains == pytest.approx(bounds, rel=1e-3, abs=1e-4)
        before = gains
        objective.add(pick)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("greedy", [lazy_greedy, pooled_greedy])
def test_both_loops_pick_what_naive_greedy_picks(
    rng: np.random.Generator, greedy: Callable[..., tuple[IntArray, FloatArray]], name: str
) -> None:
    vectors, everyone = round_clumps(rng, 130), np.arange(130)
    slots, gains = greedy(
        objectives(vectors, everyone, NONE)[name], 60, tally=Tally(None, everyone), progress=no_progress
    )
    assert slots.tolist() == naive_greedy(objectives(vectors, everyone, NONE)[name], 130, 60)
    assert np.all(np.diff(gains) <= 1e-6)


class Counted:
    """An objective of fixed worth that counts who is measured, and how."""

    def __init__(self, worth: FloatArray, *, fall: float = 1.0) -> None:
        self.worth, self.fall = worth.astype(np.float64), fall
        self.alone = self.together = 0

    def first_gains(self) -> FloatArray:
        return (self.worth * (1 + 1e-5)).astype(np.float32)

    def gains(self, candidates: IntArray) -> FloatArray:
        self.together += 1
        return (self.worth[candidates] * (1 + 1e-5)).astype(np.float32)

    def gain(self, candidate: int) -> float:
        self.alone += 1
        return float(self.worth[candidate])

    def add(self, candidate: int) -> None:
        self.worth *= self.fall


def test_a_pool_measures_few_alone_where_a_heap_measures_everyone(rng: np.random.Generator) -> None:
    worth = rng.random(2000).astype(np.float32)
    tally = Tally(None, np.arange(2000))
    heap, pool = Counted(worth, fall=0.5), Counted(worth, fall=0.5)
    first, _ = lazy_greedy(heap, 50, tally=tally, progress=no_progress)
    second, _ = pooled_greedy(pool, 50, tally=tally, progress=no_progress)
    assert first.tolist() == second.tolist() == np.argsort(-worth)[:50].tolist()
    assert heap.alone > 50_000
    assert pool.alone <= 50 * (ALONE + 2) + 100


def test_pools_take_equal_gains_from_the_lowest_and_stop_when_all_are_taken() -> None:
    n = POOL_MAX + 700
    equal = Counted(np.ones(n, np.float32))
    slots, gains = pooled_greedy(equal, n + 5, tally=Tally(None, np.arange(n)), progress=no_progress)
    assert slots.tolist() == list(range(n))
    assert set(gains.tolist()) == {1.0}


@pytest.mark.parametrize("greedy", [lazy_greedy, pooled_greedy])
def test_what_an_objective_holds_already_counts_for_the_caps_and_is_not_picked(
    greedy: Callable[..., tuple[IntArray, FloatArray]],
) -> None:
    caps = Caps(np.array([0, 0, 0, 1, 1]), np.array([2, 1]))
    worth = np.array([5.0, 4.0, 3.0, 2.0, 1.0], np.float32)
    slots, _ = greedy(Counted(worth), 5, tally=Tally(caps, np.arange(5)), progress=no_progress, already=[0])
    assert slots.tolist() == [1, 3]


def test_distance_in_pools_is_k_center(rng: np.random.Generator) -> None:
    vectors = np.concatenate([round_clumps(rng, 900), slow_video(rng, 300)])
    among = np.setdiff1d(np.arange(1200), [3])
    slots, gains = pooled_greedy(
        DistanceGain(vectors, among, np.array([3])), 200, tally=Tally(None, among), progress=no_progress
    )
    picks = k_center(vectors, 200, preselected=[3])
    assert among[slots].tolist() == picks.positions.tolist()
    assert gains == pytest.approx(picks.gains, abs=1e-5)


def test_distance_is_two_before_the_first_pick_and_nothing_for_copies(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 2), 3, axis=0)
    objective = DistanceGain(vectors, np.arange(6), NONE)
    assert [objective.gain(c) for c in range(6)] == [2.0] * 6
    objective.add(1)
    assert [objective.gain(c) for c in (0, 1, 2)] == [0.0] * 3
    assert objective.gain(3) == pytest.approx(1 - float(vectors[0] @ vectors[3]), abs=1e-6)


# -- log-det --


def kernel_of(vectors: FloatArray, weights: FloatArray | None = None, width: float = 0.2) -> NDArray[np.float64]:
    root = np.sqrt(np.ones(len(vectors)) if weights is None else weights.astype(np.float64))
    exact = vectors.astype(np.float64)
    found: NDArray[np.float64] = np.exp((exact @ exact.T - 1) / width) * np.outer(root, root)
    return found


def log_det_of(kernel: NDArray[np.float64], picks: Sequence[int], noise: float) -> float:
    part = np.eye(len(picks)) + kernel[np.ix_(picks, picks)] / noise
    return float(np.linalg.slogdet(part)[1])


def test_log_det_gains_are_differences_of_the_determinant(rng: np.random.Generator) -> None:
    vectors, weights = round_clumps(rng, 90), rng.random(90).astype(np.float32)
    picks = log_det(vectors, 40, weights=weights, noise=0.05, preselected=[7, 8, 9])
    kernel, so_far = kernel_of(vectors, weights), [7, 8, 9]
    for position, gain in zip(picks.positions.tolist(), picks.gains.tolist(), strict=True):
        before = log_det_of(kernel, so_far, 0.05)
        best = max(log_det_of(kernel, [*so_far, j], 0.05) for j in range(90) if j not in so_far)
        so_far.append(position)
        assert log_det_of(kernel, so_far, 0.05) - before == pytest.approx(gain, rel=1e-4, abs=1e-5)
        assert gain == pytest.approx(best - before, rel=1e-4, abs=1e-5)


def test_log_det_leaves_copies_for_last(rng: np.random.Generator) -> None:
    vectors = np.tile(unit(rng, 20), (3, 1))
    assert sorted(log_det(vectors, 20).positions % 20) == list(range(20))
    assert log_det(vectors, 60, noise=1e-3).gains[20] == pytest.approx(np.log(2), abs=0.01)


def test_log_det_wants_quality_as_well(rng: np.random.Generator) -> None:
    vectors, weights = unit(rng, 60), np.ones(60, np.float32)
    weights[::2] = 0.01
    assert np.all(log_det(vectors, 30, weights=weights).positions % 2 == 1)


def test_log_det_beyond_its_memory_picks_from_the_points_farthest_apart(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 400)
    shortlist = k_center(vectors, 50).positions
    picks = log_det(vectors, 20, history_bytes=8 * 20 * 50)
    assert set(picks.positions) <= set(shortlist)
    caps = Caps(np.arange(400) % 2, np.array([15, 5]))
    capped = log_det(vectors, 20, history_bytes=8 * 20 * 50, caps=caps).positions
    assert np.bincount(capped % 2).tolist() == [15, 5]


def test_log_det_takes_more_picks_than_it_expected(rng: np.random.Generator) -> None:
    vectors, everyone = round_clumps(rng, 150), np.arange(150)
    small, large = (LogDetGain(vectors, everyone, NONE, most=most) for most in (1, 150))
    for candidate in rng.permutation(150)[:140].tolist():
        small.add(candidate)
        large.add(candidate)
    assert small.gains(everyone) == pytest.approx(large.gains(everyone), rel=1e-6)


@pytest.mark.parametrize("asked", [{"width": 0.0}, {"noise": 0.0}, {"width": float("nan")}])
def test_log_det_refuses_a_width_or_noise_of_nothing(rng: np.random.Generator, asked: dict[str, Any]) -> None:
    with pytest.raises(BadSelection, match="log-det with width .* expected both above 0"):
        log_det(unit(rng, 5), 2, **asked)


# -- coverage at a radius --


def naive_coverage(covers: BoolArray, budget: int, weights: FloatArray, given: Sequence[int] = ()) -> list[int]:
    open_ = weights.astype(np.float64).copy()
    open_[covers[list(given)].any(axis=0)] = 0.0
    picks: list[int] = []
    while len(picks) < budget:
        gains = np.array([settle(g) for g in covers.astype(np.float64) @ open_])
        gains[[*picks, *given]] = -1.0
        picks.append(int(gains.argmax()))
        open_[covers[picks[-1]]] = 0.0
    return picks


def test_ball_coverage_picks_what_naive_greedy_picks(rng: np.random.Generator) -> None:
    vectors, weights = round_clumps(rng, 200), rng.random(200).astype(np.float32)
    covers = vectors @ vectors.T >= 0.8
    picks = ball_coverage(vectors, 30, threshold=0.8, weights=weights, preselected=[5, 6])
    assert picks.positions.tolist() == naive_coverage(covers, 30, weights, given=[5, 6])
    reached = weights[covers[[*picks.positions, 5, 6]].any(axis=0)].sum() - weights[covers[[5, 6]].any(axis=0)].sum()
    assert picks.gains.sum() == pytest.approx(reached, rel=1e-5)


def test_ball_coverage_over_a_complete_graph_is_exact_and_over_a_thin_one_nearly(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 300)
    exact = ball_coverage(vectors, 15, threshold=0.8)
    whole = ball_coverage(vectors, 15, threshold=0.8, neighbors=knn_graph(vectors, 299))
    thin = ball_coverage(vectors, 15, threshold=0.8, neighbors=knn_graph(vectors, 15))
    assert whole.positions.tolist() == exact.positions.tolist()
    reached = [float((best_similarity(vectors, vectors[p.positions]) >= 0.8).mean()) for p in (thin, exact)]
    assert reached[0] >= 0.9 * reached[1]


def test_when_everything_is_covered_the_lowest_follow(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 3, 64), [1, 3, 2], axis=0)
    picks = ball_coverage(vectors, 6, threshold=0.9)
    assert picks.positions.tolist() == [1, 4, 0, 2, 3, 5]
    assert picks.gains.tolist() == [3, 2, 1, 0, 0, 0]
    objective = BallGain(vectors, np.arange(6), np.array([1]), threshold=0.9)
    assert objective.uncovered == 3


def test_ten_thousand_copies_count_as_one_and_hold_no_pairs(rng: np.random.Generator) -> None:
    vectors = np.concatenate([np.repeat(unit(rng, 1), 10_000, axis=0), unit(rng, 20)])
    picks = ball_coverage(vectors, 3, threshold=0.99, max_pairs=100)
    assert (picks.positions[0], picks.gains[0]) == (0, 10_000)
    assert picks.gains[1:].tolist() == [1, 1]


def test_more_pairs_than_may_be_held_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadSelection, match=r"more than 10 pairs of 60 points reach the threshold 0\.5; raise the"):
        ball_coverage(round_clumps(rng, 60, n_clumps=2), 3, threshold=0.5, max_pairs=10)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.1, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(rng: np.random.Generator, threshold: float) -> None:
    with pytest.raises(BadSelection, match="coverage threshold .* expected a cosine above 0 and up to 1"):
        ball_coverage(unit(rng, 5), 1, threshold=threshold)


# -- the product of facility gain and distance --


@pytest.mark.parametrize(("strength", "given"), [(0.5, []), (1.0, []), (3.0, [3, 7, 90])])
def test_mixed_is_the_product_of_what_each_factor_says(
    rng: np.random.Generator, strength: float, given: list[int]
) -> None:
    vectors = round_clumps(rng, 300)
    picks = mixed(vectors, 150, strength=strength, preselected=given)
    similarity = np.maximum(vectors @ vectors.T, 0.0)
    best = similarity[given].max(axis=0, initial=0.0)
    near = (vectors[given] @ vectors.T).max(axis=0, initial=-1.0)
    for rank, position in enumerate(picks.positions.tolist()):
        product = np.maximum(similarity - best, 0).sum(axis=1) * np.clip(1 - near, 0.0, 2.0) ** strength
        product[[*given, *picks.positions[:rank]]] = 0.0
        assert product[position] == pytest.approx(product.max(), rel=1e-4)
        assert picks.gains[rank] == pytest.approx(product[position], rel=1e-4)
        best, near = np.maximum(best, similarity[position]), np.maximum(near, vectors @ vectors[position])


def test_mixed_goes_on_from_its_picks_as_if_it_had_never_stopped(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 400)
    whole = mixed(vectors, 200)
    first, rest = whole.positions[:130], whole.positions[130:]
    assert mixed(vectors, 70, preselected=first).positions.tolist() == rest.tolist()


def test_mixed_keeps_picks_farther_apart_than_facility_location_and_nearer_to_all_than_k_center(
    rng: np.random.Generator,
) -> None:
    vectors = np.concatenate([round_clumps(rng, 800, spread=0.5), slow_video(rng, 400)])
    both, facility, centre = (method(vectors, 60) for method in (mixed, facility_location, k_center))
    near = [1 - float(np.nanmin(picks.nearest)) for picks in (both, facility)]
    mean = [float(best_similarity(vectors, vectors[picks.positions]).mean()) for picks in (both, centre)]
    assert near[0] <= near[1]
    assert mean[0] > mean[1]


def test_mixed_along_a_graph_is_nearly_as_good(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 2000, n_clumps=60)
    along, exact = mixed(vectors, 60, neighbors=knn_graph(vectors, 16), dense_up_to=100), mixed(vectors, 60)
    mean = [float(best_similarity(vectors, vectors[picks.positions]).mean()) for picks in (along, exact)]
    assert mean[0] > 0.97 * mean[1]


def test_mixed_above_its_size_says_that_it_needs_a_graph(rng: np.random.Generator) -> None:
    with pytest.raises(EmptyGraph, match="over 40 candidates and 40 points needs a neighbour graph"):
        mixed(unit(rng, 40), 5, dense_up_to=30)


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan")])
def test_a_strength_of_nothing_is_refused(rng: np.random.Generator, strength: float) -> None:
    with pytest.raises(BadSelection, match="mixed with strength .*; expected a number above 0"):
        mixed(unit(rng, 5), 2, strength=strength)
    with pytest.raises(BadSelection, match=r"a product of strengths \[.*\]; expected one or more, each above 0"):
        Product([(Counted(np.ones(2, np.float32)), strength)])
    with pytest.raises(BadSelection, match=r"a product of strengths \[\]"):
        Product([])


# -- graph cut --


def test_graph_cut_adds_what_its_formula_says(rng: np.random.Generator) -> None:
    vectors, weights = round_clumps(rng, 80), rng.random(80).astype(np.float32)
    picks = graph_cut(vectors, 25, redundancy=1.5, balance_at=10, weights=weights, preselected=[3])
    similarity = (1 + vectors.astype(np.float64) @ vectors.T) / 2
    so_far = [3]
    for position, gain in zip(picks.positions.tolist(), picks.gains.tolist(), strict=True):
        score = similarity @ weights / weights.sum() - 0.15 * similarity[:, so_far].sum(axis=1)
        score[so_far] = -np.inf
        assert score[position] == pytest.approx(score.max(), abs=1e-5)
        assert gain == pytest.approx(score[position], abs=1e-5)
        so_far.append(position)


def test_graph_cut_keeps_the_mean_of_the_points(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 500, n_clumps=8)
    picks = graph_cut(vectors, 50).positions
    drawn = rng.choice(500, 50, replace=False)
    off = [float(np.linalg.norm(vectors[p].mean(axis=0) - vectors.mean(axis=0))) for p in (picks, drawn)]
    assert off[0] < off[1]


@pytest.mark.parametrize("asked", [{"redundancy": -1.0}, {"redundancy": float("nan")}, {"balance_at": 0}])
def test_graph_cut_refuses_what_makes_no_sense(rng: np.random.Generator, asked: dict[str, Any]) -> None:
    with pytest.raises(BadSelection, match="graph cut with redundancy .* expected 0 or more, and 1 pick or more"):
        graph_cut(unit(rng, 5), 2, **asked)


# -- hierarchical --


def test_hierarchical_fills_clusters_like_water(rng: np.random.Generator) -> None:
    centres = unit(rng, 4, 64)
    label = np.repeat([0, 1, 2, 3], [60, 40, 30, 12])
    noisy = centres[label] + 0.02 * rng.normal(size=(142, 64))
    vectors = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    for budget, expected in ((4, [1, 1, 1, 1]), (50, [13, 13, 12, 12]), (100, [30, 29, 29, 12])):
        taken = np.bincount(label[hierarchical(vectors, budget, levels=[4]).positions], minlength=4)
        assert taken.tolist() == expected


def test_hierarchical_counts_what_is_labelled_and_takes_the_middle_first(rng: np.random.Generator) -> None:
    vectors = np.concatenate([round_clumps(rng, 60, n_clumps=1), round_clumps(rng, 30, n_clumps=1)])
    picks = hierarchical(vectors, 4, levels=[2], preselected=[0, 1, 2, 3])
    assert np.all(picks.positions >= 60)
    middle = vectors[60:].mean(axis=0)
    assert picks.positions[0] == 60 + int((vectors[60:] @ middle).argmax())
    assert picks.gains.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


@pytest.mark.parametrize("levels", [[10, 10], [5, 20], [0]])
def test_levels_that_do_not_fall_are_refused(rng: np.random.Generator, levels: list[int]) -> None:
    with pytest.raises(BadSelection, match=r"levels \[.*\]; expected falling numbers of clusters"):
        hierarchical(unit(rng, 30), 3, levels=levels)


# -- laws of an ordering --


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), data=st.data())
@few
def test_a_prefix_is_the_smaller_selection(method: str, seed: int, n: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    vectors, may = round_clumps(rng, n, 8, n_clumps=5), rng.random(n) < 0.8
    taken = rng.choice(n, data.draw(st.integers(0, min(n, 3))), replace=False)
    large = METHODS[method](vectors, n, preselected=taken, candidates=may)
    budget = data.draw(st.integers(0, n))
    small = METHODS[method](vectors, budget, preselected=taken, candidates=may)
    assert small.positions.tolist() == large.positions[:budget].tolist()
    eligible = set(np.flatnonzero(may)) - set(taken)
    assert len(large) == len(set(large.positions)) == len(eligible)
    assert set(large.positions) == eligible


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
@few
def test_caps_are_kept_and_filled(method: str, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, codes = round_clumps(rng, n, 8, n_clumps=5), rng.integers(0, 4, size=n)
    caps = Caps(codes, rng.integers(0, 8, size=4))
    picked = METHODS[method](vectors, n, caps=caps).positions
    expected = np.minimum(np.bincount(codes, minlength=4), caps.most)
    assert np.bincount(codes[picked], minlength=4).tolist() == expected.tolist()


@pytest.mark.parametrize("method", GREEDY)
@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_points_does_not_matter(method: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, shuffled = (
        normalise(round_clumps(rng, 250) + unit(rng, 1, 32)),
        rng.permutation(250),
    )  # a cone, as encoders
    plain, moved = METHODS[method](vectors, 12), METHODS[method](vectors[shuffled], 12)
    assert moved.gains == pytest.approx(plain.gains, rel=1e-4, abs=1e-5)
    if method != "ball_coverage":  # counts tie, and ties go to the lowest
        assert shuffled[moved.positions].tolist() == plain.positions.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_tiny_and_equal_sets_are_selected_whole(method: str, rng: np.random.Generator) -> None:
    for n in (0, 1, 2):
        assert sorted(METHODS[method](unit(rng, n), 5).positions) == list(range(n))
    equal = np.repeat(unit(rng, 1), 300, axis=0)
    assert METHODS[method](equal, 300).positions.tolist() == list(range(300))


@pytest.mark.parametrize("method", METHODS)
def test_arguments_are_left_as_they_were(method: str, rng: np.random.Generator) -> None:
    vectors, may, taken = round_clumps(rng, 100), rng.random(100) < 0.5, np.array([1, 2])
    before = vectors.copy(), may.copy(), taken.copy()
    METHODS[method](vectors, 20, preselected=taken, candidates=may, caps=Caps(np.arange(100) % 3, np.full(3, 5)))
    for array, copy in zip((vectors, may, taken), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("method", ["log_det", "graph_cut", "ball_coverage", "mixed"])
def test_weights_that_do_not_fit_are_refused(method: str, rng: np.random.Generator) -> None:
    for weights in (np.ones(4, np.float32), -np.ones(5, np.float32), np.full(5, np.nan, np.float32)):
        with pytest.raises(BadSelection, match="expected 5 numbers of 0 or more, one per vector"):
            METHODS[method](unit(rng, 5), 1, weights=weights)


# -- uncertainty --


def test_entropy_and_margin_go_from_sure_to_no_idea() -> None:
    p = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.6, 0.3, 0.1, 0]], np.float32)
    assert entropy(p) == pytest.approx([0, 1, 0.5, 0.648], abs=1e-3)
    assert margin(p) == pytest.approx([0, 1, 1, 0.7], abs=1e-6)
    assert entropy(p).dtype == margin(p).dtype == np.float32
    assert len(entropy(np.zeros((0, 3), np.float32))) == 0


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), classes=st.integers(2, 9))
@few
def test_uncertainty_lies_within_its_range_and_knows_no_order_of_classes(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.4), size=n).astype(np.float32)
    for score in (entropy, margin):
        found = score(p)
        assert np.all((found >= 0) & (found <= 1))
        assert score(p[:, rng.permutation(classes)]) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (np.ones((3, 1)), r"probabilities of shape \(3, 1\); expected \(n, classes\) with 2 classes or more"),
        (np.ones(3), r"probabilities of shape \(3,\)"),
        (np.array([[0.5, 0.5], [2.0, -1.0]]), "probabilities of point 1 add up to 1, the lowest is -1; expected"),
        (np.array([[0.5, 0.1]]), r"probabilities of point 0 add up to 0\.6"),
        (np.array([[np.nan, 1.0]]), "probabilities of point 0 add up to nan"),
    ],
)
def test_what_is_no_probability_is_refused(p: Any, message: str) -> None:
    for score in (entropy, margin):
        with pytest.raises(BadSelection, match=message):
            score(p)


def test_a_graph_without_neighbours_covers_each_point_by_itself(rng: np.random.Generator) -> None:
    graph = Neighbors(np.full((6, 1), -1), np.full((6, 1), -1, np.float32), 1.0)
    picks = ball_coverage(np.repeat(unit(rng, 3), 2, axis=0), 6, threshold=0.9, neighbors=graph)
    assert picks.positions.tolist() == [0, 2, 4, 1, 3, 5]
