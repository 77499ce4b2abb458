"""What is known of a file besides its pixels: labels, split, metadata.

Facts come from folder names, table rows, sidecar rows and the members beside
an image in a tar; all end as the same typed scalars.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from curator.data import Scalar
from curator.sources.stores import clean

LABEL_COLUMNS = ("labels", "label", "class_name", "class")  # the first one present gives the labels
SPLIT_COLUMN = "split"
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels, split and metadata of one file."""

    labels: tuple[str, ...] = ()
    split: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def under(self, other: Facts | None) -> Facts:
        """These facts where `other` says nothing."""
        if other is None:
            return self
        return Facts(other.labels or self.labels, other.split or self.split, {**self.metadata, **other.metadata})


NOTHING = Facts()


def facts_of(record: Mapping[str, Any]) -> Facts:
    """Facts of one record: its label and split columns recognised, the rest metadata."""
    label_column, split_column = label_column_of(record), split_column_of(record)
    rest = {clean(str(k)): scalar(v) for k, v in record.items() if k not in (label_column, split_column) and str(k)}
    labels = () if label_column is None else labels_of(record[label_column], column=label_column)
    return Facts(labels, None if split_column is None else split_of(record[split_column]), rest)


def folder_facts(relative: str, *, root: str, labels: bool, splits: bool) -> Facts:
    """Facts from the folders on the way to a file.

    Args:
        relative: path below the source, the file's own name last.
        root: name of the source folder, asked for a split when no folder below it names one.
        labels: the folder that holds the file is its label, unless it names the split.
        splits: the first folder called train, val, test or the like is its split.
    """
    folders = relative.split("/")[:-1]
    split_folder = next((name for name in folders if name.lower() in SPLITS), None) if splits else None
    split = SPLITS.get((split_folder or root).lower()) if splits else None
    label = folders[-1] if labels and folders and folders[-1] != split_folder else ""
    return Facts((clean(label),) if label else (), split)


def label_column_of(columns: Iterable[str]) -> str | None:
    """The column that holds the labels."""
    return _column(columns, LABEL_COLUMNS)


def split_column_of(columns: Iterable[str]) -> str | None:
    """The column that holds the split."""
    return _column(columns, (SPLIT_COLUMN,))


def labels_of(value: Any, *, column: str) -> tuple[str, ...]:
    """Labels of one cell, without repeats.

    A list gives one each, and so does a JSON list in text. Text in a column
    called `labels` is divided at `;` and `|`; in any other it is one label.
    """
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):  # a label may begin with a bracket
            value = json.loads(value)
    if isinstance(value, str) and column.lower() == "labels":
        value = value.replace("|", ";").split(";")
    cells = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(text for cell in cells if (text := _label(cell))))


def split_of(value: Any) -> str | None:
    """A split by its usual name, or as it stands when it has another one."""
    text = _label(value)
    return SPLITS.get(text.lower(), text) or None


def scalar(value: Any) -> Scalar:
    """A value as a typed scalar: NaN and infinities are None, times ISO text, lists and mappings JSON text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in _INT64 else str(value)
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return clean(value) or None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _label(value: Any) -> str:
    """One label as text: numbers without a needless `.0`, nothing for None and NaN."""
    value = scalar(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def _column(columns: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    by_name = {str(column).strip().lower(): column for column in columns}
    return next((by_name[name] for name in wanted if name in by_name), None)
