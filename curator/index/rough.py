"""Rough matrix products: bf16 inside, float32 outside, where the processor makes those several times faster.

Processors with matrix units (Intel AMX) multiply bf16 ten times as fast as float32. What is found
by rough products is only a candidate: whoever uses them computes the similarity of candidates
again in float32 and decides on that. Where bf16 does not pay there are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from curator.data import FloatArray, IntArray
from curator.index.spec import limited_threads

Product = Callable[[FloatArray, FloatArray], FloatArray]
"""(b, d), (c, d) -> (b, c) float32, the dot product of every row with every row."""

ROUNDED = 2.0**-8  # largest relative error of rounding to the 8 bits of bf16: half of the step of 2**-7 above 1
SUMMED = 5e-5  # what adding some thousand products in float32 may be off
PAYS = 2.5  # times faster than float32 from which candidates are worth computing twice; AMX: 4 to 6


def plain_product(left: FloatArray, right: FloatArray) -> FloatArray:
    """The product in float32."""
    product: FloatArray = left @ right.T
    return product


@cache
def is_fast() -> bool:
    """Whether rough products are several times as fast as plain ones here; tried once, for some 10 ms."""
    vectors = np.random.default_rng(0).standard_normal((1_024, 384), dtype=np.float32)
    with rough_products() as product:
        rough = min(_seconds(product, vectors) for _ in range(4))
    with limited_threads(1):
        plain = min(_seconds(plain_product, vectors) for _ in range(4))
    return plain >= PAYS * rough


@contextmanager
def products() -> Iterator[tuple[Product, bool]]:
    """The fastest product there is here, and whether it is rough."""
    if not is_fast():
        yield plain_product, False
        return
    with rough_products() as product:
        yield product, True


@contextmanager
def rough_products() -> Iterator[Product]:
    """Products by torch with bf16 inside, one thread each: whoever has many shares them out among workers.

    Precision and threads belong to the whole process (see `Setting`).
    """
    import torch

    with one_thread.held(torch), _medium.held(torch):
        yield _product


class Setting:
    """A setting of torch, for the whole process, while anybody needs it changed.

    All who change it go through one of these: two that each restore what they found would, one
    inside the other's time, leave it changed.
    """

    def __init__(self, name: str, value: str | int) -> None:
        self.name, self.value = name, value
        self.lock, self.users, self.before = Lock(), 0, value

    @contextmanager
    def held(self, torch: ModuleType) -> Iterator[None]:
        """The first who comes changes it, the last who goes restores it, whichever thread that is."""
        with self.lock:
            if self.users == 0:
                self.before = getattr(torch, f"get_{self.name}")()
                getattr(torch, f"set_{self.name}")(self.value)
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    getattr(torch, f"set_{self.name}")(self.before)


one_thread = Setting("num_threads", 1)
_medium = Setting("float32_matmul_precision", "medium")


def error_of(left: FloatArray, right: FloatArray) -> float:
    """How far a rough product of one of `left` and one of `right` may be from the true one.

    Rounding to bf16 moves each number by at most 2^-8 of itself, so a vector x by at most 2^-8 of
    its length, and <x, y> - <x', y'> = <x - x', y> + <x', y - y'>.
    """
    return 2.01 * ROUNDED * _longest(left) * _longest(right) + SUMMED


def round_up(positions: IntArray, *, least: int = 32) -> IntArray:
    """The positions, the last one repeated up to one of few lengths.

    Every new shape of a product costs a millisecond of preparation, more than a small product
    itself; with eight lengths between n and 2n, multiples of `least`, there are few shapes, and a
    sixteenth is wasted.
    """
    step = max(least, 1 << max(len(positions).bit_length() - 4, 0))
    return np.concatenate([positions, np.repeat(positions[-1:], -len(positions) % step)])


def as_tensor(array: Any) -> Any:
    """The array as a torch tensor, copied only where it cannot be written: torch warns at those."""
    import torch

    return torch.from_numpy(np.require(array, requirements="W"))


def _longest(vectors: FloatArray) -> float:
    blocks = (vectors[start : start + 8_192] for start in range(0, len(vectors), 8_192))
    return max(float(np.linalg.norm(block, axis=1).max()) for block in blocks)


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    import torch

    product: FloatArray = torch.mm(as_tensor(left), as_tensor(right).T).numpy()
    return product


def _seconds(product: Product, vectors: FloatArray) -> float:
    start = time.thread_time()
    product(vectors, vectors)
    return time.thread_time() - start
