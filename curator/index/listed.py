"""Search for many rows at once among many vectors: by lists where exact search would cost several times as much."""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray, Progress, no_progress
from curator.index.exact import ALMOST, choose_backend, exact_search, measure_recall
from curator.index.joined import Sample, attempts, chosen_reach, join_lists
from curator.index.lists import make_lists
from curator.index.spec import IndexSpec, limited_threads

FEW_VECTORS = 4_096  # below this many exact search costs no more
FEW_QUERIES = 2_048  # and below this many: lists, sample and check have to be paid for


def listed_search(
    queries: FloatArray,
    vectors: FloatArray,
    k: int,
    spec: IndexSpec | None = None,
    *,
    progress: Progress = no_progress,
) -> tuple[IntArray, FloatArray, float]:
    """The k vectors most similar to each query, nearly all of them.

    The vectors are divided into k-means lists; each query is compared with the list whose centre is
    nearest and with those the border to which is near, how near read off a sample of queries as in
    `knn_graph`. Past half of all comparisons, for few queries or few vectors, the search is exact.

    Args:
        queries: (m, d) float32 of length 1.
        vectors: (n, d) float32 of length 1.
        k: how many; where k > n the rest is padded with -1.
        spec: floor of the recall, threads, device, seed.

    Returns:
        positions (m, k) and similarity (m, k), best first; and the measured recall, 1.0 where the search was exact.

    Raises:
        BadEmbeddings, UsageError: as from `exact_search`.
    """
    spec = spec or IndexSpec()
    backend = choose_backend(spec.device, n_products=len(queries) * vectors.size)
    is_small = len(vectors) < FEW_VECTORS or len(queries) < FEW_QUERIES or backend not in ("faiss", "numpy")
    if not is_small and spec.min_recall < 1.0:
        found = _by_lists(queries, vectors, k, spec, progress)
        if found is not None:
            return found
    exact = exact_search(queries, vectors, k, threads=spec.threads, device=spec.device, progress=progress)
    return *exact, 1.0


def _by_lists(
    queries: FloatArray, vectors: FloatArray, k: int, spec: IndexSpec, progress: Progress
) -> tuple[IntArray, FloatArray, float] | None:
    """By lists; none where these do not reach the asked recall."""
    with limited_threads(spec.threads):
        lists = make_lists(vectors, int(len(vectors) ** 0.5), seed=spec.seed, threads=spec.threads)
        asked = lists.divided(queries, threads=spec.threads)
    sample = np.random.default_rng(spec.seed).permutation(len(queries))[: 2 * spec.sample]
    true, truth = exact_search(queries[sample], vectors, k, threads=spec.threads, device=spec.device)
    half = len(sample) // 2
    of, among = asked.of[sample], lists.of[true]
    known = [Sample(queries[sample[part]], of[part], among[part]) for part in (slice(half), slice(half, None))]
    for floor in attempts(spec.min_recall):
        reach = chosen_reach(lists, *known, floor=floor)
        if reach is None:
            break
        positions, similarity = join_lists(
            queries, asked, vectors, lists, reach, k, is_self=False, threads=spec.threads, progress=progress
        )
        short = np.flatnonzero(positions[:, -1] < 0)  # its lists hold fewer than k
        if len(short):
            positions[short], similarity[short] = exact_search(queries[short], vectors, k, threads=spec.threads)
        recall = measure_recall(similarity[sample[half:]], truth[half:])
        if recall >= spec.min_recall:
            return positions, similarity, min(recall, ALMOST)
    return None
