"""The splits that were made, and the proof that nothing leaks between their parts."""

from __future__ import annotations

from curator.report import words
from curator.report.checks import Split
from curator.report.markup import Html, h, join
from curator.report.numbers import Report
from curator.report.sections.parts import Section, command, figures, table


def splits(report: Report) -> Section | None:
    """Each split with its sizes, its certificate and its balance; no section where there is no split."""
    if not report.splits:
        return None
    return Section(
        "splits",
        "Splits",
        join(
            [_split(report, split) for split in report.splits],
            h("p", "Recomputed from the vectors when the split was made. Check it again:", class_="muted"),
            command(report, "verify"),
        ),
    )


def _split(report: Report, split: Split) -> Html:
    n = sum(part.size for part in split.parts)
    distances = [(column, values) for column, values in split.distance]
    head = ("Part", f"{report.noun.capitalize()}s", "Share", "Asked", *(f"Off by {column}" for column, _ in distances))
    rows = [
        (
            part.name,
            f"{part.size:,}",
            words.share(part.size, n),
            words.percent(part.asked),
            *(words.percent(values[at]) for _, values in distances),
        )
        for at, part in enumerate(split.parts)
    ]
    return join(
        h("h3", split.name),
        figures(_certificate(report, split)),
        table(head, rows, label=f"Parts of {split.name}", numeric=tuple(range(1, len(head)))),
        h("p", _off(split), class_="muted small") if split.distance else None,
        [h("p", sentence, class_="note warn") for sentence in split.unmet],
        h("p", _before(split.before)) if split.before else None,
    )


def _certificate(report: Report, split: Split) -> list[tuple[str, object, str]]:
    torn = [
        (f"Torn by {key}", _zero(count), f"Groups of the same {key} in two parts. Must be 0.")
        for key, count in split.torn
    ]
    return [
        ("Across parts", _zero(split.rows_across),
         f"{report.noun.capitalize()}s with another at cosine ≥ {split.threshold:g} in another part."),
        *torn,
        ("Groups", f"{split.n_groups:,}",
         f"Kept together by {', '.join(split.grouped_by) or 'nothing'}; the largest has {split.largest_group:,}."),
    ]  # fmt: skip


def _zero(count: int) -> Html:
    mark, kind = ("✓ holds", "good") if count == 0 else ("✗ fails", "bad")
    return join(f"{count:,} ", h("span", mark, class_=f"mark {kind}"))


def _off(split: Split) -> str:
    columns = ", ".join(column for column, _ in split.distance)
    return (
        f"Off by {columns}: the share of a part that would have to change for it to resemble the whole (total "
        "variation distance)."
    )


def _before(before: tuple[str, int, int]) -> str:
    column, moved, across = before
    return (
        f"Beside the existing split in column {column}, {moved:,} move; there, {across:,} have a near-duplicate in "
        "another part."
    )
