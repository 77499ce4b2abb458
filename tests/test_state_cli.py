"""`curator tags`, `collections`, `decisions`, `state` and `token`: what the functions say, in words and JSON."""

from __future__ import annotations

import getpass
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curator.cli import app
from curator.cli.deciding import person
from curator.state import open_state
from tests.small import small_root
from tests.test_cli import as_json, call, told


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_root() / "street", tmp_path / "street"))


def test_tags_are_given_listed_renamed_and_taken(place: Path) -> None:
    made = as_json("tags", "-w", place, "--add", "night", "--rows", "3, 1")
    with open_state(place) as state:
        assert made == state.decision(1).to_json()
        assert (made["who"], made["rows"]) == (person(), [3, 1])
        by_filter = as_json("tags", "-w", place, "--add", "low", "--filter", '{"column": "row", "lt": 4}')
        assert by_filter["rows"] == [0, 1, 2, 3]
        assert as_json("tags", "-w", place) == {"tags": [{"name": "low", "count": 4}, {"name": "night", "count": 2}]}
        call("tags", "-w", place, "--rename", "night", "dark")
        call("tags", "-w", place, "--remove", "dark", "--filter", '{"tag": "low"}')
        assert state.tags() == [("low", 4)]
    assert call("tags", "-w", place).split() == ["4", "low"]


def test_collections_from_making_to_deleting(place: Path) -> None:
    call("collections", "-w", place, "--create", "empty")
    call("collections", "-w", place, "--create", "edge", "--rows", "5,2")
    call("collections", "-w", place, "--add", "edge", "--rows", "7")
    call("collections", "-w", place, "--remove", "edge", "--rows", "5")
    call("collections", "-w", place, "--rename", "edge", "odd")
    assert as_json("collections", "-w", place, "--show", "odd") == {"name": "odd", "rows": [2, 7], "total": 2}
    assert call("collections", "-w", place, "--show", "odd").split() == ["2", "7"]
    listed = {"collections": [{"name": "empty", "count": 0}, {"name": "odd", "count": 2}]}
    assert as_json("collections", "-w", place) == listed
    gone = as_json("collections", "-w", place, "--delete", "odd")
    assert as_json("collections", "-w", place)["collections"] == [{"name": "empty", "count": 0}]
    call("decisions", "-w", place, "--undo", gone["id"])
    assert as_json("collections", "-w", place) == listed


def test_a_collection_with_rows_that_are_not_there_is_not_made(place: Path) -> None:
    assert "no row 999" in told("collections", "-w", place, "--create", "edge", "--rows", "999", code=2)
    assert as_json("collections", "-w", place) == {"collections": []}


def test_decisions_are_listed_undone_and_redone(place: Path) -> None:
    call("tags", "-w", place, "--add", "night", "--rows", "1")
    call("tags", "-w", place, "--add", "rain", "--rows", "1,2")
    call("decisions", "-w", place, "--undo", 1)
    assert as_json("tags", "-w", place)["tags"] == [{"name": "rain", "count": 2}]
    with open_state(place) as state:
        listed = [one.to_json() for one in state.decisions(include_undone=True)]
    assert as_json("decisions", "-w", place) == {"decisions": listed, "before": None}
    assert [one["id"] for one in as_json("decisions", "-w", place, "--row", 2)["decisions"]] == [2]
    assert as_json("decisions", "-w", place, "--limit", 1)["before"] == 2
    shown = call("decisions", "-w", place).splitlines()
    assert "tag rain: 2 rows" in shown[0]
    assert f"tag night: 1 rows  (undone by {person()})" in shown[1]
    assert as_json("decisions", "-w", place, "--redo", 1)["undone_at"] is None
    assert len(as_json("tags", "-w", place)["tags"]) == 2
    assert "no decision 9" in told("decisions", "-w", place, "--undo", 9, code=2)


def test_the_state_goes_out_and_in_again_and_is_checked(place: Path, tmp_path: Path) -> None:
    other, file = Path(shutil.copytree(place, tmp_path / "other")), tmp_path / "out.jsonl"
    call("tags", "-w", place, "--add", "夜", "--rows", "1")
    with open_state(place) as state:
        state.decide("review", rows=[1], value="skip", subject="queue", note="line\u2028end", who="ann")
    assert as_json("state", "-w", place, "--export", file) == {"path": str(file), "lines": 2}
    assert as_json("state", "-w", other, "--import", file) == {"decisions": 2, "documents": 0, "known": 0}
    assert as_json("state", "-w", other, "--import", file) == {"decisions": 0, "documents": 0, "known": 2}
    checked = {"decisions": 2, "tags": 1, "collections": 0, "is_consistent": True}
    assert as_json("state", "-w", other, "--check") == checked
    assert as_json("state", "-w", other) == checked | {"is_consistent": None}
    with open_state(other) as state:
        assert state.decision(2).note == "line\u2028end"
        with state._database.write() as connection:
            connection.execute("DELETE FROM holds")
    assert json.loads(call("state", "-w", other, "--check", "--json", code=1))["is_consistent"] is False


