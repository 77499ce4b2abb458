"""`curator calibrate`: which similarity means the same image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli.common import AsJson, ConfigFile, Place, Settings, bar, config_of, one_line, print_json, told
from curator.errors import UsageError

if TYPE_CHECKING:
    from curator.config import Config
    from curator.workspace import Workspace

app = typer.Typer()

KEYS = {"s": True, "d": False, "u": None}


@app.command()
@told
def calibrate(
    workspace: Place,
    sample: Annotated[int | None, typer.Option(help="Images that are edited.")] = None,
    answers: Annotated[Path | None, typer.Option(help="CSV of judged pairs: row_a,row_b,same.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Judge about 60 pairs here: same, different or unsure.")] = False,
    kept: Annotated[bool, typer.Option("--kept", help="Fit the answers given so far, here and over HTTP.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the result from answers; 'answers' unless given.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Learn from your own images which similarity means the same image, or from pairs you judge.

    Then `curator neardups -w street-scenes --threshold self` uses what was learned.

    Example: curator calibrate -w street-scenes
    """
    from curator.pipeline import calibrating
    from curator.workspace import open_workspace

    is_judged = ask or kept or answers is not None
    if name is not None and not is_judged:
        raise UsageError(f"--name {name!r} names a result of answers; add --ask, --kept or --answers FILE")
    asked = [] if sample is None else [f"calibrate.sample={sample}"]
    found = config_of(workspace, config, [*asked, *(settings or [])])
    place = open_workspace(workspace)
    with bar(as_json or ask) as progress:
        if is_judged:
            called = "answers" if name is None else name
            _check_name(called)
            _take_answers(place, found, answers, ask=ask)
            body = calibrating.calibrate_answers(place, found, name=called, progress=progress)
        else:
            body = calibrating.calibrate(place, found, progress=progress)
    if as_json:
        print_json(body)
        return
    for line in _lines(body):
        typer.echo(line)
    for note in body["notes"]:
        typer.echo(note, err=True)


def _check_name(name: str) -> None:
    import re

    from curator.config import NAME

    if not re.fullmatch(NAME, name) or name in ("self", "moments"):
        raise UsageError(
            f"--name {name!r}: expected a letter, then letters, digits, '_', '.' or '-', and neither self nor moments"
        )


def _take_answers(place: Workspace, config: Config, file: Path | None, *, ask: bool) -> None:
    from curator.pipeline.answers import keep_answer, read_answers

    if file is not None:
        for answer in read_answers(place, file):
            keep_answer(place, answer)
    if ask:
        _ask(place, config)


def _ask(place: Workspace, config: Config) -> None:
    """Ask pair by pair until all are judged or the person stops; every answer is kept at once."""
    from curator.pipeline.answers import Answer, keep_answer, questions, side_by_side

    waiting = questions(place, config)
    if not waiting:
        typer.echo(
            "no pair is left to ask about: as many as calibrate.n_pairs have an answer; a larger number asks more",
            err=True,
        )
    for number, question in enumerate(waiting, start=1):
        shown = side_by_side(place, question)
        typer.echo(f"pair {number} of {len(waiting)}, similarity {question.similarity:.3f}", err=True)
        for row, uri in ((question.row_a, question.uri_a), (question.row_b, question.uri_b)):
            typer.echo(f"  row {row}  {one_line(uri)}", err=True)
        if shown is not None:
            typer.echo(f"  side by side: {shown}", err=True)
        key = _key()
        if key == "q":
            return
        keep_answer(place, Answer(question.row_a, question.row_b, KEYS[key]))


def _key() -> str:
    """One of s, d, u and q; the end of the input is q."""
    while True:
        typer.echo("same (s), different (d), unsure (u) or quit (q)? ", nl=False, err=True)
        line = sys.stdin.readline()
        key = line.strip().lower()[:1]
        if not line or key == "q":
            return "q"
        if key in KEYS:
            return key


def _lines(body: dict[str, Any]) -> list[str]:
    out = []
    for result in body["results"]:
        where = " in the metric for copies" if result["space"] == "copies" else ""
        out.append(f"{result['name']}{where}: threshold {_with(result, 'threshold', 'interval')}")
        out.append(
            f"  expected precision {_with(result, 'precision', 'precision_interval')}, "
            f"recall {_with(result, 'recall', 'recall_interval')}"
        )
        if result.get("same_edits"):
            out.append(f"  counts as the same: {', '.join(result['same_edits'])}")
    metric = body.get("metric")
    if metric:
        kept = "kept" if metric["kept"] else "not kept"
        out.append(
            f"metric for copies: {metric['form']}, {kept}; average precision on held-out edits "
            f"{metric['gain']:+.3f} +- {metric['error']:.3f} against plain cosine"
        )
    return out


def _with(result: dict[str, Any], value: str, interval: str) -> str:
    low_high = result.get(interval)
    span = f" ({low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
    return f"{result[value]:.3f}{span}"
