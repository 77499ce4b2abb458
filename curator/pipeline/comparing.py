"""Two selections of one workspace side by side: what they share, what each covers, who wins on what.

Both are measured at their full size beside the same random draws, and at the size of the smaller one
beside each other, since a larger selection covers more whatever it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator import evidence
from curator.config import Config
from curator.data import Embeddings, IntArray, Progress, no_progress
from curator.errors import UsageError
from curator.evidence.measures import TOLD_APART
from curator.pipeline.evidencing import Judged, Scene, controls_of, judge, scene_of
from curator.pipeline.selecting import who_may_be_picked
from curator.selection import best_similarity
from curator.workspace import Workspace

N_DIFFERENCES = 12
SHARE_APART = 0.02  # of the picks: smaller differences between groups are not told


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the two."""

    name: str
    config: Config  # with the selection's own settings
    picked: IntArray  # positions, best first
    preselected: IntArray  # positions
    n_gone: int  # picks without a vector now

    def first(self, n: int) -> IntArray:
        return self.picked[:n]


def compare(
    workspace: Workspace, first: str, second: str, config: Config, *, progress: Progress = no_progress
) -> dict[str, Any]:
    """Compare two selections by name.

    Two selections with the same filter are measured on what passes it, others on all readable images.

    Returns:
        Plain values: "a" and "b" (name, n, method and the measures of each beside random draws of the
        same size), "overlap", "at" (the size both are compared at), "measures" (each with both values,
        how much random draws scatter, and who wins), "differences" (groups that one of them has more of,
        as shares of its picks) and "sentences".

    Raises:
        UnknownSelection: no selection of that name.
        UsageError: both names are the same, or the two were made in different embedding spaces.
    """
    if first == second:
        raise UsageError(f"both selections are {first!r}; name two, `curator info` lists them")
    embeddings, one, other = _sides(workspace, first, second, config)
    is_same = _filters(one.config) == _filters(other.config)
    scene = scene_of(workspace, embeddings, one.config, is_filtered=is_same)
    n_both = min(len(one.picked), len(other.picked))
    judged = [_judged(scene, side, len(side.picked), config, progress) for side in (one, other)]
    if len(one.picked) == len(other.picked):
        beside = judged
    else:
        beside = [_judged(scene, side, n_both, config, progress) for side in (one, other)]
    measures = _measures(scene, one, other, n_both, beside, config)
    overlap = _overlap(scene, one, other)
    body = {
        "a": _side_told(one, judged[0]), "b": _side_told(other, judged[1]), "overlap": overlap, "at": n_both,
        "n_random": config.report.n_random, "n_points": int(scene.inside.sum()), "measures": measures,
        "differences": _differences(one, other, judged),
    }  # fmt: skip
    return body | {"sentences": _sentences(one, other, body)}


def _sides(workspace: Workspace, first: str, second: str, config: Config) -> tuple[Embeddings, _Side, _Side]:
    chosen = [workspace.selection(name) for name in (first, second)]
    spaces = [str(selection.config["space"]) for selection in chosen]
    if spaces[0] != spaces[1]:
        raise UsageError(
            f"{first!r} was selected in space {spaces[0]!r} and {second!r} in {spaces[1]!r}; "
            "select again with the same embed.model to compare them"
        )
    embeddings = workspace.embeddings(spaces[0])
    sides = []
    for name, selection in zip((first, second), chosen, strict=True):
        own = config_of(config, selection.config["config"])
        positions = embeddings.positions_of(selection.rows)
        picked = positions[positions >= 0]
        preselected = who_may_be_picked(workspace, embeddings, own).preselected
        sides.append(_Side(name, own, picked, np.setdiff1d(preselected, picked), len(positions) - len(picked)))
    return embeddings, sides[0], sides[1]


def _filters(config: Config) -> tuple[Any, ...]:
    """What a selection leaves out before it looks at anything."""
    thresholds = [wish for wish in config.select.strategies if wish.kind == "threshold"]
    return config.select.where, config.select.filter, thresholds


def config_of(config: Config, stored: dict[str, Any]) -> Config:
    """The configuration with the settings a selection was made with."""
    return config.model_copy(update={"select": type(config.select).model_validate(stored)})


def _judged(scene: Scene, side: _Side, n: int, config: Config, progress: Progress) -> Judged:
    controls = controls_of(scene, n, side.preselected, config)
    return judge(scene, side.first(n), side.preselected, controls, config, progress=progress)


def _side_told(side: _Side, found: Judged) -> dict[str, Any]:
    return {
        "name": side.name, "n": len(side.picked), "method": side.config.select.method, "n_gone": side.n_gone,
        "n_preselected": len(side.preselected), "measures": [measure.to_dict() for measure in found.measures()],
    }  # fmt: skip


def _overlap(scene: Scene, one: _Side, other: _Side) -> dict[str, Any]:
    """How much the two share: the same images, and images that are near-duplicates of each other."""
    vectors, limit = scene.alike, scene.threshold - 1e-6
    same = len(np.intersect1d(one.picked, other.picked))
    near = [
        int((best_similarity(vectors[mine.picked], vectors[theirs.picked]) >= limit).sum())
        for mine, theirs in ((one, other), (other, one))
    ]
    union = len(one.picked) + len(other.picked) - same
    return {
        "same": same, "jaccard": same / union if union else 0.0, "a_near_b": near[0], "b_near_a": near[1],
        "threshold": scene.threshold,
    }  # fmt: skip


