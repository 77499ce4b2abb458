"""A campaign: from failing images to failure modes, to look-alikes worth labelling, with feedback after each round.

What a campaign is stands in a document, what people said about its images in
decisions, both in the workspace's state; everything else is computed from these,
so undo, restart and another machine give the same next batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from curator.data import BoolArray, Embeddings, IntArray
from curator.errors import BadQuery, DataError, UnknownName
from curator.filters import parse_filter
from curator.mining.modes import failure_modes, lifts
from curator.mining.ranking import HOWS, Feedback, How, Ranking, View, rank
from curator.mining.rates import Precision, precision, shared_budget
from curator.mining.retrieving import NOT_AGAIN, Apart, next_best
from curator.pipeline.tiling import load_tiles
from curator.searching import Served
from curator.snapshot import Entry, fingerprint
from curator.state import Decision, Document, State
from curator.state.names import checked
from curator.workspace import Workspace

KIND = "campaign"
VERDICTS = ("accept", "discard", "skip")
Verdict = Literal["accept", "discard", "skip"]
SELECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # as `select.name`
BUDGET = 200
SPACING_S = 1.0
MAX_FAILURES = 20_000
MAX_VALUES = 50  # distinct texts of a column up to which it can be typical of a mode
MAX_COLUMNS = 40
N_BINS = 4  # of a numeric column


@dataclass(frozen=True, slots=True)
class Campaign:
    """What was asked for."""

    name: str
    version: int
    rows: tuple[int, ...]  # the failing images
    modes: tuple[Mapping[str, Any], ...]  # {"id", "rows", "medoid", "cohesion", "typical"}
    space: str
    pool: Literal["unlabelled", "all", "filter"]
    filter: Mapping[str, Any] | None
    spacing_s: float
    budget: int
    how: How | None

    def mode(self, number: int) -> Mapping[str, Any]:
        """One of its modes.

        Raises:
            UnknownName: there is none of that number.
        """
        for mode in self.modes:
            if mode["id"] == number:
                return mode
        raise UnknownName(f"campaign {self.name!r} has no mode {number}; it has 1 to {len(self.modes)}")


def create(
    served: Served,
    state: State,
    name: str,
    *,
    who: str,
    rows: Sequence[int] = (),
    filter: Mapping[str, Any] | None = None,
    mistakes: tuple[str, str] | None = None,
    collection: str | None = None,
    pool: Mapping[str, Any] | None = None,
    n_modes: int | None = None,
    budget: int = BUDGET,
    spacing_s: float = SPACING_S,
    how: How | None = None,
    space: str | None = None,
) -> Campaign:
    """Start a campaign from failing images.

    Args:
        rows, filter, mistakes, collection: where the failures are: exactly one of rows, a typed filter, the
            columns (label, prediction) whose difference is a mistake, and a collection.
        pool: typed filter of who may be retrieved; none: the unlabelled images, or all where every one has a label.
        n_modes: how many failure modes; none: by silhouette.
        spacing_s: least seconds between retrieved frames of one video, and to a seed.
        how: way of ranking; none: chosen by cross-validation on the feedback.

    Raises:
        BadQuery: not exactly one source of failures, or a number out of range.
        DataError: no failing image has a vector.
        Conflict: a campaign of that name is there.
    """
    name = checked(name, KIND)
    if how is not None and how not in HOWS:
        raise BadQuery(f"how is {how!r}; expected one of {', '.join(HOWS)}")
    if not 1 <= budget <= 1_000_000 or not 0 <= spacing_s <= 1e6 or (n_modes is not None and not 1 <= n_modes <= 50):
        raise BadQuery(
            f"budget {budget}, spacing {spacing_s:g} s, {n_modes} modes; expected 1 or more, 0 or more, 1 to 50"
        )
    failing = _failing(served, state, rows, filter, mistakes, collection)
    known = served.space(space)
    at = known.embeddings.positions_of(failing)
    failing, at = failing[at >= 0], at[at >= 0]
    if not len(failing):
        raise DataError("no failing image has a vector; they are unreadable, or not embedded yet")
    if len(failing) > MAX_FAILURES:
        raise BadQuery(f"{len(failing)} failing images; at most {MAX_FAILURES} start a campaign, narrow the filter")
    if pool is not None:
        served.mask(parse_filter(dict(pool)))
    found = failure_modes(known.vectors[at], n_modes)
    values = _values(served)
    every = np.flatnonzero(served.columns.present()).tolist()
    modes = [
        {"id": number, "rows": failing[mode.members].tolist(), "medoid": int(failing[mode.members[0]]),
         "cohesion": round(mode.cohesion, 4),
         "typical": [_lift_json(lift) for lift in lifts(failing[mode.members].tolist(), every, values)]}
        for number, mode in enumerate(found, start=1)
    ]  # fmt: skip
    body = {
        "rows": failing.tolist(), "modes": modes, "space": known.name, "filter": None if pool is None else dict(pool),
        "pool": "filter" if pool is not None else _default_pool(served), "spacing_s": spacing_s, "budget": budget,
        "how": how, "created": time.time(),
    }  # fmt: skip
    return _campaign(state.put(KIND, name, body, who=who, version=0))


def find(state: State, name: str) -> Campaign:
    """A campaign; raises UnknownName."""
    return _campaign(state.document(KIND, name))


def campaigns(state: State) -> list[Campaign]:
    """Every campaign, by name."""
    return [_campaign(document) for document in state.documents(KIND)]


def delete(state: State, name: str, *, who: str) -> None:
    """Take a campaign away; what was said about its images stays in the log."""
    state.delete(KIND, name, who=who)


def subject_of(name: str, mode: int) -> str:
    """Under what the reviews of a mode are kept."""
    return f"{name}/{mode}"


def review(
    state: State, name: str, mode: int, rows: Sequence[int], verdict: str, *, who: str, note: str = "",
    key: str | None = None, expect: int | None = None,
) -> Decision:  # fmt: skip
    """Say of images whether they show the failure; undone like every decision.

    Raises:
        BadQuery: a verdict that is none.
        UnknownName: no such campaign or mode.
        Conflict: somebody said something about them after `expect`.
    """
    if verdict not in VERDICTS:
        raise BadQuery(f"verdict {verdict!r}; expected {', '.join(VERDICTS)}")
    find(state, name).mode(mode)
    return state.decide(
        "review", rows=rows, value=verdict, subject=subject_of(name, mode), note=note, who=who, key=key, expect=expect
    )


def next_batch(served: Served, state: State, name: str, mode: int, k: int = 20) -> dict[str, Any]:
    """The next images to review in a mode: most like what was accepted, apart in time and look, not seen before.

    Returns:
        Plain values: hits, each with its score, its similarity to the nearest positive and which that is; how
        they were ranked; the precision so far.
    """
    if not 1 <= k <= 1_000:
        raise BadQuery(f"k is {k}; expected 1 to 1000")
    campaign = find(state, name)
    chosen = campaign.mode(mode)
    space = served.space(campaign.space)
    said = {number["id"]: state.reviews(subject_of(name, number["id"])) for number in campaign.modes}
    own = said[mode]
    rows_of = {verdict: [row for row, one in own.items() if one.value == verdict] for verdict in VERDICTS}
    position = space.embeddings.positions_of
    seeds = _there(position(np.asarray(seeds_of(chosen, own), np.int64)))
    accepted = _there(position(np.asarray(rows_of["accept"], np.int64)))
    feedback = Feedback(np.concatenate([seeds, accepted]), _there(position(np.asarray(rows_of["discard"], np.int64))))
    view = view_of(served, campaign.space)
    ranking = rank(view, feedback, campaign.how)
    seen = [row for reviews in said.values() for row in reviews]
    known = _there(position(np.asarray([*campaign.rows, *seen], np.int64)))
    may = _pool(served, campaign)[space.rows]
    may[known] = False
    picked = next_best(ranking.scores, space.vectors, may, known, k, apart_of(served, campaign))
    near = space.vectors[picked] @ space.vectors[feedback.positives].T  # (k, p)
    best = near.argmax(axis=1) if len(picked) else np.empty(0, np.int64)
    rows = space.rows[picked].tolist()
    fields = served.columns.take(rows, ["uri"]) if rows else []
    hits = [
        {"row": row, "uri": of["uri"], "score": round(float(ranking.scores[at]), 4),
         "similarity": round(float(near[i, best[i]]), 4), "nearest": int(space.rows[feedback.positives[best[i]]])}
        for i, (row, of, at) in enumerate(zip(rows, fields, picked.tolist(), strict=True))
    ]  # fmt: skip
    return {
        "campaign": name, "mode": mode, "hits": hits, "ranking": _ranking_json(ranking, view, feedback),
        "precision": _precision(own).to_json(), "pool": int(may.sum()), "snapshot": served.sequence,
    }  # fmt: skip


def overview(served: Served, state: State, name: str) -> dict[str, Any]:
    """A campaign as it stands: modes with precision so far and their share of the budget, as plain values."""
    campaign = find(state, name)
    rates = [_precision(state.reviews(subject_of(name, mode["id"]))) for mode in campaign.modes]
    shares = shared_budget(
        campaign.budget,
        [(len(mode["rows"]), rate.accepted, rate.discarded) for mode, rate in zip(campaign.modes, rates, strict=True)],
    )
    modes = [
        {**mode, "size": len(mode["rows"]), "precision": rate.to_json(), "share": share,
         "left": max(0, share - rate.accepted - rate.discarded)}
        for mode, rate, share in zip(campaign.modes, rates, shares, strict=True)
    ]  # fmt: skip
    return {
        "name": name, "version": campaign.version, "n_failures": len(campaign.rows), "modes": modes,
        "space": campaign.space, "pool": campaign.pool, "filter": campaign.filter, "budget": campaign.budget,
        "spacing_s": campaign.spacing_s, "how": campaign.how, "accepted": sum(rate.accepted for rate in rates),
        "reviewed": sum(rate.accepted + rate.discarded for rate in rates),
        "has_tiles": view_has_tiles(served.workspace, campaign.space),
    }  # fmt: skip


def export(workspace: Workspace, state: State, name: str, selection: str) -> dict[str, Any]:
    """Write the accepted images of every mode as a selection, mode by mode in the order they were accepted.

    Raises:
        BadQuery: the selection's name cannot be one.
        DataError: nothing was accepted yet.
        WorkspaceLocked: another process is writing.
    """
    import pyarrow as pa

    if not SELECTION.fullmatch(selection):
        raise BadQuery(
            f"selection {selection[:70]!r}; expected letters, digits, '.', '_' and '-', a letter or digit first"
        )
    campaign = find(state, name)
    rows: list[int] = []
    reasons: list[str] = []
    gains: list[float] = []
    embeddings = workspace.embeddings(campaign.space)
    for mode in campaign.modes:
        said = state.reviews(subject_of(name, mode["id"]))
        accepted = [row for row, one in said.items() if one.value == "accept" and row not in rows]
        for row, (seed, near) in zip(accepted, _nearest_seeds(embeddings, accepted, seeds_of(mode, said)), strict=True):
            like = "" if seed is None else f": similarity {near:.2f} to seed {seed}"
            reasons.append(f"accepted by {said[row].who} in campaign {name!r}, mode {mode['id']}{like}")
            gains.append(near)
        rows += accepted
    if not rows:
        raise DataError(f"nothing was accepted in campaign {name!r} yet; review some images first")
    n = len(rows)
    table = pa.table({
        "rank": np.arange(1, n + 1, dtype=np.int64), "row": np.asarray(rows, np.int64),
        "gain": np.asarray(gains, np.float32), "reason": reasons,
    })  # fmt: skip
    stamp = fingerprint("campaign", name, rows, reasons)
    entry = Entry(
        f"selections/{selection}-{stamp}.parquet",
        stamp,
        n=n,
        meta={"config": {"method": "campaign", "campaign": name}, "budget": n},
    )
    with workspace.writing("campaign") as writer:
        writer.write_table(entry.file, table)
        writer.publish({f"selections/{selection}": [entry]})
    return {"selection": selection, "count": n, "campaign": name}


def seeds_of(mode: Mapping[str, Any], said: Mapping[int, Decision]) -> list[int]:
    """The failing rows of a mode without those discarded since; all of them where nothing would be left."""
    kept = [row for row in mode["rows"] if row not in said or said[row].value != "discard"]
    return kept or list(mode["rows"])


def _nearest_seeds(embeddings: Embeddings, rows: list[int], seeds: list[int]) -> list[tuple[int | None, float]]:
    """The seed most like each row and the cosine to it; none where a vector is gone."""
    at = embeddings.positions_of(np.asarray(rows, np.int64))
    to = embeddings.positions_of(np.asarray(seeds, np.int64))
    known = np.asarray(seeds, np.int64)[to >= 0]
    near = embeddings.vectors[at] @ embeddings.vectors[to[to >= 0]].T  # (r, s)
    if not len(known):
        return [(None, 0.0)] * len(rows)
    best = near.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
    return [(int(known[best[i]]), float(near[i, best[i]])) if at[i] >= 0 else (None, 0.0) for i in range(len(rows))]


def view_has_tiles(workspace: Workspace, space: str) -> bool:
    """Whether tiles of a space were made."""
    return any(entry.n for entry in workspace.entries(f"tiles/{space}.tiles"))


def view_of(served: Served, space: str) -> View:
    """Vectors, and tiles where they were made; made once for a snapshot."""

    def make() -> View:
        known = served.space(space)
        if not view_has_tiles(served.workspace, space):
            return View(known.vectors)
        tiles = load_tiles(served.workspace, space)
        at = known.embeddings.positions_of(tiles.image_rows)
        is_there = at >= 0
        if is_there.all():
            return View(known.vectors, tiles.vectors, at)
        return View(known.vectors, tiles.vectors[is_there], at[is_there])

    found: View = served.columns.derived("mining view", space, make)
    return found


def _pool(served: Served, campaign: Campaign) -> BoolArray:
    """(n_rows,) who may be retrieved."""
    mask = served.columns.present().copy()
    if campaign.filter is not None:
        mask &= served.mask(parse_filter(dict(campaign.filter)))
    elif campaign.pool == "unlabelled":
        mask &= _unlabelled(served)
    return mask


def _unlabelled(served: Served) -> BoolArray:
    import pyarrow.compute as pc

    return np.asarray(pc.is_null(served.column("label")).to_numpy(), np.bool_)


def _default_pool(served: Served) -> str:
    return "unlabelled" if bool((_unlabelled(served) & served.columns.present()).any()) else "all"


def apart_of(served: Served, campaign: Campaign) -> Apart:
    """What keeps a batch apart: time within each video, and the threshold of near-duplicates."""

    def make() -> tuple[Any, Any]:
        served.columns.load(["file", "kind", "time_s"])
        files = served.column("file").dictionary_encode().combine_chunks()
        is_frame = np.asarray(served.column("kind").to_numpy(zero_copy_only=False) == "frame")
        video = np.where(is_frame, files.indices.to_numpy().astype(np.int64), -1)
        times = np.nan_to_num(np.asarray(served.column("time_s").to_numpy(), np.float64))
        return video, times

    video, times = served.columns.derived("mining times", "", make)
    rows = served.space(campaign.space).rows
    entries = served.workspace.entries("columns/neardup")
    meta = entries[0].meta if entries else {}
    is_own = meta.get("metric", meta.get("space")) == campaign.space
    same_from = float(meta["threshold"]) if meta and is_own else NOT_AGAIN
    return Apart(video[rows], times[rows], campaign.spacing_s, same_from)


def _failing(
    served: Served, state: State, rows: Sequence[int], filter: Mapping[str, Any] | None,
    mistakes: tuple[str, str] | None, collection: str | None,
) -> IntArray:  # fmt: skip
    given = [
        what
        for what, value in (("rows", rows), ("filter", filter), ("mistakes", mistakes), ("collection", collection))
        if value
    ]
    if len(given) != 1:
        raise BadQuery(
            f"failures from {' and '.join(given) or 'nowhere'}; give exactly one of rows, filter, mistakes, collection"
        )
    if rows:
        return np.unique([served.columns.check_row(int(row)) for row in rows]).astype(np.int64)
    if filter is not None and filter:
        return np.flatnonzero(served.mask(parse_filter(dict(filter))) & served.columns.present())
    if mistakes:
        return _mistakes(served, *mistakes)
    return np.unique(state.collection(str(collection)))


def _mistakes(served: Served, label: str, prediction: str) -> IntArray:
    """Rows whose prediction is not their label; rows that lack either are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    given, said = (served.column(name).cast(pa.string()) for name in (label, prediction))
    found = np.flatnonzero(pc.fill_null(pc.not_equal(given, said), False).to_numpy() & served.columns.present())
    if not len(found):
        raise DataError(f"column {prediction!r} never differs from {label!r} where both are known; there is no mistake")
    return found


