"""What is told while a statement runs."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyspark.sql.functions import arrow_udf
from rich.console import Console

from sqlllm.console.activity import Activity, Stage
from sqlllm.console.coming import coming
from sqlllm.console.progress import TerminalObserver
from sqlllm.session.meter import Used

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_stage_tells_how_long_the_rest_takes() -> None:
    assert str(Stage(3, 200, 50, seconds=20.0)) == "Spark stage 3: 50 of 200 tasks, 1 min 0 s left"
    assert str(Stage(3, 200, 0, seconds=20.0)) == "Spark stage 3: 0 of 200 tasks"


def test_models_tell_what_they_did_and_cost() -> None:
    used = Used(rows=1200, calls=1000, cached=200, failed=3, answer_tokens=5000, seconds=2.0, cost=0.5)
    assert Activity(used=used).models() == (
        "models: 1,200 rows, 1,000 calls, 2,500 tok/s, 200 cached, 3 failed, cost 0.5000"
    )


def test_models_tell_how_long_the_rest_takes() -> None:
    used = Used(calls=900, cached=50, joined=50, answer_tokens=5000, seconds=2.0)
    half = Activity(used=used, prompts=2000, seconds=30.0)
    assert half.share == 0.5
    assert half.models().endswith("50 cached, 30 s left")
    assert "left" not in Activity(used=used, prompts=1000, seconds=30.0).models()
    assert "left" not in Activity(used=used).models()


@pytest.mark.slow
def test_spark_tells_how_many_prompts_come_to_a_model(spark: SparkSession) -> None:
    @arrow_udf("string")
    def slowly(texts: pa.Array) -> pa.Array:
        time.sleep(3)
        return texts

    spark.udf.register("slowly", slowly)
    distinct = "select distinct string(id % 700) as p from range(0, 1400, 1, 2) as t"
    frame = spark.sql(f"select slowly(p) as answer from ({distinct}) where p <> 'x'")
    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(frame.collect)
        while not (found := coming(spark, ["slowly"])):
            assert not rows.done()
            time.sleep(0.1)
        assert coming(spark, ["another"]) == 0
        assert len(rows.result()) == 700
    assert found == 1400  # each task drops its own doubles alone


def test_a_terminal_is_told_of_an_answer_as_it_comes_without_its_commands() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=80)
    observer = TerminalObserver(out, Console(file=io.StringIO(), force_terminal=True, width=80))
    observer.step("asking")
    observer.active(Activity((Stage(1, 4, 2, 3.0),)))
    for piece in ("Hello ", "\x1b]0;owned\x07[b]you[/b]"):
        observer.answering(piece)
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue() == "Hello ]0;owned[b]you[/b]"
    assert observer.streamed
