"""Graph cut: picks that are similar to everything, less what they have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadSelection
from curator.selection.greedy import REPORT_EVERY, settle
from curator.selection.picks import ROWS, Picks, blocks, check, open_positions, ordered, positions_of, weights_of
from curator.selection.quotas import Caps, Tally


def graph_cut(
    vectors: FloatArray,
    budget: int,
    *,
    redundancy: float = 1.0,
    balance_at: int | None = None,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
    progress: Progress = no_progress,
) -> Picks:
    """Order candidates by mean similarity to all points less what they share with the picks.

    With s = (1 + cosine) / 2, greedily maximises the sum over picks j of mean_i s_ij less
    redundancy / balance_at times the sum of s over pairs of picks: a graph cut (Iyer, Khargoankar,
    Bilmes and Asnani, "Submodular Combinatorial Information Measures", 2021). With redundancy 1
    the picks of the whole budget have about the mean of the points, as in kernel herding (Welling,
    2009). It is linear in the vectors and so sees nothing but their mean: use `facility_location`
    unless the mean is what matters. Ties go to the lowest position.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        redundancy: what similarity to the picks counts beside similarity to all points, >= 0; the smaller, the
            more all picks come from the middle.
        balance_at: picks at which the two weigh as `redundancy` says, >= 1. None: the budget and
            the preselected points, and a smaller budget is then not a prefix.
        preselected: positions that count as picked from the start and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        weights: (n,) >= 0, how much each point counts in the mean. None: 1 each.
        caps: most picks per group.

    Returns:
        Picks whose gain is what each added; never rising, below 0 where a pick takes more than it brings.

    Raises:
        BadSelection: candidates, preselected positions or weights that do not fit the vectors, a
            redundancy below 0, or a balance below 1.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    budget = min(budget, len(among))
    at = max(1, budget + len(given)) if balance_at is None else balance_at
    if not redundancy >= 0 or at < 1:
        raise BadSelection(
            f"graph cut with redundancy {redundancy} and balance at {at}; expected 0 or more, and 1 pick or more"
        )
    weight = weights_of(weights, len(vectors))
    score = _similarity_to_mean(vectors, among, weight)  # (c,) what each adds now
    cost = redundancy / at
    for position in given.tolist():
        score -= cost * _similarity(vectors, among, vectors[position])
    tally = Tally(caps, among)
    slots: list[int] = []
    gains: list[float] = []
    while len(slots) < budget:
        slot = _best_open(score, tally)
        if slot < 0:
            break
        slots.append(slot)
        gains.append(settle(float(score[slot])))
        tally.take(slot)
        score -= cost * _similarity(vectors, among, vectors[among[slot]])
        score[slot] = -np.inf
        if len(slots) % REPORT_EVERY == 0:
            progress("select", len(slots), budget)
    progress("select", len(slots), budget)
    return ordered(vectors, among[slots], np.minimum.accumulate(np.array(gains, np.float32)), preselected=given)


def _best_open(score: NDArray[np.float64], tally: Tally) -> int:
    """The highest score that may still be picked, the lowest of those that only rounding tells apart; -1: none."""
    while len(score):
        best = float(score.max())
        if best == -np.inf:
            return -1
        for slot in np.flatnonzero(score >= best - 1e-6 * max(abs(best), 1e-3)).tolist():
            if tally.is_open(slot):
                return int(slot)
            score[slot] = -np.inf
    return -1


def _similarity_to_mean(vectors: FloatArray, among: IntArray, weight: FloatArray) -> NDArray[np.float64]:
    total, mass = np.zeros(vectors.shape[1], np.float64), float(weight.sum(dtype=np.float64))
    for at in blocks(len(vectors), ROWS):
        total += weight[at].astype(np.float64) @ vectors[at].astype(np.float64)
    return _similarity(vectors, among, (total / max(mass, 1e-12)).astype(np.float32))


def _similarity(vectors: FloatArray, among: IntArray, to: FloatArray) -> NDArray[np.float64]:
    """(1 + cosine) / 2 of the candidates to one vector, (c,)."""
    if len(among) == len(vectors):
        return 0.5 + 0.5 * (vectors @ to).astype(np.float64)
    found = np.empty(len(among), np.float64)
    for at in blocks(len(among), 8 * ROWS):
        found[at] = vectors[among[at]] @ to
    return 0.5 + 0.5 * found
