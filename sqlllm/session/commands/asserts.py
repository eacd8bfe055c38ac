"""!assertNotNull, !assertUniqueKey and their kin: the rows that break a rule; with Throw in the name, an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import TableError, suggest

from ..registry import command
from ..tables import Result, identifier, table_named
from . import arguments
from .profiler import breaking, stop_if_any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session

Rule = Callable[["Session", Macro], "DataFrame"]


def _not_null(session: Session, macro: Macro) -> DataFrame:
    """The rows in which one of the columns is NULL."""
    frame, columns = _columns(session, macro)
    return frame.where(" or ".join(f"{column} is null" for column in columns))


def _unique_key(session: Session, macro: Macro) -> DataFrame:
    """A row `column` for each of the columns that holds a value twice."""
    from pyspark.sql import functions as f

    frame, columns = _columns(session, macro)
    held = frame.agg(*(f.expr(f"count({column}) > count(distinct {column})").alias(column) for column in columns))
    twice = [column.strip("`") for column, repeats in zip(columns, held.collect()[0], strict=True) if repeats]
    return session.table([{"column": column} for column in twice], "column string")


def _unique_keys(session: Session, macro: Macro) -> DataFrame:
    """The values that the columns together hold twice, and how often."""
    frame, columns = _columns(session, macro)
    return frame.groupBy(*columns).count().where("count > 1")


_RULES: dict[str, tuple[Rule, str]] = {
    "assertcondition": (breaking, "'a > 0'"),
    "assertnotnull": (_not_null, "'a,b'"),
    "assertuniquekey": (_unique_key, "'a,b'"),
    "assertuniquekeys": (_unique_keys, "'a,b'"),
}


@command(*_RULES, *(f"{name}throw" for name in _RULES))
def check(session: Session, macro: Macro) -> Result:
    name = macro.name.lower()
    rule, example = _RULES[name.removesuffix("throw")]
    arguments.words(session, macro, f"!{macro.name} my_table {example};", 2)
    wrong = rule(session, macro)
    if name.endswith("throw"):
        table, what = (argument.resolve(session.variables) for argument in macro.args)
        stop_if_any(wrong, f"{table} breaks !{macro.name} {what.strip()}", table_named(session, macro.args[0]))
    return Result(wrong, place=macro.place)


def _columns(session: Session, macro: Macro) -> tuple[DataFrame, list[str]]:
    frame, text = table_named(session, macro.args[0]), macro.args[1]
    names = [name.strip() for name in text.resolve(session.variables).split(",")]
    for name in names:
        if name not in frame.columns:
            cure = suggest(name, frame.columns, what="columns")
            raise TableError(f"there is no column {name}", cure=cure, place=text.place)
    return frame, [identifier(name) for name in names]
