"""Tiles: a grid of overlapping crops of every image, embedded like images, for what is small in the frame.

A crop is an object with a row of its own, its image's row and its box
(`objects/<space>.tiles`); its vector lies in the space `<space>.tiles`, kept under
`tiles/`, so that it is never taken for a space of images. One file of each per part of the samples, staged in
batches like vectors: a killed run resumes and appended images cost themselves alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator import embed, images, loader
from curator.config import Config
from curator.data import BoolArray, FloatArray, IntArray, Progress, Sample
from curator.disk import atomic_write
from curator.errors import DamagedWorkspace, StageMissing
from curator.loader.crops import BATCH, Crops, Grid, read_crops
from curator.pipeline.reading import DECIDES_PIXELS
from curator.pipeline.scanning import identity, samples_of
from curator.pipeline.stages import StageResult, finish
from curator.snapshot import Entry, fingerprint
from curator.workspace import Workspace, Writer

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".tiles"
VERSION = 2
STAGED = 32 * BATCH  # images staged at once
BLOCK = 16_384  # tiles compared at once
HALF = np.int32(-0x70002000)  # the bits of a float32 that a float16 fills, once its own are moved

Score = Callable[[FloatArray], NDArray[Any]]
"""From (b, d) unit vectors to (b,) numbers, higher is better: a probe's probability, a cosine to something."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Crops of the images that are there, and their vectors."""

    objects: IntArray  # (m,) rows of the crops
    image_rows: IntArray  # (m,) row of each crop's image, ascending
    boxes: FloatArray  # (m, 4) x, y, width, height in px of the upright picture
    vectors: NDArray[Any]  # (m, d) float16 of length 1, mapped from the disk where it is one file

    def __len__(self) -> int:
        return len(self.objects)

    def unit(self, which: slice | IntArray) -> FloatArray:
        """(b, d) float32 vectors of length 1 of some crops."""
        wide = widened(self.vectors[which])
        wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
        return wide

    def some(self, which: BoolArray) -> Tiles:
        """The crops of a mask (m,)."""
        return Tiles(self.objects[which], self.image_rows[which], self.boxes[which], self.vectors[which])

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        kept = 0 if isinstance(self.vectors, np.memmap) else self.vectors.nbytes
        return int(kept + self.boxes.nbytes + self.objects.nbytes + self.image_rows.nbytes)


def widened(halves: NDArray[Any]) -> FloatArray:
    """(b, d) float16 as new float32, exact for finite numbers; a third of the time of `astype`, which goes one by one.

    A half's exponent and mantissa, moved to where float32 has them, are the same number divided by 2**112. Quickest
    for blocks that fit into the cache.
    """
    if halves.dtype != np.float16:
        return halves.astype(np.float32)
    wide = halves.view(np.int16).astype(np.int32)
    np.left_shift(wide, 13, out=wide)
    np.bitwise_and(wide, HALF, out=wide)
    floats: FloatArray = wide.view(np.float32)
    floats *= np.float32(2.0**112)
    return floats


@dataclass(frozen=True, slots=True)
class BestTiles:
    """The best tile of each image."""

    rows: IntArray  # (n,) rows of images, ascending
    scores: NDArray[np.float64]  # (n,)
    boxes: FloatArray  # (n, 4) of the best tile, the first of equal ones


def boxes_of(width: int, height: int, *, grid: int, share: float) -> FloatArray:
    """A grid of grid x grid boxes, each `share` of the picture's sides, first and last at its edges.

    Returns:
        (grid * grid, 4) x, y, width, height in whole px, row by row.
    """
    return Grid(grid, share).boxes(width, height)


def tile(writer: Writer, config: Config, progress: Progress) -> StageResult:
    """Embed the tiles of every part that has none yet under these settings.

    Raises:
        StageMissing: nothing was ingested.
        UsageError: the model is a file of vectors, which embeds no image.
    """
    workspace, started = writer.workspace, time.perf_counter()
    samples = workspace.entries("samples")
    if not samples:
        raise StageMissing(f"{workspace.path} has no images yet; run `curator ingest` first")
    space = embed.space_name(config.embed.model) + SUFFIX
    keys = f"tiles/{space}", f"objects/{space}"
    there = [{entry.fingerprint: entry for entry in workspace.entries(key) if workspace.has_files(entry)}
             for key in keys]  # fmt: skip
    model_stamp = embed.fingerprint(config.embed.model)
    total, made = workspace.n_rows, 0
    entries: list[tuple[Entry, Entry]] = []
    for entry in samples:
        stamp = _stamp(entry, model_stamp, config)
        if all(stamp in kept for kept in there):
            entries.append((there[0][stamp], there[1][stamp]))
            continue
        before = sum(sample.n for sample in samples[: len(entries)])
        entries.append(_part(writer, entry, stamp, space, config, partial(_told, progress, before, total)))
        made += entries[-1][0].n
        writer.publish({key: [pair[i] for pair in entries] for i, key in enumerate(keys)})  # what is done stays done
    writer.end_staging()
    counts = {"space": space, "n_tiles": sum(vectors.n for vectors, _ in entries), "n_made": made}
    seconds = time.perf_counter() - started
    is_same = made == 0 and workspace.entries(keys[0]) == tuple(vectors for vectors, _ in entries)
    if is_same and "tiles" in workspace.snapshot.stages:
        return StageResult("tiles", True, seconds, counts)
    writer.publish({key: [pair[i] for pair in entries] for i, key in enumerate(keys)})
    return finish(writer, "tiles", fingerprint("tiles", [v.fingerprint for v, _ in entries]), config, counts, seconds)


