"""The labelling list, and how much better than chance it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curator.report import charts, words
from curator.report.markup import Html, h, join
from curator.report.numbers import Band, Evidence, Pick, Report, Selected
from curator.report.pictures import Pictures
from curator.report.sections.parts import Section, command, missing, scrolling, table, uri

PICKS_OPEN = 60
PICKS_PICTURED = 300  # those beyond the open ones are folded away
PICKS_LISTED = 2_000  # without pictures; the rest is in report.json

_METHODS = {
    "representative": "picks that together stand for as much of the data as possible (facility location)",
    "diverse": "picks that leave nothing far away (k-center), after outliers were put aside",
    "typicality": "the most typical image of each region",
    "random": "drawn by chance; a control, not a recommendation",
    "every_nth": "every n-th in order; a control, not a recommendation",
}
_IN_ORDER_OF_USE = ("representative", "diverse")


def selection(report: Report, pictures: Pictures) -> Section:
    """The picks in pick order, each with its reason."""
    chosen = report.selection
    if chosen is None:
        return Section("selection", "Selection", missing(report, "No selection yet.", "select"))
    facts = (
        f"Method {chosen.method}: {_METHODS.get(chosen.method, 'as configured')}. "
        f"Budget {chosen.budget}, {len(chosen.picks):,} picked, seed {chosen.seed}."
    )
    order = "In pick order. "
    if chosen.method in _IN_ORDER_OF_USE:
        order += "Each pick is the most useful one after those before it, so a shorter selection is the top of this "
        order += "list. The gain is what a pick added when it was picked."
    return Section(
        "selection",
        "Selection",
        join(
            h("p", facts),
            h("p", "Only where ", h("code", chosen.where)) if chosen.where else None,
            h("p", order, class_="muted"),
            [h("p", sentence, class_="note warn") for sentence in chosen.unmet],
            _quotas(chosen),
            _picks(report, chosen, pictures),
            h("p", "Take the list with you:", class_="muted"),
            command(report, "export", chosen.name, "--format csv --to to_label.csv"),
        ),
    )


def _picks(report: Report, chosen: Selected, pictures: Pictures) -> Html:
    names = {row.cluster: row.name for row in report.clusters.rows} if report.clusters else {}
    cards = [_card(pick, names, pictures) for pick in chosen.picks[:PICKS_PICTURED]]
    opened = h("ol", cards[:PICKS_OPEN], class_="cards")
    if len(chosen.picks) <= PICKS_OPEN:
        return opened
    listed, beyond = chosen.picks[PICKS_PICTURED:PICKS_LISTED], len(chosen.picks) - PICKS_LISTED
    rows = [(f"{p.rank:,}", uri(p.uri), p.reason, "–" if p.gain is None else words.number(p.gain)) for p in listed]
    folded = h(
        "details",
        h("summary", f"The other {len(chosen.picks) - PICKS_OPEN:,} picks"),
        h("ol", cards[PICKS_OPEN:], class_="cards", start=PICKS_OPEN + 1),
        table(("Rank", "Name", "Reason", "Gain"), rows, label="Further picks", numeric=(0, 3)) if rows else None,
        h("p", f"{beyond:,} more are in report.json.", class_="muted") if beyond > 0 else None,
    )
    return join(opened, folded)


def _card(pick: Pick, names: dict[int, str], pictures: Pictures) -> Html:
    about = [f"row {pick.row}"]  # as `curator show` takes it, so without separators
    if pick.gain is not None:
        about.append(f"gain {words.number(pick.gain)}")
    if pick.cluster is not None and f"cluster {pick.cluster}" not in pick.reason:
        about.append("no cluster" if pick.cluster < 0 else names.get(pick.cluster) or f"cluster {pick.cluster}")
    picture = pictures.show(pick.row, f"pick {pick.rank}: {words.name(pick.uri)}")
    return h(
        "li",
        h("div", picture, h("span", f"{pick.rank:,}", class_="rank"), class_="framed"),
        h("p", uri(pick.uri), class_="name"),
        h("p", pick.reason, class_="reason"),
        h("p", " · ".join(about), class_="about"),
    )


def _quotas(chosen: Selected) -> Html | None:
    if not chosen.quotas:
        return None
    rows = [(quota.group, f"{quota.asked:,}", f"{quota.picked:,}", f"{quota.available:,}") for quota in chosen.quotas]
    columns = ("Group", "Asked", "Picked", "Available")
    return join(
        h("h3", f"Quotas by {chosen.quota_column or 'group'}"),
        table(columns, rows, label="Quotas", numeric=(1, 2, 3)),
        h("h3", "Picks"),
    )


# -- evidence ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    title: str
    short: str
    band: Band
    show: Callable[[float], str]  # a value
    tick: Callable[[float], str]  # a round value


def evidence(report: Report) -> Section:
    """Coverage along the budget, beside chance."""
    title, found = "Better than chance?", report.evidence
    if found is None:
        stage = "select" if report.selection is None else "report"
        return Section(
            "evidence", title, missing(report, "No evidence yet: it compares a selection with chance.", stage)
        )
    lines, last = _lines(found), found.budgets[-1] if found.budgets else 0
    drawn = [
        charts.curve(
            found.budgets,
            line.band,
            title=line.title,
            x_title=f"{report.noun}s labelled",
            show=line.show,
            tick=line.tick,
            describe=_in_words(found, line),
        )
        for line in lines
        if found.budgets
    ]
    worth = found.picks_worth_random
    return Section(
        "evidence",
        title,
        join(
            h(
                "p",
                f"The first {worth:,} picks already cover as much as {last:,} random {report.noun}s do.",
                class_="lead",
            )
            if worth is not None and worth < last
            else None,
            h("p", found.verdict),
            h(
                "p",
                f"Coverage asks of every {report.noun} how similar its nearest pick is; a group of near-duplicates "
                "counts once. Random and every-n-th picks of the same budget, from all that is readable, show what "
                f"chance and habit would give. {report.count(found.n_points)} measured.",
                class_="muted",
            ),
            _legend(found),
            h("div", drawn, class_="charts"),
            h("h3", "The same numbers"),
            _numbers(found, lines),
        ),
    )


def _lines(found: Evidence) -> list[_Line]:
    within = f"Covered at cosine ≥ {found.threshold:g}" if found.threshold is not None else "Covered"
    every = [
        ("Mean similarity to the nearest pick", "Mean similarity", found.mean_similarity, words.mean, "{:g}".format),
        (within, within, found.share_within, words.percent, lambda value: f"{100 * value:g}%"),
        ("Similarity of the worst-covered one", "Worst similarity", found.worst_similarity, words.mean, "{:g}".format),
    ]
    return [_Line(title, short, band, show, tick) for title, short, band, show, tick in every if band is not None]


def _legend(found: Evidence) -> Html:
    return h(
        "ul",
        h("li", h("span", class_="swatch selected"), "this selection"),
        h("li", h("span", class_="swatch nth"), "every n-th"),
        h("li", h("span", class_="swatch random"), f"random: mean and 95% interval of {found.n_random:,} draws"),
        class_="legend",
    )


def _numbers(found: Evidence, lines: list[_Line]) -> Html:
    groups = [h("th", line.short, scope="colgroup", colspan=3, class_="group") for line in lines]
    columns = [h("th", name, scope="col", class_="num") for _ in lines for name in ("selected", "random", "every n-th")]
    head = h("thead", h("tr", h("th", "Picks", scope="col", rowspan=2, class_="num"), groups), h("tr", columns))
    body = []
    for i, budget in enumerate(found.budgets):
        cells = [h("th", f"{budget:,}", scope="row", class_="num")]
        for line in lines:
            band, show = line.band, line.show
            interval = h("span", f"{show(band.random_low[i])} to {show(band.random_high[i])}", class_="sub")
            cells += [
                h("td", h("b", show(band.selected[i])), class_="num"),
                h("td", show(band.random_mean[i]), " ", interval, class_="num"),
                h("td", show(band.every_nth[i]), class_="num"),
            ]
        body.append(h("tr", cells))
    label = "Coverage by budget"
    return scrolling(
        h("table", h("caption", label, class_="sr"), head, h("tbody", body), class_="coverage"), label=label
    )


def _in_words(found: Evidence, line: _Line) -> str:
    first, last, band, show = found.budgets[0], found.budgets[-1], line.band, line.show
    return (
        f"{line.title}, over {first:,} to {last:,} picks. At {last:,}: selection {show(band.selected[-1])}, "
        f"random {show(band.random_mean[-1])}, every n-th {show(band.every_nth[-1])}."
    )
