"""The page where things go wrong: no token, an ended one, a server that restarts, two people, a slow line."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import curator
from curator.state import open_state
from tests.browser import Visit, copied_root, visiting
from tests.serving import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
WS = "street"


@pytest.fixture(scope="module")
def own_root() -> Iterator[Path]:
    with copied_root() as root:
        yield root


def tiles(page: Page) -> None:
    page.locator(".tile img").first.wait_for()


def tag(page: Page, name: str) -> None:
    page.keyboard.press("t")
    page.get_by_label("Tag", exact=True).fill(name)
    page.keyboard.press("Enter")


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_refused_and_taken_and_what_waited_goes_on(chromium: Browser, own_root: Path) -> None:
    with open_state(own_root) as state:
        _, secret = state.tokens.create("ann", "reviewer")
    with serving(own_root, "--require-token") as server, visiting(chromium, server.address) as visit:
        page = visit.open(filter='[{"column":"duplicate","in":["kept"]}]')
        page.get_by_label("Token").fill("curator_wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("unknown, revoked or expired").wait_for()
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        tiles(page)
        assert "duplicate" in page.url  # the link that was followed still holds
        page.reload()
        tiles(page)  # the session is a cookie
        # it ends while the page is open: the page stays and asks, and what waited goes on
        with open_state(own_root) as state:
            state.tokens.revoke("ann")
            _, again = state.tokens.create("ben", "reviewer")
        page.get_by_label("Token").wait_for()
        assert page.locator(".tile img").count() > 0
        page.get_by_label("Token").fill(again)
        page.get_by_role("button", name="Sign in").click()
        page.locator(".tile").nth(2).click()
        page.keyboard.press("Space")
        tag(page, "late")
        page.locator(".toast", has_text="1 image tagged late").wait_for()
        with curator.Client(server.address, again) as client:
            assert client.decisions(WS, kind="tag", subject="late")[0]["who"] == "ben"


def test_a_reader_sees_everything_and_can_change_nothing(chromium: Browser, own_root: Path) -> None:
    with open_state(own_root) as state:
        _, reader = state.tokens.create("rea", "reader")
    with serving(own_root, "--require-token") as server, visiting(chromium, server.address) as visit:
        page = visit.open(selected="1-3")
        page.get_by_label("Token").fill(reader)
        page.get_by_role("button", name="Sign in").click()
        tiles(page)
        button = page.get_by_role("button", name=re.compile("^Tag"))
        assert button.is_disabled()
        assert "reader" in str(button.get_attribute("title"))
        page.keyboard.press("t")
        assert page.get_by_role("dialog").count() == 0
        visit.open("duplicates")
        page.get_by_role("button", name=re.compile("^Confirm group")).wait_for()
        assert page.get_by_role("button", name=re.compile("^Confirm group")).is_disabled()
        visit.open("runs")
        page.get_by_role("button", name="Run map").wait_for()
        assert page.get_by_role("button", name="Run map").is_disabled()


# -- a server that goes away -------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_is_decided_while_the_server_is_away_is_sent_once_when_it_is_back(
    chromium: Browser, own_root: Path
) -> None:
    port = free_port()
    with serving(own_root, "--port", str(port)) as first, visiting(chromium, first.address) as visit:
        page = visit.open("duplicates", order="largest")
        page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
        first.kill()
        page.keyboard.press("Enter")
        page.locator(".lost").wait_for()
        page.keyboard.press("Enter")
        page.get_by_text("2 decisions wait").wait_for()
        with serving(own_root, "--port", str(port)) as second:
            page.locator(".toast", has_text="Group 2 confirmed").wait_for(timeout=60_000)
            page.locator(".lost").wait_for(state="detached")
            with curator.Client(second.address) as client:
                made = client.decisions(WS, kind="review", subject="duplicates")
                groups = client.duplicates(WS, order="largest", limit=2)["groups"]
        assert len(made) == 2  # each once, in the order in which they were made
        assert made[1]["rows"][0] == groups[0]["kept"]
        assert made[0]["rows"][0] == groups[1]["kept"]
        visit.faults.clear()  # the browser notes each refused connection


# -- two at once -------------------------------------------------------------------------------------------------------


def test_of_two_who_decide_about_one_image_the_second_is_told_who_was_first(
    chromium: Browser, visit: Visit, page_server: Server, client: curator.Client
) -> None:
    client.create_campaign(WS, "shared", rows=[80, 81, 82])
    with visiting(chromium, page_server.address) as other:
        for one in (visit, other):
            one.open("failures", name="shared", mode="1")
            one.page.get_by_role("heading", name="shared, mode 1").wait_for()
        visit.page.keyboard.press("a")
        visit.until("document.querySelector('.queue')?.textContent.includes('1 of ')")
        for _ in range(100):
            if client.decisions(WS, kind="review", subject="shared/1"):
                break
            time.sleep(0.1)
        other.page.keyboard.press("d")
        other.page.locator(".toast", has_text="Somebody decided in the meantime").wait_for()
        other.page.get_by_text(re.compile(r"0 of \d+")).wait_for()  # rolled back
    (kept,) = client.decisions(WS, kind="review", subject="shared/1")
    assert kept["value"] == "accept"


# -- a slow line -------------------------------------------------------------------------------------------------------


def test_undo_takes_back_what_is_still_on_its_way_and_not_what_was_before_it(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open()
    tiles(page)
    page.locator(".tile").nth(3).click()
    page.keyboard.press("Space")
    tag(page, "early")
    page.locator(".toast", has_text="1 image tagged early").wait_for()
    page.evaluate(  # the answer comes late
        """() => {
            const now = window.fetch
            window.fetch = async (request, init) => {
                const answer = await now(request, init)
                if (request.url?.includes('/tags/late/')) await new Promise((go) => setTimeout(go, 1500))
                return answer
            }
        }"""
    )
    tag(page, "late")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("Control+z")
    page.locator(".toast", has_text="Undone: 1 image tagged late").wait_for()
    assert {one["name"]: one["count"] for one in client.tags(WS) if one["count"]}["early"] == 1
    assert client.rows(WS, filter={"tag": "late"}, limit=1)["total"] == 0


def test_on_a_slow_line_the_page_is_usable_before_the_pictures_are_there(visit: Visit) -> None:
    slow: dict[str, Any] = {
        "offline": False, "latency": 300, "downloadThroughput": 50_000, "uploadThroughput": 50_000,
    }  # fmt: skip
    visit.page.context.new_cdp_session(visit.page).send("Network.emulateNetworkConditions", slow)
    page = visit.open()
    page.locator(".tile").first.wait_for(timeout=60_000)
    page.keyboard.press("End")  # the pictures passed over are not waited for
    page.locator(".tile.focused img").wait_for(timeout=60_000)


def test_a_workspace_that_cannot_be_used_says_so_and_others_can_be_chosen(chromium: Browser, own_root: Path) -> None:
    broken = own_root / "broken"
    broken.mkdir()
    (broken / "workspace.json").write_text("{not json")
    try:
        with serving(own_root) as server, visiting(chromium, server.address) as visit:
            page = visit.open(ws="broken")
            page.get_by_role("alert").wait_for()
            page.get_by_label("Workspace", exact=True).select_option(WS)
            tiles(page)
    finally:
        shutil.rmtree(broken)


# -- keys --------------------------------------------------------------------------------------------------------------


def test_every_key_of_the_sheet_is_in_the_sheet_and_goes_where_it_says(visit: Visit) -> None:
    page = visit.open()
    tiles(page)
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog")
    for text in ("Undo the last decision", "Find similar", "Accept", "Keep this image instead", "Lasso"):
        sheet.get_by_text(text, exact=True).first.wait_for()
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
    for key, view in (
        ("s", "search"),
        ("d", "duplicates"),
        ("p", "select"),
        ("f", "failures"),
        ("r", "runs"),
        ("e", "explore"),
    ):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(f"**view={view}**")
    tiles(page)
    page.get_by_label("Search columns").focus()
    page.keyboard.press("g")
    page.keyboard.press("r")  # somebody is typing
    assert page.get_by_label("Search columns").input_value() == "gr"
    assert "view=explore" in page.url
    page.keyboard.press("Control+k")
    page.get_by_label("Command", exact=True).fill("go to runs")
    page.keyboard.press("Enter")
    page.wait_for_url("**view=runs**")
