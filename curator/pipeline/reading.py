"""Ingest and embed: each part of the sample table is read once, whatever is wanted from its pixels.

The loader's chunks are staged in batches of about a thousand rows; a killed run
picks up after the last staged batch. When a part is complete its batches are
streamed into the part's files and published in one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from curator import embed, images, loader, quality
from curator.catalog import Catalog
from curator.config import Config
from curator.data import IntArray, Progress, Sample
from curator.disk import atomic_write
from curator.errors import BadEmbeddings, DataError
from curator.pipeline.scanning import identity, samples_of
from curator.snapshot import Entry, fingerprint
from curator.workspace import Writer

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
BATCH_CHUNKS = 16  # loader chunks staged at once: small enough to lose little, large enough for few files
DECIDES_PIXELS = ("mode", "margin", "max_pixels", "max_memory_mb")  # of the decode section; the rest is thumbnails
UNIT = 1e-6  # a vector shorter than this has no direction


@dataclass(frozen=True, slots=True)
class _Job:
    """What one part still lacks."""

    entry: Entry  # of the samples
    pixels: str | None  # fingerprint of the pixels to make; None: there already
    model: str | None  # to embed with; None: there already
    vectors: str  # fingerprint of the vectors

    def name(self, *other: Any) -> str:
        """Of the folder its unfinished work is staged in."""
        return fingerprint(self.entry.fingerprint, self.pixels, self.model and self.vectors, *other)


def read(writer: Writer, config: Config, *, model: str | None, progress: Progress) -> dict[str, Any]:
    """Bring pixels, thumbnails and, with a model, vectors of every part up to date.

    Args:
        model: embed with it in the same pass; None: no embedding.

    Returns:
        Counts: n_read (rows decoded now), n_unreadable; with a model also space, n_vectors, n_faults and notes.
    """
    counts: dict[str, Any]
    if model is not None and model.startswith("vectors:"):
        counts = read(writer, config, model=None, progress=progress)
        counts |= _own_vectors(writer, config, model)
        _show_faults_of(writer, embed.space_name(model))
        return counts | {"notes": _notes(counts)}
    workspace = writer.workspace
    jobs = list(_jobs(writer, config, model=model))
    size = BATCH_CHUNKS * max(loader.CHUNK, config.embed.batch)  # whole chunks: a resumed run cuts them alike
    seen = [entry.fingerprint for entry in workspace.entries("columns/presence")]  # changes when a file is touched
    total = sum(job.entry.n for job in jobs)
    done = 0
    for job in jobs:
        folder = writer.staging(job.name(size, seen))
        samples = samples_of(workspace, job.entry)
        staged = _stage(folder, samples, config, job, size, _Offset(progress, done, total))
        _assemble(writer, job, staged, config)
        done += job.entry.n
    writer.end_staging()
    counts = {"n_read": total}
    with Catalog(workspace) as catalog:
        counts["n_unreadable"] = len(catalog.rows_where("reason IS NOT NULL AND status = 'present'"))
    if model is not None:
        _show_tags_of(writer, embed.space_name(model))
        _show_faults_of(writer, embed.space_name(model))
        entries = workspace.entries(f"vectors/{embed.space_name(model)}")
        counts["space"] = embed.space_name(model)
        counts["n_vectors"] = sum(entry.n for entry in entries)
        counts["n_faults"] = sum(len(entry.meta["faults"]) for entry in entries)
        counts["notes"] = _notes(counts)
    return counts


def _show_tags_of(writer: Writer, space: str) -> None:
    """Make the tags column that of a space, or take it away where the space has none."""
    tags = writer.workspace.entries(f"tags/{space}")
    if tags != writer.workspace.entries("columns/tags"):
        writer.publish({"columns/tags": tags or None})


def _show_faults_of(writer: Writer, space: str) -> None:
    """A column with the rows whose vector could not be used, and why; none where all could."""
    import pyarrow as pa

    workspace = writer.workspace
    faults = [fault for entry in workspace.entries(f"vectors/{space}") for fault in entry.meta["faults"]]
    entries: list[Entry] = []
    if faults:
        table = pa.table({"row": [row for row, _ in faults], "vector_fault": [why for _, why in faults]})
        stamp = fingerprint("faults", space, faults)
        entries = [Entry(f"columns/fault-{stamp}.parquet", stamp, n=len(faults), meta={"space": space})]
        writer.write_table(entries[0].file, table)
    if tuple(entries) != workspace.entries("columns/fault"):
        writer.publish({"columns/fault": entries or None})


def _notes(counts: dict[str, Any]) -> list[str]:
    """What a person should know of an embedding pass, a sentence each."""
    notes = []
    if counts.get("n_faults"):
        notes.append(f"{counts['n_faults']:,} images have no usable vector; column vector_fault says why")
    if counts.get("n_unmatched"):
        notes.append(f"{counts['n_unmatched']:,} of the given vectors belong to no image here")
    return notes


def is_current(writer: Writer, config: Config, *, model: str | None) -> bool:
    """Whether every part has its pixels and, with a model, its vectors."""
    if model is not None and model.startswith("vectors:"):
        stamp = _own_stamp(writer, model)
        entries = writer.workspace.entries(f"vectors/{embed.space_name(model)}")
        is_made = bool(entries) and entries[0].fingerprint == stamp and writer.workspace.has_files(entries[0])
        return is_made and is_current(writer, config, model=None)
    return not any(True for _ in _jobs(writer, config, model=model))


def _jobs(writer: Writer, config: Config, *, model: str | None) -> Iterator[_Job]:
    workspace = writer.workspace
    decode = config.decode.model_dump()
    thumbs = {entry.part for entry in workspace.entries("thumbs") if workspace.has_files(entry)}
    have_pixels = {
        entry.part: entry.fingerprint
        for entry in workspace.entries("columns/pixels")
        if workspace.has_files(entry) and entry.part in thumbs
    }
    have_vectors: dict[int | None, str] = {}
    model_stamp: str | None = None
    if model is not None:
        stored = workspace.entries(f"vectors/{embed.space_name(model)}")
        have_vectors = {entry.part: entry.fingerprint for entry in stored if workspace.has_files(entry)}
        model_stamp = embed.fingerprint(model)
    for entry in workspace.entries("samples"):
        pixel_stamp = fingerprint("pixels", VERSION, quality.VERSION, identity(entry), decode)
        vector_stamp = fingerprint(
            "vectors",
            VERSION,
            identity(entry),
            {key: decode[key] for key in DECIDES_PIXELS},
            model_stamp,
            config.embed.n_tags,
        )
        wants_pixels = have_pixels.get(entry.part) != pixel_stamp
        wants_vectors = model is not None and have_vectors.get(entry.part) != vector_stamp
        if wants_pixels or wants_vectors:
            yield _Job(entry, pixel_stamp if wants_pixels else None, model if wants_vectors else None, vector_stamp)


class _Offset:
    """Progress of one part as progress of the whole."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self._progress, self._before, self._total = progress, before, total

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        self._progress(stage, self._before + done, self._total)


