"""What every embedder is and gives: the protocol, its output, and the one rule for unit vectors.

Knows nothing of any model, file or device. An image whose features are zero or not
finite gives a row of NaN, so the fault travels with its row and nothing else is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, ImageArray
from curator.errors import BadEmbeddings
from curator.images import Geometry

TagArray = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors of a batch and, from models that classify, the likeliest tags."""

    vectors: FloatArray  # (b, d) float32 of length 1; a row of NaN where the model gave zero or non-finite numbers
    tag_ids: TagArray | None = None  # (b, t) int16, likeliest first; -1 where the row is at fault
    tag_scores: FloatArray | None = None  # (b, t) float32, probabilities 0..1; 0 where the row is at fault

    def __post_init__(self) -> None:
        for tags in (self.tag_ids, self.tag_scores):
            if tags is not None and len(tags) != len(self.vectors):
                raise BadEmbeddings(f"{len(self.vectors)} vectors but tags for {len(tags)} images")

    def __len__(self) -> int:
        return len(self.vectors)


class Embedder(Protocol):
    """A function from a batch of images to vectors, and what a caller must know to feed it."""

    @property
    def space(self) -> str:
        """File-name-safe name of the embedding space; vectors of one space are comparable."""
        ...

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        ...

    @property
    def geometry(self) -> Geometry:
        """Size, crop and filter of the images it wants."""
        ...

    @property
    def fingerprint(self) -> str:
        """Weights digest, preprocessing and version; equal fingerprints mean the same vectors up to rounding."""
        ...

    @property
    def in_worker(self) -> bool:
        """True: cheap enough to load in every decode worker; False: the main process runs it."""
        ...

    def __call__(self, images: ImageArray) -> Embedded:
        """Embed (b, S, S, 3) uint8 RGB images of `geometry.size`."""
        ...


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What can be said of a model without loading it."""

    name: str
    what: str  # one sentence
    licence: str
    threshold: (
        float  # cosine at or above which two images count as near-duplicates; the right value depends on the data
    )
    dim: int | None = None  # None until the model is loaded
    size: int | None = None  # side of the square input in pixels; None until the model is loaded
    has_text: bool = False  # also embeds text into the same space
    has_tags: bool = False  # also names what it sees
    available: bool = True
    why_not: str = ""  # what is missing and how to get it; empty when available


def check_images(images: ImageArray, size: int) -> None:
    """Refuse a batch of the wrong shape or type before a model trips over it.

    Raises:
        BadEmbeddings: `images` is not (b, size, size, 3) uint8.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise BadEmbeddings(
            f"a batch of images is {images.shape} {images.dtype}; expected (b, {size}, {size}, 3) uint8, "
            "fitted to the embedder's geometry"
        )


def unit_rows(features: NDArray[Any]) -> FloatArray:
    """Scale each row to length 1; a zero or non-finite row becomes NaN.

    Lengths are taken in float64, so large features (above 1e19) neither overflow nor count as faults.

    Returns:
        (b, d) float32, each row of length 1 or all NaN.
    """
    wide: NDArray[np.float64] = np.asarray(features, np.float64)  # (b, d)
    with np.errstate(invalid="ignore", over="ignore"):
        length: NDArray[np.float64] = np.sqrt(np.einsum("bd,bd->b", wide, wide))  # (b,)
    sound: BoolArray = np.isfinite(length) & (length > 1e-30)
    unit = np.full(wide.shape, np.nan, np.float32)
    unit[sound] = wide[sound] / length[sound, None]
    return unit


def top_tags(logits: NDArray[Any], n_tags: int) -> tuple[TagArray, FloatArray]:
    """The `n_tags` likeliest classes per row with their softmax probabilities.

    Args:
        logits: (b, c), one row per image.
        n_tags: how many to keep; at most c are given.

    Returns:
        (b, t) class numbers, likeliest first and ties to the lower number, and (b, t) probabilities 0..1.
        A row with a non-finite logit has -1 and 0.
    """
    wide: FloatArray = np.asarray(logits, np.float32)  # (b, c)
    sound: BoolArray = np.all(np.isfinite(wide), axis=1)  # (b,)
    wide = np.where(sound[:, None], wide, 0.0)
    shifted = np.exp(wide - wide.max(axis=1, keepdims=True, initial=-np.inf))
    probability = shifted / shifted.sum(axis=1, keepdims=True)  # (b, c)
    order = np.argsort(-probability, axis=1, kind="stable")[:, :n_tags]  # stable: ties to the lower class
    scores = np.take_along_axis(probability, order, axis=1)  # (b, t)
    ids = np.where(sound[:, None], order, -1).astype(np.int16)
    return ids, np.where(sound[:, None], scores, 0.0).astype(np.float32)
