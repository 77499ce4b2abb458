"""A small real workspace for the service's tests, made once per process by the whole pipeline."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from curator import pipeline
from curator.config import load
from tests.conftest import picture

SETTINGS = (
    "embed.model=colour", "map.kind=pca", "report.n_random=3", "index.neighbors=5", "workers=1", "select.budget=6",
    "sources.labels_from_folders=true",
)  # fmt: skip
N_PICTURES = 24
N_COPIES = 6
BROKEN = "broken.jpg"


@cache
def small_root() -> Path:
    """A folder with the workspace `street`: 24 pictures in two folders, 6 re-encoded copies, one broken file.

    Shared by the tests of a process: those that write a workspace copy it first.
    """
    root = Path(tempfile.mkdtemp(prefix="curator-test-"))
    make_footage(root / "footage")
    (root / "served").mkdir()
    pipeline.run([str(root / "footage")], root / "served" / "street", load(None, list(SETTINGS)))
    return root / "served"


def make_footage(folder: Path, *, n: int = N_PICTURES, seed: int = 0) -> Path:
    """Pictures in `car/` and `bus/`, copies of some in lower quality, and a file that is no image."""
    rng = np.random.default_rng(seed)
    for at in range(n):
        path = folder / ("car" if at % 2 else "bus") / f"{at:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = picture(rng, width=160, height=120)
        shown.save(path, quality=92)
        if at < N_COPIES:
            smaller = shown.resize((150, 112), Image.Resampling.LANCZOS)
            smaller.save(path.with_name(f"{at:02d}-copy.jpg"), quality=60)
    (folder / "car" / BROKEN).write_bytes(b"this is no image")
    return folder
