"""The directory that holds everything known about one data set.

Only this module knows paths inside it. `workspace.json` is the manifest of the
published snapshot: it names, under a key such as `vectors/efficientnet-lite0`,
the files that are current. Files are never changed: a new result is written
under a temporary name, synced, renamed, and published by replacing the manifest
in one step. A reader holds the snapshot it opened; one writer at a time holds
an operating-system lock that dies with its process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from curator.data import Embeddings, IntArray, Neighbors, Selection
from curator.disk import atomic_write, put_bytes, told
from curator.errors import (
    DamagedWorkspace,
    NotAWorkspace,
    StageMissing,
    UnknownColumn,
    UnknownRow,
    UnknownSelection,
    UnknownSpace,
    WorkspaceLocked,
)
from curator.snapshot import Entry, Snapshot, StageRecord, files_of
from curator.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 65_536
MANIFEST = "workspace.json"
HOLDER = ".lock.json"  # who holds the write lock, for others to read
KEPT_FOR_READERS_S = 3600.0  # files of older snapshots stay this long, for readers that still hold one
FOLDERS = ("samples", "columns", "vectors", "index", "selections", "splits", "thumbs", "objects")
KEPT_FOLDERS = ("uploads", "exports", "snapshots")  # what people brought or took; no stage ever cleans them


class Workspace:
    """One workspace as of one snapshot. Open it with `open_workspace`; change it inside `writing()`."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self.path = path
        self.snapshot = snapshot

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r}, snapshot {self.snapshot.sequence}, {self.n_rows} rows)"

    def refresh(self) -> None:
        """Move to the newest published snapshot."""
        self.snapshot = _read_manifest(self.path)

    # -- what is there -------------------------------------------------------------------------------------------

    def entries(self, key: str) -> tuple[Entry, ...]:
        """Current files under a key, in part order; empty when there are none."""
        return tuple(self.snapshot.entries.get(key, ()))

    def names(self, prefix: str) -> list[str]:
        """Names below a key prefix: `names("columns")`, `names("vectors")`, `names("selections")`."""
        return sorted(key.removeprefix(f"{prefix}/") for key in self.snapshot.entries if key.startswith(f"{prefix}/"))

    @property
    def n_rows(self) -> int:
        """Rows ever given, present or not."""
        return sum(entry.n for entry in self.entries("samples"))

    def file(self, entry: Entry) -> Path:
        """Absolute path of a current file."""
        return self.path / entry.file

    def has_files(self, entry: Entry) -> bool:
        """Whether a current file, and what lies beside it, is on the disk."""
        beside = (entry.meta.get(key) for key in ("rows", "faiss"))
        return all((self.path / str(file)).exists() for file in (entry.file, *beside) if file)

    # -- reading -------------------------------------------------------------------------------------------------

    def table(self, key: str, columns: list[str] | None = None) -> pa.Table:
        """All parts under a key as one table, in row order.

        Raises:
            StageMissing: nothing is there yet.
            DamagedWorkspace: a named file is gone or broken.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        entries = self.entries(key)
        if not entries:
            raise StageMissing(f"{self.path} has no {key!r} yet; run `curator run -w {self.path}` first")
        with _damage(self.path):
            tables = [pq.read_table(self.file(entry), columns=columns) for entry in entries]
        try:
            return pa.concat_tables(tables, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid):  # metadata of one name and two types: both become text
            return pa.concat_tables(_with_text(tables), promote_options="permissive")

    def column(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A result column with its `row`.

        Raises:
            UnknownColumn: the workspace has no such column.
        """
        if not self.entries(f"columns/{name}"):
            raise UnknownColumn(f"no column {name!r} in {self.path}; `curator columns -w {self.path}` lists all")
        return self.table(f"columns/{name}", columns)

    def space(self, name: str | None) -> str:
        """The named embedding space, or the only or configured one.

        Raises:
            UnknownSpace: there is no such space.
            StageMissing: there is none at all.
        """
        spaces = self.names("vectors")
        if not spaces:
            raise StageMissing(f"{self.path} has no embeddings yet; run `curator embed -w {self.path}`")
        if name is None:
            return spaces[0] if len(spaces) == 1 else str(self.snapshot.stages["embed"].counts.get("space", spaces[0]))
        if name not in spaces:
            raise UnknownSpace(f"no embedding space {name!r} in {self.path}; there are: {', '.join(spaces)}")
        return name

    def embeddings(self, space: str | None = None, *, present_only: bool = True, after: int = -1) -> Embeddings:
        """Unit vectors of a space as float32, for rows whose file is still there unless told otherwise.

        Args:
            after: only rows above this one; parts without any are not read.
        """
        name = self.space(space)
        entries = self.entries(f"vectors/{name}")
        dim = max(int(entry.meta["dim"]) for entry in entries)  # 0 in a part without a single vector
        entries = tuple(entry for entry in entries if entry.n) or entries[:1]
        gone = self._gone() if present_only else np.empty(0, np.int64)
        with _damage(self.path):
            rows = [np.load(self.path / str(entry.meta["rows"])) for entry in entries]
            kept = [~np.isin(part, gone) & (part > after) for part in rows]
            vectors = np.empty((int(sum(mask.sum() for mask in kept)), dim), np.float32)  # (n, d)
            at = 0
            for entry, mask in zip(entries, kept, strict=True):
                n = int(mask.sum())
                if n:
                    stored = np.load(self.file(entry), mmap_mode="r")  # float16: half the disk, exact enough for cosine
                    vectors[at : at + n] = stored if n == len(mask) else stored[mask]
                    at += n
        for start in range(0, len(vectors), 8192):  # float16 rounding leaves lengths 1 +- 1e-4; make them 1 again
            block = vectors[start : start + 8192]
            block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
        return Embeddings(np.concatenate([r[m] for r, m in zip(rows, kept, strict=True)]), vectors, name)

    def present_rows(self) -> IntArray:
        """Rows whose file is there, increasing."""
        return np.setdiff1d(np.arange(self.n_rows, dtype=np.int64), self._gone(), assume_unique=True)

    def _gone(self) -> IntArray:
        """Rows whose file is not there any more, or that were replaced or are not sampled now."""
        import pyarrow.compute as pc

        if not self.entries("columns/presence"):
            return np.empty(0, np.int64)
        table = self.column("presence", ["row", "status"])
        gone = table.filter(pc.not_equal(table["status"], "present"))
        return np.asarray(gone["row"].to_numpy(), np.int64)

    def neighbors(self, space: str | None = None) -> tuple[IntArray, Neighbors]:
        """The stored graph and the rows its positions stand for.

        Raises:
            StageMissing: the index stage has not run for this space.
        """
        name = self.space(space)
        entries = self.entries(f"index/{name}")
        if not entries:
            raise StageMissing(f"{self.path} has no neighbour graph for {name!r}; run `curator index -w {self.path}`")
        with _damage(self.path), self.file(entries[0]).open("rb") as file, np.load(file) as stored:
            graph = Neighbors(
                stored["positions"].astype(np.int64), stored["similarity"], float(entries[0].meta["recall"])
            )
            return stored["rows"], graph

    def selection(self, name: str) -> Selection:
        """A stored selection.

        Raises:
            UnknownSelection: no selection of that name.
        """
        entries = self.entries(f"selections/{name}")
        if not entries:
            there = ", ".join(self.names("selections")) or "none yet; run `curator select`"
            raise UnknownSelection(f"no selection {name!r} in {self.path}; there are: {there}")
        table = self.table(f"selections/{name}")
        return Selection(
            table["row"].to_numpy().astype(np.int64),
            table["gain"].to_numpy().astype(np.float32),
            tuple(table["reason"].to_pylist()),
            dict(entries[0].meta),
        )

    def thumbnails(self, rows: Sequence[int]) -> dict[int, bytes]:
        """Stored thumbnails of the rows that have one."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        wanted = np.unique(np.asarray(rows, np.int64))
        found: dict[int, bytes] = {}
        for entry in self.entries("thumbs"):
            first = int(entry.meta["first"])
            if len(wanted) and wanted[-1] >= first and wanted[0] < first + int(entry.meta["span"]):
                with _damage(self.path):
                    # read through the row groups that can hold a wanted row: thumbnails of a part may be 500 MB
                    parquet = pq.ParquetFile(self.file(entry))
                    for group in range(parquet.num_row_groups):
                        stats = parquet.metadata.row_group(group).column(0).statistics
                        if not np.any((wanted >= stats.min) & (wanted <= stats.max)):
                            continue
                        table = parquet.read_row_group(group)
                        table = table.filter(pc.is_in(table["row"], value_set=_arrow(wanted)))
                        found.update(zip(table["row"].to_pylist(), table["thumbnail"].to_pylist(), strict=True))
        return {row: data for row, data in found.items() if data is not None}

    def check_row(self, row: int) -> int:
        """The row, if it was ever given.

        Raises:
            UnknownRow: it was not.
        """
        if not 0 <= row < self.n_rows:
            raise UnknownRow(f"no row {row} in {self.path}; rows are 0 to {self.n_rows - 1}")
        return row

    def runs(self) -> list[dict[str, Any]]:
        """Every recorded stage run, oldest first; a line cut by a crash is left out."""
        try:
            lines = (self.path / "runs.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        out = []
        for line in lines:
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and {"stage", "finished", "seconds"} <= record.keys():
                    out.append(record)
        return out

    # -- writing -------------------------------------------------------------------------------------------------

    def seems_written(self) -> bool:
        """Whether a writer says that it is at work; costs no lock, and one that was killed still seems so."""
        return (self.path / HOLDER).exists()

    @contextmanager
    def writing(self, what: str) -> Iterator[Writer]:
        """Hold the write lock and hand out a `Writer` over the newest snapshot.

        Raises:
            WorkspaceLocked: another process is writing; it says which.
            CannotWrite: the directory is read-only.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock", blocking=False)
        holder = self.path / HOLDER
        try:
            with told(self.path):
                lock.acquire()
        except Timeout as error:
            raise WorkspaceLocked(
                f"{self.path} is being written by {_holder(holder)}; wait for it to end, or stop it"
            ) from error
        try:
            info = {"pid": os.getpid(), "host": socket.gethostname(), "what": what, "since": time.time()}
            atomic_write(holder, lambda file: put_bytes(file, json.dumps(info).encode()))
            self.refresh()
            writer = Writer(self)
            writer.clean()
            writer.forget_missing()
            yield writer
        finally:
            with suppress(OSError):
                holder.unlink()
            lock.release()


