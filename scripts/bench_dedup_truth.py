"""How well copies are told from other pictures, on sets whose truth is known, and what calibration makes of it.

    python scripts/bench_dedup_truth.py --data ../shared/data

Sets: imagededup's test images and PDQ's bridge (one photograph in many forms), traffic-sign tracks (30 frames of one
sign are the same), and copies made here of photographs and of frames far apart in clips. The copies are made by edits
that calibration never sees (gamma, border, small turn, WebP, sharpening, aspect ratio, caption, several at once).
Scores: cosine, centred, learned metric, perceptual hash, and their blend; each with average precision, best F1 and
recall at precision 0.95 over all pairs. Then the calibrated threshold: its F1 over the best F1 of the score.
"""

from __future__ import annotations

import argparse
import csv
import importlib.abc
import importlib.machinery
import io
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _parts import processor
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from curator import embed, images, neardups, quality
from curator.calibration import (
    Copies,
    Fit,
    Histogram,
    Metric,
    apply_metric,
    fit_copies,
    fit_moments,
    hash_vectors,
    histogram_of,
    learn_metric,
    pairs_of_copies,
)
from curator.data import FloatArray, ImageArray, IntArray
from curator.errors import DataError, UnreadableImage
from curator.images import edits

IMAGEDEDUP_BITS = 10  # the default of its PHash: at most so many bits apart


@dataclass(frozen=True, slots=True)
class Truth:
    """Pictures and which of them are the same."""

    name: str
    pixels: list[ImageArray]
    group: list[str]
    variant: list[str]
    sequence: list[int]  # clip or folder in order of time; -1: none


@dataclass(frozen=True, slots=True)
class Made:
    """A set, embedded and hashed, with edited copies of a sample of it."""

    truth: Truth
    vectors: FloatArray
    hashes: NDArray[np.uint64]
    copies: Copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=SETS, help="sets; all when nothing is said")
    parser.add_argument("--model", default=embed.DEFAULT)
    parser.add_argument("--sample", type=int, default=200, help="images edited for calibration")
    parser.add_argument("--tracks", type=int, default=147, help="traffic-sign tracks; 147 are all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{processor()}; {options.model}, {options.sample} images edited, 1 thread, CPU seconds")
    for name in options.only or SETS:
        started = time.process_time()
        truth = SETS[name](options.data, np.random.default_rng(options.seed), options)
        made = prepare(truth, options)
        embedded = time.process_time()
        report(made, options)
        print(
            f"  seconds: {embedded - started:.0f} reading and embedding, {time.process_time() - embedded:.0f} the rest"
        )


def prepare(truth: Truth, options: argparse.Namespace) -> Made:
    embedder = embed.load(options.model, threads=1, n_tags=0)
    rng = np.random.default_rng(options.seed)
    sampled = np.sort(rng.permutation(len(truth.pixels))[: options.sample])
    names = edits.names("strong")
    made = [edits.edit(truth.pixels[i], name, rng) for i in sampled for name in names]
    of = np.repeat(sampled, len(names))
    code = np.tile(np.arange(len(names)), len(sampled))
    return Made(
        truth,
        vectors_of(truth.pixels, embedder),
        hashes_of(truth.pixels),
        Copies(vectors_of(made, embedder), hashes_of(made), of.astype(np.int64), code.astype(np.int64)),
    )


def vectors_of(pixels: list[ImageArray], embedder: embed.Embedder) -> FloatArray:
    parts = [
        embedder(np.stack([images.fit(p, embedder.geometry) for p in pixels[start : start + 32]])).vectors
        for start in range(0, len(pixels), 32)
    ]
    return np.concatenate(parts)


def hashes_of(pixels: list[ImageArray]) -> NDArray[np.uint64]:
    return np.asarray([quality.perceptual_hash(p) for p in pixels], np.uint64)


# -- what is printed -----------------------------------------------------------------------------------------------


