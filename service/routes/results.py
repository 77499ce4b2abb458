"""What jobs made: selections with their evidence, splits, the report, exports, calibration, named snapshots."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path as Folder
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import Field
from starlette.background import BackgroundTask

from curator import embed, pipeline, report, snapshots
from curator.errors import UnknownSpace
from curator.handoff import export
from curator.pipeline import calibrating, describing
from curator.pipeline.answers import answers_of, questions
from curator.pipeline.explaining import why
from curator.workspace import Workspace, open_workspace
from service.answers import BINARY, answer, binary, nothing
from service.context import service_of
from service.problems import BadRequest, NotFound, Taken
from service.schemas import NAME, Answered, Asked, ErrorBody, RowNumber
from service.security import Admin, Reader, Reviewer
from service.verbs import FILES

router = APIRouter(prefix="/v1/workspaces/{ws}", tags=["results"])

UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "No such workspace or thing"},
    409: {"model": ErrorBody, "description": "An earlier stage has not run"},
    503: {"model": ErrorBody, "description": "The workspace cannot be used"},
}
PAGE_POLICY = "frame-ancestors 'self'; sandbox allow-scripts"  # so its origin is nobody's
MEDIA = {"paths": "text/plain; charset=utf-8", "csv": "text/csv; charset=utf-8",
         "parquet": "application/vnd.apache.parquet", "coco-images": "application/json"}  # fmt: skip

SelectionName = Annotated[str, Path(pattern=NAME)]
SnapshotName = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
RowPath = Annotated[int, Path(ge=0, lt=2**53)]


class SelectionEntry(Answered):
    """One stored selection."""

    name: str
    n: int
    method: str
    budget: int
    verdict: str | None = Field(description="whether it beats chance, in a sentence")
    is_better: bool | None


class SelectionsAnswer(Answered):
    """Every stored selection."""

    selections: list[SelectionEntry]


class Pick(Answered):
    """One picked image."""

    rank: int
    row: int
    uri: str
    gain: float
    reason: str
    groups: list[str | None] | None = Field(
        None, description="its group in each column of the evidence's balance; none where that was not noted"
    )


class SelectionPage(Answered):
    """A page of a selection, best pick first, and its evidence."""

    name: str
    n: int
    offset: int
    next_offset: int | None
    picks: list[Pick]
    evidence: dict[str, Any] = Field(description="settings, verdict, curves, quotas, what was left out and why")


class Why(Answered):
    """As `curator why --json`."""

    row: int
    uri: str
    selection: str | None
    status: str
    sentences: list[str]


class SplitsAnswer(Answered):
    """Every split; each as `curator split --json`."""

    splits: list[dict[str, Any]]


class CalibrationAnswer(Answered):
    """What calibration left for the configured model."""

    space: str
    results: list[dict[str, Any]]
    metric: dict[str, Any] | None
    n_answers: int = Field(description="pairs that people judged")


class PairQuestion(Answered):
    """A pair to judge."""

    row_a: int
    row_b: int
    uri_a: str
    uri_b: str
    similarity: float = Field(description="cosine")


class PairsAnswer(Answered):
    """Pairs to judge, spread over the similarities in doubt."""

    pairs: list[PairQuestion]
    n_left: int = Field(description="of `calibrate.n_pairs`")


class PairJudged(Asked):
    """What a person says of a pair."""

    row_a: RowNumber
    row_b: RowNumber
    answer: Literal["same", "different", "unsure"]


class AnswersBody(Asked):
    """Judged pairs."""

    answers: list[PairJudged] = Field(min_length=1, max_length=1_000)


class AnswersKept(Answered):
    """Numbers of the decisions, in order; each can be undone."""

    decisions: list[int]


class SnapshotBody(Asked):
    """A name to keep the workspace under."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$", examples=["before-recount"])]


class SnapshotAnswer(Answered):
    """A named snapshot."""

    name: str
    sequence: int
    rows: int
    created: float


