"""The kinds of jobs as data: what each may be asked, and the command line it becomes.

A job is a command of `curator` run with `--json`, so both doors give the same
answer by construction. Nothing passes through a shell; options are written as
`--name=value` and names after `--`, so that no value can become an option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from curator.sources.confined import Confinement
from curator.workspace import Workspace
from service import allowed
from service.allowed import Name, Setting, Text
from service.problems import NotFound, TooLarge
from service.schemas import NAME, Asked
from service.settings import Settings

Key = Annotated[str, Field(max_length=100, pattern=r"^[a-z_]+(\.[a-z0-9_]+)?$")]
_CLOSED: Any = {"additionalProperties": False}  # a pattern of keys says nothing of the other keys
Options = Annotated[dict[Key, Setting], Field(max_length=100, json_schema_extra=_CLOSED)]
Quotas = Annotated[dict[Text, int | float], Field(max_length=1_000, json_schema_extra=_CLOSED)]
SelectionName = Annotated[str, Field(pattern=NAME, examples=["selection"])]
UploadId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="id of an upload")]
Budget = Annotated[int | str, Field(description="a number, or a share such as 5%", examples=["5%", 200])]
Cosine = Annotated[float, Field(gt=0, le=1)]
MAX_SOURCES = 100
MAX_ARGUMENT_BYTES = 100_000

FILES = {"paths": ".txt", "csv": ".csv", "parquet": ".parquet", "coco-images": ".json"}
"""Formats that are handed over as one file, and its suffix; copies, links and frames stay with the command line,
since they write many files at a place of the server's."""


# -- what may be asked -----------------------------------------------------------------------------------------------


class Params(Asked):
    """Settings of any section, as `--set` takes them; `configs/default.yaml` lists every key."""

    settings: Options = Field({}, description="section.key to value, as `--set` takes them")


class Reading(Params):
    """Where images come from and what is taken from them."""

    sources: list[Text] = Field(
        [], max_length=MAX_SOURCES, description="paths under the ingest roots; none: those the workspace has"
    )
    upload: UploadId | None = Field(None, description="images sent before")
    fps: float | None = Field(None, gt=0, le=1_000, description="video frames per second")
    every_nth: int | None = Field(None, ge=1, lt=2**31, description="every n-th video frame")
    keyframes: bool | None = Field(None, description="only key frames of videos")
    metadata: Text | None = Field(None, description="a table under the ingest roots, joined by file name")
    labels_from_folders: bool | None = None
    splits_from_folders: bool | None = None


class RunParams(Reading):
    """As `curator run`: every stage that is not up to date."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sources": ["footage"], "budget": "5%"}]})
    budget: Budget | None = None
    model: Text | None = Field(None, description="built in, or what the workspace was made with")
    fresh: bool = False


class IngestParams(Reading):
    """As `curator ingest`."""


class EmbedParams(Params):
    """As `curator embed`."""

    model: Text | None = Field(None, description="built in, or what the workspace was made with")


class StageParams(Params):
    """As `curator index`, `cluster` and `map`."""

    fresh: bool = False


class NearDupsParams(StageParams):
    """As `curator neardups`."""

    threshold: float | Name | None = Field(None, description="a cosine, or the name of a calibration")
    keep: Name | None = Field(None, description="coverage, sharpest, first, largest, labelled, max:COLUMN, min:COLUMN")
    method: Literal["auto", "exact", "approximate"] | None = None
    space: Literal["model", "copies"] | None = None
    per_group: Name | None = None
    window_s: float | None = Field(None, gt=0, le=1e9)


class SelectParams(Params):
    """As `curator select`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"budget": 200, "method": "diverse"}]})
    budget: Budget | None = None
    method: Name | None = None
    strategies: list[str | dict[str, Any]] | None = Field(None, max_length=20)
    name: SelectionName | None = None
    filter: dict[str, Any] | None = Field(None, description="only images that pass; as in a search")
    per_group: Name | None = None
    quotas: Name | Quotas | None = Field(
        None, description="equal, proportional, like:SELECTION, counts or shares by group"
    )
    preselected: Name | None = Field(None, description="labelled, column:NAME or selection:NAME")
    min_distance: float | None = Field(None, ge=0, le=2)
    spacing_s: float | None = Field(None, ge=0, le=1e9)
    threshold: Cosine | None = None
    stop_coverage: Cosine | None = None
    scores: Name | None = Field(None, description="for uncertainty: a column, or columns with commas")


