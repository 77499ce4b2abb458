"""What a tag, collection or campaign may be called: any writing, but nothing that hides or deceives."""

from __future__ import annotations

import unicodedata

from curator.errors import BadName

LONGEST = 100
_HIDDEN = (
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
)  # controls, zero-width and bidi marks, surrogates, private, unassigned


def checked(name: str, what: str = "tag") -> str:
    """The name as it is stored: NFC, without space around it.

    Raises:
        BadName: it is empty, too long, cannot stand in an address, or holds characters that cannot be seen.
    """
    plain = unicodedata.normalize("NFC", name).strip()
    if not plain or len(plain) > LONGEST:
        raise BadName(f"a {what} of {len(plain)} characters; expected 1 to {LONGEST}")
    if "/" in plain or not plain.strip("."):
        raise BadName(f"the {what} {plain!r} cannot stand in an address; leave out slashes, and use more than dots")
    hidden = [c for c in plain if unicodedata.category(c) in _HIDDEN]
    if hidden:
        raise BadName(f"the {what} holds the invisible character U+{ord(hidden[0]):04X}; leave it out")
    return plain


def folded(name: str) -> str:
    """What two names that look the same have in common."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
