"""Exact search in bounded memory, by whatever the machine has: faiss, torch on CUDA, or numpy.

Many queries on a CPU go through rough products where the processor makes those fast; they only rule
out. All give float32 dot products in the same order: most similar first, equal ones by position.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Literal

import numpy as np

from curator.data import FloatArray, IntArray, Progress, no_progress
from curator.errors import BadEmbeddings, UsageError
from curator.index import filtered
from curator.index.best import in_order, merge, top_k
from curator.index.spec import Device, find_faiss, limited_threads

BLOCK = 2_048  # rows of a similarity block; 2k x 2k float32 is 16 MB and stays near the cache
QUERY_CHUNK = 16_384  # queries between two reports of progress
GPU_BLOCK = 262_144  # vectors on the device at a time: 400 MB at 384 numbers each
GPU_WORTH = 1e10  # multiplications below which the copy to a device costs more than the search
ALMOST = 0.9999  # the highest recall stated for approximate search: 1.0 is a promise, a sample gives none
FAISS_GPU_K = 2_048  # neighbours that faiss selects on a GPU at most
FEW = 8  # queries up to which reading the vectors is the cost, and faiss reads faster
FAISS_GEMM = 128_000  # numbers in a batch of queries from which faiss (1.15) multiplies matrices

Backend = Literal["faiss", "faiss-gpu", "torch", "numpy"]


def normalise(vectors: FloatArray) -> FloatArray:
    """Scale every vector to length 1.

    Returns:
        (n, d) float32, a new array.

    Raises:
        BadEmbeddings: a vector is zero or not finite; the message names the first.
    """
    vectors = _two_axes(vectors)
    unit = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), 65_536):
        rows = vectors[start : start + 65_536].astype(np.float64)  # a float32 square overflows above 1e19
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        bad = np.flatnonzero(~np.isfinite(length) | (length == 0))
        if len(bad):
            what = "zero" if length[bad[0]] == 0 else "not finite"
            raise BadEmbeddings(
                f"vector {start + bad[0]} of {len(vectors)} is {what}; every vector needs a direction, leave it out"
            )
        unit[start : start + len(rows)] = rows / length[:, None]
    return unit


def check_unit(vectors: FloatArray) -> FloatArray:
    """The same vectors as contiguous float32; copied only where they are not that already.

    Raises:
        BadEmbeddings: not (n, d), not finite, or a length off 1 by more than 1 %.
    """
    vectors = np.ascontiguousarray(_two_axes(vectors), dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    off = np.flatnonzero(~(np.abs(length - 1.0) <= 0.01))  # not-less-or-equal also catches NaN
    if len(off):
        raise BadEmbeddings(
            f"vector {off[0]} of {len(vectors)} has length {length[off[0]]:.4g}; expected 1, use index.normalise first"
        )
    return vectors


def exact_search(
    queries: FloatArray,
    vectors: FloatArray,
    k: int,
    *,
    threads: int | None = None,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> tuple[IntArray, FloatArray]:
    """The k vectors most similar to each query.

    Args:
        queries: (m, d) float32 of length 1.
        vectors: (n, d) float32 of length 1.
        k: how many; where k > n the rest is padded.

    Returns:
        positions (m, k) int64 and cosine similarity (m, k) float32, descending; -1 and -1 where
        padded. Equal similarities stand by position; which of more than k equal ones make it is
        up to the backend, and the same every time.

    Raises:
        BadEmbeddings: `queries` and `vectors` differ in dimension, or either is not (n, d).
        UsageError: k < 1.
    """
    queries, vectors = check_same_space(queries, vectors)
    if k < 1:
        raise UsageError(f"k is {k}; expected at least 1 neighbour")
    positions = np.full((len(queries), k), -1, np.int64)
    similarity = np.full((len(queries), k), -1.0, np.float32)
    found = min(k, len(vectors))
    if len(queries) == 0 or found == 0:
        return positions, similarity
    backend = choose_backend(device, n_products=len(queries) * vectors.size)
    is_filtered = backend in ("faiss", "numpy") and filtered.pays(queries, vectors, found)
    with limited_threads(threads):
        step = GPU_BLOCK if backend == "torch" else QUERY_CHUNK  # the vectors travel to the device once per step
        for start in range(0, len(queries), step):
            chunk = slice(start, min(start + step, len(queries)))
            if is_filtered:
                near = _search_filtered(queries[chunk], vectors, found, backend=backend, threads=threads)
            else:
                near = _search(queries[chunk], vectors, found, backend=backend)
            positions[chunk, :found], similarity[chunk, :found] = in_order(*near)
            progress("search", chunk.stop, len(queries))
    return positions, similarity


def measure_recall(similarity: FloatArray, truth: FloatArray) -> float:
    """Share of true neighbours found, ties counted fairly.

    A found neighbour is right when it is as similar as the k-th true one: among equal copies any
    will do. Compares similarities instead of positions for that reason.

    Args:
        similarity: (m, k) exact similarity of what was found; -1 where missing.
        truth: (m, k) descending similarity of the true neighbours.

    Returns:
        0..1; 1.0 where there is nothing to find.
    """
    real = truth > -1.0 + 1e-6  # (m, k), not padding
    if not real.any():
        return 1.0
    worst = np.where(real, truth, np.inf).min(axis=1, initial=np.inf)  # (m,)
    right = (similarity >= worst[:, None] - 1e-6).sum(axis=1)  # (m,)
    return float(np.minimum(right, real.sum(axis=1)).sum() / real.sum())


def choose_backend(device: Device, *, n_products: float) -> Backend:
    """What searches: the asked device if it is there, else the best of what is installed.

    Raises:
        UsageError: CUDA is asked for and not seen.
    """
    faiss = find_faiss()
    if device == "cuda" or (device == "auto" and n_products >= GPU_WORTH):
        if faiss is not None and faiss.get_num_gpus() > 0:
            return "faiss-gpu"
        if torch_sees_cuda():
            return "torch"
        if device == "cuda":
            raise UsageError("device 'cuda' was asked for, but neither faiss nor torch sees a CUDA device; use 'auto'")
    return "numpy" if faiss is None else "faiss"


def torch_sees_cuda() -> bool:
    """Whether torch can use a CUDA device; asked without importing torch where no driver is there."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        import torch
    except (OSError, ImportError):
        return False
    return bool(torch.cuda.is_available())


