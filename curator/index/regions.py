"""Who need not be compared: exact pruning of an all-pairs search by the triangle inequality of angles.

If <x, y> >= t the angle between x and y is at most acos t. So where x is within an angle r of a
centre, y is within r + acos t of it; everyone else is left out after one product with the centre.
That spares little where regions are wide, so lists are cut into an inner part, a ring and a rim,
and a pair is looked for from the narrower of its two regions: the wide rims meet only each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import IntArray
from curator.index import bf16
from curator.index.bounds import Bound
from curator.index.partition import Partition, as_floats, divide

PER_LIST = 400  # positions of a list on average
CUTS = (0.5, 0.9)  # shares of a list, by angle from its centre, where it is cut
LARGEST = 1_024  # positions of a region
TOGETHER = 64  # regions whose centres are compared with everyone in one product
COLUMNS = 32_768  # of everyone at once: 64 x 32,768 bfloat16 are 4 MB


@dataclass(frozen=True, slots=True)
class Line:
    """Positions in order of the width of their region, the narrowest first."""

    positions: IntArray  # (m,)
    starts: IntArray  # (r + 1,) where each region begins
    lists: IntArray  # (r,) list of each region
    widths: NDArray[np.float64]  # (r,) largest angle of a member to the centre of its list
    width_at: NDArray[np.float64]  # (m,) the same for each position


class Regions:
    """The regions of one bound, for any positions of it.

    Args:
        bound: stand-ins, which are nearly of length 1; what is found are the pairs whose stand-ins
            have a product of at least `bound.least`.
        seed: of the centres; changes the time and never the pairs.
    """

    def __init__(self, bound: Bound, *, seed: int = 0) -> None:
        self.bound = bound
        self.partition = divide(bound, max(1, len(bound.numbers) // PER_LIST), seed=seed)
        centres = as_floats(self.partition.centres)
        self.lengths = np.linalg.norm(centres.astype(np.float64), axis=1)  # (c,)
        self.angle, self.shortest, self.longest = _angles(bound, self.partition, self.lengths)
        self.between = _angle(bound.least / self.longest**2)  # of the stand-ins of a wanted pair, at most

    def line(self, at: IntArray) -> Line:
        """The positions `at`, region after region."""
        order = at[np.lexsort((self.angle[at], self.partition.of[at]))]
        lists, first, size = np.unique(self.partition.of[order], return_index=True, return_counts=True)
        cuts = [first, *(first + (size * share).astype(np.int64) for share in CUTS)]
        pieces = [np.arange(a, a + m, LARGEST) for a, m in zip(first.tolist(), size.tolist(), strict=True)]
        starts = np.unique(np.concatenate([*cuts, *pieces])) if len(at) else np.empty(0, np.int64)
        stops = np.append(starts[1:], len(order))
        widths = self.angle[order[stops - 1]]
        narrow = np.argsort(widths, kind="stable")
        sizes = (stops - starts)[narrow]
        inside = np.repeat(starts[narrow] - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(order))
        return Line(
            order[inside],
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            self.partition.of[order[starts[narrow]]] if len(starts) else lists,
            widths[narrow],
            np.repeat(widths[narrow], sizes),
        )

    def reachable(
        self, line: Line, regions: range, theirs: NDArray[Any], firsts: IntArray
    ) -> Iterator[tuple[int, IntArray]]:
        """For each of some regions, the places in `theirs` that may be near one of its members, ascending.

        Args:
            theirs: (k, w) stand-ins of those looked for.
            firsts: place in `theirs` from which each of all regions has to look.
        """
        some = np.asarray(regions)
        centres = self.partition.centres[line.lists[some]]
        floors = self._floors(line, some)
        found: list[list[IntArray]] = [[] for _ in some]
        room = self.bound.room(len(some), COLUMNS)
        for start in range(int(firsts[some].min(initial=len(theirs))), len(theirs), COLUMNS):
            columns = theirs[start : start + COLUMNS]
            scores = self.bound.scores(centres, columns, room)
            for i, floor in enumerate(floors):
                at = np.flatnonzero(scores[i] >= floor) + start
                found[i].append(at[np.searchsorted(at, firsts[some[i]]) :])
        for region, parts in zip(regions, found, strict=True):
            yield region, np.concatenate(parts) if parts else np.empty(0, np.int64)

    def share(self, at: IntArray) -> float:
        """Rough share of the pairs among `at` that are left to compare, from a sample of regions."""
        line = self.line(at)
        n_regions = len(line.widths)
        some = np.unique(np.linspace(0, n_regions - 1, 4 * TOGETHER).astype(np.int64))
        step = -(-len(at) // 16_384)
        theirs = self.bound.numbers.take(line.positions[::step], axis=0)
        sizes = np.diff(line.starts)
        pairs = 0.0
        for i in range(0, len(some), TOGETHER):
            part = some[i : i + TOGETHER]
            scores = self.bound.scores(
                self.partition.centres[line.lists[part]], theirs, self.bound.room(len(part), len(theirs))
            )
            later = np.arange(len(theirs)) * step >= line.starts[part][:, None]
            near = ((scores >= np.array(self._floors(line, part))[:, None]) & later).sum(axis=1) * step
            pairs += float((near * sizes[part]).sum())
        return pairs * (n_regions / len(some)) / (len(at) ** 2 / 2)

    def _floors(self, line: Line, regions: IntArray) -> list[np.float32 | np.int16]:
        """Score with the centre that everyone near a member of the region has at least."""
        floors: list[np.float32 | np.int16] = []
        for region in regions.tolist():
            cosine = math.cos(min(line.widths[region] + self.between, math.pi))
            length = self.shortest if cosine > 0 else self.longest
            least = np.array([cosine * length * self.lengths[line.lists[region]] - 1e-4], np.float32)
            if not self.bound.is_half:
                floors.append(np.float32(least[0]))
            else:  # below zero the bits of bfloat16 have not the order of the numbers, so everyone is near
                floors.append(np.int16(bf16.rounded(least)[0]) if least[0] > 0 else np.int16(-32_768))
        return floors


def _angles(
    bound: Bound, partition: Partition, lengths: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """(n,) angle of each stand-in to the centre of its list, and the shortest and longest stand-in."""
    n = len(bound.numbers)
    angle, shortest, longest = np.empty(n), math.inf, 0.0
    centres = as_floats(partition.centres)
    for start in range(0, n, 16_384):
        part = slice(start, start + 16_384)
        rows = as_floats(bound.numbers[part]).astype(np.float64)
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        along = np.einsum("ij,ij->i", rows, centres[partition.of[part]].astype(np.float64))
        cosine = along / np.maximum(length * lengths[partition.of[part]], 1e-12)
        angle[part] = np.arccos(np.clip(cosine, -1.0, 1.0)) + 1e-6
        shortest, longest = min(shortest, float(length.min())), max(longest, float(length.max()))
    return angle, shortest, longest


def _angle(cosine: float) -> float:
    return math.acos(max(-1.0, min(1.0, cosine))) + 1e-6
