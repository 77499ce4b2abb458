"""Search by rows, images, parts of images, vectors, texts and collections; near-duplicates; many at once."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError

from curator.searching import Example, Served, parse_example, parse_request
from service import cursors
from service.answers import answer
from service.context import Service, service_of
from service.problems import BadRequest, TooLarge
from service.routes.workspaces import UNKNOWN
from service.schemas import Answered, Asked, ErrorBody, RowNumber
from service.security import Reader

router = APIRouter(prefix="/v1/workspaces/{ws}/search", tags=["search"])
NOT_READY: dict[int | str, dict[str, Any]] = {
    **UNKNOWN,
    409: {"model": ErrorBody, "description": "A stage that this needs has not run"},
    410: {"model": ErrorBody, "description": "The cursor is of an older snapshot"},
    413: {"model": ErrorBody, "description": "More bytes, images or searches than the server takes"},
    503: {"model": ErrorBody, "description": "The workspace is damaged"},
}
MAX_UPLOADS = 16  # images beside one search

Box = Annotated[list[float], Field(min_length=4, max_length=4, description="x, y, width, height in pixels")]
FilterBody = Annotated[dict[str, Any], Field(description="a typed filter, see docs/search.md")]


class ExampleBody(Asked):
    """One thing to be like, or unlike: exactly one of row, image, upload, vector, text and collection."""

    row: RowNumber | None = None
    image: str | None = Field(None, description="an image file as base64 text")
    upload: str | None = Field(None, max_length=100, description="name of a file sent beside the request (multipart)")
    vector: list[float] | None = Field(None, max_length=100_000, description="in the space searched")
    text: str | None = Field(None, max_length=1_000, description="needs a CLIP-like space; else tags are searched")
    collection: str | None = Field(None, max_length=100, description="every row of it")
    box: Box | None = Field(None, description="with row or image: only this part of the picture")


class SearchBody(Asked):
    """One search."""

    positives: list[ExampleBody] = Field(min_length=1, max_length=1_000, examples=[[{"row": 17}]])
    negatives: list[ExampleBody] = Field([], max_length=1_000)
    k: int = Field(10, ge=1, le=1_000, description="hits, or with group_by groups")
    offset: int = Field(0, ge=0, le=10_000)
    cursor: str | None = Field(None, max_length=500, description="of an answer: its next page")
    min_similarity: float | None = Field(None, ge=-1, le=1)
    filter: FilterBody | None = None
    group_by: str | None = Field(None, max_length=200, description="neardup, video or a column: one hit for each group")
    space: str | None = Field(None, max_length=200)
    method: Literal["auto", "rocchio", "probe", "max"] = "auto"
    alpha: float = Field(1.0, ge=0, le=100, description="rocchio: weight of texts, images and vectors")
    beta: float = Field(0.75, ge=0, le=100, description="rocchio: weight of rows and collections")
    gamma: float = Field(0.15, ge=0, le=100, description="rocchio: weight of the negatives")
    centred: bool = Field(False, description="subtract the space's mean first")
    fields: list[str] = Field([], max_length=64, description="columns that come with each hit", examples=[["uri"]])


class BatchBody(Asked):
    """Many searches in one call."""

    searches: list[SearchBody] = Field(min_length=1, max_length=256)


class DuplicatesBody(Asked):
    """Have we already got this?"""

    example: ExampleBody = Field(examples=[{"row": 17}])
    threshold: float | None = Field(None, ge=-1, le=1, description="none: the calibrated or configured one")
    k: int = Field(10, ge=1, le=1_000)
    space: str | None = Field(None, max_length=200)
    fields: list[str] = Field([], max_length=64)


class HitAnswer(Answered):
    """One image found."""

    row: int
    similarity: float = Field(description="cosine; of a tag search the tags' summed probability")
    distance: float = Field(description="1 - similarity")
    score: float = Field(description="what is ranked by")


class SearchAnswer(Answered):
    """What was found and how; the body of `curator search --json`, and the cursor of the next page."""

    hits: list[HitAnswer]
    how: Literal["cosine", "rocchio", "probe", "max", "tags"]
    centred: bool
    space: str
    index: str
    recall: float = Field(description="of the index, measured against exact search")
    snapshot: int
    offset: int
    next_offset: int | None
    note: str
    cursor: str | None = Field(None, description="send it with the same request for the next page")


class BatchAnswer(Answered):
    """An answer for each search, in order."""

    answers: list[SearchAnswer]


class MatchAnswer(Answered):
    """One image that is the same, or like it."""

    row: int
    match: Literal["exact", "near", "similar"]
    similarity: float
    distance: float
    representative: int | None


class DuplicatesAnswer(Answered):
    """The verdict and what it rests on; the body of `curator have --json`."""

    verdict: Literal["already", "similar", "new"]
    matches: list[MatchAnswer]
    threshold: float
    similar_from: float
    threshold_origin: str
    metric: Literal["model", "copies"]
    nearest: float | None
    space: str
    index: str
    recall: float
    snapshot: int


@router.post("", response_model=SearchAnswer, responses=NOT_READY)
def search(request: Request, principal: Reader, ws: str, body: SearchBody) -> JSONResponse:
    """Find what is like the positives and unlike the negatives; filters are applied inside the search."""
    return answer(_searched(service_of(request), ws, [_plain(body)], {})[0])


@router.post("/upload", response_model=SearchAnswer, responses=NOT_READY)
def search_upload(
    request: Request,
    principal: Reader,
    ws: str,
    files: Annotated[list[UploadFile], File(description="images that `request` refers to by file name", max_length=16)],
    request_json: Annotated[str, Form(alias="request", max_length=1_000_000, description="a search as JSON")] = "",
) -> JSONResponse:
    """The same with images sent as files; without `request`, the files are the positives."""
    service = service_of(request)
    uploads = _read(files, service)
    asked: Any = _json(request_json) if request_json else {"positives": [{"upload": name} for name in uploads]}
    return answer(_searched(service, ws, [_plain(_validated(asked))], uploads)[0])


@router.post("/batch", response_model=BatchAnswer, responses=NOT_READY)
def search_batch(request: Request, principal: Reader, ws: str, body: BatchBody) -> JSONResponse:
    """Many searches; those that share space and filter ask the index together."""
    service = service_of(request)
    if len(body.searches) > service.settings.max_queries:
        raise TooLarge(
            f"{len(body.searches)} searches in one call, at most {service.settings.max_queries}", "send fewer"
        )
    return answer({"answers": _searched(service, ws, [_plain(one) for one in body.searches], {})})


@router.post("/near-duplicates", response_model=DuplicatesAnswer, responses=NOT_READY)
def near_duplicates(request: Request, principal: Reader, ws: str, body: DuplicatesBody) -> JSONResponse:
    """Have we already got this row or image? By its bytes, then by the calibrated or given threshold."""
    return answer(_duplicates(service_of(request), ws, body, {}))


@router.post("/near-duplicates/upload", response_model=DuplicatesAnswer, responses=NOT_READY)
def near_duplicates_upload(
    request: Request,
    principal: Reader,
    ws: str,
    file: Annotated[UploadFile, File(description="the image")],
    threshold: Annotated[float | None, Form(ge=-1, le=1)] = None,
    k: Annotated[int, Form(ge=1, le=1_000)] = 10,
    space: Annotated[str | None, Form(max_length=200)] = None,
) -> JSONResponse:
    """The same for an image sent as a file."""
    service = service_of(request)
    uploads = _read([file], service)
    example = ExampleBody(upload=next(iter(uploads)))
    body = DuplicatesBody(example=example, threshold=threshold, k=k, space=space, fields=["uri"])
    return answer(_duplicates(service, ws, body, uploads))


def _searched(
    service: Service, ws: str, asked: list[dict[str, Any]], uploads: dict[str, bytes]
) -> list[dict[str, Any]]:
    served = service.registry.served(ws)
    secret = service.state.secret("cursors")
    requests, digests = [], []
    for one in asked:
        digest = cursors.digest_of({**one, "ws": ws, "uploads": sorted(uploads)})
        cursor = one.pop("cursor", None)
        if cursor is not None:
            one["offset"] = cursors.offset_of(secret, cursor, served.sequence, digest)
        digests.append(digest)
        requests.append(parse_request(_with_uploads(one, uploads)))
    started = time.perf_counter()
    found = served.search_many(requests)
    service.metrics.search.labels(ws).observe(time.perf_counter() - started)
    bodies = [one.to_json() for one in found]
    for one, digest in zip(bodies, digests, strict=True):
        more = one["next_offset"]
        one["cursor"] = None if more is None else cursors.make(secret, served.sequence, digest, more)
    return bodies


def _duplicates(service: Service, ws: str, body: DuplicatesBody, uploads: dict[str, bytes]) -> dict[str, Any]:
    served: Served = service.registry.served(ws)
    example: Example = parse_example(_with_upload(_plain(body.example), uploads))
    found = served.near_duplicates(example, threshold=body.threshold, k=body.k, space=body.space, fields=body.fields)
    return found.to_json()


def _plain(body: Asked) -> dict[str, Any]:
    """What was said; what was left out keeps the library's default."""
    return body.model_dump(exclude_unset=True, exclude_none=True)


