"""A linear metric for copies, learnt from edited copies of a user's own images.

Directions in which a picture moves when it is edited say nothing about what it shows: they are shrunk. The
result is joined with the perceptual hash. Sixty-four bits as +-1/8 are a unit vector, so the joined vector
(sqrt(1 - w) v, sqrt(w) h) is one too, with the cosine (1 - w) cos + w (1 - 2 bits / 64): everything that works
on unit vectors works on it unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.calibration.mixture import Wide
from curator.data import FloatArray, IntArray
from curator.errors import BadEmbeddings

N_BITS = 64
SHRINKAGES = (0.5, 0.1, 0.02)  # share of the plain metric left in the covariance of edits
WHITENED = 0.8  # the same for the covariance of pictures: less makes more of directions that hardly occur
HASH_WEIGHTS = (0.0, 0.1, 0.2, 0.3)
LEAST_GAIN = 0.005  # of average precision; less is not worth a space of its own
BLOCK = 8_192
N_REPEATS = 3  # halvings of pictures and edits: which edits fall together decides much


@dataclass(frozen=True, slots=True)
class Metric:
    """How vectors and hashes become vectors of the space `copies`."""

    name: str  # plain, centred, within-0.1 ...
    mean: Wide | None  # (d,) taken off first; None: nothing
    matrix: Wide | None  # (d, d) applied next; None: nothing
    hash_weight: float  # 0..1
    gain: float  # in average precision over plain cosine on held-out edits
    error: float  # standard error of the gain
    held_out: dict[str, float]  # average precision of every candidate on held-out edits

    @property
    def helps(self) -> bool:
        """Whether held-out edits say that it is better than plain cosine by more than its error."""
        return self.gain > max(self.error, LEAST_GAIN)


@dataclass(frozen=True, slots=True)
class Copies:
    """Edited copies of some pictures of a collection."""

    vectors: FloatArray  # (m, d) of length 1
    hashes: NDArray[np.uint64]  # (m,)
    of: IntArray  # (m,) position of the picture
    edit: IntArray  # (m,) code of the edit

    def where(self, chosen: NDArray[np.bool_]) -> Copies:
        """Some of them."""
        return Copies(self.vectors[chosen], self.hashes[chosen], self.of[chosen], self.edit[chosen])


def hash_vectors(hashes: NDArray[np.uint64]) -> FloatArray:
    """(n, 64) unit vectors of 64-bit hashes: +-1/8 by bit, so that the cosine is 1 - 2 bits / 64."""
    packed = np.ascontiguousarray(hashes, ">u8").view(np.uint8).reshape(-1, 8)
    return (np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1) / np.float32(8)


def apply_metric(metric: Metric, vectors: FloatArray, hashes: NDArray[np.uint64]) -> FloatArray:
    """Vectors of the space for copies.

    Args:
        vectors: (n, d) of length 1.
        hashes: (n,) 64-bit perceptual hashes.

    Returns:
        (n, d) or, with a hash weight above 0, (n, d + 64) float32 of length 1.

    Raises:
        BadEmbeddings: the metric was learnt for vectors of another length.
    """
    wanted = metric.mean if metric.mean is not None else metric.matrix
    if wanted is not None and len(wanted) != vectors.shape[1]:
        raise BadEmbeddings(
            f"the metric for copies is for {len(wanted)} numbers per vector, found {vectors.shape[1]}; "
            "run `curator calibrate` again"
        )
    wide = vectors.shape[1] + (N_BITS if metric.hash_weight else 0)
    out = np.empty((len(vectors), wide), np.float32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        moved = _moved(vectors[part], metric.mean, metric.matrix)
        if metric.hash_weight:
            bits = hash_vectors(hashes[part])
            moved = np.hstack([np.sqrt(1 - metric.hash_weight) * moved, np.sqrt(metric.hash_weight) * bits])
        out[part] = moved
    return out


def learn_metric(
    vectors: FloatArray,
    hashes: NDArray[np.uint64],
    copies: Copies,
    is_same: Wide,
    *,
    rng: np.random.Generator,
    hash_weights: Sequence[float] = HASH_WEIGHTS,
) -> Metric:
    """Choose the metric that ranks held-out edited copies above other pictures best.

    Candidates: plain; centred; and the covariance W of the differences between copies and their picture made round,
    by (V - mean) ((1 - s) W + s tr(W) / d I)^(-1/2) (the within-class step of linear discriminant analysis, Fukunaga,
    1990, section 10.2; shrinkage towards a sphere after Ledoit and Wolf, 2004) for several s, with and without
    centring; the same with the covariance of the pictures, centred (whitening, by which directions that many pictures
    share count less: Jegou and Chum, 2012); each joined with the hash by several weights. Each is learnt from some
    pictures and some edits and scored on other pictures under other edits, by the average precision it would have in a
    collection with one copy per picture. The chosen one is learnt again from all copies.

    Args:
        vectors, hashes: (n, d), (n,) of the collection.
        copies: edited copies of some of its pictures.
        is_same: (p, p) chance that a pair of the first p pictures is the same one: such pairs count less as
            different ones, and pictures with many copies less in the mean.
        hash_weights: to choose from; 0 first, alone for no hash.
    """
    pool = len(is_same)
    once = 1.0 / (1.0 + is_same.sum(axis=1) * len(vectors) / pool)  # (p,) a picture of many copies counts as one
    scores: dict[str, list[float]] = {}
    for train, test in _folds(copies, rng):
        # pictures that shaped a metric lie farther apart in it than others do
        shaping, others = (np.sort(half) for half in np.array_split(rng.permutation(pool), 2))
        other = _others(vectors, hashes, is_same, others)
        for name, mean, matrix in _candidates(vectors, once, shaping, train):
            for weight, score in _scores(vectors, hashes, test, other, (mean, matrix), hash_weights):
                scores.setdefault(_named(name, weight), []).append(score)
    held_out = {name: float(np.mean(values)) for name, values in scores.items()}
    best = max(held_out, key=lambda name: held_out[name])  # of equal ones the first: the simplest
    gains = np.asarray(scores[best]) - np.asarray(scores["plain"])
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
    form, _, blended = best.partition(" + hash ")
    mean, matrix = next((m, t) for name, m, t in _candidates(vectors, once, np.arange(pool), copies) if name == form)
    return Metric(best, mean, matrix, float(blended or 0), float(gains.mean()), error, held_out)


@dataclass(frozen=True, slots=True)
class _Others:
    """Pairs of different pictures."""

    vectors: FloatArray  # (p, d)
    hashes: NDArray[np.uint64]
    at: IntArray  # (q,)
    to: IntArray
    weight: Wide  # (q,) chance that they are different
    n: int  # pictures of the whole collection


def _others(vectors: FloatArray, hashes: NDArray[np.uint64], is_same: Wide, chosen: IntArray) -> _Others:
    at, to = np.triu_indices(len(chosen), 1)
    weight = 1.0 - is_same[chosen[at], chosen[to]]
    return _Others(vectors[chosen], hashes[chosen], at, to, weight, len(vectors))


def _named(name: str, weight: float) -> str:
    return f"{name} + hash {weight}" if weight else name


def _folds(copies: Copies, rng: np.random.Generator) -> Iterator[tuple[Copies, Copies]]:
    """Learn from half of the pictures under half of the edits, test on the others under the others; four ways each."""
    for _ in range(N_REPEATS):
        pictures, edits = rng.permutation(np.unique(copies.of)), rng.permutation(np.unique(copies.edit))
        for p, e in ((0, 0), (0, 1), (1, 0), (1, 1)):
            learns = np.isin(copies.of, pictures[p::2]) & np.isin(copies.edit, edits[e::2])
            tests = np.isin(copies.of, pictures[1 - p :: 2]) & np.isin(copies.edit, edits[1 - e :: 2])
            if learns.any() and tests.any():
                yield copies.where(learns), copies.where(tests)


def _candidates(
    vectors: FloatArray, once: Wide, shaping: IntArray, copies: Copies
) -> Iterator[tuple[str, Wide | None, Wide | None]]:
    """Name, mean and matrix, the simplest first; mean and covariance of pictures from the pool's `shaping`."""
    pool = vectors[shaping].astype(np.float64)
    mean = (once[shaping] @ pool) / once[shaping].sum()
    yield "plain", None, None
    yield "centred", mean, None
    yield f"whitened-{WHITENED}", pool.mean(axis=0), next(_rounded(pool - pool.mean(axis=0), (WHITENED,)))
    moved = (copies.vectors - vectors[copies.of]).astype(np.float64)
    for shrinkage, matrix in zip(SHRINKAGES, _rounded(moved, SHRINKAGES), strict=True):
        yield f"within-{shrinkage}", None, matrix
        yield f"centred within-{shrinkage}", mean, matrix


