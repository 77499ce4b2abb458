"""What people decide: tags, collections, reviews, pairs, kept images; undo and redo; export and import."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ConfigDict, Field

from curator.errors import UnknownName, UnknownRow
from curator.filters import parse_filter
from curator.state import Decision
from service.answers import answer
from service.context import Service, service_of
from service.problems import BadRequest
from service.routes.search import NOT_READY, FilterBody
from service.schemas import SHOWN_NAME, Answered, Asked, GivenName, RowNumber, exactly_one
from service.security import Admin, Reader, Reviewer

router = APIRouter(prefix="/v1/workspaces/{ws}", tags=["decisions"])
SHOWN_ROWS = 1_000
VERDICTS = {"review": ("accept", "discard", "skip"), "pair": ("same", "different", "unsure")}
LINES: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/x-ndjson": {
    "schema": {"type": "string", "description": "what GET answers with, whole or in part"},
}}}}  # fmt: skip

InPath = Annotated[str, Path(max_length=600, json_schema_extra={"maxLength": 100, "pattern": SHOWN_NAME})]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=100)]


def _of_each_kind(schema: dict[str, Any]) -> None:
    """Say which values and how many rows go with which kind."""
    properties, required = schema.pop("properties"), schema.pop("required")
    schema.pop("type"), schema.pop("additionalProperties")
    two = {**properties["rows"], "minItems": 2, "maxItems": 2, "uniqueItems": True}
    of: dict[str, dict[str, Any]] = {
        "review": {"value": {**properties["value"], "enum": list(VERDICTS["review"])}},
        "pair": {"rows": two, "value": {**properties["value"], "enum": list(VERDICTS["pair"])}},
        "not_duplicate": {"rows": two}, "keep": {"rows": two}, "label": {},
    }  # fmt: skip
    schema["oneOf"] = [
        {
            "type": "object", "title": f"A {kind}", "additionalProperties": False,
            "required": [*required, *(["value"] if "value" in own else [])],
            "properties": {**properties, "kind": {"const": kind}, **own},
        }
        for kind, own in of.items()
    ]  # fmt: skip


class RowsOrFilter(Asked):
    """Which rows: given one by one, or those that a filter lets through."""

    rows: list[RowNumber] = Field([], max_length=100_000, examples=[[1, 2, 3]])
    filter: FilterBody | None = None

    model_config = ConfigDict(json_schema_extra=exactly_one("rows", "filter"))


class RenameBody(Asked):
    """A new name."""

    name: GivenName


class CollectionBody(Asked):
    """A collection to make."""

    name: GivenName
    rows: list[RowNumber] = Field([], max_length=100_000)


class DecisionBody(Asked):
    """A decision about rows; tags and collections have routes of their own."""

    kind: Literal["review", "pair", "not_duplicate", "keep", "label"]
    rows: list[RowNumber] = Field(min_length=1, max_length=1_000, examples=[[17]])
    value: Any = Field(None, description="accept, discard or skip of a review; same, different or unsure of a pair")
    subject: str = Field("", max_length=100, description="the campaign or queue of a review")
    note: str = Field("", max_length=2_000)
    expect: int | None = Field(None, ge=0, lt=2**53, description="number of the last decision you saw about these rows")

    model_config = ConfigDict(json_schema_extra=_of_each_kind)


class DecisionAnswer(Answered):
    """One decision."""

    id: int
    uuid: str
    at: float
    who: str
    kind: str
    subject: str
    rows: list[int]
    n_rows: int
    value: Any
    note: str
    undone_at: float | None
    undone_by: str | None


class DecisionsAnswer(Answered):
    """Decisions, newest first."""

    decisions: list[DecisionAnswer]
    before: int | None = Field(description="give it as `before` for older ones")


class CountedName(Answered):
    """A tag or collection with its number of rows."""

    name: str
    count: int


class TagsAnswer(Answered):
    """Every tag."""

    tags: list[CountedName]


class CollectionsAnswer(Answered):
    """Every collection."""

    collections: list[CountedName]


class CollectionAnswer(Answered):
    """Rows of a collection, in the order they were put in."""

    name: str
    rows: list[int]
    total: int


class ImportAnswer(Answered):
    """What was taken in."""

    decisions: int
    documents: int
    known: int


# -- tags --------------------------------------------------------------------------------------------------------


@router.get("/tags", response_model=TagsAnswer, responses=NOT_READY)
def tags(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Tags with their number of rows; as `curator tags`."""
    state = service_of(request).registry.state(ws)
    return answer({"tags": [{"name": name, "count": n} for name, n in state.tags()]})


