"""What people decide: the log and what holds, names, conflicts, documents, and the way out and in again."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.errors import BadDecision, BadName, Conflict, UnknownName
from curator.state import Decision, State, open_state
from curator.state import decisions as log
from curator.state import documents as papers


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path) as state:
        yield state


def replayed(state: State) -> dict[str, Any]:
    """What a reader of the log would write down by hand, decision after decision."""
    tags: dict[str, set[int]] = {}
    collections: dict[str, list[int]] = {}
    reviews: dict[int, int] = {}
    there: set[str] = set()
    for one in reversed(state.decisions(limit=10_000)):
        rows = list(dict.fromkeys(one.rows))
        if one.kind == "tag":
            tags.setdefault(one.subject, set()).update(rows)
        elif one.kind == "untag":
            tags.setdefault(one.subject, set()).difference_update(rows)
        elif one.kind == "rename_tag":
            tags.setdefault(one.subject, set()).difference_update(rows)
            tags.setdefault(one.value, set()).update(rows)
        elif one.kind == "review":
            reviews |= dict.fromkeys(rows, one.id)
        else:
            _collected(one, rows, collections, there)
    return {
        "tags": sorted((name, len(rows)) for name, rows in tags.items() if rows),
        "rows": {name: sorted(rows) for name, rows in tags.items() if rows},
        "collections": {name: collections.get(name, []) for name in sorted(there)},
        "reviews": reviews,
    }


def _collected(one: Decision, rows: list[int], collections: dict[str, list[int]], there: set[str]) -> None:
    old = collections.setdefault(one.subject, [])
    old[:] = [row for row in old if row not in rows]
    if one.kind in ("collect", "create_collection"):
        there.add(one.subject)
        old += rows
    elif one.kind in ("delete_collection", "rename_collection"):
        there.discard(one.subject)
    if one.kind == "rename_collection":
        there.add(one.value)
        new = collections.setdefault(one.value, [])
        new[:] = [row for row in new if row not in rows] + rows


def holding(state: State) -> dict[str, Any]:
    """The same, as the state says it."""
    return {
        "tags": state.tags(),
        "rows": {name: state.rows_tagged([name]).tolist() for name, _ in state.tags()},
        "collections": {name: state.collection(name).tolist() for name, _ in state.collections()},
        "reviews": {row: one.id for row, one in state.reviews("queue").items()},
    }


NAMES = st.sampled_from(["a", "b", "c"])
ROWS = st.lists(st.integers(0, 5), min_size=1, max_size=4)
STEPS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.sampled_from(["tag", "untag", "collect", "uncollect"]), NAMES, ROWS, st.none()),
    st.tuples(st.just("review"), st.just("queue"), ROWS, st.sampled_from(["accept", "discard", "skip"])),
    st.tuples(st.sampled_from(["rename_tag", "rename_collection"]), NAMES, st.just([]), NAMES),
    st.tuples(st.sampled_from(["create_collection", "delete_collection"]), NAMES, st.just([]), st.none()),
    st.tuples(st.sampled_from(["undo", "redo"]), st.integers(1, 12)),
)


def take(state: State, step: tuple[Any, ...]) -> None:
    """One step; those that make no sense are refused and change nothing."""
    with suppress(UnknownName, BadName):
        if step[0] in ("undo", "redo"):
            getattr(state, step[0])(step[1], who="ann")
        else:
            kind, subject, rows, value = step
            state.decide(kind, rows=rows, value=value, subject=subject, who="ann")


@given(st.lists(STEPS, min_size=1, max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_sequence_of_deciding_undoing_and_redoing_holds_what_a_replay_gives(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_state(folder) as state:
        for step in steps:
            take(state, step)
        assert holding(state) == replayed(state)
        assert state.is_consistent()
        exported = list(state.export_lines())
        (Path(folder) / "other").mkdir()
        with open_state(Path(folder) / "other") as other:
            n = state.newest()
            assert other.import_lines(exported) == {"decisions": n, "documents": 0, "known": 0}
            assert holding(other) == holding(state)
            assert other.is_consistent()
            assert other.import_lines(exported) == {"decisions": 0, "documents": 0, "known": n}
            assert list(other.export_lines()) == exported


@pytest.mark.parametrize(
    "harm", [
        "DELETE FROM holds WHERE row = 2", "UPDATE holds SET is_on = 0 WHERE row = 2", "UPDATE subjects SET n = 9",
        "UPDATE touches SET place = 7 WHERE row = 2", "UPDATE decisions SET rows = '[1]'",
        "UPDATE decisions SET undone_at = 1",
    ],
)  # fmt: skip
def test_the_check_finds_what_was_changed_behind_the_log(state: State, harm: str) -> None:
    state.decide("tag", rows=[1, 2], subject="night", who="ann")
    assert state.is_consistent()
    with state._database.write() as connection:
        connection.execute(harm)
    assert not state.is_consistent()


# -- decisions -------------------------------------------------------------------------------------------------------


def test_a_decision_has_who_when_and_what(state: State) -> None:
    before = time.time()
    made = state.decide("tag", rows=[3, 1], subject="night", note="dark", who="ann")
    assert (made.id, made.who, made.kind, made.subject, made.rows, made.note) == (
        1,
        "ann",
        "tag",
        "night",
        (3, 1),
        "dark",
    )
    assert before <= made.at <= time.time()
    assert (made.value, made.undone_at, made.undone_by) == (None, None, None)
    assert state.decision(1) == made
    assert made.to_json(rows_up_to=1) | {"rows": [3], "n_rows": 2} == made.to_json(rows_up_to=1)


def test_undo_says_who_and_brings_back_what_held_before(state: State) -> None:
    state.decide("review", rows=[1], value="accept", subject="queue", who="ann")
    later = state.decide("review", rows=[1], value="discard", subject="queue", who="ben")
    undone = state.undo(later.id, who="cat")
    assert undone.undone_by == "cat"
    assert undone.undone_at is not None
    assert state.reviews("queue")[1].value == "accept"
    assert state.undo(later.id, who="dan") == undone  # twice is once
    again = state.redo(later.id, who="dan")
    assert (again.undone_at, again.undone_by) == (None, None)
    assert state.reviews("queue")[1].who == "ben"


def test_undo_leaves_what_was_said_later(state: State) -> None:
    first = state.decide("tag", rows=[1, 2], subject="night", who="ann")
    state.decide("tag", rows=[2], subject="night", who="ben")
    state.undo(first.id, who="ann")
    assert state.rows_tagged(["night"]).tolist() == [2]


def test_renaming_moves_every_row_and_undoing_it_moves_them_back(state: State) -> None:
    state.decide("tag", rows=[1, 2], subject="night", who="ann")
    made = state.decide("rename_tag", subject="night", value="dark", who="ann")
    assert made.rows == (1, 2)
    assert state.tags() == [("dark", 2)]
    state.undo(made.id, who="ann")
    assert state.tags() == [("night", 2)]


def test_a_deleted_collection_comes_back_in_its_order(state: State) -> None:
    state.decide("collect", rows=[5, 1], subject="edge", who="ann")
    state.decide("collect", rows=[3, 5], subject="edge", who="ann")
    assert state.collection("edge").tolist() == [1, 3, 5]  # one put in again is the last
    gone = state.decide("delete_collection", subject="edge", who="ann")
    with pytest.raises(UnknownName, match="no collection 'edge'; there are: none yet"):
        state.collection("edge")
    state.undo(gone.id, who="ann")
    assert state.collection("edge").tolist() == [1, 3, 5]


def test_an_empty_collection_is_one(state: State) -> None:
    state.decide("create_collection", subject="empty", who="ann")
    state.decide("collect", rows=[1], subject="full", who="ann")
    assert state.collections() == [("empty", 0), ("full", 1)]
    assert state.collection("empty").tolist() == []


def test_tags_of_rows(state: State) -> None:
    state.decide("tag", rows=[1, 2], subject="rain", who="ann")
    state.decide("tag", rows=[2, 3], subject="night", who="ann")
    state.decide("untag", rows=[3], subject="night", who="ann")
    state.decide("collect", rows=[1], subject="edge", who="ann")
    assert state.tags_of([1, 2, 3, 4]) == {1: ["rain"], 2: ["night", "rain"]}
    assert state.rows_tagged(["rain", "night", "unheard of"]).tolist() == [1, 2]
    assert state.rows_tagged([]).tolist() == []


def test_pairs_kept_images_and_labels(state: State) -> None:
    state.decide("pair", rows=[4, 9], value="same", who="ann")
    state.decide("pair", rows=[9, 4], value="different", who="ann")  # the same two
    state.decide("not_duplicate", rows=[1, 2], who="ann")
    state.decide("keep", rows=[7, 6], who="ann")
    state.decide("label", rows=[5], value="car", who="ann")
    assert [(one.rows, one.value) for one in state.pairs()] == [((9, 4), "different")]
    assert [one.rows for one in state.pairs("not_duplicate")] == [(1, 2)]
    assert state.kept() == {6: 7}
    assert {row: one.value for row, one in state.labels().items()} == {5: "car"}
    assert state.is_consistent()


def test_decisions_are_listed_newest_first_by_what_they_are_about(state: State) -> None:
    state.decide("tag", rows=[1], subject="night", who="ann")
    state.decide("tag", rows=[2], subject="rain", who="ben")
    state.decide("pair", rows=[2, 0], value="same", who="ben")
    state.decide("create_collection", subject="edge", who="ann")  # about no row, not about row 0
    state.undo(1, who="ann")

    def ids(**asked: Any) -> list[int]:
        return [one.id for one in state.decisions(**asked)]

    assert ids() == [4, 3, 2]
    assert ids(include_undone=True) == [4, 3, 2, 1]
    assert ids(include_undone=True, limit=2) == [4, 3]
    assert ids(include_undone=True, limit=2, before=3) == [2, 1]
    assert ids(kind="tag") == [2]
    assert ids(kind="tag", subject="night", include_undone=True) == [1]
    assert ids(who="ben") == [3, 2]
    assert (ids(row=2), ids(row=0), ids(row=2**70)) == ([3, 2], [3], [])
    assert ids(before=2**70) == [4, 3, 2]


def test_100_000_rows_are_one_decision(state: State) -> None:
    started = time.perf_counter()
    made = state.decide("tag", rows=range(100_000), subject="night", who="ann")
    state.undo(made.id, who="ann")
    state.redo(made.id, who="ann")
    assert time.perf_counter() - started < 20  # measured 2 s
    assert state.tags() == [("night", 100_000)]
    assert len(made.rows) == 100_000


@pytest.mark.parametrize(
    ("asked", "told"), [
        ({"kind": "dance", "rows": [1]}, "kind 'dance'; expected one of collect"),
        ({"kind": "tag", "subject": "a"}, "'tag' is about no row"),
        ({"kind": "tag", "subject": "a", "rows": [-1]}, "row -1; expected row numbers from 0"),
        ({"kind": "tag", "subject": "a", "rows": [2**53]}, f"row {2**53}"),
        ({"kind": "tag", "subject": "a", "rows": [1], "note": "n" * 2_001}, "a note of 2001 characters; at most 2000"),
        ({"kind": "review", "subject": "s" * 301, "rows": [1], "value": "skip"}, "a subject of 301 characters"),
        ({"kind": "pair", "rows": [1], "value": "same"}, r"two different rows, got \[1\]"),
        ({"kind": "keep", "rows": [1, 1]}, r"two different rows, got \[1, 1\]"),
        ({"kind": "label", "rows": [1], "value": float("nan")}, "the value cannot be kept as JSON"),
        ({"kind": "label", "rows": [1], "value": object()}, "the value cannot be kept as JSON"),
        ({"kind": "label", "rows": [1], "value": "v" * 20_001}, "the value has 20003 characters; at most 20000"),
        ({"kind": "label", "rows": [1], "value": "\ud800"}, "half a character; expected Unicode"),
        ({"kind": "review", "rows": [1], "value": "maybe"}, "a review says 'maybe'; expected accept, discard, skip"),
        ({"kind": "pair", "rows": [1, 2], "value": None}, "a pair says 'None'; expected same, different, unsure"),
        ({"kind": "rename_tag", "subject": "a", "value": "b", "rows": [1]}, "about every row of 'a'; name none"),
    ],
)  # fmt: skip
def test_what_is_no_decision_is_refused_and_leaves_nothing(state: State, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(BadDecision, match=told):
        state.decide(**asked, who="ann")
    assert state.newest() == 0


def test_too_many_rows_are_refused(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_ROWS", 3)
    with pytest.raises(BadDecision, match="4 rows in one decision; at most 3"):
        state.decide("tag", rows=range(4), subject="night", who="ann")


@pytest.mark.parametrize("number", [0, 7, -1, 2**70])
def test_no_such_decision(state: State, number: int) -> None:
    for ask in (state.decision, lambda n: state.undo(n, who="ann"), lambda n: state.redo(n, who="ann")):
        with pytest.raises(UnknownName, match=f"no decision {number}; `curator decisions` lists them"):
            ask(number)


# -- sending twice, and meeting others -------------------------------------------------------------------------------


def test_the_same_key_is_the_same_decision(state: State) -> None:
    made = state.decide("tag", rows=[1], subject="night", who="ann", key="k1")
    assert state.decide("tag", rows=[1], subject=" night ", who="ann", key="k1") == made
    moved = state.decide("rename_tag", subject="night", value="dark", who="ann", key="k2")
    assert state.decide("rename_tag", subject="night", value="dark", who="ann", key="k2") == moved
    state.decide("create_collection", subject="edge", who="ann", key="k3")
    state.decide("create_collection", subject="edge", who="ann", key="k3")
    assert state.newest() == 3


@pytest.mark.parametrize("other", [{"rows": [2]}, {"subject": "other"}, {"value": "discard"}])
def test_a_key_is_not_for_another_decision(state: State, other: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"rows": [1], "subject": "queue", "value": "accept", "who": "ann", "key": "k1"}
    state.decide("review", **asked)
    with pytest.raises(Conflict, match="the key 'k1' was used for another decision, number 1; take a new key"):
        state.decide("review", **asked | other)


def test_a_decision_after_what_the_caller_saw_is_a_conflict(state: State) -> None:
    seen = state.decide("review", rows=[1, 2], value="accept", subject="queue", who="ann")
    state.decide("review", rows=[2], value="discard", subject="queue", who="ben")
    state.decide("review", rows=[3], value="skip", subject="queue", who="ann", expect=seen.id)  # of another row
    with pytest.raises(Conflict, match=r"ben decided about row 2 at .* \(review, decision 2\), after what you saw"):
        state.decide("review", rows=[1, 2], value="skip", subject="queue", who="ann", expect=seen.id)
    state.decide("review", rows=[1, 2], value="skip", subject="queue", who="ann", expect=2)
    state.decide("pair", rows=[4, 9], value="same", who="ben")
    with pytest.raises(Conflict, match="ben decided about '4:9'"):
        state.decide("pair", rows=[9, 4], value="unsure", who="ann", expect=2)


def test_others_may_fill_the_same_collection(state: State) -> None:
    state.decide("collect", rows=[1], subject="edge", who="ann")
    state.decide("collect", rows=[2], subject="edge", who="ben")
    state.decide("collect", rows=[3], subject="edge", who="ann", expect=1)
    with pytest.raises(Conflict, match="ben decided about row 2"):
        state.decide("collect", rows=[2], subject="edge", who="ann", expect=1)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["night", "Straße", "夜", "ночь", "ليل", "रात", "🌧️", "a b", "'; DROP TABLE tags; --", "a..b"]
)
def test_any_writing_is_a_name(state: State, name: str) -> None:
    state.decide("tag", rows=[1], subject=name, who="ann")
    assert state.tags() == [(name, 1)]
    assert state.rows_tagged([name]).tolist() == [1]


def test_names_are_composed_and_stripped_and_found_so(state: State) -> None:
    state.decide("tag", rows=[1], subject=" cafe\u0301 ", who="ann")
    state.decide("collect", rows=[1], subject="cafe\u0301", who="ann")
    assert state.tags() == [("caf\u00e9", 1)]
    assert state.rows_tagged(["cafe\u0301 "]).tolist() == [1]
    assert state.collection("cafe\u0301").tolist() == [1]


@pytest.mark.parametrize(
    "character", "\x00\n\x1b\u200b\u200d\u202e\u2066\ufeff\u00ad\u2028\u3164\u2800\u034f\ue000\ud800"
)
def test_what_cannot_be_seen_is_in_no_name(state: State, character: str) -> None:
    with pytest.raises(BadName, match=f"the tag holds the invisible character U\\+{ord(character):04X}"):
        state.decide("tag", rows=[1], subject=f"a{character}b", who="ann")


@pytest.mark.parametrize(("name", "n"), [("", 0), (" \n ", 0), ("x" * 101, 101)])
def test_a_name_has_1_to_100_characters(state: State, name: str, n: int) -> None:
    with pytest.raises(BadName, match=f"a collection of {n} characters; expected 1 to 100"):
        state.decide("create_collection", subject=name, who="ann")


@pytest.mark.parametrize(
    ("first", "second"), [("Night", "night"), ("Straße", "STRASSE"), ("K", "\u212a"), ("❤", "❤\ufe0f"), ("a1", "ａ１")]
)
def test_two_names_that_look_the_same_are_not_both_there(state: State, first: str, second: str) -> None:
    state.decide("tag", rows=[1], subject=first, who="ann")
    if second == "\u212a":  # composed to the very same
        state.decide("tag", rows=[2], subject=second, who="ann")
        assert state.tags() == [("K", 2)]
        return
    with pytest.raises(BadName, match=f"the tag '{second}' looks like '{first}', which is there; use that one"):
        state.decide("tag", rows=[2], subject=second, who="ann")
    state.decide("rename_tag", subject=first, value=second, who="ann")  # its own look is no obstacle
    assert state.tags() == [(second, 1)]


@pytest.mark.parametrize("name", ["a/b", "/", "..", "."])
def test_a_name_can_stand_in_an_address(state: State, name: str) -> None:
    with pytest.raises(BadName, match=f"the tag '{name}' cannot stand in an address; leave out slashes"):
        state.decide("tag", rows=[1], subject=name, who="ann")


def test_a_selector_is_no_name_alone(state: State) -> None:
    with pytest.raises(BadName, match=r"U\+FE0F"):
        state.decide("tag", rows=[1], subject="\ufe0f", who="ann")


@pytest.mark.parametrize(
    ("kind", "asked", "error", "told"), [
        ("untag", {"rows": [1]}, UnknownName, "no tag 'x'; there are: night"),
        ("rename_tag", {"value": "y"}, UnknownName, "no tag 'x'; there are: night"),
        ("uncollect", {"rows": [1]}, UnknownName, "no collection 'x'; there are: edge"),
        ("delete_collection", {}, UnknownName, "no collection 'x'; there are: edge"),
        ("create_collection", {"subject": "edge"}, BadName, "there is a collection 'edge' already; choose another"),
        ("create_collection", {"subject": "Edge"}, BadName, "the collection 'Edge' looks like 'edge'"),
        ("rename_tag", {"subject": "night", "value": "night"}, BadName, "the tag 'night' is called so already; choose"),
        ("rename_collection", {"subject": "edge", "value": "\u202e"}, BadName, r"invisible character U\+202E"),
        ("rename_tag", {"subject": "night"}, BadName, "the new name of a tag is 'None'; expected text"),
    ],
)  # fmt: skip
def test_names_that_are_not_there_or_taken(
    state: State, kind: str, asked: dict[str, Any], error: type[Exception], told: str
) -> None:
    state.decide("tag", rows=[1], subject="night", who="ann")
    state.decide("collect", rows=[1], subject="edge", who="ann")
    with pytest.raises(error, match=told):
        state.decide(kind, **{"subject": "x"} | asked, who="ann")
    assert state.newest() == 2


def test_a_taken_name_is_not_given_again(state: State) -> None:
    state.decide("tag", rows=[1], subject="night", who="ann")
    state.decide("tag", rows=[1], subject="rain", who="ann")
    with pytest.raises(BadName, match="there is a tag 'rain' already; choose another name"):
        state.decide("rename_tag", subject="night", value="rain", who="ann")


# -- documents -------------------------------------------------------------------------------------------------------


def test_documents_have_versions_and_a_history(state: State) -> None:
    first = state.put("filter", " dark ", {"column": "brightness", "lt": 0.2}, who="ann", version=0)
    assert (first.name, first.version) == ("dark", 1)
    second = state.put("filter", "dark", {"column": "brightness", "lt": 0.3}, who="ben", version=1)
    assert state.document("filter", " dark") == second
    assert state.documents("filter") == [second]
    assert state.documents("campaign") == []
    state.delete("filter", "dark", who="ann")
    assert state.documents("filter") == []
    with pytest.raises(UnknownName, match="no filter 'dark'; there are: none yet"):
        state.document("filter", "dark")
    with pytest.raises(UnknownName, match="no filter 'dark'"):
        state.delete("filter", "dark", who="ann")
    state.put("filter", "dark", second.body, who="ann", version=0)  # taken back
    assert [(one.version, one.who, one.body is None) for one in state.history("filter", "dark")] == [
        (4, "ann", False), (3, "ann", True), (2, "ben", False), (1, "ann", False),
    ]  # fmt: skip


def test_a_document_that_was_changed_in_the_meantime_is_a_conflict(state: State) -> None:
    state.put("filter", "dark", 1, who="ann")
    state.put("filter", "dark", 2, who="ben")
    with pytest.raises(Conflict, match=r"'dark' has version 2 by ben at .*, you changed version 1; read it again"):
        state.put("filter", "dark", 3, who="ann", version=1)
    with pytest.raises(Conflict, match="you changed version 0"):
        state.put("filter", "dark", 3, who="ann", version=0)
    with pytest.raises(Conflict, match="'bright' has version 0, you changed version 4"):
        state.put("filter", "bright", 3, who="ann", version=4)


def test_documents_that_cannot_be_kept(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadName, match="a filter of 0 characters"):
        state.put("filter", "", 1, who="ann")
    with pytest.raises(BadDecision, match="the filter 'dark' cannot be kept as JSON"):
        state.put("filter", "dark", {"at": float("inf")}, who="ann")
    monkeypatch.setattr(papers, "MAX_BODY", 10)
    with pytest.raises(BadDecision, match="the filter 'dark' has 12 characters; at most 10"):
        state.put("filter", "dark", "x" * 10, who="ann")


def test_a_secret_stays_and_does_not_travel(state: State) -> None:
    made = state.secret("cursors")
    assert len(made) == 32
    assert state.secret("cursors") == made != state.secret("other")
    assert len(list(state.export_lines())) == 1


# -- out and in again ------------------------------------------------------------------------------------------------


def a_line(**changed: Any) -> str:
    given = {"uuid": "u1", "at": 1e9, "who": "ann", "kind": "tag", "subject": "night", "rows": [1], "value": None,
             "note": "", "undone_at": None, "undone_by": None}  # fmt: skip
    return json.dumps({"decision": given | changed})


def a_paper(**changed: Any) -> str:
    given = {"kind": "filter", "name": "dark", "version": 1, "who": "ann", "at": 1e9, "body": {"a": 1}}
    return json.dumps({"document": given | changed})


HEAD = '{"curator_state": 1}'


def test_odd_text_travels(state: State, tmp_path: Path) -> None:
    note = "line\u2028ends\x85and\x0bothers\x1e \u00e9 \U0001f327 \x00"
    state.decide("tag", rows=[1], subject="night", note=note, who="ann")
    state.put("filter", "dark", {"text": note}, who="ann")
    text = "\n".join(state.export_lines())
    assert text.isascii()
    (tmp_path / "other").mkdir()
    with open_state(tmp_path / "other") as other:
        assert other.import_lines(text.splitlines()) == {"decisions": 1, "documents": 1, "known": 0}
        assert other.decision(1) == state.decision(1)
        assert other.document("filter", "dark") == state.document("filter", "dark")


def test_undone_decisions_and_deleted_documents_travel(state: State, tmp_path: Path) -> None:
    made = state.decide("tag", rows=[1], subject="night", who="ann")
    state.undo(made.id, who="ben")
    state.put("filter", "dark", 1, who="ann")
    state.delete("filter", "dark", who="ann")
    (tmp_path / "other").mkdir()
    with open_state(tmp_path / "other") as other:
        other.import_lines(state.export_lines())
        assert other.decision(1) == state.decision(1)
        assert other.tags() == []
        assert other.documents("filter") == []
        assert other.history("filter", "dark") == state.history("filter", "dark")


@pytest.mark.parametrize(
    ("line", "told"), [
        ("{", "line 3 is no JSON"),
        ("[1]", "line 3 is a list; expected an object"),
        ("[" * 100_000, "line 3 is no JSON"),
        ("{}", "line 3: neither a decision nor a document"),
        ('{"decision": {}}', "line 3: expected exactly uuid, at, who"),
        (a_line(uuid="u2", at=float("nan")), "line 3 is no JSON: NaN is no number"),
        (a_line(uuid="u2").replace("1000000000.0", "1e999"), "line 3: at is inf; expected seconds since 1970"),
        (a_line(uuid="u2", at=True), "line 3: at is 'True'; expected int or float"),
        (a_line(uuid=""), "line 3: uuid of 0 characters; expected 1 to 100"),
        (a_line(uuid="u2", kind="dance"), "line 3: kind 'dance'"),
        (a_line(uuid="u2", rows=[]), "line 3: a decision of kind 'tag' is about no row"),
        (a_line(uuid="u2", rows=["1"]), "line 3: rows hold something that is no row number"),
        (a_line(uuid="u2", rows=[2**70]), "line 3: row 1180591620717411303424"),
        (a_line(uuid="u2", who="w" * 201), "line 3: who of 201 characters; at most 200"),
        (a_line(uuid="u2", subject="a\u202eb"), r"line 3: the tag holds the invisible character U\+202E"),
        (a_line(uuid="u2", subject=" a"), "line 3: the tag ' a' is not in its plain form 'a'"),
        (a_line(uuid="u2", kind="rename_tag", value="night"), "line 3: the tag 'night' is called so already"),
        (a_line(uuid="u2", note="\ud800"), "holds half a character"),
        (a_paper(version=0), "line 3: version is 0; expected a number from 1"),
        (a_paper(version=2**70), "line 3: version is 1180591620717411303424"),
        (a_paper(name=" dark"), "line 3: the name ' dark' of a filter is not in its plain form"),
        (a_paper(name=""), "line 3: a filter of 0 characters"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_nothing_is_taken_in(state: State, line: str, told: str) -> None:
    with pytest.raises(BadDecision, match=told):
        state.import_lines([HEAD, a_line(), line])
    assert state.newest() == 0
    assert state.tags() == []


@pytest.mark.parametrize("head", ["", '{"curator_state": 2}', a_line()])
def test_a_file_of_something_else_is_refused(state: State, head: str) -> None:
    with pytest.raises(BadDecision, match=r'line 1 is not {"curator_state": 1}; expected a file of `curator state'):
        state.import_lines([head])


def test_another_content_of_a_version_is_a_conflict_and_nothing_is_taken_in(state: State) -> None:
    state.put("filter", "dark", {"a": 1}, who="ann")
    assert state.import_lines([HEAD, a_paper()])["known"] == 1
    with pytest.raises(Conflict, match="line 3: the filter 'dark' has another version 1 here, by ann; take its lines"):
        state.import_lines([HEAD, a_line(), a_paper(body={"a": 2})])
    assert state.newest() == 0
