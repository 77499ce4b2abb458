"""Decisions and documents out and in again as JSON lines; tokens and jobs stay where they are.

Every line has an identity of its own, so that the same file read twice, or two
files that overlap, give each decision once. What is taken in comes after what is
there: where both are about the same row, what was taken in holds.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any, NoReturn

from curator.errors import BadDecision, BadName, Conflict
from curator.state import decisions
from curator.state.database import Database
from curator.state.decisions import Wish
from curator.state.documents import MAX_BODY
from curator.state.names import checked

FORMAT = 1
MAX_WHO = 200
LATEST = 1e11  # seconds since 1970; some 3,000 years from now


def lines(database: Database) -> Iterator[str]:
    """A head line, then every decision and every version of every document, oldest first; ASCII, so that any
    program finds the same line ends."""
    yield json.dumps({"curator_state": FORMAT})
    for row in database.read(f"SELECT {decisions.COLUMNS} FROM decisions d ORDER BY d.id"):
        body = decisions.of_row(row).to_json()
        yield json.dumps({"decision": {key: body[key] for key in _DECISION}})
    for row in database.read(
        "SELECT kind, name, version, body, who, at FROM documents ORDER BY at, kind, name, version"
    ):
        kind, name, version, body, who, at = row
        told = {"kind": kind, "name": name, "version": version, "who": who, "at": at}
        yield json.dumps({"document": told | {"body": None if body is None else json.loads(body)}})


_DECISION = ("uuid", "at", "who", "kind", "subject", "rows", "value", "note", "undone_at", "undone_by")
_DOCUMENT = ("kind", "name", "version", "who", "at", "body")
_TYPES: dict[str, tuple[type, ...]] = {
    "uuid": (str,), "at": (int, float), "who": (str,), "kind": (str,), "subject": (str,), "rows": (list,),
    "note": (str,), "undone_at": (int, float, type(None)), "undone_by": (str, type(None)),
    "name": (str,), "version": (int,),
}  # fmt: skip


def read(database: Database, text: Iterator[str]) -> dict[str, int]:
    """Take in what is not known yet; all lines or none.

    Raises:
        BadDecision: a line is not one of ours; it is named by its number.
        Conflict: a document has the same version with other content here.
    """
    parsed = [_parsed(at, line) for at, line in enumerate(text, start=1) if line.strip()]
    if not parsed or parsed[0][1].get("curator_state") != FORMAT:
        raise BadDecision(f'line 1 is not {{"curator_state": {FORMAT}}}; expected a file of `curator state --export`')
    counts = {"decisions": 0, "documents": 0, "known": 0}
    with database.write() as connection:
        for at, body in parsed[1:]:
            try:
                what = _take(connection, body)
            except (BadDecision, BadName, Conflict) as error:
                kind = Conflict if isinstance(error, Conflict) else BadDecision
                raise kind(f"line {at}: {error}") from error
            counts[what] += 1
    return counts


def _parsed(at: int, line: str) -> tuple[int, dict[str, Any]]:
    try:
        body = json.loads(line, parse_constant=_no_constant)
        line.encode()
    except (ValueError, RecursionError) as error:
        raise BadDecision(f"line {at} is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadDecision(f"line {at} is a {type(body).__name__}; expected an object")
    return at, body


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _take(connection: sqlite3.Connection, body: dict[str, Any]) -> str:
    if "decision" in body:
        return _take_decision(connection, _fields(body["decision"], _DECISION))
    if "document" in body:
        return _take_document(connection, _fields(body["document"], _DOCUMENT))
    raise BadDecision("neither a decision nor a document")


def _take_decision(connection: sqlite3.Connection, given: dict[str, Any]) -> str:
    if not 1 <= len(given["uuid"]) <= 100:
        raise BadDecision(f"uuid of {len(given['uuid'])} characters; expected 1 to 100")
    if connection.execute("SELECT 1 FROM decisions WHERE uuid = ?", (given["uuid"],)).fetchone():
        return "known"
    if not all(isinstance(row, int) and not isinstance(row, bool) for row in given["rows"]):
        raise BadDecision("rows hold something that is no row number")
    wish = Wish(given["kind"], given["rows"], given["value"], given["subject"], given["note"], given["who"])
    made = decisions.add(connection, wish, at=given["at"], identity=given["uuid"])
    if given["undone_at"] is not None:
        decisions.set_undone(connection, made.id, given["undone_by"] or "unknown", at=given["undone_at"])
    return "decisions"


def _take_document(connection: sqlite3.Connection, given: dict[str, Any]) -> str:
    kind, name, version, body = given["kind"], given["name"], given["version"], given["body"]
    if not 1 <= version < 2**53:
        raise BadDecision(f"version is {version}; expected a number from 1")
    if not kind or checked(name, kind) != name:
        raise BadDecision(f"the name {name!r} of a {kind or 'document of no kind'} is not in its plain form")
    told = None if body is None else decisions.told_as_json(body, f"{kind} {name!r}", MAX_BODY)
    made = (kind, name, version, told, given["who"], given["at"])
    known = connection.execute(
        "SELECT body, who FROM documents WHERE kind = ? AND name = ? AND version = ?", made[:3]
    ).fetchone()
    if known is None:
        connection.execute("INSERT INTO documents (kind, name, version, body, who, at) VALUES (?, ?, ?, ?, ?, ?)", made)
        return "documents"
    if known != (told, given["who"]):
        raise Conflict(
            f"the {kind} {name!r} has another version {version} here, by {known[1]}; take its lines out of the file"
        )
    return "known"


def _fields(given: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict) or set(given) != set(names):
        raise BadDecision(f"expected exactly {', '.join(names)}")
    for name in names:
        kinds = _TYPES.get(name)
        if kinds and (not isinstance(given[name], kinds) or isinstance(given[name], bool)):
            raise BadDecision(f"{name} is {str(given[name])[:50]!r}; expected {' or '.join(k.__name__ for k in kinds)}")
        if isinstance(given[name], float) and not (math.isfinite(given[name]) and 0 <= given[name] < LATEST):
            raise BadDecision(f"{name} is {given[name]}; expected seconds since 1970")
    for name in ("who", "undone_by"):
        if len(given.get(name) or "") > MAX_WHO:
            raise BadDecision(f"{name} of {len(given[name])} characters; at most {MAX_WHO}")
    return given
