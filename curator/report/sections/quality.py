"""How good the pictures are, and what a person should look at."""

from __future__ import annotations

from collections.abc import Sequence

from curator.report import charts, words
from curator.report.checks import Issues
from curator.report.markup import Html, h, join
from curator.report.numbers import Extreme, Fault, Measure, Report
from curator.report.pictures import Pictures
from curator.report.sections.parts import Section, missing, table, tile, uri

EXTREMES = 8
TRIMMED = 48
FAULTS_OPEN, FAULTS_LISTED = 25, 1_000


def quality(report: Report, pictures: Pictures) -> Section:
    """Distributions of the measures, and the images at their ends."""
    found = report.quality
    if found is None:
        what = "No quality measures yet: they are taken when images are decoded."
        return Section("quality", "Quality", missing(report, what, "embed"))
    intro = (
        f"Measured on {report.count(found.n)} while decoding. Half lie below the median; one in twenty lies below the "
        "lower and one in twenty above the upper value."
    )
    return Section(
        "quality",
        "Quality",
        join(
            h("p", intro, class_="muted"),
            h("div", [_measure(measure) for measure in found.measures], class_="measures"),
            [_extreme(extreme, pictures) for extreme in found.extremes],
            _issues(report, found.issues) if found.issues else None,
        ),
    )


def _issues(report: Report, found: Issues) -> Html:
    """What is wrong with how many, each by its rule, and the formulas of the scores."""
    rows = [(h("b", issue.name.replace("_", " ")), f"{issue.count:,}", issue.rule) for issue in found.kinds]
    scores = [h("li", h("code", column), f" = {formula}") for column, formula in found.scores]
    return join(
        h("h3", "Issues"),
        h(
            "p",
            f"{found.n_flagged:,} of {report.count(found.n)} have at least one. Issues are told, not acted on; filter "
            "by them with ",
            h("code", "--where \"list_contains(issues, 'blurry')\""),
            ".",
        ),
        table(("Issue", f"{report.noun.capitalize()}s", "When"), rows, label="Issues", numeric=(1,)),
        h("ul", scores, class_="plain"),
    )


def _measure(m: Measure) -> Html:
    title = m.name.replace("_", " ").capitalize()
    meaning = m.definition[:1].upper() + m.definition[1:].rstrip(".") + (f" ({m.unit})" if m.unit else "")
    spread = f"median {words.number(m.median)}, 90% from {words.number(m.low)} to {words.number(m.high)}"
    limit = None
    if m.limit is not None:
        limit = h("p", f"Limit {words.number(m.limit)}: {m.n_excluded:,} not offered for selection.", class_="about")
    return h(
        "div",
        h("h3", title),
        h("p", meaning, class_="about muted"),
        charts.histogram(m, describe=f"{title}: {spread}"),
        h("p", spread[0].upper() + spread[1:], class_="about"),
        limit,
        class_="measure",
    )


def _extreme(extreme: Extreme, pictures: Pictures) -> Html:
    tiles = [
        tile(pictures, item.row, item.uri, words.number(item.value), role=extreme.title)
        for item in extreme.items[:EXTREMES]
    ]
    heading = h("h3", extreme.title, " ", h("span", f"by {extreme.measure.replace('_', ' ')}", class_="muted"))
    return h("div", heading, h("ul", tiles, class_="strip"), class_="group")


# -- for a person to look at -------------------------------------------------------------------------------------


def review(report: Report, pictures: Pictures) -> Section:
    """Outliers put aside, and what could not be read."""
    return Section("review", "For you to look at", join(_trimmed(report, pictures), _unreadable(report)))


def _trimmed(report: Report, pictures: Pictures) -> Html:
    chosen, heading = report.selection, h("h3", "Outliers")
    if chosen is None:
        return join(heading, missing(report, "Outliers are put aside when a selection is made.", "select"))
    if not chosen.trimmed:
        why = f"method {chosen.method} puts none aside" if chosen.trim_share is None else "none were found"
        return join(heading, h("p", f"The review list is empty: {why}."))
    more = len(chosen.trimmed) - TRIMMED
    tiles = [
        tile(pictures, t.row, t.uri, *([] if t.distance is None else [f"{t.distance:.3f}"]), role="outlier")
        for t in chosen.trimmed[:TRIMMED]
    ]
    intro = (
        "Far from everything else: junk, or the rare case you were hoping for. Kept away from the selection, not lost."
    )
    if any(t.distance is not None for t in chosen.trimmed):
        intro += " The number is the distance (1 − cosine) to the neighbours."
    return join(
        h("h3", f"Outliers ({len(chosen.trimmed):,})"),
        h("p", intro, class_="muted"),
        h("ul", tiles, class_="strip"),
        h("p", f"{more:,} more are in report.json.", class_="muted") if more > 0 else None,
    )


def _unreadable(report: Report) -> Html:
    found, n = report.unreadable, report.funnel.unreadable
    skipped = ", ".join(f"{extension or 'no extension'} {count:,}" for extension, count in found.skipped.items())
    passed = h("p", f"Files passed over at scan, by extension: {skipped}.", class_="muted small") if skipped else None
    if not n:
        return join(h("h3", "Unreadable"), h("p", "Everything found could be read."), passed)
    classes = [h("li", h("b", _class(c.reason)), f", {c.count:,}: {c.meaning}") for c in found.classes]
    first, rest = found.faults[:FAULTS_OPEN], found.faults[FAULTS_OPEN:FAULTS_LISTED]
    more = n - len(first) - len(rest)
    return join(
        h("h3", f"Unreadable ({n:,})"),
        h("ul", classes, class_="plain") if classes else None,
        _faults(first) if first else None,
        h("details", h("summary", f"{len(rest):,} more"), _faults(rest)) if rest else None,
        h("p", f"{more:,} more are in the workspace.", class_="muted") if more > 0 else None,
        passed,
    )


def _faults(faults: Sequence[Fault]) -> Html:
    rows = [(f.row, uri(f.uri, longest=60), h("span", _class(f.reason), class_="whole"), f.message) for f in faults]
    return table(("Row", "File", "Reason", "In its own words"), rows, label="Unreadable files", numeric=(0,))


def _class(reason: str) -> str:
    return reason.replace("_", " ")
