"""A short stand-in for each vector, whose dot products bound the cosine from above.

Rotate by PCA and keep m coordinates and the length r of what is left. By Cauchy-Schwarz
<x, y> <= <x_m, y_m> + r_x r_y, so one GEMM of width m + 1 tells which pairs may reach a threshold.
Where the processor multiplies bfloat16 fast, the stand-ins are rounded to it and what rounding can
take away is subtracted from the floor, so that still no pair is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.index import bf16

SLACK = 2e-5  # what a float32 GEMM of up to some thousand numbers may be off; decisions are made in float64
WIDTHS = (16, 24, 32, 48, 64, 96, 128)  # prefix lengths to choose from
HALF_WIDTHS = (31, 63, 95, 127, 191, 255)  # with the rest a multiple of 32, which bfloat16 instructions take at once
SMALL = 4_096  # vectors below which the GEMM of whole vectors takes no time


@dataclass(frozen=True, slots=True)
class Bound:
    """Stand-ins and the floor below which a pair of them cannot reach the threshold."""

    numbers: NDArray[Any]  # (n, w) float32, or the bits of bfloat16
    floor: np.float32 | np.int16  # of a score, in the same numbers
    least: float  # product that the stand-ins of a wanted pair have at least, before its own rounding
    is_plain: bool = False  # the stand-ins are the float32 vectors themselves

    @property
    def width(self) -> int:
        """Numbers per vector."""
        return int(self.numbers.shape[1])

    @property
    def is_half(self) -> bool:
        """Whether the numbers are bfloat16."""
        return self.numbers.dtype == np.int16

    def of(self, at: IntArray) -> NDArray[Any]:
        """Stand-ins of the positions `at`, (m, w); bfloat16 filled up with zeros to a shape that is prepared."""
        numbers = self.numbers.take(at, axis=0)
        return bf16.filled(numbers) if self.is_half else numbers

    def room(self, rows: int, columns: int) -> NDArray[Any]:
        """Room for the scores of a block of up to so many rows and columns."""
        if self.is_half:
            return np.empty((bf16.padded(rows), bf16.padded(columns)), np.int16)
        return np.empty((rows, columns), np.float32)

    def scores(self, left: NDArray[Any], right: NDArray[Any], room: NDArray[Any]) -> NDArray[Any]:
        """(m, c) dot products of stand-ins, to be compared with `floor`; valid until `room` is used again."""
        if self.is_half:
            return bf16.product(left, right, room)
        is_whole = len(right) == room.shape[1]  # a narrower result would not lie together in `room`
        return np.matmul(left, right.T, out=room[: len(left)] if is_whole else None)


def make_bound(vectors: FloatArray, threshold: float) -> Bound:
    """The cheapest stand-ins for all pairs, chosen on a sample; the vectors themselves where no prefix pays.

    Args:
        vectors: (n, d) float32 of length 1.
        threshold: cosine at or above which no pair may be missed.
    """
    n, d = vectors.shape
    plain = plain_bound(vectors, threshold)
    if n < SMALL or d <= WIDTHS[0]:
        return plain
    half = threshold > 0.05 and bf16.worth(n * n / 2)
    widths = HALF_WIDTHS if half else WIDTHS
    axes = _axes(vectors, min(widths[-1], d))  # (d, w)
    few, many = vectors[:: -(-n // 256)], vectors[1 :: -(-n // 2_048)]

    def cost(width: int) -> float:
        share = _share(few, many, axes[:, :width], threshold - (0.006 if half else SLACK)) if width < d else 0.0
        return _cost_ns(width, d, share, half=half)

    width = min((w for w in (*widths, d) if w <= d), key=cost)
    if half:
        return _half_bound(vectors, axes[:, :width] if width < d else None, threshold)
    return plain if width == d else Bound(prefix(vectors, axes[:, :width]), plain.floor, plain.least)


def plain_bound(vectors: FloatArray, threshold: float) -> Bound:
    """The vectors for themselves."""
    return Bound(vectors, np.float32(threshold - SLACK), threshold - SLACK, is_plain=True)


def prefix(vectors: FloatArray, axes: FloatArray) -> FloatArray:
    """First coordinates along `axes` (d, m) and, last, the length of the rest; a little long, never short."""
    numbers = np.empty((len(vectors), axes.shape[1] + 1), np.float32)
    for start in range(0, len(vectors), 65_536):
        rows = vectors[start : start + 65_536]
        kept = rows @ axes  # (b, m)
        rest = np.einsum("ij,ij->i", rows, rows) - np.einsum("ij,ij->i", kept, kept)
        numbers[start : start + len(rows), :-1] = kept
        # The difference of two float32 sums is off by some 1e-7; under a root near 0 that would be 3e-4.
        numbers[start : start + len(rows), -1] = np.sqrt(np.maximum(rest, 0.0) + 1e-6)
    return numbers


def _half_bound(vectors: FloatArray, axes: FloatArray | None, threshold: float) -> Bound:
    """The prefix, or without axes the whole vectors, in bfloat16 and a floor lowered by what rounding may take.

    With x = p + e, where p is the rounded prefix put back into place and e all that is missing,
    <x, y> = <p_x, p_y> + <p_x, e_y> + <e_x, p_y> + <e_x, e_y>. The two in the middle see only the
    rounding error of the coordinates, at most `error` long; the last is at most r_x r_y.
    """
    n, d = vectors.shape
    width = d if axes is None else axes.shape[1] + 1
    bits = np.empty((n, width), np.int16)
    error, longest, rest = 0.0, 0.0, 0.0
    for start in range(0, n, 65_536):
        rows = vectors[start : start + 65_536]
        kept = rows if axes is None else rows @ axes  # (b, m)
        near = bf16.rounded(kept)
        back = bf16.floats(near)
        off = np.einsum("ij,ij->i", kept - back, kept - back)
        length = np.einsum("ij,ij->i", back, back)
        error, longest = max(error, float(off.max())), max(longest, float(length.max()))
        if axes is None:
            bits[start : start + len(rows)] = near
            rest = error
        else:
            left_over = np.einsum("ij,ij->i", rows, rows) - np.einsum("ij,ij->i", kept, kept)
            tail = np.sqrt(np.maximum(left_over, 0.0) + off + np.float32(1e-6))
            bits[start : start + len(rows), :-1] = near
            bits[start : start + len(rows), -1] = bf16.rounded(tail, up=True)
    # `rest` stands for r_x r_y where no coordinate carries it; sums of w products are off by w roundings of float32.
    lowered = threshold - 2 * (error * longest) ** 0.5 - rest - SLACK - width * 2.0**-23
    floor = np.array([lowered], np.float32)  # rounding keeps order: a score at or above it rounds to one above its own
    if lowered <= 0.0:
        return plain_bound(vectors, threshold)
    return Bound(bits, np.int16(bf16.rounded(floor)[0]), lowered)


def _axes(vectors: FloatArray, width: int) -> FloatArray:
    """(d, width) principal axes of a sample, not centred, the strongest first."""
    sample = vectors[:: -(-len(vectors) // 20_000)].astype(np.float32)
    _, axes = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(axes[:, ::-1][:, :width])


def _cost_ns(width: int, dim: int, candidates: float, *, half: bool) -> float:
    """Rough cost of one pair: GEMM of the bound, its scan, and the share looked at in full."""
    if half:
        return 0.36 + 0.0011 * width + min(400.0 * candidates, 0.023 * dim)
    return 0.023 * (width + 1) + 0.25 + min(500.0 * candidates, 0.023 * dim)


def _share(few: FloatArray, many: FloatArray, axes: FloatArray, floor: float) -> float:
    return float((prefix(few, axes) @ prefix(many, axes).T >= floor).mean())
