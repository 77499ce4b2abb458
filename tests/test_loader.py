"""The loader: one pass over files, equal whatever the number of workers, outliving images that kill a worker."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fsspec
import numpy as np
import pytest
from PIL import Image

from curator import embed, images, loader, quality
from curator.data import ImageArray, Sample
from curator.embed.base import Embedded
from curator.errors import UnknownModel, WorkerFailed
from curator.loader import Chunk, Plan, Record
from curator.loader.pool import Answer, Pool
from curator.loader.work import run_model
from tests.conftest import picture

ROOT = Path(__file__).resolve().parents[1]
COLOUR = Plan(models=("colour",), workers=2)


def samples_in(folder: Path) -> list[tuple[int, Sample]]:
    """Every file of a folder as a sample, in order of name; rows start at 100, to differ from positions."""
    return [(100 + i, image(path)) for i, path in enumerate(sorted(folder.iterdir()))]


def image(path: Path) -> Sample:
    size = path.stat().st_size if path.exists() else 0
    return Sample(uri=str(path), file=str(path), size_bytes=size, labels=("a",), metadata={"lens": "wide"})


def read(samples: Sequence[tuple[int, Sample]], plan: Plan) -> list[Chunk]:
    return list(loader.read(samples, plan))


def records(chunks: Sequence[Chunk]) -> list[Record]:
    return [record for chunk in chunks for record in chunk.records]


def content(chunks: Sequence[Chunk]) -> list[object]:
    """Everything in the chunks, arrays as bytes, so that equal means equal to the last bit."""
    return [
        (
            chunk.records,
            {name: (rows.tolist(), vectors.tobytes()) for name, (rows, vectors) in chunk.vectors.items()},
            {name: (ids.tobytes(), scores.tobytes()) for name, (ids, scores) in chunk.tags.items()},
            dict(chunk.faults),
        )
        for chunk in chunks
    ]


def write_pictures(folder: Path, n: int) -> Path:
    """`n` small pictures of distinct content."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        picture(rng).save(folder / f"{i:03d}.jpg", quality=90)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """70 pictures that a test may spoil: two chunks."""
    return write_pictures(tmp_path / "own", 70)


@dataclass(frozen=True)
class Reading:
    """150 pictures, three chunks, as two workers read them; once for all tests."""

    samples: list[tuple[int, Sample]]
    chunks: list[Chunk]
    heard: list[tuple[str, int, int | None]]


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    samples = samples_in(write_pictures(tmp_path_factory.mktemp("reading") / "many", 150))
    heard: list[tuple[str, int, int | None]] = []
    chunks = list(loader.read(samples, COLOUR, progress=lambda *said: heard.append(said)))
    return Reading(samples, chunks, heard)


# What a chunk holds


def test_a_record_holds_what_the_picture_says_of_itself(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "one.jpg"
    picture(rng).save(path)
    data = path.read_bytes()
    pixels = images.decode(data).pixels
    (record,) = records(read([(7, image(path))], Plan(models=("colour",), thumbnail_px=32)))
    assert (record.row, record.reason) == (7, None)
    assert record.pixels["digest"] == quality.digest(data)
    assert record.pixels["phash"] == quality.perceptual_hash(pixels)
    assert (record.pixels["format"], record.pixels["bytes"]) == ("JPEG", len(data))
    assert record.pixels.items() >= quality.measure(pixels, width=96, height=64).items()
    assert record.thumbnail == images.thumbnail(pixels, size_px=32, format="jpeg")


def test_vectors_are_those_of_the_embedder_on_the_fitted_picture(reading: Reading) -> None:
    expected = reading.samples[64:128]
    model = embed.load("colour")
    pixels = [images.decode(Path(sample.file).read_bytes()).pixels for _, sample in expected]
    rows, vectors = reading.chunks[1].vectors["colour"]
    assert rows.tolist() == [row for row, _ in expected]
    assert np.array_equal(vectors, model(np.stack([images.fit(p, model.geometry) for p in pixels])).vectors)


def test_rows_come_back_in_order_and_progress_counts_them(reading: Reading) -> None:
    assert [record.row for record in records(reading.chunks)] == [row for row, _ in reading.samples]
    assert reading.heard == [("decode", 64, 150), ("decode", 128, 150), ("decode", 150, 150)]


def test_nothing_to_read_gives_no_chunk() -> None:
    assert read([], COLOUR) == []


def test_without_measures_thumbnails_and_models_only_readability_is_told(folder: Path) -> None:
    (chunk,) = read(samples_in(folder)[:3], Plan(measures=False, thumbnail_px=0))
    assert chunk.records == [Record(100), Record(101), Record(102)]
    assert chunk.vectors == {}


@pytest.mark.parametrize("n_workers", [1, 3])
def test_chunks_are_equal_to_the_last_bit_whatever_the_number_of_workers(reading: Reading, n_workers: int) -> None:
    assert content(read(reading.samples, Plan(models=("colour",), workers=n_workers))) == content(reading.chunks)


def test_a_small_job_in_the_main_process_equals_one_in_workers(reading: Reading) -> None:
    (here,), there = read(reading.samples[:32], COLOUR), reading.chunks[0]
    assert here.records == there.records[:32]
    assert np.array_equal(here.vectors["colour"][1], there.vectors["colour"][1][:32])


def test_files_that_only_this_process_can_see_are_read_here(reading: Reading) -> None:
    store = fsspec.filesystem("memory")
    data = Path(reading.samples[0][1].file).read_bytes()
    for i in range(40):
        store.pipe(f"/loader/{i}.jpg", data)
    samples = [(i, Sample(uri=f"memory://loader/{i}.jpg", file=f"memory://loader/{i}.jpg")) for i in range(40)]
    found = records(read(samples, COLOUR))
    assert {record.pixels["digest"] for record in found} == {quality.digest(data)}
    assert len(found) == 40


def test_a_large_png_is_reduced_like_a_jpeg_and_measured_alike(tmp_path: Path, rng: np.random.Generator) -> None:
    big = picture(rng, width=1920, height=1080)
    big.save(tmp_path / "a.png")
    big.save(tmp_path / "b.jpg", quality=95)
    (chunk,) = read(samples_in(tmp_path), COLOUR)
    png, jpeg = (record.pixels for record in chunk.records)
    assert (png["width"], png["height"]) == (jpeg["width"], jpeg["height"]) == (1920, 1080)
    for name in ("brightness", "contrast", "saturation", "entropy"):
        assert float(str(png[name])) == pytest.approx(float(str(jpeg[name])), rel=0.03)
    assert quality.hamming(int(str(png["phash"])), int(str(jpeg["phash"]))) <= 4
    of_png, of_jpeg = chunk.vectors["colour"][1]
    assert of_png @ of_jpeg > 0.999


@pytest.mark.parametrize("mode", ["draft", "exact"])
def test_thumbnails_have_the_size_asked_for_below_and_above_what_measures_need(
    mode: Literal["draft", "exact"], tmp_path: Path, rng: np.random.Generator
) -> None:
    picture(rng, width=1600, height=1200).save(tmp_path / "a.jpg")
    for px in (64, 256, 640):
        (record,) = records(read(samples_in(tmp_path), Plan(mode=mode, thumbnail_px=px)))
        assert record.thumbnail is not None
        assert Image.open(io.BytesIO(record.thumbnail)).size == (px, px * 3 // 4)


def test_an_unknown_model_is_refused_before_any_image_is_read(folder: Path) -> None:
    with pytest.raises(UnknownModel, match="nosuchmodel"):
        read(samples_in(folder), Plan(models=("nosuchmodel",)))


# What cannot be read


def huge_png(side: int) -> bytes:
    """A PNG that claims side x side pixels and holds a few."""

    def block(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = block(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + block(b"IDAT", zlib.compress(bytes(1000))) + block(b"IEND", b"")


def test_each_fault_is_a_row_with_its_reason_and_costs_no_other_row(folder: Path) -> None:
    good = (folder / "000.jpg").read_bytes()
    (folder / "010.jpg").write_text("not a picture at all, only words")
    (folder / "020.jpg").write_bytes(b"")
    (folder / "030.jpg").write_bytes(good[: len(good) // 2])
    (folder / "040.png").write_bytes(huge_png(60_000))
    samples = samples_in(folder)
    (folder / "050.jpg").unlink()
    found = {
        Path(sample.file).name: record.reason
        for (_, sample), record in zip(samples, records(read(samples, COLOUR)), strict=True)
        if record.reason is not None
    }
    assert found == {
        "010.jpg": "not_an_image",
        "020.jpg": "empty",
        "030.jpg": "truncated",
        "040.png": "too_large",
        "050.jpg": "missing",
    }
    assert set(found.values()) <= images.REASONS.keys()


def test_an_unreadable_row_has_no_vector(folder: Path) -> None:
    (folder / "001.jpg").write_text("words")
    (chunk,) = read(samples_in(folder)[:3], COLOUR)
    assert chunk.vectors["colour"][0].tolist() == [100, 102]


def test_a_chunk_of_faults_alone_has_empty_vectors_of_the_right_width(tmp_path: Path) -> None:
    (chunk,) = read([(0, image(tmp_path / "gone.jpg"))], COLOUR)
    rows, vectors = chunk.vectors["colour"]
    assert (rows.shape, vectors.shape) == ((0,), (0, embed.load("colour").dim))


def test_a_sample_with_a_reason_passes_unread(folder: Path) -> None:
    path = str(folder / "000.jpg")
    faulty = Sample(uri=path, file=path, reason="permission", message="may not be opened")
    assert records(read([(5, faulty)], COLOUR)) == [Record(5, "permission", "may not be opened")]


def test_an_image_above_the_memory_limit_is_refused(folder: Path) -> None:
    plan = Plan(limits=images.Limits(max_memory_bytes=1_000))
    assert {record.reason for record in records(read(samples_in(folder)[:2], plan))} == {"too_large"}


class Half:
    """An embedder whose second vector is not finite."""

    space, fingerprint, dim, in_worker = "half", "1", 2, False
    geometry = images.Geometry(size=8, resize=8)

    def __call__(self, images: ImageArray) -> Embedded:
        vectors = np.tile(np.array([0.6, 0.8], np.float32), (len(images), 1))
        vectors[1] = np.nan
        return Embedded(vectors, np.full((len(images), 1), 3, np.int16), np.ones((len(images), 1), np.float32))


def test_a_vector_that_is_not_finite_is_a_fault_of_its_row_alone() -> None:
    made = run_model(Half(), np.array([4, 9, 11]), np.zeros((3, 8, 8, 3), np.uint8))
    assert made.rows.tolist() == [4, 11]
    assert made.tag_ids is not None and made.tag_ids.tolist() == [[3], [3]]
    assert made.faults == [(9, images.REASONS["bad_vector"])]


def test_a_model_too_heavy_for_workers_runs_here_on_their_arrays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ImageArray] = []

    class Watching(Half):
        def __call__(self, images: ImageArray) -> Embedded:
            seen.append(images)
            return super().__call__(images)

    monkeypatch.setattr(embed, "load", lambda name, **options: Watching())
    samples = samples_in(folder)[:70]
    chunks = read(samples, Plan(models=("half",), workers=2))
    first = images.decode((folder / "000.jpg").read_bytes()).pixels
    assert [len(batch) for batch in seen] == [64, 6]
    assert np.array_equal(seen[0][0], images.fit(first, Half.geometry))
    assert [chunk.faults["half"][0][0] for chunk in chunks] == [101, 165]
    assert chunks[0].vectors["half"][1].shape == (63, 2)
    assert chunks[0].tags["half"][0].shape == (63, 1)


# Video


@pytest.fixture
def clip(tmp_path: Path, rng: np.random.Generator) -> Path:
    """90 frames of a picture that drifts, with a key frame every 30."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    wide = np.asarray(picture(rng, width=400, height=64))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 96, 64, "yuv420p", 30
        for i in range(90):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, 3 * i : 3 * i + 96]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(clip: Path) -> list[tuple[int, Sample]]:
    frames = images.list_frames(str(clip), every_nth=1).frames
    return [
        (row, Sample(uri=f"{clip}#t={f.time_s:.3f}", file=str(clip), kind="frame", time_s=f.time_s, offset=f.pts))
        for row, f in enumerate(frames)
    ]


