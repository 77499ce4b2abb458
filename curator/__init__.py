"""Curator: from raw footage to a justified list of frames to label.

    import curator
    run = curator.run(["footage/"], "street-scenes", curator.load_config(overrides=["select.budget=200"]))
    ws = curator.open("street-scenes")
    ws.selection("selection").rows

Names are imported when first used, so that `import curator` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curator.version import __version__

if TYPE_CHECKING:
    from curator.catalog import Catalog as Catalog
    from curator.client import Client as Client
    from curator.config import Config as Config
    from curator.config import load as load_config
    from curator.data import Embeddings as Embeddings
    from curator.data import Neighbors as Neighbors
    from curator.data import Sample as Sample
    from curator.data import Selection as Selection
    from curator.errors import CuratorError as CuratorError
    from curator.handoff import export as export
    from curator.pipeline import run as run
    from curator.pipeline import run_one as run_one
    from curator.pipeline import verify as verify
    from curator.searching import search as search
    from curator.workspace import Workspace as Workspace
    from curator.workspace import open_workspace as open

_PUBLIC = {
    "Catalog": ("curator.catalog", "Catalog"),
    "Client": ("curator.client", "Client"),
    "Config": ("curator.config", "Config"),
    "CuratorError": ("curator.errors", "CuratorError"),
    "Embeddings": ("curator.data", "Embeddings"),
    "Neighbors": ("curator.data", "Neighbors"),
    "Sample": ("curator.data", "Sample"),
    "Selection": ("curator.data", "Selection"),
    "Workspace": ("curator.workspace", "Workspace"),
    "export": ("curator.handoff", "export"),
    "load_config": ("curator.config", "load"),
    "open": ("curator.workspace", "open_workspace"),
    "run": ("curator.pipeline", "run"),
    "run_one": ("curator.pipeline", "run_one"),
    "search": ("curator.searching", "search"),
    "verify": ("curator.pipeline", "verify"),
}

__all__ = [
    "Catalog",
    "Client",
    "Config",
    "CuratorError",
    "Embeddings",
    "Neighbors",
    "Sample",
    "Selection",
    "Workspace",
    "__version__",
    "export",
    "load_config",
    "open",
    "run",
    "run_one",
    "search",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'curator' has no attribute {name!r}; it has {', '.join(sorted(_PUBLIC))}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
