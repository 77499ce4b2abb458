"""Several wishes in one ordering: the product of objectives, each to the power of its strength.

The rule is the field's (LightlyOne's selection, thresholds first, then all else
at once). A factor that never rises as picks are added leaves the product never
rising, so the lazy greedy loop stays valid and a prefix is the smaller selection.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Neighbors, Progress
from curator.errors import BadSelection
from curator.selection.ball import BallGain
from curator.selection.density import typicality
from curator.selection.facility import FacilityGain
from curator.selection.greedy import Batched, lazy_greedy, pooled_greedy
from curator.selection.kcenter import DistanceGain, most_central
from curator.selection.mixed import Product
from curator.selection.picks import Picks, blocks, ordered
from curator.selection.quotas import Caps, Tally, encode, listed, name_of
from curator.selection.targets import Shares, Target, merit

Kind = Literal[
    "diversity", "representative", "coverage", "typicality", "weights", "similarity", "uncertainty", "random",
    "balance", "threshold",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
FIXED = ("typicality", "weights", "similarity", "uncertainty", "random")  # one number per point, whatever is picked
MEASURED = ("weights", "uncertainty", "threshold")  # kinds whose numbers are given
ROWS = 8_192
STRONGEST = 50.0  # powers beyond would leave the numbers that a float can hold
NEAR_TARGET = 0.05  # a group short by less than this share of its target is near enough to go without a word
LEAST = 1e-6  # what the lowest value counts where low ones are wanted to a power, so that none is infinite


@dataclass(frozen=True, slots=True)
class Strategy:
    """One wish among several over n points.

    A negative strength, for kinds that give one number per point, wants the low ones.

    Raises:
        BadSelection: a kind nobody knows, a strength that it cannot have, or a part that it needs and lacks.
    """

    kind: Kind
    strength: float = 1.0
    values: FloatArray | None = None  # (n,) for weights, uncertainty and threshold; nan: no value
    queries: FloatArray | None = None  # (q, d) unit vectors, for similarity
    groups: Sequence[Hashable] | None = None  # (n,) group of each point, for balance
    target: Target | Literal["uniform", "proportional"] = "uniform"  # for balance
    minimum: float | None = None  # for threshold: the least that passes
    maximum: float | None = None  # for threshold: the most that passes
    scale: Literal["value", "rank"] = "value"  # of values: as they are, or their place in order, 0..1
    name: str = ""  # what it is about, in a sentence: the column

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadSelection(f"unknown strategy {self.kind!r}; expected one of {', '.join(KINDS)}")
        if not abs(self.strength) <= STRONGEST or (self.strength < 0 and self.kind not in FIXED):
            raise BadSelection(
                f"strategy {self.kind} with strength {self.strength:g}; expected 0 to {STRONGEST:g}: only "
                f"{', '.join(FIXED)} can be turned round by one below 0"
            )
        if self.kind in MEASURED and self.values is None:
            raise BadSelection(f"strategy {self.kind} without values; give one number per vector")
        if self.kind == "similarity" and (self.queries is None or len(self.queries) == 0):
            raise BadSelection("strategy similarity without queries; give at least one vector to be similar to")
        if self.kind == "balance" and self.groups is None:
            raise BadSelection("strategy balance without groups; give the group of each point")
        if self.kind == "threshold" and self.minimum is None and self.maximum is None:
            raise BadSelection(f"threshold on {self.name or 'values'} without min or max; give one of them")

    @property
    def label(self) -> str:
        """The strategy in a word or two, such as "weights by sharpness"."""
        return f"{self.kind} by {self.name}" if self.name else self.kind

    def check_against(self, n: int) -> None:
        """Refuse values or groups that are not one per point.

        Raises:
            BadSelection: a length that is not n.
        """
        for what, given in (("values", self.values), ("groups", self.groups)):
            if given is not None and len(given) != n:
                raise BadSelection(f"strategy {self.kind} with {len(given)} {what} for {n} vectors; expected one each")

    def passes(self) -> BoolArray:
        """(n,) who passes a threshold; no value does not."""
        values = np.asarray(self.values, np.float64)
        with np.errstate(invalid="ignore"):
            ok: BoolArray = ~np.isnan(values)
            if self.minimum is not None:
                ok &= values >= self.minimum
            if self.maximum is not None:
                ok &= values <= self.maximum
        return ok


class Fixed:
    """One number per candidate, whatever is picked."""

    def __init__(self, values: FloatArray) -> None:
        self._values = np.asarray(values, np.float32)  # (c,)

    def first_gains(self) -> FloatArray:
        """The numbers, (c,)."""
        return self._values.copy()

    def gains(self, candidates: IntArray) -> FloatArray:
        """The numbers of these, (b,)."""
        return self._values[candidates]

    def gain(self, candidate: int) -> float:
        """The number of this one."""
        return float(self._values[candidate])

    def add(self, candidate: int) -> None:
        """Nothing changes."""


class BalanceGain:
    """How much a candidate's group deserves the next pick: share / (2 picks so far + 1).

    The divisor method of `targets.apportion` played pick by pick: with a high strength every prefix
    is apportioned as nearly as whole picks can be, and no group is ever shut out for good.
    """

    def __init__(self, codes: IntArray, shares: Shares, *, have: IntArray) -> None:
        self._codes, self._shares = codes, shares  # (c,) group of each candidate; (g,)
        self._have = have.copy()  # (g,) picks so far, preselected points included

    def first_gains(self) -> FloatArray:
        """Of all, (c,)."""
        return self.gains(np.arange(len(self._codes)))

    def gains(self, candidates: IntArray) -> FloatArray:
        """Of these, (b,)."""
        deserved: FloatArray = (self._shares / (2 * self._have + 1)).astype(np.float32)
        return deserved[self._codes[candidates]]

    def gain(self, candidate: int) -> float:
        """Of this one."""
        group = int(self._codes[candidate])
        return merit(self._shares[group], int(self._have[group]))

    def add(self, candidate: int) -> None:
        """One more of its group."""
        self._have[self._codes[candidate]] += 1


@dataclass(frozen=True, slots=True)
class Scene:
    """What the factors of one run look at."""

    vectors: FloatArray  # (n, d) unit vectors
    among: IntArray  # (c,) positions of the candidates, increasing
    given: IntArray  # positions picked before
    weights: FloatArray  # (n,) how much it counts that a point is represented
    graph: (
        Neighbors | None
    )  # over the n points; needed by typicality, and by representative and coverage where n is large
    threshold: float | None  # cosine, for coverage
    seed: int  # of random


def compose(
    scene: Scene, strategies: Sequence[Strategy], budget: int, *, caps: Caps | None, progress: Progress
) -> Picks:
    """Order the candidates by the product of the strategies' objectives, each to the power of its strength.

    Greedy; ties go to the lowest position. Thresholds are filters and must have been applied to
    `scene.among`. Without quotas a prefix is the smaller selection.

    Returns:
        Picks whose gain is the product when picked, as a share of the highest at the start (of one
        objective alone: its own gain); never rising, 0 once one of the factors is.

    Raises:
        BadSelection: a strategy that cannot be used on these points.
    """
    wishes = [strategy for strategy in strategies if strategy.kind != "threshold" and strategy.strength != 0]
    factors = [(_factor(strategy, scene), 1.0 if strategy.kind in FIXED else strategy.strength) for strategy in wishes]
    if not factors:
        factors = [(Fixed(np.ones(len(scene.among), np.float32)), 1.0)]
    kinds = {strategy.kind for strategy in wishes}
    objective, tally = Product(factors, relative=len(factors) > 1), Tally(caps, scene.among)
    budget, first, gains_first = min(budget, len(scene.among)), _first(scene, kinds, tally, budget), []
    for candidate in first:
        gains_first.append(objective.gain(candidate))
        objective.add(candidate)
    greedy = pooled_greedy if "diversity" in kinds else lazy_greedy
    slots, gains = greedy(objective, budget - len(first), tally=tally, progress=progress, already=first)
    slots = np.concatenate([np.asarray(first, np.int64), slots])
    return ordered(scene.vectors, scene.among[slots], [*gains_first, *gains.tolist()], preselected=scene.given)


def _first(scene: Scene, kinds: set[Kind], tally: Tally, budget: int) -> list[int]:
    """Where distance alone counts and nothing is there to be far from: the most central candidate, as in `k_center`."""
    if kinds != {"diversity"} or len(scene.given) or budget == 0:
        return []
    central = most_central(scene.vectors, scene.among, allowed=tally.open_points())
    return [central] if central >= 0 else []


def _factor(strategy: Strategy, scene: Scene) -> Batched:
    """The objective of one strategy; those with one number per point come with their strength in it."""
    if strategy.kind == "diversity":
        return DistanceGain(scene.vectors, scene.among, scene.given)
    if strategy.kind == "representative":
        return FacilityGain(scene.vectors, scene.among, scene.given, weights=scene.weights, neighbors=scene.graph)
    if strategy.kind == "coverage":
        if scene.threshold is None:
            raise BadSelection("strategy coverage without a threshold; give the cosine from which a pick covers")
        return BallGain(scene.vectors, scene.among, scene.given, threshold=scene.threshold, weights=scene.weights)
    if strategy.kind == "balance":
        return _balance(strategy, scene)
    values = _numbers(strategy, scene)
    return Fixed(turned(values, strategy.strength) ** np.float32(abs(strategy.strength)))


def _balance(strategy: Strategy, scene: Scene) -> BalanceGain:
    keys, codes = encode(strategy.groups or [])
    available = np.bincount(codes[scene.among], minlength=len(keys))
    have = np.bincount(codes[scene.given], minlength=len(keys))
    return BalanceGain(codes[scene.among], shares_of(strategy.target, keys, available), have=have)


def unbalanced(strategy: Strategy, picked: IntArray, *, among: IntArray, given: IntArray) -> str:
    """The sentence on groups that a balance leaves short of their target by more than rounding; "" for none.

    Preselected points count: what is balanced is the labelled set as it will be.

    Args:
        picked: positions picked.
        among: positions that might have been.
        given: preselected positions.
    """
    keys, codes = encode(strategy.groups or [])
    available = np.bincount(codes[among], minlength=len(keys))
    shares = shares_of(strategy.target, keys, available)
    have = np.bincount(codes[given], minlength=len(keys)) + np.bincount(codes[picked], minlength=len(keys))
    total = int(have.sum())
    lacking = shares * total - have
    short = np.flatnonzero((lacking > 1.0) & (lacking > NEAR_TARGET * shares * total))
    phrases = [
        f"{name_of(keys[g])} was to be {100 * shares[g]:.3g} % and is {100 * have[g] / total:.3g} % ({have[g]:,} of "
        f"{total:,}, {int(np.ceil(lacking[g])):,} short; {available[g]:,} could be picked)"
        for g in short[np.argsort(-lacking[short], kind="stable")]
    ]
    return f"The balance by {strategy.name or 'groups'} is not met: {listed(phrases)}." if phrases else ""


def _numbers(strategy: Strategy, scene: Scene) -> FloatArray:
    """One number per candidate, 0..1, (c,)."""
    if strategy.kind == "random":
        # drawn for all points, so that who else may be picked does not change the order of the rest
        drawn = np.random.default_rng(scene.seed).random(len(scene.vectors), np.float32)
        return drawn[scene.among]
    if strategy.kind == "similarity" and strategy.queries is not None:
        found = similarity_to(scene.vectors, strategy.queries)[scene.among]
    elif strategy.kind == "typicality":
        if scene.graph is None:
            raise BadSelection("strategy typicality without a neighbour graph; pass one over the same vectors")
        found = typicality(scene.graph)[scene.among]
    else:
        found = np.asarray(strategy.values, np.float32)[scene.among]
    return scaled(found, scale=strategy.scale, name=strategy.name)


def scaled(values: FloatArray, *, scale: Literal["value", "rank"], name: str = "") -> FloatArray:
    """Numbers as a factor: 0 or more, the highest 1; no value counts as the least.

    Args:
        values: (c,) of the candidates; nan: no value.
        scale: "value" divides by the highest, which leaves ratios as they are; "rank" takes the place
            in order, ties at their mean, so that neither unit nor outliers matter.

    Returns:
        (c,) float32, 0..1.

    Raises:
        BadSelection: "value" with numbers below 0 or infinite ones.
    """
    known = ~np.isnan(values)
    out = np.zeros(len(values), np.float32)
    some = np.asarray(values, np.float64)[known]
    if len(some) == 0:
        return out
    if scale == "rank":
        _, inverse, count = np.unique(some, return_inverse=True, return_counts=True)
        last = np.cumsum(count)  # places 1..c in order
        out[known] = ((last - (count - 1) / 2.0) / len(some))[inverse]
        return out
    if some.min() < 0 or not np.isfinite(some.max()):
        raise BadSelection(
            f"weights by {name or 'values'} from {some.min():g} to {some.max():g}; a product needs finite numbers of 0 "
            "or more: give scale: rank, or another column"
        )
    out[known] = some / some.max() if some.max() > 0 else 1.0
    return out


def turned(values: FloatArray, strength: float) -> FloatArray:
    """Values for a strength that may be negative: then the low ones count most, 1 / value, the lowest 1."""
    if strength >= 0:
        return values
    low: FloatArray = (1.0 / np.maximum(values, LEAST)).astype(np.float32)
    scaled_low: FloatArray = low / low.max(initial=np.float32(LEAST))
    return scaled_low


def similarity_to(vectors: FloatArray, queries: FloatArray, *, centre: FloatArray | None = None) -> FloatArray:
    """How similar each point is to a set of queries, beside what all points share, 0..1.

    The mean cosine to the queries after the mean of the set is taken from both; half of it plus a
    half: what all points share says nothing about the queries.

    Args:
        vectors: (n, d) unit vectors.
        queries: (q, d) unit vectors.
        centre: (d,) what to take away; None: the mean of `vectors`.

    Returns:
        (n,) float32; 0.5 for a point that has nothing to do with them.
    """
    middle = mean_of(vectors) if centre is None else centre
    wanted = _away_from(queries, middle).mean(axis=0)  # (d,): the mean of cosines is the cosine to the mean
    out = np.empty(len(vectors), np.float32)
    for part in blocks(len(vectors), ROWS):
        out[part] = 0.5 + 0.5 * (_away_from(vectors[part], middle) @ wanted)
    return out.clip(0.0, 1.0)


def mean_of(vectors: FloatArray) -> FloatArray:
    """The mean vector, (d,), summed in float64."""
    total = np.zeros(vectors.shape[1], np.float64)
    for part in blocks(len(vectors), ROWS):
        total += vectors[part].sum(axis=0, dtype=np.float64)
    return (total / max(len(vectors), 1)).astype(np.float32)


def _away_from(vectors: FloatArray, middle: FloatArray) -> FloatArray:
    moved = vectors - middle
    unit: FloatArray = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6).astype(np.float32)
    return unit


def shares_of(
    target: Target | Literal["uniform", "proportional"], keys: Sequence[Hashable], available: IntArray
) -> Shares:
    """The share of each group, (g,), that a target asks for; groups with nothing to pick from have none."""
    if isinstance(target, Target):
        return target.over(keys, available)
    there = available > 0
    if target == "uniform":
        return there / max(int(there.sum()), 1)
    if target != "proportional":
        raise BadSelection(f"target {target!r}; expected uniform, proportional or a share per group")
    return available / max(int(available.sum()), 1)
