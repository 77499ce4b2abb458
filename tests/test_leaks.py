"""Leaks between workspaces and between the parts of one, by bytes, look and vectors."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from typer.testing import CliRunner

from curator import pipeline
from curator.cli import app
from curator.config import load
from curator.errors import UnknownColumn, UnknownSpace, UsageError
from curator.pipeline import leaking
from curator.workspace import Workspace, open_workspace
from tests.conftest import REAL_DATA, picture

FAST = ["embed.model=colour", "workers=1"]


def embedded(folder: Path, place: Path, *more: str) -> Workspace:
    config = load(None, [*FAST, *more])
    pipeline.run_one("ingest", place, config, sources=[str(folder)])
    pipeline.run_one("embed", place, config)
    return open_workspace(place)


def sharp(rng: np.random.Generator) -> Image.Image:
    grain = Image.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    return Image.blend(picture(rng), grain, 0.1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Workspace]:
    """A set of ten pictures, and one with a file of it, a re-saved one, a darker one, and six of its own."""
    rng = np.random.default_rng(0)
    a, b = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    pictures = [sharp(rng) for _ in range(10)]
    for i, image in enumerate(pictures):
        image.save(a / f"{i}.png")
    Image.new("RGB", (64, 64), "grey").save(a / "flat.png")
    shutil.copy(a / "3.png", b / "same_bytes.png")
    pictures[5].save(b / "saved_again.jpg", quality=80)
    ImageEnhance.Brightness(pictures[7]).enhance(0.6).save(b / "darker.png")
    for i in range(6):
        sharp(rng).save(b / f"own{i}.png")
    Image.new("RGB", (64, 64), "white").save(b / "flat.png")
    w = tmp_path_factory.mktemp("w")
    return embedded(a, w / "first"), embedded(b, w / "second")


def by_name(found: leaking.Leaks) -> dict[str, leaking.Leak]:
    return {Path(leak.uri_b).stem: leak for leak in found.leaks}


def test_each_kind_of_copy_is_found_by_its_channel(two: tuple[Workspace, Workspace]) -> None:
    found = leaking.between(*two, threshold=0.9999)
    leaks = by_name(found)
    assert leaks.keys() == {"same_bytes", "saved_again", "darker"}
    assert [Path(leaks[name].uri_a).stem for name in ("same_bytes", "saved_again", "darker")] == ["3", "5", "7"]
    assert [leaks[name].exact for name in ("same_bytes", "saved_again", "darker")] == [True, False, False]
    assert leaks["same_bytes"].similarity == pytest.approx(1, abs=1e-3)
    assert leaks["darker"].similarity < 0.9999, "found by its look alone"
    assert leaks["darker"].bits is not None
    assert leaks["darker"].bits <= 4
    (pair,) = found.pairs
    assert (pair.a, pair.b, pair.n_a, pair.n_b) == ("first", "second", 11, 10)
    assert (pair.n_exact, pair.n_hash, pair.n_leaking) == (1, 3, 3)
    assert pair.share == 0.3
    assert found.leaks[0].exact, "the worst first"
    assert found.notes == ("2 images have no perceptual hash (one colour) and were not compared by look",)


def test_a_low_threshold_finds_more_and_a_look_of_no_bits_less(two: tuple[Workspace, Workspace]) -> None:
    few = leaking.between(*two, threshold=0.9999, bits=0)
    many = leaking.between(*two, threshold=0.05)
    assert few.pairs[0].n_hash <= 3
    assert many.pairs[0].n_near == many.pairs[0].n_leaking == 10
    assert many.leaks[0].exact
    assert [leak.similarity for leak in many.leaks[1:]] == sorted((x.similarity for x in many.leaks[1:]), reverse=True)


def test_the_threshold_is_that_of_near_duplicates_when_none_is_given(two: tuple[Workspace, Workspace]) -> None:
    found = leaking.between(*two)
    assert 0 < found.threshold <= 1
    assert "default" in found.origin
    assert leaking.between(*two, threshold=0.5).origin == "given"


def test_a_workspace_leaks_wholly_into_itself(two: tuple[Workspace, Workspace]) -> None:
    found = leaking.between(two[0], two[0], threshold=0.9999)
    assert (found.pairs[0].n_exact, found.pairs[0].share) == (11, 1.0)
    assert found.pairs[0].a == str(two[0].path)


def test_leaks_are_written_as_a_table_or_as_json(two: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    found = leaking.between(*two, threshold=0.9999)
    leaking.write(found, tmp_path / "leaks.csv")
    with (tmp_path / "leaks.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["uri_b"] for line in lines] == [leak.uri_b for leak in found.leaks]
    assert lines[0]["exact"] == "True"
    leaking.write(found, tmp_path / "leaks.json")
    body = json.loads((tmp_path / "leaks.json").read_text())
    assert (body["n_leaks"], len(body["leaks"]), body["pairs"][0]["share"]) == (3, 3, 0.3)
    with pytest.raises(UsageError, match="cannot write leaks to .*leaks.txt.; expected a name that ends in"):
        leaking.write(found, tmp_path / "leaks.txt")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"threshold": 0.0}, "threshold 0; expected a cosine above 0 and up to 1"),
        ({"threshold": 1.5}, "threshold 1.5; expected"),
        ({"bits": 65}, "bits 65; expected 0 to 64"),
        ({"bits": -1}, "bits -1; expected 0 to 64"),
    ],
)
def test_limits_out_of_range_are_refused(two: tuple[Workspace, Workspace], more: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        leaking.between(*two, **more)


def test_workspaces_of_two_models_cannot_be_compared(two: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    shutil.copytree(two[1].path, tmp_path / "w")
    other = open_workspace(tmp_path / "w")
    with other.writing("test") as writer:
        writer.publish({"vectors/colour": None, "vectors/other": other.entries("vectors/colour")})
    with pytest.raises(
        UnknownSpace, match="has no vectors of 'colour', which .* .there are: other.; run `curator embed"
    ):
        leaking.between(two[0], other)


# --- parts of one workspace


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Folders train, val and test; two test pictures and one val picture are in train."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("parts")
    for part, n in (("train", 8), ("val", 3), ("test", 5)):
        (folder / part).mkdir()
        for i in range(n):
            sharp(rng).save(folder / part / f"{part}{i}.png")
    for i, part in ((0, "test"), (1, "test"), (2, "val")):
        shutil.copy(folder / "train" / f"train{i}.png", folder / part / f"leak{i}.png")
    return embedded(folder, tmp_path_factory.mktemp("w") / "w", "sources.splits_from_folders=true")


def test_leaks_between_parts_are_told_pair_by_pair(parts: Workspace) -> None:
    found = leaking.across_parts(parts, threshold=0.9999, bits=0)
    assert {(pair.a, pair.b): (pair.n_exact, pair.n_leaking) for pair in found.pairs} == {
        ("train", "test"): (2, 2), ("train", "val"): (1, 1), ("test", "val"): (0, 0),
    }  # fmt: skip
    assert sorted(by_name(found)) == ["leak0", "leak1", "leak2"]
    assert [(pair.n_a, pair.n_b) for pair in found.pairs] == [(8, 7), (8, 4), (7, 4)]


def test_a_column_that_is_no_split_is_refused(parts: Workspace, two: tuple[Workspace, Workspace]) -> None:
    with pytest.raises(UsageError, match="column 'kind' has 1 parts; expected 2 to 50 such as train, val and test"):
        leaking.across_parts(parts, "kind")
    with pytest.raises(UsageError, match="column 'split' has 0 parts"):
        leaking.across_parts(two[0])
    with pytest.raises(UnknownColumn, match="no column 'nonsense'"):
        leaking.across_parts(parts, "nonsense")


def test_sets_without_hashes_and_empty_sets_have_no_leaks(two: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for name in ("one", "none"):
        (tmp_path / name).mkdir()
        picture(rng).save(tmp_path / name / f"{name}.png")
    alone, empty = (embedded(tmp_path / name, tmp_path / f"w_{name}") for name in ("one", "none"))
    (tmp_path / "none" / "none.png").unlink()
    pipeline.run_one("ingest", empty.path)
    empty.refresh()
    for a, b, n in ((alone, empty, (1, 0)), (empty, alone, (0, 1))):
        found = leaking.between(a, b, threshold=0.5)
        assert (found.pairs[0].n_a, found.pairs[0].n_b, found.pairs[0].share, found.leaks) == (*n, 0.0, ())


# --- the command


def run(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
    return result.output


def test_the_command_compares_two_workspaces(two: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    places = [place.path for place in two]
    out = run("leaks", *places, "--threshold", "0.9999", "--to", tmp_path / "leaks.csv")
    assert "second in first: 3 of 10 images (30.0%); same bytes 1, same look 3, cosine 0.9999 or above" in out
    assert "same bytes  " in out
    assert f"3 leaks written to {tmp_path / 'leaks.csv'}" in out
    body = json.loads(run("leaks", *places, "--threshold", "0.9999", "--json"))
    assert (body["n_leaks"], body["pairs"][0]["n_exact"]) == (3, 1)


def test_the_command_compares_the_parts_of_one(parts: Workspace) -> None:
    out = run("leaks", "-w", parts.path, "--split-column", "split", "--threshold", "0.9999", "--bits", "0")
    assert "test in train: 2 of 7 images" in out
    many = run("leaks", "-w", parts.path, "--threshold", "0.01")
    assert "more; --to FILE writes all" in many


def test_the_command_needs_two_workspaces_or_one(two: tuple[Workspace, Workspace]) -> None:
    place = two[0].path
    for wrong in ([], [place], [place, place, "-w", place], [place] * 3):
        assert "expected two workspaces to compare, or -w WORKSPACE" in run("leaks", *wrong, code=2)


# --- real data


@pytest.mark.real
@pytest.mark.slow
def test_planted_copies_of_photographs_are_found_and_little_else(tmp_path: Path) -> None:
    folder = REAL_DATA / "classification" / "caltech101_sub" / "images"
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {REAL_DATA}")
    files = sorted(folder.rglob("*.jpg"))
    a, b = tmp_path / "a", tmp_path / "b"
    for at, path in enumerate(files[:400]):
        side = a if at % 2 == 0 else b
        side.mkdir(exist_ok=True)
        shutil.copy(path, side / f"{at:03d}.jpg")
    for at in range(0, 60, 2):
        image = Image.open(files[at]).convert("RGB")
        if at % 4:
            image.resize((image.width * 2 // 3, image.height * 2 // 3)).save(b / f"copy_{at:03d}.jpg", quality=70)
        else:
            image.save(b / f"copy_{at:03d}.png")
    config = load(None, [])
    for side in (a, b):
        pipeline.run_one("ingest", tmp_path / f"w{side.name}", config, sources=[str(side)])
        pipeline.run_one("embed", tmp_path / f"w{side.name}", config)
    found = leaking.between(open_workspace(tmp_path / "wa"), open_workspace(tmp_path / "wb"))
    hits = {Path(leak.uri_b).stem: Path(leak.uri_a).stem for leak in found.leaks}
    planted = {f"copy_{at:03d}": f"{at:03d}" for at in range(0, 60, 2)}
    right = sum(hits.get(copy) == original for copy, original in planted.items())
    assert right >= 29
    assert len(hits.keys() - planted.keys()) <= 4, "the set has a few near-duplicates of its own"
