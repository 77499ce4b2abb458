"""How near the kernels come to what the machine can do: arithmetic by sgemm, reading by the fastest pass over memory.

usage: python scripts/bench_kernels.py [--n 100000] [--dim 384]

One thread, CPU seconds, the best of three. A kernel's plain work is what it would take without leaving anything out:
its multiplications as matrix products, or its vectors read once. The share is that work at the machine's rate over the
time the kernel took; above 100 % it leaves out what cannot matter, or multiplies bfloat16 faster than float32.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from _parts import peak_mb, processor
from _synthetic import clustered

from curator import evidence
from curator.data import FloatArray
from curator.index import IndexSpec, PairJoin, build, exact_search, knn_graph, listed_search, rough
from curator.neardups import certify, cover
from curator.selection import k_center

THRESHOLD, K = 0.95, 32
REPEAT = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    asked = parser.parse_args()
    vectors = clustered(asked.n, asked.dim, seed=0)
    rough.is_fast()  # loads torch before the clock starts
    products, reading = sgemm_rate(), read_rate(vectors)
    print(f"{processor()}, one thread: sgemm {products / 1e9:.0f} GFLOP/s, reading {reading / 1e9:.1f} GB/s; "
          f"{asked.n:,} x {asked.dim} synthetic vectors\n")  # fmt: skip
    print(f"{'kernel':<60} {'plain work':>12} {'at the limit':>12} {'CPU s':>8} {'share':>7}")

    def product(name: str, n_multiplied: float, call: Callable[[], object]) -> None:
        told(name, f"{2 * n_multiplied / 1e9:,.0f} GFLOP", 2 * n_multiplied / products, best_of(call))

    def read(name: str, n_bytes: float, call: Callable[[], object]) -> None:
        told(name, f"{n_bytes / 1e6:,.0f} MB", n_bytes / reading, best_of(call))

    n, half, spec = len(vectors), len(vectors) // 2, IndexSpec(threads=1, flat_up_to=0)
    some = vectors[:: n // 4_096][:4_096]
    product(
        f"exact search, {len(some):,} queries, k = {K}",
        len(some) * vectors.size,
        lambda: exact_search(some, vectors, K, threads=1, device="cpu"),
    )
    product(
        "search by lists, one half in the other, k = 5, recall 0.9",
        half * vectors[half:].size,
        lambda: listed_search(vectors[:half], vectors[half:], 5, IndexSpec(threads=1, min_recall=0.9)),
    )
    product(f"kNN graph, k = {K}, recall 0.95", n * vectors.size, lambda: knn_graph(vectors, K, spec))
    join = PairJoin(vectors, THRESHOLD, threads=1)
    product(f"all pairs at {THRESHOLD}, exact", n * vectors.size / 2, lambda: join.within(np.arange(n)))
    found = cover(vectors, None, THRESHOLD, threads=1)
    n_kept = int(found.kept.sum())
    product(
        "certificate of the cover",
        (n_kept**2 / 2 + n_kept * (n - n_kept)) * asked.dim,
        lambda: certify(vectors, found, threads=1),
    )
    budget = n // 100
    picks = k_center(vectors, budget, device="cpu").positions
    product(f"k-center, {budget:,} picks", budget * vectors.size, lambda: k_center(vectors, budget, device="cpu"))
    rng = np.random.default_rng(0)
    controls = evidence.draw_controls(n, budget, rng=rng, n_random=1)
    product(
        "coverage along the budget, with a random draw and every-nth",
        3 * budget * vectors.size,
        lambda: evidence.coverage_curve(vectors, picks, rng=rng, controls=controls),
    )
    flat = build(vectors, IndexSpec(kind="flat", threads=1))
    read("one query, flat, k = 10", vectors.nbytes, lambda: flat.search(some[:1], 10))
    print(f"\npeak memory {peak_mb():.0f} MB, of which vectors {vectors.nbytes / 2**20:.0f}")


def told(name: str, work: str, limit_s: float, took_s: float) -> None:
    print(f"{name:<60} {work:>12} {limit_s:>10.3f} s {took_s:>8.3f} {limit_s / took_s:>7.0%}")


def best_of(call: Callable[[], object]) -> float:
    took = []
    for _ in range(REPEAT):
        started = time.process_time()
        call()
        took.append(time.process_time() - started)
    return min(took)


def sgemm_rate() -> float:
    """Floating-point operations a second of one large product of float32."""
    left = np.random.default_rng(0).standard_normal((2_048, 2_048), dtype=np.float32)
    return 2.0 * 2_048**3 / best_of(lambda: left @ left)


def read_rate(vectors: FloatArray) -> float:
    """Bytes a second of the fastest pass over the vectors that numpy has."""
    flat = vectors.ravel()
    halves = flat[: len(flat) // 2], flat[len(flat) // 2 :][: len(flat) // 2]
    return flat.nbytes / min(best_of(flat.max), best_of(flat.sum), best_of(lambda: halves[0] @ halves[1]))


if __name__ == "__main__":
    main()
