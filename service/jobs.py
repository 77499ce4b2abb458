"""Long work: jobs from the queue of the root's state.db, each a command of `curator` in a process of its own.

Every server process has a runner. A job is claimed by exactly one of them; of
one workspace one job runs at a time, in the order asked for. What is told of a
job is what the database says, so any process can answer, and a job whose server
died is `interrupted` as soon as anyone looks.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curator.cli.common import PROGRESS
from curator.errors import CuratorError, UnknownName
from curator.state import Job, State
from curator.state.jobs import JobState
from curator.workspace import open_workspace
from service import problems, processes
from service.lifetime import STOPPING
from service.metrics import JOB_STATES, Metrics
from service.processes import Ended, Heard
from service.registry import Registry
from service.settings import Settings
from service.uploads import sweep
from service.verbs import VERBS, Command, Place, command

logger = logging.getLogger("curator.service")

POLL_S = 0.5  # between looks at the queue that other processes also fill
BEAT_S = 0.5  # between two writes of progress
SWEEP_S = 10.0  # between looks for jobs of dead servers
LOCKED_WAIT_S = 120.0  # how long a job waits for a command that writes the workspace from outside
LOCKED_RETRY_S = 10.0  # sooner where the other one says that it is done
_FOLDERS = re.compile(r"(?<![\w./~-])/(?:[^\s/:'\"<>|]+/)+")


class Runner:
    """Takes jobs from the queue and runs them, some at once."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        state: State,
        metrics: Metrics,
        *,
        locked_wait_s: float = LOCKED_WAIT_S,
    ) -> None:
        self.settings, self.registry, self.state, self.metrics = settings, registry, state, metrics
        self.server = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.locked_wait_s = locked_wait_s
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Tell the truth about jobs of dead servers, then begin."""
        for job in self.state.jobs.interrupt_dead():
            logger.warning(
                "job %s (%s of %s) was interrupted by the end of its server", job.id, job.kind, job.workspace
            )
        self._sweep()
        self._stop.clear()
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
        self._thread.start()

    def _sweep(self) -> None:
        """Remove halves of uploads, and exported files of jobs that were forgotten."""
        for name in self.registry.names():
            folder = self.registry.path(name)
            sweep([folder / "uploads"])
            for file in (folder / "exports").glob("*"):
                try:
                    self.state.jobs.get(file.name.partition(".")[0])
                except UnknownName:
                    file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Interrupt what runs and wait for it to be said."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for thread in list(self._running.values()):
            thread.join()

    def wake(self) -> None:
        """There is something new in the queue."""
        self._wake.set()

    @property
    def is_stopping(self) -> bool:
        """Whether running jobs are being interrupted."""
        return self._stop.is_set() or STOPPING.is_set()

    def _loop(self) -> None:
        swept = time.monotonic()
        while not self.is_stopping:
            try:
                self._fill()
                if time.monotonic() - swept > SWEEP_S:
                    swept = time.monotonic()
                    self.state.jobs.interrupt_dead()
                    counts = self.state.jobs.counts()
                    for state in JOB_STATES:
                        self.metrics.jobs.labels(state).set(counts.get(state, 0))
            except CuratorError as error:  # a full disk, a locked database: the queue is looked at again
                logger.error("the queue of jobs: %s", error)
            self._wake.wait(POLL_S)
            self._wake.clear()

    def _fill(self) -> None:
        """Start jobs until as many run as may."""
        self._running = {id: thread for id, thread in self._running.items() if thread.is_alive()}
        while len(self._running) < self.settings.max_jobs and not self.is_stopping:
            job = self.state.jobs.claim(self.server)
            if job is None:
                return
            thread = threading.Thread(target=self._work, args=(job,), name=f"job {job.id}")
            self._running[job.id] = thread
            thread.start()

    def _work(self, job: Job) -> None:
        """Run one job to its end; the thread lives as long as the child, which would die with it."""
        logger.info("job %s: %s of %s for %s begins", job.id, job.kind, job.workspace, job.who)
        try:
            ended = _Run(self, job).run()
        except CuratorError:
            return  # told already; the next start finds it interrupted
        except Exception:
            logger.exception("job %s failed in the server", job.id)
            told = problems.body("InternalError", "something went wrong on the server", f"its log names job {job.id}")
            ended = self.state.jobs.finish(job.id, "failed", error=told["error"])
        logger.info("job %s: %s after %.1f s", job.id, ended.state, (ended.finished or 0) - (ended.started or 0))
        self.wake()


class _Run:
    """One job while it runs."""

    def __init__(self, runner: Runner, job: Job) -> None:
        self.runner, self.job = runner, job
        self.jobs = runner.state.jobs
        self.heard = Heard()
        self._told = (-1, 0.0)  # changes that were told, and when
        self._is_cancelled = False

    def run(self) -> Job:
        """Run it to its end, whatever that is."""
        try:
            return self._attempts()
        except (CuratorError, problems.Problem) as error:
            return self._finish("failed", error=_told(error, self.runner.registry.root))

    def _attempts(self) -> Job:
        """Run until done, or until a workspace that is locked from outside was waited for long enough."""
        until: float | None = None
        while True:
            line = self._command()
            self.heard = Heard()
            self._told = (-1, 0.0)
            ended = processes.run(
                line.arguments, {PROGRESS: "json", **line.confined.to_environment()}, self.heard, tick=self._tick
            )
            body = processes.result_of(self.heard)
            until = until or time.monotonic() + self.runner.locked_wait_s
            if not _is_locked(body) or ended.was_stopped or time.monotonic() > until:
                return self._conclude(ended, body)
            if not self._wait_for_lock(body["error"]["message"]):
                return self._conclude(Ended(ended.code, was_stopped=True), None)

    def _command(self) -> Command:
        registry, job = self.runner.registry, self.job
        params = VERBS[job.kind].params.model_validate(job.params)
        place = Place(open_workspace(registry.path(job.workspace)), self.runner.settings, registry.path)
        return command(job.kind, params, place, job.id)

    def _tick(self) -> bool:
        """Tell how far it is, now and then; True when it should stop."""
        changes, now = self.heard.n_changes, time.monotonic()
        if now - self._told[1] >= BEAT_S:
            is_new = changes != self._told[0]
            progress = self.heard.progress
            told = None if progress is None or not is_new else _progress(progress.stage, progress.done, progress.total)
            try:
                job = self.jobs.beat(self.job.id, progress=told, log=self._log() if is_new else None)
                self._is_cancelled = job.cancel
            except CuratorError as error:  # a full disk hides how far a job is, and is no reason to end it
                logger.error("job %s goes on untold: %s", self.job.id, error)
            self._told = (changes, now)
        return self._is_cancelled or self.runner.is_stopping

    def _wait_for_lock(self, message: str) -> bool:
        """Wait a little for whoever writes the workspace; False when told to stop."""
        stage = "waiting: " + _redacted(message, self._roots()).partition("; ")[0]
        self.jobs.beat(self.job.id, progress=_progress(stage, 0, None))
        place = open_workspace(self.runner.registry.path(self.job.workspace))
        began = time.monotonic()
        until = began + min(LOCKED_RETRY_S, self.runner.locked_wait_s)
        while (place.seems_written() or time.monotonic() < began + BEAT_S) and time.monotonic() < until:
            time.sleep(processes.TICK_S)
            if self._tick():
                return False
        return True

    def _conclude(self, ended: Ended, body: Any) -> Job:
        """Say truthfully what came of it: a command that finished before it heard that it should stop is done."""
        error = body.get("error") if isinstance(body, dict) else None
        if body is not None and error is None and ended.code in (0, 1):
            return self._finish("done", result=_clean(body, self.runner.registry.root))
        if ended.was_stopped and self._is_cancelled:
            return self._finish("cancelled")
        if ended.was_stopped:
            told = problems.body("Interrupted", "the server was stopped", "resume it: what it finished is kept")
            return self._finish("interrupted", error=told["error"])
        if error is not None:
            root = self.runner.registry.root
            return self._finish("failed", error=problems.told(error["code"], error["message"], root)["error"])
        if self.heard.is_too_large:
            message = f"the result is over {processes.MAX_RESULT_BYTES} bytes"
            return self._finish("failed", error=problems.body("TooLarge", message, "ask for less")["error"])
        message = f"the command ended with code {ended.code}" if ended.code >= 0 else _killed(ended.code)
        return self._finish("failed", error=problems.body("CommandFailed", message, "its log says more")["error"])

    def _finish(self, state: JobState, *, result: Any = None, error: Any = None) -> Job:
        """Write it down, however long the disk refuses; a server that ends before leaves an interrupted job."""
        while True:
            try:
                return self.jobs.finish(self.job.id, state, result=result, error=error, log=self._log())
            except CuratorError as refusal:
                logger.error("job %s is %s, which cannot be written down: %s", self.job.id, state, refusal)
                if self.runner.is_stopping:
                    raise
                time.sleep(BEAT_S)

    def _log(self) -> str:
        return _redacted(self.heard.log_tail(), self._roots())

    def _roots(self) -> Sequence[Path]:
        return (self.runner.registry.root, *self.runner.settings.ingest_roots)


def _is_locked(body: Any) -> bool:
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and error.get("code") == "WorkspaceLocked"


def _progress(stage: str, done: int, total: int | None) -> dict[str, Any]:
    return {"stage": stage, "done": done, "total": total}


def _killed(code: int) -> str:
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the command was killed by {name}" + (": perhaps for memory" if name == "SIGKILL" else "")


def _told(error: CuratorError | problems.Problem, root: Path) -> dict[str, Any]:
    body = error.to_json() if isinstance(error, problems.Problem) else problems.body_of(error, root)
    told: dict[str, Any] = body["error"]
    return told


def _clean(body: Any, root: Path) -> Any:
    """The result without the server's own folders; names of images are data and stay."""
    if isinstance(body, str):
        return problems.cut(body, root)
    if isinstance(body, dict):
        return {key: _clean(value, root) for key, value in body.items()}
    return [_clean(value, root) for value in body] if isinstance(body, list) else body


def _redacted(text: str, roots: Sequence[Path]) -> str:
    """A log for clients: paths under the roots from there on, of others the last name alone."""
    for root in roots:
        text = problems.cut(text, root)
    return _FOLDERS.sub("…/", text)
