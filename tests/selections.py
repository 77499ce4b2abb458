"""Points to select from, and requests that every method can answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curator.data import FloatArray
from curator.selection import Method, Request, Strategy

NONE = np.zeros(0, np.int64)


def unit(vectors: Any) -> FloatArray:
    array = np.asarray(vectors, np.float32)
    lengths: FloatArray = np.linalg.norm(array, axis=1, keepdims=True)
    return array / lengths


def cloud(rng: np.random.Generator, n: int, d: int = 16, *, clusters: int = 12, spread: float = 0.3) -> FloatArray:
    """Unit vectors in clusters of unequal size."""
    centres = rng.normal(size=(clusters, d))
    label = np.minimum(rng.geometric(0.25, size=n) - 1, clusters - 1)
    return unit(centres[label] + spread * rng.normal(size=(n, d)))


def on_circle(degrees: Sequence[float]) -> FloatArray:
    angle = np.radians(degrees)
    return unit(np.stack([np.cos(angle), np.sin(angle)], axis=1))


def asking(method: Method, budget: int, n: int, **more: Any) -> Request:
    """A request with what its method cannot do without."""
    needs: dict[str, Any] = {
        "coverage": {"threshold": 0.8},
        "uncertainty": {"scores": np.linspace(1, 0, n, dtype=np.float32)},
        "strategies": {"strategies": (Strategy("diversity"), Strategy("representative", 0.5))},
    }
    return Request(method, budget, **{**needs.get(method, {}), **more})
