"""Search by the names of what a model saw: for spaces whose model reads no text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator import embed
from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadQuery
from curator.searching.columns import Columns
from curator.workspace import Workspace

SHOWN = 6


def tag_scores(
    workspace: Workspace, columns: Columns, texts: Sequence[str], space: str, model: str
) -> tuple[FloatArray, str]:
    """Summed probability of the tags that the texts name, for every row, and a sentence saying what was searched.

    Returns:
        (n_rows,) float32, 0 where none was seen; and the sentence.

    Raises:
        BadQuery: the space has no tags.
    """
    tags = workspace.entries("columns/tags")
    if not tags or tags[0].meta["space"] != space:
        raise BadQuery(
            f"space {space!r} ({model}) embeds no text and gave no tags; embed with a CLIP-like model, "
            "e.g. `curator embed --model hf:DIR_OF_A_CLIP_MODEL`"
        )
    matches = {tag: name for text in texts for tag, name in embed.search_tags(text)}
    named = ", ".join(list(matches.values())[:SHOWN])
    searched = f"searched for {named}" if matches else f"none is called {', '.join(map(repr, texts))}"
    note = f"tag search, not text search: {model} knows 1,000 ImageNet classes; {searched}"
    if not matches:
        return np.zeros(columns.n_rows, np.float32), note
    columns.load(["tag_ids", "tag_scores"])
    ids, scores, rows = columns.derived("tags", "flat", lambda: _flat(columns))
    hit = np.isin(ids, np.fromiter(matches, np.int64))
    summed = np.bincount(rows[hit], weights=scores[hit].astype(np.float64), minlength=columns.n_rows)
    return np.round(summed, 6).astype(np.float32), note


def in_order(scores: FloatArray, mask: BoolArray) -> IntArray:
    """Rows with a score, best first, equal ones by row."""
    rows = np.flatnonzero(mask & (scores > 0))
    order: IntArray = rows[np.lexsort((rows, -scores[rows]))]
    return order


def _flat(columns: Columns) -> tuple[IntArray, FloatArray, IntArray]:
    """Tags, their scores and the row of each, all lists one after another."""
    import pyarrow.compute as pc

    ids, scores = (columns.column(name).combine_chunks() for name in ("tag_ids", "tag_scores"))
    rows = np.asarray(pc.list_parent_indices(ids), np.int64)
    return np.asarray(pc.list_flatten(ids), np.int64), np.asarray(pc.list_flatten(scores), np.float32), rows
