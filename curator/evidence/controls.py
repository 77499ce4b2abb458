"""What a selection is measured against: random draws and every-nth from the same pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.data import BoolArray, IntArray
from curator.errors import BadSelection
from curator.selection import every_nth


@dataclass(frozen=True, slots=True)
class Controls:
    """Random orderings of a pool, and the pool itself for every-nth; the same for every measure of a selection."""

    pool: IntArray  # (m,) positions that may be drawn, in their order
    draws: IntArray  # (r, k) each row an ordering without repetition, so its prefix is a smaller draw

    def __len__(self) -> int:
        return len(self.draws)

    def nth(self, budget: int) -> IntArray:
        """`budget` positions at even steps through the pool."""
        return every_nth(self.pool, budget)


def draw_controls(
    n: int,
    size: int,
    *,
    rng: np.random.Generator,
    n_random: int = 40,
    candidates: BoolArray | None = None,
    preselected: IntArray | None = None,
) -> Controls:
    """Draw `n_random` orderings of at most `size` positions of 0..n-1.

    Args:
        candidates: (n,) who may be drawn; None: everyone.
        preselected: positions never drawn, for they are labelled already.

    Raises:
        BadSelection: no random draw.
    """
    if n_random < 1:
        raise BadSelection(f"{n_random} random draws; expected 1 or more")
    available = np.ones(n, np.bool_) if candidates is None else candidates.copy()
    if preselected is not None:
        available[preselected] = False
    pool = np.flatnonzero(available)
    size = min(size, len(pool))
    draws = [rng.choice(pool, size, replace=False) for _ in range(n_random)]
    return Controls(pool, np.asarray(draws, np.int64).reshape(n_random, size))
