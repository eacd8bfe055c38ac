from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import SQLLLMError
from sqlllm.session import Session

from . import cases

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

PEOPLE = [{"name": "Al", "age": 20}, {"name": "Bo", "age": 41}, {"name": "Cy", "age": 51}]


@pytest.fixture
def session(spark: SparkSession, tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "people.json").write_text("\n".join(map(json.dumps, PEOPLE)))
    (tmp_path / "people.csv").write_text("name,age\n" + "\n".join(f"{row['name']},{row['age']}" for row in PEOPLE))
    with Session(spark=spark) as session:
        session.override("data", str(tmp_path))
        session.override("out", str(tmp_path / "out"))
        yield session
    for table in spark.catalog.listTables():
        spark.catalog.dropTempView(table.name)


def rows_of(session: Session, script: str) -> list[dict[str, object]]:
    result = session.run(script)
    return [row.asDict() for row in result.rows()] if result else []


@pytest.mark.parametrize("case", cases.load("statements.sql") + cases.load("errors.sql"), ids=str)
def test_case(case: cases.Case, session: Session) -> None:
    if case.kind == "rows":
        assert rows_of(session, case.script) == json.loads(case.expected)
        return
    with pytest.raises(SQLLLMError) as raised:
        rows_of(session, case.script)
    for line in case.expected.splitlines():
        assert line in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert "org.apache" not in str(raised.value)
