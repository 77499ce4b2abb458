"""Batches through worker processes, in order, outliving a worker that dies.

Knows processes, pipes and deaths; knows nothing of images.

A worker is a plain `python -c` child on one socket, not a `multiprocessing`
process, for four reasons. Spawned `multiprocessing` children run the caller's
`__main__` again, which breaks scripts without a main guard, notebooks and
standard input; this child never sees it. Thread counts of the numeric
libraries are read when they load, so they must be in the environment before the
child starts, and here they are in the child's alone. When a worker dies,
`ProcessPoolExecutor` forgets which task it had; here that is known, so one bad
image costs one worker. And a socket closes with its owner: a child whose parent
was killed reads end-of-file and leaves.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Literal

from curator.errors import CuratorError, WorkerFailed

logger = logging.getLogger(__name__)

Handler = Callable[[Sequence[Any]], Any]

# The child imports from where its parent does: a checkout or a test adds to sys.path what a fresh interpreter lacks.
# Until it is told (-P), not even the current folder counts: a json.py there would end it.
BOOTSTRAP = "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from curator.loader.pool import serve; serve()"
THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
QUEUED_PER_WORKER = 2  # one at work, one ready: a worker never waits for the parent to look up
WINDOW_PER_WORKER = 3  # batches begun and not yet handed out: bounds memory, lets a slow batch be overtaken
GRACE_S = 1.0  # a worker without a parent may finish tidily for this long
MAX_FAILED_STARTS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of some items: a result, or how the worker that held them died."""

    items: Sequence[Any]
    result: Any  # what the handler returned; None where the worker died
    death: str | None = None  # "SIGKILL", "exit code 3"; only ever of a single item


class Pool:
    """Worker processes, started at once and set up on the first `map`.

    Args:
        n_workers: processes, at least 1.
        target: "module:function" that a worker imports; `function(setup)` gives
            the handler, `handler(items)` gives a result that pickles.
    """

    def __init__(self, n_workers: int, target: str) -> None:
        self._target = target
        self._setup: Any = None
        self._failed_starts = 0
        self._workers = [_Worker() for _ in range(n_workers)]

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.link.close()
        for worker in self._workers:
            worker.end(0.0 if kind else GRACE_S)  # on an error or Ctrl-C nobody waits for a batch nobody wants

    def pids(self) -> list[int]:
        """Process numbers of the workers now alive."""
        return [worker.process.pid for worker in self._workers]

    def map(self, batches: Iterable[Sequence[Any]], setup: Any) -> Iterator[list[Answer]]:
        """Hand every batch to a worker; give the answers in the order of the batches.

        A batch whose worker dies is given once more, whole, to a worker that has
        nothing else, since the death may not have been its doing. If it dies
        again its items go one by one, and those that take their worker with them
        alone are answered with their death. A batch thus has one answer, or one per item.

        Raises:
            CuratorError: as raised in the worker.
            WorkerFailed: a worker cannot start, or its handler raised anything else.
        """
        self._setup = setup
        for worker in self._workers:
            worker.send((self._target, setup))
        board = _Board(iter(batches), WINDOW_PER_WORKER * len(self._workers))
        while not board.is_done():
            self._assign(board)
            is_answered = board.is_answered()
            self._collect(board, timeout_s=0.0 if is_answered else None)
            if is_answered:
                yield board.take()

    def _assign(self, board: _Board) -> None:
        for depth in range(QUEUED_PER_WORKER):  # breadth first, so that no worker waits while another has two
            for worker in self._workers:
                if worker.is_ready and len(worker.pending) == depth and not worker.holds_suspect():
                    task = board.next_task(is_idle=depth == 0)
                    if task is not None:
                        worker.give(task)

    def _collect(self, board: _Board, *, timeout_s: float | None) -> None:
        spoken = wait([worker.link for worker in self._workers], timeout_s)
        for worker in [worker for worker in self._workers if worker.link in spoken]:
            try:
                kind, value = worker.link.recv()
            except (EOFError, OSError):
                self._bury(worker, board)
                continue
            if kind == "ready":
                worker.is_ready = True
                self._failed_starts = 0
            elif kind == "answer":
                board.answer(worker.pending.popleft(), value)
            else:
                raise value

    def _bury(self, worker: _Worker, board: _Board) -> None:
        """Replace a dead worker; what it was at is suspect, what it had queued is not."""
        self._workers.remove(worker)
        death = worker.end(GRACE_S)
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise WorkerFailed(
                    f"{self._failed_starts} workers in a row ended while starting ({death}); "
                    f"last words: {worker.last_words!r}; `curator doctor` checks the installation"
                )
        logger.warning("a worker ended by %s with %d batches; they are tried again", death, len(worker.pending))
        for position, task in reversed(list(enumerate(worker.pending))):
            if position == 0:
                board.suspect(task, death)
            else:
                board.give_back(task)
        heir = _Worker()
        heir.send((self._target, self._setup))
        self._workers.append(heir)


@dataclass(frozen=True, slots=True)
class _Task:
    number: int  # of the batch
    items: Sequence[Any]
    trial: Literal["first", "again", "alone"] = "first"
    place: int = 0  # among the single items of a batch tried alone


