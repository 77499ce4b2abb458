"""Whether the scores of a batch are still those of the pool a trigger was made on.

Pure: scores in, shares and one number out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_BINS = 10
SHIFTED = 0.25  # population stability index from which a shift is large, by the usual rule of thumb
Z99 = 2.326348  # of the normal distribution


def edges_of(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bounds of up to `N_BINS` bins that hold equally many of the scores."""
    found: NDArray[np.float64] = np.unique(np.quantile(scores.astype(np.float64), np.linspace(0, 1, N_BINS + 1)))
    return found


def counts_of(scores: NDArray[np.floating], edges: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Scores in each bin; those outside lie in the first or last."""
    if len(edges) < 3:
        return [len(scores)]
    at = np.searchsorted(np.asarray(edges)[1:-1], scores, side="right")
    return [int(n) for n in np.bincount(at, minlength=len(edges) - 1)]


def stability(before: Sequence[int], now: Sequence[int]) -> float:
    """Population stability index: sum of (p - q) log(p / q) over the bins, 0 when alike.

    Half an observation is added to every bin, so that an empty one does not decide alone.
    """
    p, q = ((np.asarray(counts) + 0.5) / (sum(counts) + 0.5 * len(counts)) for counts in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def stability_limit(before: int, now: int, n_bins: int) -> float:
    """The index above which a shift is more than chance, and large.

    Without a shift the index is about chi-squared with n_bins - 1 degrees of freedom times (1 / before + 1 / now)
    (Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020), so a batch of 20
    passes 0.25 more often than not. The 99th percentile is taken (Wilson and Hilferty's approximation, 1931), and
    never less than `SHIFTED`. Frames of one video are alike, which this does not know: it then alarms early. A batch
    of 20 shows a shift of two standard deviations or more, one of 100 of about one.
    """
    free = n_bins - 1
    if free < 1 or min(before, now) < 1:
        return math.inf
    spread = 2.0 / (9.0 * free)
    percentile = free * (1.0 - spread + Z99 * math.sqrt(spread)) ** 3
    return max(SHIFTED, percentile * (1.0 / before + 1.0 / now))
