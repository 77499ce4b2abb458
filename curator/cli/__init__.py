"""The command line: parse, call one function, print.

Nothing heavy is imported before a command needs it, so that `--help` is quick.
Exit code 0: done; 1: a fault in the data or the workspace; 2: the request itself is off.

    common    options, errors in one line, JSON, progress
    stages    run, and one command per stage
    calibrating  calibrate
    finding   search, have
    mining    campaign, mine, triggers, tiles
    looking   show, info, columns
    judging   compare, why
    splitting split, leaks, issues
    deciding  tags, collections, decisions, state, token
    leaving   export, verify, snapshot, models, doctor
    serving   serve
"""

from __future__ import annotations

from typing import Annotated

import typer

from curator.cli import calibrating, deciding, finding, judging, leaving, looking, mining, serving, splitting, stages

app = typer.Typer(
    name="curator",
    help="From raw footage to a justified list of frames to label.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (stages, calibrating, finding, mining, looking, judging, splitting, deciding, leaving, serving):
    app.add_typer(room.app)


def main() -> None:
    """Entry point of the `curator` command."""
    app()


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from curator.version import __version__

        typer.echo(f"curator {__version__}")
        raise typer.Exit
