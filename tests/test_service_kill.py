"""The server killed, stopped and doubled: jobs say what is true, uploads are whole, and what was begun can go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from curator.pipeline import verify
from curator.state import open_state
from curator.workspace import create_workspace, open_workspace
from tests.conftest import picture
from tests.serving import Server, serving
from tests.small import SETTINGS

pytestmark = pytest.mark.slow

N_IMAGES = 600
PARAMS = {
    "sources": ["."], "budget": 6,
    "settings": {key: json.loads(value) if value[0] in "0123456789tf" else value
                 for key, _, value in (setting.partition("=") for setting in SETTINGS)},
}  # fmt: skip


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough small images that a run takes seconds."""
    folder = tmp_path_factory.mktemp("footage")
    rng = np.random.default_rng(3)
    for at in range(60):
        picture(rng, width=400, height=300).save(folder / f"{at:04d}.jpg")
    for at in range(60, N_IMAGES):
        os.link(folder / f"{at % 60:04d}.jpg", folder / f"{at:04d}.jpg")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        create_workspace(tmp_path / "served" / name)
    return tmp_path / "served"


class Caller:
    """A client of one server."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(base_url=server.address, timeout=60)

    def start(self, ws: str, kind: str = "run", **params: Any) -> str:
        answer = self.http.post(
            f"/v1/workspaces/{ws}/jobs", json={"kind": kind, "params": params or (PARAMS if kind == "run" else {})}
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, id: str, *, wait: float = 0) -> dict[str, Any]:
        body: dict[str, Any] = self.http.get(f"/v1/jobs/{id}", params={"wait": wait}).json()
        return body

    def ended(self, id: str) -> dict[str, Any]:
        until = time.monotonic() + 240
        while (body := self.job(id, wait=30))["finished"] is None and time.monotonic() < until:
            pass
        return body

    def until(self, id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The job as soon as something holds of it."""
        until = time.monotonic() + 60
        while not holds(body := self.job(id)):
            assert time.monotonic() < until, body
            assert body["finished"] is None, json.dumps(body)
            time.sleep(0.02)
        return body


@contextmanager
def served(root: Path, footage: Path, *options: str) -> Iterator[tuple[Server, Caller]]:
    with serving(root, "--ingest-root", str(footage), *options) as server:
        caller = Caller(server)
        try:
            yield server, caller
        finally:
            caller.http.close()


def is_reading(job: dict[str, Any]) -> bool:
    """In the middle of the long stage."""
    progress = job["progress"]
    return bool(progress) and progress["stage"] == "decode" and 0 < progress["done"] < progress["total"]


