"""What goes in and out, for the contract at /v1/openapi.json; pydantic stays at this door.

Requests refuse unknown keys. Answers are made by the library as plain values
and are the same that the command line prints; the models here describe them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
SHOWN_NAME = r"^[^\x00-\x1f\x7f-\x9f/]*[^\x00-\x1f\x7f-\x9f\s/.][^\x00-\x1f\x7f-\x9f/]*$"
"""Told of as the pattern of tags and collections; `curator.state.names` knows more, and says what is wrong."""
GivenName = Annotated[
    str, Field(min_length=1, max_length=100, examples=["night"], json_schema_extra={"pattern": SHOWN_NAME})
]
RowNumber = Annotated[int, Field(ge=0, lt=2**53, description="identity of an image in its workspace", examples=[17])]


class Asked(BaseModel):
    """A request body: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


def exactly_one(
    *keys: str, beside: Mapping[str, Collection[str]] | None = None, hidden: Collection[str] = ()
) -> Callable[[dict[str, Any]], None]:
    """What makes the schema of a body say that exactly one of these keys is given, as an `Asked` cannot by itself.

    Args:
        keys: the alternatives; a list among them holds at least one item.
        beside: other keys that go only with some of the alternatives.
        hidden: keys that are understood but not told of.
    """
    gone = {*keys, *hidden}

    def rewrite(schema: dict[str, Any]) -> None:
        properties = schema.pop("properties")
        required = [name for name in schema.pop("required", []) if name not in gone]
        schema.pop("additionalProperties", None)
        schema.pop("type", None)
        schema["oneOf"] = []
        for key in keys:
            shared = {
                name: value for name, value in properties.items()
                if name not in gone and (beside is None or name not in beside or key in beside[name])
            }  # fmt: skip
            schema["oneOf"].append({
                "type": "object", "title": f"By {key}", "additionalProperties": False, "required": [*required, key],
                "properties": {key: _given(properties[key]), **shared},
            })  # fmt: skip

    return rewrite


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is there: no null, no default, no empty list."""
    kinds = schema.get("anyOf", [])
    kept = [kind for kind in kinds if kind != {"type": "null"}]
    flat = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    flat |= kept[0] if len(kept) == 1 else {"anyOf": kept} if kinds else {}
    return flat | ({"minItems": 1} if flat.get("type") == "array" else {})


class Answered(BaseModel):
    """An answer; keys may be added in later versions."""

    model_config = ConfigDict(extra="allow")


# -- errors, health, session -------------------------------------------------------------------------------------


class ErrorDetail(Answered):
    """What was found, and what to do."""

    code: str = Field(description="class of the error, stable", examples=["UnknownRow"])
    message: str = Field(description="what was found and what was expected")
    hint: str = Field(description="what to do; may be empty")


class ErrorBody(Answered):
    """The one error shape."""

    error: ErrorDetail
    model_config = ConfigDict(
        json_schema_extra={"example": {"error": {
            "code": "UnknownRow", "message": "no row 99 in street-scenes", "hint": "rows are 0 to 41",
        }}},
    )  # fmt: skip


class Health(Answered):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(Answered):
    """The service can work."""

    status: Literal["ready"]
    workspaces: int


class Login(Asked):
    """A token, shown once by `curator token create`."""

    token: str = Field(min_length=1, max_length=200)


class Session(Answered):
    """Who the caller is."""

    who: str
    role: str
    via: Literal["open", "bearer", "cookie"]
    csrf: str = Field(description="goes into the header x-curator-csrf of changes made by cookie; else empty")


# -- workspaces --------------------------------------------------------------------------------------------------


class WorkspaceEntry(Answered):
    """One workspace under the root."""

    name: str
    rows: int | None = Field(description="rows ever given; none where the workspace is broken")
    snapshot: int | None
    error: ErrorDetail | None = Field(None, description="why it cannot be used")


class Workspaces(Answered):
    """Every workspace under the root."""

    workspaces: list[WorkspaceEntry]


class NewWorkspace(Asked):
    """A workspace to make."""

    name: str = Field(pattern=NAME, examples=["street-scenes"])


class Fault(Answered):
    """A file that could not be read."""

    row: int
    uri: str
    reason: str
    message: str | None


class Info(Answered):
    """What is in a workspace; the body of `curator info --json`."""

    path: str
    rows: int
    snapshot: int
    sources: list[str]
    stages: dict[str, Literal["current", "stale", "missing"]]
    spaces: list[str]
    tiles: list[str] = Field(description="spaces of tiles, for a search's `space`")
    columns: list[str]
    selections: dict[str, int]
    n_unreadable: int
    unreadable: list[Fault]
    runs: list[dict[str, Any]]


class RunEntry(Answered):
    """One run of a stage."""

    stage: str
    seconds: float
    finished: float = Field(description="seconds since 1970")
    counts: dict[str, Any] = Field({}, description="what it counted, by the stage's own names")


class Runs(Answered):
    """What ran, newest first."""

    runs: list[RunEntry]


class ColumnInfo(Answered):
    """One column that filters can name."""

    name: str
    type: str = Field(description="DuckDB's name of the type")
    origin: str = Field(description="samples, or the stage that made it")


class Columns(Answered):
    """Every column."""

    columns: list[ColumnInfo]


class Record(Answered):
    """Everything known about one image: every column, and the selections that hold it."""

    row: int
    uri: str
    selections: list[dict[str, Any]]


# -- jobs --------------------------------------------------------------------------------------------------------


class JobProgress(Answered):
    """How far a job is."""

    stage: str = Field(examples=["embed"])
    done: int
    total: int | None = Field(description="none where it is not known")


class JobEntry(Answered):
    """One job as it stands; the answer of one job also has its result."""

    id: str
    workspace: str
    kind: str = Field(examples=["run"])
    params: dict[str, Any]
    who: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    created: float = Field(description="seconds since 1970")
    started: float | None
    finished: float | None
    progress: JobProgress | None
    error: ErrorDetail | None
    resumes: str | None = Field(description="the job that this one goes on with")
    cancel: bool = Field(description="somebody asked it to stop")
    revision: int = Field(description="raised by every change")


class JobBody(JobEntry):
    """One job, with what its command printed once it is done."""

    result: Any = Field(description="the JSON of `curator VERB --json`; none before the end")


class Jobs(Answered):
    """Jobs, newest first, without their results."""

    jobs: list[JobEntry]
    counts: dict[str, int] = Field(description="jobs by state")


class JobLog(Answered):
    """The end of what a job's command wrote beside its result."""

    log: str
