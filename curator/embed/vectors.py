"""`vectors:FILE`: embeddings that people bring along, from .npy or Parquet.

A .npy file holds (n, d) numbers; its ids are 0..n-1, or the lines of FILE.ids.txt, or the list
in FILE.ids.json. A Parquet file holds one vector per line in a list column, and an id column.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray
from curator.embed.base import ModelInfo, unit_rows
from curator.errors import BadEmbeddings

VERSION = 1
THRESHOLD = 0.95  # a plain starting value; spaces differ widely, and so do data sets
ID_COLUMNS = ("uri", "file", "row", "id")
VECTOR_COLUMNS = ("vector", "vectors", "embedding", "embeddings")

Ids = list[int] | list[str]


def read_vectors(path: str | Path) -> tuple[Ids, FloatArray]:
    """Read vectors and the ids they belong to.

    Args:
        path: a .npy or .parquet file.

    Returns:
        The ids: whole numbers are rows, text is a uri or file. And (n, d) float32 unit vectors; a row that is
        null, zero or not finite is NaN, a fault of that row alone.

    Raises:
        BadEmbeddings: the file is missing or of another kind, vectors are not all of one length,
            or ids are missing, repeated or of another number.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise BadEmbeddings(
            f"vectors in {path}: expected a .npy or .parquet file, found {path.suffix or 'no suffix'!r}"
        )
    if not path.is_file():
        raise BadEmbeddings(f"no vectors at {path}; expected a .npy or .parquet file")
    ids, features = readers[path.suffix](path)
    if features.shape[1] == 0:
        raise BadEmbeddings(f"vectors in {path} have 0 numbers each; expected at least 1")
    _check_ids(ids, len(features), path)
    return ids, unit_rows(features)


def info(model: str, path: Path) -> ModelInfo:
    """What is known of a vector file before it is read."""
    return ModelInfo(
        name=model,
        what="vectors from a file, by row, uri or file name",
        licence="your own",
        threshold=THRESHOLD,
        available=path.is_file(),
        why_not="" if path.is_file() else f"no file {path}",
    )


def fingerprint_of(path: Path) -> str:
    """Digest of the vectors and of the ids beside them.

    Raises:
        BadEmbeddings: the file cannot be read.
    """
    whole = hashlib.sha256()
    try:
        for each in (path, *_id_files(path)):
            with each.open("rb") as file:
                while block := file.read(1 << 20):
                    whole.update(block)
    except OSError as error:
        raise BadEmbeddings(f"cannot read vectors {path}: {error}") from error
    return f"vectors/{whole.hexdigest()[:16]}/v{VERSION}"


def _read_npy(path: Path) -> tuple[Ids, NDArray[Any]]:
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadEmbeddings(f"cannot read {path} as a .npy array of numbers: {error}") from error
    if not isinstance(features, np.ndarray) or features.ndim != 2 or features.dtype.kind not in "fiu":
        found = f"{features.shape} {features.dtype}" if isinstance(features, np.ndarray) else "an archive"
        raise BadEmbeddings(f"{path} holds {found}; expected (n, d) numbers, one row per image")
    beside = _id_files(path)
    return (_read_ids(beside[0]) if beside else list(range(len(features)))), features


def _id_files(path: Path) -> list[Path]:
    """FILE.npy.ids.txt or .json, or the same without .npy; the first that exists."""
    names = [f"{stem}.ids.{kind}" for stem in (path.name, path.stem) for kind in ("txt", "json")]
    return [path.with_name(name) for name in names if path.with_name(name).is_file()][:1]


def _read_ids(path: Path) -> Ids:
    try:
        text = path.read_text(encoding="utf-8")
        ids = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise BadEmbeddings(f"cannot read ids from {path}: {error}") from error
    if not isinstance(ids, list) or not _of_one_kind(ids):
        raise BadEmbeddings(f"{path} does not hold a list of ids; expected all text or all whole numbers")
    return ids


def _read_parquet(path: Path) -> tuple[Ids, NDArray[Any]]:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, arrow.ArrowInvalid) as error:
        raise BadEmbeddings(f"cannot read {path} as Parquet: {error}") from error
    id_column = next((name for name in ID_COLUMNS if name in table.column_names), None)
    if id_column is None:
        raise BadEmbeddings(
            f"no id column in {path}, which has {', '.join(table.column_names)}; "
            f"expected one of {', '.join(ID_COLUMNS)}"
        )
    ids = table.column(id_column).to_pylist()
    if not _of_one_kind(ids):
        raise BadEmbeddings(f"column {id_column!r} of {path} is not all text or all whole numbers")
    name = _vector_column(table, path)
    return ids, _as_matrix(table.column(name).combine_chunks(), name, path)


def _vector_column(table: Any, path: Path) -> str:
    import pyarrow.types as types

    lists = [
        field.name
        for field in table.schema
        if (types.is_list(field.type) or types.is_large_list(field.type) or types.is_fixed_size_list(field.type))
        and (types.is_floating(field.type.value_type) or types.is_integer(field.type.value_type))
    ]
    named = [name for name in lists if name in VECTOR_COLUMNS]
    if len(named) == 1 or (not named and len(lists) == 1):
        return str((named or lists)[0])
    raise BadEmbeddings(
        f"{path} has {len(lists)} list columns of numbers ({', '.join(lists) or 'none'}); "
        f"expected one, or one of them named {', '.join(VECTOR_COLUMNS)}"
    )


def _as_matrix(column: Any, name: str, path: Path) -> NDArray[Any]:
    """A list column as (n, d); a null vector or null number becomes NaN."""
    import pyarrow.types as types

    there = np.asarray(column.is_valid())  # (n,)
    if types.is_fixed_size_list(column.type):
        dim = column.type.list_size
    else:
        lengths = np.asarray(column.drop_null().value_lengths())
        if len(lengths) and lengths.min() != lengths.max():
            odd = int(np.flatnonzero(there)[np.argmax(lengths != lengths[0])])
            raise BadEmbeddings(
                f"vectors in column {name!r} of {path} have {lengths.min()} to {lengths.max()} numbers; "
                f"expected all alike (line {odd + 1} differs from the first)"
            )
        dim = int(lengths[0]) if len(lengths) else 1
    features = np.full((len(column), dim), np.nan, np.float32)
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    features[there] = np.asarray(values, np.float32).reshape(-1, dim)
    return features


def _of_one_kind(ids: list[Any]) -> bool:
    return all(isinstance(each, str) for each in ids) or all(type(each) is int for each in ids)


def _check_ids(ids: Ids, n: int, path: Path) -> None:
    if len(ids) != n:
        raise BadEmbeddings(f"{n} vectors in {path} but {len(ids)} ids; expected one id per vector")
    if len(set(ids)) < n:
        seen: set[int | str] = set()
        twice = next(each for each in ids if each in seen or seen.add(each))  # type: ignore[func-returns-value]
        raise BadEmbeddings(f"id {twice!r} comes more than once in {path}; expected each id once")
