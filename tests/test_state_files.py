"""The file under what people decide: threads, processes, kills, full and read-only disks, damage, versions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from curator.errors import CannotWrite, DamagedWorkspace, NewerFormat
from curator.state import State, database, open_state
from tests.test_sources import as_nobody, open_folder

__all__ = ["open_folder"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path) as state:
        yield state


def started(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


# -- one file, many hands --------------------------------------------------------------------------------------------

WRITE = """
import sys
from curator.state import open_state
with open_state(sys.argv[1]) as state:
    for at in range(int(sys.argv[3])):
        print(state.decide("tag", rows=[at, at + 1], subject=sys.argv[2], who=sys.argv[2]).uuid, flush=True)
"""


def test_processes_that_begin_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [started(WRITE, tmp_path, name, 20) for name in ("ann", "ben", "cat")]
    said = [set(writer.communicate(timeout=120)[0].split()) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    with open_state(tmp_path) as state:
        assert {one.uuid for one in state.decisions(limit=1000)} == set().union(*said)
        assert state.tags() == [("ann", 21), ("ben", 21), ("cat", 21)]
        assert state.is_consistent()


def killed_while_writing(folder: Path, name: str, after: int) -> list[str]:
    """Identities that a writer acknowledged before it was killed."""
    writer = started(WRITE, folder, name, 100_000)
    assert writer.stdout is not None
    said = [writer.stdout.readline().strip() for _ in range(after)]
    writer.kill()
    rest = writer.stdout.read().split("\n")[:-1]  # the last line may be half
    writer.stdout.close()
    writer.wait()
    return said + rest


@pytest.mark.parametrize("n", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_no_decision_that_it_acknowledged(tmp_path: Path, n: int) -> None:
    said: list[str] = []
    for at in range(n):
        said += killed_while_writing(tmp_path, f"t{at}", 1 + at * 7 % 30)
        with open_state(tmp_path) as state:
            assert set(said) <= {one.uuid for one in state.decisions(limit=10_000)}
            assert state.is_consistent()


def test_threads_share_a_state(state: State) -> None:
    def write(name: str) -> None:
        for at in range(5):
            state.decide("tag", rows=[at], subject=name, who=name)

    threads = [threading.Thread(target=write, args=(f"t{at}",)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.tags() == [(f"t{at}", 5) for at in range(6)]
    assert state.is_consistent()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_threads_that_end_leave_no_open_file(state: State) -> None:
    for at in range(20):
        thread = threading.Thread(target=state.decide, args=("tag",), kwargs={"rows": [at], "subject": "a", "who": "b"})
        thread.start()
        thread.join()
    held = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert held.count(str(state.path)) == 1


def test_every_write_waits_for_the_disk(state: State) -> None:
    with state._database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_closed_state_still_answers_whoever_holds_it(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    state.decide("tag", rows=[1], subject="night", who="ann")
    state.close()
    assert state.tags() == [("night", 1)]  # a request that was under way
    state.close()


# -- where there is nothing, and where nothing may be written ----------------------------------------------------------


def test_reading_where_nothing_was_decided_makes_no_file(tmp_path: Path) -> None:
    with open_state(tmp_path, create=False) as state:
        assert (state.tags(), state.collections(), state.decisions(), state.newest()) == ([], [], [], 0)
        assert (state.reviews("queue"), state.documents("filter"), state.tags_of([1])) == ({}, [], {})
        assert (state.tokens.verify("cur_x"), state.jobs.page(), state.is_consistent()) == (None, [], True)
        state.backup(tmp_path / "copy.db")
        assert list(tmp_path.iterdir()) == []
        state.decide("tag", rows=[1], subject="night", who="ann")
        assert state.tags() == [("night", 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["state.db"]


def test_reading_finds_what_another_process_began_later(tmp_path: Path) -> None:
    with open_state(tmp_path, create=False) as state:
        assert state.tags() == []
        with open_state(tmp_path) as other:
            other.decide("tag", rows=[1], subject="night", who="ann")
        assert state.tags() == [("night", 1)]


def test_a_closed_folder_is_read_and_not_written(open_folder: Path) -> None:
    with open_state(open_folder) as state:
        state.decide("tag", rows=[1], subject="night", who="ann")
    state.path.chmod(0o444)
    open_folder.chmod(0o555)
    with as_nobody(), open_state(open_folder, create=False) as state:
        assert state.tags() == [("night", 1)]
        with pytest.raises(
            CannotWrite, match=r"cannot write .*state.db: .*; free some space, or check its permissions"
        ):
            state.decide("tag", rows=[1], subject="rain", who="ann")
    with open_state(open_folder) as state:
        state.decide("tag", rows=[1], subject="rain", who="ann")
    with as_nobody(), open_state(open_folder, create=False) as state:
        assert len(state.tags()) == 2


def test_a_closed_folder_without_a_state(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with as_nobody():
        with pytest.raises(CannotWrite, match="cannot write"):
            open_state(open_folder)
        with open_state(open_folder, create=False) as state:
            assert state.tags() == []
            with pytest.raises(CannotWrite, match="cannot write"):
                state.decide("tag", rows=[1], subject="night", who="ann")


FILL = """
import resource, sys
from curator.errors import CannotWrite
from curator.state import open_state
with open_state(sys.argv[1]) as state:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        for at in range(1000):
            state.decide("tag", rows=range(500), subject=f"t{at}", who="ann")
    except CannotWrite as error:
        print(at, error)
        assert state.newest() == at
        assert state.is_consistent()
        secret = state.secret
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        state.decide("tag", rows=[1], subject="after", who="ann")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the size of files is limited by the system's own means")
def test_a_full_disk_refuses_one_decision_and_keeps_those_before(tmp_path: Path) -> None:
    filler = started(FILL, tmp_path)
    n, _, told = filler.communicate(timeout=120)[0].partition(" ")
    assert filler.returncode == 0
    assert told.startswith(f"cannot write {tmp_path / 'state.db'}: ")
    with open_state(tmp_path) as state:
        assert state.newest() == int(n) + 1 > 1
        assert state.is_consistent()


