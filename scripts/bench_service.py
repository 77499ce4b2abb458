"""Search over HTTP at size: latency and throughput at 1, 8 and 32 clients, with and without filters, beside raw FAISS.

usage: python scripts/bench_service.py [--n 1000000] [--dim 384] [--seconds 60] [--workers 1] [--folder DIR]

Makes a synthetic workspace (kept in --folder, so that a second run starts at once), starts the real server on it and
sends searches by vector from a process of its own. Beside it, in the same run: the raw FAISS call that proposes
candidates, and the library's search that decides among them with exact similarities. Filtered answers are held
against exact search among the allowed rows. Server and clients share the machine's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _parts import processor
from _workspaces import synthetic_workspace

from curator import index
from curator.data import BoolArray, FloatArray
from curator.filters import parse_filter
from curator.searching import open_served
from curator.workspace import open_workspace
from tests.serving import serving

SELECTIVITIES = (0.5, 0.01, 0.0001)
N_QUERIES = 512


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "curator-bench-service")
    return parser.parse_args()


def quantiles(ms: Sequence[float]) -> str:
    p50, p95, p99 = np.percentile(ms, [50, 95, 99])
    return f"{p50:8.2f} {p95:8.2f} {p99:8.2f}"


def timed(task: Any, n: int) -> list[float]:
    """Milliseconds of each of n calls."""
    out = []
    for at in range(n):
        started = time.perf_counter()
        task(at)
        out.append(1000 * (time.perf_counter() - started))
    return out


def raw_faiss(searcher: index.SearchIndex, queries: FloatArray) -> list[float]:
    """The candidates alone, as the library asks for them."""
    import faiss

    faiss.omp_set_num_threads(1)
    if searcher.kind != "ivf":
        flat = faiss.IndexFlatIP(searcher.dim)
        flat.add(searcher.vectors)
        return timed(lambda at: flat.search(queries[at : at + 1], 10), len(queries))
    asked = faiss.SearchParametersIVF(nprobe=searcher.width)
    return timed(lambda at: searcher.structure.search(queries[at : at + 1], 120, params=asked), len(queries))


def filters(n: int) -> dict[str, dict[str, Any]]:
    """A filter of about each selectivity over the synthetic column `share`, which is uniform on 0..1."""
    return {f"{share:.2%}": {"column": "share", "lt": share} for share in SELECTIVITIES}


def recall(found: list[list[int]], queries: FloatArray, vectors: FloatArray, allowed: BoolArray) -> float:
    """Share of the true 10 nearest allowed rows that were answered; rows of equal similarity count as right."""
    at = np.flatnonzero(allowed)
    hits = total = 0
    for rows, query in zip(found, queries, strict=True):
        near = vectors[at] @ query
        k = min(10, len(at))
        floor = np.partition(near, -k)[-k] - 1e-5
        hits += sum(1 for row in rows if allowed[row] and float(vectors[row] @ query) >= floor)
        total += k
    return hits / total


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its children, MB."""
    total, pids = 0.0, [pid]
    while pids:
        one = pids.pop()
        try:
            status = Path(f"/proc/{one}/status").read_text()
            pids += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
        total += next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
    return total


def load(port: int, n_clients: int, seconds: float, requests: Path) -> dict[str, Any]:
    out = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("_load.py")), *map(str, (port, n_clients, seconds, requests))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(out.stdout)
    return found


def ask(port: int, path: str, bodies: list[dict[str, Any]]) -> list[list[int]]:
    """Rows of each answer, by the Python standard library: a client that cannot hide a fault."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    out = []
    for body in bodies:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text[:500]
        out.append([hit["row"] for hit in json.loads(text)["hits"]])
    connection.close()
    return out


def main() -> None:
    asked = parsed()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = asked.folder / f"{asked.n}x{asked.dim}"
    if not (folder / "workspace.json").exists():
        started = time.perf_counter()
        synthetic_workspace(folder, asked.n, asked.dim, kind="ivf")
        print(f"made the workspace in {time.perf_counter() - started:.0f} s")
    served = open_served(open_workspace(folder))
    space = served.space(None)
    searcher, vectors = space.index, space.index.vectors
    rng = np.random.default_rng(7)
    seeds = rng.choice(asked.n, N_QUERIES)
    noise = rng.standard_normal((N_QUERIES, asked.dim), dtype=np.float32) * (0.3 / asked.dim**0.5)
    queries: FloatArray = vectors[seeds] + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    bodies = [{"positives": [{"vector": [round(float(x), 6) for x in query]}], "k": 10} for query in queries]

    print(processor())
    print(f"{asked.n:,} x {asked.dim}, k = 10, index {searcher.kind}, measured recall {searcher.recall:.3f}, "
          f"{asked.workers} worker(s), {asked.seconds:g} s a line; server and clients share the cores\n")  # fmt: skip
    print(f"{'in this process, one at a time':<44} {'p50 ms':>8} {'p95':>8} {'p99':>8}")
    raw = raw_faiss(searcher, queries)
    print(f"{'raw FAISS call (candidates)':<44} {quantiles(raw)}")
    library = timed(lambda at: searcher.search(queries[at : at + 1], 10), N_QUERIES)
    print(f"{'library search (exact similarities)':<44} {quantiles(library)}")

    name = folder.name
    path = f"/v1/workspaces/{name}/search"
    with tempfile.TemporaryDirectory() as scratch, serving(folder, "--workers", str(asked.workers)) as server:
        started = time.perf_counter()
        ask(server.port, path, bodies[:8] * asked.workers)
        print(f"\nfirst answer after {time.perf_counter() - started:.1f} s (vectors and index are loaded)")
        before = rss_mb(server.process.pid)
        titles = "".join(f"{title:>8} " for title in ("p50 ms", "p95", "p99", "per s", "errors"))
        print(f"\n{'over HTTP':<24} {'clients':>8} {titles} recall@10")
        cases: dict[str, dict[str, Any] | None] = {"no filter": None, **filters(asked.n)}
        for label, filter_ in cases.items():
            sent = [{**body, **({"filter": filter_} if filter_ else {})} for body in bodies]
            requests = Path(scratch) / "requests.jsonl"
            requests.write_text("\n".join(json.dumps({"path": path, "body": body}) for body in sent), encoding="utf-8")
            found = ask(server.port, path, sent[:100])
            allowed = np.ones(asked.n, bool) if filter_ is None else np.asarray(served.mask(parse_filter(filter_)))
            share = recall(found, queries[:100], vectors, allowed)
            for n_clients in asked.clients:
                got = load(server.port, n_clients, asked.seconds, requests)
                print(f"{label:<24} {n_clients:>8} {quantiles(got['ms'])} {got['n'] / got['seconds']:8.0f} "
                      f"{sum(got['errors'].values()):>7}  {share:.3f}")  # fmt: skip
                if filter_ is None and n_clients == 1:
                    over = float(np.median(got["ms"]))
                    print(f"{'':<24} {over - float(np.median(raw)):.2f} ms over the raw FAISS call, "
                          f"{over - float(np.median(library)):.2f} ms over the library's search, at p50")  # fmt: skip
        print(f"\nserver memory {before:.0f} MB after the first answer, {rss_mb(server.process.pid):.0f} MB at the end")


if __name__ == "__main__":
    main()
