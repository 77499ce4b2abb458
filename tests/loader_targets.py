"""Work for the loader's pool to hand to workers; apart from the tests, so that a worker imports little."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def sleepy(setup: float) -> Callable[[Sequence[int]], list[int]]:
    def handle(items: Sequence[int]) -> list[int]:
        time.sleep(setup * (items[0] % 3))
        return [item * 10 for item in items]

    return handle


def dies_once(marker: str) -> Callable[[Sequence[int]], int]:
    def handle(items: Sequence[int]) -> int:
        if 3 in items and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return sum(items)

    return handle


def fails(setup: object) -> Callable[[Sequence[int]], object]:
    def handle(items: Sequence[int]) -> object:
        raise setup if isinstance(setup, Exception) else ZeroDivisionError("items by nothing")

    return handle


def never_starts(setup: object) -> object:
    print("the library is broken", file=sys.stderr)
    os._exit(3)


def settings(setup: object) -> Callable[[Sequence[int]], dict[str, Any]]:
    def handle(items: Sequence[int]) -> dict[str, Any]:
        return {"threads": os.environ["OMP_NUM_THREADS"], "main": sys.modules["__main__"].__dict__.get("__file__")}

    return handle
