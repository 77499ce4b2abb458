"""A cover extended by new vectors, at the cost of the new ones only."""

from __future__ import annotations

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadEmbeddings
from curator.index import PairJoin, pair_similarity
from curator.index.comparable import check_codes, close_in_time
from curator.index.exact import check_unit
from curator.neardups.covering import (
    Cover,
    Method,
    Order,
    by_rank,
    check_request,
    comparable_in,
    decide,
    lead,
    one_per_group,
    ranks,
)


def extend(
    vectors: FloatArray,
    n_old: int,
    old: Cover,
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
    """The cover of old and new vectors in which nothing changes for the old but their representatives.

    Old kept ones stay kept and old removed ones removed; a new one is removed when an old kept one
    or a new kept one reaches it. Up to ties that is what `cover` gives of all but the old removed
    ones with the old kept forced. Every new vector is compared with every other, the old never
    among themselves: n_new * n comparisons.

    Args:
        vectors: (n, d) float32 of length 1, the `n_old` covered ones first and unchanged.
        n_old: how many of them `old` covers.
        old: their cover; its threshold holds for the new ones too.
        forced: (n,) new ones that are kept whatever they resemble; of old ones it is not read.

    The other arguments are those of `cover`, over all n vectors.

    Raises:
        BadEmbeddings: `old` is of another number of vectors, or an argument not of n.
        UsageError: as from `cover`.
    """
    vectors = check_unit(vectors)
    n = len(vectors)
    if not len(old) == n_old <= n:
        raise BadEmbeddings(
            f"a cover of {len(old)} vectors cannot be extended from {n_old} to {n}; cover all of them instead"
        )
    check_request(old.threshold, policy, scores, method)
    check_codes(n, scores=scores, sharpness=sharpness, forced=forced, digest_groups=digest_groups)
    check_codes(n, groups=groups, times=times, clips=clips)
    is_new = np.arange(n) >= n_old
    always = is_new & (np.zeros(n, np.bool_) if forced is None else forced)
    rank = ranks(n, policy, scores, sharpness)
    alive = is_new & one_per_group(digest_groups, rank, always | ~is_new)
    stood_for = is_new & ~alive
    order = Order(rank, policy == "coverage", method)
    held = np.concatenate([np.flatnonzero(old.kept), np.flatnonzero(always)])  # old kept first, then new forced
    join = PairJoin(vectors, old.threshold, comparable=comparable_in(groups), threads=threads)
    if times is not None:
        passing = join.among(close_in_time(times, window_s, *(c for c in (clips, groups) if c is not None)))
        alive = _among_new(passing, alive, always, held, order, progress=progress) & alive
    kept = _among_new(join, alive, always, held, order, progress=progress)
    kept[:n_old] = old.kept
    removed = np.flatnonzero(is_new & ~kept)
    nearest, similarity = join.nearest(removed, np.flatnonzero(kept), progress=progress)
    orphans = removed[nearest < 0]  # its keeper fell in the second pass
    if len(orphans):
        kept = lead(join, by_rank(orphans, rank), kept, progress=progress)
        removed = np.flatnonzero(is_new & ~kept)
        nearest, similarity = join.nearest(removed, np.flatnonzero(kept), progress=progress)
    representative, to_it = np.arange(n), np.ones(n, np.float32)
    representative[removed], to_it[removed] = nearest, similarity
    gone = np.flatnonzero(~old.kept)
    representative[gone], to_it[gone] = _of_old(join, old, gone, np.flatnonzero(kept & is_new), progress=progress)
    return Cover(
        kept,
        representative,
        to_it,
        np.concatenate([old.exact, (stood_for & ~kept)[n_old:]]),
        old.threshold,
        None if old.forced is None and forced is None else _forced(join, old, always, progress=progress),
    )


def _among_new(
    join: PairJoin,
    alive: BoolArray,
    always: BoolArray,
    held: IntArray,
    order: Order,
    *,
    progress: Progress,
) -> BoolArray:
    """(n,) who is kept of the living new ones: first those go that one of `held` reaches."""
    asked = np.flatnonzero(alive & ~always)
    open_ = asked[join.nearest(asked, held, progress=progress)[0] < 0]
    left = always.copy()
    left[open_] = True
    return decide(join, None, left, always, order, progress=progress)[0]


def _of_old(
    join: PairJoin, old: Cover, removed: IntArray, new_kept: IntArray, *, progress: Progress
) -> tuple[IntArray, FloatArray]:
    """Representative of each old removed one and its similarity: the one it has, or a new kept one that is nearer."""
    before = old.representative[removed]
    stated = pair_similarity(join.vectors, removed, before)
    found, similarity = join.nearest(removed, new_kept, progress=progress)
    is_nearer = similarity > stated
    return np.where(is_nearer, found, before), np.where(is_nearer, similarity, stated)


def _forced(join: PairJoin, old: Cover, always: BoolArray, *, progress: Progress) -> BoolArray:
    """(n,) forced before, forced now, and old kept ones that stay although a new forced one is near."""
    forced = always.copy()
    if old.forced is not None:
        forced[: len(old)] |= old.forced
    beside = join.between(np.flatnonzero(always), np.flatnonzero(old.kept), progress=progress)
    forced[beside.right] = True
    return forced
