"""The issues stage: outliers and uniqueness from the neighbour graph, faults of a picture from its measures."""

from __future__ import annotations

from typing import Any

import numpy as np

from curator import outliers, quality
from curator.config import Config
from curator.data import Embeddings, FloatArray, IntArray, Progress
from curator.errors import StageMissing
from curator.pipeline.derive import floats, index_spec, rows_table, vectors_and_graph, write_column
from curator.workspace import Workspace, Writer

Counts = dict[str, Any]

OUTLIER = "outlier"
SCORES = {
    "outlier_score": "(d1 + ... + d{k}) / {k}, cosine distances to the {k} nearest kept others; a removed image has "
    "the score of the one that represents it",
    "uniqueness": "1 - (0.6 s1 + 0.3 s2 + 0.1 s3), cosine similarities to the three nearest kept others; of a removed "
    "image 1 - similarity to the one that represents it",
}
"""Each score's formula, as the report and the manifest show it."""


def issues(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Write the columns `outlier_score`, `uniqueness` and `issues` (a list of names) of every image with a vector."""
    workspace, limits = writer.workspace, config.issues
    embeddings, graph = vectors_and_graph(workspace, config)
    found = outliers.find_outliers(
        embeddings.vectors,
        graph,
        spec=index_spec(config),
        representative=_representative(workspace, embeddings),
        k=limits.neighbors,
        fence=limits.fence,
        progress=progress,
    )
    flags = quality.flags(_measures(workspace, embeddings.rows), _limits(config)) | {OUTLIER: found.is_outlier}
    names = np.asarray(list(flags), dtype=object)
    table = np.stack(list(flags.values()), axis=1)  # (n, i)
    columns = {
        "row": embeddings.rows,
        "outlier_score": _with_none(found.score),
        "uniqueness": _with_none(found.uniqueness),
        "issues": _lists(names, table),
    }
    counts = {name: int(flag.sum()) for name, flag in flags.items()}
    n_flagged = int(table.any(axis=1).sum())
    rules = {name: rule.format(**limits.model_dump()) for name, rule in quality.ISSUES.items()}
    rules[OUTLIER] = f"outlier_score above {found.fence:.4g}: upper quartile + {limits.fence:g} interquartile ranges"
    meta = {
        "space": embeddings.space, "fence": found.fence if np.isfinite(found.fence) else None, "k": limits.neighbors,
        "counts": counts, "n": len(embeddings), "n_flagged": n_flagged, "rules": rules,
        "scores": {name: text.format(k=limits.neighbors) for name, text in SCORES.items()},
    }  # fmt: skip
    write_column(writer, "issues", columns, meta)
    return {"n": len(embeddings), "n_flagged": n_flagged, **counts}


def _representative(workspace: Workspace, embeddings: Embeddings) -> IntArray:
    """(n,) position of the kept image that stands for each."""
    table = workspace.column("neardup", ["row", "representative"])
    if not np.array_equal(table["row"].to_numpy(), embeddings.rows):
        raise StageMissing(
            f"near-duplicates of {workspace.path} were decided over {table.num_rows} images, there are "
            f"{len(embeddings)} now; run `curator neardups -w {workspace.path}`"
        )
    return embeddings.positions_of(table["representative"].to_numpy())


def _measures(workspace: Workspace, rows: IntArray) -> dict[str, FloatArray]:
    table = rows_table(workspace, rows, list(quality.MEASURED))
    return {name: floats(table, name) for name in quality.MEASURED}


def _limits(config: Config) -> quality.Limits:
    given = config.issues
    return quality.Limits(
        given.dark, given.bright, given.blurry, given.low_information, given.odd_size, given.odd_aspect
    )


def _with_none(score: FloatArray) -> Any:
    """An Arrow column in which nan is missing, so that filters and sorting pass it over."""
    import pyarrow as pa

    return pa.array(score, pa.float32(), from_pandas=True)


def _lists(names: Any, table: Any) -> Any:
    """An Arrow column of lists: the names of the true ones of each line."""
    import pyarrow as pa

    ends = np.concatenate([[0], np.cumsum(table.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, pa.array(names[np.nonzero(table)[1]].tolist(), pa.string()))
