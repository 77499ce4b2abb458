"""Numerical edge cases, for every capability that orders, covers, searches, splits or measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curator import cluster, outliers, splits
from curator.data import FloatArray, Neighbors
from curator.evidence import coverage, coverage_curve
from curator.evidence.budgets import covering, plan
from curator.index import IndexSpec, extend_graph, knn_graph, normalise
from curator.neardups import POLICIES, certify, cover, extend
from curator.selection import METHODS, Method, Outcome, Request, Spacing, Stop, Strategy, Target, run
from curator.selection.request import HAS_GAINS

COPIES = 10_000
WISHES = (Strategy("diversity"), Strategy("representative", 0.5), Strategy("typicality"))
ALIKE = {  # sets whose points nothing tells apart, or hardly anything
    "one": normalise(np.array([[3.0, 4.0]], np.float32)),
    "opposite": np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32),
    "orthogonal": np.eye(24, dtype=np.float32),
    "simplex": normalise(np.eye(24, dtype=np.float32) - np.float32(1 / 24)),
    "one number each": np.ones((24, 1), np.float32),
}


def asking(method: Method, budget: int, n: int, **more: Any) -> Request:
    """A request with what its method cannot do without, over points that it cannot tell apart."""
    needs: dict[str, Any] = {
        "coverage": {"threshold": 0.9},
        "uncertainty": {"scores": np.zeros(n, np.float32)},
        "strategies": {"strategies": WISHES},
    }
    return Request(method, budget, **{**needs.get(method, {}), **more})


def picked(outcome: Outcome) -> list[int]:
    positions: list[int] = outcome.picks.positions.tolist()
    assert len(positions) == len(set(positions))
    assert np.isfinite(outcome.picks.gains).all()
    return positions


@pytest.fixture(scope="module")
def copies() -> FloatArray:
    """One vector 10,000 times; it is of length 1 but for rounding, so its cosine with itself may be 0.9999999."""
    return np.repeat(normalise(np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)), COPIES, axis=0)


@pytest.fixture(scope="module")
def ring() -> Neighbors:
    """Of copies any others are the nearest; here those that follow."""
    after = (np.arange(COPIES)[:, None] + np.arange(1, 21)) % COPIES
    return Neighbors(after, np.ones(after.shape, np.float32), 1.0)


# -- selection --


@pytest.mark.parametrize("method", METHODS)
def test_ten_thousand_copies_are_selected_like_anything_else(
    copies: FloatArray, ring: Neighbors, method: Method
) -> None:
    asked: dict[str, Any] = {"cover": np.arange(COPIES) % 20 == 0, "threshold": 1.0}  # some, for the sake of time
    outcome = run(copies, asking(method, 12, COPIES, trim_share=0.0, **asked), graph=ring)
    assert len(picked(outcome)) == 12
    assert outcome.covered == 1.0
    assert np.all(outcome.picks.nearest[1:] <= 1e-6)
    assert not outcome.unmet
    apart = run(copies, asking(method, 12, COPIES, min_distance=0.01, **asked), graph=ring)
    assert len(picked(apart)) == 1
    assert "the least distance of 0.01 between picks" in apart.unmet[0]
    enough = run(copies, asking(method, 12, COPIES, stop=Stop(coverage=1.0, threshold=1.0), **asked), graph=ring)
    assert len(picked(enough)) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ALIKE)
def test_points_all_equally_alike_are_picked_once_each(method: Method, name: str) -> None:
    vectors = ALIKE[name]
    n = len(vectors)
    whole = run(vectors, asking(method, n, n, trim_share=0.0))
    assert sorted(picked(whole)) == list(range(n)), "k = n"
    assert whole.picks.covers.sum() == n
    more = run(vectors, asking(method, n + 3, n, trim_share=0.0))
    assert picked(more) == picked(whole)
    assert more.unmet == (f"The budget is {n + 3} and {n} can be picked: all of them are, in order.",)
    half = picked(run(vectors, asking(method, (n + 1) // 2, n, trim_share=0.0)))
    assert len(half) == (n + 1) // 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given_first", [[], [0], [0, 0, 2]])
def test_a_filter_that_nobody_passes_leaves_nothing_to_pick_and_says_so(
    rng: np.random.Generator, method: Method, given_first: list[int]
) -> None:
    vectors = normalise(rng.normal(size=(30, 4)).astype(np.float32))
    nobody = {"candidates": np.zeros(30, np.bool_), "preselected": np.array(given_first, np.int64)}
    limits: list[dict[str, Any]] = [
        {},
        {"quotas": "equal", "groups": list(range(30))},
        {"quotas": Target({"a": 1.0}), "groups": ["a", "b", "c"] * 10},
        {"min_distance": 0.1, "spacing": Spacing(np.zeros(30, np.int64), np.arange(30.0), 1.0)},
        {"stop": Stop(coverage=1.0, threshold=0.99), "cover": "all"},
        {"cover": np.zeros(30, np.bool_), "weights": np.zeros(30, np.float32)},
    ]
    for more in limits:
        outcome = run(vectors, asking(method, 5, 30, **nobody, **more))
        assert picked(outcome) == []
        assert "The budget is 5 and nothing can be picked." in outcome.unmet
        assert outcome.optimality is None


@pytest.mark.parametrize("method", METHODS)
def test_quotas_larger_than_groups_are_filled_and_told(rng: np.random.Generator, method: Method) -> None:
    vectors, groups = normalise(rng.normal(size=(40, 4)).astype(np.float32)), ["a"] * 3 + ["b"] * 37
    outcome = run(
        vectors,
        asking(method, 30, 40, quotas={"a": 20, "b": 8, "c": 2}, groups=groups, trim_share=0.0),
    )
    taken = [groups[at] for at in picked(outcome)]
    assert (taken.count("a"), taken.count("b")) == (3, 8)
    told = " ".join(outcome.unmet)
    assert "Group 'a' was asked for 20 picks and has 3 to pick from." in told
    assert "Group 'c' was asked for 2 picks and has 0 to pick from." in told
    assert "The budget is 30" in told


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cover", ["candidates", "all", np.zeros(20, np.bool_)])
def test_where_nobody_counts_the_budget_is_still_spent(rng: np.random.Generator, method: Method, cover: Any) -> None:
    vectors = normalise(rng.normal(size=(20, 4)).astype(np.float32))
    outcome = run(vectors, asking(method, 6, 20, cover=cover, weights=np.zeros(20, np.float32), trim_share=0.0))
    assert len(picked(outcome)) == 6
    if method in HAS_GAINS:
        assert np.all(np.diff(outcome.picks.gains) <= 1e-6)


# -- the rest --


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "first"])
@pytest.mark.parametrize("name", ALIKE)
def test_covers_of_points_all_equally_alike_hold_at_any_threshold(policy: str, name: str) -> None:
    vectors = ALIKE[name]
    n, between = len(vectors), float((vectors @ vectors.T)[0, -1])
    scores = np.zeros(n, np.float32)
    for threshold in (-1.0, max(between - 1e-3, -1.0), min(between + 1e-3, 1.0), 1.0):
        found = cover(vectors, None, threshold, policy=policy, scores=scores, threads=1)
        assert certify(vectors, found, threads=1).holds
        assert found.kept.sum() == (1 if between >= threshold - 1e-6 else n)
        old = cover(vectors[: n // 2], None, threshold, policy=policy, scores=scores[: n // 2], threads=1)
        grown = extend(vectors, n // 2, old, policy=policy, scores=scores, threads=1)
        assert grown.kept.sum() == found.kept.sum()


@pytest.mark.parametrize("name", ALIKE)
def test_measures_over_points_all_equally_alike_are_numbers(name: str) -> None:
    vectors = ALIKE[name]
    n = len(vectors)
    graph = knn_graph(vectors, n)  # k = n: one more than there are others
    assert np.all((graph.positions >= 0).sum(axis=1) == n - 1)
    grown = extend_graph(knn_graph(vectors[:1], n), vectors)
    np.testing.assert_allclose(grown.similarity, graph.similarity, atol=1e-6)
    scores = outliers.find_outliers(vectors, graph, spec=IndexSpec())
    assert not scores.is_outlier.any()
    assert coverage(vectors, np.arange(n), threshold=1.0).share_within == 1.0
    curve = coverage_curve(vectors, np.arange(n), rng=np.random.default_rng(0), threshold=1.0, n_random=3)
    assert curve.mean_similarity.selected[-1] == pytest.approx(1.0)
    nobody = coverage_curve(
        vectors, np.arange(n), rng=np.random.default_rng(0), n_random=3, weights=np.zeros(n, np.float32)
    )
    assert nobody.n_points == 0
    found = plan(vectors, np.arange(1), covering(graph, np.arange(n), 1.0), threshold=1.0, candidates=np.ones(n, bool))
    assert found.covered == 1.0
    assert np.bincount(cluster.kmeans(vectors, n).labels).max() <= n
    forest = splits.Forest(n)
    splits.join_near(forest, vectors, 1.0, threads=1)
    part = splits.assign(forest.groups(), [0.8, 0.1, 0.1], rng=np.random.default_rng(0))
    assert splits.torn_groups(forest.groups(), part) == 0


def test_ten_thousand_copies_are_covered_by_any_of_them_at_threshold_one(copies: FloatArray, ring: Neighbors) -> None:
    first = np.zeros(1, np.int64)
    assert coverage(copies, first, threshold=1.0).share_within == 1.0
    none = covering(None, np.arange(COPIES), 1.0)
    assert plan(copies, first, none, threshold=1.0, candidates=np.ones(COPIES, np.bool_)).reached == 1.0
    curve = coverage_curve(copies, first, rng=np.random.default_rng(0), threshold=1.0, n_random=3)
    assert curve.share_within is not None
    assert curve.share_within.random_low.tolist() == curve.share_within.selected.tolist() == [1.0]
    scores = outliers.find_outliers(copies, ring, spec=IndexSpec())
    assert scores.score.max() <= 1e-6
    assert not scores.is_outlier.any()