def _stage(
    folder: Path,
    samples: Sequence[tuple[int, Sample]],
    config: Config,
    job: _Job,
    size: int,
    progress: _Offset,
) -> list[Path]:
    """Read what is not staged yet; returns the batches in order."""
    import pyarrow.feather as feather

    paths = [folder / f"{at:05d}.arrow" for at in range(-(-len(samples) // size))]
    at = next((i for i, path in enumerate(paths) if not path.exists()), len(paths))
    before = at * size
    chunks = loader.read(
        samples[before:], _plan(config, job), progress=lambda stage, done, total: progress(stage, before + done, total)
    )
    batches = _cut((_chunk_table(chunk, job) for chunk in chunks), size)
    for path, batch in zip(paths[at:], batches, strict=True):
        atomic_write(path, partial(feather.write_feather, batch, compression="uncompressed"))
    return paths


def _cut(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """A stream of tables as tables of `size` rows, the last one perhaps shorter."""
    import pyarrow as pa

    waiting: pa.Table | None = None
    for table in tables:
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while waiting.num_rows >= size:
            yield waiting.slice(0, size).combine_chunks()
            waiting = waiting.slice(size)
    if waiting is not None and waiting.num_rows:
        yield waiting.combine_chunks()


def _plan(config: Config, job: _Job) -> loader.Plan:
    decode = config.decode
    return loader.Plan(
        mode=decode.mode,
        margin=decode.margin,
        limits=images.Limits(max_pixels=decode.max_pixels, max_memory_bytes=decode.max_memory_mb * 1_000_000),
        measures=job.pixels is not None,
        thumbnail_px=decode.thumbnail_px if job.pixels is not None else 0,
        thumbnail_format=decode.thumbnail_format,
        thumbnail_quality=decode.thumbnail_quality,
        models=(job.model,) if job.model is not None else (),
        device=config.embed.device,
        n_tags=config.embed.n_tags,
        batch=config.embed.batch,
        workers=config.workers,
        threads=max(config.threads, 1),
    )


def _chunk_table(chunk: loader.Chunk, job: _Job) -> pa.Table:
    """A loader's chunk as one table: a row per image, whatever was made of it."""
    import pyarrow as pa

    records = chunk.records
    rows = [record.row for record in records]
    columns: dict[str, pa.Array] = {
        "row": pa.array(rows, pa.int64()),
        "reason": pa.array([record.reason for record in records], pa.string()),
        "message": pa.array([record.message for record in records], pa.string()),
    }
    if job.pixels is not None:
        for name, kind in _pixel_fields():
            columns[name] = pa.array([record.pixels.get(name) for record in records], kind)
        columns["thumbnail"] = pa.array([record.thumbnail for record in records], pa.binary())
    if job.model is not None:
        found, vectors = chunk.vectors.get(job.model, (np.empty(0, np.int64), np.empty((0, 0), np.float32)))
        by_row = {int(row): vector.astype(np.float16).tobytes() for row, vector in zip(found, vectors, strict=True)}
        columns["vector"] = pa.array([by_row.get(row) for row in rows], pa.binary())
        faults = dict(chunk.faults.get(job.model, ()))
        columns["fault"] = pa.array([faults.get(row) for row in rows], pa.string())
        ids, scores = chunk.tags.get(job.model, (None, None))
        tags = {} if ids is None else {int(row): at for at, row in enumerate(found)}
        columns["tag_ids"] = pa.array(
            [None if ids is None or row not in tags else ids[tags[row]].tolist() for row in rows], pa.list_(pa.int16())
        )
        columns["tag_scores"] = pa.array(
            [None if scores is None or row not in tags else scores[tags[row]].tolist() for row in rows],
            pa.list_(pa.float32()),
        )
    return pa.table(columns)


def _pixel_fields() -> list[tuple[str, Any]]:
    """Columns of `pixels` and their Arrow types, taken from what `quality.measure` gives."""
    import pyarrow as pa

    example = quality.measure(np.zeros((8, 8, 3), np.uint8), width=8, height=8)
    fields = [(name, pa.int64() if isinstance(value, int) else pa.float32()) for name, value in example.items()]
    return [*fields, ("digest", pa.string()), ("phash", pa.uint64()), ("format", pa.string()), ("bytes", pa.int64())]


def _assemble(writer: Writer, job: _Job, staged: Sequence[Path], config: Config) -> None:
    """Turn the staged batches of one part into its files, and publish them."""
    part = job.entry.part or 0
    workspace = writer.workspace
    changes: dict[str, Sequence[Entry] | None] = {}

    def replaced(key: str, entry: Entry) -> None:
        others = [old for old in workspace.entries(key) if old.part != part]
        changes[key] = sorted([*others, entry], key=lambda e: e.part or 0)

    if job.pixels is not None:
        names = ["row", "reason", "message", *(name for name, _ in _pixel_fields())]
        pixels = Entry(f"columns/pixels/{part:05d}-{job.pixels}.parquet", job.pixels, part=part, n=job.entry.n)
        _stream(writer, pixels.file, staged, names)
        replaced("columns/pixels", pixels)
        meta = {"first": job.entry.meta["first"], "span": job.entry.n}
        thumbs = Entry(f"thumbs/{part:05d}-{job.pixels}.parquet", job.pixels, part=part, n=job.entry.n, meta=meta)
        _stream(writer, thumbs.file, staged, ["row", "thumbnail"], compression="none")  # compressed already
        replaced("thumbs", thumbs)
    if job.model is not None:
        space = embed.space_name(job.model)
        vectors = _write_vectors(writer, job, staged, space, part)
        replaced(f"vectors/{space}", vectors)
        if config.embed.n_tags and embed.describe(job.model).has_tags:
            file = f"columns/tags/{part:05d}-{space}-{job.vectors}.parquet"
            _stream(writer, file, staged, ["row", "tag_ids", "tag_scores"])
            replaced(f"tags/{space}", Entry(file, job.vectors, part=part, n=job.entry.n, meta={"space": space}))
        else:
            changes[f"tags/{space}"] = None
    writer.publish(changes)


def _tables(staged: Iterable[Path], columns: list[str]) -> Iterator[pa.Table]:
    import pyarrow.feather as feather

    for path in staged:  # not memory-mapped: mapped pages would count as memory
        yield feather.read_table(path, columns=columns, memory_map=False)


def _stream(
    writer: Writer, file: str, staged: Sequence[Path], columns: list[str], *, compression: str = "zstd"
) -> None:
    """Write columns of the staged batches as one Parquet file, a row group per batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def put(out: IO[bytes]) -> None:
        sink: pq.ParquetWriter | None = None
        for table in _tables(staged, columns):
            shown = _with_tag_names(table)
            sink = sink or pq.ParquetWriter(pa.PythonFile(out, mode="w"), shown.schema, compression=compression)
            sink.write_table(shown)
        if sink is not None:
            sink.close()

    writer.write(file, put)


def _with_tag_names(table: pa.Table) -> pa.Table:
    """Beside tag numbers their ImageNet names, which is what people filter by."""
    import pyarrow as pa

    if "tag_ids" not in table.column_names:
        return table
    names = embed.tag_names()
    words = [None if ids is None else [names[i] for i in ids] for ids in table["tag_ids"].to_pylist()]
    return table.append_column("tags", pa.array(words, pa.list_(pa.string())))


def _write_vectors(writer: Writer, job: _Job, staged: Sequence[Path], space: str, part: int) -> Entry:
    """Stream the vectors into one .npy of float16, beside it the rows they belong to."""
    rows: list[int] = []
    faults: list[list[Any]] = []
    dim = 0
    for table in _tables(staged, ["row", "vector", "fault"]):
        for row, vector, fault in zip(*(table[c].to_pylist() for c in ("row", "vector", "fault")), strict=True):
            if vector is not None:
                rows.append(row)
                dim = len(vector) // 2
            elif fault is not None:
                faults.append([row, fault])

    def put(out: IO[bytes]) -> None:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(rows), dim)}
        np.lib.format.write_array_header_1_0(out, header)
        for table in _tables(staged, ["vector"]):
            for vector in table["vector"].to_pylist():
                if vector is not None:
                    out.write(vector)

    stem = f"vectors/{space}/{part:05d}-{job.vectors}"
    writer.write(f"{stem}.npy", put)
    writer.write_array(f"{stem}.rows.npy", np.asarray(rows, np.int64))
    meta = {"rows": f"{stem}.rows.npy", "dim": dim, "model": job.model, "faults": faults}
    return Entry(f"{stem}.npy", job.vectors, part=part, n=len(rows), meta=meta)


# -- vectors that people bring ------------------------------------------------------------------------------------


def _own_stamp(writer: Writer, model: str) -> str:
    identities = [identity(entry) for entry in writer.workspace.entries("samples")]
    return fingerprint("own vectors", VERSION, identities, embed.fingerprint(model))


def _own_vectors(writer: Writer, config: Config, model: str) -> dict[str, Any]:
    """Match ready vectors to rows by row number, uri or file name."""
    workspace = writer.workspace
    space = embed.space_name(model)
    ids, vectors = embed.read_vectors(model.removeprefix("vectors:"))
    with Catalog(workspace) as catalog:
        present = catalog.table(["row", "uri"], where="status = 'present'")
    rows = _match(present, workspace.n_rows, ids)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    good = (rows >= 0) & np.isfinite(lengths) & (lengths > UNIT)
    if not good.any():
        raise BadEmbeddings(
            f"{model}: none of {len(ids)} vectors belongs to a row of {workspace.path} and is finite and non-zero; "
            f"ids look like {list(ids[:3])!r}, expected row numbers, uris or file names"
        )
    faults = [[int(row), images.REASONS["bad_vector"]] for row in rows[(rows >= 0) & ~good]]
    order = np.argsort(rows[good], kind="stable")
    kept = rows[good][order]
    if len(np.unique(kept)) != len(kept):
        twice = int(kept[np.flatnonzero(np.diff(kept) == 0)[0]])
        raise BadEmbeddings(f"{model}: row {twice} has more than one vector; expected at most one each")
    unit = (vectors[good] / lengths[good, None])[order].astype(np.float16)  # (m, d)
    stamp = _own_stamp(writer, model)
    stem = f"vectors/{space}/{stamp}"
    writer.write_array(f"{stem}.npy", unit)
    writer.write_array(f"{stem}.rows.npy", kept.astype(np.int64))
    meta = {"rows": f"{stem}.rows.npy", "dim": int(unit.shape[1]), "model": model, "faults": faults}
    writer.publish({f"vectors/{space}": [Entry(f"{stem}.npy", stamp, n=len(kept), meta=meta)]})
    return {"space": space, "n_vectors": len(kept), "n_faults": len(faults), "n_unmatched": int((rows < 0).sum())}


def _match(present: pa.Table, n_rows: int, ids: Sequence[int | str]) -> IntArray:
    """Row of each id, -1 where none matches: row numbers, else uris, paths or unambiguous file names."""
    if all(isinstance(i, int | np.integer) for i in ids):
        numbers = np.asarray(ids, np.int64)
        return np.where((numbers >= 0) & (numbers < n_rows), numbers, -1)
    by_uri = dict(zip(present["uri"].to_pylist(), present["row"].to_pylist(), strict=True))
    by_name: dict[str, int] = {}
    for uri, row in by_uri.items():
        name = uri.rsplit("/", 1)[-1]
        by_name[name] = -1 if name in by_name else row  # two files of one name: only their full uri decides
    found = []
    for i in ids:
        text = str(i)
        row = by_uri.get(text, by_uri.get(str(Path(text).absolute()), by_name.get(text.rsplit("/", 1)[-1], -1)))
        found.append(row)
    return np.asarray(found, np.int64)


def check_any(writer: Writer, space: str) -> None:
    """Refuse to go on without a single vector.

    Raises:
        DataError: no image of the workspace could be embedded; it counts the reasons.
    """
    workspace = writer.workspace
    with Catalog(workspace) as catalog:
        present = catalog.table(["row", "reason"], where="status = 'present'")
    vectors = [np.load(workspace.path / str(entry.meta["rows"])) for entry in workspace.entries(f"vectors/{space}")]
    if vectors and np.isin(np.concatenate(vectors), present["row"].to_numpy()).any():
        return
    if present.num_rows == 0:
        raise DataError(f"all {workspace.n_rows} images of {workspace.path} are gone; restore them or add a source")
    reasons = Counter(reason for reason in present["reason"].to_pylist() if reason)
    counted = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
    raise DataError(
        f"none of {present.num_rows} images could be read ({counted or 'no reason known'}); "
        f"`curator info -w {workspace.path}` names them"
    )
