"""Composition: several wishes at once, limits between picks, targets, and where an ordering stops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray, IntArray, no_progress
from curator.errors import BadSelection
from curator.index import knn_graph
from curator.selection import (
    KINDS,
    METHODS,
    Apart,
    Caps,
    Method,
    Outcome,
    Request,
    Spacing,
    Stop,
    Strategy,
    Target,
    apportion,
    caps_for,
    describe,
    facility_location,
    field,
    k_center,
    like,
    run,
    stopping,
    targets,
)
from curator.selection.compose import Scene, compose, scaled, similarity_to, turned
from curator.selection.greedy import settle
from curator.selection.picks import best_similarity
from curator.selection.quotas import Tally, only
from tests.selections import NONE, asking, on_circle, unit

few = settings(max_examples=25, deadline=None, derandomize=True)


def cloud(rng: np.random.Generator, n: int, d: int = 8, *, clusters: int = 6) -> FloatArray:
    centres = rng.normal(size=(clusters, d))
    return unit(centres[rng.integers(0, clusters, n)] + 0.4 * rng.normal(size=(n, d)))


def wish(*strategies: Strategy, budget: int = 5, **more: Any) -> Request:
    return Request("strategies", budget, strategies=strategies, **more)


def picked(outcome: Outcome) -> list[int]:
    positions: list[int] = outcome.picks.positions.tolist()
    return positions


# -- products --


def naive_product(
    vectors: FloatArray, budget: int, *, strategies: Sequence[Strategy], given_first: Sequence[int] = ()
) -> list[int]:
    """Every factor of every candidate from its definition, for each pick anew."""
    n = len(vectors)
    similarity = np.maximum(vectors @ vectors.T, 0.0)
    chosen = list(given_first)
    order: list[int] = []
    while len(order) < min(budget, n - len(given_first)):
        gains = np.full(n, -1.0)
        for j in set(range(n)) - set(chosen):
            product = 1.0
            for strategy in strategies:
                if strategy.kind == "diversity":
                    nearest = max((float(vectors[j] @ vectors[i]) for i in chosen), default=-1.0)
                    factor = 0.0 if nearest >= 1 - 1e-6 else min(1.0 - nearest, 2.0)
                elif strategy.kind == "representative":
                    best = similarity[chosen].max(axis=0) if chosen else np.zeros(n)
                    factor = float(np.maximum(similarity[j] - best, 0.0).sum())
                elif strategy.kind == "balance":
                    groups = list(strategy.groups or [])
                    shares = {key: groups.count(key) / n for key in groups}
                    if strategy.target == "uniform":
                        shares = dict.fromkeys(groups, 1.0)
                    have = sum(groups[i] == groups[j] for i in chosen)
                    factor = shares[groups[j]] / (2 * have + 1)
                else:
                    values = np.asarray(strategy.values)
                    factor = float(values[j] / values[[i for i in range(n) if i not in given_first]].max())
                product *= factor**strategy.strength
            gains[j] = settle(product)
        j = int(gains.argmax())
        order.append(j)
        chosen.append(j)
    return order


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("given_first", [[], [3, 11]])
def test_a_product_picks_what_measuring_everyone_anew_picks(seed: int, given_first: list[int]) -> None:
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, 40)
    weights = rng.random(40).astype(np.float32)
    groups = [str(g) for g in rng.integers(0, 3, 40)]
    for strategies in (
        (Strategy("diversity"), Strategy("representative", 0.7)),
        (Strategy("diversity", 0.5), Strategy("weights", 2.0, values=weights)),
        (Strategy("representative"), Strategy("balance", 1.5, groups=groups)),
        (Strategy("diversity"), Strategy("weights", values=weights), Strategy("balance", groups=groups)),
    ):
        outcome = run(vectors, wish(*strategies, budget=12, preselected=np.array(given_first, np.int64), trim_share=0))
        naive = naive_product(vectors, 12, strategies=strategies, given_first=given_first)
        assert np.mean(np.array(picked(outcome)) == naive) > 0.9  # products that differ by rounding alone may swap
        assert sorted(picked(outcome)) == sorted(naive)


def test_the_gains_of_a_product_never_rise(rng: np.random.Generator) -> None:
    outcome = run(cloud(rng, 200), wish(Strategy("diversity"), Strategy("representative"), budget=150))
    assert np.all(np.diff(outcome.picks.gains) <= 1e-6 * outcome.picks.gains[0])


def test_one_objective_alone_picks_what_its_own_method_picks(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 120)
    alone = run(vectors, wish(Strategy("representative"), budget=30))
    assert picked(alone) == facility_location(vectors, 30).positions.tolist()
    far = run(vectors, wish(Strategy("diversity"), budget=30, trim_share=0.0))
    assert picked(far) == picked(run(vectors, Request("diverse", 30, trim_share=0.0)))
    ball = run(vectors, wish(Strategy("coverage"), budget=20, threshold=0.8))
    assert picked(ball) == picked(run(vectors, Request("coverage", 20, threshold=0.8)))


def test_strength_zero_is_no_wish_at_all(rng: np.random.Generator) -> None:
    vectors, weights = cloud(rng, 60), rng.random(60).astype(np.float32)
    plain = run(vectors, wish(Strategy("representative"), budget=10))
    more = run(vectors, wish(Strategy("representative"), Strategy("weights", 0.0, values=weights), budget=10))
    assert picked(more) == picked(plain)
    nothing = run(vectors, wish(Strategy("diversity", 0.0), budget=10))
    assert picked(nothing) == list(range(10))


def test_a_higher_strength_pulls_further(rng: np.random.Generator) -> None:
    vectors, weights = cloud(rng, 300), rng.random(300).astype(np.float32)
    means = [
        weights[
            picked(run(vectors, wish(Strategy("diversity"), Strategy("weights", s, values=weights), budget=30)))
        ].mean()
        for s in (0.0, 0.5, 2.0, 8.0)
    ]
    assert means == sorted(means)
    assert means[-1] > 0.8


def test_weights_alone_are_the_ranking_of_a_column() -> None:
    vectors = on_circle([0, 20, 40, 60])
    values = np.array([3, np.nan, 9, 5], np.float32)
    outcome = run(vectors, wish(Strategy("weights", values=values, name="sharpness"), budget=4))
    assert picked(outcome) == [2, 3, 0, 1]
    assert outcome.notes == ("1 of 4 candidates have no sharpness; they count least.",)
    low = run(vectors, wish(Strategy("weights", -1.0, values=np.array([3, 4, 9, 5], np.float32)), budget=4))
    assert picked(low) == [0, 1, 3, 2]


def test_random_is_drawn_from_the_seed_and_does_not_move_when_others_leave(rng: np.random.Generator) -> None:
    vectors, may = cloud(rng, 50), np.arange(50) % 3 != 0
    everyone, some = (
        run(vectors, wish(Strategy("random"), budget=50, seed=4, candidates=mask)) for mask in (None, may)
    )
    assert [i for i in picked(everyone) if may[i]] == picked(some)
    assert picked(run(vectors, wish(Strategy("random"), budget=50, seed=5))) != picked(everyone)


def test_thresholds_come_before_everything_else(rng: np.random.Generator) -> None:
    vectors, values = cloud(rng, 40), np.arange(40, dtype=np.float32)
    values[39] = np.nan
    strategies = (
        Strategy("threshold", values=values, minimum=10, name="sharpness"),
        Strategy("threshold", values=values, maximum=19.5, name="age"),
        Strategy("diversity"),
    )
    outcome = run(vectors, wish(*strategies, budget=40, trim_share=0.0))
    assert sorted(picked(outcome)) == list(range(10, 20))
    assert outcome.notes == (
        "Threshold on sharpness: 29 of 40 pass.",
        "Threshold on age: 10 of 29 pass.",
    )


def test_similarity_prefers_what_the_queries_share_beside_everybody(rng: np.random.Generator) -> None:
    common = rng.normal(size=16) * 3
    kinds = rng.normal(size=(2, 16))
    vectors = unit(common + kinds[np.arange(100) % 2] + 0.2 * rng.normal(size=(100, 16)))
    like_first = run(vectors, wish(Strategy("similarity", queries=vectors[[0, 2]]), budget=30))
    assert all(i % 2 == 0 for i in picked(like_first))
    unlike = run(vectors, wish(Strategy("similarity", -1.0, queries=vectors[[0, 2]]), budget=30))
    assert all(i % 2 == 1 for i in picked(unlike))
    score = similarity_to(vectors, vectors[[0]])
    assert score[0] == pytest.approx(1.0, abs=1e-5)
    assert score.min() >= 0.0


def test_typicality_as_a_factor_leaves_junk_to_the_end(rng: np.random.Generator) -> None:
    vectors = np.concatenate([unit(np.eye(16)[0] + 0.1 * rng.normal(size=(60, 16))), unit(rng.normal(size=(5, 16)))])
    both = wish(Strategy("diversity"), Strategy("typicality", 3.0), budget=20)
    assert sum(i >= 60 for i in picked(run(vectors, both, graph=knn_graph(vectors, 10)))) == 0
    alone = wish(Strategy("diversity"), budget=20, trim_share=0.0)
    assert sum(i >= 60 for i in picked(run(vectors, alone))) == 5


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), budget=st.integers(0, 40))
@few
def test_a_prefix_of_a_product_is_the_smaller_selection(seed: int, n: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, weights = cloud(rng, n), rng.random(n).astype(np.float32)
    groups = [str(g) for g in rng.integers(0, 3, n)]
    strategies = (
        Strategy("diversity"), Strategy("representative", 0.5), Strategy("weights", values=weights),
        Strategy("balance", groups=groups), Strategy("random", 0.3),
    )  # fmt: skip
    clips = Spacing(rng.integers(-1, 3, n), rng.random(n) * 10, 1.5)
    large, small = (
        run(vectors, wish(*strategies, budget=m, trim_share=0.0, min_distance=0.02, spacing=clips)) for m in (n, budget)
    )
    assert picked(small) == picked(large)[:budget]


def test_nothing_left_to_gain_leaves_the_order_of_the_points() -> None:
    same = np.repeat(on_circle([30]), 5, axis=0)
    outcome = run(same, wish(Strategy("diversity"), Strategy("representative"), budget=5))
    assert picked(outcome) == [0, 1, 2, 3, 4]
    assert outcome.picks.gains.tolist() == [pytest.approx(1.0, rel=1e-4), 0.0, 0.0, 0.0, 0.0]


def test_ten_thousand_copies_of_one_vector_are_no_trouble() -> None:
    vectors = np.concatenate([np.repeat(on_circle([10]), 10_000, axis=0), on_circle([100, 190])])
    outcome = run(
        vectors,
        wish(Strategy("diversity"), Strategy("weights", values=np.ones(10_002, np.float32)), budget=3, trim_share=0),
    )
    assert picked(outcome) == [0, 10_001, 10_000]


def test_who_has_no_score_comes_last(rng: np.random.Generator) -> None:
    scores = np.array([0.1, np.nan, 0.9, np.nan, 0.5], np.float32)
    outcome = run(cloud(rng, 5), Request("uncertainty", 5, scores=scores))
    assert picked(outcome) == [2, 4, 0, 1, 3]
    assert outcome.picks.gains.tolist() == pytest.approx([0.9, 0.5, 0.1, 0.0, 0.0])
    assert outcome.notes == ("2 of 5 candidates have no score; they come last.",)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_points_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, shuffled = cloud(rng, 200), rng.permutation(200)
    weights, groups = rng.random(200).astype(np.float32), rng.integers(0, 4, 200)

    def order(at: IntArray) -> list[int]:
        strategies = (
            Strategy("diversity"), Strategy("representative"), Strategy("weights", values=weights[at]),
            Strategy("balance", groups=[str(g) for g in groups[at]]), Strategy("similarity", queries=vectors[:2]),
        )  # fmt: skip
        return at[picked(run(vectors[at], wish(*strategies, budget=8, min_distance=0.05)))].tolist()  # type: ignore[no-any-return]

    assert order(shuffled) == order(np.arange(200))


# -- balance --


def test_a_strong_balance_apportions_every_prefix(rng: np.random.Generator) -> None:
    groups = ["a"] * 100 + ["b"] * 60 + ["c"] * 40
    target = Target({"a": 0.53, "b": 0.28, "c": 0.19})
    request = wish(Strategy("diversity"), Strategy("balance", 50.0, groups=groups, target=target), budget=40)
    order = picked(run(cloud(rng, 200), request))
    for m in (1, 7, 20, 40):
        counts = [sum(groups[i] == g for i in order[:m]) for g in "abc"]
        assert counts == apportion(np.array([0.53, 0.28, 0.19]), m, available=np.array([100, 60, 40])).tolist()


def test_balance_counts_what_is_labelled_already(rng: np.random.Generator) -> None:
    groups = ["a", "b"] * 20
    request = wish(Strategy("balance", groups=groups), budget=10, preselected=np.arange(0, 20, 2))  # ten of a
    assert {groups[i] for i in picked(run(cloud(rng, 40), request))} == {"b"}


def test_a_balance_that_cannot_be_met_says_which_group_and_by_how_much(rng: np.random.Generator) -> None:
    groups = ["night"] * 4 + ["day"] * 96
    request = wish(Strategy("balance", groups=groups, name="weather"), budget=20)
    assert run(cloud(rng, 100), request).unmet == (
        "The balance by weather is not met: 'night' was to be 50 % and is 20 % (4 of 20, 6 short; 4 could be picked).",
    )
    enough = wish(Strategy("balance", groups=["night", "day"] * 50), budget=20)
    assert run(cloud(rng, 100), enough).unmet == ()


# -- scores as factors --


def test_numbers_become_factors_of_zero_to_one() -> None:
    values = np.array([4.0, np.nan, 2.0, 0.0, 2.0], np.float32)
    assert scaled(values, scale="value").tolist() == [1.0, 0.0, 0.5, 0.0, 0.5]
    assert scaled(values, scale="rank").tolist() == [1.0, 0.0, 0.625, 0.25, 0.625]
    assert scaled(np.full(3, np.nan, np.float32), scale="value").tolist() == [0, 0, 0]
    assert scaled(np.zeros(2, np.float32), scale="value").tolist() == [1, 1]
    assert scaled(np.array([-3.0, 5.0], np.float32), scale="rank").tolist() == [0.5, 1.0]
    assert turned(np.array([0.5, 1.0], np.float32), -1.0).tolist() == [1.0, 0.5]


def test_numbers_below_zero_are_refused_with_the_way_out(rng: np.random.Generator) -> None:
    request = wish(Strategy("weights", values=np.linspace(-1, 1, 9, dtype=np.float32), name="x"), budget=2)
    with pytest.raises(BadSelection, match="weights by x from -1 to 1; a product needs finite numbers .* scale: rank"):
        run(cloud(rng, 9), request)


# -- limits between picks --

LIMITED = [method for method in METHODS if method != "graph_cut"]


@pytest.mark.parametrize("method", METHODS)
def test_picks_keep_their_distance_from_each_other_and_from_labelled_points(
    rng: np.random.Generator, method: Method
) -> None:
    vectors = cloud(rng, 150)
    outcome = run(vectors, asking(method, 60, 150, min_distance=0.15, preselected=np.array([5, 9])))
    chosen = np.concatenate([[5, 9], outcome.picks.positions])
    apart = 1 - vectors[chosen] @ vectors[chosen].T + 2 * np.eye(len(chosen))
    apart[0, 1] = apart[1, 0] = 2.0  # what was labelled lies as it lies
    assert apart.min() >= 0.15 - 1e-5
    assert 3 < len(outcome) < 60
    assert "the least distance of 0.15 between picks allows" in outcome.unmet[0]


@pytest.mark.parametrize("method", [method for method in METHODS if method != "every_nth"])
def test_nobody_who_keeps_the_distance_is_left_out(rng: np.random.Generator, method: Method) -> None:
    """every_nth is left out: it steps over the candidates without looking."""
    vectors = cloud(rng, 80)
    outcome = run(vectors, asking(method, 80, 80, min_distance=0.2, trim_share=0.0))
    rest = np.setdiff1d(np.arange(80), outcome.picks.positions)
    assert np.all(1 - best_similarity(vectors[rest], vectors[outcome.picks.positions]) < 0.2 + 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_picks_of_a_clip_keep_their_seconds(rng: np.random.Generator, method: Method) -> None:
    clips, times = np.repeat([0, 1, -1], 40), np.arange(120, dtype=np.float64) % 40 / 2
    spacing = Spacing(clips, times, 2.0)
    outcome = run(cloud(rng, 120), asking(method, 40, 120, spacing=spacing, preselected=np.array([10])))
    for clip in (0, 1):
        at = [i for i in [10, *picked(outcome)] if clips[i] == clip]
        assert np.all(np.diff(np.sort(times[at])) >= 2.0)
    if method != "every_nth":
        assert len(outcome) == 40


def test_a_pick_as_far_as_asked_is_far_enough() -> None:
    spacing = Spacing(np.zeros(5, np.int64), np.arange(5, dtype=np.float64) / 10, 0.2)
    order = picked(run(on_circle([0, 1, 2, 3, 4]), Request("random", 5, spacing=spacing)))
    assert sorted(order) in ([0, 2, 4], [1, 3], [0, 3], [1, 4])
    apart = run(on_circle([0, 90, 180]), Request("representative", 3, min_distance=1.0))
    assert len(apart) == 3


def test_diverse_with_seconds_picks_the_farthest_that_is_open(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 60)
    spacing = Spacing(np.zeros(60, np.int64), np.arange(60.0), 0.5)  # closes nobody
    free = run(vectors, Request("diverse", 20, trim_share=0.0))
    spaced = run(vectors, Request("diverse", 20, trim_share=0.0, spacing=spacing))
    assert picked(spaced) == picked(free)
    assert spaced.picks.gains == pytest.approx(free.picks.gains, abs=1e-5)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40))
@few
def test_asking_all_at_once_is_asking_one_by_one(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, among = cloud(rng, n), np.flatnonzero(rng.random(n) < 0.8)
    labelled = rng.integers(0, n, 2)
    rules = (
        Apart(vectors, 0.3, labelled),
        Spacing(rng.integers(-1, 2, n), rng.random(n) * 5, 1.0, labelled),
    )
    tally = Tally(only(rules, n), among)
    for _ in range(3):
        openly = tally.open_points()
        assert openly.tolist() == [i for i in range(len(among)) if tally.is_open(i)]
        assert sorted([*openly, *tally.closed_points()]) == list(range(len(among)))
        if len(openly):
            tally.take(int(rng.choice(openly)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Apart(np.zeros((1, 2), np.float32), 2.5), "min_distance 2.5; expected a cosine distance from 0 to 2"),
        (lambda: Spacing(NONE, np.zeros(0), -1.0), "spacing of -1.0 s between picks of a clip; expected 0 or more"),
        (lambda: Spacing(NONE, np.zeros(2), 1.0), "0 clips and 2 times; expected one of each per vector"),
        (lambda: Stop(coverage=1.5, threshold=0.9), "stop at coverage 1.5; expected a share above 0 and up to 1"),
        (lambda: Stop(gain=0.0), "stop at gain 0.0; expected a share above 0"),
        (lambda: Stop(coverage=0.9), "stop at coverage without a threshold"),
        (lambda: Target({"a": 1.5}), "target share 1.5 for group 'a'; expected a share from 0 to 1"),
        (lambda: Target({"a": 0.7, "b": 0.7}), "target shares add up to 1.4; expected 1 or less"),
        (lambda: Target({}), "a target without shares; expected a share per group"),
        (lambda: like([], of="val"), "a target like val, which holds no image"),
        (lambda: targets.parse({"a": 3, "b": 0.5}), "mixes counts and shares"),
        (lambda: targets.parse({"a": "many"}), "'many' for group 'a'; expected a count such as 20, or a share"),
        (lambda: targets.parse({"a": True}), "True for group 'a'; expected a count"),
        (lambda: Strategy("best"), "unknown strategy 'best'; expected one of diversity, representative"),  # type: ignore[arg-type]
        (lambda: Strategy("diversity", -1.0), "strategy diversity with strength -1; expected 0 to 50"),
        (lambda: Strategy("weights"), "strategy weights without values"),
        (lambda: Strategy("similarity"), "strategy similarity without queries"),
        (lambda: Strategy("balance"), "strategy balance without groups"),
        (lambda: Strategy("threshold", values=np.zeros(1, np.float32)), "threshold on values without min or max"),
        (lambda: Request("strategies", 1), "method strategies goes with a list of strategies"),
        (lambda: Request("random", 1, strategies=(Strategy("random"),)), "method strategies goes with a list"),
        (lambda: Request("coverage", 1), "method coverage without a threshold"),
        (lambda: Request("uncertainty", 1), "method uncertainty without scores"),
        (
            lambda: Request("random", 1, stop=Stop(gain=0.1)),
            "stop at gain with method random, whose gains mean nothing",
        ),
        (lambda: Request("random", 1, threshold=1.2), "threshold 1.2; expected a cosine above 0 and up to 1"),
    ],
)
def test_what_cannot_be_used_is_refused_from_birth(make: Any, message: str) -> None:
    with pytest.raises(BadSelection, match=message):
        make()


def test_parts_of_another_length_are_refused(rng: np.random.Generator) -> None:
    vectors, one = cloud(rng, 5), np.ones(1, np.float32)
    for request, message in (
        (Request("uncertainty", 1, scores=one), "1 scores for 5 vectors"),
        (Request("random", 1, spacing=Spacing(np.zeros(1, np.int64), np.zeros(1), 1.0)), "1 clips for 5 vectors"),
        (wish(Strategy("weights", values=one)), "strategy weights with 1 values for 5 vectors; expected one each"),
        (wish(Strategy("balance", groups=["a"])), "strategy balance with 1 groups for 5 vectors"),
    ):
        with pytest.raises(BadSelection, match=message):
            run(vectors, request)


def test_a_factor_without_what_it_looks_at_is_refused(rng: np.random.Generator) -> None:
    scene = Scene(cloud(rng, 5), np.arange(5), NONE, np.ones(5, np.float32), graph=None, threshold=None, seed=0)
    for kind, message in (("coverage", "coverage without a threshold"), ("typicality", "without a neighbour graph")):
        strategy: Any = Strategy(kind)  # type: ignore[arg-type]
        with pytest.raises(BadSelection, match=message):
            compose(scene, [strategy], 1, caps=None, progress=no_progress)
    odd: Any = "fair"
    with pytest.raises(BadSelection, match="target 'fair'; expected uniform, proportional or a share per group"):
        compose(scene, [Strategy("balance", groups=["a"] * 5, target=odd)], 1, caps=None, progress=no_progress)


# -- targets --


def naive_seats(shares: Sequence[float], budget: int, available: Sequence[int]) -> list[int]:
    seats = [0] * len(shares)
    for _ in range(budget):
        open_ = [g for g in range(len(shares)) if seats[g] < available[g] and shares[g] > 0]
        if not open_:
            break
        seats[max(open_, key=lambda g: (shares[g] / (2 * seats[g] + 1), -g))] += 1
    return seats


def test_seats_are_those_of_sainte_lague() -> None:
    votes = np.array([53_000.0, 24_000.0, 23_000.0])  # a textbook example of seven seats
    assert apportion(votes, 7, available=np.full(3, 9)).tolist() == [3, 2, 2]
    assert apportion(np.array([0.5, 0.5]), 3, available=np.array([9, 9]), have=np.array([2, 0])).tolist() == [1, 2]


@given(
    shares=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    available=st.lists(st.integers(0, 9), min_size=6, max_size=6),
    budget=st.integers(0, 30),
)
@few
def test_apportioning_fills_what_there_is_and_never_takes_a_seat_back(
    shares: list[int], available: list[int], budget: int
) -> None:
    share, there = np.array(shares, np.float64), np.array(available[: len(shares)])
    seats = apportion(share, budget, available=there)
    assert seats.tolist() == naive_seats(shares, budget, available)
    assert seats.sum() == min(budget, there[share > 0].sum())
    assert np.all(apportion(share, budget + 1, available=there) >= seats)


def test_groups_without_a_share_divide_the_rest_by_their_size() -> None:
    target = Target({"a": 0.4})
    assert target.over(["a", "b", "c"], np.array([10, 30, 10])).tolist() == pytest.approx([0.4, 0.45, 0.15])
    assert Target({"a": 1.0}).over(["a", "b"], np.array([1, 9])).tolist() == [1.0, 0.0]


def test_the_distribution_of_another_set_is_a_target() -> None:
    target = like(["day", "day", "night", None], of="val")
    assert dict(target.shares) == {"day": 0.5, "night": 0.25, None: 0.25}
    assert targets.distance(np.array([2, 1, 1]), np.array([0.5, 0.25, 0.25])) == 0.0
    assert targets.distance(np.array([4, 0]), np.array([0.5, 0.5])) == 0.5
    assert targets.distance(np.array([0, 0]), np.array([0.5, 0.5])) == 0.0


def test_quotas_at_a_target_hold_its_shares_and_tell_what_is_short(rng: np.random.Generator) -> None:
    groups = ["day"] * 90 + ["night"] * 10
    for method in METHODS:
        request = asking(method, 20, 100, groups=groups, quotas=Target({"day": 0.7, "night": 0.3}), trim_share=0.0)
        order = picked(run(cloud(rng, 100), request))
        assert sum(groups[i] == "night" for i in order) == 6
    short = asking("random", 50, 100, groups=groups, quotas=like(["day"] * 3 + ["fog", "night"] * 2, of="val"))
    outcome = run(cloud(rng, 100), short)
    assert len(outcome) == 50
    assert outcome.unmet == (
        "The target like val cannot be met: 'night' was to be 28.6 % (14 of 50 picks) and has 10, 4 short; "
        "'fog' was to be 28.6 % (14 of 50 picks) and has 0, 14 short.",
    )


def test_groups_too_small_for_an_equal_share_are_told_and_counted() -> None:
    groups = [str(g) for g in range(8) for _ in range(1 if g < 7 else 50)]
    _, unmet = caps_for("equal", groups=groups, among=np.arange(57), budget=40)
    assert unmet == (
        "7 groups have fewer than an equal share of 5 picks; the others make up for it: '0' has 1; '1' has 1; "
        "'2' has 1; '3' has 1; '4' has 1; and 2 more.",
    )
    assert caps_for("equal", groups=groups, among=np.arange(57), budget=57)[1] == ()


def test_groups_that_limits_keep_from_their_quota_are_told() -> None:
    vectors = on_circle([*range(10), 90, 120, 150, 180])
    groups = ["near"] * 10 + ["far"] * 4
    for quotas, name in (("equal", "'near'"), ({"far": 4}, "the other groups")):
        request = Request("random", 8, groups=groups, quotas=quotas, min_distance=0.1)  # type: ignore[arg-type]
        assert run(vectors, request).unmet[:2] == (
            "The budget is 8, 14 can be picked, and the quotas and the least distance of 0.1 between picks allow 5 of "
            "them.",
            f"Limits between picks kept groups from their quota: {name} got 1 of 4.",
        )


def test_shares_are_read_as_numbers_or_percent() -> None:
    assert targets.parse({"a": 0.3, "b": "70%"}) == {"a": 0.3, "b": pytest.approx(0.7)}
    assert targets.parse({"a": 0.5, "b": 0}) == {"a": 0.5, "b": 0.0}
    assert targets.parse({"a": 3, "b": 1}) is None


# -- where to stop --


@given(seed=st.integers(0, 10_000), n=st.integers(1, 50), k=st.integers(0, 20))
@few
def test_the_first_pick_within_the_threshold_is_found_exactly(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n)
    order, labelled = rng.permutation(n)[:k], rng.integers(0, n, 2)
    rank = stopping.covering_rank(vectors, np.arange(n), order, 0.8, given=labelled)
    for i in range(n):
        if (vectors[labelled] @ vectors[i]).max() >= 0.8:
            assert rank[i] == -1
        else:
            near = np.flatnonzero(vectors[order] @ vectors[i] >= 0.8)
            assert rank[i] == (near[0] if len(near) else len(order))
    share = stopping.share_covered(rank, len(order))
    assert share[-1] == pytest.approx((rank < len(order)).mean())
    assert np.all(np.diff(share) >= 0)


def test_a_selection_stops_once_enough_is_covered(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 200)
    whole = run(vectors, Request("representative", 100, threshold=0.8))
    stop = Stop(coverage=0.9, threshold=0.8)
    outcome = run(vectors, Request("representative", 100, threshold=0.8, stop=stop))
    n = len(outcome)
    assert picked(outcome) == picked(whole)[:n]
    covered = [(best_similarity(vectors, vectors[picked(whole)[:m]]) >= 0.8).mean() for m in (n - 1, n)]
    assert covered[0] < 0.9 <= covered[1]
    assert outcome.unmet == ()
    assert outcome.notes == (
        f"Stopped after {n} picks, before the budget of 100: they cover {100 * covered[1]:.3g} % within "
        "similarity 0.8.",
    )
    assert outcome.covered == pytest.approx(covered[1])


def test_coverage_that_the_budget_cannot_reach_is_told_with_what_it_reaches(rng: np.random.Generator) -> None:
    vectors = unit(np.eye(10))
    outcome = run(vectors, Request("diverse", 4, trim_share=0.0, stop=Stop(coverage=0.95, threshold=0.9)))
    assert outcome.unmet == ("Coverage of 95 % within similarity 0.9 was asked and 4 picks reach 40 %.",)


def test_preselected_points_may_cover_enough_alone() -> None:
    stop = Stop(coverage=1.0, threshold=0.9)
    outcome = run(on_circle([0, 1, 2]), Request("representative", 2, preselected=np.array([1]), stop=stop))
    assert len(outcome) == 0


def test_a_selection_stops_when_a_pick_adds_little(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 100)
    whole = run(vectors, Request("representative", 60))
    outcome = run(vectors, Request("representative", 60, stop=Stop(gain=0.05)))
    gains = whole.picks.gains
    assert len(outcome) == int(np.flatnonzero(gains < 0.05 * gains[0])[0])
    assert outcome.notes[0].endswith("budget of 60: the next one would add less than 5 % of what the first did.")
    far = run(vectors, Request("diverse", 60, trim_share=0.0, stop=Stop(gain=0.5)))
    distances = run(vectors, Request("diverse", 60, trim_share=0.0)).picks.gains
    assert len(far) == int(np.flatnonzero(distances < 0.5 * distances[1])[0])  # the first pick is far from nothing


def test_a_gain_that_stops_before_coverage_is_reached_says_what_is_reached(rng: np.random.Generator) -> None:
    stop = Stop(coverage=1.0, threshold=0.99, gain=0.5)
    outcome = run(cloud(rng, 100), Request("representative", 50, stop=stop))
    assert "adds less" in outcome.notes[0] or "add less than 50 %" in outcome.notes[0]
    assert outcome.unmet[0].startswith("Coverage of 100 % within similarity 0.99 was asked and ")
    assert f"{len(outcome)} picks reach" in outcome.unmet[0]


@pytest.mark.parametrize("method", ["representative", "diverse", "mixed", "coverage", "strategies", "random"])
def test_budgets_that_grow_towards_a_stop_end_where_the_whole_one_does(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    vectors, stop = cloud(rng, 300), Stop(coverage=0.97, threshold=0.9)
    whole = run(vectors, asking(method, 300, 300, stop=stop, trim_share=0.0))
    monkeypatch.setattr("curator.selection.choose.FIRST_BUDGET", 5)
    grown = run(vectors, asking(method, 300, 300, stop=stop, trim_share=0.0))
    assert picked(grown) == picked(whole)
    assert 5 < len(grown) < 300
    never = run(vectors, asking(method, 20, 300, stop=Stop(coverage=1.0, threshold=1.0), trim_share=0.0))
    assert len(never) == 20
    assert never.unmet[0].startswith("Coverage of 100 % within similarity 1 was asked and 20 picks reach")


@pytest.mark.parametrize("method", ["diverse", "mixed"])
def test_a_gain_that_holds_a_distance_is_measured_by_the_second_pick(rng: np.random.Generator, method: Method) -> None:
    vectors = cloud(rng, 200)
    free = run(vectors, asking(method, 60, 200, trim_share=0.0)).picks
    stopped = run(vectors, asking(method, 60, 200, trim_share=0.0, stop=Stop(gain=0.3)))
    expected = int(np.flatnonzero(free.gains < 0.3 * free.gains[1])[0])
    assert len(stopped) == expected > 1
    assert "less than 30 % of what the second did" in stopped.notes[0]
    given = run(vectors, asking(method, 60, 200, trim_share=0.0, stop=Stop(gain=0.3), preselected=np.array([3])))
    assert np.all(given.picks.gains >= 0.3 * given.picks.gains[0])


# -- how near the best --


@pytest.mark.parametrize("method", ["representative", "coverage", "dpp"])
def test_the_share_of_the_best_is_proven_and_true(rng: np.random.Generator, method: Method) -> None:
    for _ in range(5):
        vectors = unit(rng.normal(size=(10, 3)))
        outcome = run(vectors, asking(method, 3, 10, trim_share=0.0))
        share = outcome.optimality
        assert share is not None
        assert 0.6 < share <= 1.0
        if method == "representative":
            values = [
                np.maximum(best_similarity(vectors, vectors[list(some)]), 0).sum()
                for some in itertools.combinations(range(10), 3)
            ]
            reached = np.maximum(best_similarity(vectors, vectors[picked(outcome)]), 0).sum()
            assert reached / max(values) >= share - 1e-5


def test_a_share_measured_on_all_points_is_a_proof_and_one_on_a_sample_an_estimate(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = cloud(rng, 3_000)
    proven = run(vectors, asking("mixed", 10, 3_000))
    assert proven.optimality is not None
    assert not proven.is_estimate
    monkeypatch.setattr("curator.selection.choose.PROOF_CELLS", 3_000 * 2_100)
    estimated = run(vectors, asking("mixed", 10, 3_000))
    assert estimated.is_estimate
    assert estimated.optimality == pytest.approx(proven.optimality, abs=0.1)
    monkeypatch.setattr("curator.selection.choose.PROOF_CELLS", 3_000)
    assert run(vectors, asking("mixed", 10, 3_000)).optimality is None


def test_no_share_is_claimed_where_nothing_is_proven(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 50)
    for method in ("diverse", "random", "strategies", "graph_cut"):
        assert run(vectors, asking(method, 5, 50)).optimality is None
    assert run(vectors, Request("representative", 0)).optimality is None


# -- reasons --


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_reason_for_each_pick(rng: np.random.Generator, method: Method) -> None:
    request = asking(method, 6, 40)
    outcome = run(cloud(rng, 40), request)
    reasons = describe(outcome, request)
    assert len(reasons) == len(outcome) == 6
    assert all("covers" in reason for reason in reasons)


def test_the_reason_of_a_product_names_its_wishes(rng: np.random.Generator) -> None:
    values = rng.random(40).astype(np.float32)
    request = wish(Strategy("diversity"), Strategy("weights", values=values, name="sharpness"), budget=3)
    reasons = describe(run(cloud(rng, 40), request), request)
    assert reasons[0].startswith("diversity x weights by sharpness; covers")
    assert reasons[1].startswith("diversity x weights by sharpness: 0.")
    scored = Request("uncertainty", 2, scores=values)
    assert describe(run(cloud(rng, 40), scored), scored)[0].startswith(f"uncertainty {values.max():.2f}; covers")
    ball = Request("coverage", 2, threshold=0.5)
    first, second = describe(run(on_circle([0, 10, 20]), ball), ball)
    assert first.startswith("the first at cosine 0.5 or more to 3 images; covers")
    assert second.startswith("all near it are covered; covers")


# -- as the field writes it --


def test_the_fields_configuration_means_the_same_as_ours() -> None:
    theirs = [
        {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY", "strength": 0.6}},
        {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "TYPICALITY"}},
        {
            "input": {"type": "EMBEDDINGS", "dataset_id": "x", "tag_name": "failures"},
            "strategy": {"type": "SIMILARITY"},
        },
        {"input": {"type": "METADATA", "key": "lightly.sharpness"}, "strategy": {"type": "WEIGHTS"}},
        {
            "input": {"type": "METADATA", "key": "lightly.sharpness"},
            "strategy": {"type": "THRESHOLD", "threshold": 20, "operation": "BIGGER"},
        },
        {
            "input": {"type": "METADATA", "key": "weather"},
            "strategy": {"type": "BALANCE", "distribution": "TARGET", "target": {"sunny": 0.2}},
        },
        {
            "input": {"type": "PREDICTIONS", "task": "t", "name": "CLASS_DISTRIBUTION"},
            "strategy": {"type": "BALANCE", "distribution": "INPUT"},
        },
        {"input": {"type": "RANDOM", "random_seed": 3}, "strategy": {"type": "WEIGHTS"}},
        {
            "input": {"type": "EMBEDDINGS"},
            "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.2},
        },
    ]
    assert field.strategies(theirs) == [
        {"kind": "diversity", "strength": 0.6},
        {"kind": "typicality"},
        {"kind": "similarity", "to": "selection:failures"},
        {"kind": "weights", "column": "sharpness"},
        {"kind": "threshold", "column": "sharpness", "min": 20, "strict": True},
        {"kind": "balance", "column": "weather", "target": {"sunny": 0.2}},
        {"kind": "balance", "column": "label", "target": "proportional"},
        {"kind": "random"},
        {"kind": "diversity", "min_distance": 0.2},
    ]
    assert field.strategies(["DIVERSITY", {"kind": "typical"}]) == [{"kind": "diversity"}, {"kind": "typicality"}]
    whole = [{"kind": kind, "column": "x", "to": 3, "min": 1} for kind in KINDS]
    assert [entry["kind"] for entry in field.strategies(whole)] == list(KINDS)


def test_a_section_says_how_many_in_the_fields_words_too() -> None:
    assert field.section({"n_samples": 40})["budget"] == 40
    assert field.section({"proportion_samples": 0.125})["budget"] == "12.5%"
    assert field.section({"strategies": ["random"]})["method"] == "strategies"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("diversity", "'diversity'; expected a list of strategies"),
        ([3], "3; expected a strategy such as"),
        (["BEST"], "unknown strategy 'BEST'; expected one of diversity"),
        (
            [{"strategy": {"type": "THRESHOLD", "operation": "EQUAL"}}],
            "threshold operation 'equal'; expected one of bigger",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(entries: Any, message: str) -> None:
    with pytest.raises(BadSelection, match=message):
        field.strategies(entries)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"n_samples": 1, "proportion_samples": 0.1}, "n_samples and proportion_samples both say how many"),
        ({"proportion_samples": 2}, "proportion_samples 2; expected a share above 0 and up to 1"),
        (
            {"method": "diverse", "strategies": ["random"]},
            "method 'diverse' and a list of strategies; set select.method",
        ),
        ({"method": "strategies"}, "method 'strategies' without a list; give select.strategies"),
    ],
)
def test_a_section_that_contradicts_itself_is_refused(section: Any, message: str) -> None:
    with pytest.raises(BadSelection, match=message):
        field.section(section)


def test_quotas_are_a_rule_counts_or_shares() -> None:
    assert field.quotas("uniform") == "equal"
    assert field.quotas("like:val") == "like:val"
    assert field.quotas({0: 2, "bus": 3}) == {"0": 2, "bus": 3}
    assert field.quotas({"car": "25%"}) == {"car": 0.25}
    for wrong, message in (("fair", "quotas 'fair'; expected equal"), ({"a": -1}, "whole numbers of 0 or more")):
        with pytest.raises(BadSelection, match=message):
            field.quotas(wrong)


def test_caps_hold_together_with_rules(rng: np.random.Generator) -> None:
    vectors, codes = cloud(rng, 100), np.arange(100) % 4
    rules = (Apart(vectors, 0.05),)
    picks = facility_location(vectors, 30, caps=Caps(codes, np.array([2, 5, 0, 9]), rules)).positions
    counts: IntArray = np.bincount(codes[picks], minlength=4)
    assert np.all(counts <= [2, 5, 0, 9])
    apart = 1 - vectors[picks] @ vectors[picks].T + 2 * np.eye(len(picks))
    assert apart.min() >= 0.05 - 1e-6


def test_k_center_by_itself_refuses_rules_it_would_not_keep(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 20)
    with pytest.raises(BadSelection, match="k_center keeps quotas only, found rules"):
        k_center(vectors, 3, caps=only((Apart(vectors, 0.05),), 20))
