"""The select stage: who may be picked, who is labelled already, what was picked and why.

Near-duplicates, unreadable and low-quality images are left out unless asked
for, and counted. The result is one ordering, so every prefix is a smaller
selection, with its evidence beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator import selection
from curator.config import Config, Quality, Select
from curator.data import BoolArray, Embeddings, IntArray, Neighbors, Progress
from curator.errors import BadConfig, BadSelection, StageMissing
from curator.pipeline import filtering, requesting
from curator.pipeline.derive import floats, rows_table, vectors_and_graph
from curator.pipeline.evidencing import Told, evidence_of
from curator.snapshot import Entry, fingerprint
from curator.workspace import Workspace, Writer

Counts = dict[str, Any]

LIMITS = {
    "min_side_px": ("short side", "px", "low"),
    "min_sharpness": ("sharpness", "", "low"),
    "min_contrast": ("contrast", "", "low"),
    "max_overexposed": ("overexposed", "", "high"),
    "max_underexposed": ("underexposed", "", "high"),
}
QUALITY_COLUMNS = ["width", "height", "sharpness", "contrast", "overexposed", "underexposed"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Who may be picked, and why the others may not; masks over the positions of the embeddings."""

    candidates: BoolArray
    to_cover: BoolArray  # candidates and the near-duplicates that pass the filter and the quality limits
    distinct: BoolArray | None  # the kept ones, where near-duplicates count once; None: all count
    preselected: IntArray  # positions
    n_near_duplicates: int
    n_low_quality: int
    n_filtered_out: int
    n_preselected: int  # among the kept


