"""Ranking a pool: what the probe sees of tiles, answers in any order, and when cross-validation may overrule."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import pipeline
from curator.config import load
from curator.data import FloatArray, IntArray
from curator.index import normalise
from curator.mining import ranking
from curator.mining.campaigns import view_of
from curator.mining.ranking import (
    DEFAULT,
    HOWS,
    MARGIN,
    MAX_COMPARED,
    Feedback,
    View,
    average_precision,
    cross_validated,
    rank,
    surely_best,
    tile_likeness,
)
from curator.searching import open_served
from curator.workspace import open_workspace

NONE = np.empty(0, np.int64)


def random_view(rng: np.random.Generator, *, n: int = 60, d: int = 12, dtype: Any = np.float32) -> View:
    """A pool in which every image but the fourth has one to five tiles."""
    n_tiles = rng.integers(1, 6, n)
    n_tiles[3] = 0
    tile_of = np.repeat(np.arange(n), n_tiles)
    vectors, tiles = (normalise(rng.standard_normal((m, d)).astype(np.float32)) for m in (n, len(tile_of)))
    return View(vectors, tiles.astype(dtype), tile_of)


def own_tiles(view: View, image: int) -> FloatArray:
    assert view.tiles is not None
    return np.asarray(view.tiles[view.tile_of == image], np.float32)


@pytest.mark.parametrize("block", [8, 16_384])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_probe_sees_the_largest_of_each_number(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, block: int, dtype: Any
) -> None:
    monkeypatch.setattr(ranking, "BLOCK", block)
    view = random_view(rng, dtype=dtype)
    for image in range(len(view.vectors)):
        own = own_tiles(view, image)
        wanted = normalise(own.max(axis=0)[None])[0] if len(own) else view.vectors[image]
        assert view.seen[image] == pytest.approx(wanted, abs=1e-5)


def test_without_tiles_it_sees_the_image(rng: np.random.Generator) -> None:
    vectors = random_view(rng).vectors
    assert View(vectors).seen is vectors


@pytest.mark.parametrize("block", [7, 16_384])
def test_tile_likeness_is_the_best_pair(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(ranking, "BLOCK", block)
    view = random_view(rng)
    assert view.tiles is not None
    mean = view.tiles.mean(axis=0)
    found = tile_likeness(view, np.array([5, 8]))
    asked = normalise(np.concatenate([own_tiles(view, 5), own_tiles(view, 8)]) - mean)
    for image in range(len(view.vectors)):
        own = own_tiles(view, image)
        wanted = float((normalise(own - mean) @ asked.T).max()) if len(own) else -1.0
        assert found[image] == pytest.approx(wanted, abs=1e-5)


def test_a_part_of_a_view_is_what_it_was(rng: np.random.Generator) -> None:
    view, kept = random_view(rng), np.array([2, 3, 7, 40])
    part = view.part(kept)
    assert np.array_equal(part.vectors, view.vectors[kept])
    assert np.array_equal(part.seen, view.seen[kept])
    for at, image in enumerate(kept):
        assert np.array_equal(own_tiles(part, at), own_tiles(view, int(image)))


@pytest.mark.parametrize("how", [None, *HOWS])
@given(order=st.permutations(range(24)))
@settings(deadline=None, max_examples=20)
def test_answers_count_the_same_in_any_order(how: Any, order: list[int]) -> None:
    view = random_view(np.random.default_rng(0))
    answers = np.array(order)
    shuffled = Feedback(answers[answers < 12], answers[answers >= 12])
    plain = Feedback(np.arange(12), np.arange(12, 24))
    first, second = rank(view, plain, how), rank(view, shuffled, how)
    assert np.array_equal(first.scores, second.scores)  # to the last bit: undo and restart give the same batch
    assert (first.how, first.precision) == (second.how, second.precision)


def test_many_examples_are_thinned_evenly() -> None:
    few = ranking._few(np.arange(10 * MAX_COMPARED))
    assert len(few) == MAX_COMPARED
    assert set(np.diff(few)) == {10}
    assert ranking._few(np.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_a_rival_must_be_surely_better() -> None:
    same = {str(way): np.full(5, 0.5) for way in HOWS}
    assert surely_best(same) == DEFAULT
    assert surely_best({**same, "max": same["max"] + MARGIN / 2}) == DEFAULT  # too little
    assert surely_best({**same, "max": np.array([0.9, 0.1, 0.9, 0.9, 0.4])}) == DEFAULT  # by luck
    assert surely_best({**same, "max": np.array([0.71, 0.70, 0.72, 0.69, 0.70])}) == "max"
    assert surely_best({**same, "max": same["max"] + 0.1, "mean": same["mean"] + 0.2}) == "mean"
    assert surely_best({str(way): np.array([0.5 + (way == "max")]) for way in HOWS}) == DEFAULT  # one fold


def test_cross_validation_never_learns_from_what_it_tests(rng: np.random.Generator) -> None:
    """Answers are told from nothing but chance, so no way can do better than chance on those held out."""
    vectors = normalise(rng.standard_normal((400, 64)).astype(np.float32))
    found = [
        cross_validated(View(vectors), Feedback(chosen[:30], chosen[30:60]), seed=0)
        for chosen in (rng.permutation(400) for _ in range(30))
    ]
    chance = np.mean([average_precision(rng.random(12), np.arange(12) < 6) for _ in range(5_000)])
    for way in HOWS:
        assert np.mean([one[way].mean() for one in found]) == pytest.approx(chance, abs=0.05)  # four standard errors


def test_one_answer_of_a_kind_has_no_folds(rng: np.random.Generator) -> None:
    folds = cross_validated(random_view(rng), Feedback(np.array([1]), np.array([9, 10])), seed=0)
    assert all(values.tolist() == [0.0] for values in folds.values())


# -- real footage ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> tuple[View, list[dict[str, str]]]:
    from tests.conftest import REAL_DATA

    data = REAL_DATA / "video" / "camvid"
    if not data.is_dir():
        pytest.skip(f"camvid is not at {data}; set CURATOR_TEST_DATA to the folder of the real data sets")
    folder: Path = tmp_path_factory.mktemp("camvid")
    with (data / "frames.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    table = folder / "frames.csv"
    table.write_text("uri\n" + "\n".join(str(data / line["file"]) for line in lines) + "\n", encoding="utf-8")
    config = load(None, [])
    pipeline.run_one("ingest", folder / "w", config, sources=[str(table)])
    pipeline.run_one("embed", folder / "w", config)
    pipeline.tile(folder / "w", config)
    served = open_served(open_workspace(folder / "w"))
    return view_of(served, served.space().name), lines


def precisions(
    view: View, truth: Any, pool: IntArray, tested: IntArray, seeds: IntArray, *, at: int, rounds: int
) -> list[float]:
    """Precision of the default among the tested after each round of 20 answers from the pool."""
    said = {int(seed): True for seed in seeds}
    out = []
    for _ in range(rounds + 1):
        liked, disliked = (np.array([a for a, v in said.items() if v is kind], np.int64) for kind in (True, False))
        scores = rank(view, Feedback(liked, disliked)).scores
        out.append(float(truth[tested[np.argsort(-scores[tested], kind="stable")][:at]].mean()))
        fresh = [i for i in pool[np.argsort(-scores[pool], kind="stable")].tolist() if i not in said]
        said |= {i: bool(truth[i]) for i in fresh[:20]}
    return out


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("what", "margin", "taught"), [("pedestrian", 0.02, 0.05), ("bicyclist", 0.015, -0.02)])
def test_mining_beats_plain_search_and_learns(
    camvid: tuple[View, list[dict[str, str]]], what: str, margin: float, taught: float
) -> None:
    """Of bicyclists, in 48 frames and mostly tiny, answers teach nothing sure of other frames; they must not harm."""
    view, lines = camvid
    drive = np.asarray([line["sequence"] for line in lines])
    step = np.concatenate([np.arange((drive == name).sum()) for name in dict.fromkeys(drive.tolist())])
    truth = np.asarray([float(line[f"frac_{what}"]) >= 0.002 for line in lines])
    ahead, learned = [], []
    for draw in range(16):
        seeds = np.sort(np.random.default_rng(draw).choice(np.flatnonzero(truth), 5, replace=False))
        near = np.zeros(len(lines), np.bool_)
        for seed in seeds:
            near |= (drive == drive[seed]) & (np.abs(step - step[seed]) <= 3)
        pool = np.flatnonzero(~near)
        plain = rank(View(view.vectors), Feedback(seeds, NONE), "mean").scores
        nearest = float(truth[pool[np.argsort(-plain[pool], kind="stable")][:50]].mean())
        ahead.append(precisions(view, truth, pool, pool, seeds, at=50, rounds=0)[0] - nearest)
        for side in (0, 1):  # answers from every other stretch of ten frames, tested on the stretches between
            is_tested = step[pool] // 10 % 2 == side
            found = precisions(view, truth, pool[~is_tested], pool[is_tested], seeds, at=25, rounds=3)
            learned.append(found[3] - found[0])
    assert np.mean(ahead) > margin
    assert np.mean(learned) > taught
