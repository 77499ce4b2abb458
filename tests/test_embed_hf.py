"""Transformers models: tiny random ones, saved by the test, loaded as a user's folder would be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from curator import embed, images
from curator.data import ImageArray
from curator.embed import hf
from curator.errors import BadConfig, UnknownModel, UsageError
from tests.conftest import picture

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
VISION = SMALL | {"image_size": 32, "patch_size": 8}
TEXT = SMALL | {
    "vocab_size": 40,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
PREPROCESSORS: dict[str, dict[str, Any]] = {
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "do_center_crop": True,
        "do_resize": True,
        "crop_size": {"height": 32, "width": 32},
        "size": {"shortest_edge": 37},
        "resample": 3,
        "rescale_factor": 1 / 255,
        **IMAGENET,
    },
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": True,
        "crop_size": 32,
        "size": 32,
        "resample": 3,
        **IMAGENET,
    },
    "siglip": {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 32, "width": 32},
        "resample": 3,
        **HALF,
    },
    "vit": {"image_processor_type": "ViTImageProcessor", "size": 32, "resample": 2, **HALF},
    "convnext": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_pct": 0.875,
        "resample": 3,
        **IMAGENET,
    },
}


@pytest.fixture(scope="module", autouse=True)
def one_seed() -> Iterator[None]:
    torch.manual_seed(0)
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    yield
    if bars:
        transformers.utils.logging.enable_progress_bar()


def saved(folder: Path, model: Any, preprocessor: str) -> str:
    model.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS[preprocessor]))
    return f"hf:{folder}"


def clip(folder: Path, *, tokenizer: bool = True) -> str:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    name = saved(folder, transformers.CLIPModel(config), "clip")
    if tokenizer:
        write_tokenizer(folder, "CLIPTokenizer")
    return name


def write_tokenizer(folder: Path, kind: str) -> None:
    """A byte-pair vocabulary of letters with and without a word's end, and no merges."""
    letters = "abcdefghijklmnop"
    words = ["<pad>", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {
        "bos_token": words[1],
        "eos_token": words[2],
        "unk_token": words[2],
        "pad_token": words[0],
        "tokenizer_class": kind,
        "model_max_length": 12,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(special))


def batch_of(rng: np.random.Generator, n: int, size: int = 32) -> ImageArray:
    return np.stack([np.asarray(picture(rng, width=size, height=size)) for _ in range(n)])


def scaled(batch: ImageArray, preprocessor: str) -> Any:
    told = PREPROCESSORS[preprocessor]
    numbers = (batch / 255 - np.array(told["image_mean"])) / np.array(told["image_std"])
    return torch.from_numpy(numbers.transpose(0, 3, 1, 2).astype(np.float32))


def unit(features: Any) -> NDArray[np.float32]:
    found = features.detach().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


# Preprocessing


@pytest.mark.parametrize("kind", PREPROCESSORS)
@pytest.mark.parametrize("shape", [(61, 96), (120, 48), (40, 40)])
def test_preprocessing_gives_the_pixels_of_transformers_own_processor(
    kind: str, shape: tuple[int, int], tmp_path: Path, rng: np.random.Generator
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS[kind]))
    pixels = np.asarray(picture(rng, width=shape[1], height=shape[0]))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    theirs = np.asarray(processor(pixels)["pixel_values"][0])  # (3, S, S)
    wanted = hf.read_preprocessing(tmp_path)
    ours = images.fit(pixels, wanted.geometry) * wanted.scale
    ours = ((ours - np.array(wanted.mean)) / np.array(wanted.std)).transpose(2, 0, 1)
    assert ours.shape == theirs.shape
    one_level = 1 / 255 / min(wanted.std)
    assert np.abs(ours - theirs).mean() < one_level


def test_preprocessing_is_also_read_from_a_processor_file(tmp_path: Path) -> None:
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": PREPROCESSORS["siglip"]}))
    assert hf.read_preprocessing(tmp_path).geometry == images.Geometry(size=32, resize=32, crop="squash")


def test_steps_that_are_switched_off_are_left_out(tmp_path: Path) -> None:
    told = PREPROCESSORS["vit"] | {"do_rescale": False, "do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    wanted = hf.read_preprocessing(tmp_path)
    assert (wanted.scale, wanted.mean, wanted.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_mean": None}, "image_mean is None .* expected 3 numbers"),
        ({"image_std": [0.5]}, r"image_std is \[0.5\] .* expected 3 numbers"),
        ({"size": {"height": 32, "width": 40}}, "size is .*40.* equal height and width"),
        ({"size": None}, "size is None"),
        ({"resample": 1}, r"resample is 1 .* expected 2 \(bilinear\) or 3 \(bicubic\)"),
        (
            {"do_center_crop": True, "crop_size": 24, "size": {"height": 32, "width": 32}},
            "size 32 and crop_size 24 differ",
        ),
    ],
)
def test_preprocessing_that_cannot_be_followed_is_refused_by_key(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS["siglip"] | change))
    with pytest.raises(BadConfig, match=words):
        hf.read_preprocessing(tmp_path)


