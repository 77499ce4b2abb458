"""One SQLite file in WAL mode: a connection per thread, one writer at a time, migrations by number.

A write is on the disk before it is acknowledged (synchronous=FULL), so neither a
killed process nor a lost mains loses it. Readers never wait for writers.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curator.errors import CannotWrite, DamagedWorkspace, NewerFormat
from curator.version import __version__

NAME = "state.db"
BUSY_S = 30.0

_FIRST = """
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, at REAL NOT NULL, who TEXT NOT NULL,
    kind TEXT NOT NULL, subject TEXT NOT NULL, rows TEXT NOT NULL, value TEXT NOT NULL, note TEXT NOT NULL,
    key TEXT UNIQUE, undone_at REAL, undone_by TEXT
);
CREATE INDEX decisions_by_kind ON decisions (kind, subject, id);
-- a cell is what a decision is about: area, subject, row. Its newest decision that is not undone holds
CREATE TABLE touches (
    area TEXT NOT NULL, subject TEXT NOT NULL, row INTEGER NOT NULL, decision INTEGER NOT NULL,
    is_on INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (area, subject, row, decision)
) WITHOUT ROWID;
CREATE INDEX touches_by_decision ON touches (decision);
CREATE INDEX touches_by_row ON touches (row, decision);
CREATE TABLE holds (
    area TEXT NOT NULL, subject TEXT NOT NULL, row INTEGER NOT NULL, decision INTEGER NOT NULL,
    is_on INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (area, subject, row)
) WITHOUT ROWID;
CREATE INDEX holds_by_row ON holds (row, area);
CREATE TABLE documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, body TEXT, who TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (kind, name, version)
) WITHOUT ROWID;
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL, created REAL NOT NULL,
    expires REAL, revoked REAL, used REAL
) WITHOUT ROWID;
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workspace TEXT NOT NULL, kind TEXT NOT NULL,
    params TEXT NOT NULL, who TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
    server TEXT, host TEXT, pid INTEGER, pid_started TEXT, heartbeat REAL, progress TEXT, result TEXT, error TEXT,
    log TEXT NOT NULL DEFAULT '', cancel INTEGER NOT NULL DEFAULT 0, resumes TEXT, key TEXT UNIQUE,
    revision INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX jobs_by_state ON jobs (state, workspace, number);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Script number i brings a database from version i to i + 1; they are only ever added to."""


class Database:
    """The file, and the threads' connections to it."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_there = create or path.exists()
        if self._is_there:
            with self.told():
                self._migrate(self._open())

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
            self._local = threading.local()

    def read(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query; none where there is no file."""
        if not self._exists():
            return []
        with self.told():
            return self._connection().execute(query, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block, or nothing of it.

        Raises:
            CannotWrite: the disk is full or read-only, or another process kept the file for too long.
        """
        with self.told():
            if not self._exists():
                self._is_there = True
                self._migrate(self._open())
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def backup(self, target: Path) -> None:
        """A consistent copy, while others go on writing."""
        if self._exists():
            with self.told():
                copy = sqlite3.connect(target)
                try:
                    self._connection().backup(copy)
                finally:
                    copy.close()

    @contextmanager
    def told(self) -> Iterator[None]:
        """SQLite's refusals in our words."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.DatabaseError) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return CannotWrite(f"cannot write {self.path}: {error}; free some space, or check its permissions")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return CannotWrite(f"{self.path} was kept by another process for {BUSY_S:g} s; try again")
        lacks = code == sqlite3.SQLITE_ERROR and "no such" in str(error)  # a table somebody took away
        if lacks or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DamagedWorkspace(
                f"{self.path} is damaged ({error}); move it away, then bring back a copy or an export by "
                "`curator state --import FILE`"
            )
        return error

    def _exists(self) -> bool:
        if not self._is_there:
            self._is_there = self.path.exists()
        return self._is_there

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        return found if found is not None else self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        self._local.connection = connection
        with self._lock:
            self._all.append(connection)
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > len(MIGRATIONS):
            self.close()
            raise NewerFormat(
                f"{self.path} has version {found}, this Curator {__version__} reads up to {len(MIGRATIONS)}; "
                "upgrade Curator"
            )
        for version in range(found, len(MIGRATIONS)):
            _apply(connection, version)


def _apply(connection: sqlite3.Connection, version: int) -> None:
    """One migration, whole or not at all; another process may have been quicker."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if int(connection.execute("PRAGMA user_version").fetchone()[0]) == version:
            for statement in MIGRATIONS[version].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
