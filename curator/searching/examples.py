"""Examples made into vectors of a space: rows, image files, parts of pictures, vectors, texts, collections.

One embedder per model is kept in the process, guarded by a lock, and loaded when a picture or a text first asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from curator import embed, images, sources
from curator.data import FloatArray, ImageArray, IntArray, Sample
from curator.errors import BadEmbeddings, BadQuery, DataError, UnreadableImage
from curator.searching.columns import Columns
from curator.searching.requests import Box, Example
from curator.searching.spaces import Space

LEAST_BOX_PX = 2


class Decisions(Protocol):
    """What people decided, as far as searching reads it."""

    def rows_tagged(self, names: Sequence[str]) -> IntArray:
        """Rows that carry any of the tags."""
        ...

    def collection(self, name: str) -> IntArray:
        """Rows of a collection, in its order."""
        ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """Examples as vectors, and the positions among them that are the collection's own."""

    asked: FloatArray  # (a, d) from outside: texts, images, vectors
    known: FloatArray  # (b, d) rows and parts of their pictures, collections
    positions: IntArray  # of rows and collections: what must not find itself

    @property
    def vectors(self) -> FloatArray:
        """(a + b, d) all of them."""
        return np.concatenate([self.asked, self.known])


@dataclass(slots=True)
class Pictures:
    """Original pictures of rows."""

    columns: Columns
    limits: images.Limits = field(default_factory=images.Limits)
    may_fetch: bool = True  # originals that are not on this machine's disk

    def sample(self, row: int) -> Sample:
        """Where the row's picture is.

        Raises:
            UnknownRow: checked by the caller.
        """
        values = self.columns.take([row], ["uri", "file", "kind", "time_s", "offset", "size_bytes", "modified"])[0]
        return Sample(
            values["uri"], values["file"], values["kind"], time_s=values["time_s"], offset=values["offset"],
            size_bytes=values["size_bytes"] or 0, modified=values["modified"] or 0.0,
        )  # fmt: skip

    def data(self, row: int) -> bytes:
        """Bytes of the row's image file; a video frame has none of its own.

        Raises:
            UnreadableImage: it cannot be read, or is a frame.
        """
        sample = self.sample(row)
        if sample.kind == "frame":
            raise UnreadableImage("unsupported", f"row {row} is a frame of {sample.file}, which has no file of its own")
        self._check_near(sample)
        return sources.read_bytes(sample, max_bytes=self.limits.max_file_bytes)

    def pixels(self, row: int) -> ImageArray:
        """(h, w, 3) upright RGB at full size.

        Raises:
            UnreadableImage: it cannot be read.
        """
        sample = self.sample(row)
        if sample.kind != "frame":
            return images.decode(self.data(row), exact=True, limits=self.limits).pixels
        self._check_near(sample)
        path = sources.local_path(sample)
        _, found = next(iter(images.read_frames(path, [sample.offset or 0], seek_gap_s=0.0, limits=self.limits)))
        if isinstance(found, UnreadableImage):
            raise found
        return found

    def _check_near(self, sample: Sample) -> None:
        if not self.may_fetch and "://" in sample.file and not sample.file.startswith("file://"):
            raise UnreadableImage("permission", f"{sample.file} is not on this machine, and fetching it is not allowed")


