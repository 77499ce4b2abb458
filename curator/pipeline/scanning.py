"""Ingest, first half: the sources' files become rows, and rows never change their meaning.

A row is a uri with a size and a modification time. The same three: the same
row. Only the time differs: the content digest decides. Anything else under the
same uri is a new row, and the old one is marked as replaced. A file that is
gone is marked as removed; it is never dropped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import sources
from curator.catalog import RESERVED
from curator.config import Config
from curator.data import Progress, Sample, Scalar
from curator.errors import NothingToRead, UnreadableImage, UsageError
from curator.quality import digest
from curator.snapshot import Entry, fingerprint
from curator.workspace import PART_ROWS, Workspace, Writer

if TYPE_CHECKING:
    import pyarrow as pa

IDENTITY = ("row", "uri", "file", "kind", "time_s", "offset", "size_bytes", "file_digest", "reason")
PRESENT, REMOVED, REPLACED, UNSAMPLED = "present", "removed", "replaced", "unsampled"


@dataclass
class _Known:
    """The rows a workspace has, by uri, and what this scan changes about them."""

    by_uri: dict[str, int] = field(default_factory=dict)  # the newest row of each uri
    samples: list[Sample] = field(default_factory=list)  # by row
    status: list[str] = field(default_factory=list)  # by row
    modified: list[float] = field(default_factory=list)  # by row, as last seen
    digests: dict[int, str | None] = field(default_factory=dict)  # content of decoded rows; None where that failed
    files: dict[str, tuple[int, float]] = field(default_factory=dict)  # size and time of each container as last seen
    reasons: dict[int, str] = field(default_factory=dict)  # why a row could not be decoded
    changed: set[int] = field(default_factory=set)  # rows whose labels, split or metadata changed
    seen: set[int] = field(default_factory=set)


def scan(writer: Writer, wanted: Sequence[str], config: Config, progress: Progress) -> dict[str, Any]:
    """Look at every source and bring the sample table up to date.

    Args:
        wanted: sources to read besides those the workspace already has.

    Returns:
        Counts: n_found, n_new, n_removed, n_replaced, n_skipped, notes.

    Raises:
        NothingToRead: the sources hold nothing that could be an image.
        UnreadableSource: a source cannot be read at all.
    """
    workspace = writer.workspace
    named = [_absolute(source) for source in wanted]
    all_sources = list(dict.fromkeys([*workspace.snapshot.sources, *named]))
    if not all_sources:
        raise NothingToRead(f"no source given and {workspace.path} has none; name a folder, video or table to read")
    gone = [source for source in all_sources if source not in named and _is_gone(source)]
    there = [source for source in all_sources if source not in gone]
    known = _load(workspace)
    tables = [file for file in (config.sources.metadata, *there) if file and sources.is_table(file)]
    asked = {**config.sources.model_dump(), "tables": {file: _stamp(file) for file in tables}}
    same_options = workspace.snapshot.config.get("_sources_asked") == asked

    def is_known(file: str, size_bytes: int, modified: float) -> bool:
        return same_options and known.files.get(file) == (size_bytes, modified)

    fresh: list[Sample] = []
    n_replaced = 0
    report = sources.ScanReport()
    if there:
        found = sources.scan(there, _options(config), known=is_known, progress=progress)
        for sample in found:
            row = known.by_uri.get(sample.uri)
            if row is not None and _same_content(sample, row, known):
                _keep(sample, row, known)
                continue
            if row is not None:
                known.status[row] = REPLACED
                n_replaced += 1
            fresh.append(sample)
        report = found.report
    sampled = {sample.file for sample in fresh} | {known.samples[row].file for row in known.seen}
    n_removed = _mark_missing(known, report.files_seen, sampled)
    if not known.samples and not fresh:
        skipped = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in sorted(report.skipped.items()))
        raise NothingToRead(
            f"no image or video in {', '.join(all_sources)}"
            + (f" (skipped: {skipped})" if skipped else "")
            + "; name a folder with images, a video, a table with a uri column or a tar"
        )
    _publish(writer, known, fresh, all_sources, {**workspace.snapshot.config, "_sources_asked": asked})
    return {
        "n_found": len(fresh) + sum(status == PRESENT for status in known.status),
        "n_new": len(fresh),
        "n_removed": n_removed,
        "n_replaced": n_replaced,
        "n_skipped": sum(report.skipped.values()),
        "skipped": dict(report.skipped),
        "notes": [*(f"{source} is gone; its images are marked as removed" for source in gone), *report.notes],
    }


def samples_of(workspace: Workspace, entry: Entry) -> list[tuple[int, Sample]]:
    """The rows and samples of one part."""
    import pyarrow.parquet as pq

    return list(samples_from(pq.read_table(workspace.file(entry))))


def identity(entry: Entry) -> str:
    """Fingerprint of what decides a part's pixels: not its labels, split or metadata."""
    return str(entry.meta["identity"])


