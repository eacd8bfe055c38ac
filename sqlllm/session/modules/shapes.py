"""DataTranspose: rows become columns, and columns rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import options
from ..registry import module
from ..tables import Result, identifier
from .inputs import columns_of, input_table, options_of

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Run

    from ..session import Session


@module(
    "DataTranspose",
    method="pivot (the default) or unpivot",
    indexCols="the columns that stay",
    inputCol="pivot: the column whose values become columns",
    aggCol="the column of the values; unpivot: its name",
    unPivotCols="unpivot: the columns that become rows",
    mergedCol="unpivot: the name of the column that holds their names",
)
def transpose(session: Session, run: Run) -> Result:
    """One column for each value of a column, or one row for each of some columns."""
    from pyspark.sql import functions as f

    given, frame = options_of(session, run), input_table(session, run)
    method = options.choice(given, "method", ("pivot", "unpivot"))
    kept = columns_of(frame, given, "indexCols")
    if method == "pivot":
        options.require(given, ["indexCols", "inputCol", "aggCol"], "pivot")
        (over,), (value,) = columns_of(frame, given, "inputCol"), columns_of(frame, given, "aggCol")
        wide = frame.groupBy(*map(identifier, kept)).pivot(identifier(over)).agg(f.first(identifier(value)))
        return Result(wide, place=run.place)
    options.require(given, ["indexCols", "unPivotCols", "mergedCol", "aggCol"], "unpivot")
    stay = tuple(f.col(identifier(name)) for name in kept)
    melted = tuple(f.col(identifier(name)) for name in columns_of(frame, given, "unPivotCols"))
    return Result(frame.unpivot(stay, melted, given["mergedCol"], given["aggCol"]), place=run.place)
