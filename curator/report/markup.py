"""HTML elements as values.

Knows escaping and nothing of the report. Only `h` and `raw` make `Html`, and
`h` escapes every child that is not `Html` already, so text from a file name
cannot become markup.
"""

from __future__ import annotations

import html

_VOID = {"br", "hr", "img", "link", "meta", "source"}

# Control pictures for what has no glyph; direction marks would reverse the text around them, and lone surrogates
# (bytes of a file name that are not UTF-8) cannot be written at all.
_GLYPHS = {code: 0x2400 + code for code in range(0x20)}
_GLYPHS |= {0x09: 0x20, 0x0A: 0x21B5, 0x0D: 0x21B5}  # the arrow of the return key: more fonts have it
_GLYPHS |= dict.fromkeys([0x061C, *range(0x7F, 0xA0), *range(0x200E, 0x2010), *range(0x2028, 0x202F)], 0xFFFD)
_GLYPHS |= dict.fromkeys([*range(0x2066, 0x206A), *range(0xD800, 0xE000)], 0xFFFD)


class Html(str):
    """Markup that needs no further escaping."""

    __slots__ = ()


def raw(text: str) -> Html:
    """Take `text` as markup; for our own constants only."""
    return Html(text)


def h(tag: str, *children: object, **attributes: str | int | float | bool | None) -> Html:
    """One element; children that are not `Html` are text.

    Args:
        tag: element name.
        *children: text, numbers, `Html`, None (left out), or lists of those.
        **attributes: `class_` and `for_` lose the underscore, inner underscores become hyphens; None and False
            leave the attribute out, True writes it without value.
    """
    opened = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    if tag in _VOID:
        return Html(opened)
    return Html(f"{opened}{join(*children)}</{tag}>")


def join(*children: object) -> Html:
    """Several children beside each other."""
    return Html("".join(_markup(child) for child in children))


def visible(text: str) -> str:
    """`text` with what has no glyph made visible: newline as ↵, direction marks and broken bytes as �."""
    return text.translate(_GLYPHS)


def _markup(child: object) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return str(child)
    if isinstance(child, (list, tuple)):
        return "".join(_markup(item) for item in child)
    return html.escape(visible(str(child)), quote=False)


def _attribute(name: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{html.escape(visible(str(value)))}"'
