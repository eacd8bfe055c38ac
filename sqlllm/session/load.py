"""load format.`path` where options as table;"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Load

from . import queries
from .registry import statement

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result


@statement(Load)
def load(session: Session, load: Load) -> Result:
    name = load.table.resolve(session.variables)
    reader = session.spark.read.format(load.format.resolve(session.variables))
    reader = reader.options(**load.options.resolve(session.variables))
    with queries.errors_at(load.path.place):
        frame = reader.load(load.path.resolve(session.variables))
    return session.name_table(frame, name, load.place)
