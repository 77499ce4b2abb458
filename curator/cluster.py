"""Groups of alike points: by k-means, or by density with HDBSCAN.

Knows vectors and labels; knows nothing of maps, images or what a tag means.
Clusters are numbered by size, the largest 0; a point of no cluster is noise, -1.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadEmbeddings, UsageError
from curator.index.spec import faiss_threads

NOISE = -1
ITERATIONS = 20
TWO_LEVEL_ABOVE = 1_000  # centres; two levels are a few times faster for 4 to 5 % more distance
BLOCK_ROWS = 4_096
TIE = np.float32(1e-6)  # centres that are nearer by less are as near: products of copies round differently
TAG_FLOOR = 0.25  # a naming tag has at least this share of the mass of the cluster's strongest


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which cluster each point belongs to, and each cluster's most central point."""

    labels: IntArray  # (n,) 0 is the largest cluster, -1 noise
    medoids: IntArray  # (c,) position of the member nearest the centre
    sizes: IntArray  # (c,) members, descending; in any order once points were added by `extend`
    distance: FloatArray  # (n,) to the own centre (1 - cosine, or Euclidean for HDBSCAN); nan for noise
    centres: FloatArray | None = None  # (c, d) of length 1, whom points are nearest to; none for HDBSCAN

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.distance) or len(self.medoids) != len(self.sizes):
            raise BadEmbeddings(
                f"clusters with {len(self.labels)} labels, {len(self.distance)} distances, {len(self.medoids)} medoids "
                f"and {len(self.sizes)} sizes; expected one distance per label and one size per medoid"
            )
        if self.centres is not None and len(self.centres) != len(self.sizes):
            raise BadEmbeddings(f"{len(self.sizes)} clusters with {len(self.centres)} centres; expected one each")

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def n_noise(self) -> int:
        """Points of no cluster."""
        return int((self.labels == NOISE).sum())


def default_n_clusters(n: int) -> int:
    """Clusters when nobody says: the square root of n / 2, at least 2, at most n."""
    return min(n, max(2, round(math.sqrt(n / 2))))


def kmeans(
    vectors: FloatArray,
    n_clusters: int | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    train: BoolArray | None = None,
) -> Clusters:
    """Put every point with its nearest centre by cosine; spherical k-means, by faiss.

    Centres are trained on 256 points each up to 256 clusters and on 64 beyond, which is 3 %
    worse in error than all points and several times faster. Above 1,000 clusters a coarse
    k-means of sqrt(K) cells comes first and each cell is split by itself. Without faiss,
    scikit-learn trains the centres.

    Args:
        vectors: (n, d), each of length 1.
        n_clusters: centres asked for; none: see `default_n_clusters`. Fewer come back when
            there are fewer distinct points.
        threads: of the training; the result was the same for 1 and 2.
        train: (n,) points that may shape centres, such as those that are no near-duplicates;
            none: all. Every point is put in a cluster either way.

    Raises:
        UsageError: n_clusters is under 1.
    """
    n = len(vectors)
    if n_clusters is not None and n_clusters < 1:
        raise UsageError(f"{n_clusters} clusters asked for; expected at least 1, or none for the default")
    if n == 0:
        return _clusters(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, vectors.shape[1]), np.float32))
    wanted = min(default_n_clusters(n) if n_clusters is None else n_clusters, n)
    shaping = vectors if train is None or not train.any() else vectors[train]
    with faiss_threads(threads):
        centres = _centres(shaping, min(wanted, len(shaping)), seed)
    return _clusters(*_nearest_centre(vectors, centres), centres)


def assign(vectors: FloatArray, centres: FloatArray) -> tuple[IntArray, FloatArray]:
    """Put points with the nearest of given centres.

    Args:
        vectors: (n, d), each of length 1.
        centres: (c, d), each of length 1, at least one.

    Returns:
        (n,) cluster, the lowest of equally near ones, and (n,) 1 - cosine to its centre, 0..2.

    Raises:
        BadEmbeddings: no centre, or centres of another dimension.
    """
    if len(centres) == 0 or centres.shape[1:] != vectors.shape[1:]:
        raise BadEmbeddings(
            f"{len(centres)} centres of shape {centres.shape[1:]} for vectors of shape {vectors.shape[1:]}; "
            "expected at least one centre of the same dimension: cluster again"
        )
    return _nearest_centre(vectors, centres)


