"""Evidence of a workspace, `curator compare` and `curator why`: every sentence against what was planted."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from curator import pipeline
from curator.catalog import Catalog
from curator.cli import app
from curator.config import Config, load
from curator.errors import StageMissing, UnknownRow, UnknownSelection, UsageError
from curator.pipeline import describing, judgements, splitting
from curator.pipeline.comparing import compare
from curator.pipeline.derive import rows_table
from curator.pipeline.evidencing import NOTHING, controls_of, evidence_of, judge, passing, scene_of
from curator.pipeline.explaining import why
from curator.workspace import Workspace, open_workspace
from tests.conftest import picture

FAST = ["embed.model=colour", "map.kind=pca", "report.n_random=5", "index.neighbors=5", "neardups.threshold=0.999"]


def settings(*more: str) -> Config:
    return load(None, [*FAST, *more])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Thirty photos of three classes, near-copies of six of them, one flat, one broken, one that will be gone."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for i in range(30):
        image = picture(rng)
        (folder / "abc"[i % 3]).mkdir(exist_ok=True)
        image.save(folder / "abc"[i % 3] / f"{i:02d}.png")
        if i < 6:
            image.save(folder / "abc"[i % 3] / f"{i:02d}_copy.jpg", quality=95)
    Image.new("RGB", (96, 64), (0, 0, 0)).save(folder / "a" / "flat.png")
    (folder / "a" / "broken.jpg").write_text("no picture")
    picture(rng).save(folder / "c" / "gone.png")
    sheet = ["file,weather,number"]
    sheet += [f"{path.name},{'sun' if i % 4 else 'rain'},{i}" for i, path in enumerate(sorted(folder.rglob("*.png")))]
    table = folder.parent / f"{folder.name}.csv"
    table.write_text("\n".join(sheet))
    where = tmp_path_factory.mktemp("w") / "w"
    labelled = ("sources.labels_from_folders=true", f"sources.metadata={table}")
    pipeline.run([str(folder)], where, settings("select.budget=6", "select.name=six", *labelled))
    (folder / "c" / "gone.png").unlink()
    pipeline.run([], where, settings("select.budget=6", "select.name=six", *labelled))
    for name, more in (
        ("wide", ["select.method=diverse", "select.budget=9", "select.trim_share=0.1"]),
        ("sunny", ["select.where=weather = 'sun'", "select.budget=4"]),
        ("after", ["select.preselected=selection:six", "select.budget=4"]),
        ("chance", ["select.method=random", "select.budget=6"]),
    ):
        pipeline.run_one("select", where, settings(f"select.name={name}", *more))
    return open_workspace(where)


def meta(place: Workspace, name: str) -> dict[str, Any]:
    return dict(place.entries(f"selections/{name}")[0].meta)


def row_of(place: Workspace, ending: str) -> int:
    table = place.table("samples", ["row", "uri"])
    uris: list[str] = table["uri"].to_pylist()
    rows: list[int] = table["row"].to_pylist()
    return next(row for row, uri in zip(rows, uris, strict=True) if uri.endswith(ending))


# -- evidence ----------------------------------------------------------------------------------------------------


def test_a_selection_stores_its_evidence_as_plain_values(place: Workspace) -> None:
    found = meta(place, "six")
    assert json.loads(json.dumps(found)) == found
    names = [measure["name"] for measure in found["measures"]]
    assert names == [
        "coverage", "coverage with every near-duplicate counted", "images within cosine 1.00 of a pick",
        "the farthest image", "near-duplicate groups seen", "classes seen", "class balance", "clusters seen",
        "values of weather seen", "1-NN accuracy", "linear-probe accuracy",
    ]  # fmt: skip
    assert {balance["column"] for balance in found["balance"]} == {
        "class",
        "cluster",
        "weather",
    }  # a number is no group
    assert found["learning"]["n_classes"] == 3
    assert found["no_learning"] == ""
    assert found["plan"]["sentence"] in found["verdict"]
    assert found["verdict"].count("(5 random draws of 6.)") == 1
    assert "values of weather" not in found["verdict"]  # stands in the tables
    assert found["is_better"] in (True, None, False)


def test_the_stored_numbers_are_those_of_a_direct_count(place: Workspace) -> None:
    found, embeddings = meta(place, "six"), place.embeddings()
    picked = embeddings.positions_of(place.selection("six").rows)
    best = (embeddings.vectors @ embeddings.vectors[picked].T).max(axis=1)
    table = place.column("neardup")
    kept = np.isin(embeddings.rows, table["row"].to_numpy()[np.asarray(table["duplicate"].to_pylist()) == "kept"])
    by_name = {measure["name"]: measure for measure in found["measures"]}
    assert by_name["coverage"]["selected"] == pytest.approx(best[kept].mean(), abs=1e-5)
    assert by_name["coverage with every near-duplicate counted"]["selected"] == pytest.approx(best.mean(), abs=1e-5)
    assert by_name["the farthest image"]["selected"] == pytest.approx(best.min(), abs=1e-5)
    assert by_name["near-duplicate groups seen"]["selected"] == pytest.approx(6 / kept.sum())
    assert found["plan"]["n_points"] == len(embeddings)
    assert found["plan"]["reached"] == pytest.approx((best >= 0.999 - 1e-6).mean(), abs=0.05)


def test_a_filter_bounds_what_is_to_be_covered_and_what_chance_draws_from(place: Workspace) -> None:
    scene = scene_of(place, place.embeddings(), settings("select.where=weather = 'sun'"))
    assert 0 < scene.inside.sum() < len(scene.inside)
    assert meta(place, "sunny")["curve"]["n_available"] == scene.inside.sum()
    assert meta(place, "sunny")["plan"]["n_points"] == scene.inside.sum()


@pytest.mark.parametrize("name", ["six", "wide", "sunny", "after"])
def test_which_pick_covers_each_image_first_is_stored_and_agrees_with_the_plan(place: Workspace, name: str) -> None:
    threshold, first = describing.coverage(place, name)
    plan = meta(place, name)["plan"]
    assert threshold == plan["threshold"]
    embeddings, picks = place.embeddings(), place.selection(name).rows
    near = embeddings.vectors @ embeddings.vectors[embeddings.positions_of(picks)].T >= threshold - 1e-6  # (n, k)
    scene = scene_of(place, embeddings, settings(*(["select.where=weather = 'sun'"] if name == "sunny" else [])))
    given = place.selection("six").rows if name == "after" else np.zeros(0, np.int64)
    from_start = (embeddings.vectors @ embeddings.vectors[embeddings.positions_of(given)].T >= threshold - 1e-6).any(1)
    expected = np.where(near.any(axis=1), near.argmax(axis=1) + 1, -1)
    expected[from_start] = 0
    expected[~scene.inside] = -2
    assert first[embeddings.rows].tolist() == expected.tolist()
    others = np.setdiff1d(np.arange(place.n_rows), embeddings.rows)
    assert len(others)
    assert (first[others] == -2).all()
    for n, share in zip(*plan["path"], strict=True):
        if n <= len(picks):
            assert ((first >= 0) & (first <= n)).sum() / (first >= -1).sum() == pytest.approx(share, abs=1e-6)


def test_a_metadata_column_called_class_is_told_apart_from_the_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = ["file,label,class"]
    for i in range(12):
        path = tmp_path / "images" / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        picture(rng).save(path)
        lines.append(f"{path.name},{'ab'[i % 2]},{'wet' if i % 3 else 'dry'}")
    (tmp_path / "sheet.csv").write_text("\n".join(lines))
    asked = (f"sources.metadata={tmp_path / 'sheet.csv'}", "select.budget=5")
    place = pipeline.run([str(tmp_path / "images")], tmp_path / "w", settings(*asked)).workspace
    balance = meta(place, "selection")["balance"]
    titles = [one["column"] for one in balance]
    assert {"class", "class (metadata)"} <= set(titles)
    assert len(set(titles)) == len(titles)
    wet = [
        groups[titles.index("class (metadata)")] for groups in place.table("selections/selection")["groups"].to_pylist()
    ]
    assert set(wet) <= {"wet", "dry"}


def test_every_pick_has_its_group_in_each_column_of_the_balance(place: Workspace) -> None:
    table = place.table("selections/wide")
    for at, balance in enumerate(meta(place, "wide")["balance"]):
        taken = Counter(groups[at] for groups in table["groups"].to_pylist())
        assert {value: n for value, _, n in balance["groups"] if n} == {v: n for v, n in taken.items() if v is not None}


def test_what_an_older_selection_covers_is_not_known(place: Workspace, tmp_path: Path) -> None:
    shutil.copytree(place.path, tmp_path / "w")
    manifest = tmp_path / "w" / "workspace.json"
    body = json.loads(manifest.read_text())
    del body["entries"]["covers/six"]
    body["entries"]["covers/wide"][0]["meta"]["selection"] = "another"  # replaced since by one that knows nothing
    manifest.write_text(json.dumps(body))
    old = open_workspace(tmp_path / "w")
    for name in ("six", "wide"):
        with pytest.raises(StageMissing, match=f"not known what '{name}' covers; run `curator select --name {name}`"):
            describing.coverage(old, name)
    with pytest.raises(UnknownSelection):
        describing.coverage(old, "none")


def test_evidence_of_nothing_says_so(place: Workspace) -> None:
    nothing = np.zeros(0, np.int64)
    told = evidence_of(place, place.embeddings(), nothing, nothing, settings(), lambda *_: None).meta
    assert (told["verdict"], told["is_better"], told["measures"], told["knee"]) == (NOTHING, None, [], None)
    json.dumps(told, allow_nan=False)


def test_evidence_of_everything_compares_nothing(place: Workspace) -> None:
    embeddings = place.embeddings()
    everything = np.arange(len(embeddings))
    told = evidence_of(place, embeddings, everything, np.zeros(0, np.int64), settings(), lambda *_: None).meta
    assert told["verdict"] == f"All {len(embeddings)} were selected, so any other selection of that size is the same."
    assert told["learning"] is None
    assert told["no_learning"] == "too few images are left that no ordering has seen"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({}, "the images have no labels"),
        ({"a": "x"}, "learning curves need 90%"),
        ({"a": "x", "b": "x", "c": "x"}, "all images have the same label"),
        ({"a": "x|y", "b": "y", "c": "z"}, "labelled images have several labels; learning curves need one"),
    ],
)
def test_where_labels_do_not_allow_learning_curves_the_reason_is_told(
    labels: dict[str, str], reason: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    from curator.pipeline.evidencing import _classes

    folders = "abc" * 5
    found, why_not = _classes([labels[f].split("|") if f in labels else None for f in folders])
    assert found is None
    assert reason in why_not


def test_thresholds_among_the_strategies_bound_it_too(place: Workspace) -> None:
    wish = "select.strategies=[{kind: threshold, column: number, min: 10}, {kind: diversity}]"
    inside = passing(place, place.embeddings(), settings(wish))
    numbers = rows_table(place, place.embeddings().rows, ["number"])["number"].to_pylist()
    assert inside.tolist() == [number is not None and number >= 10 for number in numbers]
    assert 0 < inside.sum() < len(inside)


def test_a_threshold_of_the_selections_own_says_what_a_pick_covers(place: Workspace) -> None:
    scene = scene_of(place, place.embeddings(), settings("select.threshold=0.9"))
    assert scene.within == 0.9
    assert scene.threshold == pytest.approx(0.999)
    assert scene_of(place, place.embeddings(), settings()).within == pytest.approx(0.999)


def test_what_a_pick_covers_is_counted_in_the_vectors_that_select(place: Workspace) -> None:
    embeddings, nothing = place.embeddings(), np.zeros(0, np.int64)
    scene = dataclasses.replace(scene_of(place, embeddings, settings()), within=0.5)
    found = judge(scene, np.arange(5), nothing, controls_of(scene, 5, nothing, settings()), settings())
    by_name = {measure.name: measure.selected for measure in found.measures()}
    best = (embeddings.vectors @ embeddings.vectors[:5].T).max(axis=1)
    assert by_name["images within cosine 0.50 of a pick"] == pytest.approx((best >= 0.5).mean(), abs=1e-5)
    assert by_name["coverage with every near-duplicate counted"] == pytest.approx(best.mean(), abs=1e-5)


def test_selection_and_evidence_agree_on_what_a_pick_covers(place: Workspace) -> None:
    found = meta(place, "six")
    assert found["plan"]["threshold"] == found["curve"]["threshold"] == found["cover_threshold"]


# -- compare -----------------------------------------------------------------------------------------------------


def test_two_selections_are_compared_at_the_size_of_the_smaller(place: Workspace) -> None:
    found = compare(place, "six", "wide", settings())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["a"]["n"], found["b"]["n"], found["at"]) == (6, 9, 6)
    rows = [set(place.selection(name).rows.tolist()) for name in ("six", "wide")]
    assert found["overlap"]["same"] == len(rows[0] & rows[1])
    assert found["overlap"]["jaccard"] == pytest.approx(len(rows[0] & rows[1]) / len(rows[0] | rows[1]))
    embeddings = place.embeddings()
    first = embeddings.positions_of(place.selection("wide").rows[:6])
    best = (embeddings.vectors @ embeddings.vectors[first].T).max(axis=1)
    every = next(m for m in found["measures"] if m["name"] == "coverage with every near-duplicate counted")
    assert every["b"] == pytest.approx(best.mean(), abs=1e-5)
    assert {m["winner"] for m in found["measures"]} <= {"a", "b", "tie"}
    assert found["sentences"][0].startswith("six (6) and wide (9) share")


def test_a_selection_does_not_win_against_an_equal_one(place: Workspace) -> None:
    pipeline.run_one("select", place.path, settings("select.name=again", "select.budget=6"))
    found = compare(open_workspace(place.path), "six", "again", settings())
    assert found["overlap"]["same"] == 6
    assert found["overlap"]["a_near_b"] == 6
    assert {m["winner"] for m in found["measures"]} == {"tie"}
    assert found["differences"] == []
    assert not any("wins" in sentence or "has more" in sentence for sentence in found["sentences"])


def test_swapping_the_two_swaps_the_winners(place: Workspace) -> None:
    one, two = compare(place, "six", "chance", settings()), compare(place, "chance", "six", settings())
    swapped = {"a": "b", "b": "a", "tie": "tie"}
    sides = [{m["name"]: m for m in found["measures"] if "accuracy" not in m["name"]} for found in (one, two)]
    assert {n: swapped[m["winner"]] for n, m in sides[0].items()} == {n: m["winner"] for n, m in sides[1].items()}
    assert {(d["group"], d["a"], d["b"]) for d in one["differences"]} == {
        (d["group"], d["b"], d["a"]) for d in two["differences"]
    }


def test_labelled_images_behind_one_of_the_two_are_told_and_are_no_picks(place: Workspace) -> None:
    found = compare(place, "after", "chance", settings())
    assert "6 labelled images count for after beside its picks, none for chance." in found["sentences"]
    assert all(0 <= d["a"] <= 1 and 0 <= d["b"] <= 1 for d in found["differences"])
    assert not any("labelled images" in s for s in compare(place, "six", "chance", settings())["sentences"])


def test_two_random_draws_apart_by_no_more_than_such_draws_are_is_no_clear_win(place: Workspace) -> None:
    for m in compare(place, "six", "chance", settings())["measures"]:
        if "spread" in m:
            assert m["is_clear"] == (m["winner"] != "tie" and abs(m["a"] - m["b"]) > m["spread"])
    widths = {m["name"]: m["random_high"] - m["random_low"] for m in meta(place, "six")["measures"]}
    one = compare(place, "six", "chance", settings())["measures"][0]
    assert one["spread"] == pytest.approx(widths[one["name"]] / np.sqrt(2), rel=1e-4)


def test_a_selection_that_stopped_before_its_first_pick_can_be_compared(place: Workspace) -> None:
    how = ["select.preselected=selection:six", "select.threshold=0.1", "select.stop_coverage=0.1", "select.budget=4"]
    pipeline.run_one("select", place.path, settings("select.name=none", *how))
    again = open_workspace(place.path)
    assert len(again.selection("none")) == 0
    for names in (("six", "none"), ("none", "six")):
        found = compare(again, *names, settings())
        assert found["differences"] == []
        assert found["at"] == 0


def test_comparing_refuses_what_makes_no_sense(place: Workspace) -> None:
    with pytest.raises(UsageError, match="both selections are 'six'; name two"):
        compare(place, "six", "six", settings())
    with pytest.raises(UnknownSelection, match="no selection 'seven'"):
        compare(place, "six", "seven", settings())


def test_selections_of_two_spaces_are_not_compared(tmp_path: Path, image_folder: Path) -> None:
    pipeline.run([str(image_folder)], tmp_path / "w", settings("select.name=one", "select.budget=3"))
    own = tmp_path / "own.npy"
    np.save(own, np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32))
    pipeline.run([], tmp_path / "w", settings("select.name=two", "select.budget=3", f"embed.model=vectors:{own}"))
    with pytest.raises(UsageError, match="'one' was selected in space 'colour.*' and 'two' in 'vectors"):
        compare(open_workspace(tmp_path / "w"), "one", "two", settings())


# -- why ---------------------------------------------------------------------------------------------------------


def told(place: Workspace, ending: str, selection: str | None = "six") -> dict[str, Any]:
    facts = why(place, row_of(place, ending), settings("select.name=six"), selection=selection)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    return facts


def test_a_pick_is_told_with_rank_and_reason(place: Workspace) -> None:
    chosen = place.selection("six")
    facts = why(place, int(chosen.rows[2]), settings(), selection="six")
    assert (facts["status"], facts["rank"], facts["reason"]) == ("picked", 3, chosen.reasons[2])
    assert facts["sentences"][0] == f"Pick 3 of 6 in 'six': {chosen.reasons[2]}."
    assert facts["nearest_pick"]["row"] in chosen.rows.tolist()
    assert facts["nearest_pick"]["row"] != int(chosen.rows[2])
    assert facts["cluster"]["picked"] >= 1


def test_a_near_duplicate_names_the_one_that_was_kept(place: Workspace) -> None:
    ends = ("03.png", "03_copy.jpg")
    kinds = {ending: told(place, ending) for ending in ends}
    removed = next(ending for ending in ends if kinds[ending]["status"] == "duplicate")
    kept = next(ending for ending in ends if ending != removed)
    facts = kinds[removed]
    assert facts["representative"]["row"] == row_of(place, kept)
    assert facts["representative"]["similarity"] >= 0.999
    assert f"It is a near-duplicate of row {row_of(place, kept)}" in facts["sentences"][0]
    assert kinds[kept]["stands_for"] == 1
    assert "It was kept and stands for 1 near-duplicate." in kinds[kept]["sentences"]


def test_an_image_that_could_have_been_picked_is_told_who_is_nearest(place: Workspace) -> None:
    embeddings, chosen = place.embeddings(), place.selection("six")
    with Catalog(place) as catalog:
        kept = catalog.rows_where("duplicate = 'kept' AND status = 'present' AND contrast > 0.1")
    pictured = np.setdiff1d(kept, chosen.rows).tolist()
    facts = why(place, pictured[0], settings(), selection="six")
    at, picks = (embeddings.positions_of(np.asarray(rows)) for rows in ([pictured[0]], chosen.rows))
    similarity = embeddings.vectors[picks] @ embeddings.vectors[at[0]]
    assert facts["nearest_pick"]["row"] == chosen.rows[similarity.argmax()]
    assert facts["nearest_pick"]["rank"] == similarity.argmax() + 1
    assert facts["nearest_pick"]["distance"] == pytest.approx(1 - similarity.max(), abs=1e-5)
    assert facts["status"] == "not_picked"
    assert 0 <= facts["neighbours_closer"]["n"] <= facts["neighbours_closer"]["of"] == 5
    assert any(sentence.startswith("It could have been picked and was not: ") for sentence in facts["sentences"])


def test_a_flat_image_fails_the_limits_by_name(place: Workspace) -> None:
    facts = told(place, "flat.png")
    assert facts["status"] == "low_quality"
    assert {limit["limit"] for limit in facts["quality"]} == {"min_contrast", "max_underexposed"}
    assert "underexposed 1 where max_underexposed is 0.9" in " ".join(facts["sentences"])


def test_what_never_became_a_vector_says_why(place: Workspace) -> None:
    assert told(place, "broken.jpg")["status"] == "unreadable"
    assert told(place, "broken.jpg")["sentences"][0].startswith("It could not be read: ")
    gone = told(place, "gone.png")
    assert (gone["status"], gone["sentences"]) == (
        "gone", ["It is not in the sources any more, so it is not offered."],
    )  # fmt: skip


def test_an_image_outside_the_filter_is_told_the_filter(place: Workspace) -> None:
    with Catalog(place) as catalog:
        rainy = int(catalog.rows_where("weather = 'rain' AND duplicate = 'kept' AND status = 'present'")[0])
    facts = why(place, rainy, settings(), selection="sunny")
    assert facts["status"] == "filtered"
    assert "It does not pass the filter \"weather = 'sun'\"." in facts["sentences"]


def test_a_labelled_image_was_not_offered_again(place: Workspace) -> None:
    row = int(place.selection("six").rows[0])
    facts = why(place, row, settings(), selection="after")
    assert facts["status"] == "labelled"
    assert facts["sentences"][0] == "It is labelled already (selection:six), so it was not offered again."


def test_an_outlier_set_aside_is_told_its_distance(place: Workspace) -> None:
    stored = meta(place, "wide")
    facts = why(place, stored["trimmed"][0], settings(), selection="wide")
    assert facts["status"] == "trimmed"
    assert facts["trimmed"] == {"place": 1, "of": len(stored["trimmed"]), "distance": stored["trimmed_distance"][0]}


def test_without_a_selection_it_ends_with_what_came_before(tmp_path: Path, image_folder: Path) -> None:
    for stage in ("ingest", "embed", "index", "neardups"):
        pipeline.run_one(stage, tmp_path / "w", settings(), sources=[str(image_folder)])
    facts = why(open_workspace(tmp_path / "w"), 0, settings())
    assert facts["status"] == "not_selected_yet"
    assert facts["sentences"][-1].startswith("No selection has been made; run `curator select -w")


def test_unknown_rows_and_selections_are_refused(place: Workspace) -> None:
    with pytest.raises(UnknownRow, match="no row 999"):
        why(place, 999, settings())
    with pytest.raises(UnknownSelection, match="no selection 'seven'"):
        why(place, 0, settings(), selection="seven")


# -- in the report -----------------------------------------------------------------------------------------------


def test_the_report_holds_what_was_stored(place: Workspace) -> None:
    pipeline.run_one("report", place.path, settings("select.name=six"))
    numbers = json.loads((place.path / "report" / "report.json").read_text(encoding="utf-8"))
    stored = meta(place, "six")
    found = numbers["evidence"]
    assert [measure["name"] for measure in found["measures"]] == [measure["name"] for measure in stored["measures"]]
    assert found["plan"]["sentence"] == stored["plan"]["sentence"]
    assert found["learning"]["n_tests"] == stored["learning"]["n_tests"]
    assert [spread["column"] for spread in found["spreads"]] == [balance["column"] for balance in stored["balance"]]
    assert found["knee"] == stored["knee"]
    assert numbers["duplicates"]["threshold_origin"] == "given"
    assert {issue["name"] for issue in numbers["quality"]["issues"]["kinds"]} >= {"dark", "blurry", "outlier"}


def test_evidence_of_an_older_version_is_read_without_the_newer_numbers(place: Workspace) -> None:
    entry = place.entries("selections/six")[0]
    new = ("measures", "balance", "learning", "no_learning", "plan", "knee")
    old = {key: value for key, value in entry.meta.items() if key not in new}
    entries = {**place.snapshot.entries, "selections/six": (dataclasses.replace(entry, meta=old),)}
    before = Workspace(place.path, dataclasses.replace(place.snapshot, entries=entries))
    found = judgements.evidence(before, "six")
    assert (found.measures, found.spreads, found.learning, found.plan, found.knee) == ((), (), None, None, None)


@pytest.mark.parametrize(
    ("told", "origin"), [("default", "default"), ("given", "given"), ("calibration 'self'", "calibrated")]
)
def test_where_the_threshold_came_from_is_one_of_three(told: str, origin: str) -> None:
    assert judgements.threshold_origin({"threshold_origin": told}) == origin
    assert judgements.threshold_origin({}) == "given"


def test_stored_splits_become_numbers_with_their_certificate(place: Workspace) -> None:
    with place.writing("split") as writer:
        splitting.split(writer, settings("split.ratios=0.5,0.5", "split.group_by=[neardup]", "split.name=halves"))
    (found,) = judgements.splits(open_workspace(place.path))
    assert found.name == "halves"
    assert sum(part.size for part in found.parts) == len(place.embeddings())
    assert (found.rows_across, found.holds, found.grouped_by) == (0, True, ("neardup",))


# -- the command line --------------------------------------------------------------------------------------------


def call(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
    return result.stdout if code == 0 else result.stderr


def test_compare_prints_sentences_and_a_table(place: Workspace) -> None:
    out = call("compare", "six", "wide", "-w", place.path)
    assert out.startswith("six (6) and wide (9) share ")
    assert "\nat 6 picks" in out
    assert "  1-NN accuracy" in out
    body = json.loads(call("compare", "six", "wide", "-w", place.path, "--json"))
    assert [body[side]["name"] for side in ("a", "b")] == ["six", "wide"]


def test_why_prints_one_reason_a_line(place: Workspace) -> None:
    row = int(place.selection("six").rows[0])
    out = call("why", row, "-w", place.path, "--selection", "six").splitlines()
    assert out[0].startswith(f"row {row}  ")
    assert out[1].startswith("  Pick 1 of 6 in 'six': ")
    assert json.loads(call("why", row, "-w", place.path, "--selection", "six", "--json"))["rank"] == 1


def test_wrong_names_exit_with_two(place: Workspace) -> None:
    assert "both selections are 'six'" in call("compare", "six", "six", "-w", place.path, code=2)
    assert "no row 999" in call("why", 999, "-w", place.path, code=2)
