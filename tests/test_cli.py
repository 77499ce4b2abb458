"""The command line: every command, its JSON, its exit codes, and errors in one line without a traceback."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import curator
from curator import pipeline
from curator.cli import app
from curator.config import load
from curator.workspace import create_workspace, open_workspace

FAST = [
    "--set",
    "embed.model=colour",
    "--set",
    "map.kind=pca",
    "--set",
    "report.n_random=3",
    "--set",
    "index.neighbors=5",
]


def call(*args: object, code: int = 0) -> str:
    """Run a command in this process; returns standard output."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
    return result.stdout


def told(*args: object, code: int) -> str:
    """The one line in which a command that fails says why."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


def as_json(*args: object) -> Any:
    return json.loads(call(*args, "--json"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workspace, made through the command line."""
    from tests.conftest import picture

    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for i in range(12):
        picture(rng).save(folder / f"{i:02d}.jpg", quality=90)
    (folder / "broken.jpg").write_text("no picture")
    where = tmp_path_factory.mktemp("w") / "w"
    out = call("run", folder, "-w", where, "--select", "3", *FAST)
    assert "13 images found → 3 to label" in out
    assert str(where / "report" / "index.html") in out
    return where


def test_version() -> None:
    assert call("--version").strip() == f"curator {curator.__version__}"


def test_run_again_says_that_all_was_up_to_date_and_reads_the_stored_settings(place: Path) -> None:
    assert "everything was up to date" in call("run", "-w", place)


def test_run_in_json_gives_stages_funnel_and_certificate(place: Path) -> None:
    body = as_json("run", "-w", place)
    assert [stage["stage"] for stage in body["stages"]] == list(pipeline.NAMES)
    assert all(stage["skipped"] for stage in body["stages"])
    assert body["funnel"]["unreadable"] == 1
    assert body["certificate"]["orphans"] == 0
    assert isinstance(body["verdict"], str)


def test_both_doors_give_the_same_selection(place: Path, tmp_path: Path) -> None:
    sources = open_workspace(place).snapshot.sources
    config = load(None, [*FAST[1::2], "select.budget=3"])
    again = pipeline.run(sources, tmp_path / "api", config).workspace
    through_cli, through_api = open_workspace(place).selection("selection"), again.selection("selection")
    assert through_cli.rows.tolist() == through_api.rows.tolist()
    assert through_cli.reasons == through_api.reasons
    assert open_workspace(place).embeddings().vectors.tobytes() == again.embeddings().vectors.tobytes()


def test_search_by_row_prints_rows_and_scores_and_the_same_in_json(place: Path) -> None:
    lines = call("search", "-w", place, "--row", 0, "-k", 4).splitlines()
    hits = as_json("search", "-w", place, "--row", 0, "-k", 4)["hits"]
    assert [int(line.split()[1]) for line in lines] == [hit["row"] for hit in hits]
    assert [hit.row for hit in curator.search(curator.open(place), row=0, k=4).hits] == [hit["row"] for hit in hits]


def test_show_tells_what_is_known_and_where_the_row_was_picked(place: Path) -> None:
    row = int(open_workspace(place).selection("selection").rows[0])
    body = as_json("show", row, "-w", place)
    assert body["row"] == row
    assert body["selections"][0]["rank"] == 1
    assert f"{row}.jpg" in call("show", row, "-w", place)


def test_info_says_what_is_current_and_names_the_unreadable(place: Path) -> None:
    body = as_json("info", "-w", place)
    assert set(body["stages"].values()) == {"current"}
    assert [fault["reason"] for fault in body["unreadable"]] == ["not_an_image"]
    assert "broken.jpg" in call("info", "-w", place)


def test_columns_models_and_doctor_answer(place: Path) -> None:
    assert {"sharpness", "cluster", "uri"} <= {column["name"] for column in as_json("columns", "-w", place)}
    assert {"colour", "efficientnet-lite0"} <= {model["name"] for model in as_json("models")}
    findings = {finding["name"]: finding for finding in as_json("doctor")}
    assert findings["faiss"]["state"] == findings["torch"]["state"] == "ok"
    assert "sharpness" in call("columns", "-w", place)
    assert "colour" in call("models")
    assert "cores usable" in call("doctor", "-w", place)


