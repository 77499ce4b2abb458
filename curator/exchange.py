"""A selection as files for other tools: lists, tables, COCO, copies, links, frames.

Knows formats and where to put them; knows nothing of workspaces or how rows were
chosen. An export is complete or absent: files are made under a temporary name
beside the target and renamed, and what was there before is never replaced unasked.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from curator.data import ImageArray, Progress, Sample, Scalar, no_progress
from curator.disk import atomic_write, open_for_write
from curator.errors import CannotWrite, NothingToRead, UnreadableImage, UnreadableSource, UsageError
from curator.images import read_frames
from curator.sources import local_path, read_bytes
from curator.sources.stores import LOCAL, place_of
from curator.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["paths", "csv", "parquet", "coco-images", "copy", "symlink", "frames"]
FORMATS: tuple[str, ...] = get_args(Format)
FOLDER_FORMATS = ("copy", "symlink", "frames")
TABLE = "selection.csv"  # beside exported files: which row each came from
NAME_BYTES = 255  # longest file name that common file systems take
FAULTS_NAMED = 3  # left-out rows spelled out in a note


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One row of a selection with all that a format may want to say of it."""

    rank: int  # 1 is the best pick
    row: int
    uri: str
    sample: Sample
    gain: float | None = None
    reason: str = ""
    width: int | None = None  # px, upright; None where no pixel was read
    height: int | None = None
    labels: tuple[str, ...] = ()
    columns: Mapping[str, Scalar] = field(default_factory=dict)  # further columns by name


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made."""

    count: int  # rows written
    path: Path
    notes: tuple[str, ...]  # what a person should know, a sentence each
    left_out: tuple[tuple[int, str], ...] = ()  # (row, why): its file cannot be read any more


def export(
    rows: Sequence[ExportRow],
    format: Format,
    target: Path,
    *,
    overwrite: bool = False,
    image_format: Literal["jpg", "png"] = "jpg",
    quality: int = 95,
    progress: Progress = no_progress,
) -> Exported:
    """Write a selection for another tool.

    `paths`, `csv`, `parquet` and `coco-images` make one file. `copy`, `symlink` and `frames` make
    a folder of files and a table of which row each is; equal names get a number, and a row
    whose file has gone or broken is left out and told of.

    Args:
        rows: in the order wanted; the best first.
        format: one of `FORMATS`; `frames` writes video frames as images and copies images.
        target: the file or folder to make. Missing parents are made.
        overwrite: replace the file, or files of the same name in the folder; others stay.
        image_format: of frames.
        quality: of JPEG frames, 1 to 100.

    Raises:
        UsageError: unknown format, target in the way, or rows that the format cannot hold.
        NothingToRead: no rows.
        UnreadableSource: not one of the files can be read.
        CannotWrite: disk full, read-only or no permission; nothing is left behind.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown export format {format!r}; expected one of {', '.join(FORMATS)}")
    if not rows:
        raise NothingToRead("the selection holds no rows, so there is nothing to export; select again")
    with _told(target):
        _check_target(target, is_folder=format in FOLDER_FORMATS, overwrite=overwrite)
    if format in FOLDER_FORMATS:
        _check_kinds(rows, format)
        return _export_folder(rows, format, target, _Encoding(image_format, quality), progress)
    put, notes = _FILE_FORMATS[format](rows)
    with _told(target):
        atomic_write(target, put)
    return Exported(len(rows), target, notes)


def _check_target(target: Path, *, is_folder: bool, overwrite: bool) -> None:
    """Refuse a target that is in the way, before anything is made."""
    parent = next((path for path in target.absolute().parents if path.exists()), Path("/"))
    if not parent.is_dir():
        raise UsageError(f"{parent} is a file; expected a folder on the way to {target}: choose another target")
    if is_folder:
        if target.exists() and not target.is_dir():
            raise UsageError(f"{target} is a file; this format makes a folder: choose another target")
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            raise UsageError(f"{target} is not empty; choose a new folder, or overwrite to put the files there")
    elif target.is_dir():
        raise UsageError(f"{target} is a folder; this format makes one file: name it, such as {target / 'selection'}")
    elif target.exists() and not overwrite:
        raise UsageError(f"{target} exists; choose another name, or overwrite to replace it")


