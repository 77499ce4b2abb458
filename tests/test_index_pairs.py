"""The join of all pairs at or above a similarity, against brute force."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from curator.data import FloatArray
from curator.errors import UsageError
from curator.index import (
    IndexSpec,
    PairJoin,
    Pairs,
    approximate,
    approximate_pairs,
    bf16,
    bounds,
    normalise,
    pair_similarity,
    pairs,
    partition,
    reaches,
    regions,
    rough,
)
from curator.index.comparable import close_in_time, same_group
from tests.vectors import brute_force, clumps, round_clumps, slow_video, unit, with_near_copies

# --- pairs --------------------------------------------------------------------------------------


def brute_pairs(vectors: FloatArray, threshold: float) -> set[tuple[int, int]]:
    similarity = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    left, right = np.nonzero(np.triu(similarity >= threshold - 1e-6, 1))
    return set(zip(left.tolist(), right.tolist(), strict=True))


@pytest.mark.parametrize(("threshold", "has_prefix"), [(0.97, True), (0.9, True), (0.2, False)])
def test_the_join_finds_every_pair_and_no_other(
    rng: np.random.Generator, threshold: float, has_prefix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "STRIPE", 128)
    monkeypatch.setattr(bounds, "SMALL", 512)
    monkeypatch.setattr(pairs, "SLAB", 48)
    vectors = with_near_copies(rng, 1_500)
    join = PairJoin(vectors, threshold, threads=2)
    assert (join.width < 192) == has_prefix
    found = join.within(np.arange(1_500))
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == brute_pairs(vectors, threshold)
    assert len(found) == len(brute_pairs(vectors, threshold)) > 0
    np.testing.assert_array_equal(found.similarity, pair_similarity(vectors, found.left, found.right))


def test_the_bound_is_never_below_the_cosine(rng: np.random.Generator) -> None:
    vectors = with_near_copies(rng, 5_000)
    join = PairJoin(vectors, 0.97)
    assert join.width < 192
    assert (join.bound.numbers[:800] @ join.bound.numbers.T >= vectors[:800] @ vectors.T - 1e-6).all()


def test_the_bound_holds_for_vectors_inside_the_prefix(rng: np.random.Generator) -> None:
    flat = np.zeros((5_000, 64), np.float32)  # nothing is left outside the prefix: its length is all rounding
    flat[:, :12] = rng.standard_normal((5_000, 12))
    vectors = normalise(flat)
    join = PairJoin(vectors, 0.97)
    assert join.width == 17
    assert len(join.within(np.arange(5_000))) == len(brute_pairs(vectors, 0.97))


def test_a_join_of_some_positions_is_that_part_of_the_whole(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 600, n_clumps=100)
    some = rng.permutation(600)[:250]
    found = PairJoin(vectors, 0.85).within(some)
    unordered = {(min(pair), max(pair)) for pair in zip(found.left.tolist(), found.right.tolist(), strict=True)}
    chosen = set(some.tolist())
    assert unordered == {pair for pair in brute_pairs(vectors, 0.85) if chosen.issuperset(pair)}
    place = {position: i for i, position in enumerate(some.tolist())}
    assert all(place[a] < place[b] for a, b in zip(found.left.tolist(), found.right.tolist(), strict=True))


def test_nearest_is_the_best_that_reaches_the_threshold(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 900, n_clumps=200)
    left, right = np.arange(0, 900, 3), np.setdiff1d(np.arange(900), np.arange(0, 900, 3))
    nearest, similarity = PairJoin(vectors, 0.9).nearest(left, right)
    expected, best = brute_force(vectors[left], vectors[right], 1)
    reached = best[:, 0] >= 0.9
    assert 0 < reached.sum() < len(left)
    np.testing.assert_array_equal(nearest, np.where(reached, right[expected[:, 0]], -1))
    np.testing.assert_allclose(similarity, np.where(reached, best[:, 0], -1.0), atol=1e-6)


def test_nearest_of_equal_ones_is_the_lowest(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 6, axis=0)
    nearest, similarity = PairJoin(vectors, 1.0).nearest(np.array([5, 4]), np.array([3, 1, 2]))
    assert nearest.tolist() == [1, 1]
    np.testing.assert_allclose(similarity, 1.0, atol=1e-6)


def test_counting_pairs_agrees_with_holding_them(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 400, n_clumps=80)
    marked = rng.random(400) < 0.5
    join = PairJoin(vectors, 0.8)
    found = join.within(np.arange(400))
    both = int((marked[found.left] & marked[found.right]).sum())
    assert join.count_within(np.arange(400), marked) == (len(found), both)


def test_more_pairs_than_the_limit_are_not_held(rng: np.random.Generator) -> None:
    vectors = np.repeat(unit(rng, 1), 200, axis=0)
    join = PairJoin(vectors, 0.99)
    assert join.within_limit(np.arange(200), 19_899) is None
    found = join.within_limit(np.arange(200), 19_900)
    assert found is not None
    assert len(found) == 200 * 199 // 2


def test_a_dense_block_of_copies_is_joined_completely(rng: np.random.Generator) -> None:
    vectors = np.vstack([clumps(rng, 5_000, 192), np.repeat(unit(rng, 1, 192), 300, axis=0)])
    join = PairJoin(vectors, 0.97)
    assert join.width < 192
    assert len(join.within(np.arange(5_000, 5_300))) == 300 * 299 // 2


def test_the_similarity_of_a_pair_depends_on_nothing_else(rng: np.random.Generator) -> None:
    vectors = unit(rng, 3_000, 100)
    left, right = rng.integers(3_000, size=(2, 5_000))
    together = pair_similarity(vectors, left, right)
    alone = np.array([pair_similarity(vectors, left[i : i + 1], right[i : i + 1])[0] for i in range(200)])
    np.testing.assert_array_equal(together[:200], alone)
    np.testing.assert_array_equal(together, pair_similarity(vectors, right, left))


def test_a_similarity_reaches_a_threshold_it_misses_by_rounding_only() -> None:
    similarity = np.array([0.95, 0.949_999_5, 0.949_99, 1.0 - 1e-7], np.float32)
    assert reaches(similarity, 0.95).tolist() == [True, True, False, True]
    assert reaches(similarity, 1.0).tolist() == [False, False, False, True]


# --- by bfloat16, by region, by place -----------------------------------------------------------


@pytest.fixture(params=["float32", "bfloat16"])
def halves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Stand-ins in either kind of number, whatever this processor prefers."""
    is_half: bool = request.param == "bfloat16"
    monkeypatch.setattr(bf16, "worth", lambda n_products: is_half)
    monkeypatch.setattr(bounds, "SMALL", 256)
    return is_half


