"""A real server in a process of its own, for tests that need sockets, signals or several processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
START_S = 90.0  # a busy machine with a process per core


@dataclass
class Server:
    """A running `curator serve`."""

    process: subprocess.Popen[str]
    address: str
    log: list[str] = field(default_factory=list)  # lines of stderr so far

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(urlsplit(self.address).port or 0)

    def kill(self) -> None:
        """As the kernel would: no goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 60.0) -> int:
        """Politely; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def connect(self) -> socket.socket:
        """A bare connection, for what no HTTP library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def serving(root: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Serve a root on a free port of loopback until the block ends.

    Raises:
        RuntimeError: the server ended instead of starting; the message is its standard error.
    """
    command = [sys.executable, "-m", "curator", "serve", str(root), "--port", "0", "--json", *options]
    with started(command, env=env) as server:
        yield server


@contextmanager
def started(command: list[str], *, env: dict[str, str] | None = None, start_s: float = START_S) -> Iterator[Server]:
    """A server by the command that starts it with `--json`, until the block ends.

    Raises:
        RuntimeError: it ended instead of starting, or did not start in time.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log: list[str] = []
    assert process.stderr is not None
    assert process.stdout is not None
    errors = process.stderr
    reader = threading.Thread(target=lambda: log.extend(errors), daemon=True)
    reader.start()
    try:
        yield Server(process, _address(process, log, reader, start_s), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(10)
        process.stdout.close()
        process.stderr.close()


def _address(process: subprocess.Popen[str], log: list[str], reader: threading.Thread, start_s: float) -> str:
    assert process.stdout is not None
    text, until = "", time.monotonic() + start_s
    while time.monotonic() < until:
        line = process.stdout.readline()
        if not line:
            process.wait(10)
            reader.join(10)
            raise RuntimeError("".join(log) or text)
        text = line if line.startswith("{") else text + line  # what a script says before is passed over
        if line.startswith("}"):
            return str(json.loads(text)["address"])
    raise RuntimeError(f"no address within {start_s} s: {text}")
