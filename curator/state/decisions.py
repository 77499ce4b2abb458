"""The log of decisions: who, when, what about which rows; undo, redo, and what holds now.

A decision is about cells (area, subject, row): a tag on a row, a place in a
collection, a review of a row in a campaign. What holds in a cell is said by its
newest decision that is not undone; the tables `touches` and `holds` keep that
answer in the same transaction, and equal a replay of the log.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from curator.errors import BadDecision, BadName, Conflict, UnknownName
from curator.state.database import Database
from curator.state.names import checked

MAX_ROWS = 1_000_000
MAX_NOTE = 2_000
MAX_SUBJECT = 300
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
NAMED = {
    "tag": "tag", "untag": "tag", "rename_tag": "tag", "collect": "collection", "uncollect": "collection",
    "create_collection": "collection", "delete_collection": "collection", "rename_collection": "collection",
}  # fmt: skip
"""Kinds whose subject is a name that people read -> what is called so."""
VALUES = {"review": ("accept", "discard", "skip"), "pair": ("same", "different", "unsure")}
EXISTS = "collection_exists"  # area whose cell says that a collection is there, even empty


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one subject that a decision is about."""

    area: str
    subject: str
    is_on: bool
    rows: list[int]  # none twice


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


COLUMNS = "d.id, d.uuid, d.at, d.who, d.kind, d.subject, d.rows, d.value, d.note, d.undone_at, d.undone_by"


def of_row(row: tuple[Any, ...]) -> Decision:
    """A decision from its line in the table."""
    number, identity, at, who, kind, subject, rows, value, note, undone_at, undone_by = row
    return Decision(
        number, identity, at, who, kind, subject, tuple(json.loads(rows)), json.loads(value), note, undone_at, undone_by
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """A decision that is not written yet.

    Raises:
        BadDecision: an unknown kind, too many rows, a value that is no JSON.
        BadName: a name that cannot be one.
    """

    kind: str
    rows: list[int]
    value: Any
    subject: str
    note: str
    who: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadDecision(f"kind {self.kind!r}; expected one of {', '.join(sorted(KINDS))}")
        _check_rows(self.kind, self.rows)
        if len(self.note) > MAX_NOTE:
            raise BadDecision(f"a note of {len(self.note)} characters; at most {MAX_NOTE}")
        if len(self.subject) > MAX_SUBJECT:
            raise BadDecision(f"a subject of {len(self.subject)} characters; at most {MAX_SUBJECT}")
        if (expected := VALUES.get(self.kind)) and self.value not in expected:
            raise BadDecision(f"a {self.kind} says {str(self.value)[:50]!r}; expected {', '.join(expected)}")
        if self.kind in NAMED:
            _check_name(self.subject, NAMED[self.kind])
        if self.kind.startswith("rename"):
            _check_name(self.value, NAMED[self.kind])
            if self.value == self.subject:
                raise BadName(f"the {NAMED[self.kind]} {self.subject!r} is called so already; choose another name")

    @property
    def told(self) -> str:
        """The value as JSON; raises BadDecision."""
        return told_as_json(self.value, "value", MAX_VALUE)

    def is_of(self, known: Decision) -> bool:
        """Whether it says what a decision says; the rows of a move are found by it, not asked for."""
        rows = known.rows if self.kind in MOVES and not self.rows else tuple(self.rows)
        same = (known.kind, known.subject, known.rows) == (self.kind, self.subject, rows)
        return same and json.dumps(known.value) == json.dumps(json.loads(self.told))


def add(
    connection: sqlite3.Connection,
    wish: Wish,
    *,
    key: str | None = None,
    expect: int | None = None,
    at: float | None = None,
    identity: str | None = None,
) -> Decision:
    """Write a decision and what holds because of it.

    Raises:
        Conflict: somebody decided about the same after `expect`.
    """
    told = wish.told
    touched = cells(wish.kind, wish.subject, wish.rows, wish.value)
    if expect is not None:
        # a collection that somebody else put other rows into is no conflict
        _refuse_later(connection, [some for some in touched if wish.kind != "collect" or some.area != EXISTS], expect)
    cursor = connection.execute(
        "INSERT INTO decisions (uuid, at, who, kind, subject, rows, value, note, key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (identity or str(uuid.uuid4()), time.time() if at is None else at, wish.who, wish.kind, wish.subject,
         _json(wish.rows), told, wish.note, key),
    )  # fmt: skip
    number = int(cursor.lastrowid or 0)
    for some in touched:
        _touch(connection, number, some)
    return get(connection, number)


