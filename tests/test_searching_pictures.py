"""Search by pictures: files, parts of them, video frames; have we already got this; text where the model reads it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import curator
from curator import images, pipeline
from curator.config import load
from curator.errors import BadQuery, CuratorError, StageMissing, UnknownColumn, UnreadableImage
from curator.searching import Duplicates, Example, Request, Served, embed_pixels, open_served
from curator.workspace import Workspace, open_workspace
from tests.conftest import picture
from tests.small_workspaces import workspace_of
from tests.test_video import make_video
from tests.vectors import unit

FAST = ["embed.model=colour", "map.kind=pca", "select.budget=3", "report.n_random=3", "index.neighbors=5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures; 8 is 3 encoded again, 9 a byte-for-byte copy of 0; a video of eight frames."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    made = [picture(rng) for _ in range(8)]
    for i, one in enumerate(made):
        one.save(folder / f"{i}.png")
    made[3].save(folder / "8.jpg", quality=80)
    (folder / "9.png").write_bytes((folder / "0.png").read_bytes())
    make_video(folder / "clip.mp4", n_frames=8)
    return folder


@pytest.fixture(scope="module")
def place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    settings = load(None, [*FAST, "sources.every_nth=1", "neardups.threshold=0.99"])
    return pipeline.run([str(folder)], tmp_path_factory.mktemp("w") / "w", settings).workspace


@pytest.fixture(scope="module")
def served(place: Workspace) -> Served:
    return open_served(place)


def row_of(served: Served, end: str) -> int:
    uris = served.column("uri").to_pylist()
    return next(row for row, uri in enumerate(uris) if uri.endswith(end))


def nearest(served: Served, example: Example) -> Any:
    return served.search(Request((example,), k=1, fields=("uri",))).hits[0]


def test_a_file_finds_itself(served: Served, folder: Path) -> None:
    hit = nearest(served, Example(image=(folder / "5.png").read_bytes()))
    assert hit.uri.endswith("5.png")
    assert hit.similarity == pytest.approx(1.0, abs=2e-3)


def test_a_part_of_a_picture_finds_what_looks_like_that_part(served: Served, folder: Path) -> None:
    parts = Image.new("RGB", (192, 64))
    for i, name in enumerate(("2.png", "6.png")):
        with Image.open(folder / name) as one:
            parts.paste(one, (96 * i, 0))
    data = io.BytesIO()
    parts.save(data, "PNG")
    for i, name in enumerate(("2.png", "6.png")):
        hit = nearest(served, Example(image=data.getvalue(), box=(96 * i, 0, 96, 64)))
        assert hit.uri.endswith(name)
        assert hit.similarity == pytest.approx(1.0, abs=2e-3)


def test_a_part_of_a_row_is_cut_from_its_original_and_finds_others(served: Served, folder: Path) -> None:
    row = row_of(served, "4.png")
    answer = served.search(Request((Example(row=row, box=(10, 10, 50, 40)),), k=100))
    assert row not in {hit.row for hit in answer.hits}
    with Image.open(folder / "4.png") as one:
        cut = np.asarray(one.convert("RGB").crop((10, 10, 60, 50)))
    direction = embed_pixels("colour", [cut])[0]
    best = served.space().vectors @ direction
    best[served.space().rows.tolist().index(row)] = -1
    assert answer.hits[0].row == served.space().rows[best.argmax()]


def test_a_box_beyond_the_edge_is_cut_there_and_one_outside_is_refused(served: Served) -> None:
    row = row_of(served, "4.png")
    inside = served.search(Request((Example(row=row, box=(40, 20, 56, 44)),)))
    beyond = served.search(Request((Example(row=row, box=(40, 20, 1_000, 1_000)),)))
    assert inside.hits == beyond.hits
    with pytest.raises(BadQuery, match=r"leaves nothing of a picture of 96 x 64 px; it is x, y, width, height"):
        served.search(Request((Example(row=row, box=(95.6, 0, 5, 5)),)))


def test_the_original_of_a_video_frame_is_that_frame(served: Served, folder: Path) -> None:
    frames = [row for row, kind in enumerate(served.column("kind").to_pylist()) if kind == "frame"]
    assert len(frames) == 8
    stamps = [int(served.column("offset")[row].as_py()) for row in frames]
    whole = dict(images.read_frames(str(folder / "clip.mp4"), stamps))
    for row, stamp in zip(frames, stamps, strict=True):
        assert (served.pictures.pixels(row) == whole[stamp]).all()
    height, width = served.pictures.pixels(frames[0]).shape[:2]
    answer = served.search(Request((Example(row=frames[2], box=(0, 0, width, height)),), k=1))
    assert answer.hits[0].row in frames
    with pytest.raises(UnreadableImage, match="is a frame of .*clip.mp4, which has no file of its own"):
        served.pictures.data(frames[0])


def test_the_original_of_an_image_is_its_file(served: Served, folder: Path) -> None:
    assert served.pictures.data(row_of(served, "2.png")) == (folder / "2.png").read_bytes()


def test_originals_elsewhere_are_fetched_only_where_that_is_allowed(tmp_path: Path, rng: np.random.Generator) -> None:
    place = workspace_of(tmp_path / "w", unit(rng, 3), {"file": ["https://example.org/a.jpg", "a.jpg", "b.jpg"]})
    served = open_served(place, may_fetch=False)
    with pytest.raises(UnreadableImage, match="https://example.org/a.jpg is not on this machine, and fetching"):
        served.pictures.data(0)
    with pytest.raises(UnreadableImage, match="missing"):
        served.pictures.data(1)


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "empty"), (b"no picture", "not_an_image"), (b"\x89PNG\r\n\x1a\n12", "truncated|decode")]
)
def test_a_query_that_is_no_picture_is_refused(served: Served, data: bytes, words: str) -> None:
    with pytest.raises(UnreadableImage, match=words):
        served.search(Request((Example(image=data),)))
    with pytest.raises(UnreadableImage, match=words):
        served.near_duplicates(Example(image=data))


def test_the_limits_of_query_pictures_are_heeded(place: Workspace, folder: Path) -> None:
    small = open_served(place, limits=images.Limits(max_pixels=1_000))
    with pytest.raises(UnreadableImage, match="too_large: 96 x 64 px is 6144 pixels; the limit is 1000"):
        small.search(Request((Example(image=(folder / "1.png").read_bytes()),)))


def have(served: Served, data: bytes, **asked: Any) -> Duplicates:
    return served.near_duplicates(Example(image=data), fields=("uri",), **asked)


def test_the_same_bytes_are_already_there_and_come_first(served: Served, folder: Path) -> None:
    found = have(served, (folder / "0.png").read_bytes())
    assert found.verdict == "already"
    assert [match.match for match in found.matches[:2]] == ["exact", "exact"]
    assert {str(match.fields["uri"])[-5:] for match in found.matches[:2]} == {"0.png", "9.png"}
    kept = {match.representative for match in found.matches[:2]}
    assert len(kept) == 1
    assert served.column("duplicate")[kept.pop()].as_py() == "kept"


def test_a_picture_encoded_again_is_already_there_by_the_threshold(served: Served, folder: Path) -> None:
    with Image.open(folder / "5.png") as one:
        data = io.BytesIO()
        one.convert("RGB").save(data, "JPEG", quality=70)
    found = have(served, data.getvalue())
    assert found.verdict == "already"
    assert (found.threshold, found.origin) == (0.99, "given")
    assert (found.matches[0].match, str(found.matches[0].fields["uri"])[-5:]) == ("near", "5.png")
    assert found.matches[0].similarity >= 0.99
    assert found.nearest == found.matches[0].similarity


def test_a_threshold_out_of_reach_makes_it_similar_or_new(served: Served, folder: Path) -> None:
    with Image.open(folder / "5.png") as one:
        data = io.BytesIO()
        one.convert("RGB").save(data, "JPEG", quality=20)
    near = have(served, data.getvalue()).nearest
    assert near is not None
    similar = have(served, data.getvalue(), threshold=near + (1 - near) / 4)
    assert similar.verdict == "similar"
    assert similar.matches[0].match == "similar"
    assert similar.similar_from == pytest.approx(2 * similar.threshold - 1)
    new = have(served, data.getvalue(), threshold=1.0)
    assert (new.verdict, new.matches, new.nearest) == ("new", (), near)


def test_a_row_does_not_count_as_its_own_copy(served: Served) -> None:
    copy = served.near_duplicates(Example(row=row_of(served, "9.png")))
    assert copy.verdict == "already"
    assert copy.matches[0].row == row_of(served, "/0.png")
    again = served.near_duplicates(Example(row=row_of(served, "3.png")))
    assert [match.row for match in again.matches[:1]] == [row_of(served, "8.jpg")]
    alone = served.near_duplicates(Example(row=row_of(served, "2.png")), threshold=1.0)
    assert (alone.verdict, alone.matches) == ("new", ())


def test_a_part_of_a_picture_has_no_bytes_of_its_own(served: Served, folder: Path) -> None:
    data = (folder / "0.png").read_bytes()
    found = served.near_duplicates(Example(image=data, box=(0, 0, 96, 64)))
    assert {match.match for match in found.matches if match.similarity >= 0.99} == {"near"}


def test_the_threshold_says_where_it_comes_from(folder: Path, tmp_path: Path) -> None:
    place = pipeline.run([str(folder)], tmp_path / "w", load(None, FAST)).workspace
    data = (folder / "0.png").read_bytes()
    assert have(open_served(place), data).origin == "default"
    assert have(open_served(place), data, threshold=0.5).origin == "given"
    missing = workspace_of(
        tmp_path / "v", unit(np.random.default_rng(0), 9), config={"neardups.threshold": "self"}
    )  # fmt: skip
    with pytest.raises(StageMissing, match="no calibration 'self' .*; run `curator calibrate"):
        open_served(missing).near_duplicates(Example(row=1))


def test_near_duplicates_are_judged_in_the_metric_for_copies_where_that_decides(tmp_path: Path) -> None:
    from curator.calibration import apply_metric
    from curator.pipeline.calibrating import calibrate, hashes_of, stored_metric

    rng = np.random.default_rng(1)
    sources = tmp_path / "pictures"
    sources.mkdir()
    for i in range(40):
        picture(rng).save(sources / f"{i}.png")
    settings = load(None, [*FAST, "calibrate.sample=40", "calibrate.n_bootstrap=20"])
    place = pipeline.run([str(sources)], tmp_path / "w", settings).workspace
    calibrate(place, settings)
    place.refresh()
    metric = stored_metric(place, "colour")
    if metric is None:
        pytest.skip("held-out edits say that the metric for copies does not help on these pictures")
    config = {**place.snapshot.config}
    config["neardups"] = {**config["neardups"], "space": "copies", "threshold": "self"}
    with place.writing("test") as writer:
        writer.publish(config=config)
    found = open_served(place).near_duplicates(Example(row=3), threshold=-1.0, k=39)
    assert found.metric == "copies"
    embeddings = place.embeddings()
    moved = apply_metric(metric, embeddings.vectors, hashes_of(place, embeddings.rows))
    near = moved @ moved[3]
    order = [int(row) for row in np.argsort(-near) if row != 3]
    assert [match.row for match in found.matches] == order
    assert found.matches[0].similarity == pytest.approx(float(near[order[0]]), abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"example": Example(text="x")}, BadQuery, "looked for by a row or an image; use search for vectors and texts"),
        ({"k": 0}, BadQuery, "k is 0; expected 1 to 1000"),
        ({"threshold": 2.0}, BadQuery, "threshold is 2.0; expected a cosine from -1 to 1"),
        ({"fields": ("urii",)}, UnknownColumn, r"no column 'urii' .*did you mean 'uri'\?"),
        ({"example": Example(row=10_000)}, CuratorError, "no row 10000"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    served: Served, asked: dict[str, Any], error: type[Exception], words: str
) -> None:
    of: dict[str, Any] = {"example": Example(row=0), **asked}
    with pytest.raises(error, match=words):
        served.near_duplicates(of.pop("example"), **of)


def test_text_searches_a_clip_space_alone_and_beside_images(tmp_path: Path, image_folder: Path) -> None:
    from tests.test_embed_hf import clip

    model = clip(tmp_path / "clip")
    settings = load(None, [*FAST[1:], f"embed.model={model}"])
    served = open_served(pipeline.run([str(image_folder)], tmp_path / "w", settings).workspace)
    text = served.search(Request((Example(text="a cat"),), k=12))
    assert (text.how, text.note, len(text.hits)) == ("cosine", "", 12)
    mixed = served.search(Request((Example(text="a cat"), Example(row=3)), (Example(text="a dog"),), k=12))
    assert mixed.how == "rocchio"
    assert {hit.row for hit in mixed.hits} == set(range(12)) - {3}
    short = curator.search(open_workspace(tmp_path / "w"), text="a cat", k=12)
    assert [(hit.row, hit.similarity) for hit in short.hits] == [(hit.row, hit.similarity) for hit in text.hits]


def test_a_tag_search_ranks_by_the_probability_of_the_tags_and_says_what_it_is(tmp_path: Path) -> None:
    tags = {"tag_ids": [[207, 208], [1, 2], [208, 207], None], "tag_scores": [[0.5, 0.2], [0.9, 0.1], [0.6, 0.1], None]}
    place = workspace_of(
        tmp_path / "w", unit(np.random.default_rng(0), 4), {"share": [0.1, 0.2, 0.3, 0.4]}, results={"tags": tags}
    )
    served = open_served(place)
    answer = served.search(Request((Example(text="golden retriever"),), fields=("share",)))
    assert answer.how == answer.index == "tags"
    said = "tag search, not text search: colour knows 1,000 ImageNet classes; searched for Golden Retriever"
    assert answer.note == said
    assert [(hit.row, round(hit.score, 4)) for hit in answer.hits] == [(0, 0.5), (2, 0.1)]
    first = served.search(Request((Example(text="retriever"),), k=1))
    second = served.search(Request((Example(text="retriever"),), k=1, offset=1))
    assert first.next_offset == 1
    assert [hit.row for hit in (*first.hits, *second.hits)] == [0, 2]
    floor = served.search(Request((Example(text="golden retriever"),), min_similarity=0.3))
    assert [hit.row for hit in floor.hits] == [0]
    none = served.search(Request((Example(text="zxqv"),)))
    assert none.hits == ()
    assert "none is called 'zxqv'" in none.note
