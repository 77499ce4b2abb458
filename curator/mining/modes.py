"""Failures into failure modes: groups that look alike, each with a medoid and what is typical of it.

Pure: unit vectors and values in, groups out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import FloatArray, IntArray
from curator.mining.rates import wilson

MAX_MODES = 8
LEAST_MEMBERS = 3  # a mode of fewer is an accident
LEAST_SILHOUETTE = 0.08  # below, splitting does not describe the failures better than one group
MAX_LINKED = 2_000  # failures up to which the whole tree is built
N_LIFTS = 3


@dataclass(frozen=True, slots=True)
class Mode:
    """One failure mode."""

    members: IntArray  # positions among the failures, the medoid first, then by similarity to it
    cohesion: float  # mean cosine to the medoid, 1 for a mode of one


@dataclass(frozen=True, slots=True)
class Lift:
    """A value that is more common in a mode than in the pool."""

    column: str
    value: Any
    share: float  # in the mode
    pool_share: float
    lift: float  # lower end of the share's interval over the pool's share


def failure_modes(vectors: FloatArray, n_modes: int | None = None) -> list[Mode]:
    """Group failures that look alike, the largest group first.

    Average linkage on cosine distance (Sokal and Michener 1958); the number of groups is the one with the best
    mean silhouette (Rousseeuw 1987), or one where none describes the failures well. Above 2,000 failures
    k-means stands in for the tree.

    Args:
        vectors: (f, d) unit vectors, f >= 1.
        n_modes: how many; none: by silhouette, up to 8.
    """
    labels = _labels(vectors, n_modes)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    modes = [_mode(vectors, group) for group in groups]
    return sorted(modes, key=lambda mode: (-len(mode.members), int(mode.members[0])))


def lifts(
    members: Sequence[int], pool: Sequence[int], values: Mapping[str, Sequence[Any]], *, n: int = N_LIFTS
) -> list[Lift]:
    """Values most typical of the members.

    Lift is the share of a value among the members over its share in the pool. Few members make large lifts by
    chance, so the lower end of the share's 95 % interval is compared, and only lifts above 1 are kept.

    Args:
        members, pool: places in `values`; the pool holds the members too.
        values: column -> value of each place; numbers are to be binned by the caller.
    """
    found: list[Lift] = []
    for column, listed in values.items():
        counts: dict[Any, int] = {}
        for place in pool:
            counts[listed[place]] = counts.get(listed[place], 0) + 1
        inside: dict[Any, int] = {}
        for place in members:
            inside[listed[place]] = inside.get(listed[place], 0) + 1
        for value, hits in inside.items():
            if value is None or counts[value] == len(pool):
                continue
            low, pool_share = wilson(hits, len(members))[0], counts[value] / len(pool)
            if low > pool_share:
                found.append(Lift(column, value, hits / len(members), pool_share, low / pool_share))
    found.sort(key=lambda one: (-one.lift, one.column, str(one.value)))
    return found[:n]


def _labels(vectors: FloatArray, n_modes: int | None) -> IntArray:
    n = len(vectors)
    most = min(MAX_MODES, n // LEAST_MEMBERS)
    wanted = range(2, most + 1) if n_modes is None else range(min(n_modes, n), min(n_modes, n) + 1)
    best, best_score = np.zeros(n, np.int64), LEAST_SILHOUETTE if n_modes is None else -np.inf
    cut = _cutter(vectors) if len(wanted) and max(wanted) > 1 else None
    for k in wanted:
        if cut is None or k < 2:
            continue
        labels = cut(k)
        sizes = np.bincount(labels)
        score = _silhouette(vectors, labels) - 0.5 * float((sizes < LEAST_MEMBERS).sum()) * (n_modes is None)
        if score > best_score:
            best, best_score = labels, score
    return best


def _cutter(vectors: FloatArray) -> Any:
    """A function from a number of groups to a label for each vector."""
    if len(vectors) > MAX_LINKED:
        from curator.cluster import kmeans

        return lambda k: np.asarray(kmeans(vectors, k, seed=0).labels, np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(vectors.astype(np.float64), method="average", metric="cosine")
    return lambda k: np.asarray(fcluster(np.maximum(tree, 0.0), k, criterion="maxclust"), np.int64) - 1


def _silhouette(vectors: FloatArray, labels: IntArray) -> float:
    """Mean silhouette by cosine distance; groups of one count 0. Exact, from the groups' mean vectors."""
    k = int(labels.max()) + 1
    if k < 2:
        return -1.0
    sizes = np.bincount(labels, minlength=k).astype(np.float64)
    sums = np.zeros((k, vectors.shape[1]))
    np.add.at(sums, labels, vectors.astype(np.float64))
    near = vectors @ sums.T  # (n, k) sum of cosines to each group
    own = np.arange(len(labels)), labels
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = 1.0 - (near[own] - 1.0) / (sizes[labels] - 1.0)
        outside = 1.0 - near / sizes
    outside[own] = np.inf
    outside[:, sizes == 0] = np.inf
    nearest = outside.min(axis=1)
    inside = np.where(sizes[labels] > 1, inside, nearest)  # a group of one counts 0
    return float(((nearest - inside) / np.maximum(np.maximum(nearest, inside), 1e-12)).mean())


def _mode(vectors: FloatArray, group: IntArray) -> Mode:
    mean = vectors[group].astype(np.float64).sum(axis=0)
    medoid = int(group[int(np.argmax(vectors[group] @ mean))])
    near = vectors[group] @ vectors[medoid]
    near[group == medoid] = np.inf
    order = np.argsort(-near, kind="stable")
    others = near[order][1:]
    return Mode(group[order], float(others.mean()) if len(others) else 1.0)
