"""What was removed as a duplicate, and what is promised about it."""

from __future__ import annotations

from collections.abc import Callable

from curator.report import words
from curator.report.markup import Html, h, join
from curator.report.numbers import Certificate, Duplicates, Group, Member, Report
from curator.report.pictures import Pictures
from curator.report.sections.parts import Section, command, figures, missing, table, tile

GROUPS = 12
NEAREST, FARTHEST = 3, 3  # members shown of each: with the kept one and a count, a row of eight


def duplicates(report: Report, pictures: Pictures) -> Section:
    """The certificate, and the groups by which a reader judges the threshold."""
    found = report.duplicates
    if found is None:
        return Section("duplicates", "Duplicates", missing(report, "Duplicates have not been looked for.", "neardups"))
    shown = sorted(found.groups, key=lambda group: (-group.n_removed, group.row))[:GROUPS]
    intro = (
        f"{report.count(found.n_groups)} stand{'s' if found.n_groups == 1 else ''} for at least one removed; the "
        "largest groups come first. In each, the kept one is followed by the removed with their cosine similarity to "
        f"it, the least similar last. Which one stays was decided by the policy “{found.keep}”."
    )
    return Section(
        "duplicates",
        "Duplicates",
        join(
            _threshold(report, found),
            _calibrations(found),
            h("h3", "Certificate"),
            _certificate(found.certificate),
            h(
                "p",
                "Recomputed from the vectors, all pairs, whatever the search index found. Check it again:",
                class_="muted",
            ),
            command(report, "verify"),
            h("h3", "Largest groups"),
            h("p", intro, class_="muted") if shown else h("p", "There are none."),
            [_group(group, pictures) for group in shown],
        ),
    )


def _threshold(report: Report, found: Duplicates) -> Html:
    said = f"Two {report.noun}s count as the same at cosine ≥ {found.threshold:g}"
    if found.threshold_origin == "calibrated":
        return h("p", f"{said}, a threshold calibrated on this data{f' ({found.origin})' if found.origin else ''}.")
    is_default = found.threshold_origin == "default"
    model = f" of {report.space.model}" if report.space else ""
    return h(
        "div",
        h(
            "p",
            f"{said}. ",
            f"That is the plain default{model}; the right value depends on your data." if is_default else "",
        ),
        h(
            "p",
            "Look at the groups below. If different things share one, raise the threshold; if the same thing was kept "
            "twice, lower it:",
        ),
        command(report, "neardups", f"--set neardups.threshold={min(found.threshold + 0.02, 0.99):g}"),
        class_="note warn" if is_default else "note",
    )


def _calibrations(found: Duplicates) -> Html | None:
    """What the stored calibrations expect of their thresholds."""
    if not found.calibrations:
        return None
    rows = [
        (
            one.name,
            one.space,
            join(words.cosine(one.threshold), " ", _between(one.interval, words.cosine)),
            join(words.percent(one.precision), " ", _between(one.precision_interval, words.percent)),
            join(words.percent(one.recall), " ", _between(one.recall_interval, words.percent)),
            ", ".join(one.edits) or (f"{one.n_answers:,} answers" if one.n_answers is not None else "–"),
        )
        for one in found.calibrations
    ]
    metric = None
    if found.metric is not None:
        verdict = "kept" if found.metric.is_kept else "not kept"
        metric = (
            f"The metric learned for copies ({found.metric.form}) was {verdict}: on held-out edits its average "
            f"precision is {found.metric.gain:+.3f} beside plain cosine, standard error {found.metric.error:.3f}."
        )
    head = ("Calibration", "Space", "Threshold", "Precision", "Recall", "The same are")
    return join(
        h("h3", "Calibrations"),
        table(head, rows, label="Calibrations of the threshold", numeric=(2, 3, 4)),
        h("p", metric) if metric else None,
        h("p", "What each expects at its threshold, with the interval that holds 90%.", class_="muted small"),
    )


def _between(interval: tuple[float, float] | None, show: Callable[[float], str]) -> Html | None:
    return h("span", f"{show(interval[0])} to {show(interval[1])}", class_="sub") if interval else None


def _certificate(proof: Certificate) -> Html:
    worst = words.cosine(proof.worst_similarity) if proof.removed else "–"
    entries: list[tuple[str, object, str]] = [
        ("Orphans", _zero(proof.orphans), "Removed without a kept one at or above the threshold. Must be 0."),
        ("Kept pairs above the threshold", _zero(proof.kept_pairs_above),
         "Pairs of kept ones that are still near-duplicates. Must be 0."),
        ("Wrong representatives", _zero(proof.wrong_representatives),
         "The one named is not kept, or not the nearest kept one. Must be 0."),
        ("Wrong similarities", _zero(proof.wrong_similarities),
         "The similarity on record differs from the vectors'. Must be 0."),
        ("Worst similarity", worst, f"Of a removed one to its representative; the threshold is {proof.threshold:g}."),
        ("Mean similarity", words.cosine(proof.mean_similarity) if proof.removed else "–",
         "Of the removed ones to their representatives."),
        ("Removed", f"{proof.removed:,}", f"{proof.exact:,} with the same bytes, {proof.near:,} by similarity."),
        ("Kept", f"{proof.kept:,}", f"Of {proof.n:,} examined."),
    ]  # fmt: skip
    if proof.forced_pairs_above:
        meaning = "Pairs above the threshold that both had to stay, e.g. because both are labelled."
        entries.append(("Forced pairs", f"{proof.forced_pairs_above:,}", meaning))
    return figures(entries)


def _zero(count: int) -> Html:
    """A count that must be zero, with its mark."""
    return join(
        f"{count:,} ", h("span", "✗ fails", class_="mark bad") if count else h("span", "✓ holds", class_="mark good")
    )


def _group(group: Group, pictures: Pictures) -> Html:
    members = sorted(group.members, key=lambda member: (not member.exact, -member.similarity, member.row))
    first, last = members, []
    if len(members) > NEAREST + FARTHEST or group.n_removed > len(members):
        first, last = members[:NEAREST], members[NEAREST:][-FARTHEST:]
    between = group.n_removed - len(first) - len(last)
    return h(
        "div",
        h("h4", f"1 kept, {group.n_removed:,} removed"),
        h(
            "ul",
            tile(pictures, group.row, group.uri, h("b", "kept"), role="kept", class_="kept"),
            [_member(member, pictures) for member in first],
            h("li", h("p", f"{between:,} more"), class_="more") if between else None,
            [_member(member, pictures) for member in last],
            class_="strip",
        ),
        class_="group",
    )


def _member(member: Member, pictures: Pictures) -> Html:
    note = "same bytes" if member.exact else words.cosine(member.similarity)
    return tile(pictures, member.row, member.uri, note, role="removed")
