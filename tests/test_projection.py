"""Maps: neighbours stay neighbours, far better than on PCA; the same for the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curator.cluster import hdbscan
from curator.data import FloatArray, IntArray, Neighbors
from curator.errors import BadEmbeddings, EmptyGraph
from curator.projection import extend_map, neighbour_preservation, pca_map, umap_map


def graph_of(vectors: FloatArray, k: int) -> Neighbors:
    """Exact neighbour graph by brute force."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    positions = np.argsort(-similarity, axis=1, kind="stable")[:, :k].astype(np.int64)
    return Neighbors(positions, np.take_along_axis(similarity, positions, axis=1).astype(np.float32), 1.0)


def groups(rng: np.random.Generator, n: int, *, n_groups: int = 6, dim: int = 32) -> tuple[FloatArray, IntArray]:
    """Unit vectors around a few directions, and the group of each."""
    group = rng.integers(0, n_groups, n)
    vectors = rng.normal(size=(n_groups, dim))[group] + 0.6 * rng.normal(size=(n, dim))
    unit: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit, group


def in_64ths(vectors: FloatArray) -> FloatArray:
    """Rounded so that products are exact, in whatever order a BLAS adds them."""
    rounded: FloatArray = (np.round(64 * vectors) / 64).astype(np.float32)
    return rounded


def digits() -> FloatArray:
    """1,797 scans of written digits as unit vectors of 64 numbers."""
    from sklearn.datasets import load_digits

    scans = load_digits().data
    unit: FloatArray = (scans / np.linalg.norm(scans, axis=1, keepdims=True)).astype(np.float32)
    return unit


def purity(points: FloatArray, group: IntArray) -> float:
    """Share of points whose nearest point on the map is of their group."""
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((group[distance.argmin(axis=1)] == group).mean())


def test_a_map_keeps_neighbours_far_better_than_chance_or_pca(rng: np.random.Generator) -> None:
    vectors = digits()[:600]
    graph = graph_of(vectors, 15)
    placed = umap_map(vectors, graph)
    random = rng.random((600, 2)).astype(np.float32)
    assert placed.shape == (600, 2)
    assert placed.dtype == np.float32
    assert neighbour_preservation(random, graph) < 0.06
    assert neighbour_preservation(placed, graph) > 0.5
    assert neighbour_preservation(placed, graph) > 2 * neighbour_preservation(pca_map(vectors, 2), graph)


def test_groups_stay_together_on_the_map(rng: np.random.Generator) -> None:
    vectors, group = groups(rng, 300)
    assert purity(umap_map(vectors, graph_of(vectors, 10)), group) > 0.98


def test_a_map_is_the_same_for_the_same_seed_and_another_for_another(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 120)
    graph = graph_of(vectors, 10)
    first = umap_map(vectors, graph, seed=3)
    assert np.array_equal(first, umap_map(vectors, graph, seed=3))
    assert not np.array_equal(first, umap_map(vectors, graph, seed=4))


def test_a_map_in_another_process_with_other_threads_is_the_same() -> None:
    code = (
        "import numpy as np; from tests.test_projection import *\n"
        "vectors, _ = groups(np.random.default_rng(0), 300, dim=256)\n"
        "print(umap_map(vectors, graph_of(in_64ths(vectors), 8), epochs=50).tobytes().hex())"
    )
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "2")
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=os.environ | threads)
    vectors, _ = groups(np.random.default_rng(0), 300, dim=256)
    here = umap_map(vectors, graph_of(in_64ths(vectors), 8), epochs=50)
    assert other.stdout.strip() == here.tobytes().hex()


def test_a_map_has_as_many_dimensions_as_asked(rng: np.random.Generator) -> None:
    vectors, group = groups(rng, 150)
    placed = umap_map(vectors, graph_of(vectors, 10), n_dims=5, min_dist=0.0)
    assert placed.shape == (150, 5)
    assert purity(placed, group) > 0.98


def test_dense_groups_of_a_five_dimensional_map_are_the_written_digits() -> None:
    from sklearn.datasets import load_digits
    from sklearn.metrics import adjusted_rand_score

    vectors, written = digits(), load_digits().target
    graph = graph_of(vectors, 15)
    on_map = hdbscan(umap_map(vectors, graph, n_dims=5, min_dist=0.0), min_cluster_size=30)
    assert adjusted_rand_score(written, on_map.labels) > 0.8  # measured 0.85; 0.16 on PCA of 5 dimensions
    assert len(on_map) == 10


@pytest.mark.parametrize("n", [0, 1, 2, 3, 9, 10, 12])
@pytest.mark.parametrize("n_dims", [2, 5])
def test_few_points_get_a_finite_map(rng: np.random.Generator, n: int, n_dims: int) -> None:
    vectors, _ = groups(rng, n)
    placed = umap_map(vectors, graph_of(vectors, min(15, max(n - 1, 0))), n_dims=n_dims)
    assert placed.shape == (n, n_dims)
    assert np.isfinite(placed).all()
    if n == 1:
        assert not placed.any()


