"""Filters as values: a tree of frozen conditions, and what can be said of one without evaluating it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Op = Literal["eq", "ne", "lt", "le", "gt", "ge"]
Value = str | int | float | bool
OPS: tuple[Op, ...] = ("eq", "ne", "lt", "le", "gt", "ge")


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
class Area:
    """Rows whose place on the map lies in a polygon, by the even-odd rule; the last corner joins the first."""

    corners: tuple[tuple[float, float], ...]
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
Filter = ColumnTest | Tagged | Collected | Rows | Selected | Area | And | Or | Not


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
        case Area(corners):
            return {"area": [list(corner) for corner in corners]}
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
    places = {"x", "y"} if any(isinstance(leaf, Area) for leaf in leaves(condition)) else set()
    return places | {leaf.column for leaf in leaves(condition) if isinstance(leaf, ColumnTest)}


def is_fixed(condition: Filter) -> bool:
    """Whether the answer depends on the snapshot alone, not on tags and collections that people change."""
    return not any(isinstance(leaf, Tagged | Collected) for leaf in leaves(condition))


def without(condition: Filter, column: str) -> Filter:
    """The filter without those of its conditions, joined by and, that read this column and nothing else."""
    parts = condition.parts if isinstance(condition, And) else (condition,)
    kept = [part for part in parts if any(_column(leaf) != column for leaf in leaves(part))]
    return kept[0] if len(kept) == 1 else And(tuple(kept))


def _column(leaf: Filter) -> str | None:
    return leaf.column if isinstance(leaf, ColumnTest) else None