class _Board:
    """Which batches are begun, suspect and answered."""

    def __init__(self, batches: Iterator[Sequence[Any]], window: int) -> None:
        self._batches = batches
        self._upcoming = next(batches, None)
        self._window = window
        self._n_begun = 0
        self._n_taken = 0
        self._returned: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._answers: dict[int, dict[int, Answer]] = {}  # by batch, then place
        self._n_parts: dict[int, int] = {}  # answers a batch needs, where it was taken apart

    def next_task(self, *, is_idle: bool) -> _Task | None:
        """A suspect first, and only for an idle worker; then what came back, then a new batch."""
        if self._suspects:
            return self._suspects.popleft() if is_idle else None
        if self._returned:
            return self._returned.popleft()
        if self._upcoming is None or self._n_begun >= self._n_taken + self._window:
            return None
        task = _Task(self._n_begun, self._upcoming)
        self._n_begun += 1
        self._upcoming = next(self._batches, None)
        return task

    def give_back(self, task: _Task) -> None:
        """Take back a task that its worker had not begun."""
        self._returned.appendleft(task)

    def suspect(self, task: _Task, death: str) -> None:
        """Note that a worker died at a task: try again, then item by item, then give up on the item."""
        if task.trial == "first":
            self._suspects.append(_Task(task.number, task.items, "again"))
        elif len(task.items) == 1:
            self._keep(task, Answer(task.items, None, death))
        else:
            self._n_parts[task.number] = len(task.items)
            self._suspects.extend(_Task(task.number, [item], "alone", place) for place, item in enumerate(task.items))

    def answer(self, task: _Task, result: Any) -> None:
        """Note what came of a task."""
        self._keep(task, Answer(task.items, result))

    def _keep(self, task: _Task, answer: Answer) -> None:
        self._answers.setdefault(task.number, {})[task.place] = answer

    def is_done(self) -> bool:
        """Nothing is left to begin or to take."""
        return self._upcoming is None and self._n_taken == self._n_begun

    def is_answered(self) -> bool:
        """The next batch in order has all its answers."""
        return len(self._answers.get(self._n_taken, ())) == self._n_parts.get(self._n_taken, 1)

    def take(self) -> list[Answer]:
        """Hand out the next batch in order."""
        answers = self._answers.pop(self._n_taken)
        self._n_taken += 1
        return [answer for _, answer in sorted(answers.items())]


class _Worker:
    """One child process as its parent sees it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.pending: deque[_Task] = deque()  # oldest first: the one it is at
        self.is_ready = False
        self.last_words = ""  # last line of its standard error, once it has ended
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the worker
        paths = [str(path) or _current_folder() for path in sys.path]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOTSTRAP, str(theirs.fileno()), str(os.getpid()), json.dumps(paths)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env={**os.environ, **dict.fromkeys(THREAD_COUNTS, "1")},
                process_group=0,  # Ctrl-C in the terminal reaches the parent alone, which ends its children
            )
        self.link = Connection(ours.detach())

    def send(self, message: object) -> None:
        """Send, or leave a death unnoticed here: reading from the link reports it."""
        try:
            self.link.send(message)
        except OSError:
            return

    def give(self, task: _Task) -> None:
        self.pending.append(task)
        self.send(task.items)

    def holds_suspect(self) -> bool:
        return any(task.trial != "first" for task in self.pending)

    def end(self, grace_s: float) -> str:
        """Wait up to `grace_s`, then kill; say how it ended."""
        self.link.close()
        try:
            code = self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - 4000, 0))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self.last_words = lines[-1] if lines else ""
        self._errors.close()
        if code >= 0:
            return f"exit code {code}"
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  # sys.path holds strings
    except FileNotFoundError:
        return "/"


def serve() -> None:
    """Be a worker: set up, then answer batches until the parent closes the link or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link, parent_pid = Connection(int(sys.argv[1])), int(sys.argv[2])
    orders: SimpleQueue[Any] = SimpleQueue()
    replies: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(link, parent_pid, orders), daemon=True).start()
    threading.Thread(target=_reply, args=(link, replies), daemon=True).start()
    first = orders.get()
    if first is None:
        return
    try:
        handler = _resolve(first[0])(first[1])
        replies.put(("ready", None))
        while (items := orders.get()) is not None:
            replies.put(("answer", handler(items)))
    except CuratorError as error:
        replies.put(("failed", error))
    except Exception as error:
        # Anything else is our own fault. It must reach the parent as one line; the trace goes to standard error.
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}"
        replies.put(("failed", WorkerFailed(f"a worker failed with {text} ({place.filename}:{place.lineno})")))
    while orders.get() is not None:
        pass  # the parent closes the link when it has read the failure


def _listen(link: Connection, parent_pid: int, orders: SimpleQueue[Any]) -> None:
    """Take orders at any time, so that the parent never waits to send; notice its end even in mid-batch.

    End-of-file is not enough: a process that the parent forked holds a copy of
    its end of the socket.
    """
    try:
        while True:
            while not link.poll(1.0):
                if os.getppid() != parent_pid:
                    os._exit(0)
            orders.put(link.recv())
    except (EOFError, OSError):
        orders.put(None)
        time.sleep(GRACE_S)
        os._exit(0)


def _reply(link: Connection, replies: SimpleQueue[tuple[str, Any]]) -> None:
    """Send apart from the work: while the parent is busy with a model the next batch goes on."""
    try:
        while True:
            link.send(replies.get())
    except OSError:
        return  # the parent is gone; the listener ends this process


def _resolve(target: str) -> Callable[[Any], Handler]:
    module, _, name = target.partition(":")
    function: Callable[[Any], Handler] = getattr(importlib.import_module(module), name)
    return function
