"""How evenly a selection spreads over groups: near-duplicate groups, clusters, classes, metadata.

Shares and distances between distributions, each beside random draws and every-nth of the same budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.data import FloatArray, IntArray
from curator.evidence.controls import Controls
from curator.evidence.measures import Measure, measure

GROUPS_TOLD = 50


@dataclass(frozen=True, slots=True)
class Balance:
    """The groups of one column, and how a selection spreads over them beside its controls."""

    column: str
    n_groups: int  # groups with at least one point of the pool
    n_hit: int  # of them with a pick or preselected point
    hit: Measure  # share of the groups with a pick; with fewer picks than groups it cannot reach 1
    evenness: Measure  # 1 - total variation distance to equal shares
    likeness: Measure  # 1 - total variation distance to the pool's own shares; neither end is better as such
    groups: tuple[tuple[str, int, int], ...]  # name, points in the pool, picks without preselected; the largest first

    def to_dict(self) -> dict[str, Any]:
        """As plain values; the groups beyond the largest 50 are left out."""
        return {
            "column": self.column, "n_groups": self.n_groups, "n_hit": self.n_hit,
            "hit": self.hit.to_dict(), "evenness": self.evenness.to_dict(), "likeness": self.likeness.to_dict(),
            "groups": [list(group) for group in self.groups[:GROUPS_TOLD]],
        }  # fmt: skip


def total_variation(counts: IntArray | FloatArray, target: IntArray | FloatArray) -> float:
    """Half the summed difference of two distributions given as counts, 0..1: the share that would have to move.

    1 where one of them has nothing.
    """
    one, other = np.asarray(counts, np.float64), np.asarray(target, np.float64)
    if one.sum() == 0 or other.sum() == 0:
        return 1.0
    return float(0.5 * np.abs(one / one.sum() - other / other.sum()).sum())


def balance(
    column: str,
    codes: IntArray,
    names: Sequence[str] | None,
    picks: IntArray,
    *,
    controls: Controls,
    pool: IntArray,
    preselected: IntArray | None = None,
) -> Balance | None:
    """Spread over the groups of one column; None where the pool has fewer than two groups.

    Args:
        column: what the groups are, in words: "class", "cluster".
        codes: (n,) group of each point, -1 where it has none.
        names: name of each group; None: the groups are not told one by one.
        picks: positions picked.
        controls: the same budget drawn by chance and at even steps.
        pool: positions whose groups count.
        preselected: positions that count as picked, for the controls too.
    """
    n_codes = int(codes.max(initial=-1)) + 1
    size = np.bincount(codes[pool][codes[pool] >= 0], minlength=n_codes)  # (g,)
    there = np.flatnonzero(size)
    if len(there) < 2:
        return None
    given = np.zeros(0, np.int64) if preselected is None else preselected

    def counts(positions: IntArray) -> IntArray:
        found = codes[np.concatenate([given, positions])]
        counted: IntArray = np.bincount(found[found >= 0], minlength=n_codes)[there]
        return counted

    size = size[there]
    even = np.ones(len(there), np.float32)
    picked, nth = counts(picks), counts(controls.nth(len(picks)))
    drawn = [counts(draw[: len(picks)]) for draw in controls.draws]
    n_hit = int((picked > 0).sum())

    def beside(name: str, of: Any) -> Measure:
        return measure(name, of(picked), [of(counted) for counted in drawn], of(nth))

    order = np.argsort(-size, kind="stable")
    own = picked - counts(picks[:0])  # (g,) without the preselected
    return Balance(
        column=column,
        n_groups=len(there),
        n_hit=n_hit,
        hit=beside(_seen(column), lambda counted: float((counted > 0).mean())),
        evenness=beside(f"{column} balance", lambda counted: 1.0 - total_variation(counted, even)),
        likeness=beside(f"likeness to the pool by {column}", lambda counted: 1.0 - total_variation(counted, size)),
        groups=tuple((names[there[at]], int(size[at]), int(own[at])) for at in order) if names else (),
    )


def _seen(column: str) -> str:
    known = {"class": "classes", "cluster": "clusters", "near-duplicate group": "near-duplicate groups"}
    return f"{known.get(column, f'values of {column}')} seen"
