"""Evidence: every number against a direct count, and verdicts that are honest when there is nothing to boast of."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.errors import BadSelection
from curator.evidence import (
    Band,
    against_random,
    coverage,
    coverage_curve,
    default_budgets,
    draw_controls,
    is_better,
    measure,
    sentence,
)
from curator.evidence.measures import Measure
from curator.selection import every_nth, facility_location


def unit(vectors: NDArray[np.float64]) -> FloatArray:
    length: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / length).astype(np.float32)


def cloud(rng: np.random.Generator, n: int, d: int = 12, *, clusters: int = 8) -> FloatArray:
    centres = rng.normal(size=(clusters, d))
    label = np.minimum(rng.geometric(0.3, size=n) - 1, clusters - 1)
    return unit(centres[label] + 0.3 * rng.normal(size=(n, d)))


def on_circle(degrees: list[float]) -> FloatArray:
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def band(selected: float, low: float, high: float, nth: float) -> Band:
    one = [np.array([v], np.float32) for v in (selected, (low + high) / 2, low, high, nth)]
    return Band(*one)


# -- coverage --


def test_coverage_of_points_on_a_circle() -> None:
    found = coverage(on_circle([0, 60, 90, 180]), np.array([0, 2]), threshold=0.8)
    cosines = [1.0, np.cos(np.radians(30)), 1.0, 0.0]
    assert found.mean_similarity == pytest.approx(np.mean(cosines))
    assert found.mean_distance == pytest.approx(1 - np.mean(cosines))
    assert found.max_distance == pytest.approx(1.0)
    assert found.share_within == 0.75
    assert (found.n_points, found.n_picks) == (4, 2)
    assert json.loads(json.dumps(found.to_dict()))["threshold"] == 0.8


def test_coverage_by_nothing_is_as_bad_as_can_be() -> None:
    found = coverage(on_circle([0, 60]), np.zeros(0, np.int64))
    assert (found.mean_similarity, found.max_distance, found.share_within) == (-1.0, 2.0, None)


def test_coverage_of_nothing_is_told_without_a_warning() -> None:
    found = coverage(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), threshold=0.5)
    assert (found.n_points, found.max_distance, found.share_within) == (0, 0.0, 0.0)


# -- the curve --


def direct(vectors: FloatArray, picks: IntArray, threshold: float) -> tuple[float, float, float]:
    best = (vectors @ vectors[picks].T).max(axis=1)
    return float(best.mean()), float(best.min()), float((best >= threshold).mean())


def test_the_curve_agrees_with_counting_each_budget_alone(rng: np.random.Generator) -> None:
    vectors, ordering = cloud(rng, 300), rng.permutation(300)[:60]
    found = coverage_curve(vectors, ordering, budgets=[1, 7, 60], rng=rng, threshold=0.8)
    assert found.share_within is not None
    bands = (found.mean_similarity, found.worst_similarity, found.share_within)
    for column, budget in enumerate([1, 7, 60]):
        selected = direct(vectors, ordering[:budget], 0.8)
        nth = direct(vectors, every_nth(np.arange(300), budget), 0.8)
        assert [b.selected[column] for b in bands] == pytest.approx(selected, abs=1e-5)
        assert [b.every_nth[column] for b in bands] == pytest.approx(nth, abs=1e-5)


def test_the_random_band_is_that_of_the_draws() -> None:
    vectors = cloud(np.random.default_rng(1), 200)
    found = coverage_curve(vectors, np.arange(20), budgets=[5, 20], rng=np.random.default_rng(7), n_random=40)
    again = np.random.default_rng(7)
    draws = [again.choice(200, 20, replace=False) for _ in range(40)]
    for column, budget in enumerate([5, 20]):
        means = [direct(vectors, draw[:budget], 0.5)[0] for draw in draws]
        assert found.mean_similarity.random_mean[column] == pytest.approx(np.mean(means), abs=1e-5)
        low, high = np.percentile(means, [2.5, 97.5], method="weibull")
        assert found.mean_similarity.random_low[column] == pytest.approx(low, abs=1e-5)
        assert found.mean_similarity.random_high[column] == pytest.approx(high, abs=1e-5)


def test_more_picks_never_cover_less(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 400)
    found = coverage_curve(vectors, rng.permutation(400), rng=rng, threshold=0.9)
    for one in (found.mean_similarity, found.worst_similarity, found.share_within):
        assert one is not None
        assert np.all(np.diff(one.selected) >= 0)
        assert np.all(np.diff(one.random_mean) >= 0)


def test_controls_draw_from_the_candidates_only() -> None:
    vectors = on_circle([0, 1, 2, 90, 91, 92])
    near_zero = np.array([True, True, True, False, False, False])
    found = coverage_curve(vectors, np.array([0]), rng=np.random.default_rng(0), candidates=near_zero)
    assert found.n_available == 3
    assert found.mean_similarity.random_high[0] < 0.6  # a draw near 90 degrees would do as well, none is made
    spread = coverage_curve(vectors, np.array([0, 3]), budgets=[2], rng=np.random.default_rng(0), candidates=near_zero)
    assert spread.mean_similarity.selected[0] > 0.99 > spread.mean_similarity.random_high[0]


def test_preselected_points_cover_from_the_start_for_everyone(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 100)
    given = np.arange(50)
    found = coverage_curve(vectors, np.array([60]), rng=rng, preselected=given)
    alone = direct(vectors, given, 0.5)[0]
    one = found.mean_similarity
    assert found.n_available == 50
    assert min(one.selected[0], one.random_low[0], one.every_nth[0]) >= alone - 1e-5


def test_points_of_no_weight_are_not_measured() -> None:
    vectors = on_circle([0, 10, 90])
    weights = np.array([1, 3, 0], np.float32)
    found = coverage_curve(vectors, np.array([0]), rng=np.random.default_rng(0), weights=weights)
    assert found.n_points == 2
    assert found.mean_similarity.selected[0] == pytest.approx((1 + 3 * np.cos(np.radians(10))) / 4)
    assert found.worst_similarity.selected[0] == pytest.approx(np.cos(np.radians(10)))


def test_a_sample_of_the_points_says_nearly_the_same(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 4000)
    picks = facility_location(vectors[:500], 20).positions
    whole = coverage_curve(vectors, picks, rng=np.random.default_rng(0))
    part = coverage_curve(vectors, picks, rng=np.random.default_rng(0), sample=1000)
    assert (whole.n_points, part.n_points) == (4000, 1000)
    np.testing.assert_allclose(part.mean_similarity.selected, whole.mean_similarity.selected, atol=0.02)


def test_the_same_generator_gives_the_same_curve(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 200)
    one, two = (coverage_curve(vectors, np.arange(9), rng=np.random.default_rng(3)).to_dict() for _ in range(2))
    assert one == two


def test_a_curve_is_plain_json(rng: np.random.Generator) -> None:
    found = coverage_curve(cloud(rng, 50), np.arange(10), budgets=[2, 10, 99], rng=rng, n_random=3).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["budgets"] == [2, 10]  # 99 were not picked
    assert found["share_within"] is None
    assert len(found["mean_similarity"]["random_low"]) == 2


def test_a_curve_of_no_picks_is_empty(rng: np.random.Generator) -> None:
    found = coverage_curve(cloud(rng, 5), np.zeros(0, np.int64), rng=rng)
    assert len(found.budgets) == 0
    assert is_better(found) is None
    assert found.measures() == ()
    assert len(found.path) == 0


def test_default_budgets_end_with_all_picks() -> None:
    assert default_budgets(0).tolist() == []
    assert default_budgets(1).tolist() == [1]
    assert default_budgets(1000)[[0, -1]].tolist() == [20, 1000]
    assert len(default_budgets(1000)) == 8


def test_progress_is_told(rng: np.random.Generator) -> None:
    told: list[tuple[str, int, int | None]] = []
    coverage_curve(cloud(rng, 20), np.arange(3), rng=rng, n_random=2, progress=lambda *at: told.append(at))
    assert told == [("evidence", i, 4) for i in (1, 2, 3, 4)]


def test_budgets_below_one_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadSelection, match="budget 0 of a coverage curve; expected 1 or more"):
        coverage_curve(cloud(rng, 5), np.arange(3), budgets=[0, 2], rng=rng)


def test_a_curve_without_random_draws_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadSelection, match="0 random draws; expected 1 or more"):
        coverage_curve(cloud(rng, 5), np.arange(3), rng=rng, n_random=0)


def test_weights_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    for weights in (np.ones(4, np.float32), -np.ones(5, np.float32)):
        with pytest.raises(BadSelection, match="expected 5 numbers of 0 or more"):
            coverage_curve(cloud(rng, 5), np.arange(3), rng=rng, weights=weights)


def test_the_fine_path_is_the_curve_of_the_selection_alone(rng: np.random.Generator) -> None:
    vectors, ordering = cloud(rng, 300), rng.permutation(300)[:60]
    found = coverage_curve(vectors, ordering, rng=rng, n_random=2)
    assert found.path_budgets[-1] == 60
    assert len(found.path_budgets) > len(found.budgets)
    for budget, value in zip(found.path_budgets.tolist(), found.path.tolist(), strict=True):
        assert value == pytest.approx(direct(vectors, ordering[:budget], 0.5)[0], abs=1e-5)


# -- the controls --


def test_controls_are_orderings_of_the_pool_without_the_preselected() -> None:
    candidates = np.arange(20) < 12
    found = draw_controls(
        20, 5, rng=np.random.default_rng(0), n_random=7, candidates=candidates, preselected=np.array([0, 3])
    )
    assert found.pool.tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert found.draws.shape == (7, 5)
    assert all(len(set(draw)) == 5 and set(draw) <= set(found.pool.tolist()) for draw in found.draws.tolist())
    assert found.nth(5).tolist() == [1, 4, 6, 8, 10]
    assert len({tuple(draw) for draw in found.draws.tolist()}) > 1


def test_controls_of_a_pool_that_is_too_small_take_all_of_it() -> None:
    found = draw_controls(3, 9, rng=np.random.default_rng(0), n_random=2)
    assert sorted(found.draws[0].tolist()) == [0, 1, 2]
    empty = draw_controls(3, 9, rng=np.random.default_rng(0), n_random=2, candidates=np.zeros(3, bool))
    assert empty.draws.shape == (2, 0)


def test_the_same_controls_serve_several_curves(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 200)
    controls = draw_controls(200, 20, rng=np.random.default_rng(4), n_random=5)
    one = coverage_curve(vectors, np.arange(20), rng=np.random.default_rng(0), controls=controls)
    two = coverage_curve(vectors, np.arange(50, 70), rng=np.random.default_rng(9), controls=controls)
    assert one.mean_similarity.random_mean.tolist() == two.mean_similarity.random_mean.tolist()
    assert (one.n_random, one.n_available) == (5, 200)


# -- in words --


def numbers(name: str, selected: float, low: float, high: float, nth: float, **more: float) -> Measure:
    return Measure(name, selected, (low + high) / 2, low, high, nth, **more)  # type: ignore[arg-type]


def test_a_measure_stands_where_its_interval_says() -> None:
    assert numbers("m", 0.81, 0.61, 0.65, 0.7).standing == 1
    assert numbers("m", 0.60, 0.61, 0.65, 0.7).standing == -1
    assert numbers("m", 0.63, 0.61, 0.65, 0.63).standing == 0
    assert numbers("m", 0.6504, 0.61, 0.65, 0.65).standing == 0  # too small a difference to read
    assert [numbers("m", 0.7, 0.6, 0.8, nth).beside_every_nth for nth in (0.6, 0.7003, 0.8)] == [1, 0, -1]


def test_where_the_difference_was_measured_it_decides() -> None:
    outside = {"selected": 0.9, "low": 0.4, "high": 0.6, "nth": 0.5}
    assert numbers("m", **outside, gap_low=-0.01, gap_high=0.4).standing == 0
    assert numbers("m", **outside, gap_low=0.01, gap_high=0.4).standing == 1
    assert numbers("m", **outside, gap_low=-0.4, gap_high=-0.01).standing == -1


def test_an_interval_that_lies_to_one_side_is_told_by_its_ends() -> None:
    lopsided = Measure("coverage", 0.967, 0.946, 0.526, 0.967, 0.95)
    share = Measure("clusters seen", 1.0, 0.911, 0.751, 1.0, 1.0, is_share=True)
    said = sentence([lopsided, share], budget=11, n_random=40)
    assert "coverage (0.967 vs 0.946, 0.526 to 0.967)" in said  # 0.946 ± 0.220 would reach beyond 1
    assert "clusters seen (100.0% vs 91.1%, 75.1% to 100.0%)" in said


def test_a_sentence_tells_what_is_better_equal_and_worse() -> None:
    told = sentence(
        [
            numbers("coverage", 0.81, 0.61, 0.65, 0.7),
            numbers("class balance", 0.4, 0.3, 0.5, 0.3, is_share=True),
            numbers("the farthest image", 0.1, 0.2, 0.3, 0.4),
        ],
        budget=1470,
        n_random=20,
    )
    assert told == (
        "Better than random on coverage (0.810 vs 0.630 ± 0.020); no better on class balance (40.0% vs 40.0% ± 10.0); "
        "worse on the farthest image (0.100 vs 0.250 ± 0.050). Worse than every-nth on the farthest image. "
        "(20 random draws of 1,470.)"
    )


@pytest.mark.parametrize(
    ("selected", "nth", "start", "end"),
    [
        (0.63, 0.5, "No better than random on m (", "Better than every-nth on all of these."),
        (0.5, 0.5, "Worse than random on m (", "No worse than every-nth on any of these."),
        (0.5, 0.6, "Worse than random on m (", "Worse than every-nth on all of these."),
    ],
)
def test_a_sentence_admits_what_is_not_better(selected: float, nth: float, start: str, end: str) -> None:
    told = sentence([numbers("m", selected, 0.61, 0.65, nth)], budget=5, n_random=3)
    assert told.startswith(start)
    assert end in told


def test_a_measure_holds_the_interval_of_its_draws() -> None:
    found = measure("m", 0.5, [0.1, 0.2, 0.3, 0.4], 0.25)
    assert found.random_mean == pytest.approx(0.25)
    assert found.every_nth == 0.25
    assert [found.random_low, found.random_high] == pytest.approx([0.1, 0.4])
    body = found.to_dict()
    assert json.loads(json.dumps(body)) == body
    assert (body["standing"], body["beside_every_nth"]) == (1, 1)


def test_the_measures_of_a_curve_are_its_last_values(rng: np.random.Generator) -> None:
    found = coverage_curve(cloud(rng, 100), np.arange(9), rng=rng, threshold=0.9)
    mean, within, worst = found.measures()
    assert (mean.name, within.name, worst.name) == (
        "coverage",
        "images within cosine 0.90 of a pick",
        "the farthest image",
    )
    assert mean.selected == float(found.mean_similarity.selected[-1])
    assert (mean.is_share, within.is_share) == (False, True)
    assert found.share_within is not None
    assert within.every_nth == float(found.share_within.every_nth[-1])


def test_differences_too_small_to_read_are_no_difference() -> None:
    assert against_random(band(0.7504, 0.65, 0.75, 0.7)) == 0
    assert against_random(band(0.7506, 0.65, 0.75, 0.7)) == 1


def test_a_random_selection_is_no_better_than_random_and_a_greedy_one_is(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 600, clusters=40)
    drawn = coverage_curve(vectors, rng.permutation(600)[:30], rng=rng)
    chosen = coverage_curve(vectors, facility_location(vectors, 30).positions, rng=rng)
    assert is_better(drawn) is None
    assert is_better(chosen) is True
