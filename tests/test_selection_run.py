"""Whole selections: what a request gives, in which words, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curator.errors import BadEmbeddings, BadSelection
from curator.index import knn_graph
from curator.selection import (
    METHODS,
    PREFIX,
    Method,
    Outcome,
    Picks,
    Request,
    Stop,
    describe,
    facility_location,
    k_center,
    run,
)
from curator.selection.picks import best_similarity, distance_to_earlier
from tests.selections import NONE, asking, cloud, on_circle, unit


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_sets_are_selected_whole(rng: np.random.Generator, method: Method, n: int) -> None:
    request = asking(method, 5, n)
    outcome = run(cloud(rng, n), request)
    assert sorted(outcome.picks.positions) == list(range(n))
    assert outcome.picks.covers.tolist() == [1] * n
    there = f"{n} can be picked: all of them are, in order" if n else "nothing can be picked"
    assert outcome.unmet == (f"The budget is 5 and {there}.",)
    assert len(describe(outcome, request)) == n


@pytest.mark.parametrize("method", METHODS)
def test_two_identical_points_are_both_picked_and_the_first_represents_both(method: Method) -> None:
    vectors = on_circle([30, 30])
    outcome = run(vectors, asking(method, 2, 2, seed=1))
    assert sorted(outcome.picks.positions) == [0, 1]
    assert sorted(outcome.picks.covers) == [0, 2]


@pytest.mark.parametrize("method", PREFIX)
def test_a_smaller_request_gives_a_prefix(rng: np.random.Generator, method: Method) -> None:
    vectors, may = cloud(rng, 500), rng.random(500) < 0.8
    large, small = (run(vectors, asking(method, m, 500, candidates=may, preselected=np.array([3]))) for m in (80, 30))
    assert small.picks.positions.tolist() == large.picks.positions[:30].tolist()
    assert small.trimmed.tolist() == large.trimmed.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_request_gives_the_same_selection(rng: np.random.Generator, method: Method) -> None:
    vectors = cloud(rng, 400)
    first, second = (run(vectors, asking(method, 40, 400, seed=5)) for _ in range(2))
    assert first.picks.positions.tolist() == second.picks.positions.tolist()
    assert len(first) == 40
    assert first.unmet == ()


def test_every_point_is_represented_by_its_most_similar_pick(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 300)
    outcome = run(vectors, Request("representative", 12, preselected=np.array([4])))
    chosen = np.concatenate([[4], outcome.picks.positions])
    nearest = (vectors @ vectors[chosen].T).argmax(axis=1) - 1
    assert outcome.owner.tolist() == np.maximum(nearest, -1).tolist()
    assert outcome.picks.covers.tolist() == np.bincount(nearest[nearest >= 0], minlength=12).tolist()


def test_diverse_sets_junk_aside_and_representative_does_not(rng: np.random.Generator) -> None:
    vectors = np.concatenate([cloud(rng, 300, 32, clusters=5, spread=0.1), unit(rng.normal(size=(9, 32)))])
    diverse, plain = run(vectors, Request("diverse", 20)), run(vectors, Request("diverse", 20, trim_share=0.0))
    assert sorted(diverse.trimmed) == list(range(300, 309))
    assert not set(diverse.picks.positions) & set(diverse.trimmed)
    assert np.sum(plain.picks.positions >= 300) == 9
    assert len(run(vectors, Request("representative", 20)).trimmed) == 0


def test_what_may_not_be_picked_can_still_have_to_be_represented() -> None:
    vectors = on_circle([0, 2, 60, 61, 62, 63])
    may = np.array([True, True, True, False, False, False])
    rest = run(vectors, Request("representative", 1, candidates=may))
    whole = run(vectors, Request("representative", 1, candidates=may, cover="all"))
    marked = run(vectors, Request("representative", 1, candidates=may, cover=np.array([0, 0, 0, 1, 1, 1], np.bool_)))
    assert rest.picks.positions.tolist() == [1]
    assert whole.picks.positions.tolist() == marked.picks.positions.tolist() == [2]
    assert (rest.picks.covers[0], whole.picks.covers[0], marked.picks.covers[0]) == (3, 6, 3)
    assert rest.owner.tolist() == [0, 0, 0, -1, -1, -1]


@pytest.mark.parametrize("method", ["representative", "mixed", "coverage", "graph_cut"])
def test_near_duplicates_that_count_once_choose_no_pick(rng: np.random.Generator, method: Method) -> None:
    own = cloud(rng, 120)
    copies = unit(np.repeat(own[:4], 40, axis=0) + 0.01 * rng.normal(size=(160, own.shape[1])))
    vectors, kept = np.concatenate([own, copies]), np.arange(280) < 120
    asked: dict[str, Any] = {"candidates": kept, "cover": "all", "threshold": 0.9}
    once, many = (run(vectors, Request(method, 12, distinct=flags, **asked)) for flags in (kept, None))
    alone = run(own, Request(method, 12, threshold=0.9, distinct=np.ones(120, np.bool_)))
    assert once.picks.positions.tolist() == alone.picks.positions.tolist()
    assert once.picks.positions.tolist() != many.picks.positions.tolist()
    assert (once.owner >= 0).all()  # they are still counted in what was covered
    assert once.covered == pytest.approx((best_similarity(vectors, vectors[once.picks.positions]) >= 0.9).mean())


def test_a_stop_by_coverage_counts_near_duplicates_that_count_once(rng: np.random.Generator) -> None:
    vectors = np.concatenate([cloud(rng, 10, 64), np.repeat(cloud(rng, 1, 64), 90, axis=0)])
    kept = np.arange(100) < 11
    asked: dict[str, Any] = {"candidates": kept, "cover": "all", "distinct": kept}
    whole = run(vectors, Request("mixed", 11, **asked)).picks.positions.tolist()
    stopped = run(vectors, Request("mixed", 11, stop=Stop(0.5, 0.99), **asked)).picks.positions.tolist()
    assert stopped == whole[: whole.index(10) + 1]  # the one with 89 copies


def test_copies_count_where_what_they_are_copies_of_is_left_out() -> None:
    vectors = on_circle([0, 2, 60, 61, 62, 63])
    left = np.arange(6) >= 2
    once, plain = (run(vectors, Request("representative", 1, cover=left, distinct=d)).picks for d in (~left, None))
    assert once.positions.tolist() == plain.positions.tolist()


def test_quotas_make_one_ordering_with_each_group_at_its_number(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 200)
    groups = ["a"] * 150 + [None] * 46 + ["b"] * 4
    for method in METHODS:
        outcome = run(vectors, asking(method, 30, 200, groups=groups, quotas="equal", trim_share=0.0))
        taken = [groups[i] for i in outcome.picks.positions]
        assert (taken.count("a"), taken.count(None), taken.count("b")) == (13, 13, 4)


def test_a_budget_that_quotas_keep_from_being_met_is_told(rng: np.random.Generator) -> None:
    outcome = run(cloud(rng, 10), Request("random", 8, groups=["a"] * 10, quotas={"a": 3}))
    assert len(outcome) == 3
    assert outcome.unmet == ("The budget is 8, 10 can be picked, and the quotas allow 3 of them.",)


def test_a_graph_that_lost_its_neighbours_is_searched_again(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator.selection.choose.DENSE_UP_TO", 50)
    frames = np.repeat(cloud(rng, 100), 10, axis=0)
    vectors = unit(frames + 0.01 * rng.normal(size=frames.shape))
    may = np.arange(1000) % 10 == 0
    outcome = run(vectors, Request("representative", 10, candidates=may), graph=knn_graph(vectors, 8))
    assert outcome.notes == (
        "Of each point's 8 neighbours 0 may be picked or are to be represented; "
        "the neighbours were searched again among those.",
    )
    assert np.all(may[outcome.picks.positions])


# -- reasons --


def told(method: Method, **asked: Any) -> tuple[Outcome, Request]:
    """Three picks of eight points: the first covers 1,412 in name only, the second copies it, the third is alone."""
    picks = Picks(
        positions=np.array([0, 1, 2]),
        gains=np.array([3.0, 1.0, 0.5], np.float32),
        covers=np.array([5, 0, 1]),
        nearest=np.array([np.nan, 0.001, 0.414], np.float32),
    )
    owner = np.array([0, 0, 2, 0, 0, 0, -1, -1])
    return Outcome(picks, NONE, owner, (), ()), Request(method, 3, **asked)


CLUSTERS = np.array([1, 1, -1, 1, 1, 0, 0, 0])


def test_a_reason_says_what_a_pick_covers_and_how_far_the_nearest_is() -> None:
    outcome, request = told("representative")
    assert describe(outcome, request, clusters=CLUSTERS, cluster_names=["sky", "street, bus"], unit="frames") == (
        "covers 5 frames, 4 of cluster 1 (street, bus); the first pick, most similar to the whole",
        "covers no frame better than the others do; nearly the same as one already picked",
        "covers only itself, in no cluster; nearest already picked 0.41 away",
    )
    assert describe(outcome, request, clusters=np.zeros(8, np.int64))[0].startswith("covers 5 images of cluster 0;")
    assert describe(outcome, request)[0].startswith("covers 5 images;")


def test_the_words_follow_the_method() -> None:
    assert describe(*told("diverse"), unit="frames") == (
        "the most central one, to start from; covers 5 frames",
        "nearly the same as one already picked; covers no frame better than the others do",
        "nearest already picked 0.41 away, none left is farther; covers only itself",
    )
    assert describe(*told("random"))[2] == "drawn at random; covers only itself; nearest already picked 0.41 away"
    assert describe(*told("every_nth"))[2].startswith("taken at an even step; covers only itself;")
    assert describe(*told("typicality"))[2].startswith("the most typical left in its region; covers only itself;")
    assert describe(*told("graph_cut"))[0].startswith(
        "chosen for its likeness to all, less that to other picks; covers"
    )


def test_the_default_says_what_a_pick_covers_and_how_far_it_is_and_nothing_it_cannot_know() -> None:
    first, copy, alone = describe(*told("mixed"))
    assert first == "covers 5 images; the first pick, most similar to the whole"
    assert copy == "covers no image better than the others do; nearly the same as one already picked"
    assert alone == "covers only itself; nearest already picked 0.41 away"


def test_only_a_determinant_without_limits_says_that_a_pick_is_the_least_explained() -> None:
    first, _, alone = describe(*told("dpp"))
    assert first == "the most central one, to start from; covers 5 images"
    assert alone == "least explained by those picked; covers only itself; nearest already picked 0.41 away"
    assert describe(*told("dpp", min_distance=0.1))[2] == "covers only itself; nearest already picked 0.41 away"
    labelled = describe(*told("dpp", preselected=np.array([7])))
    assert labelled[2].startswith("least explained by those labelled or picked;")


def test_coverage_names_the_unit_and_uncertainty_a_missing_score() -> None:
    found = describe(*told("coverage", threshold=0.9), unit="frames")
    assert found[0].startswith("the first at cosine 0.9 or more to 3 frames; covers 5 frames")
    assert found[1].startswith("the first at cosine 0.9 or more to 1 frame;")
    scores = np.array([3.0, np.nan, 0.5, 0, 0, 0, 0, 0], np.float32)
    first, missing, _ = describe(*told("uncertainty", scores=scores))
    assert first.startswith("uncertainty 3.00;")
    assert missing.startswith("no score;")


def test_a_reason_tells_labelled_points_from_picks() -> None:
    outcome, request = told("representative", preselected=np.array([7]))
    outcome.picks.nearest[0] = 0.5
    reasons = describe(outcome, request)
    assert reasons[0].endswith("nearest already labelled 0.50 away")
    assert reasons[2].endswith("nearest already labelled or picked 0.41 away")


def test_a_reason_says_which_of_its_quota_a_pick_is() -> None:
    outcome, request = told("diverse", groups=["night", "night", None] * 2 + ["day"] * 2, quotas="equal")
    reasons = describe(outcome, request)
    assert reasons[1].endswith("; pick 2 of 2 for 'night'")
    assert reasons[2] == "nearest already picked 0.41 away; covers only itself; pick 1 of 1 for (no value)"


# -- refusals --


def test_vectors_with_one_axis_are_refused() -> None:
    with pytest.raises(BadEmbeddings, match=r"vectors with 1 axes; expected 2, \(n, d\)"):
        k_center(np.zeros(3, np.float32), 1)


def test_candidates_of_another_length_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadSelection, match=r"candidates of shape \(4,\) for 5 vectors; expected one flag per vector"):
        facility_location(cloud(rng, 5), 1, candidates=np.ones(4, np.bool_))


@pytest.mark.parametrize("outside", [-1, 5])
def test_preselected_positions_outside_the_vectors_are_refused(rng: np.random.Generator, outside: int) -> None:
    with pytest.raises(BadSelection, match=rf"preselected positions .*{outside}.*; expected 0\.\.4"):
        run(cloud(rng, 5), Request("random", 1, preselected=np.array([outside, 2])))


def test_weights_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    for weights in (np.ones(4, np.float32), -np.ones(5, np.float32)):
        with pytest.raises(BadSelection, match="expected 5 numbers of 0 or more, one per vector"):
            facility_location(cloud(rng, 5), 1, weights=weights)


def test_parts_of_a_request_that_do_not_fit_the_vectors_are_refused(rng: np.random.Generator) -> None:
    for what, part in (
        ("groups", {"groups": ["a"]}),
        ("weights", {"weights": np.ones(1, np.float32)}),
        ("cover flags", {"cover": np.ones(1, np.bool_)}),
        ("distinct flags", {"distinct": np.ones(1, np.bool_)}),
    ):
        asked: dict[str, Any] = part
        with pytest.raises(BadSelection, match=f"1 {what} for 5 vectors; expected one per vector"):
            run(cloud(rng, 5), Request("random", 1, **asked))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": "best"}, "unknown selection method 'best'; expected one of representative, diverse"),
        ({"budget": -1}, "budget -1; expected 0 or more picks"),
        ({"quotas": "equal"}, "quotas without groups"),
        ({"cover": "some"}, "cover 'some'; expected candidates, all, or a flag per vector"),
    ],
)
def test_a_request_is_valid_from_birth(asked: dict[str, Any], message: str) -> None:
    parts: dict[str, Any] = {"method": "random", "budget": 1, **asked}
    with pytest.raises(BadSelection, match=message):
        Request(**parts)


def test_picks_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(BadSelection, match="picks with 2 positions, 1 gains, 0 covers and 0 distances"):
        Picks(np.arange(2), np.zeros(1, np.float32), NONE, np.zeros(0, np.float32))


def test_distance_to_earlier_looks_back_only(rng: np.random.Generator) -> None:
    vectors = cloud(rng, 5000, 4)
    order = rng.permutation(5000)
    distance = distance_to_earlier(vectors, order, preselected=np.array([7]))
    for rank in (0, 1, 511, 512, 4999):
        earlier = vectors[np.concatenate([[7], order[:rank]])]
        assert distance[rank] == pytest.approx(max(1 - (earlier @ vectors[order[rank]]).max(), 0), abs=1e-5)
