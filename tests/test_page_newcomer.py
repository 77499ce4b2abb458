"""The way of `scripts/newcomer` through the page, without the fresh clone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import curator
from tests.serving import Server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from _newcomer import visit as first_visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.mark.slow
def test_a_newcomer_gets_from_the_start_to_a_list_of_frames(
    chromium: Browser, page_server: Server, client: curator.Client
) -> None:
    picked = first_visit(chromium, page_server.address, "street", budget=50)
    stored = client.selection("street", "first-visit", limit=50)
    assert picked == [pick["uri"] for pick in stored["picks"]]
    assert len(picked) == 50
    assert client.decisions("street", kind="review", subject="duplicates")
