"""Unlabelled pools as teams have them, made from labelled photographs: long-tailed, redundant and with junk.

A pool is drawn from a bank of embedded pictures: the photographs, near-copies of each, isolated junk
and junk that comes in clumps (covered lens, error pages). The test set is balanced over the classes
and shares no photograph, and no track of frames, with the pool.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from curator import embed, images, quality
from curator.calibration import fit_copies, histogram_of, pairs_of_copies
from curator.config import Calibrate, Quality
from curator.data import BoolArray, FloatArray, ImageArray, IntArray
from curator.images import edits
from curator.neardups import cover

Array = NDArray[Any]

SETS = ("caltech101_sub", "gtsrb_tracks", "cifar10n")
N_COPIES = {
    "caltech101_sub": 8,
    "gtsrb_tracks": 0,
    "cifar10n": 8,
}  # embedded per copied photograph; tracks repeat already
FOOTAGE = ("gtsrb_tracks",)  # frames of a camera; the others are pictures that somebody collected
COPIED_EVERY = {"caltech101_sub": 1, "gtsrb_tracks": 1, "cifar10n": 3}  # every how many photographs one is copied
COPY_SHARE = {"caltech101_sub": 0.6, "gtsrb_tracks": 0.0, "cifar10n": 0.6}  # of the pool; the demo's footage has 0.74
JUNK_SHARE, CLUMP_SHARE = 0.02, 0.03
N_JUNK, N_CLUMPS, N_IN_CLUMP = 120, 3, 60
TAIL = 0.5  # class sizes fall like (1 + 9 rank / classes) ** -TAIL, as in a pool with common and rare things
NOTHING = -1  # class of junk


@dataclass(frozen=True, slots=True)
class Bank:
    """Embedded pictures of one data set."""

    name: str
    vectors: FloatArray  # (m, d)
    classes: IntArray  # (m,) -1 for junk
    groups: IntArray  # (m,) photograph or track; a copy has its original's
    is_copy: BoolArray  # (m,)
    clump: IntArray  # (m,) 0.. for junk in clumps, -1 for all else
    is_low: BoolArray  # (m,) fails the default limits of `quality`
    sharpness: FloatArray  # (m,) of `quality`; of near-duplicates covering as many, the sharper is kept


@dataclass(frozen=True, slots=True)
class Edited:
    """Edited copies of some photographs of a bank, from which the threshold is calibrated."""

    vectors: FloatArray  # (e, d)
    of: IntArray  # (e,) place in the bank
    is_mild: BoolArray  # (e,)


@dataclass(frozen=True, slots=True)
class Pool:
    """What a team has before labelling, and the test set that a model of the labels is judged by."""

    vectors: FloatArray  # (n, d), in random order
    classes: IntArray  # (n,) what labelling would say; -1: nothing, it is junk
    is_low: BoolArray  # (n,) not offered for labelling
    kept: BoolArray  # (n,) no near-duplicate of a kept one
    is_footage: bool  # frames of a camera
    threshold: float  # cosine from which two are near-duplicates
    test: FloatArray  # (t, d)
    test_classes: IntArray  # (t,)

    def __len__(self) -> int:
        return len(self.vectors)


def load_bank(name: str, data: Path, cache: Path | None, *, model: str) -> Bank:
    """Read a data set and embed it, or take what an earlier run kept in `cache`."""
    return Bank(name, **_stored(cache, f"{name}-{_code(model)}-bank", lambda: _embed(name, data, model)))


def load_edited(bank: Bank, data: Path, cache: Path | None, *, model: str) -> Edited:
    """Edit as many photographs as `curator calibrate` does and embed them, or take what an earlier run kept."""
    return Edited(**_stored(cache, f"{bank.name}-{_code(model)}-edited", lambda: _edit(bank, data, model)))


def _stored(cache: Path | None, name: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    at = None if cache is None else cache / f"{name}.npz"
    if at is not None and at.exists():
        with np.load(at) as stored:
            return {field: stored[field] for field in stored.files}
    made = make()
    if at is not None:
        at.parent.mkdir(parents=True, exist_ok=True)
        np.savez(at, **made)  # type: ignore[arg-type]  # numpy's stub takes the names for its own flag
    return made


def _code(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:8]


def calibrated(vectors: FloatArray, members: IntArray, edited: Edited, *, is_footage: bool) -> float:
    """The threshold `self` of a pool, from edited copies of those of its photographs that were edited."""
    place = {member: at for at, member in enumerate(members.tolist())}
    ours = np.isin(edited.of, members)
    of = np.asarray([place[member] for member in edited.of[ours].tolist()], np.int64)
    copies, is_mild = edited.vectors[ours], edited.is_mild[ours]
    same = {"mild": pairs_of_copies(vectors, copies[is_mild], of[is_mild])}
    if not is_footage:
        same["strong"] = pairs_of_copies(vectors, copies, of)
    return fit_copies(histogram_of(vectors), same).threshold


def draw_pool(bank: Bank, *, seed: int, threshold: float | Edited) -> Pool:
    """A pool and its test set.

    Args:
        threshold: the cosine from which two pictures are near-duplicates, or copies to calibrate it from.
    """
    rng = np.random.default_rng(seed)
    originals = np.flatnonzero((bank.classes >= 0) & ~bank.is_copy)
    n_classes = int(bank.classes.max()) + 1
    test, base = [], []
    for rank, label in enumerate(rng.permutation(n_classes).tolist()):
        ours = originals[bank.classes[originals] == label]
        groups = rng.permutation(np.unique(bank.groups[ours]))
        n_test = max(1, len(groups) // 4)
        held, open_ = groups[:n_test], groups[n_test:]
        n_groups = max(1, round(len(open_) * (1 + 9 * rank / n_classes) ** -TAIL))
        test.append(rng.permutation(ours[np.isin(bank.groups[ours], held)])[:100])
        base.append(ours[np.isin(bank.groups[ours], open_[:n_groups])])
    photos = np.concatenate(base)
    members = np.concatenate([photos, _copies_of(bank, photos, rng), *_junk(bank, len(photos), rng)])
    members = rng.permutation(members)
    vectors = np.ascontiguousarray(bank.vectors[members])
    tested = np.concatenate(test)
    is_footage = bank.name in FOOTAGE
    if isinstance(threshold, Edited):
        threshold = calibrated(vectors, members, threshold, is_footage=is_footage)
    return Pool(
        vectors=vectors,
        classes=bank.classes[members],
        is_low=bank.is_low[members],
        kept=cover(vectors, None, threshold, sharpness=bank.sharpness[members]).kept,
        is_footage=is_footage,
        threshold=threshold,
        test=bank.vectors[tested],
        test_classes=bank.classes[tested],
    )


def _copies_of(bank: Bank, photos: IntArray, rng: np.random.Generator) -> IntArray:
    """Near-copies of the pool's own photographs; some have many, most have none."""
    if N_COPIES[bank.name] == 0:
        return np.zeros(0, np.int64)  # thirty frames of one sign are redundancy enough
    copies = np.flatnonzero(bank.is_copy & np.isin(bank.groups, bank.groups[photos]))
    popular = rng.pareto(1.0, int(bank.groups.max()) + 1) + 0.05  # one weight per photograph
    weight = popular[bank.groups[copies]]
    share = COPY_SHARE[bank.name]
    size = min(round(len(photos) * share / (1 - share - JUNK_SHARE - CLUMP_SHARE)), len(copies))
    drawn: IntArray = rng.choice(copies, size, replace=False, p=weight / weight.sum())
    return drawn


