"""The near-duplicate cover: against a naive one, and its guarantee whatever the graph."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import FloatArray, IntArray, Neighbors
from curator.errors import BadEmbeddings, UnknownColumn, UsageError
from curator.index import knn_graph, normalise
from curator.neardups import Certificate, Cover, certify, cover, covering, exact_groups, groups, priority
from tests.vectors import mixture, round_clumps, slow_video


def naive_coverage(vectors: FloatArray, threshold: float, sharpness: FloatArray | None = None) -> list[int]:
    """Positions in the order of keeping; recounts everything after each pick."""
    n = len(vectors)
    near = vectors.astype(np.float64) @ vectors.astype(np.float64).T >= threshold - 1e-6
    np.fill_diagonal(near, False)
    open_ = np.ones(n, bool)
    sharp = np.zeros(n) if sharpness is None else sharpness
    picked = []
    while open_.any():
        counts = (near & open_).sum(axis=1)
        best = max(np.flatnonzero(open_), key=lambda i: (counts[i], sharp[i], -i))
        picked.append(int(best))
        open_[best] = False
        open_ &= ~near[best]
    return picked


def naive_in_order(vectors: FloatArray, threshold: float, order: IntArray) -> list[int]:
    kept: list[int] = []
    for i in order.tolist():
        if not any(float(vectors[i].astype(np.float64) @ vectors[j]) >= threshold - 1e-6 for j in kept):
            kept.append(i)
    return sorted(kept)


def check(vectors: FloatArray, result: Cover) -> Certificate:
    """The certificate, which must hold, compared with brute force."""
    found = certify(vectors, result)
    assert found.holds, found.faults()
    kept = np.flatnonzero(result.kept)
    similarity = vectors.astype(np.float64) @ vectors[kept].astype(np.float64).T
    removed = ~result.kept
    if removed.any():
        best = similarity[removed].max(axis=1)
        assert best.min() >= result.threshold - 2e-6
        np.testing.assert_allclose(result.similarity[removed], best, atol=2e-6)
        assert found.worst_similarity == pytest.approx(best.min(), abs=2e-6)
        assert found.mean_similarity == pytest.approx(best.mean(), abs=2e-6)
    assert result.kept[result.representative].all()
    np.testing.assert_array_equal(result.representative[kept], kept)
    np.testing.assert_array_equal(result.similarity[kept], 1.0)
    return found


# --- order of keeping ---------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.95, 0.9, 0.7])
@pytest.mark.parametrize("make", [slow_video, round_clumps, mixture])
@pytest.mark.parametrize("has_graph", [True, False])
def test_coverage_keeps_what_naive_coverage_keeps(
    rng: np.random.Generator, make: Any, threshold: float, has_graph: bool
) -> None:
    vectors = make(rng, 300)
    sharpness = rng.integers(4, size=300).astype(np.float32)  # few values, so that ties reach the position
    graph = knn_graph(vectors, 12) if has_graph else None
    result = cover(vectors, graph, threshold, sharpness=sharpness)
    assert np.flatnonzero(result.kept).tolist() == sorted(naive_coverage(vectors, threshold, sharpness))
    check(vectors, result)


def test_coverage_keeps_fewer_than_first_come_on_slow_video(rng: np.random.Generator) -> None:
    vectors = slow_video(rng, 1_000, 64, adjacent=0.995)
    first, most = (cover(vectors, None, 0.95, policy=policy).kept.sum() for policy in ("first", "coverage"))
    assert most < first < 200


def test_a_slow_video_leaves_no_orphan_where_other_rules_leave_a_third(rng: np.random.Generator) -> None:
    vectors = slow_video(rng, 1_000, 64, adjacent=0.995)
    similarity = vectors @ vectors.T
    semdedup_kept = ~(np.triu(similarity, 1) > 0.95).any(axis=0)  # removed when near any earlier one, kept or not
    best = similarity[:, semdedup_kept].max(axis=1)
    assert (best[~semdedup_kept] < 0.95).mean() > 0.25
    assert check(vectors, cover(vectors, knn_graph(vectors, 16), 0.95)).orphans == 0


@pytest.mark.parametrize("policy", ["sharpest", "max:score"])
@pytest.mark.parametrize("block", [2_048, 23])
def test_a_policy_with_scores_keeps_the_best_first(
    rng: np.random.Generator, policy: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covering, "LEADER_BLOCK", block)
    vectors = mixture(rng, 240)
    scores = rng.integers(30, size=240).astype(np.float32)
    sharpness = rng.random(240).astype(np.float32)
    result = cover(vectors, None, 0.85, policy=policy, scores=scores, sharpness=sharpness)
    order = np.lexsort((np.arange(240), -sharpness, -scores))
    assert np.flatnonzero(result.kept).tolist() == naive_in_order(vectors, 0.85, order)
    check(vectors, result)


def test_first_keeps_the_lowest_position(rng: np.random.Generator) -> None:
    vectors = mixture(rng, 200)
    result = cover(vectors, None, 0.85, policy="first")
    assert np.flatnonzero(result.kept).tolist() == naive_in_order(vectors, 0.85, np.arange(200))


def test_first_ignores_sharpness(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 5, n_clumps=5), 2, axis=0)
    result = cover(vectors, None, 0.99, policy="first", sharpness=np.arange(10, dtype=np.float32))
    assert np.flatnonzero(result.kept).tolist() == [0, 2, 4, 6, 8]


def test_a_score_that_is_not_a_number_comes_last(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 1), 3, axis=0)
    scores = np.array([np.nan, -5.0, np.nan], np.float32)
    assert cover(vectors, None, 0.99, policy="max:x", scores=scores).kept.tolist() == [False, True, False]


def test_sharper_wins_among_equally_covering(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 1), 4, axis=0)
    sharpness = np.array([1.0, 9.0, 9.0, 2.0], np.float32)
    assert cover(vectors, None, 0.99, sharpness=sharpness).kept.tolist() == [False, True, False, False]


# --- the guarantee, whatever the graph ----------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("max_pairs", [0, 10_000_000])
def test_groups_much_larger_than_k_are_still_covered_exactly(
    rng: np.random.Generator, k: int, max_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covering, "MAX_PAIRS", max_pairs)  # 0: nothing but the short graph may be used
    vectors = round_clumps(rng, 400, n_clumps=4, spread=0.2)  # groups of about 100
    result = cover(vectors, knn_graph(vectors, k), 0.9)
    check(vectors, result)
    assert result.kept.sum() <= len(naive_coverage(vectors, 0.9)) + 3


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_chain_is_covered_exactly_on_a_short_graph(
    rng: np.random.Generator, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covering, "MAX_PAIRS", 0)
    vectors = slow_video(rng, 500, adjacent=0.998)
    check(vectors, cover(vectors, knn_graph(vectors, k), 0.95))


@pytest.mark.parametrize("all_pairs_up_to", [0, 300_000])
def test_a_graph_that_lies_changes_nothing_about_the_guarantee(
    rng: np.random.Generator, all_pairs_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covering, "ALL_PAIRS_UP_TO", all_pairs_up_to)
    vectors = mixture(rng, 300)
    noise = Neighbors(rng.integers(300, size=(300, 5)), np.full((300, 5), 0.99, np.float32), recall=0.5)
    check(vectors, cover(vectors, noise, 0.9))


def test_an_inexact_graph_is_completed_where_that_is_affordable(rng: np.random.Generator) -> None:
    vectors = mixture(rng, 300)
    exact = knn_graph(vectors, 6)
    holed = replace(exact, positions=np.where(rng.random((300, 6)) < 0.5, -1, exact.positions), recall=0.5)
    np.testing.assert_array_equal(cover(vectors, holed, 0.9).kept, cover(vectors, None, 0.9).kept)


def test_a_thousand_equal_frames_keep_one(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covering, "MAX_PAIRS", 1_000)
    monkeypatch.setattr(covering, "LEADER_BLOCK", 128)
    vectors = np.repeat(round_clumps(rng, 1), 1_000, axis=0)
    result = cover(vectors, knn_graph(vectors, 8), 0.95)
    assert result.kept.sum() == 1
    check(vectors, result)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    n=st.integers(0, 40),
    dim=st.integers(2, 6),
    k=st.integers(1, 6),
    threshold=st.floats(-0.2, 1.0),
    policy=st.sampled_from(["coverage", "first", "sharpest"]),
    forced_share=st.sampled_from([0.0, 0.3, 1.0]),
    max_pairs=st.sampled_from([0, 20, 10_000_000]),
    recall=st.sampled_from([0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_certificate_of_any_cover_holds(
    n: int,
    dim: int,
    k: int,
    threshold: float,
    policy: str,
    forced_share: float,
    max_pairs: int,
    recall: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    vectors = normalise(rng.standard_normal((n, dim)).astype(np.float32))
    vectors = vectors[rng.integers(max(n, 1), size=n)] if n and seed % 2 else vectors  # with copies every other time
    graph = replace(knn_graph(vectors, k), recall=recall)
    forced = rng.random(n) < forced_share
    scores = rng.random(n).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covering, "MAX_PAIRS", max_pairs)
        result = cover(vectors, graph, threshold, policy=policy, scores=scores, forced=forced)
    found = certify(vectors, result)
    assert found.holds, found.faults()
    assert result.kept[forced].all()
    assert found.kept + found.removed == n


@settings(max_examples=30, deadline=None, derandomize=True)
@given(policy=st.sampled_from(["sharpest", "min:x"]), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_input_does_not_matter_where_scores_are_unique(policy: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, order = mixture(rng, 80), rng.permutation(80)
    scores = rng.permutation(80).astype(np.float32)
    kept = cover(vectors, knn_graph(vectors, 4), 0.85, policy=policy, scores=scores).kept
    shuffled = vectors[order]
    kept_shuffled = cover(shuffled, knn_graph(shuffled, 4), 0.85, policy=policy, scores=scores[order]).kept
    np.testing.assert_array_equal(kept_shuffled, kept[order])


def test_coverage_does_not_depend_on_the_order_where_sharpness_is_unique(rng: np.random.Generator) -> None:
    vectors, order = mixture(rng, 300), rng.permutation(300)
    sharpness = rng.permutation(300).astype(np.float32)
    kept = cover(vectors, None, 0.85, sharpness=sharpness).kept
    np.testing.assert_array_equal(cover(vectors[order], None, 0.85, sharpness=sharpness[order]).kept, kept[order])


def test_covering_what_is_kept_removes_nothing(rng: np.random.Generator) -> None:
    vectors = mixture(rng, 400)
    kept = vectors[cover(vectors, None, 0.85).kept]
    assert cover(kept, None, 0.85).kept.all()


# --- forced rows, copies, edge sizes ------------------------------------------------------------


@pytest.mark.parametrize("policy", ["coverage", "first"])
def test_forced_ones_are_kept_and_cover_others(rng: np.random.Generator, policy: str) -> None:
    vectors = np.repeat(round_clumps(rng, 3, n_clumps=3), 5, axis=0)  # three groups of five copies
    forced = np.zeros(15, np.bool_)
    forced[[3, 4, 12]] = True
    result = cover(vectors, None, 0.99, policy=policy, forced=forced)
    assert np.flatnonzero(result.kept).tolist() == [3, 4, 5, 12]
    found = check(vectors, result)
    assert (found.forced_pairs_above, found.kept_pairs_above) == (1, 0)


def test_copies_of_the_same_bytes_are_told_apart_from_near_duplicates(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 2, n_clumps=2), 3, axis=0)
    copies = exact_groups(["a", "a", "b", "c", "d", "c"])
    result = cover(vectors, None, 0.99, digest_groups=copies)
    assert result.kept.tolist() == [True, False, False, True, False, False]
    assert result.exact.tolist() == [False, True, False, False, False, True]
    found = check(vectors, result)
    assert (found.removed, found.exact, found.near) == (4, 2, 2)


def test_the_best_copy_of_the_same_bytes_is_kept(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 1), 3, axis=0)
    scores = np.array([0.0, 1.0, 0.0], np.float32)
    copies = exact_groups(["a", "a", "a"])
    assert cover(vectors, None, 1.0, policy="labelled", scores=scores, digest_groups=copies).kept.tolist() == [
        False,
        True,
        False,
    ]


def test_forced_copies_of_the_same_bytes_are_all_kept(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 1), 3, axis=0)
    forced = np.array([False, True, True])
    result = cover(vectors, None, 1.0, forced=forced, digest_groups=exact_groups(["a", "a", "a"]))
    assert result.kept.tolist() == [False, True, True]
    assert result.exact.tolist() == [True, False, False]


def test_copies_with_different_vectors_do_not_become_orphans(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 4, n_clumps=4)  # all far apart, yet the digests say two are the same file
    result = cover(vectors, None, 0.99, digest_groups=exact_groups(["a", "a", "b", None]))
    assert result.kept.all()
    assert not result.exact.any()
    check(vectors, result)


def test_equal_vectors_are_covered_at_a_threshold_of_one(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 50, 97, n_clumps=50), 2, axis=0)
    result = cover(vectors, None, 1.0)
    assert np.flatnonzero(result.kept).tolist() == list(range(0, 100, 2))
    check(vectors, result)


def test_each_removed_one_names_its_nearest_kept_not_the_one_that_covered_it() -> None:
    angles = np.deg2rad([0, 10, 19, 26, 36])  # 10 is kept first and covers 19, which is nearer to 26
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    scores = np.array([0, 5, 0, 4, 0], np.float32)
    result = cover(vectors, None, float(np.cos(np.deg2rad(11))), policy="max:x", scores=scores)
    assert np.flatnonzero(result.kept).tolist() == [1, 3]
    assert result.representative.tolist() == [1, 1, 3, 3, 3]
    check(vectors, result)


@pytest.mark.parametrize("policy", ["coverage", "first"])
@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one_are_covered(rng: np.random.Generator, n: int, policy: str) -> None:
    vectors = round_clumps(rng, 1)[:n]
    result = cover(vectors, knn_graph(vectors, 3), 0.9, policy=policy)
    assert len(result) == n
    found = certify(vectors, result)
    assert found.holds
    assert (found.worst_similarity, found.mean_similarity) == (1.0, 1.0)


def test_cover_leaves_its_arguments_alone(rng: np.random.Generator) -> None:
    vectors = mixture(rng, 120)
    forced, copies = rng.random(120) < 0.1, np.arange(120)
    sharpness = rng.random(120).astype(np.float32)
    before = [values.copy() for values in (vectors, forced, copies, sharpness)]
    cover(vectors, knn_graph(vectors, 4), 0.8, sharpness=sharpness, forced=forced, digest_groups=copies)
    for values, as_before in zip((vectors, forced, copies, sharpness), before, strict=True):
        np.testing.assert_array_equal(values, as_before)


def test_cover_and_certificate_are_the_same_without_faiss_and_for_any_threads(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = mixture(rng, 500)
    one, two = (cover(vectors, None, 0.9, threads=threads) for threads in (1, 2))
    certificate = certify(vectors, one, threads=2)
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    bare = cover(vectors, knn_graph(vectors, 5), 0.9)
    for other in (two, bare):
        np.testing.assert_array_equal(other.kept, one.kept)
        np.testing.assert_array_equal(other.representative, one.representative)
        np.testing.assert_array_equal(other.similarity, one.similarity)
    assert certify(vectors, bare) == certificate


def test_progress_is_reported(rng: np.random.Generator) -> None:
    seen: list[tuple[str, int, int | None]] = []
    cover(mixture(rng, 100), None, 0.9, policy="first", progress=lambda *step: seen.append(step))
    assert seen
    assert all(total is None or done <= total for _, done, total in seen)


# --- wrong requests -----------------------------------------------------------------------------


def test_a_threshold_that_is_no_cosine_is_refused(rng: np.random.Generator) -> None:
    for threshold in (1.5, float("nan")):
        with pytest.raises(UsageError, match=f"threshold is {threshold}; expected a cosine"):
            cover(round_clumps(rng, 3), None, threshold)


def test_a_policy_without_its_scores_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="keep policy 'sharpest' needs scores"):
        cover(round_clumps(rng, 3), None, 0.9, policy="sharpest")


def test_a_graph_over_other_vectors_is_refused(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 10)
    with pytest.raises(BadEmbeddings, match="graph has 10 points, there are 9 vectors"):
        cover(vectors[:9], knn_graph(vectors, 2), 0.9)


@pytest.mark.parametrize("name", ["scores", "sharpness", "forced", "digest_groups"])
def test_values_for_another_number_of_vectors_are_refused(rng: np.random.Generator, name: str) -> None:
    values: Any = {name: np.zeros(4, np.bool_ if name == "forced" else np.float32)}
    with pytest.raises(BadEmbeddings, match=rf"{name} of shape \(4,\) for 3 vectors"):
        cover(round_clumps(rng, 3), None, 0.9, policy="max:x" if name == "scores" else "coverage", **values)


def test_vectors_not_of_length_one_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(BadEmbeddings, match="has length 3"):
        cover(3 * round_clumps(rng, 3), None, 0.9)


# --- policies and digests -----------------------------------------------------------------------


def test_each_policy_reads_its_column() -> None:
    columns = {
        "sharpness": np.array([1, 2], np.float32),
        "size_px": np.array([3, 4], np.float32),
        "labelled": np.array([0, 1], np.float32),
        "speed": np.array([7, np.nan], np.float32),
    }
    assert priority("coverage", columns) is None
    assert priority("first", {}) is None
    for policy, expected in (
        ("sharpest", [1, 2]),
        ("largest", [3, 4]),
        ("labelled", [0, 1]),
        ("max:speed", [7, -np.inf]),
        ("min:speed", [-7, -np.inf]),
    ):
        scores = priority(policy, columns)
        assert scores is not None
        assert scores.tolist() == expected


@pytest.mark.parametrize("policy", ["newest", "max:", "mean:speed", ""])
def test_an_unknown_policy_is_refused_with_the_known_ones(policy: str) -> None:
    with pytest.raises(UsageError, match=f"no keep policy '{policy}'; expected coverage, sharpest"):
        priority(policy, {"speed": np.zeros(1, np.float32)})


def test_a_policy_over_a_missing_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownColumn, match="needs the numeric column 'speed'; there are age, height"):
        priority("max:speed", {"height": np.zeros(1, np.float32), "age": np.zeros(1, np.float32)})


def test_exact_groups_name_the_first_holder_of_a_digest() -> None:
    assert exact_groups(["a", "b", "a", None, "b", None, "a"]).tolist() == [0, 1, 0, 3, 1, 5, 0]
    assert exact_groups([]).tolist() == []


def test_groups_are_largest_first_and_leave_out_who_represents_nobody() -> None:
    kept = np.array([True, True, False, True, False, False, False])
    representative = np.array([0, 1, 1, 3, 1, 0, 0])
    similarity = np.where(kept, 1.0, 0.95).astype(np.float32)
    found = groups(Cover(kept, representative, similarity, np.zeros(7, np.bool_), 0.9))
    assert [(head, members.tolist()) for head, members in found] == [(0, [5, 6]), (1, [2, 4])]
    nobody = Cover(np.ones(2, np.bool_), np.arange(2), np.ones(2, np.float32), np.zeros(2, np.bool_), 0.9)
    assert groups(nobody) == []
