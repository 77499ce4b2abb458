"""Measures of one image that need no model: sharpness, exposure, colour, hashes.

All are taken from a copy of fixed size, so that the same picture at another
resolution, or decoded smaller, gives nearly the same numbers. From the measures of many images come
their issues: `flags` says which picture is dark, blurry or odd, by limits that the caller gives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from curator.data import BoolArray, FloatArray, ImageArray

VERSION = 2  # raised when a measure changes or is added, so that pictures are measured again

_WORKING_SIDE_PX = 384  # longest side at least kept while halving; exposure is measured on that copy
_SHARPNESS_SIDE_PX = 192  # longest side on which sharpness is measured: near what models see, and half of the copy
_COLOUR_SIDE_PX = 96  # colour varies slowly; its mean needs no more
_DARK, _BRIGHT = 5, 250  # grey levels at or beyond which detail is lost
_FLAT = 1e-6  # contrast of one colour, but for rounding
_LOW_SHARE, _HIGH_SHARE = 0.05, 0.99  # of pixels: a few black ones make no dark picture, a lamp makes no bright one
_HASH_SIDE_PX = 32


def measure(pixels: ImageArray, *, width: int, height: int) -> dict[str, float | int]:
    """Measure sharpness, exposure and colour of a picture.

    Args:
        pixels: (h, w, 3) RGB, perhaps reduced.
        width: of the full picture, px.
        height: of the full picture, px.

    Returns:
        sharpness: variance of the Laplacian of grey 0..255 at a longest side of 192 px; higher is sharper.
        focus: sharpness in proportion to contrast, sqrt(sharpness) / (255 contrast): standard deviation of the
            Laplacian over that of grey, so that a flat-coloured picture is not taken for a blurred one; 0 for one
            colour. Photos have 0.3 to 2.
        brightness: mean grey, 0..1.
        brightness_low: grey at or below which 5 % of the pixels lie, 0..1.
        brightness_high: grey at or below which 99 % of the pixels lie, 0..1.
        contrast: standard deviation of grey, 0..0.5.
        saturation: mean HSV saturation, 0..1.
        entropy: of the grey histogram, 0..8 bits.
        overexposed, underexposed: share of pixels so bright or dark that detail is lost, 0..1.
        aspect_ratio: width / height. size_px: width * height. width, height: px.
    """
    image = _halved(Image.fromarray(pixels), _WORKING_SIDE_PX)
    grey = image.convert("L")
    share = np.asarray(grey.histogram(), np.float64) / (grey.width * grey.height)  # (256,)
    level = np.arange(256) / 255.0
    brightness = float(share @ level)
    seen = share[share > 0]
    saturation = _halved(image, _COLOUR_SIDE_PX).convert("HSV").getchannel("S").histogram()
    contrast = math.sqrt(max(float(share @ (level - brightness) ** 2), 0.0))
    sharpness = _sharpness(grey)
    low, high = np.searchsorted(np.cumsum(share), [_LOW_SHARE - 1e-12, _HIGH_SHARE - 1e-12])
    return {
        "sharpness": sharpness,
        "focus": math.sqrt(sharpness) / (255.0 * contrast) if contrast > _FLAT else 0.0,
        "brightness": brightness,
        "brightness_low": float(level[low]),
        "brightness_high": float(level[min(int(high), 255)]),
        "contrast": contrast,
        "saturation": float(np.asarray(saturation) @ level) / sum(saturation),
        "entropy": abs(float(seen @ np.log2(seen))),
        "overexposed": float(share[_BRIGHT:].sum()),
        "underexposed": float(share[: _DARK + 1].sum()),
        "aspect_ratio": width / height,
        "size_px": width * height,
        "width": width,
        "height": height,
    }


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a picture counts as faulty or odd."""

    dark: float = 0.3  # brightness_high below: even its brightest pixels are dim
    bright: float = 0.8  # brightness_low above: even its darkest pixels are pale
    blurry: float = 0.2  # focus below
    low_information: float = 3.0  # entropy below, bits
    odd_size: float = 4.0  # side this many times the median side or more, or its inverse
    odd_aspect: float = 3.0  # long side this many times the short one or more


