"""Commands that find more like a failure: campaigns, their batches, triggers, and tiles for small things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli.common import AsJson, ConfigFile, Place, Settings, bar, config_of, one_line, print_json, told
from curator.cli.deciding import parsed_json, parsed_rows, person
from curator.errors import UsageError

if TYPE_CHECKING:
    from curator.searching import Served
    from curator.state import State

app = typer.Typer()


@app.command()
@told
def campaign(
    name: Annotated[str, typer.Argument(help="Name of the campaign.")],
    workspace: Place,
    rows: Annotated[str | None, typer.Option(help="Failing rows with commas: starts the campaign.")] = None,
    filter: Annotated[str | None, typer.Option(help="Failing rows by a typed filter, as JSON.")] = None,
    mistakes: Annotated[tuple[str, str] | None, typer.Option(help="Columns label and prediction that differ.")] = None,
    collection: Annotated[str | None, typer.Option(help="Failing rows are those of a collection.")] = None,
    pool: Annotated[str | None, typer.Option(help="Typed filter of who may be found; none: the unlabelled.")] = None,
    modes: Annotated[int | None, typer.Option(help="How many failure modes; none: as many as the data shows.")] = None,
    budget: Annotated[int, typer.Option(help="How many may be labelled in all.")] = 200,
    spacing: Annotated[float, typer.Option(help="Least seconds between finds of one video.")] = 1.0,
    delete: Annotated[bool, typer.Option("--delete", help="Take the campaign away.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a campaign from failing images, or show how one stands: modes, precision, budget.

    Example: curator campaign dusk -w street-scenes --mistakes label meta_prediction
    """
    from curator import mining

    with _opened(workspace) as (served, state):
        if delete:
            mining.delete(state, name, who=person())
            body: dict[str, Any] = {"deleted": name}
        else:
            if rows or filter or mistakes or collection:
                mining.create(
                    served, state, name, who=person(), rows=parsed_rows(rows) if rows else (),
                    filter=parsed_json(filter), mistakes=mistakes, collection=collection, pool=parsed_json(pool),
                    n_modes=modes, budget=budget, spacing_s=spacing,
                )  # fmt: skip
            body = mining.overview(served, state, name)
    if as_json:
        print_json(body)
        return
    if delete:
        typer.echo(f"deleted {name}")
        return
    typer.echo(f"{name}: {body['n_failures']} failures, {body['accepted']} accepted of {body['reviewed']} reviewed")
    for mode in body["modes"]:
        rate = mode["precision"]
        typical = ", ".join(f"{one['column']} {one['value']} x{one['lift']:.1f}" for one in mode["typical"])
        share = "no answer yet" if rate["share"] is None else f"precision {rate['share']:.2f}"
        typer.echo(f"  mode {mode['id']}: {mode['size']} failures, medoid row {mode['medoid']}, {share}, "
                   f"{mode['left']} of {mode['share']} left{f'; {typical}' if typical else ''}")  # fmt: skip


