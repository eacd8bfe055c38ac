"""Ranks, aggregates and estimates in Spark, by a model that is asked in rounds: an oracle that knows the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.errors import LimitError, SQLLLMError
from sqlllm.session import Session

from .cases import rows_of
from .conftest import Recorder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.session.meter import Used

pytestmark = pytest.mark.slow


class Listener(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[Used] = []

    def used(self, used: Used) -> None:
        self.told.append(used)


TABLES = """
select id, concat('note ', id, ' is worth ', (id * 37) % 101) as text, (id * 37) % 101 as worth, id % 3 as g,
       if(id % 10 = 0, null, concat('<m', id, '>')) as mark, concat('is ', id, ' even') as claim
from range(60) as t;
select id, concat('thing ', id, ' costs ', (id * 7919) % 1009) as text from range(200) as many;
"""


@pytest.fixture(scope="module")
def session(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(spark=spark, observer=Listener()) as session:
        session.override("home", str(tmp_path_factory.mktemp("ranks")))
        session.override("allow.python", "true")
        session.run(
            'run command as LLM.`` where action="infer" and udfName="judge" and pretrainedModelType="oracle/function"'
            ' and `backend.function`="tests.session.judges:answer" and `backend.max_model_len`="2000";'
        )
        session.run(TABLES)
        yield session


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows_of(session, sql)]


def calls(session: Session) -> int:
    """Calls since the last time."""
    session.tell_usage()
    assert isinstance(session.observer, Listener)
    used = sum(one.calls for one in session.observer.told)
    session.observer.told.clear()
    return used


RANKED = [  # with ai_rank, and as SQL has it
    "select id, {rank} over () as r from t",
    "select id, {rank} over (partition by g) as r from t where id < 20",
    "select id from t qualify {rank} over (partition by g) <= 3",
    "select id, g, {rank} over (partition by g) as r from t qualify r <= 2",
    "select id, {rank} over () as r, row_number() over (order by id) as n from t qualify r <= 4",
    "select * from (select id, {rank} over () as r from t) where r <= 5 and id > 3",
    "with x as (select id, {rank} over () as r from t) select id, r from x where 3 >= r",
    "select id, {rank} over () as r from t order by r, id limit 5",
    "select count(*) as n from (select {rank} over (partition by null) as r from t) where r between 1 and 7",
    "select a.id, b.id as other, r from t a join (select *, {rank} over () as r from t) b on a.id = b.id where r < 4",
]


@pytest.mark.parametrize("select", RANKED)
def test_ranks_are_those_of_sql(session: Session, select: str) -> None:
    window = re.search(r"\{rank\} over \((.*?)\)", select)
    assert window is not None
    plain = select.replace(window[0], f"rank() over ({window[1]} order by worth desc)")
    found = rows(session, select.replace("{rank}", "ai_rank(llm_prompt('which is worth more: {text}'))") + ";")
    assert sorted(found) == sorted(rows(session, plain + ";"))


def test_few_are_asked_for_the_first(session: Session) -> None:
    calls(session)
    found = rows(session, "select text from many qualify ai_rank(text, 'which costs more') over () <= 10;")
    assert {int(text.split()[-1]) for (text,) in found} == set(
        sorted(((row * 7919) % 1009 for row in range(200)), reverse=True)[:10]
    )
    assert 0 < calls(session) <= 60
    assert rows(session, "select text from many qualify ai_rank(text, 'which costs more') over () <= 10;") == found
    assert calls(session) == 0


def test_null_and_blank_have_no_rank_and_a_bad_row_fails_alone(session: Session) -> None:
    values = "(1, 'worth 5'), (2, null), (3, ' '), (4, 'worth 9'), (5, 'refused 7'), (6, 'worth 5')"
    found = rows(session, f"select id, ai_rank(x, 'worth') over () as r from values {values} as v(id, x);")
    assert sorted(found) == [(1, 2), (2, None), (3, None), (4, 1), (5, None), (6, 2)]
    assert any("ai_rank has no answer about 1 text" in line for line in session.observer.lines)  # type: ignore[attr-defined]


def test_explain_shows_the_ways(session: Session) -> None:
    calls(session)
    shown = rows_of(session, "explain llm select id from t qualify ai_rank(text, 'worth more') over () <= 3;")
    assert [row["note"].partition(":")[0] for row in shown[:3]] == ["taken", "not taken", "not taken"]
    assert shown[0]["calls"] < shown[2]["calls"] == 60
    shown = rows_of(session, "explain llm select g, ai_agg(mark, 'List') from t group by g;")
    assert shown[0]["calls"] == 3
    shown = rows_of(session, "explain llm select ai_approx_count(ai_filter(string(id)), error => 0.3) as n from many;")
    assert 0 < shown[0]["calls"] < shown[1]["calls"] == 200
    assert calls(session) == 0


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("select ai_rank(text, 'x') from t", "write OVER"),
        ("select ai_rank(text) over () from t", "needs a criterion"),
        ("select ai_rank(text, 'x') over (order by id) from t", "window is ordered"),
        ("select g, ai_rank(max(text), 'x') over () from t group by g", "beside aggregates"),
        (
            "select id, row_number() over (order by id) as n from t qualify ai_rank(text, 'x') over () < 3",
            "give the rank a",
        ),
        ("select ai_agg(text) from t", "needs"),
        ("select ai_agg(text, 'x') from t group by cube(g)", "several ways"),
        ("select ai_agg(text, 'x', returnType => 'strange') from t", "strange"),
        ("select ai_approx_count(ai_filter(claim), error => 2) from t", "error is between 0 and 1"),
        ("select ai_agg(text, 'x', modle => 'y') from t", "modle"),
    ],
)
def test_what_cannot_run_says_why(session: Session, select: str, reason: str) -> None:
    with pytest.raises(SQLLLMError, match=reason):
        session.run(select + ";")


# --- Aggregates ---------------------------------------------------------------------------------------------------

MARKS = [f"<m{row}>" for row in range(60) if row % 10]


def test_an_answer_a_group_in_order(session: Session) -> None:
    found = rows(
        session,
        "select g, ai_agg(mark, 'List the marks.') within group (order by id desc) as s, count(*) as n"
        " from t group by g order by g;",
    )
    wanted = [" ".join(f"<m{row}>" for row in reversed(range(60)) if row % 3 == g and row % 10) for g in range(3)]
    assert found == [(g, wanted[g], 20) for g in range(3)]


COUNT = "ai_agg(mark, 'Count the marks', returnType => 'int')"
AGGREGATED = [
    ("select ai_agg(mark, 'List') as s from t where id > 60", [(None,)]),
    ("select ai_agg(mark, 'List') within group (order by id) as s from t", [(" ".join(MARKS),)]),
    ("select ai_agg(mark, 'List') filter (where id in (1, 2)) as s from t", [("<m1> <m2>",)]),
    (f"select {COUNT} + 1 as n from t", [(55,)]),
    (f"select g % 2 as k, {COUNT} as n from t group by k", [(0, 36), (1, 18)]),
    (f"select g % 2 as k, {COUNT} as n from t group by all", [(0, 36), (1, 18)]),
    (f"select {COUNT} as n, g from t group by 2 having n > 3", [(18, 0), (18, 1), (18, 2)]),
    (f"select distinct {COUNT} over (partition by g) as n from t", [(18,)]),
    (
        "select id, ai_summarize_agg(mark) over (partition by id) as s from t where id in (9, 10)",
        [(9, "<m9>"), (10, None)],
    ),
    (
        "select if(id = 1, null, 'x') as k, ai_agg(mark, 'List') as s from t where id < 4 group by 1",
        [(None, "<m1>"), ("x", "<m2> <m3>")],
    ),
    (  # keys that print alike
        "select size(k) as n, ai_agg(x, 'List') as s from values (array('a, b'), '<m1>'), (array('a', 'b'), '<m2>')"
        " as v(k, x) group by k",
        [(1, "<m1>"), (2, "<m2>")],
    ),
    (
        f"select {COUNT[:-1]}, failOnError => false) as a from t",
        [({"result": 54, "errorMessage": None, "rows": 54, "rowsRead": 54},)],
    ),
]


@pytest.mark.parametrize(("select", "expected"), AGGREGATED, ids=[select[:70] for select, _ in AGGREGATED])
def test_aggregates(session: Session, select: str, expected: list[tuple[Any, ...]]) -> None:
    found = [tuple(plain(value) for value in row) for row in rows(session, select + ";")]
    assert sorted(found, key=str) == sorted(expected, key=str)


def plain(value: Any) -> Any:
    return value.asDict() if hasattr(value, "asDict") else value


def test_a_group_beyond_the_context_is_read_once_and_a_bad_row_fails_alone(session: Session) -> None:
    sql = (
        "select ai_agg(x, 'List', failOnError => false) within group (order by id) as a from"
        " (select id, if(id = 77, 'refused', concat('<n', id, '> ', repeat('word ', 20))) as x from range(300));"
    )
    calls(session)
    ((found,),) = rows(session, sql)
    assert re.findall(r"\d+", found["result"]) == [str(row) for row in range(300) if row != 77]
    assert (found["rows"], found["rowsRead"], found["errorMessage"]) == (300, 299, None)
    assert calls(session) < 60
    assert rows(session, sql) == [(found,)]
    assert calls(session) <= 9  # an error is not kept: the parts down to the refused row are asked again


def test_limits_stop_and_the_next_run_pays_for_the_rest_alone(session: Session) -> None:
    sql = (
        "select ai_agg(x, 'List') as a from (select concat('<o', id, '> ', repeat('word ', 50)) as x from range(150));"
    )
    calls(session)
    session.override("llm.max_calls", "3")
    with pytest.raises(LimitError):
        rows(session, sql)
    session.override("llm.max_calls", "0")
    first = calls(session)
    assert 0 < first <= 3
    assert len(re.findall("<o", rows(session, sql)[0][0])) == 150
    second = calls(session)
    rows(session, sql.replace("range(150)", "range(151)").replace("<o", "<q"))
    assert first + second <= calls(session)


# --- Estimates ----------------------------------------------------------------------------------------------------


def test_counts_by_group(session: Session) -> None:
    calls(session)
    found = rows(
        session,
        "select g, ai_approx_count(ai_filter(claim), error => 0.2, confidence => 0.9) as c from"
        " (select id % 2 as g, concat('is ', id * 3, ' even') as claim from range(2000)) group by g order by g;",
    )
    assert 0 < calls(session) < 700
    for (g, c), true in zip(found, (1000, 0), strict=True):
        assert c["low"] <= true <= c["high"], g
        assert c["high"] - c["low"] <= 420
        assert c["asked"] < 400


def test_means_and_their_bounds(session: Session) -> None:
    rate = "cast(ai_gen(concat('Rate: ', id)) as double)"
    (found,) = rows(
        session,
        f"select ai_approx_avg({rate}, error => 0.1).value as v, ai_approx_avg({rate}, error => 0.1).asked as n"
        " from range(1000);",
    )
    assert abs(found[0] - 0.45) < 0.1
    assert found[1] < 500
    with pytest.raises(SQLLLMError, match=r"is not between 0 and 0\.5"):
        session.run(f"select ai_approx_avg({rate}, most => 0.5) from range(100);")


def test_exact_where_all_are_asked(session: Session) -> None:
    (found,) = rows(session, "select ai_approx_count(ai_filter(claim) and id > 9) as c from t where id < 20;")
    assert tuple(found[0].values()) == (5, 5, 5, 20)
    (empty,) = rows(session, "select ai_approx_count(ai_filter(claim)) as c from t where id < 0;")
    assert empty[0] is None
