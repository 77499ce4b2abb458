"""k-center: pick the point farthest from all picks, again and again.

The textbook loop reads every vector once per pick and so runs at the speed of
memory. This one runs at the speed of matrix products and picks the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadSelection
from curator.selection.picks import (
    ROWS,
    Growing,
    Picks,
    best_similarity,
    blocks,
    check,
    open_positions,
    positions_of,
)
from curator.selection.quotas import Caps, Tally

FARTHEST = 2.0  # cosine distance of opposite points: the gain of a first pick, so that gains never rise
COPY = np.float32(1.0 - 1e-6)  # from this similarity on two points count as one: products of equal vectors round to it
TIE = np.float32(1e-6)  # similarities to the mean that differ by less are equal: two points are equally central
POOL_MIN, POOL_MAX = 1024, 4096  # points kept up to date between full passes; their vectors sit in the L3 cache
SQUARE_MIN, SQUARE_MAX = 32, 512  # points whose mutual similarities are computed at once
DRY_ROUNDS = 4  # pools in a row that gave little before everyone is brought up to date
GPU_FROM_FLOP = 1e12  # ten seconds of one core; below, little is left to gain once torch is imported


def k_center(
    vectors: FloatArray,
    budget: int,
    *,
    preselected: IntArray | Sequence[int] | None = None,
    candidates: BoolArray | None = None,
    caps: Caps | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: Progress = no_progress,
) -> Picks:
    """Order candidates so that each is the one farthest from all before it.

    Exact greedy: the farthest candidate is at most twice as far (as a chord) from a pick as with
    the best picks there are. Gonzalez, "Clustering to minimize the maximum intercluster distance",
    1985; Sener and Savarese, "Active Learning for CNNs: A Core-Set Approach", ICLR 2018. It seeks
    out whatever is odd, so trim outliers first. Without preselected points the first pick is the
    most central candidate. Ties go to the lowest position. A prefix is the smaller selection.

    Args:
        vectors: (n, d) unit vectors.
        budget: picks wanted; all candidates when there are fewer.
        preselected: positions that count as picked from the start and are never picked.
        candidates: (n,) who may be picked; None: everyone.
        caps: most picks per group.
        device: "auto" takes CUDA where torch sees it and the work is worth the transfer.

    Returns:
        Picks whose gain is the distance to the nearest earlier pick, which is the radius that was
        left; 0..2, never rising, 2 for a first pick.

    Raises:
        BadSelection: candidates or preselected positions that do not fit the vectors, or caps with rules.
    """
    check(vectors, preselected=preselected, candidates=candidates)
    given = positions_of(preselected)
    among = open_positions(len(vectors), preselected=given, candidates=candidates)
    budget = min(budget, len(among))
    tally = Tally(caps, among)
    if tally.has_rules:
        raise BadSelection("k_center keeps quotas only, found rules between picks; make the selection with `run`")
    first = -1 if len(given) else most_central(vectors, among, allowed=tally.open_points())
    work = 2.0 * len(among) * budget * vectors.shape[1]
    if device == "cuda" or (device == "auto" and work > GPU_FROM_FLOP and _cuda_has_room(vectors.nbytes)):
        own = vectors if len(among) == len(vectors) else vectors[among]
        slots, similarity = on_torch(own, budget, centres=vectors[given], first=first, tally=tally, device="cuda")
    else:
        loop = _LazyBlock(vectors, among, centres=vectors[given], tally=tally)
        slots, similarity = loop.run(budget, first=first, progress=progress)
    distance = np.clip(1.0 - similarity, 0.0, FARTHEST)
    return Picks(
        positions=among[slots],
        gains=np.minimum.accumulate(distance),  # rounding must not make a gain rise
        covers=np.full(len(slots), -1, np.int64),
        nearest=np.where(
            similarity < -1.5, np.float32(np.nan), distance
        ),  # known here: saves a second copy of the picks
    )


def most_central(vectors: FloatArray, among: IntArray, *, allowed: IntArray) -> int:
    """Slot of the allowed candidate most similar to the mean of all candidates, ties to the lowest; -1 without any."""
    if len(allowed) == 0:
        return -1
    mean = np.zeros(vectors.shape[1], np.float64)
    for at in blocks(len(among), ROWS):
        mean += vectors[among[at]].sum(axis=0, dtype=np.float64)
    direction = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    similarity = np.concatenate([vectors[among[allowed[at]]] @ direction for at in blocks(len(allowed), ROWS)])
    return int(allowed[np.flatnonzero(similarity >= similarity.max() - TIE)[0]])


class DistanceGain:
    """Distance of candidates to the nearest pick or preselected point, as an objective.

    Alone it is k-center, for which `k_center` is faster; here it is a factor of products.

    Args:
        vectors: (n, d) unit vectors.
        among: (c,) positions of the candidates, increasing; the objective calls them 0..c-1.
        given: positions that count as picked from the start.
    """

    def __init__(self, vectors: FloatArray, among: IntArray, given: IntArray) -> None:
        self._vectors, self._among = vectors, among
        self._best = np.empty(len(among), np.float32)  # highest known similarity to a pick; -2: none
        for at in blocks(len(among), ROWS):
            self._best[at] = best_similarity(vectors[among[at]], vectors[given])
        self._seen = np.zeros(len(among), np.int64)  # picks that it knows of
        self._chosen = Growing(vectors.shape[1])

    def first_gains(self) -> FloatArray:
        """Bound of each candidate's distance now, (c,), 0..2."""
        return self.gains(np.arange(len(self._among)))

    def gains(self, candidates: IntArray) -> FloatArray:
        """Bounds of the distance of these now, (b,), 0..2; a millionth above it."""
        order = candidates[np.argsort(self._seen[candidates], kind="stable")]
        for of in blocks(len(order), ROWS if len(order) > POOL_MAX else 256):
            at = order[of]
            missed = self._chosen.rows[int(self._seen[at[0]]) :]
            if len(missed):
                self._best[at] = np.maximum(self._best[at], best_similarity(self._vectors[self._among[at]], missed))
        self._seen[candidates] = len(self._chosen)
        bound: FloatArray = np.clip(1.0 - self._best[candidates] + TIE, 0.0, FARTHEST)
        return bound

    def gain(self, candidate: int) -> float:
        """Cosine distance to the nearest pick now, 0..2; 2 before the first, 0 for a copy of a pick."""
        missed = self._chosen.rows[int(self._seen[candidate]) :]
        if len(missed):
            found = float((missed @ self._vectors[self._among[candidate]]).max())
            self._best[candidate] = max(float(self._best[candidate]), found)
            self._seen[candidate] = len(self._chosen)
        best = float(self._best[candidate])
        return 0.0 if best >= COPY else min(1.0 - best, FARTHEST)

    def add(self, candidate: int) -> None:
        """Pick this candidate."""
        self._chosen.append(self._vectors[self._among[candidate]])


