"""Fixtures every test may use: a seeded generator, small images, the real data where it is at hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.browser import Visit
    from tests.serving import Server

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what ends in & so, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_DATA = Path(os.environ.get("CURATOR_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where they are absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data sets are not at {REAL_DATA}; set CURATOR_TEST_DATA to their folder")
    return REAL_DATA


def picture(rng: np.random.Generator, *, width: int = 96, height: int = 64) -> Image.Image:
    """A smooth random picture: coarse noise blown up, so that re-encodings stay close to it."""
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def image_folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twelve small JPEGs of distinct content, in two folders."""
    folder = tmp_path / "images"
    for i in range(12):
        path = folder / ("a" if i < 6 else "b") / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(rng).save(path, quality=90)
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; tests that ask for it are skipped, with the reason, where there is none."""
    from tests.browser import browser

    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page_server(chromium: Any) -> Iterator[Server]:
    """A server over a copy of the page's workspace, shared by the tests of a module."""
    from tests.browser import copied_root
    from tests.serving import serving

    with copied_root() as root, serving(root) as server:
        yield server


@pytest.fixture
def visit(chromium: Any, page_server: Server) -> Iterator[Visit]:
    """A page of a fresh profile at 1440 px."""
    from tests.browser import visiting

    with visiting(chromium, page_server.address) as opened:
        yield opened


@pytest.fixture
def client(page_server: Server) -> Iterator[Any]:
    """The same server, asked from Python."""
    import curator

    with curator.Client(page_server.address) as opened:
        yield opened