def _check_kinds(rows: Sequence[ExportRow], format: str) -> None:
    """Refuse rows that have no file of their own to copy or link to."""
    for row in rows:
        if format != "frames" and row.sample.kind == "frame":
            raise UsageError(
                f"row {row.row} ({row.uri}) is a frame of a video, which cannot be a {format}; "
                "export with --format frames"
            )
        if format == "symlink" and (row.sample.kind == "member" or place_of(row.sample.file).store is not LOCAL):
            raise UsageError(
                f"row {row.row} ({row.uri}) is no file on a local disk, so it cannot be linked to; "
                "export with --format copy"
            )


# One file ----------------------------------------------------------------------------------------------------------

_Put = Callable[[IO[bytes]], None]


def _paths(rows: Sequence[ExportRow]) -> tuple[_Put, tuple[str, ...]]:
    broken = next((row for row in rows if "\n" in row.uri or "\r" in row.uri), None)
    if broken is not None:
        raise UsageError(
            f"the name of row {broken.row} ({broken.uri!r}) holds a line break, which a list of one path per line "
            "cannot hold; export with --format csv or parquet"
        )
    return _text("".join(f"{row.uri}\n" for row in rows)), ()


def _csv(rows: Sequence[ExportRow]) -> tuple[_Put, tuple[str, ...]]:
    extra, notes = _extra_columns(rows)
    return _text(_csv_text([_record(row, extra) for row in rows])), notes


def _parquet(rows: Sequence[ExportRow]) -> tuple[_Put, tuple[str, ...]]:
    import pyarrow.parquet as pq

    extra, notes = _extra_columns(rows)
    table = _table(rows, extra)
    return lambda file: pq.write_table(table, file), notes


def _coco(rows: Sequence[ExportRow]) -> tuple[_Put, tuple[str, ...]]:
    images = [
        {"id": row.row, "file_name": row.uri}
        | ({"width": row.width, "height": row.height} if row.width and row.height else {})
        | {"rank": row.rank, "reason": row.reason}
        for row in rows
    ]
    body = {
        "info": {
            "description": f"{len(rows)} images selected for labelling",
            "version": "1.0",
            "contributor": "Curator",
        }
        | {"curator": __version__},
        "licenses": [],
        "images": images,
        "annotations": [],  # readers ask for the key
        "categories": [],
    }
    n_frames = sum(row.sample.kind == "frame" for row in rows)
    n_unsized = sum("width" not in image for image in images)
    notes = [f"{n_frames} of {len(rows)} images are frames of videos; --format frames writes them as files"] * (
        n_frames > 0
    )
    notes += [f"{n_unsized} of {len(rows)} images have no known width and height"] * (n_unsized > 0)
    return _text(json.dumps(body, indent=1, ensure_ascii=False) + "\n"), tuple(notes)


_FILE_FORMATS: Mapping[str, Callable[[Sequence[ExportRow]], tuple[_Put, tuple[str, ...]]]] = {
    "paths": _paths,
    "csv": _csv,
    "parquet": _parquet,
    "coco-images": _coco,
}


def _text(text: str) -> _Put:
    data = _encoded(text)

    def put(file: IO[bytes]) -> None:
        file.write(data)

    return put


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _record(row: ExportRow, extra: Sequence[str]) -> dict[str, Any]:
    """A row as named plain values, the same names in every table."""
    return {
        "rank": row.rank,
        "row": row.row,
        "uri": row.uri,
        "file": row.sample.file,
        "kind": row.sample.kind,
        "time_s": row.sample.time_s,
        "split": row.sample.split,
        "labels": list(row.labels),
        "width": row.width,
        "height": row.height,
        "gain": row.gain,
        "reason": row.reason,
    } | {name: row.columns.get(name) for name in extra}