def _values(served: Served) -> dict[str, Sequence[Any]]:
    """Columns that may be typical of a mode: texts with few values, and numbers as quarters of the pool."""
    import pyarrow as pa

    out: dict[str, Sequence[Any]] = {}
    left_out = {
        "row", "uri", "file", "offset", "digest", "phash", "file_digest", "x", "y", "representative", "modified",
        "tag_ids", "message", "status",
    }  # fmt: skip
    for name, column in list(served.columns.known().items())[:200]:
        if name in left_out or len(out) >= MAX_COLUMNS:
            continue
        values = served.column(name)
        if pa.types.is_string(values.type) or pa.types.is_boolean(values.type) or name in ("cluster", "label"):
            if len(values.unique()) <= MAX_VALUES:
                out[name] = values.to_pylist()
        elif column.type in ("DOUBLE", "FLOAT", "BIGINT", "INTEGER"):
            out[name] = _quarters(np.asarray(values.cast(pa.float64(), safe=False).to_numpy(), np.float64))
    return out


def _quarters(numbers: Any) -> list[str | None]:
    """Each number as the quarter of all that it lies in."""
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, N_BINS + 1))) if len(known) else np.empty(0)
    if len(edges) < 3:
        return [None] * len(numbers)
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    at = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(names) - 1)
    return [names[i] if np.isfinite(value) else None for i, value in zip(at.tolist(), numbers.tolist(), strict=True)]


