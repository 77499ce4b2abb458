"""Rank a pool by likeness to what was accepted and unlikeness to what was discarded.

Pure: unit vectors in, one number per candidate out. Before there is feedback, the default adds three views of
likeness, each in standard deviations of the pool: the mean cosine to the positives, the largest one, and the
best pair of tiles. With feedback, a small logistic probe learns the difference, and the nearest accepted and
discarded examples speak beside it. When there are answers enough, cross-validation on them chooses among all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.searching.combining import BACKGROUND, Probe, fit_probe

How = Literal["fused", "mean", "centred", "max", "probe"]
HOWS: tuple[How, ...] = ("fused", "mean", "centred", "max", "probe")
DEFAULT: How = "fused"
ENOUGH = 6  # accepted and discarded, each, before cross-validation may choose
FOLDS = 5
MARGIN = 0.02  # a rival must be better by so much average precision: few answers speak loudly
MAX_COMPARED = 256  # positives or negatives that nearest examples are looked for among, the latest
BLOCK = 65_536  # candidates at once
NEAREST_WEIGHT, MEAN_WEIGHT = 0.7, 0.5  # beside the probe's 1, in standard deviations
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """What the pool looks like."""

    vectors: FloatArray  # (n, d) of length 1
    tiles: FloatArray | None = None  # (m, d) of length 1
    tile_of: IntArray | None = None  # (m,) position of each tile's image, ascending

    def centred(self) -> FloatArray:
        """(d,) mean of the vectors."""
        return np.asarray(self.vectors.mean(axis=0, dtype=np.float64), np.float32)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said: positions in the pool, oldest first."""

    positives: IntArray  # seeds and accepted, at least one
    negatives: IntArray  # discarded, may be none


@dataclass(frozen=True, slots=True)
class Ranking:
    """A score for everyone, and how it came about."""

    scores: Scores  # (n,) higher is more alike; comparable within one ranking
    how: How
    is_chosen: bool  # by cross-validation; else the default, or as asked
    precision: dict[str, float]  # cross-validated average precision of each way; empty before there are answers enough
    probe: Probe | None  # where one was fitted


def rank(view: View, feedback: Feedback, how: How | None = None, *, seed: int = 0) -> Ranking:
    """Score every candidate.

    Args:
        how: one way; none: chosen by cross-validation once there are `ENOUGH` answers of each kind.
        seed: of the background sample and the folds; the same feedback ranks the same.
    """
    measured: dict[str, float] = {}
    chosen: How = how or DEFAULT
    if how is None and min(len(feedback.positives), len(feedback.negatives)) >= ENOUGH:
        measured = cross_validated(view, feedback, seed=seed)
        best = max(HOWS, key=lambda way: (measured[way], way == DEFAULT))
        chosen = best if measured[best] > measured[DEFAULT] + MARGIN else DEFAULT
    probe = _probe(view, feedback, seed) if chosen in ("probe", "fused") and len(feedback.negatives) else None
    return Ranking(_scores(view, feedback, chosen, probe), chosen, bool(measured), measured, probe)


def cross_validated(view: View, feedback: Feedback, *, seed: int) -> dict[str, float]:
    """Average precision of each way on answers it has not seen, over `FOLDS` stratified folds."""
    rng = np.random.default_rng(seed)
    fold_of = {
        True: rng.permutation(len(feedback.positives)) % FOLDS,
        False: rng.permutation(len(feedback.negatives)) % FOLDS,
    }
    totals = dict.fromkeys(HOWS, 0.0)
    for fold in range(FOLDS):
        out = fold_of[True] == fold, fold_of[False] == fold
        rest = Feedback(feedback.positives[~out[0]], feedback.negatives[~out[1]])
        held = np.concatenate([feedback.positives[out[0]], feedback.negatives[out[1]]])
        truth = np.arange(len(held)) < out[0].sum()
        probe = _probe(view, rest, seed)
        for way in HOWS:
            scores = _scores(view, rest, way, probe if way in ("probe", "fused") else None)
            totals[way] += average_precision(scores[held], truth) / FOLDS
    return {str(way): total for way, total in totals.items()}


