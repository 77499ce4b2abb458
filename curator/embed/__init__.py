"""Images to vectors: built-in models, transformers, ONNX files, vectors of one's own.

Knows models and devices; knows nothing of workspaces, sources or how images are decoded.
A new model is a new function from a batch of images to `Embedded`.
"""

from curator.embed.base import Embedded, Embedder, ModelInfo
from curator.embed.models import (
    DEFAULT,
    describe,
    embed_text,
    fingerprint,
    load,
    models,
    runs_in_worker,
    space_name,
)
from curator.embed.tags import search_tags, tag_names
from curator.embed.vectors import read_vectors

__all__ = [
    "DEFAULT",
    "Embedded",
    "Embedder",
    "ModelInfo",
    "describe",
    "embed_text",
    "fingerprint",
    "load",
    "models",
    "read_vectors",
    "runs_in_worker",
    "search_tags",
    "space_name",
    "tag_names",
]
