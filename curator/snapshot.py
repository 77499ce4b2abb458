"""What is current in a workspace: the manifest as frozen values.

An `Entry` is one file under a key such as `vectors/efficientnet-lite0`; a
`Snapshot` is all of them, with the stages that made them and how they were asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curator.errors import DamagedWorkspace, NewerFormat
from curator.version import __version__

FORMAT = 1


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change when any of the plain values in `parts` changes."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Entry:
    """One current file of a snapshot."""

    file: str  # relative to the workspace, POSIX
    fingerprint: str
    part: int | None = None
    n: int = 0  # rows in the file
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The last run of a stage."""

    fingerprint: str
    finished: float  # seconds since 1970
    seconds: float
    counts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is current: files by key, stages, and how they were asked for."""

    sequence: int = 0
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest's text."""
        body = {
            "format": FORMAT,
            "curator": __version__,
            "sequence": self.sequence,
            "sources": list(self.sources),
            "config": dict(self.config),
            "stages": {name: _plain(record) for name, record in sorted(self.stages.items())},
            "entries": {key: [_plain(entry) for entry in entries] for key, entries in sorted(self.entries.items())},
        }
        return json.dumps(body, indent=1, ensure_ascii=True) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Snapshot:
        """Read a manifest.

        Raises:
            DamagedWorkspace: the text is not a manifest.
            NewerFormat: written by a newer version.
        """
        try:
            body = json.loads(text)
            found = int(body["format"])
            if found > FORMAT:
                raise NewerFormat(
                    f"{path.parent} has format {found}, this Curator {__version__} reads up to {FORMAT}; "
                    "upgrade Curator"
                )
            return cls(
                sequence=body["sequence"],
                entries={key: tuple(Entry(**entry) for entry in entries) for key, entries in body["entries"].items()},
                stages={name: StageRecord(**record) for name, record in body["stages"].items()},
                sources=tuple(body["sources"]),
                config=body["config"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedWorkspace(
                f"{path} is not a Curator manifest ({type(error).__name__}: {error}); restore it or start a new one"
            ) from error


def _plain(value: Entry | StageRecord) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def files_of(snapshot: Snapshot) -> set[str]:
    """Every file a snapshot names."""
    entries = [entry for entries in snapshot.entries.values() for entry in entries]
    beside = {str(entry.meta[key]) for entry in entries for key in ("rows", "faiss") if entry.meta.get(key)}
    return {entry.file for entry in entries} | beside