def test_missing_and_broken_preprocessor_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no preprocessor_config.json in .* size, image_mean and image_std"):
        hf.read_preprocessing(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(BadConfig, match="cannot read .*preprocessor_config.json as JSON"):
        hf.read_preprocessing(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("[1]")
    with pytest.raises(BadConfig, match="holds a list; expected an object"):
        hf.read_preprocessing(tmp_path)


# Images


def test_dinov2_gives_its_pooled_class_token(tmp_path: Path, rng: np.random.Generator) -> None:
    plain = transformers.Dinov2Model(transformers.Dinov2Config(**VISION))
    model = embed.load(saved(tmp_path, plain, "dinov2"), device="cpu", batch=2)
    batch = batch_of(rng, 5)
    with torch.no_grad():
        expected = plain(pixel_values=scaled(batch, "dinov2")).last_hidden_state[:, 0]
    found = model(batch)
    np.testing.assert_allclose(found.vectors, unit(expected), atol=1e-5)
    assert (model.dim, model.in_worker, found.tag_ids) == (32, False, None)
    assert model.geometry == images.Geometry(size=32, resize=37, crop="center", filter="bicubic")
    assert model(batch[:0]).vectors.shape == (0, 32)


def test_dinov3_loads_too(tmp_path: Path, rng: np.random.Generator) -> None:
    plain = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**VISION))
    model = embed.load(saved(tmp_path, plain, "vit"), device="cpu")
    batch = batch_of(rng, 2)
    with torch.no_grad():
        expected = plain(pixel_values=scaled(batch, "vit")).pooler_output
    np.testing.assert_allclose(model(batch).vectors, unit(expected), atol=1e-5)


def test_clip_gives_projected_image_features(tmp_path: Path, rng: np.random.Generator) -> None:
    name = clip(tmp_path)
    model = embed.load(name, device="cpu")
    batch = batch_of(rng, 3)
    plain = transformers.CLIPModel.from_pretrained(tmp_path)
    with torch.no_grad():
        vision = plain.vision_model(pixel_values=scaled(batch, "clip")).pooler_output
        expected = plain.visual_projection(vision)
    np.testing.assert_allclose(model(batch).vectors, unit(expected), atol=1e-5)
    assert model.dim == 24


def test_siglip_gives_its_attention_pooled_vector(tmp_path: Path, rng: np.random.Generator) -> None:
    config = transformers.SiglipConfig(text_config=TEXT | {"projection_size": 32}, vision_config=VISION)
    plain = transformers.SiglipModel(config)
    model = embed.load(saved(tmp_path, plain, "siglip"), device="cpu")
    batch = batch_of(rng, 2)
    with torch.no_grad():
        expected = plain.eval().vision_model(pixel_values=scaled(batch, "siglip")).pooler_output
    np.testing.assert_allclose(model(batch).vectors, unit(expected), atol=1e-5)


def test_a_pooler_without_trained_weights_gives_way_to_the_class_token(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    plain = transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False)
    name = saved(tmp_path, plain, "vit")
    batch = batch_of(rng, 2)
    with torch.no_grad():
        expected = plain(pixel_values=scaled(batch, "vit")).last_hidden_state[:, 0]
    first, second = (embed.load(name, device="cpu")(batch).vectors for _ in range(2))
    np.testing.assert_allclose(first, unit(expected), atol=1e-5)
    np.testing.assert_array_equal(first, second)


def test_a_trained_pooler_is_used(tmp_path: Path, rng: np.random.Generator) -> None:
    plain = transformers.ViTModel(transformers.ViTConfig(**VISION))
    model = embed.load(saved(tmp_path, plain, "vit"), device="cpu")
    batch = batch_of(rng, 2)
    with torch.no_grad():
        expected = plain(pixel_values=scaled(batch, "vit")).pooler_output
    np.testing.assert_allclose(model(batch).vectors, unit(expected), atol=1e-5)


def test_a_convolutional_model_gives_one_vector_per_image(tmp_path: Path, rng: np.random.Generator) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=32)
    model = embed.load(saved(tmp_path, transformers.ConvNextModel(config), "convnext"), device="cpu")
    assert model(batch_of(rng, 2)).vectors.shape == (2, 32)
    assert model.geometry == images.Geometry(size=32, resize=36)


def test_a_model_that_gives_nonsense_gives_rows_of_nan(tmp_path: Path, rng: np.random.Generator) -> None:
    plain = transformers.Dinov2Model(transformers.Dinov2Config(**VISION))
    with torch.no_grad():
        plain.layernorm.weight.fill_(float("nan"))
    model = embed.load(saved(tmp_path, plain, "dinov2"), device="cpu")
    assert np.isnan(model(batch_of(rng, 2)).vectors).all()


