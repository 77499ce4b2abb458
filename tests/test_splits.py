"""Leak-free splits: groups, assignment, balance, and what a workspace keeps of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from curator import pipeline, splits
from curator.catalog import Catalog
from curator.cli import app
from curator.config import Config, load
from curator.data import Embeddings, FloatArray, IntArray, Neighbors
from curator.errors import BadConfig, BadSelection, DataError, StageMissing, UnknownColumn, UsageError
from curator.index import TOLERANCE, IndexSpec, PairJoin, knn_graph, normalise
from curator.pipeline import splitting
from curator.workspace import Workspace, create_workspace, open_workspace
from tests.conftest import REAL_DATA, picture
from tests.vectors import slow_video, unit, with_near_copies

# --- ratios


def test_ratios_are_read_with_and_without_names() -> None:
    assert splits.parse_ratios("0.8,0.1,0.1") == pytest.approx({"train": 0.8, "val": 0.1, "test": 0.1})
    assert splits.parse_ratios("3,1") == {"train": 0.75, "test": 0.25}
    assert splits.parse_ratios("a=1, b=1,c=1,d=1") == {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}


@pytest.mark.parametrize(
    "text", ["", "0.8,x", "1,0", "1,-1", "nan,1", "inf,1", "1,1,1,1", "a=1,a=2", "a=1,2", "=1,b=2"]
)
def test_ratios_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(BadSelection, match="split ratios .*; expected two or three shares"):
        splits.parse_ratios(text)
    with pytest.raises(BadConfig, match="split.ratios"):
        load(None, [f"split.ratios={json.dumps(text)}"])


# --- groups


def naive_components(n: int, pairs: list[tuple[int, int]]) -> IntArray:
    label = list(range(n))
    for _ in range(n):
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
    return np.asarray(np.unique(label, return_inverse=True)[1], np.int64)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=14))
def test_a_forest_joins_what_a_naive_labelling_joins(n: int, pairs: list[tuple[int, int]]) -> None:
    pairs = [(a % n, b % n) for a, b in pairs]
    forest = splits.Forest(n)
    for part in (pairs[::2], pairs[1::2]):
        left, right = (np.asarray(side, np.int64) for side in (zip(*part, strict=True) if part else ((), ())))
        forest.join(left, right)
    assert forest.groups().tolist() == naive_components(n, pairs).tolist()


def test_equal_codes_are_joined_and_negative_ones_stand_alone() -> None:
    forest = splits.Forest(6)
    forest.join_equal(np.array([3, -1, 3, 0, -1, 0]))
    assert forest.groups().tolist() == [0, 1, 0, 2, 3, 2]


def all_pairs(vectors: FloatArray, threshold: float) -> list[tuple[int, int]]:
    similarity = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    return [(int(a), int(b)) for a, b in zip(*np.nonzero(similarity >= threshold - TOLERANCE), strict=True) if a < b]


def near_groups(vectors: FloatArray, threshold: float, neighbors: Neighbors | None = None) -> IntArray:
    forest = splits.Forest(len(vectors))
    splits.join_near(forest, vectors, threshold, neighbors=neighbors, threads=1)
    return forest.groups()


@pytest.mark.parametrize("threshold", [0.6, 0.9, 0.97])
def test_near_groups_are_the_components_of_all_pairs(
    threshold: float, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "CHUNK", 64)
    vectors = np.vstack([with_near_copies(rng, 150, 32), slow_video(rng, 150)])[rng.permutation(300)]
    truth = naive_components(len(vectors), all_pairs(vectors, threshold))
    assert near_groups(vectors, threshold).tolist() == truth.tolist()
    graph = knn_graph(vectors, 5, IndexSpec(threads=1))
    assert near_groups(vectors, threshold, graph).tolist() == truth.tolist()
    wrong = Neighbors(np.roll(graph.positions, 7, axis=0), np.ones_like(graph.similarity), 0.0)
    assert near_groups(vectors, threshold, wrong).tolist() == truth.tolist(), "a wrong graph changes nothing"


def test_ten_thousand_copies_are_one_group(rng: np.random.Generator) -> None:
    vectors = np.vstack([np.repeat(unit(rng, 1), 10_000, axis=0), unit(rng, 20)])
    assert np.bincount(near_groups(vectors, 0.99)).tolist() == [10_000] + [1] * 20


def test_a_large_clump_is_never_listed_pair_by_pair(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "CHUNK", 128)
    clump = normalise(unit(rng, 1) + 0.02 * rng.standard_normal((1_500, 16)).astype(np.float32))
    vectors = np.vstack([clump, unit(rng, 100)])
    listed = []
    between = PairJoin.between

    def counted(self: PairJoin, left: IntArray, right: IntArray, **more: Any) -> Any:
        pairs = between(self, left, right, **more)
        listed.append(len(pairs))
        return pairs

    monkeypatch.setattr(PairJoin, "between", counted)
    graph = knn_graph(vectors, 8, IndexSpec(threads=1))
    assert np.bincount(near_groups(vectors, 0.9, graph)).max() == 1_500
    assert sum(listed) < 150 * 1_500  # all pairs of the clump are 1.1 million


def test_nearest_across_is_brute_force(rng: np.random.Generator) -> None:
    vectors = with_near_copies(rng, 200, 32)
    order = rng.permutation(200)
    left, right = order[:90], order[90:]
    similarity = vectors[left].astype(np.float64) @ vectors[right].astype(np.float64).T
    at, best = splits.nearest_across(vectors, left, right, 0.9, threads=1)
    reached = similarity.max(axis=1) >= 0.9 - TOLERANCE
    assert reached.any()
    assert np.array_equal(at >= 0, reached)
    assert np.allclose(best[reached], similarity.max(axis=1)[reached], atol=1e-6)
    none = np.empty(0, np.int64)
    assert splits.nearest_across(vectors, left, none, 0.9, threads=1)[0].tolist() == [-1] * 90
    assert splits.nearest_across(vectors, none, right, 0.9, threads=1)[0].tolist() == []


def test_torn_groups_are_counted() -> None:
    groups = np.array([0, 0, 1, 1, 2, -1, -1])
    assert splits.torn_groups(groups, np.array([0, 1, 1, 1, 0, 0, 1])) == 1
    assert splits.torn_groups(groups, np.array([0, -1, 1, 1, 0, 0, 1])) == 0


# --- assignment


def divided(groups: IntArray, shares: list[float], traits: list[splits.Trait] | None = None, **more: Any) -> IntArray:
    return splits.assign(groups, shares, traits or [], rng=np.random.default_rng(0), **more)


def goal(groups: IntArray, split: IntArray, shares: list[float], traits: list[splits.Trait]) -> float:
    """The goal, from its definition."""
    wanted = np.asarray(shares) * len(groups)
    have = np.bincount(split, minlength=len(shares))
    total = 10.0 * float(((have - wanted) ** 2 / np.maximum(wanted, 1)).sum())
    for trait in traits:
        counts = trait.counts(split, len(shares))
        want = np.outer(shares, counts.sum(axis=0))
        total += float(((counts - want) ** 2 / np.maximum(want, 1)).sum()) / len(traits)
    return total


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=60), st.integers(2, 4), st.integers(0, 3))
def test_no_group_is_ever_torn_and_everyone_has_a_part(codes: list[int], n_splits: int, seed: int) -> None:
    groups = np.asarray(np.unique(codes, return_inverse=True)[1], np.int64)
    labels = np.random.default_rng(seed).integers(0, 3, len(groups))
    trait = splits.trait_of("label", [[str(label)] for label in labels])
    split = divided(groups, [1 / n_splits] * n_splits, [trait])
    assert split.min() >= 0
    assert split.max() < n_splits
    assert splits.torn_groups(groups, split) == 0
    assert len(np.unique(split)) == min(n_splits, groups.max() + 1), "no part is empty while there are groups for it"


def test_small_problems_are_solved_as_well_as_by_trying_everything() -> None:
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(7), rng.integers(1, 9, 7))
        trait = splits.trait_of("label", [[str(label)] for label in rng.integers(0, 3, len(groups))])
        shares = [0.6, 0.2, 0.2]
        everything = (np.asarray(parts)[groups] for parts in itertools.product(range(3), repeat=7))
        best = min(goal(groups, split, shares, [trait]) for split in everything if len(np.unique(split)) == 3)
        ratios.append(goal(groups, divided(groups, shares, [trait]), shares, [trait]) / best)
    assert max(ratios) < 1.1


def test_single_rows_meet_ratios_and_balance_exactly() -> None:
    labels = np.repeat(["rare", "some", "many"], [20, 200, 2_000])
    trait = splits.trait_of("label", [[str(label)] for label in labels])
    split = divided(np.arange(2_220), [0.8, 0.1, 0.1], [trait])
    assert np.bincount(split).tolist() == [1776, 222, 222]
    assert trait.counts(split, 3).astype(int).tolist() == [[1600, 16, 160], [200, 2, 20], [200, 2, 20]]
    found = splits.balance_of(trait, split, 3)
    assert found.distance == pytest.approx((0, 0, 0), abs=1e-12)
    assert found.missing == ((), (), ())


def test_alike_groups_are_spread_not_taken_in_order() -> None:
    split = divided(np.arange(1_000), [0.8, 0.2])
    assert 0.3 < np.flatnonzero(split == 1).mean() / 1_000 < 0.7
    assert np.array_equal(split, divided(np.arange(1_000), [0.8, 0.2])), "the same seed, the same split"


def test_several_labels_of_one_row_all_count() -> None:
    trait = splits.trait_of("labels", [["a", "b"], [], ["b", "b"]])
    assert (trait.values, trait.positions.tolist(), trait.codes.tolist()) == (("a", "b"), [0, 0, 2], [0, 1, 1])
    assert trait.counts(np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]
    assert trait.counts(np.array([0, 1, -1]), 2).tolist() == [[1, 1], [0, 0]]


def test_a_group_larger_than_its_part_still_goes_somewhere() -> None:
    groups = np.concatenate([np.zeros(90, np.int64), np.arange(1, 11)])
    split = divided(groups, [0.5, 0.5])
    assert sorted(np.bincount(split).tolist()) == [10, 90]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_inputs_are_divided(n: int) -> None:
    trait = splits.trait_of("label", [["x"]] * n)
    split = divided(np.arange(n), [0.8, 0.1, 0.1], [trait])
    assert len(split) == n
    assert splits.balance_of(trait, split, 3).name == "label"


def test_fixed_rows_stay_and_a_group_with_several_goes_with_most() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2, 3])
    fixed = np.array([1, 1, 0, 0, -1, -1, 1])
    split = divided(groups, [0.5, 0.5], fixed=fixed)
    assert split[:5].tolist() == [1, 1, 1, 0, 0]
    assert split[6] == 1
    everything = divided(np.arange(4), [0.5, 0.5], fixed=np.array([0, 0, 0, 0]))
    assert everything.tolist() == [0, 0, 0, 0]


def test_order_of_the_rows_does_not_change_how_good_a_split_is(rng: np.random.Generator) -> None:
    groups = np.repeat(np.arange(40), rng.integers(1, 12, 40))
    labels = rng.integers(0, 4, len(groups))
    order = rng.permutation(len(groups))
    shares, found = [0.7, 0.3], []
    for at in (np.arange(len(groups)), order):
        trait = splits.trait_of("label", [[str(label)] for label in labels[at]])
        found.append(goal(groups[at], divided(groups[at], shares, [trait]), shares, [trait]))
    assert found[0] == pytest.approx(found[1])


def test_balance_names_what_a_part_lacks() -> None:
    trait = splits.trait_of("label", [["a"], ["a"], ["b"], ["b"]])
    found = splits.balance_of(trait, np.array([0, 0, 0, 1]), 2)
    assert found.missing == ((), ("a",))
    assert found.distance == pytest.approx((1 / 6, 0.5))
    assert found.to_dict(["train", "test"])["missing"] == {"train": [], "test": ["a"]}


# --- in a workspace

FAST = ["embed.model=colour", "index.neighbors=5", "workers=1"]


def prepared(sources: list[Path], place: Path, *more: str) -> Config:
    """Everything up to near-duplicates."""
    config = load(None, [*FAST, *more])
    for name in ("ingest", "embed", "index", "neardups"):
        pipeline.run_one(name, place, config, sources=[str(source) for source in sources] if name == "ingest" else ())
    return config


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    """Thirty pictures of three labels in six folders; every third has a re-saved copy in another folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(30):
        image = picture(rng)
        for copy in range(2 if i % 3 == 0 else 1):
            path = folder / f"walk{(i + 3 * copy) % 6}" / f"{'abc'[i % 3]}_{i:02d}_{copy}.jpg"
            path.parent.mkdir(exist_ok=True)
            image.save(path, quality=95 - 20 * copy)
    table = folder / "facts.csv"
    rows = [f"{path.relative_to(folder)},{path.name[0]},{path.parent.name},{('train', 'test')[path.name[-5] == '1']},x"
            for path in sorted(folder.rglob("*.jpg"))]  # fmt: skip
    table.write_text("\n".join(["file,label,walk,old,split_old", *rows]) + "\n")
    place = tmp_path_factory.mktemp("w") / "w"
    return place, prepared([folder], place, f"sources.metadata={table}", "sources.recursive=true")


