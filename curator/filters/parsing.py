"""JSON values into filters; what is wrong is told with its place in the filter."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from curator.errors import BadFilter
from curator.filters.values import (
    OPS,
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
    Or,
    Rows,
    Selected,
    Tagged,
    Value,
)

MAX_DEPTH = 16
MAX_NODES = 256
MAX_VALUES = 10_000  # of one `in` or `rows`
MAX_TEXT = 1_000  # characters of one string
MAX_CORNERS = 500  # of an area
COLUMN_OPS = (*OPS, "in", "between", "has", "contains", "starts_with", "is_null")
HEADS = ("column", "tag", "collection", "rows", "selection", "area", "and", "or", "not")


def parse_filter(body: Any, *, place: str = "filter") -> Filter:
    """A filter from plain JSON values.

    Args:
        body: what the module's head shows.
        place: how a message calls the whole.

    Raises:
        BadFilter: it does not parse; the message names the place in it and what was expected there.
    """
    return _parse(body, place, 1, _Budget(place))


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
        raise BadFilter(f"{place} is {shown(body)}; expected an object with one of {', '.join(HEADS)}")
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
            raise BadFilter(f"{inside} is {shown(value)}; expected a list of conditions")
        parts = tuple(_parse(part, f"{inside}[{at}]", depth + 1, budget) for at, part in enumerate(value))
        return And(parts, place) if head == "and" else Or(parts, place)
    if head == "not":
        return Not(_parse(value, inside, depth + 1, budget), place)
    if head == "rows":
        numbers = _values(value, inside)
        for at, number in enumerate(numbers):
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
                raise BadFilter(f"{inside}[{at}] is {shown(number)}; expected a row number")
        return Rows(tuple(int(number) for number in numbers), inside)
    if head == "area":
        return Area(_corners(value, inside), inside)
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
            raise BadFilter(f"{place} is {shown(given)}; expected true or false")
        return IsNull(column, given, place)
    if op in ("contains", "starts_with"):
        how: Literal["contains", "starts_with"] = "contains" if op == "contains" else "starts_with"
        return Matches(column, how, _text(given, place), place)
    known = next(name for name in OPS if name == op)
    return Compare(column, known, _value(given, place), place)


def _values(given: Any, place: str) -> tuple[Value, ...]:
    if not isinstance(given, list | tuple):
        raise BadFilter(f"{place} is {shown(given)}; expected a list of values")
    if len(given) > MAX_VALUES:
        raise BadFilter(f"{place} has {len(given)} values; at most {MAX_VALUES} are taken")
    return tuple(_value(value, f"{place}[{at}]") for at, value in enumerate(given))


def _corners(given: Any, place: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(given, list | tuple) or not 3 <= len(given) <= MAX_CORNERS:
        found = f"{len(given)} corners" if isinstance(given, list | tuple) else shown(given)
        raise BadFilter(f"{place} is {found}; expected 3 to {MAX_CORNERS} pairs of x and y on the map")
    return tuple(_corner(pair, f"{place}[{at}]") for at, pair in enumerate(given))


def _corner(given: Any, place: str) -> tuple[float, float]:
    pair = given if isinstance(given, list | tuple) and len(given) == 2 else ()
    if not pair or any(isinstance(part, bool) or not isinstance(part, int | float) for part in pair):
        raise BadFilter(f"{place} is {shown(given)}; expected x and y on the map")
    try:
        x, y = float(pair[0]), float(pair[1])
    except OverflowError:
        x = y = math.inf
    if not (math.isfinite(x) and math.isfinite(y)):
        raise BadFilter(f"{place} is {shown(given)}; expected finite numbers")
    return x, y


def _value(given: Any, place: str) -> Value:
    if given is None:
        raise BadFilter(f"{place} is null; ask for what is missing with is_null")
    if isinstance(given, str):
        return _text(given, place)
    if not isinstance(given, int | float):
        raise BadFilter(f"{place} is {shown(given)}; expected text, a number, true or false")
    if isinstance(given, float) and not math.isfinite(given):
        raise BadFilter(f"{place} is {given}; expected a finite number")
    if isinstance(given, int) and abs(given) >= 2**64:
        raise BadFilter(f"{place} is a whole number of {len(str(abs(given)))} digits; expected at most 64 bits")
    return given


def _text(given: Any, place: str) -> str:
    if not isinstance(given, str):
        raise BadFilter(f"{place} is {shown(given)}; expected text")
    if len(given) > MAX_TEXT:
        raise BadFilter(f"{place} is a text of {len(given)} characters; at most {MAX_TEXT} are taken")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in given):
        raise BadFilter(f"{place} is a text with half a surrogate pair; expected whole characters")
    return given


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
