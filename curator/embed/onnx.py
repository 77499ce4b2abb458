"""`onnx:FILE`: any ONNX image model, with FILE.json beside it saying what it wants.

    {"size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

These three are required. The others and their defaults: "scale" 1/255, multiplied before mean and std;
"resize" size, the short side before the crop; "crop" center | squash; "filter" bicubic | bilinear;
"layout" NCHW | NHWC; "output" the name of the output to take, else the first.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curator.data import FloatArray, ImageArray
from curator.embed import ort
from curator.embed.base import Embedded, ModelInfo, check_images, unit_rows
from curator.embed.packages import is_installed
from curator.errors import BadConfig, UnknownModel
from curator.images import Geometry

VERSION = 1
THRESHOLD = 0.95  # a plain starting value; models differ widely, and so do data sets
WORKER_MAX_BYTES = 200_000_000  # a bigger model is not loaded once per worker
_CHOICES = {"crop": ("center", "squash"), "filter": ("bicubic", "bilinear"), "layout": ("NCHW", "NHWC")}
_KEYS = ("size", "mean", "std", "scale", "resize", *_CHOICES, "output")
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What FILE.json says: geometry, then (pixel * scale - mean) / std per channel."""

    geometry: Geometry
    scale: float
    mean: FloatArray  # (3,)
    std: FloatArray  # (3,)
    layout: Literal["NCHW", "NHWC"]
    output: str | None  # None: the first output

    @property
    def leaves_pixels(self) -> bool:
        """True when the numbers change nothing, as a model that takes uint8 needs."""
        return self.scale == 1.0 and not self.mean.any() and bool((self.std == 1.0).all())


class OnnxFile:
    """An ONNX model, ready to run."""

    def __init__(self, path: Path, sidecar: Sidecar, session: Any, *, space: str, in_worker: bool, batch: int) -> None:
        self.space = space
        self.geometry = sidecar.geometry
        self.fingerprint = fingerprint_of(path)
        self.in_worker = in_worker
        self._path, self._sidecar, self._session = path, sidecar, session
        self._input = session.get_inputs()[0]
        self._output = _output_name(session, sidecar.output, path)
        fixed = self._input.shape[0]
        self._slice = fixed if isinstance(fixed, int) and fixed > 0 else batch
        self._pads = isinstance(fixed, int) and fixed > 0
        self.dim = self._run(np.zeros((1, sidecar.geometry.size, sidecar.geometry.size, 3), np.uint8)).shape[1]

    def __call__(self, images: ImageArray) -> Embedded:
        """Embed (b, S, S, 3) uint8 images."""
        check_images(images, self.geometry.size)
        parts = [self._run(images[at : at + self._slice]) for at in range(0, len(images), self._slice)]
        return Embedded(unit_rows(np.concatenate(parts)) if parts else np.zeros((0, self.dim), np.float32))

    def _run(self, images: ImageArray) -> NDArray[Any]:
        feed = prepare(images, self._sidecar, _TYPES[self._input.type])
        if self._pads and len(feed) < self._slice:  # a graph of fixed batch size: fill up with the last image
            feed = np.concatenate([feed, np.repeat(feed[-1:], self._slice - len(feed), axis=0)])
        try:
            found = self._session.run([self._output], {self._input.name: feed})[0][: len(images)]
        except Exception as error:  # ONNX Runtime's classes share no base but this one
            raise BadConfig(
                f"model {self._path} cannot run on {feed.shape} {feed.dtype}: {_first_line(error)}"
            ) from error
        flat = found.reshape(len(found), -1) if found.ndim == 4 and found.shape[2:] == (1, 1) else found
        if flat.ndim != 2:
            raise BadConfig(
                f"output {self._output!r} of {self._path} is {found.shape}; expected (b, d), one vector per image; "
                f"name another in {_sidecar_path(self._path).name} as 'output'"
            )
        return np.asarray(flat)


def load(path: Path, *, space: str, device: str, threads: int, batch: int) -> OnnxFile:
    """Open an ONNX model and its sidecar.

    Raises:
        UnknownModel: no such file, or ONNX Runtime cannot open it.
        BadConfig: the sidecar is missing or wrong; the key is named.
    """
    if not path.is_file():
        raise UnknownModel(f"no ONNX model at {path}; expected onnx:FILE with FILE.json beside it")
    sidecar = read_sidecar(path)
    device = device if _runs_on_cuda() else "cpu"
    try:
        session = ort.session(path, threads=threads, device=device)
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise UnknownModel(f"ONNX Runtime cannot open {path}: {_first_line(error)}") from error
    kind = session.get_inputs()[0].type
    if kind not in _TYPES or (kind == "tensor(uint8)" and not sidecar.leaves_pixels):
        raise BadConfig(f"model {path} takes {kind}; expected float, float16, or uint8 with scale 1, mean 0 and std 1")
    slices = min(batch, ort.SLICE) if device == "cpu" else batch
    return OnnxFile(path, sidecar, session, space=space, in_worker=runs_in_worker(path, device), batch=slices)


def runs_in_worker(path: Path, device: str) -> bool:
    """Whether every decode worker may load this model: on the CPU, and not too big."""
    on_cpu = device == "cpu" or not _runs_on_cuda()
    return on_cpu and is_installed("onnxruntime") and _size_bytes(path) <= WORKER_MAX_BYTES


