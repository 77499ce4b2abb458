"""Rough products, the exact search that goes through them, and lists by k-means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray
from curator.index import (
    bf16,
    exact_search,
    extend_graph,
    filtered,
    joined,
    knn_graph,
    lists,
    measure_recall,
    rough,
)
from curator.index.spec import IndexSpec
from tests.vectors import brute_force, clumps, unit, with_near_copies


def fast(monkeypatch: pytest.MonkeyPatch, is_fast: bool) -> None:
    """As if bf16 paid here, or did not: both ways must work everywhere, whatever the processor."""
    for module in (rough, filtered):
        monkeypatch.setattr(module, "is_fast", lambda: is_fast)


def to_bf16(vectors: FloatArray) -> FloatArray:
    bits = vectors.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)


# --- rough products -----------------------------------------------------------------------------


def test_a_rough_product_stays_within_its_bound(rng: np.random.Generator) -> None:
    left, right = unit(rng, 200, 384), unit(rng, 300, 384)
    with rough.rough_products() as product:
        off = np.abs(product(left, right) - left.astype(np.float64) @ right.T.astype(np.float64))
    assert off.max() <= rough.error_of(left, right)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(d=st.integers(1, 500), scale=st.floats(0.5, 2.0), seed=st.integers(0, 2**32 - 1))
def test_the_bound_holds_for_vectors_rounded_to_bf16(d: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = unit(rng, 20, d) * np.float32(scale), unit(rng, 20, d)
    left[0] = to_bf16(left[0]) * np.float32(1 + 2.0**-9)  # half way between two bf16: rounded as far as can be
    right[0] = left[0] / np.linalg.norm(left[0])
    rounded = to_bf16(left).astype(np.float64) @ to_bf16(right).T.astype(np.float64)
    off = np.abs(rounded - left.astype(np.float64) @ right.T.astype(np.float64))
    assert off.max() <= rough.error_of(left, right)


def test_precision_and_threads_are_restored_after_rough_products() -> None:
    import torch

    before = (torch.get_float32_matmul_precision(), torch.get_num_threads())
    with pytest.raises(ZeroDivisionError), rough.rough_products():
        raise ZeroDivisionError
    rough.is_fast()
    first, second = rough.rough_products(), rough.rough_products()
    for step in (first.__enter__, second.__enter__, lambda: first.__exit__(None, None, None)):
        step()  # as two threads would: the first is done before the second
    assert torch.get_float32_matmul_precision() == "medium"
    second.__exit__(None, None, None)
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == before


def test_threads_are_restored_where_a_join_and_a_search_overlap() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before + 3)
    try:
        join, search = bf16.one_torch_thread(), rough.rough_products()
        join.__enter__()
        search.__enter__()
        join.__exit__(None, None, None)
        assert torch.get_num_threads() == 1  # the search is still at work
        search.__exit__(None, None, None)
        assert torch.get_num_threads() == before + 3
    finally:
        torch.set_num_threads(before)


def test_where_bf16_does_not_pay_products_are_plain(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    fast(monkeypatch, False)
    vectors = unit(rng, 30)
    with rough.products() as (product, is_rough):
        assert not is_rough
        np.testing.assert_array_equal(product(vectors, vectors), vectors @ vectors.T)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 500, 513, 4_097, 100_001])
def test_lengths_are_rounded_up_to_few_by_repeating_the_last(n: int) -> None:
    positions = np.arange(n) * 3
    longer = rough.round_up(positions)
    assert n <= len(longer) <= max(n + 31, 1.13 * n)
    np.testing.assert_array_equal(longer[:n], positions)
    assert (longer[n:] == positions[-1]).all()


def test_few_lengths_are_left_after_rounding_up() -> None:
    lengths = {len(rough.round_up(np.arange(n))) for n in range(1_024, 2_048)}
    assert len(lengths) == 9  # eight steps to an octave, and the next one


# --- exact search through rough products --------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, 20])
def test_filtered_search_finds_what_brute_force_finds(
    rng: np.random.Generator, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "BLOCK", 100)
    monkeypatch.setattr(filtered, "COLUMNS", 130)
    vectors = with_near_copies(rng, 900)
    positions, similarity, left = filtered.search_filtered(vectors[:250], vectors, k, threads=2)
    expected, expected_similarity = brute_force(vectors[:250], vectors, k)
    assert len(left) == 0
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(similarity, expected_similarity, atol=1e-6)


def test_filtered_search_decides_among_what_rough_products_cannot_tell_apart(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, True)
    monkeypatch.setattr(filtered, "MANY", 1_000)
    centre = unit(rng, 1, 64)
    vectors = centre + 1e-3 * unit(rng, 600, 64)  # all at cosines that differ by less than bf16 can hold
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    _, similarity, left = filtered.search_filtered(vectors[:200], vectors, 5, threads=1)
    assert len(left) == 0
    np.testing.assert_allclose(similarity, brute_force(vectors[:200], vectors, 5)[1], atol=1e-6)


def test_queries_with_too_many_candidates_are_left_to_plain_search(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, True)
    monkeypatch.setattr(filtered, "WORTH", 0)
    monkeypatch.setattr(filtered, "BLOCK", 150)
    copies = np.repeat(unit(rng, 1), 10_000, axis=0)
    vectors = np.vstack([copies, unit(rng, 500)])
    queries = np.vstack([copies[:150], unit(rng, 150)])
    assert filtered.pays(queries, vectors, 5)
    _, _, left = filtered.search_filtered(queries, vectors, 5, threads=1)
    assert set(range(150)) <= set(left.tolist())
    similarity = exact_search(queries, vectors, 5)[1]
    np.testing.assert_allclose(similarity, brute_force(queries, vectors, 5)[1], atol=1e-6)


@pytest.mark.parametrize("is_fast", [True, False])
def test_search_is_the_same_with_and_without_rough_products(
    rng: np.random.Generator, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, is_fast)
    monkeypatch.setattr(filtered, "WORTH", 0)
    vectors = clumps(rng, 3_000)
    vectors.flags.writeable = False
    assert filtered.pays(vectors, vectors, 10) == is_fast
    positions, similarity = exact_search(vectors, vectors, 10)
    expected = brute_force(vectors, vectors, 10)
    np.testing.assert_allclose(similarity, expected[1], atol=1e-6)
    assert (positions == expected[0]).mean() > 0.999  # float32 may swap two that differ in the last bit


@pytest.mark.parametrize(("m", "n", "k"), [(100, 10_000, 5), (10_000, 10_000, 600), (200, 100, 5)])
def test_few_queries_or_many_neighbours_are_searched_plainly(
    m: int, n: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, True)
    monkeypatch.setattr(filtered, "WORTH", 0)
    assert not filtered.pays(np.zeros((m, 4), np.float32), np.zeros((n, 4), np.float32), k)


# --- lists and the graph ------------------------------------------------------------------------


def test_lists_divide_everybody_among_the_nearest_centres(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 2_000)
    made = lists.make_lists(vectors, 40, seed=0)
    assert sorted(made.members.tolist()) == list(range(2_000))
    np.testing.assert_allclose(np.linalg.norm(made.centres, axis=1), 1.0, atol=1e-5)
    for i in range(len(made)):
        own = made.positions(np.array([i]))
        assert (made.of[own] == i).all()
        assert (np.diff(own) > 0).all()
    similarity = vectors @ made.centres.T
    lost = similarity.max(axis=1) - similarity[np.arange(2_000), made.of]
    assert lost.max() <= 2 * rough.error_of(vectors, made.centres)


def test_lists_gather_what_belongs_together(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 3_000, n_clumps=30)
    made = lists.make_lists(vectors, 30, seed=0)
    within = np.einsum("ij,ij->i", vectors, made.centres[made.of]).mean()
    by_chance = (vectors @ vectors[rng.permutation(3_000)[:30]].T).max(axis=1).mean()
    assert within > by_chance


def test_lists_of_copies_keep_their_centres(rng: np.random.Generator) -> None:
    made = lists.make_lists(np.repeat(unit(rng, 2), 50, axis=0), 10, seed=0)
    np.testing.assert_allclose(np.linalg.norm(made.centres, axis=1), 1.0, atol=1e-5)
    assert len(made.members) == 100


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_graph_by_lists_reaches_its_floor_with_and_without_rough_products(
    rng: np.random.Generator, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, is_fast)
    vectors = clumps(rng, 4_000)
    found = knn_graph(vectors, 10, IndexSpec(flat_up_to=1_000, min_recall=0.95, threads=1))
    truth = knn_graph(vectors, 10, IndexSpec(kind="flat"))
    assert found.recall >= 0.95
    assert measure_recall(found.similarity, truth.similarity) >= 0.94
    assert (np.diff(found.similarity, axis=1) <= 0).all()


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_a_graph_by_lists_over_hardly_anything_is_padded(
    rng: np.random.Generator, n: int, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, is_fast)
    found = knn_graph(unit(rng, n), 6, IndexSpec(flat_up_to=1, min_recall=0.0))
    assert found.positions.shape == (n, 6)
    assert (found.similarity[found.positions < 0] == -1).all()
    assert not (found.positions == np.arange(n)[:, None]).any()


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_graph_grows_to_that_of_the_union_with_and_without_rough_products(
    rng: np.random.Generator, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, is_fast)
    vectors = clumps(rng, 1_200, 384)
    grown = extend_graph(knn_graph(vectors[:1_000], 12), vectors)
    union = knn_graph(vectors, 12)
    np.testing.assert_allclose(grown.similarity, union.similarity, atol=1e-6)
    assert (grown.positions == union.positions).mean() > 0.999


def test_a_graph_over_one_long_list_is_made_in_pieces(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "LARGEST", 50_000)
    vectors = np.vstack([np.repeat(unit(rng, 1), 2_000, axis=0), unit(rng, 400)])
    found = knn_graph(vectors, 4, IndexSpec(flat_up_to=100, min_recall=0.5))
    np.testing.assert_allclose(found.similarity[:2_000], 1.0, atol=1e-6)
    assert not (found.positions == np.arange(2_400)[:, None]).any()
