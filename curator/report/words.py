"""Numbers and names as a reader sees them: separators everywhere alike, units, no false precision."""

from __future__ import annotations

import math
import posixpath


def share(part: float, whole: float) -> str:
    """`part` of `whole` as a percentage; never 0% for something, never 100% for less than all."""
    return percent(part / whole) if whole else "0%"


def percent(value: float) -> str:
    """A share 0..1 as a percentage."""
    if not math.isfinite(value):
        return "–"
    if value in (0, 1):
        return f"{100 * value:.0f}%"
    if 0 < value < 0.001:
        return "<0.1%"
    if 0.999 < value < 1:
        return ">99.9%"
    return f"{100 * value:.1f}%"


def cosine(value: float | None) -> str:
    """A similarity, rounded down so that it never seems to reach a threshold it misses."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{math.floor(value * 1e4 + 1e-6) / 1e4:.4f}"


def mean(value: float) -> str:
    """A mean similarity, three digits behind the point."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def number(value: float) -> str:
    """A measured value with three significant digits, or none behind the point from 100 on."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def duration(seconds: float) -> str:
    """A time in the unit that fits."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def size(n_bytes: int) -> str:
    """A size in decimal units."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.1f} {unit}"
    return f"{n_bytes:,} bytes"


def amount(value: float, unit: str) -> str:
    """A value in "h", "s" or "bytes"; any other unit is a currency."""
    if unit == "bytes":
        return size(int(value))
    if unit == "s":
        return duration(value)
    if unit == "h":
        return f"{value:,.1f} h"
    return f"{value:,.2f} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def name(uri: str, *, longest: int = 34) -> str:
    """The end of a URI: folder and file where both fit, else the file, shortened in the middle."""
    folder, _, tail = uri.rstrip("/").rpartition("/")
    parent = posixpath.basename(folder)
    if parent and len(parent) + 1 + len(tail) <= longest:
        return f"{parent}/{tail}"
    if len(tail) <= longest:
        return tail
    return f"{tail[: longest // 2 - 1]}…{tail[-(longest - longest // 2) :]}"
