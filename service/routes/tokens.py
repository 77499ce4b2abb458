"""Tokens: list, make, revoke; the secret is shown once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from service.answers import answer
from service.context import service_of
from service.routes.workspaces import UNKNOWN
from service.schemas import Answered, Asked, ErrorBody, GivenName
from service.security import Admin, Role

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])
TAKEN: dict[int | str, dict[str, Any]] = {409: {"model": ErrorBody, "description": "A live token has the name"}}


class NewToken(Asked):
    """A token to make."""

    name: GivenName = Field(examples=["ann"])
    role: Role
    days: Annotated[float | None, Field(gt=0, le=3_650, description="until it ends; none: never")] = 90


class TokenAnswer(Answered):
    """A token without its secret."""

    id: str
    name: str
    role: Role
    created: float
    expires: float | None
    revoked: float | None
    used: float | None
    is_alive: bool


class MadeToken(TokenAnswer):
    """A token just made."""

    secret: str = Field(description="shown here and never again")


class TokensAnswer(Answered):
    """Every token ever made."""

    tokens: list[TokenAnswer]


@router.get("", response_model=TokensAnswer)
def tokens(request: Request, principal: Admin) -> JSONResponse:
    """Every token ever made, without secrets; as `curator token list`."""
    return answer({"tokens": [token.to_json() for token in service_of(request).state.tokens.list()]})


@router.post("", status_code=201, response_model=MadeToken, responses=TAKEN)
def create_token(request: Request, principal: Admin, body: NewToken) -> JSONResponse:
    """Make a token; as `curator token create`."""
    expires_s = None if body.days is None else body.days * 86_400
    token, secret = service_of(request).state.tokens.create(body.name, body.role, expires_s)
    return answer({**token.to_json(), "secret": secret}, 201)


@router.delete("/{name}", response_model=TokenAnswer, responses=UNKNOWN)
def revoke_token(request: Request, principal: Admin, name: str) -> JSONResponse:
    """End a token at once; as `curator token revoke`."""
    return answer(service_of(request).state.tokens.revoke(name).to_json())
