"""One frozen `Config`: a section per stage, each key with its default and its reason.

`load()` reads YAML, applies `section.key=value` overrides and refuses keys it
does not know, naming their dotted place. `configs/default.yaml` lists every key
and equals `Config()`; a test keeps it so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from curator.errors import BadConfig, BadSelection

NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
LONGEST = 120  # characters of a wrong value that are shown


class Section(BaseModel):
    """Frozen; unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _null_takes_back(cls, section: Any) -> Any:
        """Where none has no meaning of its own it is the default, so that `--budget ""` takes a setting back."""
        if not isinstance(section, dict):
            return section
        needed = {name for name, field in cls.model_fields.items() if type(None) not in get_args(field.annotation)}
        return {key: value for key, value in section.items() if value is not None or key not in needed}


class Sources(Section):
    """What to read and what to take from it."""

    recursive: bool = Field(True, description="descend into folders")
    fps: float | None = Field(None, gt=0, description="frames per second taken from videos; 1 when nothing is said")
    every_nth: int | None = Field(None, ge=1, description="take every n-th video frame; 1 takes all")
    keyframes: bool = Field(False, description="take only key frames: the cheapest way through long footage")
    labels_from_folders: bool = Field(False, description="the parent folder's name is the label")
    splits_from_folders: bool = Field(False, description="the first folder named train, val or test is the split")
    metadata: str | None = Field(None, description="table (CSV, Parquet, JSONL) joined to the images by file name")
    uri_column: str = Field("uri", description="column of tables given as sources that names the image")

    @model_validator(mode="after")
    def _one_sampling(self) -> Sources:
        if sum((self.fps is not None, self.every_nth is not None, self.keyframes)) > 1:
            raise ValueError("give at most one of fps, every_nth and keyframes")
        return self


class Decode(Section):
    """How pixels are read, once."""

    mode: Literal["draft", "exact"] = Field(
        "draft", description="draft: JPEGs are decoded at reduced size, about 3x faster; exact: in full"
    )
    margin: float = Field(2.0, ge=1.0, description="draft keeps the short side at least this many times what is needed")
    max_pixels: int = Field(200_000_000, gt=0, description="larger images are refused before decoding: bombs")
    max_memory_mb: int = Field(1_500, gt=0, description="decoded size of one image")
    thumbnail_px: int = Field(256, ge=16, le=1024, description="long side of stored thumbnails")
    thumbnail_format: Literal["webp", "jpeg"] = Field(
        "jpeg", description="webp is 30 % smaller; jpeg costs 1.5 ms less per image"
    )
    thumbnail_quality: int = Field(80, ge=1, le=100, description="of thumbnails")


