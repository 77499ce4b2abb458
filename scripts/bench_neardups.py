"""Near-duplicates beside the plain ways, in one run: all pairs, most pairs, the cover, hashes, and who is orphaned.

    python scripts/bench_neardups.py --n 100000
    python scripts/bench_neardups.py --only orphans --data DIR      # DIR holds video/*.mp4, *.avi

Times are CPU seconds of one thread unless told, which a busy machine disturbs least. The plain ways
are a blocked GEMM over the upper triangle and faiss range_search over the whole; both are timed on
part of the rows and scaled, and say so. Peers' own code runs on given encodings at --peer-n rows;
what cannot be imported says why, and fastdup wants a Python of its own (--fastdup). Each part runs in
a fresh process: its peak memory is its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from _parts import Figures, peak_mb, run_parts

from curator import hashing, neardups
from curator.data import BoolArray, FloatArray, IntArray
from curator.index import IndexSpec, PairJoin, Pairs, approximate_pairs, normalise
from curator.index.spec import limited_threads

BLOCK = 2_048
RADIUS = 6  # bits
WALK = {"n": 1_000, "d": 64, "adjacent": 0.995, "threshold": 0.95}  # a slow video, as unit vectors


def bench_exact(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """All pairs at or above the threshold: ours, blocked GEMM and faiss."""
    n, rows = len(vectors), options.plain_rows
    with stopwatch() as ours:
        join = PairJoin(vectors, options.threshold, threads=options.threads)
        pairs = join.within(np.arange(n))
    peak = peak_mb()
    with limited_threads(options.threads):
        with stopwatch() as gemm:
            found = plain_pairs(vectors, rows, options.threshold)
        with stopwatch() as faiss_s:
            searched = faiss_pairs(vectors, rows, options.threshold)
    of_rows = first_of(pairs) < rows
    gemm_s = gemm["cpu_s"] * n**2 / (2 * rows * n - rows**2)  # of the upper triangle
    faiss_all_s = faiss_s["cpu_s"] * n / rows
    return {
        "all pairs cpu_s": ours["cpu_s"],
        "blocked GEMM cpu_s (scaled)": gemm_s,
        "faiss range_search cpu_s (scaled)": faiss_all_s,
        "times faster than GEMM": gemm_s / ours["cpu_s"],
        "times faster than faiss": faiss_all_s / ours["cpu_s"],
        "bound: numbers per vector": join.width,
        "bound is bfloat16": join.bound.is_half,
        "pairs": len(pairs),
        "recall against GEMM": recall_of(pairs, found, of_rows, n),
        "pairs more than GEMM (within rounding)": int(of_rows.sum()) - len(found),
        "recall against faiss": recall_of(pairs, searched, of_rows, n),
        "ours alone peak MB": peak,
    }


def bench_approximate(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """Most pairs by lists; the recall it states beside that of rows compared with all."""
    n = len(vectors)
    spec = IndexSpec(min_recall=options.recall, threads=options.threads, seed=options.seed)
    with stopwatch() as ours:
        pairs, stated = approximate_pairs(vectors, options.threshold, spec=spec)
    peak = peak_mb()
    rows = min(options.plain_rows, n)
    with limited_threads(options.threads), stopwatch() as faiss_s:
        searched = faiss_pairs(vectors, rows, options.threshold)
    faiss_all_s = faiss_s["cpu_s"] * n / rows
    return {
        "pairs by lists cpu_s": ours["cpu_s"],
        "faiss range_search cpu_s (scaled)": faiss_all_s,
        "times faster than faiss": faiss_all_s / ours["cpu_s"],
        "pairs": len(pairs),
        "stated recall": str(stated),
        f"recall on the first {rows:,} rows": recall_of(pairs, searched, first_of(pairs) < rows, n),
        "ours alone peak MB": peak,
    }


def bench_cover(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """The whole deduplication and its certificate."""
    with stopwatch() as covering:
        cover = neardups.cover(vectors, None, options.threshold, method=options.method, threads=options.threads)
    peak = peak_mb()
    with stopwatch() as certifying:
        certificate = neardups.certify(vectors, cover, threads=options.threads)
    n_old = int(0.99 * len(vectors))
    old = neardups.cover(vectors[:n_old], None, options.threshold, policy="first", threads=options.threads)
    with stopwatch() as growing:
        grown = neardups.extend(vectors, n_old, old, policy="first", threads=options.threads)
    return {
        f"cover cpu_s ({options.method})": covering["cpu_s"],
        "certificate cpu_s": certifying["cpu_s"],
        "certificate wall_s": certifying["wall_s"],
        "kept": certificate.kept,
        "orphans": certificate.orphans,
        "kept pairs above": certificate.kept_pairs_above,
        "certificate holds": certificate.holds,
        "cover peak MB": peak,
        "the last 1 % added to the cover of the rest, cpu_s": growing["cpu_s"],
        "... of which kept": int(grown.kept[n_old:].sum()),
    }


def bench_hashes(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """64-bit hashes within some bits, as many as there are vectors, a fifth of them copies a few bits off."""
    import faiss

    hashes = some_hashes(len(vectors), seed=options.seed)
    with stopwatch() as ours:
        pairs = hashing.hamming_pairs(hashes, RADIUS)
    rows = min(4_096, len(hashes))
    with limited_threads(options.threads):
        index = faiss.IndexBinaryFlat(64)
        index.add(hashes.view(np.uint8).reshape(-1, 8))
        with stopwatch() as plain:
            limits, _, to = index.range_search(hashes[:rows].view(np.uint8).reshape(-1, 8), RADIUS + 1)
    at = np.repeat(np.arange(rows), np.diff(limits.astype(np.int64)))
    expected = np.unique(as_keys(at[at != to], to[at != to], len(hashes)))
    found = np.minimum(pairs.left, pairs.right) < rows
    got = as_keys(pairs.left[found], pairs.right[found], len(hashes))
    scaled = plain["cpu_s"] * len(hashes) / rows
    return {
        f"pairs within {RADIUS} bits cpu_s": ours["cpu_s"],
        "faiss IndexBinaryFlat cpu_s (scaled)": scaled,
        "times faster": scaled / ours["cpu_s"],
        "pairs": len(pairs),
        f"same pairs on the first {rows:,} rows": bool(np.array_equal(np.sort(got), expected)),
    }


def bench_peers(vectors: FloatArray, options: argparse.Namespace) -> Figures:
    """imagededup's and fastdup's own code on given encodings."""
    n = min(options.peer_n, len(vectors))
    some, hashes = vectors[:n], some_hashes(n, seed=options.seed)
    with stopwatch() as ours:
        pairs = PairJoin(some, options.threshold, threads=options.threads).within(np.arange(n))
    figures: Figures = {"rows": n, "all pairs cpu_s": ours["cpu_s"]}
    imagededup, reason = with_parts_stubbed("imagededup.methods")
    if imagededup is None:
        figures["imagededup"] = f"could not run: {reason}"
    else:
        with limited_threads(options.threads), stopwatch() as cosine:
            found = imagededup_cosine(imagededup, some, options.threshold)
        figures["imagededup CNN search cpu_s"] = cosine["cpu_s"]
        figures["times faster than imagededup CNN"] = cosine["cpu_s"] / ours["cpu_s"]
        figures["imagededup CNN pairs / ours"] = f"{found} / {len(pairs)}"
        few = min(n, 2_000)
        with stopwatch() as tree:
            found = imagededup_hashes(imagededup, hashes[:few])
        with stopwatch() as few_s:
            near = hashing.hamming_pairs(hashes[:few], RADIUS)
        figures[f"imagededup hash search (bktree), {few:,} rows, cpu_s"] = tree["cpu_s"]
        figures["times faster than imagededup hashes"] = tree["cpu_s"] / few_s["cpu_s"]
        figures["imagededup hash pairs / ours"] = f"{found} / {len(near)}"
        figures["imagededup note"] = "torchvision and its compiled search are replaced by stubs; neither searches here"
    return figures | fastdup_figures(some, pairs, ours["cpu_s"], options)


def fastdup_figures(vectors: FloatArray, pairs: Pairs, ours_s: float, options: argparse.Namespace) -> Figures:
    """fastdup on the same vectors, by the interpreter it is installed in; pairs are all there are."""
    if not options.fastdup:
        return {"fastdup": "not run; --fastdup names a Python that it is installed in"}
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "vectors.npy"), Path(folder, "pairs.npy")
        np.save(given, vectors)
        child = [options.fastdup, str(Path(__file__).with_name("_fastdup.py")), str(given), str(found)]
        child += [str(options.threshold), str(options.fastdup_neighbors)]
        ran = subprocess.run(child, capture_output=True, text=True, check=False)
        if ran.returncode:
            return {"fastdup": f"could not run: {ran.stderr.strip()[-300:]}"}
        told, ends = json.loads(ran.stdout.splitlines()[-1]), np.load(found)
    n = len(vectors)
    keys, all_keys = as_keys(ends[:, 0], ends[:, 1], n), as_keys(pairs.left, pairs.right, n)
    kept = first_of_linked(ends, n)
    is_covered = kept.copy()  # those with a kept one at or above the threshold
    is_covered[pairs.left[kept[pairs.right]]] = True
    is_covered[pairs.right[kept[pairs.left]]] = True
    removed = n - int(kept.sum())
    return {
        f"fastdup {told['version']}, {options.fastdup_neighbors} neighbours, cpu_s": told["cpu_s"],
        "times faster than fastdup": told["cpu_s"] / ours_s,
        "fastdup pair recall": float(np.isin(all_keys, keys).mean()) if len(all_keys) else 1.0,
        "fastdup peak MB": told["peak_mb"],
        "one kept of each connected component: removed": removed,
        "... of which orphans": int((~is_covered).sum()),
    }


def bench_orphans(_: FloatArray, options: argparse.Namespace) -> Figures:
    """Who is removed with no kept one at or above the threshold, by rule: a slow walk, and real clips."""
    figures: Figures = {"": "kept, orphans, worst similarity of a removed one to its nearest kept"}
    for seed in range(3):
        walk = slow_walk(np.random.default_rng(seed))
        figures |= {f"walk {seed}: {name}": told for name, told in by_rule(walk, WALK["threshold"]).items()}
    for clip in sorted(Path(options.data, "video").glob("*.*")) if options.data else []:
        frames, threshold = embedded(clip, options)
        found = by_rule(frames, threshold)
        figures |= {f"{clip.stem[:14]}, {len(frames)} frames: {name}": told for name, told in found.items()}
    return figures


def by_rule(vectors: FloatArray, threshold: float) -> dict[str, str]:
    """What each rule keeps, orphans and leaves as the worst similarity."""
    cover = neardups.cover(vectors, None, threshold)
    certificate = neardups.certify(vectors, cover)
    assert certificate.holds, certificate.faults()
    similarity = vectors @ vectors.T
    rules: dict[str, BoolArray] = {
        "greedy cover (ours)": cover.kept,
        "SemDeDup's rule": hardest_first(vectors, similarity, threshold),
        "connected components": first_of_component(similarity, threshold),
    }
    return {name: told(similarity, kept, threshold) for name, kept in rules.items()}


def hardest_first(vectors: FloatArray, similarity: FloatArray, threshold: float) -> BoolArray:
    """SemDeDup's rule in one cluster: the farthest from the mean first, and out goes whoever an earlier one resembles.

    Whether or not that one is itself kept, as in its published code (and NeMo Curator's).
    """
    mean = vectors.mean(axis=0)
    order = np.argsort(vectors @ mean, kind="stable")
    resembles_earlier = np.any(np.triu(similarity[np.ix_(order, order)], 1) > threshold, axis=0)
    kept = np.ones(len(vectors), np.bool_)
    kept[order[resembles_earlier]] = False
    return kept


def told(similarity: FloatArray, kept: BoolArray, threshold: float) -> str:
    best = similarity[~kept][:, kept].max(axis=1, initial=-1.0)
    return f"{int(kept.sum())}, {int((best < threshold - 1e-6).sum())}, {best.min(initial=1.0):.3f}"


def first_of_component(similarity: FloatArray, threshold: float) -> BoolArray:
    return first_of_linked(np.argwhere(similarity >= threshold), len(similarity))


def first_of_linked(ends: IntArray, n: int) -> BoolArray:
    """Of n points linked by pairs (m, 2) the first of each connected component: fastdup's way to group."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    links = csr_matrix((np.ones(len(ends), np.bool_), (ends[:, 0], ends[:, 1])), shape=(n, n))
    of = connected_components(links, directed=False)[1]
    kept = np.zeros(n, np.bool_)
    kept[np.unique(of, return_index=True)[1]] = True
    return kept


def slow_walk(rng: np.random.Generator) -> FloatArray:
    """Frames of a camera that moves slowly: neighbours at cosine 0.995, the ends far apart."""
    frames = np.empty((int(WALK["n"]), int(WALK["d"])))
    frames[0] = rng.standard_normal(frames.shape[1])
    frames[0] /= np.linalg.norm(frames[0])
    for i in range(1, len(frames)):
        step = rng.standard_normal(frames.shape[1])
        step -= step @ frames[i - 1] * frames[i - 1]
        along = float(WALK["adjacent"])
        frames[i] = along * frames[i - 1] + (1 - along**2) ** 0.5 * step / np.linalg.norm(step)
    return normalise(frames.astype(np.float32))


def embedded(clip: Path, options: argparse.Namespace) -> tuple[FloatArray, float]:
    """The frames of a clip as Curator embeds them, and the model's plain threshold."""
    from curator import embed, pipeline
    from curator.config import load

    with tempfile.TemporaryDirectory() as folder:
        config = load(None, [f"sources.every_nth={options.every_nth}"])
        pipeline.run_one("ingest", Path(folder) / "w", config, sources=[str(clip)])
        result = pipeline.run_one("embed", Path(folder) / "w", config)
        from curator.workspace import open_workspace

        frames = open_workspace(Path(folder) / "w").embeddings(str(result.counts["space"]))
        return np.array(frames.vectors), embed.describe(config.embed.model).threshold


def with_parts_stubbed(name: str) -> tuple[ModuleType | None, str]:
    """A module of imagededup with the parts it cannot import here, none of which search, replaced; or why not."""
    for missing in (
        "torchvision",
        "torchvision.models",
        "torchvision.transforms",
        "imagededup.utils.models",
        "imagededup.utils.data_generator",
        "imagededup.handlers.search.brute_force_cython_ext",
    ):
        sys.modules.setdefault(missing, MagicMock())
    try:
        return importlib.import_module(name), ""
    except ImportError as error:
        return None, str(error)


def imagededup_cosine(methods: ModuleType, vectors: FloatArray, threshold: float) -> int:
    """Pairs that its CNN class finds among given encodings."""
    search = methods.CNN.__new__(methods.CNN)  # its constructor loads a network
    search.logger, search.verbose = MagicMock(), False
    found: dict[str, list[Any]] = search._find_duplicates_dict(
        encoding_map={str(i): vector for i, vector in enumerate(vectors)},
        min_similarity_threshold=threshold,
        scores=False,
        num_sim_workers=0,
    )
    return sum(map(len, found.values())) // 2


def imagededup_hashes(methods: ModuleType, hashes: hashing.Hashes) -> int:
    """Pairs that its hash search finds; by its tree, since the compiled search is not in its wheel."""
    retrieval = importlib.import_module("imagededup.handlers.search.retrieval")
    # Its pool of processes becomes a loop here, so that the CPU time is all in this process.
    retrieval.__dict__["parallelise"] = lambda task, items, *_, **__: list(map(task, items))
    logger: Any = retrieval.logger
    logger.disabled = True
    named = {str(i): f"{value:016x}" for i, value in enumerate(hashes.tolist())}
    search = retrieval.HashEval(
        test=named,
        queries=named,
        distance_function=methods.PHash.hamming_distance,
        verbose=False,
        threshold=RADIUS,
        search_method="bktree",
        num_dist_workers=0,
    )
    return sum(map(len, search.retrieve_results().values())) // 2


def some_hashes(n: int, *, seed: int) -> hashing.Hashes:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(2**64, size=n, dtype=np.uint64)
    n_copies = n // 5
    turned = np.zeros(n_copies, np.uint64)
    for _ in range(8):
        bit = np.uint64(1) << rng.integers(64, size=n_copies).astype(np.uint64)
        turned |= np.where(rng.random(n_copies) < 0.5, bit, np.uint64(0))
    hashes[:n_copies] = hashes[rng.integers(n_copies, n, size=n_copies)] ^ turned
    return hashes


def plain_pairs(vectors: FloatArray, rows: int, threshold: float) -> IntArray:
    """Keys of the pairs whose first is among the first rows; 2k x 2k blocks of the upper triangle."""
    keys = []
    for start in range(0, rows, BLOCK):
        block = vectors[start : min(start + BLOCK, rows)]
        for first in range(start, len(vectors), BLOCK):
            hits = np.flatnonzero(block @ vectors[first : first + BLOCK].T >= threshold)
            width = min(BLOCK, len(vectors) - first)
            at, to = hits // width + start, hits % width + first
            keys.append(as_keys(at[at < to], to[at < to], len(vectors)))
    return np.concatenate(keys)


def faiss_pairs(vectors: FloatArray, rows: int, threshold: float) -> IntArray:
    """Keys of the pairs of which one is among the first rows."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    limits, _, to = index.range_search(vectors[:rows], threshold)
    at = np.repeat(np.arange(rows), np.diff(limits.astype(np.int64)))
    return np.unique(as_keys(at[at != to], to[at != to], len(vectors)))


def as_keys(left: IntArray, right: IntArray, n: int) -> IntArray:
    """One number for each pair, whichever way round."""
    return np.minimum(left, right) * n + np.maximum(left, right)


def first_of(pairs: Pairs) -> IntArray:
    return np.minimum(pairs.left, pairs.right)


def recall_of(pairs: Pairs, expected: IntArray, some: BoolArray, n: int) -> float:
    found = as_keys(pairs.left[some], pairs.right[some], n)
    return float(np.isin(expected, found).mean()) if len(expected) else 1.0


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    took: dict[str, float] = {}
    cpu, wall = time.process_time(), time.perf_counter()
    yield took
    took["cpu_s"], took["wall_s"] = time.process_time() - cpu, time.perf_counter() - wall


def run_part(name: str, path: Path, options: argparse.Namespace) -> Figures:
    """One part, in this process; peak memory beside the size of the vectors."""
    vectors = np.load(path)
    figures = PARTS[name](vectors, options)
    return {**figures, "peak MB": peak_mb(), "vectors MB": vectors.nbytes / 2**20}


PARTS: dict[str, Callable[[FloatArray, argparse.Namespace], Figures]] = {
    "exact": bench_exact,
    "approximate": bench_approximate,
    "cover": bench_cover,
    "hashes": bench_hashes,
    "peers": bench_peers,
    "orphans": bench_orphans,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--recall", type=float, default=0.99, help="floor of the approximate pairs")
    parser.add_argument("--method", choices=neardups.METHODS, default="auto", help="of the cover")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain-rows", type=int, default=4_096, help="rows on which the plain ways are timed")
    parser.add_argument("--peer-n", type=int, default=10_000, help="rows that peers' own code is run on")
    parser.add_argument("--fastdup", metavar="PYTHON", help="a Python that fastdup is installed in: runs it as a peer")
    parser.add_argument("--fastdup-neighbors", type=int, default=32, help="that fastdup looks for")
    parser.add_argument("--data", help="folder with video/: the orphans of real clips too")
    parser.add_argument("--every-nth", type=int, default=3, help="frame of the clips")
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    options.plain_rows = min(options.plain_rows, options.n)
    run_parts(run_part, PARTS, options)


if __name__ == "__main__":
    main()
