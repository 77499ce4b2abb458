"""Most pairs at or above a similarity, without comparing all with all, and how many are most.

Everyone is divided among k-means centres and compared with those of its own list and of every list
whose centre is nearly as near. How nearly is read off a sample whose true pairs are known; the
recall is measured on another.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import UsageError
from curator.index import bf16
from curator.index.comparable import Comparable
from curator.index.exact import ALMOST, check_unit
from curator.index.pairs import PairJoin, Pairs, Part, Ration, concatenate, ranked
from curator.index.partition import BLOCK, Partition, as_floats, as_numbers, divide
from curator.index.spec import IndexSpec, in_threads

SMALL = 20_000  # vectors up to which comparing all with all takes a second
LISTS_PER_ROOT = 2  # lists: so many times the root of the number of vectors
PROBE = 1_000  # vectors whose true pairs are known, at least: once to choose the margin, once to measure
SPARE = 0.004  # the margin is chosen for this much more than the asked recall: the sample is small
WIDEST = 0.2  # share of all lists a vector may visit on average; beyond, all are compared with all
TRUTHS = 256  # true pairs of one vector of a sample that are looked at, at most
RATION = 4  # pairs looked at before the most similar are chosen, for each that a vector may hold


@dataclass(frozen=True, slots=True)
class PairRecall:
    """Share of the true pairs that were found, measured on a sample of vectors."""

    value: float  # 0..1; 1.0 only where all were compared with all
    low: float  # 95 % interval (Wilson); a vector counts once however many pairs it has
    high: float
    n_vectors: int  # that were compared with all others
    n_pairs: int  # true pairs of these
    n_full: int = 0  # vectors, of all, with as many pairs as they may hold; what these lack is not counted as missed

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}, {self.n_pairs} pairs of {self.n_vectors} vectors)"


def approximate_pairs(
    vectors: FloatArray,
    threshold: float,
    *,
    spec: IndexSpec | None = None,
    comparable: Comparable | None = None,
    max_per_row: int = 64,
    progress: Progress = no_progress,
) -> tuple[Pairs, PairRecall]:
    """Pairs at cosine `threshold` or above, most of them, and the measured share.

    Every pair given out is computed in full. Below the floor of the recall the margin doubles, and
    where that no longer pays all are compared with all. Time grows as n to the power of 1.5.

    Args:
        vectors: (n, d) float32 of length 1.
        threshold: cosine, -1..1.
        spec: floor of the recall (`min_recall`), size of the sample, threads, seed.
        comparable: pairs that may be compared; none where all may.
        max_per_row: pairs in which a vector may stand on the left, the most similar ones; bounds the
            memory where very many vectors are alike.

    Returns:
        Pairs, each once, left < right, ascending; and the recall.

    Raises:
        BadEmbeddings: vectors not (n, d), or not of length 1.
        UsageError: max_per_row < 1.
    """
    spec = spec or IndexSpec()
    if max_per_row < 1:
        raise UsageError(f"max_per_row is {max_per_row}; expected at least 1 pair per vector")
    vectors = check_unit(vectors)
    n = len(vectors)
    join = PairJoin(vectors, threshold, comparable=comparable, threads=spec.threads)
    if n > SMALL and spec.min_recall < 1.0 and join.bound.least > 0.0:
        drawn = np.random.default_rng(spec.seed).permutation(n)
        size = max(PROBE, spec.sample)
        check, probe = np.sort(drawn[:size]), np.sort(drawn[size : 2 * size])
        with bf16.one_torch_thread():
            lists = divide(join.bound, int(LISTS_PER_ROOT * n**0.5), seed=spec.seed)
            margin = _margin_for(join, lists, _pairs_of(join, probe, drawn), min(1.0, spec.min_recall + SPARE))
        truth = _pairs_of(join, check, drawn)
        while True:
            visits = _visits(join, lists, margin, up_to=int(WIDEST * n * len(lists)))
            if visits is None:
                break
            found, full = _join_lists(join, lists, visits, max_per_row, progress=progress)
            recall = _measured(found, truth, full, len(check))
            if recall.value >= spec.min_recall:
                return found, recall
            margin = 2 * margin + margin.dtype.type(4 if join.bound.is_half else 0.01)
    return _everything(join, max_per_row, progress=progress)


def _pairs_of(join: PairJoin, some: IntArray, drawn: IntArray) -> Pairs:
    """True pairs that one of `some` is in: all, or `TRUTHS` of one that has more, those earliest in the order `drawn`.

    So many with everyone where all are alike, that they could not be held.
    """
    chance = ranked(len(drawn), drawn)
    others = np.setdiff1d(np.arange(len(drawn)), some, assume_unique=True)
    found = join.within(some)
    for start in range(0, len(others), BLOCK):
        found = _first_of_each(concatenate([found, join.between(some, others[start : start + BLOCK])]), chance)
    return found


def _first_of_each(pairs: Pairs, chance: IntArray) -> Pairs:
    """Of each position on the left the `TRUTHS` pairs whose right one is first by `chance`, (n,)."""
    order = np.argsort(pairs.left * len(chance) + chance[pairs.right])
    kept = np.sort(order[_within_left(pairs.left[order]) < TRUTHS])
    return Pairs(pairs.left[kept], pairs.right[kept], pairs.similarity[kept])


def _within_left(left: IntArray) -> IntArray:
    """(m,) place of each among its equals, which stand together."""
    starts = np.flatnonzero(np.diff(left, prepend=-1))
    place: IntArray = np.arange(len(left)) - np.repeat(starts, np.diff(np.append(starts, len(left))))
    return place


def _margin_for(join: PairJoin, lists: Partition, truth: Pairs, recall: float) -> Any:
    """How much less near than the nearest a centre may be, so that this share of the true pairs is found.

    A pair is found when one of the two visits the list of the other, so the share follows from the
    centres alone: no trial search. In the numbers of the scores; for bfloat16 in steps of its bits.
    """
    lacking = [
        lists.best[a].astype(np.int64 if join.bound.is_half else np.float32) - _score(join, lists, a, lists.of[b])
        for a, b in ((truth.left, truth.right), (truth.right, truth.left))
    ]
    needed = np.sort(np.minimum(*lacking))
    kind = np.int64 if join.bound.is_half else np.float32
    if len(needed) == 0:
        return kind(8 if join.bound.is_half else 0.03)
    return np.maximum(needed[min(len(needed) - 1, int(np.ceil(recall * len(needed))))], kind(0))


def _score(join: PairJoin, lists: Partition, at: IntArray, which: IntArray) -> Any:
    """Score of each position with the centre of one list."""
    scores = np.empty(len(at), np.float32)
    for start in range(0, len(at), BLOCK):
        part = slice(start, start + BLOCK)
        rows, centres = (as_floats(side) for side in (join.bound.numbers[at[part]], lists.centres[which[part]]))
        scores[part] = np.einsum("ij,ij->i", rows, centres)
    return as_numbers(join.bound, scores)


def _visits(join: PairJoin, lists: Partition, margin: Any, *, up_to: int) -> tuple[IntArray, IntArray] | None:
    """Who visits which list: (m,) lists ascending and (m,) visitors; none where there are more than `up_to`."""
    who: list[IntArray] = []
    where: list[IntArray] = []
    count = 0
    room = join.bound.room(BLOCK, len(lists))
    with bf16.one_torch_thread():
        for start in range(0, len(lists.of), BLOCK):
            rows = join.bound.numbers[start : start + BLOCK]
            scores = join.bound.scores(rows, lists.centres, room)
            floor = lists.best[start : start + BLOCK].astype(margin.dtype) - margin
            if join.bound.is_half:  # bits of bfloat16, which must not wrap around
                floor = np.maximum(floor, np.iinfo(np.int16).min)
            floor = floor.astype(scores.dtype)
            flat = np.flatnonzero(scores >= floor[:, None])
            who.append(flat // len(lists) + start)
            where.append(flat % len(lists))
            count += len(flat)
            if count > up_to:
                return None
    visited, visitors = np.concatenate(where), np.concatenate(who)
    order = np.argsort(visited, kind="stable")
    return visited[order], visitors[order]


def _join_lists(
    join: PairJoin, lists: Partition, visits: tuple[IntArray, IntArray], max_per_row: int, *, progress: Progress
) -> tuple[Pairs, BoolArray]:
    """Pairs of each list's members and visitors, each once; and (n,) who holds as many as it may."""
    n = len(lists.of)
    members = np.argsort(lists.of, kind="stable")
    starts = np.searchsorted(lists.of[members], np.arange(len(lists) + 1))
    first = np.searchsorted(visits[0], np.arange(len(lists) + 1))

    ration, own = Ration(n, RATION * max_per_row), np.arange(n)

    def task(i: int) -> Pairs:
        ours = members[starts[i] : starts[i + 1]]
        visitors = visits[1][first[i] : first[i + 1]]
        parts = (Part(ours, ours, own), Part(ours, visitors[lists.of[visitors] != i]))
        held = [pairs for part in parts for pairs in join.compare(part, ration)]
        return _capped(_ascending(concatenate(held)), max_per_row)

    found, done = [], 0
    filled = np.flatnonzero(np.diff(starts))
    with bf16.one_torch_thread(), closing(in_threads(task, filled.tolist(), threads=join.threads)) as tasks:
        for i, pairs in zip(filled.tolist(), tasks, strict=True):
            found.append(pairs)
            done += int(starts[i + 1] - starts[i])
            progress("pairs", done, n)
    together = _sorted(_capped(_once(concatenate(found), n), max_per_row))
    return together, _full(together, ration, n, max_per_row)


