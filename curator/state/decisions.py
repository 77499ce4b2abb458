"""The log of decisions: who, when, what about which rows; undo, redo, and what holds now.

A decision is about cells (area, subject, row): a tag on a row, a place in a
collection, a review of a row in a campaign. What holds in a cell is said by its
newest decision that is not undone; the table `holds` keeps that answer in the
same transaction, and equals a replay of the log.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curator.errors import BadDecision, Conflict, UnknownName
from curator.state.database import Database

MAX_ROWS = 1_000_000
MAX_NOTE = 2_000
MAX_VALUE = 20_000

AREAS: dict[str, tuple[str, bool]] = {
    "tag": ("tag", True), "untag": ("tag", False),
    "collect": ("collection", True), "uncollect": ("collection", False),
    "review": ("review", True), "label": ("label", True),
    "pair": ("pair", True), "not_duplicate": ("not_duplicate", True), "keep": ("keep", True),
}  # fmt: skip
"""Kind of a decision -> the area of its cells, and whether it puts something there or takes it away."""
PAIRS = frozenset({"pair", "not_duplicate"})  # their subject is the two rows, so that the order given does not matter
MOVES = {"rename_tag": "tag", "rename_collection": "collection", "delete_collection": "collection"}
SPECIAL = frozenset({*MOVES, "create_collection"})
KINDS = frozenset(AREAS) | SPECIAL
EXISTS = "collection_exists"  # area whose cell says that a collection is there, even empty

Touch = tuple[str, str, int, bool, int]  # area, subject, row, is_on, place


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing somebody decided."""

    id: int
    uuid: str
    at: float  # seconds since 1970
    who: str
    kind: str
    subject: str  # tag, collection, campaign, or nothing
    rows: tuple[int, ...]
    value: Any
    note: str
    undone_at: float | None
    undone_by: str | None

    def to_json(self, *, rows_up_to: int | None = None) -> dict[str, Any]:
        """Plain values; of many rows only the first, with their number."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return body | {"rows": list(self.rows[:rows_up_to]), "n_rows": len(self.rows)}


COLUMNS = "id, uuid, at, who, kind, subject, rows, value, note, undone_at, undone_by"


def of_row(row: tuple[Any, ...]) -> Decision:
    """A decision from its line in the table."""
    number, identity, at, who, kind, subject, rows, value, note, undone_at, undone_by = row
    return Decision(
        number, identity, at, who, kind, subject, tuple(json.loads(rows)), json.loads(value), note, undone_at, undone_by
    )


def add(
    connection: sqlite3.Connection,
    *,
    kind: str,
    rows: Sequence[int],
    value: Any,
    subject: str,
    note: str,
    who: str,
    key: str | None,
    expect: int | None,
    at: float | None = None,
    identity: str | None = None,
) -> Decision:
    """Write a decision and what holds because of it.

    Raises:
        BadDecision: an unknown kind, too many rows, a value that is no JSON.
        Conflict: somebody decided about the same after `expect`.
    """
    if key is not None and (known := _by(connection, "key", key)) is not None:
        if (known.kind, known.subject, known.rows) != (kind, subject, tuple(rows)):
            raise Conflict(f"the key {key!r} was used for another decision, number {known.id}; take a new key")
        return known
    if kind in MOVES and not rows:  # written down, so that a replay elsewhere moves the same ones
        rows = _members(connection, MOVES[kind], subject)
    told = _checked(kind, rows, value, note)
    touches = _touches(kind, subject, rows, value)
    if expect is not None:
        _refuse_later(connection, touches, expect)
    cursor = connection.execute(
        "INSERT INTO decisions (uuid, at, who, kind, subject, rows, value, note, key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (identity or str(uuid.uuid4()), time.time() if at is None else at, who, kind, subject,
         json.dumps([int(row) for row in rows], separators=(",", ":")), told, note, key),
    )  # fmt: skip
    number = int(cursor.lastrowid or 0)
    connection.executemany(
        "INSERT OR REPLACE INTO touches (area, subject, row, decision, is_on, place) VALUES (?, ?, ?, ?, ?, ?)",
        ((area, about, row, number, is_on, place) for area, about, row, is_on, place in touches),
    )
    connection.execute("INSERT OR REPLACE INTO holds SELECT * FROM touches WHERE decision = ?", (number,))
    found = _by(connection, "id", number)
    assert found is not None
    return found


def set_undone(connection: sqlite3.Connection, number: int, who: str | None) -> Decision:
    """Undo a decision, or with no `who` take the undoing back; twice is once.

    Raises:
        UnknownName: there is no such decision.
    """
    found = _by(connection, "id", number)
    if found is None:
        raise UnknownName(f"no decision {number}; `curator decisions` lists them")
    if (found.undone_at is not None) == (who is not None):
        return found
    at = time.time() if who is not None else None
    connection.execute("UPDATE decisions SET undone_at = ?, undone_by = ? WHERE id = ?", (at, who, number))
    settle(connection, number)
    found = _by(connection, "id", number)
    assert found is not None
    return found


def settle(connection: sqlite3.Connection, number: int) -> None:
    """Find again what holds in every cell that a decision is about."""
    cells = "SELECT area, subject, row FROM touches WHERE decision = ?"
    connection.execute(f"DELETE FROM holds WHERE (area, subject, row) IN ({cells})", (number,))
    connection.execute(
        f"""INSERT INTO holds
        SELECT t.area, t.subject, t.row, t.decision, t.is_on, t.place FROM touches t JOIN (
            SELECT a.area, a.subject, a.row, max(a.decision) AS newest
            FROM touches a JOIN decisions d ON d.id = a.decision
            WHERE d.undone_at IS NULL AND (a.area, a.subject, a.row) IN ({cells}) GROUP BY 1, 2, 3
        ) n ON (t.area, t.subject, t.row, t.decision) = (n.area, n.subject, n.row, n.newest)""",
        (number,),
    )


def replayed(database: Database) -> set[tuple[Any, ...]]:
    """What the log says holds, found the slow way; equal to the table `holds`."""
    newest: dict[tuple[str, str, int], tuple[Any, ...]] = {}
    for line in database.read(
        "SELECT t.area, t.subject, t.row, t.decision, t.is_on, t.place "
        "FROM touches t JOIN decisions d ON d.id = t.decision WHERE d.undone_at IS NULL ORDER BY t.decision"
    ):
        newest[line[:3]] = line
    return set(newest.values())


def pair_subject(rows: Sequence[int]) -> str:
    """The same for two rows in either order."""
    return ":".join(str(row) for row in sorted(int(row) for row in rows))


def _by(connection: sqlite3.Connection, column: str, value: Any) -> Decision | None:
    line = connection.execute(f"SELECT {COLUMNS} FROM decisions WHERE {column} = ?", (value,)).fetchone()
    return None if line is None else of_row(line)


def _checked(kind: str, rows: Sequence[int], value: Any, note: str) -> str:
    """The value as JSON, when the decision is one."""
    if kind not in KINDS:
        raise BadDecision(f"kind {kind!r}; expected one of {', '.join(sorted(KINDS))}")
    if not rows and kind not in SPECIAL:
        raise BadDecision(f"a decision of kind {kind!r} is about no row; name at least one")
    if len(rows) > MAX_ROWS:
        raise BadDecision(f"{len(rows)} rows in one decision; at most {MAX_ROWS}")
    if min(rows, default=0) < 0 or max(rows, default=0) >= 2**53:
        raise BadDecision(f"row {min(rows) if min(rows) < 0 else max(rows)}; expected row numbers from 0")
    if (kind in PAIRS or kind == "keep") and (len(rows) != 2 or rows[0] == rows[1]):
        raise BadDecision(f"a decision of kind {kind!r} is about two different rows, got {list(rows)[:5]}")
    if len(note) > MAX_NOTE:
        raise BadDecision(f"a note of {len(note)} characters; at most {MAX_NOTE}")
    try:
        told = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise BadDecision(f"the value cannot be kept as JSON: {error}") from error
    if len(told) > MAX_VALUE:
        raise BadDecision(f"a value of {len(told)} characters; at most {MAX_VALUE}")
    return told


def _touches(kind: str, subject: str, rows: Sequence[int], value: Any) -> list[Touch]:
    """The cells a decision is about."""
    if kind == "create_collection":
        return [(EXISTS, subject, 0, True, 0)]
    if kind == "delete_collection":
        return [(EXISTS, subject, 0, False, 0), *_put("collection", subject, rows, is_on=False)]
    if kind == "rename_tag":
        return [*_put("tag", subject, rows, is_on=False), *_put("tag", str(value), rows, is_on=True)]
    if kind == "rename_collection":
        new = str(value)
        exists: list[Touch] = [(EXISTS, subject, 0, False, 0), (EXISTS, new, 0, True, 0)]
        return exists + _put("collection", subject, rows, is_on=False) + _put("collection", new, rows, is_on=True)
    area, is_on = AREAS[kind]
    if kind in PAIRS:
        return [(area, pair_subject(rows), 0, True, 0)]
    if kind == "keep":
        return [(area, subject, int(rows[1]), True, 0)]  # the cell of the image that was kept before
    cells = _put(area, subject, rows, is_on=is_on)
    return [(EXISTS, subject, 0, True, 0), *cells] if kind == "collect" else cells


def _put(area: str, subject: str, rows: Sequence[int], *, is_on: bool) -> list[Touch]:
    return [(area, subject, int(row), is_on, place) for place, row in enumerate(dict.fromkeys(rows))]


def _members(connection: sqlite3.Connection, area: str, subject: str) -> list[int]:
    """Rows of a tag or collection, in the order they came."""
    lines = connection.execute(
        "SELECT row FROM holds WHERE area = ? AND subject = ? AND is_on ORDER BY decision, place", (area, subject)
    ).fetchall()
    return [row for (row,) in lines]


def _refuse_later(connection: sqlite3.Connection, touches: Sequence[Touch], expect: int) -> None:
    for area, about, row, *_ in touches:
        line = connection.execute(
            "SELECT d.id, d.who, d.at, d.kind FROM holds h JOIN decisions d ON d.id = h.decision "
            "WHERE h.area = ? AND h.subject = ? AND h.row = ? AND h.decision > ?",
            (area, about, row, expect),
        ).fetchone()
        if line is not None:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line[2]))
            raise Conflict(
                f"{line[1]} decided about row {row} at {when} ({line[3]}, decision {line[0]}), after what you saw; "
                "look at it and decide again"
            )
