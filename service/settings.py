"""What the server was started with, as one frozen value that also travels to worker processes."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from curator.errors import UsageError

ENVIRONMENT = "CURATOR_SERVICE"  # how `--workers` hands the settings to its processes
MIB = 1 << 20
LIMITS = frozenset({
    "max_json_bytes", "max_upload_bytes", "max_batch_bytes", "max_upload_pixels", "max_file_bytes",
    "max_upload_images", "max_queries", "max_jobs", "max_queued",
    "rate", "burst", "max_concurrent", "max_connections", "head_s", "body_idle_s", "shutdown_s",
})  # fmt: skip
"""Settings that `--limit NAME=NUMBER` changes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve; every limit has a default that a small team never meets."""

    root: Path  # a workspace, or a folder of workspaces
    host: str = "127.0.0.1"
    port: int = 8765
    require_token: bool = False  # ask for tokens on loopback too
    allow_hosts: tuple[str, ...] = ()  # names the server answers to beside its own address
    ingest_roots: tuple[Path, ...] = ()  # folders that server-side ingest may read
    origins: tuple[str, ...] = ()  # other sites whose pages may call the API (CORS)
    fetch_urls: bool = False  # whether a query may name a URL that the server then reads
    secure_cookies: bool = False  # behind TLS: the session cookie never travels in the clear
    workers: int = 1
    max_json_bytes: int = 4 * MIB
    max_upload_bytes: int = 64 * MIB  # of one image
    max_batch_bytes: int = 1024 * MIB  # of all images of one ingest upload
    max_upload_pixels: int = 100_000_000  # of an image sent, or of an original shown
    max_file_bytes: int = 500_000_000  # of an original shown
    max_upload_images: int = 1_000
    max_queries: int = 256  # of one batch search
    max_jobs: int = 2  # at once; of one workspace there is only ever one
    max_queued: int = 200  # jobs that wait
    rate: float = 200.0  # requests a second of one token; 0: any
    burst: int = 400  # requests at once before the rate counts
    max_concurrent: int = 64  # requests of one token in work at once
    max_connections: int = 1_024
    head_s: float = 10.0  # time for a request's line and headers
    body_idle_s: float = 20.0  # time between two pieces of a body
    shutdown_s: int = 30  # time that requests in work get when the server stops

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether requests without a token are the admin's: on loopback, unless tokens are asked for."""
        return self.is_loopback and not self.require_token

    def limited(self, limits: Sequence[str]) -> Settings:
        """These settings with other limits, each given as `name=number`.

        Raises:
            UsageError: no such limit, or no number above 0 (`rate` may be 0).
        """
        changes: dict[str, float] = {}
        known = {field.name: type(getattr(self, field.name)) for field in fields(self) if field.name in LIMITS}
        for limit in limits:
            name, _, text = limit.partition("=")
            if name not in known:
                raise UsageError(f"no limit {name!r}; there are: {', '.join(known)}")
            try:
                changes[name] = known[name](text)
            except ValueError as error:
                raise UsageError(f"--limit {limit!r}; expected {name}=NUMBER") from error
            if not (changes[name] > 0 or (name == "rate" and changes[name] == 0)):
                raise UsageError(f"--limit {limit!r}; expected a number above 0")
        return replace(self, **changes)  # type: ignore[arg-type]

    def to_json(self) -> str:
        """For the environment of worker processes."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The value that `to_json` wrote."""
        body: dict[str, Any] = json.loads(text)
        for field in fields(cls):
            if isinstance(body[field.name], list):
                body[field.name] = tuple(body[field.name])
        body["root"] = Path(body["root"])
        body["ingest_roots"] = tuple(Path(path) for path in body["ingest_roots"])
        return cls(**body)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port {self.port}; expected 0 to 65535, 0 takes a free one")
        if self.workers < 1:
            raise UsageError(f"{self.workers} workers; expected at least 1")
        for path in self.ingest_roots:
            if not path.is_dir():
                raise UsageError(f"--ingest-root {path} is no folder; name an existing one")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise UsageError(
                    f"--cors {origin!r}; expected scheme and host alone, such as https://labels.example.org"
                )
