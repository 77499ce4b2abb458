"""What people decide about near-duplicates is kept by the next pass: another image kept, or no duplicate at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from curator import pipeline
from curator.pipeline.stages import states
from curator.pipeline.verifying import verify
from curator.state import open_state
from curator.workspace import Workspace, open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import make_footage, small_root

WS = "/v1/workspaces/street"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "street")
    return tmp_path / "street"


def pairs(workspace: Workspace) -> list[tuple[int, int]]:
    """(removed, kept) of every removed image."""
    table = workspace.column("neardup").to_pylist()
    return [(line["row"], line["representative"]) for line in table if line["duplicate"] != "kept"]


def kept(workspace: Workspace) -> set[int]:
    return {line["row"] for line in workspace.column("neardup").to_pylist() if line["duplicate"] == "kept"}


def decide(place: Path, kind: str, *rows: int) -> int:
    with open_state(place) as state:
        return state.decide(kind, rows=rows, who="ann").id


def passed(place: Path, *settings: str) -> tuple[Workspace, dict[str, Any]]:
    """The workspace after another pass, and its counts."""
    from curator.config import from_dict

    stored = pipeline.stored_config(open_workspace(place)).model_dump()
    for setting in settings:
        key, value = setting.split("=")
        stored["neardups"][key] = value == "true"
    result = pipeline.run_one("neardups", place, from_dict(stored))
    return open_workspace(place), dict(result.counts)


def certificate(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = workspace.entries("columns/neardup")[0].meta["certificate"]
    return found


def test_the_image_chosen_instead_is_kept_and_stands_for_the_other(place: Path) -> None:
    removed, before = pairs(open_workspace(place))[0]
    decide(place, "keep", removed, before)
    workspace, counts = passed(place)
    assert counts["why"] == "changed: decisions"
    assert removed in kept(workspace)
    assert before not in kept(workspace)
    assert (before, removed) in pairs(workspace)
    assert certificate(workspace)["holds"]
    assert certificate(workspace)["forced_pairs_above"] == 0
    assert verify(workspace).is_sound
    assert passed(place)[1] == counts  # nothing is left to do: the same record


def test_images_said_to_be_no_duplicates_are_both_kept_and_counted(place: Path) -> None:
    before = open_workspace(place)
    removed, other = pairs(before)[0]
    decide(place, "not_duplicate", other, removed)
    workspace, _ = passed(place)
    assert kept(workspace) == kept(before) | {removed}
    assert certificate(workspace)["holds"]
    assert certificate(workspace)["forced_pairs_above"] == 1
    assert verify(workspace).is_sound  # recomputed from the files, which say who was forced
    table = workspace.column("neardup")
    assert set(table["row"].to_numpy()[table["kept_anyway"].to_numpy()]) == {removed, other}


def test_the_last_choice_counts_and_undo_brings_the_first_pass_back(place: Path) -> None:
    before = open_workspace(place)
    removed, first = pairs(before)[0]
    there = decide(place, "keep", removed, first)
    passed(place)
    back = decide(place, "keep", first, removed)  # the two the other way round
    workspace, _ = passed(place)
    assert kept(workspace) == kept(before)
    with open_state(place) as state:
        assert state.wished().tolist() == [first]
        state.undo(back, who="ann")
        assert state.wished().tolist() == [removed]
        state.undo(there, who="ann")
        assert state.wished().tolist() == []
    workspace, counts = passed(place)
    assert counts["why"] == "changed: decisions"
    assert workspace.column("neardup").equals(before.column("neardup"))


def test_decisions_make_the_stage_stale_unless_they_are_left_out(place: Path) -> None:
    def state() -> str:
        workspace = open_workspace(place)
        return str(states(workspace, pipeline.stored_config(workspace))["neardups"])

    removed, before = pairs(open_workspace(place))[0]
    assert state() == "current"
    made = decide(place, "keep", removed, before)
    assert state() == "stale"
    workspace, _ = passed(place, "decisions=false")
    assert before in kept(workspace)
    assert state() == "current"
    with open_state(place) as held:
        held.undo(made, who="ann")
    workspace, _ = passed(place, "decisions=true")
    assert state() == "current"


def test_appended_images_join_without_taking_a_decision_back(place: Path, tmp_path: Path) -> None:
    removed, other = pairs(open_workspace(place))[0]
    decide(place, "not_duplicate", other, removed)
    before, _ = passed(place)
    make_footage(tmp_path / "more", n=6, seed=1)
    (tmp_path / "more" / "car" / "broken.jpg").unlink()
    pipeline.run([*before.snapshot.sources, str(tmp_path / "more")], place)
    workspace = open_workspace(place)
    assert workspace.snapshot.stages["neardups"].counts["pass"] == "grown"
    assert workspace.n_rows > before.n_rows
    assert {removed, other} <= kept(workspace)
    assert certificate(workspace)["forced_pairs_above"] == 1
    assert verify(workspace).is_sound


def test_a_state_that_cannot_be_read_leaves_the_workspace_readable(place: Path) -> None:
    (place / "state.db").write_bytes(b"no database" * 1000)
    workspace = open_workspace(place)
    assert states(workspace, pipeline.stored_config(workspace))["neardups"] == "current"


def test_the_service_says_what_waits_and_a_job_follows_it(place: Path) -> None:
    with TestClient(create_app(Settings(place.parent, rate=0)), base_url="http://127.0.0.1") as client:

        def waiting() -> int:
            found = client.get(f"{WS}/duplicates").json()
            return int(found["n_waiting"])

        group = client.get(f"{WS}/duplicates").json()["groups"][0]
        assert waiting() == 0
        chosen = group["removed"][0]["row"]
        said = {"kind": "keep", "rows": [chosen, group["kept"]]}
        made = client.post(f"{WS}/decisions", json=said).json()
        assert waiting() == 1
        job = client.post(f"{WS}/jobs?wait=30", json={"kind": "neardups"}).json()
        while job["finished"] is None:
            job = client.get(f"/v1/jobs/{job['id']}?wait=30").json()
        assert job["state"] == "done", job
        assert waiting() == 0
        heads = {one["kept"]: one for one in client.get(f"{WS}/duplicates").json()["groups"]}
        assert (heads[chosen]["chosen"], heads[chosen]["is_wished"]) == (None, True)  # it is the kept one now
        client.post(f"{WS}/decisions/{made['id']}/undo")
        assert waiting() == 1


def test_wishes_follow_the_order_of_choices(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        for rows in ([2, 1], [3, 2], [1, 3]):  # 2 instead of 1, then 3 instead of 2, then 1 again
            state.decide("keep", rows=rows, who="ann")
        state.decide("not_duplicate", rows=[8, 9], who="ann")
        assert np.array_equal(state.wished(), [1, 8, 9])
        state.decide("keep", rows=[7, 8], who="ann")
        assert np.array_equal(state.wished(), [1, 7, 9])
