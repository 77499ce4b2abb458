"""What an index is asked to be, and the threads it may use while it is at it."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar

from curator.errors import UsageError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
Kind = Literal["auto", "flat", "ivf", "hnsw"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """Which search structure to use and how good it has to be."""

    kind: Kind = "auto"  # auto: flat up to `flat_up_to` vectors, ivf above
    flat_up_to: int = 50_000  # exact search is fast enough below: about 5 ms for one query on one core
    min_recall: float = 0.95  # floor 0..1 for the measured recall; 1.0 asks for exact search
    sample: int = 500  # vectors whose true neighbours are searched to measure the recall
    threads: int | None = None  # None: as many as the libraries take by themselves
    device: Device = "auto"  # auto: CUDA where it is seen and the work is large enough to pay the copy
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_recall <= 1.0:
            raise UsageError(f"min_recall is {self.min_recall}; expected a share from 0 to 1")
        if self.sample < 1:
            raise UsageError(f"sample is {self.sample}; expected at least 1 vector to measure the recall on")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads is {self.threads}; expected at least 1, or none for the libraries' own choice")


def find_faiss() -> ModuleType | None:
    """The faiss module, or None on a machine without it."""
    try:
        import faiss
    except ImportError:
        return None
    module: ModuleType = faiss
    return module


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Hold faiss and the BLAS libraries to so many threads, and restore them afterwards; None changes nothing."""
    if threads is None:
        yield
        return
    with ExitStack() as undo:
        if find_spec("threadpoolctl") is not None:
            undo.enter_context(_pools(len(sys.modules)).limit(limits=threads))
        undo.enter_context(faiss_threads(threads))
        yield


@lru_cache(1)
def _pools(n_modules: int) -> ThreadpoolController:
    """The thread pools of the loaded libraries; finding them takes milliseconds, so again only after an import."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def faiss_threads(threads: int | None) -> Iterator[None]:
    """Hold faiss alone to so many threads; cheap enough for one query.

    Apart from the others because its OpenMP keeps one number per calling thread.
    """
    faiss = find_faiss()
    if faiss is None or threads is None:
        yield
        return
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def in_threads(task: Callable[[int], T], items: Sequence[int], *, threads: int | None) -> Generator[T, None, None]:
    """Results of independent tasks, in the order of `items`. Numpy lets go of the interpreter in GEMMs and comparisons.

    One BLAS thread per worker: narrow GEMMs do not thread well, and two pools fight. Where the
    BLAS cannot be held to one thread there is one worker and BLAS has the cores. Few tasks are
    handed out ahead, so that a caller who stops early stops the work as well.
    """
    n_workers = min(threads or _n_cores(), len(items))
    if n_workers <= 1 or find_spec("threadpoolctl") is None:
        with limited_threads(threads):
            yield from map(task, items)
        return
    with limited_threads(1), ThreadPoolExecutor(n_workers) as pool:
        ahead = deque(pool.submit(task, item) for item in items[: 2 * n_workers])
        for item in items[2 * n_workers :]:
            yield ahead.popleft().result()
            ahead.append(pool.submit(task, item))
        while ahead:
            yield ahead.popleft().result()


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # honours the cores a container or taskset leaves us
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
