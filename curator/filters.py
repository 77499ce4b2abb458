"""Typed filters over rows: parsed from plain JSON values, evaluated on Arrow columns, never SQL.

A filter is a tree of frozen values. `parse_filter` makes one from what a request
holds and says where in the request something is wrong; `evaluate` turns one into
a mask over all rows. Two-valued: what is missing (null, or not a number) matches no
comparison, and `not` is the plain complement, so `{"not": {"column": "x", "lt": 1}}` holds
where x is missing.

    {"column": "brightness", "lt": 0.3}                 eq ne lt le gt ge; several in one object mean and
    {"column": "label", "in": ["car", "bus"]}           {"column": "time_s", "between": [1, 5]}, both ends in
    {"column": "labels", "has": "car"}                  of a list column; a list means any of
    {"column": "uri", "contains": "front"}              letter case is ignored; starts_with heeds it
    {"column": "cluster", "is_null": true}
    {"tag": "night"}  {"tag": ["night", "rain"]}        tags that people gave; a list means any of
    {"collection": "edge cases"}  {"rows": [1, 2]}  {"selection": "selection"}
    {"and": [...]}  {"or": [...]}  {"not": {...}}
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from curator.data import BoolArray, IntArray
from curator.errors import BadFilter

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DEPTH = 16
MAX_NODES = 256
MAX_VALUES = 10_000  # of one `in` or `rows`
MAX_TEXT = 1_000  # characters of one string

Op = Literal["eq", "ne", "lt", "le", "gt", "ge"]
Value = str | int | float | bool
OPS: tuple[Op, ...] = ("eq", "ne", "lt", "le", "gt", "ge")
COLUMN_OPS = (*OPS, "in", "between", "has", "contains", "starts_with", "is_null")
HEADS = ("column", "tag", "collection", "rows", "selection", "and", "or", "not")


@dataclass(frozen=True, slots=True)
class Compare:
    """Column against one value."""

    column: str
    op: Op
    value: Value
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class OneOf:
    """Column equal to any of some values."""

    column: str
    values: tuple[Value, ...]
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Between:
    """Column from `low` to `high`, both included."""

    column: str
    low: Value
    high: Value
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """List column that holds any of some values."""

    column: str
    values: tuple[Value, ...]
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """Text column that contains a text, letter case ignored, or starts with it."""

    column: str
    how: Literal["contains", "starts_with"]
    text: str
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class IsNull:
    """Column that is missing, or with False one that is there."""

    column: str
    is_null: bool
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Tagged:
    """Rows that people gave any of some tags."""

    names: tuple[str, ...]
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Collected:
    """Rows of a named collection."""

    name: str
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows given by number; those that were never given match nothing."""

    rows: tuple[int, ...]
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Selected:
    """Rows of a stored selection."""

    name: str
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts; without parts everything."""

    parts: tuple[Filter, ...]
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the parts; without parts nothing."""

    parts: tuple[Filter, ...]
    place: str = field(default="filter", compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """What the part does not match."""

    part: Filter
    place: str = field(default="filter", compare=False)


ColumnTest = Compare | OneOf | Between | Has | Matches | IsNull
Filter = ColumnTest | Tagged | Collected | Rows | Selected | And | Or | Not


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


def parse_filter(body: Any, *, place: str = "filter") -> Filter:
    """A filter from plain JSON values.

    Args:
        body: what the module's head shows.
        place: how a message calls the whole.

    Raises:
        BadFilter: it does not parse; the message names the place in it and what was expected there.
    """
    return _parse(body, place, 1, _Budget(place))


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
        case Tagged(names):
            return _mask_of(table.tagged(names), table.n_rows)
        case Collected(name):
            return _mask_of(table.collected(name), table.n_rows)
        case Selected(name):
            return _mask_of(table.selected(name), table.n_rows)
        case Rows(rows):
            return _mask_of(np.asarray(rows, np.int64), table.n_rows)
        case _:
            return _tested(condition, table.column(condition.column))


def to_json(condition: Filter) -> dict[str, Any]:
    """The JSON that `parse_filter` reads back as an equal filter."""
    match condition:
        case Compare(column, op, value):
            return {"column": column, op: value}
        case OneOf(column, values):
            return {"column": column, "in": list(values)}
        case Between(column, low, high):
            return {"column": column, "between": [low, high]}
        case Has(column, values):
            return {"column": column, "has": list(values)}
        case Matches(column, how, text):
            return {"column": column, how: text}
        case IsNull(column, is_null):
            return {"column": column, "is_null": is_null}
        case Tagged(names):
            return {"tag": list(names)}
        case Collected(name):
            return {"collection": name}
        case Rows(rows):
            return {"rows": list(rows)}
        case Selected(name):
            return {"selection": name}
        case And(parts):
            return {"and": [to_json(part) for part in parts]}
        case Or(parts):
            return {"or": [to_json(part) for part in parts]}
        case Not(part):
            return {"not": to_json(part)}


def leaves(condition: Filter) -> Iterator[Filter]:
    """Every part that has no parts itself."""
    match condition:
        case And(parts) | Or(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case _:
            yield condition


def columns_of(condition: Filter) -> set[str]:
    """Names of the columns that a filter reads."""
    return {leaf.column for leaf in leaves(condition) if isinstance(leaf, ColumnTest)}


def is_fixed(condition: Filter) -> bool:
    """Whether the answer depends on the snapshot alone, not on tags and collections that people change."""
    return not any(isinstance(leaf, Tagged | Collected) for leaf in leaves(condition))


def without(condition: Filter, column: str) -> Filter:
    """The filter without those of its conditions, joined by and, that read this column and nothing else."""
    parts = condition.parts if isinstance(condition, And) else (condition,)
    kept = [part for part in parts if any(_column(leaf) != column for leaf in leaves(part))]
    return kept[0] if len(kept) == 1 else And(tuple(kept))


# -- parsing ---------------------------------------------------------------------------------------------------------


class _Budget:
    """Counts conditions, so that a filter of any shape costs a bounded time."""

    def __init__(self, place: str) -> None:
        self.n, self.place = 0, place

    def spend(self) -> None:
        self.n += 1
        if self.n > MAX_NODES:
            raise BadFilter(
                f"{self.place} has more than {MAX_NODES} conditions; use `in` for many values of one column"
            )


def _parse(body: Any, place: str, depth: int, budget: _Budget) -> Filter:
    if depth > MAX_DEPTH:
        raise BadFilter(f"{place} is nested more than {MAX_DEPTH} deep")
    if not isinstance(body, Mapping):
        raise BadFilter(f"{place} is {_shown(body)}; expected an object with one of {', '.join(HEADS)}")
    budget.spend()
    heads = [head for head in HEADS if head in body]
    if len(heads) != 1:
        found = " and ".join(heads) if heads else ", ".join(sorted(map(str, body))[:5]) or "nothing"
        raise BadFilter(f"{place} has {found}; expected exactly one of {', '.join(HEADS)}")
    head = heads[0]
    if head == "column":
        return _parse_column(body, place, budget)
    extra = sorted(str(key) for key in body if key != head)
    if extra:
        raise BadFilter(f"{place} has {', '.join(extra[:5])} beside {head}; put conditions side by side with `and`")
    return _parse_head(head, body[head], place, depth, budget)


def _parse_head(head: str, value: Any, place: str, depth: int, budget: _Budget) -> Filter:
    inside = f"{place}.{head}"
    if head in ("and", "or"):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise BadFilter(f"{inside} is {_shown(value)}; expected a list of conditions")
        parts = tuple(_parse(part, f"{inside}[{at}]", depth + 1, budget) for at, part in enumerate(value))
        return And(parts, place) if head == "and" else Or(parts, place)
    if head == "not":
        return Not(_parse(value, inside, depth + 1, budget), place)
    if head == "rows":
        numbers = _values(value, inside)
        for at, number in enumerate(numbers):
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
                raise BadFilter(f"{inside}[{at}] is {_shown(number)}; expected a row number")
        return Rows(tuple(int(number) for number in numbers), inside)
    if head == "tag":
        names = [value] if isinstance(value, str) else _values(value, inside)
        return Tagged(tuple(_text(name, inside) for name in names), inside)
    return (Collected if head == "collection" else Selected)(_text(value, inside), inside)


def _parse_column(body: Mapping[str, Any], place: str, budget: _Budget) -> Filter:
    column = _text(body["column"], f"{place}.column")
    asked = [key for key in body if key != "column"]
    wrong = [str(key) for key in asked if key not in COLUMN_OPS]
    if wrong or not asked:
        near = difflib.get_close_matches(wrong[0], COLUMN_OPS, n=1) if wrong else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadFilter(
            f"{place} asks {wrong[0] if wrong else 'nothing'!r} of column {column!r}{hint} "
            f"Expected one of {', '.join(COLUMN_OPS)}"
        )
    tests = []
    for key in asked:
        if len(asked) > 1:
            budget.spend()
        tests.append(_test(column, key, body[key], f"{place}.{key}"))
    return tests[0] if len(tests) == 1 else And(tuple(tests), place)


def _test(column: str, op: str, given: Any, place: str) -> ColumnTest:
    if op == "in":
        return OneOf(column, _values(given, place), place)
    if op == "has":
        values = _values(given, place) if isinstance(given, list | tuple) else (_value(given, place),)
        return Has(column, values, place)
    if op == "between":
        ends = _values(given, place)
        if len(ends) != 2:
            raise BadFilter(f"{place} has {len(ends)} values; expected two, the lowest and the highest")
        return Between(column, *ends, place)
    if op == "is_null":
        if not isinstance(given, bool):
            raise BadFilter(f"{place} is {_shown(given)}; expected true or false")
        return IsNull(column, given, place)
    if op in ("contains", "starts_with"):
        how: Literal["contains", "starts_with"] = "contains" if op == "contains" else "starts_with"
        return Matches(column, how, _text(given, place), place)
    known = next(name for name in OPS if name == op)
    return Compare(column, known, _value(given, place), place)


def _values(given: Any, place: str) -> tuple[Value, ...]:
    if not isinstance(given, list | tuple):
        raise BadFilter(f"{place} is {_shown(given)}; expected a list of values")
    if len(given) > MAX_VALUES:
        raise BadFilter(f"{place} has {len(given)} values; at most {MAX_VALUES} are taken")
    return tuple(_value(value, f"{place}[{at}]") for at, value in enumerate(given))


def _value(given: Any, place: str) -> Value:
    if given is None:
        raise BadFilter(f"{place} is null; ask for what is missing with is_null")
    if isinstance(given, str):
        return _text(given, place)
    if not isinstance(given, int | float):
        raise BadFilter(f"{place} is {_shown(given)}; expected text, a number, true or false")
    if isinstance(given, float) and not math.isfinite(given):
        raise BadFilter(f"{place} is {given}; expected a finite number")
    if isinstance(given, int) and abs(given) >= 2**64:
        raise BadFilter(f"{place} is a whole number of {len(str(abs(given)))} digits; expected at most 64 bits")
    return given


def _text(given: Any, place: str) -> str:
    if not isinstance(given, str):
        raise BadFilter(f"{place} is {_shown(given)}; expected text")
    if len(given) > MAX_TEXT:
        raise BadFilter(f"{place} is a text of {len(given)} characters; at most {MAX_TEXT} are taken")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in given):
        raise BadFilter(f"{place} is a text with half a surrogate pair; expected whole characters")
    return given


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _column(leaf: Filter) -> str | None:
    return leaf.column if isinstance(leaf, ColumnTest) else None


# -- evaluating ------------------------------------------------------------------------------------------------------


def _joined(parts: tuple[Filter, ...], table: Table, join: Callable[..., BoolArray], *, start: bool) -> BoolArray:
    mask = np.full(table.n_rows, start, np.bool_)
    for part in parts:
        join(mask, evaluate(part, table), out=mask)
    return mask


def _mask_of(rows: IntArray, n_rows: int) -> BoolArray:
    mask = np.zeros(n_rows, np.bool_)
    mask[rows[(rows >= 0) & (rows < n_rows)]] = True
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
        f"{test.place} compares column {test.column!r}, which is {_named(kind)}, with {_shown(value)}; "
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
            f"{test.place}: {_shown(value)} is no time for column {test.column!r}; expected {_expected(kind)}"
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

    mask: BoolArray = (
        np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), np.bool_)
        if not hasattr(found, "chunks")
        else np.asarray(pc.fill_null(found, False).to_numpy(), np.bool_)
    )
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
