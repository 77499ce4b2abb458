"""Triggers: a campaign's probe, saved, runs on every batch of new images; yield, precision and drift over time.

A run reads the vectors of new images alone. Images that came but are not embedded yet wait for the next run, and so
do all where a trigger cannot run: nothing is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curator import embed
from curator.catalog import Catalog
from curator.data import Embeddings, FloatArray, IntArray
from curator.errors import BadEmbeddings, BadQuery, Conflict, CuratorError
from curator.filters import parse_filter
from curator.mining.campaigns import _there, apart_of, find, seeds_of, subject_of, view_of
from curator.mining.drift import counts_of, edges_of, stability, stability_limit
from curator.mining.rates import precision
from curator.mining.retrieving import Apart, next_best
from curator.searching import Probe, Served, fit_probe
from curator.searching.combining import BACKGROUND
from curator.state import Decision, Document, State
from curator.state.names import checked
from curator.workspace import Workspace

KIND = "trigger"
QUOTA = 20
KEPT_RUNS = 500
FOLDS = 5
REACHED = 0.25  # share of positives unseen by the probe that a default threshold gives up
ORDINARY = 0.9  # and the share of ordinary images that it keeps out


def add_trigger(
    served: Served,
    state: State,
    name: str,
    *,
    campaign: str,
    mode: int,
    who: str,
    filter: Mapping[str, Any] | None = None,
    quota: int = QUOTA,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Save the probe of a campaign's mode to run on what comes in later.

    Args:
        filter: typed filter that a new image must pass too.
        quota: most images taken of one batch.
        threshold: least probability; none: what three quarters of the positives reach when the probe has not seen
            them, and at least what nine of ten ordinary images stay below.

    Raises:
        BadQuery: quota or threshold out of range.
        UnknownName: no such campaign or mode.
        Conflict: a trigger of that name is there.
    """
    name = checked(name, KIND)
    if not 1 <= quota <= 100_000 or (threshold is not None and not 0 <= threshold <= 1):
        raise BadQuery(f"quota {quota}, threshold {threshold}; expected 1 or more, and a probability from 0 to 1")
    if filter is not None:
        served.mask(parse_filter(dict(filter)))
    asked = find(state, campaign)
    space = served.space(asked.space)
    said = state.reviews(subject_of(campaign, mode))
    position = space.embeddings.positions_of
    rows = {
        "accept": [*seeds_of(asked.mode(mode), said), *(row for row, one in said.items() if one.value == "accept")],
        "discard": [row for row, one in said.items() if one.value == "discard"],
    }
    liked, disliked = (_there(position(np.unique(np.asarray(given, np.int64)))) for given in rows.values())
    vectors = view_of(served, asked.space).vectors
    background, ordinary = _samples(len(vectors), np.concatenate([liked, disliked]))
    probe = fit_probe(vectors[liked], vectors[disliked], vectors[background])
    usual = probe.probability(vectors[ordinary])
    if threshold is None:
        threshold = _threshold(vectors[liked], vectors[disliked], vectors[background], usual)
    edges = edges_of(usual)
    body = {
        "campaign": campaign, "mode": mode, "space": asked.space, "model": space.model,
        "model_stamp": _model_stamp(space.model), "weights": [float(value) for value in probe.weights],
        "bias": probe.bias, "threshold": round(threshold, 6), "filter": None if filter is None else dict(filter),
        "quota": quota, "spacing_s": asked.spacing_s, "same_from": apart_of(served, asked).same_from,
        "last_row": embedded_up_to(served.workspace, asked.space), "edges": edges.tolist(),
        "reference": counts_of(usual, edges), "runs": [], "created": time.time(),
    }  # fmt: skip
    return _told(state, state.put(KIND, name, body, who=who, version=0))


def triggers(state: State) -> list[dict[str, Any]]:
    """Every trigger with its runs and precision, by name, without its weights."""
    return [_told(state, document) for document in state.documents(KIND)]


def delete_trigger(state: State, name: str, *, who: str) -> None:
    """Take a trigger away; what it collected stays."""
    state.delete(KIND, name, who=who)


