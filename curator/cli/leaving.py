"""Commands that hand a selection over or check what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curator.cli.common import AsJson, Place, bar, print_json, told
from curator.errors import UsageError

app = typer.Typer()


@app.command()
@told
def export(
    selection: Annotated[str, typer.Argument(help="Name of the selection.")],
    workspace: Place,
    target: Annotated[Path, typer.Option("--to", help="File, or folder for copy, symlink and frames.")],
    format: Annotated[str, typer.Option(help="paths, csv, parquet, coco-images, copy, symlink or frames.")] = "csv",
    first: Annotated[int | None, typer.Option(help="Only the best so many.")] = None,
    image_format: Annotated[str, typer.Option(help="Of frames: jpg or png.")] = "jpg",
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a selection for the labelling tool.

    Example: curator export selection -w street-scenes --format frames --to to_label/
    """
    from curator.handoff import export as hand_off
    from curator.workspace import open_workspace

    if image_format not in ("jpg", "png"):
        raise UsageError(f"image format {image_format!r}; expected jpg or png")
    with bar(as_json) as progress:
        done = hand_off(
            open_workspace(workspace), selection, format, target, first=first, overwrite=overwrite,
            image_format="png" if image_format == "png" else "jpg", progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"count": done.count, "path": str(done.path), "notes": list(done.notes)})
        return
    typer.echo(f"{done.count} written to {done.path}")
    for note in done.notes:
        typer.echo(note, err=True)


@app.command()
@told
def verify(workspace: Place, as_json: AsJson = False) -> None:
    """Recompute the near-duplicate certificate and check every file; exit code 1 when something does not hold.

    Example: curator verify -w street-scenes
    """
    from curator.pipeline import verify as check
    from curator.workspace import open_workspace

    with bar(as_json) as progress:
        found = check(open_workspace(workspace), progress=progress)
    if as_json:
        print_json({"is_sound": found.is_sound, "checks": found.checks, "faults": list(found.faults),
                     "certificate": found.certificate})  # fmt: skip
    else:
        for name, text in found.checks.items():
            typer.echo(f"{name:<12} {text}")
        for name, value in (found.certificate or {}).items():
            typer.echo(f"  {name:<22} {value}")
        for fault in found.faults:
            typer.echo(f"FAULT: {fault}", err=True)
        typer.echo("everything holds" if found.is_sound else f"{len(found.faults)} faults")
    if not found.is_sound:
        raise typer.Exit(1)


@app.command()
@told
def snapshot(
    name: Annotated[str | None, typer.Argument(help="Name to keep it under; none: list them.")] = None,
    *,
    workspace: Place,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the named one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep the workspace as it is now under snapshots/NAME, itself a workspace to open with -w.

    Example: curator snapshot before-recount -w street-scenes
    """
    from curator import snapshots
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    if name is None:
        if remove:
            raise UsageError("--remove needs the name of a snapshot; `curator snapshot -w ...` lists them")
        found = snapshots.saved(place)
        if as_json:
            print_json([one.to_json() for one in found])
            return
        for one in found:
            typer.echo(f"{one.name:<24} {one.rows:>9} rows  manifest {one.sequence}")
        return
    if remove:
        snapshots.forget(place, name)
        if as_json:
            print_json({"removed": name})
        return
    kept = snapshots.save(place, name)
    if as_json:
        print_json(kept.to_json())
        return
    typer.echo(f"{kept.rows} rows kept as {place.path / snapshots.FOLDER / name}")


@app.command()
@told
def models(as_json: AsJson = False) -> None:
    """Models that `--model` takes.

    Example: curator models
    """
    import dataclasses

    from curator import embed as embedders

    if as_json:
        print_json([dataclasses.asdict(model) for model in embedders.models()])
        return
    for model in embedders.models():
        size = f"{model.size} px" if model.size else "-"
        dim = str(model.dim) if model.dim else "-"
        typer.echo(
            f"{model.name:<20} {size:>7} {dim:>6}  {model.what}" + ("" if model.available else f" ({model.why_not})")
        )


@app.command()
@told
def doctor(
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="Where a workspace would be.")] = None,
    as_json: AsJson = False,
) -> None:
    """What this machine and installation can do, what is wrong, and how to mend it; exit code 1 on a problem.

    Example: curator doctor
    """
    import dataclasses

    from curator.doctor import examine

    findings = examine(workspace)
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8} {finding.name:<12} {finding.found}")
            if finding.mend:
                typer.echo(f"{'':<21} mend: {finding.mend}")
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)
