"""Pictures of rows as files to send: thumbnails as stored, other sizes made once, originals byte for byte."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from curator.data import ImageArray
from curator.errors import UnreadableImage
from curator.searching import Served
from service.problems import NotFound

KEPT_BYTES = 128_000_000
LARGEST_PX = 4_096
QUALITY = 88
RASTER = {
    b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif", b"BM": "image/bmp",
    b"II*\x00": "image/tiff", b"MM\x00*": "image/tiff",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """Bytes to send."""

    data: bytes
    type: str
    is_shown: bool  # a browser may show it; else it is offered for saving

    @property
    def etag(self) -> str:
        """By content."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:32]}"'


def type_of(data: bytes) -> str | None:
    """Media type of a raster image by its first bytes, or None: what is not known is never shown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return next((kind for magic, kind in RASTER.items() if data.startswith(magic)), None)


class Pictures:
    """Made pictures by what they were made from; the last used ones are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], File] = OrderedDict()
        self._lock = threading.Lock()

    def thumbnail(self, served: Served, row: int) -> File:
        """The stored thumbnail.

        Raises:
            NotFound: the row has none: it could not be read.
        """
        data = served.thumbs.get([row]).get(row)
        if data is None:
            raise NotFound(f"row {row} has no thumbnail", "it could not be read: its record says why")
        return _file(data)

    def original(self, served: Served, row: int) -> File:
        """The image file byte for byte, or a video frame as a JPEG cut now.

        Raises:
            UnreadableImage: it cannot be read any more, with its reason.
        """
        if served.pictures.sample(row).kind == "frame":
            return self.sized(served, row, 0, None)
        return _file(served.pictures.data(row))

    def sized(self, served: Served, row: int, size_px: int, box: tuple[float, float, float, float] | None) -> File:
        """A JPEG of the row, or of a part of it, no longer than `size_px`; 0: as it is.

        Raises:
            UnreadableImage: it cannot be read, or the box lies outside it.
        """
        sample = served.pictures.sample(row)
        key = (sample.file, sample.offset, sample.size_bytes, sample.modified, size_px, box)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _file(_encoded(served.pictures.pixels(row), size_px, box))
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and sum(len(file.data) for file in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return made


def _file(data: bytes) -> File:
    kind = type_of(data)
    return File(data, kind or "application/octet-stream", kind is not None and kind != "image/tiff")


def _encoded(pixels: ImageArray, size_px: int, box: tuple[float, float, float, float] | None) -> bytes:
    picture = Image.fromarray(pixels)
    if box is not None:
        x, y, width, height = box
        left, top = max(0, int(x)), max(0, int(y))
        right, bottom = min(picture.width, round(x + width)), min(picture.height, round(y + height))
        if right <= left or bottom <= top:
            raise UnreadableImage(
                "unsupported", f"the box {list(box)} lies outside the picture of {picture.width} x {picture.height} px"
            )
        picture = picture.crop((left, top, right, bottom))
    if size_px and max(picture.size) > size_px:
        picture.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