def _full(pairs: Pairs, ration: Ration, n: int, max_per_row: int) -> BoolArray:
    """(n,) who holds as many pairs as it may."""
    full: BoolArray = (np.bincount(pairs.left, minlength=n) >= max_per_row) | (ration.left <= 0)
    return full


def _ascending(pairs: Pairs) -> Pairs:
    """The lower position on the left."""
    return Pairs(np.minimum(pairs.left, pairs.right), np.maximum(pairs.left, pairs.right), pairs.similarity)


def _once(pairs: Pairs, n: int) -> Pairs:
    _, first = np.unique(pairs.left * n + pairs.right, return_index=True)
    return Pairs(pairs.left[first], pairs.right[first], pairs.similarity[first])


def _capped(pairs: Pairs, max_per_row: int) -> Pairs:
    """Of each position on the left its most similar pairs, so many."""
    order = np.lexsort((pairs.right, -pairs.similarity, pairs.left)) if len(pairs) > max_per_row else np.arange(0)
    kept = order[_within_left(pairs.left[order]) < max_per_row]
    if len(kept) == len(order):
        return pairs
    return Pairs(pairs.left[kept], pairs.right[kept], pairs.similarity[kept])


def _sorted(pairs: Pairs) -> Pairs:
    order = np.lexsort((pairs.right, pairs.left))
    return Pairs(pairs.left[order], pairs.right[order], pairs.similarity[order])


