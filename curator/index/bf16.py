"""Products of matrices in bfloat16, where the processor has instructions for them.

A bfloat16 has 8 significant bits: good enough to say which pairs cannot reach a similarity, once
the rounding is subtracted, and never to decide one. Whoever uses it takes the decision in more bits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray
from curator.index.rough import is_fast, one_thread

Bits = NDArray[np.int16]
"""bfloat16 numbers by their bits. Among numbers above zero the bits have the order of the numbers."""

WORTH = 2e9  # products of two vectors below which loading torch costs more than it saves
STEP = 32  # rows of a product come in multiples of this, for new shapes are slow
WIDE_STEP = 256


def rounded(numbers: FloatArray, *, up: bool = False) -> Bits:
    """The nearest bfloat16 of each number, ties to even; with `up` the next one that is not smaller.

    Args:
        numbers: float32, finite; not negative where `up`.
    """
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    half: Any = np.uint32(0xFFFF) if up else np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    short: Bits = ((bits + half) >> np.uint32(16)).astype(np.uint16).view(np.int16)
    return short


def floats(bits: Bits) -> FloatArray:
    """The float32 that each bfloat16 is."""
    wide: FloatArray = (bits.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide


def product(left: Bits, right: Bits, room: Bits) -> Bits:
    """left @ right.T, summed in float32 and rounded to bfloat16.

    Filled up with zeros to one of few shapes: preparing a new one costs a millisecond, more than
    most products here.

    Args:
        left: (m, d) bits; right: (c, d) bits.
        room: to work in; at least (padded(m), padded(c)).

    Returns:
        (m, c), a part of `room`.
    """
    import torch

    a, b = filled(left), filled(right)
    out = room[: len(a), : len(b)]
    tensors = (torch.from_numpy(bits).view(torch.bfloat16) for bits in (a, b, out))
    x, y, z = tensors
    torch.mm(x, y.T, out=z)
    return out[: len(left), : len(right)]


def padded(rows: int) -> int:
    """Rows of the shape that so many are filled up to."""
    step = STEP if rows <= WIDE_STEP else WIDE_STEP
    return -(-rows // step) * step


def filled(bits: Bits) -> Bits:
    """The rows, and zeros below up to the next prepared shape."""
    missing = padded(len(bits)) - len(bits)
    return bits if missing == 0 else np.concatenate([bits, np.zeros((missing, bits.shape[1]), np.int16)])


def worth(n_products: float) -> bool:
    """Whether so many products of two vectors pay the loading of torch, and bfloat16 is fast here.

    Changes the time and never the answer, so it may depend on the machine.
    """
    return (n_products >= WORTH or (n_products >= WORTH / 50 and "torch" in sys.modules)) and is_fast()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Hold torch to one thread per caller where it is loaded, and restore it afterwards."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with one_thread.held(torch):
        yield
