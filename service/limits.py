"""How much one caller may ask for: bytes of a body, requests a second, requests at once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from service.problems import TooLarge, TooMany, TooSlow
from service.settings import Settings

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SLOWEST_BYTES_S = 1024  # a body slower than this on the whole is given up
KEPT_CALLERS = 10_000


def body_limit(settings: Settings, path: str, content_type: str) -> int:
    """The most bytes a request's body may have."""
    if path.endswith("/uploads"):
        return settings.max_batch_bytes
    if content_type.startswith(("multipart/form-data", "image/", "application/octet-stream")):
        return settings.max_upload_bytes + settings.max_json_bytes
    return settings.max_json_bytes


def bounded(receive: Receive, limit: int, idle_s: float) -> Receive:
    """`receive` that refuses a body over `limit` bytes, or one that does not come."""
    started = time.monotonic()
    n_bytes = 0
    is_complete = False

    async def wrapper() -> MutableMapping[str, Any]:
        nonlocal n_bytes, is_complete
        if is_complete:
            return await receive()  # waits for the client to hang up
        try:
            with anyio.fail_after(idle_s):
                message = await receive()
        except TimeoutError as error:
            raise TooSlow(f"no byte of the body came in {idle_s:g} s", "send the body at once") from error
        if message["type"] != "http.request":
            return message
        n_bytes += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if n_bytes > limit:
            raise TooLarge(f"the body is over {limit} bytes", "send less at once")
        if not is_complete and time.monotonic() - started > idle_s + n_bytes / SLOWEST_BYTES_S:
            raise TooSlow(f"{n_bytes} bytes of the body came in {time.monotonic() - started:.0f} s", "send it faster")
        return message

    return wrapper


class RateLimit:
    """A token bucket per caller, and how many requests each has in work.

    A bucket holds `burst` and gains `rate` a second; a request takes one. Callers not
    seen for longest are forgotten, which only ever gives them a full bucket again.
    """

    def __init__(self, rate: float, burst: int, max_concurrent: int) -> None:
        self.rate, self.burst, self.max_concurrent = rate, burst, max_concurrent
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._in_work: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, *, now: float | None = None) -> None:
        """Count one request.

        Raises:
            TooMany: the bucket is empty.
        """
        if self.rate <= 0:
            return
        now = time.monotonic() if now is None else now
        with self._lock:
            left, then = self._buckets.pop(caller, (float(self.burst), now))
            left = min(float(self.burst), left + (now - then) * self.rate)
            is_allowed = left >= 1
            self._buckets[caller] = (left - 1 if is_allowed else left, now)
            while len(self._buckets) > KEPT_CALLERS:
                self._buckets.popitem(last=False)
        if not is_allowed:
            raise _later(f"more than {self.rate:g} requests a second", (1 - left) / self.rate)

    def enter(self, caller: str) -> None:
        """One more request of this caller is in work.

        Raises:
            TooMany: it has as many as it may.
        """
        with self._lock:
            n = self._in_work.get(caller, 0)
            if n >= self.max_concurrent:
                raise _later(f"{n} requests are in work already", 1.0)
            self._in_work[caller] = n + 1

    def leave(self, caller: str) -> None:
        """One of them is done."""
        with self._lock:
            n = self._in_work[caller] - 1
            if n:
                self._in_work[caller] = n
            else:
                del self._in_work[caller]


def _later(message: str, wait_s: float) -> TooMany:
    seconds = max(1, round(wait_s + 0.5))
    return TooMany(message, f"try again in {seconds} s", headers={"Retry-After": str(seconds)})
