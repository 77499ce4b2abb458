"""Coverage along the budget, beside random draws and every-nth of the same budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadSelection
from curator.evidence.controls import Controls, draw_controls
from curator.evidence.measures import TOLD_APART, Measure, interval
from curator.index import reaches
from curator.selection import best_similarity

NOTHING = -1.0  # similarity of a point to no pick at all: as far as can be
N_BUDGETS = 8
SIMILARITIES, LEAST_SAMPLE = 10_000_000, 2_000  # per ordering: a few core-seconds for all 42 whatever the budget
N_PATH = 40


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well some picks stand for all points; distances are 1 - cosine, 0..2."""

    n_points: int
    n_picks: int
    mean_similarity: float  # of each point to its most similar pick; -1 without picks
    mean_distance: float
    max_distance: float  # the k-center radius
    threshold: float | None  # cosine similarity
    share_within: float | None  # points with a pick at or above the threshold, 0..1; None without a threshold

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers, for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Band:
    """One measure along the budgets, beside its controls; each (b,) float32, higher is better."""

    selected: FloatArray
    random_mean: FloatArray
    random_low: FloatArray  # 2.5th percentile of the draws
    random_high: FloatArray  # 97.5th percentile of the draws
    every_nth: FloatArray


@dataclass(frozen=True, slots=True)
class Curve:
    """Coverage along the budgets, beside random draws and every-nth of the same budget."""

    budgets: IntArray  # (b,) picks, increasing
    mean_similarity: Band  # of each point to its most similar pick
    worst_similarity: Band  # of the point that is farthest from all picks
    share_within: Band | None  # points with a pick at or above the threshold, 0..1; None without a threshold
    threshold: float | None  # cosine similarity
    n_points: int  # points measured: all, or a sample
    n_random: int  # random draws per budget
    n_available: int  # points the controls draw from
    path_budgets: IntArray  # (p,) as many picks, more finely
    path: FloatArray  # (p,) mean similarity of the selection alone

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists, for JSON."""
        bands = {name: _plain(getattr(self, name)) for name in ("mean_similarity", "worst_similarity", "share_within")}
        return {
            "budgets": self.budgets.tolist(),
            **bands,
            "threshold": self.threshold,
            "n_points": self.n_points,
            "n_random": self.n_random,
            "n_available": self.n_available,
            "path": [self.path_budgets.tolist(), [float(v) for v in self.path]],
        }

    def measures(self) -> tuple[Measure, ...]:
        """Mean, share within the threshold and worst at the largest budget; none where nothing was picked."""
        if len(self.budgets) == 0:
            return ()
        out = [_at_the_end("coverage", self.mean_similarity)]
        if self.share_within is not None:
            name = f"images within cosine {self.threshold:.2f} of a pick"
            out.append(_at_the_end(name, self.share_within, is_share=True))
        out.append(_at_the_end("the farthest image", self.worst_similarity))
        return tuple(out)


def _at_the_end(name: str, band: Band, *, is_share: bool = False) -> Measure:
    end = {field.name: float(getattr(band, field.name)[-1]) for field in dataclasses.fields(band)}
    return Measure(name, is_share=is_share, **end)


def _plain(band: Band | None) -> dict[str, list[float]] | None:
    if band is None:
        return None
    return {field.name: [float(v) for v in getattr(band, field.name)] for field in dataclasses.fields(band)}


def coverage(vectors: FloatArray, picks: IntArray, *, threshold: float | None = None) -> Coverage:
    """Measure how well `picks` stand for all of `vectors`, exactly.

    Args:
        vectors: (n, d) unit vectors.
        picks: positions, preselected ones included where they count.
        threshold: cosine similarity at which a point counts as covered.
    """
    best = np.maximum(best_similarity(vectors, vectors[picks]), NOTHING)  # (n,)
    distance = 1.0 - best
    return Coverage(
        n_points=len(vectors),
        n_picks=len(picks),
        mean_similarity=float(best.mean(dtype=np.float64)) if len(best) else NOTHING,
        mean_distance=float(distance.mean(dtype=np.float64)) if len(best) else 1.0 - NOTHING,
        max_distance=float(max(distance.max(initial=0.0), 0.0)),
        threshold=threshold,
        share_within=None if threshold is None else float(reaches(best, threshold).mean()) if len(best) else 0.0,
    )


def default_budgets(n_picks: int, n_budgets: int = N_BUDGETS) -> IntArray:
    """Up to eight budgets from a fiftieth of the picks to all of them, each the same factor above the last."""
    if n_picks == 0:
        return np.zeros(0, np.int64)
    return np.unique(np.round(np.geomspace(max(1.0, n_picks / 50), n_picks, n_budgets)).astype(np.int64))


def coverage_curve(
    vectors: FloatArray,
    ordering: IntArray,
    *,
    budgets: Sequence[int] | IntArray | None = None,
    rng: np.random.Generator,
    threshold: float | None = None,
    n_random: int = 40,
    controls: Controls | None = None,
    preselected: IntArray | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    sample: int | None = None,
    progress: Progress = no_progress,
) -> Curve:
    """Coverage of the first b picks for each budget b, beside random draws and every-nth from the same candidates.

    Each ordering is walked once, with the best similarity so far per point; 2 * points * picks * d
    operations per draw, and memory for one number per point. A sample of the points bounds both;
    it is the same for all orderings, so that their differences are not sampling noise.

    Args:
        vectors: (n, d) unit vectors.
        ordering: positions picked, best first.
        budgets: numbers of picks; None: see `default_budgets`. Those above the number of picks are left out.
        threshold: cosine similarity at which a point counts as covered.
        n_random: random draws.
        controls: draws made already, so that several measures speak of the same ones; None: made here.
        preselected: positions that cover from the start, for the controls too.
        candidates: (n,) who the controls draw from; None: everyone who is not preselected.
        weights: (n,) >= 0, how much each point counts; 0: not at all.
        sample: measure on at most so many points, drawn at random; None: 10,000 up to 1,000 picks, and fewer
            for more picks, down to 2,000.

    Raises:
        BadSelection: a budget below 1, no random draw, or weights that do not fit the vectors.
    """
    given = np.zeros(0, np.int64) if preselected is None else preselected
    steps = default_budgets(len(ordering)) if budgets is None else np.unique(np.asarray(budgets, np.int64))
    if len(steps) and steps[0] < 1:
        raise BadSelection(f"budget {steps[0]} of a coverage curve; expected 1 or more")
    steps = steps[steps <= len(ordering)]
    weight = np.ones(len(vectors), np.float32) if weights is None else np.asarray(weights, np.float32)
    if weight.shape != (len(vectors),) or not bool(np.all(weight >= 0)):
        raise BadSelection(f"weights of shape {weight.shape}; expected {len(vectors)} numbers of 0 or more")
    points = np.flatnonzero(weight > 0)
    n_sample = max(LEAST_SAMPLE, SIMILARITIES // max(len(ordering), 1_000)) if sample is None else sample
    if len(points) > n_sample:
        points = np.sort(rng.choice(points, n_sample, replace=False))
    measured = _Measured(vectors[points], weight[points], vectors[given], threshold)
    if controls is None:
        controls = draw_controls(
            len(vectors), int(steps.max(initial=0)), rng=rng, n_random=n_random, candidates=candidates,
            preselected=preselected,
        )  # fmt: skip

    n_paths = len(controls) + 2
    finely = default_budgets(len(ordering), N_PATH)
    each = np.union1d(steps, finely)
    along = measured.along(vectors, ordering, each)
    selected, path = along[:, np.searchsorted(each, steps)], along[0, np.searchsorted(each, finely)]
    progress("evidence", 1, n_paths)
    nth = np.concatenate(
        [measured.along(vectors, controls.nth(int(b)), np.array([b])) for b in steps] or [np.zeros((3, 0), np.float32)],
        axis=1,
    )
    progress("evidence", 2, n_paths)
    draws = np.empty((len(controls), 3, len(steps)), np.float32)
    for i, drawn in enumerate(controls.draws):
        draws[i] = measured.along(vectors, drawn, steps)
        progress("evidence", 3 + i, n_paths)
    bands = [_band(selected[row], draws[:, row], nth[row]) for row in range(3)]
    return Curve(
        budgets=steps,
        mean_similarity=bands[0],
        worst_similarity=bands[1],
        share_within=None if threshold is None else bands[2],
        threshold=threshold,
        n_points=len(points),
        n_random=len(controls),
        n_available=len(controls.pool),
        path_budgets=finely,
        path=path,
    )


class _Measured:
    """The points to be covered, what covers them already, and three measures of what an ordering adds."""

    def __init__(self, points: FloatArray, weight: FloatArray, given: FloatArray, threshold: float | None) -> None:
        self._points = points
        self._weight = weight.astype(np.float64) / max(float(weight.sum(dtype=np.float64)), 1e-12)
        self._start = np.maximum(best_similarity(points, given), NOTHING)
        self._threshold = 1.0 if threshold is None else threshold

    def along(self, vectors: FloatArray, ordering: IntArray, steps: IntArray) -> FloatArray:
        """(3, b) weighted mean similarity, worst similarity and share within the threshold after each step."""
        best, done = self._start.copy(), 0
        values = np.empty((3, len(steps)), np.float32)
        for column, step in enumerate(steps.tolist()):
            np.maximum(best, best_similarity(self._points, vectors[ordering[done:step]]), out=best)
            done = step
            values[:, column] = (
                best @ self._weight,
                best.min(initial=1.0),
                reaches(best, self._threshold) @ self._weight,
            )
        return values


def _band(selected: FloatArray, draws: FloatArray, nth: FloatArray) -> Band:
    """Put one measure beside its controls; `draws` is (n_random, b)."""
    low, high = interval(draws)
    return Band(
        selected=selected,
        random_mean=draws.mean(axis=0).astype(np.float32),
        random_low=low.astype(np.float32),
        random_high=high.astype(np.float32),
        every_nth=nth,
    )


def against_random(band: Band) -> int:
    """At the largest budget: 1 above the interval of the random draws, -1 below it, 0 inside."""
    if band.selected[-1] > band.random_high[-1] + TOLD_APART:
        return 1
    return -1 if band.selected[-1] < band.random_low[-1] - TOLD_APART else 0


def is_better(curve: Curve) -> bool | None:
    """Whether the mean similarity beats the random draws at the largest budget; None where nothing tells them apart."""
    if len(curve.budgets) == 0:
        return None
    return {1: True, 0: None, -1: False}[against_random(curve.mean_similarity)]