def _junk(bank: Bank, n_photos: int, rng: np.random.Generator) -> list[IntArray]:
    n_pool = n_photos / (1 - COPY_SHARE[bank.name] - JUNK_SHARE - CLUMP_SHARE)
    alone = np.flatnonzero((bank.classes == NOTHING) & (bank.clump < 0))
    out = [rng.permutation(alone)[: max(1, round(JUNK_SHARE * n_pool))]]
    for number in range(N_CLUMPS):
        members = np.flatnonzero(bank.clump == number)
        out.append(rng.permutation(members)[: max(2, round(CLUMP_SHARE / N_CLUMPS * n_pool))])
    return out


# -- pictures ----------------------------------------------------------------------------------------------------


def _edit(bank: Bank, data: Path, model: str) -> dict[str, Array]:
    embedder = embed.load(model, device="cpu", threads=1, n_tags=0)
    rng = np.random.default_rng(11)
    files, names = _listed(bank.name, data)[0], edits.names("strong")
    originals = np.flatnonzero((bank.classes >= 0) & ~bank.is_copy)  # in the order of the files
    sampled = np.sort(rng.permutation(len(files))[: Calibrate().sample])
    vectors = []
    for at in sampled.tolist():
        pixels = images.decode(files[at].read_bytes(), exact=True).pixels
        made = [images.fit(edits.edit(pixels, name, rng), embedder.geometry) for name in names]
        vectors.append(embedder(np.stack(made)).vectors)
    is_mild = np.isin(names, edits.names("mild"))
    return {
        "vectors": np.concatenate(vectors),
        "of": np.repeat(originals[sampled], len(names)),
        "is_mild": np.tile(is_mild, len(sampled)),
    }