def check_same_space(queries: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both as contiguous float32.

    Raises:
        BadEmbeddings: they differ in dimension, or either is not (n, d).
    """
    queries, vectors = _two_axes(queries), _two_axes(vectors)
    if queries.shape[1] != vectors.shape[1]:
        raise BadEmbeddings(
            f"queries have {queries.shape[1]} numbers, the vectors searched have {vectors.shape[1]}; "
            "both must come from the same model"
        )
    return np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(vectors, np.float32)


def search_numpy(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Blocked GEMM; each block's best k are merged into the best so far. Needs k <= n."""
    positions = np.empty((len(queries), k), np.int64)
    similarity = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), BLOCK):
        rows = queries[start : start + BLOCK]  # (b, d)
        block = rows @ vectors[:BLOCK].T  # (b, c)
        at, near = top_k(block, min(k, block.shape[1]))
        for first in range(BLOCK, len(vectors), BLOCK):
            block = rows @ vectors[first : first + BLOCK].T
            floor = near[:, -1] if near.shape[1] == k else np.full(len(rows), -np.inf, np.float32)
            at, near = merge(at - first, near, block, floor, k)
            at += first
        positions[start : start + BLOCK], similarity[start : start + BLOCK] = at, near
    return positions, similarity


def search_torch(queries: FloatArray, vectors: FloatArray, k: int, *, device: str) -> tuple[IntArray, FloatArray]:
    """Blocked GEMM and top-k in float32 on a torch device; vectors go there a block at a time. Needs k <= n."""
    import torch

    best: Any = torch.full((len(queries), k), -torch.inf, device=device)
    best_at: Any = torch.zeros((len(queries), k), dtype=torch.int64, device=device)
    asked = torch.from_numpy(np.require(queries, requirements="W")).to(device)  # torch warns at read-only arrays
    for first in range(0, len(vectors), GPU_BLOCK):
        block = torch.from_numpy(np.require(vectors[first : first + GPU_BLOCK], requirements="W")).to(device)  # (c, d)
        for start in range(0, len(queries), BLOCK):
            rows = slice(start, start + BLOCK)
            near, at = torch.topk(asked[rows] @ block.T, min(k, len(block)), dim=1)
            merged, keep = torch.topk(torch.cat([best[rows], near], dim=1), k, dim=1)
            best_at[rows] = torch.gather(torch.cat([best_at[rows], at + first], dim=1), 1, keep)
            best[rows] = merged
    return best_at.cpu().numpy(), best.cpu().numpy()


def _search_filtered(
    queries: FloatArray, vectors: FloatArray, k: int, *, backend: Backend, threads: int | None
) -> tuple[IntArray, FloatArray]:
    """Through rough products; plainly for the queries to which too many vectors are equally similar."""
    positions, similarity, left = filtered.search_filtered(queries, vectors, k, threads=threads)
    if len(left):
        positions[left], similarity[left] = _search(queries[left], vectors, k, backend=backend)
    return positions, similarity


def _search(queries: FloatArray, vectors: FloatArray, k: int, *, backend: Backend) -> tuple[IntArray, FloatArray]:
    is_slow = len(queries) >= FEW and queries.size < FAISS_GEMM  # faiss would scan, at a tenth of the speed
    if backend == "numpy" or (backend == "faiss" and is_slow):
        return search_numpy(queries, vectors, k)
    if backend == "torch":
        return search_torch(queries, vectors, k, device="cuda")
    faiss: Any = find_faiss()
    if backend == "faiss-gpu" and k <= FAISS_GPU_K:
        near, at = faiss.knn_gpu(faiss.StandardGpuResources(), queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    else:
        near, at = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return at, near


def _two_axes(vectors: FloatArray) -> FloatArray:
    if vectors.ndim != 2:
        raise BadEmbeddings(f"vectors of shape {vectors.shape}; expected (n, d), one row per image")
    return vectors
