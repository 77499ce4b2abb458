"""Load for a benchmark: clients that send one request after another over kept connections, in a process of their own.

usage: python scripts/_load.py PORT CLIENTS SECONDS BODIES   (BODIES: a file of requests, one JSON object a line:
{"path", "body"}); prints {"n", "errors", "seconds", "ms": [...], "bytes"} as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path


async def client(
    port: int, requests: list[bytes], first: int, until: float, ms: list[float], errors: Counter[str]
) -> None:
    """One connection, one request at a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = first
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(requests[at % len(requests)])
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            status = lines[0].split(" ")[1]
            length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
            await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, StopIteration, IndexError) as error:
            errors[type(error).__name__] += 1
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        if status == "200":
            ms.append(1000 * (time.perf_counter() - started))
        else:
            errors[status] += 1
        at += 1
    writer.close()


async def load(port: int, n_clients: int, seconds: float, requests: list[bytes]) -> dict[str, object]:
    """All clients at once, each beginning at another request."""
    ms: list[float] = []
    errors: Counter[str] = Counter()
    started = time.perf_counter()
    until = started + seconds
    step = max(1, len(requests) // n_clients)
    await asyncio.gather(*(client(port, requests, i * step, until, ms, errors) for i in range(n_clients)))
    return {"n": len(ms), "errors": dict(errors), "seconds": time.perf_counter() - started, "ms": ms}


def encoded(port: int, line: str) -> bytes:
    """A request as it goes over the wire."""
    asked = json.loads(line)
    body = json.dumps(asked["body"]).encode()
    head = (
        f"POST {asked['path']} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    port, n_clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    lines = Path(sys.argv[4]).read_text(encoding="utf-8").splitlines()
    print(json.dumps(asyncio.run(load(port, n_clients, seconds, [encoded(port, line) for line in lines]))))