def test_missing_neighbours_are_passed_over(rng: np.random.Generator) -> None:
    vectors, group = groups(rng, 120)
    graph = graph_of(vectors, 12)
    is_missing = np.arange(12) >= rng.integers(0, 13, 120)[:, None]  # from no neighbour known to all 12
    positions, similarity = np.where(is_missing, -1, graph.positions), np.where(is_missing, -1, graph.similarity)
    placed = umap_map(vectors, Neighbors(positions, similarity, 1.0))
    assert np.isfinite(placed).all()
    assert purity(placed, group) > 0.95


def test_a_point_without_an_edge_is_placed_by_those_most_like_it(rng: np.random.Generator) -> None:
    vectors, group = groups(rng, 120)
    graph = graph_of(vectors, 12)
    positions, similarity = graph.positions.copy(), graph.similarity.copy()
    is_lone = positions == 5  # nobody knows point 5,
    is_lone[5] = True  # and it knows nobody
    positions[is_lone], similarity[is_lone] = -1, -1.0
    placed = umap_map(vectors, Neighbors(positions, similarity, 1.0))
    assert np.isfinite(placed).all()
    distance = np.linalg.norm(placed - placed[5], axis=1)
    assert group[np.argsort(distance)[1]] == group[5]


def test_opposite_neighbours_get_a_finite_map() -> None:
    vectors = np.repeat(np.array([[1, 0], [-1, 0]], np.float32), 6, axis=0)
    far = Neighbors(np.arange(12)[::-1, None].copy(), np.full((12, 1), -1, np.float32), 1.0)
    assert np.isfinite(umap_map(vectors, far)).all()


def test_copies_lie_close_and_do_not_upset_the_map(rng: np.random.Generator) -> None:
    distinct, _ = groups(rng, 40)
    vectors = np.repeat(distinct, 5, axis=0)
    placed = umap_map(vectors, graph_of(vectors, 15))
    assert np.isfinite(placed).all()
    apart = np.linalg.norm(placed.reshape(40, 5, 2) - placed.reshape(40, 5, 2).mean(axis=1, keepdims=True), axis=2)
    assert np.median(apart) < 0.03 * np.ptp(placed)


def test_points_all_alike_get_a_finite_map() -> None:
    vectors = np.tile(np.array([[1, 0, 0]], np.float32), (30, 1))
    assert np.isfinite(umap_map(vectors, graph_of(vectors, 10))).all()


def test_a_map_of_a_sample_is_extended_to_the_rest(rng: np.random.Generator) -> None:
    vectors, group = groups(rng, 500)
    graph = graph_of(vectors, 10)
    placed = umap_map(vectors, graph, sample_up_to=200, seed=1)
    assert placed.shape == (500, 2)
    assert np.isfinite(placed).all()
    assert purity(placed, group) > 0.95
    assert neighbour_preservation(placed, graph) > 0.6 * neighbour_preservation(umap_map(vectors, graph), graph)
    assert np.array_equal(placed, umap_map(vectors, graph, sample_up_to=200, seed=1))


def test_a_copy_outside_the_sample_lands_on_its_original(rng: np.random.Generator) -> None:
    distinct, _ = groups(rng, 100)
    vectors = np.concatenate([distinct, distinct])
    placed = umap_map(vectors, graph_of(vectors, 10), sample_up_to=150)
    apart = np.linalg.norm(placed[:100] - placed[100:], axis=1)
    assert np.median(apart) < 0.05 * np.ptp(placed)


def test_appended_points_find_their_group_and_move_nobody(rng: np.random.Generator) -> None:
    vectors, group = groups(rng, 300)
    placed = umap_map(vectors[:200], graph_of(vectors[:200], 15))
    points = extend_map(vectors, placed)
    assert points[:200].tolist() == placed.tolist()
    assert np.isfinite(points).all()
    distance = np.linalg.norm(points[200:, None] - points[None, :200], axis=2)
    assert (group[:200][distance.argmin(axis=1)] == group[200:]).mean() > 0.95
    by_and_by = extend_map(vectors[:250], placed)
    assert by_and_by[200:].tolist() == points[200:250].tolist(), "where one lands does not depend on who comes with it"


def test_ten_thousand_appended_copies_land_on_their_original(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 40)
    placed = umap_map(vectors, graph_of(vectors, 15))
    points = extend_map(np.concatenate([vectors, np.repeat(vectors[[7]], 10_000, axis=0)]), placed)
    np.testing.assert_allclose(points[40:], np.tile(placed[7], (10_000, 1)), atol=0.05)


