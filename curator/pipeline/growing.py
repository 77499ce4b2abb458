"""Whether a stage may go on from its last result, or has to begin again.

A result is kept with what it was made from: its settings by name, and a digest of what each of its
rows held. Where the settings are the same and the first rows still hold the same, all that happened
since is that rows were appended, and the stage may leave those rows as they are. Anything else, a
changed setting or a row that went, came back or changed, asks for a full pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.config import Config
from curator.data import IntArray
from curator.snapshot import fingerprint
from curator.workspace import Workspace

TWICE = (
    2.0  # what was shaped by its rows is shaped anew at twice as many: all full passes together cost two of the last
)


@dataclass(frozen=True, slots=True)
class Growth:
    """How far a stage may go on from its last result."""

    n: int  # rows now
    n_old: int  # rows of the last result that stand as they are; 0 asks for a full pass
    n_full: int  # rows of the last full pass, which may be this one
    why: str  # why a full pass; empty where rows are appended
    meta: Mapping[str, Any]  # to be kept beside the new result

    @property
    def is_full(self) -> bool:
        """Whether the stage has to begin again."""
        return self.n_old == 0

    def counts(self) -> dict[str, Any]:
        """Which of the two happened, for the stage's counts."""
        if self.n == self.n_full:
            return {"pass": "full", "why": self.why or "as it was"}
        return {"pass": "grown", "n_new": self.n - self.n_old, "n_full": self.n_full}


def growth(
    workspace: Workspace,
    key: str,
    config: Config,
    how: Mapping[str, Any],
    rows: IntArray,
    *held: np.ndarray[Any, Any],
    until: float | None = None,
    never: str = "",
) -> Growth:
    """Decide by the result under `key` whether only rows were appended since it was made.

    Args:
        how: settings by the name a person knows them by; plain values.
        rows: (n,) identities, increasing.
        held: (n, ...) arrays the result depends on row by row. Those of the first rows must not
            depend on the later ones.
        until: full pass beyond this many times the rows of the last one; none: never for that.
        never: why this stage cannot grow at all, in words; empty where it can.
    """
    settings = {name: fingerprint(value) for name, value in how.items()}
    entries = workspace.entries(key)
    last: Mapping[str, Any] = entries[0].meta.get("made", {}) if entries else {}
    n_old, n = int(last.get("n", 0)), len(rows)
    before, now = _digests((rows, *held), min(n_old, n))
    if not entries:
        why = "first pass"
    elif not config.grow:
        why = "a full pass was asked for"
    elif never:
        why = never
    elif n_old == 0:
        why = "the result before does not say what it was made from"
    elif changed := sorted(name for name in {*settings, *last["how"]} if settings.get(name) != last["how"].get(name)):
        why = f"changed: {', '.join(changed)}"
    elif n < n_old or before != last["held"]:
        why = "rows before the appended ones went, came back or changed"
    elif until is not None and n > until * int(last["n_full"]):
        why = f"{n:,} rows are more than {until:g} times the {int(last['n_full']):,} of the last full pass"
    else:
        why = ""
    n_full = n if why else int(last["n_full"])
    made = {"how": settings, "n": n, "held": now, "n_full": n_full}
    return Growth(n, 0 if why else n_old, n_full, why, {"made": made})


def _digests(arrays: tuple[np.ndarray[Any, Any], ...], n_old: int) -> tuple[str, str]:
    """One digest of the first `n_old` places of all arrays, and one of all places."""
    first, whole = hashlib.sha256(), hashlib.sha256()
    for array in arrays:
        state = hashlib.sha256(f"{array.dtype} {array.shape[1:]}".encode())
        state.update(np.ascontiguousarray(array[:n_old]).data)
        first.update(state.digest())
        state.update(np.ascontiguousarray(array[n_old:]).data)
        whole.update(state.digest())
    return first.hexdigest()[:32], whole.hexdigest()[:32]