def extend(old: Clusters, vectors: FloatArray) -> Clusters:
    """Put appended points into the clusters there are; nothing moves and no number changes.

    Equal to `assign` of all points to the old centres: what a point belongs to does not depend on
    the others. Costs the new points alone. A cluster's medoid becomes a new point only where that
    is nearer to the centre.

    Args:
        old: k-means clusters of the first points.
        vectors: (n, d), each of length 1: the old points first, unchanged, then the new.

    Raises:
        BadEmbeddings: fewer vectors than `old` has points, or no centres to put them with.
    """
    n_old = len(old.labels)
    if old.centres is None or len(vectors) < n_old:
        have = "no centres" if old.centres is None else f"{len(vectors)} vectors"
        raise BadEmbeddings(f"clusters of {n_old} points cannot be extended with {have}; cluster again")
    if len(vectors) == n_old:
        return old
    labels, distance = assign(vectors[n_old:], old.centres)
    sizes = old.sizes + np.bincount(labels, minlength=len(old))
    rounded = np.round(distance, 6)  # as in `_clusters`: of copies the lowest position is meant
    by_cluster = np.lexsort((np.arange(len(labels)), rounded, labels))
    joined, first = np.unique(labels[by_cluster], return_index=True)
    nearest = by_cluster[first]  # of the new members of each joined cluster
    is_nearer = rounded[nearest] < np.round(old.distance[old.medoids[joined]], 6)
    medoids = old.medoids.copy()
    medoids[joined[is_nearer]] = n_old + nearest[is_nearer]
    return Clusters(
        labels=np.concatenate([old.labels, labels]),
        medoids=medoids,
        sizes=sizes.astype(np.int64),
        distance=np.concatenate([old.distance, distance]),
        centres=old.centres,
    )


