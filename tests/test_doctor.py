"""What the doctor finds, and how it says to mend it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from curator import doctor


def installed(*names: str) -> list[Distribution]:
    return [cast(Distribution, SimpleNamespace(metadata={"Name": name}, version="1.0", requires=[])) for name in names]


def test_two_faiss_wheels_are_a_problem_with_its_mend() -> None:
    finding = doctor._faiss(installed("faiss-cpu", "numpy", "faiss-gpu-cu12"))
    assert finding.state == "problem"
    assert "faiss-cpu 1.0, faiss-gpu-cu12 1.0" in finding.found
    assert "pip uninstall" in finding.mend


def test_no_faiss_is_a_warning_and_one_is_well() -> None:
    assert doctor._faiss(installed("numpy")).state == "warning"
    assert doctor._faiss(installed("faiss-cpu")).state == "ok"


def test_a_torchvision_that_does_not_import_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: object() if n == "torchvision" else real(n, *a))
    finding = doctor._torchvision()  # the name is there and the import fails, as with a CUDA build beside a CPU torch
    assert finding.state == "problem"
    assert finding.mend == "pip uninstall -y torchvision"


def test_a_gpu_the_driver_sees_and_torch_does_not_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*_: Any, **__: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], 0, b"GPU 0: some card")

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", listed)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert doctor._torch().state == "warning"


def test_missing_packages_are_named() -> None:
    own = cast(
        Distribution,
        SimpleNamespace(
            metadata={"Name": "curator"}, version="1", requires=["numpy>=2", "duckdb>=1", "pytest>=8; extra == 'test'"]
        ),
    )
    finding = doctor._packages([own, *installed("numpy")])
    assert finding.state == "problem"
    assert finding.found == "missing: duckdb"


def test_little_disk_is_a_warning_also_for_a_folder_that_does_not_exist_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor._disk(tmp_path / "not" / "yet").found.endswith(str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000_000))
    assert doctor._disk(tmp_path).state == "warning"


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATOR_CACHE", str(tmp_path / "cache"))
    assert doctor._cache().state == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert doctor._cache().state == "warning"


def test_this_installation_has_no_problem() -> None:
    assert [finding for finding in doctor.examine() if finding.state == "problem"] == []
