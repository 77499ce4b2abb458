"""Commands that look at a workspace and change nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from curator.cli.common import AsJson, Place, Where, one_line, print_json, told

app = typer.Typer()


@app.command()
@told
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
        print_json({"hits": hits, "how": found.how, "space": found.space, "index": found.index,
                     "recall": found.recall, "note": found.note})  # fmt: skip
        return
    if found.note:
        typer.echo(found.note, err=True)
    for hit in found.hits:
        typer.echo(f"{hit.score:7.4f}  {hit.row:>8}  {one_line(hit.uri)}")


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
    typer.echo(f"spaces      {', '.join(body['spaces']) or 'none yet'}")
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
