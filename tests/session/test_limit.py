"""A LIMIT that answers fill, in real Spark against a real HTTP server: legal rows, few calls, then silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.session import Session
from sqlllm.settings import Settings
from sqlllm.udfs import model
from sqlllm.udfs.transport import Endpoint
from tests.udfs import gateway as gateways

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

TABLES = """
select id, concat('p', id % 10) as p, concat('u', id) as u, id % 3 as g, timestamp_micros(1709164800000000 + id) as at,
       named_struct('a', id, 'b', array(date '2024-02-29')) as s, cast(id as decimal(20, 3)) / 7 as d,
       encode(concat('ä', id), 'utf-8') as bytes, interval '1' day * id as i, map('k', id) as m
from range(0, 200, 1, 4) as t;
select id * 2 as id, concat('w', id) as w from range(100) as other;
"""

CASES = [  # a select, and the most calls
    ("select id from t where ask(u) like '%7' limit 3", 46),
    ("select id from t where id > 100 and ask(u) like '%7' limit 3", 46),
    ("select * from t where ask(u) like '%7' order by id desc limit 3", 46),
    ("select id, at, s, d, bytes, i, m, upper(u) as v from t where ask(u) like '%7' order by at limit 3 offset 1", 60),
    ("select id, ask(concat(u, 'x')) as a, ask(p) as b from t where ask(u) like '%7' order by id limit 3", 52),
    ("select *, ask(p) as b, id + 1 as c from t where ask(u) like '%7' order by id limit 3", 49),
    ("select id from t where ask(p) = 'P7' limit 15", 10),
    ("select id from t where ask(p) = 'nobody says so' limit 15", 10),
    ("select id from t where ask(u) like '%7' and ask(p) = 'P7' order by id limit 3", 49),
    ("select x.id, w, u from t x join other y on x.id = y.id where ask(u) like '%4' order by w limit 3", 53),
    ("select x.id as one, y.id as two from t x left join other y on x.id = y.id where ask(w) is null limit 3", 8),
    ("with j as (select *, ask(u) as a from t where g = 1) select id from j where a like '%7' limit 2", 46),
    (
        "with j as (select *, ask(u) as a from t) select id, a from j where a like '%7' and g = 1 order by id limit 2",
        50,
    ),
    ("select id from t where (ask(u) like '%7' or ask(p) = 'P1') and id % 2 = 1 order by id limit 3", 40),
    ("select x.*, y.* from t x join other y using (id) where ask(x.u) like '%4' limit 2", 30),
    ("select id, id from t where ask(u) like '%7' order by 1 limit 2", 400),  # another form
    ("select g, count(*) as n from t where ask(p) like '%7' group by g limit 2", 400),
    ("select id, rand() < 2 as r, (select max(id) from other) as n from t where ask(u) like '%7' limit 2", 30),
    ("select to_json(struct(x.id, y.id)) as j from t x join other y on x.id = y.id where ask(u) like '%4' limit 2", 30),
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[gateways.Gateway]:
    with gateways.serve() as server:
        yield server


@pytest.fixture(scope="module")
def session(spark: SparkSession, gateway: gateways.Gateway) -> Session:
    session = Session(Settings(), spark=spark)
    model.register(session.spark, "up", Endpoint(url=gateway.url, model="up", batch_size=16, retry_seconds=0))
    session.models.add("up")
    session.run(TABLES)
    return session


def written(sql: str) -> str:
    """`ask(x)` written out."""
    while (at := sql.find("ask(")) >= 0:
        depth, end = 1, at + 4
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        sql = f"{sql[:at]}llm_result(up(llm_param(map('instruction', {sql[at + 4 : end - 1]})))){sql[end:]}"
    return sql


def rows(session: Session, sql: str, *, planner: bool = True) -> list[tuple[Any, ...]]:
    session.settings.llm.planner = planner
    try:
        result = session.run(f"{written(sql)};")
        assert result is not None
        assert len(result.columns) == len(session.spark.sql(written(sql)).columns)
        assert result.frame.dtypes == session.spark.sql(written(sql)).dtypes
        return [tuple(map(repr, row)) for row in result.rows()]
    finally:
        session.settings.llm.planner = True


@pytest.mark.parametrize(("sql", "most"), CASES, ids=[sql[:60] for sql, _ in CASES])
def test_the_rows_are_legal_and_the_calls_are_few(
    session: Session, gateway: gateways.Gateway, sql: str, most: int
) -> None:
    gateway.requests.clear()
    found = rows(session, sql)
    assert len(gateway.prompts) <= most
    assert gateway.under_way == 0
    if "order by" in sql:
        assert found == rows(session, sql, planner=False)
    else:
        every = rows(session, sql.rpartition(" limit ")[0], planner=False)
        assert len(found) == min(len(every), int(sql.rpartition(" ")[2]))
        assert not Counter(found) - Counter(every)


def test_nothing_is_asked_after_the_statement(session: Session, gateway: gateways.Gateway) -> None:
    session.run(written("select id from t where ask(u) like '%7' limit 2 as found;"))
    gateway.requests.clear()
    result = session.run("select id from found order by id;")
    assert result is not None
    assert [row.id for row in result.rows()] == [7, 17]
    assert not gateway.requests


def test_the_first_rows_that_are_shown_ask_about_few(session: Session, gateway: gateways.Gateway) -> None:
    gateway.requests.clear()
    result = session.run(written("select id from t where ask(u) like '%7';"))
    assert result is not None
    assert len(result.rows(2)) == 2
    assert len(gateway.prompts) <= 31
    assert not [table for table in session.spark.catalog.listTables() if table.name.startswith("llm_limit")]


def test_an_error_ends_the_statement(session: Session, gateway: gateways.Gateway) -> None:
    from sqlllm.errors import SQLLLMError

    gateway.script.extend([(404, b'{"error": {"message": "gone", "code": "x"}}', {})] * 9)
    with pytest.raises(SQLLLMError, match="gone") as caught:
        session.run(written("select 1 as one;\nselect id from t where ask(u) like '%7' limit 2 as found;"))
    gateway.script.clear()
    assert caught.value.place is not None
    assert caught.value.place.line == 2
    assert not [table for table in session.spark.catalog.listTables() if table.name.startswith("llm_limit")]
