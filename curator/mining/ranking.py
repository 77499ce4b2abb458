"""Rank a pool by likeness to what was accepted and unlikeness to what was discarded.

Pure: unit vectors in, one number per candidate out. Before there is feedback, the default adds three views of
likeness, each in standard deviations of the pool: the mean cosine to the positives, the largest one, and the
best pair of tiles. With feedback, a small logistic probe learns the difference, and the nearest accepted and
discarded examples speak beside it; where there are tiles, all of these see the largest value over an image's
tiles instead of the frame. When there are answers enough, cross-validation on them chooses among all.

The order of answers never matters, and nothing is remembered between two calls: the same answers, the same ranking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.pipeline.tiling import widened
from curator.searching.combining import BACKGROUND, Probe, fit_probe

How = Literal["fused", "mean", "centred", "max", "probe"]
HOWS: tuple[How, ...] = ("fused", "mean", "centred", "max", "probe")
DEFAULT: How = "fused"
ENOUGH = 10  # accepted and discarded, each, before cross-validation may choose
FOLDS = 5
# A rival must be better by so much average precision and by so many standard errors over the folds: with few answers
# the best of five is best by luck. Taking it at any margin cost 0.10 precision in the third round on driving frames.
MARGIN, SURE = 0.05, 3.0
MAX_COMPARED = 256  # positives, negatives or tiles of positives that nearest examples are looked for among
BLOCK = 16_384  # candidates at once
NEAREST_WEIGHT, MEAN_WEIGHT, TILE_WEIGHT = 0.7, 0.5, 0.7  # beside the probe's 1, in standard deviations
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """What the pool looks like."""

    vectors: FloatArray  # (n, d) of length 1
    tiles: NDArray[Any] | None = None  # (m, d) float16 or float32 of length 1, perhaps a file mapped into memory
    tile_of: IntArray | None = None  # (m,) position of each tile's image, ascending

    def centred(self) -> FloatArray:
        """(d,) mean of the vectors."""
        return np.asarray(self.vectors.mean(axis=0, dtype=np.float64), np.float32)

    @property
    def nbytes(self) -> int:
        """Memory it takes beside the pool's vectors and what is mapped from the disk."""
        tiles = 0 if self.tiles is None or isinstance(self.tiles, np.memmap) else self.tiles.nbytes
        seen = self.__dict__.get("seen", self.vectors)
        return int(tiles + (0 if self.tile_of is None else self.tile_of.nbytes)
                   + (0 if seen is self.vectors else seen.nbytes))  # fmt: skip

    @cached_property
    def seen(self) -> FloatArray:
        """(n, d) what the probe sees: of each number the largest over an image's tiles, or without tiles the vectors.

        Of length 1. A small thing moves the average of a frame little and the largest over its tiles much; after
        Tolias, Sicre and Jegou, "Particular object retrieval with integral max-pooling of CNN activations", 2016.
        """
        if self.tiles is None or self.tile_of is None or not len(self.tile_of):
            return self.vectors
        out = self.vectors.copy()  # an image without tiles is seen as a whole
        first = np.flatnonzero(np.diff(self.tile_of, prepend=-1))  # (i,) where each image's tiles start
        for start in range(0, len(first), BLOCK // 8):
            own = first[start : start + BLOCK // 8]
            end = first[start + len(own)] if start + len(own) < len(first) else len(self.tile_of)
            largest = np.maximum.reduceat(widened(self.tiles[own[0] : end]), own - own[0], axis=0)
            out[self.tile_of[own]] = largest / np.maximum(np.linalg.norm(largest, axis=1, keepdims=True), 1e-9)
        return out

    @cached_property
    def tile_mean(self) -> FloatArray:
        """(d,) mean of the tiles."""
        total = sum((part.sum(axis=0, dtype=np.float64) for _, part in self.tile_blocks()), np.zeros(1))
        return np.asarray(total / max(0 if self.tiles is None else len(self.tiles), 1), np.float32)

    def tile_blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        """Places and vectors of the tiles, float32, a block at a time."""
        for start in range(0, 0 if self.tiles is None else len(self.tiles), BLOCK):
            place = slice(start, start + BLOCK)
            yield place, widened(self.tiles[place])  # type: ignore[index]

    def part(self, positions: IntArray) -> View:
        """The same of some positions, ascending; they are 0, 1, ... there."""
        if self.tiles is None or self.tile_of is None:
            return View(self.vectors[positions])
        own = np.isin(self.tile_of, positions)
        part = View(self.vectors[positions], self.tiles[own], np.searchsorted(positions, self.tile_of[own]))
        part.__dict__["seen"] = self.seen[positions]
        return part


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said: positions in the pool."""

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
        seed: of the background sample; the same feedback ranks the same, in whatever order it was given.
    """
    feedback = Feedback(np.unique(feedback.positives), np.unique(feedback.negatives))
    background = _background(view, seed)
    needs_probe = how in (None, "probe", "fused") and len(feedback.negatives) > 0
    probe = _probe(view, feedback, background) if needs_probe else None
    measured: dict[str, float] = {}
    chosen: How = how or DEFAULT
    if how is None and min(len(feedback.positives), len(feedback.negatives)) >= ENOUGH:
        folds = cross_validated(view, feedback, seed=seed, start=probe)
        measured = {way: float(values.mean()) for way, values in folds.items()}
        chosen = surely_best(folds)
    probe = probe if chosen in ("probe", "fused") else None
    return Ranking(_scores(view, feedback, chosen, probe), chosen, bool(measured), measured, probe)


def cross_validated(view: View, feedback: Feedback, *, seed: int, start: Probe | None = None) -> dict[str, Scores]:
    """Average precision of each way on answers it has not seen, one for each of up to `FOLDS` folds.

    A fold is a run of neighbouring positions, since frames side by side in one video tell little new of each
    other. Scores are compared among the answers and a background sample alone, so the cost does not grow with
    the pool; held-out answers are left out of the background that a probe learns from.

    Args:
        start: the probe of all answers, from which those of the folds start.
    """
    feedback = Feedback(np.unique(feedback.positives), np.unique(feedback.negatives))
    kept = np.unique(np.concatenate([feedback.positives, feedback.negatives, _background(view, seed)]))
    small = view.part(kept)
    positives, negatives = (np.searchsorted(kept, at) for at in (feedback.positives, feedback.negatives))
    n_folds = min(FOLDS, len(positives), len(negatives))
    found: dict[str, Scores] = {way: np.zeros(n_folds) for way in HOWS}
    for fold in range(n_folds):
        out = [np.arange(len(at)) * n_folds // len(at) == fold for at in (positives, negatives)]
        rest = Feedback(positives[~out[0]], negatives[~out[1]])
        held = np.concatenate([positives[out[0]], negatives[out[1]]])
        truth = np.arange(len(held)) < out[0].sum()
        others = np.setdiff1d(np.arange(len(kept)), np.concatenate([positives, negatives]))
        probe = _probe(small, rest, others, start) if len(rest.positives) and len(rest.negatives) else None
        for way in HOWS if len(rest.positives) else ():
            scores = _scores(small, rest, way, probe if way in ("probe", "fused") else None)
            found[way][fold] = average_precision(scores[held], truth)
    return found


def surely_best(folds: Mapping[str, Scores]) -> How:
    """The way that is better than the default by `MARGIN` and by `SURE` standard errors, else the default."""
    best, most = DEFAULT, MARGIN
    for way in HOWS:
        ahead = folds[way] - folds[DEFAULT]
        error = float(ahead.std(ddof=1)) / len(ahead) ** 0.5 if len(ahead) > 1 else np.inf
        if ahead.mean() > max(most, SURE * error):
            best, most = way, float(ahead.mean())
    return best


def average_precision(scores: Scores, truth: NDArray[np.bool_]) -> float:
    """Mean of the precision at each true one, best score first; ties count against."""
    order = np.lexsort((truth, -scores))  # of equal scores the false ones first
    hits = np.cumsum(truth[order])
    return float((hits / np.arange(1, len(truth) + 1))[truth[order]].mean()) if truth.any() else 0.0


def tile_likeness(view: View, positives: IntArray) -> Scores:
    """(n,) largest cosine between a tile of each image and a tile of a positive, the tiles' mean subtracted.

    Small things fill a tile where they are lost in a frame. -1 for an image without tiles.
    """
    if view.tiles is None or view.tile_of is None:
        return np.full(len(view.vectors), -1.0)
    asked = widened(view.tiles[_few(np.flatnonzero(np.isin(view.tile_of, positives)))]) - view.tile_mean
    asked /= np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-9)
    best = np.full(len(view.vectors), -1.0)
    for place, part in view.tile_blocks() if len(asked) else ():
        apart = part - view.tile_mean
        near = (apart @ asked.T).max(axis=1) / np.maximum(np.linalg.norm(apart, axis=1), 1e-9)
        np.maximum.at(best, view.tile_of[place], near)
    return best


def _few(examples: IntArray) -> IntArray:
    """At most `MAX_COMPARED` of them, evenly spread: neighbours in a video say the same."""
    if len(examples) <= MAX_COMPARED:
        return examples
    return examples[np.arange(MAX_COMPARED) * len(examples) // MAX_COMPARED]


def _scores(view: View, feedback: Feedback, how: How, probe: Probe | None) -> Scores:
    if how == "mean":
        return _mean(view.vectors, feedback.positives)
    if how == "centred":
        return _centred(view, feedback.positives)
    if how == "max":
        return _nearest(view.vectors, feedback.positives)
    if how == "probe":
        return _logit(view.seen, probe) if probe is not None else _mean(view.vectors, feedback.positives)
    return _fused(view, feedback, probe)


def _fused(view: View, feedback: Feedback, probe: Probe | None) -> Scores:
    tiles = 0.0 if view.tiles is None else standard(tile_likeness(view, feedback.positives))
    if probe is None:
        mean, largest = _mean(view.vectors, feedback.positives), _nearest(view.vectors, feedback.positives)
        out: Scores = standard(mean) + standard(largest) + tiles
        return out
    seen = view.seen
    apart = _nearest(seen, feedback.positives) - _nearest(seen, feedback.negatives)
    mean = _mean(seen, feedback.positives)
    made: Scores = (
        standard(_logit(seen, probe))
        + NEAREST_WEIGHT * standard(apart)
        + MEAN_WEIGHT * standard(mean)
        + TILE_WEIGHT * tiles
    )
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
    asked = vectors[_few(examples)]
    return np.concatenate([
        (vectors[start : start + BLOCK] @ asked.T).max(axis=1).astype(np.float64)
        for start in range(0, len(vectors), BLOCK)
    ])  # fmt: skip


def _logit(vectors: FloatArray, probe: Probe) -> Scores:
    """(n,) log odds in single precision: in double a large pool would be copied at twice its size."""
    return np.asarray(vectors @ probe.weights, np.float64) + probe.bias


def _background(view: View, seed: int) -> IntArray:
    """Positions that stand for everything else, ascending."""
    n = len(view.vectors)
    return np.sort(np.random.default_rng(seed).choice(n, min(BACKGROUND, n), replace=False))


def _probe(view: View, feedback: Feedback, background: IntArray, start: Probe | None = None) -> Probe:
    """Accepted against discarded and a background sample of the pool."""
    seen = view.seen
    others = background[~np.isin(background, np.concatenate([feedback.positives, feedback.negatives]))]
    return fit_probe(seen[feedback.positives], seen[feedback.negatives], seen[others], start=start)
