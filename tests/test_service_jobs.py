"""Jobs over HTTP: what may be asked, what comes of it, in which order, and how it is followed and stopped."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from starlette.testclient import TestClient
from typer.testing import CliRunner

from curator.cli import app as command_line
from curator.state import Job, open_state
from curator.workspace import open_workspace
from service import jobs, processes
from service.app import create_app
from service.jobs import Runner
from service.metrics import Metrics
from service.processes import Ended, Heard
from service.registry import Registry
from service.settings import Settings
from tests.small import small_root

WS = "/v1/workspaces/street"


def copied(folder: Path, *names: str) -> Path:
    """A root with copies of the small workspace under these names."""
    for name in names:
        shutil.copytree(small_root() / "street", folder / "served" / name)
    return folder / "served"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("jobs"), "street", "other")


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    settings = Settings(root, ingest_roots=(small_root().parent / "footage",), rate=0)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as found:
        yield found


@pytest.fixture
def idle(tmp_path: Path) -> TestClient:
    """A service whose runner was never started, over a root that no other takes jobs of: what is asked stays queued."""
    return TestClient(create_app(Settings(copied(tmp_path, "street"), rate=0)), base_url="http://127.0.0.1")


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def done(client: TestClient, kind: str, **params: Any) -> dict[str, Any]:
    """Run a job to its end."""
    answer = client.post(f"{WS}/jobs?wait=30", json={"kind": kind, "params": params})
    assert answer.status_code in (200, 202), answer.text
    body: dict[str, Any] = answer.json()
    until = time.monotonic() + 120
    while body["state"] in ("queued", "running") and time.monotonic() < until:
        body = client.get(f"/v1/jobs/{body['id']}?wait=30").json()
    return body


# -- what comes of it --------------------------------------------------------------------------------------------


def test_a_job_gives_what_the_command_prints(client: TestClient, root: Path) -> None:
    assert done(client, "select", name="chance", budget=6, method="random")["state"] == "done"
    body = done(client, "compare", first="selection", second="chance")
    assert body["state"] == "done", body
    printed = CliRunner().invoke(command_line, ["compare", "selection", "chance", "-w", str(root / "street"), "--json"])
    assert body["result"] == json.loads(printed.stdout)


def test_a_job_that_is_asked_for_answers_202_and_where_it_is(client: TestClient) -> None:
    answer = client.post(f"{WS}/jobs", json={"kind": "verify"})
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{body['id']}"
    ended = client.get(f"/v1/jobs/{body['id']}?wait=30").json()
    assert ended["state"] == "done"
    assert ended["result"]["is_sound"] is True
    listed = client.get("/v1/jobs?workspace=street&state=done").json()
    assert body["id"] in [job["id"] for job in listed["jobs"]]
    assert all("result" not in job for job in listed["jobs"])
    assert listed["counts"]["done"] >= 1


def test_a_selection_with_a_typed_filter_changes_the_workspace(client: TestClient, root: Path) -> None:
    body = done(client, "select", budget=3, name="cars", filter={"column": "label", "eq": "car"}, method="diverse")
    assert body["state"] == "done", body
    assert body["result"]["counts"]["n_selected"] == 3
    assert json.loads(body["result"]["counts"]["where"]) == {"column": "label", "eq": "car"}
    page = client.get(f"{WS}/selections/cars").json()
    assert all("/car/" in pick["uri"] for pick in page["picks"])


def test_an_ingest_takes_what_lies_under_the_roots(client: TestClient) -> None:
    body = done(client, "ingest", sources=["car"])
    assert body["state"] == "done", body
    assert body["result"]["counts"]["n_found"] > 0


def test_what_a_command_refuses_is_a_failed_job_with_its_error(client: TestClient, root: Path) -> None:
    body = done(client, "compare", first="selection", second="nothing")
    assert body["state"] == "failed"
    assert body["error"]["code"] == "UnknownSelection"
    assert "no selection 'nothing' in street" in body["error"]["message"]
    assert str(root) not in json.dumps(body)
    assert str(root) not in client.get(f"/v1/jobs/{body['id']}/log").json()["log"]


def test_an_export_job_makes_a_file_to_fetch(client: TestClient) -> None:
    body = done(client, "export", selection="selection", format="paths")
    answer = client.get(f"/v1/jobs/{body['id']}/file")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="selection.txt"'
    assert len(answer.text.splitlines()) == body["result"]["count"]


def test_only_an_export_that_is_done_has_a_file(client: TestClient, root: Path) -> None:
    assert code(client.get(f"/v1/jobs/{done(client, 'verify')['id']}/file")) == (404, "NotFound")
    body = done(client, "export", selection="selection")
    next((root / "street" / "exports").glob(f"{body['id']}.*")).unlink()
    assert code(client.get(f"/v1/jobs/{body['id']}/file")) == (410, "Gone")


def test_tiles_are_made_by_a_job(client: TestClient, root: Path) -> None:
    body = done(client, "tiles")
    assert body["state"] == "done", body
    assert open_workspace(root / "street").names("tiles") == [body["result"]["counts"]["space"]]


def test_leaks_into_another_workspace(client: TestClient) -> None:
    body = done(client, "leaks", other="other")
    assert body["state"] == "done", body
    assert body["result"]["pairs"][0]["a"] == "other"


# -- what may be asked --------------------------------------------------------------------------------------------

DEEP = json.loads("[" * 100 + "]" * 100)
REFUSED: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("select", {"settings": {"select.where": "1=1"}}, (403, "Forbidden")),
    ("select", {"per_group": "label", "quotas": "like:where:1=1"}, (403, "Forbidden")),
    ("select", {"settings": {"select.quotas": "like:where:1=1"}}, (403, "Forbidden")),
    ("select", {"settings": {"select.preselected": "/etc/passwd"}}, (403, "Forbidden")),
    ("select", {"settings": {"select.preselected": "passwd"}}, (403, "Forbidden")),
    ("select", {"settings": {"select.preselected": "column:../x"}}, (403, "Forbidden")),
    ("select", {"settings": {"select.scores": "/tmp/a.npy", "select.method": "uncertainty"}}, (403, "Forbidden")),
    ("select", {"settings": {"select.scores": "a.parquet", "select.method": "uncertainty"}}, (403, "Forbidden")),
    ("select", {"strategies": [{"kind": "similarity", "to": "/etc/passwd"}]}, (403, "Forbidden")),
    ("select", {"strategies": [{"kind": "weights", "column": "~/x.csv"}]}, (403, "Forbidden")),
    ("select", {"strategies": [{"input": {"type": "SCORES", "key": "/a.csv"}, "strategy": {"type": "WEIGHTS"}}]},
     (403, "Forbidden")),
    ("select", {"strategies": [{"kind": "balance", "column": "label", "target": "like:where:1=1"}]},
     (403, "Forbidden")),
    ("select", {"filter": {"sql": "1=1"}}, (400, "BadFilter")),
    ("select", {"settings": {"select.nonsense": 1}}, (400, "BadConfig")),
    ("select", {"settings": {"select.strategies": DEEP}},
     (400, "BadConfig")),
    ("select", {"filter": {"column": "uri", "in": ["x" * 900] * 200}}, (413, "TooLarge")),
    ("select", {"budget": "lots"}, (400, "BadConfig")),
    ("select", {"preselected": "/etc/passwd"}, (422, "BadRequest")),
    ("select", {"name": "../escape"}, (422, "BadRequest")),
    ("select", {"nonsense": 1}, (422, "BadRequest")),
    ("embed", {"model": "hf:some/model"}, (403, "Forbidden")),
    ("embed", {"model": "onnx:/etc/passwd"}, (403, "Forbidden")),
    ("embed", {"settings": {"embed.model": "vectors:/etc/passwd"}}, (403, "Forbidden")),
    ("run", {"settings": {"sources.metadata": "/etc/passwd"}}, (403, "Forbidden")),
    ("run", {"settings": {"decode.max_pixels": 10**12}}, (403, "Forbidden")),
    ("run", {"settings": {"workers": 10_000}}, (403, "Forbidden")),
    ("run", {"metadata": "/etc/passwd"}, (403, "Forbidden")),
    ("run", {"upload": "0" * 16}, (404, "NotFound")),
    ("run", {"upload": "../../etc"}, (422, "BadRequest")),
    ("run", {"settings": {"select.name": "a\u0000b"}}, (400, "BadConfig")),
    ("ingest", {"sources": ["/etc"]}, (403, "Forbidden")),
    ("ingest", {"sources": ["../.."]}, (400, "BadRequest")),
    ("ingest", {"sources": ["car/../../x"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["%2e%2e/%2e%2e/etc"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["%252e%252e%252fetc"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["\\\\host\\share"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["//host/share"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["car\u0000.jpg"]}, (422, "BadRequest")),
    ("ingest", {"sources": ["file:///etc"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["http://127.0.0.1/a.jpg"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["zip::car"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["~root"]}, (400, "BadRequest")),
    ("ingest", {"sources": ["nothing"]}, (404, "NotFound")),
    ("leaks", {"other": "../street"}, (422, "BadRequest")),
    ("leaks", {"other": "nothing"}, (404, "NotFound")),
    ("compare", {"first": "--help", "second": "selection"}, (422, "BadRequest")),
    ("export", {"selection": "selection", "format": "symlink"}, (422, "BadRequest")),
    ("export", {"selection": "../../x"}, (422, "BadRequest")),
    ("nonsense", {}, (422, "BadRequest")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "params", "expected"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_may_not_be_asked_is_refused_before_it_is_queued(
    client: TestClient, kind: str, params: dict[str, Any], expected: tuple[int, str]
) -> None:
    before = client.get("/v1/jobs").json()["counts"]
    answer = client.post(f"{WS}/jobs", json={"kind": kind, "params": params})
    assert code(answer) == expected, answer.text
    after = client.get("/v1/jobs").json()["counts"]
    assert sum(after.values()) == sum(before.values())


def test_a_link_under_the_roots_leads_nowhere_else(root: Path, tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "secret")
    client = TestClient(create_app(Settings(root, ingest_roots=(tmp_path / "allowed",))), base_url="http://127.0.0.1")
    for named in ("link", str(tmp_path / "allowed" / "link")):
        answer = client.post(f"{WS}/jobs", json={"kind": "ingest", "params": {"sources": [named]}})
        assert code(answer) == (403, "Forbidden"), answer.text


def test_a_server_without_roots_reads_no_folder(idle: TestClient) -> None:
    answer = idle.post(f"{WS}/jobs", json={"kind": "ingest", "params": {"sources": ["footage"]}})
    assert code(answer) == (403, "Forbidden")
    assert "--ingest-root" in answer.json()["error"]["hint"]


def test_a_workspace_that_reads_a_foreign_table_is_not_run_over_http(tmp_path: Path) -> None:
    root = copied(tmp_path, "street")
    manifest = root / "street" / "workspace.json"
    body = json.loads(manifest.read_text())
    body["sources"] = [str(tmp_path / "list.csv")]
    manifest.write_text(json.dumps(body))
    client = TestClient(create_app(Settings(root)), base_url="http://127.0.0.1")
    answer = client.post(f"{WS}/jobs", json={"kind": "run"})
    assert code(answer) == (403, "Forbidden")
    assert "a table outside the folders" in answer.json()["error"]["message"]


def test_the_owners_own_settings_are_not_refused(tmp_path: Path) -> None:
    root = copied(tmp_path, "street")
    manifest = root / "street" / "workspace.json"
    body = json.loads(manifest.read_text())
    body["config"]["select"]["where"] = "brightness > 0"
    manifest.write_text(json.dumps(body))
    client = TestClient(create_app(Settings(root)), base_url="http://127.0.0.1")
    assert client.post(f"{WS}/jobs", json={"kind": "select", "params": {"budget": 2}}).status_code == 202


# -- who may -------------------------------------------------------------------------------------------------------


def test_roles(tmp_path: Path) -> None:
    root = copied(tmp_path, "street")
    with open_state(root) as state:
        tokens = {role: state.tokens.create(role, role, expires_s=600)[1] for role in ("reader", "reviewer", "admin")}
        other = state.tokens.create("other", "reviewer", expires_s=600)[1]
    client = TestClient(create_app(Settings(root, require_token=True)), base_url="http://127.0.0.1")

    def ask(token: str | None, method: str, path: str, **sent: Any) -> Any:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return client.request(method, path, headers=headers, **sent)

    writes, reads = {"kind": "report"}, {"kind": "verify"}
    assert code(ask(None, "POST", f"{WS}/jobs", json=reads)) == (401, "Unauthorized")
    assert code(ask(tokens["reviewer"], "POST", f"{WS}/jobs", json=writes)) == (403, "Forbidden")
    own = ask(tokens["reader"], "POST", f"{WS}/jobs", json=reads)
    assert own.status_code == 202
    assert own.json()["who"] == "reader"
    cancel = f"/v1/jobs/{own.json()['id']}/cancel"
    assert code(ask(other, "POST", cancel)) == (403, "Forbidden")
    assert ask(tokens["reader"], "POST", cancel).json()["state"] == "cancelled"
    admins = ask(tokens["admin"], "POST", f"{WS}/jobs", json=writes).json()["id"]
    assert code(ask(tokens["reader"], "POST", f"/v1/jobs/{admins}/cancel")) == (403, "Forbidden")
    assert ask(tokens["admin"], "POST", f"/v1/jobs/{admins}/cancel").json()["state"] == "cancelled"
    assert code(ask(tokens["reviewer"], "POST", f"/v1/jobs/{admins}/resume")) == (403, "Forbidden")
    again = ask(tokens["admin"], "POST", f"/v1/jobs/{admins}/resume")
    assert again.status_code == 202
    assert again.json()["resumes"] == admins
    for path in (f"/v1/jobs/{admins}", f"/v1/jobs/{admins}/log", "/v1/jobs"):
        assert ask(tokens["reader"], "GET", path).status_code == 200
        assert code(ask(None, "GET", path)) == (401, "Unauthorized")


# -- the queue -----------------------------------------------------------------------------------------------------


def test_the_same_key_is_the_same_job(idle: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = idle.post(f"{WS}/jobs", json={"kind": "verify"}, headers=headers).json()
    again = idle.post(f"{WS}/jobs", json={"kind": "verify"}, headers=headers).json()
    assert again["id"] == first["id"]
    assert code(idle.post(f"{WS}/jobs", json={"kind": "report"}, headers=headers)) == (409, "Conflict")
    idle.post(f"/v1/jobs/{first['id']}/cancel")


def test_a_full_queue_says_so(tmp_path: Path) -> None:
    client = TestClient(
        create_app(Settings(copied(tmp_path, "street"), max_queued=1, rate=0)), base_url="http://127.0.0.1"
    )
    first = client.post(f"{WS}/jobs", json={"kind": "verify"}).json()
    answer = client.post(f"{WS}/jobs", json={"kind": "verify"})
    assert code(answer) == (429, "TooMany")
    assert answer.headers["retry-after"] == "10"
    client.post(f"/v1/jobs/{first['id']}/cancel")


def test_a_queued_job_is_cancelled_at_once_and_can_be_resumed(idle: TestClient) -> None:
    job = idle.post(f"{WS}/jobs", json={"kind": "verify"}).json()
    assert code(idle.post(f"/v1/jobs/{job['id']}/resume")) == (409, "Conflict")
    assert idle.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    again = idle.post(f"/v1/jobs/{job['id']}/resume").json()
    assert (again["resumes"], again["kind"], again["params"]) == (job["id"], "verify", {})
    idle.post(f"/v1/jobs/{again['id']}/cancel")


@pytest.mark.parametrize("path", ["", "/log", "/events", "/file"])
def test_an_unknown_job_is_not_found(client: TestClient, path: str) -> None:
    assert code(client.get(f"/v1/jobs/{'0' * 16}{path}")) == (404, "UnknownName")
    assert client.get(f"/v1/jobs/..%2f..{path}").status_code == 404


def test_jobs_of_one_workspace_run_in_order_one_at_a_time_and_others_beside_them(client: TestClient) -> None:
    asked = [
        client.post(f"/v1/workspaces/{ws}/jobs", json={"kind": "verify"}).json()["id"]
        for ws in ("street", "other", "street", "other")
    ]
    ended = []
    for id in asked:
        body = client.get(f"/v1/jobs/{id}?wait=30").json()
        while body["finished"] is None:
            body = client.get(f"/v1/jobs/{id}?wait=30").json()
        ended.append(body)
    for first, second in ((ended[0], ended[2]), (ended[1], ended[3])):
        assert first["finished"] <= second["started"]
    assert ended[1]["started"] < ended[0]["finished"]


def test_two_runners_over_one_root_take_each_job_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copied(tmp_path, "street", "other")
    ran: list[str] = []
    active: dict[str, int] = {}
    lock, met = threading.Lock(), threading.Barrier(2)

    def fake(arguments: Any, environment: Any, heard: Heard, *, tick: Any, **_: Any) -> Ended:
        ws = next(a for a in arguments if a.startswith("--workspace="))
        with lock:
            ran.append(str(heard))
            active[ws] = active.get(ws, 0) + 1
            assert active[ws] == 1, "two jobs of one workspace at once"
            is_early = len(ran) <= 2
        if is_early:  # the first two go on together, so that a slow start does not leave all jobs to one runner
            met.wait(timeout=60)
        time.sleep(0.02)
        with lock:
            active[ws] -= 1
        heard.result += b"{}"
        return Ended(0, False)

    monkeypatch.setattr(processes, "run", fake)
    monkeypatch.setattr(jobs, "POLL_S", 0.01)
    settings = Settings(root, max_jobs=1)
    runners = [Runner(settings, Registry(settings, Metrics()), open_state(root), Metrics()) for _ in range(2)]
    with open_state(root) as state:
        asked = [state.jobs.add(ws, "verify", {}, who="x").id for _ in range(15) for ws in ("street", "other")]
        for runner in runners:
            runner.start()
        until = time.monotonic() + 60
        while state.jobs.counts().get("done", 0) < len(asked) and time.monotonic() < until:
            time.sleep(0.05)
        for runner in runners:
            runner.stop()
            runner.state.close()
        ended = [state.jobs.get(id) for id in asked]
    assert {job.state for job in ended} == {"done"}
    assert len(ran) == len(asked)
    assert {job.server for job in ended} == {runner.server for runner in runners}
    for ws in ("street", "other"):
        started = [job.started for job in ended if job.workspace == ws]
        assert started == sorted(started, key=lambda at: at or 0.0)


# -- following -----------------------------------------------------------------------------------------------------


def events_of(text: str) -> list[tuple[int, str, Any]]:
    """(id, event, data) of a stream."""
    out = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            out.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return out


def test_events_tell_every_state_and_end_with_the_last(client: TestClient) -> None:
    job = client.post(f"{WS}/jobs", json={"kind": "calibrate", "params": {"sample": 12}}).json()
    answer = client.get(f"/v1/jobs/{job['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events_of(answer.text)
    ids = [id for id, _, _ in told]
    assert ids == sorted(set(ids))
    assert told[-1][1] == "state"
    assert told[-1][2]["state"] == "done", told[-1]
    assert told[-1][2]["result"]["results"]
    stages = {data["progress"]["stage"] for _, kind, data in told if kind == "progress"}
    assert stages, "no progress was told"
    assert client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": str(ids[-1])}).status_code == 204
    later = client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": str(ids[-1] - 1)})
    assert [id for id, _, _ in events_of(later.text)] == [ids[-1]]


def test_files_of_forgotten_jobs_are_removed_at_the_start(tmp_path: Path) -> None:
    root = copied(tmp_path, "street")
    folder = root / "street" / "exports"
    folder.mkdir()
    with open_state(root) as state:
        known = state.jobs.add("street", "export", {"selection": "selection"}, who="x")
        state.jobs.cancel(known.id)
    for name in (f"{known.id}.csv", f"{'0' * 16}.csv"):
        (folder / name).write_text("x")
    with TestClient(create_app(Settings(root)), base_url="http://127.0.0.1"):
        assert [path.name for path in folder.iterdir()] == [f"{known.id}.csv"]


# -- how a run ends -------------------------------------------------------------------------------------------------


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """A runner that is not started, over a root of its own."""
    root = copied(tmp_path, "street")
    settings = Settings(root, ingest_roots=(tmp_path,))
    with open_state(root) as state:
        yield Runner(settings, Registry(settings, Metrics()), state, Metrics(), locked_wait_s=0.5)


def ran(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, *, code: int = 0, out: bytes = b"", err: bytes = b"",
    stopped: bool = False, kind: str = "verify",
) -> Job:  # fmt: skip
    """A job whose command ended so."""

    def fake(arguments: Any, environment: Any, heard: Heard, *, tick: Any, **_: Any) -> Ended:
        heard.result += out
        heard.log.append(err)
        if stopped:
            jobs.BEAT_S = 0.0
            tick()
        return Ended(code, stopped)

    monkeypatch.setattr(processes, "run", fake)
    monkeypatch.setattr(jobs, "BEAT_S", jobs.BEAT_S)
    job = runner.state.jobs.add("street", kind, {}, who="x")
    claimed = runner.state.jobs.claim(runner.server)
    assert claimed is not None
    runner._work(claimed)
    return runner.state.jobs.get(job.id)


def test_an_exit_code_of_one_with_a_result_is_a_finding(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ran(runner, monkeypatch, code=1, out=b'{"is_sound": false}')
    assert (job.state, job.result) == ("done", {"is_sound": False})


def test_a_killed_command_is_a_failed_job_that_says_so(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ran(runner, monkeypatch, code=-9)
    assert job.state == "failed"
    assert job.error["message"] == "the command was killed by SIGKILL: perhaps for memory"


def test_a_command_that_prints_nothing_is_a_failed_job(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ran(runner, monkeypatch, code=3, err=b'File "/usr/lib/python3/a.py", line 1\n')
    assert (job.state, job.error["message"]) == ("failed", "the command ended with code 3")
    assert runner.state.jobs.log(job.id) == 'File "…/a.py", line 1\n'


def test_a_command_stopped_by_the_servers_end_is_interrupted(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ran(runner, monkeypatch, code=130, stopped=True)
    assert job.state == "interrupted"
    assert job.error["hint"] == "resume it: what it finished is kept"


def test_a_command_that_was_done_before_it_heard_of_the_end_is_done(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(runner, monkeypatch, out=b"{}", stopped=True).state == "done"


def test_a_job_of_a_workspace_that_is_gone_fails_by_name(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(runner.registry.root / "street")
    job = ran(runner, monkeypatch)
    assert (job.state, job.error["code"]) == ("failed", "NotFound")


def test_a_fault_of_the_server_fails_the_job_and_tells_nothing(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Ended:
        raise RuntimeError("secret detail")

    job = runner.state.jobs.add("street", "verify", {}, who="x")
    claimed = runner.state.jobs.claim(runner.server)
    assert claimed is not None
    monkeypatch.setattr(processes, "run", broken)
    runner._work(claimed)
    ended = runner.state.jobs.get(job.id)
    assert (ended.state, ended.error["code"]) == ("failed", "InternalError")
    assert "secret" not in json.dumps(ended.error)
    assert "secret detail" in caplog.text


def test_a_workspace_written_from_outside_is_waited_for_and_then_told_of(runner: Runner) -> None:
    job = runner.state.jobs.add("street", "report", {}, who="x")
    claimed = runner.state.jobs.claim(runner.server)
    assert claimed is not None
    with FileLock(runner.registry.root / "street" / ".lock"):
        runner._work(claimed)
    ended = runner.state.jobs.get(job.id)
    assert (ended.state, ended.error["code"]) == ("failed", "WorkspaceLocked")
    assert ended.progress["stage"].startswith("waiting: street is being written by")


def test_a_job_goes_on_as_soon_as_the_other_writer_is_done(runner: Runner) -> None:
    runner.locked_wait_s = 60.0
    job = runner.state.jobs.add("street", "report", {}, who="x")
    claimed = runner.state.jobs.claim(runner.server)
    assert claimed is not None
    with open_workspace(runner.registry.root / "street").writing("a test"):
        worker = threading.Thread(target=runner._work, args=(claimed,))
        worker.start()
        until = time.monotonic() + 60
        while not (runner.state.jobs.get(job.id).progress or {}).get("stage", "").startswith("waiting: "):
            assert time.monotonic() < until
            time.sleep(0.05)
    worker.join(60)
    assert runner.state.jobs.get(job.id).state == "done"


def test_a_result_that_is_too_large_is_said(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(arguments: Any, environment: Any, heard: Heard, *, tick: Any, **_: Any) -> Ended:
        heard.is_too_large = True
        return Ended(0, False)

    job = runner.state.jobs.add("street", "verify", {}, who="x")
    claimed = runner.state.jobs.claim(runner.server)
    assert claimed is not None
    monkeypatch.setattr(processes, "run", fake)
    runner._work(claimed)
    assert runner.state.jobs.get(job.id).error["message"] == "the result is over 4194304 bytes"


def test_the_workspace_is_as_the_command_line_left_it(client: TestClient, root: Path) -> None:
    assert CliRunner().invoke(command_line, ["verify", "-w", str(root / "street")]).exit_code == 0
    assert open_workspace(root / "street").n_rows == 31
