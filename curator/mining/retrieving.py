"""The next batch to review: best first, never twice the same look, and spread over the time of each video.

Pure: scores, vectors and times in, positions out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.data import BoolArray, FloatArray, IntArray

NOT_AGAIN = 0.98  # cosine from which two candidates show the same; the calibrated threshold where there is one


@dataclass(frozen=True, slots=True)
class Apart:
    """What a batch keeps between its members, and between them and what is known."""

    video: IntArray | None = None  # (n,) number of each one's video, -1 for a picture
    time_s: NDArray[np.float64] | None = None  # (n,)
    spacing_s: float = 0.0  # least time within a video
    same_from: float = NOT_AGAIN  # cosine from which two are the same


def next_best(
    scores: NDArray[np.float64], vectors: FloatArray, may: BoolArray, known: IntArray, k: int, apart: Apart
) -> IntArray:
    """The k best candidates that keep apart from each other and from what is known.

    Greedy down the ranking: one who is too near in time to a taken or known one of the same video, or the same
    picture as a taken one, is passed over; it may come in a later batch.

    Args:
        scores: (n,) higher is better; equal ones by position.
        may: (n,) who may be taken.
        known: positions of seeds and reviewed ones, which time keeps apart from.
    """
    order = np.argsort(-scores, kind="stable")
    taken: list[int] = []
    times = _Times(apart, known)
    for at in order[may[order]].tolist():
        if len(taken) == k:
            break
        if times.is_near(at) or (taken and float((vectors[taken] @ vectors[at]).max()) >= apart.same_from):
            continue
        taken.append(at)
        times.add(at)
    return np.asarray(taken, np.int64)


class _Times:
    """Times taken in each video."""

    def __init__(self, apart: Apart, known: IntArray) -> None:
        self.apart = apart
        self.by_video: dict[int, list[float]] = {}
        for at in known.tolist():
            self.add(at)

    def add(self, at: int) -> None:
        if self.apart.video is not None and self.apart.time_s is not None and self.apart.video[at] >= 0:
            self.by_video.setdefault(int(self.apart.video[at]), []).append(float(self.apart.time_s[at]))

    def is_near(self, at: int) -> bool:
        if self.apart.spacing_s <= 0 or self.apart.video is None or self.apart.time_s is None:
            return False
        here = float(self.apart.time_s[at])
        return any(abs(here - then) < self.apart.spacing_s for then in self.by_video.get(int(self.apart.video[at]), ()))
