"""One table over everything known about each image, by DuckDB over the snapshot's Parquet files.

An in-memory connection with one view, `images`: a row per sample, joined with
every result column. Nothing is copied, no database file is made, extensions are
never fetched, and files outside the workspace cannot be named. A predicate
comes from the command line of the data's owner; the service never passes SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from curator.data import IntArray
from curator.errors import BadFilter, DamagedWorkspace, UnknownColumn
from curator.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_COLUMNS = (
    "row", "uri", "file", "kind", "time_s", "offset", "size_bytes", "modified", "file_digest", "split", "labels",
    "reason", "message",
)  # fmt: skip
RESULT_COLUMNS = (
    "status", "width", "height", "size_px", "aspect_ratio", "sharpness", "brightness", "contrast", "saturation",
    "entropy", "overexposed", "underexposed", "digest", "phash", "format", "tags", "tag_ids", "tag_scores",
    "vector_fault", "duplicate",
    "representative", "similarity", "cluster", "cluster_name", "x", "y", "label",
    "outlier_score", "uniqueness", "issues", "focus", "brightness_low", "brightness_high",
)  # fmt: skip
RESERVED = frozenset(SAMPLE_COLUMNS + RESULT_COLUMNS)
"""Metadata columns of these names are stored as meta_<name>."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the `images` view."""

    name: str
    type: str  # DuckDB's name
    origin: str  # samples, or the stage's column file


class Catalog:
    """Queries over one snapshot of a workspace; close it, or use it in a `with`."""

    def __init__(self, workspace: Workspace) -> None:
        import duckdb

        self.workspace = workspace
        self._errors = duckdb.Error
        self._connection = duckdb.connect(
            ":memory:",
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"},
        )
        folder = str(workspace.path).replace("'", "''")
        self._connection.execute(f"SET allowed_directories = ['{folder}']")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._origins: dict[str, str] = {}
        try:
            self._connection.execute(f"CREATE VIEW images AS {self._view()}")
        except duckdb.Error as error:
            raise DamagedWorkspace(
                f"cannot read the tables of {workspace.path}: {_line(error)}; `curator verify` finds which"
            ) from error

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def columns(self) -> list[Column]:
        """Every column with its type and where it comes from."""
        described = self._connection.execute("DESCRIBE images").fetchall()
        return [Column(name, kind, self._origins.get(name, "samples")) for name, kind, *_ in described]

    def rows_where(self, predicate: str | None) -> IntArray:
        """Rows for which a SQL predicate holds, increasing; all rows for None.

        Raises:
            BadFilter: the predicate does not parse or run.
        """
        table = self.table(["row"], where=predicate)
        return np.asarray(table["row"].to_numpy(), np.int64)

    def table(
        self, columns: list[str] | None = None, *, where: str | None = None, rows: IntArray | None = None
    ) -> pa.Table:
        """Columns of the rows asked for, in row order.

        Raises:
            UnknownColumn: a column that is not there.
            BadFilter: the predicate does not parse or run.
        """
        names = [column.name for column in self.columns()]
        for name in columns or []:
            self._check(name, names)
        chosen = "*" if columns is None else ", ".join(_quoted(name) for name in columns)
        conditions = [f"({where})"] if where else []
        parameters: list[Any] = []
        if rows is not None:
            conditions.append("row IN (SELECT unnest(?::BIGINT[]))")
            parameters.append([int(row) for row in rows])
        tail = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        try:
            query = f"SELECT {chosen} FROM images{tail} ORDER BY row"
            return self._connection.sql(query, params=parameters).to_arrow_table()
        except self._errors as error:
            if where is None:
                raise DamagedWorkspace(f"cannot read the tables of {self.workspace.path}: {_line(error)}") from error
            raise BadFilter(
                f"cannot use the filter {where!r}: {_line(error)}; it is a SQL condition over the columns that "
                "`curator columns` lists, e.g. \"brightness < 0.3 and label = 'car'\""
            ) from error

    def _check(self, name: str, names: list[str]) -> None:
        if name not in names:
            import difflib

            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UnknownColumn(f"no column {name!r} in {self.workspace.path}; {hint}`curator columns` lists all")

    def _view(self) -> str:
        samples = self._files("samples")
        if not samples:
            empty = ", ".join(
                f"NULL::{_EMPTY_TYPES.get(name, 'VARCHAR')} AS {_quoted(name)}" for name in SAMPLE_COLUMNS
            )
            return f"SELECT {empty} WHERE false"
        taken = set(self._described(samples))
        has_pixels = bool(self.workspace.entries("columns/pixels"))
        out = ["s.* EXCLUDE (reason, message)", "s.labels[1] AS label"]
        joins = []
        for at, name in enumerate(self.workspace.names("columns")):
            source = self._files(f"columns/{name}")
            joins.append(f"LEFT JOIN {source} c{at} USING (row)")
            for field in self._described(source):
                if field == "row" or (name == "pixels" and field in ("reason", "message")):
                    continue
                shown = f"{name}_{field}" if field in taken else field
                taken.add(shown)
                self._origins[shown] = name
                out.append(f"c{at}.{_quoted(field)} AS {_quoted(shown)}")
            if name == "pixels":
                out += [f"coalesce(s.{field}, c{at}.{field}) AS {field}" for field in ("reason", "message")]
        for at, name in enumerate(self.workspace.names("splits")):
            joins.append(f"LEFT JOIN {self._files(f'splits/{name}')} p{at} USING (row)")
            shown = f"split_{name}"
            shown = f"{shown}_made" if shown in taken else shown
            self._origins[shown] = "splits"
            out.append(f"p{at}.split AS {_quoted(shown)}")
        if not has_pixels:
            out += ["s.reason", "s.message"]
        return f"SELECT {', '.join(out)} FROM {samples} s {' '.join(joins)}"

    def _files(self, key: str) -> str:
        paths = [self.workspace.file(entry) for entry in self.workspace.entries(key)]
        if not paths:
            return ""
        listed = ", ".join(_literal(path) for path in paths)
        return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"

    def _described(self, source: str) -> list[str]:
        return [row[0] for row in self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]


_EMPTY_TYPES = {
    "row": "BIGINT", "offset": "BIGINT", "size_bytes": "BIGINT", "time_s": "DOUBLE", "modified": "DOUBLE",
    "labels": "VARCHAR[]",
}  # fmt: skip


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