def _embed(name: str, data: Path, model: str) -> dict[str, Array]:
    embedder = embed.load(model, device="cpu", threads=1, n_tags=0)
    rng = np.random.default_rng(7)
    files, classes, groups = _listed(name, data)
    batch: list[ImageArray] = []
    vectors: list[FloatArray] = []
    about: list[tuple[int, int, bool, int, bool, float]] = []
    for pixels, label, group, is_copy, clump in _pictures(name, files, classes, groups, rng):
        about.append((label, group, is_copy, clump, *_quality(pixels)))
        batch.append(images.fit(pixels, embedder.geometry))
        if len(batch) == 32:
            vectors.append(embedder(np.stack(batch)).vectors)
            batch = []
    if batch:
        vectors.append(embedder(np.stack(batch)).vectors)
    fields = ("classes", "groups", "is_copy", "clump", "is_low", "sharpness")
    columns = {field: np.asarray(values) for field, values in zip(fields, zip(*about, strict=True), strict=True)}
    return {"vectors": np.concatenate(vectors), **columns}


def _listed(name: str, data: Path) -> tuple[list[Path], list[int], list[int]]:
    folder = data / "classification" / name
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    label = {"caltech101_sub": "label", "gtsrb_tracks": "class_id", "cifar10n": "true_label"}[name]
    group = "track_id" if name == "gtsrb_tracks" else "file"
    numbers = [
        {key: at for at, key in enumerate(sorted({line[column] for line in lines}))} for column in (label, group)
    ]
    return (
        [folder / line["file"] for line in lines],
        [numbers[0][line[label]] for line in lines],
        [numbers[1][line[group]] for line in lines],
    )


def _pictures(
    name: str, files: list[Path], classes: list[int], groups: list[int], rng: np.random.Generator
) -> Iterator[tuple[ImageArray, int, int, bool, int]]:
    """Pixels, class, group, whether a copy, clump of every picture of the bank."""
    for at, (file, label, group) in enumerate(zip(files, classes, groups, strict=True)):
        pixels = images.decode(file.read_bytes(), exact=True).pixels
        yield pixels, label, group, False, -1
        for _ in range(N_COPIES[name] if at % COPIED_EVERY[name] == 0 else 0):
            yield near_copy(pixels, rng), label, group, True, -1
    first = max(groups) + 1
    for at in range(N_JUNK):
        yield _oddity(rng), NOTHING, first + at, False, -1
    for clump in range(N_CLUMPS):
        for at in range(N_IN_CLUMP):
            yield _of_clump(clump, rng), NOTHING, first + N_JUNK + clump * N_IN_CLUMP + at, False, clump


def near_copy(pixels: ImageArray, rng: np.random.Generator) -> ImageArray:
    """The next frame of a slow camera, or a re-encoding: a little crop, light, blur and JPEG."""
    image = Image.fromarray(pixels)
    width, height = image.size
    cut = rng.uniform(0.0, 0.06, 4) * (width, height, width, height)
    image = image.crop((round(cut[0]), round(cut[1]), round(width - cut[2]), round(height - cut[3])))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.85, 1.15))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(0.004 * max(image.size)))
    out = io.BytesIO()
    image.save(out, "jpeg", quality=int(rng.integers(50, 95)))
    return np.asarray(Image.open(out).convert("RGB"))


def _oddity(rng: np.random.Generator) -> ImageArray:
    """A picture like no other and of no use: noise at some grain, or scattered shapes."""
    side = int(rng.choice([3, 8, 24, 96]))
    image = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    image = image.resize((224, 224), Image.Resampling(int(rng.choice([0, 2, 3]))))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 12))):
        a, b = sorted(rng.integers(0, 224, 2).tolist()), sorted(rng.integers(0, 224, 2).tolist())
        colour = tuple(rng.integers(0, 256, 3).tolist())
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((a[0], b[0], a[1], b[1]), fill=colour)
    return np.asarray(image)


def _of_clump(clump: int, rng: np.random.Generator) -> ImageArray:
    """A frame of a covered lens (dark), of a washed-out sky (bright), or an error page (text on white)."""
    if clump < 2:
        base = np.full((224, 224, 3), (14, 16, 20) if clump == 0 else (236, 238, 243), np.float32)
        noisy = base + rng.normal(0, 4, base.shape) + rng.uniform(-6, 6)
        return noisy.clip(0, 255).astype(np.uint8)
    image = Image.new("RGB", (224, 224), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 224, 26), fill=(40, 60, 120))
    for line in range(6):
        draw.text((14, 44 + 24 * line), f"Error {int(rng.integers(100, 999))}: no signal", fill=(30, 30, 30))
    return np.asarray(image)


def _quality(pixels: ImageArray) -> tuple[bool, float]:
    """Whether it fails the default limits of the section `quality`, as in the pipeline; and its sharpness."""
    limits = Quality()
    found = quality.measure(pixels, width=pixels.shape[1], height=pixels.shape[0])
    is_low = bool(
        min(pixels.shape[:2]) < limits.min_side_px
        or found["sharpness"] < limits.min_sharpness
        or found["contrast"] < limits.min_contrast
        or found["overexposed"] > limits.max_overexposed
        or found["underexposed"] > limits.max_underexposed
    )
    return is_low, found["sharpness"]
