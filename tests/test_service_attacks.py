"""Queries that mean harm: bombs, polyglots, no images, deep and huge JSON, tricks in names and headers."""

from __future__ import annotations

import base64
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.small import small_root
from tests.test_service_uploads import jpeg, png_bomb, tiff_bomb, zipped

WS = "/v1/workspaces/street"
MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    root = tmp_path_factory.mktemp("attacks") / "served"
    shutil.copytree(small_root(), root)
    settings = Settings(root, rate=0, max_upload_bytes=MAX_BYTES, max_upload_pixels=40_000)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as found:
        yield found


def code(answer: Any) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error"}
    return answer.status_code, body["error"]["code"]


def jpeg_saying(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(jpeg())
    at = next(at for at in range(len(data)) if bytes(data[at : at + 2]) in (b"\xff\xc0", b"\xff\xc2"))
    data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def gif_of(n: int) -> bytes:
    """An animation of many large frames in few bytes."""
    out = io.BytesIO()
    frames = [Image.new("P", (190, 200), at % 2) for at in range(n)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
BAD: dict[str, tuple[bytes, tuple[int, str]]] = {
    "a PNG that says 100,000 x 100,000": (png_bomb(100_000, 100_000), (413, "TooLarge")),
    "a PNG a little over the limit": (png_bomb(201, 200), (413, "TooLarge")),
    "a JPEG that says 65,000 x 65,000": (jpeg_saying(65_000, 65_000), (413, "TooLarge")),
    "a TIFF that says 100,000 x 100,000": (tiff_bomb(), (413, "TooLarge")),
    "SVG": (SVG, (422, "UnreadableImage")),
    "SVG behind an XML head": (b'<?xml version="1.0"?>' + SVG, (422, "UnreadableImage")),
    "a zip": (zipped(), (422, "UnreadableImage")),
    "a PDF": (b"%PDF-1.7\n", (422, "UnreadableImage")),
    "a script": (b"#!/bin/sh\nid\n", (422, "UnreadableImage")),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", (422, "UnreadableImage")),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.", (422, "UnreadableImage")),
    "nothing": (b"", (422, "UnreadableImage")),
    "half a JPEG head": (jpeg()[:20], (422, "UnreadableImage")),
    "a JPEG with a zip behind it": (jpeg() + zipped(), (415, "Unsupported")),
    "a JPEG with a script in it": (jpeg() + b"<script>alert(1)</script>", (415, "Unsupported")),
    "a GIF that is markup": (gif_of(1) + b"<html>", (415, "Unsupported")),
    "a JPEG with a PDF in its head": (jpeg()[:2] + b"\xff\xfe\x00\x0b%PDF-1.7\n" + jpeg()[2:], (415, "Unsupported")),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_plain_image_is_refused_however_it_comes(client: TestClient, what: str) -> None:
    data, expected = BAD[what]
    example = {"image": base64.b64encode(data).decode()}
    sent = [("files", ("../../q.jpg", data, "image/jpeg"))]  # the name and type of a file decide nothing
    started = time.monotonic()
    answers = {
        "pasted": client.post(f"{WS}/search", json={"positives": [example]}),
        "as a negative": client.post(f"{WS}/search", json={"positives": [{"row": 0}], "negatives": [example]}),
        "in a batch": client.post(f"{WS}/search/batch", json={"searches": [{"positives": [example]}]}),
        "as a file": client.post(f"{WS}/search/upload", files=sent),
        "as a duplicate": client.post(f"{WS}/search/near-duplicates", json={"example": example}),
        "as a duplicate's file": client.post(f"{WS}/search/near-duplicates/upload", files={"file": sent[0][1]}),
        "from a clip-retrieval client": client.post("/knn-service", json={"indice_name": "street", **example}),
    }
    assert {way: code(answer) for way, answer in answers.items()} == dict.fromkeys(answers, expected)
    assert time.monotonic() - started < 10  # nothing of that size was decoded


def test_a_broken_image_behind_a_good_head_is_refused_when_it_is_decoded(client: TestClient) -> None:
    data = jpeg()
    example = {"image": base64.b64encode(data[: len(data) // 2]).decode()}
    assert code(client.post(f"{WS}/search", json={"positives": [example]})) == (422, "UnreadableImage")


def test_only_the_first_frame_of_an_animation_is_decoded(client: TestClient) -> None:
    example = {"image": base64.b64encode(gif_of(300)).decode()}
    started = time.monotonic()
    answer = client.post(f"{WS}/search", json={"positives": [example], "k": 1})
    assert len(answer.json()["hits"]) == 1
    assert time.monotonic() - started < 5


def test_files_over_the_limit_are_refused_with_and_without_a_length(client: TestClient) -> None:
    large = jpeg() + bytes(MAX_BYTES)
    for path, field in ((f"{WS}/search/upload", "files"), (f"{WS}/search/near-duplicates/upload", "file")):
        assert code(client.post(path, files={field: ("a.jpg", large)})) == (413, "TooLarge")

    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        for _ in range(50):
            yield bytes(MAX_BYTES)

    chunked = {"content-type": "multipart/form-data; boundary=x"}  # no Content-Length
    assert code(client.post(f"{WS}/search/upload", content=pieces(), headers=chunked)) == (413, "TooLarge")


def test_too_many_files_and_fields_are_refused(client: TestClient) -> None:
    many = [("files", (f"{at}.jpg", jpeg())) for at in range(17)]
    assert client.post(f"{WS}/search/upload", files=many).status_code in (413, 422)
    fields = {f"f{at}": "x" for at in range(2_000)}
    assert client.post(f"{WS}/search/upload", files=many[:1], data=fields).status_code in (400, 413)


@pytest.mark.parametrize(
    "body",
    [b"", b"--x", b"--x\r\n\r\n\r\n--x--\r\n",
     b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc\r\n--x--\r\n',
     b"--y\r\n", b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n"],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post(f"{WS}/search/upload", content=body, headers=headers).status_code in (400, 422)


# -- JSON ----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"column": "brightness", "lt": 0.5}
    for _ in range(depth):
        found = {"not": found}
    return found


ROUTES = {
    "search": lambda filter: {"positives": [{"row": 0}], "filter": filter},
    "rows/query": lambda filter: {"filter": filter}, "rows/scope": lambda filter: {"filter": filter},
    "rows/facets": lambda filter: {"columns": ["label"], "filter": filter},
    "tags/deep/rows": lambda filter: {"filter": filter},
    "campaigns": lambda filter: {"name": "deep", "filter": filter},
}  # fmt: skip


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "filter",
    [nested(17), nested(400), {"or": [{"column": "brightness", "lt": 0.5}] * 300},
     {"column": "label", "in": ["x"] * 10_001}, {"column": "label", "eq": "x" * 1_001},
     {"column": "label", "eq": {"$gt": ""}}, {"column": "label; DROP TABLE rows", "eq": 1}, {"sql": "1=1"}, {}],
    ids=["17 deep", "400 deep", "300 nodes", "10,001 values", "long text", "an operator", "SQL", "sql", "empty"],
)  # fmt: skip
def test_filters_are_bounded_wherever_they_come(client: TestClient, path: str, filter: dict[str, Any]) -> None:
    answer = client.post(f"{WS}/{path}", json=ROUTES[path](filter))
    assert code(answer) in ((400, "BadFilter"), (400, "BadQuery"), (404, "UnknownColumn")), answer.text


@pytest.mark.parametrize("path", ROUTES)
def test_deep_json_breaks_nothing(client: TestClient, path: str) -> None:
    text = json.dumps(ROUTES[path]("@")).replace('"@"', '{"not":' * 50_000 + "1" + "}" * 50_000)
    answer = client.post(f"{WS}/{path}", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ROUTES)
def test_ten_megabytes_of_filter_are_not_read(client: TestClient, path: str) -> None:
    filter = {"column": "label", "in": ["x" * 100] * 100_000}
    assert code(client.post(f"{WS}/{path}", json=ROUTES[path](filter))) == (413, "TooLarge")


@pytest.mark.parametrize(
    "text",
    ['{"positives": [{"vector": [1e999]}]}', '{"positives": [{"vector": [NaN]}]}', '{"positives": [{"row": 1e400}]}',
     '{"positives": [{"row": ' + "9" * 5_000 + "}]}", '{"positives": [{"row": 9007199254740993}]}',
     '{"positives": [{"row": 0}], "min_similarity": Infinity}',
     '{"positives": [{"row": 0, "box": [0, 0, 1e308, 1e308]}]}',
     '{"positives": [{"text": "\\ud800"}]}'],
)  # fmt: skip
def test_numbers_and_texts_that_are_none_are_refused(client: TestClient, text: str) -> None:
    answer = client.post(f"{WS}/search", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


def test_the_part_request_is_bounded_like_a_body(client: TestClient) -> None:
    files = [("files", ("q.jpg", jpeg()))]
    deep = '{"positives": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert client.post(f"{WS}/search/upload", files=files, data={"request": deep}).status_code in (400, 422)
    long = json.dumps({"positives": [{"text": "x" * 1_000_001}]})
    assert client.post(f"{WS}/search/upload", files=files, data={"request": long}).status_code in (400, 413, 422)


# -- names, addresses, headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["..", "%2e%2e", "..%2f..%2fetc", "%2fetc%2fpasswd", "..%5c..%5cwindows", "%5c%5chost%5cshare", "street%00",
     "street%2f..%2fstreet", "~root", "C:%5c", "%c0%ae%c0%ae", "street%0d%0aX-Evil:%201", "Street", "street."],
)  # fmt: skip
def test_no_spelling_of_a_workspace_leads_elsewhere(client: TestClient, place: str) -> None:
    for path in ("", "/tags", "/map", "/images/0", "/report", "/state"):
        answer = client.get(f"/v1/workspaces/{place}{path}")
        assert answer.status_code == 404, (place, path)
        assert "x-evil" not in answer.headers
        assert str(small_root()) not in answer.text
    assert client.post("/knn-service", json={"indice_name": place, "text": "x"}).status_code in (404, 422)


@pytest.mark.parametrize("name", ["a%0d%0aX-Evil:%201", "%0aX-Evil", "label%22%0d%0aX-Evil:1", "..%2fstate.db", "%00"])
def test_a_column_cannot_write_a_header_or_name_a_file(client: TestClient, name: str) -> None:
    for path in ("legend", "codes"):
        answer = client.get(f"{WS}/columns/{name}/{path}")
        assert answer.status_code == 404
        assert "x-evil" not in answer.headers


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a" * 65, "../x", "<script>"])
def test_a_request_id_that_could_write_a_header_or_a_log_line_is_replaced(client: TestClient, value: str) -> None:
    answer = client.get("/healthz", headers={b"X-Request-Id": value.encode()})
    assert answer.headers["x-request-id"] != value
    assert answer.headers["x-request-id"].isalnum()


def test_text_of_a_client_comes_back_as_json_that_runs_nowhere(client: TestClient) -> None:
    evil = "</script><script>alert(1)</script>"
    answer = client.post(f"{WS}/rows/query", json={"fields": [evil]})
    assert evil in answer.json()["error"]["message"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "BREW"])
def test_other_methods_do_nothing(client: TestClient, method: str) -> None:
    assert client.request(method, f"{WS}/tags").status_code == 405


def test_ranges_are_bounded(client: TestClient) -> None:
    whole = client.get(f"{WS}/images/0?size=original").content
    for asked in (
        "bytes=" + ",".join(["0-1"] * 2_000),
        "bytes=0-" + "9" * 4_000,
        "bytes=a-b",
        "bytes=--1",
        "lines=0-1",
    ):
        answer = client.get(f"{WS}/images/0?size=original", headers={"Range": asked})
        assert answer.status_code in (200, 206, 416)
        assert len(answer.content) <= len(whole)


def test_nothing_of_all_this_was_written(client: TestClient) -> None:
    assert client.get(f"{WS}/tags").json() == {"tags": []}
    assert client.get(f"{WS}/campaigns").json() == {"campaigns": []}
    root: Any = client.app
    folder = Path(root.state.service.settings.root) / "street"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (small_root() / "street").iterdir() if not path.name.startswith("state.db")
    )
