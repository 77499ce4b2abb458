"""Commands that look at a workspace and change nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli.common import AsJson, Place, Where, one_line, print_json, told

if TYPE_CHECKING:
    from curator.workspace import Workspace

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
    import numpy as np

    from curator.catalog import Catalog
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    place.check_row(row)
    with Catalog(place) as catalog:
        record = catalog.table(rows=np.asarray([row])).to_pylist()[0]
    record["selections"] = _selections_with(place, row)
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
        print_json(body)
        return
    typer.echo(f"{place.path}: {place.n_rows} rows, snapshot {place.snapshot.sequence}")
    typer.echo(f"sources     {', '.join(place.snapshot.sources) or 'none yet'}")
    typer.echo("stages      " + ", ".join(f"{name} {state}" for name, state in states.items()))
    typer.echo(f"spaces      {', '.join(place.names('vectors')) or 'none yet'}")
    chosen = ", ".join(f"{name} ({len(place.selection(name))})" for name in place.names("selections"))
    typer.echo(f"selections  {chosen or 'none yet'}")
    typer.echo(f"unreadable  {len(faults)}")
    for fault in faults[:20]:
        typer.echo(f"  row {fault['row']}  {fault['reason']}  {one_line(fault['uri'])}: {fault['message']}")
    for line in place.runs()[-5:]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["finished"]))
        typer.echo(f"{when}  {line['stage']}  {line['seconds']} s")


@app.command()
@told
def columns(workspace: Place, as_json: AsJson = False) -> None:
    """Columns that filters, quotas and keep policies can name.

    Example: curator columns -w street-scenes
    """
    from curator.catalog import Catalog
    from curator.workspace import open_workspace

    with Catalog(open_workspace(workspace)) as catalog:
        found = catalog.columns()
    if as_json:
        print_json([{"name": column.name, "type": column.type, "origin": column.origin} for column in found])
        return
    for column in found:
        typer.echo(f"{column.name:<20} {column.type:<12} {column.origin}")


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
        has_status = any(column.name == "status" for column in catalog.columns())
        condition = "reason IS NOT NULL" + (" AND status = 'present'" if has_status else "")
        table = catalog.table(["row", "uri", "reason", "message"], where=condition)
    found: list[dict[str, Any]] = table.to_pylist()
    return found
