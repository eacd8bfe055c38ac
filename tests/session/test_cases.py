from __future__ import annotations

import json

import pytest

from sqlllm.errors import SQLLLMError
from sqlllm.session import Session

from . import cases
from .cases import rows_of
from .conftest import Recorder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=str(case), marks=[pytest.mark.rare] * case.is_rare) for case in cases.load()]
)
def test_case(case: cases.Case, session: Session, recorder: Recorder) -> None:
    for key, value in case.settings:
        session.override(key, value)
    if case.kind == "rows":
        assert rows_of(session, case.script) == json.loads(case.expected)
        return
    if case.kind == "printed":
        rows_of(session, case.script)
        assert "\n".join(recorder.lines) == case.expected
        return
    with pytest.raises(SQLLLMError) as raised:
        rows_of(session, case.script)
    for line in case.expected.splitlines():
        assert line in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert "org.apache.spark.sql" not in str(raised.value)
