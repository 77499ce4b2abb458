"""Filters evaluated on Arrow columns into masks over all rows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, IntArray
from curator.errors import BadFilter
from curator.filters.parsing import shown
from curator.filters.values import (
    And,
    Area,
    Between,
    Collected,
    ColumnTest,
    Compare,
    Filter,
    Has,
    IsNull,
    Matches,
    Not,
    OneOf,
    Op,
    Or,
    Rows,
    Selected,
    Tagged,
    Value,
)

if TYPE_CHECKING:
    import pyarrow as pa


Doubles = NDArray[np.float64]


class Table(Protocol):
    """What a filter is evaluated on."""

    @property
    def n_rows(self) -> int:
        """Rows 0 to n_rows - 1."""
        ...

    def column(self, name: str) -> pa.ChunkedArray:
        """One value per row; raises UnknownColumn."""
        ...

    def tagged(self, names: Sequence[str]) -> IntArray:
        """Rows that carry any of the tags."""
        ...

    def collected(self, name: str) -> IntArray:
        """Rows of a collection."""
        ...

    def selected(self, name: str) -> IntArray:
        """Rows of a selection; raises UnknownSelection."""
        ...


def evaluate(condition: Filter, table: Table) -> BoolArray:
    """Which rows match.

    Returns:
        (n_rows,) bool.

    Raises:
        UnknownColumn: a column that is not there.
        UnknownSelection: a selection that is not there.
        BadFilter: a comparison that the column's type does not allow.
    """
    match condition:
        case And(parts):
            return _joined(parts, table, np.logical_and, start=True)
        case Or(parts):
            return _joined(parts, table, np.logical_or, start=False)
        case Not(part):
            return ~evaluate(part, table)
        case Tagged(()):
            return np.zeros(table.n_rows, np.bool_)
        case Tagged(names):
            return _mask_of(table.tagged(names), table.n_rows)
        case Collected(name):
            return _mask_of(table.collected(name), table.n_rows)
        case Selected(name):
            return _mask_of(table.selected(name), table.n_rows)
        case Rows(rows):
            return _mask_of(np.asarray(rows, np.int64), table.n_rows)
        case Area(corners):
            x, y = (np.asarray(table.column(name).to_numpy(), np.float64) for name in ("x", "y"))
            return _inside(x, y, np.asarray(corners))
        case _:
            return _tested(condition, table.column(condition.column))


def _joined(parts: tuple[Filter, ...], table: Table, join: Callable[..., BoolArray], *, start: bool) -> BoolArray:
    mask = np.full(table.n_rows, start, np.bool_)
    for part in parts:
        join(mask, evaluate(part, table), out=mask)
    return mask


def _mask_of(rows: IntArray, n_rows: int) -> BoolArray:
    mask = np.zeros(n_rows, np.bool_)
    mask[rows[(rows >= 0) & (rows < n_rows)]] = True
    return mask


def _inside(x: Doubles, y: Doubles, corners: Doubles) -> BoolArray:
    """(n,) which points lie in a polygon: a ray to the right crosses its outline an odd number of times."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    mask: BoolArray = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])  # false for not-a-number
    at = np.flatnonzero(mask)
    px, py, odd = x[at], y[at], np.zeros(len(at), np.bool_)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        if ay != by:
            odd ^= ((ay > py) != (by > py)) & (px < (bx - ax) * ((py - ay) / (by - ay)) + ax)
    mask[at] = odd
    return mask


def _tested(test: ColumnTest, column: pa.ChunkedArray) -> BoolArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if isinstance(test, IsNull):
        return _plain(pc.is_null(column, nan_is_null=pa.types.is_floating(kind)), invert=not test.is_null)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.bool_)  # nothing is there, so nothing matches
    if _is_list(kind):
        return _list_test(test, column)
    if isinstance(test, Has):
        raise BadFilter(f"{test.place}: column {test.column!r} is {_named(kind)}, no list; use eq or in")
    if isinstance(test, Matches):
        if not _is_text(kind):
            raise BadFilter(f"{test.place}: column {test.column!r} is {_named(kind)}; {test.how} needs text")
        if test.how == "starts_with":
            return _plain(pc.starts_with(column, test.text))
        return _plain(pc.match_substring(column, test.text, ignore_case=True))
    return _comparison(test, column)


def _comparison(test: Compare | OneOf | Between, column: pa.ChunkedArray) -> BoolArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(test, Between):
        low = Compare(test.column, "ge", test.low, test.place)
        return _comparison(low, column) & _comparison(Compare(test.column, "le", test.high, test.place), column)
    kind = column.type
    if isinstance(test, OneOf):
        values = [_converted(value, kind, test) for value in test.values]
        return _is_in(column, values)
    value = _converted(test.value, kind, test)
    if pa.types.is_boolean(kind) and test.op not in ("eq", "ne"):
        raise BadFilter(f"{test.place}: column {test.column!r} is true or false; {test.op} needs an order, use eq")
    names = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
    if pa.types.is_integer(kind):
        return _integer_comparison(column, test.op, value, names[test.op])
    known = column.cast(pa.float64()) if pa.types.is_decimal(kind) else column
    found = _plain(getattr(pc, names[test.op])(known, _scalar(value, known.type)))
    if test.op == "ne" and pa.types.is_floating(known.type):
        found &= ~_plain(pc.is_nan(known))  # not a number is missing, and differs from nothing
    return found


