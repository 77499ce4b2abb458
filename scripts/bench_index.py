"""Neighbour graph, search and near-duplicate cover beside the plain way, in one run.

    python scripts/bench_index.py --n 100000 --dim 384

Times are CPU seconds (one thread unless told), which a busy machine disturbs least. The plain ways
are faiss exact search and a blocked GEMM over all pairs; both are timed on part of the rows and
scaled, and say so. Each part runs in a fresh process: its peak memory is its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import neardups
from curator.data import FloatArray, IntArray
from curator.index import IndexSpec, PairJoin, build, exact_search, knn_graph, measure_recall
from curator.index.spec import limited_threads


def bench_graph(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """knn_graph against faiss exact search of the same k, with recall on rows that knn_graph did not see."""
    sample = np.sort(np.random.default_rng(options.seed + 1).permutation(len(vectors))[: options.plain_rows])
    with stopwatch() as ours:
        graph = knn_graph(vectors, options.k, IndexSpec(flat_up_to=0, threads=options.threads))
    with stopwatch() as plain:
        truth = faiss_flat(vectors[sample], vectors, options.k + 1, threads=options.threads)
    truth = truth[:, 1:]  # each row finds itself first
    scale = len(vectors) / len(sample)
    return {
        "knn_graph cpu_s": ours["cpu_s"],
        "faiss flat cpu_s (scaled)": plain["cpu_s"] * scale,
        "speed-up": plain["cpu_s"] * scale / ours["cpu_s"],
        f"recall@{options.k}": measure_recall(graph.similarity[sample], truth),
        "stated recall": graph.recall,
    }


def bench_neardups(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The cover and its certificate against all pairs by blocked GEMM and the same greedy."""
    rows = min(options.plain_rows, len(vectors))
    join = PairJoin(vectors, options.threshold, threads=options.threads)
    everyone = np.arange(len(vectors))
    with stopwatch() as joining:
        pairs = join.within(everyone)
    with stopwatch() as covering:
        cover = neardups.cover(vectors, None, options.threshold, threads=options.threads)
    with stopwatch() as certifying:
        certificate = neardups.certify(vectors, cover, threads=options.threads)
    with limited_threads(options.threads), stopwatch() as plain:
        found = plain_pairs(vectors, rows, options.threshold)
    scale = len(vectors) ** 2 / 2 / (rows * len(vectors) - rows**2 / 2)  # of the upper triangle
    with stopwatch() as greedy:
        plain_kept = plain_greedy(pairs.left, pairs.right, len(vectors))
    plain_s = plain["cpu_s"] * scale + greedy["cpu_s"]
    return {
        "all pairs cpu_s": joining["cpu_s"],
        "blocked GEMM cpu_s (scaled)": plain["cpu_s"] * scale,
        "pairs speed-up": plain["cpu_s"] * scale / joining["cpu_s"],
        "bound width": join.width,
        "pairs": len(pairs),
        "same pairs as GEMM": found == int((np.minimum(pairs.left, pairs.right) < rows).sum()),
        "cover cpu_s": covering["cpu_s"],
        "plain cover cpu_s (scaled)": plain_s,
        "cover speed-up": plain_s / covering["cpu_s"],
        "certificate cpu_s": certifying["cpu_s"],
        "kept": certificate.kept,
        "kept by first come": plain_kept,
        "certificate holds": certificate.holds,
    }


def bench_search(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Latency of single queries on the built index and on exact search, one thread a query."""
    rng = np.random.default_rng(options.seed + 2)
    near = vectors[rng.integers(len(vectors), size=500)]
    queries = near + 0.3 * rng.standard_normal(near.shape).astype(np.float32) / near.shape[1] ** 0.5
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with stopwatch() as building:
        index = build(vectors, IndexSpec(kind="ivf", threads=options.threads))
    truth = exact_search(queries, vectors, 10, threads=options.threads)[1]
    found = index.search(queries, 10)[1]
    flat = build(vectors, IndexSpec(kind="flat"))
    some = rng.choice(len(vectors), len(vectors) // 2, replace=False)
    return {
        "build cpu_s": building["cpu_s"],
        "kind": index.kind,
        "notes": list(index.notes),
        "recall@10": measure_recall(found, truth),
        "stated recall": index.recall,
        "bytes per vector": len(index.to_bytes()) / len(vectors),
        "ivf p50 / p99 ms": latency_ms(lambda q: index.search(q, 10), queries),
        "ivf, half allowed, p50 / p99 ms": latency_ms(lambda q: index.search(q, 10, within=some), queries[:100]),
        "flat p50 / p99 ms": latency_ms(lambda q: flat.search(q, 10), queries[:100]),
    }


def faiss_flat(queries: FloatArray, vectors: FloatArray, k: int, *, threads: int) -> FloatArray:
    import faiss

    with limited_threads(threads):
        similarity: FloatArray = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)[0]
    return similarity


def plain_pairs(vectors: FloatArray, rows: int, threshold: float) -> int:
    """Pairs at or above the threshold whose first is among the first rows; 2k x 2k blocks, upper triangle."""
    count = 0
    for start in range(0, rows, 2_048):
        block = vectors[start : min(start + 2_048, rows)]
        for first in range(start, len(vectors), 2_048):
            hits = np.flatnonzero(block @ vectors[first : first + 2_048].T >= threshold)
            width = min(2_048, len(vectors) - first)
            count += int((hits // width + start < hits % width + first).sum())
    return count


def plain_greedy(left: IntArray, right: IntArray, n: int) -> int:
    """Kept by first come: whoever no earlier kept one covers."""
    order = np.argsort(left, kind="stable")
    heads, starts = np.unique(left[order], return_index=True)
    covered = np.zeros(n, np.bool_)
    for head, reached in zip(heads.tolist(), np.split(right[order], starts[1:]), strict=False):
        if not covered[head]:
            covered[reached] = True
    return int((~covered).sum())


def latency_ms(search: Callable[[FloatArray], object], queries: FloatArray) -> list[float]:
    """50th and 99th percentile of one query at a time."""
    took = []
    for i in range(len(queries)):
        start = time.perf_counter()
        search(queries[i : i + 1])
        took.append(1e3 * (time.perf_counter() - start))
    return [float(np.percentile(took, q)) for q in (50, 99)]


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    took: dict[str, float] = {}
    start = time.process_time()
    yield took
    took["cpu_s"] = time.process_time() - start


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    """One part, in this process; peak memory beside the size of the vectors."""
    vectors = np.load(path)
    figures = PARTS[name](vectors, options)
    return {**figures, "peak MB": peak_mb(), "vectors MB": vectors.nbytes / 2**20}


PARTS: dict[str, Callable[[FloatArray, argparse.Namespace], Figures]] = {
    "graph": bench_graph,
    "neardups": bench_neardups,
    "search": bench_search,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=15)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain-rows", type=int, default=8_192, help="rows on which the plain ways are timed")
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    options.plain_rows = min(options.plain_rows, options.n)
    run_parts(run_part, PARTS, options)


if __name__ == "__main__":
    main()