def run_triggers(served: Served, state: State, *, who: str) -> list[dict[str, Any]]:
    """Run every trigger on the images that came since it last ran; what it finds goes into a collection of its name.

    A trigger made with another model, whose filter names what is not there, or whose collection cannot have its name,
    does not run and says so; the images wait until it can. Nothing new: nothing is written.
    """
    runs = [run for document in state.documents(KIND) if (run := _run(served, state, document, who)) is not None]
    return [_run_json(run, state.reviews(review_subject(run["trigger"]))) for run in runs]


def review_subject(name: str) -> str:
    """Under what the reviews of a trigger's finds are kept."""
    return f"trigger/{name}"


def embedded_up_to(workspace: Workspace, space: str) -> int:
    """The last row such that it and all before have been through the model; -1 for none.

    Ready vectors come as one file over all rows: one that has none there will get none.
    """
    entries = workspace.entries(f"vectors/{space}")
    if any(entry.part is None for entry in entries):
        return workspace.n_rows - 1
    parts, last = {entry.part for entry in entries}, -1
    for entry in workspace.entries("samples"):
        if entry.part not in parts:
            break
        last = int(entry.meta["first"]) + entry.n - 1
    return last


def _run(served: Served, state: State, document: Document, who: str) -> dict[str, Any] | None:
    body = dict(document.body)
    run: dict[str, Any] = {
        "trigger": document.name, "at": time.time(), "first_row": body["last_row"] + 1, "last_row": served.n_rows - 1,
        "n_new": 0, "n_over": 0, "rows": [], "drift": None, "drift_limit": None, "has_drifted": False, "error": None,
    }  # fmt: skip
    if run["last_row"] <= body["last_row"]:
        return None
    try:
        _check(served, document.name, body)
        run["last_row"] = embedded_up_to(served.workspace, body["space"])
        if run["last_row"] <= body["last_row"]:
            return None
        taken = _taken(served, state, document.name, body, run["last_row"])
        if taken.get("rows"):
            key = f"trigger {document.name} {document.version} {run['first_row']} {run['last_row']}"
            state.decide("collect", rows=taken["rows"], subject=document.name, who=who, key=key)
        run |= taken
        body["last_row"] = run["last_row"]
    except CuratorError as error:  # of this trigger; the others run, and its images wait
        run["error"] = " ".join(str(error).split())
        if body["runs"] and body["runs"][-1]["error"] == run["error"]:
            return run  # written down already
    body["runs"] = [*body["runs"], run][-KEPT_RUNS:]
    try:
        state.put(KIND, document.name, body, who=who, version=document.version)
    except Conflict:  # another process ran it at the same time, and found the same
        return None
    return run


def _check(served: Served, name: str, body: Mapping[str, Any]) -> None:
    """Refuse to score with a probe of another space or model.

    Raises:
        BadEmbeddings: says which.
    """
    workspace = served.workspace
    if body["space"] not in workspace.names("vectors"):
        raise BadEmbeddings(f"trigger {name!r} was made in space {body['space']!r}, which is not there; make it again")
    meta = workspace.entries(f"vectors/{body['space']}")[-1].meta
    model, dim = str(meta["model"]), int(meta["dim"])
    if model != body["model"] or (dim and dim != len(body["weights"])):
        raise BadEmbeddings(f"trigger {name!r} was made with {body['model']!r}, the space has {model!r}; make it again")
    if _model_stamp(model) != body["model_stamp"]:
        raise BadEmbeddings(f"model {model!r} has other weights than when trigger {name!r} was made; make it again")


def _taken(served: Served, state: State, name: str, body: Mapping[str, Any], last: int) -> dict[str, Any]:
    """What the trigger finds among the new rows."""
    new = served.workspace.embeddings(body["space"], after=body["last_row"])
    is_asked = new.rows <= last
    if body["filter"] is not None:
        is_asked &= served.mask(parse_filter(body["filter"]))[new.rows]
    new = Embeddings(new.rows[is_asked], new.vectors[is_asked], new.space)
    if not len(new):
        return {}
    probe = Probe(np.asarray(body["weights"], np.float32), float(body["bias"]))
    scores = probe.probability(new.vectors)
    is_over = scores >= body["threshold"]
    picked = _spread(served.workspace, new, scores, is_over, _collected(state, name), body)
    now = counts_of(scores, body["edges"])
    drift, limit = (stability(body["reference"], now),
                    stability_limit(sum(body["reference"]), len(scores), len(now)))  # fmt: skip
    return {
        "n_new": len(new), "n_over": int(is_over.sum()), "rows": new.rows[picked].tolist(), "drift": round(drift, 4),
        "drift_limit": None if np.isinf(limit) else round(limit, 4), "has_drifted": drift > limit,
        "mean_score": round(float(scores.mean()), 4),
    }  # fmt: skip