class _LazyBlock:
    """Exact greedy by stale bounds.

    The similarity of a point to the picks only grows, so an old one is a lower bound. Take the
    points whose bound is lowest into a pool, bring only these up to date by one matrix product with
    the picks they missed, and pick inside the pool while its lowest is below every bound outside.
    Inside the pool the same step is played once more, on a square of mutual similarities in which a
    pick costs one row. While pools give little, in the first few hundred picks, everyone is brought
    up to date at once.

    Points are called by slot, 0..m-1, their place among the candidates.
    """

    def __init__(self, vectors: FloatArray, among: IntArray, *, centres: FloatArray, tally: Tally) -> None:
        self._vectors, self._among, self._tally = vectors, among, tally
        self._everyone = len(among) == len(vectors)
        self._bound = np.empty(len(among), np.float32)  # highest known similarity to a pick; inf: may not be picked
        for at in blocks(len(among), ROWS):
            self._bound[at] = best_similarity(self._rows(at), centres)
        self._bound[tally.closed_points()] = np.inf
        self._seen = np.zeros(len(among), np.int64)  # picks that the bound knows of
        self._slots: list[int] = []
        self._similarity: list[float] = []  # of each pick to those before it

    def run(self, budget: int, *, first: int, progress: Progress) -> tuple[IntArray, FloatArray]:
        """Pick up to `budget` slots, beginning with `first` unless it is -1; also each one's similarity when picked."""
        self._chosen = np.empty((budget, self._vectors.shape[1]), np.float32)  # vectors of the picks, in order
        size, dry = POOL_MIN, DRY_ROUNDS
        if budget and first >= 0:
            self._pick_one(first)
        while len(self._slots) < budget:
            progress("select", len(self._slots), budget)
            if dry >= DRY_ROUNDS:
                self._update_everyone()
                lowest = int(self._bound.argmin())
                if self._bound[lowest] >= COPY:
                    self._take_copies(budget)
                    break
                self._pick_one(lowest)
                dry = 0
            got = self._pick_from_pool(size, room=budget - len(self._slots))
            dry = dry + 1 if got * 16 < size else 0
            if got * 4 > size:
                size = min(2 * size, POOL_MAX)
            elif got * 32 < size:
                size = max(size // 2, POOL_MIN)
        progress("select", len(self._slots), budget)
        return np.array(self._slots, np.int64), np.array(self._similarity, np.float32)

    def _rows(self, at: slice | IntArray) -> FloatArray:
        """Vectors of some slots; a view where everyone is a candidate and the slots are consecutive."""
        found: FloatArray = self._vectors[at] if self._everyone else self._vectors[self._among[at]]
        return found

    def _record(self, slots: IntArray, similarity: list[float], vectors: FloatArray) -> None:
        self._chosen[len(self._slots) : len(self._slots) + len(slots)] = vectors
        self._slots.extend(slots.tolist())
        self._similarity.extend(similarity)
        self._bound[slots] = np.inf

    def _pick_one(self, slot: int) -> None:
        """Pick a slot whose bound is known to be the lowest, outside any pool."""
        at = np.array([slot])
        self._record(at, [float(self._bound[slot])], self._rows(at))
        filled = self._tally.take(slot)
        if filled >= 0:
            self._bound[self._tally.members(filled)] = np.inf

    def _take_copies(self, budget: int) -> None:
        """When only copies of picks are left, nothing sets them apart: take them in order."""
        for slot in np.flatnonzero(self._bound < np.inf).tolist():
            if len(self._slots) == budget:
                break
            if self._tally.is_open(slot):
                self._bound[slot] = 1.0
                self._pick_one(slot)

    def _update_everyone(self) -> None:
        n_picks = len(self._slots)
        missed = self._chosen[int(self._seen.min(initial=n_picks)) : n_picks]
        for at in blocks(len(self._bound), ROWS):
            np.maximum(self._bound[at], best_similarity(self._rows(at), missed), out=self._bound[at])
        self._seen[:] = n_picks

    def _pick_from_pool(self, size: int, *, room: int) -> int:
        """One round: fill a pool, bring it up to date, pick from it; how many picks it gave."""
        pool, outside = _lowest(self._bound, size)
        vectors, bound, seen = self._rows(pool), self._bound[pool], self._seen[pool]
        n_picks = len(self._slots)
        stale_first = np.argsort(seen, kind="stable")
        for of in blocks(len(pool), 256):  # small blocks: each is multiplied only with the picks its stalest missed
            at = stale_first[of]
            missed = self._chosen[int(seen[at[0]]) : n_picks]
            bound[at] = np.maximum(bound[at], best_similarity(vectors[at], missed))
        groups, filled = self._tally.codes[pool], list[int]()
        got, width = 0, 256
        while got < room:
            square, limit = _lowest(bound, width)
            inner, inner_bound = vectors[square], bound[square]  # (b, d), (b,)
            local, similarity = self._pick_from_square(
                inner @ inner.T, inner_bound, limit=min(outside, limit, COPY), room=room - got,
                slots=pool[square], groups=groups[square], filled=filled,
            )  # fmt: skip
            if not local:
                break
            picked = inner[local]
            for of in blocks(len(pool), 512):  # 1 MB of similarities, which stays in the cache for the maximum
                np.maximum(bound[of], best_similarity(vectors[of], picked), out=bound[of])
            bound[square[local]] = np.inf
            if filled:
                bound[np.isin(groups, filled)] = np.inf
            self._record(pool[square[local]], similarity, picked)
            got += len(local)
            if len(local) * 2 > width:
                width = min(2 * width, SQUARE_MAX)
            elif len(local) * 8 < width:
                width = max(width // 2, SQUARE_MIN)
        self._bound[pool] = bound
        self._seen[pool] = n_picks + got
        for group in filled:
            self._bound[self._tally.members(group)] = np.inf
        return got

    def _pick_from_square(
        self,
        similarity: FloatArray,
        bound: FloatArray,
        *,
        limit: np.float32,
        room: int,
        slots: IntArray,
        groups: IntArray,
        filled: list[int],
    ) -> tuple[list[int], list[float]]:
        """Greedy among points of known mutual similarity (b, b), while the lowest is surely the lowest of all."""
        local: list[int] = []
        values: list[float] = []
        while len(local) < room:
            j = int(bound.argmin())
            if not bound[j] < limit:  # a tie with a point outside may belong to a lower position
                break
            local.append(j)
            values.append(float(bound[j]))
            np.maximum(bound, similarity[j], out=bound)
            bound[j] = np.inf
            group = self._tally.take(int(slots[j]))
            if group >= 0:
                filled.append(group)
                bound[groups == group] = np.inf
        return local, values


def _lowest(values: FloatArray, size: int) -> tuple[IntArray, np.float32]:
    """Where the `size` lowest values are, in increasing order of place, and the lowest value of the others."""
    if size >= len(values):
        return np.arange(len(values)), np.float32(np.inf)
    part = np.argpartition(values, size)
    return np.sort(part[:size]), np.float32(values[part[size]])


def on_torch(
    vectors: FloatArray, budget: int, *, centres: FloatArray, first: int, tally: Tally, device: str
) -> tuple[IntArray, FloatArray]:
    """The textbook loop on a torch device, without waiting for the host between picks.

    A pick reads every vector once, so a card's memory rate sets the pace: 1 ms per 5 GB of vectors
    on a card that reads 5 TB/s.

    Args:
        vectors: (m, d) of the candidates.
        centres: (p, d) of preselected points.
        first: slot to begin with; -1 where centres say where to begin.
        tally: caps; read, not changed.

    Returns:
        Slots picked and each one's similarity to those before it.
    """
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(vectors)).to(device)  # (m, d)
        best = torch.full((len(x),), -2.0, device=device)
        for at in blocks(len(centres), ROWS):
            for of in blocks(len(x), 16 * ROWS):
                product = x[of] @ torch.from_numpy(np.ascontiguousarray(centres[at])).to(device).T
                best[of] = torch.maximum(best[of], product.amax(1))
        best[torch.from_numpy(tally.closed_points()).to(device)] = torch.inf
        codes = torch.from_numpy(tally.codes).to(device)
        left = torch.from_numpy(tally.left).to(device)
        one = torch.ones((), device=device)
        slots = torch.empty(budget, dtype=torch.int64, device=device)
        values = torch.full((budget,), torch.inf, device=device)
        for i in range(budget):
            j = best.argmin().view(1) if i or first < 0 else torch.tensor([first], device=device)
            slots[i], values[i] = j[0], best.index_select(0, j)[0]
            best = torch.maximum(best, x @ x.index_select(0, j)[0])
            best = torch.where(best >= float(COPY), torch.maximum(best, one), best)
            best.index_fill_(0, j, torch.inf)
            if tally.has_caps:
                group = codes.index_select(0, j)
                left.index_add_(0, group, torch.full((1,), -1, device=device))
                best = torch.where((codes == group) & (left.index_select(0, group) <= 0), torch.inf, best)
        picked = torch.isfinite(values)
        return slots[picked].cpu().numpy(), values[picked].cpu().numpy()


def _cuda_has_room(size_bytes: int) -> bool:
    try:
        import torch
    except ModuleNotFoundError:
        return False
    return bool(torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 1.3 * size_bytes)
