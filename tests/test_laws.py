"""The laws that every answer keeps, over random combinations of what may be asked.

Each test names its law: validity, limits, quotas sum, prefix, permutation, append, cover, split. What a
single module promises beside them stands in its own tests, lazy = naive among it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curator import hashing, outliers, splits
from curator.calibration import fit_answers, fit_copies, histogram_of
from curator.data import BoolArray, FloatArray, IntArray
from curator.evidence import coverage, coverage_curve
from curator.evidence.budgets import covering, plan
from curator.index import IndexSpec, PairJoin, extend_graph, knn_graph, normalise
from curator.index.comparable import close_in_time, same_group
from curator.neardups import certify, cover, extend
from curator.selection import (
    KINDS,
    METHODS,
    PREFIX,
    Method,
    Outcome,
    Request,
    Spacing,
    Stop,
    Strategy,
    Target,
    caps_for,
    run,
)
from curator.selection.request import HAS_GAINS

NONE = np.zeros(0, np.int64)
ORDERED = ("representative", "diverse", "mixed", "dpp", "graph_cut", "coverage", "uncertainty", "strategies")
GOES_ON = tuple(method for method in ORDERED if method != "graph_cut")  # what is balanced there depends on the budget
few = settings(max_examples=14, deadline=None, derandomize=True)
some = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 100_000)


def cloud(rng: np.random.Generator, n: int, d: int, *, with_copies: bool = False) -> FloatArray:
    centres = rng.normal(size=(5, d))
    vectors = normalise((centres[rng.integers(5, size=n)] + 0.4 * rng.normal(size=(n, d))).astype(np.float32))
    if with_copies and n:
        vectors[rng.integers(n, size=n // 2)] = vectors[0]
    return vectors


def cosines(vectors: FloatArray) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    found: NDArray[np.float64] = wide @ wide.T
    return found


# -- selection --


def wishes(rng: np.random.Generator, vectors: FloatArray, *, ordered: bool) -> tuple[Strategy, ...]:
    """A few strategies; `ordered`: none whose worth of a point hangs on its place or on who else may be picked."""
    n, found = len(vectors), []
    kinds = [kind for kind in KINDS if not (ordered and kind in ("random", "typicality"))]
    for kind in rng.choice(kinds, size=int(rng.integers(1, 5)), replace=False).tolist():
        more: dict[str, Any] = {}
        if kind in ("weights", "uncertainty", "threshold"):
            more["values"] = np.where(rng.random(n) < 0.1, np.nan, rng.random(n)).astype(np.float32)
        if kind == "threshold":
            more["minimum"] = 0.3
        if kind == "similarity":
            more["queries"] = vectors[rng.integers(n, size=2)]
        if kind == "balance":
            more["groups"] = rng.integers(3, size=n).tolist()
        found.append(Strategy(kind, float(rng.choice([0.5, 1.0, 2.0])), **more))
    return tuple(found)


def asked(rng: np.random.Generator, method: Method, vectors: FloatArray, **fixed: Any) -> dict[str, Any]:
    """What a request may hold, most of it by chance; `fixed` stays as it is, and None leaves it out."""
    n = len(vectors)
    spacing = Spacing(
        rng.integers(-1, 3, n),
        np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 80, n) / 8),
        float(rng.choice([0.5, 2.0])),
    )
    quotas = ["equal", "proportional", {"a": 3, "b": 60, "nowhere": 2}, Target({"a": 0.5, "b": 0.25})]
    chance: dict[str, Any] = {
        "preselected": rng.integers(n, size=3),
        "candidates": rng.random(n) < rng.choice([0.0, 0.3, 0.9]),
        "cover": "all" if rng.random() < 0.5 else rng.random(n) < 0.6,
        "weights": (rng.random(n) * (rng.random(n) < 0.8)).astype(np.float32),
        "threshold": float(rng.choice([0.5, 0.9, 1.0])),
        "min_distance": float(rng.choice([0.01, 0.2])),
        "spacing": spacing,
        "quotas": quotas[int(rng.integers(len(quotas)))],
        "stop": Stop(coverage=0.9, threshold=0.8) if method not in HAS_GAINS or rng.random() < 0.5 else Stop(gain=0.2),
        "trim_share": float(rng.choice([0.0, 0.3])),
    }
    found = {name: value for name, value in chance.items() if rng.random() < 0.35}
    found |= {"method": method, "budget": int(rng.integers(0, n + 8)), "seed": int(rng.integers(9)), **fixed}
    if method == "uncertainty":
        found["scores"] = rng.permutation(n).astype(np.float32)
    if method == "strategies":
        found.setdefault("strategies", wishes(rng, vectors, ordered="trim_share" in fixed))
    if method in ("coverage", "strategies"):
        found["threshold"] = 0.8
    if method == "coverage" and "trim_share" in fixed:  # else whole numbers of points tie
        found["weights"] = rng.random(n).astype(np.float32)
    found = {name: value for name, value in found.items() if value is not None}
    if "quotas" in found:
        found["groups"] = [["a", "b", None, "c"][code] for code in rng.integers(4, size=n)]
    return found


def may_be_picked(n: int, request: Request) -> BoolArray:
    may = np.ones(n, np.bool_) if request.candidates is None else request.candidates.copy()
    may[NONE if request.preselected is None else request.preselected] = False
    for strategy in request.strategies:
        if strategy.kind == "threshold":
            may &= strategy.passes()
    return may


def closed_by_rules(vectors: FloatArray, request: Request, chosen: IntArray, slack: float) -> BoolArray:
    """(n,) who lies too near to one of `chosen`, by distance or in time; `slack` makes the rules that much milder."""
    n = len(vectors)
    closed = np.zeros(n, np.bool_)
    if request.min_distance:
        closed |= 1.0 - cosines(vectors)[:, chosen].max(axis=1, initial=-1.0) < request.min_distance - slack
    if request.spacing is not None:
        clips, times = request.spacing.clips, request.spacing.times
        apart = np.abs(times[:, None] - times[None, chosen])  # nan: no time, and free
        near = (clips[:, None] == clips[None, chosen]) & (clips[:, None] >= 0)
        closed |= (near & (apart < request.spacing.seconds - slack)).any(axis=1)
    return closed


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds, n=st.integers(1, 40))
@some
def test_validity_limits_and_quotas_hold_whatever_is_asked(method: Method, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 4, with_copies=bool(rng.random() < 0.3))
    request = Request(**asked(rng, method, vectors))
    outcome = run(vectors, request)
    order, may = outcome.picks.positions, may_be_picked(n, request)
    assert len(order) == len(set(order.tolist())) <= request.budget
    assert may[order].all()
    assert may[outcome.trimmed].all()
    assert not set(order) & set(outcome.trimmed)
    may[outcome.trimmed] = False
    if method in HAS_GAINS:
        gains = outcome.picks.gains.astype(np.float64)
        assert np.all(np.diff(gains) <= 1e-5 * np.abs(gains).max(initial=1.0)), "gains never rise"
    before = NONE if request.preselected is None else request.preselected
    for place, position in enumerate(order):
        assert not closed_by_rules(vectors, request, np.append(before, order[:place]), 2e-6)[position]
    is_full = np.zeros(n, np.bool_)
    if request.quotas is not None and request.groups is not None:
        caps, _ = caps_for(request.quotas, groups=request.groups, among=np.flatnonzero(may), budget=request.budget)
        taken = np.bincount(caps.codes[order], minlength=len(caps.most))
        assert np.all(taken <= caps.most)
        is_full = (taken >= caps.most)[caps.codes]
        if isinstance(request.quotas, str):
            assert caps.most.sum() == min(request.budget, may.sum()), "quotas sum"
    if len(order) < request.budget and not any(note.startswith("Stopped") for note in outcome.notes):
        assert outcome.unmet, "a budget that is not met is told"
        may[order] = False
        ruled_out = closed_by_rules(vectors, request, np.append(before, order), -2e-6)
        if method != "every_nth" or not ruled_out.any():  # it steps over those it meets, and does not come back
            assert not (may & ~is_full & ~ruled_out).any(), "nobody who might be picked is left out"
    check_owners(vectors, request, outcome, may_be_picked(n, request))


def check_owners(vectors: FloatArray, request: Request, outcome: Outcome, may: BoolArray) -> None:
    """Every point to be represented names its most similar pick, and the picks count them."""
    inside = np.ones(len(vectors), np.bool_)
    if not isinstance(request.cover, str):
        inside = request.cover
    elif request.cover == "candidates":
        inside = may.copy()
        inside[outcome.trimmed] = False
    owner, order = outcome.owner, outcome.picks.positions
    before = NONE if request.preselected is None else request.preselected
    chosen = np.append(before, order)
    assert np.all(owner[~inside] == -1)
    np.testing.assert_array_equal(outcome.picks.covers, np.bincount(owner[owner >= 0], minlength=len(order)))
    if not len(chosen) or not inside.any():
        return
    similarity = cosines(vectors)
    best = similarity[:, chosen].max(axis=1)
    owned = np.flatnonzero(owner >= 0)
    assert np.all(similarity[owned, order[owner[owned]]] >= best[owned] - 1e-5)
    of_given = np.flatnonzero(inside & (owner < 0))
    assert np.all(similarity[np.ix_(of_given, before)].max(axis=1, initial=-2.0) >= best[of_given] - 1e-5)
    if request.threshold is not None:
        assert outcome.covered == pytest.approx((best[inside] >= request.threshold - 1e-6).mean(), abs=1e-9)
    assert outcome.optimality is None or 0.0 <= outcome.optimality <= 1.0


@pytest.mark.parametrize("method", PREFIX)
@given(seed=seeds, n=st.integers(1, 40))
@few
def test_prefix_law(method: Method, seed: int, n: int) -> None:
    """A smaller budget gives the beginning of the larger one, whatever else is asked but quotas."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 4, with_copies=bool(rng.random() < 0.3))
    everything = asked(rng, method, vectors, quotas=None, trim_share=0.0)
    budget = int(rng.integers(0, everything["budget"] + 1))
    large, small = run(vectors, Request(**everything)), run(vectors, Request(**everything | {"budget": budget}))
    assert small.picks.positions.tolist() == large.picks.positions[:budget].tolist()


