"""Images sent to a workspace, for an ingest job to take in."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.requests import ClientDisconnect

from curator.workspace import open_workspace
from service import uploads
from service.answers import answer, nothing
from service.context import service_of
from service.problems import BadRequest
from service.schemas import Answered, ErrorBody
from service.security import Admin, Reader
from service.verbs import uploads_of

router = APIRouter(prefix="/v1/workspaces/{ws}/uploads", tags=["uploads"])

UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "No such workspace or upload"},
    503: {"model": ErrorBody, "description": "The workspace cannot be used"},
}
REFUSED: dict[int | str, dict[str, Any]] = {
    408: {"model": ErrorBody, "description": "The body does not come"},
    413: {"model": ErrorBody, "description": "Too many bytes, pixels or images"},
    415: {"model": ErrorBody, "description": "No multipart form, or a file that is no image or also something else"},
    507: {"model": ErrorBody, "description": "The disk is full"},
}
FORM: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": [uploads.FIELD], "additionalProperties": False,
    "properties": {uploads.FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
}}}}}  # fmt: skip


class FileAnswer(Answered):
    """One image of an upload."""

    name: str
    bytes: int
    format: str = Field(examples=["JPEG"])
    width: int
    height: int


class UploadAnswer(Answered):
    """Images that came together; `{"kind": "ingest", "params": {"upload": ID}}` takes them in."""

    upload: str
    files: list[FileAnswer]
    bytes: int


class UploadEntry(Answered):
    """One upload."""

    upload: str
    n_files: int
    bytes: int
    created: float = Field(description="seconds since 1970")


class UploadsAnswer(Answered):
    """Uploads, newest first."""

    uploads: list[UploadEntry]


@router.post("", status_code=201, response_model=UploadAnswer, responses={**UNKNOWN, **REFUSED}, openapi_extra=FORM)
async def upload_images(request: Request, principal: Admin, ws: str) -> JSONResponse:
    """Keep images that were sent, all of them or none."""
    service = service_of(request)
    place = await anyio.to_thread.run_sync(lambda: open_workspace(service.registry.path(ws)))
    receiver = uploads.Receiver(uploads_of(place), service.settings, request.headers.get("content-type", ""))
    with receiver:
        try:
            async for piece in request.stream():
                await anyio.to_thread.run_sync(receiver.write, piece)
        except ClientDisconnect as error:
            raise BadRequest("the body broke off", "send it again") from error
        kept = await anyio.to_thread.run_sync(receiver.finish)
    return answer(kept.to_json(), 201)


@router.get("", response_model=UploadsAnswer, responses=UNKNOWN)
def list_uploads(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """What was uploaded and is still there."""
    place = open_workspace(service_of(request).registry.path(ws))
    return answer({"uploads": uploads.listed(uploads_of(place))})


@router.delete("/{upload}", status_code=204, response_class=Response, responses=UNKNOWN)
def delete_upload(
    request: Request, principal: Admin, ws: str, upload: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
) -> Response:
    """Remove an upload; its images are told of as removed by the next ingest."""
    place = open_workspace(service_of(request).registry.path(ws))
    uploads.remove(uploads_of(place), upload)
    return nothing()
