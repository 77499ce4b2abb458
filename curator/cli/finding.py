"""Commands that find images like others, or the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli.common import AsJson, Place, Where, one_line, print_json, told

if TYPE_CHECKING:
    from curator.filters import Filter
    from curator.searching import Answer, Duplicates, Example, Hit

app = typer.Typer()

Rows = Annotated[list[int] | None, typer.Option("--row", help="Like this row; may be repeated.")]
Images = Annotated[list[Path] | None, typer.Option("--image", help="Like this image file; may be repeated.")]
Vectors = Annotated[list[Path] | None, typer.Option("--vector", help="Like this vector, a .npy file; may be repeated.")]
Texts = Annotated[
    list[str] | None,
    typer.Option("--text", help="Like these words; a tag search without a CLIP-like space. May be repeated."),
]
Box = Annotated[
    str | None, typer.Option(help="x,y,width,height in pixels: only this part of the one row or image that is given.")
]
Fields = Annotated[str, typer.Option(help="Columns that come with each hit, by comma.")]


@app.command()
@told
def search(
    workspace: Place,
    rows: Rows = None,
    image_files: Images = None,
    vector_files: Vectors = None,
    texts: Texts = None,
    not_rows: Annotated[list[int] | None, typer.Option("--not-row", help="Unlike this row; may be repeated.")] = None,
    not_images: Annotated[
        list[Path] | None, typer.Option("--not-image", help="Unlike this image file; may be repeated.")
    ] = None,
    collections: Annotated[
        list[str] | None, typer.Option("--collection", help="Like all of a collection; may be repeated.")
    ] = None,
    box: Box = None,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    offset: Annotated[int, typer.Option(help="Leave out so many at the front: the next page.")] = 0,
    filter_json: Annotated[
        str | None, typer.Option("--filter", help="Typed conditions as JSON, as the service takes them.")
    ] = None,
    where: Where = None,
    method: Annotated[
        str, typer.Option(help="auto, rocchio, probe or max: how several examples are made into one search.")
    ] = "auto",
    min_similarity: Annotated[float | None, typer.Option(help="Least of what is ranked by.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="neardup, video or a column: only the best of each group.")
    ] = None,
    centred: Annotated[bool, typer.Option("--centred", help="Take the mean of all images from each first.")] = False,
    fields: Fields = "uri",
    space: Annotated[
        str | None, typer.Option(help="Embedding space, when there are several; tiles: by the best part of an image.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the images most similar to some, and unlike others.

    Example: curator search -w street-scenes --row 17 --row 4 --not-row 3 --filter '{"column": "brightness", "lt": 0.3}'
    """
    from curator import searching
    from curator.state import open_state
    from curator.workspace import open_workspace

    place = open_workspace(workspace)
    shown = _names(fields)
    request = searching.Request(
        _boxed((*_examples(rows, image_files, vector_files, texts), *_collected(collections)), box),
        _examples(not_rows, not_images, None, None),
        k=k, offset=offset, min_similarity=min_similarity, filter=_filter(filter_json), group_by=group_by, space=space,
        method=searching.known_method(method), centred=centred,
        fields=shown if as_json else tuple(dict.fromkeys(("uri", *shown))),
    )  # fmt: skip
    mask = None if where is None else searching.rows_mask(place, where)
    with open_state(place.path, create=False) as state:
        found = searching.open_served(place, state).search(request, mask=mask)
    if as_json:
        print_json(found.to_json())
        return
    _show(found)