def test_frames_in_different_chunks_equal_those_of_one_sequential_read(clip: Path) -> None:
    samples = frames_of(clip)
    chunks = read(samples, COLOUR)
    pixels = [found for _, found in images.read_frames(str(clip), [s.offset or 0 for _, s in samples])]
    assert len(chunks) == 2
    assert all(isinstance(found, np.ndarray) for found in pixels)
    assert [record.pixels["phash"] for record in records(chunks)] == [quality.perceptual_hash(p) for p in pixels]  # type: ignore[arg-type]
    assert content(read(samples, Plan(models=("colour",), workers=1))) == content(chunks)


def test_a_frame_is_digested_by_its_pixels(clip: Path) -> None:
    first = frames_of(clip)[0][1]
    twice = records(read([(0, first), (1, first)], COLOUR))
    assert twice[0].pixels["digest"] == twice[1].pixels["digest"]
    others = {record.pixels["digest"] for record in records(read(frames_of(clip)[:5], COLOUR))}
    assert len(others) == 5
    assert (twice[0].pixels["width"], twice[0].pixels["height"], twice[0].pixels["bytes"]) == (96, 64, None)


def test_frames_of_a_video_that_vanished_are_missing_and_its_neighbours_stay(clip: Path, folder: Path) -> None:
    samples = [(0, image(folder / "000.jpg")), *((r + 1, s) for r, s in frames_of(clip)[:3])]
    samples += [(4, image(folder / "001.jpg"))]
    clip.unlink()
    assert [record.reason for record in records(read(samples, COLOUR))] == [None, "missing", "missing", "missing", None]


