"""The functions inside real Spark, against a real HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import ModelError
from sqlllm.session import Session
from sqlllm.udfs import functions, model
from sqlllm.udfs.transport import Endpoint

from .gateway import Gateway

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


@pytest.fixture
def session(spark: SparkSession, gateway: Gateway) -> Session:
    """A session in which `up` is a deployed model that answers in upper case."""
    session = Session(spark=spark)
    functions.register(session.spark)
    model.register(session.spark, "up", Endpoint(url=gateway.url, model="up", batch_size=16, retry_seconds=1))
    session.models.add("up")
    return session


def run(session: Session, script: str) -> list[dict[str, object]]:
    result = session.run(script)
    assert result is not None
    return [row.asDict() for row in result.rows()]


def test_functions_have_byzers_types(session: Session) -> None:
    types = dict(
        session.spark.sql(
            "select llm_param(map('a', 1)) as param, llm_prompt('{0}', array('x')) as prompt,"
            " llm_stack(array('{}'), llm_param(map('instruction', 'x'))) as stacked, llm_result(array('{}')) as result,"
            " up(array('x')) as answer"
        ).dtypes
    )
    assert types == {
        "param": "array<string>",
        "prompt": "string",
        "stacked": "array<string>",
        "result": "string",
        "answer": "array<string>",
    }


@pytest.mark.parametrize(
    ("template", "args", "prompt"),
    [
        ("{} and {}", ["a", "b"], "a and b"),
        ("{1}{0}{1}", ["a", "b"], "bab"),
        ("{0} {3} {3:none}", ["a"], "a  none"),
        ("{x} {a: b} { } {{0}} {0}", ["v"], "{x} {a: b} { } {0} v"),
        ('{{"a": {{"b": {0}}}}} {"a": {"b": {0}}}', ["v"], '{"a": {"b": v}} {"a": {"b": v}}'),
        ("{0}", ["{1} {}"], "{1} {}"),
        ("{0}", ["_ ${x} $1 \\1 '\";--"], "_ ${x} $1 \\1 '\";--"),
        ("line\n{0}", ["two\nthree"], "line\ntwo\nthree"),
        ("", ["a"], ""),
    ],
)
def test_prompts_are_filled_in_by_value(session: Session, template: str, args: list[str], prompt: str) -> None:
    frame = session.spark.createDataFrame([(template, args)], "t string, a array<string>")
    assert frame.selectExpr("llm_prompt(t, a) as p").first() == (prompt,)


def test_two_thousand_rows_with_fifty_bad_ones(session: Session, gateway: Gateway) -> None:
    rows = run(
        session,
        """
        select id, case when id % 40 = 7 then element_at(array(null, '', 'bad'), 1 + cast(id / 40 as int) % 3)
                        else concat('p', id) end as prompt from range(2000) as t;
        select id, prompt, up(llm_param(map("instruction", prompt))) as q from t as answers;
        select id, prompt, llm_result(q) as text, llm_error(q) as error from answers as flat;
        """,
    )
    assert sorted(row["id"] for row in rows) == list(range(2000))  # type: ignore[type-var]
    bad = [row for row in rows if row["text"] is None]
    assert len(bad) == 50
    assert {row["id"] for row in bad} == {row["id"] for row in rows if int(str(row["id"])) % 40 == 7}
    assert {(row["prompt"], row["error"]) for row in bad} == {
        (None, None),
        ("", "empty_prompt: the instruction is empty"),
        ("bad", "context_length_exceeded: too long"),
    }
    assert all(row["text"] == str(row["prompt"]).upper() for row in rows if row not in bad)


def test_a_table_with_answers_is_computed_once(session: Session, gateway: Gateway) -> None:
    run(
        session,
        """
        select concat('q', id) as p from range(20) as t;
        select p, up(llm_param(map("instruction", p))) as q from t as answered;
        select count(llm_result(q)) as n from answered as a;
        select llm_result(q) as x, length(llm_result(q)) as n from answered order by p as b;
        """,
    )
    assert len(gateway.prompts) == 20
    session.run("select max(llm_result(q)) as x from answered as c;")
    assert len(gateway.prompts) == 20


def test_the_next_turn_carries_the_conversation(session: Session, gateway: Gateway) -> None:
    rows = run(
        session,
        """
        select up(llm_param(map("instruction", "one", "system_msg", "be brief"))) as q from range(1) as first;
        select up(llm_stack(q, llm_param(map("instruction", "two")))) as q from first as second;
        select llm_result(q) as text from second as shown;
        """,
    )
    assert rows == [{"text": "TWO"}]
    assert gateway.requests[-1]["messages"] == [
        [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "ONE"},
            {"role": "user", "content": "two"},
        ]
    ]


def test_a_limit_that_answers_fill_ends_the_calls(session: Session, gateway: Gateway) -> None:
    model.register(session.spark, "up", Endpoint(url=gateway.url, model="up", first=8))
    asked = """
        select id from range(0, 4000, 1, 1)
        where llm_result(up(llm_param(map('instruction', concat(id % 2, repeat('x', 900), id))))) like '1%' limit 5;
    """
    assert [row["id"] for row in run(session, asked)] == [1, 3, 5, 7, 9]
    assert len(gateway.prompts) < 2000


def test_an_error_of_the_first_turn_is_that_of_the_second(session: Session, gateway: Gateway) -> None:
    rows = run(
        session,
        """
        select up(llm_param(map("instruction", p))) as q from values ('bad'), (null), ('ok') as t(p) as first;
        select up(llm_stack(q, llm_param(map("instruction", "next")))) as q from first as second;
        select llm_error(q) as error, llm_result(q) as text from second as shown;
        """,
    )
    assert {(row["error"], row["text"]) for row in rows} == {
        ("context_length_exceeded: too long", None),
        (None, None),
        (None, "NEXT"),
    }
    assert sorted(gateway.prompts) == ["bad", "next", "ok"]


def test_a_model_that_is_gone_is_one_clear_error(session: Session, gateway: Gateway) -> None:
    gateway.script.append((404, b'{"error": {"message": "model up is not deployed"}}', {}))
    with pytest.raises(ModelError) as raised:
        run(session, "select 1 as a as t;\nselect up(llm_param(map('instruction', 'x'))) as q from t as answers;")
    assert "model up is not deployed" in raised.value.message
    assert "Traceback" not in str(raised.value)
    assert raised.value.place is not None
    assert raised.value.place.line == 2
