"""Which pairs may be compared at all: those of one group, or of one clip and close in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadEmbeddings, UsageError

TICK = 1_000_000  # parts of a second that times are told apart by


@dataclass(frozen=True, slots=True)
class Comparable:
    """Places on a line; a pair may be compared when its two places are at most `reach` apart.

    One line says both: groups stand a reach apart, and within a clip the frames stand by their time.
    """

    place: IntArray  # (n,)
    reach: int = 0

    def allows(self, left: IntArray, right: IntArray) -> BoolArray:
        """(m,) whether the positions of each pair may be compared."""
        allowed: BoolArray = np.abs(self.place[left] - self.place[right]) <= self.reach
        return allowed


def same_group(*codes: IntArray) -> Comparable:
    """Pairs that agree in every one of `codes`, (n,) each."""
    return Comparable(_joint(codes))


def close_in_time(times: FloatArray, window_s: float, *codes: IntArray) -> Comparable:
    """Pairs that agree in every one of `codes` and are at most `window_s` seconds apart.

    Args:
        times: (n,) seconds; what has none (NaN) is compared with nothing.
        codes: (n,) each, such as the clip.

    Raises:
        UsageError: a window that is negative or not finite.
    """
    if not 0.0 <= window_s < np.inf:
        raise UsageError(f"window_s is {window_s}; expected seconds, 0 or more")
    seconds = np.asarray(times, np.float64)
    timed = np.isfinite(seconds)
    n = len(seconds)
    lone = np.where(timed, 0, np.arange(1, n + 1))  # a group of its own for each without a time
    group = _joint((*codes, lone))
    first = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(first, group, np.where(timed, seconds, 0.0))
    since = np.rint((np.where(timed, seconds, 0.0) - first[group]) * TICK).astype(np.int64)  # ticks since the first
    span = np.zeros(len(first), np.int64)
    np.maximum.at(span, group, since)
    # No two of a group are further apart than the longest lasts, and a wider reach would run out of numbers.
    reach = round(min(window_s * TICK, float(span.max(initial=0))))
    begins = np.concatenate([[0], np.cumsum(span + reach + 1)[:-1]]).astype(np.int64)
    return Comparable(begins[group] + since, reach)


def check_codes(n: int, **codes: IntArray | FloatArray | BoolArray | None) -> None:
    """Raise BadEmbeddings where one of the named arrays is given and not (n,)."""
    for name, values in codes.items():
        if values is not None and values.shape != (n,):
            raise BadEmbeddings(f"{name} of shape {values.shape} for {n} vectors; expected ({n},), one each")


def _joint(codes: tuple[IntArray, ...]) -> IntArray:
    """(n,) one dense code for each combination."""
    joint = np.zeros(len(codes[0]), np.int64)
    for code in codes:
        dense = np.unique(code, return_inverse=True)[1].astype(np.int64)
        joint = np.unique(joint * (int(dense.max(initial=0)) + 1) + dense, return_inverse=True)[1].astype(np.int64)
    return joint
