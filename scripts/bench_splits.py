"""Leak-free groups, their assignment, the certificate and outlier scores beside plain ways, in one run.

    python scripts/bench_splits.py --n 100000 --dim 384

Times are CPU seconds (one thread unless told), which a busy machine disturbs least. The plain groups
are all pairs by blocked GEMM, timed on part of the rows and scaled, and connected components of them by
scipy. The plain assignment is scikit-learn's StratifiedGroupKFold. Each part runs in a fresh process.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import splits
from curator.data import FloatArray, IntArray
from curator.index import IndexSpec, knn_graph
from curator.index.spec import limited_threads
from curator.outliers import find_outliers

SHARES = [0.8, 0.1, 0.1]


def bench_groups(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Connected components of all pairs at or above the threshold, with and without a neighbour graph."""
    graph = knn_graph(vectors, options.k, IndexSpec(threads=options.threads))
    before = peak_mb()
    with stopwatch() as alone:
        forest = splits.Forest(len(vectors))
        splits.join_near(forest, vectors, options.threshold, threads=options.threads)
    with stopwatch() as helped:
        other = splits.Forest(len(vectors))
        splits.join_near(other, vectors, options.threshold, neighbors=graph, threads=options.threads)
    extra_mb = peak_mb() - before
    rows = min(options.plain_rows, len(vectors))
    with limited_threads(options.threads), stopwatch() as plain:
        for start in range(0, rows, 1_024):
            np.flatnonzero(vectors[start : min(start + 1_024, rows)] @ vectors[start:].T >= options.threshold)
    scale = len(vectors) ** 2 / 2 / (rows * len(vectors) - rows**2 / 2)
    groups = forest.groups()
    return {
        "join_near cpu_s": alone["cpu_s"],
        f"join_near cpu_s with a graph of {options.k}": helped["cpu_s"],
        "blocked GEMM cpu_s (scaled)": plain["cpu_s"] * scale,
        "speed-up": plain["cpu_s"] * scale / alone["cpu_s"],
        "groups": int(groups.max()) + 1,
        "largest group": int(np.bincount(groups).max()),
        "the same with the graph": bool(np.array_equal(groups, other.groups())),
        "memory beside vectors and graph MB": extra_mb,
    }


def bench_assign(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Sizes and balance of the assignment, and of scikit-learn's, on tracks with long-tailed labels."""
    from sklearn.model_selection import StratifiedGroupKFold

    rng = np.random.default_rng(options.seed)
    groups, labels = tracks(rng, len(vectors))
    trait = splits.trait_of("label", [[str(label)] for label in labels])
    with stopwatch() as ours:
        split = splits.assign(groups, SHARES, [trait], rng=rng)
    few = min(len(groups), options.plain_groups)
    with warnings.catch_warnings(), stopwatch() as plain:
        warnings.simplefilter("ignore")  # of labels with fewer rows than folds
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=options.seed)
        parts = [test for _, test in folds.split(np.empty(few), labels[:few], groups[:few])]
    theirs = np.zeros(few, np.int64)
    theirs[parts[0]], theirs[parts[1]] = 1, 2
    some = splits.trait_of("label", [[str(label)] for label in labels[:few]])
    return {
        "groups": int(groups.max()) + 1,
        "assign cpu_s": ours["cpu_s"],
        "share of rows in train / val / test": (np.bincount(split, minlength=3) / len(split)).tolist(),
        "distance of each part to the whole": list(splits.balance_of(trait, split, 3).distance),
        f"StratifiedGroupKFold cpu_s ({few} rows)": plain["cpu_s"],
        "its shares": (np.bincount(theirs, minlength=3) / few).tolist(),
        "its distances": list(splits.balance_of(some, theirs, 3).distance),
        f"ours on the same {few} rows": list(
            splits.balance_of(some, splits.assign(groups[:few], SHARES, [some], rng=rng), 3).distance
        ),
    }


def bench_certificate(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Rows with a near-duplicate in another part, of a leak-free split and of a random one."""
    forest = splits.Forest(len(vectors))
    splits.join_near(forest, vectors, options.threshold, threads=options.threads)
    rng = np.random.default_rng(options.seed)
    clean = splits.assign(forest.groups(), SHARES, rng=rng)
    random = rng.choice(3, len(vectors), p=SHARES)
    with stopwatch() as proving:
        none = across(vectors, clean, options)
    with stopwatch() as finding:
        some = across(vectors, random, options)
    return {
        "certificate cpu_s": proving["cpu_s"],
        "rows across, leak-free": none,
        "leaks of a random split cpu_s": finding["cpu_s"],
        "rows across, random": some,
        "share of rows in val and test that leak": some / max(int((random > 0).sum()), 1),
    }


def bench_outliers(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Both scores from a graph that is there, beside what the graph costs."""
    with stopwatch() as graphing:
        graph = knn_graph(vectors, options.k, IndexSpec(threads=options.threads))
    forest = splits.Forest(len(vectors))
    left = np.repeat(np.arange(len(vectors)), graph.k)
    close = graph.similarity.ravel() >= options.threshold
    forest.join(left[close], graph.positions.ravel()[close])
    lead = forest.find(np.arange(len(vectors)))  # the first of each group stands for it
    before = peak_mb()
    with stopwatch() as scoring:
        found = find_outliers(vectors, graph, spec=IndexSpec(threads=options.threads), representative=lead)
    return {
        f"graph of {options.k} cpu_s": graphing["cpu_s"],
        "both scores cpu_s": scoring["cpu_s"],
        "kept": int((lead == np.arange(len(vectors))).sum()),
        "share above the fence": float(found.is_outlier.mean()),
        "memory beside vectors and graph MB": peak_mb() - before,
    }


def across(vectors: FloatArray, split: IntArray, options: argparse.Namespace) -> int:
    """Rows of val and test with a near-duplicate in an earlier part."""
    leaks = 0
    for a, b in ((0, 1), (0, 2), (1, 2)):
        at, _ = splits.nearest_across(
            vectors, np.flatnonzero(split == b), np.flatnonzero(split == a), options.threshold, threads=options.threads
        )
        leaks += int((at >= 0).sum())
    return leaks


def tracks(rng: np.random.Generator, n: int) -> tuple[IntArray, IntArray]:
    """Groups of 1 to 60 rows with one of 40 long-tailed labels each."""
    sizes = np.minimum(rng.geometric(0.08, n), 60)
    sizes = sizes[: np.searchsorted(np.cumsum(sizes), n) + 1]
    share = 1.0 / np.arange(1, 41)
    labels = rng.choice(40, len(sizes), p=share / share.sum())
    return np.repeat(np.arange(len(sizes)), sizes)[:n], np.repeat(labels, sizes)[:n]


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """CPU seconds of a block."""
    figures = {"cpu_s": 0.0}
    started = time.process_time()
    yield figures
    figures["cpu_s"] = time.process_time() - started


PARTS = {"groups": bench_groups, "assign": bench_assign, "certificate": bench_certificate, "outliers": bench_outliers}


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    """One part, in a process of its own."""
    return PARTS[name](np.load(path), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="vectors")
    parser.add_argument("--dim", type=int, default=384, help="numbers per vector")
    parser.add_argument("--threshold", type=float, default=0.95, help="cosine of near-duplicates")
    parser.add_argument("--k", type=int, default=30, help="neighbours in the graph")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain-rows", type=int, default=4_096, help="rows timed by blocked GEMM")
    parser.add_argument("--plain-groups", type=int, default=20_000, help="rows given to scikit-learn")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="parts to run")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    run_parts(run_part, PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
