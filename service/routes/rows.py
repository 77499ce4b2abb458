"""Rows as a table, a gallery and a map show them: pages, counts, scopes, and whole columns as binary."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from curator.errors import StageMissing
from curator.filters import parse_filter
from curator.searching import Example, Served
from curator.searching import Request as Search
from curator.searching.columns_out import codes_of, map_of
from service.answers import BINARY, answer, binary
from service.context import service_of
from service.routes.search import NOT_READY, FilterBody, SearchAnswer
from service.schemas import Answered, Asked
from service.security import Reader

router = APIRouter(prefix="/v1/workspaces/{ws}", tags=["rows"])
Name = Annotated[str, Field(min_length=1, max_length=200)]


class SortBody(Asked):
    """One column to sort by; missing values come last."""

    column: Name
    descending: bool = False


class RowsBody(Asked):
    """Which rows, in which order."""

    filter: FilterBody | None = Field(None, examples=[{"column": "brightness", "lt": 0.3}])
    sort: list[SortBody] = Field([], max_length=4)
    offset: int = Field(0, ge=0, lt=2**53)
    limit: int = Field(100, ge=0, le=1_000)
    fields: list[Name] = Field([], max_length=64, examples=[["uri", "label"]])
    present_only: bool = Field(True, description="leave out rows whose file is gone")


class FacetsBody(Asked):
    """Counts of columns over the rows that a filter lets through."""

    columns: list[Name] = Field(min_length=1, max_length=32, examples=[["label", "brightness"]])
    filter: FilterBody | None = None
    ignore_own: bool = Field(False, description="count a column as if the filter did not ask for it")
    top: int = Field(20, ge=1, le=1_000, description="values listed one by one; the rest is other")
    bins: int = Field(24, ge=1, le=200, description="of histograms")
    present_only: bool = True


class ScopeBody(Asked):
    """Which rows a filter lets through."""

    filter: FilterBody | None = None
    present_only: bool = True


class RowAnswer(Answered):
    """One row, with the fields asked for."""

    row: int


class RowsAnswer(Answered):
    """A page of rows."""

    rows: list[RowAnswer]
    total: int
    offset: int
    next_offset: int | None
    snapshot: int


class FacetAnswer(Answered):
    """How often each value occurs, or a histogram."""

    column: str
    kind: Literal["values", "histogram"]
    missing: int
    total: int


class FacetsAnswer(Answered):
    """A facet for each column, in order."""

    facets: list[FacetAnswer]
    total: int
    snapshot: int


class LegendAnswer(Answered):
    """What the codes of a column stand for."""

    column: str
    kind: Literal["category", "number"]
    dtype: Literal["uint8", "uint16", "float32"] = Field(description="of the codes; little-endian")
    values: list[Any] = Field(description="value of each code, most frequent first; the last code is other or missing")
    counts: list[int]
    low: float | None
    high: float | None
    snapshot: int


@router.post("/rows/query", response_model=RowsAnswer, responses=NOT_READY)
def query_rows(request: Request, principal: Reader, ws: str, body: RowsBody) -> JSONResponse:
    """A page of the rows that a filter lets through."""
    served = service_of(request).registry.served(ws)
    page = served.query(
        _filter(body.filter), sort=[(one.column, one.descending) for one in body.sort], offset=body.offset,
        limit=body.limit, fields=body.fields, present_only=body.present_only,
    )  # fmt: skip
    return answer({**page.to_json(), "snapshot": served.sequence})


@router.post("/rows/facets", response_model=FacetsAnswer, responses=NOT_READY)
def facets(request: Request, principal: Reader, ws: str, body: FacetsBody) -> JSONResponse:
    """Counts per value, with what is missing and other, or a histogram of numbers."""
    served = service_of(request).registry.served(ws)
    condition = _filter(body.filter)
    found = served.facets(
        condition, body.columns, ignore_own=body.ignore_own, top=body.top, bins=body.bins,
        present_only=body.present_only,
    )  # fmt: skip
    total = int(_scope(served, body.filter, body.present_only).sum())
    return answer({"facets": [one.to_json() for one in found], "total": total, "snapshot": served.sequence})


@router.post("/rows/scope", response_class=Response, responses={**NOT_READY, **BINARY})
def scope(request: Request, principal: Reader, ws: str, body: ScopeBody) -> Response:
    """One bit per row ever given, the first row in the highest bit of the first byte; X-Count counts those in scope."""
    served = service_of(request).registry.served(ws)
    mask = _scope(served, body.filter, body.present_only)
    headers = {"X-Count": str(int(mask.sum())), "X-Rows": str(len(mask)), "X-Snapshot": str(served.sequence)}
    return Response(np.packbits(mask).tobytes(), media_type="application/octet-stream", headers=headers)


@router.get("/map", response_class=Response, responses={**NOT_READY, **BINARY})
def map_(request: Request, principal: Reader, ws: str) -> Response:
    """x and y of each row ever given as little-endian float32 pairs, not-a-number where a row has no place."""
    served = service_of(request).registry.served(ws)
    entries = served.workspace.entries("columns/map")
    if not entries:
        raise StageMissing(f"{served.workspace.path} has no map yet; run `curator map -w {served.workspace.path}`")
    return binary(request, f"{entries[0].fingerprint}-{served.n_rows}", lambda: map_of(served.columns))


@router.get("/columns/{name}/legend", response_model=LegendAnswer, responses=NOT_READY)
def legend(request: Request, principal: Reader, ws: str, name: str) -> JSONResponse:
    """What the codes of a column stand for."""
    served = service_of(request).registry.served(ws)
    coded = codes_of(served.columns, name)
    return answer({**coded.legend, "column": name, "snapshot": served.sequence})


@router.get("/columns/{name}/codes", response_class=Response, responses={**NOT_READY, **BINARY})
def codes(request: Request, principal: Reader, ws: str, name: str) -> Response:
    """A column for colouring: a small code for each row, or float32 numbers; the legend says which."""
    served = service_of(request).registry.served(ws)
    coded = codes_of(served.columns, name)
    return binary(request, f"{served.sequence}-{name}", coded.tobytes)


@router.get("/rows/{row}/neighbors", response_model=SearchAnswer, responses=NOT_READY)
def neighbors(
    request: Request, principal: Reader, ws: str, row: int, k: Annotated[int, Query(ge=1, le=100)] = 10
) -> JSONResponse:
    """The most similar images to one row."""
    served = service_of(request).registry.served(ws)
    found = served.search(Search((Example(row=row),), k=k, fields=("uri",)))
    return answer({**found.to_json(), "cursor": None})


def _filter(body: dict[str, Any] | None) -> Any:
    return None if body is None else parse_filter(body)


def _scope(served: Served, body: dict[str, Any] | None, present_only: bool) -> Any:
    mask = served.mask(_filter(body))
    return mask & served.columns.present() if present_only else mask
