"""The workspace that benchmarks search in: made once, opened again, and like any other."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from curator.filters import parse_filter
from curator.searching import Example, Request, open_served
from curator.workspace import Workspace


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "scripts"))
    yield importlib.import_module("_workspaces").synthetic_workspace
    for name in ("_workspaces", "_synthetic"):
        sys.modules.pop(name, None)


def test_a_synthetic_workspace_is_searched_like_any_other(make: Any, tmp_path: Path) -> None:
    place: Workspace = make(tmp_path / "w", 600, 16)
    served = open_served(place)
    assert (place.n_rows, len(served.space())) == (600, 600)
    half = parse_filter({"column": "share", "lt": 0.5})
    assert 240 < int(served.mask(half).sum()) < 360
    answer = served.search(Request((Example(row=5),), filter=half, group_by="neardup", fields=("uri", "weather")))
    assert len({hit.group for hit in answer.hits}) == 10
    assert served.facets(None, ["speed_kmh"])[0].missing > 0
    assert served.near_duplicates(Example(row=5)).threshold == 0.95


def test_it_is_opened_again_and_another_is_refused(make: Any, tmp_path: Path) -> None:
    first = make(tmp_path / "w", 300, 8)
    again = make(tmp_path / "w", 300, 8)
    assert again.snapshot == first.snapshot
    with pytest.raises(SystemExit, match="holds another workspace than .*'n': 400.*name a new folder"):
        make(tmp_path / "w", 400, 8)
