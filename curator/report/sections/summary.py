"""What happened, for someone who reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from curator.report import charts, words
from curator.report.markup import Html, h, join
from curator.report.numbers import Funnel, Report
from curator.report.sections.parts import Section

_MARKS = {
    True: ("✓ better than random on average", "good"),
    False: ("✗ worse than random on average", "bad"),
    None: ("undecided", "plain"),
}


def summary(report: Report) -> Section:
    """Headline, key figures, verdict and funnel."""
    first, second = report.headline()
    holds = report.duplicates is None or report.duplicates.certificate.holds
    stale = report.selection_is_stale
    return Section(
        "summary",
        "Summary",
        join(
            h("p", first, class_="headline"),
            h("p", second, class_="lead" if holds else "lead bad"),
            h("p", stale, class_="note warn") if stale else None,
            _key_figures(report),
            _verdict(report),
            h("h3", f"From found to {'labelled' if report.funnel.selected is not None else 'kept'}"),
            _funnel(report),
        ),
    )


def _key_figures(report: Report) -> Html:
    funnel, n_sources = report.funnel, len(report.sources)
    sources = f"in {n_sources:,} source{'' if n_sources == 1 else 's'}" if n_sources else "in all sources"
    figures = [("Found", f"{funnel.found:,}", sources)]
    if funnel.kept is not None:
        figures += [
            _part_of_all("Duplicates removed", funnel.removed, funnel),
            _part_of_all("Kept", funnel.kept, funnel),
        ]
    if funnel.selected is not None:
        figures.append(_part_of_all("To label", funnel.selected, funnel))
    if report.savings and report.savings.items:
        item = report.savings.items[0]
        figures.append((f"{item.title} spared", words.amount(item.amount, item.unit), "at the rates below"))
    boxes = [h("div", h("dt", title), h("dd", value), h("dd", note, class_="sub")) for title, value, note in figures]
    return h("dl", boxes, class_="figures")


def _part_of_all(title: str, count: int, funnel: Funnel) -> tuple[str, str, str]:
    return title, f"{count:,}", f"{words.share(count, funnel.found)} of all"


def _verdict(report: Report) -> Html | None:
    """The one comparison everybody understands; the evidence section has the others."""
    found = report.evidence
    if found is None or not found.budgets:
        return None
    mark, kind = _MARKS[found.is_better]
    band = found.mean_similarity
    reached, chance, low, high, habit = (
        words.mean(line[-1])
        for line in (band.selected, band.random_mean, band.random_low, band.random_high, band.every_nth)
    )
    one = f"{'an' if report.noun == 'image' else 'a'} {report.noun}"
    numbers = (
        f"On average {one} resembles its nearest pick at {reached}, near-duplicates counted once. "
        f"Random picks reach {chance} (95% of draws {low} to {high}), every n-th {habit}. "
    )
    return h(
        "div",
        h("p", h("b", "Is the selection worth more than chance? "), h("span", mark, class_=f"mark {kind}")),
        h("p", numbers, h("a", "All measures", href="#evidence", class_="whole")),
        class_=f"verdict {kind}",
    )


_Parts = list[tuple[str, int | None, bool]]  # label, count, shown even when 0


@dataclass(frozen=True, slots=True)
class _Step:
    label: str
    count: int
    start: float  # share 0..1 where the bar begins
    kind: str  # "total", "minus", "picked"


def _funnel(report: Report) -> Html:
    """A table whose bars are a waterfall: what is taken away hangs where it is taken from."""
    found, gone = report.funnel.found, report.funnel.gone
    titles = (("Step", None), ("Bar", None), ("Count", "num"), ("Of found", "num"))
    rows = [
        h(
            "tr",
            h("th", step.label, scope="row"),
            h("td", charts.bar(step.start, step.count / found if found else 0.0, step.kind), class_="wide"),
            h("td", f"{'−' if step.kind == 'minus' and step.count else ''}{step.count:,}", class_="num"),
            h("td", words.share(step.count, found), class_="num muted"),
            class_=step.kind,
        )
        for step in _steps(report.funnel)
    ]
    note = (
        f"{report.count(gone)} found earlier {'is' if gone == 1 else 'are'} no longer in the sources; "
        "they stay on record and are not counted here."
    )
    return join(
        h(
            "table",
            h("caption", "Counts by step, from found to selected", class_="sr"),
            h("thead", h("tr", [h("th", title, scope="col", class_=kind) for title, kind in titles]), class_="sr"),
            h("tbody", rows),
            class_="funnel",
        ),
        h("p", note, class_="muted small") if gone else None,
    )


def _steps(funnel: Funnel) -> list[_Step]:
    """Totals start at the left, what is taken away ends where the one before began."""
    steps, left = [_Step("Found", funnel.found, 0.0, "total")], funnel.found
    before: _Parts = [
        ("Unreadable", funnel.unreadable, True),
        ("Not processed yet", funnel.pending, False),
        ("Exact duplicates", funnel.exact_duplicates, True),
        ("Near-duplicates", funnel.near_duplicates, True),
    ]
    left = _take(steps, left, before, funnel.found)
    if funnel.kept is not None:
        steps.append(_Step("Kept", funnel.kept, 0.0, "total"))
    if funnel.selected is not None:
        excluded = funnel.low_quality + funnel.filtered_out + funnel.preselected + funnel.trimmed
        after: _Parts = [
            ("Low quality, not offered", funnel.low_quality, True),
            ("Outside the filter", funnel.filtered_out, False),
            ("Already labelled", funnel.preselected, False),
            ("On the review list", funnel.trimmed, False),
            ("Not needed at this budget", max(left - excluded - funnel.selected, 0), False),
        ]
        _take(steps, left, after, funnel.found)
        steps.append(_Step("Selected to label", funnel.selected, 0.0, "picked"))
    return steps


def _take(steps: list[_Step], left: int, parts: _Parts, found: int) -> int:
    for label, count, is_expected in parts:
        if count or (is_expected and count is not None):
            left -= count
            steps.append(_Step(label, count, max(left, 0) / found if found else 0.0, "minus"))
    return left
