"""Finding more like a failure: rates, modes, ranking, batches, campaigns with undo, triggers, tiles."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator import mining, pipeline
from curator.config import load
from curator.data import FloatArray
from curator.errors import BadName, BadQuery, Conflict, DataError, StageMissing, UnknownName
from curator.index import normalise
from curator.mining.campaigns import subject_of
from curator.mining.modes import failure_modes, lifts
from curator.mining.ranking import ENOUGH, Feedback, View, average_precision, cross_validated, rank, tile_likeness
from curator.mining.rates import precision, shared_budget, wilson
from curator.mining.retrieving import Apart, next_best
from curator.pipeline.tiling import boxes_of, load_tiles
from curator.searching import Served, open_served
from curator.state import State, open_state
from curator.workspace import open_workspace
from tests.small import SETTINGS, make_footage, small_root


def around(rng: np.random.Generator, centres: list[int], n: int, d: int = 16) -> FloatArray:
    """n unit vectors near each of some axes."""
    out = np.concatenate([np.eye(d, dtype=np.float32)[c] + 0.1 * rng.standard_normal((n, d)) for c in centres])
    return normalise(out.astype(np.float32))


# -- rates -------------------------------------------------------------------------------------------------------


def test_wilsons_interval_is_the_textbooks() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)


@given(st.integers(0, 50), st.integers(0, 50))
def test_precision_lies_in_its_interval(good: int, bad: int) -> None:
    found = precision(good, bad)
    if good + bad == 0:
        assert found.share is None
    elif good + bad < 10:
        assert found.low is None
    else:
        assert found.low is not None and found.high is not None and found.share is not None
        assert 0 <= found.low <= found.share <= found.high <= 1


@given(
    st.integers(0, 500), st.lists(st.tuples(st.integers(1, 300), st.integers(0, 40), st.integers(0, 40)), max_size=8)
)
def test_a_shared_budget_is_spent_whole(budget: int, modes: list[tuple[int, int, int]]) -> None:
    shares = shared_budget(budget, modes)
    assert sum(shares) == (budget if modes else 0)
    assert all(share >= min(5, budget // len(modes)) for share in shares)


def test_the_more_precise_and_the_larger_mode_get_more() -> None:
    good, poor = shared_budget(100, [(20, 18, 2), (20, 2, 18)])
    large, small = shared_budget(100, [(100, 0, 0), (4, 0, 0)])
    assert good > poor
    assert large > small


# -- modes -------------------------------------------------------------------------------------------------------


def test_failures_of_three_looks_are_three_modes(rng: np.random.Generator) -> None:
    modes = failure_modes(around(rng, [0, 1, 2], 8))
    assert sorted(sorted(mode.members.tolist()) for mode in modes) == [
        list(range(8)), list(range(8, 16)), list(range(16, 24)),
    ]  # fmt: skip


def test_failures_of_one_look_are_one_mode_and_the_order_does_not_matter(rng: np.random.Generator) -> None:
    vectors = around(rng, [3], 12)
    assert len(failure_modes(vectors)) == 1
    order = rng.permutation(24)
    mixed = around(rng, [0, 1], 12)
    first = {frozenset(mode.members.tolist()) for mode in failure_modes(mixed)}
    second = {frozenset(order[mode.members].tolist()) for mode in failure_modes(mixed[order])}
    assert first == second


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_failures_are_one_mode_with_its_medoid_first(rng: np.random.Generator, n: int) -> None:
    vectors = around(rng, [0], n)
    (mode,) = failure_modes(vectors)
    near = vectors @ vectors.sum(axis=0)
    assert mode.members[0] == int(np.argmax(near))
    assert len(mode.members) == n


def test_as_many_modes_as_asked(rng: np.random.Generator) -> None:
    assert len(failure_modes(around(rng, [0, 1, 2], 8), 5)) == 5


def test_equal_failures_are_one_mode() -> None:
    assert len(failure_modes(np.full((30, 4), 0.5, np.float32))) == 1


def test_what_is_typical_is_more_common_than_by_chance() -> None:
    values = {"weather": ["rain"] * 10 + ["sun"] * 90, "camera": ["a", "b"] * 50, "same": ["x"] * 100}
    (found,) = lifts(range(10), range(100), values)
    assert (found.column, found.value, found.share, found.pool_share) == ("weather", "rain", 1.0, 0.1)
    assert found.lift > 5
    assert lifts([0], range(100), {"weather": values["weather"]})[0].lift < 2.1  # one member proves little


# -- ranking -----------------------------------------------------------------------------------------------------


def test_average_precision_is_the_textbooks() -> None:
    scores, truth = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.zeros(4), truth) == pytest.approx((1 / 3 + 2 / 4) / 2)  # ties count against


def test_one_positive_ranks_its_own_kind_first(rng: np.random.Generator) -> None:
    vectors = around(rng, [0, 1, 2], 20)
    found = rank(View(vectors), Feedback(np.array([0]), np.empty(0, np.int64)))
    assert set(np.argsort(-found.scores)[:20].tolist()) == set(range(20))
    assert (found.how, found.is_chosen) == ("fused", False)


def test_discarded_ones_push_their_kind_down(rng: np.random.Generator) -> None:
    vectors = around(rng, [0, 1, 2], 20)
    seed = normalise((np.eye(16, dtype=np.float32)[0] + np.eye(16, dtype=np.float32)[1])[None])
    view = View(np.concatenate([vectors, seed]))
    found = rank(view, Feedback(np.array([60, 0]), np.array([20, 21])))
    assert found.scores[1:20].min() > found.scores[22:40].max()


def test_the_order_of_answers_within_a_round_does_not_matter(rng: np.random.Generator) -> None:
    vectors = around(rng, [0, 1], 20)
    first = rank(View(vectors), Feedback(np.array([0, 1, 2]), np.array([20, 21, 22])), "fused").scores
    second = rank(View(vectors), Feedback(np.array([2, 0, 1]), np.array([22, 21, 20])), "fused").scores
    assert first == pytest.approx(second, abs=1e-3)


def test_cross_validation_chooses_once_there_are_answers_enough(rng: np.random.Generator) -> None:
    vectors = around(rng, [0, 1], 30)
    few = rank(View(vectors), Feedback(np.arange(ENOUGH - 1), np.arange(30, 40)))
    many = rank(View(vectors), Feedback(np.arange(ENOUGH), np.arange(30, 40)))
    assert not few.is_chosen
    assert many.is_chosen
    assert set(many.precision) == {"fused", "mean", "centred", "max", "probe"}
    assert all(0 <= value <= 1 for value in many.precision.values())
    assert cross_validated(View(vectors), Feedback(np.arange(8), np.arange(30, 40)), seed=0)["probe"] == pytest.approx(
        np.ones(5)
    )


def test_tiles_find_what_is_small_in_the_frame(rng: np.random.Generator) -> None:
    n, d = 40, 16
    scene = around(rng, [5], n, d)  # the frames all look the same
    tiles = np.repeat(around(rng, [6], n * 4, d)[:, None], 1, axis=1).reshape(n * 4, d)
    tile_of = np.repeat(np.arange(n), 4)
    small = np.eye(d, dtype=np.float32)[9]
    for image in range(10):
        tiles[4 * image + 2] = normalise((small + 0.1 * rng.standard_normal(d)).astype(np.float32)[None])[0]
    near = tile_likeness(View(scene, tiles, tile_of), np.array([0, 1]))
    assert near[:10].min() > near[10:].max()


# -- batches -----------------------------------------------------------------------------------------------------


def test_a_batch_keeps_apart_in_time_and_look(rng: np.random.Generator) -> None:
    n = 60
    vectors = normalise(rng.standard_normal((n, 8)).astype(np.float32))
    vectors[10] = vectors[0]
    scores = -np.arange(n, dtype=float)
    apart = Apart(np.zeros(n, np.int64), np.arange(n, dtype=float), 3.0, 0.99)
    picked = next_best(scores, vectors, np.ones(n, bool), np.array([20]), 100, apart)
    times = np.sort(picked)
    assert picked[0] == 0
    assert 10 not in picked or 0 not in picked
    assert np.diff(times).min() >= 3
    assert np.abs(times - 20).min() >= 3
    left_out = np.setdiff1d(np.arange(n), picked)
    near = [
        np.abs(times - at).min() < 3 or abs(at - 20) < 3 or (vectors[picked] @ vectors[at]).max() >= 0.99
        for at in left_out
    ]
    assert all(near)  # nobody is left out without a reason


def test_pictures_have_no_time(rng: np.random.Generator) -> None:
    vectors = normalise(rng.standard_normal((5, 8)).astype(np.float32))
    apart = Apart(np.full(5, -1), np.zeros(5), 10.0)
    assert len(next_best(np.arange(5.0), vectors, np.ones(5, bool), np.empty(0, np.int64), 5, apart)) == 5


# -- campaigns ---------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "street")
    return tmp_path / "street"


@pytest.fixture
def opened(place: Path) -> Iterator[tuple[Served, State]]:
    with open_state(place) as state:
        yield open_served(open_workspace(place), state), state


def test_a_campaign_from_rows_to_a_selection(place: Path, opened: tuple[Served, State]) -> None:
    served, state = opened
    mining.create(served, state, "dusk", who="ann", rows=[0, 2, 4])
    batch = mining.next_batch(served, state, "dusk", 1, 5)
    rows = [hit["row"] for hit in batch["hits"]]
    assert not set(rows) & {0, 2, 4}
    assert [hit["score"] for hit in batch["hits"]] == sorted((hit["score"] for hit in batch["hits"]), reverse=True)
    mining.review(state, "dusk", 1, rows[:2], "accept", who="ann")
    mining.review(state, "dusk", 1, rows[2:3], "discard", who="ben")
    mining.review(state, "dusk", 1, rows[3:4], "skip", who="ben")
    again = mining.next_batch(served, state, "dusk", 1, 50)
    assert not {hit["row"] for hit in again["hits"]} & set(rows[:4])
    assert (again["precision"]["accepted"], again["precision"]["discarded"], again["precision"]["skipped"]) == (2, 1, 1)
    assert mining.export(open_workspace(place), state, "dusk", "to-label") == {
        "selection": "to-label", "count": 2, "campaign": "dusk",
    }  # fmt: skip
    chosen = open_workspace(place).selection("to-label")
    assert chosen.rows.tolist() == rows[:2]
    assert re.fullmatch(
        r"accepted by ann in campaign 'dusk', mode 1: similarity [01]\.\d\d to seed [024]", chosen.reasons[0]
    )


def test_undoing_an_answer_is_never_having_given_it(opened: tuple[Served, State]) -> None:
    served, state = opened
    mining.create(served, state, "dusk", who="ann", rows=[0, 2, 4])
    before = mining.next_batch(served, state, "dusk", 1, 10)
    said = mining.review(state, "dusk", 1, [before["hits"][0]["row"]], "discard", who="ann")
    assert mining.next_batch(served, state, "dusk", 1, 10) != before
    state.undo(said.id, who="ann")
    assert mining.next_batch(served, state, "dusk", 1, 10) == before


def test_a_restart_gives_the_same_batch(place: Path, opened: tuple[Served, State]) -> None:
    served, state = opened
    mining.create(served, state, "dusk", who="ann", rows=[0, 2, 4])
    mining.review(state, "dusk", 1, [8, 10], "accept", who="ann")
    before = mining.next_batch(served, state, "dusk", 1, 10)
    with open_state(place) as other:
        assert mining.next_batch(open_served(open_workspace(place), other), other, "dusk", 1, 10) == before


def test_failures_by_filter_mistakes_and_collection(opened: tuple[Served, State]) -> None:
    served, state = opened
    by_filter = mining.create(served, state, "a", who="ann", filter={"column": "label", "eq": "car"})
    assert len(by_filter.rows) == 15  # the broken file has no vector
    state.decide("collect", rows=[1, 3], subject="bad", who="ann")
    assert mining.create(served, state, "b", who="ann", collection="bad").rows == (1, 3)
    mistakes = mining.create(served, state, "c", who="ann", mistakes=("label", "cluster_name"))
    assert len(mistakes.rows) > 0
    with pytest.raises(DataError, match="never differs from 'label'"):
        mining.create(served, state, "d", who="ann", mistakes=("label", "label"))


def test_a_pool_filter_holds(opened: tuple[Served, State]) -> None:
    served, state = opened
    mining.create(served, state, "dusk", who="ann", rows=[0], pool={"column": "label", "eq": "car"})
    rows = [hit["row"] for hit in mining.next_batch(served, state, "dusk", 1, 50)["hits"]]
    labels = served.columns.take(rows, ["label"])
    assert rows
    assert {one["label"] for one in labels} == {"car"}


def test_an_overview_shares_the_budget(opened: tuple[Served, State]) -> None:
    served, state = opened
    mining.create(served, state, "dusk", who="ann", rows=[0, 2, 4, 6, 8, 10], n_modes=2, budget=40)
    body = mining.overview(served, state, "dusk")
    assert sum(mode["share"] for mode in body["modes"]) == 40
    assert sorted(row for mode in body["modes"] for row in mode["rows"]) == [0, 2, 4, 6, 8, 10]


def test_campaigns_that_cannot_be_are_said(opened: tuple[Served, State]) -> None:
    served, state = opened
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({}, "failures from nowhere; give exactly one"), ({"rows": [1], "collection": "x"}, "rows and collection"),
        ({"rows": [1], "budget": 0}, "budget 0"), ({"rows": [1], "how": "magic"}, "how is 'magic'"),
    ]  # fmt: skip
    for wrong, said in wrongs:
        with pytest.raises(BadQuery, match=said):
            mining.create(served, state, "x", who="ann", **wrong)
    with pytest.raises(BadName, match="leave out slashes"):
        mining.create(served, state, "a/b", who="ann", rows=[1])
    broken = int(np.flatnonzero(~np.isin(np.arange(served.n_rows), served.space().rows))[0])
    with pytest.raises(DataError, match="no failing image has a vector"):
        mining.create(served, state, "x", who="ann", rows=[broken])
    mining.create(served, state, "dusk", who="ann", rows=[0])
    with pytest.raises(Conflict, match="campaign 'dusk' has version 1"):
        mining.create(served, state, "dusk", who="ann", rows=[0])
    with pytest.raises(UnknownName, match="no mode 7; it has 1 to 1"):
        mining.next_batch(served, state, "dusk", 7)
    with pytest.raises(BadQuery, match="k is 0"):
        mining.next_batch(served, state, "dusk", 1, 0)
    with pytest.raises(BadQuery, match="verdict 'maybe'"):
        mining.review(state, "dusk", 1, [1], "maybe", who="ann")
    with pytest.raises(DataError, match="nothing was accepted"):
        mining.export(served.workspace, state, "dusk", "x")
    mining.delete(state, "dusk", who="ann")
    with pytest.raises(UnknownName, match="no campaign 'dusk'"):
        mining.find(state, "dusk")


# -- triggers ----------------------------------------------------------------------------------------------------


def grown(tmp_path: Path) -> tuple[Path, Path]:
    """A workspace over footage that can grow."""
    footage = make_footage(tmp_path / "footage", n=16)
    place = tmp_path / "street"
    pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
    return footage, place


def test_a_trigger_sees_each_new_image_once(tmp_path: Path) -> None:
    footage, place = grown(tmp_path)
    with open_state(place) as state:
        served = open_served(open_workspace(place), state)
        mining.create(served, state, "dusk", who="ann", rows=[0, 2])
        mining.add_trigger(served, state, "watch", campaign="dusk", mode=1, who="ann", threshold=0.0, quota=3)
        assert mining.run_triggers(served, state, who="ann") == []  # nothing is new
        n_before = served.n_rows
        make_footage(footage / "more", n=6, seed=9)
        pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
        served = open_served(open_workspace(place), state)
        (run,) = mining.run_triggers(served, state, who="ann")
        assert run["first_row"] == n_before
        assert run["n_new"] == served.n_rows - n_before - 1  # without the broken file
        assert 0 < len(run["rows"]) <= 3
        assert min(run["rows"]) >= n_before
        assert state.collection("watch").tolist() == run["rows"]
        assert mining.run_triggers(served, state, who="ann") == []
        (told,) = mining.triggers(state)
        assert len(told["runs"]) == 1
        assert "weights" not in told


def test_a_trigger_of_another_model_is_refused_in_its_run(tmp_path: Path) -> None:
    _, place = grown(tmp_path)
    with open_state(place) as state:
        served = open_served(open_workspace(place), state)
        mining.create(served, state, "dusk", who="ann", rows=[0, 2])
        made = mining.add_trigger(served, state, "watch", campaign="dusk", mode=1, who="ann")
        document = state.document("trigger", "watch")
        state.put("trigger", "watch", {**document.body, "model": "another", "last_row": 0}, who="ann")
        (run,) = mining.run_triggers(served, state, who="ann")
        assert "was made with 'another', the space has 'colour'; make it again" in run["error"]
        state.put("trigger", "watch", {**document.body, "space": "gone", "last_row": 0}, who="ann")
        (run,) = mining.run_triggers(served, state, who="ann")
        assert "space 'gone', which is not there" in run["error"]
        assert made["precision"]["share"] is None
        mining.delete_trigger(state, "watch", who="ann")
        assert mining.triggers(state) == []


def test_triggers_that_cannot_be_are_said(opened: tuple[Served, State]) -> None:
    served, state = opened
    mining.create(served, state, "dusk", who="ann", rows=[0])
    with pytest.raises(BadQuery, match="quota 0"):
        mining.add_trigger(served, state, "w", campaign="dusk", mode=1, who="ann", quota=0)
    with pytest.raises(UnknownName, match="no campaign 'dawn'"):
        mining.add_trigger(served, state, "w", campaign="dawn", mode=1, who="ann")


# -- tiles -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(2, 8), st.floats(0.2, 0.9))
def test_tiles_cover_the_picture_and_stay_inside(width: int, height: int, grid: int, share: float) -> None:
    boxes = boxes_of(width, height, grid=grid, share=share)
    assert boxes.shape == (grid * grid, 4)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= width).all()
    assert (boxes[:, 1] + boxes[:, 3] <= height).all()
    assert boxes[-1, 0] + boxes[-1, 2] == width
    assert boxes[-1, 1] + boxes[-1, 3] == height


def test_tiles_are_made_once_and_only_for_what_is_new(tmp_path: Path) -> None:
    footage, place = grown(tmp_path)
    config = load(None, [*SETTINGS, "tiles.grid=2"])
    with pytest.raises(StageMissing, match="run `curator tiles"):
        load_tiles(open_workspace(place), "colour")
    first = pipeline.tile(place, config)
    tiles = load_tiles(open_workspace(place), "colour")
    n_good = open_workspace(place).n_rows - 1
    assert (len(tiles), first.counts["n_made"], first.skipped) == (4 * n_good, 4 * n_good, False)
    assert np.allclose(np.linalg.norm(tiles.vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(tiles.objects)) == len(tiles)
    assert pipeline.tile(place, config).skipped
    make_footage(footage / "more", n=4, seed=9)
    pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
    second = pipeline.tile(place, config)
    assert second.counts["n_made"] == 4 * (open_workspace(place).n_rows - 2 - n_good)
    whole = pipeline.tile(place, load(None, [*SETTINGS, "tiles.grid=3"]))
    assert whole.counts["n_made"] == 9 * (open_workspace(place).n_rows - 2)


def test_a_campaign_uses_tiles_where_there_are_some(place: Path) -> None:
    pipeline.tile(place, load(None, [*SETTINGS, "tiles.grid=2"]))
    with open_state(place) as state:
        served = open_served(open_workspace(place), state)
        mining.create(served, state, "dusk", who="ann", rows=[0, 2])
        assert mining.next_batch(served, state, "dusk", 1)["ranking"]["uses_tiles"]
        assert mining.overview(served, state, "dusk")["has_tiles"]


def test_subjects_of_modes_are_apart() -> None:
    assert subject_of("dusk", 1) != subject_of("dusk", 11)


def test_a_filter_reads_like_the_searchs(opened: tuple[Served, State]) -> None:
    served, state = opened
    wrong: dict[str, Any] = {"column": "labl", "eq": 1}
    with pytest.raises(Exception, match="no column 'labl'"):
        mining.create(served, state, "x", who="ann", rows=[0], pool=wrong)
