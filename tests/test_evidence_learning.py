"""Learning curves: against counting by hand and scikit-learn's ridge, and honest where nothing can be told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from curator.data import BoolArray, FloatArray, IntArray
from curator.evidence import Controls, Learning, draw_controls, learning_curves, ridge, versus
from curator.evidence import learning as module
from curator.selection import every_nth
from tests.vectors import round_clumps, unit


def classed(
    rng: np.random.Generator, n: int, *, n_classes: int = 6, spread: float = 1.0
) -> tuple[FloatArray, IntArray]:
    """Unit vectors in clumps, one class each, in random order."""
    vectors = round_clumps(rng, n, 24, n_clumps=n_classes, spread=0.0)
    centres = np.unique(vectors.round(4), axis=0)
    classes = (vectors @ centres.T).argmax(axis=1)
    noisy = vectors + spread * rng.standard_normal(vectors.shape).astype(np.float32) / 24**0.5
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32), classes.astype(np.int64)


def curves(vectors: FloatArray, classes: IntArray, ordering: IntArray, *, seed: int = 0, **more: object) -> Learning:
    given: dict[str, object] = {
        "controls": draw_controls(len(vectors), len(ordering), rng=np.random.default_rng(seed), n_random=5),
        "tests": np.ones(len(vectors), np.bool_), "threshold": 0.999, "rng": np.random.default_rng(seed),
    }  # fmt: skip
    found = learning_curves(vectors, classes, ordering, **(given | more))  # type: ignore[arg-type]
    assert found is not None
    return found


def balanced(truth: IntArray, said: IntArray, on: BoolArray) -> float:
    recalls = [float((said[on & (truth == c)] == c).mean()) for c in np.unique(truth[on])]
    return float(np.mean(recalls))


def test_the_accuracies_are_those_of_counting_by_hand(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 150)
    ordering, draw = np.arange(12), np.arange(40, 52)
    controls = Controls(np.arange(150), draw[None])
    found = curves(vectors, classes, ordering, controls=controls)
    assert found.budgets.tolist() == [1, 2, 3, 6, 12]
    nth_seen = np.isin(np.arange(150), np.r_[ordering, every_nth(np.arange(150), 12)])
    seen = np.isin(np.arange(150), np.r_[ordering, draw])
    for column, b in enumerate(found.budgets.tolist()):
        for picks, value, on in (
            (ordering[:b], found.one_nn.selected, ~seen),
            (draw[:b], found.one_nn.random_mean, ~seen),
            (every_nth(np.arange(150), b), found.one_nn.every_nth, ~nth_seen),
        ):
            said = classes[picks][(vectors @ vectors[picks].T).argmax(axis=1)]
            assert value[column] == pytest.approx(balanced(classes, said, on), abs=1e-5)
    ours = classes[ordering][(vectors @ vectors[ordering].T).argmax(axis=1)]
    gap = balanced(classes, ours, ~nth_seen) - found.one_nn.every_nth[-1]  # both on the points that neither has seen
    assert found.one_nn.nth_gap[-1] == pytest.approx(gap, abs=1e-5)
    beside = found.measures()[0]
    assert beside.beside_every_nth == np.sign(gap) * (abs(gap) > 5e-4)
    said = ridge(vectors[ordering], classes[ordering], vectors)
    assert found.probe.selected[-1] == pytest.approx(balanced(classes, said, ~seen), abs=1e-5)


@pytest.mark.parametrize("k", [10, 40])  # fewer and more picks than the 24 dimensions
def test_the_probe_is_scikit_learns_ridge_classifier(rng: np.random.Generator, k: int) -> None:
    from sklearn.linear_model import RidgeClassifier

    vectors, classes = classed(rng, 200)
    expected = RidgeClassifier(alpha=0.3).fit(vectors[:k], classes[:k]).predict(vectors[k:])
    assert (ridge(vectors[:k], classes[:k], vectors[k:]) == expected).mean() > 0.99


def test_one_class_is_all_a_probe_can_say_after_one_pick(rng: np.random.Generator) -> None:
    assert ridge(unit(rng, 1), np.array([4]), unit(rng, 3)).tolist() == [4, 4, 4]


def test_near_duplicates_of_a_pick_are_no_tests(rng: np.random.Generator) -> None:
    vectors = unit(rng, 80, 64)
    classes = np.arange(80) % 2  # classes mean nothing: an unseen point is a coin toss, a copy is known
    copies = vectors + 0.02 * unit(rng, 80, 64)
    both = np.vstack([vectors, copies / np.linalg.norm(copies, axis=1, keepdims=True)]).astype(np.float32)
    twice = np.concatenate([classes, classes])
    controls = Controls(np.arange(40), np.arange(40)[None, ::-1])
    leaky = curves(both, twice, np.arange(40), controls=controls, threshold=1.5)
    fair = curves(both, twice, np.arange(40), controls=controls, threshold=0.99)
    assert leaky.one_nn.selected[-1] == pytest.approx((40 + 80 * fair.one_nn.selected[-1]) / 120, abs=0.01)
    assert 0.3 < fair.one_nn.selected[-1] < 0.7


def test_a_pick_is_never_its_own_test(rng: np.random.Generator) -> None:
    vectors, classes = unit(rng, 100, 64), np.arange(100) % 2
    controls = Controls(np.arange(40), np.arange(40)[None, ::-1])
    found = curves(vectors, classes, np.arange(40), controls=controls, threshold=1.5)
    assert 0.3 < found.one_nn.selected[-1] < 0.7  # with the 40 picks among the tests it would be above 0.64


def test_every_class_counts_the_same(rng: np.random.Generator) -> None:
    centre = np.eye(2, 8, dtype=np.float32)
    vectors = np.vstack([np.tile(centre[0], (90, 1)), np.tile(centre[1], (10, 1))])
    vectors = vectors + 0.2 * unit(rng, 100, 8)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    classes = (np.arange(100) >= 90).astype(np.int64)
    controls = Controls(np.arange(100), np.array([[1, 95]]))
    found = curves(vectors, classes, np.array([0, 2]), controls=controls, threshold=1.5)
    assert found.one_nn.selected[-1] == pytest.approx(0.5)  # 88 of 97 right would read 0.91
    assert found.one_nn.random_mean[-1] == pytest.approx(1.0)


def test_a_selection_that_sees_all_classes_beats_random_and_a_random_one_does_not(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 600, n_classes=20, spread=0.8)
    one_each = np.array([np.flatnonzero(classes == c)[0] for c in np.unique(classes)])
    controls = draw_controls(600, len(one_each), rng=rng, n_random=20)
    good = curves(vectors, classes, one_each, controls=controls)
    poor = curves(vectors, classes, rng.permutation(600)[: len(one_each)], controls=controls)
    assert [measure.standing for measure in good.measures()] == [1, 1]
    assert [measure.standing for measure in poor.measures()] == [0, 0]
    assert good.one_nn.gap_low[-1] > 0 > poor.one_nn.gap_low[-1]


def test_unknown_classes_are_neither_trained_on_nor_tested(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 120)
    unknown = classes.copy()
    unknown[60:] = -1
    controls = Controls(np.arange(120), np.arange(100, 110)[None])
    found = curves(vectors, unknown, np.arange(50, 70), controls=controls)
    assert found.n_tests == 60
    assert found.one_nn.random_mean[-1] == 0.0  # a draw without one known class knows nothing


def test_preselected_points_teach_everyone(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 200)
    given = np.arange(80)
    controls = draw_controls(200, 3, rng=rng, n_random=4, preselected=given)
    alone = curves(vectors, classes, np.array([100, 101, 102]), controls=controls)
    taught = curves(vectors, classes, np.array([100, 101, 102]), controls=controls, preselected=given)
    assert taught.one_nn.random_mean[0] > alone.one_nn.random_mean[0]


def test_a_large_test_set_is_sampled(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TESTS", 100)
    vectors, classes = classed(rng, 500)
    assert curves(vectors, classes, np.arange(10)).n_tests == 100


def test_near_duplicates_may_be_told_in_other_vectors(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 100)
    same = np.tile(np.array([[1.0, 0.0]], np.float32), (100, 1))
    controls = draw_controls(100, 5, rng=rng, n_random=2)
    everyone = np.ones(100, np.bool_)
    found = learning_curves(
        vectors, classes, np.arange(5), controls=controls, tests=everyone, threshold=0.99, rng=rng, alike=same
    )
    assert found is None  # all are near-duplicates of each other, so nobody is left to test on


@pytest.mark.parametrize("n_picks", [0, 20])
def test_where_nothing_can_be_told_nothing_is(rng: np.random.Generator, n_picks: int) -> None:
    vectors = unit(rng, 20)
    classes = np.arange(20) % 2 if n_picks == 0 else np.zeros(20, np.int64)
    controls = draw_controls(20, n_picks, rng=rng, n_random=2)
    everyone = np.ones(20, np.bool_)
    assert (
        learning_curves(vectors, classes, np.arange(n_picks), controls=controls, tests=everyone, threshold=0.9, rng=rng)
        is None
    )


def test_curves_are_plain_json_and_repeatable(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 100)
    one, two = (curves(vectors, classes, np.arange(8)).to_dict() for _ in range(2))
    assert json.loads(json.dumps(one)) == one == two


# -- two selections --


def test_two_selections_are_tested_on_what_neither_has_seen(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 300, n_classes=10)
    good = np.array([np.flatnonzero(classes == c)[0] for c in np.unique(classes)])
    poor = np.flatnonzero(classes == 0)[: len(good)]
    everyone = np.ones(300, np.bool_)
    found = versus(vectors, classes, good, poor, tests=everyone, threshold=0.9999, rng=rng)
    assert [m.name for m in found] == ["1-NN accuracy", "linear-probe accuracy"]
    unseen = ~np.isin(np.arange(300), np.r_[good, poor])
    said = classes[good][(vectors @ vectors[good].T).argmax(axis=1)]
    assert found[0].selected == pytest.approx(balanced(classes, said, unseen), abs=1e-5)
    assert found[0].standing == 1
    back = versus(vectors, classes, poor, good, tests=everyone, threshold=0.9999, rng=rng)
    assert back[0].standing == -1
    same = versus(vectors, classes, good, good, tests=everyone, threshold=0.9999, rng=rng)
    assert [m.standing for m in same] == [0, 0]


def test_a_selection_of_nothing_is_not_compared(rng: np.random.Generator) -> None:
    vectors, classes = classed(rng, 50)
    nothing = np.zeros(0, np.int64)
    assert versus(vectors, classes, nothing, np.arange(3), tests=np.ones(50, np.bool_), threshold=0.9, rng=rng) == ()
