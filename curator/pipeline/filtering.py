"""Which rows a selection may look at: `select.where` in SQL, `select.filter` as typed values, or both.

The one reading of the two settings; a condition on tags or collections reads
what people decided as it stands now, and the stage's fingerprint with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import filters
from curator.catalog import Catalog
from curator.config import Select
from curator.data import BoolArray, IntArray
from curator.state import open_state
from curator.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = "select.filter"


def passes(workspace: Workspace, rows: IntArray, asked: Select) -> BoolArray:
    """(n,) whether each row passes both conditions; all do where there is none.

    Raises:
        BadFilter: a condition that does not parse or does not fit its column.
        UnknownColumn, UnknownName, UnknownSelection: it names what is not there.
    """
    out = np.ones(len(rows), np.bool_)
    if asked.where:
        with Catalog(workspace) as catalog:
            out &= np.isin(rows, catalog.rows_where(asked.where))
    if asked.filter is not None:
        out &= _mask(workspace, asked.filter)[rows]
    return out


def in_words(asked: Select) -> str | None:
    """The conditions as a person wrote them; None where there is none."""
    typed = None if asked.filter is None else json.dumps(asked.filter, ensure_ascii=False)
    return " and ".join(part for part in (asked.where, typed) if part) or None


def stamp(workspace: Workspace, asked: Select) -> list[Any]:
    """What the typed filter depends on beside the columns: rows by tag, collection and selection."""
    if asked.filter is None:
        return []
    condition = filters.parse_filter(asked.filter, place=PLACE)
    if not any(isinstance(leaf, filters.Tagged | filters.Collected | filters.Selected)
               for leaf in filters.leaves(condition)):  # fmt: skip
        return []
    return [np.flatnonzero(_mask(workspace, asked.filter)).tolist()]


def _mask(workspace: Workspace, body: dict[str, Any]) -> BoolArray:
    """(n_rows,) rows for which a typed filter holds."""
    condition = filters.parse_filter(body, place=PLACE)
    with Catalog(workspace) as catalog:
        return filters.evaluate(condition, _Table(workspace, catalog))


class _Table:
    """One workspace, as a filter sees it."""

    def __init__(self, workspace: Workspace, catalog: Catalog) -> None:
        self._workspace, self._catalog = workspace, catalog
        self.n_rows = workspace.n_rows

    def column(self, name: str) -> pa.ChunkedArray:
        """One value per row."""
        return self._catalog.table(list(dict.fromkeys(["row", name])))[name]

    def tagged(self, names: Sequence[str]) -> IntArray:
        """Rows that carry any of the tags."""
        with open_state(self._workspace.path, create=False) as state:
            return state.rows_tagged(names)

    def collected(self, name: str) -> IntArray:
        """Rows of a collection."""
        with open_state(self._workspace.path, create=False) as state:
            return state.collection(name)

    def selected(self, name: str) -> IntArray:
        """Rows of a selection."""
        return self._workspace.selection(name).rows
