"""The workspaces under the root, each held open at its newest snapshot.

A publish by any process is seen by the manifest's time stamp at the next
request. What did not change is shared with the new snapshot; when vectors
changed they are loaded by a thread of their own while the old snapshot goes on
answering, so no request waits for a swap and none is dropped.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from curator import images
from curator.errors import CuratorError
from curator.searching import Served, open_served
from curator.state import State, open_state
from curator.workspace import MANIFEST, Workspace, open_workspace
from service.metrics import Metrics
from service.problems import NotFound
from service.settings import Settings

logger = logging.getLogger("curator.service")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Stamp = tuple[int, int, int]
T = TypeVar("T")


@dataclass(slots=True)
class _Held:
    """One workspace as it is held."""

    served: Served
    stamp: Stamp
    loading: threading.Thread | None = None


@dataclass(slots=True)
class _Place:
    """What belongs to one name; the lock is held while it is first opened."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: _Held | None = None
    state: State | None = None
    told: dict[Callable[[Workspace], Any], tuple[Stamp, Any]] = field(default_factory=dict)


class Registry:
    """Names to open workspaces; shared by all threads."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.root = settings.root.resolve()
        self.metrics = metrics
        self.is_single = (self.root / MANIFEST).exists()
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Every workspace under the root, in order; a broken one too."""
        if self.is_single:
            return [self.root.name]
        found = (path.parent.name for path in self.root.glob(f"*/{MANIFEST}"))
        return sorted(name for name in found if NAME.fullmatch(name) and self._is_inside(self.root / name))

    def path(self, name: str) -> Path:
        """Folder of a workspace.

        Raises:
            NotFound: there is no workspace of that name.
        """
        folder = self.root if self.is_single and name == self.root.name else self.root / name
        is_there = NAME.fullmatch(name) and self._is_inside(folder) and (folder / MANIFEST).exists()
        if not is_there or (self.is_single and folder != self.root):
            raise NotFound(f"no workspace {name[:64]!r}", "GET /v1/workspaces lists all")
        return folder

    def new_path(self, name: str) -> Path:
        """Folder that a new workspace of that name would have.

        Raises:
            NotFound: the name cannot be one, or the server serves a single workspace.
        """
        if self.is_single:
            raise NotFound("this server serves a single workspace", "start it on a folder of workspaces to make more")
        if not NAME.fullmatch(name) or not self._is_inside(self.root / name):
            raise NotFound(f"{name[:64]!r} cannot be a workspace's name", "letters, digits, dot, dash and underscore")
        return self.root / name

    def workspace(self, name: str) -> Workspace:
        """The newest snapshot, without its vectors."""
        return open_workspace(self.path(name))

    def told(self, name: str, what: Callable[[Workspace], T]) -> T:
        """What a function makes of the newest snapshot and nothing else, worked out once for each."""
        stamp, told = _stamp(self.path(name)), self._place(name).told
        found = told.get(what)
        if found is None or found[0] != stamp:
            found = told[what] = (stamp, what(self.workspace(name)))
        answer: T = found[1]
        return answer

    def served(self, name: str) -> Served:
        """The snapshot that answers searches: the newest one whose vectors are loaded."""
        folder = self.path(name)
        place = self._place(name)
        held = place.held
        stamp = _stamp(folder)
        if held is not None and held.stamp == stamp:
            return held.served
        with place.lock:
            if place.held is None:
                limits = images.Limits(
                    max_pixels=self.settings.max_upload_pixels, max_file_bytes=self.settings.max_file_bytes
                )
                served = open_served(
                    open_workspace(folder), self.state(name), limits=limits, may_fetch=self.settings.fetch_urls
                )
                place.held = _Held(served, stamp)
                self._measure(name, served)
            elif place.held.stamp != stamp and place.held.loading is None:
                self._renew(name, place, place.held, folder, stamp)
            return place.held.served

    def state(self, name: str) -> State:
        """What people decided about a workspace."""
        folder, place = self.path(name), self._place(name)
        with self._lock:
            if place.state is None:
                place.state = open_state(folder, create=False)
            return place.state

    def measure(self) -> None:
        """Bring the numbers of what is held up to date; spaces are loaded when first searched."""
        for name, place in list(self._places.items()):
            if place.held is not None:
                self._measure(name, place.held.served)

    def close(self) -> None:
        """Let go of everything."""
        for place in self._places.values():
            if place.state is not None:
                place.state.close()
        self._places.clear()

    def _renew(self, name: str, place: _Place, held: _Held, folder: Path, stamp: Stamp) -> None:
        """Swap to the newest snapshot: at once where its vectors are those held, else when they are loaded."""
        newest = held.served.successor(open_workspace(folder))
        if newest.is_warm_like(held.served):
            place.held = _Held(newest, stamp)
            self._measure(name, newest)
            return

        def load() -> None:
            try:
                newest.warm_like(held.served)
                place.held = _Held(newest, stamp)
                self._measure(name, newest)
                logger.info("%s: snapshot %d is served", name, newest.sequence)
            except CuratorError as error:
                logger.error("%s: snapshot %d cannot be served: %s", name, newest.sequence, error)
                held.stamp = stamp  # not tried again before the next publish
                held.loading = None

        held.loading = threading.Thread(target=load, name=f"load {name}", daemon=True)
        held.loading.start()

    def _measure(self, name: str, served: Served) -> None:
        self.metrics.index_bytes.labels(name).set(served.size_bytes)
        self.metrics.index_vectors.labels(name).set(served.n_vectors)

    def _place(self, name: str) -> _Place:
        with self._lock:
            return self._places.setdefault(name, _Place())

    def _is_inside(self, folder: Path) -> bool:
        """Whether a folder lies under the root after links are followed."""
        return folder.resolve().is_relative_to(self.root)


def _stamp(folder: Path) -> Stamp:
    stat = (folder / MANIFEST).stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
