"""One embedding space in memory: its vectors, its index, and what is near a direction, in a stable order.

A *walk* gives positions best first, in blocks, as far as the caller goes on asking. Blocks grow in
fixed steps whatever is asked for, so a page and the next are one larger page. Similarities are
computed in double precision and rounded to six decimals, so that copies tie and ties go by position.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator import index
from curator.data import BoolArray, Embeddings, FloatArray, IntArray
from curator.errors import BadEmbeddings, DamagedWorkspace
from curator.filters import Filter
from curator.workspace import Workspace

Block = tuple[IntArray, FloatArray]  # positions and similarities, best first

RUNGS = (32, 256, 2_048)  # hits of each further search of an index; after the last everything is compared
STEPS = (256, 4_096, 65_536)  # hits put in order at a time where everything was compared; the last again and again
EXACT_BLOCK = 16_384  # vectors compared in double precision at a time
RECALL_SAMPLE = 32  # vectors on which the recall of a centred search is measured
RECALL_AT = 10
DECIMALS = 6
SLACK = np.float32(1e-4)  # by which a float32 cosine may be off, rounding and summing included
FEW_LEFT_OUT = 64  # positions left out by asking for so many more; beyond, by a mask
CENTRED_EXACT = 200_000  # vectors up to which centred similarity is compared with all
CENTRED_WIDER = 64  # candidates of an index for each of the first centred hits: lengths differ once the mean is gone
CENTRED_LEAST = 8  # and for each of many
KEPT_BYTES = 256_000_000  # of masks and gathered vectors of recent filters
RECENT = 4  # filters without a name, the latest that are kept
SUBSET_BYTES = 64_000_000  # of one filter's vectors, gathered to be compared again


@dataclass(frozen=True, slots=True)
class Scorer:
    """What positions are ranked by: the largest cosine to one of some directions."""

    directions: FloatArray  # (m, d) of length 1
    mean: FloatArray | None = None  # (d,) taken from the vectors first; none for plain cosine

    def exact(self, vectors: FloatArray) -> FloatArray:
        """(c,) float32, in double precision and rounded to `DECIMALS`."""
        if len(vectors) > EXACT_BLOCK:
            parts = range(0, len(vectors), EXACT_BLOCK)
            return np.concatenate([self.exact(vectors[start : start + EXACT_BLOCK]) for start in parts])
        wide = vectors.astype(np.float64)
        if self.mean is not None:
            wide -= self.mean.astype(np.float64)
            wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-9)
        near = wide @ self.directions.T.astype(np.float64)  # (c, m)
        best: NDArray[np.float64] = near.max(axis=1) if near.shape[1] > 1 else near[:, 0]
        return np.round(best, DECIMALS).astype(np.float32)

    def rough(self, vectors: FloatArray, lengths: FloatArray | None) -> FloatArray:
        """(n,) the same to float32 precision; `lengths` of the vectors less the mean, where it is taken."""
        near = np.full(len(vectors), -np.inf, np.float32)
        for direction in self.directions:
            one = vectors @ direction
            if self.mean is not None:
                one -= np.float32(self.mean @ direction)
            np.maximum(near, one, out=near)
        return near if lengths is None else near / lengths


@dataclass(slots=True)
class Subset:
    """The positions that a filter lets through, made ready for many searches."""

    allowed: index.Allowed
    _gathered: list[FloatArray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.allowed)

    def vectors(self, vectors: FloatArray) -> FloatArray:
        """Their vectors side by side; kept where that is cheap, since reading them is the cost of comparing them."""
        if self._gathered:
            return self._gathered[0]
        taken = vectors[self.allowed.positions]
        if taken.nbytes <= SUBSET_BYTES:
            self._gathered.append(taken)
        return taken

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.allowed.nbytes + sum(part.nbytes for part in self._gathered)


class Space:
    """Vectors and index of one space; immutable but for caches, shared by threads."""

    FOLLOWS: tuple[str, ...] = ("mean", "centred_lengths", "centred_recall")  # worked out from the vectors alone

    def __init__(
        self, embeddings: Embeddings, searcher: index.SearchIndex, model: str, structure_bytes: int = 0
    ) -> None:
        self.embeddings = embeddings
        self.index = searcher
        self.model = model
        self.structure_bytes = structure_bytes  # of the index without the vectors, as it is stored
        self._subsets: OrderedDict[Filter, Subset] = OrderedDict()
        self._recent: list[Subset] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def name(self) -> str:
        """The space's name."""
        return self.embeddings.space

    @property
    def rows(self) -> IntArray:
        """(n,) rows of the positions."""
        return self.embeddings.rows

    @property
    def vectors(self) -> FloatArray:
        """(n, d) of length 1."""
        return self.embeddings.vectors

    @property
    def note(self) -> str:
        """What an answer should say of what cannot be found."""
        return ""

    @cached_property
    def mean(self) -> FloatArray:
        """(d,) of all vectors."""
        return np.asarray(self.vectors.mean(axis=0, dtype=np.float64), np.float32)

    @cached_property
    def centred_lengths(self) -> FloatArray:
        """(n,) length of each vector less the mean."""
        squared = 1.0 - 2.0 * (self.vectors @ self.mean) + float(self.mean @ self.mean)
        return np.asarray(np.sqrt(np.maximum(squared, 1e-12)), np.float32)

    @cached_property
    def centred_recall(self) -> float:
        """Recall of the 10 nearest of a centred search of the index, measured on a sample against everything."""
        rng = np.random.default_rng(0)
        sample = np.sort(rng.permutation(len(self))[:RECALL_SAMPLE])
        directions = self.centred(self.vectors[sample])  # (s, d)
        best = np.full((len(sample), RECALL_AT), -np.inf, np.float32)
        for start in range(0, len(self), EXACT_BLOCK):  # all of the sample at once: reading the vectors is the cost
            part = slice(start, start + EXACT_BLOCK)
            near = (directions @ self.vectors[part].T - (directions @ self.mean)[:, None]) / self.centred_lengths[part]
            own = (sample >= start) & (sample < start + EXACT_BLOCK)
            near[own, sample[own] - start] = -np.inf
            near = np.partition(near, -min(RECALL_AT, near.shape[1]), axis=1)[:, -RECALL_AT:]
            best = -np.sort(-np.hstack([best, near]), axis=1)[:, :RECALL_AT]
        found = [
            self._rung(Scorer(direction[None], self.mean), None, RUNGS[0], sample[i : i + 1])[1][:RECALL_AT]
            for i, direction in enumerate(directions)
        ]
        return index.measure_recall(np.stack(found) + np.float32(1e-5), best)  # the truth is float32: it may be off

    def recall(self, scorer: Scorer, subset: Subset | None) -> float:
        """Of what answers a walk, measured without a filter; 1.0 where it compares everything."""
        if self.is_exact(scorer, subset):
            return 1.0
        return self.index.recall if scorer.mean is None else self.centred_recall

    @property
    def size_bytes(self) -> int:
        """Memory of vectors, index and what recent filters left."""
        return int(self.vectors.nbytes + self.rows.nbytes + self.structure_bytes + self.kept_bytes)

    @property
    def kept_bytes(self) -> int:
        """Memory of what recent filters left."""
        with self._lock:
            return sum(subset.nbytes for subset in [*self._subsets.values(), *self._recent])

    def renewed(self) -> Space:
        """The same vectors and index without what filters left: under a newer snapshot they let other rows through."""
        other = self._again()
        for name in self.FOLLOWS:
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def _again(self) -> Space:
        return Space(self.embeddings, self.index, self.model, self.structure_bytes)

    def mask_of_rows(self, mask: BoolArray) -> BoolArray:
        """(n,) of positions from a mask over all rows."""
        if len(mask) == len(self.rows):
            return mask  # rows strictly increase, so all have a vector
        return mask[self.rows]

    def subset(self, mask: BoolArray, key: Filter | None = None) -> Subset:
        """Positions that a mask over all rows lets through; kept under the filter it came from."""
        if key is not None:
            with self._lock:
                found = self._subsets.get(key)
                if found is not None:
                    self._subsets.move_to_end(key)
                    return found
        allowed = self.mask_of_rows(mask)
        if key is None:
            return self._unnamed(allowed)
        made = Subset(self.index.allow(allowed))
        with self._lock:
            self._subsets[key] = made
            while len(self._subsets) > 1 and sum(s.nbytes for s in self._subsets.values()) > KEPT_BYTES:
                self._subsets.popitem(last=False)
        return made

    def _unnamed(self, allowed: BoolArray) -> Subset:
        """Of tags, collections and SQL, which change under a snapshot: kept by what they let through."""
        with self._lock:
            recent = list(self._recent)
        for subset in recent:
            if np.array_equal(subset.allowed.mask, allowed):
                return subset
        made = Subset(self.index.allow(allowed))
        with self._lock:
            self._recent = [made, *self._recent[: RECENT - 1]]
        return made

    def centred(self, vectors: FloatArray) -> FloatArray:
        """(m, d) less the mean, of length 1 again; a vector equal to the mean becomes zero."""
        moved = vectors - self.mean
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        found: FloatArray = np.where(length > 1e-6, moved / np.maximum(length, 1e-6), 0.0).astype(np.float32)
        return found

    # -- what positions are ranked by --------------------------------------------------------------------------------

    def rough(self, scorer: Scorer, subset: Subset | None) -> FloatArray:
        """(p,) of all positions that may be found, to float32 precision; -inf for what has nothing to compare."""
        if subset is None:
            return scorer.rough(self.vectors, None if scorer.mean is None else self.centred_lengths)
        lengths = None if scorer.mean is None else self.centred_lengths[subset.allowed.positions]
        return scorer.rough(subset.vectors(self.vectors), lengths)

    def exact(self, scorer: Scorer, positions: IntArray) -> FloatArray:
        """(c,) of some positions, in double precision and rounded."""
        return scorer.exact(self.vectors[positions])

    # -- walking -----------------------------------------------------------------------------------------------------

    def is_exact(self, scorer: Scorer, subset: Subset | None) -> bool:
        """Whether a walk compares everything there is."""
        allowed = None if subset is None else subset.allowed
        if not self.index.is_approximate(allowed):
            return True
        return scorer.mean is not None and len(self if subset is None else subset) <= CENTRED_EXACT

    def walk(
        self, scorer: Scorer, subset: Subset | None, left_out: IntArray, first: Block | None = None
    ) -> Iterator[Block]:
        """Positions best first, in blocks, until nothing is left.

        Args:
            scorer: what is ranked by.
            subset: positions that may be found; none for all.
            left_out: positions that may not, such as the query's own.
            first: the first block, where the caller has found it together with those of other walks.
        """
        if self.is_exact(scorer, subset):
            yield from self._walk_all(scorer, subset, left_out)
            return
        if len(left_out) > FEW_LEFT_OUT:
            mask = np.ones(len(self), np.bool_) if subset is None else subset.allowed.mask.copy()
            mask[left_out] = False
            subset, left_out = Subset(self.index.allow(mask)), left_out[:0]
            if self.is_exact(scorer, subset):
                yield from self._walk_all(scorer, subset, left_out)
                return
        given = left_out
        for depth in RUNGS if scorer.mean is None else RUNGS[:2]:  # wider than that costs more than comparing all
            block = first if first is not None else self._rung(scorer, subset, depth, given)
            first = None
            yield block
            given = np.concatenate([given, block[0]])
        yield from self._walk_all(scorer, subset, given)

    def best_of_each(
        self, scorer: Scorer, subset: Subset | None, left_out: IntArray, codes: IntArray
    ) -> tuple[Block, IntArray]:
        """The best position of each group, compared with everything, best group first; and how many each group has.

        Args:
            codes: (n,) group of each position, from 0.

        Returns:
            One position and similarity per group; and (g,) the positions compared of each of these groups.
        """
        positions = np.arange(len(self)) if subset is None else subset.allowed.positions
        near = self.rough(scorer, subset)
        is_left = np.isfinite(near) & ~np.isin(positions, left_out)
        positions, near = positions[is_left], near[is_left]
        of = codes[positions]
        best = np.full(int(codes.max(initial=0)) + 1, -np.inf, np.float32)
        np.maximum.at(best, of, near)
        at = np.flatnonzero(near >= best[of] - SLACK)  # rounding may make any of these the best of its group
        at, similarity = _best(positions[at], self.exact(scorer, positions[at]), len(at))
        _, first = np.unique(codes[at], return_index=True)
        first = np.sort(first)
        return (at[first], similarity[first]), np.bincount(of, minlength=len(best))[codes[at[first]]]

    def first_blocks(self, directions: FloatArray, subset: Subset | None, left_out: list[IntArray]) -> list[Block]:
        """First blocks of several walks by plain cosine, (m, d) one direction each, in one search of the index."""
        widest = max((len(out) for out in left_out), default=0)
        at, _ = self.index.search(directions, RUNGS[0] + widest, within=None if subset is None else subset.allowed)
        return [
            self._in_order(Scorer(direction[None]), found, out, RUNGS[0])
            for direction, found, out in zip(directions, at, left_out, strict=True)
        ]

    def _rung(self, scorer: Scorer, subset: Subset | None, depth: int, given: IntArray) -> Block:
        """The `depth` best that the index finds besides what was given already."""
        wider = 1 if scorer.mean is None else max(CENTRED_WIDER * RUNGS[0] // depth, CENTRED_LEAST)
        within = None if subset is None else subset.allowed
        at, _ = self.index.search(scorer.directions, wider * (depth + len(given)), within=within)
        return self._in_order(scorer, at.ravel(), given, depth)

    def _in_order(self, scorer: Scorer, found: IntArray, left_out: IntArray, depth: int) -> Block:
        candidates = np.unique(found[found >= 0])
        if len(left_out):
            candidates = np.setdiff1d(candidates, left_out, assume_unique=False)
        return _best(candidates, self.exact(scorer, candidates), depth)

    def _walk_all(self, scorer: Scorer, subset: Subset | None, left_out: IntArray) -> Iterator[Block]:
        """Everything compared once, then put in order step by step."""
        positions = np.arange(len(self)) if subset is None else subset.allowed.positions
        near = self.rough(scorer, subset)
        if len(left_out):
            near[np.isin(positions, left_out)] = -np.inf
        n_left = int(np.isfinite(near).sum())
        for step in chain(STEPS, repeat(STEPS[-1])):
            if n_left == 0:
                return
            depth = min(step, n_left)
            floor = np.partition(near, len(near) - depth)[len(near) - depth] - SLACK
            at = np.flatnonzero(near >= floor)  # what rounding may bring among the best
            block = _best(at, self.exact(scorer, positions[at]), depth)
            near[block[0]] = -np.inf
            n_left -= depth
            yield positions[block[0]], block[1]


def load_space(workspace: Workspace, name: str) -> Space:
    """Read vectors and index of a space; exact search where the index is not over these vectors.

    Raises:
        UnknownSpace, StageMissing: there is no such space, or none at all.
        DamagedWorkspace: a file is gone or broken.
    """
    embeddings = workspace.embeddings(name)
    model = str(workspace.entries(f"vectors/{name}")[0].meta["model"])
    return Space(embeddings, *_searcher(workspace, embeddings, model))


def _searcher(workspace: Workspace, embeddings: Embeddings, model: str) -> tuple[index.SearchIndex, str, int]:
    entries = workspace.entries(f"index/{embeddings.space}")
    stored = entries[0].meta.get("faiss") if entries else None
    if stored and np.array_equal(_rows_of_index(workspace, entries[0]), embeddings.rows):
        try:
            data = (workspace.path / str(stored)).read_bytes()
            return index.SearchIndex.from_bytes(data, embeddings.vectors), model, len(data)
        except (OSError, BadEmbeddings) as error:
            reason = str(error).partition(";")[0]
            raise DamagedWorkspace(f"{stored} cannot be read: {reason}; run `curator index --fresh`") from error
    return index.build(embeddings.vectors, index.IndexSpec(kind="flat")), model, 0


def _rows_of_index(workspace: Workspace, entry: Any) -> IntArray:
    """Rows alone: the graph beside them is larger and not needed here."""
    with workspace.file(entry).open("rb") as file, np.load(file) as stored:
        rows: IntArray = stored["rows"]
    return rows


def _best(at: IntArray, similarity: FloatArray, depth: int) -> Block:
    """The first `depth` by similarity, equal ones by position."""
    order = np.lexsort((at, -similarity))[:depth]
    return at[order], similarity[order]
