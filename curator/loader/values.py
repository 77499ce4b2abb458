"""What the loader is asked for and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray, Scalar
from curator.images import Limits

TagArray = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to take from each picture while its pixels are at hand."""

    mode: Literal["draft", "exact"] = "draft"  # draft: JPEGs at reduced size, about 3x faster
    margin: float = 2.0  # draft keeps the short side at least this many times what a model needs
    limits: Limits = field(default_factory=Limits)
    measures: bool = True  # quality measures, digest and perceptual hash
    thumbnail_px: int = 256  # long side; 0: none
    thumbnail_format: Literal["webp", "jpeg"] = "jpeg"
    thumbnail_quality: int = 80
    models: tuple[str, ...] = ()  # names that `embed.load` knows
    device: str = "auto"
    n_tags: int = 5
    batch: int = 32  # images per forward pass
    workers: int = 0  # processes; 0: one per core this process may use
    threads: int = 1  # of a model that the main process runs


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one row after its bytes were read."""

    row: int
    reason: str | None = None  # class of the fault, see `images.REASONS`; None: a good picture
    message: str = ""  # the fault in the file's own words
    # The quality measures, `digest`, `phash` (64 bits, unsigned), `format` and `bytes` (None for a video frame).
    pixels: Mapping[str, Scalar] = field(default_factory=dict)
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows, read. A row without a vector is unreadable or among the faults."""

    records: list[Record]
    vectors: Mapping[str, tuple[IntArray, FloatArray]] = field(default_factory=dict)  # model: rows (m,), (m, d) unit
    # Model: ids and scores (m, t) of the same rows; absent where a model gives none.
    tags: Mapping[str, tuple[TagArray, FloatArray]] = field(default_factory=dict)
    faults: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)  # model: rows without a usable vector


@dataclass(frozen=True, slots=True)
class Embedding:
    """What one model made of a chunk's good pictures."""

    rows: IntArray  # (m,)
    vectors: FloatArray  # (m, d)
    tag_ids: TagArray | None  # (m, t)
    tag_scores: FloatArray | None  # (m, t)
    faults: list[tuple[int, str]]
