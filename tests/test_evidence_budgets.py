"""Budgets: how many picks cover a share, against counting one by one; knees where curves bend."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray, Neighbors
from curator.evidence import budgets as module
from curator.evidence import covering, knee, plan
from curator.evidence.budgets import Plan
from curator.index import knn_graph
from tests.vectors import round_clumps

LIMIT = 0.9


def everyone(n: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.ones(n, np.bool_)


def planned(vectors: FloatArray, ordering: list[int], *, k: int | None = None, **more: object) -> Plan:
    """A plan whose graph holds every pair, unless `k` is given."""
    n = len(vectors)
    graph = knn_graph(vectors, n - 1 if k is None else k)
    covers = covering(graph, np.arange(n), LIMIT)
    given: dict[str, object] = {"threshold": LIMIT, "candidates": everyone(n), "shares": (0.5, 0.95, 1.0)}
    return plan(vectors, np.asarray(ordering, np.int64), covers, **(given | more))  # type: ignore[arg-type]


def counted(vectors: FloatArray, ordering: list[int], share: float) -> int | None:
    """Picks of the ordering that cover the share, by trying one after the other."""
    goal = share * len(vectors) - 1e-9
    for n in range(len(ordering) + 1):
        covered = (vectors @ vectors[ordering[:n]].T >= LIMIT).any(axis=1).sum() if n else 0
        if covered >= goal:
            return n
    return None


def continued(vectors: FloatArray, ordering: list[int], share: float) -> int:
    """The same past the ordering's end, each time by the candidate that covers most of what is left."""
    close = vectors @ vectors.T >= LIMIT
    close |= np.eye(len(vectors), dtype=bool)
    picks = list(ordering)
    while True:
        left = ~close[:, picks].any(axis=1) if picks else everyone(len(vectors))
        if (~left).sum() >= share * len(vectors) - 1e-9:
            return len(picks)
        picks.append(int((close & left.reshape(-1, 1)).sum(axis=0).argmax()))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), k=st.integers(0, 20))
def test_the_budgets_are_those_found_by_counting(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = round_clumps(rng, n, 8, n_clumps=6, spread=0.4)
    ordering = rng.permutation(n)[: min(k, n)].tolist()
    found = planned(vectors, ordering)
    for need in found.needs:
        here = counted(vectors, ordering, need.share)
        assert need.picks == (continued(vectors, ordering, need.share) if here is None else here)
    assert found.reached == pytest.approx(
        (vectors @ vectors[ordering].T >= LIMIT).any(axis=1).mean() if ordering else 0
    )


def test_a_graph_that_knows_less_needs_more_and_never_less(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 300, 16, n_clumps=12, spread=0.35)
    full, part, none = (planned(vectors, [0, 1], k=k) for k in (299, 4, 1))
    picks = [found.needs[1].picks for found in (full, part, none)]
    assert None not in picks
    assert picks[0] < picks[1] <= picks[2]  # type: ignore[operator]


def test_near_duplicate_groups_stand_in_for_a_graph() -> None:
    vectors = np.eye(6, dtype=np.float32)[[0, 0, 0, 0, 1, 2]]
    covers = covering(None, np.array([0, 0, 0, 0, 4, 5]), LIMIT)
    assert covers.of(0).tolist() == [0, 1, 2, 3]
    found = plan(vectors, np.array([5]), covers, threshold=LIMIT, candidates=everyone(6), shares=(0.5, 0.8, 1.0))
    assert [need.picks for need in found.needs] == [2, 2, 3]
    assert found.reached == pytest.approx(1 / 6)


def test_an_edge_covers_in_both_directions_and_a_weak_one_not_at_all() -> None:
    graph = Neighbors(
        np.array([[1], [-1], [0]]), np.array([[0.95], [-1.0], [0.5]], np.float32), 1.0
    )  # fmt: skip
    covers = covering(graph, np.arange(3), LIMIT)
    assert [covers.of(i).tolist() for i in range(3)] == [[0, 1], [0, 1], [2]]


def test_what_cannot_be_reached_is_said() -> None:
    vectors = np.eye(4, dtype=np.float32)
    found = planned(vectors, [0], candidates=np.array([True, True, False, False]))
    assert [need.picks for need in found.needs] == [2, None, None]
    assert found.sentence() == (
        "To cover 95% within cosine 0.90, no budget is known to be enough: all that can be picked cover 50.0%."
    )


def test_the_sentence_tells_enough_and_more() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert (
        planned(vectors, [0, 1, 2, 3]).sentence(0.5) == "To cover 50% within cosine 0.90, the first 2 picks are enough."
    )
    assert planned(vectors, [0]).sentence() == (
        "To cover 95% within cosine 0.90, 4 picks are enough; these 1 cover 25.0%."
    )


def test_preselected_points_cover_before_the_first_pick() -> None:
    found = planned(np.eye(4, dtype=np.float32), [2], preselected=np.array([0, 1]))
    assert found.needs[0].picks == 0
    assert found.sentence(0.5) == "To cover 50% within cosine 0.90, the 2 labelled already are enough."
    more = planned(np.eye(5, dtype=np.float32), [2], preselected=np.array([0, 1])).sentence()
    assert more == "To cover 95% within cosine 0.90, 3 picks are enough; these 1 and 2 labelled already cover 60.0%."
    assert (found.reached, found.path.tolist()) == (0.75, [0.75, 1.0])


def test_only_the_points_asked_for_have_to_be_covered() -> None:
    found = planned(np.eye(4, dtype=np.float32), [0], points=np.array([True, True, False, False]))
    assert (found.n_points, found.reached) == (2, 0.5)
    assert [need.picks for need in found.needs] == [1, 2, 2]


def test_ten_thousand_copies_need_one_pick() -> None:
    vectors = np.tile(np.array([[0.6, 0.8]], np.float32), (10_000, 1))
    covers = covering(None, np.zeros(10_000, np.int64), LIMIT)
    found = plan(vectors, np.array([17]), covers, threshold=LIMIT, candidates=everyone(10_000))
    assert {need.picks for need in found.needs} == {1}


def test_nothing_to_cover_and_nothing_picked() -> None:
    found = planned(np.eye(3, dtype=np.float32), [], points=np.zeros(3, np.bool_))
    assert (found.n_points, found.most) == (0, 0)
    body = found.to_dict()
    assert json.loads(json.dumps(body)) == body


def test_too_many_similarities_are_taken_from_the_graph(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = round_clumps(rng, 200, 16, n_clumps=12, spread=0.35)
    ordering = rng.permutation(200)[:30].tolist()
    exact = planned(vectors, ordering).to_dict()
    monkeypatch.setattr(module, "SIMILARITIES", 0)
    assert planned(vectors, ordering).to_dict() == exact  # the graph holds every pair here


# -- the knee --


def test_the_knee_is_where_a_bent_line_bends() -> None:
    assert knee([0, 10, 20, 30, 40], [0.0, 0.8, 0.85, 0.9, 0.95]) == 10


def test_the_knee_of_a_smooth_curve_is_where_its_slope_is_the_average() -> None:
    budgets = np.arange(1, 101)
    found = knee(budgets, np.sqrt(budgets))
    assert found is not None
    slope = np.gradient(np.sqrt(budgets))[found - 1]
    assert slope == pytest.approx((10.0 - 1.0) / 99, abs=0.01)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5], [0.0, 0.05, 0.1, 0.9]])
def test_a_line_that_does_not_bend_down_has_no_knee(values: list[float]) -> None:
    assert knee([1, 2, 3, 4], values) is None


def test_two_points_have_no_knee() -> None:
    assert knee([1, 2], [0.1, 0.9]) is None
