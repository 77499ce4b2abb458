"""What a search is asked and what it answers, as frozen values with one JSON form for every door."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from curator.errors import BadQuery
from curator.filters import Filter, parse_filter, to_json

MAX_K = 1_000
MAX_DEPTH = 10_000  # hits and offset together
MAX_EXAMPLES = 1_000  # positives and negatives together; a collection counts once
MAX_BATCH = 256
MAX_FIELDS = 64

Method = Literal["auto", "rocchio", "probe", "max"]
How = Literal["cosine", "rocchio", "probe", "max", "tags"]
METHODS: tuple[Method, ...] = ("auto", "rocchio", "probe", "max")
Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the upright full-size picture
KINDS = ("row", "image", "vector", "text", "collection")


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to be like, or unlike: exactly one of row, image, vector, text and collection."""

    row: int | None = None
    image: bytes | None = None  # an encoded image file
    vector: tuple[float, ...] | None = None  # in the space searched; any length but zero
    text: str | None = None  # of a CLIP-like space; elsewhere a tag search
    collection: str | None = None  # every row of it
    box: Box | None = None  # with row or image: only this part of the picture

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise BadQuery(
                f"an example has {' and '.join(given) or 'nothing'}; expected exactly one of {', '.join(KINDS)}"
            )
        if self.box is None:
            return
        if given[0] not in ("row", "image"):
            raise BadQuery(f"an example has a box beside {given[0]}; a box needs a row or an image")
        x, y, width, height = self.box
        if not all(math.isfinite(side) for side in self.box) or x < 0 or y < 0 or width <= 0 or height <= 0:
            raise BadQuery(f"box is {list(self.box)}; expected x, y >= 0 and width, height > 0 in pixels")


@dataclass(frozen=True, slots=True)
class Request:
    """One search."""

    positives: tuple[Example, ...]
    negatives: tuple[Example, ...] = ()
    k: int = 10
    offset: int = 0  # hits, or with group_by groups, that are left out at the front
    min_similarity: float | None = None  # least value of what is ranked by; none for no floor
    filter: Filter | None = None
    group_by: str | None = None  # neardup, video or a column: one hit for each group
    space: str | None = None  # none: the only or configured one; tiles: its images by the best of their tiles
    method: Method = "auto"  # auto: cosine for one positive alone, else rocchio
    alpha: float = 1.0  # rocchio: weight of texts, images and vectors among the positives
    beta: float = 0.75  # of rows and collections among the positives
    gamma: float = 0.15  # of the negatives
    centred: bool = False  # subtract the space's mean from everything first
    fields: tuple[str, ...] = ()  # columns that come with each hit

    def __post_init__(self) -> None:
        _check_number("k", self.k, 1, MAX_K)
        _check_number("offset", self.offset, 0, MAX_DEPTH)
        if self.k + self.offset > MAX_DEPTH:
            raise BadQuery(
                f"offset {self.offset} and k {self.k} reach beyond {MAX_DEPTH} hits; narrow the filter instead"
            )
        if not self.positives:
            raise BadQuery(f"a search needs at least 1 positive example ({', '.join(KINDS)}), got none")
        if len(self.positives) + len(self.negatives) > MAX_EXAMPLES:
            raise BadQuery(
                f"{len(self.positives) + len(self.negatives)} examples; at most {MAX_EXAMPLES} are taken, "
                "put rows into a collection"
            )
        for name in ("alpha", "beta", "gamma"):
            weight = getattr(self, name)
            if not math.isfinite(weight) or not 0.0 <= weight <= 100.0:
                raise BadQuery(f"{name} is {weight}; expected a weight from 0 to 100")
        if self.min_similarity is not None and not -1.0 <= self.min_similarity <= 1.0:
            raise BadQuery(f"min_similarity is {self.min_similarity}; expected -1 to 1")
        known_method(self.method)
        if self.method == "max" and self.negatives:
            raise BadQuery("method max looks at positives alone, got negatives too; use rocchio or probe")
        if len(self.fields) > MAX_FIELDS:
            raise BadQuery(f"{len(self.fields)} fields; at most {MAX_FIELDS} come with a hit")


