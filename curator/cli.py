"""The command line: parse, call one function, print.

Nothing heavy is imported before a command needs it, so that `--help` is quick.
Exit code 0: done; 1: a fault in the data or the workspace; 2: the request itself is off.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from curator.errors import CuratorError, UsageError

if TYPE_CHECKING:
    from curator.config import Config
    from curator.data import Progress
    from curator.workspace import Workspace

app = typer.Typer(
    name="curator",
    help="From raw footage to a justified list of frames to label.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

BAR_AFTER_S = 1.0

Place = Annotated[Path, typer.Option("--workspace", "-w", help="Directory of the workspace.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; configs/default.yaml lists every key.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")]
Where = Annotated[str | None, typer.Option("--where", help="SQL condition over the columns of `curator columns`.")]
Sources = Annotated[list[str] | None, typer.Argument(help="Folders, images, videos, tables, tars or URLs.")]
Fps = Annotated[float | None, typer.Option("--fps", help="Video frames per second; 1 when nothing is said.")]
EveryNth = Annotated[int | None, typer.Option("--every-nth", help="Take every n-th video frame; 1 takes all.")]
Keyframes = Annotated[bool, typer.Option("--keyframes", help="Take only key frames of videos: the cheapest.")]
Metadata = Annotated[str | None, typer.Option("--metadata", help="Table joined to the images by file name.")]
FolderLabels = Annotated[bool, typer.Option("--labels-from-folders", help="The parent folder's name is the label.")]
FolderSplits = Annotated[
    bool, typer.Option("--splits-from-folders", help="A folder named train, val or test is the split.")
]
Model = Annotated[str | None, typer.Option("--model", help="See `curator models`.")]
Budget = Annotated[str | None, typer.Option("--select", help="How many to pick: a number or a share such as 5%.")]

Command = TypeVar("Command", bound=Callable[..., None])


def main() -> None:
    """Entry point of the `curator` command."""
    app()


def _told(command: Command) -> Command:
    """Say errors raised on purpose in one line, with their exit code; nothing else is caught."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except CuratorError as error:
            message = " ".join(str(error).split())
            if kwargs.get("as_json"):
                typer.echo(json.dumps({"error": {"code": type(error).__name__, "message": message}}))
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("stopped; run the same command again to go on from here", err=True)
            raise typer.Exit(130) from None

    return wrapper  # type: ignore[return-value]


# -- the whole job -----------------------------------------------------------------------------------------------