# Workers that die


@pytest.fixture
def deadly_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that opens a file with "killer" in its name dies on the spot, as by the out-of-memory killer."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def hook(event, args):\n"
        "    if event == 'open' and 'killer' in str(args[0]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("deadly_names")
def test_an_image_that_kills_its_worker_becomes_a_row_and_the_others_are_read(folder: Path) -> None:
    (folder / "010.jpg").rename(folder / "010-killer.jpg")
    (folder / "050.jpg").rename(folder / "050-killer.jpg")
    samples = samples_in(folder)
    chunks = read(samples, COLOUR)
    dead = [record for record in records(chunks) if record.reason is not None]
    assert [(record.row, record.reason) for record in dead] == [(110, "worker_died"), (150, "worker_died")]
    assert "SIGKILL" in dead[0].message
    assert [record.row for record in records(chunks)] == [row for row, _ in samples]
    assert chunks[0].vectors["colour"][0].tolist() == [row for row, _ in samples[:64] if row not in (110, 150)]


@pytest.mark.usefixtures("deadly_names")
def test_a_chunk_of_one_deadly_image_is_its_record_and_empty_vectors(folder: Path) -> None:
    samples = samples_in(folder)[:64]
    path = folder / "killer.jpg"
    path.write_bytes((folder / "000.jpg").read_bytes())
    chunk = read([*samples, (7, image(path))], COLOUR)[1]
    assert [(record.row, record.reason) for record in chunk.records] == [(7, "worker_died")]
    assert chunk.vectors["colour"][1].shape == (0, embed.load("colour").dim)


