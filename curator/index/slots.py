"""The best few of each row, from scores that come a block at a time and in any order."""

from __future__ import annotations

import numpy as np

from curator.data import FloatArray, IntArray

ROOM = 32  # candidates held beyond twice the wanted ones, before the worst are dropped
GROUPED = 8  # columns of which only the best is looked at to find what k reach
NOTHING = np.iinfo(np.int64).min
BELOW = np.float32(-2)  # any cosine is above
LOW = 0xFFFF_FFFF  # the lower half of a key


class Slots:
    """The k best candidates of each of n rows.

    Score and position are one integer, ordered by score and then by the lower position, so that the best k are
    those of a plain sort. A candidate is held where it reaches the k-th best that its row had when this was last
    looked at: in the first block, and when there is no room for more.
    """

    def __init__(self, n_rows: int, k: int) -> None:
        self.k = k
        self.keys = np.full((n_rows, 2 * k + ROOM), NOTHING, np.int64)
        self.count = np.zeros(n_rows, np.int64)
        self.floor = np.full(n_rows, BELOW, np.float32)

    def add(self, rows: IntArray, positions: IntArray, scores: FloatArray) -> None:
        """Candidates of some rows; those of -inf are none.

        Args:
            rows: (b,) each once.
            positions: (c,) below 2^32, new to each of the rows.
            scores: (b, c) float32.
        """
        n_columns = len(positions)
        is_new = self.floor[rows] == BELOW
        if n_columns >= self.k and is_new.any():
            self.floor[rows[is_new]] = np.maximum(_reached_by(scores[is_new], self.k), BELOW)
        hits = np.flatnonzero(scores >= self.floor[rows, None])  # several times faster than nonzero over two axes
        row, column = np.divmod(hits, n_columns)
        keys = _packed(scores.ravel()[hits], positions[column])
        more = np.bincount(row, minlength=len(rows))
        is_full = self.count[rows] + more > self.keys.shape[1]
        if is_full.any():
            ends = np.cumsum(more)
            for i in np.flatnonzero(is_full).tolist():
                self._keep_best(int(rows[i]), keys[ends[i] - more[i] : ends[i]])
            fits = ~is_full[row]
            row, keys, more = row[fits], keys[fits], np.where(is_full, 0, more)
        place = np.arange(len(row)) - np.repeat(np.cumsum(more) - more, more)  # of a hit among those of its row
        at = rows[row]
        self.keys[at, self.count[at] + place] = keys
        self.count[rows] += more

    def best(self) -> tuple[IntArray, FloatArray]:
        """Positions and scores, (n, k), best first and of equal ones the lowest position; -1 and -1 where none."""
        width = max(int(self.count.max(initial=0)), self.k)
        keys = np.sort(self.keys[:, :width], axis=1)[:, -self.k :][:, ::-1]
        is_there = keys != NOTHING
        return np.where(is_there, LOW - (keys & LOW), -1), np.where(is_there, _score(keys), np.float32(-1))

    def _keep_best(self, row: int, more: IntArray) -> None:
        best = np.sort(np.concatenate([self.keys[row, : self.count[row]], more]))[-self.k :]
        self.keys[row] = NOTHING
        self.keys[row, : len(best)] = best
        self.count[row] = len(best)
        self.floor[row] = _score(best[:1])[0]


def _reached_by(scores: FloatArray, k: int) -> FloatArray:
    """(b,) what k or a few more columns of each row reach: the k-th best, of the maxima of 8 where these are enough."""
    n_groups = scores.shape[1] // GROUPED
    if n_groups >= 2 * k:
        scores = scores[:, : GROUPED * n_groups].reshape(len(scores), GROUPED, n_groups).max(axis=1)
    kth: FloatArray = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k]
    return kth


def _packed(scores: FloatArray, positions: IntArray) -> IntArray:
    """One integer each: above the bits of the score, in the order of integers, below how low the position is."""
    bits = np.ascontiguousarray(scores).view(np.int32)
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFF_FFFF), bits).astype(np.int64)
    return (ordered << 32) | (LOW - positions)


def _score(keys: IntArray) -> FloatArray:
    upper = (keys >> 32).astype(np.int32)
    return np.where(upper < 0, upper ^ np.int32(0x7FFF_FFFF), upper).view(np.float32)