@pytest.mark.parametrize("method", ORDERED)
@given(seed=seeds, n=st.integers(1, 40))
@few
def test_permutation_law_of_selection(method: Method, seed: int, n: int) -> None:
    """The order of the points does not matter; where two gain the same, either may come first."""
    rng = np.random.default_rng(seed)
    vectors, moved = cloud(rng, n, 4), rng.permutation(n)
    plain = asked(rng, method, vectors, quotas=None, trim_share=0.0)
    if rng.random() < 0.4:
        plain |= {"quotas": {"a": 3, "b": 5}, "groups": [["a", "b", "c"][code] for code in rng.integers(3, size=n)]}
    other = dict(plain)
    if "preselected" in plain:
        other["preselected"] = np.argsort(moved)[plain["preselected"]]
    for name in ("candidates", "weights", "scores", "cover"):
        if isinstance(plain.get(name), np.ndarray):
            other[name] = plain[name][moved]
    if "groups" in plain:
        other["groups"] = [plain["groups"][at] for at in moved]
    if "spacing" in plain:
        spacing = plain["spacing"]
        other["spacing"] = Spacing(spacing.clips[moved], spacing.times[moved], spacing.seconds)
    if "strategies" in plain:
        other["strategies"] = tuple(
            dataclasses.replace(
                strategy,
                values=None if strategy.values is None else strategy.values[moved],
                groups=None if strategy.groups is None else [strategy.groups[at] for at in moved],
            )
            for strategy in plain["strategies"]
        )
    one, two = run(vectors, Request(**plain)).picks, run(vectors[moved], Request(**other)).picks
    order, back = one.positions.tolist(), moved[two.positions].tolist()
    parts = next((at for at, (left, right) in enumerate(zip(order, back, strict=False)) if left != right), None)
    if parts is None:
        assert len(order) == len(back)
    else:
        assert one.gains[parts] == pytest.approx(two.gains[parts], rel=2e-5, abs=2e-8), "a tie"


