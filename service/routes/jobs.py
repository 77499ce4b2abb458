"""Long work: ask for it, follow it, stop it, go on with it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import anyio.to_thread
from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import Field, create_model

from curator.state import Job
from curator.workspace import open_workspace
from service import schemas
from service.answers import answer
from service.context import Service, service_of
from service.lifetime import STOPPING
from service.problems import Forbidden, Gone, NotFound, TooMany
from service.schemas import Asked, ErrorBody
from service.security import RANK, Principal, Reader, check_role
from service.verbs import FILES, VERBS, Place, Verb, command, exported

router = APIRouter(tags=["jobs"])

POLL_S = 0.25
HEARTBEAT_S = 15.0
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "No such workspace, job or thing"}}
BUSY: dict[int | str, dict[str, Any]] = {409: {"model": ErrorBody, "description": "It is not in a state for that"}}
BROKEN: dict[int | str, dict[str, Any]] = {503: {"model": ErrorBody, "description": "The workspace cannot be used"}}

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="id of a job")]
Wait = Annotated[float, Query(ge=0, le=30, description="seconds to wait for the end; then the answer is 200")]
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=200, pattern=r"^[!-~]+$", description="same key, same job")
]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


def _model(verb: Verb) -> type[Asked]:
    """The body that asks for one kind of job."""
    is_optional = not any(field.is_required() for field in verb.params.model_fields.values())
    params: Any = Field(default_factory=verb.params) if is_optional else ...
    fields: dict[str, Any] = {"kind": (Literal[verb.kind], ...), "params": (verb.params, params)}
    made: type[Asked] = create_model(f"{verb.kind.capitalize()}Job", __base__=Asked, __doc__=verb.what, **fields)
    return made


if TYPE_CHECKING:

    class NewJob(Asked):
        """Any of the bodies."""

        kind: str
        params: Asked
else:
    NewJob = Annotated[Union[tuple(_model(verb) for verb in VERBS.values())], Field(discriminator="kind")]  # noqa: UP007

EXAMPLES: Any = {
    "run": {"summary": "Everything", "value": {"kind": "run", "params": {"sources": ["footage"], "budget": "5%"}}},
    "select": {"summary": "A selection", "value": {"kind": "select", "params": {"budget": 200, "method": "diverse"}}},
    "verify": {"summary": "The certificate", "value": {"kind": "verify"}},
}


@router.post(
    "/v1/workspaces/{ws}/jobs", status_code=202, response_model=schemas.JobBody,
    responses={
        **UNKNOWN, **BUSY, **BROKEN, 200: {"model": schemas.JobBody, "description": "It ended within `wait`"},
        413: {"model": ErrorBody, "description": "A value is too long"},
    },
)  # fmt: skip
async def start_job(
    request: Request, principal: Reader, ws: str, body: Annotated[NewJob, Body(openapi_examples=EXAMPLES)],
    wait: Wait = 0, key: Key = None,
) -> JSONResponse:  # fmt: skip
    """Ask for long work; kinds that write the workspace are an admin's."""
    service = service_of(request)
    job = await anyio.to_thread.run_sync(_add, service, principal, ws, body, key)
    return await _answer(service, job, wait)


@router.get("/v1/jobs", response_model=schemas.Jobs)
def list_jobs(
    request: Request, principal: Reader,
    workspace: Annotated[str | None, Query(max_length=64)] = None, state: JobState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50, offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> JSONResponse:  # fmt: skip
    """Jobs, newest first."""
    jobs = service_of(request).state.jobs
    found = jobs.page(workspace=workspace, state=state, limit=limit, offset=offset)
    return answer({"jobs": [_entry(job) for job in found], "counts": jobs.counts()})


@router.get("/v1/jobs/{job_id}", response_model=schemas.JobBody, responses=UNKNOWN)
async def job(request: Request, principal: Reader, job_id: JobId, wait: Wait = 0) -> JSONResponse:
    """One job as it stands, or as it ended within `wait`."""
    service = service_of(request)
    found = await anyio.to_thread.run_sync(service.state.jobs.get, job_id)
    return answer((await _waited(service, found, wait)).to_json())


@router.get("/v1/jobs/{job_id}/log", response_model=schemas.JobLog, responses=UNKNOWN)
def job_log(request: Request, principal: Reader, job_id: JobId) -> JSONResponse:
    """The last 64 KB that the job's command wrote, without the server's paths."""
    jobs = service_of(request).state.jobs
    jobs.get(job_id)
    return answer({"log": jobs.log(job_id)})


@router.get(
    "/v1/jobs/{job_id}/events", response_class=StreamingResponse,
    responses={
        **UNKNOWN,
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events until the end"},
        204: {"description": "It is over, and Last-Event-ID has seen the end"},
    },
)  # fmt: skip
async def job_events(
    request: Request, principal: Reader, job_id: JobId,
    last: Annotated[int, Header(alias="Last-Event-ID", ge=0, lt=2**53, description="revision seen before")] = 0,
) -> Response:  # fmt: skip
    """Server-sent events `state` and `progress`, each with the job as its data and its revision as id."""
    service = service_of(request)
    found = await anyio.to_thread.run_sync(service.state.jobs.get, job_id)
    if found.is_over and found.revision <= last:
        return Response(status_code=204)  # tells a browser not to come again
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_events(service, found, last), media_type="text/event-stream", headers=headers)


