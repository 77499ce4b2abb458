"""All pairs at or above a similarity, exactly, without comparing every number of every pair.

Whoever decides whether two vectors are near-duplicates asks here, so that those who remove and
those who check agree to the last bit: `pair_similarity` gives the value, `reaches` the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.index import bf16
from curator.index.bounds import SLACK, Bound, make_bound
from curator.index.comparable import Comparable
from curator.index.regions import TOGETHER, Line, Regions
from curator.index.spec import in_threads

T = TypeVar("T")

TOLERANCE = 1e-6  # a float32 vector of length 1 has a cosine with itself of 1 give or take 1e-7
STRIPE = 1_024  # rows of one task, and columns of one block
SLAB = 256  # rows of one GEMM: a 256 x 1,024 result stays in the cache while it is scanned
DENSE = 0.05  # share of a block above which a full GEMM is cheaper than looking at its candidates one by one
BATCH = 4_096  # candidates looked at together
REGIONS_FROM = 4e9  # pairs from which it is tried whom the triangle inequality leaves out
REGIONS_SHARE = 0.1  # of all vectors, that each side must have for it
REGIONS_PAY = 0.5  # share of the pairs left below which that is used
LOOK = 512  # of them gathered at once: two pieces of 512 x 384 float32 stay in the cache


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


@dataclass(frozen=True, slots=True)
class Part:
    """Positions of which each on the left is compared with each on the right."""

    left: IntArray
    right: IntArray
    rank: IntArray | None = None  # (n,) only pairs whose left is before the right in it; none for all
    is_turned: bool = False  # the caller's left ones stand on the right


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbered tasks, each some parts."""

    sizes: list[int]  # positions on the left of each task
    parts: Callable[[int], Iterator[Part]]


