"""The numbers of what was checked on the side: calibration of the threshold, issues of pictures, splits.

Shares are 0..1, similarities are cosines; an interval holds 90 %.
"""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One stored calibration of the near-duplicate threshold."""

    name: str  # "self", "moments", "answers" or given
    space: str  # "model" or "copies"
    threshold: float  # cosine
    interval: Interval | None
    precision: float  # expected of pairs at or above the threshold, 0..1
    precision_interval: Interval | None
    recall: float  # expected of the pairs that are the same, 0..1
    recall_interval: Interval | None
    edits: tuple[str, ...] = ()  # edits that leave an image the same
    n_answers: int | None = None  # of a person; None where nobody was asked


@dataclass(frozen=True, slots=True)
class CopiesMetric:
    """The learned metric for copies, as held-out edits judge it."""

    form: str
    gain: float  # average precision over plain cosine on held-out edits
    error: float  # standard error of the gain
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Issue:
    """One kind of fault and how often it occurs."""

    name: str  # "dark", "blurry", "outlier"
    rule: str  # when an image has it
    count: int


@dataclass(frozen=True, slots=True)
class Issues:
    """Faults of pictures, outliers and uniqueness."""

    n: int  # images looked at
    n_flagged: int  # with at least one issue
    kinds: tuple[Issue, ...]  # the most frequent first
    scores: tuple[tuple[str, str], ...]  # column, its formula


@dataclass(frozen=True, slots=True)
class SplitPart:
    """One part of a split."""

    name: str
    size: int
    asked: float  # share, 0..1


@dataclass(frozen=True, slots=True)
class Split:
    """A stored split and its certificate."""

    name: str
    parts: tuple[SplitPart, ...]
    n_groups: int  # that were kept together
    largest_group: int
    grouped_by: tuple[str, ...]
    threshold: float  # cosine
    rows_across: int  # rows with a near-duplicate in another part; 0 when it holds
    torn: tuple[tuple[str, int], ...]  # groups in two parts, by key; all 0 when it holds
    holds: bool
    distance: tuple[tuple[str, tuple[float, ...]], ...]  # column, of each part to the whole: total variation
    unmet: tuple[str, ...]  # what could not be met, as sentences
    before: tuple[str, int, int] | None = None  # column of an older split, rows that move, its rows across
