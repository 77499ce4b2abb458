"""A space whose images are found by the best of their tiles, for what is small in the frame.

Positions stay those of images, so filters, groups, pages and what is left out need to know nothing of tiles;
only what an image is ranked by differs: the largest over its tiles, compared with all of them. Examples are
made into vectors by the images' own space: a row stands for its whole picture, with a box for that part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from curator import index
from curator.data import BoolArray, Embeddings, FloatArray, IntArray
from curator.pipeline.tiling import SUFFIX, Tiles, load_tiles, widened
from curator.searching.requests import Hit
from curator.searching.spaces import EXACT_BLOCK, Scorer, Space, Subset
from curator.workspace import Workspace

TILES = "tiles"  # name of the tiles of the only or configured space
BLOCK = 128  # images whose tiles are compared at a time: about a thousand vectors, which stay in the cache


class TileSpace(Space):
    """Images by the best of their tiles; `embeddings` are those of the whole images, with tiles or without."""

    FOLLOWS = (*Space.FOLLOWS, "lengths")

    def __init__(self, embeddings: Embeddings, model: str, tiles: Tiles) -> None:
        super().__init__(embeddings, index.SearchIndex("flat", embeddings.vectors, 1.0), model)
        self.tiles = tiles  # of these images and no others
        starts = np.searchsorted(tiles.image_rows, embeddings.rows)
        self._bounds: IntArray = np.append(starts, len(tiles))  # (n + 1,) where each image's tiles start and end
        self._has: BoolArray = np.diff(self._bounds) > 0  # (n,)

    @property
    def name(self) -> str:
        """The space's name."""
        return self.embeddings.space + SUFFIX

    @property
    def note(self) -> str:
        """What an answer should say of what cannot be found."""
        n = int(np.count_nonzero(~self._has))
        return f"{n:,} images have no tiles yet and are not found; run `curator tiles`" if n else ""

    @property
    def size_bytes(self) -> int:
        """Memory of the tiles and of what recent filters left; the images' vectors are counted by their own space."""
        return self.kept_bytes + self.tiles.nbytes + self._bounds.nbytes

    @cached_property
    def mean(self) -> FloatArray:
        """(d,) of all tiles."""
        parts = (slice(at, at + EXACT_BLOCK) for at in range(0, len(self.tiles), EXACT_BLOCK))
        total = np.zeros(self.embeddings.dim)
        for part in parts:
            total += self.tiles.unit(part).sum(axis=0, dtype=np.float64)
        return np.asarray(total / max(len(self.tiles), 1), np.float32)

    @cached_property
    def lengths(self) -> FloatArray:
        """(m,) of the tiles' vectors as they are stored: 1 but for rounding."""
        parts = (widened(self.tiles.vectors[at : at + EXACT_BLOCK]) for at in range(0, len(self.tiles), EXACT_BLOCK))
        found = [np.sqrt(np.einsum("ij,ij->i", part, part)) for part in parts]
        together: FloatArray = np.concatenate([np.empty(0, np.float32), *found])
        return np.maximum(together, np.float32(1e-12))

    @cached_property
    def centred_lengths(self) -> FloatArray:
        """(m,) length of each tile's vector less the mean."""
        found = np.empty(len(self.tiles), np.float32)
        for at in range(0, len(found), EXACT_BLOCK):
            part = slice(at, at + EXACT_BLOCK)
            found[part] = np.linalg.norm(self.tiles.unit(part) - self.mean, axis=1)
        return np.maximum(found, np.float32(1e-6))

    def rough(self, scorer: Scorer, subset: Subset | None) -> FloatArray:
        """(p,) the largest over the tiles of each image that may be found, to float32 precision; -inf without any."""
        positions = np.arange(len(self)) if subset is None else subset.allowed.positions
        out = np.full(len(positions), -np.inf, np.float32)
        having = np.flatnonzero(self._has[positions])
        for at in range(0, len(having), BLOCK):
            part = having[at : at + BLOCK]
            which, starts = self._of(positions[part])
            vectors = widened(self.tiles.vectors[which])
            if scorer.mean is None:
                near = scorer.rough(vectors, self.lengths[which])
            else:
                vectors /= self.lengths[which][:, None]
                near = scorer.rough(vectors, self.centred_lengths[which])
            out[part] = np.maximum.reduceat(near, starts)
        return out

    def exact(self, scorer: Scorer, positions: IntArray) -> FloatArray:
        """(c,) the largest over the tiles of each image, in double precision and rounded."""
        if not len(positions):
            return np.empty(0, np.float32)
        which, starts = self._of(positions)
        best: FloatArray = np.maximum.reduceat(scorer.exact(self.tiles.unit(which)), starts)
        return best

    def boxes(self, scorer: Scorer, positions: IntArray) -> FloatArray:
        """(c, 4) x, y, width, height in px of the best tile of each image, the first of equal ones."""
        out = np.empty((len(positions), 4), np.float32)
        for at, position in enumerate(positions.tolist()):
            which, _ = self._of(np.asarray([position]))
            out[at] = self.tiles.boxes[self._bounds[position] + int(scorer.exact(self.tiles.unit(which)).argmax())]
        return out

    def _of(self, positions: IntArray) -> tuple[slice | IntArray, IntArray]:
        """Tiles of images, side by side; and (p,) where each image's start among them."""
        counts = self._bounds[positions + 1] - self._bounds[positions]
        starts = np.cumsum(counts) - counts
        if len(positions) and (np.diff(positions) == 1).all():  # a slice of the file reads faster than picking
            return slice(self._bounds[positions[0]], self._bounds[positions[-1] + 1]), starts
        within = np.arange(int(counts.sum())) - np.repeat(starts, counts)
        return np.repeat(self._bounds[positions], counts) + within, starts

    def _again(self) -> Space:
        return TileSpace(self.embeddings, self.model, self.tiles)


