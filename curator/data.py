"""The values that travel between stages, valid from birth.

A *row* is identity: given at ingest, never reused, what users see. A *position*
is a place 0..n-1 in one array. Algorithms take and return positions;
`Embeddings` alone translates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curator.errors import BadEmbeddings, BadSelection

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]
Scalar = str | int | float | bool | None

Progress = Callable[[str, int, int | None], None]
"""Called as progress(stage, done, total); total is None while unknown."""


def no_progress(stage: str, done: int, total: int | None) -> None:
    """Report nothing; the default where nobody watches."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, or one frame of a video, as found, before any pixel is read."""

    uri: str  # unique and stable: a path, a URL, clip.mp4#t=12.480, shard.tar#name.jpg
    file: str  # what to open: path or URL of the image, the video or the tar
    kind: Literal["image", "frame", "member"] = "image"
    time_s: float | None = None  # of a frame
    offset: int | None = None  # frame: presentation timestamp in stream units; member: byte offset of its data
    size_bytes: int = 0  # of the image or member; of the whole file for a frame
    modified: float = 0.0  # seconds since 1970; 0 where the store has none
    file_digest: str | None = None  # sha256 of a video, known at scan; images are digested when decoded
    split: str | None = None
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    reason: str | None = None  # class of a fault already known at scan; such a row is never decoded
    message: str = ""  # the fault in the file's own words


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Unit vectors and the workspace rows they belong to."""

    rows: IntArray  # (n,) int64, strictly increasing
    vectors: FloatArray  # (n, d) float32, each of length 1
    space: str

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.vectors):
            raise BadEmbeddings(f"{len(self.rows)} rows but {len(self.vectors)} vectors in space {self.space!r}")
        if self.vectors.ndim != 2:
            raise BadEmbeddings(f"vectors of space {self.space!r} have {self.vectors.ndim} axes; expected 2, (n, d)")
        if len(self.rows) > 1 and not bool(np.all(np.diff(self.rows) > 0)):
            raise BadEmbeddings(f"rows of space {self.space!r} are not strictly increasing")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.vectors.shape[1])

    def positions_of(self, rows: IntArray) -> IntArray:
        """Positions of `rows`, -1 where a row has no vector."""
        if len(self.rows) == 0:
            return np.full(len(rows), -1, np.int64)
        at = np.searchsorted(self.rows, rows)
        at = np.minimum(at, len(self.rows) - 1)
        return np.where(self.rows[at] == rows, at, -1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The kNN graph: computed once, read by every later stage."""

    positions: IntArray  # (n, k) int64, the point itself left out, -1 where missing
    similarity: FloatArray  # (n, k) float32, descending; -1 where missing
    recall: float  # share of true neighbours found, measured against exact search; 1.0 when exact

    def __post_init__(self) -> None:
        if self.positions.shape != self.similarity.shape or self.positions.ndim != 2:
            raise BadEmbeddings(
                f"neighbour graph with positions {self.positions.shape} and similarity {self.similarity.shape}; "
                "expected two arrays of the same (n, k)"
            )

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def k(self) -> int:
        """Neighbours per point."""
        return int(self.positions.shape[1])


@dataclass(frozen=True, slots=True)
class Selection:
    """An ordering of rows, so every prefix is a smaller selection."""

    rows: IntArray  # (m,) best first
    gains: FloatArray  # (m,) what each pick added to the objective when it was picked
    reasons: tuple[str, ...]  # (m,) one sentence each
    config: Mapping[str, Any]  # how it was made

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.gains) == len(self.reasons):
            raise BadSelection(
                f"selection with {len(self.rows)} rows, {len(self.gains)} gains and {len(self.reasons)} reasons"
            )

    def __len__(self) -> int:
        return len(self.rows)
