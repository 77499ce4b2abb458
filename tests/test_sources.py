"""Sources: what is found, in which order, under which name, with which facts; and what cannot be read."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import images
from curator.data import Sample
from curator.errors import CannotWrite, MissingPackage, NothingToRead, UnreadableImage, UnreadableSource, UsageError
from curator.images import REASONS
from curator.sources import ScanOptions, ScanReport, is_video, local_path, read_bytes, scan
from curator.sources.stores import LIST_FROM


def write(path: Path, content: bytes = b"pixels") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def uris(*sources: str | Path, **options: Any) -> list[str]:
    return [sample.uri for sample in scan([str(s) for s in sources], ScanOptions(**options))]


def found(*sources: str | Path, **options: Any) -> tuple[list[Sample], ScanReport]:
    scanned = scan([str(s) for s in sources], ScanOptions(**options))
    return list(scanned), scanned.report


def one(*sources: str | Path, **options: Any) -> Sample:
    (sample,), _ = found(*sources, **options)
    return sample


def below(root: Path, samples: list[str]) -> list[str]:
    return [uri.removeprefix(f"{root}/") for uri in samples]


@pytest.fixture
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies go to a hidden folder of the test."""
    (tmp_path / ".temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ".temp"))


@pytest.fixture
def memory(own_temp: None) -> Iterator[MemoryFileSystem]:
    """An empty in-memory store."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the privileges of root, who may read everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_images_sorted_and_counts_what_it_skips(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.png", "a.JPG", "c.webp", "b/notes.txt", "README", "x.TXT", "old.tar.gz"):
        write(tmp_path / name)
    samples, report = found(tmp_path)
    assert below(tmp_path, [s.uri for s in samples]) == ["a.JPG", "b/10.png", "b/2.jpg", "c.webp"]
    assert report.skipped == {"": 1, ".tar.gz": 1, ".txt": 2}
    assert report.n_samples == 4
    assert report.files_seen == {s.file for s in samples}


def test_a_sample_carries_size_and_time_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", b"12345")
    os.utime(path, (1000.0, 1234.5))
    sample = one(tmp_path)
    assert (sample.kind, sample.file, sample.size_bytes, sample.modified) == ("image", str(path), 5, 1234.5)
    assert (sample.labels, sample.split, dict(sample.metadata), sample.reason) == ((), None, {}, None)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in (".thumbs/a.jpg", ".b.jpg", "c.jpg"):
        write(tmp_path / name)
    assert below(tmp_path, uris(tmp_path)) == ["c.jpg"]


def test_a_hidden_folder_is_read_when_named(tmp_path: Path) -> None:
    write(tmp_path / ".hidden" / "a.jpg")
    assert below(tmp_path, uris(tmp_path / ".hidden")) == [".hidden/a.jpg"]


def test_not_recursive_stays_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "sub" / "b.jpg")
    assert below(tmp_path, uris(tmp_path, recursive=False)) == ["a.jpg"]


def test_loops_of_links_end_and_each_folder_comes_once_by_its_own_name(tmp_path: Path) -> None:
    write(tmp_path / "real" / "x.jpg")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "a_link_that_sorts_first").symlink_to(tmp_path / "real")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert below(tmp_path, uris(tmp_path)) == ["real/x.jpg"]


def test_a_link_out_of_the_source_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "x.jpg")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(tmp_path / "elsewhere")
    assert below(tmp_path, uris(tmp_path / "source")) == ["source/link/x.jpg"]


def test_a_link_that_leads_nowhere_is_a_sample_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "b.jpg")
    gone, loop = found(tmp_path)[0]
    assert (gone.reason, gone.message) == ("missing", "No such file or directory")
    assert loop.reason == "decode_error" and "symbolic links" in loop.message


def test_a_pipe_named_like_an_image_is_a_sample_with_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    sample = one(tmp_path)
    assert (sample.reason, sample.message) == ("unsupported", "a pipe, socket or device, not a file")
    with pytest.raises(UnreadableImage, match="pipe, socket or device"):
        read_bytes(Sample(uri="a", file=str(tmp_path / "a.jpg")))


def test_an_unreadable_folder_is_one_sample_with_the_reason(open_folder: Path) -> None:
    write(open_folder / "a.jpg")
    write(open_folder / "locked" / "b.jpg")
    write(open_folder / "z.jpg")
    (open_folder / "locked").chmod(0)
    try:
        with as_nobody():
            samples, _ = found(open_folder)
    finally:
        (open_folder / "locked").chmod(0o755)
    assert below(open_folder, [s.uri for s in samples]) == ["a.jpg", "locked", "z.jpg"]
    assert [s.reason for s in samples] == [None, "permission", None]
    assert samples[1].message == "Permission denied"


def test_an_unreadable_file_is_found_and_fails_when_read(open_folder: Path) -> None:
    write(open_folder / "a.jpg").chmod(0)
    with as_nobody():
        sample = one(open_folder)
        with pytest.raises(UnreadableImage, match="permission: Permission denied"):
            read_bytes(sample)


def test_an_unreadable_source_folder_is_a_sample_too(open_folder: Path) -> None:
    (open_folder / "locked").mkdir(mode=0)
    with as_nobody():
        assert one(open_folder / "locked").reason == "permission"


def test_a_rerun_from_another_folder_gives_the_same_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "set" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    first = uris("set"), uris("./set/"), uris("set/a.jpg")
    monkeypatch.chdir(tmp_path / "set")
    assert [*first, uris("../set"), uris("."), uris(f"file://{tmp_path}/set")] == [[f"{tmp_path}/set/a.jpg"]] * 6


def test_a_file_reached_by_two_sources_comes_once(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.jpg")
    write(tmp_path / "set" / "sub" / "b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    sources = (tmp_path / "set/sub", tmp_path / "set", tmp_path / "link/a.jpg", tmp_path / "link", tmp_path / "set")
    assert below(tmp_path, uris(*sources)) == ["set/sub/b.jpg", "set/a.jpg"]


def test_two_links_to_one_file_are_two_files(tmp_path: Path) -> None:
    write(tmp_path / "store" / "1.jpg")
    for label in ("cat", "dog"):
        (tmp_path / "set" / label).mkdir(parents=True)
        (tmp_path / "set" / label / "1.jpg").symlink_to(tmp_path / "store" / "1.jpg")
    samples, _ = found(tmp_path / "set", labels_from_folders=True)
    assert [s.labels for s in samples] == [("cat",), ("dog",)]


STRANGE = [
    b"with space.jpg", "Ünïcødé 日本.jpg".encode(), b"new\nline.jpg", b"clip.mp4#t=12.480.jpg", b"shard.tar#a.jpg",
    b"bytes-\xff\xfe.jpg", b"bytes-%FF%FE.jpg", b"quote'\".jpg", b"percent%20.jpg", b"back\\slash.jpg", b"tab\t.jpg",
]  # fmt: skip


def test_files_of_any_name_are_found_told_apart_stored_and_read(tmp_path: Path) -> None:
    for name in STRANGE:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    samples, _ = found(tmp_path)
    assert sorted(read_bytes(sample) for sample in samples) == sorted(STRANGE)
    stored = pa.table({"uri": [s.uri for s in samples], "file": [s.file for s in samples]})
    pq.write_table(stored, io.BytesIO())
    assert len(set(stored["uri"].to_pylist())) == len(STRANGE)
    encoded = [s.file for s in samples if s.file.startswith("file://")]
    assert encoded == [f"file://{tmp_path}/bytes-%FF%FE.jpg"]


@given(name=st.binary(min_size=1, max_size=40).filter(lambda b: b"/" not in b and b"\0" not in b))
@settings(max_examples=60, deadline=None)
def test_a_name_survives_the_way_to_a_sample_and_back(name: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / os.fsdecode(b"_" + name + b".jpg")
        path.write_bytes(name)
        sample = one(folder)
        sample.uri.encode(), sample.file.encode()
        assert read_bytes(sample) == name


def test_a_local_path_for_a_name_that_is_not_text_can_be_printed(tmp_path: Path, own_temp: None) -> None:
    (tmp_path / os.fsdecode(b"clip-\xff.bin.jpg")).write_bytes(b"content")
    path = local_path(one(tmp_path))
    assert path.isascii() and Path(path).read_bytes() == b"content"
    assert local_path(one(tmp_path)) == path


def test_a_file_url_may_be_percent_encoded_or_not(tmp_path: Path) -> None:
    write(tmp_path / "my set" / "a%20b.jpg")
    assert uris(f"file://{tmp_path}/my%20set") == uris(f"file://{tmp_path}/my set") == [f"{tmp_path}/my set/a%20b.jpg"]


@pytest.mark.parametrize(
    ("name", "labels", "split"),
    [
        ("x.jpg", (), None),
        ("cat/x.jpg", ("cat",), None),
        ("train/cat/x.jpg", ("cat",), "train"),
        ("Validation/dog/x.jpg", ("dog",), "val"),
        ("images/valid/x.jpg", (), "val"),
        ("dev/x.jpg", (), "val"),
        ("testing/left/x.jpg", ("left",), "test"),
        ("animals/cat/x.jpg", ("cat",), None),
        ("train/test/x.jpg", ("test",), "train"),
    ],
)
def test_labels_and_splits_come_from_folders(
    tmp_path: Path, name: str, labels: tuple[str, ...], split: str | None
) -> None:
    write(tmp_path / "set" / name)
    sample = one(tmp_path / "set", labels_from_folders=True, splits_from_folders=True)
    assert (sample.labels, sample.split) == (labels, split)
    plain = one(tmp_path / "set")
    assert (plain.labels, plain.split) == ((), None)


def test_a_split_folder_is_a_label_when_only_labels_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "train" / "x.jpg")
    sample = one(tmp_path, labels_from_folders=True)
    assert (sample.labels, sample.split) == (("train",), None)


def test_a_source_called_like_a_split_is_that_split(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.jpg")
    write(tmp_path / "val" / "b.jpg")
    samples, _ = found(tmp_path / "train", tmp_path / "val", splits_from_folders=True)
    assert [s.split for s in samples] == ["train", "val"]


# --- known files -----------------------------------------------------------------------------------------------------


def test_a_known_file_gives_nothing_but_counts_as_seen(tmp_path: Path) -> None:
    old, new = write(tmp_path / "a.jpg", b"12"), write(tmp_path / "b.jpg")
    asked = []

    def known(file: str, size_bytes: int, modified: float) -> bool:
        asked.append((file, size_bytes, modified))
        return file == str(old)

    scanned = scan([str(tmp_path)], known=known)
    assert [s.file for s in scanned] == [str(new)]
    assert scanned.report.files_seen == {str(old), str(new)}
    assert asked[0] == (str(old), 2, old.stat().st_mtime)


def test_with_known_files_an_emptied_folder_is_no_error(tmp_path: Path) -> None:
    scanned = scan([str(tmp_path)], known=lambda *_: True)
    assert list(scanned) == [] and scanned.report.files_seen == frozenset()


def test_progress_counts_samples(tmp_path: Path) -> None:
    for i in range(501):
        write(tmp_path / f"{i:03d}.jpg")
    calls: list[tuple[str, int, int | None]] = []
    list(scan([str(tmp_path)], progress=lambda *call: calls.append(call)))
    assert calls == [("scan", 500, None), ("scan", 501, 501)]


# --- requests that cannot be met -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 2.0, "every_nth": 3}, "fps=2.0, every_nth=3"),
        ({"fps": 2.0, "keyframes": True}, "fps=2.0, keyframes=True"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"every_nth": -1}, "every_nth is -1"),
        ({"default_fps": math.nan}, "default_fps is nan"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScanOptions(**options)


def test_no_source_is_nothing_to_read() -> None:
    with pytest.raises(NothingToRead, match="no source given"):
        scan([])


def test_an_empty_folder_is_nothing_to_read_and_names_what_was_skipped(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match=f"no image, video or tar in {tmp_path};"):
        uris(tmp_path)
    write(tmp_path / "a.txt")
    write(tmp_path / "b.txt")
    write(tmp_path / "c")
    with pytest.raises(NothingToRead, match=r"skipped: 2 .txt, 1 without suffix"):
        uris(tmp_path)


def test_a_source_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    with pytest.raises(UnreadableSource, match=r"nowhere cannot be read \(No such file or directory\)"):
        scan([str(tmp_path), str(tmp_path / "nowhere")])
    with pytest.raises(UnreadableSource, match="'' is empty"):
        scan([""])


@pytest.mark.parametrize(("name", "kind"), [("a.heic", ".heic"), ("notes.txt", ".txt"), ("a", "no suffix")])
def test_a_source_file_of_another_kind_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(UnreadableSource, match=rf"{name} is of no kind that is read \({kind}\)"):
        uris(write(tmp_path / name))


def test_a_compressed_tar_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match=r"shard\.tar\.gz is a compressed tar.*gunzip"):
        uris(write(tmp_path / "shard.tar.gz"))


def test_a_protocol_nobody_knows_is_refused() -> None:
    with pytest.raises(UnreadableSource, match=r"nope://bucket cannot be opened \(Protocol not known: nope\)"):
        scan(["nope://bucket"])


def test_a_protocol_without_its_package_names_the_package() -> None:
    fsspec.register_implementation("absent", "not_there.Fs", errtxt="Please install absentfs", clobber=True)
    with pytest.raises(MissingPackage, match=r"absent://x needs a package .*Please install absentfs"):
        scan(["absent://x"])


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed")
def test_s3_without_its_package_names_the_extra() -> None:
    with pytest.raises(MissingPackage, match=r"s3://bucket/x needs .*pip install 'curator\[s3\]'"):
        scan(["s3://bucket/x"])


def test_every_reason_is_one_that_can_be_explained() -> None:
    assert {"missing", "permission", "empty", "too_large", "truncated", "not_an_image", "unsupported"} <= set(REASONS)
    assert {"decode_error", "no_frame"} <= set(REASONS)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_csv_gives_typed_metadata_labels_and_split(tmp_path: Path) -> None:
    write(tmp_path / "pics" / "007.jpg", b"abc")
    table = write(
        tmp_path / "set.csv",
        b"uri,label,split,track,score,ok,day,note,empty\npics/007.jpg,0042,validation,7,0.5,true,2024-05-01,hi,\n",
    )
    sample = one(table)
    assert (sample.uri, sample.size_bytes) == (f"{tmp_path}/pics/007.jpg", 3)
    assert (sample.labels, sample.split) == (("0042",), "val")
    assert dict(sample.metadata) == {
        "track": 7, "score": 0.5, "ok": True, "day": "2024-05-01", "note": "hi", "empty": None,
    }  # fmt: skip


def test_a_name_that_looks_like_a_number_keeps_its_zeros(tmp_path: Path) -> None:
    write(tmp_path / "00012")
    assert one(write(tmp_path / "t.csv", b"uri\n00012\n")).size_bytes == 6


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize(("suffix", "divider"), [(".csv", b","), (".csv", b";"), (".tsv", b"\t")])
def test_csv_dialects(tmp_path: Path, start: bytes, suffix: str, divider: bytes) -> None:
    write(tmp_path / "a b.jpg")
    lines = [[b"uri", b"n"], [b'"a b.jpg"', b"1"]]
    sample = one(write(tmp_path / f"t{suffix}", start + b"\r\n".join(divider.join(line) for line in lines)))
    assert sample.size_bytes == 6 and dict(sample.metadata) == {"n": 1}


def test_parquet_values_become_scalars(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    columns = {
        "uri": ["a.jpg"],
        "labels": pa.array([["cat", "dog", "cat"]], pa.list_(pa.string())),
        "nan": [math.nan],
        "inf": [math.inf],
        "when": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "Europe/Berlin")),
        "day": pa.array([datetime(2024, 5, 1, tzinfo=UTC).date()]),
        "took": pa.array([1_500_000_000], pa.duration("ns")),
        "price": pa.array(["1.25"]).cast(pa.decimal128(6, 2)),
        "kind": pa.array(["x"]).dictionary_encode(),
        "box": pa.array([{"x": 1, "tags": ["ä"]}]),
        "big": pa.array([2**63], pa.uint64()),
        "thumb": pa.array([b"\x00"], pa.binary()),
        "raw": pa.array([{"bytes": b"\x00"}]),
        "flag": [False],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (sample,), report = found(tmp_path / "t.parquet")
    assert sample.labels == ("cat", "dog")
    assert dict(sample.metadata) == {
        "nan": None, "inf": None, "when": "2023-11-14T22:13:20.123456+00:00", "day": "2024-05-01", "took": 1.5,
        "price": 1.25, "kind": "x", "box": '{"x": 1, "tags": ["ä"]}', "big": str(2**63), "flag": False,
    }  # fmt: skip
    assert [note.partition(": ")[2] for note in report.notes] == [
        "column 'thumb' holds bytes and was left out", "column 'raw' holds bytes and was left out",
    ]  # fmt: skip


def test_json_lines_may_lack_keys_and_nest(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "b.jpg")
    lines = ['{"uri": "a.jpg", "n": 1, "box": [1, 2]}', "", '{"uri": "b.jpg", "class": 3.0, "bad": NaN}']
    first, second = found(write(tmp_path / "t.jsonl", "\n".join(lines).encode()))[0]
    assert dict(first.metadata) == {"n": 1, "box": "[1, 2]", "bad": None}
    assert dict(second.metadata) == {"n": None, "box": None, "bad": None}
    assert (first.labels, second.labels) == ((), ("3",))


@pytest.mark.parametrize(
    ("column", "cell", "labels"),
    [
        ("label", "tench, Tinca; x", ("tench, Tinca; x",)),
        ("labels", "cat;dog| cat ", ("cat", "dog")),
        ("labels", '["cat", "dog"]', ("cat", "dog")),
        ("label", "[draft] cat", ("[draft] cat",)),
        ("Class_Name", "cat", ("cat",)),
        ("class", "", ()),
    ],
)
def test_labels_of_a_cell(tmp_path: Path, column: str, cell: str, labels: tuple[str, ...]) -> None:
    write(tmp_path / "a.jpg")
    with (tmp_path / "t.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["uri", column], ["a.jpg", cell]])
    sample = one(tmp_path / "t.csv")
    assert sample.labels == labels and not sample.metadata


def test_an_unusual_split_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    assert one(write(tmp_path / "t.csv", b"uri,split\na.jpg,fold-3\n")).split == "fold-3"


def test_another_uri_column(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    table = write(tmp_path / "t.csv", b"file,n\na.jpg,1\n")
    assert one(table, uri_column="file").size_bytes == 6
    with pytest.raises(
        UnreadableSource, match=r"t\.csv has columns 'file', 'n'; expected a column 'uri'.*set uri_column to 'file'"
    ):
        uris(table)


def test_rows_whose_file_is_missing_are_samples_that_fail_when_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    table = write(tmp_path / "t.csv", b"uri,label\na.jpg,x\ngone.jpg,y\ngone.mp4,z\n")
    samples, report = found(table)
    assert [s.size_bytes for s in samples] == [6, 0, 0]
    assert [s.labels for s in samples] == [("x",), ("y",), ("z",)]
    assert [s.reason for s in samples] == [None, None, "missing"]
    assert report.files_seen == {f"{tmp_path}/a.jpg"}
    with pytest.raises(UnreadableImage, match="missing: No such file"):
        read_bytes(samples[1])


def test_rows_without_a_name_are_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    samples, report = found(write(tmp_path / "t.csv", b"uri,n\na.jpg,1\n,2\n"))
    assert len(samples) == 1
    assert report.notes == (f"{tmp_path}/t.csv: 1 of 2 rows have no 'uri' and were left out",)


def test_rows_of_one_file_join_their_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "b.jpg")
    table = write(tmp_path / "t.csv", b"uri,label,x\na.jpg,cat,1\nb.jpg,cow,2\na.jpg,dog,3\na.jpg,cat,4\n")
    samples, report = found(table)
    assert [(s.labels, s.metadata["x"]) for s in samples] == [(("cat", "dog"), 1), (("cow",), 2)]
    assert report.notes == (f"{tmp_path}/t.csv: 4 rows name 2 files; the labels of one file are joined",)


def test_rows_may_be_absolute_urls_or_climb(tmp_path: Path, memory: MemoryFileSystem) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "b.jpg")
    memory.pipe_file("/c.jpg", b"c")
    rows = [f"{tmp_path}/a.jpg", "../b.jpg", "./../b.jpg", "memory://c.jpg"]
    table = write(tmp_path / "tables" / "t.csv", "\n".join(["uri", *rows]).encode())
    assert uris(table) == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg", "memory://c.jpg"]


def test_a_row_that_names_a_folder_or_an_impossible_file_fails_when_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    lines = [json.dumps({"uri": name}) for name in ("sub", "nul\0.jpg", "half\ud83d.jpg", "x" * 300)]
    samples, _ = found(write(tmp_path / "t.jsonl", "\n".join(lines).encode()))
    reasons = []
    for sample in samples:
        sample.uri.encode()
        with pytest.raises(UnreadableImage) as caught:
            read_bytes(sample)
        reasons.append(caught.value.reason)
    assert reasons == ["not_an_image", "missing", "missing", "decode_error"]


def test_a_table_met_after_its_files_says_that_its_columns_were_not_used(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    table = write(tmp_path / "t.csv", b"uri,n\na.jpg,1\n")
    samples, report = found(tmp_path, table)
    assert [dict(s.metadata) for s in samples] == [{}]
    assert report.notes[0].startswith(f"{table}: 1 files were met before, so its columns were not used")
    assert [dict(s.metadata) for s in found(table, tmp_path)[0]] == [{"n": 1}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", r"t\.csv is not valid CSV \(Empty CSV file\)"),
        ("t.csv", b"uri,n\na.jpg\n", r"t\.csv is not valid CSV .*Expected 2 columns, got 1"),
        ("t.csv", b"uri\n\xff\xfe.jpg\n", r"t\.csv is not valid CSV .*UTF8.*save it again as CSV in UTF-8"),
        ("t.parquet", b"PAR1 but no more", r"t\.parquet is not valid Parquet"),
        ("t.parquet", b"", r"t\.parquet is not valid Parquet"),
        ("t.jsonl", b'{"uri": "a.jpg"}\n{"uri": ', r"t\.jsonl line 2 is not JSON"),
        ("t.jsonl", b"[1]\n", r"t\.jsonl line 1 holds a list"),
        ("t.jsonl", b"\xff\n", r"t\.jsonl line 1 is not JSON"),
        ("t.jsonl", b"", r"t\.jsonl has columns \(none\)"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableSource, match=message):
        uris(write(tmp_path / name, content))


# --- metadata joined by file name ------------------------------------------------------------------------------------


def joined(root: Path, rows: str, *, at: str = "meta.csv") -> tuple[dict[str, Any], ScanReport]:
    """What the metadata column `n` says for each file below root/set."""
    write(root / at, f"file,n\n{rows}".encode())
    samples, report = found(root / "set", metadata=str(root / at))
    return {s.uri.removeprefix(f"{root}/set/"): s.metadata.get("n") for s in samples}, report


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a/x.jpg,1\nb/x.jpg,2\n", {"a/x.jpg": 1, "b/x.jpg": 2}),
        ("set/a/x.jpg,1\nset/b/x.jpg,2\n", {"a/x.jpg": 1, "b/x.jpg": 2}),
        ("./a/x.jpg,1\n", {"a/x.jpg": 1, "b/x.jpg": None}),
        ("elsewhere/y.jpg,1\n", {"a/x.jpg": None, "b/x.jpg": None}),
    ],
    ids=["relative to the source", "relative to the table", "dotted", "no match"],
)
def test_a_row_finds_its_file_by_relative_path(tmp_path: Path, rows: str, expected: dict[str, int | None]) -> None:
    write(tmp_path / "set" / "a" / "x.jpg")
    write(tmp_path / "set" / "b" / "x.jpg")
    assert joined(tmp_path, rows)[0] == expected


def test_a_row_finds_its_file_by_absolute_path(tmp_path: Path) -> None:
    write(tmp_path / "set" / "x.jpg")
    assert joined(tmp_path, f"{tmp_path}/set/x.jpg,1\n", at="far/meta.csv")[0] == {"x.jpg": 1}


@pytest.mark.parametrize("name", ["y.jpg", "lost/y.jpg"])
def test_a_row_finds_its_file_by_base_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "set" / "deep" / "y.jpg")
    assert joined(tmp_path, f"{name},1\n")[0] == {"deep/y.jpg": 1}


@pytest.mark.parametrize("stray", ["0/x.jpg", "z/x.jpg"], ids=["before", "after"])
def test_a_stray_file_never_takes_the_row_of_another(tmp_path: Path, stray: str) -> None:
    write(tmp_path / "set" / "a" / "x.jpg")
    write(tmp_path / "set" / stray)
    for n, row in enumerate(("a/x.jpg,1\n", "set/a/x.jpg,1\n", f"{tmp_path}/set/a/x.jpg,1\n")):
        assert joined(tmp_path, row, at=f"{n}.csv")[0] == {"a/x.jpg": 1, stray: None}


def test_a_name_that_fits_two_files_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a" / "x.jpg")
    write(tmp_path / "set" / "b" / "x.jpg")
    with pytest.raises(UnreadableSource, match=r"'x\.jpg' could be .*/a/x\.jpg or .*/b/x\.jpg; expected column 'file'"):
        joined(tmp_path, "x.jpg,1\n")


def test_a_file_that_fits_two_names_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set" / "x.jpg")
    with pytest.raises(UnreadableSource, match=r"x\.jpg could be any of 'p/x\.jpg', 'q/x\.jpg'"):
        joined(tmp_path, "p/x.jpg,1\nq/x.jpg,2\n")


def test_a_relative_name_in_two_sources_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "one" / "x.jpg")
    write(tmp_path / "two" / "x.jpg")
    meta = write(tmp_path / "meta" / "m.csv", b"file,n\nx.jpg,1\n")
    with pytest.raises(UnreadableSource, match=r"'x\.jpg' could be .*/one/x\.jpg or .*/two/x\.jpg"):
        found(tmp_path / "one", tmp_path / "two", metadata=str(meta))


def test_names_that_match_nothing_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "set" / "x.jpg")
    _, report = joined(tmp_path, "x.jpg,1\ny.jpg,2\nz.jpg,3\n")
    assert report.n_unmatched_rows == 2
    assert report.notes == (f"{tmp_path}/meta.csv: 2 of 3 names match no file (first: y.jpg)",)


def test_a_known_file_still_claims_its_row(tmp_path: Path) -> None:
    write(tmp_path / "x.jpg")
    meta = write(tmp_path / "m.csv", b"file,n\nx.jpg,1\n")
    scanned = scan([str(tmp_path)], ScanOptions(metadata=str(meta)), known=lambda *_: True)
    assert list(scanned) == [] and scanned.report.n_unmatched_rows == 0


def test_accents_composed_differently_still_match(tmp_path: Path) -> None:
    write(tmp_path / "set" / "cafe\u0301.jpg")
    assert list(joined(tmp_path, "caf\u00e9.jpg,1\n")[0].values()) == [1]


def test_metadata_outweighs_the_table_and_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "x.jpg")
    table = write(tmp_path / "t.csv", b"uri,label,n,m\ncat/x.jpg,table,1,1\n")
    meta = write(tmp_path / "m.csv", b"filename,label,n\nx.jpg,sidecar,2\n")
    by_folder = one(tmp_path / "cat" / "x.jpg")
    assert by_folder.labels == ()
    assert one(tmp_path, labels_from_folders=True).labels == ("cat",)
    assert one(table, labels_from_folders=True).labels == ("table",)
    sample = one(table, labels_from_folders=True, metadata=str(meta))
    assert (sample.labels, dict(sample.metadata)) == (("sidecar",), {"n": 2, "m": 1})


def test_metadata_without_a_name_column_or_that_is_no_table_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.jpg")
    with pytest.raises(UnreadableSource, match=r"m\.csv has columns 'id', 'n'; expected one of file, file_name"):
        found(tmp_path, metadata=str(write(tmp_path / "m.csv", b"id,n\n1,2\n")))
    with pytest.raises(UnreadableSource, match=r"m\.xlsx is no table; expected one of \.csv"):
        found(tmp_path, metadata=str(write(tmp_path / "m.xlsx")))
    with pytest.raises(UnreadableSource, match=r"gone\.csv cannot be read \(No such file"):
        found(tmp_path, metadata=str(tmp_path / "gone.csv"))


# --- tars ------------------------------------------------------------------------------------------------------------


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


SHARD = [
    ("train/000.jpg", b"first"), ("train/000.json", b'{"n": 1, "box": [1], "label": "cat"}'),
    ("train/001.png", b"second one"), ("train/001.cls", b"7\n"), ("train/001.txt", b"a caption"),
    ("./train/002.jpg", b""), ("train/002.npy", b"x"),
]  # fmt: skip


def test_a_shard_gives_one_sample_per_key_with_what_stands_beside(tmp_path: Path) -> None:
    samples, report = found(tar(tmp_path / "s.tar", SHARD))
    assert [s.uri.partition("#")[2] for s in samples] == ["train/000.jpg", "train/001.png", "train/002.jpg"]
    assert [s.labels for s in samples] == [("cat",), ("7",), ()]
    assert [dict(s.metadata) for s in samples] == [{"n": 1, "box": "[1]"}, {"text": "a caption"}, {}]
    assert {(s.kind, s.file) for s in samples} == {("member", f"{tmp_path}/s.tar")}
    assert report.skipped == {".npy": 1}
    assert report.files_seen == {f"{tmp_path}/s.tar"}
    assert [read_bytes(s) for s in samples[:2]] == [b"first", b"second one"]
    with pytest.raises(UnreadableImage, match="empty: zero bytes"):
        read_bytes(samples[2])


def test_offsets_are_those_of_the_archive(tmp_path: Path) -> None:
    names = ["a.jpg", "long/" + "n" * 150 + ".jpg", "ünï.jpg", "z.jpg"]
    path = tar(tmp_path / "s.tar", [(name, name.encode() * 50) for name in names])
    samples, _ = found(path)
    assert [read_bytes(s).decode() for s in samples] == [name * 50 for name in names]
    content = path.read_bytes()
    assert [content[s.offset or 0 :][: s.size_bytes].decode() for s in samples] == [name * 50 for name in names]


def test_images_that_share_a_key_are_one_only_when_one_is_named_by_the_key(tmp_path: Path) -> None:
    names = ["a.jpg", "a.seg.png", "clip.0001.jpg", "clip.0002.jpg"]
    samples, report = found(tar(tmp_path / "s.tar", [(name, b"x") for name in names]))
    assert [s.uri.partition("#")[2] for s in samples] == ["a.jpg", "clip.0001.jpg", "clip.0002.jpg"]
    assert report.skipped == {".seg.png": 1}


def test_labels_and_splits_come_from_folders_within_a_shard(tmp_path: Path) -> None:
    tar(tmp_path / "set" / "shards" / "s.tar", [("train/cat/1.jpg", b"x"), ("2.jpg", b"x")])
    samples, _ = found(tmp_path / "set", labels_from_folders=True, splits_from_folders=True)
    assert [(s.labels, s.split) for s in samples] == [(("cat",), "train"), (("shards",), None)]


def test_two_members_of_one_name_have_two_uris(tmp_path: Path) -> None:
    samples, _ = found(tar(tmp_path / "s.tar", [("a.jpg", b"one"), ("b.jpg", b"x"), ("a.jpg", b"two")]))
    assert [s.uri.partition("#")[2] for s in samples] == ["a.jpg", "b.jpg", f"a.jpg@{samples[2].offset}"]
    assert read_bytes(samples[2]) == b"two"


def test_a_member_whose_name_is_not_text_is_found_and_stored(tmp_path: Path) -> None:
    sample = one(tar(tmp_path / "s.tar", [("b\udcff.jpg", b"x")]))
    assert sample.uri.endswith("#b%FF.jpg") and read_bytes(sample) == b"x"


def test_hidden_members_links_and_folders_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name, kind in (("d.jpg", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE), ("._a.jpg", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("a.jpg"))
    assert [s.uri.partition("#")[2] for s in found(tmp_path / "s.tar")[0]] == ["a.jpg"]


def test_json_that_does_not_parse_is_said(tmp_path: Path) -> None:
    samples, report = found(tar(tmp_path / "s.tar", [("a.jpg", b"x"), ("a.json", b"{")]))
    assert [dict(s.metadata) for s in samples] == [{}]
    assert report.notes == (f"{tmp_path}/s.tar: 1 .json members are not JSON; their images have no metadata",)


def test_a_shard_cut_anywhere_gives_the_images_before_the_cut(tmp_path: Path) -> None:
    whole = tar(tmp_path / "whole.tar", [(f"{i}.jpg", bytes([65 + i]) * (300 * i + 1)) for i in range(6)])
    content = whole.read_bytes()
    with tarfile.open(whole) as archive:
        members = archive.getmembers()
    last_byte = members[-1].offset_data + members[-1].size
    for size in range(1, last_byte + 600, 131):
        cut = write(tmp_path / "cut.tar", content[:size])
        samples, _ = found(cut)
        expected = [m.name for m in members if m.offset_data + m.size <= size]
        assert [s.uri.partition("#")[2] for s in samples if s.reason is None] == expected, size
        if size < last_byte:
            assert (samples[-1].reason, samples[-1].uri, samples[-1].kind) == ("truncated", str(cut), "member"), size
        assert all(read_bytes(s) for s in samples if s.reason is None)


def test_a_shard_damaged_within_is_said_to_be_cut_there(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [("a.jpg", b"x" * 600), ("b.jpg", b"y"), ("c.jpg", b"z")])
    content = bytearray(path.read_bytes())
    at = found(path)[0][1].offset or 0
    content[at - 512 : at] = b"\x55" * 512
    samples, _ = found(write(path, bytes(content)))
    assert [s.reason for s in samples] == [None, "truncated"]
    assert f"no end mark after {at - 512} of {len(content)} bytes" in samples[1].message


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (b"", "empty", "zero bytes"),
        (b"short", "truncated", "5 bytes"),
        (b"no tar " * 200, "not_an_image", "not a tar archive"),
        (b"\x1f\x8b" + b"\0" * 2000, "unsupported", "a compressed tar"),
    ],
)
def test_what_is_no_tar_is_a_sample_with_a_reason(tmp_path: Path, content: bytes, reason: str, message: str) -> None:
    write(tmp_path / "s.tar", content)
    sample = one(tmp_path)
    assert sample.reason == reason and message in sample.message


def test_a_member_of_a_shard_that_shrank_is_truncated(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [("a.jpg", b"0123456789")])
    sample = one(path)
    write(path, path.read_bytes()[: (sample.offset or 0) + 4])
    with pytest.raises(UnreadableImage, match="truncated: the archive ends 6 bytes into"):
        read_bytes(sample)


def test_metadata_reaches_members(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [("d/a.jpg", b"x"), ("d/b.jpg", b"x"), ("c.jpg", b"x")])
    meta = write(tmp_path / "m.csv", b"file,n\nd/a.jpg,1\nb.jpg,2\ns.tar#c.jpg,3\n")
    samples, report = found(path, metadata=str(meta))
    assert [s.metadata.get("n") for s in samples] == [1, 2, 3]
    assert report.n_unmatched_rows == 0


def test_a_table_may_name_members(tmp_path: Path) -> None:
    tar(tmp_path / "s.tar", SHARD)
    table = write(tmp_path / "t.csv", b"uri,m\ns.tar#train/001.png,5\ns.tar#train/9.png,6\n")
    one_there, not_there = found(table)[0]
    assert read_bytes(one_there) == b"second one"
    assert dict(one_there.metadata) == {"text": "a caption", "m": 5}
    assert (not_there.reason, not_there.message) == ("missing", "the file has no #train/9.png")
    assert not_there.uri == f"{tmp_path}/s.tar#train/9.png"


# --- videos ----------------------------------------------------------------------------------------------------------


def clip(path: Path, *, n_frames: int = 50, fps: int = 25, codec: str = "mpeg4", gap_after: int | None = None) -> Path:
    """A small video; with a gap, ten frames are missing from its time line."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.gop_size = 64, 48, 10
        stream.options = {"sc_threshold": "1000000000"}  # noise is no reason for a key frame
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(n_frames):
            pixels = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i + (10 if gap_after is not None and i > gap_after else 0)
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def names(samples: list[Sample]) -> list[str]:
    return [s.uri.partition("#")[2] for s in samples]


def test_a_video_gives_a_frame_a_second_and_says_so(tmp_path: Path) -> None:
    path = clip(tmp_path / "set" / "drive.mp4")
    samples, report = found(tmp_path / "set", labels_from_folders=True)
    assert [s.uri for s in samples] == [f"{path}#t=0.000", f"{path}#t=1.000"]
    first, second = samples
    assert (first.kind, first.file, first.size_bytes) == ("frame", str(path), path.stat().st_size)
    assert (second.time_s, second.reason) == (1.0, None)
    assert first.file_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [dict(s.metadata) for s in samples] == [{"video": str(path), "frame": n} for n in (0, 25)]
    assert report.notes == ("drive.mp4: 2 of 50 frames (1 fps; --every-nth 1 takes all)",)


@pytest.mark.parametrize(
    ("options", "times", "note"),
    [
        ({"fps": 2.0}, ["t=0.000", "t=0.520", "t=1.000", "t=1.520"], "4 of 50 frames (2 fps)"),
        ({"every_nth": 20}, ["t=0.000", "t=0.800", "t=1.600"], "3 of 50 frames (1 in 20)"),
        ({"keyframes": True}, [f"t={i * 0.4:.3f}" for i in range(5)], "5 of 50 frames (key frames)"),
        ({"default_fps": 0.5}, ["t=0.000"], "1 of 50 frames (0.5 fps; --every-nth 1 takes all)"),
    ],
)
def test_ways_to_sample_a_video(tmp_path: Path, options: dict[str, Any], times: list[str], note: str) -> None:
    samples, report = found(clip(tmp_path / "drive.mp4"), **options)
    assert names(samples) == times
    assert report.notes == (f"drive.mp4: {note}",)
    assert [s.metadata["frame"] for s in samples] == [round((s.time_s or 0.0) * 25) for s in samples]


def test_time_stamps_are_those_that_decoding_asks_for(tmp_path: Path) -> None:
    path = clip(tmp_path / "drive.mp4")
    samples, _ = found(path, every_nth=10)
    answers = dict(images.read_frames(local_path(samples[0]), [s.offset or 0 for s in samples]))
    assert [type(answers[s.offset or 0]).__name__ for s in samples] == ["ndarray"] * 5


def test_a_frame_keeps_its_number_and_name_across_gaps_and_samplings(tmp_path: Path) -> None:
    path = clip(tmp_path / "gap.mkv", gap_after=12)
    every, _ = found(path, every_nth=1)
    assert [s.metadata["frame"] for s in every] == list(range(50))
    by_uri = {s.uri: s.metadata["frame"] for s in every}
    for options in ({"fps": 3.0}, {"keyframes": True}, {"every_nth": 7}):
        samples, _ = found(path, **options)
        assert samples and all(by_uri[s.uri] == s.metadata["frame"] for s in samples)


def test_frames_closer_than_a_millisecond_still_have_names_of_their_own(tmp_path: Path) -> None:
    samples, _ = found(clip(tmp_path / "fast.mov", fps=2400), every_nth=1)
    assert len(set(names(samples))) == 50
    assert names(samples)[:2] == ["t=0.000000", "t=0.000417"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"no video at all " * 99, "not_an_image"), (b"\0\0\0\x18ftypisom", "truncated")],
)
def test_a_video_that_cannot_be_read_is_one_sample_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path / "a.mp4", content)
    sample = one(tmp_path)
    assert (sample.uri, sample.kind, sample.reason) == (str(path), "frame", reason)
    assert sample.message and "\n" not in sample.message
    assert (sample.time_s, sample.offset, sample.size_bytes) == (None, None, len(content))


