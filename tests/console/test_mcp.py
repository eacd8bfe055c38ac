"""`sqlllm mcp` as an assistant uses it: over the protocol, in this process and as a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client, StdioServerParameters

from sqlllm.console.mcp_server import Desk, Notes, changes, server
from sqlllm.dialect import parse
from sqlllm.session import Session
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize(
    "script",
    [
        "load csv.`a.csv` as t;",
        "select 1 as a as t;",
        "explain llm select 1 as a;",
        "explain select 1 as a;",
        "show tables;",
        "describe t;",
        "set a = 'b';",
        "register Prompt.`Rate {{ a }}` as rate;",
        "!show tables;",
        "!desc t;",
        "!mine a b;",
        "!assertNotNull t 'a';",
        "include local.`a.byzer`;",
        "load Rest.`http://a/b` as t;",
        'run command as LLM where action="status" and udfName="m" as s;',
        "--%chat\n--%model=m\nhello",
    ],
)
def test_what_only_reads(script: str) -> None:
    (statement,) = parse(script).statements
    assert not changes(statement)


@pytest.mark.parametrize(
    "script",
    [
        "save t as csv.`a.csv`;",
        "insert into t values (1);",
        "create table t (a int);",
        "drop table t;",
        "refresh table t;",
        "!sh echo a;",
        "!export t 'a.csv';",
        "!hdfs -rm a;",
        "!kill x;",
        'run command as LLM where action="infer" and udfName="m";',
        'run t as LLM where name="x";',
        "train t as KMeans.`/m` where k='2';",
        "--%python\nprint(1)",
        "register ScriptUDF.`` as f where lang='python' and code='def apply(x: str) -> str: return x';",
        "register ${kind}.`` as f where code='1';",
        "set a='ls' where type='shell';",
        "set spark.sql.parser.escapedStringLiterals = 'true';",
        "include lib.`github.com/a/b` where alias='b';",
        'run command as LLM where action="status" and udfName="m" and `${key}`="infer";',
        "load Rest.`http://a/b` where `config.method`='post' as t;",
        "load jdbc.`d.t` where sessionInitStatement='drop table t' as t;",
        "connect jdbc where url='jdbc:a' and preparequery='drop table t;' as d;",
    ],
)
def test_what_may_change_something(script: str) -> None:
    (statement,) = parse(script).statements
    assert changes(statement)


def asked(session: Session, work: Callable[[Client], Awaitable[Any]], *, writes: bool = False) -> Any:
    notes = Notes(writes=writes)
    session.observer = notes
    desk = Desk(session, notes)

    async def talk() -> Any:
        async with Client(server(desk, writes=writes)) as client:
            return await work(client)

    try:
        return asyncio.run(talk())
    finally:
        desk.close()


def data(answer: Any) -> Any:
    assert not answer.is_error, answer.content
    found = answer.structured_content
    return found["result"] if set(found) == {"result"} else found


def test_tools_say_that_they_read(tmp_path: Any) -> None:
    async def work(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"run", "check", "tables", "models", "page"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        assert all(tool.description for tool in tools.values())

    asked(Session(Settings(home=tmp_path)), work)


def test_a_script_is_checked_and_a_page_is_read_without_spark(tmp_path: Any) -> None:
    session = Session(Settings(home=tmp_path))

    async def work(client: Client) -> None:
        (error,) = data(await client.call_tool("check", {"script": "selec 1 as a as t;"}))
        assert (error["severity"], error["line"]) == ("error", 1)
        assert data(await client.call_tool("check", {"script": "select 1 as a as t;"})) == []
        assert data(await client.call_tool("tables", {})) == []
        assert "register" in data(await client.call_tool("page", {"name": "sql/register"}))
        unknown = await client.call_tool("page", {"name": "sql/selct"})
        assert unknown.is_error
        assert "there is no page sql/selct. Did you mean sql/select?" in unknown.content[0].text

    asked(session, work)
    assert not session.spark_runs


@pytest.mark.slow
def test_scripts_run_and_tables_stay(spark: SparkSession, tmp_path: Any) -> None:
    session = Session(Settings(home=tmp_path), spark=spark)

    async def work(client: Client) -> None:
        script = "select id, named_struct('d', date'2026-01-02', 'n', null) as s from range(3) as mcp_t; !println 'hi';"
        script += "select * from mcp_t order by id as mcp_u;"
        answer = data(await client.call_tool("run", {"script": script, "rows": 2}))
        assert answer["columns"] == [{"name": "id", "type": "bigint"}, {"name": "s", "type": "struct<d:date,n:void>"}]
        assert answer["rows"] == [[0, {"d": "2026-01-02", "n": None}], [1, {"d": "2026-01-02", "n": None}]]
        assert answer["more"] is True
        assert answer["notes"] == ["hi"]
        assert "mcp_u" in [table["name"] for table in data(await client.call_tool("tables", {}))]

        wrong = await client.call_tool("run", {"script": "select x from mcp_t as v;"})
        assert wrong.is_error
        assert "script:1:8" in wrong.content[0].text
        for change in (
            f"save mcp_t as json.`{tmp_path}/out`;",
            f"!runScript '''save mcp_t as json.`{tmp_path}/out`;''';",
        ):
            refused = await client.call_tool("run", {"script": change})
            assert refused.is_error
            assert "only" in refused.content[0].text
        assert not (tmp_path / "out").exists()

    asked(session, work)
    session = Session(Settings(home=tmp_path), spark=spark)

    async def save(client: Client) -> None:
        data(await client.call_tool("run", {"script": f"save mcp_t as json.`{tmp_path}/out`;"}))

    asked(session, save, writes=True)
    assert (tmp_path / "out").is_dir()
    spark.catalog.dropTempView("mcp_t")
    spark.catalog.dropTempView("mcp_u")


def test_the_command_speaks_the_protocol_and_nothing_else(tmp_path: Any) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from sqlllm.console.cli import main; main()", "mcp"],
        env={"SQLLLM_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )

    async def talk() -> Any:
        async with Client(command) as client:
            return data(await client.call_tool("check", {"script": "select 1 as a as t;"}))

    assert asyncio.run(talk()) == []
