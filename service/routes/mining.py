"""Find more like this failure: campaigns, their rounds of review, and triggers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from curator import mining
from curator.searching import open_served
from service.answers import answer, nothing
from service.context import service_of
from service.routes.decisions import DecisionAnswer, Key
from service.routes.search import NOT_READY, Column, FilterBody
from service.schemas import NAME, Answered, Asked, GivenName, RowNumber, exactly_one
from service.security import Admin, Reader, Reviewer

router = APIRouter(prefix="/v1/workspaces/{ws}", tags=["mining"])
ModeNumber = Annotated[int, Field(ge=1, le=50)]
CampaignName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$")]


class MistakesBody(Asked):
    """The columns whose difference is a mistake."""

    label: Column = Field(examples=["label"])
    prediction: Column = Field(examples=["meta_prediction"])


class CampaignBody(Asked):
    """A campaign to start: failures from exactly one of rows, filter, mistakes and collection."""

    name: CampaignName = Field(examples=["dusk"])
    rows: list[RowNumber] = Field([], max_length=20_000, examples=[[1, 2, 3]])
    filter: FilterBody | None = None
    mistakes: MistakesBody | None = None
    collection: GivenName | None = None
    pool: FilterBody | None = Field(None, description="who may be found; none: the unlabelled, else all")
    modes: int | None = Field(None, ge=1, le=50, description="none: as many as the failures show")
    budget: int = Field(200, ge=1, le=1_000_000)
    spacing_s: float = Field(1.0, ge=0, le=1e6, description="least seconds between finds of one video")
    how: Literal["fused", "mean", "centred", "max", "probe"] | None = None

    model_config = ConfigDict(json_schema_extra=exactly_one("rows", "filter", "mistakes", "collection"))


class ReviewBody(Asked):
    """What images show."""

    rows: list[RowNumber] = Field(min_length=1, max_length=1_000, examples=[[17]])
    verdict: Literal["accept", "discard", "skip"]
    note: str = Field("", max_length=2_000)
    expect: int | None = Field(None, ge=0, lt=2**53, description="number of the last decision you saw about them")


class ExportBody(Asked):
    """Where the accepted images go."""

    selection: str = Field(pattern=NAME, examples=["dusk-to-label"])


class TriggerBody(Asked):
    """A trigger to make from a campaign's mode."""

    name: CampaignName = Field(examples=["dusk-watch"])
    campaign: CampaignName
    mode: ModeNumber = 1
    filter: FilterBody | None = None
    quota: int = Field(20, ge=1, le=100_000)
    threshold: float | None = Field(None, ge=0, le=1, description="least probability; none: from the positives")


class PrecisionAnswer(Answered):
    """Share of accepted among those shown and answered."""

    accepted: int
    discarded: int
    skipped: int
    share: float | None
    low: float | None = Field(description="95 % interval, Wilson; none below 10 answers")
    high: float | None


class ModeAnswer(Answered):
    """One failure mode."""

    id: int
    size: int
    medoid: int
    rows: list[int]
    cohesion: float
    typical: list[dict[str, Any]] = Field(description="values more common here than in the pool")
    precision: PrecisionAnswer
    share: int = Field(description="of the budget")
    left: int


class CampaignAnswer(Answered):
    """A campaign as it stands; the body of `curator campaign --json`."""

    name: str
    version: int
    n_failures: int
    modes: list[ModeAnswer]
    budget: int
    accepted: int
    reviewed: int
    has_tiles: bool


class CampaignsAnswer(Answered):
    """Every campaign."""

    campaigns: list[CampaignAnswer]


class MinedHit(Answered):
    """An image to review."""

    row: int
    uri: str
    score: float
    similarity: float
    nearest: int = Field(description="the positive it is most like")


class BatchOfMode(Answered):
    """The next images of a mode; the body of `curator mine --json`."""

    campaign: str
    mode: int
    hits: list[MinedHit]
    ranking: dict[str, Any]
    precision: PrecisionAnswer
    pool: int
    snapshot: int


class ExportedAnswer(Answered):
    """The selection that was written."""

    selection: str
    count: int
    campaign: str


class TriggerAnswer(Answered):
    """A trigger with its runs."""

    name: str
    campaign: str
    mode: int
    quota: int
    threshold: float
    runs: list[dict[str, Any]]
    precision: PrecisionAnswer


class TriggersAnswer(Answered):
    """Every trigger; the body of `curator triggers --json`."""

    triggers: list[TriggerAnswer]
    runs: list[dict[str, Any]] = Field(description="what just ran")


