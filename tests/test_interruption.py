"""Killed anywhere, run again: the same rows, vectors and tables as an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator.catalog import Catalog
from curator.errors import NotAWorkspace
from curator.workspace import Workspace, open_workspace
from tests.conftest import picture

KILLS = 28
MOST = 100  # runs, of which some may get through
N_IMAGES = 2_300  # more than two staged batches of 1,024
SETTINGS = ["embed.model=colour", "map.kind=pca", "select.budget=20", "report.n_random=3", "workers=2"]
CODE = """
import sys
from curator import pipeline
from curator.config import load
pipeline.run([sys.argv[1]], sys.argv[2], load(None, sys.argv[3:]))
"""


def start(source: Path, place: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CODE, str(source), str(place), *SETTINGS], stderr=subprocess.PIPE)


def contents(place: Workspace) -> dict[str, Any]:
    embeddings = place.embeddings()
    rows, graph = place.neighbors()
    with Catalog(place) as catalog:
        table = catalog.table().to_pylist()
    return {
        "table": table, "rows": embeddings.rows.tolist(), "vectors": embeddings.vectors.tobytes(),
        "graph": (rows.tolist(), graph.positions.tobytes(), graph.similarity.tobytes()),
        "selection": (place.selection("selection").rows.tolist(), place.selection("selection").reasons),
        "thumbnails": place.thumbnails(range(0, place.n_rows, 97)),
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    source = tmp_path / "images"
    source.mkdir()
    for i in range(200):
        picture(rng, width=48, height=32).save(source / f"{i:04d}.jpg")
    for i in range(200, N_IMAGES):  # hard links: many files, little disk
        os.link(source / f"{i % 200:04d}.jpg", source / f"{i:04d}.jpg")
    (source / "0007.jpg").unlink()
    (source / "0007.jpg").write_text("no picture")

    began = time.monotonic()
    with start(source, tmp_path / "whole") as whole:
        assert whole.wait(timeout=600) == 0, whole.stderr and whole.stderr.read()
    seconds = time.monotonic() - began
    wanted = contents(open_workspace(tmp_path / "whole"))

    place = tmp_path / "killed"
    killed = snapshots = 0
    for share in rng.uniform(0.1, 1.0, MOST):
        if killed == KILLS:
            break
        began = time.monotonic()
        with start(source, place) as victim:
            try:
                victim.wait(timeout=float(share * seconds))
            except subprocess.TimeoutExpired:
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                killed += 1
            else:
                assert victim.returncode == 0, victim.stderr and victim.stderr.read()
                import shutil

                shutil.rmtree(place)  # it got through: begin again, so that later kills meet unfinished work too
                seconds = min(seconds, time.monotonic() - began)  # the machine is less busy than before
                continue
        try:
            with Catalog(open_workspace(place)) as catalog:  # whatever it left can be read
                catalog.table()
            snapshots += 1
        except NotAWorkspace:
            pass  # killed before its first publish
    assert killed == KILLS
    assert snapshots > 0
    with start(source, place) as last:
        assert last.wait(timeout=600) == 0, last.stderr and last.stderr.read()
    assert contents(open_workspace(place)) == wanted
    assert not (place / "staging").exists()
    assert not list(place.rglob("*.tmp"))


def test_a_reader_opened_during_a_write_sees_the_old_snapshot_whole(tmp_path: Path, image_folder: Path) -> None:
    from curator import pipeline
    from curator.config import load

    config = load(None, [*SETTINGS[:-1], "select.budget=3"])
    pipeline.run([str(image_folder)], tmp_path / "w", config)
    reader = open_workspace(tmp_path / "w")
    before = contents(reader)
    seen = []

    def progress(stage: str, done: int, total: int | None) -> None:
        seen.append(contents(reader) == before)

    picture(np.random.default_rng(9)).save(image_folder / "new.jpg")
    pipeline.run(
        [], tmp_path / "w", load(None, [*SETTINGS[:-1], "neardups.threshold=0.6", "select.budget=3"]), progress=progress
    )
    assert seen
    assert all(seen)
    assert contents(reader) == before
    assert open_workspace(tmp_path / "w").n_rows == reader.n_rows + 1
