"""Files made once and kept between runs: found by content, written whole.

A file is named KEY-DIGEST.SUFFIX, where DIGEST is the sha256 of its own bytes: a damaged one
is recognised without any record beside it, and two processes that write at once cannot mix.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_DIGEST_CHARS = 16


def folder() -> Path:
    """Where made files are kept: $CURATOR_CACHE, else ~/.cache/curator."""
    chosen = os.environ.get("CURATOR_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "curator"


def has(key: str, suffix: str) -> bool:
    """Whether a file of this key is there; it may still turn out to be damaged."""
    return any(folder().glob(f"{key}-*{suffix}"))


def made_once(key: str, suffix: str, make: Callable[[], bytes]) -> bytes:
    """The bytes kept under `key`, made and kept now if there are none or they are damaged.

    Where the folder cannot be written the bytes are made anew in each process, and the log says so.
    """
    for path in sorted(folder().glob(f"{key}-*{suffix}")):
        content = _sound(path, suffix)
        if content is not None:
            return content
        logger.warning("cache: %s is damaged and is made again", path)
        _unlink(path)
    content = make()
    try:
        _keep(folder() / f"{key}-{digest(content)}{suffix}", content)
    except OSError as error:
        logger.warning(
            "cache: cannot keep %s in %s (%s); set CURATOR_CACHE to a folder that can be written", key, folder(), error
        )
    return content


def digest(content: bytes) -> str:
    """The first 16 hex digits of the sha256."""
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]


def _sound(path: Path, suffix: str) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:  # removed by another process since it was listed, or unreadable
        return None
    return content if path.name.endswith(f"-{digest(content)}{suffix}") else None


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        _unlink(temporary)
        raise


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("cache: cannot remove %s: %s", path, error)
