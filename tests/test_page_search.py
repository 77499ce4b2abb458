"""Search beyond its first answer: dropped pictures, groups, pages, the cut, and what a link brings back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

import curator
from tests.browser import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
WS = "street"
FORTY = json.dumps([[1, 40]])


def results(page: Page) -> Any:
    """The listbox of results, once its first picture is there."""
    found = page.get_by_role("listbox", name="Results")
    found.locator("img").first.wait_for()
    return found


def names(client: curator.Client, **asked: Any) -> list[str]:
    hits = client.search(WS, [{"row": 40}], fields=["uri"], **asked)["hits"]
    return [Path(hit["fields"]["uri"]).name for hit in hits]


def shown(page: Page) -> int:
    told = page.get_by_text(re.compile(r"^[\d,]+ shown ·"))
    return int(str(told.inner_text()).split()[0].replace(",", ""))


def drop(page: Page, selector: str, data: bytes) -> bool:
    """Drop a file somewhere; whether the page took it, so that the browser does not leave for it."""
    taken: bool = page.evaluate(
        """([selector, bytes]) => {
            const transfer = new DataTransfer()
            transfer.items.add(new File([new Uint8Array(bytes)], 'dropped.jpg', {type: 'image/jpeg'}))
            const target = document.querySelector(selector)
            const told = (kind) => target.dispatchEvent(
                new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}))
            return !told('dragover') && !told('drop')
        }""",
        [selector, list(data)],
    )
    return taken


@pytest.mark.parametrize("place", [".tile", "header", ".shelf"])
def test_a_picture_may_be_dropped_anywhere(visit: Visit, client: curator.Client, place: str) -> None:
    page = visit.open("search", like=FORTY)
    results(page)
    assert drop(page, place, client.image(WS, 90, size="original"))
    page.get_by_role("button", name="Remove dropped.jpg").wait_for()
    page.get_by_text("rocchio in").wait_for()
    assert "like" in parse_qs(urlsplit(page.url).query)  # the row stays in the address, the picture is not in it
    page.get_by_role("button", name="Remove image 40").click()
    page.get_by_text("Already in the set").wait_for()


def test_more_results_follow_where_the_first_ended_and_the_grid_stays_where_it_is(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open("search", like=FORTY, by="none", k=50)
    grid = results(page)
    assert shown(page) == 50
    grid.get_by_role("option").first.focus()
    page.keyboard.press("End")
    grid.locator("[aria-posinset='50']").wait_for()
    before = grid.evaluate("grid => grid.scrollTop")
    assert before > 0
    page.get_by_role("button", name="50 more").click()
    page.get_by_text("100 shown").wait_for()
    assert grid.evaluate("grid => grid.scrollTop") == before
    expected = names(client, k=100)[50]
    assert expected in str(grid.locator("[aria-posinset='51']").get_attribute("aria-label"))


def test_the_cut_hides_what_is_less_similar_and_is_in_the_link(visit: Visit, client: curator.Client) -> None:
    similarities = [hit["similarity"] for hit in client.search(WS, [{"row": 40}], k=100)["hits"]]
    page = visit.open("search", like=FORTY, by="none")
    results(page)
    slider = page.get_by_label("Least similarity")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    least = float(parse_qs(urlsplit(page.url).query)["least"][0])
    assert similarities[-1] < least < similarities[0]
    expected = sum(value >= least for value in similarities)
    assert 0 < expected < 100
    page.get_by_text(f"{expected} shown").wait_for()
    page.reload()
    page.get_by_text(f"{expected} shown").wait_for()
    visit.open("search", like=FORTY, by="none", least="0.999")
    page.get_by_text("All 100 found are less similar than 0.999").wait_for()
    page.get_by_role("button", name="Show them").click()
    results(page)
    assert shown(page) == 100


def test_results_are_the_best_of_each_group(visit: Visit, client: curator.Client) -> None:
    page = visit.open("search", like=FORTY)
    results(page)
    page.get_by_role("combobox", name="Group by").select_option("video")
    page.wait_for_url("**by=video**")
    expected = names(client, k=100, group_by="video")
    page.get_by_text(f"{len(expected)} shown").wait_for()
    assert expected[0] in str(results(page).locator("[aria-posinset='1']").get_attribute("aria-label"))
    page.get_by_role("combobox", name="Ranked by").select_option("probe")
    page.get_by_text("probe in").wait_for()
    page.go_back()
    page.get_by_text("cosine in").wait_for()
    page.go_back()
    page.get_by_text("100 shown").wait_for()


def test_a_search_heeds_the_scope_and_its_results_are_selected_and_tagged(visit: Visit, client: curator.Client) -> None:
    only = {"column": "brightness", "lt": 0.4}
    expected = client.search(WS, [{"row": 40}], k=3, filter=only, fields=["uri"])["hits"]
    page = visit.open("search", like=FORTY, by="none", filter=json.dumps([only]))
    grid = results(page)
    assert Path(expected[0]["fields"]["uri"]).name in str(grid.get_by_role("option").first.get_attribute("aria-label"))
    grid.get_by_role("option").first.click()
    asked = len([url for url in visit.requests if url.endswith("/search")])
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("region", name="Selection").get_by_text("3 selected").wait_for()
    assert len([url for url in visit.requests if url.endswith("/search")]) == asked  # to select is not to search
    page.keyboard.press("t")
    page.get_by_label("Tag", exact=True).fill("dark ones")
    page.keyboard.press("Enter")
    page.locator(".toast", has_text="3 images tagged dark ones").wait_for()
    rows = client.rows(WS, filter={"tag": "dark ones"}, limit=10)["rows"]
    assert {one["row"] for one in rows} == {hit["row"] for hit in expected}


def test_what_cannot_be_searched_says_why_and_goes_on_when_it_can(visit: Visit) -> None:
    page = visit.open("search", like=json.dumps([[1, 40], [1, "car"]]))
    page.get_by_role("heading", name=re.compile("reads no text")).wait_for()
    page.get_by_role("button", name="Try again").wait_for()
    page.get_by_role("button", name="Remove “car”").click()
    results(page)
    page.get_by_role("button", name="image 40: like; make it unlike").click()
    page.get_by_role("heading", name="Only unlikes").wait_for()
