"""The search index: nearest vectors to a few queries, in fractions of a millisecond.

Flat up to a size; above, compressed vectors in lists (IVF with RaBitQ) or a HNSW graph propose
candidates, and the stored vectors decide among them: every similarity given out is exact.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np

from curator.data import BoolArray, FloatArray, IntArray, Progress, no_progress
from curator.errors import BadEmbeddings, UsageError, require
from curator.index.allowed import SEEN, Allowed, ListTable, allow, is_enough, list_table, mask_of, probe
from curator.index.best import in_order
from curator.index.exact import ALMOST, check_same_space, check_unit, exact_search, measure_recall
from curator.index.graph import without_self
from curator.index.lists import make_lists
from curator.index.spec import IndexSpec, faiss_threads, find_faiss, limited_threads

MAGIC = b"CURATOR-INDEX-1\n"
RECALL_AT = 10  # neighbours looked at when the recall is measured
FIRST_WIDTH = 16  # lists (ivf) looked into at first
ROUNDS = 8  # of k-means: made once and searched often
FIRST_EF = 64  # candidates (hnsw) kept on the walk at first
CANDIDATES = 12  # per wanted neighbour: what RaBitQ's one bit per number needs for 0.99
CANDIDATES_MORE = 4  # per neighbour beyond the first 16: of many, few lie so near the last that the codes mistake them
LEAST_CANDIDATES = 120  # so that the first few are found as well when only one is asked for
MORE = 4  # times as many candidates where a filter's were too few
FEW = 20_000  # allowed vectors up to which exact search among them beats a filtered index
FEW_QUERIES = 64  # up to so many, several threads only hurt: they wait for each other longer than they work


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """Vectors and the structure that finds the nearest of them."""

    kind: Literal["flat", "ivf", "hnsw"]
    vectors: FloatArray  # (n, d) float32 of length 1; not stored with the index
    recall: float  # of the 10 nearest, measured against exact search; 1.0 where the search is exact
    width: int = 0  # lists (ivf) or candidates (hnsw) looked at per query; 0 for flat
    notes: tuple[str, ...] = ()  # what was widened or given up to reach the floor, one sentence each
    structure: Any = None  # the faiss index; none for flat
    spec: IndexSpec = field(default_factory=IndexSpec)
    table: ListTable | None = field(init=False, compare=False, repr=False)  # of the lists (ivf)

    def __post_init__(self) -> None:
        table = list_table(self.structure, faiss=_require_faiss()) if self.kind == "ivf" else None
        object.__setattr__(self, "table", table)

    @property
    def n(self) -> int:
        """Vectors searched."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.vectors.shape[1])

    def search(
        self, queries: FloatArray, k: int, *, within: BoolArray | IntArray | Allowed | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The k nearest vectors to each query, with exact similarities.

        Args:
            queries: (m, d) float32 of length 1.
            k: how many.
            within: positions that may be found, or a mask (n,), or what `allow` made of one for many
                searches; none for all. Applied inside the search, so k come back wherever k are allowed.

        Returns:
            positions (m, k) int64 and cosine (m, k) float32, descending; -1 and -1 where fewer exist.

        Raises:
            BadEmbeddings: another dimension than the index.
            UsageError: k < 1, or `within` holds a position that is not in the index.
        """
        queries, _ = check_same_space(queries, self.vectors)
        if k < 1:
            raise UsageError(f"k is {k}; expected at least 1 neighbour")
        allowed = within if within is None or isinstance(within, Allowed) else self.allow(within)
        if not self.is_approximate(allowed):
            at = None if allowed is None else allowed.positions
            return _exact_within(queries, self.vectors, k, at, self.spec)
        positions, similarity = self._approximate(queries, k, allowed)
        wanted = min(k, self.n if allowed is None else len(allowed))
        short = np.flatnonzero((positions[:, :wanted] < 0).any(axis=1))  # the lists held too few that are allowed
        if len(short):
            at = None if allowed is None else allowed.positions
            positions[short], similarity[short] = _exact_within(queries[short], self.vectors, k, at, self.spec)
        return positions, similarity

    def allow(self, within: BoolArray | IntArray) -> Allowed:
        """Positions that may be found, or a mask (n,), made ready for many searches.

        Raises:
            UsageError: a mask of another length, or a position that is not in the index.
        """
        return allow(mask_of(within, self.n), self.table, faiss=find_faiss())

    def is_approximate(self, allowed: Allowed | None) -> bool:
        """Whether a search among these may miss some; a graph (hnsw) is not searched under a filter."""
        if allowed is None:
            return self.kind != "flat"
        return self.kind == "ivf" and len(allowed) > FEW

    def to_bytes(self) -> bytes:
        """Everything but the vectors."""
        body = b"" if self.structure is None else _require_faiss().serialize_index(self.structure).tobytes()
        header = {
            "kind": self.kind,
            "n": self.n,
            "dim": self.dim,
            "recall": self.recall,
            "width": self.width,
            "notes": self.notes,
            "crc32": zlib.crc32(body),
        }
        text = json.dumps(header).encode()
        return MAGIC + len(text).to_bytes(4, "little") + text + body

    @classmethod
    def from_bytes(cls, data: bytes, vectors: FloatArray, *, spec: IndexSpec | None = None) -> SearchIndex:
        """The index written by `to_bytes`, over the same vectors; exact where faiss is missing.

        Raises:
            BadEmbeddings: not an index, damaged, or made over other vectors.
        """
        header, body = _parse(data)
        if (header["n"], header["dim"]) != vectors.shape:
            raise BadEmbeddings(
                f"the search index was built over {header['n']} vectors of {header['dim']} numbers, "
                f"there are {vectors.shape[0]} of {vectors.shape[1]}; build it again"
            )
        vectors = check_unit(vectors)
        flat = cls("flat", vectors, 1.0, notes=tuple(header["notes"]), spec=spec or IndexSpec())
        if header["kind"] == "flat":
            return flat
        faiss = find_faiss()
        if faiss is None:
            return replace(flat, notes=(*flat.notes, "faiss is not installed here: the search is exact"))
        structure = faiss.deserialize_index(np.frombuffer(body, np.uint8))
        return replace(flat, kind=header["kind"], recall=header["recall"], width=header["width"], structure=structure)

    def _approximate(self, queries: FloatArray, k: int, allowed: Allowed | None) -> tuple[IntArray, FloatArray]:
        """Candidates from the lists or the graph, decided by the stored vectors."""
        faiss = _require_faiss()
        if self.kind == "hnsw":
            asked = faiss.SearchParametersHNSW(efSearch=max(self.width, k))
            with faiss_threads(1 if len(queries) <= FEW_QUERIES else self.spec.threads):
                return _rerank(queries, self.vectors, self.structure.search(queries, k, params=asked)[1], k)
        assert self.table is not None
        # A wider search also doubts the short codes more: on few numbers per vector they are what limits the recall.
        first = min(k, RECALL_AT + 6)
        n_candidates = max(LEAST_CANDIDATES, CANDIDATES * first + CANDIDATES_MORE * (k - first))
        n_candidates = min(n_candidates * max(1, self.width // FIRST_WIDTH), self.n)
        # many neighbours lie in more lists than the few the recall was measured on
        width = max(self.width, min(-(-n_candidates * 2 // max(1, int(self.table.mean_size))), self.structure.nlist))
        with faiss_threads(1 if len(queries) <= FEW_QUERIES or allowed is not None else self.spec.threads):
            if allowed is None:
                asked = faiss.SearchParametersIVF(nprobe=width)
                at = self.structure.search(queries, n_candidates, params=asked)[1]
            else:
                seen = SEEN * width * self.table.mean_size
                found = [self._allowed(query, k, allowed, n_candidates, seen, faiss=faiss) for query in queries]
                return _stacked(found, k)
        return _rerank(queries, self.vectors, at, k)

    def _allowed(
        self, query: FloatArray, k: int, allowed: Allowed, n_candidates: int, n_seen: float, *, faiss: ModuleType
    ) -> tuple[IntArray, FloatArray]:
        """The k best allowed of one query, from as many candidates as it takes to be sure enough."""
        assert self.table is not None
        while True:
            at, said = probe(self.structure, self.table, query, n_candidates, allowed, n_seen, faiss=faiss)
            exact = self.vectors[at] @ query
            if len(at) < n_candidates or is_enough(exact, said, k):
                order = np.lexsort((at, -exact))[:k]
                return at[order], exact[order]
            n_candidates *= MORE


def build(vectors: FloatArray, spec: IndexSpec | None = None, *, progress: Progress = no_progress) -> SearchIndex:
    """Build the search index that `spec` asks for and measure it.

    The recall of the 10 nearest is measured on `spec.sample` of the vectors, each without itself.
    Below the floor the search is widened by doubling; where even a quarter of the lists does not
    do, exact search takes over. `notes` says so.

    Args:
        vectors: (n, d) float32 of length 1; kept, not copied.

    Raises:
        BadEmbeddings: the vectors are not (n, d), or not of length 1.
    """
    spec = spec or IndexSpec()
    vectors = check_unit(vectors)
    flat = SearchIndex("flat", vectors, 1.0, spec=spec)
    kind = spec.kind
    if kind == "auto":
        kind = "flat" if len(vectors) <= spec.flat_up_to or spec.min_recall == 1.0 else "ivf"
    if kind == "flat" or len(vectors) < 2 * RECALL_AT:
        return flat
    faiss = find_faiss()
    if faiss is None:
        return replace(flat, notes=(f"faiss is not installed: exact search instead of {kind}",))
    with limited_threads(spec.threads):
        structure, width = (_build_ivf if kind == "ivf" else _build_hnsw)(vectors, spec, faiss=faiss, progress=progress)
        made = replace(flat, kind=kind, structure=structure, width=width)
        return _widen(made, flat)


def extend_index(
    old: SearchIndex, vectors: FloatArray, spec: IndexSpec, *, progress: Progress = no_progress
) -> SearchIndex:
    """The index over all `vectors`, the first of which `old` was built over.

    The new ones go into the lists or the graph there are, and the recall is measured again. Built anew where
    `old` is flat or misses the floor of the recall then.

    Args:
        old: not changed.
        vectors: (n, d) float32 of length 1, n >= old.n; kept, not copied.

    Raises:
        BadEmbeddings: the vectors are not (n, d), or not of length 1.
    """
    vectors = check_unit(vectors)
    if old.structure is None or len(vectors) == old.n:
        return build(vectors, spec, progress=progress)
    structure = _require_faiss().clone_index(old.structure)
    with limited_threads(spec.threads):
        structure.add(vectors[old.n :])
        grown = replace(old, vectors=vectors, structure=structure, spec=spec)
        recall = min(_recall(grown, *_probe(grown)), old.recall)
    return replace(grown, recall=recall) if recall >= spec.min_recall else build(vectors, spec, progress=progress)


def _probe(index: SearchIndex) -> tuple[IntArray, FloatArray]:
    """A sample of positions, (m,), and the similarities of the true neighbours of each, (m, 10)."""
    rng = np.random.default_rng(index.spec.seed)
    sample = np.sort(rng.choice(index.n, min(index.spec.sample, index.n), replace=False))
    near = _exact_within(index.vectors[sample], index.vectors, RECALL_AT + 1, None, index.spec)
    return sample, without_self(*near, sample)[1]


def _recall(index: SearchIndex, sample: IntArray, truth: FloatArray) -> float:
    """Share of the true neighbours of the sample that the index finds, each without itself."""
    found = without_self(*index.search(index.vectors[sample], RECALL_AT + 1), sample)
    return measure_recall(found[1], truth)


def _widen(index: SearchIndex, flat: SearchIndex) -> SearchIndex:
    """The index wide enough for the floor of the recall, or the flat one."""
    sample, truth = _probe(index)
    unit, widest = ("lists", index.structure.nlist // 4) if index.kind == "ivf" else ("candidates", index.n // 4)
    notes: list[str] = []
    while index.width <= max(widest, 1):
        recall = _recall(index, sample, truth)
        if recall >= index.spec.min_recall:
            return replace(index, recall=min(recall, ALMOST), notes=tuple(notes))
        notes.append(f"recall {recall:.3f} with {index.width} {unit} is below {index.spec.min_recall:.3f}: widened")
        index = replace(index, width=2 * index.width)
    return replace(flat, notes=(*notes, f"{index.kind} did not reach the floor: the search is exact"))


def _build_ivf(vectors: FloatArray, spec: IndexSpec, *, faiss: ModuleType, progress: Progress) -> tuple[Any, int]:
    n_lists = max(1, int(4 * len(vectors) ** 0.5))
    n_lists = min(n_lists, len(vectors) // 8 + 1)
    lists = make_lists(vectors, n_lists, seed=spec.seed, threads=spec.threads, rounds=ROUNDS)
    coarse = faiss.IndexFlatIP(vectors.shape[1])
    coarse.add(lists.centres)
    index = faiss.IndexIVFRaBitQ(coarse, vectors.shape[1], len(lists), faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:1])  # only marks it as trained: the centres are given, RaBitQ learns nothing
    _add(index, vectors, progress=progress)
    return index, min(FIRST_WIDTH, max(1, len(lists) // 4))


def _build_hnsw(vectors: FloatArray, spec: IndexSpec, *, faiss: ModuleType, progress: Progress) -> tuple[Any, int]:
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 80
    _add(index, vectors, progress=progress)
    return index, FIRST_EF


def _add(index: Any, vectors: FloatArray, *, progress: Progress) -> None:
    for start in range(0, len(vectors), 65_536):
        index.add(vectors[start : start + 65_536])
        progress("index", min(start + 65_536, len(vectors)), len(vectors))


def _exact_within(
    queries: FloatArray, vectors: FloatArray, k: int, allowed: IntArray | None, spec: IndexSpec
) -> tuple[IntArray, FloatArray]:
    """Exact search among the allowed positions, gathered a block at a time."""
    threads = 1 if len(queries) <= FEW_QUERIES else spec.threads
    if allowed is None:
        return exact_search(queries, vectors, k, threads=threads, device=spec.device)
    positions = np.full((len(queries), k), -1, np.int64)
    similarity = np.full((len(queries), k), -1.0, np.float32)
    for start in range(0, len(allowed), 65_536):
        block = allowed[start : start + 65_536]
        at, near = exact_search(queries, vectors[block], k, threads=threads, device=spec.device)
        at = np.where(at >= 0, block[at], -1)
        merged = _best_first(np.hstack([positions, at]), np.hstack([similarity, near]))
        positions, similarity = merged[0][:, :k], merged[1][:, :k]
    return positions, np.maximum(similarity, np.float32(-1.0))


def _rerank(queries: FloatArray, vectors: FloatArray, at: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """The k best candidates by their exact similarity, in blocks of some 64 MB."""
    positions = np.full((len(at), k), -1, np.int64)
    similarity = np.full((len(at), k), -1.0, np.float32)
    kept = min(k, at.shape[1])
    step = max(1, 2**24 // max(1, at.shape[1] * vectors.shape[1]))
    for start in range(0, len(at), step):
        rows = slice(start, start + step)
        near = np.matmul(vectors[at[rows]], queries[rows][:, :, None])[:, :, 0]  # (b, c)
        near[at[rows] < 0] = -np.inf
        found, score = _best_first(at[rows], near)
        positions[rows, :kept] = found[:, :kept]
        similarity[rows, :kept] = np.maximum(score[:, :kept], -1.0)
    return positions, similarity


def _stacked(found: list[tuple[IntArray, FloatArray]], k: int) -> tuple[IntArray, FloatArray]:
    """Answers of single queries side by side, (m, k), -1 and -1 where fewer."""
    positions = np.full((len(found), k), -1, np.int64)
    similarity = np.full((len(found), k), -1.0, np.float32)
    for row, (at, near) in enumerate(found):
        positions[row, : len(at)], similarity[row, : len(at)] = at, np.maximum(near, -1.0)
    return positions, similarity


def _best_first(positions: IntArray, similarity: FloatArray) -> tuple[IntArray, FloatArray]:
    """In order, with the padding behind everything found, however dissimilar that is."""
    return in_order(positions, np.where(positions >= 0, similarity, -np.inf).astype(np.float32))


def _parse(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and faiss part of `to_bytes`; faiss itself would crash on a damaged one."""
    if data[: len(MAGIC)] != MAGIC:
        raise BadEmbeddings(f"{len(data)} bytes that are no search index of this version; build it again")
    start = len(MAGIC) + 4
    size = int.from_bytes(data[len(MAGIC) : start], "little")
    body = memoryview(data)[start + size :]
    try:
        header: dict[str, Any] = json.loads(data[start : start + size])
    except ValueError as error:
        raise BadEmbeddings(f"the header of the search index is damaged ({error}); build it again") from error
    if zlib.crc32(body) != header["crc32"]:
        raise BadEmbeddings(f"the search index is damaged ({len(body)} bytes with another checksum); build it again")
    return header, body


def _require_faiss() -> ModuleType:
    return require("faiss", extra="cpu")
