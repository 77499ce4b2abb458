"""New footage in a workspace that was curated before: what stands, what is added, and when all is made anew."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from curator import cluster, index, neardups, pipeline, projection, selection
from curator.catalog import Catalog
from curator.config import Config, load
from curator.data import BoolArray, Embeddings, FloatArray
from curator.disk import put_bytes
from curator.errors import StageMissing, UsageError
from curator.pipeline import deduplicating, derive, verifying
from curator.pipeline.deduplicating import facts_of
from curator.pipeline.growing import growth
from curator.pipeline.recertifying import recertify
from curator.snapshot import Entry
from curator.workspace import Workspace, create_workspace, open_workspace
from tests.conftest import picture
from tests.vectors import round_clumps, slow_video

SETTINGS = [
    "embed.model=colour", "map.kind=pca", "select.budget=4", "report.n_random=2", "index.neighbors=5", "workers=1",
    "select.method=representative",
    "neardups.threshold=0.97", "cluster.method={kind: kmeans, n_clusters: 3}",
]  # fmt: skip
GROWING = ("index", "neardups", "cluster", "map")
N_FIRST, N_ALL = 21, 29


def go(sources: list[Path], place: Path, *more: str, fresh: bool = False) -> pipeline.Run:
    return pipeline.run([str(source) for source in sources], place, load(None, [*SETTINGS, *more]), fresh=fresh)


def passes(run: pipeline.Run) -> dict[str, str]:
    """How each stage that can grow was done; only those that ran."""
    return {r.name: r.counts["pass"] for r in run.stages if r.name in GROWING and not r.skipped}


def why(run: pipeline.Run, stage: str) -> str:
    return str(next(r for r in run.stages if r.name == stage).counts["why"])


def column(place: Workspace, name: str) -> list[Any]:
    with Catalog(place) as catalog:
        values: list[Any] = catalog.table([name])[name].to_pylist()
        return values


def kept(place: Workspace) -> BoolArray:
    return np.asarray([kind == "kept" for kind in column(place, "duplicate")], np.bool_)


def clip(folder: Path, seed: int, numbers: range) -> None:
    """Pictures of which every third is a re-encoding of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    last = picture(rng)
    for i in numbers:
        last = last if i % 3 == 2 else picture(rng)
        last.save(folder / f"{i:03d}.jpg", quality=95 - i % 3)


@dataclass(frozen=True)
class Footage:
    """Folders and workspaces that tests read and copy, and do not change."""

    first: Path  # pictures
    later: Path  # more of them, two of which are copies of the first
    curated: Path  # workspace of the first alone
    grown: Path  # the same after the later ones came


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    root = tmp_path_factory.mktemp("footage")
    made = Footage(root / "first", root / "later", root / "curated", root / "grown")
    clip(made.first, 0, range(N_FIRST))
    clip(made.later, 7, range(N_FIRST, N_ALL))
    for old, new in ((0, N_FIRST), (4, N_FIRST + 1)):
        with Image.open(made.first / f"{old:03d}.jpg") as image:
            image.save(made.later / f"{new:03d}.jpg", quality=80)
    go([made.first], made.curated)
    shutil.copytree(made.curated, made.grown)
    go([made.later], made.grown)
    return made


@pytest.fixture
def curated(footage: Footage, tmp_path: Path) -> Path:
    return Path(shutil.copytree(footage.curated, tmp_path / "w"))


@pytest.fixture
def grown(footage: Footage, tmp_path: Path) -> Path:
    return Path(shutil.copytree(footage.grown, tmp_path / "w"))


def test_appended_images_cost_only_themselves_and_nothing_before_them_moves(footage: Footage, curated: Path) -> None:
    names = ("duplicate", "cluster", "cluster_name", "cluster_distance", "x", "y")
    before = {name: column(open_workspace(curated), name) for name in names}
    done = go([footage.later], curated)
    assert passes(done) == dict.fromkeys(GROWING, "grown")
    counts = [r.counts for r in done.stages if r.name in GROWING]
    assert {(c["n_new"], c["n_full"]) for c in counts} == {(N_ALL - N_FIRST, N_FIRST)}
    for name in names:
        after = column(done.workspace, name)
        assert after[:N_FIRST] == before[name]
        assert None not in after[N_FIRST:]
    kinds = column(done.workspace, "duplicate")[N_FIRST:]
    assert kinds[:2] == ["near", "near"]
    assert "kept" in kinds
    found = pipeline.verify(done.workspace)
    assert found.is_sound, found.faults
    assert found.certificate is not None
    assert found.certificate["n"] == N_ALL


