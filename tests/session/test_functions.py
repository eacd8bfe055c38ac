"""The llm_* functions written out do what they do as functions, and every character keeps its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlllm.dialect import RenderedSql
from sqlllm.places import Source
from sqlllm.session.functions import written_out
from sqlllm.udfs import functions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ANSWER = """array('{"output": "yes", "history": [{"role": "user"}], "error": null}')"""
FAILED = """array('{"error": {"kind": "empty_prompt", "message": "it''s empty"}}')"""
CALLS = [
    "llm_param(map('a', 1, 'b', null))",
    "llm_param(map('instruction', concat('{', name, '}')))",
    "llm_prompt('{} {0} {1:d}{2:e}, {:f} {x}', array(name, null))",
    "LLM_PROMPT ( name, array('a, (b', ')') )",
    f"llm_result({ANSWER})",
    f"llm_response_predict({FAILED})",
    f"llm_error({FAILED})",
    f"llm_error({ANSWER})",
    f"llm_stack({ANSWER}, llm_param(map('instruction', name)))",
    f"llm_stack({FAILED}, llm_param(map('instruction', name)))",
    "llm_stack(null, llm_param(map('instruction', name)))",
]


def rendered(sql: str) -> RenderedSql:
    return RenderedSql(sql, Source(sql).place(0, len(sql)))


@pytest.mark.slow
def test_written_out_they_give_the_same(spark: SparkSession) -> None:
    functions.register(spark)
    written = [written_out(rendered(call)).text for call in CALLS]
    assert not any(f"{name}(" in text for text in written for name in functions.FUNCTIONS)

    def rows(calls: list[str]) -> list[str]:
        query = f"select to_json(array({', '.join(f'to_json(struct({call} as c))' for call in calls)})) as j"
        return [
            row.j for row in spark.sql(f"{query} from (select explode(array('Bo', 'x{{0}}', null)) as name)").collect()
        ]

    assert rows(written) == rows(CALLS)
    assert len(rows(written)) == 3


@pytest.mark.slow
def test_they_nest(spark: SparkSession) -> None:
    functions.register(spark)
    first = """array('{"history": [1]}')"""
    call = (
        f"llm_stack(llm_stack({first}, llm_param(map('a', llm_prompt('{{0}}', array('b'))))), llm_param(map('c', 'd')))"
    )
    (row,) = spark.sql(f"select {written_out(rendered(call)).text} as q").collect()
    assert row.q == ['{"history":"[1]","c":"d"}']


def test_what_stays_keeps_its_place() -> None:
    sql = "select llm_param(map('a', llm_prompt('{0}', array(name)))) as q, other"
    out = written_out(rendered(sql))
    for stays in ("select", "map('a'", "'{0}'", "array(name)", "as q, other"):
        start = out.text.index(stays)
        assert out.place_at(start, start + len(stays)).text == stays
    assert out.place_at(out.text.index("to_json")).text == ")"


@pytest.mark.parametrize(
    "call", ["llm_param(m, 1)", "llm_result()", "llm_prompt('a'", "my_llm_param(m)", "'llm_param(m)'", "llm_param"]
)
def test_text_that_is_not_a_call_stays(call: str) -> None:
    assert written_out(rendered(call)).text == call