def set_undone(connection: sqlite3.Connection, number: int, who: str | None, *, at: float | None = None) -> Decision:
    """Undo a decision, or with no `who` take the undoing back; twice is once.

    Raises:
        UnknownName: there is no such decision.
    """
    found = get(connection, number)
    if (found.undone_at is not None) == (who is not None):
        return found
    when = None if who is None else time.time() if at is None else at
    connection.execute("UPDATE decisions SET undone_at = ?, undone_by = ? WHERE id = ?", (when, who, number))
    for some in cells(found.kind, found.subject, found.rows, found.value):
        _settle(connection, some)
    return get(connection, number)


def get(connection: sqlite3.Connection, number: int) -> Decision:
    """One decision.

    Raises:
        UnknownName: there is none of that number.
    """
    found = _by(connection, "id", number) if 0 <= number < 2**63 else None
    if found is None:
        raise UnknownName(f"no decision {number}; `curator decisions` lists them")
    return found


def of_key(connection: sqlite3.Connection, key: str) -> Decision | None:
    """The decision that was sent with this key."""
    return _by(connection, "key", key)


def names(connection: sqlite3.Connection, area: str) -> list[str]:
    """Names of what has a row, in order."""
    lines = connection.execute("SELECT name FROM subjects WHERE area = ? AND n > 0 ORDER BY name", (area,))
    return [name for (name,) in lines]


def members(connection: sqlite3.Connection, area: str, subject: str) -> list[int]:
    """Rows of a tag or collection, in the order they came."""
    lines = connection.execute(
        "SELECT h.row FROM subjects s JOIN holds h ON h.subject = s.id WHERE s.area = ? AND s.name = ? AND h.is_on "
        "ORDER BY h.decision, h.place", (area, subject),
    )  # fmt: skip
    return [row for (row,) in lines]


def cells(kind: str, subject: str, rows: Sequence[int], value: Any) -> list[Cells]:
    """The cells a decision is about."""
    distinct = list(dict.fromkeys(rows))
    if kind == "create_collection":
        return [Cells(EXISTS, subject, True, [0])]
    if kind == "delete_collection":
        return [Cells(EXISTS, subject, False, [0]), Cells("collection", subject, False, distinct)]
    if kind == "rename_tag":
        return [Cells("tag", subject, False, distinct), Cells("tag", str(value), True, distinct)]
    if kind == "rename_collection":
        there = [Cells(EXISTS, subject, False, [0]), Cells(EXISTS, str(value), True, [0])]
        return [*there, Cells("collection", subject, False, distinct), Cells("collection", str(value), True, distinct)]
    area, is_on = AREAS[kind]
    if kind in PAIRS:
        return [Cells(area, pair_subject(rows), True, [0])]
    if kind == "keep":
        return [Cells(area, subject, True, [int(rows[1])])]  # the cell of the image that was kept before
    put = Cells(area, subject, is_on, distinct)
    return [Cells(EXISTS, subject, True, [0]), put] if kind == "collect" else [put]


def pair_subject(rows: Sequence[int]) -> str:
    """The same for two rows in either order."""
    return ":".join(str(row) for row in sorted(int(row) for row in rows))


def replayed(database: Database) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """What the log alone says: every cell touched (area, subject, row, decision, is_on, place), and those that hold."""
    touched: set[tuple[Any, ...]] = set()
    newest: dict[tuple[str, str, int], tuple[Any, ...]] = {}
    for line in database.read(f"SELECT {COLUMNS} FROM decisions d ORDER BY d.id"):
        one = of_row(line)
        for some in cells(one.kind, one.subject, one.rows, one.value):
            for place, row in enumerate(some.rows):
                cell = (some.area, some.subject, row, one.id, int(some.is_on), place)
                touched.add(cell)
                if one.undone_at is None:
                    newest[cell[:3]] = cell
    return touched, set(newest.values())


def told_as_json(value: Any, what: str, longest: int) -> str:
    """JSON text of a value.

    Raises:
        BadDecision: it is none, or too long.
    """
    try:
        told = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadDecision(f"the {what} cannot be kept as JSON: {error}") from error
    if len(told) > longest:
        raise BadDecision(f"the {what} has {len(told)} characters; at most {longest}")
    return told


def _by(connection: sqlite3.Connection, column: str, value: Any) -> Decision | None:
    line = connection.execute(f"SELECT {COLUMNS} FROM decisions d WHERE d.{column} = ?", (value,)).fetchone()
    return None if line is None else of_row(line)


