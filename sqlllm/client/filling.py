"""A prompt function's docstring with its arguments filled in, images and sounds among them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from .media import Image, Media, Sound
from .rendering import fill, render

_PLACE = re.compile("\x00media:(\\d+)\x00")


def dedented(doc: str) -> str:
    """A docstring without its indentation and the empty lines around it; tabs within lines stay."""
    first, line_break, rest = doc.partition("\n")
    text = first.lstrip() + line_break + textwrap.dedent(rest)
    lines = text.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join(lines)


def filled(template: str, variables: Mapping[str, Any], name: str, *, simple: bool = False) -> str | list[Any]:
    """The text, or texts and media in their order if there are media among the variables."""
    media: list[Media] = []
    placed = {key: _placed(value, media) for key, value in variables.items()}
    text = fill(template, placed) if simple else render(template, placed, name)
    if not media:
        return text
    parts: list[Any] = []
    for index, piece in enumerate(_PLACE.split(text)):
        if index % 2:
            parts.append(media[int(piece)])
        elif piece.strip():
            parts.append(piece.strip("\n"))
    return parts


def _placed(value: Any, media: list[Media]) -> Any:
    """The value with a mark in the place of each image and sound."""
    if isinstance(value, Media):
        media.append(value)
        return f"\x00media:{len(media) - 1}\x00"
    if isinstance(value, list | tuple):
        return [_placed(one, media) for one in value] if any(map(_holds, value)) else value
    if isinstance(value, dict) and any(map(_holds, value.values())):
        return {key: _placed(one, media) for key, one in value.items()}
    return value


def _holds(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds, value))
    return isinstance(value, Media) or (isinstance(value, dict) and any(map(_holds, value.values())))


def coerced(value: Any, hint: Any) -> Any:
    """An argument whose parameter is annotated as Image or Sound, as one."""
    if hint in (Image, Sound) and not isinstance(value, Media) and value is not None:
        return hint(value)
    return value


def shown(content: str | list[Any]) -> str:
    """The text of a prompt; media by their names."""
    if isinstance(content, str):
        return content
    return "\n".join(part if isinstance(part, str) else repr(part) for part in content)
