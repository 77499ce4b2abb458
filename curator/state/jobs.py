"""Long work asked of the service: a queue that several processes share, and what became of each job."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curator.errors import Conflict, UnknownName
from curator.state.database import Database

JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED = ("done", "failed", "cancelled", "interrupted")
DEAD_AFTER_S = 60.0  # without a heartbeat, where its process cannot be looked at
KEPT_S = 90 * 24 * 3600.0
KEPT = 1_000
MAX_LOG = 65_536


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands."""

    id: str
    workspace: str
    kind: str
    params: Any
    who: str
    state: JobState
    created: float  # seconds since 1970
    started: float | None
    finished: float | None
    progress: Any  # {"stage", "done", "total"} or none
    result: Any  # what the command printed
    error: Any  # {"code", "message", "hint"} or none
    resumes: str | None  # the job that this one goes on with
    cancel: bool  # somebody asked it to stop
    revision: int  # raised by every change
    server: str | None  # the server process that took it

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.state in ENDED

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "server"}


_COLUMNS = (
    "id, workspace, kind, params, who, state, created, started, finished, progress, result, error, resumes, cancel, "
    "revision, server"
)


class Jobs:
    """The jobs of a served root."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, workspace: str, kind: str, params: Any, *, who: str, key: str | None = None, resumes: str | None = None
    ) -> Job:
        """Put a job at the end of the queue; the same `key` again is the same job.

        Raises:
            Conflict: the key was used for another job.
        """
        told = json.dumps(params, separators=(",", ":"), sort_keys=True)
        with self._database.write() as connection:
            if key is not None:
                line = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE key = ?", (key,)).fetchone()
                if line is not None:
                    known = _of(line)
                    if (known.workspace, known.kind, line[3]) != (workspace, kind, told):
                        raise Conflict(f"the key {key!r} was used for another job, {known.id}; take a new key")
                    return known
            number = secrets.token_hex(8)
            connection.execute(
                "INSERT INTO jobs (id, workspace, kind, params, who, state, created, key, resumes) "
                "VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                (number, workspace, kind, told, who, time.time(), key, resumes),
            )
        return self.get(number)

    def get(self, number: str) -> Job:
        """One job.

        Raises:
            UnknownName: there is none of that id.
        """
        lines = self._database.read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (number,))
        if not lines:
            raise UnknownName(f"no job {number[:64]!r}; GET /v1/jobs lists them")
        return _of(lines[0])

    def page(
        self, *, workspace: str | None = None, state: JobState | None = None, limit: int = 100, offset: int = 0
    ) -> list[Job]:
        """Newest first."""
        lines = self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE (?1 IS NULL OR workspace = ?1) AND (?2 IS NULL OR state = ?2) "
            "ORDER BY number DESC LIMIT ?3 OFFSET ?4",
            (workspace, state, limit, offset),
        )
        return [_of(line) for line in lines]

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        return {
            str(state): int(n) for state, n in self._database.read("SELECT state, count(*) FROM jobs GROUP BY state")
        }

    def log(self, number: str) -> str:
        """The end of what the job wrote."""
        lines = self._database.read("SELECT log FROM jobs WHERE id = ?", (number,))
        return str(lines[0][0]) if lines else ""

    def claim(self, server: str) -> Job | None:
        """Take the oldest queued job of a workspace where none is running; atomic over all processes."""
        with self._database.write() as connection:
            line = connection.execute(
                "SELECT id FROM jobs WHERE state = 'queued' AND workspace NOT IN "
                "(SELECT workspace FROM jobs WHERE state = 'running') ORDER BY number LIMIT 1"
            ).fetchone()
            if line is None:
                return None
            now = time.time()
            connection.execute(
                "UPDATE jobs SET state = 'running', started = ?, heartbeat = ?, server = ?, host = ?, pid = ?, "
                "pid_started = ?, revision = revision + 1 WHERE id = ?",
                (now, now, server, socket.gethostname(), os.getpid(), started_at(os.getpid()), line[0]),
            )
        return self.get(line[0])

    def beat(self, number: str, *, progress: Any = None, log: str | None = None) -> Job:
        """Say that a running job goes on, how far it is, and what it wrote."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET heartbeat = ?, progress = coalesce(?, progress), log = coalesce(?, log), "
                "revision = revision + ? WHERE id = ? AND state = 'running'",
                (time.time(), None if progress is None else json.dumps(progress),
                 None if log is None else log[-MAX_LOG:], int(progress is not None), number),
            )  # fmt: skip
        return self.get(number)

    def finish(self, number: str, state: JobState, *, result: Any = None, error: Any = None, log: str = "") -> Job:
        """Say how a running job ended; what is over stays as it is."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, result = ?, error = ?, log = ?, revision = revision + 1 "
                "WHERE id = ? AND state IN ('running', 'queued')",
                (state, time.time(), json.dumps(result), json.dumps(error), log[-MAX_LOG:], number),
            )
            self._forget(connection)
        return self.get(number)

    def cancel(self, number: str) -> Job:
        """Ask a job to stop: a queued one ends at once, a running one when its server sees it."""
        self.get(number)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET cancel = 1, revision = revision + 1, "
                "finished = CASE state WHEN 'queued' THEN ? ELSE finished END, "
                "state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END "
                "WHERE id = ? AND state IN ('queued', 'running')",
                (time.time(), number),
            )
        return self.get(number)

    def resume(self, number: str, *, who: str) -> Job:
        """A new job that does the same; finished work of the old one is found and not done again.

        Raises:
            Conflict: the job is not over yet, is done, or goes on already.
        """
        old = self.get(number)
        if old.state not in ("interrupted", "failed", "cancelled"):
            raise Conflict(f"job {number} is {old.state}; only an interrupted, failed or cancelled one can go on")
        going = self._database.read(
            "SELECT id, state FROM jobs WHERE resumes = ? AND state IN ('queued', 'running') LIMIT 1", (number,)
        )
        if going:
            raise Conflict(f"job {number} goes on already, as {going[0][0]}, which is {going[0][1]}")
        return self.add(old.workspace, old.kind, old.params, who=who, resumes=number)

    def interrupt_dead(self) -> list[Job]:
        """Running jobs whose server process is gone become interrupted."""
        lines = self._database.read("SELECT id, host, pid, pid_started, heartbeat FROM jobs WHERE state = 'running'")
        dead = [line[0] for line in lines if _is_dead(*line[1:])]
        return [
            self.finish(
                number, "interrupted", log=self.log(number),
                error={"code": "Interrupted", "message": "the server that ran it has ended",
                       "hint": "resume it: what it finished is kept"},
            )
            for number in dead
        ]  # fmt: skip

    def _forget(self, connection: Any) -> None:
        """Of jobs that are over, the newest ends are kept: one that ran for long is not forgotten as it ends."""
        ended = "state IN ('done', 'failed', 'cancelled', 'interrupted')"
        connection.execute(
            f"DELETE FROM jobs WHERE {ended} AND (finished < ?1 OR number IN (SELECT number FROM jobs "
            f"WHERE {ended} ORDER BY finished DESC, number DESC LIMIT -1 OFFSET ?2))",
            (time.time() - KEPT_S, KEPT),
        )


def started_at(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's own count; tells two processes of one number apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_dead(host: str, pid: int, pid_started: str | None, heartbeat: float) -> bool:
    if host == socket.gethostname() and pid_started is not None:
        return started_at(pid) != pid_started
    return time.time() - heartbeat > DEAD_AFTER_S


def _of(line: tuple[Any, ...]) -> Job:
    names = [name.strip() for name in _COLUMNS.split(",")]
    given: dict[str, Any] = dict(zip(names, line, strict=True))
    for name in ("params", "progress", "result", "error"):
        given[name] = None if given[name] is None else json.loads(given[name])
    return Job(**given | {"cancel": bool(given["cancel"])})
