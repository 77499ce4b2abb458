"""The configuration: defaults, files, overrides, and errors that name the dotted place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from curator import config
from curator.errors import BadConfig

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "default.yaml"


def test_default_yaml_lists_every_key_with_its_default() -> None:
    assert config.load(DEFAULT) == config.Config()
    data = yaml.safe_load(DEFAULT.read_text())
    listed = {
        f"{s}.{k}" if isinstance(v, dict) else s for s, v in data.items() for k in (v if isinstance(v, dict) else [""])
    }
    assert listed == set(config.known_keys())


@pytest.mark.parametrize("path", sorted(DEFAULT.parent.glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config.load(path)


def test_overrides_win_over_the_file_and_the_file_over_the_base(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("neardups: {threshold: 0.9}\nselect: {budget: 7}\n")
    got = config.load(file, ["neardups.threshold=0.8"], base={"seed": 3, "select": {"budget": 1, "method": "diverse"}})
    assert (got.seed, got.neardups.threshold, got.select.budget, got.select.method) == (3, 0.8, 7, "diverse")


def test_tagged_unions_change_their_kind() -> None:
    got = config.load(None, ["cluster.method={kind: hdbscan, min_cluster_size: 4}"])
    assert got.cluster.method == config.Hdbscan(min_cluster_size=4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("neardups.treshold=0.9", r"unknown key 'neardups.treshold'; did you mean 'neardups.threshold'\?"),
        ("nonsense.key=1", "unknown key 'nonsense'"),
        ("neardups.threshold=1.5", "neardups.threshold: found 1.5; .*cosine above 0 and up to 1"),
        ("neardups.threshold=two words", "neardups.threshold: found 'two words'; .*the name of a calibration"),
        ("neardups.keep=best", "neardups.keep: found 'best'"),
        ("sources={fps: 2, keyframes: true}", "sources: found .*at most one of fps, every_nth and keyframes"),
        ("neardups.threshold", "cannot read the setting 'neardups.threshold'; expected section.key=value"),
    ],
)
def test_a_bad_setting_is_named_with_its_place(override: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        config.load(None, [override])


def test_null_takes_a_setting_back() -> None:
    base = {"select": {"budget": 7, "where": "row > 3"}, "split": {"ratios": "1,1"}, "embed": {"model": "colour"}}
    back = ["select.budget=null", "select.where=null", "split.ratios=null", "embed.model=null", "neardups.keep=null"]
    assert config.load(None, back, base=base) == config.Config()


def test_keys_that_do_not_go_together_are_told_without_the_whole_section() -> None:
    with pytest.raises(BadConfig, match=r"^select: method uncertainty needs scores"):
        config.load(None, ["select.method=uncertainty"], base=config.Config().model_dump())


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot read the configuration file .*gone.yaml"):
        config.load(tmp_path / "gone.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(BadConfig, match="holds a list; expected sections"):
        config.load(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(BadConfig, match="is not YAML"):
        config.load(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert config.load(tmp_path / "empty.yaml") == config.Config()
