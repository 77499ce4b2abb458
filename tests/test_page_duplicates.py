"""Duplicates, as a person reviews them: what is decided on the page is what the server then holds."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

import curator
from curator.state import open_state
from tests.browser import NARROW, WIDE, Visit, copied_root, toast, visiting
from tests.serving import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow
WS = "street"


def opened(visit: Visit, **parameters: Any) -> Page:
    """The view with the pictures of its group."""
    page = visit.open("duplicates", **{"order": "largest", **parameters})
    page.locator("li.kept img").first.wait_for()
    return page


def largest(client: curator.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.duplicates(WS, order="largest", limit=1)["groups"][0]
    return found


def focused(page: Page) -> int:
    return int(str(page.locator("li.focus").get_attribute("data-row")))


def test_the_kept_image_stands_beside_the_removed_with_its_reason_and_their_similarity(
    visit: Visit, client: curator.Client
) -> None:
    group = largest(client)
    page = opened(visit)
    shown = page.locator("li[data-row]")
    rows = [int(str(one.get_attribute("data-row"))) for one in shown.all()]
    assert rows == [group["kept"], *(one["row"] for one in group["removed"])]
    page.locator("li.kept", has_text=f"covers {len(group['removed'])}").wait_for()
    for one, member in zip(shown.all()[1:], group["removed"], strict=True):
        told = "same pixels" if member["kind"] == "exact" else f"{member['similarity']:.3f}"
        assert told in one.inner_text()


def test_the_order_and_the_group_are_in_the_address(visit: Visit, client: curator.Client) -> None:
    groups = client.duplicates(WS, order="largest", limit=3)["groups"]
    page = opened(visit)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.locator(f"li.kept[data-row='{groups[2]['kept']}']").wait_for()
    assert parse_qs(urlsplit(page.url).query)["group"] == ["2"]
    page.reload()
    page.get_by_role("heading", name=re.compile("Group 3 of")).wait_for()
    page.get_by_label("Groups").first.select_option("row")
    page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
    page.go_back()
    page.get_by_role("heading", name=re.compile("Group 3 of")).wait_for()
    assert "order=largest" in page.url
    page.get_by_label("Go to group").fill("9999")
    page.keyboard.press("Enter")
    n = client.duplicates(WS, limit=0)["total"]
    page.get_by_role("heading", name=re.compile(f"Group {n} of {n}")).wait_for()


def test_who_is_kept_changes_back_and_forth_and_the_focus_stays(visit: Visit, client: curator.Client) -> None:
    group = largest(client)
    third = group["removed"][2]["row"]
    page = opened(visit)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page) == third
    page.keyboard.press("k")
    toast(page, "Another image kept")
    assert largest(client)["chosen"] == third
    page.locator(f"li.kept[data-row='{third}']", has_text="chosen by a person").wait_for()
    page.locator(f"li[data-row='{group['kept']}']", has_text="was kept").click()
    page.keyboard.press("k")  # the first one again: what was said is taken back, as one step that can be undone
    toast(page, "The first one kept again")
    assert largest(client)["chosen"] is None
    page.keyboard.press("u")
    toast(page, "Undone: the first one kept again")
    assert largest(client)["chosen"] == third
    page.keyboard.press("u")
    toast(page, "Undone: another image kept")
    assert largest(client)["chosen"] is None
    page.locator(f"li.kept[data-row='{group['kept']}']").wait_for()


def test_an_image_is_no_duplicate_until_the_key_is_pressed_again(visit: Visit, client: curator.Client) -> None:
    group = largest(client)
    second = group["removed"][1]["row"]
    page = opened(visit)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    toast(page, "Said to be no duplicate")
    assert largest(client)["not_duplicates"] == [[group["kept"], second]]
    assert page.locator("li", has_text="not a duplicate").count() == 1
    assert focused(page) == second
    page.keyboard.press("n")
    toast(page, "A duplicate after all")
    assert largest(client)["not_duplicates"] == []
    assert page.locator("li", has_text="not a duplicate").count() == 0


def test_all_exact_copies_are_confirmed_by_one_action_with_one_undo(visit: Visit, client: curator.Client) -> None:
    rows = client.rows(WS, filter={"column": "duplicate", "in": ["exact"]}, limit=1000)["rows"]
    if not rows:
        pytest.skip("the demo's clips hold no two frames with the same pixels")
    page = opened(visit)
    page.get_by_role("button", name=re.compile("^Confirm all")).click()
    toast(page, "confirmed")
    (made,) = client.decisions(WS, kind="review", subject="duplicates")
    assert sorted(made["rows"]) == [one["row"] for one in rows]
    page.keyboard.press("Control+z")
    toast(page, "Undone")
    assert client.decisions(WS, kind="review", subject="duplicates") == []


def test_confirmed_groups_are_ticked_counted_and_not_decided_twice(visit: Visit, client: curator.Client) -> None:
    page = opened(visit)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("Group 2 of")).wait_for()
    toast(page, "Group 1 confirmed")
    page.get_by_text("confirmed 1", exact=True).wait_for()
    page.reload()
    page.get_by_role("listbox", name="Groups").get_by_role("option").first.get_by_text("✓").wait_for()
    page.keyboard.press("ArrowUp")
    page.get_by_role("button", name=re.compile("^Next group")).wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("Group 2 of")).wait_for()
    (made,) = client.decisions(WS, kind="review", subject="duplicates")
    client.undo(WS, made["id"])


def test_undo_right_after_a_decision_is_of_that_decision_even_on_a_slow_line(
    visit: Visit, client: curator.Client
) -> None:
    page = opened(visit)
    page.keyboard.press("Enter")
    toast(page, "Group 1 confirmed")

    def late(route: Route) -> None:
        page.wait_for_timeout(400)
        route.continue_()

    page.route("**/decisions", late)
    page.keyboard.press("Enter")
    page.keyboard.press("u")
    toast(page, "Undone: group 2 confirmed")
    page.unroute("**/decisions")
    kept = [one["kept"] for one in client.duplicates(WS, order="largest", limit=2)["groups"] if one["is_confirmed"]]
    assert kept == [largest(client)["kept"]]
    page.keyboard.press("u")
    toast(page, "Undone: group 1 confirmed")


def test_blink_is_held_by_the_key_or_switched_by_the_button(visit: Visit, client: curator.Client) -> None:
    group = largest(client)
    page = opened(visit)
    picture = page.locator("li.focus img").last
    page.keyboard.down("b")
    page.locator(f"li.focus img[src*='/{group['kept']}?']").wait_for()
    page.keyboard.up("b")
    page.locator(f"li.focus img[src*='/{group['removed'][0]['row']}?']").wait_for()
    button = page.get_by_role("button", name=re.compile("^Blink"))
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert f"/{group['kept']}?" in str(picture.get_attribute("src"))


def test_of_two_who_choose_the_second_is_told_and_then_sees_what_the_first_chose(
    chromium: Browser, visit: Visit, page_server: Server, client: curator.Client
) -> None:
    group = largest(client)
    first, second = (one["row"] for one in group["removed"][:2])
    with visiting(chromium, page_server.address) as other:
        opened(visit)
        opened(other)
        visit.page.keyboard.press("k")
        toast(visit.page, "Another image kept")
        other.page.keyboard.press("ArrowRight")
        other.page.keyboard.press("k")
        toast(other.page, "Somebody decided in the meantime")
        other.page.locator(f"li.kept[data-row='{first}']").wait_for()
        assert largest(client)["chosen"] == first
        other.page.keyboard.press("k")  # having seen it
        toast(other.page, "Another image kept")
        assert largest(client)["chosen"] == second
        other.page.keyboard.press("u")
        toast(other.page, "Undone")
        visit.page.keyboard.press("u")
        toast(visit.page, "Undone")
    assert largest(client)["chosen"] is None


def test_the_slider_counts_every_threshold_as_the_server_does_and_shows_the_pairs_beside_it(
    visit: Visit, client: curator.Client
) -> None:
    page = opened(visit)
    typed = page.get_by_label("Threshold as a number")
    for threshold in (0.96, 0.975):
        typed.fill(str(threshold))
        page.keyboard.press("Tab")
        n = sum(
            client.rows(WS, filter={"and": [{"column": "duplicate", "in": [kind]}, *clauses]}, limit=0)["total"]
            for kind, clauses in (("exact", []), ("near", [{"column": "similarity", "ge": threshold}]))
        )
        page.get_by_text(re.compile(rf"would remove\s+{n}\s+of")).wait_for()
    inside = client.rows(
        WS, filter={"and": [{"column": "duplicate", "in": ["near"]}, {"column": "similarity", "ge": 0.975}]},
        sort=[{"column": "similarity"}], fields=["similarity"], limit=3,
    )["rows"]  # fmt: skip
    pairs = page.get_by_role("group", name="Pairs at the threshold")
    for one in inside:
        pairs.get_by_text(f"{one['fields']['similarity']:.3f}").first.wait_for()
    assert page.get_by_role("heading", name=re.compile("Group 1 of")).is_visible()  # what is looked at stays
    typed.fill("0.5")
    page.keyboard.press("Tab")
    page.get_by_text("only a run can tell").wait_for()


def test_a_threshold_that_was_chosen_stays_while_groups_are_asked_for_again(
    visit: Visit, client: curator.Client
) -> None:
    page = opened(visit)
    typed = page.get_by_label("Threshold as a number")
    typed.fill("0.97")
    page.keyboard.press("Tab")
    asked = sum("/duplicates?" in url for url in visit.requests)
    client.select(WS, name="another", budget=3, method="random")  # publishes a snapshot
    toast(page, "Done: select")
    until = time.monotonic() + 30
    while sum("/duplicates?" in url for url in visit.requests) == asked:
        assert time.monotonic() < until, "the groups were not asked for again"
        page.wait_for_timeout(50)
    page.wait_for_timeout(500)
    assert typed.input_value() == "0.97"
    page.get_by_role("button", name="Run at 0.970").wait_for()


def test_answers_about_pairs_make_a_threshold_that_is_marked_and_run_at(chromium: Browser) -> None:
    with (
        copied_root() as root,
        serving(root) as server,
        visiting(chromium, server.address) as visit,
        curator.Client(server.address) as client,
    ):
        page = opened(visit)
        page.get_by_role("button", name="Calibrate by pairs").click()
        page.get_by_role("heading", name="Are these the same picture?").wait_for()
        page.go_back()
        page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
        page.go_forward()
        page.locator(".two img").first.wait_for()
        similar = {(one["row_a"], one["row_b"]): one["similarity"] for one in client.pairs(WS, limit=24)["pairs"]}
        for at, similarity in enumerate(similar.values(), start=1):
            page.keyboard.press("1" if similarity > 0.9 else "2")
            page.get_by_text(re.compile(rf"^{at} answered")).wait_for()
        page.get_by_role("button", name="Fit the threshold").click()
        toast(page, "Fitted to the answers")
        (fitted,) = (one for one in client.calibration(WS)["results"] if one["space"] == "model")
        assert fitted["n"] == len(similar)
        page.get_by_role("button", name=re.compile("^“answers”")).click()
        page.get_by_role("button", name=re.compile("^Run at")).click()
        toast(page, "Done: neardups")
        assert client.certificate(WS)["threshold"] == pytest.approx(fitted["threshold"])
        page.get_by_role("button", name=re.compile(r"^in use .*given")).wait_for()


def test_what_was_decided_waits_until_it_is_applied(chromium: Browser) -> None:
    with (
        copied_root() as root,
        serving(root) as server,
        visiting(chromium, server.address) as visit,
        curator.Client(server.address) as client,
    ):
        group = largest(client)
        chosen, apart = (one["row"] for one in group["removed"][:2])
        page = opened(visit)
        assert not page.get_by_text("for the next pass").count()
        page.keyboard.press("k")
        page.get_by_text("1 decision about who is kept waits for the next pass.").wait_for()
        page.locator(f"li[data-row='{apart}']").click()
        page.keyboard.press("n")
        page.get_by_text("2 decisions about who is kept wait for the next pass.").wait_for()
        page.get_by_role("button", name="Apply").click()
        toast(page, "Done: neardups")
        page.get_by_text("for the next pass").wait_for(state="detached")
        records = {row: client.show(WS, row) for row in (chosen, apart, group["kept"])}
        assert records[chosen]["duplicate"] == records[apart]["duplicate"] == "kept"
        assert client.certificate(WS)["certificate"]["holds"]
        groups = {one["kept"]: one for one in client.duplicates(WS, order="largest")["groups"]}
        assert groups[chosen]["is_wished"]


def test_a_reader_looks_at_everything_and_decides_nothing(chromium: Browser) -> None:
    with copied_root() as root:
        with open_state(root) as state:
            _, secret = state.tokens.create("rea", "reader")
        with serving(root, "--require-token") as server, visiting(chromium, server.address) as visit:
            page = visit.open("duplicates")
            page.get_by_label("Token").fill(secret)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
            for name in (
                "Keep this",
                "Not a duplicate",
                "Confirm group",
                "Confirm all",
                "Calibrate by pairs",
                "Run at",
            ):
                assert page.get_by_role("button", name=re.compile(f"^{name}")).is_disabled(), name
            for key in ("k", "n", "Enter"):
                page.keyboard.press(key)
            page.get_by_role("button", name="Verify").click()
            toast(page, "everything holds")
            page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
            with curator.Client(server.address, secret) as client:
                assert client.decisions(WS) == []


def test_where_the_stage_has_not_run_the_page_runs_it(chromium: Browser) -> None:
    with copied_root() as root:
        without(root / WS, "neardups")
        with serving(root) as server, visiting(chromium, server.address) as visit:
            page = visit.open("duplicates")
            page.get_by_text(f"curator neardups -w {WS}").wait_for()
            page.get_by_role("button", name="Look for them").click()
            page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for(timeout=60_000)


def without(workspace: Path, stage: str) -> None:
    """Take a stage out of a workspace's manifest, as if it had never run."""
    path = workspace / "workspace.json"
    manifest = json.loads(path.read_text())
    del manifest["stages"][stage]
    manifest["entries"] = {key: one for key, one in manifest["entries"].items() if key != f"columns/{stage[:-1]}"}
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_review_threshold_and_pairs_are_open_to_assistive_technology(
    chromium: Browser, page_server: Server, size: tuple[int, int], scheme: str
) -> None:
    with visiting(chromium, page_server.address, size=size, scheme=scheme) as visit:
        page = opened(visit)
        if size == NARROW:
            page.get_by_role("button", name=re.compile("^Threshold and certificate")).click()
        page.get_by_role("button", name="What these mean").click()
        page.get_by_label("Threshold as a number").fill("0.97")
        page.keyboard.press("Tab")
        page.get_by_role("group", name="Pairs at the threshold").locator("img").first.wait_for()
        assert visit.axe() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        page = visit.open("duplicates", pairs=1)
        page.locator(".two img").first.wait_for()
        assert visit.axe() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
