"""Calibration of a workspace: which similarity means the same image, and the learned metric for copies.

Stored under the manifest key `calibration/<space>`: a JSON file with named results, each for the space `model`
or `copies`, and beside it, where a metric for copies was worth keeping, its arrays. Answers of a person are
appended to `calibration/answers.jsonl` one by one and never rewritten.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from curator import embed
from curator.calibration import (
    Copies,
    Fit,
    Histogram,
    Metric,
    apply_metric,
    fit_answers,
    fit_copies,
    fit_moments,
    histogram_of,
    learn_metric,
    pairs_of_copies,
)
from curator.catalog import Catalog
from curator.config import Config
from curator.data import Embeddings, FloatArray, IntArray, Progress, no_progress
from curator.disk import put_bytes
from curator.errors import DamagedWorkspace, DataError, StageMissing
from curator.images import edits
from curator.pipeline.answers import answers_of
from curator.pipeline.copies import make_copies
from curator.snapshot import Entry, files_of, fingerprint
from curator.workspace import KEPT_FOR_READERS_S, Workspace

POOL = 8_000  # images whose pairs stand for all pairs
LEARN_POOL = 600  # images whose pairs stand for what differs while the metric is learnt
NEAR_S = 2.0  # frames of one clip closer than this are neither copies nor other pictures
LEAST_THRESHOLD = 0.01


def threshold_of(workspace: Workspace, config: Config) -> tuple[float, str]:
    """The near-duplicate threshold and, in words, where it came from.

    Raises:
        StageMissing: the configuration names a calibration that the workspace does not have.
    """
    given, space = config.neardups.threshold, config.neardups.space
    if isinstance(given, float):
        return given, "given"
    if given is None and space == "model":
        return embed.describe(config.embed.model).threshold, "default"
    name = given or "self"
    body = stored(workspace, embed.space_name(config.embed.model))
    for result in body.get("results", ()):
        if (result["name"], result["space"]) == (name, space):
            return float(result["threshold"]), f"calibration {name!r}" + (" for copies" if space == "copies" else "")
    there = sorted({result["name"] for result in body.get("results", ()) if result["space"] == space})
    how = "" if name in ("self", "moments") else f" --ask --name {name}"
    raise StageMissing(
        f"no calibration {name!r} for the space {space!r} in {workspace.path}; there are: "
        f"{', '.join(there) or 'none yet'}; run `curator calibrate -w {workspace.path}{how}`"
    )


def metric_of(workspace: Workspace, config: Config, embeddings: Embeddings) -> Embeddings:
    """The vectors that near-duplicates are decided in: as they are, or in the metric for copies.

    Raises:
        StageMissing: the configuration asks for the metric and the workspace has none.
    """
    if config.neardups.space == "model":
        return embeddings
    metric = stored_metric(workspace, embeddings.space)
    if metric is None:
        told = stored(workspace, embeddings.space).get("metric")
        helps = told is None or bool(told["kept"])
        why = (
            "none was learnt yet"
            if told is None
            else "its file is gone"
            if helps
            else "held-out edits say it does not help here"
        )
        what = f"run `curator calibrate -w {workspace.path}`" if helps else "set neardups.space to model"
        raise StageMissing(f"no metric for copies in {workspace.path}: {why}; {what}")
    vectors = apply_metric(metric, embeddings.vectors, hashes_of(workspace, embeddings.rows))
    return Embeddings(embeddings.rows, vectors, f"{embeddings.space}.copies")


def stored(workspace: Workspace, space: str) -> dict[str, Any]:
    """What calibration left for a space: `results` and `metric`; empty before the first.

    Raises:
        DamagedWorkspace: the file cannot be read.
    """
    entries = workspace.entries(f"calibration/{space}")
    if not entries:
        return {}
    try:
        body: dict[str, Any] = json.loads(workspace.file(entries[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedWorkspace(f"{entries[0].file} cannot be read: {error}; run `curator calibrate` again") from error
    return body


def stored_metric(workspace: Workspace, space: str) -> Metric | None:
    """The metric for copies of a space; none where it was not learnt or does not help."""
    entries = workspace.entries(f"calibration/{space}")[1:]
    if not entries:
        return None
    told = stored(workspace, space)["metric"]
    try:
        with workspace.file(entries[0]).open("rb") as file, np.load(file) as arrays:
            mean, matrix = (arrays.get(name) for name in ("mean", "matrix"))
    except (OSError, ValueError, BadZipFile) as error:
        raise DamagedWorkspace(f"{entries[0].file} cannot be read: {error}; run `curator calibrate` again") from error
    return Metric(told["form"], mean, matrix, told["hash_weight"], told["gain"], told["error"], told["held_out"])


def calibrate(workspace: Workspace, config: Config, *, progress: Progress = no_progress) -> dict[str, Any]:
    """Learn without a person: the results `self` and, where rows are in order of time, `moments`, and the metric.

    Returns:
        What was stored: `results`, `metric` and `notes`.

    Raises:
        StageMissing: there are no embeddings yet.
        UsageError: the space was not made from pixels.
        DataError: too few images.
    """
    embeddings = workspace.embeddings(embed.space_name(config.embed.model))
    rng = np.random.default_rng(config.seed)
    n = len(embeddings)
    if n == 0:
        raise DataError(f"{workspace.path} has no readable image to learn from; `curator info` names the reasons")
    sampled = np.sort(rng.permutation(n)[: config.calibrate.sample])
    hashes = hashes_of(workspace, embeddings.rows)
    sequence, times = _order(workspace, embeddings.rows)
    is_footage = bool(np.isfinite(times).mean() > 0.5)
    copies = make_copies(workspace, embeddings, config, sampled, progress)
    use = _Use(config, copies, sequence, times, is_footage, rng)
    plain, notes, histogram = _results(embeddings.vectors, use, "model")
    metric = _metric(embeddings.vectors, hashes, use, plain[0][1], histogram)
    results = [result for result, _ in plain]
    if metric.helps:
        moved = apply_metric(metric, embeddings.vectors, hashes)
        theirs = Copies(
            apply_metric(metric, copies.vectors, copies.hashes), copies.hashes, copies.of, copies.edit
        )  # fmt: skip
        again = _Use(config, theirs, sequence, times, is_footage, rng)
        found, more, _ = _results(moved, again, "copies", links=(embeddings.vectors, use.of("mild")))
        results += [result for result, _ in found]
        notes += more
    else:
        notes.append("the metric for copies is not kept: on held-out edits it is no better than plain cosine")
    told = {
        "form": metric.name, "hash_weight": metric.hash_weight, "gain": metric.gain, "error": metric.error,
        "held_out": metric.held_out, "kept": metric.helps,
    }  # fmt: skip
    return _store(workspace, embeddings.space, results, told, metric if metric.helps else None, notes)


def calibrate_answers(
    workspace: Workspace, config: Config, *, name: str = "answers", progress: Progress = no_progress
) -> dict[str, Any]:
    """Fit the kept answers, in the model's space and, where there is a metric for copies, in that.

    Raises:
        DataError: fewer than ten answers, or all of one kind.
    """
    embeddings = workspace.embeddings(embed.space_name(config.embed.model))
    judged = [answer for answer in answers_of(workspace) if answer.same is not None]
    at = embeddings.positions_of(np.asarray([answer.row_a for answer in judged], np.int64))
    to = embeddings.positions_of(np.asarray([answer.row_b for answer in judged], np.int64))
    there = (at >= 0) & (to >= 0)
    same = np.asarray([bool(answer.same) for answer in judged], bool)[there]
    if not there.any():
        raise DataError(f"no answers about images of {workspace.path} yet; run `curator calibrate --ask`")
    metric = stored_metric(workspace, embeddings.space)
    vectors = {"model": embeddings.vectors}
    if metric is not None:
        vectors["copies"] = apply_metric(metric, embeddings.vectors, hashes_of(workspace, embeddings.rows))
    results = []
    for done, (space, values) in enumerate(vectors.items()):
        progress("answers", done, len(vectors))
        rng = np.random.default_rng(config.seed)
        similarity = np.einsum("ij,ij->i", values[at[there]], values[to[there]]).astype(np.float32)
        found = fit_answers(similarity, same, all_pairs(values, rng), rng=rng, n_bootstrap=config.calibrate.n_bootstrap)
        told = asdict(found) | {"name": name, "space": space, "kind": "answers", "seed": config.seed}
        results.append(told | {"threshold": max(found.threshold, LEAST_THRESHOLD)})
    return _store(workspace, embeddings.space, results, None, None, [])


def all_pairs(
    vectors: FloatArray, rng: np.random.Generator, *, times: FloatArray | None = None, gap: float = 0.0
) -> Histogram:
    """All pairs of a collection, counted on a sample of its images and scaled up."""
    n = len(vectors)
    chosen = np.sort(rng.permutation(n)[:POOL])
    found = histogram_of(vectors[chosen], times=None if times is None else times[chosen], gap=gap)
    scale = n * (n - 1) / max(len(chosen) * (len(chosen) - 1), 1)
    return Histogram(found.parts * scale, n)


def hashes_of(workspace: Workspace, rows: IntArray) -> NDArray[np.uint64]:
    """(n,) perceptual hashes of rows; 0 where there is none."""
    table = workspace.column("pixels", ["row", "phash"])
    known, hashes = table["row"].to_numpy(), table["phash"].fill_null(0).to_numpy().astype(np.uint64)
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known[order], rows), max(len(known) - 1, 0))
    return np.where(known[order][at] == rows, hashes[order][at], np.uint64(0)).astype(np.uint64)


class _Use:
    """What the fits of one calibration share."""

    def __init__(
        self,
        config: Config,
        copies: Copies,
        sequence: IntArray,
        times: FloatArray,
        is_footage: bool,
        rng: np.random.Generator,
    ) -> None:
        self.config, self.copies, self.sequence, self.times, self.rng = config, copies, sequence, times, rng
        asked = config.calibrate.edits
        # a camera mirrors and turns nothing between two frames
        mild_only = asked == "mild" or (asked == "auto" and is_footage)
        self.sets = ["mild"] if mild_only else ["strong"] if asked == "strong" else ["mild", "strong"]
        self.to_learn = "mild" if mild_only else "upright"

    def of(self, which: str) -> Copies:
        """Copies of a set of edits: mild, upright, or strong; each includes the one before."""
        names = edits.upright() if which == "upright" else edits.names("mild" if which == "mild" else "strong")
        return self.copies.where(np.isin(np.asarray(edits.names("strong"))[self.copies.edit], names))


def _results(
    vectors: FloatArray, use: _Use, space: str, *, links: tuple[FloatArray, Copies] | None = None
) -> tuple[list[tuple[dict[str, Any], Fit]], list[str], Histogram]:
    """Results `self` and, where there are moments, `moments`; and notes for a person."""
    config = use.config
    histogram = all_pairs(vectors, use.rng, times=_line(use), gap=NEAR_S)
    same = {}
    for which in use.sets:
        copies = use.of(which)
        pictures = np.unique(copies.of)
        same[which] = [
            pairs_of_copies(vectors, copies.vectors[copies.of == p], copies.of[copies.of == p]) for p in pictures
        ]
    n_bootstrap = config.calibrate.n_bootstrap
    found = fit_copies(histogram, same, rng=use.rng, n_bootstrap=n_bootstrap)
    out = [(_told("self", space, found, use), found)]
    by, mild = links or (vectors, use.of("mild"))
    if len(mild.of):
        near = np.einsum("ij,ij->i", mild.vectors, by[mild.of])
        try:
            moments = fit_moments(vectors, use.sequence, near, histogram, by=by, rng=use.rng, n_bootstrap=n_bootstrap)
            out.append((_told("moments", space, moments, use), moments))
        except DataError as error:
            where = " in the metric for copies" if space == "copies" else ""
            return out, [f"no result 'moments'{where}: {error}"], histogram
    return out, [], histogram


def _line(use: _Use) -> FloatArray:
    """Clips one after another on one time line, far apart; nan for what is no frame."""
    return np.where(np.isfinite(use.times), use.times + use.sequence.astype(np.float64) * 1e6, np.nan)


def _told(name: str, space: str, fit: Fit, use: _Use) -> dict[str, Any]:
    shown = np.flatnonzero(fit.same > 0)[:: max(len(np.flatnonzero(fit.same > 0)) // 50, 1)]
    edit_names = sorted({edits.names("strong")[code] for code in np.unique(use.copies.edit).tolist()})
    counted = [e for e in edit_names if e in edits.names("mild") or fit.strength.get("strong", 0.0) >= 0.5]
    return {
        "name": name, "kind": name, "space": space, "threshold": max(fit.threshold, LEAST_THRESHOLD),
        "interval": fit.interval, "precision": fit.precision, "precision_interval": fit.precision_interval,
        "recall": fit.recall, "recall_interval": fit.recall_interval, "n_same": fit.n_same,
        "same_edits": counted if name == "self" else [], "weights": dict(fit.strength),
        "curve": [(float(fit.edges[i]), float(fit.same[i])) for i in shown],
        "n_images": len(np.unique(use.copies.of)), "n": len(use.copies.of), "seed": use.config.seed,
    }  # fmt: skip


def _metric(vectors: FloatArray, hashes: NDArray[np.uint64], use: _Use, fit: Fit, histogram: Histogram) -> Metric:
    """Learn on edited copies; pairs that the fit takes for the same count less as different ones."""
    copies = use.of(use.to_learn)
    chosen = use.rng.permutation(len(vectors))[:LEARN_POOL]
    pool = vectors[chosen]
    chance = fit.posterior(histogram)
    at = np.clip(np.searchsorted(fit.edges, (pool @ pool.T).ravel(), side="right") - 1, 0, len(chance) - 1)
    is_same = chance[at].reshape(len(pool), len(pool))
    np.fill_diagonal(is_same, 0.0)
    pictures, of = np.unique(copies.of, return_inverse=True)
    together = np.concatenate([chosen, pictures])  # the pool first, as `learn_metric` wants it
    moved = Copies(copies.vectors, copies.hashes, of.astype(np.int64) + len(chosen), copies.edit)
    return learn_metric(vectors[together], hashes[together], moved, is_same, rng=use.rng)


def _order(workspace: Workspace, rows: IntArray) -> tuple[IntArray, FloatArray]:
    """Clip or folder of each row as a code, and seconds into the clip; nan for what is no frame."""
    with Catalog(workspace) as catalog:
        table = catalog.table(["row", "uri", "file", "kind", "time_s"])
    at = np.searchsorted(table["row"].to_numpy(), rows)
    uris, files, kinds = (table[name].take(at).to_pylist() for name in ("uri", "file", "kind"))
    places = [f if k == "frame" else u.rpartition("/")[0] for u, f, k in zip(uris, files, kinds, strict=True)]
    codes: dict[str, int] = {}
    sequence = np.asarray([codes.setdefault(place, len(codes)) for place in places], np.int64)
    seconds = np.asarray([np.nan if t is None else t for t in table["time_s"].take(at).to_pylist()], np.float64)
    is_frame = np.asarray([kind == "frame" for kind in kinds], bool)
    return sequence, np.where(is_frame, seconds, np.nan)


def _store(
    workspace: Workspace,
    space: str,
    results: Sequence[Mapping[str, Any]],
    told: Mapping[str, Any] | None,
    metric: Metric | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Publish results beside those of other names; a new metric takes the results of the old one's space along."""
    with workspace.writing("calibrate") as writer:
        old: dict[str, Any] = {}
        try:
            old = stored(workspace, space)
        except DamagedWorkspace:
            if told is None:  # answers alone cannot replace what was said of the metric
                raise
        names = {(result["name"], result["space"]) for result in results}
        kept = [
            result
            for result in old.get("results", ())
            if (result["name"], result["space"]) not in names and (told is None or result["space"] == "model")
        ]
        everything = [*kept, *results]
        body: dict[str, Any] = {
            "space": space, "results": everything, "metric": dict(told) if told is not None else old.get("metric"),
        }  # fmt: skip
        given = {} if metric is None else {"mean": metric.mean, "matrix": metric.matrix}
        arrays = {name: np.asarray(value, np.float32) for name, value in given.items() if value is not None}
        stamp = fingerprint(body, [float(value.sum()) for value in arrays.values()])
        text = json.dumps({**body, "fingerprint": stamp}, indent=1, default=float).encode()
        first = Entry(f"calibration/{space}-{stamp}.json", stamp, n=len(everything))
        writer.write(first.file, lambda out: put_bytes(out, text))
        entries = [first]
        if told is None:
            entries += workspace.entries(f"calibration/{space}")[1:]
        elif metric is not None:
            entries.append(Entry(f"calibration/{space}-{stamp}.npz", stamp))
            writer.write(entries[1].file, lambda out: _put_arrays(out, arrays))
        writer.publish({f"calibration/{space}": entries})
        _clean(workspace)
    return {**body, "fingerprint": stamp, "notes": list(notes), "new": sorted(names)}


def _clean(workspace: Workspace) -> None:
    """Remove results that no reader can still hold; never the answers, which no manifest names."""
    current = files_of(workspace.snapshot)
    for path in (workspace.path / "calibration").glob("*-*.*"):
        is_result = path.suffix in (".json", ".npz") and f"calibration/{path.name}" not in current
        if is_result and time.time() - path.stat().st_mtime > KEPT_FOR_READERS_S:
            with suppress(OSError):
                path.unlink()


def _put_arrays(out: IO[bytes], arrays: Mapping[str, FloatArray]) -> None:
    np.savez(out, **arrays)  # type: ignore[arg-type]
