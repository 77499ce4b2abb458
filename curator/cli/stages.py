"""Commands that run the whole job or one stage of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from curator.cli.common import (
    AsJson,
    Budget,
    ConfigFile,
    EveryNth,
    Filter,
    FolderLabels,
    FolderSplits,
    Fps,
    Fresh,
    Keyframes,
    Metadata,
    Model,
    Place,
    Settings,
    Sources,
    Where,
    bar,
    config_of,
    flags,
    print_json,
    told,
)
from curator.cli.mining import watch

app = typer.Typer()


@app.command()
@told
def run(
    sources: Sources = None,
    *,
    workspace: Place,
    budget: Budget = None,
    fps: Fps = None,
    every_nth: EveryNth = None,
    keyframes: Keyframes = None,
    metadata: Metadata = None,
    labels_from_folders: FolderLabels = None,
    splits_from_folders: FolderSplits = None,
    model: Model = None,
    fresh: Fresh = False,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run every stage that is not up to date, and say what was found.

    Example: curator run footage/ -w street-scenes --select 5%
    """
    from curator import pipeline

    asked = flags(locals())
    with bar(as_json) as progress:
        done = pipeline.run(
            sources or [],
            workspace,
            config_of(workspace, config, [*asked, *(settings or [])]),
            fresh=fresh,
            progress=progress,
        )
    found = watch(done.workspace.path)
    numbers = json.loads((done.workspace.path / "report" / "report.json").read_text(encoding="utf-8"))
    if as_json:
        print_json(
            {
                "stages": [_stage_json(result) for result in done.stages],
                "report": str(done.report),
                "triggers": found,
                **_gist(numbers),
            }
        )
        return
    for line in _summary(numbers, done.stages):
        typer.echo(line)
    for past in found:
        typer.echo(f"trigger {past['trigger']}: {len(past['rows'])} of {past['n_new']} new images")
    typer.echo(f"report: {done.report}")


