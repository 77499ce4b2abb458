"""Is a curated selection worth more than a random one? Label the picks, train on them, test on held-out classes.

    python scripts/bench_usefulness.py --data DATA --cache .bench-cache

DATA holds `classification/{caltech101_sub,gtsrb_tracks,cifar10n}`. Each of `--seeds` pools is long-tailed,
redundant and has junk (scripts/_pools.py); the picks are labelled, junk among them is thrown away, and 1-NN and
a linear probe (ridge on the vectors) are tested on a set balanced over the classes. Printed per budget: mean
balanced accuracy over the pools with its 95 % interval (t), classes seen, and the share of picks that was junk.
Random is the mean of ten draws per pool. Where a budget is twice another, each method at the smaller one is also
compared with random at the larger one. `recommended` is what `curator select` does with its defaults after
`curator calibrate` and `neardups --threshold self`: near-duplicates and low quality are not offered, and
near-duplicates count as content where the pool is footage. `--threshold` takes a fixed one instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _parts import processor
from _pools import SETS, Pool, draw_pool, load_bank, load_edited

from curator import embed, selection
from curator.config import Select
from curator.data import FloatArray, IntArray
from curator.index import exact_search, knn_graph

N_RANDOM = 10
RIDGE = 0.3
T95 = {
    3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 15: 2.13, 20: 2.09, 30: 2.04, 60: 2.00,
    100: 1.98,
}  # fmt: skip

Chooser = Callable[[Pool, int, int], IntArray]  # pool, picks, seed -> positions


def offered(
    method: selection.Method, *, dedup: bool = True, trim: float | None = None, counts: str | None = None
) -> Chooser:
    """A method as the pipeline calls it, or over everything with `dedup` off; `counts` as `select.counts`."""

    def choose(pool: Pool, budget: int, seed: int) -> IntArray:
        once = not pool.is_footage if counts is None else counts == "distinct"
        may = (pool.kept if dedup else np.ones(len(pool), np.bool_)) & ~pool.is_low
        request = selection.Request(
            method=method,
            budget=budget,
            candidates=may,
            cover=~pool.is_low,
            distinct=pool.kept if dedup and once else None,
            trim_share=trim,
            seed=seed,
            threshold=pool.threshold if method == "coverage" else None,
        )
        return selection.run(pool.vectors, request, graph=knn_graph(pool.vectors, 32)).picks.positions

    return choose


def at_random(pool: Pool, budget: int, seed: int) -> IntArray:
    return np.random.default_rng(seed).choice(len(pool), budget, replace=False)


def random_after_dedup(pool: Pool, budget: int, seed: int) -> IntArray:
    return np.random.default_rng(seed).permutation(np.flatnonzero(pool.kept & ~pool.is_low))[:budget]


CHOOSERS: dict[str, Chooser] = {
    "random": at_random,
    "random after dedup and quality": random_after_dedup,
    "recommended": offered(Select().method),
    "recommended, counts images": offered(Select().method, counts="images"),
    "recommended, counts distinct": offered(Select().method, counts="distinct"),
    **{
        method: offered(method)
        for method in selection.METHODS
        if method not in ("random", "every_nth", "uncertainty", Select().method)
    },
    "diverse, untrimmed": offered("diverse", trim=0.0),
    "representative, trimmed": offered("representative", trim=0.03),
    "representative, no dedup": offered("representative", dedup=False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """What labelling some picks was worth."""

    nearest: float  # balanced accuracy of 1-NN, 0..1
    probe: float  # of the linear probe
    classes: float  # share of the classes seen
    junk: float  # share of the picks


def score(pool: Pool, picks: IntArray) -> Score:
    useful = picks[pool.classes[picks] >= 0]
    n_classes = len(np.unique(pool.test_classes))
    junk = 1.0 - len(useful) / max(len(picks), 1)
    if len(useful) == 0:
        return Score(0.0, 0.0, 0.0, junk)
    vectors, labels = pool.vectors[useful], pool.classes[useful]
    nearest = labels[exact_search(pool.test, vectors, 1)[0][:, 0]]
    guessed = ridge(vectors, labels, pool.test)
    seen = len(np.unique(labels)) / n_classes
    return Score(balanced(nearest, pool.test_classes), balanced(guessed, pool.test_classes), seen, junk)


def ridge(vectors: FloatArray, labels: IntArray, test: FloatArray) -> IntArray:
    """Class of the largest of the ridge regressions on one-hot labels, in the dual form: few picks, many numbers."""
    classes, codes = np.unique(labels, return_inverse=True)
    targets = np.where(np.arange(len(classes)) == codes[:, None], 1.0, -1.0)  # (m, c)
    mean = vectors.mean(axis=0)
    centred = (vectors - mean).astype(np.float64)
    dual = np.linalg.solve(centred @ centred.T + RIDGE * np.eye(len(vectors)), targets - targets.mean(axis=0))
    scores = (test - mean) @ (centred.T @ dual) + targets.mean(axis=0)
    found: IntArray = classes[scores.argmax(axis=1)]
    return found


def balanced(found: IntArray, truth: IntArray) -> float:
    return float(np.mean([(found[truth == label] == label).mean() for label in np.unique(truth)]))


def mean_score(scores: list[Score]) -> Score:
    return Score(*(float(np.mean(values)) for values in zip(*map(dataclasses.astuple, scores), strict=True)))


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval over the pools."""
    n = len(values)
    t = next(T95[size] for size in sorted(T95, reverse=True) if size <= n)
    return float(np.mean(values)), t * float(np.std(values, ddof=1)) / math.sqrt(n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder for the embedded pictures")
    parser.add_argument("--model", default=embed.DEFAULT)
    parser.add_argument("--threshold", type=float, help="cosine of near-duplicates; none: calibrated on the pool")
    parser.add_argument("--seeds", type=int, default=10, choices=sorted(T95), help="pools drawn")
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 5.0, 10.0], help="percent of the pool")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--only", nargs="+", choices=CHOOSERS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.json:
        since = "the calibrated threshold" if options.threshold is None else f"{options.threshold:g}"
        print(f"{processor()}; {options.model}, near-duplicates from {since}, {options.seeds} pools a set")
    figures = {name: bench(name, options) for name in options.sets}
    if options.json:
        print(json.dumps(figures))


