"""Compare CUDA with CPU, results first and speed second, for embedding, search and k-center.

    python scripts/bench_gpu.py                     # full sizes; needs a CUDA device
    python scripts/bench_gpu.py --json gpu.json
    python scripts/bench_gpu.py --device cpu --tiny # proves that the script runs, on any machine

Needs torch, transformers, numpy, pillow and pyarrow; nothing else. The card's limits are measured in the
same run: matrix products for arithmetic, a copy inside its memory for bandwidth. The vision transformer
has random weights, since no trained ones are at hand: its arithmetic is real, its neighbours are arbitrary.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare GPU machine need not have curator installed

import numpy as np
from _synthetic import clustered
from PIL import Image

from curator import embed
from curator.data import FloatArray, ImageArray, IntArray
from curator.index import exact_search
from curator.selection.kcenter import k_center

LITE0_GFLOP = 0.82  # per image: 0.41 G multiply-adds at 224 px, by the authors of EfficientNet-Lite


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each part gets."""

    images: int = 4096  # embedded on the device
    checked: int = 256  # of them also embedded on the CPU, in float32
    batch: int = 256
    vectors: int = 1_000_000
    queries: int = 10_000
    checked_queries: int = 500
    dim: int = 384
    picks: int = 2_000
    pool: int = 200_000  # vectors that k-center picks from
    gemm: int = 8192  # side of the matrices that measure arithmetic
    copy_mb: int = 2048  # copied to measure bandwidth


TINY = Sizes(16, 8, 4, 2_000, 50, 50, 32, 20, 500, 256, 8)


