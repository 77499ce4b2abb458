"""Edits that leave a picture the same: what people, cameras and web sites do to copies.

Knows pixels; knows nothing of models, files or thresholds. Every edit draws its strength from the
generator it is given, so that a sample of edits covers a range and the same seed gives the same copies.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from curator.data import ImageArray
from curator.errors import UsageError

Strength = Literal["mild", "strong"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to change a picture without making it another one."""

    name: str
    strength: Strength  # strong: what a person may or may not call the same picture
    what: str  # one sentence part, for the report
    apply: Callable[[Image.Image, np.random.Generator], Image.Image]


def edit(pixels: ImageArray, name: str, rng: np.random.Generator) -> ImageArray:
    """An edited copy of a picture.

    Args:
        pixels: (h, w, 3) RGB; not changed.
        name: one of `EDITS`.
        rng: decides how strong the edit is, within its range.

    Returns:
        (h', w', 3) RGB; resizing and cropping change the size, a quarter turn swaps the sides.

    Raises:
        UsageError: no edit of that name.
    """
    if name not in EDITS:
        raise UsageError(f"no edit {name!r}; there are: {', '.join(EDITS)}")
    return np.array(EDITS[name].apply(Image.fromarray(pixels), rng).convert("RGB"))


def names(strength: Strength) -> tuple[str, ...]:
    """Edits of a strength; strong ones include the mild ones."""
    return tuple(e.name for e in EDITS.values() if strength == "strong" or e.strength == "mild")


def upright() -> tuple[str, ...]:
    """Edits that leave left, right, top and bottom where they are; the others scramble a perceptual hash."""
    return tuple(name for name in EDITS if name not in ("mirror", "turn"))


def _reencode(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(25, 90)))
    return Image.open(buffer)


def _resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale = float(rng.uniform(0.35, 0.85))
    return image.resize(_scaled(image, scale, scale), Image.Resampling.BILINEAR)


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = _scaled(image, *rng.uniform(0.8, 0.95, 2).tolist())
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _brightness(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(_away_from_one(rng, 0.65, 1.4))


def _contrast(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(_away_from_one(rng, 0.65, 1.5))


def _colour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Color(image).enhance(_away_from_one(rng, 0.4, 1.7))


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    # in shares of the short side, since a radius in pixels means nothing across resolutions
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.003, 0.009)) * min(image.size)))


def _shift(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Moved by up to 6 % a side; the edge repeats, as when a camera moves a little over a plain border."""
    right, down = (rng.uniform(-0.06, 0.06, 2) * image.size).round().astype(int).tolist()
    pixels = np.asarray(image)
    columns = np.clip(np.arange(image.width) - right, 0, image.width - 1)
    lines = np.clip(np.arange(image.height) - down, 0, image.height - 1)
    return Image.fromarray(pixels[lines[:, None], columns])


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    noisy = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(4, 12))
    return Image.fromarray(np.clip(noisy.round(), 0, 255).astype(np.uint8))


def _grey(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.convert("L")


def _mirror(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _turn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return image.transpose(turns[int(rng.integers(3))])


def _tight_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = _scaled(image, *rng.uniform(0.5, 0.75, 2).tolist())
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


EDITS: dict[str, Edit] = {
    e.name: e
    for e in (
        Edit("reencode", "mild", "saved as JPEG at quality 25 to 89", _reencode),
        Edit("resize", "mild", "35 to 85 % of the size", _resize),
        Edit("crop", "mild", "80 to 95 % of each side kept", _crop),
        Edit("brightness", "mild", "0.65 to 1.4 times as bright", _brightness),
        Edit("contrast", "mild", "0.65 to 1.5 times the contrast", _contrast),
        Edit("colour", "mild", "0.4 to 1.7 times the saturation", _colour),
        Edit("blur", "mild", "a Gaussian of 0.3 to 0.9 % of the short side", _blur),
        Edit("shift", "mild", "moved by up to 6 % of each side", _shift),
        Edit("noise", "mild", "Gaussian noise of 4 to 12 grey levels", _noise),
        Edit("grey", "strong", "without colour", _grey),
        Edit("mirror", "strong", "left and right swapped", _mirror),
        Edit("turn", "strong", "turned by a quarter, a half or three quarters", _turn),
        Edit("tight_crop", "strong", "50 to 75 % of each side kept", _tight_crop),
    )
}
"""Every edit by name, mild ones first."""


def _scaled(image: Image.Image, across: float, down: float) -> tuple[int, int]:
    return max(round(image.width * across), 1), max(round(image.height * down), 1)


def _away_from_one(rng: np.random.Generator, low: float, high: float) -> float:
    """A factor that changes something: the middle fifth of the range around 1 is left out."""
    down = bool(rng.integers(2))
    return float(rng.uniform(low, 1 - (1 - low) / 5) if down else rng.uniform(1 + (high - 1) / 5, high))
