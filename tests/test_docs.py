"""The README and the configuration say what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import curator
from curator import embed
from curator.cli import app
from curator.exchange import FORMATS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_the_command_table_lists_every_command() -> None:
    listed = re.findall(r"^\| `curator (\S+)` \|", README, flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example_and_json(name: str) -> None:
    command = COMMANDS[name]
    assert re.search(rf"Example: curator {name}\b", command.help)
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_every_option_used_in_an_example_exists() -> None:
    for name, command in COMMANDS.items():
        known = {option for parameter in command.params for option in parameter.opts}
        example = re.search(r"Example: curator (.*)", command.help)
        assert example is not None
        assert set(re.findall(r"(?<=\s)(--?[a-z][a-z-]*)", example[1])) <= known, name


def test_commands_in_the_readme_exist_with_their_options() -> None:
    for block in re.findall(r"```\n(.*?)```", README, flags=re.DOTALL):
        for line in re.findall(r"^curator (.*)$", block, flags=re.MULTILINE):
            name, *words = re.sub(r'"[^"]*"', "", line).split()
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= known, line


def test_the_model_table_lists_every_model() -> None:
    listed = re.findall(
        r"^\| `([a-z:A-Z_0-9-]+)` \|", README.split("### Models")[1].split("###")[0], flags=re.MULTILINE
    )
    assert sorted(listed) == sorted(model.name for model in embed.models())


def test_export_formats_are_named_in_the_help() -> None:
    option = next(p for p in COMMANDS["export"].params if p.name == "format")
    assert all(name in option.help for name in FORMATS)


def test_files_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"`(scripts/[a-z_.]+(?:\.py)?)`", README):
        assert (ROOT / script).exists(), script


def test_the_module_table_lists_every_module() -> None:
    table = README.split("| module | knows |")[1].split("\n\n")[0]
    listed = set(re.findall(r"`([a-z]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:])))
    modules = {
        path.stem for path in (ROOT / "curator").iterdir() if not path.stem.startswith("_") and path.name != "py.typed"
    }
    assert listed == modules - {"version"}


def test_the_public_names_are_the_declared_ones() -> None:
    assert sorted(curator.__all__) == sorted([
        "Catalog", "Client", "Config", "CuratorError", "Embeddings", "Neighbors", "Sample", "Selection", "Workspace",
        "__version__", "export", "load_config", "open", "run", "run_one", "search", "verify",
    ])  # fmt: skip
    assert all(getattr(curator, name) is not None for name in curator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = curator.nonsense


def test_the_version_is_the_packages() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "curator", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == f"curator {curator.__version__}"
    assert re.search(
        rf"^## {re.escape(curator.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE
    )


def test_the_route_table_lists_every_route(tmp_path: Path) -> None:
    from service.app import create_app
    from service.settings import Settings

    app = create_app(Settings(tmp_path))
    app.state.service.state.close()
    routes = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z]+ /\S*)` \|", text, flags=re.MULTILINE)) == routes


def test_every_test_that_the_security_page_names_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > 20
    for file, test in named:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in source, f"{file}::{test}"


def test_no_figure_is_left_to_fill_in() -> None:
    assert "FIGURES" not in README
