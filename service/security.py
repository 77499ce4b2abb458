"""Who asks, and what they may do.

On loopback without `--require-token` every caller is the person at the machine.
Elsewhere a caller shows a token, as a bearer or in the session cookie of the
page. A request that changes something must not come from another site: the
browser's Origin must be ours, and a cookie alone is not enough (CSRF token).
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.datastructures import Headers

from curator.state import State
from service.problems import Forbidden, Unauthorized
from service.settings import Settings

Role = Literal["reader", "reviewer", "admin"]
RANK: dict[str, int] = {"reader": 0, "reviewer": 1, "admin": 2}
COOKIE = "curator_session"
CSRF_HEADER = "x-curator-csrf"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    who: str
    role: str
    via: Literal["open", "bearer", "cookie"]
    csrf: str = ""  # what a request by cookie must repeat in its header

    @property
    def caller(self) -> str:
        """Key of its rate limit."""
        return f"{self.via}:{self.who}"


def authenticate(headers: Headers, cookies: dict[str, str], settings: Settings, state: State) -> Principal | None:
    """The caller, or None where a token is needed and none is good.

    A token that is sent but not good is refused even where none is needed.
    """
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme:
        return _of(bearer.strip(), state, "bearer") if scheme.lower() == "bearer" else None
    if cookie := cookies.get(COOKIE):
        found = _of(cookie, state, "cookie")
        if found is not None or not settings.is_open:
            return found
    return Principal(_person(), "admin", "open") if settings.is_open else None


def _of(secret: str, state: State, via: Literal["bearer", "cookie"]) -> Principal | None:
    token = state.tokens.verify(secret)
    if token is None:
        return None
    return Principal(token.name, token.role, via, csrf_of(secret) if via == "cookie" else "")


def csrf_of(secret: str) -> str:
    """The page's proof that it was given the session, not merely carries its cookie."""
    return hmac.new(secret.encode(), b"curator csrf", hashlib.sha256).hexdigest()


def check_origin(method: str, headers: Headers, principal: Principal, settings: Settings) -> None:
    """Refuse writes that another site's page sends with this browser's rights.

    Raises:
        Forbidden: another origin, or a cookie without its CSRF token.
    """
    if method in SAFE or principal.via == "bearer":
        return  # a bearer is never sent by a browser on its own
    origin = headers.get("origin")
    is_ours = origin is None or origin in settings.origins or urlsplit(origin).netloc == headers.get("host", "")
    if not is_ours or (origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site")):
        raise Forbidden("the request comes from a page of another site", "use a token, or start with --cors ORIGIN")
    if principal.via == "cookie" and not hmac.compare_digest(headers.get(CSRF_HEADER, ""), principal.csrf):
        raise Forbidden(
            f"a change by cookie needs the header {CSRF_HEADER}", "its value is `csrf` in the answer of GET /v1/session"
        )


def is_known_host(host: str, settings: Settings) -> bool:
    """Whether the Host header names this server; a name that was rebound to our address does not.

    An address is always ours: only a name can be rebound. Behind a wildcard bind without
    `--allow-host` any name is taken, since tokens, not names, protect there.
    """
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    known = {"localhost", settings.host.lower(), *(allowed.lower() for allowed in settings.allow_hosts)}
    return name in known or (not settings.is_loopback and not settings.allow_hosts)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user of that number
        return "local"


def check_role(principal: Principal, role: Role) -> None:
    """Refuse who may do less than a role may.

    Raises:
        Forbidden: the role does not reach.
    """
    if RANK[principal.role] < RANK[role]:
        raise Forbidden(f"{principal.role} may not do this, {role} may", "ask an admin for another token")


# -- what a route asks for ---------------------------------------------------------------------------------------

_bearer = HTTPBearer(auto_error=False, description="A token of `curator token create`.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The page's session.")


def _at_least(role: Role) -> object:
    async def check(
        request: Request, bearer: object = Security(_bearer), cookie: object = Security(_cookie)
    ) -> Principal:
        principal: Principal | None = request.scope.get("principal")
        if principal is None:
            raise Unauthorized(
                "a token is needed",
                "send 'Authorization: Bearer TOKEN'; an admin makes one with `curator token create`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        check_role(principal, role)
        return principal

    return check


Reader = Annotated[Principal, Depends(_at_least("reader"))]
Reviewer = Annotated[Principal, Depends(_at_least("reviewer"))]
Admin = Annotated[Principal, Depends(_at_least("admin"))]
