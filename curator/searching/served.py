"""One snapshot of one workspace held in memory, shared by threads: every search, page and count is answered from it.

Everything is loaded when first asked for, once, and never changes; a newer snapshot is another `Served`. Files of
an older snapshot are removed an hour after they fell out of use, so one that is kept for longer should be warm.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curator import embed, images
from curator.data import BoolArray, FloatArray, IntArray
from curator.errors import BadFilter, BadQuery
from curator.filters import Filter, evaluate, is_fixed
from curator.searching import combining, tagging
from curator.searching.columns import Columns
from curator.searching.examples import Decisions, Pictures, Resolved, resolve
from curator.searching.grouping import Groups, Seen, best_of_groups, groups_of
from curator.searching.requests import MAX_BATCH, Answer, Hit, How, Request
from curator.searching.spaces import Block, Scorer, Space, Subset, load_space
from curator.workspace import Workspace

MASK_BYTES = 256_000_000  # masks of recent filters
MAX_DIRECTIONS = 256  # positives of method max, rows of collections included
MAX_POSITIVES = 20_000  # rows that a probe is fitted to
SEED = 0  # of the probe's background: the same request has the same answer


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request made into what is ranked by and what may be found."""

    request: Request
    space: Space
    how: How
    scorer: Scorer
    subset: Subset | None
    left_out: IntArray
    probe: combining.Probe | None
    likes: FloatArray  # (p, d) the positives, as the scorer has vectors


