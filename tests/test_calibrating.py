"""`curator calibrate` on a workspace: what is stored, what near-duplicates make of it, and that answers are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from curator import embed, pipeline
from curator.calibration import Metric
from curator.cli import app
from curator.config import Config, load
from curator.disk import put_bytes
from curator.errors import CuratorError, DamagedWorkspace, DataError, StageMissing, UsageError
from curator.pipeline import calibrating, evidencing, requesting
from curator.pipeline.answers import Answer, answers_of, keep_answer, questions, read_answers, side_by_side
from curator.snapshot import Entry
from curator.workspace import Workspace, open_workspace
from tests.conftest import picture

SETTINGS = ["embed.model=colour", "calibrate.sample=12", "calibrate.n_bootstrap=20", "workers=1"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with 24 pictures, every other one a copy saved anew, embedded by colour."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(12):
        image = picture(rng)
        image.save(folder / f"{i:02d}.jpg", quality=90)
        image.save(folder / f"{i:02d}-again.jpg", quality=40)
    place = tmp_path_factory.mktemp("w") / "w"
    config = load(None, SETTINGS)
    pipeline.run_one("ingest", place, config, sources=[str(folder)])
    pipeline.run_one("embed", place, config)
    return place


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Workspace:
    import shutil

    shutil.copytree(template, tmp_path / "w")
    return open_workspace(tmp_path / "w")


def config(*settings: str) -> Config:
    return load(None, [*SETTINGS, *settings])


def with_metric(place: Workspace, metric: Metric) -> None:
    """Store a metric as calibration does, whatever held-out edits would say of it."""
    told = {
        "form": metric.name, "hash_weight": metric.hash_weight, "gain": 0.1, "error": 0.0, "held_out": {}, "kept": True,
    }  # fmt: skip
    results = [{"name": "self", "space": "copies", "threshold": 0.8}]
    calibrating._store(place, "colour", results, told, metric, [])


# -- thresholds by name --------------------------------------------------------------------------------------------


def test_the_threshold_is_the_given_one_or_the_default_of_the_model(place: Workspace) -> None:
    assert calibrating.threshold_of(place, config("neardups.threshold=0.8")) == (0.8, "given")
    assert calibrating.threshold_of(place, config()) == (0.99, "default")


def test_a_calibration_that_is_not_there_names_the_command(place: Workspace) -> None:
    with pytest.raises(StageMissing, match=r"no calibration 'self' .* none yet; run `curator calibrate -w"):
        calibrating.threshold_of(place, config("neardups.threshold=self"))
    with pytest.raises(StageMissing, match=r"no calibration 'mine' .*`curator calibrate -w .* --ask --name mine`"):
        calibrating.threshold_of(place, config("neardups.threshold=mine"))
    with pytest.raises(StageMissing, match=r"no calibration 'self' for the space 'copies'"):
        calibrating.threshold_of(place, config("neardups.space=copies"))


def test_self_calibration_is_stored_and_used_by_name(place: Workspace) -> None:
    told = calibrating.calibrate(place, config())
    found = next(result for result in told["results"] if (result["name"], result["space"]) == ("self", "model"))
    assert found["interval"][0] <= found["threshold"] <= found["interval"][1]
    assert 0 <= found["precision"] <= 1
    assert "reencode" in found["same_edits"]
    assert (found["n_images"], found["seed"]) == (12, 0)
    again = open_workspace(place.path)
    threshold, origin = calibrating.threshold_of(again, config("neardups.threshold=self"))
    assert threshold == pytest.approx(found["threshold"])
    assert origin == "calibration 'self'"
    entry = again.entries("calibration/colour")[0]
    assert json.loads(again.file(entry).read_text())["fingerprint"] == entry.fingerprint
    with pytest.raises(StageMissing, match=r"no calibration 'answers' .* there are: self"):
        calibrating.threshold_of(again, config("neardups.threshold=answers"))


def test_near_duplicates_use_the_calibrated_threshold(place: Workspace) -> None:
    calibrating.calibrate(place, config())
    for stage in ("index", "neardups"):
        pipeline.run_one(stage, place.path, config("neardups.threshold=self"))
    found = open_workspace(place.path)
    meta = found.entries("columns/neardup")[0].meta
    assert meta["threshold"] == pytest.approx(calibrating.threshold_of(found, config("neardups.threshold=self"))[0])
    assert meta["certificate"]["orphans"] == 0
    assert pipeline.verify(found).is_sound


def test_calibrating_twice_gives_the_same_file(place: Workspace) -> None:
    first = calibrating.calibrate(place, config())["fingerprint"]
    assert calibrating.calibrate(place, config())["fingerprint"] == first


def test_old_results_go_when_nobody_reads_them_and_answers_stay(place: Workspace) -> None:
    import os

    keep_answer(place, Answer(1, 2, True))
    calibrating._store(place, "colour", [{"name": "a", "space": "model"}], {}, None, [])
    first = place.file(place.entries("calibration/colour")[0])
    calibrating._store(place, "colour", [{"name": "b", "space": "model"}], {}, None, [])
    assert first.exists()  # a reader of the snapshot before may still want it
    for path in (place.path / "calibration").iterdir():
        os.utime(path, (0, 0))
    calibrating._store(place, "colour", [{"name": "c", "space": "model"}], {}, None, [])
    assert not first.exists()
    assert answers_of(place) == [Answer(1, 2, True)]
    assert {result["name"] for result in calibrating.stored(place, "colour")["results"]} == {"a", "b", "c"}


def test_vectors_without_a_model_are_refused(place: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    np.save(file, np.random.default_rng(0).standard_normal((24, 8)))
    asked = config(f"embed.model=vectors:{file}")
    pipeline.run_one("embed", place.path, asked)
    with pytest.raises(UsageError, match=r"vectors without a model.*curator calibrate --ask"):
        calibrating.calibrate(open_workspace(place.path), asked)


def test_a_workspace_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    (tmp_path / "footage" / "a.jpg").write_text("no picture")
    pipeline.run_one("ingest", tmp_path / "w", config(), sources=[str(tmp_path / "footage")])
    with pytest.raises(DataError, match="none of 1 images could be read"):
        pipeline.run_one("embed", tmp_path / "w", config())
    with pytest.raises(DataError, match=r"has no readable image to learn from; `curator info` names the reasons"):
        calibrating.calibrate(open_workspace(tmp_path / "w"), config())


def test_images_that_are_gone_are_refused(place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = place.table("samples")
    gone = table.set_column(
        table.column_names.index("file"), "file", [[str(tmp_path / f"{i}.jpg") for i in range(table.num_rows)]]
    )
    with place.writing("test") as writer:
        old = place.entries("samples")[0]
        writer.write_table("samples/gone.parquet", gone)
        writer.publish({"samples": [Entry("samples/gone.parquet", "x", part=0, n=old.n, meta=dict(old.meta))]})
    with pytest.raises(DataError, match="none of 12 sampled images .* can be read; are they still there"):
        calibrating.calibrate(place, config())


def test_a_broken_file_is_told(place: Workspace) -> None:
    calibrating.calibrate(place, config())
    place.file(place.entries("calibration/colour")[0]).write_text("{")
    with pytest.raises(DamagedWorkspace, match="cannot be read: .*run `curator calibrate` again"):
        calibrating.threshold_of(place, config("neardups.threshold=self"))
    for settings in ("neardups.threshold=self", "neardups.space=copies"):  # `curator status` still works
        assert pipeline.states(place, config(settings))["neardups"] != "current"
    told = calibrating.calibrate(place, config())  # what the message says to do mends it
    assert calibrating.threshold_of(place, config("neardups.threshold=self"))[0] == told["results"][0]["threshold"]


# -- the metric for copies -----------------------------------------------------------------------------------------


def test_the_space_of_the_model_is_left_alone(place: Workspace) -> None:
    embeddings = place.embeddings("colour")
    assert calibrating.metric_of(place, config(), embeddings) is embeddings


def test_the_metric_for_copies_gives_unit_vectors_of_a_space_of_its_own(place: Workspace) -> None:
    embeddings = place.embeddings("colour")
    d = embeddings.dim
    with_metric(place, Metric("centred", embeddings.vectors.mean(axis=0), np.eye(d), 0.25, 0.1, 0.0, {}))
    found = calibrating.metric_of(place, config("neardups.space=copies"), embeddings)
    assert found.space == "colour.copies"
    assert np.array_equal(found.rows, embeddings.rows)
    assert found.vectors.shape == (24, d + 64)
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(24), abs=1e-5)
    hashes = place.column("pixels", ["row", "phash"])["phash"].to_pylist()
    moved = embeddings.vectors - embeddings.vectors.mean(axis=0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    expected = 0.75 * moved[0] @ moved[1] + 0.25 * (1 - 2 * (hashes[0] ^ hashes[1]).bit_count() / 64)
    assert found.vectors[0] @ found.vectors[1] == pytest.approx(expected, abs=1e-5)


def test_near_duplicates_can_be_decided_in_the_metric_for_copies(place: Workspace) -> None:
    embeddings = place.embeddings("colour")
    with_metric(place, Metric("centred", embeddings.vectors.mean(axis=0), None, 0.5, 0.1, 0.0, {}))
    for stage in ("index", "neardups"):
        pipeline.run_one(stage, place.path, config("neardups.space=copies"))
    found = open_workspace(place.path)
    assert found.entries("columns/neardup")[0].meta["threshold"] == 0.8
    assert pipeline.verify(found).is_sound


def test_what_a_pick_covers_is_calibrated_in_the_models_own_vectors(place: Workspace) -> None:
    embeddings, asked = place.embeddings("colour"), config("neardups.space=copies")
    with_metric(place, Metric("centred", embeddings.vectors.mean(axis=0), None, 0.5, 0.1, 0.0, {}))
    for stage in ("index", "neardups"):
        pipeline.run_one(stage, place.path, asked)
    found = open_workspace(place.path)
    assert requesting.threshold(found, embeddings, asked) == embed.describe("colour").threshold  # nothing calibrated
    before = requesting.stamp(found, asked)
    results = [{"name": "self", "space": space, "threshold": t} for space, t in (("model", 0.91), ("copies", 0.8))]
    calibrating._store(found, "colour", results, None, None, [])
    found = open_workspace(place.path)
    assert requesting.threshold(found, embeddings, asked) == 0.91
    assert requesting.stamp(found, asked) != before
    scene = evidencing.scene_of(found, embeddings, asked)
    assert (scene.within, scene.threshold) == (0.91, 0.8)
    assert scene.alike.shape == (24, embeddings.dim + 64)  # near-duplicates stay in their own metric
    own = config("neardups.space=copies", "select.threshold=0.7")
    assert requesting.threshold(found, embeddings, own) == evidencing.scene_of(found, embeddings, own).within == 0.7


def test_a_metric_that_is_not_there_is_told_with_what_to_do(place: Workspace) -> None:
    asked, embeddings = config("neardups.space=copies"), place.embeddings("colour")
    with pytest.raises(StageMissing, match=r"no metric for copies .* none was learnt yet; run `curator calibrate"):
        calibrating.metric_of(place, asked, embeddings)
    calibrating._store(place, "colour", [], {"form": "plain", "kept": False}, None, [])
    with pytest.raises(StageMissing, match=r"does not help here; set neardups.space to model"):
        calibrating.metric_of(place, asked, embeddings)


def test_a_broken_metric_is_told(place: Workspace) -> None:
    embeddings = place.embeddings("colour")
    with_metric(place, Metric("centred", embeddings.vectors.mean(axis=0), None, 0.0, 0.1, 0.0, {}))
    file = place.file(place.entries("calibration/colour")[1])
    cut = file.read_bytes()[:-40]
    for left in (b"no arrays", cut):
        file.write_bytes(left)
        with pytest.raises(DamagedWorkspace, match=r"npz cannot be read: .*run `curator calibrate` again"):
            calibrating.metric_of(place, config("neardups.space=copies"), embeddings)


def test_a_metric_whose_file_is_gone_is_to_be_learnt_again(place: Workspace) -> None:
    embeddings = place.embeddings("colour")
    with_metric(place, Metric("centred", embeddings.vectors.mean(axis=0), None, 0.0, 0.1, 0.0, {}))
    with place.writing("test") as writer:
        writer.publish({"calibration/colour": place.entries("calibration/colour")[:1]})
    with pytest.raises(StageMissing, match=r"its file is gone; run `curator calibrate"):
        calibrating.metric_of(place, config("neardups.space=copies"), embeddings)


# -- answers -------------------------------------------------------------------------------------------------------


def truthful(place: Workspace) -> list[Answer]:
    asked = questions(place, config())
    return [Answer(q.row_a, q.row_b, Path(q.uri_a).name[:2] == Path(q.uri_b).name[:2]) for q in asked]


def test_questions_name_two_rows_and_show_their_pictures(place: Workspace) -> None:
    asked = questions(place, config("calibrate.n_pairs=20"))
    assert len(asked) == 20
    assert len({(q.row_a, q.row_b) for q in asked}) == 20
    assert all(q.row_a != q.row_b for q in asked)
    shown = side_by_side(place, asked[0])
    assert shown is not None
    assert shown.read_bytes().startswith(b"\xff\xd8\xff")


def test_answered_pairs_are_not_asked_again(place: Workspace) -> None:
    first = questions(place, config("calibrate.n_pairs=20"))
    for question in first[:15]:
        keep_answer(place, Answer(question.row_a, question.row_b, None))
    rest = questions(place, config("calibrate.n_pairs=20"))
    assert len(rest) == 5
    assert not {(q.row_a, q.row_b) for q in rest} & {(q.row_a, q.row_b) for q in first[:15]}


def test_answers_are_kept_one_by_one_and_the_last_counts(place: Workspace) -> None:
    keep_answer(place, Answer(3, 1, True))
    with (place.path / "calibration" / "answers.jsonl").open("ab") as file:
        put_bytes(file, b'{"row_a": 5, "ro')  # a crash cut this line
    keep_answer(place, Answer(2, 4, None))
    keep_answer(place, Answer(1, 3, False))
    assert answers_of(place) == [Answer(1, 3, False), Answer(2, 4, None)]


def test_answers_give_a_threshold_of_their_own_beside_self(place: Workspace) -> None:
    calibrating.calibrate(place, config())
    for answer in truthful(place):
        keep_answer(place, answer)
    told = calibrating.calibrate_answers(place, config(), name="mine")
    assert {"self", "mine"} <= {result["name"] for result in told["results"]}
    mine = next(result for result in told["results"] if result["name"] == "mine")
    assert mine["precision_interval"][0] <= 1
    assert calibrating.threshold_of(place, config("neardups.threshold=mine"))[0] == pytest.approx(mine["threshold"])
    assert len(answers_of(place)) == mine["n"]
    calibrating.calibrate(place, config())  # once more: what a person said stays
    assert calibrating.threshold_of(place, config("neardups.threshold=mine"))[0] == pytest.approx(mine["threshold"])


def test_no_answers_are_told(place: Workspace) -> None:
    with pytest.raises(DataError, match="no answers about images .* yet; run `curator calibrate --ask`"):
        calibrating.calibrate_answers(place, config())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has the columns a, b; expected row_a, row_b and same"),
        ("row_a,row_b,same\n1,2,perhaps\n", "line 2: same is 'perhaps'; expected same, different, unsure, 1 or 0"),
        ("row_a,row_b,same\n1,x,1\n", "line 2: '1' and 'x' are no rows"),
        ("row_a,row_b,same\n1,2,1\n4,4,1\n", "line 3: row 4 is compared with itself"),
        ("row_a,row_b,same\n1,99,1\n", "no row 99 .* rows are 0 to 23"),
    ],
)
def test_a_file_of_answers_that_cannot_be_used_is_told(
    place: Workspace, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(CuratorError, match=message):
        read_answers(place, tmp_path / "answers.csv")


def test_a_file_that_is_not_there_is_told(place: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read answers from .*gone.csv"):
        read_answers(place, tmp_path / "gone.csv")


# -- the command ---------------------------------------------------------------------------------------------------


def command(place: Workspace, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    result = CliRunner().invoke(app, ["calibrate", "-w", str(place.path), *settings, *arguments], input=typed)
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_threshold_and_intervals(place: Workspace) -> None:
    code, out, _ = command(place)
    assert code == 0
    assert "self: threshold 0." in out
    assert "expected precision" in out
    assert "metric for copies: " in out
    code, out, _ = command(place, "--json")
    assert code == 0
    assert json.loads(out)["results"][0]["name"] == "self"


def test_asking_keeps_answers_until_one_quits(place: Workspace) -> None:
    code, _, err = command(place, "--ask", typed="s\nx\nd\nu\nq\n")
    assert code == 1
    assert "1 same and 1 different answers; calibration needs at least 10" in err
    assert "side by side: " in err
    assert [answer.same for answer in answers_of(place)] == [True, False, None]


def test_asking_says_when_no_pair_is_left(place: Workspace) -> None:
    for answer in truthful(place):
        keep_answer(place, answer)
    _, _, err = command(place, "--ask")
    assert "no pair is left to ask about: as many as calibrate.n_pairs have an answer" in err


def test_answers_from_a_file_are_kept_and_fitted(place: Workspace, tmp_path: Path) -> None:
    lines = [f"{a.row_a},{a.row_b},{'same' if a.same else 'different'}" for a in truthful(place)]
    (tmp_path / "answers.csv").write_text("\n".join(["row_a,row_b,same", *lines]) + "\n")
    code, out, _ = command(place, "--answers", str(tmp_path / "answers.csv"), "--name", "mine")
    assert code == 0
    assert "mine: threshold 0." in out
    assert len(answers_of(place)) == len(lines)


@pytest.mark.parametrize("name", ["self", "moments", "two words"])
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(place: Workspace, name: str) -> None:
    code, _, err = command(place, "--ask", "--name", name)
    assert code == 2
    assert "expected a letter, then letters, digits" in err


def test_a_name_without_answers_is_refused_before_anything_is_learnt(place: Workspace) -> None:
    code, _, err = command(place, "--name", "mine")
    assert code == 2
    assert "--name 'mine' names a result of answers; add --ask, --kept or --answers FILE" in err
    assert not place.entries("calibration/colour")


# -- real pictures -------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagededup_ukbench", "pdq_bridge"])
def test_without_labels_the_threshold_is_nearly_the_best_on_known_sets(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    import csv

    folder = real_data / "near_duplicates" / name
    pipeline.run_one("ingest", tmp_path / "w", sources=[str(folder)])
    pipeline.run_one("embed", tmp_path / "w")
    place = open_workspace(tmp_path / "w")
    calibrating.calibrate(place, Config())
    threshold = calibrating.threshold_of(place, load(None, ["neardups.threshold=self"]))[0]
    with (folder / "truth.csv").open(newline="") as file:
        group = {record["file"]: record["same_picture_group"] for record in csv.DictReader(file)}
    uris = dict(zip(*(place.table("samples")[name].to_pylist() for name in ("row", "uri")), strict=True))
    embeddings = place.embeddings()
    shown = [Path(uris[row]).relative_to(folder).as_posix() for row in embeddings.rows.tolist()]
    # the photograph with an alpha channel is ukbench00120 again, listed as a group of its own
    groups = np.asarray([group.get(f, f).replace("alpha_channel_image.png", "ukbench00120") for f in shown])
    at, to = np.triu_indices(len(groups), 1)
    similarity, same = (embeddings.vectors @ embeddings.vectors.T)[at, to], groups[at] == groups[to]

    def f1(t: float) -> float:
        taken = similarity >= t
        return 2 * float((taken & same).sum()) / max(float(taken.sum() + same.sum()), 1.0)

    assert f1(threshold) >= 0.9 * max(f1(float(t)) for t in similarity[same])