class CalibrateParams(Params):
    """As `curator calibrate`: from edits of the images, or from the answers that people gave to pairs."""

    sample: int | None = Field(None, ge=10, le=100_000)
    from_answers: bool = Field(False, description="fit the answers kept so far")
    name: SelectionName | None = Field(None, description="of the result from answers")


class SplitParams(Params):
    """As `curator split`."""

    ratios: Name | None = Field(None, examples=["0.8,0.1,0.1"])
    group_by: list[Name] | None = Field(None, max_length=20)
    balance: list[Name] | None = Field(None, max_length=20)
    keep: Name | None = None
    against: Name | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]{0,63}$")] | None = None


class LeaksParams(Asked):
    """As `curator leaks`: between the parts of this workspace, or from another workspace into this one."""

    other: Annotated[str, Field(pattern=NAME)] | None = Field(None, description="workspace that was trained on")
    split_column: Name = "split"
    threshold: Cosine | None = None
    bits: int = Field(4, ge=0, le=64)


class CompareParams(Asked):
    """As `curator compare`."""

    first: SelectionName
    second: SelectionName


class VerifyParams(Asked):
    """As `curator verify`."""


class ExportParams(Asked):
    """As `curator export`, for formats that are one file; GET /v1/jobs/{id}/file hands it over."""

    selection: SelectionName
    format: Literal["paths", "csv", "parquet", "coco-images"] = "csv"
    first: int | None = Field(None, ge=1, lt=2**53)


