"""Picks: an ordering of positions with what each one brought.

Every method of this folder returns the same value, so that reasons, evidence
and exports need not know which method made it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadEmbeddings, BadSelection

ROWS = 2048  # a GEMM result of 2048 x 1024 is 8 MB: past that the reduction after it waits for memory
CENTRES = 1024


@dataclass(frozen=True, slots=True)
class Picks:
    """An ordering of positions, best first. Distances are cosine distances, 1 - similarity, 0..2."""

    positions: IntArray  # (m,) no position twice
    gains: FloatArray  # (m,) what the pick added when it was picked, in the unit of its method
    covers: IntArray  # (m,) points whose most similar pick this is, of the whole selection; -1 while not counted
    nearest: FloatArray  # (m,) distance to the nearest earlier pick or preselected point; nan where there is none

    def __post_init__(self) -> None:
        if not len(self.positions) == len(self.gains) == len(self.covers) == len(self.nearest):
            raise BadSelection(
                f"picks with {len(self.positions)} positions, {len(self.gains)} gains, {len(self.covers)} covers and "
                f"{len(self.nearest)} distances; expected one of each per pick"
            )

    def __len__(self) -> int:
        return len(self.positions)


def parse_budget(budget: int | str, n: int) -> int:
    """Read a budget: a number of picks, or a share of `n` such as "5%".

    Args:
        budget: 147, "147" or "5%"; a share is rounded, and to at least 1 where there is anything to pick.
        n: how many there are to pick from.

    Returns:
        Picks asked for, >= 1 (0 for a share of nothing). A number may exceed `n`; `run` then says so.

    Raises:
        BadSelection: not a whole number above 0, nor a share above 0 % and up to 100 %.
    """
    text = str(budget).strip()
    try:
        if text.endswith("%"):
            share = float(text[:-1])
            if not 0.0 < share <= 100.0:
                raise ValueError(text)
            return min(n, max(1, math.floor(n * share / 100.0 + 0.5)))
        number = int(text)
        if number < 1:
            raise ValueError(text)
    except ValueError:
        raise BadSelection(
            f"budget {budget!r}; expected a whole number above 0 such as 500, or a share such as 5%"
        ) from None
    return number


def check(vectors: FloatArray, *, preselected: IntArray | Sequence[int] | None, candidates: BoolArray | None) -> None:
    """Refuse a selection whose pieces do not belong together.

    Raises:
        BadEmbeddings: `vectors` is not (n, d).
        BadSelection: `candidates` is not (n,), or a preselected position is outside 0..n-1.
    """
    if vectors.ndim != 2:
        raise BadEmbeddings(f"vectors with {vectors.ndim} axes; expected 2, (n, d)")
    n = len(vectors)
    if candidates is not None and candidates.shape != (n,):
        raise BadSelection(f"candidates of shape {candidates.shape} for {n} vectors; expected one flag per vector")
    given = positions_of(preselected)
    if len(given) and not (given.min() >= 0 and given.max() < n):
        raise BadSelection(f"preselected positions {given.min()}..{given.max()}; expected 0..{n - 1}")


def positions_of(preselected: IntArray | Sequence[int] | None) -> IntArray:
    """Preselected positions as an array, empty for None."""
    return np.asarray([] if preselected is None else preselected, np.int64).reshape(-1)


def open_positions(n: int, *, preselected: IntArray, candidates: BoolArray | None) -> IntArray:
    """Positions that may be picked: the candidates that are not preselected, increasing."""
    may = np.ones(n, np.bool_) if candidates is None else candidates.copy()
    may[preselected] = False
    return np.flatnonzero(may)


def weights_of(weights: FloatArray | None, n: int) -> FloatArray:
    """How much each point counts, (n,); 1 each for None.

    Raises:
        BadSelection: not n finite numbers of 0 or more.
    """
    weight = np.ones(n, np.float32) if weights is None else np.asarray(weights, np.float32)
    if weight.shape != (n,) or not bool(np.all((weight >= 0) & (weight < np.inf))):
        raise BadSelection(f"weights of shape {weight.shape}; expected {n} numbers of 0 or more, one per vector")
    return weight


class Growing:
    """Vectors that come one by one, held together; `rows` is a view of those so far."""

    def __init__(self, dim: int) -> None:
        self._room = np.empty((64, dim), np.float32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> FloatArray:
        """(m, dim) the vectors so far, in order."""
        return self._room[: self._n]

    def append(self, vector: FloatArray) -> None:
        """Add one at the end."""
        if self._n == len(self._room):
            self._room = np.concatenate([self._room, np.empty_like(self._room)])
        self._room[self._n] = vector
        self._n += 1


def take(vectors: FloatArray, positions: IntArray) -> FloatArray:
    """Vectors at increasing, distinct positions; not copied where they are all there are."""
    return vectors if len(positions) == len(vectors) else vectors[positions]


def blocks(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover 0..n."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def best_similarity(rows: FloatArray, centres: FloatArray) -> FloatArray:
    """Highest cosine of each row to any centre, (n,) float32; -2 without centres."""
    best = np.full(len(rows), -2.0, np.float32)
    for of in blocks(len(rows), ROWS):
        for to in blocks(len(centres), CENTRES):
            np.maximum(best[of], (rows[of] @ centres[to].T).max(axis=1), out=best[of])
    return best


def distance_to_earlier(vectors: FloatArray, positions: IntArray, *, preselected: IntArray) -> FloatArray:
    """Cosine distance of each pick to the nearest earlier pick or preselected point, (m,); nan where there is none."""
    chosen = vectors[positions]  # (m, d)
    best = best_similarity(chosen, vectors[preselected])
    for of in blocks(len(chosen), 512):  # small, for the mask over it is as large again
        np.maximum(best[of], best_similarity(chosen[of], chosen[: of.start]), out=best[of])
        own = chosen[of] @ chosen[of].T  # (rows, rows)
        own[np.triu_indices(len(own))] = -2.0  # itself and later picks
        np.maximum(best[of], own.max(axis=1), out=best[of])
    distance: FloatArray = np.clip(1.0 - best, 0.0, 2.0).astype(np.float32)
    distance[best < -1.5] = np.nan
    return distance


def ordered(
    vectors: FloatArray,
    positions: IntArray | Sequence[int],
    gains: FloatArray | Sequence[float],
    *,
    preselected: IntArray,
) -> Picks:
    """Picks in the given order, with their distance to what was there before; covers not counted yet."""
    order = np.asarray(positions, np.int64)
    return Picks(
        positions=order,
        gains=np.asarray(gains, np.float32),
        covers=np.full(len(order), -1, np.int64),
        nearest=distance_to_earlier(vectors, order, preselected=preselected),
    )
