"""What is shown while a statement runs."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from py4j.protocol import Py4JNetworkError
from pyspark.sql.functions import arrow_udf
from rich.console import Console

from sqlllm.console import activity
from sqlllm.console.activity import Activity, Stage, Watch
from sqlllm.console.coming import _coming, coming
from sqlllm.console.interrupts import interruptible
from sqlllm.console.jupyter import board
from sqlllm.console.progress import TerminalObserver, bill
from sqlllm.errors import ModelError
from sqlllm.session import Session
from sqlllm.session.meter import Used
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_stage_shows_how_long_the_rest_takes() -> None:
    assert str(Stage(3, 200, 50, seconds=20.0)) == "Spark stage 3: 50 of 200 tasks, 1 min 0 s left"
    assert str(Stage(3, 200, 0, seconds=20.0)) == "Spark stage 3: 0 of 200 tasks"


def test_models_show_what_they_did_and_cost() -> None:
    used = Used(rows=1200, calls=1000, cached=200, failed=3, answer_tokens=5000, seconds=2.0, cost=0.5)
    assert Activity(used=used).models() == (
        "models: 1,200 rows, 1,000 calls, 2,500 tok/s, 200 cached, 3 failed, cost 0.5"
    )


def test_a_count_of_one_is_singular() -> None:
    used = Used(rows=1, calls=1, cached=1)
    assert Activity(used=used).models() == "models: 1 row, 1 call, 0 tok/s, 1 cached"
    assert bill(used) == "1 row, 1 call, 1 cached, 0 + 0 tokens, 0.0 s, 0 tok/s"
    assert bill(Used(rows=1200)) == "1,200 rows, 0 calls"


def test_models_show_how_long_the_rest_takes() -> None:
    used = Used(calls=900, cached=50, joined=50, answer_tokens=5000, seconds=2.0)
    half = Activity(used=used, prompts=2000, seconds=30.0)
    assert half.share == 0.5
    assert half.models().endswith("50 cached, 30 s left")
    assert "left" not in Activity(used=used, prompts=1000, seconds=30.0).models()
    assert "left" not in Activity(used=used).models()


class _Seq(list[Any]):
    """A sequence of Scala's."""

    apply, size = list.__getitem__, list.__len__

    def head(self) -> Any:
        return self[0]


def _of(**values: Any) -> Any:
    """An object whose methods give these values."""
    return SimpleNamespace(**{name: lambda *_, value=value: value for name, value in values.items()})


def _asked(*nodes: tuple[str, int, int], models: Sequence[str] = ("chat",)) -> int:
    """`coming` of a plan: each node with the rows that it gave and the number of the one that it gives them to."""
    rows = [_of(isDefined=bool(given), get=f"{given:,}") for _, given, _ in nodes]
    made = [
        _of(
            id=id_,
            name=described.partition(" ")[0],
            desc=described,
            metrics=_Seq([_of(name="number of output rows", accumulatorId=id_)]),
        )
        for id_, (described, _, _) in enumerate(nodes)
    ]
    edges = _Seq([_of(fromId=id_, toId=to) for id_, (_, _, to) in enumerate(nodes) if to >= 0])
    store = _of(
        executionsCount=1,
        executionsList=_Seq([_of(executionId=7)]),
        planGraph=_of(allNodes=_Seq(made), edges=edges),
    )
    store.executionMetrics = lambda _: SimpleNamespace(get=rows.__getitem__)
    return _coming(store, models)


def test_the_rows_before_a_call_are_known_once_all_of_them_were_read() -> None:
    call = ("ArrowEvalPython [chat(p#1)#2], 200", 0, -1)
    assert _asked(call, ("Scan", 50, 0)) == 0
    assert _asked(call, ("Exchange", 1400, 0), ("Scan", 50, 1)) == 1400
    assert _asked(call, ("HashAggregate", 3, 0), ("Exchange", 1400, 1), ("Scan", 50, 2)) == 1400
    assert _asked(call, ("Sort", 0, 0), ("Scan", 50, 1)) == 50
    assert _asked(call, ("SortMergeJoin", 3, 0), ("Scan", 50, 1)) == 0  # it has joined three so far
    assert _asked(call, ("BroadcastHashJoin", 3, 0), ("Scan", 50, 1), ("BroadcastExchange", 10, 1)) == 0
    assert _asked(call, ("Filter", 3, 0), ("Scan", 50, 1), ("Subquery", 0, 1), ("HashAggregate", 1, 3)) == 0


def test_the_arms_of_a_union_count_together() -> None:
    call = ("ArrowEvalPython [chat(p#1)#2], 200", 0, -1)
    assert _asked(call, ("Union", 0, 0), ("Exchange", 100, 1), ("Exchange", 1400, 1)) == 1500
    assert _asked(call, ("Union", 0, 0), ("Exchange", 100, 1), ("Scan", 50, 1)) == 0  # it is being read
    assert _asked(call, ("Exchange", 120, 0), ("Union", 0, 1), ("Scan", 50, 2), ("Scan", 70, 2)) == 120


