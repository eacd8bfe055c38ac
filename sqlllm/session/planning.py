"""A select that calls models, run as the planner would write it, where Spark agrees that it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm import planner
from sqlllm.dialect import RenderedSql
from sqlllm.places import Source

from . import functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from .session import Session


def planned(session: Session, frame: DataFrame, sql: RenderedSql) -> DataFrame:
    """`frame`, which is `sql` analysed, or the same table with fewer calls."""
    from pyspark.errors import PySparkException

    if not session.settings.llm.planner:
        return frame
    spark = session.spark
    try:
        rewritten = planner.rewrite(sql.text, session.models, lambda query: _analysed(spark, query).columns)
        normal = planner.normal(sql.text)
        # What sqlglot read must be what Spark read; only then is what was made of it the same, too.
        if rewritten == sql.text or normal is None or not _same(frame, _analysed(spark, normal)):
            return frame
        better = _analysed(spark, rewritten)
    except PySparkException:  # a name that means something else in a subquery: run what was written
        return frame
    if [kind for _, kind in better.dtypes] != [kind for _, kind in frame.dtypes]:
        return frame
    return better.toDF(*frame.columns)


def _analysed(spark: SparkSession, sql: str) -> DataFrame:
    from pyspark.errors import PySparkException

    try:
        return spark.sql(sql)
    except PySparkException as error:
        if error.getCondition() not in functions.REFUSED:
            raise
        written = functions.written_out(RenderedSql(sql, Source(sql).place(0, len(sql))))
        return spark.sql(written.text)


def _same(one: DataFrame, other: DataFrame) -> bool:
    """Whether Spark takes both for the same query, as written or as it would run them."""
    if one.sameSemantics(other):
        return True
    if not (hasattr(one, "_jdf") and hasattr(other, "_jdf")):  # Spark Connect does not show its plans
        return False
    # A literal and its cast, or a CTE under another id, are the same only once the optimizer has seen them.
    return bool(one._jdf.queryExecution().optimizedPlan().sameResult(other._jdf.queryExecution().optimizedPlan()))