@app.command()
@told
def mine(
    name: Annotated[str, typer.Argument(help="Name of the campaign.")],
    workspace: Place,
    mode: Annotated[int, typer.Option(help="Failure mode.")] = 1,
    next: Annotated[int, typer.Option(help="How many images to show next.")] = 20,
    accept: Annotated[str | None, typer.Option(help="Rows that show the failure.")] = None,
    discard: Annotated[str | None, typer.Option(help="Rows that do not.")] = None,
    skip: Annotated[str | None, typer.Option(help="Rows not to be shown again.")] = None,
    export: Annotated[str | None, typer.Option(help="Name of a selection for what was accepted.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer images of a campaign, then show those most like the accepted and least like the discarded.

    Example: curator mine dusk -w street-scenes --mode 1 --accept 17,40 --discard 23 --next 20
    """
    from curator import mining

    with _opened(workspace) as (served, state):
        for verdict, rows in (("accept", accept), ("discard", discard), ("skip", skip)):
            if rows:
                given = [served.columns.check_row(row) for row in parsed_rows(rows)]
                mining.review(state, name, mode, given, verdict, who=person())
        if export is not None:
            body = mining.export(served.workspace, state, name, export)
        else:
            body = mining.next_batch(served, state, name, mode, next)
    if as_json:
        print_json(body)
        return
    if export is not None:
        typer.echo(f"{body['count']} accepted are selection {body['selection']}")
        return
    for hit in body["hits"]:
        typer.echo(f"{hit['score']:8.3f}  {hit['row']:>8}  {hit['similarity']:.3f} to {hit['nearest']}  "
                   f"{one_line(hit['uri'])}")  # fmt: skip


@app.command()
@told
def triggers(
    workspace: Place,
    add: Annotated[str | None, typer.Option(help="Trigger to make from a campaign's mode.")] = None,
    campaign: Annotated[str | None, typer.Option(help="The campaign.")] = None,
    mode: Annotated[int, typer.Option(help="Its mode.")] = 1,
    filter: Annotated[str | None, typer.Option(help="Typed filter that new images must pass too, as JSON.")] = None,
    quota: Annotated[int, typer.Option(help="Most images taken of one batch.")] = 20,
    threshold: Annotated[float | None, typer.Option(help="Least probability; none: from the positives.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Run all on what is new now.")] = False,
    remove: Annotated[str | None, typer.Option(help="Trigger to take away.")] = None,
    as_json: AsJson = False,
) -> None:
    """List triggers with their yield, precision and drift; make, run and remove them. `curator run` runs them too.

    Example: curator triggers -w street-scenes --add dusk-watch --campaign dusk --mode 1 --quota 20
    """
    from curator import mining

    with _opened(workspace) as (served, state):
        if add is not None:
            if campaign is None:
                raise UsageError("a trigger is made from a campaign; name it with --campaign")
            mining.add_trigger(
                served, state, add, campaign=campaign, mode=mode, who=person(), filter=parsed_json(filter),
                quota=quota, threshold=threshold,
            )  # fmt: skip
        elif remove is not None:
            mining.delete_trigger(state, remove, who=person())
        runs = mining.run_triggers(served, state, who=person()) if run else []
        body = {"triggers": mining.triggers(state), "runs": runs}
    if as_json:
        print_json(body)
        return
    for one in body["triggers"]:
        found = sum(len(past["rows"]) for past in one["runs"])
        typer.echo(f"{one_line(one['name'])}: mode {one['mode']} of {one['campaign']}, {found} found in "
                   f"{len(one['runs'])} batches, from probability {one['threshold']:.3f}")  # fmt: skip
    for past in runs:
        typer.echo(f"ran {one_line(past['trigger'])}: {len(past['rows'])} of {past['n_new']} new images"
                   + (f"; {past['error']}" if past["error"] else "; scores drifted" * past["has_drifted"]))  # fmt: skip


@app.command()
@told
def tiles(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Embed a grid of overlapping crops of every image, for what is small in the frame.

    Example: curator tiles -w street-scenes --set tiles.grid=3
    """
    from curator import pipeline

    with bar(as_json) as progress:
        done = pipeline.tile(workspace, config_of(workspace, config, settings or []), progress=progress)
    body = {"stage": done.name, "skipped": done.skipped, "seconds": round(done.seconds, 3), "counts": done.counts}
    if as_json:
        print_json(body)
        return
    counts = done.counts
    typer.echo(f"tiles: {'up to date, ' if done.skipped else ''}{counts['n_tiles']} in space {counts['space']}")


def watch(workspace: Path) -> list[dict[str, Any]]:
    """Run every trigger of a workspace after new images came; nothing where there is none."""
    from curator import mining
    from curator.state import open_state

    with open_state(workspace, create=False) as state:
        if not state.documents("trigger"):
            return []
    with _opened(workspace) as (served, state):
        return mining.run_triggers(served, state, who="trigger")


@contextmanager
def _opened(workspace: Path) -> Iterator[tuple[Served, State]]:
    from curator.searching import open_served
    from curator.state import open_state
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    with open_state(place.path, create=False) as state:
        yield open_served(place, state), state
