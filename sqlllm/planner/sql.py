"""Spark SQL to trees and back, and how to look at a tree without looking into the queries inside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Any, ClassVar, TypeVar, overload

from sqlglot import exp, parse, parse_one
from sqlglot.dialects import Spark
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.generator import Generator
from sqlglot.tokenizer_core import TokenType

PREFIX = "__llm_"
"""How the names of our own columns begin."""

# Names that Spark takes for values, types, functions or clauses where they are not quoted.
_WORDS = {
    "all", "and", "anti", "array", "as", "between", "by", "case", "cast", "cross", "current_catalog",
    "current_database", "current_date", "current_schema", "current_time", "current_timestamp", "current_user", "date",
    "default", "distinct", "else", "end", "except", "exists", "false", "from", "full", "group", "having", "in",
    "inner", "intersect", "interval", "is", "join", "lateral", "left", "like", "limit", "localtimestamp", "map",
    "minus", "natural", "not", "null", "on", "or", "order", "qualify", "right", "select", "semi", "session_user",
    "struct", "then", "timestamp", "true", "union", "user", "using", "when", "where", "window",
}  # fmt: skip
_OURS = "ours"  # in the meta of a function that a layer brought

# Built-in functions that give something else each time.
_VOLATILE = {
    "rand", "random", "randn", "randstr", "uniform", "uuid", "shuffle", "monotonically_increasing_id",
    "spark_partition_id", "input_file_name", "input_file_block_start", "input_file_block_length", "reflect",
    "try_reflect", "java_method",
}  # fmt: skip


class NotUnderstood(Exception):
    """This part of the statement stays as it is; the message is the reason, which goes on from "because"."""


def _not(self: Generator, node: exp.Not) -> str:
    found = node.this
    if isinstance(found, exp.Is) and isinstance(found.expression, exp.Null):
        return f"{self.sql(found, 'this')} IS NOT NULL"  # to Spark, NOT x IS NULL is something else
    return self.not_sql(node)


def _path(self: Generator, node: exp.JSONExtract) -> str:
    """`v:a.b[0]`, the path into a variant."""
    if not node.args.get("variant_extract"):
        self.unsupported("a path that is not a variant's")
    path = ""
    for part in node.expression.expressions[1:]:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            path += f".{part.this}" if re.fullmatch(r"[A-Za-z_]\w*", part.this) else f"['{part.this}']"
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
            path += f"[{part.this}]"
        else:
            self.unsupported("a path with a wildcard")
    return f"{self.sql(node, 'this')}:{path.removeprefix('.')}"


def named(call: exp.Expr | None) -> exp.Column | None:
    """What `call` names if it is identifier('a.b'), a text; else None."""
    if not (isinstance(call, exp.Anonymous) and call.name.lower() == "identifier" and len(call.expressions) == 1):
        return None
    text = call.expressions[0]
    if not (isinstance(text, exp.Literal) and text.is_string):
        return None
    try:
        found = parse_one(text.name, dialect="spark", into=exp.Column)
    except SqlglotError:
        return None
    return found if isinstance(found, exp.Column) else None


class Dialect(Spark):  # type: ignore[misc] # sqlglot makes its dialects at run time
    class Tokenizer(Spark.Tokenizer):  # type: ignore[misc]
        # A doubled quote is that quote, in Spark 4; to sqlglot's Spark it ends a text and begins another.
        STRING_ESCAPES: ClassVar[list[str]] = ["\\", "'", '"']

    class Parser(Spark.Parser):  # type: ignore[misc]
        COLON_IS_VARIANT_EXTRACT = True
        # Functions ai_* are ours: sqlglot knows other arguments of some.
        FUNCTIONS: ClassVar[dict[str, Any]] = {
            name: build for name, build in Spark.Parser.FUNCTIONS.items() if not name.startswith("AI_")
        }

        def _parse_function_call(
            self,
            functions: dict[str, Callable[..., exp.Expr]] | None = None,
            anonymous: bool = False,
            optional_parens: bool = True,
            any_token: bool = False,
        ) -> exp.Expr | None:
            """A call; of `identifier('f')(x)` the call `f(x)`."""
            token = self._curr
            found: exp.Expr | None = super()._parse_function_call(functions, anonymous, optional_parens, any_token)
            name = named(found)
            if name is None or not self._match(TokenType.L_PAREN):
                return found
            call: exp.Expr = exp.Anonymous(this=name.this, expressions=self._parse_function_args(alias=True))
            self._match_r_paren(call.update_positions(token))
            for part in name.parts[-2::-1]:
                call = exp.Dot(this=part, expression=call)
            windowed: exp.Expr = self._parse_window(call)
            return windowed

    class Generator(Spark.Generator):  # type: ignore[misc]
        # A CTE stays where it is: moved to the top, its name would mean itself for tables outside of its query.
        EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()
        # Spark 4.3 has QUALIFY; sqlglot's Spark would rewrite it, and lose the columns' names.
        TRANSFORMS = {kind: to for kind, to in Spark.Generator.TRANSFORMS.items() if kind is not exp.Select} | {
            exp.Not: _not,
            exp.JSONExtract: _path,
            exp.ParseJSON: lambda self, node: self.func("PARSE_JSON", node.this),
        }


def read(sql: str) -> exp.Query | None:
    """The query that `sql` is; None if it is something else, nested too deeply, or sqlglot does not know its syntax."""
    tree = _read(sql)
    return tree and tree.copy()


@lru_cache(maxsize=16)  # a select is read by several rules of its session
def _read(sql: str) -> exp.Query | None:
    try:
        trees = parse(sql, dialect=Dialect)
    except (SqlglotError, RecursionError):
        return None
    return trees[0] if len(trees) == 1 and isinstance(trees[0], exp.Query) else None


def write(tree: exp.Expr) -> str:
    """The SQL of `tree`; raises SqlglotError if Spark has no syntax for something in it.

    Nodes that are written for the first time may be replaced by others in `tree`: it is written before it is changed.
    """
    return tree.sql(
        dialect=Dialect, normalize_functions=False, comments=False, unsupported_level=ErrorLevel.RAISE, copy=False
    )


_Node = TypeVar("_Node", bound=exp.Expr)


@overload
def nodes(tree: exp.Expr) -> list[exp.Expr]: ...
@overload
def nodes(tree: exp.Expr, kind: type[_Node]) -> list[_Node]: ...
def nodes(tree: exp.Expr, kind: type[exp.Expr] | None = None) -> list[Any]:
    """`tree` and all below it, outer ones first; of one `kind`, if it is given. Faster than sqlglot's own walks."""
    found = [tree]
    for node in found:
        if isinstance(node, exp.Identifier | exp.Literal):
            continue
        for value in node.args.values():
            if isinstance(value, exp.Expr):
                found.append(value)
            elif value.__class__ is list:
                found += [one for one in value if isinstance(one, exp.Expr)]
    return found if kind is None else [node for node in found if isinstance(node, kind)]


