"""The shape of clip-retrieval's back end, for clients and pages written for it; an index there is a workspace here."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from curator.searching import Served, parse_request
from service import queries
from service.answers import answer
from service.context import service_of
from service.problems import BadRequest
from service.routes.search import NOT_READY, Number
from service.schemas import Answered, RowNumber
from service.security import Reader

router = APIRouter(tags=["compatibility"])
MAX_RESULTS = 1_000
LEFT_OUT = frozenset({"file", "tag_ids", "tag_scores"})  # columns that are no metadata: a place, and codes


class Told(BaseModel):
    """A body of the other back end: keys that mean nothing here (use_mclip, use_safety_model, ...) are passed over."""

    model_config = ConfigDict(extra="ignore")


class KnnBody(Told):
    """A search as clip-retrieval takes it; the first of text, image, image_url and embedding_input counts."""

    text: str | None = Field(None, max_length=1_000, examples=["a bus at night"])
    image: str | None = Field(None, max_length=100_000_000, description="an image file as base64 text")
    image_url: str | None = Field(None, max_length=2_000, description="needs a server started with --fetch-urls")
    embedding_input: list[Number] | None = Field(None, max_length=100_000)
    modality: Literal["image"] = Field("image", description="captions have no index here")
    num_images: int = Field(100, ge=1, le=MAX_RESULTS, description="results that carry metadata")
    num_result_ids: int | None = Field(None, ge=1, le=MAX_RESULTS, description="results; none: num_images")
    indice_name: str = Field(max_length=64, description="a workspace", examples=["street-scenes"])
    deduplicate: bool = Field(False, description="one result of each near-duplicate group, where these were looked for")


class KnnResult(Answered):
    """One image found; those behind `num_images` carry id and similarity alone."""

    id: int = Field(description="the row")
    similarity: float
    image_path: str = Field("", description="the image's uri")
    url: str = Field("", description="where this server shows it")
    caption: str = Field("", description="its label, where it has one")


class MetadataBody(Told):
    """Whose metadata."""

    ids: list[RowNumber] = Field(max_length=MAX_RESULTS, examples=[[0, 1]])
    indice_name: str = Field(max_length=64, examples=["street-scenes"])


class MetadataResult(Answered):
    """Everything known about one image."""

    id: int
    metadata: dict[str, Any]


@router.get("/indices-list", response_model=list[str])
def indices_list(request: Request, principal: Reader) -> JSONResponse:
    """Names of the workspaces."""
    return answer(service_of(request).registry.names())


@router.post("/knn-service", response_model=list[KnnResult], responses=NOT_READY)
def knn_service(request: Request, principal: Reader, body: KnnBody) -> JSONResponse:
    """Search as clip-retrieval does; `POST /v1/workspaces/{ws}/search` says more and takes more."""
    service = service_of(request)
    served = service.registry.served(body.indice_name)
    asked = queries.Pictures(service).put_into({
        "positives": [_example(body)], "k": body.num_result_ids or body.num_images,
        **({"group_by": "neardup"} if body.deduplicate and _has_duplicates(served) else {}),
    })  # fmt: skip
    with service.metrics.search.labels(body.indice_name).time():
        hits = served.search(parse_request(asked)).hits
    told = _metadata(served, [hit.row for hit in hits[: body.num_images]], ["uri", "label"])
    results: list[dict[str, Any]] = []
    for at, hit in enumerate(hits):
        found: dict[str, Any] = {"id": hit.row, "similarity": round(hit.similarity, 6)}
        if at < len(told):
            shown = f"/v1/workspaces/{quote(body.indice_name)}/images/{hit.row}?size=original"
            found |= {"image_path": told[at]["uri"], "url": shown, "caption": str(told[at].get("label") or "")}
        results.append(found)
    return answer(results)


@router.post("/metadata", response_model=list[MetadataResult], responses=NOT_READY)
def metadata(request: Request, principal: Reader, body: MetadataBody) -> JSONResponse:
    """Columns of images by id."""
    served = service_of(request).registry.served(body.indice_name)
    for row in body.ids:
        served.columns.check_row(row)
    names = [name for name in served.columns.known() if name not in LEFT_OUT]
    told = _metadata(served, body.ids, names)
    return answer([{"id": row, "metadata": one} for row, one in zip(body.ids, told, strict=True)])


def _example(body: KnnBody) -> dict[str, Any]:
    """The first input there is, in the order of the other back end.

    Raises:
        BadRequest: there is none.
    """
    if body.text:
        return {"text": body.text}
    if body.image is not None:
        return {"image": body.image}
    if body.image_url is not None:
        return {"url": body.image_url}
    if body.embedding_input is not None:
        return {"vector": body.embedding_input}
    raise BadRequest("nothing to search for", "give text, image, image_url or embedding_input")


def _has_duplicates(served: Served) -> bool:
    return bool(served.workspace.entries("columns/neardup"))


def _metadata(served: Served, rows: list[int], names: list[str]) -> list[dict[str, Any]]:
    known = [name for name in names if served.columns.has(name)]
    return served.columns.take(rows, known) if rows else []
