"""k-center, facility location and the coverage curve beside the plain way, in one run.

    python scripts/bench_select.py --n 100000 --dim 384 --budget 1000

Times are CPU seconds (one thread unless told), which a busy machine disturbs least; each of ours is
the best of `--repeat`. The plain k-center is one GEMV per pick; it makes every pick, or the first
`--plain-picks` and is scaled, and says so. The plain facility location measures every gain for every pick.
Each part runs in a fresh process: its peak memory is its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import evidence
from curator.data import FloatArray, IntArray, Neighbors
from curator.index import IndexSpec, knn_graph
from curator.index.spec import limited_threads
from curator.selection import best_similarity, facility_location, k_center

T = TypeVar("T")


def bench_k_center(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Lazy blocks against one product with all vectors per pick: time, picks and radius."""
    ours, picks = best_of(options.repeat, lambda: k_center(vectors, options.budget, device="cpu"))
    extra_mb = peak_mb() - vectors.nbytes / 2**20 - options.base_mb
    n_plain = min(options.plain_picks, options.budget)
    with stopwatch() as plain:
        loop = gemv_loop(vectors, n_plain, first=int(picks.positions[0]))
    gflops = gemm_gflops(vectors)
    gemm_s = 2.0 * vectors.size * options.budget / gflops / 1e9
    scaled = plain["cpu_s"] * options.budget / n_plain
    radius = [float(1.0 - best_similarity(vectors, vectors[p]).min()) for p in (picks.positions[:n_plain], loop)]
    return {
        "k_center cpu_s": ours,
        f"GEMV loop cpu_s ({n_plain} of {options.budget} picks timed)": scaled,
        "speed-up": scaled / ours,
        f"same picks among {n_plain}": float(np.mean(picks.positions[:n_plain] == loop)),
        f"radius after {n_plain} picks, ours and loop": radius,
        "sgemm GFLOP/s": gflops,
        "time / (2 n k d at that rate)": ours / gemm_s,
        "memory beside the vectors MB": extra_mb,
    }