class SnapshotsAnswer(Answered):
    """Named snapshots, oldest first."""

    snapshots: list[SnapshotAnswer]


# -- selections ------------------------------------------------------------------------------------------------------


@router.get("/selections", response_model=SelectionsAnswer, responses=UNKNOWN)
def list_selections(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Every stored selection, and whether it beats chance."""
    return answer({"selections": describing.selections(_place(request, ws))})


@router.get("/selections/{name}", response_model=SelectionPage, responses=UNKNOWN)
def selection(
    request: Request, principal: Reader, ws: str, name: SelectionName,
    offset: Annotated[int, Query(ge=0, lt=2**53)] = 0, limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> JSONResponse:  # fmt: skip
    """A page of a selection with rows, gains and reasons, and its evidence."""
    return answer(describing.selection(_place(request, ws), name, offset=offset, limit=limit))


@router.get(
    "/selections/{name}/file", response_class=FileResponse,
    responses={**UNKNOWN, 200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA.values()}}},
)  # fmt: skip
def selection_file(
    request: Request, principal: Reader, ws: str, name: SelectionName,
    format: Literal["paths", "csv", "parquet", "coco-images"] = "csv",
    first: Annotated[int | None, Query(ge=1, lt=2**53)] = None,
) -> Response:  # fmt: skip
    """A selection as one file; the same bytes as `curator export` writes."""
    folder = Folder(tempfile.mkdtemp(prefix="curator-export-"))
    try:
        target = folder / f"{name}{FILES[format]}"
        export(_place(request, ws), name, format, target, first=first)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(target, media_type=MEDIA[format], filename=target.name, background=gone)


@router.get("/selections/{name}/coverage", response_class=Response, responses={**UNKNOWN, **BINARY})
def coverage(request: Request, principal: Reader, ws: str, name: SelectionName) -> Response:
    """The number of the first pick that covers each row ever given, as little-endian int32.

    0: covered from the start by what is labelled already, -1: by none, -2: not to be covered. X-Threshold is the cosine
    at or above which a pick covers an image.
    """
    place = _place(request, ws)
    threshold, first_pick = describing.coverage(place, name)
    version = f"{place.entries(f'covers/{name}')[0].fingerprint}-{place.n_rows}"
    return binary(request, version, first_pick.astype("<i4").tobytes, {"X-Threshold": f"{threshold:.6g}"})


@router.get("/rows/{row}/why", response_model=Why, responses=UNKNOWN)
def explain(
    request: Request, principal: Reader, ws: str, row: RowPath,
    selection: Annotated[str | None, Query(pattern=NAME)] = None,
) -> JSONResponse:  # fmt: skip
    """Why an image was picked or was not; as `curator why`."""
    served = service_of(request).registry.served(ws)
    return answer(why(
        served.workspace, row, pipeline.stored_config(served.workspace), selection=selection,
        embeddings_of=lambda space: served.space(space).embeddings,
    ))  # fmt: skip


@router.get("/splits", response_model=SplitsAnswer, responses=UNKNOWN)
def list_splits(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Every split with its sizes, balance and certificate."""
    return answer({"splits": describing.splits(_place(request, ws))})


# -- the report ------------------------------------------------------------------------------------------------------


@router.get("/report", response_class=Response, responses={**UNKNOWN, 200: {"content": {"text/html": {}}}})
def report_page(request: Request, principal: Reader, ws: str) -> Response:
    """The report's page; its policy lets it run its own script and load nothing."""
    page = _report(request, ws, "index.html")
    headers = {
        "content-security-policy": f"{report.policy()}; {PAGE_POLICY}", "x-frame-options": "SAMEORIGIN",
    }  # fmt: skip
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/report.json", response_class=Response, responses={**UNKNOWN, 200: {"content": {"application/json": {}}}})
def report_numbers(request: Request, principal: Reader, ws: str) -> Response:
    """Every number of the report."""
    return Response(_report(request, ws, "report.json"), media_type="application/json")


def _report(request: Request, ws: str, name: str) -> bytes:
    place = _place(request, ws)
    try:
        return (place.path / "report" / name).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{ws} has no report yet", "run a job of kind report") from error


# -- calibration -----------------------------------------------------------------------------------------------------


@router.get("/calibration", response_model=CalibrationAnswer, responses=UNKNOWN)
def calibration(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Thresholds with their intervals, and the metric for copies."""
    place = _place(request, ws)
    space = embed.space_name(pipeline.stored_config(place).embed.model)
    stored = calibrating.stored(place, space)
    return answer({
        "space": space, "results": stored.get("results", []), "metric": stored.get("metric"),
        "n_answers": len(answers_of(place)),
    })  # fmt: skip


@router.get("/calibration/pairs", response_model=PairsAnswer, responses=UNKNOWN)
def calibration_pairs(
    request: Request, principal: Reviewer, ws: str, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> JSONResponse:
    """The next pairs to judge, as `curator calibrate --ask` asks them."""
    place = _place(request, ws)
    config = pipeline.stored_config(place)
    space = embed.space_name(config.embed.model)
    try:
        held = service_of(request).registry.served(ws).space(space).embeddings
    except UnknownSpace:  # another model was configured than was run: the library says what to do
        held = None
    asked = questions(place, config, embeddings=held)
    shown = [{name: getattr(one, name) for name in one.__dataclass_fields__} for one in asked[:limit]]
    return answer({"pairs": shown, "n_left": len(asked)})


@router.post("/calibration/answers", status_code=201, response_model=AnswersKept, responses=UNKNOWN)
def answer_pairs(
    request: Request, principal: Reviewer, ws: str, body: AnswersBody,
    key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=100)] = None,
) -> JSONResponse:  # fmt: skip
    """Keep judged pairs as decisions; a job `calibrate` with `from_answers` fits the threshold to them."""
    place, state = _place(request, ws), service_of(request).registry.state(ws)
    for one in body.answers:
        if place.check_row(one.row_a) == place.check_row(one.row_b):
            raise BadRequest(f"row {one.row_a} is compared with itself", "two rows")
    kept = [
        state.decide(
            "pair", rows=[one.row_a, one.row_b], value=one.answer, who=principal.who,
            key=None if key is None else f"{key}:{at}",
        )
        for at, one in enumerate(body.answers)
    ]  # fmt: skip
    return answer({"decisions": [decision.id for decision in kept]}, 201)


# -- snapshots -------------------------------------------------------------------------------------------------------


@router.get("/snapshots", response_model=SnapshotsAnswer, responses=UNKNOWN)
def list_snapshots(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Named snapshots, each a workspace of its own; as `curator snapshot`."""
    return answer({"snapshots": [one.to_json() for one in snapshots.saved(_place(request, ws))]})


@router.post(
    "/snapshots", status_code=201, response_model=SnapshotAnswer,
    responses={**UNKNOWN, 507: {"model": ErrorBody, "description": "The disk is full"}},
)  # fmt: skip
def save_snapshot(request: Request, principal: Admin, ws: str, body: SnapshotBody) -> JSONResponse:
    """Keep the workspace as it is now under a name; unchanged files are linked and cost no room."""
    place = _place(request, ws)
    if (place.path / snapshots.FOLDER / body.name).exists():
        raise Taken(f"there is a snapshot {body.name!r} already", "choose another name")
    return answer(snapshots.save(place, body.name).to_json(), 201)


@router.delete("/snapshots/{name}", status_code=204, response_class=Response, responses=UNKNOWN)
def delete_snapshot(request: Request, principal: Admin, ws: str, name: SnapshotName) -> Response:
    """Remove a named snapshot."""
    snapshots.forget(_place(request, ws), name)
    return nothing()


def _place(request: Request, ws: str) -> Workspace:
    return open_workspace(service_of(request).registry.path(ws))