def load_tiles(workspace: Workspace, space: str) -> Tiles:
    """Tiles of the images that are there.

    Args:
        space: name of the images' space or of the tiles' own.

    Raises:
        StageMissing: there are none.
        DamagedWorkspace: a file is gone or broken.
    """
    name = space if space.endswith(SUFFIX) else space + SUFFIX
    entries = [entry for entry in workspace.entries(f"tiles/{name}") if entry.n]
    if not entries:
        raise StageMissing(f"{workspace.path} has no tiles in {name!r}; run `curator tiles -w {workspace.path}`")
    table = workspace.table(f"objects/{name}")
    try:
        parts = [np.load(workspace.file(entry), mmap_mode="r") for entry in entries]
    except (OSError, ValueError, EOFError) as error:
        raise DamagedWorkspace(
            f"tiles of {workspace.path} cannot be read: {error}; run `curator tiles` again"
        ) from error
    vectors: NDArray[Any] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(vectors) != table.num_rows:
        raise DamagedWorkspace(
            f"{workspace.path} has {len(vectors)} vectors of tiles for {table.num_rows} boxes in {name!r}; "
            "run `curator tiles` again"
        )
    rows = table["image"].to_numpy().astype(np.int64)
    is_there = np.isin(rows, workspace.present_rows())
    boxes = np.stack([table[side].to_numpy() for side in ("x", "y", "width", "height")], axis=1).astype(np.float32)
    objects = table["object"].to_numpy().astype(np.int64)
    every = Tiles(objects, rows, boxes, vectors)
    return every if is_there.all() else every.some(is_there)


def tile_scores(workspace: Workspace, space: str, score: Score | FloatArray) -> BestTiles:
    """The largest score over the tiles of each image, and where in it that is.

    Args:
        space: name of the images' space or of the tiles' own.
        score: what tiles are ranked by, or a query (d,) whose cosine they are ranked by.

    Raises:
        StageMissing: there are no tiles.
    """
    return best_tiles(load_tiles(workspace, space), score)


def best_tiles(tiles: Tiles, score: Score | FloatArray) -> BestTiles:
    """As `tile_scores`, of tiles that are loaded."""
    by = score if callable(score) else partial(_cosine, score)
    blocks = [by(tiles.unit(slice(at, at + BLOCK))) for at in range(0, len(tiles), BLOCK)]
    scores = np.concatenate([np.empty(0), *blocks]).astype(np.float64)  # (m,)
    rows, first = np.unique(tiles.image_rows, return_index=True)
    if not len(rows):
        return BestTiles(rows, scores, tiles.boxes)
    best = np.maximum.reduceat(scores, first)  # (n,)
    is_best = scores == np.repeat(best, np.diff(np.append(first, len(scores))))
    places = np.flatnonzero(is_best)
    at = places[np.unique(tiles.image_rows[places], return_index=True)[1]]
    return BestTiles(rows, best, tiles.boxes[at])


def _told(progress: Progress, before: int, total: int, done: int) -> None:
    progress("tiles", before + done, total)


def _cosine(query: FloatArray, vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors @ (query / max(float(np.linalg.norm(query)), 1e-12)), np.float32)


def _stamp(entry: Entry, model_stamp: str, config: Config) -> str:
    """Fingerprint of a part's tiles: its pixels, the model's weights and how it is cut; never labels or metadata."""
    decode = config.decode.model_dump()
    pixels = {key: decode[key] for key in DECIDES_PIXELS}
    return fingerprint("tiles", VERSION, identity(entry), pixels, model_stamp, config.tiles.model_dump())


