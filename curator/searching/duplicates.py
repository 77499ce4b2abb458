"""Have we already got this picture? Its bytes, the same picture by the calibrated threshold, one like it, or none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from curator import embed
from curator.calibration import apply_metric
from curator.data import FloatArray, IntArray
from curator.errors import BadQuery, StageMissing
from curator.searching.columns import Columns
from curator.searching.spaces import Scorer, Space
from curator.workspace import Workspace

Verdict = Literal["already", "similar", "new"]
CANDIDATES = 256  # by plain cosine that are judged in the metric for copies


@dataclass(frozen=True, slots=True)
class Match:
    """One image that is the same, or like it."""

    row: int
    match: Literal["exact", "near", "similar"]  # same bytes; at or above the threshold; below it
    similarity: float  # cosine, in the metric for copies where near-duplicates are decided in that
    representative: int | None  # the kept image that stands for it; itself where it is kept, none before `neardups`
    fields: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The match as plain values."""
        body = {
            "row": self.row, "match": self.match, "similarity": round(self.similarity, 6),
            "distance": round(1.0 - self.similarity, 6), "representative": self.representative,
        }  # fmt: skip
        return body | ({"fields": self.fields} if self.fields else {})


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The verdict and what it rests on."""

    verdict: Verdict
    matches: tuple[Match, ...]  # same bytes first, then by similarity
    threshold: float  # at or above: the same picture
    similar_from: float  # at or above: like it; as far below the threshold as that is below 1
    origin: str  # of the threshold: given, default, calibration 'name'
    metric: Literal["model", "copies"]
    nearest: float | None  # similarity of the most similar image, whatever the verdict; none where there is none
    space: str
    index: str
    recall: float
    snapshot: int

    def to_json(self) -> dict[str, Any]:
        """The body that the command line prints and the service sends."""
        return {
            "verdict": self.verdict,
            "matches": [match.to_json() for match in self.matches],
            "threshold": round(self.threshold, 6),
            "similar_from": round(self.similar_from, 6),
            "threshold_origin": self.origin,
            "metric": self.metric,
            "nearest": None if self.nearest is None else round(self.nearest, 6),
            "space": self.space,
            "index": self.index,
            "recall": round(self.recall, 4),
            "snapshot": self.snapshot,
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """At or above which similarity two images are the same, and who says so."""

    value: float
    origin: str
    metric: Literal["model", "copies"] = "model"


def threshold_for(workspace: Workspace, space: Space, given: float | None) -> Threshold:
    """The given threshold, else what the workspace's configuration says for its own space, else the model's default.

    Raises:
        BadQuery: a threshold outside -1..1.
        StageMissing: the configuration names a calibration that is not there.
    """
    from curator.pipeline import stored_config
    from curator.pipeline.calibrating import threshold_of

    config = stored_config(workspace)
    is_own = embed.space_name(config.embed.model) == space.name
    if given is not None:
        if not -1.0 <= given <= 1.0:
            raise BadQuery(f"threshold is {given}; expected a cosine from -1 to 1")
        return Threshold(given, "given", "copies" if is_own and config.neardups.space == "copies" else "model")
    if not is_own:
        return Threshold(embed.describe(space.model).threshold, "default")
    value, origin = threshold_of(workspace, config)
    return Threshold(value, origin, "copies" if config.neardups.space == "copies" else "model")


def same_bytes(columns: Columns, digest: str | None) -> IntArray:
    """Present rows whose file, or frame, has this digest, ascending."""
    import pyarrow.compute as pc

    if digest is None or not columns.has("digest"):
        return np.empty(0, np.int64)
    same = pc.fill_null(pc.equal(columns.column("digest"), digest), False).to_numpy()
    return np.flatnonzero(np.asarray(same, np.bool_) & columns.present())


def nearest_of(
    workspace: Workspace, space: Space, vector: FloatArray, phash: int, left_out: IntArray, how: Threshold, n: int
) -> tuple[IntArray, FloatArray]:
    """Positions of the images most similar to a vector, and how similar they are in the metric that decides.

    In the metric for copies the 256 nearest by plain cosine are judged: it moves copies closer together, and they are
    near to begin with.
    """
    from curator.pipeline.calibrating import hashes_of, stored_metric

    wanted = max(n, CANDIDATES) if how.metric == "copies" else n
    found: list[IntArray] = []
    near: list[FloatArray] = []
    for at, similarity in space.walk(Scorer(vector[None]), None, left_out):
        found.append(at)
        near.append(similarity)
        if sum(map(len, found)) >= wanted:
            break
    positions = np.concatenate([np.empty(0, np.int64), *found])[:wanted]
    similarity = np.concatenate([np.empty(0, np.float32), *near])[:wanted]
    if how.metric == "model" or len(positions) == 0:
        return positions[:n], similarity[:n]
    metric = stored_metric(workspace, space.name)
    if metric is None:
        raise StageMissing(f"no metric for copies in {workspace.path}; run `curator calibrate -w {workspace.path}`")
    hashes = np.append(hashes_of(workspace, space.rows[positions]), np.uint64(phash))
    moved = apply_metric(metric, np.concatenate([space.vectors[positions], vector[None]]), hashes)
    similarity = Scorer(moved[-1:]).exact(moved[:-1])
    order = np.lexsort((positions, -similarity))[:n]
    return positions[order], similarity[order]


def matches_of(
    columns: Columns, exact: IntArray, rows: IntArray, similarity: FloatArray, how: Threshold, k: int
) -> tuple[tuple[Match, ...], float]:
    """Matches, same bytes first, and the similarity from which images count as alike."""
    similar_from = max(2.0 * how.value - 1.0, -1.0)
    own = set(exact.tolist())
    near = [
        (row, value) for row, value in zip(rows.tolist(), similarity.tolist(), strict=True) if value >= similar_from
    ]
    known = dict(near)
    listed = [Match(row, "exact", known.get(row, 1.0), None) for row in exact.tolist()]
    listed += [
        Match(row, "near" if value >= how.value else "similar", value, None) for row, value in near if row not in own
    ]
    listed = listed[:k]
    kept: dict[int, int | None] = {}
    if columns.has("representative") and listed:
        taken = columns.take([match.row for match in listed], ["representative"])
        kept = {match.row: of["representative"] for match, of in zip(listed, taken, strict=True)}
    return tuple(replace(match, representative=kept.get(match.row)) for match in listed), similar_from
