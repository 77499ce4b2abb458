"""What a pick closes for later picks: copies of it, and frames of its clip too near in time.

Knows vectors, clips and seconds; knows nothing of what makes a candidate good.
A limit is a frozen wish over all n points (`Rule`); `start` makes the state of
one run over some of them (`Closing`), whose points are called 0..m-1. Rules
travel inside `quotas.Caps`, so every method that honours caps honours them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadSelection
from curator.selection.picks import Growing, best_similarity, blocks, positions_of

NEAR = np.float32(1e-6)  # a distance short by rounding alone is kept; times in seconds alike
ROWS = 8_192


class Closing(Protocol):
    """What is closed so far in one run; a point closed once stays closed."""

    def is_open(self, point: int) -> bool:
        """Whether this point may still be picked."""

    def take(self, point: int) -> None:
        """Pick this point."""

    def open_mask(self) -> BoolArray:
        """(m,) which points may still be picked."""


class Rule(Protocol):
    """A limit over n points, before any run."""

    @property
    def words(self) -> str:
        """How it reads in a sentence about a shortfall."""

    def start(self, among: IntArray) -> Closing:
        """The state of one run over the points at these positions."""


@dataclass(frozen=True, slots=True)
class Apart:
    """No two picks nearer to each other, or to a preselected point, than a cosine distance.

    Raises:
        BadSelection: a distance outside 0..2.
    """

    vectors: FloatArray  # (n, d) unit vectors
    distance: float  # 1 - cosine, 0..2
    given: IntArray | Sequence[int] | None = None  # preselected positions

    def __post_init__(self) -> None:
        if not 0.0 <= self.distance <= 2.0:
            raise BadSelection(
                f"min_distance {self.distance}; expected a cosine distance from 0 to 2, such as 0.05 (similarity 0.95)"
            )

    @property
    def words(self) -> str:
        """The limit in words."""
        return f"the least distance of {self.distance:g} between picks"

    def start(self, among: IntArray) -> Closing:
        """The state of one run."""
        return _Apart(self, among)


@dataclass(frozen=True, slots=True)
class Spacing:
    """Picks of one clip lie at least so many seconds apart; points without a clip are free.

    Raises:
        BadSelection: seconds below 0, or clips and times of different lengths.
    """

    clips: IntArray  # (n,) number of the clip, -1: of none
    times: NDArray[np.float64]  # (n,) seconds from the start of the clip; not read where there is no clip
    seconds: float
    given: IntArray | Sequence[int] | None = None  # preselected positions

    def __post_init__(self) -> None:
        if not self.seconds >= 0.0:
            raise BadSelection(f"spacing of {self.seconds} s between picks of a clip; expected 0 or more")
        if len(self.clips) != len(self.times):
            raise BadSelection(f"{len(self.clips)} clips and {len(self.times)} times; expected one of each per vector")

    @property
    def words(self) -> str:
        """The limit in words."""
        return f"the spacing of {self.seconds:g} s within a clip"

    def start(self, among: IntArray) -> Closing:
        """The state of one run."""
        return _Spacing(self, among)


class _Apart:
    """A point is compared with the picks it missed when somebody asks about it, so most are never compared."""

    def __init__(self, rule: Apart, among: IntArray) -> None:
        self._vectors, self._among = rule.vectors, among
        self._limit = np.float32(1.0 - rule.distance) + NEAR
        self._open = np.ones(len(among), np.bool_)
        given = positions_of(rule.given)
        if len(given):
            for part in blocks(len(among), ROWS):
                self._open[part] = best_similarity(rule.vectors[among[part]], rule.vectors[given]) <= self._limit
        self._seen = np.zeros(len(among), np.int64)
        self._chosen = Growing(rule.vectors.shape[1])

    def is_open(self, point: int) -> bool:
        if self._open[point] and self._seen[point] < len(self._chosen):
            missed = self._chosen.rows[int(self._seen[point]) :]
            self._open[point] = float((missed @ self._vectors[self._among[point]]).max()) <= self._limit
            self._seen[point] = len(self._chosen)
        return bool(self._open[point])

    def take(self, point: int) -> None:
        self._chosen.append(self._vectors[self._among[point]])
        self._open[point] = False

    def open_mask(self) -> BoolArray:
        at = np.flatnonzero(self._open & (self._seen < len(self._chosen)))
        for part in blocks(len(at), ROWS):
            slots = at[part]
            missed = self._chosen.rows[int(self._seen[slots].min()) :]
            self._open[slots] = best_similarity(self._vectors[self._among[slots]], missed) <= self._limit
        self._seen[at] = len(self._chosen)
        return self._open.copy()


class _Spacing:
    """Points sorted by clip and time; a pick closes the run of them around itself."""

    def __init__(self, rule: Spacing, among: IntArray) -> None:
        self._room = rule.seconds - float(NEAR)
        self._clips, self._times = rule.clips[among], np.asarray(rule.times, np.float64)[among]
        self._open = np.ones(len(among), np.bool_)
        timed = np.flatnonzero((self._clips >= 0) & np.isfinite(self._times))
        order = timed[np.lexsort((self._times[timed], self._clips[timed]))]
        self._order, self._sorted = order, self._times[order]
        starts = np.searchsorted(self._clips[order], np.arange(int(self._clips.max(initial=-1)) + 2))
        self._starts = starts.astype(np.int64)
        for at in positions_of(rule.given).tolist():
            self._close(int(rule.clips[at]), float(rule.times[at]))

    def is_open(self, point: int) -> bool:
        return bool(self._open[point])

    def take(self, point: int) -> None:
        self._close(int(self._clips[point]), float(self._times[point]))
        self._open[point] = False

    def open_mask(self) -> BoolArray:
        return self._open.copy()

    def _close(self, clip: int, time: float) -> None:
        if not 0 <= clip < len(self._starts) - 1 or not np.isfinite(time) or self._room <= 0:
            return
        first, last = int(self._starts[clip]), int(self._starts[clip + 1])
        times = self._sorted[first:last]
        low = first + int(np.searchsorted(times, time - self._room, "right"))  # farther than room, or as far: open
        high = first + int(np.searchsorted(times, time + self._room, "left"))
        self._open[self._order[low:high]] = False
