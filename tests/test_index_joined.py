"""Rows joined with the lists in their reach, and the slots that hold the best of each."""

from __future__ import annotations

import numpy as np
import pytest

from curator.data import FloatArray, IntArray, no_progress
from curator.index import exact_search, rough
from curator.index.joined import Reach, Sample, attempts, chosen_reach, join_lists, plane_distance
from curator.index.lists import Lists, make_lists
from curator.index.slots import ROOM, Slots
from tests.vectors import clumps, unit

K = 6


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    return unit(np.random.default_rng(3), 3_000, 8)  # few dimensions and no gaps: many neighbours beyond a border


@pytest.fixture(scope="module")
def lists(vectors: FloatArray) -> Lists:
    return make_lists(vectors, 50, seed=0, threads=1)


def joined(
    vectors: FloatArray, lists: Lists, reach: Reach, k: int = K, *, threads: int = 1
) -> tuple[IntArray, FloatArray]:
    return join_lists(vectors, lists, vectors, lists, reach, k, is_self=True, threads=threads, progress=no_progress)


def sampled(vectors: FloatArray, lists: Lists, rows: IntArray) -> Sample:
    near = exact_search(vectors[rows], vectors, K + 1)[0][:, 1:]
    return Sample(vectors[rows], lists.of[rows], lists.of[near])


# --- which lists --------------------------------------------------------------------------------


def test_whoever_lies_in_a_list_lies_beyond_the_plane_to_it(vectors: FloatArray, lists: Lists) -> None:
    """The bound that the reach rests on: no member of another list is nearer than its plane."""
    for own in range(0, len(lists), 7):
        mine = vectors[lists.of == own]
        others = np.setdiff1d(np.arange(len(lists)), own)
        away = plane_distance(lists.centres, mine, own, others)  # (b, p)
        assert (away > -1e-6).all()
        for column, j in enumerate(others.tolist()):
            theirs = vectors[lists.of == j]
            apart = np.linalg.norm(mine[:, None] - theirs[None], axis=2)
            assert (apart.min(axis=1, initial=np.inf) >= away[:, column] - 1e-5).all()


def test_the_own_plane_and_that_of_an_equal_centre_are_at_hand() -> None:
    centres = np.eye(3, dtype=np.float32)[[0, 1, 0]]
    np.testing.assert_allclose(plane_distance(centres, centres[:1], 0, np.arange(3)), [[0, 2**-0.5, 0]], atol=1e-6)


def test_a_floor_of_nearly_all_reaches_every_neighbour_of_the_samples(vectors: FloatArray, lists: Lists) -> None:
    samples = [sampled(vectors, lists, np.arange(start, start + 40)) for start in (0, 40)]
    reach = chosen_reach(lists, *samples, floor=0.99999)
    assert reach is not None
    for sample in samples:
        for row, own, true in zip(sample.rows, sample.of.tolist(), sample.true, strict=True):
            assert plane_distance(lists.centres, row[None], own, true).max() <= reach.distance + 1e-5
            assert np.isin(true, reach.near[own]).all()


@pytest.mark.parametrize("floor", [0.5, 0.9, 0.99])
def test_the_reach_finds_the_floor_of_both_samples_and_a_higher_one_is_wider(
    vectors: FloatArray, lists: Lists, floor: float
) -> None:
    rows = np.random.default_rng(0).permutation(len(vectors))
    samples = [sampled(vectors, lists, rows[part]) for part in (slice(300), slice(300, 600))]
    reach = chosen_reach(lists, *samples, floor=floor)
    assert reach is not None
    for sample in samples:
        found = np.mean(
            [
                np.isin(true, others[plane_distance(lists.centres, row[None], own, others)[0] <= reach.distance]).mean()
                for row, own, true in zip(sample.rows, sample.of.tolist(), sample.true, strict=True)
                for others in [reach.near[own]]
            ]
        )
        assert found >= floor
    higher = chosen_reach(lists, *samples, floor=attempts(floor)[1])
    assert higher is not None
    assert higher.distance > reach.distance or higher.near.shape[1] > reach.near.shape[1]


def test_where_nothing_divides_there_is_no_reach() -> None:
    flat = unit(np.random.default_rng(0), 2_000, 200)
    lists = make_lists(flat, 40, seed=0, threads=1)
    samples = [sampled(flat, lists, np.arange(start, start + 100)) for start in (0, 100)]
    assert chosen_reach(lists, *samples, floor=0.99) is None


