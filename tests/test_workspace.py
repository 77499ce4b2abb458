"""The directory: snapshots, atomic files, the lock, errors, and what a full or read-only disk leaves behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pytest

from curator import disk, snapshot
from curator import workspace as ws
from curator.errors import (
    CannotWrite,
    DamagedWorkspace,
    NewerFormat,
    NotAWorkspace,
    StageMissing,
    UnknownColumn,
    UnknownRow,
    UnknownSelection,
    UnknownSpace,
    WorkspaceLocked,
)


@pytest.fixture
def place(tmp_path: Path) -> ws.Workspace:
    return ws.create_workspace(tmp_path / "w")


def put_column(place: ws.Workspace, values: list[int], *, name: str = "pixels") -> None:
    with place.writing("test") as writer:
        stamp = snapshot.fingerprint(values)
        file = f"columns/{name}-{stamp}.parquet"
        writer.write_table(file, pa.table({"row": list(range(len(values))), "value": values}))
        writer.publish({f"columns/{name}": [snapshot.Entry(file, stamp, n=len(values))]})


def put_vectors(place: ws.Workspace, space: str, vectors: np.ndarray, rows: list[int]) -> None:
    with place.writing("test") as writer:
        writer.write_array(f"vectors/{space}/0.npy", vectors.astype(np.float16))
        writer.write_array(f"vectors/{space}/0.rows.npy", np.asarray(rows, np.int64))
        meta = {"rows": f"vectors/{space}/0.rows.npy", "dim": vectors.shape[1], "model": "colour"}
        writer.publish({f"vectors/{space}": [snapshot.Entry(f"vectors/{space}/0.npy", "f", n=len(rows), meta=meta)]})


def test_a_new_workspace_is_empty_and_opens_again(place: ws.Workspace) -> None:
    again = ws.open_workspace(place.path)
    assert (again.n_rows, again.snapshot.sequence, again.names("columns")) == (0, 0, [])


def test_a_manifest_survives_the_round_trip(place: ws.Workspace) -> None:
    put_column(place, [1, 2])
    with place.writing("test") as writer:
        writer.publish(
            stages={"index": snapshot.StageRecord("f", 1.0, 2.0, {"n": 3})}, sources=["a b", "ü"], config={"seed": 1}
        )
    again = ws.open_workspace(place.path)
    assert again.snapshot == place.snapshot
    assert again.column("pixels")["value"].to_pylist() == [1, 2]


def test_a_reader_keeps_the_snapshot_it_opened(place: ws.Workspace) -> None:
    put_column(place, [1, 2])
    reader = ws.open_workspace(place.path)
    put_column(place, [3, 4, 5])
    assert reader.column("pixels")["value"].to_pylist() == [1, 2]
    reader.refresh()
    assert reader.column("pixels")["value"].to_pylist() == [3, 4, 5]


def test_files_of_old_snapshots_go_once_no_reader_can_need_them(place: ws.Workspace) -> None:
    put_column(place, [1])
    old = place.file(place.entries("columns/pixels")[0])
    put_column(place, [2])
    with place.writing("test") as writer:
        assert old.exists(), "kept for readers that still hold the old snapshot"
        assert writer.clean(kept_s=-1) == 1
    assert not old.exists()
    assert place.column("pixels")["value"].to_pylist() == [2]


def test_what_a_dead_writer_left_is_removed_by_the_next(place: ws.Workspace) -> None:
    (place.path / "columns").mkdir()
    left = place.path / "columns" / "x.parquet.77.tmp"
    left.write_bytes(b"half")
    with place.writing("test"):
        assert not left.exists()


def test_a_second_writer_is_told_who_holds_the_lock(place: ws.Workspace) -> None:
    with (
        place.writing("embed"),
        pytest.raises(WorkspaceLocked, match=rf"being written by process {os.getpid()} .*\(embed, since"),
        ws.open_workspace(place.path).writing("other"),
    ):
        pass


def test_the_lock_dies_with_its_process(place: ws.Workspace) -> None:
    code = (
        "import sys, time\nfrom curator.workspace import open_workspace\n"
        f"with open_workspace({str(place.path)!r}).writing('x'):\n  print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(WorkspaceLocked, match=str(holder.pid)), place.writing("y"):
            pass
        holder.kill()
        holder.wait()
        with place.writing("y") as writer:
            writer.publish()


def test_publishing_leaves_no_temporary_file(place: ws.Workspace) -> None:
    put_column(place, [1])
    assert not list(place.path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
    ],
)
def test_a_refusing_disk_leaves_the_workspace_as_it_was(
    place: ws.Workspace, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    put_column(place, [1, 2])
    before = {path: path.read_bytes() for path in place.path.rglob("*") if path.is_file()}

    class Full:
        def __init__(self, file: IO[bytes]) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            self.file.write(data[: len(data) // 2])
            raise OSError(code, os.strerror(code))

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    real = disk.open_for_write
    monkeypatch.setattr(
        disk, "open_for_write", lambda path: Full(real(path)) if ".lock" not in path.name else real(path)
    )
    with pytest.raises(CannotWrite, match=words):
        put_column(place, [3, 4])
    monkeypatch.undo()
    again = ws.open_workspace(place.path)
    assert again.column("pixels")["value"].to_pylist() == [1, 2]
    assert {path: path.read_bytes() for path in place.path.rglob("*") if path.is_file()} == before


def unmount(mount: Path) -> None:
    """On a busy machine a file that was just read may be in use for a moment more."""
    until = time.monotonic() + 10
    while subprocess.run(["umount", mount], capture_output=True).returncode:
        assert time.monotonic() < until, f"{mount} is still in use"
        time.sleep(0.05)


def test_disk_full_on_a_real_small_file_system(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs privileges this process lacks")
    try:
        place = ws.create_workspace(mount / "w")
        put_column(place, [1, 2])
        with pytest.raises(CannotWrite, match="the disk is full"), place.writing("test") as writer:
            writer.write_array("vectors/a/0.npy", np.random.default_rng(0).random(100_000))
        assert ws.open_workspace(place.path).column("pixels")["value"].to_pylist() == [1, 2]
        assert not list((mount / "w").rglob("*.tmp"))
    finally:
        unmount(mount)


def test_a_cut_line_in_the_runs_is_passed_over_and_takes_no_other_with_it(place: ws.Workspace) -> None:
    record = {"seconds": 1, "finished": 2.0}
    with place.writing("test") as writer:
        writer.log_run({"stage": "index", **record})
        with (place.path / "runs.jsonl").open("a") as file:
            file.write('{"stage": "clu')
        writer.log_run({"stage": "map", **record})
    assert [run["stage"] for run in place.runs()] == ["index", "map"]


def test_a_file_an_old_reader_needs_is_kept_from_when_it_fell_out_of_use(place: ws.Workspace) -> None:
    put_column(place, [1])
    os.utime(place.file(place.entries("columns/pixels")[0]), (1, 1))  # made long ago
    reader = ws.open_workspace(place.path)
    put_column(place, [2])
    put_column(place, [3])
    assert reader.column("pixels")["value"].to_pylist() == [1]


def test_temporary_files_are_removed_wherever_a_writer_left_them(place: ws.Workspace) -> None:
    (place.path / "report").mkdir()
    left = [place.path / "workspace.json.7.tmp", place.path / "report" / "index.html.7.tmp"]
    for path in left:
        path.write_text("half")
    with place.writing("test"):
        assert not any(path.exists() for path in left)


def test_unfinished_work_of_another_job_is_removed(place: ws.Workspace) -> None:
    with place.writing("test") as writer:
        (writer.staging("one") / "x").write_text("1")
        assert (writer.staging("one") / "x").exists()
        writer.staging("two")
        assert not (place.path / "staging" / "one").exists()
        writer.end_staging()
        assert not (place.path / "staging").exists()


def test_embeddings_are_unit_float32_and_leave_out_removed_rows(place: ws.Workspace, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(4, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    put_vectors(place, "a", vectors, [0, 1, 2, 5])
    with place.writing("test") as writer:
        table = pa.table(
            {"row": list(range(6)), "status": ["present", "removed", *["present"] * 4], "modified": [0.0] * 6}
        )
        writer.write_table("columns/p.parquet", table)
        writer.publish({"columns/presence": [snapshot.Entry("columns/p.parquet", "f", n=6)]})
    got = place.embeddings("a")
    assert got.rows.tolist() == [0, 2, 5]
    assert got.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got.vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(got.vectors, vectors[[0, 2, 3]], atol=2e-3)
    assert place.embeddings("a", present_only=False).rows.tolist() == [0, 1, 2, 5]


def test_what_is_missing_is_named(place: ws.Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotAWorkspace, match="nowhere is not a workspace.*curator run"):
        ws.open_workspace(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAWorkspace, match="file is a file; a workspace is a folder"):
        ws.create_workspace(tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("x")
    with pytest.raises(NotAWorkspace, match=r"is not empty and holds no workspace.json"):
        ws.create_workspace(tmp_path / "full")
    with pytest.raises(UnknownColumn, match="no column 'blur'"):
        place.column("blur")
    with pytest.raises(UnknownSelection, match="no selection 'best' .*none yet"):
        place.selection("best")
    with pytest.raises(UnknownRow, match="no row 3"):
        place.check_row(3)
    with pytest.raises(StageMissing, match="no embeddings yet; run `curator embed"):
        place.embeddings()
    with pytest.raises(StageMissing, match="has no 'samples' yet"):
        place.table("samples")
    put_vectors(place, "a", np.eye(2), [0, 1])
    with pytest.raises(UnknownSpace, match="no embedding space 'b' .*there are: a"):
        place.embeddings("b")
    with pytest.raises(StageMissing, match="no neighbour graph for 'a'; run `curator index"):
        place.neighbors("a")


def test_a_newer_format_is_refused(place: ws.Workspace) -> None:
    path = place.path / ws.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": snapshot.FORMAT + 1}))
    with pytest.raises(
        NewerFormat, match=rf"has format {snapshot.FORMAT + 1}, this Curator .* reads up to {snapshot.FORMAT}"
    ):
        ws.open_workspace(place.path)


def test_damage_is_named_and_not_a_traceback_of_a_library(place: ws.Workspace) -> None:
    put_column(place, [1, 2])
    file = place.file(place.entries("columns/pixels")[0])
    file.write_bytes(b"PAR1 not really")
    with pytest.raises(DamagedWorkspace, match="cannot be read"):
        place.column("pixels")
    file.unlink()
    with pytest.raises(DamagedWorkspace, match="names a file that is gone"):
        place.column("pixels")
    (place.path / ws.MANIFEST).write_text("{")
    with pytest.raises(DamagedWorkspace, match="is not a Curator manifest"):
        ws.open_workspace(place.path)


def test_a_fingerprint_changes_with_any_part_and_with_nothing_else() -> None:
    assert snapshot.fingerprint("a", {"x": 1, "y": 2}) == snapshot.fingerprint("a", {"y": 2, "x": 1})
    assert snapshot.fingerprint("a", {"x": 1}) != snapshot.fingerprint("a", {"x": 2})
    assert snapshot.fingerprint(["a", "b"]) != snapshot.fingerprint(["ab"])


def test_a_workspace_whose_first_run_died_early_can_be_created_again(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "workspace.json.123.tmp").write_text("{")
    assert ws.create_workspace(folder).n_rows == 0