@pytest.mark.parametrize("method", GOES_ON)
@given(seed=seeds, n=st.integers(2, 40))
@few
def test_append_law_of_selection(method: Method, seed: int, n: int) -> None:
    """Going on from the first picks, given as preselected, gives the rest."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 4)
    everything = asked(rng, method, vectors, quotas=None, stop=None, trim_share=0.0)
    whole = run(vectors, Request(**everything)).picks.positions
    first = int(rng.integers(0, len(whole) + 1)) if len(whole) else 0
    given_first = np.append(everything.get("preselected", NONE), whole[:first])
    more = {"preselected": given_first, "budget": max(everything["budget"] - first, 0)}
    assert run(vectors, Request(**everything | more)).picks.positions.tolist() == whole[first:].tolist()


# -- near-duplicates --


def covering_request(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """What a cover may be asked, most of it by chance; scores and sharpness break every tie."""
    times = np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 40, n) / 8).astype(np.float32)
    chance: list[dict[str, Any]] = [
        {"groups": rng.integers(-1, 3, n)},
        {"forced": rng.random(n) < 0.2},
        {"times": times, "clips": rng.integers(3, size=n), "window_s": float(rng.choice([0.0, 0.5, 2.0]))},
    ]
    found = {name: value for more in chance if rng.random() < 0.4 for name, value in more.items()}
    return found | {
        "policy": ["coverage", "first", "sharpest"][int(rng.integers(3))],
        "method": ["auto", "exact", "approximate"][int(rng.integers(3))],
        "scores": rng.permutation(n).astype(np.float32),
        "sharpness": rng.permutation(n).astype(np.float32),
        "threads": 1,
    }


def of(positions: IntArray | slice, request: dict[str, Any]) -> dict[str, Any]:
    return {name: value[positions] if isinstance(value, np.ndarray) else value for name, value in request.items()}


@given(seed=seeds, n=st.integers(0, 50), threshold=st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_cover_validity_permutation_and_append_law(seed: int, n: int, threshold: float) -> None:
    """By hand: forced ones are kept, kept ones are apart, removed ones lie beside their nearest kept one."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 5, with_copies=bool(rng.random() < 0.4))
    request = covering_request(rng, n)
    groups, forced = request.get("groups"), request.get("forced", np.zeros(n, np.bool_))
    found = cover(vectors, knn_graph(vectors, 4) if n and rng.random() < 0.5 else None, threshold, **request)
    similarity = cosines(vectors)
    if groups is not None:
        similarity[groups[:, None] != groups] = -2.0
    kept, removed = np.flatnonzero(found.kept), np.flatnonzero(~found.kept)
    both_forced = forced[kept][:, None] & forced[kept]
    among = np.triu(similarity[np.ix_(kept, kept)] >= threshold + 2e-6, 1)
    assert found.kept[forced].all()
    assert not (among & ~both_forced).any()
    stated, nearest = similarity[removed, found.representative[removed]], similarity[np.ix_(removed, kept)]
    assert np.all(stated >= threshold - 3e-6)
    assert np.all(stated >= nearest.max(axis=1, initial=-2.0) - 3e-6)
    assert found.kept[found.representative].all()
    assert certify(vectors, found, groups=groups, threads=1).holds

    if request["policy"] != "first" and request["method"] != "approximate" and len(np.unique(vectors, axis=0)) == n:
        moved = rng.permutation(n)
        other = cover(vectors[moved], None, threshold, **of(moved, request))
        assert set(moved[other.kept]) == set(kept), "permutation law"

    n_old = int(rng.integers(0, n + 1))
    old = cover(vectors[:n_old], None, threshold, **of(slice(n_old), request))
    grown = extend(vectors, n_old, old, **request)
    np.testing.assert_array_equal(grown.kept[:n_old], old.kept)
    assert certify(vectors, grown, groups=groups, threads=1).holds
    if "times" not in request and request["method"] != "approximate":
        play = np.concatenate([np.flatnonzero(old.kept), np.arange(n_old, n)])
        union = cover(vectors[play], None, threshold, **of(play, request) | {"forced": (play < n_old) | forced[play]})
        np.testing.assert_array_equal(grown.kept[play], union.kept, "append law")


