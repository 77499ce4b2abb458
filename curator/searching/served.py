"""One snapshot of one workspace held in memory, shared by threads: every search, page and count is answered from it.

Everything is loaded when first asked for, once, and never changes; a newer snapshot is another `Served`. Files of
an older snapshot are removed an hour after they fell out of use, so one that is kept for longer should be warm.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from curator import images, quality
from curator.data import BoolArray, IntArray
from curator.errors import BadFilter, BadQuery
from curator.filters import Filter, evaluate, is_fixed, without
from curator.pipeline.tiling import SUFFIX
from curator.searching import duplicates, tagging
from curator.searching.browsing import BINS, MAX_FACETS, TOP, Facet, Page, facet_of, page_of
from curator.searching.columns import Columns
from curator.searching.duplicates import Duplicates
from curator.searching.examples import Decisions, Pictures, crop, resolve
from curator.searching.grouping import best_of_groups, groups_of
from curator.searching.planning import Plan, as_scored, directions_of
from curator.searching.requests import MAX_BATCH, MAX_K, Answer, Example, Hit, How, Request
from curator.searching.spaces import FEW_LEFT_OUT, Block, Scorer, Space, Subset, load_space
from curator.searching.thumbs import Thumbs
from curator.searching.tiled import (
    TileSpace,
    files_of,
    has_space,
    is_tiled,
    known_space,
    load_tile_space,
    model_of,
    with_boxes,
)
from curator.workspace import Workspace

MASK_BYTES = 256_000_000  # masks of recent filters


class Served:
    """Open it with `open_served`."""

    def __init__(self, workspace: Workspace, state: Decisions | None, limits: images.Limits, may_fetch: bool) -> None:
        self.workspace = workspace
        self.state = state
        self.columns = Columns(workspace)
        self.pictures = Pictures(self.columns, limits, may_fetch)
        self.thumbs = Thumbs(workspace)
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
        """Vectors and index of a space, loaded once; `tiles` is the one of images by the best of their tiles.

        Raises:
            UnknownSpace, StageMissing: there is no such space, or none at all.
            DamagedWorkspace: a file is gone or broken.
        """
        known = known_space(self.workspace, name)
        found = self._spaces.get(known)
        if found is not None:
            return found
        with self._lock:
            lock = self._space_locks.setdefault(known, threading.Lock())
        with lock:
            if known not in self._spaces:
                self._spaces[known] = self._load(known)
            return self._spaces[known]

    def _load(self, known: str) -> Space:
        if is_tiled(self.workspace, known):
            return load_tile_space(self.workspace, self.space(known.removesuffix(SUFFIX)))
        return load_space(self.workspace, known)

    @property
    def n_vectors(self) -> int:
        """Vectors of the loaded spaces."""
        return sum(len(space.rows) for space in list(self._spaces.values()))

    def successor(self, workspace: Workspace) -> Served:
        """The same over a newer snapshot; vectors and indexes whose files are unchanged are shared."""
        newer = Served(workspace, self.state, self.pictures.limits, self.pictures.may_fetch)
        for name, space in list(self._spaces.items()):
            if files_of(workspace, name) == files_of(self.workspace, name):
                newer._spaces[name] = space.renewed()
        return newer

    def is_warm_like(self, older: Served) -> bool:
        """Whether every space that the older one holds, and that still exists, is held."""
        return all(name in self._spaces for name in older._loaded() if has_space(self.workspace, name))

    def warm_like(self, older: Served) -> None:
        """Load the spaces that the older one holds.

        Raises:
            DamagedWorkspace: a file is gone or broken.
        """
        for name in older._loaded():
            if has_space(self.workspace, name):
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
        plans: list[tuple[int, Plan]] = []
        for at, request in enumerate(requests):
            for name in request.fields:
                self.columns.check(name)
            if tagging.is_tag_search(self.workspace, request):
                answers[at] = self._by_tags(request, mask)
            else:
                plans.append((at, self._plan(request, mask)))
        first = _first_blocks([plan for _, plan in plans])
        for (at, plan), block in zip(plans, first, strict=True):
            answers[at] = self._answer(plan, block)
        return [answer for answer in answers if answer is not None]

    def near_duplicates(
        self,
        example: Example,
        *,
        threshold: float | None = None,
        k: int = 10,
        space: str | None = None,
        fields: Sequence[str] = (),
    ) -> Duplicates:
        """Whether a picture is there already: its bytes, the same picture, something like it, or nothing.

        Args:
            example: a row, which does not find itself, or an image; with a box that part alone.
            threshold: cosine at or above which two pictures are the same; none for the configured or calibrated one.
            k: matches at most.

        Raises:
            BadQuery: another kind of example, a space of tiles, or k or threshold out of range.
            StageMissing: the configuration names a calibration that is not there.
            UnknownRow, DataError, UnreadableImage, BadEmbeddings: the example cannot be used.
        """
        if not 1 <= k <= MAX_K:
            raise BadQuery(f"k is {k}; expected 1 to {MAX_K}")
        if example.row is None and example.image is None:
            raise BadQuery("near-duplicates are looked for by a row or an image; use search for vectors and texts")
        for name in fields:
            self.columns.check(name)
        of = self.space(space)
        if isinstance(of, TileSpace):
            raise BadQuery(f"near-duplicates are whole images, and {of.name!r} holds parts of them; leave space out")
        how = duplicates.threshold_for(self.workspace, of, threshold)
        found = resolve([example], of, self.pictures, self.state, "example")
        exact = duplicates.same_bytes(self.columns, self._digest(example))
        if example.row is not None:
            exact = exact[exact != example.row]
        phash = self._phash(example) if how.metric == "copies" else 0
        positions, near = duplicates.nearest_of(
            self.workspace, of, found.vectors[0], phash, found.positions, how, k
        )  # fmt: skip
        matches, similar_from = duplicates.matches_of(self.columns, exact, of.rows[positions], near, how, k)
        if fields and matches:
            values = self.columns.take([match.row for match in matches], fields)
            matches = tuple(replace(match, fields=own) for match, own in zip(matches, values, strict=True))
        is_there = any(match.match != "similar" for match in matches)
        return Duplicates(
            "already" if is_there else "similar" if matches else "new", matches, how.value, similar_from, how.origin,
            how.metric, float(near[0]) if len(near) else None, of.name, of.index.kind, of.index.recall, self.sequence,
        )  # fmt: skip

    # -- browsing ----------------------------------------------------------------------------------------------------

    def query(
        self,
        condition: Filter | None = None,
        *,
        sort: Sequence[tuple[str, bool]] = (),
        offset: int = 0,
        limit: int = 100,
        fields: Sequence[str] = (),
        present_only: bool = True,
    ) -> Page:
        """Rows that a filter lets through, sorted and paged.

        Args:
            sort: columns and whether each descends; missing values come last, equal ones by row.
            present_only: leave out rows whose file is gone or was replaced.

        Raises:
            BadQuery, BadFilter, UnknownColumn, UnknownSelection: the request is off.
        """
        mask = self.mask(condition)
        return page_of(self.columns, self._shown(mask, present_only), sort, offset, limit, fields)

    def facets(
        self,
        condition: Filter | None,
        columns: Sequence[str],
        *,
        ignore_own: bool = False,
        top: int = TOP,
        bins: int = BINS,
        present_only: bool = True,
    ) -> list[Facet]:
        """How often each value occurs among the rows that a filter lets through; of numbers a histogram.

        Args:
            ignore_own: count a column as if the filter did not ask for it, so that one sees what else there is; the
                conditions dropped are those joined by and that read that column alone.
            top: values listed; the rest is counted as other.
            bins: of a histogram.

        Raises:
            BadQuery, BadFilter, UnknownColumn, UnknownSelection: the request is off.
        """
        if len(columns) > MAX_FACETS or not 1 <= top <= MAX_K or not 1 <= bins <= MAX_K:
            raise BadQuery(
                f"{len(columns)} columns, {top} values, {bins} bins; expected up to {MAX_FACETS}, {MAX_K} and {MAX_K}"
            )
        self.columns.load(columns)  # in one query
        found = []
        for name in columns:
            kept = without(condition, name) if ignore_own and condition is not None else condition
            mask = self._shown(self.mask(kept), present_only)
            found.append(facet_of(self.columns, mask, name, top=top, bins=bins))
        return found

    def _shown(self, mask: BoolArray, present_only: bool) -> BoolArray:
        return mask & self.columns.present() if present_only else mask

    def _digest(self, example: Example) -> str | None:
        """Of the file, or of the row's; none for a part of a picture."""
        if example.box is not None:
            return None
        if example.image is not None:
            return quality.digest(example.image)
        if not self.columns.has("digest"):
            return None
        value = self.columns.take([int(example.row or 0)], ["digest"])[0]["digest"]
        return None if value is None else str(value)

    def _phash(self, example: Example) -> int:
        """Perceptual hash of the picture or of the part of it."""
        if example.image is not None:
            pixels = images.decode(example.image, limits=self.pictures.limits, exact=example.box is not None).pixels
        elif example.box is not None:
            pixels = self.pictures.pixels(int(example.row or 0))
        else:
            return int(self.columns.take([int(example.row or 0)], ["phash"])[0]["phash"] or 0)
        return int(quality.perceptual_hash(pixels if example.box is None else crop(pixels, example.box)))

    def _plan(self, request: Request, mask: BoolArray | None) -> Plan:
        space = self.space(request.space)
        likes = resolve(request.positives, space, self.pictures, self.state, "positives")
        dislikes = resolve(request.negatives, space, self.pictures, self.state, "negatives")
        mean = space.mean if request.centred else None
        how, directions, probe = directions_of(request, space, likes, dislikes)
        return Plan(
            request, space, how, Scorer(directions, mean), self._subset(space, request.filter, mask),
            np.union1d(likes.positions, dislikes.positions), probe, as_scored(space, likes.vectors, request.centred),
        )  # fmt: skip

    def _subset(self, space: Space, condition: Filter | None, mask: BoolArray | None) -> Subset | None:
        if condition is None and mask is None:
            return None
        allowed = self.mask(condition)
        if mask is not None:
            return space.subset(allowed & mask)
        return space.subset(allowed, condition if condition is not None and is_fixed(condition) else None)

    def _answer(self, plan: Plan, first: Block | None) -> Answer:
        request, space = plan.request, plan.space
        walk = space.walk(plan.scorer, plan.subset, plan.left_out, first)
        rows = ((space.rows[at], plan.score(similarity)) for at, similarity in walk)
        wanted = request.offset + request.k + 1  # one more tells whether there is another page
        if request.group_by is None:
            hits = _first_hits(rows, wanted, request.min_similarity)
        else:
            hits = self._group_hits(rows, wanted, plan)
        is_exact = space.is_exact(plan.scorer, plan.subset)
        kind = space.index.kind if space.index.kind == "flat" or not is_exact else "exact"
        recall = space.recall(plan.scorer, plan.subset)
        page = self._with_similarity(hits[request.offset : request.offset + request.k], plan)
        page = with_boxes(page, space, plan.scorer)
        return self._finished(page, request, plan.how, space.name, kind, recall, len(hits) >= wanted, space.note)

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

    def _with_similarity(self, page: list[Hit], plan: Plan) -> list[Hit]:
        """With a probe the similarity is the largest cosine to a positive; otherwise it is what was ranked by."""
        if plan.probe is None or not page:
            return page
        at = plan.space.embeddings.positions_of(np.asarray([hit.row for hit in page], np.int64))
        near = plan.space.exact(Scorer(plan.likes, plan.scorer.mean), at)
        return [replace(hit, similarity=float(value)) for hit, value in zip(page, near, strict=True)]

    def _group_hits(self, rows: Iterator[Block], wanted: int, plan: Plan) -> list[Hit]:
        """One hit for each group, best first; compares everything where the nearest hold too few groups."""
        space, groups = plan.space, groups_of(self.columns, str(plan.request.group_by))
        allowed = space.rows if plan.subset is None else space.rows[plan.subset.allowed.positions]
        sizes = np.bincount(groups.codes[allowed], minlength=groups.n)

        def everything() -> tuple[Block, IntArray]:
            codes = groups.codes[space.rows]
            (at, near), members = space.best_of_each(plan.scorer, plan.subset, plan.left_out, codes)
            return (space.rows[at], plan.score(near)), members

        wanted = min(wanted, int(np.count_nonzero(sizes)))
        best = best_of_groups(rows, groups, wanted, plan.request.min_similarity, everything)
        return [
            Hit(row, score, score, group=_plain(groups.names[code]), group_seen=best.members[code],
                group_size=int(sizes[code]))
            for row, score, code in zip(best.rows, best.similarity, best.codes, strict=True)
        ]  # fmt: skip

    def _by_tags(self, request: Request, mask: BoolArray | None) -> Answer:
        space = self.workspace.space(request.space)
        model = model_of(self.workspace, space)
        texts = [str(example.text) for example in request.positives]
        scores, note = tagging.tag_scores(self.workspace, self.columns, texts, space, model)
        allowed = self.columns.present() & self.mask(request.filter)
        rows = tagging.in_order(scores, allowed if mask is None else allowed & mask)
        if request.min_similarity is not None:
            rows = rows[scores[rows] >= request.min_similarity]
        end = request.offset + request.k
        page = [Hit(row, float(scores[row]), float(scores[row])) for row in rows[request.offset : end].tolist()]
        return self._finished(page, request, "tags", space, "tags", 1.0, len(rows) > end, note)


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