def here(node: exp.Expr) -> Iterator[exp.Expr]:
    """`node` and what is below it, as far as the queries inside it, outermost first."""
    return node.walk(bfs=False, prune=lambda found: isinstance(found, exp.Query))


def is_call(node: exp.Expr, models: Collection[str]) -> bool:
    return (
        isinstance(node, exp.Anonymous)
        and node.name.lower() in models
        and len(node.expressions) == 1
        and not isinstance(node.parent, exp.Dot)
    )


def calls(node: exp.Expr, models: Collection[str]) -> list[exp.Expr]:
    """The model calls in `node`, not those of queries inside it."""
    return [found for found in here(node) if is_call(found, models)]


def has_calls(tree: exp.Expr, models: Collection[str]) -> bool:
    """Whether a model is called anywhere in `tree`."""
    return any(is_call(found, models) for found in nodes(tree, exp.Anonymous))


def mark_volatile(tree: exp.Expr, sql: str, names: Collection[str]) -> None:
    """Mark the functions of `tree`, which was read from `sql`, that the user has registered under one of `names`.

    The places of other nodes go: each copy of a tree would copy them.
    """
    for node in nodes(tree):
        place, node._meta = node._meta, None
        if names and place and "start" in place and isinstance(node, exp.Func):
            written = sql[place["start"] : place["end"] + 1].strip("`").lower()
            if written in names:
                node.meta["volatile"] = True
        elif names and isinstance(node, exp.Func) and node.name.lower() in names:
            node.meta["volatile"] = True


def is_random(node: exp.Expr) -> bool:
    """Whether a function of Spark in `node` gives something else each time."""
    return any(map(_is_random, nodes(node)))


def is_volatile(node: exp.Expr) -> bool:
    """Whether a function in `node` gives, or may give, something else each time."""
    return any(_is_random(found) or found.meta_get("volatile") for found in nodes(node))


def _is_random(node: exp.Expr) -> bool:
    if not isinstance(node, exp.Func) or node.meta_get(_OURS):
        return False
    return bool({node.name.lower(), node.sql_name().lower()} & _VOLATILE)


def partition() -> exp.Anonymous:
    """spark_partition_id() in a layer of ours, which changes no row."""
    call = exp.Anonymous(this="spark_partition_id")
    call.meta[_OURS] = True
    return call


def identifier(name: str) -> exp.Identifier:
    """`name` as a column, a table or an alias; quoted where it would be something else."""
    return exp.to_identifier(name, quoted=not name.isidentifier() or name.lower() in _WORDS)


def operand(value: exp.Expr) -> exp.Expr:
    """A copy of `value` that can stand in any expression."""
    atomic = isinstance(value, exp.Column | exp.Func | exp.Literal | exp.Paren) and not isinstance(value, exp.Binary)
    return value.copy() if atomic else exp.paren(value)


def copied(args: dict[str, Any]) -> dict[str, Any]:
    """Copies of a node's arguments, for a node of our own."""
    return {
        key: [one.copy() for one in value] if isinstance(value, list) else value and value.copy()
        for key, value in args.items()
    }


def size(tree: exp.Expr) -> int:
    """The number of nodes in `tree`."""
    return len(nodes(tree))


def depth(tree: exp.Expr) -> int:
    """How deep nodes nest in `tree`."""
    level, deepest = [tree], 0
    while level:
        level = [child for node in level for child in node.iter_expressions()]
        deepest += 1
    return deepest


def is_plain_star(item: exp.Expr) -> bool:
    """Whether a star shows every column under its own name: without EXCEPT and the like."""
    star = item.this if isinstance(item, exp.Column) else item
    return isinstance(star, exp.Star) and not any(star.args.values())
