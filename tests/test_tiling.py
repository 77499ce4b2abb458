"""Tiles: cut in workers, staged, keyed by pixels and model; the best tile of each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curator import images, pipeline
from curator.config import Config, load
from curator.data import FloatArray
from curator.errors import DamagedWorkspace, StageMissing, UsageError
from curator.index import normalise
from curator.loader import Plan, crops
from curator.loader.crops import Grid, read_crops
from curator.pipeline import tiling
from curator.pipeline.scanning import samples_of
from curator.pipeline.tiling import Tiles, best_tiles, load_tiles, tile_scores, widened
from curator.workspace import Workspace, open_workspace
from tests.small import SETTINGS, make_footage

GRID = Grid(2, 0.6)


def config(*more: str) -> Config:
    return load(None, [*SETTINGS, "tiles.grid=2", "tiles.share=0.6", *more])


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    return make_footage(tmp_path / "footage", n=30)


@pytest.fixture
def place(tmp_path: Path, footage: Path) -> Path:
    folder = tmp_path / "street"
    pipeline.run_one("ingest", folder, config(), sources=[str(footage)])
    pipeline.run_one("embed", folder, config())
    return folder


def test_workers_give_what_one_process_gives(place: Path) -> None:
    workspace = open_workspace(place)
    samples = samples_of(workspace, workspace.entries("samples")[0])
    one, two = (list(read_crops(samples, Plan(models=("colour",), workers=n), GRID)) for n in (1, 2))
    assert len(one) == -(-len(samples) // crops.BATCH) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.rows.tolist() == right.rows.tolist()
        assert np.array_equal(left.vectors, right.vectors)
    assert sum(part.n_read for part in one) == len(samples)
    assert sum(len(part.rows) for part in one) == len(samples) - 1  # without the broken file


def test_a_tile_is_the_vector_of_its_crop(place: Path) -> None:
    from curator import embed

    workspace = open_workspace(place)
    row, sample = samples_of(workspace, workspace.entries("samples")[0])[0]
    (found,) = read_crops([(row, sample)], Plan(models=("colour",)), GRID)
    model = embed.load("colour")
    pixels = images.decode(Path(sample.file).read_bytes()).pixels
    for box, vector in zip(GRID.boxes(*pixels.shape[1::-1]).astype(int), found.vectors[0], strict=True):
        x, y, wide, high = box
        own = model(images.fit(pixels[y : y + high, x : x + wide], model.geometry)[None]).vectors[0]
        assert float(own @ vector) == pytest.approx(1, abs=1e-5)
    assert found.sizes.tolist() == [list(pixels.shape[1::-1])]


def test_a_killed_run_goes_on_from_its_last_batch(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "STAGED", crops.BATCH)
    whole = tiled(place)
    files = {entry.file: (place / entry.file).read_bytes() for entry in whole.entries("tiles/colour.tiles")}
    for key in ("tiles/colour.tiles", "objects/colour.tiles"):
        for entry in whole.entries(key):
            (place / entry.file).unlink()
    read: list[int] = []

    def stopped(stage: str, done: int, total: int | None) -> None:
        read.append(done)
        if len(read) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.tile(place, config(), progress=stopped)
    assert read == [crops.BATCH, 2 * crops.BATCH]
    read.clear()
    pipeline.tile(place, config(), progress=lambda stage, done, total: read.append(done))
    assert read[0] == 2 * crops.BATCH  # the first batch was staged; the second was cut short and is read again
    again = open_workspace(place)
    assert {entry.file: (place / entry.file).read_bytes() for entry in again.entries("tiles/colour.tiles")} == files
    assert not (place / "staging").exists()


def test_tiles_of_two_models_stand_beside_each_other(place: Path, tmp_path: Path) -> None:
    tiled(place)
    before = load_tiles(open_workspace(place), "colour")
    other = config("embed.model=efficientnet-lite0", "tiles.grid=3")
    pipeline.tile(place, other)
    after = load_tiles(open_workspace(place), "colour")
    assert np.array_equal(before.boxes, after.boxes)
    assert np.array_equal(before.vectors, after.vectors)
    assert len(load_tiles(open_workspace(place), "efficientnet-lite0")) == len(before) // 4 * 9
    assert open_workspace(place).space(None) == "colour"  # never taken for a space of images


def test_labels_do_not_make_tiles_anew(place: Path, footage: Path, tmp_path: Path) -> None:
    tiled(place)
    table = tmp_path / "more.csv"
    table.write_text("file,weather\n" + "".join(f"{path.name},fog\n" for path in footage.rglob("*.jpg")))
    pipeline.run_one("ingest", place, config(f"sources.metadata={table}"), sources=[str(footage)])
    done = pipeline.tile(place, config())
    assert done.counts["n_made"] == 0


def test_the_best_tile_of_each_image_is_found(rng: np.random.Generator) -> None:
    rows = np.repeat([2, 5, 9], [4, 1, 3])
    vectors = normalise(rng.standard_normal((8, 6)).astype(np.float32))
    boxes = np.arange(32, dtype=np.float32).reshape(8, 4)
    query = rng.standard_normal(6).astype(np.float32)
    found = best_tiles(Tiles(np.arange(8), rows, boxes, vectors.astype(np.float16)), query)
    cosine = vectors @ query / np.linalg.norm(query)
    assert found.rows.tolist() == [2, 5, 9]
    for row, score, box in zip(found.rows, found.scores, found.boxes, strict=True):
        own = np.flatnonzero(rows == row)
        assert score == pytest.approx(cosine[own].max(), abs=2e-3)
        assert box.tolist() == boxes[own[np.argmax(cosine[own])]].tolist()


def test_of_equal_tiles_the_first_is_the_best() -> None:
    tiles = Tiles(np.arange(4), np.array([1, 1, 3, 3]), np.arange(16, dtype=np.float32).reshape(4, 4),
                  np.ones((4, 2), np.float16))  # fmt: skip
    found = best_tiles(tiles, lambda vectors: np.ones(len(vectors)))
    assert found.boxes[:, 0].tolist() == [0, 8]
    nothing = best_tiles(
        Tiles(np.empty(0, int), np.empty(0, int), np.empty((0, 4), np.float32), np.empty((0, 2), np.float16)),
        np.ones(2, np.float32),
    )
    assert len(nothing.rows) == len(nothing.scores) == len(nothing.boxes) == 0


def test_scores_go_by_row_and_leave_out_what_is_gone(place: Path, footage: Path) -> None:
    workspace = tiled(place)
    tiles = load_tiles(workspace, "colour")
    query: FloatArray = tiles.vectors[5].astype(np.float32)
    found = tile_scores(workspace, "colour", query)
    assert found.scores.max() == pytest.approx(1, abs=1e-3)
    assert found.rows[found.scores.argmax()] == tiles.image_rows[5]
    gone = next(footage.rglob("02.jpg"))
    gone.unlink()
    pipeline.run_one("ingest", place, config(), sources=[str(footage)])
    assert len(tile_scores(open_workspace(place), "colour", query).rows) == len(found.rows) - 1


def test_what_cannot_be_tiled_is_said(place: Path, tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match="has no tiles in 'colour.tiles'; run `curator tiles"):
        tile_scores(open_workspace(place), "colour", np.ones(3, np.float32))
    np.save(tmp_path / "own.npy", np.eye(4, dtype=np.float32))
    with pytest.raises(UsageError, match="holds ready vectors and embeds no image"):
        pipeline.tile(place, config(f"embed.model=vectors:{tmp_path / 'own.npy'}"))
    workspace = tiled(place)
    (entry,) = workspace.entries("tiles/colour.tiles")
    np.save(place / entry.file, np.ones((3, 4), np.float16))
    with pytest.raises(DamagedWorkspace, match="3 vectors of tiles for"):
        load_tiles(workspace, "colour")
    (place / entry.file).write_bytes(b"no array")
    with pytest.raises(DamagedWorkspace, match="cannot be read"):
        load_tiles(workspace, "colour")


def tiled(place: Path) -> Workspace:
    pipeline.tile(place, config())
    return open_workspace(place)


def test_every_finite_half_is_widened_exactly() -> None:
    every = np.arange(65_536, dtype=np.uint16).view(np.float16)
    halves = every[np.isfinite(every)].reshape(-1, 8)
    assert np.array_equal(widened(halves).view(np.int32), halves.astype(np.float32).view(np.int32))  # -0.0 stays -0.0