# --- the join -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_fast", [True, False])
def test_with_everything_in_reach_it_is_exact_search(
    vectors: FloatArray, lists: Lists, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rough, "is_fast", lambda: is_fast)
    positions, similarity = joined(vectors, lists, Reach(lists.near(), np.inf))
    true, truth = exact_search(vectors, vectors, K + 1)
    np.testing.assert_allclose(similarity, truth[:, 1:], atol=1e-6)
    assert (positions == true[:, 1:]).mean() > 0.999  # float32 may swap two that differ in the last bit


def test_it_finds_the_best_of_the_lists_in_reach_and_of_no_other(vectors: FloatArray, lists: Lists) -> None:
    reach = Reach(lists.near()[:, :8], 0.15)
    positions, similarity = joined(vectors, lists, reach)
    alone = 0
    for row in range(0, len(vectors), 29):
        own = int(lists.of[row])
        others = reach.near[own]
        met = others[plane_distance(lists.centres, vectors[row : row + 1], own, others)[0] <= reach.distance]
        among = np.setdiff1d(np.flatnonzero(np.isin(lists.of, met)), row)
        alone += len(met) == 1
        if len(among) >= K:
            np.testing.assert_allclose(similarity[row], np.sort(vectors[among] @ vectors[row])[::-1][:K], atol=1e-6)
            assert np.isin(positions[row], among).all()
    assert 0 < alone < 100  # the reach tells rows apart


def test_a_small_list_is_compared_with_as_many_as_hold_enough(rng: np.random.Generator) -> None:
    """Two vectors far from everybody, whose planes are out of reach: they get k neighbours all the same."""
    crowd = clumps(rng, 500, n_clumps=4)
    vectors = np.concatenate([crowd, -crowd[:1], -crowd[:1]])
    of = np.r_[np.zeros(500, np.int64), 1, 1]
    centres = np.stack([crowd.mean(axis=0) / np.linalg.norm(crowd.mean(axis=0)), -crowd[0]])
    lists = Lists(centres, of, np.arange(502), np.array([0, 500, 502]))
    positions, _ = joined(vectors, lists, Reach(lists.near(), 0.0))
    assert (positions >= 0).all()
    assert positions[500, 0] == 501
    assert positions[501, 0] == 500


def test_threads_and_the_size_of_groups_change_nothing(
    vectors: FloatArray, lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = Reach(lists.near()[:, :10], 0.2)
    whole = joined(vectors, lists, reach)
    monkeypatch.setattr("curator.index.joined.FEWEST", 300)
    parts = joined(vectors, lists, reach, threads=2)
    assert (whole[0] == parts[0]).mean() > 0.999
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-6)


# --- slots --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 20])
def test_slots_hold_what_sorting_everything_gives(rng: np.random.Generator, k: int) -> None:
    n_rows, n_columns = 40, 900
    scores = rng.normal(scale=0.3, size=(n_rows, n_columns)).astype(np.float32).round(2)  # many are equal
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    columns = rng.permutation(n_columns)
    slots = Slots(n_rows, k)
    for part in np.array_split(columns, [3, 10, 400, 401, 800]):
        rows = rng.permutation(n_rows)
        for some in np.array_split(rows, 3):
            slots.add(some, part, np.ascontiguousarray(scores[np.ix_(some, part)]))
    positions, best = slots.best()
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(scores, expected, axis=1))


def test_slots_that_overflow_with_equal_scores_keep_the_lowest_positions() -> None:
    slots = Slots(3, 4)
    for start in (2_000, 0, 1_000):
        slots.add(np.arange(3), np.arange(start, start + 1_000), np.full((3, 1_000), 0.5, np.float32))
    positions, best = slots.best()
    assert slots.keys.shape[1] == 2 * 4 + ROOM
    assert positions.tolist() == [[0, 1, 2, 3]] * 3
    assert (best == 0.5).all()


def test_slots_of_too_few_candidates_are_padded() -> None:
    slots = Slots(2, 3)
    slots.add(np.array([1]), np.array([7, 9]), np.array([[-0.25, 0.5]], np.float32))
    positions, best = slots.best()
    assert positions.tolist() == [[-1, -1, -1], [9, 7, -1]]
    assert best.tolist() == [[-1, -1, -1], [0.5, -0.25, -1]]
