"""One damaged workspace among good ones: 503 in the one error shape with what to do, while the others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from curator import index
from curator.state import open_state
from curator.workspace import Workspace, open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import small_root
from tests.small_workspaces import workspace_of
from tests.vectors import clumps

BAD, GOOD = "/v1/workspaces/bad", "/v1/workspaces/good"
SEARCH = ("POST", "search", {"positives": [{"row": 0}], "k": 3})
FILTERED = ("POST", "search", {"positives": [{"row": 0}], "filter": {"column": "brightness", "gt": 0}})
GROUPED = ("POST", "search", {"positives": [{"row": 0}], "group_by": "neardup"})
IVF = index.IndexSpec(kind="ivf", min_recall=0.5, sample=50)
Asked = tuple[str, str, Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("good", "bad"):
        shutil.copytree(small_root() / "street", tmp_path / "served" / name)
        with open_state(tmp_path / "served" / name) as state:
            state.decide("tag", rows=[1, 2], subject="night", who="ann")
    return tmp_path / "served"


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as found:
        yield found


def ask(client: TestClient, base: str, asked: Asked) -> Any:
    method, path, body = asked
    return client.request(method, f"{base}/{path}".rstrip("/"), json=body)


def refused(answer: Any, root: Path) -> None:
    """503, named, with a hint, without a path of the server or a library's words for it."""
    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["code"] in ("DamagedWorkspace", "NewerFormat")
    assert error["message"]
    assert error["hint"], error
    assert str(root) not in answer.text
    assert "Traceback" not in answer.text


def goes_on(client: TestClient) -> None:
    """Everything about the other workspace."""
    for asked in (SEARCH, FILTERED, GROUPED, ("GET", "tags", None), ("GET", "", None), ("GET", "images/0", None)):
        assert ask(client, GOOD, asked).status_code == 200
    assert client.get("/readyz").status_code == 200
    listed = {one["name"]: one["error"] for one in client.get("/v1/workspaces").json()["workspaces"]}
    assert listed["good"] is None


def current(place: Path, key: str) -> Path:
    """The file of the published snapshot under a key."""
    workspace = open_workspace(place)
    return workspace.file(workspace.entries(key)[0])


def rows_file(place: Path) -> Path:
    workspace = open_workspace(place)
    return place / str(workspace.entries("vectors/colour")[0].meta["rows"])


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no such file" * 50)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gone(path: Path) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {"garbage": garbage, "cut": cut, "gone": gone}
FILES: list[tuple[str, Callable[[Path], Path], Asked]] = [
    ("vectors", lambda place: current(place, "vectors/colour"), SEARCH),
    ("rows of the vectors", rows_file, SEARCH),
    ("samples", lambda place: current(place, "samples"), ("POST", "rows/query", {"fields": ["uri"]})),
    ("pixels", lambda place: current(place, "columns/pixels"), FILTERED),
    ("near-duplicates", lambda place: current(place, "columns/neardup"), GROUPED),
    ("near-duplicates", lambda place: current(place, "columns/neardup"), ("GET", "duplicates", None)),
    ("map", lambda place: current(place, "columns/map"), ("GET", "map", None)),
    ("selection", lambda place: current(place, "selections/selection"), ("GET", "selections/selection", None)),
    ("samples", lambda place: current(place, "samples"), ("GET", "rows/0", None)),
    ("samples", lambda place: current(place, "samples"), ("GET", "rows/0/why", None)),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("what", "file", "asked"), FILES, ids=[f"{what} {asked[1]}" for what, _, asked in FILES])
def test_a_broken_file_is_told_and_the_others_go_on(
    client: TestClient, root: Path, what: str, file: Callable[[Path], Path], asked: Asked, damage: str
) -> None:
    DAMAGES[damage](file(root / "bad"))
    refused(ask(client, BAD, asked), root)
    goes_on(client)
    refused(ask(client, BAD, asked), root)  # not only the first time


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_broken_state_is_told_and_the_others_go_on(client: TestClient, root: Path, damage: str) -> None:
    DAMAGES[damage](root / "bad" / "state.db")
    decision = {"kind": "review", "rows": [1], "value": "accept"}
    asked: list[Asked] = [
        ("GET", "tags", None), ("POST", "tags/x/rows", {"rows": [1]}), ("POST", "decisions", decision),
        ("GET", "campaigns", None), ("GET", "state", None), SEARCH,
    ]  # fmt: skip
    for one in asked:
        refused(ask(client, BAD, one), root)
    goes_on(client)


