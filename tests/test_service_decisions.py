"""Tags, collections, decisions, state and tokens over HTTP; that the command line says the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from curator.cli import app as command_line
from curator.state import open_state
from curator.workspace import open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import small_root

WS = "/v1/workspaces/street"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "served" / "street")
    return tmp_path / "served"


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as found:
        yield found


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def tag(client: TestClient, name: str, rows: list[int], **headers: str) -> Any:
    return client.post(f"{WS}/tags/{name}/rows", json={"rows": rows}, headers=headers)


def review(client: TestClient, row: int, value: str, **more: Any) -> Any:
    return client.post(f"{WS}/decisions", json={"kind": "review", "rows": [row], "value": value, **more})


def tags_of(client: TestClient) -> dict[str, int]:
    return {one["name"]: one["count"] for one in client.get(f"{WS}/tags").json()["tags"]}


def rows_with(client: TestClient, filter: dict[str, Any]) -> list[int]:
    body = client.post(f"{WS}/rows/query", json={"filter": filter, "limit": 100, "present_only": False}).json()
    return [row["row"] for row in body["rows"]]


# -- tags --------------------------------------------------------------------------------------------------------


def test_tags_are_given_found_taken_and_given_back(client: TestClient) -> None:
    made = tag(client, "night", [3, 1, 2])
    assert made.status_code == 200
    assert (made.json()["kind"], made.json()["subject"], made.json()["rows"]) == ("tag", "night", [3, 1, 2])
    assert rows_with(client, {"tag": "night"}) == [1, 2, 3]
    client.post(f"{WS}/tags/night/rows/remove", json={"rows": [2]})
    assert rows_with(client, {"tag": "night"}) == [1, 3]
    gone = client.delete(f"{WS}/tags/night").json()
    assert tags_of(client) == {}
    client.post(f"{WS}/decisions/{gone['id']}/undo")
    assert rows_with(client, {"tag": "night"}) == [1, 3]


def test_a_filter_tags_what_it_lets_through(client: TestClient) -> None:
    asked = {"column": "label", "eq": "car"}
    made = client.post(f"{WS}/tags/cars/rows", json={"filter": asked}).json()
    assert made["n_rows"] == tags_of(client)["cars"] == len(made["rows"])
    assert made["rows"] == rows_with(client, asked)
    assert rows_with(client, {"and": [{"tag": "cars"}, {"not": asked}]}) == []


def test_a_tag_is_renamed_on_every_row(client: TestClient) -> None:
    tag(client, "nite", [1, 2])
    assert client.patch(f"{WS}/tags/nite", json={"name": "night"}).status_code == 200
    assert tags_of(client) == {"night": 2}


@pytest.mark.parametrize(
    ("body", "expected"),
    [({}, (400, "BadRequest")), ({"rows": []}, (400, "BadRequest")),
     ({"rows": [1], "filter": {"column": "label", "eq": "car"}}, (400, "BadRequest")),
     ({"rows": [99]}, (404, "UnknownRow")), ({"rows": [-1]}, (422, "BadRequest")),
     ({"rows": ["x"]}, (422, "BadRequest")),
     ({"filter": {"column": "labl", "eq": 1}}, (404, "UnknownColumn")),
     ({"filter": {"sql": "1=1"}}, (400, "BadFilter")),
     ({"filter": {"column": "label", "eq": "no such"}}, (400, "BadDecision")), ({"row": [1]}, (422, "BadRequest"))],
)  # fmt: skip
def test_which_rows_has_to_be_said(client: TestClient, body: dict[str, Any], expected: tuple[int, str]) -> None:
    assert code(client.post(f"{WS}/tags/night/rows", json=body)) == expected
    assert tags_of(client) == {}


@pytest.mark.parametrize(
    "name",
    ["%20", "..", "a%00b", "a%0D%0Ab", "ni%E2%80%8Bght", "%E2%80%AEthgin", "night%EF%BB%BF", "%ED%A0%80", "a" * 101,
     "n%C2%ADight", "%F3%A0%81%81"],
)  # fmt: skip
def test_names_that_hide_something_are_refused(client: TestClient, name: str) -> None:
    answer = client.post(f"{WS}/tags/{name}/rows", json={"rows": [1]})
    assert answer.status_code in (400, 404), answer.text
    assert tags_of(client) == {}


def test_names_that_look_alike_are_one_or_refused(client: TestClient) -> None:
    tag(client, "caf%C3%A9", [1])
    tag(client, "cafe%CC%81", [2])  # the same letters, composed otherwise
    assert tags_of(client) == {"café": 2}
    assert code(tag(client, "CAF%C3%89", [3])) == (409, "NameTaken")
    assert code(tag(client, "%EF%BD%83af%C3%A9", [3])) == (409, "NameTaken")  # a full-width c


def test_a_name_is_a_value_and_no_query(client: TestClient) -> None:
    tag(client, "x'); DROP TABLE holds; --", [1])
    tag(client, "%25_", [2])
    assert tags_of(client) == {"x'); DROP TABLE holds; --": 1, "%_": 1}
    assert rows_with(client, {"tag": "%_"}) == [2]


def test_what_is_not_there_cannot_be_changed(client: TestClient) -> None:
    answers = [
        client.post(f"{WS}/tags/none/rows/remove", json={"rows": [1]}),
        client.patch(f"{WS}/tags/none", json={"name": "b"}),
        client.delete(f"{WS}/tags/none"), client.get(f"{WS}/collections/none"), client.delete(f"{WS}/collections/none"),
        client.patch(f"{WS}/collections/none", json={"name": "b"}),
        client.post(f"{WS}/collections/none/rows/remove", json={"rows": [1]}),
        client.post(f"{WS}/decisions/7/undo"), client.post(f"{WS}/decisions/7/redo"), client.delete("/v1/tokens/none"),
    ]  # fmt: skip
    assert {answer.status_code for answer in answers} == {404}, [answer.text for answer in answers]


# -- collections -------------------------------------------------------------------------------------------------


def test_collections_are_made_filled_renamed_and_deleted(client: TestClient) -> None:
    made = client.post(f"{WS}/collections", json={"name": "edge cases", "rows": [5, 3]})
    assert made.status_code == 201
    client.post(f"{WS}/collections/edge%20cases/rows", json={"rows": [4, 3]})
    body = client.get(f"{WS}/collections/edge%20cases").json()
    assert (body["rows"], body["total"]) == ([5, 4, 3], 3)  # the newest place of a row counts
    page = client.get(f"{WS}/collections/edge%20cases?offset=1&limit=1").json()
    assert (page["rows"], page["total"]) == ([4], 3)
    assert code(client.post(f"{WS}/collections", json={"name": "Edge Cases"})) == (409, "NameTaken")
    client.patch(f"{WS}/collections/edge%20cases", json={"name": "edges"})
    assert client.get(f"{WS}/collections").json() == {"collections": [{"name": "edges", "count": 3}]}
    gone = client.delete(f"{WS}/collections/edges").json()
    assert client.get(f"{WS}/collections").json() == {"collections": []}
    client.post(f"{WS}/decisions/{gone['id']}/undo")
    assert client.get(f"{WS}/collections/edges").json()["rows"] == [5, 4, 3]


def test_a_collection_is_an_example_of_a_search(client: TestClient) -> None:
    client.post(f"{WS}/collections", json={"name": "edges", "rows": [5, 3]})
    asked = {"positives": [{"collection": "edges"}], "k": 31}
    hits = {hit["row"] for hit in client.post(f"{WS}/search", json=asked).json()["hits"]}
    assert hits & {5, 3} == set()
    assert hits


# -- decisions ---------------------------------------------------------------------------------------------------


def test_a_decision_has_who_when_and_what(client: TestClient) -> None:
    made = review(client, 4, "accept", subject="dusk", note="clearly one")
    assert made.status_code == 201
    body = made.json()
    assert (body["kind"], body["rows"], body["value"], body["subject"], body["note"]) == (
        "review", [4], "accept", "dusk", "clearly one",
    )  # fmt: skip
    assert body["who"]
    assert body["undone_at"] is None
    assert client.get(f"{WS}/decisions").json()["decisions"] == [body]


def test_undo_and_redo_are_seen_by_all(client: TestClient) -> None:
    number = review(client, 4, "accept").json()["id"]
    undone = client.post(f"{WS}/decisions/{number}/undo").json()
    assert undone["undone_by"]
    assert client.get(f"{WS}/decisions").json()["decisions"] == []
    assert len(client.get(f"{WS}/decisions?include_undone=true").json()["decisions"]) == 1
    assert client.post(f"{WS}/decisions/{number}/undo").json() == undone  # twice is once
    assert client.post(f"{WS}/decisions/{number}/redo").json()["undone_at"] is None
    assert len(client.get(f"{WS}/decisions").json()["decisions"]) == 1


def test_decisions_are_found_by_what_they_are_about_and_paged(client: TestClient) -> None:
    for row in range(5):
        review(client, row, "accept", subject="dusk")
    tag(client, "night", [2])
    found = client.get(f"{WS}/decisions?kind=review&row=2").json()["decisions"]
    assert [one["rows"] for one in found] == [[2]]
    first = client.get(f"{WS}/decisions?subject=dusk&limit=3").json()
    rest = client.get(f"{WS}/decisions?subject=dusk&limit=3&before={first['before']}").json()
    assert [one["rows"][0] for one in first["decisions"] + rest["decisions"]] == [4, 3, 2, 1, 0]
    assert rest["before"] is None
    assert client.get(f"{WS}/decisions?who=nobody").json()["decisions"] == []


def test_the_same_key_is_the_same_decision(client: TestClient) -> None:
    sent: Any = {"json": {"kind": "review", "rows": [4], "value": "accept"}, "headers": {"Idempotency-Key": "a1"}}
    first, second = (client.post(f"{WS}/decisions", **sent).json() for _ in range(2))
    assert first == second
    assert len(client.get(f"{WS}/decisions").json()["decisions"]) == 1
    other = {"json": {"kind": "review", "rows": [5], "value": "accept"}, "headers": {"Idempotency-Key": "a1"}}
    assert code(client.post(f"{WS}/decisions", **other)) == (409, "Conflict")  # type: ignore[arg-type]
    assert tag(client, "night", [1], **{"Idempotency-Key": "b1"}).json() == tag(
        client, "night", [1], **{"Idempotency-Key": "b1"}
    ).json()  # fmt: skip


def test_a_decision_after_another_that_was_not_seen_is_a_conflict_with_who_and_when(root: Path) -> None:
    with open_state(root) as state:
        secrets = [state.tokens.create(name, "reviewer")[1] for name in ("ann", "bob")]
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as client:
        ann, bob = ({"Authorization": f"Bearer {secret}"} for secret in secrets)
        sent: Any = {"kind": "review", "rows": [4], "value": "accept", "expect": 0}
        assert client.post(f"{WS}/decisions", json=sent, headers=ann).json()["who"] == "ann"
        answer = client.post(f"{WS}/decisions", json={**sent, "value": "discard"}, headers=bob)
        assert code(answer) == (409, "Conflict")
        assert answer.json()["error"]["message"].startswith("ann decided about row 4 at 2")
        seen = client.get(f"{WS}/decisions?row=4").json()["decisions"][0]["id"]
        again = client.post(f"{WS}/decisions", json={**sent, "value": "discard", "expect": seen}, headers=bob)
        assert (again.status_code, again.json()["who"]) == (201, "bob")


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"kind": "review", "rows": [1], "value": "maybe"}, (400, "BadRequest")),
     ({"kind": "review", "rows": [1]}, (400, "BadRequest")),
     ({"kind": "pair", "rows": [1, 2], "value": "accept"}, (400, "BadRequest")),
     ({"kind": "pair", "rows": [1], "value": "same"}, (400, "BadDecision")),
     ({"kind": "not_duplicate", "rows": [1, 1]}, (400, "BadDecision")),
     ({"kind": "keep", "rows": [1, 2, 3]}, (400, "BadDecision")),
     ({"kind": "tag", "rows": [1]}, (422, "BadRequest")),
     ({"kind": "review", "rows": [], "value": "accept"}, (422, "BadRequest")),
     ({"kind": "label", "rows": [99], "value": "bus"}, (404, "UnknownRow")),
     ({"kind": "label", "rows": [1], "value": "x" * 30_000}, (400, "BadDecision")),
     ({"kind": "label", "rows": [1], "note": "x" * 2_001}, (422, "BadRequest"))],
)  # fmt: skip
def test_what_is_no_decision_is_refused(client: TestClient, body: dict[str, Any], expected: tuple[int, str]) -> None:
    assert code(client.post(f"{WS}/decisions", json=body)) == expected
    assert client.get(f"{WS}/decisions").json()["decisions"] == []


def test_duplicate_decisions_show_in_their_group(client: TestClient) -> None:
    group = client.get(f"{WS}/duplicates").json()["groups"][0]
    kept, removed = group["kept"], group["removed"][0]["row"]
    client.post(f"{WS}/decisions", json={"kind": "keep", "rows": [removed, kept]})
    client.post(f"{WS}/decisions", json={"kind": "not_duplicate", "rows": [kept, removed]})
    shown = next(one for one in client.get(f"{WS}/duplicates").json()["groups"] if one["kept"] == kept)
    assert (shown["chosen"], shown["not_duplicates"]) == (removed, [[kept, removed]])


def test_a_group_is_confirmed_once_every_removed_image_of_it_is_accepted(client: TestClient) -> None:
    groups = client.get(f"{WS}/duplicates?order=largest").json()
    largest = groups["groups"][0]
    removed = [one["row"] for one in largest["removed"]]
    body = {"kind": "review", "value": "accept", "subject": "duplicates"}

    def confirmed() -> tuple[int, list[int]]:
        told = client.get(f"{WS}/duplicates?order=largest").json()
        return told["n_confirmed"], [one["kept"] for one in told["groups"] if one["is_confirmed"]]

    assert (groups["newest"], confirmed()) == (0, (0, []))
    client.post(f"{WS}/decisions", json={**body, "rows": removed, "value": "skip"})
    client.post(f"{WS}/decisions", json={**body, "rows": removed, "subject": "another queue"})
    client.post(f"{WS}/decisions", json={**body, "rows": removed[1:] or [largest["kept"]]})
    assert confirmed() == (0, [])
    last = client.post(f"{WS}/decisions", json={**body, "rows": removed}).json()["id"]
    assert confirmed() == (1, [largest["kept"]])
    assert client.get(f"{WS}/duplicates").json()["newest"] == last
    client.post(f"{WS}/decisions/{last}/undo")
    assert confirmed() == (0, [])


# -- state and tokens --------------------------------------------------------------------------------------------


def test_state_goes_out_and_into_another_workspace(client: TestClient, root: Path) -> None:
    tag(client, "night", [1, 2])
    number = review(client, 4, "accept").json()["id"]
    client.post(f"{WS}/decisions/{number}/undo")
    text = client.get(f"{WS}/state")
    assert text.headers["content-type"].startswith("application/x-ndjson")
    shutil.copytree(root / "street", root / "copy", ignore=shutil.ignore_patterns("state.db*"))
    other = "/v1/workspaces/copy"
    assert client.post(f"{other}/state", content=text.content).json() == {"decisions": 2, "documents": 0, "known": 0}
    assert client.post(f"{other}/state", content=text.content).json() == {"decisions": 0, "documents": 0, "known": 2}
    assert client.get(f"{other}/state").text == text.text
    assert client.get(f"{other}/tags").json() == client.get(f"{WS}/tags").json()


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"[" * 100_000, b'{"curator_state": 1}\n{"decision": {}}', b'{"curator_state": 99}']
)
def test_what_is_no_export_is_refused_whole(client: TestClient, text: bytes) -> None:
    assert code(client.post(f"{WS}/state", content=text)) == (400, "BadDecision")
    assert client.get(f"{WS}/decisions").json()["decisions"] == []


def test_a_bad_line_takes_in_nothing(client: TestClient) -> None:
    tag(client, "night", [1])
    text = client.get(f"{WS}/state").text
    client.delete(f"{WS}/tags/night")
    before = client.get(f"{WS}/state").text
    other = text.replace(json.loads(text.splitlines()[1])["decision"]["uuid"], "another-1")
    assert code(client.post(f"{WS}/state", content=f"{other}nonsense\n")) == (400, "BadDecision")
    assert client.get(f"{WS}/state").text == before


def test_a_token_is_shown_once_used_and_revoked(client: TestClient) -> None:
    made = client.post("/v1/tokens", json={"name": "ann", "role": "reader", "days": 1})
    assert made.status_code == 201
    secret = made.json()["secret"]
    listed = client.get("/v1/tokens").json()["tokens"]
    assert [(one["name"], one["role"], one["is_alive"]) for one in listed] == [("ann", "reader", True)]
    assert secret not in client.get("/v1/tokens").text
    held = {"Authorization": f"Bearer {secret}"}
    assert client.get("/v1/session", headers=held).json()["who"] == "ann"
    assert code(client.post("/v1/tokens", json={"name": "ann", "role": "admin"})) == (409, "NameTaken")
    assert code(client.post("/v1/tokens", json={"name": "bob", "role": "owner"})) == (422, "BadRequest")
    assert code(client.post("/v1/tokens", json={"name": "bob", "role": "admin", "days": 0})) == (422, "BadRequest")
    assert client.delete("/v1/tokens/ann").json()["is_alive"] is False
    assert code(client.get("/v1/session", headers=held)) == (401, "Unauthorized")
    assert client.post("/v1/tokens", json={"name": "ann", "role": "admin"}).status_code == 201


# -- both doors --------------------------------------------------------------------------------------------------


def said(*arguments: str) -> Any:
    """What the command line prints."""
    result = CliRunner().invoke(command_line, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_line_says_what_the_service_answers(client: TestClient, root: Path) -> None:
    place = ("-w", str(root / "street"))
    tag(client, "night", [3, 1])
    client.post(f"{WS}/collections", json={"name": "edges", "rows": [5, 3]})
    review(client, 4, "accept", subject="dusk")
    client.post("/v1/tokens", json={"name": "ann", "role": "reader"})
    asked = {"positives": [{"row": 0}, {"row": 4}], "negatives": [{"row": 9}], "k": 5, "fields": ["uri"],
             "filter": {"column": "label", "eq": "car"}}  # fmt: skip
    found = client.post(f"{WS}/search", json=asked).json()
    found.pop("cursor")
    file = str(open_workspace(root / "street").path / "query.jpg")
    Path(file).write_bytes(client.get(f"{WS}/images/4?size=original").content)
    have = client.post(f"{WS}/search/near-duplicates/upload", files={"file": Path(file).read_bytes()}).json()
    pairs = {
        ("tags", *place): client.get(f"{WS}/tags").json(),
        ("collections", *place): client.get(f"{WS}/collections").json(),
        ("collections", *place, "--show", "edges"): client.get(f"{WS}/collections/edges").json(),
        ("decisions", *place): client.get(f"{WS}/decisions?include_undone=true&limit=20").json(),
        ("columns", *place): client.get(f"{WS}/columns").json(),
        ("show", "3", *place): client.get(f"{WS}/rows/3").json(),
        ("why", "3", *place): client.get(f"{WS}/rows/3/why").json(),
        ("token", "list", "--root", str(root)): client.get("/v1/tokens").json(),
        ("search", *place, "--row", "0", "--row", "4", "--not-row", "9", "-k", "5", "--filter",
         json.dumps(asked["filter"])): found,
        ("have", file, *place): have,
        ("have", "3", *place): client.post(
            f"{WS}/search/near-duplicates", json={"example": {"row": 3}, "fields": ["uri"]}
        ).json(),
        ("snapshot", *place): client.get(f"{WS}/snapshots").json(),
    }  # fmt: skip
    for arguments, answered in pairs.items():
        printed = said(*arguments)
        (alone,) = answered if len(answered) == 1 else (None,)  # a list of the command is an object's only value here
        assert printed == (answered if isinstance(printed, dict) else answered[alone]), arguments


def test_what_one_door_writes_the_other_shows(client: TestClient, root: Path) -> None:
    place = ("-w", str(root / "street"))
    made = said("tags", *place, "--add", "night", "--rows", "3,1")
    assert client.get(f"{WS}/decisions").json()["decisions"] == [made]
    assert rows_with(client, {"tag": "night"}) == [1, 3]
    undone = client.post(f"{WS}/decisions/{made['id']}/undo").json()
    assert said("decisions", *place)["decisions"] == [undone]
    redone = said("decisions", *place, "--redo", str(made["id"]))
    assert client.get(f"{WS}/decisions").json()["decisions"] == [redone]
    said("collections", *place, "--create", "edges", "--filter", '{"tag": "night"}')
    assert client.get(f"{WS}/collections/edges").json()["rows"] == [1, 3]
    exported = root / "decisions.jsonl"
    said("state", *place, "--export", str(exported))
    assert exported.read_text() == client.get(f"{WS}/state").text
