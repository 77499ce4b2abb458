"""Search, Duplicates, Select, Failures and Runs, as a person uses them; the server's state is looked at after."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import curator
from tests.browser import NARROW, WIDE, Visit, toast, visiting
from tests.conftest import picture
from tests.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
WS = "street"


def until(what: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """What the server says, once it says anything."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "the server never said so"
        time.sleep(0.1)
    return found


# -- search ------------------------------------------------------------------------------------------------------------


def first_row(page: Page, label: str) -> str:
    tile = page.get_by_role("listbox", name=label).get_by_role("option").first
    tile.locator("img").wait_for()
    return str(tile.get_attribute("aria-label"))


def test_a_pasted_picture_is_told_to_be_there_already_and_its_likes_are_shown(
    visit: Visit, client: curator.Client
) -> None:
    data = client.image(WS, 40, size="original")
    page = visit.open("search")
    page.get_by_text("Search by a picture").wait_for()
    visit.paste(data)
    page.get_by_text("Already in the set").wait_for()
    expected = client.search_images(WS, [data], k=1, group_by="neardup", fields=["uri"])["hits"][0]
    assert Path(expected["fields"]["uri"]).name in first_row(page, "Results")
    page.reload()  # a picture from outside stays in the page that it was given to
    page.get_by_text("Search by a picture").wait_for()


def test_find_similar_is_one_key_and_unlikes_change_the_ranking(visit: Visit, client: curator.Client) -> None:
    page = visit.open()
    page.locator(".tile").nth(4).click()
    page.keyboard.press("f")
    page.wait_for_url("**view=search**")
    alone = client.search(WS, [{"row": 4}], k=3, group_by="neardup", fields=["uri"])["hits"]
    assert Path(alone[0]["fields"]["uri"]).name in first_row(page, "Results")
    results = page.get_by_role("listbox", name="Results")
    results.get_by_role("option").first.click()
    page.keyboard.press("Shift+F")
    page.get_by_role("button", name=re.compile("unlike; make it like")).wait_for()
    both = client.search(
        WS, [{"row": 4}], negatives=[{"row": alone[0]["row"]}], k=3, group_by="neardup", fields=["uri"]
    )["hits"]
    name = Path(both[0]["fields"]["uri"]).name
    results.locator(f"[aria-posinset='1'][aria-label*='{name}']").wait_for()
    page.go_back()
    page.get_by_role("button", name=re.compile("unlike; make it like")).wait_for(state="detached")


def test_a_drawn_part_is_what_is_searched_for(visit: Visit, client: curator.Client) -> None:
    page = visit.open("search", like=json.dumps([[1, 40]]))
    first_row(page, "Results")
    page.get_by_role("button", name="Only a part of image 40").click()
    for name, value in (("x", 0), ("y", 0), ("width", 100), ("height", 120)):
        page.get_by_role("dialog").get_by_label(name, exact=True).fill(str(value))
        page.keyboard.press("Tab")
    page.get_by_role("button", name="Search for this part").click()
    page.wait_for_url("**120**")
    hit = client.search(
        WS, [{"row": 40, "box": [0, 0, 100, 120]}], k=1, group_by="neardup", fields=["uri"]
    )["hits"][0]  # fmt: skip
    name = Path(hit["fields"]["uri"]).name
    page.locator(f"[aria-posinset='1'][aria-label*='{name}']").wait_for()


def test_words_are_searched_by_tags_and_the_page_says_so(visit: Visit) -> None:
    page = visit.open("search")
    page.get_by_label("Words").fill("car")
    page.keyboard.press("Enter")
    page.get_by_text("this model knows no text").wait_for()
    first_row(page, "Results")


# -- duplicates --------------------------------------------------------------------------------------------------------


def test_a_group_is_settled_by_one_key_and_undone_by_another(visit: Visit, client: curator.Client) -> None:
    group = client.duplicates(WS, order="largest", limit=1)["groups"][0]
    page = visit.open("duplicates", order="largest")
    page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("Group 2 of")).wait_for()
    made = until(lambda: client.decisions(WS, kind="review", subject="duplicates"))[0]
    assert set(made["rows"]) == {group["kept"], *(one["row"] for one in group["removed"])}
    toast(page, "Group 1 confirmed")
    page.keyboard.press("u")
    toast(page, "Undone")
    assert client.decisions(WS, kind="review", subject="duplicates") == []


def test_another_image_is_kept_and_one_is_said_to_be_no_duplicate(visit: Visit, client: curator.Client) -> None:
    group = client.duplicates(WS, order="largest", limit=1)["groups"][0]
    page = visit.open("duplicates", order="largest")
    page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
    second = group["removed"][0]["row"]
    page.keyboard.press("k")
    toast(page, "Another image kept")
    assert client.duplicates(WS, order="largest", limit=1)["groups"][0]["chosen"] == second
    page.keyboard.press("Control+z")
    toast(page, "Undone")
    assert client.duplicates(WS, order="largest", limit=1)["groups"][0]["chosen"] is None
    page.keyboard.press("n")
    toast(page, "no duplicate")
    apart = client.duplicates(WS, order="largest", limit=1)["groups"][0]["not_duplicates"]
    assert [group["kept"], second] in [sorted(pair, key=lambda row: row != group["kept"]) for pair in apart]
    page.keyboard.press("u")
    until(lambda: not client.duplicates(WS, order="largest", limit=1)["groups"][0]["not_duplicates"])


