"""What was stored about selections, thresholds, pictures and splits, as the numbers of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from curator import report as page
from curator.pipeline.calibrating import stored
from curator.workspace import Workspace


def evidence(workspace: Workspace, selection: str) -> page.Evidence:
    """The evidence stored with a selection; what an older version did not store is left out."""
    meta = workspace.entries(f"selections/{selection}")[0].meta
    curve = meta["curve"]
    mean = _band(curve["mean_similarity"])
    assert mean is not None
    return page.Evidence(
        verdict=meta["verdict"],
        is_better=meta["is_better"],
        budgets=tuple(curve["budgets"]),
        mean_similarity=mean,
        n_points=curve["n_points"],
        n_random=curve["n_random"],
        worst_similarity=_band(curve["worst_similarity"]),
        share_within=_band(curve["share_within"]),
        threshold=curve["threshold"],
        measures=tuple(_compared(measure) for measure in meta.get("measures", ())),
        spreads=tuple(_spread(balance) for balance in meta.get("balance", ())),
        learning=_learning(meta.get("learning")),
        no_learning=meta.get("no_learning", ""),
        plan=_plan(meta.get("plan")),
        knee=meta.get("knee"),
    )


def _band(stored: dict[str, Any] | None) -> page.Band | None:
    if stored is None:
        return None
    return page.Band(**{field.name: tuple(stored[field.name]) for field in dataclasses.fields(page.Band)})


def _compared(stored: dict[str, Any]) -> page.Compared:
    return page.Compared(**{field.name: stored[field.name] for field in dataclasses.fields(page.Compared)})


def _spread(stored: dict[str, Any]) -> page.Spread:
    return page.Spread(
        column=stored["column"],
        n_groups=stored["n_groups"],
        n_hit=stored["n_hit"],
        hit=_compared(stored["hit"]),
        evenness=_compared(stored["evenness"]),
        likeness=_compared(stored["likeness"]),
        groups=tuple((name, size, picked) for name, size, picked in stored["groups"]),
    )


def _learning(stored: dict[str, Any] | None) -> page.LearningCurves | None:
    if stored is None:
        return None
    one_nn, probe = _band(stored["one_nn"]), _band(stored["probe"])
    assert one_nn is not None
    assert probe is not None
    return page.LearningCurves(tuple(stored["budgets"]), one_nn, probe, stored["n_classes"], stored["n_tests"])


def _plan(stored: dict[str, Any] | None) -> page.Coverage | None:
    if stored is None:
        return None
    budgets, path = stored["path"]
    return page.Coverage(
        threshold=stored["threshold"],
        n_points=stored["n_points"],
        n_picks=stored["n_picks"],
        reached=stored["reached"],
        needs=tuple((need["share"], need["picks"]) for need in stored["needs"]),
        budgets=tuple(budgets),
        path=tuple(path),
        sentence=stored["sentence"],
    )


# -- the threshold -----------------------------------------------------------------------------------------------


def threshold_origin(meta: Mapping[str, Any]) -> Literal["default", "given", "calibrated"]:
    """Where the threshold of stored near-duplicates came from."""
    told = str(meta.get("threshold_origin", "given"))
    return "default" if told == "default" else "given" if told == "given" else "calibrated"


def calibration(workspace: Workspace, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Stored calibrations of the space that near-duplicates were decided in, as fields of `Duplicates`."""
    body = stored(workspace, str(meta["space"]))
    told = body.get("metric")
    metric = page.CopiesMetric(told["form"], told["gain"], told["error"], told["kept"]) if told else None
    origin = str(meta.get("threshold_origin", "")) if threshold_origin(meta) == "calibrated" else ""
    return {
        "calibrations": tuple(_calibrated(result) for result in body.get("results", ())),
        "metric": metric,
        "origin": origin,
    }


def _calibrated(result: Mapping[str, Any]) -> page.Calibrated:
    def interval(key: str) -> tuple[float, float] | None:
        found = result.get(key)
        return None if found is None else (float(found[0]), float(found[1]))

    return page.Calibrated(
        name=result["name"],
        space=result["space"],
        threshold=result["threshold"],
        interval=interval("interval"),
        precision=result["precision"],
        precision_interval=interval("precision_interval"),
        recall=result["recall"],
        recall_interval=interval("recall_interval"),
        edits=tuple(result.get("same_edits", ())),
        n_answers=result["n"] if result["kind"] == "answers" else None,
    )


# -- pictures and splits -----------------------------------------------------------------------------------------


def issues(workspace: Workspace) -> page.Issues | None:
    """Counts of the issues stage with their rules; None where it has not run."""
    entries = workspace.entries("columns/issues")
    if not entries:
        return None
    meta = entries[0].meta
    kinds = [page.Issue(name, meta["rules"].get(name, ""), count) for name, count in meta["counts"].items()]
    kinds.sort(key=lambda issue: (-issue.count, issue.name))
    return page.Issues(meta["n"], meta["n_flagged"], tuple(kinds), tuple(meta["scores"].items()))


def splits(workspace: Workspace) -> tuple[page.Split, ...]:
    """Every stored split with its certificate, by name."""
    return tuple(_split(name, workspace.entries(f"splits/{name}")[0].meta) for name in workspace.names("splits"))


def _split(name: str, meta: Mapping[str, Any]) -> page.Split:
    proof, before = meta["certificate"], meta["against"]
    parts = [page.SplitPart(part, meta["sizes"][part], meta["shares"][part]) for part in meta["names"]]
    distance = [(one["column"], tuple(one["distance"][part] for part in meta["names"])) for one in meta["balance"]]
    return page.Split(
        name=name,
        parts=tuple(parts),
        n_groups=meta["n_groups"],
        largest_group=meta["largest_group"],
        grouped_by=tuple(meta["config"]["group_by"]),
        threshold=meta["threshold"],
        rows_across=proof["rows_across"],
        torn=tuple(proof["torn"].items()),
        holds=proof["holds"],
        distance=tuple(distance),
        unmet=tuple(meta["unmet"]),
        before=(before["column"], before["n_moved"], before["rows_across"]) if before else None,
    )
