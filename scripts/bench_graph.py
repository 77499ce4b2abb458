"""The kNN graph of a whole set beside the peers, and search for single queries; one table each, one run.

    python scripts/bench_graph.py --n 100000 --dim 384 --k 32
    python scripts/bench_graph.py --n 1000000 --only curator --only flat --only ivf --only hnswlib
    python scripts/bench_graph.py --only search

Times are CPU seconds (one thread unless told), which a busy machine disturbs least; what includes
building an index says how much of it that was. Methods that answer row by row are asked for
`--plain-rows` rows, scaled to all, and say so. Recall is measured on those rows for everybody,
from exact similarities. Loading and compiling libraries is not counted. Each method runs in a
fresh process: its peak memory is its own. Peers that are not installed are named and passed over
(`pip install 'curator[bench]'`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _parts import peak_mb, processor, readable
from _synthetic import clustered

from curator.data import FloatArray, IntArray
from curator.index import (
    IndexSpec,
    build,
    exact_search,
    extend_graph,
    knn_graph,
    measure_recall,
    pair_similarity,
    rough,
)
from curator.index.graph import without_self
from curator.index.spec import limited_threads

GOOD = 0.95  # recall from which a peer's fastest setting is compared
ALIKE = 0.01  # recalls this close count as the same


@dataclass(frozen=True, slots=True)
class Result:
    """What one setting of one method gave."""

    method: str
    cpu_s: float  # of the whole graph
    recall: float
    build_s: float = 0.0  # of which once, before the first answer
    is_scaled: bool = False  # timed on part of the rows
    note: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """The vectors, the rows whose true neighbours are known, and what is asked."""

    vectors: FloatArray  # (n, d)
    rows: IntArray  # (m,)
    truth: FloatArray  # (m, k) similarity of the true neighbours
    k: int
    threads: int
    floors: tuple[float, ...]  # recalls that ours is asked for

    def recall(self, positions: IntArray) -> float:
        """Of what was found for `rows`, (m, k)."""
        own = np.repeat(self.rows, positions.shape[1])
        exact = pair_similarity(self.vectors, own, np.maximum(positions, 0).ravel()).reshape(positions.shape)
        return measure_recall(np.where(positions < 0, -1.0, exact).astype(np.float32), self.truth)

    def asked(self, method: str, search: Callable[[FloatArray, int], Any], *, build_s: float, note: str) -> Result:
        """The result of a method that answers `rows` one batch at a time."""
        with stopwatch() as took:
            found = np.asarray(search(self.vectors[self.rows], self.k + 1)).astype(np.int64)
        positions, _ = without_self(found, np.zeros(found.shape, np.float32), self.rows)
        cpu_s = build_s + took["cpu_s"] * len(self.vectors) / len(self.rows)
        return Result(method, cpu_s, self.recall(positions), build_s, len(self.rows) < len(self.vectors), note)


def bench_curator(task: Task) -> Iterator[Result]:
    rough.is_fast()  # loads torch and tries it, before the clock starts
    for floor in task.floors:
        spec = IndexSpec(flat_up_to=0, threads=task.threads, min_recall=floor)
        with stopwatch() as took:
            graph = knn_graph(task.vectors, task.k, spec)
        note = f"asked for {floor}, says {graph.recall:.3f}"
        yield Result("curator knn_graph", took["cpu_s"], task.recall(graph.positions[task.rows]), note=note)


def bench_exact(task: Task) -> Iterator[Result]:
    def search(queries: FloatArray, k: int) -> IntArray:
        return exact_search(queries, task.vectors, k, threads=task.threads, device="cpu")[0]

    rough.is_fast()
    yield task.asked("curator exact_search", search, build_s=0.0, note="exact")


def bench_extend(task: Task) -> Iterator[Result]:
    """A hundredth more points into a graph there is."""
    n_old = len(task.vectors) * 100 // 101
    spec = IndexSpec(flat_up_to=0, threads=task.threads)
    old = knn_graph(task.vectors[:n_old], task.k, spec)
    with stopwatch() as took:
        graph = extend_graph(old, task.vectors, spec=spec)
    note = f"{len(task.vectors) - n_old:,} points more, the graph before not counted"
    yield Result("curator extend_graph", took["cpu_s"], task.recall(graph.positions[task.rows]), note=note)


def bench_flat(task: Task) -> Iterator[Result]:
    import faiss

    index = faiss.IndexFlatIP(task.vectors.shape[1])
    index.add(task.vectors)
    yield task.asked("faiss flat", lambda q, k: index.search(q, k)[1], build_s=0.0, note="exact")


def bench_ivf(task: Task) -> Iterator[Result]:
    import faiss

    n, d = task.vectors.shape
    index = faiss.index_factory(d, f"IVF{int(2 * n**0.5)},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 8, 64, 1
    with stopwatch() as took:
        index.train(task.vectors)
        index.add(task.vectors)
    for index.nprobe in (4, 8, 16, 32):
        note = f"nprobe {index.nprobe}"
        yield task.asked("faiss IVF", lambda q, k: index.search(q, k)[1], build_s=took["cpu_s"], note=note)


def bench_hnswlib(task: Task) -> Iterator[Result]:
    import hnswlib

    index = hnswlib.Index("ip", task.vectors.shape[1])
    index.init_index(len(task.vectors), M=16, ef_construction=80)
    with stopwatch() as took:
        index.add_items(task.vectors, num_threads=task.threads)
    for ef in (64, 128):
        index.set_ef(ef)
        note = f"M 16, ef 80 to build, {ef} to search"

        def search(queries: FloatArray, k: int) -> Any:
            return index.knn_query(queries, k, num_threads=task.threads)[0]

        yield task.asked("hnswlib", search, build_s=took["cpu_s"], note=note)


def bench_usearch(task: Task) -> Iterator[Result]:
    from usearch.index import Index

    index = Index(
        ndim=task.vectors.shape[1], metric="ip", dtype="bf16", connectivity=16, expansion_add=80, expansion_search=64
    )
    with stopwatch() as took:
        index.add(np.arange(len(task.vectors)), task.vectors, threads=task.threads)

    def search(queries: FloatArray, k: int) -> Any:
        return index.search(queries, k, threads=task.threads).keys

    yield task.asked("usearch", search, build_s=took["cpu_s"], note="bf16, 16 links, 80 to build, 64 to search")


def bench_pynndescent(task: Task) -> Iterator[Result]:
    import pynndescent

    def graph(vectors: FloatArray) -> Any:
        made = pynndescent.NNDescent(
            vectors, metric="dot", n_neighbors=task.k + 1, n_jobs=task.threads, low_memory=True, random_state=0
        )
        return made.neighbor_graph[0]

    graph(task.vectors[:2_000])  # compiled before the clock starts
    with stopwatch() as took:
        found = graph(task.vectors)[task.rows].astype(np.int64)
    positions, _ = without_self(found, np.zeros(found.shape, np.float32), task.rows)
    yield Result("pynndescent", took["cpu_s"], task.recall(positions))


METHODS: dict[str, Callable[[Task], Iterator[Result]]] = {
    "flat": bench_flat,
    "curator": bench_curator,
    "exact": bench_exact,
    "extend": bench_extend,
    "ivf": bench_ivf,
    "hnswlib": bench_hnswlib,
    "usearch": bench_usearch,
    "pynndescent": bench_pynndescent,
}


def run_method(name: str, folder: Path, options: argparse.Namespace) -> tuple[list[Result], float] | str:
    """Results and peak memory of one method, in this process; or which package is missing."""
    known = np.load(folder / "truth.npz")
    task = Task(
        np.load(folder / "vectors.npy"),
        known["rows"],
        known["truth"],
        options.k,
        options.threads,
        tuple(options.floors),
    )
    with limited_threads(options.threads):
        try:
            results = []
            for result in METHODS[name](task):
                print(f"  {result.method}: {result.cpu_s:.1f} s, recall {result.recall:.4f}  {result.note}", flush=True)
                results.append(result)
            return results, peak_mb()
        except ModuleNotFoundError as error:
            return f"{error.name} is not installed"


def find_truth(folder: Path, options: argparse.Namespace) -> None:
    """Exact neighbours of some rows, by brute force."""
    vectors = np.load(folder / "vectors.npy")
    rows = np.sort(np.random.default_rng(options.seed + 1).permutation(len(vectors))[: options.plain_rows])
    near = exact_search(vectors[rows], vectors, options.k + 1, device="cpu")
    np.savez(folder / "truth.npz", rows=rows, truth=without_self(*near, rows)[1])


def show_graphs(results: list[tuple[Result, float]]) -> None:
    flat = next((r.cpu_s for r, _ in results if r.method == "faiss flat"), float("nan"))
    print(
        f"{'method':22s} {'CPU s':>9s} {'of it to build':>14s} {'recall':>7s} {'x flat':>7s} {'peak MB':>8s}  setting"
    )
    for r, peak in results:
        scaled = "~" if r.is_scaled else " "
        numbers = f"{scaled}{r.cpu_s:8.1f} {r.build_s:14.1f} {r.recall:7.4f} {flat / r.cpu_s:7.1f} {peak:8.0f}"
        print(f"{r.method:22s} {numbers}  {r.note}")
    print("~ timed on part of the rows and scaled")
    ours = sorted((r for r, _ in results if r.method == "curator knn_graph"), key=lambda r: r.recall)
    good = [r for r, _ in results if r.recall >= GOOD and not r.method.startswith("curator")]
    for peer in sorted({r.method for r in good} if ours else ()):
        other = min((r for r in good if r.method == peer), key=lambda r: r.cpu_s)
        mine = next((r for r in ours if r.recall >= other.recall - ALIKE), ours[-1])
        ratio = other.cpu_s / mine.cpu_s
        print(f"curator at recall {mine.recall:.3f} is {ratio:.1f} x as fast as {peer} at {other.recall:.3f}")


def bench_search(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Single queries on the built index and on exact search, alone and beside two spinning processes."""
    vectors = np.load(folder / "vectors.npy")
    rng = np.random.default_rng(options.seed + 2)
    near = vectors[rng.integers(len(vectors), size=500)]
    queries = near + 0.3 * rng.standard_normal(near.shape).astype(np.float32) / near.shape[1] ** 0.5
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    spec = IndexSpec(kind="ivf", min_recall=0.97, threads=options.threads)
    with stopwatch() as building:
        index = build(vectors, spec)
    flat = build(vectors, IndexSpec(kind="flat", threads=options.threads))
    some = rng.choice(len(vectors), len(vectors) // 2, replace=False)
    figures: dict[str, Any] = {
        "index": f"{index.kind}, {index.width} lists a query, build {building['cpu_s']:.1f} CPU s",
        "recall@10": measure_recall(index.search(queries, 10)[1], exact_search(queries, vectors, 10)[1]),
        "stated recall": index.recall,
        "bytes per vector, share of float32": [
            len(index.to_bytes()) / len(vectors),
            len(index.to_bytes()) / vectors.nbytes,
        ],
        "one by one, CPU p50 / p99 ms": cpu_ms(lambda q: index.search(q, 10), queries),
        "flat one by one, CPU p50 / p99 ms": cpu_ms(lambda q: flat.search(q, 10), queries[:100]),
        "half allowed, CPU p50 / p99 ms": cpu_ms(lambda q: index.search(q, 10, within=some), queries[:100]),
        "wall p50 / p99 ms": wall_ms(lambda q: index.search(q, 10), queries),
    }
    spinning = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(2)]
    for process in spinning:
        process.start()
    time.sleep(3)
    figures["wall p50 / p99 ms beside two spinning processes"] = wall_ms(lambda q: index.search(q, 10), queries)
    for process in spinning:
        process.terminate()
    per_query = [figures[f"{who}one by one, CPU p50 / p99 ms"][0] for who in ("flat ", "")]
    return {**figures, "queries per CPU second, x flat": per_query[0] / per_query[1], "peak MB": peak_mb()}