def test_verify_holds_and_fails_with_code_1_when_it_does_not(place: Path, tmp_path: Path) -> None:
    assert "everything holds" in call("verify", "-w", place)
    assert as_json("verify", "-w", place)["certificate"]["orphans"] == 0
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    next((copy / "thumbs").iterdir()).unlink()
    result = CliRunner().invoke(app, ["verify", "-w", str(copy)])
    assert result.exit_code == 1
    assert "is gone" in result.stderr


@pytest.mark.parametrize("format", ["paths", "csv", "parquet", "coco-images"])
def test_export_writes_the_selection(place: Path, tmp_path: Path, format: str) -> None:
    assert as_json("export", "selection", "-w", place, "--format", format, "--to", tmp_path / "out")["count"] == 3
    assert (tmp_path / "out").stat().st_size > 0


def test_export_of_a_prefix_keeps_the_order(place: Path, tmp_path: Path) -> None:
    call("export", "selection", "-w", place, "--to", tmp_path / "out.csv", "--first", 2)
    with (tmp_path / "out.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert [int(record["row"]) for record in records] == open_workspace(place).selection("selection").rows[:2].tolist()


def test_select_with_flags_makes_a_second_selection(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    call("select", "-w", copy, "--name", "dark", "--method", "diverse", "--budget", 2, "--where", "row < 8")
    assert set(open_workspace(copy).names("selections")) == {"selection", "dark"}
    assert (open_workspace(copy).selection("dark").rows < 8).all()


def test_neardups_with_flags_changes_the_threshold(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    body = as_json("neardups", "-w", copy, "--threshold", 0.2, "--keep", "sharpest")
    assert body["counts"]["threshold"] == 0.2
    assert body["counts"]["n_kept"] < 12


def test_each_stage_is_a_command(tmp_path: Path, image_folder: Path) -> None:
    call("ingest", image_folder, "-w", tmp_path / "w", *FAST)
    for name in pipeline.NAMES[1:]:
        assert not as_json(name, "-w", tmp_path / "w")["skipped"]
        assert as_json(name, "-w", tmp_path / "w")["skipped"]
    assert (tmp_path / "w" / "report" / "index.html").exists()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["run", "{empty}", "-w", "{new}"], 1, "no image or video in"),
        (["run", "/no/such/folder", "-w", "{new}"], 1, "/no/such/folder"),
        (["run", "{empty}", "-w", "{new}", "--model", "resnet"], 2, "resnet"),
        (["run", "{empty}", "-w", "{new}", "--set", "select.bugdet=5"], 2, "unknown key 'select.bugdet'"),
        (["run", "{empty}", "-w", "{new}", "--set", "select.budget=[1]"], 2, "select.budget"),
        (["run", "{empty}", "-w", "{new}", "--config", "/no/such.yaml"], 2, "cannot read the configuration file"),
        (["run", "{empty}", "-w", "{new}", "--fps", "2", "--keyframes"], 2, "at most one of fps, every_nth"),
        (["info", "-w", "{new}"], 1, "is not a workspace"),
        (["show", "999", "-w", "{place}"], 2, "no row 999"),
        (["search", "-w", "{place}"], 2, "at least 1 positive example (row, image, vector, text, collection)"),
        (["search", "-w", "{place}", "--row", "1", "--where", "blur >"], 2, "cannot use the filter 'blur >'"),
        (["search", "-w", "{place}", "--row", "12"], 1, "row 12 has no vector"),
        (["search", "-w", "{place}", "--image", "/no/such.jpg"], 1, "cannot read the query image"),
        (["search", "-w", "{place}", "--row", "1", "--space", "clip"], 2, "no embedding space 'clip'"),
        (["select", "-w", "{place}", "--budget", "0"], 2, "budget"),
        (["select", "-w", "{place}", "--method", "best"], 2, "select.method: found 'best'"),
        (["select", "-w", "{place}", "--per-group", "colour"], 2, "no column 'colour'"),
        (["neardups", "-w", "{place}", "--keep", "max:nothing"], 2, "nothing"),
        (["export", "nothing", "-w", "{place}", "--to", "{new}"], 2, "no selection 'nothing'"),
        (["export", "selection", "-w", "{place}", "--to", "{new}", "--format", "zip"], 2, "zip"),
        (["export", "selection", "-w", "{place}", "--to", "{new}", "--first", "0"], 2, "first is 0"),
        (["export", "selection", "-w", "{place}", "--to", "{new}", "--image-format", "gif"], 2, "image format 'gif'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(
    place: Path, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"empty": tmp_path / "empty", "new": tmp_path / "new", "place": place}
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file() and ".lock" not in path.name}
    assert re.search(re.escape(words), told(*[arg.format(**names) for arg in args], code=code))
    after = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file() and ".lock" not in path.name}
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed <= {"runs.jsonl"}, "the workspace is as it was"


