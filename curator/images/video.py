"""Frames of one video: which there are, and their pixels.

A frame is named by its presentation time stamp (`pts`, in units of the
stream's time base), so that one found by sampling can be decoded later by
seeking. Seeking gives exactly the pixels that decoding from the start gives:
pictures shown before the first key frame after a seek are never used, since
they may lean on what was skipped.

PyAV is imported inside the functions; without it they name the extra to install.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from curator.data import ImageArray
from curator.errors import UnreadableImage, UsageError, require
from curator.images.pictures import DEFAULT_LIMITS, Limits, ends_inside_box, one_line

_ROUNDING_S = Fraction(1, 1000)  # Matroska rounds time stamps to a millisecond
_REORDER_FRAMES = 16  # the most by which H.264 lets display order differ from coded order
_BEFORE_ALL = -(1 << 63)  # earlier than any time stamp
# A playlist named clip.mp4 would have the library open whatever files and URLs it lists.
_CONTAINERS = "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,live_flv,ogg,h264,hevc,m4v,mp3,wav,aac,flac,srt"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video, not yet decoded."""

    time_s: float  # from the first frame
    pts: int  # in units of the stream's time base
    is_key: bool  # decodes without any other frame


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The sampled frames of one video, and the video's own measures."""

    frames: tuple[Frame, ...]  # in display order
    n_frames_total: int  # that exist in the file, sampled or not
    duration_s: float  # of the frames that exist
    fps: float  # mean frame rate; 0 where it cannot be known (one frame, no rate given)
    width: int  # upright, px
    height: int
    codec: str


