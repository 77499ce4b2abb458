"""The two orderings that any method has to beat: at random, and every nth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.selection.density import first_allowed
from curator.selection.picks import Picks, check, open_positions, ordered, positions_of
from curator.selection.quotas import Caps


def random_picks(
    vectors: FloatArray,
    budget: int,
    *,
    rng: np.random.Generator,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    caps: Caps | None = None,
) -> Picks:
    """Draw candidates at random without repeats; under one seed a prefix is the smaller selection. Gains are 0."""
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    order = rng.permutation(open_positions(len(vectors), preselected=given, candidates=candidates))
    picked = first_allowed(order, budget, caps=caps)
    return ordered(vectors, picked, np.zeros(len(picked), np.float32), preselected=given)


def every_nth_picks(
    vectors: FloatArray,
    budget: int,
    *,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    caps: Caps | None = None,
) -> Picks:
    """Take candidates at even steps in their order, within each group where there are caps; in that order.

    Strong where files are sorted by scene or time. A smaller budget is not a prefix of a larger
    one: its steps are longer. Gains are 0.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    if caps is not None:
        codes = caps.codes[among]
        parts = [every_nth(among[codes == group], int(most)) for group, most in enumerate(caps.most)]
        among = np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))
    picked = every_nth(among, budget)
    return ordered(vectors, picked, np.zeros(len(picked), np.float32), preselected=given)


def every_nth(values: IntArray, size: int) -> IntArray:
    """At most `size` values at even steps, beginning with the first."""
    size = min(size, len(values))
    return values[np.arange(size) * len(values) // max(size, 1)]