@app.command()
@told
def have(
    picture: Annotated[str, typer.Argument(help="An image file, or a row number.")],
    workspace: Place,
    threshold: Annotated[
        float | None, typer.Option(help="Cosine at or above which two pictures are the same; none: as calibrated.")
    ] = None,
    box: Box = None,
    k: Annotated[int, typer.Option("-k", help="How many matches at most.")] = 10,
    fields: Fields = "uri",
    space: Annotated[str | None, typer.Option(help="Embedding space, when there are several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether a picture is there already: the same bytes, a near-duplicate, something like it, or nothing.

    Example: curator have new/0001.jpg -w street-scenes --threshold 0.95
    """
    from curator import searching
    from curator.workspace import open_workspace

    is_row = picture.isascii() and picture.isdecimal() and not Path(picture).exists()
    example = searching.Example(row=int(picture)) if is_row else searching.image_example(picture)
    served = searching.open_served(open_workspace(workspace))
    shown = _names(fields)
    found = served.near_duplicates(
        _boxed((example,), box)[0], threshold=threshold, k=k, space=space,
        fields=shown if as_json else tuple(dict.fromkeys(("uri", *shown))),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
        return
    _tell(found)


def _examples(
    rows: list[int] | None, image_files: list[Path] | None, vector_files: list[Path] | None, texts: list[str] | None
) -> tuple[Example, ...]:
    from curator import searching

    return (
        *(searching.Example(row=row) for row in rows or ()),
        *(searching.image_example(file) for file in image_files or ()),
        *(searching.vector_example(file) for file in vector_files or ()),
        *(searching.Example(text=text) for text in texts or ()),
    )


def _collected(names: list[str] | None) -> tuple[Example, ...]:
    from curator.searching import Example

    return tuple(Example(collection=name) for name in names or ())


def _boxed(examples: tuple[Example, ...], box: str | None) -> tuple[Example, ...]:
    from curator.errors import BadQuery
    from curator.searching import Example

    if box is None:
        return examples
    if len(examples) != 1:
        raise BadQuery(f"--box goes with exactly one row or image, got {len(examples)} examples")
    try:
        x, y, width, height = (float(number) for number in box.split(","))
    except ValueError as error:
        raise BadQuery(f"--box is {box!r}; expected four numbers x,y,width,height, e.g. 10,20,64,48") from error
    of = examples[0]
    return (Example(of.row, of.image, of.vector, of.text, of.collection, (x, y, width, height)),)


def _filter(text: str | None) -> Filter | None:
    from curator.errors import BadFilter
    from curator.filters import parse_filter

    if text is None:
        return None
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFilter(
            f'--filter is no JSON ({error}); expected e.g. \'{{"column": "brightness", "lt": 0.3}}\''
        ) from error
    return parse_filter(body)


def _names(fields: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in fields.split(",") if name.strip()))


def _show(found: Answer) -> None:
    if found.note:
        typer.echo(found.note, err=True)
    for hit in found.hits:
        typer.echo(f"{hit.score:7.4f}  {hit.row:>8}  {one_line(hit.uri)}{_beside(hit)}")
    if found.next_offset is not None:
        typer.echo(f"more with --offset {found.next_offset}", err=True)


def _beside(hit: Hit) -> str:
    """Group, tile and fields behind the uri."""
    told_of = [] if hit.group_size is None else [f"best of {hit.group_size} in {hit.group}"]
    told_of += [] if hit.box is None else ["tile " + ",".join(f"{side:g}" for side in hit.box)]
    told_of += [f"{name} {value}" for name, value in hit.fields.items() if name != "uri"]
    return f"  {one_line('  '.join(told_of))}" if told_of else ""


def _tell(found: Duplicates) -> None:
    words = {"already": "already there", "similar": "something like it is there", "new": "new"}
    nearest = "no image to compare with" if found.nearest is None else f"nearest at {found.nearest:.4f}"
    typer.echo(f"{words[found.verdict]} ({nearest}; the same from {found.threshold:.4f}, {found.origin})")
    for match in found.matches:
        kept = f"  kept as row {match.representative}" if match.representative not in (None, match.row) else ""
        uri = one_line(str(match.fields["uri"]))
        typer.echo(f"{match.similarity:7.4f}  {match.row:>8}  {match.match:<7}  {uri}{kept}")
