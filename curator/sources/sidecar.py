"""A table beside the images, joined to them by file name.

A row belongs to the file it names outright: an absolute path, a URL, or a path
relative to the table. Else to the file of that path below a source. Else to
the only file with that base name. The weaker ways never take a row from the
file it names more strongly, so the order of the files does not matter, and a
row that could be meant for two files is an error rather than a guess.
"""

from __future__ import annotations

import os
import unicodedata

from curator.errors import UnreadableSource
from curator.sources.facts import Facts
from curator.sources.stores import Lookup, Place
from curator.sources.tables import Table, read_table


class Sidecar:
    """Rows waiting for their files."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._table: Table = read_table(place, name_column=None)
        self._rows = self._table.by_name()
        self._outright: dict[str, str] = {}  # file -> name in the table
        self._relative: dict[str, str] = {}
        self._base: dict[str, list[str]] = {}
        for name in self._rows:
            self._outright.setdefault(_key(place.beside(name).file), name)
            self._relative.setdefault(_key(os.path.normpath(name)), name)
            self._base.setdefault(_key(name.rpartition("/")[2]), []).append(name)
        self._taken: dict[str, str] = {}  # name -> the file it went to
        self._exists: dict[str, bool] = {}
        self._look = Lookup()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the table."""
        n_unmatched = self.n_unmatched
        n_rows, n_names = sum(map(len, self._rows.values())), len(self._rows)
        notes = self._table.notes
        if n_rows > n_names:
            notes = (*notes, f"{self._table.file}: {n_rows} rows name {n_names} files; labels of one file are joined")
        if n_unmatched:
            first = next(name for name in self._rows if name not in self._taken)
            notes = (*notes, f"{self._table.file}: {n_unmatched} of {n_names} names match no file (first: {first})")
        return notes

    @property
    def n_unmatched(self) -> int:
        """Names that went to no file."""
        return len(self._rows) - len(self._taken)

    def match(self, file: str, relative: str, *, root: Place) -> Facts | None:
        """Facts of the row that belongs to a file, None when there is none.

        Args:
            file: as in `Sample.file`, or the uri of a frame or member.
            relative: the same below its source.
            root: the source.

        Raises:
            UnreadableSource: a row could belong to this file or to another.
        """
        name = self._outright.get(_key(file))
        if name is None:
            name = self._relative.get(_key(relative))
            if name is not None and self._has_own(name, None):
                name = None  # it names another file outright
        if name is None:
            names = [n for n in self._base.get(_key(relative.rpartition("/")[2]), ()) if not self._has_own(n, root)]
            if len(names) > 1:
                raise self._ambiguous(f"{file} could be any of {', '.join(repr(n) for n in names[:5])}")
            name = names[0] if names else None
        if name is None:
            return None
        other = self._taken.setdefault(name, file)
        if other != file:
            raise self._ambiguous(f"{name!r} could be {other} or {file}")
        return self._table.facts(self._rows[name])

    def _has_own(self, name: str, root: Place | None) -> bool:
        """True when the file that a row names exists, beside the table or below the source."""
        places = [self._place.beside(name)]
        if root is not None and not name.startswith("/") and "://" not in name:
            places.append(root.child(name))
        return any(self._is_there(place) for place in places)

    def _is_there(self, place: Place) -> bool:
        file = place.file
        if file not in self._exists:
            try:
                self._exists[file] = not self._look(place).is_folder
            except OSError:
                self._exists[file] = False
        return self._exists[file]

    def _ambiguous(self, what: str) -> UnreadableSource:
        return UnreadableSource(
            f"metadata {self._table.file} is ambiguous: {what}; expected column {self._table.name_column!r} to hold "
            "paths relative to the table or absolute ones"
        )


def _key(path: str) -> str:
    """Names typed on one system and stored by another differ in how accents are composed."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)