class Writer:
    """Puts files into a workspace and publishes them; exists only while the lock is held."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def write(self, file: str, put: Callable[[IO[bytes]], None]) -> None:
        """Write one file completely or not at all; it is not visible to readers until published."""
        atomic_write(self.workspace.path / file, put)

    def write_table(self, file: str, table: pa.Table) -> None:
        """Write a table as Parquet."""
        import pyarrow.parquet as pq

        self.write(file, lambda out: pq.write_table(table, out, compression="zstd"))

    def write_array(self, file: str, array: np.ndarray[Any, Any]) -> None:
        """Write an array as .npy."""
        plain = np.ascontiguousarray(array)

        def put(out: IO[bytes]) -> None:
            # not np.save: on a full disk it raises an error that does not say so
            np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(plain))
            out.write(plain.data)

        self.write(file, put)

    def publish(
        self,
        entries: Mapping[str, Sequence[Entry] | None] | None = None,
        *,
        stages: Mapping[str, StageRecord] | None = None,
        sources: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Make new files current in one step; None in `entries` takes a key away."""
        old = self.workspace.snapshot
        merged = dict(old.entries)
        for key, files in (entries or {}).items():
            if files is None:
                merged.pop(key, None)
            else:
                merged[key] = tuple(files)
        snapshot = replace(
            old,
            sequence=old.sequence + 1,
            entries=merged,
            stages={**old.stages, **(stages or {})},
            sources=old.sources if sources is None else tuple(sources),
            config=old.config if config is None else dict(config),
        )
        text = snapshot.to_json().encode()
        atomic_write(self.workspace.path / MANIFEST, lambda file: put_bytes(file, text))
        for file in files_of(old) - files_of(snapshot):  # from now on only older readers need it: see `clean`
            with suppress(OSError):
                os.utime(self.workspace.path / file)
        self.workspace.snapshot = snapshot

    def log_run(self, record: Mapping[str, Any]) -> None:
        """Append one line to runs.jsonl."""
        line = json.dumps({"curator": __version__, **record}, ensure_ascii=True, default=str) + "\n"
        with told(self.workspace.path), (self.workspace.path / "runs.jsonl").open("a+b") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                line = "\n" + line  # a crash cut the last line: leave it to itself
            file.write(line.encode())  # one write: a crash leaves at most one cut line, which readers pass over

    def staging(self, name: str) -> Path:
        """A folder for unfinished work that a killed run may pick up again; others are removed."""
        root = self.workspace.path / "staging"
        with told(self.workspace.path):
            for other in root.glob("*"):
                if other.name != name:
                    shutil.rmtree(other, ignore_errors=True)
            (root / name).mkdir(parents=True, exist_ok=True)
        return root / name

    def end_staging(self) -> None:
        """Remove unfinished work, now finished."""
        shutil.rmtree(self.workspace.path / "staging", ignore_errors=True)

    def forget_missing(self) -> None:
        """Take results whose files were deleted by hand out of the snapshot, so that their stage makes them again."""
        changes: dict[str, list[Entry] | None] = {}
        for key, entries in self.workspace.snapshot.entries.items():
            there = [entry for entry in entries if self.workspace.has_files(entry)]
            if len(there) < len(entries) and key != "samples":  # what samples say is known nowhere else
                changes[key] = there or None
        if changes:
            self.publish(changes)

    def clean(self, *, kept_s: float = KEPT_FOR_READERS_S) -> int:
        """Remove temporary files of dead writers and files no snapshot of the last `kept_s` seconds names."""
        current = files_of(self.workspace.snapshot)
        removed, now = 0, time.time()
        for folder in FOLDERS:
            for path in (self.workspace.path / folder).rglob("*"):
                if not path.is_file() or path.relative_to(self.workspace.path).as_posix() in current:
                    continue
                if path.name.endswith(".tmp") or now - path.stat().st_mtime > kept_s:
                    with suppress(OSError):
                        path.unlink()
                        removed += 1
        for place in (self.workspace.path, self.workspace.path / "report"):
            for path in place.glob("*.tmp"):
                with suppress(OSError):
                    path.unlink()
        return removed