def report(made: Made, options: argparse.Namespace) -> None:
    truth = made.truth
    group = np.unique(np.asarray(truth.group), return_inverse=True)[1]
    at, to = np.triu_indices(len(group), 1)
    same = group[at] == group[to]
    print(f"\n{truth.name}: {len(group)} pictures, {len(np.unique(group))} groups, {int(same.sum())} same pairs")
    print(f"  {'score':40s} {'AP':>6s} {'best F1':>8s} {'at':>7s} {'R@P95':>6s}")
    spaces = spaces_of(made, options)
    for space in spaces:
        figures = scores(pairs(space.vectors, at, to), same)
        print(f"  {space.name:40s} {figures[0]:6.3f} {figures[1]:8.3f} {figures[2]:7.3f} {figures[3]:6.3f}")
    peer(made, at, to, same)
    for space in spaces:
        if space.copies is not None:
            calibrated(made, space, pairs(space.vectors, at, to), same, options)


@dataclass(frozen=True, slots=True)
class Space:
    """One score as unit vectors."""

    name: str
    vectors: FloatArray
    copies: Copies | None = None  # edited copies in it; none where nothing is calibrated


def spaces_of(made: Made, options: argparse.Namespace) -> list[Space]:
    """Cosine, centred, learned, hash and the blend."""
    learned = metric_for(made, options, hash_weights=(0.0,))
    blend = metric_for(made, options, hash_weights=(0.0, 0.1, 0.2, 0.3))
    centred = made.vectors - made.vectors.mean(axis=0)
    copies = made.copies
    moved = Copies(apply_metric(blend, copies.vectors, copies.hashes), copies.hashes, copies.of, copies.edit)
    kept = "kept" if blend.helps else "not kept"
    return [
        Space("cosine", made.vectors, copies),
        Space("centred", centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)),
        Space(f"learned ({learned.name})", apply_metric(learned, made.vectors, made.hashes)),
        Space("hash", hash_vectors(made.hashes)),
        Space(f"copies ({blend.name}; {kept})", apply_metric(blend, made.vectors, made.hashes), moved),
    ]


def metric_for(made: Made, options: argparse.Namespace, *, hash_weights: tuple[float, ...]) -> Metric:
    """The metric as `curator calibrate` learns it."""
    copies = of_edits(made.copies, edits.upright())
    fit, histogram = self_fit(made.vectors, made.copies, options, n_bootstrap=0)
    chance = fit.posterior(histogram)
    rng = np.random.default_rng(options.seed)
    pool = rng.permutation(len(made.vectors))[:600]
    near = made.vectors[pool] @ made.vectors[pool].T
    is_same = chance[np.clip(np.searchsorted(fit.edges, near.ravel(), side="right") - 1, 0, None)].reshape(near.shape)
    np.fill_diagonal(is_same, 0.0)
    pictures, of = np.unique(copies.of, return_inverse=True)
    rows = np.concatenate([pool, pictures])
    moved = Copies(copies.vectors, copies.hashes, of.astype(np.int64) + len(pool), copies.edit)
    return learn_metric(made.vectors[rows], made.hashes[rows], moved, is_same, rng=rng, hash_weights=hash_weights)


