"""What stands beside a selection: its controls, and what they say in words.

Reads what is known of the images (near-duplicates, clusters, classes, metadata) and lets the pure
module `evidence` count. The controls draw from all readable images that pass the selection's filter,
near-duplicates included: that is what one would draw from without Curator.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator import evidence
from curator.catalog import RESERVED, Catalog
from curator.config import Config
from curator.data import BoolArray, Embeddings, FloatArray, IntArray, Neighbors, Progress, no_progress
from curator.pipeline import requesting
from curator.pipeline.calibrating import metric_of
from curator.pipeline.derive import rows_table
from curator.pipeline.filtering import passes
from curator.workspace import Workspace

LABELLED_SHARE = 0.9  # of the images must have a class, or the picks of an ordering may teach nothing by chance
SINGLE_SHARE = 0.95  # of the labelled must have one class only: 1-NN knows no sets of classes
MOST_GROUPS = 1_000  # a column with more values is an identity, not a group
MOST_COLUMNS = 12
GROUPING_TYPES = ("VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT")
NOTHING = "Nothing was selected, so there is nothing to compare."


@dataclass(frozen=True, slots=True)
class Column:
    """A grouping of the images."""

    title: str  # in words: "class", "cluster", "weather"
    codes: IntArray  # (n,) group, -1 for none
    names: list[str]  # (g,)

    def group(self, at: int) -> str | None:
        """Name of an image's group; none where it has none."""
        code = int(self.codes[at])
        return self.names[code] if code >= 0 else None


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What evidence needs to know of the images, over the positions of the embeddings."""

    embeddings: Embeddings
    alike: FloatArray  # (n, d) unit vectors in which near-duplicates were decided: the embeddings, or made for copies
    threshold: float  # cosine of `alike` at or above which images are near-duplicates
    within: float  # cosine of the embeddings at or above which a pick covers an image, as for the selection itself
    covering: evidence.Covering  # who covers whom at `within`, as far as is known
    kept: BoolArray  # (n,) no near-duplicate of a kept one
    inside: BoolArray  # (n,) passes the selection's filter
    representative: IntArray  # (n,) position of the kept one that stands for each; itself where it is kept
    columns: tuple[Column, ...]
    classes: IntArray | None  # (n,) class, -1 unknown; None where learning curves make no sense
    no_classes: str  # why, where classes is None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A selection beside its controls."""

    once: evidence.Curve  # near-duplicates counted once
    every: evidence.Curve  # every image counted, with the share within the threshold
    balances: tuple[evidence.Balance, ...]
    groups: evidence.Balance | None  # near-duplicate groups
    learning: evidence.Learning | None
    no_learning: str  # why, where learning is None

    def measures(self) -> tuple[evidence.Measure, ...]:
        """Everything that more of is better, at the full budget."""
        if len(self.once.budgets) == 0:
            return ()
        mean, worst = self.once.measures()
        again = dataclasses.replace(self.every.measures()[0], name="coverage with every near-duplicate counted")
        out = [mean, again, self.every.measures()[1], worst]
        out += [self.groups.hit] if self.groups else []
        for found in self.balances:
            out += [found.hit, found.evenness] if found.column == "class" else [found.hit]
        return (*out, *(self.learning.measures() if self.learning else ()))


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """The evidence of a selection: what is said of it as a whole, and of every image and pick."""

    meta: dict[str, Any]  # plain values
    first_pick: IntArray  # (n,) as of `evidence.Plan`, and -2 where an image is not to be covered
    groups: list[list[str | None]]  # (k,) of each pick its group in each column of "balance"


def evidence_of(
    workspace: Workspace,
    embeddings: Embeddings,
    picked: IntArray,
    preselected: IntArray,
    config: Config,
    progress: Progress,
) -> Told:
    """A selection beside random draws and every-nth, and what they say in words.

    Args:
        picked: positions in the embeddings, best first.
        preselected: positions that are labelled already; they count for the controls too.

    Returns:
        As `meta`: "verdict" (sentences), "is_better" (coverage beyond random's interval; None undecided), "curve"
        (coverage along the budget), "measures" (every number at the full budget), "balance" (spread by
        column), "learning" (accuracy along the budget, or None and "no_learning" says why), "plan" (how
        many picks cover a share), "knee" (picks, or None).
    """
    scene = scene_of(workspace, embeddings, config)
    controls = controls_of(scene, len(picked), preselected, config)
    found = judge(scene, picked, preselected, controls, config, progress=progress)
    plan = evidence.plan(
        embeddings.vectors,
        picked,
        scene.covering,
        threshold=scene.within,
        candidates=scene.kept & scene.inside,
        points=scene.inside,
        preselected=preselected,
    )
    curve = found.once.to_dict() | {
        "share_within": found.every.to_dict()["share_within"], "threshold": scene.within,
    }  # fmt: skip
    meta = {
        "verdict": verdict(found, plan),
        "is_better": evidence.is_better(found.once),
        "curve": curve,
        "measures": [measure.to_dict() for measure in found.measures()],
        "balance": [balance.to_dict() for balance in found.balances],
        "learning": found.learning.to_dict() if found.learning else None,
        "no_learning": found.no_learning,
        "plan": plan.to_dict() | {"sentence": plan.sentence()},
        "knee": evidence.knee(found.once.path_budgets, found.once.path),
    }
    columns = {column.title: column for column in scene.columns}
    told = [columns[balance.column] for balance in found.balances]
    groups = [[column.group(at) for column in told] for at in picked.tolist()]
    return Told(meta, np.where(scene.inside, plan.first_pick, -2), groups)


