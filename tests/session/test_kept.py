"""What models have answered is in Spark's storage while something refers to it, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyspark.sql.pandas.functions import arrow_udf

from sqlllm.session import Session
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


def echo(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    yield from batches


@pytest.fixture
def session(spark: SparkSession) -> Iterator[Session]:
    """A session with a function `echo` that counts as a model, and nothing in the storage."""
    spark.catalog.clearCache()
    spark.udf.register("echo", arrow_udf(echo, "array<string>"))  # type: ignore[call-overload]
    with Session(Settings(), spark=spark) as session:
        session.models.add("echo")
        yield session
    assert stored(spark) == 0
    for table in spark.catalog.listTables():
        spark.catalog.dropTempView(table.name)


def stored(spark: Any) -> int:
    """Tables in the storage."""
    return int(spark._jsparkSession.sharedState().cacheManager().numCachedEntries())


def ask(session: Session, number: int, table: str = "", source: str = "range(3)") -> Any:
    """A select that calls the model, another one for each number."""
    name = f" as {table}" if table else ""
    result = session.run(f"select *, echo(array(string({number}))) as a{number} from {source}{name};")
    assert result is not None
    return result.rows()


def test_a_table_that_is_replaced_is_freed(session: Session) -> None:
    for number in range(5):
        ask(session, number, "answers")
        assert stored(session.spark) == 1
    session.run("select 1 as a as answers;")
    assert stored(session.spark) == 0


@pytest.mark.parametrize(
    "end",
    [
        "drop view answers;",
        "create or replace temporary view answers as select 1 as a;",
        "--%python\nspark.catalog.dropTempView('answers')",
        "--%python\nspark.range(1).createOrReplaceTempView('answers')",
    ],
)
def test_a_table_that_goes_by_any_way_is_freed(session: Session, end: str) -> None:
    session.override("allow.python", "true")
    ask(session, 1, "Answers")
    session.run("select 1 as one;")  # else the session's last table is the answers'
    assert stored(session.spark) == 1
    session.run(end)
    assert stored(session.spark) == 0


def test_a_result_without_a_name_is_freed_when_it_is_dropped(session: Session) -> None:
    result = session.run("select echo(array('x')) as a from range(3);")
    assert result is not None
    assert len(result.rows(2)) == 2
    session.run("select 1 as one;")
    assert stored(session.spark) == 2, "it, and its first rows"
    assert len(result.rows()) == 3
    del result
    session.run("select 2 as two;")
    assert stored(session.spark) == 0


def test_a_table_made_of_answers_holds_them(session: Session) -> None:
    ask(session, 1, "answers")
    session.run("select upper(a1[0]) as a from answers as more; select a from more as most;")
    session.run("select 1 as a as answers;")
    assert stored(session.spark) == 1
    session.run("select 1 as a as more;")
    assert stored(session.spark) == 1
    session.run("select id from range(3) where exists (select 1 from most) as last;")
    session.run("select 1 as a as most;")
    assert stored(session.spark) == 1, "read by a subquery"
    session.run("select 1 as a as last;")
    assert stored(session.spark) == 0


def test_answers_that_answers_need_are_held_until_these_are_there(session: Session) -> None:
    session.run("select id, echo(array('x')) as a from range(3) as answers;")
    session.run("select id, echo(a) as b from answers as answers;")
    assert stored(session.spark) == 2, "neither has been computed"
    assert len(session.run("select * from answers;").rows()) == 3  # type: ignore[union-attr]
    session.run("select 1 as one;")
    assert stored(session.spark) == 1
    session.run("drop view answers;")
    assert stored(session.spark) == 0


def test_a_table_that_reads_a_replaced_table_stays(session: Session) -> None:
    ask(session, 1, "answers")
    ask(session, 2, "more", "answers")
    session.run("select 1 as a as answers;")
    assert stored(session.spark) == 1
    (table,) = session.kept._entries.values()
    assert table.tables == {"more"}
    session.run("drop view more;")


def test_a_loop_over_one_table_keeps_one(session: Session) -> None:
    session.run("select id from range(3) as grown;")
    for number in range(6):
        ask(session, number, "grown", "grown")
        session.run("select count(*) as n from grown;")
        assert stored(session.spark) <= 2
    assert len(session.spark.table("grown").columns) == 7


def test_equal_selects_share_what_is_kept(session: Session) -> None:
    for table in ("one", "two"):
        ask(session, 1, table)
    session.run("select 1 as a as one;")
    assert stored(session.spark) == 1
    session.run("select 1 as a as two;")
    assert stored(session.spark) == 0
