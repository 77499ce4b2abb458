"""Select beyond its first answer: the same wish as YAML and command, the budget line, the link, refusals."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
from typer.testing import CliRunner

import curator
from curator.cli import app
from curator.config import load
from tests.browser import Visit, copied_root, share_of_readable

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.slow
WS = "street"


def address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def opened(page: Page, name: str) -> Any:
    article = page.get_by_role("article", name=f"Selection {name}", exact=True)
    article.locator(".u-over").wait_for(timeout=60_000)
    return article


def fill(page: Page, label: str, text: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Tab")


def test_a_number_typed_before_the_rows_are_counted_is_kept(visit: Visit, client: curator.Client) -> None:
    held: list[Route] = []
    is_typed = False

    def hold(route: Route) -> None:
        if is_typed:
            route.continue_()
        else:
            held.append(route)

    visit.page.route("**/rows/scope", hold)
    with visit.page.expect_request("**/rows/scope"):
        page = visit.open("select")
    page.locator("form").get_by_text("of 0 readable images").wait_for()
    page.get_by_label("Images", exact=True).fill("30")
    is_typed = True
    for route in held:
        route.continue_()
    readable = client.rows(WS, filter={"column": "reason", "is_null": True}, limit=0)["total"]
    page.locator("form").get_by_text(f"of {readable:,} readable images").wait_for()
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Select 30", exact=True).wait_for()


def test_the_yaml_and_the_command_ask_for_what_the_button_asks_for(
    visit: Visit, client: curator.Client, tmp_path: Path
) -> None:
    only = {"column": "brightness", "lt": 0.6}
    page = visit.open("select", filter=json.dumps([only]))
    opened(page, "selection")
    fill(page, "or % of all readable images", "4")
    page.get_by_role("combobox", name="Method").select_option("strategies")
    page.get_by_label("Strength of strategy 2").fill("2")
    page.get_by_role("button", name="Add a strategy").click()
    page.get_by_label("column", exact=True).fill("sharpness")
    page.get_by_text("Quotas and limits").click()
    page.get_by_role("combobox", name="Per group").select_option("cluster")
    fill(page, "Least distance", "0.05")
    fill(page, "Already labelled", "selection:selection")
    fill(page, "Save as", "wished")
    pre = page.locator("form pre")
    (tmp_path / "wished.yaml").write_text(pre.inner_text(), encoding="utf-8")
    page.get_by_role("button", name="Command", exact=True).click()
    command = shlex.split(pre.inner_text())
    page.get_by_role("button", name=f"Select {share_of_readable(client, 4)}", exact=True).click()
    opened(page, "wished")
    made = client.selection(WS, "wished", limit=50)
    asked = load(tmp_path / "wished.yaml", []).select.model_dump(mode="json")
    stored = made["evidence"]["config"]
    assert {key: stored[key] for key in asked if asked[key] != stored[key]} == {}
    assert command[:4] == ["curator", "select", "-w", WS]
    with copied_root() as root:
        (root / WS).rename(root / "own")
        told = CliRunner().invoke(app, ["select", "-w", str(root / "own"), *command[4:], "--set", "report.n_random=3"])
        assert told.exit_code == 0, told.output
        own = curator.open(root / "own").selection("wished")
    assert own.rows.tolist() == [pick["row"] for pick in made["picks"]]


def test_the_budget_line_cuts_the_stored_order_and_is_in_the_link(visit: Visit, client: curator.Client) -> None:
    stored = client.selection(WS, "selection", limit=100)
    jobs = len(client.jobs(workspace=WS))
    page = visit.open("select", name="selection")
    article = opened(page, "selection")
    over = article.locator(".u-over").bounding_box()
    assert over is not None
    page.mouse.move(over["x"] + over["width"] - 2, over["y"] + 50)
    page.mouse.down()
    page.mouse.move(over["x"] + over["width"] / 2, over["y"] + 50, steps=5)
    page.mouse.up()
    n = int(address(page)["n"])
    assert 4 <= n <= 9  # half of a logarithmic axis from 1 to 40
    article.get_by_role("link", name=f"Export {n}").wait_for()
    grid = article.get_by_role("listbox", name="Picks")
    assert grid.get_by_role("option").first.get_attribute("aria-setsize") == str(n)
    path = dict(zip(*stored["evidence"]["plan"]["path"], strict=True))
    article.get_by_text(f"They cover {100 * path[n]:.1f} %").wait_for()
    with urlopen(f"{visit.address}/v1/workspaces/{WS}/selections/selection/coverage") as answer:
        first = np.frombuffer(answer.read(), "<i4")
    n_covered = int(((first >= 0) & (first <= n)).sum())
    article.get_by_text(f"covered {n_covered} of {int((first >= -1).sum())} (").wait_for()
    balance = stored["evidence"]["balance"][0]
    article.get_by_text(f"Balance of all images and of the first {n} picks").click()
    taken = [pick["groups"][0] for pick in stored["picks"][:n]]
    value, size, _ = balance["groups"][0]
    row = article.get_by_role("table").first.get_by_role("row", name=re.compile(f"^{re.escape(value)} {size} "))
    assert row.get_by_role("cell").nth(2).inner_text().split()[0] == str(taken.count(value))
    needs = {need["share"]: need["picks"] for need in stored["evidence"]["plan"]["needs"]}
    article.get_by_text(f"95 % need {needs[0.95]} images").wait_for()
    page.reload()
    article.get_by_role("link", name=f"Export {n}").wait_for()
    assert len(client.jobs(workspace=WS)) == jobs  # nothing was run again


def test_picks_come_in_order_each_with_its_reason_and_gain(visit: Visit, client: curator.Client) -> None:
    first, second = client.selection(WS, "selection", limit=2)["picks"]
    page = visit.open("select", name="selection")
    article = opened(page, "selection")
    grid = article.get_by_role("listbox", name="Picks")
    assert first["reason"] in str(grid.locator("[aria-posinset='1']").get_attribute("aria-label"))
    article.get_by_role("combobox", name="Caption").select_option("gain")
    grid.locator("[aria-posinset='2'][aria-label*='gain']").click()
    article.get_by_text(f"2: {second['reason']}").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**row={second['row']}**")
    page.go_back()
    opened(page, "selection")


def test_another_selection_is_compared_and_the_link_says_so(visit: Visit, client: curator.Client) -> None:
    job = client.select(WS, name="control", budget=40, method="random")
    client.wait(job["id"])
    page = visit.open("select", name="selection")
    opened(page, "selection").get_by_label("Compare with").select_option("control")
    page.get_by_role("cell", name="coverage", exact=True).wait_for(timeout=60_000)
    assert address(page)["with"] == "control"
    page.get_by_role("button", name=re.compile("control 40")).click()
    opened(page, "control")
    assert "with" not in address(page)
    page.go_back()
    page.get_by_role("cell", name="coverage", exact=True).wait_for(timeout=60_000)


def test_a_wish_that_cannot_be_met_says_why(visit: Visit, client: curator.Client) -> None:
    before = client.selection(WS, "selection", limit=1)["n"]
    page = visit.open("select", name="selection")
    opened(page, "selection")
    page.get_by_text("Takes the place of the stored selection").wait_for()
    page.get_by_role("combobox", name="Method").select_option("strategies")
    page.get_by_role("combobox", name="Kind of strategy 1").select_option("weights")
    page.get_by_label("column", exact=True).fill("no_such_column")
    fill(page, "Save as", "broken")
    page.get_by_role("button", name=re.compile("^Select ")).click()
    page.get_by_text(re.compile("no column.*no_such_column")).first.wait_for(timeout=60_000)
    assert "broken" not in [one["name"] for one in client.selections(WS)]
    assert client.selection(WS, "selection", limit=1)["n"] == before


def test_a_selection_that_is_not_there_is_said_to_be_missing(visit: Visit) -> None:
    page = visit.open("select", name="nowhere")
    page.get_by_text("There is no selection “nowhere”").wait_for()
