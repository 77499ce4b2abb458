"""Edits change a picture, keep what it shows, and depend on nothing but the generator."""

from __future__ import annotations

import numpy as np
import pytest

from curator.data import ImageArray
from curator.errors import UsageError
from curator.images import edits
from tests.conftest import picture


@pytest.fixture
def pixels(rng: np.random.Generator) -> ImageArray:
    """A picture with detail, so that blur has something to take away."""
    smooth = np.asarray(picture(rng, width=192, height=128), np.float64)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", list(edits.EDITS))
def test_an_edit_changes_pixels_and_not_its_argument(name: str, pixels: ImageArray) -> None:
    before = pixels.copy()
    pixels.setflags(write=False)
    made = edits.edit(pixels, name, np.random.default_rng(1))
    assert np.array_equal(pixels, before)
    assert made.dtype == np.uint8
    assert made.ndim == 3
    assert made.shape[2] == 3
    assert made.shape != pixels.shape or not np.array_equal(made, pixels)


@pytest.mark.parametrize("name", list(edits.EDITS))
def test_the_same_generator_gives_the_same_copy(name: str, pixels: ImageArray) -> None:
    first, second = (edits.edit(pixels, name, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", list(edits.EDITS))
def test_a_picture_of_one_pixel_survives(name: str) -> None:
    made = edits.edit(np.full((1, 1, 3), 90, np.uint8), name, np.random.default_rng(0))
    assert made.shape[2] == 3
    assert made.size > 0


def test_mild_edits_keep_a_picture_close_and_a_turn_does_not(pixels: ImageArray) -> None:
    def grey(image: ImageArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        from PIL import Image

        small = np.asarray(Image.fromarray(image).convert("L").resize((16, 16)), np.float64).ravel()
        centred: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = small - small.mean()
        return centred / np.linalg.norm(centred)

    rng = np.random.default_rng(0)
    close = {name: float(grey(pixels) @ grey(edits.edit(pixels, name, rng))) for name in edits.EDITS}
    in_place = [name for name in edits.names("mild") if name not in ("crop", "shift")]
    assert min(close[name] for name in in_place) > 0.95, close
    assert close["turn"] < 0.7


def test_a_resized_copy_is_smaller_and_a_cropped_one_is_a_part(pixels: ImageArray) -> None:
    rng = np.random.default_rng(0)
    assert edits.edit(pixels, "resize", rng).shape[0] < pixels.shape[0]
    cropped = edits.edit(pixels, "crop", rng)
    height, width = cropped.shape[:2]
    windows = [
        (top, left)
        for top in range(pixels.shape[0] - height + 1)
        for left in range(pixels.shape[1] - width + 1)
        if np.array_equal(pixels[top : top + height, left : left + width], cropped)
    ]
    assert len(windows) == 1


def test_strong_edits_include_the_mild_ones() -> None:
    assert set(edits.names("mild")) < set(edits.names("strong")) == set(edits.EDITS)


def test_an_unknown_edit_is_refused(pixels: ImageArray) -> None:
    with pytest.raises(UsageError, match="no edit 'melt'; there are: reencode, resize"):
        edits.edit(pixels, "melt", np.random.default_rng(0))
