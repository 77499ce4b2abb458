"""Search by rows, images, parts of images, vectors, texts and collections; near-duplicates; many at once."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, ValidationError

from curator.searching import Example, Served, parse_example, parse_request
from service import cursors, queries
from service.answers import answer
from service.context import Service, service_of
from service.problems import TooLarge
from service.routes.workspaces import UNKNOWN
from service.schemas import Answered, Asked, ErrorBody, RowNumber, exactly_one
from service.security import Reader

router = APIRouter(prefix="/v1/workspaces/{ws}/search", tags=["search"])
NOT_READY: dict[int | str, dict[str, Any]] = {
    **UNKNOWN,
    409: {"model": ErrorBody, "description": "A stage that this needs has not run"},
    410: {"model": ErrorBody, "description": "The cursor is of an older snapshot"},
    413: {"model": ErrorBody, "description": "More bytes, images or searches than the server takes"},
    415: {"model": ErrorBody, "description": "An image that is also something else"},
    503: {"model": ErrorBody, "description": "The workspace is damaged"},
}

Start = Annotated[float, Field(ge=0, lt=1e6)]
Length = Annotated[float, Field(gt=0, lt=1e6)]
Box = Annotated[tuple[Start, Start, Length, Length], Field(description="x, y, width, height in pixels")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Column = Annotated[str, Field(min_length=1, max_length=200)]
FilterBody = Annotated[dict[str, Any], Field(description="a typed filter, see docs/search.md")]


BOXED = {"box": ("row", "image", "url")}


class PictureBody(Asked):
    """One picture: exactly one of row, image and url; where files come along, also upload."""

    row: RowNumber | None = None
    image: str | None = Field(None, max_length=100_000_000, description="an image file as base64 text")
    url: str | None = Field(
        None, max_length=2_000, pattern=r"^https?://[!-~]+$",
        description="where the server may read the image (started with --fetch-urls): http or https, public addresses",
    )  # fmt: skip
    upload: str | None = Field(None, max_length=100, description="name of a file sent beside the request (multipart)")
    box: Box | None = Field(None, description="only this part of the picture")

    model_config = ConfigDict(json_schema_extra=exactly_one("row", "image", "url", beside=BOXED, hidden=("upload",)))


class ExampleBody(PictureBody):
    """One thing to be like, or unlike: exactly one of row, image, url, vector, text and collection.

    Where files come along, an example may also be {"upload": NAME}.
    """

    vector: list[Number] | None = Field(None, min_length=1, max_length=100_000, description="in the space searched")
    text: str | None = Field(None, max_length=1_000, description="needs a CLIP-like space; else tags are searched")
    collection: str | None = Field(None, max_length=100, description="every row of it")

    model_config = ConfigDict(json_schema_extra=exactly_one(
        "row", "image", "url", "vector", "text", "collection", beside=BOXED, hidden=("upload",)
    ))  # fmt: skip


def _max_without_negatives(schema: dict[str, Any]) -> None:
    both = {"method": {"const": "max"}, "negatives": {"minItems": 1}}
    schema["not"] = {"required": list(both), "properties": both}


class SearchBody(Asked):
    """One search."""

    positives: list[ExampleBody] = Field(min_length=1, max_length=1_000, examples=[[{"row": 17}]])
    negatives: list[ExampleBody] = Field([], max_length=1_000)
    k: int = Field(10, ge=1, le=1_000, description="hits, or with group_by groups")
    offset: int = Field(0, ge=0, le=9_000)
    cursor: str | None = Field(None, max_length=500, description="of an answer: its next page")
    min_similarity: float | None = Field(None, ge=-1, le=1)
    filter: FilterBody | None = None
    group_by: Column | None = Field(None, description="neardup, video or a column: one hit for each group")
    space: str | None = Field(None, max_length=200, description="tiles: images by the best of their tiles")
    method: Literal["auto", "rocchio", "probe", "max"] = "auto"
    alpha: float = Field(1.0, ge=0, le=100, description="rocchio: weight of texts, images and vectors")
    beta: float = Field(0.75, ge=0, le=100, description="rocchio: weight of rows and collections")
    gamma: float = Field(0.15, ge=0, le=100, description="rocchio: weight of the negatives")
    centred: bool = Field(False, description="subtract the space's mean first")
    fields: list[Column] = Field([], max_length=64, description="columns that come with each hit", examples=[["uri"]])

    model_config = ConfigDict(json_schema_extra=_max_without_negatives)


class BatchBody(Asked):
    """Many searches in one call."""

    searches: list[SearchBody] = Field(min_length=1, max_length=256)


class DuplicatesBody(Asked):
    """Have we already got this?"""

    example: PictureBody = Field(examples=[{"row": 17}])
    threshold: float | None = Field(None, ge=-1, le=1, description="none: the calibrated or configured one")
    k: int = Field(10, ge=1, le=1_000)
    space: str | None = Field(None, max_length=200)
    fields: list[Column] = Field([], max_length=64)


class HitAnswer(Answered):
    """One image found."""

    row: int
    similarity: float = Field(description="cosine; of a tag search the tags' summed probability")
    distance: float = Field(description="1 - similarity")
    score: float = Field(description="what is ranked by")
    box: Box | None = Field(None, description="of the tile that won, where tiles were searched")


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
    service = service_of(request)
    return answer(_searched(service, ws, [_plain(body)], queries.Pictures(service))[0])


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
    pictures = queries.read(files, service)
    asked = {"positives": [{"upload": name} for name in pictures.files]}
    if request_json:
        asked = queries.parsed(request_json)
    return answer(_searched(service, ws, [_plain(_validated(asked))], pictures)[0])


@router.post("/batch", response_model=BatchAnswer, responses=NOT_READY)
def search_batch(request: Request, principal: Reader, ws: str, body: BatchBody) -> JSONResponse:
    """Many searches; those that share space and filter ask the index together."""
    service = service_of(request)
    if len(body.searches) > service.settings.max_queries:
        raise TooLarge(
            f"{len(body.searches)} searches in one call, at most {service.settings.max_queries}", "send fewer"
        )
    asked = [_plain(one) for one in body.searches]
    return answer({"answers": _searched(service, ws, asked, queries.Pictures(service))})


@router.post("/near-duplicates", response_model=DuplicatesAnswer, responses=NOT_READY)
def near_duplicates(request: Request, principal: Reader, ws: str, body: DuplicatesBody) -> JSONResponse:
    """Have we already got this row or image? By its bytes, then by the calibrated or given threshold."""
    service = service_of(request)
    return answer(_duplicates(service, ws, body, queries.Pictures(service)))


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
    pictures = queries.read([file], service)
    example = PictureBody(upload=next(iter(pictures.files)))
    body = DuplicatesBody(example=example, threshold=threshold, k=k, space=space, fields=["uri"])
    return answer(_duplicates(service, ws, body, pictures))


def _searched(
    service: Service, ws: str, asked: list[dict[str, Any]], pictures: queries.Pictures
) -> list[dict[str, Any]]:
    served = service.registry.served(ws)
    secret = service.state.secret("cursors")
    requests, digests = [], []
    for one in asked:
        digest = cursors.digest_of({**one, "ws": ws, "files": pictures.digests})
        cursor = one.pop("cursor", None)
        if cursor is not None:
            one["offset"] = cursors.offset_of(secret, cursor, served.sequence, digest)
        digests.append(digest)
        requests.append(parse_request(pictures.put_into(one)))
    started = time.perf_counter()
    found = served.search_many(requests)
    service.metrics.search.labels(ws).observe(time.perf_counter() - started)
    bodies = [one.to_json() for one in found]
    for one, digest in zip(bodies, digests, strict=True):
        more = one["next_offset"]
        one["cursor"] = None if more is None else cursors.make(secret, served.sequence, digest, more)
    return bodies


def _duplicates(service: Service, ws: str, body: DuplicatesBody, pictures: queries.Pictures) -> dict[str, Any]:
    served: Served = service.registry.served(ws)
    example: Example = parse_example(pictures.of(_plain(body.example)))
    found = served.near_duplicates(example, threshold=body.threshold, k=body.k, space=body.space, fields=body.fields)
    return found.to_json()


def _plain(body: Asked) -> dict[str, Any]:
    """What was said; what was left out keeps the library's default."""
    return body.model_dump(exclude_unset=True, exclude_none=True)


def _validated(asked: Any) -> SearchBody:
    try:
        return SearchBody.model_validate(asked)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