def test_growing_gives_what_the_same_calls_on_the_union_give(footage: Footage) -> None:
    first, place = open_workspace(footage.curated), open_workspace(footage.grown)
    embeddings, config = place.embeddings(), load(None, SETTINGS)
    vectors = embeddings.vectors

    _, graph = place.neighbors()
    np.testing.assert_allclose(graph.similarity, index.knn_graph(vectors, 5).similarity, atol=1e-6)
    assert graph.recall == 1.0

    labels, _ = cluster.assign(vectors, np.load(first.file(first.entries("centres/colour")[0])))
    assert column(place, "cluster") == labels.tolist()

    forced = np.append(kept(first), np.zeros(N_ALL - N_FIRST, bool))
    at = np.flatnonzero(forced | (np.arange(N_ALL) >= N_FIRST))  # those removed before stay out of it
    facts = facts_of(place, embeddings, config)
    wanted = neardups.cover(vectors[at], None, 0.97, forced=forced[at], sharpness=facts.sharpness[at])
    assert kept(place)[at].tolist() == wanted.kept.tolist()


@pytest.mark.slow  # compiling the layout alone takes seconds
def test_a_map_takes_new_images_between_their_nearest(footage: Footage, tmp_path: Path) -> None:
    umap = "map.kind=umap"
    first = go([footage.first], tmp_path / "w", umap).workspace
    before = np.column_stack([column(first, "x"), column(first, "y")]).astype(np.float32)
    done = go([footage.later], tmp_path / "w", umap)
    assert passes(done)["map"] == "grown"
    wanted = projection.extend_map(done.workspace.embeddings().vectors, before)
    assert column(done.workspace, "x") == wanted[:, 0].tolist()
    assert np.allclose(wanted[N_FIRST], before[0], atol=0.5), "a copy lands beside its original"


def test_a_selection_goes_on_from_what_was_chosen_before(footage: Footage, curated: Path) -> None:
    chosen = open_workspace(curated).selection("selection").rows
    place = go([footage.later], curated, "select.name=second", "select.preselected=selection:selection").workspace
    assert place.selection("selection").rows.tolist() == chosen.tolist()
    embeddings, (_, graph) = place.embeddings(), place.neighbors()
    given = embeddings.positions_of(np.sort(chosen))
    is_open = ~np.isin(np.arange(N_ALL), given)
    request = selection.Request(
        method="representative", budget=4, preselected=given, candidates=kept(place) & is_open, cover=is_open,
        distinct=kept(place), trim_share=0.0,
    )  # fmt: skip
    wanted = selection.run(embeddings.vectors, request, graph=graph).picks.positions
    assert place.selection("second").rows.tolist() == embeddings.rows[wanted].tolist()


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        (
            ["index.neighbors=4", "neardups.threshold=0.96"],
            {"index": "changed: index", "neardups": "changed: threshold"},
        ),
        (
            ["neardups.keep=first", "cluster.n_names=1", "map.min_dist=0.2"],
            {"neardups": "changed: neardups", "cluster": "changed: cluster", "map": "changed: map"},
        ),
        pytest.param(
            ["seed=3", "cluster.method={kind: hdbscan}"],
            {"index": "changed: seed", "map": "changed: seed", "cluster": "density clusters have no centres to join"},
            marks=pytest.mark.slow,
        ),
        pytest.param(["grow=false"], dict.fromkeys(GROWING, "a full pass was asked for"), marks=pytest.mark.slow),
    ],
)
def test_a_changed_setting_asks_for_a_full_pass_and_says_which(
    footage: Footage, curated: Path, settings: list[str], reasons: dict[str, str]
) -> None:
    done = go([footage.later], curated, *settings)
    assert {stage: why(done, stage) for stage in reasons} == reasons
    assert pipeline.verify(done.workspace).is_sound


@pytest.mark.slow
def test_a_row_that_goes_asks_for_a_full_pass(footage: Footage, tmp_path: Path) -> None:
    shutil.copytree(footage.first, tmp_path / "d")
    go([tmp_path / "d"], tmp_path / "w")
    (tmp_path / "d" / "003.jpg").unlink()
    done = go([footage.later], tmp_path / "w")
    assert passes(done) == dict.fromkeys(GROWING, "full")
    assert why(done, "index") == "rows before the appended ones went, came back or changed"


