"""What jobs made, over HTTP: selections, splits, the report, exports, calibration, named snapshots."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from curator.cli import app as command_line
from curator.pipeline import describing, stored_config
from curator.pipeline.answers import Answer, answers_of, keep_answer, questions
from curator.state import open_state
from curator.workspace import Workspace, open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import small_root

WS = "/v1/workspaces/street"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("results") / "served"
    shutil.copytree(small_root(), place)
    printed("split", "-w", str(place / "street"), "--ratios", "0.6,0.2,0.2")
    return place


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as found:
        yield found


def printed(*arguments: str) -> Any:
    """What the command line prints as JSON."""
    result = CliRunner().invoke(command_line, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# -- selections --------------------------------------------------------------------------------------------------


def test_a_selection_comes_in_pages_with_its_evidence(client: TestClient, root: Path) -> None:
    stored = open_workspace(root / "street").selection("selection")
    listed = client.get(f"{WS}/selections").json()["selections"]
    assert [(one["name"], one["n"], one["budget"]) for one in listed] == [("selection", 6, 6)]
    first = client.get(f"{WS}/selections/selection?limit=4").json()
    second = client.get(f"{WS}/selections/selection?offset={first['next_offset']}").json()
    picks = first["picks"] + second["picks"]
    assert [pick["row"] for pick in picks] == stored.rows.tolist()
    assert [pick["reason"] for pick in picks] == list(stored.reasons)
    assert [pick["rank"] for pick in picks] == [1, 2, 3, 4, 5, 6]
    assert second["next_offset"] is None
    assert first["evidence"]["verdict"] == listed[0]["verdict"]
    beyond = client.get(f"{WS}/selections/selection?offset=99").json()
    assert (beyond["picks"], beyond["next_offset"]) == ([], None)


def test_what_each_pick_covers_comes_as_numbers_once(client: TestClient, root: Path) -> None:
    place = open_workspace(root / "street")
    threshold, first = describing.coverage(place, "selection")
    answer = client.get(f"{WS}/selections/selection/coverage")
    assert np.array_equal(np.frombuffer(answer.content, "<i4"), first)
    assert float(answer.headers["x-threshold"]) == pytest.approx(threshold, abs=1e-6)
    again = client.get(f"{WS}/selections/selection/coverage", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    picks = client.get(f"{WS}/selections/selection").json()["picks"]
    assert [pick["groups"] for pick in picks] == place.table("selections/selection")["groups"].to_pylist()


@pytest.mark.parametrize(
    "path",
    ["selections/nothing", "selections/nothing/coverage", "selections/nothing/file", "rows/0/why?selection=nothing"],
)
def test_an_unknown_selection_is_not_found(client: TestClient, path: str) -> None:
    assert code(client.get(f"{WS}/{path}")) == (404, "UnknownSelection")


@pytest.mark.parametrize("row", [0, 30])
def test_why_is_what_the_command_prints(client: TestClient, root: Path, row: int) -> None:
    assert client.get(f"{WS}/rows/{row}/why").json() == printed("why", str(row), "-w", str(root / "street"))


def test_why_reads_no_vectors_that_are_held(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post(f"{WS}/search", json={"positives": [{"row": 0}]})
    before = client.get(f"{WS}/rows/0/why").json()

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("vectors were read again")

    monkeypatch.setattr(Workspace, "embeddings", read)
    assert client.get(f"{WS}/rows/0/why").json() == before


def test_why_of_an_unknown_row(client: TestClient) -> None:
    assert code(client.get(f"{WS}/rows/999/why")) == (404, "UnknownRow")


@pytest.mark.parametrize(("format", "suffix"), [("paths", ".txt"), ("csv", ".csv"), ("coco-images", ".json")])
def test_a_file_is_what_export_writes(client: TestClient, root: Path, tmp_path: Path, format: str, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    printed("export", "selection", "-w", str(root / "street"), "--format", format, "--to", str(target))
    answer = client.get(f"{WS}/selections/selection/file?format={format}")
    assert answer.content == target.read_bytes()
    assert answer.headers["content-disposition"] == f'attachment; filename="selection{suffix}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_of_the_best_few(client: TestClient, root: Path) -> None:
    answer = client.get(f"{WS}/selections/selection/file?format=parquet&first=2")
    rows = pq.read_table(io.BytesIO(answer.content))["row"].to_pylist()
    assert rows == open_workspace(root / "street").selection("selection").rows[:2].tolist()
    lines = list(csv.DictReader(client.get(f"{WS}/selections/selection/file?first=3").text.splitlines()))
    assert [line["rank"] for line in lines] == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["a%0d%0aX-Evil:%201", "..%2f..%2fetc", "%22;x=%22"])
def test_a_name_cannot_write_a_header_or_leave_the_workspace(client: TestClient, name: str) -> None:
    answer = client.get(f"{WS}/selections/{name}/file")
    assert answer.status_code in (404, 422)
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("format", ["copy", "symlink", "frames", "exe"])
def test_formats_that_write_many_files_stay_with_the_command_line(client: TestClient, format: str) -> None:
    assert code(client.get(f"{WS}/selections/selection/file?format={format}")) == (422, "BadRequest")


def test_splits_are_what_the_command_printed(client: TestClient, root: Path) -> None:
    body = client.get(f"{WS}/splits").json()["splits"]
    assert [split["column"] for split in body] == ["split_clean"]
    assert body[0]["certificate"]["rows_across"] == 0
    assert body[0] == json.loads(json.dumps({
        "name": "clean", "column": "split_clean", **open_workspace(root / "street").entries("splits/clean")[0].meta,
    }))  # fmt: skip


# -- the report ----------------------------------------------------------------------------------------------------


def test_the_report_may_run_its_own_script_and_nothing_else(client: TestClient, root: Path) -> None:
    answer = client.get(f"{WS}/report")
    assert answer.content == (root / "street" / "report" / "index.html").read_bytes()
    policy = answer.headers["content-security-policy"]
    own = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', answer.text)
    assert own is not None
    assert policy == f"{own[1]}; frame-ancestors 'self'; sandbox allow-scripts"
    assert "default-src 'none'" in policy
    assert "'unsafe-eval'" not in policy
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert client.get(f"{WS}/report.json").json() == json.loads((root / "street/report/report.json").read_text())


def test_a_workspace_without_a_report_says_so(tmp_path: Path) -> None:
    shutil.copytree(small_root(), tmp_path / "served")
    shutil.rmtree(tmp_path / "served" / "street" / "report")
    client = TestClient(create_app(Settings(tmp_path / "served")), base_url="http://127.0.0.1")
    for path in ("report", "report.json"):
        assert code(client.get(f"{WS}/{path}")) == (404, "NotFound")


# -- calibration ---------------------------------------------------------------------------------------------------


def test_pairs_are_asked_answered_undone_and_fitted(client: TestClient, root: Path) -> None:
    place = open_workspace(root / "street")
    asked = client.get(f"{WS}/calibration/pairs?limit=100").json()
    expected = questions(place, stored_config(place))
    assert [(p["row_a"], p["row_b"]) for p in asked["pairs"]] == [(q.row_a, q.row_b) for q in expected[:100]]
    assert asked["n_left"] == len(expected)
    told = [
        {"row_a": pair["row_a"], "row_b": pair["row_b"], "answer": "same" if pair["similarity"] > 0.97 else "different"}
        for pair in asked["pairs"]
    ]
    sent = client.post(f"{WS}/calibration/answers", json={"answers": told}, headers={"Idempotency-Key": "batch"})
    assert sent.status_code == 201
    again = client.post(f"{WS}/calibration/answers", json={"answers": told}, headers={"Idempotency-Key": "batch"})
    assert again.json() == sent.json()
    kept = answers_of(place)
    assert {(one.row_a, one.row_b): one.same for one in kept} == {
        tuple(sorted((one["row_a"], one["row_b"]))): one["answer"] == "same" for one in told
    }
    with open_state(root / "street") as state:
        assert {decision.who for decision in state.decisions(kind="pair", limit=1000)} != set()
        state.undo(sent.json()["decisions"][0], who="ann")
    assert len(answers_of(place)) == len(kept) - 1
    job = client.post(f"{WS}/jobs?wait=30", json={"kind": "calibrate", "params": {"from_answers": True}}).json()
    while job["finished"] is None:
        job = client.get(f"/v1/jobs/{job['id']}?wait=30").json()
    assert job["state"] == "done", job
    body = client.get(f"{WS}/calibration").json()
    assert [result["name"] for result in body["results"]] == ["answers"]
    assert body["n_answers"] == len(kept) - 1
    assert body["results"] == json.loads(json.dumps(job["result"]["results"]))


def test_of_two_answers_about_a_pair_the_later_counts_wherever_it_was_given(tmp_path: Path) -> None:
    shutil.copytree(small_root() / "street", tmp_path / "w")
    place = open_workspace(tmp_path / "w")
    keep_answer(place, Answer(0, 1, True))
    with open_state(tmp_path / "w") as state:
        state.decide("pair", rows=[1, 0], value="different", who="ann")
    assert answers_of(place) == [Answer(0, 1, False)]
    keep_answer(place, Answer(0, 1, None))
    assert answers_of(place) == [Answer(0, 1, None)]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [({"row_a": 0, "row_b": 0, "answer": "same"}, (400, "BadRequest")),
     ({"row_a": 0, "row_b": 999, "answer": "same"}, (404, "UnknownRow")),
     ({"row_a": 0, "row_b": 1, "answer": "maybe"}, (422, "BadRequest"))],
)  # fmt: skip
def test_answers_about_nothing_are_refused(client: TestClient, pair: Any, expected: tuple[int, str]) -> None:
    good = {"row_a": 0, "row_b": 1, "answer": "same"}
    before = client.get(f"{WS}/calibration").json()["n_answers"]
    assert code(client.post(f"{WS}/calibration/answers", json={"answers": [good, pair]})) == expected
    assert client.get(f"{WS}/calibration").json()["n_answers"] == before


# -- snapshots -----------------------------------------------------------------------------------------------------


def test_a_named_snapshot_is_kept_listed_and_removed(client: TestClient, root: Path) -> None:
    made = client.post(f"{WS}/snapshots", json={"name": "before"})
    assert made.status_code == 201
    assert code(client.post(f"{WS}/snapshots", json={"name": "before"})) == (409, "Taken")
    assert client.get(f"{WS}/snapshots").json()["snapshots"] == [made.json()]
    assert printed("snapshot", "-w", str(root / "street")) == [made.json()]
    assert "before" not in [one["name"] for one in client.get("/v1/workspaces").json()["workspaces"]]
    assert client.delete(f"{WS}/snapshots/before").status_code == 204
    assert code(client.delete(f"{WS}/snapshots/before")) == (404, "UnknownName")
    for name in ("../x", "a/b", ".x", ""):
        assert code(client.post(f"{WS}/snapshots", json={"name": name})) == (422, "BadRequest")


READS = ["selections", "selections/selection", "selections/selection/file", "rows/0/why", "splits", "report",
         "report.json", "calibration", "snapshots"]  # fmt: skip
WRITES = [("POST", "snapshots", "reviewer"), ("DELETE", "snapshots/x", "reviewer"),
          ("POST", "calibration/answers", "reader"), ("GET", "calibration/pairs", "reader")]  # fmt: skip


def test_roles(root: Path) -> None:
    with open_state(root) as state:
        tokens = {role: state.tokens.create(f"r-{role}", role, expires_s=600)[1] for role in ("reader", "reviewer")}
    client = TestClient(create_app(Settings(root, require_token=True)), base_url="http://127.0.0.1")
    for path in READS:
        assert code(client.get(f"{WS}/{path}")) == (401, "Unauthorized")
        reader = {"authorization": f"Bearer {tokens['reader']}"}
        assert client.get(f"{WS}/{path}", headers=reader).status_code == 200, path
        assert client.get(f"/v1/workspaces/nothing/{path}", headers=reader).status_code == 404
    for method, path, role in WRITES:
        bearer = {"authorization": f"Bearer {tokens[role]}"}
        body = {"name": "x"} if path == "snapshots" else {"answers": [{"row_a": 0, "row_b": 1, "answer": "same"}]}
        sent: dict[str, Any] = {} if method in ("GET", "DELETE") else {"json": body}
        assert code(client.request(method, f"{WS}/{path}", headers=bearer, **sent)) == (403, "Forbidden"), path