def _measures(
    scene: Scene, one: _Side, other: _Side, n: int, judged: list[Judged], config: Config
) -> list[dict[str, Any]]:
    """Every measure of both at the same size, and who wins it.

    A difference counts as clear where it is wider than that of two random draws nearly always is: half
    the width of the interval that holds 95 % of them, times the root of 2, for each of the two scatters;
    accuracies are compared on the same test points.
    """
    theirs = {measure.name: measure for measure in judged[1].measures()}
    out: list[dict[str, Any]] = []
    for a in judged[0].measures():
        b = theirs.get(a.name)
        if b is None or a.gap_low is not None:  # accuracies are compared directly, below
            continue
        spread = max((m.random_high - m.random_low) / math.sqrt(2) for m in (a, b))
        gap = a.selected - b.selected
        winner = "tie" if abs(gap) <= TOLD_APART else "a" if gap > 0 else "b"
        out.append(_told(a.name, a.selected, b.selected, (a.random_mean, b.random_mean), winner, abs(gap) > spread))
        out[-1] |= {"spread": spread, "is_share": a.is_share}
    if scene.classes is None:
        return out
    found = evidence.versus(
        scene.embeddings.vectors, scene.classes, one.first(n), other.first(n), tests=scene.kept & scene.inside,
        threshold=scene.threshold, alike=scene.alike, rng=np.random.default_rng(config.seed),
        preselected=(one.preselected, other.preselected),
    )  # fmt: skip
    for m in found:
        winner = {1: "a", 0: "tie", -1: "b"}[m.standing]
        out.append(_told(m.name, m.selected, m.random_mean, (None, None), winner, m.standing != 0))
        out[-1] |= {"gap_low": m.gap_low, "gap_high": m.gap_high, "is_share": True}
    return out


def _told(
    name: str, a: float, b: float, random: tuple[float | None, float | None], winner: str, is_clear: bool
) -> dict[str, Any]:
    return {
        "name": name, "a": a, "b": b, "random_a": random[0], "random_b": random[1], "winner": winner,
        "is_clear": is_clear and winner != "tie",
    }  # fmt: skip


def _differences(one: _Side, other: _Side, judged: list[Judged]) -> list[dict[str, Any]]:
    """Groups of which one has more, as shares of its picks, the largest differences first."""
    out: list[dict[str, Any]] = []
    by_column = {balance.column: balance for balance in judged[1].balances}
    for balance in judged[0].balances if by_column else ():  # none: there is no pick to have more of anything
        theirs = {name: picked for name, _, picked in by_column[balance.column].groups}
        for name, size, picked in balance.groups:
            a, b = picked / max(len(one.picked), 1), theirs[name] / max(len(other.picked), 1)
            if abs(a - b) >= SHARE_APART:
                out.append({"column": balance.column, "group": name, "pool": size, "a": a, "b": b})
    out.sort(key=lambda found: (-abs(found["a"] - found["b"]), found["column"], found["group"]))
    return out[:N_DIFFERENCES]


def _sentences(one: _Side, other: _Side, body: dict[str, Any]) -> list[str]:
    overlap, n = body["overlap"], body["at"]
    sizes = f"{one.name} ({len(one.picked):,}) and {other.name} ({len(other.picked):,})"
    out = [
        f"{sizes} share {overlap['same']:,} images; {overlap['a_near_b']:,} of {one.name} have a near-duplicate or "
        f"themselves in {other.name}, {overlap['b_near_a']:,} the other way round."
    ]
    at = "" if len(one.picked) == len(other.picked) else f" at the first {n:,} picks of each"
    for side, name, key in (("a", one.name, "b"), ("b", other.name, "a")):
        clear = [_numbers(m, side, key) for m in body["measures"] if m["winner"] == side and m["is_clear"]]
        if clear:
            out.append(f"{name} wins clearly{at} on {', '.join(clear)}.")
    slight = [m["name"] for m in body["measures"] if not m["is_clear"]]
    if slight:
        out.append(f"No clear difference{at} on {', '.join(slight)}.")
    if len(one.preselected) != len(other.preselected):
        larger, smaller = sorted((one, other), key=lambda side: -len(side.preselected))
        few = f"{len(smaller.preselected):,}" if len(smaller.preselected) else "none"
        there = len(larger.preselected)
        out.append(f"{there:,} labelled images count for {larger.name} beside its picks, {few} for {smaller.name}.")
    for found in body["differences"][:3]:
        more, less = (one.name, other.name) if found["a"] > found["b"] else (other.name, one.name)
        high, low = max(found["a"], found["b"]), min(found["a"], found["b"])
        group = f"{found['column']} {found['group']!r}"
        out.append(f"{more} has more of {group}: {high:.1%} of its picks, {less} {low:.1%}.")
    gone = [
        f"{side.n_gone:,} picks of {side.name} have no vector any more and were left out."
        for side in (one, other)
        if side.n_gone
    ]
    return out + gone


def _numbers(found: dict[str, Any], mine: str, theirs: str) -> str:
    show = "{:.1%}".format if found["is_share"] else "{:.3f}".format
    return f"{found['name']} ({show(found[mine])} vs {show(found[theirs])})"
