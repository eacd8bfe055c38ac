"""The semantic join, Cluster and Dedup in real Spark, on an oracle and on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import LimitError, OptionError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.session import Session

from .conftest import Recorder
from .oracles import alike

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

LEFT = [(n, f"product {n}" if n % 10 else None, n % 3) for n in range(60)]
RIGHT = [(n, f"PRODUCT-{n * 2}" if n % 7 else " ", n % 3) for n in range(60)]
ON = "ai_filter(llm_prompt('<{a.x}> is the same as <{b.y}>'))"
PAIRS = {(i, j) for i, x, _ in LEFT for j, y, _ in RIGHT if x and y.strip() and alike(x, y)}


@pytest.fixture(scope="module")
def deployed(serving: Serving) -> Iterator[Serving]:
    options = {"function": "tests.session.oracles:answer"}
    serving.deploy(ModelSpec(name="knows", engine="oracle", model_path="", engine_options=options))
    yield serving
    serving.undeploy("knows")


@pytest.fixture
def session(spark: SparkSession, deployed: Serving, recorder: Recorder) -> Iterator[Session]:
    with Session(spark=spark, observer=recorder) as session:
        session.__dict__["serving"] = deployed
        session.run('run command as LLM.`` where action="infer" and reconnect="true" and udfName="knows";')
        session.override("llm.model", "knows")
        spark.createDataFrame(LEFT, "id int, x string, k int").createOrReplaceTempView("a")
        spark.createDataFrame(RIGHT, "bid int, y string, k int").createOrReplaceTempView("b")
        yield session
        session.__dict__.pop("serving")  # others use it


def rows(session: Session, select: str) -> list[tuple[object, ...]]:
    result = session.run(select + ";")
    assert result is not None
    return [tuple(row) for row in result.rows()]


def calls(serving: Serving) -> int:
    return int(serving.counts("knows")["calls"])


def test_a_join_asks_about_blocks(session: Session, deployed: Serving) -> None:
    session.override("llm.store", "off")
    before = calls(deployed)
    assert set(rows(session, f"select a.id, b.bid from a join b on {ON} as found")) == PAIRS
    assert calls(deployed) - before == 4
    forced = ON.replace("'))", "'), method => 'classify')")
    assert set(rows(session, f"select a.id, b.bid from a join b on {forced}")) == PAIRS
    assert calls(deployed) - before == 4 + 54
    found = rows(session, f"select a.*, b.* from a left join b on a.k = b.k and {ON}")
    assert sorted(row[0] for row in found) == list(range(60))
    assert {(row[0], row[3]) for row in found if row[3] is not None} == {(i, j) for i, j in PAIRS if i % 3 == j % 3}


def test_explain_shows_the_ways(session: Session, deployed: Serving) -> None:
    before = calls(deployed)
    shown = {
        row[0]: row[1]
        for row in rows(
            session,
            f"explain llm select a.id from a join b on {ON} as ways;"
            "select substring_index(note, ';', 1) as n, calls from ways where note is not null",
        )
    }
    assert calls(deployed) == before
    assert shown["taken: blocks"] == 4
    assert shown["not taken: pairs"] == 54 * 51


def test_nothing_is_paid_twice_after_a_limit(session: Session, deployed: Serving) -> None:
    session.run('set llm.join_rows = "16"; set llm.max_calls = "5";')
    before = calls(deployed)
    with pytest.raises(LimitError):
        rows(session, f"select a.id, b.bid from a join b on {ON}")
    assert calls(deployed) - before <= 5
    session.run('set llm.max_calls = "0";')
    assert set(rows(session, f"select a.id, b.bid from a join b on {ON}")) == PAIRS
    paid = calls(deployed) - before
    assert paid == 16
    assert set(rows(session, f"select a.id, b.bid from a join b on {ON}")) == PAIRS
    assert calls(deployed) - before == paid


def test_one_bad_row_fails_alone(session: Session, recorder: Recorder) -> None:
    session.run("select *, if(id = 11, 'cursed', x) as z from a as c;")
    found = rows(session, f"select a.id, b.bid from c as a join b on {ON.replace('a.x', 'a.z')}")
    assert set(found) == {pair for pair in PAIRS if pair[0] != 11}
    assert "note: 51 pairs of the join have no answer" in recorder.lines[-1]


# --- Cluster and Dedup -------------------------------------------------------------------------------------------


def test_dedup_gives_entities_and_a_canonical_row(session: Session, deployed: Serving) -> None:
    session.run(
        "select * from values (1, 'Acme Inc'), (2, 'ACME, INC'), (3, 'acme inc'), (4, 'Globex'), (5, null),"
        " (6, 'GLOBEX'), (7, ' '), (8, 'Acme Inc') as v(id, name) as firms;"
    )
    before = calls(deployed)
    found = rows(
        session,
        'run firms as Dedup.`` where prompt="{name} is the same company as {other.name}" as entities;'
        "select id, entity, canonical, is_canonical from entities order by id",
    )
    assert calls(deployed) - before == 1
    entity = {row[0]: row[1] for row in found}
    assert entity[1] == entity[2] == entity[3] == entity[8] != entity[4] == entity[6]
    assert entity[5] is None
    assert entity[7] is None
    names = {1: "Acme Inc", 2: "ACME, INC", 3: "acme inc", 4: "Globex", 6: "GLOBEX", 8: "Acme Inc"}
    for number in (1, 4):
        (row,) = [row for row in found if row[1] == entity[number] and row[3]]
        assert row[2] == names[row[0]]
    assert [row[0] for row in found if row[3] and row[1] is None] == [5, 7]
    assert rows(
        session,
        'run firms as Dedup.`` where prompt="{name} is the same company as {other.name}" as entities;'
        "select count(distinct entity) as n, count_if(is_canonical) as c from entities",
    ) == [(2, 4)]
    assert calls(deployed) - before == 1  # kept


def test_clusters_have_names_and_representatives(session: Session, deployed: Serving) -> None:
    session.run(
        "select if(id < 12, concat('the parcel came ', id, ' days late'),"
        " if(id < 20, concat('battery ', id, ' is dead'), null)) as text, id from range(22) as t;"
    )
    before = calls(deployed)
    found = rows(
        session,
        'run t as Cluster.`` where column="text" and k="2" as topics;'
        "select cluster, label, count(*) as n, count_if(representative) as r, min(id) as first from topics"
        " group by all order by cluster nulls last",
    )
    assert found == [(1, "Topic 1", 12, 5, 0), (2, "Topic 2", 8, 5, 12), (None, None, 2, 0, 20)]
    assert calls(deployed) - before == 1
    session.run('run t as Cluster.`` where column="text" and names="false" as topics;')
    assert calls(deployed) - before == 1
    assert rows(session, "select count(distinct label) as n from topics") == [(0,)]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('run a as Dedup.`` where prompt="{x} is {other.nam}" as e', "there is no column nam"),
        ('run a as Dedup.`` where prompt="{x} is a company" as e', "compares a row with another"),
        ('run a as Dedup.`` where prompt="{} is {other.x}" as e', "names no column"),
        ('run a as Dedup.`` where promt="{x} is {other.x}" as e', "unknown option promt"),
        ('run a as Dedup.`` where prompt="{x} is {other.x}" and recall="1.5" as e', "between 0 and 1, not 1.5"),
        ('run a as Cluster.`` where column="y" as e', "there is no column y"),
        ('run a as Cluster.`` where column="x" and k="none" as e', "k is a number from 1"),
        ('run a as Cluster.`` where colum="x" as e', "unknown option colum"),
        ("run a as Cluster.`` as e", "Cluster needs column"),
        (
            'select id as entity, x from a as c; run c as Dedup.`` where prompt="{x} is {other.x}" as e',
            "column entity already",
        ),
    ],
)
def test_wrong_options(session: Session, statement: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        session.run(statement + ";")


def test_a_real_model_answers_what_it_can(
    spark: SparkSession, serving: Serving, tiny_model: Path, recorder: Recorder
) -> None:
    """A random tiny model says nothing of use: every pair fails alone, and the statement ends with a note."""
    serving.deploy(ModelSpec(name="tiny_joins", model_path=str(tiny_model), engine="transformers", cpus_per_worker=0.1))
    try:
        with Session(spark=spark, observer=recorder) as session:
            session.__dict__["serving"] = serving
            session.run('run command as LLM.`` where action="infer" and reconnect="true" and udfName="tiny_joins";')
            session.run(
                "select * from values (1, 'a'), (2, 'b') as v(id, x) as l;"
                "select * from values (1, 'a') as v(bid, y) as r;"
            )
            on = "ai_filter(llm_prompt('{l.x} is {r.y}'), model => 'tiny_joins')"
            found = rows(session, f"select l.id, r.bid from l left join r on {on}")
            assert sorted(row[0] for row in found) == [1, 2]
            session.__dict__.pop("serving")
    finally:
        serving.undeploy("tiny_joins")
