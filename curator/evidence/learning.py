"""What a model learns from the first b picks: 1-NN and a linear probe on the vectors, beside random draws.

Knows vectors and classes; trains nothing but a ridge regression. The labels are those the data came
with: the question is what a label on each pick would have taught.

The test points are one per group of near-duplicates, and one that is a near-duplicate of a pick, or
a pick itself, is no test: both arms of a comparison are tested on the same points, those that
neither has seen. Every class counts the same.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.evidence.controls import Controls
from curator.evidence.measures import Measure, interval
from curator.selection import best_similarity

N_STEPS = 5
SIMILARITIES, LEAST_TESTS, MOST_TESTS = 4_000_000, 1_000, 4_000  # per ordering: bounds the seconds
MOST_PICKS = 4_000  # curves end here: a larger budget is measured by its first 4,000 picks
RIDGE = 0.3  # as in the comparison of methods that the defaults come from; features are unit vectors
REPLICATES = 25  # bootstrap samples of the test points for each random draw
NAMES = {"one_nn": "1-NN accuracy", "probe": "linear-probe accuracy"}
METHODS = tuple(NAMES)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Class-balanced accuracy along the budgets, each (b,) float32, 0..1."""

    selected: FloatArray  # on the points that neither the selection nor the draw has seen, mean over the draws
    random_mean: FloatArray  # on the same points
    random_low: FloatArray  # 2.5th percentile over draws and bootstrap samples of the test points
    random_high: FloatArray
    gap_low: FloatArray  # the same of selected minus random, on the same points
    gap_high: FloatArray
    every_nth: FloatArray  # on the points that neither the selection nor every-nth has seen
    nth_gap: FloatArray  # selected minus every-nth, both on those points


