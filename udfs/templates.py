"""Templates of llm_prompt: text with fields, `{}` the next value, `{0}` by position, `{name}` by name.

`{1:default}` and `{name:default}` stand for a value that is missing or NULL. `{{` is a brace, and `}}` closes it; other
braces, as those of JSON, are text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlllm.errors import nearest

_PIECES = re.compile(
    r"(?P<open>\{\{)|(?P<close>\}\})|\{(?P<position>\d*)(?::(?P<default>[^{}]*))?\}"
    r"|\{(?P<name>[^\W\d][\w.]*|`[^`{}]+`)(?::(?P<text>(?! )[^{}\",\n]*))?\}|(?P<plain>[^{}]+|[{}])"
)


@dataclass(frozen=True, slots=True)
class Field:
    """The place of a value: its index, from 0, or its name; `written` is how it stands in the template."""

    index: int
    name: str
    default: str | None
    written: str


Piece = str | Field


class TemplateError(ValueError):
    """A template that does not fit its values; `written` is the field, if it is about one."""

    def __init__(self, message: str, cure: str, written: str = "") -> None:
        super().__init__(message)
        self.message, self.cure, self.written = message, cure, written


def parse(template: str) -> list[Piece]:
    """A template as plain texts and fields; a field by name has the index -1."""
    pieces: list[Piece] = []
    following, opened = 0, 0
    for match in _PIECES.finditer(template):
        if match["open"]:
            opened, piece = opened + 1, "{"
        elif match["close"]:
            opened, piece = (opened - 1, "}") if opened else (0, "}}")
        elif match["plain"]:
            piece = match["plain"]
        else:
            name = (match["name"] or "").strip("`")
            index = -1 if name else int(match["position"]) if match["position"] else following
            following += not name and not match["position"]
            pieces.append(Field(index, name, match["text"] if name else match["default"], match[0]))
            continue
        if pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


def resolved(pieces: Sequence[Piece], names: Sequence[str]) -> list[Piece]:
    """The pieces with the index of every field, for values of these names (empty: it has none).

    Raises TemplateError for a field without a value, and for a value without a field.
    """
    result = [piece if isinstance(piece, str) else _resolved(piece, names) for piece in pieces]
    used = {piece.index for piece in result if isinstance(piece, Field)}
    if unused := [index for index in range(len(names)) if index not in used]:
        index = unused[0]
        called = f"the value {names[index] or f'at {index}'}"
        cure = f"Write {{{names[index] or index}}} where it belongs, or leave the value out."
        raise TemplateError(f"the template of llm_prompt does not use {called}", cure)
    return result


def _resolved(field: Field, names: Sequence[str]) -> Field:
    if not field.name:
        if field.index >= len(names) and field.default is None:
            count = f"{len(names)} value{'' if len(names) == 1 else 's'}"
            message = f"the field {field.written} of llm_prompt is number {field.index + 1}, and there are {count}"
            cure = f"Add the value, write a default as in {{{field.index}:none}}, or {{{field.written}}} for the text."
            raise TemplateError(message, cure, field.written)
        return field
    wanted = field.name.lower()
    matching = [at for at, name in enumerate(names) if name.lower() == wanted]
    matching = matching or [at for at, name in enumerate(names) if name.lower().rpartition(".")[2] == wanted]
    if len(matching) > 1:
        message = f"the field {field.written} of llm_prompt may be value {' or '.join(map(str, matching))}"
        raise TemplateError(message, f"Write its position: {{{matching[0]}}}.", field.written)
    if not matching:
        known = [name for name in names if name]
        near = nearest(field.name, known)
        hint = f"Did you mean {{{near}}}? " if near else f"Values: {', '.join(known)}. " if known else ""
        message = f"llm_prompt has no value for the field {field.written}"
        raise TemplateError(message, f"{hint}Write {{{field.written}}} for the text itself.", field.written)
    return Field(matching[0], "", field.default, field.written)


def by_position(template: str, names: Sequence[str]) -> str:
    """The template with its fields by name as fields by position; all else stays. Raises as `resolved`."""
    fields = iter([piece for piece in resolved(parse(template), names) if isinstance(piece, Field)])

    def numbered(match: re.Match[str]) -> str:
        if match["open"] or match["close"] or match["plain"]:
            return match[0]
        field = next(fields)
        if not match["name"]:
            return match[0]
        return f"{{{field.index}}}" if field.default is None else f"{{{field.index}:{field.default}}}"

    return _PIECES.sub(numbered, template)
