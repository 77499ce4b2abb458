"""Search over one snapshot: what comes back is what brute force says, page by page, thread by thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curator import index
from curator.data import BoolArray, FloatArray
from curator.errors import BadFilter, BadQuery, DataError, UnknownColumn, UnknownRow, UnknownSpace
from curator.filters import parse_filter
from curator.index import ann
from curator.searching import Answer, Example, Request, Served, open_served, spaces
from curator.snapshot import Entry
from curator.workspace import Workspace
from tests.small_workspaces import Decided, workspace_of
from tests.vectors import clumps

N, DIM = 900, 24
IVF = index.IndexSpec(kind="ivf", min_recall=0.9, sample=100)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return made(tmp_path_factory.mktemp("flat") / "w", index.IndexSpec(kind="flat"))


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return made(tmp_path_factory.mktemp("ivf") / "w", IVF)


def made(path: Path, spec: index.IndexSpec) -> Workspace:
    """900 of 1,000 rows have a vector; some are equal; groups of every kind."""
    rng = np.random.default_rng(0)
    vectors = clumps(rng, N, DIM, n_clumps=30)
    vectors[100:120] = vectors[100]  # copies: their order is by row
    n_rows = 1_000
    rows = np.sort(rng.permutation(n_rows)[:N]).tolist()
    columns = {
        "share": rng.random(n_rows), "weather": rng.choice(["day", "night", "rain"], n_rows).tolist(),
        "kind": ["frame" if i % 3 else "image" for i in range(n_rows)],
        "file": [f"clip{i // 30}.mp4" if i % 3 else f"{i}.jpg" for i in range(n_rows)],
        "maybe": [None if i % 4 == 0 else i % 7 for i in range(n_rows)],
    }  # fmt: skip
    kept = [i - i % 5 for i in range(n_rows)]
    return workspace_of(
        path, vectors, columns, rows=rows, n_rows=n_rows, spec=spec,
        results={"neardup": {"duplicate": ["kept"] * n_rows, "representative": kept, "similarity": [1.0] * n_rows}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def served(place: Workspace) -> Served:
    return open_served(place, Decided(edge=[3, 4, 5, 6], night=[1, 2, 3]))


def rows_of(served: Served) -> list[int]:
    return [int(row) for row in served.space().rows]


def likes(rows: list[int]) -> tuple[Example, ...]:
    return tuple(Example(row=row) for row in rows)


def brute(
    served: Served, direction: FloatArray, mask: BoolArray | None = None, left_out: Any = ()
) -> list[tuple[int, float]]:
    """(row, cosine) of everything, best first, equal ones by row."""
    space = served.space()
    near = np.round(space.vectors.astype(np.float64) @ direction.astype(np.float64), 6)
    found = [
        (int(row), float(np.float32(value)))
        for row, value in zip(space.rows, near, strict=True)
        if row not in left_out and (mask is None or mask[row])
    ]
    return sorted(found, key=lambda hit: (-hit[1], hit[0]))


def vector_of(served: Served, row: int) -> FloatArray:
    vector: FloatArray = served.space().vectors[rows_of(served).index(row)]
    return vector


def pairs(answer: Answer) -> list[tuple[int, float]]:
    return [(hit.row, hit.similarity) for hit in answer.hits]


FILTERS: list[tuple[dict[str, Any], Callable[[Served, int], bool]]] = [
    ({"column": "share", "lt": 0.5}, lambda s, row: s.column("share")[row].as_py() < 0.5),
    ({"column": "share", "lt": 0.01}, lambda s, row: s.column("share")[row].as_py() < 0.01),
    ({"column": "weather", "eq": "night"}, lambda s, row: s.column("weather")[row].as_py() == "night"),
    ({"tag": "night"}, lambda s, row: row in (1, 2, 3)),
    ({"rows": []}, lambda s, row: False),
]


@pytest.mark.parametrize(("body", "allows"), FILTERS)
@pytest.mark.parametrize("k", [1, 7, 60])
def test_search_is_brute_force_among_what_the_filter_lets_through(
    served: Served, body: dict[str, Any], allows: Callable[[Served, int], bool], k: int
) -> None:
    mask = np.array([allows(served, row) for row in range(served.n_rows)])
    row = rows_of(served)[17]
    answer = served.search(Request((Example(row=row),), k=k, filter=parse_filter(body)))
    assert pairs(answer) == brute(served, vector_of(served, row), mask, [row])[:k]
    assert answer.index == "flat"
    assert answer.recall == 1.0


def test_copies_come_in_the_order_of_their_rows(served: Served) -> None:
    rows = rows_of(served)
    answer = served.search(Request((Example(row=rows[110]),), k=19))
    assert [hit.row for hit in answer.hits] == [row for row in rows[100:120] if row != rows[110]]
    assert {hit.similarity for hit in answer.hits} == {1.0}


@pytest.mark.parametrize("few", [0, 20_000])
@pytest.mark.parametrize("body", [None, {"column": "share", "lt": 0.6}])
def test_an_index_finds_nearly_all_that_brute_force_finds_and_says_its_recall(
    lists: Workspace, body: Any, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann, "FEW", few)
    served = open_served(lists)
    mask = served.mask(None if body is None else parse_filter(body))
    right = 0
    for row in rows_of(served)[::30]:
        request = Request((Example(row=row),), filter=None if body is None else parse_filter(body))
        answer = served.search(request)
        assert len(answer.hits) == 10
        assert all(mask[hit.row] for hit in answer.hits)
        truth = brute(served, vector_of(served, row), mask, [row])[:10]
        right += sum(hit.similarity >= truth[-1][1] for hit in answer.hits)
    assert right >= 0.93 * 300
    is_approximate = body is None or few == 0
    assert (answer.index, answer.recall < 1.0) == (("ivf", True) if is_approximate else ("exact", False))


REQUESTS = [
    {"group_by": None}, {"group_by": "neardup"}, {"group_by": "weather"}, {"group_by": "video"}, {"group_by": "maybe"},
    {"centred": True}, {"method": "probe"}, {"method": "max"}, {"filter": parse_filter({"column": "share", "lt": 0.3})},
    {"min_similarity": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
@pytest.mark.parametrize("fixture", ["place", "lists"])
def test_pages_one_after_another_are_one_larger_page(
    asked: dict[str, Any], fixture: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann, "FEW", 0)
    served = open_served(request.getfixturevalue(fixture))
    rows = rows_of(served)
    of = Request((Example(row=rows[5]), Example(row=rows[300])), k=60, **asked)
    whole = served.search(of)
    assert len({hit.row for hit in whole.hits}) == len(whole.hits)
    found, offset = [], 0
    while offset is not None and offset < 60:
        page = served.search(replace(of, offset=offset, k=15))
        found += [(hit.row, hit.similarity, hit.score, hit.group, hit.group_size) for hit in page.hits]
        offset = page.next_offset  # type: ignore[assignment]
    assert found == [(hit.row, hit.similarity, hit.score, hit.group, hit.group_size) for hit in whole.hits]


def test_the_last_page_says_that_it_is(served: Served) -> None:
    only = Request((Example(row=rows_of(served)[0]),), filter=parse_filter({"rows": rows_of(served)[1:8]}), k=5)
    first = served.search(only)
    assert (len(first.hits), first.next_offset) == (5, 5)
    last = served.search(replace(only, offset=5))
    assert (len(last.hits), last.next_offset) == (2, None)
    assert served.search(replace(only, offset=50)).hits == ()


@pytest.mark.parametrize("method", ["auto", "probe", "max"])
def test_the_order_of_examples_does_not_matter(served: Served, method: Any) -> None:
    rows = rows_of(served)[10:60:7]
    bad = [] if method == "max" else rows_of(served)[500:520:6]
    one = served.search(Request(likes(rows), likes(bad), k=30, method=method))
    other = served.search(Request(likes(rows[::-1]), likes(bad[::-1]), k=30, method=method))
    assert [hit.row for hit in one.hits] == [hit.row for hit in other.hits]
    assert not {hit.row for hit in one.hits} & {*rows, *bad}


def test_max_ranks_by_the_most_similar_positive(served: Served) -> None:
    rows = rows_of(served)[10:60:7]
    directions = np.stack([vector_of(served, row) for row in rows])
    near = np.round((served.space().vectors.astype(np.float64) @ directions.T.astype(np.float64)).max(axis=1), 6)
    values = near.astype(np.float32).tolist()
    truth = sorted((-value, row) for row, value in zip(rows_of(served), values, strict=True) if row not in rows)
    answer = served.search(Request(likes(rows), k=40, method="max"))
    assert answer.how == "max"
    assert [(-hit.similarity, hit.row) for hit in answer.hits] == truth[:40]


def test_rocchio_ranks_by_the_cosine_to_its_mean(served: Served) -> None:
    good, bad, outside = rows_of(served)[10:40:9], rows_of(served)[400:402], np.arange(DIM) + 1.0

    def mean(rows: list[int]) -> Any:
        return np.mean([vector_of(served, row).astype(np.float64) for row in rows], axis=0)

    direction = 2.0 * outside / np.linalg.norm(outside) + 0.5 * mean(good) - 0.25 * mean(bad)
    examples = (*likes(good), Example(vector=tuple(outside)))
    request = Request(examples, likes(bad), alpha=2.0, beta=0.5, gamma=0.25, k=30)
    answer = served.search(request)
    assert answer.how == "rocchio"
    truth = brute(served, direction / np.linalg.norm(direction), None, {*good, *bad})[:30]
    assert [row for row, _ in pairs(answer)] == [row for row, _ in truth]
    assert [value for _, value in pairs(answer)] == pytest.approx([value for _, value in truth], abs=2e-6)


def test_a_probe_ranks_by_probability_and_tells_the_cosine_to_the_nearest_positive(served: Served) -> None:
    rows = rows_of(served)
    request = Request(likes(rows[100:104]), likes(rows[400:410]), method="probe", k=40)
    answer = served.search(request)
    scores = [hit.score for hit in answer.hits]
    assert answer.how == "probe"
    assert scores == sorted(scores, reverse=True)
    assert 0.0 <= scores[-1] < scores[0] <= 1.0
    assert {hit.row for hit in answer.hits[:16]} == set(rows_of(served)[104:120])  # the other copies of the positives
    assert answer.hits[0].similarity == 1.0
    assert served.search(request) == answer


def test_centred_search_ranks_by_the_cosine_without_the_mean(served: Served) -> None:
    row = rows_of(served)[33]
    vectors = served.space().vectors.astype(np.float64)
    moved = vectors - vectors.mean(axis=0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    near = moved @ moved[33]
    order = [rows_of(served)[i] for i in np.argsort(-near) if i != 33]
    answer = served.search(Request((Example(row=row),), centred=True, k=20))
    assert [hit.row for hit in answer.hits] == order[:20]
    best = sorted(np.delete(near, 33).tolist(), reverse=True)[:20]
    assert [hit.similarity for hit in answer.hits] == pytest.approx(best, abs=1e-5)
    assert answer.centred


def test_centred_search_through_an_index_says_its_own_recall(lists: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = open_served(lists).search(Request((Example(row=rows_of(open_served(lists))[3]),), centred=True))
    assert (exact.index, exact.recall) == ("exact", 1.0)
    monkeypatch.setattr(spaces, "CENTRED_EXACT", 0)
    served = open_served(lists)
    answer = served.search(Request((Example(row=rows_of(served)[3]),), centred=True))
    assert answer.index == "ivf"
    assert answer.recall == served.space().centred_recall
    assert 0.8 < answer.recall <= 1.0
    assert len({hit.row for hit in answer.hits} & {hit.row for hit in exact.hits}) >= 8


def group_of(served: Served, by: str, row: int) -> Any:
    if by == "neardup":
        return row - row % 5
    if by == "video":
        return f"clip{row // 30}.mp4" if row % 3 else f"{row}.jpg"
    return served.column(by)[row].as_py()


@pytest.mark.parametrize("by", ["neardup", "video", "weather", "maybe"])
@pytest.mark.parametrize("body", [None, {"column": "share", "lt": 0.2}])
@pytest.mark.parametrize("looked_at", [2_000, 1])
def test_a_group_comes_once_with_its_best_and_k_groups_come_where_k_exist(
    served: Served, by: str, body: Any, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator.searching.grouping.LOOKED_AT", looked_at)
    condition = None if body is None else parse_filter(body)
    mask, row = served.mask(condition), rows_of(served)[110]
    truth: dict[Any, tuple[int, float]] = {}
    for hit in brute(served, vector_of(served, row), mask, [row]):
        truth.setdefault(group_of(served, by, hit[0]), hit)
    sizes = [group_of(served, by, r) for r in rows_of(served) if mask[r]]
    for k in (3, 50, 1_000):
        answer = served.search(Request((Example(row=row),), k=k, filter=condition, group_by=by))
        assert pairs(answer) == list(truth.values())[:k]
        assert [hit.group for hit in answer.hits] == list(truth)[:k]
        assert all(hit.group_size == sizes.count(hit.group) for hit in answer.hits)
        assert all(1 <= (hit.group_seen or 0) <= (hit.group_size or 0) for hit in answer.hits)


def test_groups_are_found_through_an_index_too(lists: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.searching.grouping.LOOKED_AT", 40)
    served = open_served(lists)
    answer = served.search(Request((Example(row=rows_of(served)[0]),), k=1_000, group_by="neardup"))
    left = {row - row % 5 for row in rows_of(served)[1:]}
    assert {hit.group for hit in answer.hits} == left


def test_many_searches_in_one_call_answer_as_each_alone(lists: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ann, "FEW", 0)
    served = open_served(lists, Decided(edge=rows_of(open_served(lists))[:100]))
    condition = parse_filter({"column": "share", "lt": 0.7})
    rows = rows_of(served)
    requests = [Request((Example(row=row),), k=3 + i) for i, row in enumerate(rows[:20])]
    requests += [Request((Example(row=row),), filter=condition) for row in rows[20:30]]
    requests += [Request((Example(row=rows[1]),), group_by="video"), Request((Example(row=rows[1]),), centred=True)]
    requests += [Request((Example(collection="edge"),), k=50), Request(likes([rows[2], rows[9]]), method="max")]
    assert served.search_many(requests) == [served.search(request) for request in requests]
    assert served.search_many([]) == []


def test_eight_threads_get_the_answers_of_one(lists: Workspace) -> None:
    fresh = open_served(lists)
    rows = rows_of(open_served(lists))[:80]
    requests = [
        Request((Example(row=row),), filter=parse_filter({"column": "share", "lt": 0.1 * (i % 8 + 1)}),
                group_by=[None, "video", "neardup"][i % 3], fields=("uri", "weather"), centred=i % 5 == 0)
        for i, row in enumerate(rows)
    ]  # fmt: skip
    alone = [open_served(lists).search(request) for request in requests[:10]]
    got: dict[int, list[Answer]] = {}

    def work(me: int) -> None:
        got[me] = [fresh.search(request) for request in requests]

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(got[me] == got[0] for me in range(8))
    assert got[0][:10] == alone


def test_a_minimum_similarity_cuts_the_answer(served: Served) -> None:
    row = rows_of(served)[40]
    truth = [hit for hit in brute(served, vector_of(served, row), None, [row]) if hit[1] >= 0.6]
    assert 0 < len(truth) < 1_000
    answer = served.search(Request((Example(row=row),), k=1_000, min_similarity=0.6))
    assert pairs(answer) == truth
    assert answer.next_offset is None


def test_a_collection_searches_by_all_its_rows_and_finds_none_of_them(served: Served) -> None:
    answer = served.search(Request((Example(collection="edge"),), k=1_000))
    assert answer.how == "rocchio"
    assert not {3, 4, 5, 6} & {hit.row for hit in answer.hits}


def test_fields_come_in_the_order_of_the_hits(served: Served) -> None:
    answer = served.search(Request((Example(row=rows_of(served)[0]),), fields=("uri", "weather", "time_s")))
    assert [hit.uri for hit in answer.hits] == [f"{hit.row}.jpg" for hit in answer.hits]
    body = answer.to_json()["hits"][0]
    assert list(body) == ["row", "similarity", "distance", "score", "fields"]
    assert body["fields"]["time_s"] is None
    assert body["distance"] == pytest.approx(1 - body["similarity"], abs=1e-6)


def test_a_mask_of_the_data_s_owner_joins_the_filter(served: Served) -> None:
    mask = np.zeros(served.n_rows, bool)
    mask[rows_of(served)[:30]] = True
    condition = parse_filter({"rows": rows_of(served)[20:50]})
    answer = served.search(Request((Example(row=rows_of(served)[0]),), k=1_000, filter=condition), mask=mask)
    assert sorted(hit.row for hit in answer.hits) == rows_of(served)[20:30]


def test_the_snapshot_stays_as_it_was_opened(tmp_path: Path) -> None:
    place = made(tmp_path / "w", index.IndexSpec(kind="flat"))
    served = open_served(place)
    before = served.sequence
    with place.writing("test") as writer:
        writer.publish({"columns/neardup": None})
    assert place.snapshot.sequence == before + 1
    assert served.sequence == before
    assert served.search(Request((Example(row=rows_of(served)[0]),), group_by="neardup")).hits


def test_memory_is_counted_and_grows_with_what_is_loaded(place: Workspace) -> None:
    served = open_served(place)
    assert served.size_bytes == 0
    served.space()
    vectors = served.size_bytes
    assert vectors >= N * DIM * 4
    served.mask(parse_filter({"column": "share", "lt": 0.5}))
    assert served.size_bytes > vectors


def row_without_vector(served: Served) -> int:
    return min(set(range(served.n_rows)) - set(rows_of(served)))


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"positives": (Example(row=5_000),)}, UnknownRow, "no row 5000 in .*; rows are 0 to 999"),
        ({"positives": (Example(vector=(1.0, 2.0)),)}, DataError, r"\[0\].vector holds 2 numbers; this space has 24"),
        ({"negatives": (Example(vector=(0.0,) * DIM),)}, DataError, r"negatives\[0\].vector has length 0; expected"),
        ({"positives": (Example(text="a dog"),)}, BadQuery, "embeds no text and gave no tags"),
        ({"positives": (Example(text="a dog"), Example(row=1))}, BadQuery, "a tag search takes texts alone, without"),
        ({"space": "other"}, UnknownSpace, "no embedding space 'other' in .*; there are: colour"),
        ({"fields": ("weathr",)}, UnknownColumn, r"no column 'weathr' in .*; did you mean 'weather'\?"),
        ({"group_by": "weathr"}, UnknownColumn, r"did you mean 'weather'\?"),
        ({"group_by": "labels"}, BadQuery, "column 'labels' holds lists, so a row has no one value"),
        ({"filter": parse_filter({"column": "shar", "lt": 1})}, UnknownColumn, r"did you mean 'share'\?"),
        ({"filter": parse_filter({"column": "share", "lt": "1"})}, BadFilter, "'share', which is a number, with '1'"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_answered_says_why(
    served: Served, asked: dict[str, Any], error: type[Exception], words: str
) -> None:
    of = {"positives": (Example(row=rows_of(served)[0]),), **asked}
    with pytest.raises(error, match=words):
        served.search(Request(**of))


def test_examples_that_come_to_nothing_are_refused(served: Served) -> None:
    row = rows_of(served)[0]
    with pytest.raises(BadQuery, match="positives and negatives cancel each other out"):
        served.search(Request((Example(row=row),), (Example(row=row),), beta=1.0, gamma=1.0))
    with pytest.raises(DataError, match="row .* has no vector in 'colour': it is unreadable or removed"):
        served.search(Request((Example(row=row_without_vector(served)),)))
    with pytest.raises(BadQuery, match="at most 256 are taken"):
        served.search_many([Request((Example(row=row),))] * 257)


def test_without_decisions_tags_and_collections_are_refused(place: Workspace) -> None:
    served = open_served(place)
    row = rows_of(served)[0]
    with pytest.raises(BadFilter, match="no tag 'night': nothing was tagged in .* yet"):
        served.search(Request((Example(row=row),), filter=parse_filter({"tag": "night"})))
    with pytest.raises(BadFilter, match="no collection 'edge': nothing was collected in"):
        served.search(Request((Example(row=row),), filter=parse_filter({"collection": "edge"})))
    with pytest.raises(BadQuery, match=r"positives\[0\]: there is no collection 'edge'"):
        served.search(Request((Example(collection="edge"),)))


def test_tags_that_change_under_a_snapshot_are_seen_at_once(place: Workspace) -> None:
    decided = Decided(night=[1])
    served = open_served(place, decided)
    night = parse_filter({"tag": "night"})
    assert np.flatnonzero(served.mask(night)).tolist() == [1]
    decided.named["night"] = [1, 7]
    assert np.flatnonzero(served.mask(night)).tolist() == [1, 7]
    assert served.mask(parse_filter({"rows": [1]})) is served.mask(parse_filter({"rows": [1]}))


def test_a_newer_snapshot_shares_vectors_and_lets_its_own_rows_through(tmp_path: Path) -> None:
    place = made(tmp_path / "w", index.IndexSpec(kind="flat"))
    served = open_served(place)
    condition = parse_filter({"column": "representative", "lt": 50})
    request = Request((Example(row=rows_of(served)[500]),), k=1_000, filter=condition)
    before = {hit.row for hit in served.search(request).hits}
    assert before == {row for row in rows_of(served) if row < 50}
    with place.writing("test") as writer:
        moved = {"row": np.arange(1_000), "representative": np.where(np.arange(1_000) < 10, 0, 900)}
        writer.write_table("columns/moved.parquet", pa.table(moved))
        writer.publish({"columns/neardup": [Entry("columns/moved.parquet", "y", n=1_000)]})
    newer = served.successor(place)
    assert newer.space().vectors is served.space().vectors
    assert {hit.row for hit in newer.search(request).hits} == {row for row in rows_of(served) if row < 10}
    assert {hit.row for hit in served.search(request).hits} == before
