"""Run the parts of a benchmark, each in a fresh process so that its peak memory is its own, and print them."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _synthetic import clustered

Figures = dict[str, Any]


def run_parts(
    run_part: Callable[[str, Path, argparse.Namespace], Figures], parts: Iterable[str], options: argparse.Namespace
) -> None:
    """Make the vectors once, then time each part and print a table, or with --json one object."""
    figures: dict[str, Figures] = {}
    if not options.json:
        print(f"{processor()}; {options.n:,} x {options.dim} synthetic vectors, {options.threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, clustered(options.n, options.dim, seed=options.seed))
        for name in options.only or parts:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures[name] = pool.apply(run_part, (name, path, options))
            if not options.json:
                show(name, figures[name])
    if options.json:
        print(json.dumps({"machine": processor(), "options": vars(options), **figures}))


def peak_mb() -> float:
    """Peak memory of this process. Not getrusage: its peak survives exec, so a child shows its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def processor() -> str:
    """Name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def show(name: str, figures: Figures) -> None:
    print(f"\n{name}")
    for label, value in figures.items():
        print(f"  {label:52s} {readable(value)}")


def readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " / ".join(map(readable, value)) or "none"
    return str(value)
