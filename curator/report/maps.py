"""The map as a picture: points by cluster, picks ringed, some medoids shown.

Few points are drawn as SVG, many as a PNG in either theme's colours; rings and
pictures lie over both. Knows nothing of how the map was made.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curator.data import FloatArray, ImageArray, IntArray
from curator.report.charts import N_COLOURS, colour_class, coordinate, dots, line
from curator.report.markup import Html, h, join
from curator.report.numbers import Map

DRAWN_AS_POINTS = 3_000  # above this the points are a PNG: smaller, and it scrolls
MAX_RINGS = 1_500
PALETTE = {  # ground, grey, then the clusters by size; the same as in style.css
    "light": "#f4f6f8 #9aa1ac #a5165a #623b04 #8c8119 #5c844d #0d9d97 #1a49b7 #b170ec #58357b",
    "dark": "#1c2027 #6b7483 #f15890 #ffb228 #8d8525 #d1f985 #9deed5 #6e99f1 #d5a9e7 #9650ab",
}

_WIDTH, _HEIGHT = 1000, 640  # units of the picture
_THUMB_WIDTH, _THUMB_HEIGHT = 80, 60
_FINE = 3  # pixels drawn per unit
_COUNTED = 20_000  # points looked at when a place for a picture is sought


@dataclass(frozen=True, slots=True)
class Layout:
    """Points of the map in the units of its picture."""

    x: FloatArray  # (n,) 0..width
    y: FloatArray  # (n,) 0..height, downwards
    n_beyond: int  # outliers moved to the edge


def lay_out(map_: Map) -> Layout:
    """Fit the points into the picture, with equal scales both ways, lying down where it is taller than wide.

    Neither the turn nor the scale changes who is near whom, which is all a map can say. Far outliers would press
    everything else together, so where there are points enough to tell, those far outside the middle 99% are moved
    to the edge.
    """
    if len(map_.rows) == 0:
        return Layout(np.zeros(0, np.float32), np.zeros(0, np.float32), 0)
    xy = np.stack([map_.x, -map_.y], axis=1).astype(np.float64)  # (n, 2)
    low, high = _bounds(xy)
    if high[1] - low[1] > high[0] - low[0]:
        xy = np.stack([map_.y, map_.x], axis=1).astype(np.float64)  # a quarter turn to the right
        low, high = _bounds(xy)
    margin = 44.0
    span = np.maximum(high - low, 1e-9)
    scale = 0.0 if np.all(span <= 1e-9) else float(np.min((_WIDTH - 2 * margin, _HEIGHT - 2 * margin) / span))
    placed = (np.clip(xy, low, high) - (low + high) / 2) * scale + (_WIDTH / 2, _HEIGHT / 2)  # (n, 2)
    n_beyond = int(np.count_nonzero(np.any((xy < low) | (xy > high), axis=1)))
    return Layout(placed[:, 0].astype(np.float32), placed[:, 1].astype(np.float32), n_beyond)


def _bounds(xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the box that is drawn, each (2,)."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    if len(xy) < 200:
        return low, high
    inner_low, inner_high = np.percentile(xy, 0.5, axis=0), np.percentile(xy, 99.5, axis=0)
    reach = 0.15 * (inner_high - inner_low)
    return np.maximum(low, inner_low - reach), np.minimum(high, inner_high + reach)


def picture(
    map_: Map,
    layout: Layout,
    *,
    medoids: Sequence[tuple[int, int]],
    use: Callable[[int], Html | None],
    describe: str,
) -> Html:
    """Draw the map.

    Args:
        map_: the points.
        layout: where they lie in the picture.
        medoids: (row, cluster) of images worth showing, most important first.
        use: gives the thumbnail of a row as SVG that fills a box of 4 x 3 units, None where there is none.
        describe: the picture in one sentence, for those who do not see it.
    """
    points = _as_paths if len(map_.rows) <= DRAWN_AS_POINTS else _as_images
    rings = _rings(map_, layout)
    return h(
        "svg",
        points(map_, layout),
        h("path", d=rings, class_="ring-under"),
        h("path", d=rings, class_="ring"),
        _pictures(map_, layout, medoids, use),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_="map",
        role="img",
        aria_label=describe,
    )


def _as_paths(map_: Map, layout: Layout) -> Html:
    """One path per colour: a dot is seven bytes of it."""
    n = len(map_.rows)
    size = 9.0 if n <= 400 else 7.0 if n <= 1_500 else 5.5
    colours = _colours(map_.cluster)
    paths = []
    for colour in range(N_COLOURS + 1):  # grey first, below the others
        x, y = layout.x[colours == colour].tolist(), layout.y[colours == colour].tolist()
        if x:
            path = dots(zip(x, y, strict=True))
            paths.append(h("path", d=path, class_=f"points {colour_class(colour - 1)}", stroke_width=size))
    return join(paths)


def _as_images(map_: Map, layout: Layout) -> Html:
    """Both themes; the style sheet shows the one that fits."""
    canvas = _canvas(map_, layout)
    images = [(theme, base64.b64encode(_png(canvas, theme)).decode()) for theme in PALETTE]
    return join(
        [
            h(
                "image",
                href=f"data:image/png;base64,{data}",
                width=_WIDTH,
                height=_HEIGHT,
                class_=f"only-{theme}",
            )
            for theme, data in images
        ]
    )


def _canvas(map_: Map, layout: Layout) -> ImageArray:
    """Points as discs: (H, W) places in the palette, 0 is the ground."""
    order = np.random.default_rng(0).permutation(len(map_.rows))  # mixed: no cluster hides the others
    order = order[np.argsort(_colours(map_.cluster)[order] > 0, kind="stable")]  # grey below
    x = np.rint(layout.x[order] * _FINE).astype(np.int64)
    y = np.rint(layout.y[order] * _FINE).astype(np.int64)
    colours = (_colours(map_.cluster)[order] + 1).astype(np.uint8)  # (n,)
    canvas = np.zeros((_HEIGHT * _FINE, _WIDTH * _FINE), np.uint8)
    radius = 7 if len(order) <= 20_000 else 5 if len(order) <= 100_000 else 3
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy <= radius * radius:
                canvas[y + dy, x + dx] = colours  # the layout's margin is wider than a disc
    return canvas


def _png(canvas: ImageArray, theme: str) -> bytes:
    """The canvas in a theme's colours, averaged down to half its size."""
    table = np.array([list(bytes.fromhex(colour[1:])) for colour in PALETTE[theme].split()], np.uint8)  # (10, 3)
    height, width = canvas.shape
    image = Image.fromarray(table[canvas]).resize((width // 2, height // 2), Image.Resampling.BOX)
    out = io.BytesIO()
    image.quantize(64, dither=Image.Dither.NONE).save(out, "PNG")
    return out.getvalue()


def _rings(map_: Map, layout: Layout) -> Html:
    picked = np.flatnonzero(map_.picked)[:MAX_RINGS]
    r = 8 if len(picked) <= 300 else 6
    arc = f"a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0"
    places = zip(layout.x[picked].tolist(), layout.y[picked].tolist(), strict=True)
    return Html("".join(f"M{coordinate(x - r)} {coordinate(y)}{arc}" for x, y in places))


def _pictures(map_: Map, layout: Layout, medoids: Sequence[tuple[int, int]], use: Callable[[int], Html | None]) -> Html:
    """Thumbnails beside their points, joined by a stem, where they hide the fewest points and no other thumbnail."""
    every = max(1, len(map_.rows) // _COUNTED)
    xs, ys = layout.x[::every], layout.y[::every]
    taken: list[tuple[float, float]] = []
    drawn = []
    for row, cluster in medoids:
        position = np.flatnonzero(map_.rows == row)
        image = use(row) if len(position) else None
        if image is None:
            continue
        x, y = float(layout.x[position[0]]), float(layout.y[position[0]])
        corner = _free_place(x, y, xs, ys, taken)
        if corner is not None:
            taken.append(corner)
            drawn.append(_framed(corner, (x, y), image, colour_class(cluster)))
    return join(drawn)


def _free_place(
    x: float, y: float, xs: FloatArray, ys: FloatArray, taken: Sequence[tuple[float, float]]
) -> tuple[float, float] | None:
    """Upper left corner of the best place for the thumbnail of the point (x, y); None where all are taken."""
    w, t, best, fewest = _THUMB_WIDTH, _THUMB_HEIGHT, None, len(xs) + 1
    for gap in (14, 44, 90):
        for dx, dy in ((0, -1), (0, 1), (1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1)):
            left, top = x - w / 2 + dx * (w / 2 + gap), y - t / 2 + dy * (t / 2 + gap)
            is_inside = 6 <= left <= _WIDTH - w - 6 and 6 <= top <= _HEIGHT - t - 6
            if not is_inside or any(abs(left - a) < w + 10 and abs(top - b) < t + 10 for a, b in taken):
                continue
            hidden = int(np.count_nonzero((xs > left) & (xs < left + w) & (ys > top) & (ys < top + t)))
            if hidden < fewest:
                best, fewest = (left, top), hidden
    return best


def _framed(corner: tuple[float, float], point: tuple[float, float], image: Html, colour: str) -> Html:
    left, top = corner
    w, t = _THUMB_WIDTH, _THUMB_HEIGHT
    frame: dict[str, str | int] = {
        "x": coordinate(left - 3),
        "y": coordinate(top - 3),
        "width": w + 6,
        "height": t + 6,
        "rx": 5,
    }
    ground: dict[str, str | int] = {"x": coordinate(left), "y": coordinate(top), "width": w, "height": t}
    return join(
        h("path", d=line([point, (left + w / 2, top + t / 2)]), class_=f"stem {colour}"),
        h("rect", class_=f"frame {colour}", **frame),
        h("rect", class_="ground", **ground),
        h("svg", image, viewBox="0 0 4 3", **ground),
    )


def _colours(cluster: IntArray) -> IntArray:
    """(n,) 0 for grey, else 1 + place in the palette."""
    return np.where((cluster >= 0) & (cluster < N_COLOURS), cluster + 1, 0).astype(np.int64)