def average_precision(scores: Scores, truth: NDArray[np.bool_]) -> float:
    """Mean of the precision at each true one, best score first; ties count against."""
    order = np.lexsort((truth, -scores))  # of equal scores the false ones first
    hits = np.cumsum(truth[order])
    return float((hits / np.arange(1, len(truth) + 1))[truth[order]].mean()) if truth.any() else 0.0


def tile_likeness(view: View, positives: IntArray) -> Scores:
    """(n,) largest cosine between a tile of each image and a tile of a positive, the tiles' mean subtracted.

    Small things fill a tile where they are lost in a frame. -1 for an image without tiles.
    """
    assert view.tiles is not None
    assert view.tile_of is not None
    mean = view.tiles.mean(axis=0, dtype=np.float64).astype(np.float32)
    asked = view.tiles[np.isin(view.tile_of, positives[-MAX_COMPARED:])] - mean
    asked /= np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-9)
    best = np.full(len(view.vectors), -1.0)
    for start in range(0, len(view.tiles), BLOCK):
        part = view.tiles[start : start + BLOCK] - mean
        near = (
            (part @ asked.T).max(axis=1) / np.maximum(np.linalg.norm(part, axis=1), 1e-9) if len(asked) else part[:, 0]
        )
        np.maximum.at(best, view.tile_of[start : start + BLOCK], near)
    return best


def _scores(view: View, feedback: Feedback, how: How, probe: Probe | None) -> Scores:
    if how == "mean":
        return _mean(view.vectors, feedback.positives)
    if how == "centred":
        return _centred(view, feedback.positives)
    if how == "max":
        return _nearest(view.vectors, feedback.positives)
    if how == "probe":
        return probe.logit(view.vectors) if probe is not None else _mean(view.vectors, feedback.positives)
    return _fused(view, feedback, probe)


def _fused(view: View, feedback: Feedback, probe: Probe | None) -> Scores:
    near = tile_likeness if view.tiles is not None else None
    mean, largest = _mean(view.vectors, feedback.positives), _nearest(view.vectors, feedback.positives)
    if probe is None:
        tiles = standard(near(view, feedback.positives)) if near else 0.0
        out: Scores = standard(mean) + standard(largest) + tiles
        return out
    apart = standard(largest - _nearest(view.vectors, feedback.negatives))
    if near:
        apart = (apart + standard(near(view, feedback.positives) - near(view, feedback.negatives))) / 2
    made: Scores = standard(probe.logit(view.vectors)) + NEAREST_WEIGHT * standard(apart) + MEAN_WEIGHT * standard(mean)
    return made


def standard(values: Scores) -> Scores:
    """In standard deviations from the mean; all 0 where there is no difference."""
    spread = float(values.std())
    out: Scores = (values - values.mean()) / spread if spread > 1e-12 else np.zeros_like(values)
    return out


def _mean(vectors: FloatArray, positives: IntArray) -> Scores:
    return np.asarray(vectors @ vectors[positives].mean(axis=0), np.float64)


def _centred(view: View, positives: IntArray) -> Scores:
    mean = view.centred()
    directions = view.vectors[positives] - mean
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    direction = directions.mean(axis=0)
    lengths = np.sqrt(np.maximum(1.0 - 2.0 * (view.vectors @ mean) + float(mean @ mean), 1e-12))
    return np.asarray((view.vectors @ direction - float(mean @ direction)) / lengths, np.float64)


def _nearest(vectors: FloatArray, examples: IntArray) -> Scores:
    """(n,) largest cosine to an example."""
    asked = vectors[examples[-MAX_COMPARED:]]
    return np.concatenate([
        (vectors[start : start + BLOCK] @ asked.T).max(axis=1).astype(np.float64)
        for start in range(0, len(vectors), BLOCK)
    ])  # fmt: skip


def _probe(view: View, feedback: Feedback, seed: int) -> Probe:
    """Accepted against discarded and a background sample of the pool."""
    n = len(view.vectors)
    rng = np.random.default_rng(seed)
    background = np.sort(rng.choice(n, min(BACKGROUND, n), replace=False))
    background = background[~np.isin(background, feedback.positives)]
    negatives = view.vectors[feedback.negatives]
    others = view.vectors[background] if len(background) or len(negatives) else view.vectors
    return fit_probe(view.vectors[feedback.positives], negatives, others)
