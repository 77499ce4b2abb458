"""Tiles: a grid of overlapping crops of every image, embedded like images, for what is small in the frame.

A crop is an object with a row of its own, its image's row and its box
(`objects/tiles`); its vector lies in the space `<space>.tiles`. One file of each
per part of the samples, so a killed run resumes and appended images cost
themselves alone. A search asks for the best tile of each image.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator import embed, images, loader
from curator.config import Config
from curator.data import FloatArray, ImageArray, IntArray, Progress
from curator.errors import StageMissing, UnreadableImage
from curator.pipeline.scanning import samples_from
from curator.pipeline.stages import StageResult, finish
from curator.snapshot import Entry, fingerprint
from curator.workspace import Workspace, Writer

SUFFIX = ".tiles"
VERSION = 1
AT_ONCE = 64  # crops in one forward pass, at most


@dataclass(frozen=True, slots=True)
class Tiles:
    """Crops of the images that are there, and their vectors."""

    objects: IntArray  # (m,) rows of the crops
    image_rows: IntArray  # (m,) row of each crop's image
    boxes: FloatArray  # (m, 4) x, y, width, height in px of the upright picture
    vectors: FloatArray  # (m, d) of length 1

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return int(self.vectors.nbytes + self.boxes.nbytes + self.objects.nbytes + self.image_rows.nbytes)


def boxes_of(width: int, height: int, *, grid: int, share: float) -> FloatArray:
    """A grid of grid x grid boxes, each `share` of the picture's sides, first and last at its edges.

    Returns:
        (grid * grid, 4) x, y, width, height in whole px, row by row.
    """
    wide, high = max(1, round(width * share)), max(1, round(height * share))
    xs = np.round(np.linspace(0, width - wide, grid))
    ys = np.round(np.linspace(0, height - high, grid))
    return np.asarray([(x, y, wide, high) for y in ys for x in xs], np.float32)


def tile(writer: Writer, config: Config, progress: Progress) -> StageResult:
    """Embed the tiles of every part that has none yet under these settings.

    Raises:
        StageMissing: nothing was ingested.
    """
    workspace, started = writer.workspace, time.perf_counter()
    samples = workspace.entries("samples")
    if not samples:
        raise StageMissing(f"{workspace.path} has no images yet; run `curator ingest` first")
    model = config.embed.model
    space = embed.space_name(model) + SUFFIX
    kept = {entry.fingerprint: entry for entry in workspace.entries(f"tiles/{space}")}
    objects = {entry.fingerprint: entry for entry in workspace.entries("objects/tiles")}
    embedder, made, done = None, 0, 0
    vector_entries: list[Entry] = []
    object_entries: list[Entry] = []
    for entry in samples:
        stamp = fingerprint("tiles", VERSION, entry.fingerprint, space, config.tiles.model_dump(), config.decode.mode)
        if stamp not in kept or stamp not in objects or not workspace.has_files(kept[stamp]):
            if embedder is None:
                embedder = embed.load(model, device=config.embed.device, threads=config.threads or os.cpu_count() or 1)
            objects[stamp], kept[stamp] = _part(writer, entry, stamp, space, embedder, config, done, progress)
            made += kept[stamp].n
            writer.publish({  # part by part: what is done stays done
                f"tiles/{space}": [*vector_entries, kept[stamp]], "objects/tiles": [*object_entries, objects[stamp]],
            })  # fmt: skip
        vector_entries.append(kept[stamp])
        object_entries.append(objects[stamp])
        done += entry.n
    counts = {"space": space, "n_tiles": sum(entry.n for entry in vector_entries), "n_made": made}
    seconds = time.perf_counter() - started
    stamp = fingerprint("tiles", [entry.fingerprint for entry in vector_entries])
    is_same = made == 0 and workspace.entries(f"tiles/{space}") == tuple(vector_entries)
    if is_same and "tiles" in workspace.snapshot.stages:
        return StageResult("tiles", True, seconds, counts)
    writer.publish({f"tiles/{space}": vector_entries, "objects/tiles": object_entries})
    return finish(writer, "tiles", stamp, config, counts, seconds)


def load_tiles(workspace: Workspace, space: str) -> Tiles:
    """Tiles of the images that are there.

    Args:
        space: name of the images' space or of the tiles' own.

    Raises:
        StageMissing: there are none.
        DamagedWorkspace: a file is gone or broken.
    """
    name = space if space.endswith(SUFFIX) else space + SUFFIX
    entries = workspace.entries(f"tiles/{name}")
    if not entries:
        raise StageMissing(f"{workspace.path} has no tiles in {name!r}; run `curator tiles -w {workspace.path}`")
    table = workspace.table("objects/tiles")
    vectors = np.concatenate([np.load(workspace.file(entry)) for entry in entries]).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    images_ = table["image"].to_numpy().astype(np.int64)
    is_there = np.isin(images_, workspace.present_rows())
    boxes = np.stack([table[side].to_numpy() for side in ("x", "y", "width", "height")], axis=1).astype(np.float32)
    return Tiles(table["object"].to_numpy().astype(np.int64)[is_there], images_[is_there], boxes[is_there],
                 vectors[is_there])  # fmt: skip


def _part(
    writer: Writer, entry: Entry, stamp: str, space: str, embedder: embed.Embedder, config: Config, done: int,
    progress: Progress,
) -> tuple[Entry, Entry]:  # fmt: skip
    """Write the objects and vectors of one part of the samples."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    workspace, asked = writer.workspace, config.tiles
    samples = list(samples_from(pq.read_table(workspace.file(entry))))
    total = workspace.n_rows
    rows: list[int] = []
    boxes: list[FloatArray] = []
    vectors: list[FloatArray] = []
    for row, picture in _pictures(samples, config, embedder.geometry):
        progress("tiles", done + row - samples[0][0] + 1, total)
        if isinstance(picture, UnreadableImage):
            continue
        pixels, width, height = picture
        cut = boxes_of(pixels.shape[1], pixels.shape[0], grid=asked.grid, share=asked.share)
        found = _embedded(embedder, [pixels[int(y) : int(y + h), int(x) : int(x + w)] for x, y, w, h in cut])
        if np.isfinite(found).all():
            rows += [row] * len(cut)
            boxes.append(boxes_of(width, height, grid=asked.grid, share=asked.share))
            vectors.append(found)
    first = int(entry.meta["first"]) * asked.grid**2
    flat = np.concatenate(boxes) if boxes else np.empty((0, 4), np.float32)
    image = np.asarray(rows, np.int64)
    place = np.arange(len(image)) % asked.grid**2
    table = pa.table({
        "object": image * asked.grid**2 + place, "image": image, "x": flat[:, 0], "y": flat[:, 1],
        "width": flat[:, 2], "height": flat[:, 3], "source": ["tiles"] * len(image),
    })  # fmt: skip
    number = f"{entry.part or 0:05d}-{stamp}"
    meta = {"grid": asked.grid, "share": asked.share, "first": first, "model": config.embed.model}
    objects = Entry(f"objects/{number}.parquet", stamp, part=entry.part, n=len(image), meta=meta)
    stored = Entry(f"vectors/{space}/{number}.npy", stamp, part=entry.part, n=len(image), meta=meta)
    writer.write_table(objects.file, table)
    made = np.concatenate(vectors) if vectors else np.empty((0, embedder.dim), np.float32)
    writer.write_array(stored.file, made.astype(np.float16))
    return objects, stored


def _pictures(
    samples: list[Any], config: Config, geometry: images.Geometry
) -> Iterator[tuple[int, tuple[ImageArray, int, int] | UnreadableImage]]:
    """Pictures no smaller than their tiles need, in order."""
    decode = config.decode
    plan = loader.Plan(
        mode=decode.mode, margin=decode.margin / config.tiles.share,
        limits=images.Limits(max_pixels=decode.max_pixels, max_memory_bytes=decode.max_memory_mb * 1_000_000),
    )  # fmt: skip
    yield from loader.pictures(samples, plan, [geometry])


def _embedded(embedder: embed.Embedder, crops: list[ImageArray]) -> FloatArray:
    fitted = np.stack([images.fit(crop, embedder.geometry) for crop in crops])
    return np.concatenate([embedder(fitted[at : at + AT_ONCE]).vectors for at in range(0, len(fitted), AT_ONCE)])
