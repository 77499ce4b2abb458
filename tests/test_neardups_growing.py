"""Covers within groups and along time, in any method, and covers that grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadEmbeddings, UsageError
from curator.index import knn_graph
from curator.neardups import Cover, certify, cover, covering, exact_groups, extend
from curator.neardups.policy import equal_groups
from tests.vectors import mixture, round_clumps, slow_video, unit

# --- groups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["coverage", "first", "sharpest"])
@pytest.mark.parametrize("has_graph", [True, False])
def test_groups_are_covered_as_if_each_were_alone(rng: np.random.Generator, policy: str, has_graph: bool) -> None:
    vectors, groups = mixture(rng, 400), rng.integers(7, size=400)
    scores = rng.random(400).astype(np.float32)
    graph = knn_graph(vectors, 5) if has_graph else None
    result = cover(vectors, graph, 0.85, policy=policy, scores=scores, groups=groups)
    for group in range(7):
        at = np.flatnonzero(groups == group)
        alone = cover(vectors[at], None, 0.85, policy=policy, scores=scores[at])
        np.testing.assert_array_equal(result.kept[at], alone.kept)
        np.testing.assert_array_equal(result.representative[at], at[alone.representative])
        np.testing.assert_array_equal(result.similarity[at], alone.similarity)
    assert certify(vectors, result, groups=groups).holds
    assert certify(vectors, result).kept_pairs_above > 0


def test_a_representative_of_another_group_is_found_out(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 4, axis=0)
    result = cover(vectors, None, 0.9)
    assert certify(vectors, result).holds
    found = certify(vectors, result, groups=np.array([0, 0, 1, 1]))
    assert (found.orphans, found.wrong_representatives) == (2, 2)


# --- time ---------------------------------------------------------------------------------------


def test_a_window_of_no_clip_covers_only_globally(rng: np.random.Generator) -> None:
    vectors = mixture(rng, 200)
    untimed = np.full(200, np.nan, np.float32)
    timed = cover(vectors, None, 0.85, times=untimed, window_s=5.0)
    plain = cover(vectors, None, 0.85)
    np.testing.assert_array_equal(timed.kept, plain.kept)


def test_frames_are_first_covered_within_their_window() -> None:
    angles = np.deg2rad([0, 8, 16, 3])  # the last is of another clip, near the first two
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    times, clips = np.array([0, 1, 2, 0], np.float32), np.array([0, 0, 0, 1])
    threshold = float(np.cos(np.deg2rad(10)))
    result = cover(vectors, None, threshold, times=times, clips=clips, window_s=1.0)
    assert result.kept.tolist() == [False, True, False, False]  # 8 degrees covers its clip, then the other one
    short = cover(vectors, None, threshold, times=times, clips=clips, window_s=0.5)
    assert certify(vectors, short).holds


@pytest.mark.parametrize("policy", ["coverage", "first", "sharpest"])
@pytest.mark.parametrize("has_groups", [True, False])
def test_two_passes_keep_the_promise_of_one(rng: np.random.Generator, policy: str, has_groups: bool) -> None:
    vectors = np.vstack([slow_video(rng, 150, adjacent=0.97) for _ in range(2)])
    vectors = np.vstack([vectors, vectors[::3] + 0.02 * unit(rng, 100, 32)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    n = len(vectors)
    clips = np.repeat([0, 1, 2], [150, 150, 100])
    times = np.concatenate([np.arange(150), np.arange(150), np.arange(100)]).astype(np.float32)
    groups = rng.integers(2, size=n) if has_groups else None
    scores = rng.random(n).astype(np.float32)
    result = cover(
        vectors, None, 0.9, policy=policy, scores=scores, times=times, clips=clips, window_s=3.0, groups=groups
    )
    assert certify(vectors, result, groups=groups).holds
    assert 0 < result.kept.sum() < n


def test_a_keeper_that_falls_in_the_second_pass_leaves_no_orphan() -> None:
    # In the clip 0 covers 9 degrees; then 350 of another clip, which comes first, covers 0 but not 9.
    angles = np.deg2rad([350, 0, 9])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    threshold = float(np.cos(np.deg2rad(10.5)))
    result = cover(
        vectors, None, threshold, policy="first", times=np.zeros(3, np.float32), clips=np.array([1, 0, 0]), window_s=1.0
    )
    assert result.kept.tolist() == [True, False, True]
    assert certify(vectors, result).holds


# --- methods and copies -------------------------------------------------------------------------


@pytest.mark.parametrize("has_graph", [True, False])
def test_an_approximate_order_keeps_the_promise(
    rng: np.random.Generator, has_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator.index.approximate.SMALL", 100)
    vectors = np.vstack([mixture(rng, 1_000), slow_video(rng, 500, adjacent=0.995)])
    graph = knn_graph(vectors, 4) if has_graph else None
    result = cover(vectors, graph, 0.9, method="approximate")
    assert certify(vectors, result).holds
    exact = cover(vectors, None, 0.9, method="exact")
    assert abs(int(result.kept.sum()) - int(exact.kept.sum())) <= 0.05 * exact.kept.sum()


def test_a_method_nobody_knows_is_refused(rng: np.random.Generator) -> None:
    method: Any = "quick"
    with pytest.raises(UsageError, match="no near-duplicate method 'quick'; expected auto, exact, approximate"):
        cover(unit(rng, 3), None, 0.9, method=method)


def test_ten_thousand_copies_of_one_vector_keep_one_without_holding_their_pairs(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covering, "MAX_PAIRS", 20_000)  # there are 50 million
    others = round_clumps(rng, 300)
    vectors = np.vstack([np.repeat(unit(rng, 1, 32), 10_000, axis=0), others])
    result = cover(vectors, None, 0.9)
    assert np.flatnonzero(result.kept[:10_000]).tolist() == [0]
    np.testing.assert_array_equal(result.kept[10_000:], cover(others, None, 0.9).kept)
    assert certify(vectors, result).holds


def test_equal_vectors_name_the_first_with_the_same_numbers_and_place(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 3), 3, axis=0)
    assert equal_groups(vectors, np.arange(9)).tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    assert equal_groups(vectors, np.array([1, 2, 5, 7, 8])).tolist() == [0, 1, 1, 3, 4, 5, 6, 7, 7]
    place = np.array([0, 1, 0, 0, 0, 0, 1, 2, 3])
    assert equal_groups(vectors, np.arange(9), place).tolist() == [0, 1, 0, 3, 3, 3, 6, 7, 8]


def test_copies_count_as_many_when_the_most_covering_is_looked_for() -> None:
    angles = np.deg2rad([0, 8, 16, 24, 24, 24, 24])  # 16 reaches five; were copies counted once, 8 came first
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    result = cover(vectors, None, float(np.cos(np.deg2rad(9))))
    assert np.flatnonzero(result.kept).tolist() == [0, 2]


# --- growing ------------------------------------------------------------------------------------


def union_of_what_is_in_play(
    vectors: FloatArray, n_old: int, old: Cover, forced: BoolArray | None, **settings_: Any
) -> tuple[IntArray, Cover]:
    """`cover` of everything but the old removed ones, with the old kept forced."""
    n = len(vectors)
    play = np.concatenate([np.flatnonzero(old.kept), np.arange(n_old, n)])
    always = play < n_old
    if forced is not None:
        always |= forced[play]
    chosen = {name: values[play] if isinstance(values, np.ndarray) else values for name, values in settings_.items()}
    return play, cover(vectors[play], None, old.threshold, forced=always, **chosen)


@pytest.mark.parametrize("policy", ["coverage", "first", "sharpest"])
@pytest.mark.parametrize("n_old", [0, 1, 250, 399, 400])
@pytest.mark.parametrize("has_groups", [True, False])
def test_growing_gives_the_cover_of_the_union_with_the_old_kept_forced(
    rng: np.random.Generator, policy: str, n_old: int, has_groups: bool
) -> None:
    vectors = mixture(rng, 400)
    scores, groups = rng.random(400).astype(np.float32), rng.integers(3, size=400) if has_groups else None
    old_groups = None if groups is None else groups[:n_old]
    old = cover(vectors[:n_old], None, 0.85, policy=policy, scores=scores[:n_old], groups=old_groups)
    grown = extend(vectors, n_old, old, policy=policy, scores=scores, groups=groups)
    more = {} if groups is None else {"groups": groups}
    play, union = union_of_what_is_in_play(vectors, n_old, old, None, policy=policy, scores=scores, **more)
    np.testing.assert_array_equal(grown.kept[play], union.kept)
    np.testing.assert_array_equal(grown.kept[:n_old], old.kept)
    np.testing.assert_array_equal(
        grown.representative[n_old:], play[union.representative][union.kept.size - 400 + n_old :]
    )
    assert (grown.similarity[:n_old] >= old.similarity - 1e-6).all()
    assert certify(vectors, grown, groups=groups).holds


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(0, 60),
    share=st.floats(0, 1),
    threshold=st.floats(0.2, 1.0),
    policy=st.sampled_from(["coverage", "first", "sharpest"]),
    timed=st.booleans(),
    forced_share=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_grown_cover_holds(
    n: int, share: float, threshold: float, policy: str, timed: bool, forced_share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = round_clumps(rng, n, 6, n_clumps=4)
    n_old = int(share * n)
    scores, forced = rng.random(n).astype(np.float32), rng.random(n) < forced_share
    more: dict[str, Any] = {}
    if timed:
        more = {"times": rng.random(n).astype(np.float32), "clips": rng.integers(3, size=n), "window_s": 0.2}
    old_more: dict[str, Any] = {name: v[:n_old] if isinstance(v, np.ndarray) else v for name, v in more.items()}
    old = cover(
        vectors[:n_old], None, threshold, policy=policy, scores=scores[:n_old], forced=forced[:n_old], **old_more
    )
    before = (old.kept.copy(), old.representative.copy())
    grown = extend(vectors, n_old, old, policy=policy, scores=scores, forced=forced, **more)
    found = certify(vectors, grown)
    assert found.holds, found.faults()
    np.testing.assert_array_equal(grown.kept[:n_old], old.kept)
    assert grown.kept[n_old:][forced[n_old:]].all()
    np.testing.assert_array_equal(old.kept, before[0])
    np.testing.assert_array_equal(old.representative, before[1])


def test_an_old_removed_one_may_get_a_nearer_new_representative() -> None:
    angles = np.deg2rad([0, 8, 11])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    threshold = float(np.cos(np.deg2rad(10)))
    old = cover(vectors[:2], None, threshold)
    assert old.representative.tolist() == [0, 0]
    grown = extend(vectors, 2, old)
    assert grown.kept.tolist() == [True, False, True]
    assert grown.representative.tolist() == [0, 2, 2]
    assert certify(vectors, grown).holds


def test_an_old_kept_one_beside_a_new_forced_one_is_kept_as_one_that_is_forced(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 2, axis=0)
    old = cover(vectors[:1], None, 0.9)
    grown = extend(vectors, 1, old, forced=np.array([False, True]))
    assert grown.kept.tolist() == [True, True]
    assert grown.forced is not None
    assert grown.forced.tolist() == [True, True]
    found = certify(vectors, grown)
    assert (found.kept_pairs_above, found.forced_pairs_above) == (0, 1)


def test_a_new_copy_of_old_bytes_is_removed_as_such(rng: np.random.Generator) -> None:
    vectors = np.repeat(round_clumps(rng, 2, n_clumps=2), [3, 2], axis=0)
    digests = exact_groups(["a", "b", "a", "c", "c"])
    old = cover(vectors[:2], None, 0.99, digest_groups=digests[:2])
    grown = extend(vectors, 2, old, digest_groups=digests)
    assert grown.kept.tolist() == [True, False, False, True, False]
    assert grown.exact.tolist() == [False, False, True, False, True]


def test_growing_compares_new_ones_only(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = mixture(rng, 500)
    old = cover(vectors[:450], None, 0.85)
    asked: list[int] = []
    from curator.index import PairJoin

    plan = PairJoin._plan

    def counted(self: PairJoin, left: IntArray, right: IntArray, *, triangle: bool) -> Any:
        asked.append(len(left) * len(right))
        return plan(self, left, right, triangle=triangle)

    monkeypatch.setattr(PairJoin, "_plan", counted)
    extend(vectors, 450, old)
    assert 0 < sum(asked) <= 4 * 50 * 500


def test_a_cover_of_other_vectors_cannot_grow(rng: np.random.Generator) -> None:
    vectors = unit(rng, 5)
    old = cover(vectors[:3], None, 0.9)
    with pytest.raises(BadEmbeddings, match="a cover of 3 vectors cannot be extended from 4 to 5"):
        extend(vectors, 4, old)
    with pytest.raises(BadEmbeddings, match=r"groups of shape \(3,\) for 5 vectors"):
        extend(vectors, 3, old, groups=np.zeros(3, np.int64))
