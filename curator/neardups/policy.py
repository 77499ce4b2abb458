"""Who is kept rather than whom: policies as scores, and copies of the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, IntArray
from curator.errors import UnknownColumn, UsageError

POLICIES = ("coverage", "sharpest", "first", "largest", "labelled")


def exact_groups(digests: Sequence[str | None]) -> IntArray:
    """For each position, the first one with the same digest; itself where unique or without a digest."""
    first: dict[str, int] = {}
    return np.array(
        [i if digest is None else first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64
    )


def equal_groups(vectors: FloatArray, at: IntArray, place: IntArray | None = None) -> IntArray:
    """For each position, the first one of `at` with the same numbers and the same `place`; itself elsewhere.

    Args:
        vectors: (n, d) float32.
        at: positions that are looked at, ascending.
        place: (n,) codes that must agree as well; none where they need not.

    Returns:
        (n,) int64.
    """
    first_of = np.arange(len(vectors))
    rng = np.random.default_rng(0)
    odd: NDArray[np.uint64] = rng.integers(2**63, size=vectors.shape[1] + 1, dtype=np.uint64) | np.uint64(1)
    mixed = np.empty(len(at), np.uint64)
    for start in range(0, len(at), 8_192):
        rows = np.ascontiguousarray(vectors[at[start : start + 8_192]]).view(np.uint32)
        mixed[start : start + len(rows)] = (rows * odd[:-1]).sum(axis=1, dtype=np.uint64)  # wraps around
    if place is not None:
        mixed ^= place[at].astype(np.uint64) * odd[-1]
    _, first, code = np.unique(mixed, return_index=True, return_inverse=True)
    held = at[first[code]]  # who has the same mixture; two who differ may, so the numbers are compared
    for start in range(0, len(at), 8_192):
        part = slice(start, start + 8_192)
        same = (vectors[at[part]] == vectors[held[part]]).all(axis=1)
        if place is not None:
            same &= place[at[part]] == place[held[part]]
        first_of[at[part][same]] = held[part][same]
    return first_of


def priority(policy: str, columns: Mapping[str, FloatArray]) -> FloatArray | None:
    """The scores a keep policy orders by, higher kept first; none where it needs no column.

    Args:
        policy: coverage, first, sharpest (column sharpness), largest (size_px), labelled (labelled:
            1 or 0), max:COLUMN or min:COLUMN.
        columns: numeric columns by name, (n,) each. What is not a number comes last.

    Raises:
        UsageError: no such policy.
        UnknownColumn: the policy's column is not among `columns`.
    """
    if policy in ("coverage", "first"):
        return None
    named = {"sharpest": "sharpness", "largest": "size_px", "labelled": "labelled"}
    direction, _, column = ("max", ":", named[policy]) if policy in named else policy.partition(":")
    if direction not in ("max", "min") or not column:
        raise UsageError(f"no keep policy {policy!r}; expected {', '.join(POLICIES)}, max:COLUMN or min:COLUMN")
    if column not in columns:
        raise UnknownColumn(
            f"keep policy {policy!r} needs the numeric column {column!r}; there are {', '.join(sorted(columns))}"
        )
    scores = np.asarray(columns[column], dtype=np.float32)
    return np.nan_to_num(scores if direction == "max" else -scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
