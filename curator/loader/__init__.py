"""The decode workers: one pass from files to measures, thumbnails and vectors.

Knows which chunk goes where and in what order it comes back; knows nothing of
the workspace. `work` says what is done to a chunk, `pool` keeps the processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from curator import embed
from curator.data import FloatArray, IntArray, Progress, Sample, no_progress
from curator.loader.pool import Answer, Pool
from curator.loader.values import Chunk, Embedding, Plan, Record, TagArray
from curator.loader.work import Item, Part, Reader, Setup, pictures, run_model, side_needed_px

__all__ = ["CHUNK", "Chunk", "Plan", "Record", "pictures", "read"]

CHUNK = 64  # images; never depends on the number of workers, since a vector's last bits depend on its batch
FEW = 32  # images, without a heavy model: a worker takes longer to start than they take to read
LIGHT_MODELS = frozenset({"colour"})

_NO_ROWS = np.empty(0, np.int64)


def read(samples: Sequence[tuple[int, Sample]], plan: Plan, *, progress: Progress = no_progress) -> Iterator[Chunk]:
    """Read every sample once; chunks come in the order of the samples, equal whatever the number of workers.

    Models that are cheap to load run in the workers, next to the pixels, and only
    vectors travel; the others get their input arrays here. A few chunks per worker
    are under way at a time, so memory does not grow with the number of samples.

    Args:
        samples: row and sample. A sample with a reason comes back as its record, unread.
        plan: what to take from each picture.
        progress: called as ("decode", rows done, rows).

    Raises:
        UnknownModel, MissingPackage: as `embed.load`.
        WorkerFailed: the workers cannot start. A worker that dies at its work is
            replaced; an image that kills its worker is a record with reason "worker_died".
    """
    if not samples:
        return
    n_done = 0
    for chunk in _read_here(samples, plan) if _stays_here(samples, plan) else _read_in_workers(samples, plan):
        n_done += len(chunk.records)
        progress("decode", n_done, len(samples))
        yield chunk


def _stays_here(samples: Sequence[Item], plan: Plan) -> bool:
    """True for a job that is done before a worker has started, and for files that only this process can see."""
    is_small = len(samples) <= FEW and LIGHT_MODELS.issuperset(plan.models)
    return is_small or any("memory://" in sample.file for _, sample in samples)


def _read_here(samples: Sequence[Item], plan: Plan) -> Iterator[Chunk]:
    setup, join = _prepare(plan)
    reader = Reader(setup)
    for items in _batches(samples, plan):
        yield join([Answer(items, reader(items))])


def _read_in_workers(samples: Sequence[Item], plan: Plan) -> Iterator[Chunk]:
    n_batches = -(-len(samples) // _batch_size(plan))
    with Pool(min(plan.workers or _n_cores(), n_batches), "curator.loader.work:Reader") as pool:
        setup, join = _prepare(plan)  # while the workers start; the first load of a model writes what theirs reads
        for answers in pool.map(_batches(samples, plan), setup):
            yield join(answers)


def _n_cores() -> int:
    """Cores this process may use, which in a container or under `taskset` are fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def _batch_size(plan: Plan) -> int:
    return max(CHUNK, plan.batch)


def _batches(samples: Sequence[Item], plan: Plan) -> Iterator[list[Item]]:
    """The samples in chunks, without what a worker has no use for."""
    size = _batch_size(plan)
    for start in range(0, len(samples), size):
        yield [(row, replace(sample, labels=(), metadata={})) for row, sample in samples[start : start + size]]


def _prepare(plan: Plan) -> tuple[Setup, _Join]:
    """What readers need to know, and what is left to do with what they give."""
    models = {
        name: embed.load(name, device=plan.device, threads=plan.threads, n_tags=plan.n_tags, batch=plan.batch)
        for name in plan.models
    }
    here = {name: model for name, model in models.items() if not model.in_worker}
    own = tuple(name for name in models if name not in here)
    inputs = tuple(dict.fromkeys(model.geometry for model in here.values()))
    side_px = side_needed_px(plan, [model.geometry for model in models.values()])
    return Setup(plan, own, inputs, side_px), _Join(here, {name: model.dim for name, model in models.items()})


class _Join:
    """Makes one chunk of the workers' answers, and runs the models that the main process keeps.

    Args:
        here: models run here, on arrays that the workers sent.
        dims: numbers per vector of every model.
    """

    def __init__(self, here: Mapping[str, embed.Embedder], dims: Mapping[str, int]) -> None:
        self._here = here
        self._dims = dims

    def __call__(self, answers: Sequence[Answer]) -> Chunk:
        parts: list[Part] = [answer.result for answer in answers if answer.death is None]
        made = {name: [part.embeddings[name] for part in parts] for name in self._dims if name not in self._here}
        rows = np.concatenate([_NO_ROWS, *(part.rows for part in parts)])  # (m,)
        for name, model in self._here.items():
            pictures = [part.inputs[model.geometry] for part in parts]
            made[name] = [run_model(model, rows, np.concatenate(pictures))] if parts else []
        return Chunk(
            [record for answer in answers for record in _records(answer)],
            {name: _vectors(made[name], dim) for name, dim in self._dims.items()},
            {name: tags for name in self._dims if (tags := _tags(made[name])) is not None},
            {name: faults for name in self._dims if (faults := [fault for e in made[name] for fault in e.faults])},
        )


def _records(answer: Answer) -> list[Record]:
    if answer.death is None:
        part: Part = answer.result
        return part.records
    message = f"the process that read it ended by {answer.death}, the last time with nothing else to read"
    return [Record(row, "worker_died", message) for row, _ in answer.items]


def _vectors(made: Sequence[Embedding], dim: int) -> tuple[IntArray, FloatArray]:
    rows = np.concatenate([_NO_ROWS, *(e.rows for e in made)])  # (m,)
    return rows, np.concatenate([np.empty((0, dim), np.float32), *(e.vectors for e in made)])  # (m, d)


def _tags(made: Sequence[Embedding]) -> tuple[TagArray, FloatArray] | None:
    """Tags beside the vectors; None where the model gives none or no row has a vector."""
    ids = [e.tag_ids for e in made if e.tag_ids is not None]
    scores = [e.tag_scores for e in made if e.tag_scores is not None]
    return (np.concatenate(ids), np.concatenate(scores)) if ids else None  # (m, t) each
