"""Model names: what they mean, what is known of them, and loading them.

efficientnet-lite0   efficientnet-lite2   colour   hf:NAME_OR_DIR   onnx:FILE   vectors:FILE
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from curator.data import FloatArray
from curator.embed import builtin, colour, hf, onnx, vectors
from curator.embed import device as devices
from curator.embed.base import Embedder, ModelInfo
from curator.errors import UnknownModel, UsageError

DEFAULT = "efficientnet-lite0"
NAMES = (*builtin.SPECS, colour.NAME)
FORMS = {
    "hf": ("hf:NAME_OR_DIR", "any transformers vision model: DINOv2 and v3, CLIP, SigLIP, ViT; a folder or a hub name"),
    "onnx": ("onnx:FILE", "any ONNX image model; FILE.json beside it says size, mean and std"),
    "vectors": ("vectors:FILE", "your own vectors, .npy or Parquet; joined by row, uri or file name"),
}
# Measured on photographs: re-encodings stay above 0.999, different pictures below 0.985. Depends on the data.
COLOUR_THRESHOLD = 0.99


def load(model: str, *, device: str = "auto", threads: int = 1, n_tags: int = 5, batch: int = 32) -> Embedder:
    """Ready an embedder.

    Args:
        model: a name of `models()`.
        device: auto, cpu, cuda or cuda:N.
        threads: for the CPU; torch's number of threads is set for the whole process.
        n_tags: tags per image from models that have them; 0 for none.
        batch: images at a time on a CUDA device; halved when its memory is short.

    Raises:
        UnknownModel: no such model, folder or file.
        BadConfig: its preprocessing cannot be read.
        MissingPackage: a package it needs is not installed.
        UsageError: the device is not there, or `model` is a vector file, which embeds no image.
    """
    kind, rest = _split(model)
    if kind == colour.NAME:
        return colour.Colour()
    if kind == "vectors":
        raise UsageError(f"{model!r} holds ready vectors and embeds no image; they are read with read_vectors()")
    chosen = devices.pick(device)
    if kind == "hf":
        return hf.load(rest, space=space_name(model), device=chosen, threads=threads, batch=batch)
    if kind == "onnx":
        return onnx.load(Path(rest), space=space_name(model), device=chosen, threads=threads, batch=batch)
    return builtin.load(builtin.SPECS[kind], device=chosen, threads=threads, n_tags=n_tags, batch=batch)


def describe(model: str) -> ModelInfo:
    """What is known of a model without loading it or importing anything heavy.

    Raises:
        UnknownModel: nobody knows the name.
    """
    kind, rest = _split(model)
    if kind == colour.NAME:
        return ModelInfo(
            name=colour.NAME,
            what="colour histograms in a 2 x 2 grid; no weights, sees colour only",
            licence="Apache-2.0",
            threshold=COLOUR_THRESHOLD,
            dim=colour.DIM,
            size=colour.SIZE_PX,
        )
    if kind == "hf":
        return hf.info(model, rest)
    if kind == "onnx":
        return onnx.info(model, Path(rest))
    if kind == "vectors":
        return vectors.info(model, Path(rest))
    return builtin.info(builtin.SPECS[kind])


def models() -> list[ModelInfo]:
    """The built-in models, then the forms that name a model of one's own."""
    forms = [
        ModelInfo(name=name, what=what, licence="the model's own", threshold=hf.THRESHOLD)
        for name, what in FORMS.values()
    ]
    return [describe(name) for name in NAMES] + forms


def fingerprint(model: str) -> str:
    """Digest of weights, preprocessing and version, equal to the loaded embedder's, without loading it.

    Raises:
        UnknownModel: no such model, folder or file.
        MissingPackage: the weights are not installed.
        BadEmbeddings: a vector file that cannot be read.
    """
    kind, rest = _split(model)
    if kind == colour.NAME:
        return colour.Colour.fingerprint
    if kind == "hf":
        return hf.fingerprint_of(hf.locate(rest))
    if kind == "onnx":
        return onnx.fingerprint_of(Path(rest))
    if kind == "vectors":
        return vectors.fingerprint_of(Path(rest))
    return builtin.fingerprint(builtin.SPECS[kind])


def runs_in_worker(model: str, *, device: str = "auto") -> bool:
    """What `in_worker` of the loaded embedder will be, told without loading it.

    Raises:
        UnknownModel: nobody knows the name.
    """
    kind, rest = _split(model)
    if kind == colour.NAME:
        return True
    if kind in ("hf", "vectors"):
        return False
    chosen = devices.pick(device)
    if kind == "onnx":
        return onnx.runs_in_worker(Path(rest), chosen)
    return builtin.runs_in_worker(builtin.SPECS[kind], chosen)


def space_name(model: str) -> str:
    """File-name-safe name of a model's space; different models have different names.

    A model given as a file or folder carries a digest of its full path, since two may share a name.

    Raises:
        UnknownModel: nobody knows the name.
    """
    kind, rest = _split(model)
    if not rest:
        return kind
    path = Path(rest).expanduser()
    if kind == "hf" and not path.exists():
        return f"hf--{rest.replace('/', '--')}"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name if kind == "hf" else path.stem).strip("-.") or "model"
    return f"{kind}--{plain}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def embed_text(embedder: Embedder, texts: Sequence[str]) -> FloatArray:
    """Embed texts into the space of a CLIP-like model's images.

    Returns:
        (t, d) float32 unit vectors.

    Raises:
        UsageError: the model has no text side; the message names what is needed.
        BadConfig: the model has no tokenizer beside it.
    """
    texts_to_vectors = getattr(embedder, "embed_text", None)
    if texts_to_vectors is None:
        raise UsageError(
            f"space {embedder.space!r} has no text side; text search needs a CLIP-like model: "
            "embed with hf:FOLDER of a CLIP or SigLIP model, or search by tag"
        )
    found: FloatArray = texts_to_vectors(texts)
    return found


def _split(model: str) -> tuple[str, str]:
    """The kind of a model and what follows the colon; ("efficientnet-lite0", "") or ("hf", "NAME").

    Raises:
        UnknownModel: nobody knows the name.
    """
    kind, colon, rest = model.partition(":")
    if (not colon and kind in NAMES) or (kind in FORMS and rest):
        return kind, rest
    shown = [form for form, _ in FORMS.values()]
    if kind in FORMS:
        raise UnknownModel(f"model {model!r} names nothing; expected {FORMS[kind][0]}")
    near = difflib.get_close_matches(model.lower(), [*NAMES, *FORMS], n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "."
    raise UnknownModel(f"no model {model!r}{hint} Known: {', '.join([*NAMES, *shown])}; `curator models` lists all")
