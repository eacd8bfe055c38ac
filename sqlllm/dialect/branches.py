"""The condition of an `!if`: SQL over `:variables`, after any number of `select ... as :name;` that set some.

!if ''' select split(:path, "/")[0] as :root, 3 as :n; :root == "data" and :n > 2 ''';
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ParseError, ScriptError
from ..places import Source
from .sql import SqlText
from .text import Reference, Text
from .tokens import Kind, Token, Tokenizer

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL that yields one value; `names` are its `:variables`, which Spark takes as named parameters."""

    sql: SqlText
    names: tuple[str, ...]

    @property
    def references(self) -> Iterator[Reference]:
        """Its `:variables`, each at the first place that names it."""
        place = self.sql.place
        for name in self.names:
            found = re.search(rf":{name}\b", self.sql.text)
            at = place.source.place(place.start + found.start(), place.start + found.end()) if found else place
            yield Reference(name, (), None, at)


@dataclass(frozen=True, slots=True)
class Definition:
    """`expression as :name`."""

    name: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Condition:
    """What a branch asks: first the definitions, in order, then the test."""

    definitions: tuple[Definition, ...]
    test: Expression


def typed(value: str) -> int | float | str:
    """A variable's value as a condition compares it: a number if it looks like one."""
    number = _NUMBER.fullmatch(value.strip())
    if number is None:
        return value
    return int(value) if number[1] is None and number[2] is None else float(value)


def parse_condition(text: Text, errors: list[ScriptError]) -> Condition:
    """The condition that `text`, a quoted macro argument, spells; raises ParseError if it spells none."""
    source, place, offset = text.place.source, text.place, text.start
    tokenizer = Tokenizer(Source(text.raw))
    statements = []
    while tokens := tokenizer.statement():
        moved = [token._replace(start=token.start + offset, end=token.end + offset) for token in tokens]
        if moved[-1].kind is Kind.END:
            moved.pop()
        if moved:
            statements.append(moved)
    if tokenizer.errors or not statements:
        message = tokenizer.errors[0].message if tokenizer.errors else "this condition is empty"
        raise ParseError(message, cure="Write one like ''':a > 1 and :b == \"x\"'''.", place=place)
    *selects, test = statements
    definitions: list[Definition] = []
    for tokens in selects:
        definitions += _definitions(tokens, source, errors)
    return Condition(tuple(definitions), _expression(test, source, errors))


def _definitions(tokens: list[Token], source: Source, errors: list[ScriptError]) -> list[Definition]:
    if tokens[0].text.lower() != "select":
        place = source.place(tokens[0].start, tokens[-1].end)
        raise ParseError(
            "only the last part of a condition is the test", cure="Write select ... as :name;", place=place
        )
    definitions = []
    for item in _split(tokens[1:]):
        if len(item) < 4 or item[-3].text.lower() != "as" or item[-2].text != ":" or item[-1].kind is not Kind.WORD:
            ends = item or tokens
            place = source.place(ends[0].start, ends[-1].end)
            raise ParseError("expected `as :name` after the expression", place=place)
        definitions.append(Definition(item[-1].text, _expression(item[:-3], source, errors)))
    return definitions


def _split(tokens: list[Token]) -> list[list[Token]]:
    """`tokens` split at the commas outside brackets."""
    items: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in "([{") - (token.text in ")]}") if token.kind is Kind.SYMBOL else 0
        if token.text == "," and depth == 0:
            items.append([])
        else:
            items[-1].append(token)
    return items


def _expression(tokens: list[Token], source: Source, errors: list[ScriptError]) -> Expression:
    place = source.place(tokens[0].start, tokens[-1].end)
    sql = SqlText(place.text, place)
    broken: list[ParseError] = []
    sql.check(broken)
    errors += broken
    names = {
        name.text: None
        for before, colon, name in zip([None, *tokens], tokens, tokens[1:], strict=False)
        if colon.text == ":"
        and name.kind is Kind.WORD
        and name.start == colon.end
        # `a::int` is a cast, `a:b` a field of JSON
        and not (before is not None and before.end == colon.start and (before.text == ":" or before.kind is Kind.WORD))
    }
    return Expression(sql, tuple(names))
