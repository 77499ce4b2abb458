"""Pairs that a person judges: which to ask about, what was answered, the two pictures side by side.

Answers at the terminal live in `calibration/answers.jsonl`, one line each, appended and synced one by one: a
person's work is never rewritten and never lost. Those given over HTTP are decisions of kind `pair` in `state.db`,
where they can be undone. Of two answers about one pair the later counts.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from curator import embed
from curator.calibration import histogram_of, stratified
from curator.catalog import Catalog
from curator.config import Config
from curator.data import Embeddings, FloatArray, IntArray
from curator.disk import atomic_write, put_bytes, told
from curator.errors import UsageError
from curator.state import open_state
from curator.workspace import Workspace

FILE = "calibration/answers.jsonl"
PICTURE = "calibration/pair.jpg"
PAGE = 1_000  # decisions read at a time
POOL = 4_000  # images whose pairs may be asked about
WORDS = {"same": True, "s": True, "1": True, "true": True, "yes": True, "different": False, "d": False, "0": False,
         "false": False, "no": False, "unsure": None, "u": None, "": None}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of a pair."""

    row_a: int
    row_b: int
    same: bool | None  # None: unsure


@dataclass(frozen=True, slots=True)
class Question:
    """A pair to judge."""

    row_a: int
    row_b: int
    uri_a: str
    uri_b: str
    similarity: float


def answers_of(workspace: Workspace) -> list[Answer]:
    """Every pair's latest answer, in the order the pairs were first judged; a line cut by a crash is left out."""
    found: dict[tuple[int, int], Answer] = {}
    told = [*_of_file(workspace), *_of_state(workspace)]
    for _, answer in sorted(told, key=lambda pair: pair[0]):  # stable: equal times keep the order of the file
        found[answer.row_a, answer.row_b] = answer
    return list(found.values())


