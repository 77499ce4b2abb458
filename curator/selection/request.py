"""What is asked of a selection, and what came of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadSelection
from curator.selection.picks import Picks
from curator.selection.quotas import Quotas

Method = Literal["representative", "diverse", "typicality", "random", "every_nth"]
METHODS: tuple[Method, ...] = ("representative", "diverse", "typicality", "random", "every_nth")
TRIM_DIVERSE = 0.03  # of the candidates: k-center picks junk first; on clean data this costs it little


@dataclass(frozen=True, slots=True)
class Request:
    """A selection to make over n points; positions are places in the vectors.

    What may not be picked may still have to be represented. Mark near-duplicates in `cover`: where
    half of a set had been removed as such, `representative` found 124 of 147 distinct objects when
    it was to represent the whole, and 106 when it was to represent what was left (gtsrb_tracks,
    147 picks of 4,410, near-duplicates from 0.9; at random 96).
    """

    method: Method
    budget: int  # new picks; preselected points are not counted
    preselected: IntArray | None = None  # positions labelled already: they cover from the start and are never picked
    candidates: BoolArray | None = None  # (n,) who may be picked; None: everyone
    cover: BoolArray | Literal["candidates", "all"] = "candidates"  # who is to be represented; or (n,) those marked
    groups: Sequence[Hashable] | None = None  # (n,) group of each point, for quotas; None and nan are one group too
    quotas: Quotas | None = None  # new picks per group; None: no quotas
    weights: FloatArray | None = None  # (n,) >= 0, how much each point counts for `representative`; None: 1 each
    trim_share: float | None = None  # of the candidates, set aside as outliers; None: 0.03 for diverse, else 0
    seed: int = 0  # of `random`, and of the clusters behind `typicality`

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadSelection(f"unknown selection method {self.method!r}; expected one of {', '.join(METHODS)}")
        if self.budget < 0:
            raise BadSelection(f"budget {self.budget}; expected 0 or more picks")
        if isinstance(self.cover, str) and self.cover not in ("candidates", "all"):
            raise BadSelection(f"cover {self.cover!r}; expected candidates, all, or a flag per vector")
        if self.quotas is not None and self.groups is None:
            raise BadSelection("quotas without groups; pass the group of each point, or no quotas")

    @property
    def trimming(self) -> float:
        """Share of the candidates to set aside as outliers, the method's own where none is asked for."""
        if self.trim_share is not None:
            return self.trim_share
        return TRIM_DIVERSE if self.method == "diverse" else 0.0

    def check_against(self, n: int) -> None:
        """Refuse groups, weights or cover flags that are not one per point.

        Raises:
            BadSelection: a length that is not n.
        """
        cover = None if isinstance(self.cover, str) else self.cover
        for what, values in (("groups", self.groups), ("weights", self.weights), ("cover flags", cover)):
            if values is not None and len(values) != n:
                raise BadSelection(f"{len(values)} {what} for {n} vectors; expected one per vector")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A selection made, and what a person should know about it."""

    picks: Picks
    trimmed: IntArray  # positions set aside as outliers, strangest first, for review
    owner: (
        IntArray  # (n,) rank, from 0, of the pick that represents each point; -1: a preselected point, or not covered
    )
    unmet: tuple[str, ...]  # a sentence per budget or quota that could not be met
    notes: tuple[str, ...]  # a sentence per thing done that was not asked for

    def __len__(self) -> int:
        return len(self.picks)


def covered_by(request: Request, pool: IntArray, n: int) -> BoolArray:
    """(n,) which points are to be represented; `pool` are the positions that may be picked."""
    if not isinstance(request.cover, str):
        return request.cover.copy()
    covered = np.full(n, request.cover == "all", np.bool_)
    covered[pool] = True
    return covered