@pytest.mark.parametrize("threshold", [0.97, 0.8, 0.3])
def test_no_pair_is_lost_to_rounding(rng: np.random.Generator, halves: bool, threshold: float) -> None:
    vectors = np.vstack([with_near_copies(rng, 1_200), slow_video(rng, 300, 192, adjacent=0.99)])
    join = PairJoin(vectors, threshold)
    assert join.bound.is_half == halves
    found = join.within(np.arange(1_500))
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == brute_pairs(vectors, threshold)


def test_what_rounding_takes_is_subtracted_from_the_floor(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bf16, "worth", lambda n_products: True)
    vectors = with_near_copies(rng, 5_000)
    join = PairJoin(vectors, 0.9)
    numbers = bf16.floats(join.bound.numbers).astype(np.float64)
    cosine = vectors[:800].astype(np.float64) @ vectors.astype(np.float64).T
    lost = (cosine - numbers[:800] @ numbers.T).max()  # by how much a stand-in's product is below the cosine
    assert 0 < lost <= 0.9 - join.bound.least < 0.01


@pytest.mark.parametrize("n", [1, 31, 33, 300])
def test_a_product_of_any_shape_is_that_of_the_rounded_numbers(rng: np.random.Generator, n: int) -> None:
    left, right = bf16.rounded(unit(rng, n)), bf16.rounded(unit(rng, 45))
    room = np.full((bf16.padded(n), bf16.padded(45)), 99, np.int16)
    found = bf16.floats(np.ascontiguousarray(bf16.product(left, right, room)))
    np.testing.assert_allclose(found, bf16.floats(left) @ bf16.floats(right).T, atol=rough.ROUNDED)


def test_rounding_is_to_nearest_and_upwards_where_asked() -> None:
    numbers = np.array([1.0, 1.0 + 2**-9, 1.0 + 3 * 2**-9, 1.0 + 2**-8, 0.0], np.float32)
    assert bf16.floats(bf16.rounded(numbers)).tolist() == [1.0, 1.0, 1.0 + 2**-7, 1.0, 0.0]
    assert bf16.floats(bf16.rounded(numbers, up=True)).tolist() == [1.0, *[1.0 + 2**-7] * 3, 0.0]