def select(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Pick the images to label."""
    workspace, asked = writer.workspace, config.select
    embeddings, graph = vectors_and_graph(workspace, config)
    pool = who_may_be_picked(workspace, embeddings, config)
    if not pool.candidates.any():
        raise BadSelection(
            f"nothing may be picked: of {len(embeddings)} readable images {pool.n_near_duplicates} are duplicates, "
            f"{pool.n_low_quality} of low quality, {pool.n_filtered_out} outside the filter, {len(pool.preselected)} "
            "labelled already; loosen select.where, select.filter, select.low_quality or select.near_duplicates"
        )
    budget = selection.parse_budget(asked.budget, len(embeddings))
    request = selection.Request(
        method=asked.method,
        budget=budget,
        preselected=pool.preselected,
        candidates=pool.candidates,
        cover=pool.to_cover,
        distinct=pool.distinct,
        **requesting.limits(workspace, embeddings, config),
        trim_share=0.0,  # done below, on the graph that still holds the near-duplicates
        seed=config.seed,
    )
    trimmed = _outliers(graph, request, config, pool)
    candidates = pool.candidates.copy()
    candidates[trimmed] = False
    request = dataclasses.replace(request, candidates=candidates)
    outcome = selection.run(embeddings.vectors, request, graph=graph, progress=progress)
    labels, names = _clusters(workspace, embeddings.rows)
    reasons = selection.describe(outcome, request, clusters=labels, cluster_names=names, unit=_unit(workspace))
    picked = outcome.picks.positions  # (k,)
    notes = [*outcome.notes, *_not_asked(asked, request, pool), *_without_effect(asked, request, pool)]
    told = evidence_of(workspace, embeddings, picked, pool.preselected, config, progress)
    meta = {
        "config": asked.model_dump(), "seed": config.seed, "space": embeddings.space, "budget": budget,
        **told.meta,  # verdict, is_better, curve, and more evidence
        "unmet": list(outcome.unmet), "notes": notes,
        "optimality": outcome.optimality, "optimality_is_estimate": outcome.is_estimate,
        "covered": outcome.covered, "cover_threshold": request.threshold,
        "counts": "images" if pool.distinct is None else "distinct",
        "trim_share": asked.trim_share if request.disperses else None,
        "trimmed": embeddings.rows[trimmed].tolist(), "trimmed_distance": _loneliness(graph, trimmed),
        "quotas": _quota_table(request, outcome), "n_readable": len(embeddings),
        "n_candidates": int(pool.candidates.sum()),
        "n_near_duplicates": pool.n_near_duplicates, "n_low_quality": pool.n_low_quality,
        "n_filtered_out": pool.n_filtered_out, "n_preselected": pool.n_preselected,
    }  # fmt: skip
    bound = "optimality_estimate" if outcome.is_estimate else "optimality"
    _write(writer, asked.name, embeddings.rows, outcome.picks, reasons, told, meta)
    return {
        "name": asked.name, "n_selected": len(picked), "n_candidates": meta["n_candidates"],
        "n_trimmed": len(trimmed), "method": asked.method, **_known("where", filtering.in_words(asked)),
        "covered": _rounded(outcome.covered), **_known(bound, _rounded(outcome.optimality)),
        "verdict": told.meta["verdict"], "unmet": list(outcome.unmet), "notes": notes,
    }  # fmt: skip


def _not_asked(asked: Select, request: selection.Request, pool: Pool) -> list[str]:
    """What `auto` decided, where it makes a difference."""
    if asked.counts != "auto" or pool.distinct is None or not (pool.n_near_duplicates and request.represents):
        return []
    return ["Near-duplicates count once: most images are no frames of clips. With select.counts images each counts."]


def _without_effect(asked: Select, request: selection.Request, pool: Pool) -> list[str]:
    """Settings that say something and change nothing here."""
    out = []
    if asked.preselected and not len(pool.preselected):
        out.append(f"No image is labelled already: select.preselected {asked.preselected!r} names none with a vector.")
    if asked.counts != "auto" and not request.represents:
        out.append(f"select.counts has no effect on {asked.method}, which does not ask what picks stand for.")
    if asked.quotas != "equal" and not asked.per_group:
        out.append("select.quotas has no effect without select.per_group, the column whose values it counts.")
    return out


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _known(name: str, value: Any) -> Counts:
    """The value under its name, or nothing where it is not known."""
    return {} if value is None else {name: value}


def _outliers(graph: Neighbors, request: selection.Request, config: Config, pool: Pool) -> IntArray:
    """Positions set aside before a method that would pick junk first; strangest first.

    Judged on the whole graph, near-duplicates included: without them rare things look lonely.

    Raises:
        BadSelection: nobody passes the thresholds.
    """
    passing = pool.candidates.copy()
    for strategy in request.strategies:
        if strategy.kind == "threshold":
            passing &= strategy.passes()
    if not passing.any():
        raise BadSelection(
            f"nothing may be picked: none of {int(pool.candidates.sum()):,} candidates passes the thresholds of "
            "select.strategies; loosen them"
        )
    if not request.disperses:
        return np.empty(0, np.int64)
    return selection.trim_outliers(
        graph, share=config.select.trim_share, among=np.flatnonzero(passing), keep=request.budget
    )


def _loneliness(graph: Neighbors, positions: IntArray) -> list[float]:
    """Mean distance (1 - cosine) of each position to its neighbours."""
    return [round(float(1.0 - graph.similarity[at][graph.positions[at] >= 0].mean()), 4) for at in positions]


def _quota_table(request: selection.Request, outcome: selection.Outcome) -> list[dict[str, Any]]:
    """What each group was to give, gave and had; empty without quotas."""
    if request.groups is None or request.quotas is None or request.candidates is None:
        return []
    among = np.flatnonzero(request.candidates)
    caps, _ = selection.caps_for(request.quotas, groups=request.groups, among=among, budget=request.budget)
    shown = ["(no value)" if group is None else str(group) for group in request.groups]
    picked = Counter(shown[at] for at in outcome.picks.positions)
    available = Counter(shown[at] for at in among)
    asked = {name: int(caps.most[code]) for name, code in zip(shown, caps.codes.tolist(), strict=True)}
    return [
        {"group": name, "asked": asked[name], "picked": picked[name], "available": n}
        for name, n in sorted(available.items(), key=lambda item: (-item[1], item[0]))
    ]


def who_may_be_picked(workspace: Workspace, embeddings: Embeddings, config: Config) -> Pool:
    """Sort every readable image into candidate, labelled already, or left out for a reason."""
    asked, rows = config.select, embeddings.rows
    table = rows_table(workspace, rows, ["duplicate", "kind", *QUALITY_COLUMNS])
    duplicate = np.asarray(table["duplicate"].to_pylist(), dtype=object)
    space = workspace.entries("columns/neardup")[0].meta["space"]
    if space != embeddings.space or any(kind is None for kind in duplicate):
        raise StageMissing(
            f"near-duplicates of {workspace.path} were decided over other images than there are now; "
            f"run `curator neardups -w {workspace.path}`"
        )
    kept: BoolArray = duplicate == "kept"
    is_copy = np.zeros(len(rows), bool) if asked.near_duplicates else ~kept
    is_low = np.zeros(len(rows), bool) if asked.low_quality else low_quality(table, config.quality)
    is_outside = ~filtering.passes(workspace, rows, asked)
    preselected = _preselected(workspace, embeddings, config)
    is_given = np.zeros(len(rows), bool)
    is_given[preselected] = True
    left = ~is_copy

    def leave_out(mask: BoolArray) -> int:
        n = int((left & mask).sum())
        left[mask] = False
        return n

    n_given, n_outside, n_low = leave_out(is_given), leave_out(is_outside), leave_out(is_low)
    return Pool(
        candidates=left,
        to_cover=~(is_given | is_outside | is_low),
        distinct=None if _all_count(asked, table["kind"].to_pylist()) else kept,
        preselected=preselected,
        n_near_duplicates=int(is_copy.sum()),
        n_low_quality=n_low,
        n_filtered_out=n_outside,
        n_preselected=n_given,
    )


def _all_count(asked: Select, kinds: list[str]) -> bool:
    """Whether near-duplicates count one by one: how long a camera looked says how common a thing is, how often
    a picture was copied does not.
    """
    if asked.counts != "auto":
        return asked.counts == "images"
    return asked.near_duplicates or kinds.count("frame") > len(kinds) / 2


def low_quality(table: Any, limits: Quality) -> BoolArray:
    """(n,) whether an image fails one of the limits; a missing measure fails none."""
    out = np.zeros(table.num_rows, bool)
    for key in LIMITS:
        out |= fails(table, key, limits)
    return out


def fails(table: Any, key: str, limits: Quality) -> BoolArray:
    """(n,) whether an image fails one limit, by the limit's key."""
    limit = float(getattr(limits, key))
    if key == "min_side_px":
        values = np.fmin(floats(table, "width"), floats(table, "height"))
    else:
        values = floats(table, key.split("_", 1)[1])
    with np.errstate(invalid="ignore"):
        failed: BoolArray = values < limit if key.startswith("min") else values > limit
    return failed


def preselected_stamp(workspace: Workspace, config: Config) -> list[Any]:
    """What the selection depends on besides its settings and the workspace's own tables."""
    return requesting.stamp(workspace, config)


def _preselected(workspace: Workspace, embeddings: Embeddings, config: Config) -> IntArray:
    """Positions of the rows that are labelled already, increasing."""
    asked = config.select.preselected
    if asked is None:
        return np.empty(0, np.int64)
    if asked == f"selection:{config.select.name}":
        raise BadConfig(f"select.preselected: {asked!r} is the selection to be made; give one of them another name")
    rows = requesting.rows_named(workspace, asked, key="select.preselected")
    positions = embeddings.positions_of(np.unique(rows))
    return positions[positions >= 0]


def _clusters(workspace: Workspace, rows: IntArray) -> tuple[IntArray | None, list[str] | None]:
    entries = workspace.entries("columns/cluster")
    if not entries:
        return None, None
    labels = rows_table(workspace, rows, ["cluster"])["cluster"].to_pylist()
    plain = np.asarray([-1 if label is None else label for label in labels], np.int64)
    return plain, list(entries[0].meta["names"])


def _unit(workspace: Workspace) -> str:
    kinds = set(workspace.table("samples", ["kind"])["kind"].unique().to_pylist())
    return "frames" if kinds == {"frame"} else "images"


def _write(
    writer: Writer,
    name: str,
    rows: IntArray,
    picks: selection.Picks,
    reasons: tuple[str, ...],
    told: Told,
    meta: dict[str, Any],
) -> None:
    import pyarrow as pa

    table = pa.table({
        "rank": np.arange(1, len(picks.positions) + 1, dtype=np.int64),
        "row": rows[picks.positions],
        "gain": picks.gains.astype(np.float32),
        "covers": picks.covers,
        "nearest": picks.nearest.astype(np.float32),
        "reason": list(reasons),
        "groups": pa.array(told.groups, pa.list_(pa.string())),
    })  # fmt: skip
    stamp = fingerprint("selection", *(table[name].to_pylist() for name in table.column_names))
    entry = Entry(f"selections/{name}-{stamp}.parquet", stamp, n=len(table), meta=meta)
    writer.write_table(entry.file, table)
    held = hashlib.sha256(np.stack([rows, told.first_pick]).tobytes()).hexdigest()
    own = fingerprint("covers", stamp, held)
    covers = Entry(f"selections/{name}-{own}.covers.parquet", own, n=len(rows), meta={"selection": stamp})
    writer.write_table(covers.file, pa.table({"row": rows, "first_pick": told.first_pick.astype(np.int32)}))
    writer.publish({f"selections/{name}": [entry], f"covers/{name}": [covers]})
