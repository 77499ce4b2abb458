"""Commands about what must not meet, and about what is odd: splits, leaks, issues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from curator.cli.common import AsJson, ConfigFile, Place, Settings, bar, config_of, one_line, print_json, told
from curator.errors import UsageError

app = typer.Typer()

SHOWN = 10  # worst pairs printed


@app.command()
@told
def split(
    workspace: Place,
    ratios: Annotated[
        str | None, typer.Option(help="Shares of train, val and test, or named ones: train=0.7,test=0.3.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Never torn: video, folder, neardup, look or columns, with commas between.")
    ] = None,
    balance: Annotated[str | None, typer.Option(help="Columns every part should hold alike, with commas.")] = None,
    keep: Annotated[str | None, typer.Option(help="Column of an existing split: only what leaks moves.")] = None,
    against: Annotated[str | None, typer.Option(help="Column of an existing split to compare with.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the split; it becomes the column split_NAME.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Divide the images into parts between which nothing leaks, balanced, with the proof.

    Example: curator split -w street-scenes --ratios 0.8,0.1,0.1 --group-by video,neardup --balance label
    """
    from curator.pipeline import splitting
    from curator.workspace import open_workspace

    asked = {"name": name, "ratios": ratios, "keep": keep}
    changes = [f"split.{key}={json.dumps(value or None)}" for key, value in asked.items() if value is not None]
    lists = {"group_by": group_by, "balance": balance}
    changes += [f"split.{key}={json.dumps(_names(text))}" for key, text in lists.items() if text is not None]
    place = open_workspace(workspace)
    with bar(as_json) as progress, place.writing("split") as writer:
        done = splitting.split(
            writer, config_of(workspace, config, [*changes, *(settings or [])]), progress, against=against
        )
    if as_json:
        print_json({"name": done.name, "column": f"split_{done.name}", **done.meta})
        return
    for line in _split_lines(done.name, done.meta):
        typer.echo(line)


@app.command()
@told
def leaks(
    workspaces: Annotated[
        list[Path] | None, typer.Argument(help="Two workspaces: which images of the second are in the first?")
    ] = None,
    *,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="One workspace: leaks between its own parts.")
    ] = None,
    split_column: Annotated[str, typer.Option(help="With -w: the column that names the parts.")] = "split",
    threshold: Annotated[float | None, typer.Option(help="Cosine; without it that of near-duplicates.")] = None,
    bits: Annotated[int, typer.Option(help="Perceptual hashes that differ in at most so many of 64 bits.")] = 4,
    target: Annotated[Path | None, typer.Option("--to", help="File of all leaks: .csv or .json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find images of one set that are in another: the same bytes, the same look, or near-duplicates.

    Example: curator leaks train-workspace test-workspace --to leaks.csv
    """
    from curator.pipeline import leaking
    from curator.workspace import open_workspace

    given = workspaces or []
    if (len(given) == 2) == (workspace is not None) or len(given) not in (0, 2):
        raise UsageError(
            f"{len(given)} workspaces and {'a' if workspace else 'no'} -w; expected two workspaces to compare, "
            "or -w WORKSPACE with --split-column"
        )
    with bar(as_json) as progress:
        if workspace is not None:
            found = leaking.across_parts(
                open_workspace(workspace), split_column, threshold=threshold, bits=bits, progress=progress
            )
        else:
            found = leaking.between(
                open_workspace(given[0]), open_workspace(given[1]), threshold=threshold, bits=bits, progress=progress
            )
    if target is not None:
        leaking.write(found, target)
    if as_json:
        print_json(found.to_dict(first=SHOWN))
        return
    for line in _leak_lines(found):
        typer.echo(line)
    if target is not None:
        typer.echo(f"{len(found.leaks)} leaks written to {target}")


@app.command()
@told
def issues(workspace: Place, config: ConfigFile = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Find outliers and dark, bright, blurry, empty or oddly shaped pictures.

    Example: curator issues -w street-scenes --set issues.blurry=0.15
    """
    from curator import pipeline

    with bar(as_json) as progress:
        result = pipeline.run_one("issues", workspace, config_of(workspace, config, settings or []), progress=progress)
    if as_json:
        print_json({
            "stage": result.name, "skipped": result.skipped, "seconds": round(result.seconds, 3),
            "counts": result.counts,
        })  # fmt: skip
        return
    shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.counts.items())
    typer.echo(f"issues: {'up to date, ' if result.skipped else ''}{shown}")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _split_lines(name: str, meta: dict[str, Any]) -> Iterator[str]:
    """What a split is, what it keeps and what it does not reach."""
    n = max(sum(meta["sizes"].values()), 1)
    parts = ", ".join(f"{part} {size} ({size / n:.1%})" for part, size in meta["sizes"].items())
    grouped = ", ".join(meta["config"]["group_by"]) or "nothing"
    yield f"split_{name}: {parts}; {meta['n_groups']} groups by {grouped}, the largest of {meta['largest_group']} rows"
    proof = meta["certificate"]
    torn = ", ".join(f"{count} {key} torn" for key, count in proof["torn"].items())
    yield (
        f"  checked: {proof['rows_across']} rows with a near-duplicate at {proof['threshold']:g} or above in another "
        f"part{', ' + torn if torn else ''}"
    )
    for one in meta["balance"]:
        far = ", ".join(f"{part} {distance:.3f}" for part, distance in one["distance"].items())
        yield f"  balance of {one['column']}: distance to the whole {far}"
    old = meta["against"]
    if old:
        yield (
            f"  against {old['column']}: {old['n_moved']} of {old['n']} rows are elsewhere; {old['rows_across']} rows "
            "leaked there"
        )
    yield from (f"  not reached: {text}" for text in meta["unmet"])


def _leak_lines(found: Any) -> Iterator[str]:
    for pair in found.pairs:
        yield (
            f"{pair.b} in {pair.a}: {pair.n_leaking} of {pair.n_b} images ({pair.share:.1%}); "
            f"same bytes {pair.n_exact}, same look {pair.n_hash}, cosine {found.threshold:g} or above {pair.n_near}"
        )
    for leak in found.leaks[:SHOWN]:
        bits = "-" if leak.bits is None else str(leak.bits)
        yield f"  {leak.similarity:6.4f} {bits:>3} bits{' same bytes' if leak.exact else ''}  " + one_line(
            f"{leak.uri_b} (row {leak.row_b}) = {leak.uri_a} (row {leak.row_a})"
        )
    if len(found.leaks) > SHOWN:
        yield f"  ... and {len(found.leaks) - SHOWN} more; --to FILE writes all"
    yield from found.notes
