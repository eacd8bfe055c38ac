"""The guard of SQL without Spark: what needs no look, and what runs code through Spark Connect."""

from __future__ import annotations

import pytest

from sqlllm.dialect import RenderedSql
from sqlllm.errors import ForbiddenError
from sqlllm.places import Source
from sqlllm.session import Session, guard_sql


def rendered(text: str) -> RenderedSql:
    return RenderedSql(text, Source(text).place(0, len(text)))


@pytest.fixture
def remote() -> Session:
    session = Session()
    session.settings.assign("spark.remote", "sc://somewhere")
    return session


@pytest.mark.parametrize(
    "text",
    [
        "select a.b, text, t.json from t where path = '/etc/passwd'",
        "with a as (select 1) select * from a join b on a.x = b.x",
        "from t select a",
        "select a -- every row\n, `b` from t",
        "select upper(`a b`) as `c`, `gpt-4o`(`a b`) from `my table`",
        "select my_model(llm_param(map('instruction', concat('a/b', text)))) as q from t",
    ],
)
def test_a_query_without_a_way_to_files_costs_nothing(text: str) -> None:
    session = Session()
    guard_sql.check(session, rendered(text))
    assert not session.spark_runs


@pytest.mark.parametrize(
    "text",
    [
        "select * from `csv`.`/x`",
        "select * from csv.`/x`",
        "select * from csv /* a */ . `/x`",
        "select * from `csv`/* a */.x",
        "select * from csv -- a\n.x",
        "select * from a./* b */`/x`",
        "select * from a. -- b\n`/x`",
        "select * from a. -- b\n\n   `/x`",
        "select * from a.b with /* c */ (path '/x')",
        "insert into a select 1",
    ],
)
def test_what_may_lead_to_a_file_is_looked_at(text: str) -> None:
    assert guard_sql._is_suspect(text)


@pytest.mark.parametrize(
    "text",
    [
        "select reflect('java.lang.System', 'getenv', 'HOME')",
        "select `reflect`('java.lang.System', 'getenv', 'HOME')",
        "select transform(a) using 'cat' as (b) from t",
        "create temporary function f as 'x.Y'",
        "create temporary function f as 'x.Y' using jar '/x.jar'",
        "add jar '/x.jar'",
        "execute immediate 'select reflect(1)'",
        "execute immediate 'select ' || 'reflect(1)'",
        "execute immediate query",
        "select identifier('ref' || 'lect')(1)",
    ],
)
def test_code_through_spark_connect(remote: Session, text: str) -> None:
    with pytest.raises(ForbiddenError, match="so it is off"):
        guard_sql.check(remote, rendered(text))
    remote.settings.assign("allow.shell", "true")
    guard_sql.check(remote, rendered(text))


@pytest.mark.parametrize(
    "text",
    [
        "select * from csv.`/etc/passwd`",  # a file of the server's
        "execute immediate 'select 1'",
        "select * from identifier('t')",
        "create table t as select a from u",
        "create temporary function f(x int) returns int return x + 1",
    ],
)
def test_what_spark_connect_may_run(remote: Session, text: str) -> None:
    guard_sql.check(remote, rendered(text))


@pytest.mark.parametrize(
    "text",
    [
        "insert /* a */ into t values (1)",
        "create table t (a int)",
        "with c as (select 1 as a) insert into t select * from c",
        "with c as (select '''a' b) insert into t select ''' '",
        "with c as (select 1 as a) update t set a = 1",
        "with c as (select 1 as a) delete from t",
        "with c as (select 1 as a) merge into t using c on t.a = c.a when matched then delete",
        "from s insert overwrite t select *",
        "select transform(a) using 'sh' as (b) from t",
        "select `reflect`('java.lang.System', 'getenv', 'HOME')",
    ],
)
def test_a_session_that_reads_only_refuses_sql_that_may_change_something(text: str) -> None:
    session = Session()
    session.reads_only = True
    with pytest.raises(ForbiddenError, match="this session only reads"):
        guard_sql.check(session, rendered(text))


@pytest.mark.parametrize(
    "text",
    [
        "select 'insert into t' as a, update, (b) update from t join u using (c)",
        "/* insert into */ (select 1)",
        "with c as (select 1 as a) select a as `delete` from c",
        "from t where insert > 1 select a",
        "describe t",
    ],
)
def test_a_session_that_reads_only_reads(text: str) -> None:
    session = Session()
    session.reads_only = True
    guard_sql._check_reads(rendered(text), "")
