"""The select stage: what settings name becomes a request, and what came of it is kept and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from curator import pipeline
from curator.catalog import Catalog
from curator.cli import app
from curator.config import Config, load
from curator.errors import BadConfig, BadSelection, UnknownColumn, UnknownRow, UnknownSelection
from curator.pipeline import requesting
from curator.workspace import Workspace, open_workspace
from tests.conftest import picture

N = 24
FAST = ["embed.model=colour", "map.kind=pca", "report.n_random=2", "index.neighbors=5", "neardups.threshold=1.0"]


def settings(*more: str) -> Config:
    return load(None, [*FAST, *more])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of two weathers, six of them night, with a score and two probabilities each."""
    rng, root = np.random.default_rng(7), tmp_path_factory.mktemp("selecting")
    folder = root / "images"
    folder.mkdir()
    lines = ["file,weather,score,p_car,p_bus,note"]
    for i in range(N):
        picture(rng).save(folder / f"{i:02d}.jpg", quality=90)
        sure = i / (N - 1)
        note = "" if i % 2 else "seen"
        lines.append(f"{i:02d}.jpg,{'night' if i < 6 else 'day'},{i},{0.5 + sure / 2:.4f},{0.5 - sure / 2:.4f},{note}")
    (root / "meta.csv").write_text("\n".join(lines) + "\n")
    pipeline.run(
        [str(folder)],
        root / "w",
        settings(f"sources.metadata={root / 'meta.csv'}", "select.budget=4", "select.name=first"),
    )
    return root / "w"


def chosen(place: Path, name: str, *more: str) -> list[int]:
    """Rows of a new selection."""
    return make(place, name, *more).selection(name).rows.tolist()  # type: ignore[no-any-return]


def make(place: Path, name: str, *more: str) -> Workspace:
    pipeline.run_one("select", place, settings(f"select.name={name}", "select.trim_share=0", *more))
    return open_workspace(place)


def limits(place: Path, *more: str) -> dict[str, Any]:
    """What a configuration asks of a selection, without making it."""
    workspace = open_workspace(place)
    return requesting.limits(workspace, workspace.embeddings(), settings(*more))


def wishes(*strategies: dict[str, Any]) -> str:
    return f"select.strategies={json.dumps(list(strategies))}"


def meta_of(place: Path, name: str) -> dict[str, Any]:
    return dict(open_workspace(place).selection(name).config)


# -- strategies --


def test_strategies_replace_the_method_and_are_kept_with_the_selection(place: Path) -> None:
    rows = chosen(
        place, "two", "select.budget=6", wishes({"kind": "diversity"}, {"kind": "weights", "column": "score"})
    )
    assert len(rows) == 6
    kept = meta_of(place, "two")
    assert kept["config"]["method"] == "strategies"
    assert [wish["kind"] for wish in kept["config"]["strategies"]] == ["diversity", "weights"]
    reason = open_workspace(place).selection("two").reasons[0]
    assert reason.startswith("diversity x weights by score;")


def test_the_fields_own_configuration_is_understood(place: Path) -> None:
    theirs = [
        {"input": {"type": "METADATA", "key": "score"}, "strategy": {"type": "WEIGHTS", "strength": 1.0}},
        {"input": {"type": "METADATA", "key": "score"},
         "strategy": {"type": "THRESHOLD", "threshold": 20, "operation": "SMALLER"}},
    ]  # fmt: skip
    rows = chosen(place, "theirs", "select={n_samples: 3, method: strategies, name: theirs}", wishes(*theirs))
    assert rows == [19, 18, 17]
    assert "Threshold on score: 20 of 24 pass." in meta_of(place, "theirs")["notes"]


def test_thresholds_that_nobody_passes_are_an_error_that_counts(place: Path) -> None:
    with pytest.raises(BadSelection, match="none of 24 candidates passes the thresholds of select.strategies"):
        chosen(place, "none", wishes({"kind": "threshold", "column": "score", "min": 99}))


