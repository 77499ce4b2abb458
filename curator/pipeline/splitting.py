"""Splits of a workspace: who belongs together by which columns, where each goes, and proof that nothing leaks.

A split is a table `splits/<name>` of row and part, shown in the catalogue as column `split_<name>`.
Whoever has no vector (unreadable, or gone) has no part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator import embed, splits
from curator.catalog import Catalog
from curator.config import Config, from_dict
from curator.data import Embeddings, IntArray, Neighbors, Progress, no_progress
from curator.errors import CuratorError, DataError, StageMissing, UsageError
from curator.hashing import hamming_components
from curator.pipeline.calibrating import metric_of, threshold_of
from curator.pipeline.derive import rows_table, threads
from curator.pipeline.leaking import hashes_of
from curator.snapshot import Entry, fingerprint
from curator.workspace import Workspace, Writer

Numbers = dict[str, Any]

NEARDUP, VIDEO, FOLDER, LOOK = "neardup", "video", "folder", "look"
"""Grouping keys that are no columns: pairs at or above the threshold, frames of one video, files of one folder,
and perceptual hashes a few bits apart."""

LOOK_BITS = 4  # of 64 in which the hashes of a pair that looks the same may differ
COPIES = ".copies"  # ends the name of a space that the metric for copies made
MAX_PARTS = 50  # of an existing split; more is no split
MAX_VALUES = 1_000  # of a balanced column; more is no category
BINS = 5  # equally full ones, for numbers
SIZE_TOLERANCE = 0.01  # share of all rows a part's size may be off before it is said
BALANCE_TOLERANCE = 0.05  # distance of a part to the whole below which nothing is said
NAMED = 5  # values listed in a sentence


@dataclass(frozen=True, slots=True)
class Split:
    """What `split` made."""

    name: str
    rows: IntArray  # (n,) increasing
    parts: tuple[str, ...]  # (n,) of each row
    meta: Numbers  # as stored: sizes, groups, balance, certificate, unmet, against


def split(writer: Writer, config: Config, progress: Progress = no_progress, *, against: str | None = None) -> Split:
    """Divide the rows so that nothing that belongs together is torn, check it, and store it.

    Args:
        against: column of an existing split to compare with; none: the samples' own, where there is one.

    Raises:
        UsageError: a column that cannot group or balance.
        BadSelection: ratios that cannot be read.
    """
    started = time.perf_counter()
    workspace, asked = writer.workspace, config.split
    _check_name(workspace, asked.name)
    shares = splits.parse_ratios(asked.ratios)
    names = list(shares)
    points, graph, threshold, origin = _points(workspace, config)
    keys = {name: codes_of(workspace, points.rows, name) for name in asked.group_by if name != NEARDUP}
    groups = _groups(workspace, points, graph, keys, threshold if NEARDUP in asked.group_by else None, config, progress)
    traits = [trait_of(workspace, points.rows, name) for name in asked.balance]
    fixed = part_codes(workspace, points.rows, asked.keep, names) if asked.keep else None
    chosen = splits.assign(groups, list(shares.values()), traits, rng=np.random.default_rng(config.seed), fixed=fixed)
    certificate = certify(points, chosen, names, keys, threshold, config, progress)
    certificate["promised"] = NEARDUP in asked.group_by
    balance = [splits.balance_of(trait, chosen, len(names)) for trait in traits]
    sizes = np.bincount(chosen, minlength=len(names))
    meta: Numbers = {
        "config": asked.model_dump(), "seed": config.seed, "space": points.space, "threshold": threshold,
        "threshold_origin": origin, "names": names, "shares": shares,
        "sizes": dict(zip(names, sizes.tolist(), strict=True)),
        "n_groups": int(groups.max(initial=-1)) + 1, "largest_group": int(np.bincount(groups).max(initial=0)),
        "balance": [one.to_dict(names) for one in balance], "certificate": certificate,
        "unmet": [*_unmet_sizes(groups, sizes, shares, keys), *_unmet_balance(balance, names, sizes),
                  *_unmet_kept(chosen, fixed, asked.keep)],
        "against": _against(workspace, points, chosen, names, against, threshold, config, progress),
    }  # fmt: skip
    parts = tuple(names[code] for code in chosen.tolist())
    _write(writer, asked.name, points.rows, parts, meta, config, time.perf_counter() - started)
    return Split(asked.name, points.rows, parts, meta)


def check(workspace: Workspace) -> list[str]:
    """What does not hold of the stored splits, a sentence each; empty where all is well.

    Recomputed from the vectors and tables: no row twice, no group torn, and no pair across parts at or
    above the threshold where that was promised. Rows that came later have no part, which is no fault.
    """
    faults: list[str] = []
    for name in workspace.names("splits"):
        try:
            faults += [f"split {name!r}: {fault}" for fault in _faults(workspace, name)]
        except CuratorError as error:
            faults.append(f"split {name!r} cannot be checked: {error}")
    return faults


def _faults(workspace: Workspace, name: str) -> list[str]:
    meta = workspace.entries(f"splits/{name}")[0].meta
    table = workspace.table(f"splits/{name}")
    rows = table["row"].to_numpy()
    if len(np.unique(rows)) != len(rows):
        return ["holds a row twice"]
    config = _as_then(workspace, meta)
    everyone = _vectors(workspace, str(meta["space"]).removesuffix(COPIES), config)
    at = everyone.positions_of(rows)
    here = at >= 0  # the others are gone by now
    points = Embeddings(rows[here], everyone.vectors[at[here]], everyone.space)
    code = {part: at for at, part in enumerate(meta["names"])}
    unknown = set(table["split"].unique().to_pylist()) - set(code)
    if unknown:
        return [f"holds the unknown part {min(map(str, unknown))!r}"]
    parts = np.asarray([code[part] for part in table["split"].to_pylist()], np.int64)[here]
    keys = {key: codes_of(workspace, points.rows, key) for key in meta["config"]["group_by"] if key != NEARDUP}
    found = certify(points, parts, meta["names"], keys, float(meta["threshold"]), config)
    faults = [f"{n} groups of {key} lie in two parts" for key, n in found["torn"].items() if n]
    if meta["certificate"]["promised"] and found["rows_across"]:
        faults.append(
            f"{found['rows_across']} rows have a near-duplicate at cosine {meta['threshold']:g} or above "
            "in another part"
        )
    return faults


def _as_then(workspace: Workspace, meta: Any) -> Config:
    """The configuration whose vectors a split was made from."""
    stored = {key: value for key, value in workspace.snapshot.config.items() if not key.startswith("_")}
    base = from_dict(stored)
    space = "copies" if str(meta["space"]).endswith(COPIES) else "model"
    return base.model_copy(update={"neardups": base.neardups.model_copy(update={"space": space})})


def certify(
    points: Embeddings,
    parts: IntArray,
    names: list[str],
    keys: dict[str, IntArray],
    threshold: float,
    config: Config,
    progress: Progress = no_progress,
) -> Numbers:
    """Count what lies across parts: rows with a near-duplicate in another part, and torn groups per key."""
    between: dict[str, int] = {}
    is_across = np.zeros(len(parts), bool)  # a row near two parts is one row
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            left, right = np.flatnonzero(parts == b), np.flatnonzero(parts == a)
            nearest, _ = splits.nearest_across(
                points.vectors, left, right, threshold, threads=threads(config), progress=progress
            )
            between[f"{names[a]}-{names[b]}"] = int((nearest >= 0).sum())
            is_across[left[nearest >= 0]] = True
    torn = {key: splits.torn_groups(codes, parts) for key, codes in keys.items()}
    return {
        "n": len(points), "threshold": threshold, "rows_across": int(is_across.sum()), "between": between,
        "torn": torn, "holds": not any(between.values()) and not any(torn.values()),
    }  # fmt: skip


# -- columns as groups and traits ---------------------------------------------------------------------------------


def codes_of(workspace: Workspace, rows: IntArray, key: str) -> IntArray:
    """(n,) code of each row under a grouping key; -1 where it has none and stands alone.

    Raises:
        UsageError: the column holds lists.
    """
    if key == VIDEO:
        table = rows_table(workspace, rows, ["kind", "file"])
        values = [file if kind == "frame" else None
                  for kind, file in zip(table["kind"].to_pylist(), table["file"].to_pylist(), strict=True)]  # fmt: skip
    elif key == LOOK:
        return _look(workspace, rows)
    elif key == FOLDER:
        values = [uri.rpartition("/")[0] for uri in rows_table(workspace, rows, ["uri"])["uri"].to_pylist()]
    else:
        values = rows_table(workspace, rows, [key])[key].to_pylist()
    if any(isinstance(value, list | dict) for value in values):
        raise UsageError(f"column {key!r} holds lists; grouping needs one value per image, e.g. {VIDEO} or label")
    code: dict[Any, int] = {}
    return np.asarray([-1 if value is None else code.setdefault(value, len(code)) for value in values], np.int64)


def _look(workspace: Workspace, rows: IntArray) -> IntArray:
    """(n,) group of the chain of alike hashes each row is in."""
    return hamming_components(hashes_of(rows_table(workspace, rows, ["phash"])["phash"]), LOOK_BITS)


def part_codes(workspace: Workspace, rows: IntArray, column: str, names: list[str]) -> IntArray:
    """(n,) index into `names` of each row's value in an existing split column; -1 for none and for other values."""
    code = {name: at for at, name in enumerate(names)}
    values = rows_table(workspace, rows, [column])[column].to_pylist()
    found = np.asarray([code.get(str(value), -1) for value in values], np.int64)
    if len(found) and not (found >= 0).any():
        there = sorted({str(value) for value in values if value is not None})[:NAMED]
        raise UsageError(
            f"column {column!r} holds none of {', '.join(names)} (found: {', '.join(there) or 'nothing'}); "
            "name the parts as it does, e.g. --ratios train=0.8,test=0.2"
        )
    return found


