"""llm_prompt, llm_param and calls of models, checked when they are planned and written for Spark."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sqlllm.dialect import RenderedSql
from sqlllm.errors import SQLLLMError
from sqlllm.places import Source
from sqlllm.session import Session, prompts
from sqlllm.udfs import functions

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SESSION = cast(
    "Session", SimpleNamespace(models={"m", "gpt-4o"}, settings=SimpleNamespace(llm=SimpleNamespace(nulls="empty")))
)


def rendered(sql: str) -> RenderedSql:
    return RenderedSql(sql, Source(sql).place(0, len(sql)))


@pytest.mark.parametrize(
    ("call", "canonical"),
    [
        ("llm_prompt('{id} {price}', array(id, price))", "llm_prompt('{0} {1}', array(id, price))"),
        ("llm_prompt('{price} {}', array(id, price))", "llm_prompt('{1} {}', array(id, price))"),
        ("llm_prompt('{a}', struct(b * 2 as a))", "llm_prompt('{0}', array(b * 2))"),
        ("llm_prompt('{a}', named_struct('a', b))", "llm_prompt('{0}', array(b))"),
        ("llm_prompt('{o.id} {{x}}')", "llm_prompt('{0} {{x}}', array(`o`.`id`))"),
        ("llm_prompt('{0}', array(a), nulls => 'skip')", "llm_prompt('{0}', array(a), 'skip')"),
        ("llm_prompt(\"it's {a}\", array(a))", "llm_prompt('it\\'s {0}', array(a))"),
        ("llm_prompt('{}', array(llm_prompt('{a}', array(a))))",
         "llm_prompt('{}', array(llm_prompt('{0}', array(a))))"),
        ("m(llm_param(map('instruction', llm_prompt('{a}', array(a)))))",
         "m(llm_param(map('instruction', llm_prompt('{0}', array(a)))))"),
    ],
)  # fmt: skip
def test_fields_by_name_become_positions(call: str, canonical: str) -> None:
    assert prompts.checked(SESSION, rendered(f"select {call} from t")).text == f"select {canonical} from t"


@pytest.mark.parametrize(
    "call",
    [
        "llm_prompt('{0} {1:x} {}', array(a, b))",
        "llm_prompt(template, values)",
        "llm_prompt('{0}', values)",
        "llm_prompt()",
        "llm_prompt('a', b, c, d)",
        "llm_param(m)",
        "llm_param(map(key, value))",
        "llm_param(map('gen.top_k', 3))",
        "m(llm_param(map('instruction', a)))",
        "m(request)",
        "m(llm_stack(q, llm_param(p)))",
        "`gpt-4o`(array('{}'))",
        "other('text')",
        "t.m('text')",
    ],
)
def test_what_is_right_or_not_ours_stays(call: str) -> None:
    sql = rendered(f"select {call} from t")
    assert prompts.checked(SESSION, sql) is sql


@pytest.mark.parametrize(
    ("call", "at", "words"),
    [
        ("llm_prompt('Is {reveiw} good?', array(review))", "{reveiw}", ["Did you mean {review}?", "{{reveiw}}"]),
        ("llm_prompt('{x}', values)", "{x}", ["no value for the field {x}"]),
        ("llm_prompt('a {2}', array(a, b))", "{2}", ["there are 2 values"]),
        ("llm_prompt('hi', array(a))", "llm_prompt('hi', array(a))", ["does not use the value a"]),
        ("llm_prompt('{0}', array(a), 'keep')", "", ["nulls of llm_prompt cannot be keep"]),
        ("llm_param(map('instruction', a, 'temprature', '1'))", "temprature", ["did you mean temperature?"]),
        ("llm_param(map('instruction', a, 'colour', '1'))", "colour", ["does not know the key colour", "Keys: instr"]),
        ("llm_param(map('instruction', a, 'temperature', 'hot'))", "temperature", ["temperature cannot be 'hot'"]),
        ("llm_param(map('instruction', a, 'max_tokens', 1.5))", "max_tokens", ["max_tokens cannot be '1.5'"]),
        ("m('text')", "m('text')", ["m takes a request, not 'text'", 'Write m(llm_param(map("instruction", ...))).']),
        ("m(concat('a', b))", "m(concat('a', b))", ["takes a request"]),
        ("m(llm_prompt('{a}', array(a)))", "", ["takes a request"]),
        ("M(map('instruction', a))", "", ["Write M(llm_param"]),
        ("`gpt-4o`('text')", "`gpt-4o`('text')", ["gpt-4o takes a request", "Write `gpt-4o`(llm_param"]),
        ("m()", "m()", ["takes one argument"]),
        ("m(a, b)", "m(a, b)", ["takes one argument"]),
    ],
)
def test_a_mistake_is_an_error_at_its_place(call: str, at: str, words: list[str]) -> None:
    sql = rendered(f"select a,\n  {call} as y from t")
    with pytest.raises(SQLLLMError) as raised:
        prompts.checked(SESSION, sql)
    assert raised.value.place is not None
    assert raised.value.place.line == 2
    assert at in ("", raised.value.place.text)
    for word in words:
        assert word in str(raised.value)


def test_what_is_around_a_value_keeps_its_place() -> None:
    sql = rendered("select llm_param(map('instruction', lost, 'max_tokens', 5)) as q, other from t")
    out = prompts.for_spark(sql)
    assert "'max_tokens', '5'" in out.text
    for stays in ("select", "'instruction'", "as q, other"):
        start = out.text.index(stays)
        assert out.place_at(start, start + len(stays)).text == stays
    assert out.place_at(out.text.index("typeof")).text == "lost"


VALUES: dict[str, Any] = {
    "123456789012": "123456789012",
    "9.99D": "9.99",
    "cast(7 as decimal(5,2))": "7.00",
    "7": "7",
    "true": "true",
    "'it''s {0}'": "it's {0}",
    "date'2024-01-31'": "2024-01-31",
    "timestamp'2024-01-31 10:00:00.5'": "2024-01-31 10:00:00.5",
    "timestamp_ntz'2024-01-31 10:00:00'": "2024-01-31 10:00:00",
    "interval 1 day": "INTERVAL '1' DAY",
    "array(1, 2)": "[1,2]",
    "named_struct('a', 1, 'b', date'2024-01-01')": '{"a":1,"b":"2024-01-01"}',
    "map('a', 1.5)": '{"a":1.5}',
    "upper('a')": "A",
    "cast(null as int)": "",
    "null": "",
}


@pytest.mark.slow
def test_each_value_is_the_text_that_it_is_alone(spark: SparkSession) -> None:
    session = Session(spark=spark)
    functions.register(spark)
    template = " | ".join(["{}"] * len(VALUES))
    (row,) = rows_of(
        session,
        f"""select llm_prompt('{template}', array({", ".join(VALUES)})) as prompt,
                   llm_prompt(t, array(12, 9.5D, date'2024-01-31', null)) as dynamic,
                   llm_prompt('{{a}} {{a}} {{{{a}}}}', struct(uuid() as a)) as twice,
                   llm_param(map('instruction', 12, 'temperature', 0.5, 'ignore_eos', true, 'stop', array('a')))[0]
                     as q,
                   llm_prompt('{{n:none}} {{n}}', array(n)) as nothing,
                   llm_prompt('{{n}}', array(n), nulls => 'null') as word,
                   llm_prompt('{{n}}', array(n), nulls => 'skip') as skipped,
                   llm_prompt(t, array(n, 1, 1, 1), nulls => 'skip') as skipped_too
            from (select '{{}} {{}} {{}}{{3:!}}' as t, cast(null as int) as n) as p;""",
    )
    assert str(row["prompt"]).split(" | ") == list(VALUES.values())
    assert row["dynamic"] == "12 9.5 2024-01-31!"
    first, second, escaped = str(row["twice"]).split()
    assert (first == second, escaped) == (True, "{a}")
    assert row["q"] == '{"instruction":"12","temperature":"0.5","ignore_eos":"true","stop":"[\\"a\\"]"}'
    assert (row["nothing"], row["word"], row["skipped"], row["skipped_too"]) == ("none ", "NULL", None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["b", "array(b)", "named_struct('x', b)", "map('x', array(b))", "unhex('00')", "struct(1, b)"]
)
def test_a_binary_value_is_refused_when_it_is_planned(spark: SparkSession, value: str) -> None:
    session = Session(spark=spark)
    functions.register(spark)
    for call in (f"llm_prompt('x {{0}}', array({value}))", f"llm_param(map('instruction', {value}))"):
        with pytest.raises(SQLLLMError, match=r"(?s)is binary, and a request holds texts.*base64") as raised:
            session.run(f"select 1 as a,\n {call} as p from (select X'00FF' as b) as t;")
        assert raised.value.place is not None
        assert raised.value.place.line == 2


@pytest.mark.slow
def test_an_unknown_column_is_found_in_a_template_without_values(spark: SparkSession) -> None:
    session = Session(spark=spark)
    rows = rows_of(session, "select llm_prompt('{name} is {age}') as p from values ('Bo', 7) as t(name, age) as r;")
    assert rows == [{"p": "Bo is 7"}]
    with pytest.raises(SQLLLMError, match="nmae"):
        session.run("select llm_prompt('{nmae}') as p from values ('Bo') as t(name) as r;")
    session.run('set llm.nulls = "null";')
    assert rows_of(session, "select llm_prompt('{n}') as p from (select null as n) as r;") == [{"p": "NULL"}]
