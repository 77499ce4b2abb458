"""Why each pick was picked, in words.

Knows what a pick brought; every number in a sentence was counted or measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from curator.data import IntArray
from curator.selection.quotas import encode, name_of
from curator.selection.request import Outcome, Request

SAME = 0.005  # a distance that reads 0.00


def describe(
    outcome: Outcome,
    request: Request,
    *,
    clusters: IntArray | None = None,
    cluster_names: Sequence[str] | None = None,
    unit: str = "images",
) -> tuple[str, ...]:
    """One reason per pick, such as "covers 412 frames of cluster 7 (street, bus); nearest already picked 0.41 away".

    Args:
        outcome: the selection.
        request: what was asked; the words follow its method.
        clusters: (n,) cluster of each point, -1 for none.
        cluster_names: name of each cluster; an empty one is left out.
        unit: what the points are, in the plural: images, frames.

    Returns:
        (m,) phrases without a full stop. Distances are cosine distances, 1 - similarity.
    """
    covers = _covers(outcome, clusters, cluster_names, unit)
    seats = _seats(outcome, request)
    reasons = []
    for rank, nearest in enumerate(outcome.picks.nearest.tolist()):
        away = "" if math.isnan(nearest) else _away(nearest, rank, request)
        parts = (*_method_says(outcome, request, rank, covers[rank], away, unit), seats[rank])
        reasons.append("; ".join(part for part in parts if part))
    return tuple(reasons)


def _method_says(outcome: Outcome, request: Request, rank: int, covers: str, away: str, unit: str) -> tuple[str, ...]:
    """What the method looked at comes first."""
    nearest, gain = float(outcome.picks.nearest[rank]), float(outcome.picks.gains[rank])
    is_start = math.isnan(nearest)
    if request.method in ("representative", "mixed"):  # the two factors of `mixed` are just these two numbers
        return (covers, "the first pick, most similar to the whole" if is_start else away)
    if request.method == "diverse":
        if is_start:
            return ("the most central one, to start from", covers)
        if nearest < SAME or _is_limited(request):  # a farther one may have had to stay out
            return (away, covers)
        return (f"{away}, none left is farther", covers)
    if request.method == "coverage":
        new = f"the first at cosine {request.threshold:.3g} or more to {gain:,.0f} {_one(unit) if gain == 1 else unit}"
        return (new if gain else "all near it are covered", covers, away)
    if request.method == "dpp":
        if is_start:
            return ("the most central one, to start from", covers)
        is_free = not (_is_limited(request) or request.min_distance)  # else a less explained one may have to stay out
        return (f"least explained by those {_before(rank, request)}" if is_free else "", covers, away)
    if request.method == "uncertainty":
        scores = np.zeros(0) if request.scores is None else request.scores[outcome.picks.positions[rank : rank + 1]]
        return ("no score" if np.isnan(scores).any() else f"uncertainty {gain:.2f}", covers, away)
    if request.method == "strategies":
        return (_product_says(outcome, request, rank), covers, away)
    return (OPENINGS[request.method], covers, away)


OPENINGS = {
    "graph_cut": "chosen for its likeness to all, less that to other picks",
    "typicality": "the most typical left in its region",
    "hierarchical": "its branch of the clusters was due",
    "random": "drawn at random",
    "every_nth": "taken at an even step",
}


def _is_limited(request: Request) -> bool:
    spaced = request.spacing is not None and request.spacing.seconds > 0
    return request.quotas is not None or spaced


def _product_says(outcome: Outcome, request: Request, rank: int) -> str:
    """The strategies that count, and what the pick scores beside the first one."""
    counted = [wish.label for wish in request.strategies if wish.kind != "threshold" and wish.strength]
    kinds, first = " x ".join(counted) or "in order", float(outcome.picks.gains[0])
    if rank == 0 or not first > 0:
        return kinds
    return f"{kinds}: {outcome.picks.gains[rank] / first:.2g} of the first pick's score"


def _away(nearest: float, rank: int, request: Request) -> str:
    """How far the pick is from what was there before it."""
    if nearest < SAME:
        return f"nearly the same as one already {_before(rank, request)}"
    return f"nearest already {_before(rank, request)} {nearest:.2f} away"


def _before(rank: int, request: Request) -> str:
    """What was there before a pick."""
    labelled = request.preselected is not None and len(request.preselected) > 0
    return "labelled" if labelled and rank == 0 else "labelled or picked" if labelled else "picked"


def _covers(outcome: Outcome, clusters: IntArray | None, cluster_names: Sequence[str] | None, unit: str) -> list[str]:
    """How many points each pick represents, and where they are."""
    covered = np.flatnonzero(outcome.owner >= 0)
    own = np.full(len(outcome.owner), -1, np.int64) if clusters is None else clusters
    home = own[outcome.picks.positions]  # (m,) cluster of each pick
    owner = outcome.owner[covered]
    at_home = np.bincount(owner[own[covered] == home[owner]], minlength=len(outcome))
    phrases = []
    for rank, n_covered in enumerate(outcome.picks.covers.tolist()):
        cluster = int(home[rank])
        place = f"cluster {cluster}{_name(cluster, cluster_names)}" if cluster >= 0 else "no cluster"
        n_home = int(at_home[rank])
        if n_covered == 0:
            phrases.append(f"covers no {_one(unit)} better than the others do")
        elif n_covered == 1:
            phrases.append("covers only itself" + (f", in {place}" if clusters is not None else ""))
        elif clusters is None:
            phrases.append(f"covers {n_covered:,} {unit}")
        elif n_home == n_covered:
            phrases.append(f"covers {n_covered:,} {unit} of {place}")
        else:
            phrases.append(f"covers {n_covered:,} {unit}, {n_home:,} of {place}")
    return phrases


def _seats(outcome: Outcome, request: Request) -> list[str]:
    """Which of its group's picks each one is, where there are quotas."""
    if request.quotas is None or request.groups is None:
        return [""] * len(outcome)
    keys, codes = encode(request.groups)
    codes = codes[outcome.picks.positions]  # (m,)
    total = np.bincount(codes, minlength=len(keys))
    taken = np.zeros(len(keys), np.int64)
    seats = []
    for code in codes.tolist():
        taken[code] += 1
        seats.append(f"pick {taken[code]:,} of {total[code]:,} for {name_of(keys[code])}")
    return seats


def _name(cluster: int, names: Sequence[str] | None) -> str:
    name = names[cluster] if names is not None and cluster < len(names) else ""
    return f" ({name})" if name else ""


def _one(unit: str) -> str:
    return unit[:-1] if unit.endswith("s") else unit
