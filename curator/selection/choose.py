"""Make a selection: set aside, cap, pick, count.

Knows the order of the steps; each step is a function of its own module.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.index import exact_search, knn_graph
from curator.selection.controls import every_nth_picks, random_picks
from curator.selection.density import trim_outliers, typicality_picks
from curator.selection.facility import DENSE_UP_TO, facility_location
from curator.selection.kcenter import k_center
from curator.selection.picks import Picks, blocks, check, open_positions, positions_of
from curator.selection.quotas import Caps, caps_for
from curator.selection.request import Outcome, Request, covered_by

GRAPH_K = 32  # neighbours in a graph made here; enough for a budget of 1 % (more gains little, costs memory)
LEFT_SHARE = 0.5  # of a graph's neighbours must still be there when some points are left out, or it is built anew
COUNT_ROWS = 16_384


def run(
    vectors: FloatArray, request: Request, *, graph: Neighbors | None = None, progress: Progress = no_progress
) -> Outcome:
    """Make the selection that `request` asks for; the same request gives the same selection.

    For representative, diverse and random without quotas, a smaller budget gives a prefix, unless
    the larger one asked for so many that fewer outliers were set aside.

    Args:
        vectors: (n, d) unit vectors.
        graph: neighbours over the same n points; built here where it is needed and None.
        progress: called with the stage "select".

    Raises:
        BadEmbeddings: vectors that are not (n, d).
        BadSelection: parts of the request that do not fit the vectors or each other.
    """
    check(vectors, preselected=request.preselected, candidates=request.candidates)
    request.check_against(len(vectors))
    given = np.unique(positions_of(request.preselected))
    among = open_positions(len(vectors), preselected=given, candidates=request.candidates)
    notes: list[str] = []
    trimmed = np.zeros(0, np.int64)
    if request.trimming > 0 and len(among):
        graph = knn_graph(vectors, GRAPH_K, progress=progress) if graph is None else graph
        trimmed = trim_outliers(graph, share=request.trimming, among=among, keep=request.budget)
        among = np.setdiff1d(among, trimmed)
    caps, unmet = _caps(request, among)
    covered = covered_by(request, among, len(vectors))
    picks = _pick(vectors, request, given, among, covered, caps=caps, graph=graph, notes=notes, progress=progress)
    owner, picks = _count(vectors, picks, given, covered)
    return Outcome(picks, trimmed, owner, (*_shortfall(request, len(among), len(picks)), *unmet), tuple(notes))


def _caps(request: Request, among: IntArray) -> tuple[Caps | None, tuple[str, ...]]:
    if request.quotas is None or request.groups is None:
        return None, ()
    return caps_for(request.quotas, groups=request.groups, among=among, budget=request.budget)


def _pick(
    vectors: FloatArray,
    request: Request,
    given: IntArray,
    among: IntArray,
    covered: BoolArray,
    *,
    caps: Caps | None,
    graph: Neighbors | None,
    notes: list[str],
    progress: Progress,
) -> Picks:
    """Run the method over those who may be picked."""
    n, budget = len(vectors), request.budget
    may = np.zeros(n, np.bool_)
    may[among] = True
    if request.method == "diverse":
        return k_center(vectors, budget, preselected=given, candidates=may, caps=caps, progress=progress)
    if request.method == "random":
        rng = np.random.default_rng(request.seed)
        return random_picks(vectors, budget, rng=rng, preselected=given, candidates=may, caps=caps)
    if request.method == "every_nth":
        return every_nth_picks(vectors, budget, preselected=given, candidates=may, caps=caps)
    if request.method == "typicality":
        graph = _graph_among(vectors, may, graph, notes=notes, progress=progress)
        return typicality_picks(
            vectors, budget, neighbors=graph, preselected=given, candidates=may, caps=caps, seed=request.seed
        )
    weights = covered.astype(np.float32) if request.weights is None else np.where(covered, request.weights, 0.0)
    if len(among) * int((weights > 0).sum()) > DENSE_UP_TO**2:
        graph = _graph_among(vectors, may | (weights > 0), graph, notes=notes, progress=progress)
    return facility_location(
        vectors, budget, neighbors=graph, preselected=given, candidates=may, weights=weights, caps=caps,
        dense_up_to=DENSE_UP_TO, progress=progress,
    )  # fmt: skip


def _graph_among(
    vectors: FloatArray, inside: BoolArray, graph: Neighbors | None, *, notes: list[str], progress: Progress
) -> Neighbors:
    """A graph that links the points inside to each other.

    A graph over all points may know little of a part of them: where near-duplicates were left out,
    the neighbours of a frame of a static scene were nearly all left out with them.
    """
    at = np.flatnonzero(inside)
    if graph is not None and len(at):
        linked = graph.positions[at] >= 0
        left = linked & inside[graph.positions[at]]
        if left.sum() >= LEFT_SHARE * linked.sum():
            return graph
        notes.append(
            f"Of each point's {graph.k} neighbours {left.sum() / len(at):.0f} may be picked or are to be represented; "
            "the neighbours were searched again among those."
        )
    own = knn_graph(vectors[at], GRAPH_K if graph is None else graph.k, progress=progress)
    positions = np.full((len(vectors), own.k), -1, np.int64)
    similarity = np.full((len(vectors), own.k), -1.0, np.float32)
    positions[at] = np.where(own.positions >= 0, np.append(at, -1)[own.positions], -1)
    similarity[at] = own.similarity
    return Neighbors(positions, similarity, own.recall)


def _count(vectors: FloatArray, picks: Picks, given: IntArray, covered: BoolArray) -> tuple[IntArray, Picks]:
    """Say which pick represents each point, exactly, and how many each one does.

    A point that is as similar to a preselected point or an earlier pick is theirs.
    """
    owner = np.full(len(vectors), -1, np.int64)
    chosen = np.concatenate([given, picks.positions])
    at = np.flatnonzero(covered)
    if len(chosen):
        centres = vectors[chosen]
        for part in blocks(len(at), COUNT_ROWS):
            found, _ = exact_search(vectors[at[part]], centres, 1)
            owner[at[part]] = np.maximum(found[:, 0] - len(given), -1)
    covers = np.bincount(owner[owner >= 0], minlength=len(picks))
    return owner, dataclasses.replace(picks, covers=covers.astype(np.int64))


def _shortfall(request: Request, available: int, picked: int) -> tuple[str, ...]:
    """The sentence on a budget that was not met."""
    if picked >= request.budget:
        return ()
    asked = f"The budget is {request.budget:,}"
    if available == 0:
        return (f"{asked} and nothing can be picked.",)
    if picked == available:
        return (f"{asked} and {available:,} can be picked: all of them are, in order.",)
    return (f"{asked}, {available:,} can be picked, and the quotas let {picked:,} of them.",)