def test_a_file_that_another_keeps_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    with open_state(tmp_path) as state, closing(sqlite3.connect(state.path, isolation_level=None)) as other:
        state.decide("tag", rows=[1], subject="night", who="ann")
        other.execute("BEGIN IMMEDIATE")
        assert state.tags() == [("night", 1)]  # readers do not wait
        with pytest.raises(CannotWrite, match=r"state.db was kept by another process for 0.05 s; try again"):
            state.decide("tag", rows=[1], subject="rain", who="ann")
        other.execute("ROLLBACK")
        state.decide("tag", rows=[1], subject="rain", who="ann")


def test_what_fails_in_the_middle_leaves_nothing(state: State) -> None:
    with pytest.raises(ZeroDivisionError), state._database.write() as connection:
        connection.execute("INSERT INTO secrets VALUES ('a', x'00')")
        raise ZeroDivisionError
    assert state._database.read("SELECT * FROM secrets") == []


# -- damage ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"certainly no database " * 100)
    with pytest.raises(
        DamagedWorkspace, match=r"state.db is damaged .*; move it away, then bring back a copy or an ex"
    ):
        open_state(tmp_path, create=False)


def test_a_page_that_was_overwritten(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        state.decide("tag", rows=range(5_000), subject="night", who="ann")
    content = bytearray(state.path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    state.path.write_bytes(content)
    with open_state(tmp_path) as state, pytest.raises(DamagedWorkspace, match="is damaged"):
        state.rows_tagged(["night"])


def test_a_table_that_was_taken_away(state: State) -> None:
    with state._database.write() as connection:
        connection.execute("DROP TABLE documents")
    with pytest.raises(DamagedWorkspace, match=r"is damaged \(no such table: documents\)"):
        state.check_alive()


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("CREATE TABLE jobs (a)")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(DamagedWorkspace, match=r"state.db is not a file of Curator; move it away"):
        open_state(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_file_taken_away_while_in_use_takes_no_decision(state: State) -> None:
    state.decide("tag", rows=[1], subject="night", who="ann")
    state.path.rename(state.path.with_name("elsewhere.db"))
    with pytest.raises(DamagedWorkspace, match=r"state.db was replaced or taken away while it was in use; stop what"):
        state.decide("tag", rows=[1], subject="rain", who="ann")
    state.path.with_name("elsewhere.db").rename(state.path)
    assert state.tags() == [("night", 1)]


# -- versions --------------------------------------------------------------------------------------------------------


def test_a_newer_version_is_refused_and_unchanged(tmp_path: Path) -> None:
    with open_state(tmp_path) as state, state._database.write() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerFormat, match=r"state.db has version 99, this Curator .* reads up to 1; upgrade Curator"):
        open_state(tmp_path)


MORE = "-- a note; with a semicolon\nALTER TABLE documents ADD COLUMN place TEXT;\nCREATE TABLE extra (a);\n"


def test_an_older_version_is_brought_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_state(tmp_path) as state:
        state.put("filter", "dark", 1, who="ann")
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, MORE))
    for _ in range(2):
        with open_state(tmp_path) as state:
            assert state._database.read("PRAGMA user_version") == [(2,)]
            assert state._database.read("SELECT name, place FROM documents") == [("dark", None)]


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_state(tmp_path).close()
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, f"{MORE}DROP TABLE nowhere;\n"))
        with pytest.raises(DamagedWorkspace, match="no such table: nowhere"):
            open_state(tmp_path)
    with open_state(tmp_path) as state:
        assert state._database.read("SELECT name FROM sqlite_master WHERE name = 'extra'") == []


# -- copies ----------------------------------------------------------------------------------------------------------


def test_a_backup_is_a_state_of_its_own(state: State, tmp_path: Path) -> None:
    state.decide("tag", rows=[1], subject="night", who="ann")
    copy = tmp_path / "copy"
    copy.mkdir()
    state.backup(copy / "state.db")
    assert [path.name for path in copy.iterdir()] == ["state.db"]
    state.decide("tag", rows=[2], subject="night", who="ann")
    with open_state(copy) as other:
        assert other.tags() == [("night", 1)]
        other.decide("tag", rows=[3, 4], subject="night", who="ann")
    assert state.tags() == [("night", 2)]


def test_a_backup_that_cannot_be_written_names_its_target(state: State, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"cannot write .*nowhere/copy.db: "):
        state.backup(tmp_path / "nowhere" / "copy.db")
