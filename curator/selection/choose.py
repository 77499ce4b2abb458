"""Make a selection: filter, set aside, cap, pick, stop, count.

Knows the order of the steps; each step is a function of its own module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.index import exact_search, knn_graph
from curator.selection import stopping
from curator.selection.ball import BallGain, ball_coverage
from curator.selection.bound import Optimality, facility_optimality, optimality
from curator.selection.compose import Scene, Strategy, compose, unbalanced
from curator.selection.controls import every_nth_picks, random_picks
from curator.selection.density import first_allowed, trim_outliers, typicality_picks
from curator.selection.facility import DENSE_UP_TO, facility_location
from curator.selection.graphcut import graph_cut
from curator.selection.hierarchy import hierarchical
from curator.selection.kcenter import k_center
from curator.selection.logdet import LogDetGain, log_det
from curator.selection.mixed import mixed
from curator.selection.picks import Picks, blocks, check, open_positions, ordered, positions_of
from curator.selection.quotas import Caps, caps_for, listed, name_of, only
from curator.selection.request import Outcome, Request, covered_by

GRAPH_K = 32  # neighbours in a graph made here; enough for a budget of 1 % (more gains little, costs memory)
LEFT_SHARE = 0.5  # of a graph's neighbours must still be there when some points are left out, or it is built anew
COUNT_ROWS = 16_384
FIRST_BUDGET, GROWTH = 256, 4  # picks made before a stop is looked for, and then so many times as many
ROUNDING = 1e-6  # of a distance or a similarity
PROOF_CELLS = 400_000_000  # similarities measured anew per look of a proof: 3 core-seconds at width 384


@dataclasses.dataclass(slots=True)
class _Job:
    """A request over some vectors, and what the steps need to hand on."""

    vectors: FloatArray
    request: Request
    given: IntArray  # preselected positions, increasing
    among: IntArray  # positions that may be picked
    covered: BoolArray  # (n,) who is to be represented
    caps: Caps | None  # quotas and rules
    graph: Neighbors | None
    notes: list[str]
    progress: Progress

    @property
    def may(self) -> BoolArray:
        """(n,) who may be picked."""
        mask = np.zeros(len(self.vectors), np.bool_)
        mask[self.among] = True
        return mask

    @property
    def counted(self) -> FloatArray:
        """(n,) how much each point counts in what was covered."""
        if self.request.weights is None:
            return self.covered.astype(np.float32)
        return np.where(self.covered, self.request.weights, np.float32(0.0)).astype(np.float32)

    @property
    def weights(self) -> FloatArray:
        """(n,) how much it counts, when picks are made, that a point is represented."""
        counted = self.counted
        if self.request.distinct is None:
            return counted
        once = np.where(self.request.distinct, counted, np.float32(0.0))
        return once if once.any() else counted  # where all of them were left out, their copies stand for them

    @property
    def is_large(self) -> bool:
        """Whether similarities of all candidates to all points are too many to hold."""
        return len(self.among) * int((self.weights > 0).sum()) > DENSE_UP_TO**2


def run(
    vectors: FloatArray, request: Request, *, graph: Neighbors | None = None, progress: Progress = no_progress
) -> Outcome:
    """Make the selection that `request` asks for; the same request gives the same selection.

    Without quotas a smaller budget gives a prefix, unless the larger one asked for so many that
    fewer outliers were set aside; not for every_nth, typicality and graph_cut, whose steps, clusters
    and balance depend on the budget.

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
    among, notes = _passing(request, among)
    trimmed = np.zeros(0, np.int64)
    if request.trimming > 0 and len(among):
        graph = knn_graph(vectors, GRAPH_K, progress=progress) if graph is None else graph
        trimmed = trim_outliers(graph, share=request.trimming, among=among, keep=request.budget)
        among = np.setdiff1d(among, trimmed)
    caps, unmet = _caps(vectors, request, given, among)
    covered = covered_by(request, among, len(vectors))
    job = _Job(vectors, request, given, among, covered, caps, graph, notes, progress)
    picks, missed = _pick_until_stop(job)
    balances = [strategy for strategy in request.strategies if strategy.kind == "balance" and strategy.strength > 0]
    missed += tuple(filter(None, (unbalanced(wish, picks.positions, among=among, given=given) for wish in balances)))
    owner, similarity, picks = _count(vectors, picks, given, covered)
    share = None if request.threshold is None else _share_within(similarity, covered, request)
    proof = _proof(job, picks)
    optimality_share, is_estimate = (None, False) if proof is None else (proof.share, proof.is_sampled)
    return Outcome(picks, trimmed, owner, (*missed, *unmet), tuple(notes), optimality_share, is_estimate, share)


