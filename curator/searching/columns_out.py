"""Whole columns as small binary arrays, for a map that draws every row: places, and codes to colour by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.errors import BadQuery
from curator.searching.columns import Columns, plain
from curator.searching.grouping import coded

MAX_CODES = 65_534
FEW_NUMBERS = 24  # distinct whole numbers up to which a column is coloured as categories


@dataclass(frozen=True, slots=True)
class Coded:
    """A column as one small number per row."""

    codes: Any  # (n_rows,) uint8 or uint16, most frequent value 0, missing the last; or float32 with not-a-number
    legend: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return int(self.codes.nbytes)

    def tobytes(self) -> bytes:
        """Little-endian."""
        out: bytes = self.codes.astype(self.codes.dtype.newbyteorder("<"), copy=False).tobytes()
        return out


def map_of(columns: Columns) -> bytes:
    """x, y of every row as little-endian float32 pairs; not-a-number where a row has no place."""
    columns.load(["x", "y"])
    places = np.empty((columns.n_rows, 2), "<f4")
    for axis, name in enumerate(("x", "y")):
        places[:, axis] = columns.column(name).to_numpy()
    return places.tobytes()


def codes_of(columns: Columns, name: str) -> Coded:
    """A column's codes and what they stand for, computed once.

    Raises:
        UnknownColumn: no such column.
        BadQuery: a column of lists or structures, or with too many different texts to colour by.
    """
    found: Coded = columns.derived("colours", name, lambda: _codes(columns, name))
    return found


def _codes(columns: Columns, name: str) -> Coded:
    import pyarrow as pa

    kind = columns.column(name).type
    if pa.types.is_nested(kind):
        raise BadQuery(f"column {name!r} is {kind}; expected one value per row to colour by")
    if pa.types.is_floating(kind):
        return _numbers(columns, name)
    codes, values = coded(columns, name)
    if pa.types.is_integer(kind) and len(values) > FEW_NUMBERS and not name.startswith("cluster"):
        return _numbers(columns, name)
    if len(values) > MAX_CODES:
        raise BadQuery(f"column {name!r} has {len(values)} different values; at most {MAX_CODES} can be told apart")
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = sorted(range(len(values)), key=lambda i: (-counts[i], str(values[i])))
    place = np.empty(len(values) + 1, np.int64)
    place[np.asarray(order, np.int64)] = np.arange(len(values))
    place[-1] = len(values)  # code -1, missing, reads the last place
    dtype = np.uint8 if len(values) < 255 else np.uint16
    legend = {
        "kind": "category", "dtype": np.dtype(dtype).name, "values": [plain(values[i]) for i in order],
        "counts": [int(counts[i]) for i in order], "low": None, "high": None,
    }  # fmt: skip
    return Coded(place[codes].astype(dtype), legend)


def _numbers(columns: Columns, name: str) -> Coded:
    import pyarrow as pa

    numbers = np.asarray(columns.column(name).cast(pa.float64(), safe=False).to_numpy(), np.float32)
    known = numbers[np.isfinite(numbers)]
    low, high = (np.percentile(known, [2, 98]).tolist()) if len(known) else (None, None)
    legend: dict[str, Any] = {
        "kind": "number",
        "dtype": "float32",
        "values": [],
        "counts": [],
        "low": low,
        "high": high,
    }
    return Coded(numbers, legend)
