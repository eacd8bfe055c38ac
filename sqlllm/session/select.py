"""select ... as table; and Spark's own statements."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Select, Sql

from . import ai, queries
from .planning import first, planned, with_planned_query
from .registry import statement
from .tables import Result

if TYPE_CHECKING:
    from .session import Session

_CALL = re.compile(r"\b(\w+)`?\s*\(")


@statement(Select)
def select(session: Session, select: Select) -> Result:
    sql = ai.written_out(session, select.sql.render(session.variables))
    query = session.meter.begin(sql.text)
    frame = queries.run_sql(session, sql)
    if session.models & {name.lower() for name in _CALL.findall(sql.text)}:
        frame = session.keep(planned(session, frame, sql).frame)  # however often the table is read
        session.meter.check_failures(query, frame, select.place)
        if select.table is None:
            return Result(
                frame, place=select.place, first=cache(lambda rows: session.keep(first(session, frame, sql, rows)))
            )
    if select.table is None:
        return Result(frame, place=select.place)
    return session.name_table(frame, select.table.resolve(session.variables), select.place)


@statement(Sql)
def sql(session: Session, sql: Sql) -> Result:
    text = ai.written_out(session, sql.sql.render(session.variables))
    if session.meter.begin(text.text):
        text = with_planned_query(session, text)
    return Result(queries.run_sql(session, text), place=sql.place)
