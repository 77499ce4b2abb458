"""Thumbnails, each embedded once however often it is shown.

The page ends with one hidden SVG that holds every thumbnail as a symbol; a
place that shows it refers to the symbol. That needs no script, works from disk
and keeps the file as small as its distinct pictures.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping

from PIL import Image

from curator.report.markup import Html, h

SHRINK_ABOVE_BYTES = 6 * 1024  # one thumbnail, once all together are too much
ENOUGH_BYTES = 2_500_000  # of all thumbnails: below this they stay as they are

_SHRUNK_PX = 200
_MEDIA_TYPES = {"WEBP": "image/webp", "JPEG": "image/jpeg", "PNG": "image/png"}


class Pictures:
    """Gives out pictures by row and remembers which were asked for.

    Args:
        thumbnails: encoded WebP, JPEG or PNG by row; None answers as if every row had one.
    """

    def __init__(self, thumbnails: Mapping[int, bytes] | None) -> None:
        self._thumbnails = thumbnails
        self._opened: dict[int, tuple[str, int, int] | None] = {}  # row -> media type, width, height

    @property
    def rows(self) -> list[int]:
        """Rows asked for so far, ascending."""
        return sorted(self._opened)

    def use(self, row: int) -> Html | None:
        """The picture as SVG that fills a box of 4 x 3 units; None where there is none."""
        if row not in self._opened:
            self._opened[row] = self._open(row)
        return h("use", href=f"#t{row}", width=4, height=3) if self._opened[row] is not None else None

    def show(self, row: int, label: str) -> Html:
        """The picture as an element with a name, or a box that says there is none."""
        drawn = self.use(row)
        if drawn is None:
            return h("div", "no picture", class_="pic none", role="img", aria_label=f"no picture of {label}")
        return h("svg", drawn, viewBox="0 0 4 3", class_="pic", role="img", aria_label=label)

    def symbols(self) -> Html:
        """Every picture that was given out, once."""
        thumbnails = {row: self._thumbnails[row] for row in self.rows if self._thumbnails and self._opened[row]}
        is_much = sum(map(len, thumbnails.values())) > ENOUGH_BYTES
        return h(
            "svg",
            [self._symbol(row, data, shrink=is_much) for row, data in thumbnails.items()],
            class_="symbols",
            aria_hidden="true",
            width=0,
            height=0,
        )

    def _open(self, row: int) -> tuple[str, int, int] | None:
        if self._thumbnails is None:
            return "image/webp", 4, 3
        data = self._thumbnails.get(row)
        return None if not data else _header(data)

    def _symbol(self, row: int, data: bytes, *, shrink: bool) -> Html:
        if shrink and len(data) > SHRINK_ABOVE_BYTES:
            data = shrunk(data)
        media_type, width, height = _header(data) or ("image/webp", 4, 3)
        uri = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        image = h("image", href=uri, width=width, height=height)
        return h("symbol", image, id=f"t{row}", viewBox=f"0 0 {width} {height}")


def shrunk(data: bytes) -> bytes:
    """The thumbnail at 200 px and lower quality, if that is smaller; about 4 ms."""
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    small.thumbnail((_SHRUNK_PX, _SHRUNK_PX))
    out = io.BytesIO()
    small.save(out, "WEBP", quality=70, method=2)
    return min(out.getvalue(), data, key=len)


def _header(data: bytes) -> tuple[str, int, int] | None:
    """Media type and size of an encoded image; None where it is not one a browser shows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bomb warning: the header is all that is read here
            with Image.open(io.BytesIO(data)) as image:
                media_type = _MEDIA_TYPES.get(image.format or "")
                return (media_type, image.width, image.height) if media_type else None
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
