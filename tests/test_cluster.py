"""Clusters: k-means and HDBSCAN against brute force and planted groups; names by lift."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.cluster import NOISE, Clusters, assign, default_n_clusters, extend, hdbscan, kmeans, name_clusters
from curator.data import FloatArray, IntArray
from curator.errors import BadEmbeddings, UsageError


def unit(vectors: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> FloatArray:
    normed: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return normed


def planted(
    rng: np.random.Generator, sizes: list[int], *, dim: int = 32, spread: float = 0.2
) -> tuple[FloatArray, IntArray]:
    """Well separated groups of these sizes, shuffled: (vectors, group of each)."""
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = np.linalg.qr(rng.normal(size=(dim, len(sizes))))[0].T
    return unit(centres[group] + rng.normal(scale=spread / np.sqrt(dim), size=(len(group), dim))), group


@pytest.fixture(params=["faiss", "scikit-learn"])
def trainer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with faiss and as if it were not installed."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faiss" else real(name))
        monkeypatch.setitem(sys.modules, "faiss", None)
    return str(request.param)


def check(clusters: Clusters, n: int) -> None:
    """What holds of any clustering."""
    assert clusters.labels.shape == clusters.distance.shape == (n,)
    assert clusters.sizes.tolist() == np.bincount(clusters.labels[clusters.labels >= 0]).tolist()
    assert all(a >= b for a, b in pairwise(clusters.sizes))
    assert clusters.labels[clusters.medoids].tolist() == list(range(len(clusters)))
    assert np.isnan(clusters.distance).tolist() == (clusters.labels == NOISE).tolist()
    for cluster, medoid in enumerate(clusters.medoids):
        assert clusters.distance[medoid] <= clusters.distance[clusters.labels == cluster].min() + 1e-6


def test_kmeans_finds_planted_groups_and_numbers_them_by_size(rng: np.random.Generator, trainer: str) -> None:
    vectors, group = planted(rng, [30, 120, 60])
    clusters = kmeans(vectors, 3, seed=1)
    check(clusters, 210)
    assert clusters.sizes.tolist() == [120, 60, 30]
    assert [set(clusters.labels[group == g].tolist()) for g in (1, 2, 0)] == [{0}, {1}, {2}]


def test_every_point_is_with_its_nearest_centre_and_the_medoid_is_the_most_central(
    rng: np.random.Generator, trainer: str
) -> None:
    vectors = unit(rng.normal(size=(400, 16)))
    clusters = kmeans(vectors, 12, seed=0)
    check(clusters, 400)
    medoid_of = vectors[clusters.medoids][clusters.labels]
    assert (1 - (vectors * medoid_of).sum(axis=1)).mean() < 1 - (vectors @ vectors[clusters.medoids].T).mean()
    assert clusters.distance.mean() < 0.55  # 0.94 to the mean of all


def test_kmeans_is_the_same_every_time_and_with_every_thread_count(rng: np.random.Generator, trainer: str) -> None:
    vectors = unit(rng.normal(size=(600, 24)))
    first, again, threaded = kmeans(vectors, 20), kmeans(vectors, 20), kmeans(vectors, 20, threads=2)
    assert first.labels.tolist() == again.labels.tolist() == threaded.labels.tolist()
    assert first.medoids.tolist() == again.medoids.tolist() == threaded.medoids.tolist()


def test_another_seed_gives_other_clusters_of_like_quality(rng: np.random.Generator) -> None:
    vectors = unit(rng.normal(size=(600, 24)))
    first, other = kmeans(vectors, 20, seed=0), kmeans(vectors, 20, seed=1)
    assert first.labels.tolist() != other.labels.tolist()
    assert first.distance.mean() == pytest.approx(other.distance.mean(), rel=0.02)


def test_kmeans_leaves_the_threads_of_faiss_as_they_were(rng: np.random.Generator) -> None:
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    kmeans(unit(rng.normal(size=(50, 4))), 5, threads=3)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize(
    ("n", "asked", "expected"), [(0, 3, 0), (1, None, 1), (1, 5, 1), (2, 5, 2), (2, None, 2), (7, 7, 7), (7, 1, 1)]
)
def test_few_points_give_as_many_clusters_as_they_can(
    rng: np.random.Generator, trainer: str, n: int, asked: int | None, expected: int
) -> None:
    clusters = kmeans(unit(rng.normal(size=(n, 8))), asked)
    check(clusters, n)
    assert len(clusters) == expected


def test_copies_share_a_cluster_whose_medoid_is_the_first_of_them(rng: np.random.Generator, trainer: str) -> None:
    vectors = np.repeat(unit(rng.normal(size=(3, 8))), [2, 5, 9], axis=0)
    clusters = kmeans(vectors, 10)
    check(clusters, 16)
    assert clusters.sizes.tolist() == [9, 5, 2]
    assert clusters.medoids.tolist() == [7, 2, 0]


def test_two_equal_images_are_one_cluster(trainer: str) -> None:
    clusters = kmeans(np.array([[1, 0], [1, 0]], np.float32))
    assert (clusters.labels.tolist(), clusters.medoids.tolist()) == ([0, 0], [0])


def test_above_a_thousand_clusters_two_levels_come_close_to_one(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, _ = planted(rng, [40] * 30, spread=1.0)
    one_level = kmeans(vectors, 120)
    monkeypatch.setattr("curator.cluster.TWO_LEVEL_ABOVE", 100)
    two_level = kmeans(vectors, 120)
    check(two_level, 1200)
    assert 115 <= len(two_level) <= 120
    assert two_level.distance.mean() < 1.06 * one_level.distance.mean()


def test_many_clusters_of_many_points() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(4_000, 8)))
    clusters = kmeans(vectors, 1_100)
    check(clusters, 4_000)
    assert 1_050 <= len(clusters) <= 1_100


def test_only_the_training_points_shape_the_centres(rng: np.random.Generator, trainer: str) -> None:
    vectors, group = planted(rng, [50, 50, 50])
    clusters = kmeans(vectors, 2, train=group != 2)
    check(clusters, 150)
    assert len(set(clusters.labels[group == 0].tolist()) | set(clusters.labels[group == 1].tolist())) == 2
    assert np.median(clusters.distance[group == 2]) > 5 * np.median(clusters.distance[group != 2])


def test_a_training_mask_of_nothing_trains_on_all(rng: np.random.Generator) -> None:
    vectors = unit(rng.normal(size=(60, 8)))
    assert kmeans(vectors, 4, train=np.zeros(60, bool)).labels.tolist() == kmeans(vectors, 4).labels.tolist()


def test_no_cluster_asked_for_is_refused() -> None:
    with pytest.raises(UsageError, match="0 clusters asked for; expected at least 1"):
        kmeans(np.eye(3, dtype=np.float32), 0)


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, 1), (2, 2), (3, 2), (600, 17), (100_000, 224)])
def test_default_number_of_clusters(n: int, expected: int) -> None:
    assert default_n_clusters(n) == expected


def test_clusters_of_unlike_lengths_are_refused() -> None:
    none = np.zeros(0, np.int64)
    with pytest.raises(BadEmbeddings, match="3 labels, 2 distances"):
        Clusters(labels=np.zeros(3, np.int64), medoids=none, sizes=none, distance=np.zeros(2, np.float32))


def test_centres_come_in_the_order_of_their_clusters_and_give_the_labels_back(
    rng: np.random.Generator, trainer: str
) -> None:
    vectors, _ = planted(rng, [30, 120, 60], spread=1.0)
    clusters = kmeans(vectors, 9)
    assert clusters.centres is not None
    assert clusters.centres.shape == (len(clusters), 32)
    labels, distance = assign(vectors, clusters.centres)
    assert labels.tolist() == clusters.labels.tolist()
    np.testing.assert_allclose(distance, clusters.distance, atol=1e-6)
    nearest = (1 - vectors.astype(np.float64) @ clusters.centres.T).argmin(axis=1)
    assert labels.tolist() == nearest.tolist()


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_appended_points_join_as_if_all_had_been_assigned_at_once(
    seed: int, n_old: int, n_new: int, n_more: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(np.round(rng.normal(size=(n_old + n_new + n_more, 5)), 1) + 0.01)  # coarse, so that some are equal
    old = kmeans(vectors[:n_old], min(4, n_old))
    assert old.centres is not None
    whole = extend(old, vectors)
    labels, _ = assign(vectors, old.centres)
    assert whole.labels.tolist() == [*old.labels.tolist(), *labels[n_old:].tolist()]
    assert whole.sizes.tolist() == np.bincount(whole.labels, minlength=len(old)).tolist()
    for cluster, medoid in enumerate(whole.medoids):
        rounded = np.round(whole.distance, 6)
        rounded[whole.labels != cluster] = np.inf
        assert medoid == rounded.argmin(), "the nearest member, of equals the first"
    by_and_by = extend(extend(old, vectors[: n_old + n_new]), vectors)
    assert by_and_by.labels.tolist() == whole.labels.tolist()
    assert by_and_by.medoids.tolist() == whole.medoids.tolist()


def test_ten_thousand_copies_join_one_cluster_and_leave_its_medoid(rng: np.random.Generator) -> None:
    vectors, _ = planted(rng, [20, 20, 20])
    old = kmeans(vectors, 3)
    copies = np.repeat(vectors[[old.medoids[1]]], 10_000, axis=0)
    grown = extend(old, np.concatenate([vectors, copies]))
    assert grown.sizes.tolist() == [20, 10_020, 20], "numbers stand, whatever the sizes become"
    assert grown.medoids.tolist() == old.medoids.tolist()


def test_clusters_without_centres_and_lost_points_are_refused(rng: np.random.Generator) -> None:
    vectors, _ = planted(rng, [40, 40])
    dense = hdbscan(vectors[:, :3], min_cluster_size=5)
    with pytest.raises(BadEmbeddings, match="clusters of 80 points cannot be extended with no centres"):
        extend(dense, vectors)
    with pytest.raises(BadEmbeddings, match="clusters of 80 points cannot be extended with 79 vectors"):
        extend(kmeans(vectors, 2), vectors[:79])
    with pytest.raises(BadEmbeddings, match=r"0 centres of shape \(4,\) for vectors of shape \(32,\)"):
        assign(vectors, np.zeros((0, 4), np.float32))
    with pytest.raises(BadEmbeddings, match="2 clusters with 1 centres"):
        Clusters(vectors[:0, 0].astype(np.int64), np.arange(2), np.ones(2, np.int64), vectors[:0, 0], vectors[:1])


def test_nothing_clustered_stays_nothing_and_takes_nobody_in() -> None:
    none = np.zeros((0, 4), np.float32)
    old = kmeans(none)
    assert len(extend(old, none)) == 0
    with pytest.raises(BadEmbeddings, match="0 centres"):
        extend(old, np.eye(4, dtype=np.float32))


def blobs(rng: np.random.Generator, sizes: list[int], n_noise: int) -> tuple[FloatArray, IntArray]:
    """Tight blobs on a circle of radius 10 in three dimensions, and scattered points: (points, blob or -1)."""
    group = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(n_noise, NOISE)])
    angle = 2 * np.pi * np.arange(len(sizes)) / len(sizes)
    centres = 10 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    points = np.where(
        (group >= 0)[:, None],
        centres[group] + rng.normal(scale=0.3, size=(len(group), 3)),
        rng.uniform(-30, 30, size=(len(group), 3)),
    )
    return points.astype(np.float32), group


def test_hdbscan_finds_dense_blobs_and_calls_the_rest_noise(rng: np.random.Generator) -> None:
    points, group = blobs(rng, [40, 90, 60], n_noise=20)
    clusters = hdbscan(points, min_cluster_size=15)
    check(clusters, 210)
    assert len(clusters) == 3
    assert [np.bincount(clusters.labels[group == g] + 1).argmax() - 1 for g in (1, 2, 0)] == [0, 1, 2]
    assert (clusters.labels[group == NOISE] == NOISE).mean() >= 0.9
    assert clusters.n_noise == int((clusters.labels == NOISE).sum())


def test_hdbscan_is_the_same_every_time(rng: np.random.Generator) -> None:
    points, _ = blobs(rng, [30, 30, 30], n_noise=30)
    first, again = hdbscan(points, min_cluster_size=5), hdbscan(points, min_cluster_size=5)
    assert first.labels.tolist() == again.labels.tolist()
    assert first.medoids.tolist() == again.medoids.tolist()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 9])
def test_fewer_points_than_a_cluster_needs_are_all_noise(rng: np.random.Generator, n: int) -> None:
    clusters = hdbscan(rng.normal(size=(n, 5)).astype(np.float32), min_cluster_size=10)
    check(clusters, n)
    assert (len(clusters), clusters.n_noise) == (0, n)


def test_points_all_in_one_place_are_noise() -> None:
    assert len(hdbscan(np.zeros((30, 5), np.float32), min_cluster_size=5)) == 0


def test_more_cautious_samples_than_points_are_bounded(rng: np.random.Generator) -> None:
    check(hdbscan(rng.normal(size=(12, 2)).astype(np.float32), min_cluster_size=4, min_samples=50), 12)


def test_a_cluster_of_one_is_refused() -> None:
    with pytest.raises(UsageError, match="min_cluster_size is 1; expected at least 2"):
        hdbscan(np.zeros((5, 2), np.float32), min_cluster_size=1)


NAMES = ["street, road", "bus", "tree", "night", "dog"]


def tags(*rows: dict[int, float]) -> tuple[IntArray, FloatArray]:
    """(n, 3) tag ids and scores from one dict per point."""
    ids, scores = np.full((len(rows), 3), -1, np.int64), np.zeros((len(rows), 3), np.float32)
    for i, row in enumerate(rows):
        ids[i, : len(row)], scores[i, : len(row)] = list(row.keys()), list(row.values())
    return ids, scores


def test_a_cluster_is_named_by_what_it_has_more_of_than_the_rest() -> None:
    ids, scores = tags({0: 0.9, 1: 0.5}, {0: 0.9, 1: 0.5}, {0: 0.9, 2: 0.5}, {0: 0.9, 2: 0.5})
    names = name_clusters(np.array([0, 0, 1, 1]), ids, scores, NAMES)
    assert names == ["bus, street", "tree, street"]  # street is everywhere: its lift is 1


def test_one_odd_image_does_not_name_a_cluster() -> None:
    ids, scores = tags(*[{1: 0.8}] * 9, {4: 0.8}, *[{2: 0.8}] * 10)
    assert name_clusters(np.repeat([0, 1], 10), ids, scores, NAMES, n_names=1) == ["bus", "tree"]


def test_clusters_of_the_same_tags_get_further_tags_or_numbers() -> None:
    ids, scores = tags(*[{1: 0.8}] * 3, {1: 0.8, 2: 0.5}, {1: 0.8, 2: 0.5}, {1: 0.8}, {2: 0.1})
    names = name_clusters(np.array([0, 0, 0, 1, 1, 2, NOISE]), ids, scores, NAMES, n_names=1)
    assert names == ["bus", "tree", "bus (2)"]
    ids, scores = tags(*[{1: 0.8}] * 2, {1: 0.8, 2: 0.3}, {2: 0.9})
    assert name_clusters(np.array([0, 0, 1, NOISE]), ids, scores, NAMES, n_names=1) == ["bus", "bus, tree"]


def test_a_cluster_without_tags_is_named_by_its_number() -> None:
    ids, scores = tags({1: 0.8}, {}, {})
    assert name_clusters(np.array([0, 1, NOISE]), ids, scores, NAMES) == ["bus", "cluster 1"]


def test_no_points_and_no_clusters_have_no_names() -> None:
    ids, scores = tags()
    assert name_clusters(np.zeros(0, np.int64), ids, scores, NAMES) == []
    ids, scores = tags({1: 0.5})
    assert name_clusters(np.array([NOISE]), ids, scores, NAMES) == []


def test_arguments_are_left_as_they_were(rng: np.random.Generator) -> None:
    vectors = unit(rng.normal(size=(80, 8)))
    before = vectors.copy()
    kmeans(vectors, 5)
    hdbscan(vectors[:, :3])
    assert np.array_equal(vectors, before)
