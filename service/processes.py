"""One child process: started, listened to, stopped.

Knows pipes and signals; knows nothing of jobs or workspaces. What the child
prints is bounded here: a result beyond `MAX_RESULT_BYTES` is given up, of the
log the last `LOG_BYTES` are kept.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import curator

LOG_BYTES = 64 << 10
MAX_RESULT_BYTES = 4 << 20
MAX_LINE_BYTES = 64 << 10
TICK_S = 0.1
GRACES_S = ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0))
"""How a child is asked to stop, and how long it gets before the next, ruder way."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a child is."""

    stage: str
    done: int
    total: int | None


@dataclass
class Heard:
    """What a child has said so far; written by its readers, read by its owner."""

    progress: Progress | None = None
    n_changes: int = 0  # grows with each piece of progress or line of log
    log: deque[bytes] = field(default_factory=deque)
    log_bytes: int = 0
    result: bytearray = field(default_factory=bytearray)
    is_too_large: bool = False

    def log_tail(self) -> str:
        """The last lines."""
        return b"".join(list(self.log)).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int  # negative: the signal that killed it
    was_stopped: bool  # because it was asked to


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    heard: Heard,
    *,
    tick: Callable[[], bool],
    graces_s: Sequence[tuple[signal.Signals, float]] = GRACES_S,
) -> Ended:
    """Run `curator` with these arguments until it ends or `tick` says to stop it.

    The child has a process group and an empty working folder of its own. The calling
    thread must live as long as the child: on Linux the child dies with it.

    Args:
        environment: added to that of this process.
        heard: filled as the child speaks.
        tick: called several times a second; True: stop the child.
    """
    with tempfile.TemporaryDirectory(prefix="curator-job-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "service.child", str(os.getpid()), *arguments],
            cwd=folder, env=_environment(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=_read_result, args=(process.stdout, heard), daemon=True),
            threading.Thread(target=_read_log, args=(process.stderr, heard), daemon=True),
        ]
        for reader in readers:
            reader.start()
        was_stopped = False
        try:
            while not _has_ended(process, TICK_S):
                if tick():
                    was_stopped = True
                    stop(process, graces_s)
                    break
        finally:
            stop(process, graces_s[-1:])  # also what the child may have left in its group
            for reader in readers:
                reader.join(10.0)
            process.stdout.close()
            process.stderr.close()
        return Ended(process.returncode, was_stopped)


def stop(process: subprocess.Popen[bytes], graces_s: Sequence[tuple[signal.Signals, float]]) -> None:
    """Ask the child's group to end, ever more rudely, until the child has."""
    for number, grace_s in graces_s:
        with suppress(ProcessLookupError, PermissionError):  # all gone already
            os.killpg(process.pid, number)
        if _has_ended(process, grace_s):
            return


def result_of(heard: Heard) -> Any:
    """What the child printed, as JSON values; None where that is no JSON."""
    try:
        return json.loads(bytes(heard.result))
    except ValueError:
        return None


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """That of this process, with our code found first, whatever folder the child starts in."""
    here = str(Path(curator.__file__).resolve().parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, **own, "PYTHONPATH": os.pathsep.join(paths)}


def _has_ended(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read_result(pipe: IO[bytes], heard: Heard) -> None:
    while piece := os.read(pipe.fileno(), 1 << 16):
        if len(heard.result) + len(piece) > MAX_RESULT_BYTES:
            heard.is_too_large = True  # and read on, so that the child is not held up
        else:
            heard.result += piece


def _read_log(pipe: IO[bytes], heard: Heard) -> None:
    while line := pipe.readline(MAX_LINE_BYTES):
        progress = _progress(line)
        if progress is not None:
            heard.progress = progress
        else:
            heard.log.append(line)
            heard.log_bytes += len(line)
            while heard.log_bytes > LOG_BYTES:
                heard.log_bytes -= len(heard.log.popleft())
        heard.n_changes += 1


def _progress(line: bytes) -> Progress | None:
    if not line.startswith(b'{"progress"'):
        return None
    try:
        told = json.loads(line)["progress"]
        return Progress(
            str(told["stage"])[:64], int(told["done"]), None if told["total"] is None else int(told["total"])
        )
    except (ValueError, KeyError, TypeError):
        return None
