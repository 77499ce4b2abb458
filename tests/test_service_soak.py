"""The real server under steady use while jobs publish again and again: nothing fails, nothing is lost, nothing leaks.

Takes a minute, or `CURATOR_SOAK_SECONDS` of them: `CURATOR_SOAK_SECONDS=600 scripts/test tests/test_service_soak.py`.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from curator.pipeline import verify
from curator.state import open_state
from curator.workspace import open_workspace
from tests.conftest import picture
from tests.serving import serving
from tests.small import small_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="memory and open files are read from /proc"),
]

SECONDS = float(os.environ.get("CURATOR_SOAK_SECONDS", "60"))
WARM = 0.3  # share of the time after which memory is held against the end
GROWTH_BYTES = 64_000_000  # allowed from there on
GROWTH_FILES = 16
ROUNDS = 20  # that every client does more than
PAUSE_S = 0.01  # between two requests of one client, so that jobs get a share of two cores
WS = "/v1/workspaces/street"
FIELDS = ["uri", "label", "brightness"]


@dataclass
class Seen:
    """What clients and the watch over the process saw."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    decisions: list[int] = field(default_factory=list)  # that were acknowledged
    snapshots: set[int] = field(default_factory=set)  # that searches were answered from
    samples: list[tuple[float, int, int]] = field(default_factory=list)  # seconds, bytes, open files


Send = Callable[..., Any]


def test_steady_use_beside_publishing_jobs(tmp_path: Path) -> None:
    root = tmp_path / "served"
    shutil.copytree(small_root() / "street", root / "street")
    more = tmp_path / "more"
    more.mkdir()
    seen = Seen()
    with serving(root, "--ingest-root", str(more), "--limit", "rate=0") as server:
        with working(server.address, server.process.pid, seen):
            n_published = publish(server.address, more, seen)
            until = time.monotonic() + 10 * SECONDS  # where others use the machine too, until everybody had a turn
            while min(seen.counts[name] for name in CLIENTS) <= ROUNDS and time.monotonic() < until:
                time.sleep(0.1)
        with httpx.Client(base_url=server.address, timeout=60) as http:
            kept = every_decision(http)
            info = http.get(WS).json()
            until = time.monotonic() + 30
            while http.post(f"{WS}/search", json=by_row(0, 0)).json()["snapshot"] != info["snapshot"]:
                assert time.monotonic() < until
                time.sleep(0.1)
    assert seen.failures == []
    assert min(seen.counts[name] for name in CLIENTS) > ROUNDS, seen.counts
    assert set(seen.decisions) <= kept
    assert len(seen.decisions) > 20
    assert n_published >= 3
    assert len(seen.snapshots) >= 3
    assert info["rows"] >= 31 + n_published
    with open_state(root / "street") as state:
        assert state.is_consistent()
    assert verify(open_workspace(root / "street")).is_sound
    held(seen)


def held(seen: Seen) -> None:
    """Memory and open files at the end against those after the warm-up; medians of five samples."""
    (began, _, _), (ended, _, _) = seen.samples[0], seen.samples[-1]
    warm = [sample for sample in seen.samples if sample[0] >= began + WARM * (ended - began)]
    before, after = (
        [statistics.median(sample[of] for sample in part) for of in (1, 2)] for part in (warm[:5], warm[-5:])
    )
    print(
        f"{ended - began:.0f} s, {dict(seen.counts)}, {len(seen.snapshots)} snapshots, "
        f"{before[0] / 1e6:.0f} -> {after[0] / 1e6:.0f} MB, {before[1]:.0f} -> {after[1]:.0f} files"
    )
    assert after[0] - before[0] < GROWTH_BYTES
    assert after[1] - before[1] < GROWTH_FILES


# -- clients -------------------------------------------------------------------------------------------------------


def search(send: Send, at: int, seen: Seen) -> None:
    body = send("POST", f"{WS}/search", json=by_row(at % 24, at))
    seen.snapshots.add(body["snapshot"])
    if at % 5 == 0 and body["cursor"]:
        send("POST", f"{WS}/search", json={**by_row(at % 24, at), "cursor": body["cursor"]}, may_be=(410,))


def browse(send: Send, at: int, seen: Seen) -> None:
    send(
        "POST", f"{WS}/rows/query", json={"filter": {"column": "brightness", "gt": 0.3}, "fields": FIELDS, "limit": 20}
    )
    send("POST", f"{WS}/rows/facets", json={"columns": ["label", "cluster"]})
    send("GET", f"{WS}/map")
    send("GET", f"{WS}/duplicates")
    send("GET", WS)


