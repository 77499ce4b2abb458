"""Named snapshots: a workspace as it is now, kept under `snapshots/NAME`, itself a workspace to open.

Files of a snapshot are never changed, so they are linked and cost no room;
what grows line by line is copied, and decisions are written out and in again
without tokens and jobs. A snapshot is there whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curator.config import NAME
from curator.disk import atomic_write, put_bytes, told
from curator.errors import CuratorError, DamagedWorkspace, UnknownName, UsageError
from curator.snapshot import files_of
from curator.state import open_state
from curator.workspace import MANIFEST, Workspace, open_workspace

FOLDER = "snapshots"
COPIED = ("runs.jsonl", "calibration/answers.jsonl")  # appended to
LINKED = ("report/index.html", "report/report.json")  # replaced as a whole


@dataclass(frozen=True, slots=True)
class Saved:
    """One named snapshot."""

    name: str
    sequence: int  # of the manifest
    rows: int
    created: float  # seconds since 1970

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def save(workspace: Workspace, name: str) -> Saved:
    """Keep the newest snapshot of a workspace under a name.

    Raises:
        UsageError: the name cannot be one, or is taken.
        DamagedWorkspace: a file that the manifest names is gone.
        CannotWrite: the disk refuses; nothing half-made is left.
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"snapshot {name[:80]!r}; expected a letter, then letters, digits, '_', '.' or '-'")
    place = open_workspace(workspace.path)
    target = place.path / FOLDER / name
    if target.exists():
        raise UsageError(f"{place.path} has a snapshot {name!r} already; choose another name")
    staging = target.with_name(f".{name}.{os.getpid()}.tmp")
    with told(target):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            _fill(place, staging)
            try:
                staging.rename(target)
            except OSError as error:
                if target.exists():  # somebody was quicker
                    raise UsageError(f"{place.path} has a snapshot {name!r} already; choose another name") from error
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return _saved(target)


def saved(workspace: Workspace) -> list[Saved]:
    """Every named snapshot, oldest first; one that cannot be read is left out."""
    found = []
    for path in sorted((workspace.path / FOLDER).glob(f"[!.]*/{MANIFEST}")):
        with suppress(CuratorError):
            found.append(_saved(path.parent))
    return sorted(found, key=lambda one: (one.created, one.name))


def forget(workspace: Workspace, name: str) -> None:
    """Remove a named snapshot.

    Raises:
        UnknownName: there is none of that name.
    """
    target = workspace.path / FOLDER / name
    if not re.fullmatch(NAME, name) or not (target / MANIFEST).exists():
        there = ", ".join(one.name for one in saved(workspace)) or "none yet"
        raise UnknownName(f"no snapshot {name[:80]!r} in {workspace.path}; there are: {there}")
    doomed = target.with_name(f".{name}.{os.getpid()}.tmp")
    with told(target):
        target.rename(doomed)
        shutil.rmtree(doomed)


def _fill(place: Workspace, folder: Path) -> None:
    """Link and copy everything; the manifest comes last."""
    try:
        for file in sorted(files_of(place.snapshot)):
            _link(place.path / file, folder / file)
    except FileNotFoundError as error:
        raise DamagedWorkspace(
            f"{place.path} names a file that is gone: {error.filename}; rerun the stage, then try again"
        ) from error
    for file in LINKED:
        with suppress(FileNotFoundError):
            _link(place.path / file, folder / file)
    for file in COPIED:
        with suppress(FileNotFoundError):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place.path / file, folder / file)
    _decisions(place.path, folder)
    text = place.snapshot.to_json().encode()
    atomic_write(folder / MANIFEST, lambda file: put_bytes(file, text))
    now = time.time()
    os.utime(folder / MANIFEST, (now, now))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links, or with too many of this one
        shutil.copyfile(source, target)


def _decisions(source: Path, folder: Path) -> None:
    """What people decided, without tokens and jobs."""
    with open_state(source, create=False) as old:
        lines = list(old.export_lines())
    if len(lines) > 1:  # the first is a head
        with open_state(folder) as new:
            new.import_lines(lines)


def _saved(folder: Path) -> Saved:
    place = open_workspace(folder)
    return Saved(folder.name, place.snapshot.sequence, place.n_rows, (folder / MANIFEST).stat().st_mtime)
