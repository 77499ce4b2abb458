"""Signing in from a browser, and who one is."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.context import service_of
from service.problems import Unauthorized
from service.schemas import Login, Session
from service.security import COOKIE, Reader, csrf_of

router = APIRouter(prefix="/v1/session", tags=["session"])


@router.get("", response_model=Session)
async def session(principal: Reader) -> Session:
    """Who the caller is; `csrf` goes into the header x-curator-csrf of every change made by cookie."""
    return Session(who=principal.who, role=principal.role, via=principal.via, csrf=principal.csrf)


@router.post("", response_model=Session)
def login(request: Request, response: Response, body: Login) -> Session:
    """Take a token once and set the session cookie: HttpOnly, SameSite=Strict, until the token ends."""
    service = service_of(request)
    token = service.state.tokens.verify(body.token)
    if token is None:
        raise Unauthorized(
            "this token is unknown, revoked or expired", "an admin makes one with `curator token create`"
        )
    response.set_cookie(
        COOKIE, body.token, httponly=True, samesite="strict", secure=service.settings.secure_cookies, path="/",
        max_age=token.seconds_left,
    )  # fmt: skip
    return Session(who=token.name, role=token.role, via="cookie", csrf=csrf_of(body.token))


@router.delete("", status_code=204)
async def logout(principal: Reader) -> Response:
    """Forget the session cookie; the token itself stays good."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
