"""Find images like a row, an image file, a vector or a text.

Knows how each kind of query becomes a vector in a space; the search itself is
exact over the stored vectors or the stored index, and says which and with what
recall. Text needs a CLIP-like space; elsewhere it is a tag search, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from curator import embed, images, index
from curator.catalog import Catalog
from curator.data import BoolArray, Embeddings, FloatArray
from curator.errors import BadEmbeddings, DataError, UnreadableImage, UsageError
from curator.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Hit:
    """One image found."""

    row: int
    uri: str
    score: float  # cosine similarity; of a tag search, the tags' summed probability


@dataclass(frozen=True, slots=True)
class Results:
    """What was found and how."""

    hits: tuple[Hit, ...]  # best first
    how: Literal["cosine", "tags"]
    space: str
    index: str  # kind of the index that answered
    recall: float  # of that index, measured
    note: str = ""  # a sentence when the answer is not what one might expect


def search(
    workspace: Workspace,
    *,
    row: int | None = None,
    image: Path | str | None = None,
    vector: Path | str | FloatArray | None = None,
    text: str | None = None,
    k: int = 10,
    where: str | None = None,
    space: str | None = None,
) -> Results:
    """Find the k most similar images to exactly one query.

    Args:
        row: a row of the workspace; it does not find itself.
        image: an image file.
        vector: an array (d,) or a .npy file holding one.
        text: words; needs a CLIP-like space, else tags are searched.
        where: only rows for which this SQL predicate holds; applied inside the search, so k come back when k exist.

    Raises:
        UsageError: not exactly one query, or k < 1.
        UnreadableImage, BadEmbeddings: the query cannot be used.
    """
    given = [
        name
        for name, value in (("row", row), ("image", image), ("vector", vector), ("text", text))
        if value is not None
    ]
    if len(given) != 1:
        raise UsageError(f"search takes exactly one of row, image, vector and text; got {', '.join(given) or 'none'}")
    if k < 1:
        raise UsageError(f"k is {k}; expected at least 1")
    name = workspace.space(space)
    model = str(workspace.entries(f"vectors/{name}")[0].meta["model"])
    if text is not None and not embed.describe(model).has_text:
        return _by_tags(workspace, text, k, where, name, model)
    embeddings = workspace.embeddings(name)
    within = _within(workspace, embeddings, where)
    query: FloatArray
    if row is not None:
        position = int(embeddings.positions_of(np.asarray([workspace.check_row(row)]))[0])
        if position < 0:
            raise DataError(
                f"row {row} has no vector in {name!r}: it is unreadable or removed; `curator show {row}` says why"
            )
        query = embeddings.vectors[position]
        within = np.ones(len(embeddings), bool) if within is None else within.copy()
        within[position] = False
    elif image is not None:
        query = _embedded(model, Path(image))
    elif vector is not None:
        query = _vector(vector, embeddings.dim)
    else:
        query = embed.embed_text(embed.load(model), [str(text)])[0]
    searcher = _searcher(workspace, embeddings)
    positions, similarity = searcher.search(query[None, :], k, within=within)
    found = positions[0] >= 0
    rows = embeddings.rows[positions[0][found]]
    hits = _hits(workspace, rows.tolist(), similarity[0][found].tolist())
    return Results(hits, "cosine", name, searcher.kind, searcher.recall)


def _within(workspace: Workspace, embeddings: Embeddings, where: str | None) -> BoolArray | None:
    if where is None:
        return None
    with Catalog(workspace) as catalog:
        return np.isin(embeddings.rows, catalog.rows_where(where))


def _searcher(workspace: Workspace, embeddings: Embeddings) -> index.SearchIndex:
    entries = workspace.entries(f"index/{embeddings.space}")
    stored = entries[0].meta.get("faiss") if entries else None
    if stored and np.array_equal(workspace.neighbors(embeddings.space)[0], embeddings.rows):
        return index.SearchIndex.from_bytes((workspace.path / str(stored)).read_bytes(), embeddings.vectors)
    return index.build(embeddings.vectors, index.IndexSpec(kind="flat"))


def _embedded(model: str, path: Path) -> FloatArray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage("missing", f"cannot read the query image {path}: {error.strerror}") from error
    embedder = embed.load(model)
    # reduced no further than the workspace's images, so that a file finds itself at a similarity of nearly 1
    picture = images.decode(data, min_side=2 * embedder.geometry.resize)
    vector: FloatArray = embedder(images.fit(picture.pixels, embedder.geometry)[None]).vectors[0]
    if not np.isfinite(vector).all():
        raise BadEmbeddings(f"the model gives no usable vector for {path}")
    return vector


def _vector(given: Path | str | FloatArray, dim: int) -> FloatArray:
    if isinstance(given, np.ndarray):
        array, shown = given, "the given array"
    else:
        shown = str(given)
        try:
            array = np.load(given, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadEmbeddings(f"cannot read a vector from {shown}: {error}; expected a .npy file") from error
    flat: FloatArray = np.asarray(array, np.float32).reshape(-1)
    length = float(np.linalg.norm(flat))
    if len(flat) != dim:
        raise BadEmbeddings(f"{shown} holds {len(flat)} numbers; this space has {dim}")
    if not np.isfinite(length) or length == 0:
        raise BadEmbeddings(f"{shown} has length {length:g}; expected a finite vector that is not zero")
    return np.asarray(flat / length, np.float32)


def _by_tags(workspace: Workspace, text: str, k: int, where: str | None, space: str, model: str) -> Results:
    tags = workspace.entries("columns/tags")
    if not tags or tags[0].meta["space"] != space:
        raise UsageError(
            f"space {space!r} ({model}) embeds no text and gave no tags; embed with a CLIP-like model, "
            "e.g. `curator embed --model hf:DIR_OF_A_CLIP_MODEL`"
        )
    matches = embed.search_tags(text)
    searched = f"searched for {', '.join(name for _, name in matches[:6])}" if matches else f"none is called {text!r}"
    note = f"tag search, not text search: {model} knows 1,000 ImageNet classes; {searched}"
    if not matches:
        return Results((), "tags", space, "tags", 1.0, note)
    wanted = {tag for tag, _ in matches}
    with Catalog(workspace) as catalog:
        condition = "status = 'present'" + (f" AND ({where})" if where else "")
        table = catalog.table(["row", "tag_ids", "tag_scores"], where=condition)
    scored: list[tuple[float, int]] = []
    for row, ids, scores in zip(*(table[c].to_pylist() for c in ("row", "tag_ids", "tag_scores")), strict=True):
        score = sum(s for i, s in zip(ids or (), scores or (), strict=True) if i in wanted)
        if score > 0:
            scored.append((score, row))
    scored.sort(key=lambda item: (-item[0], item[1]))
    best = scored[:k]
    hits = _hits(workspace, [row for _, row in best], [score for score, _ in best])
    return Results(hits, "tags", space, "tags", 1.0, note)


def _hits(workspace: Workspace, rows: list[int], scores: list[float]) -> tuple[Hit, ...]:
    with Catalog(workspace) as catalog:
        table = catalog.table(["row", "uri"], rows=np.asarray(rows, np.int64))
    uris: dict[int, Any] = dict(zip(table["row"].to_pylist(), table["uri"].to_pylist(), strict=True))
    return tuple(Hit(row, uris[row], float(score)) for row, score in zip(rows, scores, strict=True))
