"""Selection beside the plain way and beside apricot-select and submodlib, in one run.

    python scripts/bench_select.py --n 100000 --dim 384 --budget 1000
    python scripts/bench_select.py --n 100000 --budget 10000 --only k_center --only facility
    python scripts/bench_select.py --n 1000000 --budget 10000 --plain-picks 200 --repeat 1 --only k_center

Times are CPU seconds (one thread unless told), which a busy machine disturbs least; each of ours is
the best of `--repeat`. The plain k-center is one GEMV per pick; it makes every pick, or the first
`--plain-picks` and is scaled, and says so; the naive one subtracts, squares and sums. The plain
facility location measures every gain for every pick. apricot-select and submodlib come with the
extra `bench`; they hold all similarities, so they stand beside ours on `--exact` points, where the
similarities are given. Each part runs in a fresh process: its
peak memory is its own.
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
from curator.data import FloatArray, IntArray, Neighbors, no_progress
from curator.index import IndexSpec, knn_graph
from curator.index.spec import limited_threads
from curator.selection import Picks, best_similarity, facility_location, k_center, random_picks
from curator.selection.ball import ball_coverage
from curator.selection.bound import facility_optimality
from curator.selection.facility import FacilityGain
from curator.selection.graphcut import graph_cut
from curator.selection.greedy import Batched, lazy_greedy, pooled_greedy
from curator.selection.hierarchy import hierarchical
from curator.selection.kcenter import DistanceGain
from curator.selection.logdet import LogDetGain, log_det
from curator.selection.mixed import mixed
from curator.selection.quotas import Tally

T = TypeVar("T")


def bench_k_center(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Lazy blocks against one product with all vectors per pick: time, picks and radius."""
    ours, picks = best_of(options.repeat, lambda: k_center(vectors, options.budget, device="cpu"))
    extra_mb = peak_mb() - vectors.nbytes / 2**20 - options.base_mb
    n_plain = min(options.plain_picks, options.budget)
    with stopwatch() as plain:
        loop = gemv_loop(vectors, n_plain, first=int(picks.positions[0]))
    n_naive = min(options.naive_picks, options.budget)
    with stopwatch() as naive:
        slow = naive_loop(vectors, n_naive, first=int(picks.positions[0]))
    naive_s = naive["cpu_s"] * options.budget / n_naive
    gflops = gemm_gflops(vectors)
    gemm_s = 2.0 * vectors.size * options.budget / gflops / 1e9
    scaled = plain["cpu_s"] * options.budget / n_plain
    radius = [float(1.0 - best_similarity(vectors, vectors[p]).min()) for p in (picks.positions[:n_plain], loop)]
    return {
        "k_center cpu_s": ours,
        f"GEMV loop cpu_s ({n_plain} of {options.budget} picks timed)": scaled,
        "speed-up": scaled / ours,
        f"same picks among {n_plain}": float(np.mean(picks.positions[:n_plain] == loop)),
        f"naive loop cpu_s ({n_naive} of {options.budget} picks timed)": naive_s,
        "speed-up over the naive loop": naive_s / ours,
        f"same picks among {n_naive}": float(np.mean(picks.positions[:n_naive] == slow)),
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
    with stopwatch() as proving:
        proof = facility_optimality(vectors, picks.positions)
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
        f"at least this share of the best possible{' (on a sample)' if proof.is_sampled else ''}": proof.share,
        "proof cpu_s": proving["cpu_s"],
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


def bench_peers(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Exact facility location beside apricot-select and submodlib, which are given the similarities."""
    some = vectors[: options.exact]
    budget = min(options.budget, len(some) // 100)
    whole_s, ours = best_of(options.repeat, lambda: facility_location(some, budget, dense_up_to=len(some)))
    ours_s = min(greedy_seconds(some, budget) for _ in range(options.repeat))
    similarity = np.maximum(some @ some.T, 0.0)
    value = float(similarity[ours.positions].max(axis=0).sum(dtype=np.float64))
    figures: Figures = {"points": len(some), "picks": budget, "facility_location cpu_s, from vectors": whole_s}
    figures["facility_location cpu_s, similarities given"] = ours_s
    for name, optimizer, peer in (
        ("apricot", "lazy", apricot_picks),
        ("apricot", "two-stage", apricot_picks),
        ("submodlib", "LazyGreedy", submodlib_picks),
        ("submodlib", "LazierThanLazyGreedy", submodlib_picks),
    ):
        try:
            with stopwatch() as took:
                found = peer(similarity, budget, optimizer)
        except ImportError as error:
            figures[f"{name} {optimizer}"] = f"not installed ({error})"
            continue
        reached = float(similarity[found].max(axis=0).sum(dtype=np.float64))
        figures[f"{name} {optimizer} cpu_s, similarities given"] = took["cpu_s"]
        figures[f"{name} {optimizer}: speed-up, value / ours, same picks"] = [
            took["cpu_s"] / ours_s, reached / value, float(np.mean(ours.positions == found)),
        ]  # fmt: skip
    figures["peak beside the vectors MB"] = peak_mb() - vectors.nbytes / 2**20 - options.base_mb
    return figures


def bench_objectives(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The other methods: seconds, how well all are represented, and the pools beside a heap on part of the points."""
    graph = knn_graph(vectors, options.k, IndexSpec(threads=options.threads))
    budget = options.budget
    rng = np.random.default_rng(options.seed)
    methods: dict[str, Callable[[], Picks]] = {
        "random": lambda: random_picks(vectors, budget, rng=rng),
        "mixed": lambda: mixed(vectors, budget, neighbors=graph),
        "mixed, both factors alike": lambda: mixed(vectors, budget, neighbors=graph, strength=1.0),
        "log_det": lambda: log_det(vectors, budget),
        "ball_coverage 0.8, along the graph": lambda: ball_coverage(vectors, budget, threshold=0.8, neighbors=graph),
        "hierarchical": lambda: hierarchical(vectors, budget),
        "graph_cut": lambda: graph_cut(vectors, budget),
    }
    figures: Figures = {}
    for name, method in methods.items():
        took, picks = best_of(1, method)
        best = best_similarity(vectors, vectors[picks.positions])
        figures[f"{name}: cpu_s, mean similarity, within 0.8, radius"] = [
            took, float(best.mean()), float((best >= 0.8).mean()), float(1.0 - best.min()),
        ]  # fmt: skip
    figures["peak beside the vectors MB"] = peak_mb() - vectors.nbytes / 2**20 - options.base_mb
    some, few = vectors[: options.exact], min(budget, 200)
    everyone, none = np.arange(len(some)), np.zeros(0, np.int64)
    objectives: dict[str, Callable[[], Batched]] = {
        "log_det": lambda: LogDetGain(some, everyone, none, most=few),
        "distance": lambda: DistanceGain(some, everyone, none),
    }
    for name, build in objectives.items():
        pool_s, pool = best_of(options.repeat, partial(greedy_over, pooled_greedy, build, few))
        heap_s, heap = best_of(1, partial(greedy_over, lazy_greedy, build, few))
        figures[f"{name}, {few} of {len(some)}: pools, heap cpu_s, same picks"] = [
            pool_s, heap_s, float(np.mean(pool == heap)),
        ]  # fmt: skip
    return figures


def greedy_seconds(vectors: FloatArray, budget: int) -> float:
    """Of the picks alone, after all similarities were computed."""
    everyone = np.arange(len(vectors))
    objective = FacilityGain(vectors, everyone, np.zeros(0, np.int64), dense_up_to=len(vectors))
    with stopwatch() as took:
        lazy_greedy(objective, budget, tally=Tally(None, everyone), progress=no_progress)
    return took["cpu_s"]


def greedy_over(
    greedy: Callable[..., tuple[IntArray, FloatArray]], build: Callable[[], Batched], budget: int
) -> IntArray:
    objective = build()
    everyone = np.arange(len(objective.first_gains()))
    return greedy(objective, budget, tally=Tally(None, everyone), progress=no_progress)[0]


def apricot_picks(similarity: FloatArray, budget: int, optimizer: str) -> IntArray:
    from apricot import FacilityLocationSelection

    model = FacilityLocationSelection(budget, metric="precomputed", optimizer=optimizer)
    return np.asarray(model.fit(similarity.astype(np.float64)).ranking, np.int64)


def submodlib_picks(similarity: FloatArray, budget: int, optimizer: str) -> IntArray:
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(n=len(similarity), mode="dense", separate_rep=False, sijs=similarity)
    found = function.maximize(budget=budget, optimizer=optimizer, show_progress=False)
    return np.array([position for position, _ in found], np.int64)


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


def naive_loop(vectors: FloatArray, budget: int, *, first: int) -> IntArray:
    """As most code has it: subtract the pick from all vectors, square, sum, take the farthest."""
    nearest = np.full(len(vectors), np.inf, np.float32)
    picks, j = [], first
    for _ in range(budget):
        picks.append(j)
        np.minimum(nearest, ((vectors - vectors[j]) ** 2).sum(axis=1), out=nearest)
        j = int(nearest.argmax())
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
    with limited_threads(options.threads):
        options.base_mb = peak_mb()  # within, for it may load a library
        vectors = np.load(path)
        figures = PARTS[name](vectors, options)
    return {**figures, "vectors MB": vectors.nbytes / 2**20}


PARTS: dict[str, Callable[[FloatArray, argparse.Namespace], Figures]] = {
    "k_center": bench_k_center,
    "facility": bench_facility,
    "exact": bench_exact,
    "peers": bench_peers,
    "objectives": bench_objectives,
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
    parser.add_argument("--naive-picks", type=int, default=50, help="picks that the naive k-center loop makes")
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