def _passing(request: Request, among: IntArray) -> tuple[IntArray, list[str]]:
    """Who passes the thresholds, which come before everything else, and a sentence on each."""
    notes = []
    for strategy in request.strategies:
        if strategy.kind == "threshold":
            left = among[strategy.passes()[among]]
            notes.append(f"Threshold on {strategy.name or 'values'}: {len(left):,} of {len(among):,} pass.")
            among = left
    return among, notes + [_unvalued(s, among) for s in request.strategies if _unvalued(s, among)]


def _unvalued(strategy: Strategy, among: IntArray) -> str:
    """The sentence on candidates without a number to weigh."""
    if strategy.kind not in ("weights", "uncertainty") or strategy.values is None:
        return ""
    n_missing = int(np.isnan(strategy.values[among]).sum())
    if not n_missing:
        return ""
    return f"{n_missing:,} of {len(among):,} candidates have no {strategy.name or strategy.kind}; they count least."


def _caps(
    vectors: FloatArray, request: Request, given: IntArray, among: IntArray
) -> tuple[Caps | None, tuple[str, ...]]:
    """Quotas and rules as caps; None where there is neither."""
    rules = request.rules(vectors, given)
    if request.quotas is None or request.groups is None:
        return (only(rules, len(vectors)) if rules else None), ()
    caps, unmet = caps_for(request.quotas, groups=request.groups, among=among, budget=request.budget)
    return dataclasses.replace(caps, rules=rules), unmet


def _pick(job: _Job, budget: int) -> Picks:
    """Run the method over those who may be picked."""
    request, vectors = job.request, job.vectors
    common: dict[str, Any] = {"preselected": job.given, "candidates": job.may, "caps": job.caps}
    if request.method == "diverse":
        return _diverse(job, budget)
    if request.method == "random":
        return random_picks(vectors, budget, rng=np.random.default_rng(request.seed), **common)
    if request.method == "every_nth":
        picks = every_nth_picks(vectors, budget, **common)
        return picks if job.caps is None or not job.caps.rules else _allowed(job, picks.positions, budget)
    if request.method == "uncertainty" and request.scores is not None:
        return _highest(job, request.scores, budget)
    if request.method == "typicality":
        graph = _graph_among(job, job.may)
        return typicality_picks(vectors, budget, neighbors=graph, seed=request.seed, **common)
    if request.method == "strategies":
        return compose(_scene(job), request.strategies, budget, caps=job.caps, progress=job.progress)
    if request.method == "dpp":
        return log_det(vectors, budget, progress=job.progress, **common)
    if request.method == "hierarchical":
        return hierarchical(vectors, budget, seed=request.seed, progress=job.progress, **common)
    if request.method == "coverage" and request.threshold is not None:
        ball: dict[str, Any] = {"threshold": request.threshold, "weights": job.weights}
        return ball_coverage(vectors, budget, progress=job.progress, **ball, **common)
    if request.method == "graph_cut":
        how: dict[str, Any] = {} if request.redundancy is None else {"redundancy": request.redundancy}
        return graph_cut(vectors, budget, weights=job.weights, progress=job.progress, **how, **common)
    linked = _graph_among(job, job.may | (job.weights > 0)) if job.is_large else job.graph
    common |= {"neighbors": linked, "weights": job.weights, "progress": job.progress}
    pick = mixed if request.method == "mixed" else facility_location
    return pick(vectors, budget, dense_up_to=DENSE_UP_TO, **common)


def _diverse(job: _Job, budget: int) -> Picks:
    """k-center; the least distance between picks is then where it stops, and spacing in time needs a loop that asks."""
    request, caps = job.request, job.caps
    if request.spacing is not None and request.spacing.seconds > 0:
        return compose(_scene(job), [Strategy("diversity")], budget, caps=caps, progress=job.progress)
    quotas = None if caps is None or request.quotas is None else dataclasses.replace(caps, rules=())
    picks = k_center(job.vectors, budget, preselected=job.given, candidates=job.may, caps=quotas, progress=job.progress)
    near = np.flatnonzero(picks.nearest < request.min_distance - ROUNDING)  # the farthest is too near: so are all
    return stopping.cut(picks, int(near[0])) if len(near) else picks


def _allowed(job: _Job, order: IntArray, budget: int, scores: FloatArray | None = None) -> Picks:
    """The first of an ordering that quotas and rules let; gains are the scores, or 0."""
    picked = first_allowed(order, budget, caps=job.caps)
    gains = np.zeros(len(picked), np.float32) if scores is None else scores[picked]
    return ordered(job.vectors, picked, gains, preselected=job.given)


