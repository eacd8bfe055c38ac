"""How a table lies on the workers: TableRepartition, CacheExt; EmptyTable, which has no rows at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import OptionError

from .. import caches, options
from ..registry import module
from ..tables import Result
from .inputs import columns_of, input_table, options_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session


@module(
    "TableRepartition",
    partitionNum="how many partitions",
    partitionType="hash (the default) or range",
    partitionCols="the columns that decide where a row goes",
    shuffle="false only joins partitions",
)
def table_repartition(session: Session, run: Run) -> Result:
    """A table in another number of partitions."""
    return Result(repartition(input_table(session, run), options_of(session, run)), place=run.place)


@module("EmptyTable")
def empty_table(session: Session, run: Run) -> Result:
    """The columns of the input without its rows."""
    options_of(session, run)
    return Result(input_table(session, run).limit(0), place=run.place)


@module(
    "CacheExt",
    execute="cache (the default) or uncache",
    lifeTime="script (the default) or session",
    isEager="true computes the table now",
)
def cache(session: Session, run: Run) -> Result:
    """Computes a table once; `!cache` in other words."""
    given, frame = options_of(session, run), input_table(session, run)
    name = run.table.resolve(session.variables)
    if options.choice(given, "execute", ("cache", "uncache")) == "uncache":
        caches.remove(session, name)
    else:
        caches.add(session, name, options.choice(given, "lifeTime", caches.LIFECYCLES))
        if options.flag(given, "isEager", False):
            frame.count()
    return Result(frame, place=run.place)


def repartition(frame: DataFrame, given: dict[str, str]) -> DataFrame:
    """`frame` in `partitionNum` partitions: by hash or range of `partitionCols`, or joined without a shuffle."""
    options.require(given, ["partitionNum"], "TableRepartition")
    number = options.count(given, "partitionNum")
    by_range = options.choice(given, "partitionType", ("hash", "range")) == "range"
    columns = columns_of(frame, given, "partitionCols")
    if by_range and not columns:
        raise OptionError("partitionType range needs columns", cure='Add partitionCols="a,b".', key="partitionType")
    if not options.flag(given, "shuffle", True):
        if columns:
            raise OptionError("without a shuffle no column decides where a row goes", key="shuffle")
        return frame.coalesce(number)
    return frame.repartitionByRange(number, *columns) if by_range else frame.repartition(number, *columns)
