"""Find images like others: by rows, pictures, parts of pictures, vectors, texts and collections, liked and disliked.

`open_served` holds one snapshot in memory and answers everything from there; `search` is the short way to one query.

    requests    what is asked and what is answered, and their JSON
    columns     Arrow columns aligned with the rows
    spaces      vectors and index of one space; walks from the best on
    examples    examples into vectors; original pictures of rows
    combining   Rocchio and the logistic probe
    planning    a request into what is ranked by
    grouping    one hit for each near-duplicate group, video or value
    groups      near-duplicate groups for review
    columns_out whole columns as binary, for a map
    thumbs      thumbnails, the last used ones kept
    tagging     tag search where a model reads no text
    duplicates  have we already got this
    browsing    pages and counts over all rows
    served      all of these over one snapshot
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from curator.data import FloatArray
from curator.errors import BadEmbeddings, BadQuery, UnreadableImage
from curator.searching.browsing import Facet, Page
from curator.searching.columns import Columns, plain
from curator.searching.combining import Probe, fit_probe, rocchio
from curator.searching.duplicates import Duplicates, Match
from curator.searching.examples import Decisions, Pictures, embed_pixels, embed_texts
from curator.searching.requests import (
    MAX_BATCH,
    METHODS,
    Answer,
    Example,
    Hit,
    Method,
    Request,
    known_method,
    parse_example,
    parse_request,
    request_to_json,
)
from curator.searching.served import Served, open_served
from curator.searching.spaces import Space
from curator.workspace import Workspace

__all__ = [
    "MAX_BATCH",
    "METHODS",
    "Answer",
    "Columns",
    "Decisions",
    "Duplicates",
    "Example",
    "Facet",
    "Hit",
    "Match",
    "Method",
    "Page",
    "Pictures",
    "Probe",
    "Request",
    "Served",
    "Space",
    "embed_pixels",
    "embed_texts",
    "fit_probe",
    "image_example",
    "known_method",
    "open_served",
    "parse_example",
    "parse_request",
    "plain",
    "request_to_json",
    "rocchio",
    "rows_mask",
    "search",
    "vector_example",
]


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
) -> Answer:
    """Find the k most similar images to exactly one query; each hit carries its uri.

    Opens vectors and index for this one answer; `open_served` keeps them for many.

    Args:
        row: a row of the workspace; it does not find itself.
        image: an image file.
        vector: an array (d,) or a .npy file holding one.
        text: words; needs a CLIP-like space, else tags are searched.
        where: only rows for which this SQL predicate holds; applied inside the search, so k come back when k exist.

    Raises:
        BadQuery: not exactly one query, or k out of range.
        UnreadableImage, BadEmbeddings: the query cannot be used.
    """
    given = [
        name
        for name, value in (("row", row), ("image", image), ("vector", vector), ("text", text))
        if value is not None
    ]
    if len(given) != 1:
        raise BadQuery(f"search takes exactly one of row, image, vector and text; got {', '.join(given) or 'none'}")
    if image is not None:
        example = image_example(image)
    elif vector is not None:
        example = vector_example(vector)
    else:
        example = Example(row=row, text=text)
    served = open_served(workspace)
    request = Request((example,), k=k, space=space, fields=("uri",))
    return served.search(request, mask=None if where is None else rows_mask(workspace, where))


def image_example(path: Path | str) -> Example:
    """An example from an image file.

    Raises:
        UnreadableImage: the file cannot be read.
    """
    try:
        return Example(image=Path(path).read_bytes())
    except OSError as error:
        raise UnreadableImage("missing", f"cannot read the query image {path}: {error.strerror}") from error


def vector_example(given: Path | str | FloatArray) -> Example:
    """An example from an array (d,) or a .npy file that holds one.

    Raises:
        BadEmbeddings: it cannot be read.
    """
    array: Any = given
    if not isinstance(given, np.ndarray):
        try:
            array = np.load(given, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadEmbeddings(f"cannot read a vector from {given}: {error}; expected a .npy file") from error
    return Example(vector=tuple(np.asarray(array, np.float64).reshape(-1).tolist()))


def rows_mask(workspace: Workspace, where: str) -> Any:
    """(n_rows,) rows for which a SQL condition of the data's owner holds; never for what comes over a network.

    Raises:
        BadFilter: it does not parse or run.
    """
    from curator.catalog import Catalog

    mask = np.zeros(workspace.n_rows, np.bool_)
    with Catalog(workspace) as catalog:
        mask[catalog.rows_where(where)] = True
    return mask
