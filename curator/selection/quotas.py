"""How many picks each group may have.

Knows counts and group keys; knows nothing of vectors. A quota caps a group
while one greedy loop runs over all of them, so the picks stay one ordering.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curator.data import IntArray
from curator.errors import BadSelection

Quotas = Mapping[Hashable, int] | Literal["equal", "proportional"]


@dataclass(frozen=True, slots=True)
class Caps:
    """The most picks each group may have; None of this is changed by a run."""

    codes: IntArray  # (n,) group of each point, 0..g-1
    most: IntArray  # (g,) picks allowed

    def __post_init__(self) -> None:
        if len(self.codes) and not (self.codes.min() >= 0 and self.codes.max() < len(self.most)):
            raise BadSelection(f"group codes {self.codes.min()}..{self.codes.max()} with {len(self.most)} caps")


class Tally:
    """Picks left per group during one run.

    Args:
        caps: the caps, or None where every point may be picked.
        among: positions of the points the run works on; it calls them 0..m-1.
    """

    def __init__(self, caps: Caps | None, among: IntArray) -> None:
        self.has_caps = caps is not None
        self.codes = np.zeros(len(among), np.int64) if caps is None else caps.codes[among]  # (m,) group of each point
        self._left = np.array([len(among)], np.int64) if caps is None else caps.most.copy()
        self._members = np.argsort(self.codes, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(self.codes, minlength=len(self._left)))])

    @property
    def left(self) -> IntArray:
        """Picks left per group, (g,); a copy."""
        return self._left.copy()

    def is_open(self, point: int) -> bool:
        """Whether the group of this point takes another pick."""
        return bool(self._left[self.codes[point]] > 0)

    def take(self, point: int) -> int:
        """Count one pick; the group that this fills, or -1."""
        group = int(self.codes[point])
        self._left[group] -= 1
        return group if self._left[group] == 0 else -1

    def members(self, group: int) -> IntArray:
        """Points of a group."""
        inside: IntArray = self._members[self._starts[group] : self._starts[group + 1]]
        return inside

    def open_points(self) -> IntArray:
        """Points whose group takes another pick."""
        return np.flatnonzero(self._left[self.codes] > 0)

    def closed_points(self) -> IntArray:
        """Points whose group is full."""
        return np.flatnonzero(self._left[self.codes] <= 0)


def encode(groups: Sequence[Hashable]) -> tuple[list[Hashable], IntArray]:
    """Number the groups by first appearance.

    Args:
        groups: key of each point; None and nan are one group, that of points without a value.

    Returns:
        The keys, and (n,) the number of each point's key.
    """
    codes = np.empty(len(groups), np.int64)
    numbers: dict[Hashable, int] = {}
    for point, key in enumerate(groups):
        known = None if key is None or key != key else key  # nan is not equal to itself
        codes[point] = numbers.setdefault(known, len(numbers))
    return list(numbers), codes


def equal_quotas(available: IntArray, budget: int) -> IntArray:
    """Water filling: the same for every group, and what small groups cannot take goes to the others.

    Args:
        available: (g,) points per group.
        budget: picks to hand out.

    Returns:
        (g,) whole quotas, at most `available`, that add up to min(budget, all available). What is
        left after equal shares goes one by one to the groups with most to give, ties to the first.
    """
    quotas = np.zeros(len(available), np.int64)
    left = min(budget, int(available.sum()))
    while left:
        room = np.flatnonzero(available > quotas)
        level = left // len(room)
        if level == 0:
            largest = room[np.argsort(-available[room], kind="stable")[:left]]
            quotas[largest] += 1
            break
        given = np.minimum(level, available[room] - quotas[room])
        quotas[room] += given
        left -= int(given.sum())
    return quotas


def proportional_quotas(available: IntArray, budget: int) -> IntArray:
    """Shares of the budget by group size, rounded by largest remainder; ties to the first group.

    Returns:
        (g,) whole quotas, at most `available`, that add up to min(budget, all available).
    """
    total = int(available.sum())
    asked = min(budget, total)
    if total == 0:
        return np.zeros(len(available), np.int64)
    quotas = available * asked // total  # whole numbers throughout: shares in floats would round ties at random
    remainder = available * asked % total
    short = asked - int(quotas.sum())
    quotas[np.argsort(-remainder, kind="stable")[:short]] += 1
    return quotas


def caps_for(
    quotas: Quotas, *, groups: Sequence[Hashable], among: IntArray, budget: int
) -> tuple[Caps, tuple[str, ...]]:
    """Turn what was asked into a cap per group, and say what cannot be met.

    Groups that a mapping names are capped at their number; those it does not name share what is
    left of the budget. Named groups do not make up for one another.

    Args:
        groups: (n,) key of each point.
        among: positions that may be picked.
        budget: picks in all.

    Returns:
        The caps, and a sentence for each group or sum that falls short.

    Raises:
        BadSelection: a quota below 0 or not whole, or an unknown rule.
    """
    keys, codes = encode(groups)
    available = np.bincount(codes[among], minlength=len(keys))  # (g,)
    if isinstance(quotas, str):
        if quotas not in ("equal", "proportional"):
            raise BadSelection(f"quotas {quotas!r}; expected equal, proportional or a number per group")
        share = equal_quotas if quotas == "equal" else proportional_quotas
        return Caps(codes, share(available, budget)), ()
    return _named_caps(quotas, keys=keys, codes=codes, available=available, budget=budget)


def _named_caps(
    quotas: Mapping[Hashable, int], *, keys: list[Hashable], codes: IntArray, available: IntArray, budget: int
) -> tuple[Caps, tuple[str, ...]]:
    for key, quota in quotas.items():
        if isinstance(quota, bool) or quota != int(quota) or quota < 0:
            raise BadSelection(f"quota {quota!r} for group {name_of(key)}; expected a whole number of 0 or more")
    unmet = []
    asked, met = sum(quotas.values()), 0
    if asked > budget:
        unmet.append(f"The quotas ask for {asked:,} picks in all and the budget is {budget:,}: some groups stay short.")
    number = {key: code for code, key in enumerate(keys)}
    for key, quota in quotas.items():
        there = int(available[number[key]]) if key in number else 0
        met += min(there, quota)
        if there < quota:
            unmet.append(f"Group {name_of(key)} was asked for {quota:,} picks and has {there:,} to pick from.")
    others = len(keys)  # one more group: everything that is not named
    most = np.array([quotas.get(key, 0) for key in keys] + [max(budget - met, 0)], np.int64)
    named = np.array([key in quotas for key in keys] + [False], np.bool_)
    return Caps(np.where(named[codes], codes, others) if len(codes) else codes, most), tuple(unmet)


def name_of(key: Hashable) -> str:
    """A group as it reads in a sentence."""
    return "(no value)" if key is None or key != key else repr(str(key))
