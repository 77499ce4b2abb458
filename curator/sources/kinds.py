"""Which files can be read, told by their suffix alone."""

from __future__ import annotations

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
    )
)
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv")
)
TABLE_SUFFIXES = frozenset((".csv", ".tsv", ".parquet", ".jsonl", ".ndjson"))
TAR_SUFFIX = ".tar"
PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def suffix_of(name: str) -> str:
    """Lower-case suffix with its dot, `.tar.gz` whole, empty when there is none."""
    lower = name.lower()
    for packed in PACKED_TARS:
        if lower.endswith(packed):
            return packed
    stem, dot, suffix = lower.rpartition("/")[2].rpartition(".")
    return f".{suffix}" if dot and stem else ""


def is_image(path: str) -> bool:
    """True when the suffix is that of an image."""
    return suffix_of(path) in IMAGE_SUFFIXES


def is_video(path: str) -> bool:
    """True when the suffix is that of a video."""
    return suffix_of(path) in VIDEO_SUFFIXES


def is_table(path: str) -> bool:
    """True when the suffix is that of a table."""
    return suffix_of(path) in TABLE_SUFFIXES
