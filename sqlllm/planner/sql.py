"""Spark SQL to trees and back, and how to look at a tree without looking into the queries inside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

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


class _Dialect(Spark):  # type: ignore[misc] # sqlglot makes its dialects at run time
    class Generator(Spark.Generator):  # type: ignore[misc]
        # Spark 4.3 has QUALIFY; sqlglot's Spark would rewrite it, and lose the columns' names.
        TRANSFORMS = {kind: to for kind, to in Spark.Generator.TRANSFORMS.items() if kind is not exp.Select} | {
            exp.Not: _not
        }


def read(sql: str) -> exp.Query | None:
    """The query that `sql` is; None if it is something else or sqlglot does not know its syntax."""
    try:
        trees = parse(sql, dialect=_Dialect)
    except SqlglotError:
        return None
    return trees[0] if len(trees) == 1 and isinstance(trees[0], exp.Query) else None


def write(tree: exp.Expr) -> str:
    """The SQL of `tree`; raises SqlglotError if Spark has no syntax for something in it."""
    return tree.sql(dialect=_Dialect, normalize_functions=False, comments=False, unsupported_level=ErrorLevel.RAISE)


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


def is_volatile(node: exp.Expr) -> bool:
    """Whether a function in `node` gives something else each time."""
    return any(
        isinstance(found, exp.Func) and {found.name.lower(), found.sql_name().lower()} & _VOLATILE
        for found in node.walk()
    )


def operand(value: exp.Expr) -> exp.Expr:
    """A copy of `value` that can stand in any expression."""
    atomic = isinstance(value, exp.Column | exp.Func | exp.Literal | exp.Paren) and not isinstance(value, exp.Binary)
    return value.copy() if atomic else exp.paren(value)
