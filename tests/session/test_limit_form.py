"""Which selects have a LIMIT that answers fill, and their parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlllm import planner
from sqlllm.session.operators.form import Unfit, form

_, *CASES = Path(__file__).with_name("limit_forms.txt").read_text().strip().split("\n\n")


@pytest.mark.parametrize("case", CASES, ids=[case.splitlines()[0][:60] for case in CASES])
def test_form(case: str) -> None:
    sql, *expected = case.splitlines()
    assert parts(sql) == [line.strip() for line in expected]


def parts(sql: str) -> list[str]:
    try:
        made = form(planner.merged(sql, {"m"}, lambda _: ["id", "p", "q", "k"], {"tagged"}), {"m"}, {"tagged"})
    except Unfit:
        return ["other form"]
    late = [item for item in made.items if item]
    return [made.below, f"where {made.condition}", *([f"shows {', '.join(late)}"] if late else [])]