@pytest.mark.parametrize("to", [3, "3", "selection:near3", "column:note", "file"])
def test_similarity_is_to_rows_selections_columns_or_files(place: Path, tmp_path: Path, to: Any) -> None:
    if to == "selection:near3":
        chosen(place, "near3", "select.where=row = 3", "select.budget=1")
    elif to == "file":
        (tmp_path / "rows.txt").write_text("3\n")
        to = str(tmp_path / "rows.txt")
    queries = limits(place, wishes({"kind": "similarity", "to": to}))["strategies"][0].queries
    vectors = open_workspace(place).embeddings().vectors
    np.testing.assert_array_equal(queries, vectors[::2] if to == "column:note" else vectors[[3]])


def test_what_similarity_names_must_be_there(place: Path, tmp_path: Path) -> None:
    for to, error, message in (
        (99, UnknownRow, "no row 99"),
        ("selection:gone", UnknownSelection, "no selection 'gone'"),
        (str(tmp_path / "gone.txt"), BadConfig, "select.strategies: similarity: cannot read"),
    ):
        with pytest.raises(error, match=message):
            limits(place, wishes({"kind": "similarity", "to": to}))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(BadConfig, match="none of its 0 images has a vector in colour"):
        limits(place, wishes({"kind": "similarity", "to": str(tmp_path / "empty.txt")}))


