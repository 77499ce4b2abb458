"""Is the server alive, is it ready, and its numbers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from curator.errors import CuratorError
from curator.version import __version__
from service import problems
from service.context import service_of
from service.schemas import ErrorBody, Health, Readiness
from service.security import Reader

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok", version=__version__)


@router.get("/readyz", response_model=Readiness, responses={503: {"model": ErrorBody, "description": "Not ready"}})
def readyz(request: Request) -> Response:
    """The state database answers and the workspaces can be listed; a broken workspace does not make it unready."""
    service = service_of(request)
    try:
        service.state.check_alive()
        n_workspaces = len(service.registry.names())
    except (CuratorError, OSError) as error:
        return JSONResponse(problems.body("NotReady", type(error).__name__, "see the server's log"), 503)
    return JSONResponse({"status": "ready", "workspaces": n_workspaces})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, principal: Reader) -> Response:
    """Prometheus numbers: requests, latency by route, searches, index size, jobs by state."""
    service_of(request).registry.measure()
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
