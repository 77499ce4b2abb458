"""The lazy greedy loop, for any objective with diminishing returns.

Knows gains and caps; what an objective measures is its own affair.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from curator.data import FloatArray, IntArray, Progress
from curator.selection.quotas import Tally

SETTLED_BITS = 18
REPORT_EVERY = 256  # picks between two words of progress


class Objective(Protocol):
    """What candidates would add; `gain` of one never rises as others are added."""

    def first_gains(self) -> FloatArray:
        """What each candidate adds before any is picked, (c,); an upper bound will do."""

    def gain(self, candidate: int) -> float:
        """What this candidate would add now."""

    def add(self, candidate: int) -> None:
        """Pick this candidate."""


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


def settle(gain: float) -> float:
    """Round to 18 bits, 4e-6 of the value.

    Two points that are alike to each other and to nothing else gain the same, but their sums round
    differently on other processors or numbers of threads, and the selection would differ with them.
    """
    mantissa, exponent = math.frexp(gain)
    return math.ldexp(round(mantissa * 2**SETTLED_BITS), exponent - SETTLED_BITS)
