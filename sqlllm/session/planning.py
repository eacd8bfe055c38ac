"""A select that calls models, run as the planner would write it, where Spark agrees that it is the same."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sqlllm import planner
from sqlllm.dialect import RenderedSql
from sqlllm.errors import SQLLLMError
from sqlllm.places import Source

from . import functions, given, prompts, queries

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from .session import Session


# `insert into t ...` and `create table t ... as ...`, up to their query. A view's would run each time it is read.
QUERY = re.compile(
    r"^\s*(?:insert\b.*?\s(?=select\b|with\b)|create\s+(?:or\s+replace\s+)?table\b.*?\bas\s+)(?P<query>select\b|with\b)",
    re.IGNORECASE | re.DOTALL,
)


_ID = re.compile(r"(#|\bUnionLoop(?:Ref)? )(\d+)L?")


class Planned(NamedTuple):
    """The table of a select, the text that makes it, and why a part of that runs as written ("": none does).

    `reason` goes on from "because", without a full stop: `runs as written, because {reason}.`
    """

    frame: DataFrame
    text: str
    reason: str


def planned(session: Session, frame: DataFrame, sql: RenderedSql) -> Planned:
    """`frame`, which is `sql` analysed, or the same table with fewer calls."""
    frame, sql = reordered(session, frame, sql)
    better = rewritten(session, frame, sql)
    if better.text == sql.text:
        return Planned(frame, sql.text, better.reason)
    return Planned(analysed(session.spark, better.text).toDF(*frame.columns), better.text, better.reason)


def first(session: Session, frame: DataFrame, sql: RenderedSql, rows: int) -> DataFrame:
    """That many rows of `frame`, which is `sql` planned: the models are called for no others, where that can be."""
    from pyspark.errors import PySparkException

    text = planner.first(sql.text, rows) if session.settings.llm.planner else None
    normal = planner.normal(sql.text)
    if text is None or normal is None:
        return frame.limit(rows)
    limited = RenderedSql(text, sql.place)
    try:
        plain = analysed(session.spark, sql.text)
        if not is_same(plain, analysed(session.spark, normal)):
            return frame.limit(rows)
        return planned(session, analysed(session.spark, text), limited).frame.toDF(*frame.columns)
    except PySparkException:
        return frame.limit(rows)


def with_planned_query(session: Session, sql: RenderedSql) -> RenderedSql:
    """An `insert` or `create table ... as` whose query calls models, with that query planned."""
    found = next((match for match in QUERY.finditer(sql.text)), None)
    if found is None:
        return sql
    query = sql.spliced([(0, found.start("query"), "")])
    try:
        frame = queries.run_sql(session, query)
    except SQLLLMError:  # the statement as written says what is wrong
        return sql
    given.check(session.models, frame, query)
    columns = ", ".join(f"`{name.replace('`', '``')}`" for name in frame.columns)
    frame, query = reordered(session, frame, query)
    better = rewritten(session, frame, query)
    if better.text == query.text or len({name.lower() for name in frame.columns}) < len(frame.columns):
        return sql
    text = sql.text[: found.start("query")] + f"select * from ({better.text}) as llm_planned({columns})"  # noqa: S608
    return RenderedSql(text, sql.place)


def reordered(session: Session, frame: DataFrame, sql: RenderedSql) -> tuple[DataFrame, RenderedSql]:
    """The select with the fields of its prompts in another order, if `llm.reorder_fields` allows it, or as it was."""
    from pyspark.errors import PySparkException

    if not session.settings.llm.reorder_fields:
        return frame, sql
    spark = session.spark
    try:
        normal = planner.normal(sql.text)
        if normal is None or not is_same(frame, analysed(spark, normal)):
            return frame, sql
        text = planner.reorder(
            sql.text, session.models, lambda query: [tuple(row) for row in analysed(spark, query).collect()]
        )
        changed = analysed(spark, text)
    except PySparkException:  # a value that means something else in a query of its own
        return frame, sql
    return changed.toDF(*frame.columns), RenderedSql(text, sql.place)


def rewritten(session: Session, frame: DataFrame, sql: RenderedSql) -> planner.Rewritten:
    """What gives the table of `sql` with fewer calls, or `sql` and the reason why it runs as written."""
    from pyspark.errors import PySparkException

    if not session.settings.llm.planner:
        return planner.Rewritten(sql.text, "the planner is off (llm.planner)")
    spark = session.spark
    try:
        volatile = session.models.volatile(sql.text)
        better = planner.rewrite(sql.text, session.models, partial(columns, spark), volatile)
        if better.text == sql.text:
            return better
        normal = planner.normal(sql.text)
        # What sqlglot read must be what Spark read; only then is what was made of it the same, too.
        if normal is None or not is_same(frame, analysed(spark, normal)):
            return planner.Rewritten(sql.text, "sqlglot does not read it as Spark does")
        kinds = [kind for _, kind in analysed(spark, better.text).dtypes]
    except PySparkException:  # run what was written
        return planner.Rewritten(sql.text, "a name in it means something else in a subquery")
    if kinds != [kind for _, kind in frame.dtypes]:
        return planner.Rewritten(sql.text, "Spark would give other types of columns")
    return better


def is_read_alike(session: Session, frame: DataFrame, sql: str) -> bool:
    """Whether Spark takes `sql`, which `frame` is, for the same query once sqlglot has read and written it."""
    normal = planner.normal(sql)
    return normal is not None and is_same(frame, analysed(session.spark, normal))


def columns(spark: SparkSession, sql: str) -> list[str]:
    """The names of the columns of `sql`; raises NotUnderstood where it cannot stand alone."""
    from pyspark.errors import PySparkException

    try:
        return analysed(spark, sql).columns
    except PySparkException:  # a LATERAL, or a column of a query around it
        raise planner.NotUnderstood("a part of it cannot be looked at alone") from None


def analysed(spark: SparkSession, sql: str) -> DataFrame:
    """`spark.sql`, with the prompts written for Spark, and all llm_* functions where it takes none."""
    from pyspark.errors import PySparkException

    written = prompts.for_spark(RenderedSql(sql, Source(sql).place(0, len(sql))))
    try:
        return spark.sql(written.text)
    except PySparkException as error:
        if error.getCondition() not in functions.REFUSED:
            raise
        return spark.sql(functions.written_out(written).text)


def is_same(one: DataFrame, other: DataFrame) -> bool:
    """Whether Spark takes both for the same query, as written or as it would run them."""
    if one.sameSemantics(other):
        return True
    if not (hasattr(one, "_jdf") and hasattr(other, "_jdf")):  # Spark Connect does not show its plans
        return False
    # A literal and its cast, or a CTE under another id, are the same only once the optimizer has seen them.
    plans = [frame._jdf.queryExecution().optimizedPlan() for frame in (one, other)]
    return bool(plans[0].sameResult(plans[1])) or _same_loop(*(str(plan.treeString()) for plan in plans))


def _same_loop(one: str, other: str) -> bool:
    """Whether two plans with a recursive CTE, which has new ids in each, are the same but for these."""
    if "UnionLoop" not in one or any(word in one for word in (" more fields", "LocalRelation")):  # not shown in full
        return False
    return _numbered(one) == _numbered(other)


def _numbered(plan: str) -> str:
    """`plan` with its ids in the order in which they come."""
    ids: dict[tuple[bool, str], str] = {}
    return _ID.sub(lambda found: f"{found[1]}{ids.setdefault((found[1] == '#', found[2]), str(len(ids)))}", plan)