@router.post("/tags/{tag}/rows", response_model=DecisionAnswer, responses=NOT_READY)
def tag(
    request: Request, principal: Reviewer, ws: str, tag: InPath, body: RowsOrFilter, key: Key = None
) -> JSONResponse:
    """Tag rows; a tag is made by its first row."""
    return _decided(service_of(request), ws, "tag", tag, body, principal.who, key)


@router.post("/tags/{tag}/rows/remove", response_model=DecisionAnswer, responses=NOT_READY)
def untag(
    request: Request, principal: Reviewer, ws: str, tag: InPath, body: RowsOrFilter, key: Key = None
) -> JSONResponse:
    """Take a tag from rows."""
    return _decided(service_of(request), ws, "untag", tag, body, principal.who, key)


@router.patch("/tags/{tag}", response_model=DecisionAnswer, responses=NOT_READY)
def rename_tag(request: Request, principal: Reviewer, ws: str, tag: InPath, body: RenameBody) -> JSONResponse:
    """Rename a tag on every row."""
    state = service_of(request).registry.state(ws)
    return _told(state.decide("rename_tag", subject=tag, value=body.name, who=principal.who))


@router.delete("/tags/{tag}", response_model=DecisionAnswer, responses=NOT_READY)
def delete_tag(request: Request, principal: Reviewer, ws: str, tag: InPath) -> JSONResponse:
    """Take a tag from every row; undo brings it back."""
    state = service_of(request).registry.state(ws)
    rows = state.rows_tagged([tag])
    if len(rows) == 0:
        raise UnknownName(f"no tag {tag[:100]!r}; GET tags lists them")
    return _told(state.decide("untag", rows=rows, subject=tag, who=principal.who))


# -- collections -------------------------------------------------------------------------------------------------