# The pool by itself, with work from loader_targets.py


def answers(target: str, setup: object, batches: Sequence[Sequence[int]], n_workers: int = 2) -> list[list[Answer]]:
    with Pool(n_workers, f"tests.loader_targets:{target}") as pool:
        return list(pool.map(batches, setup))


def test_answers_keep_the_order_of_the_batches_when_some_take_longer() -> None:
    batches = [[n, n + 1] for n in range(20)]
    got = answers("sleepy", 0.02, batches, n_workers=3)
    assert [answer.result for (answer,) in got] == [[10 * n, 10 * n + 10] for n in range(20)]


def test_a_batch_whose_worker_died_by_chance_is_answered_whole(tmp_path: Path) -> None:
    got = answers("dies_once", str(tmp_path / "marker"), [[n, n + 1] for n in range(0, 12, 2)])
    assert [[answer.result for answer in batch] for batch in got] == [[1], [5], [9], [13], [17], [21]]


def test_a_failure_that_is_no_image_s_fault_ends_the_run_with_its_words() -> None:
    with pytest.raises(WorkerFailed, match=r"ZeroDivisionError: items by nothing \(.*loader_targets.py:\d+\)"):
        answers("fails", None, [[1]])


def test_our_own_errors_cross_from_the_worker_as_they_are() -> None:
    with pytest.raises(UnknownModel, match="model 'x'"):
        answers("fails", UnknownModel("model 'x' is not known"), [[1]])


def test_workers_that_cannot_start_end_the_run_with_their_last_words() -> None:
    with pytest.raises(WorkerFailed, match=r"3 workers in a row .*\(exit code 3\).*the library is broken.*doctor"):
        answers("never_starts", None, [[1]])