class Embed(Section):
    """The model that turns an image into a vector."""

    model: str = Field(
        "efficientnet-lite0",
        description="efficientnet-lite0, efficientnet-lite2, hf:NAME_OR_DIR, onnx:FILE, vectors:FILE or colour",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where torch sees it")
    batch: int = Field(32, ge=1, description="images per forward pass; halved by itself when a GPU runs out of memory")
    n_tags: int = Field(5, ge=0, le=20, description="ImageNet tags kept per image, where the model gives them")


class Index(Section):
    """Search index and neighbour graph."""

    kind: Literal["auto", "flat", "ivf", "hnsw"] = Field("auto", description="auto: flat up to flat_up_to, then ivf")
    flat_up_to: int = Field(50_000, ge=1, description="exact search up to this many vectors")
    neighbors: int = Field(30, ge=1, description="neighbours per image in the graph that later stages read")
    min_recall: float = Field(
        0.95, gt=0, le=1, description="measured recall below this widens the search, then falls back to exact"
    )
    sample: int = Field(500, ge=10, description="queries used to measure recall")


class NearDups(Section):
    """Removal of near-duplicates by greedy cover."""

    threshold: float | str | None = Field(
        None,
        description="cosine at or above which two images are the same, or what `curator calibrate` stored: self, "
        "answers, ...; none: the model's plain default",
    )
    space: Literal["model", "copies"] = Field(
        "model", description="copies: the metric for copies that `curator calibrate` learnt from your own images"
    )
    keep: str = Field(
        "coverage",
        pattern=r"^(coverage|sharpest|first|largest|labelled|max:.+|min:.+)$",
        description="which image stays: coverage, sharpest, first, largest, labelled, max:COLUMN or min:COLUMN",
    )
    method: Literal["auto", "exact", "approximate"] = Field(
        "auto",
        description="how pairs are found; auto: exact up to 2 million images. No removed one is left alone either way",
    )
    per_group: str | None = Field(
        None, description="video, folder or a column: only images of one value are compared, so each keeps its own"
    )
    window_s: float | None = Field(
        None, gt=0, description="thin each clip out first: compare frames at most so many seconds apart, then the rest"
    )
    decisions: bool = Field(
        True, description="keep what people chose instead of another image, or said to be no duplicate"
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold_is_a_cosine_or_a_name(cls, threshold: Any) -> Any:
        try:
            value = float(threshold) if isinstance(threshold, int | float | str) else None
        except ValueError:
            value = None
        if isinstance(threshold, bool) or (value is not None and not 0 < value <= 1):
            raise ValueError("expected a cosine above 0 and up to 1, or the name of a calibration")
        if isinstance(threshold, str) and value is None and not re.fullmatch(NAME, threshold):
            raise ValueError("expected a cosine above 0 and up to 1, or the name of a calibration: letters and digits")
        return threshold if value is None else value


class Calibrate(Section):
    """`curator calibrate`: which similarity means the same image, from edits of your own images or from answers."""

    sample: int = Field(200, ge=10, description="images that are edited to learn what the same image looks like")
    n_pairs: int = Field(60, ge=10, description="pairs asked about, spread over the similarities")
    n_bootstrap: int = Field(200, ge=20, description="redraws behind each interval")
    edits: Literal["auto", "mild", "strong"] = Field(
        "auto",
        description="which edits leave an image the same; mild: re-encoded, resized, cropped, brighter, blurred, "
        "shifted; strong: grey, mirrored, turned too; auto: whichever explains the data, mild for footage",
    )


class KMeans(Section):
    """Every image belongs to a cluster; fast and stable."""

    kind: Literal["kmeans"] = "kmeans"
    n_clusters: int | None = Field(None, ge=1, description="none: about the square root of half the images")


class Hdbscan(Section):
    """Clusters where the data is dense; the rest is noise, -1."""

    kind: Literal["hdbscan"] = "hdbscan"
    space: Literal["umap", "pca"] = Field("umap", description="density needs few dimensions; pca leaves more noise")
    n_dims: int = Field(5, ge=2, le=50, description="dimensions clustered in")
    min_cluster_size: int = Field(10, ge=2, description="smaller groups are noise")
    min_samples: int | None = Field(None, ge=1, description="larger is more cautious; none: min_cluster_size")


class Cluster(Section):
    """Groups of alike images."""

    method: Annotated[KMeans | Hdbscan, Field(discriminator="kind")] = KMeans()
    n_names: int = Field(2, ge=1, le=5, description="tags in a cluster's name")


class Map(Section):
    """The 2-D map."""

    kind: Literal["umap", "pca"] = Field("umap", description="umap shows groups; pca is instant and linear")
    neighbors: int = Field(15, ge=2, description="local against global shape; at most index.neighbors")
    min_dist: float = Field(0.1, ge=0, description="how tightly points may lie")
    epochs: int = Field(200, ge=1, description="rounds of layout")
    sample_up_to: int = Field(100_000, ge=100, description="above this the map is fitted on a sample and extended")


class Strategy(Section):
    """One wish among several; `docs/selection.md` says what each kind reads."""

    kind: Literal[
        "diversity", "representative", "coverage", "typicality", "weights", "similarity", "uncertainty", "random",
        "balance", "threshold",
    ]  # fmt: skip
    strength: float = Field(1.0, description="power of this factor; below 0, for one number per image: the low ones")
    column: str | None = Field(None, description="for weights, threshold, balance, uncertainty; or a file of scores")
    to: int | str | None = Field(None, description="for similarity: a row, selection:NAME, column:NAME or a file")
    target: str | dict[str, int | float] = Field("uniform", description="for balance: as quotas, in shares")
    min: float | None = Field(None, description="for threshold: the least that passes")
    max: float | None = Field(None, description="for threshold: the most that passes")
    strict: bool = Field(False, description="for threshold: the limit itself does not pass")
    scale: Literal["value", "rank"] = Field("value", description="numbers as they are, or by their place in order")
    measure: Literal["entropy", "margin"] = Field("entropy", description="for uncertainty from probabilities")
    min_distance: float | None = Field(None, ge=0, le=2, description="for diversity: as select.min_distance")


class Select(Section):
    """Which images to label."""

    name: str = Field(
        "selection",
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="several selections live side by side",
    )
    method: Literal[
        "representative", "diverse", "mixed", "dpp", "graph_cut", "coverage", "typicality", "hierarchical",
        "uncertainty", "strategies", "random", "every_nth",
    ] = Field(
        "mixed",
        description="mixed: stand for much and lie far apart; representative, diverse, ...: see docs/selection.md",
    )  # fmt: skip
    budget: int | str = Field("5%", description="a number, or a share of the readable images")
    strategies: list[Strategy] = Field([], description="several wishes at once, their product; replaces the method")
    where: str | None = Field(None, description="only images for which this SQL predicate holds")
    filter: dict[str, Any] | None = Field(
        None, description="only images that pass a typed filter: {column: brightness, lt: 0.3}; see docs/selection.md"
    )
    near_duplicates: bool = Field(False, description="allow images that a kept one represents")
    low_quality: bool = Field(False, description="allow images that fail the limits of `quality`")
    counts: Literal["auto", "images", "distinct"] = Field(
        "auto",
        description="what picks stand for; images: near-duplicates too; distinct: these once; auto: images where most "
        "are frames of clips or near-duplicates may be picked, else distinct",
    )
    preselected: str | None = Field(
        None,
        description="already labelled: column:NAME, selection:NAME, labelled, or a file with one uri or row a line",
    )
    per_group: str | None = Field(None, description="column for quotas: cluster, label, split, video, meta_...")
    quotas: str | dict[str, int | float] = Field(
        "equal",
        description="with per_group: equal, proportional, counts or shares by group, like:SELECTION or like:where:SQL",
    )
    min_distance: float = Field(0.0, ge=0, le=2, description="cosine distance that picks keep from each other; 0: any")
    spacing_s: float = Field(0.0, ge=0, description="seconds that picks of one video keep from each other; 0: any")
    threshold: float | None = Field(
        None, gt=0, le=1, description="cosine from which a pick covers an image; none: the near-duplicate threshold"
    )
    stop_coverage: float | None = Field(
        None, gt=0, le=1, description="stop before the budget once this share is within the threshold of a pick"
    )
    stop_gain: float | None = Field(
        None, gt=0, le=1, description="stop before the budget once a pick adds less than this share of the first one's"
    )
    scores: str | None = Field(
        None, description="for uncertainty: a column, columns p1,p2,... or a .npy, .parquet or .csv of probabilities"
    )
    uncertainty: Literal["entropy", "margin"] = Field("entropy", description="how probabilities become a score")
    redundancy: float | None = Field(
        None, ge=0, description="graph_cut: how much likeness among picks counts against them; none: its default"
    )
    trim_share: float = Field(
        0.03, ge=0, lt=0.5, description="diverse and dpp: this share of outliers goes to a review list first"
    )

    @model_validator(mode="before")
    @classmethod
    def _in_our_words(cls, section: Any) -> Any:
        """The words of the field's configurations, such as n_samples and DIVERSITY, in ours."""
        from curator.selection import field

        if not isinstance(section, dict):
            return section
        try:
            return field.section(section)
        except BadSelection as error:
            raise ValueError(str(error)) from error

    @field_validator("budget")
    @classmethod
    def _budget_can_be_read(cls, budget: int | str) -> int | str:
        from curator.selection import parse_budget

        try:
            parse_budget(budget, 100)
        except BadSelection as error:
            raise ValueError(str(error)) from error
        return int(budget) if str(budget).isdecimal() else budget

    @field_validator("quotas", mode="before")
    @classmethod
    def _quotas_can_be_read(cls, quotas: Any) -> Any:
        from curator.selection import field

        try:
            return field.quotas(quotas)
        except BadSelection as error:
            raise ValueError(str(error)) from error


class Quality(Section):
    """Limits below which an image is not offered for labelling."""

    min_side_px: int = Field(0, ge=0, description="short side; 0 takes all")
    min_sharpness: float = Field(0.0, ge=0, description="column sharpness")
    min_contrast: float = Field(0.02, ge=0, description="column contrast; below this a frame is nearly one colour")
    max_overexposed: float = Field(0.9, gt=0, le=1, description="share of white pixels")
    max_underexposed: float = Field(0.9, gt=0, le=1, description="share of black pixels")


class Tiles(Section):
    """Crops of every image for `curator tiles`: for what is small in the frame."""

    grid: int = Field(3, ge=2, le=8, description="so many crops across and down, overlapping")
    share: float = Field(0.5, gt=0.1, lt=1, description="side of a crop as a share of the picture's side")


class Split(Section):
    """Leak-free parts for training and testing."""

    name: str = Field(
        "clean", max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$", description="becomes the column split_NAME"
    )
    ratios: str = Field("0.8,0.1,0.1", description="of train, val and test; or named: train=0.7,test=0.3")
    group_by: list[str] = Field(
        ["video", "neardup"],
        description="never torn: video, folder, neardup (pairs from the threshold), look (alike hashes), columns",
    )
    balance: list[str] = Field(["label"], description="columns that every part should hold alike")
    keep: str | None = Field(None, description="column of an existing split: only what leaks moves, the rest stays")

    @field_validator("ratios")
    @classmethod
    def _ratios_can_be_read(cls, ratios: str) -> str:
        from curator.splits import parse_ratios

        try:
            parse_ratios(ratios)
        except BadSelection as error:
            raise ValueError(str(error)) from error
        return ratios


class Issues(Section):
    """Where a picture is faulty or odd; 0 turns an issue off, a large number `bright`, `odd_*` and the fence."""

    dark: float = Field(0.3, ge=0, description="brightness_high below this: even the brightest pixels are dim")
    bright: float = Field(0.8, ge=0, description="brightness_low above this: even the darkest pixels are pale")
    blurry: float = Field(0.2, ge=0, description="focus below this: little detail in proportion to contrast")
    low_information: float = Field(3.0, ge=0, description="entropy below this, in bits")
    odd_size: float = Field(4.0, gt=1, description="side this many times the median's or more, or as much below it")
    odd_aspect: float = Field(3.0, gt=1, description="long side this many times the short one or more")
    neighbors: int = Field(20, ge=1, description="kept neighbours whose mean distance is the outlier score")
    fence: float = Field(1.5, gt=0, description="interquartile ranges above the upper quartile; larger flags fewer")


class ReportRates(Section):
    """Your rates, for the savings in the report."""

    cost_per_label: float = Field(0.10, ge=0, description="price of labelling one image")
    seconds_per_label: float = Field(30.0, ge=0, description="time to label one image")
    currency: str = Field("USD", description="unit of cost_per_label")
    n_random: int = Field(40, ge=2, description="random draws behind the control's interval; 39 or more make it 95 %")


class Config(Section):
    """Everything that decides a result."""

    seed: int = Field(0, ge=0, description="same seed, same result")
    workers: int = Field(0, ge=0, description="decode processes; 0: one per core")
    threads: int = Field(0, ge=0, description="threads of one heavy computation; 0: one per core")
    grow: bool = Field(True, description="appended rows cost only themselves; false: every stage from the start")
    sources: Sources = Sources()
    decode: Decode = Decode()
    embed: Embed = Embed()
    index: Index = Index()
    neardups: NearDups = NearDups()
    calibrate: Calibrate = Calibrate()
    quality: Quality = Quality()
    cluster: Cluster = Cluster()
    map: Map = Map()
    select: Select = Select()
    issues: Issues = Issues()
    tiles: Tiles = Tiles()
    split: Split = Split()
    report: ReportRates = ReportRates()


def load(
    path: Path | str | None = None, overrides: Sequence[str] = (), *, base: dict[str, Any] | None = None
) -> Config:
    """Read a configuration: `base`, then the YAML file over it, then `section.key=value` overrides.

    Raises:
        BadConfig: the file is missing or not YAML, a key is unknown, a value has the wrong type.
    """
    data: dict[str, Any] = dict(base or {})
    if path is not None:
        data = _merged(data, _read(Path(path)))
    for override in overrides:
        data = _merged(data, _parsed(override))
    return from_dict(data)


def from_dict(data: dict[str, Any]) -> Config:
    """Validate nested plain values.

    Raises:
        BadConfig: names the dotted key, what was found and what was expected.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise BadConfig("; ".join(_sentence(item) for item in error.errors())) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"cannot read the configuration file {str(path)!r}: {error}") from error
    except yaml.YAMLError as error:
        raise BadConfig(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadConfig(
            f"{str(path)!r} holds a {type(data).__name__}; expected sections such as 'embed:' with keys below"
        )
    return data


def _parsed(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise BadConfig(
            f"cannot read the setting {override!r}; expected section.key=value, e.g. neardups.threshold=0.95"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    result: dict[str, Any] = value
    return result


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) != old.get("kind"):
            old = None  # another method: the settings of the one before mean nothing to it
        if isinstance(old, dict) and isinstance(value, dict) and key not in ("quotas", "filter"):
            out[key] = _merged(old, value)
        else:
            out[key] = value
    return out


def _sentence(item: Any) -> str:
    """One pydantic complaint as: dotted place, found, expected."""
    place = ".".join(str(part) for part in item["loc"] if part not in ("kmeans", "hdbscan")) or "configuration"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place, known_keys(), n=1)
        return f"unknown key {place!r}" + (
            f"; did you mean {near[0]!r}?" if near else "; configs/default.yaml lists all"
        )
    said, found = item["msg"].removeprefix("Value error, "), repr(item["input"])
    if len(found) > LONGEST and isinstance(item["input"], dict):
        return f"{place}: {said}"  # about how keys go together: the first few of a whole section would say nothing
    if len(found) > LONGEST:
        found = f"{found[:LONGEST]}..."
    return f"{place}: found {found}; {said[:1].lower()}{said[1:]}"


def anchored(config: Config) -> Config:
    """Paths in a configuration as absolute ones, so that it means the same from every directory."""

    def absolute(path: str) -> str:
        return path if "://" in path else str(Path(path).absolute())

    kind, colon, rest = config.embed.model.partition(":")
    is_path = kind in ("onnx", "vectors") or (kind == "hf" and Path(rest).exists())
    sidecar, asked = config.sources.metadata, config.select

    def file(named: Any) -> Any:
        return absolute(named) if isinstance(named, str) and named and Path(named).is_file() else named

    wishes = [wish.model_copy(update={"to": file(wish.to), "column": file(wish.column)}) for wish in asked.strategies]
    changes = {
        "sources": {"metadata": absolute(sidecar)} if sidecar else {},
        "embed": {"model": f"{kind}{colon}{absolute(rest)}"} if rest and is_path else {},
        "select": {"preselected": file(asked.preselected), "scores": file(asked.scores), "strategies": wishes},
    }
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=change) for name, change in changes.items()}
    )


def known_keys() -> list[str]:
    """Every dotted key of the configuration, in order."""
    return [f"{name}.{key}" if key else name for name, key in _keys(Config())]


def _keys(config: Config) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for name in type(config).model_fields:
        section = getattr(config, name)
        out += [(name, key) for key in type(section).model_fields] if isinstance(section, Section) else [(name, "")]
    return out