def verdict(found: Judged, plan: evidence.Plan | None = None) -> str:
    """Where the selection beats its controls, where it does not, and how many picks would cover nearly all."""
    curve = found.once
    if len(curve.budgets) == 0:
        return NOTHING
    budget = int(curve.budgets[-1])
    if budget >= curve.n_available:
        return f"All {budget:,} were selected, so any other selection of that size is the same."
    first, again, *others = found.measures()
    differs = (first.standing, first.beside_every_nth) != (again.standing, again.beside_every_nth)
    shown = [first, *([again] if differs else []), *(m for m in others if _is_told(m.name))]
    meaning = "Coverage is the mean cosine of an image to its nearest pick, near-duplicates counted once."
    said = f"{evidence.sentence(shown, budget=budget, n_random=curve.n_random)} {meaning}"
    return f"{said} {plan.sentence()}" if plan is not None else said


def _is_told(name: str) -> bool:
    """Metadata stands in the tables; the sentence keeps to what every data set has, and classes."""
    return not name.endswith(" seen") or name in ("clusters seen", "classes seen")


def judge(
    scene: Scene,
    picked: IntArray,
    preselected: IntArray,
    controls: evidence.Controls,
    config: Config,
    *,
    progress: Progress = no_progress,
) -> Judged:
    """Measure one selection against the controls."""
    vectors = scene.embeddings.vectors

    def curve(weights: BoolArray, threshold: float | None) -> evidence.Curve:
        return evidence.coverage_curve(
            vectors, picked, rng=np.random.default_rng(config.seed), controls=controls, threshold=threshold,
            preselected=preselected, weights=weights.astype(np.float32), progress=progress,
        )  # fmt: skip

    def spread(column: Column, names: list[str] | None) -> evidence.Balance | None:
        return evidence.balance(
            column.title, column.codes, names, picked, controls=controls, pool=np.flatnonzero(scene.inside),
            preselected=preselected,
        )  # fmt: skip

    codes = np.unique(scene.representative, return_inverse=True)[1].astype(np.int64)
    learning, why_not = None, scene.no_classes
    if scene.classes is not None:
        learning = evidence.learning_curves(
            vectors, scene.classes, picked, controls=controls, tests=scene.kept & scene.inside,
            threshold=scene.threshold, alike=scene.alike, rng=np.random.default_rng(config.seed),
            preselected=preselected, progress=progress,
        )  # fmt: skip
        why_not = "" if learning else "too few images are left that no ordering has seen"
    balances = [spread(column, column.names) for column in scene.columns] if len(picked) else []
    return Judged(
        once=curve(scene.kept & scene.inside, None),
        every=curve(scene.inside, scene.within),
        balances=tuple(found for found in balances if found is not None),
        groups=spread(Column("near-duplicate group", codes, []), None) if len(picked) else None,
        learning=learning,
        no_learning=why_not,
    )


def controls_of(scene: Scene, n_picks: int, preselected: IntArray, config: Config) -> evidence.Controls:
    """Random draws of `n_picks` from the readable images inside the filter; the same for the same seed."""
    return evidence.draw_controls(
        len(scene.embeddings),
        n_picks,
        rng=np.random.default_rng(config.seed),
        n_random=config.report.n_random,
        candidates=scene.inside,
        preselected=preselected,
    )


# -- what is known of the images ---------------------------------------------------------------------------------


def passing(workspace: Workspace, embeddings: Embeddings, config: Config) -> BoolArray:
    """(n,) whether an image passes the filter and the thresholds of the configured selection."""
    out = passes(workspace, embeddings.rows, config.select)
    if any(wish.kind == "threshold" for wish in config.select.strategies):
        for strategy in requesting.limits(workspace, embeddings, config)["strategies"]:
            if strategy.kind == "threshold":
                out &= strategy.passes()
    return out


