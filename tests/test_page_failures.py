"""Failures, as a person works through them: what is decided on the page is what the server then holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import curator
from curator.state import open_state
from tests.browser import NARROW, WIDE, Visit, copied_root, toast, visiting
from tests.conftest import picture
from tests.serving import Server, serving

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow
WS = "street"


@pytest.fixture
def campaign(client: curator.Client, request: pytest.FixtureRequest) -> str:
    """A campaign of the test's own, so that no other's answers change its order."""
    name = "c" + re.sub(r"[^a-z0-9]+", "-", request.node.name)[-50:]
    client.create_campaign(WS, name, rows=[60, 61, 62, 63], modes=1, spacing_s=0)
    return name


def opened(visit: Visit, name: str, mode: int = 1) -> Page:
    page = visit.open("failures", name=name, mode=mode)
    page.locator(".shot > img").wait_for()
    return page


def order_of(client: curator.Client, name: str, mode: int = 1) -> list[int]:
    return [hit["row"] for hit in client.next_images(WS, name, mode, k=40)["hits"]]


def said(client: curator.Client, name: str, mode: int = 1) -> dict[int, str]:
    """What holds, row by row."""
    log = client.decisions(WS, kind="review", subject=f"{name}/{mode}")
    return {row: one["value"] for one in reversed(log) for row in one["rows"]}


def shows(page: Page, row: int) -> None:
    page.get_by_alt_text(f"Image {row}", exact=True).first.wait_for()


def answered(page: Page, n: int) -> None:
    page.locator(".tally", has_text=re.compile(rf"^{n} of ")).wait_for()


def test_a_campaign_starts_from_the_scope_once_and_is_taken_away(visit: Visit, client: curator.Client) -> None:
    page = visit.open("failures", filter='[{"rows":[10,11,12]}]')
    if client.campaigns(WS):
        page.get_by_role("button", name="New campaign").click()
    page.get_by_label("Name", exact=True).fill("from scope")
    page.get_by_role("radio", name=re.compile("^The scope")).check()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("region", name="Campaign from scope").wait_for()
    assert client.campaign(WS, "from scope")["n_failures"] == 3
    assert parse_qs(urlsplit(page.url).query)["name"] == ["from scope"]
    page.get_by_role("button", name="New campaign").click()
    page.get_by_label("Name", exact=True).fill("from scope")
    page.get_by_role("radio", name=re.compile("^The scope")).check()
    page.get_by_role("button", name="Start").click()
    toast(page, "No campaign made")  # the name is taken, and the form is kept
    assert page.get_by_label("Name", exact=True).input_value() == "from scope"
    page.get_by_role("button", name="from scope").click()
    page.get_by_role("button", name="Take away").click()
    page.get_by_role("dialog").get_by_role("button", name="Take away").click()
    toast(page, "taken away")
    assert "from scope" not in [one["name"] for one in client.campaigns(WS)]


def test_a_campaign_starts_where_two_columns_differ_once_they_are_chosen(visit: Visit, client: curator.Client) -> None:
    page = visit.open("failures", filter='[{"rows":[10,11,12]}]')
    if client.campaigns(WS):
        page.get_by_role("button", name="New campaign").click()
    scope = page.get_by_role("radio", name=re.compile("^The scope"))
    scope.check()
    page.get_by_label("Label column").focus()  # passing by with the Tab key chooses nothing
    assert scope.is_checked()
    page.get_by_label("Name", exact=True).fill("mistaken")
    page.get_by_label("Label column").select_option("kind")
    page.get_by_label("Prediction column").select_option("duplicate")
    assert not scope.is_checked()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("region", name="Campaign mistaken").wait_for(timeout=60_000)
    both = client.rows(WS, filter={"column": "duplicate", "is_null": False}, limit=0)["total"]
    assert client.campaign(WS, "mistaken")["n_failures"] == both


def test_a_mind_is_changed_a_note_kept_and_the_last_answer_repeated(
    visit: Visit, client: curator.Client, campaign: str
) -> None:
    order = order_of(client, campaign)
    page = opened(visit, campaign)
    page.keyboard.press("n")
    page.get_by_label("Note").fill("a tram, not a bus")
    page.keyboard.press("Escape")  # leaves the note, not the queue
    page.keyboard.press("d")
    answered(page, 1)
    page.keyboard.press(".")
    answered(page, 2)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.locator(".said", has_text="discard").wait_for()
    shows(page, order[0])
    page.keyboard.press("a")  # another answer about the same image
    shows(page, order[2])
    answered(page, 2)
    page.keyboard.press("u")
    shows(page, order[0])
    page.locator(".said", has_text="discard").wait_for()
    log = client.decisions(WS, kind="review", subject=f"{campaign}/1")
    assert log[-1]["note"] == "a tram, not a bus"
    assert said(client, campaign) == {order[0]: "discard", order[1]: "discard"}


def test_a_held_key_decides_once(visit: Visit, client: curator.Client, campaign: str) -> None:
    page = opened(visit, campaign)
    page.keyboard.down("a")
    for _ in range(4):
        page.keyboard.down("a")  # the browser repeats it
    page.keyboard.up("a")
    answered(page, 1)
    page.wait_for_timeout(300)
    assert len(said(client, campaign)) == 1


def test_the_queue_opens_where_it_was_with_what_was_said(visit: Visit, client: curator.Client, campaign: str) -> None:
    order = order_of(client, campaign)
    page = opened(visit, campaign)
    for at, key in enumerate("ads", start=1):
        page.keyboard.press(key)
        answered(page, at)
    while len(said(client, campaign)) < 3:  # drawn at once, sent a moment later
        page.wait_for_timeout(50)
    page.reload()
    shows(page, order[3])
    answered(page, 3)
    assert page.locator(".past").count() == 3
    page.go_back()
    page.go_forward()
    shows(page, order[3])
    page.keyboard.press("Escape")
    page.get_by_role("article", name="Mode 1").get_by_text("1 accepted · 1 discarded").wait_for()
    page.go_back()
    shows(page, order[3])


def test_precision_comes_with_its_interval_from_ten_answers_on_and_ranking_again_is_offered(
    visit: Visit, client: curator.Client, campaign: str
) -> None:
    page = opened(visit, campaign)
    page.get_by_text("0 accepted · 0 discarded").wait_for()
    for at in range(20):
        page.keyboard.press("a" if at % 4 else "d")
        answered(page, at + 1)
    while client.campaign(WS, campaign)["reviewed"] < 20:
        page.wait_for_timeout(50)
    rate = client.campaign(WS, campaign)["modes"][0]["precision"]
    assert (rate["accepted"], rate["discarded"]) == (15, 5)
    low, high = (f"{100 * rate[end]:.0f}" for end in ("low", "high"))
    page.get_by_text(re.compile(rf"precision among those shown\s+75 %\s+\({low} % to {high} %\)")).wait_for()
    left = client.campaign(WS, campaign)["modes"][0]["left"]
    page.get_by_text(f"budget {left} left").wait_for()
    page.get_by_role("button", name="Rank again with them").click()
    answered(page, 0)
    shows(page, order_of(client, campaign)[0])


def test_the_end_of_an_order_sums_up_and_what_was_accepted_becomes_a_selection(
    visit: Visit, client: curator.Client
) -> None:
    pool = {"rows": list(range(200, 212))}
    client.create_campaign(WS, "short", rows=[60, 61], modes=1, pool=pool, spacing_s=0)
    order = order_of(client, "short")
    page = opened(visit, "short")
    for at in range(len(order)):
        page.keyboard.press("a" if at < 2 else "d")
        answered(page, min(at + 1, len(order)))
    page.get_by_role("heading", name="This order is done").wait_for()
    page.get_by_text(f"2 accepted, {len(order) - 2} discarded, 0 skipped.").wait_for()
    page.keyboard.press("u")  # undo reaches back over the end
    shows(page, order[-1])
    page.keyboard.press("d")
    page.get_by_role("button", name="Keep accepted as selection").click()
    toast(page, "2 accepted images kept as the selection short-to-label")
    assert [pick["row"] for pick in client.selection(WS, "short-to-label")["picks"]] == order[:2]
    page.keyboard.press("Escape")
    page.get_by_label("Name of the selection").fill("by-another-name")
    page.get_by_role("button", name="Keep accepted as selection").click()
    toast(page, "kept as the selection by-another-name")


def test_the_next_pictures_are_there_before_they_are_needed(
    visit: Visit, client: curator.Client, campaign: str
) -> None:
    order = order_of(client, campaign)
    page = opened(visit, campaign)
    page.wait_for_timeout(1000)
    asked = {int(found[1]) for url in visit.requests if (found := re.search(r"/images/(\d+)\?size=960", url))}
    assert asked == set(order[:4])


def test_a_digit_goes_to_another_mode_or_marks_in_the_batch(visit: Visit, client: curator.Client) -> None:
    client.create_campaign(WS, "two modes", rows=[60, 61, 200, 201], modes=2)
    page = opened(visit, "two modes")
    page.keyboard.press("2")
    page.get_by_role("heading", name="two modes, mode 2").wait_for()
    order = order_of(client, "two modes", 2)
    shows(page, order[0])
    page.keyboard.press("b")
    page.keyboard.press("2")
    page.get_by_role("button", name=f"Mark image {order[4]}", exact=True).click()
    page.keyboard.press("d")
    answered(page, 2)
    while not said(client, "two modes", 2):
        page.wait_for_timeout(50)
    assert said(client, "two modes", 2) == {order[1]: "discard", order[4]: "discard"}
    page.keyboard.press("u")
    answered(page, 0)
    page.get_by_role("button", name=f"Mark image {order[1]}", exact=True).wait_for()
    assert said(client, "two modes", 2) == {}


@pytest.mark.parametrize("is_mine", [True, False])
def test_of_two_tabs_the_second_sees_both_answers_and_chooses(
    chromium: Browser, visit: Visit, page_server: Server, client: curator.Client, campaign: str, is_mine: bool
) -> None:
    order = order_of(client, campaign)
    with visiting(chromium, page_server.address) as other:
        opened(visit, campaign)
        opened(other, campaign)
        visit.page.keyboard.press("a")
        answered(visit.page, 1)
        visit.until("!document.querySelector('.lost')")
        while not said(client, campaign):
            visit.page.wait_for_timeout(50)
        other.page.keyboard.press("d")
        clash = other.page.get_by_role("alertdialog")
        clash.get_by_text(re.compile(rf"said accept about image {order[0]}\s[\s\S]*You said discard")).wait_for()
        other.page.keyboard.press("d")  # waits until it is settled
        assert other.axe() == []
        clash.get_by_role("button", name="Say discard all the same" if is_mine else "Leave it as it is").click()
        shows(other.page, order[1])
        answered(other.page, 1)
        while is_mine and said(client, campaign) == {order[0]: "accept"}:
            other.page.wait_for_timeout(50)
    assert said(client, campaign) == {order[0]: "discard" if is_mine else "accept"}


def test_what_the_server_refuses_is_taken_back_from_the_screen(
    visit: Visit, client: curator.Client, campaign: str
) -> None:
    order = order_of(client, campaign)
    body = '{"error": {"code": "Full", "message": "the disk is full", "hint": "make room"}}'

    def refuse(route: Route) -> None:
        route.fulfill(status=507, body=body, content_type="application/json")

    visit.page.route("**/reviews", refuse, times=1)  # before it opens: a busy browser takes a rule up only with delay
    page = opened(visit, campaign)
    page.keyboard.press("a")
    toast(page, "the disk is full")
    shows(page, order[0])
    answered(page, 0)
    page.keyboard.press("a")
    answered(page, 1)


def test_triggers_are_made_run_reviewed_and_taken_away(chromium: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for at in range(6):
        picture(rng, width=240, height=180).save(tmp_path / f"new-{at}.jpg")
    with (
        copied_root() as root,
        serving(root) as server,
        visiting(chromium, server.address) as visit,
        curator.Client(server.address) as client,
    ):
        client.create_campaign(WS, "dusk", rows=[60, 61, 62], modes=1)
        page = visit.open("failures", name="dusk")
        page.get_by_role("button", name="Watch new images").click()
        page.get_by_role("dialog").get_by_label("Name").fill("watch")
        page.get_by_role("dialog").get_by_label("At most").fill("4")
        page.get_by_role("dialog").get_by_label("From probability").fill("0")
        page.get_by_role("button", name="Watch", exact=True).click()
        card = page.get_by_role("article", name="Trigger watch")
        card.get_by_text("It has not run yet").wait_for()
        page.get_by_role("button", name="Run on what is new").click()
        toast(page, "No new images since the last run")
        visit.open("runs")
        page.get_by_label("Drop images here, or choose").set_input_files(sorted(tmp_path.glob("*.jpg")))
        page.get_by_role("button", name=re.compile("Take in 6 images")).click()
        page.get_by_role("article", name="Job run").first.get_by_text("done").wait_for(timeout=120_000)
        visit.open("failures", name="dusk")
        n = len(client.triggers(WS)[0]["runs"][0]["rows"])
        assert 0 < n <= 4
        card.get_by_role("button", name=f"Review {n} find").click()
        page.locator(".shot > img").wait_for()
        for at in range(n):
            page.keyboard.press("d" if at else "a")
            answered(page, at + 1)
        page.get_by_role("heading", name="This order is done").wait_for()
        page.keyboard.press("Escape")
        card.get_by_text(f"1 accepted · {n - 1} discarded").wait_for()
        page.get_by_role("img", name=re.compile(f"{n} found, {100 / n:.0f} % right")).wait_for()
        assert client.triggers(WS)[0]["runs"][0]["precision"]["accepted"] == 1
        page.reload()
        card.get_by_role("button", name="Take away").click()
        page.get_by_role("dialog").get_by_role("button", name="Take away").click()
        toast(page, "Trigger watch taken away")
        assert client.triggers(WS) == []


def test_a_reader_sees_the_queue_and_decides_nothing(chromium: Browser) -> None:
    with copied_root() as root:
        with open_state(root) as state:
            _, secret = state.tokens.create("rea", "reader")
            _, admin = state.tokens.create("ada", "admin")
        with (
            serving(root, "--require-token") as server,
            curator.Client(server.address, admin) as client,
            visiting(chromium, server.address) as visit,
        ):
            client.create_campaign(WS, "dusk", rows=[60, 61, 62], modes=1)
            page = visit.open("failures", name="dusk")
            page.get_by_label("Token").fill(secret)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("article", name="Mode 1").wait_for()
            for name in ("Keep accepted", "Take away", "Watch new images"):
                assert page.get_by_role("button", name=re.compile(f"^{name}")).is_disabled(), name
            page.get_by_role("button", name="Review").click()
            page.locator(".shot > img").wait_for()
            for name in ("Accept", "Discard", "Skip"):
                assert page.get_by_role("button", name=re.compile(name)).is_disabled(), name
            for key in ("a", "d", "s"):
                page.keyboard.press(key)
            answered(page, 0)
            assert client.decisions(WS) == []


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_queue_batch_and_ending_are_open_to_assistive_technology(
    chromium: Browser, page_server: Server, client: curator.Client, campaign: str, size: tuple[int, int], scheme: str
) -> None:
    def check(what: Any) -> None:
        what.wait_for()
        assert visit.axe() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]

    with visiting(chromium, page_server.address, size=size, scheme=scheme) as visit:
        page = visit.open("failures", name=campaign)
        check(page.get_by_role("article", name="Mode 1").locator("img"))
        page.get_by_role("button", name="Watch new images").click()
        check(page.get_by_role("dialog"))
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Review").click()
        page.locator(".shot > img").wait_for()
        page.keyboard.press("a")
        check(page.locator(".past img"))
        page.keyboard.press("b")
        page.keyboard.press("1")
        check(page.locator("li img").nth(11))
        page.keyboard.press("u")
        answered(page, 0)