@dataclass(frozen=True, slots=True)
class Hit:
    """One image found."""

    row: int
    similarity: float  # cosine to what was searched for; of a tag search, the tags' summed probability
    score: float  # what is ranked by: the similarity, or with probe the probability
    group: Any = None  # of group_by: the kept row, the video's file or the column's value
    group_seen: int | None = None  # members of the group met while searching
    group_size: int | None = None  # members that the filter lets through
    box: Box | None = None  # of the tile that won, where tiles were searched
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The image's uri, where that field was asked for."""
        return str(self.fields.get("uri", ""))

    def to_json(self) -> dict[str, Any]:
        """The hit as plain values."""
        body: dict[str, Any] = {
            "row": self.row,
            "similarity": round(self.similarity, 6),
            "distance": round(1.0 - self.similarity, 6),
            "score": round(self.score, 6),
        }
        if self.group_size is not None:
            body |= {"group": self.group, "group_seen": self.group_seen, "group_size": self.group_size}
        if self.box is not None:
            body["box"] = list(self.box)
        if self.fields:
            body["fields"] = dict(self.fields)
        return body


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found and how."""

    hits: tuple[Hit, ...]  # best first
    how: How
    space: str
    index: str  # what answered: flat, ivf, hnsw, exact (all that the filter lets through) or tags
    recall: float  # of that, measured against exact search without a filter; 1.0 where exact
    snapshot: int  # of the workspace
    offset: int = 0
    next_offset: int | None = None  # of the next page; none where this is the last
    centred: bool = False
    note: str = ""  # a sentence when the answer is not what one might expect

    def to_json(self) -> dict[str, Any]:
        """The body that the command line prints and the service sends."""
        return {
            "hits": [hit.to_json() for hit in self.hits],
            "how": self.how,
            "centred": self.centred,
            "space": self.space,
            "index": self.index,
            "recall": round(self.recall, 4),
            "snapshot": self.snapshot,
            "offset": self.offset,
            "next_offset": self.next_offset,
            "note": self.note,
        }


def known_method(name: str) -> Method:
    """A method by its name.

    Raises:
        BadQuery: there is none.
    """
    for method in METHODS:
        if method == name:
            return method
    raise BadQuery(f"method is {name!r}; expected auto, rocchio, probe or max")


def parse_request(body: Any) -> Request:
    """A request from plain JSON values; images are base64 text.

    Raises:
        BadQuery: it does not parse; the message names the key.
        BadFilter: its filter does not parse.
    """
    given = _object(body, "search", REQUEST_KEYS)
    plain = {key: given[key] for key in REQUEST_KEYS if key in given and key not in ("positives", "negatives")}
    for key, kinds, words in _TYPES:
        value = plain.get(key)
        if value is None:
            plain.pop(key, None)
        elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadQuery(f"{key} is {_shown(value)}; expected {words}")
    if "filter" in plain:
        plain["filter"] = parse_filter(plain["filter"])
    if "fields" in plain:
        plain["fields"] = _names(plain["fields"], "fields")
    return Request(_examples(given, "positives"), _examples(given, "negatives"), **plain)


def parse_example(body: Any, place: str = "example") -> Example:
    """An example from plain JSON values.

    Raises:
        BadQuery: it does not parse.
    """
    given = dict(_object(body, place, (*KINDS, "box")))
    row, image, vector, box = (given.get(key) for key in ("row", "image", "vector", "box"))
    if row is not None and (not isinstance(row, int) or isinstance(row, bool)):
        raise BadQuery(f"{place}.row is {_shown(row)}; expected a row number")
    if image is not None:
        given["image"] = _bytes(image, f"{place}.image")
    for key in ("text", "collection"):
        if given.get(key) is not None and not isinstance(given[key], str):
            raise BadQuery(f"{place}.{key} is {_shown(given[key])}; expected text")
    if vector is not None:
        given["vector"] = _numbers(vector, f"{place}.vector")
    if box is not None:
        given["box"] = _numbers(box, f"{place}.box")
        if len(given["box"]) != 4:
            raise BadQuery(f"{place}.box has {len(given['box'])} numbers; expected x, y, width and height")
    return Example(**given)


def request_to_json(request: Request) -> dict[str, Any]:
    """The JSON that `parse_request` reads back as an equal request."""
    body: dict[str, Any] = {"positives": [_example_json(example) for example in request.positives]}
    if request.negatives:
        body["negatives"] = [_example_json(example) for example in request.negatives]
    plain = {key for key, _, _ in _TYPES}
    for key in (key for key in REQUEST_KEYS if key in plain):
        value = getattr(request, key)
        if value != Request.__dataclass_fields__[key].default:
            body[key] = to_json(value) if key == "filter" else list(value) if key == "fields" else value
    return body


REQUEST_KEYS = (
    "positives", "negatives", "k", "offset", "min_similarity", "filter", "group_by", "space", "method", "alpha",
    "beta", "gamma", "centred", "fields",
)  # fmt: skip
_NUMBER = (int, float)
_TYPES: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("k", (int,), "a whole number"), ("offset", (int,), "a whole number"),
    ("min_similarity", _NUMBER, "a number"), ("filter", (Mapping,), "an object, see filters"),
    ("group_by", (str,), "neardup, video or a column"), ("space", (str,), "a name"),
    ("method", (str,), "auto, rocchio, probe or max"), ("alpha", _NUMBER, "a number"), ("beta", _NUMBER, "a number"),
    ("gamma", _NUMBER, "a number"), ("centred", (bool,), "true or false"),
    ("fields", (list, tuple), "a list of columns"),
)  # fmt: skip


def _examples(given: Mapping[str, Any], key: str) -> tuple[Example, ...]:
    listed = given.get(key) or ()
    if not isinstance(listed, list | tuple):
        raise BadQuery(f"{key} is {_shown(listed)}; expected a list of examples")
    if len(listed) > MAX_EXAMPLES:
        raise BadQuery(f"{key} holds {len(listed)} examples; at most {MAX_EXAMPLES} are taken")
    return tuple(parse_example(example, f"{key}[{at}]") for at, example in enumerate(listed))


def _object(body: Any, place: str, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise BadQuery(f"{place} is {_shown(body)}; expected an object with {', '.join(keys)}")
    for key in body:
        if key not in keys:
            raise BadQuery(f"{place} has {_shown(key)}; expected only {', '.join(keys)}")
    return body


def _names(given: Sequence[Any], place: str) -> tuple[str, ...]:
    for name in given:
        if not isinstance(name, str):
            raise BadQuery(f"{place} holds {_shown(name)}; expected names of columns")
    return tuple(dict.fromkeys(given))


def _numbers(given: Any, place: str) -> Any:
    if not isinstance(given, list | tuple):
        raise BadQuery(f"{place} is {_shown(given)}; expected a list of numbers")
    for number in given:
        if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
            raise BadQuery(f"{place} holds {_shown(number)}; expected finite numbers")
    return tuple(float(number) for number in given)


def _bytes(given: Any, place: str) -> bytes:
    if isinstance(given, bytes):
        return given
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadQuery(f"{place} is no base64 text ({error}); expected the bytes of an image file") from error


def _example_json(example: Example) -> dict[str, Any]:
    body: dict[str, Any] = {kind: getattr(example, kind) for kind in KINDS if getattr(example, kind) is not None}
    if "image" in body:
        body["image"] = base64.b64encode(body["image"]).decode()
    if "vector" in body:
        body["vector"] = list(body["vector"])
    return body | ({} if example.box is None else {"box": list(example.box)})


def _check_number(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadQuery(f"{name} is {value}; expected {low} to {high}")


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
