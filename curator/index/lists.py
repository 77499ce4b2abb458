"""Vectors divided into lists: spherical k-means on a sample, then everybody to the nearest centre.

Lists serve speed alone: the graph joins list with list, the search index looks into the nearest.
What a poor division costs is measured by those who use it, as recall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.data import FloatArray, IntArray
from curator.index.rough import Product, as_tensor, products
from curator.index.spec import in_threads

POINTS_PER_LIST = 64  # k-means sees this many vectors per list; more moves the recall by less than 0.01
ROUNDS = 5  # of k-means; 8 save a fiftieth of the work of a join and cost more
BLOCK = 8_192  # vectors assigned together


@dataclass(frozen=True, slots=True)
class Lists:
    """The vectors divided among k-means centres."""

    centres: FloatArray  # (c, d) of length 1
    of: IntArray  # (n,) list of each vector
    members: IntArray  # (n,) positions, list after list, ascending within one
    starts: IntArray  # (c + 1,) where each list begins in `members`

    def __len__(self) -> int:
        return len(self.centres)

    def positions(self, which: IntArray) -> IntArray:
        """Positions of the vectors of all lists in `which`."""
        return np.concatenate([self.members[self.starts[i] : self.starts[i + 1]] for i in which])

    def near(self) -> IntArray:
        """(c, c) all lists by the nearness of their centres to each one's, itself first even beside an equal one."""
        among = self.centres @ self.centres.T
        np.fill_diagonal(among, np.inf)
        return np.argsort(-among, axis=1, kind="stable")

    def divided(self, vectors: FloatArray, *, threads: int | None = None) -> Lists:
        """Other vectors among the same centres."""
        with products() as (product, _):
            return _lists(self.centres, _assign(vectors, self.centres, product, threads))


def make_lists(
    vectors: FloatArray, n_lists: int, *, seed: int, threads: int | None = None, rounds: int = ROUNDS
) -> Lists:
    """Divide the vectors into at most `n_lists` lists by spherical k-means on a sample.

    Starts from random vectors: k-means++ seeds save a twentieth of the pairs that a join looks
    at, and cost more than that. A centre that nobody is nearest to stays where it was.
    """
    rng = np.random.default_rng(seed)
    with products() as (product, _):
        sample = vectors[np.sort(rng.permutation(len(vectors))[: POINTS_PER_LIST * n_lists])]  # (s, d)
        centres = sample[rng.permutation(len(sample))[:n_lists]]  # (c, d)
        for _ in range(rounds):
            centres = _move(centres, sample, _assign(sample, centres, product, threads))
        return _lists(centres, _assign(vectors, centres, product, threads))


def _lists(centres: FloatArray, of: IntArray) -> Lists:
    members = np.argsort(of, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(centres)))])
    return Lists(centres, of, members, starts.astype(np.int64))


def _assign(vectors: FloatArray, centres: FloatArray, product: Product, threads: int | None) -> IntArray:
    """(n,) nearest centre of each vector; rough products will do, neither is a boundary sharp."""

    def nearest(start: int) -> IntArray:
        found: IntArray = product(vectors[start : start + BLOCK], centres).argmax(axis=1)
        return found

    return np.concatenate(list(in_threads(nearest, range(0, len(vectors), BLOCK), threads=threads)))


def _move(centres: FloatArray, vectors: FloatArray, of: IntArray) -> FloatArray:
    """(c, d) direction of the mean of each centre's vectors."""
    import torch

    sums = torch.zeros(centres.shape).index_add_(0, as_tensor(of), as_tensor(vectors)).numpy()  # 20 x numpy's add.at
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    moved: FloatArray = np.where(length > 1e-6, sums / np.maximum(length, 1e-6), centres).astype(np.float32)
    return moved