# -- the neighbour graph and the join --


@given(seed=seeds, n=st.integers(1, 40), k=st.integers(1, 45))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_graph_laws(seed: int, n: int, k: int) -> None:
    """Brute force; fewer neighbours are a prefix; moved points are moved neighbours; appending gives the union."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, int(rng.integers(1, 8)), with_copies=bool(rng.random() < 0.4))
    graph, similarity = knn_graph(vectors, k), cosines(vectors)
    there = graph.positions >= 0
    assert np.all(there.sum(axis=1) == min(k, n - 1))
    assert not (graph.positions == np.arange(n)[:, None]).any()
    row, column = np.nonzero(there)
    np.testing.assert_allclose(graph.similarity[there], similarity[row, graph.positions[row, column]], atol=2e-6)
    np.fill_diagonal(similarity, -3.0)
    best = -np.sort(-similarity, axis=1)[:, : min(k, n - 1)]
    np.testing.assert_allclose(graph.similarity[:, : best.shape[1]], best, atol=2e-6)
    assert np.all(graph.similarity[~there] == -1.0)
    fewer, moved, n_old = int(rng.integers(1, k + 1)), rng.permutation(n), int(rng.integers(1, n + 1))
    np.testing.assert_allclose(knn_graph(vectors, fewer).similarity, graph.similarity[:, :fewer], atol=2e-6)
    np.testing.assert_allclose(knn_graph(vectors[moved], k).similarity, graph.similarity[moved], atol=2e-6)
    grown = extend_graph(knn_graph(vectors[:n_old], k), vectors)
    np.testing.assert_allclose(grown.similarity, graph.similarity, atol=2e-6)


@given(seed=seeds, n=st.integers(0, 40), threshold=st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_join_laws(seed: int, n: int, threshold: float) -> None:
    """Every pair that may be compared and reaches the threshold, once, the earlier first; and no other."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 5, with_copies=bool(rng.random() < 0.4))
    codes, times = rng.integers(3, size=n), np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 40, n) / 8)
    comparable = [None, same_group(codes), close_in_time(times, 1.5, codes)][int(rng.integers(3))]
    similarity = cosines(vectors)
    if comparable is not None:
        similarity[codes[:, None] != codes] = -2.0
        if comparable.reach:
            apart = np.abs(times[:, None] - times)
            similarity[~(apart <= 1.5)] = -2.0
    join = PairJoin(vectors, threshold, comparable=comparable, threads=1)
    at = rng.permutation(n)[: int(rng.integers(0, n + 1))]
    pairs = join.within(at)
    reached = similarity[np.ix_(at, at)]
    wanted = {
        (int(at[i]), int(at[j])) for i, j in zip(*np.nonzero(np.triu(reached >= threshold - 1e-6, 1)), strict=True)
    }
    assert len(pairs) == len(wanted)
    assert set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == wanted
    left, right = at[: len(at) // 2], at[len(at) // 2 :]
    best = similarity[np.ix_(left, right)].max(axis=1, initial=-3.0)
    position, stated = join.nearest(left, right)
    np.testing.assert_array_equal(position >= 0, best >= threshold - 1e-6)
    np.testing.assert_allclose(stated[position >= 0], best[position >= 0], atol=3e-6)


# -- hashes --


@given(seed=seeds, n=st.integers(0, 40), radius=st.sampled_from([0, 1, 5, 40, 64]), with_flat=st.booleans())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_hash_laws(seed: int, n: int, radius: int, with_flat: bool) -> None:
    """Moved hashes are moved pairs; the pairs of two parts and those between them are the pairs of both."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, size=8, dtype=np.uint64)[rng.integers(8, size=n)]
    hashes ^= (rng.random(n) < 0.5).astype(np.uint64) << rng.integers(0, 63, n).astype(np.uint64)
    hashes[rng.random(n) < 0.1] = 0

    def pairs(of: Any, offset: IntArray, other: IntArray | None = None) -> set[tuple[int, int]]:
        to = offset if other is None else other
        both = zip(offset[of.left].tolist(), to[of.right].tolist(), strict=True)
        return {(min(pair), max(pair)) for pair in both}

    every, moved, middle = np.arange(n), rng.permutation(n), int(rng.integers(0, n + 1))
    whole = pairs(hashing.hamming_pairs(hashes, radius, with_flat=with_flat), every)
    assert pairs(hashing.hamming_pairs(hashes[moved], radius, with_flat=with_flat), moved) == whole
    old, new = every[:middle], every[middle:]
    parts = [pairs(hashing.hamming_pairs(hashes[part], radius, with_flat=with_flat), part) for part in (old, new)]
    across = hashing.hamming_between(hashes[old], hashes[new], radius, with_flat=with_flat)
    assert parts[0] | parts[1] | pairs(across, old, new) == whole
    forest = splits.Forest(n)
    for left, right in whole:
        forest.join(np.array([left]), np.array([right]))
    component, group = hashing.hamming_components(hashes, radius, with_flat=with_flat), forest.groups()
    np.testing.assert_array_equal(component[:, None] == component, group[:, None] == group)


# -- outliers, evidence, splits, calibration --


@given(seed=seeds, n=st.integers(1, 40))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_outlier_scores_move_with_the_points_and_stay_in_range(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, moved = cloud(rng, n, 5, with_copies=bool(rng.random() < 0.4)), rng.permutation(n)
    one, two = (
        outliers.find_outliers(points, knn_graph(points, 5), spec=IndexSpec()) for points in (vectors, vectors[moved])
    )
    np.testing.assert_allclose(one.score[moved], two.score, atol=3e-6)
    np.testing.assert_allclose(one.uniqueness[moved], two.uniqueness, atol=3e-6)
    known = ~np.isnan(one.score)
    assert known.all() == (n > 1)
    assert np.all((one.score[known] >= 0) & (one.score[known] <= 2))
    assert np.all((one.uniqueness[known] >= 0) & (one.uniqueness[known] <= 1))


@given(seed=seeds, n=st.integers(1, 40), threshold=st.sampled_from([0.5, 0.9, 1.0]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_measure_of_coverage_says_the_same_and_more_picks_never_cover_less(
    seed: int, n: int, threshold: float
) -> None:
    """A vector covers its copies at threshold 1, though their cosine in float32 may be 0.9999999."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 5, with_copies=bool(rng.random() < 0.6))
    order = rng.permutation(n)[: int(rng.integers(1, n + 1))]
    share = float((cosines(vectors)[:, order].max(axis=1) >= threshold - 1e-6).mean())
    every = np.ones(n, np.bool_)
    covers = covering(knn_graph(vectors, n), np.arange(n), threshold)
    planned = plan(vectors, order, covers, threshold=threshold, candidates=every)
    curve = coverage_curve(vectors, order, rng=rng, threshold=threshold, n_random=3)
    assert coverage(vectors, order, threshold=threshold).share_within == pytest.approx(share)
    assert planned.reached == pytest.approx(share)
    assert len(np.unique(np.concatenate([covers.of(int(at)) for at in order]))) == pytest.approx(share * n)
    assert planned.covered == pytest.approx(1.0)
    assert np.all(np.diff(planned.path) >= 0)
    assert curve.share_within is not None
    assert curve.share_within.selected[-1] == pytest.approx(share, abs=1e-6)
    for band in (curve.mean_similarity, curve.worst_similarity, curve.share_within):
        assert np.all(np.diff(band.selected) >= -1e-6)
        assert np.all(band.random_low <= band.random_high + 1e-6)


@given(seed=seeds, n=st.integers(1, 50), threshold=st.sampled_from([0.5, 0.9, 1.0]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_split_law(seed: int, n: int, threshold: float) -> None:
    """Everybody has a part, no group is torn, and no pair across two parts reaches the threshold."""
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, n, 5, with_copies=bool(rng.random() < 0.4))
    forest = splits.Forest(n)
    forest.join_equal(rng.integers(-1, 4 * n, n))
    splits.join_near(forest, vectors, threshold, threads=1)
    groups = np.unique(forest.groups(), return_inverse=True)[1]
    trait = splits.trait_of("label", [["x", "y"][: int(rng.integers(3))] for _ in range(n)])
    fixed = np.where(rng.random(n) < 0.2, rng.integers(3, size=n), -1) if rng.random() < 0.5 else None
    part = splits.assign(groups, [0.7, 0.2, 0.1], [trait], rng=np.random.default_rng(0), fixed=fixed)
    assert set(part.tolist()) <= {0, 1, 2}
    assert splits.torn_groups(groups, part) == 0
    assert not (cosines(vectors) >= threshold + 2e-6)[part[:, None] != part].any()


@given(seed=seeds)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_answers_in_another_order_give_the_same_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = cloud(rng, 60, 6)
    histogram = histogram_of(vectors)
    similarity = rng.uniform(0.2, 1.0, 40).astype(np.float32)
    same, moved = rng.random(40) < (similarity - 0.2) / 0.8, rng.permutation(40)
    same[:2] = [True, False]
    one, two = (
        fit_answers(s, y, histogram, rng=np.random.default_rng(0), n_bootstrap=20)
        for s, y in ((similarity, same), (similarity[moved], same[moved]))
    )
    assert one.threshold == pytest.approx(two.threshold, abs=2e-3)
    assert (one.precision, one.recall) == pytest.approx((two.precision, two.recall), abs=1e-2)
    for value, (low, high) in ((one.precision, one.precision_interval), (one.recall, one.recall_interval)):
        assert 0 <= low <= high <= 1
        assert 0 <= value <= 1
    copies = rng.uniform(0.9, 1.0, 50).astype(np.float32)
    fits = [fit_copies(histogram, {"edits": part}).threshold for part in (copies, copies[rng.permutation(50)])]
    assert fits[0] == fits[1]