def trait_of(workspace: Workspace, rows: IntArray, column: str) -> splits.Trait:
    """A column as something to balance: `label` counts every label, numbers are cut into equally full bins.

    Raises:
        UsageError: more values than a category has.
    """
    import pyarrow as pa

    name = "labels" if column == "label" else column
    data = rows_table(workspace, rows, [name])[name]
    if pa.types.is_floating(data.type) or (pa.types.is_integer(data.type) and len(data.unique()) > 2 * BINS):
        return splits.trait_of(column, _binned(np.asarray(data.cast(pa.float64()).to_numpy(zero_copy_only=False))))
    values = [
        [] if value is None else [str(v) for v in value] if isinstance(value, list) else [str(value)]
        for value in data.to_pylist()
    ]
    trait = splits.trait_of(column, values)
    if len(trait.values) > MAX_VALUES:
        raise UsageError(
            f"column {column!r} has {len(trait.values)} values; balancing needs a category of at most {MAX_VALUES}: "
            "choose another column for split.balance"
        )
    return trait


def _binned(values: np.ndarray[Any, Any]) -> list[list[str]]:
    """Each number as the name of its bin, none where it is missing."""
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    names = [f"up to {edge:.4g}" for edge in edges] + ["above" if len(edges) else "all"]
    at = np.searchsorted(edges, values, side="left")
    return [[] if np.isnan(value) else [names[bin_]] for value, bin_ in zip(values, at.tolist(), strict=True)]