class Served:
    """Open it with `open_served`."""

    def __init__(self, workspace: Workspace, state: Decisions | None, limits: images.Limits, may_fetch: bool) -> None:
        self.workspace = workspace
        self.state = state
        self.columns = Columns(workspace)
        self.pictures = Pictures(self.columns, limits, may_fetch)
        self._spaces: dict[str, Space] = {}
        self._space_locks: dict[str, threading.Lock] = {}
        self._masks: OrderedDict[Filter, BoolArray] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Served({str(self.workspace.path)!r}, snapshot {self.sequence}, {self.n_rows} rows)"

    @property
    def sequence(self) -> int:
        """Number of the snapshot."""
        return self.workspace.snapshot.sequence

    @property
    def n_rows(self) -> int:
        """Rows ever given."""
        return self.columns.n_rows

    @property
    def size_bytes(self) -> int:
        """Memory of vectors, indexes, columns and masks."""
        with self._lock:
            masks = sum(mask.nbytes for mask in self._masks.values())
        return masks + self.columns.size_bytes + sum(space.size_bytes for space in list(self._spaces.values()))

    # -- what filters ask --------------------------------------------------------------------------------------------

    def column(self, name: str) -> Any:
        """(n_rows,) Arrow values; raises UnknownColumn."""
        return self.columns.column(name)

    def tagged(self, names: Sequence[str]) -> IntArray:
        """Rows that people gave any of the tags."""
        if self.state is None:
            raise BadFilter(f"no tag {names[0]!r}: nothing was tagged in {self.workspace.path} yet")
        return self.state.rows_tagged(names)

    def collected(self, name: str) -> IntArray:
        """Rows of a collection."""
        if self.state is None:
            raise BadFilter(f"no collection {name!r}: nothing was collected in {self.workspace.path} yet")
        return self.state.collection(name)

    def selected(self, name: str) -> IntArray:
        """Rows of a selection; raises UnknownSelection."""
        return self.workspace.selection(name).rows

    def mask(self, condition: Filter | None) -> BoolArray:
        """(n_rows,) rows that a filter lets through, read-only; all for None.

        Raises:
            BadFilter, UnknownColumn, UnknownSelection: it cannot be evaluated here.
        """
        if condition is None:
            every: BoolArray = self.columns.derived("mask", "all", lambda: _fixed(np.ones(self.n_rows, np.bool_)))
            return every
        with self._lock:
            found = self._masks.get(condition)
            if found is not None:
                self._masks.move_to_end(condition)
                return found
        mask = _fixed(evaluate(condition, self))
        if is_fixed(condition):  # tags and collections change under a snapshot
            with self._lock:
                self._masks[condition] = mask
                while len(self._masks) > 1 and sum(m.nbytes for m in self._masks.values()) > MASK_BYTES:
                    self._masks.popitem(last=False)
        return mask

    # -- searching ---------------------------------------------------------------------------------------------------

    def space(self, name: str | None = None) -> Space:
        """Vectors and index of a space, loaded once.

        Raises:
            UnknownSpace, StageMissing: there is no such space, or none at all.
            DamagedWorkspace: a file is gone or broken.
        """
        known = self.workspace.space(name)
        found = self._spaces.get(known)
        if found is not None:
            return found
        with self._lock:
            lock = self._space_locks.setdefault(known, threading.Lock())
        with lock:
            if known not in self._spaces:
                self._spaces[known] = load_space(self.workspace, known)
            return self._spaces[known]

    @property
    def n_vectors(self) -> int:
        """Vectors of the loaded spaces."""
        return sum(len(space.rows) for space in list(self._spaces.values()))

    def successor(self, workspace: Workspace) -> Served:
        """The same over a newer snapshot; spaces whose files are unchanged are shared, not loaded again."""
        newer = Served(workspace, self.state, self.pictures.limits, self.pictures.may_fetch)
        for name, space in list(self._spaces.items()):
            if _files_of_space(workspace, name) == _files_of_space(self.workspace, name):
                newer._spaces[name] = space
        return newer

    def is_warm_like(self, older: Served) -> bool:
        """Whether every space that the older one holds, and that still exists, is held."""
        return all(name in self._spaces for name in older._loaded() if self.workspace.entries(f"vectors/{name}"))

    def warm_like(self, older: Served) -> None:
        """Load the spaces that the older one holds.

        Raises:
            DamagedWorkspace: a file is gone or broken.
        """
        for name in older._loaded():
            if self.workspace.entries(f"vectors/{name}"):
                self.space(name)

    def _loaded(self) -> list[str]:
        return list(self._spaces)

    def search(self, request: Request, *, mask: BoolArray | None = None) -> Answer:
        """Find what is like the positives and unlike the negatives.

        Args:
            mask: (n_rows,) rows that may be found besides what the filter says, e.g. of a SQL condition.

        Raises:
            BadQuery, BadFilter, UnknownColumn, UnknownSpace, UnknownRow: the request is off.
            UnreadableImage, BadEmbeddings, DataError: an example cannot be used.
        """
        return self.search_many([request], mask=mask)[0]

    def search_many(self, requests: Sequence[Request], *, mask: BoolArray | None = None) -> list[Answer]:
        """Several searches; those that share space and filter ask the index together.

        Raises:
            BadQuery: more than `MAX_BATCH`, or as `search`; then none is answered.
        """
        if len(requests) > MAX_BATCH:
            raise BadQuery(f"{len(requests)} searches in one call; at most {MAX_BATCH} are taken")
        answers: list[Answer | None] = [None] * len(requests)
        plans: list[tuple[int, _Plan]] = []
        for at, request in enumerate(requests):
            for name in request.fields:
                self.columns.check(name)
            if self._is_tag_search(request):
                answers[at] = self._by_tags(request, mask)
            else:
                plans.append((at, self._plan(request, mask)))
        first = _first_blocks([plan for _, plan in plans])
        for (at, plan), block in zip(plans, first, strict=True):
            answers[at] = self._answer(plan, block)
        return [answer for answer in answers if answer is not None]

    def _plan(self, request: Request, mask: BoolArray | None) -> _Plan:
        space = self.space(request.space)
        likes = resolve(request.positives, space, self.pictures, self.state, "positives")
        dislikes = resolve(request.negatives, space, self.pictures, self.state, "negatives")
        mean = space.mean if request.centred else None
        how, directions, probe = _directions(request, space, likes, dislikes)
        return _Plan(
            request, space, how, Scorer(directions, mean), self._subset(space, request.filter, mask),
            np.union1d(likes.positions, dislikes.positions), probe, _as_scored(space, likes.vectors, request.centred),
        )  # fmt: skip

    def _subset(self, space: Space, condition: Filter | None, mask: BoolArray | None) -> Subset | None:
        if condition is None and mask is None:
            return None
        allowed = self.mask(condition)
        if mask is not None:
            return space.subset(allowed & mask)
        return space.subset(allowed, condition if condition is not None and is_fixed(condition) else None)

    def _answer(self, plan: _Plan, first: Block | None) -> Answer:
        request, space = plan.request, plan.space
        walk = space.walk(plan.scorer, plan.subset, plan.left_out, first)
        rows: Iterator[Block] = ((space.rows[at], similarity) for at, similarity in walk)
        if plan.probe is not None:
            rows = _as_probabilities(rows, plan)
        wanted = request.offset + request.k + 1  # one more tells whether there is another page
        if request.group_by is None:
            hits = _first_hits(rows, wanted, request.min_similarity)
        else:
            hits = self._group_hits(rows, wanted, plan)
        is_exact = space.is_exact(plan.scorer, plan.subset)
        kind = space.index.kind if space.index.kind == "flat" or not is_exact else "exact"
        recall = 1.0 if is_exact else space.index.recall
        page = self._with_similarity(hits[request.offset : request.offset + request.k], plan)
        return self._finished(page, request, plan.how, space.name, kind, recall, len(hits) >= wanted)

    def _finished(
        self,
        page: Sequence[Hit],
        request: Request,
        how: How,
        space: str,
        kind: str,
        recall: float,
        more: bool,
        note: str = "",
    ) -> Answer:
        if request.fields:
            values = self.columns.take([hit.row for hit in page], request.fields)
            page = [replace(hit, fields=fields) for hit, fields in zip(page, values, strict=True)]
        end = request.offset + request.k
        return Answer(
            tuple(page), how, space, kind, recall, self.sequence, request.offset, end if more else None,
            request.centred and how != "tags", note,
        )  # fmt: skip

    def _with_similarity(self, page: list[Hit], plan: _Plan) -> list[Hit]:
        """With a probe the similarity is the largest cosine to a positive; otherwise it is what was ranked by."""
        if plan.probe is None or not page:
            return page
        at = plan.space.embeddings.positions_of(np.asarray([hit.row for hit in page], np.int64))
        near = Scorer(plan.likes, plan.scorer.mean).exact(plan.space.vectors[at])
        return [replace(hit, similarity=float(value)) for hit, value in zip(page, near, strict=True)]

    def _group_hits(self, rows: Iterator[Block], wanted: int, plan: _Plan) -> list[Hit]:
        groups = groups_of(self.columns, str(plan.request.group_by))
        seen = best_of_groups(rows, groups, wanted, plan.request.min_similarity)
        allowed = plan.space.rows if plan.subset is None else plan.space.rows[plan.subset.allowed.positions]
        return _grouped(seen, groups, np.bincount(groups.codes[allowed], minlength=groups.n))

    def _is_tag_search(self, request: Request) -> bool:
        """Whether texts are all there is and the space reads none.

        Raises:
            BadQuery: texts are mixed with what a tag search cannot use.
        """
        every = (*request.positives, *request.negatives)
        if all(example.text is None for example in every):
            return False
        space = self.workspace.space(request.space)
        model = str(self.workspace.entries(f"vectors/{space}")[0].meta["model"])
        if embed.describe(model).has_text:
            return False
        if request.negatives or any(example.text is None for example in request.positives) or request.group_by:
            raise BadQuery(
                f"space {space!r} ({model}) reads no text, and a tag search takes texts alone, without negatives and "
                "group_by; embed with a CLIP-like model to mix text with images"
            )
        return True

    def _by_tags(self, request: Request, mask: BoolArray | None) -> Answer:
        space = self.workspace.space(request.space)
        model = str(self.workspace.entries(f"vectors/{space}")[0].meta["model"])
        texts = [str(example.text) for example in request.positives]
        scores, note = tagging.tag_scores(self.workspace, self.columns, texts, space, model)
        allowed = self.columns.present() & self.mask(request.filter)
        rows = tagging.in_order(scores, allowed if mask is None else allowed & mask)
        if request.min_similarity is not None:
            rows = rows[scores[rows] >= request.min_similarity]
        end = request.offset + request.k
        page = [Hit(row, float(scores[row]), float(scores[row])) for row in rows[request.offset : end].tolist()]
        return self._finished(page, request, "tags", space, "tags", 1.0, len(rows) > end, note)