def _highest(job: _Job, scores: FloatArray, budget: int) -> Picks:
    """The highest scores first, ties to the lowest position; who has none comes last, with a gain of 0."""
    known = ~np.isnan(scores)
    n_missing = int((~known[job.among]).sum())
    if n_missing:
        job.notes.append(f"{n_missing:,} of {len(job.among):,} candidates have no score; they come last.")
    score = np.where(known, scores, -np.inf)[job.among]
    order = job.among[np.argsort(-score, kind="stable")]
    return _allowed(job, order, budget, np.where(known, scores, np.float32(0.0)))


def _scene(job: _Job) -> Scene:
    request = job.request
    kinds = {strategy.kind for strategy in request.strategies}
    graph = job.graph
    if "typicality" in kinds or (job.is_large and kinds & {"representative", "coverage"}):
        graph = _graph_among(job, job.may | (job.weights > 0))
    return Scene(
        job.vectors, job.among, job.given, weights=job.weights, graph=graph, threshold=request.threshold,
        seed=request.seed,
    )  # fmt: skip


def _graph_among(job: _Job, inside: BoolArray) -> Neighbors:
    """A graph that links the points inside to each other.

    A graph over all points may know little of a part of them: where near-duplicates were left out,
    the neighbours of a frame of a static scene were nearly all left out with them.
    """
    at, graph, vectors = np.flatnonzero(inside), job.graph, job.vectors
    if graph is not None and len(at):
        linked = graph.positions[at] >= 0
        left = linked & inside[graph.positions[at]]
        if left.sum() >= LEFT_SHARE * linked.sum():
            return graph
        job.notes.append(
            f"Of each point's {graph.k} neighbours {left.sum() / len(at):.0f} may be picked or are to be represented; "
            "the neighbours were searched again among those."
        )
    own = knn_graph(vectors[at], GRAPH_K if graph is None else graph.k, progress=job.progress)
    positions = np.full((len(vectors), own.k), -1, np.int64)
    similarity = np.full((len(vectors), own.k), -1.0, np.float32)
    positions[at] = np.where(own.positions >= 0, np.append(at, -1)[own.positions], -1)
    similarity[at] = own.similarity
    job.graph = Neighbors(positions, similarity, own.recall)
    return job.graph


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    """Where an ordering may end, and why."""

    n_picks: int
    reason: str  # "": it goes on
    share: float | None  # covered by so many picks, where coverage was asked


def _pick_until_stop(job: _Job) -> tuple[Picks, tuple[str, ...]]:
    """The picks up to where the request stops, and sentences on what was asked and not reached.

    Where a smaller budget gives a prefix, budgets grow until one is enough, so that a stop early in
    a large budget costs little.
    """
    request, most = job.request, min(job.request.budget, len(job.among))
    grows = request.stop is not None and request.keeps_prefix and request.method != "dpp"
    budget = min(FIRST_BUDGET, most) if grows else request.budget
    while True:
        picks = _pick(job, budget)
        end = _end(job, picks)
        if end.reason or budget >= most or len(picks) < budget:
            break
        budget = min(GROWTH * budget, most)
    short: tuple[str, ...] = ()
    if end.reason:
        job.notes.append(f"Stopped after {end.n_picks:,} picks, before the budget of {request.budget:,}: {end.reason}.")
        picks = stopping.cut(picks, end.n_picks)
    else:
        short = (*_shortfall(request, len(job.among), len(picks)), *_short_groups(job, picks))
    stop = request.stop
    if stop is None or stop.coverage is None or end.share is None or end.share >= stop.coverage - ROUNDING:
        return picks, short
    reached = (
        f"Coverage of {_percent(stop.coverage)} within similarity {stop.threshold:g} was asked and {len(picks):,} "
        f"picks reach {_percent(end.share)}."
    )
    return picks, (*short, reached)


def _end(job: _Job, picks: Picks) -> _End:
    """Where these picks may end."""
    stop, n, reason = job.request.stop, len(picks), ""
    if stop is None:
        return _End(n, "", None)
    if stop.gain is not None:
        low = stopping.by_gain(picks, stop.gain, distances=job.request.weighs_distance)
        if low < n:
            first = "second" if job.request.weighs_distance and np.isnan(picks.nearest[0]) else "first"
            n, reason = low, f"the next one would add less than {_percent(stop.gain)} of what the {first} did"
    if stop.coverage is None or stop.threshold is None:
        return _End(n, reason, None)
    at = np.flatnonzero(job.covered)
    rank = stopping.covering_rank(job.vectors, at, picks.positions, stop.threshold, given=job.given)
    share = stopping.share_covered(rank, len(picks), weights=job.counted[at])
    found = stopping.by_coverage(share, stop.coverage)
    if found is not None and found < n:
        they = "they and what is labelled already" if len(job.given) else "they"
        n, reason = found, f"{they} cover {_percent(share[found])} within similarity {stop.threshold:g}"
    return _End(n, reason, float(share[n]))


