"""The kNN graph and the search index: exact or at a measured recall, against brute force."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from curator.data import FloatArray, IntArray
from curator.errors import BadEmbeddings, UsageError
from curator.index import (
    IndexSpec,
    SearchIndex,
    build,
    graph,
    knn_graph,
    measure_recall,
    normalise,
    pair_similarity,
)
from curator.index.joined import Reach
from curator.index.lists import Lists
from tests.vectors import brute_force, clumps, unit


@pytest.fixture
def without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # makes `import faiss` fail as if it were not installed


# --- the kNN graph ------------------------------------------------------------------------------


def true_graph(vectors: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    similarity = (vectors.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarity, order, axis=1)


def test_a_small_graph_is_exact(rng: np.random.Generator) -> None:
    vectors = unit(rng, 400)
    found = knn_graph(vectors, 9)
    expected, similarity = true_graph(vectors, 9)
    assert found.recall == 1.0
    np.testing.assert_array_equal(found.positions, expected)
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-6)


@pytest.mark.parametrize("backend", ["faiss", "numpy"])
def test_no_point_is_its_own_neighbour_even_among_copies(
    rng: np.random.Generator, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "numpy":
        monkeypatch.setitem(sys.modules, "faiss", None)
    vectors = np.repeat(unit(rng, 5), 30, axis=0)  # 29 copies of each point, k = 4
    found = knn_graph(vectors, 4)
    assert not (found.positions == np.arange(150)[:, None]).any()
    np.testing.assert_allclose(found.similarity, 1.0, atol=1e-6)
    assert all(len(set(row)) == 4 for row in found.positions.tolist())


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_a_graph_over_fewer_points_than_neighbours_is_padded(rng: np.random.Generator, n: int) -> None:
    found = knn_graph(unit(rng, 3)[:n], 4)
    assert found.positions.shape == (n, 4)
    assert ((found.positions >= 0).sum(axis=1) == max(n - 1, 0)).all()
    assert (found.similarity[found.positions < 0] == -1).all()


def test_a_graph_by_lists_measures_its_recall_truly(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 4_000, n_clumps=60)
    found = knn_graph(vectors, 10, IndexSpec(flat_up_to=1_000, min_recall=0.9, sample=300))
    truth = true_graph(vectors, 10)[1]
    actual = measure_recall(found.similarity, truth)
    assert 0.9 <= found.recall < 1.0
    assert actual == pytest.approx(found.recall, abs=0.03)
    assert not (found.positions == np.arange(4_000)[:, None]).any()
    own = np.repeat(np.arange(4_000), 10)
    np.testing.assert_allclose(
        found.similarity.ravel(), pair_similarity(vectors, own, found.positions.ravel()), atol=1e-6
    )
    assert (np.diff(found.similarity, axis=1) <= 0).all()


def test_a_graph_by_lists_is_the_same_each_time_and_for_any_threads(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 2_000)
    one, two = (knn_graph(vectors, 6, IndexSpec(flat_up_to=100, threads=t)) for t in (1, 2))
    np.testing.assert_array_equal(one.positions, two.positions)
    assert one.recall == two.recall


def test_a_graph_whose_lists_miss_the_floor_is_made_exactly(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit(rng, 1_500, 48)  # no structure at all: every list is near every other
    asked: list[float] = []

    def misled(lists: Lists, *_: object, floor: float) -> Reach:
        asked.append(floor)
        return Reach(lists.near()[:, :1], 0.0)

    monkeypatch.setattr(graph, "chosen_reach", misled)
    found = knn_graph(vectors, 10, IndexSpec(flat_up_to=100, min_recall=0.999))
    assert asked == pytest.approx([0.999, 0.9995, 0.99975])  # each time for half of what is missing
    assert found.recall == 1.0
    np.testing.assert_array_equal(found.positions, true_graph(vectors, 10)[0])


def test_lists_of_copies_only_still_give_neighbours(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 3), 400, axis=0)
    found = knn_graph(vectors, 5, IndexSpec(flat_up_to=100))
    np.testing.assert_allclose(found.similarity, 1.0, atol=1e-6)
    assert not (found.positions == np.arange(1_200)[:, None]).any()


@pytest.mark.parametrize("wanted", [{"kind": "flat"}, {"min_recall": 1.0}])
def test_exact_when_asked_whatever_the_size(rng: np.random.Generator, wanted: dict[str, Any]) -> None:
    assert knn_graph(unit(rng, 300), 5, IndexSpec(flat_up_to=10, **wanted)).recall == 1.0


@pytest.mark.usefixtures("without_faiss")
def test_without_faiss_a_large_graph_is_made_by_lists_as_well(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 1_000)
    found = knn_graph(vectors, 5, IndexSpec(flat_up_to=10, min_recall=0.9))
    assert found.recall >= 0.9
    assert measure_recall(found.similarity, true_graph(vectors, 5)[1]) >= 0.88


# --- the search index ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    return clumps(np.random.default_rng(7), 4_000)


@pytest.fixture(scope="module", params=["flat", "ivf", "hnsw"])
def searcher(request: pytest.FixtureRequest, vectors: FloatArray) -> Iterator[SearchIndex]:
    yield build(vectors, IndexSpec(kind=request.param, min_recall=0.9, threads=1))


def test_an_index_finds_what_exact_search_finds_at_its_recall(searcher: SearchIndex, vectors: FloatArray) -> None:
    _, similarity = searcher.search(vectors[:500], 10)
    assert searcher.recall >= 0.9
    assert measure_recall(similarity, brute_force(vectors[:500], vectors, 10)[1]) >= searcher.recall - 0.03


def test_similarities_of_an_index_are_exact_and_in_order(searcher: SearchIndex, vectors: FloatArray) -> None:
    positions, similarity = searcher.search(vectors[:50], 10)
    own = np.repeat(np.arange(50), 10)
    np.testing.assert_allclose(similarity.ravel(), pair_similarity(vectors, own, positions.ravel()), atol=1e-6)
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert (positions[:, 0] == np.arange(50)).all()


@pytest.mark.parametrize("n_allowed", [0, 3, 40, 2_000])
@pytest.mark.parametrize("few", [0, 20_000])
def test_a_filtered_search_gives_k_wherever_k_are_allowed(
    searcher: SearchIndex, vectors: FloatArray, n_allowed: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curator.index import ann

    monkeypatch.setattr(ann, "FEW", few)  # 0: always by the index, whatever is left of it
    allowed = np.random.default_rng(1).permutation(4_000)[:n_allowed]
    mask = np.zeros(4_000, np.bool_)
    mask[allowed] = True
    positions, similarity = searcher.search(vectors[:30], 10, within=mask)
    assert ((positions >= 0).sum(axis=1) == min(10, n_allowed)).all()
    assert np.isin(positions[positions >= 0], allowed).all()
    assert (similarity[positions < 0] == -1).all()
    np.testing.assert_array_equal(positions, searcher.search(vectors[:30], 10, within=allowed)[0])
    if few:
        truth = brute_force(vectors[:30], vectors[np.sort(allowed)], min(10, n_allowed))[0]
        np.testing.assert_array_equal(positions[:, : truth.shape[1]], np.sort(allowed)[truth])


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_filter_that_goes_together_with_the_content_costs_no_recall(
    rng: np.random.Generator, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curator.index import ann

    monkeypatch.setattr(ann, "FEW", 0)
    vectors = clumps(rng, 20_000, 32, n_clumps=400)
    index = build(vectors, IndexSpec(kind="ivf"))
    assert index.kind == "ivf"
    assert index.table is not None
    some = rng.permutation(len(index.table.centres))[: int(share * len(index.table.centres))]
    allowed = index.allow(np.isin(index.table.of, some))  # whole lists, the nearest of most queries not among them
    queries = vectors[rng.permutation(20_000)[:200]]
    similarity = index.search(queries, 10, within=allowed)[1]
    truth = brute_force(queries, vectors[allowed.positions], 10)[1]
    assert measure_recall(similarity, truth) >= 0.95, index.recall
    np.testing.assert_array_equal(similarity, index.search(queries, 10, within=allowed.mask)[1])


def test_a_graph_is_not_searched_under_a_filter(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 1_000, 32)
    index = build(vectors, IndexSpec(kind="hnsw", min_recall=0.5))
    assert index.kind == "hnsw"
    allowed = index.allow(np.arange(0, 1_000, 3))
    assert not index.is_approximate(allowed)
    assert index.is_approximate(None)
    found = index.search(vectors[:20], 10, within=allowed)[1]
    np.testing.assert_allclose(found, brute_force(vectors[:20], vectors[::3], 10)[1], atol=1e-6)


def test_an_index_comes_back_from_bytes_as_it_was(searcher: SearchIndex, vectors: FloatArray) -> None:
    again = SearchIndex.from_bytes(searcher.to_bytes(), vectors)
    assert (again.kind, again.recall, again.width, again.notes, again.n, again.dim) == (
        searcher.kind,
        searcher.recall,
        searcher.width,
        searcher.notes,
        4_000,
        64,
    )
    for mine, theirs in zip(again.search(vectors[:40], 5), searcher.search(vectors[:40], 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_asking_for_more_than_there_is_pads(searcher: SearchIndex, vectors: FloatArray) -> None:
    positions, _ = searcher.search(vectors[:2], 4_005)
    assert (positions[:, 4_000:] == -1).all()
    assert sorted(positions[0, :4_000].tolist()) == list(range(4_000))


def test_an_ivf_index_is_a_fraction_of_the_vectors(vectors: FloatArray) -> None:
    wide = normalise(np.random.default_rng(0).standard_normal((3_000, 384)).astype(np.float32))
    index = build(wide, IndexSpec(kind="ivf", min_recall=0.0))
    centres = 4 * int(4 * 3_000**0.5) * 384
    assert len(index.to_bytes()) - centres < 0.1 * wide.nbytes


def test_auto_is_flat_up_to_the_size_and_ivf_above(vectors: FloatArray) -> None:
    assert build(vectors[:1_000], IndexSpec(flat_up_to=1_000)).kind == "flat"
    assert build(vectors[:1_001], IndexSpec(flat_up_to=1_000, min_recall=0.5)).kind == "ivf"
    assert build(vectors[:1_001], IndexSpec(flat_up_to=1_000, min_recall=1.0)).kind == "flat"


def test_an_index_below_the_floor_is_widened_and_says_so(rng: np.random.Generator) -> None:
    shapeless = unit(rng, 3_000, 24)
    index = build(shapeless, IndexSpec(kind="ivf", min_recall=0.8))
    assert index.recall >= 0.8
    assert index.kind == "ivf"
    assert index.width > 16
    assert all("is below 0.800: widened" in note for note in index.notes)
    assert index.notes


def test_an_index_that_cannot_reach_the_floor_is_exact_and_says_so(rng: np.random.Generator) -> None:
    index = build(unit(rng, 1_200, 200), IndexSpec(kind="ivf", min_recall=0.9999))
    assert (index.kind, index.recall) == ("flat", 1.0)
    assert index.notes[-1] == "ivf did not reach the floor: the search is exact"


@pytest.mark.parametrize("n", [0, 1, 2, 30])
@pytest.mark.parametrize("kind", ["auto", "flat", "ivf", "hnsw"])
def test_an_index_over_hardly_anything_works(rng: np.random.Generator, n: int, kind: Any) -> None:
    few = unit(rng, 30)[:n]
    positions, _ = build(few, IndexSpec(kind=kind)).search(unit(rng, 3), 5)
    assert positions.shape == (3, 5)
    assert ((positions >= 0).sum(axis=1) == min(n, 5)).all()


@pytest.mark.usefixtures("without_faiss")
def test_without_faiss_an_index_is_exact_and_says_so(vectors: FloatArray) -> None:
    index = build(vectors, IndexSpec(kind="ivf"))
    assert (index.kind, index.recall) == ("flat", 1.0)
    assert index.notes == ("faiss is not installed: exact search instead of ivf",)


def test_without_faiss_a_stored_index_answers_exactly(vectors: FloatArray, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = build(vectors, IndexSpec(kind="ivf", min_recall=0.9)).to_bytes()
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = SearchIndex.from_bytes(stored, vectors)
    assert (index.kind, index.recall) == ("flat", 1.0)
    assert index.notes[-1] == "faiss is not installed here: the search is exact"


def test_an_index_over_other_vectors_is_refused(vectors: FloatArray) -> None:
    stored = build(vectors, IndexSpec(kind="flat")).to_bytes()
    with pytest.raises(BadEmbeddings, match="built over 4000 vectors of 64 numbers, there are 3999 of 64"):
        SearchIndex.from_bytes(stored, vectors[:-1])


def test_bytes_that_are_no_index_or_a_damaged_one_are_refused(vectors: FloatArray) -> None:
    stored = build(vectors, IndexSpec(kind="hnsw")).to_bytes()
    with pytest.raises(BadEmbeddings, match="7 bytes that are no search index"):
        SearchIndex.from_bytes(b"no such", vectors)
    with pytest.raises(BadEmbeddings, match="header of the search index is damaged"):
        SearchIndex.from_bytes(stored[:40], vectors)
    with pytest.raises(BadEmbeddings, match="another checksum"):
        SearchIndex.from_bytes(stored[:-100], vectors)


def test_the_header_of_a_stored_index_is_plain_json(vectors: FloatArray) -> None:
    stored = build(vectors, IndexSpec(kind="flat")).to_bytes()
    header = json.loads(stored[stored.index(b"{") :])
    assert header["kind"] == "flat"
    assert header["n"] == 4_000


def test_a_filter_that_does_not_fit_is_refused(vectors: FloatArray) -> None:
    index = build(vectors, IndexSpec(kind="flat"))
    with pytest.raises(UsageError, match=r"mask of shape \(3,\); expected \(4000,\)"):
        index.search(vectors[:1], 1, within=np.ones(3, np.bool_))
    with pytest.raises(UsageError, match="from -1 to 4000; expected positions 0 to 3999"):
        index.search(vectors[:1], 1, within=np.array([4_000, -1]))


def test_a_query_of_another_dimension_is_refused(searcher: SearchIndex, rng: np.random.Generator) -> None:
    with pytest.raises(BadEmbeddings, match="queries have 8 numbers, the vectors searched have 64"):
        searcher.search(unit(rng, 1, 8), 3)
