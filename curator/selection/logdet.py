"""Log-determinant: picks that are as little explained by one another as can be.

The picks of highest probability under a determinantal point process, found
greedily. Unlike k-center it looks at all picks at once, not at the nearest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadSelection
from curator.selection.greedy import pooled_greedy
from curator.selection.kcenter import k_center, most_central
from curator.selection.picks import Picks, check, open_positions, ordered, positions_of, weights_of
from curator.selection.quotas import Caps, Tally

WIDTH = 0.2  # of the kernel: at a cosine of 0.86 half is left, at 0.5 a twelfth
NOISE = 0.01  # variance that nobody explains: a copy of a pick still adds log(2)
HISTORY_BYTES = 1 << 30  # above, candidates are shortlisted; the history is 8 bytes per candidate and pick
BLOCK = 512
SMALLEST = 1e-6  # variance that rounding may have taken from a bound


def log_det(
    vectors: FloatArray,
    budget: int,
    *,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    weights: FloatArray | None = None,
    caps: Caps | None = None,
    width: float = WIDTH,
    noise: float = NOISE,
    history_bytes: int = HISTORY_BYTES,
    progress: Progress = no_progress,
) -> Picks:
    """Order candidates so that each is the one least explained by all before it.

    Maximises log det(I + K / noise) over the picks with K_ij = sqrt(w_i w_j) exp((cos_ij - 1) / width),
    greedily: at least 1 - 1/e of the best value, for this form of it never falls and is submodular.
    Exact greedy MAP by one more row of a Cholesky factor per pick, O(c k^2), after Chen, Zhang and
    Zhou, "Fast Greedy MAP Inference for Determinantal Point Process to Improve Recommendation
    Diversity", NeurIPS 2018; rows are brought up to date only for candidates that may be next.
    Where c times k rows would not fit `history_bytes`, the candidates are shortlisted by k-center,
    and a smaller budget is a prefix only while the shortlist is the same. Without preselected points
    and weights the first pick is the most central candidate. Ties go to the lowest position.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        preselected: positions that explain from the start and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        weights: (n,) >= 0, quality of each point; twice the quality, twice the variance. None: 1 each.
        caps: most picks per group.
        width: cosine over which similarity falls to 1/e, > 0.
        noise: variance that is never explained, > 0.
        history_bytes: memory for the factor's rows.

    Returns:
        Picks whose gain is log(1 + variance left / noise), no unit; never rising.

    Raises:
        BadSelection: candidates, preselected positions or weights that do not fit the vectors, a width or noise
            that is not above 0.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    budget = min(budget, len(among))
    n_kept = max(budget, history_bytes // (8 * max(1, budget + len(given))))
    if n_kept < len(among):
        among = _shortlist(vectors, n_kept, given=given, candidates=candidates, caps=caps, progress=progress)
    objective = LogDetGain(vectors, among, given, weights=weights, width=width, noise=noise, most=budget)
    tally = Tally(caps, among)
    first = _first(vectors, among, tally, budget) if len(given) == 0 and weights is None else []
    opening = [objective.gain(slot) for slot in first]
    for slot in first:
        objective.add(slot)
    slots, gains = pooled_greedy(objective, budget - len(first), tally=tally, progress=progress, already=first)
    slots, gains = np.append(np.array(first, np.int64), slots), np.append(np.array(opening, np.float32), gains)
    return ordered(vectors, among[slots], np.minimum.accumulate(gains), preselected=given)


def _first(vectors: FloatArray, among: IntArray, tally: Tally, budget: int) -> list[int]:
    """The most central candidate: before a first pick all are equally unexplained, and position must not decide."""
    first = most_central(vectors, among, allowed=tally.open_points()) if budget else -1
    return [first] if first >= 0 else []


def _shortlist(
    vectors: FloatArray,
    size: int,
    *,
    given: IntArray,
    candidates: BoolArray | None,
    caps: Caps | None,
    progress: Progress,
) -> IntArray:
    """The candidates that are farthest from each other; under caps those of each group by themselves."""
    if caps is None:
        return np.sort(k_center(vectors, size, preselected=given, candidates=candidates, progress=progress).positions)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    n_in = np.bincount(caps.codes[among], minlength=len(caps.most))
    share = np.maximum(n_in * size // max(1, len(among)), np.minimum(n_in, caps.most))
    wide = Caps(caps.codes, share)
    kept = k_center(vectors, int(share.sum()), preselected=given, candidates=candidates, caps=wide, progress=progress)
    return np.sort(kept.positions)


class LogDetGain:
    """What candidates add to log det(I + K / noise): log(1 + the variance that the picks leave / noise).

    Args:
        vectors: (n, d) unit vectors.
        among: (c,) positions of the candidates, increasing; the objective calls them 0..c-1.
        given: positions that explain from the start.
        weights: (n,) >= 0, quality of each point; None: 1 each.
        width: cosine over which similarity falls to 1/e, > 0.
        noise: variance that is never explained, > 0.
        most: picks to expect; more are taken as well, at the cost of a copy.

    Raises:
        BadSelection: weights that do not fit the vectors, a width or noise that is not above 0.
    """

    def __init__(
        self,
        vectors: FloatArray,
        among: IntArray,
        given: IntArray,
        *,
        weights: FloatArray | None = None,
        width: float = WIDTH,
        noise: float = NOISE,
        most: int = 64,
    ) -> None:
        if not (width > 0 and noise > 0):
            raise BadSelection(f"log-det with width {width} and noise {noise}; expected both above 0")
        root = np.sqrt(weights_of(weights, len(vectors)).astype(np.float64))
        self._vectors, self._among, self._root = vectors, among, root
        self._width, self._noise = width, noise
        self._left = root[among] ** 2  # (c,) variance that the picks known to each candidate leave
        self._seen = np.zeros(len(among), np.int64)
        room = max(64, most + len(given))
        # Pages of these are taken from the system as they are written: candidates never looked at cost nothing.
        self._rows = np.empty((len(among), room), np.float64)  # of the Cholesky factor, one per candidate
        self._factor = np.zeros((room, room), np.float64)  # (k, k) of the picks, lower triangle
        self._picked: list[int] = []  # positions
        for position in given.tolist():
            own, left = self._own_row(position)
            self._append(position, own, left)

    def first_gains(self) -> FloatArray:
        """Bound of what each candidate adds now, (c,)."""
        return self.gains(np.arange(len(self._among))) if self._picked else self._gain_of(self._left)

    def gains(self, candidates: IntArray) -> FloatArray:
        """Bounds of what these would add now, (b,)."""
        order = candidates[np.argsort(self._seen[candidates], kind="stable")]
        seen = self._seen[order]
        starts = np.flatnonzero(np.diff(seen, prepend=-1))
        for start, stop in pairwise([*starts.tolist(), len(order)]):
            for first in range(start, stop, BLOCK):
                self._catch_up(order[first : min(first + BLOCK, stop)])
        return self._gain_of(self._left[candidates] + SMALLEST * self._root[self._among[candidates]] ** 2)

    def gain(self, candidate: int) -> float:
        """What this candidate would add now, 0 or more."""
        self._catch_up(np.array([candidate]))
        return float(np.log1p(max(self._left[candidate], 0.0) / self._noise))

    def add(self, candidate: int) -> None:
        """Pick this candidate."""
        self._catch_up(np.array([candidate]))
        n_picked = len(self._picked)
        self._append(int(self._among[candidate]), self._rows[candidate, :n_picked].copy(), self._left[candidate])

    def _gain_of(self, left: NDArray[np.float64]) -> FloatArray:
        return np.log1p(np.maximum(left, 0.0) / self._noise).astype(np.float32)

    def _kernel(self, positions: IntArray, others: IntArray) -> NDArray[np.float64]:
        """(b, m) similarity as the kernel has it; in float64, for what is left of it may be small."""
        cosine = self._vectors[positions].astype(np.float64) @ self._vectors[others].astype(np.float64).T
        cosine -= 1.0
        cosine /= self._width
        np.exp(cosine, out=cosine)
        cosine *= self._root[positions][:, None] * self._root[others]
        return cosine

    def _catch_up(self, candidates: IntArray) -> None:
        """Bring rows of candidates that know equally many picks up to date."""
        known, now = int(self._seen[candidates[0]]), len(self._picked)
        if known == now:
            return
        new = self._kernel(self._among[candidates], np.array(self._picked[known:now]))  # (b, m)
        new = self._forward(new, self._rows[candidates, :known], known, now)
        self._rows[candidates, known:now] = new
        self._left[candidates] -= np.einsum("ij,ij->i", new, new)
        self._seen[candidates] = now

    def _forward(
        self, kernel: NDArray[np.float64], rows: NDArray[np.float64], known: int, now: int
    ) -> NDArray[np.float64]:
        """Solve for the next entries of some rows, by blocks of picks."""
        new = np.empty_like(kernel)
        for start in range(known, now, BLOCK):
            stop = min(start + BLOCK, now)
            part = kernel[:, start - known : stop - known]
            if known:
                part = part - rows @ self._factor[start:stop, :known].T
            if start > known:
                part = part - new[:, : start - known] @ self._factor[start:stop, known:start].T
            corner = self._factor[start:stop, start:stop]
            alone = stop - start == 1
            new[:, start - known : stop - known] = part / corner if alone else part @ np.linalg.inv(corner).T
        return new

    def _own_row(self, position: int) -> tuple[NDArray[np.float64], float]:
        """Row of a point that is no candidate, and the variance left of it."""
        at, now = np.array([position]), len(self._picked)
        left = float(self._root[position] ** 2)
        if now == 0:
            return np.zeros(0), left
        new = self._forward(self._kernel(at, np.array(self._picked)), np.zeros((1, 0)), 0, now)[0]
        return new, left - float(new @ new)

    def _append(self, position: int, own: NDArray[np.float64], left: float) -> None:
        n_picked = len(self._picked)
        if n_picked == len(self._factor):
            self._grow()
        self._factor[n_picked, :n_picked] = own
        self._factor[n_picked, n_picked] = np.sqrt(max(left, 0.0) + self._noise)
        self._picked.append(position)

    def _grow(self) -> None:
        n_picked, room = len(self._picked), 2 * len(self._picked)
        rows, factor = np.empty((len(self._among), room)), np.zeros((room, room))
        rows[:, :n_picked], factor[:n_picked, :n_picked] = self._rows, self._factor
        self._rows, self._factor = rows, factor
