"""action="evaluate" in SQL: functions, predictions, judges, and a run beside its base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import ModelError, OptionError, RunError
from sqlllm.session import Session

from .conftest import Recorder

pytestmark = pytest.mark.slow

TABLE = """
select stack(3, 'q1', 'Paris is it', 'q2', 'two', 'q3', 'gone') as (instruction, output) as asked;
"""


@pytest.fixture
def functions(session: Session) -> Session:
    """Model functions without a model: one knows some answers, one grades them."""
    known = {"q1": "It is Paris", "q2": "two "}

    def register(name: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        def call(requests: list[str]) -> list[str]:
            return [json.dumps(answer(json.loads(request))) for request in requests]

        session.spark.udf.register(name, call, "array<string>")

    def says(request: dict[str, Any]) -> dict[str, Any]:
        text = known.get(request["instruction"])
        return {"output": text} if text else {"error": {"kind": "timeout", "message": "", "attempts": 1}}

    register("answer", says)
    register("judge", lambda r: {"output": "Grade: 5" if "Paris" in r["instruction"] else "I cannot say."})
    register("large", lambda r: {"output": str(int(r["instruction"].split()[0]) + 1)})
    register("mute", lambda r: {"output": "a fine answer, 10 of 10"})
    return session


def one(session: Session, script: str) -> dict[str, Any]:
    result = session.run(script)
    assert result is not None
    (row,) = result.rows()
    return row.asDict()


def test_a_function_is_scored_and_every_answer_shown(functions: Session, recorder: Recorder) -> None:
    statement = 'run asked as LLM.`` where action="evaluate" and udfName="answer" and judge="judge"'
    row = one(functions, TABLE + statement + ' and answersTable="each" as figures;')
    assert (row["name"], row["answers"], row["errors"], row["exact_match"]) == ("answer", 3, 1, pytest.approx(1 / 3))
    assert row["f1"] == pytest.approx((1 + 1 + 0) / 3)
    assert row["rouge_l"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert (row["judge"], row["perplexity"], row["base_f1"]) == (5.0, None, None)
    assert any("gave no grade to 1 of 2 answers" in line for line in recorder.lines)
    each = functions.run("select question, answer, exact_match, judge from each order by question as e;")
    assert each is not None
    assert [tuple(row) for row in each.rows()] == [
        ("q1", "It is Paris", 0.0, 5.0), ("q2", "two ", 1.0, None), ("q3", None, None, None),
    ]  # fmt: skip


def test_a_column_of_predictions(session: Session) -> None:
    script = """select 'q' as prompt, 'a b' as completion, 'b a' as prediction as t;
    run t as LLM.`` where action="evaluate" as figures; select f1, rouge_l, exact_match from figures as f;"""
    assert one(session, script) == {"f1": 1.0, "rouge_l": 0.5, "exact_match": 0.0}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("", OptionError, "evaluate needs answers"),
        ('and udfName="anser"', OptionError, "udfName: there is no function anser"),
        ('and udfName="answer" and run="x"', OptionError, "evaluate takes one of udfName, localModelDir, run"),
        ('and udfName="answer" and metrics="f1"', OptionError, "unknown option metrics"),
        ('and run="nothing"', RunError, "nothing"),
        ('and localModelDir="/no/model"', OptionError, "is not a Hugging Face model folder"),
        ('and udfName="answer" and judge="mute"', ModelError, "the judge mute graded no answer"),
        ('and udfName="answer" and judge="judge" and judgePrompt="?"', OptionError, "judgePrompt has no {answer}"),
        ('and udfName="answer" and maxTokens="0"', OptionError, "maxTokens is a number from 1"),
    ],
)
def test_what_is_wrong_is_reported(functions: Session, options: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        functions.run(TABLE + f'run asked as LLM.`` where action="evaluate" {options} as figures;')
    if isinstance(caught.value, (OptionError, RunError)) and options:
        assert caught.value.place is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_a_small_model_learns_from_a_large_one(functions: Session, tiny_model: Path) -> None:
    """Distillation: a select feeds the training. The run is measured beside the model that it started from."""
    row = one(
        functions,
        f"""select concat(id, ' plus 1') as instruction from range(4) as asked;
        select instruction, llm_result(large(llm_param(map("instruction", instruction)))) as output
        from asked as lessons;
        run lessons as LLM.`` where name="plus" and localModelDir="{tiny_model}" and `sft.int.max_steps`="40"
        and `sft.float.learning_rate`="0.02" and `sft.int.gradient_accumulation_steps`="1"
        and evalTable="lessons" and `sft.int.eval_steps`="20" as trained;
        run lessons as LLM.`` where action="evaluate" and run="plus" and maxTokens="4" as figures;""",
    )
    assert (row["name"], row["answers"], row["errors"]) == ("plus", 4, 0)
    assert row["exact_match"] == 1.0 > row["base_exact_match"]
    assert row["perplexity"] < 1.5 < row["base_perplexity"]
    run = one(functions, "load llm.`runs` as runs; select name, state, loss from runs as r;")
    assert (run["name"], run["state"]) == ("plus", "succeeded")
