"""Commands about what people decide: tags, collections, decisions, the state file, and tokens of a served root."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli.common import AsJson, Place, one_line, print_json, told
from curator.errors import UsageError

if TYPE_CHECKING:
    from curator.state import Decision, State

app = typer.Typer()

Rows = Annotated[str | None, typer.Option("--rows", help="Row numbers with commas, such as 3,17,18.")]
FilterText = Annotated[str | None, typer.Option("--filter", help="Typed filter as JSON, instead of rows.")]
SHOWN_ROWS = 1_000


@app.command()
@told
def tags(
    workspace: Place,
    add: Annotated[str | None, typer.Option(help="Tag to give to rows.")] = None,
    remove: Annotated[str | None, typer.Option(help="Tag to take from rows.")] = None,
    rename: Annotated[tuple[str, str] | None, typer.Option(help="A tag and its new name.")] = None,
    rows: Rows = None,
    filter: FilterText = None,
    as_json: AsJson = False,
) -> None:
    """List tags, or give, take and rename them; undo with `curator decisions`.

    Example: curator tags -w street-scenes --add night --filter '{"column": "brightness", "lt": 0.2}'
    """
    _at_most_one(add=add, remove=remove, rename=rename)
    _rows_are_used(rows, filter, add is not None or remove is not None)
    with _state(workspace) as state:
        if rename is not None:
            _said(state.decide("rename_tag", subject=rename[0], value=rename[1], who=person()), as_json)
        elif add is not None:
            _said(state.decide("tag", subject=add, rows=_rows(workspace, rows, filter), who=person()), as_json)
        elif remove is not None:
            _said(state.decide("untag", subject=remove, rows=_rows(workspace, rows, filter), who=person()), as_json)
        else:
            _counted("tags", state.tags(), as_json)


@app.command()
@told
def collections(
    workspace: Place,
    show: Annotated[str | None, typer.Option(help="Collection whose rows to list.")] = None,
    create: Annotated[str | None, typer.Option(help="Collection to make, empty or with --rows.")] = None,
    add: Annotated[str | None, typer.Option(help="Collection to put rows into.")] = None,
    remove: Annotated[str | None, typer.Option(help="Collection to take rows out of.")] = None,
    rename: Annotated[tuple[str, str] | None, typer.Option(help="A collection and its new name.")] = None,
    delete: Annotated[str | None, typer.Option(help="Collection to delete; undo brings it back.")] = None,
    rows: Rows = None,
    filter: FilterText = None,
    as_json: AsJson = False,
) -> None:
    """List collections, or make, fill, rename and delete them.

    Example: curator collections -w street-scenes --add "edge cases" --rows 3,17
    """
    _at_most_one(show=show, create=create, add=add, remove=remove, rename=rename, delete=delete)
    _rows_are_used(rows, filter, create is not None or add is not None or remove is not None)
    with _state(workspace) as state:
        if show is not None:
            found = state.collection(show).tolist()
            _print({"name": show, "rows": found, "total": len(found)}, as_json, [str(row) for row in found])
        elif create is not None:
            given = _rows(workspace, rows, filter) if rows is not None or filter is not None else []
            made = state.decide("create_collection", subject=create, who=person())
            if given:
                made = state.decide("collect", subject=create, rows=given, who=person())
            _said(made, as_json)
        elif add is not None:
            _said(state.decide("collect", subject=add, rows=_rows(workspace, rows, filter), who=person()), as_json)
        elif remove is not None:
            given = _rows(workspace, rows, filter)
            _said(state.decide("uncollect", subject=remove, rows=given, who=person()), as_json)
        elif rename is not None:
            _said(state.decide("rename_collection", subject=rename[0], value=rename[1], who=person()), as_json)
        elif delete is not None:
            _said(state.decide("delete_collection", subject=delete, who=person()), as_json)
        else:
            _counted("collections", state.collections(), as_json)


@app.command()
@told
def decisions(
    workspace: Place,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    row: Annotated[int | None, typer.Option(help="Only about this row.")] = None,
    undo: Annotated[int | None, typer.Option(help="Decision to take back.")] = None,
    redo: Annotated[int | None, typer.Option(help="Undone decision to let hold again.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Who decided what and when, newest first; undo and redo.

    Example: curator decisions -w street-scenes --undo 17
    """
    _at_most_one(undo=undo, redo=redo)
    with _state(workspace) as state:
        if undo is not None:
            _said(state.undo(undo, who=person()), as_json)
        elif redo is not None:
            _said(state.redo(redo, who=person()), as_json)
        else:
            found = state.decisions(kind=kind, row=row, include_undone=True, limit=limit)
            older = found[-1].id if len(found) == limit else None
            body = {"decisions": [one.to_json(rows_up_to=SHOWN_ROWS) for one in found], "before": older}
            _print(body, as_json, [_line(one) for one in found])