def _files_of_space(workspace: Workspace, name: str) -> list[str]:
    """What a loaded space depends on."""
    keys = (f"vectors/{name}", f"index/{name}", "columns/presence")
    return [entry.file for key in keys for entry in workspace.entries(key)]


def open_served(
    workspace: Workspace,
    state: Decisions | None = None,
    *,
    limits: images.Limits | None = None,
    may_fetch: bool = True,
) -> Served:
    """Hold the workspace's current snapshot for searching.

    Args:
        state: what people decided; without it, tags and collections are refused.
        limits: what one query image or original may cost.
        may_fetch: whether originals of rows may be fetched from other machines.
    """
    frozen = Workspace(workspace.path, workspace.snapshot)  # the caller's may be refreshed
    return Served(frozen, state, limits or images.Limits(), may_fetch)


def _directions(
    request: Request, space: Space, likes: Resolved, dislikes: Resolved
) -> tuple[How, FloatArray, combining.Probe | None]:
    """What the examples are made into, (m, d)."""

    def scored(vectors: FloatArray) -> FloatArray:
        return _as_scored(space, vectors, request.centred)

    n_likes, n_dislikes = len(likes.vectors), len(dislikes.vectors)
    if request.method == "max" and n_likes > MAX_DIRECTIONS:
        raise BadQuery(f"method max takes up to {MAX_DIRECTIONS} positive images, got {n_likes}; use rocchio or probe")
    if request.method == "probe":
        if n_likes + n_dislikes > MAX_POSITIVES:
            raise BadQuery(f"a probe takes up to {MAX_POSITIVES} examples, got {n_likes + n_dislikes}; use rocchio")
        left_out = np.union1d(likes.positions, dislikes.positions)
        probe = combining.fit_probe(
            scored(likes.vectors), scored(dislikes.vectors), scored(_background(space, left_out))
        )
        return "probe", probe.direction[None], probe
    if n_likes == 1 and n_dislikes == 0:
        only = combining.unit(
            scored(likes.vectors)[0], "the positive lies at the mean of all images: nothing is like it"
        )
        return "cosine", only[None], None
    if request.method == "max":
        return "max", scored(likes.vectors), None
    direction = combining.rocchio(
        scored(likes.asked), scored(likes.known), scored(dislikes.vectors),
        alpha=request.alpha, beta=request.beta, gamma=request.gamma,
    )  # fmt: skip
    return "rocchio", direction[None], None


