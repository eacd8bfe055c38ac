"""ai_filter with a helper, in real Spark on oracles: the targets hold, and the main model is asked for few rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import LimitError, ModelError, ParseError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.session import Session

from . import semantic
from .conftest import Recorder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

ROWS = 4000
TRUE = {number for number in range(ROWS) if semantic.is_true(number)}
MODELS = {"main": "truth", "helper": "guess", "labels": "label", "sure": "labelled", "rates": "rated"}


@pytest.fixture(scope="module")
def deployed(serving: Serving) -> Iterator[Serving]:
    for name, function in MODELS.items():
        options = {"function": f"tests.session.semantic:{function}"}
        # Its folder is not read.
        serving.deploy(ModelSpec(name=name, engine="oracle", model_path="tests", engine_options=options))
    yield serving
    for name in MODELS:
        serving.undeploy(name)


@pytest.fixture
def session(spark: SparkSession, deployed: Serving, recorder: Recorder) -> Iterator[Session]:
    with Session(spark=spark, observer=recorder) as session:
        session.__dict__["serving"] = deployed
        for name in MODELS:
            session.run(f'run command as LLM.`` where action="infer" and reconnect="true" and udfName="{name}";')
        session.override("llm.model", "main")
        session.override("llm.store", "off")  # each test pays for itself
        session.run(f"select id, concat('item ', id) as text, id % 2 as side from range({ROWS}) as items;")
        yield session
        session.__dict__.pop("serving")  # others use it


def calls(serving: Serving) -> dict[str, int]:
    return {name: serving.counts(name)["calls"] for name in MODELS}


def spent(serving: Serving, before: dict[str, int]) -> dict[str, int]:
    """What was called since, of those that were."""
    return {name: more for name, now in calls(serving).items() if (more := now - before[name])}


def ids(session: Session, select: str) -> set[int]:
    result = session.run(select + ";")
    assert result is not None
    return {row.id for row in result.rows()}


def test_a_helper_saves_calls_and_the_targets_hold(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    found = ids(session, "select id from items where ai_filter(text, cascade => 'helper') as kept")
    used = spent(deployed, before)
    assert len(found & TRUE) >= 0.9 * len(TRUE)
    assert len(found & TRUE) >= 0.9 * len(found)
    assert found != TRUE
    assert used["main"] < 0.4 * ROWS
    assert ROWS <= used["helper"] <= 1.3 * ROWS


def test_settings_and_targets_of_a_call(session: Session, deployed: Serving) -> None:
    session.run('set llm.cascade = "helper";')
    before = calls(deployed)
    call = "ai_filter(llm_prompt('{text}'), recall_target => 0.97)"
    select = f"select id from (select *, {call} as y from items where side = 1) where y"
    found = ids(session, select)
    odd = {number for number in TRUE if number % 2}
    assert len(found & odd) >= 0.97 * len(odd)
    assert spent(deployed, before)["main"] < ROWS / 2
    before = calls(deployed)
    assert ids(session, "select id from items where ai_filter(text, cascade => 'off')") == TRUE
    assert "helper" not in spent(deployed, before)


def test_a_small_table_is_asked_row_by_row_and_says_so(session: Session, deployed: Serving, recorder: Recorder) -> None:
    before = calls(deployed)
    found = ids(session, "select id from items where id < 50 and ai_filter(text, cascade => 'helper')")
    assert found == {number for number in TRUE if number < 50}
    assert spent(deployed, before) == {"main": 50}
    assert recorder.lines[-1] == "note: main decides every row, because 50 rows are too few for a sample of 200"


def test_too_few_true_rows_leave_all_to_the_main_model(session: Session, recorder: Recorder) -> None:
    rare = sorted(TRUE)[:20]
    others = [number for number in range(ROWS) if number not in TRUE][:99]
    other = f"element_at(array({', '.join(map(str, others))}), cast(id % {len(others)} as int) + 1)"
    number = f"if(id in ({', '.join(map(str, rare))}), id, {other})"
    session.run(f"select id, concat('item ', {number}) as text from items as scattered;")
    assert ids(session, "select id from scattered where ai_filter(text, cascade => 'helper')") == set(rare)
    assert "which is too few to show the targets" in recorder.lines[-1]


def test_thresholds_by_hand(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    hand = """thresholds => '{"by": "number", "low": 0.5, "high": 0.5}'"""
    found = ids(session, f"select id from items where ai_filter(text, cascade => 'helper', {hand})")
    assert found == {number for number in range(ROWS) if float(semantic.guess(f"item {number}")) >= 0.5}
    assert spent(deployed, before) == {"helper": ROWS}


def test_nulls_and_a_row_that_fails(session: Session) -> None:
    session.run("select id, if(id % 10 = 0, null, if(id = 7, 'broken 7', text)) as text from items as holes;")
    select = "select id from holes where ai_filter(text, cascade => 'helper') is null"
    found = ids(session, select)
    assert set(range(0, ROWS, 10)) <= found
    assert found <= {*range(0, ROWS, 10), 7}


def test_a_limit_stops_and_what_was_answered_is_kept(session: Session, deployed: Serving) -> None:
    session.override("llm.store", "on")
    session.override("llm.max_calls", "150")
    select = "select id from items where ai_filter(concat(text, ', kept: item ', id), cascade => 'helper')"
    before = calls(deployed)
    with pytest.raises(LimitError):
        ids(session, select)
    assert spent(deployed, before).get("main", 0) <= 150
    session.override("llm.max_calls", "0")
    found = ids(session, select)
    again = calls(deployed)
    assert ids(session, select) == found
    assert spent(deployed, again) == {}
    assert spent(deployed, before)["helper"] == ROWS


def test_explain_shows_both_ways_and_asks_nothing(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    result = session.run("explain llm select id from items where ai_filter(text, cascade => 'helper');")
    assert result is not None
    cascade, helper, plain, total = (row.asDict() for row in result.rows())
    assert cascade["request"] == "ai_filter(text, cascade => 'helper')"
    assert (cascade["model"], cascade["note"].split(";")[0]) == ("main", "taken: cascade helper")
    assert (helper["model"], helper["calls"]) == ("helper", ROWS)
    assert (plain["calls"], plain["note"]) == (ROWS, "not taken: every row by the main model")
    assert cascade["calls"] < plain["calls"]
    assert total["calls"] == cascade["calls"] + helper["calls"]
    assert spent(deployed, before) == {}


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("select id from items where ai_filter(text, cascade => 'helper') limit 3", "its LIMIT may need fewer calls"),
        ("select ai_filter(max(text), cascade => 'helper') as y from items", "its text is not of one row"),
    ],
)
def test_what_runs_row_by_row_says_why(session: Session, recorder: Recorder, select: str, reason: str) -> None:
    result = session.run(select + ";")
    assert result is not None
    result.rows()
    assert any("is asked row by row, because" in line and reason in line for line in recorder.lines)


def test_wrong_arguments(session: Session) -> None:
    with pytest.raises(ModelError, match="there is no model helpr"):
        session.run("select id from items where ai_filter(text, cascade => 'helpr');")
    with pytest.raises(ParseError, match="thresholds is JSON"):
        session.run("select id from items where ai_filter(text, cascade => 'helper', thresholds => '0.5');")
    with pytest.raises(ParseError, match="did you mean cascade"):
        session.run("select id from items where ai_filter(text, casade => 'helper');")


LABELS = "array('engine', 'brakes', 'paint')"


def test_labels_of_a_helper_stand_where_it_is_sure(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    result = session.run(
        f"select id, ai_classify(text, {LABELS}, model => 'labels', cascade => 'sure') as cause from items as causes;"
    )
    assert result is not None
    rows = result.rows()
    right = sum(row.cause == semantic.cause(row.id) for row in rows)
    used = spent(deployed, before)
    assert 0.9 * ROWS <= right < ROWS
    assert used["labels"] < 0.4 * ROWS
    assert ROWS <= used["sure"] <= 1.1 * ROWS


def test_a_score_is_asked_once_a_row_and_its_rubric_once_a_query(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    result = session.run(
        "select * from (select id, ai_score(text, 'anger', model => 'rates') as s from items where id < 40)"
        " where s > 0.5 as angry;"
    )
    assert result is not None
    assert {row.id: row.s for row in result.rows()} == {n: n % 11 / 10 for n in range(40) if n % 11 > 5}
    assert spent(deployed, before) == {"rates": 41}


def test_a_score_orders(session: Session) -> None:
    result = session.run(
        "select id from items where id < 30 order by ai_score(text, 'anger', model => 'rates') desc, id limit 2 as top;"
    )
    assert result is not None
    assert [row.id for row in result.rows()] == [10, 21]


def test_a_rubric_by_hand_is_not_written_again(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    result = session.run(
        "select ai_score(text, 'anger', model => 'rates', rubric => '1: furious') as s from items limit 3;"
    )
    assert result is not None
    assert len(result.rows()) == 3
    assert spent(deployed, before)["rates"] < 40