def test_a_video_nobody_may_read_is_one_sample_with_the_reason(open_folder: Path) -> None:
    clip(open_folder / "a.mp4", n_frames=2).chmod(0)
    with as_nobody():
        assert one(open_folder).reason == "permission"


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mkv", "mpeg4"), ("a.avi", "mjpeg")])
def test_a_video_cut_anywhere_gives_the_frames_that_are_left_and_says_so(tmp_path: Path, name: str, codec: str) -> None:
    whole = clip(tmp_path / "whole" / name, codec=codec)
    every, report = found(whole, every_nth=1)
    assert len(every) == 50 and all("note" not in s.metadata for s in every) and len(report.notes) == 1
    content = whole.read_bytes()
    counts = []
    for share in (0.95, 0.6, 0.3):
        cut = write(tmp_path / "cut" / name, content[: int(len(content) * share)])
        samples, report = found(cut, every_nth=1)
        counts.append(len(samples))
        assert all("file is cut" in str(s.metadata["note"]) for s in samples)
        assert report.notes[1].startswith(f"{name}: the file is cut")
    assert 50 > counts[0] > counts[1] > counts[2] > 0


def test_many_videos_are_summed_up(tmp_path: Path) -> None:
    clip(tmp_path / "00.mp4", n_frames=2)
    for i in range(1, 23):
        shutil.copy(tmp_path / "00.mp4", tmp_path / f"{i:02d}.mp4")
    _, report = found(tmp_path, every_nth=1)
    assert len(report.notes) == 21
    assert report.notes[-1] == "3 more videos: 6 of 6 frames (all)"