def _part(
    writer: Writer, entry: Entry, stamp: str, space: str, config: Config, progress: Callable[[int], None]
) -> tuple[Entry, Entry]:
    """Write vectors and objects of one part of the samples."""
    grid = Grid(config.tiles.grid, config.tiles.share)
    presence = [old.fingerprint for old in writer.workspace.entries("columns/presence")]  # changes with a touched file
    folder = writer.staging(fingerprint("tiles", stamp, presence))
    staged = _staged(folder, samples_of(writer.workspace, entry), config, grid, progress)
    tables = [_objects(table, grid) for table in _tables(staged, ["row", "width", "height"])]
    n, dim = sum(table.num_rows for table in tables), _dim(staged, len(grid))
    number = f"{entry.part or 0:05d}-{stamp}"
    meta = {"grid": grid.side, "share": grid.share, "model": config.embed.model, "dim": dim}
    vectors = Entry(f"vectors/{space}/{number}.npy", stamp, part=entry.part, n=n, meta=meta)
    objects = Entry(f"objects/{space}/{number}.parquet", stamp, part=entry.part, n=n, meta=meta)
    writer.write_table(objects.file, _concatenated(tables, grid))
    writer.write(vectors.file, partial(_put_vectors, staged, n, dim))
    return vectors, objects


def _staged(
    folder: Path, samples: Sequence[tuple[int, Sample]], config: Config, grid: Grid, progress: Callable[[int], None]
) -> list[Path]:
    """Cut and embed what is not staged yet; returns the batches in order."""
    import pyarrow.feather as feather

    paths = [folder / f"{at:05d}.arrow" for at in range(-(-len(samples) // STAGED))]
    at = next((i for i, path in enumerate(paths) if not path.exists()), len(paths))
    waiting: list[Crops] = []
    done = at * STAGED
    for crops in read_crops(samples[done:], _plan(config), grid):
        waiting.append(crops)
        done += crops.n_read
        progress(done)
        if sum(part.n_read for part in waiting) == STAGED or done == len(samples):
            put = partial(feather.write_feather, _batch(waiting), compression="uncompressed")
            atomic_write(paths[at], put)
            waiting, at = [], at + 1
    return paths


def _batch(parts: Sequence[Crops]) -> pa.Table:
    import pyarrow as pa

    vectors = [one.astype("<f2").tobytes() for part in parts for one in part.vectors]
    sizes = np.concatenate([part.sizes for part in parts])
    return pa.table({
        "row": pa.array(np.concatenate([part.rows for part in parts]), pa.int64()),
        "width": pa.array(sizes[:, 0], pa.int64()), "height": pa.array(sizes[:, 1], pa.int64()),
        "vectors": pa.array(vectors, pa.binary()),
    })  # fmt: skip


def _tables(staged: Iterable[Path], columns: list[str]) -> Iterator[pa.Table]:
    import pyarrow.feather as feather

    for path in staged:
        yield feather.read_table(path, columns=columns, memory_map=False)


def _objects(table: pa.Table, grid: Grid) -> pa.Table:
    """A row for each crop."""
    import pyarrow as pa

    rows, wide, high = (table[name].to_numpy() for name in ("row", "width", "height"))
    boxes = [grid.boxes(int(w), int(h)) for w, h in zip(wide, high, strict=True)]
    flat = np.concatenate([np.empty((0, 4), np.float32), *boxes])
    image = np.repeat(rows.astype(np.int64), len(grid))
    return pa.table({
        "object": image * len(grid) + np.tile(np.arange(len(grid)), len(rows)), "image": image, "x": flat[:, 0],
        "y": flat[:, 1], "width": flat[:, 2], "height": flat[:, 3],
        "source": pa.array(["tiles"] * len(image), pa.string()),
    })  # fmt: skip


def _concatenated(tables: Sequence[pa.Table], grid: Grid) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables) if tables else _objects(_batch([_NOTHING]), grid)


_NOTHING = Crops(0, np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty((0, 0, 0), np.float32))


def _dim(staged: Sequence[Path], n_crops: int) -> int:
    """Numbers per vector; 0 in a part without a single one."""
    for table in _tables(staged, ["vectors"]):
        if table.num_rows:
            return len(table["vectors"][0].as_py()) // (2 * n_crops)
    return 0


def _put_vectors(staged: Sequence[Path], n: int, dim: int, out: IO[bytes]) -> None:
    header = {"descr": "<f2", "fortran_order": False, "shape": (n, dim)}
    np.lib.format.write_array_header_1_0(out, header)
    for table in _tables(staged, ["vectors"]):
        for vectors in table["vectors"].to_pylist():
            out.write(vectors)


def _plan(config: Config) -> loader.Plan:
    decode = config.decode
    return loader.Plan(
        mode=decode.mode, margin=decode.margin,
        limits=images.Limits(max_pixels=decode.max_pixels, max_memory_bytes=decode.max_memory_mb * 1_000_000),
        models=(config.embed.model,), device=config.embed.device, batch=config.embed.batch, workers=config.workers,
        threads=max(config.threads, 1),
    )  # fmt: skip
