"""Read an image from a URL that a client named, without becoming the client's way into other networks.

A name is resolved once and the connection goes to that very address, so a name
that changes its address between check and use (DNS rebinding) gains nothing.
Every address that is not public is refused, every redirect is checked like the
first URL, and bytes, time and type are bounded. Proxies of the environment are
not used. Only a server started with `fetch_urls` comes here.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from curator.version import __version__
from service.problems import BadRequest, CannotFetch, Forbidden, TooLarge

MAX_URL = 2_000
MAX_REDIRECTS = 3
PORTS = {"http": 80, "https": 443}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PIECE = 1 << 16
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Public by the registry, yet each leads to an IPv4 address written inside: 6to4, Teredo, NAT64, IPv4-compatible
TUNNELS = tuple(
    ipaddress.ip_network(net) for net in ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48", "::/96")
)

Resolve = Callable[[str, int], list[str]]
Connect = Callable[[str, int, float], socket.socket]


def resolved(host: str, port: int) -> list[str]:
    """Addresses of a name, as the system's resolver gives them."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connected(address: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to an address; names are not looked up again."""
    return socket.create_connection((address, port), timeout=timeout_s)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Reads images from public addresses; resolver and connection are seams for tests."""

    max_bytes: int
    timeout_s: float = 10.0  # for everything together: names, redirects, bytes
    resolve: Resolve = resolved
    connect: Connect = connected
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def __call__(self, url: str) -> bytes:
        """Bytes behind a URL.

        Raises:
            BadRequest: it is no http or https URL of a plain kind.
            Forbidden: it leads to an address that is not public.
            CannotFetch: it does not answer with an image in time.
            TooLarge: the file is larger than `max_bytes`.
        """
        deadline = time.monotonic() + self.timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            parts = checked(url)
            data, location = self._once(parts, deadline)
            if location is None:
                return data
            if parts.scheme == "https" and urlsplit(urljoin(url, location)).scheme == "http":
                raise CannotFetch(
                    f"{parts.hostname} redirects from https to http", "name an address that stays in https"
                )
            url = urljoin(url, location)
        raise CannotFetch(f"more than {MAX_REDIRECTS} redirects", "name the address of the image itself")

    def _once(self, parts: SplitResult, deadline: float) -> tuple[bytes, str | None]:
        """Bytes of the answer, or where it redirects to."""
        host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
        address = self._public_address(host, port)
        try:
            with self._connection(parts.scheme, host, address, port, deadline) as connection:
                target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                connection.request("GET", target, headers={
                    "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close",
                    "User-Agent": f"curator/{__version__}",
                })  # fmt: skip
                with closing(connection.getresponse()) as answer:
                    if answer.status in REDIRECTS and (location := answer.getheader("location")):
                        return b"", location
                    return self._body(host, answer, deadline), None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a socket closed by the watchdog
            late = time.monotonic() >= deadline
            why = f"does not answer within {self.timeout_s:g} s" if late else f"cannot be read ({type(error).__name__})"
            raise CannotFetch(f"{host} {why}", "download the image and send it as a file") from error

    def _public_address(self, host: str, port: int) -> str:
        """The address to connect to.

        Raises:
            Forbidden: any of the name's addresses is not public; one alone would be a door by chance.
        """
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise CannotFetch(f"no address for {host[:80]!r}", "check the URL") from error
        if not found:
            raise CannotFetch(f"no address for {host[:80]!r}", "check the URL")
        if not all(is_public(address) for address in found):
            raise Forbidden(
                f"{host[:80]!r} leads to an address that is not public", "only public addresses are fetched"
            )
        return found[0]

    @contextmanager
    def _connection(
        self, scheme: str, host: str, address: str, port: int, deadline: float
    ) -> Iterator[http.client.HTTPConnection]:
        """An open connection that is cut at the deadline, however slowly its bytes come."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        raw = self.connect(address, port, left_s)
        raw.settimeout(left_s)
        # a daemon, and on the raw socket: the descriptor is shared by the TLS one made from it
        same = raw.dup()
        watchdog = threading.Timer(left_s, _cut, (same,))
        watchdog.daemon = True
        watchdog.start()
        connection = http.client.HTTPConnection(host, port)
        try:
            connection.sock = self.tls.wrap_socket(raw, server_hostname=host) if scheme == "https" else raw
            yield connection
        finally:
            watchdog.cancel()
            same.close()
            connection.close()
            raw.close()

    def _body(self, host: str, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        if answer.status != 200:
            raise CannotFetch(f"{host} answers with status {answer.status}", "check the URL")
        kind = (answer.getheader("content-type") or "").partition(";")[0].strip().lower()
        is_image = kind.startswith("image/") and "svg" not in kind
        if not is_image and kind not in ("application/octet-stream", "binary/octet-stream"):
            raise CannotFetch(f"{host} answers with {kind[:60]!r}, no image", "name the address of the image itself")
        if (answer.getheader("content-encoding") or "identity").lower() != "identity":
            raise CannotFetch(f"{host} answers with packed bytes", "download the image and send it as a file")
        length = answer.getheader("content-length") or "0"
        if length.isdecimal() and int(length[:20]) > self.max_bytes:
            raise _too_large(host, self.max_bytes)
        data = bytearray()
        while piece := answer.read(PIECE):
            data += piece
            if len(data) > self.max_bytes:
                raise _too_large(host, self.max_bytes)
            if time.monotonic() > deadline:
                raise TimeoutError
        if answer.length:  # the connection ended early, by the other side or by the watchdog
            raise http.client.IncompleteRead(b"", answer.length)
        return bytes(data)


def checked(url: str) -> SplitResult:
    """The parts of a URL that may be fetched, as far as its text tells.

    Raises:
        BadRequest: another scheme, a user, a port of its own, or characters that have no place in a URL.
    """
    shown = url[:80].encode("ascii", "backslashreplace").decode()
    if len(url) > MAX_URL or not url.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f' for c in url):
        raise BadRequest(
            f"{shown!r} is no plain URL", f"at most {MAX_URL} characters, others than ASCII percent-encoded"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"{shown!r} is no URL", "expected http:// or https:// and a host") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadRequest(f"{shown!r} cannot be fetched", "expected http:// or https:// and a host")
    if "@" in parts.netloc:
        raise BadRequest("a URL with a user or password is not fetched", "leave them out")
    if port not in (None, PORTS[parts.scheme]):
        raise BadRequest(f"port {port} is not fetched from", "only 80 for http and 443 for https")
    return parts


def is_public(address: str) -> bool:
    """Whether an address is of the public internet, for one machine, and hides no other address."""
    try:
        found: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in net for net in TUNNELS) or found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _cut(connection: socket.socket) -> None:
    """Let every read and write that waits on it end."""
    with suppress(OSError):  # it is over already
        connection.shutdown(socket.SHUT_RDWR)


def _too_large(host: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"the file at {host} is over {max_bytes} bytes", "use a smaller image")