# -- parts of `split` ---------------------------------------------------------------------------------------------


def _check_name(workspace: Workspace, name: str) -> None:
    """Refuse a name whose column the images have already."""
    with Catalog(workspace) as catalog:
        taken = {column.name for column in catalog.columns() if column.origin != "splits"}
    if f"split_{name}" in taken:
        raise UsageError(f"the images have a column split_{name} of their own; choose another name for the split")


def _points(workspace: Workspace, config: Config) -> tuple[Embeddings, Neighbors | None, float, str]:
    """Vectors that near-duplicates are decided in, their graph where it fits, and the threshold with its origin."""
    points = _vectors(workspace, embed.space_name(config.embed.model), config)
    if not len(points):
        raise DataError(f"{workspace.path} has no readable image, so there is nothing to split")
    graph = None
    if workspace.entries(f"index/{points.space}"):
        rows, stored = workspace.neighbors(points.space)
        graph = stored if np.array_equal(rows, points.rows) else None
    threshold, origin = threshold_of(workspace, config)
    return points, graph, threshold, origin


def _vectors(workspace: Workspace, space: str, config: Config) -> Embeddings:
    if space not in workspace.names("vectors"):
        raise StageMissing(f"{workspace.path} has no vectors of {space!r}; run `curator embed -w {workspace.path}`")
    return metric_of(workspace, config, workspace.embeddings(space))


def _groups(
    workspace: Workspace,
    points: Embeddings,
    graph: Neighbors | None,
    keys: dict[str, IntArray],
    threshold: float | None,
    config: Config,
    progress: Progress,
) -> IntArray:
    forest = splits.Forest(len(points))
    for codes in keys.values():
        forest.join_equal(codes)
    if threshold is not None:
        forest.join_equal(codes_of(workspace, points.rows, "digest"))
        splits.join_near(forest, points.vectors, threshold, neighbors=graph, threads=threads(config), progress=progress)
    return forest.groups()


