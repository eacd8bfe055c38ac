"""The condition of a semantic join: a text with values of two tables in it, and what each table gives to it; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from sqlllm.planner.sql import write
from sqlllm.udfs import literals, templates

from .. import prompts
from .cut import Unfit


@dataclass(frozen=True)
class Value:
    """One value in the text: an expression, its name for people, and what stands for it where it is NULL."""

    expression: exp.Expr
    name: str
    default: str | None = None

    def text(self) -> exp.Expr:
        """The expression as a text, as llm_prompt makes it; NULL where the value is NULL and has no default."""
        field = "{0}" if self.default is None else f"{{0:{self.default}}}"
        return exp.Anonymous(
            this="llm_prompt",
            expressions=[
                exp.Literal.string(field),
                exp.Array(expressions=[self.expression.copy()]),
                exp.Literal.string("skip"),
            ],
        )


@dataclass(frozen=True)
class Condition:
    """The text as pieces: plain ones, and values by their side (0 left, 1 right) and number on that side."""

    pieces: tuple[str | tuple[int, int], ...]
    values: tuple[tuple[Value, ...], tuple[Value, ...]]

    def statement(self, names: tuple[str, str] = ("L", "R")) -> str:
        """The text with the names of rows in place of their values."""
        return "".join(piece if isinstance(piece, str) else self._name(piece, names) for piece in self.pieces)

    def _name(self, place: tuple[int, int], names: tuple[str, str]) -> str:
        side, number = place
        values = self.values[side]
        return f"{{{names[side]}}}" if len(values) == 1 else f"{{{names[side]}.{values[number].name}}}"

    def row(self, side: int, texts: Sequence[str]) -> str:
        """A row of a side in a prompt, on one line."""
        shown = [_line(text) for text in texts]
        if len(shown) == 1:
            return shown[0]
        return "; ".join(f"{value.name}: {text}" for value, text in zip(self.values[side], shown, strict=True))

    def filled(self, left: Sequence[str], right: Sequence[str]) -> str:
        """The text about one pair of rows."""
        rows = (left, right)
        return "".join(piece if isinstance(piece, str) else rows[piece[0]][piece[1]] for piece in self.pieces)


def _line(text: str) -> str:
    """A text on one line: as JSON where it has line breaks."""
    import orjson

    return text if text == text.strip() and len(text.splitlines()) == 1 else orjson.dumps(text).decode()


def read(text: exp.Expr, side_of: Callable[[exp.Expr], int]) -> Condition:
    """The condition that `text` is: llm_prompt, or texts and values put together. Raises Unfit.

    `side_of` gives the side of an expression, and raises Unfit for one of both sides.
    """
    pieces: list[str | tuple[int, int]] = []
    values: tuple[list[Value], list[Value]] = ([], [])
    for part in _parts(text):
        if isinstance(part, str):
            pieces.append(part)
            continue
        side = side_of(part.expression)
        known = [write(one.expression) + str(one.default) for one in values[side]]
        if (key := write(part.expression) + str(part.default)) not in known:
            known.append(key)
            values[side].append(_named(part, values[side]))
        pieces.append((side, known.index(key)))
    if not all(values):
        raise Unfit("its condition is about one table")
    return Condition(tuple(pieces), (tuple(values[0]), tuple(values[1])))


def columns(text: exp.Expr) -> list[exp.Expr]:
    """The columns that `text` reads, also by names in a template."""
    try:
        found = [part.expression for part in _parts(text) if not isinstance(part, str)]
    except Unfit:
        found = [text]
    return [column for one in found for column in one.find_all(exp.Column)]


def _named(value: Value, others: Sequence[Value]) -> Value:
    """The value under a name of its own."""
    taken = {one.name for one in others}
    names = [value.name, *(f"{value.name or 'value'}_{number}" for number in range(1, len(taken) + 2))]
    return Value(value.expression, next(name for name in names if name and name not in taken), value.default)


def _parts(text: exp.Expr) -> list[Any]:
    """Plain texts and values, in order."""
    if isinstance(text, exp.Paren):
        return _parts(text.this)
    if isinstance(text, exp.Literal):
        return [str(text.this)]
    if isinstance(text, exp.Concat):
        return [part for one in text.expressions for part in _parts(one)]
    if isinstance(text, exp.DPipe):
        return [*_parts(text.this), *_parts(text.expression)]
    if isinstance(text, exp.Anonymous) and text.name.lower() == "llm_prompt":
        return _template(write(text))
    return [Value(text, text.name if isinstance(text, exp.Column) else "")]


def _template(call: str) -> list[Any]:
    found = prompts.template(call)
    if found is None:
        raise Unfit("the template of its llm_prompt is not a literal, or its values are not written out")
    template, values = found
    trees = [literals.tree(value) for value in values]
    parts: list[Any] = []
    for piece in templates.parse(template):
        if isinstance(piece, str):
            parts.append(piece)
        elif (tree := trees[piece.index]) is None:
            raise Unfit(f"sqlglot does not read {values[piece.index]}")
        else:
            plain = isinstance(tree, exp.Literal)
            name = tree.name if isinstance(tree, exp.Column) else ""
            parts.append(str(tree.this) if plain else Value(tree, name, piece.default))
    return parts
