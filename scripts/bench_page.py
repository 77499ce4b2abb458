"""The page at size: first tile, map, scrolling and memory in a real browser with software rendering.

usage: python scripts/bench_page.py [--n 200000] [--seconds 10] [--folder DIR]

Makes a synthetic workspace with a map and thumbnails (kept in --folder, so that a second run starts at once), starts
the real server on it and drives headless Chromium. Beside it, in the same run: an embed of the same points drawn by
plain regl-scatterplot. Server and browser share the machine's cores.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _parts import processor
from _workspaces import synthetic_workspace
from PIL import Image

from curator.snapshot import Entry
from curator.workspace import Workspace
from tests.browser import browser
from tests.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WEB = Path(__file__).resolve().parents[1] / "service" / "web"
DIM = 32
LOADS = 5
N_PICTURES = 256  # distinct thumbnails, shared by all rows
# measured in the page: what drives the browser looks only now and then, and the page waits while it does
TILES = """(function look(now) {
    const there = [...document.querySelectorAll('.tile img')].filter(one => one.complete && one.naturalWidth)
    if (there.length >= 6) window.sixTiles = now / 1000
    else requestAnimationFrame(look)
})(0)"""
DRAWN = "(performance.getEntriesByName('map-drawn')[0]?.startTime ?? 0) / 1000"
COUNTED = """() => {
    window.counted = []
    let clicked
    document.addEventListener('click', () => { clicked = performance.now(); window.counted.push(null) }, true)
    new MutationObserver(() => window.counted.splice(-1, 1, performance.now() - clicked))
        .observe(document.querySelector('.counts'), {subtree: true, childList: true, characterData: true})
}"""
LONG_TASKS = """() => {
    window.long = []
    new PerformanceObserver(list => window.long.push(...list.getEntries().map(one => one.duration)))
        .observe({type: 'longtask', buffered: false})
}"""
SCROLL = """seconds => new Promise(done => {
    const grid = document.querySelector('.grid'), began = performance.now()
    let frames = 0, last = began, worst = 0
    const step = now => {
        worst = Math.max(worst, now - last); last = now; frames++
        grid.scrollTop += 90
        if (now - began < 1000 * seconds) requestAnimationFrame(step)
        else done({fps: 1000 * frames / (now - began), worst})
    }
    requestAnimationFrame(step)
})"""
FRAMES = """seconds => new Promise(done => {
    const began = performance.now(); let frames = 0
    const step = now => {
        frames++
        now - began < 1000 * seconds ? requestAnimationFrame(step) : done(1000 * frames / (now - began))
    }
    requestAnimationFrame(step)
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of scrolling, and of moving the map")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "curator-bench-page")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    folder = asked.folder / f"rows-{asked.n}"
    with_pictures(synthetic_workspace(folder, asked.n, DIM))
    print(f"{processor()}; {asked.n:,} rows, headless Chromium with software rendering at 1440 x 900; "
          "server and browser share the cores\n")  # fmt: skip
    with serving(folder) as server, browser() as opened:
        address, ws = server.address, folder.name
        warmed = urllib.request.urlopen(f"{address}/v1/workspaces/{ws}/map", timeout=300).read()
        codes = urllib.request.urlopen(f"{address}/v1/workspaces/{ws}/columns/cluster/codes", timeout=300).read()
        our_map = ours(opened, f"{address}/?ws={ws}&view=explore&color=cluster", asked.seconds)
        plain(opened, warmed, codes, our_map, asked.seconds)


def with_pictures(place: Workspace) -> None:
    """Add what the page shows beside rows: places on a map, and thumbnails."""
    if place.entries("thumbs"):
        return
    n, rng = place.n_rows, np.random.default_rng(0)
    centres = rng.normal(0, 10, (200, 2))
    places = (centres[rng.integers(200, size=n)] + rng.normal(0, 0.6, (n, 2))).astype(np.float32)
    pictures = [thumbnail(rng) for _ in range(N_PICTURES)]
    with place.writing("pictures") as writer:
        writer.write_table(
            "columns/map-bench.parquet", pa.table({"row": np.arange(n), "x": places[:, 0], "y": places[:, 1]})
        )
        entries: list[Entry] = []
        for part, entry in enumerate(place.entries("samples")):
            first = part * 65_536
            rows = np.arange(first, first + int(entry.n or 0))
            table = pa.table(
                {"row": rows, "thumbnail": pa.array([pictures[row % N_PICTURES] for row in rows.tolist()], pa.binary())}
            )
            file = f"thumbs/{part:05d}-bench.parquet"  # in groups of a thousand, as the real ones
            writer.write(file, functools.partial(pq.write_table, table, row_group_size=1_000))
            entries.append(Entry(file, "bench", part=part, n=len(rows)))
        writer.publish({"columns/map": [Entry("columns/map-bench.parquet", "bench", n=n)], "thumbs": entries})


def thumbnail(rng: np.random.Generator) -> bytes:
    """A smooth picture of 256 px as JPEG."""
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    out = io.BytesIO()
    coarse.resize((256, 192), Image.Resampling.BICUBIC).save(out, "JPEG", quality=60)
    return out.getvalue()


# -- our page ----------------------------------------------------------------------------------------------------------


def ours(opened: Browser, url: str, seconds: float) -> dict[str, float]:
    """Print everything about our page; returns what is compared."""
    profile = opened.new_context(viewport={"width": 1440, "height": 900})
    page = profile.new_page()
    page.goto(url)  # once unmeasured: the server reads its columns at the first question
    page.locator(".tile img").first.wait_for(timeout=300_000)
    profile.close()
    requests: list[Any] = []
    firsts: dict[str, list[float]] = {"cold": [], "warm": []}
    maps: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(LOADS):
        profile = opened.new_context(viewport={"width": 1440, "height": 900})
        profile.add_init_script(TILES)
        page = profile.new_page()
        page.set_default_timeout(120_000)
        requests.clear()
        page.on("requestfinished", lambda one: requests.append(one))  # it sets a name on what it is given
        for how in ("cold", "warm"):
            page.goto(url) if how == "cold" else page.reload()
            firsts[how].append(said(page, "window.sixTiles"))
            maps[how].append(said(page, DRAWN))
            page.wait_for_timeout(2000)
            if how == "cold":
                before = requests[: next(at for at, one in enumerate(requests) if one.url.endswith("/images/pack"))]
                kilobytes = sum(one.sizes()["responseBodySize"] for one in before) / 1000
        if len(maps["warm"]) < LOADS:
            profile.close()
    for how in ("cold", "warm"):
        print(f"{how:<5} six tiles after {np.median(firsts[how]):.2f} s ({spread(firsts[how])}), "
              f"map drawn after {np.median(maps[how]):.2f} s ({spread(maps[how])}); {LOADS} loads")  # fmt: skip
    print(f"before the first pictures: {len(before)} requests, {kilobytes:.0f} KB")
    scrolling(page, seconds)
    clauses(page)
    fps = moving(page, page.get_by_role("application"), seconds)
    print(f"map moved by the pointer: {fps:.0f} frames/s")
    to_the_end(page)
    profile.close()
    return {"drawn": float(np.median(maps["cold"])), "fps": fps}


def spread(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f}"


def said(page: Page, what: str) -> float:
    """Wait until a page has a number; asked for seldom, since asking takes its time."""
    until = time.monotonic() + 120
    while not (number := page.evaluate(what)):
        if time.monotonic() > until:
            raise TimeoutError(f"{what} is {number!r} after two minutes")
        page.wait_for_timeout(200)
    return float(number)


def scrolling(page: Page, seconds: float) -> None:
    page.evaluate(LONG_TASKS)
    told = page.evaluate(SCROLL, seconds)
    long = np.asarray(page.evaluate("window.long"), float)
    print(f"scrolling {seconds:g} s at 90 px a frame: {told['fps']:.0f} frames/s, worst frame {told['worst']:.0f} ms; "
          f"{len(long)} tasks over 50 ms ({long.sum() / (10 * seconds):.1f} % of the time), "
          f"longest {long.max(initial=0):.0f} ms")  # fmt: skip


def clauses(page: Page) -> None:
    box = page.get_by_role("region", name="duplicate").get_by_role("checkbox").first
    box.wait_for()
    page.evaluate(COUNTED)
    for _ in range(5):
        box.click()
        page.wait_for_timeout(1500)
    print(f"a condition changed: new count after {np.median(page.evaluate('window.counted')):.0f} ms")


def moving(page: Page, canvas: Any, seconds: float) -> float:
    """Frames a second while the pointer drags the map."""
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(f"window.fps = ({FRAMES})({seconds}); undefined")
    end = time.perf_counter() + seconds
    at = 0
    while time.perf_counter() < end:
        at += 1
        page.mouse.move(x + 60 * np.sin(at / 9), y + 60 * np.cos(at / 7))
    page.mouse.up()
    return float(page.evaluate("window.fps"))


def to_the_end(page: Page) -> None:
    page.wait_for_timeout(2000)  # the last frames of the map
    began = time.perf_counter()
    page.locator(".tile").first.focus()
    page.keyboard.press("End")
    page.locator(".tile.focused img").wait_for()
    jump = 1000 * (time.perf_counter() - began)
    for share in np.linspace(0, 1, 200):
        page.evaluate(
            "share => { const g = document.querySelector('.grid'); g.scrollTop = share * g.scrollHeight }", float(share)
        )
        page.wait_for_timeout(30)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    nodes = page.evaluate("document.querySelectorAll('*').length")
    print(f"jump to the last image: {jump:.0f} ms; after scrolling through all: "
          f"{metrics['JSHeapUsedSize'] / 1e6:.0f} MB of JavaScript heap, {nodes:,} elements")  # fmt: skip


# -- plain regl-scatterplot --------------------------------------------------------------------------------------------


def plain(opened: Browser, places: bytes, codes: bytes, our_map: dict[str, float], seconds: float) -> None:
    """The same points beside, in the same browser."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "npx",
            "vite",
            "build",
            "--config",
            "bench/vite.config.ts",
            "--outDir",
            folder,
            "--emptyOutDir",
            "--logLevel",
            "error",
        ]
        subprocess.run(command, cwd=WEB, check=True)
        (Path(folder) / "map.bin").write_bytes(places)
        (Path(folder) / "codes.bin").write_bytes(codes)
        with files(Path(folder)) as address:
            page = opened.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(120_000)
            page.goto(address)
            ready = said(page, DRAWN)
            fps = moving(page, page.locator("canvas"), seconds)
            page.close()
    print(f"plain regl-scatterplot: drawn after {ready:.2f} s, {fps:.0f} frames/s while moved; "
          f"ours, the whole page: {our_map['drawn'] / ready:.2f} x the time, "
          f"{our_map['fps'] / fps:.1f} x the frames")  # fmt: skip


@contextmanager
def files(folder: Path) -> Iterator[str]:
    """A folder over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
