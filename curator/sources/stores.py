"""Where bytes lie: the local disk, or anything fsspec opens, behind the same few verbs.

Knows paths, URLs and how stores fail; knows nothing of images or tables. Three
kinds of text name a file: what a person types (`find`), what stands in
`Sample.file` (`place_of`), and the path a store opens (`Place.path`).

A local file is named by its absolute path. A path that is not UTF-8 becomes a
percent-encoded `file:///` URL, because such text can be neither stored nor
printed; nothing else is ever encoded.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Hashable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar, cast
from urllib.parse import quote, unquote_to_bytes

from curator.errors import MissingPackage, UnreadableSource
from curator.sources.confined import OutsideError, check_local, check_remote

scandir = os.scandir

T = TypeVar("T")
LIST_FROM = 20
"""From this many files on, a remote folder is listed instead of each file being asked for."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    path: str
    is_folder: bool = False
    is_link: bool = False
    size_bytes: int = 0
    modified: float = 0.0  # seconds since 1970; 0 where the store has none
    fault: OSError | None = None  # the folder could not be listed


class NotAFile(OSError):
    """A pipe, socket or device: reading it could wait for ever."""


class Store(Protocol):
    """One kind of place. Every verb raises OSError and nothing else."""

    def entries(self, folder: str) -> list[Entry]:
        """Names in a folder, in no order, without size and time where these cost a call each."""

    def measured(self, entry: Entry) -> Entry:
        """The entry with size and time."""

    def look(self, path: str) -> Entry:
        """The file or folder at a path, with size and time."""

    def folder_key(self, path: str) -> Hashable:
        """Equal for two names of one folder."""

    def resolved(self, folder: str) -> str:
        """The folder's own path, links followed."""

    def name(self, path: str) -> str:
        """What `Sample.file` calls it."""

    def read(self, path: str, start: int, size: int | None) -> bytes:
        """Bytes from `start`; all that follow when size is None."""

    def open(self, path: str) -> BinaryIO:
        """A seekable handle."""


class Place(NamedTuple):
    """A path in its store."""

    store: Store
    path: str

    @property
    def file(self) -> str:
        """What `Sample.file` calls it."""
        return self.store.name(self.path)

    @property
    def folder(self) -> Place:
        """The folder it lies in."""
        return self._replace(path=self.path.rpartition("/")[0])

    def beside(self, name: str) -> Place:
        """The place a table at this place means by `name`: a URL, an absolute path or one relative to the table."""
        if is_url(name):
            return find(name)
        if name.startswith("/"):
            return Place(LOCAL, name)
        return self.folder.child(name)

    def child(self, name: str) -> Place:
        """The place that a relative path means in this folder."""
        path = f"{self.path}/{name}"
        return self._replace(path=path if is_url(path) else os.path.normpath(path))  # http's paths are URLs themselves


class Local:
    """The local disk."""

    def entries(self, folder: str) -> list[Entry]:
        """One call per folder, none per file."""
        check_local(folder)
        with scandir(folder) as found:
            return [Entry(item.name, item.path, _is_folder(item), item.is_symlink()) for item in found]

    def measured(self, entry: Entry) -> Entry:
        """One stat."""
        return self.look(entry.path)

    def look(self, path: str) -> Entry:
        """One stat; links are followed."""
        check_local(path)
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path per file would double the cost of a scan
        except ValueError as error:  # a NUL or a lone surrogate: no such file can exist
            raise FileNotFoundError(errno.ENOENT, f"not a possible file name: {error}") from error
        is_folder = stat.S_ISDIR(found.st_mode)
        if not is_folder and not stat.S_ISREG(found.st_mode):
            raise NotAFile(errno.EINVAL, "a pipe, socket or device, not a file")
        return Entry(path.rpartition("/")[2], path, is_folder, False, found.st_size, found.st_mtime)

    def folder_key(self, path: str) -> Hashable:
        """Device and inode."""
        check_local(path)
        found = Path(path).stat()
        return found.st_dev, found.st_ino

    def resolved(self, folder: str) -> str:
        """The path with links followed."""
        return os.path.realpath(folder)

    def name(self, path: str) -> str:
        """The path itself, percent-encoded as a URL only when it is not UTF-8."""
        return path if is_text(path) else f"file://{quote(path, errors='surrogateescape')}"

    def read(self, path: str, start: int, size: int | None) -> bytes:
        """Bytes from `start`."""
        self.look(path)  # a pipe is refused here; opening it would wait for a writer
        with Path(path).open("rb", buffering=0) as handle:
            handle.seek(start)
            return handle.read() if size is None else _read_fully(handle, size)

    def open(self, path: str) -> BinaryIO:
        """A buffered handle."""
        self.look(path)
        return Path(path).open("rb")