def _check_rows(kind: str, rows: Sequence[int]) -> None:
    if not rows and kind not in SPECIAL:
        raise BadDecision(f"a decision of kind {kind!r} is about no row; name at least one")
    if len(rows) > MAX_ROWS:
        raise BadDecision(f"{len(rows)} rows in one decision; at most {MAX_ROWS}")
    if min(rows, default=0) < 0 or max(rows, default=0) >= 2**53:
        raise BadDecision(f"row {min(rows) if min(rows) < 0 else max(rows)}; expected row numbers from 0")
    if (kind in PAIRS or kind == "keep") and (len(rows) != 2 or rows[0] == rows[1]):
        raise BadDecision(f"a decision of kind {kind!r} is about two different rows, got {list(rows)[:5]}")


def _check_name(name: Any, what: str) -> None:
    if not isinstance(name, str):
        raise BadName(f"the new name of a {what} is {str(name)[:50]!r}; expected text")
    if (plain := checked(name, what)) != name:
        raise BadName(f"the {what} {name!r} is not in its plain form {plain!r}")


def _json(rows: Sequence[int]) -> str:
    return json.dumps([int(row) for row in rows], separators=(",", ":"))


def _subject(connection: sqlite3.Connection, some: Cells) -> int:
    """Number of a subject, made at its first decision."""
    key = (some.area, some.subject)
    connection.execute("INSERT OR IGNORE INTO subjects (area, name) VALUES (?, ?)", key)
    return int(connection.execute("SELECT id FROM subjects WHERE area = ? AND name = ?", key).fetchone()[0])


def _touch(connection: sqlite3.Connection, number: int, some: Cells) -> None:
    """Note the cells of a decision, which is the newest and so holds in all of them."""
    subject, rows = _subject(connection, some), _json(some.rows)
    connection.execute(
        "INSERT INTO touches (subject, row, decision, is_on, place) SELECT ?, value, ?, ?, key FROM json_each(?)",
        (subject, number, some.is_on, rows),
    )
    with _counted(connection, subject, rows):
        connection.execute(
            "INSERT OR REPLACE INTO holds (subject, row, decision, is_on, place) "
            "SELECT ?, value, ?, ?, key FROM json_each(?)", (subject, number, some.is_on, rows),
        )  # fmt: skip


def _settle(connection: sqlite3.Connection, some: Cells) -> None:
    """Find again what holds in cells."""
    subject, rows = _subject(connection, some), _json(some.rows)
    with _counted(connection, subject, rows):
        connection.execute(
            "DELETE FROM holds WHERE subject = ? AND row IN (SELECT value FROM json_each(?))", (subject, rows)
        )
        connection.execute(  # CROSS: cell by cell, in the order written here
            """INSERT INTO holds (subject, row, decision, is_on, place)
            SELECT t.subject, t.row, t.decision, t.is_on, t.place FROM json_each(?2) j CROSS JOIN touches t
            ON t.subject = ?1 AND t.row = j.value AND t.decision = (
                SELECT o.decision FROM touches o CROSS JOIN decisions d ON d.id = o.decision
                WHERE o.subject = ?1 AND o.row = j.value AND d.undone_at IS NULL ORDER BY o.decision DESC LIMIT 1
            )""",
            (subject, rows),
        )


@contextmanager
def _counted(connection: sqlite3.Connection, subject: int, rows: str) -> Iterator[None]:
    """Keep the number of rows that are on, while cells change."""
    count = (
        "SELECT count(*) FROM json_each(?2) j CROSS JOIN holds h ON h.subject = ?1 AND h.row = j.value WHERE h.is_on"
    )
    (before,) = connection.execute(count, (subject, rows)).fetchone()
    yield
    (after,) = connection.execute(count, (subject, rows)).fetchone()
    connection.execute("UPDATE subjects SET n = n + ? WHERE id = ?", (after - before, subject))


def _refuse_later(connection: sqlite3.Connection, touched: Sequence[Cells], expect: int) -> None:
    for some in touched:
        line = connection.execute(
            "SELECT d.id, d.who, d.at, d.kind, h.row FROM subjects s CROSS JOIN json_each(?3) j "
            "CROSS JOIN holds h ON h.subject = s.id AND h.row = j.value CROSS JOIN decisions d ON d.id = h.decision "
            "WHERE s.area = ?1 AND s.name = ?2 AND h.decision > ?4 ORDER BY h.decision DESC LIMIT 1",
            (some.area, some.subject, _json(some.rows), min(expect, 2**63 - 1)),
        ).fetchone()
        if line is not None:
            number, who, at, kind, row = line
            about = f"row {row}" if some.area not in (EXISTS, *PAIRS) else repr(some.subject)
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
            raise Conflict(
                f"{who} decided about {about} at {when} ({kind}, decision {number}), after what you saw; "
                "look at it and decide again"
            )
