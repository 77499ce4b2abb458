"""Near-duplicate groups as a reviewer sees them: the kept image, those it stands for, and how close each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import StageMissing
from curator.searching.columns import Columns

Order = Literal["loosest", "largest", "row"]
BINS = 50


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """Every group of two or more, as slices of the removed rows ordered by group."""

    kept: IntArray  # (g,) kept rows, ascending
    starts: IntArray  # (g + 1,) where each group's removed rows begin
    removed: IntArray  # (m,) removed rows, most similar first within a group
    similarity: FloatArray  # (m,) to the kept row
    is_exact: Any  # (m,) bool, same bytes

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return int(self.kept.nbytes + self.starts.nbytes + self.removed.nbytes + self.similarity.nbytes)

    def __len__(self) -> int:
        return len(self.kept)

    def page(self, order: Order, offset: int, limit: int) -> list[dict[str, Any]]:
        """Some groups as plain values, in the order asked for; equal ones by row."""
        sizes = np.diff(self.starts)
        loosest = np.minimum.reduceat(self.similarity, self.starts[:-1]) if len(self) else np.empty(0, np.float32)
        key = {"loosest": loosest, "largest": -sizes, "row": self.kept}[order]
        chosen = np.argsort(key, kind="stable")[offset : offset + limit]
        return [self._group(int(at), float(loosest[at])) for at in chosen]

    def all_among(self, rows: IntArray) -> BoolArray:
        """(g,) whether every removed row of a group is one of some rows."""
        if not len(self):
            return np.empty(0, np.bool_)
        return np.logical_and.reduceat(np.isin(self.removed, rows), self.starts[:-1])

    def of_row(self, kept: int) -> dict[str, Any] | None:
        """The group of a kept row; none where it stands for itself alone."""
        at = int(np.searchsorted(self.kept, kept))
        if at == len(self) or self.kept[at] != kept:
            return None
        return self._group(at, float(self.similarity[self.starts[at] : self.starts[at + 1]].min()))

    def histogram(self) -> dict[str, Any]:
        """Removed rows by their similarity to the kept one, same bytes apart."""
        near = self.similarity[~self.is_exact]
        low = float(near.min()) if len(near) else 0.0
        counts, edges = np.histogram(near, bins=BINS, range=(min(low, 0.999), 1.0))
        return {
            "edges": edges.tolist(), "counts": counts.tolist(), "n_exact": int(self.is_exact.sum()),
            "n_near": len(near),
        }  # fmt: skip

    def removed_at(self, thresholds: list[float]) -> list[int]:
        """How many of the removed would still be at or above each threshold with the kept ones as they are."""
        near = np.sort(self.similarity[~self.is_exact])
        exact = int(self.is_exact.sum())
        return [exact + int(len(near) - np.searchsorted(near, value, side="left")) for value in thresholds]

    def _group(self, at: int, loosest: float) -> dict[str, Any]:
        own = slice(int(self.starts[at]), int(self.starts[at + 1]))
        members = [
            {"row": row, "similarity": round(value, 6), "kind": "exact" if exact else "near"}
            for row, value, exact in zip(
                self.removed[own].tolist(), self.similarity[own].tolist(), self.is_exact[own].tolist(), strict=True
            )
        ]
        return {"kept": int(self.kept[at]), "size": 1 + len(members), "loosest": round(loosest, 6), "removed": members}


def duplicate_groups(columns: Columns) -> DuplicateGroups:
    """The groups of the near-duplicates stage, computed once.

    Raises:
        StageMissing: it has not run.
    """
    if not columns.has("representative"):
        raise StageMissing("near-duplicates have not been looked for; run `curator neardups` on the workspace first")
    found: DuplicateGroups = columns.derived("duplicate groups", "", lambda: _groups(columns))
    return found


def _groups(columns: Columns) -> DuplicateGroups:
    columns.load(["representative", "similarity", "duplicate"])
    kept = columns.column("representative").fill_null(-1).to_numpy().astype(np.int64)
    similarity = np.asarray(columns.column("similarity").fill_null(1.0).to_numpy(), np.float32)
    is_exact = np.asarray(columns.column("duplicate").to_numpy(zero_copy_only=False) == "exact")
    rows = np.flatnonzero((kept >= 0) & (kept != np.arange(len(kept))))
    rows = rows[np.lexsort((rows, -similarity[rows], kept[rows]))]
    groups, first = np.unique(kept[rows], return_index=True)
    starts = np.append(first, len(rows)).astype(np.int64)
    return DuplicateGroups(groups, starts, rows, similarity[rows], is_exact[rows])
