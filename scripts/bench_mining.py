"""Find more frames like five failing ones on real driving footage: precision at 50 over rounds of feedback.

usage: python scripts/bench_mining.py [--seeds 40] [--what bicyclist] [--data DIR] [--near 3] [--no-tiles]

Data: CamVid, 251 frames of two drives with pixel masks, so which frames show a pedestrian (a bicyclist) is known
exactly: those of which at least 0.2 % of the pixels are one. Five such frames are the failures; frames within three
steps of one are left out, since they flatter every method. Each round ranks the pool, answers the best --batch frames
not answered before from the masks, and ranks again. Mean over draws of the five, with 95 % intervals. Printed, twice:

- over the whole pool: precision at 50, with answered frames where the ranking puts them, and how many are found by
  then. What was answered is learned from, so a rise here is partly memory.
- on frames never answered: stretches of ten frames in turn are answered from and tested on (both ways round), and
  precision at 25 is of the tested ones. A rise here is what the answers teach about other frames.

Frames near a seed are counted in as well with --near 0.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from curator import pipeline
from curator.config import load
from curator.data import IntArray
from curator.mining.campaigns import view_of
from curator.mining.ranking import Feedback, View, rank
from curator.searching import open_served
from curator.workspace import open_workspace

AT, AT_HELD = 50, 25
STRETCH = 10  # frames of a drive that are answered or tested together
LEAST = 0.002  # share of the frame's pixels
ROUNDS = 3
N_SEEDS = 5
Results = dict[str, list[tuple[list[float], list[int]]]]


def footage(data: Path, folder: Path, tiles: bool, grid: int, share: float) -> tuple[View, list[dict[str, str]]]:
    """Embed the frames by the pipeline; rows in the order of frames.csv."""
    config = load(None, ["workers=1", "threads=1", "map.kind=pca", f"tiles.grid={grid}", f"tiles.share={share}"])
    with (data / "frames.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    table = folder / "frames.csv"
    table.write_text("uri\n" + "\n".join(str(data / line["file"]) for line in lines) + "\n", encoding="utf-8")
    workspace = folder / "camvid"
    pipeline.run_one("ingest", workspace, config, sources=[str(table)])
    pipeline.run_one("embed", workspace, config)
    if tiles:
        pipeline.tile(workspace, config)
    served = open_served(open_workspace(workspace))
    return view_of(served, served.space().name), lines


def forest(view: View, feedback: Feedback, seed: int) -> NDArray[np.float64]:
    """A random forest on the answers and a random background, the few-shot classifier that others offer."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    background = rng.choice(len(view.vectors), min(100, len(view.vectors)), replace=False)
    others = np.union1d(feedback.negatives, np.setdiff1d(background, feedback.positives))
    rows = np.concatenate([feedback.positives, others])
    truth = np.arange(len(rows)) < len(feedback.positives)
    model = RandomForestClassifier(200, class_weight="balanced", random_state=seed, n_jobs=1)
    found: NDArray[np.float64] = model.fit(view.vectors[rows], truth).predict_proba(view.vectors)[:, 1]
    return found


def scores_of(way: str, view: View, feedback: Feedback, seed: int) -> NDArray[np.float64]:
    if way == "random":
        return np.random.default_rng(seed).random(len(view.vectors))
    if way == "random forest":
        return forest(view, feedback, seed)
    plain = View(view.vectors)
    if way == "plain nearest neighbours":
        return rank(plain, Feedback(feedback.positives, np.empty(0, np.int64)), "mean").scores
    if way == "centred similarity":
        return rank(plain, feedback, "centred").scores
    if way == "max similarity":
        return rank(plain, feedback, "max").scores
    if way == "ours without tiles":
        return rank(plain, feedback).scores
    return rank(view, feedback).scores


