"""Every number of the report, as frozen dataclasses of plain values.

Knows what a number means, its unit and range, and the arithmetic between them;
knows nothing of HTML. A field is None only where a stage has not run or a
measure does not exist. `Report.to_dict()` is the content of report.json.

Shares are 0..1, similarities are cosines -1..1, distances are 1 - cosine 0..2,
times are seconds, sizes are bytes. `row` is the identity given at ingest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import DataError
from curator.report.checks import Calibrated, CopiesMetric, Issues, Split
from curator.report.proof import Evidence
from curator.report.savings import Savings

FORMAT = 1  # of report.json; rises when a field changes its meaning


# -- what came in ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """One source as given by the user."""

    name: str  # as typed: folder, file, URL
    kind: str = ""  # in words: "folder", "video", "table", "archive"; empty where unknown
    n_found: int | None = None  # images or frames it gave


@dataclass(frozen=True, slots=True)
class Funnel:
    """From everything found to what is labelled; counts of images or frames.

    found = pending + unreadable + exact_duplicates + near_duplicates + kept, as
    soon as near-duplicates were looked for.
    """

    found: int  # alive in the workspace, whatever their state
    unreadable: int = 0  # rows with a reason class
    pending: int = 0  # found, but not yet through the later stages
    exact_duplicates: int | None = None  # same bytes as a kept one; None before `neardups`
    near_duplicates: int | None = None  # represented by a kept one at or above the threshold; None before `neardups`
    kept: int | None = None  # left after both; None before `neardups`
    low_quality: int = 0  # kept, but not offered for selection by the limits of `quality`
    filtered_out: int = 0  # kept, but outside the filter of the selection
    preselected: int = 0  # kept, but already labelled
    trimmed: int = 0  # kept, but put on the review list as outliers
    selected: int | None = None  # to be labelled; None before `select`
    gone: int = 0  # once found, now missing from the sources; not part of `found`

    def __post_init__(self) -> None:
        for name in (f.name for f in dataclasses.fields(self)):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise DataError(f"funnel: {name} is {value}; expected a count of at least 0")
        if self.kept is None:
            return
        parts = self.pending + self.unreadable + self.removed + self.kept
        if parts != self.found:
            raise DataError(
                f"funnel does not add up: {self.found} found, but {self.pending} pending + {self.unreadable} unreadable"
                f" + {self.removed} duplicates + {self.kept} kept = {parts}; count each row once"
            )

    @property
    def readable(self) -> int:
        """Found and decoded."""
        return self.found - self.unreadable

    @property
    def removed(self) -> int:
        """Exact and near-duplicates together; 0 before `neardups`."""
        return (self.exact_duplicates or 0) + (self.near_duplicates or 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One image that could not be used."""

    row: int
    uri: str
    reason: str  # class, e.g. "truncated"
    message: str  # the file's own words


@dataclass(frozen=True, slots=True)
class FaultClass:
    """How often one reason occurred."""

    reason: str
    meaning: str  # one sentence, from `curator.images.REASONS`
    count: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be used; every such row, or the first few thousand of them."""

    classes: tuple[FaultClass, ...] = ()  # most frequent first
    faults: tuple[Fault, ...] = ()  # in row order
    skipped: Mapping[str, int] = field(default_factory=dict)  # files passed over at scan, by extension


# -- how likeness is measured ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Space:
    """The embedding space every similarity of this report is measured in."""

    model: str  # as configured, e.g. "efficientnet-lite0"
    name: str  # of the space, with revision and preprocessing
    dim: int  # numbers per vector
    n: int  # rows with a vector
    device: str = ""  # "cpu", "cuda:0 NVIDIA ..."


@dataclass(frozen=True, slots=True)
class Graph:
    """Search index and neighbour graph."""

    kind: str  # "flat", "ivf", "hnsw"
    n: int  # points
    k: int  # neighbours per point
    recall: float  # share of true neighbours found, measured against exact search, 0..1
    min_recall: float | None = None  # the configured floor, 0..1
    notes: tuple[str, ...] = ()  # what was widened or replaced on the way, as sentences


# -- duplicates --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """What holds for every removed image, recomputed from the vectors: `neardups.Certificate.to_dict()`."""

    n: int  # rows examined
    kept: int
    removed: int
    exact: int  # of the removed: same bytes
    near: int  # of the removed: similar at or above the threshold
    orphans: int  # removed without a kept one at or above the threshold; 0 when it holds
    worst_similarity: float  # smallest of a removed one to its representative, cosine
    mean_similarity: float
    kept_pairs_above: int  # pairs of kept ones at or above the threshold, among all pairs; 0 when it holds
    forced_pairs_above: int  # such pairs in which both had to be kept, e.g. because they are labelled
    wrong_representatives: int  # not kept, or not the nearest kept; 0 when it holds
    wrong_similarities: int  # stated similarity differs from the recomputed one; 0 when it holds
    threshold: float  # cosine
    holds: bool  # all that must be 0 is 0


@dataclass(frozen=True, slots=True)
class Member:
    """A removed image of a group."""

    row: int
    uri: str
    similarity: float  # cosine to the kept one
    exact: bool = False  # same bytes


@dataclass(frozen=True, slots=True)
class Group:
    """A kept image and what it stands for."""

    row: int  # the kept representative
    uri: str
    n_removed: int  # all it stands for, also those not listed
    members: tuple[Member, ...]  # any order; the nearest three and the farthest three are shown


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Result of `neardups`."""

    threshold: float  # cosine
    threshold_origin: Literal["default", "given", "calibrated"]  # default: the model's plain default
    keep: str  # policy, e.g. "coverage"
    n_groups: int  # kept images that stand for at least one removed
    certificate: Certificate
    groups: tuple[Group, ...] = ()  # largest first; the page shows the first dozen
    calibrations: tuple[Calibrated, ...] = ()  # stored ones, whichever is used
    metric: CopiesMetric | None = None  # None: never learned
    origin: str = ""  # of a calibrated threshold, in words


