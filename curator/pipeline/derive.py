"""From vectors to columns: neighbour graph, clusters and map.

Each function reads what earlier stages published, calls one pure module and
writes a column file; the stage table decides when it runs, `growing` whether
only the appended rows are worked on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import cluster as clustering
from curator import embed, index, projection
from curator.catalog import Catalog
from curator.config import Config, Hdbscan
from curator.data import BoolArray, Embeddings, FloatArray, IntArray, Neighbors, Progress
from curator.disk import put_bytes
from curator.errors import StageMissing, UnknownColumn
from curator.pipeline.growing import TWICE, growth
from curator.pipeline.reading import check_any
from curator.snapshot import Entry, fingerprint
from curator.workspace import Workspace, Writer

if TYPE_CHECKING:
    import pyarrow as pa

    Counts = dict[str, Any]


def threads(config: Config) -> int:
    """Threads of one heavy computation: as configured, else one per core this process may use."""
    return config.threads or len(os.sched_getaffinity(0))


def index_spec(config: Config) -> index.IndexSpec:
    """The index section as the index module takes it."""
    section = config.index
    return index.IndexSpec(
        kind=section.kind,
        flat_up_to=section.flat_up_to,
        min_recall=section.min_recall,
        sample=section.sample,
        threads=threads(config),
        device=config.embed.device,
        seed=config.seed,
    )


def index_(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Build the search index and the neighbour graph that every later stage reads, or add the appended rows to them."""
    workspace = writer.workspace
    space = embed.space_name(config.embed.model)
    check_any(writer, space)
    embeddings = workspace.embeddings(space)
    spec = index_spec(config)
    key = f"index/{space}"
    how = {"index": config.index.model_dump(), "seed": config.seed}
    grown = growth(workspace, key, config, how, embeddings.rows, embeddings.vectors)
    if grown.is_full:
        searcher = index.build(embeddings.vectors, spec, progress=progress)
        graph = index.knn_graph(embeddings.vectors, config.index.neighbors, spec, progress=progress)
    else:
        searcher = _extended_searcher(workspace, embeddings, grown.n_old, spec, progress=progress)
        _, old = workspace.neighbors(space)
        graph = index.extend_graph(old, embeddings.vectors, spec=spec, progress=progress)
    made_from = [entry.fingerprint for entry in workspace.entries(f"vectors/{space}")]
    which = hashlib.sha256(embeddings.rows.tobytes()).hexdigest()
    stamp = fingerprint("index", made_from, which, config.index.model_dump(), config.seed, grown.n_full)
    stem = f"index/{space}-{stamp}"

    def put(out: Any) -> None:
        np.savez(
            out, rows=embeddings.rows, positions=graph.positions.astype(np.int32), similarity=graph.similarity
        )  # fmt: skip

    writer.write(f"{stem}.neighbors.npz", put)
    if searcher.kind != "flat":  # exact search needs no more than the vectors
        stored = searcher.to_bytes()
        writer.write(f"{stem}.faiss", lambda out: put_bytes(out, stored))
    meta = {
        "kind": searcher.kind, "recall": graph.recall, "search_recall": searcher.recall, "k": graph.k,
        "notes": list(searcher.notes), "faiss": f"{stem}.faiss" if searcher.kind != "flat" else None, **grown.meta,
    }  # fmt: skip
    entry = Entry(f"{stem}.neighbors.npz", stamp, n=len(embeddings), meta=meta)
    writer.publish({key: [entry]})
    shown = {"n": len(embeddings), "kind": searcher.kind, "k": graph.k, "recall": round(graph.recall, 4)}
    return shown | grown.counts()


def _extended_searcher(
    workspace: Workspace, embeddings: Embeddings, n_old: int, spec: index.IndexSpec, *, progress: Progress
) -> index.SearchIndex:
    """The stored search index with the appended vectors added."""
    entry = workspace.entries(f"index/{embeddings.space}")[0]
    vectors, faiss = embeddings.vectors, entry.meta.get("faiss")
    if not faiss:
        return index.build(vectors, spec, progress=progress)
    old = index.SearchIndex.from_bytes((workspace.path / str(faiss)).read_bytes(), vectors[:n_old], spec=spec)
    return index.extend_index(old, vectors, spec, progress=progress)


