"""The joined table: columns, filters, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curator.catalog import SAMPLE_COLUMNS, Catalog
from curator.errors import BadFilter, DamagedWorkspace, UnknownColumn
from curator.snapshot import Entry
from curator.workspace import Workspace, create_workspace


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = create_workspace(tmp_path / "it's [a] place")
    first = pa.table({
        "row": [0, 1], "uri": ["a.jpg", "b.jpg"], "file": ["a.jpg", "b.jpg"], "kind": ["image"] * 2,
        "time_s": pa.array([None, None], pa.float64()), "offset": pa.array([None, None], pa.int64()),
        "size_bytes": [10, 20], "modified": [1.0, 2.0], "file_digest": pa.array([None, None], pa.string()),
        "split": ["train", None], "labels": [["car", "bus"], []], "reason": pa.array([None, None], pa.string()),
        "message": ["", ""], "weather": ["night", "day"],
    })  # fmt: skip
    second = first.drop(["weather"]).set_column(0, "row", pa.array([2, 3])).append_column("speed", pa.array([3, 4]))
    with place.writing("test") as writer:
        writer.write_table("samples/0.parquet", first)
        writer.write_table("samples/1.parquet", second)
        faults = {"reason": [None, None, "truncated"], "message": ["", "", "cut"]}
        pixels = pa.table({"row": [0, 1, 2], "brightness": [0.1, 0.5, 0.9], **faults})
        writer.write_table("columns/pixels.parquet", pixels)
        writer.publish({
            "samples": [Entry("samples/0.parquet", "a", n=2), Entry("samples/1.parquet", "b", n=2)],
            "columns/pixels": [Entry("columns/pixels.parquet", "c", n=3)],
        })  # fmt: skip
    return place


@pytest.fixture
def catalog(place: Workspace) -> Iterator[Catalog]:
    with Catalog(place) as catalog:
        yield catalog


def test_parts_with_different_metadata_join_into_one_table(catalog: Catalog) -> None:
    table = catalog.table(["row", "weather", "speed", "brightness", "reason", "label"])
    assert table["row"].to_pylist() == [0, 1, 2, 3]
    assert table["weather"].to_pylist() == ["night", "day", None, None]
    assert table["speed"].to_pylist() == [None, None, 3, 4]
    assert table["reason"].to_pylist() == [None, None, "truncated", None]
    assert table["label"].to_pylist() == ["car", None, "car", None]


@pytest.mark.parametrize(
    ("predicate", "rows"),
    [
        ("brightness < 0.3", [0]),
        ("list_contains(labels, 'bus')", [0, 2]),
        ("split IS NULL and speed = 4", [3]),
        ("reason = 'truncated'", [2]),
        (None, [0, 1, 2, 3]),
    ],
)
def test_predicates_filter_rows(catalog: Catalog, predicate: str | None, rows: list[int]) -> None:
    assert catalog.rows_where(predicate).tolist() == rows


def test_rows_asked_for_come_in_row_order(catalog: Catalog) -> None:
    assert catalog.table(["uri"], rows=np.array([3, 0]))["uri"].to_pylist() == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("predicate", "words"),
    [
        ("brightnes < 1", "cannot use the filter 'brightnes < 1'.*brightness"),
        ("row = ", "syntax error"),
        ("row = 1; DROP VIEW images", "syntax error"),
        ("uri IN (SELECT content FROM read_text('/etc/hostname'))", "cannot use the filter"),
    ],
)
def test_a_filter_that_cannot_be_used_says_why(catalog: Catalog, predicate: str, words: str) -> None:
    with pytest.raises(BadFilter, match=words):
        catalog.rows_where(predicate)


def test_an_unknown_column_names_its_nearest(catalog: Catalog) -> None:
    with pytest.raises(UnknownColumn, match=r"no column 'brightnes' .*did you mean 'brightness'\?"):
        catalog.table(["brightnes"])


def test_columns_say_where_they_come_from(catalog: Catalog) -> None:
    found = {column.name: column.origin for column in catalog.columns()}
    assert found["brightness"] == "pixels"
    assert found["weather"] == "samples"


def test_an_empty_workspace_has_an_empty_table(tmp_path: Path) -> None:
    with Catalog(create_workspace(tmp_path / "w")) as catalog:
        assert catalog.table().num_rows == 0
        assert [column.name for column in catalog.columns()] == list(SAMPLE_COLUMNS)


def test_a_broken_table_is_named(place: Workspace) -> None:
    (place.path / "samples" / "1.parquet").write_bytes(b"nothing")
    with pytest.raises(DamagedWorkspace, match="cannot read the tables"), Catalog(place) as catalog:
        catalog.table()
