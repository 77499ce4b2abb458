"""Named snapshots: a workspace as it was, itself a workspace, whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curator import pipeline, snapshots
from curator.cli import app
from curator.config import load
from curator.errors import DamagedWorkspace, UnknownName, UsageError
from curator.pipeline.answers import Answer, answers_of, keep_answer
from curator.state import open_state
from curator.workspace import Workspace, open_workspace
from tests.small import SETTINGS, small_root


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    shutil.copytree(small_root() / "street", tmp_path / "street")
    return open_workspace(tmp_path / "street")


def test_a_snapshot_is_a_sound_workspace_that_later_work_leaves_alone(place: Workspace) -> None:
    keep_answer(place, Answer(0, 1, True))
    saved = snapshots.save(place, "before")
    assert (saved.name, saved.rows, saved.sequence) == ("before", 31, place.snapshot.sequence)
    kept = open_workspace(place.path / "snapshots" / "before")
    picked = kept.selection("selection").rows.tolist()
    keep_answer(place, Answer(0, 2, False))
    pipeline.run_one("select", place.path, load(None, [*SETTINGS, "select.budget=3", "select.method=random"]))
    assert len(open_workspace(place.path).selection("selection")) == 3
    assert kept.selection("selection").rows.tolist() == picked
    assert pipeline.verify(kept).is_sound
    assert answers_of(kept) == [Answer(0, 1, True)]
    assert (kept.path / "report" / "index.html").exists()
    assert snapshots.saved(open_workspace(place.path)) == [saved]


def test_files_are_linked_and_cost_no_room(place: Workspace) -> None:
    snapshots.save(place, "a")
    for file in place.entries("samples"):
        assert os.path.samefile(place.file(file), place.path / "snapshots" / "a" / file.file)  # noqa: PTH121


def test_decisions_come_along_without_tokens_and_jobs(place: Workspace) -> None:
    with open_state(place.path) as state:
        state.decide("tag", rows=[1, 2], subject="night", who="ann")
        state.tokens.create("ann", "admin", expires_s=600)
        state.jobs.add("street", "verify", {}, who="ann")
    snapshots.save(place, "a")
    with open_state(place.path / "snapshots" / "a", create=False) as kept:
        assert kept.rows_tagged(["night"]).tolist() == [1, 2]
        assert list(kept.tokens.list()) == []
        assert kept.jobs.page() == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "1", "a b", "x" * 65])
def test_a_name_that_cannot_be_one_is_refused(place: Workspace, name: str) -> None:
    with pytest.raises(UsageError, match="expected a letter, then letters, digits"):
        snapshots.save(place, name)


def test_a_name_that_is_taken_is_refused_and_what_is_there_stays(place: Workspace) -> None:
    first = snapshots.save(place, "a")
    with pytest.raises(UsageError, match="has a snapshot 'a' already; choose another name"):
        snapshots.save(place, "a")
    assert snapshots.saved(place) == [first]


def test_a_missing_file_leaves_nothing_half_made(place: Workspace) -> None:
    place.file(place.entries("thumbs")[0]).unlink()
    with pytest.raises(DamagedWorkspace, match="names a file that is gone"):
        snapshots.save(place, "a")
    assert list((place.path / "snapshots").iterdir()) == []


def test_a_snapshot_can_be_removed_by_its_name_alone(place: Workspace) -> None:
    snapshots.save(place, "a")
    snapshots.forget(place, "a")
    assert list((place.path / "snapshots").iterdir()) == []
    for name in ("a", "../samples", ""):
        with pytest.raises(UnknownName, match="there are: none yet"):
            snapshots.forget(place, name)


def test_a_snapshot_that_cannot_be_read_is_left_out(place: Workspace) -> None:
    snapshots.save(place, "a")
    (place.path / "snapshots" / "a" / "workspace.json").write_text("{")
    assert snapshots.saved(place) == []


def test_the_command(place: Workspace) -> None:
    def call(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["snapshot", *arguments, "-w", str(place.path)])
        assert result.exit_code == code, result.output
        return result.output

    assert "31 rows kept as" in call("a")
    assert call().startswith("a ")
    assert "--remove needs the name" in call("--remove", code=2)
    call("a", "--remove")
    assert call("--json").strip() == "[]"