def bench_facility(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Sparse facility location against naive greedy on the same graph, and against random picks."""
    with stopwatch() as graphing:
        graph = knn_graph(vectors, options.k, IndexSpec(threads=options.threads))
    ours, picks = best_of(
        options.repeat,
        lambda: facility_location(vectors, options.budget, neighbors=graph, dense_up_to=len(vectors) // 2),
    )
    extra_mb = peak_mb() - vectors.nbytes / 2**20 - options.base_mb
    n_plain = min(options.plain_gains, options.budget)
    with stopwatch() as plain:
        loop = naive_sparse(graph, n_plain)
    drawn = np.random.default_rng(options.seed).choice(len(vectors), options.budget, replace=False)
    return {
        f"graph of {options.k} cpu_s": graphing["cpu_s"],
        "facility_location cpu_s": ours,
        "share of the graph's time": ours / graphing["cpu_s"],
        f"naive greedy cpu_s ({n_plain} of {options.budget} picks timed)": plain["cpu_s"] * options.budget / n_plain,
        "speed-up": plain["cpu_s"] * options.budget / n_plain / ours,
        f"mean similarity, ours and naive, {n_plain} picks": [
            mean_similarity(vectors, found) for found in (picks.positions[:n_plain], loop)
        ],
        f"mean similarity, ours and random, {options.budget} picks": [
            mean_similarity(vectors, found) for found in (picks.positions, drawn)
        ],
        "peak beside the vectors MB": extra_mb,
    }


def bench_exact(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """On part of the points, where all similarities fit: lazy against naive greedy, and the graph against both."""
    some = vectors[: options.exact]
    figures: Figures = {"points": len(some)}
    graph = knn_graph(some, 128, IndexSpec(threads=options.threads))
    for share in (0.01, 0.1):
        budget = max(1, int(share * len(some)))
        exact = partial(facility_location, some, budget, dense_up_to=len(some))
        lazy_s, dense = best_of(options.repeat, exact)
        n_plain = min(options.plain_gains, budget)
        with stopwatch() as plain:
            naive = naive_dense(some, n_plain)
        scaled = plain["cpu_s"] * budget / n_plain
        figures[f"{budget} picks: lazy cpu_s"] = lazy_s
        figures[f"{budget} picks: naive cpu_s ({n_plain} timed)"] = scaled
        figures[f"{budget} picks: speed-up"] = scaled / lazy_s
        figures[f"{budget} picks: same picks among {n_plain}"] = float(np.mean(dense.positions[:n_plain] == naive))
        for k in (16, 32, 128):
            part = Neighbors(graph.positions[:, :k], graph.similarity[:, :k], 1.0)
            sparse = facility_location(some, budget, neighbors=part, dense_up_to=len(some) // 4).positions
            reached = [mean_similarity(some, found) for found in (sparse, dense.positions)]
            figures[f"{budget} picks: value of a graph of {k} / exact"] = reached[0] / reached[1]
    return figures


def bench_evidence(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The coverage curve of as many picks, with 20 random draws."""
    ordering = np.random.default_rng(1).permutation(len(vectors))[: options.budget]
    with stopwatch() as took:
        curve = evidence.coverage_curve(vectors, ordering, rng=np.random.default_rng(0), threshold=0.9)
    whole = evidence.coverage(vectors, ordering)
    return {
        "curve cpu_s": took["cpu_s"],
        "points measured": curve.n_points,
        "mean similarity, sample and all": [float(curve.mean_similarity.selected[-1]), whole.mean_similarity],
        "peak beside the vectors MB": peak_mb() - vectors.nbytes / 2**20 - options.base_mb,
    }


def gemv_loop(vectors: FloatArray, budget: int, *, first: int) -> IntArray:
    """The textbook k-center: one product with all vectors and one argmin per pick."""
    best = np.full(len(vectors), -2.0, np.float32)
    picks, j = [], first
    for _ in range(budget):
        picks.append(j)
        np.maximum(best, vectors @ vectors[j], out=best)
        j = int(best.argmin())
    return np.array(picks)


def naive_sparse(graph: Neighbors, budget: int) -> IntArray:
    """Greedy facility location along the graph that measures every gain for every pick."""
    n, k = graph.positions.shape
    one, other = np.repeat(np.arange(n), k), graph.positions.ravel()
    there = other >= 0
    key = np.concatenate([other[there] * n + one[there], one[there] * n + other[there], np.arange(n) * (n + 1)])
    value = np.concatenate([graph.similarity.ravel()[there]] * 2 + [np.ones(n, np.float32)])
    key, first = np.unique(key, return_index=True)
    value = np.maximum(value[first], 0.0)
    coverer, point = np.divmod(key, n)
    starts = np.searchsorted(coverer, np.arange(n + 1))
    best, picks = np.zeros(n, np.float32), list[int]()
    for _ in range(budget):
        gains = np.add.reduceat(np.maximum(value - best[point], 0.0), starts[:-1])
        gains[picks] = -1.0
        j = int(gains.argmax())
        picks.append(j)
        edges = slice(starts[j], starts[j + 1])
        best[point[edges]] = np.maximum(best[point[edges]], value[edges])
    return np.array(picks)


def naive_dense(vectors: FloatArray, budget: int) -> IntArray:
    """Greedy facility location over all similarities that measures every gain for every pick."""
    similarity = np.maximum(vectors @ vectors.T, 0.0)
    best, picks = np.zeros(len(vectors), np.float32), list[int]()
    for _ in range(budget):
        gains = np.concatenate([np.maximum(rows - best, 0.0).sum(axis=1) for rows in np.array_split(similarity, 64)])
        gains[picks] = -1.0
        j = int(gains.argmax())
        picks.append(j)
        np.maximum(best, similarity[j], out=best)
    return np.array(picks)


def mean_similarity(vectors: FloatArray, picks: IntArray) -> float:
    return float(best_similarity(vectors, vectors[picks]).mean(dtype=np.float64))


def gemm_gflops(vectors: FloatArray) -> float:
    """Rate of a square product of the same depth; the best of five."""
    a = np.ascontiguousarray(vectors[:4096])
    took = []
    for _ in range(5):
        with stopwatch() as one:
            a @ a.T
        took.append(one["cpu_s"])
    return float(2.0 * len(a) ** 2 * a.shape[1] / min(took) / 1e9)


def best_of(repeat: int, work: Callable[[], T]) -> tuple[float, T]:
    """Shortest CPU time of so many runs, and the last result."""
    took: list[float] = []
    for _ in range(repeat):
        with stopwatch() as one:
            result = work()
        took.append(one["cpu_s"])
    return min(took), result


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    took: dict[str, float] = {}
    start = time.process_time()
    yield took
    took["cpu_s"] = time.process_time() - start


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    """One part, in this process; memory is counted from here."""
    options.base_mb = peak_mb()
    vectors = np.load(path)
    with limited_threads(options.threads):
        figures = PARTS[name](vectors, options)
    return {**figures, "vectors MB": vectors.nbytes / 2**20}


PARTS: dict[str, Callable[[FloatArray, argparse.Namespace], Figures]] = {
    "k_center": bench_k_center,
    "facility": bench_facility,
    "exact": bench_exact,
    "evidence": bench_evidence,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--k", type=int, default=32, help="neighbours in the graph")
    parser.add_argument("--exact", type=int, default=8_000, help="points on which all similarities are held")
    parser.add_argument("--plain-picks", type=int, default=1_000, help="picks that the GEMV loop makes")
    parser.add_argument("--plain-gains", type=int, default=20, help="picks that naive facility location makes")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    run_parts(run_part, PARTS, options)


if __name__ == "__main__":
    main()
