"""Jobs that several servers share, and tokens: who may do what, until when, and that no secret is kept."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from curator.errors import BadName, CannotWrite, Conflict, UnknownName, UsageError
from curator.state import State, jobs, open_state, tokens
from curator.state.database import Database
from tests.test_state_files import started


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path) as state:
        yield state


# -- the queue -------------------------------------------------------------------------------------------------------


def test_a_job_from_asking_to_done(state: State) -> None:
    job = state.jobs.add("street", "ingest", {"source": "in"}, who="ann")
    assert (job.state, job.params, job.who, job.revision) == ("queued", {"source": "in"}, "ann", 0)
    taken = state.jobs.claim("server-1")
    assert taken is not None
    assert (taken.id, taken.state, taken.server, taken.revision) == (job.id, "running", "server-1", 1)
    going = state.jobs.beat(job.id, progress={"stage": "embed", "done": 3, "total": 9}, log="line")
    assert (going.progress, going.revision) == ({"stage": "embed", "done": 3, "total": 9}, 2)
    assert state.jobs.log(job.id) == "line"
    assert state.jobs.beat(job.id).progress == going.progress  # alive, nothing new: no new revision
    assert state.jobs.get(job.id).revision == 2
    done = state.jobs.finish(job.id, "done", result={"rows": 9}, log="line\nend")
    assert (done.state, done.result, done.error, done.is_over, done.revision) == ("done", {"rows": 9}, None, True, 3)
    assert done.created <= (done.started or 0) <= (done.finished or 0)
    assert state.jobs.log(job.id) == "line\nend"
    assert json.loads(json.dumps(done.to_json()))["id"] == job.id
    assert "server" not in done.to_json()


def test_what_is_over_stays_as_it_is(state: State) -> None:
    job = state.jobs.add("street", "ingest", {}, who="ann")
    state.jobs.claim("s")
    done = state.jobs.finish(job.id, "done", result=1)
    assert state.jobs.finish(job.id, "failed", error={"code": "x"}) == done
    assert state.jobs.cancel(job.id) == done
    assert state.jobs.beat(job.id, progress={"done": 1}) == done


def test_one_job_of_a_workspace_runs_and_the_oldest_is_first(state: State) -> None:
    ids = [state.jobs.add(name, "run", {}, who="ann").id for name in ("a", "a", "b", "a")]
    taken = [state.jobs.claim("s"), state.jobs.claim("s"), state.jobs.claim("s")]
    assert [job and job.id for job in taken] == [ids[0], ids[2], None]
    state.jobs.finish(ids[0], "done")
    after = state.jobs.claim("s")
    assert after is not None
    assert after.id == ids[1]


CLAIM = """
import sys, time
from curator.state import open_state
with open_state(sys.argv[1]) as state:
    print("ready", flush=True)
    sys.stdin.readline()
    while set(state.jobs.counts()) - {"done"}:
        job = state.jobs.claim(sys.argv[2])
        if job is None:
            time.sleep(0.002)
            continue
        print(job.id, flush=True)
        state.jobs.finish(job.id, "done")
