"""The whole job: the only package that knows every stage.

scanning   sources -> rows
reading    files -> pixels, thumbnails and vectors, each file once
growing    whether a stage may go on from its last result
filtering  who passes the conditions of a selection
derive     vectors -> graph, near-duplicates, clusters, map
selecting  who may be picked, what was picked and why
summary    everything -> the report's numbers
stages     the table of stages, and the one way to run one
tiling     crops of every image as objects, embedded
verifying  recomputes what the workspace promises
describing what the doors say of a workspace and of one image
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curator import embed
from curator.config import Config, anchored, from_dict
from curator.data import Progress, no_progress
from curator.errors import StageMissing
from curator.pipeline import reading, scanning
from curator.pipeline.stages import STAGES, StageResult, finish, run_stage, states
from curator.pipeline.verifying import Verification, verify
from curator.snapshot import fingerprint
from curator.workspace import Workspace, Writer, create_workspace, open_workspace

__all__ = ["NAMES", "Run", "StageResult", "Verification", "run", "run_one", "states", "stored_config", "tile", "verify"]

NAMES = ("ingest", "embed", *STAGES)
"""Every stage in order."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did."""

    workspace: Workspace
    stages: tuple[StageResult, ...]

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.workspace.path / "report" / "index.html"


def run(
    sources: Sequence[str],
    workspace: Path | str,
    config: Config | None = None,
    *,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Run:
    """Run every stage that is not up to date.

    Args:
        sources: folders, images, videos, tables, tars or URLs; none: those the workspace has.
        workspace: directory, made when nothing is there.
        config: none: as the workspace was last run, else the defaults.
        fresh: make anew in full what only grew by appended rows, and let nothing grow this time.
    """
    embed.describe((config or Config()).embed.model)  # refuses an unknown model before anything is written
    place = create_workspace(workspace)
    settings = anchored(config or stored_config(place))
    with place.writing("run") as writer:
        results = [_ingest(writer, sources, settings, progress, read=False), _embed(writer, settings, progress)]
        results += [run_stage(writer, stage, settings, progress, fresh=fresh) for stage in STAGES.values()]
    return Run(place, tuple(results))


def run_one(
    name: str,
    workspace: Path | str,
    config: Config | None = None,
    *,
    sources: Sequence[str] = (),
    fresh: bool = False,
    progress: Progress = no_progress,
) -> StageResult:
    """Run one stage of `NAMES` unless it is up to date; `fresh` as in `run`.

    Raises:
        StageMissing: a stage before it has not run.
    """
    embed.describe((config or Config()).embed.model)  # refuses an unknown model before anything is written
    place = create_workspace(workspace) if name == "ingest" else open_workspace(workspace)
    settings = anchored(config or stored_config(place))
    with place.writing(name) as writer:
        if name == "ingest":
            return _ingest(writer, sources, settings, progress, read=True)
        if name == "embed":
            if not place.entries("samples"):
                raise StageMissing(f"embed needs ingest, which has not run in {place.path}; run `curator ingest` first")
            return _embed(writer, settings, progress)
        return run_stage(writer, STAGES[name], settings, progress, fresh=fresh)


def tile(workspace: Path | str, config: Config | None = None, *, progress: Progress = no_progress) -> StageResult:
    """Embed the tiles of every image that has none yet, as `curator tiles`.

    Raises:
        StageMissing: nothing was ingested.
    """
    from curator.pipeline import tiling

    place = open_workspace(workspace)
    with place.writing("tiles") as writer:
        return tiling.tile(writer, anchored(config or stored_config(place)), progress)


def stored_config(workspace: Workspace) -> Config:
    """The configuration the workspace was last run with, else the defaults."""
    return from_dict({key: value for key, value in workspace.snapshot.config.items() if not key.startswith("_")})


def _ingest(writer: Writer, sources: Sequence[str], config: Config, progress: Progress, *, read: bool) -> StageResult:
    """Scan, and with `read` decode for measures and thumbnails; `run` leaves that to the embedding pass."""
    before = writer.workspace.snapshot
    started = time.perf_counter()
    counts = scanning.scan(writer, sources, config, progress)
    is_current = not read or reading.is_current(writer, config, model=None)
    if not is_current:
        counts |= reading.read(writer, config, model=None, progress=progress)
    after = writer.workspace.snapshot
    changed = any(before.entries.get(key) != after.entries.get(key) for key in ("samples", "columns/presence"))
    if is_current and not changed and "ingest" in before.stages:
        return StageResult("ingest", True, 0.0, counts)
    stamp = fingerprint(
        "ingest", [[e.fingerprint for e in writer.workspace.entries(key)] for key in ("samples", "columns/presence")]
    )
    return finish(writer, "ingest", stamp, config, counts, time.perf_counter() - started)


def _embed(writer: Writer, config: Config, progress: Progress) -> StageResult:
    model = config.embed.model
    old = writer.workspace.snapshot.stages.get("embed")
    space = embed.space_name(model)
    if old is not None and old.counts.get("space") == space and reading.is_current(writer, config, model=model):
        reading.check_any(writer, space)
        return StageResult("embed", True, 0.0, dict(old.counts))
    started = time.perf_counter()
    counts = reading.read(writer, config, model=model, progress=progress)
    stamp = fingerprint("embed", [e.fingerprint for e in writer.workspace.entries(f"vectors/{space}")])
    result = finish(writer, "embed", stamp, config, counts, time.perf_counter() - started)
    reading.check_any(writer, space)
    return result
