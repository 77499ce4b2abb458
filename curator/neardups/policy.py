"""Who is kept rather than whom: policies as scores, and copies of the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curator.data import FloatArray, IntArray
from curator.errors import UnknownColumn, UsageError

POLICIES = ("coverage", "sharpest", "first", "largest", "labelled")


def exact_groups(digests: Sequence[str | None]) -> IntArray:
    """For each position, the first one with the same digest; itself where unique or without a digest."""
    first: dict[str, int] = {}
    return np.array(
        [i if digest is None else first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64
    )


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
