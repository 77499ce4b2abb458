"""Balanced sampling over a tree of clusters: rare things as often as common ones."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from curator.cluster import kmeans
from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadSelection
from curator.selection.picks import Picks, blocks, check, open_positions, ordered, positions_of
from curator.selection.quotas import Caps, Tally

FAN_OUT = 10  # children per cluster, as between the upper levels of the paper
LEAF = 20  # points per lowest cluster
MAX_LEAVES = 4_096  # 2 n d per leaf and iteration; two levels of k-means beyond 1,000
THREADS = 1  # several would sum the centres in another order from run to run
BLOCK = 8_192


def hierarchical(
    vectors: FloatArray,
    budget: int,
    *,
    levels: Sequence[int] | None = None,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    caps: Caps | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Picks:
    """Share picks evenly among clusters, within each evenly among its clusters, and so on down.

    k-means over the points, then over its centres, and so on (Vo, Khalidov, Darcet et al.,
    "Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach", 2024). Each
    pick goes down the tree to the child that holds fewest, ties to the largest, which fills all
    clusters like water; in a lowest cluster the points nearest its centre come first. Nothing
    depends on the budget: a prefix is the smaller selection.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        levels: clusters per level, lowest and largest first; None: n / 20 up to 4,096, then a tenth each.
        preselected: positions that already fill their clusters and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        caps: most picks per group.
        seed: of k-means.

    Returns:
        Picks whose gain is 1 / (1 + those its lowest cluster held before); they may rise along the ordering.

    Raises:
        BadSelection: candidates or preselected positions that do not fit the vectors, or levels
            that do not fall.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    points = np.concatenate([np.unique(given), among])
    n_given = len(points) - len(among)
    if len(among) == 0 or budget <= 0:
        return ordered(vectors, [], [], preselected=given)
    parents, order = _tree(vectors[points], _levels(levels, len(points)), seed=seed)
    filling = _Filling(parents, order, n_given=n_given, tally=Tally(caps, among))
    slots, gains = filling.run(min(budget, len(among)), progress=progress)
    return ordered(vectors, among[slots], gains, preselected=given)


def _levels(levels: Sequence[int] | None, n: int) -> list[int]:
    if levels is not None:
        wanted = list(levels)
        if not all(size >= 1 for size in wanted) or any(a <= b for a, b in pairwise(wanted)):
            raise BadSelection(f"levels {wanted}; expected falling numbers of clusters of 1 or more, such as 1000, 100")
        return [min(size, n) for size in wanted]
    sizes = [max(1, min(n // LEAF, MAX_LEAVES))]
    while sizes[-1] >= 2 * FAN_OUT:
        sizes.append(sizes[-1] // FAN_OUT)
    return sizes


def _tree(points: FloatArray, levels: list[int], *, seed: int) -> tuple[list[IntArray], IntArray]:
    """Clusters of points, clusters of their centres, and so on.

    Returns:
        Per level the parent of each child, points first; and the points by distance to their centre.
    """
    parents: list[IntArray] = []
    order = np.arange(len(points))
    children = points
    for level, size in enumerate(levels):
        found = kmeans(children, min(size, len(children)), seed=seed, threads=THREADS)
        if level == 0:
            order = np.lexsort((np.arange(len(points)), found.distance))
        parents.append(found.labels)
        children = _centres(children, found.labels, len(found))
    return parents, order


def _centres(points: FloatArray, labels: IntArray, n_clusters: int) -> FloatArray:
    total = np.zeros((n_clusters, points.shape[1]), np.float64)
    for at in blocks(len(points), BLOCK):
        np.add.at(total, labels[at], points[at])
    length = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    centres: FloatArray = (total / length).astype(np.float32)
    return centres


class _Filling:
    """Picks handed down a tree, always to the child that holds fewest.

    Nodes are (level, number); the root is one above the last level. Each node keeps a heap of
    (picks held, child); a child without open points left is dropped from its parent's heap.
    """

    def __init__(self, parents: list[IntArray], order: IntArray, *, n_given: int, tally: Tally) -> None:
        self._tally = tally
        self._n_given = n_given
        n_leaves = int(parents[0].max()) + 1
        self._waiting: list[list[int]] = [[] for _ in range(n_leaves)]  # candidates of each leaf, the next one last
        for point in order[::-1].tolist():
            if point >= n_given:
                self._waiting[int(parents[0][point])].append(point - n_given)
        held = np.bincount(parents[0][:n_given], minlength=n_leaves)
        self._heaps: list[list[list[tuple[int, int]]]] = []  # level of the parent, parent, (held, child)
        self._held_of_leaf = held
        for level in range(1, len(parents) + 1):
            above = parents[level] if level < len(parents) else np.zeros(len(held), np.int64)
            heaps: list[list[tuple[int, int]]] = [[] for _ in range(int(above.max()) + 1)]
            for child, parent in enumerate(above.tolist()):
                heaps[parent].append((int(held[child]), child))
            for heap in heaps:
                heapq.heapify(heap)
            self._heaps.append(heaps)
            held = np.bincount(above, weights=held, minlength=len(heaps)).astype(np.int64)

    def run(self, budget: int, *, progress: Progress) -> tuple[IntArray, FloatArray]:
        """Pick up to `budget` candidates; also 1 / (1 + those their lowest cluster held)."""
        slots: list[int] = []
        gains: list[float] = []
        while len(slots) < budget:
            found = self._next(len(self._heaps) - 1, 0)
            if found is None:
                break
            slots.append(found[0])
            gains.append(1.0 / (1.0 + found[1]))
        progress("select", len(slots), budget)
        return np.array(slots, np.int64), np.array(gains, np.float32)

    def _next(self, level: int, node: int) -> tuple[int, int] | None:
        """The next candidate under a node, and the picks its leaf held; None when there is none left."""
        heap = self._heaps[level][node]
        while heap:
            held, child = heap[0]
            found = self._from_leaf(child) if level == 0 else self._next(level - 1, child)
            if found is None:
                heapq.heappop(heap)
                continue
            heapq.heapreplace(heap, (held + 1, child))
            return found
        return None

    def _from_leaf(self, leaf: int) -> tuple[int, int] | None:
        waiting = self._waiting[leaf]
        while waiting:
            slot = waiting.pop()
            if self._tally.is_open(slot):
                self._tally.take(slot)
                held = int(self._held_of_leaf[leaf])
                self._held_of_leaf[leaf] += 1
                return slot, held
        return None