def look(send: Send, at: int, seen: Seen) -> None:
    send("GET", f"{WS}/images/{at % 24}")
    send("GET", f"{WS}/images/{at % 24}?size=64")
    send("POST", f"{WS}/images/pack", json={"rows": list(range(24))})
    send("GET", f"{WS}/rows/{at % 24}/why", may_be=(409,))  # between embed and neardups of a run: not decided yet


def decide(send: Send, at: int, seen: Seen) -> None:
    made = send("POST", f"{WS}/decisions", json={"kind": "review", "rows": [at % 24], "value": "accept"})
    seen.decisions.append(made["id"])
    made = send("POST", f"{WS}/tags/night/rows", json={"rows": [at % 24, (at + 1) % 24]})
    seen.decisions.append(made["id"])
    send("GET", f"{WS}/decisions?limit=50")


CLIENTS: dict[str, Callable[[Send, int, Seen], None]] = {
    "search": search, "search too": search, "browse": browse, "look": look, "decide": decide,
}  # fmt: skip


def by_row(row: int, at: int) -> dict[str, Any]:
    """A search; now filtered, now grouped, now with a probe."""
    body: dict[str, Any] = {"positives": [{"row": row}], "k": 10, "fields": FIELDS}
    if at % 2:
        body["filter"] = {"or": [{"column": "label", "eq": "car"}, {"tag": "night"}]} if at % 4 == 1 else {
            "column": "brightness", "gt": 0.2 + 0.0001 * (at % 1_000)
        }  # fmt: skip
    if at % 3 == 2:
        body["group_by"] = "neardup"
    if at % 7 == 6:
        body["method"], body["negatives"] = "probe", [{"row": (row + 5) % 24}]
    return body


@contextmanager
def working(address: str, pid: int, seen: Seen) -> Iterator[None]:
    """Clients and the watch, until the block ends."""
    over = threading.Event()
    threads = [threading.Thread(target=client, args=(address, name, seen, over)) for name in CLIENTS]
    threads.append(threading.Thread(target=watch, args=(pid, seen, over)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def client(address: str, name: str, seen: Seen, over: threading.Event) -> None:
    with httpx.Client(base_url=address, timeout=60) as http:

        def send(method: str, path: str, may_be: tuple[int, ...] = (), **more: Any) -> Any:
            answer = http.request(method, path, **more)
            if not answer.is_success and answer.status_code not in may_be:
                raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")
            is_json = answer.headers.get("content-type", "").startswith("application/json")
            return answer.json() if is_json else answer.content

        at = 0
        while not over.is_set():
            try:
                CLIENTS[name](send, at, seen)
                seen.counts[name] += 1
            except (httpx.HTTPError, RuntimeError, KeyError) as error:
                seen.failures.append(f"{name} {at}: {type(error).__name__}: {error}")
            at += 1
            time.sleep(PAUSE_S)


def watch(pid: int, seen: Seen, over: threading.Event) -> None:
    """The server alone, without the jobs that it starts."""
    page = os.sysconf("SC_PAGE_SIZE")
    while not over.wait(0.5):
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        seen.samples.append((time.monotonic(), resident, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())))


# -- jobs ----------------------------------------------------------------------------------------------------------


def publish(address: str, more: Path, seen: Seen) -> int:
    """New footage by upload and by folder, a run after each, for the whole time; returns how many runs."""
    rng = np.random.default_rng(9)
    n, until = 0, time.monotonic() + SECONDS
    with httpx.Client(base_url=address, timeout=60) as http:
        while time.monotonic() < until:
            held = io.BytesIO()
            picture(rng, width=160, height=120).save(held, "JPEG")
            params: dict[str, Any] = {"sources": [str(more)]}
            if n % 3 == 0:
                sent = http.post(f"{WS}/uploads", files=[("files", ("new.jpg", held.getvalue(), "image/jpeg"))])
                params = {"upload": sent.json()["upload"]}
            else:
                (more / f"{n:04d}.jpg").write_bytes(held.getvalue())
            job = http.post(f"{WS}/jobs?wait=30", json={"kind": "run", "params": params}).json()
            while job["finished"] is None:
                job = http.get(f"/v1/jobs/{job['id']}?wait=30").json()
            if job["state"] != "done":
                seen.failures.append(f"job: {job}")
            n += 1
    return n


def every_decision(http: httpx.Client) -> set[int]:
    found: set[int] = set()
    before = ""
    while True:
        page = http.get(f"{WS}/decisions?limit=500{before}").json()
        found |= {one["id"] for one in page["decisions"]}
        if page["before"] is None:
            return found
        before = f"&before={page['before']}"
