"""Folders, videos, tables, tars and URLs -> samples; and samples -> bytes.

Knows where pictures come from and what is told about them; opens no picture.
Everything goes through one small interface over the local disk and fsspec, so
a path, `file://`, `memory://` and `s3://` behave alike.

    kinds.py     which suffix is what
    stores.py    the local disk and fsspec behind the same verbs; paths, URLs, names that are not UTF-8
    facts.py     labels, split and metadata as typed scalars
    folders.py   the walk
    tables.py    CSV, Parquet, JSON lines
    sidecar.py   metadata joined by file name
    archives.py  members of tars
    videos.py    frames of clips
    reading.py   bytes of a sample, a local path for a video
    options.py   what a scan is asked for, and what it met
    scanning.py  all of these together
"""

from __future__ import annotations

from curator.sources.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_table, is_video
from curator.sources.options import ScanOptions, ScanReport
from curator.sources.reading import local_path, read_bytes, size_and_time
from curator.sources.scanning import Known, Scan, scan

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Known",
    "Scan",
    "ScanOptions",
    "ScanReport",
    "is_table",
    "is_video",
    "local_path",
    "read_bytes",
    "scan",
    "size_and_time",
]