def bench(name: str, options: argparse.Namespace) -> dict[str, list[dict[str, float | str]]]:
    """Every method on pools of one set."""
    bank = load_bank(name, options.data, options.cache, model=options.model)
    threshold = options.threshold or load_edited(bank, options.data, options.cache, model=options.model)
    pools = [draw_pool(bank, seed=seed, threshold=threshold) for seed in range(options.seeds)]
    wanted = {"random": CHOOSERS["random"], **{key: CHOOSERS[key] for key in options.only or CHOOSERS}}
    if not options.json:
        sizes = [len(pool) for pool in pools]
        kept, since = np.mean([pool.kept.mean() for pool in pools]), np.mean([pool.threshold for pool in pools])
        print(
            f"\n{name}: pools of {min(sizes):,} to {max(sizes):,}, {kept:.0%} kept at {since:.2f}, "
            f"tests of {len(pools[0].test):,}"
        )
    table: dict[str, list[dict[str, float | str]]] = {}
    scores: dict[tuple[float, str], list[Score]] = {}
    for percent in options.budgets:
        scores |= {(percent, key): _scores(chooser, pools, percent, key) for key, chooser in wanted.items()}
        table[f"{percent:g}%"] = [_row(key, scores[percent, key]) for key in wanted]
        if not options.json:
            _print(percent, pools, table[f"{percent:g}%"])
    for percent in options.budgets:
        if not options.json and (2 * percent, "random") in scores:
            _print_halves(percent, {key: scores[percent, key] for key in wanted}, scores[2 * percent, "random"])
    return table


def _scores(chooser: Chooser, pools: list[Pool], percent: float, key: str) -> list[Score]:
    out = []
    for seed, pool in enumerate(pools):
        budget = max(1, round(len(pool) * percent / 100))
        n_draws = N_RANDOM if key.startswith("random") else 1
        out.append(mean_score([score(pool, chooser(pool, budget, 1_000 * seed + draw)) for draw in range(n_draws)]))
    return out


def _row(key: str, scores: list[Score]) -> dict[str, float | str]:
    nearest, nearest_half = interval([s.nearest for s in scores])
    probe, probe_half = interval([s.probe for s in scores])
    return {
        "method": key, "nearest": nearest, "nearest_half": nearest_half, "probe": probe, "probe_half": probe_half,
        "classes": float(np.mean([s.classes for s in scores])), "junk": float(np.mean([s.junk for s in scores])),
    }  # fmt: skip


def _print(percent: float, pools: list[Pool], rows: list[dict[str, float | str]]) -> None:
    budgets = sorted(max(1, round(len(pool) * percent / 100)) for pool in pools)
    print(f"\n  {percent:g} % ({budgets[0]} to {budgets[-1]} picks)        1-NN            probe        classes  junk")
    for row in rows:
        cells = "   ".join(f"{row[k]:.3f} ±{row[k + '_half']:.3f}" for k in ("nearest", "probe"))
        print(f"  {row['method']:<32} {cells}   {row['classes']:5.0%} {row['junk']:5.0%}")


def _print_halves(percent: float, scores: dict[str, list[Score]], random: list[Score]) -> None:
    """Differences are taken pool by pool: what makes a pool hard is the same for both."""
    print(f"\n  {percent:g} % less {2 * percent:g} % at random, pool by pool   1-NN            probe")
    for key, own in scores.items():
        nearest = interval([a.nearest - b.nearest for a, b in zip(own, random, strict=True)])
        probe = interval([a.probe - b.probe for a, b in zip(own, random, strict=True)])
        print(f"  {key:<38} {nearest[0]:+.4f} ±{nearest[1]:.4f}   {probe[0]:+.4f} ±{probe[1]:.4f}")


if __name__ == "__main__":
    main()
