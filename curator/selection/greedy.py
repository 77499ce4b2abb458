"""The greedy loops, for any objective with diminishing returns.

Know gains and who is still open; what an objective measures is its own affair.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Progress
from curator.selection.quotas import Tally

SETTLED_BITS = 18
REPORT_EVERY = 256  # picks between two words of progress
ROUNDING = 1e-5  # share that bounds are raised by: gains measured together and alone round differently
POOL_MIN, POOL_MAX = 256, 4096  # candidates kept up to date between two looks at all
DRY_POOLS = 4  # pools in a row that gave little before all candidates are measured together
NOBODY = (-math.inf, 0)  # the highest bound outside a pool, and who has it first: none
ALONE = 8  # candidates measured one by one for a pick before the whole pool is


class Objective(Protocol):
    """What candidates would add; `gain` of one never rises as others are added, and is 0 or more."""

    def first_gains(self) -> FloatArray:
        """What each candidate adds to what is held now, (c,); an upper bound will do."""

    def gain(self, candidate: int) -> float:
        """What this candidate would add now."""

    def add(self, candidate: int) -> None:
        """Pick this candidate."""


@runtime_checkable
class Batched(Objective, Protocol):
    """An objective that measures many candidates together for little more than one."""

    def gains(self, candidates: IntArray) -> FloatArray:
        """What each of these would add now, (b,); an upper bound will do, close to the gain."""


def lazy_greedy(
    objective: Objective, budget: int, *, tally: Tally, progress: Progress, already: Sequence[int] = ()
) -> tuple[IntArray, FloatArray]:
    """Pick the candidate of highest gain, again and again, measuring as few as possible.

    A gain measured earlier is an upper bound of the gain now, so a candidate whose fresh gain
    beats all bounds is the best without measuring the others. Minoux, "Accelerated greedy
    algorithms for maximizing submodular set functions", 1978. Ties go to the lowest candidate, and
    gains that only rounding tells apart are ties, see `settle`.

    Args:
        budget: picks wanted beside those made already.
        already: candidates that the objective holds; they count for the caps.

    Returns:
        Candidates in the order picked, and what each added; fewer than `budget` when caps or
        candidates run out.
    """
    bounds = objective.first_gains()
    order = np.argsort(-bounds, kind="stable")
    if len(already):
        order = order[~np.isin(order, already)]
        for candidate in already:
            tally.take(candidate)
    unseen = list(zip((-bounds[order]).tolist(), order.tolist(), strict=True))[::-1]  # best last
    again: list[tuple[float, int]] = []  # heap of (-gain, candidate) measured before
    picked: list[int] = []
    gains: list[float] = []
    while len(picked) < budget and (unseen or again):
        bound = unseen.pop() if unseen and (not again or unseen[-1] < again[0]) else heapq.heappop(again)
        candidate = bound[1]
        if not tally.is_open(candidate):
            continue
        gain = settle(objective.gain(candidate))
        fresh = (-gain, candidate)
        if (unseen and unseen[-1] < fresh) or (again and again[0] < fresh):
            heapq.heappush(again, fresh)
            continue
        objective.add(candidate)
        tally.take(candidate)
        picked.append(candidate)
        gains.append(gain)
        if len(picked) % REPORT_EVERY == 0:
            progress("select", len(picked), budget)
    progress("select", len(picked), budget)
    return np.array(picked, np.int64), np.array(gains, np.float32)


def pooled_greedy(
    objective: Batched, budget: int, *, tally: Tally, progress: Progress, already: Sequence[int] = ()
) -> tuple[IntArray, FloatArray]:
    """The picks of `lazy_greedy`, for objectives where one pick moves the gain of nearly everyone.

    There a heap measures most candidates again for each pick, one by one. Here the candidates of
    highest bound form a pool, which is measured together and picked from while its best beats
    every bound outside; when pools give little, everyone is measured together.

    Args and returns: as `lazy_greedy`.
    """
    run = _Pooled(objective, budget, tally, already)
    size, dry = POOL_MIN, 0
    while len(run.picked) < budget:
        if dry >= DRY_POOLS:
            run.measure(np.flatnonzero(run.bound > -np.inf))
            if run.pick_from(np.arange(len(run.bound)), NOBODY, room=1) == 0:
                break
            dry = 0
            continue
        pool, outside = _highest(run.bound, size)
        if len(pool) == 0 or run.bound[pool].max() == -np.inf:
            break
        run.measure(pool)
        got = run.pick_from(pool, outside, room=budget - len(run.picked))
        progress("select", len(run.picked), budget)
        dry = dry + 1 if got * 16 < size else 0
        if got * 4 > size:
            size = min(2 * size, POOL_MAX)
        elif got * 32 < size:
            size = max(size // 2, POOL_MIN)
    progress("select", len(run.picked), budget)
    return np.array(run.picked, np.int64), np.array(run.gains, np.float32)


class _Pooled:
    """Upper bounds of all candidates, and the picks so far."""

    def __init__(self, objective: Batched, budget: int, tally: Tally, already: Sequence[int]) -> None:
        self._objective, self._tally = objective, tally
        self.bound = _raised(objective.first_gains())  # (c,) -inf: may not be picked
        self.picked: list[int] = []
        self.gains: list[float] = []
        for candidate in already:
            tally.take(candidate)
            self.bound[candidate] = -np.inf

    def measure(self, candidates: IntArray) -> None:
        """Bring the bounds of these up to date, together."""
        fresh = _raised(self._objective.gains(candidates))
        self.bound[candidates] = np.minimum(self.bound[candidates], fresh)

    def pick_from(self, pool: IntArray, outside: tuple[float, int], *, room: int) -> int:
        """Pick from a pool, in increasing order, while its best comes before all outside; how many it gave."""
        limit, first = outside
        values: NDArray[np.float64] = self.bound[pool]
        exact: BoolArray = np.zeros(len(pool), np.bool_)  # measured alone since the last pick
        got, alone = 0, 0
        while got < room:
            j = int(values.argmax())
            candidate = int(pool[j])
            if values[j] == -np.inf or values[j] < limit or (values[j] == limit and candidate >= first):
                break  # nobody left, or one outside may come first; ties go to the lowest
            if not self._tally.is_open(candidate):
                values[j] = -np.inf
            elif exact[j]:
                self._pick(candidate, float(values[j]))
                values[j] = -np.inf
                exact[:] = False
                got, alone = got + 1, 0
            else:
                if alone == ALONE and got < room and len(pool) <= POOL_MAX:
                    values = np.minimum(values, _raised(self._objective.gains(pool)))
                values[j] = min(values[j], settle(self._objective.gain(candidate)))
                exact[j] = True
                alone += 1
        self.bound[pool] = values
        return got

    def _pick(self, candidate: int, gain: float) -> None:
        self._objective.add(candidate)
        self._tally.take(candidate)
        self.picked.append(candidate)
        self.gains.append(gain)


def _highest(values: NDArray[np.float64], size: int) -> tuple[IntArray, tuple[float, int]]:
    """Where the `size` highest values are, the first of equal ones; also the highest of the others, and where.

    Places are in increasing order; the place of the highest outside is 0 where it is not known to be later.
    """
    if size >= len(values):
        return np.arange(len(values)), NOBODY
    least = np.partition(values, len(values) - size)[len(values) - size]
    above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
    room = size - len(above)
    pool = np.sort(np.concatenate([above, equal[:room]]))
    if room < len(equal):
        return pool, (float(least), int(equal[room]))
    return pool, (float(values[values < least].max()), 0)


def _raised(gains: FloatArray) -> NDArray[np.float64]:
    """Bounds of the same gains measured alone."""
    raised: NDArray[np.float64] = gains * (1.0 + ROUNDING * np.sign(gains).astype(np.float64))
    return raised


def settle(gain: float) -> float:
    """Round to 18 bits, 4e-6 of the value.

    Two points that are alike to each other and to nothing else gain the same, but their sums round
    differently on other processors or numbers of threads, and the selection would differ with them.
    """
    mantissa, exponent = math.frexp(gain)
    return math.ldexp(round(mantissa * 2**SETTLED_BITS), exponent - SETTLED_BITS)
