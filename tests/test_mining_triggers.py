"""Triggers: each image seen once and none lost, only new vectors read, thresholds, drift and precision by run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator import mining, pipeline
from curator.config import load
from curator.index import normalise
from curator.mining.drift import counts_of, edges_of, stability, stability_limit
from curator.mining.triggers import _samples, _threshold, embedded_up_to, review_subject
from curator.searching import Served, open_served
from curator.state import State, open_state
from curator.workspace import open_workspace
from tests.small import SETTINGS, make_footage

CONFIG = load(None, list(SETTINGS))


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    return make_footage(tmp_path / "footage", n=12)


@pytest.fixture
def place(tmp_path: Path, footage: Path) -> Path:
    folder = tmp_path / "street"
    pipeline.run_one("ingest", folder, CONFIG, sources=[str(footage)])
    pipeline.run_one("embed", folder, CONFIG)
    return folder


@pytest.fixture
def state(place: Path) -> Iterator[State]:
    with open_state(place) as opened:
        yield opened


def served(place: Path, state: State) -> Served:
    return open_served(open_workspace(place), state)


def watch(place: Path, state: State, **asked: Any) -> dict[str, Any]:
    mining.create(served(place, state), state, "dusk", who="ann", rows=[0, 2])
    return mining.add_trigger(
        served(place, state), state, "watch", **{"campaign": "dusk", "mode": 1, "who": "ann", "threshold": 0.0, **asked}
    )


def grow(place: Path, footage: Path, *, n: int = 6, seed: int = 9, embed: bool = True) -> None:
    make_footage(footage / f"more{seed}", n=n, seed=seed)
    pipeline.run_one("ingest", place, CONFIG, sources=[str(footage)])
    if embed:
        pipeline.run_one("embed", place, CONFIG)


def run(place: Path, state: State) -> list[dict[str, Any]]:
    return mining.run_triggers(served(place, state), state, who="ann")


def test_images_that_are_not_embedded_yet_wait(place: Path, footage: Path, state: State) -> None:
    made = watch(place, state)
    n_before = open_workspace(place).n_rows
    assert made["last_row"] == n_before - 1
    grow(place, footage, embed=False)
    assert embedded_up_to(open_workspace(place), "colour") == n_before - 1
    assert run(place, state) == []
    assert state.document("trigger", "watch").version == 1  # nothing was written
    pipeline.run_one("embed", place, CONFIG)
    (found,) = run(place, state)
    assert found["first_row"] == n_before
    assert found["n_new"] == open_workspace(place).n_rows - n_before - 1  # without the broken file


def test_images_wait_while_a_trigger_cannot_run(place: Path, footage: Path, state: State) -> None:
    watch(place, state)
    grow(place, footage)
    good = state.document("trigger", "watch").body
    state.put("trigger", "watch", {**good, "model_stamp": "other"}, who="ann")
    for _ in range(2):
        (refused,) = run(place, state)
        assert refused["error"] == "model 'colour' has other weights than when trigger 'watch' was made; make it again"
    (told,) = mining.triggers(state)
    assert len(told["runs"]) == 1  # said once
    body = state.document("trigger", "watch").body
    state.put("trigger", "watch", {**body, "model_stamp": good["model_stamp"]}, who="ann")
    (found,) = run(place, state)
    assert found["error"] is None
    assert found["n_new"] > 0


def test_a_filter_that_names_what_is_gone_stops_its_trigger_alone(place: Path, footage: Path, state: State) -> None:
    watch(place, state, filter={"column": "label", "eq": "car"})
    mining.add_trigger(served(place, state), state, "zebra", campaign="dusk", mode=1, who="ann", threshold=0.0)
    body = state.document("trigger", "watch").body
    state.put("trigger", "watch", {**body, "filter": {"column": "gone", "eq": 1}}, who="ann")
    grow(place, footage)
    wrong, right = run(place, state)
    assert "no column 'gone'" in wrong["error"]
    assert right["error"] is None
    assert right["rows"]


def test_a_name_like_a_collections_stops_its_trigger_alone(place: Path, footage: Path, state: State) -> None:
    watch(place, state)
    mining.add_trigger(served(place, state), state, "other", campaign="dusk", mode=1, who="ann", threshold=0.0)
    state.decide("collect", rows=[1], subject="WATCH", who="ann")
    grow(place, footage)
    other, wrong = run(place, state)
    assert (other["error"], wrong["rows"]) == (None, [])
    assert other["rows"]
    assert "WATCH" in wrong["error"]
    state.decide("rename_collection", subject="WATCH", value="mine", who="ann")
    (later,) = run(place, state)
    assert (later["error"], later["rows"]) == (None, other["rows"])
    assert state.collection("watch").tolist() == later["rows"]


def test_a_filter_holds_for_what_is_taken(place: Path, footage: Path, state: State) -> None:
    watch(place, state, filter={"column": "label", "eq": "car"})
    grow(place, footage)
    (found,) = run(place, state)
    labels = served(place, state).columns.take(found["rows"], ["label"])
    assert found["rows"]
    assert {one["label"] for one in labels} == {"car"}


def test_old_vectors_are_not_read(place: Path, footage: Path, state: State) -> None:
    watch(place, state)
    grow(place, footage)
    old = open_workspace(place).entries("vectors/colour")[0]
    (place / old.file).write_bytes(b"no array")
    (found,) = run(place, state)
    assert found["error"] is None
    assert found["n_new"] > 0


def test_each_batch_is_seen_once_and_has_its_own_precision(place: Path, footage: Path, state: State) -> None:
    watch(place, state, quota=2)
    grow(place, footage, seed=9)
    (first,) = run(place, state)
    grow(place, footage, seed=10)
    (second,) = run(place, state)
    assert second["first_row"] == first["last_row"] + 1
    assert state.collection("watch").tolist() == [*first["rows"], *second["rows"]]
    subject = review_subject("watch")
    state.decide("review", rows=first["rows"], value="accept", subject=subject, who="ann")
    wrong = state.decide("review", rows=second["rows"], value="discard", subject=subject, who="ann")
    (told,) = mining.triggers(state)
    assert [one["precision"]["share"] for one in told["runs"]] == [1.0, 0.0]
    assert told["precision"]["share"] == 0.5
    state.undo(wrong.id, who="ann")
    (told,) = mining.triggers(state)
    assert told["runs"][1]["precision"]["share"] is None


def test_a_deleted_campaign_does_not_stop_its_trigger(place: Path, footage: Path, state: State) -> None:
    watch(place, state)
    mining.delete(state, "dusk", who="ann")
    grow(place, footage)
    (found,) = run(place, state)
    assert found["error"] is None


def test_two_who_run_at_once_collect_once(place: Path, footage: Path, state: State) -> None:
    watch(place, state)
    grow(place, footage)
    (first,) = run(place, state)
    assert run(place, state) == []
    assert len(state.decisions(kind="collect")) == 1
    assert state.collection("watch").tolist() == first["rows"]


# -- thresholds and drift ----------------------------------------------------------------------------------------


def test_samples_to_learn_from_and_to_compare_with_are_apart() -> None:
    for n in (3, 40, 251, 5_000):
        known = np.arange(2)
        learn, compare = _samples(n, known)
        assert not set(learn) & set(known)
        assert len(learn)
        if n > 3:
            assert not set(learn) & set(compare)
            assert not set(compare) & set(known)


def test_the_default_threshold_keeps_ordinary_images_out(rng: np.random.Generator) -> None:
    d = 64
    ordinary = normalise(rng.standard_normal((400, d)).astype(np.float32))
    liked = normalise((np.eye(d)[0] + 0.05 * rng.standard_normal((20, d))).astype(np.float32))
    none = np.empty((0, d), np.float32)
    usual = np.linspace(0, 0.4, 100, dtype=np.float32)
    least = _threshold(liked, none, ordinary[:200], usual)
    assert least > 0.36  # nine of ten stay below
    assert _threshold(liked[:1], none, ordinary[:200], usual) == pytest.approx(0.36, abs=0.01)  # nothing to hold out


def test_the_stability_index_is_the_textbooks() -> None:
    assert stability([10, 20, 30], [10, 20, 30]) == 0
    assert stability([1, 2, 3], [100, 200, 300]) < 0.05
    p, q = np.array([30.5, 70.5]) / 101, np.array([50.5, 50.5]) / 101
    assert stability([50, 50], [30, 70]) == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    assert stability([50, 50, 0], [0, 50, 50]) == pytest.approx(stability([0, 50, 50], [50, 50, 0]))


def test_chance_rarely_passes_the_limit_and_a_shift_does(rng: np.random.Generator) -> None:
    reference = rng.normal(size=500)
    edges = edges_of(reference)
    before = counts_of(reference, edges)
    for n, shift in ((20, 2.5), (100, 1.2), (1_000, 0.7)):  # a small batch shows only a large shift
        limit = stability_limit(500, n, len(before))
        alarms = [stability(before, counts_of(rng.normal(size=n), edges)) > limit for _ in range(400)]
        assert np.mean(alarms) <= 0.03
        moved = [stability(before, counts_of(rng.normal(shift, size=n), edges)) > limit for _ in range(100)]
        assert np.mean(moved) >= 0.9
    plain = [stability(before, counts_of(rng.normal(size=20), edges)) > 0.25 for _ in range(400)]
    assert np.mean(plain) > 0.5  # what the limit is for


def test_equal_scores_have_no_drift() -> None:
    assert counts_of(np.ones(4), edges_of(np.ones(9))) == [4]
    assert stability([9], [4]) == 0
    assert stability_limit(9, 4, 1) == np.inf