def calibrated(
    made: Made, space: Space, similarity: FloatArray, same: NDArray[np.bool_], options: argparse.Namespace
) -> None:
    """The threshold found without labels beside the best one, recall of each variant, and orphans."""
    assert space.copies is not None
    fit, histogram = self_fit(space.vectors, space.copies, options, n_bootstrap=100)
    found = {"self": fit}
    mild = of_edits(made.copies, edits.names("mild"))
    near = np.einsum("ij,ij->i", mild.vectors, made.vectors[mild.of])
    sequence = np.asarray(made.truth.sequence)
    try:
        found["moments"] = fit_moments(space.vectors, sequence, near, histogram, by=made.vectors)
    except DataError as error:
        print(f"    no moments: {str(error).partition(':')[0]}")
    best = scores(similarity, same)[1]
    for kind, each in found.items():
        precision, recall, f1 = at_threshold(similarity, same, each.threshold)
        span = "" if each.interval is None else f" ({each.interval[0]:.3f} to {each.interval[1]:.3f})"
        weights = ", ".join(f"{name} {value:.2f}" for name, value in each.strength.items())
        print(
            f"    {space.name.split()[0]} {kind}: threshold {each.threshold:.3f}{span}, F1 {f1:.3f} is {f1 / best:.0%} "
            f"of the best; precision {precision:.2f} (expected {each.precision:.2f}), recall {recall:.2f} "
            f"({each.recall:.2f}), {weights}"
        )
    variants(made, space.vectors, fit.threshold)
    orphans(space.vectors, fit.threshold)


def self_fit(
    vectors: FloatArray, copies: Copies, options: argparse.Namespace, *, n_bootstrap: int
) -> tuple[Fit, Histogram]:
    histogram = histogram_of(vectors)
    sets = {"mild": of_edits(copies, edits.names("mild")), "strong": copies}
    same = {
        name: [pairs_of_copies(vectors, each.vectors[each.of == p], each.of[each.of == p]) for p in np.unique(each.of)]
        for name, each in sets.items()
    }
    rng = np.random.default_rng(options.seed)
    return fit_copies(histogram, same, rng=rng, n_bootstrap=n_bootstrap), histogram


def of_edits(copies: Copies, names: tuple[str, ...]) -> Copies:
    return copies.where(np.isin(np.asarray(edits.names("strong"))[copies.edit], names))


def pairs(vectors: FloatArray, at: IntArray, to: IntArray) -> FloatArray:
    similarity: FloatArray = (vectors @ vectors.T)[at, to]
    return similarity


