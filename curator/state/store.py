"""`State`: decisions, what holds because of them, documents, tokens and jobs over one state.db."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from curator.data import IntArray
from curator.errors import NameTaken, UnknownName
from curator.state import decisions, documents, travel
from curator.state.database import NAME, Database
from curator.state.decisions import Decision
from curator.state.documents import Document
from curator.state.jobs import Jobs
from curator.state.names import checked, folded
from curator.state.tokens import Tokens

MAX_LISTED = 10_000


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
        """Whether what holds is what a replay of the log gives."""
        stored = self._database.read("SELECT area, subject, row, decision, is_on, place FROM holds")
        return set(stored) == decisions.replayed(self._database)

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
        with self._database.write() as connection:
            subject, value = self._named(kind, subject, value)
            return decisions.add(
                connection, kind=kind, rows=plain, value=value, subject=subject, note=note, who=who, key=key,
                expect=expect,
            )  # fmt: skip

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
        lines = self._database.read(f"SELECT {decisions.COLUMNS} FROM decisions WHERE id = ?", (number,))
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
        named = ", ".join(f"d.{column.strip()}" for column in decisions.COLUMNS.split(","))
        conditions: list[str] = ["1"]
        given: list[Any] = []
        for column, value in (("kind", kind), ("subject", subject), ("who", who)):
            if value is not None:
                conditions.append(f"d.{column} = ?")
                given.append(value)
        if row is not None:
            conditions.append(
                "(EXISTS (SELECT 1 FROM touches t WHERE t.row = ? AND t.decision = d.id AND t.area NOT LIKE '%exists') "
                "OR (d.kind IN ('pair', 'not_duplicate', 'keep') AND EXISTS "
                "(SELECT 1 FROM json_each(d.rows) WHERE value = ?)))"
            )
            given += [row, row]
        if not include_undone:
            conditions.append("d.undone_at IS NULL")
        if before is not None:
            conditions.append("d.id < ?")
            given.append(before)
        lines = self._database.read(
            f"SELECT {named} FROM decisions d WHERE {' AND '.join(conditions)} ORDER BY d.id DESC LIMIT ?",
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
        lines = self._database.read(
            "SELECT subject, count(*) FROM holds WHERE area = 'tag' AND is_on GROUP BY subject ORDER BY subject"
        )
        return [(str(name), int(n)) for name, n in lines]

    def rows_tagged(self, names: Sequence[str]) -> IntArray:
        """Rows with any of the tags, increasing; a tag nobody gave has none."""
        marks = ", ".join("?" * len(names))
        return _rows(self._database.read(
            f"SELECT DISTINCT row FROM holds WHERE area = 'tag' AND is_on AND subject IN ({marks}) ORDER BY row",
            tuple(names),
        ))  # fmt: skip

    def tags_of(self, rows: Sequence[int] | IntArray) -> dict[int, list[str]]:
        """Tags of each row that has any, by name."""
        out: dict[int, list[str]] = {}
        for some in _blocks([int(row) for row in rows]):
            for row, name in self._database.read(
                "SELECT row, subject FROM holds WHERE area = 'tag' AND is_on "
                "AND row IN (SELECT value FROM json_each(?)) ORDER BY row, subject",
                (str(some),),
            ):
                out.setdefault(row, []).append(name)
        return out

    def collections(self) -> list[tuple[str, int]]:
        """Collections with their number of rows, by name; empty ones too."""
        lines = self._database.read(
            "SELECT e.subject, (SELECT count(*) FROM holds h WHERE h.area = 'collection' AND h.subject = e.subject "
            "AND h.is_on) FROM holds e WHERE e.area = ? AND e.is_on ORDER BY e.subject",
            (decisions.EXISTS,),
        )
        return [(str(name), int(n)) for name, n in lines]

    def collection(self, name: str) -> IntArray:
        """Rows of a collection, in the order they were put in.

        Raises:
            UnknownName: there is no such collection.
        """
        if not self._has(decisions.EXISTS, name):
            there = ", ".join(known for known, _ in self.collections()) or "none yet"
            raise UnknownName(f"no collection {name!r}; there are: {there}")
        return _rows(self._database.read(
            "SELECT row FROM holds WHERE area = 'collection' AND subject = ? AND is_on ORDER BY decision, place",
            (name,),
        ))  # fmt: skip

    def reviews(self, subject: str) -> dict[int, Decision]:
        """What holds about each reviewed row of a campaign or queue."""
        return dict(self._held("review", subject))

    def labels(self, subject: str = "") -> dict[int, Decision]:
        """Corrected labels by row."""
        return dict(self._held("label", subject))

    def kept(self) -> dict[int, int]:
        """Kept row of a near-duplicate group -> the row somebody chose instead."""
        return {row: decision.rows[0] for row, decision in self._held("keep", None)}

    def pairs(self, kind: str = "pair") -> list[Decision]:
        """Answers about pairs that hold, or with kind "not_duplicate" pairs that are none, oldest first."""
        return [decision for _, decision in self._held(kind, None)]

    def _held(self, area: str, subject: str | None) -> Iterator[tuple[int, Decision]]:
        named = ", ".join(f"d.{column.strip()}" for column in decisions.COLUMNS.split(","))
        for row, *line in self._database.read(
            f"SELECT h.row, {named} FROM holds h JOIN decisions d ON d.id = h.decision "
            "WHERE h.area = ?1 AND h.is_on AND (?2 IS NULL OR h.subject = ?2) ORDER BY h.decision, h.place",
            (area, subject),
        ):
            yield row, decisions.of_row(tuple(line))

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

    # -- names ---------------------------------------------------------------------------------------------------

    def _named(self, kind: str, subject: str, value: Any) -> tuple[str, Any]:
        """Names as they are stored.

        Raises:
            BadName: it cannot be one, or looks like another.
            UnknownName: what is to be renamed or deleted is not there.
        """
        area = {"tag": "tag", "untag": "tag", "rename_tag": "tag"}.get(kind, "")
        if kind in ("collect", "uncollect", "create_collection", "delete_collection", "rename_collection"):
            area = "collection"
        if not area:
            return subject, value
        subject = checked(subject, area)
        known = [name for name, _ in (self.tags() if area == "tag" else self.collections())]
        if kind in ("untag", "uncollect", "rename_tag", "rename_collection", "delete_collection"):
            if subject not in known:
                raise UnknownName(f"no {area} {subject!r}; there are: {', '.join(known[:20]) or 'none yet'}")
            if not kind.startswith("rename"):
                return subject, value
            value = checked(str(value), area)
            _refuse_alike(value, [name for name in known if name != subject], area)
            if value in known:
                raise NameTaken(f"there is a {area} {value!r} already; choose another name")
            return subject, value
        if kind == "create_collection" and subject in known:
            raise NameTaken(f"there is a collection {subject!r} already; choose another name")
        _refuse_alike(subject, known, area)
        return subject, value

    def _has(self, area: str, subject: str) -> bool:
        return bool(self._database.read(
            "SELECT 1 FROM holds WHERE area = ? AND subject = ? AND is_on LIMIT 1", (area, subject)
        ))  # fmt: skip


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


def _refuse_alike(name: str, known: Iterable[str], area: str) -> None:
    for other in known:
        if other != name and folded(other) == folded(name):
            raise NameTaken(f"the {area} {name!r} looks like {other!r}, which is there; use that one")


def _rows(lines: list[tuple[Any, ...]]) -> IntArray:
    return np.fromiter((line[0] for line in lines), np.int64, len(lines))


def _blocks(rows: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(rows), 50_000):
        yield rows[start : start + 50_000]
