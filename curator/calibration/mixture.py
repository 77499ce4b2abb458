"""A near-duplicate threshold without a person: edited copies against all pairs of the collection.

The similarities of all pairs are a mixture: a few pairs show the same picture, the others do not. What
the same picture looks like is measured on edited copies; what is left over is described by a few normal
curves. Their shares follow by expectation maximisation, and from them precision and recall at every
similarity, and the threshold with the best F1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.errors import DataError

Wide = NDArray[np.float64]

N_BINS = 2_000
WIDTH = 2.0 / N_BINS
BLOCK = 512
N_GROUPS = 50  # of images, drawn again for the intervals
N_ITERATIONS = 300
NOTHING = 1e-6  # an F1 below this is none
LEAST_PAIRS = 30  # pairs below which no curve is worth fitting


@dataclass(frozen=True, slots=True)
class Histogram:
    """Similarities of all pairs of a collection, counted in `N_BINS` equal bins over -1..1."""

    parts: Wide  # (g, b) by random groups of images; a pair counts half for each of its two images
    n: int  # images

    @property
    def counts(self) -> Wide:
        """(b,) pairs in each bin."""
        total: Wide = self.parts.sum(axis=0)
        return total

    @property
    def above(self) -> Wide:
        """(b,) pairs in each bin or a higher one."""
        return tail(self.counts)


@dataclass(frozen=True, slots=True)
class Fit:
    """A threshold and what is expected of it."""

    threshold: float  # cosine, -1..1
    precision: float  # expected share of pairs at or above the threshold that are the same, 0..1
    recall: float  # expected share of the same pairs that reach the threshold, 0..1
    n_same: float  # estimated pairs of the same picture in the collection
    edges: Wide  # (b,) lower edge of each bin
    same: Wide  # (b,) estimated pairs of the same picture in each bin or a higher one
    strength: Mapping[str, float]  # which edits count as the same: weight of each set of edits, sum 1
    interval: tuple[float, float] | None = None  # of the threshold, 90 %
    precision_interval: tuple[float, float] | None = None  # at the threshold, 90 %
    recall_interval: tuple[float, float] | None = None

    def posterior(self, histogram: Histogram) -> Wide:
        """(b,) share of the pairs of each bin that are the same picture, 0..1, never falling."""
        each = np.maximum(self.same - np.append(self.same[1:], 0.0), 0.0)
        share = np.minimum(each / np.maximum(histogram.counts, 1e-12), 1.0)
        return np.maximum.accumulate(np.where(histogram.counts > 0, share, 0.0))


def tail(counts: Wide) -> Wide:
    """Sums from each bin to the last."""
    sums: Wide = counts[::-1].cumsum()[::-1]
    return sums


def binned(similarity: FloatArray | Wide) -> Wide:
    """(b,) counts of similarities; a rounding beyond -1 or 1 counts as that."""
    counts: Wide = np.bincount(_bins(similarity), minlength=N_BINS).astype(np.float64)
    return counts


def _bins(similarity: FloatArray | Wide) -> IntArray:
    at = ((np.asarray(similarity, np.float64) + 1.0) / WIDTH).astype(np.int64)
    return np.clip(at, 0, N_BINS - 1).ravel()


def edges() -> Wide:
    """(b,) lower edges of the bins."""
    lower: Wide = np.arange(N_BINS, dtype=np.float64) * WIDTH - 1.0
    return lower


def histogram_of(vectors: FloatArray, *, times: FloatArray | None = None, gap: float = 0.0) -> Histogram:
    """Count the similarities of all pairs.

    Args:
        vectors: (n, d) of length 1.
        times: (n,) a place on one time line; pairs closer than `gap` on it are left out, since a camera that
            looks again after a blink shows neither a copy nor another scene. nan: of no clip.
    """
    n = len(vectors)
    group = np.random.default_rng(0).permutation(n) % N_GROUPS  # for intervals only: any even split will do
    parts = np.zeros(N_GROUPS * N_BINS)
    for start in range(0, n, BLOCK):
        rows = vectors[start : start + BLOCK]
        similarity = rows @ vectors[start:].T  # (s, n - start)
        wanted = np.arange(n - start)[None, :] > np.arange(len(rows))[:, None]
        if times is not None:
            with np.errstate(invalid="ignore"):
                wanted &= ~(np.abs(times[start : start + BLOCK, None] - times[None, start:]) < gap)
        at, to = np.nonzero(wanted)
        bins = _bins(similarity[at, to])
        for end in (at, to):
            parts += 0.5 * np.bincount(group[start + end] * N_BINS + bins, minlength=len(parts))
    return Histogram(parts.reshape(N_GROUPS, N_BINS), n)


def pairs_of_copies(vectors: FloatArray, copies: FloatArray, of: IntArray) -> FloatArray:
    """Similarities of pictures to their copies, and of copies of one picture to each other.

    Args:
        vectors: (n, d) of the pictures.
        copies: (m, d) of edited copies.
        of: (m,) position of the picture that each copy shows.
    """
    parts = [np.einsum("ij,ij->i", copies, vectors[of])]
    for picture in np.unique(of):
        mine = copies[of == picture]
        parts.append((mine @ mine.T)[np.triu_indices(len(mine), 1)])
    return np.concatenate(parts).astype(np.float32)


def fit_copies(
    histogram: Histogram,
    same: Mapping[str, FloatArray | Sequence[FloatArray]],
    *,
    rng: np.random.Generator | None = None,
    n_bootstrap: int = 0,
) -> Fit:
    """The threshold with the best expected F1 at telling copies from other pictures.

    The mixture is h(s) = share * f(s) + sum of normal curves; f is the smoothed distribution of the copies,
    the rest is fitted by expectation maximisation (Dempster, Laird and Rubin, 1977). One curve per power of ten
    of images: a large collection tells more about what differs. Each set of edits is fitted by itself and they
    are weighed by likelihood, an image counting as one observation (all pairs of an image lean on it together).
    Expected true pairs above t are the mean of what the fit gives and what f gives for the estimated number.
    F1(t) = 2 true(t) / (pairs(t) + n_same).

    Args:
        histogram: all pairs of the collection.
        same: name of a set of edits: similarities of copies, as one array, or one array per picture for intervals.
        rng: draws the pictures again for the intervals; needed where `n_bootstrap` > 0.

    Raises:
        DataError: fewer than 30 pairs, or no copies.
    """
    if histogram.counts.sum() < LEAST_PAIRS:
        raise DataError(
            f"{histogram.n} images give {int(histogram.counts.sum())} pairs; calibration needs at least {LEAST_PAIRS}: "
            "add images, or set neardups.threshold by hand"
        )
    groups = {name: _groups(values) for name, values in same.items()}
    if not any(sum(map(len, group)) for group in groups.values()):
        raise DataError("no edited copy has a usable vector; set neardups.threshold by hand")
    best, curves = _fit(histogram, {name: np.concatenate(group) for name, group in groups.items()})
    if n_bootstrap == 0 or rng is None:
        return best
    redrawn = [_redrawn(histogram, groups, best, curves, rng) for _ in range(n_bootstrap)]
    return _with_intervals(best, np.asarray(redrawn))


def _fit(
    histogram: Histogram, same: Mapping[str, FloatArray], starts: Mapping[str, _Curves] | None = None
) -> tuple[Fit, dict[str, _Curves]]:
    """The fit, and the curves of each set of edits to start from when images are drawn again."""
    counts = histogram.counts
    total = counts.sum()
    n_curves = max(int(np.log10(max(histogram.n, 10))), 1)
    likelihoods, by_fit, by_copies, found, curves = [], [], [], [], {}
    for name, values in same.items():
        density = smoothed(binned(values), len(values))
        start = starts[name] if starts else _start(counts, n_curves)
        curves[name], each, likelihood = _mixture(counts, density, start, 30 if starts else N_ITERATIONS)
        share = float(curves[name].share[-1])
        likelihoods.append(likelihood * histogram.n / total)
        found.append(share * total)
        by_fit.append(tail(each))
        by_copies.append(share * total * tail(density))
    weight = np.exp(np.asarray(likelihoods) - max(likelihoods))
    weight /= weight.sum()
    n_same = float(weight @ np.asarray(found))
    true = weight @ (np.asarray(by_fit) + np.asarray(by_copies)) / 2.0  # (b,)
    return _best(histogram, true, n_same, dict(zip(same, weight.tolist(), strict=True))), curves


def _best(histogram: Histogram, true: Wide, n_same: float, strength: Mapping[str, float]) -> Fit:
    above = histogram.above
    true = np.minimum(true, above)
    f1 = 2.0 * true / np.maximum(above + n_same, 1e-12)
    if f1.max() < NOTHING:  # no copies at all: the highest similarity there is
        at = int(np.flatnonzero(above > 0)[-1]) if above[0] else len(f1) - 1
    else:  # of equal ones the middle: between two pictures' similarities every value is as good
        ties = np.flatnonzero(f1 >= f1.max() * (1 - 1e-9))
        at = int(ties[len(ties) // 2])
    precision = float(true[at] / above[at]) if above[at] else 1.0
    recall = float(true[at] / n_same) if n_same else 1.0
    return Fit(float(edges()[at]), precision, min(recall, 1.0), n_same, edges(), true, strength)


@dataclass(frozen=True, slots=True)
class _Curves:
    """Normal curves of what differs, and the shares of all parts."""

    mean: Wide  # (k,)
    sigma: Wide  # (k,)
    share: Wide  # (k + 1,) the last of the same pairs
    least_sigma: float  # no curve may close in on a handful of pairs


def _start(counts: Wide, n_curves: int) -> _Curves:
    used = np.flatnonzero(counts)
    centre, h = edges()[used] + WIDTH / 2, counts[used]
    spread = max(float(np.sqrt(np.average((centre - np.average(centre, weights=h)) ** 2, weights=h))), WIDTH)
    at = np.linspace(0.1, 0.9, n_curves) if n_curves > 1 else np.array([0.5])
    mean = np.interp(at, h.cumsum() / h.sum(), centre)  # (k,)
    share = np.append(np.full(n_curves, 0.9 / n_curves), 0.1)
    return _Curves(mean, np.full(n_curves, spread), share, max(0.15 * spread, WIDTH))


def _mixture(counts: Wide, same: Wide, start: _Curves, n_iterations: int) -> tuple[_Curves, Wide, float]:
    """The curves, (b,) the same pairs in each bin, and the log likelihood."""
    used = np.flatnonzero(counts)
    centre, h, f = edges()[used] + WIDTH / 2, counts[used], same[used]
    mean, sigma, share = start.mean, start.sigma, start.share
    for _ in range(n_iterations):
        z = (centre - mean[:, None]) / sigma[:, None]
        density = np.vstack([np.exp(-0.5 * z * z) * (WIDTH / np.sqrt(2 * np.pi)) / sigma[:, None], f])
        joint = share[:, None] * density + 1e-300
        mixed = joint.sum(axis=0)
        belongs = joint / mixed * h  # (k + 1, u) pairs of each part
        weight = belongs.sum(axis=1)
        share = weight / weight.sum()
        safe = np.maximum(weight[:-1], 1e-9)
        mean = belongs[:-1] @ centre / safe
        variance = (belongs[:-1] * (centre - mean[:, None]) ** 2).sum(axis=1) / safe
        sigma = np.maximum(np.sqrt(variance), start.least_sigma)
    each = np.zeros(len(counts))
    each[used] = belongs[-1]
    return _Curves(mean, sigma, share, start.least_sigma), each, float(h @ np.log(mixed))


def smoothed(counts: Wide, n: int) -> Wide:
    """(b,) density over the bins, sum 1: a Gaussian kernel as wide as Silverman's rule says (1986, eq. 3.31)."""
    cumulated = counts.cumsum() / max(counts.sum(), 1.0)
    centre = edges() + WIDTH / 2
    low, high = np.interp([0.25, 0.75], cumulated, centre)
    mean = np.average(centre, weights=counts)
    deviation = float(np.sqrt(np.average((centre - mean) ** 2, weights=counts)))
    bandwidth = 0.9 * min(deviation, max(float(high - low), WIDTH) / 1.34) * max(n, 2) ** -0.2
    reach = int(np.ceil(4 * bandwidth / WIDTH)) + 1
    offset = np.arange(-reach, reach + 1) * WIDTH
    kernel = np.exp(-0.5 * (offset / max(bandwidth, WIDTH)) ** 2)
    # reflected at 1, where many copies lie: what would spill over comes back
    padded = np.concatenate([counts, counts[: -reach - 1 : -1]])
    out = np.convolve(padded, kernel, "same")[: len(counts)]
    total = out.sum()
    return out / total if total else out