def known_space(workspace: Workspace, name: str | None) -> str:
    """A space by its name: none for the only or configured one, `tiles` for its tiles, `SPACE.tiles` for another's.

    Raises:
        UnknownSpace, StageMissing: there is no such space, or none at all.
    """
    if name is not None and name not in workspace.names("vectors"):
        if name == TILES:
            return workspace.space(None) + SUFFIX
        if name.endswith(SUFFIX):
            return workspace.space(name.removesuffix(SUFFIX)) + SUFFIX
    return workspace.space(name)


def is_tiled(workspace: Workspace, known: str) -> bool:
    """Whether a known space is one of tiles."""
    return known.endswith(SUFFIX) and not workspace.entries(f"vectors/{known}")


def model_of(workspace: Workspace, known: str) -> str:
    """The model of a known space."""
    of = known.removesuffix(SUFFIX) if is_tiled(workspace, known) else known
    return str(workspace.entries(f"vectors/{of}")[0].meta["model"])


def has_space(workspace: Workspace, known: str) -> bool:
    """Whether a space that was known in another snapshot is in this one."""
    if not is_tiled(workspace, known):
        return bool(workspace.entries(f"vectors/{known}"))
    return bool(workspace.entries(f"tiles/{known}") and workspace.entries(f"vectors/{known.removesuffix(SUFFIX)}"))


def files_of(workspace: Workspace, known: str) -> list[str]:
    """What a loaded space depends on."""
    keys = [f"vectors/{known}", f"index/{known}", "columns/presence"]
    if is_tiled(workspace, known):
        keys += [f"tiles/{known}", f"objects/{known}", f"vectors/{known.removesuffix(SUFFIX)}"]
    return [entry.file for key in keys for entry in workspace.entries(key)]


def load_tile_space(workspace: Workspace, whole: Space) -> TileSpace:
    """The tiles of a space of images.

    Raises:
        StageMissing: there are no tiles.
        DamagedWorkspace: a file is gone or broken.
    """
    tiles = load_tiles(workspace, whole.name)
    is_known = np.isin(tiles.image_rows, whole.rows)
    return TileSpace(whole.embeddings, whole.model, tiles if is_known.all() else tiles.some(is_known))


def with_boxes(page: Sequence[Hit], space: Space, scorer: Scorer) -> list[Hit]:
    """Hits with the tile that won, where tiles were searched."""
    if not isinstance(space, TileSpace):
        return list(page)
    at = space.embeddings.positions_of(np.asarray([hit.row for hit in page], np.int64))
    boxes = space.boxes(scorer, at).tolist()
    return [replace(hit, box=(x, y, wide, high)) for hit, (x, y, wide, high) in zip(page, boxes, strict=True)]
