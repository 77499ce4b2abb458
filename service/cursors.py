"""Where a page ended, as text that only this server can have made.

A cursor holds the snapshot, a digest of the request and the offset, signed with
the root's secret: it goes on with the same question over the same snapshot, or
not at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from service.problems import BadRequest, Gone

SIGNATURE_BYTES = 16


def digest_of(request: dict[str, Any]) -> str:
    """The same for the same question, wherever its page begins."""
    asked = {key: value for key, value in request.items() if key not in ("offset", "cursor", "k", "limit")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def make(secret: bytes, snapshot: int, digest: str, offset: int) -> str:
    """The cursor of the next page."""
    body = f"{snapshot}.{digest}.{offset}".encode()
    return base64.urlsafe_b64encode(_signature(secret, body) + body).decode().rstrip("=")


def offset_of(secret: bytes, cursor: str, snapshot: int, digest: str) -> int:
    """Where the cursor goes on.

    Raises:
        BadRequest: it was not made here, or for another question.
        Gone: the workspace has moved on.
    """
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("this is no cursor", "take `cursor` from an answer as it is") from error
    signature, body = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(secret, body)):
        raise BadRequest("this cursor was changed, or made by another server", "take `cursor` from an answer as it is")
    then, asked, offset = body.decode().split(".")
    if asked != digest:
        raise BadRequest("this cursor belongs to another question", "send it with the request it came from")
    if int(then) != snapshot:
        raise Gone(f"the cursor is of snapshot {then}, the workspace is at {snapshot}", "ask again from the first page")
    return int(offset)


def _signature(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()[:SIGNATURE_BYTES]