def _spread(
    workspace: Workspace, new: Embeddings, scores: FloatArray, may: Any, collected: IntArray, body: Mapping[str, Any]
) -> IntArray:
    """Positions of the best, apart in look and time from each other, and in time from what was found before."""
    before = np.setdiff1d(collected, new.rows)[-10_000:]
    rows = np.concatenate([new.rows, before])
    video, time_s = _times(workspace, rows)
    n, m = len(new), len(before)
    apart = Apart(video, time_s, body["spacing_s"], body["same_from"])
    padded = np.concatenate([new.vectors, np.zeros((m, new.dim), np.float32)])
    return next_best(
        np.concatenate([scores.astype(np.float64), np.full(m, -np.inf)]), padded,
        np.concatenate([may, np.zeros(m, np.bool_)]), np.arange(n, n + m), body["quota"], apart,
    )  # fmt: skip


def _times(workspace: Workspace, rows: IntArray) -> tuple[IntArray, Any]:
    """Number of each row's video, -1 for a picture, and its time there."""
    with Catalog(workspace) as catalog:
        table = catalog.table(["row", "file", "kind", "time_s"], rows=rows)
    at = np.searchsorted(table["row"].to_numpy(), rows)
    files = table["file"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    is_frame = np.asarray(table["kind"].to_pylist(), object) == "frame"
    times = np.nan_to_num(np.asarray(table["time_s"].to_numpy(), np.float64))
    return np.where(is_frame, files, -1).astype(np.int64)[at], times[at]


def _collected(state: State, name: str) -> IntArray:
    there = {known for known, _ in state.collections()}
    return state.collection(name) if name in there else np.empty(0, np.int64)


def _samples(n: int, known: IntArray) -> tuple[IntArray, IntArray]:
    """Positions to learn from and others to compare with: scores of what a probe has seen are lower than they were."""
    drawn = np.random.default_rng(0).permutation(n)[: 2 * BACKGROUND + len(known)]
    drawn = drawn[~np.isin(drawn, known)]
    half = min(BACKGROUND, (len(drawn) + 1) // 2)
    ordinary = drawn[half : half + BACKGROUND]
    return np.sort(drawn[:half]), np.sort(ordinary if len(ordinary) else np.arange(n))


def _threshold(liked: FloatArray, disliked: FloatArray, background: FloatArray, usual: FloatArray) -> float:
    """The default, from positives that the probe has not seen."""
    floor = float(np.quantile(usual, ORDINARY))
    if len(liked) < 2:
        return floor
    n_folds = min(FOLDS, len(liked))
    fold = np.arange(len(liked)) * n_folds // len(liked)
    unseen = [
        fit_probe(liked[fold != at], disliked, background).probability(liked[fold == at]) for at in range(n_folds)
    ]
    return max(float(np.quantile(np.concatenate(unseen), REACHED)), floor)


def _model_stamp(model: str) -> str | None:
    """Digest of a model's weights; none for ready vectors, whose file changes whenever it grows."""
    return None if model.startswith("vectors:") else embed.fingerprint(model)


def _told(state: State, document: Document) -> dict[str, Any]:
    """A trigger as plain values, with its yield over time and the precision of what was reviewed, in all and by run."""
    hidden = ("weights", "edges", "reference", "model_stamp", "same_from")
    body = {key: value for key, value in document.body.items() if key not in hidden}
    said = state.reviews(review_subject(document.name))
    runs = [_run_json(run, said) for run in body["runs"]]
    return {**body, "runs": runs, "name": document.name, "version": document.version,
            "precision": _rate(list(said.values()))}  # fmt: skip


def _run_json(run: Mapping[str, Any], said: Mapping[int, Decision]) -> dict[str, Any]:
    return {**run, "precision": _rate([said[row] for row in run["rows"] if row in said])}


def _rate(said: Sequence[Decision]) -> dict[str, Any]:
    good, bad, left = (sum(one.value == verdict for one in said) for verdict in ("accept", "discard", "skip"))
    return precision(good, bad, left).to_json()
