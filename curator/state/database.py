"""One SQLite file in WAL mode: connections shared by threads, one writer at a time, migrations by number.

A write is on the disk before it is acknowledged (synchronous=FULL), so neither a
killed process nor a lost mains loses it. Readers never wait for writers.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curator.errors import BadDecision, CannotWrite, DamagedWorkspace, NewerFormat
from curator.version import __version__

NAME = "state.db"
BUSY_S = 30.0
APPLICATION = 0x43757261  # "Cura": tells our files from other SQLite files

_FIRST = f"""
-- what is large stands last: SQLite walks through it to reach what stands behind
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, at REAL NOT NULL, who TEXT NOT NULL,
    kind TEXT NOT NULL, subject TEXT NOT NULL, undone_at REAL, undone_by TEXT, key TEXT UNIQUE,
    note TEXT NOT NULL, value TEXT NOT NULL, rows TEXT NOT NULL
);
CREATE INDEX decisions_by_kind ON decisions (kind, subject, id);
-- a tag, a collection, the reviews of a campaign, a pair; n rows are on
CREATE TABLE subjects (
    id INTEGER PRIMARY KEY, area TEXT NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL DEFAULT 0, UNIQUE (area, name)
);
-- a cell is what a decision is about: subject and row. Its newest decision that is not undone holds
CREATE TABLE touches (
    subject INTEGER NOT NULL, row INTEGER NOT NULL, decision INTEGER NOT NULL, is_on INTEGER NOT NULL,
    place INTEGER NOT NULL, PRIMARY KEY (subject, row, decision)
) WITHOUT ROWID;
CREATE INDEX touches_by_row ON touches (row, decision);
CREATE TABLE holds (
    subject INTEGER NOT NULL, row INTEGER NOT NULL, decision INTEGER NOT NULL, is_on INTEGER NOT NULL,
    place INTEGER NOT NULL, PRIMARY KEY (subject, row)
) WITHOUT ROWID;
CREATE TABLE documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, who TEXT NOT NULL, at REAL NOT NULL, body TEXT,
    PRIMARY KEY (kind, name, version)
);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL, created REAL NOT NULL,
    expires REAL, revoked REAL, used REAL
) WITHOUT ROWID;
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workspace TEXT NOT NULL, kind TEXT NOT NULL,
    who TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
    server TEXT, host TEXT, pid INTEGER, pid_started TEXT, heartbeat REAL, cancel INTEGER NOT NULL DEFAULT 0,
    resumes TEXT, key TEXT UNIQUE, revision INTEGER NOT NULL DEFAULT 0,
    progress TEXT, params TEXT NOT NULL, error TEXT, result TEXT, log TEXT NOT NULL DEFAULT ''
);
CREATE INDEX jobs_by_state ON jobs (state, workspace, number);
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Script number i brings a database from version i to i + 1; they are only ever added to."""


class Database:
    """The file, and connections to it: each used by one thread at a time, then kept for the next."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path
        self._local = threading.local()  # .writing: the connection of this thread's transaction
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._file: tuple[int, int] | None = None  # which file the connections are of
        self._is_fixed = False  # read where nobody may write: what was seen once may be old the next time
        self._is_closed = False
        if create or path.exists():
            with self.told(), self._connection():
                pass

    def close(self) -> None:
        """Close the connections; one that another thread is using is closed when it is through."""
        with self._lock:
            self._is_closed = True
            while self._idle:
                self._idle.pop().close()

    def read(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query; none where there is no file.

        Raises:
            DamagedWorkspace: the file is broken, or not the one that was opened.
        """
        if self._file is None and not self.path.exists():
            return []
        with self.told(), self._connection() as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block, or nothing of it; reading in the block sees what it wrote.

        Raises:
            CannotWrite: the disk is full or read-only, or another process kept the file for too long.
        """
        with self.told(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._local.writing = connection
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._local.writing = None

    def backup(self, target: Path) -> None:
        """A consistent copy, whole or not at all, while others go on writing; none where there is no file.

        Raises:
            CannotWrite: the copy cannot be written.
        """
        if self._file is None and not self.path.exists():
            return
        part = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            with self.told(), self._connection() as connection, self.told(target):
                copy = sqlite3.connect(part)
                try:
                    connection.backup(copy)
                finally:
                    copy.close()
                part.replace(target)
        finally:
            with suppress(OSError):
                part.unlink()

    @contextmanager
    def told(self, path: Path | None = None) -> Iterator[None]:
        """SQLite's refusals in our words."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _told(path or self.path, error) from error
        except UnicodeEncodeError as error:
            raise BadDecision(f"{error.object[:40]!r} holds half a character; expected Unicode text") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        writing: sqlite3.Connection | None = getattr(self._local, "writing", None)
        if writing is not None:
            yield writing
            return
        connection = self._taken()
        try:
            yield connection
        finally:
            with self._lock:
                is_kept = not (self._is_closed or self._is_fixed)
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()

    def _taken(self) -> sqlite3.Connection:
        if self._file is not None and _identity(self.path) != self._file:
            raise DamagedWorkspace(
                f"{self.path} was replaced or taken away while it was in use; stop what uses it and start it again"
            )
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = self._opened()
        if self._file is None:
            self._file = _identity(self.path)
        return connection

    def _opened(self) -> sqlite3.Connection:
        """A new connection to a file of our version."""
        try:
            return self._set_up(f"file:{quote(str(self.path.absolute()))}")
        except sqlite3.OperationalError as error:
            beside = [self.path.with_name(f"{self.path.name}-{kind}") for kind in ("wal", "shm")]
            refused = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not refused or not self.path.is_file() or any(path.exists() for path in beside):
                raise
            # the folder is closed to us and nobody writes: read the file alone, as WAL needs to write beside it
            self._is_fixed = True
            return self._set_up(f"file:{quote(str(self.path.absolute()))}?immutable=1")

    def _set_up(self, address: str) -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        found = _number(connection, "user_version")
        if found == len(MIGRATIONS) and _number(connection, "application_id") == APPLICATION:
            return
        if found > len(MIGRATIONS):
            raise NewerFormat(
                f"{self.path} has version {found}, this Curator {__version__} reads up to {len(MIGRATIONS)}; "
                "upgrade Curator"
            )
        is_empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        if not is_empty and _number(connection, "application_id") != APPLICATION:
            if _number(connection, "user_version") > found:  # another process made it just now
                self._migrate(connection)
                return
            raise DamagedWorkspace(f"{self.path} is not a file of Curator; move it away")
        _use_wal(connection)
        for version in range(found, len(MIGRATIONS)):
            _apply(connection, version)


def _told(path: Path, error: sqlite3.DatabaseError) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return CannotWrite(f"cannot write {path}: {error}; free some space, or check its permissions")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return CannotWrite(f"{path} was kept by another process for {BUSY_S:g} s; try again")
    lacks = code == sqlite3.SQLITE_ERROR and "no such" in str(error)  # a table somebody took away
    if lacks or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedWorkspace(
            f"{path} is damaged ({error}); move it away, then bring back a copy or an export by "
            "`curator state --import FILE`"
        )
    return error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _use_wal(connection: sqlite3.Connection) -> None:
    """Kept in the file; several processes may make it at once, and SQLite does not wait for this lock by itself."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _apply(connection: sqlite3.Connection, version: int) -> None:
    """One migration, whole or not at all; another process may have been quicker."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _number(connection, "user_version") == version:
            for statement in _statements(MIGRATIONS[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: all at once would end the transaction."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