MANIFESTS = {
    "cut": b'{"format": 1, "seq', "empty": b"", "null": b"null", "a list": b"[]", "bytes": b"\xff\xfe\x00",
    "deep": b"[" * 100_000, "of a later version": b'{"format": 999}', "without entries": b'{"format": 1}',
}  # fmt: skip


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS)
def test_a_broken_manifest_is_told_and_listed(client: TestClient, root: Path, text: bytes) -> None:
    (root / "bad" / "workspace.json").write_bytes(text)
    for asked in (SEARCH, ("GET", "", None), ("GET", "columns", None), ("POST", "jobs", {"kind": "verify"})):
        refused(ask(client, BAD, asked), root)
    listed = {one["name"]: one["error"] for one in client.get("/v1/workspaces").json()["workspaces"]}
    assert set(listed["bad"]) == {"code", "message", "hint"}
    goes_on(client)


def test_a_half_deleted_workspace_is_told(client: TestClient, root: Path) -> None:
    for name in ("vectors", "index", "columns", "samples"):
        shutil.rmtree(root / "bad" / name)
    for asked in (SEARCH, FILTERED, ("GET", "columns", None), ("GET", "rows/0", None)):
        refused(ask(client, BAD, asked), root)
    goes_on(client)
    shutil.rmtree(root / "bad")
    answer = ask(client, BAD, SEARCH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NotFound")
    goes_on(client)


# -- the index -----------------------------------------------------------------------------------------------------


def indexed(path: Path, *, n: int = 600, dim: int = 16, seed: int = 0) -> Workspace:
    return workspace_of(path, clumps(np.random.default_rng(seed), n, dim, n_clumps=20), spec=IVF)


def stored_index(place: Workspace) -> Path:
    return place.path / str(place.entries("index/colour")[0].meta["faiss"])


def of_other_dimensions(path: Path, tmp_path: Path) -> None:
    shutil.copyfile(stored_index(indexed(tmp_path / "wider", dim=24)), path)


def of_fewer_images(path: Path, tmp_path: Path) -> None:
    shutil.copyfile(stored_index(indexed(tmp_path / "fewer", n=500)), path)


@pytest.mark.parametrize(
    "damage", [lambda path, _: garbage(path), lambda path, _: cut(path), lambda path, _: gone(path),
               of_other_dimensions, of_fewer_images],
    ids=["garbage", "cut", "gone", "of another model", "of fewer images"],
)  # fmt: skip
def test_an_index_that_is_not_this_spaces_is_told(root: Path, tmp_path: Path, damage: Any) -> None:
    shutil.rmtree(root / "bad")
    damage(stored_index(indexed(root / "bad")), tmp_path)
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as client:
        refused(ask(client, BAD, SEARCH), root)
        goes_on(client)


# -- while it is served --------------------------------------------------------------------------------------------


def test_what_is_held_answers_on_and_a_broken_snapshot_is_not_taken_over(client: TestClient, root: Path) -> None:
    before = ask(client, BAD, SEARCH).json()
    current(root / "bad", "vectors/colour").unlink()
    assert ask(client, BAD, SEARCH).json() == before
    body = json.loads((root / "bad" / "workspace.json").read_text())
    body["sequence"] += 1
    body["entries"]["vectors/colour"][0]["file"] += ".gone"
    (root / "bad" / "workspace.json").write_text(json.dumps(body))
    for _ in range(5):
        answer = ask(client, BAD, SEARCH)
        assert (answer.status_code, answer.json()["hits"]) == (200, before["hits"])
    goes_on(client)
    (root / "bad" / "workspace.json").write_text("{")
    refused(ask(client, BAD, SEARCH), root)
    goes_on(client)


def test_a_mended_workspace_answers_again_without_a_restart(client: TestClient, root: Path) -> None:
    before = ask(client, GOOD, SEARCH).json()["hits"]
    for key in ("vectors/colour", "columns/pixels"):
        path = current(root / "bad", key)
        path.rename(path.with_name("aside"))
        refused(ask(client, BAD, FILTERED), root)
        path.with_name("aside").rename(path)
    assert ask(client, BAD, FILTERED).status_code == 200
    assert ask(client, BAD, SEARCH).json()["hits"] == before
    (root / "bad" / "state.db").rename(root / "aside")
    (root / "bad" / "state.db").write_bytes(b"no database" * 100)
    refused(ask(client, BAD, ("GET", "tags", None)), root)
    (root / "aside").rename(root / "bad" / "state.db")
    assert ask(client, BAD, ("GET", "tags", None)).json()["tags"] == [{"name": "night", "count": 2}]