def _unmet_sizes(groups: IntArray, sizes: IntArray, shares: dict[str, float], keys: dict[str, IntArray]) -> list[str]:
    """Which parts are not as large as asked, and the group that stands in the way."""
    n, out = int(sizes.sum()), []
    for (name, share), size in zip(shares.items(), sizes.tolist(), strict=True):
        if size == 0:
            out.append(f"{name} is empty: there are not enough groups to divide")
        elif abs(size - share * n) > max(SIZE_TOLERANCE * n, 1.0):
            out.append(f"{name} has {size} rows, {size / n:.1%} of all; asked {share:.1%}")
    rows_of = np.bincount(groups)
    largest = int(rows_of.argmax())
    small = [name for name, share in shares.items() if rows_of[largest] > max(share * n, 1.0)]
    if small and out:  # where it found room no size was missed for it
        members = np.flatnonzero(groups == largest)
        held = [
            f"{len(np.unique(codes[members]))} of {key}" for key, codes in keys.items() if (codes[members] >= 0).all()
        ]
        out.insert(
            0,
            f"one group of {rows_of[largest]} rows, {rows_of[largest] / n:.0%} of all, cannot be divided"
            f"{' (it holds ' + ', '.join(held) + ')' if held else ''} and is larger than {', '.join(small)} asked for; "
            "a higher threshold or fewer grouping keys would make smaller groups",
        )
    return out


def _unmet_balance(balance: list[splits.Balance], names: list[str], sizes: IntArray) -> list[str]:
    """Which parts do not resemble the whole, and what they lack; empty ones were told of already."""
    out = []
    for one in balance:
        parts = [part for part in zip(names, one.distance, one.missing, sizes.tolist(), strict=True) if part[3]]
        far = [f"{name} {distance:.2f}" for name, distance, _, _ in parts if distance > BALANCE_TOLERANCE]
        if far:
            out.append(
                f"{one.name} is not balanced: distance to the whole {', '.join(far)} (0 alike, 1 nothing in common)"
            )
        for name, _, values, _ in parts:
            if values:
                shown = ", ".join(values[:NAMED]) + (", ..." if len(values) > NAMED else "")
                out.append(f"{name} has no row of {len(values)} values of {one.name}: {shown}")
    return out


def _unmet_kept(chosen: IntArray, fixed: IntArray | None, column: str | None) -> list[str]:
    moved = 0 if fixed is None else int(((fixed >= 0) & (fixed != chosen)).sum())
    return [f"{moved} rows could not stay as in {column}: they belong with rows of another part"] if moved else []


def _against(
    workspace: Workspace,
    points: Embeddings,
    chosen: IntArray,
    names: list[str],
    column: str | None,
    threshold: float,
    config: Config,
    progress: Progress,
) -> Numbers | None:
    """The new split beside an existing one: who moves, and how leaky the old one was."""
    asked = column or "split"
    with Catalog(workspace) as catalog:
        values = catalog.table(["row", asked])[asked].to_pylist()  # an unknown column is refused here
    if column is None and not any(value is not None for value in values):
        return None
    values = rows_table(workspace, points.rows, [asked])[asked].to_pylist()
    there = sorted({str(value) for value in values if value is not None})
    if len(there) > MAX_PARTS:
        raise UsageError(f"column {asked!r} has {len(there)} values, so it is no split; choose another for --against")
    code = {name: at for at, name in enumerate(there)}
    old = np.asarray([-1 if value is None else code[str(value)] for value in values], np.int64)
    table = np.zeros((len(there), len(names)), np.int64)
    np.add.at(table, (old[old >= 0], chosen[old >= 0]), 1)
    same = sum(int(table[code[name], at]) for at, name in enumerate(names) if name in code)
    leaks = certify(points, old, there, {}, threshold, config, progress)
    return {
        "column": asked, "n": int(table.sum()), "n_moved": int(table.sum()) - same,
        "rows": {name: dict(zip(names, table[at].tolist(), strict=True)) for name, at in code.items()},
        "rows_across": leaks["rows_across"], "between": leaks["between"],
    }  # fmt: skip


def _write(
    writer: Writer, name: str, rows: IntArray, parts: tuple[str, ...], meta: Numbers, config: Config, seconds: float
) -> None:
    import pyarrow as pa

    table = pa.table({"row": rows, "split": list(parts)})
    stamp = fingerprint("split", rows.tolist(), parts, meta["config"], meta["threshold"], meta["space"])
    entry = Entry(f"splits/{name}-{stamp}.parquet", stamp, n=len(rows), meta=meta)
    writer.write_table(entry.file, table)
    used = {**writer.workspace.snapshot.config, "split": config.split.model_dump()}
    writer.publish({f"splits/{name}": [entry]}, config=used)
    counts = {"name": name, **meta["sizes"], "n_groups": meta["n_groups"],
              "rows_across": meta["certificate"]["rows_across"]}  # fmt: skip
    writer.log_run({
        "stage": "split", "fingerprint": stamp, "seconds": round(seconds, 3), "finished": time.time(),
        "counts": counts, "config": config.model_dump(),
    })  # fmt: skip


__all__ = ["FOLDER", "LOOK", "NEARDUP", "VIDEO", "Split", "certify", "check", "split"]
