"""Campaigns, triggers and saved filters: versioned JSON values with a history.

A version is never changed; putting writes the next one, and deleting writes one
without a body, so either can be taken back by putting an older body again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from curator.errors import Conflict, UnknownName
from curator.state.database import Database
from curator.state.decisions import told_as_json
from curator.state.names import checked, plain

MAX_BODY = 16_000_000  # characters; a campaign of many failures and a trigger's weights fit


@dataclass(frozen=True, slots=True)
class Document:
    """The newest version of one."""

    kind: str
    name: str
    version: int
    body: Any
    who: str
    at: float  # seconds since 1970


COLUMNS = "kind, name, version, body, who, at"
_NEWEST = (
    f"SELECT {COLUMNS} FROM documents d WHERE kind = ? AND version = "
    "(SELECT max(version) FROM documents o WHERE o.kind = d.kind AND o.name = d.name)"
)


def get(database: Database, kind: str, name: str) -> Document:
    """The newest version.

    Raises:
        UnknownName: there is none, or it was deleted.
    """
    lines = database.read(f"{_NEWEST} AND name = ?", (kind, plain(name)))
    if not lines or lines[0][3] is None:
        there = ", ".join(document.name for document in every(database, kind)) or "none yet"
        raise UnknownName(f"no {kind} {name!r}; there are: {there}")
    return _of(lines[0])


def every(database: Database, kind: str) -> list[Document]:
    """The newest version of each, by name."""
    return [_of(line) for line in database.read(f"{_NEWEST} AND body IS NOT NULL ORDER BY name", (kind,))]


def put(database: Database, kind: str, name: str, body: Any, who: str, version: int | None) -> Document:
    """Write the next version.

    Raises:
        BadName, BadDecision: the name or the body cannot be kept.
        Conflict: `version` is given and is not the newest any more; 0 says that there must be none.
    """
    name = checked(name, kind)
    told = None if body is None else told_as_json(body, f"{kind} {name!r}", MAX_BODY)
    with database.write() as connection:
        line = connection.execute(
            "SELECT version, who, at, body FROM documents WHERE kind = ? AND name = ? ORDER BY version DESC LIMIT 1",
            (kind, name),
        ).fetchone()
        newest = 0 if line is None else int(line[0])
        seen = 0 if line is None or line[3] is None else newest
        if version is not None and version != seen:
            when = "" if line is None else f" by {line[1]} at {time.strftime('%H:%M:%S', time.localtime(line[2]))}"
            raise Conflict(
                f"the {kind} {name!r} has version {seen}{when}, you changed version {version}; read it again"
            )
        made = (kind, name, newest + 1, told, who, time.time())
        connection.execute(f"INSERT INTO documents ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", made)
    return _of(made)


def history(database: Database, kind: str, name: str) -> list[Document]:
    """Every version, newest first; a deletion has no body."""
    return [
        _of(line)
        for line in database.read(
            f"SELECT {COLUMNS} FROM documents WHERE kind = ? AND name = ? ORDER BY version DESC", (kind, plain(name))
        )
    ]


def _of(line: tuple[Any, ...]) -> Document:
    kind, name, version, body, who, at = line
    return Document(kind, name, version, None if body is None else json.loads(body), who, at)
