"""The page: built files, compressed when they were built, under a policy that lets it load nothing from elsewhere."""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.problems import NotFound

router = APIRouter(tags=["page"], include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))  # best first
NAME = re.compile(r"(assets/)?[A-Za-z0-9_-][A-Za-z0-9_.-]*")
FOREVER = "public, max-age=31536000, immutable"  # their names change with their content
NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Curator</title>
<h1>The page was not built</h1>
<p>The HTTP interface works. To build the page: <code>pip install -e .</code> with Node 20.19 or newer, or
<code>npm ci &amp;&amp; npm run build</code> in <code>service/web</code>.</p></html>"""


@router.get("/")
@router.head("/")
def index(request: Request) -> Response:
    """The page itself; what it shows is in its address."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    if not (STATIC / "index.html").is_file():
        return Response(NOT_BUILT, 200, headers, "text/html; charset=utf-8")
    return _file(request, "index.html", headers)


@router.get("/icon.svg")
def icon(request: Request) -> Response:
    """The icon."""
    return _file(request, "icon.svg", {"Cache-Control": "public, max-age=86400"})


@router.get("/favicon.ico")
def favicon() -> Response:
    """Browsers ask for it whatever the page says."""
    return Response(status_code=204)


@router.get("/assets/{name}")
def asset(request: Request, name: str) -> Response:
    """A built file."""
    return _file(request, f"assets/{name}", {"Cache-Control": FOREVER})


def _file(request: Request, name: str, headers: dict[str, str]) -> Response:
    """A file of the page in the best encoding that the browser takes.

    Raises:
        NotFound: it is none of the page's files.
    """
    if not NAME.fullmatch(name) or not (STATIC / name).is_file():  # nothing else of the disk has an address
        raise NotFound(f"the page has no file {name[:100]!r}", "reload the page")
    taken = request.headers.get("accept-encoding", "")
    suffix, encoding = next(
        ((end, code) for code, end in ENCODINGS if code in taken and (STATIC / f"{name}{end}").is_file()), ("", "")
    )
    data = (STATIC / f"{name}{suffix}").read_bytes()
    if encoding:
        headers = {**headers, "Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(data, 200, headers, "text/javascript" if kind.endswith("javascript") else kind)