@app.command()
@told
def ingest(
    sources: Sources = None,
    *,
    workspace: Place,
    fps: Fps = None,
    every_nth: EveryNth = None,
    keyframes: Keyframes = None,
    metadata: Metadata = None,
    labels_from_folders: FolderLabels = None,
    splits_from_folders: FolderSplits = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Find images and frames, decode each once: quality, digests, thumbnails.

    Example: curator ingest footage/ -w street-scenes --fps 2
    """
    _one("ingest", workspace, config, [*flags(locals()), *(settings or [])], as_json, sources or [])


@app.command()
@told
def embed(
    workspace: Place,
    model: Model = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Turn every image into a vector.

    Example: curator embed -w street-scenes --model efficientnet-lite2
    """
    _one("embed", workspace, config, [*flags(locals()), *(settings or [])], as_json)


@app.command()
@told
def index(
    workspace: Place,
    fresh: Fresh = False,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Build the search index and the neighbour graph, with measured recall.

    Example: curator index -w street-scenes
    """
    _one("index", workspace, config, settings or [], as_json, fresh=fresh)


@app.command()
@told
def neardups(
    workspace: Place,
    threshold: Annotated[
        str | None, typer.Option(help="Cosine at or above which two images are the same, or a stored calibration.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Which image stays: coverage, sharpest, first, largest, labelled, max:COLUMN.")
    ] = None,
    neardups_method: Annotated[
        str | None, typer.Option("--method", help="How pairs are found: auto, exact, approximate.")
    ] = None,
    neardups_space: Annotated[
        str | None, typer.Option("--space", help="model, or copies: the metric `curator calibrate` learnt.")
    ] = None,
    neardups_per_group: Annotated[
        str | None, typer.Option("--per-group", help="Compare only images of one video, folder or value of a column.")
    ] = None,
    window_s: Annotated[
        float | None, typer.Option("--window-s", help="Thin each clip first, among frames so many seconds apart.")
    ] = None,
    fresh: Fresh = False,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Remove near-duplicates so that every removed image has a kept one at or above the threshold.

    Example: curator neardups -w street-scenes --threshold 0.93 --keep sharpest
    """
    _one("neardups", workspace, config, [*flags(locals()), *(settings or [])], as_json, fresh=fresh)


@app.command()
@told
def cluster(
    workspace: Place,
    fresh: Fresh = False,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Group alike images and name the groups.

    Example: curator cluster -w street-scenes --set "cluster.method={kind: hdbscan}"
    """
    _one("cluster", workspace, config, settings or [], as_json, fresh=fresh)


@app.command("map")
@told
def map_(
    workspace: Place,
    fresh: Fresh = False,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Place every image on a 2-D map.

    Example: curator map -w street-scenes
    """
    _one("map", workspace, config, settings or [], as_json, fresh=fresh)


@app.command()
@told
def select(
    workspace: Place,
    budget: Annotated[str | None, typer.Option("--budget", "--select", help="A number or a share such as 5%.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="representative, diverse, mixed, dpp, coverage, graph_cut, typicality, hierarchical, uncertainty, "
            "random or every_nth."
        ),
    ] = None,
    strategies: Annotated[
        str | None, typer.Option(help='Several at once: "\\[diversity, {kind: weights, column: sharpness}]".')
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the selection.")] = None,
    where: Where = None,
    filter: Filter = None,
    per_group: Annotated[str | None, typer.Option(help="Column for quotas: cluster, label, split, video, ...")] = None,
    quotas: Annotated[
        str | None, typer.Option(help="equal, proportional, like:SELECTION, {group: count} or {group: share}.")
    ] = None,
    preselected: Annotated[str | None, typer.Option(help="labelled, column:NAME, selection:NAME or a file.")] = None,
    min_distance: Annotated[float | None, typer.Option(help="Cosine distance that picks keep from each other.")] = None,
    spacing: Annotated[float | None, typer.Option(help="Seconds that picks of one video keep from each other.")] = None,
    covers_from: Annotated[
        float | None, typer.Option("--threshold", help="Cosine from which a pick covers an image.")
    ] = None,
    stop_coverage: Annotated[float | None, typer.Option(help="Stop once this share of images is covered.")] = None,
    scores: Annotated[str | None, typer.Option(help="For uncertainty: a column, or a file of probabilities.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Pick the images to label, with a reason for each and the evidence that it beats chance.

    Example: curator select -w street-scenes --budget 200 --method diverse --per-group cluster
    """
    _one("select", workspace, config, [*flags(locals()), *(settings or [])], as_json)


@app.command()
@told
def report(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Write report/index.html and report/report.json.

    Example: curator report -w street-scenes --set report.cost_per_label=0.35
    """
    _one("report", workspace, config, settings or [], as_json)


def _one(
    name: str,
    workspace: Path,
    file: Path | None,
    settings: list[str],
    as_json: bool,
    sources: list[str] | None = None,
    *,
    fresh: bool = False,
) -> None:
    from curator import pipeline

    with bar(as_json) as progress:
        result = pipeline.run_one(
            name,
            workspace,
            config_of(workspace, file, settings),
            sources=sources or [],
            fresh=fresh,
            progress=progress,
        )
    if name == "embed":
        watch(workspace)
    if as_json:
        print_json(_stage_json(result))
        return
    shown = ", ".join(
        f"{key} {value}" for key, value in result.counts.items() if not isinstance(value, list | dict | None)
    )
    typer.echo(f"{name}: {'up to date, ' if result.skipped else ''}{shown}")
    for key in ("notes", "unmet"):
        for note in result.counts.get(key, ()):
            typer.echo(note, err=True)


def _stage_json(result: Any) -> dict[str, Any]:
    return {
        "stage": result.name,
        "skipped": result.skipped,
        "seconds": round(result.seconds, 3),
        "counts": result.counts,
    }


def _gist(numbers: dict[str, Any]) -> dict[str, Any]:
    duplicates, evidence = numbers.get("duplicates"), numbers.get("evidence")
    return {
        "headline": numbers["headline"], "funnel": numbers["funnel"],
        "certificate": duplicates and duplicates["certificate"], "verdict": evidence and evidence["verdict"],
    }  # fmt: skip


def _summary(numbers: dict[str, Any], stages: Any) -> Iterator[str]:
    """What a run found, in a few lines."""
    for result in stages:
        if result.name in ("ingest", "embed"):
            yield from result.counts.get("notes", ())
    yield from numbers["headline"]
    funnel = numbers["funnel"]
    shown = (
        "unreadable",
        "exact_duplicates",
        "near_duplicates",
        "kept",
        "low_quality",
        "filtered_out",
        "preselected",
        "trimmed",
        "selected",
    )
    yield "  " + ", ".join(f"{name.replace('_', ' ')} {funnel[name]}" for name in shown if funnel[name])
    duplicates = numbers.get("duplicates")
    if duplicates and duplicates["threshold_origin"] == "default":
        yield (
            f"  threshold {duplicates['threshold']:g} is the model's plain default; the right one depends on the data: "
            "`curator calibrate` measures it on your own images"
        )
    if numbers.get("evidence"):
        yield f"  {numbers['evidence']['verdict']}"
    for unmet in (numbers.get("selection") or {}).get("unmet", ()):
        yield f"  {unmet}"
    done = [result for result in stages if not result.skipped]
    if done:
        yield "  " + ", ".join(f"{result.name} {result.seconds:.1f} s" for result in done)
        yield from _grown(done)
    else:
        yield "  everything was up to date"


def _grown(done: Any) -> Iterator[str]:
    """Which stages left what was there before as it was."""
    grown = [result for result in done if result.counts.get("pass") == "grown"]
    if grown:
        names = ", ".join(result.name for result in grown)
        n_new = grown[0].counts["n_new"]
        yield f"  grown by {n_new:,} new images: {names}; what was there stands (--fresh starts anew)"
