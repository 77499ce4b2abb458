"""Images that a client sends: whole uploads or none, in a folder of the workspace.

A multipart body is read piece by piece and each file goes straight to the disk,
into a folder that carries the process's name and gets its own when everything
was checked and synced. What a killed process left is removed by the next start.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from curator import images
from curator.disk import open_for_write, told
from curator.errors import UnreadableImage
from curator.sources import IMAGE_SUFFIXES
from curator.state.jobs import started_at
from service.problems import BadRequest, NotFound, TooLarge, Unsupported
from service.settings import Settings

FIELD = "files"
MAX_NAME_BYTES = 200
EDGE_BYTES = 4_096  # where a browser or viewer looks for what a file is
TAIL_BYTES = 65_557  # where the directory of a zip ends: 22 bytes and a comment
_PART = re.compile(r"\.[0-9a-f]{16}\.(\d+)-(\w+)\.part")
_ACTIVE = re.compile(rb"<(script|svg|html|!doctype|iframe|\?php)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One image of an upload."""

    name: str
    bytes: int
    format: str
    width: int  # px, as its header says
    height: int


@dataclass(frozen=True, slots=True)
class Upload:
    """Images that came together."""

    id: str
    files: tuple[Uploaded, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"upload": self.id, "files": [asdict(file) for file in self.files],
                "bytes": sum(file.bytes for file in self.files)}  # fmt: skip


