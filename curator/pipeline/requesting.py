"""From the configuration to a selection request: columns, files and other selections, read into arrays.

What a setting names (a column, a file, a selection, rows) becomes one value per
image here; the pure modules of `selection` see nothing but arrays.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import embed, selection
from curator.catalog import Catalog
from curator.config import Config
from curator.config import Strategy as Wish
from curator.data import Embeddings, FloatArray, IntArray
from curator.errors import BadConfig, BadSelection, DamagedWorkspace, StageMissing, UnknownColumn
from curator.pipeline import filtering
from curator.pipeline.calibrating import threshold_of
from curator.pipeline.derive import floats, rows_table
from curator.selection import targets, uncertainty
from curator.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = (".npy", ".parquet", ".csv")  # files of scores or probabilities


def limits(workspace: Workspace, embeddings: Embeddings, config: Config) -> dict[str, Any]:
    """The parts of a `selection.Request` that say what is wished and what is not allowed."""
    asked = config.select
    cosine = threshold(workspace, embeddings, config)
    has_stop = asked.stop_coverage is not None or asked.stop_gain is not None
    wishes = tuple(_strategy(workspace, embeddings, wish) for wish in asked.strategies)
    apart = [wish.min_distance for wish in asked.strategies if wish.min_distance is not None]
    scores = None
    if asked.method == "uncertainty" and asked.scores is not None:
        scores = scores_of(workspace, embeddings, asked.scores, asked.uncertainty, key="select.scores")
    return {
        "groups": groups(workspace, embeddings.rows, asked.per_group),
        "quotas": quotas(workspace, config) if asked.per_group else None,
        "strategies": wishes,
        "scores": scores,
        "threshold": cosine,
        "min_distance": max([asked.min_distance, *apart]),
        "spacing": spacing(workspace, embeddings.rows, asked.spacing_s) if asked.spacing_s else None,
        "stop": selection.Stop(asked.stop_coverage, cosine, asked.stop_gain) if has_stop else None,
        "redundancy": asked.redundancy,
    }


def stamp(workspace: Workspace, config: Config) -> list[Any]:
    """What a selection depends on besides its settings and the stages before it: files, selections, columns."""
    asked = config.select
    named = [asked.preselected, asked.scores, *(str(wish.to) for wish in asked.strategies if wish.to is not None)]
    named += [wish.column for wish in asked.strategies]
    named += [asked.quotas] if isinstance(asked.quotas, str) else []
    named += [wish.target for wish in asked.strategies if isinstance(wish.target, str)]
    reads_columns = bool(asked.where or asked.filter or asked.per_group or asked.scores or asked.strategies)
    others = [f"columns/{name}" for name in workspace.names("columns") if name in ("issues", "map")]
    others += [f"splits/{name}" for name in workspace.names("splits")]
    is_copies = asked.threshold is None and config.neardups.space == "copies"
    return [
        [_stamp_of(workspace, name) for name in named if name],
        [entry.fingerprint for key in others for entry in workspace.entries(key)] if reads_columns else [],
        *([_own_stamp(workspace, config)] if is_copies else []),
        *filtering.stamp(workspace, asked),
    ]


def _stamp_of(workspace: Workspace, named: str) -> list[Any]:
    for prefix in ("selection:", "like:"):
        if named.startswith(prefix):
            return [entry.fingerprint for entry in workspace.entries(f"selections/{named.removeprefix(prefix)}")]
    path = Path(named)
    return [path.stat().st_mtime, path.stat().st_size] if path.is_file() else []


def threshold(workspace: Workspace, embeddings: Embeddings, config: Config) -> float:
    """Cosine from which a pick stands for an image.

    As configured; else the one near-duplicates were decided with, unless that was in the metric for
    copies, where a cosine means something else: then the one calibrated for the model's own vectors,
    else the model's plain default. Evidence measures with the same one.
    """
    if config.select.threshold is not None:
        return config.select.threshold
    entries = workspace.entries("columns/neardup")
    meta = entries[0].meta if entries else {}
    if meta and meta.get("metric", meta["space"]) == embeddings.space:
        return float(meta["threshold"])
    return _own_threshold(workspace, config)


def _own_stamp(workspace: Workspace, config: Config) -> float | None:
    """The same as far as it is known; none where the calibration cannot be read, which the stage itself says."""
    try:
        return _own_threshold(workspace, config)
    except DamagedWorkspace:
        return None


def _own_threshold(workspace: Workspace, config: Config) -> float:
    """The calibrated threshold of the model's own vectors, else the model's plain default."""
    named = config.neardups.threshold
    own = {"space": "model", "threshold": named if isinstance(named, str) else "self"}
    plain = config.model_copy(update={"neardups": config.neardups.model_copy(update=own)})
    with suppress(StageMissing):
        return threshold_of(workspace, plain)[0]
    return float(embed.describe(config.embed.model).threshold)


# -- rows ---------------------------------------------------------------------------------------------------------


def rows_named(workspace: Workspace, asked: str, *, key: str) -> IntArray:
    """Rows that a setting names: labelled, column:NAME, selection:NAME, or a file of uris and rows.

    Raises:
        BadConfig: none of these, or a line of the file that names no row.
    """
    if asked == "labelled":
        with Catalog(workspace) as catalog:
            return catalog.rows_where("len(labels) > 0")
    if asked.startswith("column:"):
        name = asked.partition(":")[2]
        with Catalog(workspace) as catalog:
            table = catalog.table(list(dict.fromkeys(["row", name])))
        kept = [row for row, value in zip(table["row"].to_pylist(), table[name].to_pylist(), strict=True) if value]
        return np.asarray(kept, np.int64)
    if asked.startswith("selection:"):
        return workspace.selection(asked.partition(":")[2]).rows
    return _rows_from_file(workspace, Path(asked), key=key)


def _rows_from_file(workspace: Workspace, path: Path, *, key: str) -> IntArray:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(
            f"{key}: cannot read {str(path)!r} ({error}); expected column:NAME, selection:NAME, labelled, "
            "or a file with one uri or row number a line"
        ) from error
    table = workspace.table("samples", ["row", "uri"])
    by_uri = dict(zip(table["uri"].to_pylist(), table["row"].to_pylist(), strict=True))
    rows = []
    for line in lines:
        if line in by_uri:
            rows.append(by_uri[line])
        elif line.isascii() and line.isdecimal():
            rows.append(workspace.check_row(int(line)))
        else:
            raise BadConfig(f"{key}: {line!r} in {path} is no uri and no row of {workspace.path}")
    return np.asarray(rows, np.int64)


# -- strategies ---------------------------------------------------------------------------------------------------


def _strategy(workspace: Workspace, embeddings: Embeddings, wish: Wish) -> selection.Strategy:
    parts: dict[str, Any] = {}
    if wish.kind in ("weights", "threshold") and wish.column is not None:
        parts["values"] = floats(rows_table(workspace, embeddings.rows, [wish.column]), wish.column)
    elif wish.kind == "uncertainty" and wish.column is not None:
        key = "select.strategies: uncertainty"
        parts["values"] = scores_of(workspace, embeddings, wish.column, wish.measure, key=key)
    elif wish.kind == "similarity":
        parts["queries"] = _queries(workspace, embeddings, wish)
    elif wish.kind == "balance":
        parts["groups"] = groups(workspace, embeddings.rows, wish.column)
        parts["target"] = _target(workspace, wish)
    low, high = wish.min, wish.max
    if wish.strict:
        low = None if low is None else float(np.nextafter(low, np.inf))
        high = None if high is None else float(np.nextafter(high, -np.inf))
    return selection.Strategy(
        wish.kind, wish.strength, minimum=low, maximum=high, scale=wish.scale, name=_about(wish), **parts
    )


def _about(wish: Wish) -> str:
    """What a strategy is about, in a sentence."""
    return str(wish.to) if wish.kind == "similarity" else wish.column or ""


def _queries(workspace: Workspace, embeddings: Embeddings, wish: Wish) -> FloatArray:
    """Vectors to be similar to, (q, d)."""
    to = str(wish.to)
    if to.isascii() and to.isdecimal():
        rows = np.asarray([workspace.check_row(int(to))], np.int64)
    else:
        rows = np.unique(rows_named(workspace, to, key="select.strategies: similarity"))
    positions = embeddings.positions_of(rows)
    found: FloatArray = embeddings.vectors[positions[positions >= 0]]
    if len(found) == 0:
        raise BadConfig(
            f"select.strategies: similarity to {to!r}, but none of its {len(rows):,} images has a vector in "
            f"{embeddings.space}; name others"
        )
    return found


# -- groups, quotas and targets -------------------------------------------------------------------------------------


def groups(workspace: Workspace, rows: IntArray, column: str | None) -> list[str | None] | None:
    """The value of a column for each row, as text; None for no column.

    Raises:
        UnknownColumn: there is no such column, or it holds lists.
    """
    if column is None:
        return None
    values = rows_table(workspace, rows, [column])[column].to_pylist()
    if any(isinstance(value, list | dict) for value in values):
        raise UnknownColumn(f"column {column!r} holds lists; quotas need one value per image, e.g. cluster or label")
    return [None if value is None else str(value) for value in values]


def quotas(workspace: Workspace, config: Config) -> selection.Quotas:
    """The quotas as the selection takes them."""
    asked, column = config.select.quotas, config.select.per_group
    if isinstance(asked, dict):
        shares = targets.parse(asked)
        return {str(group): int(n) for group, n in asked.items()} if shares is None else selection.Target(shares)
    if asked.startswith("like:"):
        return _like(workspace, asked, str(column), key="select.quotas")
    return "equal" if asked == "equal" else "proportional"


def _target(workspace: Workspace, wish: Wish) -> Any:
    """The target of a balance: shares, or whole numbers as ratios."""
    asked = wish.target
    if isinstance(asked, str):
        if asked.startswith("like:"):
            return _like(workspace, asked, str(wish.column), key="select.strategies: balance")
        return {"equal": "uniform"}.get(asked, asked)
    shares = targets.parse(asked)
    if shares is None:
        total = sum(asked.values())
        shares = {group: n / total for group, n in asked.items()} if total > 0 else {}
    return selection.Target({str(group): share for group, share in shares.items()})


def _like(workspace: Workspace, asked: str, column: str, *, key: str) -> selection.Target:
    """The distribution of a column in a selection (like:NAME) or where a condition holds (like:where:SQL)."""
    what = asked.removeprefix("like:")
    if what.startswith("where:"):
        with Catalog(workspace) as catalog:
            rows = catalog.rows_where(what.removeprefix("where:"))
    else:
        rows = np.sort(workspace.selection(what).rows)
    if len(rows) == 0:
        raise BadConfig(f"{key}: {asked!r} holds no image; name a set with images in it")
    return selection.like(groups(workspace, rows, column) or [], of=what)


# -- scores -------------------------------------------------------------------------------------------------------


def scores_of(workspace: Workspace, embeddings: Embeddings, asked: str, measure: str, *, key: str) -> FloatArray:
    """One score per image, (n,); nan where there is none.

    One column or one number per line is a score as it is; several are probabilities, turned into
    entropy or margin. A .npy has a line per row of the workspace, or per readable image; a table
    names its images by `row` or `uri`.

    Raises:
        BadConfig: the file cannot be read or is about other images.
        UnknownColumn: there is no such column, or it does not hold numbers.
    """
    suffix = Path(asked).suffix.lower()
    if suffix == ".npy":
        found = _from_npy(workspace, embeddings, Path(asked), key=key)
    elif suffix in TABLES:
        found = _from_table(workspace, embeddings, Path(asked), key=key)
    else:
        names = [name.strip() for name in asked.split(",")]
        table = rows_table(workspace, embeddings.rows, names)
        found = np.stack([floats(table, name) for name in names], axis=1)  # (n, c)
    if found.shape[1] == 1:
        return found[:, 0].copy()
    score = np.full(len(found), np.nan, np.float32)
    whole = ~np.isnan(found).any(axis=1)
    try:
        score[whole] = (uncertainty.entropy if measure == "entropy" else uncertainty.margin)(found[whole])
    except BadSelection as error:
        raise BadConfig(f"{key}: {asked}: {error}") from error
    return score


def _from_npy(workspace: Workspace, embeddings: Embeddings, path: Path, *, key: str) -> FloatArray:
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadConfig(f"{key}: cannot read {str(path)!r}: {error}") from error
    if stored.ndim not in (1, 2) or len(stored) not in (workspace.n_rows, len(embeddings)):
        raise BadConfig(
            f"{key}: {str(path)!r} has shape {stored.shape}; expected a line for each of the {workspace.n_rows:,} rows "
            f"or of the {len(embeddings):,} images with a vector"
        )
    if stored.dtype.kind not in "fiub":
        raise BadConfig(f"{key}: {str(path)!r} holds {stored.dtype}; expected numbers")
    values = np.asarray(stored, np.float32).reshape(len(stored), -1)
    return values[embeddings.rows] if len(stored) == workspace.n_rows else values


def _from_table(workspace: Workspace, embeddings: Embeddings, path: Path, *, key: str) -> FloatArray:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        read = pa.parquet.read_table if path.suffix.lower() == ".parquet" else pa.csv.read_csv
        table: pa.Table = read(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadConfig(f"{key}: cannot read {str(path)!r}: {error}") from error
    which = next((name for name in ("row", "uri") if name in table.column_names), None)
    numbers = [n for n in table.column_names if n not in ("row", "uri") and _is_number(table.schema.field(n).type)]
    if which is None or not numbers:
        raise BadConfig(
            f"{key}: {str(path)!r} has the columns {', '.join(table.column_names)}; expected row or uri, and a "
            "score or one probability per class"
        )
    named = table[which].to_pylist()
    twice = next((name for name, count in Counter(named).items() if count > 1), None)
    if twice is not None:
        raise BadConfig(f"{key}: {str(path)!r} names {which} {twice!r} more than once; expected one line per image")
    if which == "uri":
        samples = workspace.table("samples", ["row", "uri"])
        by_uri = dict(zip(samples["uri"].to_pylist(), samples["row"].to_pylist(), strict=True))
        named = [by_uri.get(uri, -1) for uri in named]
    elif not pa.types.is_integer(table.schema.field("row").type):
        raise BadConfig(f"{key}: column 'row' of {str(path)!r} is {table.schema.field('row').type}; expected integers")
    unknown = [row for row in named if row is None or not -1 <= row < workspace.n_rows]
    if unknown:
        raise BadConfig(
            f"{key}: {str(path)!r} names row {unknown[0]!r}; rows are 0 to {workspace.n_rows - 1}: "
            "is it about another workspace?"
        )
    at = embeddings.positions_of(np.asarray(named, np.int64))
    if not (at >= 0).any():
        raise BadConfig(f"{key}: no {which} of {str(path)!r} is an image of {workspace.path} with a vector")
    out = np.full((len(embeddings), len(numbers)), np.nan, np.float32)
    out[at[at >= 0]] = np.stack([floats(table, name) for name in numbers], axis=1)[at >= 0]
    return out


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


# -- clips --------------------------------------------------------------------------------------------------------


def spacing(workspace: Workspace, rows: IntArray, seconds: float) -> selection.Spacing:
    """Clip and time of each image; one that is no frame of a video is of no clip."""
    table = rows_table(workspace, rows, ["kind", "file", "time_s"])
    files = table["file"].to_pylist()
    times = np.asarray([np.nan if t is None else t for t in table["time_s"].to_pylist()], np.float64)
    numbers: dict[str, int] = {}
    clips = np.full(len(rows), -1, np.int64)
    for at, (file, kind) in enumerate(zip(files, table["kind"].to_pylist(), strict=True)):
        if kind == "frame" and not np.isnan(times[at]):
            clips[at] = numbers.setdefault(file, len(numbers))
    return selection.Spacing(clips, times, seconds)