def _precision(said: Mapping[int, Decision]) -> Precision:
    count = {verdict: sum(1 for one in said.values() if one.value == verdict) for verdict in VERDICTS}
    return precision(count["accept"], count["discard"], count["skip"])


def _ranking_json(ranking: Ranking, view: View, feedback: Feedback) -> dict[str, Any]:
    return {
        "how": ranking.how, "is_chosen": ranking.is_chosen, "uses_tiles": view.tiles is not None,
        "cross_validated": {way: round(value, 4) for way, value in ranking.precision.items()},
        "n_positives": len(feedback.positives), "n_negatives": len(feedback.negatives),
    }  # fmt: skip


def _lift_json(lift: Any) -> dict[str, Any]:
    return {
        "column": lift.column, "value": lift.value, "share": round(lift.share, 4),
        "pool_share": round(lift.pool_share, 4), "lift": round(lift.lift, 3),
    }  # fmt: skip


def _there(positions: IntArray) -> IntArray:
    return positions[positions >= 0]


def _campaign(document: Document) -> Campaign:
    body = document.body
    return Campaign(
        document.name, document.version, tuple(body["rows"]), tuple(body["modes"]), body["space"], body["pool"],
        body["filter"], float(body["spacing_s"]), int(body["budget"]), body["how"],
    )  # fmt: skip