def _of_file(workspace: Workspace) -> Iterator[tuple[float, Answer]]:
    try:
        lines = (workspace.path / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            a, b = sorted((int(record["row_a"]), int(record["row_b"])))
            yield float(record.get("when", 0.0)), Answer(a, b, record["same"])


def _of_state(workspace: Workspace) -> Iterator[tuple[float, Answer]]:
    """Decisions of kind `pair` that nobody took back."""
    before: int | None = None
    with open_state(workspace.path, create=False) as state:
        while page := state.decisions(kind="pair", limit=PAGE, before=before):
            before = page[-1].id
            for decision in page:
                a, b = sorted(decision.rows)
                yield decision.at, Answer(a, b, WORDS[decision.value])


def keep_answer(workspace: Workspace, answer: Answer) -> None:
    """Append one answer and wait until it is on the disk.

    Raises:
        CannotWrite: it cannot be kept.
    """
    path = workspace.path / FILE
    record = {"row_a": answer.row_a, "row_b": answer.row_b, "same": answer.same, "when": round(time.time(), 3)}
    line = json.dumps(record) + "\n"
    with told(path):
        path.parent.mkdir(exist_ok=True)
        with path.open("a+b") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                line = "\n" + line  # a crash cut the last line: leave it to itself
            file.write(line.encode())  # one write: a crash leaves at most one cut line
            file.flush()
            os.fsync(file.fileno())


def read_answers(workspace: Workspace, path: Path) -> list[Answer]:
    """Answers of a CSV file with the columns row_a, row_b and same (same, different, unsure; 1, 0).

    Raises:
        UsageError: the file or a line of it cannot be used; nothing is kept then.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            records = list(reader)
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read answers from {str(path)!r}: {error}") from error
    missing = [name for name in ("row_a", "row_b", "same") if name not in names]
    if missing:
        raise UsageError(f"{str(path)!r} has the columns {', '.join(names) or 'none'}; expected row_a, row_b and same")
    return [_answer(workspace, path, number, record) for number, record in enumerate(records, start=2)]


def _answer(workspace: Workspace, path: Path, line: int, record: dict[str, str]) -> Answer:
    word = (record["same"] or "").strip().lower()
    if word not in WORDS:
        raise UsageError(f"{path}, line {line}: same is {word!r}; expected same, different, unsure, 1 or 0")
    try:
        a, b = int(record["row_a"]), int(record["row_b"])
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}, line {line}: {record['row_a']!r} and {record['row_b']!r} are no rows") from error
    if a == b:
        raise UsageError(f"{path}, line {line}: row {a} is compared with itself; expected two rows")
    return Answer(workspace.check_row(a), workspace.check_row(b), WORDS[word])


def questions(workspace: Workspace, config: Config, *, embeddings: Embeddings | None = None) -> list[Question]:
    """Pairs to judge, spread evenly over the similarities in doubt; those with an answer are left out.

    Args:
        embeddings: of the configured model, where they are in memory already.
    """
    if embeddings is None:
        embeddings = workspace.embeddings(embed.space_name(config.embed.model))
    rng = np.random.default_rng(config.seed)
    pool = np.sort(rng.permutation(len(embeddings))[:POOL])
    vectors = embeddings.vectors[pool]
    left, right, similarity = _candidates(vectors, rng)
    known = {(answer.row_a, answer.row_b) for answer in answers_of(workspace)}
    rows = embeddings.rows[pool]
    fresh = np.asarray([(a, b) not in known for a, b in zip(rows[left].tolist(), rows[right].tolist(), strict=True)])
    left, right, similarity = (values[fresh.astype(bool)] for values in (left, right, similarity))
    wanted = max(config.calibrate.n_pairs - len(known), 0)
    chosen = stratified(left, right, similarity, histogram_of(vectors), wanted, rng)
    uris = _uris(workspace, rows[np.concatenate([left[chosen], right[chosen]])])
    return [
        Question(int(rows[left[i]]), int(rows[right[i]]), uris[int(rows[left[i]])], uris[int(rows[right[i]])],
                 float(similarity[i]))
        for i in chosen.tolist()
    ]  # fmt: skip


def _candidates(vectors: FloatArray, rng: np.random.Generator) -> tuple[IntArray, IntArray, FloatArray]:
    """Of each image its 20 nearest and 20 others by chance, each pair once."""
    n = len(vectors)
    near = min(20, n - 1)
    left, right = [], []
    for start in range(0, n if near > 0 else 0, 512):
        similarity = vectors[start : start + 512] @ vectors.T
        similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))] = -2.0
        nearest = np.argpartition(-similarity, near - 1, axis=1)[:, :near]
        drawn = rng.integers(n, size=(len(similarity), near))
        rows = np.repeat(np.arange(start, start + len(similarity)), 2 * near)
        left.append(rows)
        right.append(np.hstack([nearest, drawn]).ravel())
    if not left:
        none = np.empty(0, np.int64)
        return none, none, np.empty(0, np.float32)
    a, b = np.concatenate(left), np.concatenate(right)
    pairs = np.unique(np.sort(np.column_stack([a, b])[a != b], axis=1), axis=0)
    one, two = pairs[:, 0], pairs[:, 1]
    return one, two, np.einsum("ij,ij->i", vectors[one], vectors[two]).astype(np.float32)


def _uris(workspace: Workspace, rows: IntArray) -> dict[int, str]:
    with Catalog(workspace) as catalog:
        table = catalog.table(["row", "uri"], rows=np.unique(rows))
    return dict(zip(table["row"].to_pylist(), table["uri"].to_pylist(), strict=True))


def side_by_side(workspace: Workspace, question: Question) -> Path | None:
    """Write the two thumbnails beside each other and return the file; none where a thumbnail is missing."""
    found = workspace.thumbnails([question.row_a, question.row_b])
    if len(found) < 2:
        return None
    pictures = [Image.open(io.BytesIO(found[row])).convert("RGB") for row in (question.row_a, question.row_b)]
    gap = 16
    sheet = Image.new("RGB", (sum(p.width for p in pictures) + gap, max(p.height for p in pictures)), (255, 255, 255))
    sheet.paste(pictures[0], (0, 0))
    sheet.paste(pictures[1], (pictures[0].width + gap, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90)
    path = workspace.path / PICTURE
    atomic_write(path, lambda file: put_bytes(file, buffer.getvalue()))
    return path
