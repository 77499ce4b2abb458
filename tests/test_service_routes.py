"""Search, rows, images and duplicates over HTTP, on a small workspace."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from curator.searching import open_served
from curator.workspace import open_workspace
from service.app import create_app
from service.settings import Settings
from tests.small import N_COPIES, small_root

WS = "/v1/workspaces/street"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(small_root())), base_url="http://127.0.0.1") as found:
        yield found


@pytest.fixture(scope="module")
def uris(client: TestClient) -> dict[int, str]:
    body = client.post(f"{WS}/rows/query", json={"fields": ["uri"], "limit": 100}).json()
    return {row["row"]: row["fields"]["uri"] for row in body["rows"]}


def row_of(uris: dict[int, str], name: str) -> int:
    return next(row for row, uri in uris.items() if uri.endswith(name))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# -- search ------------------------------------------------------------------------------------------------------


def test_search_by_row_is_the_librarys_search(client: TestClient) -> None:
    asked = {"positives": [{"row": 0}], "k": 5, "fields": ["uri"]}
    body = client.post(f"{WS}/search", json=asked).json()
    from curator.searching import parse_request

    expected = open_served(open_workspace(small_root() / "street")).search(parse_request(asked)).to_json()
    assert {key: value for key, value in body.items() if key != "cursor"} == expected
    assert len(body["hits"]) == 5
    assert body["recall"] == 1.0


def test_pages_by_cursor_are_one_larger_page(client: TestClient) -> None:
    asked = {"positives": [{"row": 0}], "k": 4}
    first = client.post(f"{WS}/search", json=asked).json()
    second = client.post(f"{WS}/search", json={**asked, "cursor": first["cursor"]}).json()
    both = client.post(f"{WS}/search", json={**asked, "k": 8}).json()
    assert first["hits"] + second["hits"] == both["hits"]


def test_a_changed_or_foreign_cursor_is_refused(client: TestClient) -> None:
    asked = {"positives": [{"row": 0}], "k": 4}
    cursor = client.post(f"{WS}/search", json=asked).json()["cursor"]
    for wrong in (
        cursor[:-2] + "AA",
        "A" + cursor[1:],
        "not base64!",
        "",
        base64.urlsafe_b64encode(b"x" * 40).decode(),
    ):
        assert code(client.post(f"{WS}/search", json={**asked, "cursor": wrong})) == (400, "BadRequest"), wrong
    other = {"positives": [{"row": 1}], "k": 4, "cursor": cursor}
    assert code(client.post(f"{WS}/search", json=other)) == (400, "BadRequest")


def test_a_filter_is_applied_inside_the_search(client: TestClient, uris: dict[int, str]) -> None:
    asked = {"positives": [{"row": 0}], "k": 5, "filter": {"column": "label", "eq": "car"}, "fields": ["label"]}
    hits = client.post(f"{WS}/search", json=asked).json()["hits"]
    assert [hit["fields"]["label"] for hit in hits] == ["car"] * 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"k": 0}, (422, "BadRequest")), ({"k": 1001}, (422, "BadRequest")), ({"positives": []}, (422, "BadRequest")),
     ({"nonsense": 1}, (422, "BadRequest")), ({"positives": [{"row": 999}]}, (404, "UnknownRow")),
     ({"positives": [{"row": 0, "text": "x"}]}, (400, "BadQuery")), ({"positives": [{}]}, (400, "BadQuery")),
     ({"filter": {"column": "labl", "eq": 1}}, (404, "UnknownColumn")),
     ({"filter": {"sql": "1=1"}}, (400, "BadFilter")),
     ({"filter": {"column": "label", "eq": "'; DROP TABLE images; --"}}, None), ({"space": "x"}, (404, "UnknownSpace")),
     ({"positives": [{"collection": "none"}]}, (404, "UnknownName")),
     ({"fields": ["nonsense"]}, (404, "UnknownColumn")),
     ({"positives": [{"vector": [1.0]}]}, (422, "BadEmbeddings")),
     ({"positives": [{"image": "AAAA"}]}, (422, "UnreadableImage")),
     ({"positives": [{"image": "%%"}]}, (400, "BadQuery")),
     ({"positives": [{"upload": "a.jpg"}]}, (400, "BadRequest"))],
)  # fmt: skip
def test_what_cannot_be_searched_is_said(
    client: TestClient, change: dict[str, Any], expected: tuple[int, str] | None
) -> None:
    answer = client.post(f"{WS}/search", json={"positives": [{"row": 0}], **change})
    if expected is None:
        assert answer.json()["hits"] == []
    else:
        assert code(answer) == expected, answer.text
        assert str(small_root()) not in answer.text


def test_an_image_sent_in_any_way_finds_itself(client: TestClient, uris: dict[int, str]) -> None:
    row = row_of(uris, "10.jpg")
    data = Path(uris[row]).read_bytes()
    text = base64.b64encode(data).decode()
    pasted = client.post(f"{WS}/search", json={"positives": [{"image": text}], "k": 1}).json()
    sent = client.post(f"{WS}/search/upload", files=[("files", ("q.jpg", data))]).json()
    named = client.post(
        f"{WS}/search/upload", files=[("files", ("q.jpg", data))],
        data={"request": '{"positives": [{"upload": "q.jpg"}], "k": 1, "fields": ["uri"]}'},
    ).json()  # fmt: skip
    assert pasted["hits"][0]["row"] == sent["hits"][0]["row"] == named["hits"][0]["row"] == row
    assert named["hits"][0]["fields"]["uri"] == uris[row]


def test_uploads_that_do_not_fit_the_request_are_refused(client: TestClient) -> None:
    sent = [("files", ("q.jpg", b"x"))]
    answers = [
        client.post(f"{WS}/search/upload", files=sent, data={"request": text})
        for text in ("{", '{"positives": [{"upload": "other.jpg"}]}', '{"k": 3}')
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 422]
    twice = client.post(f"{WS}/search/upload", files=sent + sent)
    assert code(twice) == (400, "BadRequest")


def test_many_searches_are_the_single_ones(client: TestClient) -> None:
    asked = [{"positives": [{"row": row}], "k": 3} for row in range(4)]
    batch = client.post(f"{WS}/search/batch", json={"searches": asked}).json()["answers"]
    assert batch == [client.post(f"{WS}/search", json=one).json() for one in asked]


def test_hits_of_one_group_come_once(client: TestClient) -> None:
    body = client.post(f"{WS}/search", json={"positives": [{"row": 0}], "k": 30, "group_by": "neardup"}).json()
    groups = [hit["group"] for hit in body["hits"]]
    assert len(groups) == len(set(groups))


def test_an_image_we_have_is_known(client: TestClient, uris: dict[int, str]) -> None:
    row = row_of(uris, "10.jpg")
    same = client.post(
        f"{WS}/search/near-duplicates/upload", files={"file": ("q.jpg", Path(uris[row]).read_bytes())}
    ).json()
    assert (same["verdict"], same["matches"][0]["row"], same["matches"][0]["match"]) == ("already", row, "exact")
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 255)).save(out, "PNG")
    other = client.post(
        f"{WS}/search/near-duplicates", json={"example": {"image": base64.b64encode(out.getvalue()).decode()}}
    ).json()
    assert other["verdict"] == "new"


def test_metrics_tell_what_is_held_and_what_was_asked(client: TestClient) -> None:
    client.post(f"{WS}/search", json={"positives": [{"row": 0}]})
    text = client.get("/metrics").text
    vectors = next(line for line in text.splitlines() if line.startswith("curator_index_vectors{"))
    assert float(vectors.split()[-1]) == 30.0
    assert 'route="/v1/workspaces/{ws}/search"' in text
    assert "curator_search_seconds_count" in text


# -- rows --------------------------------------------------------------------------------------------------------


def test_rows_come_in_the_asked_order_and_pages_tile(client: TestClient) -> None:
    asked = {"sort": [{"column": "brightness", "descending": True}], "fields": ["brightness"]}
    whole = client.post(f"{WS}/rows/query", json={**asked, "limit": 100}).json()
    bright = [row["fields"]["brightness"] for row in whole["rows"] if row["fields"]["brightness"] is not None]
    assert bright == sorted(bright, reverse=True)
    pages = [
        client.post(f"{WS}/rows/query", json={**asked, "limit": 7, "offset": at}).json()["rows"]
        for at in (0, 7, 14, 21, 28)
    ]
    assert [row for page in pages for row in page] == whole["rows"]


def test_facets_count_every_row_once(client: TestClient) -> None:
    body = client.post(f"{WS}/rows/facets", json={"columns": ["label", "brightness", "duplicate"]}).json()
    label, brightness, _ = body["facets"]
    assert {one["value"]: one["count"] for one in label["values"]} == {"car": 16, "bus": 15}
    assert sum(brightness["counts"]) + brightness["missing"] == body["total"] == 31


def test_the_scope_is_the_filter_as_bits(client: TestClient, uris: dict[int, str]) -> None:
    answer = client.post(f"{WS}/rows/scope", json={"filter": {"column": "label", "eq": "car"}})
    bits = np.unpackbits(np.frombuffer(answer.content, np.uint8), count=int(answer.headers["x-rows"]))
    assert int(answer.headers["x-count"]) == bits.sum() == 16
    assert set(np.flatnonzero(bits).tolist()) == {row for row, uri in uris.items() if "/car/" in uri}


def test_the_map_is_two_floats_a_row_and_sent_once(client: TestClient, uris: dict[int, str]) -> None:
    answer = client.get(f"{WS}/map")
    places = np.frombuffer(answer.content, "<f4").reshape(-1, 2)
    assert len(places) == len(uris)
    assert np.isnan(places).any(axis=1).sum() == 1  # the broken file
    again = client.get(f"{WS}/map", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(("name", "kind"), [("label", "category"), ("cluster", "category"), ("brightness", "number")])
def test_codes_and_legend_give_the_column_back(client: TestClient, name: str, kind: str) -> None:
    legend = client.get(f"{WS}/columns/{name}/legend").json()
    assert legend["kind"] == kind
    codes = np.frombuffer(client.get(f"{WS}/columns/{name}/codes").content, np.dtype(legend["dtype"]).newbyteorder("<"))
    rows = client.post(f"{WS}/rows/query", json={"fields": [name], "limit": 100}).json()["rows"]
    for row in rows:
        value = row["fields"][name]
        if kind == "number":
            assert value is None or codes[row["row"]] == pytest.approx(value, rel=1e-5)
        else:
            assert [*legend["values"], None][codes[row["row"]]] == value


def test_columns_that_cannot_be_coloured_or_counted_are_said(client: TestClient) -> None:
    assert code(client.get(f"{WS}/columns/labels/codes")) == (400, "BadQuery")
    assert code(client.get(f"{WS}/columns/nonsense/legend")) == (404, "UnknownColumn")
    assert code(client.post(f"{WS}/rows/query", json={"sort": [{"column": "nonsense"}]})) == (404, "UnknownColumn")


def test_neighbors_are_the_nearest(client: TestClient) -> None:
    body = client.get(f"{WS}/rows/3/neighbors?k=4").json()
    near = [hit["similarity"] for hit in body["hits"]]
    assert len(near) == 4
    assert near == sorted(near, reverse=True)


# -- images ------------------------------------------------------------------------------------------------------


def test_thumbnails_and_originals_come_as_stored(client: TestClient, uris: dict[int, str]) -> None:
    row = row_of(uris, "10.jpg")
    original = client.get(f"{WS}/images/{row}?size=original")
    assert original.content == Path(uris[row]).read_bytes()
    assert original.headers["content-type"] == "image/jpeg"
    assert "immutable" in original.headers["cache-control"]
    assert original.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert original.headers["x-content-type-options"] == "nosniff"
    thumb = client.get(f"{WS}/images/{row}")
    assert thumb.content == open_workspace(small_root() / "street").thumbnails([row])[row]
    assert client.get(f"{WS}/images/{row}", headers={"If-None-Match": thumb.headers["etag"]}).status_code == 304
    assert client.head(f"{WS}/images/{row}").headers["content-length"] == thumb.headers["content-length"]


def test_sizes_and_parts_are_made(client: TestClient, uris: dict[int, str]) -> None:
    row = row_of(uris, "10.jpg")
    small = Image.open(io.BytesIO(client.get(f"{WS}/images/{row}?size=80").content))
    part = Image.open(io.BytesIO(client.get(f"{WS}/images/{row}?size=original&box=10,20,40,30").content))
    assert small.size == (80, 60)
    assert part.size == (40, 30)


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-5", -5, None)]
)
def test_parts_of_a_file_are_sent(client: TestClient, asked: str, start: int, stop: int | None) -> None:
    whole = client.get(f"{WS}/images/0?size=original").content
    part = client.get(f"{WS}/images/0?size=original", headers={"Range": asked})
    assert (part.status_code, part.content) == (206, whole[start:stop])
    assert part.headers["content-range"].endswith(f"/{len(whole)}")


def test_a_range_that_is_not_there_is_refused(client: TestClient) -> None:
    answer = client.get(f"{WS}/images/0?size=original", headers={"Range": "bytes=9999999-"})
    assert code(answer) == (416, "Unsatisfiable")
    other = client.get(f"{WS}/images/0?size=original", headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [("images/999", (404, "UnknownRow")), ("images/0?size=huge", (400, "BadRequest")),
    ("images/0?size=9999", (400, "BadRequest")),
     ("images/0?box=1,2", (400, "BadRequest")), ("images/0?box=1,2,nan,4", (400, "BadRequest")),
     ("images/0?box=900,900,5,5", (422, "UnreadableImage")), ("images/..%2f..%2fetc%2fpasswd", (404, "NotFound")),
     ("images/-1", (404, "UnknownRow")), ("images/x", (422, "BadRequest"))],
)  # fmt: skip
def test_pictures_that_are_not_there_are_said(client: TestClient, path: str, expected: tuple[int, str]) -> None:
    assert code(client.get(f"{WS}/{path}")) == expected


def test_the_broken_file_has_no_thumbnail_and_is_never_shown(client: TestClient, uris: dict[int, str]) -> None:
    row = row_of(uris, "broken.jpg")
    assert code(client.get(f"{WS}/images/{row}")) == (404, "NotFound")
    shown = client.get(f"{WS}/images/{row}?size=original")
    assert shown.headers["content-type"] == "application/octet-stream"
    assert shown.headers["content-disposition"] == f'attachment; filename="row-{row}"'
    assert code(client.get(f"{WS}/images/{row}?size=50")) == (422, "UnreadableImage")


def test_a_pack_holds_the_thumbnails_in_order(client: TestClient, uris: dict[int, str]) -> None:
    broken = row_of(uris, "broken.jpg")
    rows = [5, broken, 2]
    data, found = client.post(f"{WS}/images/pack", json={"rows": rows}).content, []
    while data:
        (length,) = struct.unpack("<I", data[:4])
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    assert found == [client.get(f"{WS}/images/5").content, b"", client.get(f"{WS}/images/2").content]


# -- duplicates --------------------------------------------------------------------------------------------------


def test_groups_hold_every_removed_image_once(client: TestClient) -> None:
    body = client.get(f"{WS}/duplicates").json()
    removed = [one["row"] for group in body["groups"] for one in group["removed"]]
    record = client.post(
        f"{WS}/rows/query", json={"filter": {"column": "duplicate", "in": ["near", "exact"]}, "limit": 100}
    ).json()
    assert sorted(removed) == [row["row"] for row in record["rows"]]
    assert len(removed) == body["n_removed"] >= N_COPIES
    loosest = [group["loosest"] for group in body["groups"]]
    assert loosest == sorted(loosest)
    largest = [group["size"] for group in client.get(f"{WS}/duplicates?order=largest").json()["groups"]]
    assert largest == sorted(largest, reverse=True)


def test_the_certificate_says_that_nobody_is_left_alone(client: TestClient) -> None:
    body = client.get(f"{WS}/duplicates/certificate").json()
    assert body["certificate"]["orphans"] == 0
    assert (body["keep"], body["metric"]) == ("coverage", "model")
    assert sum(body["histogram"]["counts"]) == body["histogram"]["n_near"]


def test_a_lower_threshold_removes_no_fewer(client: TestClient) -> None:
    body = client.get(f"{WS}/duplicates/counts?thresholds=0.5,0.95,0.99,1").json()
    assert body["removed"] == sorted(body["removed"], reverse=True)
    assert body["removed"][0] == client.get(f"{WS}/duplicates").json()["n_removed"]
