"""What surrounds every request: its id, the Host check, the caller and their limits, headers, log and numbers."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from curator.state import State
from service import problems, security
from service.limits import RateLimit, body_limit, bounded
from service.metrics import Metrics
from service.problems import Problem
from service.settings import Settings

access = logging.getLogger("curator.access")
logger = logging.getLogger("curator.service")

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Edge:
    """The outermost layer: nothing leaves without an id, headers, a log line and a number."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id", "")
        request_id = asked if REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)
        scope["request_id"] = request_id
        status, n_bytes = 0, 0

        async def sender(message: MutableMapping[str, Any]) -> None:
            nonlocal status, n_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), request_id, self.settings)
            elif message["type"] == "http.response.body":
                n_bytes += len(message.get("body", b""))
            await send(message)

        self.metrics.in_work.inc()
        try:
            if not security.is_known_host(headers.get("host", ""), self.settings):
                host = headers.get("host", "")[:100]
                refusal = problems.Forbidden(
                    f"this server does not answer to the name {host!r}", "start it with --allow-host NAME"
                )
                await JSONResponse(refusal.to_json(), 403)(scope, receive, sender)
            else:
                await self.app(scope, receive, sender)
        except Exception:
            logger.exception("request %s failed", request_id)
            if status:
                raise  # half an answer is out: the connection has to end
            told = problems.body("InternalError", "something went wrong on the server", f"its log has id {request_id}")
            await JSONResponse(told, 500)(scope, receive, sender)
        finally:
            self.metrics.in_work.dec()
            self._note(scope, status, n_bytes, time.perf_counter() - started, request_id)

    def _note(self, scope: Scope, status: int, n_bytes: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unknown")  # not the path: its names have no end
        self.metrics.requests.labels(scope["method"], route, str(status)).inc()
        self.metrics.latency.labels(route).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            principal = scope.get("principal")
            access.info(json.dumps({
                "time": round(time.time(), 3), "id": request_id, "client": (scope.get("client") or ("",))[0],
                "who": principal.who if principal else None, "method": scope["method"], "path": scope["path"],
                "route": route, "status": status, "bytes": n_bytes, "ms": round(1000 * seconds, 2),
            }))  # fmt: skip


def _add_headers(headers: MutableHeaders, request_id: str, settings: Settings) -> None:
    headers["x-request-id"] = request_id
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("content-security-policy", API_POLICY)
    headers.setdefault("cache-control", "no-store")
    if settings.origins:
        headers["cross-origin-resource-policy"] = "cross-origin"


class Guard:
    """Inside the edge: who asks, from where, how often, and how large a body."""

    def __init__(self, app: ASGIApp, *, settings: Settings, state: Callable[[], State]) -> None:
        self.app, self.settings, self.state = app, settings, state
        self.limit = RateLimit(settings.rate, settings.burst, settings.max_concurrent)
        self.guesses = RateLimit(rate=2.0, burst=20, max_concurrent=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            principal = self._principal(scope, headers)
            receive = self._body(scope, headers, receive)
        except Problem as problem:
            await JSONResponse(problem.to_json(), problem.status, headers=problem.headers)(scope, receive, send)
            return
        scope["principal"] = principal
        caller = principal.caller if principal else f"client:{(scope.get('client') or ('',))[0]}"
        try:
            if principal is None or principal.via != "open":
                self.limit.take(caller)
            self.limit.enter(caller)
        except Problem as problem:
            await JSONResponse(problem.to_json(), problem.status, headers=problem.headers)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self.limit.leave(caller)

    def _principal(self, scope: Scope, headers: Headers) -> security.Principal | None:
        cookies = _cookies(headers.get("cookie", ""))
        principal = security.authenticate(headers, cookies, self.settings, self.state())
        if principal is not None:
            security.check_origin(scope["method"], headers, principal, self.settings)
        elif headers.get("authorization") or security.COOKIE in cookies:
            self.guesses.take(str((scope.get("client") or ("",))[0]))  # guessing tokens is slow
            if headers.get("authorization"):
                raise problems.Unauthorized(
                    "this token is unknown, revoked or expired", "an admin makes one with `curator token create`",
                    headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        return principal

    def _body(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        limit = body_limit(self.settings, scope["path"], headers.get("content-type", "").lower())
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise problems.TooLarge(
                f"the body has {length[:20]} bytes, this route takes {limit}", "send less at once",
                headers={"Connection": "close"},
            )  # fmt: skip
        return bounded(receive, limit, self.settings.body_idle_s)


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}
