"""save overwrite table as format.`path` where options partitionBy columns;"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Save
from sqlllm.errors import OptionError

from . import excel, formats, incremental, options
from .registry import statement
from .tables import table_named

if TYPE_CHECKING:
    from .session import Session

_READ_ONLY = ("csvstr", "image", "jsonstr", "llm", "model", "modelexample", "modelparams", "script")


@statement(Save)
def save(session: Session, save: Save) -> None:
    frame = table_named(session, save.table)
    ask = formats.request(session, save)
    kind = ask.format.lower()
    if kind in _READ_ONLY:
        raise OptionError(f"{ask.format} can only be loaded", cure="Save as json, csv or parquet.", place=ask.place)
    if "incremental" in ask.options:
        with formats.errors_explained(ask):
            frame = incremental.new_rows(ask, frame, save.mode)
    if "fileNum" in ask.options:
        frame = frame.repartition(options.count(ask.options, "fileNum"))
        del ask.options["fileNum"]
    with formats.errors_explained(ask):
        if kind == "excel":
            excel.write(ask, frame, save.mode)
            return
        writer = frame.write.mode(save.mode)
        if save.partition_by:
            writer = writer.partitionBy(*(column.resolve(session.variables) for column in save.partition_by))
        if kind == "hive":
            writer.options(**ask.options).saveAsTable(ask.path)
        elif kind == "jdbc":
            writer.format("jdbc").options(**formats.jdbc_options(ask)).save()
        else:
            writer.format(ask.format).options(**ask.options).save(ask.path)
