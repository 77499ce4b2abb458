"""A first visit to the page: python scripts/_newcomer.py ADDRESS WORKSPACE."""

from __future__ import annotations

import csv
import io
import re
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import browser, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def visit(opened: Browser, address: str, ws: str, *, budget: int = 50) -> list[str]:
    """Find a duplicate group, search by a pasted picture, select some and take them along.

    Returns:
        Uris of the exported picks, best first.
    """
    with visiting(opened, address) as one:
        page = one.page
        page.goto(address)
        page.locator(".tile img").first.wait_for(timeout=60_000)
        page.get_by_role("link", name="Duplicates").click()
        page.get_by_role("heading", name=re.compile("Group 1 of")).wait_for()
        page.keyboard.press("Enter")
        page.locator(".toast", has_text="Group 1 confirmed").wait_for()

        page.get_by_role("link", name="Search").click()
        page.get_by_text("Search by a picture").wait_for()
        with urllib.request.urlopen(f"{address}/v1/workspaces/{ws}/images/5?size=400", timeout=60) as answer:
            one.paste(answer.read())
        page.locator(".tile img").first.wait_for()

        page.get_by_role("link", name="Select", exact=True).click()
        page.get_by_label("Images", exact=True).fill(str(budget))
        page.keyboard.press("Tab")
        page.get_by_label("Save as").fill("first-visit")
        page.get_by_role("button", name=f"Select {budget}").click()
        page.get_by_role("article", name="Selection first-visit").wait_for(timeout=120_000)
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Export {budget}").click()
        lines = csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8")))
        return [line["uri"] for line in lines]


def main() -> None:
    with browser() as opened:
        picked = visit(opened, sys.argv[1], sys.argv[2])
    assert len(picked) == 50, picked
    print(f"a duplicate group confirmed, a picture found, {len(picked)} frames exported, the first {picked[0]}")


if __name__ == "__main__":
    main()
