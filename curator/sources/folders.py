"""Files below a folder, in an order that never changes.

Names are sorted; hidden ones are left out. Each folder is visited once however
many links lead to it, and linked folders come last, so that a file is known by
its own name and adding a link renames nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator

from curator.sources.stores import Entry, Store


def walk(store: Store, root: str, *, recursive: bool, visited: set[Hashable]) -> Iterator[Entry]:
    """Files below `root`, unmeasured; a folder that cannot be listed comes as an entry with its fault.

    Args:
        visited: keys of folders already walked; grows, so that several sources share it.
    """
    waiting = deque([Entry("", root, is_folder=True)])
    while waiting:
        pending = [waiting.popleft()]
        while pending:
            entry = pending.pop()
            if not entry.is_folder:
                yield entry
                continue
            try:
                key = store.folder_key(entry.path)
                if key in visited:
                    continue
                visited.add(key)
                found = store.entries(entry.path)
            except OSError as error:
                yield entry._replace(fault=error)
                continue
            found = sorted(item for item in found if item.name and not item.name.startswith("."))
            folders = [item for item in found if item.is_folder and recursive]
            waiting.extend(item for item in folders if item.is_link)
            pending.extend(item for item in reversed(found) if not item.is_folder or (recursive and not item.is_link))
