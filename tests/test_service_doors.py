"""Command line and service say the same: what is there, what jobs make, and a whole campaign, step by step.

`street` is asked over HTTP, its twin `other` on the command line; what may differ is named: seconds, times and paths.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from curator import pipeline
from curator.cli import app as command_line
from curator.config import load
from service.app import create_app
from service.settings import Settings
from tests.small import SETTINGS, make_footage, small_root

WS = "/v1/workspaces/street"
DIFFERS = ("seconds", "at", "started", "finished", "created")  # of two runs of the same


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twins: the same workspace twice."""
    served = tmp_path / "served"
    for name in ("street", "other"):
        shutil.copytree(small_root() / "street", served / name)
    return served


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as found:
        yield found


def printed(*arguments: str) -> Any:
    """What the command line prints; a finding (exit code 1) has a body too."""
    result = CliRunner().invoke(command_line, [*arguments, "--json"])
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def made(client: TestClient, kind: str, **params: Any) -> Any:
    """What a job comes to."""
    job = client.post(f"{WS}/jobs?wait=30", json={"kind": kind, "params": params}).json()
    until = time.monotonic() + 120
    while job["finished"] is None and time.monotonic() < until:
        job = client.get(f"/v1/jobs/{job['id']}?wait=30").json()
    assert job["state"] == "done", job
    return job["result"]


def alike(body: Any, root: Path) -> Any:
    """Without what two runs of the same differ in."""
    if isinstance(body, dict):
        return {key: alike(value, root) for key, value in body.items() if key not in DIFFERS}
    if isinstance(body, list):
        return [alike(value, root) for value in body]
    if isinstance(body, str):
        for name in ("street", "other"):
            body = body.replace(str(root / name), "WS")
    return body


def test_info_is_the_same_but_for_the_path(client: TestClient, root: Path) -> None:
    answered, said = client.get(WS).json(), printed("info", "-w", str(root / "street"))
    assert (answered.pop("path"), said.pop("path")) == ("street", str(root / "street"))
    assert answered == said


def test_the_certificate_is_what_the_command_prints(client: TestClient, root: Path) -> None:
    counts = printed("neardups", "-w", str(root / "street"))["counts"]
    body = client.get(f"{WS}/duplicates/certificate").json()
    assert body["threshold"] == counts["threshold"]
    assert body["certificate"]["orphans"] == counts["orphans"] == 0
    assert (
        body["certificate"] == json.loads((root / "street/report/report.json").read_text())["duplicates"]["certificate"]
    )
    groups = client.get(f"{WS}/duplicates").json()
    assert groups["n_removed"] == counts["n_exact"] + counts["n_near"]
    for group in groups["groups"]:
        for one in group["removed"]:
            record = printed("show", str(one["row"]), "-w", str(root / "street"))
            assert (record["representative"], record["duplicate"]) == (group["kept"], one["kind"])
            assert record["similarity"] == pytest.approx(one["similarity"], abs=1e-6)


SELECT = {"budget": 4, "name": "few", "method": "diverse", "filter": {"column": "label", "eq": "car"}}
SAME: list[tuple[str, dict[str, Any], list[str]]] = [
    ("neardups", {"threshold": 0.98, "keep": "sharpest"}, ["--threshold", "0.98", "--keep", "sharpest"]),
    ("select", SELECT, ["--budget", "4", "--name", "few", "--method", "diverse",
                        "--filter", json.dumps(SELECT["filter"])]),
    ("compare", {"first": "selection", "second": "few"}, ["selection", "few"]),
    ("split", {"ratios": "0.6,0.2,0.2", "balance": ["label"], "name": "b"},
     ["--ratios", "0.6,0.2,0.2", "--balance", "label", "--name", "b"]),
    ("leaks", {"split_column": "split_b", "bits": 8}, ["--split-column", "split_b", "--bits", "8"]),
    ("calibrate", {"sample": 12}, ["--sample", "12"]),
    ("tiles", {"settings": {"tiles.grid": 2}}, ["--set", "tiles.grid=2"]),
    ("verify", {}, []),
]  # fmt: skip


