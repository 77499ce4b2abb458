"""Commands that judge a selection: against another one, and for one image."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from curator.cli.common import AsJson, Place, bar, one_line, print_json, told

app = typer.Typer()


@app.command()
@told
def compare(
    first: Annotated[str, typer.Argument(metavar="SEL_A", help="Name of a selection.")],
    second: Annotated[str, typer.Argument(metavar="SEL_B", help="Name of another.")],
    workspace: Place,
    as_json: AsJson = False,
) -> None:
    """Two selections side by side: overlap, coverage, groups, and who wins on what.

    Example: curator compare selection diverse-200 -w street-scenes
    """
    from curator import pipeline
    from curator.pipeline.comparing import compare as judge
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    with bar(as_json) as progress:
        found = judge(place, first, second, pipeline.stored_config(place), progress=progress)
    if as_json:
        print_json(found)
        return
    for sentence in found["sentences"]:
        typer.echo(one_line(sentence))
    _table(found)


def _table(found: dict[str, Any]) -> None:
    """Every measure of both, and what random draws of the same size reach."""
    width = max((len(m["name"]) for m in found["measures"]), default=0)
    names = (found["a"]["name"][:20], found["b"]["name"][:20], "random")
    typer.echo(f"\nat {found['at']:,} picks".ljust(width + 3) + "".join(f"{name:>22}" for name in names))
    for m in found["measures"]:
        show = "{:.1%}".format if m["is_share"] else "{:.3f}".format
        marks = {side: "*" if m["winner"] == side and m["is_clear"] else " " for side in ("a", "b")}
        chance = "" if m["random_a"] is None else f"{show(m['random_a'])} ± {show(m['spread'] / 2**0.5)}"
        typer.echo(f"  {m['name']:<{width}}{show(m['a']) + marks['a']:>22}{show(m['b']) + marks['b']:>22}{chance:>22}")
    typer.echo("  * clearly better: by more than two random draws differ; accuracies on the same test points")


@app.command()
@told
def why(
    row: Annotated[int, typer.Argument(help="Row number.")],
    workspace: Place,
    selection: Annotated[str | None, typer.Option(help="Name of the selection, when there are several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Why an image was picked or was not.

    Example: curator why 17 -w street-scenes
    """
    from curator import pipeline
    from curator.pipeline.explaining import why as explain
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    facts = explain(place, row, pipeline.stored_config(place), selection=selection)
    if as_json:
        print_json(facts)
        return
    typer.echo(f"row {row}  {one_line(facts['uri'])}")
    for sentence in facts["sentences"]:
        typer.echo(f"  {one_line(sentence)}")