def test_a_file_with_a_raw_line_separator_is_taken_in(place: Path, tmp_path: Path) -> None:
    line = {"uuid": "u", "at": 1, "who": "ann", "kind": "tag", "subject": "a", "rows": [1], "value": None,
            "note": "a\u2028b", "undone_at": None, "undone_by": None}  # fmt: skip
    file = tmp_path / "in.jsonl"
    file.write_text('{"curator_state": 1}\n' + json.dumps({"decision": line}, ensure_ascii=False), encoding="utf-8")
    assert as_json("state", "-w", place, "--import", file)["decisions"] == 1


def test_a_file_that_is_no_export(place: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    assert "cannot read" in told("state", "-w", place, "--import", tmp_path / "odd", code=2)
    assert "cannot read" in told("state", "-w", place, "--import", tmp_path / "nothing", code=2)
    (tmp_path / "odd").write_text("{}")
    assert "line 1 is not" in told("state", "-w", place, "--import", tmp_path / "odd", code=2)


def test_looking_makes_no_file(place: Path) -> None:
    for command in ("tags", "collections", "decisions", "state"):
        call(command, "-w", place)
    assert not (place / "state.db").exists()


@pytest.mark.parametrize(
    ("asked", "why"), [
        (("tags", "--add", "a"), "which rows? give exactly one of --rows and --filter"),
        (("tags", "--add", "a", "--rows", "1", "--filter", "{}"), "exactly one of --rows and --filter"),
        (("tags", "--add", "a", "--rows", "one"), "rows 'one'; expected numbers with commas, such as 3,17,18"),
        (("tags", "--add", "a", "--rows", "-1"), "no row -1"),
        (("tags", "--add", "a", "--filter", "{"), "'{' is no JSON"),
        (("tags", "--add", "a", "--filter", '{"column": "row", "lt": 0}'), "is about no row; name at least one"),
        (("tags", "--add", "a", "--remove", "b", "--rows", "1"), "--add and --remove together; give one of them"),
        (("tags", "--rows", "1"), "rows without what to do with them; say --add or --remove and a name"),
        (("tags", "--add", "a\u202eb", "--rows", "1"), "invisible character U+202E"),
        (("tags", "--rename", "a", "b"), "no tag 'a'; there are: none yet"),
        (("collections", "--show", "a"), "no collection 'a'; there are: none yet"),
        (("collections", "--show", "a", "--rows", "1"), "rows without what to do with them"),
        (("collections", "--create", "a", "--delete", "b"), "--create and --delete together"),
        (("decisions", "--undo", "1", "--redo", "2"), "--undo and --redo together"),
        (("state", "--export", "a", "--check"), "--export and --check together"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(place: Path, asked: tuple[str, ...], why: str) -> None:
    assert why in told(asked[0], "-w", place, *asked[1:], code=2)
    assert not (place / "state.db").exists() or as_json("state", "-w", place)["decisions"] == 0


def test_a_broken_state_is_said_in_one_line(place: Path) -> None:
    (place / "state.db").write_bytes(b"no database " * 100)
    assert "state.db is damaged" in told("tags", "-w", place, code=1)


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    assert as_json("token", "list", "--root", tmp_path) == {"tokens": []}
    assert list(tmp_path.iterdir()) == []
    made = as_json("token", "create", "ann", "--root", tmp_path, "--role", "reviewer", "--days", 30)
    assert made["expires"] - made["created"] == pytest.approx(30 * 86_400)
    secret = call("token", "create", "ben", "--root", tmp_path, "--days", 0).strip()
    with open_state(tmp_path) as state:
        found = state.tokens.verify(made["secret"]), state.tokens.verify(secret)
        assert [one and (one.name, one.role, one.expires is None) for one in found] == [
            ("ann", "reviewer", False), ("ben", "reader", True),
        ]  # fmt: skip
        call("token", "revoke", "ann", "--root", tmp_path)
        assert state.tokens.verify(made["secret"]) is None
        assert as_json("token", "list", "--root", tmp_path) == {
            "tokens": [one.to_json() for one in state.tokens.list()]
        }
    listed = call("token", "list", "--root", tmp_path)
    assert [line.split() for line in listed.splitlines()] == [["ann", "reviewer", "ended"], ["ben", "reader", "alive"]]
    assert secret not in listed


@pytest.mark.parametrize(
    ("asked", "why"), [
        (("dance", "ann"), "token dance ann; expected create NAME, revoke NAME or list"),
        (("create",), "token create ; expected create NAME"),
        (("create", "ann", "--role", "king"), "role 'king'; expected one of reader, reviewer, admin"),
        (("create", "ann", "--days", "-1"), "a token that ends in -86400 s"),
        (("create", "ann", "--days", "inf"), "a token that ends in inf s"),
        (("revoke", "ann"), "no token 'ann' to revoke"),
    ],
)  # fmt: skip
def test_tokens_that_cannot_be_made(tmp_path: Path, asked: tuple[str, ...], why: str) -> None:
    assert why in told("token", *asked, "--root", tmp_path, code=2)
    assert f"{tmp_path / 'no'} is no folder" in told("token", "list", "--root", tmp_path / "no", code=2)


def test_who_is_the_user_of_the_machine_or_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    assert person() == "ann"

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert person() == "local"


@pytest.mark.parametrize("command", ["tags", "collections", "decisions", "state", "token"])
def test_help_shows_an_example(command: str) -> None:
    assert f"Example: curator {command}" in CliRunner().invoke(app, [command, "--help"]).output
