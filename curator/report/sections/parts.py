"""What several sections are made of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from curator.report import words
from curator.report.markup import Html, h, join, raw
from curator.report.numbers import Report
from curator.report.pictures import Pictures


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a place in its contents."""

    id: str
    title: str
    body: Html


def missing(report: Report, what: str, stage: str) -> Html:
    """A section's place while its stage has not run."""
    return h("div", h("p", what, " Bring it with"), command(report, stage), class_="missing")


def command(report: Report, verb: str, *rest: str) -> Html:
    """A line to paste into a terminal."""
    return h("p", h("code", " ".join(["curator", verb, *rest, "-w", shlex.quote(report.path)])), class_="command")


def uri(text: str, *, longest: int = 34) -> Html:
    """A file by its short name, the whole of it on hover; isolated, so that its script cannot turn the line around."""
    return h("bdi", words.name(text, longest=longest), title=text)


def tile(pictures: Pictures, row: int, text: str, *notes: object, role: str, class_: str | None = None) -> Html:
    """A small picture in a strip with a few words below it."""
    return h(
        "li",
        pictures.show(row, f"{role}: {words.name(text)}"),
        [h("p", note) for note in notes],
        h("p", uri(text, longest=18), class_="muted"),
        class_=class_,
    )


def lines(text: str) -> list[Html]:
    """Text whose line breaks are meant."""
    return [join(line, raw("\n")) for line in text.splitlines()]


def figures(entries: Sequence[tuple[str, object, str]]) -> Html:
    """Title, value and meaning, in boxes."""
    boxes = [
        h("div", h("dt", title), h("dd", value, class_="value"), h("dd", meaning, class_="sub"))
        for title, value, meaning in entries
    ]
    return h("dl", boxes, class_="boxes")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, label: str, numeric: Sequence[int] = ()) -> Html:
    """A table in a box that scrolls sideways where it must.

    Args:
        head: titles of the columns.
        rows: one cell per column.
        label: what the table is, for those who do not see it.
        numeric: columns set flush right.
    """
    flush = dict.fromkeys(numeric, "num")
    top = h("tr", [h("th", title, scope="col", class_=flush.get(i)) for i, title in enumerate(head)])
    body = [h("tr", [h("td", value, class_=flush.get(i)) for i, value in enumerate(row)]) for row in rows]
    return scrolling(h("table", h("caption", label, class_="sr"), h("thead", top), h("tbody", body)), label=label)


def scrolling(inner: Html, *, label: str) -> Html:
    """A box that scrolls sideways, by keys too."""
    return h("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)
