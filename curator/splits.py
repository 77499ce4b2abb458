"""Leak-free splits: what belongs together stays together, and the parts resemble the whole.

Knows groups, ratios and balance over positions; knows nothing of files or tables. Groups are
connected components: unlike in removal, a chain of near-copies must not be cut anywhere here,
for each cut would be a leak.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadSelection
from curator.index import PairJoin, pair_similarity, reaches

NAMES = {1: ("all",), 2: ("train", "test"), 3: ("train", "val", "test")}
"""What the parts are called where only numbers are given."""

CHUNK = 2_048  # positions compared with all others at once: bounds the pairs held
NEAREST_ROWS = 65_536  # positions asked for their nearest at once
SIZE_WEIGHT = 10.0  # of the parts' sizes against one balanced column: half-empty classes are better than wrong sizes
MAX_STEPS = 1_000  # moves and swaps of the improvement
DENSE_NUMBERS = 20_000_000  # counts held as one matrix during the improvement
KICKS = 40  # restarts from a slightly changed split, for few groups
KICK_UP_TO = 500  # groups; of more, one descent ends close enough
SWAP_KINDS = 300  # kinds of groups on either side of the swaps looked at

Counts = NDArray[np.float64]


def parse_ratios(text: str) -> dict[str, float]:
    """Names and shares of the parts from `0.8,0.1,0.1` or `train=0.7,test=0.3`, made to sum to 1.

    Raises:
        BadSelection: a share is no number above 0, a name comes twice, or four parts and more have no names.
    """
    parts = [part.strip() for part in text.split(",")]
    has_names = all("=" in part for part in parts)
    names = [part.partition("=")[0].strip() for part in parts] if has_names else list(NAMES.get(len(parts), ()))
    numbers = [part.partition("=")[2] if has_names else part for part in parts]
    try:
        shares = [float(number) for number in numbers]
    except ValueError:
        shares = []
    finite = bool(shares) and all(0.0 < share < np.inf for share in shares)
    if not finite or len(names) != len(shares) or len(set(names)) != len(names) or not all(names):
        raise BadSelection(
            f"split ratios {text!r}; expected two or three shares above 0 such as 0.8,0.1,0.1 "
            "or named ones such as train=0.7,val=0.2,test=0.1"
        )
    return {name: share / sum(shares) for name, share in zip(names, shares, strict=True)}


# -- what belongs together ----------------------------------------------------------------------------------------


class Forest:
    """Disjoint sets over the positions 0..n-1, joined many pairs at a time."""

    def __init__(self, n: int) -> None:
        self._parent = np.arange(n, dtype=np.int64)  # of each position, one of its own set and never later than it

    def find(self, positions: IntArray) -> IntArray:
        """The earliest position of the set of each; equal exactly for those of one set."""
        root = self._parent[positions]
        while True:
            above = self._parent[root]
            if np.array_equal(above, root):
                return root
            root = above

    def join(self, left: IntArray, right: IntArray) -> None:
        """Unite the sets of each pair."""
        while True:
            a, b = self.find(left), self.find(right)
            apart = a != b
            if not apart.any():
                break
            low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
            np.minimum.at(self._parent, high, low)  # parents only fall, so there is never a circle
            left, right = left[apart], right[apart]
        self._parent = self.find(np.arange(len(self._parent)))

    def join_equal(self, codes: IntArray) -> None:
        """Unite positions of one code; negative codes stand alone.

        Args:
            codes: (n,) of each position.
        """
        there = np.flatnonzero(codes >= 0)
        order = there[np.argsort(codes[there], kind="stable")]
        same = codes[order[1:]] == codes[order[:-1]]
        self.join(order[:-1][same], order[1:][same])

    def groups(self) -> IntArray:
        """(n,) codes 0..m-1 of the sets, numbered by their first positions."""
        roots = self.find(np.arange(len(self._parent)))
        return np.asarray(np.unique(roots, return_inverse=True)[1], np.int64)


def join_near(
    forest: Forest,
    vectors: FloatArray,
    threshold: float,
    *,
    neighbors: Neighbors | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> None:
    """Unite all positions whose vectors are at or above a similarity, and so whole chains of them.

    Exact: every pair of two different sets is bounded by `PairJoin`. Equal vectors and the edges of the
    graph are joined first; then positions are taken set by set, so that pairs inside a large set are
    never listed and memory stays bounded whatever the number of copies.

    Args:
        forest: over the n positions; sets in it already stay together.
        vectors: (n, d) float32 of length 1.
        threshold: cosine, 0..1.
        neighbors: graph over the n positions, where there is one: saves time, changes nothing.
        threads: of the search; none for one per core.
    """
    n = len(vectors)
    forest.join_equal(_equal_vectors(vectors))
    if neighbors is not None and neighbors.k:
        left = np.repeat(np.arange(n), neighbors.k)
        right = neighbors.positions.ravel()
        close = (right >= 0) & (neighbors.similarity.ravel() >= threshold - 1e-3)  # 1e-3: decided in full below
        left, right = left[close], right[close]
        close = reaches(pair_similarity(vectors, left, right), threshold)
        forest.join(left[close], right[close])
    finder = PairJoin(vectors, threshold, threads=threads)
    order = np.argsort(forest.groups(), kind="stable")  # set by set
    chunk = CHUNK * max((threads or len(os.sched_getaffinity(0))) // 2, 1)  # PairJoin gives 1,024 to a thread
    for start in range(0, n, chunk):
        ours, later = order[start : start + chunk], order[start + chunk :]
        own = forest.find(ours)
        if bool((own == own[0]).all()):
            later = later[forest.find(later) != own[0]]
        else:
            pairs = finder.within(ours)
            forest.join(pairs.left, pairs.right)
        pairs = finder.between(ours, later)
        forest.join(pairs.left, pairs.right)
        progress("groups", min(start + chunk, n), n)


def _equal_vectors(vectors: FloatArray) -> IntArray:
    """(n,) code of each vector, equal for equal ones."""
    seen: dict[bytes, int] = {}  # by digest: the vectors themselves would be held twice
    digests = (blake2b(vector.tobytes(), digest_size=16).digest() for vector in vectors)
    return np.fromiter((seen.setdefault(digest, at) for at, digest in enumerate(digests)), np.int64)


def nearest_across(
    vectors: FloatArray,
    left: IntArray,
    right: IntArray,
    threshold: float,
    *,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> tuple[IntArray, FloatArray]:
    """For each position of `left` the most similar one of `right` at or above the threshold; exact.

    Args:
        vectors: (n, d) float32 of length 1.
        left, right: positions without a common one.

    Returns:
        (m,) positions, -1 where none reaches it, and (m,) cosine, -1 there.
    """
    finder = PairJoin(vectors, threshold, threads=threads)
    position, similarity = np.full(len(left), -1, np.int64), np.full(len(left), -1.0, np.float32)
    for start in range(0, len(left) if len(right) else 0, NEAREST_ROWS):
        part = slice(start, start + NEAREST_ROWS)
        position[part], similarity[part] = finder.nearest(left[part], right)
        progress("leaks", min(start + NEAREST_ROWS, len(left)), len(left))
    return position, similarity


def torn_groups(groups: IntArray, split: IntArray) -> int:
    """How many groups lie in more than one part; negative codes of either are left out."""
    there = (groups >= 0) & (split >= 0)
    pairs = np.unique(np.stack([groups[there], split[there]]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


# -- who goes where -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trait:
    """A column to balance: which positions have which value. A position may have several or none."""

    name: str
    values: tuple[str, ...]
    positions: IntArray  # (e,)
    codes: IntArray  # (e,) index into values

    def counts(self, split: IntArray, n_splits: int) -> Counts:
        """(s, v) how often each value occurs in each part; positions without a part are left out."""
        part = split[self.positions]
        flat = (part * len(self.values) + self.codes)[part >= 0]
        return np.bincount(flat, minlength=n_splits * len(self.values)).reshape(n_splits, -1).astype(np.float64)


def trait_of(name: str, values: Sequence[Sequence[str]]) -> Trait:
    """A trait from the values of each position, sorted by name."""
    names = sorted({value for several in values for value in several})
    code = {value: at for at, value in enumerate(names)}
    pairs = [(at, code[value]) for at, several in enumerate(values) for value in dict.fromkeys(several)]
    flat = np.asarray(pairs, np.int64).reshape(-1, 2)
    return Trait(name, tuple(names), flat[:, 0].copy(), flat[:, 1].copy())


def assign(
    groups: IntArray,
    shares: Sequence[float],
    traits: Sequence[Trait] = (),
    *,
    rng: np.random.Generator,
    fixed: IntArray | None = None,
) -> IntArray:
    """Give each group to one part so that sizes and traits come close to the shares.

    The goal is quadratic, with N the rows of value v in part s and D what its share would be:

        10 sum_s (N_s - D_s)^2 / D_s + mean over traits of sum_s sum_v (N_sv - D_sv)^2 / max(D_sv, 1)

    Greedy from the largest group down, of equal ones the rarest values first (the order of Sechidis,
    Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", ECML 2011), then single moves
    and swaps while one lowers the goal; of up to 500 groups the best of 40 such descents. Groups with
    the same rows of each value are one kind and are counted, not listed, so a million single rows cost
    little. No part is left empty while another has two free groups: it gets the smallest one.

    Args:
        groups: (n,) codes 0..m-1; a group is never torn.
        shares: (s,) above 0, sum 1.
        traits: over the same n positions.
        rng: decides which of several alike groups goes where, and where the descents start.
        fixed: (n,) part a position must be in, -1 where free. A group with several goes where most of it is.

    Returns:
        (n,) part of each position, 0..s-1.
    """
    n_groups = int(groups.max(initial=-1)) + 1
    held = _majority(groups, fixed, n_groups, len(shares))
    if not (held < 0).any():
        return held[groups]
    profiles = _profiles(groups, traits, n_groups)
    goal = _Goal.over(profiles, np.asarray(shares, np.float64), traits)
    goal.hold(profiles, held)
    kind_of, kinds = _kinds(profiles, held)
    placed = _greedy(goal, kinds)
    _improve(goal, kinds, placed)
    _fill_empty(goal, kinds, placed)
    if kinds.times.sum() <= KICK_UP_TO:
        placed = _kicked(goal, kinds, placed, rng)
    part = held.copy()
    members = np.flatnonzero(kind_of >= 0)
    members = members[np.argsort(kind_of[members], kind="stable")]  # kind by kind
    for alike, parts in zip(np.split(members, np.cumsum(kinds.times)[:-1]), placed, strict=True):
        part[rng.permutation(alike)] = np.repeat(np.arange(len(shares)), parts)
    return part[groups]


@dataclass(frozen=True, slots=True)
class _Profiles:
    """Rows of each value in each group; value 0 stands for the rows themselves."""

    start: IntArray  # (m + 1,) where the entries of a group begin
    value: IntArray  # (e,)
    count: Counts  # (e,)
    n_values: int


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Groups that nothing tells apart, counted together."""

    value: list[IntArray]  # of each kind
    count: list[Counts]
    times: IntArray  # (k,) groups of the kind
    first: IntArray  # (k,) the first of them


@dataclass(frozen=True, slots=True)
class _Goal:
    """How far the parts are from what they should hold."""

    wanted: Counts  # (s, v)
    weight: Counts  # (s, v)
    have: Counts  # (s, v), changed while groups are placed

    @classmethod
    def over(cls, profiles: _Profiles, shares: Counts, traits: Sequence[Trait]) -> _Goal:
        total = np.bincount(profiles.value, profiles.count, profiles.n_values)
        strength = [SIZE_WEIGHT, *(1.0 / len(traits) for trait in traits for _ in trait.values)]
        wanted = np.outer(shares, total)
        return cls(wanted, np.asarray(strength) / np.maximum(wanted, 1.0), np.zeros_like(wanted))

    @property
    def value(self) -> float:
        """The quadratic goal as it stands."""
        return float((self.weight * (self.have - self.wanted) ** 2).sum())

    def hold(self, profiles: _Profiles, held: IntArray) -> None:
        """Count the groups whose part is given."""
        group = np.repeat(np.arange(len(held)), np.diff(profiles.start))
        given = held[group] >= 0
        np.add.at(self.have, (held[group][given], profiles.value[given]), profiles.count[given])


def _profiles(groups: IntArray, traits: Sequence[Trait], n_groups: int) -> _Profiles:
    group, value, first = [groups], [np.zeros(len(groups), np.int64)], 1
    for trait in traits:
        group.append(groups[trait.positions])
        value.append(trait.codes + first)
        first += len(trait.values)
    key, count = np.unique(np.concatenate(group) * first + np.concatenate(value), return_counts=True)
    start = np.searchsorted(key, np.arange(n_groups + 1) * first)
    return _Profiles(start.astype(np.int64), key % first, count.astype(np.float64), first)


def _majority(groups: IntArray, fixed: IntArray | None, n_groups: int, n_splits: int) -> IntArray:
    """(m,) the part most fixed positions of each group are in, the first of equal ones; -1 where none is."""
    held = np.full(n_groups, -1, np.int64)
    if fixed is None or not n_groups:
        return held
    votes = np.zeros((n_groups, n_splits), np.int64)
    given = fixed >= 0
    np.add.at(votes, (groups[given], fixed[given]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def _kinds(profiles: _Profiles, held: IntArray) -> tuple[IntArray, _Kinds]:
    """(m,) kind of each free group, -1 for the others, and the kinds in the order they are placed."""
    kind_of = np.full(len(held), -1, np.int64)
    seen: dict[bytes, int] = {}
    starts = profiles.start.tolist()
    for group in np.flatnonzero(held < 0).tolist():
        part = slice(starts[group], starts[group + 1])
        kind_of[group] = seen.setdefault(profiles.value[part].tobytes() + profiles.count[part].tobytes(), len(seen))
    free = np.flatnonzero(kind_of >= 0)
    _, at, times = np.unique(kind_of[free], return_index=True, return_counts=True)
    first = free[at]
    total = np.bincount(profiles.value, profiles.count, profiles.n_values)
    total[0] = np.inf  # every group has rows: says nothing of rarity
    parts = [slice(starts[group], starts[group + 1]) for group in first.tolist()]
    size = np.asarray([profiles.count[part.start] for part in parts])
    rarest = np.asarray([total[profiles.value[part]].min() for part in parts])
    order = np.lexsort((first, rarest, -size))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    kind_of[free] = place[kind_of[free]]
    values, counts = ([which[parts[at]] for at in order.tolist()] for which in (profiles.value, profiles.count))
    return kind_of, _Kinds(list(values), list(counts), times[order].astype(np.int64), first[order])


def _greedy(goal: _Goal, kinds: _Kinds) -> IntArray:
    """(k, s) how many groups of each kind go to each part."""
    n_splits = len(goal.have)
    placed = np.zeros((len(kinds.first), n_splits), np.int64)
    for kind, (value, count) in enumerate(zip(kinds.value, kinds.count, strict=True)):
        left = int(kinds.times[kind])
        while left:
            several = max(1, left // (4 * n_splits))  # alike groups by the handful, the last ones singly
            step = several * count  # (v,)
            gap = goal.have[:, value] - goal.wanted[:, value]  # (s, v)
            rise = (goal.weight[:, value] * step * (2.0 * gap + step)).sum(axis=1)  # (s,)
            part = int(rise.argmin())
            goal.have[part, value] += step
            placed[kind, part] += several
            left -= several
    return placed


def _improve(goal: _Goal, kinds: _Kinds, placed: IntArray) -> None:
    """Move one group, or swap two, while that lowers the goal; changes `placed` and the goal's counts."""
    n_values = goal.wanted.shape[1]
    last = max(len(kinds.first) - DENSE_NUMBERS // n_values, 0)  # the smallest groups can mend most
    counts = np.zeros((len(kinds.first) - last, n_values))
    for at, (value, count) in enumerate(zip(kinds.value[last:], kinds.count[last:], strict=True)):
        counts[at, value] = count
    placed = placed[last:]  # a view
    squared = (counts**2) @ goal.weight.T  # (k, s)
    for _ in range(MAX_STEPS if len(counts) else 0):
        pull = 2.0 * counts @ (goal.weight * (goal.have - goal.wanted)).T  # (k, s)
        # moving kind k from s to t changes the goal by what it adds to t and takes from s
        change = (squared + pull)[:, None, :] + (squared - pull)[:, :, None]  # (k, s, t)
        change[:, np.arange(len(goal.have)), np.arange(len(goal.have))] = np.inf
        change[placed == 0] = np.inf
        step = _best_move(change) or _best_swap(change, counts, goal.weight)
        if step is None:
            return
        for kind, source, target in step:
            placed[kind, source] -= 1
            placed[kind, target] += 1
            goal.have[source] -= counts[kind]
            goal.have[target] += counts[kind]


def _fill_empty(goal: _Goal, kinds: _Kinds, placed: IntArray) -> None:
    """Give each empty part the smallest group of one that has two and more; changes `placed` and the goal's counts."""
    size = np.asarray([count[0] for count in kinds.count])
    for part in reversed(np.flatnonzero(goal.have[:, 0] == 0).tolist()):
        kind, source = np.nonzero((placed > 0) & (placed.sum(axis=0) > 1))
        if not len(kind):
            return
        at = int(size[kind].argmin())
        _move(goal, kinds, placed, int(kind[at]), int(source[at]), part)


def _kicked(goal: _Goal, kinds: _Kinds, placed: IntArray, rng: np.random.Generator) -> IntArray:
    """The best of several improvements, each after moving a few groups at random (iterated local search)."""
    best, best_have = placed.copy(), goal.have.copy()
    least = goal.value
    for _ in range(KICKS):
        placed[:], goal.have[:] = best, best_have
        for _ in range(max(2, int(kinds.times.sum()) // 20)):
            there = np.argwhere(placed)
            kind, source = there[rng.integers(len(there))].tolist()
            _move(goal, kinds, placed, kind, source, int(rng.integers(placed.shape[1])))
        _improve(goal, kinds, placed)
        _fill_empty(goal, kinds, placed)
        if goal.value < least + _LEAST:
            best, best_have, least = placed.copy(), goal.have.copy(), goal.value
    return best


def _move(goal: _Goal, kinds: _Kinds, placed: IntArray, kind: int, source: int, target: int) -> None:
    placed[kind, source] -= 1
    placed[kind, target] += 1
    goal.have[source, kinds.value[kind]] -= kinds.count[kind]
    goal.have[target, kinds.value[kind]] += kinds.count[kind]


_Step = list[tuple[int, int, int]]
_LEAST = -1e-9  # rounding is no gain


def _best_move(change: Counts) -> _Step | None:
    kind, source, target = np.unravel_index(int(change.argmin()), change.shape)
    return [(int(kind), int(source), int(target))] if change[kind, source, target] < _LEAST else None


def _best_swap(change: Counts, counts: Counts, weight: Counts) -> _Step | None:
    best, step = _LEAST, None
    for s in range(len(weight)):
        for t in range(s + 1, len(weight)):
            ours, theirs = (np.flatnonzero(np.isfinite(change[:, a, b])) for a, b in ((s, t), (t, s)))
            ours, theirs = (at[np.argsort(change[at, a, b], kind="stable")[:SWAP_KINDS]]
                            for at, a, b in ((ours, s, t), (theirs, t, s)))  # fmt: skip
            if not len(ours) or not len(theirs):
                continue
            both = 2.0 * (counts[ours] * (weight[s] + weight[t])) @ counts[theirs].T
            total = change[ours, s, t][:, None] + change[theirs, t, s][None, :] - both
            i, j = np.unravel_index(int(total.argmin()), total.shape)
            if total[i, j] < best:
                best, step = float(total[i, j]), [(int(ours[i]), s, t), (int(theirs[j]), t, s)]
    return step


# -- what was reached ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Balance:
    """How closely the parts resemble the whole in one column."""

    name: str
    distance: tuple[float, ...]  # of each part to the whole: total variation, 0 alike .. 1 nothing in common
    missing: tuple[tuple[str, ...], ...]  # values that occur, but not in that part

    def to_dict(self, names: Sequence[str]) -> dict[str, object]:
        """Plain values, parts by name."""
        return {
            "column": self.name,
            "distance": {name: round(value, 6) for name, value in zip(names, self.distance, strict=True)},
            "missing": {name: list(values) for name, values in zip(names, self.missing, strict=True)},
        }


def balance_of(trait: Trait, split: IntArray, n_splits: int) -> Balance:
    """Total variation distance of each part to the whole, half the sum of |share in part - share in whole|."""
    counts = trait.counts(split, n_splits)  # (s, v)
    whole = counts.sum(axis=0)
    size = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(size, 1.0)
    distance = 0.5 * np.abs(share - whole / max(whole.sum(), 1.0)).sum(axis=1)
    absent = (counts == 0) & (whole > 0)
    missing = tuple(tuple(trait.values[at] for at in np.flatnonzero(row)) for row in absent)
    return Balance(trait.name, tuple(float(value) for value in distance), missing)
