"""The import law: a module imports only modules listed above it; pure modules stay pure; imports stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = [
    "version", "errors", "data",
    "images", "quality", "index", "hashing", "neardups", "calibration", "cluster", "layout", "projection",
    "selection", "evidence", "outliers", "splits",
    "config", "disk", "snapshot", "workspace", "state", "snapshots", "filters", "catalog", "sources", "exchange",
    "embed", "loader", "report",
    "pipeline",
    "searching", "mining", "handoff", "doctor", "client", "cli",
]  # fmt: skip
PURE = ORDER[: ORDER.index("config")]
HEAVY = {"torch", "transformers", "faiss", "onnxruntime", "onnx", "umap", "hdbscan", "sklearn", "scipy", "numba", "av",
         "duckdb"}  # fmt: skip


def modules() -> list[tuple[str, Path]]:
    """(top-level name inside curator, file) of every source file."""
    out = []
    for path in sorted((ROOT / "curator").rglob("*.py")):
        parts = path.relative_to(ROOT / "curator").with_suffix("").parts
        if parts not in (("__init__",), ("__main__",)):
            out.append((parts[0], path))
    return out


def imported(path: Path) -> set[str]:
    """Dotted modules a file imports at any depth, type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_at_the_top(path: Path) -> set[str]:
    """First names of what a file imports when it is imported."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_module_has_its_place_in_the_law() -> None:
    assert {name for name, _ in modules()} == set(ORDER)


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_a_module_imports_only_modules_above_it(name: str, path: Path) -> None:
    used = {dotted.split(".")[1] for dotted in imported(path) if dotted.startswith("curator.")}
    wrong = sorted(u for u in used if u in ORDER and u != name and ORDER.index(u) > ORDER.index(name))
    assert not wrong, f"{path.name} imports {wrong}, which stand below it"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_nothing_heavy_is_imported_at_the_top(name: str, path: Path) -> None:
    assert not imported_at_the_top(path) & HEAVY


@pytest.mark.parametrize("path", [path for name, path in modules() if name in PURE], ids=lambda path: path.name)
def test_pure_modules_know_no_configuration_and_no_disk(path: Path) -> None:
    assert not imported_at_the_top(path) & {"pydantic", "pyarrow", "yaml", "fsspec", "filelock", "typer"}


def test_curator_never_imports_the_service() -> None:
    for _, path in modules():
        assert not any(dotted.split(".")[0] == "service" for dotted in imported(path)), path


def loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return {name.split(".")[0] for name in out.stdout.split()}


def test_importing_curator_loads_next_to_nothing() -> None:
    assert not loaded_by("import curator") & (HEAVY | {"numpy", "pyarrow", "pydantic", "typer", "rich"})


def test_help_loads_no_library_of_numbers() -> None:
    code = "from typer.testing import CliRunner\nfrom curator.cli import app\nCliRunner().invoke(app, ['--help'])"
    assert not loaded_by(code) & (HEAVY | {"numpy", "pyarrow", "pydantic", "yaml", "fsspec", "PIL"})
