"""Requests and answers: one JSON form, read back as it was written, and refused in words."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import BadFilter, BadQuery, CuratorError
from curator.filters import parse_filter
from curator.searching import Answer, Example, Hit, Request, parse_example, parse_request, request_to_json

ROW = {"positives": [{"row": 1}]}
NUMBERS = st.floats(-10, 10, allow_nan=False)
BOXES = st.tuples(st.floats(0, 99), st.floats(0, 99), st.floats(1, 99), st.floats(1, 99))
EXAMPLES = st.one_of(
    st.builds(Example, row=st.integers(0, 10**9), box=st.none() | BOXES),
    st.builds(Example, image=st.binary(min_size=1, max_size=8), box=st.none() | BOXES),
    st.builds(Example, vector=st.lists(NUMBERS, max_size=4).map(tuple)),
    st.builds(Example, text=st.text(max_size=5)), st.builds(Example, collection=st.text(max_size=5)),
)  # fmt: skip
REQUESTS = st.builds(
    Request,
    st.lists(EXAMPLES, min_size=1, max_size=3).map(tuple), st.lists(EXAMPLES, max_size=2).map(tuple),
    k=st.integers(1, 1_000), offset=st.integers(0, 9_000), min_similarity=st.none() | st.floats(-1, 1),
    filter=st.sampled_from([None, parse_filter({"column": "a", "lt": 1}), parse_filter({"tag": "x"})]),
    group_by=st.sampled_from([None, "neardup", "label"]), space=st.sampled_from([None, "colour"]),
    method=st.sampled_from(["auto", "rocchio", "probe"]), alpha=st.floats(0, 100), centred=st.booleans(),
    fields=st.lists(st.text(max_size=3), max_size=3, unique=True).map(tuple),
)  # fmt: skip


@given(REQUESTS)
@settings(max_examples=150, deadline=None)
def test_a_request_written_as_json_reads_back_as_itself(request: Request) -> None:
    assert parse_request(request_to_json(request)) == request


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["positives", "row", "image", "box", "k", "filter", "fields", "x"]), inner
            )
        ),
        max_leaves=8,
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_json_comes_it_is_a_request_or_an_error_in_words(body: Any) -> None:
    try:
        parse_request(body)
    except CuratorError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], r"search is \[\]; expected an object with positives, negatives, k"),
        ({**ROW, "kk": 1}, "search has 'kk'; expected only positives"),
        ({}, "a search needs at least 1 positive example"),
        ({"positives": {"row": 1}}, r"positives is \{'row': 1\}; expected a list of examples"),
        ({"positives": [{"row": 1}] * 1_001}, "positives holds 1001 examples; at most 1000"),
        ({"positives": [{"row": 1}] * 600, "negatives": [{"row": 1}] * 600}, "1200 examples; at most 1000 are taken"),
        ({"positives": [{"row": "1"}]}, r"positives\[0\].row is '1'; expected a row number"),
        ({"positives": [{"row": 1, "text": "x"}]}, "an example has row and text; expected exactly one of row, image"),
        ({"positives": [{}]}, "an example has nothing; expected exactly one of"),
        ({"positives": [{"row": 1, "size": 1}]}, r"positives\[0\] has 'size'; expected only row, image"),
        ({"positives": [{"image": "%%"}]}, r"positives\[0\].image is no base64 text"),
        ({"positives": [{"text": 1}]}, r"positives\[0\].text is 1; expected text"),
        ({"positives": [{"vector": 1}]}, r"positives\[0\].vector is 1; expected a list of numbers"),
        ({"positives": [{"vector": [None]}]}, r"positives\[0\].vector holds null; expected finite numbers"),
        ({"positives": [{"row": 1, "box": [1, 2, 3]}]}, r"positives\[0\].box has 3 numbers; expected x, y, width"),
        ({"positives": [{"row": 1, "box": [1, 2, 0, 3]}]}, r"box is \[1.0, 2.0, 0.0, 3.0\]; expected x, y >= 0 and"),
        ({"positives": [{"text": "a", "box": [1, 2, 3, 4]}]}, "has a box beside text; a box needs a row or an image"),
        ({**ROW, "k": 0}, "k is 0; expected 1 to 1000"),
        ({**ROW, "k": 1_001}, "k is 1001; expected 1 to 1000"),
        ({**ROW, "k": True}, "k is True; expected a whole number"),
        ({**ROW, "k": 1.5}, "k is 1.5; expected a whole number"),
        ({**ROW, "offset": -1}, "offset is -1; expected 0 to 10000"),
        ({**ROW, "offset": 9_999}, "offset 9999 and k 10 reach beyond 10000 hits; narrow the filter"),
        ({**ROW, "min_similarity": 2}, "min_similarity is 2; expected -1 to 1"),
        ({**ROW, "method": "best"}, "method is 'best'; expected auto, rocchio, probe or max"),
        ({**ROW, "method": "max", "negatives": [{"row": 2}]}, "method max looks at positives alone"),
        ({**ROW, "alpha": -1}, "alpha is -1; expected a weight from 0 to 100"),
        ({**ROW, "centred": 1}, "centred is 1; expected true or false"),
        ({**ROW, "fields": "uri"}, "fields is 'uri'; expected a list of columns"),
        ({**ROW, "fields": [1]}, "fields holds 1; expected names of columns"),
        ({**ROW, "fields": [str(i) for i in range(65)]}, "65 fields; at most 64 come with a hit"),
    ],
)
def test_a_request_that_cannot_be_used_names_the_key_and_what_was_expected(body: Any, words: str) -> None:
    with pytest.raises(BadQuery, match=words):
        parse_request(body)


def test_a_filter_inside_a_request_names_its_own_place() -> None:
    with pytest.raises(BadFilter, match=r"filter.and\[0\] has nothing"):
        parse_request({**ROW, "filter": {"and": [{}]}})


def test_an_image_comes_as_base64_or_as_bytes() -> None:
    encoded = base64.b64encode(b"abc").decode()
    assert parse_example({"image": encoded}) == parse_example({"image": b"abc"}) == Example(image=b"abc")


def test_an_answer_is_plain_json() -> None:
    hits = (Hit(3, 0.75, 0.75), Hit(5, 0.5, 0.5, group="a", group_seen=2, group_size=4, fields={"uri": "5.jpg"}))
    body = Answer(hits, "cosine", "colour", "ivf", 0.97123, 7, 10, 12).to_json()
    assert body == {
        "hits": [
            {"row": 3, "similarity": 0.75, "distance": 0.25, "score": 0.75},
            {"row": 5, "similarity": 0.5, "distance": 0.5, "score": 0.5, "group": "a", "group_seen": 2,
             "group_size": 4, "fields": {"uri": "5.jpg"}},
        ],
        "how": "cosine", "centred": False, "space": "colour", "index": "ivf", "recall": 0.9712, "snapshot": 7,
        "offset": 10, "next_offset": 12, "note": "",
    }  # fmt: skip