def _groups(values: FloatArray | Sequence[FloatArray]) -> list[FloatArray]:
    if isinstance(values, np.ndarray):
        return [values]
    return [np.asarray(each, np.float32) for each in values]


def _redrawn(
    histogram: Histogram,
    groups: Mapping[str, list[FloatArray]],
    best: Fit,
    curves: Mapping[str, _Curves],
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Threshold of images drawn again, and precision and recall of the stated threshold under them."""
    n_pictures = max(len(group) for group in groups.values())
    drawn = rng.integers(n_pictures, size=n_pictures)
    same = {
        name: np.concatenate([group[at] for at in drawn] if len(group) == n_pictures else group)
        for name, group in groups.items()
    }
    weight = np.bincount(rng.integers(N_GROUPS, size=N_GROUPS), minlength=N_GROUPS)
    again_from = Histogram(histogram.parts * weight[:, None], histogram.n)
    again, _ = _fit(again_from, same, curves)
    at = int(np.searchsorted(again.edges, best.threshold, side="right") - 1)
    above = again_from.above[at]
    precision = again.same[at] / above if above else 1.0
    recall = again.same[at] / again.n_same if again.n_same else 1.0
    return again.threshold, float(precision), float(min(recall, 1.0))


def _with_intervals(fit: Fit, redrawn: Wide) -> Fit:
    low, high = np.quantile(redrawn, [0.05, 0.95], axis=0)
    t, p, r = ((float(low[i]), float(high[i])) for i in range(3))
    return Fit(
        fit.threshold, fit.precision, fit.recall, fit.n_same, fit.edges, fit.same, fit.strength,
        (min(t[0], fit.threshold), max(t[1], fit.threshold)),
        (min(p[0], fit.precision), max(p[1], fit.precision)),
        (min(r[0], fit.recall), max(r[1], fit.recall)),
    )  # fmt: skip
