"""What evaluate can tell without Spark and Ray."""

from __future__ import annotations

import pytest

from sqlllm.dialect import parse
from sqlllm.errors import OptionError
from sqlllm.session.llm import check
from sqlllm.session.llm.evaluate import _said


def test_a_judges_prompt_needs_a_judge() -> None:
    (run,) = parse('run t as LLM.`` where action="evaluate" and judgePrompt="{answer}?" as figures;').statements
    with pytest.raises(OptionError, match="judgePrompt needs judge"):
        check(run, {"action": "evaluate", "judgePrompt": "{answer}?"})


def test_a_prediction_is_text() -> None:
    assert [_said(None), _said("4")] == [None, "4"]
    with pytest.raises(OptionError, match="prediction is int, not text"):
        _said(4)
