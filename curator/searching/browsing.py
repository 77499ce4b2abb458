"""Pages and counts over all rows: what a table, a gallery and its filters show.

Sort orders and value counts come from numbers computed once for each column, so a page costs a mask and a partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadQuery
from curator.searching.columns import Columns, plain
from curator.searching.grouping import coded
from curator.searching.requests import MAX_FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LIMIT = 10_000
MAX_SORT = 4
MAX_FACETS = 32
TOP = 20  # values of a facet; the rest is other
BINS = 24  # of a histogram
FEW_VALUES = 12  # distinct numbers up to which they are counted one by one


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the rows that a filter lets through."""

    rows: IntArray  # (p,) in the asked order
    total: int  # rows that the filter lets through
    offset: int
    fields: tuple[dict[str, Any], ...]  # (p,) or empty

    def to_json(self) -> dict[str, Any]:
        """The page as plain values."""
        end = self.offset + len(self.rows)
        rows: list[dict[str, Any]] = [{"row": row} for row in self.rows.tolist()]
        if self.fields:
            rows = [{**of, "fields": fields} for of, fields in zip(rows, self.fields, strict=True)]
        return {
            "rows": rows, "total": self.total, "offset": self.offset,
            "next_offset": end if end < self.total and len(self.rows) else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facet:
    """How often each value of a column occurs, or a histogram of its numbers."""

    column: str
    values: tuple[tuple[Any, int], ...] = ()  # most frequent first
    edges: tuple[float, ...] = ()  # of a histogram, one more than counts; a bin holds its lower edge, the last both
    counts: tuple[int, ...] = ()
    other: int = 0  # rows, or of a list column mentions, with less frequent values
    n_other: int = 0  # how many such values
    missing: int = 0  # rows without a value
    total: int = 0  # rows counted

    def to_json(self) -> dict[str, Any]:
        """The facet as plain values."""
        body: dict[str, Any] = {"column": self.column, "kind": "histogram" if self.edges else "values"}
        if self.edges:
            body |= {"edges": list(self.edges), "counts": list(self.counts)}
        else:
            listed = [{"value": plain(value), "count": count} for value, count in self.values]
            body |= {"values": listed, "other": self.other, "n_other": self.n_other}
        return body | {"missing": self.missing, "total": self.total}


def page_of(
    columns: Columns, mask: BoolArray, sort: Sequence[tuple[str, bool]], offset: int, limit: int, fields: Sequence[str]
) -> Page:
    """Rows of a mask in order.

    Args:
        sort: columns and whether each descends; missing values come last either way, and equal ones by row.

    Raises:
        BadQuery: a limit, an offset or a sort that is out of range.
        UnknownColumn: a column that is not there.
    """
    if not 0 <= limit <= MAX_LIMIT:
        raise BadQuery(f"limit is {limit}; expected 0 to {MAX_LIMIT}")
    if offset < 0:
        raise BadQuery(f"offset is {offset}; expected 0 or more")
    if len(sort) > MAX_SORT or len(fields) > MAX_FIELDS:
        raise BadQuery(
            f"{len(sort)} columns to sort by and {len(fields)} fields; at most {MAX_SORT} and {MAX_FIELDS} are taken"
        )
    for name in fields:
        columns.check(name)
    total = int(np.count_nonzero(mask))
    rows = _sorted_rows(columns, mask, sort, offset, offset + limit)
    values = tuple(columns.take(rows, fields)) if fields and len(rows) else ()
    return Page(rows, total, offset, values)


def facet_of(columns: Columns, mask: BoolArray, name: str, *, top: int = TOP, bins: int = BINS) -> Facet:
    """Counts of one column over a mask.

    Raises:
        UnknownColumn: no such column.
        BadQuery: a column of anything but text, numbers, times, true and false, and lists of them.
    """
    import pyarrow as pa

    kind = columns.column(name).type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_facet(columns, mask, name, top)
    if pa.types.is_nested(kind):
        raise BadQuery(f"column {name!r} is {kind}, which cannot be counted")
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        numbers, n_distinct = columns.derived("numbers", name, lambda: _numbers(columns.column(name)))
        if n_distinct > FEW_VALUES:
            return _histogram(name, numbers[mask], bins)
    codes, values = coded(columns, name)
    counted = np.bincount(codes[mask] + 1, minlength=len(values) + 1)
    return _values(name, counted[1:], values, int(counted[0]), int(counted.sum()), top)


def _sorted_rows(
    columns: Columns, mask: BoolArray, sort: Sequence[tuple[str, bool]], start: int, stop: int
) -> IntArray:
    if not sort:
        return np.flatnonzero(mask)[start:stop]
    if len(sort) == 1:
        order = columns.derived("order", f"{sort[0][0]} {sort[0][1]}", lambda: _order(columns, *sort[0]))
        found: IntArray = order[mask[order]][start:stop]
        return found
    rows = np.flatnonzero(mask)
    key, n_keys = np.zeros(len(rows), np.int64), 1
    for name, descends in sort:
        ranks, n_ranks = _ranks(columns, name)
        own = ranks[rows]
        if descends:
            own = np.where(own == n_ranks, n_ranks, n_ranks - 1 - own)
        if n_keys * (n_ranks + 1) >= 2**62:  # closed up, so that another column fits into 64 bits
            used, key = np.unique(key, return_inverse=True)
            n_keys = len(used)
        key, n_keys = key * (n_ranks + 1) + own, n_keys * (n_ranks + 1)
    if stop < len(rows):  # only as much is put in order as the page needs
        floor = np.partition(key, stop)[stop]
        kept = key <= floor
        rows, key = rows[kept], key[kept]
    return rows[np.lexsort((rows, key))][start:stop]


def _order(columns: Columns, name: str, descends: bool) -> IntArray:
    """(n_rows,) int32 rows in the order of a column."""
    ranks, n_ranks = _ranks(columns, name)
    key = np.where(ranks == n_ranks, n_ranks, n_ranks - 1 - ranks) if descends else ranks
    return np.argsort(key, kind="stable").astype(np.int32)


def _ranks(columns: Columns, name: str) -> tuple[IntArray, int]:
    """(n_rows,) int32 place of each value among the distinct ones, last where it is missing; and their number."""

    def make() -> tuple[Any, int]:
        codes, values = coded(columns, name)
        order = sorted(range(len(values)), key=lambda i: values[i]) if len(values) < 50_000 else _sort_values(values)
        place = np.empty(len(values) + 1, np.int32)
        place[np.asarray(order, np.int64)] = np.arange(len(values), dtype=np.int32)
        place[-1] = len(values)
        return place[codes], len(values)  # code -1 reads the last place

    found: tuple[IntArray, int] = columns.derived("ranks", name, make)
    return found


def _sort_values(values: list[Any]) -> IntArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    order: IntArray = pc.array_sort_indices(pa.array(values)).to_numpy().astype(np.int64)
    return order


def _numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], int]:
    """(n_rows,) float64, nan where missing, and how many distinct ones."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    return numbers, int(pc.count_distinct(column, mode="only_valid").as_py())


def _histogram(name: str, numbers: FloatArray | NDArray[np.float64], bins: int) -> Facet:
    known = numbers[np.isfinite(numbers)]
    n_missing = len(numbers) - len(known)
    if len(known) == 0:
        return Facet(name, missing=n_missing, total=len(numbers))
    low, high = float(known.min()), float(known.max())
    counts, edges = np.histogram(known, bins=bins, range=(low, high if high > low else low + 1.0))
    return Facet(
        name, edges=tuple(edges.tolist()), counts=tuple(counts.tolist()), missing=n_missing, total=len(numbers)
    )


def _list_facet(columns: Columns, mask: BoolArray, name: str, top: int) -> Facet:
    """How many rows hold each value; a row is counted once for each of its values."""

    def make() -> tuple[Any, Any, list[Any], Any]:
        import pyarrow.compute as pc

        column = columns.column(name).combine_chunks()
        rows = np.asarray(pc.list_parent_indices(column), np.int64)
        encoded = pc.list_flatten(column).dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
        values = encoded.dictionary.to_pylist()
        pairs = np.unique(rows[codes >= 0] * max(len(values), 1) + codes[codes >= 0])
        rows, codes = np.divmod(pairs, max(len(values), 1))
        return rows, codes, values, np.bincount(rows, minlength=columns.n_rows) > 0

    rows, codes, values, has_any = columns.derived("lists", name, make)
    counts = np.bincount(codes[mask[rows]], minlength=len(values))
    return _values(name, counts, values, int((mask & ~has_any).sum()), int(mask.sum()), top)


def _values(name: str, counts: IntArray, values: list[Any], missing: int, total: int, top: int) -> Facet:
    there = np.flatnonzero(counts)
    best = there[np.argsort(-counts[there], kind="stable")]
    if len(best) > 1:  # of equal counts the lesser value first, whatever order the rows came in
        first = sorted(best[: 4 * top].tolist(), key=lambda i: (-counts[i], str(values[i])))
        best = np.concatenate([np.asarray(first, np.int64), best[4 * top :]])
    listed = tuple((values[i], int(counts[i])) for i in best[:top].tolist())
    rest = best[top:]
    return Facet(name, listed, other=int(counts[rest].sum()), n_other=len(rest), missing=missing, total=total)
