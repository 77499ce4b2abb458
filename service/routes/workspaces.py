"""Workspaces: list, make, look at, and one image's record."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from curator.errors import CuratorError
from curator.pipeline import describing
from curator.workspace import MANIFEST, create_workspace
from service import problems
from service.answers import answer
from service.context import service_of
from service.schemas import Columns, ErrorBody, Info, NewWorkspace, Record, Runs, WorkspaceEntry, Workspaces
from service.security import Admin, Reader

router = APIRouter(prefix="/v1/workspaces", tags=["workspaces"])
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "No such workspace or thing"}}


@router.get("", response_model=Workspaces)
def list_workspaces(request: Request, principal: Reader) -> JSONResponse:
    """Every workspace under the root; a broken one with its error, while the others go on."""
    registry = service_of(request).registry
    entries = []
    for name in registry.names():
        try:
            workspace = registry.workspace(name)
            entries.append({"name": name, "rows": workspace.n_rows, "snapshot": workspace.snapshot.sequence,
                            "error": None})  # fmt: skip
        except CuratorError as error:
            told = problems.body_of(error, registry.root)["error"]
            entries.append({"name": name, "rows": None, "snapshot": None, "error": told})
    return answer({"workspaces": entries})


@router.post(
    "", status_code=201, response_model=WorkspaceEntry,
    responses={**UNKNOWN, 409: {"model": ErrorBody, "description": "The name is taken"}},
)  # fmt: skip
def create(request: Request, principal: Admin, body: NewWorkspace) -> JSONResponse:
    """Make an empty workspace under the root."""
    registry = service_of(request).registry
    folder = registry.new_path(body.name)
    if (folder / MANIFEST).exists():
        raise problems.Taken(f"there is a workspace {body.name!r} already", "choose another name")
    workspace = create_workspace(folder)
    return answer({"name": body.name, "rows": 0, "snapshot": workspace.snapshot.sequence, "error": None}, 201)


@router.get("/{ws}", response_model=Info, responses=UNKNOWN)
def info(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """What is there, what is stale, the last runs, unreadable files; as `curator info`."""
    registry = service_of(request).registry
    body = describing.info(registry.workspace(ws), registry.told(ws, describing.unreadable))
    return answer({**body, "path": ws})


@router.get("/{ws}/runs", response_model=Runs, responses=UNKNOWN)
def runs(
    request: Request, principal: Reader, ws: str, limit: Annotated[int, Query(ge=1, le=1_000)] = 50
) -> JSONResponse:
    """What ran, newest first."""
    return answer({"runs": describing.runs(service_of(request).registry.workspace(ws), limit=limit)})


@router.get("/{ws}/columns", response_model=Columns, responses=UNKNOWN)
def columns(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Columns that filters and quotas can name; as `curator columns`."""
    return answer({"columns": service_of(request).registry.told(ws, describing.columns)})


@router.get("/{ws}/rows/{row}", response_model=Record, responses=UNKNOWN)
def show(request: Request, principal: Reader, ws: str, row: int) -> JSONResponse:
    """Everything known about one image; as `curator show`."""
    return answer(describing.show(service_of(request).registry.workspace(ws), row))