def test_the_threshold_counts_what_it_would_remove_and_runs_only_when_asked(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open("duplicates")
    slider = page.get_by_role("slider", name="Threshold")
    slider.wait_for()
    n = client.certificate(WS)["certificate"]["removed"]
    page.get_by_text(re.compile(rf"would remove\s+{n}\b")).wait_for()
    before = len(client.jobs(workspace=WS))
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text(re.compile(r"would remove\s+[0-9]\b")).wait_for()
    assert len(client.jobs(workspace=WS)) == before


def test_pairs_are_judged_by_the_keyboard_alone(visit: Visit, client: curator.Client) -> None:
    page = visit.open("duplicates")
    page.get_by_role("button", name="Calibrate by pairs").click()
    page.get_by_role("heading", name="Are these the same picture?").wait_for()
    page.locator(".two img").first.wait_for()
    before = client.calibration(WS)["n_answers"]
    for key in "123":
        page.keyboard.press(key)
    page.get_by_text("3 answered").wait_for()
    until(lambda: client.calibration(WS)["n_answers"] - before == 3)
    page.keyboard.press("u")
    page.get_by_text("2 answered").wait_for()
    until(lambda: client.calibration(WS)["n_answers"] - before == 2)
    assert [one["value"] for one in client.decisions(WS, kind="pair")[:2]] == ["different", "same"]


def test_verify_recomputes_the_certificate(visit: Visit) -> None:
    page = visit.open("duplicates")
    page.get_by_role("button", name="Verify").click()
    toast(page, "everything holds")


# -- select ------------------------------------------------------------------------------------------------------------


def test_thirty_are_selected_and_the_first_ten_are_taken_along(visit: Visit, client: curator.Client) -> None:
    page = visit.open("select")
    page.get_by_label("Images", exact=True).fill("30")
    page.keyboard.press("Tab")
    page.get_by_role("combobox", name="Method").select_option("diverse")
    page.get_by_label("Save as").fill("thirty")
    assert "method: diverse" in page.locator("pre").inner_text()
    page.get_by_role("button", name="Select 30").click()
    page.get_by_role("article", name="Selection thirty").wait_for(timeout=60_000)
    stored = client.selection(WS, "thirty", limit=30)
    assert stored["n"] == 30
    assert stored["evidence"]["config"]["method"] == "diverse"
    page.get_by_label("Budget in images").fill("10")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export 10").click()
    lines = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [int(line["row"]) for line in lines] == [pick["row"] for pick in stored["picks"][:10]]
    page.reload()
    page.get_by_role("link", name="Export 10").wait_for()


def test_strategies_are_put_together_and_two_selections_compared(visit: Visit, client: curator.Client) -> None:
    page = visit.open("select")
    page.get_by_role("combobox", name="Method").select_option("strategies")
    page.get_by_role("button", name="Add a strategy").click()
    page.get_by_label("column", exact=True).fill("sharpness")
    page.get_by_label("Save as").fill("sharp")
    page.get_by_role("button", name=re.compile("^Select ")).click()
    page.get_by_role("article", name="Selection sharp").wait_for(timeout=60_000)
    kinds = [one["kind"] for one in client.selection(WS, "sharp", limit=1)["evidence"]["config"]["strategies"]]
    assert kinds == ["diversity", "representative", "weights"]
    page.get_by_label("Compare with").select_option("selection")
    page.get_by_text(re.compile(r"sharp \(\d+\) and selection \(\d+\) share")).wait_for(timeout=60_000)
    page.get_by_role("img", name=re.compile("^Coverage by number of picks")).wait_for()


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_campaign_is_reviewed_by_the_keyboard_and_its_finds_become_a_selection(
    visit: Visit, client: curator.Client
) -> None:
    page = visit.open("failures", selected="60-64")
    page.get_by_label("Name", exact=True).fill("dusk")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("article", name="Mode 1").wait_for()
    page.get_by_role("button", name="Review").first.click()
    page.get_by_role("heading", name="dusk, mode 1").wait_for()
    order = [hit["row"] for hit in client.next_images(WS, "dusk", 1, k=40)["hits"]]
    page.get_by_alt_text(f"Image {order[0]}").wait_for()
    for key in "aads":
        page.keyboard.press(key)
    page.get_by_alt_text(f"Image {order[4]}").wait_for()
    until(lambda: len(client.decisions(WS, kind="review", subject="dusk/1")) == 4)
    said = {one["rows"][0]: one["value"] for one in client.decisions(WS, kind="review", subject="dusk/1")}
    assert said == dict(zip(order[:4], ["accept", "accept", "discard", "skip"], strict=True))
    page.keyboard.press("u")  # undo, also over a skip
    page.get_by_alt_text(f"Image {order[3]}").wait_for()
    until(lambda: len(client.decisions(WS, kind="review", subject="dusk/1")) == 3)
    page.reload()
    page.get_by_alt_text(f"Image {order[3]}").wait_for()  # it goes on where it was
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keep accepted as selection").click()
    toast(page, "2 accepted images kept as the selection dusk-to-label")
    assert [pick["row"] for pick in client.selection(WS, "dusk-to-label")["picks"]] == order[:2]
    page.get_by_role("button", name="Watch new images").first.click()
    page.get_by_role("button", name="Watch", exact=True).click()
    toast(page, "Trigger dusk-1 made")
    assert client.triggers(WS)[0]["name"] == "dusk-1"


def test_twelve_are_decided_at_once_and_none_before_it_is_marked(visit: Visit, client: curator.Client) -> None:
    client.create_campaign(WS, "batch", rows=[70, 71, 72])
    page = visit.open("failures", name="batch", mode="1")
    page.get_by_role("heading", name="batch, mode 1").wait_for()
    order = [hit["row"] for hit in client.next_images(WS, "batch", 1, k=40)["hits"]]
    page.keyboard.press("b")
    page.get_by_role("button", name="Mark image").nth(11).wait_for()
    page.keyboard.press("a")  # nothing is marked: nothing is decided
    page.keyboard.press("1")
    page.keyboard.press("3")
    page.keyboard.press("a")
    page.get_by_role("button", name=f"Mark image {order[0]}", exact=True).wait_for(state="detached")
    made = until(lambda: client.decisions(WS, kind="review", subject="batch/1"))
    assert [sorted(one["rows"]) for one in made] == [sorted([order[0], order[2]])]


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_stage_is_run_from_the_page_and_its_job_is_shown_to_the_end(visit: Visit, client: curator.Client) -> None:
    page = visit.open("runs")
    page.get_by_role("button", name="Run report").click()
    page.get_by_role("article", name="Job report").first.get_by_text("done").wait_for(timeout=60_000)
    assert client.jobs(workspace=WS)[0]["kind"] == "report"
    page.get_by_role("article", name="Job report").first.get_by_role("button", name="Log").click()
    page.locator("pre").first.wait_for()


def test_sent_images_become_rows_that_the_grid_shows(visit: Visit, client: curator.Client, tmp_path: Path) -> None:
    before = client.info(WS)["rows"]
    rng = np.random.default_rng(5)
    for at in range(2):
        picture(rng, width=200, height=150).save(tmp_path / f"new-{at}.jpg")
    page = visit.open("runs")
    page.get_by_label("Drop images here, or choose").set_input_files(sorted(tmp_path.glob("*.jpg")))
    page.get_by_role("button", name=re.compile("Take in 2 images")).click()
    page.get_by_role("article", name="Job run").first.get_by_text("done").wait_for(timeout=120_000)
    assert client.info(WS)["rows"] == before + 2
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.locator(".counts", has_text=f"All {before + 2}").wait_for()


def test_a_job_that_fails_says_why_and_unreadable_files_are_listed_with_their_reason(visit: Visit) -> None:
    page = visit.open("runs")
    page.get_by_text("not_an_image").wait_for()
    page.get_by_label(re.compile("Folder or file under")).fill("../../etc")
    page.get_by_role("button", name="Read").click()
    toast(page, "Not started: run")


def test_a_snapshot_is_kept_and_removed(visit: Visit, client: curator.Client) -> None:
    page = visit.open("runs")
    page.get_by_label("Name of a new snapshot").fill("before")
    page.get_by_role("button", name="Keep as it is now").click()
    toast(page, "Kept as before")
    assert [one["name"] for one in client.snapshots(WS)] == ["before"]
    page.get_by_role("listitem").filter(has_text="before").get_by_role("button", name="Remove").click()
    toast(page, "removed")
    assert client.snapshots(WS) == []


# -- every view --------------------------------------------------------------------------------------------------------

VIEWS: list[tuple[str, dict[str, str], str]] = [
    ("search", {"like": "[[1,30]]"}, "[role=option] img"),
    ("duplicates", {"order": "largest"}, "h2:has-text('Group 1 of')"),
    ("select", {"name": "selection"}, "article:has-text('Picks in order') .u-over"),
    ("failures", {}, "h2:has-text('New campaign'), h2:has-text('Triggers')"),
    ("runs", {}, "h2:has-text('Unreadable')"),
]


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_open_to_assistive_technology_and_fits_its_width(
    chromium: Browser, page_server: Server, size: tuple[int, int], scheme: str
) -> None:
    with visiting(chromium, page_server.address, size=size, scheme=scheme) as visit:
        for view, parameters, sign in VIEWS:
            page = visit.open(view, **parameters)
            page.locator(sign).first.wait_for()
            assert visit.axe() == [], view
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], view
            assert page.title().startswith(view.capitalize())
            assert page.locator("h1").count() == 1


def test_pictures_of_the_tests_are_what_they_say(client: curator.Client) -> None:
    """The first image of a search by its own bytes is itself, so that the tests above can fail."""
    data = client.image(WS, 40, size="original")
    assert Image.open(io.BytesIO(data)).size[0] > 100
    assert client.search_images(WS, [data], k=1)["hits"][0]["row"] == 40
