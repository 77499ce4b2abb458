"""The typed filter of a selection: the same images as its SQL twin, tags and collections as they stand now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curator import pipeline
from curator.cli import app
from curator.config import load
from curator.errors import BadFilter, BadSelection, UnknownColumn, UnknownName
from curator.pipeline.explaining import why
from curator.state import open_state
from curator.workspace import open_workspace
from tests.small import SETTINGS, small_root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "street")
    return tmp_path / "street"


def select(place: Path, **asked: Any) -> pipeline.StageResult:
    changes = [f"select.{name}={json.dumps(value)}" for name, value in asked.items()]
    return pipeline.run_one("select", place, load(None, [*SETTINGS, *changes]))


def picked(place: Path) -> list[int]:
    return open_workspace(place).selection("selection").rows.tolist()


def test_a_filter_picks_what_the_same_condition_in_sql_picks(place: Path) -> None:
    select(place, where="label = 'car' AND brightness < 0.6", budget=4)
    in_sql = picked(place)
    select(place, filter={"and": [{"column": "label", "eq": "car"}, {"column": "brightness", "lt": 0.6}]}, budget=4)
    assert picked(place) == in_sql


def test_given_both_an_image_has_to_pass_both(place: Path) -> None:
    with pytest.raises(BadSelection, match=r"outside the filter.*loosen select.where, select.filter"):
        select(place, where="label = 'car'", filter={"column": "label", "eq": "bus"}, budget=2)


def test_tags_and_collections_count_as_they_stand_and_make_the_stage_stale(place: Path) -> None:
    kept = [row for row, kind in _kinds(place) if kind == "kept"][:5]
    with open_state(place) as state:
        state.decide("tag", rows=kept[:3], subject="night", who="ann")
    asked = {"filter": {"tag": "night"}, "budget": 10}
    select(place, **asked)
    assert sorted(picked(place)) == sorted(kept[:3])
    assert select(place, **asked).skipped
    with open_state(place) as state:
        state.decide("tag", rows=kept[3:], subject="night", who="ann")
    assert not select(place, **asked).skipped
    assert sorted(picked(place)) == sorted(kept)


def _kinds(place: Path) -> list[tuple[int, str]]:
    table = open_workspace(place).column("neardup", ["row", "duplicate"])
    return list(zip(table["row"].to_pylist(), table["duplicate"].to_pylist(), strict=True))


def test_why_names_the_filter(place: Path) -> None:
    select(place, filter={"column": "label", "eq": "car"}, budget=3)
    workspace = open_workspace(place)
    buses = {row for row, kind in _kinds(place) if kind == "kept"} - set(picked(place))
    told = [why(workspace, row, pipeline.stored_config(workspace)) for row in buses]
    filtered = [facts for facts in told if facts["status"] == "filtered"]
    assert filtered
    assert 'It does not pass the filter \'{"column": "label", "eq": "car"}\'.' in filtered[0]["sentences"]


@pytest.mark.parametrize(
    ("filter", "error", "says"),
    [({"sql": "1=1"}, BadFilter, "select.filter"), ({"column": "labl", "eq": 1}, UnknownColumn, "labl"),
     ({"column": "label", "lt": {}}, BadFilter, r"select\.filter"), ({"collection": "none"}, UnknownName, "none")],
)  # fmt: skip
def test_a_filter_that_cannot_be_used_is_said(place: Path, filter: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        select(place, filter=filter)


def test_the_flag_and_how_to_take_it_back(place: Path) -> None:
    def call(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["select", "-w", str(place), "--json", *arguments])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["counts"]

    condition = {"column": "label", "in": ["car"]}
    assert json.loads(call("--filter", json.dumps(condition))["where"]) == condition
    other = {"column": "label", "eq": "bus"}
    assert json.loads(call("--filter", json.dumps(other))["where"]) == other  # replaced, not merged with the one before
    assert "where" not in call("--filter", "")