def hdbscan(low_dim: FloatArray, *, min_cluster_size: int = 10, min_samples: int | None = None) -> Clusters:
    """Find dense groups of any shape; points between them are noise.

    Campello, Moulavi and Sander 2013, by the `hdbscan` package. Wants about 2 to 15 dimensions
    (a UMAP of the vectors; on 50 dimensions of PCA a third of the points became noise).

    Args:
        low_dim: (n, m) points in few dimensions.
        min_cluster_size: smaller groups are noise. With fewer points than this all are noise,
            and so are points that lie all in one place or form one even cloud.
        min_samples: neighbours that make a place dense; larger is more cautious. None: min_cluster_size.

    Raises:
        UsageError: min_cluster_size is under 2.
    """
    if min_cluster_size < 2:
        raise UsageError(f"min_cluster_size is {min_cluster_size}; expected at least 2, since one point is no group")
    n = len(low_dim)
    if n < max(min_cluster_size, 2):
        return _clusters(np.full(n, NOISE, np.int64), np.full(n, np.nan, np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about versions of scikit-learn and its escapes
        from hdbscan import HDBSCAN

        model = HDBSCAN(
            min_cluster_size=min_cluster_size,
            min_samples=min(min_samples or min_cluster_size, n - 1),
            core_dist_n_jobs=1,
        )
        labels = model.fit_predict(low_dim.astype(np.float64)).astype(np.int64)
    return _clusters(labels, _distance_to_mean(low_dim, labels))


def name_clusters(
    labels: IntArray,
    tag_ids: NDArray[np.integer],
    tag_scores: NDArray[np.floating],
    names: Sequence[str],
    *,
    n_names: int = 2,
) -> list[str]:
    """Name each cluster by the tags it holds more of than the whole does.

    Lift = mean score of the tag in the cluster / mean score in all. Lift alone names a cluster
    after one odd image, so only tags with a quarter of the mass of the cluster's strongest are ranked.
    When two clusters would share a name, the smaller takes a further tag, or else a number.

    Args:
        labels: (n,) cluster per point, -1 noise.
        tag_ids: (n, t) index into `names`, -1 where there is no tag.
        tag_scores: (n, t) strength, 0 to 1.
        names: tag names; of "tram, tramcar" the first is used.
        n_names: tags in a name.

    Returns:
        One name per cluster, all different; "cluster 7" where no point has a tag.
    """
    n_clusters = int(labels.max(initial=NOISE)) + 1
    is_tag = (tag_ids >= 0) & (tag_scores > 0)  # (n, t)
    clusters, tags = np.broadcast_to(labels[:, None], tag_ids.shape)[is_tag], tag_ids[is_tag].astype(np.int64)
    mass = np.zeros((n_clusters + 1, len(names)))  # the last row, -1, is noise
    np.add.at(mass, (clusters, tags), tag_scores[is_tag].astype(np.float64))
    sizes = np.bincount(labels[labels >= 0], minlength=n_clusters)
    overall = mass.sum(axis=0) / max(len(labels), 1)  # (names,)
    taken: dict[str, int] = {}
    for cluster in range(n_clusters):
        own = mass[cluster] / max(sizes[cluster], 1)
        lift = own / np.maximum(overall, 1e-12)
        strong = np.flatnonzero((own > 0) & (own >= TAG_FLOOR * own.max(initial=0.0)))
        best = strong[np.lexsort((strong, -own[strong], -np.round(lift[strong], 6)))]
        words = list(dict.fromkeys(names[tag].split(",")[0].strip() for tag in best))
        taken[_free_name(words or [f"cluster {cluster}"], n_names, taken)] = cluster
    return list(taken)


def _centres(vectors: FloatArray, n_clusters: int, seed: int) -> FloatArray:
    """(k, d) unit centres."""
    if n_clusters <= TWO_LEVEL_ABOVE:
        return _train(vectors, n_clusters, seed)
    cell, _ = _nearest_centre(vectors, _train(vectors, round(math.sqrt(n_clusters)), seed))
    sizes = np.bincount(cell)
    shares = _proportional(sizes, n_clusters)
    parts = [_train(vectors[cell == i], int(share), seed) for i, share in enumerate(shares) if share]
    return np.concatenate(parts)


def _proportional(sizes: IntArray, total: int) -> IntArray:
    """Split `total` by size, largest remainders first: every non-empty cell gets 1 or more, none more than it has."""
    base = np.minimum(sizes, 1)
    spare, room = total - int(base.sum()), sizes - base
    exact = room * (spare / max(int(room.sum()), 1))
    shares: IntArray = base + np.floor(exact).astype(np.int64)
    left = total - int(shares.sum())
    shares[np.argsort(np.floor(exact) - exact, kind="stable")[:left]] += 1
    return shares


def _train(vectors: FloatArray, n_clusters: int, seed: int) -> FloatArray:
    """Spherical k-means proper, (n_clusters, d); centres of the same place are allowed."""
    if n_clusters >= len(vectors):
        return np.array(vectors, np.float32)
    per_centre = 256 if n_clusters <= 256 else 64
    if importlib.util.find_spec("faiss") is not None:
        import faiss

        model = faiss.Kmeans(
            vectors.shape[1],
            n_clusters,
            niter=ITERATIONS,
            spherical=True,
            seed=seed,
            min_points_per_centroid=1,  # silences a line on stderr; small sets are meant
            max_points_per_centroid=per_centre,
        )
        model.train(np.ascontiguousarray(vectors, dtype=np.float32))
        return _unit(model.centroids)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(vectors))[: per_centre * n_clusters])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than centres: the spare ones are dropped later
        from sklearn.cluster import KMeans

        fitted = KMeans(n_clusters, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(vectors[some])
    return _unit(fitted.cluster_centers_)


def _unit(centres: NDArray[np.floating]) -> FloatArray:
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    unit: FloatArray = (centres / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def _nearest_centre(vectors: FloatArray, centres: FloatArray) -> tuple[IntArray, FloatArray]:
    """(n,) nearest centre, the lowest of equals, and (n,) 1 - cosine to it."""
    labels = np.empty(len(vectors), np.int64)
    distance = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        similarity = vectors[block] @ centres.T  # (b, k)
        best = similarity.max(axis=1)
        labels[block] = (similarity >= best[:, None] - TIE).argmax(axis=1)
        distance[block] = np.maximum(1.0 - best, 0.0)
    return labels, distance


def _distance_to_mean(points: FloatArray, labels: IntArray) -> FloatArray:
    """(n,) Euclidean distance to the mean of the own cluster; nan for noise."""
    distance = np.full(len(points), np.nan, np.float32)
    for label in range(int(labels.max(initial=NOISE)) + 1):
        members = labels == label
        distance[members] = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
    return distance


def _clusters(labels: IntArray, distance: FloatArray, centres: FloatArray | None = None) -> Clusters:
    """Renumber by size (of equals, the one with the lowest position first), drop empty ones, find the medoids."""
    found, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renumbered = np.full(int(labels.max(initial=NOISE)) + 2, NOISE, np.int64)  # the last entry serves -1
    renumbered[found[order]] = np.arange(len(found))
    new = renumbered[labels]
    members = np.flatnonzero(new >= 0)
    rounded = np.round(distance[members], 6)  # copies differ in the last bits; the lowest position is meant
    by_cluster = members[np.lexsort((members, rounded, new[members]))]
    _, starts = np.unique(new[by_cluster], return_index=True)
    return Clusters(
        labels=new,
        medoids=by_cluster[starts],
        sizes=sizes[order].astype(np.int64),
        distance=distance,
        centres=None if centres is None else centres[found[order]],
    )


def _free_name(words: Sequence[str], n_names: int, taken: dict[str, int]) -> str:
    """The first words, with as many more as make it new, or else a number."""
    for n_words in range(min(n_names, len(words)), len(words) + 1):
        name = ", ".join(words[:n_words])
        if name not in taken:
            return name
    plain = ", ".join(words[:n_names])
    return next(name for i in count(2) if (name := f"{plain} ({i})") not in taken)
