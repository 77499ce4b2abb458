"""Recompute what the workspace promises, from the stored vectors and tables alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curator import neardups
from curator.data import Progress, no_progress
from curator.errors import CuratorError
from curator.workspace import Workspace

LENGTH_TOLERANCE = 2e-3  # float16 rounding moves the length of a unit vector by less


@dataclass(frozen=True, slots=True)
class Verification:
    """What holds and what does not."""

    checks: dict[str, str] = field(default_factory=dict)  # check: what was found
    faults: tuple[str, ...] = ()  # one sentence each; empty: everything holds
    certificate: dict[str, Any] | None = None  # of the near-duplicates; None before that stage

    @property
    def is_sound(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def verify(workspace: Workspace, *, progress: Progress = no_progress) -> Verification:
    """Check every file the manifest names, the vectors, the graph and the near-duplicate certificate.

    The certificate is recomputed: each removed row must have a kept one at or above the
    threshold and name the nearest, and no two kept rows may be that close.
    """
    checks: dict[str, str] = {}
    faults: list[str] = []
    certificate: dict[str, Any] | None = None
    steps = (_files, _vectors, _graph, _certificate, _selections)
    for at, step in enumerate(steps):
        progress("verify", at, len(steps))
        try:
            name, found, wrong, extra = step(workspace)
        except CuratorError as error:
            faults.append(str(error))
            continue
        checks[name] = found
        faults += wrong
        certificate = extra or certificate
    progress("verify", len(steps), len(steps))
    return Verification(checks, tuple(faults), certificate)


Found = tuple[str, str, list[str], dict[str, Any] | None]


def _files(workspace: Workspace) -> Found:
    """Every file is there, and every table can be read to its end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wrong: list[str] = []
    n = 0
    for key, entries in workspace.snapshot.entries.items():
        for entry in entries:
            for file in (entry.file, entry.meta.get("rows"), entry.meta.get("faiss")):
                if file is None:
                    continue
                n += 1
                path = workspace.path / str(file)
                try:
                    if not path.exists():
                        wrong.append(f"{file} (of {key}) is gone; rerun the stage that made it")
                    elif path.suffix == ".parquet":
                        found = sum(batch.num_rows for batch in pq.ParquetFile(path).iter_batches())
                        if found != entry.n:
                            wrong.append(f"{file} has {found} rows, the manifest says {entry.n}")
                except (pa.ArrowInvalid, OSError) as error:
                    wrong.append(f"{file} cannot be read: {' '.join(str(error).split())[:120]}")
    return "files", f"{n} files named by the manifest", wrong, None


def _vectors(workspace: Workspace) -> Found:
    wrong: list[str] = []
    found = []
    for space in workspace.names("vectors"):
        n = 0
        for entry in workspace.entries(f"vectors/{space}"):
            try:
                rows = np.load(workspace.path / str(entry.meta["rows"]))
                stored = np.load(workspace.file(entry), mmap_mode="r") if entry.n else np.empty((0, 1), np.float16)
            except (OSError, ValueError, EOFError) as error:
                wrong.append(f"{entry.file} cannot be read: {' '.join(str(error).split())[:120]}")
                continue
            if len(rows) != len(stored):
                wrong.append(f"{entry.file} holds {len(stored)} vectors for {len(rows)} rows")
            for start in range(0, len(stored), 8192):
                length = np.linalg.norm(stored[start : start + 8192].astype(np.float32), axis=1)
                bad = np.flatnonzero(~(np.abs(length - 1.0) < LENGTH_TOLERANCE))
                if len(bad):
                    at = int(bad[0])
                    wrong.append(
                        f"{entry.file}: the vector of row {rows[start + at]} has length {length[at]:.4g}, not 1"
                    )
            n += len(stored)
        found.append(f"{n} unit vectors in {space}")
    return "vectors", ", ".join(found) or "no vectors yet", wrong, None


def _graph(workspace: Workspace) -> Found:
    wrong: list[str] = []
    found = []
    active = workspace.snapshot.stages["embed"].counts.get("space") if "embed" in workspace.snapshot.stages else None
    for space in workspace.names("index"):
        rows, graph = workspace.neighbors(space)
        if not np.array_equal(rows, workspace.embeddings(space).rows):
            if space != active:  # of a model used before; `run` brings it up to date when it is used again
                found.append(f"the graph of {space} is out of date")
                continue
            wrong.append(f"the neighbour graph of {space} is over other rows than the vectors; run `curator index`")
        found.append(f"{len(rows)} x {graph.k} neighbours in {space}, recall {graph.recall:.4f}")
    return "graph", ", ".join(found) or "no neighbour graph yet", wrong, None


def _certificate(workspace: Workspace) -> Found:
    entries = workspace.entries("columns/neardup")
    if not entries:
        return "certificate", "near-duplicates not looked for yet", [], None
    meta = entries[0].meta
    table = workspace.column("neardup")
    embeddings = workspace.embeddings(meta["space"])
    rows = table["row"].to_numpy()
    if not np.array_equal(rows, embeddings.rows):
        fault = f"near-duplicates cover {len(rows)} rows, there are {len(embeddings)} now; run `curator neardups`"
        return "certificate", "out of date", [fault], None
    kinds = np.asarray(table["duplicate"].to_pylist(), dtype=object)
    result = neardups.Cover(
        kept=kinds == "kept",
        representative=embeddings.positions_of(table["representative"].to_numpy()),
        similarity=table["similarity"].to_numpy(),
        exact=kinds == "exact",
        threshold=float(meta["threshold"]),
    )
    again = neardups.certify(embeddings.vectors, result, threads=len(os.sched_getaffinity(0)))
    found = f"{again.removed} removed, {again.orphans} orphans, {again.kept_pairs_above} kept pairs above"
    return "certificate", found, list(again.faults()), again.to_dict()


def _selections(workspace: Workspace) -> Found:
    wrong: list[str] = []
    names = workspace.names("selections")
    for name in names:
        rows = workspace.selection(name).rows
        if len(np.unique(rows)) != len(rows):
            wrong.append(f"selection {name!r} holds a row twice")
        if len(rows) and (rows.min() < 0 or rows.max() >= workspace.n_rows):
            wrong.append(f"selection {name!r} holds rows that were never given")
    return "selections", ", ".join(names) or "no selection yet", wrong, None
