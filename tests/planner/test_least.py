"""The least calls, on DuckDB: the queries of least.sql that are not Spark's alone, and those of queries.sql."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from sqlllm import planner

from .cases import TABLES, Case, expand, load
from .duck import Duck

FORMS = {"ask": "up({})", "request": "{}"}


@pytest.fixture(scope="module")
def duck() -> Duck:
    duck = Duck()
    for sql, table in re.findall(r"(select .*?) as (\w+);", TABLES, re.DOTALL):
        duck.make(table, re.sub(r"range\((?:0, )?(\d+)(?:, 1, 4)?\)", r"range(\1) as numbers(id)", sql))
    return duck


@pytest.mark.parametrize(
    "case", [case for case in load("least.sql") if not case.only_spark], ids=lambda case: case.name
)
def test_the_least_calls(duck: Duck, case: Case) -> None:
    sql = expand(case.written, FORMS)
    expected = duck.rows(sql)
    better = planner.rewrite(sql, {"up"}, duck.columns)
    found = duck.rows(better.text)
    asked = len(duck.asked)
    assert not better.reason
    assert found == expected if case.ordered else Counter(found) == Counter(expected)
    ((least,),) = duck.rows(case.least)
    assert asked == least
