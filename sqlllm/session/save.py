"""save overwrite table as format.`path` where options partitionBy columns;"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from sqlllm.dialect.statements import Save
from sqlllm.errors import OptionError

from . import delimited, excel, formats, incremental, options, replace
from .registry import statement
from .tables import Result, identifier, table_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter

    from .formats import Request
    from .session import Session

_DATES_AS_TEXT = ("csv", "json", "xml")
_EXACT = {  # Spark's own formats cut microseconds off
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss[.SSSSSS][XXX]",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]",
}
_READ_ONLY = (
    "auto", "csvstr", "image", "jsonstr", "llm", "mockstream", "model", "modelexample", "modelparams", "rate",
    "rest", "script",
)  # fmt: skip
_OF_STREAMS = ("checkpointLocation", "duration", "mode")


@statement(Save)
def save(session: Session, save: Save) -> Result | None:
    frame = table_named(session, save.table)
    ask = formats.request(session, save)
    kind = ask.format.lower()
    if kind in _READ_ONLY:
        raise OptionError(f"{ask.format} can only be loaded", cure="Save as json, csv or parquet.", place=ask.place)
    if kind == "console":  # Spark's own prints where nobody sees it
        options.check(ask.options, (*_OF_STREAMS, "numRows", "truncate"))
        rows = options.count({"numRows": "20", **ask.options}, "numRows")
        session.observer.shown(Result(frame.limit(rows), place=save.place))
        return None
    if "incremental" in ask.options:
        with formats.errors_explained(ask):
            frame = incremental.new_rows(ask, frame, save.mode)
    columns = [column.resolve(session.variables) for column in save.partition_by]
    if kind == "index":
        if columns:
            raise OptionError("an index has no partitions", cure='Leave partitionBy out, or write filters="COLUMN".')
        from .indexes import write

        return write.save(ask, frame, save.mode)
    with formats.errors_explained(ask):
        if kind == "excel":
            excel.write(ask, frame, save.mode)
            return None
        if kind not in replace.FORMATS and "fileNum" in ask.options:
            frame = frame.repartition(options.count(ask.options, "fileNum"))
            del ask.options["fileNum"]
        if kind == "hive":
            _table(ask, frame, save.mode, columns)
        elif kind in replace.FORMATS:
            _files(ask, frame, save.mode, columns, save.table.resolve(session.variables))
        elif kind == "jdbc":
            writer = _writer(frame, columns).mode(save.mode).format("jdbc")
            writer.options(**formats.jdbc_options(ask)).save()
        else:
            _writer(frame, columns).mode(save.mode).format(ask.format).options(**ask.options).save(ask.path)
    return None


def _files(ask: Request, frame: DataFrame, mode: str, columns: list[str], table: str) -> None:
    number = options.count(ask.options, "fileNum") if "fileNum" in ask.options else 0
    given = {**(_EXACT if ask.format.lower() in _DATES_AS_TEXT else {}), **ask.options}
    given.pop("fileNum", None)

    def write(frame: DataFrame, path: str, mode: str = "errorifexists") -> None:
        frame, found = delimited.writing(frame, given, columns) if ask.format.lower() == "csv" else (frame, given)
        frame = frame.repartition(number) if number else frame
        _writer(frame, columns).mode(mode).format(ask.format).options(**found).save(path)

    if ask.session.settings.spark.remote or (mode == "overwrite" and columns and replace.dynamic(ask)):
        write(frame, ask.path, mode)
    elif mode == "overwrite" or (mode != "append" and not replace.exists(ask)):
        replace.folder(ask, frame, write, table)  # also a new folder: a save that fails leaves none
    else:
        write(frame, ask.path, mode)


def _table(ask: Request, frame: DataFrame, mode: str, columns: list[str]) -> None:
    """A table of Spark's catalogue; an overwritten table stays until the new table is whole."""
    spark, name = ask.session.spark, identifier(ask.path)
    replaces = mode == "overwrite" and spark.catalog.tableExists(name)
    target = f"{ask.path}__{uuid4().hex}" if replaces else ask.path
    writer = _writer(frame, columns).options(**ask.options)
    if not replaces:
        writer.mode(mode).saveAsTable(name)
        return
    beside = identifier(target)
    try:
        writer.mode("errorifexists").saveAsTable(beside)
        spark.sql(f"drop table {name}")
        spark.sql(f"alter table {beside} rename to {name}")
    finally:
        spark.sql(f"drop table if exists {beside}")


def _writer(frame: DataFrame, columns: list[str]) -> DataFrameWriter:
    return frame.write.partitionBy(*columns) if columns else frame.write