def spin() -> None:
    while True:
        pass


def cpu_ms(search: Callable[[FloatArray], object], queries: FloatArray) -> list[float]:
    """50th and 99th percentile of one query at a time, processor time."""
    return _percentiles(search, queries, time.process_time)


def wall_ms(search: Callable[[FloatArray], object], queries: FloatArray) -> list[float]:
    """50th and 99th percentile of one query at a time, as a user waits."""
    return _percentiles(search, queries, time.perf_counter)


def _percentiles(
    search: Callable[[FloatArray], object], queries: FloatArray, clock: Callable[[], float]
) -> list[float]:
    took = []
    search(queries[:1])
    for i in range(len(queries)):
        start = clock()
        search(queries[i : i + 1])
        took.append(1e3 * (clock() - start))
    return [float(np.percentile(took, q)) for q in (50, 99)]


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    took: dict[str, float] = {}
    start = time.process_time()
    yield took
    took["cpu_s"] = time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--floors", type=float, nargs="+", default=[0.95, 0.98, 0.99], help="recalls that ours is asked for"
    )
    parser.add_argument("--plain-rows", type=int, default=4_096, help="rows on which answers are timed and checked")
    parser.add_argument("--only", choices=[*METHODS, "search"], action="append")
    options = parser.parse_args()
    options.plain_rows = min(options.plain_rows, options.n)
    print(f"{processor()}; {options.n:,} x {options.dim} synthetic vectors, {options.threads} thread(s), k {options.k}")
    asked = options.only or [*METHODS, "search"]
    results: list[tuple[Result, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", clustered(options.n, options.dim, seed=options.seed))
        fresh(find_truth, folder, options)
        for method in asked:
            if method == "search":
                continue
            found = fresh(run_method, method, folder, options)
            if isinstance(found, str):
                print(f"{method}: {found}")
            else:
                results += [(result, found[1]) for result in found[0]]
        if results:
            show_graphs(results)
        if "search" in asked:
            print("\nsearch")
            for label, value in fresh(bench_search, folder, options).items():
                print(f"  {label:52s} {readable(value)}")


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's answer, from a process of its own that may start others."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
