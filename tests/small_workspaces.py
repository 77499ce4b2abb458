"""A workspace made of vectors and columns at hand, without images, for tests of search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curator import embed, index
from curator.config import Config
from curator.data import FloatArray
from curator.disk import put_bytes
from curator.snapshot import Entry, StageRecord
from curator.workspace import Workspace, Writer, create_workspace


def workspace_of(
    path: Path,
    vectors: FloatArray,
    columns: dict[str, Any] | None = None,
    *,
    rows: list[int] | None = None,
    n_rows: int | None = None,
    spec: index.IndexSpec | None = None,
    model: str = "colour",
    results: dict[str, dict[str, Any]] | None = None,
    status: list[str] | None = None,
    config: dict[str, Any] | None = None,
) -> Workspace:
    """Rows with metadata `columns`, vectors for `rows` (all without it), an index, and result columns by file."""
    at = np.arange(len(vectors)) if rows is None else np.asarray(rows, np.int64)
    n = n_rows or (len(vectors) if rows is None else max(rows) + 1)
    place = create_workspace(path)
    space = embed.space_name(model)
    with place.writing("test") as writer:
        entries: dict[str, list[Entry] | None] = {"samples": [table(writer, "samples/0", samples(n, columns or {}))]}
        there = status or ["present"] * n
        given = {"presence": {"row": range(n), "status": there, "modified": [1.0] * n}, **(results or {})}
        for name, values in given.items():
            entry = table(writer, f"columns/{name}", pa.table({"row": pa.array(range(n), pa.int64()), **values}))
            meta = {"space": space} if name == "tags" else {"statuses": "x"}
            entries[f"columns/{name}"] = [Entry(entry.file, "x", n=n, meta=meta)]
        writer.write_array(f"vectors/{space}/0.npy", vectors.astype(np.float16))
        writer.write_array(f"vectors/{space}/0.rows.npy", at)
        beside: dict[str, Any] = {
            "rows": f"vectors/{space}/0.rows.npy",
            "dim": vectors.shape[1],
            "model": model,
            "faults": [],
        }
        entries[f"vectors/{space}"] = [Entry(f"vectors/{space}/0.npy", "x", part=0, n=len(vectors), meta=beside)]
        settings = Config().model_dump(mode="json")
        settings["embed"]["model"] = model
        for key, value in (config or {}).items():
            section, _, name = key.partition(".")
            settings[section][name] = value
        writer.publish(entries, stages={"embed": StageRecord("x", 0.0, 0.0, {"space": space})}, config=settings)
        writer.publish({f"index/{space}": [put_index(writer, place, space, spec or index.IndexSpec(kind="flat"))]})
    return place


def samples(n: int, columns: dict[str, Any]) -> pa.Table:
    own: dict[str, Any] = {
        "row": pa.array(range(n), pa.int64()), "uri": [f"{i}.jpg" for i in range(n)],
        "file": [f"{i}.jpg" for i in range(n)], "kind": ["image"] * n, "time_s": pa.nulls(n, pa.float64()),
        "offset": pa.nulls(n, pa.int64()), "size_bytes": [1] * n, "modified": [1.0] * n,
        "file_digest": pa.nulls(n, pa.string()), "split": pa.nulls(n, pa.string()),
        "labels": pa.nulls(n, pa.list_(pa.string())), "reason": pa.nulls(n, pa.string()),
        "message": pa.nulls(n, pa.string()),
    }  # fmt: skip
    return pa.table({**own, **columns})


def table(writer: Writer, stem: str, values: pa.Table) -> Entry:
    writer.write_table(f"{stem}.parquet", values)
    return Entry(f"{stem}.parquet", "x", n=values.num_rows, meta={"first": 0, "identity": "x"})


def put_index(writer: Writer, place: Workspace, space: str, spec: index.IndexSpec) -> Entry:
    embeddings = place.embeddings(space)
    searcher = index.build(embeddings.vectors, spec)
    none = np.empty((len(embeddings), 0))

    def put(out: Any) -> None:
        np.savez(out, rows=embeddings.rows, positions=none.astype(np.int32), similarity=none.astype(np.float32))

    writer.write(f"index/{space}.npz", put)
    file = None
    if searcher.kind != "flat":
        file = f"index/{space}.faiss"
        stored = searcher.to_bytes()
        writer.write(file, lambda out: put_bytes(out, stored))
    meta: dict[str, Any] = {
        "kind": searcher.kind,
        "recall": 1.0,
        "search_recall": searcher.recall,
        "k": 0,
        "notes": [],
        "faiss": file,
    }
    return Entry(f"index/{space}.npz", "x", n=len(embeddings), meta=meta)


class Decided:
    """What people decided, from a plain dictionary."""

    def __init__(self, **named: list[int]) -> None:
        self.named = named

    def rows_tagged(self, names: Any) -> Any:
        return np.unique(np.asarray([row for name in names for row in self.named.get(name, [])], np.int64))

    def collection(self, name: str) -> Any:
        return np.asarray(self.named[name], np.int64)
