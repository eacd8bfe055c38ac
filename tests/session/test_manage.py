"""Models and runs, managed from SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import OptionError, RunError, TableError
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import Progress
from sqlllm.session import Session

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

CHAT = """
--%chat
--%model=managed
--%max_tokens=4
--%output=first
What is the capital of France?
--%chat
--%model=managed
--%max_tokens=4
--%input=first
--%output=second
And of Spain?
--%sql
select llm_result(a.q) as first, get_json_object(b.q[0], '$.history') as history from first a cross join second b as t;
"""


@pytest.fixture
def session(spark: SparkSession, serving: Serving, tiny_model: Path, tmp_path: Path) -> Iterator[Session]:
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("home", str(tmp_path))
        session.override("model", str(tiny_model))
        yield session
        session.__dict__.pop("serving")  # others use it
    serving.undeploy("managed")


def test_a_model_from_deployment_to_removal(session: Session, tiny_model: Path) -> None:
    session.run(
        'run command as LLM.`` where action="infer" and udfName="managed" and localModelDir="${model}"'
        ' and infer_backend="transformers";'
    )
    (listed,) = [row for row in rows_of(session, "!byzerllm model list;") if row["name"] == "managed"]
    assert listed == rows_of(session, "load llm.`models` as m; select * from m where name = 'managed' as t;")[0]
    assert (listed["backend"], listed["state"], listed["model"]) == ("transformers", "RUNNING", str(tiny_model))
    assert rows_of(session, '!llm model exists "managed";') == [{"value": True}]
    status = rows_of(session, 'run command as LLM.`` where action="status" and udfName="managed";')
    assert [(row["kind"], row["state"], row["detail"]) for row in status] == [("model", "RUNNING", "1 x transformers")]
    logged = rows_of(session, 'run command as LLM.`` where action="logs" and udfName="managed";')
    assert any("Loading weights" in str(row["line"]) for row in logged)
    assert len(rows_of(session, 'run command as LLM.`` where action="logs" and udfName="managed" and lines="1";')) == 1

    (told,) = rows_of(session, CHAT)
    assert str(told["first"]) in str(told["history"])
    assert "And of Spain?" in str(told["history"])

    removed = rows_of(session, 'run command as LLM.`` where action="undeploy" and udfName="managed" as gone;')
    assert [(row["name"], row["state"]) for row in removed] == [("managed", "REMOVED")]
    assert rows_of(session, '!byzerllm model exists "managed";') == [{"value": False}]
    with pytest.raises(TableError, match="there is no function managed"):
        session.run("select managed(llm_param(map('instruction', 'x'))) as q as t;")


def test_runs_are_tables(session: Session, tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path / "runs", "dates", kind="sft").update(steps=3, total_steps=9, loss=0.5)
    run.metrics.write_text('{"step": 1}\n{"step": 3}\n')
    run.finish("failed", reason="out of memory")
    (row,) = rows_of(session, "load llm.`runs` as runs; select name, state, steps, loss, reason from runs as t;")
    assert row == {"name": "dates", "state": "failed", "steps": 3, "loss": 0.5, "reason": "out of memory"}
    (seen,) = rows_of(session, "!show runs;")
    assert {**seen, "took": ""} == {
        "name": "dates", "kind": "sft", "state": "failed", "steps": "3/9", "loss": "0.5000", "tokens": "0",
        "started": "now", "took": "", "left": "", "reason": "out of memory",
    }  # fmt: skip
    (status,) = rows_of(session, 'run command as LLM.`` where action="status" and udfName="dates";')
    assert (status["kind"], status["state"], status["detail"]) == ("run", "failed", "out of memory")
    logged = rows_of(session, 'run command as LLM.`` where action="logs" and udfName="dates" and lines="1";')
    assert [row["line"] for row in logged] == ["out of memory"]
    (status,) = rows_of(session, 'run command as LLM.`` where action="status" and name="dates";')
    assert status["kind"] == "run"


def test_the_metrics_of_a_run_are_a_table(session: Session, tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path / "runs", "dates", kind="sft").update(state="running")
    lines = [Progress(step, 100, 0.1 * step, 1.0 / step, 1e-3, 60 * step, 30.0, 2.0 * step) for step in (1, 2)]
    run.metrics.write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines))
    found = rows_of(session, "load llm.`runs/dates/metrics` as m; select * from m order by step as t;")
    assert found == [asdict(line) for line in lines]
    (status,) = rows_of(session, 'run command as LLM.`` where action="status" and name="dates";')
    assert status["detail"] == "step 2 of 100  loss 0.5000  30 tok/s  3 min 16 s left"
    with pytest.raises(RunError, match="there is no run date") as raised:
        session.run("load llm.`runs/date/metrics` as m;")
    assert "Did you mean dates?" in raised.value.cure


@pytest.mark.parametrize(
    ("action", "state", "message"),
    [
        ("cancel", "succeeded", "run dates has ended: it is succeeded"),
        ("resume", "succeeded", "run dates has succeeded: there is nothing to resume"),
        ("resume", "failed", "run dates cannot be done again"),
        ("resume", "running", "run dates is running"),
    ],
)
def test_what_is_not_possible_is_said(session: Session, tmp_path: Path, action: str, state: str, message: str) -> None:
    RunRecord.create(tmp_path / "runs", "dates", kind="sft").update(state=state)
    with pytest.raises(RunError, match=message) as raised:
        session.run(f'run command as LLM.`` where action="{action}" and name="dates";')
    assert raised.value.cure
    assert raised.value.place is not None
    assert raised.value.place.text == '"dates"'
    with pytest.raises(RunError, match="there is no run date"):
        session.run(f'run command as LLM.`` where action="{action}" and name="date";')
    with pytest.raises(OptionError, match=f"{action} needs name"):
        session.run(f'run command as LLM.`` where action="{action}";')
