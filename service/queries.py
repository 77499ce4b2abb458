"""Images that a query brings along: pasted, sent beside it or behind a URL; checked before anything decodes them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import UploadFile

from curator import images
from curator.errors import BadQuery, UnreadableImage
from service.context import Service
from service.problems import BadRequest, Forbidden, TooLarge
from service.uploads import check_alone

MAX_UPLOADS = 16  # images beside one request
MAX_URLS = 8  # that one request may name


@dataclass(slots=True)
class Pictures:
    """The images of one request: files by name, and what was read from URLs so far."""

    service: Service
    files: Mapping[str, bytes] = field(default_factory=dict)
    n_fetched: int = 0

    @property
    def digests(self) -> dict[str, str]:
        """What the files are, for telling one question from another."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}

    def put_into(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A search whose examples hold the bytes of their images.

        Raises:
            BadRequest, Forbidden, CannotFetch, TooLarge, Unsupported, UnreadableImage: as `of`.
        """
        sides = {side: [self.of(example) for example in asked.get(side, [])] for side in ("positives", "negatives")}
        return {**asked, **sides}

    def of(self, example: dict[str, Any]) -> dict[str, Any]:
        """An example that holds the bytes of its image, whatever way it came.

        Raises:
            BadRequest: no file of that name came along.
            Forbidden, CannotFetch: its URL is not fetched.
            TooLarge, Unsupported, UnreadableImage: it is no plain image of a size that is read here.
        """
        ways = [way for way in ("image", "upload", "url") if way in example]
        if not ways:
            return example
        if len(ways) > 1:
            raise BadQuery(f"an example has {' and '.join(ways)}; expected exactly one of them")
        plain = {key: value for key, value in example.items() if key not in ways}
        data = self._data(ways[0], str(example[ways[0]]))
        check(data, max_pixels=self.service.settings.max_upload_pixels)
        return {**plain, "image": data}

    def _data(self, way: str, given: str) -> bytes:
        if way == "image":
            try:
                return base64.b64decode(given, validate=True)
            except (binascii.Error, ValueError) as error:
                raise BadQuery("image is no base64 text; expected the bytes of an image file") from error
        if way == "upload":
            if given not in self.files:
                there = ", ".join(self.files) or "none; send them as multipart to the path ending in /upload"
                raise BadRequest(f"no file {given!r} came with the request", f"there are: {there}")
            return self.files[given]
        if self.service.fetch is None:
            raise Forbidden(
                "this server fetches no URLs", "send the image itself, or start the server with --fetch-urls"
            )
        self.n_fetched += 1
        if self.n_fetched > MAX_URLS:
            raise TooLarge(f"more than {MAX_URLS} URLs in one request", "send the images as files")
        return self.service.fetch(given)


def check(data: bytes, *, max_pixels: int) -> None:
    """Refuse what is no plain image of a size that is read here, by its header and edges.

    Raises:
        UnreadableImage: it is no image, with the reason.
        TooLarge: it has too many pixels.
        Unsupported: it is also something else.
    """
    try:
        _, width, height = images.measure(data)
    except UnreadableImage as error:
        if error.reason == "too_large":
            raise TooLarge(error.message, "send a smaller image") from error
        raise
    if width * height > max_pixels:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {max_pixels} are taken", "send a smaller one")
    check_alone("the image", data)


def read(files: list[UploadFile], service: Service) -> Pictures:
    """The files sent beside a request, by name.

    Raises:
        TooLarge: too many, or one is too large.
        BadRequest: two of one name.
    """
    if len(files) > MAX_UPLOADS:
        raise TooLarge(f"{len(files)} files beside one search, at most {MAX_UPLOADS}", "send fewer")
    limit, out = service.settings.max_upload_bytes, {}
    for at, file in enumerate(files):
        data = file.file.read(limit + 1)
        name = (file.filename or f"file{at}")[:100]
        if len(data) > limit:
            raise TooLarge(f"{name!r} is over {limit} bytes", "send a smaller image")
        if name in out:
            raise BadRequest(f"two files are called {name!r}", "give each a name of its own")
        out[name] = data
    return Pictures(service, out)


def parsed(text: str) -> Any:
    """The JSON of the part `request`.

    Raises:
        BadRequest: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the part `request` is no JSON", "send a search as the JSON route takes it") from error