LOCAL = Local()


class Refused:
    """A remote place that this process was told not to read: every verb says so."""

    def entries(self, folder: str) -> list[Entry]:
        """Never."""
        raise _refusal()

    def measured(self, entry: Entry) -> Entry:
        """Never."""
        raise _refusal()

    def look(self, path: str) -> Entry:
        """Never."""
        raise _refusal()

    def folder_key(self, path: str) -> Hashable:
        """Never."""
        raise _refusal()

    def resolved(self, folder: str) -> str:
        """The URL as it is."""
        return folder

    def name(self, path: str) -> str:
        """The URL."""
        return path

    def read(self, path: str, start: int, size: int | None) -> bytes:
        """Never."""
        raise _refusal()

    def open(self, path: str) -> BinaryIO:
        """Never."""
        raise _refusal()


REFUSED = Refused()


def _refusal() -> OutsideError:
    return OutsideError(errno.EACCES, "a remote place, which may not be read here")


class Remote:
    """One fsspec file system, and the text that turns its paths into URLs."""

    def __init__(self, fs: Any, head: str, tail: str) -> None:
        self._fs, self._head, self._tail = fs, head, tail

    def entries(self, folder: str) -> list[Entry]:
        """One listing; most stores give sizes with it."""
        found = _call(lambda: self._fs.ls(folder, detail=True))
        return [_entry(info) for info in found if str(info["name"]).rstrip("/") != folder.rstrip("/")]

    def measured(self, entry: Entry) -> Entry:
        """The entry: it was measured when listed."""
        return entry

    def look(self, path: str) -> Entry:
        """One request."""
        return _entry(_call(lambda: self._fs.info(path)))

    def folder_key(self, path: str) -> Hashable:
        """The URL."""
        return self.name(path)

    def resolved(self, folder: str) -> str:
        """The path as it is: these stores have no links."""
        return folder

    def name(self, path: str) -> str:
        """The URL."""
        return f"{self._head}{path}{self._tail}"

    def read(self, path: str, start: int, size: int | None) -> bytes:
        """One request for the range."""
        end = None if size is None else start + size
        return cast(bytes, _call(lambda: self._fs.cat_file(path, start=start or None, end=end)))

    def open(self, path: str) -> BinaryIO:
        """A handle that reads ahead."""
        return cast(BinaryIO, io.BufferedReader(_Handle(_call(lambda: self._fs.open(path, "rb"))), 1 << 16))

    def fetch(self, path: str, target: Path) -> None:
        """Copy to a local file."""
        _call(lambda: self._fs.get_file(path, str(target)))

    def forget_listings(self) -> None:
        """Drop what the file system remembers of earlier listings."""
        self._fs.invalidate_cache()


class _Handle(io.RawIOBase):
    """A file of an fsspec store, with what it raises translated."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = _call(lambda: self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(_call(lambda: self._file.seek(offset, whence)))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class Lookup:
    """Size and time of files asked for one by one, as tables name them.

    On the disk each costs one stat. In other stores a request each would take
    hours, so a folder that is asked for often is listed once.
    """

    def __init__(self) -> None:
        self._n_asked: Counter[str] = Counter()
        self._listed: dict[str, dict[str, Entry] | None] = {}

    def __call__(self, place: Place) -> Entry:
        """The file or folder at a place.

        Raises:
            OSError: it is not there or cannot be reached.
        """
        folder = place.folder.file
        self._n_asked[folder] += 1
        if place.store is LOCAL or self._n_asked[folder] < LIST_FROM:
            return place.store.look(place.path)
        if folder not in self._listed:
            self._listed[folder] = _listing(place.folder)
        listed = self._listed[folder]
        if listed is None:
            return place.store.look(place.path)
        if place.path not in listed:
            raise FileNotFoundError(errno.ENOENT, f"no such file: {place.path}")
        return listed[place.path]


def _listing(folder: Place) -> dict[str, Entry] | None:
    """Entries of a folder by path, none where it may not be listed."""
    try:
        return {entry.path: entry for entry in folder.store.entries(folder.path)}
    except FileNotFoundError:
        return {}
    except OSError:
        return None


def is_url(text: str) -> bool:
    """True for `s3://...`, `memory://...`, `zip::...`."""
    return _URL.match(text) is not None


def is_text(text: str) -> bool:
    """False when undecodable bytes of a file name hide in it as lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(text: str) -> str:
    """Text that can be stored: undecodable bytes become %XX."""
    if is_text(text):
        return text
    return (
        "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)
        .encode("utf-8", "replace")
        .decode()
    )


