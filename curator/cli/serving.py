"""The command that starts the web service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curator.cli.common import AsJson, print_json, told

app = typer.Typer()


@app.command()
@told
def serve(
    root: Annotated[Path, typer.Argument(help="A workspace, or a folder of workspaces.")],
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8765,
    workers: Annotated[int, typer.Option(help="Processes; each holds vectors and index of its own.")] = 1,
    require_token: Annotated[bool, typer.Option("--require-token", help="Ask for tokens on loopback too.")] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="Name the server answers to; may be repeated.")] = None,
    ingest_root: Annotated[
        list[Path] | None, typer.Option(help="Folder that ingest over HTTP may read; may be repeated.")
    ] = None,
    cors: Annotated[list[str] | None, typer.Option(help="Site whose pages may call the API; may be repeated.")] = None,
    fetch_urls: Annotated[bool, typer.Option("--fetch-urls", help="Let queries name public URLs.")] = False,
    secure_cookies: Annotated[
        bool, typer.Option("--secure-cookies", help="Behind TLS: cookies over TLS only.")
    ] = False,
    limit: Annotated[
        list[str] | None, typer.Option(help="NAME=NUMBER, such as max_upload_bytes=10000000; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve search, mining and everything else over HTTP, until stopped.

    Example: curator serve workspaces/ --port 8765 --ingest-root footage/
    """
    from curator.errors import require

    settings = require("service.settings", extra="cpu").Settings(
        root=root.absolute(), host=host, port=port, workers=workers, require_token=require_token,
        allow_hosts=tuple(allow_host or ()), ingest_roots=tuple(path.resolve() for path in ingest_root or ()),
        origins=tuple(cors or ()), fetch_urls=fetch_urls, secure_cookies=secure_cookies,
    ).limited(limit or [])  # fmt: skip

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address, "root": str(settings.root)})
        else:
            typer.echo(f"serving {settings.root} at {address}")

    require("service.server", extra="cpu").serve(settings, ready=ready)
