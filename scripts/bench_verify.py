"""What `curator verify` costs on a large workspace: seconds and memory, with everything it checks in place.

    python scripts/bench_verify.py --n 100000 --dim 384

A workspace of synthetic vectors is written with its graph, near-duplicates and clusters, then verified in a
fresh process. The graph is one of chance: verify reads it to its end but does not search it again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import cluster, neardups, pipeline
from curator.data import FloatArray, Neighbors
from curator.index.spec import limited_threads
from curator.pipeline import derive
from curator.snapshot import Entry
from curator.workspace import Writer, create_workspace, open_workspace

SPACE = "synthetic"


def make(vectors: FloatArray, options: argparse.Namespace, place: Path) -> Figures:
    """Write the workspace that the other part verifies."""
    started = time.process_time()
    with create_workspace(place).writing("benchmark") as writer:
        _vectors(writer, vectors)
        _graph(writer, len(vectors), options)
        read = writer.workspace.embeddings(SPACE).vectors
        found = neardups.cover(read, None, options.threshold, threads=options.threads)
        proof = neardups.certify(read, found, threads=options.threads)
        kinds = np.where(found.kept, "kept", "near").tolist()
        rows = np.arange(len(vectors))
        decided = {
            "row": rows, "duplicate": kinds, "representative": found.representative, "similarity": found.similarity,
        }  # fmt: skip
        meta = {"space": SPACE, "threshold": options.threshold, "certificate": proof.to_dict()}
        derive.write_column(writer, "neardup", decided, meta)
        groups = cluster.kmeans(read, threads=options.threads)
        columns = {"row": rows, "cluster": groups.labels, "cluster_distance": groups.distance}
        names = {"space": SPACE, "names": [str(i) for i in range(len(groups))]}
        centres = Entry(f"index/{SPACE}-centres.npy", "0", n=len(groups))
        assert groups.centres is not None
        writer.write_array(centres.file, groups.centres)
        derive.write_column(writer, "cluster", columns, names, beside={f"centres/{SPACE}": [centres]})
    return {"made in cpu_s": time.process_time() - started, "kept": int(found.kept.sum())}


def verify(_: FloatArray, options: argparse.Namespace, place: Path) -> Figures:
    """Everything `curator verify` checks."""
    workspace = open_workspace(place)
    started, wall = time.process_time(), time.perf_counter()
    found = pipeline.verify(workspace)
    if not found.is_sound:
        raise SystemExit("; ".join(found.faults))
    return {
        "verify cpu_s": time.process_time() - started,
        "verify wall s": time.perf_counter() - wall,
        "peak memory MB": peak_mb(),
        "of which the vectors MB": options.n * options.dim * 4 / 2**20,
        **found.checks,
    }


PARTS = {"make": make, "verify": verify}


def _vectors(writer: Writer, vectors: FloatArray) -> None:
    stem = f"vectors/{SPACE}/00000"
    writer.write_array(f"{stem}.npy", vectors.astype(np.float16))
    writer.write_array(f"{stem}.rows.npy", np.arange(len(vectors)))
    meta = {"rows": f"{stem}.rows.npy", "dim": vectors.shape[1], "model": SPACE, "faults": []}
    writer.publish({f"vectors/{SPACE}": [Entry(f"{stem}.npy", "0", part=0, n=len(vectors), meta=meta)]})


def _graph(writer: Writer, n: int, options: argparse.Namespace) -> None:
    rng = np.random.default_rng(options.seed)
    positions = rng.integers(n, size=(n, options.k))
    graph = Neighbors(positions, np.zeros((n, options.k), np.float32), 1.0)
    file = f"index/{SPACE}.neighbors.npz"
    writer.write(file, lambda out: np.savez(
        out, rows=np.arange(n), positions=graph.positions.astype(np.int32), similarity=graph.similarity
    ))  # fmt: skip
    meta = {"kind": "flat", "recall": 1.0, "k": options.k, "notes": [], "faiss": None}
    writer.publish({f"index/{SPACE}": [Entry(file, "0", n=n, meta=meta)]})


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    with limited_threads(options.threads):
        return PARTS[name](
            np.load(path) if name == "make" else np.empty((0, 0), np.float32), options, path.parent / "w"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=30, help="neighbours in the graph")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    run_parts(run_part, PARTS, argparse.Namespace(**vars(parser.parse_args()), only=None))
