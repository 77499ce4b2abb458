"""Why one image is in a selection, or why it is not.

Every reason that holds is told, with its numbers, in the order in which the pipeline decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from curator.catalog import Catalog
from curator.config import Config
from curator.data import Embeddings, IntArray
from curator.pipeline import filtering
from curator.pipeline.comparing import config_of
from curator.pipeline.derive import floats
from curator.pipeline.evidencing import passing
from curator.pipeline.selecting import LIMITS, fails, who_may_be_picked
from curator.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

Facts = dict[str, Any]


def why(
    workspace: Workspace,
    row: int,
    config: Config,
    *,
    selection: str | None = None,
    embeddings_of: Callable[[str], Embeddings] | None = None,
) -> Facts:
    """Say why a row was picked or not.

    Args:
        selection: its name; None: the configured one, else the only one there is. Without any selection
            the answer ends with what came before it.
        embeddings_of: vectors of a space, by whoever holds those of this snapshot; None: they are read.

    Returns:
        Plain values: "row", "uri", "selection", "status" (the first reason: gone, unreadable,
        not_embedded, picked, labelled, duplicate, filtered, low_quality, trimmed, not_picked,
        not_selected_yet), the facts behind it and "sentences".

    Raises:
        UnknownRow: the row was never given.
        UnknownSelection: no selection of that name.
    """
    workspace.check_row(row)
    with Catalog(workspace) as catalog:
        table = catalog.table(rows=np.asarray([row]))
        record = table.to_pylist()[0]
        facts: Facts = {"row": row, "uri": record["uri"], "selection": None, "status": None, "sentences": []}
        name = _name(workspace, config, selection)
        if _is_out(facts, record):
            return facts
        if name is None:
            _duplicate(facts, catalog, record, {})
            missing = f"No selection has been made; run `curator select -w {workspace.path}`."
            return _with(facts, "not_selected_yet", missing)
        facts["selection"] = name
        _against(facts, catalog, table, name, config, embeddings_of or workspace.embeddings)
    return facts


def _is_out(facts: Facts, record: Facts) -> bool:
    """Whether the image never reached a vector; says so."""
    if record.get("status") not in (None, "present"):
        _with(facts, "gone", "It is not in the sources any more, so it is not offered.")
    elif record.get("reason") is not None:
        _with(facts, "unreadable", f"It could not be read: {record['reason']} ({record['message'] or 'no message'}).")
    elif record.get("vector_fault"):
        _with(facts, "not_embedded", f"It has no vector: {record['vector_fault']}.")
    return facts["status"] is not None


def _name(workspace: Workspace, config: Config, asked: str | None) -> str | None:
    there = workspace.names("selections")
    if asked is not None:
        return asked
    if config.select.name in there:
        return config.select.name
    return there[0] if len(there) == 1 else None


def _against(
    facts: Facts,
    catalog: Catalog,
    table: pa.Table,
    name: str,
    config: Config,
    embeddings_of: Callable[[str], Embeddings],
) -> None:
    """Everything that a selection decided about the image; `table` holds its one row."""
    workspace, record = catalog.workspace, table.to_pylist()[0]
    row = int(record["row"])
    chosen = workspace.selection(name)
    own = config_of(config, chosen.config["config"])
    embeddings = embeddings_of(str(chosen.config["space"]))
    at = int(embeddings.positions_of(np.asarray([row]))[0])
    if at < 0:
        _with(facts, "not_embedded", f"It has no vector in {embeddings.space!r}; run `curator embed`.")
        return
    ranks = {picked: rank for rank, picked in enumerate(chosen.rows.tolist(), start=1)}
    if row in ranks:
        facts["rank"], facts["reason"] = ranks[row], chosen.reasons[ranks[row] - 1]
        _with(facts, "picked", f"Pick {ranks[row]:,} of {len(chosen):,} in {name!r}: {facts['reason']}.")
    pool = who_may_be_picked(workspace, embeddings, own)
    if at in pool.preselected:
        _with(facts, "labelled", f"It is labelled already ({own.select.preselected}), so it was not offered again.")
    _duplicate(facts, catalog, record, ranks)
    if not filtering.passes(workspace, np.asarray([row]), own.select)[0]:
        _with(facts, "filtered", f"It does not pass the filter {filtering.in_words(own.select)!r}.")
    elif not passing(workspace, embeddings, own)[at]:
        _with(facts, "filtered", "It does not pass the thresholds of select.strategies.")
    _quality(facts, table, own)
    trimmed = list(chosen.config.get("trimmed", ()))
    if row in trimmed:
        _trimmed(facts, trimmed.index(row), chosen.config)
    if facts["status"] is None:
        facts["status"] = "not_picked"
        others = f"{int(pool.candidates.sum()):,} could be picked and {len(chosen):,} were"
        facts["sentences"].append(f"It could have been picked and was not: {others}.")
    _nearest(facts, catalog, embeddings, at, chosen.rows, ranks, pool.preselected)
    _cluster(facts, workspace, record, chosen.rows)


def _duplicate(facts: Facts, catalog: Catalog, record: Facts, ranks: dict[int, int]) -> None:
    """Whom it is a near-duplicate of, and whether that one was picked; or how many it stands for."""
    kind, kept = record.get("duplicate"), record.get("representative")
    if kind == "kept":
        table = catalog.workspace.column("neardup", ["row", "representative"])
        n = int((table["representative"].to_numpy() == record["row"]).sum()) - 1
        facts["stands_for"] = n
        if n:
            facts["sentences"].append(f"It was kept and stands for {n:,} near-duplicate{'' if n == 1 else 's'}.")
        return
    if kind is None or kept is None:
        return
    similarity, rank = float(record["similarity"]), ranks.get(kept)
    facts["representative"] = {"row": kept, "uri": _uri(catalog, kept), "similarity": similarity, "rank": rank}
    same = "the same file as" if kind == "exact" else "a near-duplicate of"
    then = f"was pick {rank:,}" if rank else "was not picked" if ranks else "was kept"
    if facts["status"] == "picked":
        facts["sentences"].append(f"It is {same} row {kept} at {similarity:.2f}; near-duplicates were allowed.")
    else:
        _with(facts, "duplicate", f"It is {same} row {kept} ({_uri(catalog, kept)}) at {similarity:.2f}, which {then}.")


def _quality(facts: Facts, table: pa.Table, own: Config) -> None:
    """The limits of `quality` that it fails, with its values."""
    failed = []
    for key, (title, unit, _) in LIMITS.items():
        if fails(table, key, own.quality)[0]:
            columns = ("width", "height") if key == "min_side_px" else (key.split("_", 1)[1],)
            value = min(float(floats(table, column)[0]) for column in columns)
            limit = float(getattr(own.quality, key))
            failed.append({"limit": key, "value": value, "allowed": limit, "title": title, "unit": unit})
    if failed and facts["status"] != "picked" and not own.select.low_quality:
        facts["quality"] = failed
        shown = ", ".join(f"{f['title']} {f['value']:.3g} where {f['limit']} is {f['allowed']:.3g}" for f in failed)
        _with(facts, "low_quality", f"Its quality is outside the limits: {shown}.")


def _trimmed(facts: Facts, place: int, meta: Any) -> None:
    distance = float(meta["trimmed_distance"][place])
    facts["trimmed"] = {"place": place + 1, "of": len(meta["trimmed"]), "distance": distance}
    _with(
        facts,
        "trimmed",
        f"It was set aside as an outlier, {place + 1:,} of {len(meta['trimmed']):,}, on average {distance:.2f} away "
        "from its neighbours; look at the review list of the report.",
    )


def _nearest(
    facts: Facts,
    catalog: Catalog,
    embeddings: Embeddings,
    at: int,
    rows: IntArray,
    ranks: dict[int, int],
    preselected: IntArray,
) -> None:
    """The pick or labelled image most similar to it, and what it would have added."""
    picked = embeddings.positions_of(rows)
    others = np.setdiff1d(np.concatenate([picked[picked >= 0], preselected]), [at])
    if not len(others):
        return
    similarity = embeddings.vectors[others] @ embeddings.vectors[at]
    best = int(similarity.argmax())
    row, likeness = int(embeddings.rows[others[best]]), float(similarity[best])
    rank = ranks.get(row)
    facts["nearest_pick"] = {
        "row": row, "uri": _uri(catalog, row), "rank": rank, "similarity": likeness, "distance": 1.0 - likeness,
    }  # fmt: skip
    what = f"pick {rank:,}, row {row}" if rank else f"row {row}, labelled already"
    said = f"The nearest {'other ' if facts['status'] == 'picked' else ''}pick is {what}, {1 - likeness:.2f} away"
    if facts["status"] == "not_picked":
        n, of = _would_gain(catalog.workspace, embeddings, at, others)
        facts["neighbours_closer"] = {"n": n, "of": of}
        others_are = "pick or labelled image" if len(preselected) else "pick"
        said += f"; {n:,} of its {of:,} nearest images are closer to it than to any {others_are}" if of else ""
    facts["sentences"].append(f"{said}.")


def _would_gain(workspace: Workspace, embeddings: Embeddings, at: int, others: IntArray) -> tuple[int, int]:
    """How many of its neighbours it would represent better than the picks do."""
    rows, graph = workspace.neighbors(embeddings.space)
    if not np.array_equal(rows, embeddings.rows):
        return 0, 0
    near = graph.positions[at][graph.positions[at] >= 0]
    to_picks = (embeddings.vectors[near] @ embeddings.vectors[others].T).max(axis=1, initial=-1.0)
    return int((embeddings.vectors[near] @ embeddings.vectors[at] > to_picks + 1e-6).sum()), len(near)


def _cluster(facts: Facts, workspace: Workspace, record: Facts, rows: IntArray) -> None:
    """Its cluster, how large that is and how much of it was picked."""
    cluster = record.get("cluster")
    if cluster is None:
        return
    if cluster < 0:
        facts["sentences"].append("It belongs to no cluster.")
        return
    table = workspace.column("cluster", ["row", "cluster"])
    members = table["row"].to_numpy()[table["cluster"].to_numpy() == cluster]
    n_picked = int(np.isin(members, rows).sum())
    facts["cluster"] = {
        "cluster": cluster, "name": record.get("cluster_name"), "size": len(members), "picked": n_picked,
        "share_of_picks": n_picked / max(len(rows), 1), "share_of_images": len(members) / max(table.num_rows, 1),
    }  # fmt: skip
    shares = f"{facts['cluster']['share_of_images']:.1%} of the images and {facts['cluster']['share_of_picks']:.1%}"
    named = record.get("cluster_name") or f"cluster {cluster}"
    title = named if named.startswith("cluster") else f"cluster {cluster} ({named})"
    facts["sentences"].append(
        f"It is in {title}, which holds {shares} of the picks: {n_picked:,} of its {len(members):,} images were picked."
    )


def _uri(catalog: Catalog, row: int) -> str:
    return str(catalog.table(["uri"], rows=np.asarray([row]))["uri"][0].as_py())


def _with(facts: Facts, status: str, sentence: str) -> Facts:
    """Add a reason; the first one is the status."""
    facts["status"] = facts["status"] or status
    facts["sentences"].append(sentence)
    return facts
