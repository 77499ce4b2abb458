"""The layout loop against a plain one, against umap-learn's own, and its table against the formulas."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from curator.data import FloatArray
from curator.index import knn_graph, normalise
from curator.layout import LAST, LEAP, LOWEST, OCTAVES, PUSHED, forces, lay_out, step_of
from curator.projection import neighbour_preservation

A, B = 1.577, 0.895  # the curve of min_dist 0.1


def edges_between(n: int, rng: np.random.Generator, m: int) -> tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]:
    """Random edges with weights from 0.1 to 1, sorted by head."""
    heads = np.sort(rng.integers(n, size=m)).astype(np.int32)
    tails = ((heads + rng.integers(1, n, size=m)) % n).astype(np.int32)
    weights = rng.uniform(0.1, 1.0, m).astype(np.float32)
    weights[0] = 1.0
    return heads, tails, weights


def plainly(
    start: FloatArray, heads: NDArray[np.int32], tails: NDArray[np.int32], weights: FloatArray, epochs: int, seed: int
) -> FloatArray:
    """The same moves in plain Python, with forces from the same table."""
    points, (pull, push) = start.astype(np.float32).copy(), forces(A, B)
    every = weights.max() / weights
    due, drawn, n = every.copy(), seed, len(start)
    for now in range(epochs):
        rate = np.float32(1.0 - now / epochs)
        for edge in np.flatnonzero(due <= now).tolist():
            due[edge] += every[edge]
            head, tail = heads[edge], tails[edge]
            apart = points[head] - points[tail]
            move = np.clip(pull[step_of((apart**2).sum())] * apart, -LEAP, LEAP) * rate
            points[head] += move
            points[tail] -= move
            for _ in range(PUSHED):
                drawn = (drawn * 6364136223846793005 + 1442695040888963407) % 2**64
                apart = points[head] - points[((drawn >> 32) * n) >> 32]
                points[head] += np.clip(push[step_of((apart**2).sum())] * apart, -LEAP, LEAP) * rate
    return points


@pytest.mark.parametrize("n_dims", [1, 2, 5])
def test_the_compiled_loop_makes_the_moves_of_the_plain_one(rng: np.random.Generator, n_dims: int) -> None:
    heads, tails, weights = edges_between(12, rng, 40)
    start = (10 * rng.random((12, n_dims))).astype(np.float32)
    found = lay_out(start, heads, tails, weights, a=A, b=B, epochs=6, seed=7)
    assert found == pytest.approx(plainly(start, heads, tails, weights, 6, 7), abs=1e-3)
    assert np.abs(found - start).max() > 0.1


def test_the_table_holds_the_gradients_of_the_cross_entropy_within_two_percent() -> None:
    pull, push = forces(A, B)
    squared = 2.0 ** np.random.default_rng(0).uniform(LOWEST, LOWEST + OCTAVES, 1_000)
    at = np.array([step_of(np.float32(value)) for value in squared])

    def slope(log_chance: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        return (log_chance(1.001 * squared) - log_chance(0.999 * squared)) / (0.002 * squared)

    of_q = slope(lambda s: -np.log1p(A * s**B))
    of_not_q = slope(lambda s: -np.log1p(1 / (A * s**B))) * squared / (0.001 + squared)
    np.testing.assert_allclose(pull[at], 2 * of_q, rtol=0.02)
    np.testing.assert_allclose(push[at], 2 * of_not_q, rtol=0.02)


@pytest.mark.parametrize(("squared", "at"), [(0.0, 0), (1e-30, 0), (2.0**LOWEST, 0), (1e30, LAST), (np.inf, LAST)])
def test_squared_distances_beyond_the_table_have_the_force_of_its_ends(squared: float, at: int) -> None:
    assert step_of(np.float32(squared)) == at


def test_a_heavy_edge_draws_its_ends_nearer_and_the_rest_apart() -> None:
    start = np.array([[0, 0], [10, 0], [0, 0.5], [0, 0.6]], np.float32)
    heads, tails = np.array([0, 1], np.int32), np.array([1, 0], np.int32)
    points = lay_out(start, heads, tails, np.ones(2, np.float32), a=A, b=B, epochs=200, seed=0)
    assert np.linalg.norm(points[0] - points[1]) < 2
    assert min(np.linalg.norm(points[0] - points[other]) for other in (2, 3)) > 2
    np.testing.assert_array_equal(points[2:], start[2:])  # what has no edge is never moved


def test_neighbours_are_kept_as_well_as_by_the_loop_of_umap_learn(rng: np.random.Generator) -> None:
    centres = rng.normal(size=(20, 24))
    vectors = normalise((centres[rng.integers(20, size=900)] + 0.7 * rng.normal(size=(900, 24))).astype(np.float32))
    graph = knn_graph(vectors, 14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap-learn's own
        from umap.umap_ import fuzzy_simplicial_set, simplicial_set_embedding

        given = {
            "knn_indices": np.column_stack([np.arange(900), graph.positions]).astype(np.int32),
            "knn_dists": np.column_stack([np.zeros(900), 1 - graph.similarity]).astype(np.float32),
        }
        weighed = fuzzy_simplicial_set(vectors, 15, None, "cosine", **given)[0]
        edges = weighed.tocsr().tocoo(copy=True)  # the next call sets weights to 0
        start = (10 * rng.random((900, 2))).astype(np.float32)
        theirs = simplicial_set_embedding(
            vectors, weighed, 2, 1.0, A, B, 1.0, PUSHED, 200, start, np.random.RandomState(0), "cosine", {}, False, {},
            False,
        )[0]  # fmt: skip
    ends = edges.row.astype(np.int32), edges.col.astype(np.int32)
    ours = lay_out(start, *ends, edges.data.astype(np.float32), a=A, b=B, epochs=200, seed=0)
    kept = [neighbour_preservation(points, graph) for points in (ours, theirs)]
    assert kept[0] > kept[1] - 0.02
    assert kept[1] > 0.3
