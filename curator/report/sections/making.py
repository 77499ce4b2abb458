"""What it is worth, and how it was made: enough to repeat it."""

from __future__ import annotations

from curator.report import charts, words
from curator.report.markup import Html, h, join
from curator.report.numbers import Graph, Machine, Report, Source, Timing
from curator.report.sections.parts import Section, command, figures, lines, missing


def saved(report: Report) -> Section:
    """Savings with their arithmetic; in doubt when the selection is no better than random."""
    if report.savings is None:
        return Section("savings", "Savings", missing(report, "Savings come with a selection.", "select"))
    rates = report.savings.rates
    origin = "defaults, not yours" if rates.are_defaults else "yours"
    asked = (
        f"Against labelling everything readable, at {rates.cost_per_label:.2f} {rates.currency} and "
        f"{rates.seconds_per_label:g} s a label ({origin}). Put in your own:"
    )
    doubt = (
        "On this data the selection is no better than random: labelling any list of this length saves as much."
        if report.evidence is not None and report.evidence.is_better is False
        else ""
    )
    items = [(item.title, words.amount(item.amount, item.unit), item.formula) for item in report.savings.items]
    return Section(
        "savings",
        "Savings",
        join(
            h("p", doubt, class_="note warn") if doubt else None,
            figures(items),
            h("p", asked, class_="muted"),
            command(report, "report", "--set report.cost_per_label=0.25", "--set report.seconds_per_label=60"),
        ),
    )


def making(report: Report) -> Section:
    """Time, machine, versions and configuration."""
    facts = [join(h("dt", title), h("dd", value)) for title, value in _facts(report)]
    config = h("pre", lines(report.config_yaml), tabindex=0, role="region", aria_label="Configuration used")
    return Section(
        "making",
        "How it was made",
        join(
            _timings(report.timings),
            h("h3", "Setting"),
            h("dl", facts, class_="facts"),
            h("details", h("summary", "Configuration used"), config) if report.config_yaml else None,
        ),
    )


def _timings(timings: tuple[Timing, ...]) -> Html:
    if not timings:
        return join(h("h3", "Time"), h("p", "No stage has run yet."))
    longest = max(timing.seconds for timing in timings) or 1.0
    rows = [
        h(
            "tr",
            h("th", timing.stage, scope="row"),
            h("td", charts.bar(0.0, timing.seconds / longest, "total"), class_="wide"),
            h("td", words.duration(timing.seconds), class_="num"),
            h("td", timing.note or _pace(timing), class_="muted pace"),
        )
        for timing in timings
    ]
    head = h("tr", [h("th", title, scope="col") for title in ("Stage", "Bar", "Time", "Rows")])
    return join(
        h("h3", f"Time: {words.duration(sum(timing.seconds for timing in timings))}"),
        h(
            "table",
            h("caption", "Time by stage", class_="sr"),
            h("thead", head, class_="sr"),
            h("tbody", rows),
            class_="funnel timings",
        ),
    )


def _pace(timing: Timing) -> str:
    if timing.n is None:
        return ""
    rate = f", {timing.n / timing.seconds:,.0f}/s" if timing.seconds >= 0.05 else ""
    return f"{timing.n:,} rows{rate}"


def _facts(report: Report) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("Sources", [_source(source) for source in report.sources])]
    if report.command:
        facts.append(("Command", h("code", report.command)))
    if report.space is not None:
        space = report.space
        where = f" on {space.device}" if space.device else ""
        facts.append(("Model", f"{space.model}{where}; {space.n:,} vectors of {space.dim:,} numbers"))
        facts.append(("Space", h("code", space.name)))
    if report.graph is not None:
        facts.append(("Neighbours", _graph(report.graph)))
    facts.append(("Machine", _machine(report.machine)))
    versions = {"curator": report.curator_version} | dict(report.machine.versions)
    facts.append(("Versions", ", ".join(f"{package} {version}" for package, version in versions.items())))
    snapshot = "" if report.snapshot is None else f", snapshot {report.snapshot:,}"
    facts.append(("Workspace", join(h("code", report.path), snapshot)))
    return facts


def _source(source: Source) -> Html:
    found = "" if source.n_found is None else f"{source.n_found:,} found"
    about = ", ".join(filter(None, (source.kind, found)))
    return h("div", h("code", source.name), f" {about}" if about else None)


def _graph(graph: Graph) -> str:
    floor = "" if graph.min_recall is None else f" (at least {words.percent(graph.min_recall)} wanted)"
    recall = f"{words.percent(graph.recall)} of the true neighbours found, measured{floor}"
    text = f"{graph.k:,} nearest of each of {graph.n:,}, {graph.kind} index; {recall}."
    return " ".join((text, *graph.notes))


def _machine(machine: Machine) -> str:
    cores = f"{machine.n_cores:,} core{'' if machine.n_cores == 1 else 's'}" if machine.n_cores else ""
    memory = f"{words.size(machine.memory_bytes)} memory" if machine.memory_bytes else ""
    return ", ".join(filter(None, (machine.cpu, cores, memory, machine.gpu or "no GPU", machine.system)))