def _rounded(rows: Wide, shrinkages: Sequence[float]) -> Iterator[Wide]:
    """((1 - s) C + s tr(C) / d I)^(-1/2) for C = rows' rows, times what leaves a direction without any row as it is."""
    m, d = rows.shape
    is_wide = m < d  # the smaller of the two square matrices has the same spectrum
    values, axes = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    is_there = values > 1e-9 * max(float(values.sum()), 1e-300)
    values, axes = values[is_there], axes[:, is_there]
    if is_wide:
        axes = rows.T @ axes / np.sqrt(values)
    for s in shrinkages:
        left = s * float(values.sum()) / d
        yield np.eye(d) + (axes * (np.sqrt(left / ((1 - s) * values + left)) - 1)) @ axes.T


def _scores(
    vectors: FloatArray,
    hashes: NDArray[np.uint64],
    test: Copies,
    other: _Others,
    form: tuple[Wide | None, Wide | None],
    hash_weights: Sequence[float],
) -> Iterator[tuple[float, float]]:
    """Hash weight and average precision."""
    mean, matrix = form
    pictures, place = np.unique(test.of, return_inverse=True)
    theirs, mine = _moved(vectors[pictures], mean, matrix), _moved(test.vectors, mean, matrix)
    bits = hash_vectors(test.hashes)
    same = np.einsum("ij,ij->i", mine, theirs[place])
    same_bits = np.einsum("ij,ij->i", bits, hash_vectors(hashes[pictures])[place])
    pool = _moved(other.vectors, mean, matrix)
    different = (pool @ pool.T)[other.at, other.to]
    pool_bits = hash_vectors(other.hashes)
    different_bits = (pool_bits @ pool_bits.T)[other.at, other.to]
    for w in hash_weights:
        yield w, _average_precision((1 - w) * same + w * same_bits, (1 - w) * different + w * different_bits, other)


def _average_precision(same: FloatArray, different: FloatArray, other: _Others) -> float:
    """Of copies among different pairs, in the numbers of a collection of n pictures with one copy each."""
    weight_same = other.n / max(len(same), 1)
    weight_different = other.weight * (other.n * (other.n - 1) / 2 / max(len(different), 1))
    order = np.argsort(-different, kind="stable")
    falling, cumulated = different[order], np.append(0.0, weight_different[order].cumsum())
    copies = -np.sort(-same)
    false = cumulated[np.searchsorted(-falling, -copies, side="right")]  # different pairs at least as alike
    true = weight_same * np.arange(1, len(copies) + 1)
    return float((true / (true + false)).mean()) if len(copies) else 0.0


def _moved(vectors: FloatArray, mean: Wide | None, matrix: Wide | None) -> FloatArray:
    out = vectors if mean is None else vectors - mean.astype(np.float32)
    if matrix is not None:
        out = out @ matrix.astype(np.float32)
    if mean is None and matrix is None:
        return vectors
    unit: FloatArray = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.float32(1e-12))
    return unit
