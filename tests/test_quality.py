"""Measures and hashes of one image."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from curator.data import FloatArray, ImageArray
from curator.images import decode
from curator.quality import ISSUES, MEASURED, Limits, digest, flags, hamming, measure, perceptual_hash
from tests.conftest import picture


def textured(rng: np.random.Generator, *, width: int = 1280, height: int = 960) -> Image.Image:
    """Detail at every scale, as photos have it: noise at 8, 40, 200 and 1,000 px, the coarse ones stronger."""
    total = np.zeros((height, width, 3), np.float32)
    for side, strength in ((8, 60.0), (40, 30.0), (200, 15.0), (1000, 8.0)):
        noise = rng.normal(0.0, 1.0, (side * height // width, side, 3)).clip(-3, 3) * 40 + 128
        layer = Image.fromarray(noise.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(layer, np.float32) - 128) * (strength / 40)
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def measured(image: Image.Image | ImageArray) -> dict[str, float | int]:
    pixels = np.asarray(image)
    return measure(pixels, width=pixels.shape[1], height=pixels.shape[0])


def flat(level: int, *, size: int = 64) -> ImageArray:
    return np.full((size, size, 3), level, np.uint8)


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


# --- measures


def test_measures_of_black_white_and_grey() -> None:
    black, grey, white = measured(flat(0)), measured(flat(128)), measured(flat(255))
    assert (black["brightness"], white["brightness"]) == (0.0, 1.0)
    assert grey["brightness"] == pytest.approx(128 / 255)
    assert (black["underexposed"], black["overexposed"]) == (1.0, 0.0)
    assert (white["underexposed"], white["overexposed"]) == (0.0, 1.0)
    assert (grey["underexposed"], grey["overexposed"]) == (0.0, 0.0)
    for one in (black, grey, white):
        assert (one["sharpness"], one["contrast"], one["saturation"], one["entropy"]) == (0.0, 0.0, 0.0, 0.0)


def test_contrast_and_entropy_of_half_black_half_white() -> None:
    pixels = flat(0)
    pixels[:32] = 255
    found = measured(pixels)
    assert found["contrast"] == pytest.approx(0.5)
    assert found["entropy"] == pytest.approx(1.0)
    assert (found["underexposed"], found["overexposed"]) == (0.5, 0.5)


def test_focus_is_sharpness_in_proportion_to_contrast(rng: np.random.Generator) -> None:
    image = textured(rng)
    whole = measured(image)
    assert whole["focus"] == pytest.approx(whole["sharpness"] ** 0.5 / (255 * whole["contrast"]))
    pale = image.point(lambda v: 150 + v // 4)
    assert measured(pale)["sharpness"] < 0.1 * whole["sharpness"]
    assert measured(pale)["focus"] == pytest.approx(whole["focus"], rel=0.1), "a pale picture is not a blurred one"
    blurred = image.filter(ImageFilter.GaussianBlur(13))  # 1 % of the long side
    assert measured(blurred)["focus"] < 0.5 * whole["focus"]


def test_low_and_high_brightness_pass_over_a_few_pixels() -> None:
    pixels = np.full((100, 100, 3), 40, np.uint8)
    pixels[:4] = 0
    pixels[-1, :99] = 255
    found = measured(pixels)
    assert found["brightness_low"] == pytest.approx(40 / 255)
    assert found["brightness_high"] == pytest.approx(40 / 255)
    pixels[:10] = 0
    pixels[-2:] = 255
    found = measured(pixels)
    assert (found["brightness_low"], found["brightness_high"]) == (0.0, 1.0)
    for level in (0, 255):
        one = measured(flat(level))
        assert one["brightness_low"] == one["brightness_high"] == level / 255


def test_entropy_of_all_levels_is_8_bits() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=0).repeat(3, axis=2)
    assert measured(ramp)["entropy"] == pytest.approx(8.0)


def test_saturation_is_1_for_pure_colours_and_falls_with_white() -> None:
    assert measured(Image.new("RGB", (64, 64), "red"))["saturation"] == 1.0
    assert measured(Image.new("RGB", (64, 64), (255, 128, 128)))["saturation"] == pytest.approx(0.5, abs=0.01)


def test_sharpness_is_the_variance_of_the_laplacian(rng: np.random.Generator) -> None:
    pixels = np.asarray(picture(rng, width=40, height=30))
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    values = [
        grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4 * grey[y, x]
        for y in range(1, 29)
        for x in range(1, 39)
    ]
    assert measured(pixels)["sharpness"] == pytest.approx(np.var(values))


def test_blur_lowers_sharpness_step_by_step(rng: np.random.Generator) -> None:
    image = textured(rng)
    found = [measured(image.filter(ImageFilter.GaussianBlur(radius)))["sharpness"] for radius in (0, 2, 4, 8)]
    assert found[0] > 1.2 * found[1] > 1.44 * found[2] > 2 * found[3] > 0


@pytest.mark.parametrize("width", [960, 800, 640, 512, 400, 320])
def test_sharpness_of_a_picture_is_the_same_at_another_resolution(width: int, rng: np.random.Generator) -> None:
    image = textured(rng)
    small = image.resize((width, width * 3 // 4), Image.Resampling.LANCZOS)
    assert measured(small)["sharpness"] == pytest.approx(measured(image)["sharpness"], rel=0.12)


def test_measures_hardly_depend_on_resolution(rng: np.random.Generator) -> None:
    image = textured(rng)
    large, small = measured(image), measured(image.resize((640, 480), Image.Resampling.LANCZOS))
    for name in ("brightness", "contrast", "saturation", "entropy"):
        assert small[name] == pytest.approx(large[name], rel=0.03), name


@pytest.mark.parametrize("size", [(1920, 1080), (1600, 1200), (4000, 1500), (1030, 1031)])
def test_draft_and_exact_decoding_give_the_same_measures(size: tuple[int, int], rng: np.random.Generator) -> None:
    data = jpeg(textured(rng, width=size[0], height=size[1]))
    exact, draft = decode(data, exact=True), decode(data, min_side=512)
    whole = measure(exact.pixels, width=exact.width, height=exact.height)
    reduced = measure(draft.pixels, width=draft.width, height=draft.height)
    for name in whole:
        assert reduced[name] == pytest.approx(whole[name], rel=0.03, abs=0.002), name


def test_size_and_aspect_are_those_of_the_full_picture() -> None:
    found = measure(flat(0), width=4000, height=3000)
    assert (found["width"], found["height"], found["size_px"]) == (4000, 3000, 12_000_000)
    assert found["aspect_ratio"] == pytest.approx(4 / 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 2), (3, 3)])
def test_tiny_and_thin_pictures_have_finite_measures(shape: tuple[int, int]) -> None:
    found = measured(np.full((*shape, 3), 77, np.uint8))
    assert all(np.isfinite(value) for value in found.values())
    assert found["sharpness"] == 0.0


def test_input_is_left_as_it_was(rng: np.random.Generator) -> None:
    pixels = np.array(picture(rng, width=700, height=500))
    before = pixels.copy()
    measured(pixels)
    perceptual_hash(pixels)
    assert np.array_equal(pixels, before)


@pytest.mark.slow
def test_measuring_512_px_takes_milliseconds(rng: np.random.Generator) -> None:
    pixels = np.asarray(textured(rng, width=512, height=512))
    measured(pixels)
    spent = []
    for _ in range(30):
        start = time.process_time()
        measured(pixels)
        spent.append(time.process_time() - start)
    assert np.median(spent) < 0.006  # about 2 ms on a free core; the margin is for shared ones


# --- issues


def columns(images: Sequence[Image.Image | ImageArray]) -> dict[str, FloatArray]:
    found = [measured(image) for image in images]
    return {name: np.asarray([one[name] for one in found], np.float32) for name in MEASURED}


def test_each_fault_raises_its_own_issue(rng: np.random.Generator) -> None:
    good = [textured(rng, width=320, height=240) for _ in range(6)]
    faulty = {
        "dark": good[0].point(lambda v: v // 5),
        "bright": good[0].point(lambda v: 255 - v // 8),
        "blurry": good[0].filter(ImageFilter.GaussianBlur(8)),
        "low_information": good[0].point(lambda v: 96 if v < 128 else 160),
        "odd_size": good[0].resize((1600, 1200), Image.Resampling.LANCZOS),
        "odd_aspect": good[0].resize((640, 120), Image.Resampling.LANCZOS),
    }
    found = flags(columns([*good, *faulty.values()]), Limits())
    assert list(found) == list(ISSUES) == list(faulty)
    for at, name in enumerate(faulty, start=len(good)):
        assert [issue for issue, flag in found.items() if flag[at]] == [name]
    assert not any(flag[: len(good)].any() for flag in found.values())


def test_one_colour_has_no_information_and_is_not_blurred() -> None:
    found = flags(columns([flat(120)]), Limits())
    assert [name for name, flag in found.items() if flag[0]] == ["low_information"]


def test_a_small_picture_is_as_odd_as_a_large_one() -> None:
    sides = [10, 30, 100, 100, 100, 300, 1000]
    sizes = {"width": np.asarray(sides, np.float32), "height": np.asarray(sides, np.float32)}
    nothing = {name: np.full(7, np.nan, np.float32) for name in MEASURED}
    found = flags({**nothing, **sizes}, Limits())
    assert found["odd_size"].tolist() == [True, False, False, False, False, False, True]
    assert not any(found[name].any() for name in found if name != "odd_size")


def test_unmeasured_pictures_have_no_issue() -> None:
    nothing = {name: np.full(3, np.nan, np.float32) for name in MEASURED}
    assert not any(flag.any() for flag in flags(nothing, Limits()).values())
    assert all(
        len(flag) == 0 for flag in flags({name: values[:0] for name, values in nothing.items()}, Limits()).values()
    )


# --- hashes


def naive_hash(pixels: ImageArray) -> int:
    """The same hash from the definition of the DCT."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.BILINEAR), float)
    low = np.zeros((8, 8))
    at = np.arange(32)
    for v in range(8):
        for u in range(8):
            wave = np.outer(np.cos(np.pi * (at + 0.5) * (v + 1) / 32), np.cos(np.pi * (at + 0.5) * (u + 1) / 32))
            low[v, u] = (grey * wave).sum()
    bits = (low > np.median(low)).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def test_hash_follows_the_definition(rng: np.random.Generator) -> None:
    for _ in range(20):
        pixels = np.asarray(picture(rng, width=120, height=90))
        assert perceptual_hash(pixels) == naive_hash(pixels)