def _extra_columns(rows: Sequence[ExportRow], *first: str) -> tuple[list[str], tuple[str, ...]]:
    """Names of further columns as first seen, and a note on those whose name is taken."""
    found = dict.fromkeys(name for row in rows for name in row.columns)
    own = {*first, *_record(rows[0], ())}
    taken = [name for name in found if name in own]
    notes = (f"left out the columns {', '.join(taken)}: the table has its own of that name",) if taken else ()
    return [name for name in found if name not in own], notes


def _csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, "labels": _labels_cell(record["labels"])})
    return buffer.getvalue()


def _labels_cell(labels: Sequence[str]) -> str:
    """Labels in one cell, as `curator ingest` divides them again."""
    is_plain = not any(mark in label for label in labels for mark in ";|[")
    return ";".join(labels) if is_plain else json.dumps(labels, ensure_ascii=False)


def _table(rows: Sequence[ExportRow], extra: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    types = {
        **dict.fromkeys(("rank", "row", "width", "height"), pa.int64()),
        **dict.fromkeys(("uri", "file", "kind", "split", "reason"), pa.string()),
        **dict.fromkeys(("time_s", "gain"), pa.float64()),
        "labels": pa.list_(pa.string()),
    }
    records = [_record(row, extra) for row in rows]
    return pa.table({name: _array([record[name] for record in records], types.get(name)) for name in records[0]})


def _array(values: list[Any], type_: pa.DataType | None) -> pa.Array:
    """An Arrow array of the type, or of the one type all values share, or else of text."""
    import pyarrow as pa

    try:
        return pa.array(values, type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if type_ is not None:
            raise
    return pa.array([None if value is None else str(value) for value in values], pa.string())


# A folder ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How a frame becomes a file."""

    suffix: Literal["jpg", "png"]
    quality: int

    def encode(self, pixels: ImageArray) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        kind = {"jpg": "JPEG", "png": "PNG"}[self.suffix]
        Image.fromarray(pixels).save(buffer, kind, **({"quality": self.quality} if kind == "JPEG" else {}))
        return buffer.getvalue()


def _export_folder(
    rows: Sequence[ExportRow], format: str, target: Path, encoding: _Encoding, progress: Progress
) -> Exported:
    """Fill a staging folder, then move it to its place."""
    names = _names(rows, encoding.suffix)
    blocked = next((name for name in (*names, TABLE) if (target / name).is_dir()), None)
    if blocked is not None:
        raise UsageError(f"{target / blocked} is a folder where a file should go; choose another target")
    left_out: dict[int, str] = {}  # index into rows -> why
    with _staged(target) as folder:
        made = _link(rows, names, folder) if format == "symlink" else _write(rows, names, folder, encoding)
        for done, (i, fault) in enumerate(made, start=1):
            if fault is not None:
                left_out[i] = fault
            progress("export", done, len(rows))
        written = [i for i in range(len(rows)) if i not in left_out]
        if not written:
            why = left_out[0]
            raise UnreadableSource(
                f"none of the {len(rows)} files can be read (row {rows[0].row}, {rows[0].uri}: {why}); "
                "nothing was exported; check that they are where they were ingested from"
            )
        extra, notes = _extra_columns([rows[i] for i in written], "name")
        records = [{"name": names[i]} | _record(rows[i], extra) for i in written]
        _save(folder / TABLE, _encoded(_csv_text(records)))
    notes = (f"{TABLE} tells which row each file is", *notes, *_note_left_out(rows, left_out))
    return Exported(len(written), target, notes, tuple((rows[i].row, why) for i, why in sorted(left_out.items())))


def _note_left_out(rows: Sequence[ExportRow], left_out: Mapping[int, str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    told = [f"row {rows[i].row}, {rows[i].uri}: {why}" for i, why in sorted(left_out.items())[:FAULTS_NAMED]]
    more = f"; and {len(left_out) - FAULTS_NAMED} more" if len(left_out) > FAULTS_NAMED else ""
    return (f"left out {len(left_out)} of {len(rows)} rows that cannot be read ({'; '.join(told)}{more})",)


def _names(rows: Sequence[ExportRow], frame_suffix: str) -> list[str]:
    """A file name per row, all different even where upper and lower case are one."""
    taken = {TABLE.casefold()}
    names = []
    for row in rows:
        stem, suffix = _base_name(row, frame_suffix)
        name, n = _fitted(stem, suffix), 1
        while name.casefold() in taken:
            n += 1
            name = _fitted(stem, f"_{n}{suffix}")
        taken.add(name.casefold())
        names.append(name)
    return names


def _base_name(row: ExportRow, frame_suffix: str) -> tuple[str, str]:
    """Stem and suffix: those of the file, or for a frame clip_t0012.480 and .jpg."""
    sample = row.sample
    whole = sample.uri.removeprefix(sample.file).removeprefix("#") if sample.kind == "member" else sample.file
    name = (whole.partition("::")[0] if "://" in whole else whole).rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    if not stem.strip("."):  # no dot, or only leading ones
        stem, dot, ending = name, "", ""
    if sample.kind == "frame":
        return f"{stem or 'video'}_t{sample.time_s or 0.0:08.3f}", f".{frame_suffix}"
    return stem if stem.strip(".") else f"row-{row.row}", f"{dot}{ending}"


def _fitted(stem: str, suffix: str) -> str:
    """Stem and suffix in as many bytes as a file name may have."""
    room = NAME_BYTES - len(os.fsencode(suffix))
    return (
        os.fsencode(stem)[:room].decode("utf-8", "ignore") + suffix if len(os.fsencode(stem)) > room else stem + suffix
    )


def _link(rows: Sequence[ExportRow], names: Sequence[str], folder: Path) -> Iterator[tuple[int, str | None]]:
    """Link to the files; yields (index, None or why it was left out)."""
    for i, row in enumerate(rows):
        source = Path(place_of(row.sample.file).path)
        if source.is_file():
            (folder / names[i]).symlink_to(source)
            yield i, None
        else:
            yield i, "missing: no such file"


def _write(
    rows: Sequence[ExportRow], names: Sequence[str], folder: Path, encoding: _Encoding
) -> Iterator[tuple[int, str | None]]:
    """Copy images and write frames; yields (index, None or why it was left out), clip by clip."""
    clips: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.sample.kind == "frame":
            clips.setdefault(row.sample.file, []).append(i)
            continue
        try:
            _save(folder / names[i], read_bytes(row.sample))
            yield i, None
        except UnreadableImage as error:
            yield i, str(error)
    for indices in clips.values():
        for i, pixels in _frames(rows, indices):
            if isinstance(pixels, UnreadableImage):
                yield i, str(pixels)
            else:
                _save(folder / names[i], encoding.encode(pixels))
                yield i, None


def _save(path: Path, data: bytes) -> None:
    with open_for_write(path) as file:
        file.write(data)


def _frames(rows: Sequence[ExportRow], indices: Sequence[int]) -> Iterator[tuple[int, ImageArray | UnreadableImage]]:
    """Frames of one clip by index, decoded in the clip's order whatever the order of ranks."""
    waiting = {i for i in indices if rows[i].sample.offset is not None}
    yield from ((i, UnreadableImage("no_frame", "the row has no time stamp")) for i in indices if i not in waiting)
    by_pts: dict[int, list[int]] = {}
    for i in waiting:
        by_pts.setdefault(rows[i].sample.offset or 0, []).append(i)
    try:
        for pts, pixels in read_frames(local_path(rows[indices[0]].sample), sorted(by_pts)):
            for i in sorted(by_pts[pts]):
                waiting.discard(i)
                yield i, pixels
    except UnreadableImage as error:  # the clip as a whole
        yield from ((i, error) for i in sorted(waiting))


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A folder to fill; on success its files are at `target`, on any failure nothing is."""
    is_new = not target.exists()
    place = target.parent if is_new else target
    folder = place / f".{target.name}.{os.getpid()}.tmp"
    with _told(target):
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed and had this number
        folder.mkdir(parents=True)
        try:
            yield folder
            if is_new:
                folder.rename(target)
                return
            for path in sorted(folder.iterdir()):
                path.replace(target / path.name)
            folder.rmdir()
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(folder)
            raise


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Say a disk's refusal in our words."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"cannot export to {target}: {error.strerror or error}; nothing is left there. "
            "Free space or choose another target"
        ) from error
