"""What stands beside a selection: its controls, and what they say in words."""

from __future__ import annotations

import numpy as np

from curator import evidence
from curator.config import Config
from curator.data import BoolArray, Embeddings, FloatArray, IntArray, Progress
from curator.pipeline.derive import rows_table
from curator.workspace import Workspace


def evidence_of(
    workspace: Workspace,
    embeddings: Embeddings,
    picked: IntArray,
    preselected: IntArray,
    config: Config,
    progress: Progress,
) -> tuple[evidence.Curve, str]:
    """Coverage beside random and every-nth of all readable images, and what it says in words.

    A group of near-duplicates counts once: a still camera's thousand equal frames are one thing to
    cover. What counting every image says stands in the verdict too, since it may say otherwise.
    """

    def curve(weights: FloatArray | None) -> evidence.Curve:
        return evidence.coverage_curve(
            embeddings.vectors,
            picked,
            rng=np.random.default_rng(config.seed),
            n_random=config.report.n_random,
            preselected=preselected if len(preselected) else None,
            weights=weights,
            progress=progress,
        )

    kept = _is_kept(workspace, embeddings.rows)
    once = curve(kept.astype(np.float32))
    verdict = evidence.verdict(once)
    if not kept.all():
        every = evidence.verdict(curve(None))
        verdict = f"Near-duplicates counted once: {_lower(verdict)} Every image counted: {_lower(every)}"
    return once, verdict


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _is_kept(workspace: Workspace, rows: IntArray) -> BoolArray:
    """(n,) whether an image is no near-duplicate of a kept one."""
    kinds = rows_table(workspace, rows, ["duplicate"])["duplicate"].to_pylist()
    return np.asarray([kind == "kept" for kind in kinds], bool)
