"""Columns of one snapshot, held in memory and aligned with the rows.

Loaded through the catalog the first time they are asked for, all that are asked for together in
one query; afterwards a query costs no database at all.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curator.catalog import Catalog, Column
from curator.data import BoolArray, IntArray
from curator.errors import DamagedWorkspace, UnknownColumn
from curator.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = -1


class Columns:
    """Arrow columns of rows 0 to n_rows - 1; shared by threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._loaded: dict[str, pa.ChunkedArray] = {}
        self._known: dict[str, Column] | None = None
        self._derived: dict[tuple[str, str], Any] = {}
        self.n_rows = workspace.n_rows

    def known(self) -> dict[str, Column]:
        """Every column by name, in the order of the catalog."""
        if self._known is None:
            with self._lock, Catalog(self._workspace) as catalog:
                self._known = {column.name: column for column in catalog.columns()}
        return self._known

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._loaded or name in self.known()

    def check(self, name: str) -> None:
        """Raise UnknownColumn, naming the nearest, where there is no such column."""
        if name in self._loaded:
            return
        known = self.known()
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UnknownColumn(f"no column {name!r} in {self._workspace.path}; {hint}`curator columns` lists all")

    def column(self, name: str) -> pa.ChunkedArray:
        """(n_rows,) one value per row.

        Raises:
            UnknownColumn: there is none; the message names the nearest.
        """
        found = self._loaded.get(name)
        if found is None:
            self.load([name])
            found = self._loaded[name]
        return found

    def load(self, names: Iterable[str]) -> None:
        """Bring columns into memory, those that are not there yet in one query.

        Raises:
            UnknownColumn: one is not there.
            DamagedWorkspace: a file cannot be read, or does not hold each row once.
        """
        if all(name in self._loaded for name in names):
            return
        for name in names:
            self.check(name)
        with self._lock:
            wanted = [name for name in dict.fromkeys(names) if name not in self._loaded]
            if not wanted:
                return  # another thread was quicker
            with Catalog(self._workspace) as catalog:
                table = catalog.table(list(dict.fromkeys(["row", *wanted]))).combine_chunks()
            if not np.array_equal(table["row"].to_numpy(), np.arange(self.n_rows)):
                raise DamagedWorkspace(
                    f"the tables of {self._workspace.path} give {table.num_rows} lines for {self.n_rows} rows; "
                    "`curator verify` finds which"
                )
            self._loaded.update((name, table[name]) for name in wanted)

    def take(self, rows: Sequence[int] | IntArray, names: Sequence[str]) -> list[dict[str, Any]]:
        """Values of some rows as plain JSON values, in the order of the rows.

        Raises:
            UnknownColumn: a column that is not there.
        """
        import pyarrow as pa

        self.load(names)
        at = pa.array(np.asarray(rows, np.int64))
        taken = {name: [plain(value) for value in self._loaded[name].take(at).to_pylist()] for name in names}
        return [{name: values[i] for name, values in taken.items()} for i in range(len(at))]

    def check_row(self, row: int) -> int:
        """The row, if it was ever given.

        Raises:
            UnknownRow: it was not.
        """
        return self._workspace.check_row(row)

    def present(self) -> BoolArray:
        """(n_rows,) rows whose file is there; all where no scan has said."""

        def make() -> BoolArray:
            import pyarrow.compute as pc

            if not self.has("status"):
                return np.ones(self.n_rows, np.bool_)
            return np.asarray(pc.fill_null(pc.equal(self.column("status"), "present"), True).to_numpy(), np.bool_)

        found: BoolArray = self.derived("present", "", make)
        return found

    def derived(self, what: str, name: str, make: Callable[[], Any]) -> Any:
        """Something computed from columns once and kept; two threads may compute it, both get the same."""
        key = (what, name)
        found = self._derived.get(key)
        if found is None:
            found = self._derived.setdefault(key, make())
        return found

    @property
    def size_bytes(self) -> int:
        """Memory of what is loaded."""
        kept = sum(column.nbytes for column in list(self._loaded.values()))
        return int(kept + sum(_size(value) for value in list(self._derived.values())))


def plain(value: Any) -> Any:
    """A value as strict JSON has it: times as ISO text, what is not a finite number as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def _size(value: Any) -> int:
    if isinstance(value, tuple | list):
        return sum(_size(inner) for inner in value)
    return int(getattr(value, "nbytes", 0))
