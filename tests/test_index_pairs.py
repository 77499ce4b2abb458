"""The join of all pairs at or above a similarity, against brute force."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from curator.data import FloatArray
from curator.index import (
    PairJoin,
    normalise,
    pair_similarity,
    pairs,
    reaches,
)
from tests.vectors import brute_force, clumps, unit, with_near_copies

# --- pairs --------------------------------------------------------------------------------------


def brute_pairs(vectors: FloatArray, threshold: float) -> set[tuple[int, int]]:
    similarity = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    left, right = np.nonzero(np.triu(similarity >= threshold - 1e-6, 1))
    return set(zip(left.tolist(), right.tolist(), strict=True))


@pytest.mark.parametrize(("threshold", "has_prefix"), [(0.97, True), (0.9, True), (0.2, False)])
def test_the_join_finds_every_pair_and_no_other(
    rng: np.random.Generator, threshold: float, has_prefix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "STRIPE", 128)
    monkeypatch.setattr(pairs, "SLAB", 48)
    vectors = with_near_copies(rng, 1_500)
    join = PairJoin(vectors, threshold, threads=2)
    assert (join.width < 192) == has_prefix
    found = join.within(np.arange(1_500))
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == brute_pairs(vectors, threshold)
    assert len(found) == len(brute_pairs(vectors, threshold)) > 0
    np.testing.assert_array_equal(found.similarity, pair_similarity(vectors, found.left, found.right))


def test_the_bound_is_never_below_the_cosine(rng: np.random.Generator) -> None:
    vectors = with_near_copies(rng, 5_000)
    join = PairJoin(vectors, 0.97)
    assert join.width < 192
    assert (join.bound[:800] @ join.bound.T >= vectors[:800] @ vectors.T - 1e-6).all()


def test_the_bound_holds_for_vectors_inside_the_prefix(rng: np.random.Generator) -> None:
    flat = np.zeros((5_000, 64), np.float32)  # nothing is left outside the prefix: its length is all rounding
    flat[:, :12] = rng.standard_normal((5_000, 12))
    vectors = normalise(flat)
    join = PairJoin(vectors, 0.97)
    assert join.width == 17
    assert len(join.within(np.arange(5_000))) == len(brute_pairs(vectors, 0.97))


def test_a_join_of_some_positions_is_that_part_of_the_whole(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 600, n_clumps=100)
    some = rng.permutation(600)[:250]
    found = PairJoin(vectors, 0.85).within(some)
    unordered = {(min(pair), max(pair)) for pair in zip(found.left.tolist(), found.right.tolist(), strict=True)}
    chosen = set(some.tolist())
    assert unordered == {pair for pair in brute_pairs(vectors, 0.85) if chosen.issuperset(pair)}
    place = {position: i for i, position in enumerate(some.tolist())}
    assert all(place[a] < place[b] for a, b in zip(found.left.tolist(), found.right.tolist(), strict=True))


def test_nearest_is_the_best_that_reaches_the_threshold(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 900, n_clumps=200)
    left, right = np.arange(0, 900, 3), np.setdiff1d(np.arange(900), np.arange(0, 900, 3))
    nearest, similarity = PairJoin(vectors, 0.9).nearest(left, right)
    expected, best = brute_force(vectors[left], vectors[right], 1)
    reached = best[:, 0] >= 0.9
    assert 0 < reached.sum() < len(left)
    np.testing.assert_array_equal(nearest, np.where(reached, right[expected[:, 0]], -1))
    np.testing.assert_allclose(similarity, np.where(reached, best[:, 0], -1.0), atol=1e-6)


def test_nearest_of_equal_ones_is_the_lowest(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 6, axis=0)
    nearest, similarity = PairJoin(vectors, 1.0).nearest(np.array([5, 4]), np.array([3, 1, 2]))
    assert nearest.tolist() == [1, 1]
    np.testing.assert_allclose(similarity, 1.0, atol=1e-6)


def test_counting_pairs_agrees_with_holding_them(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 400, n_clumps=80)
    marked = rng.random(400) < 0.5
    join = PairJoin(vectors, 0.8)
    found = join.within(np.arange(400))
    both = int((marked[found.left] & marked[found.right]).sum())
    assert join.count_within(np.arange(400), marked) == (len(found), both)


def test_more_pairs_than_the_limit_are_not_held(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 200, axis=0)
    join = PairJoin(vectors, 0.99)
    assert join.within_limit(np.arange(200), 19_899) is None
    found = join.within_limit(np.arange(200), 19_900)
    assert found is not None
    assert len(found) == 200 * 199 // 2


def test_a_dense_block_of_copies_is_joined_completely(rng: np.random.Generator) -> None:
    vectors = np.vstack([clumps(rng, 5_000, 192), np.repeat(unit(rng, 1, 192), 300, axis=0)])
    join = PairJoin(vectors, 0.97)
    assert join.width < 192
    assert len(join.within(np.arange(5_000, 5_300))) == 300 * 299 // 2


def test_the_similarity_of_a_pair_depends_on_nothing_else(rng: np.random.Generator) -> None:
    vectors = unit(rng, 3_000, 100)
    left, right = rng.integers(3_000, size=(2, 5_000))
    together = pair_similarity(vectors, left, right)
    alone = np.array([pair_similarity(vectors, left[i : i + 1], right[i : i + 1])[0] for i in range(200)])
    np.testing.assert_array_equal(together[:200], alone)
    np.testing.assert_array_equal(together, pair_similarity(vectors, right, left))


def test_a_similarity_reaches_a_threshold_it_misses_by_rounding_only() -> None:
    similarity = np.array([0.95, 0.949_999_5, 0.949_99, 1.0 - 1e-7], np.float32)
    assert reaches(similarity, 0.95).tolist() == [True, True, False, True]
    assert reaches(similarity, 1.0).tolist() == [False, False, False, True]


def test_the_join_works_without_faiss_and_threadpoolctl(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    vectors = clumps(rng, 2_500, n_clumps=500)
    assert len(PairJoin(vectors, 0.9).within(np.arange(2_500))) == len(brute_pairs(vectors, 0.9))
