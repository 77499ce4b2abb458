"""`State`: decisions, what holds because of them, documents, tokens and jobs over one state.db."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from curator.data import IntArray
from curator.errors import BadDecision, Conflict, NameTaken, UnknownName
from curator.state import decisions, documents, travel
from curator.state.database import NAME, Database
from curator.state.decisions import Decision, Wish
from curator.state.documents import Document
from curator.state.jobs import Jobs
from curator.state.names import checked, folded, plain
from curator.state.tokens import Tokens

MAX_LISTED = 10_000
_LARGEST = 2**63 - 1  # that SQLite can hold
_ABOUT_ROW = """
    SELECT t.decision FROM touches t JOIN subjects s ON s.id = t.subject
    WHERE t.row = ? AND s.area NOT IN ('collection_exists', 'pair', 'not_duplicate')
    UNION SELECT p.id FROM decisions p, json_each(p.rows) j
    WHERE p.kind IN ('pair', 'not_duplicate', 'keep') AND j.value = ?
"""


class State:
    """What people decided about one workspace, or who and what a served root knows; shared by threads and processes."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.path = folder / NAME
        self._database = Database(self.path, create=create)
        self.tokens = Tokens(self._database)
        self.jobs = Jobs(self._database)

    def __enter__(self) -> State:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def check_alive(self) -> None:
        """Read something.

        Raises:
            DamagedWorkspace: the file cannot be read.
        """
        self._database.read("SELECT count(*) FROM documents WHERE kind = ''")

    def is_consistent(self) -> bool:
        """Whether what holds is what a replay of the log gives; reads everything."""
        touched, holding = decisions.replayed(self._database)
        shown = (
            "SELECT s.area, s.name, c.row, c.decision, c.is_on, c.place FROM {} c JOIN subjects s ON s.id = c.subject"
        )
        counted = self._database.read("SELECT area, name, n FROM subjects WHERE n != 0")
        return (
            set(self._database.read(shown.format("touches"))) == touched
            and set(self._database.read(shown.format("holds"))) == holding
            and {(area, name): n for area, name, n in counted} == Counter(cell[:2] for cell in holding if cell[4])
        )

    def backup(self, target: Path) -> None:
        """A consistent copy, while others go on writing; none where nothing was decided yet."""
        self._database.backup(target)

    # -- the log -------------------------------------------------------------------------------------------------

    def decide(
        self,
        kind: str,
        *,
        rows: Sequence[int] | IntArray = (),
        value: Any = None,
        subject: str = "",
        note: str = "",
        who: str,
        key: str | None = None,
        expect: int | None = None,
    ) -> Decision:
        """Write down a decision; it is on the disk when this returns.

        Args:
            kind: one of `decisions.KINDS`.
            rows: what it is about; of `keep` the new kept row and the old one.
            subject: the tag, collection or campaign.
            key: the same key again is the same decision, so that a client may send twice.
            expect: number of the last decision the caller saw about these rows.

        Raises:
            BadDecision, BadName: it cannot be kept.
            UnknownName: the tag or collection to rename or delete is not there.
            Conflict: somebody decided about the same after `expect`.
        """
        plain = [int(row) for row in rows]
        if kind in decisions.NAMED:
            subject = checked(subject, decisions.NAMED[kind])
        if kind in decisions.MOVES and plain:
            raise BadDecision(f"a decision of kind {kind!r} is about every row of {subject!r}; name none")
        if kind.startswith("rename") and isinstance(value, str):
            value = checked(value, decisions.NAMED.get(kind, "name"))
        wish = Wish(kind, plain, value, subject, note, who)
        with self._database.write() as connection:
            if key is not None and (known := decisions.of_key(connection, key)) is not None:
                if not wish.is_of(known):
                    raise Conflict(f"the key {key!r} was used for another decision, number {known.id}; take a new key")
                return known
            _check_names(connection, wish)
            if kind in decisions.MOVES:  # written down, so that a replay elsewhere moves the same ones
                wish = replace(wish, rows=decisions.members(connection, decisions.MOVES[kind], subject))
            return decisions.add(connection, wish, key=key, expect=expect)

    def undo(self, number: int, *, who: str) -> Decision:
        """Take a decision back: what held before it holds again, unless something newer was said.

        Raises:
            UnknownName: there is no such decision.
        """
        with self._database.write() as connection:
            return decisions.set_undone(connection, number, who)

    def redo(self, number: int, *, who: str) -> Decision:
        """Let an undone decision hold again. `who` is asked for as everywhere; the decision stays its maker's."""
        with self._database.write() as connection:
            return decisions.set_undone(connection, number, None)

    def decision(self, number: int) -> Decision:
        """One decision.

        Raises:
            UnknownName: there is none of that number.
        """
        lines = self._database.read(
            f"SELECT {decisions.COLUMNS} FROM decisions d WHERE d.id = ?", (min(number, _LARGEST),)
        )
        if not lines:
            raise UnknownName(f"no decision {number}; `curator decisions` lists them")
        return decisions.of_row(lines[0])

    def decisions(
        self,
        *,
        kind: str | None = None,
        subject: str | None = None,
        row: int | None = None,
        who: str | None = None,
        include_undone: bool = False,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Decision]:
        """Decisions that fit, newest first; `before` a number goes on from an earlier page."""
        conditions: list[str] = ["1"]
        given: list[Any] = []
        for column, value in (("kind", kind), ("subject", subject), ("who", who)):
            if value is not None:
                conditions.append(f"d.{column} = ?")
                given.append(value)
        if row is not None:
            conditions.append(f"d.id IN ({_ABOUT_ROW})")
            given += [min(row, _LARGEST)] * 2
        if not include_undone:
            conditions.append("d.undone_at IS NULL")
        if before is not None:
            conditions.append("d.id < ?")
            given.append(min(before, _LARGEST))
        lines = self._database.read(
            f"SELECT {decisions.COLUMNS} FROM decisions d WHERE {' AND '.join(conditions)} ORDER BY d.id DESC LIMIT ?",
            (*given, min(limit, MAX_LISTED)),
        )
        return [decisions.of_row(line) for line in lines]

    def newest(self) -> int:
        """Number of the newest decision, 0 for none; changes with every decision."""
        lines = self._database.read("SELECT max(id) FROM decisions")
        return int(lines[0][0] or 0) if lines else 0

    # -- what holds ----------------------------------------------------------------------------------------------

    def tags(self) -> list[tuple[str, int]]:
        """Tags with their number of rows, by name."""
        return self._counted("SELECT name, n FROM subjects WHERE area = ? AND n > 0 ORDER BY name", "tag")

    def rows_tagged(self, names: Sequence[str]) -> IntArray:
        """Rows with any of the tags, increasing; a tag nobody gave has none."""
        return _rows(self._database.read(
            "SELECT DISTINCT h.row FROM subjects s JOIN holds h ON h.subject = s.id WHERE s.area = 'tag' AND h.is_on "
            "AND s.name IN (SELECT value FROM json_each(?)) ORDER BY h.row",
            (json.dumps([plain(name) for name in names]),),
        ))  # fmt: skip

    def tags_of(self, rows: Sequence[int] | IntArray) -> dict[int, list[str]]:
        """Tags of each row that has any, by name."""
        out: dict[int, list[str]] = {}
        for some in _blocks([int(row) for row in rows]):
            for row, name in self._database.read(
                "SELECT DISTINCT h.row, s.name FROM json_each(?) j CROSS JOIN touches t ON t.row = j.value "
                "CROSS JOIN subjects s ON s.id = t.subject AND s.area = 'tag' "
                "CROSS JOIN holds h ON h.subject = t.subject AND h.row = t.row WHERE h.is_on ORDER BY h.row, s.name",
                (str(some),),
            ):
                out.setdefault(row, []).append(name)
        return out

    def collections(self) -> list[tuple[str, int]]:
        """Collections with their number of rows, by name; empty ones too."""
        return self._counted(
            "SELECT e.name, coalesce(c.n, 0) FROM subjects e LEFT JOIN subjects c "
            "ON c.area = 'collection' AND c.name = e.name WHERE e.area = ? AND e.n > 0 ORDER BY e.name",
            decisions.EXISTS,
        )

    def collection(self, name: str) -> IntArray:
        """Rows of a collection, in the order they were put in; one put in again is the last.

        Raises:
            UnknownName: there is no such collection.
        """
        there = [known for known, _ in self.collections()]
        if plain(name) not in there:
            raise UnknownName(f"no collection {name!r}; there are: {', '.join(there[:20]) or 'none yet'}")
        return _rows(self._database.read(
            "SELECT h.row FROM subjects s JOIN holds h ON h.subject = s.id "
            "WHERE s.area = 'collection' AND s.name = ? AND h.is_on ORDER BY h.decision, h.place",
            (plain(name),),
        ))  # fmt: skip

    def reviews(self, subject: str) -> dict[int, Decision]:
        """What holds about each reviewed row of a campaign or queue."""
        return dict(self._held("review", subject))

    def rows_reviewed(self, subject: str, verdict: str) -> IntArray:
        """Rows of a campaign or queue about which a verdict holds, increasing."""
        return _rows(self._database.read(
            "SELECT h.row FROM subjects s JOIN holds h ON h.subject = s.id JOIN decisions d ON d.id = h.decision "
            "WHERE s.area = 'review' AND s.name = ? AND h.is_on AND d.value = ? ORDER BY h.row",
            (subject, json.dumps(verdict)),
        ))  # fmt: skip

    def labels(self, subject: str = "") -> dict[int, Decision]:
        """Corrected labels by row."""
        return dict(self._held("label", subject))

    def kept(self) -> dict[int, int]:
        """Kept row of a near-duplicate group -> the row somebody chose instead."""
        return {row: decision.rows[0] for row, decision in self._held("keep", None)}

    def wished(self) -> IntArray:
        """Rows that people want kept whatever they resemble, increasing: chosen instead of another, or of a pair that
        is said to be no near-duplicates."""
        rows = {row for said in self.pairs("not_duplicate") for row in said.rows}
        for before, chosen in self.kept().items():  # oldest first: who was chosen may have had to give way since
            rows.discard(before)
            rows.add(chosen)
        return np.asarray(sorted(rows), np.int64)

    def pairs(self, kind: str = "pair") -> list[Decision]:
        """Answers about pairs that hold, or with kind "not_duplicate" pairs that are none, oldest first."""
        return [decision for _, decision in self._held(kind, None)]

    def _held(self, area: str, subject: str | None) -> Iterator[tuple[int, Decision]]:
        for row, *line in self._database.read(
            f"SELECT h.row, {decisions.COLUMNS} FROM subjects s JOIN holds h ON h.subject = s.id "
            "JOIN decisions d ON d.id = h.decision "
            "WHERE s.area = ?1 AND h.is_on AND (?2 IS NULL OR s.name = ?2) ORDER BY h.decision, h.place",
            (area, subject),
        ):
            yield row, decisions.of_row(tuple(line))

    def _counted(self, query: str, area: str) -> list[tuple[str, int]]:
        return [(str(name), int(n)) for name, n in self._database.read(query, (area,))]

    # -- documents -----------------------------------------------------------------------------------------------

    def document(self, kind: str, name: str) -> Document:
        """The newest version; raises UnknownName."""
        return documents.get(self._database, kind, name)

    def documents(self, kind: str) -> list[Document]:
        """The newest version of each, by name."""
        return documents.every(self._database, kind)

    def put(self, kind: str, name: str, body: Any, *, who: str, version: int | None = None) -> Document:
        """Write the next version; `version` is the one that was changed, 0 for a new one. Raises Conflict."""
        return documents.put(self._database, kind, name, body, who, version)

    def delete(self, kind: str, name: str, *, who: str) -> Document:
        """Write a version without a body; raises UnknownName."""
        self.document(kind, name)
        return documents.put(self._database, kind, name, None, who, None)

    def history(self, kind: str, name: str) -> list[Document]:
        """Every version, newest first."""
        return documents.history(self._database, kind, name)

    def secret(self, name: str) -> bytes:
        """32 random bytes of this name, made at the first call; they never leave by an export."""
        lines = self._database.read("SELECT value FROM secrets WHERE name = ?", (name,))
        if not lines:
            with self._database.write() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)", (name, secrets.token_bytes(32))
                )
            lines = self._database.read("SELECT value FROM secrets WHERE name = ?", (name,))
        return bytes(lines[0][0])

    # -- travel --------------------------------------------------------------------------------------------------

    def export_lines(self) -> Iterator[str]:
        """Decisions and documents as JSON lines, oldest first."""
        return travel.lines(self._database)

    def import_lines(self, lines: Iterable[str]) -> dict[str, int]:
        """Take in what is not known yet, all or nothing; raises BadDecision."""
        return travel.read(self._database, iter(lines))


