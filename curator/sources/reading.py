"""Bytes of a sample, and a local path for what needs one.

Called in decode workers, so faults are `UnreadableImage` with a reason and
nothing is kept between calls.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import time
from pathlib import Path

from curator.data import Sample
from curator.errors import CannotWrite, UnreadableImage
from curator.sources.confined import OutsideError, check_local
from curator.sources.stores import LOCAL, REFUSED, Place, Remote, fault_of, is_text, place_of

KEEP_S = 24 * 3600.0
"""A copied video that nobody asked for in this time is deleted when the next one is copied."""


def read_bytes(sample: Sample, *, max_bytes: int | None = None) -> bytes:
    """Bytes of an image, or of a member of a tar.

    Args:
        sample: of kind image or member; a frame has no bytes of its own.
        max_bytes: larger files are refused before they are read.

    Raises:
        UnreadableImage: missing, permission, empty, too_large, truncated, not_an_image (a folder),
            unsupported (a pipe or device) or decode_error (the store failed, in its own words).
    """
    place = place_of(sample.file)
    is_member = sample.kind == "member"
    try:
        if max_bytes is not None:
            size = sample.size_bytes if is_member else place.store.look(place.path).size_bytes
            if size > max_bytes:
                raise UnreadableImage("too_large", f"{size} bytes; at most {max_bytes} are read")
        start, size_asked = (sample.offset or 0, sample.size_bytes) if is_member else (0, None)
        data = place.store.read(place.path, start, size_asked)
    except OSError as error:
        raise UnreadableImage(*fault_of(error)) from error
    if is_member and len(data) < sample.size_bytes:
        raise UnreadableImage("truncated", f"the archive ends {sample.size_bytes - len(data)} bytes into this member")
    if not data:
        raise UnreadableImage("empty", "zero bytes")
    return data


def size_and_time(file: str) -> tuple[int, float]:
    """Bytes and modification time of a file or URL.

    Raises:
        OSError: it cannot be reached.
    """
    place = place_of(file)
    found = place.store.look(place.path)
    return found.size_bytes, found.modified


def local_path(sample: Sample) -> str:
    """A path that other libraries can open: the file itself, or a copy of a remote one in the temporary folder.

    A local file whose name is not UTF-8 is reached through a link. Copies are
    shared by all processes and made anew when size or time of the file changes.

    Raises:
        UnreadableImage: the file cannot be reached, with its reason.
        CannotWrite: there is no room for the copy.
    """
    return local_copy(place_of(sample.file), size_bytes=sample.size_bytes, modified=sample.modified)


def local_copy(place: Place, *, size_bytes: int, modified: float) -> str:
    """`local_path` for a place."""
    if place.store is LOCAL or place.store is REFUSED:
        try:
            check_local(place.path)  # the path is opened by another library
        except OutsideError as error:
            raise UnreadableImage(*fault_of(error)) from error
    if place.store is LOCAL and is_text(place.path):
        return place.path
    version = hashlib.sha256(f"{place.file}\n{size_bytes}\n{modified}".encode()).hexdigest()[:32]
    suffix = place.path.rpartition("/")[2].rpartition(".")[2]
    target = _cache() / f"{version}.{suffix if suffix.isalnum() and suffix.isascii() else 'bin'}"
    if target.exists():
        os.utime(target)
        return str(target)
    half_made = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if isinstance(place.store, Remote):
            _forget_old(target.parent)
            place.store.fetch(place.path, half_made)
        else:
            half_made.symlink_to(place.path)
        half_made.replace(target)
    except OSError as error:
        half_made.unlink(missing_ok=True)
        if error.errno in _NO_ROOM:
            raise CannotWrite(
                f"no room to copy {place.file} to {target.parent} ({error.strerror}); "
                "free some space or set TMPDIR to a larger disk"
            ) from error
        raise UnreadableImage(*fault_of(error)) from error
    return str(target)


_NO_ROOM = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


def _cache() -> Path:
    """A folder of this user only, in the temporary folder."""
    folder = Path(tempfile.gettempdir()) / f"curator-media-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotWrite(
            f"cannot make {folder} ({error.strerror}), where remote videos are copied; set TMPDIR to a writable folder"
        ) from error
    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        raise CannotWrite(f"{folder} belongs to someone else; set TMPDIR to a folder of your own")
    return folder


def _forget_old(folder: Path) -> None:
    oldest = time.time() - KEEP_S
    for path in folder.iterdir():
        try:
            if path.lstat().st_mtime < oldest:
                path.unlink()
        except FileNotFoundError:
            continue  # another process was quicker