@dataclass(frozen=True, slots=True)
class Learning:
    """Learning curves of a selection beside its controls."""

    budgets: IntArray  # (b,) picks, increasing
    one_nn: Accuracy  # the class of the most similar pick
    probe: Accuracy  # ridge regression on the vectors
    n_classes: int  # among the test points
    n_tests: int  # test points, before those that an ordering has seen are left out
    n_random: int

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists, for JSON."""
        body: dict[str, Any] = {"budgets": self.budgets.tolist()}
        for name in METHODS:
            accuracy = getattr(self, name)
            fields = dataclasses.fields(accuracy)
            body[name] = {field.name: [float(v) for v in getattr(accuracy, field.name)] for field in fields}
        return body | {"n_classes": self.n_classes, "n_tests": self.n_tests, "n_random": self.n_random}

    def measures(self) -> tuple[Measure, ...]:
        """Both accuracies at the largest budget, as numbers beside their controls."""
        out = []
        for key, name in NAMES.items():
            end = {
                field.name: float(getattr(getattr(self, key), field.name)[-1]) for field in dataclasses.fields(Accuracy)
            }
            out.append(Measure(name, is_share=True, **end))
        return tuple(out)


@dataclass(frozen=True, slots=True)
class _Arm:
    """What one ordering gets right."""

    correct: BoolArray  # (2, b, t)
    unseen: BoolArray  # (t,) no near-duplicate of a pick at the largest budget


def learning_curves(
    vectors: FloatArray,
    classes: IntArray,
    ordering: IntArray,
    *,
    controls: Controls,
    tests: BoolArray,
    threshold: float,
    rng: np.random.Generator,
    alike: FloatArray | None = None,
    preselected: IntArray | None = None,
    progress: Progress = no_progress,
) -> Learning | None:
    """Accuracy of 1-NN and of a linear probe after the first b picks, beside random draws and every-nth.

    The interval of the difference to random holds 95 % of the differences over the draws and over 25
    bootstrap samples of the test points for each (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993), resampled within each class. Cost: one product of test points and picks for
    each ordering, and a ridge solution for each budget, of the smaller of picks and dimensions.

    Args:
        vectors: (n, d) unit vectors.
        classes: (n,) class of each point; -1 unknown: never a test, and not trained on.
        ordering: positions picked, best first.
        controls: the same budget drawn by chance and at even steps.
        tests: (n,) who may be a test point: one of each group of near-duplicates.
        threshold: cosine at or above which a point is a near-duplicate of a pick, and no test.
        alike: (n, e) unit vectors that this cosine is of; None: `vectors`.
        preselected: positions labelled already: trained on by every arm.

    Returns:
        None where fewer than two classes have a test point that nobody has seen, or nothing was picked.
    """
    ordering = ordering[:MOST_PICKS]
    steps = _steps(len(ordering))
    at = _test_points(classes, tests, n_picks=len(ordering), rng=rng)
    if len(steps) == 0 or len(np.unique(classes[at])) < 2:
        return None
    given = np.zeros(0, np.int64) if preselected is None else preselected
    bench = _Bench(vectors, classes, at, given, vectors if alike is None else alike, threshold)
    n_arms = len(controls) + 2
    chosen = bench.arm([ordering[:b] for b in steps])
    progress("learning", 1, n_arms)
    nth = bench.arm([controls.nth(int(b)) for b in steps])
    progress("learning", 2, n_arms)
    pairs = []
    for i, drawn in enumerate(controls.draws):
        pairs.append(bench.compare(chosen, bench.arm([drawn[:b] for b in steps]), rng))
        progress("learning", 3 + i, n_arms)
    beside = bench.compare(chosen, nth, rng)[:, :, 0]  # (2 methods, 2 arms, b)
    if not all(np.isfinite(pair).all() for pair in [beside, *pairs]):
        return None
    told = [_accuracy(np.stack([pair[method] for pair in pairs]), beside[method]) for method in range(len(METHODS))]
    return Learning(steps, told[0], told[1], len(np.unique(classes[at])), len(at), len(controls))


def versus(
    vectors: FloatArray,
    classes: IntArray,
    one: IntArray,
    other: IntArray,
    *,
    tests: BoolArray,
    threshold: float,
    rng: np.random.Generator,
    alike: FloatArray | None = None,
    preselected: tuple[IntArray, IntArray] | None = None,
) -> tuple[Measure, ...]:
    """Accuracy of two selections on the points that neither has seen; empty where there are too few.

    The second selection stands where the random draws stand otherwise, with the 95 % interval of the
    difference over 500 bootstrap samples of the test points; every-nth is nan.

    Args: see `learning_curves`; `preselected` are those of the one and of the other.
    """
    n_picks = max(len(one), len(other))
    at = _test_points(classes, tests, n_picks=n_picks, rng=rng)
    if len(one) == 0 or len(other) == 0 or len(np.unique(classes[at])) < 2:
        return ()
    given = preselected or (np.zeros(0, np.int64), np.zeros(0, np.int64))
    benches = [_Bench(vectors, classes, at, own, vectors if alike is None else alike, threshold) for own in given]
    arms = [bench.arm([picks]) for bench, picks in zip(benches, (one, other), strict=True)]
    found = benches[0].compare(arms[0], arms[1], rng, replicates=500)[..., 0]
    if not np.isfinite(found).all():
        return ()
    out = []
    for method, name in enumerate(NAMES.values()):
        first, second = found[method]
        low, high = interval(second[1:])
        gap_low, gap_high = interval(first[1:] - second[1:])
        ends = (float(first[0]), float(second[0]), float(low), float(high), float("nan"))
        out.append(Measure(name, *ends, True, float(gap_low), float(gap_high)))
    return tuple(out)


def _steps(n_picks: int) -> IntArray:
    """Up to five budgets, each about twice the last."""
    if n_picks == 0:
        return np.zeros(0, np.int64)
    return np.unique(np.round(n_picks / 2.0 ** np.arange(N_STEPS)).clip(1).astype(np.int64))


def _test_points(classes: IntArray, tests: BoolArray, *, n_picks: int, rng: np.random.Generator) -> IntArray:
    """Positions to test on, sorted by class; a sample where there are very many."""
    at = np.flatnonzero(tests & (classes >= 0))
    most = min(MOST_TESTS, max(LEAST_TESTS, SIMILARITIES // max(n_picks, 1)))
    if len(at) > most:
        at = np.sort(rng.choice(at, most, replace=False))
    return at[np.argsort(classes[at], kind="stable")]


def _accuracy(pairs: FloatArray, nth: FloatArray) -> Accuracy:
    """Draws and bootstrap samples brought together; `pairs` is (r, 2 arms, 1 + replicates, b), `nth` (2 arms, b)."""
    measured, resampled = pairs[:, :, 0], pairs[:, :, 1:]
    random = resampled[:, 1].reshape(-1, pairs.shape[-1])
    gap = (resampled[:, 0] - resampled[:, 1]).reshape(-1, pairs.shape[-1])
    low, high = interval(random)
    gap_low, gap_high = interval(gap)
    mean = measured.mean(axis=0)  # (2, b)
    columns = (mean[0], mean[1], low, high, gap_low, gap_high, nth[1], nth[0] - nth[1])
    return Accuracy(*(np.asarray(column, np.float32) for column in columns))


class _Bench:
    """The test points, and what an ordering gets right on them."""

    def __init__(
        self, vectors: FloatArray, classes: IntArray, at: IntArray, given: IntArray, alike: FloatArray, threshold: float
    ) -> None:
        self._vectors, self._classes, self._given = vectors, classes, given
        self._at, self._alike, self._threshold = at, alike, threshold
        self._tests, self._truth = vectors[at], classes[at]  # (t, d), (t,) sorted
        self._starts = np.flatnonzero(np.diff(self._truth, prepend=-2))  # where each class begins

    def arm(self, steps: list[IntArray]) -> _Arm:
        """What the positions of each step, the preselected ones before them, teach."""
        correct = np.zeros((len(METHODS), len(steps), len(self._tests)), np.bool_)
        for column, picks in enumerate(steps):
            train = np.concatenate([self._given, picks])
            train = train[self._classes[train] >= 0]
            if len(train) == 0:
                continue
            x, y = self._vectors[train], self._classes[train]
            correct[0, column] = y[_nearest(self._tests, x)] == self._truth
            correct[1, column] = ridge(x, y, self._tests) == self._truth
        last = np.concatenate([self._given, steps[-1]])
        limit = min(self._threshold, 1.0 - 1e-5)  # a pick itself is never its own test, whatever rounding does
        return _Arm(correct, best_similarity(self._alike[self._at], self._alike[last]) < limit)

    def compare(self, one: _Arm, other: _Arm, rng: np.random.Generator, *, replicates: int = REPLICATES) -> FloatArray:
        """(2 methods, 2 arms, 1 + replicates, b) balanced accuracy on the points neither has seen; nan without any."""
        unseen = one.unseen & other.unseen
        weights = np.ones((1 + replicates, len(unseen)), np.float32)
        weights[1:] = rng.poisson(1.0, (replicates, len(unseen)))  # a bootstrap sample, near enough
        weights *= unseen
        n = np.add.reduceat(weights, self._starts, axis=1)  # (1 + replicates, c)
        n_classes = (n > 0).sum(axis=1)  # (1 + replicates,)
        out = np.full((len(METHODS), 2, 1 + replicates, one.correct.shape[1]), np.nan, np.float32)
        if n_classes[0] < 2:
            return out
        for side, arm in enumerate((one, other)):
            for method in range(len(METHODS)):
                for column, right in enumerate(arm.correct[method]):
                    hits = np.add.reduceat(weights * right, self._starts, axis=1)
                    recall = np.divide(hits, n, out=np.zeros_like(hits), where=n > 0)
                    out[method, side, :, column] = recall.sum(axis=1) / np.maximum(n_classes, 1)
        return out


def _nearest(points: FloatArray, centres: FloatArray) -> IntArray:
    """(t,) the most similar centre of each point, the first of equals."""
    found: IntArray = (points @ centres.T).argmax(axis=1)
    return found


def ridge(x: FloatArray, y: IntArray, points: FloatArray, *, strength: float = RIDGE) -> IntArray:
    """Classes of `points` by ridge regression on one-hot classes, with an intercept; the lowest of equals.

    Minimises |XW + b - Y|^2 + strength |W|^2 (Hoerl and Kennard 1970), by the normal equations in the
    smaller of picks and dimensions.

    Args:
        x: (k, d) training vectors, k >= 1.
        y: (k,) their classes.
        points: (t, d).

    Returns:
        (t,) values of `y`.
    """
    kinds, code = np.unique(y, return_inverse=True)
    target = np.eye(len(kinds), dtype=np.float32)[code]  # (k, c)
    centre, mean = x.mean(axis=0), target.mean(axis=0)
    own, aim = x - centre, target - mean
    k, d = own.shape
    if k <= d:
        weight = own.T @ np.linalg.solve(own @ own.T + strength * np.eye(k, dtype=np.float32), aim)  # (d, c)
    else:
        weight = np.linalg.solve(own.T @ own + strength * np.eye(d, dtype=np.float32), own.T @ aim)
    return np.asarray(kinds[((points - centre) @ weight + mean).argmax(axis=1)], np.int64)
