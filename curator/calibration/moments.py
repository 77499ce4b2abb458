"""A near-duplicate threshold from order: runs of consecutive frames that show one thing.

Neighbours in time that are as alike as an edited copy is are taken for one moment; a run of such neighbours
is a moment as a whole, however far its ends have drifted apart. The threshold is the one that tells pairs
inside a run from all others best. No label is asked for, but the order of the rows must mean time.
"""

from __future__ import annotations

import numpy as np

from curator.calibration.mixture import LEAST_PAIRS, Fit, Histogram, Wide, binned, edges, tail
from curator.data import FloatArray, IntArray
from curator.errors import DataError

LINK_QUANTILE = 0.1  # neighbours in time less alike than nine in ten edited copies end a run
N_GROUPS = 50
LONGEST = 1_000  # frames of a run compared with each other; longer ones say nothing new


def runs(vectors: FloatArray, sequence: IntArray, link: float) -> IntArray:
    """(n,) run of each row: consecutive rows of one sequence, each at least `link` similar to the one before.

    Args:
        vectors: (n, d) of length 1, in order of time.
        sequence: (n,) code of the clip or folder of each row; -1 for one that has no order.
        link: cosine.
    """
    similarity = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
    breaks = (similarity < link) | (sequence[1:] != sequence[:-1]) | (sequence[1:] < 0)
    return np.concatenate([[0], breaks.cumsum()])[: len(vectors)].astype(np.int64)


def is_ordered(vectors: FloatArray, sequence: IntArray, histogram: Histogram) -> bool:
    """Whether half of the neighbouring rows are more alike than 19 in 20 of all pairs: order then means time."""
    beside = (sequence[1:] == sequence[:-1]) & (sequence[1:] >= 0)
    if not beside.any():
        return False
    similarity = np.einsum("ij,ij->i", vectors[1:][beside], vectors[:-1][beside])
    above = histogram.above
    twentieth = edges()[np.flatnonzero(above >= 0.05 * above[0])[-1]] if above[0] else 1.0
    return bool(np.median(similarity) > twentieth)


def fit_moments(
    vectors: FloatArray,
    sequence: IntArray,
    copies: FloatArray,
    histogram: Histogram,
    *,
    by: FloatArray | None = None,
    rng: np.random.Generator | None = None,
    n_bootstrap: int = 0,
) -> Fit:
    """The threshold with the best F1 at telling pairs inside a run from all other pairs.

    Args:
        vectors: (n, d) of length 1, in order of time within each sequence.
        sequence: (n,) code of the clip or folder of each row; -1 for one that has no order.
        copies: similarity of pictures to their mildly edited copies; its tenth percentile links neighbours.
        by: (n, e) vectors that `copies` and the links are of; none: `vectors`. A metric learnt from these very
            copies makes them more alike than neighbours in time can be, so its links are those of the plain vectors.
        histogram: all pairs of the collection.

    Raises:
        DataError: the rows are not in order of time, or fewer than 30 pairs lie inside runs.
    """
    if not is_ordered(vectors, sequence, histogram):
        raise DataError(
            "neighbouring rows are hardly more alike than others, so their order is not one of time: "
            "use the result 'self' instead"
        )
    link = float(np.quantile(copies, LINK_QUANTILE))
    run = runs(vectors if by is None else by, sequence, link)
    parts = _pairs_inside(vectors, run)  # (g, b)
    if parts.sum() < LEAST_PAIRS:
        raise DataError(
            f"{int(parts.sum())} pairs of neighbours in time are as alike as edited copies; calibration by moments "
            f"needs at least {LEAST_PAIRS}: use the result 'self' instead"
        )
    best = _fit(parts.sum(axis=0), histogram)
    if n_bootstrap == 0 or rng is None:
        return best
    redrawn = []
    for _ in range(n_bootstrap):
        mine = np.bincount(rng.integers(len(parts), size=len(parts)), minlength=len(parts))
        theirs = np.bincount(rng.integers(len(histogram.parts), size=len(histogram.parts)), minlength=N_GROUPS)
        drawn = Histogram(histogram.parts * theirs[:, None], histogram.n)
        again = _fit((parts * mine[:, None]).sum(axis=0), drawn)
        at = int(np.searchsorted(again.edges, best.threshold, side="right") - 1)
        recall = again.same[at] / again.n_same if again.n_same else 1.0
        redrawn.append((again.threshold, again.same[at] / max(drawn.above[at], 1e-12), min(recall, 1.0)))
    low, high = np.quantile(redrawn, [0.05, 0.95], axis=0)
    return Fit(
        best.threshold, best.precision, best.recall, best.n_same, best.edges, best.same, best.strength,
        *((float(low[i]), float(high[i])) for i in range(3)),
    )  # fmt: skip


def _pairs_inside(vectors: FloatArray, run: IntArray) -> Wide:
    """(g, b) similarities of the pairs inside runs, by random groups of runs."""
    n_runs = int(run[-1]) + 1 if len(run) else 0
    group = np.random.default_rng(0).permutation(n_runs) % N_GROUPS
    parts = np.zeros((N_GROUPS, len(edges())))
    first = np.searchsorted(run, np.arange(n_runs + 1))
    for each in np.flatnonzero(np.diff(first) > 1).tolist():
        mine = vectors[first[each] : min(first[each + 1], first[each] + LONGEST)]
        parts[group[each]] += binned((mine @ mine.T)[np.triu_indices(len(mine), 1)])
    return parts


def _fit(inside: Wide, histogram: Histogram) -> Fit:
    above, true = histogram.above, tail(inside)
    true = np.minimum(true, above)
    n_same = float(inside.sum())
    f1 = 2.0 * true / np.maximum(above + n_same, 1e-12)
    at = int(f1.argmax()) if f1.max() > 0 else int(np.flatnonzero(above > 0)[-1])
    precision = float(true[at] / above[at]) if above[at] else 1.0
    recall = min(float(true[at] / n_same), 1.0) if n_same else 1.0
    return Fit(float(edges()[at]), precision, recall, n_same, edges(), true, {"moments": 1.0})
