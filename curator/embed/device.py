"""Which device a model runs on, decided without importing torch where the answer is plain."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from curator.embed.packages import is_installed
from curator.errors import UsageError

_DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/version")  # Linux, WSL, containers


def pick(device: str) -> str:
    """The device to use: "cpu" or "cuda:N".

    "auto" takes the first CUDA device torch can use and the CPU otherwise. Where no NVIDIA driver is
    present torch is not even imported, so decode workers start fast.

    Raises:
        UsageError: an unknown device name, or CUDA asked for where torch has none.
    """
    if device == "cpu":
        return "cpu"
    if device == "auto":
        return "cuda:0" if _has_driver() and _cuda_count() > 0 else "cpu"
    asked = re.fullmatch(r"cuda(?::(\d+))?", device)
    if asked is None:
        raise UsageError(f"device {device!r} is not known; expected auto, cpu, cuda or cuda:N")
    number, count = int(asked[1] or 0), _cuda_count()
    if number >= count:
        raise UsageError(f"device {device!r} asked for, but torch sees {count} CUDA devices; use device auto or cpu")
    return f"cuda:{number}"


def half_type(device: str) -> Any:
    """The 16-bit type for autocast: bfloat16 where the card computes in it (Ampere and later), else float16."""
    import torch

    major, _ = torch.cuda.get_device_capability(device)
    return torch.bfloat16 if major >= 8 else torch.float16


def _has_driver() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    return any(Path(file).exists() for file in _DRIVER_FILES)


def _cuda_count() -> int:
    if not is_installed("torch"):
        return 0
    import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0
