"""Unit length, exact search by every backend, recall, threads and devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray
from curator.errors import BadEmbeddings, UsageError
from curator.index import (
    IndexSpec,
    PairJoin,
    best,
    build,
    exact,
    exact_search,
    knn_graph,
    measure_recall,
    normalise,
    spec,
)
from tests.vectors import brute_force, unit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # makes `import faiss` fail as if it were not installed


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that small inputs cross many block borders."""
    monkeypatch.setattr(exact, "BLOCK", 37)
    monkeypatch.setattr(exact, "QUERY_CHUNK", 50)
    monkeypatch.setattr(exact, "GPU_BLOCK", 41)


# --- unit length --------------------------------------------------------------------------------


def test_normalise_gives_length_one_and_leaves_its_argument_alone(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((50, 8)).astype(np.float32) * np.float32(1e20)
    before = vectors.copy()
    np.testing.assert_allclose(np.linalg.norm(normalise(vectors), axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "zero")])
def test_normalise_names_the_first_vector_without_a_direction(bad: float, what: str) -> None:
    vectors = np.ones((4, 3), np.float32)
    vectors[2:] = bad
    with pytest.raises(BadEmbeddings, match=f"vector 2 of 4 is {what}"):
        normalise(vectors)


def test_a_vector_of_another_length_than_one_is_refused_with_its_length() -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors[1] *= 2
    for refuses in (lambda: knn_graph(vectors, 1), lambda: build(vectors)):
        with pytest.raises(BadEmbeddings, match="vector 1 of 3 has length 2; expected 1"):
            refuses()


def test_vectors_with_another_number_of_axes_are_refused() -> None:
    with pytest.raises(BadEmbeddings, match=r"shape \(3,\); expected \(n, d\)"):
        normalise(np.ones(3, np.float32))


# --- exact search -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 90, 200])
def test_exact_search_finds_what_brute_force_finds(rng: np.random.Generator, k: int) -> None:
    queries, vectors = unit(rng, 60), unit(rng, 200)
    positions, similarity = exact_search(queries, vectors, k)
    expected, expected_similarity = brute_force(queries, vectors, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(similarity, expected_similarity, atol=1e-6)


@pytest.mark.parametrize("k", [1, 5, 90, 200])
@pytest.mark.usefixtures("small_blocks")
def test_numpy_and_torch_find_what_brute_force_finds_across_blocks(rng: np.random.Generator, k: int) -> None:
    queries, vectors = unit(rng, 60), unit(rng, 200)
    expected, expected_similarity = brute_force(queries, vectors, k)
    for positions, similarity in (
        exact.search_numpy(queries, vectors, k),
        best.in_order(*exact.search_torch(queries, vectors, k, device="cpu")),
    ):
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(similarity, expected_similarity, atol=1e-6)


@pytest.mark.usefixtures("small_blocks", "without_faiss")
def test_without_faiss_exact_search_gives_the_same(rng: np.random.Generator) -> None:
    queries, vectors = unit(rng, 120), unit(rng, 300)
    positions, _ = exact_search(queries, vectors, 7)
    np.testing.assert_array_equal(positions, brute_force(queries, vectors, 7)[0])


@pytest.mark.usefixtures("small_blocks")
def test_numpy_breaks_ties_by_the_lowest_position(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 10), 20, axis=0)  # 20 copies of each
    positions, _ = exact.search_numpy(vectors[::20], vectors, 8)
    np.testing.assert_array_equal(positions, np.arange(10)[:, None] * 20 + np.arange(8))


def test_equal_similarities_stand_by_position(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 3), 4, axis=0)
    positions, _ = exact_search(vectors[:1], vectors, 12)
    assert positions[0, :4].tolist() == [0, 1, 2, 3]
    assert (np.diff(positions[0, 4:8]) > 0).all()


def test_where_k_exceeds_the_vectors_the_rest_is_padded(rng: np.random.Generator) -> None:
    positions, similarity = exact_search(unit(rng, 2), unit(rng, 3), 5)
    assert (positions[:, 3:] == -1).all()
    assert (similarity[:, 3:] == -1).all()
    assert (positions[:, :3] >= 0).all()


