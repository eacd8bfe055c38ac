"""What evaluate checks without Spark and Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sqlllm.dialect import parse
from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training.evaluate import Measured
from sqlllm.session.llm import check
from sqlllm.session.llm.evaluate import _answers, _base, _measure, _request, _said, evaluate

CALLS = {
    "prompt": [{"role": "user", "content": "q"}],
    "completion": [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "now"}}]}],
}


def statement() -> Run:
    (run,) = parse('run t as LLM.`` where action="evaluate" and judgePrompt="{answer}?" as figures;').statements
    assert isinstance(run, Run)
    return run


@pytest.fixture
def session() -> Any:
    """As much of one as is needed; what it warns of is in `warnings`."""
    warnings: list[str] = []
    return SimpleNamespace(
        start_ray=lambda: None,
        observer=SimpleNamespace(step=lambda _: None, warned=warnings.append),
        warnings=warnings,
        spark=SimpleNamespace(catalog=SimpleNamespace(functionExists=lambda _: False)),
        models={"judge"},
    )


def test_a_judges_prompt_needs_a_judge() -> None:
    with pytest.raises(OptionError, match="judgePrompt needs judge"):
        check(statement(), {"action": "evaluate", "judgePrompt": "{answer}?"})


def test_a_judge_that_cannot_grade_is_reported_before_anything_is_asked(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match=r"judgePrompt has no \{answer\}") as caught:
        check(statement(), {"action": "evaluate", "judge": "judge", "judgePrompt": "?"})
    assert caught.value.key == "judgePrompt"
    table = SimpleNamespace(columns=["prompt", "completion"], collect=lambda: pytest.fail("it was read"))
    monkeypatch.setitem(evaluate.__globals__, "table_named", lambda *_: table)
    with pytest.raises(OptionError, match="judge: there is no function juge") as caught:
        evaluate(session, statement(), {"udfName": "model", "judge": "juge"})
    assert (caught.value.key, "Did you mean judge?" in caught.value.cure) == ("judge", True)


def test_a_prediction_is_text() -> None:
    assert [_said(None), _said("4")] == [None, "4"]
    with pytest.raises(OptionError, match="prediction is int, not text"):
        _said(4)


def test_calls_of_tools_are_not_compared_as_texts(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="a function answers questions, not plain text or tools"):
        _request(CALLS, {})
    with pytest.raises(OptionError, match="a prediction is text, but answers of the table are calls of tools"):
        _answers(session, statement(), {}, [{"prediction": "now()"}], [CALLS])
    asked: list[bool] = []

    def measure(folders: list[Path], _: Any, *, generate: bool, **__: Any) -> list[Measured]:
        asked.append(generate)
        return [Measured(1.5, [])] * len(folders)

    monkeypatch.setattr("sqlllm.jobs.training.evaluate.evaluate", measure)
    assert _measure(session, {}, {"run": "/model"}, [CALLS])["run"] == ([], 1.5)
    assert session.warnings == ["answers of the table are calls of tools: the perplexity alone is measured"]
    said = {**CALLS, "completion": [{"role": "assistant", "content": "noon"}]}
    _measure(session, {}, {"run": "/model"}, [said])
    assert asked == [False, True]
    _measure(session, {"judge": "judge"}, {"run": "/model"}, [said])
    assert len(session.warnings) == 1
    _measure(session, {"judge": "judge"}, {"run": "/model"}, [{"text": "once"}])
    assert session.warnings[1:] == ["judge has no effect: nothing is answered that judge could grade"]


def test_what_a_run_was_made_of_is_scored_if_it_is_a_model(session: Any, tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path / "runs", "mine", kind="convert", base=str(tmp_path))
    assert _base(session, run) == ""
    assert "is not a model folder: it is not scored" in session.warnings[0]
    (tmp_path / "config.json").write_text("{}")
    assert _base(session, run) == str(tmp_path)
    assert _base(session, RunRecord.create(tmp_path / "runs", "new", kind="sft")) == ""
    assert len(session.warnings) == 1
