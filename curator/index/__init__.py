"""Similarity among unit vectors: exact search, all pairs, the kNN graph and the search index.

Knows arrays and cosine similarity; knows nothing of rows, files or models. Every approximate answer
carries the recall that was measured for it against exact search, and below the asked floor the
search is widened until exact search takes over. Works without faiss: numpy, or torch where it sees CUDA.
"""

from curator.index.allowed import Allowed
from curator.index.ann import SearchIndex, build, extend_index
from curator.index.approximate import PairRecall, approximate_pairs
from curator.index.exact import exact_search, measure_recall, normalise
from curator.index.extend import extend_graph
from curator.index.graph import knn_graph
from curator.index.listed import listed_search
from curator.index.pairs import TOLERANCE, PairJoin, Pairs, pair_similarity, reaches
from curator.index.spec import Device, IndexSpec, Kind

__all__ = [
    "TOLERANCE",
    "Allowed",
    "Device",
    "IndexSpec",
    "Kind",
    "PairJoin",
    "PairRecall",
    "Pairs",
    "SearchIndex",
    "approximate_pairs",
    "build",
    "exact_search",
    "extend_graph",
    "extend_index",
    "knn_graph",
    "listed_search",
    "measure_recall",
    "normalise",
    "pair_similarity",
    "reaches",
]
