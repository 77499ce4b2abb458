"""Frames of a clip as virtual rows: `clip.mp4#t=12.480`.

Knows which frames to ask for and how to name them; demuxing is `curator.images`' affair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from curator.images import VideoInfo, list_frames
from curator.images.pictures import ends_inside_box

DECIMALS = 3
"""Of the seconds in a frame's name; more where two frames of a clip would share a name."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a video to take: exactly one of the three."""

    fps: float | None = None
    every_nth: int | None = None
    keyframes: bool = False
    is_default: bool = False  # nobody asked for it

    def __str__(self) -> str:
        if self.keyframes:
            return "key frames"
        if self.every_nth is not None:
            return "all" if self.every_nth == 1 else f"1 in {self.every_nth}"
        return f"{self.fps:g} fps"


ALL_FRAMES = Sampling(every_nth=1)


class NamedFrame(NamedTuple):
    """A frame and how it is called."""

    name: str  # the part after the clip's uri, #t=12.480
    number: int  # from 0, among all frames of the clip
    time_s: float
    pts: int


@dataclass(frozen=True, slots=True)
class Clip:
    """The sampled frames of one video."""

    frames: tuple[NamedFrame, ...]
    n_frames_total: int
    note: str | None  # what is wrong with the file, if anything


def read_clip(path: str, sampling: Sampling) -> Clip:
    """List the frames of a clip.

    Raises:
        UnreadableImage: the video has no frame that can be read.
        MissingPackage: PyAV is not installed.
    """
    info = list_frames(path, fps=sampling.fps, every_nth=sampling.every_nth, keyframes=sampling.keyframes)
    names = _names([frame.time_s for frame in info.frames], fps=info.fps)
    numbers = _numbers(path, info, sampling)
    frames = tuple(
        NamedFrame(name, number, frame.time_s, frame.pts)
        for name, number, frame in zip(names, numbers, info.frames, strict=True)
    )
    note = "the file is cut: it ends before its content does; these are the frames that are left"
    return Clip(frames, info.n_frames_total, note if _is_cut(path) else None)


def file_digest(path: str) -> str:
    """sha256 of a file's content, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _names(times_s: Sequence[float], *, fps: float) -> list[str]:
    decimals = DECIMALS if fps < 0.5 * 10**DECIMALS else 2 * DECIMALS  # told by the clip, whatever is sampled
    while True:
        names = [f"#t={max(time_s, 0.0):.{decimals}f}" for time_s in times_s]
        if len(set(names)) == len(names) or decimals >= 12:
            return names
        decimals += DECIMALS


def _numbers(path: str, info: VideoInfo, sampling: Sampling) -> list[int]:
    """Place of each frame among all of the clip.

    Told by its time where frames are evenly spaced; else all frames are listed once more.
    """
    if sampling.every_nth is not None:
        return [at * sampling.every_nth for at in range(len(info.frames))]
    times = np.array([frame.time_s for frame in info.frames]) * info.fps  # (n,), in frames
    numbers = np.rint(times).astype(np.int64)
    has_gaps = abs(info.n_frames_total - info.duration_s * info.fps) > 0.5
    if has_gaps or bool(np.any(np.abs(times - numbers) > 0.1)):
        every_pts = np.array([frame.pts for frame in list_frames(path).frames], np.int64)
        numbers = np.searchsorted(every_pts, [frame.pts for frame in info.frames])
    return [int(number) for number in numbers]


def _is_cut(path: str) -> bool:
    """True when the container says that more bytes follow; false too where it does not say how many there are."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as handle:
        head = handle.read(64)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return ends_inside_box(handle)
        if head[:4] == b"RIFF":
            return _end_of_riff(handle, size) > size + 1  # the last byte of padding is often left out
    return head[:4] == _EBML and _end_of_segment(head) > size


_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_UNSAID = (0, 0xFFFFFFFF)  # what streaming writers leave in the place of a size


def _end_of_riff(handle: BinaryIO, size_bytes: int) -> int:
    """Where the last of an AVI's chunks ends: there is one for each gigabyte."""
    at = 0
    while at + 8 <= size_bytes:
        handle.seek(at)
        head = handle.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in _UNSAID:
            break
        at += 8 + length + length % 2
    return at


def _end_of_segment(head: bytes) -> int:
    """Where the segment of a Matroska file ends; 0 where it does not say."""
    length, n_digits = _ebml_number(head[4:])
    at = 4 + n_digits + length
    if head[at : at + 4] != _SEGMENT:
        return 0
    length, n_digits = _ebml_number(head[at + 4 :])
    return 0 if length == (1 << 7 * n_digits) - 1 else at + 4 + n_digits + length


def _ebml_number(head: bytes) -> tuple[int, int]:
    """A number whose first byte tells by its leading zeros how many bytes it has, and that count."""
    n_digits = 9 - head[0].bit_length()
    return int.from_bytes(head[:n_digits], "big") & ((1 << 7 * n_digits) - 1), n_digits
