"""How far an image lies from all others, and how little would be lost without it.

Knows the neighbour graph and similarity; knows nothing of files. Both scores look at the kept images
only, those that no other represents: ten near-copies of one odd picture would vouch for each other,
and the copies that are removed anyway must not make the kept one look common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.errors import BadEmbeddings
from curator.index import IndexSpec, exact_search, knn_graph

OUTLIER_NEIGHBORS = 20  # so many that a handful of alike odd ones do not vouch for each other
UNIQUE_WEIGHTS = (0.6, 0.3, 0.1)  # of the three nearest, after FiftyOne Brain
FENCE = 1.5  # Tukey's: 0.35 % of a normal distribution lies above
SEARCH_UP_TO = 20_000  # kept points with too few kept neighbours in the graph that are searched one by one


@dataclass(frozen=True, slots=True)
class Outliers:
    """Scores of every point, and where the odd ones begin."""

    score: FloatArray  # (n,) mean cosine distance to the nearest kept others, 0..2; nan where there is none
    uniqueness: FloatArray  # (n,) 0: a kept one is the same; 1: nothing is alike; nan where there is no other
    fence: float  # scores above it are outliers; inf where there are too few points to say

    @property
    def is_outlier(self) -> BoolArray:
        """(n,) whether the score lies above the fence."""
        return np.nan_to_num(self.score, nan=0.0) > self.fence


def find_outliers(
    vectors: FloatArray,
    neighbors: Neighbors,
    *,
    spec: IndexSpec,
    representative: IntArray | None = None,
    k: int = OUTLIER_NEIGHBORS,
    fence: float = FENCE,
    progress: Progress = no_progress,
) -> Outliers:
    """Score how lonely and how unique each point is among the kept ones.

    With d_1 <= d_2 <= ... the cosine distances of a kept point to the other kept ones:

        score      = (d_1 + ... + d_k) / k                            kNN distance, mean over k
        uniqueness = 1 - max(0, 0.6 s_1 + 0.3 s_2 + 0.1 s_3), s = 1 - d    FiftyOne Brain's weights

    A removed point has the score of the kept one that represents it, for a near-copy of an odd image is
    as odd, and the uniqueness 1 - similarity to it. Where fewer others are kept, the mean is over those
    and the weights are shared out. The fence is Tukey's over the kept points' scores: Q3 + 1.5 (Q3 - Q1),
    which a few odd ones cannot move.

    Sources: Ramaswamy, Rastogi and Shim, "Efficient Algorithms for Mining Outliers from Large Data Sets",
    SIGMOD 2000; FiftyOne Brain, `compute_uniqueness`; Tukey, "Exploratory Data Analysis", 1977.

    Args:
        vectors: (n, d) float32 of length 1.
        neighbors: graph over the n points.
        spec: how kept points whose neighbours in the graph are mostly copies are searched again.
        representative: (n,) the kept position of each, itself where kept; None: all are kept.
        k: neighbours that count.
        fence: multiple of the interquartile range.

    Raises:
        BadEmbeddings: vectors, graph and representatives are not of the same points.
    """
    n = len(vectors)
    own = np.arange(n)
    leads = own if representative is None else representative
    if len(neighbors) != n or len(leads) != n:
        raise BadEmbeddings(
            f"{n} vectors, a graph over {len(neighbors)} points and {len(leads)} representatives; "
            "expected three of the same points: run `curator index` and `curator neardups` again"
        )
    kept = np.flatnonzero(leads == own)
    near = _kept_similarity(vectors, neighbors, kept, max(k, len(UNIQUE_WEIGHTS)), spec, progress)  # (m, k)
    score, uniqueness = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    score[kept] = _mean_distance(near[:, :k])
    uniqueness[kept] = _uniqueness(near)
    removed = np.flatnonzero(leads != own)
    score[removed] = score[leads[removed]]
    to_lead = np.einsum("ij,ij->i", vectors[removed], vectors[leads[removed]])
    uniqueness[removed] = 1.0 - np.clip(to_lead, 0.0, 1.0)
    return Outliers(score, uniqueness, _fence(score[kept], fence))


def _kept_similarity(
    vectors: FloatArray, neighbors: Neighbors, kept: IntArray, k: int, spec: IndexSpec, progress: Progress
) -> FloatArray:
    """(m, k) similarity of each kept point to its nearest kept others, descending; nan where there are no more."""
    k = min(k, max(len(kept) - 1, 0))
    if k == 0:
        return np.full((len(kept), 1), np.nan, np.float32)
    is_kept = np.zeros(len(vectors), np.bool_)
    is_kept[kept] = True
    positions = neighbors.positions[kept]  # (m, q)
    there = (positions >= 0) & is_kept[positions]
    order = np.argsort(~there, axis=1, kind="stable")[:, :k]  # kept ones first, still nearest first
    near = np.full((len(kept), k), np.nan, np.float32)
    found = np.where(
        np.take_along_axis(there, order, axis=1), np.take_along_axis(neighbors.similarity[kept], order, axis=1), np.nan
    )
    near[:, : found.shape[1]] = found
    short = np.flatnonzero(np.isnan(near).any(axis=1))  # most of what the graph knows of them are copies
    if len(short) > SEARCH_UP_TO:
        graph = knn_graph(vectors[kept], k, spec, progress=progress)
        return np.where(graph.positions >= 0, graph.similarity, np.nan).astype(np.float32)
    if len(short):
        at, similarity = exact_search(vectors[kept[short]], vectors[kept], k + 1, threads=spec.threads)
        near[short] = _without_self(at, similarity, short)
    return near


def _without_self(positions: IntArray, similarity: FloatArray, own: IntArray) -> FloatArray:
    """(m, k) of (m, k + 1): each one's own place left out, or the last where a copy took it."""
    others = positions != own[:, None]
    others[others.all(axis=1), -1] = False
    near: FloatArray = similarity[others].reshape(len(own), -1)
    return near


def _mean_distance(near: FloatArray) -> FloatArray:
    """(m,) mean of 1 - similarity over those that are there; nan where none is."""
    there = ~np.isnan(near)
    total = np.where(there, 1.0 - near, 0.0).sum(axis=1, dtype=np.float64)
    count = there.sum(axis=1)
    return np.where(count > 0, np.clip(total / np.maximum(count, 1), 0.0, 2.0), np.nan).astype(np.float32)


def _uniqueness(near: FloatArray) -> FloatArray:
    weights = np.asarray(UNIQUE_WEIGHTS)[: near.shape[1]]
    near = near[:, : len(weights)]
    there = ~np.isnan(near)
    weight = (there * weights).sum(axis=1)
    mean = np.where(there, near * weights, 0.0).sum(axis=1) / np.maximum(weight, 1e-12)
    return np.where(weight > 0, 1.0 - np.clip(mean, 0.0, 1.0), np.nan).astype(np.float32)


def _fence(score: FloatArray, multiple: float) -> float:
    """Where the odd ones begin; inf for fewer than 8 scores, whose quartiles say little."""
    known = score[~np.isnan(score)].astype(np.float64)
    if len(known) < 8:
        return float("inf")
    low, high = np.percentile(known, [25, 75])
    return float(high + multiple * (high - low))
