"""`hf:NAME_OR_DIR`: any transformers vision model, from a folder or from the hub's local cache.

Preprocessing is read from the model's own preprocessor file and done here, not by transformers'
image processors, so that a machine with torchvision and one without give the same pixels.
CLIP-like models embed text too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from curator.data import FloatArray, ImageArray
from curator.embed.base import Embedded, ModelInfo, check_images, unit_rows
from curator.embed.batching import Batches, lane_for
from curator.embed.device import half_type
from curator.embed.packages import is_installed
from curator.errors import BadConfig, UnknownModel, require
from curator.images import Geometry

VERSION = 1  # raise when preprocessing or the choice of the output changes
THRESHOLD = 0.95  # a plain starting value; models differ widely, and so do data sets
_FILTERS: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}  # PIL's numbers
_WANTED_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # no pickles from the hub
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model wants: geometry, then (pixel * scale - mean) / std per channel."""

    geometry: Geometry
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


class HuggingFace:
    """A transformers model, ready to run on one device."""

    in_worker = False  # torch and transformers take seconds and hundreds of megabytes in each process

    def __init__(
        self,
        *,
        space: str,
        fingerprint: str,
        geometry: Geometry,
        dim: int,
        batches: Batches,
        texts: Callable[[Sequence[str]], FloatArray] | None,
    ) -> None:
        self.space = space
        self.fingerprint = fingerprint
        self.geometry = geometry
        self.dim = dim
        self.embed_text = texts
        self._batches = batches

    def __call__(self, images: ImageArray) -> Embedded:
        """Embed (b, S, S, 3) uint8 images."""
        check_images(images, self.geometry.size)
        if len(images) == 0:
            return Embedded(np.zeros((0, self.dim), np.float32))
        return Embedded(unit_rows(self._batches(images)[0]))


def load(name: str, *, space: str, device: str, threads: int, batch: int) -> HuggingFace:
    """Ready a model given by folder or hub name.

    Raises:
        UnknownModel: no such folder, nothing in the local cache and no way to download, or not a usable model.
        BadConfig: the preprocessor file is missing or asks for something not supported.
    """
    folder = locate(name)
    wanted = read_preprocessing(folder)
    torch = require("torch", extra="cpu")
    if device == "cpu":
        torch.set_num_threads(threads)
    model, has_pooler = _open_model(folder, name)
    model.to(device)
    batches = Batches(lane_for(_forward(model, wanted, device, has_pooler), device), batch=batch)
    blank = np.zeros((1, wanted.geometry.size, wanted.geometry.size, 3), np.uint8)
    return HuggingFace(
        space=space,
        fingerprint=fingerprint_of(folder),
        geometry=wanted.geometry,
        dim=batches(blank)[0].shape[1],
        batches=batches,
        texts=_text_side(model, folder, device) if hasattr(model, "get_text_features") else None,
    )


def locate(name: str) -> Path:
    """The folder of a model: itself, the hub's local cache, or downloaded now.

    What is in the cache is used as it is, so a model does not change under a workspace.

    Raises:
        UnknownModel: none of the three; the message says what to do.
    """
    local = local_folder(name)
    if local is not None:
        return local
    if not _HUB_NAME.fullmatch(name):
        raise UnknownModel(
            f"no model folder {name!r}, and it is not a hub name either; expected a folder or OWNER/NAME"
        )
    hub = require("huggingface_hub", extra="cpu")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=_WANTED_FILES))
    except (OSError, ValueError) as error:  # the hub's errors of network, name and permission derive from these
        raise UnknownModel(
            f"model 'hf:{name}' is neither a folder nor in the local Hugging Face cache, and the hub gave none "
            f"({_first_line(error)}); pass the folder of a saved model, or download it where there is a network"
        ) from error


