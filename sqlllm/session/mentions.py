"""The functions and tables that SQL names, read from its syntax tree; pure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.simplify import simplify

from sqlllm.dialect.tokens import Kind, Tokenizer
from sqlllm.places import Source
from sqlllm.planner.sql import Dialect

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of syntax that it does not know; the tokens serve then

_NAMES = (Kind.WORD, Kind.BACKQUOTED)


@dataclass(frozen=True, slots=True)
class Mentions:
    """Names in lower case, without backquotes or a qualifier. A name too many is possible, a missing name is not."""

    functions: frozenset[str]
    tables: frozenset[str]


@lru_cache(maxsize=64)
def mentions(sql: str) -> Mentions:
    """What `sql` names: one or more statements, or an expression."""
    try:
        trees = parse(sql, dialect=Dialect)
    except (SqlglotError, RecursionError):
        return _of_tokens(sql)
    if any(tree is None or tree.find(exp.Command) for tree in trees):  # its text was not read
        return _of_tokens(sql)
    found = [tree for tree in trees if tree is not None]
    return Mentions(
        frozenset(name.lower() for tree in found for node in tree.find_all(exp.Func) for name in _names_of(node)),
        frozenset(table.name.lower() for tree in found for table in tree.find_all(exp.Table)),
    )


def created_view(sql: str) -> str:
    """The name of the view that `sql` creates, in lower case; empty if it creates none."""
    try:
        tree = parse(sql, dialect="spark")[0]
    except (SqlglotError, RecursionError):
        return ""
    found = tree.find(exp.Table) if isinstance(tree, exp.Create) and tree.kind == "VIEW" else None
    return found.name.lower() if found else ""


def _names_of(node: exp.Func) -> Iterator[str]:
    """A function's name; of one that sqlglot has a class for, every name of that class."""
    if isinstance(node, exp.Anonymous):
        yield node.name
        if node.name.lower() == "identifier":  # identifier('m')(x)
            yield from map(_meant, node.expressions)
    else:
        yield from node.sql_names()


def _meant(text: exp.Expr) -> str:
    """The last part of the name that `text`, an argument of identifier(), gives; empty if it is not constant."""
    value = simplify(text.copy(), dialect="spark")
    if not value.is_string:
        return ""
    try:
        return str(exp.to_column(value.name, dialect="spark").name)
    except SqlglotError:
        return ""


def _of_tokens(sql: str) -> Mentions:
    """The same where the syntax is unknown: every name before a bracket may be a function, every name a table."""
    tokenizer, functions, tables = Tokenizer(Source(sql)), set[str](), set[str]()
    while tokens := tokenizer.statement():
        tables |= {token.content.lower() for token in tokens if token.kind in _NAMES}
        functions |= {one.content.lower() for one, two in pairwise(tokens) if one.kind in _NAMES and two.text == "("}
        for word, _, text in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if word.text.lower() == "identifier" and text.kind is Kind.STRING:
                functions.add(_meant(exp.Literal.string(text.content)).lower())
        if tokens[0].text.lower() == "execute":  # execute immediate 'select m(x)'
            inner = [mentions(token.content) for token in tokens if token.kind is Kind.STRING]
            tables |= {name for one in inner for name in one.tables}
            functions |= {name for one in inner for name in one.functions}
    return Mentions(frozenset(functions), frozenset(tables))
