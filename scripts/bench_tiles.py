"""Search over tiles: every tile compared, an image ranked by its best, beside one plain product of the same size.

usage: python scripts/bench_tiles.py [--n 20000] [--dim 384] [--tiles 9]

One thread. The plain product is what no search that compares all tiles can be below: float32, no best per image, no
order, no box. Recall@10 is against double precision.
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

from curator.data import BoolArray, Embeddings, FloatArray
from curator.pipeline.tiling import Tiles
from curator.searching.spaces import Scorer, Subset
from curator.searching.tiled import TileSpace

K, N_QUERIES = 10, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="images")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--tiles", type=int, default=9, help="of an image")
    asked = parser.parse_args()
    m = asked.n * asked.tiles
    wide = clustered(m, asked.dim, seed=0)
    rows = np.arange(asked.n)
    of = np.repeat(rows, asked.tiles)
    tiles = Tiles(np.arange(m), of, np.zeros((m, 4), np.float32), wide.astype(np.float16))
    space = TileSpace(Embeddings(rows, wide[:: asked.tiles].copy(), "synthetic"), "synthetic", tiles)
    queries = clustered(N_QUERIES, asked.dim, seed=1)
    print(f"{processor()}, one thread; {asked.n:,} images, {m:,} tiles of {asked.dim}, k = {K}\n")
    print(f"{'':<40} {'p50 ms':>8} {'p99':>8} {'ratio':>7} {'recall@10':>10}")
    plain = timed(lambda query: wide @ query, queries)
    report("plain product of all tiles, float32", plain, plain, None)
    few: BoolArray = np.arange(asked.n) % 100 == 0
    for name, allowed in (("search over tiles", None), ("  where a filter lets 1 % through", few)):
        subset = None if allowed is None else space.subset(allowed)
        found: list[list[int]] = []

        def search(query: FloatArray, subset: Subset | None = subset, found: list[list[int]] = found) -> None:
            positions, _ = next(iter(space.walk(Scorer(query[None]), subset, np.empty(0, np.int64))))
            found.append(positions[:K].tolist())

        took = timed(search, queries)
        report(name, took, plain, recall(found, queries, tiles, allowed))
    print(f"\npeak memory {peak_mb():.0f} MB, of which tiles {tiles.nbytes / 1e6:.0f}")


def timed(call: Callable[[FloatArray], object], queries: FloatArray) -> list[float]:
    """CPU milliseconds of each query, after one that is not counted."""
    took = []
    for query in [queries[0], *queries]:
        started = time.thread_time()
        call(query)
        took.append(1e3 * (time.thread_time() - started))
    return took[1:]


def recall(found: list[list[int]], queries: FloatArray, tiles: Tiles, allowed: BoolArray | None) -> float:
    """Share of the true nearest images that were found."""
    unit = tiles.vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    per_image = len(tiles) // (int(tiles.image_rows[-1]) + 1)
    hits = 0
    for rows, query in zip(found[1:], queries, strict=True):
        best = (unit @ query.astype(np.float64)).reshape(-1, per_image).max(axis=1)
        if allowed is not None:
            best[~allowed] = -np.inf
        hits += len(set(rows) & set(np.argsort(-best)[:K].tolist()))
    return hits / (K * len(queries))


def report(name: str, took: list[float], plain: list[float], share: float | None) -> None:
    ratio = np.median(took) / np.median(plain)
    told = "" if share is None else f"{share:10.3f}"
    print(f"{name:<40} {np.percentile(took, 50):8.1f} {np.percentile(took, 99):8.1f} {ratio:6.2f}x {told}")


if __name__ == "__main__":
    main()