# -- structure ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster."""

    cluster: int  # number, 0 is the largest
    name: str  # tags with the highest lift, or "" where the model gives none
    size: int  # members among the clustered
    n_picked: int | None  # of the selection; None without one
    examples: tuple[int, ...] = ()  # rows, the medoid first; the page shows up to three


@dataclass(frozen=True, slots=True)
class Clusters:
    """Result of `cluster`."""

    method: str  # "kmeans", "hdbscan"
    n: int  # points clustered
    n_noise: int  # points in no cluster (-1)
    rows: tuple[ClusterRow, ...]  # all, largest first


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Result of `map`. The only arrays of the report: they become a picture and stay out of report.json."""

    rows: IntArray  # (n,)
    x: FloatArray  # (n,) any scale
    y: FloatArray  # (n,) any scale, upwards
    cluster: IntArray  # (n,) -1 for noise or where clusters are missing
    picked: BoolArray  # (n,) part of the selection
    method: str = "umap"  # "umap", "pca"
    preserved: float | None = None  # share of a point's neighbours that are neighbours on the map, 0..1

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in ("rows", "x", "y", "cluster", "picked")}
        if len(set(sizes.values())) > 1:
            raise DataError(f"map with columns of different length: {sizes}; expected one entry per point")


@dataclass(frozen=True, slots=True)
class Measure:
    """Distribution of one quality measure."""

    name: str  # column, e.g. "sharpness"
    definition: str  # one plain sentence
    unit: str  # or range, e.g. "bits", "0..1"; "" where none
    edges: tuple[float, ...]  # (b + 1,) increasing
    counts: tuple[int, ...]  # (b,)
    median: float
    low: float  # 5th percentile
    high: float  # 95th percentile
    limit: float | None = None  # configured limit of `quality`, None where off
    n_excluded: int = 0  # rows beyond the limit

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1:
            raise DataError(
                f"histogram of {self.name!r} has {len(self.counts)} counts and {len(self.edges)} edges; "
                f"expected {len(self.counts) + 1} edges"
            )


@dataclass(frozen=True, slots=True)
class Scored:
    """An image with a value of some measure."""

    row: int
    uri: str
    value: float


@dataclass(frozen=True, slots=True)
class Extreme:
    """The images at one end of a measure."""

    title: str  # "Darkest", "Brightest", "Blurriest", "Lowest contrast"
    measure: str  # column the values come from
    items: tuple[Scored, ...]  # most extreme first


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality measures taken in the decode pass."""

    n: int  # rows measured
    measures: tuple[Measure, ...]
    extremes: tuple[Extreme, ...]
    issues: Issues | None = None  # from `issues`


# -- selection ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pick:
    """One image to label."""

    rank: int  # 1 is the first pick
    row: int
    uri: str
    reason: str  # one sentence
    gain: float | None = None  # what it added to the objective when it was picked; None for controls
    cluster: int | None = None  # number, None without clusters


@dataclass(frozen=True, slots=True)
class Trimmed:
    """An outlier kept away from the selection, for a person to look at."""

    row: int
    uri: str
    distance: float | None = None  # 1 - cosine to its neighbours, 0..2


@dataclass(frozen=True, slots=True)
class Quota:
    """What one group was to give and gave."""

    group: str
    asked: int
    picked: int
    available: int


