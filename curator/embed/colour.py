"""The `colour` embedder: which colours are where, without any model.

For tests, for a first look at a data set, and where no weights may be used. It sees
colour and rough place only; two different things of the same colours look alike to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.data import ImageArray
from curator.embed.base import Embedded, check_images, unit_rows
from curator.images import Geometry

NAME = "colour"
VERSION = 1  # raise when the numbers change
SIZE_PX = 64
N_CELLS = 2  # per side
N_BINS = 6  # per channel and cell
DIM = N_CELLS * N_CELLS * 3 * N_BINS


class Colour:
    """Histograms of red, green and blue in a 2 x 2 grid, square-rooted, as one unit vector.

    The square root makes cosine the Bhattacharyya coefficient of the histograms. A value is shared
    between its two nearest bins, so noise of a few grey levels near a bin's edge moves little.
    """

    space = NAME
    dim = DIM
    geometry = Geometry(size=SIZE_PX, resize=SIZE_PX, crop="squash", filter="bilinear")
    fingerprint = f"{NAME}/v{VERSION}"
    in_worker = True

    def __call__(self, images: ImageArray) -> Embedded:
        """Embed (b, 64, 64, 3) uint8 images; no image can be at fault, since every pixel counts somewhere."""
        check_images(images, SIZE_PX)
        cells = _by_cell(images)  # (b, cells, pixels, 3)
        n = cells.shape[0] * cells.shape[1] * 3  # histograms
        place = cells.transpose(0, 1, 3, 2).reshape(n, cells.shape[2]).astype(np.float32) * (
            (N_BINS - 1) / 255
        )  # (n, pixels)
        low = np.minimum(place.astype(np.int64), N_BINS - 2)  # (n, pixels)
        share = place - low  # of the upper bin
        first = np.arange(n)[:, None] * N_BINS + low
        counts = _count(first, 1.0 - share, n) + _count(first + 1, share, n)  # (n * bins,)
        return Embedded(unit_rows(np.sqrt(counts).reshape(len(images), DIM)))


def _by_cell(images: ImageArray) -> ImageArray:
    side = SIZE_PX // N_CELLS
    grid = images.reshape(-1, N_CELLS, side, N_CELLS, side, 3).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(len(images), N_CELLS * N_CELLS, side * side, 3)


def _count(bins: NDArray[np.int64], weights: NDArray[np.float32], n: int) -> NDArray[np.float64]:
    return np.bincount(bins.ravel(), weights.ravel(), minlength=n * N_BINS).astype(np.float64)