def list_frames(
    path: str,
    *,
    fps: float | None = None,
    every_nth: int | None = None,
    keyframes: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> VideoInfo:
    """Find the frames of a video and sample them; at most one way of sampling, none for all frames.

    Where the container tells the time stamp of each picture (MP4, MOV, Matroska,
    AVI without B-frames) nothing but the first frame is decoded, which takes
    milliseconds; other files are decoded once. A file that was cut off gives the
    frames that are left.

    Args:
        path: a local file.
        fps: for each multiple of 1/fps seconds from the first frame, the nearest frame at or after it.
        every_nth: the first frame and every n-th after it, in display order.
        keyframes: frames that decode on their own.
        limits: of one frame.

    Raises:
        UnreadableImage: missing, permission, empty, not_an_image, truncated, unsupported, too_large,
            decode_error, or no_frame.
        UsageError: more than one way of sampling, or a rate that is not positive.
    """
    _check_sampling(fps, every_nth, keyframes)
    with closing(_Cursor(path)) as cursor:
        _check_size(cursor.width, cursor.height, limits)
        stamps = cursor.stamps_of_packets() if cursor.tells_times else None
    with closing(_Cursor(path)) as cursor:
        shown = cursor.shown()
        first = next(shown, None)
        if first is None:
            reason = "decode_error" if cursor.fault else "no_frame"
            raise UnreadableImage(reason, f"no picture in the {cursor.codec} stream; {cursor.fault or 'it is empty'}")
        height, width = _upright(np.empty((first[1].height, first[1].width, 0), np.uint8), first[1]).shape[:2]
        if stamps is None:
            stamps = {pts: bool(frame.key_frame) for pts, frame in chain([first], shown)}
        ordered = sorted(stamps.items())
        tick = cursor.tick
        rate = cursor.rate or (len(ordered) - 1) / max(float((ordered[-1][0] - ordered[0][0]) * tick), 1e-9)
        return VideoInfo(
            frames=_sample(ordered, tick, fps, every_nth, keyframes),
            n_frames_total=len(ordered),
            duration_s=float((ordered[-1][0] - ordered[0][0]) * tick) + (1.0 / rate if rate else 0.0),
            fps=float(rate),
            width=width,
            height=height,
            codec=cursor.codec,
        )


def read_frames(
    path: str, pts: Sequence[int], *, seek_gap_s: float = 0.5, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[int, ImageArray | UnreadableImage]]:
    """Decode the frames with these time stamps, each answered once and in order.

    Decodes onward from frame to frame, and seeks where the next one is far. A
    seek that lands behind the place it left has found that key frames are
    farther apart, so the distance that counts as far doubles.

    Args:
        path: a local file.
        pts: strictly increasing, as `list_frames` gives them.
        seek_gap_s: distance beyond which the first seek is tried; 0 seeks to every frame.
        limits: of one frame.

    Yields:
        The time stamp, and (h, w, 3) upright RGB at full size, or why there is none.

    Raises:
        UnreadableImage: the file as a whole cannot be read; see `list_frames`.
        UsageError: time stamps that do not increase.
    """
    for before, after in pairwise(pts):
        if after <= before:
            raise UsageError(f"time stamp {after} after {before}; expected them strictly increasing")
    return _read(path, pts, seek_gap_s, limits)


def _read(
    path: str, pts: Sequence[int], seek_gap_s: float, limits: Limits
) -> Iterator[tuple[int, ImageArray | UnreadableImage]]:
    with closing(_Cursor(path)) as cursor:
        cursor.gap = int(seek_gap_s / cursor.tick)
        for target in pts:
            frame = cursor.find(target)
            if frame is None:
                reason, detail = ("decode_error", cursor.fault) if cursor.fault else ("no_frame", "not in the file")
                yield target, UnreadableImage(reason, f"no picture at time stamp {target}: {detail}")
                continue
            try:
                _check_size(frame.width, frame.height, limits)
                yield target, _pixels(frame)
            except UnreadableImage as error:
                yield target, error


class _Cursor:
    """A place in one video: opened, moved forward by decoding, moved far by seeking.

    Attributes:
        gap: ticks beyond which `find` seeks.
        fault: what the decoder last said of a packet it could not use; "" while all went well.
    """

    def __init__(self, path: str) -> None:
        self._av: Any = require("av", extra="video")
        self._path = path
        self._container, self._stream = _open(path, self._av)
        context = self._stream.codec_context
        name = self._container.format.name.split(",")[0]
        self.codec: str = context.codec.canonical_name
        self.width: int = context.width
        self.height: int = context.height
        self.tick: Fraction = self._stream.time_base  # seconds
        self.rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        # AVI stores no display times: those of streams with B-frames come out exchanged among neighbours, and
        # packets of its MPEG-4 may hold no picture at all.
        self.tells_times = name in ("mov", "matroska") or (
            name == "avi" and not context.has_b_frames and self.codec != "mpeg4"
        )
        self._window = _REORDER_FRAMES if name == "avi" and context.has_b_frames else 0
        self.gap = 0
        self.fault = ""
        self._start: int = self._stream.start_time or 0
        self._at = self._start
        self._ahead: tuple[int, Any] | None = (_BEFORE_ALL, None)  # the frame found last, none at the end
        self._frames = self.shown()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def stamps_of_packets(self) -> dict[int, bool] | None:
        """Time stamp -> is a key frame, read without decoding; none where packets do not tell.

        Uses up the cursor.
        """
        stamps: dict[int, bool] = {}
        for packet in self._packets():
            if packet.size == 0 or packet.is_corrupt or packet.is_discard or not (stamps or packet.is_keyframe):
                continue  # cut short, edited out, or before anything that can be decoded
            if packet.pts is None or packet.pts in stamps:
                return None
            stamps[packet.pts] = packet.is_keyframe
        return stamps or None

    def shown(self) -> Iterator[tuple[int, Any]]:
        """Frames from here on in display order, with increasing time stamps."""
        waiting: deque[Any] = deque()
        stamps: list[int] = []
        for frame in self._decoded():
            waiting.append(frame)
            heapq.heappush(stamps, frame.pts)
            if len(waiting) > self._window:
                yield heapq.heappop(stamps), waiting.popleft()
        while waiting:
            yield heapq.heappop(stamps), waiting.popleft()

    def find(self, target: int) -> Any | None:
        """The frame with this time stamp, none where it cannot be had; targets must increase."""
        if target - self._at > self.gap:
            self._jump(target)
        while self._ahead is not None and self._ahead[0] < target:
            self._step()
        if self._ahead is None or self._ahead[0] > target:
            return None
        return self._ahead[1]

    def _step(self) -> None:
        self._ahead = next(self._frames, None)
        if self._ahead is not None:
            self._at = self._ahead[0]

    def _jump(self, target: int) -> None:
        """Move to the last key frame at or before `target`, or to the start."""
        left = self._at
        seek_to, back = target, max(round(1 / self.tick), 1)
        while seek_to > self._start and self._seek(seek_to):
            if self._ahead is not None and self._ahead[0] <= target:
                break
            seek_to, back = seek_to - back, back * 2  # some containers land on the key frame after the place asked for
        else:
            self.close()
            self._container, self._stream = _open(self._path, self._av)
            self._frames = self.shown()
            self._step()
        if self._at <= left:
            self.gap = max(2 * self.gap, 1)

    def _seek(self, pts: int) -> bool:
        """Continue at a key frame near `pts`; false where the container cannot seek."""
        try:
            self._container.seek(pts, stream=self._stream)
        except self._av.error.FFmpegError:
            return False
        self._frames = self._from_key_frame()
        self._step()
        return True

    def _from_key_frame(self) -> Iterator[tuple[int, Any]]:
        """Frames from the first key frame on, without those that are decoded after but shown before it.

        Where time stamps had to be sorted, the first of them may belong to such
        frames, so as many frames more are passed over.
        """
        shown = self.shown()
        key = next(((pts, frame) for pts, frame in shown if frame.key_frame), None)
        if key is not None:
            yield from islice(chain([key], shown), self._window, None)

    def _decoded(self) -> Iterator[Any]:
        """Frames as the decoder gives them out; packets it cannot use are passed over."""
        for packet in self._packets():
            if packet.is_corrupt:
                self.fault = "the file ends inside it"
                continue
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError as error:
                self.fault = one_line(error.strerror)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.fault = "the decoder had to invent parts of it"
                    continue
                if frame.pts is None:
                    raise UnreadableImage(
                        "unsupported", f"{self.codec} stream without time stamps; remux it into MP4 or Matroska"
                    )
                yield frame

    def _packets(self) -> Iterator[Any]:
        """Packets up to where the file ends or stops making sense."""
        try:
            yield from self._container.demux(self._stream)
        except self._av.error.FFmpegError as error:
            self.fault = one_line(error.strerror)


def _open(path: str, av: Any) -> tuple[Any, Any]:
    """Container and video stream of a file, or why there is none in one of `REASONS`."""
    try:
        if Path(path).stat().st_size == 0:
            raise UnreadableImage("empty", "0 bytes")
        # "file:" keeps a colon in a name from being read as a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace", options={"format_whitelist": _CONTAINERS})
    except FileNotFoundError as error:
        raise UnreadableImage("missing", f"{path!r} is not there") from error
    except PermissionError as error:
        raise UnreadableImage("permission", f"{path!r} may not be read") from error
    except IsADirectoryError as error:
        raise UnreadableImage("not_an_image", f"{path!r} is a folder") from error
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableImage(_reason_not_opened(path), one_line(error.strerror)) from error
    try:
        stream = _video_stream(container, av)
    except UnreadableImage:
        container.close()
        raise
    stream.codec_context.thread_count = 1  # scaling is by processes
    stream.codec_context.thread_type = "NONE"
    return container, stream


def _reason_not_opened(path: str) -> str:
    with Path(path).open("rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return "truncated" if ends_inside_box(file) else "decode_error"
    if head[:4] == b"\x1aE\xdf\xa3" or head[:4] == b"RIFF":
        return "decode_error"
    return "not_an_image"


def _video_stream(container: Any, av: Any) -> Any:
    """The moving picture of a file; the cover of a sound file is none."""
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnreadableImage("not_an_image", f"{container.format.name} file with {kinds} but no moving picture")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise UnreadableImage("unsupported", f"{container.format.name} file in a codec that is not built in")
    return max(known, key=lambda stream: stream.width * stream.height)


def _check_sampling(fps: float | None, every_nth: int | None, keyframes: bool) -> None:
    given = {"fps": fps, "every_nth": every_nth, "keyframes": keyframes or None}
    asked = [f"{name}={value}" for name, value in given.items() if value is not None]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} given together; expected at most one of fps, every_nth, keyframes")
    if fps is not None and not (fps > 0 and math.isfinite(fps)):
        raise UsageError(f"fps={fps}; expected a positive number of frames per second")
    if every_nth is not None and every_nth < 1:
        raise UsageError(f"every_nth={every_nth}; expected 1 or more")


def _sample(
    ordered: list[tuple[int, bool]], tick: Fraction, fps: float | None, every_nth: int | None, keyframes: bool
) -> tuple[Frame, ...]:
    start = ordered[0][0]
    chosen = ordered
    if fps is not None:
        chosen = _at_rate(ordered, tick, Fraction(fps).limit_denominator(1_000_000_000))
    elif every_nth is not None:
        chosen = ordered[::every_nth]
    elif keyframes:
        chosen = [(pts, is_key) for pts, is_key in ordered if is_key]
    return tuple(Frame(float((pts - start) * tick), pts, is_key) for pts, is_key in chosen)


def _at_rate(ordered: list[tuple[int, bool]], tick: Fraction, fps: Fraction) -> list[tuple[int, bool]]:
    """For each multiple of 1/fps, the first frame at or after it, allowing for rounded time stamps."""
    chosen = []
    due = Fraction(0)  # seconds from the first frame
    for pts, is_key in ordered:
        time_s = (pts - ordered[0][0]) * tick
        if time_s + _ROUNDING_S >= due:
            chosen.append((pts, is_key))
            due = (math.floor((time_s + _ROUNDING_S) * fps) + 1) / fps  # the next multiple after this frame
    return chosen


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise UnreadableImage("too_large", f"frames of {width} x {height} px; the limit is {limits.max_pixels} pixels")


def _pixels(frame: Any) -> ImageArray:
    """Upright RGB of a decoded frame, (h, w, 3)."""
    try:
        rgb: ImageArray = frame.to_ndarray(format="rgb24")
    except (ValueError, OSError) as error:  # what FFmpeg's errors derive from, and PyAV's own
        raise UnreadableImage("decode_error", one_line(error)) from error
    return np.ascontiguousarray(_upright(rgb, frame))


def _upright(pixels: ImageArray, frame: Any) -> ImageArray:
    """Turn and mirror a frame as its display matrix says, by multiples of 90 degrees.

    The matrix takes (x, y) to (a x + c y, b x + d y), y downwards.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data of a kind this PyAV has no name for
        return pixels
    if matrix is None:
        return pixels
    a, b, _, c, d = struct.unpack_from("<5i", bytes(matrix))  # 16.16 fixed point; little-endian as all hosts of wheels
    right, down = a, d
    if abs(b) > abs(a):
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    if right < 0:
        pixels = pixels[:, ::-1]
    if down < 0:
        pixels = pixels[::-1]
    return pixels
