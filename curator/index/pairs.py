"""All pairs at or above a similarity, exactly, without comparing every number of every pair.

Whoever decides whether two vectors are near-duplicates asks here, so that those who remove and
those who check agree to the last bit: `pair_similarity` gives the value, `reaches` the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.index.spec import in_threads

T = TypeVar("T")

TOLERANCE = 1e-6  # a float32 vector of length 1 has a cosine with itself of 1 give or take 1e-7
SLACK = 2e-5  # what a float32 GEMM of up to some thousand numbers may be off; decisions inside are made in float64
STRIPE = 1_024  # rows of one task, and columns of one block
SLAB = 256  # rows of one GEMM: a 256 x 1,024 result stays in the cache while it is scanned
DENSE = 0.05  # share of a block above which a full GEMM is cheaper than looking at its candidates one by one
BATCH = 4_096  # candidates looked at together
WIDTHS = (16, 24, 32, 48, 64, 96, 128)  # prefix lengths to choose from


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of positions and how similar they are, in the order they were found."""

    left: IntArray  # (m,)
    right: IntArray  # (m,)
    similarity: FloatArray  # (m,) cosine, computed by `pair_similarity`

    def __len__(self) -> int:
        return len(self.left)


def pair_similarity(vectors: FloatArray, left: IntArray, right: IntArray) -> FloatArray:
    """Cosine of the vectors at `left` and `right`, pair by pair.

    Summed in float64 in one fixed order, so the value does not depend on which other pairs are
    asked for, as that of a GEMM does.

    Args:
        vectors: (n, d) float32 of length 1.
        left, right: (m,) positions.

    Returns:
        (m,) float32, -1..1.
    """
    similarity = np.empty(len(left), np.float32)
    for start in range(0, len(left), 2_048):
        part = slice(start, start + 2_048)
        a, b = vectors[left[part]].astype(np.float64), vectors[right[part]].astype(np.float64)
        similarity[part] = np.einsum("ij,ij->i", a, b)
    return np.clip(similarity, -1.0, 1.0, out=similarity)


def reaches(similarity: FloatArray, threshold: float) -> BoolArray:
    """Whether each similarity counts as at or above `threshold`: at most `TOLERANCE` below it."""
    verdict: BoolArray = similarity.astype(np.float64) >= threshold - TOLERANCE
    return verdict


