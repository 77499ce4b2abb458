"""The Python client against the real server: every verb, refusals, and a connection that breaks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curator import Client
from curator.client import ServiceError
from curator.workspace import open_workspace
from tests.serving import Server, serving
from tests.small import make_footage, small_root

WS = "street"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    root = tmp_path_factory.mktemp("client") / "served"
    shutil.copytree(small_root(), root)
    make_footage(root.parent / "more", n=4, seed=5)
    with serving(root, "--ingest-root", str(root.parent)) as found:
        yield found, root


@pytest.fixture
def client(server: tuple[Server, Path]) -> Iterator[Client]:
    with Client(server[0].address) as found:
        yield found


def test_the_server_says_who_one_is(client: Client) -> None:
    assert client.health()["status"] == "ok"
    assert client.session()["role"] == "admin"
    assert [one["name"] for one in client.workspaces()] == [WS]


def test_looking_at_a_workspace(client: Client) -> None:
    assert client.info(WS)["rows"] == 31
    runs = client.runs(WS)
    assert [run["finished"] for run in runs] == sorted((run["finished"] for run in runs), reverse=True)
    assert client.runs(WS, limit=1) == runs[:1]
    assert {"ingest", "embed", "index"} <= {run["stage"] for run in runs}
    assert "config" not in runs[0]
    assert "brightness" in {column["name"] for column in client.columns(WS)}
    assert client.show(WS, 3)["row"] == 3
    assert client.why(WS, 3)["sentences"]
    assert client.rows(WS, limit=2)["total"] == 31
    assert client.facets(WS, ["label"])["facets"][0]["column"] == "label"
    assert client.duplicates(WS)["total"] > 0
    assert client.certificate(WS)["certificate"]["orphans"] == 0
    assert client.report(WS)
    assert client.calibration(WS)["results"] == []


def test_searching(client: Client, server: tuple[Server, Path]) -> None:
    found = client.search(WS, [{"row": 0}], k=5)
    assert len(found["hits"]) == 5
    every = [hit["row"] for hit in client.search_all(WS, [{"row": 0}], k=7)]
    assert len(every) == len(set(every)) == 29  # all but itself and the broken one
    assert client.search_many(WS, [{"positives": [{"row": 0}], "k": 5}])[0] == found
    picture = client.image(WS, 4, size="original")
    assert client.search_images(WS, [picture], k=1)["hits"][0]["row"] == 4
    assert client.near_duplicates(WS, image=picture)["verdict"] == "already"
    assert client.near_duplicates(WS, row=4)["matches"] is not None
    assert client.image(WS, 4, box=(0, 0, 10, 10), size=5)[:2] == b"\xff\xd8"


def test_deciding_and_undoing(client: Client) -> None:
    client.tag(WS, "night", [1, 2])
    client.tag(WS, "bus", filter={"column": "label", "eq": "bus"})
    assert {one["name"]: one["count"] for one in client.tags(WS)} == {"night": 2, "bus": 15}
    said = client.untag(WS, "night", [1])
    client.undo(WS, said["id"])
    assert {one["name"]: one["count"] for one in client.tags(WS)}["night"] == 2
    client.redo(WS, said["id"])
    client.collect(WS, "edge cases 2", [5, 3])
    assert client.collection(WS, "edge cases 2") == [5, 3]
    assert client.collections(WS)[0]["count"] == 2
    once = client.decide(WS, "review", [4], value="accept", subject="queue", key="k1")
    assert client.decide(WS, "review", [4], value="accept", subject="queue", key="k1") == once
    assert client.decisions(WS, kind="review")[0]["id"] == once["id"]
    lines = client.export_state(WS)
    assert client.import_state(WS, lines)["decisions"] == 0
    assert client.search(WS, [{"collection": "edge cases 2"}], k=3)["hits"]


def test_mining(client: Client) -> None:
    client.create_campaign(WS, "dusk", rows=[0, 2, 4])
    rows = [hit["row"] for hit in client.next_images(WS, "dusk", 1, k=4)["hits"]]
    client.review(WS, "dusk", 1, rows[:2], "accept")
    assert client.campaign(WS, "dusk")["accepted"] == 2
    assert client.campaigns(WS)[0]["name"] == "dusk"
    client.create_trigger(WS, "watch", "dusk")
    assert client.triggers(WS)[0]["name"] == "watch"
    assert client.export_campaign(WS, "dusk", "mined")["count"] == 2
    assert client.selection(WS, "mined")["picks"]


def test_jobs_change_the_workspace(client: Client, server: tuple[Server, Path]) -> None:
    done = client.wait(client.select(WS, name="three", budget=3)["id"])
    assert done["state"] == "done"
    assert "three" in {one["name"] for one in client.selections(WS)}
    assert client.export(WS, "three", format="paths").count(b"\n") == 3
    shown: list[Any] = []
    checked = client.wait(client.verify(WS)["id"], progress=shown.append)
    assert checked["result"]["is_sound"]
    assert shown[-1]["state"] == "done"
    assert client.wait(client.compare(WS, "three", "selection")["id"])["result"]["sentences"]
    assert {job["kind"] for job in client.jobs()} >= {"select", "verify", "compare"}
    saved = client.save_snapshot(WS, "before")
    assert saved["name"] in {one["name"] for one in client.snapshots(WS)}


def test_new_footage_by_upload_and_by_path(client: Client, server: tuple[Server, Path]) -> None:
    more = sorted((server[1].parent / "more").rglob("*.jpg"))
    client.create_workspace("made")
    settings = {"embed.model": "colour", "map.kind": "pca", "report.n_random": 3, "index.neighbors": 2, "workers": 1}
    sent = client.upload("made", [path for path in more if path.name != "broken.jpg"][:4])
    client.wait(client.run("made", upload=sent["upload"], settings=settings)["id"])
    assert client.info("made")["rows"] == 4
    client.wait(client.run("made", sources=["more"])["id"])
    assert client.info("made")["rows"] == 4 + len(more)
    assert open_workspace(server[1] / "made").n_rows == 4 + len(more)


def test_a_failed_job_is_its_error(client: Client) -> None:
    job = client.start(WS, "compare", first="nothing", second="selection")
    with pytest.raises(ServiceError, match="no selection 'nothing'") as refusal:
        client.wait(job["id"])
    assert refusal.value.code == "UnknownSelection"


def test_a_refusal_has_code_message_and_hint(client: Client) -> None:
    with pytest.raises(ServiceError, match="no workspace 'nothing'; GET /v1/workspaces lists all") as refusal:
        client.info("nothing")
    assert (refusal.value.status, refusal.value.code) == (404, "NotFound")
    with pytest.raises(ServiceError) as unknown:
        client.info("../street")
    assert unknown.value.status == 404


def test_tokens_are_made_and_end(client: Client, server: tuple[Server, Path]) -> None:
    made = client.create_token("ann", "reader")
    with Client(server[0].address, made["secret"]) as reader:
        assert reader.session()["who"] == "ann"
        with pytest.raises(ServiceError, match="reader may not do this, admin may"):
            reader.create_workspace("x")
        client.revoke_token("ann")
        with pytest.raises(ServiceError, match="unknown, revoked or expired"):
            reader.session()
    assert "ann" in {token["name"] for token in client.tokens()}


def test_nobody_there_is_said_after_a_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.client.PAUSE_S", 0.0)
    with Client("http://127.0.0.1:9") as lonely, pytest.raises(ServiceError, match="no answer from .*; is the server"):
        lonely.health()


def test_a_broken_connection_is_tried_again_only_where_that_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    monkeypatch.setattr("curator.client.PAUSE_S", 0.0)
    calls: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.method)
        if len(calls) < 3:
            raise httpx2.ReadError("gone", request=request)
        return httpx2.Response(200, json={"status": "ok"})

    with Client("http://x", transport=httpx2.MockTransport(handle)) as client:
        assert client.health() == {"status": "ok"}
        assert calls == ["GET"] * 3
        calls.clear()
        with pytest.raises(ServiceError, match="no answer"):
            client.create_workspace("x")
        assert calls == ["POST"]


def test_an_answer_without_the_error_shape_is_said() -> None:
    import httpx2

    transport = httpx2.MockTransport(lambda request: httpx2.Response(502, text="proxy"))
    with (
        Client("http://x", transport=transport) as client,
        pytest.raises(ServiceError, match="status 502 without an error body"),
    ):
        client.health()