def scores(similarity: FloatArray, same: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Average precision, best F1, its threshold, recall at precision 0.95."""
    order = np.argsort(-similarity, kind="stable")
    true = same[order].cumsum()
    ends = np.append(similarity[order][1:] != similarity[order][:-1], True)  # equal scores stand or fall together
    at = np.flatnonzero(ends)
    precision, recall = true[at] / (at + 1), true[at] / true[-1]
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    good = recall[precision >= 0.95]
    best = int(f1.argmax())
    return average, float(f1[best]), float(similarity[order][at[best]]), float(good.max(initial=0.0))


def at_threshold(similarity: FloatArray, same: NDArray[np.bool_], threshold: float) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    taken = similarity >= threshold
    true = int((taken & same).sum())
    precision, recall = true / max(int(taken.sum()), 1), true / max(int(same.sum()), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def variants(made: Made, vectors: FloatArray, threshold: float) -> None:
    """Share of pictures of each variant that reach the threshold with the first picture of their group."""
    truth = made.truth
    first: dict[str, int] = {}
    hits: dict[str, list[bool]] = {}
    for at, (group, variant) in enumerate(zip(truth.group, truth.variant, strict=True)):
        origin = first.setdefault(group, at)
        if origin != at and variant:
            hits.setdefault(variant, []).append(bool(vectors[origin] @ vectors[at] >= threshold))
    if hits:
        shown = ", ".join(f"{variant} {np.mean(hit):.2f}" for variant, hit in sorted(hits.items()))
        print(f"      recall by transform: {shown}")


def orphans(vectors: FloatArray, threshold: float) -> None:
    """Removed pictures without a kept one at the threshold: our cover, and connected components that keep one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    cover = neardups.cover(vectors, None, threshold, threads=1)
    proof = neardups.certify(vectors, cover, threads=1)
    close = vectors @ vectors.T >= threshold
    labels = connected_components(coo_matrix(close), directed=False)[1]
    kept = np.unique(labels, return_index=True)[1]
    alone = int((~close[:, kept].any(axis=1)).sum())
    removed = len(vectors) - len(kept)
    print(
        f"      cover removes {proof.removed} of {len(vectors)}, orphans {proof.orphans}; "
        f"connected components remove {removed}, orphans {alone}"
    )


def peer(made: Made, at: IntArray, to: IntArray, same: NDArray[np.bool_]) -> None:
    """imagededup's own PHash at its default of ten bits."""
    if not any(isinstance(finder, _Stand) for finder in sys.meta_path):
        sys.meta_path.append(_Stand())  # its package imports a network that PHash does not need
    try:
        from imagededup.methods import PHash
    except ImportError as error:
        print(f"  {'imagededup PHash':40s} not run: {' '.join(str(error).split())[:60]}")
        return
    hasher = PHash(verbose=False)
    codes = np.asarray([int(hasher.encode_image(image_array=pixels), 16) for pixels in made.truth.pixels], np.uint64)
    bits = hash_vectors(codes)
    similarity = pairs(bits, at, to)
    figures = scores(similarity, same)
    f1 = at_threshold(similarity, same, 1 - 2 * (IMAGEDEDUP_BITS + 0.5) / 64)[2]
    name = f"imagededup PHash (default {IMAGEDEDUP_BITS} bits: F1 {f1:.3f})"
    print(f"  {name:40s} {figures[0]:6.3f} {figures[1]:8.3f} {figures[2]:7.3f} {figures[3]:6.3f}")


class _Stand(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision where it is not installed: last to be asked."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Anything(types.ModuleType):
    """A module or class that is imported and not used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self


# -- the sets ------------------------------------------------------------------------------------------------------


def listed(folder: Path, name: str) -> Truth:
    """A folder with truth.csv."""
    with (folder / "truth.csv").open(newline="") as file:
        records = sorted(csv.DictReader(file), key=lambda record: record["file"])
    found = [(record, read(folder / record["file"])) for record in records]
    there = [(record, pixels) for record, pixels in found if pixels is not None]
    # the same photograph with an alpha channel; the list gives it a group of its own
    groups = [record["same_picture_group"].replace("alpha_channel_image.png", "ukbench00120") for record, _ in there]
    variant = [record["variant"] for record, _ in there]
    return Truth(name, [pixels for _, pixels in there], groups, variant, [0] * len(there))


def ukbench(data: Path, rng: np.random.Generator, options: argparse.Namespace) -> Truth:
    return listed(data / "near_duplicates" / "imagededup_ukbench", "imagededup_ukbench")


def bridge(data: Path, rng: np.random.Generator, options: argparse.Namespace) -> Truth:
    return listed(data / "near_duplicates" / "pdq_bridge", "pdq_bridge")


def tracks(data: Path, rng: np.random.Generator, options: argparse.Namespace) -> Truth:
    folder = data / "classification" / "gtsrb_tracks"
    with (folder / "labels.csv").open(newline="") as file:
        records = sorted(csv.DictReader(file), key=lambda record: record["file"])
    known = sorted({record["track_id"] for record in records})
    chosen = set(rng.permutation(known)[: options.tracks].tolist())
    records = [record for record in records if record["track_id"] in chosen]
    pixels = [read(folder / record["file"]) for record in records]
    assert all(each is not None for each in pixels)
    folders = sorted({record["file"].rpartition("/")[0] for record in records})
    sequence = [folders.index(record["file"].rpartition("/")[0]) for record in records]
    found = [each for each in pixels if each is not None]
    return Truth("gtsrb_tracks", found, [record["track_id"] for record in records], [""] * len(records), sequence)


def photos(data: Path, rng: np.random.Generator, options: argparse.Namespace) -> Truth:
    files = sorted((data / "classification" / "caltech101_sub" / "images").rglob("*.jpg"))
    return injected("caltech101_sub with copies", [p for f in files if (p := read(f)) is not None], rng, share=0.3)


def detection(data: Path, rng: np.random.Generator, options: argparse.Namespace) -> Truth:
    files = sorted((data / "detection").rglob("*.jpg"))
    return injected("detection photos with copies", [p for f in files if (p := read(f)) is not None], rng, share=0.3)


def clips(data: Path, rng: np.random.Generator, options: argparse.Namespace) -> Truth:
    """Frames so far apart that each shows something else: 8 s, of cameras that do not move 20 and 30 s."""
    apart = {
        "udacity_solidWhiteRight.mp4": 8.0, "bgs_highway_video02.avi": 20.0, "sam2_03_blocks.mp4": 8.0,
        "intel_car-detection.mp4": 30.0,
    }  # fmt: skip
    pixels: list[ImageArray] = []
    for name, seconds in apart.items():
        path = str(data / "video" / name)
        stamps = [frame.pts for frame in images.list_frames(path, fps=1 / seconds).frames]
        pixels += [p for _, p in images.read_frames(path, stamps) if not isinstance(p, UnreadableImage)]
    for drive in ("0006R0", "0016E5"):
        files = sorted((data / "video" / "camvid" / drive).rglob("*.jpg"))[::8]
        pixels += [p for f in files if (p := read(f)) is not None]
    return injected("clips with copies", pixels, rng, share=1.0)


SETS: dict[str, Callable[[Path, np.random.Generator, argparse.Namespace], Truth]] = {
    "ukbench": ukbench, "bridge": bridge, "tracks": tracks, "photos": photos, "clips": clips, "detection": detection,
}  # fmt: skip


def read(file: Path) -> ImageArray | None:
    """Pixels, or none for the file that is broken on purpose."""
    try:
        return images.decode(file.read_bytes(), min_side=512).pixels
    except UnreadableImage:
        return None


def injected(name: str, pixels: list[ImageArray], rng: np.random.Generator, *, share: float) -> Truth:
    """The pictures and, of a share of them, two copies each."""
    pool, group, variant = list(pixels), [str(i) for i in range(len(pixels))], [""] * len(pixels)
    for i in rng.choice(len(pixels), int(share * len(pixels)), replace=False).tolist():
        for kind in rng.choice(list(UNSEEN), 2, replace=False).tolist():
            pool.append(np.asarray(UNSEEN[kind](Image.fromarray(pixels[i]), rng).convert("RGB")))
            group.append(str(i))
            variant.append(kind)
    return Truth(name, pool, group, variant, [-1] * len(pool))


def gamma(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    power = float(rng.choice([0.6, 1.6]))
    return Image.fromarray((255 * (np.asarray(image) / 255.0) ** power).astype(np.uint8))


def border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    shade = (0, 0, 0) if rng.random() < 0.5 else (255, 255, 255)
    return ImageOps.expand(image, int(0.06 * min(image.size)), fill=shade)


def tilt(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    turned = image.rotate(float(rng.uniform(2, 6) * rng.choice([-1, 1])), Image.Resampling.BICUBIC)
    width, height = image.size
    return turned.crop((int(0.06 * width), int(0.06 * height), int(0.94 * width), int(0.94 * height)))


def webp(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=20)
    return Image.open(buffer)


def sharpen(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(3, 200, 0))


def aspect(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.resize((max(int(image.width * rng.uniform(0.7, 0.85)), 1), image.height))


def caption(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    out = image.copy()
    drawing = ImageDraw.Draw(out)
    width, height = out.size
    drawing.rectangle((0, int(0.85 * height), width, height), fill=(0, 0, 0))
    drawing.text((width // 10, int(0.88 * height)), "SAMPLE caption", fill=(255, 255, 255))
    return out


def several(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image)
    for name in ("crop", "brightness", "reencode"):
        pixels = edits.edit(pixels, name, rng)
    return Image.fromarray(pixels)


UNSEEN: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "gamma": gamma, "border": border, "tilt": tilt, "webp": webp, "sharpen": sharpen, "aspect": aspect,
    "caption": caption, "several": several,
}  # fmt: skip


if __name__ == "__main__":
    main()