@dataclass(slots=True)
class _Kept:
    """One embedder of the process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    embedder: embed.Embedder | None = None


_KEPT: dict[str, _Kept] = {}
_GUARD = threading.Lock()


def embed_pixels(model: str, pixels: Sequence[ImageArray]) -> FloatArray:
    """(b, d) unit vectors of pictures of any size.

    Raises:
        BadEmbeddings: the model gives no usable vector for one.
        UsageError, MissingPackage: the model embeds no images, or cannot be loaded.
    """
    kept = _kept(model)
    with kept.lock:
        embedder = _ready(kept, model)
        vectors = embedder(np.stack([images.fit(one, embedder.geometry) for one in pixels])).vectors
    if not np.isfinite(vectors).all():
        raise BadEmbeddings("the model gives no usable vector for the picture")
    return np.asarray(vectors, np.float32)


def embed_texts(model: str, texts: Sequence[str]) -> FloatArray:
    """(t, d) unit vectors of texts in a CLIP-like model's space.

    Raises:
        UsageError: the model has no text side.
    """
    kept = _kept(model)
    with kept.lock:
        vectors = embed.embed_text(_ready(kept, model), texts)
    if not np.isfinite(vectors).all():
        raise BadEmbeddings("the model gives no usable vector for the text")
    return vectors


def resolve(
    examples: Sequence[Example], space: Space, pictures: Pictures, decisions: Decisions | None, place: str
) -> Resolved:
    """Vectors of examples.

    Raises:
        UnknownRow: a row that was never given.
        DataError: a row without a vector in this space.
        UnreadableImage, BadEmbeddings, BadQuery: an example that cannot be used.
    """
    asked: list[FloatArray] = []
    known: list[FloatArray] = []
    positions: list[IntArray] = []
    texts = [example.text for example in examples if example.text is not None]
    embedded = iter(embed_texts(space.model, texts)) if texts else iter(())
    for at, example in enumerate(examples):
        where = f"{place}[{at}]"
        if example.text is not None:
            asked.append(next(embedded)[None])
        elif example.vector is not None:
            asked.append(_vector(example.vector, space.embeddings.dim, where)[None])
        elif example.image is not None:
            asked.append(embed_pixels(space.model, [_picture(example.image, example.box, space, pictures.limits)]))
        elif example.row is not None:
            own = position_of(space, pictures.columns, example.row, needs_vector=example.box is None)
            positions.append(own[own >= 0])
            if example.box is None:
                known.append(space.vectors[own])
            else:
                known.append(embed_pixels(space.model, [crop(pictures.pixels(example.row), example.box)]))
        else:
            rows = _collected(decisions, str(example.collection), where)
            own = space.embeddings.positions_of(rows)
            own = own[own >= 0]
            if len(own) == 0:
                raise DataError(
                    f"{where}: no row of the collection {example.collection!r} has a vector in {space.name!r}"
                )
            positions.append(own)
            known.append(space.vectors[own])
    none = np.empty((0, space.embeddings.dim), np.float32)
    gone = np.empty(0, np.int64)
    return Resolved(
        np.concatenate([none, *asked]), np.concatenate([none, *known]), np.unique(np.concatenate([gone, *positions]))
    )


def position_of(space: Space, columns: Columns, row: int, *, needs_vector: bool = True) -> IntArray:
    """(1,) position of a row; -1 where it has no vector and need not.

    Raises:
        UnknownRow: it was never given.
        DataError: it has no vector here.
    """
    columns.check_row(row)
    at = space.embeddings.positions_of(np.asarray([row], np.int64))
    if needs_vector and at[0] < 0:
        raise DataError(
            f"row {row} has no vector in {space.name!r}: it is unreadable or removed; `curator show {row}` says why"
        )
    return at


def crop(pixels: ImageArray, box: Box) -> ImageArray:
    """The part of a picture inside a box, cut at the picture's edges.

    Raises:
        BadQuery: less than two pixels of it lie inside.
    """
    height, width = pixels.shape[:2]
    x, y, wide, high = box
    left, top = max(round(x), 0), max(round(y), 0)
    right, bottom = min(round(x + wide), width), min(round(y + high), height)
    if right - left < LEAST_BOX_PX or bottom - top < LEAST_BOX_PX:
        raise BadQuery(
            f"box {list(box)} leaves nothing of a picture of {width} x {height} px; it is x, y, width, height"
        )
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _picture(data: bytes, box: Box | None, space: Space, limits: images.Limits) -> ImageArray:
    if box is not None:
        return crop(images.decode(data, exact=True, limits=limits).pixels, box)
    kept = _kept(space.model)
    with kept.lock:
        resize = _ready(kept, space.model).geometry.resize
    # reduced no further than the workspace's images, so that a file finds itself at a similarity of nearly 1
    return images.decode(data, min_side=2 * resize, limits=limits).pixels


def _vector(given: Sequence[float], dim: int, where: str) -> FloatArray:
    flat = np.asarray(given, np.float64)
    if len(flat) != dim:
        raise BadEmbeddings(f"{where}.vector holds {len(flat)} numbers; this space has {dim}")
    length = float(np.linalg.norm(flat))
    if not np.isfinite(length) or length == 0:
        raise BadEmbeddings(f"{where}.vector has length {length:g}; expected a finite vector that is not zero")
    return np.asarray(flat / length, np.float32)


def _collected(decisions: Decisions | None, name: str, where: str) -> IntArray:
    if decisions is None:
        raise BadQuery(f"{where}: there is no collection {name!r}: nothing was collected in this workspace yet")
    return decisions.collection(name)


def _kept(model: str) -> _Kept:
    with _GUARD:
        return _KEPT.setdefault(model, _Kept())


def _ready(kept: _Kept, model: str) -> embed.Embedder:
    if kept.embedder is None:
        kept.embedder = embed.load(model)
    return kept.embedder
