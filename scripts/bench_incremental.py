"""What appended vectors cost in a curated set, beside making everything anew, in one run.

    python scripts/bench_incremental.py --n 100000 --dim 384 --new 1000

Times are CPU seconds, on one thread unless told. `anew` is the full pass over all n vectors, `grown` what
the last `--new` of them cost once the others are there. Each part runs in a fresh process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import cluster, neardups, projection
from curator.data import FloatArray
from curator.index import IndexSpec, extend_graph, knn_graph
from curator.index.spec import limited_threads
from curator.pipeline.recertifying import recertify

T = TypeVar("T")


def bench_graph(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The neighbour graph that the later stages read: exact up to 100,000, by lists above."""
    spec = IndexSpec(flat_up_to=100_000, threads=options.threads)
    n_old = len(vectors) - options.new
    old = knn_graph(vectors[:n_old], options.k, spec)
    grown_s, grown = timed(lambda: extend_graph(old, vectors, spec=spec))
    anew_s, anew = timed(lambda: knn_graph(vectors, options.k, spec))
    same = np.isclose(grown.similarity, anew.similarity, atol=1e-6).all(axis=1).mean()
    return costs(anew_s, grown_s) | {"share of points with the same neighbours up to ties": float(same)}


def bench_neardups(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The cover, and its certificate over all vectors."""
    n_old = len(vectors) - options.new
    old = neardups.cover(vectors[:n_old], None, options.threshold, threads=options.threads)
    grown_s, grown = timed(lambda: neardups.extend(vectors, n_old, old, threads=options.threads))
    anew_s, anew = timed(lambda: neardups.cover(vectors, None, options.threshold, threads=options.threads))
    before = neardups.certify(vectors[:n_old], old, threads=options.threads).to_dict()
    certify_s, proof = timed(lambda: neardups.certify(vectors, grown, threads=options.threads))
    recertify_s, _ = timed(lambda: recertify(vectors, grown, old, before, threads=options.threads))
    return costs(anew_s, grown_s) | {
        "certificate, anew and grown cpu_s": [certify_s, recertify_s],
        "it holds": proof.holds,
        "orphans": proof.orphans,
        "kept, anew and grown": [int(anew.kept.sum()), int(grown.kept.sum())],
    }


def bench_clusters(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """k-means with its centres trained anew, and points put with the centres there are."""
    n_old = len(vectors) - options.new
    old = cluster.kmeans(vectors[:n_old], threads=options.threads)
    grown_s, grown = timed(lambda: cluster.extend(old, vectors))
    anew_s, anew = timed(lambda: cluster.kmeans(vectors, threads=options.threads))
    means = [float(found.distance.mean()) for found in (anew, grown)]
    return costs(anew_s, grown_s) | {"mean distance to the centre, anew and grown": means}


def bench_map(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The layout, and new points put between their nearest."""
    n_old = len(vectors) - options.new
    graph = knn_graph(vectors, 15, IndexSpec(threads=options.threads))
    old_graph = knn_graph(vectors[:n_old], 15, IndexSpec(threads=options.threads))
    placed = projection.umap_map(vectors[:n_old], old_graph)  # compiles the layout, too
    grown_s, grown = timed(lambda: projection.extend_map(vectors, placed))
    anew_s, anew = timed(lambda: projection.umap_map(vectors, graph))
    kept = [projection.neighbour_preservation(points, graph) for points in (anew, grown)]
    return costs(anew_s, grown_s) | {"share of neighbours kept, anew and grown": kept}


PARTS = {"graph": bench_graph, "near-duplicates": bench_neardups, "clusters": bench_clusters, "map": bench_map}


def costs(anew_s: float, grown_s: float) -> Figures:
    return {"anew cpu_s": anew_s, "grown cpu_s": grown_s, "times cheaper": anew_s / max(grown_s, 1e-9)}


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of this process, and what came out."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    vectors = np.load(path)
    with limited_threads(options.threads):
        figures = PARTS[name](vectors, options)
    return figures | {"peak memory MB": peak_mb()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000, help="vectors in all")
    parser.add_argument("--new", type=int, default=1_000, help="how many of them came last")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=30, help="neighbours in the graph")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="run this part alone; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    run_parts(run_part, PARTS, parser.parse_args())
