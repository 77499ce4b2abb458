"""Perceptual hashes within a few bits of each other: the channel for copies at the level of pixels.

Knows 64-bit numbers; how an image becomes one is decided where images are read. All pairs are found
exactly by multi-index hashing (Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with
Multi-Index Hashing", CVPR 2012): cut the bits into m bands; two hashes within r bits have a band in
which they differ by at most r // m, so only those that share a band, some bits of it flipped, are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from curator.data import IntArray
from curator.errors import BadEmbeddings, DataError, UsageError

Hashes = NDArray[np.uint64]

BITS = 64
FLAT = 0  # the hash of an image without any contrast: it says nothing, and all such images share it
MAX_PAIRS = 20_000_000  # pairs held at once: some 340 MB; 6,300 equal hashes already make so many
WIDEST_BAND = 22  # bits of a band; each needs a table of two to the power of that
CHUNK = 1 << 21  # candidates compared at once
STEPS = (3, 7)  # radii tried before each hash is compared with all


@dataclass(frozen=True, slots=True)
class HammingPairs:
    """Pairs of positions and in how many bits their hashes differ, in order of (left, right)."""

    left: IntArray  # (m,)
    right: IntArray  # (m,)
    bits: IntArray  # (m,) 0..radius

    def __len__(self) -> int:
        return len(self.left)


def hamming_pairs(
    hashes: Hashes,
    radius: int,
    *,
    with_flat: bool = False,
    collapse: bool = False,
    max_pairs: int = MAX_PAIRS,
) -> HammingPairs:
    """All pairs of hashes that differ in at most `radius` bits; exact.

    Equal hashes are compared once, whatever their number.

    Args:
        hashes: (n,) uint64.
        radius: bits, 0..64.
        with_flat: pair the hash 0 too, which flat images share.
        collapse: of equal hashes pair each with the first holder only, and that one with holders of
            other hashes: at most n pairs more than there are near values, the same connections.
        max_pairs: more are not held.

    Returns:
        Pairs, each once, left < right.

    Raises:
        BadEmbeddings: hashes that are not (n,) uint64.
        DataError: more than `max_pairs`.
        UsageError: a radius outside 0..64.
    """
    _check(hashes, radius)
    at = np.arange(len(hashes)) if with_flat else np.flatnonzero(hashes != FLAT)
    values, first, of = np.unique(hashes[at], return_index=True, return_inverse=True)
    a, b, bits = _near_values(values, radius, max_pairs)
    if collapse:
        later = np.setdiff1d(np.arange(len(at)), first, assume_unique=True)
        left = np.concatenate([first[a], first[of[later]]])
        right = np.concatenate([first[b], later])
        bits = np.concatenate([bits, np.zeros(len(later), np.int64)])
    else:
        holders = _Holders(of, len(values))
        a, b = (np.concatenate([side, np.arange(len(values))]) for side in (a, b))
        bits = np.concatenate([bits, np.zeros(len(values), np.int64)])
        _check_count(int((holders.count[a] * holders.count[b]).sum()), 2 * max_pairs + len(at), max_pairs)
        left, right, bits = holders.product(a, b, holders, bits)
        apart = (bits > 0) | (left < right)  # of equal hashes each pair came twice, and each with itself
        left, right, bits = left[apart], right[apart], bits[apart]
    _check_count(len(left), max_pairs, max_pairs)
    return _in_order(at[left], at[right], bits, is_turned=True)


def hamming_between(
    left: Hashes, right: Hashes, radius: int, *, with_flat: bool = False, max_pairs: int = MAX_PAIRS
) -> HammingPairs:
    """All pairs of one of `left` and one of `right` that differ in at most `radius` bits; exact.

    Args and errors as of `hamming_pairs`; `left` (n,) and `right` (m,) are numbered each on its own.
    """
    _check(left, radius)
    _check(right, radius)
    ours, theirs = (np.arange(len(side)) if with_flat else np.flatnonzero(side != FLAT) for side in (left, right))
    values, of = np.unique(np.concatenate([left[ours], right[theirs]]), return_inverse=True)
    a, b, bits = _near_values(values, radius, max_pairs)
    every = np.arange(len(values))
    a, b, bits = np.concatenate([a, b, every]), np.concatenate([b, a, every]), np.concatenate([bits, bits, 0 * every])
    mine, yours = _Holders(of[: len(ours)], len(values)), _Holders(of[len(ours) :], len(values))
    _check_count(int((mine.count[a] * yours.count[b]).sum()), max_pairs, max_pairs)
    at, to, bits = mine.product(a, b, yours, bits)
    return _in_order(ours[at], theirs[to], bits, is_turned=False)


def hamming_components(hashes: Hashes, radius: int, *, with_flat: bool = False) -> IntArray:
    """Who is joined to whom by steps of at most `radius` bits, without holding the pairs.

    Args:
        hashes: (n,) uint64.
        radius: bits of one step, 0..64.
        with_flat: join the hash 0 too; else each with it stands alone.

    Returns:
        (n,) the lowest position of the component of each.

    Raises:
        BadEmbeddings, UsageError: as from `hamming_pairs`.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _check(hashes, radius)
    at = np.arange(len(hashes)) if with_flat else np.flatnonzero(hashes != FLAT)
    values, of = np.unique(hashes[at], return_inverse=True)
    joined = np.arange(len(values))
    for a, b in _candidates(values, radius) if radius else ():
        near = np.bitwise_count(values[a] ^ values[b]) <= radius
        left, right = joined[a[near]], joined[b[near]]
        edges = coo_matrix((np.ones(len(left), np.bool_), (left, right)), shape=(len(values), len(values)))
        joined = connected_components(edges.tocsr(), directed=False)[1].astype(np.int64)[joined]
    _, first, code = np.unique(joined[of], return_index=True, return_inverse=True)
    lowest = np.arange(len(hashes))
    lowest[at] = at[first[code]]
    return lowest