# -- what it becomes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """What a verb may look at while it becomes a command line."""

    workspace: Workspace
    settings: Settings
    folder_of: Callable[[str], Path]  # of another workspace, by name


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, complete but for where the program is."""

    arguments: tuple[str, ...]
    confined: Confinement
    makes: Path | None = None  # a file for the client


@dataclass(frozen=True, slots=True)
class Verb:
    """One kind of job."""

    kind: str
    params: type[Asked]
    what: str
    is_write: bool = True  # writes the workspace: an admin's job
    flags: Mapping[str, str] = field(default_factory=dict)  # parameter -> flag of `curator.cli.common.FLAGS`
    section: str = ""  # section whose keys the other parameters are
    arguments: Callable[[Any, Place], list[str]] | None = None  # beside settings; names after `--`


def uploads_of(workspace: Workspace) -> Path:
    """Folder of what was uploaded."""
    return workspace.path / "uploads"


def exported(workspace: Workspace, job_id: str, format: str) -> Path:
    """File that an export job makes."""
    return workspace.path / "exports" / f"{job_id}{FILES[format]}"


def command(kind: str, params: Asked, place: Place, job_id: str) -> Command:
    """The command line of a job.

    Raises:
        BadConfig, Forbidden, NotFound, BadRequest: it names what it may not, or what is not there.
        TooLarge: a value is too long for a command line.
    """
    verb = VERBS[kind]
    options = _options(verb, params, place) if isinstance(params, Params) else []
    makes = None
    if isinstance(params, ExportParams):
        makes = exported(place.workspace, job_id, params.format)
        options.append(f"--to={makes}")
    if not isinstance(params, LeaksParams):
        options.append(f"--workspace={place.workspace.path}")
    own = verb.arguments(params, place) if verb.arguments else []
    confined = allowed.confinement(place.workspace, place.settings, uploads_of(place.workspace))
    line = (kind, "--json", *options, *own)
    longest = max(len(argument.encode()) for argument in line)
    if longest > MAX_ARGUMENT_BYTES:  # the system takes 128 KiB in one argument
        raise TooLarge(f"one value has {longest} bytes; at most {MAX_ARGUMENT_BYTES} are taken", "ask for less")
    return Command(line, confined, makes)


def _options(verb: Verb, params: Params, place: Place) -> list[str]:
    """Settings and flags as `--set`, checked by what they come to."""
    given = {name: value for name, value in params.model_dump(mode="json").items() if value is not None}
    flags = {flag: given[name] for name, flag in verb.flags.items() if name in given}
    metadata = None
    if isinstance(params, Reading) and params.metadata is not None:
        metadata = flags["metadata"] = str(allowed.place_under(place.settings.ingest_roots, params.metadata))
    own = {f"{verb.section}.{name}": given[name] for name in _KEYS.get(verb.section, ()) if name in given}
    changes = allowed.overrides(flags, {**own, **params.settings})
    allowed.check(place.workspace.snapshot.config, changes, metadata=metadata)
    return [f"--set={change}" for change in changes] + (["--fresh"] if given.get("fresh") else [])


_KEYS = {"split": ("name", "ratios", "keep", "group_by", "balance"), "calibrate": ("sample",)}


def _reading(params: Reading, place: Place) -> list[str]:
    found = [allowed.place_under(place.settings.ingest_roots, source) for source in params.sources]
    if params.upload is not None:
        found.append(_upload(params.upload, place))
    return ["--", *map(str, found)] if found else []


def _upload(upload: str, place: Place) -> Path:
    folder = uploads_of(place.workspace) / upload
    if not folder.is_dir():
        raise NotFound(f"no upload {upload!r}", "POST uploads first")
    return folder


def _calibrate(params: CalibrateParams, place: Place) -> list[str]:
    out = ["--kept"] if params.from_answers else []
    return out + ([f"--name={params.name}"] if params.name is not None else [])


def _leaks(params: LeaksParams, place: Place) -> list[str]:
    options = [f"--bits={params.bits}"]
    if params.threshold is not None:
        options.append(f"--threshold={params.threshold!r}")
    if params.other is not None:
        return [*options, "--", str(place.folder_of(params.other)), str(place.workspace.path)]
    return [f"--workspace={place.workspace.path}", f"--split-column={params.split_column}", *options]


def _export(params: ExportParams, place: Place) -> list[str]:
    first = [] if params.first is None else [f"--first={params.first}"]
    return [f"--format={params.format}", *first, "--", params.selection]


_MODEL = {"model": "model"}
_READING = {
    name: name for name in ("fps", "every_nth", "keyframes", "labels_from_folders", "splits_from_folders")
}  # fmt: skip
_NEARDUPS = {
    "threshold": "threshold", "keep": "keep", "method": "neardups_method", "space": "neardups_space",
    "per_group": "neardups_per_group", "window_s": "window_s",
}  # fmt: skip
_SELECT = {
    "budget": "budget", "method": "method", "strategies": "strategies", "name": "name", "filter": "filter",
    "per_group": "per_group", "quotas": "quotas", "preselected": "preselected", "min_distance": "min_distance",
    "spacing_s": "spacing", "threshold": "covers_from", "stop_coverage": "stop_coverage", "scores": "scores",
}  # fmt: skip

_ALL = (
    Verb("run", RunParams, "Every stage that is not up to date", flags={**_READING, **_MODEL, "budget": "budget"},
         arguments=_reading),
    Verb("ingest", IngestParams, "Find images and frames, decode each once", flags=_READING, arguments=_reading),
    Verb("embed", EmbedParams, "Turn every image into a vector", flags=_MODEL),
    Verb("tiles", Params, "Crops of every image, embedded: for what is small in the frame"),
    Verb("index", StageParams, "Search index and neighbour graph"),
    Verb("neardups", NearDupsParams, "Near-duplicates, with the certificate", flags=_NEARDUPS),
    Verb("issues", Params, "Outliers and faulty pictures"),
    Verb("cluster", StageParams, "Groups of alike images"),
    Verb("map", StageParams, "The 2-D map"),
    Verb("select", SelectParams, "Pick the images to label", flags=_SELECT),
    Verb("report", Params, "The report's page and numbers"),
    Verb("calibrate", CalibrateParams, "Which similarity means the same image", section="calibrate",
         arguments=_calibrate),
    Verb("split", SplitParams, "Parts between which nothing leaks", section="split",
         arguments=lambda params, place: [] if params.against is None else [f"--against={params.against}"]),
    Verb("leaks", LeaksParams, "Images of one set that are in another", is_write=False, arguments=_leaks),
    Verb("compare", CompareParams, "Two selections side by side", is_write=False,
         arguments=lambda params, place: ["--", params.first, params.second]),
    Verb("verify", VerifyParams, "Recompute what the workspace promises", is_write=False),
    Verb("export", ExportParams, "A selection as one file", is_write=False, arguments=_export),
)  # fmt: skip
VERBS: dict[str, Verb] = {verb.kind: verb for verb in _ALL}
"""Every kind of job."""