@router.post("/v1/jobs/{job_id}/cancel", response_model=schemas.JobBody, responses={**UNKNOWN, **BUSY})
async def cancel_job(request: Request, principal: Reader, job_id: JobId, wait: Wait = 0) -> JSONResponse:
    """Stop a job: its own who asked for it may, and an admin; what it finished is kept."""
    service = service_of(request)

    def ask() -> Job:
        found = service.state.jobs.get(job_id)
        if found.who != principal.who and RANK[principal.role] < RANK["admin"]:
            raise Forbidden(f"job {job_id} is not yours", "who asked for it may stop it, or an admin")
        return service.state.jobs.cancel(job_id)

    return answer((await _waited(service, await anyio.to_thread.run_sync(ask), wait)).to_json())


@router.post(
    "/v1/jobs/{job_id}/resume", status_code=202, response_model=schemas.JobBody,
    responses={**UNKNOWN, **BUSY, **BROKEN, 200: {"model": schemas.JobBody, "description": "It ended within `wait`"}},
)  # fmt: skip
async def resume_job(request: Request, principal: Reader, job_id: JobId, wait: Wait = 0) -> JSONResponse:
    """A new job that does the same and finds what the old one finished."""
    service = service_of(request)

    def again() -> Job:
        old = service.state.jobs.get(job_id)
        if VERBS[old.kind].is_write:
            check_role(principal, "admin")
        _check_room(service)
        service.registry.path(old.workspace)
        return service.state.jobs.resume(job_id, who=principal.who)

    made = await anyio.to_thread.run_sync(again)
    service.runner.wake()
    return await _answer(service, made, wait)


@router.get(
    "/v1/jobs/{job_id}/file", response_class=FileResponse,
    responses={**UNKNOWN, **BUSY, 200: {"content": {"application/octet-stream": {}}},
               410: {"model": ErrorBody, "description": "The file is gone"}},
)  # fmt: skip
def job_file(request: Request, principal: Reader, job_id: JobId) -> Response:
    """The file that an export job made."""
    service = service_of(request)
    found = service.state.jobs.get(job_id)
    if found.kind != "export" or found.state != "done":
        raise NotFound(f"job {job_id} is a {found.kind} that is {found.state}", "an export that is done has a file")
    place = open_workspace(service.registry.path(found.workspace))
    path = exported(place, job_id, found.params["format"])
    if not path.is_file():
        raise Gone(f"the file of job {job_id} was removed", "export again")
    name = f"{found.params['selection']}{FILES[found.params['format']]}"
    return FileResponse(path, media_type="application/octet-stream", filename=name)


# -- the queue ------------------------------------------------------------------------------------------------------


def _add(service: Service, principal: Principal, ws: str, body: NewJob, key: str | None) -> Job:
    """Check what is asked before it waits in the queue, and again when it runs."""
    if VERBS[body.kind].is_write:
        check_role(principal, "admin")
    place = Place(open_workspace(service.registry.path(ws)), service.settings, service.registry.path)
    command(body.kind, body.params, place, "0" * 16)
    _check_room(service)
    params = body.params.model_dump(mode="json", exclude_unset=True)
    if body.kind == "export":
        params.setdefault("format", "csv")
    own_key = None if key is None else f"{principal.who}:{ws}:{key}"
    job = service.state.jobs.add(ws, body.kind, params, who=principal.who, key=own_key)
    service.runner.wake()
    return job


def _check_room(service: Service) -> None:
    waiting = service.state.jobs.counts().get("queued", 0)
    if waiting >= service.settings.max_queued:
        raise TooMany(f"{waiting} jobs wait already", "come again when some are done", headers={"Retry-After": "10"})


async def _answer(service: Service, job: Job, wait: float) -> JSONResponse:
    job = await _waited(service, job, wait)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    return answer(job.to_json(), 200 if job.is_over and wait > 0 else 202, headers)


async def _waited(service: Service, job: Job, wait: float) -> Job:
    """The job as it ended, or as it stands after so many seconds."""
    until = time.monotonic() + wait
    while not job.is_over and time.monotonic() < until and not STOPPING.is_set():
        await anyio.sleep(min(POLL_S, max(until - time.monotonic(), 0.0)))
        job = await anyio.to_thread.run_sync(service.state.jobs.get, job.id)
    return job


def _entry(job: Job) -> dict[str, Any]:
    return {name: value for name, value in job.to_json().items() if name != "result"}


async def _events(service: Service, job: Job, last: int) -> AsyncIterator[bytes]:
    """Every change that the database shows, until the end; the same from whichever process serves it."""
    told: tuple[str, bool] | None = None
    spoke = time.monotonic()
    yield b"retry: 1000\n\n"
    while True:
        if job.revision > last:
            standing = (job.state, job.cancel)
            kind = "progress" if standing == told else "state"
            told, last, spoke = standing, job.revision, time.monotonic()
            text = json.dumps(job.to_json() if job.is_over else _entry(job), ensure_ascii=True)
            yield f"id: {job.revision}\nevent: {kind}\ndata: {text}\n\n".encode()
        if job.is_over or STOPPING.is_set():
            return
        if time.monotonic() - spoke > HEARTBEAT_S:
            spoke = time.monotonic()
            yield b": still here\n\n"
        await anyio.sleep(POLL_S)
        job = await anyio.to_thread.run_sync(service.state.jobs.get, job.id)
