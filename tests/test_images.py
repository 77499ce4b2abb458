"""Decoding of single images: formats, colour, orientation, limits, faults."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curator.data import ImageArray
from curator.errors import UnreadableImage, UsageError
from curator.images import FORMATS, REASONS, Geometry, Limits, decode, fit, thumbnail
from tests.conftest import picture


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(image: Image.Image) -> ImageArray:
    return np.asarray(image.convert("RGB"))


def gap(a: ImageArray, b: ImageArray) -> float:
    """Mean absolute difference in grey levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def reason_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(data, limits=limits or Limits())
    assert caught.value.reason in REASONS
    assert "\n" not in caught.value.message
    return caught.value.reason


def png(
    width: int, height: int, *, depth: int, colour: int, data: bytes, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    more = b"".join(chunk(name, body) for name, body in extra)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


def ramp(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth colour ramp, different in both directions."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


# --- formats and colour


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 2.0),
        ("JPEG", {"quality": 95, "progressive": True}, 2.0),
        ("PNG", {}, 0.0),
        ("WEBP", {"lossless": True}, 0.0),
        ("BMP", {}, 0.0),
        ("GIF", {}, 8.0),
        ("TIFF", {}, 0.0),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0),
        ("PPM", {}, 0.0),
        ("AVIF", {"quality": 95}, 2.0),
        ("JPEG2000", {}, 0.0),
    ],
)
def test_every_format_gives_the_saved_pixels(kind: str, options: dict[str, Any], tolerance: float) -> None:
    found = decode(encode(ramp(), kind, **options))
    assert (found.format, found.width, found.height) == (kind, 96, 64)
    assert found.pixels.shape == (64, 96, 3)
    assert found.pixels.dtype == np.uint8
    assert gap(found.pixels, pixels_of(ramp())) <= tolerance


def test_formats_are_those_with_a_test_above() -> None:
    assert set(FORMATS) == {"JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000"}


def test_format_is_told_by_content_not_by_name() -> None:
    assert decode(encode(ramp(), "PNG")).format == "PNG"  # there is no name to ask


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)  # (4, 256)
    for kind in ("PNG", "TIFF"):
        found = decode(encode(Image.fromarray(levels), kind)).pixels
        assert np.array_equal(found[0, :, 0], np.arange(256))
        assert np.array_equal(found[..., 0], found[..., 1])


def test_16_bit_rgb_png_is_scaled() -> None:
    row = np.arange(256, dtype=np.uint16) * 257
    levels = np.stack([row, row[::-1], row], axis=1)  # (256, 3)
    data = png(256, 1, depth=16, colour=2, data=b"\0" + levels.astype(">u2").tobytes())
    found = decode(data).pixels[0]
    assert np.array_equal(found[:, 0], np.arange(256))
    assert np.array_equal(found[:, 1], np.arange(256)[::-1])


