"""Vectors that look like image embeddings, for benchmarks without images.

Real encoders give a cone (a common mean direction), families of clusters with a long tail of sizes,
a decaying spectrum, and, where the images are frames, slow walks of near-duplicates. A benchmark on
uniform noise would flatter pruning nowhere and approximate search everywhere.
"""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray

DECAY = -0.45  # spectrum ~ rank ** DECAY, between flat noise and EfficientNet's
WALK_LENGTH = 8  # mean frames of a near-duplicate walk; the longest has 64


def clustered(n: int, d: int, *, seed: int, near_duplicates: float = 0.3) -> FloatArray:
    """Draw unit vectors from families of clusters, a share of them in near-duplicate walks.

    Args:
        n: vectors.
        d: numbers per vector.
        near_duplicates: share 0..1 of vectors that belong to walks; neighbours in a walk
            have a cosine of about 0.945 to 0.997.

    Returns:
        (n, d) float32 of length 1, in random order; the same for the same arguments.
    """
    rng = np.random.default_rng(seed)
    scale = np.arange(1, d + 1, dtype=np.float32) ** DECAY
    scale /= np.linalg.norm(scale)
    rotation = np.linalg.qr(rng.standard_normal((d, d), dtype=np.float32))[0]  # (d, d)

    def noise(rows: int) -> FloatArray:
        """(rows, d) directions of length about 1 with the decaying spectrum."""
        drawn: FloatArray = (rng.standard_normal((rows, d), dtype=np.float32) * scale) @ rotation
        return drawn

    n_clusters = max(50, int(2 * n**0.5))
    families = noise(max(8, int(n_clusters**0.5)))
    centres = 0.7 * noise(1) + 0.8 * families[rng.integers(len(families), size=n_clusters)] + noise(n_clusters)
    share = 1.0 / np.arange(1, n_clusters + 1) ** 0.9  # Zipf-like sizes

    lengths = _walk_lengths(rng, n_frames=int(n * near_duplicates))
    n_alone = n - int(lengths.sum())
    vectors = np.empty((n, d), np.float32)
    for start in range(0, n_alone + len(lengths), 65_536):  # heads: lone points, then the first frame of each walk
        stop = min(start + 65_536, n_alone + len(lengths))
        cluster = rng.choice(n_clusters, size=stop - start, p=share / share.sum())
        vectors[start:stop] = _unit(centres[cluster] + 0.9 * noise(stop - start))
    frame = vectors[n_alone : n_alone + len(lengths)].copy()  # (walks, d), where each walk is now
    stride = rng.uniform(0.08, 0.35, size=(len(lengths), 1)).astype(np.float32)
    filled = n_alone + len(lengths)
    for step in range(1, int(lengths.max(initial=1))):
        walking = np.flatnonzero(lengths > step)
        frame[walking] = _unit(frame[walking] + stride[walking] * noise(len(walking)))
        vectors[filled : filled + len(walking)] = frame[walking]
        filled += len(walking)
    return vectors[rng.permutation(n)]


def _walk_lengths(rng: np.random.Generator, *, n_frames: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Lengths of walks that together have at most `n_frames` frames."""
    lengths = np.minimum(1 + rng.geometric(1 / WALK_LENGTH, size=n_frames), 64)
    return lengths[np.cumsum(lengths) <= n_frames].astype(np.int64)


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return unit
