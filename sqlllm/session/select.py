"""select ... as table; and Spark's own statements."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sqlllm import planner
from sqlllm.dialect.statements import Select, Sql

from . import ai, given, queries
from .mentions import mentions
from .operators import limit
from .planning import first, planned, with_planned_query
from .registry import statement
from .tables import Result

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect import RenderedSql

    from .session import Session


@statement(Select)
def select(session: Session, select: Select) -> Result:
    from .operators.running import cut_out  # it brings pyarrow

    written = select.sql.render(session.variables)
    with cut_out(session, written) as cutting:
        sql = ai.written_out(session, cutting.sql)
        models = session.models.called(sql.text)
        rows = planner.limit(sql.text) if models else 0
        query = session.meter.begin(written.text, models, limit=rows, query=cutting.query)
        frame = queries.run_sql(session, sql)
        if models:
            given.check(session.models, frame, sql)
            frame = limit.filled(session, frame, sql) or _planned(session, frame, sql)
    if models or cutting.was_cut:
        frame = session.keep(frame)  # however often the table is read
        session.meter.check_failures(query or cutting.id, frame, select.place)
    if models and not cutting.was_cut and select.table is None:
        shown = cache(lambda rows: session.keep(_first(session, frame, sql, rows)))
        return Result(frame, place=select.place, first=shown)
    if select.table is None:
        return Result(frame, place=select.place)
    return session.name_table(frame, select.table.resolve(session.variables), select.place)


@statement(Sql)
def sql(session: Session, sql: Sql) -> Result:
    from .operators.running import with_cut_query

    written = sql.sql.render(session.variables)
    with with_cut_query(session, written) as cutting:
        text = ai.written_out(session, cutting.sql)
        if models := session.models.called(text.text):
            session.meter.begin(written.text, models, limit=planner.limit(text.text), query=cutting.query)
            text = with_planned_query(session, text)
        frame = queries.run_sql(session, text)
    session.models.created(text.text)
    return Result(frame, place=sql.place)


def _planned(session: Session, frame: DataFrame, sql: RenderedSql) -> DataFrame:
    """The table of `sql`, planned; a part that runs as written is reported with its reason."""
    better = planned(session, frame, sql)
    if better.reason and hasattr(better.frame, "_jdf"):
        with queries.errors_at(sql.place):  # Spark refuses some joins only now
            better.frame._jdf.queryExecution().optimizedPlan()
    if better.reason and session.settings.llm.planner and mentions(sql.text).tables:
        session.observer.warned(f"the select runs as written, because {better.reason}")
    return better.frame


def _first(session: Session, frame: DataFrame, sql: RenderedSql, rows: int) -> DataFrame:
    """That many rows of `sql`, with as few calls as that takes."""
    return limit.first(session, sql, rows) or first(session, frame, sql, rows)