def one_run(
    way: str, view: View, truth: Any, pool: IntArray, tested: IntArray, seeds: IntArray, seed: int, batch: int
) -> tuple[list[float], list[int]]:
    """Precision among the tested and frames found in the pool after 0, 1, 2 and 3 rounds."""
    at_most = AT if tested is pool else AT_HELD
    positives: list[int] = seeds.tolist()
    negatives: list[int] = []
    precision: list[float] = []
    found: list[int] = []
    for _ in range(ROUNDS + 1):
        feedback = Feedback(np.asarray(positives, np.int64), np.asarray(negatives, np.int64))
        scores = scores_of(way, view, feedback, seed)
        order = pool[np.argsort(-scores[pool], kind="stable")]
        best = tested[np.argsort(-scores[tested], kind="stable")][:at_most]
        precision.append(float(truth[best].mean()))
        found.append(len(positives) - len(seeds))
        said = {*positives, *negatives}
        for at in [at for at in order.tolist() if at not in said][:batch]:
            (positives if truth[at] else negatives).append(at)
    return precision, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="draws of the five failing frames")
    parser.add_argument("--what", nargs="+", default=["pedestrian", "bicyclist"], help="columns frac_... of frames.csv")
    parser.add_argument("--batch", type=int, default=20, help="frames answered in a round")
    parser.add_argument("--near", type=int, default=3, help="steps from a seed within which frames are left out")
    parser.add_argument("--grid", type=int, default=3, help="tiles across and down")
    parser.add_argument("--share", type=float, default=0.5, help="side of a tile as a share of the frame's")
    parser.add_argument("--no-tiles", action="store_true")
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CURATOR_TEST_DATA", shared)) / "video/camvid")
    asked = parser.parse_args()
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        view, lines = footage(asked.data, Path(folder), not asked.no_tiles, asked.grid, asked.share)
    print(f"{len(lines)} frames, {0 if view.tiles is None else len(view.tiles)} tiles, "
          f"{time.process_time() - started:.0f} CPU s to read and embed; {asked.seeds} draws of {N_SEEDS} failing "
          f"frames, {asked.batch} answers a round\n")  # fmt: skip
    sequence = np.asarray([line["sequence"] for line in lines])
    step = np.concatenate([np.arange((sequence == name).sum()) for name in dict.fromkeys(sequence.tolist())])
    ways = ["random", "plain nearest neighbours", "centred similarity", "max similarity", "random forest"]
    ways += ["ours without tiles", *([] if view.tiles is None else ["ours"])]
    for what in asked.what:
        truth = np.asarray([float(line[f"frac_{what}"]) >= LEAST for line in lines])
        everywhere: Results = {way: [] for way in ways}
        elsewhere: Results = {way: [] for way in ways}
        for draw in range(asked.seeds):
            seeds = np.sort(np.random.default_rng(draw).choice(np.flatnonzero(truth), N_SEEDS, replace=False))
            near = np.isin(np.arange(len(lines)), seeds)
            for seed in seeds:
                near |= (sequence == sequence[seed]) & (np.abs(step - step[seed]) <= asked.near)
            pool = np.flatnonzero(~near)
            for way in ways:
                everywhere[way].append(one_run(way, view, truth, pool, pool, seeds, draw, asked.batch))
                sides = []
                for side in (0, 1):
                    is_tested = step[pool] // STRETCH % 2 == side
                    sides.append(one_run(way, view, truth, pool[~is_tested], pool[is_tested], seeds, draw, asked.batch))
                precision, found = (np.mean(parts, axis=0).tolist() for parts in zip(*sides, strict=True))
                elsewhere[way].append((precision, found))  # one number a draw: its sides share the seeds
        share = float(np.mean(truth[pool]))
        print(f"{what}: {int(truth.sum())} of {len(truth)} frames; {share:.2f} of the last draw's pool\n")
        show(f"precision at {AT}, whole pool", everywhere)
        show(f"precision at {AT_HELD}, never answered", elsewhere)
        sys.stdout.flush()


def show(what: str, results: Results) -> None:
    """Means over the draws, with 95 % intervals."""
    print(f"{what:<34}" + "".join(f"{n} rounds".rjust(16) for n in range(ROUNDS + 1)) + "   found by then")
    plain = np.asarray([precision for precision, _ in results["plain nearest neighbours"]])
    for way, runs in results.items():
        precision = np.asarray([one for one, _ in runs])
        found = np.asarray([n for _, n in runs]).mean(axis=0)
        half = 1.96 * precision.std(axis=0) / len(runs) ** 0.5
        cells = "".join(f"{m:.3f} ± {h:.3f}".rjust(16) for m, h in zip(precision.mean(axis=0), half, strict=True))
        print(f"{way:<34}{cells}   " + " ".join(f"{n:.0f}" for n in found))
        if way.startswith("ours"):
            ahead = precision[:, 0] - plain[:, 0]
            steps = np.diff(precision, axis=1)
            told = " ".join(
                f"{m:+.3f} ± {1.96 * s / len(runs) ** 0.5:.3f}"
                for m, s in zip(steps.mean(axis=0), steps.std(axis=0), strict=True)
            )
            half_ahead = 1.96 * ahead.std() / len(runs) ** 0.5
            print(f"{'':<34}round 0 over plain, draw by draw: {ahead.mean():+.3f} ± {half_ahead:.3f}; "
                  f"each round adds {told}")  # fmt: skip
    print()


if __name__ == "__main__":
    main()
