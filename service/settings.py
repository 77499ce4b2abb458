"""What the server was started with, as one frozen value that also travels to worker processes."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from curator.errors import UsageError

ENVIRONMENT = "CURATOR_SERVICE"  # how `--workers` hands the settings to its processes
MIB = 1 << 20


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
    max_upload_pixels: int = 100_000_000
    max_upload_images: int = 1_000
    max_queries: int = 256  # of one batch search
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