# Text


def test_clip_embeds_text_into_the_image_space(tmp_path: Path) -> None:
    model = embed.load(clip(tmp_path), device="cpu")
    found = embed.embed_text(model, ["a dog", "a", "a dog", "dog " * 30])
    assert found.shape == (4, model.dim)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    np.testing.assert_allclose(found[1], embed.embed_text(model, ["a"])[0], atol=1e-5)  # padding changes nothing
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_siglip_text_is_padded_to_full_length_as_in_its_training(tmp_path: Path) -> None:
    config = transformers.SiglipConfig(text_config=TEXT | {"projection_size": 32}, vision_config=VISION)
    plain = transformers.SiglipModel(config)
    name = saved(tmp_path, plain, "siglip")
    write_tokenizer(tmp_path, "CLIPTokenizer")
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)(["dog"], padding="max_length", max_length=12)
    with torch.no_grad():
        expected = plain.eval().text_model(input_ids=torch.tensor(tokens["input_ids"])).pooler_output
    found = embed.embed_text(embed.load(name, device="cpu"), ["dog"])
    assert len(tokens["input_ids"][0]) == 12
    assert found.shape == (1, 32)
    np.testing.assert_allclose(found, unit(expected), atol=1e-5)


def test_text_without_a_tokenizer_says_what_is_missing(tmp_path: Path) -> None:
    model = embed.load(clip(tmp_path, tokenizer=False), device="cpu")
    with pytest.raises(BadConfig, match=r"no usable tokenizer in .*tokenizer\.json, or vocab.json and merges.txt"):
        embed.embed_text(model, ["a dog"])


def test_a_vision_only_model_has_no_text_side(tmp_path: Path) -> None:
    model = embed.load(saved(tmp_path, transformers.Dinov2Model(transformers.Dinov2Config(**VISION)), "dinov2"))
    with pytest.raises(UsageError, match="has no text side"):
        embed.embed_text(model, ["a dog"])


# Names, folders and what is said without loading


def test_a_folder_is_described_from_its_files(tmp_path: Path) -> None:
    told = embed.describe(clip(tmp_path))
    assert (told.dim, told.size, told.has_text, told.has_tags, told.available) == (24, 32, True, False, True)


def test_fingerprint_follows_weights_and_preprocessing(tmp_path: Path) -> None:
    name = clip(tmp_path)
    before = embed.fingerprint(name)
    assert embed.load(name, device="cpu").fingerprint == before
    (tmp_path / "README.md").write_text("no part of the model")
    assert embed.fingerprint(name) == before
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS["siglip"]))
    assert embed.fingerprint(name) != before


def test_a_hub_name_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UnknownModel, match=r"'hf:nobody/nothing' is neither a folder nor .* pass the folder of a saved"
    ):
        embed.load("hf:nobody/nothing")
    told = embed.describe("hf:nobody/nothing")
    assert not told.available
    assert "downloaded when first used" in told.why_not


@pytest.mark.parametrize("name", ["/no/such/folder", "a/b/c"])
def test_what_is_neither_folder_nor_hub_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel, match=f"no model folder '{name}', and it is not a hub name"):
        embed.load(f"hf:{name}")


def test_a_model_in_the_hub_cache_is_used_without_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc123")
    saved(cached / "snapshots" / "abc123", transformers.Dinov2Model(transformers.Dinov2Config(**VISION)), "dinov2")
    model = embed.load("hf:someone/tiny", device="cpu")
    assert model(batch_of(rng, 1)).vectors.shape == (1, 32)
    assert model.fingerprint == embed.fingerprint("hf:someone/tiny") == "hf/abc123/v1"
    assert model.space == "hf--someone--tiny"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"holds no config\.json; expected a model saved by transformers"):
        embed.load(f"hf:{tmp_path}")
    assert not embed.describe(f"hf:{tmp_path}").available


def test_weights_that_are_missing_or_incomplete_are_refused(tmp_path: Path) -> None:
    plain = transformers.Dinov2Model(transformers.Dinov2Config(**VISION))
    name = saved(tmp_path, plain, "dinov2")
    kept = {key: value for key, value in plain.state_dict().items() if "layernorm.weight" not in key}
    plain.save_pretrained(tmp_path, state_dict=kept)
    with pytest.raises(UnknownModel, match="lack 1 tensors, 'layernorm.weight' among them"):
        embed.load(name, device="cpu")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(
        UnknownModel, match="cannot load 'hf:.*expected a model folder with config.json and safetensors"
    ):
        embed.load(name, device="cpu")


def test_loading_leaves_transformers_logging_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    plain = transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False)
    name = saved(tmp_path, plain, "vit")
    capfd.readouterr()
    embed.load(name, device="cpu")
    assert capfd.readouterr().err == ""
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
