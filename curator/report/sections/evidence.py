"""How much better than chance the selection is, and how many picks are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curator.report import charts, words
from curator.report.markup import Html, h, join
from curator.report.numbers import Report
from curator.report.proof import Band, Compared, Evidence, Spread
from curator.report.sections.parts import Section, missing, scrolling, table


@dataclass(frozen=True, slots=True)
class _Line:
    title: str
    short: str
    band: Band
    show: Callable[[float], str]  # a value
    tick: Callable[[float], str]  # a round value


def evidence(report: Report) -> Section:
    """Coverage, spread and accuracy beside chance, and how many picks are enough."""
    title, found = "Better than chance?", report.evidence
    if found is None:
        stage = "select" if report.selection is None else "report"
        return Section(
            "evidence", title, missing(report, "No evidence yet: it compares a selection with chance.", stage)
        )
    lines = _lines(found)
    return Section(
        "evidence",
        title,
        join(
            _lead(report, found),
            h("p", found.verdict),
            h(
                "p",
                f"Coverage asks of every {report.noun} how similar its nearest pick is; a group of near-duplicates "
                "counts once. Random and every-n-th picks of the same budget, from all readable ones that pass the "
                f"filter, show what chance and habit would give. {report.count(found.n_points)} measured.",
                class_="muted",
            ),
            _legend(found),
            h("div", _curves(report, found.budgets, lines), class_="charts"),
            _compared(found),
            h("h3", "Coverage by budget"),
            _numbers(found, lines),
            _plan(report, found),
            _learning(report, found),
            _spreads(report, found),
        ),
    )


def _lead(report: Report, found: Evidence) -> Html | None:
    worth, last = found.picks_worth_random, found.budgets[-1] if found.budgets else 0
    if worth is None or worth >= last:
        return None
    return h(
        "p",
        f"The first {worth:,} picks already cover as much as {last:,} random {report.noun}s do.",
        class_="lead",
    )


def _curves(report: Report, budgets: tuple[int, ...], lines: list[_Line]) -> list[Html]:
    return [
        charts.curve(
            budgets,
            line.band,
            title=line.title,
            x_title=f"{report.noun}s labelled",
            show=line.show,
            tick=line.tick,
            describe=_in_words(budgets, line),
        )
        for line in lines
        if budgets
    ]


def _compared(found: Evidence) -> Html | None:
    """Everything at the full budget, with a plain mark."""
    if not found.measures or not found.budgets:
        return None
    rows = [
        (
            measure.name,
            h("b", _show(measure, measure.selected)),
            join(_show(measure, measure.random_mean), " ", _interval(measure)),
            _show(measure, measure.every_nth),
            _mark(measure.standing, "no clear difference"),
            _mark(measure.beside_every_nth, "equal"),
        )
        for measure in found.measures
    ]
    head = ("Measure", "Selection", "Random", "Every n-th", "Beside random", "Beside every n-th")
    return join(
        h("h3", f"Every measure at {found.budgets[-1]:,} picks"),
        table(head, rows, label="Measures beside their controls", numeric=(1, 2, 3)),
        h(
            "p",
            "Better or worse than random means outside the interval that holds 95% of the draws; accuracies are "
            "compared on the same test images. Of forty measures one is above, and one below, by chance alone. "
            "Every n-th is a single set: its mark says only which number is higher.",
            class_="muted small",
        ),
    )


def _show(measure: Compared, value: float) -> str:
    return words.percent(value) if measure.is_share else words.mean(value)


def _interval(measure: Compared) -> Html:
    low, high = _show(measure, measure.random_low), _show(measure, measure.random_high)
    return h("span", f"{low} to {high}", class_="sub")


def _mark(standing: int, neither: str) -> Html:
    text, kind = {1: ("✓ better", "good"), 0: (f"– {neither}", "plain"), -1: ("✗ worse", "bad")}[standing]
    return h("span", text, class_=f"mark {kind}")


def _plan(report: Report, found: Evidence) -> Html | None:
    """How many picks cover how much, and where more stop paying."""
    plan = found.plan
    if plan is None or plan.n_points == 0:
        return None
    knee = (
        f"Past {found.knee:,} picks each further one adds less coverage than the average pick does (the knee of the "
        "mean similarity). "
        if found.knee is not None
        else "The mean similarity has no clear knee: further picks go on adding about as much as those before. "
    )
    rows = [
        (words.percent(share), "more than can be picked" if picks is None else f"{picks:,}")
        for share, picks in plan.needs
    ]
    title = f"Share of all {report.noun}s within cosine {plan.threshold:g} of a pick"
    drawn = charts.path(
        plan.budgets,
        plan.path,
        mark=plan.n_picks if plan.n_picks in plan.budgets else plan.budgets[0],
        title=title,
        x_title="picks",
        tick=lambda value: f"{100 * value:g}%",
        describe=f"{title}, over {plan.budgets[0]:,} to {plan.budgets[-1]:,} picks. {plan.sentence}",
    )
    return join(
        h("h3", "How many are enough?"),
        h("p", plan.sentence),
        h(
            "p",
            f"{knee}Past the {plan.n_picks:,} of this selection the order goes on with whatever covers most of the "
            "rest, as far as the neighbour graph and the near-duplicate groups tell; so a number here is enough, and "
            "a smaller one may be.",
            class_="muted",
        ),
        h("div", drawn, class_="charts") if len(plan.budgets) > 1 else None,
        table((f"{report.noun.capitalize()}s covered", "Picks"), rows, label="Picks that are enough", numeric=(0, 1)),
    )


def _learning(report: Report, found: Evidence) -> Html | None:
    """What the labels of the first picks would have taught."""
    title, learning = h("h3", "What the labels teach"), found.learning
    if learning is None:
        return (
            join(title, h("p", f"No learning curves: {found.no_learning}.", class_="muted"))
            if found.no_learning
            else None
        )
    lines = [
        _Line("1-NN accuracy", "1-NN", learning.one_nn, words.percent, lambda value: f"{100 * value:g}%"),
        _Line(
            "Linear-probe accuracy", "Linear probe", learning.probe, words.percent, lambda value: f"{100 * value:g}%"
        ),
    ]
    drawn = _curves(report, learning.budgets, lines)
    return join(
        title,
        h(
            "p",
            f"Trained on the first picks, tested on {report.count(learning.n_tests)} of {learning.n_classes:,} "
            "classes, one of each group of near-duplicates; what is a near-duplicate of a pick, of either side, is no "
            "test. Every class counts the same.",
            class_="muted",
        ),
        h("div", drawn, class_="charts"),
        _numbers_of(learning.budgets, lines, "Accuracy by budget"),
    )


def _spreads(report: Report, found: Evidence) -> Html | None:
    """How the picks spread over groups, column by column."""
    if not found.spreads:
        return None
    head = ("Column", "Groups", "With a pick", "Random", "Balance", "Random", "Like the pool")
    rows = [
        (
            spread.column, f"{spread.n_groups:,}",
            join(h("b", f"{spread.n_hit:,}"), f" ({words.percent(spread.hit.selected)})"),
            words.percent(spread.hit.random_mean), h("b", words.percent(spread.evenness.selected)),
            words.percent(spread.evenness.random_mean), words.percent(spread.likeness.selected),
        )
        for spread in found.spreads
    ]  # fmt: skip
    return join(
        h("h3", "Spread over classes, clusters and metadata"),
        table(head, rows, label="Spread over groups", numeric=(1, 2, 3, 4, 5, 6)),
        h(
            "p",
            "Balance is 100% where every group has the same share of the picks, and 100% like the pool where every "
            f"group has the share it has of all {report.noun}s; each falls by the share of picks that would have to "
            "move.",
            class_="muted small",
        ),
        [_groups(report, spread) for spread in found.spreads],
    )


def _groups(report: Report, spread: Spread) -> Html:
    n, picked = sum(size for _, size, _ in spread.groups), sum(count for _, _, count in spread.groups)
    rows = [
        (name, f"{size:,}", words.share(size, n), f"{count:,}", words.share(count, picked))
        for name, size, count in spread.groups
    ]
    head = (spread.column.capitalize(), f"{report.noun.capitalize()}s", "Share", "Picked", "Share of the picks")
    more = spread.n_groups - len(spread.groups)
    return h(
        "details",
        h("summary", f"By {spread.column}" + (f", the largest {len(rows):,}" if more else "")),
        table(head, rows, label=f"Picks by {spread.column}", numeric=(1, 2, 3, 4)),
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
    return _numbers_of(found.budgets, lines, "Coverage by budget")


def _numbers_of(budgets: tuple[int, ...], lines: list[_Line], label: str) -> Html:
    groups = [h("th", line.short, scope="colgroup", colspan=3, class_="group") for line in lines]
    columns = [h("th", name, scope="col", class_="num") for _ in lines for name in ("selected", "random", "every n-th")]
    head = h("thead", h("tr", h("th", "Picks", scope="col", rowspan=2, class_="num"), groups), h("tr", columns))
    body = []
    for i, budget in enumerate(budgets):
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
    return scrolling(
        h("table", h("caption", label, class_="sr"), head, h("tbody", body), class_="coverage"), label=label
    )


def _in_words(budgets: tuple[int, ...], line: _Line) -> str:
    first, last, band, show = budgets[0], budgets[-1], line.band, line.show
    return (
        f"{line.title}, over {first:,} to {last:,} picks. At {last:,}: selection {show(band.selected[-1])}, "
        f"random {show(band.random_mean[-1])}, every n-th {show(band.every_nth[-1])}."
    )