def nearest_hash(
    queries: Hashes, hashes: Hashes, *, radius: int = BITS, with_flat: bool = False
) -> tuple[IntArray, IntArray]:
    """The nearest of `hashes` to each query, the lowest position of equally near ones.

    Args:
        queries: (m,) uint64; hashes: (n,) uint64.
        radius: bits beyond which nothing is near.
        with_flat: let the hash 0 be near to others too.

    Returns:
        (m,) position and (m,) bits; -1 and -1 where none is within `radius`.

    Raises:
        BadEmbeddings, UsageError: as from `hamming_pairs`.
    """
    _check(queries, radius)
    _check(hashes, radius)
    position, bits = np.full(len(queries), -1, np.int64), np.full(len(queries), -1, np.int64)
    there = np.arange(len(hashes)) if with_flat else np.flatnonzero(hashes != FLAT)
    values, first = np.unique(hashes[there], return_index=True)
    open_ = np.arange(len(queries)) if with_flat else np.flatnonzero(queries != FLAT)
    looked = -1  # bits within which nothing is near to those still open
    for step in (min(step, radius) for step in STEPS):
        try:
            found = hamming_between(queries[open_], values, step, with_flat=True, max_pairs=MAX_PAIRS)
        except DataError:
            break  # so many are alike that their pairs cannot be held: each is compared with all
        looked = step
        order = np.lexsort((there[first[found.right]], found.bits, found.left))
        best = order[np.flatnonzero(np.diff(found.left[order], prepend=-1))]
        asked = open_[found.left[best]]
        position[asked], bits[asked] = there[first[found.right[best]]], found.bits[best]
        open_ = open_[position[open_] < 0]
    for start in range(0, len(open_) if radius > looked and len(values) else 0, 64):
        asked = open_[start : start + 64]
        apart = np.bitwise_count(queries[asked, None] ^ hashes[there]).astype(np.int64)  # (64, n)
        nearest = apart.argmin(axis=1)  # the first of equally near ones, which is the lowest
        away = apart[np.arange(len(asked)), nearest]
        position[asked] = np.where(away <= radius, there[nearest], -1)
        bits[asked] = np.where(away <= radius, away, -1)
    return position, bits


