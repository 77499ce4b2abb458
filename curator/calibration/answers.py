"""A near-duplicate threshold from pairs that a person judged, with intervals for what it gives.

Pairs are asked about evenly over the range of similarities where the answer is in doubt, and each answer
stands for the pairs of its stratum, so that precision and recall are those of the whole collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curator.calibration.mixture import Histogram, Wide, edges
from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import DataError

N_STRATA = 10
CROWD = 20.0  # pairs per image at or above the lowest stratum: below it nobody looks for copies
RIDGE = 1e-3  # keeps the slope finite where the answers part without overlap


@dataclass(frozen=True, slots=True)
class Judged:
    """What the answers say."""

    threshold: float  # cosine with the best expected F1
    interval: tuple[float, float]  # 90 %
    precision: float  # at the threshold, of the whole collection, 0..1
    precision_interval: tuple[float, float]
    recall: float  # among pairs of the asked range
    recall_interval: tuple[float, float]
    method: Literal["logistic", "isotonic"]  # of the two the one with the smaller leave-one-out loss
    curve: tuple[tuple[float, float], ...]  # similarity, share that are the same
    n: int  # answers used


def stratified(
    left: IntArray,
    right: IntArray,
    similarity: FloatArray,
    histogram: Histogram,
    n_pairs: int,
    rng: np.random.Generator,
) -> IntArray:
    """Choose pairs to ask about, the same number from each of ten equal ranges of similarity.

    Args:
        left, right, similarity: (m,) candidate pairs.
        histogram: all pairs; the range begins where there are 20 pairs per image at or above.
        n_pairs: how many; fewer come where there are fewer.

    Returns:
        (k,) positions among the candidates, in random order, so that stopping early leaves an even sample.
    """
    floor = lowest(histogram)
    able = np.flatnonzero((similarity >= floor) & (left != right))
    if not len(able):
        return able
    cut = np.linspace(floor, float(similarity[able].max()) + 1e-6, N_STRATA + 1)
    stratum = np.clip(np.searchsorted(cut, similarity[able], side="right") - 1, 0, N_STRATA - 1)
    pools = [rng.permutation(able[stratum == each]) for each in range(N_STRATA)]
    chosen: list[int] = []
    depth = 0
    while len(chosen) < min(n_pairs, len(able)):  # round by round: a poor stratum leaves its share to the others
        layer = [int(pool[depth]) for pool in pools if depth < len(pool)]
        chosen += rng.permutation(layer).tolist()
        depth += 1
    return np.asarray(chosen[:n_pairs], np.int64)


def lowest(histogram: Histogram) -> float:
    """Similarity at or above which there are 20 pairs per image; the lowest there is in a small collection."""
    enough = np.flatnonzero(histogram.above >= min(CROWD * histogram.n, histogram.counts.sum()))
    return float(edges()[enough[-1]]) if len(enough) else -1.0


def fit_answers(
    similarity: FloatArray,
    same: BoolArray,
    histogram: Histogram,
    *,
    rng: np.random.Generator,
    n_bootstrap: int = 200,
) -> Judged:
    """Fit the share of the same pairs by similarity and take the threshold with the best expected F1.

    Logistic (Platt, 1999) or isotonic regression (pool adjacent violators; Zadrozny and Elkan, 2002). The fitted
    share times the number of pairs at each similarity gives true pairs above t, and with them precision, recall and
    F1(t). Intervals: answers drawn again with replacement, 90 %.

    Args:
        similarity, same: (m,) judged pairs; unsure ones left out.
        histogram: all pairs of the collection.

    Raises:
        DataError: fewer than ten answers, or all of one kind.
    """
    s, y = np.asarray(similarity, np.float64), np.asarray(same, np.float64)
    if len(s) < 10 or y.min() == y.max():
        kinds = f"{int(y.sum())} same and {int(len(y) - y.sum())} different"
        raise DataError(f"{kinds} answers; calibration needs at least 10, of both kinds: answer more pairs")
    losses = {"logistic": _loss(s, y, "logistic"), "isotonic": _loss(s, y, "isotonic")}
    method: Literal["logistic", "isotonic"] = "logistic" if losses["logistic"] <= losses["isotonic"] else "isotonic"
    shown = edges()
    floor = min(lowest(histogram), float(s.min()))
    best = _threshold(_curve(s, y, method, shown), histogram, floor)
    redrawn = []
    for _ in range(n_bootstrap):
        drawn = rng.integers(len(s), size=len(s))
        if y[drawn].min() == y[drawn].max():
            continue  # says nothing about where the two part
        curve = _curve(s[drawn], y[drawn], method, shown)
        redrawn.append((_threshold(curve, histogram, floor)[0], *_at(curve, histogram, floor, best[0])))
    low, high = np.quantile(np.asarray(redrawn), [0.05, 0.95], axis=0)
    at = np.unique(np.clip(np.searchsorted(shown, np.linspace(s.min(), s.max(), 25)), 0, len(shown) - 1))
    curve = _curve(s, y, method, shown)
    return Judged(
        best[0], (float(low[0]), float(high[0])), best[1], (float(low[1]), float(high[1])),
        best[2], (float(low[2]), float(high[2])), method,
        tuple((float(shown[i]), float(curve[i])) for i in at), len(s),
    )  # fmt: skip


def isotonic(similarity: Wide, same: Wide) -> tuple[Wide, Wide]:
    """Best never-falling fit in least squares: (k,) rising similarities and (k,) shares (pool adjacent violators)."""
    order = np.argsort(similarity, kind="stable")
    value: list[float] = []
    weight: list[float] = []
    last: list[float] = []
    for s, y in zip(np.asarray(similarity)[order].tolist(), np.asarray(same)[order].tolist(), strict=True):
        value.append(float(y))
        weight.append(1.0)
        last.append(s)
        while len(value) > 1 and (value[-2] >= value[-1] or last[-2] == last[-1]):
            both = weight[-2] + weight[-1]
            value[-2:] = [(value[-2] * weight[-2] + value[-1] * weight[-1]) / both]
            weight[-2:] = [both]
            last[-2:] = [last[-1]]
    return np.asarray(last), np.asarray(value)


def _curve(s: Wide, y: Wide, method: str, at: Wide) -> Wide:
    """(b,) share of the same pairs at each similarity."""
    if method == "isotonic":
        x, share = isotonic(s, y)
        return np.asarray(np.interp(at, x, share), np.float64)
    slope, middle = _logistic(s, y)
    return 1.0 / (1.0 + np.exp(-np.clip(slope * at + middle, -50, 50)))


def _logistic(s: Wide, y: Wide) -> tuple[float, float]:
    """Slope and intercept by Newton's method with a little ridge and Platt's softened targets."""
    centre, scale = float(s.mean()), max(float(s.std()), 1e-3)
    x = np.column_stack([(s - centre) / scale, np.ones(len(s))])
    n_same = y.sum()
    target = np.where(y > 0, (n_same + 1) / (n_same + 2), 1 / (len(y) - n_same + 2))
    beta = np.zeros(2)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ beta, -50, 50)))
        gradient = x.T @ (target - p) - RIDGE * beta
        hessian = (x * np.maximum(p * (1 - p), 1e-9)[:, None]).T @ x + RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta + np.clip(step, -5.0, 5.0)
        if float(np.abs(step).max()) < 1e-9:
            break
    slope = max(float(beta[0]), 0.0) / scale  # more alike is never less the same
    return slope, float(beta[1]) - slope * centre


def _loss(s: Wide, y: Wide, method: str) -> float:
    """Mean leave-one-out log loss."""
    total = 0.0
    for out in range(len(s)):
        kept = np.arange(len(s)) != out
        if y[kept].min() == y[kept].max():
            continue
        p = float(np.clip(_curve(s[kept], y[kept], method, s[out : out + 1])[0], 0.01, 0.99))
        total -= np.log(p if y[out] else 1 - p)
    return total / len(s)


def _threshold(curve: Wide, histogram: Histogram, floor: float) -> tuple[float, float, float]:
    shown = edges() >= floor
    counts = np.where(shown, histogram.counts, 0.0)
    true = (counts * curve)[::-1].cumsum()[::-1]
    above = counts[::-1].cumsum()[::-1]
    f1 = 2 * true / np.maximum(above + true[0], 1e-12)
    f1[~shown] = -1.0
    at = int(f1.argmax())
    threshold = float(edges()[at])
    return threshold, *_at(curve, histogram, floor, threshold)


def _at(curve: Wide, histogram: Histogram, floor: float, threshold: float) -> tuple[float, float]:
    """Precision and recall at a threshold."""
    counts = np.where(edges() >= floor, histogram.counts, 0.0)
    beyond = edges() >= threshold - 1e-12
    above = float(counts[beyond].sum())
    true, total = float((counts * curve)[beyond].sum()), float((counts * curve).sum())
    return (true / above if above else 1.0), (true / total if total else 1.0)