@pytest.mark.parametrize("threshold", [0.95, 0.85])
def test_the_triangle_inequality_leaves_out_no_pair(
    rng: np.random.Generator, halves: bool, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.vstack([clumps(rng, 2_000, n_clumps=40), unit(rng, 200, 64), slow_video(rng, 300, 64)])
    some = rng.permutation(2_500)
    left, right = some[:900], some[900:]
    plain = PairJoin(vectors, threshold)
    expected = plain.within(some), plain.nearest(left, right), plain.between(left, right)
    monkeypatch.setattr(pairs, "REGIONS_FROM", 1)
    monkeypatch.setattr(pairs, "REGIONS_PAY", 9.0)
    monkeypatch.setattr(regions, "PER_LIST", 50)
    monkeypatch.setattr(regions, "LARGEST", 40)
    join = PairJoin(vectors, threshold, threads=2)
    assert join.bound.is_half == halves
    found = join.within(some), join.nearest(left, right), join.between(left, right)
    assert as_set(found[0]) == as_set(expected[0])
    assert as_set(found[2]) == as_set(expected[2])
    np.testing.assert_array_equal(found[1][0], expected[1][0])
    np.testing.assert_array_equal(found[1][1], expected[1][1])


@pytest.mark.slow
def test_a_large_join_by_region_is_the_join_of_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    vectors = np.vstack([round_clumps(rng, 60_000, 64, n_clumps=600, spread=0.25), slow_video(rng, 10_000, 64)])
    everyone = np.arange(len(vectors))
    join = PairJoin(vectors, 0.975)
    found = join.within(everyone)
    assert join._regions is not None
    assert join._regions.share(everyone) < pairs.REGIONS_PAY
    monkeypatch.setattr(pairs, "REGIONS_FROM", 1e30)
    assert as_set(found) == as_set(PairJoin(vectors, 0.975).within(everyone))
    assert len(found) > 10_000


def test_regions_leave_little_to_compare_where_there_is_structure(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 6_000, n_clumps=60)
    bound = bounds.make_bound(vectors, 0.95)
    found = regions.Regions(bound)
    assert found.share(np.arange(6_000)) < 0.5
    line = found.line(np.arange(0, 6_000, 2))
    assert sorted(line.positions.tolist()) == list(range(0, 6_000, 2))
    assert (np.diff(line.widths) >= 0).all()


def as_set(found: Pairs) -> set[tuple[int, int]]:
    together = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert len(together) == len(found)
    return together


def test_a_join_within_groups_is_the_join_of_each(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "STRIPE", 64)
    vectors, groups = clumps(rng, 900, n_clumps=30), rng.integers(40, size=900)
    join = PairJoin(vectors, 0.8, comparable=same_group(groups))
    some = rng.permutation(900)[:700]
    found, place = join.within(some), {position: i for i, position in enumerate(some.tolist())}
    expected = {(a, b) for a, b in as_set(PairJoin(vectors, 0.8).within(some)) if groups[a] == groups[b]}
    assert as_set(found) == expected
    assert expected
    assert all(place[a] < place[b] for a, b in as_set(found))


def test_a_window_compares_frames_of_one_clip_that_are_close(rng: np.random.Generator) -> None:
    times = np.round(rng.random(300) * 20, 1).astype(np.float32)
    times[::17] = np.nan
    clips = rng.integers(3, size=300)
    allowed = close_in_time(times, 1.5, clips)
    left, right = np.triu_indices(300, 1)
    gap = np.abs(times[left].astype(np.float64) - times[right])
    expected = (clips[left] == clips[right]) & (np.rint(gap * 1e6) <= 1.5e6)
    np.testing.assert_array_equal(allowed.allows(left, right), expected)
    vectors = np.repeat(unit(rng, 1), 300, axis=0)
    found = PairJoin(vectors, 0.9, comparable=allowed).within(np.arange(300))
    assert as_set(found) == set(zip(left[expected].tolist(), right[expected].tolist(), strict=True))


def test_a_window_longer_than_every_clip_compares_all_of_each_and_no_others(rng: np.random.Generator) -> None:
    times, clips = rng.random(3_000, dtype=np.float32) * 10, np.arange(3_000) // 3
    found = close_in_time(times, 1e300, clips)
    left, right = rng.integers(3_000, size=(2, 50_000))
    np.testing.assert_array_equal(found.allows(left, right), clips[left] == clips[right])
    at = np.arange(3_000)
    assert found.allows(at[::3], at[2::3]).all()


@pytest.mark.parametrize("window", [-1.0, float("nan"), float("inf")])
def test_a_window_that_is_no_time_is_refused(window: float) -> None:
    with pytest.raises(UsageError, match=f"window_s is {window}; expected seconds, 0 or more"):
        close_in_time(np.zeros(2, np.float32), window)


# --- approximate --------------------------------------------------------------------------------


def test_approximate_pairs_are_true_and_nearly_all(
    rng: np.random.Generator, halves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approximate, "SMALL", 100)
    monkeypatch.setattr(approximate, "PROBE", 400)
    vectors = np.vstack([with_near_copies(rng, 3_000), slow_video(rng, 500, 192, adjacent=0.995)])
    found, recall = approximate_pairs(vectors, 0.95, spec=IndexSpec(min_recall=0.97, sample=400))
    truth = brute_pairs(vectors, 0.95)
    assert as_set(found) <= truth
    assert len(found) >= 0.96 * len(truth)
    assert 0.97 <= recall.value < 1.0
    assert recall.low < recall.value <= recall.high <= 1.0
    assert recall.low <= len(found) / len(truth) <= recall.high
    assert (recall.n_vectors, recall.n_full) == (400, 0)
    assert str(recall).startswith(f"{recall.value:.4f} (")
    np.testing.assert_array_equal(found.similarity, pair_similarity(vectors, found.left, found.right))
    again, same = approximate_pairs(vectors, 0.95, spec=IndexSpec(min_recall=0.97, sample=400, threads=2))
    assert same == recall
    np.testing.assert_array_equal(again.left, found.left)


def test_where_all_are_alike_little_is_held_at_once(rng: np.random.Generator) -> None:
    vectors = normalise(unit(rng, 1) + 0.001 * unit(rng, 3_000))
    join = PairJoin(vectors, 0.9, threads=1)
    drawn = rng.permutation(3_000)
    truth = approximate._pairs_of(join, np.sort(drawn[:100]), drawn)
    assert np.bincount(truth.left).max() == approximate.TRUTHS
    assert len(as_set(truth)) == len(truth)
    np.testing.assert_array_equal(truth.similarity, pair_similarity(vectors, truth.left, truth.right))
    everybody = np.arange(3_000)
    largest = max(len(found) for found in join.compare(pairs.Part(everybody, everybody)))
    assert largest <= pairs.SLAB * pairs.STRIPE + pairs.BATCH


def test_a_margin_beyond_all_bits_visits_all_lists(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 2_000, n_clumps=40)
    join = PairJoin(vectors, 0.8, bound=bounds._half_bound(vectors, None, 0.8))
    lists = partition.divide(join.bound, 20, seed=0)
    visits = approximate._visits(join, lists, np.int64(60_000), up_to=10**9)
    assert visits is not None
    assert len(visits[0]) == len(lists) * 2_000


def test_a_huge_group_is_capped_at_the_most_similar(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "SMALL", 100)
    monkeypatch.setattr(pairs, "BATCH", 64)
    monkeypatch.setattr(pairs, "STRIPE", 128)
    group = normalise(unit(rng, 1) + 0.01 * unit(rng, 1_500))
    vectors = np.vstack([group, unit(rng, 1_500)])
    for spec in (IndexSpec(), IndexSpec(min_recall=1.0)):
        found, recall = approximate_pairs(vectors, 0.95, spec=spec, max_per_row=4)
        assert np.bincount(found.left).max() <= 4
        assert len(found) <= 4 * 1_500
        assert recall.n_full >= 1_400


def test_approximate_pairs_of_few_are_all(rng: np.random.Generator) -> None:
    vectors = clumps(rng, 300, n_clumps=60)
    found, recall = approximate_pairs(vectors, 0.8)
    assert as_set(found) == brute_pairs(vectors, 0.8)
    assert (recall.value, recall.low, recall.high, recall.n_pairs) == (1.0, 1.0, 1.0, len(found))
    with pytest.raises(UsageError, match="max_per_row is 0; expected at least 1 pair"):
        approximate_pairs(vectors, 0.8, max_per_row=0)


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one_have_no_pairs(rng: np.random.Generator, n: int) -> None:
    found, recall = approximate_pairs(unit(rng, 1)[:n], 0.9)
    assert (len(found), recall.value) == (0, 1.0)


def test_the_join_works_without_faiss_and_threadpoolctl(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    vectors = clumps(rng, 2_500, n_clumps=500)
    assert len(PairJoin(vectors, 0.9).within(np.arange(2_500))) == len(brute_pairs(vectors, 0.9))
