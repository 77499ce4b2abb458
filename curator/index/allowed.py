"""Searching among some of the vectors only: lists are visited until enough allowed ones have been seen.

A filter thins the lists out, evenly or, where it goes together with the content, nearly all of the nearest. So
not the number of lists is held, but the number of allowed vectors seen in them: those without any are passed
over, and the nearest of the others are visited in turn. That keeps the recall at every share and wherever the
allowed lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import UsageError

DOUBT = 2.5  # standard deviations of the codes' error that decide whether there are enough candidates
SEEN = 1.5  # allowed vectors looked at, times those of a search without a filter


@dataclass(frozen=True, slots=True)
class ListTable:
    """What an inverted file holds where."""

    centres: FloatArray  # (c, d)
    of: IntArray  # (n,) int32, list of each position
    mean_size: float  # vectors in a list


@dataclass(frozen=True, slots=True)
class Allowed:
    """Positions that may be found, made ready once for many searches."""

    mask: BoolArray  # (n,)
    positions: IntArray  # (m,) ascending
    per_list: IntArray | None = field(default=None, repr=False)  # (c,) allowed in each list; none where there are none
    selector: Any = field(default=None, repr=False)  # faiss's form of the mask

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        lists = 0 if self.per_list is None else self.per_list.nbytes
        return int(self.mask.nbytes + self.positions.nbytes + lists + len(self.mask) // 8)


def list_table(structure: Any, *, faiss: ModuleType) -> ListTable:
    """Read the lists of a faiss inverted file."""
    lists = structure.invlists
    sizes = np.array([lists.list_size(i) for i in range(structure.nlist)], np.int64)
    of = np.zeros(structure.ntotal, np.int32)
    for i, size in enumerate(sizes.tolist()):
        if size:
            of[faiss.rev_swig_ptr(lists.get_ids(i), size)] = i
    centres = structure.quantizer.reconstruct_n(0, structure.nlist)
    return ListTable(centres, of.astype(np.int32), float(sizes.mean()) if len(sizes) else 0.0)


def mask_of(within: BoolArray | IntArray, n: int) -> BoolArray:
    """(n,) from a mask or from positions.

    Raises:
        UsageError: a mask of another length, or a position that is not there.
    """
    if within.dtype == np.bool_:
        if within.shape != (n,):
            raise UsageError(f"`within` is a mask of shape {within.shape}; expected ({n},), one per vector")
        return np.asarray(within, np.bool_)
    if len(within) and not 0 <= int(within.min()) <= int(within.max()) < n:
        raise UsageError(f"`within` goes from {within.min()} to {within.max()}; expected positions 0 to {n - 1}")
    mask = np.zeros(n, np.bool_)
    mask[within] = True
    return mask


def allow(mask: BoolArray, table: ListTable | None, *, faiss: ModuleType | None) -> Allowed:
    """Make a mask ready; without a table only the positions are wanted."""
    positions = np.flatnonzero(mask)
    if table is None or faiss is None:
        return Allowed(mask, positions)
    counts = np.bincount(table.of[positions], minlength=len(table.centres))
    selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    return Allowed(mask, positions, counts.astype(np.int64), selector)


def _nearest_lists(near: FloatArray, counts: IntArray, n_seen: float) -> IntArray:
    """Places of the lists nearest first, as many as hold `n_seen` allowed vectors together."""
    guess = int(2.0 * n_seen * len(counts) / max(int(counts.sum()), 1)) + 8
    if guess < len(near):  # sorting them all takes as long as the search
        some = np.argpartition(-near, guess)[:guess]
        order = some[np.argsort(-near[some], kind="stable")]
        met = np.cumsum(counts[order])
        if met[-1] >= n_seen:
            return order[: int(np.searchsorted(met, n_seen)) + 1]
    order = np.argsort(-near, kind="stable")
    return order[: int(np.searchsorted(np.cumsum(counts[order]), n_seen)) + 1]


def probe(
    structure: Any,
    table: ListTable,
    query: FloatArray,
    n_candidates: int,
    allowed: Allowed,
    n_seen: float,
    *,
    faiss: ModuleType,
) -> tuple[IntArray, FloatArray]:
    """Candidates of one query, at most so many, best first, and the similarity that their codes say.

    Lists are visited nearest first until `n_seen` allowed vectors were met.
    """
    assert allowed.per_list is not None
    holding = np.flatnonzero(allowed.per_list)
    is_few = 4 * len(holding) < len(table.centres)
    near = table.centres[holding] @ query if is_few else (table.centres @ query)[holding]
    order = _nearest_lists(near, allowed.per_list[holding], n_seen)
    keys = np.ascontiguousarray(holding[order], np.int64)[None]
    distances = np.ascontiguousarray(near[order], np.float32)[None]
    asked = faiss.SearchParametersIVF(nprobe=keys.shape[1], sel=allowed.selector)
    similarity = np.empty((1, n_candidates), np.float32)
    found = np.empty((1, n_candidates), np.int64)
    point = faiss.swig_ptr
    structure.search_preassigned_c(
        1, point(np.ascontiguousarray(query[None])), n_candidates, point(keys), point(distances), point(similarity),
        point(found), False, asked, None,
    )  # fmt: skip
    is_real = found[0] >= 0
    return found[0][is_real], similarity[0][is_real]


def is_enough(exact: FloatArray, said: FloatArray, k: int) -> bool:
    """Whether the k best of some candidates are likely the k best of all that was seen.

    Codes err, and by how much is read off the candidates. What is no candidate has a code that says at most what the
    last one's does; to belong to the k best it would have to err by more than `DOUBT` standard deviations. Where
    nothing near is allowed, all that may be found is about equally far, and many more candidates are needed.

    Args:
        exact: (c,) true similarities; said: (c,) those of the codes, descending.
    """
    if len(exact) <= k:
        return False
    kth = np.partition(exact, len(exact) - k)[len(exact) - k]
    return bool(kth >= said[-1] + DOUBT * np.std(exact - said))