def _first_blocks(plans: Sequence[Plan]) -> list[Block | None]:
    """The first block of each walk that an index answers by plain cosine, found in one call for all that share it."""
    blocks: list[Block | None] = [None] * len(plans)
    shared: dict[tuple[int, int], list[int]] = {}
    for at, plan in enumerate(plans):
        is_plain = plan.scorer.mean is None and len(plan.scorer.directions) == 1 and len(plan.left_out) <= FEW_LEFT_OUT
        if is_plain and not plan.space.is_exact(plan.scorer, plan.subset):
            shared.setdefault((id(plan.space), id(plan.subset)), []).append(at)
    for members in shared.values():
        of = plans[members[0]]
        directions = np.concatenate([plans[at].scorer.directions for at in members])
        found = of.space.first_blocks(directions, of.subset, [plans[at].left_out for at in members])
        for at, block in zip(members, found, strict=True):
            blocks[at] = block
    return blocks


def _first_hits(rows: Iterator[Block], wanted: int, floor: float | None) -> list[Hit]:
    hits: list[Hit] = []
    for found, score in rows:
        reach = np.ones(len(found), np.bool_) if floor is None else score >= floor
        values = zip(found[reach].tolist(), score[reach].tolist(), strict=True)
        hits += [Hit(row, value, value) for row, value in values]
        if len(hits) >= wanted or not reach.all():
            break
    return hits[:wanted]


def _plain(value: Any) -> Any:
    from curator.searching.columns import plain

    return plain(value.item() if isinstance(value, np.generic) else value)


def _fixed(mask: BoolArray) -> BoolArray:
    mask.flags.writeable = False
    return mask
