"""Search for many rows by lists: nearly all of what exact search finds, with the recall that is said."""

from __future__ import annotations

import numpy as np
import pytest

from curator.data import FloatArray
from curator.index import IndexSpec, exact_search, listed, listed_search, measure_recall, normalise
from curator.index.exact import ALMOST
from curator.index.joined import Reach
from curator.index.lists import Lists

N, M, DIM, K = 6_000, 3_000, 24, 5


@pytest.fixture(scope="module")
def sets() -> tuple[FloatArray, FloatArray]:
    """Queries and vectors of the same 60 groups."""
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(60, DIM))
    made = middles[rng.integers(60, size=N + M)] + 0.4 * rng.normal(size=(N + M, DIM))
    unit = normalise(made.astype(np.float32))
    return unit[:M], unit[M:]


def test_it_finds_what_it_says_and_the_similarities_are_true(sets: tuple[FloatArray, FloatArray]) -> None:
    queries, vectors = sets
    _, truth = exact_search(queries, vectors, K)
    for floor in (0.8, 0.95):
        positions, similarity, said = listed_search(queries, vectors, K, IndexSpec(min_recall=floor, sample=200))
        assert floor <= said < 1.0
        assert measure_recall(similarity, truth) == pytest.approx(said, abs=0.03)
        assert (np.diff(similarity, axis=1) <= 0).all()
        assert all(len(set(row)) == K for row in positions.tolist())
        true = np.einsum("md,mkd->mk", queries, vectors[positions])
        assert np.abs(true - similarity).max() < 1e-6


def test_twice_the_same(sets: tuple[FloatArray, FloatArray]) -> None:
    queries, vectors = sets
    spec = IndexSpec(min_recall=0.9, sample=100, threads=2)
    first, again = (listed_search(queries, vectors, K, spec) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


@pytest.mark.parametrize("of", ["few queries", "few vectors", "all are asked for"])
def test_where_lists_do_not_pay_it_is_exact(sets: tuple[FloatArray, FloatArray], of: str) -> None:
    queries, vectors = sets
    if of == "few queries":
        queries = queries[:100]
    if of == "few vectors":
        vectors = vectors[:3]
    spec = IndexSpec(min_recall=1.0 if of == "all are asked for" else 0.9)
    positions, similarity, recall = listed_search(queries, vectors, K, spec)
    assert recall == 1.0
    exact = exact_search(queries, vectors, K)
    assert np.array_equal(positions, exact[0])
    assert np.array_equal(similarity, exact[1])


def test_what_no_list_can_divide_is_searched_exactly() -> None:
    rng = np.random.default_rng(1)
    flat = normalise(rng.normal(size=(N + M, 200)).astype(np.float32))  # everybody is as far from everybody
    positions, _, recall = listed_search(flat[:M], flat[M:], K, IndexSpec(min_recall=0.99, sample=100))
    assert recall == 1.0
    assert np.array_equal(positions, exact_search(flat[:M], flat[M:], K)[0])


def test_a_query_whose_lists_are_empty_still_gets_its_neighbours(
    sets: tuple[FloatArray, FloatArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, vectors = sets

    def made(vectors: FloatArray, n_lists: int, *, seed: int, threads: int | None) -> Lists:
        """One list that holds everything, and many that hold nothing."""
        centres = np.vstack([np.ones((1, DIM)), np.eye(DIM), -np.eye(DIM)]).astype(np.float32)
        of = np.zeros(len(vectors), np.int64)
        starts = np.r_[0, np.full(len(centres), len(vectors))]
        return Lists(normalise(centres), of, np.arange(len(vectors)), starts)

    monkeypatch.setattr(listed, "make_lists", made)
    monkeypatch.setattr(listed, "chosen_reach", lambda lists, *_, floor: Reach(lists.near()[:, :1], 0.0))
    positions, similarity, recall = listed_search(queries, vectors, K, IndexSpec(min_recall=0.5))
    assert recall == ALMOST
    exact = exact_search(queries, vectors, K)
    assert np.abs(similarity - exact[1]).max() < 1e-6
    assert (positions >= 0).all()
