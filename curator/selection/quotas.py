"""How many picks each group may have.

Knows counts and group keys; knows nothing of vectors. A quota caps a group
while one greedy loop runs over all of them, so the picks stay one ordering.
Limits of another kind (`limits`) travel with the caps and close points too.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curator.data import BoolArray, IntArray
from curator.errors import BadSelection
from curator.selection.limits import Rule
from curator.selection.targets import Target, apportion, wanted

Quotas = Mapping[Hashable, int] | Literal["equal", "proportional"] | Target
NAMED = 5  # groups that a sentence names before it counts the rest


@dataclass(frozen=True, slots=True)
class Caps:
    """The most picks each group may have, and other limits; nothing of this is changed by a run."""

    codes: IntArray  # (n,) group of each point, 0..g-1
    most: IntArray  # (g,) picks allowed
    rules: tuple[Rule, ...] = ()  # limits beside the groups: distance between picks, spacing in time

    def __post_init__(self) -> None:
        if len(self.codes) and not (self.codes.min() >= 0 and self.codes.max() < len(self.most)):
            raise BadSelection(f"group codes {self.codes.min()}..{self.codes.max()} with {len(self.most)} caps")


def only(rules: tuple[Rule, ...], n: int) -> Caps:
    """Caps over n points that hold rules and no quota."""
    return Caps(np.zeros(n, np.int64), np.array([n], np.int64), rules)


class Tally:
    """Picks left per group during one run, and what the rules have closed.

    A loop that only asks `is_open` and tells `take` keeps every limit. One that works on whole
    groups (`codes`, `members`, `left` and what `take` answers) keeps quotas alone, and must not run
    where `has_rules`.

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
        self._closings = () if caps is None else tuple(rule.start(among) for rule in caps.rules)
        self.has_rules = bool(self._closings)

    @property
    def left(self) -> IntArray:
        """Picks left per group, (g,); a copy."""
        return self._left.copy()

    def is_open(self, point: int) -> bool:
        """Whether this point may be picked: its group takes another, and no rule closes it."""
        return bool(self._left[self.codes[point]] > 0) and all(rule.is_open(point) for rule in self._closings)

    def take(self, point: int) -> int:
        """Count one pick; the group that this fills, or -1."""
        for rule in self._closings:
            rule.take(point)
        group = int(self.codes[point])
        self._left[group] -= 1
        return group if self._left[group] == 0 else -1

    def members(self, group: int) -> IntArray:
        """Points of a group."""
        inside: IntArray = self._members[self._starts[group] : self._starts[group + 1]]
        return inside

    def open_points(self) -> IntArray:
        """Points that may be picked."""
        return np.flatnonzero(self._open_mask())

    def closed_points(self) -> IntArray:
        """Points that may not be picked."""
        return np.flatnonzero(~self._open_mask())

    def _open_mask(self) -> BoolArray:
        is_open: BoolArray = self._left[self.codes] > 0
        for rule in self._closings:
            is_open &= rule.open_mask()
        return is_open


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
        if quotas == "proportional":
            return Caps(codes, proportional_quotas(available, budget)), ()
        return Caps(codes, equal_quotas(available, budget)), _too_small(keys, available, budget)
    if isinstance(quotas, Target):
        return _caps_at(quotas, keys=keys, codes=codes, available=available, budget=budget)
    return _named_caps(quotas, keys=keys, codes=codes, available=available, budget=budget)


def _too_small(keys: list[Hashable], available: IntArray, budget: int) -> tuple[str, ...]:
    """The sentence on groups that have fewer than an equal share."""
    if budget >= int(available.sum()):
        return ()
    share = budget // max(len(keys), 1)
    short = np.flatnonzero(available < share)
    if not len(short):
        return ()
    lacking = [f"{name_of(keys[g])} has {available[g]:,}" for g in short]
    groups = "1 group has" if len(short) == 1 else f"{len(short):,} groups have"
    return (f"{groups} fewer than an equal share of {share:,} picks; the others make up for it: {listed(lacking)}.",)


def _caps_at(
    target: Target, *, keys: list[Hashable], codes: IntArray, available: IntArray, budget: int
) -> tuple[Caps, tuple[str, ...]]:
    """Caps at the shares of a target; what a small group cannot give goes to the others by their shares."""
    absent = [key for key in target.shares if key not in keys]
    keys, available = keys + absent, np.concatenate([available, np.zeros(len(absent), np.int64)])
    shares = target.over(keys, available)
    asked, most = wanted(shares, budget), apportion(shares, budget, available=available)
    like = f" like {target.like}" if target.like else ""
    short = [
        f"{name_of(keys[g])} was to be {100 * shares[g] / shares.sum():.3g} % ({asked[g]:,} of {budget:,} picks) and "
        f"has {available[g]:,}, {asked[g] - available[g]:,} short"
        for g in np.flatnonzero(asked > available)
    ]
    unmet = (f"The target{like} cannot be met: {listed(short)}.",) if short else ()
    return Caps(codes, most), unmet


def listed(phrases: Sequence[str]) -> str:
    """A few phrases, and how many more there are."""
    more = f"; and {len(phrases) - NAMED:,} more" if len(phrases) > NAMED else ""
    return "; ".join(phrases[:NAMED]) + more


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
