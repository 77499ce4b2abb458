"""Uploads: whole or not at all, safe names, only images that are nothing else, bounded before anything is decoded."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from curator.state import open_state
from curator.workspace import create_workspace
from service import uploads
from service.app import create_app
from service.problems import BadRequest, TooLarge, Unsupported
from service.settings import Settings
from service.uploads import Receiver, check_image, safe_name, unique
from tests.conftest import picture
from tests.small import small_root

WS = "/v1/workspaces/street"
LIMITS = {"max_upload_bytes": 200_000, "max_batch_bytes": 600_000, "max_upload_pixels": 40_000, "max_upload_images": 4}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(small_root() / "street", tmp_path / "served" / "street")
    return tmp_path / "served"


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    found = TestClient(create_app(Settings(root, rate=0, **LIMITS)), base_url="http://127.0.0.1")  # type: ignore[arg-type]
    yield found


def jpeg(seed: int = 0, *, size: tuple[int, int] = (96, 64)) -> bytes:
    out = io.BytesIO()
    picture(np.random.default_rng(seed), width=size[0], height=size[1]).save(out, "JPEG", quality=80)
    return out.getvalue()


def send(client: TestClient, *files: tuple[str, bytes], field: str = "files") -> Any:
    return client.post(f"{WS}/uploads", files=[(field, (name, data, "image/jpeg")) for name, data in files])


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def left(root: Path) -> list[str]:
    """Whatever lies in the folder of uploads."""
    folder = root / "street" / "uploads"
    return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (4, 4)).save(out, "TIFF")
    data = bytearray(out.getvalue())
    for tag in (256, 257):  # width and height, as the directory says them
        at = data.find(struct.pack("<H", tag), struct.unpack("<I", data[4:8])[0])
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 100_000)
    return bytes(data)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("evil.txt", "x")
    return out.getvalue()


# -- what is kept ------------------------------------------------------------------------------------------------


def test_images_are_kept_under_their_names(client: TestClient, root: Path) -> None:
    answer = send(client, ("a.jpg", jpeg(1)), ("café.jpg", jpeg(2)))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert [(file["name"], file["format"], file["width"], file["height"]) for file in body["files"]] == [
        ("a.jpg", "JPEG", 96, 64), ("café.jpg", "JPEG", 96, 64),
    ]  # fmt: skip
    folder = root / "street" / "uploads" / body["upload"]
    assert (folder / "a.jpg").read_bytes() == jpeg(1)
    assert left(root) == [body["upload"]]
    listed = client.get(f"{WS}/uploads").json()["uploads"]
    assert [(one["upload"], one["n_files"], one["bytes"]) for one in listed] == [(body["upload"], 2, body["bytes"])]


def test_equal_names_are_told_apart(client: TestClient) -> None:
    body = send(client, ("a.jpg", jpeg(1)), ("A.jpg", jpeg(2)), ("a.jpg", jpeg(3))).json()
    assert [file["name"] for file in body["files"]] == ["a.jpg", "A_2.jpg", "a_3.jpg"]


def test_an_upload_is_ingested_by_its_id_and_can_be_removed(root: Path) -> None:
    with TestClient(create_app(Settings(root, rate=0)), base_url="http://127.0.0.1") as client:
        upload = send(client, ("new.jpg", jpeg(7))).json()["upload"]
        job = client.post(f"{WS}/jobs?wait=30", json={"kind": "ingest", "params": {"upload": upload}}).json()
        while job["finished"] is None:
            job = client.get(f"/v1/jobs/{job['id']}?wait=30").json()
        assert job["state"] == "done", job
        assert job["result"]["counts"]["n_new"] == 1
        assert client.delete(f"{WS}/uploads/{upload}").status_code == 204
        assert code(client.delete(f"{WS}/uploads/{upload}")) == (404, "NotFound")
        assert left(root) == []


# -- what is refused ------------------------------------------------------------------------------------------------

JPEG = jpeg()
NAMES = ["../a.jpg", "/etc/a.jpg", "a/b.jpg", "a\\b.jpg", ".hidden.jpg", "-rf.jpg", "~a.jpg", "c:a.jpg",
         "a\u202egpj.jpg", "a\u200b.jpg", " a.jpg"]  # fmt: skip
BAD: list[tuple[str, bytes, tuple[int, str]]] = [
    ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", (415, "Unsupported")),
    ("a.jpg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", (415, "Unsupported")),
    ("a.html", JPEG, (415, "Unsupported")),
    ("a.jpg.php", JPEG, (415, "Unsupported")),
    ("a", JPEG, (415, "Unsupported")),
    ("a.jpg", b"", (415, "Unsupported")),
    ("a.jpg", b"#!/bin/sh\n", (415, "Unsupported")),
    ("a.jpg", zipped(), (415, "Unsupported")),
    ("a.jpg", JPEG + zipped(), (415, "Unsupported")),
    ("a.jpg", JPEG + b"<script>alert(1)</script>", (415, "Unsupported")),
    ("a.gif", b"GIF89a/*\x01\x00\x01\x00*/=1;<SCRIPT>x</script>" + bytes(100), (415, "Unsupported")),
    ("a.jpg", JPEG[:20] + b"%PDF-1.7\n" + JPEG[20:], (415, "Unsupported")),
    ("a.png", png_bomb(60_000, 60_000), (413, "TooLarge")),
    ("a.png", png_bomb(201, 200), (413, "TooLarge")),
    ("a.tif", tiff_bomb(), (413, "TooLarge")),
    ("a.jpg", jpeg(size=(400, 400)), (413, "TooLarge")),
    ("a.jpg", JPEG + bytes(200_000), (413, "TooLarge")),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_leads_elsewhere_or_hides_something_is_refused(client: TestClient, root: Path, name: str) -> None:
    assert code(send(client, ("good.jpg", JPEG), (name, JPEG))) == (400, "BadRequest")
    assert left(root) == []


@pytest.mark.parametrize(("name", "data", "expected"), BAD, ids=[f"{at}-{name}" for at, (name, _, _) in enumerate(BAD)])
def test_what_is_no_plain_image_is_refused_and_nothing_is_kept(
    client: TestClient, root: Path, name: str, data: bytes, expected: tuple[int, str]
) -> None:
    assert code(send(client, ("good.jpg", JPEG), (name, data))) == expected
    assert left(root) == []


def test_too_many_images_or_bytes_are_refused(client: TestClient, root: Path) -> None:
    answer = send(client, *((f"{at}.jpg", JPEG) for at in range(5)))
    assert code(answer) == (413, "TooLarge")
    assert "more than 4 images" in answer.json()["error"]["message"]
    large = JPEG + bytes(190_000)
    assert code(send(client, *((f"{at}.jpg", large) for at in range(4)))) == (413, "TooLarge")
    assert left(root) == []


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [(b"{}", "application/json", (415, "Unsupported")), (b"x", "multipart/form-data", (415, "Unsupported")),
     (b"x", "multipart/form-data; boundary=b", (400, "BadRequest")),
     (b"--b--\r\n", "multipart/form-data; boundary=b", (400, "BadRequest")),
     (b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + JPEG,
      "multipart/form-data; boundary=b", (400, "BadRequest")),
     (b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n', "multipart/form-data; boundary=b",
      (400, "BadRequest")),
     (b"--b\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b",
      (400, "BadRequest"))],
)  # fmt: skip
def test_a_body_that_is_no_form_of_files_is_refused(
    client: TestClient, root: Path, content: bytes, kind: str, expected: tuple[int, str]
) -> None:
    answer = client.post(f"{WS}/uploads", content=content, headers={"content-type": kind})
    assert code(answer) == expected, answer.text
    assert left(root) == []


def test_an_upload_needs_an_admin_and_a_workspace(root: Path, client: TestClient) -> None:
    assert code(client.post("/v1/workspaces/nothing/uploads", files=[("files", ("a.jpg", JPEG))])) == (404, "NotFound")
    with open_state(root) as state:
        secret = state.tokens.create("ann", "reviewer", expires_s=600)[1]
    guarded = TestClient(create_app(Settings(root, require_token=True)), base_url="http://127.0.0.1")
    headers = {"authorization": f"Bearer {secret}"}
    for method, path in (("POST", f"{WS}/uploads"), ("DELETE", f"{WS}/uploads/{'0' * 16}")):
        assert code(guarded.request(method, path, headers=headers)) == (403, "Forbidden")
        assert code(guarded.request(method, path)) == (401, "Unauthorized")
    assert guarded.get(f"{WS}/uploads", headers=headers).json() == {"uploads": []}


# -- pieces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bytes", [1, 7, 1000])
def test_a_body_may_come_in_pieces_of_any_size(tmp_path: Path, n_bytes: int) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + JPEG + b"\r\n--b--\r\n"
    with Receiver(tmp_path, Settings(tmp_path), "multipart/form-data; boundary=b") as receiver:
        for at in range(0, len(body), n_bytes):
            receiver.write(body[at : at + n_bytes])
        upload = receiver.finish()
    assert (tmp_path / upload.id / "a.jpg").read_bytes() == JPEG


def test_what_a_dead_process_left_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead = tmp_path / f".{'a' * 16}.{2**22 + 1}-1.part"
    other = tmp_path / ".nonsense.part"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"half")
    with Receiver(tmp_path, Settings(tmp_path), "multipart/form-data; boundary=b"):
        assert uploads.sweep([tmp_path, tmp_path / "nothing"]) == 2
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_names_are_normalised_and_bounded() -> None:
    assert safe_name("cafe\u0301.jpg") == "café.jpg"
    with pytest.raises(BadRequest, match="a file name has 304 bytes"):
        safe_name("x" * 300 + ".jpg")
    with pytest.raises(BadRequest, match="holds characters that cannot be seen"):
        safe_name("a\x07.jpg")
    taken: set[str] = set()
    assert [unique(name, taken) for name in ("a.jpg", "a_2.jpg", "A.JPG")] == ["a.jpg", "a_2.jpg", "A_3.JPG"]


def test_what_a_check_says() -> None:
    with pytest.raises(Unsupported, match="a.jpg is an image and also a zip archive"):
        check_image("a.jpg", JPEG + zipped(), max_pixels=10**6)
    with pytest.raises(TooLarge, match="a.png has 60000 x 60000 pixels"):
        check_image("a.png", png_bomb(60_000, 60_000), max_pixels=10**6)
    assert check_image("a.jpg", JPEG, max_pixels=10**6) == ("JPEG", 96, 64)


def test_a_workspace_whose_folders_were_made_first_can_still_be_made(tmp_path: Path) -> None:
    (tmp_path / "w" / "uploads").mkdir(parents=True)
    assert create_workspace(tmp_path / "w").n_rows == 0
