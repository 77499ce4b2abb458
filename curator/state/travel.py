"""Decisions and documents out and in again as JSON lines; tokens and jobs stay where they are.

Every line has an identity of its own, so that the same file read twice, or two
files that overlap, give each decision once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from curator.errors import BadDecision
from curator.state import decisions
from curator.state.database import Database

FORMAT = 1


def lines(database: Database) -> Iterator[str]:
    """A head line, then every decision and every version of every document, oldest first."""
    yield json.dumps({"curator_state": FORMAT})
    for row in database.read(f"SELECT {decisions.COLUMNS} FROM decisions ORDER BY id"):
        body = decisions.of_row(row).to_json()
        yield json.dumps({"decision": {key: body[key] for key in _DECISION}}, ensure_ascii=False)
    for row in database.read(
        "SELECT kind, name, version, body, who, at FROM documents ORDER BY at, kind, name, version"
    ):
        kind, name, version, body, who, at = row
        told = {"kind": kind, "name": name, "version": version, "who": who, "at": at}
        yield json.dumps({"document": told | {"body": None if body is None else json.loads(body)}}, ensure_ascii=False)


_DECISION = ("uuid", "at", "who", "kind", "subject", "rows", "value", "note", "undone_at", "undone_by")
_TYPES: dict[str, tuple[type, ...]] = {
    "uuid": (str,), "at": (int, float), "who": (str,), "kind": (str,), "subject": (str,), "rows": (list,),
    "note": (str,), "undone_at": (int, float, type(None)), "undone_by": (str, type(None)),
    "name": (str,), "version": (int,),
}  # fmt: skip


def read(database: Database, text: Iterator[str]) -> dict[str, int]:
    """Take in what is not known yet; all lines or none.

    Raises:
        BadDecision: a line is not one of ours; it is named by its number.
    """
    parsed = [_parsed(at, line) for at, line in enumerate(text, start=1) if line.strip()]
    if not parsed or parsed[0][1].get("curator_state") != FORMAT:
        raise BadDecision(f'line 1 is not {{"curator_state": {FORMAT}}}; expected a file of `curator state --export`')
    counts = {"decisions": 0, "documents": 0, "known": 0}
    with database.write() as connection:
        for at, body in parsed[1:]:
            try:
                what = _take(connection, body)
            except BadDecision as error:
                raise BadDecision(f"line {at}: {error}") from error
            counts[what] += 1
    return counts


def _parsed(at: int, line: str) -> tuple[int, dict[str, Any]]:
    try:
        body = json.loads(line)
    except ValueError as error:
        raise BadDecision(f"line {at} is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadDecision(f"line {at} is a {type(body).__name__}; expected an object")
    return at, body


def _take(connection: Any, body: dict[str, Any]) -> str:
    if "decision" in body:
        given = _fields(body["decision"], _DECISION)
        if connection.execute("SELECT 1 FROM decisions WHERE uuid = ?", (given["uuid"],)).fetchone():
            return "known"
        rows = [row for row in given["rows"] if isinstance(row, int) and not isinstance(row, bool)]
        if len(rows) != len(given["rows"]):
            raise BadDecision("rows hold something that is no row number")
        made = decisions.add(
            connection, kind=given["kind"], rows=rows, value=given["value"], subject=given["subject"],
            note=given["note"], who=given["who"], key=None, expect=None, at=float(given["at"]), identity=given["uuid"],
        )  # fmt: skip
        if given["undone_at"] is not None:
            decisions.set_undone(connection, made.id, given["undone_by"] or "unknown")
            connection.execute("UPDATE decisions SET undone_at = ? WHERE id = ?", (given["undone_at"], made.id))
        return "decisions"
    if "document" in body:
        given = _fields(body["document"], ("kind", "name", "version", "who", "at", "body"))
        told = None if given["body"] is None else json.dumps(given["body"], ensure_ascii=False, separators=(",", ":"))
        cursor = connection.execute(
            "INSERT OR IGNORE INTO documents (kind, name, version, body, who, at) VALUES (?, ?, ?, ?, ?, ?)",
            (given["kind"], given["name"], given["version"], told, given["who"], float(given["at"])),
        )
        return "documents" if cursor.rowcount else "known"
    raise BadDecision("neither a decision nor a document")


def _fields(given: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict) or set(given) != set(names):
        raise BadDecision(f"expected exactly {', '.join(names)}")
    for name in names:
        kinds = _TYPES.get(name)
        if kinds and (not isinstance(given[name], kinds) or isinstance(given[name], bool)):
            raise BadDecision(f"{name} is {str(given[name])[:50]!r}; expected {' or '.join(k.__name__ for k in kinds)}")
    return given
