"""What the selection is worth: time, money and storage at the user's rates, with the arithmetic shown."""

from __future__ import annotations

from dataclasses import dataclass

from curator.report import words


@dataclass(frozen=True, slots=True)
class Rates:
    """What labelling costs the user."""

    cost_per_label: float = 0.10  # currency per image
    seconds_per_label: float = 30.0
    currency: str = "USD"
    are_defaults: bool = True  # nobody has set them


@dataclass(frozen=True, slots=True)
class Saving:
    """One figure with its arithmetic."""

    title: str
    amount: float  # in `unit`
    unit: str  # "h", "s", "bytes", or the currency
    formula: str  # with the numbers filled in


@dataclass(frozen=True, slots=True)
class Savings:
    """What not labelling and not storing the rest is worth, and what finding out took."""

    rates: Rates
    items: tuple[Saving, ...]  # labelling time first


def savings(
    rates: Rates,
    *,
    n_readable: int,
    n_selected: int,
    bytes_readable: int | None = None,
    bytes_kept: int | None = None,
    seconds_run: float | None = None,
) -> Savings:
    """Compare labelling everything readable with labelling the selection.

    Args:
        rates: of the user.
        n_readable: images that could have been labelled.
        n_selected: images that will be.
        bytes_readable: size of the readable images; None where they are frames of videos.
        bytes_kept: size of those left after near-duplicates.
        seconds_run: time Curator took, stated beside the savings so that it can be subtracted.
    """
    spared = max(n_readable - n_selected, 0)
    difference = f"({n_readable:,} readable − {n_selected:,} selected)"
    hours, cost = spared * rates.seconds_per_label / 3600, spared * rates.cost_per_label
    items = [
        Saving("Labelling time", hours, "h", f"{difference} × {rates.seconds_per_label:g} s ÷ 3,600 s/h"),
        Saving("Labelling cost", cost, rates.currency, f"{difference} × {rates.cost_per_label:.2f} {rates.currency}"),
    ]
    if bytes_readable is not None and bytes_kept is not None:
        formula = f"{words.size(bytes_readable)} readable − {words.size(bytes_kept)} kept after duplicates"
        items.append(Saving("Storage", max(bytes_readable - bytes_kept, 0), "bytes", formula))
    if seconds_run is not None:
        items.append(Saving("Spent by Curator", seconds_run, "s", "sum over the stages below, on this machine"))
    return Savings(rates, tuple(items))
