"""What an aggregate of ours reads from a select, and what takes its place. No Spark."""

from __future__ import annotations

import duckdb
import pytest
from sqlglot import exp

from sqlllm.planner.sql import write
from sqlllm.session.operators.approximate import _over_columns
from sqlllm.session.operators.cut import Context, Unfit, looked_up, own, parse
from sqlllm.session.operators.groups import KEY, VALUE, Grouped, given, grouped, number, put
from sqlllm.settings import LLMSettings

NAMES = frozenset({"ai_agg", "ai_approx_count"})
CONTEXT = Context(LLMSettings(), columns=lambda _: ["text", "g", "id"])


def read(sql: str) -> tuple[Grouped, exp.Select]:
    tree = parse(sql)
    assert isinstance(tree, exp.Select)
    (call, *_) = own(tree, NAMES)
    return grouped(call, tree, CONTEXT, NAMES), tree


@pytest.mark.parametrize(
    ("sql", "keys"),
    [
        ("select ai_agg(text, 'x') from t", []),
        ("select g, ai_agg(text, 'x') from t group by g", ["g"]),
        ("select g + 1, ai_agg(text, 'x') from t group by 1", ["g + 1"]),
        ("select lower(g) as k, ai_agg(text, 'x') from t group by k", ["LOWER(g)"]),
        ("select lower(g) as g, ai_agg(text, 'x') from t group by g", ["g"]),  # a column comes before an alias
        ("select g, id % 2 as k, 5, ai_agg(text, 'x'), count(*) from t group by all", ["g", "id % 2"]),
        ("select ai_agg(text, 'x') over (partition by g, id) from t", ["g", "id"]),
        ("select ai_agg(text, 'x') over () from t group by g", None),
        ("select max(id), ai_agg(text, 'x') over () from t", None),
        ("select ai_agg(text, 'x') over (order by id) from t", None),
        ("select ai_agg(text, 'x') over w from t window w as (partition by g)", None),
        ("select ai_agg(text, 'x') from t group by rollup(g)", None),
        ("select ai_agg(text, 'x') from t group by grouping sets ((g), ())", None),
        ("select id from t where ai_agg(text, 'x') = 'y'", None),
        ("select *, ai_agg(text, 'x') from t group by all", None),
    ],
)
def test_keys(sql: str, keys: list[str] | None) -> None:
    if keys is None:
        with pytest.raises(Unfit):
            read(sql)
    else:
        assert [write(key) for key in read(sql)[0].keys] == keys


def test_the_rows_are_those_of_the_group_with_every_condition() -> None:
    found, select = read(
        "with c as (select 1 as one) select g, ai_agg(text, 'x') within group (order by id desc) filter (where id > 1)"
        " from t join u using (id) where g = 1 and ai_filter(text) group by g having g > 1 order by g limit 3"
    )
    query = found.rows(select, [exp.column("text")], ("text",))
    query.set("with_", None)
    assert write(query) == (
        "SELECT to_json(ARRAY(CAST(g AS STRING), to_json(named_struct('k', g)))) AS llm_key, text"
        " FROM t JOIN u USING (id) WHERE (g = 1 AND ai_filter(text)) AND id > 1 ORDER BY id DESC, text"
    )


def test_the_value_takes_the_place_of_the_call_and_its_clauses() -> None:
    found, select = read(
        "select ai_agg(text, 'x') filter (where id > 1), count(*) from t having ai_agg(text, 'x') > 'a'"
    )
    put(found.node, found.value("v"))
    found, _ = read(write(select))
    put(found.node, found.value("w"))
    assert write(select) == (
        "SELECT MAX((SELECT MAX(v_llm_value)"
        " FROM (SELECT v.llm_key AS v_llm_key, v.llm_value AS v_llm_value FROM v) AS v_rows WHERE v_llm_key = ''))"
        " AS `ai_agg(text, 'x') FILTER(WHERE id > 1)`, COUNT(*) FROM t HAVING ai_agg(text, 'x') > 'a'"
    )


def test_a_column_with_a_name_of_ours_is_not_taken_for_ours() -> None:
    duck = duckdb.connect(config={"threads": 1})
    duck.execute("create table t as select * from (values ('a', 1), ('b', 2)) as t(llm_key, llm_value)")
    duck.execute("create table v as select * from (values ('a', 'of a'), ('b', 'of b')) as v(llm_key, llm_value)")
    found = looked_up("v", {KEY: exp.column("llm_key")}, VALUE).sql("duckdb")
    rows = duck.execute(f"select llm_value, {found} from t order by 1").fetchall()
    assert rows == [(1, "of a"), (2, "of b")]


@pytest.mark.parametrize(
    ("value", "expected", "columns"),
    [
        ("llm_prompt('{text} of {t.g}')", "llm_prompt('{0} of {1}', ARRAY(llm_c0, llm_c1))", ["`text`", "`t`.`g`"]),
        (
            "llm_prompt('{text}', array(text), 'skip') > id",
            "llm_prompt('{0}', ARRAY(llm_c0), 'skip') > llm_c1",
            ["text", "id"],
        ),
        ("llm_prompt('{g}', nulls => 'skip')", "llm_prompt('{0}', ARRAY(llm_c0), nulls => 'skip')", ["`g`"]),
    ],
)
def test_fields_of_a_prompt_are_columns_of_the_sample(value: str, expected: str, columns: list[str]) -> None:
    tree = parse(f"select {value} from t")
    assert isinstance(tree, exp.Select)
    found, read_columns = _over_columns(tree.expressions[0])
    assert (write(found), [write(column) for column in read_columns]) == (expected, columns)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("ai_agg(text)", "ai_agg needs instruction"),
        ("ai_agg(text, 'x', 'y')", "at most 2 arguments"),
        ("ai_agg(text, 'x', modle => 'y')", "ai_agg has no modle; did you mean model"),
    ],
)
def test_arguments_are_checked(call: str, reason: str) -> None:
    tree = parse(f"select {call} from t")
    assert isinstance(tree, exp.Select)
    with pytest.raises(Unfit, match=reason):
        given(tree.expressions[0])


def test_numbers_may_be_negative_and_nothing_else() -> None:
    tree = parse("select ai_approx_avg(a, 0.1, least => -2.5, most => many) from t")
    assert isinstance(tree, exp.Select)
    told = given(tree.expressions[0])
    assert (number(told, "error", 1, 1), number(told, "least", 0), number(told, "confidence", 0.9)) == (0.1, -2.5, 0.9)
    with pytest.raises(Unfit, match="most is not a number"):
        number(told, "most", 1)