def open_workspace(path: Path | str) -> Workspace:
    """Open an existing workspace for reading, as of its newest snapshot.

    Raises:
        NotAWorkspace: nothing is there, or something else.
        NewerFormat: written by a newer version.
        DamagedWorkspace: the manifest does not parse.
    """
    folder = Path(path).absolute()
    return Workspace(folder, _read_manifest(folder))


def create_workspace(path: Path | str) -> Workspace:
    """Open a workspace, making an empty one when nothing is there.

    Raises:
        NotAWorkspace: the path is a file, or a folder that holds other things.
        CannotWrite: the folder cannot be made.
    """
    folder = Path(path).absolute()
    if (folder / MANIFEST).exists():
        return open_workspace(folder)
    if folder.exists() and not folder.is_dir():
        raise NotAWorkspace(f"{folder} is a file; a workspace is a folder: choose another path for -w")
    # a run killed before its first publish leaves only the names below
    if folder.is_dir() and any(
        item.name not in (".lock", HOLDER, *FOLDERS, *KEPT_FOLDERS) and not item.name.endswith(".tmp")
        for item in folder.iterdir()
    ):
        raise NotAWorkspace(f"{folder} is not empty and holds no {MANIFEST}; choose an empty or new folder for -w")
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    text = Snapshot().to_json().encode()
    atomic_write(folder / MANIFEST, lambda file: put_bytes(file, text))
    return open_workspace(folder)