def scene_of(workspace: Workspace, embeddings: Embeddings, config: Config, *, is_filtered: bool = True) -> Scene:
    """Read what evidence needs to know.

    Args:
        is_filtered: only images that pass the configured selection's filter and thresholds are to be
            covered and may be drawn.
    """
    rows = embeddings.rows
    named = _grouping_columns(workspace)
    has_clusters = bool(workspace.entries("columns/cluster"))
    wanted = ["duplicate", "representative", "labels", *(["cluster", "cluster_name"] if has_clusters else []), *named]
    table = rows_table(workspace, rows, wanted)
    kept = np.asarray(table["duplicate"].to_pylist(), dtype=object) == "kept"
    own = np.arange(len(rows))
    stands = embeddings.positions_of(np.asarray(table["representative"].fill_null(-1).to_numpy(), np.int64))
    representative = np.where(stands >= 0, stands, own)
    alike, threshold = _duplicates(workspace, embeddings, config)
    within = requesting.threshold(workspace, embeddings, config)
    knows = alike is embeddings.vectors and within <= threshold  # then a near-duplicate is covered too
    classes, why_not = _classes(table["labels"].to_pylist())
    columns = [*_clusters(workspace, table), *(_column(_title(name), table[name].to_pylist()) for name in named)]
    first = _column("class", [labels[0] if labels else None for labels in table["labels"].to_pylist()])
    return Scene(
        embeddings=embeddings,
        alike=alike,
        threshold=threshold,
        within=within,
        covering=evidence.covering(_graph(workspace, embeddings), representative if knows else own, within),
        kept=np.asarray(kept, np.bool_),
        inside=passing(workspace, embeddings, config) if is_filtered else np.ones(len(rows), np.bool_),
        representative=representative,
        columns=tuple(c for c in (first, *columns) if 2 <= len(c.names) <= max(2, min(MOST_GROUPS, len(rows) // 2))),
        classes=classes,
        no_classes=why_not,
    )


def _duplicates(workspace: Workspace, embeddings: Embeddings, config: Config) -> tuple[FloatArray, float]:
    """The vectors in which near-duplicates were decided, and the cosine from which they are."""
    meta = workspace.entries("columns/neardup")[0].meta
    threshold = float(meta["threshold"])
    if meta.get("metric", meta["space"]) == embeddings.space:
        return embeddings.vectors, threshold
    then = config.model_copy(update={"neardups": config.neardups.model_copy(update={"space": "copies"})})
    return metric_of(workspace, then, embeddings).vectors, threshold


def _graph(workspace: Workspace, embeddings: Embeddings) -> Neighbors | None:
    rows, graph = workspace.neighbors(embeddings.space)
    return graph if np.array_equal(rows, embeddings.rows) else None


def _grouping_columns(workspace: Workspace) -> list[str]:
    """Metadata columns that may name groups, and the split; the number of a frame names none."""
    with Catalog(workspace) as catalog:
        found = catalog.columns()
    own = [c for c in found if c.origin == "samples" and (c.name == "split" or c.name not in (*RESERVED, "frame"))]
    return [c.name for c in own if c.type in GROUPING_TYPES][:MOST_COLUMNS]


def _title(name: str) -> str:
    """Of a metadata column; `class` is metadata where another column gives the labels."""
    return "class (metadata)" if name == "class" else name


def _column(title: str, values: list[Any]) -> Column:
    names = sorted({str(value) for value in values if value is not None})
    code = {name: at for at, name in enumerate(names)}
    return Column(title, np.asarray([-1 if v is None else code[str(v)] for v in values], np.int64), names)


def _clusters(workspace: Workspace, table: Any) -> list[Column]:
    entries = workspace.entries("columns/cluster")
    if not entries:
        return []
    labels = np.asarray([-1 if label is None else label for label in table["cluster"].to_pylist()], np.int64)
    names = [
        name if name.startswith("cluster ") else f"{at} {name}" for at, name in enumerate(entries[0].meta["names"])
    ]
    return [Column("cluster", labels, names)]


def _classes(labels: list[list[str] | None]) -> tuple[IntArray | None, str]:
    """(n,) class codes for learning curves, or why there are none."""
    n_some = sum(bool(found) for found in labels)
    n_one = sum(len(found) == 1 for found in labels if found)
    if n_some == 0:
        return None, "the images have no labels"
    if n_some < LABELLED_SHARE * len(labels):
        return None, f"{n_some:,} of {len(labels):,} images have a label; learning curves need {LABELLED_SHARE:.0%}"
    if n_one < SINGLE_SHARE * n_some:
        return None, f"{n_some - n_one:,} of {n_some:,} labelled images have several labels; learning curves need one"
    column = _column("class", [found[0] if found else None for found in labels])
    return (column.codes, "") if len(column.names) > 1 else (None, "all images have the same label")