@router.get("/collections", response_model=CollectionsAnswer, responses=NOT_READY)
def collections(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Collections with their number of rows; as `curator collections`."""
    state = service_of(request).registry.state(ws)
    return answer({"collections": [{"name": name, "count": n} for name, n in state.collections()]})


@router.post("/collections", status_code=201, response_model=DecisionAnswer, responses=NOT_READY)
def create_collection(request: Request, principal: Reviewer, ws: str, body: CollectionBody) -> JSONResponse:
    """Make a collection, empty or with rows."""
    service = service_of(request)
    _check_rows(service, ws, body.rows)
    state = service.registry.state(ws)
    made = state.decide("create_collection", subject=body.name, who=principal.who)
    if body.rows:
        made = state.decide("collect", rows=body.rows, subject=body.name, who=principal.who)
    return _told(made, 201)


@router.get("/collections/{name}", response_model=CollectionAnswer, responses=NOT_READY)
def collection(
    request: Request,
    principal: Reader,
    ws: str,
    name: InPath,
    offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=0, le=100_000)] = 10_000,
) -> JSONResponse:
    """Rows of a collection."""
    rows = service_of(request).registry.state(ws).collection(name)
    return answer({"name": name, "rows": rows[offset : offset + limit].tolist(), "total": len(rows)})


@router.post("/collections/{name}/rows", response_model=DecisionAnswer, responses=NOT_READY)
def collect(
    request: Request, principal: Reviewer, ws: str, name: InPath, body: RowsOrFilter, key: Key = None
) -> JSONResponse:
    """Put rows into a collection; it is made where it is missing."""
    return _decided(service_of(request), ws, "collect", name, body, principal.who, key)


@router.post("/collections/{name}/rows/remove", response_model=DecisionAnswer, responses=NOT_READY)
def uncollect(
    request: Request, principal: Reviewer, ws: str, name: InPath, body: RowsOrFilter, key: Key = None
) -> JSONResponse:
    """Take rows out of a collection."""
    return _decided(service_of(request), ws, "uncollect", name, body, principal.who, key)


@router.patch("/collections/{name}", response_model=DecisionAnswer, responses=NOT_READY)
def rename_collection(request: Request, principal: Reviewer, ws: str, name: InPath, body: RenameBody) -> JSONResponse:
    """Rename a collection."""
    state = service_of(request).registry.state(ws)
    return _told(state.decide("rename_collection", subject=name, value=body.name, who=principal.who))


@router.delete("/collections/{name}", response_model=DecisionAnswer, responses=NOT_READY)
def delete_collection(request: Request, principal: Reviewer, ws: str, name: InPath) -> JSONResponse:
    """Delete a collection; undo brings it back with its rows."""
    state = service_of(request).registry.state(ws)
    return _told(state.decide("delete_collection", subject=name, who=principal.who))


# -- decisions ---------------------------------------------------------------------------------------------------


@router.get("/decisions", response_model=DecisionsAnswer, responses=NOT_READY)
def decisions(
    request: Request,
    principal: Reader,
    ws: str,
    kind: Annotated[str | None, Query(max_length=50)] = None,
    subject: Annotated[str | None, Query(max_length=100)] = None,
    row: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    who: Annotated[str | None, Query(max_length=100)] = None,
    include_undone: bool = False,
    before: Annotated[int | None, Query(ge=1, lt=2**53)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> JSONResponse:
    """Decisions that fit, newest first; as `curator decisions`."""
    state = service_of(request).registry.state(ws)
    found = state.decisions(
        kind=kind, subject=subject, row=row, who=who, include_undone=include_undone, before=before, limit=limit
    )
    older = found[-1].id if len(found) == limit else None
    return answer({"decisions": [one.to_json(rows_up_to=SHOWN_ROWS) for one in found], "before": older})


@router.post("/decisions", status_code=201, response_model=DecisionAnswer, responses=NOT_READY)
def decide(request: Request, principal: Reviewer, ws: str, body: DecisionBody, key: Key = None) -> JSONResponse:
    """Write down a decision; it is on the disk when this answers. The same Idempotency-Key is the same decision."""
    service = service_of(request)
    _check_rows(service, ws, body.rows)
    _check_value(body)
    made = service.registry.state(ws).decide(
        body.kind, rows=body.rows, value=body.value, subject=body.subject, note=body.note, who=principal.who, key=key,
        expect=body.expect,
    )  # fmt: skip
    return _told(made, 201)


@router.post("/decisions/{number}/undo", response_model=DecisionAnswer, responses=NOT_READY)
def undo(request: Request, principal: Reviewer, ws: str, number: int) -> JSONResponse:
    """Take a decision back: what held before it holds again, unless something newer was said."""
    return _told(service_of(request).registry.state(ws).undo(_small(number), who=principal.who))


@router.post("/decisions/{number}/redo", response_model=DecisionAnswer, responses=NOT_READY)
def redo(request: Request, principal: Reviewer, ws: str, number: int) -> JSONResponse:
    """Let an undone decision hold again."""
    return _told(service_of(request).registry.state(ws).redo(_small(number), who=principal.who))


@router.get(
    "/state", response_class=Response, responses={**NOT_READY, 200: {"content": {"application/x-ndjson": {}}}}
)  # fmt: skip
def export_state(request: Request, principal: Admin, ws: str) -> Response:
    """Every decision and document as JSON lines; as `curator state --export`."""
    lines = service_of(request).registry.state(ws).export_lines()
    return StreamingResponse((f"{line}\n" for line in lines), media_type="application/x-ndjson")


@router.post("/state", response_model=ImportAnswer, responses=NOT_READY, openapi_extra=LINES)
async def import_state(request: Request, principal: Admin, ws: str) -> JSONResponse:
    """Take in JSON lines of an export; what is known already is passed over, and a bad line takes in nothing."""
    from starlette.concurrency import run_in_threadpool

    text = (await request.body()).decode("utf-8", "replace")
    state = service_of(request).registry.state(ws)
    return answer(await run_in_threadpool(lambda: state.import_lines(text.split("\n"))))


def _decided(
    service: Service, ws: str, kind: str, subject: str, body: RowsOrFilter, who: str, key: str | None
) -> JSONResponse:
    rows = _rows(service, ws, body)
    return _told(service.registry.state(ws).decide(kind, rows=rows, subject=subject, who=who, key=key))


def _rows(service: Service, ws: str, body: RowsOrFilter) -> list[int]:
    """The rows named, or those that the filter lets through.

    Raises:
        BadRequest: both, or neither.
    """
    if bool(body.rows) == (body.filter is not None):
        raise BadRequest("rows or filter", "give exactly one of them")
    if body.filter is None:
        _check_rows(service, ws, body.rows)
        return body.rows
    found: list[int] = np.flatnonzero(service.registry.served(ws).mask(parse_filter(body.filter))).tolist()
    return found


def _check_rows(service: Service, ws: str, rows: list[int]) -> None:
    """Refuse rows that were never given.

    Raises:
        UnknownRow: names the first.
    """
    workspace = service.registry.workspace(ws)
    n_rows = workspace.n_rows
    for row in rows:
        if row >= n_rows:
            raise UnknownRow(f"no row {row} in {workspace.path}; rows are 0 to {n_rows - 1}")


def _check_value(body: DecisionBody) -> None:
    allowed = VERDICTS.get(body.kind)
    if allowed and body.value not in allowed:
        raise BadRequest(f"value {str(body.value)[:40]!r} of a {body.kind}", f"expected {', '.join(allowed)}")


def _small(number: int) -> int:
    return number if 0 <= number < 2**53 else 0


def _told(decision: Decision, status: int = 200) -> JSONResponse:
    return answer(decision.to_json(rows_up_to=SHOWN_ROWS), status)