def test_a_map_is_not_extended_to_fewer_points_or_from_none(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 20)
    with pytest.raises(BadEmbeddings, match="a map of 20 points cannot be extended to 19 vectors"):
        extend_map(vectors[:19], pca_map(vectors, 2))
    with pytest.raises(BadEmbeddings, match="a map of 0 points cannot be extended to 20 vectors"):
        extend_map(vectors, np.zeros((0, 2), np.float32))


def test_pca_axes_of_the_first_points_place_the_others_as_well(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 80)
    points = pca_map(vectors, 2, n_shaping=50)
    np.testing.assert_allclose(points[:50], pca_map(vectors[:50], 2), atol=1e-6)
    axes = np.linalg.lstsq(vectors[:50] - vectors[:50].mean(axis=0), points[:50].astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(points[50:], (vectors[50:] - vectors[:50].mean(axis=0)) @ axes, atol=1e-5)


def test_progress_reaches_its_total(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 60)
    calls: list[tuple[str, int, int | None]] = []
    umap_map(vectors, graph_of(vectors, 5), epochs=7, progress=lambda *call: calls.append(call))
    assert calls == [("map", done, 7) for done in range(8)]
    calls.clear()
    umap_map(vectors, graph_of(vectors, 5), epochs=7, sample_up_to=40, progress=lambda *call: calls.append(call))
    assert calls == [*(("map", done, 7) for done in range(8)), ("map: placing the rest", 20, 20)]


def test_a_graph_of_other_points_is_refused(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 20)
    with pytest.raises(BadEmbeddings, match="20 vectors but a neighbour graph over 12"):
        umap_map(vectors, graph_of(vectors[:12], 3))


def test_a_graph_without_edges_is_refused(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 20)
    none = Neighbors(np.full((20, 3), -1, np.int64), np.full((20, 3), -1, np.float32), 1.0)
    with pytest.raises(EmptyGraph, match="a map needs neighbours, and 20 points have none"):
        umap_map(vectors, none)


@pytest.mark.parametrize(("n", "dim"), [(50, 8), (6, 40)])
def test_pca_is_the_singular_value_decomposition(rng: np.random.Generator, n: int, dim: int) -> None:
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = left[:, :3] * values[:3]
    placed = pca_map(vectors, 3)
    assert np.abs(placed) == pytest.approx(np.abs(expected), abs=1e-4)


def test_pca_does_not_turn_when_rows_change_order(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    order = rng.permutation(50)
    assert pca_map(vectors[order], 2) == pytest.approx(pca_map(vectors, 2)[order], abs=1e-4)


def test_pca_axes_beyond_the_rank_are_zero(rng: np.random.Generator) -> None:
    line = np.outer(rng.normal(size=20), [1, 2, 3]).astype(np.float32)
    placed = pca_map(line, 5)
    assert placed.shape == (20, 5)
    assert np.ptp(placed[:, 0]) > 1
    assert np.abs(placed[:, 1:]).max() < 1e-4


def test_preservation_counts_kept_neighbours() -> None:
    line = np.array([[0.0], [1.0], [2.1], [3.3]], np.float32)
    graph = Neighbors(np.array([[1], [0], [3], [-1]]), np.ones((4, 1), np.float32), 1.0)
    assert neighbour_preservation(line, graph) == pytest.approx(2 / 3)  # the map has 0-1, 1-0, 2-1


def test_preservation_agrees_with_brute_force(rng: np.random.Generator) -> None:
    points = rng.random((60, 2)).astype(np.float32)
    graph = graph_of(groups(rng, 60)[0], 7)
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1)[:, :7]
    expected = np.mean([len(set(a) & set(b)) / 7 for a, b in zip(near.tolist(), graph.positions.tolist(), strict=True)])
    assert neighbour_preservation(points, graph) == pytest.approx(expected)


def test_preservation_of_nothing_is_whole() -> None:
    none = Neighbors(np.zeros((1, 0), np.int64), np.zeros((1, 0), np.float32), 1.0)
    assert neighbour_preservation(np.zeros((1, 2), np.float32), none) == 1.0


def test_preservation_among_many_exact_copies_leaves_the_point_itself_out() -> None:
    points = np.zeros((30, 2), np.float32)
    graph = graph_of(np.ones((30, 2), np.float32), 4)
    assert 0 <= neighbour_preservation(points, graph) <= 1


def test_arguments_are_left_as_they_were(rng: np.random.Generator) -> None:
    vectors, _ = groups(rng, 60)
    graph = graph_of(vectors, 5)
    before = vectors.copy(), graph.positions.copy(), graph.similarity.copy()
    umap_map(vectors, graph, epochs=5)
    umap_map(vectors, graph, epochs=5, sample_up_to=30)
    assert np.array_equal(before[0], vectors)
    assert np.array_equal(before[1], graph.positions)
    assert np.array_equal(before[2], graph.similarity)