ISSUES = {
    "dark": "99 % of the pixels are below a grey of {dark:g} (0 black, 1 white)",
    "bright": "95 % of the pixels are above a grey of {bright:g} (0 black, 1 white)",
    "blurry": "standard deviation of the Laplacian at 192 px below {blurry:g} times that of grey",
    "low_information": "entropy of the grey levels below {low_information:g} bits",
    "odd_size": "square root of width x height {odd_size:g} times the median's or more, or as much below it",
    "odd_aspect": "long side {odd_aspect:g} times the short one or more",
}
"""Every issue of one picture and its rule, with the limits to be filled in."""

MEASURED = ("brightness_high", "brightness_low", "focus", "contrast", "entropy", "width", "height")
"""Measures that `flags` reads."""


def flags(measures: Mapping[str, FloatArray], limits: Limits) -> dict[str, BoolArray]:
    """Which pictures have which issue; a missing measure (nan) has none.

    Args:
        measures: (n,) of each name in `MEASURED`.

    Returns:
        (n,) for each name in `ISSUES`, in that order.
    """
    width, height = measures["width"].astype(np.float64), measures["height"].astype(np.float64)
    side = np.sqrt(width * height)
    known = side[~np.isnan(side)]
    median = float(np.median(known)) if len(known) else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "dark": measures["brightness_high"] < limits.dark,
            "bright": measures["brightness_low"] > limits.bright,
            "blurry": (measures["focus"] < limits.blurry) & (measures["contrast"] > _FLAT),  # one colour is not blurred
            "low_information": measures["entropy"] < limits.low_information,
            "odd_size": np.maximum(side / median, median / side) >= limits.odd_size,
            "odd_aspect": np.maximum(width / height, height / width) >= limits.odd_aspect,
        }


def perceptual_hash(pixels: ImageArray) -> int:
    """64-bit DCT hash: close pictures differ in few bits.

    After Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010: the 8 x 8 lowest frequencies of a 32 x 32 grey copy, the
    constant ones left out, each 1 where above their median.

    Args:
        pixels: (h, w, 3) RGB.

    Returns:
        0 .. 2**64 - 1. A picture of one colour gives 0.
    """
    side = _HASH_SIDE_PX
    small = _halved(Image.fromarray(pixels), 4 * side).convert("L").resize((side, side), Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float32)  # (32, 32)
    low = (_DCT @ grey @ _DCT.T).round(2)  # (8, 8); rounded, so that a flat picture is exactly 0
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Number of bits in which two hashes differ."""
    return (a ^ b).bit_count()


def digest(data: bytes) -> str:
    """SHA-256 of a file's content, in hex."""
    return hashlib.sha256(data).hexdigest()


def _halved(image: Image.Image, side_px: int) -> Image.Image:
    """Halve while the longest side stays at least `side_px`.

    Averaging 2 x 2 blocks is what a JPEG decoder does when it decodes smaller,
    so a picture halved here and one halved there give the same measures.
    """
    factor = 1
    while max(image.size) // (2 * factor) >= side_px:
        factor *= 2
    return image.reduce(factor) if factor > 1 else image


def _sharpness(grey: Image.Image) -> float:
    """Variance of the 4-neighbour Laplacian at a fixed size; 0 for pictures too small to have one.

    Lanczos, because it keeps fine detail alike whatever the factor: one photo at
    320 to 1,280 px differs by about 10 %, where bilinear differs by 25 %.
    """
    small = grey.copy()
    small.thumbnail((_SHARPNESS_SIDE_PX, _SHARPNESS_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=None)
    g = np.asarray(small).astype(np.int16)  # (h, w)
    if min(g.shape) < 3:
        return 0.0
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1]  # (h-2, w-2), ends within +-1020
    laplacian += g[1:-1, :-2]
    laplacian += g[1:-1, 2:]
    laplacian -= 4 * g[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


def _dct_rows(side: int, frequencies: range) -> FloatArray:
    """Rows of the orthonormal DCT-II matrix, one per frequency."""
    at = (np.arange(side) + 0.5) * np.pi / side  # (side,)
    rows: FloatArray = (np.sqrt(2.0 / side) * np.cos(np.outer(frequencies, at))).astype(np.float32)
    return rows  # (f, side)


_DCT = _dct_rows(_HASH_SIDE_PX, range(1, 9))  # (8, 32)
