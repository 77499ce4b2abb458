"""What a tag, collection or campaign may be called: any writing, but nothing that hides or deceives."""

from __future__ import annotations

import unicodedata

from curator.errors import BadName

LONGEST = 100
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Controls, zero-width and bidirectional marks, surrogates, private and unassigned characters, line separators."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Characters of other categories that show nothing: joiners, Hangul fillers, empty Braille."""
_UNREAD = "\ufffd"  # what a decoder puts for bytes that are no text: nobody meant to write it
_SELECTORS = {*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}  # one character drawn in another way, as of emoji


def plain(name: str) -> str:
    """The form in which names are stored and looked up: NFC, without space around it."""
    return unicodedata.normalize("NFC", name).strip()


def checked(name: str, what: str = "tag") -> str:
    """The name as it is stored: NFC, without space around it.

    Raises:
        BadName: it is empty, too long, cannot stand in an address, or holds characters that cannot be seen.
    """
    found = plain(name)
    if not found or len(found) > LONGEST:
        raise BadName(f"a {what} of {len(found)} characters; expected 1 to {LONGEST}")
    if "/" in found or not found.strip("."):
        raise BadName(f"the {what} {found!r} cannot stand in an address; leave out slashes, and use more than dots")
    hidden = [c for c in found if unicodedata.category(c) in _HIDDEN or c in _BLANK]
    if ord(found[0]) in _SELECTORS:  # nothing before it to be drawn in another way
        hidden.append(found[0])
    if _UNREAD in found:
        raise BadName(f"the {what} holds U+FFFD, which stands for bytes that are no text; send it as UTF-8")
    if hidden:
        raise BadName(f"the {what} holds the invisible character U+{ord(hidden[0]):04X}; leave it out")
    return found


def folded(name: str) -> str:
    """What two names that look the same have in common."""
    seen = "".join(character for character in name if ord(character) not in _SELECTORS)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
