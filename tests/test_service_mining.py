"""Campaigns and triggers over HTTP: what they answer, and every way of asking for what cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curator import pipeline
from curator.config import load
from curator.workspace import create_workspace, open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import SETTINGS, make_footage, small_root

WS = "/v1/workspaces/street"
NAMES = ["..", "a/b", "", " ", "-x", "ni\u200bght", "a" * 101, "a\nb", "'; DROP TABLE documents; --", "<b>"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "served" / "street")
    create_workspace(tmp_path / "served" / "empty")
    return tmp_path / "served"


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as found:
        yield found


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def start(client: TestClient, **body: Any) -> Any:
    return client.post(f"{WS}/campaigns", json={"name": "dusk", "rows": [0, 2, 4], **body})


def next_rows(client: TestClient, k: int = 10) -> list[int]:
    return [hit["row"] for hit in client.get(f"{WS}/campaigns/dusk/modes/1/next?k={k}").json()["hits"]]


def say(client: TestClient, rows: list[int], verdict: str = "accept", mode: int = 1, **more: Any) -> Any:
    sent = {"rows": rows, "verdict": verdict, **more}
    return client.post(f"{WS}/campaigns/dusk/modes/{mode}/reviews", json=sent)


def export(client: TestClient, name: str = "to-label") -> Any:
    return client.post(f"{WS}/campaigns/dusk/export", json={"selection": name})


# -- campaigns -----------------------------------------------------------------------------------------------------


def test_a_campaign_is_started_shown_listed_and_taken_away(client: TestClient) -> None:
    made = start(client, budget=30)
    assert made.status_code == 201
    body = made.json()
    assert (body["n_failures"], body["budget"], body["accepted"], body["reviewed"]) == (3, 30, 0, 0)
    assert sorted(row for mode in body["modes"] for row in mode["rows"]) == [0, 2, 4]
    assert client.get(f"{WS}/campaigns/dusk").json() == body
    assert client.get(f"{WS}/campaigns").json() == {"campaigns": [body]}
    assert client.delete(f"{WS}/campaigns/dusk").status_code == 204
    assert client.get(f"{WS}/campaigns").json() == {"campaigns": []}
    assert start(client).status_code == 201  # the name is free again


@pytest.mark.parametrize(
    "source",
    [{"rows": [], "filter": {"column": "label", "eq": "car"}}, {"rows": [], "collection": "bad"},
     {"rows": [], "mistakes": {"label": "label", "prediction": "cluster_name"}}],
)  # fmt: skip
def test_failures_come_from_a_filter_a_collection_or_mistakes(client: TestClient, source: dict[str, Any]) -> None:
    client.post(f"{WS}/collections", json={"name": "bad", "rows": [1, 3]})
    made = start(client, **source)
    assert made.status_code == 201, made.text
    assert made.json()["n_failures"] > 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"rows": []}, (400, "BadQuery")),
     ({"collection": "bad"}, (400, "BadQuery")),  # rows and a collection
     ({"rows": [], "collection": "nothing"}, (404, "UnknownName")),
     ({"rows": [999]}, (404, "UnknownRow")),
     ({"rows": [-1]}, (422, "BadRequest")),
     ({"rows": [], "filter": {"column": "labl", "eq": 1}}, (404, "UnknownColumn")),
     ({"rows": [], "filter": {"sql": "1 = 1"}}, (400, "BadFilter")),
     ({"rows": [], "filter": {"column": "label", "eq": "no such"}}, (422, "DataError")),
     ({"rows": [], "mistakes": {"label": "label", "prediction": "label"}}, (422, "DataError")),
     ({"rows": [], "mistakes": {"label": "label", "prediction": "nothing"}}, (404, "UnknownColumn")),
     ({"pool": {"column": "labl", "eq": 1}}, (404, "UnknownColumn")),
     ({"budget": 0}, (422, "BadRequest")), ({"modes": 51}, (422, "BadRequest")),
     ({"spacing_s": -1}, (422, "BadRequest")),
     ({"how": "magic"}, (422, "BadRequest")), ({"extra": 1}, (422, "BadRequest"))],
)  # fmt: skip
def test_a_campaign_that_cannot_be_is_refused(
    client: TestClient, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert code(start(client, **body)) == expected
    assert client.get(f"{WS}/campaigns").json() == {"campaigns": []}


@pytest.mark.parametrize("name", NAMES)
def test_bad_names_make_no_campaign_and_no_trigger(client: TestClient, name: str) -> None:
    assert code(start(client, name=name)) == (422, "BadRequest")
    start(client)
    trigger = {"name": name, "campaign": "dusk"}
    assert code(client.post(f"{WS}/triggers", json=trigger)) == (422, "BadRequest")
    assert client.get(f"{WS}/triggers").json()["triggers"] == []


def test_a_name_is_taken_once(client: TestClient) -> None:
    first = start(client).json()
    assert code(start(client, rows=[1])) == (409, "Conflict")
    assert client.get(f"{WS}/campaigns/dusk").json() == first


def test_a_campaign_that_is_not_there_is_not_found(client: TestClient) -> None:
    start(client)
    answers = [
        client.get(f"{WS}/campaigns/none"), client.delete(f"{WS}/campaigns/none"),
        client.get(f"{WS}/campaigns/none/modes/1/next"), client.get(f"{WS}/campaigns/dusk/modes/9/next"),
        client.post(f"{WS}/campaigns/none/modes/1/reviews", json={"rows": [1], "verdict": "accept"}),
        say(client, [1], mode=9), say(client, [1], mode=0),
        client.post(f"{WS}/campaigns/none/export", json={"selection": "x"}),
        client.post(f"{WS}/triggers", json={"name": "watch", "campaign": "none"}),
        client.post(f"{WS}/triggers", json={"name": "watch", "campaign": "dusk", "mode": 9}),
        client.delete(f"{WS}/triggers/none"),
    ]  # fmt: skip
    assert {code(answer) for answer in answers} == {(404, "UnknownName")}, [answer.text for answer in answers]
    assert client.get("/v1/workspaces/nothing/campaigns").status_code == 404


def test_a_workspace_without_vectors_says_what_to_run(client: TestClient) -> None:
    made = client.post("/v1/workspaces/empty/campaigns", json={"name": "dusk", "filter": {"rows": [0]}})
    assert made.status_code in (404, 409), made.text
    assert client.get("/v1/workspaces/empty/campaigns").json() == {"campaigns": []}
    assert client.get("/v1/workspaces/empty/triggers").json() == {"triggers": [], "runs": []}


# -- rounds --------------------------------------------------------------------------------------------------------


def test_answers_count_leave_the_queue_and_can_be_undone(client: TestClient) -> None:
    start(client)
    first = next_rows(client)
    made = say(client, first[:2], note="clearly")
    assert made.status_code == 201
    assert (made.json()["kind"], made.json()["rows"], made.json()["value"]) == ("review", first[:2], "accept")
    say(client, first[2:3], "discard")
    say(client, first[3:4], "skip")
    assert not set(next_rows(client, 50)) & set(first[:4])
    body = client.get(f"{WS}/campaigns/dusk").json()
    assert (body["accepted"], body["reviewed"]) == (2, 3)
    client.post(f"{WS}/decisions/{made.json()['id']}/undo")
    assert client.get(f"{WS}/campaigns/dusk").json()["accepted"] == 0
    assert set(first[:2]) & set(next_rows(client, 50))


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"rows": []}, (422, "BadRequest")), ({"verdict": "maybe"}, (422, "BadRequest")),
     ({"rows": [999]}, (404, "UnknownRow")), ({"rows": [1, 999]}, (404, "UnknownRow")),
     ({"rows": [-1]}, (422, "BadRequest")), ({"rows": list(range(1_001))}, (422, "BadRequest")),
     ({"note": "x" * 2_001}, (422, "BadRequest"))],
)  # fmt: skip
def test_an_answer_that_cannot_be_is_refused_whole(
    client: TestClient, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    start(client)
    sent = {"rows": [8], "verdict": "accept", **body}
    assert code(client.post(f"{WS}/campaigns/dusk/modes/1/reviews", json=sent)) == expected
    assert client.get(f"{WS}/decisions").json()["decisions"] == []


def test_the_same_key_is_one_answer_and_an_unseen_one_is_a_conflict(client: TestClient) -> None:
    start(client)
    sent: Any = {"json": {"rows": [8], "verdict": "accept"}, "headers": {"Idempotency-Key": "a1"}}
    path = f"{WS}/campaigns/dusk/modes/1/reviews"
    assert client.post(path, **sent).json() == client.post(path, **sent).json()
    assert len(client.get(f"{WS}/decisions").json()["decisions"]) == 1
    assert code(say(client, [8], "discard", expect=0)) == (409, "Conflict")
    assert client.get(f"{WS}/campaigns/dusk").json()["accepted"] == 1


def test_a_row_outside_the_pool_may_be_answered_and_is_never_offered(client: TestClient) -> None:
    """Who sees the failure elsewhere may say so; the answer teaches and is exported like any other."""
    pool = {"column": "label", "eq": "car"}
    start(client, pool=pool)
    page = client.post(f"{WS}/rows/query", json={"filter": {"not": pool}, "limit": 100}).json()["rows"]
    outside = sorted({row["row"] for row in page} - {0, 2, 4})
    assert not set(next_rows(client, 50)) & set(outside)
    before = client.get(f"{WS}/campaigns/dusk/modes/1/next").json()
    assert say(client, outside[:1]).status_code == 201
    after = client.get(f"{WS}/campaigns/dusk/modes/1/next").json()
    assert after["ranking"]["n_positives"] == before["ranking"]["n_positives"] + 1
    assert after["pool"] == before["pool"]
    assert export(client).json()["count"] == 1


def test_a_row_without_a_vector_may_be_answered_and_teaches_nothing(client: TestClient) -> None:
    start(client)
    broken = client.get(f"{WS}").json()["unreadable"][0]["row"]
    before = client.get(f"{WS}/campaigns/dusk/modes/1/next").json()
    assert say(client, [broken]).status_code == 201
    after = client.get(f"{WS}/campaigns/dusk/modes/1/next").json()
    assert [hit["row"] for hit in after["hits"]] == [hit["row"] for hit in before["hits"]]
    assert export(client).json()["count"] == 1


@pytest.mark.parametrize("k", [0, 1_001, "x"])
def test_so_many_cannot_be_asked_for(client: TestClient, k: Any) -> None:
    start(client)
    assert code(client.get(f"{WS}/campaigns/dusk/modes/1/next?k={k}")) == (422, "BadRequest")


# -- export --------------------------------------------------------------------------------------------------------


def test_export_twice_is_the_same_selection_and_more_answers_are_taken_in(client: TestClient, root: Path) -> None:
    start(client)
    assert code(export(client)) == (422, "DataError")  # nothing was accepted
    first = next_rows(client)
    say(client, first[:2])
    made = export(client)
    assert made.json() == {"selection": "to-label", "count": 2, "campaign": "dusk"}
    text = client.get(f"{WS}/selections/to-label/file").text
    assert export(client).json() == made.json()
    assert client.get(f"{WS}/selections/to-label/file").text == text
    say(client, first[2:3])
    assert export(client).json()["count"] == 3
    assert open_workspace(root / "street").selection("to-label").rows.tolist() == first[:3]


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "a" * 65])
def test_a_selection_has_a_plain_name(client: TestClient, name: str) -> None:
    start(client)
    say(client, [8])
    assert code(export(client, name)) == (422, "BadRequest")


# -- triggers ------------------------------------------------------------------------------------------------------


def test_a_trigger_runs_once_on_what_is_new(tmp_path: Path) -> None:
    footage, place = make_footage(tmp_path / "footage", n=16), tmp_path / "served" / "street"
    pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
    with TestClient(create_app(Settings(tmp_path / "served", rate=0)), base_url="http://127.0.0.1") as client:
        start(client)
        made = client.post(f"{WS}/triggers", json={"name": "watch", "campaign": "dusk", "quota": 3, "threshold": 0})
        assert made.status_code == 201
        assert (made.json()["name"], made.json()["quota"], made.json()["runs"]) == ("watch", 3, [])
        assert code(client.post(f"{WS}/triggers", json={"name": "watch", "campaign": "dusk"})) == (409, "Conflict")
        assert client.post(f"{WS}/triggers/run").json()["runs"] == []
        n_before = open_workspace(place).n_rows
        make_footage(footage / "more", n=6, seed=9)
        pipeline.run([str(footage)], place, load(None, list(SETTINGS)))
        ran = client.post(f"{WS}/triggers/run").json()
        (run,) = ran["runs"]
        assert run["first_row"] == n_before
        assert 0 < len(run["rows"]) <= 3
        assert client.get(f"{WS}/collections/watch").json()["rows"] == run["rows"]
        again = client.post(f"{WS}/triggers/run").json()
        assert again["runs"] == []  # nothing came since
        assert again["triggers"] == ran["triggers"] == client.get(f"{WS}/triggers").json()["triggers"]
        assert client.delete(f"{WS}/triggers/watch").status_code == 204
        assert client.get(f"{WS}/triggers").json() == {"triggers": [], "runs": []}
        assert client.get(f"{WS}/collections/watch").json()["rows"] == run["rows"]  # what it collected stays


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"quota": 0}, (422, "BadRequest")), ({"threshold": 2}, (422, "BadRequest")), ({"mode": 0}, (422, "BadRequest")),
     ({"filter": {"column": "labl", "eq": 1}}, (404, "UnknownColumn")), ({"filter": {"x": 1}}, (400, "BadFilter")),
     ({"campaign": "none"}, (404, "UnknownName"))],
)  # fmt: skip
def test_a_trigger_that_cannot_be_is_refused(
    client: TestClient, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    start(client)
    assert code(client.post(f"{WS}/triggers", json={"name": "watch", "campaign": "dusk", **body})) == expected
    assert client.get(f"{WS}/triggers").json()["triggers"] == []
