"""Precision with an interval, lift with a lower bound, and a labelling budget shared over failure modes.

Pure: counts in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959964  # of a 95 % interval
FEW = 10  # reviews below which only counts are shown
LEAST = 5  # of the budget that every mode gets, where it suffices


@dataclass(frozen=True, slots=True)
class Precision:
    """Share of accepted among the accepted and discarded."""

    accepted: int
    discarded: int
    skipped: int
    share: float | None  # none before the first answer
    low: float | None  # 95 % interval; none below `FEW` answers
    high: float | None

    def to_json(self) -> dict[str, int | float | None]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def precision(accepted: int, discarded: int, skipped: int = 0) -> Precision:
    """Precision of what was shown, with Wilson's interval (1927).

    It is of those shown: a ranking shows its best first, so the rest will be worse.
    """
    n = accepted + discarded
    if n == 0:
        return Precision(0, 0, skipped, None, None, None)
    low, high = wilson(accepted, n)
    is_few = n < FEW
    return Precision(accepted, discarded, skipped, accepted / n, None if is_few else low, None if is_few else high)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share seen as `hits` of `n`, n >= 1; sensible at 0 and 1 too."""
    share, z2 = hits / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))  # rounding may put it outside


def shared_budget(budget: int, modes: Sequence[tuple[int, int, int]]) -> list[int]:
    """Split a labelling budget over modes.

    Each gets `LEAST` first (or an equal part of a smaller budget); the rest follows the upper end of the
    interval of its precision times the square root of its size: optimism where little is known, after the
    idea of upper confidence bounds (Auer, Cesa-Bianchi and Fischer, 2002), and more where failures are many.

    Args:
        modes: (failures, accepted, discarded) of each.

    Returns:
        Whole numbers that sum to the budget; larger remainders first, then the earlier mode.
    """
    if not modes:
        return []
    floor = min(LEAST, budget // len(modes))
    left = budget - floor * len(modes)
    weights = [
        math.sqrt(max(size, 1)) * (wilson(good, good + bad)[1] if good + bad else 1.0) for size, good, bad in modes
    ]
    exact = [left * weight / sum(weights) for weight in weights]
    shares = [int(part) for part in exact]
    order = sorted(range(len(modes)), key=lambda at: (shares[at] - exact[at], at))
    for at in order[: left - sum(shares)]:
        shares[at] += 1
    return [floor + share for share in shares]
