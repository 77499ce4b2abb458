"""Several wishes in one selection: CPU seconds beside measuring every candidate anew for every pick.

    python scripts/bench_compose.py --n 20000 --budget 500
    python scripts/bench_compose.py --n 100000 --budget 1000 --plain-picks 5

Times are CPU seconds of one thread; the neighbour graph is built once beforehand and not counted.
The plain loop measures all candidates together for each pick, with matrix products, and is scaled
from `--plain-picks`. "same" is the share of those picks that are equal. The last lines are a
selection with limits between picks, and the search for where it covers enough.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _parts import peak_mb
from _synthetic import clustered

from curator.data import FloatArray, IntArray, Neighbors, no_progress
from curator.index import IndexSpec, knn_graph
from curator.index.spec import limited_threads
from curator.selection import Request, Spacing, Stop, Strategy, run, stopping
from curator.selection.compose import Scene, compose
from curator.selection.facility import FacilityGain
from curator.selection.greedy import Batched
from curator.selection.kcenter import DistanceGain
from curator.selection.mixed import Product

NONE = np.zeros(0, np.int64)


def wishes(rng: np.random.Generator, n: int) -> dict[str, list[Strategy]]:
    """The lists that are measured."""
    values = rng.random(n, dtype=np.float32)
    groups = [str(g) for g in rng.zipf(1.6, n) % 20]
    diversity, representative = Strategy("diversity"), Strategy("representative", 0.5)
    weights, balance = Strategy("weights", values=values), Strategy("balance", groups=groups)
    return {
        "diversity x representative": [diversity, representative],
        "diversity x weights": [diversity, weights],
        "representative x weights x balance": [representative, weights, balance],
        "diversity x representative x weights x balance": [diversity, representative, weights, balance],
    }


def plain_picks(vectors: FloatArray, graph: Neighbors, strategies: list[Strategy], n_picks: int) -> IntArray:
    """Every candidate measured anew for every pick, together."""
    everyone = np.arange(len(vectors))
    factors: list[tuple[Batched, float]] = []
    fixed = np.ones(len(vectors), np.float64)
    for strategy in strategies:
        if strategy.kind == "diversity":
            factors.append((DistanceGain(vectors, everyone, NONE), strategy.strength))
        elif strategy.kind == "representative":
            factors.append((FacilityGain(vectors, everyone, NONE, neighbors=graph), strategy.strength))
        elif strategy.kind == "weights":
            fixed *= np.asarray(strategy.values) / np.max(np.asarray(strategy.values))
    product = Product(factors)
    order: list[int] = []
    for _ in range(n_picks):
        gains = product.gains(everyone) * fixed
        gains[order] = -1.0
        order.append(int(gains.argmax()))
        product.add(order[-1])
    return np.array(order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--budget", type=int, default=500)
    parser.add_argument("--plain-picks", type=int, default=20)
    parser.add_argument("--neighbors", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with limited_threads(1):
        vectors = clustered(options.n, options.dim, seed=options.seed)
        graph = knn_graph(vectors, options.neighbors, IndexSpec(threads=1))
        weights = np.ones(options.n, np.float32)
        scene = Scene(vectors, np.arange(options.n), NONE, weights, graph, threshold=0.9, seed=options.seed)
        print(f"{options.n:,} x {options.dim}, {options.budget:,} picks, one thread, CPU seconds")
        print(f"{'strategies':<48} {'ours':>8} {'plain':>9} {'times':>7} {'same':>6}")
        for name, strategies in wishes(rng, options.n).items():
            started = time.process_time()
            picks = compose(scene, strategies, options.budget, caps=None, progress=no_progress)
            ours = time.process_time() - started
            if any(strategy.kind == "balance" for strategy in strategies):
                print(f"{name:<48} {ours:8.2f} {'':>9} {'':>7} {'':>6}")
                continue
            started = time.process_time()
            order = plain_picks(vectors, graph, strategies, options.plain_picks)
            plain = (time.process_time() - started) * options.budget / options.plain_picks
            same = float(np.mean(order == picks.positions[: len(order)]))
            print(f"{name:<48} {ours:8.2f} {plain:9.1f} {plain / ours:7.1f} {same:6.2f}")
        clips = Spacing(np.arange(options.n) // 300, (np.arange(options.n) % 300) / 2.0, 5.0)
        for name, more in (
            ("representative, 0.1 apart", {"min_distance": 0.1}),
            ("diverse, 5 s apart in clips of 150 s", {"spacing": clips, "trim_share": 0.0}),
        ):
            started = time.process_time()
            method = "diverse" if "spacing" in more else "representative"
            outcome = run(vectors, Request(method, options.budget, **more), graph=graph)  # type: ignore[arg-type]
            print(f"{name:<48} {time.process_time() - started:8.2f} {len(outcome):>9,} picks")
        picks = run(vectors, Request("representative", options.budget, stop=Stop(gain=1e-6)), graph=graph).picks
        started = time.process_time()
        rank = stopping.covering_rank(vectors, np.arange(options.n), picks.positions, 0.7, given=NONE)
        share = stopping.share_covered(rank, len(picks))[-1]
        print(f"{'covered within 0.7, exactly':<48} {time.process_time() - started:8.2f} {100 * share:>8.1f} %")
        print(f"peak {peak_mb():,.0f} MB, vectors {vectors.nbytes / 2**20:,.0f} MB")


if __name__ == "__main__":
    main()
