"""The application: settings in, one ASGI application out. It assembles, and does nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from curator.errors import UsageError
from curator.state import open_state
from curator.version import __version__
from service import problems, routes
from service.context import Service
from service.fetching import Fetcher
from service.jobs import Runner
from service.metrics import Metrics
from service.middleware import Edge, Guard
from service.pictures import Pictures
from service.registry import Registry
from service.settings import ENVIRONMENT, Settings


def create_app(settings: Settings) -> FastAPI:
    """Build the application.

    Raises:
        UsageError: the root is no folder.
        DamagedWorkspace, NewerFormat: the root's state.db cannot be used.
    """
    if not settings.root.is_dir():
        raise UsageError(f"{settings.root} is no folder; name a workspace, or a folder of workspaces")
    metrics = Metrics()
    registry, state = Registry(settings, metrics), open_state(settings.root)
    runner = Runner(settings, registry, state, metrics)
    fetch = Fetcher(settings.max_upload_bytes) if settings.fetch_urls else None
    service = Service(settings, registry, state, metrics, Pictures(), runner, fetch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with routes.background(service):
            yield
        service.registry.close()
        service.state.close()

    app = FastAPI(
        title="Curator", version=__version__, lifespan=lifespan, description=routes.DESCRIPTION,
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None, openapi_tags=routes.TAGS,
        responses=routes.ERRORS, generate_unique_id_function=routes.operation_id,
    )  # fmt: skip
    app.state.service = service
    problems.install(app, service.registry.root)
    routes.install(app)
    app.add_middleware(Guard, settings=settings, state=lambda: service.state)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"],
            allow_headers=["authorization", "content-type", "x-request-id"], expose_headers=["x-request-id"],
        )  # fmt: skip
    app.add_middleware(Edge, settings=settings, metrics=metrics)  # added last: outermost
    return app


def from_environment() -> FastAPI:
    """The application of one of several worker processes."""
    return create_app(Settings.from_json(os.environ[ENVIRONMENT]))
