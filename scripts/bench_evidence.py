"""What evidence costs, and how often it is wrong.

    python scripts/bench_evidence.py --n 100000 --budget 1000
    python scripts/bench_evidence.py --only honesty

cost: CPU seconds and peak memory of the parts of the evidence beside one selection. honesty: of many
selections that were drawn at random, the share that each measure calls better or worse than random;
2.5 % on either side is what an interval of 95 % of the draws allows, a little more with few draws.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import evidence
from curator.data import FloatArray, IntArray
from curator.index import knn_graph

THRESHOLD = 0.93


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--dim", type=int, default=384, help="numbers per vector")
    parser.add_argument("--budget", type=int, default=1_000, help="picks")
    parser.add_argument("--classes", type=int, default=50, help="classes, regions around random vectors")
    parser.add_argument("--draws", type=int, default=40, help="random draws behind each interval")
    parser.add_argument("--trials", type=int, default=200, help="random selections that honesty judges")
    parser.add_argument("--threads", type=int, default=1, help="threads; set OMP_NUM_THREADS to the same")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("cost", "honesty"), action="append", help="one part; may be repeated")
    parser.add_argument("--json", action="store_true")
    run_parts(run_part, ("cost", "honesty"), parser.parse_args())


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    vectors = np.load(path)
    rng = np.random.default_rng(options.seed)
    centres = vectors[rng.choice(len(vectors), options.classes, replace=False)]
    classes = (vectors @ centres.T).argmax(axis=1)
    return cost(vectors, classes, options) if name == "cost" else honesty(vectors[:10_000], classes[:10_000], options)


def cost(vectors: FloatArray, classes: IntArray, options: argparse.Namespace) -> Figures:
    """CPU seconds of each part, for a selection at even steps: the method does not matter here."""
    n, k = len(vectors), options.budget
    rng = np.random.default_rng(options.seed)
    picks = rng.permutation(n)[:k]
    everyone = np.ones(n, np.bool_)
    graph = knn_graph(vectors[: min(n, 20_000)], 30)  # its making is no part of the evidence
    if n > len(graph):
        graph = None  # type: ignore[assignment]
    figures: Figures = {}

    def timed(label: str, call: Callable[[], Any]) -> Any:
        started = time.process_time()
        out = call()
        figures[f"{label}, core-s"] = time.process_time() - started
        return out

    controls = timed("controls", lambda: evidence.draw_controls(n, k, rng=rng, n_random=options.draws))
    timed("coverage curve", lambda: evidence.coverage_curve(vectors, picks, rng=rng, controls=controls, threshold=0.9))
    timed(
        "spread over classes",
        lambda: evidence.balance("class", classes, None, picks, controls=controls, pool=np.arange(n)),
    )
    timed(
        "learning curves",
        lambda: evidence.learning_curves(
            vectors, classes, picks, controls=controls, tests=everyone, threshold=THRESHOLD, rng=rng
        ),
    )
    covers = timed("who covers whom", lambda: evidence.covering(graph, np.arange(n), THRESHOLD))
    timed("budget plan", lambda: evidence.plan(vectors, picks, covers, threshold=THRESHOLD, candidates=everyone))
    return figures | {"all, core-s": sum(figures.values()), "peak memory, MB": peak_mb()}


def honesty(vectors: FloatArray, classes: IntArray, options: argparse.Namespace) -> Figures:
    """How often a random selection is called better, or worse, than random."""
    n, k = len(vectors), min(options.budget, len(vectors) // 20)
    found: dict[str, list[int]] = {}
    for trial in range(options.trials):
        rng = np.random.default_rng([options.seed, trial])
        picks = rng.permutation(n)[:k]
        controls = evidence.draw_controls(n, k, rng=rng, n_random=options.draws)
        curve = evidence.coverage_curve(
            vectors, picks, rng=rng, controls=controls, threshold=0.9, budgets=[k], sample=2_000
        )
        spread = evidence.balance("class", classes, None, picks, controls=controls, pool=np.arange(n))
        learning = evidence.learning_curves(
            vectors, classes, picks, controls=controls, tests=np.arange(n) % 5 == 0, threshold=THRESHOLD, rng=rng
        )
        measures = [*curve.measures(), *([spread.hit, spread.evenness] if spread else [])]
        for measure in [*measures, *(learning.measures() if learning else ())]:
            found.setdefault(measure.name, []).append(measure.standing)
    figures: Figures = {"random selections judged": options.trials, "picks of each": k}
    for name, standings in found.items():
        figures[f"{name}: called better / worse, %"] = [
            100.0 * standings.count(side) / len(standings) for side in (1, -1)
        ]
    return figures


if __name__ == "__main__":
    main()
