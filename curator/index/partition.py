"""Stand-ins divided among k-means centres, in the numbers of their bound.

Serves those who would not compare all with all: `approximate` looks into a few lists, `regions`
leaves out what the triangle inequality rules out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.index import bf16
from curator.index.bounds import Bound

PER_LIST = 48  # stand-ins of the sample that each list is trained on
ROUNDS = 3  # of k-means; more changes little
BLOCK = 4_096  # stand-ins compared with all centres at once


@dataclass(frozen=True, slots=True)
class Partition:
    """Lists of positions around centres."""

    centres: NDArray[Any]  # (c, w) in the numbers of the bound
    of: IntArray  # (n,) list of each position, that of its nearest centre
    best: NDArray[Any]  # (n,) score to that centre

    def __len__(self) -> int:
        return len(self.centres)


def divide(bound: Bound, n_lists: int, *, seed: int) -> Partition:
    """A few rounds of spherical k-means on a sample, then everyone to the nearest centre."""
    rng = np.random.default_rng(seed)
    n = len(bound.numbers)
    n_lists = min(n_lists, n)
    sample = bound.numbers.take(np.sort(rng.choice(n, min(n, PER_LIST * n_lists), replace=False)), axis=0)
    points = as_floats(sample)
    centres = points[rng.choice(len(sample), n_lists, replace=False)]
    for _ in range(ROUNDS):
        centres = _means(points, nearest(bound, sample, as_numbers(bound, centres))[0], centres)
    final = as_numbers(bound, centres)
    of, best = np.empty(n, np.int64), np.empty(n, bound.numbers.dtype)
    for start in range(0, n, 65_536):
        part = slice(start, start + 65_536)
        of[part], best[part] = nearest(bound, bound.numbers[part], final)
    return Partition(final, of, best)


def nearest(bound: Bound, rows: NDArray[Any], centres: NDArray[Any]) -> tuple[IntArray, NDArray[Any]]:
    """(m,) nearest centre of each row, and (m,) the score."""
    of, best = np.empty(len(rows), np.int64), np.empty(len(rows), rows.dtype)
    room = bound.room(BLOCK, len(centres))
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        scores = bound.scores(rows[part], centres, room)
        of[part] = scores.argmax(axis=1)
        best[part] = np.take_along_axis(scores, of[part, None], axis=1)[:, 0]
    return of, best


def as_floats(numbers: NDArray[Any]) -> FloatArray:
    """The same numbers as float32."""
    return bf16.floats(numbers) if numbers.dtype == np.int16 else numbers


def as_numbers(bound: Bound, points: FloatArray) -> NDArray[Any]:
    """The points in the numbers of the bound, rounded to the nearest."""
    return bf16.rounded(points) if bound.is_half else points


def _means(points: FloatArray, of: IntArray, before: FloatArray) -> FloatArray:
    """(c, w) mean direction of each list; a list that nobody is in stays where it was."""
    order = np.argsort(of, kind="stable")
    lists, starts = np.unique(of[order], return_index=True)
    sums = np.add.reduceat(points[order], starts, axis=0)
    centres = before.copy()
    centres[lists] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-12))
    return centres
