"""Search by the names of what a model saw: for spaces whose model reads no text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator import embed
from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadQuery
from curator.searching.columns import Columns
from curator.searching.requests import Request
from curator.searching.tiled import is_tiled, known_space, model_of
from curator.workspace import Workspace

SHOWN = 6


def is_tag_search(workspace: Workspace, request: Request) -> bool:
    """Whether texts are all there is and the space reads none.

    Raises:
        BadQuery: texts are mixed with what a tag search cannot use.
    """
    every = (*request.positives, *request.negatives)
    if all(example.text is None for example in every):
        return False
    space = known_space(workspace, request.space)
    model, has_tiles = model_of(workspace, space), is_tiled(workspace, space)
    if embed.describe(model).has_text:
        return False
    is_more = request.negatives or any(example.text is None for example in request.positives) or request.group_by
    if is_more or has_tiles:
        raise BadQuery(
            f"space {space!r} ({model}) reads no text, and a tag search takes texts alone, without negatives, group_by "
            "and tiles; embed with a CLIP-like model to mix text with images"
        )
    return True


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