class PairJoin:
    """Find pairs at or above a similarity; exact, one preparation for many questions.

    Rotate by PCA and keep m coordinates and the length r of what is left. By Cauchy-Schwarz
    <x, y> <= <x_m, y_m> + r_x r_y, so one GEMM of width m + 1 bounds the cosine from above;
    only the few pairs whose bound reaches the threshold are computed in full. m is chosen on a
    sample; where no prefix pays (low threshold, flat spectrum) the bound is the full GEMM.

    Args:
        vectors: (n, d) float32 of length 1; kept, not copied.
        threshold: cosine at or above which a pair is wanted.
        threads: workers, each with a one-thread BLAS; none for one per core.
    """

    def __init__(self, vectors: FloatArray, threshold: float, *, threads: int | None = None) -> None:
        self.vectors = vectors
        self.threshold = threshold
        self.threads = threads
        self.bound = _bound(vectors, threshold)  # (n, m + 1), or the vectors themselves

    @property
    def width(self) -> int:
        """Numbers per vector that the bound compares."""
        return int(self.bound.shape[1])

    def within(self, at: IntArray, *, progress: Progress = no_progress) -> Pairs:
        """Pairs among the positions `at`, each once, the one earlier in `at` on the left."""
        return _concatenate(list(self._blocks(at, at, lambda pairs: pairs, triangle=True, progress=progress)))

    def within_limit(self, at: IntArray, max_pairs: int, *, progress: Progress = no_progress) -> Pairs | None:
        """As `within`, or none where there are more than `max_pairs`: m equal vectors have m * m / 2."""
        if self._expected_pairs(at) > 4 * max_pairs:
            return None  # far too many, so it pays not to begin
        lock, count = Lock(), 0

        def held(pairs: Pairs) -> Pairs:
            nonlocal count
            with lock:
                count += len(pairs)
            if count > max_pairs:
                raise _TooMany
            return pairs

        try:
            return _concatenate(list(self._blocks(at, at, held, triangle=True, progress=progress)))
        except _TooMany:
            return None

    def count_within(self, at: IntArray, marked: BoolArray, *, progress: Progress = no_progress) -> tuple[int, int]:
        """How many pairs `within` would give, and in how many both are `marked` (n,); holds none of them."""

        def count(pairs: Pairs) -> tuple[int, int]:
            return len(pairs), int((marked[pairs.left] & marked[pairs.right]).sum())

        counts = list(self._blocks(at, at, count, triangle=True, progress=progress))
        return sum(all_ for all_, _ in counts), sum(both for _, both in counts)

    def nearest(
        self, left: IntArray, right: IntArray, *, progress: Progress = no_progress
    ) -> tuple[IntArray, FloatArray]:
        """The most similar position in `right` of each in `left`, among those that reach the threshold.

        The two share no position.

        Returns:
            (m,) position and (m,) cosine; -1 and -1 where none reaches it. Of equal ones the lowest.
        """
        found = _concatenate(list(self._blocks(left, right, best_of_each, triangle=False, progress=progress)))
        position = np.full(len(self.vectors), -1, np.int64)
        similarity = np.full(len(self.vectors), -1.0, np.float32)
        best = best_of_each(found)
        position[best.left], similarity[best.left] = best.right, best.similarity
        return position[left], similarity[left]

    def between(self, left: IntArray, right: IntArray, *, progress: Progress = no_progress) -> Pairs:
        """Pairs of a position in `left` and one in `right`; the two share no position."""
        return _concatenate(list(self._blocks(left, right, lambda pairs: pairs, triangle=False, progress=progress)))

    def _expected_pairs(self, at: IntArray) -> float:
        """Rough number of pairs among `at`, from a sample of them."""
        few, many = at[:: -(-len(at) // 256) or 1], at[:: -(-len(at) // 2_048) or 1]
        hits = (self.vectors[few] @ self.vectors[many].T >= self.threshold) & (few[:, None] != many)
        return float(hits.mean()) * len(at) ** 2 / 2 if len(at) else 0.0

    def _blocks(
        self,
        left: IntArray,
        right: IntArray,
        summary: Callable[[Pairs], T],
        *,
        triangle: bool,
        progress: Progress,
    ) -> Generator[T, None, None]:
        """What `summary` makes of the pairs of each block that has any, in a fixed order."""

        def stripe(start: int) -> list[T]:
            return [summary(pairs) for pairs in self._stripe(left, right, start, triangle=triangle)]

        starts = range(0, len(left) if len(right) else 0, STRIPE)
        with closing(in_threads(stripe, starts, threads=self.threads)) as stripes:
            for start, summaries in zip(starts, stripes, strict=True):
                yield from summaries
                progress("pairs", min(start + STRIPE, len(left)), len(left))

    def _stripe(self, left: IntArray, right: IntArray, start: int, *, triangle: bool) -> Iterator[Pairs]:
        """Pairs of `left[start : start + STRIPE]` with all of `right`, some thousands at a time."""
        ours = self.bound[left[start : start + STRIPE]]  # (s, m + 1)
        block = np.empty((SLAB, STRIPE), np.float32)
        waiting: list[tuple[IntArray, IntArray]] = []  # candidates of several blocks: most have a few only
        for first in range(start if triangle else 0, len(right), STRIPE):
            theirs = self.bound[right[first : first + STRIPE]]  # (c, m + 1)
            for low in range(0, len(ours), SLAB):
                rows = ours[low : low + SLAB]
                whole = len(theirs) == STRIPE  # a narrower result would not lie together in `block`
                scores = np.matmul(rows, theirs.T, out=block[: len(rows)] if whole else None)
                at, to = self._candidates(scores, left[start + low :], right[first:])
                at, to = at + (start + low), to + first
                if triangle:
                    above = at < to
                    at, to = at[above], to[above]
                waiting.append((left[at], right[to]))
            if sum(len(at) for at, _ in waiting) >= BATCH:
                yield self._verify(waiting)
                waiting = []
        if waiting:
            yield self._verify(waiting)

    def _candidates(self, scores: FloatArray, left: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
        """Row and column of the pairs of a block that may reach the threshold."""
        floor = np.float32(self.threshold - SLACK)
        hits = scores >= floor
        flat = np.flatnonzero(hits)
        if len(flat) > DENSE * hits.size and self.bound is not self.vectors:
            full = self.vectors[left[: len(scores)]] @ self.vectors[right[: scores.shape[1]]].T
            flat = np.flatnonzero(full >= floor)
        return flat // scores.shape[1], flat % scores.shape[1]

    def _verify(self, candidates: list[tuple[IntArray, IntArray]]) -> Pairs:
        left, right = (np.concatenate(side) for side in zip(*candidates, strict=True))
        similarity = np.empty(len(left), np.float32)
        for start in range(0, len(left), 2_048):  # float32 first: it discards most candidates at half the cost
            part = slice(start, start + 2_048)
            np.einsum("ij,ij->i", self.vectors[left[part]], self.vectors[right[part]], out=similarity[part])
        close = similarity >= self.threshold - SLACK
        left, right = left[close], right[close]
        similarity = pair_similarity(self.vectors, left, right)
        keep = reaches(similarity, self.threshold)
        return Pairs(left[keep], right[keep], similarity[keep])


class _TooMany(Exception):
    """More pairs than may be held; raised in a worker to stop all of them."""


def best_of_each(pairs: Pairs) -> Pairs:
    """For each left position its most similar right one, the lowest of equal ones."""
    order = np.lexsort((pairs.right, -pairs.similarity, pairs.left))
    left = pairs.left[order]
    first = order[np.flatnonzero(np.diff(left, prepend=-1))]
    return Pairs(pairs.left[first], pairs.right[first], pairs.similarity[first])


def _bound(vectors: FloatArray, threshold: float) -> FloatArray:
    """(n, m + 1) float32 whose dot products bound the cosine from above; the vectors where that does not pay."""
    n, d = vectors.shape
    if n < 4 * STRIPE or d <= WIDTHS[0]:
        return vectors
    sample = vectors[:: -(-n // 20_000)].astype(np.float32)
    _, axes = np.linalg.eigh(sample.T @ sample)
    axes = np.ascontiguousarray(axes[:, ::-1][:, : min(WIDTHS[-1], d)])  # (d, w), strongest first
    few, many = vectors[:: -(-n // 256)], vectors[1 :: -(-n // 2_048)]
    width = min(
        (w for w in (*WIDTHS, d) if w <= d),
        key=lambda w: _cost_ns(w, d, _share(few, many, axes[:, :w], threshold) if w < d and w <= axes.shape[1] else 0),
    )
    return vectors if width == d else _prefix(vectors, axes[:, :width])


def _cost_ns(width: int, dim: int, candidates: float) -> float:
    """Rough cost of one pair: GEMM of the bound, its scan, and the share looked at in full."""
    return 0.023 * (width + 1) + 0.25 + min(500.0 * candidates, 0.023 * dim)


def _share(few: FloatArray, many: FloatArray, axes: FloatArray, threshold: float) -> float:
    return float((_prefix(few, axes) @ _prefix(many, axes).T >= threshold - SLACK).mean())


def _prefix(vectors: FloatArray, axes: FloatArray) -> FloatArray:
    """First coordinates along `axes` and, last, the length of the rest; a little long, never short."""
    prefix = np.empty((len(vectors), axes.shape[1] + 1), np.float32)
    for start in range(0, len(vectors), 65_536):
        rows = vectors[start : start + 65_536]
        kept = rows @ axes  # (b, m)
        rest = np.einsum("ij,ij->i", rows, rows) - np.einsum("ij,ij->i", kept, kept)
        prefix[start : start + len(rows), :-1] = kept
        # The difference of two float32 sums is off by some 1e-7; under a root near 0 that would be 3e-4.
        prefix[start : start + len(rows), -1] = np.sqrt(np.maximum(rest, 0.0) + 1e-6)
    return prefix


def _concatenate(parts: list[Pairs]) -> Pairs:
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.similarity for part in parts]),
    )
