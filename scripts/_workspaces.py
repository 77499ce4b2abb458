"""A workspace of any size without images, for benchmarks of search and of the service.

Made file by file as the stages would, from synthetic vectors and columns; only the index is really built. A
folder that already holds the same workspace is used as it is, so a benchmark can be repeated at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _synthetic import clustered

from curator import embed, index
from curator.config import Config
from curator.data import IntArray
from curator.disk import put_bytes
from curator.snapshot import Entry, StageRecord, fingerprint
from curator.workspace import MANIFEST, PART_ROWS, Workspace, Writer, create_workspace, open_workspace

VERSION = 1
FRAMES = 250  # of one video
GROUP = 4  # images of one near-duplicate group
WEATHER = ("clear", "cloudy", "fog", "night", "rain", "snow")


def synthetic_workspace(
    folder: Path | str, n: int, dim: int, *, seed: int = 0, kind: index.Kind = "auto", threads: int | None = 1
) -> Workspace:
    """Make, or open again, a workspace of n rows.

    Columns besides those of every workspace: `share`, uniform in 0..1, so that {"column": "share", "lt": s} lets a
    share s through whatever is searched for; `weather`, six words of uneven frequency; `speed_kmh`, a number with gaps.
    Four of five rows are frames of videos of 250 frames, and near-duplicate groups are four rows in a row.

    Args:
        folder: made where nothing is there; its parent exists.
        n: rows, all present and all with a vector.
        dim: numbers per vector.
        kind: of the index; auto: flat up to 50,000 and lists above.
        threads: that build the index; None for all.
    """
    made_of = {"synthetic": VERSION, "n": n, "dim": dim, "seed": seed, "kind": kind}
    path = Path(folder).absolute()
    if (path / MANIFEST).exists():
        place = open_workspace(path)
        if place.snapshot.config.get("_synthetic") == made_of:
            return place
        raise SystemExit(f"{path} holds another workspace than {made_of}; name a new folder")
    place = create_workspace(path)
    model = f"vectors:{path / 'synthetic.npy'}"
    with place.writing("synthetic") as writer:
        entries = _tables(writer, n, np.random.default_rng(seed))
        entries[f"vectors/{embed.space_name(model)}"] = _vectors(writer, n, dim, seed, model)
        config = Config().model_dump(mode="json") | {"_synthetic": made_of}
        config["embed"]["model"] = model
        record = StageRecord("synthetic", 0.0, 0.0, {"space": embed.space_name(model)})
        writer.publish(entries, stages={"embed": record}, config=config)
        writer.publish({f"index/{embed.space_name(model)}": [_index(writer, kind, seed, threads)]})
    return open_workspace(path)


def _tables(writer: Writer, n: int, rng: np.random.Generator) -> dict[str, list[Entry] | None]:
    entries: dict[str, list[Entry] | None] = {}
    for key, make in (("samples", _samples), ("columns/pixels", _pixels)):
        parts = []
        for at, first in enumerate(range(0, n, PART_ROWS)):
            rows = np.arange(first, min(first + PART_ROWS, n))
            meta = {"first": first, "identity": "synthetic"}
            parts.append(_put(writer, f"{key}/{at:05d}", make(rows, rng), at, meta))
        entries[key] = parts
    rows = np.arange(n)
    whole: dict[str, Callable[[IntArray, np.random.Generator], pa.Table]] = {
        "presence": _presence, "neardup": _neardup, "cluster": _cluster,
    }  # fmt: skip
    metas: dict[str, dict[str, Any]] = {
        "presence": {"statuses": "synthetic"}, "neardup": {"threshold": 0.95, "threshold_origin": "given"},
        "cluster": {},
    }  # fmt: skip
    for name, make_whole in whole.items():
        entries[f"columns/{name}"] = [_put(writer, f"columns/{name}", make_whole(rows, rng), None, metas[name])]
    return entries


def _put(writer: Writer, stem: str, table: pa.Table, part: int | None, meta: dict[str, Any]) -> Entry:
    stamp = fingerprint("synthetic", stem, table.num_rows)
    file = f"{stem}-{stamp}.parquet"
    writer.write_table(file, table)
    return Entry(file, stamp, part=part, n=table.num_rows, meta=meta)


def _samples(rows: IntArray, rng: np.random.Generator) -> pa.Table:
    n = len(rows)
    is_frame = rows % 5 > 0
    video, second = rows // FRAMES, rows % FRAMES
    files = [f"/footage/{row:08d}.jpg" for row in rows.tolist()]
    for i in np.flatnonzero(is_frame).tolist():
        files[i] = f"/footage/clip{video[i]:06d}.mp4"
    uris = [f"{file}#t={s:.3f}" if f else file for file, s, f in zip(files, second.tolist(), is_frame, strict=True)]
    weather = rng.choice(len(WEATHER), size=n, p=[0.4, 0.3, 0.05, 0.15, 0.08, 0.02])
    labels = [sorted({f"class{label}" for label in some}) for some in rng.geometric(0.2, size=(n, 2)).tolist()]
    return pa.table({
        "row": rows, "uri": uris, "file": files, "kind": np.where(is_frame, "frame", "image").tolist(),
        "time_s": pa.array(second.astype(float), mask=~is_frame), "offset": pa.array(second * 512, mask=~is_frame),
        "size_bytes": rng.integers(50_000, 500_000, n), "modified": 1.7e9 + rows.astype(float),
        "file_digest": pa.nulls(n, pa.string()),
        "split": rng.choice(["train", "val"], size=n, p=[0.8, 0.2]).tolist(), "labels": labels,
        "reason": pa.nulls(n, pa.string()), "message": pa.nulls(n, pa.string()),
        "share": rng.random(n), "weather": [WEATHER[i] for i in weather],
        "speed_kmh": pa.array(rng.gamma(4.0, 12.0, n), mask=rng.random(n) < 0.1),
    })  # fmt: skip


def _pixels(rows: IntArray, rng: np.random.Generator) -> pa.Table:
    n = len(rows)
    measures = {
        name: rng.random(n).astype(np.float32) for name in ("sharpness", "brightness", "contrast", "saturation")
    }
    return pa.table({
        "row": rows, **measures, "width": np.full(n, 1920), "height": np.full(n, 1080),
        "size_px": np.full(n, 1920 * 1080),
        "digest": [f"{row:064x}" for row in rows.tolist()], "phash": rng.integers(2**63, size=n).astype(np.uint64),
        "format": ["JPEG"] * n, "reason": pa.nulls(n, pa.string()), "message": pa.nulls(n, pa.string()),
    })  # fmt: skip


def _presence(rows: IntArray, rng: np.random.Generator) -> pa.Table:
    return pa.table({"row": rows, "status": ["present"] * len(rows), "modified": 1.7e9 + rows.astype(float)})


def _neardup(rows: IntArray, rng: np.random.Generator) -> pa.Table:
    kept = rows - rows % GROUP
    similarity = np.where(kept == rows, 1.0, rng.uniform(0.95, 1.0, len(rows))).astype(np.float32)
    duplicate = np.where(kept == rows, "kept", "near").tolist()
    return pa.table({"row": rows, "duplicate": duplicate, "representative": kept, "similarity": similarity})


def _cluster(rows: IntArray, rng: np.random.Generator) -> pa.Table:
    cluster = np.minimum(rng.geometric(0.05, len(rows)), 100)
    return pa.table({"row": rows, "cluster": cluster, "cluster_name": [f"group {c}" for c in cluster.tolist()]})


def _vectors(writer: Writer, n: int, dim: int, seed: int, model: str) -> list[Entry]:
    vectors = clustered(n, dim, seed=seed)
    space, parts = embed.space_name(model), []
    for at, first in enumerate(range(0, n, PART_ROWS)):
        part = vectors[first : first + PART_ROWS]
        stem = f"vectors/{space}/{at:05d}-{fingerprint('synthetic', n, dim, seed, at)}"
        writer.write_array(f"{stem}.npy", part.astype(np.float16))
        writer.write_array(f"{stem}.rows.npy", np.arange(first, first + len(part), dtype=np.int64))
        meta = {"rows": f"{stem}.rows.npy", "dim": dim, "model": model, "faults": []}
        parts.append(Entry(f"{stem}.npy", "synthetic", part=at, n=len(part), meta=meta))
    return parts


def _index(writer: Writer, kind: index.Kind, seed: int, threads: int | None) -> Entry:
    """The search index; the neighbour graph beside it is left empty, since searching does not read it."""
    embeddings = writer.workspace.embeddings()
    searcher = index.build(embeddings.vectors, index.IndexSpec(kind=kind, seed=seed, threads=threads))
    stem = f"index/{embeddings.space}-synthetic"
    n = len(embeddings)

    def put(out: Any) -> None:
        np.savez(
            out, rows=embeddings.rows, positions=np.empty((n, 0), np.int32), similarity=np.empty((n, 0), np.float32)
        )  # fmt: skip

    writer.write(f"{stem}.neighbors.npz", put)
    if searcher.kind != "flat":
        stored = searcher.to_bytes()
        writer.write(f"{stem}.faiss", lambda out: put_bytes(out, stored))
    meta = {
        "kind": searcher.kind, "recall": 1.0, "search_recall": searcher.recall, "k": 0, "notes": list(searcher.notes),
        "faiss": f"{stem}.faiss" if searcher.kind != "flat" else None,
    }  # fmt: skip
    return Entry(f"{stem}.neighbors.npz", "synthetic", n=n, meta=meta)