@router.get("/campaigns", response_model=CampaignsAnswer, responses=NOT_READY)
def campaigns(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Every campaign as it stands."""
    registry = service_of(request).registry
    served, state = registry.served(ws), registry.state(ws)
    found = [mining.overview(served, state, campaign.name) for campaign in mining.campaigns(state)]
    return answer({"campaigns": found})


@router.post("/campaigns", status_code=201, response_model=CampaignAnswer, responses=NOT_READY)
def create_campaign(request: Request, principal: Reviewer, ws: str, body: CampaignBody) -> JSONResponse:
    """Start a campaign: the failures are split into modes, each with its medoid and what is typical of it."""
    registry = service_of(request).registry
    served, state = registry.served(ws), registry.state(ws)
    mistakes = None if body.mistakes is None else (body.mistakes.label, body.mistakes.prediction)
    mining.create(
        served, state, body.name, who=principal.who, rows=body.rows, filter=body.filter, mistakes=mistakes,
        collection=body.collection, pool=body.pool, n_modes=body.modes, budget=body.budget, spacing_s=body.spacing_s,
        how=body.how,
    )  # fmt: skip
    return answer(mining.overview(served, state, body.name), 201)


@router.get("/campaigns/{name}", response_model=CampaignAnswer, responses=NOT_READY)
def campaign(request: Request, principal: Reader, ws: str, name: str) -> JSONResponse:
    """A campaign: its modes, the precision so far, and how the budget is shared; as `curator campaign`."""
    registry = service_of(request).registry
    return answer(mining.overview(registry.served(ws), registry.state(ws), name))


@router.delete("/campaigns/{name}", status_code=204, responses=NOT_READY)
def delete_campaign(request: Request, principal: Reviewer, ws: str, name: str) -> Response:
    """Take a campaign away; what was said about its images stays in the log."""
    mining.delete(service_of(request).registry.state(ws), name, who=principal.who)
    return nothing()


@router.get("/campaigns/{name}/modes/{mode}/next", response_model=BatchOfMode, responses=NOT_READY)
def next_of_mode(
    request: Request, principal: Reader, ws: str, name: str, mode: int, k: Annotated[int, Query(ge=1, le=1_000)] = 20
) -> JSONResponse:
    """The next images to review, ranked by everything said so far; as `curator mine`."""
    registry = service_of(request).registry
    return answer(mining.next_batch(registry.served(ws), registry.state(ws), name, mode, k))


@router.post(
    "/campaigns/{name}/modes/{mode}/reviews", status_code=201, response_model=DecisionAnswer, responses=NOT_READY
)
def review(
    request: Request, principal: Reviewer, ws: str, name: str, mode: int, body: ReviewBody, key: Key = None
) -> JSONResponse:
    """Accept, discard or skip images; undone like every decision."""
    registry = service_of(request).registry
    served, state = registry.served(ws), registry.state(ws)
    for row in body.rows:
        served.columns.check_row(row)
    made = mining.review(
        state, name, mode, body.rows, body.verdict, who=principal.who, note=body.note, key=key, expect=body.expect
    )
    return answer(made.to_json(), 201)


@router.post("/campaigns/{name}/export", response_model=ExportedAnswer, responses=NOT_READY)
def export_campaign(request: Request, principal: Admin, ws: str, name: str, body: ExportBody) -> JSONResponse:
    """Write the accepted images as a selection; as `curator mine --export`."""
    registry = service_of(request).registry
    return answer(mining.export(registry.workspace(ws), registry.state(ws), name, body.selection))


@router.get("/triggers", response_model=TriggersAnswer, responses=NOT_READY)
def triggers(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Every trigger with its yield, precision and drift over time."""
    return answer({"triggers": mining.triggers(service_of(request).registry.state(ws)), "runs": []})


@router.post("/triggers", status_code=201, response_model=TriggerAnswer, responses=NOT_READY)
def create_trigger(request: Request, principal: Reviewer, ws: str, body: TriggerBody) -> JSONResponse:
    """Save a campaign's probe to run on every new batch."""
    registry = service_of(request).registry
    made = mining.add_trigger(
        registry.served(ws), registry.state(ws), body.name, campaign=body.campaign, mode=body.mode, who=principal.who,
        filter=body.filter, quota=body.quota, threshold=body.threshold,
    )  # fmt: skip
    return answer(made, 201)


@router.post("/triggers/run", response_model=TriggersAnswer, responses=NOT_READY)
def run_triggers(request: Request, principal: Reviewer, ws: str) -> JSONResponse:
    """Run every trigger on what came since it last ran; ingest jobs do so by themselves."""
    registry = service_of(request).registry
    state = registry.state(ws)
    newest = open_served(registry.workspace(ws), state)  # what answers searches may still be the snapshot before
    runs = mining.run_triggers(newest, state, who=principal.who)
    return answer({"triggers": mining.triggers(state), "runs": runs})


@router.delete("/triggers/{name}", status_code=204, responses=NOT_READY)
def delete_trigger(request: Request, principal: Reviewer, ws: str, name: str) -> Response:
    """Take a trigger away; what it collected stays."""
    mining.delete_trigger(service_of(request).registry.state(ws), name, who=principal.who)
    return nothing()
