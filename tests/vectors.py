"""Vectors that tests search and cover: without structure, in clumps, with near copies, along slow video."""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray
from curator.index import normalise


def unit(rng: np.random.Generator, n: int, d: int = 16) -> FloatArray:
    return normalise(rng.standard_normal((n, d)).astype(np.float32))


def clumps(rng: np.random.Generator, n: int, d: int = 64, *, n_clumps: int = 60) -> FloatArray:
    """Unit vectors around a few centres, the nearest at a cosine of about 0.9."""
    centres = rng.standard_normal((n_clumps, d)) / d**0.5
    scale = np.arange(1, d + 1) ** -0.7
    noise = rng.standard_normal((n, d)) * scale / np.linalg.norm(scale)
    return normalise((centres[rng.integers(n_clumps, size=n)] + 0.45 * noise).astype(np.float32))


def with_near_copies(rng: np.random.Generator, n: int, d: int = 192) -> FloatArray:
    """Clumps of which every third has a near copy at a cosine of 0.9 to 1.0."""
    vectors = clumps(rng, n, d, n_clumps=n // 5)
    chosen = np.arange(0, n - 1, 3)
    noise = rng.standard_normal((len(chosen), d)) / d**0.5
    vectors[chosen + 1] = vectors[chosen] + rng.uniform(0, 0.48, (len(chosen), 1)) * noise
    return normalise(vectors)


def brute_force(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    similarity = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarity, order, axis=1)


def slow_video(rng: np.random.Generator, n: int, d: int = 32, *, adjacent: float = 0.99) -> FloatArray:
    """A random walk of unit vectors: every frame close to the next, the first far from the last."""
    frames = np.empty((n, d))
    frames[0] = rng.standard_normal(d)
    frames[0] /= np.linalg.norm(frames[0])
    for i in range(1, n):
        step = rng.standard_normal(d)
        step -= step @ frames[i - 1] * frames[i - 1]
        frames[i] = adjacent * frames[i - 1] + (1 - adjacent**2) ** 0.5 * step / np.linalg.norm(step)
    return normalise(frames.astype(np.float32))


def round_clumps(
    rng: np.random.Generator, n: int, d: int = 32, *, n_clumps: int = 20, spread: float = 0.4
) -> FloatArray:
    """Unit vectors around a few centres, equally far in all directions.

    About 32 numbers each: `spread` 0.4 gives a cosine of about 0.86 within a clump, 0.2 one of 0.96."""
    centres = rng.standard_normal((n_clumps, d)) / d**0.5
    noise = rng.standard_normal((n, d)) / d**0.5
    return normalise((centres[rng.integers(n_clumps, size=n)] + spread * noise).astype(np.float32))


def mixture(rng: np.random.Generator, n: int) -> FloatArray:
    """Half slow video, half clumps, in random order."""
    both = np.vstack([slow_video(rng, n // 2), round_clumps(rng, n - n // 2)])
    return both[rng.permutation(n)]
