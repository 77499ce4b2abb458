"""From vectors to columns: neighbour graph, clusters and map.

Each function reads what earlier stages published, calls one pure module and
writes a column file; the stage table decides when it runs.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import cluster as clustering
from curator import embed, index, projection
from curator.catalog import Catalog
from curator.config import Config, Hdbscan
from curator.data import BoolArray, Embeddings, FloatArray, IntArray, Neighbors, Progress
from curator.disk import put_bytes
from curator.errors import StageMissing, UnknownColumn
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
    """Build the search index and the neighbour graph that every later stage reads."""
    space = embed.space_name(config.embed.model)
    check_any(writer, space)
    embeddings = writer.workspace.embeddings(space)
    spec = index_spec(config)
    searcher = index.build(embeddings.vectors, spec, progress=progress)
    graph = index.knn_graph(embeddings.vectors, config.index.neighbors, spec, progress=progress)
    made_from = [entry.fingerprint for entry in writer.workspace.entries(f"vectors/{space}")]
    which = hashlib.sha256(embeddings.rows.tobytes()).hexdigest()
    stamp = fingerprint("index", made_from, which, config.index.model_dump(), config.seed)
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
        "notes": list(searcher.notes), "faiss": f"{stem}.faiss" if searcher.kind != "flat" else None,
    }  # fmt: skip
    entry = Entry(f"{stem}.neighbors.npz", stamp, n=len(embeddings), meta=meta)
    writer.publish({f"index/{space}": [entry]})
    return {"n": len(embeddings), "kind": searcher.kind, "k": graph.k, "recall": round(graph.recall, 4)}


def cluster(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Group alike images and name the groups by their tags."""
    workspace = writer.workspace
    embeddings, graph = vectors_and_graph(workspace, config)
    method = config.cluster.method
    if isinstance(method, Hdbscan):
        low = _low_dim(embeddings, graph, method, config, progress)
        found = clustering.hdbscan(low, min_cluster_size=method.min_cluster_size, min_samples=method.min_samples)
    else:
        found = clustering.kmeans(
            embeddings.vectors,
            method.n_clusters,
            seed=config.seed,
            threads=threads(config),
            train=_kept(workspace, embeddings),
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
    meta = {"space": embeddings.space, "method": method.kind, "names": names, "medoids": medoids}
    write_column(writer, "cluster", columns, meta)
    return {"n_clusters": len(found), "n_noise": found.n_noise, "method": method.kind}


def map_(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Place every image on a plane."""
    embeddings, graph = vectors_and_graph(writer.workspace, config)
    section = config.map
    if section.kind == "pca":
        points = projection.pca_map(embeddings.vectors, 2)
    else:
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
    preserved = projection.neighbour_preservation(points, graph) if graph.k else None
    columns = {"row": embeddings.rows, "x": points[:, 0].copy(), "y": points[:, 1].copy()}
    write_column(writer, "map", columns, {"space": embeddings.space, "method": section.kind, "preserved": preserved})
    return {"n": len(points), "method": section.kind, "preserved": None if preserved is None else round(preserved, 3)}


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


def write_column(writer: Writer, name: str, columns: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write and publish one column file with what is known about it."""
    import pyarrow as pa

    table = pa.table(columns)
    stamp = fingerprint(name, table.nbytes, meta, [_digest(table[field]) for field in table.column_names])
    entry = Entry(f"columns/{name}-{stamp}.parquet", stamp, n=table.num_rows, meta=meta)
    writer.write_table(entry.file, table)
    writer.publish({f"columns/{name}": [entry]})


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


def _cluster_names(
    workspace: Workspace, embeddings: Embeddings, found: clustering.Clusters, config: Config
) -> list[str]:
    plain = [f"cluster {number}" for number in range(len(found))]
    entries = workspace.entries("columns/tags")
    if not entries or entries[0].meta.get("space") != embeddings.space or not len(found):
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
