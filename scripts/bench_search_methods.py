"""Rocchio, probe, max and plain cosine on labelled photographs: precision at 10 with a few examples.

    python scripts/bench_search_methods.py FOLDER      # a folder with one folder of images for each class

For each class: some random positives, and as negatives the wrong ones among the first hits of plain search from the
first positive, as a person would mark them. Precision@10 is the share of the class among the first ten hits, examples
left out, with a 95 % interval over classes and draws (bootstrap).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from curator import pipeline
from curator.config import load
from curator.searching import Example, Request, Served, open_served
from curator.workspace import open_workspace

K = 10
DRAWS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = load(None, [f"embed.model={asked.model}", "sources.labels_from_folders=true"])
        for stage in ("ingest", "embed"):
            pipeline.run_one(stage, Path(name) / "w", settings, sources=[str(asked.folder)])
        served = open_served(open_workspace(Path(name) / "w"))
        labels = np.asarray(served.column("label").to_pylist(), object)
        n = len(served.space())
        print(f"{n} images, {len(set(labels))} classes, {asked.model}; precision@{K} with 95 % interval")
        print(f"{'method':<28} " + " ".join(f"{f'{p} like, {q} unlike':>22}" for p, q in SETTINGS))
        for method, more in METHODS.items():
            cells = [shown(scores(served, labels, p, q, more)) for p, q in SETTINGS]
            print(f"{method:<28} " + " ".join(f"{cell:>22}" for cell in cells), flush=True)


SETTINGS = ((1, 0), (3, 0), (3, 3), (8, 8))
METHODS: dict[str, dict[str, Any]] = {
    "rocchio": {}, "rocchio, centred": {"centred": True},
    "probe": {"method": "probe"}, "probe, centred": {"method": "probe", "centred": True},
    "max": {"method": "max"}, "max, centred": {"method": "max", "centred": True},
}  # fmt: skip


def scores(served: Served, labels: Any, n_likes: int, n_dislikes: int, more: dict[str, Any]) -> list[float]:
    """Precision of each class and draw; one without enough wrong hits takes those there are."""
    rng = np.random.default_rng(0)
    found = []
    for label in sorted(set(labels)):
        own = np.flatnonzero(labels == label)
        for _ in range(DRAWS):
            likes = rng.permutation(own)[:n_likes].tolist()
            first = served.search(Request((Example(row=likes[0]),), k=50)).hits
            wrong = [hit.row for hit in first if labels[hit.row] != label][:n_dislikes]
            dislikes = () if more.get("method") == "max" else tuple(Example(row=row) for row in wrong)
            hits = served.search(Request(tuple(Example(row=row) for row in likes), dislikes, k=K, **more)).hits
            found.append(float(np.mean([labels[hit.row] == label for hit in hits])))
    return found


def shown(found: list[float]) -> str:
    rng = np.random.default_rng(1)
    drawn = rng.choice(found, size=(2_000, len(found))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{np.mean(found):.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()