@app.command()
@_told
def run(
    sources: Sources = None,
    *,
    workspace: Place,
    budget: Budget = None,
    fps: Fps = None,
    every_nth: EveryNth = None,
    keyframes: Keyframes = False,
    metadata: Metadata = None,
    labels_from_folders: FolderLabels = False,
    splits_from_folders: FolderSplits = False,
    model: Model = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run every stage that is not up to date, and say what was found.

    Example: curator run footage/ -w street-scenes --select 5%
    """
    from curator import pipeline

    flags = _flags(locals())
    with _bar(as_json) as progress:
        done = pipeline.run(
            sources or [], workspace, _config(workspace, config, [*flags, *(settings or [])]), progress=progress
        )
    numbers = json.loads((done.workspace.path / "report" / "report.json").read_text(encoding="utf-8"))
    if as_json:
        _print_json(
            {"stages": [_stage_json(result) for result in done.stages], "report": str(done.report), **_gist(numbers)}
        )
        return
    for line in _summary(numbers, done.stages):
        typer.echo(line)
    typer.echo(f"report: {done.report}")


@app.command()
@_told
def ingest(
    sources: Sources = None,
    *,
    workspace: Place,
    fps: Fps = None,
    every_nth: EveryNth = None,
    keyframes: Keyframes = False,
    metadata: Metadata = None,
    labels_from_folders: FolderLabels = False,
    splits_from_folders: FolderSplits = False,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Find images and frames, decode each once: quality, digests, thumbnails.

    Example: curator ingest footage/ -w street-scenes --fps 2
    """
    _one("ingest", workspace, config, [*_flags(locals()), *(settings or [])], as_json, sources or [])


@app.command()
@_told
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
    _one("embed", workspace, config, [*_flags(locals()), *(settings or [])], as_json)


@app.command()
@_told
def index(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Build the search index and the neighbour graph, with measured recall.

    Example: curator index -w street-scenes
    """
    _one("index", workspace, config, settings or [], as_json)


@app.command()
@_told
def neardups(
    workspace: Place,
    threshold: Annotated[float | None, typer.Option(help="Cosine at or above which two images are the same.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="Which image stays: coverage, sharpest, first, largest, labelled, max:COLUMN.")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Remove near-duplicates so that every removed image has a kept one at or above the threshold.

    Example: curator neardups -w street-scenes --threshold 0.93 --keep sharpest
    """
    _one("neardups", workspace, config, [*_flags(locals()), *(settings or [])], as_json)


@app.command()
@_told
def cluster(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Group alike images and name the groups.

    Example: curator cluster -w street-scenes --set "cluster.method={kind: hdbscan}"
    """
    _one("cluster", workspace, config, settings or [], as_json)


@app.command("map")
@_told
def map_(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Place every image on a 2-D map.

    Example: curator map -w street-scenes
    """
    _one("map", workspace, config, settings or [], as_json)


@app.command()
@_told
def select(
    workspace: Place,
    budget: Annotated[str | None, typer.Option("--budget", "--select", help="A number or a share such as 5%.")] = None,
    method: Annotated[str | None, typer.Option(help="representative, diverse, typicality, random, every_nth.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the selection.")] = None,
    where: Where = None,
    per_group: Annotated[str | None, typer.Option(help="Column for quotas: cluster, label, split, video, ...")] = None,
    quotas: Annotated[str | None, typer.Option(help="equal, proportional or {group: count}.")] = None,
    preselected: Annotated[str | None, typer.Option(help="labelled, column:NAME, selection:NAME or a file.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Pick the images to label, with a reason for each and the evidence that it beats chance.

    Example: curator select -w street-scenes --budget 200 --method diverse --per-group cluster
    """
    _one("select", workspace, config, [*_flags(locals()), *(settings or [])], as_json)


@app.command()
@_told
def report(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Write report/index.html and report/report.json.

    Example: curator report -w street-scenes --set report.cost_per_label=0.35
    """
    _one("report", workspace, config, settings or [], as_json)


# -- looking -----------------------------------------------------------------------------------------------------


@app.command()
@_told
def search(
    workspace: Place,
    row: Annotated[int | None, typer.Option(help="Like this row.")] = None,
    image: Annotated[Path | None, typer.Option(help="Like this image file.")] = None,
    vector: Annotated[Path | None, typer.Option(help="Like this vector, a .npy file.")] = None,
    text: Annotated[str | None, typer.Option(help="Like these words; a tag search without a CLIP-like space.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    where: Where = None,
    space: Annotated[str | None, typer.Option(help="Embedding space, when there are several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the most similar images.

    Example: curator search -w street-scenes --row 17 -k 5 --where "brightness < 0.3"
    """
    from curator.searching import search as find
    from curator.workspace import open_workspace

    found = find(
        open_workspace(workspace), row=row, image=image, vector=vector, text=text, k=k, where=where, space=space
    )
    if as_json:
        hits = [{"row": hit.row, "uri": hit.uri, "score": round(hit.score, 6)} for hit in found.hits]
        _print_json({"hits": hits, "how": found.how, "space": found.space, "index": found.index,
                     "recall": found.recall, "note": found.note})  # fmt: skip
        return
    if found.note:
        typer.echo(found.note, err=True)
    for hit in found.hits:
        typer.echo(f"{hit.score:7.4f}  {hit.row:>8}  {_shown(hit.uri)}")


@app.command()
@_told
def show(row: Annotated[int, typer.Argument(help="Row number.")], workspace: Place, as_json: AsJson = False) -> None:
    """Everything known about one image.

    Example: curator show 17 -w street-scenes
    """
    import numpy as np

    from curator.catalog import Catalog
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    place.check_row(row)
    with Catalog(place) as catalog:
        record = catalog.table(rows=np.asarray([row])).to_pylist()[0]
    record["selections"] = _selections_with(place, row)
    if as_json:
        _print_json(record)
        return
    for name, value in record.items():
        if value not in (None, "", []):
            typer.echo(f"{name:<18} {_shown(str(value))}")


@app.command()
@_told
def info(workspace: Place, as_json: AsJson = False) -> None:
    """What is in the workspace, what is stale, the last runs, unreadable files.

    Example: curator info -w street-scenes
    """
    from curator import pipeline
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    states = pipeline.states(place, pipeline.stored_config(place))
    faults = _unreadable(place)
    body = {
        "path": str(place.path), "rows": place.n_rows, "snapshot": place.snapshot.sequence,
        "sources": list(place.snapshot.sources), "stages": states, "spaces": place.names("vectors"),
        "columns": place.names("columns"),
        "selections": {name: len(place.selection(name)) for name in place.names("selections")},
        "n_unreadable": len(faults), "unreadable": faults[:20], "runs": place.runs()[-5:],
    }  # fmt: skip
    if as_json:
        _print_json(body)
        return
    typer.echo(f"{place.path}: {place.n_rows} rows, snapshot {place.snapshot.sequence}")
    typer.echo(f"sources     {', '.join(place.snapshot.sources) or 'none yet'}")
    typer.echo("stages      " + ", ".join(f"{name} {state}" for name, state in states.items()))
    typer.echo(f"spaces      {', '.join(place.names('vectors')) or 'none yet'}")
    chosen = ", ".join(f"{name} ({len(place.selection(name))})" for name in place.names("selections"))
    typer.echo(f"selections  {chosen or 'none yet'}")
    typer.echo(f"unreadable  {len(faults)}")
    for fault in faults[:20]:
        typer.echo(f"  row {fault['row']}  {fault['reason']}  {_shown(fault['uri'])}: {fault['message']}")
    for line in place.runs()[-5:]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["finished"]))
        typer.echo(f"{when}  {line['stage']}  {line['seconds']} s")


@app.command()
@_told
def columns(workspace: Place, as_json: AsJson = False) -> None:
    """Columns that filters, quotas and keep policies can name.

    Example: curator columns -w street-scenes
    """
    from curator.catalog import Catalog
    from curator.workspace import open_workspace

    with Catalog(open_workspace(workspace)) as catalog:
        found = catalog.columns()
    if as_json:
        _print_json([{"name": column.name, "type": column.type, "origin": column.origin} for column in found])
        return
    for column in found:
        typer.echo(f"{column.name:<20} {column.type:<12} {column.origin}")


# -- leaving and checking ----------------------------------------------------------------------------------------


@app.command()
@_told
def export(
    selection: Annotated[str, typer.Argument(help="Name of the selection.")],
    workspace: Place,
    target: Annotated[Path, typer.Option("--to", help="File, or folder for copy, symlink and frames.")],
    format: Annotated[str, typer.Option(help="paths, csv, parquet, coco-images, copy, symlink or frames.")] = "csv",
    first: Annotated[int | None, typer.Option(help="Only the best so many.")] = None,
    image_format: Annotated[str, typer.Option(help="Of frames: jpg or png.")] = "jpg",
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a selection for the labelling tool.

    Example: curator export selection -w street-scenes --format frames --to to_label/
    """
    from curator.handoff import export as hand_off
    from curator.workspace import open_workspace

    if image_format not in ("jpg", "png"):
        raise UsageError(f"image format {image_format!r}; expected jpg or png")
    with _bar(as_json) as progress:
        done = hand_off(
            open_workspace(workspace), selection, format, target, first=first, overwrite=overwrite,
            image_format="png" if image_format == "png" else "jpg", progress=progress,
        )  # fmt: skip
    if as_json:
        _print_json({"count": done.count, "path": str(done.path), "notes": list(done.notes)})
        return
    typer.echo(f"{done.count} written to {done.path}")
    for note in done.notes:
        typer.echo(note, err=True)


@app.command()
@_told
def verify(workspace: Place, as_json: AsJson = False) -> None:
    """Recompute the near-duplicate certificate and check every file; exit code 1 when something does not hold.

    Example: curator verify -w street-scenes
    """
    from curator.pipeline import verify as check
    from curator.workspace import open_workspace

    with _bar(as_json) as progress:
        found = check(open_workspace(workspace), progress=progress)
    if as_json:
        _print_json({"is_sound": found.is_sound, "checks": found.checks, "faults": list(found.faults),
                     "certificate": found.certificate})  # fmt: skip
    else:
        for name, text in found.checks.items():
            typer.echo(f"{name:<12} {text}")
        for name, value in (found.certificate or {}).items():
            typer.echo(f"  {name:<22} {value}")
        for fault in found.faults:
            typer.echo(f"FAULT: {fault}", err=True)
        typer.echo("everything holds" if found.is_sound else f"{len(found.faults)} faults")
    if not found.is_sound:
        raise typer.Exit(1)


@app.command()
@_told
def models(as_json: AsJson = False) -> None:
    """Models that `--model` takes.

    Example: curator models
    """
    import dataclasses

    from curator import embed as embedders

    if as_json:
        _print_json([dataclasses.asdict(model) for model in embedders.models()])
        return
    for model in embedders.models():
        size = f"{model.size} px" if model.size else "-"
        dim = str(model.dim) if model.dim else "-"
        typer.echo(
            f"{model.name:<20} {size:>7} {dim:>6}  {model.what}" + ("" if model.available else f" ({model.why_not})")
        )


@app.command()
@_told
def doctor(
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="Where a workspace would be.")] = None,
    as_json: AsJson = False,
) -> None:
    """What this machine and installation can do, what is wrong, and how to mend it; exit code 1 on a problem.

    Example: curator doctor
    """
    import dataclasses

    from curator.doctor import examine

    findings = examine(workspace)
    if as_json:
        _print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8} {finding.name:<12} {finding.found}")
            if finding.mend:
                typer.echo(f"{'':<21} mend: {finding.mend}")
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from curator.version import __version__

        typer.echo(f"curator {__version__}")
        raise typer.Exit


# -- helpers of the door -----------------------------------------------------------------------------------------

_FLAGS = {
    "budget": "select.budget", "fps": "sources.fps", "every_nth": "sources.every_nth", "keyframes": "sources.keyframes",
    "metadata": "sources.metadata", "labels_from_folders": "sources.labels_from_folders",
    "splits_from_folders": "sources.splits_from_folders", "model": "embed.model", "threshold": "neardups.threshold",
    "keep": "neardups.keep", "method": "select.method", "name": "select.name", "where": "select.where",
    "per_group": "select.per_group", "quotas": "select.quotas", "preselected": "select.preselected",
}  # fmt: skip


def _flags(given: dict[str, Any]) -> list[str]:
    """Command-line flags as settings; a flag of the three ways to sample a video takes the others back."""
    out = []
    if given.get("fps") is not None or given.get("every_nth") is not None or given.get("keyframes"):
        out += ["sources.fps=null", "sources.every_nth=null", "sources.keyframes=false"]
    for name, key in _FLAGS.items():
        value = given.get(name)
        if value is not None and value is not False:
            is_yaml = name == "quotas" or not isinstance(value, str)
            out.append(f"{key}={value if is_yaml else json.dumps(value)}")
    return out


def _config(workspace: Path, file: Path | None, settings: list[str]) -> Config:
    """The stored configuration of the workspace with the file and the settings over it."""
    from curator import config
    from curator.workspace import MANIFEST, open_workspace

    stored: dict[str, Any] = {}
    if (workspace / MANIFEST).exists():
        kept = open_workspace(workspace).snapshot.config
        stored = {key: value for key, value in kept.items() if not key.startswith("_")}
    return config.load(file, settings, base=stored)


def _one(
    name: str, workspace: Path, file: Path | None, settings: list[str], as_json: bool, sources: list[str] | None = None
) -> None:
    from curator import pipeline

    with _bar(as_json) as progress:
        result = pipeline.run_one(
            name, workspace, _config(workspace, file, settings), sources=sources or [], progress=progress
        )
    if as_json:
        _print_json(_stage_json(result))
        return
    shown = ", ".join(f"{key} {value}" for key, value in result.counts.items() if not isinstance(value, list | dict))
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
        if result.name == "ingest":
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
            "look at the duplicate groups in the report, then set neardups.threshold"
        )
    if numbers.get("evidence"):
        yield from (
            f"  {line}" for line in numbers["evidence"]["verdict"].replace(" Every image", "\nEvery image").splitlines()
        )
    for unmet in (numbers.get("selection") or {}).get("unmet", ()):
        yield f"  {unmet}"
    done = [result for result in stages if not result.skipped]
    if done:
        yield "  " + ", ".join(f"{result.name} {result.seconds:.1f} s" for result in done)
    else:
        yield "  everything was up to date"


def _selections_with(place: Workspace, row: int) -> list[dict[str, Any]]:
    out = []
    for name in place.names("selections"):
        chosen = place.selection(name)
        for rank, (picked, reason) in enumerate(zip(chosen.rows.tolist(), chosen.reasons, strict=True), start=1):
            if picked == row:
                out.append({"selection": name, "rank": rank, "reason": reason})
    return out


def _unreadable(place: Workspace) -> list[dict[str, Any]]:
    from curator.catalog import Catalog

    with Catalog(place) as catalog:
        table = catalog.table(["row", "uri", "reason", "message"], where="reason IS NOT NULL")
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def _shown(text: str) -> str:
    """One line, whatever a file name holds."""
    return text.encode("unicode_escape").decode("ascii") if any(ord(c) < 32 for c in text) else text


def _print_json(body: Any) -> None:
    typer.echo(json.dumps(body, ensure_ascii=False, indent=1, default=str))


@contextmanager
def _bar(as_json: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, for what takes longer than a second."""
    if as_json or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    started = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    shown = False

    def progress(stage: str, done: int, total: int | None) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started > BAR_AFTER_S:
            bar.start()
            shown = True
        if stage not in tasks:
            for old in tasks.values():
                bar.update(old, visible=False)
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    try:
        yield progress
    finally:
        if shown:
            bar.stop()
