"""Explore, as a person uses it: what is done on the page is what the server then holds."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

import curator
from tests.browser import NARROW, WIDE, Visit, visiting
from tests.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
WS = "street"


def tiles(page: Page) -> Any:
    page.wait_for_selector("[role=option] img")
    return page.locator("[role=option]")


def scope(page: Page) -> int:
    page.locator(".counts:not(:has-text('…'))").wait_for()
    found = re.search(r"In scope\s*([\d,]+)", page.locator(".counts").inner_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def total(client: curator.Client, filter: dict[str, Any] | None = None) -> int:
    return int(client.rows(WS, filter=filter, limit=0)["total"])


def settled(page: Page, n: int) -> None:
    page.locator(".counts span", has_text=re.compile(rf"In scope\s*{n:,}$")).wait_for()


def test_the_grid_shows_the_images_and_a_facet_narrows_it_and_back_widens_it(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open()
    assert tiles(page).count() > 6
    whole = scope(page)
    assert whole == total(client)
    page.get_by_role("region", name="duplicate").get_by_role("checkbox", name="kept").check()
    kept = total(client, {"column": "duplicate", "in": ["kept"]})
    settled(page, kept)
    assert json.loads(parse_qs(urlsplit(page.url).query)["filter"][0]) == [{"column": "duplicate", "in": ["kept"]}]
    page.reload()
    settled(page, kept)
    page.get_by_role("button", name="Remove the condition duplicate: kept").click()
    settled(page, whole)
    page.go_back()
    settled(page, kept)


def test_a_number_is_narrowed_by_typing_its_bounds(visit: Visit, client: curator.Client) -> None:
    page = visit.open()
    tiles(page)
    page.get_by_label("Search columns").fill("brightness")
    page.get_by_label("brightness from", exact=True).fill("0.4")
    page.get_by_label("brightness from", exact=True).press("Enter")
    page.wait_for_url("**filter=**")
    (clause,) = json.loads(parse_qs(urlsplit(page.url).query)["filter"][0])
    assert clause["column"] == "brightness"
    assert clause["between"][0] == 0.4
    settled(page, total(client, clause))


def test_images_are_tagged_by_the_keyboard_alone_and_the_tag_is_taken_back(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open()
    tiles(page).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector("text=2 selected")
    page.keyboard.press("t")
    page.get_by_label("Tag", exact=True).fill("dusk")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast >> text=2 images tagged dusk")
    assert client.rows(WS, filter={"tag": "dusk"})["rows"] == [{"row": 1}, {"row": 2}]
    page.keyboard.press("Control+z")
    page.wait_for_selector(".toast >> text=Undone")
    assert client.rows(WS, filter={"tag": "dusk"})["rows"] == []
    page.keyboard.press("Control+Shift+z")
    page.wait_for_selector(".toast >> text=Done again")
    assert total(client, {"tag": "dusk"}) == 2
    client.untag(WS, "dusk", filter={"tag": "dusk"})


def test_everything_in_scope_is_selected_without_sending_ids(visit: Visit, client: curator.Client) -> None:
    clause = {"column": "duplicate", "in": ["kept"]}
    page = visit.open(filter=json.dumps([clause]))
    tiles(page).first.focus()
    settled(page, total(client, clause))
    page.keyboard.press("Control+a")
    page.wait_for_selector(f"text={total(client, clause):,} selected")
    bodies: list[str] = []
    page.on("request", lambda request: bodies.append(request.post_data or "") if "/tags/" in request.url else None)
    page.keyboard.press("t")
    page.get_by_label("Tag", exact=True).fill("kept ones")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast >> text=tagged kept ones")
    assert total(client, {"tag": "kept ones"}) == total(client, clause)
    assert len(bodies) == 1
    assert len(bodies[0]) < 200
    client.untag(WS, "kept ones", filter={"tag": "kept ones"})


def test_a_lasso_on_the_map_narrows_the_grid_to_what_the_server_finds_inside(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open()
    whole = scope(page)
    visit.until("performance.getEntriesByName('map-drawn').length > 0")
    page.keyboard.press("l")
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    x, y, w, h = box["x"], box["y"], box["width"], box["height"]
    page.mouse.move(x + 0.5 * w, y + 0.02 * h)
    page.mouse.down()
    for px, py in ((0.98, 0.02), (0.98, 0.7), (0.5, 0.7)):
        page.mouse.move(x + px * w, y + py * h, steps=8)
    page.mouse.up()
    page.wait_for_url("**area**")
    (clause,) = json.loads(parse_qs(urlsplit(page.url).query)["filter"][0])
    inside = total(client, clause)
    assert 0 < inside < whole
    settled(page, inside)
    page.get_by_role("button", name="Remove the condition drawn area").click()
    settled(page, whole)


def test_enter_opens_the_inspector_and_again_the_detail_and_escape_goes_back(visit: Visit) -> None:
    page = visit.open()
    tiles(page).nth(3).click()
    page.keyboard.press("Enter")
    page.wait_for_selector("article:has-text('Most similar')")
    page.keyboard.press("Enter")
    page.wait_for_selector("article.full")
    assert "row=3" in page.url
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**row=4**")
    page.locator("article.full .bar", has_text="5 of").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("article.full", state="detached")
    page.keyboard.press("Escape")
    page.wait_for_selector("article", state="detached")
    assert page.locator("[role=option].focused").get_attribute("aria-posinset") == "5"


def test_selected_images_are_compared_side_by_side(visit: Visit) -> None:
    page = visit.open(selected="3-4")
    tiles(page)
    page.keyboard.press("c")
    page.get_by_role("dialog").get_by_alt_text("Image 4").wait_for()
    assert page.get_by_role("dialog").get_by_role("img").count() == 2
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def test_a_broken_file_is_a_tile_with_its_reason(visit: Visit) -> None:
    page = visit.open(filter=json.dumps([{"column": "reason", "is_null": False}]))
    page.wait_for_selector("[role=option] .state")
    assert "unreadable" in str(page.locator("[role=option]").first.get_attribute("aria-label"))


def test_where_nothing_fits_the_page_says_which_condition_to_drop(visit: Visit, client: curator.Client) -> None:
    easy = {"column": "duplicate", "in": ["kept"]}
    page = visit.open(filter=json.dumps([easy, {"column": "width", "gt": 1_000_000}]))
    page.wait_for_selector("text=No image fits every condition")
    page.get_by_role("button", name="Remove that condition").click()
    settled(page, total(client, easy))


def test_the_end_of_the_grid_is_one_key_away(visit: Visit) -> None:
    page = visit.open()
    whole = scope(page)
    tiles(page).first.focus()
    page.keyboard.press("End")
    page.wait_for_selector(f"[role=option][aria-posinset='{whole}'] img")
    assert page.locator(f"[role=option][aria-posinset='{whole}']").evaluate("e => e === document.activeElement")


def test_a_picture_that_stands_for_others_says_so_to_every_reader(visit: Visit, client: curator.Client) -> None:
    group = client.duplicates(WS, order="largest", limit=1)["groups"][0]
    n = len(group["removed"]) + 1
    page = visit.open(filter=json.dumps([{"rows": [group["kept"]]}]))
    page.get_by_role("option", name=re.compile(rf"stands for {n} images")).get_by_text(f"×{n}").wait_for()
    assert visit.axe() == []


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_assistive_technology(
    chromium: Browser, page_server: Server, size: tuple[int, int], scheme: str
) -> None:
    with visiting(chromium, page_server.address, size=size, scheme=scheme) as visit:
        page = visit.open(filter=json.dumps([{"column": "duplicate", "in": ["kept"]}]), selected="1-4", row="2")
        page.wait_for_selector("article:has-text('Values')")
        assert visit.axe() == []
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0]  # nothing hangs out at the side
        page.keyboard.press("?")
        page.wait_for_selector("dialog >> text=Undo the last decision")
        assert visit.axe() == []


def test_the_first_view_is_small_and_asks_for_little(visit: Visit) -> None:
    sizes: dict[str, int] = {}

    def note(request: Any) -> None:
        if "/images/" not in request.url and not request.url.startswith("blob:"):
            sizes[request.url] = request.sizes()["responseBodySize"]

    visit.page.on("requestfinished", note)
    page = visit.open()
    page.wait_for_selector(".tile img")
    first_picture = next(at for at, url in enumerate(visit.requests) if url.endswith("/images/pack"))
    before = visit.requests[:first_picture]
    assert first_picture <= 13, before  # the icon is asked for twice
    assert sum(sizes.get(url, 0) for url in before) < 250_000
    assert any(url.endswith(".js") and sizes.get(url, 0) > 10_000 for url in before)
