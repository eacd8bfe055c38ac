"""In real Spark, against a real HTTP server: the same rows as without the planner, with the least calls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.session import Session
from sqlllm.settings import Settings
from sqlllm.udfs import model
from sqlllm.udfs.transport import Endpoint
from tests.udfs import gateway as gateways

from .cases import TABLES, Case, load, shapes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway() -> Iterator[gateways.Gateway]:
    with gateways.serve() as server:
        yield server


@pytest.fixture(scope="module")
def session(spark: SparkSession, gateway: gateways.Gateway) -> Session:
    session = Session(Settings(), spark=spark)
    model.register(session.spark, "up", Endpoint(url=gateway.url, model="up", batch_size=16, retry_seconds=0))
    session.models.add("up")
    session.run(TABLES)
    return session


def rows(session: Session, sql: str, *, planner: bool) -> list[tuple[Any, ...]]:
    """The rows of `sql`, of an answer only what the model said."""
    session.settings.llm.planner = planner
    result = session.run(sql + ";")
    assert result is not None
    found = [tuple(map(_said, row)) for row in result.rows()]
    result.frame.unpersist()
    return found


def _said(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(json.loads(text).get("output") if str(text).startswith("{") else text for text in value)
    return value


# Spark runs them all in `make test-all`; that a rewrite keeps the rows is shown on DuckDB, in test_random.py.
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.rare] * (at % 3 > 0)) for at, case in enumerate(load())],
)
def test_the_same_rows_with_the_least_calls(session: Session, gateway: gateways.Gateway, case: Case) -> None:
    expected = rows(session, case.sql, planner=False)
    gateway.requests.clear()
    found = rows(session, case.sql, planner=True)
    if case.ordered:
        assert found == expected
    assert Counter(found) == Counter(expected)
    (least,) = session.spark.sql(case.least).first() or ()
    assert len(gateway.prompts) == least


@pytest.mark.parametrize(
    "sql",
    [pytest.param(sql, marks=[pytest.mark.rare] * (number % 4 > 0)) for number, sql in enumerate(shapes())],
)
def test_the_same_rows_with_no_more_calls(session: Session, gateway: gateways.Gateway, sql: str) -> None:
    gateway.requests.clear()
    expected = rows(session, sql, planner=False)
    before = len(gateway.prompts)
    found = rows(session, sql, planner=True)
    assert Counter(found) == Counter(expected)
    assert len(gateway.prompts) - before <= before
