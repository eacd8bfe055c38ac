"""save overwrite table as format.`path` where options partitionBy columns;"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Save
from sqlllm.errors import OptionError

from . import queries
from .registry import statement
from .tables import table_named

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result


@statement(Save)
def save(session: Session, save: Save) -> Result | None:
    frame = table_named(session, save.table)
    options = save.options.resolve(session.variables)
    if files := options.pop("fileNum", None):
        if not files.isdecimal() or int(files) == 0:
            raise OptionError(f"fileNum is the number of files to write, not {files!r}", key="fileNum")
        frame = frame.repartition(int(files))
    writer = frame.write.mode(save.mode).format(save.format.resolve(session.variables)).options(**options)
    if save.partition_by:
        writer = writer.partitionBy(*(column.resolve(session.variables) for column in save.partition_by))
    with queries.errors_at(save.place):
        writer.save(save.path.resolve(session.variables))
    return None
