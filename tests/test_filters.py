"""Filters: every one means what plain Python says it means, and what cannot be meant is refused in words."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import BoolArray, IntArray
from curator.errors import BadFilter, CuratorError, UnknownColumn
from curator.filters import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_TEXT,
    MAX_VALUES,
    columns_of,
    evaluate,
    is_fixed,
    parse_filter,
    to_json,
    without,
)

N = 40
WORDS = ["car", "Bus", "bus stop", "", "Straße", "ÖL", "%_", "car"]
DAY = dt.datetime(2024, 5, 17, 8, 30)


class Fake:
    """A table of one column of each kind, and what people and stages have named."""

    def __init__(self, columns: dict[str, pa.Array], n_rows: int = N) -> None:
        self.columns = {name: pa.chunked_array([column[:7], column[7:]]) for name, column in columns.items()}
        self.n_rows = n_rows

    def column(self, name: str) -> pa.ChunkedArray:
        if name not in self.columns:
            raise UnknownColumn(f"no column {name!r}")
        return self.columns[name]

    def tagged(self, names: Sequence[str]) -> IntArray:
        return np.unique(np.concatenate([np.asarray(TAGS.get(name, []), np.int64) for name in names]))

    def collected(self, name: str) -> IntArray:
        return np.asarray(TAGS[name], np.int64)

    def selected(self, name: str) -> IntArray:
        return np.asarray(TAGS[name], np.int64)


TAGS = {"night": [1, 5, 9], "rain": [5, 39]}


def make_table() -> Fake:
    rng = np.random.default_rng(0)
    gaps = rng.random((8, N)) < 0.2
    numbers = rng.integers(-3, 4, N)
    floats = [None if gap else math.nan if i % 9 == 0 else i / 4 for i, gap in enumerate(gaps[0])]
    lists = [None if gap else [WORDS[(i + j) % len(WORDS)] for j in range(i % 4)] for i, gap in enumerate(gaps[1])]
    return Fake({
        "whole": pa.array(numbers, pa.int64(), mask=gaps[2]),
        "hash": pa.array([2**63 + int(i) for i in numbers], pa.uint64(), mask=gaps[3]),
        "small": pa.array(numbers, pa.int8(), mask=gaps[3]),
        "share": pa.array(floats, pa.float64()),
        "rough": pa.array(floats, pa.float32()),
        "is_on": pa.array(numbers > 0, mask=gaps[4]),
        "text": pa.array([None if gap else WORDS[i % len(WORDS)] for i, gap in enumerate(gaps[5])]),
        "word": pa.array([WORDS[i % 3] for i in range(N)]).dictionary_encode(),
        "when": pa.array([None if gap else DAY + dt.timedelta(hours=i) for i, gap in enumerate(gaps[6])]),
        "day": pa.array([None if gap else (DAY + dt.timedelta(days=i)).date() for i, gap in enumerate(gaps[7])]),
        "labels": pa.array(lists, pa.list_(pa.string())),
        "ids": pa.array([None if v is None else list(range(len(v))) for v in lists], pa.list_(pa.int16())),
        "nothing": pa.nulls(N),
    })  # fmt: skip


TABLE = make_table()
VALUES = {name: column.to_pylist() for name, column in TABLE.columns.items()}


def holds(body: dict[str, Any], row: int) -> bool:
    """What a filter means, said in plain Python."""
    if "and" in body:
        return all(holds(part, row) for part in body["and"])
    if "or" in body:
        return any(holds(part, row) for part in body["or"])
    if "not" in body:
        return not holds(body["not"], row)
    if "tag" in body:
        names = [body["tag"]] if isinstance(body["tag"], str) else body["tag"]
        return any(row in TAGS.get(name, []) for name in names)
    if "rows" in body:
        return row in body["rows"]
    for kind in ("collection", "selection"):
        if kind in body:
            return row in TAGS[body[kind]]
    value = VALUES[body["column"]][row]
    return all(asked(op, value, given_) for op, given_ in body.items() if op != "column")


def asked(op: str, value: Any, wanted: Any) -> Any:
    is_missing = value is None or (isinstance(value, float) and math.isnan(value))
    if op == "is_null":
        return is_missing == wanted
    if is_missing:
        return False
    if op == "has":
        return any(one in value for one in (wanted if isinstance(wanted, list) else [wanted]))
    if op == "contains":
        return wanted.lower() in value.lower()
    if op == "starts_with":
        return bool(value.startswith(wanted))
    wanted = [moment(value, one) for one in wanted] if isinstance(wanted, list) else moment(value, wanted)
    meanings: dict[str, Callable[[], Any]] = {
        "eq": lambda: value == wanted, "ne": lambda: value != wanted, "lt": lambda: value < wanted,
        "le": lambda: value <= wanted, "gt": lambda: value > wanted, "ge": lambda: value >= wanted,
        "in": lambda: value in wanted, "between": lambda: wanted[0] <= value <= wanted[1],
    }  # fmt: skip
    return meanings[op]()


def moment(value: Any, wanted: Any) -> Any:
    if isinstance(value, dt.datetime) and isinstance(wanted, str):
        return dt.datetime.fromisoformat(wanted)
    if isinstance(value, dt.date) and isinstance(wanted, str):
        return dt.date.fromisoformat(wanted)
    return wanted


def comparisons(name: str, values: st.SearchStrategy[Any], ops: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    compare = st.tuples(st.sampled_from(ops), values).map(lambda pair: {"column": name, pair[0]: pair[1]})
    many = st.lists(values, max_size=4).map(lambda some: {"column": name, "in": some})
    both = st.lists(values, min_size=2, max_size=2).map(lambda some: {"column": name, "between": some})
    null = st.booleans().map(lambda known: {"column": name, "is_null": known})
    return st.one_of(compare, many, both, null) if len(ops) > 2 else st.one_of(compare, many, null)


ORDERED = ("eq", "ne", "lt", "le", "gt", "ge")
NUMBERS = st.one_of(
    st.integers(-5, 5), st.floats(-5, 11, allow_nan=False),
    st.sampled_from([0.5, -0.5, 1e300, -1e300, 2**63, -(2**63), 2**63 - 1, 127, 128, -129, 2**63 + 2]),
)  # fmt: skip
TEXTS = st.sampled_from([*WORDS, "ß", "ö", "CAR", "b", "z", "."])
MOMENTS = st.integers(-5, 45).map(lambda hours: (DAY + dt.timedelta(hours=hours)).isoformat())
DAYS = st.integers(-5, 45).map(lambda days: (DAY + dt.timedelta(days=days)).date().isoformat())
LEAVES = st.one_of(
    *(comparisons(name, NUMBERS, ORDERED) for name in ("whole", "hash", "small", "share", "rough")),
    comparisons("text", TEXTS, ORDERED), comparisons("word", TEXTS, ORDERED),
    comparisons("is_on", st.booleans(), ("eq", "ne")),
    comparisons("when", MOMENTS, ORDERED), comparisons("day", DAYS, ORDERED),
    st.tuples(st.sampled_from(["contains", "starts_with"]), TEXTS).map(lambda two: {"column": "text", two[0]: two[1]}),
    st.one_of(TEXTS, st.lists(TEXTS, max_size=3)).map(lambda one: {"column": "labels", "has": one}),
    st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3)).map(lambda one: {"column": "ids", "has": one}),
    st.booleans().map(lambda known: {"column": "labels", "is_null": known}),
    st.just({"column": "nothing", "eq": 1}), st.just({"column": "whole", "ge": -1, "lt": 2}),
    st.sampled_from([{"tag": "night"}, {"tag": ["night", "rain"]}, {"tag": "none"}, {"tag": []}, {"collection": "rain"},
                     {"selection": "night"}, {"rows": [0, 3, 39, 1000]}]),
)  # fmt: skip
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)


def mask_of(body: Any) -> BoolArray:
    return evaluate(parse_filter(body), TABLE)


@given(FILTERS)
@settings(max_examples=400, deadline=None)
def test_a_filter_means_what_plain_python_says(body: dict[str, Any]) -> None:
    assert mask_of(body).tolist() == [holds(body, row) for row in range(N)]


@given(FILTERS)
@settings(max_examples=100, deadline=None)
def test_a_filter_written_as_json_reads_back_as_itself(body: dict[str, Any]) -> None:
    parsed = parse_filter(body)
    assert parse_filter(to_json(parsed)) == parsed
    assert hash(parse_filter(to_json(parsed))) == hash(parsed)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["column", "eq", "in", "and", "or", "not", "tag", "rows", "has", "x"]), inner),
    ),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_whatever_json_comes_it_is_a_mask_or_an_error_in_words(body: Any) -> None:
    try:
        mask = mask_of(body)
    except CuratorError as error:
        assert "\n" not in str(error)
    except KeyError:
        pass  # the fake's own, for a collection or selection that is not there
    else:
        assert mask.shape == (N,)


def nested(depth: int) -> dict[str, Any]:
    body: dict[str, Any] = {"rows": [1]}
    for _ in range(depth - 1):
        body = {"not": body}
    return body


def test_a_filter_as_deep_and_as_wide_as_allowed_is_taken() -> None:
    assert mask_of(nested(MAX_DEPTH)).sum() in (1, N - 1)
    assert mask_of({"or": [{"rows": [1]}] * (MAX_NODES - 1)}).sum() == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], r"filter is \[\]; expected an object with one of column, tag"),
        ({}, "filter has nothing; expected exactly one of column"),
        ({"x": 1}, "filter has x; expected exactly one of"),
        ({"tag": "a", "rows": []}, "filter has tag and rows; expected exactly one of"),
        ({"tag": "a", "lt": 1}, "filter has lt beside tag; put conditions side by side with `and`"),
        ({"column": 3, "eq": 1}, "filter.column is 3; expected text"),
        ({"column": "a"}, "filter asks 'nothing' of column 'a'"),
        ({"column": "a", "less": 1}, "filter asks 'less' of column 'a'; did you mean 'le'.*Expected one of eq, ne"),
        ({"and": [{"rows": []}, {"column": "a", "lt": None}]}, r"filter.and\[1\].lt is null; ask for .* with is_null"),
        ({"or": {"rows": []}}, r"filter.or is \{'rows': \[\]\}; expected a list of conditions"),
        ({"not": {"and": [7]}}, r"filter.not.and\[0\] is 7; expected an object"),
        ({"column": "a", "in": "car"}, "filter.in is 'car'; expected a list of values"),
        ({"column": "a", "in": [1, {}]}, r"filter.in\[1\] is \{\}; expected text, a number"),
        ({"column": "a", "in": [0] * (MAX_VALUES + 1)}, "filter.in has 10001 values; at most 10000"),
        ({"column": "a", "between": [1]}, "filter.between has 1 values; expected two"),
        ({"column": "a", "is_null": 1}, "filter.is_null is 1; expected true or false"),
        ({"column": "a", "contains": 1}, "filter.contains is 1; expected text"),
        ({"column": "a", "eq": "x" * (MAX_TEXT + 1)}, "filter.eq is a text of 1001 characters; at most 1000"),
        ({"column": "a", "eq": "\ud800"}, "half a surrogate pair"),
        ({"column": "a", "eq": math.nan}, "filter.eq is nan; expected a finite number"),
        ({"column": "a", "eq": 10**30}, "filter.eq is a whole number of 31 digits; expected at most 64 bits"),
        ({"rows": [1, "2"]}, r"filter.rows\[1\] is '2'; expected a row number"),
        ({"rows": [True]}, r"filter.rows\[0\] is True; expected a row number"),
        ({"tag": 3}, "filter.tag is 3; expected a list of values"),
        ({"collection": ["a"]}, r"filter.collection is \['a'\]; expected text"),
        (nested(MAX_DEPTH + 1), "is nested more than 16 deep"),
        ({"or": [{"rows": [1]}] * MAX_NODES}, "filter has more than 256 conditions; use `in`"),
    ],
)
def test_a_filter_that_does_not_parse_says_where_and_what_was_expected(body: Any, words: str) -> None:
    with pytest.raises(BadFilter, match=words):
        parse_filter(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"and": [{"column": "text", "lt": 3}]}, r"and\[0\].lt compares column 'text', which is text, with 3"),
        ({"column": "whole", "eq": "3"}, "column 'whole', which is a whole number, with '3'; expected a number"),
        ({"column": "share", "eq": True}, "column 'share', which is a number, with True; expected a number"),
        ({"column": "is_on", "eq": 1}, "column 'is_on', which is true or false, with 1; expected true or false"),
        ({"column": "is_on", "lt": True}, "column 'is_on' is true or false; lt needs an order, use eq"),
        ({"column": "labels", "eq": "car"}, "column 'labels' is a list of texts; use has or is_null"),
        ({"column": "labels", "has": 1}, "which is text, with 1; expected text"),
        ({"column": "ids", "has": "car"}, "which is a whole number, with 'car'; expected a number"),
        ({"column": "whole", "has": 1}, "column 'whole' is a whole number, no list; use eq or in"),
        ({"column": "whole", "contains": "1"}, "column 'whole' is a whole number; contains needs text"),
        ({"column": "when", "lt": "soon"}, "'soon' is no time for column 'when'; expected a time such as '2024-05-17"),
        ({"column": "when", "lt": True}, "True is no time for column 'when'"),
        ({"column": "when", "lt": 1e300}, "is no time for column 'when'"),
    ],
)  # fmt: skip
def test_a_comparison_that_the_type_does_not_allow_names_the_type(body: Any, words: str) -> None:
    with pytest.raises(BadFilter, match=words):
        mask_of(body)


def test_times_are_compared_with_seconds_too_and_zones_are_heeded() -> None:
    seconds = DAY.replace(tzinfo=dt.UTC).timestamp() + 3600
    there = VALUES["when"]
    assert mask_of({"column": "when", "lt": seconds}).tolist() == [
        value is not None and value < DAY + dt.timedelta(hours=1) for value in there
    ]
    assert mask_of({"column": "when", "eq": "2024-05-17T11:30:00+02:00"}).tolist() == [
        value == DAY + dt.timedelta(hours=1) for value in there
    ]
    zoned = Fake({"when": pa.array([DAY.replace(tzinfo=dt.UTC)] * N, pa.timestamp("us", "UTC"))})
    assert evaluate(parse_filter({"column": "when", "eq": "2024-05-17T08:30:00"}), zoned).all()


def test_what_a_filter_reads_and_whether_it_stays_is_known_without_evaluating_it() -> None:
    parsed = parse_filter(
        {"and": [{"column": "a", "lt": 1}, {"not": {"or": [{"column": "b", "eq": 1}, {"tag": "x"}]}}]}
    )
    assert columns_of(parsed) == {"a", "b"}
    assert not is_fixed(parsed)
    assert is_fixed(parse_filter({"rows": [1]}))


def test_a_filter_without_a_column_keeps_what_reads_others() -> None:
    body = {"and": [
        {"column": "a", "lt": 1}, {"or": [{"column": "a", "eq": 1}, {"column": "b", "eq": 1}]},
        {"column": "b", "eq": 2},
    ]}  # fmt: skip
    assert to_json(without(parse_filter(body), "a")) == {"and": body["and"][1:]}
    assert to_json(without(parse_filter({"column": "a", "lt": 1}), "a")) == {"and": []}
    assert to_json(without(parse_filter({"column": "b", "lt": 1}), "a")) == {"column": "b", "lt": 1}


TRIANGLE: list[list[float]] = [[0, 0], [4, 0], [2, 3]]


def in_triangle(x: float, y: float, corners: list[list[float]]) -> bool:
    """By the sides of its three lines."""
    (ax, ay), (bx, by), (cx, cy) = corners
    sides = [
        (qx - px) * (y - py) - (qy - py) * (x - px)
        for (px, py), (qx, qy) in (((ax, ay), (bx, by)), ((bx, by), (cx, cy)), ((cx, cy), (ax, ay)))
    ]
    return all(side > 0 for side in sides) or all(side < 0 for side in sides)


def test_an_area_holds_the_places_inside_its_outline() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-1, 5, (2, N))
    table = Fake({"x": pa.array([None, *x[1:]]), "y": pa.array(y.astype(np.float32))})
    for corners in (TRIANGLE, TRIANGLE[::-1], rng.uniform(-1, 5, (3, 2)).tolist()):
        expected = [at > 0 and in_triangle(x[at], y[at], corners) for at in range(N)]
        assert evaluate(parse_filter({"area": corners}), table).tolist() == expected, corners


def test_where_an_outline_crosses_itself_twice_covered_is_outside() -> None:
    twice = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]  # a ring
    places = {"x": pa.array([2.0, 0.5] * (N // 2)), "y": pa.array([2.0, 0.5] * (N // 2))}
    assert evaluate(parse_filter({"area": twice}), Fake(places)).tolist() == [False, True] * (N // 2)


def test_an_area_reads_the_map_and_stays_while_people_decide() -> None:
    condition = parse_filter({"and": [{"area": TRIANGLE}, {"column": "label", "eq": "car"}]})
    assert columns_of(condition) == {"x", "y", "label"}
    assert is_fixed(condition)
    assert parse_filter(to_json(condition)) == condition


@pytest.mark.parametrize(
    ("area", "words"),
    [
        ([[0, 0], [1, 1]], "2 corners; expected 3 to 500 pairs"), ("all", "'all'; expected 3 to 500"),
        ([[0, 0], [1, 1], [2]], r"area\[2\] is \[2\]; expected x and y"),
        ([[0, 0], [1, 1], [2, True]], r"area\[2\]"), ([[0, 0], [1, 1], ["a", 1]], r"area\[2\]"),
        ([[0, 0], [1, 1], [2, 10**400]], "finite"), ([[0, 0], [1, 1], [2, math.inf]], "finite"),
        ([[0, 0]] * 501, "501 corners"),
    ],
)  # fmt: skip
def test_an_area_that_is_none_says_what_was_found(area: Any, words: str) -> None:
    with pytest.raises(BadFilter, match=words):
        parse_filter({"area": area})
