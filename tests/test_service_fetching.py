"""URLs in queries: fetched only when allowed, only from public addresses, within bounds; with a fake resolver."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from curator.searching import open_served
from curator.workspace import open_workspace
from service.app import create_app
from service.fetching import MAX_URL, Fetcher, checked, connected, is_public, resolved
from service.problems import BadRequest, CannotFetch, Forbidden, Problem, TooLarge
from service.settings import Settings
from tests.small import small_root

PUBLIC = "93.184.215.14"


def picture_bytes() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


def reply(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer as it goes over the wire."""
    told = {"content_type": "image/png", "content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


class Web:
    """A server on this machine that stands for every public address, and the resolver that leads there."""

    def __init__(self, names: dict[str, list[list[str]]], pages: dict[str, Callable[[socket.socket], None] | bytes]):
        self.names, self.pages = names, pages
        self.asked: list[str] = []  # "host address path", as the server saw them
        self._dialled: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def resolve(self, host: str, port: int) -> list[str]:
        """The next answer for this name; the last one stays."""
        if host not in self.names:
            raise socket.gaierror("no such name")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        """Whatever address is dialled, this machine answers, and it is noted."""
        self._dialled.append(address)
        return connected("127.0.0.1", self._listener.getsockname()[1], timeout_s)

    def close(self) -> None:
        """Stop answering."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue  # the other side gave up

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(4096)):
            head += piece
            if head[0] == 0x16:  # the first byte of TLS, which is not spoken here
                connection.sendall(b"this is no TLS")
                return
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        host = next(line.partition(": ")[2] for line in lines if line.lower().startswith("host: "))
        self.asked.append(f"{host} {self._dialled[-1]} {path}")
        page = self.pages[path]
        connection.sendall(page) if isinstance(page, bytes) else page(connection)


@contextmanager
def web(
    pages: dict[str, Callable[[socket.socket], None] | bytes], names: dict[str, list[list[str]]] | None = None
) -> Iterator[Web]:
    found = Web(names or {"pictures.example.org": [[PUBLIC]]}, pages)
    try:
        yield found
    finally:
        found.close()


def fetcher(of: Web, **changes: Any) -> Fetcher:
    return replace(Fetcher(1_000_000, timeout_s=5.0, resolve=of.resolve, connect=of.connect), **changes)


# -- what is fetched -----------------------------------------------------------------------------------------------


def test_an_image_is_read_from_the_address_that_was_checked() -> None:
    data = picture_bytes()
    with web({"/a.png?size=2": reply(data)}) as found:
        assert fetcher(found)("http://pictures.example.org/a.png?size=2") == data
        assert found.asked == [f"pictures.example.org {PUBLIC} /a.png?size=2"]


def test_an_image_without_a_length_is_read_to_its_end() -> None:
    data = picture_bytes()
    with web({"/a": reply(data, content_length="", content_type="application/octet-stream")}) as found:
        assert fetcher(found)("http://pictures.example.org/a") == data


def test_redirects_are_followed_and_each_name_is_resolved_and_checked() -> None:
    data = picture_bytes()
    pages: Any = {
        "/a": reply(status="302 Found", location="/b"),
        "/b": reply(status="307 Temporary Redirect", location="http://other.example.org/c"), "/c": reply(data),
    }  # fmt: skip
    names = {"pictures.example.org": [[PUBLIC]], "other.example.org": [["8.8.8.8"]]}
    with web(pages, names) as found:
        assert fetcher(found)("http://pictures.example.org/a") == data
        assert [line.split(" ")[1] for line in found.asked] == [PUBLIC, PUBLIC, "8.8.8.8"]


# -- what is not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
     "fec0::1", "ff02::1", "ff0e::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
     "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2001:0:7f00:1::", "2001:db8::1", "no address", ""],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_before_it_is_dialled(address: str) -> None:
    with web({"/": reply()}, {"inside.example.org": [[address]]}) as found:
        with pytest.raises(Forbidden, match="'inside.example.org' leads to an address that is not public"):
            fetcher(found)("http://inside.example.org/")
        assert found.asked == []


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_dialled(address: str) -> None:
    assert is_public(address)


@given(
    st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fc00::/7") | st.ip_addresses(network="127.0.0.0/8")
)
def test_no_spelling_of_a_private_address_is_public(address: Any) -> None:
    assert not is_public(str(address))
    assert not is_public(address.exploded)
    if address.version == 4:
        assert not is_public(f"::ffff:{address}")


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with web({"/": reply()}, {"both.example.org": [[PUBLIC, "10.0.0.1"]]}) as found, pytest.raises(Forbidden):
        fetcher(found)("http://both.example.org/")


def test_a_name_that_is_rebound_after_the_check_is_not_looked_up_again() -> None:
    data = picture_bytes()
    with web({"/": reply(data)}, {"rebound.example.org": [[PUBLIC], ["127.0.0.1"]]}) as found:
        assert fetcher(found)("http://rebound.example.org/") == data  # the second answer was never asked for
        assert found.asked == [f"rebound.example.org {PUBLIC} /"]
        with pytest.raises(Forbidden):
            fetcher(found)("http://rebound.example.org/")


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/", "http://[::1]/", "http://inside.example.org/", "//inside.example.org/x"]
)
def test_a_redirect_to_an_inner_address_is_refused(location: str) -> None:
    names = {"pictures.example.org": [[PUBLIC]], "inside.example.org": [["192.168.0.1"]],
             "127.0.0.1": [["127.0.0.1"]], "::1": [["::1"]]}  # fmt: skip
    with web({"/": reply(status="302 Found", location=location)}, names) as found:
        with pytest.raises(Forbidden, match="not public"):
            fetcher(found)("http://pictures.example.org/")
        assert len(found.asked) == 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://x/", "http://u:p@example.org/", "http://example.org:22/"]
)
def test_a_redirect_to_another_kind_of_url_is_refused(location: str) -> None:
    with web({"/": reply(status="301 Moved", location=location)}) as found, pytest.raises(BadRequest):
        fetcher(found)("http://pictures.example.org/")


def test_redirects_without_end_are_given_up() -> None:
    with web({"/": reply(status="302 Found", location="/")}) as found:
        with pytest.raises(CannotFetch, match="more than 3 redirects"):
            fetcher(found)("http://pictures.example.org/")
        assert len(found.asked) == 4


@pytest.mark.parametrize(
    ("url", "said"),
    [("ftp://example.org/a", "expected http:// or https://"), ("file:///etc/passwd", "expected http"),
     ("http:///a", "expected http"), ("//example.org/a", "expected http"),
     ("data:image/png;base64,AAAA", "expected http"),
     ("http://user:secret@example.org/", "leave them out"), ("http://example.org@127.0.0.1/", "leave them out"),
     ("http://example.org:8080/", "only 80 for http"), ("https://example.org:80/", "only 80 for http"),
     ("http://example.org:0x50/", "expected http:// or https:// and a host"), ("http://[::1/", "and a host"),
     ("http://example.org/a b", "percent-encoded"), ("http://example.org/\r\nHost: inside", "percent-encoded"),
     ("http://exa\u3002mple.org/", "percent-encoded"), ("http://example.org\\@inside/", "percent-encoded"),
     ("http://example.org/" + "a" * MAX_URL, "at most 2000 characters"), ("", "expected http")],
)  # fmt: skip
def test_urls_of_another_kind_are_refused(url: str, said: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        checked(url)
    assert said in refusal.value.hint
    assert "secret" not in str(refusal.value.detail)


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "localhost"])
def test_odd_spellings_of_this_machine_are_seen_through(host: str) -> None:
    def never(address: str, port: int, timeout_s: float) -> socket.socket:
        raise AssertionError(f"{address} was dialled")

    try:
        resolved(host, 80)
    except OSError:
        pytest.skip(f"this system's resolver knows no {host!r}")
    with pytest.raises(Forbidden):
        Fetcher(1_000, resolve=resolved, connect=never)(f"http://{host}/")


@pytest.mark.parametrize(
    ("page", "problem", "said"),
    [(reply(b"x", status="404 Not Found"), CannotFetch, "answers with status 404"),
     (reply(b"x", status="302 Found"), CannotFetch, "answers with status 302"),
     (reply(b"<html>", content_type="text/html; charset=utf-8"), CannotFetch, "answers with 'text/html', no image"),
     (reply(b"<svg/>", content_type="image/svg+xml"), CannotFetch, "no image"),
     (reply(b"x", content_type=""), CannotFetch, "no image"),
     (reply(b"x", content_encoding="gzip"), CannotFetch, "packed bytes"),
     (reply(b"x", content_length="1000001"), TooLarge, "over 1000000 bytes"),
     (reply(b"x" * 1_000_001, content_length=""), TooLarge, "over 1000000 bytes"),
     (reply(b"x", content_length="100"), CannotFetch, "cannot be read (IncompleteRead)"),
     (b"nonsense\r\n\r\n", CannotFetch, "cannot be read (BadStatusLine)"),
     (b"", CannotFetch, "cannot be read (RemoteDisconnected)"),
     (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", CannotFetch, "cannot be read (HTTPException)"),
     (b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n", CannotFetch, "cannot be read (LineTooLong)")],
)  # fmt: skip
def test_answers_that_are_no_image_are_refused(page: bytes, problem: type[Problem], said: str) -> None:
    with web({"/": page}) as found, pytest.raises(problem) as refusal:
        fetcher(found)("http://pictures.example.org/")
    assert said in str(refusal.value.detail)


def drip(connection: socket.socket) -> None:
    """A byte at a time, for ever: no single read waits long."""
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 100000\r\n\r\n")
    drip(connection)


def hang(connection: socket.socket) -> None:
    time.sleep(1.5)


@pytest.mark.parametrize("page", [drip, drip_body, hang])
def test_a_server_that_dawdles_is_cut_off_at_the_deadline(page: Callable[[socket.socket], None]) -> None:
    with web({"/": page}) as found:
        started = time.monotonic()
        with pytest.raises(CannotFetch, match=r"does not answer within 0\.4 s"):
            fetcher(found, timeout_s=0.4)("http://pictures.example.org/")
        assert time.monotonic() - started < 1.4


def test_a_name_that_is_not_there_is_said() -> None:
    with web({}) as found, pytest.raises(CannotFetch, match="no address for 'nowhere.example.org'"):
        fetcher(found)("http://nowhere.example.org/")
    with web({}, {"empty.example.org": [[]]}) as found, pytest.raises(CannotFetch, match="no address"):
        fetcher(found)("http://empty.example.org/")


def test_https_wants_a_certificate_that_is_the_hosts() -> None:
    with web({"/": reply()}) as found, pytest.raises(CannotFetch, match="cannot be read"):
        fetcher(found)("https://pictures.example.org/")  # this server speaks no TLS
    tls = Fetcher(1).tls
    assert tls.check_hostname
    assert tls.verify_mode == ssl.CERT_REQUIRED


# -- through the service -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(small_root())), base_url="http://127.0.0.1") as found:
        yield found


def fetching(client: TestClient, fetch: Callable[[str], bytes] | None) -> None:
    app: Any = client.app
    app.state.service = replace(app.state.service, fetch=fetch)


def uri_of(row: int) -> str:
    return str(open_served(open_workspace(small_root() / "street")).columns.take([row], ["uri"])[0]["uri"])


def test_a_search_by_url_is_a_search_by_its_bytes(client: TestClient) -> None:
    fetching(client, lambda url: Path(uri_of(4)).read_bytes())
    asked = {"positives": [{"url": "https://pictures.example.org/4.jpg"}], "k": 1}
    body = client.post("/v1/workspaces/street/search", json=asked).json()
    assert body["hits"][0]["row"] == 4
    found = client.post(
        "/v1/workspaces/street/search/near-duplicates",
        json={"example": asked["positives"][0]},  # type: ignore[index]
    ).json()
    assert (found["verdict"], found["matches"][0]["row"]) == ("already", 4)


def test_what_a_url_gives_is_checked_like_an_upload(client: TestClient) -> None:
    asked = {"positives": [{"url": "https://pictures.example.org/a"}]}
    fetching(client, lambda url: b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert client.post("/v1/workspaces/street/search", json=asked).json()["error"]["code"] == "UnreadableImage"
    fetching(client, lambda url: picture_bytes() + b"<script>")
    assert client.post("/v1/workspaces/street/search", json=asked).json()["error"]["code"] == "Unsupported"


def test_few_urls_go_into_one_request(client: TestClient) -> None:
    fetching(client, lambda url: picture_bytes())
    asked = {"positives": [{"url": f"https://pictures.example.org/{at}"} for at in range(9)]}
    answer = client.post("/v1/workspaces/street/search", json=asked)
    assert (answer.status_code, answer.json()["error"]["message"]) == (413, "more than 8 URLs in one request")


def test_no_url_is_fetched_unless_the_server_was_started_so(client: TestClient) -> None:
    fetching(client, None)
    asked = {"positives": [{"url": "https://pictures.example.org/4.jpg"}]}
    answer = client.post("/v1/workspaces/street/search", json=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Forbidden")
    assert "--fetch-urls" in answer.json()["error"]["hint"]


def test_the_setting_brings_a_fetcher_with_the_limits_of_uploads() -> None:
    with TestClient(create_app(Settings(small_root(), fetch_urls=True)), base_url="http://127.0.0.1") as allowed:
        app: Any = allowed.app
        assert app.state.service.fetch == replace(
            Fetcher(Settings(small_root()).max_upload_bytes), tls=app.state.service.fetch.tls
        )
        asked = {"positives": [{"url": "http://127.0.0.1/latest/meta-data"}]}
        answer = allowed.post("/v1/workspaces/street/search", json=asked)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Forbidden")
