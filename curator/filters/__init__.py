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
    {"area": [[0, 0], [4, 0], [2, 3]]}                  places on the map inside a polygon
    {"and": [...]}  {"or": [...]}  {"not": {...}}
"""

from __future__ import annotations

from curator.filters.evaluating import Table, evaluate
from curator.filters.parsing import MAX_DEPTH, MAX_NODES, MAX_TEXT, MAX_VALUES, parse_filter
from curator.filters.values import (
    And,
    Area,
    Between,
    Collected,
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
    columns_of,
    is_fixed,
    leaves,
    to_json,
    without,
)

__all__ = [
    "MAX_DEPTH", "MAX_NODES", "MAX_TEXT", "MAX_VALUES", "And", "Area", "Between", "Collected", "Compare", "Filter",
    "Has", "IsNull", "Matches", "Not", "OneOf", "Or", "Rows", "Selected", "Table", "Tagged", "columns_of", "evaluate",
    "is_fixed", "leaves", "parse_filter", "to_json", "without",
]  # fmt: skip
