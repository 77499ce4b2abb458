"""What every command shares: options, errors in one line, JSON, and the progress bar."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from curator.errors import CuratorError

if TYPE_CHECKING:
    from curator.config import Config
    from curator.data import Progress

BAR_AFTER_S = 1.0
TOLD_EVERY_S = 0.25
PROGRESS = "CURATOR_PROGRESS"  # set to json: progress as JSON lines on stderr, for whoever started this process

Place = Annotated[Path, typer.Option("--workspace", "-w", help="Directory of the workspace.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; configs/default.yaml lists every key.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")]
Where = Annotated[str | None, typer.Option("--where", help="SQL condition over the columns of `curator columns`.")]
Filter = Annotated[
    str | None, typer.Option("--filter", help="Typed filter as JSON, beside or instead of --where: docs/selection.md.")
]
Sources = Annotated[list[str] | None, typer.Argument(help="Folders, images, videos, tables, tars or URLs.")]
Fps = Annotated[float | None, typer.Option("--fps", help="Video frames per second; 1 when nothing is said.")]
EveryNth = Annotated[int | None, typer.Option("--every-nth", help="Take every n-th video frame; 1 takes all.")]
Keyframes = Annotated[
    bool | None, typer.Option("--keyframes/--no-keyframes", help="Take only key frames of videos: the cheapest.")
]
Metadata = Annotated[str | None, typer.Option("--metadata", help="Table joined to the images by file name.")]
FolderLabels = Annotated[
    bool | None,
    typer.Option("--labels-from-folders/--no-labels-from-folders", help="The parent folder's name is the label."),
]
FolderSplits = Annotated[
    bool | None,
    typer.Option("--splits-from-folders/--no-splits-from-folders", help="A folder train, val or test is the split."),
]
Model = Annotated[str | None, typer.Option("--model", help="See `curator models`.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Make anew in full what only grew by appended images.")]
Budget = Annotated[str | None, typer.Option("--select", help="How many to pick: a number or a share such as 5%.")]

Command = TypeVar("Command", bound=Callable[..., None])


def told(command: Command) -> Command:
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


FLAGS = {
    "budget": "select.budget", "fps": "sources.fps", "every_nth": "sources.every_nth", "keyframes": "sources.keyframes",
    "metadata": "sources.metadata", "labels_from_folders": "sources.labels_from_folders",
    "splits_from_folders": "sources.splits_from_folders", "model": "embed.model", "threshold": "neardups.threshold",
    "keep": "neardups.keep", "neardups_method": "neardups.method", "neardups_space": "neardups.space",
    "neardups_per_group": "neardups.per_group", "window_s": "neardups.window_s",
    "method": "select.method", "name": "select.name", "where": "select.where", "filter": "select.filter",
    "per_group": "select.per_group", "quotas": "select.quotas", "preselected": "select.preselected",
    "strategies": "select.strategies", "min_distance": "select.min_distance", "spacing": "select.spacing_s",
    "covers_from": "select.threshold", "stop_coverage": "select.stop_coverage", "scores": "select.scores",
}  # fmt: skip


def flags(given: dict[str, Any]) -> list[str]:
    """Command-line flags as settings; a flag of the three ways to sample a video takes the others back."""
    out = []
    if given.get("fps") is not None or given.get("every_nth") is not None or given.get("keyframes"):
        out += ["sources.fps=null", "sources.every_nth=null", "sources.keyframes=false"]
    if given.get("method"):
        out.append("select.strategies=[]")
    if given.get("strategies"):
        out.append("select.method=strategies")
    for name, key in FLAGS.items():
        value = given.get(name)
        if value == "":  # --where "" takes the stored one back
            out.append(f"{key}=null")
        elif value is not None:
            is_yaml = name in ("quotas", "strategies", "filter") or not isinstance(value, str)
            out.append(f"{key}={value if is_yaml else json.dumps(value, ensure_ascii=False)}")
    return out


def config_of(workspace: Path, file: Path | None, settings: list[str]) -> Config:
    """The settings over the configuration file, or without one over what the workspace was last run with."""
    from curator import config
    from curator.workspace import MANIFEST, open_workspace

    stored: dict[str, Any] = {}
    if file is None and (workspace / MANIFEST).exists():
        kept = open_workspace(workspace).snapshot.config
        stored = {key: value for key, value in kept.items() if not key.startswith("_")}
    return config.load(file, settings, base=stored)


def one_line(text: str) -> str:
    """One line, whatever a file name holds."""
    return text.encode("unicode_escape").decode("ascii") if any(ord(c) < 32 for c in text) else text


def print_json(body: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(body, ensure_ascii=False, indent=1, default=str))


@contextmanager
def bar(as_json: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, for what takes longer than a second; JSON lines for a parent process."""
    if os.environ.get(PROGRESS) == "json":
        yield _told_as_json()
        return
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


def _told_as_json() -> Progress:
    """One line on stderr for a new stage, for its end, and a few times a second between."""
    last: tuple[str, float] = ("", 0.0)

    def progress(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if stage != last[0] or done == total or now - last[1] >= TOLD_EVERY_S:
            last = (stage, now)
            line = json.dumps({"progress": {"stage": stage, "done": done, "total": total}})
            print(line, file=sys.stderr, flush=True)

    return progress