"""


def test_servers_that_claim_at_once_share_the_jobs(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        asked = [state.jobs.add(f"w{at % 3}", "run", {}, who="ann").id for at in range(30)]
        command = [sys.executable, "-c", CLAIM, str(tmp_path)]
        servers = [
            subprocess.Popen([*command, name], cwd=Path(__file__).parents[1], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
            for name in ("s1", "s2", "s3")
        ]  # fmt: skip
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        said = [id for server in servers for id in server.communicate("go\n", timeout=120)[0].split()]
        assert [server.returncode for server in servers] == [0, 0, 0]
        assert sorted(said) == sorted(asked)
        for name in ("w0", "w1", "w2"):
            ran = [(job.started or 0, job.finished or 0) for job in reversed(state.jobs.page(workspace=name))]
            assert all(before[1] <= after[0] for before, after in pairwise(ran))


def test_jobs_are_listed_newest_first(state: State) -> None:
    ids = [state.jobs.add(name, "run", {}, who="ann").id for name in ("a", "b", "a")]
    state.jobs.claim("s")

    def listed(**asked: Any) -> list[str]:
        return [job.id for job in state.jobs.page(**asked)]

    assert listed() == ids[::-1]
    assert listed(workspace="a") == [ids[2], ids[0]]
    assert listed(state="running") == [ids[0]]
    assert listed(limit=1, offset=1) == [ids[1]]
    assert state.jobs.counts() == {"queued": 2, "running": 1}


def test_the_same_key_is_the_same_job(state: State) -> None:
    job = state.jobs.add("a", "run", {"x": 1, "y": 2}, who="ann", key="k")
    assert state.jobs.add("a", "run", {"y": 2, "x": 1}, who="ann", key="k") == job
    with pytest.raises(Conflict, match=f"the key 'k' was used for another job, {job.id}; take a new key"):
        state.jobs.add("a", "run", {"x": 2}, who="ann", key="k")


def test_no_such_job(state: State) -> None:
    for ask in (state.jobs.get, state.jobs.cancel, lambda id: state.jobs.resume(id, who="ann")):
        with pytest.raises(UnknownName, match="no job 'nothing'; GET /v1/jobs lists them"):
            ask("nothing")
    assert state.jobs.log("nothing") == ""


def test_cancelling_ends_what_waits_and_asks_what_runs(state: State) -> None:
    first, second = (state.jobs.add("a", "run", {}, who="ann") for _ in range(2))
    state.jobs.claim("s")
    waits = state.jobs.cancel(second.id)
    assert (waits.state, waits.is_over, waits.finished is not None) == ("cancelled", True, True)
    asked = state.jobs.cancel(first.id)
    assert (asked.state, asked.cancel, asked.finished) == ("running", True, None)
    assert state.jobs.finish(first.id, "cancelled").state == "cancelled"


# -- servers that die ------------------------------------------------------------------------------------------------

DIE = """
import os, sys
from curator.state import open_state
state = open_state(sys.argv[1])
print(state.jobs.claim("mortal").id, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are looked at in /proc")
def test_a_job_of_a_killed_server_is_interrupted_and_goes_on(state: State, tmp_path: Path) -> None:
    job = state.jobs.add("a", "run", {"x": 1}, who="ann")
    other = state.jobs.add("b", "run", {}, who="ann")
    mortal = started(DIE, tmp_path)
    assert mortal.communicate(timeout=60)[0].strip() == job.id
    assert mortal.returncode == -9
    state.jobs.claim("alive")
    [ended] = state.jobs.interrupt_dead()
    assert (ended.id, ended.state) == (job.id, "interrupted")
    assert ended.error == {"code": "Interrupted", "message": "the server that ran it has ended",
                           "hint": "resume it: what it finished is kept"}  # fmt: skip
    assert state.jobs.get(other.id).state == "running"
    assert state.jobs.interrupt_dead() == []
    again = state.jobs.resume(job.id, who="ben")
    assert (again.state, again.params, again.kind, again.who, again.resumes) == (
        "queued", {"x": 1}, "run", "ben", job.id,
    )  # fmt: skip
    with pytest.raises(Conflict, match=f"job {job.id} goes on already, as {again.id}, which is queued"):
        state.jobs.resume(job.id, who="ben")
    state.jobs.cancel(again.id)
    assert state.jobs.resume(job.id, who="ben").state == "queued"


@pytest.mark.parametrize("place", [{"host": "elsewhere"}, {"pid_started": None}])
def test_a_server_that_cannot_be_looked_at_is_dead_without_a_heartbeat(state: State, place: dict[str, Any]) -> None:
    job = state.jobs.add("a", "run", {}, who="ann")
    state.jobs.claim("s")
    [(column, value)] = place.items()
    for age, dead in ((30, []), (120, [job.id])):
        with state._database.write() as connection:
            connection.execute(f"UPDATE jobs SET {column} = ?, heartbeat = ?", (value, time.time() - age))
        assert [ended.id for ended in state.jobs.interrupt_dead()] == dead


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are looked at in /proc")
def test_a_number_that_was_given_to_another_process_is_no_sign_of_life(state: State) -> None:
    job = state.jobs.add("a", "run", {}, who="ann")
    state.jobs.claim("s")
    with state._database.write() as connection:
        connection.execute("UPDATE jobs SET pid_started = '1'")
    assert [ended.id for ended in state.jobs.interrupt_dead()] == [job.id]


@pytest.mark.parametrize("end", ["queued", "running", "done"])
def test_only_what_ended_early_goes_on(state: State, end: str) -> None:
    job = state.jobs.add("a", "run", {}, who="ann")
    if end != "queued":
        state.jobs.claim("s")
    if end == "done":
        state.jobs.finish(job.id, "done")
    with pytest.raises(Conflict, match=f"job {job.id} is {end}; only an interrupted, failed or cancelled one can"):
        state.jobs.resume(job.id, who="ann")


def test_old_jobs_are_forgotten_and_waiting_ones_are_not(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 3)
    waits = state.jobs.add("other", "run", {}, who="ann")
    state.jobs.claim("s")
    ended = []
    for _ in range(5):
        ended.append(state.jobs.add("a", "run", {}, who="ann").id)
        state.jobs.claim("s")
        state.jobs.finish(ended[-1], "done")
    assert [job.id for job in state.jobs.page()] == [*ended[:-4:-1], waits.id]
    with state._database.write() as connection:
        connection.execute("UPDATE jobs SET finished = ? WHERE id = ?", (time.time() - jobs.KEPT_S - 1, ended[-1]))
    state.jobs.finish(waits.id, "done")  # ran for longest, ended last
    assert [job.id for job in state.jobs.page()] == [ended[-2], ended[-3], waits.id]


def test_of_a_long_log_the_end_is_kept(state: State) -> None:
    job = state.jobs.add("a", "run", {}, who="ann")
    state.jobs.claim("s")
    state.jobs.beat(job.id, log="x" * 70_000 + "end")
    assert (len(state.jobs.log(job.id)), state.jobs.log(job.id)[-4:]) == (jobs.MAX_LOG, "xend")
    state.jobs.finish(job.id, "failed", error={"code": "x"}, log="y" * 70_000 + "end")
    assert (len(state.jobs.log(job.id)), state.jobs.log(job.id)[-4:]) == (jobs.MAX_LOG, "yend")


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_known_by_its_secret_which_is_kept_nowhere(state: State) -> None:
    made, secret = state.tokens.create("ann", "reviewer", 60)
    assert secret.startswith(f"cur_{made.id}_")
    assert tokens.SECRET.fullmatch(secret)
    found = state.tokens.verify(secret)
    assert found is not None
    assert (found.name, found.role, found.is_alive) == ("ann", "reviewer", True)
    assert 0 < (found.seconds_left or 0) <= 60
    for path in state.path.parent.iterdir():
        assert secret.rpartition("_")[2].encode() not in path.read_bytes()
    assert secret not in json.dumps([one.to_json() for one in state.tokens.list()])


def test_what_is_no_secret_opens_nothing(state: State) -> None:
    made, secret = state.tokens.create("ann", "admin")
    other, other_secret = state.tokens.create("ben", "reader")
    swapped = f"cur_{made.id}_{other_secret.removeprefix(f'cur_{other.id}_')}"
    for guess in ("", "cur_", secret[:-1], secret + "x", secret[:-1] + ("A" if secret[-1] != "A" else "B"), swapped,
                  f" {secret}", secret.upper(), "\ud800", f"{secret}\n"):  # fmt: skip
        assert state.tokens.verify(guess) is None


def test_every_check_compares_once_and_in_constant_time(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = state.tokens.create("ann", "admin")
    compared: list[int] = []
    real = hmac.compare_digest

    def counting(a: str, b: str) -> bool:
        compared.append(len(a) - len(b))
        return bool(real(a, b))

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for sent in (secret, secret[:-1] + "-", "cur_000000000000_" + "A" * 43, "nonsense", ""):
        state.tokens.verify(sent)
    assert compared == [0] * 5


def test_expired_and_revoked_tokens_open_nothing(state: State) -> None:
    _, short = state.tokens.create("short", "reader", 0.01)
    _, gone = state.tokens.create("gone", "reader")
    time.sleep(0.02)
    assert state.tokens.verify(short) is None
    assert state.tokens.verify(gone) is not None
    ended = state.tokens.revoke("gone")
    assert (ended.name, ended.is_alive) == ("gone", False)
    assert state.tokens.verify(gone) is None
    with pytest.raises(UnknownName, match="no token 'gone' to revoke; `curator token list` lists them"):
        state.tokens.revoke("gone")
    state.tokens.create("short", "reader")  # both names are free again
    again, _ = state.tokens.create("gone", "reader")
    assert state.tokens.revoke(again.id).id == again.id


@pytest.mark.parametrize(
    ("given", "error", "told"), [
        (("ann", "reader"), BadName, "there is a live token 'ann' already; revoke it first, or take another name"),
        (("", "reader"), BadName, "a token's name of 0 characters"),
        (("a\u200bb", "reader"), BadName, r"the token's name holds the invisible character U\+200B"),
        (("ben", "king"), UsageError, "role 'king'; expected one of reader, reviewer, admin"),
        (("ben", "reader", 0), UsageError, "a token that ends in 0 s; expected a time above 0"),
        (("ben", "reader", -1), UsageError, "a token that ends in -1 s"),
        (("ben", "reader", float("nan")), UsageError, "a token that ends in nan s"),
        (("ben", "reader", float("inf")), UsageError, "a token that ends in inf s; expected a time above 0, at most"),
    ],
)  # fmt: skip
def test_tokens_that_are_not_made(state: State, given: Any, error: type[Exception], told: str) -> None:
    state.tokens.create("ann", "reader")
    with pytest.raises(error, match=told):
        state.tokens.create(*given)
    assert len(state.tokens.list()) == 1


def test_the_last_use_is_written_once_a_minute(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = state.tokens.create("ann", "reader")
    state.tokens.verify(secret)
    first = state.tokens.list()[0].used
    state.tokens.verify(secret)
    assert first is not None
    assert state.tokens.list()[0].used == first
    monkeypatch.setattr(tokens, "USED_EVERY_S", 0.0)
    state.tokens.verify(secret)
    assert (state.tokens.list()[0].used or 0) > first


def test_a_full_disk_locks_nobody_out(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = state.tokens.create("ann", "reader")

    def full(self: Database) -> None:
        raise CannotWrite("the disk is full")

    monkeypatch.setattr(Database, "write", full)
    assert state.tokens.verify(secret) is not None
