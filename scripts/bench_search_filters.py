"""Search of one snapshot with filters of every selectivity: latency and recall beside raw faiss calls.

    python scripts/bench_search_filters.py --n 1000000 --dim 384

Vectors are synthetic (families of clusters, 30 % in near-duplicate walks), queries are perturbed images. Filters let
a share of all through, evenly (a column uniform in 0..1) or together with the content (whole groups of alike images
that are mostly far from the query, the case that fixed probing gets wrong). Recall@10 is against exact search among
what the filter lets through. "raw faiss" is the index's own search with a selector, for as many candidates as the
answer is decided from and as many lists as an unfiltered search visits. One thread; milliseconds are its CPU time,
which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from _parts import processor
from _workspaces import synthetic_workspace

from curator.data import BoolArray, FloatArray, IntArray
from curator.filters import parse_filter
from curator.index import exact_search, measure_recall
from curator.searching import Example, Request, Served, open_served

K = 10
CANDIDATES = 260  # what the first 32 hits are decided from
SHARES = (0.5, 0.1, 0.01, 0.0001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--workspace", type=Path, help="folder to keep the workspace in; a temporary one without it")
    asked = parser.parse_args()
    faiss.omp_set_num_threads(1)
    print(f"{processor()}; {asked.n:,} x {asked.dim} synthetic vectors, {asked.queries} queries, k {K}, CPU ms")
    with tempfile.TemporaryDirectory() as folder:
        where = asked.workspace or Path(folder) / "w"
        place = synthetic_workspace(where, asked.n, asked.dim, kind="ivf")
        served = open_served(place)
        started = time.perf_counter()
        served.space()
        served.columns.load(["share", "uri", "weather", "labels", "representative"])
        print(f"loaded in {time.perf_counter() - started:.1f} s, {served.size_bytes / 1e9:.2f} GB")
        queries = perturbed(served.space().vectors, asked.queries)
        filtered_searches(served, queries)
        kinds_of_search(served, queries)
        pages(served)


def perturbed(vectors: FloatArray, n: int) -> FloatArray:
    rng = np.random.default_rng(2)
    near = vectors[rng.integers(len(vectors), size=n)]
    moved = near + 0.3 * rng.standard_normal(near.shape).astype(np.float32) / near.shape[1] ** 0.5
    unit: FloatArray = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    return unit


def filtered_searches(served: Served, queries: FloatArray) -> None:
    space = served.space()
    print(
        f"\n{'filter lets through':<28} {'p50 ms':>8} {'p99':>8} {'recall@10':>10}"
        f" {'raw faiss p50':>14} {'its recall':>11}"
    )
    rows: list[tuple[str, BoolArray | None, Any]] = [("everything", None, None)]
    rows += [(f"{share:.2%} evenly", None, parse_filter({"column": "share", "lt": share})) for share in SHARES]
    rows += [(f"{share:.2%} with the content", lists_up_to(served, share), None) for share in SHARES[:3]]
    for label, mask, condition in rows:
        allowed = served.mask(condition) if condition is not None else mask

        def search(query: FloatArray, condition: Any = condition, mask: BoolArray | None = mask) -> FloatArray:
            request = Request((Example(vector=tuple(query.tolist())),), k=K, filter=condition)
            hits = served.search(request, mask=mask).hits
            return padded([hit.similarity for hit in hits])

        ms, found = timed(search, queries)
        positions = np.arange(len(space)) if allowed is None else np.flatnonzero(space.mask_of_rows(allowed))
        truth = exact_search(queries, space.vectors if allowed is None else space.vectors[positions], K)[1]
        raw_ms, raw = timed(raw_search(space, None if allowed is None else space.mask_of_rows(allowed)), queries)
        figures = (measure_recall(found, truth), np.percentile(raw_ms, 50), measure_recall(raw, truth))
        print(
            f"{label:<28} {np.percentile(ms, 50):8.2f} {np.percentile(ms, 99):8.2f} {figures[0]:10.3f} "
            f"{figures[1]:14.2f} {figures[2]:11.3f}"
        )


def raw_search(space: Any, mask: BoolArray | None) -> Callable[[FloatArray], Any]:
    """The faiss index alone; its candidates are decided outside the clock, since its codes give no true similarity."""
    index = space.index
    chosen = {} if mask is None else {"sel": faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))}
    asked = faiss.SearchParametersIVF(nprobe=index.width, **chosen)

    def search(query: FloatArray) -> IntArray:
        at: IntArray = index.structure.search(query[None], CANDIDATES, params=asked)[1][0]
        return at

    def decided(query: FloatArray) -> FloatArray:
        at = search(query)
        at = at[at >= 0]
        return padded(sorted((space.vectors[at] @ query).tolist(), reverse=True)[:K])

    search.decided = decided  # type: ignore[attr-defined]
    return search


def timed(search: Callable[[FloatArray], Any], queries: FloatArray) -> tuple[list[float], FloatArray]:
    """Milliseconds of each query, one at a time, and (m, K) similarities found."""
    search(queries[0])
    took, found = [], []
    for query in queries:
        started = time.thread_time()
        answer = search(query)
        took.append(1e3 * (time.thread_time() - started))
        found.append(getattr(search, "decided", lambda _, answer=answer: answer)(query))
    return took, np.stack(found)


def padded(similarity: list[float]) -> FloatArray:
    return np.asarray([*similarity, *[-1.0] * (K - len(similarity))], np.float32)


def lists_up_to(served: Served, share: float) -> BoolArray:
    """Rows of randomly chosen whole lists of the index, up to a share of all."""
    space = served.space()
    assert space.index.table is not None
    of = space.index.table.of
    sizes = np.bincount(of)
    order = np.random.default_rng(3).permutation(len(sizes))
    chosen = order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), share * len(of))))]
    mask = np.zeros(served.n_rows, np.bool_)
    mask[space.rows[np.isin(of, chosen)]] = True
    return mask


def kinds_of_search(served: Served, queries: FloatArray) -> None:
    rows = [(Example(row=i * 97), Example(row=i * 89 + 7), Example(row=i * 83 + 11)) for i in range(60)]
    kinds: dict[str, Callable[[int], Request]] = {
        "a row": lambda i: Request(rows[i][:1]),
        "a row, k 100": lambda i: Request(rows[i][:1], k=100),
        "a row, k 1,000": lambda i: Request(rows[i][:1], k=1_000),
        "with uri and labels": lambda i: Request(rows[i][:1], fields=("uri", "labels")),
        "rocchio of 2 and 1": lambda i: Request(rows[i][:2], rows[i][2:]),
        "probe of 2 and 1": lambda i: Request(rows[i][:2], rows[i][2:], method="probe"),
        "max of 3": lambda i: Request(rows[i], method="max"),
        "centred": lambda i: Request(rows[i][:1], centred=True),
        "one of each near-duplicate group": lambda i: Request(rows[i][:1], group_by="neardup"),
        "one of each video": lambda i: Request(rows[i][:1], group_by="video"),
        "one of each of 6 values": lambda i: Request(rows[i][:1], group_by="weather"),
    }

    def searching(ask: Callable[[int], Request]) -> Callable[[int], Any]:
        return lambda i: served.search(ask(i))

    table("search by", {name: searching(ask) for name, ask in kinds.items()})
    print(f"recall of centred search, measured on a sample: {served.space().centred_recall:.3f}")
    batch = [Request(rows[i][:1]) for i in range(60)]
    started = time.thread_time()
    served.search_many(batch)
    print(f"60 rows in one call: {1e3 * (time.thread_time() - started) / 60:.2f} ms each")


def pages(served: Served) -> None:
    def half(i: int) -> Any:
        return parse_filter({"column": "share", "lt": 0.5 + i * 1e-6})  # another one each time: nothing is kept

    shown = ["weather", "labels", "brightness", "split", "cluster"]
    table("rows and counts", {
        "first page of 100 with two fields": lambda i: served.query(limit=100, fields=("uri", "labels")),
        "sorted by a number": lambda i: served.query(sort=[("sharpness", True)], limit=100),
        "a new filter of a half, sorted": lambda i: served.query(half(i), sort=[("sharpness", True)], limit=100),
        "sorted by two columns": lambda i: served.query(sort=[("weather", True), ("sharpness", False)], limit=100),
        "five facets under a new filter": lambda i: served.facets(half(i), shown),
    })  # fmt: skip


def table(head: str, calls: dict[str, Callable[[int], Any]]) -> None:
    print(f"\n{head:<36} {'first ms':>9} {'p50':>8} {'p99':>8}")
    for name, call in calls.items():
        took = []
        for i in range(30):
            started = time.thread_time()
            call(i)
            took.append(1e3 * (time.thread_time() - started))
        print(f"{name:<36} {took[0]:9.1f} {np.percentile(took[1:], 50):8.2f} {np.percentile(took[1:], 99):8.2f}")


if __name__ == "__main__":
    main()
