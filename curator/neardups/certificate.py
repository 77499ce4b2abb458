"""The certificate: what holds of a cover, recomputed from the vectors alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from curator.data import FloatArray, IntArray, Progress, no_progress
from curator.errors import BadEmbeddings
from curator.index import TOLERANCE, PairJoin, exact_search, pair_similarity
from curator.index.comparable import check_codes
from curator.index.exact import check_unit
from curator.neardups.covering import Cover, comparable_in

STATED = 1e-3  # what a stored similarity may be off; float16 rounds by half of this


@dataclass(frozen=True, slots=True)
class Certificate:
    """What holds of a cover, recomputed from the vectors alone."""

    n: int
    kept: int
    removed: int
    exact: int  # removed as copies of the same bytes
    near: int  # removed as near-duplicates
    orphans: int  # removed without any kept one at or above the threshold
    worst_similarity: float  # of a removed one to its representative; 1.0 where none is removed
    mean_similarity: float
    kept_pairs_above: int  # pairs of kept ones at or above the threshold, those of two forced ones left out
    forced_pairs_above: int  # pairs of two forced ones at or above the threshold: allowed, counted
    wrong_representatives: int  # not kept, or not the nearest kept
    wrong_similarities: int  # stated similarity differs from the recomputed one
    threshold: float

    @property
    def holds(self) -> bool:
        """Whether the cover keeps its promise."""
        return not self.faults()

    def faults(self) -> tuple[str, ...]:
        """One sentence for each broken promise; none where all hold."""
        found = (
            (self.orphans, f"removed without a kept one at cosine {self.threshold:g} or above"),
            (self.kept_pairs_above, f"kept pairs at cosine {self.threshold:g} or above"),
            (self.wrong_representatives, "representatives that are not the nearest kept"),
            (self.wrong_similarities, "similarities that differ from the vectors'"),
        )
        return tuple(f"{count} {what}" for count, what in found if count)

    def to_dict(self) -> dict[str, int | float | bool]:
        """All figures by name, and whether the promise holds."""
        return {**asdict(self), "holds": self.holds}


def certify(
    vectors: FloatArray,
    cover: Cover,
    *,
    groups: IntArray | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Certificate:
    """Recompute from the vectors what a cover claims; trusts nothing it says but who is kept.

    Every kept pair and every removed one with every kept one is compared, whatever the graph was. A
    block at a time, so that beside the vectors it holds a short stand-in of each and a few numbers.

    Args:
        vectors: (n, d) float32 of length 1, those the cover was made from.
        groups: (n,) codes the cover was made with; pairs of two groups count for nothing.

    Raises:
        BadEmbeddings: another number of vectors, or of groups, than the cover has.
    """
    vectors = check_unit(vectors)
    n = len(vectors)
    if len(cover) != n:
        raise BadEmbeddings(f"the cover has {len(cover)} positions, there are {n} vectors; make the cover again")
    check_codes(n, groups=groups)
    join = PairJoin(vectors, cover.threshold, comparable=comparable_in(groups), threads=threads)
    kept, removed = np.flatnonzero(cover.kept), np.flatnonzero(~cover.kept)
    forced = np.zeros(n, np.bool_) if cover.forced is None else cover.forced & cover.kept
    n_pairs, n_forced_pairs = join.count_within(kept, forced, progress=progress)
    nearest, best = join.nearest(removed, kept, progress=progress)
    orphans = np.flatnonzero(nearest < 0)
    best[orphans] = _best(vectors, removed[orphans], kept, groups, threads=threads)

    stated = cover.representative[removed]
    exists = (stated >= 0) & (stated < n)
    similarity = np.full(len(removed), -1.0, np.float32)  # to the representative it states
    similarity[exists] = pair_similarity(vectors, removed[exists], stated[exists])
    right = exists & cover.kept[np.where(exists, stated, 0)] & (similarity >= best - TOLERANCE)
    if groups is not None:
        right[exists] &= groups[removed[exists]] == groups[stated[exists]]
    truth = np.ones(n, np.float32)
    truth[removed] = similarity
    n_exact = int((cover.exact & ~cover.kept).sum())
    return Certificate(
        n=n,
        kept=len(kept),
        removed=len(removed),
        exact=n_exact,
        near=len(removed) - n_exact,
        orphans=len(orphans),
        worst_similarity=float(similarity.min(initial=1.0)),
        mean_similarity=float(similarity.mean()) if len(removed) else 1.0,
        kept_pairs_above=n_pairs - n_forced_pairs,
        forced_pairs_above=n_forced_pairs,
        wrong_representatives=int((~right).sum() + (cover.representative[kept] != kept).sum()),
        wrong_similarities=int((~(np.abs(cover.similarity - truth) <= STATED)).sum()),  # also catches NaN
        threshold=cover.threshold,
    )


def _best(
    vectors: FloatArray, orphans: IntArray, kept: IntArray, groups: IntArray | None, *, threads: int | None
) -> FloatArray:
    """(m,) similarity of each orphan to the nearest kept one of its group; -1 where the group has none."""
    best = np.full(len(orphans), -1.0, np.float32)
    codes = np.zeros(len(vectors), np.int64) if groups is None else groups
    for code in np.unique(codes[orphans]).tolist():
        ours, theirs = codes[orphans] == code, kept[codes[kept] == code]
        if len(theirs):
            best[ours] = exact_search(vectors[orphans[ours]], vectors[theirs], 1, threads=threads)[1][:, 0]
    return best
