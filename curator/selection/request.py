"""What is asked of a selection, and what came of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadSelection
from curator.selection.compose import Strategy
from curator.selection.limits import Apart, Rule, Spacing
from curator.selection.picks import Picks
from curator.selection.quotas import Quotas
from curator.selection.stopping import Stop

Method = Literal[
    "representative", "diverse", "mixed", "dpp", "graph_cut", "coverage", "typicality", "hierarchical", "uncertainty",
    "strategies", "random", "every_nth",
]  # fmt: skip
METHODS: tuple[Method, ...] = get_args(Method)
TRIM_DIVERSE = 0.03  # of the candidates: k-center picks junk first; on clean data this costs it little
DISPERSES = ("diverse", "dpp")  # methods that seek out whatever lies apart
REPRESENTS = ("representative", "mixed", "coverage", "graph_cut")  # methods that ask what picks stand for
HAS_GAINS = ("representative", "diverse", "mixed", "dpp", "graph_cut", "coverage", "strategies")  # gains never rise
PREFIX = (
    "representative",
    "diverse",
    "mixed",
    "dpp",
    "coverage",
    "hierarchical",
    "uncertainty",
    "strategies",
    "random",
)
"""Methods whose smaller selection is a prefix of the larger one, where no quotas are given."""


@dataclass(frozen=True, slots=True)
class Request:
    """A selection to make over n points; positions are places in the vectors.

    What may not be picked may still have to be represented. Mark near-duplicates in `cover`: where
    half of a set had been removed as such, `representative` found 124 of 147 distinct objects when
    it was to represent the whole, and 106 when it was to represent what was left (gtsrb_tracks,
    147 picks of 4,410, near-duplicates from 0.9; at random 96). With `distinct` a near-duplicate is
    still covered and counted by `stop`, but no pick is chosen for the number of its copies: right
    where copies come from collecting, not from a camera.
    """

    method: Method
    budget: int  # new picks at most; preselected points are not counted
    preselected: IntArray | None = None  # positions labelled already: they cover from the start and are never picked
    candidates: BoolArray | None = None  # (n,) who may be picked; None: everyone
    cover: BoolArray | Literal["candidates", "all"] = "candidates"  # who is to be represented; or (n,) those marked
    groups: Sequence[Hashable] | None = None  # (n,) group of each point, for quotas; None and nan are one group too
    quotas: Quotas | None = None  # new picks per group, or a target distribution; None: no quotas
    distinct: BoolArray | None = None  # (n,) one of each group of near-duplicates: only it counts; None: all count
    weights: FloatArray | None = None  # (n,) >= 0, how much each point counts for `representative`; None: 1 each
    scores: FloatArray | None = None  # (n,) >= 0, for `uncertainty`: the highest are picked first
    strategies: tuple[Strategy, ...] = ()  # with method "strategies": several wishes at once
    threshold: float | None = None  # cosine from which a pick stands for a point, for `coverage` and `stop`
    min_distance: float = 0.0  # cosine distance that picks keep from each other and from preselected points, 0..2
    spacing: Spacing | None = None  # seconds that picks of a clip keep from each other
    stop: Stop | None = None  # stop before the budget is spent
    trim_share: float | None = None  # of the candidates, set aside as outliers; None: 0.03 for diverse, dpp; else 0
    redundancy: float | None = None  # of `graph_cut`: how much likeness among picks counts against them
    seed: int = 0  # of `random`, and of the clusters behind `typicality` and `hierarchical`

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadSelection(f"unknown selection method {self.method!r}; expected one of {', '.join(METHODS)}")
        if self.budget < 0:
            raise BadSelection(f"budget {self.budget}; expected 0 or more picks")
        if isinstance(self.cover, str) and self.cover not in ("candidates", "all"):
            raise BadSelection(f"cover {self.cover!r}; expected candidates, all, or a flag per vector")
        if self.quotas is not None and self.groups is None:
            raise BadSelection("quotas without groups; pass the group of each point, or no quotas")
        if self.threshold is not None and not 0.0 < self.threshold <= 1.0:
            raise BadSelection(f"threshold {self.threshold}; expected a cosine above 0 and up to 1, such as 0.9")
        self._check_method()

    def _check_method(self) -> None:
        """Refuse a method without what it works on."""
        if (self.method == "strategies") != bool(self.strategies):
            raise BadSelection("method strategies goes with a list of strategies, and the list with it; give both")
        if self.method == "coverage" and self.threshold is None:
            raise BadSelection("method coverage without a threshold; give the cosine from which a pick covers")
        if self.method == "uncertainty" and self.scores is None:
            raise BadSelection("method uncertainty without scores; give one number of 0 or more per vector")
        if self.stop is not None and self.stop.gain is not None and self.method not in HAS_GAINS:
            raise BadSelection(f"stop at gain with method {self.method}, whose gains mean nothing; leave it out")

    @property
    def trimming(self) -> float:
        """Share of the candidates to set aside as outliers, the method's own where none is asked for."""
        if self.trim_share is not None:
            return self.trim_share
        return TRIM_DIVERSE if self.disperses else 0.0

    @property
    def disperses(self) -> bool:
        """Whether the method seeks out whatever lies apart, junk first, and so wants outliers set aside."""
        if self.method == "strategies":
            kinds = {strategy.kind for strategy in self.strategies}
            return "diversity" in kinds and not kinds & {"representative", "coverage", "typicality"}
        return self.method in DISPERSES

    @property
    def represents(self) -> bool:
        """Whether it matters to the method who is to be represented."""
        kinds = {strategy.kind for strategy in self.strategies if strategy.strength}
        return self.method in REPRESENTS or bool(kinds & {"representative", "coverage"})

    @property
    def weighs_distance(self) -> bool:
        """Whether a gain holds the distance to earlier picks, which before the first is no distance at all."""
        kinds = {strategy.kind for strategy in self.strategies if strategy.strength}
        return self.method in ("diverse", "mixed") or "diversity" in kinds

    @property
    def keeps_prefix(self) -> bool:
        """Whether a smaller budget gives a prefix, as long as it changes nothing of what is trimmed."""
        return self.method in PREFIX and self.quotas is None

    def rules(self, vectors: FloatArray, given: IntArray) -> tuple[Rule, ...]:
        """The limits between picks."""
        found: list[Rule] = []
        if self.min_distance != 0.0:
            found.append(Apart(vectors, self.min_distance, given))
        if self.spacing is not None and self.spacing.seconds > 0:
            found.append(Spacing(self.spacing.clips, self.spacing.times, self.spacing.seconds, given))
        return tuple(found)

    def check_against(self, n: int) -> None:
        """Refuse groups, weights, scores, clips or cover flags that are not one per point.

        Raises:
            BadSelection: a length that is not n.
        """
        cover = None if isinstance(self.cover, str) else self.cover
        for what, values in (
            ("groups", self.groups),
            ("weights", self.weights),
            ("distinct flags", self.distinct),
            ("scores", self.scores),
            ("clips", None if self.spacing is None else self.spacing.clips),
            ("cover flags", cover),
        ):
            if values is not None and len(values) != n:
                raise BadSelection(f"{len(values)} {what} for {n} vectors; expected one per vector")
        for strategy in self.strategies:
            strategy.check_against(n)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A selection made, and what a person should know about it."""

    picks: Picks
    trimmed: IntArray  # positions set aside as outliers, strangest first, for review
    owner: (
        IntArray  # (n,) rank, from 0, of the pick that represents each point; -1: a preselected point, or not covered
    )
    unmet: tuple[str, ...]  # a sentence per budget, quota, target or stop that could not be met
    notes: tuple[str, ...]  # a sentence per thing done that was not asked for
    optimality: float | None = None  # at least this share of the best there can be, 0..1; None: unknown
    is_estimate: bool = False  # `optimality` was measured on a sample of the points: on average too low, but no proof
    covered: float | None = None  # share of the points within the threshold, 0..1; None where none was given

    def __len__(self) -> int:
        return len(self.picks)


def covered_by(request: Request, pool: IntArray, n: int) -> BoolArray:
    """(n,) which points are to be represented; `pool` are the positions that may be picked."""
    if not isinstance(request.cover, str):
        return request.cover.copy()
    covered = np.full(n, request.cover == "all", np.bool_)
    covered[pool] = True
    return covered