@pytest.mark.parametrize(("m", "n"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_search_gives_padding_of_the_right_shape(m: int, n: int) -> None:
    positions, similarity = exact_search(np.zeros((m, 4), np.float32), np.zeros((n, 4), np.float32), 3)
    assert positions.shape == similarity.shape == (m, 3)
    assert (positions == -1).all()


def test_exact_search_takes_arrays_that_cannot_be_written(rng: np.random.Generator) -> None:
    vectors = unit(rng, 30)
    vectors.flags.writeable = False
    expected = brute_force(vectors, vectors, 3)[0]
    np.testing.assert_array_equal(exact_search(vectors, vectors, 3)[0], expected)
    np.testing.assert_array_equal(best.in_order(*exact.search_torch(vectors, vectors, 3, device="cpu"))[0], expected)


def test_queries_of_another_dimension_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadEmbeddings, match="queries have 4 numbers, the vectors searched have 8"):
        exact_search(unit(rng, 2, 4), unit(rng, 2, 8), 1)


def test_fewer_than_one_neighbour_is_refused(rng: np.random.Generator) -> None:
    vectors = unit(rng, 5)
    for refuses in (
        lambda: exact_search(vectors, vectors, 0),
        lambda: knn_graph(vectors, 0),
        lambda: build(vectors).search(vectors, 0),
    ):
        with pytest.raises(UsageError, match="k is 0"):
            refuses()


def test_progress_ends_at_the_number_of_queries(rng: np.random.Generator) -> None:
    seen: list[tuple[str, int, int | None]] = []
    exact_search(unit(rng, 12), unit(rng, 9), 2, progress=lambda *step: seen.append(step))
    assert seen == [("search", 12, 12)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n_rows=st.integers(1, 5),
    n_columns=st.integers(1, 400),
    k=st.integers(1, 20),
    levels=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_top_k_is_a_stable_sort_cut_at_k(n_rows: int, n_columns: int, k: int, levels: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(levels, size=(n_rows, n_columns)).astype(np.float32)  # many ties
    k = min(k, n_columns)
    columns, values = best.top_k(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))


# --- recall -------------------------------------------------------------------------------------


def test_recall_is_the_share_of_true_neighbours_found() -> None:
    truth = np.array([[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.6]], np.float32)
    found = np.array([[0.9, 0.8, 0.5, 0.4], [0.9, 0.8, 0.7, 0.6]], np.float32)
    assert measure_recall(found, truth) == pytest.approx(6 / 8)


def test_recall_counts_any_of_equal_copies_as_found() -> None:
    truth = np.full((1, 3), 0.9, np.float32)
    assert measure_recall(truth.copy(), truth) == 1.0


def test_recall_ignores_padding_and_is_one_where_nothing_exists() -> None:
    truth = np.array([[0.9, -1.0]], np.float32)
    assert measure_recall(np.array([[0.9, -1.0]], np.float32), truth) == 1.0
    assert measure_recall(np.full((2, 3), -1, np.float32), np.full((2, 3), -1, np.float32)) == 1.0


# --- threads and devices ------------------------------------------------------------------------


def test_threads_are_restored_after_a_search(rng: np.random.Generator) -> None:
    import faiss
    from threadpoolctl import threadpool_info

    vectors = unit(rng, 40)
    faiss.omp_set_num_threads(2)
    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    exact_search(vectors, vectors, 3, threads=1)
    knn_graph(vectors, 3, IndexSpec(threads=1))
    build(vectors, IndexSpec(kind="hnsw", threads=1)).search(vectors[:1], 3)
    PairJoin(vectors, 0.9, threads=1).within(np.arange(40))
    assert faiss.omp_get_max_threads() == 2
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before


def test_threads_are_restored_after_a_failure() -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    with pytest.raises(ZeroDivisionError), spec.limited_threads(before + 1):
        raise ZeroDivisionError
    assert faiss.omp_get_max_threads() == before


def test_tasks_in_threads_answer_in_order_and_stop_when_nobody_asks() -> None:
    started = []

    def task(i: int) -> int:
        started.append(i)
        return i * i

    assert list(spec.in_threads(task, range(100), threads=3)) == [i * i for i in range(100)]
    started.clear()
    answers = spec.in_threads(task, range(100), threads=2)
    assert next(answers) == 0
    answers.close()
    assert len(started) < 10


def test_cuda_that_nobody_sees_is_refused(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "torch_sees_cuda", lambda: False)
    with pytest.raises(UsageError, match="device 'cuda' was asked for"):
        exact_search(unit(rng, 2), unit(rng, 2), 1, device="cuda")


@pytest.mark.parametrize(
    ("device", "n_products", "expected"),
    [("auto", 1e12, "torch"), ("cuda", 1.0, "torch"), ("auto", 1e6, "faiss"), ("cpu", 1e12, "faiss")],
)
def test_torch_searches_where_it_sees_cuda_and_the_work_pays(
    monkeypatch: pytest.MonkeyPatch, device: Any, n_products: float, expected: str
) -> None:
    monkeypatch.setattr(exact, "torch_sees_cuda", lambda: True)
    assert exact.choose_backend(device, n_products=n_products) == expected


def test_faiss_searches_on_the_gpu_where_it_can(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    asked = []

    def knn_gpu(resources: str, queries: FloatArray, vectors: FloatArray, k: int, *, metric: int) -> Any:
        asked.append((resources, k))
        return faiss.knn(queries, vectors, k, metric=metric)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
    queries, vectors = unit(rng, 4), unit(rng, 30)
    positions, _ = exact_search(queries, vectors, 3, device="cuda")
    np.testing.assert_array_equal(positions, brute_force(queries, vectors, 3)[0])
    assert asked == [("resources", 3)]


def test_importing_the_module_imports_no_heavy_package() -> None:
    code = "import sys, curator.index, curator.neardups; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"faiss", "torch", "scipy", "sklearn", "threadpoolctl", "pydantic", "pyarrow"}
    assert not heavy & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"min_recall": 1.5}, "min_recall is 1.5"), ({"sample": 0}, "sample is 0"), ({"threads": 0}, "threads is 0")],
)
def test_a_spec_outside_its_range_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        IndexSpec(**wrong)
