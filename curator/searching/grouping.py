"""Groups that hits are thinned by: near-duplicates, videos, or the values of any column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import IntArray
from curator.errors import BadQuery, StageMissing
from curator.searching.columns import Columns

NEARDUP, VIDEO = "neardup", "video"


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each row is in."""

    codes: IntArray  # (n_rows,) from 0
    n: int  # codes there are
    names: Any  # (n,) what each code stands for, plain values

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return int(self.codes.nbytes)


def groups_of(columns: Columns, by: str) -> Groups:
    """Groups by `neardup`, `video` or a column, computed once.

    Raises:
        StageMissing: near-duplicates have not been looked for.
        UnknownColumn: no such column.
        BadQuery: a column of lists.
    """
    found: Groups = columns.derived("groups", by, lambda: _groups(columns, by))
    return found


def _groups(columns: Columns, by: str) -> Groups:
    if by == NEARDUP:
        return _of_representatives(columns)
    if by == VIDEO:
        return _of_videos(columns)
    return _of_values(columns, by)


def _of_representatives(columns: Columns) -> Groups:
    """The kept row stands for the group; a row without one is alone."""
    if not columns.has("representative"):
        raise StageMissing("group_by neardup needs near-duplicates; run `curator neardups` on the workspace first")
    kept = columns.column("representative").fill_null(-1).to_numpy().astype(np.int64)
    own = np.arange(columns.n_rows)
    codes = np.where(kept >= 0, kept, own)
    return Groups(codes, columns.n_rows, own)


def _of_videos(columns: Columns) -> Groups:
    """Frames of one file together; a picture that is no frame is alone, named by its uri."""
    import pyarrow.compute as pc

    columns.load(["file", "kind", "uri"])
    files = columns.column("file").dictionary_encode().combine_chunks()
    is_frame = np.asarray(pc.fill_null(pc.equal(columns.column("kind"), "frame"), False).to_numpy(), np.bool_)
    names = files.dictionary.to_pylist()
    code = files.indices.to_numpy().astype(np.int64)
    codes = np.where(is_frame, code, len(names) + np.arange(columns.n_rows))
    return Groups(codes, len(names) + columns.n_rows, _VideoNames(names, columns))


@dataclass(frozen=True, slots=True)
class _VideoNames:
    """Files first, then the uri of every row."""

    files: list[str]
    columns: Columns

    def __getitem__(self, code: int) -> str:
        if code < len(self.files):
            return self.files[code]
        return str(self.columns.column("uri")[int(code) - len(self.files)].as_py())


def _of_values(columns: Columns, by: str) -> Groups:
    codes, values = coded(columns, by)
    missing = codes < 0
    return Groups(np.where(missing, len(values), codes), len(values) + 1, [*values, None])


def coded(columns: Columns, name: str) -> tuple[IntArray, list[Any]]:
    """(n_rows,) int64 number of each row's value, -1 where it is missing; and the values.

    Raises:
        UnknownColumn: no such column.
        BadQuery: a column of lists.
    """

    def make() -> tuple[IntArray, list[Any]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        column = columns.column(name)
        kind = column.type
        if pa.types.is_nested(kind):
            raise BadQuery(f"column {name!r} holds lists, so a row has no one value of it to group by")
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        encoded = pa.chunked_array([column.combine_chunks()]).dictionary_encode().combine_chunks()
        codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
        return codes, encoded.dictionary.to_pylist()

    found: tuple[IntArray, list[Any]] = columns.derived("codes", name, make)
    return found


@dataclass(slots=True)
class Seen:
    """The best of each group met on a walk, in the order of meeting."""

    rows: list[int]
    similarity: list[float]
    codes: list[int]
    members: dict[int, int]


def best_of_groups(blocks: Iterator[tuple[IntArray, Any]], groups: Groups, wanted: int, floor: float | None) -> Seen:
    """Walk until `wanted` groups were met, or nothing is left at or above the floor.

    Args:
        blocks: rows and similarities, best first.
    """
    seen = Seen([], [], [], {})
    for rows, similarity in blocks:
        if floor is not None:
            reach = similarity >= floor
            rows, similarity = rows[reach], similarity[reach]
            is_last = not reach.all()
        else:
            is_last = False
        codes = groups.codes[rows]
        found, first, count = np.unique(codes, return_index=True, return_counts=True)
        for code, at, n in sorted(zip(found.tolist(), first.tolist(), count.tolist(), strict=True), key=lambda x: x[1]):
            if code not in seen.members:
                seen.members[code] = 0
                seen.rows.append(int(rows[at]))
                seen.similarity.append(float(similarity[at]))
                seen.codes.append(code)
            seen.members[code] += n
        if len(seen.rows) >= wanted or is_last:
            break
    return seen
