"""Pages and counts over rows, against plain Python."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curator.errors import BadQuery, UnknownColumn
from curator.filters import parse_filter
from curator.searching import Served, open_served
from tests.small_workspaces import workspace_of
from tests.vectors import unit

N = 300


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    rng = np.random.default_rng(0)
    lists = [None if i % 11 == 0 else [f"c{j}" for j in rng.integers(0, 6, i % 4)] for i in range(N)]
    share = [None if i % 13 == 0 else math.nan if i % 17 == 0 else float(v) for i, v in enumerate(rng.random(N))]
    columns = {
        "share": pa.array(share),
        "few": pa.array(rng.integers(0, 5, N), mask=rng.random(N) < 0.2),
        "word": [None if i % 7 == 0 else f"w{i % 40:02d}" for i in range(N)],
        "is_on": rng.random(N) < 0.5, "labels": pa.array(lists, pa.list_(pa.string())),
        "one": [3.5] * N, "none": pa.nulls(N, pa.float64()),
    }  # fmt: skip
    status = ["removed" if i % 10 == 3 else "present" for i in range(N)]
    return open_served(workspace_of(tmp_path_factory.mktemp("rows") / "w", unit(rng, N), columns, status=status))


def values(served: Served, name: str) -> list[Any]:
    found = served.column(name).to_pylist()
    return [None if isinstance(value, float) and math.isnan(value) else value for value in found]


PRESENT = [row for row in range(N) if row % 10 != 3]


@pytest.mark.parametrize(
    "sort",
    [[], [("share", False)], [("share", True)], [("word", True)], [("few", True), ("share", False)],
     [("is_on", False), ("word", True), ("few", False), ("share", True)], [("none", True)], [("uri", False)]],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("body", [None, {"column": "few", "ge": 2}])
def test_rows_come_sorted_with_the_missing_last_and_pages_join(served: Served, sort: Any, body: Any) -> None:
    condition = None if body is None else parse_filter(body)
    few = values(served, "few")
    truth = [row for row in PRESENT if body is None or (few[row] is not None and few[row] >= 2)]
    for name, descends in reversed(sort):
        of = values(served, name)
        there = sorted((row for row in truth if of[row] is not None), key=lambda row: of[row], reverse=descends)
        truth = there + [row for row in truth if of[row] is None]
    # sorted() keeps equal ones in their order in both directions, which is by row as the last resort
    whole = served.query(condition, sort=sort, limit=N)
    assert whole.total == len(truth)
    assert whole.rows.tolist() == truth
    pages = [served.query(condition, sort=sort, offset=at, limit=37) for at in range(0, len(truth), 37)]
    assert [row for page in pages for row in page.rows.tolist()] == truth


def test_a_page_carries_fields_and_says_where_the_next_begins(served: Served) -> None:
    page = served.query(limit=2, offset=4, fields=("word", "share"))
    body = page.to_json()
    assert body["rows"][0] == {"row": 5, "fields": {"word": "w05", "share": values(served, "share")[5]}}
    assert (body["total"], body["offset"], body["next_offset"]) == (len(PRESENT), 4, 6)
    last = served.query(limit=10, offset=len(PRESENT) - 3).to_json()
    assert (len(last["rows"]), last["next_offset"]) == (3, None)
    assert served.query(limit=5, offset=10_000).to_json()["rows"] == []
    assert served.query(limit=0).total == len(PRESENT)


def test_rows_that_are_gone_are_shown_when_asked_for(served: Served) -> None:
    assert served.query(present_only=False).total == N
    assert served.query(parse_filter({"column": "status", "eq": "removed"}), present_only=False).total == N // 10


def test_a_facet_counts_values_the_rest_and_the_missing(served: Served) -> None:
    facet = served.facets(None, ["word"], top=5)[0]
    counted = Counter(value for value in (values(served, "word")[row] for row in PRESENT) if value is not None)
    best = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:5]
    assert list(facet.values) == best
    assert facet.n_other == len(counted) - 5
    assert facet.other == sum(counted.values()) - sum(count for _, count in best)
    assert facet.missing == len(PRESENT) - sum(counted.values())
    assert facet.total == len(PRESENT)
    assert facet.to_json()["values"][0] == {"value": best[0][0], "count": best[0][1]}


@pytest.mark.parametrize("name", ["few", "is_on"])
def test_few_distinct_numbers_are_counted_one_by_one(served: Served, name: str) -> None:
    facet = served.facets(None, [name])[0]
    counted = Counter(values(served, name)[row] for row in PRESENT)
    assert dict(facet.values) == {value: count for value, count in counted.items() if value is not None}
    assert facet.missing == counted[None]


def test_many_numbers_become_a_histogram(served: Served) -> None:
    facet = served.facets(None, ["share"], bins=7)[0]
    known = [value for value in (values(served, "share")[row] for row in PRESENT) if value is not None]
    counts, edges = np.histogram(known, 7)
    assert list(facet.counts) == counts.tolist()
    assert facet.edges == pytest.approx(edges)
    assert facet.missing + sum(facet.counts) == facet.total
    assert facet.to_json()["kind"] == "histogram"
    nothing = served.facets(parse_filter({"rows": []}), ["share"])[0]
    assert (nothing.counts, nothing.missing, nothing.total) == ((), 0, 0)


def test_a_facet_of_lists_counts_each_row_once_for_each_value(served: Served) -> None:
    facet = served.facets(None, ["labels"])[0]
    lists = [values(served, "labels")[row] for row in PRESENT]
    assert dict(facet.values) == Counter(value for one in lists if one for value in set(one))
    assert facet.missing == sum(not one for one in lists)


def test_a_column_without_values_or_with_one_is_counted(served: Served) -> None:
    none, one = served.facets(None, ["none", "one"])
    assert (none.values, none.missing) == ((), len(PRESENT))
    assert one.values == ((3.5, len(PRESENT)),)


def test_a_facet_can_leave_out_what_the_filter_asks_of_its_own_column(served: Served) -> None:
    both = parse_filter({"and": [{"column": "few", "eq": 2}, {"column": "is_on", "eq": True}]})
    plain = {facet.column: facet for facet in served.facets(both, ["few", "is_on"])}
    free = {facet.column: facet for facet in served.facets(both, ["few", "is_on"], ignore_own=True)}
    assert [value for value, _ in plain["few"].values] == [2]
    assert {value for value, _ in free["few"].values} == {0, 1, 2, 3, 4}
    only_on = parse_filter({"column": "is_on", "eq": True})
    assert free["few"] == served.facets(only_on, ["few"])[0]
    assert free["is_on"] == served.facets(parse_filter({"column": "few", "eq": 2}), ["is_on"])[0]


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"limit": 10_001}, BadQuery, "limit is 10001; expected 0 to 10000"),
        ({"offset": -1}, BadQuery, "offset is -1; expected 0 or more"),
        ({"sort": [("uri", True)] * 5}, BadQuery, "5 columns to sort by and 0 fields; at most 4 and 64 are taken"),
        ({"sort": [("wrd", True)]}, UnknownColumn, r"no column 'wrd' .*did you mean 'word'\?"),
        ({"sort": [("labels", True)]}, BadQuery, "column 'labels' holds lists"),
        ({"fields": ["wrd"]}, UnknownColumn, r"did you mean 'word'\?"),
    ],
)
def test_a_page_that_cannot_be_made_says_why(
    served: Served, asked: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        served.query(**asked)


def test_facets_that_cannot_be_counted_say_why(served: Served) -> None:
    with pytest.raises(BadQuery, match="33 columns, 20 values, 24 bins; expected up to 32, 1000 and 1000"):
        served.facets(None, ["word"] * 33)
    with pytest.raises(BadQuery, match="1 columns, 0 values, 24 bins"):
        served.facets(None, ["word"], top=0)
    with pytest.raises(UnknownColumn, match=r"did you mean 'word'\?"):
        served.facets(None, ["wrd"])


def test_an_empty_workspace_has_empty_pages(tmp_path: Path) -> None:
    from curator.workspace import create_workspace

    served = open_served(create_workspace(tmp_path / "w"))
    assert served.query().total == 0
    assert served.facets(None, ["uri"])[0].total == 0