def test_what_rows_shape_is_shaped_anew_when_there_are_more_than_twice_as_many(
    footage: Footage, curated: Path, tmp_path: Path
) -> None:
    clip(tmp_path / "much", 3, range(N_FIRST, 2 * N_FIRST + 2))
    done = go([tmp_path / "much"], curated)
    assert passes(done) == {"index": "grown", "neardups": "grown", "cluster": "full", "map": "full"}
    assert why(done, "cluster") == "44 rows are more than 2 times the 21 of the last full pass"


@pytest.mark.slow
def test_growing_again_counts_from_the_last_full_pass(grown: Path, tmp_path: Path) -> None:
    clip(tmp_path / "third", 5, range(N_ALL, N_ALL + 8))
    done = go([tmp_path / "third"], grown)
    assert passes(done) == dict.fromkeys(GROWING, "grown")
    counts = next(r for r in done.stages if r.name == "map").counts
    assert (counts["n_new"], counts["n_full"]) == (8, N_FIRST)
    assert pipeline.verify(done.workspace).is_sound


def test_fresh_makes_anew_what_grew_and_only_that(footage: Footage, grown: Path, tmp_path: Path) -> None:
    fresh = go([], grown, fresh=True)
    assert passes(fresh) == dict.fromkeys(GROWING, "full")
    whole = go([footage.first, footage.later], tmp_path / "one").workspace
    for name in ("duplicate", "representative", "cluster", "x"):
        assert column(fresh.workspace, name) == column(whole, name)
    assert fresh.workspace.selection("selection").rows.tolist() == whole.selection("selection").rows.tolist()
    assert passes(go([], grown, fresh=True)) == {}, "full results are as fresh as can be"


def test_one_stage_made_afresh_makes_the_stages_behind_it_stale(grown: Path) -> None:
    settings = load(None, SETTINGS)
    assert set(pipeline.states(open_workspace(grown), settings).values()) == {"current"}
    result = pipeline.run_one("neardups", grown, settings, fresh=True)
    assert result.counts["pass"] == "full"
    states = pipeline.states(open_workspace(grown), settings)
    assert (states["neardups"], states["select"]) == ("current", "stale")


def test_results_that_grew_are_stale_once_growing_is_switched_off(footage: Footage) -> None:
    states = pipeline.states(open_workspace(footage.grown), load(None, [*SETTINGS, "grow=false"]))
    assert {states[name] for name in GROWING} == {"stale"}
    states = pipeline.states(open_workspace(footage.curated), load(None, [*SETTINGS, "grow=false"]))
    assert {states[name] for name in GROWING} == {"current"}


def test_centres_deleted_by_hand_are_made_again(footage: Footage, curated: Path) -> None:
    place = open_workspace(curated)
    place.file(place.entries("centres/colour")[0]).unlink()
    done = go([footage.later], curated)
    assert why(done, "cluster") == "the centres of the clusters are gone"
    assert done.workspace.entries("centres/colour")


def test_verify_finds_rows_that_are_not_with_their_nearest_centre(curated: Path) -> None:
    place = open_workspace(curated)
    file = place.file(place.entries("centres/colour")[0])
    np.save(file, np.load(file)[::-1])
    faults = pipeline.verify(place).faults
    assert any("are not with their nearest cluster centre; run `curator cluster --fresh`" in fault for fault in faults)
    file.write_bytes(file.read_bytes()[:40])
    assert any("cannot be read" in fault for fault in pipeline.verify(place).faults)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "flat"])
def test_a_stored_search_index_takes_the_new_vectors_in(tmp_path: Path, kind: Literal["hnsw", "ivf", "flat"]) -> None:
    pytest.importorskip("faiss")
    vectors = round_clumps(np.random.default_rng(1), 1_200)
    spec = index.IndexSpec(kind=kind, sample=100, threads=1)
    first = index.build(vectors[:1_000], spec)
    assert first.kind == kind
    place = create_workspace(tmp_path / "w")
    with place.writing("test") as writer:
        writer.write("index/x.faiss", lambda out: put_bytes(out, first.to_bytes()))
        made = {"faiss": "index/x.faiss" if kind != "flat" else None}
        writer.publish({"index/x": [Entry("index/x.faiss", "0", n=1_000, meta=made)]})
    points = Embeddings(np.arange(1_200), vectors, "x")
    grown = derive._extended_searcher(place, points, 1_000, spec, progress=lambda *_: None)
    assert (grown.kind, grown.n) == (kind, 1_200)
    truth = index.exact_search(vectors[900:], vectors, 5)
    found = grown.search(vectors[900:], 5)
    assert index.measure_recall(found[1], truth[1]) >= 0.95
    assert found[0][100:, 0].tolist() == list(range(1_000, 1_200)), "each new one finds itself"
    assert grown.recall <= first.recall


