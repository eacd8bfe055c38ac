"""save append ... where incremental="id, review": only rows that are not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest

from . import delimited

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request

_KINDS = ("avro", "csv", "delta", "hive", "json", "orc", "parquet", "xml")


def new_rows(ask: Request, frame: DataFrame, mode: str) -> DataFrame:
    """Of `frame`, the rows whose values in the columns that `incremental` names are in no row at the path."""
    names = [name.strip() for name in ask.options.pop("incremental").split(",")]
    if mode != "append":
        raise OptionError("incremental is for save append", key="incremental")
    if ask.format.lower() not in _KINDS:
        cure = suggest(ask.format, _KINDS, what="formats that can be read again")
        raise OptionError(f"incremental cannot look into {ask.format}", cure=cure, key="incremental")
    there = _there(ask)
    for name in names:
        for columns in (frame.columns, frame.columns if there is None else there.columns):
            if name not in columns:
                cure = suggest(name, columns, what="columns")
                raise OptionError(f"incremental: there is no column {name}", cure=cure, key="incremental")
    if there is None:
        return frame
    known = there.select([there[name].cast(frame.schema[name].dataType).alias(f"there_{name}") for name in names])
    same = [frame[name].eqNullSafe(known[f"there_{name}"]) for name in names]
    return frame.join(known, same, "left_anti")


def _there(ask: Request) -> DataFrame | None:
    """What is at the path; None if nothing is."""
    from pyspark.errors import AnalysisException

    reader = ask.session.spark.read.options(**ask.options)
    try:
        if ask.format.lower() == "csv":
            return delimited.read(ask)
        return reader.table(ask.path) if ask.format.lower() == "hive" else reader.format(ask.format).load(ask.path)
    except AnalysisException as error:
        if error.getCondition() in {"PATH_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND", "DELTA_TABLE_NOT_FOUND"}:
            return None
        raise
