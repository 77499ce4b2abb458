"""One number of a selection beside the same number of its controls, and what they say together in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray

LOW, HIGH = 2.5, 97.5  # percentiles of the draws
LOPSIDED = 1.5  # an interval that reaches so many times farther to one side has no ±
TOLD_APART = 5e-4  # smaller differences read as equal


@dataclass(frozen=True, slots=True)
class Measure:
    """One number, 0..1 or a cosine, higher is better, beside random draws and every-nth of the same budget."""

    name: str  # in words
    selected: float
    random_mean: float
    random_low: float  # 2.5th percentile of the draws
    random_high: float  # 97.5th percentile
    every_nth: float
    is_share: bool = False  # shown as a percentage
    gap_low: float | None = None  # 95 % interval of selected minus random on the same test points, where measured so
    gap_high: float | None = None
    nth_gap: float | None = None  # selected minus every-nth on the same test points, where measured so

    @property
    def standing(self) -> int:
        """1 above the random draws, -1 below them, 0 where nothing tells them apart."""
        if self.gap_low is not None and self.gap_high is not None:
            return 1 if self.gap_low > TOLD_APART else -1 if self.gap_high < -TOLD_APART else 0
        if self.selected > self.random_high + TOLD_APART:
            return 1
        return -1 if self.selected < self.random_low - TOLD_APART else 0

    @property
    def beside_every_nth(self) -> int:
        """1 above every-nth, -1 below it, 0 equal as far as it can be read."""
        gap = self.selected - self.every_nth if self.nth_gap is None else self.nth_gap
        return 1 if gap > TOLD_APART else -1 if gap < -TOLD_APART else 0

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the standing included."""
        return dataclasses.asdict(self) | {"standing": self.standing, "beside_every_nth": self.beside_every_nth}


def measure(name: str, selected: float, draws: Sequence[float], every_nth: float, *, is_share: bool = True) -> Measure:
    """Put one number beside those of the random draws."""
    low, high = interval(np.asarray(draws))
    return Measure(name, selected, float(np.mean(draws)), float(low), float(high), every_nth, is_share)


def interval(draws: FloatArray | NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, ...) the 2.5th and 97.5th percentile over the first axis.

    The p-th is at place p (r + 1) of r draws (Weibull), so that one more draw falls outside with a chance
    of 5 % from 39 draws on; the usual place p (r - 1) + 1 would let 14 % of them fall outside of 20.
    """
    found: NDArray[np.float64] = np.percentile(draws, [LOW, HIGH], axis=0, method="weibull")
    return found


def sentence(measures: Sequence[Measure], *, budget: int, n_random: int) -> str:
    """Say where a selection beats its controls and where it does not, with every number.

    Such as "Better than random on mean similarity (0.81 vs 0.63 ± 0.02); no better on class balance (...)".
    The ± is half the width of the interval that holds 95 % of the draws; where that lies much farther to one
    side of the mean than to the other, its ends are told instead.
    """
    groups = [
        (word, [_shown(m) for m in measures if m.standing == standing])
        for standing, word in ((1, "better than random on"), (0, "no better on"), (-1, "worse on"))
    ]
    told = [f"{word} {', '.join(found)}" for word, found in groups if found]
    if told and not told[0].startswith("better"):
        told[0] = told[0].replace(" on ", " than random on ", 1)
    said = "; ".join(told)
    return f"{said[:1].upper()}{said[1:]}. {_beside_nth(measures)} ({n_random} random draws of {budget:,}.)"


def _beside_nth(measures: Sequence[Measure]) -> str:
    names = {side: [m.name for m in measures if m.beside_every_nth == side] for side in (1, 0, -1)}
    if not names[-1]:
        return "No worse than every-nth on any of these." if names[0] else "Better than every-nth on all of these."
    if len(names[-1]) == len(measures):
        return "Worse than every-nth on all of these."
    return f"Worse than every-nth on {', '.join(names[-1])}."


def _shown(found: Measure) -> str:
    show = "{:.1%}".format if found.is_share else "{:.3f}".format
    below, above = found.random_mean - found.random_low, found.random_high - found.random_mean
    if max(below, above) > LOPSIDED * min(below, above) + TOLD_APART:
        random = f"{show(found.random_mean)}, {show(found.random_low)} to {show(found.random_high)}"
    else:
        spread = (below + above) / 2
        random = f"{show(found.random_mean)} ± " + (f"{100 * spread:.1f}" if found.is_share else f"{spread:.3f}")
    return f"{found.name} ({show(found.selected)} vs {random})"
