"""Runs beyond starting a stage: history, live log, stopping and going on, a folder of the server, the report."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import curator
from curator.state import open_state
from tests.browser import WIDE, Visit, copied_root, share_of_readable, visiting
from tests.conftest import REAL_DATA
from tests.serving import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
WS = "street"


@pytest.fixture(scope="module")
def own_root() -> Iterator[Path]:
    with copied_root() as root:
        yield root


@pytest.fixture(scope="module")
def page_server(chromium: Browser, own_root: Path) -> Iterator[Server]:
    """One that may read a folder beside its root."""
    folder = own_root.parent / "more"
    folder.mkdir()
    with serving(own_root, "--ingest-root", str(folder)) as server:
        yield server


def card(page: Page, kind: str) -> Any:
    return page.get_by_role("article", name=f"Job {kind}").first


def test_the_history_tells_what_ran_and_grows_with_a_run(visit: Visit, client: curator.Client) -> None:
    page = visit.open("runs")
    history = page.locator("section", has=page.get_by_role("heading", name="History"))
    history.get_by_role("listitem").first.wait_for()
    ran = client.runs(WS, limit=200)
    assert history.get_by_role("listitem").count() == min(10, len(ran))
    row = page.get_by_role("row", name=re.compile("^index "))
    row.get_by_text(re.compile("recall")).wait_for()  # also what ran long ago has its last run
    job = client.select(WS, name="ten", budget=10)  # asked for elsewhere: the page sees it too
    client.wait(job["id"])
    newest = history.get_by_role("listitem").first
    newest.get_by_text(re.compile("just now.*10 selected")).wait_for()
    page.get_by_role("row", name=re.compile("^select ")).get_by_text("just now").wait_for()
    assert client.runs(WS, limit=1)[0]["stage"] == "select"


def test_a_job_is_stopped_and_goes_on_and_its_log_is_seen(visit: Visit, client: curator.Client) -> None:
    page = visit.open("runs")
    page.get_by_role("button", name="Run report").wait_for()
    page.get_by_role("button", name="Run map").click()
    job = card(page, "map")
    job.get_by_role("button", name="Log").click()
    job.locator("pre").wait_for()
    job.get_by_role("button", name="Cancel").click()
    job.get_by_text("cancelled", exact=True).wait_for(timeout=60_000)
    assert client.jobs(workspace=WS)[0]["state"] == "cancelled"
    job.get_by_role("button", name="Go on").click()
    page.get_by_text("goes on with an earlier one").first.wait_for()
    card(page, "map").get_by_text("done", exact=True).wait_for(timeout=120_000)
    assert client.jobs(workspace=WS)[0]["resumes"] == client.jobs(workspace=WS)[1]["id"]


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the photographs are not at {REAL_DATA}")
def test_a_folder_that_the_server_may_read_is_taken_in(visit: Visit, client: curator.Client, own_root: Path) -> None:
    folder = own_root.parent / "more"
    photos = sorted((REAL_DATA / "classification" / "caltech101_sub" / "images" / "beaver").iterdir())[:3]
    for photo in photos:
        shutil.copy(photo, folder / photo.name)
    (folder / "torn.jpg").write_bytes(photos[0].read_bytes()[:900])
    before = client.info(WS)
    page = visit.open("runs")
    page.get_by_label(re.compile("Folder or file under")).fill(str(folder))
    page.get_by_role("button", name="Read", exact=True).click()
    card(page, "run").get_by_text("done", exact=True).wait_for(timeout=180_000)
    assert client.info(WS)["rows"] == before["rows"] + 4
    page.get_by_text(f"{before['n_unreadable'] + 1} files could not be read").wait_for()
    page.get_by_text("torn.jpg").wait_for()
    page.get_by_role("link", name="see them").click()
    page.locator(".counts", has_text=re.compile(rf"In scope\s*{before['n_unreadable'] + 1}\b")).wait_for()


def test_the_report_is_shown_inside_and_is_in_the_link(visit: Visit) -> None:
    page = visit.open("runs")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**report=1**")
    page.reload()
    page.frame_locator("iframe").get_by_role("heading", name=WS).wait_for()
    page.go_back()
    page.locator("iframe").wait_for(state="detached")


def test_unreadable_files_are_copied_with_their_reasons(chromium: Browser, page_server: Server) -> None:
    with visiting(chromium, page_server.address, size=WIDE, permissions=["clipboard-read", "clipboard-write"]) as visit:
        page = visit.open("runs")
        section = page.locator("section", has=page.get_by_role("heading", name="Unreadable files"))
        section.get_by_role("button", name="Copy").click()
        page.locator(".toast", has_text="Copied").wait_for()
        text = str(page.evaluate("() => navigator.clipboard.readText()"))
        uri, reason, message = text.splitlines()[0].split("\t")
        assert uri.endswith(".jpg")
        assert reason == "not_an_image"
        assert message


def test_a_reader_is_told_why_nothing_can_be_started(chromium: Browser, own_root: Path) -> None:
    with open_state(own_root) as state:
        _, secret = state.tokens.create("rea", "reader")
    with serving(own_root, "--require-token") as server, visiting(chromium, server.address) as visit:
        page = visit.open("runs")
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Run map").wait_for()
        for name in (re.compile("^Run "), "Keep as it is now", "Read"):
            for button in page.get_by_role("button", name=name).all():
                assert button.is_disabled()
        assert "reader" in str(page.get_by_role("button", name="Run map").get_attribute("title"))
        visit.open("select")
        with curator.Client(server.address, token=secret) as client:
            default = f"Select {share_of_readable(client, 5)}"
        page.get_by_role("button", name=default, exact=True).wait_for()
        assert page.get_by_role("button", name=default, exact=True).is_disabled()
        page.get_by_role("link", name=re.compile("^Export ")).wait_for()  # to look and to take along is a reader's
