"""Who may do what: tokens, roles, cookies, other sites, rebound names, and heads that never end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curator.errors import UsageError
from curator.state import open_state
from service import protocol
from service.app import create_app
from service.security import csrf_of, is_known_host
from service.server import check
from service.settings import Settings
from tests.serving import serving


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def client(root: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(Settings(root, **settings)), base_url="http://127.0.0.1:8765")


@pytest.fixture
def guarded(root: Path) -> Iterator[TestClient]:
    """A server that asks for tokens."""
    with client(root, require_token=True) as found:
        yield found


def token(root: Path, role: str = "admin", name: str = "ann", expires_s: float | None = 3600) -> str:
    with open_state(root) as state:
        return str(state.tokens.create(name, role, expires_s)[1])  # type: ignore[arg-type]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def code(answer: Any) -> str:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    return str(body["error"]["code"])


# -- who asks ----------------------------------------------------------------------------------------------------


def test_on_loopback_the_person_at_the_machine_is_admin(root: Path) -> None:
    with client(root) as open_server:
        answer = open_server.get("/v1/session").json()
    assert (answer["role"], answer["via"]) == ("admin", "open")


def test_elsewhere_a_token_is_needed(guarded: TestClient) -> None:
    answer = guarded.get("/v1/workspaces")
    assert answer.status_code == 401
    assert code(answer) == "Unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_opens_the_door_and_names_its_holder(root: Path, guarded: TestClient) -> None:
    answer = guarded.get("/v1/session", headers=bearer(token(root, "reviewer")))
    assert answer.json() == {"who": "ann", "role": "reviewer", "via": "bearer", "csrf": ""}


@pytest.mark.parametrize("wrong", ["cur_x_y", "", "x" * 10_000, "cur_\u00e9"])
def test_a_wrong_token_is_refused_even_where_none_is_needed(root: Path, wrong: str) -> None:
    with client(root) as open_server:
        answer = open_server.get("/v1/workspaces", headers=[(b"authorization", f"Bearer {wrong}".encode())])
    assert answer.status_code == 401


def test_a_revoked_or_expired_token_is_no_token(root: Path, guarded: TestClient) -> None:
    secret, short = token(root), token(root, name="bob", expires_s=0.05)
    assert guarded.get("/v1/workspaces", headers=bearer(secret)).status_code == 200
    with open_state(root) as state:
        state.tokens.revoke("ann")
    assert guarded.get("/v1/workspaces", headers=bearer(secret)).status_code == 401
    time.sleep(0.1)
    assert guarded.get("/v1/workspaces", headers=bearer(short)).status_code == 401


def test_the_secret_is_nowhere_on_the_disk(root: Path, guarded: TestClient) -> None:
    secret = token(root)
    guarded.get("/v1/session", headers=bearer(secret))
    stored = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert stored
    assert secret.encode() not in stored
    assert secret[-20:].encode() not in stored


@pytest.mark.parametrize(("role", "status"), [("reader", 403), ("reviewer", 403), ("admin", 201)])
def test_a_role_may_do_what_it_may(root: Path, guarded: TestClient, role: str, status: int) -> None:
    answer = guarded.post("/v1/workspaces", json={"name": "made"}, headers=bearer(token(root, role)))
    assert answer.status_code == status


def test_guessing_tokens_is_slow(root: Path, guarded: TestClient) -> None:
    answers = [guarded.get("/v1/session", headers=bearer(f"cur_guess{i}")).status_code for i in range(40)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert guarded.get("/v1/session", headers=bearer(token(root))).status_code == 200  # the holder still gets in


def test_the_rate_of_one_token_is_bounded(root: Path) -> None:
    with client(root, require_token=True, rate=1.0, burst=3) as slow:
        secret = token(root)
        answers = [slow.get("/v1/session", headers=bearer(secret)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_server_that_others_reach_does_not_start_without_a_token(root: Path) -> None:
    with pytest.raises(UsageError, match="there is no token; make one first: `curator token create"):
        check(Settings(root, host="0.0.0.0"))
    token(root)
    check(Settings(root, host="0.0.0.0"))


def test_an_expired_token_does_not_count(root: Path) -> None:
    token(root, expires_s=0.01)
    time.sleep(0.05)
    with pytest.raises(UsageError, match="there is no token"):
        check(Settings(root, host="0.0.0.0"))


# -- the page's session ------------------------------------------------------------------------------------------


def test_signing_in_sets_a_cookie_that_scripts_cannot_read(root: Path, guarded: TestClient) -> None:
    answer = guarded.post("/v1/session", json={"token": token(root)})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert guarded.get("/v1/session").json()["via"] == "cookie"
    assert guarded.delete("/v1/session", headers={"x-curator-csrf": answer.json()["csrf"]}).status_code == 204
    assert guarded.get("/v1/session").status_code == 401


def test_signing_in_with_a_wrong_token_sets_nothing(guarded: TestClient) -> None:
    answer = guarded.post("/v1/session", json={"token": "cur_wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_behind_tls_the_cookie_never_travels_in_the_clear(root: Path) -> None:
    with client(root, require_token=True, secure_cookies=True) as found:
        answer = found.post("/v1/session", json={"token": token(root)})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_cookie_alone_changes_nothing(root: Path, guarded: TestClient) -> None:
    csrf = guarded.post("/v1/session", json={"token": token(root)}).json()["csrf"]
    refused = guarded.post("/v1/workspaces", json={"name": "made"})
    assert (refused.status_code, code(refused)) == (403, "Forbidden")
    wrong = guarded.post("/v1/workspaces", json={"name": "made"}, headers={"x-curator-csrf": csrf_of("other")})
    assert wrong.status_code == 403
    assert guarded.post("/v1/workspaces", json={"name": "made"}, headers={"x-curator-csrf": csrf}).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example.org"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Origin": "http://127.0.0.1:9999"}],
)  # fmt: skip
def test_a_page_of_another_site_changes_nothing_on_an_open_server(root: Path, headers: dict[str, str]) -> None:
    with client(root) as open_server:
        answer = open_server.post("/v1/workspaces", json={"name": "made"}, headers=headers)
        assert (answer.status_code, code(answer)) == (403, "Forbidden")
        own = {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}
        assert open_server.post("/v1/workspaces", json={"name": "made"}, headers=own).status_code == 201


def test_other_sites_may_call_only_where_configured(root: Path) -> None:
    site = "https://labels.example.org"
    ask = {"Origin": site, "Access-Control-Request-Method": "POST"}
    with client(root) as closed:
        assert "access-control-allow-origin" not in closed.options("/v1/workspaces", headers=ask).headers
        assert "access-control-allow-origin" not in closed.get("/v1/workspaces", headers={"Origin": site}).headers
    with client(root, origins=(site,)) as configured:
        assert configured.options("/v1/workspaces", headers=ask).headers["access-control-allow-origin"] == site
        other = configured.get("/v1/workspaces", headers={"Origin": "https://evil.example.org"})
        assert "access-control-allow-origin" not in other.headers


# -- names and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1.evil.example.org", "localhost.evil.example.org", ""])
def test_a_rebound_name_is_not_answered(root: Path, host: str) -> None:
    with client(root) as open_server:
        answer = open_server.get("/v1/workspaces", headers={"Host": host})
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "LOCALHOST"])
def test_our_own_names_are_answered(root: Path, host: str) -> None:
    assert is_known_host(host, Settings(root))


def test_allowed_names_are_answered(root: Path) -> None:
    settings = Settings(root, host="0.0.0.0", allow_hosts=("Curator.lan",))
    assert is_known_host("curator.lan:80", settings)
    assert not is_known_host("evil.example.org", settings)
    assert is_known_host("any.example.org", Settings(root, host="0.0.0.0"))  # tokens protect there


def test_every_answer_carries_its_id_and_the_headers_that_hold_browsers_back(root: Path) -> None:
    with client(root) as open_server:
        for path in ("/healthz", "/v1/workspaces", "/v1/nothing"):
            answer = open_server.get(path, headers={"X-Request-Id": "abc-1"})
            assert answer.headers["x-request-id"] == "abc-1"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "content-security-policy" in answer.headers
        made = open_server.get("/healthz", headers={"X-Request-Id": "a b\tc"}).headers["x-request-id"]
    assert len(made) == 16


def test_unknown_routes_and_methods_have_the_one_error_shape(root: Path) -> None:
    with client(root) as open_server:
        assert code(open_server.get("/v1/nothing")) == "NotFound"
        assert code(open_server.delete("/healthz")) == "MethodNotAllowed"
        assert code(open_server.post("/v1/workspaces", json={"nam": 1})) == "BadRequest"
        assert (
            code(open_server.post("/v1/workspaces", content=b"{", headers={"content-type": "application/json"}))
            == "BadRequest"
        )


def test_an_error_nobody_foresaw_tells_the_client_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: object) -> list[str]:
        raise ZeroDivisionError("the secret of /root/x")

    with client(root) as open_server, caplog.at_level(logging.ERROR):
        monkeypatch.setattr("service.registry.Registry.names", broken)
        answer = open_server.get("/v1/workspaces", headers={"X-Request-Id": "find-me"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "find-me" in answer.json()["error"]["hint"]
    assert "the secret" in caplog.text


def test_deep_and_large_json_is_refused(root: Path) -> None:
    sent = {"content-type": "application/json"}
    with client(root) as open_server:
        assert open_server.post("/v1/workspaces", content=b"[" * 100_000, headers=sent).status_code in (400, 422)
        large = json.dumps({"name": "x" * 10_000_000}).encode()
        assert open_server.post("/v1/workspaces", content=large, headers=sent).status_code == 413
        pieces = (b"x" * 1_000_000 for _ in range(10))  # no Content-Length
        assert open_server.post("/v1/workspaces", content=pieces, headers=sent).status_code == 413


def test_a_content_length_that_is_no_number_is_refused(root: Path) -> None:
    with client(root) as open_server:
        answer = open_server.post(
            "/v1/workspaces", headers={"content-length": "-1", "content-type": "application/json"}
        )
    assert answer.status_code == 413


def test_access_lines_are_json_and_hold_no_secret(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = token(root)
    with client(root, require_token=True) as found, caplog.at_level(logging.INFO, logger="curator.access"):
        found.get("/v1/session", headers=bearer(secret))
    line = json.loads(caplog.records[-1].message)
    assert (line["who"], line["route"], line["status"]) == ("ann", "/v1/session", 200)
    assert secret not in caplog.text


# -- connections -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_heads_that_dawdle_or_never_end_are_cut_off(root: Path) -> None:
    with serving(root, "--limit", "head_s=1") as server:
        with server.connect() as silent, server.connect() as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ")
            started = time.monotonic()
            assert silent.recv(100) == b""
            assert slow.recv(100) == b""
            assert time.monotonic() - started < 20
        with server.connect() as endless:
            endless.sendall(b"GET /healthz HTTP/1.1\r\n" + b"X-A: " + b"a" * (2 * protocol.MAX_HEAD_BYTES))
            assert b" 431 " in endless.recv(1000)
        with server.connect() as good:
            good.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b" 200 " in good.recv(1000)


@pytest.mark.slow
def test_many_dawdling_clients_do_not_keep_others_out(root: Path) -> None:
    with serving(root) as server:
        dawdling = [server.connect() for _ in range(200)]
        try:
            for connection in dawdling:
                connection.sendall(b"POST /v1/workspaces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n")
            with server.connect() as good:
                good.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert b" 200 " in good.recv(1000)
        finally:
            for connection in dawdling:
                connection.close()


@pytest.mark.slow
def test_a_taken_port_and_an_unknown_address_are_said_by_their_cause(root: Path) -> None:
    with serving(root) as server, pytest.raises(RuntimeError, match="cannot listen on 127.0.0.1 port"):  # noqa: SIM117
        with serving(root, "--port", str(server.port)):
            pass
    token(root)
    with pytest.raises(RuntimeError, match="is no address of this machine"), serving(root, "--host", "no.such.invalid"):
        pass
