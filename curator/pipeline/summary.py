"""The report stage: what the workspace holds, as the numbers of the report.

Reads published tables only, so the report says what a reader would find.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from curator import embed, images
from curator import report as page
from curator.catalog import Catalog
from curator.config import Config, ReportRates, Select
from curator.data import FloatArray, IntArray, Progress
from curator.pipeline import judgements
from curator.pipeline.derive import floats
from curator.pipeline.filtering import in_words
from curator.pipeline.selecting import LIMITS, fails
from curator.report import numbers
from curator.version import __version__
from curator.workspace import Workspace, Writer

if TYPE_CHECKING:
    import pyarrow as pa

Counts = dict[str, Any]

N_GROUPS = 24  # duplicate groups kept for the page, largest first
N_MEMBERS = 24  # removed members of each
N_FAULTS = 2_000
N_EXTREMES = 8
N_TRIMMED = 200
BINS = 24
MEASURES = {  # column: definition, unit
    "sharpness": ("Edge energy at a fixed working size; low is blurred", ""),
    "brightness": ("Mean luminance", "0..1"),
    "contrast": ("Spread of luminance", "0..1"),
    "saturation": ("Mean colourfulness", "0..1"),
    "entropy": ("Information in the grey levels", "bits"),
    "overexposed": ("Share of white pixels", "0..1"),
    "underexposed": ("Share of black pixels", "0..1"),
}
EXTREMES = (
    ("Darkest", "brightness", False), ("Brightest", "brightness", True),
    ("Blurriest", "sharpness", False), ("Lowest contrast", "contrast", False),
)  # fmt: skip


def report(writer: Writer, config: Config, progress: Progress) -> Counts:
    """Write report/index.html and report/report.json."""
    workspace = writer.workspace
    progress("report", 0, 2)
    found = collect(workspace, config)
    progress("report", 1, 2)
    thumbnails = workspace.thumbnails(page.rows_shown(found))
    path = page.write(found, thumbnails, workspace.path / "report")
    progress("report", 2, 2)
    return {"file": path.relative_to(workspace.path).as_posix(), "n_thumbnails": len(thumbnails)}


def collect(workspace: Workspace, config: Config) -> page.Report:
    """Every number of the report, from what is published."""
    with Catalog(workspace) as catalog:
        table = catalog.table()
    there = np.asarray([s in (None, "present") for s in _list(table, "status")], bool)
    n_gone = int((~there).sum())
    table = table.filter(_mask(there))
    name = config.select.name
    has_selection = bool(workspace.entries(f"selections/{name}"))
    funnel = _funnel(workspace, table, n_gone, name if has_selection else None)
    seconds = sum(record.seconds for record in workspace.snapshot.stages.values())
    return page.Report(
        workspace=workspace.path.name,
        path=str(workspace.path),
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        curator_version=__version__,
        sources=_sources(workspace, table),
        funnel=funnel,
        noun="frame" if set(_list(table, "kind")) == {"frame"} else "image",
        snapshot=workspace.snapshot.sequence,
        unreadable=_unreadable(table, workspace.snapshot.stages["ingest"].counts.get("skipped", {})),
        space=_space(workspace, config),
        graph=_graph(workspace, config),
        duplicates=_duplicates(workspace, table, config),
        clusters=_clusters(workspace, table, name),
        map=_map(workspace, table, name),
        quality=_quality(workspace, table, config),
        selection=_selection(workspace, table, config) if has_selection else None,
        evidence=judgements.evidence(workspace, name) if has_selection else None,
        splits=judgements.splits(workspace),
        savings=_savings(table, funnel, config, seconds) if has_selection else None,
        timings=_timings(workspace),
        machine=machine(),
        config_yaml=yaml.safe_dump(config.model_dump(), sort_keys=False),
        command=shlex.join(["curator", "run", *workspace.snapshot.sources, "-w", str(workspace.path)]),
        selection_is_stale=_staleness(workspace, config) if has_selection else "",
    )


def machine() -> numbers.Machine:
    """Processor, memory, accelerator and versions."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "curator": __version__}
    for package in (
        "numpy",
        "pyarrow",
        "duckdb",
        "faiss-cpu",
        "faiss-gpu",
        "torch",
        "onnxruntime",
        "umap-learn",
        "pillow",
        "av",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return numbers.Machine(
        cpu=_cpu(),
        n_cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=_gpu(),
        system=f"{platform.system()} {platform.release()}",
        versions=versions,
    )


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu() -> str:
    drivers = Path("/proc/driver/nvidia/gpus")  # looked at before torch, whose import takes a second
    if not drivers.exists():
        return ""
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


def _list(table: pa.Table, name: str) -> list[Any]:
    return list(table[name].to_pylist()) if name in table.column_names else [None] * table.num_rows


def _mask(mask: Any) -> Any:
    import pyarrow as pa

    return pa.array(mask)


def _funnel(workspace: Workspace, table: pa.Table, n_gone: int, selection: str | None) -> numbers.Funnel:
    reasons, kinds = _list(table, "reason"), _list(table, "duplicate")
    n_unreadable = sum(reason is not None for reason in reasons)
    if not workspace.entries("columns/neardup"):
        return numbers.Funnel(found=table.num_rows, unreadable=n_unreadable, gone=n_gone)
    counted = Counter(kind for kind, reason in zip(kinds, reasons, strict=True) if reason is None)
    meta = workspace.entries(f"selections/{selection}")[0].meta if selection else {}
    return numbers.Funnel(
        found=table.num_rows,
        unreadable=n_unreadable,
        pending=counted[None],
        exact_duplicates=counted["exact"],
        near_duplicates=counted["near"],
        kept=counted["kept"],
        low_quality=int(meta.get("n_low_quality", 0)),
        filtered_out=int(meta.get("n_filtered_out", 0)),
        preselected=int(meta.get("n_preselected", 0)),
        trimmed=len(meta.get("trimmed", ())),
        selected=workspace.entries(f"selections/{selection}")[0].n if selection else None,
        gone=n_gone,
    )


def _sources(workspace: Workspace, table: pa.Table) -> tuple[numbers.Source, ...]:
    files = _list(table, "file")
    out = []
    for source in workspace.snapshot.sources:
        n = sum(file == source or file.startswith(source.rstrip("/") + "/") for file in files)
        out.append(numbers.Source(source, "folder" if Path(source).is_dir() else "", n or None))
    return tuple(out)


def _unreadable(table: pa.Table, skipped: Mapping[str, int]) -> numbers.Unreadable:
    columns = zip(*(_list(table, name) for name in ("row", "uri", "reason", "message")), strict=True)
    faults = [
        numbers.Fault(row, uri, reason, message or "") for row, uri, reason, message in columns if reason is not None
    ]
    counted = Counter(fault.reason for fault in faults)
    classes = [numbers.FaultClass(reason, images.REASONS.get(reason, reason), n) for reason, n in counted.most_common()]
    return numbers.Unreadable(tuple(classes), tuple(faults[:N_FAULTS]), skipped)


def _space(workspace: Workspace, config: Config) -> numbers.Space | None:
    name = embed.space_name(config.embed.model)
    entries = workspace.entries(f"vectors/{name}")
    if not entries:
        return None
    dim = max(int(entry.meta["dim"]) for entry in entries)
    return numbers.Space(config.embed.model, name, dim, sum(entry.n for entry in entries))


def _graph(workspace: Workspace, config: Config) -> numbers.Graph | None:
    entries = workspace.entries(f"index/{embed.space_name(config.embed.model)}")
    if not entries:
        return None
    meta = entries[0].meta
    return numbers.Graph(
        meta["kind"], entries[0].n, meta["k"], meta["recall"], config.index.min_recall, tuple(meta["notes"])
    )


def _duplicates(workspace: Workspace, table: pa.Table, config: Config) -> numbers.Duplicates | None:
    entries = workspace.entries("columns/neardup")
    if not entries:
        return None
    meta = entries[0].meta
    uris = dict(zip(_list(table, "row"), _list(table, "uri"), strict=True))
    groups: dict[int, list[numbers.Member]] = {}
    names = ("row", "duplicate", "representative", "similarity")
    for row, kind, kept, similarity in zip(*(_list(table, name) for name in names), strict=True):
        if kind in ("near", "exact") and kept in uris:
            groups.setdefault(kept, []).append(numbers.Member(row, uris[row], float(similarity), kind == "exact"))
    for members in groups.values():
        members.sort(key=lambda member: (-member.similarity, member.row))
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    shown = [numbers.Group(kept, uris[kept], len(found), _both_ends(found)) for kept, found in largest[:N_GROUPS]]
    return numbers.Duplicates(
        threshold=float(meta["threshold"]),
        threshold_origin=judgements.threshold_origin(meta),
        keep=config.neardups.keep,
        n_groups=len(groups),
        certificate=numbers.Certificate(**{name: meta["certificate"][name] for name in _CERTIFICATE}),
        groups=tuple(shown),
        **judgements.calibration(workspace, meta),
    )


def _both_ends(members: list[numbers.Member]) -> tuple[numbers.Member, ...]:
    """The nearest and the farthest of a large group: errors are among the farthest."""
    half = N_MEMBERS // 2
    return tuple(members if len(members) <= N_MEMBERS else [*members[:half], *members[-half:]])


_CERTIFICATE = tuple(field.name for field in dataclasses.fields(numbers.Certificate))


def _picked(workspace: Workspace, name: str) -> set[int] | None:
    return set(workspace.selection(name).rows.tolist()) if workspace.entries(f"selections/{name}") else None


def _clusters(workspace: Workspace, table: pa.Table, selection: str) -> numbers.Clusters | None:
    entries = workspace.entries("columns/cluster")
    if not entries:
        return None
    meta = entries[0].meta
    picked = _picked(workspace, selection)
    members: dict[int, list[tuple[float, int]]] = {}
    n_noise = 0
    names = ("row", "cluster", "cluster_distance")
    for row, label, distance in zip(*(_list(table, name) for name in names), strict=True):
        if label is None:
            continue
        if label < 0:
            n_noise += 1
        else:
            members.setdefault(label, []).append((distance, row))
    rows = []
    for label, group in sorted(members.items()):
        examples = [row for _, row in sorted(group)[:3]]
        n_picked = None if picked is None else sum(row in picked for _, row in group)
        rows.append(numbers.ClusterRow(label, meta["names"][label], len(group), n_picked, tuple(examples)))
    rows.sort(key=lambda row: (-row.size, row.cluster))
    n = sum(row.size for row in rows) + n_noise
    return numbers.Clusters(meta["method"], n, n_noise, tuple(rows))


def _map(workspace: Workspace, table: pa.Table, selection: str) -> numbers.Map | None:
    entries = workspace.entries("columns/map")
    if not entries:
        return None
    meta = entries[0].meta
    x, y = floats(table, "x"), floats(table, "y")
    on_map = ~np.isnan(x)
    rows = np.asarray(_list(table, "row"), np.int64)
    labels = np.asarray([-1 if label is None else label for label in _list(table, "cluster")], np.int64)
    picked = np.isin(rows, list(_picked(workspace, selection) or ()))
    return numbers.Map(
        rows[on_map], x[on_map], y[on_map], labels[on_map], picked[on_map], meta["method"], meta["preserved"]
    )


def _quality(workspace: Workspace, table: pa.Table, config: Config) -> numbers.Quality | None:
    if "sharpness" not in table.column_names:
        return None
    rows = np.asarray(_list(table, "row"), np.int64)
    uris = _list(table, "uri")
    values = {name: floats(table, name) for name in MEASURES}
    n = int((~np.isnan(values["sharpness"])).sum())
    if n == 0:
        return None
    measures = tuple(_measure(table, name, values[name], config) for name in MEASURES)
    extremes = tuple(_extreme(title, name, values[name], rows, uris, largest) for title, name, largest in EXTREMES)
    return numbers.Quality(n, measures, extremes, judgements.issues(workspace))


def _measure(table: pa.Table, name: str, values: FloatArray, config: Config) -> numbers.Measure:
    definition, unit = MEASURES[name]
    good = values[~np.isnan(values)].astype(np.float64)
    low, median, high = np.percentile(good, [5, 50, 95])
    counts, edges = np.histogram(good, bins=BINS)
    key = next((key for key in LIMITS if key.endswith(f"_{name}")), None)
    limit = float(getattr(config.quality, key)) if key else None
    n_excluded = int(fails(table, key, config.quality).sum()) if key else 0
    return numbers.Measure(
        name, definition, unit, tuple(edges.tolist()), tuple(counts.tolist()), float(median), float(low), float(high),
        limit or None, n_excluded,
    )  # fmt: skip


def _extreme(
    title: str, name: str, values: FloatArray, rows: IntArray, uris: Sequence[str], largest: bool
) -> numbers.Extreme:
    order = np.argsort(-values if largest else values, kind="stable")  # nan sorts last either way
    best = [at for at in order[:N_EXTREMES].tolist() if not np.isnan(values[at])]
    return numbers.Extreme(
        title, name, tuple(numbers.Scored(int(rows[at]), uris[at], float(values[at])) for at in best)
    )


def _selection(workspace: Workspace, table: pa.Table, config: Config) -> numbers.Selected:
    name = config.select.name
    chosen = workspace.selection(name)
    meta = chosen.config
    asked = meta["config"]
    uris = dict(zip(_list(table, "row"), _list(table, "uri"), strict=True))
    clusters = dict(zip(_list(table, "row"), _list(table, "cluster"), strict=True))
    picks = [
        numbers.Pick(rank, row, uris.get(row, f"row {row}"), reason, float(gain), clusters.get(row))
        for rank, (row, gain, reason) in enumerate(
            zip(chosen.rows.tolist(), chosen.gains.tolist(), chosen.reasons, strict=True), start=1
        )
    ]
    lonely = zip(meta["trimmed"][:N_TRIMMED], meta["trimmed_distance"][:N_TRIMMED], strict=True)
    trimmed = tuple(numbers.Trimmed(row, uris.get(row, f"row {row}"), distance) for row, distance in lonely)
    return numbers.Selected(
        name=name,
        method=asked["method"],
        budget=str(asked["budget"]),
        picks=tuple(picks),
        seed=int(meta["seed"]),
        where=in_words(Select.model_validate(asked)),
        quotas=tuple(numbers.Quota(**quota) for quota in meta["quotas"]),
        quota_column=asked["per_group"],
        trimmed=trimmed,
        trim_share=meta.get("trim_share"),
        unmet=tuple(meta["unmet"]),
        notes=tuple(meta.get("notes", ())),
        optimality=meta.get("optimality"),
        optimality_is_estimate=bool(meta.get("optimality_is_estimate", False)),
    )


def _staleness(workspace: Workspace, config: Config) -> str:
    """A sentence when there are other readable images now than when the selection was made."""
    then = int(workspace.entries(f"selections/{config.select.name}")[0].meta["n_readable"])
    now = sum(entry.n for entry in workspace.entries(f"index/{embed.space_name(config.embed.model)}"))
    if then == now:
        return ""
    return f"The selection was made from {then:,} images, there are {now:,} now; run `curator select` again."


def _savings(table: pa.Table, funnel: numbers.Funnel, config: Config, seconds: float) -> page.Savings:
    rates: ReportRates = config.report
    stored: dict[str, int | None] = {"bytes_readable": None, "bytes_kept": None}
    kinds, reasons = _list(table, "kind"), _list(table, "reason")
    if "frame" not in kinds:
        sizes = np.asarray(_list(table, "size_bytes"), np.float64)
        readable = np.asarray([reason is None for reason in reasons], bool)
        kept = np.asarray([kind == "kept" for kind in _list(table, "duplicate")], bool)
        stored = {"bytes_readable": int(sizes[readable].sum()), "bytes_kept": int(sizes[readable & kept].sum())}
    defaults = ReportRates()
    are_defaults = (rates.cost_per_label, rates.seconds_per_label) == (
        defaults.cost_per_label,
        defaults.seconds_per_label,
    )
    return page.savings(
        page.Rates(rates.cost_per_label, rates.seconds_per_label, rates.currency, are_defaults),
        n_readable=funnel.readable,
        n_selected=funnel.selected or 0,
        seconds_run=seconds,
        **stored,
    )


def _timings(workspace: Workspace) -> tuple[numbers.Timing, ...]:
    order = ("ingest", "embed", "index", "neardups", "issues", "cluster", "map", "select")
    stages = workspace.snapshot.stages
    return tuple(
        numbers.Timing(name, stages[name].seconds, stages[name].counts.get("n_read", stages[name].counts.get("n")))
        for name in order
        if name in stages
    )