@dataclass(frozen=True, slots=True)
class Vit:
    """The shape of a vision transformer; the defaults are DINOv2-small's."""

    width: int = 384
    layers: int = 12
    heads: int = 6
    patch: int = 14
    size: int = 224

    @property
    def gflop(self) -> float:
        """Per image: projections and MLP, attention, patches; two per multiply-add."""
        tokens = (self.size // self.patch) ** 2 + 1
        layer = 24 * tokens * self.width**2 + 4 * tokens**2 * self.width
        return (self.layers * layer + 6 * tokens * self.patch**2 * self.width) / 1e9


TINY_VIT = Vit(width=32, layers=2, heads=2, patch=14, size=28)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the device can do, measured."""

    name: str
    gemm16_gflops: float  # bfloat16
    gemm32_gflops: float  # float32, without TF32
    copy_gbytes: float  # per second, read plus written


@dataclass(frozen=True, slots=True)
class Result:
    """One part: agreement of the device with the CPU, and speed."""

    part: str
    work: str
    max_difference: float  # of unit vectors, similarities or distances
    agreement: float  # share of top-10 neighbours, or of picks in order
    agreement_of: str
    rate: float
    rate_unit: str
    gflops: float
    limit_share: float  # of the arithmetic measured for the type it computes in
    device_s: float
    cpu_s_same_work: float  # scaled from what the CPU did


def main() -> None:
    asked = arguments()
    sizes, device = sizes_of(asked), asked.device
    limits = measure_limits(sizes, device)
    print(f"{limits.name}, torch {torch().__version__}, Python {platform.python_version()}")
    print(
        f"measured limits: {limits.gemm16_gflops:,.0f} GFLOP/s bfloat16, {limits.gemm32_gflops:,.0f} GFLOP/s float32, "
        f"{limits.copy_gbytes:,.0f} GB/s copy\n"
    )
    results = []
    for result in measure(sizes, limits, device=device, vit=TINY_VIT if asked.tiny else Vit()):
        results.append(result)
        print(sentence(result), flush=True)
    if asked.json:
        report = {"limits": asdict(limits), "sizes": asdict(sizes), "results": [asdict(each) for each in results]}
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="what is compared with the CPU")
    parser.add_argument("--tiny", action="store_true", help="sizes that take seconds on any machine")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    for name, default in asdict(Sizes()).items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, help=f"default {default}, tiny {getattr(TINY, name)}"
        )
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch().cuda.is_available():
        parser.error("torch sees no CUDA device; use --device cpu --tiny to prove that the script runs")
    return asked


def sizes_of(asked: argparse.Namespace) -> Sizes:
    default = asdict(TINY if asked.tiny else Sizes())
    return Sizes(**{name: getattr(asked, name) or value for name, value in default.items()})


def measure(sizes: Sizes, limits: Limits, *, device: str, vit: Vit) -> Iterator[Result]:
    """Every part in turn; the built-in model only where its packages are installed."""
    with tempfile.TemporaryDirectory() as folder:
        save_random_vit(Path(folder), vit)
        yield bench_embed(f"hf:{folder}", "ViT, random", vit.gflop, sizes, limits, device=device)
    told = embed.describe(embed.DEFAULT)
    if told.available:
        yield bench_embed(embed.DEFAULT, embed.DEFAULT, LITE0_GFLOP, sizes, limits, device=device)
    else:
        print(f"embed {embed.DEFAULT}: left out, {told.why_not}")
    yield bench_search(sizes, limits, device=device)
    yield bench_k_center(sizes, limits, device=device)


def bench_embed(model: str, label: str, gflop: float, sizes: Sizes, limits: Limits, *, device: str) -> Result:
    """Vectors of both devices, and the rate of the whole path: host memory, copy, model, copy back."""
    on_device = embed.load(model, device=device, batch=sizes.batch)
    on_cpu = embed.load(model, device="cpu", batch=32, threads=torch().get_num_threads())
    pictures = random_pictures(sizes.images, on_device.geometry.size)
    some = pictures[: min(sizes.checked, len(pictures))]
    on_device(pictures[: 2 * sizes.batch])  # kernels are chosen and buffers made
    device_s, found = timed(lambda: on_device(pictures).vectors, device)
    cpu_s, truth = timed(lambda: on_cpu(some).vectors, "cpu")
    rate = len(pictures) / device_s
    arithmetic = limits.gemm16_gflops if device == "cuda" else limits.gemm32_gflops
    return Result(
        part=f"embed {label}",
        work=f"{len(pictures)} images of {on_device.geometry.size} px, batch {sizes.batch}, {gflop:.3g} GFLOP each",
        max_difference=float(np.abs(found[: len(some)] - truth).max()),
        agreement=neighbour_agreement(found[: len(some)], truth),
        agreement_of=f"top-10 neighbours among {len(some)}",
        rate=rate,
        rate_unit="images/s",
        gflops=rate * gflop,
        limit_share=rate * gflop / arithmetic,
        device_s=device_s,
        cpu_s_same_work=cpu_s * len(pictures) / len(some),
    )


def bench_search(sizes: Sizes, limits: Limits, *, device: str) -> Result:
    """Exact top-10 of many queries, from host memory and back."""
    drawn = clustered(sizes.queries + sizes.vectors, sizes.dim, seed=0)
    queries, vectors = drawn[: sizes.queries], drawn[sizes.queries :]
    few = queries[: min(sizes.checked_queries, len(queries))]
    asked: Any = device
    exact_search(queries[:64], vectors, 10, device=asked)
    device_s, (positions, similarity) = timed(lambda: exact_search(queries, vectors, 10, device=asked), device)
    cpu_s, (true_positions, true_similarity) = timed(lambda: exact_search(few, vectors, 10, device="cpu"), "cpu")
    gflops = 2.0 * len(queries) * vectors.size / device_s / 1e9
    return Result(
        part="search",
        work=f"{len(queries)} queries, exact top-10 of {len(vectors)} x {sizes.dim}",
        max_difference=float(np.abs(similarity[: len(few)] - true_similarity).max()),
        agreement=shared(positions[: len(few)], true_positions),
        agreement_of=f"top-10 neighbours of {len(few)} queries",
        rate=len(queries) / device_s,
        rate_unit="queries/s",
        gflops=gflops,
        limit_share=gflops / limits.gemm32_gflops,
        device_s=device_s,
        cpu_s_same_work=cpu_s * len(queries) / len(few),
    )


def bench_k_center(sizes: Sizes, limits: Limits, *, device: str) -> Result:
    """Exact greedy picks. GFLOP/s are those of the textbook loop, so a lazy one may exceed its bandwidth."""
    vectors = clustered(sizes.pool, sizes.dim, seed=1)
    asked: Any = device
    k_center(vectors[:256], 8, device=asked)
    device_s, found = timed(lambda: k_center(vectors, sizes.picks, device=asked), device)
    cpu_s, truth = timed(lambda: k_center(vectors, sizes.picks, device="cpu"), "cpu")
    gflops = 2.0 * vectors.size * sizes.picks / device_s / 1e9
    return Result(
        part="k-center",
        work=f"{sizes.picks} picks from {len(vectors)} x {sizes.dim}",
        max_difference=float(np.nanmax(np.abs(found.gains - truth.gains))),
        agreement=float(np.mean(found.positions == truth.positions)),
        agreement_of="picks at the same rank",
        rate=sizes.picks / device_s,
        rate_unit="picks/s",
        gflops=gflops,
        limit_share=gflops / limits.gemm32_gflops,
        device_s=device_s,
        cpu_s_same_work=cpu_s,
    )


def measure_limits(sizes: Sizes, device: str) -> Limits:
    """Arithmetic by square matrix products, bandwidth by a copy inside the device's memory."""
    t = torch()
    t.backends.cuda.matmul.allow_tf32 = False  # the float32 limit is that of float32
    flop = 2.0 * sizes.gemm**3
    rates = []
    for kind in (t.bfloat16, t.float32):
        left, right = (t.randn(sizes.gemm, sizes.gemm, device=device, dtype=kind) for _ in range(2))
        rates.append(flop / best_s(partial(t.matmul, left, right), device) / 1e9)
    source = t.empty(sizes.copy_mb << 20, dtype=t.uint8, device=device)
    target = t.empty_like(source)
    copied = 2 * len(source) / best_s(lambda: target.copy_(source), device) / 1e9
    name = t.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, {t.get_num_threads()} threads"
    return Limits(name, rates[0], rates[1], copied)


def best_s(work: Callable[[], Any], device: str) -> float:
    """The shortest of several runs, each long enough to time."""
    work()
    runs = 10 if device == "cuda" else 2
    return min(timed(lambda: [work() for _ in range(runs)], device)[0] / runs for _ in range(3))


def timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Wall seconds of work that is really over, and its result."""
    wait = torch().cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - start, result


def save_random_vit(folder: Path, vit: Vit) -> None:
    """A model folder as a user would have it, with random weights large enough to tell pictures apart."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch().manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=vit.width,
        num_hidden_layers=vit.layers,
        num_attention_heads=vit.heads,
        image_size=vit.size,
        patch_size=vit.patch,
        initializer_range=0.1,
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    side = {"height": vit.size, "width": vit.size}
    told = {"size": side, "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))


def random_pictures(n: int, size: int) -> ImageArray:
    """Smooth pictures in families of eight that share most of their colours."""
    rng = np.random.default_rng(0)
    families = rng.integers(0, 256, (-(-n // 8), 8, 8, 3))
    coarse = 0.75 * np.repeat(families, 8, axis=0)[:n] + 0.25 * rng.integers(0, 256, (n, 8, 8, 3))
    resized = [Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC) for each in coarse.astype(np.uint8)]
    return np.stack([np.asarray(each) for each in resized])


def neighbour_agreement(found: FloatArray, truth: FloatArray) -> float:
    """Share of each row's ten nearest others that both sets of vectors name."""
    return shared(nearest(found), nearest(truth))


def nearest(vectors: FloatArray) -> IntArray:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    order: IntArray = np.argsort(-similarity, axis=1, kind="stable")[:, : min(10, len(vectors) - 1)]
    return order


def shared(found: IntArray, truth: IntArray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]))


def sentence(result: Result) -> str:
    return (
        f"{result.part}: {result.work}\n"
        f"  results: largest difference {result.max_difference:.2g}; "
        f"{result.agreement:.1%} of {result.agreement_of} agree\n"
        f"  speed: {result.rate:,.0f} {result.rate_unit}, {result.gflops:,.1f} GFLOP/s, "
        f"{result.limit_share:.1%} of the measured limit; "
        f"{result.device_s:.3f} s against {result.cpu_s_same_work:.3f} s on the CPU"
    )


def torch() -> Any:
    import torch

    return torch


if __name__ == "__main__":
    main()
