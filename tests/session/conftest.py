"""A session with two small files in its folder `${data}`, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.session import Observer, Session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.session import Result

PEOPLE = [{"name": "Al", "age": 20}, {"name": "Bo", "age": 41}, {"name": "Cy", "age": 51}]


class Recorder(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def printed(self, text: str) -> None:
        self.lines.append(text)

    def shown(self, result: Result) -> None:
        self.lines += [str(row.asDict()) for row in result.rows()]

    def warned(self, text: str) -> None:
        self.lines.append(f"note: {text}")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def session(spark: SparkSession, tmp_path: Path, recorder: Recorder) -> Iterator[Session]:
    (tmp_path / "people.json").write_text("\n".join(map(json.dumps, PEOPLE)))
    (tmp_path / "people.csv").write_text("name,age\n" + "\n".join(f"{row['name']},{row['age']}" for row in PEOPLE))
    with Session(spark=spark, observer=recorder) as session:
        session.override("home", str(tmp_path / "home"))
        session.override("data", str(tmp_path))
        session.override("out", str(tmp_path / "out"))
        yield session
    spark._jsparkSession.sessionState().catalog().clearTempTables()  # one call, where a list of them asks for each