def test_workers_have_one_numeric_thread_and_never_see_the_caller_s_main() -> None:
    ((answer,),) = answers("settings", None, [[1]], n_workers=1)
    assert answer.result == {"threads": "1", "main": None}


def test_leaving_early_ends_the_workers() -> None:
    with Pool(2, "tests.loader_targets:sleepy") as pool:
        pids = pool.pids()
        got = pool.map([[n] for n in range(1000)], 0.01)
        next(got)
    assert not any(is_running(pid) for pid in pids)


# Whole programs


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(is_so: Callable[[], bool], *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.05)
    return is_so()


FOREVER = """
import sys
from curator.loader.pool import Pool
with Pool(2, "tests.loader_targets:sleepy") as pool:
    for number, answers in enumerate(pool.map(([0] if n < 2 else [1] for n in range(100)), 60.0)):
        if number == 1:
            print(*pool.pids(), flush=True)
"""


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program whose two workers are busy for a minute, in a process group of its own."""
    program = subprocess.Popen(
        [sys.executable, "-c", FOREVER],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert program.stdout is not None
    yield program, [int(pid) for pid in program.stdout.readline().split()]
    program.kill()
    program.communicate()


def test_workers_leave_when_their_parent_is_killed(running: tuple[subprocess.Popen[str], list[int]]) -> None:
    program, pids = running
    assert len(pids) == 2 and all(is_running(pid) for pid in pids)
    program.kill()
    assert wait_until(lambda: not any(is_running(pid) for pid in pids), within_s=10)


def test_ctrl_c_ends_at_once_and_workers_say_nothing(running: tuple[subprocess.Popen[str], list[int]]) -> None:
    program, pids = running
    start = time.monotonic()
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=10)
    assert time.monotonic() - start < 5
    assert errors.count("Traceback") == 1 and errors.strip().endswith("KeyboardInterrupt")
    assert not any(is_running(pid) for pid in pids)


UNGUARDED = """
import sys
from dataclasses import dataclass
from pathlib import Path
from curator import loader
from curator.data import Sample
print("top of the script")
samples = [(i, Sample(uri=str(p), file=str(p))) for i, p in enumerate(sorted(Path(sys.argv[1]).iterdir()))]
print(sum(len(c.vectors["colour"][0]) for c in loader.read(samples, loader.Plan(models=("colour",), workers=2))))
"""


@pytest.mark.parametrize("way", ["a script without a main guard", "python -c", "standard input"])
def test_it_works_from(way: str, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    ways: dict[str, list[str]] = {
        "a script without a main guard": [str(script)],
        "python -c": ["-c", UNGUARDED],
        "standard input": ["-"],
    }
    done = subprocess.run(
        [sys.executable, *ways[way], str(folder)],
        input=UNGUARDED if way == "standard input" else None,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split("\n") == ["top of the script", "70", ""]
    assert done.stderr == ""


def test_workers_import_none_of_the_heavy_packages() -> None:
    code = "import sys, curator.loader.work; print([m for m in ('torch', 'transformers', 'pyarrow', 'duckdb', 'scipy', "
    code += "'sklearn', 'pandas', 'av', 'onnx', 'pydantic', 'typer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Real footage


@pytest.mark.real
@pytest.mark.slow
def test_real_video_with_the_default_model_is_equal_for_1_and_2_workers(real_data: Path) -> None:
    samples = [*frames_of(real_data / "video" / "intel_car-detection.mp4")[:130]]
    one, two = (read(samples, Plan(models=("efficientnet-lite0",), workers=n)) for n in (1, 2))
    assert content(one) == content(two)
    assert [record.reason for record in records(one)] == [None] * 130


@pytest.mark.real
def test_the_corrupt_file_of_real_pictures_is_a_row_with_a_reason(real_data: Path) -> None:
    found = sorted(p for p in (real_data / "near_duplicates" / "imagededup_ukbench").rglob("*") if p.is_file())
    samples = [
        (row, image(path)) for row, path in enumerate(found) if Image.registered_extensions().get(path.suffix.lower())
    ]
    bad = [record for record in records(read(samples, COLOUR)) if record.reason is not None]
    assert len(bad) == 1
    assert bad[0].reason in {"not_an_image", "truncated", "empty", "decode_error"}
