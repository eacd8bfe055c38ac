"""Spark SQL to trees and back, and how to look at a tree without looking into the queries inside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from sqlglot import exp, parse
from sqlglot.dialects import Spark
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.generator import Generator

PREFIX = "__llm_"
"""How the names of our own columns begin."""

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


class Dialect(Spark):  # type: ignore[misc] # sqlglot makes its dialects at run time
    class Parser(Spark.Parser):  # type: ignore[misc]
        COLON_IS_VARIANT_EXTRACT = True

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
    try:
        trees = parse(sql, dialect=Dialect)
    except (SqlglotError, RecursionError):
        return None
    return trees[0] if len(trees) == 1 and isinstance(trees[0], exp.Query) else None


def write(tree: exp.Expr) -> str:
    """The SQL of `tree`; raises SqlglotError if Spark has no syntax for something in it."""
    return tree.sql(
        dialect=Dialect, normalize_functions=False, comments=False, unsupported_level=ErrorLevel.RAISE, copy=False
    )


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
    return any(is_call(found, models) for found in tree.find_all(exp.Anonymous))


def mark_volatile(tree: exp.Expr, sql: str, names: Collection[str]) -> None:
    """Mark the functions of `tree`, which was read from `sql`, that the user has registered under one of `names`."""
    if not names:
        return
    for function in tree.find_all(exp.Func):
        place = function.meta
        written = (
            sql[place["start"] : place["end"] + 1].strip("`").lower() if "start" in place else function.name.lower()
        )
        if written in names:
            place["volatile"] = True


def is_random(node: exp.Expr) -> bool:
    """Whether a function of Spark in `node` gives something else each time."""
    return any(map(_is_random, node.walk()))


def is_volatile(node: exp.Expr) -> bool:
    """Whether a function in `node` gives, or may give, something else each time."""
    return any(_is_random(found) or "volatile" in found.meta for found in node.walk())


def _is_random(node: exp.Expr) -> bool:
    return isinstance(node, exp.Func) and bool({node.name.lower(), node.sql_name().lower()} & _VOLATILE)


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
    return sum(1 for _ in tree.walk())


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
