"""The one place where bytes reach the disk: whole files or none, and a disk's refusal in our words."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from curator.errors import CannotWrite


def atomic_write(path: Path, put: Callable[[IO[bytes]], None]) -> None:
    """Write a file completely or not at all: temporary name, sync, rename, sync of the folder.

    Raises:
        CannotWrite: disk full, read-only or no permission; nothing half-written is left.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_for_write(temporary) as file:
                put(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)


def open_for_write(path: Path) -> IO[bytes]:
    """Open a new file; the seam where tests put a full disk."""
    return path.open("wb")


def put_bytes(file: IO[bytes], data: bytes) -> None:
    """Write bytes that are at hand."""
    file.write(data)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # folders cannot be opened there; the rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EFBIG: "the file would be too large",
    errno.ENOTDIR: "a part of the path is a file",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an error",
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say a disk's refusal in our words."""
    try:
        yield
    except OSError as error:
        why = _DISK_ERRORS.get(error.errno or 0)
        if why is None:
            raise
        raise CannotWrite(
            f"cannot write {path}: {why}; nothing was changed; free space or choose another place"
        ) from error