def _proof(job: _Job, picks: Picks) -> Optimality | None:
    """How near the picks are to the best possible value; None where no bound is known, or it is too dear.

    Of `mixed`, whose product has no bound, it is told how near they are to the best facility location.
    Limits between picks only lower the best there can be, so leaving them out keeps the proof right.
    """
    request, n_picks = job.request, len(picks)
    quotas = None if request.quotas is None else job.caps
    if n_picks == 0:
        return None
    n_points = int((job.weights > 0).sum())
    points = n_points if len(job.among) * n_points <= PROOF_CELLS else min(max(2_048, 8 * n_picks), n_points)
    if request.method in ("representative", "mixed") and len(job.among) * points <= PROOF_CELLS:
        return facility_optimality(
            job.vectors, picks.positions, preselected=job.given, candidates=job.may, weights=job.weights, caps=quotas,
            most_points=points,
        )  # fmt: skip
    objective: BallGain | LogDetGain
    if request.method == "coverage" and request.threshold is not None and len(job.vectors) ** 2 <= 25 * PROOF_CELLS:
        objective = BallGain(
            job.vectors, job.among, job.given, threshold=request.threshold, weights=job.weights, progress=job.progress
        )
    elif request.method == "dpp" and len(job.among) * n_picks * n_picks <= 25 * PROOF_CELLS:
        objective = LogDetGain(job.vectors, job.among, job.given, most=n_picks)
    else:
        return None
    slots = np.searchsorted(job.among, picks.positions)
    return optimality(objective, slots, caps=quotas, among=job.among)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _count(
    vectors: FloatArray, picks: Picks, given: IntArray, covered: BoolArray
) -> tuple[IntArray, FloatArray, Picks]:
    """Say which pick represents each point, exactly, how alike they are, and how many each pick does.

    A point that is as similar to a preselected point or an earlier pick is theirs.
    """
    owner = np.full(len(vectors), -1, np.int64)
    similarity = np.full(len(vectors), -1.0, np.float32)
    chosen = np.concatenate([given, picks.positions])
    at = np.flatnonzero(covered)
    if len(chosen):
        centres = vectors[chosen]
        for part in blocks(len(at), COUNT_ROWS):
            found, alike = exact_search(vectors[at[part]], centres, 1)
            owner[at[part]] = np.maximum(found[:, 0] - len(given), -1)
            similarity[at[part]] = alike[:, 0]
    covers = np.bincount(owner[owner >= 0], minlength=len(picks))
    return owner, similarity, dataclasses.replace(picks, covers=covers.astype(np.int64))


def _share_within(similarity: FloatArray, covered: BoolArray, request: Request) -> float:
    """Share of the points to be represented that lie within the threshold of a pick or preselected point."""
    if request.threshold is None or not covered.any():
        return 0.0
    return float((similarity[covered] >= request.threshold - ROUNDING).mean())


def _shortfall(request: Request, available: int, picked: int) -> tuple[str, ...]:
    """The sentence on a budget that was not met."""
    if picked >= request.budget:
        return ()
    asked = f"The budget is {request.budget:,}"
    if available == 0:
        return (f"{asked} and nothing can be picked.",)
    if picked == available:
        return (f"{asked} and {available:,} can be picked: all of them are, in order.",)
    limits = [*(["the quotas"] if request.quotas is not None else []), *_rule_words(request)]
    allow = "allows" if len(limits) == 1 and limits[0] != "the quotas" else "allow"
    return (f"{asked}, {available:,} can be picked, and {' and '.join(limits)} {allow} {picked:,} of them.",)


def _short_groups(job: _Job, picks: Picks) -> tuple[str, ...]:
    """The sentence on groups that limits between picks kept from their quota."""
    caps, groups = job.caps, job.request.groups
    if caps is None or not caps.rules or groups is None or job.request.quotas is None:
        return ()
    there = np.bincount(caps.codes[job.among], minlength=len(caps.most))
    taken = np.bincount(caps.codes[picks.positions], minlength=len(caps.most))
    quota = np.minimum(caps.most, there)
    if quota.sum() > job.request.budget:  # quotas that ask for more than the budget are told elsewhere
        return ()
    names = {int(code): name_of(key) for key, code in zip(groups, caps.codes.tolist(), strict=True)}
    if isinstance(job.request.quotas, Mapping):
        names[len(caps.most) - 1] = "the other groups"
    phrases = [f"{names[int(g)]} got {taken[g]:,} of {quota[g]:,}" for g in np.flatnonzero(taken < quota)]
    return (f"Limits between picks kept groups from their quota: {listed(phrases)}.",) if phrases else ()


def _rule_words(request: Request) -> list[str]:
    nothing = np.zeros((0, 1), np.float32)
    return [rule.words for rule in request.rules(nothing, np.zeros(0, np.int64))]
