"""The registry of models: who calls what, whatever the names are, through views and functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sqlllm import planner
from sqlllm.dialect import RenderedSql
from sqlllm.errors import ParseError, TableError
from sqlllm.places import Source
from sqlllm.session import Session, ai
from sqlllm.session.mentions import mentions
from sqlllm.session.register import _is_volatile
from sqlllm.session.tables import quoted
from sqlllm.session.wording import wording
from sqlllm.settings import Settings
from sqlllm.udfs.transport import Endpoint
from tests.udfs import gateway as gateways

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FUNCTIONS = [
    ("select `gpt-4o`(x), `org/model`(y) from t", {"gpt-4o", "org/model"}),
    ("select `模型`(x), `a``b`(y), M (z)", {"模型", "a`b", "m"}),
    ("select session.m(x), identifier('other')(y)", {"m", "other"}),
    ("select identifier('m')(llm_param(map('instruction', identifier('col')))) from t", {"m"}),
    ("from t |> broken identifier('m')(llm_param(x))", {"m"}),
    ("select identifier('session.' || '`gpt-4o`')(x), identifier(concat('org', '/model'))(y)", {"gpt-4o", "org/model"}),
    ("select 'm(x)', \"n(x)\", `o(x)` -- p(x)\n /* q(x) */ from r", set()),
    ("with c as (select m(x) from t) select * from c where exists (select 1 from u where n(y))", {"m", "n"}),
    ("select transform(xs, x -> m(x)) from t lateral view explode(n(y)) as z", {"m", "n"}),
    ("insert into t select m(x) from u", {"m"}),
    ("create table t using parquet as select m(x) from u", {"m"}),
    ("insert overwrite directory '/x' using csv select m(x) from t", {"m"}),
    ("explain select `gpt-4o`(x) -- n(x)\n from t", {"gpt-4o"}),
    ("execute immediate 'select m(x) from t'", {"m"}),
    ("from t |> select m(x)", {"m"}),
    ("select summarize(x) from t", {"summarize"}),
    ("select " + "(" * 2000 + "m(x)" + ")" * 2000, {"m"}),
]


@pytest.mark.parametrize(("sql", "names"), FUNCTIONS, ids=[sql[:40] for sql, _ in FUNCTIONS])
def test_functions_are_read_from_the_syntax_tree(sql: str, names: set[str]) -> None:
    wanted = {"gpt-4o", "org/model", "模型", "a`b", "m", "n", "o", "p", "q", "other", "summarize"}
    assert mentions(sql).functions & wanted == names


def test_tables_are_read_from_the_syntax_tree() -> None:
    assert mentions("with c as (select 1 from `A b`) select * from c join db.t on true").tables == {"c", "a b", "t"}
    assert {"u", "t"} <= mentions("insert overwrite directory '/x' using csv select * from t join u").tables


@pytest.mark.parametrize(
    ("code", "volatile"),
    [
        ("def apply(x):\n    return x.upper()", False),
        ("from datetime import datetime\ndef apply(x):\n    return datetime.strptime(x, '%Y').year", False),
        ("import random\ndef apply(x):\n    return random.choice([x, ''])", True),
        ("    from uuid import uuid4\n    def apply(x):\n        return uuid4().hex + x", True),
        ("import datetime\ndef apply(x):\n    return str(datetime.datetime.now())", True),
        ("n = 0\ndef apply(x):\n    global n\n    n += 1\n    return n", True),
    ],
)
def test_code_that_gives_another_value_each_time(code: str, volatile: bool) -> None:
    assert _is_volatile(code) is volatile


@pytest.fixture(scope="module")
def gateway() -> Iterator[gateways.Gateway]:
    with gateways.serve() as server:
        yield server


@pytest.fixture(scope="module")
def session(spark: SparkSession, gateway: gateways.Gateway) -> Iterator[Session]:
    """A session with models of hard names."""
    with Session(Settings(allow={"python": True}), spark=spark) as session:  # type: ignore[arg-type]
        for name in NAMES:
            endpoint = Endpoint(url=gateway.url, model=name, retry_seconds=0)
            session.models.add(name, endpoint, aliases=(f"alias/{name}",))
        yield session
    for table in spark.catalog.listTables():
        spark.catalog.dropTempView(table.name)


NAMES = ("gpt-4o", "org/model", "模型", "v1.5", "a`b", "Chat")


def prompts(session: Session, gateway: gateways.Gateway, script: str) -> int:
    """How many prompts a script sends whose last table is read."""
    gateway.requests.clear()
    gateway.reports.clear()
    result = session.run(script)
    assert result is not None
    result.rows()
    return len(gateway.prompts)


def ask(name: str, text: str) -> str:
    return f"llm_result({quoted(name)}(llm_param(map('instruction', {text}))))"


@pytest.mark.slow
def test_a_column_without_requests_is_an_error_when_planned(session: Session) -> None:
    session.run("select 'x' as p, 1 as n, llm_param(map('instruction', 'x')) as r as told;")
    for statement in ("{} as answers;", "create table never using parquet as {};", "explain llm {};"):
        for column, kind in (("p", "string"), ("n", "integer"), ("told.`P`", "string")):
            with pytest.raises(ParseError, match=f"chat takes a request, and {column} is a column of type {kind}") as e:
                session.run(statement.format(f"select 1 as one, Chat({column}) as a from told"))
            assert e.value.cure == f'Write Chat(llm_param(map("instruction", {column}))).'
            assert e.value.place is not None
            assert e.value.place.text == f"Chat({column})"
    session.run("select Chat(r) as a from told as fine;")
    session.run("drop view told; drop view fine;")


@pytest.mark.slow
@pytest.mark.parametrize("join", ["left join", "full join", "left anti join"])
def test_a_model_that_reads_both_sides_of_an_outer_join_is_refused(session: Session, join: str) -> None:
    sql = f"select x.id from range(3) x {join} range(3) y on x.id = y.id and {ask('Chat', 'concat(x.id, y.id)')} > 'x';"
    with pytest.raises(TableError, match="called in the ON of an outer join") as error:
        session.run(sql)
    assert error.value.place is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_planned_kept_and_counted(session: Session, gateway: gateways.Gateway, name: str) -> None:
    prompt = "concat(id % 7, 'x')"
    select = f"select id, {ask(name, prompt)} as a from range(50)"
    assert prompts(session, gateway, f"{select} order by id limit 3 as asked;") == 3, "planned"
    assert [report["model"] for report in gateway.reports] == [name], "counted"
    assert prompts(session, gateway, "select * from asked as again;") == 0, "kept"
    assert len(session.kept) == 1
    session.run("drop view asked; drop view again; select 1 as one;")


@pytest.mark.slow
def test_calls_are_seen_through_views_and_functions(session: Session, gateway: gateways.Gateway) -> None:
    asks = ask("gpt-4o", "concat('v', id)")
    session.run(
        f"""create or replace temporary view asking as select id, {asks} as a from range(4);
        create or replace temporary view `over it` as select a from asking;
        create or replace global temporary view everywhere as select a from asking;
        register ScriptUDF.`` as twice where lang="sql" and code='''(x string) returns string
        return concat({ask("模型", "x")}, uuid())''';
        register ScriptUDF.`` as around where lang="sql" and code='''(x string) returns string
        return upper(twice(x))''';"""
    )
    models = session.models
    assert models.called("select * from `Over It`") == {"gpt-4o"}
    assert models.called("select * from global_temp.everywhere") == {"gpt-4o"}
    assert models.called("select around(a) from asking") == {"gpt-4o", "模型"}
    assert models.called("select a from somewhere") == set()
    assert models.volatile("select around(a), upper(a) from asking") == {"around"}
    assert prompts(session, gateway, "select * from `over it` as shown;") == 4
    assert {report["model"] for report in gateway.reports} == {"gpt-4o"}, "counted for the statement that reads it"
    assert prompts(session, gateway, "select count(*) from shown;") == 0, "kept"


@pytest.mark.slow
def test_functions_that_give_another_value_are_known(session: Session) -> None:
    code = "import uuid\ndef apply(x: str) -> str:\n    return x + str(uuid.uuid4())"
    session.run(f"register ScriptUDF.`` as tagged where lang=\"python\" and code='''\n{code}\n''';")
    assert session.models.volatile("select tagged(a) from t") == {"tagged"}
    assert session.models.volatile("select tagged, length(a) from t") == set()
    session.run("unregister ScriptUDF.`tagged`;")
    assert session.models.volatile("select tagged(a) from t") == set()


@pytest.mark.slow
def test_an_alias_names_its_model(session: Session, gateway: gateways.Gateway) -> None:
    found = session.models.find("ALIAS/gpt-4o")
    assert found is not None
    assert found.name == "gpt-4o"
    assert prompts(session, gateway, "select ai_query('alias/org/model', 'hello') as a;") == 1
    assert gateway.requests[-1]["model"] == "org/model"


CALLS = [
    ("select `gpt-4o`(llm_param(map('instruction',  p))) from t", ["`gpt-4o`(llm_param(map('instruction', p)))"]),
    ("select case when g then m(p) else m(q) end from t", ["m(p) or m(q)"]),
    ("select m(llm_stack(m(p), q)) from t", ["m(p)", "m(llm_stack(m(p), q))"]),
    ("select id, M ( p ) as a from t order by id limit 5", ["M ( p )"]),
    ("with s as (select m(p) as a, id from t) select * from s where id > 3 and m(a) = 'x'", ["m(p)", "m(a)"]),
]


@pytest.mark.parametrize(("sql", "texts"), CALLS, ids=[sql[:40] for sql, _ in CALLS])
def test_calls_are_shown_as_the_user_wrote_them(sql: str, texts: list[str]) -> None:
    models = {"m", "gpt-4o"}
    better = planner.rewrite(sql, models, lambda _: ["id", "p", "q", "g"])
    asked = planner.asked(better.text, models)
    assert wording(RenderedSql(sql, Source(sql).place(0, len(sql))), asked, models) == texts


def test_a_function_inside_a_function_is_shown_alone() -> None:
    session = Session()
    session.models.add("m")
    text = """select ai_classify(ai_translate(p, 'en'), array('a', 'b')) as c,
        ai_summarize(concat(ai_translate(p, 'en'), ai_translate(q,  'fr'))) as s from t"""
    sql = ai.written_out(session, RenderedSql(text, Source(text).place(0, len(text))))
    asked = planner.asked(planner.rewrite(sql.text, {"m"}).text, {"m"})
    assert wording(sql, asked, {"m"}) == [
        "ai_translate(p, 'en')",
        "ai_translate(q, 'fr')",
        "ai_classify(ai_translate(p, 'en'), array('a', 'b'))",
        "ai_summarize(concat(ai_translate(p, 'en'), ai_translate(q, 'fr')))",
    ]
