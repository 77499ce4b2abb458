"""The document around the sections, and the two files of a report.

One page, everything inside: styles, pictures as data URIs, a few lines of
script that only open folded parts for printing. A content security policy in
the page itself forbids every request, so a slip in the markup cannot make one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from curator.disk import atomic_write, put_bytes
from curator.report import sections
from curator.report.markup import Html, h, raw
from curator.report.numbers import Map, Report
from curator.report.pictures import Pictures
from curator.report.sections import Section

_STYLE = "style.css"
_SCRIPT = "script.js"


def render(report: Report, thumbnails: Mapping[int, bytes]) -> str:
    """The page as one self-contained string.

    Args:
        report: all numbers; what is None becomes a line that names the command.
        thumbnails: encoded WebP, JPEG or PNG by row; `rows_shown` tells which are wanted. Missing ones are said so.
    """
    pictures = Pictures(thumbnails)
    return "<!doctype html>\n" + _document(report, _sections(report, pictures), pictures)


def rows_shown(report: Report) -> list[int]:
    """Rows whose thumbnails the page can show, ascending; a few hundred at most."""
    pictures = Pictures(None)
    _sections(replace(report, map=_medoids_only(report)), pictures)
    return pictures.rows


def write(report: Report, thumbnails: Mapping[int, bytes], folder: Path) -> Path:
    """Write report.json and index.html into `folder`, each completely or not at all.

    Returns:
        Path of index.html.

    Raises:
        CannotWrite: disk full, read-only or no permission; an older report stays as it was.
    """
    page = render(report, thumbnails).encode()
    numbers = json.dumps(report.to_dict(), indent=1, allow_nan=False).encode()  # ASCII: any file name survives
    atomic_write(folder / "report.json", lambda file: put_bytes(file, numbers))
    atomic_write(folder / "index.html", lambda file: put_bytes(file, page))
    return folder / "index.html"


def _sections(report: Report, pictures: Pictures) -> list[Section]:
    parts = [
        sections.summary(report),
        sections.selection(report, pictures),
        sections.evidence(report),
        sections.duplicates(report, pictures),
        sections.structure(report, pictures),
        sections.quality(report, pictures),
        sections.splits(report),
        sections.review(report, pictures),
        sections.saved(report),
        sections.making(report),
    ]
    return [part for part in parts if part is not None]


def _medoids_only(report: Report) -> Map | None:
    """The map without its crowd: it asks for the same pictures and takes no time to draw."""
    if report.map is None or report.clusters is None:
        return None
    map_ = report.map
    there = np.isin(map_.rows, [row for cluster in report.clusters.rows for row in cluster.examples[:1]])
    return replace(
        map_,
        rows=map_.rows[there],
        x=map_.x[there],
        y=map_.y[there],
        cluster=map_.cluster[there],
        picked=map_.picked[there],
    )


def policy() -> str:
    """What the page may do, for a meta element or a header: its own style, script and pictures, and no request."""
    seal = base64.b64encode(hashlib.sha256(_asset(_SCRIPT).encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{seal}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _document(report: Report, parts: list[Section], pictures: Pictures) -> Html:
    style, script = _asset(_STYLE), _asset(_SCRIPT)
    head = h(
        "head",
        h("meta", charset="utf-8"),
        raw(f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="generator", content=f"Curator {report.curator_version}"),
        h("title", f"{report.workspace} – curation report"),
        h("style", raw(style)),
    )
    links = [h("li", h("a", part.title, href=f"#{part.id}")) for part in parts]
    body = h(
        "body",
        h("a", "Skip to the content", href="#content", class_="skip"),
        _masthead(report),
        h("nav", h("ul", links), aria_label="Sections"),
        h("main", [_part(part) for part in parts], id="content", tabindex=-1),
        h(
            "footer",
            h(
                "p",
                f"Made by Curator {report.curator_version} on {_day(report.created)}. This page is complete in itself: "
                "it loads nothing and sends nothing. The same numbers are in report.json beside it.",
            ),
        ),
        pictures.symbols(),
        h("script", raw(script)),
    )
    return h("html", head, body, lang="en")


def _masthead(report: Report) -> Html:
    names = [source.name for source in report.sources]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return h(
        "header",
        h("p", "Curation report", class_="kicker"),
        h("h1", report.workspace),
        h(
            "p",
            h("time", _day(report.created), datetime=report.created),
            f" · from {shown}" if names else None,
            class_="muted",
        ),
    )


def _part(part: Section) -> Html:
    heading = h("h2", part.title, id=f"{part.id}-title", class_="sr" if part.id == "summary" else None)
    return h("section", heading, part.body, id=part.id, aria_labelledby=f"{part.id}-title")


def _day(created: str) -> str:
    """Date and minute of an ISO 8601 time, its zone where it is not UTC spelled out."""
    return created[:16].replace("T", " ") + (" UTC" if created.endswith(("Z", "+00:00")) else created[19:])


def _asset(name: str) -> str:
    return resources.files("curator.report").joinpath(name).read_text(encoding="utf-8")