def test_errors_in_json_carry_a_code_and_a_message(place: Path) -> None:
    result = CliRunner().invoke(app, ["show", "999", "-w", str(place), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "UnknownRow"


def test_a_locked_workspace_names_the_holder(tmp_path: Path, image_folder: Path) -> None:
    with create_workspace(tmp_path / "w").writing("test"):
        assert f"process {os.getpid()}" in told("run", image_folder, "-w", tmp_path / "w", *FAST, code=1)


def test_unknown_options_and_commands_are_usage_errors() -> None:
    assert CliRunner().invoke(app, ["run", "--nonsense"]).exit_code == 2
    assert CliRunner().invoke(app, ["dance"]).exit_code == 2


def test_a_folder_that_cannot_be_written_is_said_to_a_process_without_privileges(image_folder: Path) -> None:
    code = (
        "import os, sys\n"
        "from curator.cli import main\n"  # before privileges go: the checkout may be closed to others
        "import curator.pipeline, filelock\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "main()\n"
    )
    with tempfile.TemporaryDirectory() as open_folder:
        Path(open_folder).chmod(0o755)
        shutil.copytree(image_folder, f"{open_folder}/images")
        locked = Path(open_folder) / "locked"
        locked.mkdir(mode=0o555)
        locked.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", code, "run", f"{open_folder}/images", "-w", str(locked / "w"), *FAST],
            capture_output=True, text=True, cwd=Path(curator.__file__).parents[1],
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_example_of_cluster_works_on_a_workspace_that_has_settings(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    call("cluster", "-w", copy, "--set", "cluster.method={kind: hdbscan, min_cluster_size: 3, space: pca}")
    call("cluster", "-w", copy, "--set", "cluster.method={kind: kmeans}")


def test_an_empty_flag_takes_a_stored_setting_back(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    call("select", "-w", copy, "--where", "uri <> '😀' and row < 4", "--budget", 2)
    assert "where" in as_json("select", "-w", copy)["counts"]
    call("select", "-w", copy, "--where", "")
    assert "where" not in as_json("select", "-w", copy)["counts"]


def test_a_configuration_file_starts_from_the_defaults(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    (tmp_path / "c.yaml").write_text("embed: {model: colour}\nindex: {neighbors: 5}\nselect: {budget: 4}\n")
    assert as_json("select", "-w", copy, "--config", tmp_path / "c.yaml")["counts"]["n_selected"] == 4


def test_quotas_by_cluster_number(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    counts = as_json("select", "-w", copy, "--per-group", "cluster", "--quotas", "{0: 1, 1: 1}", "--budget", 2)[
        "counts"
    ]
    assert counts["n_selected"] == 2


def test_a_workspace_below_a_folder_that_looks_like_a_partition(tmp_path: Path, image_folder: Path) -> None:
    call("run", image_folder, "-w", tmp_path / "split=train" / "w", *FAST)
    assert as_json("show", 0, "-w", tmp_path / "split=train" / "w")["split"] is None


@pytest.mark.parametrize("budget", ["abc", "-3", "0%", "200%", "2.5"])
def test_a_budget_that_cannot_be_read_is_a_usage_error_before_anything_runs(
    tmp_path: Path, image_folder: Path, budget: str
) -> None:
    assert "select.budget" in told("run", image_folder, "-w", tmp_path / "w", f"--select={budget}", *FAST, code=2)
    assert not (tmp_path / "w").exists()


def test_a_manifest_that_is_not_one_and_odd_lines_in_the_runs_are_no_tracebacks(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    with (copy / "runs.jsonl").open("ab") as file:
        file.write(b'5\n{}\n\xff\n{"cut')
    call("info", "-w", copy)
    call("select", "-w", copy, "--budget", 4)
    assert as_json("info", "-w", copy)["runs"][-1]["stage"] == "select"
    for text in (b'{"format": 1}', b"\xff\xfe", b"[]"):
        (copy / "workspace.json").write_bytes(text)
        assert re.search("is not a Curator manifest|cannot read", told("info", "-w", copy, code=1))
