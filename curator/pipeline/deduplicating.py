"""Near-duplicates of a workspace: columns in, the cover and its certificate out.

Appended images are compared with who is kept and with each other; what was decided before stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import embed
from curator import neardups as duplicates
from curator.catalog import Catalog
from curator.config import Config
from curator.data import Embeddings, FloatArray, IntArray, Progress
from curator.errors import DamagedWorkspace, NewerFormat, StageMissing, UsageError
from curator.pipeline.calibrating import metric_of, threshold_of
from curator.pipeline.derive import floats, rows_table, threads, vectors_and_graph, write_column
from curator.pipeline.growing import growth
from curator.pipeline.recertifying import recertify
from curator.pipeline.splitting import VIDEO, codes_of
from curator.state import State, open_state
from curator.workspace import Workspace, Writer

if TYPE_CHECKING:
    import pyarrow as pa

    Counts = dict[str, Any]

FORCED = "kept_anyway"  # column: kept whatever it resembles
LATER = ("neardup", "cluster", "map", "issues")  # columns made from near-duplicates


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of each image besides its vector, as far as the settings ask for it."""

    sharpness: FloatArray  # (n,)
    scores: FloatArray | None  # (n,) of the keep policy; none for coverage and first
    digest_groups: IntArray  # (n,) first position with the same bytes
    groups: IntArray | None  # (n,) only images of one group may cover each other; none for all
    clips: IntArray | None  # (n,) code of the clip, -1 for what is no frame; none without a temporal window
    times: FloatArray | None  # (n,) seconds into the clip, nan for what is no frame

    def arrays(self) -> list[Any]:
        """Those that are there: what a decision depends on, image by image."""
        given = (self.sharpness, self.scores, self.digest_groups, self.groups, self.clips, self.times)
        return [values for values in given if values is not None]


