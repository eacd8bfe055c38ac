"""explain llm: what a select would ask, shown before anything is asked; and what asks for less."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.errors import TableError
from sqlllm.session import Session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(spark: SparkSession, serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """An oracle `told` with answers of four tokens, and the table t: 400 rows with 40 prompts."""
    table = tmp_path_factory.mktemp("oracle") / "answers.csv"
    table.write_text("prompt,answer\n" + "".join(f"Number {n}?,answer of {n:04}\n" for n in range(40)))
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("answers", str(table))
        session.override("llm.prices", "told=1000/2000")
        session.run(
            'run command as LLM.`` where action="infer" and pretrainedModelType="oracle/table" and udfName="told"'
            ' and localModelDir="${answers}" and `backend.default`="unknown thing";'
            'select id, concat("Number ", id % 40, "?") as p, id % 3 as g from range(400) as t;'
        )
        yield session
        session.run('run command as LLM.`` where action="undeploy" and udfName="told";')
        session.__dict__.pop("serving")  # others use it


def explained(session: Session, select: str) -> list[dict[str, Any]]:
    result = session.run(f"explain llm {select};")
    assert result is not None
    return [row.asDict() for row in result.rows()]


def ask(text: str, tokens: int = 4) -> str:
    return f"told(llm_param(map('instruction', {text}, 'max_tokens', '{tokens}')))"


def calls(serving: Serving) -> int:
    return serving.counts("told")["calls"]


def test_nothing_is_asked_and_everything_is_shown(session: Session, serving: Serving) -> None:
    before = calls(serving)
    select = f"select id, {ask('p')} as a from t"
    call, total = explained(session, select)
    assert calls(serving) == before
    assert (call["model"], call["rows"], call["prompts"], call["calls"], call["stored"]) == ("told", 400, 40, 40, 0)
    assert call["request"] == "told(llm_param(map('instruction', p, 'max_tokens', '4')))"
    assert (total["model"], total["calls"], total["at_most"]) == (None, 40, False)
    assert (total["request"], total["note"]) == (select, None)

    result = session.run(f"{select};")
    assert result is not None
    result.rows()
    used = session.meter.tell()
    assert used is not None
    assert (total["calls"], total["prompt_tokens"]) == (used.calls, used.prompt_tokens)
    assert total["answer_tokens"] == used.answer_tokens == 160
    assert total["cost"] == pytest.approx(used.cost)

    again = explained(session, select)[0]
    assert (again["stored"], again["calls"], again["cost"]) == (40, 0, 0.0)
    assert again["seconds"] is not None


def test_what_depends_on_answers_is_an_upper_bound(session: Session) -> None:
    first, second, total = explained(
        session, f"select {ask('concat(p, g)', 5)} as a from t where llm_result({ask('p', 7)}) = 'never'"
    )
    assert (first["at_most"], second["at_most"], total["at_most"]) == (False, True, True)
    assert (first["prompts"], second["prompts"]) == (40, 120)


def test_a_conversation_has_two_calls(session: Session) -> None:
    first, second, _ = explained(
        session, f"""select told(llm_stack({ask("p", 9)}, llm_param(map('instruction', 'go on')))) as a from t"""
    )
    assert (first["prompts"], second["prompts"], second["at_most"]) == (40, 40, True)
    assert second["prompt_tokens"] > first["prompt_tokens"], "the second turn holds the first"


def test_calls_have_the_words_of_the_user(session: Session) -> None:
    session.run("select id, p as `my text` from t as texts;")
    select = """select id, ai_classify(`my text`,
        array('a',  "b")) as a, ai_filter(`my text`) as ok from texts"""
    *calls, total = explained(session, select)
    texts = {call["request"] for call in calls}
    assert texts == {"""ai_classify(`my text`, array('a', "b"))""", "ai_filter(`my text`)"}
    assert total["request"] == " ".join(select.split())
    assert "__llm" not in str([*calls, total])


def test_a_select_that_runs_as_written_has_a_reason(session: Session) -> None:
    *_, total = explained(session, f"select llm_result({ask('p', 13)}) || uuid() as a from t")
    assert str(total["note"]).startswith("it runs as written, because a function that gives another value")
    *_, total = explained(session, f"select id from t where llm_result({ask('p', 13)}) = 'x' limit 5")
    assert total["note"] == "rows are asked about until the LIMIT is full"


def test_a_view_that_calls_is_refused_with_a_cure(session: Session) -> None:
    session.run(f"create or replace temporary view asks as select {ask('p', 14)} as a from t;")
    with pytest.raises(TableError, match="calls told itself"):
        explained(session, "select * from asks")


def test_null_is_not_asked(session: Session) -> None:
    assert explained(session, f"select {ask('if(id < 5, p, null)', 6)} as a from t")[0]["prompts"] == 5


def test_the_result_can_be_named(session: Session) -> None:
    session.run(f"explain llm select {ask('p', 8)} as a from t as costs;")
    result = session.run("select sum(calls) as calls from costs where model is not null;")
    assert result is not None
    assert result.rows()[0].calls == 40


def test_a_table_of_answers_is_not_computed_for_it(session: Session, serving: Serving) -> None:
    before = calls(serving)
    session.run(f"select {ask('p', 11)} as q from t as answers;")
    with pytest.raises(TableError, match="calls told itself"):
        explained(session, f"select {ask('llm_result(q)')} as a from answers")
    assert calls(serving) == before


def test_fields_are_reordered_where_it_is_allowed(session: Session) -> None:
    films = "(select concat(repeat('a film of many reviews ', 4), id % 4) as film, concat('r', id) as r from t)"
    prompt = "llm_prompt('Review: {}\\nFilm: {}\\nGood?', array(r, film))"
    select = f"select {ask(prompt, 5)} as a from {films}"
    before = explained(session, select)[0]
    session.settings.llm.reorder_fields = True
    try:
        after = explained(session, select)[0]
        assert after["request"] == before["request"] == ask(prompt, 5)
    finally:
        session.settings.llm.reorder_fields = False


def test_in_a_notebook(session: Session, serving: Serving) -> None:
    async def cell() -> None:  # an event loop runs there
        assert explained(session, f"select {ask('p', 6)} as a from t")[-1]["calls"] == 40
        assert calls(serving) >= 0

    asyncio.run(cell())


def test_what_is_shown_first_asks_for_no_other_rows(session: Session, serving: Serving) -> None:
    before = calls(serving)
    result = session.run(f"select id, {ask('concat(p, id)', 5)} as a from t order by id desc;")
    assert result is not None
    assert [row.id for row in result.rows(6)] == [399, 398, 397, 396, 395, 394]
    assert calls(serving) - before == 6
    assert [row.id for row in result.rows(6)] == [399, 398, 397, 396, 395, 394]
    assert len(result.rows()) == 400
    assert calls(serving) - before == 400, "the six come from the store"


def test_an_insert_and_a_created_table_are_planned(session: Session, serving: Serving) -> None:
    before = calls(serving)
    query = f"select id, llm_result({ask('p', 12)}) as a from t where id % 4 = 0 order by id limit 8"
    session.run("drop table if exists told_rows;")
    session.run(f"create table told_rows using parquet as {query}; insert into told_rows {query};")
    assert calls(serving) - before == 8
    result = session.run("select * from told_rows order by id;")
    assert result is not None
    rows = result.rows()
    assert result.columns == ["id", "a"]
    assert [row.id for row in rows[:4]] == [0, 0, 4, 4]
    assert rows[0].a == "answer of 0000"
    session.run("drop table told_rows;")
