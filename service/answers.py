"""Plain values of the library as JSON answers, once and fast."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}}, 304: {"description": "Not changed"},
}  # fmt: skip
"""What `binary` answers, for the contract."""


class PlainJson(JSONResponse):
    """JSON whose odd values (dates, bytes, not-a-number) become text or null instead of an error."""

    def render(self, content: Any) -> bytes:
        """The body's bytes."""
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
        except ValueError:  # a number that JSON does not have
            text = json.dumps(_finite(content), ensure_ascii=False, separators=(",", ":"), default=_plain)
        return text.encode("utf-8", "replace")


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    """A JSON answer; it is not validated again, the tests hold it against the contract."""
    return PlainJson(body, status, headers)


def nothing() -> Response:
    """Done, and nothing to say."""
    return Response(status_code=204)


def binary(
    request: Request, version: str, make: Callable[[], bytes], headers: dict[str, str] | None = None
) -> Response:
    """A binary column with its version, so that a browser asks for it once."""
    etag = '"' + "".join(c if (c.isascii() and c.isalnum()) or c in "-_." else f"%{ord(c):x}" for c in version) + '"'
    sent = {"ETag": etag, "Cache-Control": "private, no-cache", **(headers or {})}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=sent)
    return Response(make(), media_type="application/octet-stream", headers=sent)


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # a numpy scalar
        return value.item()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