def find(text: str) -> Place:
    """The place a person means: a path, relative or not, or a URL.

    Raises:
        UnreadableSource: a protocol nobody knows.
        MissingPackage: a protocol whose package is not installed.
    """
    for prefix in ("file://", "local://"):
        if text.startswith(prefix):
            literal = _absolute(text.removeprefix(prefix))
            decoded = os.fsdecode(unquote_to_bytes(os.fsencode(literal)))
            # RFC 8089 encodes, fsspec does not: the file that exists was meant
            return Place(LOCAL, literal if os.path.lexists(literal) else decoded)
    return _remote(text) if is_url(text) else Place(LOCAL, _absolute(text))


def place_of(file: str) -> Place:
    """The place `Sample.file` names; the inverse of `Place.file`."""
    if file.startswith("file:///"):
        return Place(LOCAL, os.fsdecode(unquote_to_bytes(file.removeprefix("file://"))))
    return _remote(file) if is_url(file) else Place(LOCAL, file)


def fault_of(error: OSError) -> tuple[str, str]:
    """Reason class and the store's own words for a failed verb."""
    words = " ".join((error.strerror or str(error) or type(error).__name__).split())
    if isinstance(error, OutsideError):
        return "outside", words
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "missing", words
    if isinstance(error, PermissionError):
        return "permission", words
    if isinstance(error, IsADirectoryError):
        return "not_an_image", words
    if isinstance(error, NotAFile):
        return "unsupported", words
    return "decode_error", words


def _absolute(text: str) -> str:
    path = os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111 - Path drops trailing dots
    # `link/..` is not where it looks: only the disk knows
    return os.path.realpath(path) if ".." in path.split("/") else os.path.normpath(Path.cwd() / path)


def _remote(url: str) -> Place:
    try:
        check_remote(url)
    except OutsideError:  # before any code of the store runs
        return Place(REFUSED, url)
    import fsspec.core

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        protocol = url.partition(":")[0]
        install = "pip install 'curator[s3]'" if protocol in ("s3", "s3a") else "the package the message names"
        raise MissingPackage(f"{url} needs a package that is not installed ({error}); install {install}") from error
    except ValueError as error:
        raise UnreadableSource(
            f"{url} cannot be opened ({error}); expected a path or a URL such as s3://bucket/folder"
        ) from error
    except Exception as error:  # opening a chained URL runs the store's own code, whose errors share no base
        raise UnreadableSource(f"{url} cannot be opened ({type(error).__name__}: {error})") from error
    head, tail = _around(url, path, fs)
    return Place(Remote(fs, head, tail), path)


def _around(url: str, path: str, fs: Any) -> tuple[str, str]:
    """What stands before and after the path in a URL, so that other paths of the store can be named alike."""
    parts = url.split("::")
    at = next((i for i, part in enumerate(parts) if "://" in part), len(parts) - 1)
    inner = parts[at].rstrip("/") if path and not path.endswith("/") else parts[at]
    tail = "".join(f"::{part}" for part in parts[at + 1 :])
    if not inner.endswith(path):
        return str(fs.unstrip_protocol(path)).removesuffix(path), tail
    head = inner[: len(inner) - len(path)]
    return "".join(f"{part}::" for part in parts[:at]) + head, tail


def _call(verb: Callable[[], T]) -> T:
    """Run one verb of an fsspec file system, translating what it raises."""
    try:
        return verb()
    except OSError as error:
        raise _plain(error) from error
    except Exception as error:  # plug-ins raise their own kinds (aiohttp, botocore, ...), which share no base
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error


def _plain(error: OSError) -> OSError:
    """The same kind of error with a sentence; fsspec often gives only the path as text."""
    for kind, words in ((FileNotFoundError, "no such file"), (PermissionError, "permission denied")):
        if isinstance(error, kind) and error.strerror is None:
            return kind(errno.ENOENT if kind is FileNotFoundError else errno.EACCES, f"{words}: {error}")
    return error


def _entry(info: dict[str, Any]) -> Entry:
    path = str(info["name"])
    path = path.rstrip("/") or path
    is_folder = info.get("type") == "directory"
    return Entry(path.rpartition("/")[2], path, is_folder, False, int(info.get("size") or 0), _modified(info))


def _modified(info: dict[str, Any]) -> float:
    value = next((info[key] for key in _TIMES if info.get(key) is not None), 0.0)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return 0.0
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself, or a folder whose entries may not be looked at
        return False


def _read_fully(handle: Any, size: int) -> bytes:
    """Exactly `size` bytes, fewer only at the end of the file: one raw read may return less."""
    parts = []
    while size > 0 and (part := handle.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
