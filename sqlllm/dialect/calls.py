"""The calls of functions in SQL, by its tokens: what `check` looks up before anything runs.

Where it is not plain that a name with a bracket is a call - an alias with columns, a type, a clause - it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .builtins import functions, keywords
from .tokens import Kind, Token

_TYPES = frozenset({"char", "character", "dec", "decimal", "numeric", "varchar"})
_SPECIAL = frozenset(
    {"from", "in", "placing", "for", "as", "select", "with", "values", "table", "both", "leading", "trailing"}
)
_CLAUSES = frozenset({"filter", "any", "some", "all", "exists", "identifier"})  # names with brackets that are SQL's
_QUERIES = ("select", "with", "from", "values", "table", "(")


class Call(NamedTuple):
    """`name(argument, ...)`: how many arguments, or None where they are not a plain list; those of `name => value`."""

    name: Token
    arguments: int | None
    named: tuple[Token, ...]
    end: Token  # the closing bracket


def calls(tokens: Sequence[Token]) -> Iterator[Call]:
    """The calls among `tokens` (without comments), in the order of their names."""
    closing = _closing(tokens)
    for index, token in enumerate(tokens[:-1]):
        if tokens[index + 1].text != "(" or token.kind not in (Kind.WORD, Kind.BACKQUOTED):
            continue
        end = closing.get(index + 1)
        if end is not None and is_call(tokens, index, end):
            yield _call(tokens, index, end)


def _closing(tokens: Sequence[Token]) -> dict[int, int]:
    """The place of the bracket that closes the one at each place."""
    found, opened = {}, []
    for index, token in enumerate(tokens):
        if token.kind is Kind.SYMBOL:
            if token.text in "([{":
                opened.append(index)
            elif token.text in ")]}" and opened:
                found[opened.pop()] = index
    return found


def is_call(tokens: Sequence[Token], index: int, end: int) -> bool:
    """Whether the name at `index`, whose bracket closes at `end`, is that of a function which is called."""
    token, before = tokens[index], tokens[index - 1] if index else None
    word = token.text.lower()
    if word[:1].isdigit() or (word in keywords() and word not in functions()):
        return False
    if _is_query(tokens, end):  # with t(a, b) as (select ...)
        return False
    if before is None:
        return True
    if before.kind is Kind.WORD:
        # `t x(a, b)`, `as x(a, b)`: an alias and its columns
        return before.text.lower() in keywords() and before.text.lower() not in ("as", "table", "into", "recursive")
    if before.kind is Kind.SYMBOL:
        return before.text not in (")", "]", ".", ":", "#", "$", "@", "\\${")
    return before.kind is Kind.HINT


def _is_query(tokens: Sequence[Token], end: int) -> bool:
    after = [token.text.lower() for token in tokens[end + 1 : end + 4]]
    return after[:2] == ["as", "("] and after[2:] != [] and after[2] in _QUERIES


def _call(tokens: Sequence[Token], index: int, end: int) -> Call:
    depth, commas, named, plain = 0, 0, [], True
    inside = tokens[index + 2 : end]
    for at, token in enumerate(inside):
        if token.kind is Kind.SYMBOL:
            depth += (token.text in "([{") - (token.text in ")]}")
        if depth:
            continue
        following = [one.text for one in inside[at + 1 : at + 3]]
        if token.text == ",":
            commas += 1
        elif _is_special(inside, at):
            plain = False
        elif token.kind is Kind.WORD and following == ["=", ">"]:
            named.append(token)
    name = tokens[index]
    after = tokens[end + 1].text.lower() if end + 1 < len(tokens) else ""
    if name.text.lower() in _TYPES | _CLAUSES or after == "within":
        plain = False
    return Call(name, (commas + 1 if inside else 0) if plain else None, tuple(named), tokens[end])


def _is_special(tokens: Sequence[Token], index: int) -> bool:
    """Whether the token makes a list of arguments more than one: a keyword, a `*`, a variable."""
    token = tokens[index]
    if token.text == "*":
        return index == 0 or tokens[index - 1].text in (",", ".")
    return token.kind is Kind.VARIABLE or token.text in ("#", "$") or token.text.lower() in _SPECIAL