def _with_uploads(asked: dict[str, Any], uploads: dict[str, bytes]) -> dict[str, Any]:
    sides = {
        side: [_with_upload(example, uploads) for example in asked.get(side, [])] for side in ("positives", "negatives")
    }
    return {**asked, **sides}


def _with_upload(example: dict[str, Any], uploads: dict[str, bytes]) -> dict[str, Any]:
    if "upload" not in example:
        return example
    name = example.pop("upload")
    if name not in uploads:
        there = ", ".join(uploads) or "none; send them as multipart to the path ending in /upload"
        raise BadRequest(f"no file {name!r} came with the request", f"there are: {there}")
    return {**example, "image": uploads[name]}


def _read(files: list[UploadFile], service: Service) -> dict[str, bytes]:
    """Bytes of the files by name.

    Raises:
        TooLarge: too many, or one is too large.
        BadRequest: two of one name, or none.
    """
    if len(files) > MAX_UPLOADS:
        raise TooLarge(f"{len(files)} files beside one search, at most {MAX_UPLOADS}", "send fewer")
    limit, out = service.settings.max_upload_bytes, {}
    for at, file in enumerate(files):
        data = file.file.read(limit + 1)
        name = (file.filename or f"file{at}")[:100]
        if len(data) > limit:
            raise TooLarge(f"{name!r} is over {limit} bytes", "send a smaller image")
        if name in out:
            raise BadRequest(f"two files are called {name!r}", "give each a name of its own")
        out[name] = data
    return out


def _validated(asked: Any) -> SearchBody:
    try:
        return SearchBody.model_validate(asked)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the part `request` is no JSON", "send a search as the JSON route takes it") from error