def _measured(found: Pairs, truth: Pairs, full: BoolArray, n_vectors: int) -> PairRecall:
    """Share of the true pairs that are among the found, those of full positions left out."""
    n = len(full)
    low, high = np.minimum(truth.left, truth.right), np.maximum(truth.left, truth.right)
    counts = ~full[low] & ~full[high]
    low, high = low[counts], high[counts]
    if len(low) == 0:
        return PairRecall(ALMOST, 0.0, 1.0, n_vectors, 0, int(full.sum()))
    share = float(np.isin(low * n + high, found.left * n + found.right).mean())
    apart = len(np.unique(np.concatenate([low, high])))
    return PairRecall(min(share, ALMOST), *_wilson(share, min(n_vectors, apart)), n_vectors, len(low), int(full.sum()))


def _wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share seen on n, after Wilson 1927; sensible at 0 and 1 too."""
    z = 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _everything(join: PairJoin, max_per_row: int, *, progress: Progress) -> tuple[Pairs, PairRecall]:
    """All with all, at most so many pairs per position."""
    n = len(join.vectors)
    ration = Ration(n, RATION * max_per_row)
    pairs = _sorted(_capped(join.within_ration(np.arange(n), ration, progress=progress), max_per_row))
    return pairs, PairRecall(1.0, 1.0, 1.0, n, len(pairs), int(_full(pairs, ration, n, max_per_row).sum()))
