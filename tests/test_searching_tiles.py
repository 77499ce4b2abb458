"""Search over tiles: images ranked by their best tile, which is named, as brute force says; at every door the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from curator import pipeline
from curator.cli import app as command_line
from curator.config import load
from curator.data import FloatArray
from curator.errors import BadQuery, StageMissing, UnknownSpace
from curator.filters import parse_filter
from curator.pipeline.tiling import Tiles, load_tiles
from curator.searching import Answer, Example, Request, Served, open_served, tiled
from curator.searching.tiled import TileSpace
from curator.workspace import open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import SETTINGS, small_root

CONFIG = load(None, [*SETTINGS, "tiles.grid=2", "tiles.share=0.6"])
CARS = parse_filter({"column": "label", "eq": "car"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles") / "served" / "street"
    shutil.copytree(small_root() / "street", folder)
    pipeline.tile(folder, CONFIG)
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Served:
    return open_served(open_workspace(place))


@pytest.fixture(scope="module")
def tiles(place: Path) -> Tiles:
    return load_tiles(open_workspace(place), "colour")


def vector_of(served: Served, row: int) -> FloatArray:
    space = served.space("colour")
    vector: FloatArray = space.vectors[space.embeddings.positions_of(np.asarray([row]))[0]]
    return vector


def brute(
    tiles: Tiles, directions: FloatArray, *, left_out: Any = (), allowed: Any = None, mean: FloatArray | None = None
) -> list[tuple[int, float, list[float]]]:
    """(row, largest cosine, box) of every image, best first, equal ones by row."""
    wide = tiles.vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    if mean is not None:
        wide -= mean
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    near = np.round((wide @ np.atleast_2d(directions).T.astype(np.float64)).max(axis=1), 6)
    found = []
    for row in sorted(set(tiles.image_rows.tolist()) - set(left_out)):
        own = np.flatnonzero(tiles.image_rows == row)
        best = own[np.argmax(near[own])]
        if allowed is None or allowed[row]:
            found.append((row, float(near[best]), tiles.boxes[best].tolist()))
    return sorted(found, key=lambda hit: (-hit[1], hit[0]))


def same(answer: Answer, expected: list[tuple[int, float, list[float]]]) -> None:
    assert [hit.row for hit in answer.hits] == [row for row, _, _ in expected]
    assert [hit.score for hit in answer.hits] == pytest.approx([near for _, near, _ in expected], abs=2e-6)
    assert [list(hit.box or ()) for hit in answer.hits] == [box for _, _, box in expected]


@pytest.mark.parametrize("row", [0, 7, 16, 28])
@pytest.mark.parametrize("condition", [None, CARS])
def test_images_come_by_their_best_tile(served: Served, tiles: Tiles, row: int, condition: Any) -> None:
    allowed = None if condition is None else served.mask(condition)
    found = served.search(Request((Example(row=row),), k=40, filter=condition, space="tiles"))
    same(found, brute(tiles, vector_of(served, row), left_out=[row], allowed=allowed))
    assert (found.space, found.index, found.recall, found.note) == ("colour.tiles", "flat", 1.0, "")


def test_a_part_of_an_image_finds_the_tile_that_is_the_same_part(served: Served, tiles: Tiles, place: Path) -> None:
    at = 4 * 5 + 3
    box = tuple(float(side) for side in tiles.boxes[at])
    data = Path(str(served.columns.take([int(tiles.image_rows[at])], ["uri"])[0]["uri"])).read_bytes()
    found = served.search(Request((Example(image=data, box=box),), k=1, space="colour.tiles"))  # type: ignore[arg-type]
    assert (found.hits[0].row, found.hits[0].box) == (tiles.image_rows[at], box)
    assert found.hits[0].similarity == pytest.approx(1, abs=1e-3)


def test_many_examples_are_combined_as_elsewhere(served: Served, tiles: Tiles) -> None:
    likes, unlike = (Example(row=2), Example(row=9)), (Example(row=20),)
    known = np.stack([vector_of(served, 2), vector_of(served, 9)])
    found = served.search(Request(likes, k=30, method="max", space="tiles"))
    same(found, brute(tiles, known, left_out=[2, 9]))
    direction = 0.75 * known.mean(axis=0) - 0.15 * vector_of(served, 20)
    found = served.search(Request(likes, unlike, k=30, space="tiles"))
    same(found, brute(tiles, direction / np.linalg.norm(direction), left_out=[2, 9, 20]))


def test_centred_takes_the_tiles_mean(served: Served, tiles: Tiles) -> None:
    mean = tiles.unit(slice(None)).mean(axis=0, dtype=np.float64).astype(np.float32)
    direction = vector_of(served, 4) - mean
    found = served.search(Request((Example(row=4),), k=30, centred=True, space="tiles"))
    expected = brute(tiles, direction / np.linalg.norm(direction), left_out=[4], mean=mean)
    assert [hit.score for hit in found.hits] == pytest.approx([near for _, near, _ in expected], abs=2e-5)
    assert [hit.row for hit in found.hits[:5]] == [row for row, _, _ in expected[:5]]


def test_a_probe_ranks_tiles_and_says_how_alike_they_are(served: Served) -> None:
    found = served.search(Request((Example(row=2),), (Example(row=20),), k=30, method="probe", space="tiles"))
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= hit.score <= 1 and -1 <= hit.similarity <= 1 and hit.box for hit in found.hits)
    assert {hit.row for hit in found.hits} & {2, 20} == set()


def test_pages_are_one_larger_page_and_a_floor_holds(served: Served) -> None:
    asked = Request((Example(row=0),), k=30, space="tiles")
    whole = served.search(asked).hits
    pages = [served.search(Request(asked.positives, k=7, offset=at, space="tiles")) for at in range(0, 30, 7)]
    assert tuple(hit for page in pages for hit in page.hits) == whole
    assert [page.next_offset for page in pages] == [7, 14, 21, 28, None]
    floor = whole[10].similarity
    kept = served.search(Request(asked.positives, k=30, min_similarity=floor, space="tiles")).hits
    assert kept == tuple(hit for hit in whole if hit.similarity >= floor)


def test_groups_give_the_best_image_of_each(served: Served, tiles: Tiles) -> None:
    found = served.search(Request((Example(row=3),), k=10, group_by="label", space="tiles"))
    every = brute(tiles, vector_of(served, 3), left_out=[3])
    labels = {row: served.columns.take([row], ["label"])[0]["label"] for row, _, _ in every}
    best = [next(hit for hit in every if labels[hit[0]] == label) for label in ("bus", "car")]
    same(found, sorted(best, key=lambda hit: (-hit[1], hit[0])))
    assert {hit.group for hit in found.hits} == {"bus", "car"}


def test_searches_beside_each_other_are_the_single_ones(served: Served) -> None:
    asked = [Request((Example(row=row),), k=5, space=space) for row in (0, 3) for space in ("tiles", "colour")]
    assert served.search_many(asked) == [served.search(one) for one in asked]


def test_blocks_do_not_show(place: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Request((Example(row=0),), k=30, centred=True, filter=CARS, space="tiles")
    before = served.search(asked)
    monkeypatch.setattr(tiled, "BLOCK", 3)
    assert open_served(open_workspace(place)).search(asked).hits == pytest.approx(before.hits)


def test_images_without_tiles_are_not_found_and_said(place: Path, tmp_path: Path) -> None:
    from curator.snapshot import Entry

    shutil.copytree(place, tmp_path / "w")
    workspace = open_workspace(tmp_path / "w")
    (vectors,), (objects,) = (workspace.entries(f"{kind}/colour.tiles") for kind in ("tiles", "objects"))
    array, table = np.load(workspace.file(vectors)), workspace.table("objects/colour.tiles")
    with workspace.writing("test") as writer:
        writer.write_array("vectors/colour.tiles/few.npy", array[:40])
        writer.write_table("objects/colour.tiles/few.parquet", table.slice(0, 40))
        writer.publish({
            "tiles/colour.tiles": [Entry("vectors/colour.tiles/few.npy", "x", part=0, n=40, meta=vectors.meta)],
            "objects/colour.tiles": [Entry("objects/colour.tiles/few.parquet", "x", part=0, n=40, meta=objects.meta)],
        })  # fmt: skip
    found = open_served(open_workspace(tmp_path / "w")).search(Request((Example(row=29),), k=40, space="tiles"))
    assert len(found.hits) == 10
    grouped = open_served(open_workspace(tmp_path / "w")).search(
        Request((Example(row=29),), k=40, group_by="uri", space="tiles")
    )
    assert [hit.row for hit in grouped.hits] == [hit.row for hit in found.hits]
    assert found.note == "20 images have no tiles yet and are not found; run `curator tiles`"


def test_a_newer_snapshot_shares_tiles_that_did_not_change(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "w")
    older = open_served(open_workspace(tmp_path / "w"))
    asked = Request((Example(row=0),), k=5, space="tiles")
    before = older.search(asked).hits
    with open_workspace(tmp_path / "w").writing("test") as writer:
        writer.publish({})
    newer = older.successor(open_workspace(tmp_path / "w"))
    assert newer.is_warm_like(older)
    first, second = older.space("tiles"), newer.space("tiles")
    assert isinstance(first, TileSpace)
    assert isinstance(second, TileSpace)
    assert first.tiles is second.tiles
    assert newer.search(asked).hits == before
    pipeline.tile(tmp_path / "w", load(None, [*SETTINGS, "tiles.grid=3"]))
    renewed = newer.successor(open_workspace(tmp_path / "w"))
    assert not renewed.is_warm_like(newer)
    renewed.warm_like(newer)
    third = renewed.space("tiles")
    assert isinstance(third, TileSpace)
    assert len(third.tiles) == 30 * 9
    assert newer.size_bytes > second.size_bytes > 0


def test_what_tiles_cannot_do_is_said(served: Served, tmp_path: Path) -> None:
    with pytest.raises(BadQuery, match=r"space 'colour.tiles' \(colour\) reads no text"):
        served.search(Request((Example(text="dog"),), space="tiles"))
    with pytest.raises(BadQuery, match="'colour.tiles' holds parts of them"):
        served.near_duplicates(Example(row=0), space="tiles")
    with pytest.raises(UnknownSpace, match="no embedding space 'nothing'"):
        served.search(Request((Example(row=0),), space="nothing.tiles"))
    untiled = open_served(open_workspace(small_root() / "street"))
    with pytest.raises(StageMissing, match="has no tiles in 'colour.tiles'; run `curator tiles"):
        untiled.search(Request((Example(row=0),), space="tiles"))


# -- the doors -----------------------------------------------------------------------------------------------------


def test_both_doors_answer_as_the_library(place: Path, served: Served, tiles: Tiles) -> None:
    asked: dict[str, Any] = {"positives": [{"row": 7}], "k": 6, "space": "tiles", "fields": ["uri"]}
    with TestClient(create_app(Settings(place.parent, rate=0)), base_url="http://127.0.0.1") as client:
        body = client.post("/v1/workspaces/street/search", json=asked).json()
        second = client.post("/v1/workspaces/street/search", json={**asked, "cursor": body.pop("cursor")}).json()
        info = client.get("/v1/workspaces/street").json()
        refused = client.post("/v1/workspaces/street/search", json={"positives": [{"text": "x"}], "space": "tiles"})
    flags = ["-w", str(place), "--row", "7", "-k", "6", "--space", "tiles"]
    printed = CliRunner().invoke(command_line, ["search", *flags, "--json"])
    assert json.loads(printed.stdout) == body
    expected = brute(tiles, vector_of(served, 7), left_out=[7])
    assert [(hit["row"], hit["box"]) for hit in body["hits"]] == [(row, box) for row, _, box in expected[:6]]
    assert [hit["row"] for hit in second["hits"]] == [row for row, _, _ in expected[6:12]]
    assert info["tiles"] == ["colour.tiles"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadQuery")
    shown = CliRunner().invoke(command_line, ["search", *flags]).stdout
    first = ",".join(f"{side:g}" for side in expected[0][2])
    assert f"tile {first}" in shown.splitlines()[0]
    assert "spaces      colour, colour.tiles" in CliRunner().invoke(command_line, ["info", "-w", str(place)]).stdout
