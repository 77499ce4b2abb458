"""Thumbnails of a snapshot, quickly: groups of about a thousand are read whole and the last used ones are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curator.data import IntArray
from curator.errors import DamagedWorkspace
from curator.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_BYTES = 128_000_000


@dataclass(frozen=True, slots=True)
class _Group:
    """One row group of one file, not read yet."""

    path: Path
    number: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A row group in memory."""

    rows: IntArray  # ascending
    data: pa.Array  # of binary

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)


class Thumbs:
    """Thumbnails by row; shared by threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._groups: list[_Group] | None = None
        self._kept: OrderedDict[_Group, _Read] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, rows: Sequence[int]) -> dict[int, bytes]:
        """Encoded thumbnails of the rows that have one.

        Raises:
            DamagedWorkspace: a file is gone or broken.
        """
        wanted = np.unique(np.asarray(rows, np.int64))
        out: dict[int, bytes] = {}
        for group in self._all():
            here = wanted[(wanted >= group.first) & (wanted <= group.last)]
            if not len(here):
                continue
            read = self._read(group)
            at = np.minimum(np.searchsorted(read.rows, here), len(read.rows) - 1)
            for row, place in zip(here.tolist(), at.tolist(), strict=True):
                if read.rows[place] == row and read.data[place].is_valid:
                    out[row] = read.data[place].as_py()
        return out

    def _all(self) -> list[_Group]:
        if self._groups is None:
            self._groups = [group for entry in self.workspace.entries("thumbs") for group in self._of(entry)]
        return self._groups

    def _of(self, entry: Any) -> list[_Group]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.workspace.file(entry)
        try:
            with pq.ParquetFile(path) as parquet:
                stats = [parquet.metadata.row_group(i).column(0).statistics for i in range(parquet.num_row_groups)]
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(path) from error
        return [_Group(path, i, int(found.min), int(found.max)) for i, found in enumerate(stats) if found.has_min_max]

    def _read(self, group: _Group) -> _Read:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._lock:
            found = self._kept.get(group)
            if found is not None:
                self._kept.move_to_end(group)
                return found
        try:
            with pq.ParquetFile(group.path) as parquet:
                table = parquet.read_row_group(group.number)
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(group.path) from error
        rows = table["row"].to_numpy().astype(np.int64)
        order = np.argsort(rows, kind="stable")
        data = table["thumbnail"].combine_chunks()
        read = _Read(rows[order], data if np.array_equal(order, np.arange(len(rows))) else data.take(pa.array(order)))
        with self._lock:
            self._kept[group] = read
            while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return read


def _damaged(path: Path) -> DamagedWorkspace:
    return DamagedWorkspace(f"the thumbnails in {path} cannot be read; `curator verify` finds what else is broken")