def cluster(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Group alike images and name the groups by their tags; appended ones join the groups there are."""
    workspace = writer.workspace
    embeddings, graph = vectors_and_graph(workspace, config)
    method = config.cluster.method
    kept = _kept(workspace, embeddings)
    grown = growth(
        workspace, "columns/cluster", config,
        {
            "cluster": config.cluster.model_dump(), "seed": config.seed, "embed.model": embeddings.space,
            "tags": _has_tags(workspace, embeddings.space),
        },
        embeddings.rows, embeddings.vectors, *([] if kept is None else [kept]),
        until=TWICE,
        never=_no_centres(workspace, config),
    )  # fmt: skip
    if not grown.is_full:
        before, names = _stored_clusters(workspace, embeddings)
        found = clustering.extend(before, embeddings.vectors)
    else:
        if isinstance(method, Hdbscan):
            low = _low_dim(embeddings, graph, method, config, progress)
            found = clustering.hdbscan(low, min_cluster_size=method.min_cluster_size, min_samples=method.min_samples)
        else:
            found = clustering.kmeans(
                embeddings.vectors, method.n_clusters, seed=config.seed, threads=threads(config), train=kept
            )
        names = _cluster_names(workspace, embeddings, found, config)
    shown = [names[label] if label >= 0 else None for label in found.labels]
    columns = {
        "row": embeddings.rows,
        "cluster": found.labels,
        "cluster_name": shown,
        "cluster_distance": found.distance,
    }
    medoids = [int(embeddings.rows[position]) for position in found.medoids]
    meta = {"space": embeddings.space, "method": method.kind, "names": names, "medoids": medoids, **grown.meta}
    write_column(writer, "cluster", columns, meta, beside=_write_centres(writer, embeddings.space, found))
    return {"n_clusters": len(found), "n_noise": found.n_noise, "method": method.kind} | grown.counts()


def map_(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Place every image on a plane; appended ones between those that have a place."""
    workspace = writer.workspace
    embeddings, graph = vectors_and_graph(workspace, config)
    section = config.map
    how = {"map": section.model_dump(), "seed": config.seed, "embed.model": embeddings.space, "graph": graph.k}
    grown = growth(workspace, "columns/map", config, how, embeddings.rows, embeddings.vectors, until=TWICE)
    if section.kind == "pca":
        points = projection.pca_map(embeddings.vectors, 2, n_shaping=grown.n_full)
    elif grown.is_full:
        points = projection.umap_map(
            embeddings.vectors,
            graph,
            seed=config.seed,
            n_neighbors=section.neighbors,
            min_dist=section.min_dist,
            epochs=section.epochs,
            sample_up_to=section.sample_up_to,
            threads=threads(config),
            progress=progress,
        )
    else:
        placed = workspace.column("map", ["x", "y"])
        points = projection.extend_map(
            embeddings.vectors,
            np.column_stack([placed["x"].to_numpy(), placed["y"].to_numpy()]),
            threads=threads(config),
            progress=progress,
        )
    preserved = projection.neighbour_preservation(points, graph) if graph.k else None
    columns = {"row": embeddings.rows, "x": points[:, 0].copy(), "y": points[:, 1].copy()}
    meta = {"space": embeddings.space, "method": section.kind, "preserved": preserved, **grown.meta}
    write_column(writer, "map", columns, meta)
    shown = {"n": len(points), "method": section.kind, "preserved": None if preserved is None else round(preserved, 3)}
    return shown | grown.counts()


# -- shared by the stages ----------------------------------------------------------------------------------------


def vectors_and_graph(workspace: Workspace, config: Config) -> tuple[Embeddings, Neighbors]:
    """Vectors and stored graph of the configured space; both over the same rows."""
    space = embed.space_name(config.embed.model)
    embeddings = workspace.embeddings(space)
    rows, graph = workspace.neighbors(space)
    if not np.array_equal(rows, embeddings.rows):
        raise StageMissing(
            f"the neighbour graph of {workspace.path} is over {len(rows)} rows, there are {len(embeddings)} now; "
            f"run `curator index -w {workspace.path}`"
        )
    return embeddings, graph


def rows_table(workspace: Workspace, rows: IntArray, columns: list[str]) -> pa.Table:
    """Catalogue columns of exactly these rows, in their order."""
    import pyarrow as pa

    with Catalog(workspace) as catalog:
        table = catalog.table(list(dict.fromkeys(["row", *columns])))
    at = np.searchsorted(table["row"].to_numpy(), rows)
    return table.take(pa.array(at))


def floats(table: pa.Table, name: str) -> FloatArray:
    """A numeric column as float32, nan where missing.

    Raises:
        UnknownColumn: the column is not numeric.
    """
    import pyarrow as pa

    try:
        values = table[name].cast(pa.float32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnknownColumn(f"column {name!r} is {table[name].type}, expected numbers") from error
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float32)


def write_column(
    writer: Writer,
    name: str,
    columns: dict[str, Any],
    meta: dict[str, Any],
    *,
    beside: Mapping[str, Sequence[Entry] | None] | None = None,
) -> None:
    """Write one column file with what is known about it; published in one step with the entries `beside` it."""
    import pyarrow as pa

    table = pa.table(columns)
    stamp = fingerprint(name, table.nbytes, meta, [_digest(table[field]) for field in table.column_names])
    entry = Entry(f"columns/{name}-{stamp}.parquet", stamp, n=table.num_rows, meta=meta)
    writer.write_table(entry.file, table)
    writer.publish({f"columns/{name}": [entry], **(beside or {})})


def _digest(column: pa.ChunkedArray) -> str:
    state = hashlib.sha256()
    for chunk in column.chunks:
        for buffer in chunk.buffers():
            if buffer is not None:
                state.update(buffer)
    return state.hexdigest()


def _low_dim(
    embeddings: Embeddings, graph: Neighbors, method: Hdbscan, config: Config, progress: Progress
) -> FloatArray:
    n_dims = min(method.n_dims, embeddings.dim)
    if method.space == "pca":
        return projection.pca_map(embeddings.vectors, n_dims)
    return projection.umap_map(
        embeddings.vectors, graph, n_dims=n_dims, seed=config.seed, n_neighbors=config.map.neighbors, min_dist=0.0,
        epochs=config.map.epochs, sample_up_to=config.map.sample_up_to, threads=threads(config), progress=progress,
    )  # fmt: skip


def _kept(workspace: Workspace, embeddings: Embeddings) -> BoolArray | None:
    """Points that are no near-duplicates, which alone should shape centres; None before that stage."""
    entries = workspace.entries("columns/neardup")
    if not entries or entries[0].meta["space"] != embeddings.space:
        return None
    table = workspace.column("neardup", ["row", "duplicate"])
    kept = table["row"].to_numpy()[np.asarray(table["duplicate"].to_pylist(), dtype=object) == "kept"]
    return np.isin(embeddings.rows, kept)


def _write_centres(writer: Writer, space: str, found: clustering.Clusters) -> dict[str, list[Entry] | None]:
    """The centres that appended images will be put with, as an entry to publish."""
    if found.centres is None:
        return {f"centres/{space}": None}
    stamp = fingerprint("centres", hashlib.sha256(np.ascontiguousarray(found.centres).data).hexdigest())
    entry = Entry(f"index/{space}-centres-{stamp}.npy", stamp, n=len(found))
    if not writer.workspace.has_files(entry):
        writer.write_array(entry.file, found.centres)
    return {f"centres/{space}": [entry]}


def _no_centres(workspace: Workspace, config: Config) -> str:
    """Why appended images have no centres to join; empty where they have."""
    if isinstance(config.cluster.method, Hdbscan):
        return "density clusters have no centres to join"
    has_centres = bool(workspace.entries(f"centres/{embed.space_name(config.embed.model)}"))
    return "" if has_centres else "the centres of the clusters are gone"


def _stored_clusters(workspace: Workspace, embeddings: Embeddings) -> tuple[clustering.Clusters, list[str]]:
    """The clusters as they were last made, and their names."""
    entry, centres = workspace.entries("columns/cluster")[0], workspace.entries(f"centres/{embeddings.space}")
    table = workspace.column("cluster", ["cluster", "cluster_distance"])
    labels = table["cluster"].to_numpy()
    names = list(entry.meta["names"])
    found = clustering.Clusters(
        labels=labels,
        medoids=embeddings.positions_of(np.asarray(entry.meta["medoids"], np.int64)),
        sizes=np.bincount(labels[labels >= 0], minlength=len(names)),
        distance=table["cluster_distance"].to_numpy(),
        centres=np.load(workspace.file(centres[0])) if centres else None,
    )
    return found, names


def _has_tags(workspace: Workspace, space: str) -> bool:
    entries = workspace.entries("columns/tags")
    return bool(entries) and entries[0].meta.get("space") == space


def _cluster_names(
    workspace: Workspace, embeddings: Embeddings, found: clustering.Clusters, config: Config
) -> list[str]:
    plain = [f"cluster {number}" for number in range(len(found))]
    if not _has_tags(workspace, embeddings.space) or not len(found):
        return plain
    tags = workspace.column("tags", ["row", "tag_ids", "tag_scores"])
    ids = {row: (i, s) for row, i, s in zip(*(tags[c].to_pylist() for c in tags.column_names), strict=True) if i}
    width = max((len(i) for i, _ in ids.values()), default=0)
    if width == 0:
        return plain
    tag_ids = np.full((len(embeddings), width), -1, np.int64)
    scores = np.zeros((len(embeddings), width), np.float32)
    for at, row in enumerate(embeddings.rows.tolist()):
        if row in ids:
            tag_ids[at], scores[at] = ids[row]
    names = clustering.name_clusters(found.labels, tag_ids, scores, embed.tag_names(), n_names=config.cluster.n_names)
    return [name or plain[number] for number, name in enumerate(names)]