@dataclass(frozen=True, slots=True)
class Selected:
    """Result of `select`."""

    name: str  # of the selection
    method: str  # "representative", "diverse", ... as in `selection.METHODS`
    budget: str  # as asked: "41", "5%"
    picks: tuple[Pick, ...]  # in pick order, all of them
    seed: int = 0
    where: str | None = None  # filter, SQL predicate
    quotas: tuple[Quota, ...] = ()
    quota_column: str | None = None
    trimmed: tuple[Trimmed, ...] = ()
    trim_share: float | None = None  # 0..1; None where the method does not trim
    unmet: tuple[str, ...] = ()  # budget or quota that could not be met, as sentences
    notes: tuple[str, ...] = ()  # what was done that was not asked for, as sentences
    optimality: float | None = None  # at least this share of the best any selection could reach; None where unknown
    optimality_is_estimate: bool = False  # measured on a sample: on average too low, but no proof


# -- the run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timing:
    """The last run of a stage."""

    stage: str  # "ingest", "embed", ...
    seconds: float  # wall time
    n: int | None = None  # rows it worked on
    note: str = ""  # e.g. "up to date"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran; empty strings where unknown."""

    cpu: str = ""
    n_cores: int | None = None  # usable by this process
    memory_bytes: int | None = None
    gpu: str = ""  # empty: none seen
    system: str = ""  # operating system
    versions: Mapping[str, str] = field(default_factory=dict)  # package -> version


@dataclass(frozen=True, slots=True)
class Report:
    """All numbers of one report."""

    workspace: str  # name shown as title
    path: str  # of the workspace, as used in the commands the page suggests
    created: str  # ISO 8601 with time zone
    curator_version: str
    sources: tuple[Source, ...]
    funnel: Funnel
    noun: Literal["image", "frame"] = "image"  # frame where all come from videos
    snapshot: int | None = None  # sequence number of the workspace's snapshot
    unreadable: Unreadable = Unreadable()
    space: Space | None = None  # from `embed`
    graph: Graph | None = None  # from `index`
    duplicates: Duplicates | None = None  # from `neardups`
    clusters: Clusters | None = None  # from `cluster`
    map: Map | None = None  # from `map`
    quality: Quality | None = None  # from `embed`, which decodes
    selection: Selected | None = None  # from `select`
    evidence: Evidence | None = None  # from `report`, once there is a selection
    splits: tuple[Split, ...] = ()  # from `curator split`
    savings: Savings | None = None  # once there is a selection
    timings: tuple[Timing, ...] = ()  # in the order of the stages
    machine: Machine = Machine()
    config_yaml: str = ""  # the configuration used
    command: str = ""  # what was typed
    selection_is_stale: str = ""  # a sentence when the selection was made from fewer rows than are there now

    def count(self, n: int) -> str:
        """The count with its noun: "1 frame", "1,204 frames"."""
        return f"{n:,} {self.noun}{'' if n == 1 else 's'}"

    def headline(self) -> tuple[str, str]:
        """What happened in two sentences a manager understands."""
        funnel = self.funnel
        first = f"{self.count(funnel.found)} found"
        if funnel.selected is not None:
            first += f" → {funnel.selected:,} to label."
        elif funnel.kept is not None:
            first += f" → {funnel.kept:,} that differ."
        else:
            first += f", {funnel.readable:,} readable."
        return first, _promise(self)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for report.json: no arrays, no NaN, the derived sentences included."""
        first, second = self.headline()
        body: dict[str, Any] = plain(self)
        return {"format": FORMAT, "headline": [first, second]} | body


def plain(value: Any) -> Any:
    """Dataclasses, tuples and numpy scalars as JSON knows them; a number that is not finite becomes None."""
    if isinstance(value, Map):
        return {
            "method": value.method,
            "n": len(value.rows),
            "n_picked": int(np.count_nonzero(value.picked)),
            "preserved": plain(value.preserved),
        }
    if dataclasses.is_dataclass(value):
        body = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Evidence):
            body["picks_worth_random"] = value.picks_worth_random
        return body
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def _promise(report: Report) -> str:
    """The second sentence: what is guaranteed about the removed ones, or what is not."""
    if report.duplicates is None:
        return "Near-duplicates have not been looked for yet."
    certificate, threshold = report.duplicates.certificate, f"cosine ≥ {report.duplicates.threshold:g}"
    if certificate.removed == 0:
        return f"No two of them are near-duplicates at {threshold}."
    kinds = (
        f"removed duplicates ({certificate.exact:,} exact, {certificate.near:,} near)"
        if certificate.exact
        else "removed near-duplicates"
    )
    if certificate.orphans:
        return (
            f"{certificate.orphans:,} of the {certificate.removed:,} {kinds} have no kept {report.noun} at "
            f"{threshold}: do not rely on this result before `curator verify` passes."
        )
    if certificate.removed == 1:
        return f"The one removed duplicate is represented by a kept {report.noun} at {threshold}."
    return f"Every one of the {certificate.removed:,} {kinds} is represented by a kept {report.noun} at {threshold}."
