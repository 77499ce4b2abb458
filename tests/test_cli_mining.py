"""`curator campaign`, `mine` and `triggers`: what they print, and what they say of what cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from curator import pipeline
from curator.cli import app
from curator.config import load
from curator.state import open_state
from curator.workspace import create_workspace, open_workspace
from tests.small import SETTINGS, make_footage, small_root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "street")
    return tmp_path / "street"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def printed(*arguments: Any) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: Any, exit_code: int = 2) -> str:
    result = run(*arguments)
    assert result.exit_code == exit_code, result.output
    return result.output


def test_a_campaign_is_started_shown_and_taken_away(place: Path) -> None:
    made = printed("campaign", "dusk", "-w", place, "--rows", "0,2,4", "--budget", "30")
    assert (made["n_failures"], made["budget"]) == (3, 30)
    assert printed("campaign", "dusk", "-w", place) == made
    shown = run("campaign", "dusk", "-w", place).stdout
    assert shown.startswith("dusk: 3 failures, 0 accepted of 0 reviewed\n  mode 1: ")
    assert run("campaign", "dusk", "-w", place, "--delete").stdout == "deleted dusk\n"
    assert "no campaign 'dusk'" in refused("campaign", "dusk", "-w", place)


def test_answers_come_before_the_next_batch(place: Path) -> None:
    printed("campaign", "dusk", "-w", place, "--rows", "0,2,4")
    rows = [hit["row"] for hit in printed("mine", "dusk", "-w", place, "--next", "6")["hits"]]
    flags = ("--accept", f"{rows[0]},{rows[1]}", "--discard", rows[2], "--skip", rows[3])
    after = printed("mine", "dusk", "-w", place, *flags, "--next", "50")
    assert not {hit["row"] for hit in after["hits"]} & set(rows[:4])
    rate = after["precision"]
    assert (rate["accepted"], rate["discarded"], rate["skipped"]) == (2, 1, 1)
    lines = run("mine", "dusk", "-w", place, "--next", "2").stdout.splitlines()
    assert [int(line.split()[1]) for line in lines] == [hit["row"] for hit in after["hits"][:2]]
    with open_state(place) as state:
        assert {decision.kind for decision in state.decisions()} == {"review"}


def test_export_twice_is_the_same_selection(place: Path) -> None:
    printed("campaign", "dusk", "-w", place, "--rows", "0,2,4")
    assert "nothing was accepted" in refused("mine", "dusk", "-w", place, "--export", "x", exit_code=1)
    rows = [hit["row"] for hit in printed("mine", "dusk", "-w", place)["hits"]][:2]
    made = printed("mine", "dusk", "-w", place, "--accept", f"{rows[0]},{rows[1]}", "--export", "to-label")
    assert made == {"selection": "to-label", "count": 2, "campaign": "dusk"}
    assert printed("mine", "dusk", "-w", place, "--export", "to-label") == made
    assert open_workspace(place).selection("to-label").rows.tolist() == rows
    assert run("mine", "dusk", "-w", place, "--export", "to-label").stdout == "2 accepted are selection to-label\n"


def test_a_row_outside_the_pool_may_be_answered(place: Path) -> None:
    pool = '{"column": "label", "eq": "car"}'
    printed("campaign", "dusk", "-w", place, "--rows", "0,2,4", "--pool", pool)
    outside = next(row for row in range(5, 31) if printed("show", row, "-w", place)["label"] == "bus")
    before = printed("mine", "dusk", "-w", place)
    after = printed("mine", "dusk", "-w", place, "--accept", outside)
    assert after["pool"] == before["pool"]
    assert after["ranking"]["n_positives"] == before["ranking"]["n_positives"] + 1


def test_a_trigger_runs_once_on_what_is_new(tmp_path: Path) -> None:
    footage, place = make_footage(tmp_path / "footage", n=16), tmp_path / "street"
    pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
    printed("campaign", "dusk", "-w", place, "--rows", "0,2")
    flags = ("--add", "watch", "--campaign", "dusk", "--quota", "3", "--threshold", "0")
    assert [one["name"] for one in printed("triggers", "-w", place, *flags)["triggers"]] == ["watch"]
    assert "version 1" in refused("triggers", "-w", place, *flags, exit_code=1)
    assert printed("triggers", "-w", place, "--run")["runs"] == []
    make_footage(footage / "more", n=6, seed=9)
    pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
    shown = run("triggers", "-w", place, "--run").stdout
    assert "ran watch: 3 of 12 new images" in shown
    assert printed("triggers", "-w", place, "--run")["runs"] == []
    assert printed("triggers", "-w", place, "--remove", "watch") == {"triggers": [], "runs": []}
    assert "no trigger 'watch'" in refused("triggers", "-w", place, "--remove", "watch")


CAMPAIGNS: list[tuple[list[str], str, int]] = [
    (["dusk", "--rows", "1", "--collection", "x"], "rows and collection", 2),
    (["dusk", "--rows", "999"], "row 999", 2),
    (["dusk", "--rows", "one"], "rows 'one'; expected numbers", 2),
    (["dusk", "--collection", "none"], "no collection 'none'", 2),
    (["dusk", "--filter", "{"], "JSON", 2),
    (["dusk", "--filter", '{"column": "labl", "eq": 1}'], "no column 'labl'", 2),
    (["dusk", "--filter", '{"column": "label", "eq": "none"}'], "no failing image", 1),
    (["dusk", "--mistakes", "label", "label"], "never differs", 1),
    (["dusk", "--rows", "1", "--pool", '{"column": "labl", "eq": 1}'], "no column 'labl'", 2),
    (["dusk", "--rows", "1", "--budget", "0"], "budget 0", 2),
    (["dusk", "--rows", "1", "--modes", "99"], "99 modes", 2),
    (["dusk", "--rows", "1", "--spacing", "-1"], "0 or more", 2),
    (["a/b", "--rows", "1"], "leave out slashes", 2),
    (["ni\u200bght", "--rows", "1"], "invisible character U+200B", 2),
    (["dusk"], "no campaign 'dusk'", 2),
    (["dusk", "--delete"], "no campaign 'dusk'", 2),
]


@pytest.mark.parametrize(("arguments", "words", "exit_code"), CAMPAIGNS)
def test_a_campaign_that_cannot_be_is_said(place: Path, arguments: list[str], words: str, exit_code: int) -> None:
    assert words in refused("campaign", *arguments, "-w", place, exit_code=exit_code)
    with open_state(place) as state:
        assert state.documents("campaign") == []


MINES: list[tuple[list[str], str]] = [
    (["none"], "no campaign 'none'"), (["dusk", "--mode", "9"], "no mode 9"), (["dusk", "--next", "0"], "k is 0"),
    (["dusk", "--accept", "999"], "row 999"), (["dusk", "--accept", "1,x"], "rows '1,x'"),
    (["dusk", "--mode", "9", "--accept", "8"], "no mode 9"), (["none", "--accept", "8"], "no campaign 'none'"),
    (["dusk", "--accept", "8", "--export", "../x"], "selection '../x'"),
    (["none", "--export", "x"], "no campaign 'none'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), MINES)
def test_an_answer_that_cannot_be_is_said(place: Path, arguments: list[str], words: str) -> None:
    printed("campaign", "dusk", "-w", place, "--rows", "0,2,4")
    assert words in refused("mine", *arguments, "-w", place)


TRIGGERS: list[tuple[list[str], str]] = [
    (["--add", "w"], "--campaign"),
    (["--add", "w", "--campaign", "none"], "no campaign 'none'"),
    (["--add", "w", "--campaign", "dusk", "--mode", "9"], "no mode 9"),
    (["--add", "a/b", "--campaign", "dusk"], "leave out slashes"),
    (["--add", "w", "--campaign", "dusk", "--quota", "0"], "quota 0"),
    (["--add", "w", "--campaign", "dusk", "--threshold", "2"], "probability from 0 to 1"),
    (["--add", "w", "--campaign", "dusk", "--filter", '{"column": "labl", "eq": 1}'], "no column 'labl'"),
    (["--remove", "none"], "no trigger 'none'"),
]


@pytest.mark.parametrize(("arguments", "words"), TRIGGERS)
def test_a_trigger_that_cannot_be_is_said(place: Path, arguments: list[str], words: str) -> None:
    printed("campaign", "dusk", "-w", place, "--rows", "0,2,4")
    assert words in refused("triggers", *arguments, "-w", place)
    assert printed("triggers", "-w", place)["triggers"] == []


def test_a_workspace_without_images_says_what_to_run(tmp_path: Path) -> None:
    create_workspace(tmp_path / "empty")
    assert "error" in refused("campaign", "dusk", "-w", tmp_path / "empty", "--rows", "0")
    assert "no workspace" in refused("mine", "dusk", "-w", tmp_path / "nothing", exit_code=1).lower()
