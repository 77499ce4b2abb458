"""Leaks: images of one set that are in another, by bytes, by look and by vectors.

The sets are two workspaces, or the parts of one by a column. Three channels, each catching what the
others miss: equal bytes; perceptual hashes a few bits apart (re-saved and resized copies, whatever the
model thinks of them); cosine at or above the near-duplicate threshold (crops, other frames of a scene).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curator import embed, splits
from curator.config import Config, from_dict
from curator.data import Embeddings, FloatArray, IntArray, Progress, no_progress
from curator.disk import atomic_write, put_bytes
from curator.errors import UnknownSpace, UsageError
from curator.hashing import FLAT, Hashes, nearest_hash
from curator.index import pair_similarity
from curator.pipeline.calibrating import metric_of, threshold_of
from curator.pipeline.derive import rows_table, threads
from curator.workspace import Workspace

FIELDS = ("a", "b", "row_b", "uri_b", "row_a", "uri_a", "exact", "bits", "similarity")
MAX_PARTS = 50  # of a split column; more is no split


@dataclass(frozen=True, slots=True)
class Leak:
    """One image of b and the image of a that it repeats most closely."""

    a: str
    b: str
    row_a: int
    uri_a: str
    row_b: int
    uri_b: str
    exact: bool  # the same bytes
    bits: int | None  # in which the perceptual hashes differ, 0..64; None where one says nothing
    similarity: float  # cosine


@dataclass(frozen=True, slots=True)
class Between:
    """How much of b is in a."""

    a: str
    b: str
    n_a: int
    n_b: int
    n_exact: int  # images of b with the same bytes as one of a
    n_hash: int  # ... with a perceptual hash so near
    n_near: int  # ... with a cosine at or above the threshold
    n_leaking: int  # any of these

    @property
    def share(self) -> float:
        """Share of b that is in a, 0..1."""
        return self.n_leaking / self.n_b if self.n_b else 0.0


@dataclass(frozen=True, slots=True)
class Leaks:
    """Everything found, the worst first."""

    pairs: tuple[Between, ...]
    leaks: tuple[Leak, ...]  # one per leaking image of b
    threshold: float
    origin: str  # of the threshold, in words
    bits: int
    space: str
    notes: tuple[str, ...] = ()

    def to_dict(self, *, first: int | None = None) -> dict[str, Any]:
        """Plain values; only the worst `first` leaks."""
        return {
            "threshold": self.threshold, "threshold_origin": self.origin, "bits": self.bits, "space": self.space,
            "pairs": [{**asdict(pair), "share": round(pair.share, 6)} for pair in self.pairs],
            "n_leaks": len(self.leaks), "leaks": [asdict(leak) for leak in self.leaks[:first]],
            "notes": list(self.notes),
        }  # fmt: skip


def between(
    a: Workspace,
    b: Workspace,
    *,
    threshold: float | None = None,
    bits: int = 4,
    progress: Progress = no_progress,
) -> Leaks:
    """Find the images of workspace b that are in workspace a.

    Args:
        threshold: cosine; None: as near-duplicates of a are decided.
        bits: hashes that differ in at most so many look alike, 0..64.

    Raises:
        UnknownSpace: b was not embedded with the model of a.
        UsageError: threshold or bits out of range.
    """
    config = _config(a)
    plain = config.model_copy(update={"neardups": config.neardups.model_copy(update={"space": "model"})})
    space = a.space(embed.space_name(config.embed.model))
    if space not in b.names("vectors"):
        there = ", ".join(b.names("vectors")) or "none yet"
        raise UnknownSpace(
            f"{b.path} has no vectors of {space!r}, which {a.path} is embedded with (there are: {there}); "
            f"run `curator embed -w {b.path} --model {config.embed.model}`"
        )
    limit, origin = _limit(a, plain, threshold, bits)
    names = _names(a.path, b.path)
    sides = [_side(name, place, place.embeddings(space)) for name, place in zip(names, (a, b), strict=True)]
    return _compare([(sides[0], sides[1])], limit, origin, bits, space, plain, progress)


def across_parts(
    workspace: Workspace,
    column: str = "split",
    *,
    threshold: float | None = None,
    bits: int = 4,
    progress: Progress = no_progress,
) -> Leaks:
    """Find images that are in more than one part of a workspace; rows without a part are left out.

    Raises:
        UnknownColumn: no such column.
        UsageError: a column with fewer than two parts, or with too many to be a split.
    """
    config = _config(workspace)
    limit, origin = _limit(workspace, config, threshold, bits)
    points = metric_of(workspace, config, workspace.embeddings(embed.space_name(config.embed.model)))
    whole = _side("", workspace, points)
    values = rows_table(workspace, points.rows, [column])[column].to_pylist()
    named = np.asarray(["" if value is None else str(value) for value in values], dtype=object)
    parts = _ordered([name for name in dict.fromkeys(named.tolist()) if name], named)
    if not 2 <= len(parts) <= MAX_PARTS:
        raise UsageError(
            f"column {column!r} has {len(parts)} parts; expected 2 to {MAX_PARTS} such as train, val and test: "
            "choose another --split-column, or make one with `curator split`"
        )
    sides = [whole.only(name, np.flatnonzero(named == name)) for name in parts]
    pairs = [(first, second) for at, first in enumerate(sides) for second in sides[at + 1 :]]
    return _compare(pairs, limit, origin, bits, points.space, config, progress)


def write(found: Leaks, target: Path) -> None:
    """Write every leak as .csv or .json.

    Raises:
        UsageError: another ending.
        CannotWrite: disk full, read-only or no permission.
    """
    if target.suffix == ".json":
        text = json.dumps(found.to_dict(), ensure_ascii=False, indent=1) + "\n"
    elif target.suffix == ".csv":
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(leak) for leak in found.leaks)
        text = out.getvalue()
    else:
        raise UsageError(f"cannot write leaks to {str(target)!r}; expected a name that ends in .csv or .json")
    atomic_write(target, lambda file: put_bytes(file, text.encode("utf-8", "surrogateescape")))


# -- one set ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    """One set, a line per image."""

    name: str
    rows: IntArray
    vectors: FloatArray
    uris: list[str]
    digests: list[str | None]
    hashes: Hashes

    def only(self, name: str, at: IntArray) -> _Side:
        """Some of the lines, under another name."""
        chosen = at.tolist()
        return _Side(name, self.rows[at], self.vectors[at], [self.uris[i] for i in chosen],
                     [self.digests[i] for i in chosen], self.hashes[at])  # fmt: skip


def _side(name: str, workspace: Workspace, points: Embeddings) -> _Side:
    table = rows_table(workspace, points.rows, ["uri", "digest", "phash"])
    hashes = hashes_of(table["phash"])
    return _Side(name, points.rows, points.vectors, table["uri"].to_pylist(), table["digest"].to_pylist(), hashes)


def hashes_of(column: Any) -> Hashes:
    """Perceptual hashes of a column; `FLAT`, which matches nothing, where one is missing."""
    return np.asarray([FLAT if value is None else value for value in column.to_pylist()], np.uint64)


def _config(workspace: Workspace) -> Config:
    return from_dict({key: value for key, value in workspace.snapshot.config.items() if not key.startswith("_")})


def _limit(workspace: Workspace, config: Config, threshold: float | None, bits: int) -> tuple[float, str]:
    if threshold is not None and not 0.0 < threshold <= 1.0:
        raise UsageError(f"threshold {threshold:g}; expected a cosine above 0 and up to 1, e.g. 0.93")
    if not 0 <= bits <= 64:
        raise UsageError(f"bits {bits}; expected 0 to 64, e.g. 4")
    return threshold_of(workspace, config) if threshold is None else (threshold, "given")


def _names(a: Path, b: Path) -> tuple[str, str]:
    return (a.name, b.name) if a.name != b.name else (str(a), str(b))


def _ordered(names: Sequence[str], named: Any) -> list[str]:
    """Train first, then the largest: leaks are told as images of the later part that are in the earlier."""
    return sorted(names, key=lambda name: (name != "train", -int((named == name).sum()), name))


# -- two sets -----------------------------------------------------------------------------------------------------


def _compare(
    pairs: Sequence[tuple[_Side, _Side]],
    threshold: float,
    origin: str,
    bits: int,
    space: str,
    config: Config,
    progress: Progress,
) -> Leaks:
    told: list[Between] = []
    leaks: list[Leak] = []
    for a, b in pairs:
        between_, found = _leaks_of(a, b, threshold, bits, threads(config), progress)
        told.append(between_)
        leaks += found
    leaks.sort(key=lambda leak: (not leak.exact, -leak.similarity, leak.a, leak.b, leak.row_b))
    blank = sum(int((side.hashes == FLAT).sum()) for side in {id(s): s for pair in pairs for s in pair}.values())
    notes = (f"{blank} images have no perceptual hash (one colour) and were not compared by look",) if blank else ()
    return Leaks(tuple(told), tuple(leaks), threshold, origin, bits, space, notes)


def _leaks_of(
    a: _Side, b: _Side, threshold: float, bits: int, n_threads: int, progress: Progress
) -> tuple[Between, list[Leak]]:
    exact = _same_bytes(a.digests, b.digests)  # (n_b,) position in a, -1 where none
    look, _ = nearest_hash(b.hashes, a.hashes, radius=bits)
    vectors = np.concatenate([a.vectors, b.vectors])  # (n_a + n_b, d)
    ours, theirs = np.arange(len(a.rows)), np.arange(len(a.rows), len(vectors))
    near, _ = splits.nearest_across(vectors, theirs, ours, threshold, threads=n_threads, progress=progress)
    match = np.where(exact >= 0, exact, np.where(near >= 0, near, look))
    at = np.flatnonzero(match >= 0)
    similarity = pair_similarity(vectors, match[at], at + len(a.rows))
    found = [
        Leak(
            a.name, b.name, int(a.rows[i]), a.uris[i], int(b.rows[j]), b.uris[j], bool(exact[j] >= 0),
            _bits(a.hashes[i], b.hashes[j]), round(float(value), 6),
        )
        for i, j, value in zip(match[at].tolist(), at.tolist(), similarity, strict=True)
    ]  # fmt: skip
    n_exact, n_hash, n_near = (int((which >= 0).sum()) for which in (exact, look, near))
    return Between(a.name, b.name, len(a.rows), len(b.rows), n_exact, n_hash, n_near, len(at)), found


def _same_bytes(a: Sequence[str | None], b: Sequence[str | None]) -> IntArray:
    first: dict[str, int] = {}
    for at, digest in enumerate(a):
        if digest:
            first.setdefault(digest, at)
    return np.asarray([first.get(digest, -1) if digest else -1 for digest in b], np.int64)


def _bits(a: Any, b: Any) -> int | None:
    return None if FLAT in (a, b) else (int(a) ^ int(b)).bit_count()
