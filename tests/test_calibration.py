"""Thresholds and the metric for copies, on collections whose truth was drawn by the test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curator import calibration
from curator.calibration import Copies, Histogram, fit_answers, fit_copies, fit_moments, histogram_of, isotonic, metric
from curator.calibration.mixture import N_BINS, binned, edges
from curator.calibration.moments import runs
from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadEmbeddings, DataError

Wide = NDArray[np.float64]


def unit(rows: NDArray[np.floating]) -> FloatArray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def moved(vectors: FloatArray, by: float, rng: np.random.Generator) -> FloatArray:
    noise = rng.standard_normal(vectors.shape) / vectors.shape[1] ** 0.5
    return unit(vectors + by * noise)


class World:
    """Pictures, of which some have copies, and edited copies of a sample of them."""

    def __init__(self, rng: np.random.Generator, *, n: int = 150, d: int = 32, by: float = 0.5) -> None:
        pictures = unit(rng.standard_normal((n, d)) + 1.5 * np.eye(1, d))
        self.group = np.concatenate([np.arange(n), np.repeat(np.arange(40), 2)])
        self.vectors = np.concatenate([pictures, moved(pictures[:40].repeat(2, axis=0), by, rng)])
        self.of = np.repeat(np.arange(60, 100), 6)
        self.edited = moved(self.vectors[self.of], by, rng)

    def same(self) -> list[FloatArray]:
        return [
            calibration.pairs_of_copies(self.vectors, self.edited[self.of == p], self.of[self.of == p])
            for p in np.unique(self.of)
        ]

    def pairs(self) -> tuple[Wide, BoolArray]:
        at, to = np.triu_indices(len(self.vectors), 1)
        return (self.vectors @ self.vectors.T)[at, to].astype(np.float64), self.group[at] == self.group[to]


def f1(similarity: Wide, same: BoolArray, threshold: float) -> float:
    taken = similarity >= threshold
    return 2 * float((taken & same).sum()) / max(float(taken.sum() + same.sum()), 1.0)


def best_f1(similarity: Wide, same: BoolArray) -> float:
    return max(f1(similarity, same, t) for t in np.unique(similarity[same]))


# -- counting ------------------------------------------------------------------------------------------------------


def test_the_histogram_counts_every_pair_once(rng: np.random.Generator) -> None:
    vectors = unit(rng.standard_normal((700, 8)))  # more than one block
    found = histogram_of(vectors)
    at, to = np.triu_indices(700, 1)
    plain = binned((vectors @ vectors.T)[at, to])
    assert found.counts.sum() == pytest.approx(700 * 699 / 2)
    assert np.abs(found.counts.cumsum() - plain.cumsum()).max() <= 2  # rounding may move a pair by one bin


def test_pairs_close_in_time_are_left_out(rng: np.random.Generator) -> None:
    vectors = unit(rng.standard_normal((6, 8)))
    times = np.asarray([0.0, 1.0, 2.0, 1e6, np.nan, np.nan], np.float32)
    assert histogram_of(vectors, times=times, gap=1.5).counts.sum() == pytest.approx(15 - 2)


@pytest.mark.parametrize("n", [0, 1])
def test_a_collection_without_pairs_has_an_empty_histogram(n: int) -> None:
    assert histogram_of(np.ones((n, 1), np.float32)).counts.sum() == 0


def test_pairs_of_copies_are_picture_with_copy_and_copy_with_copy() -> None:
    vectors = np.eye(2, dtype=np.float32)
    copies = np.asarray([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    found = calibration.pairs_of_copies(vectors, copies, np.asarray([0, 0, 1]))
    assert sorted(found.tolist()) == pytest.approx([0.6, 0.6, 1.0, 1.0])


# -- without a person ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [0.3, 0.6])
def test_the_threshold_without_labels_is_nearly_the_best(rng: np.random.Generator, by: float) -> None:
    world = World(rng, by=by)
    found = fit_copies(histogram_of(world.vectors), {"mild": world.same()})
    similarity, same = world.pairs()
    assert f1(similarity, same, found.threshold) >= 0.9 * best_f1(similarity, same)
    assert found.n_same == pytest.approx(same.sum(), rel=0.35)


def test_expected_precision_and_recall_are_near_the_true_ones(rng: np.random.Generator) -> None:
    world = World(rng)
    found = fit_copies(histogram_of(world.vectors), {"mild": world.same()})
    similarity, same = world.pairs()
    taken = similarity >= found.threshold
    assert found.precision == pytest.approx((taken & same).sum() / taken.sum(), abs=0.2)
    assert found.recall == pytest.approx((taken & same).sum() / same.sum(), abs=0.2)


def test_the_edits_that_explain_the_collection_count(rng: np.random.Generator) -> None:
    pictures = unit(rng.standard_normal((4, 32)))
    collection = moved(pictures.repeat(15, axis=0), 0.6, rng)  # a quarter of its pairs are the same picture
    of = np.arange(60).repeat(4)
    strong = calibration.pairs_of_copies(collection, moved(collection[of], 0.6, rng), of)
    mild = calibration.pairs_of_copies(collection, moved(collection[of], 0.05, rng), of)
    found = fit_copies(histogram_of(collection), {"mild": mild, "strong": strong})
    assert found.strength["strong"] > 0.9
    assert sum(found.strength.values()) == pytest.approx(1)


def test_intervals_hold_the_stated_values_and_narrow_with_more_pictures() -> None:
    widths = []
    for n in (60, 240):
        world = World(np.random.default_rng(5), n=max(n, 100), by=0.6)
        same = world.same()[: n // 6]
        found = fit_copies(histogram_of(world.vectors), {"mild": same}, rng=np.random.default_rng(0), n_bootstrap=40)
        assert found.interval is not None
        assert found.precision_interval is not None
        assert found.recall_interval is not None
        for value, (low, high) in (
            (found.threshold, found.interval),
            (found.precision, found.precision_interval),
            (found.recall, found.recall_interval),
        ):
            assert low <= value <= high
        widths.append(found.interval[1] - found.interval[0])
    assert widths[1] <= widths[0] + 0.02


def test_the_same_seed_gives_the_same_fit(rng: np.random.Generator) -> None:
    world = World(rng)
    first, second = (
        fit_copies(histogram_of(world.vectors), {"mild": world.same()}, rng=np.random.default_rng(2), n_bootstrap=10)
        for _ in range(2)
    )
    assert (first.threshold, first.interval) == (second.threshold, second.interval)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.integers(0, 1000))
def test_the_order_of_the_images_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(rng, n=100)
    order = rng.permutation(len(world.vectors))
    first, second = (fit_copies(histogram_of(v), {"mild": world.same()}) for v in (world.vectors, world.vectors[order]))
    assert first.threshold == pytest.approx(second.threshold, abs=0.01)


def test_the_posterior_never_falls(rng: np.random.Generator) -> None:
    world = World(rng)
    histogram = histogram_of(world.vectors)
    share = fit_copies(histogram, {"mild": world.same()}).posterior(histogram)
    assert share.shape == (N_BINS,)
    assert (np.diff(share) >= 0).all()
    assert share.min() >= 0
    assert share.max() <= 1


def test_ten_thousand_copies_of_one_vector_are_all_the_same() -> None:
    vectors = np.tile(unit(np.ones((1, 4))), (1_000, 1))
    found = fit_copies(histogram_of(vectors), {"mild": np.full(50, 0.99, np.float32)})
    assert found.threshold <= 1.0
    assert np.isfinite([found.threshold, found.precision, found.recall]).all()


def test_a_collection_without_copies_gets_a_high_threshold(rng: np.random.Generator) -> None:
    vectors = unit(rng.standard_normal((80, 64)))
    at, to = np.triu_indices(80, 1)
    found = fit_copies(histogram_of(vectors), {"mild": rng.uniform(0.97, 1, 60).astype(np.float32)})
    similarity = (vectors @ vectors.T)[at, to]
    assert (similarity >= found.threshold).sum() <= 1


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="5 images give 10 pairs; calibration needs at least 30"):
        fit_copies(histogram_of(np.eye(5, dtype=np.float32)), {"mild": np.ones(4, np.float32)})


def test_no_copies_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="no edited copy has a usable vector"):
        fit_copies(histogram_of(unit(rng.standard_normal((20, 4)))), {"mild": np.empty(0, np.float32)})


# -- moments -------------------------------------------------------------------------------------------------------


def walk(rng: np.random.Generator, n_things: int = 30, length: int = 12, d: int = 64) -> tuple[FloatArray, IntArray]:
    """Frames of things, one after another; within a thing a slow walk."""
    rows = []
    for _ in range(n_things):
        frame = rng.standard_normal(d)
        for _ in range(length):
            frame = frame + 0.35 * rng.standard_normal(d)
            rows.append(frame)
    return unit(np.asarray(rows)), np.repeat(np.arange(n_things), length)


def test_moments_tell_frames_of_one_thing_from_others(rng: np.random.Generator) -> None:
    vectors, thing = walk(rng)
    found = fit_moments(
        vectors, np.zeros(len(vectors), np.int64), np.linspace(0.6, 1, 100, dtype=np.float32), histogram_of(vectors),
        rng=rng, n_bootstrap=20,
    )  # fmt: skip
    at, to = np.triu_indices(len(vectors), 1)
    similarity, same = (vectors @ vectors.T)[at, to].astype(np.float64), thing[at] == thing[to]
    assert f1(similarity, same, found.threshold) >= 0.95 * best_f1(similarity, same)
    assert found.interval is not None
    assert found.interval[0] <= found.threshold <= found.interval[1]


def test_a_run_ends_at_a_break_and_at_the_border_of_a_clip() -> None:
    vectors = np.asarray([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    assert runs(vectors, np.asarray([0, 0, 0, 0, 1]), 0.9).tolist() == [0, 0, 1, 1, 2]
    assert runs(vectors, np.full(5, -1), 0.9).tolist() == [0, 1, 2, 3, 4]
    assert runs(vectors[:0], np.empty(0, np.int64), 0.9).tolist() == []


def test_rows_in_no_order_have_no_moments(rng: np.random.Generator) -> None:
    vectors, _ = walk(rng)
    mixed = vectors[rng.permutation(len(vectors))]
    sequence, copies = np.zeros(len(mixed), np.int64), np.full(50, 0.9, np.float32)
    with pytest.raises(DataError, match="their order is not one of time: use the result 'self'"):
        fit_moments(mixed, sequence, copies, histogram_of(mixed))
    with pytest.raises(DataError, match="their order is not one of time"):
        fit_moments(vectors, np.full(len(vectors), -1), copies, histogram_of(vectors))


def test_moments_of_single_frames_are_refused(rng: np.random.Generator) -> None:
    vectors, _ = walk(rng)
    with pytest.raises(DataError, match=r"0 pairs of neighbours in time .* needs at least 30"):
        fit_moments(vectors, np.zeros(len(vectors), np.int64), np.ones(9, np.float32), histogram_of(vectors))


# -- answers -------------------------------------------------------------------------------------------------------


def test_isotonic_regression_pools_what_falls() -> None:
    x, share = isotonic(np.asarray([0.1, 0.2, 0.3, 0.4]), np.asarray([0.0, 1.0, 0.0, 1.0]))
    assert x.tolist() == [0.1, 0.3, 0.4]
    assert share.tolist() == [0.0, 0.5, 1.0]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=1, max_size=40))
def test_isotonic_regression_never_falls_and_keeps_the_mean(pairs: list[tuple[float, bool]]) -> None:
    similarity, same = np.asarray([p[0] for p in pairs]), np.asarray([float(p[1]) for p in pairs])
    x, share = isotonic(similarity, same)
    assert (np.diff(share) >= 0).all()
    assert (np.diff(x) > 0).all()
    fitted = share[np.searchsorted(x, similarity, side="left")]
    assert fitted.mean() == pytest.approx(same.mean())


def judged(world: World, rng: np.random.Generator, n: int = 60) -> tuple[FloatArray, BoolArray]:
    at, to = np.triu_indices(len(world.vectors), 1)
    similarity = (world.vectors @ world.vectors.T)[at, to]
    chosen = calibration.stratified(at, to, similarity, histogram_of(world.vectors), n, rng)
    return similarity[chosen], world.group[at[chosen]] == world.group[to[chosen]]


def test_sixty_answers_give_nearly_the_best_threshold(rng: np.random.Generator) -> None:
    world = World(rng)
    similarity, same = judged(world, rng)
    found = fit_answers(similarity, same, histogram_of(world.vectors), rng=rng, n_bootstrap=50)
    every, truth = world.pairs()
    assert f1(every, truth, found.threshold) >= 0.85 * best_f1(every, truth)
    taken = every >= found.threshold
    precision = (taken & truth).sum() / taken.sum()
    low, high = found.precision_interval
    assert low - 0.1 <= precision <= high + 0.1
    assert found.n == len(similarity) == 60


def test_questions_are_spread_over_the_similarities(rng: np.random.Generator) -> None:
    similarity = np.concatenate([rng.uniform(0, 0.2, 5_000), rng.uniform(0.2, 1, 200)]).astype(np.float32)
    at = np.arange(len(similarity))
    histogram = Histogram(binned(similarity)[None], 40)
    chosen = calibration.stratified(at, at + 1, similarity, histogram, 50, rng)
    assert len(set(chosen.tolist())) == 50
    counts = np.histogram(similarity[chosen], bins=5, range=(similarity[chosen].min(), 1))[0]
    assert counts.min() >= 6, counts


def test_all_pairs_are_asked_where_there_are_few(rng: np.random.Generator) -> None:
    at, to = np.triu_indices(4, 1)
    histogram = Histogram(binned(np.linspace(0, 1, 6))[None], 4)
    chosen = calibration.stratified(at, to, np.linspace(0, 1, 6, dtype=np.float32), histogram, 60, rng)
    assert sorted(chosen.tolist()) == list(range(6))
    assert len(calibration.stratified(at[:0], to[:0], np.empty(0, np.float32), histogram, 60, rng)) == 0


def test_answers_that_part_without_overlap_give_a_threshold_between(rng: np.random.Generator) -> None:
    similarity = np.concatenate([np.linspace(0.2, 0.5, 20), np.linspace(0.8, 0.95, 20)]).astype(np.float32)
    found = fit_answers(similarity, similarity > 0.6, Histogram(binned(similarity)[None], 40), rng=rng, n_bootstrap=20)
    assert 0.5 < found.threshold <= 0.81
    assert (found.precision, found.recall) == pytest.approx((1, 1), abs=0.1)


@pytest.mark.parametrize("same", [[True] * 12, [False] * 12, [True] * 4 + [False] * 4])
def test_too_few_answers_or_of_one_kind_are_refused(same: list[bool], rng: np.random.Generator) -> None:
    similarity = np.linspace(0, 1, len(same), dtype=np.float32)
    with pytest.raises(
        DataError, match=rf"{sum(same)} same and {len(same) - sum(same)} different answers; .* at least 10"
    ):
        fit_answers(similarity, np.asarray(same), Histogram(binned(similarity)[None], 9), rng=rng)


# -- the metric for copies -----------------------------------------------------------------------------------------


def test_a_hash_as_a_vector_has_the_cosine_of_its_bits() -> None:
    found = calibration.hash_vectors(np.asarray([0, 1, 2**64 - 1], np.uint64))
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1])
    assert (found @ found.T)[0].tolist() == pytest.approx([1, 1 - 2 / 64, -1])


def edited(rng: np.random.Generator, *, nuisance: float) -> tuple[FloatArray, NDArray[np.uint64], Copies]:
    """Pictures in 16 numbers that matter and 4 loud ones that every edit changes; hashes that say nothing."""
    n = 200
    content = rng.standard_normal((n, 16))
    loud = nuisance * rng.standard_normal((n, 4))
    of = np.repeat(np.arange(100), 6)
    copies = np.hstack([content[of] + 0.2 * rng.standard_normal((600, 16)), nuisance * rng.standard_normal((600, 4))])
    hashes = rng.integers(0, 2**63, n).astype(np.uint64)
    code = np.tile(np.arange(6), 100)
    noise = rng.integers(0, 2**63, 600).astype(np.uint64)
    return unit(np.hstack([content, loud])), hashes, Copies(unit(copies), noise, of, code)


def test_directions_that_edits_move_are_shrunk_and_a_hash_of_noise_is_left_out(rng: np.random.Generator) -> None:
    vectors, hashes, copies = edited(rng, nuisance=2.0)
    found = calibration.learn_metric(vectors, hashes, copies, np.zeros((200, 200)), rng=rng)
    assert found.helps
    assert found.gain > 0.1
    assert "within" in found.name
    assert found.hash_weight == 0
    assert found.matrix is not None
    content, loud = np.diag(found.matrix)[:16], np.diag(found.matrix)[16:]
    assert loud.max() < 0.5 * content.min()


def test_directions_that_many_pictures_share_are_shrunk_where_that_tells_copies(rng: np.random.Generator) -> None:
    """Which of eight kinds a picture is of says little about which picture it is; fine detail does."""
    n = 400
    kinds = rng.standard_normal((8, 64))
    vectors = kinds[np.arange(n) % 8] + 0.3 * rng.standard_normal((n, 64))
    of = np.repeat(np.arange(100), 6)
    copies = vectors[of] + 0.3 * rng.standard_normal((600, 64))
    noise = rng.integers(0, 2**63, n + 600).astype(np.uint64)
    made = Copies(unit(copies), noise[n:], of, np.tile(np.arange(6), 100))
    found = calibration.learn_metric(unit(vectors), noise[:n], made, np.zeros((n, n)), rng=rng)
    assert found.name.startswith("whitened-")
    assert found.helps
    assert found.mean is not None
    assert found.matrix is not None
    np.testing.assert_allclose(found.mean, unit(vectors).mean(axis=0), atol=1e-6)
    kept = np.linalg.norm(unit(kinds - kinds.mean(axis=0)) @ found.matrix, axis=1)
    anywhere = np.linalg.norm(unit(rng.standard_normal((50, 64))) @ found.matrix, axis=1)
    assert kept.max() < 0.8 * anywhere.min()


def test_pictures_that_shape_a_metric_are_not_those_it_is_scored_on(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, hashes, copies = edited(rng, nuisance=2.0)
    shaped: list[set[int]] = []
    scored: list[set[int]] = []
    candidates, others = metric._candidates, metric._others

    def shaping(vectors: FloatArray, once: Wide, at: IntArray, copies: Copies) -> object:
        shaped.append(set(at.tolist()))
        return candidates(vectors, once, at, copies)

    def scoring(vectors: FloatArray, hashes: NDArray[np.uint64], is_same: Wide, at: IntArray) -> object:
        scored.append(set(at.tolist()))
        return others(vectors, hashes, is_same, at)

    monkeypatch.setattr(metric, "_candidates", shaping)
    monkeypatch.setattr(metric, "_others", scoring)
    calibration.learn_metric(vectors, hashes, copies, np.zeros((200, 200)), rng=rng)
    assert len(scored) == 12
    for left, right in zip(shaped, scored, strict=False):
        assert left.isdisjoint(right)
        assert left | right == set(range(200))
    assert shaped[-1] == set(range(200))  # the chosen one is learnt from all


def test_a_hash_that_tells_copies_is_blended_in(rng: np.random.Generator) -> None:
    vectors, hashes, copies = edited(rng, nuisance=2.0)
    telling = Copies(copies.vectors, hashes[copies.of], copies.of, copies.edit)
    found = calibration.learn_metric(vectors, hashes, telling, np.zeros((200, 200)), rng=rng)
    assert found.hash_weight > 0
    space = calibration.apply_metric(found, vectors, hashes)
    assert space.shape == (200, 20 + 64)
    assert np.linalg.norm(space, axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    bits = np.asarray([(int(hashes[0]) ^ int(h)).bit_count() for h in hashes])
    alone = calibration.Metric(found.name, found.mean, found.matrix, 0.0, 0, 0, {})
    plain = calibration.apply_metric(alone, vectors, hashes)
    w = found.hash_weight
    assert space @ space[0] == pytest.approx((1 - w) * (plain @ plain[0]) + w * (1 - 2 * bits / 64), abs=1e-5)


def test_a_metric_that_cannot_help_is_not_kept(rng: np.random.Generator) -> None:
    vectors = unit(rng.standard_normal((100, 64)))
    of = np.repeat(np.arange(100), 4)
    copies = Copies(moved(vectors[of], 0.05, rng), np.zeros(400, np.uint64), of, np.tile(np.arange(4), 100))
    found = calibration.learn_metric(vectors, np.zeros(100, np.uint64), copies, np.zeros((100, 100)), rng=rng)
    assert not found.helps
    assert found.held_out["plain"] > 0.99


def test_a_metric_of_hardly_any_pictures_is_not_kept(rng: np.random.Generator) -> None:
    for n in (2, 3, 8):
        vectors = unit(rng.standard_normal((n, 8)))
        of = np.repeat(np.arange(n), 4)
        copies = Copies(moved(vectors[of], 0.1, rng), np.zeros(4 * n, np.uint64), of, np.tile(np.arange(4), n))
        found = calibration.learn_metric(vectors, np.zeros(n, np.uint64), copies, np.zeros((n, n)), rng=rng)
        assert not found.helps


def test_a_metric_for_vectors_of_another_length_is_refused() -> None:
    metric = calibration.Metric("centred", np.zeros(4), None, 0.0, 0.1, 0.0, {})
    with pytest.raises(BadEmbeddings, match="for 4 numbers per vector, found 3; run `curator calibrate` again"):
        calibration.apply_metric(metric, np.eye(3, dtype=np.float32), np.zeros(3, np.uint64))


def test_bins_cover_the_whole_range() -> None:
    assert edges()[0] == -1
    assert binned(np.asarray([-1.0, 1.0, 1.0 + 1e-7]))[[0, -1]].tolist() == [1, 2]