def test_16_bit_rgba_and_grey_alpha_png_lie_over_white() -> None:
    opaque, clear = [0, 0, 0, 65535], [0, 0, 0, 0]
    data = png(2, 1, depth=16, colour=6, data=b"\0" + np.array([opaque, clear], ">u2").tobytes())
    assert decode(data).pixels[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    data = png(2, 1, depth=16, colour=4, data=b"\0" + np.array([[0, 65535], [0, 0]], ">u2").tobytes())
    assert decode(data).pixels[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_12_bit_tiff_uses_its_own_range() -> None:
    # Pillow writes no 12-bit data: one row of the packed values 0 and 4095, and the directory that says so.
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", 12) + b"\x00\x0f\xff\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert decode(data).pixels[0, :, 0].tolist() == [0, 255]


def test_32_bit_integers_beyond_16_bits_are_stretched() -> None:
    values = np.array([[-100_000, 0, 100_000]], np.int32)
    assert decode(encode(Image.fromarray(values), "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([float("nan"), float("inf"), 1.0], [0, 0, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_tiff_is_scaled_by_its_range(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert decode(encode(image, "TIFF")).pixels[0, :, 0].tolist() == expected


def test_cmyk_jpeg_as_photoshop_writes_it_is_not_inverted() -> None:
    data = encode(ramp().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data  # the marker that says the values are stored inverted
    assert gap(decode(data).pixels, pixels_of(ramp())) < 4.0


def test_cmyk_tiff_becomes_rgb() -> None:
    assert gap(decode(encode(ramp().convert("CMYK"), "TIFF")).pixels, pixels_of(ramp())) < 1.0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (2, 0, 4, 2))
    data = encode(image.convert(mode if mode != "PA" else "RGBA"), "PNG")
    found = decode(data).pixels
    assert found[:, :2].max() == 0
    assert found[:, 2:].min() == 255


def test_half_transparent_is_half_white() -> None:
    assert decode(encode(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG")).pixels[0, 0].tolist() == [127, 127, 127]


def test_palette_with_transparency_lies_over_white() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    one = decode(encode(image, "PNG", transparency=1)).pixels[0]
    assert one.tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    each = decode(encode(image, "PNG", transparency=b"\xff\x00\x80")).pixels[0]
    assert each.tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 255]]


def test_colour_key_transparency_lies_over_white() -> None:
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    image.putpixel((1, 0), (1, 2, 3))
    assert decode(encode(image, "PNG", transparency=(1, 2, 3))).pixels[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        assert decode(encode(image, kind)).pixels[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_lab_tiff_becomes_rgb() -> None:
    lab = Image.new("LAB", (2, 2), (255, 128, 128))
    assert decode(encode(lab, "TIFF")).pixels.min() > 240  # L = 100 is white


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})])
def test_first_frame_or_page_is_taken(kind: str, options: dict[str, Any]) -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encode(red, kind, save_all=True, append_images=[blue, red], **options)
    assert decode(data).pixels[0, 0].tolist() == [255, 0, 0]


def test_multi_picture_jpeg_gives_the_first() -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    found = decode(encode(red, "MPO", save_all=True, append_images=[blue]))
    assert found.format == "JPEG"
    assert found.pixels[0, 0, 0] > 240


# --- orientation


def turned(upright: ImageArray, orientation: int) -> ImageArray:
    """What a camera stores for an upright picture, by the EXIF text: where row 0 and column 0 of the file lie."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }
    return np.ascontiguousarray(stored[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = pixels_of(ramp(96, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
    options = lossless.get(kind, {})
    data = encode(Image.fromarray(turned(upright, orientation)), kind, exif=exif, **options)
    found = decode(data)
    assert (found.width, found.height) == (96, 64)
    assert gap(found.pixels, upright) < 2.0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_holds_in_draft_mode(orientation: int) -> None:
    upright = pixels_of(ramp(640, 480))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(turned(upright, orientation)), "JPEG", quality=95, exif=exif)
    found = decode(data, min_side=100)
    assert (found.width, found.height) == (640, 480)
    assert found.pixels.shape == (120, 160, 3)
    assert gap(found.pixels, pixels_of(ramp(640, 480).resize((160, 120), Image.Resampling.BOX))) < 2.0


def test_unreadable_or_senseless_exif_leaves_the_picture_readable() -> None:
    for exif in (
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x01" * 40,
    ):
        assert decode(encode(ramp(), "JPEG", exif=exif)).width == 96
    senseless = Image.Exif()
    senseless[0x0112] = 77
    assert decode(encode(ramp(), "JPEG", exif=senseless)).pixels.shape == (64, 96, 3)


# --- draft


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((1920, 1080), 512, (960, 540)),
        ((1920, 1080), 540, (960, 540)),
        ((1920, 1080), 541, (1920, 1080)),
        ((1080, 1920), 135, (135, 240)),
        ((1001, 999), 124, (126, 125)),
        ((1920, 1080), 0, (1920, 1080)),
    ],
)
def test_draft_keeps_the_short_side(size: tuple[int, int], min_side: int, expected: tuple[int, int]) -> None:
    found = decode(encode(Image.new("RGB", size), "JPEG"), min_side=min_side)
    assert found.pixels.shape[1::-1] == expected
    assert (found.width, found.height) == size
    assert min(found.pixels.shape[:2]) >= min(min_side, min(size))


def test_exact_and_other_formats_are_never_reduced() -> None:
    image = Image.new("RGB", (640, 480))
    assert decode(encode(image, "JPEG"), min_side=32, exact=True).pixels.shape == (480, 640, 3)
    assert decode(encode(image, "PNG"), min_side=32).pixels.shape == (480, 640, 3)


def test_draft_gives_model_input_within_a_grey_level(rng: np.random.Generator) -> None:
    geometry = Geometry(size=64, resize=72)
    data = encode(picture(rng, width=640, height=480), "JPEG", quality=90)
    draft = fit(decode(data, min_side=2 * geometry.resize).pixels, geometry)
    exact = fit(decode(data, exact=True).pixels, geometry)
    assert gap(draft, exact) < 1.0


# --- limits


def test_bomb_header_is_too_large_and_quick() -> None:
    data = png(60_000, 60_000, depth=8, colour=2, data=b"\0" * 1000)
    start = time.perf_counter()
    with pytest.raises(
        UnreadableImage, match="60000 x 60000 px is 3600000000 pixels; the limit is 200000000"
    ) as caught:
        decode(data)
    assert caught.value.reason == "too_large"
    assert time.perf_counter() - start < 1.0


def test_limit_is_ours_and_pillow_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Image.open would refuse anything above 200
    assert decode(encode(ramp(), "PNG")).width == 96
    assert fit(pixels_of(ramp()), Geometry(size=32, resize=32)).shape == (32, 32, 3)
    assert len(thumbnail(pixels_of(ramp()))) > 0
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pixel_limit_is_inclusive() -> None:
    data = encode(ramp(), "PNG")
    assert decode(data, limits=Limits(max_pixels=96 * 64)).width == 96
    assert reason_of(data, Limits(max_pixels=96 * 64 - 1)) == "too_large"


def test_memory_limit_names_the_estimate() -> None:
    with pytest.raises(UnreadableImage, match="96 x 64 px in mode RGB needs about 43008 bytes of memory") as caught:
        decode(encode(ramp(), "PNG"), limits=Limits(max_memory_bytes=40_000))
    assert caught.value.reason == "too_large"


def test_memory_limit_counts_what_draft_decodes() -> None:
    data = encode(Image.new("RGB", (1600, 1200)), "JPEG")
    limits = Limits(max_memory_bytes=3_000_000)
    assert reason_of(data, limits) == "too_large"
    assert decode(data, min_side=300, limits=limits).pixels.shape == (300, 400, 3)


def test_progressive_jpeg_counts_its_coefficients() -> None:
    data = encode(Image.new("RGB", (1600, 1200)), "JPEG", progressive=True)
    with pytest.raises(UnreadableImage, match="memory"):
        decode(data, min_side=300, limits=Limits(max_memory_bytes=3_000_000))


def test_file_limit_names_both_sizes() -> None:
    with pytest.raises(UnreadableImage, match="too_large: 1000 bytes; the limit is 999"):
        decode(b"x" * 1000, limits=Limits(max_file_bytes=999))


# --- faults


def test_empty_file() -> None:
    with pytest.raises(UnreadableImage, match="empty: 0 bytes"):
        decode(b"")


@pytest.mark.parametrize("data", [b"hello world, I am a text\n", b"BM is how this text begins, and it goes on for long",
                                  b"P5", b"P5 but no picture"[:2] + b"x", b"\0" * 100, b"\xff", b"{}"])  # fmt: skip
def test_text_named_jpg_is_not_an_image(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="not_an_image: starts with .*; expected one of JPEG, PNG"):
        decode(data)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"8BPS\0\1" + b"\0" * 20, "Photoshop"),
        (b"%PDF-1.7 and so on", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "'heic'; convert it to JPEG"),
        (b"\0\0\0\x14ftypisom\0\0\0\0mp42", "'isom'"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_known_but_unsupported_kinds_are_named(data: bytes, named: str) -> None:
    with pytest.raises(UnreadableImage, match=named) as caught:
        decode(data)
    assert caught.value.reason == "unsupported"


CUTTABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}),
    "avif": ("AVIF", {}),
    "ppm": ("PPM", {}),
    "jp2": ("JPEG2000", {}),
}


@pytest.mark.parametrize("name", CUTTABLE)
def test_cut_file_is_truncated_and_never_a_partial_picture(name: str, rng: np.random.Generator) -> None:
    kind, options = CUTTABLE[name]
    data = encode(picture(rng), kind, **options)
    whole = decode(data).pixels
    for share in np.linspace(0.02, 0.999, 40):
        cut = data[: max(int(len(data) * share), 64)]
        try:
            found = decode(cut).pixels
        except UnreadableImage as error:
            if kind != "TIFF" and share < 0.98:  # of a TIFF's directory a part may look like another fault
                assert error.reason == "truncated", f"{len(cut)} of {len(data)} bytes: {error}"
        else:
            assert np.array_equal(found, whole), f"{len(cut)} of {len(data)} bytes gave another picture"
    assert reason_of(data[: len(data) // 2]) == "truncated"


def test_jpeg_whose_rest_is_zeros_is_truncated(rng: np.random.Generator) -> None:
    data = encode(picture(rng, width=320, height=240), "JPEG")
    half = len(data) // 2
    with pytest.raises(UnreadableImage, match="truncated: no end marker after the picture data"):
        decode(data[:half] + bytes(len(data) - half))


def test_jpeg_with_bytes_after_its_end_is_whole(rng: np.random.Generator) -> None:
    data = encode(picture(rng), "JPEG")
    assert np.array_equal(decode(data + b"motion photo" * 100).pixels, decode(data).pixels)


def test_damage_is_told_in_the_words_of_the_decoder() -> None:
    with pytest.raises(UnreadableImage, match="decode_error: unrecognized data stream contents"):
        decode(png(8, 8, depth=8, colour=2, data=b"\x09" * 200))  # there is no PNG filter 9
    with pytest.raises(UnreadableImage, match="decode_error: broken PNG file"):
        decode(encode(ramp(), "PNG").replace(b"IDAT", b"\0\0\0\0"))


def test_random_damage_gives_a_picture_or_a_reason_and_no_warning(rng: np.random.Generator) -> None:
    limits = Limits(max_pixels=4_000_000)
    for kind, options in [*CUTTABLE.values(), ("JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0" + b"\x12\x01" * 9})]:
        if kind == "TIFF":
            continue  # libtiff writes to stderr itself
        data = encode(picture(rng), kind, **options)
        for _ in range(40):
            damaged = bytearray(data)
            for at in rng.integers(0, min(len(data), 400), 6):
                damaged[at] = rng.integers(0, 256)
            try:
                decode(bytes(damaged), limits=limits)
            except UnreadableImage as error:
                assert error.reason in REASONS


def test_warnings_of_pillow_stay_inside_and_others_do_not() -> None:
    tiff = bytearray(encode(Image.new("L", (4, 4)), "TIFF"))
    directory = struct.unpack_from("<I", tiff, 4)[0]
    count = struct.unpack_from("<H", tiff, directory)[0]
    last = directory + 2 + 12 * (count - 1)
    struct.pack_into("<HHII", tiff, last, 0xF000, 2, 5000, 999_999)  # a tag whose text lies beyond the end
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with contextlib.suppress(UnreadableImage):
            decode(bytes(tiff))
        assert seen == []
        warnings.warn("ours", UserWarning, stacklevel=1)
        assert len(seen) == 1


def test_threads_decode_side_by_side_and_leave_warnings_as_they_were(rng: np.random.Generator) -> None:
    data = encode(picture(rng, width=320, height=240), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    before = list(warnings.filters)
    found: list[tuple[int, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(decode(data).pixels.shape)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(240, 320, 3)] * 16
    assert list(warnings.filters) == before


def test_decoded_pixels_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        decode(encode(ramp(), "PNG")).pixels[0, 0, 0] = 1


# --- model input and thumbnails


def resize_then_crop(pixels: ImageArray, geometry: Geometry) -> ImageArray:
    """The plain way: resize the short side, then cut the middle out."""
    height, width = pixels.shape[:2]
    if width <= height:
        size = (geometry.resize, int(geometry.resize * height / width))
    else:
        size = (int(geometry.resize * width / height), geometry.resize)
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[geometry.filter]
    image = np.asarray(Image.fromarray(pixels).resize(size, method))
    top, left = round((size[1] - geometry.size) / 2), round((size[0] - geometry.size) / 2)
    return image[top : top + geometry.size, left : left + geometry.size]


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (333, 77), (500, 501), (50, 40)])
@pytest.mark.parametrize("geometry", [Geometry(24, 32), Geometry(32, 32, filter="bilinear"), Geometry(31, 40)])
def test_fit_equals_resize_then_crop(size: tuple[int, int], geometry: Geometry, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    found = fit(pixels, geometry)
    assert found.shape == (geometry.size, geometry.size, 3)
    assert np.abs(found.astype(int) - resize_then_crop(pixels, geometry)).max() <= 1


def test_squash_keeps_all_of_the_picture() -> None:
    pixels = pixels_of(ramp(200, 50))
    found = fit(pixels, Geometry(size=32, resize=32, crop="squash"))
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(found, expected)


def test_fit_of_one_pixel_and_of_a_line() -> None:
    for shape in ((1, 1, 3), (1, 3000, 3), (3000, 1, 3)):
        found = fit(np.full(shape, 7, np.uint8), Geometry(size=16, resize=20))
        assert found.shape == (16, 16, 3)
        assert (found == 7).all()


def test_fit_result_is_writable_and_its_input_unchanged() -> None:
    pixels = pixels_of(ramp())
    before = pixels.copy()
    found = fit(pixels, Geometry(size=16, resize=16))
    assert found.flags.writeable
    assert found.flags.c_contiguous
    assert np.array_equal(pixels, before)


def test_geometry_refuses_what_cannot_be_cut() -> None:
    with pytest.raises(UsageError, match="short side of 200 px before a crop of 224 px; expected at least 224"):
        Geometry(size=224, resize=200)
    with pytest.raises(UsageError, match="model input of 0 px"):
        Geometry(size=0, resize=0)
    assert Geometry(size=224, resize=0, crop="squash").size == 224


@pytest.mark.parametrize("kind", ["webp", "jpeg"])
def test_thumbnail_has_the_longest_side_and_the_look(kind: Any) -> None:
    small = Image.open(io.BytesIO(thumbnail(pixels_of(ramp(960, 640)), format=kind)))
    assert small.format == kind.upper()
    assert small.size == (256, 171)
    assert gap(pixels_of(small), pixels_of(ramp(256, 171))) < 4.0


def test_thumbnail_never_enlarges_and_keeps_a_line_visible() -> None:
    assert Image.open(io.BytesIO(thumbnail(pixels_of(ramp(40, 30))))).size == (40, 30)
    assert Image.open(io.BytesIO(thumbnail(np.zeros((1, 5000, 3), np.uint8)))).size == (256, 1)


# --- real files


@pytest.mark.real
def test_real_files_of_every_format_decode(real_data: Path) -> None:
    folder = real_data / "near_duplicates" / "imagededup_ukbench" / "formats_images"
    found = {path.name: decode(path.read_bytes()) for path in sorted(folder.iterdir())}
    assert {name: (p.format, p.width, p.height) for name, p in found.items()} == {
        "baboon.pgm": ("PPM", 512, 512),
        "copyleft.tiff": ("TIFF", 220, 220),
        "marbles.pbm": ("PPM", 1152, 813),
        "ukbench09380.bmp": ("JPEG", 640, 480),  # a JPEG under three other names
        "ukbench09380.jpeg": ("JPEG", 640, 480),
        "ukbench09380.png": ("JPEG", 640, 480),
        "ukbench09380.webp": ("WEBP", 640, 480),
    }
    assert gap(found["ukbench09380.webp"].pixels, found["ukbench09380.jpeg"].pixels) < 4.0


@pytest.mark.real
def test_real_corrupt_file_has_a_reason(real_data: Path) -> None:
    path = real_data / "near_duplicates" / "imagededup_ukbench" / "mixed_images" / "ukbench09268_corrupt.jpg"
    assert reason_of(path.read_bytes()) == "not_an_image"  # its bytes are scrambled from the first on


@pytest.mark.real
def test_draft_of_real_photos_is_close_to_exact(real_data: Path) -> None:
    geometry = Geometry(size=64, resize=73)
    paths = sorted((real_data / "near_duplicates" / "imagededup_ukbench" / "base_images").glob("*.jpg"))
    gaps = []
    for path in paths:
        data = path.read_bytes()
        draft = decode(data, min_side=2 * geometry.resize)
        assert min(draft.pixels.shape[:2]) == 240  # 480 halved; 146 wanted
        gaps.append(gap(fit(draft.pixels, geometry), fit(decode(data, exact=True).pixels, geometry)))
    assert np.mean(gaps) < 1.0