class Ration:
    """Pairs that each position may still have on its left: m near-equal vectors have m * m / 2.

    Whoever has none left is not compared any further, so equal frames by the ten thousand cost little.
    """

    def __init__(self, n: int, each: int) -> None:
        self.left = np.full(n, each)  # (n,)

    def portions(self, left: IntArray, right: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """The candidates of those who may have more: first some of each, then the rest of who still may."""
        if len(left) <= 2 * int(self.left[left].min(initial=0)):  # nobody can run out, which is the rule
            yield left, right
            return
        order = np.argsort(left, kind="stable")
        left, right = left[order], right[order]
        starts = np.flatnonzero(np.diff(left, prepend=-1))
        place = np.arange(len(left)) - np.repeat(starts, np.diff(np.append(starts, len(left))))
        soon = place < 2 * self.left[left]
        for chosen in (soon, ~soon):
            open_ = chosen & (self.left[left] > 0)
            yield left[open_], right[open_]

    def spend(self, positions: IntArray) -> None:
        """Take one off for each time a position is named."""
        np.subtract.at(self.left, positions, 1)


class PairJoin:
    """Find pairs at or above a similarity; exact, one preparation for many questions.

    Short stand-ins bound the cosine from above (see `bounds`); only the few pairs whose bound reaches
    the threshold are computed in full.

    Args:
        vectors: (n, d) float32 of length 1; kept, not copied.
        threshold: cosine at or above which a pair is wanted.
        comparable: pairs that may be compared; none where all may.
        threads: workers, each with a one-thread BLAS; none for one per core.
        bound: stand-ins of these vectors for this threshold, where they are made already.
    """

    def __init__(
        self,
        vectors: FloatArray,
        threshold: float,
        *,
        comparable: Comparable | None = None,
        threads: int | None = None,
        bound: Bound | None = None,
    ) -> None:
        self.vectors = vectors
        self.threshold = threshold
        self.comparable = comparable
        self.threads = threads
        self.bound = bound or make_bound(vectors, threshold)
        self._regions: Regions | None = None

    @property
    def width(self) -> int:
        """Numbers per vector that the bound compares."""
        return self.bound.width

    def among(self, comparable: Comparable | None) -> PairJoin:
        """The same join where other pairs may be compared."""
        return PairJoin(self.vectors, self.threshold, comparable=comparable, threads=self.threads, bound=self.bound)

    def within(self, at: IntArray, *, progress: Progress = no_progress) -> Pairs:
        """Pairs among the positions `at`, each once, the one earlier in `at` on the left."""
        return self._earlier_left(at, list(self._blocks(at, at, _same, triangle=True, progress=progress)))

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
            return self._earlier_left(at, list(self._blocks(at, at, held, triangle=True, progress=progress)))
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
        position = np.full(len(self.vectors), len(self.vectors))  # behind every real one
        similarity = np.full(len(self.vectors), -1.0, np.float32)
        # Block by block: where most pairs reach the threshold, the best of all blocks together are too many to hold.
        for best in self._blocks(left, right, best_of_each, triangle=False, progress=progress):
            held, offered = similarity[best.left], best.similarity
            better = (offered > held) | ((offered == held) & (best.right < position[best.left]))
            at = best.left[better]
            position[at], similarity[at] = best.right[better], offered[better]
        return np.where(position < len(self.vectors), position, -1)[left], similarity[left]

    def between(self, left: IntArray, right: IntArray, *, progress: Progress = no_progress) -> Pairs:
        """Pairs of a position in `left` and one in `right`; the two share no position."""
        return concatenate(list(self._blocks(left, right, _same, triangle=False, progress=progress)))

    def within_ration(self, at: IntArray, ration: Ration, *, progress: Progress = no_progress) -> Pairs:
        """As `within`, but of each position no more pairs than the ration allows, or little more."""
        found = self._blocks(at, at, _same, triangle=True, progress=progress, ration=ration)
        return self._earlier_left(at, list(found))

    def confirm(self, left: IntArray, right: IntArray) -> Pairs:
        """Those of the given pairs that reach the threshold, with their similarity."""
        return self._verify(left, right)

    def _expected_pairs(self, at: IntArray) -> float:
        """Rough number of pairs among `at`, from a sample of them."""
        few, many = at[:: -(-len(at) // 256) or 1], at[:: -(-len(at) // 2_048) or 1]
        hits = (self.vectors[few] @ self.vectors[many].T >= self.threshold) & (few[:, None] != many)
        if self.comparable is not None:
            hits &= self.comparable.allows(few[:, None], many)
        return float(hits.mean()) * len(at) ** 2 / 2 if len(at) else 0.0

    def _earlier_left(self, at: IntArray, found: list[Pairs]) -> Pairs:
        """All of them, each turned so that the position earlier in `at` stands on the left."""
        pairs = concatenate(found)
        place = ranked(len(self.vectors), at)
        turned = place[pairs.left] > place[pairs.right]
        left, right = np.where(turned, pairs.right, pairs.left), np.where(turned, pairs.left, pairs.right)
        return Pairs(left, right, pairs.similarity)

    def _blocks(
        self,
        left: IntArray,
        right: IntArray,
        summary: Callable[[Pairs], T],
        *,
        triangle: bool,
        progress: Progress,
        ration: Ration | None = None,
    ) -> Generator[T, None, None]:
        """What `summary` makes of the pairs of each block that has any, in a fixed order."""
        if len(left) == 0 or len(right) == 0:
            return
        plan = self._plan(left, right, triangle=triangle)

        def task(number: int) -> list[T]:
            return [summary(pairs) for part in plan.parts(number) for pairs in self.compare(part, ration)]

        done, parts = 0, in_threads(task, range(len(plan.sizes)), threads=self.threads)
        with bf16.one_torch_thread(), closing(parts):
            for size, summaries in zip(plan.sizes, parts, strict=True):
                yield from summaries
                done += size
                progress("pairs", done, sum(plan.sizes))

    def _plan(self, left: IntArray, right: IntArray, *, triangle: bool) -> Plan:
        """How the pairs are cut into parts: by what may be compared, by what may be near, or not at all."""
        if self.comparable is not None:
            return _by_place(self.comparable, left, right, len(self.vectors), triangle=triangle)
        few = min(len(left), len(right)) < REGIONS_SHARE * len(
            self.vectors
        )  # regions of a handful cost more than they save
        if len(left) * len(right) >= REGIONS_FROM and not few and self.bound.least > 0.0:
            self._regions = self._regions or Regions(self.bound)
            if self._regions.share(left) < REGIONS_PAY:
                return _by_region(self._regions, left, right, len(self.vectors), triangle=triangle)
        return _by_stripe(left, right, len(self.vectors), triangle=triangle)

    def compare(self, part: Part, ration: Ration | None = None) -> Iterator[Pairs]:
        """Pairs of one part, some thousands at a time; with a ration no more than it allows, or little more."""
        room = self.bound.room(SLAB, STRIPE)
        slabs = [part.left[low : low + SLAB] for low in range(0, len(part.left), SLAB)]
        ours = [self.bound.of(slab) for slab in slabs]  # (SLAB, m + 1) each
        waiting: list[tuple[IntArray, IntArray]] = []  # candidates of several blocks: most have a few only
        n_waiting = 0
        for first in range(0, len(part.right), STRIPE):
            to_here = part.right[first : first + STRIPE]
            theirs = self.bound.of(to_here)  # (STRIPE, m + 1)
            for from_here, rows in zip(slabs, ours, strict=True):
                scores = self.bound.scores(rows, theirs, room)[: len(from_here), : len(to_here)]
                at, to = self._candidates(scores, from_here, to_here)
                left, right = from_here[at], to_here[to]
                if part.rank is not None:
                    above = part.rank[left] < part.rank[right]
                    left, right = left[above], right[above]
                waiting.append((left, right))
                n_waiting += len(left)
                if n_waiting >= BATCH:  # at once: of many equal vectors each slab gives a quarter of a million
                    yield from self._checked(part, waiting, ration)
                    waiting, n_waiting = [], 0
        if n_waiting:
            yield from self._checked(part, waiting, ration)

    def _checked(
        self, part: Part, candidates: list[tuple[IntArray, IntArray]], ration: Ration | None
    ) -> Iterator[Pairs]:
        left, right = (np.concatenate(side) for side in zip(*candidates, strict=True))
        for at, to in [(left, right)] if ration is None else ration.portions(left, right):
            pairs = self._verify(at, to)
            if ration is not None:
                ration.spend(pairs.left)
            yield Pairs(pairs.right, pairs.left, pairs.similarity) if part.is_turned else pairs

    def _candidates(self, scores: NDArray[Any], left: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
        """Row and column of the pairs of a block that may reach the threshold."""
        hits = scores >= self.bound.floor
        flat = np.flatnonzero(hits)
        if len(flat) > DENSE * hits.size and not self.bound.is_plain:
            full = self.vectors[left[: len(scores)]] @ self.vectors[right[: scores.shape[1]]].T
            flat = np.flatnonzero(full >= np.float32(self.threshold - SLACK))
        return flat // scores.shape[1], flat % scores.shape[1]

    def _verify(self, left: IntArray, right: IntArray) -> Pairs:
        if self.comparable is not None:
            allowed = self.comparable.allows(left, right)
            left, right = left[allowed], right[allowed]
        similarity = np.empty(len(left), np.float32)
        for start in range(0, len(left), LOOK):  # float32 first: it discards most candidates at half the cost
            part = slice(start, start + LOOK)
            ours, theirs = (self.vectors.take(side[part], axis=0) for side in (left, right))
            np.einsum("ij,ij->i", ours, theirs, out=similarity[part])
        close = similarity >= self.threshold - SLACK
        left, right = left[close], right[close]
        similarity = pair_similarity(self.vectors, left, right)
        keep = reaches(similarity, self.threshold)
        return Pairs(left[keep], right[keep], similarity[keep])


def _by_stripe(left: IntArray, right: IntArray, n: int, *, triangle: bool) -> Plan:
    rank = ranked(n, left) if triangle else None

    def parts(number: int) -> Iterator[Part]:
        start = number * STRIPE
        yield Part(left[start : start + STRIPE], right[start:] if triangle else right, rank)

    return Plan([min(STRIPE, len(left) - start) for start in range(0, len(left), STRIPE)], parts)


def _by_place(comparable: Comparable, left: IntArray, right: IntArray, n: int, *, triangle: bool) -> Plan:
    """Everyone in order of place, so that what may be compared stands together."""
    left, right = (side[np.argsort(comparable.place[side], kind="stable")] for side in (left, right))
    places = comparable.place[right]
    rank = ranked(n, left) if triangle else None

    def parts(number: int) -> Iterator[Part]:
        start = number * STRIPE
        ours = left[start : start + STRIPE]
        first = np.searchsorted(places, comparable.place[ours[0]] - comparable.reach)
        last = np.searchsorted(places, comparable.place[ours[-1]] + comparable.reach, side="right")
        yield Part(ours, right[max(first, start) if triangle else first : last], rank)

    return Plan([min(STRIPE, len(left) - start) for start in range(0, len(left), STRIPE)], parts)


def _by_region(regions: Regions, left: IntArray, right: IntArray, n: int, *, triangle: bool) -> Plan:
    """Each pair from the narrower of its two regions; within one side each region looks at those after it."""
    ours = regions.line(left)
    theirs = ours if triangle else regions.line(right)
    rank = ranked(n, ours.positions) if triangle else None
    sides = [_Side(regions, ours, theirs, ours.starts[:-1])]
    if not triangle:
        at_least = np.searchsorted(theirs.width_at, ours.widths)
        above = np.searchsorted(ours.width_at, theirs.widths, side="right")
        sides = [_Side(regions, ours, theirs, at_least), _Side(regions, theirs, ours, above, is_turned=True)]
    tasks = [(side, start) for side in sides for start in range(0, len(side.line.widths), TOGETHER)]

    def parts(number: int) -> Iterator[Part]:
        side, start = tasks[number]
        return side.parts(start, rank)

    return Plan([side.size(start) for side, start in tasks], parts)


class _Side:
    """The regions of one side, and whom they look for on the other."""

    def __init__(self, regions: Regions, line: Line, other: Line, firsts: IntArray, *, is_turned: bool = False) -> None:
        self.regions, self.line, self.other, self.firsts, self.is_turned = regions, line, other, firsts, is_turned
        self.theirs = regions.bound.numbers.take(other.positions, axis=0)

    def size(self, start: int) -> int:
        starts = self.line.starts
        return int(starts[min(start + TOGETHER, len(starts) - 1)] - starts[start])

    def parts(self, start: int, rank: IntArray | None) -> Iterator[Part]:
        some = range(start, min(start + TOGETHER, len(self.line.widths)))
        for region, near in self.regions.reachable(self.line, some, self.theirs, self.firsts):
            members = self.line.positions[self.line.starts[region] : self.line.starts[region + 1]]
            yield Part(members, self.other.positions[near], rank, self.is_turned)


def ranked(n: int, at: IntArray) -> IntArray:
    """(n,) place of each position in `at`; of others anything."""
    rank = np.zeros(n, np.int64)
    rank[at] = np.arange(len(at))
    return rank


class _TooMany(Exception):
    """More pairs than may be held; raised in a worker to stop all of them."""


def _same(pairs: Pairs) -> Pairs:
    return pairs


def best_of_each(pairs: Pairs) -> Pairs:
    """For each left position its most similar right one, the lowest of equal ones."""
    order = np.lexsort((pairs.right, -pairs.similarity, pairs.left))
    left = pairs.left[order]
    first = order[np.flatnonzero(np.diff(left, prepend=-1))]
    return Pairs(pairs.left[first], pairs.right[first], pairs.similarity[first])


def concatenate(parts: list[Pairs]) -> Pairs:
    """All of them in one, in the order given."""
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.similarity for part in parts]),
    )
