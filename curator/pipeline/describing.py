"""What the doors say of a workspace and of one image: the same plain values for terminal, API and page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.catalog import Catalog
from curator.errors import StageMissing
from curator.pipeline.stages import states
from curator.workspace import Workspace

SHOWN_FAULTS = 20
SHOWN_RUNS = 5


def info(workspace: Workspace, faults: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What is in the workspace, what is stale, the last runs, unreadable files; those may be known already."""
    from curator.pipeline import stored_config

    faults = unreadable(workspace) if faults is None else faults
    return {
        "path": str(workspace.path), "rows": workspace.n_rows, "snapshot": workspace.snapshot.sequence,
        "sources": list(workspace.snapshot.sources), "stages": states(workspace, stored_config(workspace)),
        "spaces": workspace.names("vectors"), "tiles": workspace.names("tiles"), "columns": workspace.names("columns"),
        "selections": {name: len(workspace.selection(name)) for name in workspace.names("selections")},
        "n_unreadable": len(faults), "unreadable": faults[:SHOWN_FAULTS], "runs": workspace.runs()[-SHOWN_RUNS:],
    }  # fmt: skip


def runs(workspace: Workspace, *, limit: int) -> list[dict[str, Any]]:
    """What ran, newest first, without the configuration that it ran with."""
    told = ("stage", "seconds", "finished", "curator", "counts")
    return [{key: run[key] for key in told if key in run} for run in reversed(workspace.runs()[-limit:])]


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


def selections(workspace: Workspace) -> list[dict[str, Any]]:
    """Every stored selection: how it was asked for and whether it beats chance."""
    out = []
    for name in workspace.names("selections"):
        entry = workspace.entries(f"selections/{name}")[0]
        asked = entry.meta["config"]
        out.append({
            "name": name, "n": entry.n, "method": asked["method"], "budget": entry.meta["budget"],
            "verdict": entry.meta.get("verdict"), "is_better": entry.meta.get("is_better"),
        })  # fmt: skip
    return out


def selection(workspace: Workspace, name: str, *, offset: int = 0, limit: int = 100) -> dict[str, Any]:
    """A page of a stored selection, best pick first, with its evidence and how it was asked for.

    Raises:
        UnknownSelection: there is none of that name.
    """
    workspace.selection(name)
    entry = workspace.entries(f"selections/{name}")[0]
    table = workspace.table(f"selections/{name}")
    picks = table.slice(offset, limit).to_pylist()
    with Catalog(workspace) as catalog:
        named = catalog.table(["row", "uri"], rows=np.asarray([pick["row"] for pick in picks], np.int64))
    uris = dict(zip(named["row"].to_pylist(), named["uri"].to_pylist(), strict=True))
    after = offset + len(picks)
    return {
        "name": name, "n": entry.n, "offset": offset, "next_offset": after if after < entry.n and picks else None,
        "picks": [{**pick, "uri": uris[pick["row"]]} for pick in picks], "evidence": dict(entry.meta),
    }  # fmt: skip


def coverage(workspace: Workspace, name: str) -> tuple[float, NDArray[np.int32]]:
    """Which pick of a stored selection covers each image first.

    Returns:
        The cosine at or above which a pick covers an image; and (n_rows,) int32 for every row ever given: the number
        of the first pick that covers it, from 1; 0 where it was covered from the start by what is labelled already, -1
        where none covers it, -2 where it is not to be covered: it has no vector, or the filter leaves it out.

    Raises:
        UnknownSelection: there is none of that name.
        StageMissing: the selection was made by an older version, or is not one of `curator select`.
    """
    workspace.selection(name)
    entry = workspace.entries(f"selections/{name}")[0]
    covers = workspace.entries(f"covers/{name}")
    if not covers or covers[0].meta["selection"] != entry.fingerprint:
        raise StageMissing(f"it is not known what {name!r} covers; run `curator select --name {name}` again")
    table = workspace.table(f"covers/{name}")
    out = np.full(workspace.n_rows, -2, np.int32)
    out[table["row"].to_numpy()] = table["first_pick"].to_numpy()
    return float(entry.meta["plan"]["threshold"]), out


def splits(workspace: Workspace) -> list[dict[str, Any]]:
    """Every split with its sizes, balance and certificate; each as `curator split --json` prints it."""
    entries = ((name, workspace.entries(f"splits/{name}")[0]) for name in workspace.names("splits"))
    return [{"name": name, "column": f"split_{name}", **entry.meta} for name, entry in entries]


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
