"""Recompute what the workspace promises, from the stored vectors and tables alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curator import cluster as clustering
from curator import neardups
from curator.config import from_dict
from curator.data import Embeddings, FloatArray, IntArray, Progress, no_progress
from curator.errors import CuratorError, DamagedWorkspace, StageMissing
from curator.pipeline import splitting
from curator.pipeline.calibrating import metric_of
from curator.pipeline.deduplicating import learnt_stamp, stored_cover
from curator.workspace import Workspace

LENGTH_TOLERANCE = 2e-3  # float16 rounding moves the length of a unit vector by less
NEARER = 1e-4  # centres this equally near are a matter of rounding


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
    threshold and name the nearest, and no two kept rows may be that close; per group where
    near-duplicates were looked for within groups. Files and vectors are read a block at a time,
    pairs are counted and not held: beside the vectors themselves (n x d x 4 bytes) little is needed.
    """
    checks: dict[str, str] = {}
    faults: list[str] = []
    certificate: dict[str, Any] | None = None
    steps = (_files, _vectors, _graph, _certificate, _clusters, _selections, _splits)
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
        if not np.array_equal(rows, _rows_of(workspace, space)):
            if space != active:  # of a model used before; `run` brings it up to date when it is used again
                found.append(f"the graph of {space} is out of date")
                continue
            wrong.append(f"the neighbour graph of {space} is over other rows than the vectors; run `curator index`")
        found.append(f"{len(rows)} x {graph.k} neighbours in {space}, recall {graph.recall:.4f}")
    return "graph", ", ".join(found) or "no neighbour graph yet", wrong, None


def _rows_of(workspace: Workspace, space: str) -> IntArray:
    """Rows that have a vector and a file, without reading the vectors."""
    try:
        parts = [np.load(workspace.path / str(e.meta["rows"])) for e in workspace.entries(f"vectors/{space}") if e.n]
    except (OSError, ValueError, EOFError) as error:
        raise DamagedWorkspace(f"the rows of {space} in {workspace.path} cannot be read: {error}") from error
    rows = np.concatenate([np.empty(0, np.int64), *parts])
    if not workspace.entries("columns/presence"):
        return rows
    presence = workspace.column("presence", ["row", "status"])
    gone = presence["row"].to_numpy()[np.asarray(presence["status"]) != "present"]
    return rows[~np.isin(rows, gone)]


def _certificate(workspace: Workspace) -> Found:
    entries = workspace.entries("columns/neardup")
    if not entries:
        return "certificate", "near-duplicates not looked for yet", [], None
    meta = entries[0].meta
    table = workspace.column("neardup")
    embeddings = workspace.embeddings(meta["space"])
    if not np.array_equal(table["row"].to_numpy(), embeddings.rows):
        fault = f"near-duplicates cover {table.num_rows} rows, there are {len(embeddings)} now; run `curator neardups`"
        return "certificate", "out of date", [fault], None
    metric = _metric(workspace, embeddings, meta)
    if metric is None:
        fault = f"near-duplicates were decided in {meta['metric']}, which was learnt anew since; run `curator neardups`"
        return "certificate", "out of date", [fault], None
    again = neardups.certify(
        metric.vectors,
        stored_cover(table, metric, float(meta["threshold"])),
        groups=table["duplicate_group"].to_numpy() if "duplicate_group" in table.column_names else None,
        threads=len(os.sched_getaffinity(0)),
    )
    found = f"{again.removed} removed, {again.orphans} orphans, {again.kept_pairs_above} kept pairs above"
    return "certificate", found, list(again.faults()), again.to_dict()


def _metric(workspace: Workspace, embeddings: Embeddings, meta: Mapping[str, Any]) -> Embeddings | None:
    """The vectors that near-duplicates were decided in; None where that metric was since learnt anew or taken away."""
    if meta.get("metric", embeddings.space) == embeddings.space:
        return embeddings
    if learnt_stamp(workspace, embeddings.space) != list(meta["metric_stamp"]):
        return None
    stored = {key: value for key, value in workspace.snapshot.config.items() if not key.startswith("_")}
    config = from_dict({**stored, "neardups": {**stored.get("neardups", {}), "space": "copies"}})
    try:
        return metric_of(workspace, config, embeddings)
    except StageMissing:
        return None


def _clusters(workspace: Workspace) -> Found:
    """Every clustered row is with the nearest of the stored centres."""
    entries = workspace.entries("columns/cluster")
    if not entries:
        return "clusters", "no clusters yet", [], None
    meta = entries[0].meta
    centres = workspace.entries(f"centres/{meta['space']}")
    table = workspace.column("cluster", ["row", "cluster", "cluster_distance"])
    shown = f"{len(meta['names'])} clusters of {table.num_rows} rows"
    if not centres:
        return "clusters", shown, [], None
    embeddings = workspace.embeddings(meta["space"])
    rows = table["row"].to_numpy()
    if not np.array_equal(rows, embeddings.rows):
        return "clusters", "out of date", [], None  # no promise is made of rows that came later
    try:
        stored = np.load(workspace.file(centres[0]))
    except (OSError, ValueError, EOFError) as error:
        return "clusters", shown, [f"{centres[0].file} cannot be read: {' '.join(str(error).split())[:120]}"], None
    _, nearest = clustering.assign(embeddings.vectors, stored)
    own = _own_distance(embeddings.vectors, stored, table["cluster"].to_numpy())
    n_off = int((own > nearest + NEARER).sum())
    wrong = [f"{n_off} rows are not with their nearest cluster centre; run `curator cluster --fresh`"] if n_off else []
    return "clusters", shown, wrong, None


def _own_distance(vectors: FloatArray, centres: FloatArray, labels: IntArray) -> FloatArray:
    """(n,) 1 - cosine of each vector to the centre it is said to belong to; infinite where there is no such centre."""
    distance = np.full(len(vectors), np.inf, np.float32)
    exists = np.flatnonzero((labels >= 0) & (labels < len(centres)))
    for start in range(0, len(exists), 8192):
        at = exists[start : start + 8192]
        distance[at] = 1.0 - np.einsum("ij,ij->i", vectors[at], centres[labels[at]])
    return distance


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


def _splits(workspace: Workspace) -> Found:
    """What each split promises: no group and no near-duplicates in two parts."""
    names = workspace.names("splits")
    return "splits", ", ".join(names) or "no split yet", splitting.check(workspace), None
