"""Growing a neighbour graph by new points: the append law, against the graph of the union."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray, Neighbors, Progress
from curator.errors import BadEmbeddings
from curator.index import IndexSpec, extend, extend_graph, graph, knn_graph, measure_recall, normalise, pair_similarity
from tests.vectors import clumps, unit, with_near_copies


def assert_same_up_to_ties(mine: Neighbors, theirs: Neighbors, vectors: FloatArray) -> None:
    np.testing.assert_allclose(mine.similarity, theirs.similarity, atol=1e-6)
    own, other = np.repeat(np.arange(len(vectors)), mine.k), mine.positions.ravel()
    real = other >= 0
    np.testing.assert_array_equal(real, theirs.positions.ravel() >= 0)
    expected = pair_similarity(vectors, own[real], other[real])
    np.testing.assert_allclose(mine.similarity.ravel()[real], expected, atol=1e-6)
    assert not (mine.positions == np.arange(len(vectors))[:, None]).any()
    for row in mine.positions.tolist():
        found = [p for p in row if p >= 0]
        assert len(set(found)) == len(found)


# --- growing a graph ----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 60),
    share_old=st.floats(0, 1),
    k=st.integers(1, 8),
    levels=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_extended_graph_is_the_graph_of_the_union(n: int, share_old: float, k: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng, levels)[rng.integers(levels, size=n)]  # few distinct ones: many ties and copies
    old = knn_graph(vectors[: round(share_old * n)], k)
    grown = extend_graph(old, vectors)
    assert grown.recall == 1.0
    assert_same_up_to_ties(grown, knn_graph(vectors, k), vectors)


def test_without_ties_an_extended_graph_is_the_same_in_every_place(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extend, "BLOCK", 37)  # many block borders
    vectors = with_near_copies(rng, 700)
    union = knn_graph(vectors, 9)
    for n_old in (5, 350, 699):  # 5: fewer than k + 1, so that the old one is padded
        grown = extend_graph(knn_graph(vectors[:n_old], 9), vectors)
        np.testing.assert_array_equal(grown.positions, union.positions)


def test_growing_in_steps_gives_what_growing_at_once_gives(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 600)
    step_by_step = knn_graph(vectors[:100], 7)
    for n in (101, 300, 600):
        step_by_step = extend_graph(step_by_step, vectors[:n])
    np.testing.assert_array_equal(step_by_step.positions, extend_graph(knn_graph(vectors[:100], 7), vectors).positions)


def test_an_extended_graph_is_the_same_for_any_threads(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 3_000)
    old = knn_graph(vectors[:2_500], 5)
    one, two = (extend_graph(old, vectors, spec=IndexSpec(threads=t)) for t in (1, 2))
    np.testing.assert_array_equal(one.positions, two.positions)


def test_an_old_neighbour_stays_before_an_equally_similar_new_one(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 40, axis=0)
    old = knn_graph(vectors[:20], 4)
    grown = extend_graph(old, vectors)
    np.testing.assert_allclose(grown.similarity, 1.0, atol=1e-6)
    assert (grown.positions[:20] < 20).all()


def test_thousands_of_copies_appended_need_little_memory(rng: np.random.Generator) -> None:
    copies = np.repeat(unit(rng, 1), 10_000, axis=0)
    grown = extend_graph(knn_graph(unit(rng, 30), 5), np.vstack([unit(rng, 30), copies]))
    np.testing.assert_allclose(grown.similarity[30:], 1.0, atol=1e-6)
    assert not (grown.positions == np.arange(10_030)[:, None]).any()


def test_extending_changes_neither_graph_nor_vectors(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 300)
    old = knn_graph(vectors[:200], 6)
    before = (old.positions.copy(), old.similarity.copy(), vectors.copy())
    extend_graph(old, vectors)
    for kept, now in zip(before, (old.positions, old.similarity, vectors), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_nothing_new_gives_the_old_graph(rng: np.random.Generator) -> None:
    vectors = unit(rng, 20)
    old = knn_graph(vectors, 3)
    assert extend_graph(old, vectors) is old


def test_fewer_vectors_than_points_are_refused(rng: np.random.Generator) -> None:
    vectors = unit(rng, 20)
    with pytest.raises(BadEmbeddings, match="the graph has 20 points and there are 19 vectors"):
        extend_graph(knn_graph(vectors, 3), vectors[:19])


def test_an_approximate_graph_grows_and_its_recall_is_measured_again(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 4_000)
    spec = IndexSpec(flat_up_to=1_000, min_recall=0.9, sample=300)
    old = knn_graph(vectors[:3_800], 10, spec)
    grown = extend_graph(old, vectors, spec=spec)
    actual = measure_recall(grown.similarity, knn_graph(vectors, 10).similarity)
    assert 0.9 <= grown.recall < 1.0
    assert actual == pytest.approx(grown.recall, abs=0.03)
    new = grown.positions[3_800:]
    np.testing.assert_array_equal(new, knn_graph(vectors, 10).positions[3_800:])  # the new ones saw everybody


def test_a_poor_graph_is_made_anew_where_growing_cannot_reach_the_floor(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 2_000)
    spec = IndexSpec(flat_up_to=100, min_recall=0.95)
    strangers = (np.arange(1_990)[:, None] + np.arange(1, 7)) % 1_990  # anybody but neighbours
    own = np.repeat(np.arange(1_990), 6)
    similarity = -np.sort(-pair_similarity(vectors, own, strangers.ravel()).reshape(-1, 6), axis=1)
    grown = extend_graph(Neighbors(strangers, similarity, recall=0.95), vectors, spec=spec)
    assert grown.recall >= 0.95
    assert measure_recall(grown.similarity, knn_graph(vectors, 6).similarity) >= 0.93


@pytest.mark.parametrize(("said", "is_anew"), [([0.96], False), ([0.94, 0.97], False), ([0.94, 0.94], True)])
def test_a_recall_below_the_floor_counts_once_a_larger_sample_says_so(
    rng: np.random.Generator, said: list[float], is_anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clumps(rng, 2_000)
    spec = IndexSpec(flat_up_to=100, min_recall=0.95, sample=50)
    old = knn_graph(vectors[:1_990], 6, spec)
    sizes: list[int] = []
    made: list[int] = []

    def measured(similarity: FloatArray, vectors: FloatArray, spec: IndexSpec, size: int) -> float:
        sizes.append(size)
        return said[len(sizes) - 1]

    def anew(vectors: FloatArray, k: int, spec: IndexSpec, **_: object) -> Neighbors:
        made.append(len(vectors))
        return knn_graph(vectors, k, spec)

    monkeypatch.setattr(extend, "_recall", measured)
    monkeypatch.setattr(extend, "knn_graph", anew)
    grown = extend_graph(Neighbors(old.positions, old.similarity, 0.97), vectors, spec=spec)
    assert sizes == [50, 200][: len(said)]
    assert made == [2_000] * is_anew
    assert is_anew or grown.recall == said[-1]


@pytest.mark.parametrize(("n_old", "recall"), [(1_900, 0.97), (300, 1.0)])
def test_where_most_is_new_and_the_set_large_the_graph_is_made_anew(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, n_old: int, recall: float
) -> None:
    made: list[int] = []

    def make(vectors: FloatArray, k: int, spec: IndexSpec, *, progress: Progress) -> Neighbors:
        made.append(len(vectors))
        return graph.knn_graph(vectors, k, spec, progress=progress)

    monkeypatch.setattr(extend, "ANEW", 2.0)
    monkeypatch.setattr(extend, "knn_graph", make)
    vectors = clumps(rng, 2_000)
    old = knn_graph(vectors[:n_old], 6)
    extend_graph(Neighbors(old.positions, old.similarity, recall), vectors, spec=IndexSpec(flat_up_to=1_000))
    assert made == [2_000]
    made.clear()
    grown = extend_graph(old, vectors, spec=IndexSpec(flat_up_to=1_000, min_recall=1.0))
    assert made == []
    assert grown.recall == 1.0


def test_vectors_that_are_not_of_length_one_are_refused_when_growing(rng: np.random.Generator) -> None:
    vectors = unit(rng, 10)
    old = knn_graph(normalise(vectors[:5]), 2)
    with pytest.raises(BadEmbeddings, match="vector 7 of 10 has length 2; expected 1"):
        extend_graph(old, vectors * np.where(np.arange(10) == 7, 2, 1)[:, None].astype(np.float32))
