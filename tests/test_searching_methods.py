"""Rocchio and the probe: what they promise, beside a textbook solver."""

from __future__ import annotations

import numpy as np
import pytest

from curator.data import FloatArray
from curator.errors import BadQuery
from curator.searching import fit_probe, rocchio
from tests.vectors import clumps, round_clumps, unit

NONE = np.empty((0, 32), np.float32)


def test_rocchio_of_one_example_is_that_example(rng: np.random.Generator) -> None:
    one = unit(rng, 1, 32)
    assert rocchio(NONE, one, NONE, alpha=1, beta=0.75, gamma=0.15) == pytest.approx(one[0], abs=1e-6)
    assert rocchio(one, NONE, NONE, alpha=1, beta=0.75, gamma=0.15) == pytest.approx(one[0], abs=1e-6)


def test_rocchio_moves_toward_what_is_liked_and_away_from_what_is_not(rng: np.random.Generator) -> None:
    asked, liked, disliked = (unit(rng, 1, 32) for _ in range(3))
    found = rocchio(asked, liked, disliked, alpha=1, beta=0.75, gamma=0.5)
    assert found @ liked[0] > asked[0] @ liked[0]
    assert found @ disliked[0] < asked[0] @ disliked[0]


def test_rocchio_refuses_what_cancels_out(rng: np.random.Generator) -> None:
    one = unit(rng, 1, 32)
    with pytest.raises(BadQuery, match="positives and negatives cancel each other out"):
        rocchio(NONE, one, one, alpha=1, beta=0.5, gamma=0.5)


def sets(rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    vectors = clumps(rng, 400, 32, n_clumps=4)
    return vectors[:12], vectors[12:30], vectors[100:300]


def test_the_probe_is_the_minimum_that_another_solver_finds(rng: np.random.Generator) -> None:
    from sklearn.linear_model import LogisticRegression

    positives, negatives, background = sets(rng)
    l2 = 0.05
    found = fit_probe(positives, negatives, background, l2=l2)
    others = np.concatenate([negatives, background]).astype(np.float64)
    centre = background.astype(np.float64).mean(axis=0)
    scale = np.linalg.norm(others - centre, axis=1).mean()
    points = (np.concatenate([positives.astype(np.float64), others]) - centre) / scale
    labels = np.arange(len(points)) < len(positives)
    weights = np.concatenate([np.full(12, 0.5 / 12), np.full(18, 0.25 / 18), np.full(200, 0.25 / 200)])
    peer = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000).fit(points, labels, sample_weight=weights)
    assert found.weights == pytest.approx(peer.coef_[0] / scale, abs=2e-4)
    logit = points @ peer.coef_[0] + peer.intercept_[0]
    everyone = np.concatenate([positives, negatives, background])
    assert found.logit(everyone) == pytest.approx(logit, abs=2e-3)
    assert found.probability(everyone) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)


def test_a_warm_start_ends_where_a_cold_one_does(rng: np.random.Generator) -> None:
    positives, negatives, background = sets(rng)
    before = fit_probe(positives[:3], negatives[:2], background)
    cold = fit_probe(positives, negatives, background)
    warm = fit_probe(positives, negatives, background, start=before)
    assert warm.weights == pytest.approx(cold.weights, abs=1e-3)
    assert warm.bias == pytest.approx(cold.bias, abs=1e-3)


def test_the_order_of_the_examples_does_not_matter(rng: np.random.Generator) -> None:
    positives, negatives, background = sets(rng)
    one = fit_probe(positives, negatives, background)
    other = fit_probe(positives[::-1], negatives[::-1], background)
    assert one.weights == pytest.approx(other.weights, abs=1e-4)
    again = fit_probe(positives, negatives, background)
    assert (one.weights == again.weights).all()


def test_one_positive_is_enough(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 600, 32, n_clumps=6)
    found = fit_probe(vectors[:1], NONE, vectors[100:400])
    near = vectors[1:] @ vectors[0]
    best = np.argsort(-found.logit(vectors[1:]))[:20]
    assert near[best].min() > 0.6
    assert 0.0 < float(found.probability(vectors[1:]).max()) < 1.0


def test_negatives_push_their_like_down(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 600, 32, n_clumps=6)
    near = np.argsort(-(vectors @ vectors[0]))
    positive, negative = vectors[near[:1]], vectors[near[5:6]]
    plain, pushed = fit_probe(positive, NONE, vectors[300:]), fit_probe(positive, negative, vectors[300:])
    gap = [float(probe.logit(positive)[0] - probe.logit(negative)[0]) for probe in (plain, pushed)]
    assert gap[1] > gap[0]


def test_a_probe_without_anything_to_part_is_refused(rng: np.random.Generator) -> None:
    one = unit(rng, 1, 32)
    with pytest.raises(BadQuery, match="a probe over 0 positives and 1 others; expected at least 1 of each"):
        fit_probe(NONE, one, NONE)
    with pytest.raises(BadQuery, match="a probe over 1 positives and 0 others"):
        fit_probe(one, NONE, NONE)
