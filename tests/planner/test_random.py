"""Random selects come out the same as written and as rewritten, and ask no more."""

from __future__ import annotations

import pytest

from sqlllm import planner

from .cases import once_wrong
from .duck import Duck
from .random_rows import compare
from .random_selects import MODELS, Selects

COUNT, CHUNK = 3_000, 500


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.rare) for first in range(CHUNK, COUNT, CHUNK))]
)
def test_random_selects_give_the_same_rows_with_no_more_calls(duck: Duck, first: int) -> None:
    found = compare(range(first, first + CHUNK), duck)
    assert not found.wrong, "\n\n".join(found.wrong[:3])
    assert found.skipped < CHUNK // 50, "DuckDB refuses what the generator writes"
    assert found.rewritten > CHUNK * 9 // 10


def test_a_random_select_is_the_same_each_time() -> None:
    assert Selects(7).statement() == Selects(7).statement()


@pytest.mark.parametrize("sql", once_wrong())
def test_what_once_went_wrong(duck: Duck, sql: str) -> None:
    expected = duck.rows(sql)
    better = planner.rewrite(sql, MODELS, duck.columns)
    assert better.text != sql
    assert sorted(map(str, duck.rows(better.text))) == sorted(map(str, expected))