def test_a_row_of_a_table_or_of_metadata_tells_of_all_frames_of_its_video(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4")
    table = write(tmp_path / "t.csv", b"uri,label,place\na.mp4,night,A9\n")
    meta = write(tmp_path / "m.csv", b"file,n,frame\na.mp4,5,77\na.mp4#t=1.000,6,78\n")
    samples, report = found(table, metadata=str(meta))
    assert [s.labels for s in samples] == [("night",)] * 2
    assert [(s.metadata["place"], s.metadata["n"], s.metadata["frame"]) for s in samples] == [
        ("A9", 5, 0),
        ("A9", 6, 25),
    ]
    assert report.n_unmatched_rows == 0


def test_a_table_may_name_frames(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    table = write(tmp_path / "t.csv", b"uri,n\na.mp4#t=0.040,1\na.mp4#t=1.960,2\na.mp4#t=9.000,3\n")
    samples, _ = found(table)
    assert [s.uri for s in samples] == [f"{path}#t={t}" for t in ("0.040", "1.960", "9.000")]
    assert [s.metadata["n"] for s in samples] == [1, 2, 3]
    assert [s.reason for s in samples] == [None, None, "no_frame"]
    assert samples[2].message == "the file has no #t=9.000"


def test_a_remote_video_is_read_through_a_copy(tmp_path: Path, memory: MemoryFileSystem) -> None:
    memory.pipe_file("/a.mp4", clip(tmp_path / "a.mp4").read_bytes())
    memory.pipe_file("/empty.mp4", b"")
    samples, _ = found("memory://", every_nth=25)
    assert [s.uri for s in samples] == ["memory:///a.mp4#t=0.000", "memory:///a.mp4#t=1.000", "memory:///empty.mp4"]
    assert [s.reason for s in samples] == [None, None, "empty"]
    assert Path(local_path(samples[1])).read_bytes() == (tmp_path / "a.mp4").read_bytes()


def test_a_video_whose_name_is_not_text_is_read(tmp_path: Path, own_temp: None) -> None:
    clip(tmp_path / "a.mp4").rename(tmp_path / os.fsdecode(b"\xff:1.mp4"))
    samples, _ = found(tmp_path)
    assert [s.uri for s in samples] == [f"file://{tmp_path}/%FF%3A1.mp4#t={t}.000" for t in (0, 1)]
    assert [s.reason for s in samples] == [None, None]


def test_a_known_video_is_not_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", b"would fail")
    scanned = scan([str(tmp_path)], known=lambda *_: True)
    assert list(scanned) == [] and scanned.report.files_seen == {str(path)}


@pytest.mark.parametrize(
    ("path", "answer"), [("a.MP4", True), ("s3://b/a.mkv", True), ("a.jpg", False), (".mp4", False)]
)
def test_is_video(path: str, answer: bool) -> None:
    assert is_video(path) is answer


# --- stores other than the disk --------------------------------------------------------------------------------------


def test_a_remote_folder_behaves_like_a_local_one(tmp_path: Path, memory: MemoryFileSystem) -> None:
    names = ["set/b/2.jpg", "set/a.jpg", "set/b/x #1.png", "set/notes.txt", "set/.hidden.jpg"]
    for name in names:
        memory.pipe_file(f"/{name}", name.encode())
        write(tmp_path / name, name.encode())
    remote, remote_report = found("memory://set", labels_from_folders=True)
    local, local_report = found(tmp_path / "set", labels_from_folders=True)
    assert [s.uri.removeprefix("memory://") for s in remote] == below(tmp_path, [s.uri for s in local])
    assert [(s.size_bytes, s.labels) for s in remote] == [(s.size_bytes, s.labels) for s in local]
    assert remote_report.skipped == local_report.skipped == {".txt": 1}
    assert [read_bytes(s) for s in remote] == [read_bytes(s) for s in local]
    assert all(s.modified > 1e9 for s in remote)


@pytest.mark.parametrize("url", ["memory://set/", "memory:///set", "memory://set/a.jpg", "memory://"])
def test_ways_to_write_a_url(memory: MemoryFileSystem, url: str) -> None:
    memory.pipe_file("/set/a.jpg", b"a")
    sample = one(url)
    assert read_bytes(sample) == b"a"
    assert one(sample.file).file == sample.file


def test_a_remote_table_shard_and_sidecar(memory: MemoryFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("/set/t.csv", b"uri,n\na.jpg,1\ngone.jpg,2\ns.tar,3\n")
    memory.pipe_file("/set/a.jpg", b"a")
    memory.pipe_file("/set/s.tar", tar(tmp_path / "s.tar", SHARD).read_bytes())
    memory.pipe_file("/meta/m.jsonl", b'{"path": "a.jpg", "m": true}\n{"path": "000.jpg", "m": false}')
    samples, _ = found("memory://set/t.csv", metadata="memory://meta/m.jsonl")
    assert [s.uri for s in samples][:3] == [
        "memory://set/a.jpg", "memory://set/gone.jpg", "memory://set/s.tar#train/000.jpg",
    ]  # fmt: skip
    assert [s.metadata.get("n") for s in samples] == [1, 2, 1, 3, 3]
    assert [s.metadata.get("m") for s in samples] == [True, None, False, None, None]
    assert read_bytes(samples[3]) == b"second one"
    with pytest.raises(UnreadableImage, match=r"missing: no such file: /set/gone\.jpg"):
        read_bytes(samples[1])


def test_a_row_of_a_remote_table_may_climb(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/set/tables/t.csv", b"uri\n../a.jpg\n./../a.jpg\n")
    memory.pipe_file("/set/a.jpg", b"a")
    assert uris("memory://set/tables/t.csv") == ["memory://set/a.jpg"]


def test_many_rows_of_one_remote_folder_cost_one_listing(memory: MemoryFileSystem, monkeypatch: Any) -> None:
    for i in range(30):
        memory.pipe_file(f"/set/{i:02d}.jpg", b"x" * i)
    memory.pipe_file("/set/t.csv", "\n".join(["uri", *(f"{i:02d}.jpg" for i in range(31))]).encode())
    asked: list[str] = []
    info = MemoryFileSystem.info

    def counted(fs: MemoryFileSystem, path: str, **options: Any) -> Any:
        asked.append(path)
        return info(fs, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "info", counted)
    samples, _ = found("memory://set/t.csv")
    assert [s.size_bytes for s in samples] == [*range(30), 0]
    assert sum(path.endswith(".jpg") for path in asked) < LIST_FROM < len(samples)
    assert {s.uri: s for s in samples if s.size_bytes} == {s.uri: s for s in found("memory://set")[0] if s.size_bytes}


def test_a_remote_source_that_is_not_there(memory: MemoryFileSystem) -> None:
    with pytest.raises(UnreadableSource, match=r"memory://nowhere cannot be read \(no such file: /nowhere\)"):
        scan(["memory://nowhere"])


class OddError(Exception):
    """What a plug-in might raise: no OSError."""


class Moody(MemoryFileSystem):  # type: ignore[misc]
    """A store that refuses one folder and breaks down on one file."""

    protocol = "moody"
    store: dict[str, Any] = {}  # noqa: RUF012 - the parent class has it so
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("moody://", "memory://"))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path.endswith("locked"):
            raise PermissionError(path)
        return super().ls(path, detail=detail, **options)

    def get_file(self, path: str, target: str, **options: Any) -> Any:
        if "full" in path:
            Path(target).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().get_file(path, target, **options)

    def cat_file(self, path: str, **options: Any) -> Any:
        if "odd" in path:
            raise OddError("the moon is full")
        return super().cat_file(path, **options)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "odd" in path and "r" in mode:
            raise OddError("the moon is full")
        return super()._open(path, mode, **options)


def test_a_store_that_refuses_or_fails_gives_reasons(memory: MemoryFileSystem) -> None:
    fsspec.register_implementation("moody", Moody, clobber=True)
    fs = Moody()
    for name in ("a.jpg", "locked/b.jpg", "odd.jpg", "odd.tar"):
        fs.pipe_file(f"/set/{name}", b"x")
    a, locked, odd, odd_tar = found("moody://set")[0]
    assert (a.reason, locked.reason, locked.uri) == (None, "permission", "moody://set/locked")
    assert locked.message == "permission denied: /set/locked"
    with pytest.raises(UnreadableImage, match="decode_error: OddError: the moon is full"):
        read_bytes(odd)
    assert (odd_tar.reason, odd_tar.message) == ("decode_error", "OddError: the moon is full")
    fs.pipe_file("/odd.csv", b"uri\n")
    with pytest.raises(UnreadableSource, match=r"odd\.csv cannot be read \(OddError: the moon is full\)"):
        found("moody://odd.csv")


def test_a_chained_url_names_its_members(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("in/a.jpg", b"a")
        archive.writestr("in/b.jpg", b"bb")
    samples, _ = found(f"zip://in::{tmp_path}/set.zip")
    assert [s.uri for s in samples] == [f"zip://in/{n}::{tmp_path}/set.zip" for n in ("a.jpg", "b.jpg")]
    assert [read_bytes(s) for s in samples] == [b"a", b"bb"]


def test_a_remote_file_is_copied_once_and_again_when_it_changes(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/a.jpg", b"one")
    first = one("memory://a.jpg")
    assert Path(local_path(first)).read_bytes() == b"one"
    assert local_path(first) == local_path(first)
    memory.pipe_file("/a.jpg", b"second")
    assert Path(local_path(one("memory://a.jpg"))).read_bytes() == b"second"
    memory.rm("/a.jpg")
    with pytest.raises(UnreadableImage, match="missing: no such file"):
        local_path(Sample(uri="x", file="memory://a.jpg", size_bytes=9))


def test_copies_nobody_asked_for_are_deleted(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("a", "b"):
        memory.pipe_file(f"/{name}.jpg", name.encode())
    old = local_path(one("memory://a.jpg"))
    os.utime(old, (0, 0))
    new = local_path(one("memory://b.jpg"))
    assert not Path(old).exists() and Path(new).exists()


def test_a_copy_that_finds_no_room_says_so(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("moody", Moody, clobber=True)
    sample = Sample(uri="x", file="moody://full.jpg", size_bytes=1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(
        CannotWrite, match=r"no room to copy moody://full\.jpg to .*\(No space left on device\).*TMPDIR"
    ):
        local_path(sample)
    assert list((tmp_path / f"curator-media-{os.getuid()}").iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(write(tmp_path / "file")))
    with pytest.raises(CannotWrite, match=r"cannot make .*/file/curator-media-\d+ \(Not a directory\).*TMPDIR"):
        local_path(sample)


def test_a_folder_for_copies_that_belongs_to_someone_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"curator-media-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(CannotWrite, match=r"curator-media-\d+ belongs to someone else"):
        local_path(Sample(uri="x", file="memory://a.jpg"))


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_bytes_of_an_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", b"0123456789")
    sample = one(path)
    assert read_bytes(sample) == read_bytes(sample, max_bytes=10) == b"0123456789"
    with pytest.raises(UnreadableImage, match="too_large: 10 bytes; at most 9 are read"):
        read_bytes(sample, max_bytes=9)
    write(path, b"")
    with pytest.raises(UnreadableImage, match="empty: zero bytes"):
        read_bytes(sample)
    path.unlink()
    with pytest.raises(UnreadableImage, match="missing: No such file or directory"):
        read_bytes(sample)
    with pytest.raises(UnreadableImage, match="not_an_image: Is a directory"):
        read_bytes(Sample(uri="x", file=str(tmp_path)))


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_real_folder_with_sidecar(real_data: Path) -> None:
    root = real_data / "video" / "camvid"
    samples, report = found(root / "0006R0", root / "0016E5", metadata=str(root / "frames.csv"))
    assert len(samples) == 251 and report.n_unmatched_rows == 0
    assert all(s.split in ("train", "val", "test") for s in samples)
    assert all(isinstance(s.metadata["frac_sky"], float) for s in samples)
    assert {s.metadata["sequence"] for s in samples} == {"0006R0", "0016E5"}
    assert all(Path(s.file).parent.name == s.metadata["sequence"] for s in samples)


@pytest.mark.real
def test_real_folder_of_many_formats(real_data: Path) -> None:
    root = real_data / "near_duplicates" / "imagededup_ukbench"
    samples, report = found(root, metadata=str(root / "truth.csv"))
    assert len(samples) == 25 and report.n_unmatched_rows == 0
    assert report.skipped == {".csv": 1}
    assert all(s.metadata["variant"] for s in samples)


@pytest.mark.real
def test_a_real_table_and_the_same_as_sidecar_agree(real_data: Path) -> None:
    root = real_data / "classification" / "gtsrb_tracks"
    by_table, _ = found(root / "labels.csv", uri_column="file")
    by_sidecar, report = found(root, metadata=str(root / "labels.csv"))
    assert len(by_table) == 4410 and report.n_unmatched_rows == 0
    assert {s.uri: s for s in by_table} == {s.uri: s for s in by_sidecar}
    first = by_table[0]
    assert first.labels == ("Speed limit 20",)
    assert dict(first.metadata) == {
        "class_id": 0, "track_id": "00-00000", "frame_in_track": 0, "width": 29, "height": 30,
    }  # fmt: skip


@pytest.mark.real
def test_real_clips_and_a_real_clip_cut(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "video"
    clips = [root / n for n in ("intel_car-detection.mp4", "bgs_highway_video02.avi", "udacity_solidWhiteRight.mp4")]
    samples, report = found(*clips)
    assert [len([s for s in samples if s.file == str(path)]) for path in clips] == [31, 30, 9]
    assert len({s.uri for s in samples}) == len(samples)
    assert report.notes[0] == "intel_car-detection.mp4: 31 of 377 frames (1 fps; --every-nth 1 takes all)"
    content = clips[0].read_bytes()
    cut, _ = found(write(tmp_path / "cut.mp4", content[: len(content) // 2]))
    assert 10 < len(cut) < 25 and all("file is cut" in str(s.metadata["note"]) for s in cut)