def _read_manifest(folder: Path) -> Snapshot:
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotAWorkspace(
            f"{folder} is not a workspace (no {MANIFEST}); make one with `curator run SOURCE -w {folder}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedWorkspace(f"cannot read {path}: {error}; restore it or start a new workspace") from error
    return Snapshot.from_json(text, path)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Say a missing or broken file in our words."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise DamagedWorkspace(
            f"{path} names a file that is gone: {error.filename or error}; rerun the stage"
        ) from error
    except (pa.ArrowInvalid, EOFError, ValueError, OSError, zipfile.BadZipFile) as error:
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise DamagedWorkspace(f"a file in {path} cannot be read: {reason}; `curator verify` finds which") from error


def _with_text(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Tables in which a column that has several types is text."""
    import pyarrow as pa

    kinds: dict[str, set[str]] = {}
    for table in tables:
        for column in table.schema:
            if not pa.types.is_null(column.type):
                kinds.setdefault(column.name, set()).add(str(column.type))
    out = []
    for table in tables:
        for at, column in enumerate(table.schema):
            if len(kinds.get(column.name, ())) > 1:
                table = table.set_column(at, column.name, table.column(at).cast(pa.string()))
        out.append(table)
    return out


def _holder(path: Path) -> str:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        since = time.strftime("%H:%M:%S", time.localtime(info["since"]))
        return f"process {info['pid']} on {info['host']} ({info['what']}, since {since})"
    except (OSError, ValueError, KeyError):
        return "another process"


def _arrow(values: IntArray) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.int64())