def neardups(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Remove exact and near-duplicates so that every removed row names its nearest kept one."""
    workspace, asked = writer.workspace, config.neardups
    embeddings, graph = vectors_and_graph(workspace, config)
    metric = metric_of(workspace, config, embeddings)
    threshold, origin = threshold_of(workspace, config)
    facts = facts_of(workspace, embeddings, config)
    wishes = wishes_of(workspace, config).tolist()
    how = {
        "neardups": asked.model_dump(exclude={"threshold", "decisions"}), "threshold": threshold,
        "embed.model": embeddings.space, "metric": metric.space, **({"decisions": wishes} if wishes else {}),
    }  # fmt: skip
    grown = growth(workspace, "columns/neardup", config, how, embeddings.rows, metric.vectors, *facts.arrays())
    given: dict[str, Any] = {
        "policy": asked.keep, "scores": facts.scores, "sharpness": facts.sharpness,
        "digest_groups": facts.digest_groups, "groups": facts.groups, "clips": facts.clips, "times": facts.times,
        "window_s": asked.window_s or 0.0, "method": asked.method, "threads": threads(config), "progress": progress,
        "forced": np.isin(embeddings.rows, wishes) if wishes else None,
    }  # fmt: skip
    checked: dict[str, Any] = {"groups": facts.groups, "threads": threads(config)}
    if grown.is_full:
        own_graph = graph if metric is embeddings else None
        result = duplicates.cover(metric.vectors, own_graph, threshold, **given)
        certificate = duplicates.certify(metric.vectors, result, **checked)
    else:
        old = stored_cover(workspace.column("neardup"), metric, threshold)
        result = duplicates.extend(metric.vectors, grown.n_old, old, **given)
        before = workspace.entries("columns/neardup")[0].meta["certificate"]
        certificate = recertify(metric.vectors, result, old, before, **checked)
    decided = {
        "row": embeddings.rows,
        "duplicate": np.where(result.kept, "kept", np.where(result.exact, "exact", "near")).tolist(),
        "representative": embeddings.rows[result.representative],
        "similarity": result.similarity.astype(np.float32),
        **({} if facts.groups is None else {"duplicate_group": facts.groups}),
        **({} if result.forced is None else {FORCED: result.forced}),
    }
    meta = {
        "space": embeddings.space, "metric": metric.space, "metric_stamp": metric_stamp(workspace, config),
        "threshold": result.threshold, "threshold_origin": origin, "keep": asked.keep,
        "certificate": certificate.to_dict(), "wishes": wishes, **grown.meta,
    }  # fmt: skip
    write_column(writer, "neardup", decided, meta)
    return {
        "n_kept": int(result.kept.sum()),
        "n_exact": int((result.exact & ~result.kept).sum()),
        "n_near": int((~result.exact & ~result.kept).sum()),
        "threshold": round(result.threshold, 4),
        "orphans": certificate.orphans,
    } | grown.counts()


def facts_of(workspace: Workspace, embeddings: Embeddings, config: Config) -> Facts:
    """Columns that decide who is kept and who may cover whom.

    Raises:
        UsageError: a column that is itself made from near-duplicates, or lists where one value is needed.
        UnknownColumn: a column that is not there.
    """
    asked = config.neardups
    by = asked.keep.partition(":")[2]
    _check_columns(workspace, [name for name in (by, asked.per_group) if name])
    is_timed = asked.window_s is not None
    wanted = ["digest", "sharpness", "size_px", "labels", *(["time_s"] if is_timed else []), *([by] if by else [])]
    table = rows_table(workspace, embeddings.rows, wanted)
    columns = {name: floats(table, name) for name in ("sharpness", "size_px", *([by] if by else []))}
    columns["labelled"] = np.asarray([bool(labels) for labels in table["labels"].to_pylist()], np.float32)
    return Facts(
        sharpness=columns["sharpness"],
        scores=duplicates.priority(asked.keep, columns),
        digest_groups=duplicates.exact_groups(table["digest"].to_pylist()),
        groups=codes_of(workspace, embeddings.rows, asked.per_group) if asked.per_group else None,
        clips=codes_of(workspace, embeddings.rows, VIDEO) if is_timed else None,
        times=floats(table, "time_s") if is_timed else None,
    )


def stored_cover(table: pa.Table, metric: Embeddings, threshold: float) -> duplicates.Cover:
    """A cover as the column file holds it."""
    kinds = np.asarray(table["duplicate"].to_pylist(), dtype=object)
    return duplicates.Cover(
        kept=kinds == "kept",
        representative=metric.positions_of(table["representative"].to_numpy()),
        similarity=table["similarity"].to_numpy(),
        exact=kinds == "exact",
        threshold=threshold,
        forced=table[FORCED].to_numpy() if FORCED in table.column_names else None,
    )


def wishes_of(workspace: Workspace, config: Config) -> IntArray:
    """Rows that are kept whatever they resemble, as people decided; none where the settings do not ask for them."""
    if not config.neardups.decisions:
        return np.empty(0, np.int64)
    with open_state(workspace.path, create=False) as state:
        return state.wished()


def n_waiting(workspace: Workspace, state: State) -> int:
    """How many images people decided to keep, or no longer, since near-duplicates were looked for."""
    from curator.pipeline import stored_config

    if not stored_config(workspace).neardups.decisions:
        return 0
    followed = workspace.entries("columns/neardup")[0].meta.get("wishes", [])
    return len(np.setxor1d(state.wished(), np.asarray(followed, np.int64)))


def wishes_stamp(workspace: Workspace, config: Config) -> list[int]:
    """Rows that people wish kept, as far as they can be read."""
    try:
        wishes: list[int] = wishes_of(workspace, config).tolist()
    except (DamagedWorkspace, NewerFormat):  # the stage itself says so
        return []
    return wishes


def metric_stamp(workspace: Workspace, config: Config) -> list[str]:
    """Which learnt metric near-duplicates are decided in; empty for the vectors as they are."""
    is_learnt = config.neardups.space == "copies"
    return learnt_stamp(workspace, embed.space_name(config.embed.model)) if is_learnt else []


def learnt_stamp(workspace: Workspace, space: str) -> list[str]:
    """Which metric for copies a space has; empty for none."""
    return [entry.fingerprint for entry in workspace.entries(f"calibration/{space}")[1:]]  # the first: thresholds


def threshold_stamp(workspace: Workspace, config: Config) -> float | None:
    """The threshold as far as it is known; none where the calibration it names is not there, or cannot be read."""
    try:
        return threshold_of(workspace, config)[0]
    except (StageMissing, DamagedWorkspace):  # the stage itself says so
        return None


def _check_columns(workspace: Workspace, names: list[str]) -> None:
    """Refuse a column that comes after near-duplicates."""
    with Catalog(workspace) as catalog:
        origins = {column.name: column.origin for column in catalog.columns()}
    for name in names:
        if origins.get(name) in LATER:
            raise UsageError(f"neardups: column {name!r} is made from near-duplicates; choose another column")
