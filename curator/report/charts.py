"""Charts as inline SVG that need no script.

Knows numbers and drawing. Plots stretch to the width they get
(`preserveAspectRatio="none"`, strokes that do not scale) while their labels
stay HTML, so text keeps its size on a phone. Dots are zero-length strokes with
round ends, which stay round in a stretched plot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from curator.report import words
from curator.report.markup import Html, h, join, raw
from curator.report.numbers import Measure
from curator.report.proof import Band

N_COLOURS = 8  # of the palette; clusters beyond are grey


def colour_class(cluster: int) -> str:
    """CSS class of a cluster's colour: clusters are numbered by size, the largest have one, the rest are grey."""
    return f"c{cluster}" if 0 <= cluster < N_COLOURS else "c-other"


# -- bars --------------------------------------------------------------------------------------------------------


def bar(start: float, length: float, kind: str) -> Html:
    """One bar of a row of bars; `start` and `length` are shares 0..1 of the full width."""
    length = max(length, 0.003) if length > 0 else 0.0  # what exists can be seen
    start = min(start, 1.0 - length)
    return h(
        "svg",
        h("rect", x=coordinate(1000 * start), y=0, width=coordinate(1000 * length), height=10, class_=f"bar-{kind}"),
        viewBox="0 0 1000 10",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )


def histogram(measure: Measure, *, describe: str) -> Html:
    """Counts as columns, the configured limit as a line."""
    peak, n = max(measure.counts, default=0) or 1, len(measure.counts)
    columns = [
        h(
            "rect",
            h("title", f"{words.number(measure.edges[i])} to {words.number(measure.edges[i + 1])}: {count:,}"),
            x=coordinate(i * 1000 / n + 3),
            y=coordinate(100 - 100 * count / peak),
            width=coordinate(1000 / n - 6),
            height=coordinate(100 * count / peak),
        )
        for i, count in enumerate(measure.counts)
    ]
    first, last = measure.edges[0], measure.edges[-1]
    if measure.limit is not None and first <= measure.limit <= last and last > first:
        at = coordinate(1000 * (measure.limit - first) / (last - first))
        columns.append(h("path", d=f"M{at} 0V100", class_="limit"))
    return join(
        h(
            "svg",
            *columns,
            viewBox="0 0 1000 100",
            preserveAspectRatio="none",
            class_="histogram",
            role="img",
            aria_label=describe,
        ),
        h("div", h("span", words.number(first)), h("span", words.number(last)), class_="ends", aria_hidden="true"),
    )


# -- curves ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale with round ticks around some values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Place of `value`, 0 at the low end and 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def axis(low: float, high: float, *, n_ticks: int = 4) -> Axis:
    """Widen `low`..`high` to round numbers, after Heckbert, "Nice Numbers for Graph Labels", Graphics Gems 1990."""
    if not high - low > 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / n_ticks
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(s * magnitude for s in (1, 2, 2.5, 5, 10) if s * magnitude >= rough - 1e-12)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(i * step, 10) for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def curve(
    budgets: Sequence[int],
    band: Band,
    *,
    title: str,
    x_title: str,
    show: Callable[[float], str],
    tick: Callable[[float], str],
    describe: str,
) -> Html:
    """A coverage curve: the selection, every-nth, and random draws as mean and interval.

    Args:
        budgets: (b,) increasing.
        band: the lines, each (b,).
        title: what is drawn upwards, with its unit.
        x_title: what is drawn to the right.
        show: formats a value of the upward axis.
        tick: formats a round value of it.
        describe: the curve in one sentence, for those who do not see it.
    """
    lines = (band.selected, band.random_low, band.random_high, band.every_nth)
    values = [value for values in lines for value in values if math.isfinite(value)]
    up = axis(min(values, default=0.0), max(values, default=1.0))
    along = Axis(0.0, float(budgets[-1]), _budget_ticks(budgets[-1]))

    def points(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(1000 * along.share(b), 1000 - 1000 * up.share(v)) for b, v in zip(budgets, values, strict=True)]

    drawn = [
        h("path", d=line(points(band.random_high) + points(band.random_low)[::-1]) + "Z", class_="interval"),
        h("path", d=line(points(band.random_mean)), class_="line random"),
        h("path", d=line(points(band.every_nth)), class_="line nth"),
        h("path", d=line(points(band.selected)), class_="line selected"),
        h("path", d=dots([points(band.random_mean)[-1]]), class_="end random"),
        h("path", d=dots([points(band.every_nth)[-1]]), class_="end nth"),
        h("path", d=dots([points(band.selected)[-1]]), class_="end selected"),
        [_reading(budgets, band, i, along, show) for i in range(len(budgets))],
    ]
    return _plot(drawn, up, along, title=title, x_title=x_title, tick=tick, describe=describe)


