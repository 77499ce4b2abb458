"""Thumbnails, any size, parts and originals of images; frames of videos are cut on demand."""

from __future__ import annotations

import re
import struct
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from curator.searching import Served
from service.context import service_of
from service.pictures import LARGEST_PX, File
from service.problems import BadRequest, Unsatisfiable
from service.routes.search import NOT_READY
from service.schemas import Asked, ErrorBody, RowNumber
from service.security import Reader

router = APIRouter(prefix="/v1/workspaces/{ws}/images", tags=["images"])
IMAGE_POLICY = "default-src 'none'; sandbox"
SIZE = r"^(thumb|original|[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-6])$"  # up to LARGEST_PX
BOX = r"^([0-9]{1,5}(\.[0-9]{1,6})?,){2}[1-9][0-9]{0,4}(\.[0-9]{1,6})?,[1-9][0-9]{0,4}(\.[0-9]{1,6})?$"
ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
ANSWERS: dict[int | str, dict[str, Any]] = {
    **NOT_READY,
    200: {"content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}, "application/octet-stream": {}}},
    206: {"description": "The bytes asked for"}, 304: {"description": "Not changed"},
    416: {"model": ErrorBody, "description": "The range lies outside the file"},
}  # fmt: skip


class PackBody(Asked):
    """Which thumbnails."""

    rows: list[RowNumber] = Field(min_length=1, max_length=256, examples=[[0, 1, 2]])


@router.head("/{row}", include_in_schema=False)
@router.get("/{row}", response_class=Response, responses=ANSWERS)
def image(
    request: Request,
    principal: Reader,
    ws: str,
    row: int,
    size: Annotated[
        str,
        Query(
            json_schema_extra={"pattern": SIZE},
            description=f"thumb, original, or the long side in px up to {LARGEST_PX}",
        ),
    ] = "thumb",
    box: Annotated[
        str | None, Query(json_schema_extra={"pattern": BOX}, description="x,y,width,height in px of the original")
    ] = None,
) -> Response:
    """One picture. Thumbnails and originals come as stored; sizes and boxes are JPEGs made once and kept."""
    service = service_of(request)
    served: Served = service.registry.served(ws)
    served.columns.check_row(row)
    part = None if box is None else _box(box)
    if part is None and size == "thumb":
        file = service.pictures.thumbnail(served, row)
    elif part is None and size == "original":
        file = service.pictures.original(served, row)
    else:
        file = service.pictures.sized(served, row, _size(size), part)
    return _sent(request, file, row)


@router.post(
    "/pack", response_class=Response, responses={**NOT_READY, 200: {"content": {"application/octet-stream": {}}}}
)
def pack(request: Request, principal: Reader, ws: str, body: PackBody) -> Response:
    """Many thumbnails in one answer: for each row asked for, in order, its length as little-endian uint32 (0: none),
    then its bytes."""
    served = service_of(request).registry.served(ws)
    for row in body.rows:
        served.columns.check_row(row)
    found = served.thumbs.get(body.rows)
    pieces = []
    for row in body.rows:
        data = found.get(row, b"")
        pieces += [struct.pack("<I", len(data)), data]
    return Response(b"".join(pieces), media_type="application/octet-stream")


def _sent(request: Request, file: File, row: int) -> Response:
    """A file with its tag, whole, in part, or not at all where the client has it."""
    headers = {
        "ETag": file.etag, "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": IMAGE_POLICY,
    }  # fmt: skip
    if not file.is_shown:
        headers["Content-Disposition"] = f'attachment; filename="row-{row}"'
    given = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in given or "*" in given:
        return Response(status_code=304, headers=headers)
    start, stop, status = _range(request, file)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(file.data)}"
    return Response(file.data[start:stop], status, headers, file.type)


def _range(request: Request, file: File) -> tuple[int, int, int]:
    """First byte, end, and status; what is no single range of bytes is answered with the whole file.

    Raises:
        Unsatisfiable: it begins behind the end.
    """
    whole = (0, len(file.data), 200)
    asked, condition = ONE_RANGE.fullmatch(request.headers.get("range", "")), request.headers.get("if-range")
    if asked is None or (condition is not None and condition != file.etag) or not any(asked.groups()):
        return whole
    first, last = asked.groups()
    start = int(first) if first else max(0, len(file.data) - int(last))
    stop = min(len(file.data), int(last) + 1) if first and last else len(file.data)
    if start >= len(file.data) or stop <= start:
        raise Unsatisfiable(
            f"the range begins at byte {start}, the file has {len(file.data)}", "ask for bytes it has",
            headers={"Content-Range": f"bytes */{len(file.data)}"},
        )  # fmt: skip
    return start, stop, 206


def _size(text: str) -> int:
    if text in ("thumb", "original"):
        return 0
    if not re.fullmatch(SIZE, text):
        raise BadRequest(f"size {text[:20]!r}", f"expected thumb, original, or 1 to {LARGEST_PX}")
    return int(text)


def _box(text: str) -> tuple[float, float, float, float]:
    if not re.fullmatch(BOX, text):
        raise BadRequest(f"box {text[:40]!r}", "expected x,y,width,height in pixels, width and height at least 1")
    x, y, width, height = (float(part) for part in text.split(","))
    return x, y, width, height
