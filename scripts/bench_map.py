"""Maps and clusters beside umap-learn as it comes; one table, one run.

    python scripts/bench_map.py --n 100000 --small 10000

Times are CPU seconds, which a busy machine disturbs least; umap-learn and numba compile before the
clock starts. Peers run on `--small` vectors, the first of the same set. Every part runs in a fresh
process: its peak memory is its own.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import cluster, projection
from curator.data import FloatArray, Neighbors
from curator.index import IndexSpec, knn_graph, rough

K = 15  # neighbours, as many as umap-learn takes by itself


def bench_all(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Graph, five dimensions and HDBSCAN, a map, and k-means, over everything."""
    with stopwatch() as graphing:
        graph = knn_graph(vectors, K, IndexSpec(threads=options.threads))
    with stopwatch() as laying:
        low = projection.umap_map(vectors, graph, n_dims=5, min_dist=0.0, sample_up_to=len(vectors))
    with stopwatch() as grouping:
        dense = cluster.hdbscan(low)
    with stopwatch() as theirs:
        shipped = their_layout(vectors, graph, n_dims=5)
    with stopwatch() as mapping:
        map_ = projection.umap_map(vectors, graph)
    with stopwatch() as meaning:
        means = cluster.kmeans(vectors)
    return {
        "graph cpu_s": graphing["cpu_s"],
        "UMAP in 5 dimensions, of everything, cpu_s": laying["cpu_s"],
        "the same moved by umap-learn cpu_s": theirs["cpu_s"],
        "neighbours kept, ours / umap-learn": [projection.neighbour_preservation(m, graph) for m in (low, shipped)],
        "HDBSCAN on it cpu_s": grouping["cpu_s"],
        "graph + UMAP-5 + HDBSCAN cpu_s": graphing["cpu_s"] + laying["cpu_s"] + grouping["cpu_s"],
        "clusters of HDBSCAN": int(dense.labels.max() + 1),
        "map in 2 dimensions, as curator makes it, cpu_s": mapping["cpu_s"],
        "neighbours kept by it": projection.neighbour_preservation(map_, graph),
        "k-means cpu_s": meaning["cpu_s"],
        "clusters of k-means": int(means.labels.max() + 1),
    }


def bench_small(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """A map of few vectors beside umap-learn with its own neighbours and defaults."""
    from umap import UMAP

    small = vectors[: options.small]
    with stopwatch() as ours:
        graph = knn_graph(small, K, IndexSpec(threads=options.threads))
        mine = projection.umap_map(small, graph)
    with stopwatch() as theirs, quiet():
        shipped = UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(small)
    return {
        "vectors": len(small),
        "graph + map cpu_s": ours["cpu_s"],
        "umap-learn as shipped, warm, cpu_s": theirs["cpu_s"],
        "speed-up": theirs["cpu_s"] / ours["cpu_s"],
        "neighbours kept, ours / umap-learn": [projection.neighbour_preservation(m, graph) for m in (mine, shipped)],
    }


def bench_place(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """New points on a map there is, beside umap-learn's `transform`."""
    from umap import UMAP

    old = options.small
    new = min(old + (options.place or old), len(vectors))
    with quiet():
        model = UMAP(metric="cosine", random_state=0, n_jobs=1).fit(vectors[:old])
        model.transform(vectors[old : old + 50])  # compiled before the clock starts
    placed = model.embedding_.astype(np.float32)
    with stopwatch() as ours:
        mine = projection.extend_map(vectors[:new], placed)
    with stopwatch() as theirs, quiet():
        their = model.transform(vectors[old:new])
    everyone = knn_graph(vectors[:new], K, IndexSpec(threads=options.threads))
    kept = [projection.neighbour_preservation(m, everyone) for m in (mine, np.vstack([placed, their]))]
    return {
        "points placed": new - old,
        "extend_map cpu_s": ours["cpu_s"],
        "umap-learn transform cpu_s": theirs["cpu_s"],
        "speed-up": theirs["cpu_s"] / ours["cpu_s"],
        "neighbours kept, ours / umap-learn": kept,
    }


def their_layout(vectors: FloatArray, graph: Neighbors, *, n_dims: int) -> FloatArray:
    """umap-learn on our graph, from the same start and for as many epochs."""
    from umap import UMAP

    own = np.arange(len(vectors))[:, None]
    near = np.hstack([own, graph.positions[:, : K - 1]]).astype(np.int32)
    far = np.hstack([np.zeros_like(own), 1.0 - graph.similarity[:, : K - 1]]).astype(np.float32)
    with quiet():
        model = UMAP(
            n_components=n_dims, n_neighbors=K, min_dist=0.0, n_epochs=200, init=projection.pca_map(vectors, n_dims),
            random_state=0, n_jobs=1, precomputed_knn=(near, np.maximum(far, 0.0)),
        )  # fmt: skip
        found: FloatArray = model.fit_transform(vectors)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap-learn's own, about seeds and threads
        yield


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    took: dict[str, float] = {}
    start = time.process_time()
    yield took
    took["cpu_s"] = time.process_time() - start


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    """One part, in this process; peak memory beside the size of the vectors."""
    vectors = np.load(path)
    warm = vectors[:500]
    for n_dims in (2, 5):
        projection.umap_map(warm, knn_graph(warm, K), n_dims=n_dims)
    cluster.hdbscan(warm[:, :5])
    with quiet():
        from umap import UMAP

        UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(
            vectors[:4_500]
        )  # its own search compiles above 4,096
    rough.is_fast()
    return {**PARTS[name](vectors, options), "peak MB": peak_mb(), "vectors MB": vectors.nbytes / 2**20}


PARTS: dict[str, Callable[[FloatArray, argparse.Namespace], Figures]] = {
    "all": bench_all,
    "small": bench_small,
    "place": bench_place,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--small", type=int, default=10_000, help="vectors that umap-learn is given")
    parser.add_argument("--place", type=int, help="vectors placed on the map of those; none: as many again")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    run_parts(run_part, PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