def open_state(folder: Path | str, *, create: bool = True) -> State:
    """Open the state beside a workspace, or of a served root.

    Args:
        create: make the file now; without it, it is made by the first write, and reading finds nothing until then.

    Raises:
        DamagedWorkspace: the file is not a database of ours.
        NewerFormat: written by a newer version.
        CannotWrite: it cannot be made.
    """
    return State(Path(folder), create=create)


def _check_names(connection: sqlite3.Connection, wish: Wish) -> None:
    """Whether what a decision names is there, or may be made.

    Raises:
        NameTaken: it looks like another, or is taken.
        UnknownName: what is to be renamed, emptied or deleted is not there.
    """
    kind, area, name = wish.kind, decisions.NAMED.get(wish.kind), wish.subject
    if area is None:
        return
    known = decisions.names(connection, "tag" if area == "tag" else decisions.EXISTS)
    if kind in decisions.MOVES or kind in ("untag", "uncollect"):
        if name not in known:
            raise UnknownName(f"no {area} {name!r}; there are: {', '.join(known[:20]) or 'none yet'}")
        if not kind.startswith("rename"):
            return
        known, name = [other for other in known if other != name], str(wish.value)
    if name in known and (kind.startswith("rename") or kind == "create_collection"):
        raise NameTaken(f"there is a {area} {name!r} already; choose another name")
    if name not in known:
        _refuse_alike(name, known, area)


def _refuse_alike(name: str, known: Iterable[str], area: str) -> None:
    seen = folded(name)
    for other in known:
        if folded(other) == seen:
            raise NameTaken(f"the {area} {name!r} looks like {other!r}, which is there; use that one")


def _rows(lines: list[tuple[Any, ...]]) -> IntArray:
    return np.fromiter((line[0] for line in lines), np.int64, len(lines))


def _blocks(rows: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(rows), 50_000):
        yield rows[start : start + 50_000]
