"""Every error as a status and one JSON shape: {"error": {"code", "message", "hint"}}.

The table maps the error tree of `curator.errors` to HTTP. A message of ours
reads "what was found; what to do": the second half is the hint. Absolute paths
of the server are cut down to what lies under its root. Unknown exceptions are
logged whole and answered with nothing but the request's id.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from curator import errors

logger = logging.getLogger("curator.service")


class Problem(HTTPException):
    """An answer that is a refusal by the service itself.

    An HTTPException, so that it passes through the framework's reading of bodies as it is.
    """

    status = 400

    def __init__(self, message: str, hint: str = "", *, headers: dict[str, str] | None = None) -> None:
        super().__init__(self.status, message, headers)
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The one error shape."""
        return body(type(self).__name__, str(self.detail), self.hint)


class BadRequest(Problem):
    """The request cannot be understood."""


class Unauthorized(Problem):
    """No token, or none that is known and alive."""

    status = 401


class Forbidden(Problem):
    """The role does not allow it, or the request comes from another site."""

    status = 403


class NotFound(Problem):
    """No such thing."""

    status = 404


class Taken(Problem):
    """The name, or what was to be changed, is not free."""

    status = 409


class CannotFetch(Problem):
    """A URL that does not give an image."""

    status = 422


class Gone(Problem):
    """It was there, and is not any more."""

    status = 410


class TooSlow(Problem):
    """A body that does not come."""

    status = 408


class TooLarge(Problem):
    """More bytes, pixels or items than the server takes."""

    status = 413


class Unsupported(Problem):
    """A content type that the route does not read."""

    status = 415


class Unsatisfiable(Problem):
    """A byte range outside the file."""

    status = 416


class TooMany(Problem):
    """More requests than the token may send."""

    status = 429


STATUS: dict[type[errors.CuratorError], int] = {
    errors.UsageError: 400,
    errors.UnknownColumn: 404,
    errors.UnknownSelection: 404,
    errors.UnknownRow: 404,
    errors.UnknownSpace: 404,
    errors.UnknownName: 404,
    errors.NameTaken: 409,
    errors.MissingPackage: 501,
    errors.DataError: 422,
    errors.Conflict: 409,
    errors.WorkerFailed: 503,
    errors.WorkspaceError: 503,
    errors.NotAWorkspace: 404,
    errors.WorkspaceLocked: 409,
    errors.CannotWrite: 507,
    errors.StageMissing: 409,
    errors.CuratorError: 500,
}
"""A class not listed answers as its nearest listed parent."""


def status_of(error: errors.CuratorError) -> int:
    """HTTP status of an error raised on purpose."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body(code: str, message: str, hint: str = "") -> dict[str, Any]:
    """The one error shape."""
    return {"error": {"code": code, "message": message, "hint": hint}}


def body_of(error: errors.CuratorError, root: Path) -> dict[str, Any]:
    """The error shape of an error raised on purpose, without the server's paths."""
    return told(type(error).__name__, str(error), root)


def told(code: str, text: str, root: Path) -> dict[str, Any]:
    """The error shape of what a library or a command said, without the server's paths."""
    message, _, hint = cut(" ".join(text.split()), root).partition("; ")
    return body(code, message, hint)


def cut(text: str, root: Path) -> str:
    """Paths under a root from there on, and the root itself by its name."""
    for prefix in {f"{root}/", f"{root.resolve()}/"}:
        text = text.replace(prefix, "")
    for whole in {str(root), str(root.resolve())}:
        text = text.replace(whole, root.name)
    return text


def install(app: FastAPI, root: Path) -> None:
    """Answer every error in the one shape."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.CuratorError)
        status = status_of(error)
        if status >= 500:
            logger.error("%s: %s", type(error).__name__, error)
        return JSONResponse(body_of(error, root), status)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return JSONResponse(error.to_json(), error.status, headers=error.headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return JSONResponse(body("BadRequest", _sentence(error), "the contract is at /v1/openapi.json"), 422)

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        names = {404: "NotFound", 405: "MethodNotAllowed"}
        code = names.get(error.status_code, "BadRequest")
        hint = "the contract is at /v1/openapi.json" if error.status_code in names else ""
        return JSONResponse(body(code, str(error.detail), hint), error.status_code, headers=error.headers)

    app.add_exception_handler(errors.CuratorError, ours)
    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


def _sentence(error: RequestValidationError) -> str:
    """The first few complaints: place and what was expected; the values sent are not repeated."""
    parts = []
    for item in error.errors()[:5]:
        place = ".".join(str(part) for part in item["loc"])
        parts.append(f"{place}: {item['msg'][:200]}")
    return "; ".join(parts)
