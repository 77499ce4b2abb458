"""Coverage at a radius: as many points as possible within a given similarity of a pick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadSelection
from curator.index import PairJoin, reaches
from curator.selection.facility import edges_of
from curator.selection.greedy import lazy_greedy
from curator.selection.picks import Picks, blocks, check, open_positions, ordered, positions_of, weights_of
from curator.selection.quotas import Caps, Tally

MAX_PAIRS = 40_000_000  # held at once, about 1.5 GB while they are sorted
ROUNDED = np.float32(1e-5)  # sums of float32 weights


def ball_coverage(
    vectors: FloatArray,
    budget: int,
    *,
    threshold: float,
    neighbors: Neighbors | None = None,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
    max_pairs: int = MAX_PAIRS,
    progress: Progress = no_progress,
) -> Picks:
    """Order candidates so that each covers most of what is not yet covered.

    A pick covers every point at or above `threshold` of it. Greedy maximum coverage: at least
    1 - 1/e of what the best picks cover. Yehuda, Dekel, Hacohen and Weinshall, "Active Learning
    Through a Covering Lens" (ProbCover), NeurIPS 2022. When everything is covered the gains are 0
    and the lowest positions follow. Ties go to the lowest position. A prefix is the smaller selection.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        threshold: cosine from which on a pick covers a point, above 0, up to 1.
        neighbors: graph over the n points to take the pairs from; a point then covers at most its
            own neighbours and those it is a neighbour of. None: all pairs, exactly.
        preselected: positions that cover from the start and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        weights: (n,) >= 0, how much it counts that a point is covered. None: 1 each.
        caps: most picks per group.
        max_pairs: pairs to hold. Copies of one vector count once.

    Returns:
        Picks whose gain is the weight of the points each covered first; never rising.

    Raises:
        BadSelection: candidates, preselected positions or weights that do not fit the vectors, a
            threshold outside its range, or more pairs than `max_pairs`.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    objective = BallGain(
        vectors, among, given, threshold=threshold, weights=weights, neighbors=neighbors, max_pairs=max_pairs,
        progress=progress,
    )  # fmt: skip
    slots, gains = lazy_greedy(objective, min(budget, len(among)), tally=Tally(caps, among), progress=progress)
    return ordered(vectors, among[slots], np.minimum.accumulate(gains), preselected=given)


class BallGain:
    """Weight of the points that candidates would cover and nobody covers yet.

    Args:
        vectors: (n, d) unit vectors.
        among: (c,) positions of the candidates, increasing; the objective calls them 0..c-1.
        given: positions that cover from the start.
        threshold: cosine from which on a pick covers a point.
        weights: (n,) >= 0, how much it counts that a point is covered; None: 1 each.
        neighbors: graph to take the pairs from; None: all pairs, exactly.
        max_pairs: pairs to hold.

    Raises:
        BadSelection: weights that do not fit, a threshold outside its range, or more pairs than `max_pairs`.
    """

    def __init__(
        self,
        vectors: FloatArray,
        among: IntArray,
        given: IntArray,
        *,
        threshold: float,
        weights: FloatArray | None = None,
        neighbors: Neighbors | None = None,
        max_pairs: int = MAX_PAIRS,
        progress: Progress = no_progress,
    ) -> None:
        if not 0.0 < threshold <= 1.0:
            raise BadSelection(f"coverage threshold {threshold}; expected a cosine above 0 and up to 1, such as 0.9")
        weight = weights_of(weights, len(vectors)).astype(np.float64)
        kept, self._kind = _kinds(vectors)  # (u,) first of its kind; (n,) kind of each point
        if neighbors is None:
            left, right = _pairs(vectors[kept], threshold, max_pairs=max_pairs, progress=progress)
        else:
            left, right = _linked(neighbors, threshold, self._kind)
        self._starts, self._balls = _compressed(left, right, len(kept))  # of kinds
        self._open = np.bincount(self._kind, weights=weight, minlength=len(kept))  # (u,) weight not yet covered
        self._own = self._kind[among]  # (c,)
        for kind in np.unique(self._kind[given]).tolist():
            self._open[self._ball(kind)] = 0.0

    def first_gains(self) -> FloatArray:
        """Bound of what each candidate adds now, (c,)."""
        return self.gains(np.arange(len(self._own)))

    def gains(self, candidates: IntArray) -> FloatArray:
        """Bounds of what these would add now, (b,)."""
        found = np.empty(len(candidates), np.float32)
        for of in blocks(len(candidates), 65_536):
            edges, bounds = edges_of(self._starts, self._own[candidates[of]])
            total = np.concatenate([[0.0], np.cumsum(self._open[self._balls[edges]])])
            found[of] = np.diff(total[bounds])
        return found * (1 + ROUNDED)

    def gain(self, candidate: int) -> float:
        """Weight that this candidate would cover now, 0 or more."""
        return float(self._open[self._ball(int(self._own[candidate]))].sum())

    def add(self, candidate: int) -> None:
        """Pick this candidate."""
        self._open[self._ball(int(self._own[candidate]))] = 0.0

    @property
    def uncovered(self) -> float:
        """Weight of the points that nobody covers."""
        return float(self._open.sum())

    def _ball(self, kind: int) -> IntArray:
        return self._balls[self._starts[kind] : self._starts[kind + 1]]


def _kinds(vectors: FloatArray) -> tuple[IntArray, IntArray]:
    """Points that are equal number by number are of one kind: the first of each (u,), and each one's kind (n,)."""
    if len(vectors) == 0 or vectors.shape[1] == 0:
        return np.arange(len(vectors)), np.arange(len(vectors))
    whole = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()
    _, first, kind = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first)  # kinds by first appearance
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return first[order].astype(np.int64), rank[kind.reshape(-1)]


def _pairs(vectors: FloatArray, threshold: float, *, max_pairs: int, progress: Progress) -> tuple[IntArray, IntArray]:
    found = PairJoin(vectors, threshold).within_limit(np.arange(len(vectors)), max_pairs, progress=progress)
    if found is None:
        raise BadSelection(
            f"more than {max_pairs:,} pairs of {len(vectors):,} points reach the threshold {threshold}; raise the "
            "threshold, leave near-duplicates out, or pass a neighbour graph"
        )
    return found.left, found.right


def _linked(neighbors: Neighbors, threshold: float, kind: IntArray) -> tuple[IntArray, IntArray]:
    """Edges of the graph that reach the threshold, between kinds."""
    row, column = np.nonzero((neighbors.positions >= 0) & reaches(neighbors.similarity, threshold))
    return kind[row], kind[neighbors.positions[row, column]]


def _compressed(left: IntArray, right: IntArray, n: int) -> tuple[IntArray, NDArray[np.int64]]:
    """Balls of all, each with itself, as compressed rows: starts (n + 1,) and members."""
    key = np.concatenate([left * n + right, right * n + left, np.arange(n) * (n + 1)])
    row, member = np.divmod(np.unique(key), max(n, 1))
    return np.searchsorted(row, np.arange(n + 1)), member
