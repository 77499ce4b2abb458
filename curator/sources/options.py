"""What a scan is asked for, and what it met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from curator.errors import UsageError
from curator.sources.videos import Sampling


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What to take from sources; at most one of fps, every_nth and keyframes."""

    recursive: bool = True
    fps: float | None = None
    every_nth: int | None = None
    keyframes: bool = False
    default_fps: float = 1.0  # of videos when none of the three is given
    labels_from_folders: bool = False
    splits_from_folders: bool = False
    metadata: str | None = None  # a table joined by file name
    uri_column: str = "uri"  # of tables given as sources

    def __post_init__(self) -> None:
        asked = {"fps": self.fps, "every_nth": self.every_nth, "keyframes": self.keyframes or None}
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) > 1:
            shown = ", ".join(f"{name}={value}" for name, value in given.items())
            raise UsageError(f"videos are sampled in one way; got {shown}; give one of fps, every_nth, keyframes")
        for name, value in (*given.items(), ("default_fps", self.default_fps)):
            if not 0 < value < float("inf"):
                raise UsageError(f"{name} is {value}; expected a number above 0")

    @property
    def sampling(self) -> Sampling:
        """Which frames of a video to take."""
        if self.fps is None and self.every_nth is None and not self.keyframes:
            return Sampling(fps=self.default_fps, is_default=True)
        return Sampling(self.fps, self.every_nth, self.keyframes)


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan met besides the samples it gave."""

    files_seen: frozenset[str] = frozenset()  # as `Sample.file`: all that exist, the known ones too
    skipped: Mapping[str, int] = field(default_factory=dict)  # suffix -> files of no kind that is read
    n_samples: int = 0
    n_unmatched_rows: int = 0  # names in the sidecar that match no file
    notes: tuple[str, ...] = ()  # a sentence each
