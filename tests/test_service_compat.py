"""The shape of clip-retrieval's back end: POST /knn-service, GET /indices-list, POST /metadata."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curator.searching import Request, open_served, parse_example
from curator.workspace import open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import small_root

ASKED = {  # what clip-retrieval's own client sends
    "indice_name": "street", "num_images": 3, "num_result_ids": 5, "modality": "image", "use_mclip": False,
    "deduplicate": False, "use_safety_model": False, "use_violence_detector": False, "aesthetic_score": "",
    "aesthetic_weight": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(small_root())), base_url="http://127.0.0.1") as found:
        yield found


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def uri_of(row: int) -> str:
    return str(open_served(open_workspace(small_root() / "street")).columns.take([row], ["uri"])[0]["uri"])


def test_indices_are_the_workspaces(client: TestClient) -> None:
    assert client.get("/indices-list").json() == ["street"]


def test_an_image_finds_itself_first_and_metadata_comes_with_as_many_as_asked(client: TestClient) -> None:
    data = Path(uri_of(4)).read_bytes()
    results = client.post("/knn-service", json={**ASKED, "image": base64.b64encode(data).decode()}).json()
    assert results[0]["id"] == 4
    assert results[0]["similarity"] == pytest.approx(1.0, abs=1e-3)
    assert [len(result) > 2 for result in results] == [True] * 3 + [False] * 2
    assert results[0]["image_path"] == uri_of(4)
    assert results[0]["caption"] in ("car", "bus")
    assert client.get(results[0]["url"]).content == data


def test_an_embedding_is_searched_as_the_library_searches_it(client: TestClient) -> None:
    served = open_served(open_workspace(small_root() / "street"))
    vector = served.space(None).vectors[7].tolist()
    results = client.post("/knn-service", json={**ASKED, "embedding_input": vector}).json()
    expected = served.search(Request((parse_example({"vector": vector}),), k=5)).hits
    assert [(one["id"], one["similarity"]) for one in results] == [
        (hit.row, round(hit.similarity, 6)) for hit in expected
    ]


def test_deduplicated_results_are_of_different_groups(client: TestClient) -> None:
    served = open_served(open_workspace(small_root() / "street"))
    vector = served.space(None).vectors[0].tolist()
    asked = {**ASKED, "embedding_input": vector, "num_images": 31, "num_result_ids": 31, "deduplicate": True}
    ids = [result["id"] for result in client.post("/knn-service", json=asked).json()]
    kept = {row["representative"] for row in served.columns.take(ids, ["representative"])}
    assert len(kept) == len(ids) < 30


def test_the_first_input_counts_as_there(client: TestClient) -> None:
    vector = open_served(open_workspace(small_root() / "street")).space(None).vectors[7].tolist()
    both = {**ASKED, "text": "", "image": None, "embedding_input": vector}  # empty ones count as not given
    assert client.post("/knn-service", json=both).json()[0]["id"] == 7


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, (400, "BadRequest")), ({"indice_name": "none", "text": "x"}, (404, "NotFound")),
     ({"image": "AAAA"}, (422, "UnreadableImage")), ({"image": "%%"}, (400, "BadQuery")),
     ({"image_url": "http://example.org/a.jpg"}, (403, "Forbidden")),
     ({"embedding_input": [1.0]}, (422, "BadEmbeddings")),
     ({"modality": "text", "text": "x"}, (422, "BadRequest")), ({"num_images": 0, "text": "x"}, (422, "BadRequest")),
     ({"indice_name": "../street", "text": "x"}, (404, "NotFound"))],
)  # fmt: skip
def test_what_cannot_be_searched_is_said(client: TestClient, change: dict[str, Any], expected: tuple[int, str]) -> None:
    assert code(client.post("/knn-service", json={**ASKED, **change})) == expected


def test_metadata_are_the_columns_in_the_asked_order(client: TestClient) -> None:
    body = client.post("/metadata", json={"ids": [5, 2], "indice_name": "street"}).json()
    assert [one["id"] for one in body] == [5, 2]
    assert [one["metadata"]["uri"] for one in body] == [uri_of(5), uri_of(2)]
    assert {"label", "brightness"} <= set(body[0]["metadata"])
    assert client.post("/metadata", json={"ids": [], "indice_name": "street"}).json() == []
    assert code(client.post("/metadata", json={"ids": [99], "indice_name": "street"})) == (404, "UnknownRow")
    assert code(client.post("/metadata", json={"ids": [0], "indice_name": "none"})) == (404, "NotFound")
