"""The moves of UMAP: along an edge both ends come nearer, random points are pushed away.

Knows edges and forces; knows nothing of where the edges come from. umap-learn has the same loop, and
spends most of it on powers of distances. Here the forces are looked up in a table that stays in the
first cache, and a random point costs one multiplication: several times as fast, and no worse a map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, Progress, no_progress

PUSHED = 5  # random points that each move along an edge pushes away, as in umap-learn
LEAP = np.float32(4.0)  # farthest that one force moves a point on an axis, times the rate
LOWEST = -24  # squared distances below 2^LOWEST have the force of that
OCTAVES, FINE = 40, 6  # squared distances up to 2^(LOWEST + OCTAVES), in 2^FINE steps between powers of two
FIRST = np.int32((127 + LOWEST) << FINE)  # of the table: exponent and leading bits of 2^LOWEST as a float32
LAST = np.int32((OCTAVES << FINE) - 1)
SHIFT = np.int32(23 - FINE)  # trailing bits of a float32 that are left out


def lay_out(
    start: FloatArray,
    heads: NDArray[np.int32],
    tails: NDArray[np.int32],
    weights: FloatArray,
    *,
    a: float,
    b: float,
    epochs: int,
    seed: int,
    progress: Progress = no_progress,
) -> FloatArray:
    """Move points until those that share an edge are near and others are not.

    Stochastic gradient descent on the cross-entropy of the edges' weights and 1 / (1 + a d^2b), as in
    McInnes, Healy and Melville, "UMAP", 2018, appendix A: an edge of the highest weight is followed in
    every epoch, others in proportion, each time with 5 random points pushed away, at a rate that falls
    from 1 to 0. Forces are those of the middle of their step of squared distance, within 2 %.

    Args:
        start: (n, n_dims) where the points are.
        heads, tails: (m,) ends of the edges; both directions listed, sorted by head for speed.
        weights: (m,) above 0, on any scale.
        a, b: the curve, see `umap.umap_.find_ab_params`.
        epochs: passes over the edges.
        seed: of the random points.
        progress: called with the stage "map" after each epoch.

    Returns:
        (n, n_dims) float32. The same for the same arguments; no fused operations, so on other
        processors too.
    """
    points = np.array(start, np.float32, order="C")
    every = (weights.max(initial=np.float32(0.0)) / weights).astype(np.float32)  # (m,) epochs between two moves
    due = every.copy()  # epoch of the next move
    pull, push = forces(a, b)
    state = np.array([seed], np.uint64)
    epoch = _epoch(points.shape[1])
    for now in range(epochs):
        progress("map", now, epochs)
        epoch(points, heads, tails, every, due, pull, push, np.float32(now), np.float32(1.0 - now / epochs), state)
    progress("map", epochs, epochs)
    return points


def forces(a: float, b: float) -> tuple[FloatArray, FloatArray]:
    """Factors of the difference between two points, by squared distance: of the pull, below 0, and of the push.

    Gradients of log q and log(1 - q), q = 1 / (1 + a d^2b); the push with .001 added to the squared distance.

    Returns:
        Two of (OCTAVES * 2^FINE,) float32, for the middle of each step.
    """
    step = np.arange(OCTAVES << FINE)
    squared = 2.0 ** (LOWEST + (step >> FINE)) * (1.0 + ((step & ((1 << FINE) - 1)) + 0.5) / (1 << FINE))
    pull = -2.0 * a * b * squared ** (b - 1.0) / (1.0 + a * squared**b)
    push = 2.0 * b / ((0.001 + squared) * (1.0 + a * squared**b))
    return pull.astype(np.float32), push.astype(np.float32)


def step_of(squared: Any) -> Any:
    """Place in the table of a squared distance: exponent and leading bits of the float32; compiled."""
    return min(max((np.float32(squared).view(np.int32) >> SHIFT) - FIRST, np.int32(0)), LAST)


@cache
def _epoch(n_dims: int) -> Callable[..., None]:
    """One pass over the edges, compiled for a number of dimensions; it moves `points` and keeps `due` and `state`."""
    from numba import njit

    step = njit(step_of)

    @njit
    def step_between(points, one, other):  # type: ignore[no-untyped-def]
        squared = np.float32(0.0)
        for axis in range(n_dims):
            gap = points[one, axis] - points[other, axis]
            squared += gap * gap
        return step(squared)

    def epoch(  # type: ignore[no-untyped-def]
        points, heads, tails, every, due, pull, push, now, rate, state
    ) -> None:
        n, drawn = np.uint64(len(points)), state[0]
        for edge in range(len(heads)):
            if due[edge] > now:
                continue
            due[edge] += every[edge]
            head, tail = heads[edge], tails[edge]
            force = pull[step_between(points, head, tail)]
            for axis in range(n_dims):
                move = min(max(force * (points[head, axis] - points[tail, axis]), -LEAP), LEAP) * rate
                points[head, axis] += move
                points[tail, axis] -= move
            for _ in range(PUSHED):
                # Knuth's generator; the high half is uniform enough, and scaled without a division
                drawn = drawn * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                other = ((drawn >> np.uint64(32)) * n) >> np.uint64(32)
                force = push[step_between(points, head, other)]
                for axis in range(n_dims):
                    away = force * (points[head, axis] - points[other, axis])
                    points[head, axis] += min(max(away, -LEAP), LEAP) * rate
        state[0] = drawn

    compiled: Callable[..., None] = njit(epoch)
    return compiled
