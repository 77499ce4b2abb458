"""The certificate of a cover that grew, from the one before and the new vectors alone.

What held among the vectors of before still holds: nobody's standing changed, which is checked. Left to
compare are the new ones with everybody; `certify` would compare the old among themselves again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curator.data import FloatArray, IntArray
from curator.index import TOLERANCE, PairJoin, pair_similarity
from curator.index.comparable import same_group
from curator.neardups import Certificate, Cover

STATED = 1e-3  # what a stored similarity may be off, as in `certify`


def recertify(
    vectors: FloatArray,
    cover: Cover,
    old: Cover,
    before: Mapping[str, float],
    *,
    groups: IntArray | None = None,
    threads: int | None = None,
) -> Certificate:
    """What `certify` gives of a cover made by `extend`, for n_new * n comparisons.

    Args:
        vectors: (n, d) float32 of length 1, those that `old` covers first.
        old: the cover that was extended.
        before: the figures of its certificate, which are taken over for pairs of old ones.
        groups: (n,) codes the cover was made with.
    """
    n, n_old = len(vectors), len(old)
    join = PairJoin(
        vectors, cover.threshold, comparable=None if groups is None else same_group(groups), threads=threads
    )
    is_new = np.arange(n) >= n_old
    kept, new_kept = np.flatnonzero(cover.kept), np.flatnonzero(cover.kept & is_new)
    n_pairs = join.count_within(new_kept, is_new)[0] + len(join.between(new_kept, np.flatnonzero(old.kept)))

    removed, new_removed = np.flatnonzero(~cover.kept), np.flatnonzero(~cover.kept & is_new)
    best = np.full(n, -1.0, np.float32)  # similarity to the nearest kept one
    best[:n_old] = old.similarity  # of those removed before, only a new kept one can be nearer
    old_removed = np.flatnonzero(~old.kept)
    best[old_removed] = np.maximum(best[old_removed], join.nearest(old_removed, new_kept)[1])
    best[new_removed] = join.nearest(new_removed, kept)[1]

    stated = cover.representative[removed]
    exists = (stated >= 0) & (stated < n)
    stated = np.where(exists, stated, 0)
    truth = np.ones(n, np.float32)
    truth[removed] = np.where(exists, pair_similarity(vectors, removed, stated), -1.0)
    right = exists & cover.kept[stated] & (truth[removed] >= best[removed] - TOLERANCE)
    if groups is not None:
        right &= groups[removed] == groups[stated]
    n_moved = int((cover.kept[:n_old] != old.kept).sum() + (cover.representative[kept] != kept).sum())
    n_exact = int((cover.exact & ~cover.kept).sum())
    return Certificate(
        n=n,
        kept=len(kept),
        removed=len(removed),
        exact=n_exact,
        near=len(removed) - n_exact,
        orphans=int(before["orphans"]) + int((best[new_removed] < 0).sum()),
        worst_similarity=float(truth[removed].min(initial=1.0)),
        mean_similarity=float(truth[removed].mean()) if len(removed) else 1.0,
        kept_pairs_above=int(before["kept_pairs_above"]) + n_pairs,
        forced_pairs_above=int(before["forced_pairs_above"]),
        wrong_representatives=int((~right).sum()) + n_moved,
        wrong_similarities=int((~(np.abs(cover.similarity - truth) <= STATED)).sum()),  # also catches NaN
        threshold=cover.threshold,
    )
