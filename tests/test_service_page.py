"""The page as files: what is served, how, and that its types are those of the server."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.routes import page
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "service" / "web"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(Settings(root=tmp_path))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of one script, built and compressed."""
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    for name, text in (
        ("index.html", "<!doctype html>"),
        ("assets/index-1a2b.js", "let a = 1"),
        ("icon.svg", "<svg/>"),
    ):
        (static / name).write_text(text)
        (static / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "secret.txt").write_text("no")
    monkeypatch.setattr(page, "STATIC", static)
    return static


def test_the_page_comes_with_a_policy_that_lets_it_load_nothing_from_elsewhere(served: TestClient, built: Path) -> None:
    answer = served.get("/")
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"unsafe|https?:|\*", answer.headers["content-security-policy"])
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_files_are_kept_for_good_and_sent_compressed_where_that_is_understood(served: TestClient, built: Path) -> None:
    packed = served.get("/assets/index-1a2b.js", headers={"accept-encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == "let a = 1"
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["content-type"].startswith("text/javascript")
    plain = served.get("/assets/index-1a2b.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == "let a = 1"


@pytest.mark.parametrize(
    "path", ["/assets/none.js", "/assets/..%2F..%2Fsecret.txt", "/assets/..%2Findex.html", "/assets/%2e%2e"]
)
def test_no_other_file_has_an_address(served: TestClient, built: Path, path: str) -> None:
    answer = served.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] in ("NotFound", "UnknownPath")


def test_where_the_page_was_not_built_it_says_how(
    served: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "STATIC", tmp_path / "nowhere")
    answer = served.get("/")
    assert "npm run build" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


def test_the_page_needs_no_token_and_its_data_does(tmp_path: Path, built: Path) -> None:
    app = create_app(Settings(root=tmp_path, require_token=True))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/").status_code == 200
        assert client.get("/assets/index-1a2b.js").status_code == 200
        assert client.get("/v1/workspaces").status_code == 401


def test_types_of_the_page_are_those_of_the_server(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (WEB / "node_modules").is_dir():
        pytest.skip("no Node, or the page's packages are not installed: run `npm ci` in service/web")
    contract = json.dumps(create_app(Settings(root=tmp_path)).openapi())
    made = subprocess.run([node, "types.mjs"], cwd=WEB, input=contract, capture_output=True, text=True, check=True)
    stored = (WEB / "src" / "lib" / "schema.d.ts").read_text(encoding="utf-8")
    assert made.stdout == stored, "the contract changed: curl -s .../v1/openapi.json > openapi.json; npm run types"


def test_nothing_that_was_built_is_committed() -> None:
    ignored = (WEB.parents[1] / ".gitignore").read_text(encoding="utf-8").split()
    assert "/service/static/" in ignored
    assert "node_modules/" in ignored
    assert (WEB / "package-lock.json").is_file()


def test_the_environment_is_made_anew_for_whatever_the_page_is_built_from() -> None:
    hook = (WEB / "hatch_build.py").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^SOURCES = \((.*)\)$", hook, re.MULTILINE)
    (found,) = re.findall(r"find (.*?) \\$", (ROOT / "scripts" / "_venv").read_text(encoding="utf-8"), re.MULTILINE)
    assert found.split() == re.findall(r'"([^"]+)"', listed)
