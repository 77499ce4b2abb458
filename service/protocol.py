"""HTTP connections that may not dawdle: a bound on the time and the size of a request's head.

The server library times idle connections only after an answer; a client that
sends its headers one byte a minute, or headers without end, would hold a
connection and memory for ever.
"""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32_768
HEAD_S = 10.0
_TOO_LARGE = (
    b'{"error": {"code": "HeadersTooLarge", "message": "the request line and headers are over 32768 bytes", '
    b'"hint": "send fewer or shorter headers"}}'
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection whose requests have `head_s` seconds and 32 KiB for their line and headers."""

    head_s = HEAD_S
    _timer: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came; the clock starts before its first byte."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a request's headers are complete."""
        if self._timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._timer is not None and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """A request begins, the first or a later one of the connection."""
        super().on_message_begin()
        if self._timer is None:
            self._start_clock()

    def on_headers_complete(self) -> None:
        """The head is here; from now on the application bounds the body."""
        self._stop_clock()
        super().on_headers_complete()

    def _start_clock(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(self.head_s, self._give_up)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self) -> None:
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            f"content-length: {len(_TOO_LARGE)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + _TOO_LARGE)
        self.transport.close()
