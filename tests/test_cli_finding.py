"""`curator search` and `curator have`: the same answers as the library, in words and in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator.filters import parse_filter
from curator.searching import Example, Request, image_example, open_served
from curator.state import open_state
from curator.workspace import open_workspace
from tests.conftest import picture
from tests.test_cli import FAST, as_json, call, told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for i in range(12):
        picture(rng).save(folder / f"{i:02d}.jpg", quality=90)
    return folder


@pytest.fixture(scope="module")
def place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("w") / "w"
    call("run", folder, "-w", where, "--select", "3", *FAST)
    return where


def answer(place: Path, request: Request) -> Any:
    return json.loads(json.dumps(open_served(open_workspace(place)).search(request).to_json()))


def test_search_by_many_examples_prints_what_the_library_answers(place: Path, folder: Path) -> None:
    condition = '{"column": "row", "ge": 2}'
    request = Request(
        (Example(row=0), Example(row=1), image_example(folder / "05.jpg")),
        (Example(row=3), image_example(folder / "04.jpg")),
        k=4, offset=2, filter=parse_filter(json.loads(condition)), method="probe", centred=True, min_similarity=0.01,
        fields=("uri", "width"),
    )  # fmt: skip
    body = as_json(
        "search", "-w", place, "--row", 0, "--row", 1, "--image", folder / "05.jpg", "--not-row", 3,
        "--not-image", folder / "04.jpg", "-k", 4, "--offset", 2, "--filter", condition, "--method", "probe",
        "--centred", "--min-similarity", 0.01, "--fields", "uri, width",
    )  # fmt: skip
    assert body == answer(place, request)
    assert body["how"] == "probe"
    assert len(body["hits"]) == 4


def test_groups_and_vectors_and_boxes_reach_the_search(place: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", open_workspace(place).embeddings().vectors[5])
    body = as_json("search", "-w", place, "--vector", tmp_path / "v.npy", "-k", 1)
    assert body["hits"][0]["row"] == 5
    grouped = as_json("search", "-w", place, "--row", 0, "--group-by", "neardup", "-k", 2)
    assert all(hit["group_size"] == 1 for hit in grouped["hits"])
    assert "best of 1 in" in call("search", "-w", place, "--row", 0, "--group-by", "neardup", "-k", 2)
    boxed = as_json("search", "-w", place, "--row", 0, "--box", "0,0,40,40", "--fields", "")
    assert boxed == answer(place, Request((Example(row=0, box=(0, 0, 40, 40)),)))


def test_a_sql_condition_of_the_data_s_owner_joins_the_filter(place: Path) -> None:
    body = as_json("search", "-w", place, "--row", 0, "--where", "row >= 8", "--filter", '{"column": "row", "lt": 10}')
    assert sorted(hit["row"] for hit in body["hits"]) == [8, 9]


def test_pages_follow_one_another(place: Path) -> None:
    whole = as_json("search", "-w", place, "--row", 0, "-k", 10)["hits"]
    first = as_json("search", "-w", place, "--row", 0, "-k", 6)
    second = as_json("search", "-w", place, "--row", 0, "-k", 4, "--offset", first["next_offset"])
    assert first["hits"] + second["hits"] == whole


def test_have_says_what_is_there_in_words_and_in_json(place: Path, folder: Path, tmp_path: Path) -> None:
    body = as_json("have", folder / "03.jpg", "-w", place)
    served = open_served(open_workspace(place))
    found = served.near_duplicates(image_example(folder / "03.jpg"), fields=("uri",))
    assert body == json.loads(json.dumps(found.to_json()))
    assert (body["verdict"], body["matches"][0]["row"], body["matches"][0]["match"]) == ("already", 3, "exact")
    text = call("have", folder / "03.jpg", "-w", place)
    assert text.startswith("already there (nearest at 1.0000; the same from 0.9900, default)")
    assert "exact" in text
    picture(np.random.default_rng(99)).save(tmp_path / "new.png")
    assert call("have", tmp_path / "new.png", "-w", place, "--threshold", 1).startswith("new (nearest at ")
    assert as_json("have", "7", "-w", place, "--threshold", 1)["matches"] == []
    assert call("have", "7", "-w", place, "--threshold", 0.01).startswith("already there")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "--row", 0, "--filter", "{"], "--filter is no JSON"),
        (["search", "--row", 0, "--filter", "{}"], "filter has nothing; expected exactly one of"),
        (["search"], "a search needs at least 1 positive example"),
        (["search", "--row", 0, "--method", "best"], "method is 'best'; expected auto, rocchio, probe or max"),
        (["search", "--row", 0, "--row", 1, "--box", "1,2,3,4"], "--box goes with exactly one row or image, got 2"),
        (["search", "--row", 0, "--box", "1,2,3"], "--box is '1,2,3'; expected four numbers x,y,width,height"),
        (["search", "--image", "gone.jpg"], "cannot read the query image gone.jpg"),
        (["have", "gone.jpg"], "cannot read the query image gone.jpg"),
        (["have", "99"], "no row 99 in"),
        (["have", "0", "--threshold", 3], "threshold is 3.0; expected a cosine from -1 to 1"),
    ],
)
def test_a_command_that_cannot_be_used_says_why(place: Path, arguments: list[Any], words: str) -> None:
    code = 1 if "gone.jpg" in arguments else 2
    assert words in told(*arguments, "-w", place, code=code)


def test_tags_and_collections_of_the_workspace_are_searched_by(place: Path) -> None:
    with open_state(place) as state:
        state.decide("tag", rows=[2, 3, 4], subject="night", who="ann")
        state.decide("collect", rows=[0, 1], subject="edge", who="ann")
    body = as_json("search", "-w", place, "--collection", "edge", "--filter", '{"tag": "night"}')
    assert sorted(hit["row"] for hit in body["hits"]) == [2, 3, 4]
    rest = as_json("search", "-w", place, "--row", 5, "--filter", '{"not": {"collection": "edge"}}', "-k", 100)
    assert sorted(hit["row"] for hit in rest["hits"]) == [2, 3, 4, 6, 7, 8, 9, 10, 11]
