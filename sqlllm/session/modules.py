"""Modules of `run ... as Name` that Byzer-SQL has built in. Others come by the entry point group `sqlllm.modules`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError

from . import options
from .registry import module
from .tables import Result, table_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .session import Session

DUMMY = "command"
"""The input table of a module that takes none."""


def input_table(session: Session, run: Run) -> DataFrame:
    """The table that a module works on; `command` is one row. TableError at its place if there is none."""
    if run.table.raw.lower() == DUMMY:
        return session.spark.range(1)
    return table_named(session, run.table)


@module("TableRepartition")
def table_repartition(session: Session, run: Run) -> Result:
    given = run.options.resolve(session.variables)
    return Result(repartition(input_table(session, run), given), place=run.place)


@module("EmptyTable")
def empty_table(session: Session, run: Run) -> Result:
    """The columns of the input without its rows."""
    options.check(run.options.resolve(session.variables), ())
    return Result(input_table(session, run).limit(0), place=run.place)


def repartition(frame: DataFrame, given: dict[str, str]) -> DataFrame:
    """`frame` in `partitionNum` partitions: by hash or range of `partitionCols`, or joined without a shuffle."""
    options.check(given, ("partitionNum", "partitionType", "partitionCols", "shuffle"))
    options.require(given, ["partitionNum"], "TableRepartition")
    number = options.count(given, "partitionNum")
    by_range = options.choice(given, "partitionType", ("hash", "range")) == "range"
    columns = [column.strip() for column in given.get("partitionCols", "").split(",") if column.strip()]
    if by_range and not columns:
        raise OptionError("partitionType range needs columns", cure='Add partitionCols="a,b".', key="partitionType")
    if not options.flag(given, "shuffle", True):
        if columns:
            raise OptionError("without a shuffle no column decides where a row goes", key="shuffle")
        return frame.coalesce(number)
    return frame.repartitionByRange(number, *columns) if by_range else frame.repartition(number, *columns)
