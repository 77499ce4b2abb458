"""One image: bytes to RGB pixels, to model input, to a thumbnail.

The format is told from the first bytes, never from the name, and only the
formats named here are tried: a text file cannot be taken for a rare format,
and no decoder that starts other programs is reachable.
"""

from __future__ import annotations

import importlib
import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageFile

from curator.data import ImageArray
from curator.errors import UnreadableImage, UsageError

REASONS: dict[str, str] = {
    "missing": "the file is no longer where it was found",
    "permission": "the file may not be read by this user",
    "outside": "the file lies outside the folders that may be read",
    "empty": "the file has no content (0 bytes)",
    "not_an_image": "the content is not an image or video, whatever the name says",
    "unsupported": "an image or video of a kind that cannot be decoded here",
    "truncated": "the file ends before the picture does",
    "too_large": "more bytes, pixels or memory than the limits allow",
    "decode_error": "the content is damaged",
    "no_frame": "the video has no picture, or none at this time",
    "worker_died": "the process that was decoding it died",
    "bad_vector": "the embedding is not finite or has no length",
}
"""Reason class of a row that has no pixels or no vector -> what a person reads."""

_OPENERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
}
FORMATS = tuple(_OPENERS)
"""Image formats that `decode` reads."""

# What a parser of hostile bytes may raise; anything else is a fault of ours and must be seen.
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_UPRIGHT = {  # EXIF orientation -> the turn that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258  # TIFF BitsPerSample

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True, slots=True)
class Geometry:
    """The pixels a model wants: (size, size, 3) uint8."""

    size: int
    resize: int  # short side before the crop; not used by squash
    crop: Literal["center", "squash"] = "center"  # squash: both sides to size, the aspect is lost
    filter: Literal["bicubic", "bilinear"] = "bicubic"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"model input of {self.size} px; expected at least 1")
        if self.crop == "center" and self.resize < self.size:
            raise UsageError(
                f"short side of {self.resize} px before a crop of {self.size} px; expected at least {self.size}"
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost; all three are checked before its pixels are decoded."""

    max_pixels: int = 200_000_000  # of the full picture, as its header says
    max_memory_bytes: int = 1_500_000_000  # estimated peak while decoding
    max_file_bytes: int = 500_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image, perhaps smaller than the file holds."""

    pixels: ImageArray  # (h, w, 3) uint8 RGB, upright, read-only
    width: int  # of the full upright picture, px
    height: int
    format: str  # one of FORMATS


def decode(data: bytes, *, min_side: int = 0, exact: bool = False, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Decode one image file to upright 8-bit RGB.

    All colour modes come out as RGB: 16-bit is scaled, alpha lies over white,
    and of several frames or pages the first is taken. A JPEG may be decoded at
    1/2, 1/4 or 1/8 of its size (Pillow's `draft`), which is about three times
    faster and leaves model input within a grey level.

    Args:
        data: the whole file.
        min_side: a JPEG is reduced only as far as its short side stays at least this, px; 0 for never.
        exact: never reduce.
        limits: checked against the header, before pixels are decoded.

    Raises:
        UnreadableImage: with one of `REASONS`; never a picture with missing parts.
    """
    if not data:
        raise UnreadableImage("empty", "0 bytes")
    if len(data) > limits.max_file_bytes:
        raise UnreadableImage("too_large", f"{len(data)} bytes; the limit is {limits.max_file_bytes}")
    kind = _sniff(data)
    if kind == "JPEG" and not _has_end(data):
        raise UnreadableImage("truncated", "no end marker after the picture data")
    with _quiet:
        try:
            return _decode_as(kind, data, 0 if exact else min_side, limits)
        except Image.DecompressionBombError as error:
            raise UnreadableImage("too_large", one_line(error)) from error
        except _FAULTS as error:
            raise UnreadableImage(_reason(error, kind, data), one_line(error)) from error


def measure(data: bytes) -> tuple[str, int, int]:
    """Format, width and height of an image file as its header says; no pixel is decoded.

    Returns:
        One of `FORMATS`, and px before any turn by orientation.

    Raises:
        UnreadableImage: with one of `REASONS`.
    """
    if not data:
        raise UnreadableImage("empty", "0 bytes")
    kind = _sniff(data)
    with _quiet:
        try:
            with _open(kind, data) as image:
                return kind, image.width, image.height
        except Image.DecompressionBombError as error:
            raise UnreadableImage("too_large", one_line(error)) from error
        except _FAULTS as error:
            raise UnreadableImage(_reason(error, kind, data), one_line(error)) from error


def fit(pixels: ImageArray, geometry: Geometry) -> ImageArray:
    """Resize and crop to what a model wants.

    Args:
        pixels: (h, w, 3) RGB.

    Returns:
        (size, size, 3), writable and contiguous.
    """
    height, width = pixels.shape[:2]
    size = geometry.size
    box = (0.0, 0.0, float(width), float(height))
    if geometry.crop == "center":
        scale = geometry.resize / min(width, height)
        wide = geometry.resize if width <= height else int(width * scale)  # the long side is cut, not rounded,
        high = geometry.resize if height <= width else int(height * scale)  # as most training code does
        left, top = round((wide - size) / 2), round((high - size) / 2)
        # Resizing only the box that survives the crop gives the same pixels as resizing all and cropping.
        box = (left * width / wide, top * height / high, (left + size) * width / wide, (top + size) * height / high)
    image = Image.fromarray(pixels).resize((size, size), _FILTERS[geometry.filter], box=box)
    return np.array(image)  # (size, size, 3)


def thumbnail(
    pixels: ImageArray, *, size_px: int = 256, format: Literal["webp", "jpeg"] = "webp", quality: int = 80
) -> bytes:
    """Encode a small copy, its longest side at most `size_px`; nothing is enlarged."""
    image = Image.fromarray(pixels)
    # Halving first, and Hamming for the rest, looks as bicubic does at a third of its time.
    image.thumbnail((size_px, size_px), Image.Resampling.HAMMING, reducing_gap=1.5)
    buffer = io.BytesIO()
    if format == "webp":
        image.save(buffer, "WEBP", quality=quality, method=2)  # 3 and up: twice the time for 2 % fewer bytes
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class _Quiet:
    """Silences Pillow's warnings while any thread decodes.

    `warnings.catch_warnings` restores a process-wide list and must not overlap
    between threads, so the first to enter sets it and the last to leave restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._saved: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\b")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._saved is not None:
                self._saved.__exit__(kind, error, trace)


_quiet = _Quiet()


def _sniff(data: bytes) -> str:
    """Format of a file by its first bytes."""
    head = data[:32]
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    # Two letters are weak evidence: a text may start with BM or P5, so the next field must make sense too.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456fF" and head[2:3] in b"\n\r\t #" and len(head) > 3:
        return "PPM"
    if head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if head[4:8] == b"ftyp":
        brands = data[8 : min(max(int.from_bytes(head[:4], "big"), 16), 256)]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        raise UnreadableImage("unsupported", f"HEIF image or video of brand {_text(head[8:12])}; convert it to JPEG")
    for magic, name in _KNOWN_UNSUPPORTED.items():
        if head.startswith(magic):
            raise UnreadableImage("unsupported", f"{name}; convert it to JPEG or PNG")
    raise UnreadableImage("not_an_image", f"starts with {head[:12]!r}; expected one of {', '.join(FORMATS)}")


_KNOWN_UNSUPPORTED = {
    b"8BPS": "Photoshop document",
    b"%PDF": "PDF document",
    b"\xff\x0a": "JPEG XL image",
    b"\0\0\0\x0cJXL ": "JPEG XL image",
    b"<svg": "SVG drawing",
    b"\0\0\1\0": "Windows icon",
    b"\x1aE\xdf\xa3": "Matroska video",
}


def _has_end(data: bytes) -> bool:
    """Whether a JPEG's picture data is followed by its end marker; an unclear structure is left to the decoder.

    A download that stopped in a file made at full length ends in zeros, which
    decode without complaint into a picture that is half grey.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        if data[at + 1] == 0xDA:  # start of the picture data, in which the end marker cannot occur
            return data.rfind(b"\xff\xd9", at) >= 0  # from the back, where it is
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


def _decode_as(kind: str, data: bytes, min_side: int, limits: Limits) -> Picture:
    with _open(kind, data) as image:
        width, height = image.size
        if width * height > limits.max_pixels:
            raise UnreadableImage(
                "too_large", f"{width} x {height} px is {width * height} pixels; the limit is {limits.max_pixels}"
            )
        if min_side > 0 and kind == "JPEG":
            image.draft(None, (min_side, min_side))
        needed = _memory_bytes(image, width * height)
        if needed > limits.max_memory_bytes:
            raise UnreadableImage(
                "too_large",
                f"{width} x {height} px in mode {image.mode} needs about {needed} bytes of memory; "
                f"the limit is {limits.max_memory_bytes}",
            )
        image.load()
        turn = _UPRIGHT.get(_orientation(image))  # after loading: a TIFF comes upright, its tag and size adjusted
        upright = _to_rgb(image)
    if turn is not None:
        upright = upright.transpose(turn)
        if turn not in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM):
            width, height = height, width
    return Picture(np.asarray(upright), width, height, kind)


def _open(kind: str, data: bytes) -> ImageFile.ImageFile:
    """Read the header, with the one decoder that answers to it.

    Not `Image.open`: that one compares the size with `Image.MAX_IMAGE_PIXELS`,
    a setting of the whole process that is not ours to change.
    """
    module, name = _OPENERS[kind]
    opener: type[ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
    return opener(io.BytesIO(data))


def _memory_bytes(image: Image.Image, full_px: int) -> int:
    """Estimated peak: the decoded mode, RGB (4 bytes per pixel inside Pillow) and the array (3)."""
    per_px = {"1": 1, "L": 1, "P": 1, "LA": 4, "RGB": 0}.get(image.mode, 4) + 4 + 3
    if image.has_transparency_data:
        per_px += 8  # the layer and the white below it
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        per_px += 12  # the scaling in numpy
    coefficients = 6 * full_px if image.info.get("progressive") else 0  # kept whole, even when decoding smaller
    return image.width * image.height * per_px + coefficients


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1-8; 1 where it is absent or cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _FAULTS:
        return 1  # broken metadata does not make the pixels unreadable
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB, with transparent parts over white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("LA") if image.mode == "La" else image
        layer = layer.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8, by the range of the format; clipping would turn most of it white.

    Integers up to 65,535 are 16-bit data (fewer where a TIFF says so), floats
    within 0..1 or 0..255 mean what they say. Anything else has no range of its
    own and is stretched from its lowest to its highest value.
    """
    values = np.asarray(image).astype(np.float32)  # (h, w)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        top = 1.0 if high <= 1.0 else 255.0
    else:
        bits = getattr(image, "tag_v2", {}).get(_BITS_TAG, (16,))
        top = float(2 ** min(int(bits[0] if isinstance(bits, tuple) else bits), 16) - 1)
    if low >= 0.0 and high <= top:
        low, high = 0.0, top
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))  # (h, w), 0..255
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _reason(error: BaseException, kind: str, data: bytes) -> str:
    """Class of a fault, from what the decoder said and whether the file is whole."""
    text = str(error).lower()
    if isinstance(error, MemoryError):
        return "too_large"
    if "truncated" in text or _is_cut(kind, data):
        return "truncated"
    refused = ("not installed", "not available", "unsupported", "unknown")
    return "unsupported" if any(word in text for word in refused) else "decode_error"


def _is_cut(kind: str, data: bytes) -> bool:
    """Whether a file that failed to decode also ends before its own structure says."""
    if kind in ("JPEG", "JPEG2000"):
        return b"\xff\xd9" not in data[-64:]
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    if kind == "TIFF":
        order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
        directory = int.from_bytes(data[4:8], order)
        entries = int.from_bytes(data[directory : directory + 2], order)
        return directory + 2 + 12 * entries + 4 > len(data)
    if kind == "AVIF":
        return ends_inside_box(io.BytesIO(data))
    return False


def ends_inside_box(file: BinaryIO) -> bool:
    """Whether ISO media (AVIF, MP4) ends before one of its top-level boxes does."""
    end = file.seek(0, io.SEEK_END)
    at = 0
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return False  # 0: runs to the end of the file
        at += size
    return at != end


def _text(raw: bytes) -> str:
    return repr(raw.decode("latin-1"))


def one_line(error: object) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
