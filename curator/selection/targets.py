"""Target distributions: which share of the picks each group is to have.

Knows shares and counts; knows nothing of vectors. Whole seats come from shares
by the method of Sainte-Lague, because with it a larger budget never takes a
seat back.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import IntArray
from curator.errors import BadSelection

Shares = NDArray[np.float64]

SUM = 1e-6  # shares that add up to 1 but for this do add up to 1


@dataclass(frozen=True, slots=True)
class Target:
    """Shares by group, 0..1. Groups it does not name share what is left by their size.

    Raises:
        BadSelection: a share outside 0..1, shares above 1 in all, or no share at all.
    """

    shares: Mapping[Hashable, float]
    like: str = ""  # whose distribution it is, in words; empty: given as numbers

    def __post_init__(self) -> None:
        for key, share in self.shares.items():
            if not (isinstance(share, int | float) and 0.0 <= share <= 1.0):
                raise BadSelection(f"target share {share!r} for group {str(key)!r}; expected a share from 0 to 1")
        total = math.fsum(self.shares.values())
        if total > 1.0 + SUM:
            raise BadSelection(f"target shares add up to {total:g}; expected 1 or less, the rest goes to other groups")
        if not self.shares:
            raise BadSelection("a target without shares; expected a share per group, such as {day: 0.7, night: 0.3}")

    def over(self, keys: Sequence[Hashable], available: IntArray) -> Shares:
        """The share of each group, (g,); what groups without a share are to have goes by their size.

        Args:
            keys: the groups there are.
            available: (g,) points per group that may be picked.
        """
        shares = np.array([self.shares.get(key, 0.0) for key in keys], np.float64)
        others = np.array([key not in self.shares for key in keys], np.bool_) & (available > 0)
        left = max(1.0 - math.fsum(self.shares.values()), 0.0)
        if left > SUM and others.any():
            shares[others] = left * available[others] / available[others].sum()
        return shares


def like(groups: Sequence[Hashable], *, of: str) -> Target:
    """The distribution of a set's groups, as a target.

    Args:
        groups: key of each point of that set.
        of: what the set is called in a sentence.

    Raises:
        BadSelection: the set is empty.
    """
    if len(groups) == 0:
        raise BadSelection(f"a target like {of}, which holds no image; name a set with images in it")
    counts: dict[Hashable, int] = {}
    for key in groups:
        counts[key] = counts.get(key, 0) + 1
    return Target({key: n / len(groups) for key, n in counts.items()}, like=of)


def apportion(shares: Shares, budget: int, *, available: IntArray, have: IntArray | None = None) -> IntArray:
    """Hand out seats one by one, each to the group with the highest share / (2 seats + 1).

    Webster's or Sainte-Lague's method: the nearest to the shares among the methods by divisors,
    and a larger budget only adds seats. A full group is passed over, so others make up for it;
    groups of share 0 get nothing. Balinski and Young, "Fair Representation", 1982.

    Args:
        shares: (g,) 0 or more.
        available: (g,) most seats each can take.
        have: (g,) seats each has already, which count; None: none.

    Returns:
        (g,) whole seats beside those it has, at most `available`.
    """
    seats = np.zeros(len(shares), np.int64)
    before = np.zeros(len(shares), np.int64) if have is None else have
    heap = [(-merit(shares[g], int(before[g])), g) for g in range(len(shares)) if shares[g] > 0 and available[g] > 0]
    heapq.heapify(heap)
    for _ in range(budget):
        if not heap:
            break
        group = heap[0][1]
        seats[group] += 1
        if seats[group] < available[group]:
            heapq.heapreplace(heap, (-merit(shares[group], int(before[group] + seats[group])), group))
        else:
            heapq.heappop(heap)
    return seats


def merit(share: float, seats: int) -> float:
    """How much a group deserves the next seat; never rises with its seats."""
    return float(share) / (2 * seats + 1)


def wanted(shares: Shares, budget: int, *, have: IntArray | None = None) -> IntArray:
    """Seats each group would get if every group had enough, (g,)."""
    return apportion(shares, budget, available=np.full(len(shares), budget, np.int64), have=have)


def distance(reached: IntArray, shares: Shares) -> float:
    """Total variation distance between counts and shares, 0 (equal) to 1; 0 for counts of nothing."""
    total = int(reached.sum())
    if total == 0:
        return 0.0
    whole = float(shares.sum()) or 1.0
    return float(0.5 * np.abs(reached / total - shares / whole).sum())


def parse(values: Mapping[Any, Any]) -> dict[Hashable, float] | None:
    """Shares written as 0.3 or "30%"; None where the values are counts.

    Raises:
        BadSelection: some are counts and some are shares, or one is neither.
    """
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values.values()):
        return None
    shares: dict[Hashable, float] = {}
    for key, value in values.items():
        if isinstance(value, int) and value > 1:
            raise BadSelection(f"{dict(values)} mixes counts and shares; give all groups one or the other")
        shares[key] = _share(key, value)
    return shares


def _share(key: Any, value: Any) -> float:
    is_percent = isinstance(value, str) and value.strip().endswith("%")
    try:
        if isinstance(value, bool) or (isinstance(value, str) and not is_percent):
            raise ValueError
        return float(value.strip()[:-1]) / 100.0 if is_percent else float(value)
    except (TypeError, ValueError):
        raise BadSelection(
            f"{value!r} for group {str(key)!r}; expected a count such as 20, or a share such as 0.3 or 30%"
        ) from None
