"""Where this process may read sources: anywhere, or only under some folders.

A server that starts a command for someone else says so in the environment. Then
a table, a symlink or a URL cannot lead to what that person may not read: every
open resolves links first, and what lies outside is a row with the reason
`outside`. Without the variable nothing is restricted.
"""

from __future__ import annotations

import errno
import functools
import json
import os
from dataclasses import asdict, dataclass

CONFINE = "CURATOR_CONFINE"


class OutsideError(OSError):
    """A place that this process was told not to read."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """Places that may be read."""

    within: tuple[str, ...]  # folders; a path must lie in one of them after its links are followed
    trusted: tuple[str, ...] = ()  # folders and files that may be read as they are, wherever their links lead
    urls: tuple[str, ...] = ()  # remote places and what lies below them; no other URL is opened

    def allows(self, path: str) -> bool:
        """Whether a local path may be opened."""
        if any(_is_below(os.path.normpath(path), place) for place in self.trusted):
            return True
        try:
            real = os.path.realpath(path)
        except ValueError:  # a NUL: no such file can exist
            return False
        return any(_is_below(real, folder) for folder in self.within)

    def allows_url(self, url: str) -> bool:
        """Whether a remote place may be opened."""
        return ".." not in url and any(_is_below(url, place.rstrip("/")) for place in self.urls)

    def to_environment(self) -> dict[str, str]:
        """The variable to set for a child process."""
        return {CONFINE: json.dumps(asdict(self))}


def confinement() -> Confinement | None:
    """What the environment says; None: nothing is restricted."""
    text = os.environ.get(CONFINE)
    return None if not text else _parsed(text)


@functools.cache
def _parsed(text: str) -> Confinement:
    body = json.loads(text)
    return Confinement(tuple(body["within"]), tuple(body["trusted"]), tuple(body["urls"]))


def check_local(path: str) -> None:
    """Refuse a local path outside the places that may be read.

    Raises:
        OutsideError: it lies outside, itself or where its links lead.
    """
    confined = confinement()
    if confined is not None and not confined.allows(path):
        raise OutsideError(errno.EACCES, "outside the folders that may be read here")


def check_remote(url: str) -> None:
    """Refuse a URL that may not be read.

    Raises:
        OutsideError: remote places are not read here.
    """
    confined = confinement()
    if confined is not None and not confined.allows_url(url):
        raise OutsideError(errno.EACCES, "a remote place, which may not be read here")


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
