"""What the doors say of a workspace and of one image: the same plain values for terminal, API and page."""

from __future__ import annotations

from typing import Any

import numpy as np

from curator.catalog import Catalog
from curator.pipeline.stages import states
from curator.workspace import Workspace

SHOWN_FAULTS = 20
SHOWN_RUNS = 5


def info(workspace: Workspace) -> dict[str, Any]:
    """What is in the workspace, what is stale, the last runs, unreadable files."""
    from curator.pipeline import stored_config

    faults = unreadable(workspace)
    return {
        "path": str(workspace.path), "rows": workspace.n_rows, "snapshot": workspace.snapshot.sequence,
        "sources": list(workspace.snapshot.sources), "stages": states(workspace, stored_config(workspace)),
        "spaces": workspace.names("vectors"), "columns": workspace.names("columns"),
        "selections": {name: len(workspace.selection(name)) for name in workspace.names("selections")},
        "n_unreadable": len(faults), "unreadable": faults[:SHOWN_FAULTS], "runs": workspace.runs()[-SHOWN_RUNS:],
    }  # fmt: skip


def show(workspace: Workspace, row: int) -> dict[str, Any]:
    """Everything known about one image.

    Raises:
        UnknownRow: the row was never given.
    """
    workspace.check_row(row)
    with Catalog(workspace) as catalog:
        record: dict[str, Any] = catalog.table(rows=np.asarray([row])).to_pylist()[0]
    record["selections"] = selections_with(workspace, row)
    return record


def columns(workspace: Workspace) -> list[dict[str, str]]:
    """Columns that filters, quotas and keep policies can name."""
    with Catalog(workspace) as catalog:
        return [{"name": c.name, "type": c.type, "origin": c.origin} for c in catalog.columns()]


def selections_with(workspace: Workspace, row: int) -> list[dict[str, Any]]:
    """Selections that hold the row, with its rank and the reason it was picked."""
    chosen = ((name, workspace.selection(name)) for name in workspace.names("selections"))
    return [
        {"selection": name, "rank": at + 1, "reason": selection.reasons[at]}
        for name, selection in chosen
        for at in np.flatnonzero(selection.rows == row).tolist()
    ]


def unreadable(workspace: Workspace) -> list[dict[str, Any]]:
    """Present files that could not be read, each with its reason."""
    with Catalog(workspace) as catalog:
        has_status = any(column.name == "status" for column in catalog.columns())
        condition = "reason IS NOT NULL" + (" AND status = 'present'" if has_status else "")
        found: list[dict[str, Any]] = catalog.table(["row", "uri", "reason", "message"], where=condition).to_pylist()
    return found
