"""Of `!byzerllm setup`, without Spark and Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.session.llm import setup
from sqlllm.session.llm.finetune import _tell_unused


@pytest.mark.parametrize("wrong", ["num_gpus=many", "num_gpus=nan", "num_workers=inf", "num_workers=1.5"])
def test_a_wrong_amount_has_no_effect(wrong: str) -> None:
    session: Any = SimpleNamespace(setup={"gpus": "2"})
    with pytest.raises(OptionError, match=r"is not a valid (count|amount)"):
        setup.apply(session, wrong)
    assert setup.requested(session) == setup.Resources(gpus=2.0)


def test_what_no_run_takes_is_reported() -> None:
    told: list[str] = []
    session: Any = SimpleNamespace(observer=SimpleNamespace(warned=told.append))
    _tell_unused(session, setup.Resources(workers=2), on_gpus=False)
    _tell_unused(session, setup.Resources(gpus=2), on_gpus=True)
    assert told == []
    _tell_unused(session, setup.Resources(workers=2, custom={"a": 1}), on_gpus=True)
    assert [line.split(" has no effect")[0] for line in told] == ["setup resource.*", "setup num_workers"]
