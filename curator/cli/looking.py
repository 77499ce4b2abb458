"""Commands that look at a workspace and change nothing."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from curator.cli.common import AsJson, Place, one_line, print_json, told

app = typer.Typer()


@app.command()
@told
def show(row: Annotated[int, typer.Argument(help="Row number.")], workspace: Place, as_json: AsJson = False) -> None:
    """Everything known about one image.

    Example: curator show 17 -w street-scenes
    """
    from curator.pipeline import describing
    from curator.workspace import open_workspace

    record = describing.show(open_workspace(workspace), row)
    if as_json:
        print_json(record)
        return
    for name, value in record.items():
        if value not in (None, "", []):
            typer.echo(f"{name:<18} {one_line(str(value))}")


@app.command()
@told
def info(workspace: Place, as_json: AsJson = False) -> None:
    """What is in the workspace, what is stale, the last runs, unreadable files.

    Example: curator info -w street-scenes
    """
    from curator.pipeline import describing
    from curator.workspace import open_workspace

    body = describing.info(open_workspace(workspace))
    if as_json:
        print_json(body)
        return
    typer.echo(f"{body['path']}: {body['rows']} rows, snapshot {body['snapshot']}")
    typer.echo(f"sources     {', '.join(body['sources']) or 'none yet'}")
    typer.echo("stages      " + ", ".join(f"{name} {state}" for name, state in body["stages"].items()))
    typer.echo(f"spaces      {', '.join([*body['spaces'], *body['tiles']]) or 'none yet'}")
    typer.echo(f"selections  {', '.join(f'{name} ({n})' for name, n in body['selections'].items()) or 'none yet'}")
    typer.echo(f"unreadable  {body['n_unreadable']}")
    for fault in body["unreadable"]:
        typer.echo(f"  row {fault['row']}  {fault['reason']}  {one_line(fault['uri'])}: {fault['message']}")
    for line in body["runs"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["finished"]))
        typer.echo(f"{when}  {line['stage']}  {line['seconds']} s")


@app.command()
@told
def columns(workspace: Place, as_json: AsJson = False) -> None:
    """Columns that filters, quotas and keep policies can name.

    Example: curator columns -w street-scenes
    """
    from curator.pipeline import describing
    from curator.workspace import open_workspace

    found = describing.columns(open_workspace(workspace))
    if as_json:
        print_json(found)
        return
    for column in found:
        typer.echo(f"{column['name']:<20} {column['type']:<12} {column['origin']}")
