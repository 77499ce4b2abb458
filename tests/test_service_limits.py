"""Limits of the service: bodies, rates, concurrency, and connections that dawdle."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.errors import UsageError
from service.limits import RateLimit, body_limit, bounded
from service.problems import TooLarge, TooMany, TooSlow
from service.settings import MIB, Settings


def receiver(*pieces: bytes, pause_s: float = 0.0) -> Any:
    """An ASGI `receive` that sends these pieces, then waits for ever."""
    left = list(pieces)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(pause_s if left else 3600)
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return receive


def read(receive: Any, n: int) -> list[bytes]:
    async def all_of_it() -> list[bytes]:
        return [(await receive())["body"] for _ in range(n)]

    return asyncio.run(all_of_it())


def test_a_body_within_the_limit_comes_through() -> None:
    assert read(bounded(receiver(b"ab", b"cd"), 4, 1.0), 2) == [b"ab", b"cd"]


def test_a_body_over_the_limit_is_refused_without_a_content_length() -> None:
    with pytest.raises(TooLarge, match="over 3 bytes"):
        read(bounded(receiver(b"ab", b"cd"), 3, 1.0), 2)


def test_a_body_that_does_not_come_is_given_up() -> None:
    with pytest.raises(TooSlow, match=r"no byte of the body came in 0\.05 s"):
        read(bounded(receiver(b"ab", b"cd", pause_s=1.0), 10, 0.05), 2)


def test_a_body_that_trickles_is_given_up() -> None:
    pieces = [b"x"] * 100
    with pytest.raises(TooSlow, match="bytes of the body came in"):
        read(bounded(receiver(*pieces, pause_s=0.01), 1000, 0.1), 100)


def test_uploads_may_be_larger_than_json() -> None:
    settings = Settings(Path())
    assert body_limit(settings, "/v1/workspaces/a/search", "application/json") == 4 * MIB
    assert body_limit(settings, "/v1/workspaces/a/search", "multipart/form-data; boundary=x") == 68 * MIB
    assert body_limit(settings, "/v1/workspaces/a/uploads", "multipart/form-data; boundary=x") == 1024 * MIB


def test_a_burst_passes_and_then_the_rate_counts() -> None:
    limit = RateLimit(rate=2.0, burst=3, max_concurrent=1)
    for _ in range(3):
        limit.take("a", now=0.0)
    with pytest.raises(TooMany, match="more than 2 requests a second") as refusal:
        limit.take("a", now=0.0)
    assert refusal.value.headers == {"Retry-After": "1"}
    limit.take("b", now=0.0)  # another caller has a bucket of its own
    limit.take("a", now=0.5)


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_caller_gets_more_than_burst_plus_rate_times_time(waits: list[float]) -> None:
    limit, now, n_allowed = RateLimit(rate=3.0, burst=5, max_concurrent=1), 0.0, 0
    for wait in waits:
        now += wait
        try:
            limit.take("a", now=now)
            n_allowed += 1
        except TooMany:
            pass
    assert n_allowed <= 5 + 3.0 * now + 1e-6


def test_forgotten_callers_only_ever_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.limits.KEPT_CALLERS", 2)
    limit = RateLimit(rate=0.001, burst=1, max_concurrent=1)
    for caller in "abc":
        limit.take(caller, now=0.0)
    limit.take("a", now=0.0)  # forgotten
    with pytest.raises(TooMany):
        limit.take("c", now=0.0)


def test_requests_in_work_are_bounded_per_caller() -> None:
    limit = RateLimit(rate=0, burst=1, max_concurrent=2)
    limit.enter("a")
    limit.enter("a")
    with pytest.raises(TooMany, match="2 requests are in work already"):
        limit.enter("a")
    limit.enter("b")
    limit.leave("a")
    limit.enter("a")


def test_settings_survive_the_way_to_a_worker(tmp_path: Path) -> None:
    settings = Settings(tmp_path, ingest_roots=(tmp_path,), origins=("https://labels.example.org",), allow_hosts=("a",))
    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("host", "is_open"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("10.0.0.5", False), ("curator.local", False)],
)  # fmt: skip
def test_only_loopback_is_open(host: str, is_open: bool) -> None:
    assert Settings(Path(), host=host).is_open is is_open
    assert not Settings(Path(), host=host, require_token=True).is_open


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="port 70000; expected 0 to 65535"):
        Settings(tmp_path, port=70000)
    with pytest.raises(UsageError, match="0 workers; expected at least 1"):
        Settings(tmp_path, workers=0)
    with pytest.raises(UsageError, match="nowhere is no folder; name an existing one"):
        Settings(tmp_path, ingest_roots=(tmp_path / "nowhere",))
    with pytest.raises(UsageError, match="expected scheme and host alone"):
        Settings(tmp_path, origins=("https://labels.example.org/path",))


def test_limits_are_changed_by_name(tmp_path: Path) -> None:
    changed = Settings(tmp_path).limited(["max_upload_bytes=10", "rate=0", "head_s=1.5"])
    assert (changed.max_upload_bytes, changed.rate, changed.head_s) == (10, 0.0, 1.5)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("speed=1", "no limit 'speed'; there are: "), ("burst=many", "expected burst=NUMBER"), ("burst", "burst=NUMBER"),
     ("head_s=0", "expected a number above 0"), ("burst=-1", "above 0"), ("head_s=nan", "above 0")],
)  # fmt: skip
def test_limits_that_cannot_be_are_refused(tmp_path: Path, limit: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(tmp_path).limited([limit])
