"""Models and vectors that people bring as files: ONNX with a sidecar, .npy and Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from curator import embed, images
from curator.data import ImageArray
from curator.embed import onnx as onnx_files
from curator.errors import BadConfig, BadEmbeddings, UnknownModel, UsageError

IMAGENET: dict[str, Any] = {"size": 4, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def write_model(
    path: Path,
    *,
    batch: int | str = "b",
    layout: str = "NCHW",
    kind: str = "FLOAT",
    sidecar: dict[str, Any] | None = None,
) -> str:
    """A model of two outputs: `flat`, all input numbers in a row, and `map`, the input itself."""
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, getattr(onnx.TensorProto, kind)
    shape = [batch, 3, 4, 4] if layout == "NCHW" else [batch, 4, 4, 3]
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Identity", ["x"], ["map"])],
        "tiny",
        [helper.make_tensor_value_info("x", number, shape)],
        [
            helper.make_tensor_value_info("flat", number, [batch, 48]),
            helper.make_tensor_value_info("map", number, shape),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    if sidecar is not None:
        path.with_name(path.name + ".json").write_text(json.dumps(sidecar))
    return f"onnx:{path}"


def some_images(rng: np.random.Generator, n: int) -> ImageArray:
    return rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ONNX files


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_onnx_file_runs_on_scaled_and_normalised_pixels(
    layout: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    name = write_model(tmp_path / "m.onnx", layout=layout, sidecar=IMAGENET | {"layout": layout})
    batch = some_images(rng, 19)
    expected = (batch / 255 - IMAGENET["mean"]) / IMAGENET["std"]
    expected = expected.transpose(0, 3, 1, 2) if layout == "NCHW" else expected
    model = embed.load(name, device="cpu", batch=4)
    np.testing.assert_allclose(model(batch).vectors, unit(expected.reshape(19, -1)), atol=1e-6)
    assert (model.dim, model.in_worker, model.geometry) == (48, True, images.Geometry(size=4, resize=4))
    assert model(batch[:0]).vectors.shape == (0, 48)
    assert model.fingerprint == embed.fingerprint(name)
    assert embed.runs_in_worker(name, device="cpu")


def test_the_sidecar_decides_scale_crop_and_filter(tmp_path: Path, rng: np.random.Generator) -> None:
    sidecar = IMAGENET | {"scale": 1, "crop": "squash", "filter": "bilinear", "mean": [127, 127, 127], "std": [128] * 3}
    model = embed.load(write_model(tmp_path / "m.onnx", sidecar=sidecar), device="cpu")
    batch = some_images(rng, 2)
    expected = ((batch - 127.0) / 128.0).transpose(0, 3, 1, 2).reshape(2, -1)
    np.testing.assert_allclose(model(batch).vectors, unit(expected), atol=1e-6)
    assert model.geometry == images.Geometry(size=4, resize=4, crop="squash", filter="bilinear")


def test_a_model_of_fixed_batch_size_takes_any_number_of_images(tmp_path: Path, rng: np.random.Generator) -> None:
    fixed = embed.load(write_model(tmp_path / "fixed.onnx", batch=3, sidecar=IMAGENET), device="cpu")
    free = embed.load(write_model(tmp_path / "free.onnx", sidecar=IMAGENET), device="cpu")
    batch = some_images(rng, 7)
    np.testing.assert_allclose(fixed(batch).vectors, free(batch).vectors, atol=1e-7)


def test_a_half_precision_model_runs(tmp_path: Path, rng: np.random.Generator) -> None:
    half = embed.load(write_model(tmp_path / "h.onnx", kind="FLOAT16", sidecar=IMAGENET), device="cpu")
    full = embed.load(write_model(tmp_path / "f.onnx", sidecar=IMAGENET), device="cpu")
    batch = some_images(rng, 3)
    np.testing.assert_allclose(half(batch).vectors, full(batch).vectors, atol=1e-3)


def test_a_model_that_takes_bytes_gets_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    plain = {"size": 4, "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1, "layout": "NHWC"}
    model = embed.load(write_model(tmp_path / "b.onnx", kind="UINT8", layout="NHWC", sidecar=plain), device="cpu")
    batch = some_images(rng, 2)
    np.testing.assert_allclose(model(batch).vectors, unit(batch.reshape(2, -1).astype(float)), atol=1e-6)
    with pytest.raises(BadConfig, match=r"takes tensor\(uint8\); expected .* uint8 with scale 1, mean 0 and std 1"):
        embed.load(write_model(tmp_path / "b.onnx", kind="UINT8", layout="NHWC", sidecar=IMAGENET), device="cpu")


def test_a_black_image_of_a_model_without_offset_is_a_row_of_nan(tmp_path: Path) -> None:
    sidecar = {"size": 4, "mean": [0, 0, 0], "std": [1, 1, 1]}
    model = embed.load(write_model(tmp_path / "m.onnx", sidecar=sidecar), device="cpu")
    found = model(np.stack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 9, np.uint8)])).vectors
    assert np.isnan(found).all(axis=1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": None}, "key 'size' is None"),
        ({"size": 0}, "key 'size' is 0 .* 1 or more"),
        ({"resize": 3}, "key 'resize' is 3 .* at least size, 4"),
        ({"mean": [1, 2]}, r"key 'mean' is \[1, 2\] .* expected 3 numbers"),
        ({"mean": [1, 2, "3"]}, "key 'mean' is '3' .* expected a number"),
        ({"std": [1, 0, 1]}, r"key 'std' is \[1, 0, 1\] .* above 0"),
        ({"scale": "1/255"}, "key 'scale' is '1/255' .* expected a number"),
        ({"crop": "middle"}, "key 'crop' is 'middle' .* center or squash"),
        ({"filter": "box"}, "key 'filter' is 'box' .* bicubic or bilinear"),
        ({"layout": "CHWN"}, "key 'layout' is 'CHWN' .* NCHW or NHWC"),
        ({"output": 3}, "key 'output' is 3 .* name of an output"),
        ({"output": "flatt"}, "key 'output' is 'flatt' .* the model has flat, map"),
        ({"output": "map"}, r"output 'map' .* is \(1, 3, 4, 4\); expected \(b, d\)"),
        ({"layuot": "NHWC"}, "unknown key 'layuot' .* did you mean 'layout'"),
        ({"zzz": 1}, "unknown key 'zzz' .* expected one of size, mean"),
        ({"layout": "NHWC"}, r"cannot run on \(1, 4, 4, 3\) float32"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_refused_by_key(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    name = write_model(tmp_path / "m.onnx", sidecar=IMAGENET | change)
    with pytest.raises(BadConfig, match=words):
        embed.load(name, device="cpu")


@pytest.mark.parametrize("key", ["size", "mean", "std"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    sidecar = {name: value for name, value in IMAGENET.items() if name != key}
    with pytest.raises(BadConfig, match=f"key '{key}' is missing in .*m.onnx.json; size, mean and std are required"):
        embed.load(write_model(tmp_path / "m.onnx", sidecar=sidecar), device="cpu")


def test_a_missing_or_broken_sidecar_is_named(tmp_path: Path) -> None:
    name = write_model(tmp_path / "m.onnx")
    with pytest.raises(BadConfig, match=r"no .*m\.onnx\.json; write one with at least size, mean and std"):
        embed.load(name, device="cpu")
    assert "no " in embed.describe(name).why_not
    for text, words in (("{", "cannot read .* as JSON"), ("[]", "holds a list; expected an object")):
        (tmp_path / "m.onnx.json").write_text(text)
        with pytest.raises(BadConfig, match=words):
            embed.load(name, device="cpu")


def test_a_missing_or_broken_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no ONNX model at .*none.onnx"):
        embed.load(f"onnx:{tmp_path}/none.onnx")
    with pytest.raises(UnknownModel, match="cannot read ONNX model"):
        embed.fingerprint(f"onnx:{tmp_path}/none.onnx")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    (tmp_path / "m.onnx.json").write_text(json.dumps(IMAGENET))
    with pytest.raises(UnknownModel, match="ONNX Runtime cannot open .*m.onnx"):
        embed.load(f"onnx:{tmp_path}/m.onnx", device="cpu")


def test_an_onnx_file_is_described_from_its_sidecar_and_told_apart_by_it(tmp_path: Path) -> None:
    name = write_model(tmp_path / "m.onnx", sidecar=IMAGENET)
    told = embed.describe(name)
    assert (told.size, told.available, told.has_tags) == (4, True, False)
    before = embed.fingerprint(name)
    (tmp_path / "m.onnx.json").write_text(json.dumps(IMAGENET | {"crop": "squash"}))
    assert embed.fingerprint(name) != before


def test_a_big_model_is_not_loaded_in_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write_model(tmp_path / "m.onnx", sidecar=IMAGENET)
    monkeypatch.setattr(onnx_files, "WORKER_MAX_BYTES", 10)
    assert not embed.runs_in_worker(name, device="cpu")
    assert not embed.load(name, device="cpu").in_worker


# Vectors from .npy


def test_npy_rows_are_their_own_ids_and_come_out_with_length_one(tmp_path: Path, rng: np.random.Generator) -> None:
    features = rng.standard_normal((5, 3))
    np.save(tmp_path / "v.npy", features)
    ids, found = embed.read_vectors(tmp_path / "v.npy")
    assert ids == [0, 1, 2, 3, 4]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(features), atol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32, np.uint8])
def test_any_kind_of_number_is_read(kind: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[3, 4]], kind))
    np.testing.assert_allclose(embed.read_vectors(str(tmp_path / "v.npy"))[1], [[0.6, 0.8]], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("v.npy.ids.txt", "a.jpg\nb c.jpg\n", ["a.jpg", "b c.jpg"]),
        ("v.ids.txt", "a.jpg\nä.jpg", ["a.jpg", "ä.jpg"]),
        ("v.npy.ids.json", '["a.jpg", "b.jpg"]', ["a.jpg", "b.jpg"]),
        ("v.ids.json", "[7, 3]", [7, 3]),
    ],
)
def test_ids_are_read_from_beside_the_file(name: str, text: str, ids: list[Any], tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(2))
    before = embed.fingerprint(f"vectors:{tmp_path}/v.npy")
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert embed.read_vectors(tmp_path / "v.npy")[0] == ids
    assert embed.fingerprint(f"vectors:{tmp_path}/v.npy") != before


def test_rows_that_are_zero_or_not_finite_are_nan_and_the_others_stay(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1.0, 0.0], [np.nan, 1.0], [0.0, 0.0], [np.inf, 0.0], [0.0, 2.0]]))
    _, found = embed.read_vectors(tmp_path / "v.npy")
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), r"holds \(3,\) float64; expected \(n, d\) numbers"),
        (np.zeros((2, 2, 2)), r"holds \(2, 2, 2\) float64"),
        (np.array([["a"]]), r"holds \(1, 1\) <U1"),
        (np.zeros((2, 0)), "have 0 numbers each"),
        (np.array([[1], None], dtype=object), "cannot read .* as a .npy array of numbers"),
    ],
)
def test_arrays_that_are_no_table_of_numbers_are_refused(array: Any, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", array, allow_pickle=True)
    with pytest.raises(BadEmbeddings, match=words):
        embed.read_vectors(tmp_path / "v.npy")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a"]', "2 vectors in .* but 1 ids"),
        ('["a", "a"]', "id 'a' comes more than once"),
        ('["a", 1]', "does not hold a list of ids"),
        ("{", "cannot read ids from"),
    ],
)
def test_ids_that_do_not_fit_are_refused(text: str, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(2))
    (tmp_path / "v.npy.ids.json").write_text(text)
    with pytest.raises(BadEmbeddings, match=words):
        embed.read_vectors(tmp_path / "v.npy")


def test_files_that_are_missing_broken_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadEmbeddings, match="no vectors at .*v.npy"):
        embed.read_vectors(tmp_path / "v.npy")
    with pytest.raises(BadEmbeddings, match=r"expected a \.npy or \.parquet file, found '\.csv'"):
        embed.read_vectors(tmp_path / "v.csv")
    for name, words in (("v.npy", "as a .npy array"), ("v.parquet", "as Parquet")):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(BadEmbeddings, match=words):
            embed.read_vectors(tmp_path / name)
    np.savez(tmp_path / "archive.npz", a=np.eye(2))
    (tmp_path / "archive.npz").rename(tmp_path / "v.npy")
    with pytest.raises(BadEmbeddings, match="holds an archive"):
        embed.read_vectors(tmp_path / "v.npy")
    assert not embed.describe(f"vectors:{tmp_path}/none.npy").available
    with pytest.raises(BadEmbeddings, match="cannot read vectors"):
        embed.fingerprint(f"vectors:{tmp_path}/none.npy")


def test_vectors_embed_no_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds ready vectors and embeds no image; they are read with read_vectors"):
        embed.load(f"vectors:{tmp_path}/v.npy")


# Vectors from Parquet


def write_table(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


VECTORS = [[3.0, 4.0], [1.0, 0.0]]


@pytest.mark.parametrize("id_column", ["id", "uri", "file"])
@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.large_list(pa.float16())])
def test_a_parquet_list_column_is_read_with_its_ids(id_column: str, kind: Any, tmp_path: Path) -> None:
    columns = {id_column: ["a", "b"], "note": ["x", "y"], "numbers": pa.array(VECTORS).cast(kind)}
    ids, found = embed.read_vectors(write_table(tmp_path / "v.parquet", **columns))
    assert ids == ["a", "b"]
    np.testing.assert_allclose(found, [[0.6, 0.8], [1.0, 0.0]], atol=1e-3)


def test_parquet_rows_may_be_whole_numbers_and_named_vectors_win(tmp_path: Path) -> None:
    columns = {"row": [7, 3], "counts": [[1, 1], [1, 1]], "embedding": VECTORS}
    ids, found = embed.read_vectors(write_table(tmp_path / "v.parquet", **columns))
    assert ids == [7, 3]
    np.testing.assert_allclose(found[0], [0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_null_vectors_and_null_numbers_are_rows_of_nan(kind: Any, tmp_path: Path) -> None:
    vectors = pa.array([[3.0, 4.0], None, [None, 1.0], [0.0, 2.0]], kind)
    path = write_table(tmp_path / "v.parquet", id=list("abcd"), vector=vectors)
    _, found = embed.read_vectors(path)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, False]
    np.testing.assert_allclose(found[[0, 3]], [[0.6, 0.8], [0.0, 1.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]},
            r"have 1 to 2 numbers; .* \(line 2 differs from the first\)",
        ),
        ({"vector": VECTORS}, "no id column in .* which has vector; expected one of uri, file, row, id"),
        ({"id": ["a", "b"]}, r"has 0 list columns of numbers \(none\)"),
        ({"id": ["a", "b"], "x": VECTORS, "y": VECTORS}, r"has 2 list columns of numbers \(x, y\)"),
        ({"id": ["a", "a"], "vector": VECTORS}, "id 'a' comes more than once"),
        ({"id": ["a", None], "vector": VECTORS}, "column 'id' of .* not all text or all whole numbers"),
        ({"id": [0.5, 1.5], "vector": VECTORS}, "column 'id' of .* not all text or all whole numbers"),
    ],
)
def test_parquet_that_cannot_be_used_is_refused(columns: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(BadEmbeddings, match=words):
        embed.read_vectors(write_table(tmp_path / "v.parquet", **columns))
