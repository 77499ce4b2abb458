"""The greedy cover: keep few, and for each removed one say which kept one it is closest to."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadEmbeddings, UsageError
from curator.index import IndexSpec, PairJoin, Pairs
from curator.index.approximate import approximate_pairs
from curator.index.comparable import Comparable, check_codes, close_in_time, same_group
from curator.index.exact import check_unit
from curator.index.pairs import best_of_each
from curator.neardups.policy import equal_groups

Method = Literal["auto", "exact", "approximate"]
METHODS: tuple[str, ...] = get_args(Method)
ALL_PAIRS_UP_TO = (
    2_000_000  # vectors up to which all pairs are looked for; clustered, 1 million took a minute of one core
)
MAX_PAIRS = 10_000_000  # pairs held at once: some 500 MB; 4,500 near-equal frames already make so many
LEADER_BLOCK = 2_048  # vectors decided together; their pairs among themselves are at most 2 million
ENOUGH = 0.98  # recall of approximate pairs that give an order only


@dataclass(frozen=True, slots=True)
class Cover:
    """Who is kept, and for each removed one the nearest kept."""

    kept: BoolArray  # (n,)
    representative: IntArray  # (n,) position of the nearest kept, itself where kept
    similarity: FloatArray  # (n,) cosine to the representative, 1.0 where kept
    exact: BoolArray  # (n,) removed as a copy of the same bytes
    threshold: float  # cosine at or above which a kept one covers
    forced: BoolArray | None = None  # (n,) kept whatever they resemble; none where nothing was forced

    def __post_init__(self) -> None:
        for name in ("representative", "similarity", "exact", "forced"):
            values = getattr(self, name)
            if values is not None and values.shape != self.kept.shape:
                raise BadEmbeddings(f"cover of {self.kept.shape} vectors with {name} of shape {values.shape}")

    def __len__(self) -> int:
        return len(self.kept)


def cover(
    vectors: FloatArray,
    neighbors: Neighbors | None,
    threshold: float,
    *,
    policy: str = "coverage",
    scores: FloatArray | None = None,
    sharpness: FloatArray | None = None,
    forced: BoolArray | None = None,
    digest_groups: IntArray | None = None,
    groups: IntArray | None = None,
    times: FloatArray | None = None,
    clips: IntArray | None = None,
    window_s: float = 0.0,
    method: Method = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Cover:
    """Keep few, so that each removed one has a kept one at cosine `threshold` or above.

    Two kept ones are below the threshold, whatever the graph missed. Copies of the same bytes are
    collapsed first. `coverage` keeps next the one with most uncovered neighbours; every other
    policy goes down its scores. A removed one is then given its nearest kept, which is often not
    the one that covered it.

    With `times` there are two passes: first only frames of one clip within `window_s` may cover each
    other, then all who are left. A frame whose keeper falls in the second pass is looked at again, so
    the promise is that of one pass.

    Args:
        vectors: (n, d) float32 of length 1.
        neighbors: kNN graph over the n vectors; spares comparing all with all where it is exact and
            wide enough, and bounds memory where groups are very large. None where there is none.
        threshold: cosine, -1..1.
        policy: see `priority`; decides only whether `scores` or coverage gives the order.
        scores: (n,) higher kept first; none for coverage and first.
        sharpness: (n,) breaks ties, sharper first; position breaks those that remain.
        forced: (n,) always kept, such as labelled ones; pairs of them may be above the threshold.
        digest_groups: (n,) as from `exact_groups`; none where no digests are known.
        groups: (n,) codes; only pairs inside one group may cover. None where all may.
        times: (n,) seconds within the clip, NaN where there are none; none for a single pass.
        clips: (n,) codes; none where all times are of one clip.
        window_s: seconds, how far apart two frames of the first pass may be.
        method: how the pairs that give `coverage` its order are found. exact: all of them, while they
            can be held. approximate: most of them (`index.approximate_pairs`); what they miss is
            repaired, so the promise is the same and only who is kept may differ. auto: exact up to
            2 million vectors.

    Raises:
        BadEmbeddings: vectors, graph or codes of the wrong shape or length.
        UsageError: a threshold outside -1..1, an unknown method, a negative window, or a policy
            without the scores it needs.
    """
    vectors = check_unit(vectors)
    n = len(vectors)
    check_request(threshold, policy, scores, method)
    if neighbors is not None and len(neighbors) != n:
        raise BadEmbeddings(f"the neighbour graph has {len(neighbors)} points, there are {n} vectors")
    check_codes(n, scores=scores, sharpness=sharpness, forced=forced, digest_groups=digest_groups)
    check_codes(n, groups=groups, times=times, clips=clips)
    always = np.zeros(n, np.bool_) if forced is None else forced
    rank = ranks(n, policy, scores, sharpness)
    alive = one_per_group(digest_groups, rank, always)
    stood_for = ~alive
    order = Order(rank, policy == "coverage", method)
    join = PairJoin(vectors, threshold, comparable=comparable_in(groups), threads=threads)
    if times is not None:
        passing = join.among(close_in_time(times, window_s, *(c for c in (clips, groups) if c is not None)))
        alive &= decide(passing, neighbors, alive, always, order, progress=progress)[0]
    kept, edges = decide(join, neighbors, alive, always, order, progress=progress)
    nearest, similarity = nearest_kept(join, kept, edges, progress=progress)
    orphans = np.flatnonzero(nearest < 0)  # covered by one that was dropped for a pair the graph had missed
    if len(orphans):
        kept = lead(join, by_rank(orphans, rank), kept, progress=progress)
        nearest, similarity = nearest_kept(join, kept, None, progress=progress)
    return Cover(kept, nearest, similarity, stood_for & ~kept, threshold, forced)


def groups(cover: Cover) -> list[tuple[int, IntArray]]:
    """Each kept position that represents others, with those others ascending; the largest group first."""
    removed = np.flatnonzero(~cover.kept)
    removed = removed[np.argsort(cover.representative[removed], kind="stable")]
    heads, starts = np.unique(cover.representative[removed], return_index=True)
    found = list(zip(heads.tolist(), np.split(removed, starts[1:]), strict=True)) if len(removed) else []
    return sorted(found, key=lambda group: (-len(group[1]), group[0]))


@dataclass(frozen=True, slots=True)
class Order:
    """In which order vectors are kept."""

    rank: IntArray  # (n,) place of each, 0 first
    by_coverage: bool  # the one with most uncovered neighbours first; the rank only breaks ties
    method: Method = "auto"


def check_request(threshold: float, policy: str, scores: FloatArray | None, method: str) -> None:
    """Raise UsageError where threshold, policy or method cannot be used."""
    if not -1.0 <= threshold <= 1.0:
        raise UsageError(f"threshold is {threshold}; expected a cosine from -1 to 1")
    if policy not in ("coverage", "first") and scores is None:
        raise UsageError(f"keep policy {policy!r} needs scores; make them with neardups.priority")
    if method not in METHODS:
        raise UsageError(f"no near-duplicate method {method!r}; expected {', '.join(METHODS)}")


def comparable_in(groups: IntArray | None) -> Comparable | None:
    """Only pairs inside one group; none where there are no groups."""
    return None if groups is None else same_group(groups)


def ranks(n: int, policy: str, scores: FloatArray | None, sharpness: FloatArray | None) -> IntArray:
    """(n,) place of each in the order of keeping, 0 first: by score, then sharpness, then position."""
    if policy == "first":
        return np.arange(n)
    given = [values for values in (sharpness, None if policy == "coverage" else scores) if values is not None]
    keys = [np.arange(n), *(-np.where(np.isnan(values), -np.inf, values) for values in given)]
    rank = np.empty(n, np.int64)
    rank[np.lexsort(keys)] = np.arange(n)  # the last key decides first
    return rank


def by_rank(positions: IntArray, rank: IntArray) -> IntArray:
    """The same positions, the first in rank first."""
    return positions[np.argsort(rank[positions])]


def marked(n: int, positions: IntArray) -> BoolArray:
    """(n,) true at `positions`."""
    mask = np.zeros(n, np.bool_)
    mask[positions] = True
    return mask


def one_per_group(digest_groups: IntArray | None, rank: IntArray, always: BoolArray) -> BoolArray:
    """(n,) who stands for the copies of the same bytes: a forced one if there is, else the first in rank."""
    if digest_groups is None:
        return np.ones(len(rank), np.bool_)
    order = np.lexsort((rank, ~always, digest_groups))
    first = order[np.flatnonzero(np.diff(digest_groups[order], prepend=-1))]
    return marked(len(rank), first) | always


def decide(
    join: PairJoin,
    neighbors: Neighbors | None,
    alive: BoolArray,
    always: BoolArray,
    order: Order,
    *,
    progress: Progress,
) -> tuple[BoolArray, Pairs | None]:
    """Whom to keep of the living so that no two are comparable and at or above the threshold.

    Returns:
        (n,) kept, those `always` kept among them; and all pairs of the living, where they are known.
    """
    if not order.by_coverage:
        return lead(join, by_rank(np.flatnonzero(alive & ~always), order.rank), always, progress=progress), None
    heads, copies = _collapse(join, alive, always, order.rank)
    edges, is_complete = _edges(join, neighbors, heads, order.method, progress=progress)
    wanted = _most_covering(edges, heads, always, order.rank, copies)
    if not is_complete:
        return lead(join, wanted, always, progress=progress), None
    return always | marked(len(alive), wanted), edges


def _collapse(join: PairJoin, alive: BoolArray, always: BoolArray, rank: IntArray) -> tuple[BoolArray, IntArray]:
    """One of each run of equal vectors, and (n,) how many stand behind it: m equal ones have m * m / 2 pairs.

    Only where they may be compared. The greedy counts them all the same, so who is kept does not change.
    """
    n = len(alive)
    place = None if join.comparable is None else join.comparable.place
    same = equal_groups(join.vectors, np.flatnonzero(alive), place)
    heads = alive & one_per_group(same, rank, always)
    copies = np.bincount(same[alive], minlength=n)
    return heads, np.where(heads & ~always, copies[same], 1).astype(np.int64)


def _edges(
    join: PairJoin, neighbors: Neighbors | None, alive: BoolArray, method: Method, *, progress: Progress
) -> tuple[Pairs, bool]:
    """Pairs at or above the threshold among the living, and whether these are all of them.

    An exact graph already has all pairs of a point whose last neighbour is below the threshold; only
    the others are compared among themselves. Where these are too many to compare or their pairs too
    many to hold, most of the pairs must do, and the caller repairs.
    """
    known = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    unsure = np.flatnonzero(alive)
    if neighbors is not None and neighbors.k > 0:
        known = _graph_pairs(join, neighbors, alive)
        if neighbors.recall == 1.0 or method == "approximate":
            unsure = np.flatnonzero(alive & (neighbors.similarity[:, -1] >= join.threshold - 1e-4))
    if method == "exact" or (method == "auto" and len(unsure) <= ALL_PAIRS_UP_TO):
        found = join.within_limit(unsure, MAX_PAIRS, progress=progress)
        if found is not None:
            return _union(known, found, n=len(alive)), True
    few = join.vectors if len(unsure) == len(alive) else join.vectors[unsure]
    comparable = None if join.comparable is None else Comparable(join.comparable.place[unsure], join.comparable.reach)
    spec = IndexSpec(min_recall=ENOUGH, threads=join.threads)
    found, _ = approximate_pairs(few, join.threshold, spec=spec, comparable=comparable, progress=progress)
    back = Pairs(unsure[found.left], unsure[found.right], found.similarity)
    return _union(known, back, n=len(alive)), False


def _graph_pairs(join: PairJoin, neighbors: Neighbors, alive: BoolArray) -> Pairs:
    own, place = np.nonzero((neighbors.positions >= 0) & (neighbors.similarity >= join.threshold - 1e-4))
    other = neighbors.positions[own, place]
    both = alive[own] & alive[other]
    if join.comparable is not None:
        both &= join.comparable.allows(own, other)
    key = np.unique(np.minimum(own[both], other[both]) * len(alive) + np.maximum(own[both], other[both]))
    return join.confirm(key // len(alive), key % len(alive))


def _union(known: Pairs, found: Pairs, *, n: int) -> Pairs:
    """Both, each pair once."""
    if len(known) == 0:
        return found
    left, right = np.concatenate([known.left, found.left]), np.concatenate([known.right, found.right])
    _, first = np.unique(np.minimum(left, right) * n + np.maximum(left, right), return_index=True)
    return Pairs(left[first], right[first], np.concatenate([known.similarity, found.similarity])[first])


def _most_covering(edges: Pairs, alive: BoolArray, always: BoolArray, rank: IntArray, copies: IntArray) -> IntArray:
    """Whom to keep, in order: next the one with most uncovered neighbours, ties by rank.

    A count only shrinks, so one that was right when it was queued is now an upper bound: the top of
    the queue is looked at again, and goes back unless its count still stands (the lazy greedy of
    Minoux 1978).
    """
    n = len(alive)
    starts, near = _adjacency(edges, n)
    covered = ~alive | always
    for keeper in np.flatnonzero(always).tolist():
        covered[near[starts[keeper] : starts[keeper + 1]]] = True
    behind = np.repeat(np.where(covered, 0, copies), np.diff(starts))
    counts = np.bincount(near, weights=behind, minlength=n).astype(np.int64) + copies - 1
    waiting = np.flatnonzero(~covered & (counts > 0))
    first_by_rank = np.argsort(rank)
    queue = ((n - counts[waiting]) * n + rank[waiting]).tolist()  # one integer: most neighbours first, then rank
    heapq.heapify(queue)
    picked = []
    while queue:
        shortage, place = divmod(heapq.heappop(queue), n)
        position = int(first_by_rank[place])
        count = int(counts[position])
        if covered[position] or count == 0:
            continue
        if count != n - shortage:
            heapq.heappush(queue, (n - count) * n + place)
            continue
        picked.append(position)
        around = near[starts[position] : starts[position + 1]]
        newly = around[~covered[around]]
        covered[newly] = covered[position] = True
        for reached in newly.tolist():
            counts[near[starts[reached] : starts[reached + 1]]] -= copies[reached]
    alone = by_rank(np.flatnonzero(~covered), rank)
    return np.concatenate([np.array(picked, np.int64), alone])


def _adjacency(edges: Pairs, n: int) -> tuple[IntArray, IntArray]:
    """Both directions of every pair: neighbours of i are near[starts[i] : starts[i + 1]]."""
    own = np.concatenate([edges.left, edges.right])
    order = np.argsort(own, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=n))]).astype(np.int64)
    return starts, np.concatenate([edges.right, edges.left])[order]


def lead(join: PairJoin, order: IntArray, already: BoolArray, *, progress: Progress) -> BoolArray:
    """Go down `order` and keep whoever no kept one reaches; exact.

    All pairs at once where they can be held, which spares most comparisons; else a block of `order`
    at a time.

    Returns:
        (n,) kept, those `already` kept among them.
    """
    open_ = order[join.nearest(order, np.flatnonzero(already))[0] < 0]
    pairs = join.within_limit(open_, MAX_PAIRS, progress=progress)
    if pairs is not None:
        return already | marked(len(already), _first_come(open_, pairs, len(already)))
    kept = already.copy()
    for start in range(0, len(open_), LEADER_BLOCK):
        block = open_[start : start + LEADER_BLOCK]
        block = block[join.nearest(block, np.flatnonzero(kept & ~already))[0] < 0]
        kept[_first_come(block, join.within(block), len(kept))] = True
        progress("near-duplicates", min(start + LEADER_BLOCK, len(open_)), len(open_))
    return kept


def _first_come(order: IntArray, pairs: Pairs, n: int) -> IntArray:
    """Those of `order` that no earlier kept one is paired with; the earlier of a pair stands on the left."""
    place = np.empty(n, np.int64)
    place[order] = np.arange(len(order))
    by_left = np.argsort(place[pairs.left], kind="stable")
    left, right = place[pairs.left][by_left], place[pairs.right][by_left]
    covered = np.zeros(len(order), np.bool_)
    heads, first = np.unique(left, return_index=True)
    for head, reached in zip(heads.tolist(), np.split(right, first[1:]), strict=False):
        if not covered[head]:
            covered[reached] = True
    return order[~covered]


def nearest_kept(
    join: PairJoin, kept: BoolArray, edges: Pairs | None, *, progress: Progress
) -> tuple[IntArray, FloatArray]:
    """(n,) nearest kept and its similarity; itself and 1.0 where kept, -1 where none reaches the threshold.

    Whom the edges reach is not compared again: where they are given they are complete.
    """
    nearest, similarity = np.arange(len(kept)), np.ones(len(kept), np.float32)
    open_ = ~kept
    if edges is not None:
        both = np.concatenate([edges.left, edges.right]), np.concatenate([edges.right, edges.left])
        asked = ~kept[both[0]] & kept[both[1]]
        best = best_of_each(Pairs(both[0][asked], both[1][asked], np.tile(edges.similarity, 2)[asked]))
        nearest[best.left], similarity[best.left] = best.right, best.similarity
        open_[best.left] = False
    rest = np.flatnonzero(open_)
    nearest[rest], similarity[rest] = join.nearest(rest, np.flatnonzero(kept), progress=progress)
    return nearest, similarity