def test_the_recall_of_a_grown_search_index_counts_nobody_as_its_own_neighbour() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(2)
    vectors = index.normalise(rng.standard_normal((3_000, 16)).astype(np.float32))
    spec = index.IndexSpec(kind="ivf", sample=3_000, min_recall=0.0, threads=1)
    first = index.build(vectors[:2_000], spec)
    grown = index.extend_index(replace(first, width=4, recall=1.0), vectors, spec)
    truth = index.exact_search(vectors, vectors, 11)[1][:, 1:]
    found = grown.search(vectors, 11)[1][:, 1:]
    assert grown.recall < 0.9
    assert grown.recall == pytest.approx(index.measure_recall(found, truth), abs=0.005)
    assert (first.n, first.structure.ntotal, grown.structure.ntotal) == (2_000, 2_000, 3_000)


@pytest.mark.parametrize("by", ["folder", pytest.param("take", marks=pytest.mark.slow)])
def test_near_duplicates_within_groups_are_certified_and_grow_within_groups(
    footage: Footage, tmp_path: Path, by: str
) -> None:
    lines = [f"{i:03d}.jpg,{int(i >= N_FIRST)}" for i in range(N_ALL)]
    (tmp_path / "takes.csv").write_text("\n".join(["file,take", *lines]))
    asked = [f"neardups.per_group={by}", f"sources.metadata={tmp_path / 'takes.csv'}"]
    go([footage.first], tmp_path / "w", *asked)
    done = go([footage.later], tmp_path / "w", *asked)
    assert passes(done)["neardups"] == "grown"
    assert kept(done.workspace)[[N_FIRST, N_FIRST + 1]].all(), "their originals are in the other group"
    found = pipeline.verify(done.workspace)
    assert found.is_sound, found.faults
    whole = go([], tmp_path / "w", "neardups.per_group=null")
    assert kept(whole.workspace)[[0, N_FIRST]].sum() == 1


def test_a_learnt_metric_is_verified_in_its_own_space_and_grows(
    footage: Footage, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 200)))[0]

    def learnt(workspace: Workspace, config: Config, embeddings: Embeddings) -> Embeddings:
        if config.neardups.space == "model":
            return embeddings
        vectors = embeddings.vectors * (1 + np.arange(embeddings.dim) % 3) @ turn[: embeddings.dim, : embeddings.dim]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(embeddings.rows, (vectors / lengths).astype(np.float32), f"{embeddings.space}.copies")

    monkeypatch.setattr(deduplicating, "metric_of", learnt)
    monkeypatch.setattr(verifying, "metric_of", learnt)
    with open_workspace(curated).writing("test") as writer:
        for name in ("self", "metric"):
            writer.write(f"index/{name}.npz", lambda out: put_bytes(out, b""))
        writer.publish({"calibration/colour": [Entry("index/self.npz", "1"), Entry("index/metric.npz", "2")]})
    settings = load(None, [*SETTINGS, "neardups.space=copies"])
    first = pipeline.run_one("neardups", curated, settings)
    assert first.counts["why"] == "changed: metric, neardups"
    for name in ("ingest", "embed", "index", "neardups"):
        sources = [str(footage.later)] if name == "ingest" else []
        done = pipeline.run_one(name, curated, settings, sources=sources)
    assert done.counts["pass"] == "grown"
    place = open_workspace(curated)
    found = pipeline.verify(place)
    assert found.is_sound, found.faults
    with place.writing("test") as writer:
        writer.write("index/other.npz", lambda out: put_bytes(out, b""))
        writer.publish({"calibration/colour": [Entry("index/self.npz", "1"), Entry("index/other.npz", "3")]})
    assert any("which was learnt anew since; run `curator neardups`" in f for f in pipeline.verify(place).faults)
    assert pipeline.states(place, settings)["neardups"] == "stale"