def prepare(images: ImageArray, sidecar: Sidecar, kind: type[np.generic]) -> NDArray[Any]:
    """Scale, normalise and lay out a batch as the model wants it."""
    if kind is np.uint8:
        scaled: NDArray[Any] = images
    else:
        scaled = ((images.astype(np.float32) * np.float32(sidecar.scale) - sidecar.mean) / sidecar.std).astype(kind)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)) if sidecar.layout == "NCHW" else scaled


def read_sidecar(path: Path) -> Sidecar:
    """Read FILE.json of an ONNX file.

    Raises:
        BadConfig: missing, no JSON, an unknown key, or a key with a value that cannot be used.
    """
    beside = _sidecar_path(path)
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadConfig(f"no {beside}; write one with at least size, mean and std of the model's input") from error
    except (OSError, ValueError) as error:
        raise BadConfig(f"cannot read {beside} as JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadConfig(f"{beside} holds a {type(found).__name__}; expected an object with size, mean and std")
    for key in found:
        if key not in _KEYS:
            nearest = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; expected one of {', '.join(_KEYS)}"
            raise BadConfig(f"unknown key {key!r} in {beside}{hint}")
    size = _pixels(found, "size", beside)
    resize = _pixels(found, "resize", beside) if "resize" in found else size
    if resize < size:
        raise BadConfig(f"key 'resize' is {resize} in {beside}; expected at least size, {size}")
    choices = {key: _choice(found, key, beside) for key in _CHOICES}
    output = found.get("output")
    if output is not None and not isinstance(output, str):
        raise BadConfig(f"key 'output' is {output!r} in {beside}; expected the name of an output")
    return Sidecar(
        geometry=Geometry(size=size, resize=resize, crop=choices["crop"], filter=choices["filter"]),
        scale=_number(found.get("scale", 1 / 255), "scale", beside),
        mean=_three(found, "mean", beside),
        std=_three(found, "std", beside),
        layout=choices["layout"],
        output=output,
    )


def info(model: str, path: Path) -> ModelInfo:
    """What the file and its sidecar say, read without ONNX Runtime."""
    why_not, size = "", None
    if not path.is_file():
        why_not = f"no file {path}"
    elif not is_installed("onnxruntime"):
        why_not = "onnxruntime not installed"
    else:
        try:
            size = read_sidecar(path).geometry.size
        except BadConfig as error:
            why_not = str(error)
    return ModelInfo(
        name=model,
        what="an ONNX image model with a JSON sidecar",
        licence="the file's own",
        threshold=THRESHOLD,
        size=size,
        available=not why_not,
        why_not=why_not,
    )


def fingerprint_of(path: Path) -> str:
    """Digest of the model, its sidecar, and external weights where they lie beside it.

    Raises:
        UnknownModel: the file or its sidecar cannot be read.
    """
    whole = hashlib.sha256()
    try:
        for each in (path, _sidecar_path(path), *_external(path)):
            with each.open("rb") as file:
                while block := file.read(1 << 20):
                    whole.update(block)
    except OSError as error:
        raise UnknownModel(f"cannot read ONNX model {path}: {error}") from error
    return f"onnx/{whole.hexdigest()[:16]}/v{VERSION}"


def _sidecar_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _external(path: Path) -> list[Path]:
    """Weights that exporters write beside the graph: FILE.data and FILE_data."""
    return [each for each in (path.with_name(path.name + end) for end in (".data", "_data")) if each.is_file()]


def _size_bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, *_external(path)) if each.is_file())


def _runs_on_cuda() -> bool:
    if not is_installed("onnxruntime"):
        return False
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _output_name(session: Any, wanted: str | None, path: Path) -> str:
    names = [output.name for output in session.get_outputs()]
    if wanted is None:
        return str(names[0])
    if wanted not in names:
        raise BadConfig(f"key 'output' is {wanted!r} in {_sidecar_path(path)}; the model has {', '.join(names)}")
    return wanted


def _pixels(found: dict[str, Any], key: str, path: Path) -> int:
    value = _required(found, key, path)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadConfig(f"key {key!r} is {value!r} in {path}; expected a whole number of pixels, 1 or more")
    return value


def _three(found: dict[str, Any], key: str, path: Path) -> FloatArray:
    value = _required(found, key, path)
    if not isinstance(value, list) or len(value) != 3:
        raise BadConfig(f"key {key!r} is {value!r} in {path}; expected 3 numbers, one per channel")
    numbers = np.array([_number(each, key, path) for each in value], np.float32)
    if key == "std" and not (numbers > 0).all():
        raise BadConfig(f"key 'std' is {value!r} in {path}; expected 3 numbers above 0")
    return numbers


def _number(value: Any, key: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise BadConfig(f"key {key!r} is {value!r} in {path}; expected a number")
    return float(value)


def _choice(found: dict[str, Any], key: str, path: Path) -> Any:
    value = found.get(key, _CHOICES[key][0])
    if value not in _CHOICES[key]:
        raise BadConfig(f"key {key!r} is {value!r} in {path}; expected {' or '.join(_CHOICES[key])}")
    return value


def _required(found: dict[str, Any], key: str, path: Path) -> Any:
    if key not in found:
        raise BadConfig(f"key {key!r} is missing in {path}; size, mean and std are required")
    return found[key]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