def _background(space: Space, left_out: IntArray) -> FloatArray:
    """Random vectors that are no examples."""
    rng = np.random.default_rng(SEED)
    drawn = rng.permutation(len(space))[: combining.BACKGROUND + min(len(left_out), len(space))]
    return space.vectors[np.setdiff1d(drawn, left_out)[: combining.BACKGROUND]]


def _as_scored(space: Space, vectors: FloatArray, centred: bool) -> FloatArray:
    return space.centred(vectors) if centred and len(vectors) else vectors


def _first_blocks(plans: Sequence[_Plan]) -> list[Block | None]:
    """The first block of each walk that an index answers by plain cosine, found in one call for all that share it."""
    blocks: list[Block | None] = [None] * len(plans)
    shared: dict[tuple[int, int], list[int]] = {}
    for at, plan in enumerate(plans):
        is_plain = plan.scorer.mean is None and len(plan.scorer.directions) == 1 and len(plan.left_out) <= 64
        if is_plain and not plan.space.is_exact(plan.scorer, plan.subset):
            shared.setdefault((id(plan.space), id(plan.subset)), []).append(at)
    for members in shared.values():
        of = plans[members[0]]
        directions = np.concatenate([plans[at].scorer.directions for at in members])
        found = of.space.first_blocks(directions, of.subset, [plans[at].left_out for at in members])
        for at, block in zip(members, found, strict=True):
            blocks[at] = block
    return blocks


def _as_probabilities(rows: Iterator[Block], plan: _Plan) -> Iterator[Block]:
    """Cosine to the probe's direction as the probability that it stands for; the order is the same."""
    assert plan.probe is not None
    length = float(np.linalg.norm(plan.probe.weights.astype(np.float64)))
    for found, cosine in rows:
        logit = length * cosine.astype(np.float64) + plan.probe.bias
        yield found, (0.5 * (1.0 + np.tanh(0.5 * logit))).astype(np.float32)


def _first_hits(rows: Iterator[Block], wanted: int, floor: float | None) -> list[Hit]:
    hits: list[Hit] = []
    for found, score in rows:
        reach = np.ones(len(found), np.bool_) if floor is None else score >= floor
        values = zip(found[reach].tolist(), score[reach].tolist(), strict=True)
        hits += [Hit(row, value, value) for row, value in values]
        if len(hits) >= wanted or not reach.all():
            break
    return hits[:wanted]


def _grouped(seen: Seen, groups: Groups, sizes: IntArray) -> list[Hit]:
    return [
        Hit(row, score, score, _plain(groups.names[code]), seen.members[code], int(sizes[code]))
        for row, score, code in zip(seen.rows, seen.similarity, seen.codes, strict=True)
    ]


def _plain(value: Any) -> Any:
    from curator.searching.columns import plain

    return plain(value.item() if isinstance(value, np.generic) else value)


def _fixed(mask: BoolArray) -> BoolArray:
    mask.flags.writeable = False
    return mask
