"""Edited copies of some of a workspace's own images, embedded and hashed as the images were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from curator import embed, images, quality, sources
from curator.calibration import Copies
from curator.config import Config
from curator.data import BoolArray, Embeddings, ImageArray, IntArray, Progress, Sample
from curator.errors import DataError, UnreadableImage, UsageError
from curator.images import edits
from curator.pipeline.scanning import samples_from
from curator.workspace import Workspace

SIDE_PX = 512  # short side edited: what reading keeps in draft mode


def make_copies(
    workspace: Workspace, embeddings: Embeddings, config: Config, positions: IntArray, progress: Progress
) -> Copies:
    """Every edit of the images at `positions`; an image that cannot be read any more is passed over.

    Raises:
        UsageError: the space was not made from pixels.
        DataError: none of the images can be read.
    """
    model = config.embed.model
    if model.startswith("vectors:"):
        raise UsageError(
            f"{model!r} are vectors without a model, so edited copies cannot be embedded; "
            "judge pairs instead: `curator calibrate --ask` or --answers FILE"
        )
    embedder = embed.load(model, device=config.embed.device, threads=max(config.threads, 1), n_tags=0)
    names = edits.names("strong")
    rng = np.random.default_rng(config.seed)
    position_of = dict(zip(embeddings.rows[positions].tolist(), positions.tolist(), strict=True))
    vectors, hashes, of, edit = [], [], [], []
    for done, (row, pixels) in enumerate(_pictures(workspace, embeddings.rows[positions], config)):
        progress("copies", done, len(positions))
        made = [edits.edit(pixels, name, rng) for name in names]
        vectors.append(embedder(np.stack([images.fit(copy, embedder.geometry) for copy in made])).vectors)
        hashes += [quality.perceptual_hash(copy) for copy in made]
        of += [position_of[row]] * len(names)
        edit += list(range(len(names)))
    progress("copies", len(positions), len(positions))
    if not of:
        raise DataError(
            f"none of {len(positions)} sampled images of {workspace.path} can be read; are they still there?"
        )
    stacked = np.concatenate(vectors).astype(np.float32)
    found = Copies(stacked, np.asarray(hashes, np.uint64), np.asarray(of, np.int64), np.asarray(edit, np.int64))
    is_sound: BoolArray = np.asarray(np.isfinite(stacked).all(axis=1), bool)
    return found.where(is_sound)


def _pictures(workspace: Workspace, rows: IntArray, config: Config) -> Iterator[tuple[int, ImageArray]]:
    limits = images.Limits(
        max_pixels=config.decode.max_pixels, max_memory_bytes=config.decode.max_memory_mb * 1_000_000
    )
    waiting: list[tuple[int, Sample]] = []  # frames of one video, in order: decoded in one pass
    for row, sample in _samples(workspace, rows):
        if waiting and (sample.file != waiting[0][1].file or sample.kind != "frame"):
            yield from _frames(waiting, limits)
            waiting = []
        if sample.kind == "frame":
            waiting.append((row, sample))
            continue
        try:
            data = sources.read_bytes(sample, max_bytes=limits.max_file_bytes)
            picture = images.decode(data, min_side=SIDE_PX, exact=config.decode.mode == "exact", limits=limits)
        except UnreadableImage:
            continue  # gone since it was read
        yield row, _reduced(picture.pixels)
    yield from _frames(waiting, limits)


def _frames(waiting: Sequence[tuple[int, Sample]], limits: images.Limits) -> Iterator[tuple[int, ImageArray]]:
    if not waiting:
        return
    ordered = sorted(waiting, key=lambda item: item[1].offset or 0)
    try:
        path = sources.local_path(ordered[0][1])
        stamps = [sample.offset or 0 for _, sample in ordered]
        for (row, _), (_, pixels) in zip(ordered, images.read_frames(path, stamps, limits=limits), strict=True):
            if not isinstance(pixels, UnreadableImage):
                yield row, _reduced(pixels)
    except UnreadableImage:
        return  # the video is gone


def _samples(workspace: Workspace, rows: IntArray) -> Iterator[tuple[int, Sample]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for entry in workspace.entries("samples"):
        table = pq.read_table(workspace.file(entry))
        yield from samples_from(table.filter(pc.is_in(table["row"], value_set=pa.array(rows, pa.int64()))))


def _reduced(pixels: ImageArray) -> ImageArray:
    """Halved while the short side stays at least `SIDE_PX`: edits of a large picture cost more and show no more."""
    factor = 1
    while min(pixels.shape[:2]) // (2 * factor) >= SIDE_PX:
        factor *= 2
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels
