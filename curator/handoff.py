"""A selection leaves the workspace: as a list, a table, a COCO file, copies, links or video frames."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import numpy as np

from curator import exchange
from curator.catalog import SAMPLE_COLUMNS, Catalog, Column
from curator.data import Progress, no_progress
from curator.errors import UsageError
from curator.exchange import Exported, Format
from curator.pipeline.scanning import samples_from
from curator.workspace import Workspace


def export(
    workspace: Workspace,
    selection: str,
    format: str,
    target: Path | str,
    *,
    first: int | None = None,
    overwrite: bool = False,
    image_format: Literal["jpg", "png"] = "jpg",
    progress: Progress = no_progress,
) -> Exported:
    """Write a selection, best pick first.

    Args:
        selection: its name.
        format: one of `exchange.FORMATS`.
        target: file, or folder for copy, symlink and frames.
        first: only the best so many; a prefix of a selection is the smaller selection.

    Raises:
        UsageError: an unknown format, `first` is not positive, or the target is in the way.
        UnknownSelection: there is no such selection.
        CannotWrite: the disk refuses.
    """
    if format not in exchange.FORMATS:
        raise UsageError(f"unknown format {format!r}; expected one of {', '.join(exchange.FORMATS)}")
    if first is not None and first < 1:
        raise UsageError(f"first is {first}; expected at least 1")
    chosen = workspace.selection(selection)
    rows = chosen.rows[:first]
    with Catalog(workspace) as catalog:
        table = catalog.table(rows=rows)
    at = {row: i for i, row in enumerate(table["row"].to_pylist())}
    plain = [n for n in SAMPLE_COLUMNS if n in table.column_names]
    shown = [n for n in table.column_names if n not in {*plain, "label", "width", "height", "tag_ids", "tag_scores"}]
    derived = {column.name for column in _derived(workspace)}
    metadata = [name for name in shown if name not in derived]
    samples = dict(samples_from(table.select([*plain, *metadata])))
    records = table.to_pylist()
    out = []
    for rank, (row, gain, reason) in enumerate(
        zip(rows.tolist(), chosen.gains[:first].tolist(), chosen.reasons[:first], strict=True), start=1
    ):
        record = records[at[row]]
        columns = {name: _scalar(record[name]) for name in shown}
        out.append(
            exchange.ExportRow(
                rank=rank, row=row, uri=record["uri"], sample=samples[row], gain=float(np.float32(gain)), reason=reason,
                width=record.get("width"), height=record.get("height"), labels=tuple(record["labels"] or ()),
                columns=columns,
            )
        )  # fmt: skip
    return exchange.export(
        out,
        cast(Format, format),  # exchange refuses what it does not know
        target=Path(target),
        overwrite=overwrite,
        image_format=image_format,
        progress=progress,
    )


def _derived(workspace: Workspace) -> list[Column]:
    with Catalog(workspace) as catalog:
        return [column for column in catalog.columns() if column.origin != "samples"]


def _scalar(value: object) -> str | int | float | bool | None:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
