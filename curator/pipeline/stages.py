"""The stage table: what each stage depends on, and the one way to run a stage.

A stage's fingerprint hashes its version, its configuration and the
fingerprints of its inputs. Equal to the recorded one: the stage is skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from curator import embed
from curator.config import Config
from curator.data import Progress
from curator.errors import CuratorError, StageMissing
from curator.pipeline import deduplicating, derive, issues, reading, selecting, summary
from curator.snapshot import StageRecord, fingerprint
from curator.workspace import Workspace, Writer

logger = logging.getLogger("curator")

SECTIONS = {
    "ingest": ("sources", "decode"), "embed": ("decode", "embed"), "index": ("embed", "index"),
    "neardups": ("neardups",), "issues": ("issues",), "cluster": ("cluster",), "map": ("map",),
    "select": ("select", "quality"), "report": ("report",), "tiles": ("embed", "tiles"),
}  # fmt: skip
"""Sections of the configuration that a stage puts into effect, and so into the workspace."""

Counts = dict[str, Any]
State = Literal["current", "stale", "missing"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline after ingest."""

    name: str
    version: int  # raised when the same input would give another result
    needs: str  # the stage that must have run
    reads: tuple[str, ...]  # stages whose results it uses where they are there
    inputs: Callable[[Workspace, Config], list[Any]]  # what its result depends on, as plain values
    work: Callable[[Writer, Config, Progress], Counts]
    makes: Callable[[Config], str]  # key of the files it makes; they may have been deleted by hand


@dataclass(frozen=True, slots=True)
class StageResult:
    """What came of one stage."""

    name: str
    skipped: bool  # everything was there already
    seconds: float
    counts: Counts


def _space(config: Config) -> str:
    return embed.space_name(config.embed.model)


def _stamps(workspace: Workspace, *keys: str) -> list[list[str]]:
    return [[entry.fingerprint for entry in workspace.entries(key)] for key in keys]


def _statuses(workspace: Workspace) -> list[str]:
    return [str(entry.meta["statuses"]) for entry in workspace.entries("columns/presence")]


def _stage_stamp(workspace: Workspace, *names: str) -> list[str | None]:
    return [_result_stamp(workspace.snapshot.stages.get(name)) for name in names]


def _result_stamp(record: StageRecord | None) -> str | None:
    """Changes with what a stage was made from, and when a result that grew is made anew in full."""
    if record is None:
        return None
    if record.counts.get("pass") != "grown":
        return record.fingerprint
    return f"{record.fingerprint} grown from {record.counts['n_full']}"


def _index_inputs(workspace: Workspace, config: Config) -> list[Any]:
    return [
        _stamps(workspace, f"vectors/{_space(config)}"),
        _statuses(workspace),
        config.index.model_dump(),
        config.seed,
    ]


def _neardups_inputs(workspace: Workspace, config: Config) -> list[Any]:
    asked = config.neardups
    names_columns = asked.keep == "labelled" or ":" in asked.keep or asked.per_group
    return [
        _stage_stamp(workspace, "index"), _space(config), _stamps(workspace, "columns/pixels"),
        _stamps(workspace, "samples", *_split_keys(workspace)) if names_columns else [],
        deduplicating.metric_stamp(workspace, config),
        asked.model_dump(exclude={"decisions"} if asked.decisions else None),
        deduplicating.threshold_stamp(workspace, config), *deduplicating.wishes_stamp(workspace, config),
    ]  # fmt: skip


def _issues_inputs(workspace: Workspace, config: Config) -> list[Any]:
    return [
        _stage_stamp(workspace, "index", "neardups"), _space(config), _stamps(workspace, "columns/pixels"),
        config.issues.model_dump(),
    ]  # fmt: skip


def _cluster_inputs(workspace: Workspace, config: Config) -> list[Any]:
    return [
        _stage_stamp(workspace, "index"), _space(config), _stamps(workspace, "columns/tags", "columns/neardup"),
        config.cluster.model_dump(), config.seed,
    ]  # fmt: skip


def _map_inputs(workspace: Workspace, config: Config) -> list[Any]:
    return [_stage_stamp(workspace, "index"), _space(config), config.map.model_dump(), config.seed]


def _names_columns(config: Config) -> bool:
    """Whether the selection may depend on any column, the map's too."""
    asked = config.select
    named = (asked.where, asked.filter, asked.per_group, asked.scores, asked.strategies)
    return any(named) or (asked.preselected or "").startswith("column:")


def _split_keys(workspace: Workspace) -> list[str]:
    return [f"splits/{name}" for name in workspace.names("splits")]


def _select_inputs(workspace: Workspace, config: Config) -> list[Any]:
    return [
        _stage_stamp(workspace, "index", "neardups", "cluster", *(["map", "issues"] if _names_columns(config) else [])),
        _stamps(workspace, "samples", "columns/pixels", *(_split_keys(workspace) if _names_columns(config) else [])),
        config.select.model_dump(), _space(config), config.quality.model_dump(), config.seed, config.report.n_random,
        selecting.preselected_stamp(workspace, config),
    ]  # fmt: skip