def test_a_calibration_that_is_not_there_is_asked_for_and_stops_nothing_else(curated: Path) -> None:
    settings = load(None, [*SETTINGS, "neardups.threshold=self"])
    assert pipeline.states(open_workspace(curated), settings)["neardups"] == "stale"
    with pytest.raises(StageMissing, match="curator calibrate"):
        pipeline.run_one("neardups", curated, settings)


def test_a_group_or_keep_column_made_from_near_duplicates_is_refused(curated: Path) -> None:
    for setting in ("neardups.per_group=cluster", "neardups.keep=max:cluster"):
        with pytest.raises(UsageError, match="column 'cluster' is made from near-duplicates; choose another"):
            go([], curated, setting)


def unit(rng: np.random.Generator, n: int, d: int = 8) -> FloatArray:
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    made: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return made


@pytest.mark.parametrize(
    ("what", "grows"),
    [("appended", True), ("nothing", True), ("removed", False), ("changed", False), ("reordered", False)],
)
def test_only_appended_rows_let_a_result_grow(tmp_path: Path, rng: np.random.Generator, what: str, grows: bool) -> None:
    rows, vectors = np.arange(10), unit(rng, 12)
    config = load(None, [])
    place = create_workspace(tmp_path / "w")
    with place.writing("test") as writer:
        first = growth(place, "columns/x", config, {"k": 1}, rows, vectors[:10])
        assert (first.is_full, first.why) == (True, "first pass")
        derive.write_column(writer, "x", {"row": rows}, dict(first.meta))
    later = {
        "appended": (np.arange(12), vectors),
        "nothing": (rows, vectors[:10]),
        "removed": (np.delete(np.arange(12), 3), np.delete(vectors, 3, axis=0)),
        "changed": (np.arange(12), np.roll(vectors, 1, axis=1)),
        "reordered": (np.arange(12), vectors[::-1]),
    }[what]
    found = growth(place, "columns/x", config, {"k": 1}, *later)
    assert (found.n_old == 10) == grows
    assert bool(found.why) != grows


@pytest.mark.parametrize("n_groups", [0, 3])
@pytest.mark.parametrize("n_old", [1, 150, 399])
def test_the_certificate_of_what_grew_is_the_one_recomputed_in_full(
    rng: np.random.Generator, n_old: int, n_groups: int
) -> None:
    vectors = np.concatenate([slow_video(rng, 200), round_clumps(rng, 200)])[rng.permutation(400)]
    groups = rng.integers(n_groups, size=400) if n_groups else None
    some = groups if groups is None else groups[:n_old]
    old = neardups.cover(vectors[:n_old], None, 0.9, groups=some)
    before = neardups.certify(vectors[:n_old], old, groups=some).to_dict()
    grown = neardups.extend(vectors, n_old, old, groups=groups)
    proof = recertify(vectors, grown, old, before, groups=groups)
    whole = neardups.certify(vectors, grown, groups=groups)
    assert proof.holds
    assert whole.holds
    for name, value in whole.to_dict().items():
        assert proof.to_dict()[name] == pytest.approx(value), name


def test_the_certificate_of_what_grew_finds_what_is_wrong(rng: np.random.Generator) -> None:
    vectors, n_old = slow_video(rng, 200)[rng.permutation(200)], 12
    old = neardups.cover(vectors[:n_old], None, 0.9)
    before = neardups.certify(vectors[:n_old], old).to_dict()
    grown = neardups.extend(vectors, n_old, old)
    new = np.arange(200) >= n_old

    def faults(**changes: Any) -> tuple[str, ...]:
        return recertify(vectors, replace(grown, **changes), old, before).faults()

    itself, ones = np.arange(200), np.ones(200, np.float32)
    assert faults() == ()
    everybody = faults(kept=grown.kept | new, representative=np.where(new, itself, grown.representative))
    assert any("kept pairs" in fault for fault in everybody)
    fallen = grown.kept & (itself != np.flatnonzero(old.kept)[0])
    assert any("representatives" in fault for fault in faults(kept=fallen))
    nobody_new = np.append(old.kept, np.zeros(188, bool))
    assert any("removed without a kept one" in fault for fault in faults(kept=nobody_new))
    assert any("similarities that differ" in fault for fault in faults(similarity=ones))
    shifted = np.where(grown.kept, itself, np.flatnonzero(grown.kept)[-1])
    assert any("not the nearest kept" in fault for fault in faults(representative=shifted))