def test_a_column_that_is_not_there_or_holds_no_numbers_is_named(place: Path) -> None:
    with pytest.raises(UnknownColumn, match="no column 'scoer' .* did you mean 'score'"):
        limits(place, wishes({"kind": "weights", "column": "scoer"}))
    with pytest.raises(UnknownColumn, match="column 'weather' is .*, expected numbers"):
        limits(place, wishes({"kind": "weights", "column": "weather"}))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (wishes({"kind": "weights"}), "strategy weights needs a column"),
        (wishes({"kind": "similarity"}), "strategy similarity needs to:"),
        (wishes({"kind": "threshold", "column": "score"}), "strategy threshold needs min or max"),
        (wishes({"kind": "best"}), "unknown strategy 'best'"),
        (wishes({"kind": "diversity", "strenght": 2}), "unknown key 'select.strategies.0.strenght'"),
        ("select.strategies=diversity", "expected a list of strategies"),
        ("select.method=strategies", "method 'strategies' without a list"),
        ("select.method=uncertainty", "method uncertainty needs scores"),
        ("select={n_samples: 5, proportion_samples: 0.5}", "n_samples and proportion_samples both say"),
        ("select.quotas={a: 3, b: 0.5}", "mixes counts and shares"),
        ("select.quotas={a: 0.8, b: 0.5}", "target shares add up to 1.3"),
        ("select.quotas=fair", "quotas 'fair'; expected equal"),
    ],
)
def test_settings_that_cannot_be_used_are_named(setting: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        settings(setting)


def test_a_list_beside_another_method_is_refused_and_the_way_out_works() -> None:
    strategies = wishes({"kind": "diversity"})
    with pytest.raises(BadConfig, match="method 'diverse' and a list of strategies; set select.method=strategies"):
        settings("select.method=diverse", strategies)
    stored = settings(strategies).model_dump()
    assert load(None, ["select.strategies=[]", "select.method=diverse"], base=stored).select.method == "diverse"
    assert load(None, [], base=stored).select.strategies == settings(strategies).select.strategies


# -- uncertainty --


def test_uncertainty_comes_from_a_score_or_from_probabilities(place: Path) -> None:
    assert chosen(place, "u1", "select.method=uncertainty", "select.scores=score", "select.budget=3") == [23, 22, 21]
    for measure in ("entropy", "margin"):
        asked = ["select.method=uncertainty", "select.scores='p_car,p_bus'", f"select.uncertainty={measure}"]
        assert np.argsort(-limits(place, *asked)["scores"])[:3].tolist() == [0, 1, 2]
        strategy = {"kind": "uncertainty", "column": "p_car,p_bus", "measure": measure}
        values = limits(place, wishes(strategy))["strategies"][0].values
        np.testing.assert_array_equal(values, limits(place, *asked)["scores"])


def probabilities() -> Any:
    p = np.linspace(0.99, 0.5, N)  # the last is the least sure
    return np.stack([p, 1 - p], axis=1)


@pytest.mark.parametrize("suffix", ["npy", "row.parquet", "uri.parquet", "row.csv", "score.npy"])
def test_uncertainty_comes_from_a_file(place: Path, tmp_path: Path, suffix: str) -> None:
    path, p = tmp_path / f"probs.{suffix}", probabilities()
    if suffix == "npy":
        np.save(path, p)
    elif suffix == "score.npy":
        np.save(path, np.arange(N))
    else:
        which = suffix.partition(".")[0]
        table = open_workspace(place).table("samples", ["row", "uri"])
        order = np.random.default_rng(0).permutation(N)
        columns = {which: table[which].take(pa.array(order)), "car": p[order, 0], "bus": p[order, 1]}
        if suffix.endswith("parquet"):
            pq.write_table(pa.table(columns), path)
        else:
            path.write_text(
                "\n".join(
                    ["row,car,bus", *(f"{r},{a:.6f},{1 - a:.6f}" for r, a in zip(order, p[order, 0], strict=True))]
                )
            )
    scores = limits(place, "select.method=uncertainty", f"select.scores={path}")["scores"]
    assert np.argsort(-scores)[:2].tolist() == [23, 22]


def test_files_of_scores_that_do_not_fit_are_named(place: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros((5, 2)))
    np.save(tmp_path / "logits.npy", np.full((N, 2), 3.0))
    (tmp_path / "broken.npy").write_text("no")
    pq.write_table(pa.table({"name": ["a"], "p": [0.5]}), tmp_path / "nameless.parquet")
    pq.write_table(pa.table({"uri": ["elsewhere"], "p": [0.5]}), tmp_path / "others.parquet")
    (tmp_path / "broken.parquet").write_text("no")
    np.save(tmp_path / "words.npy", np.asarray(["low"] * N))
    (tmp_path / "twice.csv").write_text("row,p\n3,0.1\n3,0.9\n")
    (tmp_path / "far.csv").write_text("row,p\n0,0.1\n99,0.9\n")
    (tmp_path / "unnamed.csv").write_text("row,p\n0,0.1\nx,0.9\n")
    for name, message in (
        ("short.npy", r"has shape \(5, 2\); expected a line for each of the 24 rows or of the 24 images"),
        ("logits.npy", "add up to 6"),
        ("broken.npy", "cannot read"),
        ("broken.parquet", "cannot read"),
        ("gone.csv", "cannot read"),
        ("nameless.parquet", "has the columns name, p; expected row or uri, and a score"),
        ("others.parquet", "no uri of .* is an image of"),
        ("words.npy", "holds <U3; expected numbers"),
        ("twice.csv", "names row 3 more than once; expected one line per image"),
        ("far.csv", "names row 99; rows are 0 to 23"),
        ("unnamed.csv", "column 'row' of .* is string; expected integers"),
    ):
        with pytest.raises(BadConfig, match=message):
            limits(place, "select.method=uncertainty", f"select.scores={tmp_path / name}")


def test_a_changed_file_of_scores_makes_the_selection_anew(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.npy"
    np.save(path, np.arange(N))
    asked = ["select.method=uncertainty", f"select.scores={path}", "select.budget=2"]
    assert chosen(place, "follow", *asked) == [23, 22]
    np.save(path, np.arange(N, dtype=np.float32)[::-1])
    assert chosen(place, "follow", *asked) == [0, 1]


# -- quotas, targets, limits --


def weather(place: Path, rows: Sequence[int]) -> list[str]:
    with Catalog(open_workspace(place)) as catalog:
        column = catalog.table(["weather"])["weather"].to_pylist()
    return [column[row] for row in rows]


@pytest.mark.parametrize(
    ("quotas", "n_night"),
    [
        ("{night: 0.25}", 3),
        ("{night: 2, day: 10}", 2),
        ("'like:dark'", 6),
        ("'like:where:row < 12'", 6),
        ("uniform", 6),
    ],
)
def test_quotas_are_counts_shares_or_like_another_set(place: Path, quotas: str, n_night: int) -> None:
    if "dark" in quotas:
        chosen(place, "dark", "select.where=row in (0, 1, 22, 23)", "select.budget=4")
    rows = chosen(place, "quota", "select.per_group=weather", f"select.quotas={quotas}", "select.budget=12")
    assert weather(place, rows).count("night") == n_night
    assert len(rows) == 12


def test_settings_that_change_nothing_here_are_told(place: Path) -> None:
    asked = settings("select.name=idle", "select.preselected=labelled", "select.quotas=proportional", "select.budget=3")
    result = pipeline.run_one("select", place, asked)
    said = " ".join(result.counts["notes"])
    assert "No image is labelled already: select.preselected 'labelled' names none" in said
    assert "select.quotas has no effect without select.per_group" in said


def test_a_target_that_cannot_be_met_is_told_with_the_selection(place: Path) -> None:
    result = pipeline.run_one(
        "select", place, settings("select.name=short", "select.per_group=weather", "select.quotas={night: 0.75}",
                                  "select.budget=12"),
    )  # fmt: skip
    sentence = "The target cannot be met: 'night' was to be 75 % (9 of 12 picks) and has 6, 3 short."
    assert result.counts["unmet"] == [sentence]
    assert meta_of(place, "short")["unmet"] == [sentence]
    assert {row["group"]: row["picked"] for row in meta_of(place, "short")["quotas"]} == {"night": 6, "day": 6}


def test_a_balance_is_like_another_set_or_in_whole_numbers(place: Path) -> None:
    for target, expected in (
        ("like:where:row < 12", {"night": 0.5, "day": 0.5}),
        ({"night": 1, "day": 3}, {"night": 0.25, "day": 0.75}),
        ({"night": 0.1}, {"night": 0.1}),
    ):
        strategy = {"kind": "balance", "column": "weather", "target": target}
        assert dict(limits(place, wishes(strategy))["strategies"][0].target.shares) == expected
    for word in ("uniform", "equal"):
        asked = limits(place, wishes({"kind": "balance", "column": "weather", "target": word}))
        assert asked["strategies"][0].target == "uniform"
    strong = {"kind": "balance", "column": "weather", "strength": 30}
    rows = chosen(place, "b3", wishes({"kind": "diversity"}, strong), "select.budget=12")
    assert weather(place, rows).count("night") == 6
    strategy = {"kind": "balance", "column": "weather", "target": "uniform"}
    chosen(place, "b4", wishes({"kind": "random"}, strategy), "select.budget=20")
    assert meta_of(place, "b4")["unmet"][0].startswith("The balance by weather is not met: 'night' was to be 50 %")


def test_a_set_to_be_like_must_hold_images(place: Path) -> None:
    with pytest.raises(BadConfig, match="select.quotas: 'like:where:row > 99' holds no image"):
        limits(place, "select.per_group=weather", "select.quotas=like:where:row > 99")


def test_picks_keep_their_distance(place: Path) -> None:
    place_ = make(place, "apart", "select.min_distance=0.05", "select.budget=24")
    embeddings, rows = place_.embeddings(), place_.selection("apart").rows
    vectors = embeddings.vectors[embeddings.positions_of(rows)]
    assert (1 - vectors @ vectors.T + 2 * np.eye(len(rows))).min() >= 0.05 - 1e-5
    assert 1 < len(rows) < N
    assert "the least distance of 0.05 between picks allows" in meta_of(place, "apart")["unmet"][0]
    asked = limits(place, "select.min_distance=0.01", wishes({"kind": "diversity", "min_distance": 0.03}))
    assert asked["min_distance"] == 0.03


def test_a_selection_stops_where_it_covers_enough_and_says_so(place: Path) -> None:
    rows = chosen(place, "enough", "select.budget=24", "select.threshold=0.9", "select.stop_coverage=0.5")
    kept = meta_of(place, "enough")
    assert 0 < len(rows) < N
    assert kept["covered"] >= 0.5
    assert kept["cover_threshold"] == 0.9
    assert kept["notes"][0].startswith(f"Stopped after {len(rows)} picks, before the budget of 24: they cover")
    assert 0.6 < kept["optimality"] <= 1.0
    less = chosen(place, "less", "select.budget=24", "select.stop_gain=0.9")
    assert len(less) < N


def test_methods_run_from_the_configuration(place: Path) -> None:
    for method in ("mixed", "coverage"):
        assert len(chosen(place, "one", f"select.method={method}", "select.budget=5")) == 5
        assert meta_of(place, "one")["config"]["method"] == method


def test_the_share_set_aside_is_told_for_every_method_that_sets_aside(place: Path) -> None:
    chosen(place, "apart", "select.method=dpp", "select.budget=5", "select.trim_share=0.1")
    assert meta_of(place, "apart")["trim_share"] == 0.1
    chosen(place, "central", "select.method=mixed", "select.budget=5")
    assert meta_of(place, "central")["trim_share"] is None


def test_frames_of_a_clip_keep_their_seconds(tmp_path: Path) -> None:
    folder, rng = tmp_path / "clips", np.random.default_rng(0)
    folder.mkdir()
    av = pytest.importorskip("av")
    for name in ("a", "b"):
        with av.open(str(folder / f"{name}.mp4"), "w") as out:
            stream = out.add_stream("mpeg4", rate=4)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for _ in range(24):
                frame = av.VideoFrame.from_image(picture(rng))
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    asked = [
        "sources.fps=4",
        "select.budget=48",
        "select.spacing_s=1.5",
        "select.low_quality=true",
    ]
    done = pipeline.run([str(folder)], tmp_path / "w", settings(*asked))
    with Catalog(done.workspace) as catalog:
        table = catalog.table(["file", "time_s"], rows=np.sort(done.workspace.selection("selection").rows))
    for clip in ("a", "b"):
        times = sorted(
            t for f, t in zip(table["file"].to_pylist(), table["time_s"].to_pylist(), strict=True) if f"{clip}.mp4" in f
        )
        assert np.all(np.diff(times) >= 1.5 - 1e-6)
        gaps = np.abs(np.arange(24)[:, None] / 4 - np.array(times))  # (frame, pick) seconds
        assert gaps.min(axis=1).max() < 1.5  # the budget is of all frames: whoever is left out is too near to a pick
    meta = done.workspace.selection("selection").config
    assert "the spacing of 1.5 s within a clip" in meta["unmet"][0]
    told = {spread["column"] for spread in meta["balance"]}
    assert "video" in told
    assert "frame" not in told  # the number of a frame is no group
    assert meta["counts"] == "images"  # how long a camera looked counts


def test_near_duplicates_of_collected_pictures_count_once_unless_asked(tmp_path: Path) -> None:
    rng, folder = np.random.default_rng(3), tmp_path / "images"
    folder.mkdir()
    for i in range(12):
        own = picture(rng)
        for copy in range(8 if i < 2 else 1):
            own.save(folder / f"{i:02d}-{copy}.jpg", quality=90 - copy)
    asked = ["neardups.threshold=0.98", "select.budget=3", "select.low_quality=true", "select.name=auto"]
    place = tmp_path / "w"
    pipeline.run([str(folder)], place, settings(*asked))
    rows = {name: chosen(place, name, f"select.counts={name}", *asked[:3]) for name in ("distinct", "images")}
    assert [meta_of(place, name)["counts"] for name in ("auto", *rows)] == ["distinct", "distinct", "images"]
    told = "Near-duplicates count once: most images are no frames of clips. With select.counts images each counts."
    assert [meta_of(place, name)["notes"] for name in ("auto", *rows)] == [[told], [], []]
    assert open_workspace(place).selection("auto").rows.tolist() == rows["distinct"] != rows["images"]
    chosen(place, "copies", "select.near_duplicates=true", *asked[:3])
    assert meta_of(place, "copies")["counts"] == "images"  # who may be picked counts
    chosen(place, "apart", "select.method=diverse", *asked[:3])
    assert meta_of(place, "apart")["notes"] == []  # it stands for nothing
    chosen(place, "apart", "select.method=diverse", "select.counts=images", *asked[:3])
    none = "select.counts has no effect on diverse, which does not ask what picks stand for."
    assert meta_of(place, "apart")["notes"] == [none]
    chosen(place, "wish", wishes({"kind": "representative"}), *asked[:3])
    assert meta_of(place, "wish")["notes"] == [told]


def test_images_have_no_clip_and_are_free(place: Path) -> None:
    assert len(chosen(place, "free", "select.spacing_s=100", "select.budget=24")) == N


def test_what_the_configuration_says_is_what_is_asked(place: Path) -> None:
    asked = limits(place, "select.method=graph_cut", "select.redundancy=0.5", "select.stop_gain=0.01")
    assert (asked["redundancy"], asked["threshold"]) == (0.5, 1.0)  # the threshold near-duplicates were decided with
    assert asked["stop"].gain == 0.01
    assert limits(place, "select.threshold=0.8")["threshold"] == 0.8
    assert (asked["spacing"], asked["quotas"], asked["scores"]) == (None, None, None)


def test_grey_images_are_no_trouble_for_a_product(tmp_path: Path) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (64, 64), (i, i, i)).save(folder / f"{i}.png")
    asked = ["select.low_quality=true", "select.near_duplicates=true", "select.budget=4"]
    done = pipeline.run(
        [str(folder)], tmp_path / "w", settings(*asked, wishes({"kind": "diversity"}, {"kind": "representative"}))
    )
    assert len(done.workspace.selection("selection")) == 4


@pytest.mark.real
@pytest.mark.slow
def test_wishes_over_real_clips_hold_what_they_say(real_data: Path, tmp_path: Path) -> None:
    clips = [str(real_data / "video" / name) for name in ("intel_car-detection.mp4", "sam2_03_blocks.mp4")]
    asked = [
        "sources.fps=2",
        "select.budget=12",
        "select.spacing_s=1",
        "select.per_group=file",
    ]
    strategies = wishes({"kind": "diversity"}, {"kind": "representative"}, {"kind": "weights", "column": "sharpness"})
    done = pipeline.run(clips, tmp_path / "w", settings(*asked, strategies))
    rows = done.workspace.selection("selection").rows
    with Catalog(done.workspace) as catalog:
        table = catalog.table(["file", "time_s"], rows=np.sort(rows))
    for clip in clips:
        times = [t for f, t in zip(table["file"].to_pylist(), table["time_s"].to_pylist(), strict=True) if f == clip]
        assert len(times) == 6
        assert np.all(np.diff(sorted(times)) >= 1 - 1e-6)
    embeddings = done.workspace.embeddings()
    vectors = embeddings.vectors[embeddings.positions_of(rows)]
    assert (1 - vectors @ vectors.T + np.eye(len(rows))).min() > 0.005  # no copies


def test_the_help_shows_a_list_of_strategies_as_it_is_written() -> None:
    shown = CliRunner().invoke(app, ["select", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert '"[diversity, {kind: weights, column: sharpness}]"' in " ".join(shown.replace("│", " ").split())