def _report_inputs(workspace: Workspace, config: Config) -> list[Any]:
    return [
        _stage_stamp(workspace, *(name for name in STAGES if name != "report")), config.model_dump(),
        list(workspace.snapshot.sources), _stamps(workspace, "samples", *_split_keys(workspace)), _statuses(workspace),
        _stamps(workspace, *(f"calibration/{space}" for space in workspace.names("calibration"))),
    ]  # fmt: skip


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("index", 1, "embed", ("embed",), _index_inputs, derive.index_, lambda c: f"index/{_space(c)}"),
        Stage(
            "neardups", 1, "index", ("index",), _neardups_inputs, deduplicating.neardups, lambda c: "columns/neardup"
        ),
        Stage("issues", 1, "neardups", ("neardups",), _issues_inputs, issues.issues, lambda c: "columns/issues"),
        Stage(
            "cluster", 2, "index", ("index", "neardups"), _cluster_inputs, derive.cluster, lambda c: "columns/cluster"
        ),
        Stage("map", 1, "index", ("index",), _map_inputs, derive.map_, lambda c: "columns/map"),
        Stage(
            "select",
            3,
            "neardups",
            ("neardups", "cluster"),
            _select_inputs,
            selecting.select,
            lambda c: f"selections/{c.select.name}",
        ),
        Stage("report", 2, "ingest", ("map", "select"), _report_inputs, summary.report, lambda c: "report"),
    )
}
"""Every stage after ingest and embed, in the order they run."""


def run_stage(writer: Writer, stage: Stage, config: Config, progress: Progress, *, fresh: bool = False) -> StageResult:
    """Run a stage unless its result is already there, and record it.

    Args:
        fresh: a result that grew does not count as there, and none grows this time.

    Raises:
        StageMissing: the stage it needs has not run.
    """
    workspace = writer.workspace
    if stage.needs not in workspace.snapshot.stages:
        raise StageMissing(
            f"{stage.name} needs {stage.needs}, which has not run in {workspace.path}; "
            f"run `curator {stage.needs} -w {workspace.path}` or `curator run`"
        )
    stamp = fingerprint(stage.name, stage.version, stage.inputs(workspace, config))
    old = workspace.snapshot.stages.get(stage.name)
    if (
        old is not None
        and old.fingerprint == stamp
        and _is_good(old, config, fresh)
        and _is_there(workspace, stage.makes(config))
    ):
        return StageResult(stage.name, True, 0.0, dict(old.counts))
    started = time.perf_counter()
    counts = stage.work(writer, config.model_copy(update={"grow": config.grow and not fresh}), progress)
    return finish(writer, stage.name, stamp, config, counts, time.perf_counter() - started)


def _is_good(record: StageRecord, config: Config, fresh: bool = False) -> bool:
    """Whether a result may be one that grew, where it is one."""
    return record.counts.get("pass") != "grown" or (config.grow and not fresh)


def _is_there(workspace: Workspace, key: str) -> bool:
    """Whether the files a stage made were not deleted by hand."""
    if key == "report":
        return all((workspace.path / "report" / name).exists() for name in ("index.html", "report.json"))
    entries = workspace.entries(key)
    return bool(entries) and all(workspace.has_files(entry) for entry in entries)


def finish(writer: Writer, name: str, stamp: str, config: Config, counts: Counts, seconds: float) -> StageResult:
    """Publish a stage's record, log it and append it to the runs."""
    used = {
        section: config.model_dump()[section] for section in (*SECTIONS[name], "seed", "workers", "threads", "grow")
    }
    writer.publish(
        stages={name: StageRecord(stamp, time.time(), seconds, counts)},
        config={**writer.workspace.snapshot.config, **used},  # a setting that fails its stage is not remembered
    )
    writer.log_run({
        "stage": name, "fingerprint": stamp, "seconds": round(seconds, 3), "finished": time.time(), "counts": counts,
        "config": config.model_dump(),
    })  # fmt: skip
    shown = ", ".join(f"{key} {value}" for key, value in counts.items() if isinstance(value, int | float | str))
    logger.info("%s: %s, %.1f s", name, shown, seconds)
    return StageResult(name, False, seconds, counts)


def states(workspace: Workspace, config: Config) -> dict[str, State]:
    """Which stages are current, stale or missing under a configuration."""
    writer = Writer(workspace)
    out: dict[str, State] = {}
    has_rows = bool(workspace.entries("samples"))
    model = config.embed.model
    if not has_rows:
        return dict.fromkeys(["ingest", "embed", *STAGES], "missing")
    out["ingest"] = "current" if reading.is_current(writer, config, model=None) else "stale"
    out["embed"] = "missing"
    if "embed" in workspace.snapshot.stages and workspace.entries(f"vectors/{_space(config)}"):
        try:
            out["embed"] = "current" if reading.is_current(writer, config, model=model) else "stale"
        except CuratorError:  # the model's file is gone: what it gave is there, and cannot be made again
            out["embed"] = "stale"
    for stage in STAGES.values():
        record = workspace.snapshot.stages.get(stage.name)
        stamp = fingerprint(stage.name, stage.version, stage.inputs(workspace, config))
        if record is None:
            out[stage.name] = "missing"
        else:
            is_made = record.fingerprint == stamp and _is_good(record, config)
            is_made = is_made and _is_there(workspace, stage.makes(config))
            is_current = is_made and all(out[name] != "stale" for name in stage.reads)
            out[stage.name] = "current" if is_current else "stale"
    return out
