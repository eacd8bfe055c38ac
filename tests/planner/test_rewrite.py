"""Rewritten texts, without Spark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqlllm import planner

from .cases import rewrites


def columns(_: str) -> list[str]:
    return ["id", "p", "q", "r", "s", "n", "c", "d", "g"]


@pytest.mark.parametrize(("sql", "expected"), rewrites())
def test_a_select_becomes(sql: str, expected: str) -> None:
    assert planner.rewrite(sql, {"up"}, columns).text == expected


@pytest.mark.parametrize(("sql", "expected"), [pair for pair in rewrites() if pair[0] != pair[1]])
def test_what_it_becomes_stays(sql: str, expected: str) -> None:
    assert planner.rewrite(expected, {"up"}, columns).text == expected


def test_a_reused_alias_needs_the_columns() -> None:
    sql = "select up(p) as a, llm_result(a) as b from t"
    assert planner.rewrite(sql, {"up"}).text == sql
    assert planner.rewrite(sql, {"up"}, lambda _: ["p"]).text != sql
    # There is a column `a`, so that is what `a` is: its answer is not the model's.
    assert "llm_result(a)" in planner.rewrite(sql, {"up"}, lambda _: ["p", "A"]).text


def test_what_sqlglot_cannot_write_has_no_normal_form() -> None:
    assert planner.normal("select to_char(id, '999') from t") is None
    assert planner.normal("not sql") is None
    assert planner.normal("select a from t") == "SELECT a FROM t"


def test_the_example_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs/sql/planner.md"
    before, after = re.findall(r"^```\n(.*?)\n^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert planner.rewrite(before, {"up"}, columns).text == after


@pytest.mark.parametrize("sql", [before for before, after in rewrites() if before == after])
def test_what_stays_has_a_reason(sql: str) -> None:
    found = planner.rewrite(sql, {"up"}, columns)
    assert bool(found.reason) == (not sql.startswith("select id, llm_result") and "up(p, q)" not in sql)


def test_what_is_planned_has_no_reason() -> None:
    assert planner.rewrite("select up(p) as a from t", {"up"}).reason == ""
