"""Spread over groups: shares and distances against small cases worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from curator.evidence import Balance, Controls, balance, draw_controls, total_variation

CODES = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, -1])  # 6 a, 2 b, 1 c, one without
NAMES = ["a", "b", "c"]


def spread(picks: list[int], **more: object) -> Balance:
    given: dict[str, object] = {
        "controls": draw_controls(10, len(picks), rng=np.random.default_rng(0), n_random=50), "pool": np.arange(10),
    }  # fmt: skip
    found = balance("class", CODES, NAMES, np.asarray(picks, np.int64), **(given | more))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_total_variation_is_the_share_that_would_have_to_move() -> None:
    assert total_variation(np.array([5, 5]), np.array([1, 1])) == 0
    assert total_variation(np.array([4, 0]), np.array([1, 1])) == 0.5
    assert total_variation(np.array([1, 0]), np.array([0, 1])) == 1
    assert total_variation(np.array([0, 0]), np.array([0, 1])) == 1


def test_the_spread_of_three_picks_by_hand() -> None:
    found = spread([0, 6, 8])
    assert (found.n_groups, found.n_hit, found.hit.selected) == (3, 3, 1.0)
    assert found.evenness.selected == pytest.approx(1.0)
    assert found.likeness.selected == pytest.approx(1 - (6 / 9 - 1 / 3))
    assert found.groups == (("a", 6, 1), ("b", 2, 1), ("c", 1, 1))


def test_a_pick_without_a_group_counts_nowhere() -> None:
    assert spread([0, 9]).groups == (("a", 6, 1), ("b", 2, 0), ("c", 1, 0))


def test_preselected_points_count_as_picked_for_everyone() -> None:
    found = spread([0], preselected=np.array([6, 8]))
    assert sum(picked for _, _, picked in found.groups) == 1  # the table of picks counts picks
    assert found.hit.selected == 1.0
    assert found.hit.random_low >= 2 / 3


def test_the_random_interval_is_that_of_the_draws() -> None:
    draws = np.array([[0, 1], [0, 6], [6, 8]])
    controls = Controls(np.arange(10), draws)
    found = spread([0, 1], controls=controls)
    shares = [1 / 3, 2 / 3, 2 / 3]
    assert found.hit.random_mean == pytest.approx(np.mean(shares))
    assert [found.hit.random_low, found.hit.random_high] == pytest.approx([1 / 3, 2 / 3])
    assert found.hit.every_nth == pytest.approx(1 / 3)  # positions 0 and 5


def test_groups_outside_the_pool_do_not_count() -> None:
    found = spread([0], pool=np.arange(8))
    assert found.groups == (("a", 6, 1), ("b", 2, 0))


def test_groups_need_no_names() -> None:
    controls = draw_controls(10, 2, rng=np.random.default_rng(0), n_random=3)
    found = balance("near-duplicate group", CODES, None, np.array([0, 6]), controls=controls, pool=np.arange(10))
    assert found is not None
    assert (found.groups, found.n_hit, found.hit.name) == ((), 2, "near-duplicate groups seen")


def test_one_group_is_no_spread() -> None:
    controls = draw_controls(10, 1, rng=np.random.default_rng(0), n_random=3)
    assert balance("class", np.zeros(10, np.int64), ["a"], np.array([0]), controls=controls, pool=np.arange(10)) is None
    assert balance("class", -np.ones(10, np.int64), [], np.array([0]), controls=controls, pool=np.arange(10)) is None


def test_a_spread_is_plain_json_with_the_largest_groups() -> None:
    codes = np.arange(80)
    controls = draw_controls(80, 3, rng=np.random.default_rng(0), n_random=3)
    found = balance("weather", codes, [str(i) for i in codes], codes[:3], controls=controls, pool=codes)
    assert found is not None
    body = found.to_dict()
    assert json.loads(json.dumps(body)) == body
    assert len(body["groups"]) == 50
    assert body["hit"]["name"] == "values of weather seen"