def test_every_call_of_a_row_counts() -> None:
    rows = ("Exchange", 100, 0)
    assert _asked(("ArrowEvalPython [chat(p#1)#3, chat(q#2)#4, other(q#2)#5], 200", 0, -1), rows) == 200
    assert _asked(("ArrowEvalPython [mychat(p#1)#3], 200", 0, -1), rows) == 0
    assert _asked(("ArrowEvalPython [other(chat(p#1)#3)#4], 200", 0, -1), rows) == 0  # the name of a column
    for name in ("gpt-4o", "org/model", "模型", "Chat"):
        assert _asked((f"ArrowEvalPython [{name}(p#1)#3], 200", 0, -1), rows, models=[name.lower()]) == 100


def test_a_look_that_the_gateway_keeps_waiting_starts_no_other_spark() -> None:
    spark = SimpleNamespace(sparkContext=_of(statusTracker=_of(getActiveStageIds=[])))
    session: Any = SimpleNamespace(spark=spark, spark_runs=True, settings=Settings())

    def running() -> Used:
        del session.spark  # closed meanwhile
        return Used(calls=1)

    session.meter, session.models = SimpleNamespace(running=running), ()
    spark._jsparkSession = _of(sharedState=_of(statusStore=_of(executionsCount=0)))
    assert Watch(session).look().used == Used(calls=1)


def _looks(monkeypatch: pytest.MonkeyPatch, told: list[Used | ModelError | None], **llm: Any) -> list[Activity]:
    """What is seen of a statement with 1,000 prompts, at a second each; `told`: the gateway's report."""
    clock, answers = iter(range(100)), iter(told)

    def running() -> Used | None:
        if isinstance(answer := next(answers), ModelError):
            raise answer
        return answer

    tracker = _of(statusTracker=_of(getActiveStageIds=[]))
    session: Any = SimpleNamespace(
        spark=SimpleNamespace(sparkContext=tracker),
        spark_runs=True,
        settings=Settings(llm=llm),  # type: ignore[arg-type]
        meter=SimpleNamespace(running=running),
        models=("chat",),
    )
    monkeypatch.setattr(activity, "coming", lambda *_: 1000)
    monkeypatch.setattr(activity, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    watch = Watch(session)
    return [watch.look() for _ in told]


def test_a_busy_gateway_does_not_shorten_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = _looks(monkeypatch, [None, Used(calls=400), ModelError("busy"), Used(calls=500)])
    assert [one.seconds for one in looks] == [0, 1, 1, 3]
    assert looks[2].models() == looks[1].models()
    assert looks[3].models().endswith(", 3 s left")


def test_another_statement_has_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = _looks(monkeypatch, [None, *(Used(calls=count) for count in (300, 600, 900, 100, 200))])
    assert [one.seconds for one in looks] == [0, 1, 2, 3, 1, 2]


def test_the_first_look_at_models_at_work_has_a_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.seconds for one in _looks(monkeypatch, [Used(calls=300)])] == [1]


def test_of_packed_prompts_no_time_left_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = _looks(monkeypatch, [None, Used(calls=100)], rows_per_prompt=8)
    assert "left" not in looks[-1].models()


def test_a_look_and_a_cancel_start_no_ray() -> None:
    session = Session(Settings(ray={"address": "127.0.0.1:1"}))  # type: ignore[arg-type]
    assert session.serves
    session.meter._statements = 1  # and the session was closed
    assert session.meter.running() is None
    session.cancel()
    assert "serving" not in session.__dict__


def test_a_cancel_of_what_has_died_leaves_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    failed, told = list[Any](), list[int]()
    monkeypatch.setattr(threading, "excepthook", failed.append)

    def cancel() -> None:
        told.append(1)
        raise Py4JNetworkError("the JVM has died")

    with pytest.raises(KeyboardInterrupt), interruptible(SimpleNamespace(cancel=cancel)):  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
    assert told
    assert not failed


def test_a_cell_whose_last_look_is_late_says_nothing_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    looking, late = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, _: object) -> None:
            pass

        def look(self) -> Activity:
            looking.set()
            late.wait(10)
            return Activity()

    shown: list[Any] = []
    outlet: Any = SimpleNamespace(display=lambda bundle, **_: shown.append(bundle))
    made = board.Board(outlet)
    for name in ("_QUIET", "_EVERY"):
        monkeypatch.setattr(board, name, 0.01)
    monkeypatch.setattr(board, "Watch", Slow)
    made.begin(None)  # type: ignore[arg-type]
    assert looking.wait(10)
    first = made._thread
    made.end()
    monkeypatch.setattr(board, "_EVERY", 10)
    made.begin(None)  # type: ignore[arg-type]
    late.set()
    assert first
    first.join(5)
    assert not first.is_alive()
    made.end()
    assert not shown


def test_without_spark_the_commands_load_and_can_say_so() -> None:
    code = (
        "import sys; sys.modules.update(py4j=None, pyspark=None); import sqlllm.console.shell, sqlllm.console.cli.run"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_sparks_plan_shows_how_many_prompts_a_model_gets(spark: SparkSession) -> None:
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


def test_a_terminal_shows_an_answer_as_it_arrives_without_its_commands() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=80)
    observer = TerminalObserver(out, Console(file=io.StringIO(), force_terminal=True, width=80))
    observer.step("asking")
    observer.active(Activity((Stage(1, 4, 2, 3.0),)))
    for piece in ("Hello ", "\x1b]0;owned\x07[b]you[/b]"):
        observer.answering(piece)
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue() == "Hello ]0;owned[b]you[/b]"
    assert observer.streamed
