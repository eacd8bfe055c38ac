"""JsonExpandExt: a column of JSON texts, or of structs, becomes columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, TableError

from .. import options
from ..registry import module
from ..tables import Result, identifier
from .inputs import columns_of, input_table, options_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session

_BROKEN = "_corrupt_record"


@module(
    "JsonExpandExt",
    inputCol="the column of JSON texts or structs",
    structColumn="true keeps it one column, a struct",
    samplingRatio="the share of the rows that are looked at for the columns (1.0)",
)
def expand(session: Session, run: Run) -> Result:
    """One column for each key of a JSON text, in its place; a key that a row does not have is NULL there."""
    given, frame = options_of(session, run), input_table(session, run)
    options.require(given, ["inputCol"], "JsonExpandExt")
    (name,) = columns_of(frame, given, "inputCol")
    column, kind = identifier(name), dict(frame.dtypes)[name]
    if kind == "string":
        schema = _schema(session, frame.select(column), given.get("samplingRatio", "1.0"))
        struct = f"from_json({column}, '{schema}')"
    elif kind.startswith("struct<"):
        struct = column
    else:
        raise OptionError(f"{name} holds neither texts nor structs: it is {kind}", key="inputCol")
    unpacked = frame.selectExpr(*(f"{struct} as {column}" if one == name else identifier(one) for one in frame.columns))
    if options.flag(given, "structColumn", False):
        return Result(unpacked, place=run.place)
    expanded = [f"{column}.*" if one == name else identifier(one) for one in frame.columns]
    return Result(unpacked.selectExpr(*expanded), place=run.place)


def _schema(session: Session, texts: DataFrame, ratio: str) -> str:
    """The columns of the JSON texts as Spark's DDL, ready for a literal."""
    found = session.spark.read.options(samplingRatio=ratio).json(texts).schema
    if _BROKEN in found.fieldNames():
        (name,) = texts.columns
        column = identifier(name)
        broken = texts.where(f"{column} is not null and try_parse_json({column}) is null").first()
        raise TableError(f"a text in {name} is not JSON: {broken[0] if broken else '...'}", cure="Leave its row out.")
    return str(found.toDDL()).replace("\\", "\\\\").replace("'", "\\'")
