"""How closely points are surrounded: outliers to set aside, typical points to pick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.cluster import kmeans
from curator.data import BoolArray, FloatArray, IntArray, Neighbors
from curator.errors import BadSelection, EmptyGraph
from curator.selection.picks import Picks, check, open_positions, ordered, positions_of
from curator.selection.quotas import Caps, Tally

TRIM_NEIGHBORS = 10  # enough that a pair of odd images does not vouch for itself
MAX_CLUSTERS = 500  # as in TypiClust; a larger budget takes several of each
THREADS = 1  # several would sum the centres in another order from run to run


def neighbor_distance(neighbors: Neighbors, *, k: int | None = None) -> FloatArray:
    """Mean cosine distance of each point to its k nearest neighbours (all of the graph for None).

    Returns:
        (n,) float32, 0..2; 2 for a point without any neighbour.
    """
    there = neighbors.positions[:, :k] >= 0  # (n, k)
    distance = np.where(there, 1.0 - neighbors.similarity[:, :k], 0.0).sum(axis=1)
    count = there.sum(axis=1)
    return np.where(count > 0, distance / np.maximum(count, 1), 2.0).clip(0.0, 2.0).astype(np.float32)


def trim_outliers(
    neighbors: Neighbors, *, share: float = 0.03, among: IntArray | None = None, keep: int = 0
) -> IntArray:
    """Find the points that lie farthest from their neighbours, to be set aside before a dispersion method.

    Distance to the nearest neighbours, after Ramaswamy, Rastogi and Shim, "Efficient Algorithms for
    Mining Outliers from Large Data Sets", SIGMOD 2000. What is set aside may be junk or may be the
    rare case: it is for a person to look at.

    Args:
        neighbors: graph over n points, near-duplicates included: without them rare things look lonely.
        share: of `among`, 0..1, rounded down.
        among: positions to judge; None: all.
        keep: leave at least so many of `among`.

    Returns:
        Positions set aside, strangest first; ties to the lowest.

    Raises:
        BadSelection: share is not in 0..1.
    """
    if not 0.0 <= share < 1.0:
        raise BadSelection(f"trim share {share}; expected a share of 0 or more and below 1, such as 0.03")
    judged = np.arange(len(neighbors)) if among is None else among
    n_trimmed = min(int(share * len(judged) + 1e-9), max(len(judged) - keep, 0))
    if n_trimmed == 0 or neighbors.k == 0:
        return np.zeros(0, np.int64)
    distance = neighbor_distance(neighbors, k=TRIM_NEIGHBORS)[judged]
    strangest: IntArray = judged[np.argsort(-distance, kind="stable")[:n_trimmed]]
    return strangest


def typicality(neighbors: Neighbors) -> FloatArray:
    """Score how closely each point is surrounded; higher is more typical.

    Inverse mean distance to the k nearest neighbours, after Hacohen, Dekel and Weinshall, "Active
    Learning on a Budget", ICML 2022.

    Args:
        neighbors: graph over n points, the point itself left out.

    Returns:
        (n,) float32, no unit, > 0. Comparable within one graph only.

    Raises:
        EmptyGraph: the graph has no neighbours (k = 0).
    """
    if neighbors.k == 0:
        raise EmptyGraph("typicality needs at least 1 neighbour per point, got 0; set index.neighbors >= 1")
    there = neighbors.positions >= 0  # (n, k)
    chord = np.sqrt(np.maximum(2.0 - 2.0 * neighbors.similarity, 0.0))  # (n, k), of unit vectors
    count = there.sum(axis=1)
    mean = np.where(there, chord, 0.0).sum(axis=1) / np.maximum(count, 1)
    mean = np.where(count > 0, mean, 2.0)  # alone: as far as can be
    return (1.0 / np.maximum(mean, 1e-6)).astype(np.float32)


def typicality_picks(
    vectors: FloatArray,
    budget: int,
    *,
    neighbors: Neighbors,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    caps: Caps | None = None,
    seed: int = 0,
) -> Picks:
    """Pick the most typical point of each cluster, clusters with fewest picks first, then the largest.

    TypiClust (Hacohen, Dekel and Weinshall, 2022): as many k-means clusters as there will be
    labelled points, up to 500, and those without a labelled point come first. Since the clusters
    depend on the budget, a smaller budget is not a prefix of a larger one.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        neighbors: graph over the n points.
        preselected: positions that already speak for their clusters and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        caps: most picks per group.
        seed: of k-means.

    Returns:
        Picks whose gain is their typicality; they may rise along the ordering.

    Raises:
        BadSelection: candidates or preselected positions that do not fit the vectors.
        EmptyGraph: the graph has no neighbours.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    if len(among) == 0 or budget <= 0:
        return ordered(vectors, [], [], preselected=given)
    score = typicality(neighbors)
    points = np.concatenate([given, among])  # clustered together, so that a labelled point is seen in its cluster
    n_clusters = min(len(given) + budget, MAX_CLUSTERS, len(points))
    label = kmeans(vectors[points], n_clusters, seed=seed, threads=THREADS).labels
    size = np.bincount(label, minlength=n_clusters)
    has_picks = np.bincount(label[: len(given)], minlength=n_clusters)
    own = label[len(given) :]  # (c,) cluster of each candidate
    best_first = np.lexsort((among, -score[among], own))  # by cluster, then typicality, then position
    starts = np.searchsorted(own[best_first], np.arange(n_clusters))
    turn = np.empty(len(among), np.int64)  # how many of its cluster come before, labelled ones included
    turn[best_first] = np.arange(len(among)) - starts[own[best_first]] + has_picks[own[best_first]]
    order = among[np.lexsort((own, -size[own], turn))]
    picked = first_allowed(order, budget, caps=caps)
    return ordered(vectors, picked, score[picked], preselected=given)


def first_allowed(order: IntArray, budget: int, *, caps: Caps | None) -> IntArray:
    """The first `budget` of an ordering whose groups still take a pick."""
    if caps is None:
        return order[:budget]
    tally = Tally(caps, order)
    taken: list[int] = []
    for place in range(len(order)):
        if len(taken) == budget:
            break
        if tally.is_open(place):
            tally.take(place)
            taken.append(place)
    return order[np.array(taken, np.int64)]