def test_hash_is_64_bits_half_of_them_set(rng: np.random.Generator) -> None:
    for _ in range(10):
        found = perceptual_hash(np.asarray(picture(rng)))
        assert 0 <= found < 2**64
        assert found.bit_count() == 32


def test_hash_of_one_colour_is_zero() -> None:
    for level in (0, 1, 127, 128, 255):
        assert perceptual_hash(flat(level)) == 0


def test_hash_survives_size_and_compression_and_tells_others_apart(rng: np.random.Generator) -> None:
    images = [textured(rng, width=640, height=480) for _ in range(8)]
    hashes = [perceptual_hash(np.asarray(image)) for image in images]
    for image, original in zip(images, hashes, strict=True):
        half = np.asarray(image.resize((320, 240), Image.Resampling.LANCZOS))
        assert hamming(perceptual_hash(half), original) <= 4
        assert hamming(perceptual_hash(decode(jpeg(image)).pixels), original) <= 4
        bright = np.asarray(image).astype(int) + 20
        assert hamming(perceptual_hash(bright.clip(0, 255).astype(np.uint8)), original) <= 6
    others = [hamming(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > 12


def test_hamming_counts_differing_bits() -> None:
    assert hamming(0, 0) == 0
    assert hamming(0b1011, 0b0010) == 2
    assert hamming(0, 2**64 - 1) == 64


def test_digest_is_sha256_in_hex() -> None:
    assert digest(b"") == hashlib.sha256(b"").hexdigest()
    assert digest(b"abc").startswith("ba7816bf")


# --- real pictures


@pytest.mark.real
@pytest.mark.slow
def test_faults_put_into_real_photos_are_found_and_the_photos_are_not_blamed(real_data: Path) -> None:
    paths = sorted((real_data / "detection" / "voc100").rglob("*.jpg"))[::2]
    paths += sorted((real_data / "classification" / "caltech101_sub").rglob("*.jpg"))[::16]
    photos = [Image.fromarray(decode(path.read_bytes()).pixels) for path in paths]
    assert len(photos) == 100
    blurred = [photo.filter(ImageFilter.GaussianBlur(0.01 * max(photo.size))) for photo in photos]
    found = {
        "as they are": flags(columns(photos), Limits()),
        "dark": flags(columns([photo.point(lambda v: v // 4) for photo in photos]), Limits()),
        "bright": flags(columns([photo.point(lambda v: 255 - (255 - v) * 3 // 20) for photo in photos]), Limits()),
        "blurry": flags(columns(blurred), Limits()),
    }
    for name in ("dark", "bright", "blurry"):
        assert found[name][name].mean() > 0.98, name
        assert found["as they are"][name].mean() < 0.02, name


@pytest.mark.real
def test_blurred_real_photos_rank_below_their_originals(real_data: Path) -> None:
    for path in sorted((real_data / "near_duplicates" / "imagededup_ukbench" / "base_images").glob("*.jpg")):
        image = Image.fromarray(decode(path.read_bytes()).pixels)
        blurred = image.filter(ImageFilter.GaussianBlur(3))
        assert measured(blurred)["sharpness"] < 0.5 * measured(image)["sharpness"], path.name


@pytest.mark.real
def test_resized_and_reencoded_real_copies_have_near_hashes(real_data: Path) -> None:
    folder = real_data / "near_duplicates" / "imagededup_ukbench"
    original = perceptual_hash(decode((folder / "mixed_images" / "ukbench00120.jpg").read_bytes()).pixels)
    for name, at_most in (("mixed_images/ukbench00120_resize.jpg", 6), ("ukbench00120_gray.jpg", 6)):
        assert hamming(perceptual_hash(decode((folder / name).read_bytes()).pixels), original) <= at_most, name
    other = perceptual_hash(decode((folder / "mixed_images" / "ukbench09268.jpg").read_bytes()).pixels)
    assert hamming(other, original) > 16


@pytest.mark.real
def test_draft_of_real_photos_keeps_measures_and_hash(real_data: Path) -> None:
    for path in sorted((real_data / "detection" / "coco_train2017").rglob("*.jpg"))[:12]:
        photo = Image.fromarray(decode(path.read_bytes()).pixels)
        data = jpeg(photo.resize((3 * photo.width, 3 * photo.height), Image.Resampling.BICUBIC))
        exact, draft = decode(data, exact=True), decode(data, min_side=512)
        assert draft.pixels.size < exact.pixels.size
        a = measure(exact.pixels, width=exact.width, height=exact.height)
        b = measure(draft.pixels, width=draft.width, height=draft.height)
        for name in ("sharpness", "brightness", "contrast", "saturation", "entropy"):
            assert b[name] == pytest.approx(a[name], rel=0.03, abs=0.002), (path.name, name)
        assert hamming(perceptual_hash(exact.pixels), perceptual_hash(draft.pixels)) <= 2, path.name