@pytest.fixture
def place(pictures: tuple[Path, Config], tmp_path: Path) -> tuple[Workspace, Config]:
    import shutil

    shutil.copytree(pictures[0], tmp_path / "w")
    return open_workspace(tmp_path / "w"), pictures[1]


def split_of(place: Workspace, config: Config, *more: str, against: str | None = None) -> splitting.Split:
    changed = load(None, list(more), base=config.model_dump())
    with place.writing("test") as writer:
        return splitting.split(writer, changed, against=against)


def test_a_split_is_a_column_without_a_pair_across(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    done = split_of(workspace, config, "neardups.threshold=0.99", "split.ratios=0.5,0.25,0.25")
    assert done.meta["certificate"] == {
        "n": 40, "threshold": 0.99, "rows_across": 0, "between": {"train-val": 0, "train-test": 0, "val-test": 0},
        "torn": {"video": 0}, "holds": True, "promised": True,
    }  # fmt: skip
    with Catalog(workspace) as catalog:
        table = catalog.table(["row", "uri", "split_clean"])
        assert catalog.rows_where("split_clean = 'train'").tolist() == [
            row for row, part in zip(done.rows.tolist(), done.parts, strict=True) if part == "train"
        ]
        assert next(column for column in catalog.columns() if column.name == "split_clean").origin == "splits"
    where: dict[str, set[str]] = {}
    for uri, part in zip(table["uri"].to_pylist(), table["split_clean"].to_pylist(), strict=True):
        where.setdefault(Path(uri).stem[:-2], set()).add(part)
    assert len(where) == 30
    assert all(len(parts) == 1 for parts in where.values()), "a copy is where its original is"
    assert splitting.check(workspace) == []
    assert abs(done.meta["sizes"]["train"] - 20) <= 1


def test_columns_and_folders_are_never_torn(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    asked = ["neardups.threshold=0.99", "split.ratios=a=1,b=1,c=1,d=1,e=1,f=1"]
    done = split_of(workspace, config, "split.group_by=[walk]", "split.name=walks", *asked)
    assert done.meta["n_groups"] == 6
    assert done.meta["certificate"]["torn"] == {"walk": 0}
    assert not done.meta["certificate"]["promised"]
    assert done.meta["certificate"]["rows_across"] > 0, "copies lie in other folders, and nobody asked to keep them"
    folders = split_of(workspace, config, "split.group_by=[folder]", "split.name=folders", *asked)
    assert folders.parts == done.parts
    assert splitting.check(workspace) == []


def test_pictures_that_look_alike_stay_together_whatever_the_model_says(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    done = split_of(workspace, config, "split.group_by=[look]", "split.ratios=1,1", "neardups.threshold=1.0")
    assert done.meta["n_groups"] == 30, "each of the ten copies is with its original"
    assert done.meta["certificate"]["torn"] == {"look": 0}
    assert splitting.check(workspace) == []


def test_what_is_asked_too_much_is_said(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    done = split_of(workspace, config, "split.group_by=[walk, neardup]", "neardups.threshold=0.05")
    said = " | ".join(done.meta["unmet"])
    assert done.meta["n_groups"] == 1
    assert "one group of 40 rows, 100% of all, cannot be divided (it holds 6 of walk)" in said
    assert "val is empty: there are not enough groups to divide" in said
    two = split_of(workspace, config, "split.group_by=[label]", "split.ratios=a=1,b=1,c=1")
    assert "label is not balanced" in " | ".join(two.meta["unmet"])
    assert "has no row of 2 values of label" in " | ".join(two.meta["unmet"])


def test_a_large_group_that_finds_room_is_no_complaint() -> None:
    groups, shares = np.repeat([0, 1, 2, 3], [12, 4, 2, 2]), {"train": 0.8, "val": 0.1, "test": 0.1}
    assert splitting._unmet_sizes(groups, np.asarray([16, 2, 2]), shares, {}) == []
    told = splitting._unmet_sizes(groups, np.asarray([12, 4, 4]), shares, {})
    assert "one group of 12 rows, 60% of all, cannot be divided and is larger than val, test asked for" in told[0]
    assert "train has 12 rows, 60.0% of all; asked 80.0%" in told[1]


def test_an_existing_split_is_compared_and_can_be_kept(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    fresh = ["neardups.threshold=0.99", "split.ratios=train=0.75,test=0.25"]
    done = split_of(workspace, config, *fresh, against="old")
    old = done.meta["against"]
    assert (old["column"], old["n"]) == ("old", 40)
    assert old["rows_across"] == 10, "all ten copies are test images of a training picture"
    kept = split_of(workspace, config, *fresh, "split.keep=old", "split.name=mended", against="old")
    assert kept.meta["against"]["n_moved"] == 10
    assert kept.meta["certificate"]["rows_across"] == 0
    assert any("10 rows could not stay as in old" in text for text in kept.meta["unmet"])


def test_without_an_old_split_there_is_nothing_to_compare(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    assert split_of(workspace, config).meta["against"] is None


def test_the_same_split_twice_is_the_same(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    first, second = split_of(workspace, config), split_of(workspace, config)
    assert (first.parts, first.meta) == (second.parts, second.meta)
    assert workspace.runs()[-1]["stage"] == "split"


def test_numbers_are_balanced_in_equally_full_bins(place: tuple[Workspace, Config]) -> None:
    workspace, _ = place
    rows = workspace.embeddings().rows
    trait = splitting.trait_of(workspace, rows, "brightness")
    assert len(trait.values) == splitting.BINS
    assert np.bincount(trait.codes).tolist() == [8] * 5
    assert splitting.trait_of(workspace, rows, "label").values == ("a", "b", "c")


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("split.name=old", UsageError, "the images have a column split_old of their own; choose another name"),
        ("split.group_by=[labels]", UsageError, "column 'labels' holds lists; grouping needs one value"),
        ("split.group_by=[nonsense]", UnknownColumn, "no column 'nonsense'"),
        ("split.balance=[nonsense]", UnknownColumn, "no column 'nonsense'"),
        ("split.keep=walk", UsageError, "column 'walk' holds none of train, val, test .found: walk0, walk1"),
        ("split.keep=split", UsageError, "found: nothing"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(
    place: tuple[Workspace, Config], setting: str, error: type[Exception], message: str
) -> None:
    workspace, config = place
    with pytest.raises(error, match=message):
        split_of(workspace, config, setting)


def test_a_column_of_names_is_no_category_and_no_split(
    place: tuple[Workspace, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, config = place
    monkeypatch.setattr(splitting, "MAX_VALUES", 20)
    monkeypatch.setattr(splitting, "MAX_PARTS", 20)
    with pytest.raises(UsageError, match="column 'uri' has 40 values; balancing needs a category of at most 20"):
        split_of(workspace, config, "split.balance=[uri]")
    with pytest.raises(UsageError, match="column 'uri' has 40 values, so it is no split"):
        split_of(workspace, config, against="uri")


def test_a_row_that_is_near_two_parts_is_one_row_across(place: tuple[Workspace, Config]) -> None:
    points = Embeddings(np.arange(4), np.eye(4, dtype=np.float32)[[0, 0, 0, 1]], "test")
    found = splitting.certify(points, np.asarray([0, 1, 2, 2]), ["a", "b", "c"], {}, 0.9, place[1])
    assert found["between"] == {"a-b": 1, "a-c": 1, "b-c": 1}
    assert found["rows_across"] == 2, "the second and the third; the third is near both others"


def test_a_workspace_without_vectors_cannot_be_split(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(StageMissing, match="has no vectors of 'colour'; run `curator embed"):
        split_of(create_workspace(tmp_path / "w"), load(None, FAST))


def test_images_that_are_gone_leave_nothing_to_split(tmp_path: Path, image_folder: Path) -> None:
    config = prepared([image_folder], tmp_path / "w")
    for path in image_folder.rglob("*.jpg"):
        path.unlink()
    pipeline.run_one("ingest", tmp_path / "w", config)
    with pytest.raises(DataError, match="has no readable image, so there is nothing to split"):
        split_of(open_workspace(tmp_path / "w"), config)


def rewritten(workspace: Workspace, parts: list[str], rows: list[int] | None = None) -> None:
    """The stored split `clean` with other parts."""
    from dataclasses import replace

    import pyarrow as pa

    entry = workspace.entries("splits/clean")[0]
    with workspace.writing("test") as writer:
        table = pa.table({"row": rows if rows is not None else list(range(len(parts))), "split": parts})
        writer.write_table("splits/clean-other.parquet", table)
        writer.publish({"splits/clean": [replace(entry, file="splits/clean-other.parquet", n=len(parts))]})


def test_a_broken_promise_is_found(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    split_of(workspace, config, "neardups.threshold=0.99", "split.group_by=[walk, neardup]", "split.ratios=1,1")
    with Catalog(workspace) as catalog:
        uris = catalog.table(["uri"])["uri"].to_pylist()
    rewritten(workspace, ["test" if uri.endswith("_1.jpg") else "train" for uri in uris])
    torn, across = splitting.check(workspace)
    assert torn.startswith("split 'clean': ")
    assert "groups of walk lie in two parts" in torn
    assert across.startswith("split 'clean': ")
    assert "rows have a near-duplicate at cosine 0.99 or above in another part" in across
    rewritten(workspace, ["train"] * 3, [0, 0, 1])
    assert splitting.check(workspace) == ["split 'clean': holds a row twice"]
    rewritten(workspace, ["train", "other"])
    assert splitting.check(workspace) == ["split 'clean': holds the unknown part 'other'"]


def test_rows_that_came_later_have_no_part_and_break_nothing(tmp_path: Path, image_folder: Path) -> None:
    config = prepared([image_folder], tmp_path / "w")
    workspace = open_workspace(tmp_path / "w")
    split_of(workspace, config)
    picture(np.random.default_rng(9)).save(image_folder / "later.jpg")
    prepared([image_folder], tmp_path / "w")
    workspace.refresh()
    assert splitting.check(workspace) == []
    with Catalog(workspace) as catalog:
        assert catalog.table(["split_clean"])["split_clean"].null_count == 1


def test_a_split_that_grows_keeps_its_parts_and_puts_copies_where_they_belong(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(10):
        picture(rng).save(folder / f"{i}.png")
    asked = ["neardups.threshold=0.99", "split.ratios=1,1"]
    config = prepared([folder], tmp_path / "w", *asked)
    workspace = open_workspace(tmp_path / "w")
    first = split_of(workspace, config)
    for i in range(10):
        with Image.open(folder / f"{i}.png") as image:
            image.save(folder / f"copy{i}.jpg", quality=90)
    prepared([folder], tmp_path / "w", *asked)
    workspace.refresh()
    second = split_of(workspace, config, "split.keep=split_clean")
    with Catalog(workspace) as catalog:
        table = catalog.table(["uri", "split_clean"]).to_pylist()
    part = {Path(line["uri"]).stem: line["split_clean"] for line in table}
    assert len(second.rows) == 20
    assert all(part[f"copy{i}"] == part[str(i)] for i in range(10))
    assert tuple(part[str(i)] for i in range(10)) == first.parts
    assert splitting.check(workspace) == []


def test_a_split_whose_vectors_are_gone_cannot_be_checked(place: tuple[Workspace, Config]) -> None:
    workspace, config = place
    split_of(workspace, config)
    with workspace.writing("test") as writer:
        writer.publish({"vectors/colour": None})
    assert splitting.check(workspace)[0].startswith("split 'clean' cannot be checked: ")


def run(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
    return result.output


def test_the_command_splits_says_so_and_remembers_its_settings(place: tuple[Workspace, Config]) -> None:
    workspace, _ = place
    common = ["-w", workspace.path, "--set", "neardups.threshold=0.99"]
    out = run("split", *common, "--ratios", "train=3,test=1", "--group-by", "walk,neardup", "--balance", "label",
              "--against", "old", "--name", "walks")  # fmt: skip
    assert "split_walks: train" in out
    assert "checked: 0 rows with a near-duplicate at 0.99 or above in another part, 0 walk torn" in out
    assert "balance of label: distance to the whole train" in out
    assert "against old: " in out
    body = json.loads(run("split", *common, "--json"))
    assert (body["name"], body["column"], body["config"]["group_by"]) == ("walks", "split_walks", ["walk", "neardup"])
    assert "split_walks" in run("columns", "-w", workspace.path)
    assert "expected two or three shares" in run("split", *common, "--ratios", "1,x", code=2)


# --- real data


def go(sources: list[Path], place: Path, *more: str) -> tuple[Workspace, Config]:
    config = load(None, ["map.kind=pca", *more])
    for name in ("ingest", "embed", "index", "neardups"):
        pipeline.run_one(name, place, config, sources=[str(source) for source in sources] if name == "ingest" else ())
    return open_workspace(place), config


@pytest.mark.real
@pytest.mark.slow
def test_no_physical_sign_is_in_two_parts(tmp_path: Path) -> None:
    folder = REAL_DATA / "classification" / "gtsrb_tracks"
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {REAL_DATA}")
    workspace, config = go([folder / "images"], tmp_path / "w", f"sources.metadata={folder / 'labels.csv'}")
    done = split_of(workspace, config, "split.group_by=[track_id, neardup]")
    with Catalog(workspace) as catalog:
        table = catalog.table(["track_id", "split_clean"]).to_pylist()
    parts: dict[str, set[str]] = {}
    for line in table:
        parts.setdefault(line["track_id"], set()).add(line["split_clean"])
    assert len(parts) == 147
    assert all(len(where) == 1 for where in parts.values())
    assert done.meta["certificate"]["rows_across"] == 0
    sizes = done.meta["sizes"]
    assert abs(sizes["train"] / 4410 - 0.8) < 0.01
    assert abs(sizes["val"] / 4410 - 0.1) < 0.01
    assert splitting.check(workspace) == []
    near_only = split_of(workspace, config, "split.name=near", "split.group_by=[neardup]")
    assert near_only.meta["certificate"]["rows_across"] == 0
    assert max(near_only.meta["balance"][0]["distance"].values()) < 0.01


@pytest.mark.real
@pytest.mark.slow
def test_frames_of_a_drive_stay_together_or_are_cut_where_they_differ(tmp_path: Path) -> None:
    folder = REAL_DATA / "video" / "camvid"
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {REAL_DATA}")
    workspace, config = go(
        [folder / "0006R0", folder / "0016E5"], tmp_path / "w", f"sources.metadata={folder / 'frames.csv'}"
    )
    whole = split_of(workspace, config, "split.group_by=[sequence, neardup]", "split.ratios=1,1")
    assert sorted(whole.meta["sizes"].values()) == [101, 150]
    cut = split_of(workspace, config, "split.group_by=[neardup]", "split.balance=[frac_car, sequence]")
    assert cut.meta["certificate"]["rows_across"] == 0
    assert cut.meta["unmet"] == []
    assert splitting.check(workspace) == []