def local_folder(name: str) -> Path | None:
    """The folder of a model that is already on this disk, found without importing anything; None if there is none."""
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir() and not _HUB_NAME.fullmatch(name):
        raise UnknownModel(f"folder {name!r} holds no config.json; expected a model saved by transformers")
    cached = _hub_cache() / ("models--" + name.replace("/", "--"))
    try:
        commit = (cached / "refs" / "main").read_text().strip()
    except OSError:
        return None
    snapshot = cached / "snapshots" / commit
    has_weights = any(snapshot.glob("*.safetensors"))
    return snapshot if has_weights and (snapshot / "config.json").is_file() else None


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read what the model wants from preprocessor_config.json, or from processor_config.json.

    Raises:
        BadConfig: the file is missing, is no JSON, or asks for something not supported; the key is named.
    """
    path = folder / "preprocessor_config.json"
    if path.is_file():
        found = _read_json(path)
    else:
        path = folder / "processor_config.json"
        found = _read_json(path).get("image_processor", {}) if path.is_file() else {}
    if not found:
        raise BadConfig(
            f"no preprocessor_config.json in {folder}; it must say size, image_mean and image_std of the model's input"
        )
    rescales, normalises = found.get("do_rescale", True), found.get("do_normalize", True)
    return Preprocessing(
        geometry=_geometry(found, path),
        scale=float(found.get("rescale_factor") or 1 / 255) if rescales else 1.0,
        mean=_three(found, "image_mean", path) if normalises else (0.0, 0.0, 0.0),
        std=_three(found, "image_std", path) if normalises else (1.0, 1.0, 1.0),
    )


def info(model: str, name: str) -> ModelInfo:
    """What the files of a model say of it, read without transformers."""
    try:
        folder = local_folder(name)
    except UnknownModel as error:
        return _info(model, available=False, why_not=str(error))
    if folder is None:
        return _info(model, available=False, why_not="not on this disk; it is downloaded when first used")
    try:
        config, wanted = _read_json(folder / "config.json"), read_preprocessing(folder)
    except BadConfig as error:
        return _info(model, available=False, why_not=str(error))
    absent = [package for package in ("torch", "transformers") if not is_installed(package)]
    vision = config.get("vision_config", config)
    return _info(
        model,
        dim=config.get("projection_dim") or vision.get("hidden_size"),
        size=wanted.geometry.size,
        has_text="text_config" in config and "vision_config" in config,
        available=not absent,
        why_not=f"{' and '.join(absent)} not installed" if absent else "",
    )


def _info(model: str, **known: Any) -> ModelInfo:
    return ModelInfo(
        name=model, what="a transformers vision model", licence="the model's own", threshold=THRESHOLD, **known
    )


def fingerprint_of(folder: Path) -> str:
    """Digest of the files that decide the vectors: configuration, preprocessing and weights.

    In the hub's cache a folder is named by its commit, which is a digest of its content already.
    """
    if folder.parent.name == "snapshots":
        return f"hf/{folder.name[:16]}/v{VERSION}"
    whole = hashlib.sha256()
    names = {"config.json", "preprocessor_config.json", "processor_config.json"}
    for path in sorted(folder.iterdir()):
        if path.name in names or path.suffix in (".safetensors", ".bin"):
            whole.update(path.name.encode() + b"\0")
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    whole.update(block)
    return f"hf/{whole.hexdigest()[:16]}/v{VERSION}"


def _open_model(folder: Path, name: str) -> tuple[Any, bool]:
    """The model in evaluation mode, and whether its pooler came with weights (an invented one must not be used)."""
    transformers = require("transformers", extra="cpu")
    with _quiet(transformers):
        try:
            model, loading = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UnknownModel(
                f"transformers {transformers.__version__} cannot load 'hf:{name}' ({_first_line(error)}); "
                "expected a model folder with config.json and safetensors weights"
            ) from error
    missing = sorted(loading["missing_keys"])
    has_pooler = not any("pooler" in key for key in missing)
    invented = [key for key in missing if "pooler" not in key]
    if invented:
        raise UnknownModel(
            f"the weights of 'hf:{name}' lack {len(invented)} tensors, {invented[0]!r} among them; "
            "the folder is incomplete or was saved for another architecture"
        )
    return model.eval(), has_pooler


def _forward(model: Any, wanted: Preprocessing, device: str, has_pooler: bool) -> Callable[[Any], tuple[Any, ...]]:
    import torch

    half = torch.float16 if device == "cpu" else half_type(device)
    mean = torch.tensor(wanted.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(wanted.std, device=device).view(1, 3, 1, 1)

    def forward(pixels: Any) -> tuple[Any, ...]:
        with torch.inference_mode(), torch.autocast(device.partition(":")[0], half, enabled=device != "cpu"):
            scaled = (pixels.permute(0, 3, 1, 2).to(torch.float32) * wanted.scale - mean) / std  # (b, 3, S, S)
            if hasattr(model, "get_image_features"):
                return (_tensor(model.get_image_features(pixel_values=scaled)),)
            return (pooled(model(pixel_values=scaled), has_pooler=has_pooler),)

    return forward


def pooled(output: Any, *, has_pooler: bool) -> Any:
    """One vector per image from a model's output, (b, d).

    The model's own pooled output where its weights were trained, else the class token (the first), else the
    mean of a feature map.
    """
    pooler = getattr(output, "pooler_output", None)
    if pooler is not None and has_pooler:
        return pooler.flatten(1)  # convolutional models give (b, d, 1, 1)
    hidden = output.last_hidden_state
    return hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))


def _tensor(output: Any) -> Any:
    """A feature tensor: itself, or inside the output object that newer versions of transformers wrap it in."""
    pooler = getattr(output, "pooler_output", None)
    return output if pooler is None else pooler


def _text_side(model: Any, folder: Path, device: str) -> Callable[[Sequence[str]], FloatArray]:
    """Text into the image space; the tokenizer is read at the first call, since few callers need it."""
    tokenizer: Any = None

    def embed_text(texts: Sequence[str]) -> FloatArray:
        nonlocal tokenizer
        import torch

        tokenizer = tokenizer or _open_tokenizer(folder)
        length = int(model.config.text_config.max_position_embeddings)
        # SigLIP was trained on texts padded to full length, without a mask; others pad to the longest, with one.
        is_siglip = "siglip" in str(model.config.model_type)
        tokens = tokenizer(
            list(texts),
            padding="max_length" if is_siglip else True,
            return_attention_mask=not is_siglip,
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            features = _tensor(model.get_text_features(**tokens.to(device)))  # (t, d)
        return unit_rows(features.float().cpu().numpy())

    return embed_text


def _open_tokenizer(folder: Path) -> Any:
    transformers = require("transformers", extra="cpu")
    with _quiet(transformers):
        try:
            if not any((folder / name).is_file() for name in _TOKENIZER_FILES):  # else transformers makes an empty one
                raise OSError("none of its files is there")
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadConfig(
                f"no usable tokenizer in {folder} ({_first_line(error)}); text search needs the tokenizer's files "
                "(tokenizer.json, or vocab.json and merges.txt) beside the model"
            ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal; what they say is checked by the caller."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _geometry(found: Mapping[str, Any], path: Path) -> Geometry:
    size, crop, crops = found.get("size"), found.get("crop_size"), bool(found.get("do_center_crop"))
    if found.get("resample", 2) not in _FILTERS:
        raise BadConfig(f"resample is {found['resample']!r} in {path}; expected 2 (bilinear) or 3 (bicubic)")
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size if crops else None
    if shortest is not None:
        resize = int(shortest)
        side = _square(crop, "crop_size", path) if crops and crop else resize
        if found.get("crop_pct") and resize < 384:  # ConvNeXt: resize to size / crop_pct, then crop to size
            resize = int(resize / float(found["crop_pct"]))
        return Geometry(size=side, resize=max(resize, side), crop="center", filter=_FILTERS[found.get("resample", 2)])
    side = _square(size, "size", path)
    if crops and crop:
        inner = _square(crop, "crop_size", path)
        if inner != side:
            raise BadConfig(
                f"size {side} and crop_size {inner} differ in {path}; expected size.shortest_edge with a crop"
            )
    return Geometry(size=side, resize=side, crop="squash", filter=_FILTERS[found.get("resample", 2)])


def _square(value: Any, key: str, path: Path) -> int:
    if isinstance(value, Mapping) and value.get("height") == value.get("width"):
        value = value.get("height")
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise BadConfig(f"{key} is {value!r} in {path}; expected one number of pixels, or equal height and width")


def _three(found: Mapping[str, Any], key: str, path: Path) -> tuple[float, ...]:
    value = found.get(key)
    if isinstance(value, list) and len(value) == 3 and all(isinstance(each, int | float) for each in value):
        return tuple(float(each) for each in value)
    raise BadConfig(f"{key} is {value!r} in {path}; expected 3 numbers, one per channel")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadConfig(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadConfig(f"{path} holds a {type(content).__name__}; expected an object of keys")
    return content


def _hub_cache() -> Path:
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "hub"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