def path(
    budgets: Sequence[int],
    values: Sequence[float],
    *,
    mark: int,
    title: str,
    x_title: str,
    tick: Callable[[float], str],
    describe: str,
) -> Html:
    """One line along the budget; a dot and a rule at the budget `mark`, which is one of `budgets`.

    Args: see `curve`.
    """
    up = axis(0.0, max((value for value in values if math.isfinite(value)), default=1.0))
    along = Axis(0.0, float(max(budgets[-1], 1)), _budget_ticks(max(budgets[-1], 1)))
    points = [(1000 * along.share(b), 1000 - 1000 * up.share(v)) for b, v in zip(budgets, values, strict=True)]
    here = points[list(budgets).index(mark)]
    drawn = [
        h("path", d=f"M{coordinate(here[0])} 0V1000", class_="limit"),
        h("path", d=line(points), class_="line selected"),
        h("path", d=dots([here]), class_="end selected"),
    ]
    return _plot(drawn, up, along, title=title, x_title=x_title, tick=tick, describe=describe)


def _plot(
    drawn: Sequence[object],
    up: Axis,
    along: Axis,
    *,
    title: str,
    x_title: str,
    tick: Callable[[float], str],
    describe: str,
) -> Html:
    """Axes, rules and titles around what is drawn."""
    plot = h(
        "svg",
        [h("path", d=f"M0 {coordinate(1000 - 1000 * up.share(t))}H1000", class_="rule") for t in up.ticks],
        drawn,
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        role="img",
        aria_label=describe,
    )
    return h(
        "figure",
        h("figcaption", title),
        h(
            "div",
            h("div", [_tick(tick(t), "bottom", up.share(t)) for t in up.ticks], class_="y", aria_hidden="true"),
            h("div", plot, class_="plot"),
            h(
                "div",
                [_tick(f"{t:,.0f}", "left", along.share(t)) for t in along.ticks],
                class_="x",
                aria_hidden="true",
            ),
            h("div", x_title, class_="x-title", aria_hidden="true"),
            class_="chart",
        ),
    )


def _budget_ticks(last: int) -> tuple[float, ...]:
    """Round budgets, and always the last one, which is the one that was asked for."""
    round_ones = [t for t in axis(0.0, float(last)).ticks if t == int(t) and t < 0.9 * last]
    return (*round_ones, float(last))


def _reading(budgets: Sequence[int], band: Band, i: int, along: Axis, show: Callable[[float], str]) -> Html:
    """An invisible stripe that reads the values out under a pointer."""
    left = along.share((budgets[i - 1] + budgets[i]) / 2 if i else 0.0)
    right = along.share((budgets[i] + budgets[i + 1]) / 2 if i + 1 < len(budgets) else budgets[-1])
    text = (
        f"{budgets[i]:,} picks: selected {show(band.selected[i])}, random {show(band.random_mean[i])} "
        f"({show(band.random_low[i])} to {show(band.random_high[i])}), every n-th {show(band.every_nth[i])}"
    )
    return h(
        "rect",
        h("title", text),
        x=coordinate(1000 * left),
        y=0,
        width=coordinate(1000 * (right - left)),
        height=1000,
        class_="hit",
    )


def _tick(text: str, side: str, share: float) -> Html:
    return h("span", text, style=f"{side}:{100 * share:.2f}%")


# -- path data ---------------------------------------------------------------------------------------------------


def line(points: Sequence[tuple[float, float]]) -> Html:
    """Path data through the points that are finite; empty where there are none."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return raw("M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in finite)) if finite else raw("")


def dots(points: Iterable[tuple[float, float]]) -> Html:
    """Path data of zero-length strokes, one per point."""
    return raw(
        "".join(f"M{coordinate(x)} {coordinate(y)}h0" for x, y in points if math.isfinite(x) and math.isfinite(y))
    )


def coordinate(value: float) -> str:
    """A number with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
