"""Crops of pictures into vectors: each file opened once, each picture decoded once, whatever is cut from it.

Knows pixels, boxes and models; knows nothing of the workspace. The same workers read crops that read pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curator import embed, images
from curator.data import FloatArray, ImageArray, IntArray
from curator.errors import UnreadableImage
from curator.loader.pool import Pool
from curator.loader.values import Plan
from curator.loader.work import Item, pictures

BATCH = 16  # pictures; fixed, since a vector's last bits depend on what else is in its forward pass


@dataclass(frozen=True, slots=True)
class Grid:
    """Boxes that cover a picture and overlap: side x side of them, each `share` of the picture's sides."""

    side: int
    share: float

    def __len__(self) -> int:
        return self.side**2

    def boxes(self, width: int, height: int) -> FloatArray:
        """(side * side, 4) x, y, width, height in whole px, row by row; the outer ones lie at the edges."""
        wide, high = max(1, round(width * self.share)), max(1, round(height * self.share))
        xs = np.round(np.linspace(0, width - wide, self.side))
        ys = np.round(np.linspace(0, height - high, self.side))
        return np.asarray([(x, y, wide, high) for y in ys for x in xs], np.float32)


@dataclass(frozen=True, slots=True)
class Crops:
    """Consecutive rows, cut up; one that cannot be read, or has a crop without a usable vector, is not there."""

    n_read: int  # rows looked at
    rows: IntArray  # (m,)
    sizes: IntArray  # (m, 2) width and height of the full upright picture, px
    vectors: FloatArray  # (m, c, d) of length 1, crops in the order of `Grid.boxes`


@dataclass(frozen=True, slots=True)
class Setup:
    """What a reader of crops needs to know; the same in every worker."""

    plan: Plan
    model: str | None  # run here; None: its input arrays are wanted
    geometry: images.Geometry
    grid: Grid


@dataclass(frozen=True, slots=True)
class _Part:
    """A batch before a model of the main process."""

    rows: IntArray
    sizes: IntArray
    made: Any  # (m, c, d) vectors, or (m, c, S, S, 3) for a model that runs elsewhere


def read_crops(samples: Sequence[Item], plan: Plan, grid: Grid) -> Iterator[Crops]:
    """Embed the crops of every sample with the plan's one model, in the order of the samples.

    Equal whatever the number of workers. A picture that kills its worker has no crops.

    Raises:
        UnknownModel, MissingPackage, UsageError: as `embed.load`.
        WorkerFailed: the workers cannot start.
    """
    if not samples:
        return
    (name,) = plan.models
    runs_there = embed.runs_in_worker(name, device=plan.device)
    model = embed.load(name, device=plan.device, threads=plan.threads, n_tags=0, batch=plan.batch)
    setup = Setup(plan, name if runs_there else None, model.geometry, grid)
    batches = [
        [(row, replace(sample, labels=(), metadata={})) for row, sample in samples[start : start + BATCH]]
        for start in range(0, len(samples), BATCH)
    ]
    if len(batches) == 1 or any("memory://" in sample.file for _, sample in samples):
        reader = CropReader(setup)
        for items in batches:
            yield _joined(len(items), [reader(items)], None if runs_there else model, model.dim)
        return
    n_workers = min(plan.workers or len(os.sched_getaffinity(0)), len(batches))
    with Pool(n_workers, "curator.loader.crops:CropReader") as pool:
        for answers in pool.map(batches, setup):
            parts = [answer.result for answer in answers if answer.death is None]
            yield _joined(sum(len(answer.items) for answer in answers), parts, None if runs_there else model, model.dim)


class CropReader:
    """Reads batches: decodes, cuts, and where the model is cheap to load embeds."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        # One thread and no accelerator, as for whole pictures: cores are filled by processes.
        self._model = None if setup.model is None else embed.load(setup.model, device="cpu", threads=1, n_tags=0)

    def __call__(self, items: Sequence[Item]) -> _Part:
        """Rows that can be read, with their crops."""
        geometry, grid = self._setup.geometry, self._setup.grid
        wide = replace(self._setup.plan, margin=self._setup.plan.margin / grid.share)  # a crop has so much less
        rows: list[int] = []
        sizes: list[tuple[int, int]] = []
        made: list[Any] = []
        for row, seen in pictures(items, wide, [geometry]):
            if isinstance(seen, UnreadableImage):
                continue
            pixels, width, height = seen
            boxes = grid.boxes(pixels.shape[1], pixels.shape[0]).astype(int)
            fitted = np.stack([images.fit(pixels[y : y + h, x : x + w], geometry) for x, y, w, h in boxes])
            rows.append(row)
            sizes.append((width, height))
            made.append(fitted if self._model is None else self._model(fitted).vectors)
        empty = np.empty((0, len(grid), 0), np.float32)
        return _Part(
            np.asarray(rows, np.int64), np.asarray(sizes, np.int64).reshape(-1, 2), np.stack(made) if made else empty
        )


def _joined(n_read: int, parts: Sequence[_Part], model: embed.Embedder | None, dim: int) -> Crops:
    found = [part for part in parts if len(part.rows)]
    if not found:
        return Crops(n_read, np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty((0, 0, dim), np.float32))
    made = np.concatenate([part.made for part in found])
    vectors = made.astype(np.float32) if model is None else _embedded(model, made)
    is_good = np.isfinite(vectors).all(axis=(1, 2))  # (m,)
    rows = np.concatenate([part.rows for part in found])
    sizes = np.concatenate([part.sizes for part in found])
    return Crops(n_read, rows[is_good], sizes[is_good], vectors[is_good])


def _embedded(model: embed.Embedder, made: ImageArray) -> FloatArray:
    """(m, c, d) from (m, c, S, S, 3)."""
    flat = made.reshape(-1, *made.shape[2:])
    return model(flat).vectors.reshape(*made.shape[:2], -1)