def _absolute(source: str) -> str:
    if not source.strip():
        raise UsageError("a source is empty; name a folder, image, video, table, tar or URL")
    return source if "://" in source else str(Path(source).absolute())


def _is_gone(source: str) -> bool:
    """Whether a local source is not there any more; a remote store that does not answer is an error instead."""
    return "://" not in source and not Path(source).exists()


def _stamp(file: str) -> list[Any]:
    """Size and time of a table, by which an edit is noticed."""
    try:
        return list(sources.size_and_time(file))
    except OSError:
        return []


def _options(config: Config) -> sources.ScanOptions:
    asked = config.sources
    return sources.ScanOptions(
        recursive=asked.recursive,
        fps=asked.fps,
        every_nth=asked.every_nth,
        keyframes=asked.keyframes,
        labels_from_folders=asked.labels_from_folders,
        splits_from_folders=asked.splits_from_folders,
        metadata=asked.metadata,
        uri_column=asked.uri_column,
    )


def _load(workspace: Workspace) -> _Known:
    known = _Known()
    if not workspace.entries("samples"):
        return known
    for row, sample in samples_from(workspace.table("samples")):
        known.by_uri[sample.uri] = row
        known.samples.append(sample)
    known.status = [PRESENT] * len(known.samples)
    known.modified = [sample.modified for sample in known.samples]
    if workspace.entries("columns/presence"):
        presence = workspace.column("presence")
        for row, status, modified in zip(
            *(presence[c].to_pylist() for c in ("row", "status", "modified")), strict=True
        ):
            known.status[row], known.modified[row] = status, modified
    if workspace.entries("columns/pixels"):
        pixels = workspace.column("pixels", ["row", "digest", "reason"])
        known.digests = dict(zip(pixels["row"].to_pylist(), pixels["digest"].to_pylist(), strict=True))
        faults = pixels.filter(pixels["reason"].is_valid())
        known.reasons = dict(zip(faults["row"].to_pylist(), faults["reason"].to_pylist(), strict=True))
    for row, sample in enumerate(known.samples):
        if known.status[row] == PRESENT:
            known.files[sample.file] = (sample.size_bytes, known.modified[row])
    for row in known.reasons:
        if _may_read_better_now(known.samples[row], row, known):
            known.files.pop(known.samples[row].file, None)
    return known


def _may_read_better_now(sample: Sample, row: int, known: _Known) -> bool:
    """Whether a row failed for a reason that lay outside its file and has gone since."""
    reason = known.reasons.get(row)
    if reason == "missing":
        return sample.size_bytes > 0
    return reason == "permission" and "://" not in sample.file and os.access(sample.file, os.R_OK)


def _same_content(sample: Sample, row: int, known: _Known) -> bool:
    old = known.samples[row]
    if (sample.size_bytes, sample.reason) != (old.size_bytes, old.reason) or _may_read_better_now(sample, row, known):
        return False
    if sample.modified == known.modified[row]:
        return True
    if sample.kind == "frame":
        return sample.file_digest == old.file_digest
    if row not in known.digests:  # never decoded: whatever is there now will be read
        return True
    stored = known.digests[row]
    if stored is None:  # could not be decoded, and has been written since
        return False
    try:
        return digest(sources.read_bytes(sample)) == stored
    except UnreadableImage:
        return False


def _keep(sample: Sample, row: int, known: _Known) -> None:
    known.seen.add(row)
    known.status[row] = PRESENT
    known.modified[row] = sample.modified
    old = known.samples[row]
    if (sample.split, sample.labels, _text(sample)) != (old.split, old.labels, _text(old)):
        known.samples[row] = sample
        known.changed.add(row)


def _text(sample: Sample) -> dict[str, str]:
    """Metadata as text, since a stored column has one type: 1, 1.0 and "1" are the same."""
    out = {}
    for name, value in sample.metadata.items():
        if value is not None:
            try:
                out[name] = repr(float(value))
            except ValueError:
                out[name] = str(value)
    return out


def _mark_missing(known: _Known, files_seen: Iterable[str], sampled: set[str]) -> int:
    """Mark rows whose file is gone, or that their file does not hold any more; returns how many are gone."""
    seen_files = set(files_seen)
    n_removed = 0
    for row, sample in enumerate(known.samples):
        if row not in known.seen and known.status[row] == PRESENT:
            if sample.file not in seen_files and sample.file not in sampled:
                known.status[row] = REMOVED
                n_removed += 1
            elif sample.file in sampled:  # the file was looked at anew and this row is not in it any more
                known.status[row] = UNSAMPLED
    return n_removed


def _publish(
    writer: Writer, known: _Known, fresh: Sequence[Sample], all_sources: Sequence[str], config: Mapping[str, Any]
) -> None:
    workspace = writer.workspace
    entries = list(workspace.entries("samples"))
    for at, entry in enumerate(entries):
        first = int(entry.meta["first"])
        if any(first <= row < first + entry.n for row in known.changed):
            entries[at] = _write_part(writer, first, known.samples[first : first + entry.n], at)
    first = len(known.samples)
    for start in range(0, len(fresh), PART_ROWS):
        part = fresh[start : start + PART_ROWS]
        entries.append(_write_part(writer, first + start, part, len(entries)))
    status = known.status + [PRESENT] * len(fresh)
    modified = known.modified + [sample.modified for sample in fresh]
    changes: dict[str, list[Entry]] = {}
    if entries != list(workspace.entries("samples")):
        changes["samples"] = entries
    presence = _write_presence(writer, status, modified)
    if [presence] != list(workspace.entries("columns/presence")):
        changes["columns/presence"] = [presence]
    same = tuple(all_sources) == workspace.snapshot.sources and dict(config) == dict(workspace.snapshot.config)
    if changes or not same:
        writer.publish(changes, sources=all_sources, config=config)


def _write_presence(writer: Writer, status: list[str], modified: list[float]) -> Entry:
    import pyarrow as pa

    stamp = fingerprint("presence", 1, _text_digest(f"{s} {m!r}" for s, m in zip(status, modified, strict=True)))
    meta = {"statuses": _text_digest(status)}
    entry = Entry(f"columns/presence-{stamp}.parquet", stamp, n=len(status), meta=meta)
    if not (writer.workspace.path / entry.file).exists():
        table = pa.table({
            "row": np.arange(len(status), dtype=np.int64), "status": status, "modified": np.asarray(modified, float)
        })  # fmt: skip
        writer.write_table(entry.file, table)
    return entry


def _write_part(writer: Writer, first: int, part: Sequence[Sample], at: int) -> Entry:
    table = _table(first, part)
    stamp = fingerprint("samples", 1, _text_digest(repr(sample) for sample in part), first)
    same = _text_digest(
        repr((s.uri, s.file, s.kind, s.time_s, s.offset, s.size_bytes, s.file_digest, s.reason)) for s in part
    )
    entry = Entry(
        f"samples/{at:05d}-{stamp}.parquet", stamp, part=at, n=len(part), meta={"first": first, "identity": same}
    )
    writer.write_table(entry.file, table)
    return entry


def _text_digest(texts: Iterable[str]) -> str:
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return state.hexdigest()[:16]


def _table(first: int, part: Sequence[Sample]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, pa.Array] = {
        "row": pa.array(range(first, first + len(part)), pa.int64()),
        "uri": pa.array([s.uri for s in part], pa.string()),
        "file": pa.array([s.file for s in part], pa.string()),
        "kind": pa.array([s.kind for s in part], pa.string()),
        "time_s": pa.array([s.time_s for s in part], pa.float64()),
        "offset": pa.array([s.offset for s in part], pa.int64()),
        "size_bytes": pa.array([s.size_bytes for s in part], pa.int64()),
        "modified": pa.array([s.modified for s in part], pa.float64()),
        "file_digest": pa.array([s.file_digest for s in part], pa.string()),
        "split": pa.array([s.split for s in part], pa.string()),
        "labels": pa.array([list(s.labels) for s in part], pa.list_(pa.string())),
        "reason": pa.array([s.reason for s in part], pa.string()),
        "message": pa.array([s.message or None for s in part], pa.string()),
    }
    for name in sorted({key for sample in part for key in sample.metadata}):
        columns[_column_of(name)] = _metadata_array([sample.metadata.get(name) for sample in part])
    return pa.table(columns)


def _column_of(name: str) -> str:
    """Column that holds a metadata value; names of our own columns get a prefix."""
    return f"meta_{name}" if name.lower() in RESERVED else name


def _name_of(column: str) -> str:
    """The inverse of `_column_of`."""
    own = column.removeprefix("meta_")
    return own if own.lower() in RESERVED else column


def _metadata_array(values: list[Scalar]) -> pa.Array:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and kinds:
        return pa.array([None if v is None else float(v) for v in values] if float in kinds else values)
    if len(kinds) <= 1:
        return pa.array(values, pa.string() if not kinds else None)
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def samples_from(table: pa.Table) -> Iterable[tuple[int, Sample]]:
    """Rows of a sample table as samples."""
    plain = set(IDENTITY) | {"modified", "split", "labels", "message"}
    extra = [name for name in table.column_names if name not in plain]
    names = {name: _name_of(name) for name in extra}
    for record in table.to_pylist():
        metadata = {names[name]: record[name] for name in extra if record[name] is not None}
        yield (
            record["row"],
            Sample(
                uri=record["uri"],
                file=record["file"],
                kind=record["kind"],
                time_s=record["time_s"],
                offset=record["offset"],
                size_bytes=record["size_bytes"],
                modified=record["modified"],
                file_digest=record["file_digest"],
                split=record["split"],
                labels=tuple(record["labels"] or ()),
                metadata=metadata,
                reason=record["reason"],
                message=record["message"] or "",
            ),
        )
