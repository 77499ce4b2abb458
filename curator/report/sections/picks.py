"""The labelling list."""

from __future__ import annotations

import math

from curator.report import words
from curator.report.markup import Html, h, join
from curator.report.numbers import Pick, Report, Selected
from curator.report.pictures import Pictures
from curator.report.sections.parts import Section, command, missing, table, uri

PICKS_OPEN = 60
PICKS_PICTURED = 300  # those beyond the open ones are folded away
PICKS_LISTED = 2_000  # without pictures; the rest is in report.json

_METHODS = {
    "representative": "picks that together stand for as much of the data as possible (facility location)",
    "diverse": "picks that leave nothing far away (k-center), after outliers were put aside",
    "mixed": "picks that stand for much and lie far from each other (facility gain times the root of the distance)",
    "dpp": "picks that span as much volume as possible (log-determinant)",
    "graph_cut": "picks that resemble the data and not each other (graph cut)",
    "coverage": "picks that have as many images as possible within a threshold",
    "hierarchical": "picks spread evenly over clusters of clusters",
    "uncertainty": "the images a model was least sure of",
    "strategies": "the product of several wishes, as configured",
    "typicality": "the most typical image of each region",
    "random": "drawn by chance; a control, not a recommendation",
    "every_nth": "every n-th in order; a control, not a recommendation",
}
_IN_ORDER_OF_USE = ("mixed", "representative", "diverse", "dpp", "coverage", "strategies")


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
        order += "Each pick is the most useful one after those before it"
        order += ". " if chosen.quotas else ", so a shorter selection is the top of this list. "
        order += "The gain is what a pick added when it was picked."
    return Section(
        "selection",
        "Selection",
        join(
            h("p", facts),
            h("p", "Only where ", h("code", chosen.where)) if chosen.where else None,
            h("p", order, class_="muted"),
            h("p", _optimality(chosen, chosen.optimality)) if chosen.optimality is not None else None,
            [h("p", sentence, class_="note warn") for sentence in chosen.unmet],
            [h("p", sentence, class_="muted small") for sentence in chosen.notes],
            _quotas(chosen),
            _picks(report, chosen, pictures),
            h("p", "Take the list with you:", class_="muted"),
            command(report, "export", chosen.name, "--format csv --to to_label.csv"),
        ),
    )


def _optimality(chosen: Selected, share: float) -> str:
    bound = math.floor(1000 * share) / 10  # rounded down: it says "at least"
    measure = (
        "by facility location, the similarity of every image to its nearest pick, which is one of the two things this "
        "method weighs"
        if chosen.method == "mixed"
        else "by the method's own measure"
    )
    source = "from what every image could still have added (Leskovec and others, 2007)"
    if chosen.optimality_is_estimate:
        return (
            f"It reaches an estimated {bound:.1f}% or more of what the best selection of this size could, {measure}: "
            f"{source}, counted on a sample of the images and so no proof."
        )
    best = f"at least {bound:.1f}% of what the best selection of this size could"
    return f"It reaches {best}, {measure}: the bound {source}."


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
