"""Triggers: a campaign's probe, saved, runs on every batch of new images; yield, precision and drift over time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from curator.data import FloatArray
from curator.errors import BadEmbeddings, BadQuery
from curator.filters import parse_filter
from curator.mining.campaigns import _there, apart_of, find, subject_of, view_of
from curator.mining.rates import precision
from curator.mining.retrieving import next_best
from curator.searching import Probe, Served, fit_probe
from curator.searching.combining import BACKGROUND
from curator.state import Document, State
from curator.state.names import checked

KIND = "trigger"
QUOTA = 20
N_BINS = 10
KEPT_RUNS = 500
DRIFT = 0.25  # PSI above which scores are said to have drifted; the usual rule of thumb


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
        threshold: least probability; none: what three quarters of the positives reach.

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
    rows = [*asked.mode(mode)["rows"], *(row for row, one in said.items() if one.value == "accept")]
    liked = _there(position(np.asarray(rows, np.int64)))
    disliked = _there(position(np.asarray([row for row, one in said.items() if one.value == "discard"], np.int64)))
    vectors = view_of(served, asked.space).vectors
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(len(vectors), min(BACKGROUND, len(vectors)), replace=False))
    background = sample[~np.isin(sample, liked)]
    if not len(background) and not len(disliked):
        background = sample
    probe = fit_probe(vectors[liked], vectors[disliked], vectors[background])
    pool = probe.probability(vectors[sample])
    least = float(np.quantile(probe.probability(vectors[liked]), 0.25)) if threshold is None else threshold
    edges = np.unique(np.quantile(pool, np.linspace(0, 1, N_BINS + 1)))
    body = {
        "campaign": campaign, "mode": mode, "space": asked.space, "model": space.model,
        "weights": [float(value) for value in probe.weights], "bias": probe.bias, "threshold": round(least, 6),
        "filter": None if filter is None else dict(filter), "quota": quota, "spacing_s": asked.spacing_s,
        "last_row": served.n_rows - 1, "edges": edges.tolist(), "reference": _shares(pool, edges), "runs": [],
        "created": time.time(),
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

    A trigger made in another space or with another model is not run; its run says so. Nothing new: nothing is written.
    """
    return [run for document in state.documents(KIND) if (run := _run(served, state, document, who)) is not None]


def _run(served: Served, state: State, document: Document, who: str) -> dict[str, Any] | None:
    body = dict(document.body)
    last = served.n_rows - 1
    if last <= body["last_row"]:
        return None
    run: dict[str, Any] = {
        "trigger": document.name, "at": time.time(), "first_row": body["last_row"] + 1, "last_row": last, "n_new": 0,
        "n_over": 0, "rows": [], "drift": None, "has_drifted": False, "error": None,
    }  # fmt: skip
    try:
        run |= _taken(served, state, document.name, body)
    except BadEmbeddings as error:
        run["error"] = str(error)
    if run["rows"]:
        state.decide("collect", rows=run["rows"], subject=document.name, who=who,
                     key=f"trigger {document.name} {run['first_row']} {last}")  # fmt: skip
    body["last_row"] = last
    body["runs"] = [*body["runs"], run][-KEPT_RUNS:]
    state.put(KIND, document.name, body, who=who, version=document.version)
    return run


def _taken(served: Served, state: State, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the trigger finds among the new rows."""
    if body["space"] not in served.workspace.names("vectors"):
        raise BadEmbeddings(f"trigger {name!r} was made in space {body['space']!r}, which is not there; make it again")
    space = served.space(body["space"])
    if space.model != body["model"] or space.vectors.shape[1] != len(body["weights"]):
        raise BadEmbeddings(
            f"trigger {name!r} was made with {body['model']!r}, the space has {space.model!r}; make it again"
        )
    probe = Probe(np.asarray(body["weights"], np.float32), float(body["bias"]))
    new = np.flatnonzero(space.rows > body["last_row"])
    if body["filter"] is not None:
        new = new[served.mask(parse_filter(body["filter"]))[space.rows[new]]]
    if not len(new):
        return {}
    found = probe.probability(space.vectors[new])
    scores = np.full(len(space.rows), -np.inf)
    scores[new] = found
    may = np.zeros(len(space.rows), np.bool_)
    may[new[found >= body["threshold"]]] = True
    campaign = find(state, body["campaign"])
    picked = next_best(scores, space.vectors, may, np.empty(0, np.int64), body["quota"], apart_of(served, campaign))
    drift = _psi(body["reference"], _shares(found, np.asarray(body["edges"])))
    return {
        "n_new": len(new), "n_over": int(may.sum()), "rows": space.rows[picked].tolist(), "drift": round(drift, 4),
        "has_drifted": drift > DRIFT, "mean_score": round(float(found.mean()), 4),
    }  # fmt: skip


def _shares(scores: FloatArray, edges: Any) -> list[float]:
    """Share of scores in each bin between the edges; what lies outside is in the first or last."""
    if len(edges) < 3:
        return [1.0]
    at = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    shares: list[float] = (np.bincount(at, minlength=len(edges) - 1) / len(scores)).tolist()
    return shares


def _psi(before: list[float], now: list[float]) -> float:
    """Population stability index of two distributions over the same bins: sum of (p - q) log(p / q), 0 when alike."""
    p, q = (np.maximum(np.asarray(shares), 1e-4) for shares in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def _told(state: State, document: Document) -> dict[str, Any]:
    """A trigger as plain values, with its yield over time and the precision of what was reviewed."""
    body = {key: value for key, value in document.body.items() if key not in ("weights", "edges", "reference")}
    said = state.reviews(f"trigger/{document.name}")
    count = {
        verdict: sum(1 for one in said.values() if one.value == verdict) for verdict in ("accept", "discard", "skip")
    }
    rate = precision(count["accept"], count["discard"], count["skip"])
    return {**body, "name": document.name, "version": document.version, "precision": rate.to_json()}
