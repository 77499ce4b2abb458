"""The greedy cover: keep few, and for each removed one say which kept one it is closest to."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadEmbeddings, UsageError
from curator.index import PairJoin, Pairs, pair_similarity, reaches
from curator.index.exact import check_unit
from curator.index.pairs import best_of_each

ALL_PAIRS_UP_TO = 300_000  # vectors up to which comparing all with all is minutes on one core
MAX_PAIRS = 10_000_000  # pairs held at once: some 500 MB; 4,500 equal frames already make so many
LEADER_BLOCK = 2_048  # vectors decided together; their pairs among themselves are at most 2 million


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
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Cover:
    """Keep few, so that each removed one has a kept one at cosine `threshold` or above.

    Two kept ones are below the threshold, whatever the graph missed. Copies of the same bytes are
    collapsed first. `coverage` keeps next the one with most uncovered neighbours; every other
    policy goes down its scores. A removed one is then given its nearest kept, which is often not
    the one that covered it.

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

    Raises:
        BadEmbeddings: vectors or graph of the wrong shape or length.
        UsageError: a threshold outside -1..1, or a policy without the scores it needs.
    """
    vectors = check_unit(vectors)
    n = len(vectors)
    if not -1.0 <= threshold <= 1.0:
        raise UsageError(f"threshold is {threshold}; expected a cosine from -1 to 1")
    if policy not in ("coverage", "first") and scores is None:
        raise UsageError(f"keep policy {policy!r} needs scores; make them with neardups.priority")
    if neighbors is not None and len(neighbors) != n:
        raise BadEmbeddings(f"the neighbour graph has {len(neighbors)} points, there are {n} vectors")
    given = {"scores": scores, "sharpness": sharpness, "forced": forced, "digest_groups": digest_groups}
    for name, values in given.items():
        if values is not None and values.shape != (n,):
            raise BadEmbeddings(f"{name} of shape {values.shape} for {n} vectors; expected ({n},), one each")
    always = np.zeros(n, np.bool_) if forced is None else forced
    rank = np.arange(n) if policy == "first" else _ranks(n, None if policy == "coverage" else scores, sharpness)
    alive = _one_per_group(digest_groups, rank, always)
    join = PairJoin(vectors, threshold, threads=threads)
    edges = None  # all pairs at or above the threshold, where they are known
    if policy == "coverage":
        known, is_complete = _edges(join, neighbors, alive, progress=progress)
        wanted = _most_covering(known, alive, always, rank)
        edges = known if is_complete else None
    else:
        wanted = _by_rank(np.flatnonzero(alive & ~always), rank)
    kept = _lead(join, wanted, always, progress=progress) if edges is None else always | _marked(n, wanted)
    nearest, similarity = _nearest_kept(join, kept, edges, progress=progress)
    orphans = np.flatnonzero(nearest < 0)  # covered by one that was dropped for a pair the graph had missed
    if len(orphans):
        kept = _lead(join, _by_rank(orphans, rank), kept, progress=progress)
        nearest, similarity = _nearest_kept(join, kept, None, progress=progress)
    return Cover(kept, nearest, similarity, ~alive & ~kept, threshold, forced)


def groups(cover: Cover) -> list[tuple[int, IntArray]]:
    """Each kept position that represents others, with those others ascending; the largest group first."""
    removed = np.flatnonzero(~cover.kept)
    removed = removed[np.argsort(cover.representative[removed], kind="stable")]
    heads, starts = np.unique(cover.representative[removed], return_index=True)
    found = list(zip(heads.tolist(), np.split(removed, starts[1:]), strict=True)) if len(removed) else []
    return sorted(found, key=lambda group: (-len(group[1]), group[0]))


def _ranks(n: int, scores: FloatArray | None, sharpness: FloatArray | None) -> IntArray:
    """(n,) place of each in the order of keeping, 0 first: by score, then sharpness, then position."""
    given = [values for values in (sharpness, scores) if values is not None]
    keys = [np.arange(n), *(-np.where(np.isnan(values), -np.inf, values) for values in given)]
    rank = np.empty(n, np.int64)
    rank[np.lexsort(keys)] = np.arange(n)  # the last key decides first
    return rank


def _by_rank(positions: IntArray, rank: IntArray) -> IntArray:
    return positions[np.argsort(rank[positions])]


def _marked(n: int, positions: IntArray) -> BoolArray:
    mask = np.zeros(n, np.bool_)
    mask[positions] = True
    return mask


def _one_per_group(digest_groups: IntArray | None, rank: IntArray, always: BoolArray) -> BoolArray:
    """(n,) who stands for the copies of the same bytes: a forced one if there is, else the first in rank."""
    if digest_groups is None:
        return np.ones(len(rank), np.bool_)
    order = np.lexsort((rank, ~always, digest_groups))
    first = order[np.flatnonzero(np.diff(digest_groups[order], prepend=-1))]
    return _marked(len(rank), first) | always


def _edges(join: PairJoin, neighbors: Neighbors | None, alive: BoolArray, *, progress: Progress) -> tuple[Pairs, bool]:
    """Pairs at or above the threshold among the living, and whether these are all of them.

    An exact graph already has all pairs of a point whose last neighbour is below the threshold; only
    the others are compared among themselves. Without one all are compared, unless that takes too
    long or the pairs are too many to hold: then the graph's must do, and the caller repairs.
    """
    known = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    unsure = np.flatnonzero(alive)
    if neighbors is not None and neighbors.k > 0:
        known = _graph_pairs(join, neighbors, alive)
        if neighbors.recall == 1.0:
            unsure = np.flatnonzero(alive & (neighbors.similarity[:, -1] >= join.threshold - 1e-4))
    found = None
    if len(unsure) <= ALL_PAIRS_UP_TO:
        found = join.within_limit(unsure, MAX_PAIRS, progress=progress)
    return (known, False) if found is None else (_union(known, found, n=len(alive)), True)


def _graph_pairs(join: PairJoin, neighbors: Neighbors, alive: BoolArray) -> Pairs:
    own, place = np.nonzero((neighbors.positions >= 0) & (neighbors.similarity >= join.threshold - 1e-4))
    other = neighbors.positions[own, place]
    both = alive[own] & alive[other]
    key = np.unique(np.minimum(own[both], other[both]) * len(alive) + np.maximum(own[both], other[both]))
    left, right = key // len(alive), key % len(alive)
    similarity = pair_similarity(join.vectors, left, right)
    near = reaches(similarity, join.threshold)
    return Pairs(left[near], right[near], similarity[near])


def _union(known: Pairs, found: Pairs, *, n: int) -> Pairs:
    """Both, each pair once."""
    if len(known) == 0:
        return found
    left, right = np.concatenate([known.left, found.left]), np.concatenate([known.right, found.right])
    _, first = np.unique(np.minimum(left, right) * n + np.maximum(left, right), return_index=True)
    return Pairs(left[first], right[first], np.concatenate([known.similarity, found.similarity])[first])


def _most_covering(edges: Pairs, alive: BoolArray, always: BoolArray, rank: IntArray) -> IntArray:
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
    counts = np.bincount(near, weights=np.repeat(~covered, np.diff(starts)), minlength=n).astype(np.int64)
    waiting = np.flatnonzero(~covered & (counts > 0))
    by_rank = np.argsort(rank)
    queue = ((n - counts[waiting]) * n + rank[waiting]).tolist()  # one integer: most neighbours first, then rank
    heapq.heapify(queue)
    picked = []
    while queue:
        shortage, place = divmod(heapq.heappop(queue), n)
        position = int(by_rank[place])
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
            counts[near[starts[reached] : starts[reached + 1]]] -= 1
    alone = _by_rank(np.flatnonzero(~covered), rank)
    return np.concatenate([np.array(picked, np.int64), alone])


def _adjacency(edges: Pairs, n: int) -> tuple[IntArray, IntArray]:
    """Both directions of every pair: neighbours of i are near[starts[i] : starts[i + 1]]."""
    own = np.concatenate([edges.left, edges.right])
    order = np.argsort(own, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=n))]).astype(np.int64)
    return starts, np.concatenate([edges.right, edges.left])[order]


def _lead(join: PairJoin, order: IntArray, already: BoolArray, *, progress: Progress) -> BoolArray:
    """Go down `order` and keep whoever no kept one reaches; exact, without holding all pairs.

    Returns:
        (n,) kept, those `already` kept among them.
    """
    kept = already.copy()
    place = np.empty(len(kept), np.int64)
    for start in range(0, len(order), LEADER_BLOCK):
        block = order[start : start + LEADER_BLOCK]
        block = block[join.nearest(block, np.flatnonzero(kept))[0] < 0]
        place[block] = np.arange(len(block))
        pairs = join.within(block)  # the earlier one on the left
        by_left = np.argsort(place[pairs.left], kind="stable")
        left, right = place[pairs.left][by_left], place[pairs.right][by_left]
        covered = np.zeros(len(block), np.bool_)
        heads, first = np.unique(left, return_index=True)
        for head, reached in zip(heads.tolist(), np.split(right, first[1:]), strict=False):
            if not covered[head]:
                covered[reached] = True
        kept[block[~covered]] = True
        progress("near-duplicates", min(start + LEADER_BLOCK, len(order)), len(order))
    return kept


def _nearest_kept(
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