class _Holders:
    """Who has which value."""

    def __init__(self, of: IntArray, n_values: int) -> None:
        self.order = np.argsort(of, kind="stable")
        self.count = np.bincount(of, minlength=n_values)
        self.starts = np.cumsum(self.count) - self.count

    def product(self, a: IntArray, b: IntArray, other: _Holders, bits: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Each holder of a value in `a` with each in `other` of the value beside it in `b`."""
        ours, theirs = self.count[a], other.count[b]
        place = _within(ours * theirs)
        wide = np.repeat(np.maximum(theirs, 1), ours * theirs)
        pair = np.repeat(np.arange(len(a)), ours * theirs)
        left = self.order[self.starts[a[pair]] + place // wide]
        right = other.order[other.starts[b[pair]] + place % wide]
        return left, right, bits[pair]


def _near_values(values: Hashes, radius: int, max_pairs: int) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of different values within `radius` bits, each once."""
    n = len(values)
    if radius == 0:  # different values differ
        none = np.empty(0, np.int64)
        return none, none, none
    keys: list[IntArray] = []
    total = 0
    for a, b in _candidates(values, radius):
        near = np.bitwise_count(values[a] ^ values[b]) <= radius
        a, b = a[near], b[near]
        keys.append(np.minimum(a, b) * n + np.maximum(a, b))
        total += len(a)
        if total > 2 * max_pairs:
            keys = [np.unique(np.concatenate(keys))]
            total = len(keys[0])
            _check_count(total, max_pairs, max_pairs)
    key = np.unique(np.concatenate(keys)) if keys else np.empty(0, np.int64)
    left, right = np.divmod(key, max(n, 1))
    return left, right, np.bitwise_count(values[left] ^ values[right]).astype(np.int64)


def _candidates(values: Hashes, radius: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Pairs that share a band up to its flips, some millions at a time; a pair may come more than once."""
    plan = _plan(len(values), radius)
    if plan is None:
        yield from _all_pairs(len(values))
        return
    low = 0
    for width, flips in plan:
        band = ((values >> np.uint64(low)) & np.uint64(2**width - 1)).astype(np.int64)
        yield from _sharing(band, width, flips)
        low += width


def _plan(n: int, radius: int) -> list[tuple[int, int]] | None:
    """Width and flips of each band, the cheapest for so many hashes; none where comparing all is cheaper.

    With m bands and r = m f + a, a band among the first a + 1 differs by at most f bits or one of
    the others by at most f - 1: else there were more than r in all.
    """
    best, least = None, 1.5 * n * n / 2
    for m in range(1, max(radius + 1, 3) + 1):
        f, a = divmod(radius, m)
        widths = [BITS // m + (i < BITS % m) for i in range(m)]
        if max(widths) > WIDEST_BAND:
            continue
        plan = [(width, f if i <= a else f - 1) for i, width in enumerate(widths)]
        probes = [sum(comb(width, k) for k in range(flips + 1)) for width, flips in plan]
        cost = sum(p * (8.0 * n + 15.0 * n * n / 2 ** (w + 1)) + 2**w for p, (w, _) in zip(probes, plan, strict=True))
        if cost < least:
            best, least = [(w, flips) for w, flips in plan if flips >= 0], cost
    return best


def _sharing(band: IntArray, width: int, flips: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Pairs whose bands differ in at most `flips` bits, each once."""
    order = np.argsort(band, kind="stable")
    keys = band[order]
    count = np.bincount(keys, minlength=2**width)
    starts = np.cumsum(count) - count
    place = np.arange(len(keys))
    yield from _expand(order, place, place + 1, starts[keys] + count[keys] - place - 1)  # the same key: who comes later
    for k in range(1, flips + 1):
        for bits in combinations(range(width), k):
            other = keys ^ sum(1 << bit for bit in bits)
            lower = np.flatnonzero((keys < other) & (count[other] > 0))
            yield from _expand(order, lower, starts[other[lower]], count[other[lower]])


def _expand(order: IntArray, who: IntArray, first: IntArray, count: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Each of `who` with its `count` partners from `first` on, all as places in `order`."""
    done = np.cumsum(count)
    start = 0
    while start < len(who):
        before = int(done[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(done, before + CHUNK, side="right")))
        some = slice(start, stop)
        left = np.repeat(order[who[some]], count[some])
        right = order[np.repeat(first[some], count[some]) + _within(count[some])]
        if len(left):
            yield left, right
        start = stop


def _all_pairs(n: int) -> Iterator[tuple[IntArray, IntArray]]:
    order = np.arange(n)
    yield from _expand(order, order, order + 1, n - 1 - order)


def _within(count: IntArray) -> IntArray:
    """0, 1, ... for each of the counts, one after the other."""
    total = int(count.sum())
    return np.arange(total) - np.repeat(np.cumsum(count) - count, count)


def _in_order(left: IntArray, right: IntArray, bits: IntArray, *, is_turned: bool) -> HammingPairs:
    if is_turned:
        left, right = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((right, left))
    return HammingPairs(left[order], right[order], bits[order])


def _check(hashes: Hashes, radius: int) -> None:
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise BadEmbeddings(f"hashes of shape {hashes.shape} and type {hashes.dtype}; expected (n,) uint64")
    if not 0 <= radius <= BITS:
        raise UsageError(f"radius is {radius}; expected 0 to {BITS} bits")


def _check_count(n: int, limit: int, max_pairs: int) -> None:
    if n > limit:
        raise DataError(
            f"more than {max_pairs:,} pairs of hashes; collapse equal ones (collapse=True) or take a smaller radius"
        )
