"""What a request may name: settings, columns, selections, and places under the configured roots.

The command line trusts its user with SQL, files, URLs and models; the service
trusts nobody with these. Settings are checked after they were parsed by the
library itself, so no other spelling of a value slips through. A name that the
library might take for a file holds no slash, and jobs run in an empty folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import yaml
from pydantic import Field

from curator import config
from curator.cli.common import flags
from curator.config import Config, Select
from curator.embed.models import NAMES
from curator.errors import BadConfig
from curator.filters import parse_filter
from curator.sources import is_table
from curator.sources.confined import Confinement
from curator.workspace import Workspace
from service.problems import BadRequest, Forbidden, NotFound
from service.settings import Settings

MAX_PROCESSES = 64  # workers and threads that a request may ask for
MAX_DEPTH = 64  # of a setting's lists and mappings
FILE_SUFFIXES = (".npy", ".parquet", ".csv")  # what the library takes for a file of scores
_ENCODED = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)
_SELECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


Text = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\~][^\x00-\x1f\x7f/\\]*$")]
Setting = str | int | float | bool | list[Any] | dict[str, Any] | None


# -- settings ------------------------------------------------------------------------------------------------------


def as_yaml(value: Any) -> str:
    """A value as `--set key=VALUE` reads it back."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=False, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def overrides(given: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Flags of the command line and settings as the `section.key=value` that both doors parse.

    Raises:
        BadConfig: an unknown setting, or values nested too deeply.
    """
    known = config.known_keys()
    for key, value in settings.items():
        if key not in known:
            raise BadConfig(f"unknown setting {key[:100]!r}; expected section.key as configs/default.yaml lists them")
        _check_depth(value, key)
    for name, value in given.items():
        _check_depth(value, name)
    plain = {name: as_yaml(value) if isinstance(value, list | dict) else value for name, value in given.items()}
    return [*flags(plain), *(f"{key}={as_yaml(value)}" for key, value in settings.items())]


def _check_depth(value: Any, key: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise BadConfig(f"{key} is nested more than {MAX_DEPTH} deep; expected values as configs/default.yaml has them")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, key, depth + 1)


def check(stored: Mapping[str, Any], changes: Sequence[str], *, metadata: str | None = None) -> None:
    """Refuse changes that do not parse, or that name what a request may not name.

    Args:
        stored: what the workspace was last run with; its owner's own values are not refused.
        changes: as `overrides` gives them.
        metadata: a table that was found under the ingest roots.

    Raises:
        BadConfig, BadFilter: a wrong value.
        Forbidden: SQL, a file, a URL, a model that is not built in, or limits above the defaults.
    """
    base = {key: value for key, value in stored.items() if not key.startswith("_")}
    asked, before = config.load(None, changes, base=base), config.from_dict(base)
    _check_select(asked.select, before.select)
    if asked.sources.metadata not in (None, metadata, before.sources.metadata):
        raise Forbidden("sources.metadata names a file", "give `metadata`, a table under the ingest roots")
    if asked.embed.model not in (*NAMES, before.embed.model):
        raise Forbidden(
            f"model {asked.embed.model[:100]!r} is neither built in nor what this workspace was made with",
            f"built in: {', '.join(NAMES)}",
        )
    for limit in ("max_pixels", "max_memory_mb"):
        if getattr(asked.decode, limit) > max(getattr(c.decode, limit) for c in (before, Config())):
            raise Forbidden(f"decode.{limit} can only be lowered over HTTP", "raise it from the command line")
    if max(asked.workers, asked.threads) > max(MAX_PROCESSES, before.workers, before.threads):
        raise Forbidden(f"workers and threads are at most {MAX_PROCESSES} over HTTP", "0 means one per core")


def _check_select(asked: Select, before: Select) -> None:
    if asked.where not in (None, before.where):
        raise Forbidden("select.where is SQL, which is not taken over HTTP", "use `filter`")
    if asked.filter is not None:
        parse_filter(asked.filter, place="filter")
    if asked.preselected != before.preselected:
        _check_rows(asked.preselected, "select.preselected")
    if asked.quotas != before.quotas:
        _check_like(asked.quotas, "select.quotas")
    if asked.scores != before.scores:
        for name in (asked.scores or "").split(","):
            _check_column(name.strip(), "select.scores")
    for wish in asked.strategies if asked.strategies != before.strategies else ():
        _check_column(wish.column or "", "select.strategies: column")
        _check_like(wish.target, "select.strategies: target")
        if wish.to is not None and not str(wish.to).isdecimal():
            _check_rows(wish.to, "select.strategies: to")


def _check_rows(named: Any, key: str) -> None:
    if named in (None, "labelled"):
        return
    kind, colon, name = str(named).partition(":")
    if not colon or kind not in ("column", "selection"):
        raise Forbidden(f"{key} {str(named)[:100]!r} names a file", "labelled, column:NAME or selection:NAME")
    _check_column(name, key)


def _check_like(named: Any, key: str) -> None:
    if isinstance(named, str) and named.startswith("like:") and not _SELECTION.fullmatch(named.removeprefix("like:")):
        raise Forbidden(f"{key} {named[:100]!r} is no selection", "like:SELECTION; SQL is not taken over HTTP")


def _check_column(name: str, key: str) -> None:
    if "/" in name or "\\" in name or name.startswith("~") or name.lower().endswith(FILE_SUFFIXES):
        raise Forbidden(f"{key} {name[:100]!r} looks like a file", "the name of a column; GET columns lists them")


# -- places --------------------------------------------------------------------------------------------------------


def place_under(roots: Sequence[Path], named: str) -> Path:
    """The file or folder that a request names, with links followed; it lies under one of the roots.

    A relative name is looked for under each root in turn.

    Raises:
        BadRequest: a name that only an attack writes: control characters, backslashes, URLs, `..`, encodings.
        Forbidden: outside every root, or there are no roots.
        NotFound: inside, and not there.
    """
    if not roots:
        raise Forbidden("this server reads no folders", "start it with --ingest-root FOLDER, or upload images")
    _check_path(named)
    resolved = [root.resolve() for root in roots]
    path = Path(named)
    if path.is_absolute() and not any(path.is_relative_to(root) for root in (*roots, *resolved)):
        raise Forbidden(
            f"{named[:200]!r} is outside the folders that this server may read",
            "a relative name is looked for under each --ingest-root",
        )
    candidates = [path] if path.is_absolute() else [root / named for root in resolved]
    found = next((candidate for candidate in candidates if candidate.exists()), None)
    if found is None:
        raise NotFound(f"there is no {named[:200]!r} under the ingest roots", "check the spelling")
    place = found.resolve()
    if not any(place.is_relative_to(root) for root in resolved):
        raise Forbidden(f"{named[:200]!r} leads outside the folders that this server may read", "links are followed")
    return place


def _check_path(named: str) -> None:
    has_odd = any(ord(c) < 32 or ord(c) == 127 for c in named) or "\\" in named or named.startswith(("~", "//"))
    if not named.strip() or has_odd or "://" in named or "::" in named or _ENCODED.search(unquote(named) + named):
        raise BadRequest(
            f"{named[:200]!r} cannot be a path here", "a plain path: no URL, backslash, control or encoded character"
        )
    if ".." in named.split("/"):
        raise BadRequest(f"{named[:200]!r} holds '..'", "name the folder itself")


def confinement(workspace: Workspace, settings: Settings, uploads: Path) -> Confinement:
    """Where a job of this workspace may read: the ingest roots, its uploads, and what its owner gave it before.

    Sources outside the roots can only have come from the command line. Folders and single files among
    them go on being read; of a table nobody knows where it leads, so it is refused.

    Raises:
        Forbidden: the workspace reads such a table.
    """
    roots = tuple(str(root.resolve()) for root in settings.ingest_roots)
    within = (*roots, str(uploads.resolve()))
    metadata = workspace.snapshot.config.get("sources", {}).get("metadata")
    trusted, urls = [], []
    for source in (*workspace.snapshot.sources, *([metadata] if metadata else [])):
        if "://" in source:
            urls.append(source)
        elif not any(Path(source).resolve().is_relative_to(root) for root in within):
            trusted.append(source)
    tables = [source for source in (*trusted, *urls) if is_table(source) and source != metadata]
    if tables:
        raise Forbidden(
            "this workspace reads a table outside the folders that this server may read",
            "run it from the command line, or start the server with --ingest-root",
        )
    return Confinement(within, tuple(trusted), tuple(urls))
