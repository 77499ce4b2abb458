"""What the issues of a picture find on real photographs with faults put in, and junk among photographs.

    python scripts/bench_issues.py --data DIR

DIR holds the real data sets (detection/voc100, classification/caltech101_sub, video/camvid ...). Each photo
is judged as it is (false alarms) and after each edit (found). Blur is also ranked: the area under the curve
of our focus beside the plain variance of the Laplacian, at full size and at the working size, over photos of
all sets and twice enlarged ones together, where a plain variance depends on resolution and contrast.
At last 25 files of junk, once and in four near-copies each, are put among the Caltech photos: how
well the outlier score tells them apart, over all images and over the kept ones only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _parts import processor
from PIL import Image, ImageFilter

from curator import pipeline
from curator.catalog import Catalog
from curator.config import load
from curator.data import FloatArray
from curator.images import decode
from curator.index import IndexSpec
from curator.outliers import find_outliers
from curator.quality import ISSUES, MEASURED, Limits, flags, measure
from curator.workspace import open_workspace

SETS = {
    "voc100": ("detection/voc100", "*.jpg", 1),
    "caltech101_sub": ("classification/caltech101_sub", "*.jpg", 8),
    "coco_train2017": ("detection/coco_train2017", "*.jpg", 1),
    "camvid": ("video/camvid", "0*_*.jpg", 4),
}
Edit = Callable[[Image.Image], Image.Image]
EDITS: dict[str, tuple[str, Edit]] = {
    "as it is": ("", lambda image: image),
    "a quarter of the light": ("dark", lambda image: image.point(lambda v: v // 4)),
    "an eighth of the light": ("dark", lambda image: image.point(lambda v: v // 8)),
    "washed out to 85 % white": ("bright", lambda image: image.point(lambda v: 255 - (255 - v) * 3 // 20)),
    "blur of 0.5 % of the side": ("blurry", lambda image: blurred(image, 0.005)),
    "blur of 1 % of the side": ("blurry", lambda image: blurred(image, 0.01)),
    "blur of 2 % of the side": ("blurry", lambda image: blurred(image, 0.02)),
    "two levels of grey": ("low_information", lambda image: image.convert("L").point(lambda v: 80 + 90 * (v > 127))),
    "five times as wide": ("odd_aspect", lambda image: image.resize((image.width * 5, image.height))),
}


def blurred(image: Image.Image, share: float) -> Image.Image:
    """Gaussian blur with a radius of a share of the long side."""
    return image.filter(ImageFilter.GaussianBlur(share * max(image.size)))


def measured(images: list[Image.Image]) -> dict[str, FloatArray]:
    """(n,) of each measure."""
    found = [measure(np.asarray(image.convert("RGB")), width=image.width, height=image.height) for image in images]
    return {name: np.asarray([one[name] for one in found], np.float32) for name in (*MEASURED, "sharpness")}


def area(low: FloatArray, high: FloatArray) -> float:
    """Chance that one of `low` lies below one of `high`."""
    both = np.concatenate([low, high])
    rank = both.argsort().argsort()
    return float(1.0 - (rank[: len(low)].mean() - (len(low) - 1) / 2) / len(high))


def laplacian_variance(image: Image.Image) -> float:
    """The plain measure, at full size."""
    g = np.asarray(image.convert("L"), np.float32)
    return float((g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]).var())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data sets")
    options = parser.parse_args()
    print(f"{processor()}; limits {Limits()}")
    everything: list[Image.Image] = []
    for name, (folder, pattern, step) in SETS.items():
        paths = sorted((options.data / folder).rglob(pattern))[::step]
        photos = [Image.fromarray(decode(path.read_bytes()).pixels) for path in paths]
        everything += photos
        print(f"\n{name}, {len(photos)} photos: share with each issue")
        print(f"  {'':28s}" + "".join(f"{issue:>17s}" for issue in ISSUES))
        for edit, (_, change) in EDITS.items():
            found = flags(measured([change(photo) for photo in photos]), Limits())
            print(f"  {edit:28s}" + "".join(f"{flag.mean():17.3f}" for flag in found.values()))
    everything += [photo.resize((2 * photo.width, 2 * photo.height), Image.Resampling.BICUBIC) for photo in everything]
    print(f"\nblur told from sharp, {len(everything)} photos of all sets and sizes: area under the curve")
    sharp = measured(everything)
    plain = np.asarray([laplacian_variance(photo) for photo in everything], np.float32)
    for share in (0.005, 0.01, 0.02):
        edited = [blurred(photo, share) for photo in everything]
        soft = measured(edited)
        raw = np.asarray([laplacian_variance(photo) for photo in edited], np.float32)
        small = area(soft["sharpness"], sharp["sharpness"])
        print(
            f"  radius {share:.1%} of the side: focus {area(soft['focus'], sharp['focus']):.4f}, variance of the "
            f"Laplacian at 192 px {small:.4f}, at full size {area(raw, plain):.4f}"
        )
    for copies in (1, 4):
        junk_among_photos(options.data / "classification" / "caltech101_sub" / "images", copies)


def junk_among_photos(photos: Path, copies: int) -> None:
    """Print how well the outlier score tells junk from photographs."""
    with tempfile.TemporaryDirectory() as folder:
        junk, place = Path(folder) / "junk", Path(folder) / "w"
        write_junk(junk, copies, np.random.default_rng(0))
        for name in ("ingest", "embed", "index", "neardups"):
            sources = [str(photos), str(junk)] if name == "ingest" else []
            pipeline.run_one(name, place, load(None, []), sources=sources)
        workspace = open_workspace(place)
        points, (_, graph) = workspace.embeddings(), workspace.neighbors()
        lead = points.positions_of(workspace.column("neardup")["representative"].to_numpy())
        with Catalog(workspace) as catalog:
            uris = catalog.table(["uri"], rows=points.rows)["uri"].to_pylist()
    is_junk = np.asarray([Path(uri).parent.name == "junk" for uri in uris])
    print(f"\n25 files of junk, {copies} of each, among {int((~is_junk).sum())} photos: area under the curve, flagged")
    for name, leads in (("all images", None), ("kept images only", lead)):
        for k in (10, 20):
            found = find_outliers(points.vectors, graph, spec=IndexSpec(threads=1), representative=leads, k=k)
            flagged = f"{int(found.is_outlier[is_junk].sum())} junk, {int(found.is_outlier[~is_junk].sum())} photos"
            print(f"  {name}, k = {k}: {area(-found.score[is_junk], -found.score[~is_junk]):.3f}, {flagged}")


def write_junk(folder: Path, copies: int, rng: np.random.Generator) -> None:
    """Five each of noise, gradients, stripes, chequers and squares, saved `copies` times at falling quality."""
    folder.mkdir()
    for i in range(25):
        pixels = np.zeros((200, 300, 3), np.uint8)
        if i % 5 == 0:
            pixels[:] = rng.integers(0, 256, pixels.shape)
        elif i % 5 == 1:
            pixels[:] = np.linspace(0, 255, 300)[:, None] * rng.random(3)
        elif i % 5 == 2:
            pixels[:] = np.repeat(rng.integers(0, 256, (15, 3)), 20, axis=0)
        elif i % 5 == 3:
            pixels[:] = 255 * ((np.arange(200)[:, None] // (10 + i) + np.arange(300) // (10 + i)) % 2)[:, :, None]
        else:
            pixels[40:160, 90:210] = rng.integers(0, 256, 3)
        for copy in range(copies):
            Image.fromarray(pixels).save(folder / f"{i}_{copy}.jpg", quality=95 - 4 * copy)


if __name__ == "__main__":
    main()
