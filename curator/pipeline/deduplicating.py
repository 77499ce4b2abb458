"""Near-duplicates of a workspace: columns in, the cover and its certificate out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curator import embed
from curator import neardups as duplicates
from curator.catalog import Catalog
from curator.config import Config
from curator.data import Progress
from curator.errors import UsageError
from curator.pipeline.derive import floats, rows_table, threads, vectors_and_graph, write_column
from curator.workspace import Workspace, Writer

if TYPE_CHECKING:
    Counts = dict[str, Any]


def threshold(config: Config) -> float:
    """Near-duplicate threshold: as configured, else the model's plain default."""
    return config.neardups.threshold or embed.describe(config.embed.model).threshold


def neardups(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Remove exact and near-duplicates so that every removed row names its nearest kept one."""
    workspace = writer.workspace
    embeddings, graph = vectors_and_graph(workspace, config)
    policy = config.neardups.keep
    column = [policy.partition(":")[2]] if ":" in policy else []
    _check_keep_column(workspace, column)
    table = rows_table(workspace, embeddings.rows, ["digest", "sharpness", "size_px", "labels", *column])
    columns = {name: floats(table, name) for name in ("sharpness", "size_px", *column)}
    columns["labelled"] = np.asarray([bool(labels) for labels in table["labels"].to_pylist()], np.float32)
    result = duplicates.cover(
        embeddings.vectors,
        graph,
        threshold(config),
        policy=policy,
        scores=duplicates.priority(policy, columns),
        sharpness=columns["sharpness"],
        digest_groups=duplicates.exact_groups(table["digest"].to_pylist()),
        threads=threads(config),
        progress=progress,
    )
    certificate = duplicates.certify(embeddings.vectors, result, threads=threads(config))
    kinds = np.where(result.kept, "kept", np.where(result.exact, "exact", "near"))
    decided = {
        "row": embeddings.rows,
        "duplicate": kinds.tolist(),
        "representative": embeddings.rows[result.representative],
        "similarity": result.similarity.astype(np.float32),
    }
    meta = {"space": embeddings.space, "threshold": result.threshold, "certificate": certificate.to_dict()}
    write_column(writer, "neardup", decided, meta)
    return {
        "n_kept": int(result.kept.sum()),
        "n_exact": int((result.exact & ~result.kept).sum()),
        "n_near": int((~result.exact & ~result.kept).sum()),
        "threshold": round(result.threshold, 4),
        "orphans": certificate.orphans,
    }


def _check_keep_column(workspace: Workspace, names: list[str]) -> None:
    """Refuse a keep policy by a column that comes after near-duplicates."""
    with Catalog(workspace) as catalog:
        origins = {column.name: column.origin for column in catalog.columns()}
    for name in names:
        if origins.get(name) in ("neardup", "cluster", "map"):
            raise UsageError(f"neardups.keep: column {name!r} is made from near-duplicates; choose another column")
