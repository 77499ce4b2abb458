"""Child processes of jobs: heard, bounded, stopped ever more rudely; and the command lines they are given."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from curator.config import load
from curator.errors import BadConfig
from curator.workspace import open_workspace
from service import processes
from service.allowed import as_yaml, place_under
from service.processes import Heard, Progress
from service.settings import Settings
from service.verbs import VERBS, Command, Place, command
from tests.small import small_root

STUBBORN = "import signal, time; signal.signal(2, lambda *_: None); print('ready', flush=True); time.sleep(60)"
GRACES = ((signal.SIGINT, 0.3), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def child(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def test_a_child_that_ignores_an_interrupt_is_ended_more_rudely() -> None:
    process = child(STUBBORN)
    processes.stop(process, GRACES)
    assert process.returncode == -signal.SIGTERM


def test_a_child_that_ends_at_an_interrupt_is_not_hit_again() -> None:
    process = child(
        "import time\ntry:\n print('ready', flush=True)\n time.sleep(60)\nexcept KeyboardInterrupt: exit(7)"
    )
    processes.stop(process, ((signal.SIGINT, 10.0), (signal.SIGKILL, 5.0)))
    assert process.returncode == 7


def test_a_command_runs_nicely_in_an_empty_folder_of_its_own(tmp_path: Path) -> None:
    heard = Heard()
    seen: dict[str, Any] = {}

    def tick() -> bool:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if b"service.child" in (path / "cmdline").read_bytes().split(b"\0") and (
                    f"PPid:\t{os.getpid()}\n" in (path / "status").read_text()
                ):
                    stat = (path / "stat").read_text().rpartition(")")[2].split()
                    seen[path.name] = (int(stat[16]), os.listdir(path / "cwd"), int(stat[2]))  # noqa: PTH208
            except OSError:
                continue
        return False

    ended = processes.run(["models", "--json"], {}, heard, tick=tick)
    assert ended == processes.Ended(0, False)
    assert processes.result_of(heard)[0]["name"] == "efficientnet-lite0"
    (pid, (nice, files, group)), *_ = seen.items()
    assert (nice - os.nice(0), files, group) == (5, [], int(pid))


def test_a_command_that_is_told_to_stop_stops(tmp_path: Path) -> None:
    started = time.monotonic()
    ended = processes.run(["models", "--json"], {}, Heard(), tick=lambda: True)
    assert ended.was_stopped
    assert time.monotonic() - started < 20


def test_an_unknown_command_is_heard_in_the_log() -> None:
    heard = Heard()
    assert processes.run(["nonsense"], {}, heard, tick=lambda: False).code == 2
    assert "No such command" in heard.log_tail()
    assert processes.result_of(heard) is None


def piped(reader: Any, data: bytes) -> Heard:
    """What a reader hears of these bytes."""
    read, write = os.pipe()

    def put() -> None:
        with os.fdopen(write, "wb") as out:
            out.write(data)

    writer = threading.Thread(target=put)
    writer.start()
    heard = Heard()
    with os.fdopen(read, "rb") as pipe:
        reader(pipe, heard)
    writer.join()
    return heard


def test_progress_is_told_from_the_log_and_the_log_keeps_its_end() -> None:
    lines = [b'{"progress": {"stage": "decode", "done": 3, "total": 9}}\n', b'{"progress": "no"}\n', b"a line\n"]
    heard = piped(processes._read_log, b"".join(lines))
    assert heard.progress == Progress("decode", 3, 9)
    assert heard.log_tail() == '{"progress": "no"}\na line\n'
    many = piped(processes._read_log, b"".join(b"%06d\n" % at for at in range(50_000)))
    assert many.log_tail().endswith("049999\n")
    assert len(many.log_tail()) <= processes.LOG_BYTES
    endless = piped(processes._read_log, b"x" * 1_000_000)
    assert len(endless.log_tail()) <= processes.LOG_BYTES


def test_a_result_without_end_is_given_up_and_read_to_the_end() -> None:
    heard = piped(processes._read_result, b"[" + b"1," * processes.MAX_RESULT_BYTES)
    assert heard.is_too_large
    assert len(heard.result) <= processes.MAX_RESULT_BYTES


# -- command lines ---------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    shutil.copytree(small_root() / "street", tmp_path / "street")
    (tmp_path / "footage" / "-rf").mkdir(parents=True)
    settings = Settings(tmp_path, ingest_roots=(tmp_path / "footage",))
    return Place(open_workspace(tmp_path / "street"), settings, lambda name: tmp_path / name)


def made(kind: str, place: Place, **params: Any) -> Command:
    return command(kind, VERBS[kind].params.model_validate(params), place, "0" * 16)


def test_a_source_cannot_become_an_option(place: Place) -> None:
    line = made("ingest", place, sources=["-rf"]).arguments
    at = line.index("--")
    assert line[at + 1 :] == (str(place.settings.ingest_roots[0] / "-rf"),)
    assert all(option.startswith("--") for option in line[1:at])


@pytest.mark.parametrize(
    "value", ["a: b", "--x", "null", "1e-05", "", "é\u2028", "[1, {a: b}]", 1e-05, 1.0, True, None, [1, "a", None],
              {"a b": 1, "c": [True]}],
)  # fmt: skip
def test_a_setting_is_read_back_as_it_was_sent(value: Any) -> None:
    import yaml

    assert yaml.safe_load(as_yaml(value)) == value
    assert "\n" not in as_yaml(value)


def test_parameters_and_settings_come_to_what_the_flags_come_to(place: Place) -> None:
    line = made(
        "select", place, budget="10%", method="diverse", name="x", min_distance=1e-5, quotas={"a": 0.5, "b": 0.5},
        per_group="label", settings={"seed": 3, "select.trim_share": 0.01},
    ).arguments  # fmt: skip
    config = load(None, [option.removeprefix("--set=") for option in line if option.startswith("--set=")])
    asked = config.select
    assert (asked.budget, asked.method, asked.name, asked.min_distance) == ("10%", "diverse", "x", 1e-5)
    assert (asked.quotas, asked.per_group, asked.trim_share, config.seed) == ({"a": 0.5, "b": 0.5}, "label", 0.01, 3)


def test_a_split_is_not_taken_for_a_selection(place: Place) -> None:
    line = made("split", place, name="mine", keep="split", group_by=["video", "label"], against="split").arguments
    config = load(None, [option.removeprefix("--set=") for option in line if option.startswith("--set=")])
    assert (config.split.name, config.split.keep, config.split.group_by) == ("mine", "split", ["video", "label"])
    assert (config.select.name, config.neardups.keep) == ("selection", "coverage")
    assert "--against=split" in line


def test_every_kind_that_needs_nothing_gives_a_command_line(place: Place) -> None:
    for kind, verb in VERBS.items():
        if not any(field.is_required() for field in verb.params.model_fields.values()):
            line = made(kind, place).arguments
            assert line[:2] == (kind, "--json")
            assert f"--workspace={place.workspace.path}" in line


def test_an_unknown_setting_is_refused(place: Place) -> None:
    with pytest.raises(BadConfig, match="unknown setting 'select.nonsense'"):
        made("select", place, settings={"select.nonsense": 1})


def test_a_relative_path_is_found_under_the_first_root_that_has_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "x").mkdir()
    assert place_under([tmp_path / "one", tmp_path / "two"], "x") == tmp_path / "two" / "x"


def test_where_a_job_may_read(place: Place) -> None:
    confined = made("ingest", place).confined
    assert confined.within == (str(place.settings.ingest_roots[0]), str(place.workspace.path / "uploads"))
    assert confined.trusted == place.workspace.snapshot.sources  # the owner gave them at the command line
    assert json.loads(confined.to_environment()["CURATOR_CONFINE"])["urls"] == []