def _integer_comparison(column: pa.ChunkedArray, op: Op, value: Any, name: str) -> BoolArray:
    """Whole numbers compared without going through floats, which cannot hold them all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    limits = np.iinfo(column.type.to_pandas_dtype())
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, float):
        if op in ("eq", "ne"):
            return _plain(pc.is_valid(column)) if op == "ne" else np.zeros(len(column), np.bool_)
        value = math.floor(value) if op in ("le", "gt") else math.ceil(value)
    if not limits.min <= value <= limits.max:
        is_true = op == "ne" or (op in ("lt", "le")) == (value > limits.max)
        return _plain(pc.is_valid(column)) if is_true and op != "eq" else np.zeros(len(column), np.bool_)
    return _plain(getattr(pc, name)(column, pa.scalar(value, column.type)))


def _is_in(column: pa.ChunkedArray, values: list[Any]) -> BoolArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        whole = [int(value) for value in values if value == int(value)]
        values = [value for value in whole if limits.min <= value <= limits.max]
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
        values = [float(value) for value in values]
    return _plain(pc.is_in(column, value_set=pa.array(values, kind)))


def _list_test(test: ColumnTest, column: pa.ChunkedArray) -> BoolArray:
    """Which lists hold any of the values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(test, Has):
        raise BadFilter(f"{test.place}: column {test.column!r} is {_named(column.type)}; use has or is_null")
    kind = column.type.value_type
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.bool_)
    wanted = [_converted(value, kind, test) for value in test.values]
    mask = np.zeros(len(column), np.bool_)
    at = 0
    for chunk in column.chunks:
        inside = pc.list_flatten(chunk)
        hits = _is_in(pa.chunked_array([inside]), wanted)
        mask[at + np.asarray(pc.list_parent_indices(chunk))[hits]] = True
        at += len(chunk)
    return mask


def _converted(value: Value, kind: pa.DataType, test: ColumnTest) -> Any:
    """The value as the column's type has it, or a refusal that names the type."""
    import pyarrow as pa

    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_boolean(kind) and isinstance(value, bool):
        return value
    if is_number and (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return value
    if isinstance(value, str) and _is_text(kind):
        return value
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moment(value, kind, test)
    raise BadFilter(
        f"{test.place} compares column {test.column!r}, which is {_named(kind)}, with {shown(value)}; "
        f"expected {_expected(kind)}"
    )


def _moment(value: Value, kind: pa.DataType, test: ColumnTest) -> Any:
    """A date or time from ISO 8601 text or from seconds since 1970."""
    import pyarrow as pa

    try:
        if isinstance(value, str):
            moment = dt.datetime.fromisoformat(value)
        elif isinstance(value, bool):
            raise ValueError("true or false")
        else:
            moment = dt.datetime.fromtimestamp(value, dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadFilter(
            f"{test.place}: {shown(value)} is no time for column {test.column!r}; expected {_expected(kind)}"
        ) from error
    if pa.types.is_date(kind):
        return moment.date()
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment if kind.tz is not None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def _scalar(value: Any, kind: pa.DataType) -> Any:
    """As Arrow compares it with a column: floats in double precision, everything else in the column's type."""
    import pyarrow as pa

    return pa.scalar(float(value), pa.float64()) if pa.types.is_floating(kind) else pa.scalar(value, kind)


def _plain(found: Any, *, invert: bool = False) -> BoolArray:
    """(n,) with missing as False."""
    import pyarrow.compute as pc

    mask: BoolArray = np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), np.bool_)
    return ~mask if invert else mask


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _named(kind: pa.DataType) -> str:
    """A column's type in plain words."""
    import pyarrow as pa

    if _is_list(kind):
        return f"a list of {_named(kind.value_type).removeprefix('a ')}s"
    tests = (
        (_is_text, "text"), (pa.types.is_boolean, "true or false"), (pa.types.is_integer, "a whole number"),
        (pa.types.is_floating, "a number"), (pa.types.is_decimal, "a number"), (pa.types.is_timestamp, "a time"),
        (pa.types.is_date, "a date"),
    )  # fmt: skip
    return next((name for test, name in tests if test(kind)), str(kind))


def _expected(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "a time such as '2024-05-17T08:30:00Z' or seconds since 1970"
    return {"text": "text", "true or false": "true or false"}.get(_named(kind), "a number")
