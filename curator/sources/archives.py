"""WebDataset-style tar shards, read without unpacking.

Members that share a key (folder and name up to the first dot) stand next to
each other: the image, and beside it `.json`, `.cls` and `.txt` with what is
known of it. An image is later read by offset and size alone.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from curator.errors import UnreadableImage
from curator.sources.facts import NOTHING, Facts, facts_of, labels_of, scalar
from curator.sources.kinds import is_image, suffix_of
from curator.sources.stores import clean

MAX_SIDE_BYTES = 4_000_000
"""Members beside an image that are larger than this are not read."""
_BLOCK = 512
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Member(NamedTuple):
    """One file in the archive."""

    name: str
    offset: int  # of its data, bytes from the start of the archive
    size_bytes: int
    content: bytes | None  # of the small files beside an image

    @property
    def key(self) -> str:
        """Folder and name up to the first dot."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.partition(".")[0]

    @property
    def extension(self) -> str:
        """What follows the key's dot, in lower case."""
        return self.name[len(self.key) + 1 :].lower()


@dataclass(slots=True)
class Group:
    """Members of one key."""

    key: str
    images: list[Member] = field(default_factory=list)
    sides: dict[str, bytes] = field(default_factory=dict)  # by extension
    skipped: list[str] = field(default_factory=list)  # suffixes of members of no use here
    is_damaged: bool = False  # its JSON does not parse

    def add(self, member: Member) -> None:
        """Take in the next member of this key."""
        if is_image(member.name):
            self.images.append(member)
        elif member.content is not None:
            self.sides.setdefault(member.extension, member.content)
        else:
            self.skipped.append(suffix_of(member.name))

    def split_off(self) -> tuple[list[Member], list[str]]:
        """The image called key.jpg or the like, and the suffixes of those beside it (`.seg.png`).

        When no image is called so, as in `clip.0001.jpg`, every image is its own.
        """
        plain = [image for image in self.images if "." not in image.extension]
        beside = [f".{image.extension}" for image in self.images if image not in plain] if plain else []
        return plain or self.images, beside + self.skipped

    def facts(self) -> Facts:
        """Labels and metadata from the members beside the image."""
        facts = NOTHING
        if "txt" in self.sides:
            facts = Facts(metadata={"text": scalar(_text(self.sides["txt"]))})
        if "json" in self.sides:
            try:
                record = json.loads(self.sides["json"])
            except ValueError:
                self.is_damaged = True
            else:
                facts = facts.under(facts_of(record if isinstance(record, dict) else {"json": record}))
        if "cls" in self.sides:
            facts = facts.under(Facts(labels_of(_text(self.sides["cls"]), column="cls")))
        return facts


def groups(handle: BinaryIO, *, size_bytes: int) -> Iterator[Group | UnreadableImage]:
    """Groups of an archive in its order; a fault of the archive comes last, as a value.

    Args:
        handle: of the archive, seekable.
        size_bytes: of the archive.

    Yields:
        groups; then, perhaps, UnreadableImage with reason empty, unsupported (compressed), not_an_image (no tar)
        or truncated.
    """
    group: Group | None = None
    for found in _members(handle, size_bytes):
        if group is not None and (isinstance(found, UnreadableImage) or found.key != group.key):
            yield group
            group = None
        if isinstance(found, UnreadableImage):
            yield found
        else:
            group = group or Group(found.key)
            group.add(found)
    if group is not None:
        yield group


def _members(handle: BinaryIO, size_bytes: int) -> Iterator[Member | UnreadableImage]:
    try:
        archive = tarfile.open(fileobj=handle, mode="r:")  # noqa: SIM115 - closing it would add nothing to the handle's
    except _FAULTS as error:
        yield _not_a_tar(handle, size_bytes, error)
        return
    offset = 0
    try:
        while (info := archive.next()) is not None:
            offset = info.offset
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every member it has seen
            name = info.name.removeprefix("./")
            if not info.isreg() or info.issparse() or name.rpartition("/")[2].startswith("."):
                continue
            if info.offset_data + info.size > size_bytes:
                yield _cut(f"ends within {clean(name)}, {size_bytes} bytes in")
                return
            yield Member(name, info.offset_data, info.size, _side(archive, info))
    except _FAULTS as error:
        yield _cut(f"unreadable after {offset} bytes ({error})")
        return
    handle.seek(archive.offset)
    if handle.read(_BLOCK) != bytes(_BLOCK):  # the reader takes a damaged header for the end
        yield _cut(f"no end mark after {archive.offset} of {size_bytes} bytes")


_FAULTS = (tarfile.TarError, ValueError, EOFError)


def _side(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | None:
    extension = info.name.rpartition("/")[2].partition(".")[2].lower()
    if extension not in ("json", "cls", "txt") or info.size > MAX_SIDE_BYTES:
        return None
    handle = archive.extractfile(info)
    return None if handle is None else handle.read()


def _not_a_tar(handle: BinaryIO, size_bytes: int, error: Exception) -> UnreadableImage:
    if size_bytes == 0:
        return UnreadableImage("empty", "zero bytes")
    handle.seek(0)
    start = handle.read(_BLOCK)
    if start.startswith(_PACKED):
        return UnreadableImage("unsupported", "a compressed tar: members cannot be read by offset; unpack it to .tar")
    if size_bytes < _BLOCK:
        return UnreadableImage("truncated", f"{size_bytes} bytes; a tar begins with a block of {_BLOCK}")
    return UnreadableImage("not_an_image", f"not a tar archive ({error})")


def _cut(what: str) -> UnreadableImage:
    return UnreadableImage("truncated", f"the archive is cut or damaged: {what}; samples before that were read")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").strip()
