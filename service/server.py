"""Start the server: refuse what would be unsafe, say where it listens, stop without dropping a request."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn

from curator.errors import UsageError
from curator.state import open_state
from service.lifetime import STOPPING
from service.protocol import BoundedProtocol
from service.settings import ENVIRONMENT, Settings


def serve(settings: Settings, *, ready: Callable[[str], None]) -> None:
    """Serve until a signal says stop.

    Args:
        ready: called with the address once the port is ours.

    Raises:
        UsageError: the address cannot be had, or is open to others without a token.
    """
    check(settings)
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        settings = replace(settings, port=port)
        shown = f"[{host}]" if ":" in host else host
        _log_to_stderr()
        if settings.workers == 1:
            from service.app import create_app

            app = create_app(settings)
            ready(f"http://{shown}:{port}")
            _Server(_config(app, settings)).run(sockets=[listener])
            return
        with tempfile.TemporaryDirectory(prefix="curator-metrics-") as shared:
            os.environ[ENVIRONMENT] = settings.to_json()
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
            from uvicorn.supervisors import Multiprocess

            config = _config("service.app:from_environment", settings, factory=True)
            ready(f"http://{shown}:{port}")
            Multiprocess(config, sockets=[listener]).run()


class _Server(uvicorn.Server):
    """Tells long answers and jobs that the end is near, before it waits for the requests in work."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal says stop."""
        STOPPING.set()
        super().handle_exit(sig, frame)


def check(settings: Settings) -> None:
    """Refuse an address that others reach while nobody needs a token.

    Raises:
        UsageError: no live token exists.
    """
    if settings.is_open:
        return
    with open_state(settings.root) as state:
        if not any(token.is_alive for token in state.tokens.list()):
            raise UsageError(
                f"{settings.host} can be reached by others and there is no token; make one first: "
                f"`curator token create NAME --role admin --root {settings.root}`"
            )


def _config(app: object, settings: Settings, *, factory: bool = False) -> uvicorn.Config:
    BoundedProtocol.head_s = settings.head_s
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        factory=factory, host=settings.host, port=settings.port, workers=settings.workers, http=BoundedProtocol,
        ws="none", log_config=None, access_log=False, server_header=False, date_header=False, proxy_headers=False,
        limit_concurrency=settings.max_connections, timeout_keep_alive=15,
        timeout_graceful_shutdown=settings.shutdown_s,
    )  # fmt: skip


def _listen(settings: Settings) -> socket.socket:
    """The socket, bound before anything is loaded, so that a taken port is said at once and by its cause."""
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise UsageError(f"{settings.host!r} is no address of this machine: {error.strerror}") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; take another with --port, 0 "
            "takes a free one"
        ) from error
    listener.set_inheritable(True)
    return listener


def _log_to_stderr() -> None:
    """One line per event; access lines are JSON already."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("curator.access", "curator.service"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False
