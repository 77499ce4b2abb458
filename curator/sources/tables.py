"""Tables: CSV, Parquet and JSON lines to names and typed facts.

Knows columns; knows nothing of where the named files are. Values keep the type
the format gives them (CSV: the type all values of a column agree on); names,
labels and splits are always text, so that `00012` stays `00012`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from curator.data import Scalar
from curator.errors import UnreadableSource
from curator.sources.facts import (
    LABEL_COLUMNS,
    SPLIT_COLUMN,
    Facts,
    label_column_of,
    labels_of,
    scalar,
    split_column_of,
    split_of,
)
from curator.sources.kinds import TABLE_SUFFIXES, suffix_of
from curator.sources.stores import Place, clean, fault_of

NAME_COLUMNS = ("file", "file_name", "filename", "path", "uri", "image")


@dataclass(frozen=True, slots=True)
class Table:
    """Named rows; the name is the text of the column that points to a file."""

    file: str
    name_column: str
    names: list[str]
    columns: dict[str, list[Scalar]]  # metadata, each as long as names
    labels: list[tuple[str, ...]]
    splits: list[str | None]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def facts(self, rows: Iterable[int]) -> Facts:
        """Facts of rows that name one file: the first row's metadata, the labels of all."""
        rows = list(rows)
        first = rows[0]
        labels = dict.fromkeys(label for row in rows for label in self.labels[row])
        split = next((self.splits[row] for row in rows if self.splits[row]), None)
        return Facts(tuple(labels), split, {name: column[first] for name, column in self.columns.items()})

    def by_name(self) -> dict[str, list[int]]:
        """Rows of each name, in order of first appearance."""
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.names):
            if name:
                rows.setdefault(name, []).append(row)
        return rows


def read_table(place: Place, *, name_column: str | None) -> Table:
    """Read a whole table.

    Args:
        name_column: the column that names files; None takes the first of `NAME_COLUMNS` that is there.

    Raises:
        UnreadableSource: not a table, broken, or without such a column.
    """
    file, suffix = place.file, suffix_of(place.path)
    if suffix not in TABLE_SUFFIXES:
        raise UnreadableSource(f"{file} is no table; expected one of {', '.join(sorted(TABLE_SUFFIXES))}")
    try:
        with place.store.open(place.path) as handle:
            if suffix == ".parquet":
                columns, notes = _read_parquet(handle, file)
            elif suffix in (".csv", ".tsv"):
                columns, notes = _read_csv(handle, file, suffix, name_column), ()
            else:
                columns, notes = _read_lines(handle, file), ()
    except UnicodeDecodeError as error:
        raise UnreadableSource(f"table {file} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise UnreadableSource(
            f"table {file} cannot be read ({fault_of(error)[1]}); expected a readable file"
        ) from error
    return _table(file, columns, name_column, notes)


def _table(file: str, columns: dict[str, list[Any]], name_column: str | None, notes: tuple[str, ...]) -> Table:
    names_at = _name_column(file, columns, name_column)
    label_column, split_column = label_column_of(columns), split_column_of(columns)
    names = ["" if name is None else clean(str(name)).strip() for name in columns[names_at]]
    n_unnamed = names.count("")
    if n_unnamed:
        notes = (*notes, f"{file}: {n_unnamed} of {len(names)} rows have no {names_at!r} and were left out")
    return Table(
        file=file,
        name_column=names_at,
        names=names,
        columns={
            clean(name): [scalar(value) for value in values]
            for name, values in columns.items()
            if name.strip() and name not in (names_at, label_column, split_column)
        },
        labels=[() for _ in names]
        if label_column is None
        else [labels_of(value, column=label_column) for value in columns[label_column]],
        splits=[None for _ in names] if split_column is None else [split_of(v) for v in columns[split_column]],
        notes=notes,
    )


def _name_column(file: str, columns: Iterable[str], wanted: str | None) -> str:
    columns = list(columns)
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    if wanted is None:
        found = next((by_name[name] for name in NAME_COLUMNS if name in by_name), None)
        expected, advice = f"one of {', '.join(NAME_COLUMNS)}", "rename the column that names the files"
    else:
        found = wanted if wanted in columns else by_name.get(wanted.lower())
        likely = next((by_name[name] for name in NAME_COLUMNS if name in by_name), None)
        expected = f"a column {wanted!r} that names the files"
        advice = f"set uri_column to {likely!r}" if likely else "set uri_column to the column that names the files"
    if found is None:
        shown = ", ".join(repr(column) for column in columns[:12]) + (", ..." if len(columns) > 12 else "")
        raise UnreadableSource(f"table {file} has columns {shown or '(none)'}; expected {expected}; {advice}")
    return found


def _read_csv(handle: BinaryIO, file: str, suffix: str, name_column: str | None) -> dict[str, list[Any]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    first_line = handle.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
    handle.seek(0)
    divider = "\t" if suffix == ".tsv" else ";" if ";" in first_line and "," not in first_line else ","
    header = next(csv.reader([first_line], delimiter=divider), [])
    as_text = {*NAME_COLUMNS, *LABEL_COLUMNS, SPLIT_COLUMN, (name_column or "").lower()}
    try:
        table = arrow_csv.read_csv(
            handle,
            parse_options=arrow_csv.ParseOptions(delimiter=divider, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in header if name.strip().lower() in as_text}
            ),
        )
    except pa.ArrowException as error:
        raise UnreadableSource(
            f"table {file} is not valid CSV ({_one_line(error)}); expected UTF-8 text, a header line and as many "
            "values in each line; save it again as CSV in UTF-8"
        ) from error
    return _columns(table)


def _read_parquet(handle: BinaryIO, file: str) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        reader = parquet.ParquetFile(handle)
        schema = reader.schema_arrow
        binary = [field.name for field in schema if _holds_bytes(field.type)]
        table = reader.read(columns=[field.name for field in schema if field.name not in binary])
    except pa.ArrowException as error:
        raise UnreadableSource(
            f"table {file} is not valid Parquet ({_one_line(error)}); expected a whole Parquet file; write it again"
        ) from error
    notes = tuple(f"{file}: column {name!r} holds bytes and was left out" for name in binary)
    return _columns(table), notes


def _read_lines(handle: BinaryIO, file: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    n_rows = 0
    for number, line in enumerate(handle, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UnreadableSource(
                f"table {file} line {number} is not JSON ({_one_line(error)}); expected one object per line"
            ) from error
        if not isinstance(record, dict):
            raise UnreadableSource(
                f"table {file} line {number} holds a {type(record).__name__}; expected one JSON object per line"
            )
        for name, value in record.items():
            columns.setdefault(name, [None] * n_rows).append(value)
        n_rows += 1
        for values in columns.values():
            if len(values) < n_rows:
                values.append(None)
    return columns


def _columns(table: Any) -> dict[str, list[Any]]:
    return {name: _plain(table.column(at)).to_pylist() for at, name in enumerate(table.column_names)}


def _plain(column: Any) -> Any:
    """The column in a type whose Python values keep what matters: no nanoseconds, no time zone but UTC."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", "UTC" if kind.tz else None), safe=False)
    if pa.types.is_time64(kind):
        return column.cast(pa.time64("us"), safe=False)
    if pa.types.is_duration(kind):
        return column.cast(pa.duration("us"), safe=False)
    return column


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return is_bytes or any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