def test_jobs_make_what_commands_make(client: TestClient, root: Path) -> None:
    for kind, params, flags in SAME:
        answered = made(client, kind, **params)
        assert alike(answered, root) == alike(printed(kind, *flags, "-w", str(root / "other")), root), kind
    for path in ("selections", "selections/few", "splits", "calibration", "duplicates", "rows/0/why", "columns"):
        answers = [client.get(f"/v1/workspaces/{name}/{path}").json() for name in ("street", "other")]
        first, second = (alike({**body, "snapshot": None}, root) for body in answers)
        assert first == second, path
    assert [one["name"] for one in client.get(f"{WS}/selections").json()["selections"]] == ["few", "selection"]


# -- mining --------------------------------------------------------------------------------------------------------


def test_mining_goes_alike_through_both_doors(client: TestClient, root: Path) -> None:
    place = ("-w", str(root / "other"))
    pool = {"column": "label", "eq": "car"}
    started = client.post(f"{WS}/campaigns", json={"name": "dusk", "rows": [1, 3, 5, 9], "pool": pool, "budget": 20})
    said = printed("campaign", "dusk", *place, "--rows", "1,3,5,9", "--pool", json.dumps(pool), "--budget", "20")
    assert started.json() == said
    batch = client.get(f"{WS}/campaigns/dusk/modes/1/next?k=6").json()
    assert {**batch, "snapshot": 0} == {**printed("mine", "dusk", *place, "--next", "6"), "snapshot": 0}
    rows = [hit["row"] for hit in batch["hits"]]
    answers = {"accept": rows[:2], "discard": rows[2:4], "skip": rows[4:5]}
    for verdict, given in answers.items():
        sent = {"rows": given, "verdict": verdict}
        assert client.post(f"{WS}/campaigns/dusk/modes/1/reviews", json=sent).status_code == 201
    flags = [word for verdict, given in answers.items() for word in (f"--{verdict}", ",".join(map(str, given)))]
    second = printed("mine", "dusk", *place, "--next", "6", *flags)
    answered = client.get(f"{WS}/campaigns/dusk/modes/1/next?k=6").json()
    assert {**answered, "snapshot": 0} == {**second, "snapshot": 0}
    assert client.get(f"{WS}/campaigns/dusk").json() == printed("campaign", "dusk", *place)
    kept = client.post(f"{WS}/campaigns/dusk/export", json={"selection": "to-label"}).json()
    assert kept == printed("mine", "dusk", *place, "--export", "to-label")
    assert client.get(f"{WS}/selections/to-label/file").text == (
        client.get("/v1/workspaces/other/selections/to-label/file").text
    )
    watching(client, root)
    assert client.delete(f"{WS}/campaigns/dusk").status_code == 204
    assert printed("campaign", "dusk", *place, "--delete") == {"deleted": "dusk"}
    missing = client.get(f"{WS}/campaigns/dusk")
    failed = CliRunner().invoke(command_line, ["campaign", "dusk", *place])
    assert missing.status_code == 404
    assert failed.exit_code == 2
    assert missing.json()["error"]["message"] in failed.output


def watching(client: TestClient, root: Path) -> None:
    """A trigger of the campaign, run on new footage."""
    place = ("-w", str(root / "other"))
    sent: dict[str, Any] = {"name": "watch", "campaign": "dusk", "mode": 1, "quota": 5, "threshold": 0}
    added = client.post(f"{WS}/triggers", json=sent).json()
    flags = ("--campaign", "dusk", "--mode", "1", "--quota", "5", "--threshold", "0")
    said = printed("triggers", *place, "--add", "watch", *flags)
    assert alike(added, root) == alike(said["triggers"][0], root)
    more = make_footage(root.parent / "more", n=6, seed=9)
    for name in ("street", "other"):
        pipeline.run([str(more)], root / name, load(None, list(SETTINGS)))
    ran = client.post(f"{WS}/triggers/run").json()
    assert ran["runs"][0]["rows"]
    assert alike(ran, root) == alike(printed("triggers", *place, "--run"), root)
    assert alike(client.get(f"{WS}/triggers").json(), root) == alike(printed("triggers", *place), root)
    assert client.delete(f"{WS}/triggers/watch").status_code == 204
    assert printed("triggers", *place, "--remove", "watch") == client.get(f"{WS}/triggers").json()