class Receiver:
    """Takes the pieces of one multipart body; use it in a `with`, which leaves nothing of a body that broke off."""

    def __init__(self, folder: Path, settings: Settings, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
            raise Unsupported(f"the body is {content_type[:80]!r}", f"send multipart/form-data with fields {FIELD!r}")
        self.id = secrets.token_hex(8)
        self._folder, self._settings = folder, settings
        self._staging = folder / f".{self.id}.{os.getpid()}-{started_at(os.getpid())}.part"
        self._files: list[Uploaded] = []
        self._taken: set[str] = set()
        self._file: IO[bytes] | None = None
        self._name, self._n_bytes = "", 0
        self._headers: dict[str, str] = {}
        self._field, self._value = bytearray(), bytearray()
        self._is_whole = False
        self._parser = MultipartParser(boundary, {
            "on_part_begin": self._begin, "on_header_field": self._on_field, "on_header_value": self._on_value,
            "on_header_end": self._on_header, "on_headers_finished": self._open, "on_part_data": self._on_data,
            "on_part_end": self._close, "on_end": self._on_end,
        })  # fmt: skip

    def __enter__(self) -> Receiver:
        with told(self._folder):
            self._staging.mkdir(parents=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def write(self, piece: bytes) -> None:
        """The next piece of the body.

        Raises:
            BadRequest, TooLarge, Unsupported: it cannot be an upload.
            CannotWrite: the disk refuses.
        """
        try:
            with told(self._folder):
                self._parser.write(piece)
        except FormParserError as error:
            raise BadRequest("the body is no multipart form", "send it as a browser or curl --form does") from error

    def finish(self) -> Upload:
        """Keep the upload: from here on it is whole and stays.

        Raises:
            BadRequest: the body broke off, or held no file.
        """
        if not self._is_whole:
            raise BadRequest("the body ends before its last boundary", "send it again")
        if not self._files:
            raise BadRequest("the body holds no file", f"send images as fields {FIELD!r}")
        with told(self._folder):
            _sync(self._staging)
            self._staging.rename(self._folder / self.id)
            _sync(self._folder)
        return Upload(self.id, tuple(self._files))

    # -- called by the parser, which leaves exceptions alone -------------------------------------------------------

    def _begin(self) -> None:
        self._headers = {}

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._field, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", "").encode())
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            raise BadRequest("a field that is no file", f"send every image as a field {FIELD!r} with a file name")
        if len(self._files) >= self._settings.max_upload_images:
            raise TooLarge(f"more than {self._settings.max_upload_images} images", "send them in several uploads")
        self._name = unique(safe_name(options[b"filename"].decode("utf-8", "replace")), self._taken)
        self._n_bytes = 0
        self._file = open_for_write(self._staging / self._name)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._n_bytes += end - start
        if self._n_bytes > self._settings.max_upload_bytes:
            raise TooLarge(f"{self._name} is over {self._settings.max_upload_bytes} bytes", "send smaller images")
        self._file.write(data[start:end])

    def _close(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        format, width, height = check_image(
            self._name, (self._staging / self._name).read_bytes(), max_pixels=self._settings.max_upload_pixels
        )
        self._files.append(Uploaded(self._name, self._n_bytes, format, width, height))

    def _on_end(self) -> None:
        self._is_whole = True


def safe_name(sent: str) -> str:
    """The name under which a file is kept.

    Raises:
        BadRequest: it names a folder, holds what cannot be seen, or is too long.
        Unsupported: its suffix is not that of an image.
    """
    name = unicodedata.normalize("NFC", sent)
    shown = name[:80].encode("ascii", "backslashreplace").decode()
    if "/" in name or "\\" in name or name.strip() != name or name.startswith((".", "-", "~")) or ":" in name:
        raise BadRequest(f"{shown!r} cannot be the name of a file here", "a plain name without folders")
    if any(unicodedata.category(c).startswith("C") or c == "\ufffd" for c in name):
        raise BadRequest(f"{shown!r} holds characters that cannot be seen", "rename the file")
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise BadRequest(f"a file name has {len(name.encode())} bytes", f"expected 1 to {MAX_NAME_BYTES}")
    suffix = Path(name).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise Unsupported(f"{shown!r} is not named as an image", f"expected one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    return name


def unique(name: str, taken: set[str]) -> str:
    """The name, with a number where another file has it, even in other letter case; remembered in `taken`."""
    stem, suffix = Path(name).stem, Path(name).suffix
    found, n = name, 1
    while found.casefold() in taken:
        n += 1
        found = f"{stem}_{n}{suffix}"
    taken.add(found.casefold())
    return found


def check_image(name: str, data: bytes, *, max_pixels: int) -> tuple[str, int, int]:
    """Format, width and height by the header alone: nothing is decoded.

    Raises:
        Unsupported: no image, one of a kind that is not read, or also something else (zip, PDF, markup).
        TooLarge: more pixels than allowed.
    """
    try:
        format, width, height = images.measure(data)
    except UnreadableImage as error:
        if error.reason == "too_large":
            raise TooLarge(f"{name}: {error.message}", "send smaller images") from error
        raise Unsupported(f"{name} is no image that is read here ({error.reason})", "send JPEG, PNG or WebP") from error
    if width * height > max_pixels:
        raise TooLarge(f"{name} has {width} x {height} pixels; at most {max_pixels} are taken", "send smaller images")
    check_alone(name, data)
    return format, width, height


def check_alone(name: str, data: bytes) -> None:
    """Refuse a file that passes for something else beside an image.

    Raises:
        Unsupported: an archive behind the picture, a document or markup at its edges.
    """
    if other := _also(data):
        raise Unsupported(f"{name} is an image and also {other}", "save it again with an image editor")


def _also(data: bytes) -> str | None:
    """What else a file would pass for: an archive behind the picture, a document or markup at its edges."""
    tail = data[-TAIL_BYTES:]
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") <= len(tail):
        return "a zip archive"
    if b"%PDF-" in data[:1_024]:
        return "a PDF document"
    if any(_ACTIVE.search(edge) for edge in (data[:EDGE_BYTES], data[-EDGE_BYTES:])):
        return "markup"
    return None


# -- what is there -------------------------------------------------------------------------------------------------


def listed(folder: Path) -> list[dict[str, Any]]:
    """Uploads of a workspace, newest first."""
    found = []
    for place in _folders(folder):
        sizes = [path.stat().st_size for path in place.iterdir() if path.is_file()]
        found.append({"upload": place.name, "n_files": len(sizes), "bytes": sum(sizes),
                      "created": place.stat().st_mtime})  # fmt: skip
    return sorted(found, key=lambda upload: (-float(upload["created"]), upload["upload"]))


def remove(folder: Path, upload: str) -> None:
    """Delete an upload: at once for readers of its name, then file by file.

    Raises:
        NotFound: there is none of that id.
    """
    doomed = folder / f".{upload}.{os.getpid()}-{started_at(os.getpid())}.part"
    try:
        (folder / upload).rename(doomed)
    except FileNotFoundError as error:
        raise NotFound(f"no upload {upload!r}", "GET uploads lists them") from error
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(folders: Iterable[Path]) -> int:
    """Remove what dead processes left half; returns how many."""
    n = 0
    for folder in folders:
        for path in folder.glob(".*.part") if folder.is_dir() else ():
            made = _PART.fullmatch(path.name)
            is_alive = made is not None and started_at(int(made[1])) == made[2]
            if not is_alive or time.time() - path.stat().st_mtime > 24 * 3600:
                shutil.rmtree(path, ignore_errors=True)
                n += 1
    return n


def _folders(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return []


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
