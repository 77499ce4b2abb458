"""Groups that hits are thinned by: near-duplicates, videos, or the values of any column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import IntArray
from curator.errors import BadQuery, StageMissing
from curator.searching.columns import Columns

NEARDUP, VIDEO = "neardup", "video"
LOOKED_AT = 2_000  # rows met one by one before everything is compared instead


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


@dataclass(frozen=True, slots=True)
class Best:
    """The best of each group met, best first."""

    rows: list[int]
    similarity: list[float]
    codes: list[int]
    members: dict[int, int]  # how many of each group were met


def best_of_groups(
    blocks: Iterator[tuple[IntArray, Any]],
    groups: Groups,
    wanted: int,
    floor: float | None,
    everything: Callable[[], tuple[tuple[IntArray, Any], IntArray]],
) -> Best:
    """Walk until `wanted` groups were met or none is left at or above the floor; in the end compare everything.

    Args:
        blocks: rows and similarities, best first.
        wanted: no more than there are.
        everything: the best row of each group with its similarity, and how many rows each group has; asked for where
            `LOOKED_AT` rows do not hold enough groups.
    """
    best = Best([], [], [], {})
    n_looked_at = 0
    for rows, similarity in blocks:
        reach = np.ones(len(rows), np.bool_) if floor is None else similarity >= floor
        _meet(best, groups.codes[rows[reach]], rows[reach], similarity[reach])
        n_looked_at += len(rows)
        if len(best.rows) >= wanted or not reach.all():
            return best
        if n_looked_at >= LOOKED_AT:
            break
    (rows, similarity), sizes = everything()
    reach = np.ones(len(rows), np.bool_) if floor is None else similarity >= floor
    codes = groups.codes[rows]
    _meet(best, codes[reach], rows[reach], similarity[reach])
    best.members.update(zip(codes[reach].tolist(), sizes[reach].tolist(), strict=True))
    return best


def _meet(best: Best, codes: IntArray, rows: IntArray, similarity: Any) -> None:
    """Take over a further block, best first."""
    found, first, count = np.unique(codes, return_index=True, return_counts=True)
    for at in np.argsort(first).tolist():
        code, place = int(found[at]), int(first[at])
        if code not in best.members:
            best.members[code] = 0
            best.rows.append(int(rows[place]))
            best.similarity.append(float(similarity[place]))
            best.codes.append(code)
        best.members[code] += int(count[at])
