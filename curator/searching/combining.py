"""Several examples made into one direction: Rocchio's mean, or a small logistic probe.

Pure: unit vectors in, a direction out. Rows, images and spaces are known to others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray
from curator.errors import BadQuery

L2 = 0.02  # strength of the probe's penalty, beside a loss whose weights sum to 1
BACKGROUND = 512  # random vectors that stand for everything else
BACKGROUND_WEIGHT = 0.5  # of the background beside explicit negatives, which share the rest
ROUNDS = 60
TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Probe:
    """A logistic model of a unit vector x: probability = 1 / (1 + exp(-(weights . x + bias)))."""

    weights: FloatArray  # (d,)
    bias: float

    def logit(self, vectors: FloatArray) -> NDArray[np.float64]:
        """(n,) log odds."""
        found: NDArray[np.float64] = vectors.astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        return found

    def probability(self, vectors: FloatArray) -> FloatArray:
        """(n,) float32, 0..1."""
        return (0.5 * (1.0 + np.tanh(0.5 * self.logit(vectors)))).astype(np.float32)

    @property
    def direction(self) -> FloatArray:
        """(d,) of length 1; the order by it is the order by probability."""
        return unit(self.weights, "the probe found no direction that parts positives from the rest")


def rocchio(
    queries: FloatArray, likes: FloatArray, dislikes: FloatArray, *, alpha: float, beta: float, gamma: float
) -> FloatArray:
    """Direction alpha * mean(queries) + beta * mean(likes) - gamma * mean(dislikes).

    After Rocchio, "Relevance feedback in information retrieval", 1971; the defaults of a request,
    1, 0.75 and 0.15, are those of Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008.

    Args:
        queries: (a, d) what was asked for from outside; likes: (b, d) images of the collection that are
            right; dislikes: (c, d) that are not. Any may be empty, not all.

    Returns:
        (d,) float32 of length 1. The order within each of the three does not matter.

    Raises:
        BadQuery: they cancel each other out.
    """
    total = np.zeros(max(part.shape[1] for part in (queries, likes, dislikes)), np.float64)
    for weight, part in ((alpha, queries), (beta, likes), (-gamma, dislikes)):
        if len(part):
            total += weight * _mean(part)
    return unit(total, "the positives and negatives cancel each other out; give other ones or change their weights")


def fit_probe(
    positives: FloatArray,
    negatives: FloatArray,
    background: FloatArray,
    *,
    l2: float = L2,
    start: Probe | None = None,
) -> Probe:
    """L2-regularised logistic regression of few positives against negatives and a background.

    Minimises sum_i v_i log(1 + exp(-y_i (w . z_i + b))) + l2 / 2 |w|^2 by L-BFGS (Nocedal 1980), where z is x less
    the background's mean over the background's mean length, so that one `l2` suits every space. Positives weigh 1/2
    together, the others 1/2; of these the background weighs half where there are negatives. Works from one positive
    and no negative; deterministic.

    Args:
        positives: (p, d), p >= 1; negatives: (q, d); background: (r, d) random vectors, mostly neither; q + r >= 1.
        start: a probe to start from, such as that of the round before; the minimum is the same.

    Raises:
        BadQuery: no positive, or nothing to tell them from.
    """
    from scipy.optimize import minimize

    if len(positives) == 0 or len(negatives) + len(background) == 0:
        raise BadQuery(
            f"a probe over {len(positives)} positives and {len(negatives) + len(background)} others; "
            "expected at least 1 of each"
        )
    others = np.concatenate([negatives, background]).astype(np.float64)
    centre = _mean(background if len(background) else others)
    scale = max(float(np.linalg.norm(others - centre, axis=1).mean()), 1e-6)
    points = (np.concatenate([positives.astype(np.float64), others]) - centre) / scale
    sign = np.where(np.arange(len(points)) < len(positives), 1.0, -1.0)
    weight = _weights(len(positives), len(negatives), len(background))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w, b = parameters[:-1], parameters[-1]
        margin = sign * (points @ w + b)  # (n,)
        value = float(weight @ np.logaddexp(0.0, -margin)) + 0.5 * l2 * float(w @ w)
        pull = -weight * sign * 0.5 * (1.0 - np.tanh(0.5 * margin))  # (n,) slope by each point
        return value, np.append(pull @ points + l2 * w, pull.sum())

    begin = np.zeros(points.shape[1] + 1)
    if start is not None:
        begin[:-1] = start.weights.astype(np.float64) * scale
        begin[-1] = start.bias + float(start.weights.astype(np.float64) @ centre)
    found = minimize(
        loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": ROUNDS, "ftol": TOLERANCE**1.5, "gtol": TOLERANCE}
    )
    weights = found.x[:-1] / scale
    return Probe(weights.astype(np.float32), float(found.x[-1] - weights @ centre))


def unit(vector: NDArray[np.floating], fault: str) -> FloatArray:
    """(d,) of length 1.

    Raises:
        BadQuery: it has no direction; says `fault`.
    """
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length < 1e-6:
        raise BadQuery(fault)
    return np.asarray(vector / length, np.float32)


def _mean(part: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean in double precision, so that the order of the vectors does not show in float32."""
    mean: NDArray[np.float64] = part.astype(np.float64).mean(axis=0)
    return mean


def _weights(n_positive: int, n_negative: int, n_background: int) -> NDArray[np.float64]:
    """(n,) weight of each point: half for the positives together, half for the others."""
    share = BACKGROUND_WEIGHT if n_negative and n_background else float(n_background > 0)
    parts = ((n_positive, 0.5), (n_negative, 0.5 * (1.0 - share)), (n_background, 0.5 * share))
    return np.concatenate([np.full(n, total / max(n, 1)) for n, total in parts])
