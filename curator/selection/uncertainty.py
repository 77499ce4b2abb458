"""How unsure a model is of each point, from the probabilities it gave.

Scores from 0, sure, to 1, no idea; for use as weights or as a ranking. A model
is unsure of junk as well: combine with an objective over the vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray
from curator.errors import BadSelection

SUM_SLACK = 0.01  # probabilities written with two or three digits


def entropy(probabilities: FloatArray) -> FloatArray:
    """Entropy of each row as a share of the most there can be: -sum p log p / log C.

    Settles, "Active Learning Literature Survey", 2009, section 3.1.

    Args:
        probabilities: (n, C), C >= 2, rows that add up to 1.

    Returns:
        (n,) float32, 0..1; 1 where all classes are equally likely.

    Raises:
        BadSelection: not such an array.
    """
    p = _checked(probabilities)
    surprise = -p * np.log(np.where(p > 0, p, 1.0))
    score: FloatArray = (surprise.sum(axis=1) / np.log(p.shape[1])).clip(0.0, 1.0).astype(np.float32)
    return score


def margin(probabilities: FloatArray) -> FloatArray:
    """How near the second class is to the first: 1 - (p1 - p2).

    Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for Information Extraction", 2001.

    Args:
        probabilities: (n, C), C >= 2, rows that add up to 1.

    Returns:
        (n,) float32, 0..1; 1 where two classes share the first place.

    Raises:
        BadSelection: not such an array.
    """
    p = _checked(probabilities)
    two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]  # (n, 2) second, first
    score: FloatArray = (1.0 - (two[:, 1] - two[:, 0])).clip(0.0, 1.0).astype(np.float32)
    return score


def _checked(probabilities: FloatArray) -> NDArray[np.float64]:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise BadSelection(f"probabilities of shape {p.shape}; expected (n, classes) with 2 classes or more")
    sums = p.sum(axis=1)
    fits = (p >= 0).all(axis=1) & (np.abs(sums - 1.0) <= SUM_SLACK)  # nan fits nowhere
    if not bool(fits.all()):
        worst = int(np.flatnonzero(~fits)[0])
        raise BadSelection(
            f"probabilities of point {worst} add up to {sums[worst]:.4g}, the lowest is {p[worst].min():.4g}; expected "
            "numbers of 0 or more that add up to 1: give probabilities, not logits"
        )
    shares: NDArray[np.float64] = p / sums[:, None]
    return shares
