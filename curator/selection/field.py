"""A list of strategies as people write it, in our keys.

Knows the words of the field's de-facto configuration (LightlyOne: an `input` and
a `strategy` per entry, upper case) and our own flat ones; knows no workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curator.errors import BadSelection
from curator.selection import targets
from curator.selection.compose import KINDS

WORDS = {
    "diversity": "diversity", "diverse": "diversity", "representative": "representative", "coverage": "coverage",
    "typicality": "typicality", "typical": "typicality", "weights": "weights", "weight": "weights",
    "similarity": "similarity", "balance": "balance", "threshold": "threshold", "uncertainty": "uncertainty",
    "random": "random",
}  # fmt: skip
OPERATIONS = {"bigger": "min", "bigger_equal": "min", "smaller": "max", "smaller_equal": "max"}
DISTRIBUTIONS = {"uniform": "uniform", "input": "proportional", "proportional": "proportional"}
DISTANCE = "stopping_condition_minimum_distance"


def strategies(entries: Any) -> list[dict[str, Any]]:
    """Each entry as a flat mapping with our keys; a bare word is a kind.

    `[{"input": {"type": "METADATA", "key": "lightly.sharpness"}, "strategy": {"type": "WEIGHTS"}}]`
    and `[{"kind": "weights", "column": "sharpness"}]` come to the same.

    Raises:
        BadSelection: an entry that is no mapping or word, a kind nobody knows, or one without what it reads.
    """
    if not isinstance(entries, list | tuple):
        raise BadSelection(f"{entries!r}; expected a list of strategies such as [{{kind: diversity, strength: 1}}]")
    return [_entry(entry) for entry in entries]


def _entry(entry: Any) -> dict[str, Any]:
    if isinstance(entry, str):
        entry = {"kind": entry}
    if not isinstance(entry, Mapping):
        raise BadSelection(f"{entry!r}; expected a strategy such as {{kind: diversity, strength: 1}}")
    flat = _flattened(entry) if isinstance(entry.get("strategy"), Mapping) else dict(entry)
    kind = str(flat.get("kind", "")).lower()
    if kind not in WORDS:
        raise BadSelection(f"unknown strategy {flat.get('kind')!r}; expected one of {', '.join(KINDS)}")
    flat["kind"] = WORDS[kind]
    if flat["kind"] in ("weights", "threshold", "balance", "uncertainty") and flat.get("column") is None:
        raise BadSelection(f"strategy {flat['kind']} needs a column")
    if flat["kind"] == "similarity" and flat.get("to") is None:
        raise BadSelection("strategy similarity needs to: a row, selection:NAME, column:NAME or a file of rows")
    if flat["kind"] == "threshold" and flat.get("min") is None and flat.get("max") is None:
        raise BadSelection("strategy threshold needs min or max")
    return flat


def _flattened(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The field's `input` and `strategy` as one mapping."""
    source, asked = dict(entry.get("input") or {}), dict(entry["strategy"])
    flat: dict[str, Any] = {"kind": asked.pop("type", "")}
    if str(source.get("type", "")).upper() == "RANDOM":
        flat["kind"] = "random"
    for word, ours in (("key", "column"), ("name", "column"), ("tag_name", "to")):
        if word in source and not (word == "name" and "key" in source):
            flat[ours] = _column(str(source[word])) if ours == "column" else f"selection:{source[word]}"
    if str(flat["kind"]).lower() == "balance" and flat.get("column", "").upper() == "CLASS_DISTRIBUTION":
        flat["column"] = "label"
    distribution = asked.pop("distribution", None)
    if distribution is not None and str(distribution).upper() != "TARGET":
        flat["target"] = DISTRIBUTIONS.get(str(distribution).lower(), distribution)
    if "operation" in asked or str(flat["kind"]).lower() == "threshold":
        operation = str(asked.pop("operation", "bigger_equal")).lower()
        if operation not in OPERATIONS:
            raise BadSelection(f"threshold operation {operation!r}; expected one of {', '.join(OPERATIONS)}")
        flat[OPERATIONS[operation]] = asked.pop("threshold", None)
        flat["strict"] = not operation.endswith("_equal")
    if DISTANCE in asked:
        flat["min_distance"] = asked.pop(DISTANCE)
    return {**flat, **asked}


def _column(key: str) -> str:
    """The column that the field's key means: its own measures have a prefix there."""
    return key.removeprefix("lightly.")


def section(written: Mapping[str, Any]) -> dict[str, Any]:
    """The section `select` with the field's words in ours, and the method that a list of strategies means.

    `n_samples: 100` is `budget: 100` and `proportion_samples: 0.1` is `budget: "10%"`.

    Raises:
        BadSelection: a list of strategies beside another method, or a method without what it reads; more than
            one budget; a proportion outside 0..1; or a strategy that cannot be read.
    """
    out = {key: value for key, value in written.items() if key not in ("n_samples", "proportion_samples")}
    given = [name for name in ("n_samples", "proportion_samples") if written.get(name) is not None]
    if len(given) > 1:
        raise BadSelection("n_samples and proportion_samples both say how many to pick; give one of them")
    if given == ["n_samples"]:
        out["budget"] = written["n_samples"]
    elif given:
        out["budget"] = _as_percent(written["proportion_samples"])
    out["strategies"] = strategies(out.get("strategies") or [])
    method = out.get("method", "representative")
    if out["strategies"] and method not in ("strategies", "representative"):
        raise BadSelection(
            f"method {method!r} and a list of strategies; set select.method=strategies, or select.strategies=[]"
        )
    if out["strategies"]:
        out["method"] = "strategies"
    elif method == "strategies":
        raise BadSelection("method 'strategies' without a list; give select.strategies, or another select.method")
    elif method == "uncertainty" and not out.get("scores"):
        raise BadSelection("method uncertainty needs scores: a column or a file of probabilities")
    return out


def _as_percent(share: Any) -> str:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise BadSelection(f"proportion_samples {share!r}; expected a share above 0 and up to 1, such as 0.1")
    return f"{100 * share:.12g}%"


def quotas(value: Any) -> str | dict[str, int] | dict[str, float]:
    """Quotas as written: a rule, `like:` another set, counts by group, or shares by group.

    Raises:
        BadSelection: none of these.
    """
    if isinstance(value, Mapping) and value:
        shares = targets.parse(value)
        if shares is not None:
            targets.Target(shares)  # refuses shares outside 0..1 and above 1 in all
            return {str(group): share for group, share in shares.items()}
        if any(count < 0 for count in value.values()):
            raise BadSelection("quotas are whole numbers of 0 or more, e.g. {car: 20, bus: 5}")
        return {str(group): count for group, count in value.items()}
    if value == "uniform":
        return "equal"
    if value in ("equal", "proportional") or (isinstance(value, str) and value.startswith("like:") and value[5:]):
        return str(value)
    raise BadSelection(
        f"quotas {value!r}; expected equal, proportional, like:SELECTION, like:where:SQL, counts or shares by group"
    )
