"""The numbers behind "better than chance?": a selection beside random draws and every-nth of the same budget.

Shares are 0..1, similarities are cosines -1..1; every measure is higher where it is better.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from curator.errors import DataError


@dataclass(frozen=True, slots=True)
class Band:
    """One measure along the budgets, beside its controls; each (b,) and higher is better."""

    selected: tuple[float, ...]
    random_mean: tuple[float, ...]
    random_low: tuple[float, ...]  # 2.5th percentile of the draws
    random_high: tuple[float, ...]  # 97.5th percentile of the draws
    every_nth: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """One number at the full budget beside its controls."""

    name: str  # in words
    selected: float
    random_mean: float
    random_low: float  # 2.5th percentile of the draws
    random_high: float  # 97.5th percentile of the draws
    every_nth: float
    is_share: bool  # shown as a percentage
    standing: int  # 1 better than random, -1 worse, 0 no better
    beside_every_nth: int  # the same beside every-nth


@dataclass(frozen=True, slots=True)
class Spread:
    """How the picks spread over the groups of one column."""

    column: str  # in words: "class", "cluster", "weather"
    n_groups: int  # with at least one image
    n_hit: int  # of them with a pick
    hit: Compared  # share of the groups with a pick
    evenness: Compared  # 1 - total variation distance to equal shares
    likeness: Compared  # 1 - total variation distance to the shares of the pool
    groups: tuple[tuple[str, int, int], ...]  # name, images, picks; the largest groups, 50 at most


@dataclass(frozen=True, slots=True)
class LearningCurves:
    """What a model learns from the first picks: class-balanced accuracy on images that nobody has seen."""

    budgets: tuple[int, ...]
    one_nn: Band  # the class of the most similar pick
    probe: Band  # ridge regression on the vectors
    n_classes: int
    n_tests: int  # test images, one of each group of near-duplicates


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many picks cover how much; past the selection the ordering goes on greedily."""

    threshold: float  # cosine
    n_points: int  # images to cover, near-duplicates included
    n_picks: int  # of the selection
    reached: float  # share they cover, 0..1
    needs: tuple[tuple[float, int | None], ...]  # share 0..1, picks that are enough; None: more than there are
    budgets: tuple[int, ...]  # (p,)
    path: tuple[float, ...]  # (p,) share covered
    sentence: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much better than chance the selection covers the data."""

    verdict: str  # one plain sentence
    is_better: bool | None  # mean similarity at the full budget, beyond random's interval; None where undecided
    budgets: tuple[int, ...]  # (b,) picks, increasing; the last is the full budget
    mean_similarity: Band  # of each image to its most similar pick, cosine
    n_points: int  # images measured: all, or a sample
    n_random: int  # random draws per budget
    worst_similarity: Band | None = None  # of the image farthest from all picks, cosine
    share_within: Band | None = None  # images with a pick at or above the threshold, 0..1
    threshold: float | None = None  # cosine, of `share_within`
    measures: tuple[Compared, ...] = ()  # everything at the full budget
    spreads: tuple[Spread, ...] = ()  # by column
    learning: LearningCurves | None = None
    no_learning: str = ""  # why there are no learning curves
    plan: Coverage | None = None
    knee: int | None = None  # picks past which each adds less than the average one

    def __post_init__(self) -> None:
        for name in ("mean_similarity", "worst_similarity", "share_within"):
            band = getattr(self, name)
            for line in (f.name for f in dataclasses.fields(Band)) if band is not None else ():
                if len(getattr(band, line)) != len(self.budgets):
                    raise DataError(
                        f"evidence: {name}.{line} has {len(getattr(band, line))} values for {len(self.budgets)} budgets"
                    )

    @property
    def picks_worth_random(self) -> int | None:
        """Smallest measured budget that covers as much as random picks do at the full budget; None if none does."""
        if not self.budgets:
            return None
        goal = self.mean_similarity.random_mean[-1]
        reached = (b for b, s in zip(self.budgets, self.mean_similarity.selected, strict=True) if s >= goal)
        return next(reached, None)
