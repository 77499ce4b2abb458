"""Every route, one file per kind of thing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.routes import (
    compat,
    decisions,
    duplicates,
    health,
    images,
    jobs,
    mining,
    page,
    results,
    rows,
    search,
    session,
    tokens,
    uploads,
    workspaces,
)  # fmt: skip
from service.schemas import ErrorBody

if TYPE_CHECKING:
    from service.context import Service

ROOMS = (
    health, session, tokens, workspaces, search, rows, images, duplicates, decisions, mining, jobs, uploads,
    results, compat,
)  # fmt: skip

DESCRIPTION = """Near-duplicate search and "find more like this failure" over workspaces of images.

A *row* is the identity of an image, given at ingest and never reused. Similarity is the cosine of unit vectors.
Every error has the shape `{"error": {"code", "message", "hint"}}`."""

TAGS: list[dict[str, Any]] = [
    {"name": room.router.tags[0], "description": (room.__doc__ or "").strip().splitlines()[0]} for room in ROOMS
]

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The request itself is off", 401: "A token is needed", 403: "The role does not allow it",
        422: "The request does not have the expected shape, or the data cannot be used as asked",
        429: "Too many requests; Retry-After says when to come again",
    }.items()
}  # fmt: skip


def install(app: FastAPI) -> None:
    """Add every room's routes."""
    for room in ROOMS:
        app.include_router(room.router)
    app.include_router(page.router)


def operation_id(route: APIRoute) -> str:
    """The function's name: what generated clients call the operation."""
    return route.name


@contextmanager
def background(service: Service) -> Iterator[None]:
    """What runs beside the requests while the application lives."""
    service.runner.start()
    try:
        yield
    finally:
        service.runner.stop()