def children_of(pid: int) -> set[int]:
    """Every process below one."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found |= {child} | children_of(child)
    return found


def wait_gone(pids: set[int]) -> None:
    until = time.monotonic() + 20
    while any(_is_running(pid) for pid in pids):
        assert time.monotonic() < until, f"still running: {pids}"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def selection_of(root: Path, ws: str) -> Any:
    place = open_workspace(root / ws)
    chosen = place.selection("selection")
    return chosen.rows.tolist(), list(chosen.reasons)


def test_a_killed_server_leaves_a_true_job_that_resumes_to_the_same_result(root: Path, footage: Path) -> None:
    with served(root, footage) as (server, caller):
        undisturbed = caller.ended(caller.start("b"))
        assert undisturbed["state"] == "done", undisturbed
        id = caller.start("a")
        caller.until(id, is_reading)
        below = children_of(server.process.pid)
        assert below
        server.kill()
        wait_gone(below)
    with open_state(root) as state:
        assert state.jobs.get(id).state == "running"  # what the dead server last wrote
    with served(root, footage) as (_, caller):
        body = caller.job(id)
        assert body["state"] == "interrupted"
        assert body["error"]["message"] == "the server that ran it has ended"
        again = caller.http.post(f"/v1/jobs/{id}/resume").json()
        assert again["resumes"] == id
        resumed = caller.ended(again["id"])
        assert resumed["state"] == "done", resumed
    assert selection_of(root, "a") == selection_of(root, "b")
    assert resumed["result"]["certificate"] == undisturbed["result"]["certificate"]
    assert verify(open_workspace(root / "a")).is_sound


def test_a_server_that_is_stopped_interrupts_its_jobs_and_says_so(root: Path, footage: Path) -> None:
    with served(root, footage) as (server, caller):
        id = caller.start("a")
        waiting = caller.start("a", "verify")
        caller.until(id, is_reading)
        below = children_of(server.process.pid)
        assert server.stop() in (0, -signal.SIGTERM)
        wait_gone(below)
    with open_state(root) as state:
        assert state.jobs.get(id).state == "interrupted"
        assert state.jobs.get(id).error["message"] == "the server was stopped"
        assert state.jobs.get(waiting).state == "queued"  # it was never begun, and goes on with the next server
    with served(root, footage) as (_, caller):
        assert caller.ended(waiting)["state"] in ("done", "failed")


def test_a_running_job_is_cancelled_and_its_processes_are_gone(root: Path, footage: Path) -> None:
    with served(root, footage) as (server, caller):
        id = caller.start("a")
        caller.until(id, is_reading)
        below = children_of(server.process.pid)
        body = caller.http.post(f"/v1/jobs/{id}/cancel", params={"wait": 30}).json()
        assert body["state"] == "cancelled", body
        wait_gone(below)
        resumed = caller.ended(caller.http.post(f"/v1/jobs/{id}/resume").json()["id"])
        assert resumed["state"] == "done", resumed


def test_two_workspaces_are_worked_on_at_once_and_one_in_order(root: Path, footage: Path) -> None:
    with served(root, footage) as (_, caller):
        first, second, third = caller.start("a"), caller.start("a", "report"), caller.start("b")
        bodies = [caller.ended(id) for id in (first, second, third)]
    assert [body["state"] for body in bodies] == ["done"] * 3, bodies
    assert bodies[0]["finished"] <= bodies[1]["started"]
    assert bodies[2]["started"] < bodies[0]["finished"]


def test_two_servers_over_one_root_run_each_job_once_and_tell_the_same(root: Path, footage: Path) -> None:
    with served(root, footage) as (one, first), served(root, footage) as (_, second):
        ids = [(first if at % 2 else second).start("ab"[at % 2], "verify") for at in range(6)]
        bodies = [first.ended(id) for id in ids]
        assert all(body["finished"] is not None for body in bodies)
        assert [second.job(id) for id in ids] == bodies
        begun = [line for line in one.log if " begins" in line]
        assert len(begun) == len(set(begun))
        id = first.start("a")
        with second.http.stream("GET", f"/v1/jobs/{id}/events") as events:  # whichever server runs it
            last = [line for line in events.iter_lines() if line.startswith("data: ")][-1]
        assert json.loads(last.removeprefix("data: "))["state"] == "done"


def test_worker_processes_of_one_server_share_the_queue(root: Path, footage: Path) -> None:
    with served(root, footage, "--workers", "2") as (_, caller):
        bodies = [caller.ended(id) for id in [caller.start(ws) for ws in ("a", "b")]]
        assert [body["state"] for body in bodies] == ["done", "done"], bodies


def test_a_server_killed_during_an_upload_leaves_nothing_half(root: Path, footage: Path) -> None:
    data = (footage / "0000.jpg").read_bytes()
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%d.jpg"\r\n\r\n'
    with served(root, footage) as (server, caller):
        kept = caller.http.post("/v1/workspaces/a/uploads", files=[("files", ("kept.jpg", data, "image/jpeg"))]).json()
        with server.connect() as broken:
            head = (
                b"POST /v1/workspaces/a/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"
            )
            broken.sendall(head + part % 1 + data + b"\r\n" + part % 2 + data[:100])
            folder = root / "a" / "uploads"
            until = time.monotonic() + 30
            while not list(folder.glob(".*.part/1.jpg")):
                assert time.monotonic() < until
                time.sleep(0.02)
            server.kill()
    assert list(folder.glob(".*.part"))
    with served(root, footage) as (_, caller):
        assert [path.name for path in folder.iterdir()] == [kept["upload"]]
        listed = caller.http.get("/v1/workspaces/a/uploads").json()["uploads"]
        assert [one["upload"] for one in listed] == [kept["upload"]]


def test_a_client_that_hangs_up_during_an_upload_leaves_nothing(root: Path, footage: Path) -> None:
    data = (footage / "0000.jpg").read_bytes()
    with served(root, footage) as (server, _):
        broken = server.connect()
        broken.sendall(
            b"POST /v1/workspaces/a/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="files"; '
            b'filename="1.jpg"\r\n\r\n' + data
        )
        folder = root / "a" / "uploads"
        until = time.monotonic() + 30
        while not list(folder.glob(".*.part/1.jpg")):
            assert time.monotonic() < until
            time.sleep(0.02)
        broken.shutdown(socket.SHUT_RDWR)
        broken.close()
        while list(folder.iterdir()):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_half_deleted_workspace_fails_its_own_job_and_others_go_on(root: Path, footage: Path) -> None:
    with served(root, footage) as (_, caller):
        assert caller.ended(caller.start("a"))["state"] == "done"
        shutil.rmtree(root / "a" / "vectors")
        body = caller.ended(caller.start("a", "verify"))
        assert body["state"] == "done"
        assert body["result"]["is_sound"] is False
        (root / "a" / "workspace.json").write_text("{")
        answer = caller.http.post("/v1/workspaces/a/jobs", json={"kind": "verify"})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "DamagedWorkspace"
        assert caller.ended(caller.start("b"))["state"] == "done"