@app.command()
@told
def state(
    workspace: Place,
    export: Annotated[Path | None, typer.Option(help="File to write every decision and document to.")] = None,
    import_: Annotated[Path | None, typer.Option("--import", help="Such a file to take in.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare what holds with a replay of the log.")] = False,
    as_json: AsJson = False,
) -> None:
    """Carry what people decided elsewhere and back, as JSON lines; check that it is consistent.

    Example: curator state -w street-scenes --export decisions.jsonl
    """
    from curator.disk import atomic_write, put_bytes

    _at_most_one(export=export, **{"import": import_}, check=check or None)
    with _state(workspace) as kept:
        if export is not None:
            text = "".join(f"{line}\n" for line in kept.export_lines())
            atomic_write(export.absolute(), lambda file: put_bytes(file, text.encode()))
            n = text.count("\n") - 1
            _print({"path": str(export), "lines": n}, as_json, [f"{n} written to {export}"])
        elif import_ is not None:
            try:
                lines = import_.read_text(encoding="utf-8").split("\n")  # a line of JSON may hold other line ends
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"cannot read {import_}: {error}; expected a file of `curator state --export`"
                ) from error
            found = kept.import_lines(lines)
            _print(found, as_json, [f"{key} {value}" for key, value in found.items()])
        else:
            is_consistent = kept.is_consistent() if check else None
            body = {"decisions": kept.newest(), "tags": len(kept.tags()), "collections": len(kept.collections()),
                    "is_consistent": is_consistent}  # fmt: skip
            _print(body, as_json, [f"{key:<14} {value}" for key, value in body.items()])
            if is_consistent is False:
                raise typer.Exit(1)


@app.command()
@told
def token(
    action: Annotated[str, typer.Argument(help="create, list or revoke.")],
    name: Annotated[str | None, typer.Argument(help="Whose token it is.")] = None,
    root: Annotated[Path, typer.Option(help="What `curator serve` is given.")] = Path(),
    role: Annotated[str, typer.Option(help="reader, reviewer or admin.")] = "reader",
    days: Annotated[float, typer.Option(help="Until it ends; 0: never.")] = 90.0,
    as_json: AsJson = False,
) -> None:
    """Make, list and revoke tokens of the service; the secret is printed once and kept nowhere.

    Example: curator token create ann --root workspaces/ --role reviewer --days 30
    """
    from curator.state import open_state

    if action not in ("create", "list", "revoke") or (action != "list" and name is None):
        raise UsageError(f"token {action} {name or ''}; expected create NAME, revoke NAME or list")
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; name what `curator serve` is given")
    with open_state(root, create=action == "create") as kept:
        if action == "list":
            found = [one.to_json() for one in kept.tokens.list()]
            lines = [f"{one['name']:<20} {one['role']:<9} {'alive' if one['is_alive'] else 'ended'}" for one in found]
            _print({"tokens": found}, as_json, lines)
        elif action == "create":
            made, secret = kept.tokens.create(str(name), role, days * 86_400 if days else None)  # type: ignore[arg-type]
            _print({**made.to_json(), "secret": secret}, as_json, [secret])
        else:
            ended = kept.tokens.revoke(str(name))
            _print(ended.to_json(), as_json, [f"revoked {ended.name}"])


def _at_most_one(**actions: object) -> None:
    given = [f"--{name}" for name, value in actions.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} together; give one of them at a time")


def _rows_are_used(rows: str | None, filter: str | None, is_used: bool) -> None:
    if not is_used and (rows is not None or filter is not None):
        raise UsageError("rows without what to do with them; say --add or --remove and a name")


def _state(workspace: Path) -> State:
    """The state beside a workspace that is there."""
    from curator.state import open_state
    from curator.workspace import open_workspace

    return open_state(open_workspace(workspace).path, create=False)


def _rows(workspace: Path, rows: str | None, filter: str | None) -> list[int]:
    """Rows named one by one, or those that a filter lets through."""
    import numpy as np

    from curator.filters import parse_filter
    from curator.searching import open_served
    from curator.workspace import open_workspace

    if (rows is None) == (filter is None):
        raise UsageError("which rows? give exactly one of --rows and --filter")
    place = open_workspace(workspace)
    if rows is not None:
        return [place.check_row(row) for row in parsed_rows(rows)]
    with _state(workspace) as state:
        found: list[int] = np.flatnonzero(open_served(place, state).mask(parse_filter(parsed_json(filter)))).tolist()
    return found


def parsed_rows(text: str) -> list[int]:
    """Row numbers from text.

    Raises:
        UsageError: something that is none.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UsageError(f"rows {text[:60]!r}; expected numbers with commas, such as 3,17,18") from error


def parsed_json(text: str | None) -> Any:
    """A JSON value from an option.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{text[:60]!r} is no JSON: {error}") from error


def person() -> str:
    """Who sits at the machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"


def _said(decision: Decision, as_json: bool) -> None:
    _print(decision.to_json(rows_up_to=SHOWN_ROWS), as_json, [_line(decision)])


def _line(one: Decision) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at))
    value = "" if one.value is None else f" {one.value}"
    undone = f"  (undone by {one.undone_by})" if one.undone_by else ""
    return one_line(f"{one.id:>6}  {when}  {one.who}  {one.kind} {one.subject}{value}: {len(one.rows)} rows{undone}")


def _counted(key: str, found: list[tuple[str, int]], as_json: bool) -> None:
    body = {key: [{"name": name, "count": n} for name, n in found]}
    _print(body, as_json, [f"{n:>8}  {one_line(name)}" for name, n in found])


def _print(body: Any, as_json: bool, lines: list[str]) -> None:
    if as_json:
        print_json(body)
        return
    for line in lines:
        typer.echo(line)
