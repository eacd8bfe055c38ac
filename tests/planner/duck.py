"""Selects on DuckDB, with models that are Python functions and count what they are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import duckdb
from sqlglot import exp

from sqlllm.planner import NotUnderstood
from sqlllm.planner.sql import read

from .random_selects import MODELS, TABLES

ROWS = {"t": 9, "s": 6, "r": 7}
_TYPES = {"int": "bigint", "str": "varchar"}


class Duck:
    """A database with the tables of the random selects; `asked` counts (model, request)."""

    def __init__(self) -> None:
        self._database = duckdb.connect(config={"threads": 1})
        self.asked: Counter[tuple[str, str]] = Counter()
        for model in MODELS:
            self._database.create_function(model, self._model(model), ["VARCHAR"], "VARCHAR")
        for table, columns in TABLES.items():
            names = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in columns.items())
            self._database.execute(f"create table {table} ({names})")
            rows = [[_value(table, name, row) for name in columns] for row in range(ROWS[table])]
            marks = ", ".join("?" for _ in columns)
            self._database.executemany(f"insert into {table} values ({marks})", rows)

    def make(self, table: str, sql: str) -> None:
        """The table that `sql` gives, which is Spark's."""
        self._database.execute(f"create or replace table {table} as {translated(sql)}")

    def _model(self, name: str) -> Callable[[str], str]:
        def answer(request: str) -> str:
            self.asked[name, request] += 1
            return f"{name[0].upper()}{request}"

        return answer

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of `sql`, which is Spark's; `asked` counts its calls."""
        self.asked.clear()
        return self._database.execute(translated(sql)).fetchall()

    def literally(self, sql: str) -> set[tuple[str, str]]:
        """What `sql` asks as it stands, without DuckDB's optimizer."""
        self._database.execute("pragma disable_optimizer")
        self.rows(sql)
        self._database.execute("pragma enable_optimizer")
        return set(self.asked)

    def columns(self, sql: str) -> list[str]:
        try:
            self._database.execute(f"select * from ({translated(sql)}) limit 0")
        except duckdb.Error as error:
            raise NotUnderstood(f"columns: {error}\n{sql}") from None
        return [column[0] for column in self._database.description or ()]


def _value(table: str, column: str, row: int) -> Any:
    match column:
        case "id":
            return row + (2 if table == "s" else 0)
        case "g":
            return row % 3
        case "k" | "h":
            return row // 2
        case "n":
            return None if row % 4 == 0 else f"n{row % 3}"
        case _:
            return f"{column}{row % (5 if table == 't' else 4)}"


def translated(sql: str) -> str:
    """Spark SQL for DuckDB: nothing about partitions, which only say where a row is computed."""
    tree = read(sql)
    assert tree is not None, sql
    for select in tree.find_all(exp.Select):
        for key in ("cluster", "distribute", "sort"):
            select.set(key, None)
    root = exp.Paren(this=tree)
    for function in list(root.find_all(exp.Anonymous)):
        match function.name.lower():
            case "monotonically_increasing_id":
                function.replace(exp.Window(this=exp.RowNumber()))
            case "spark_partition_id":
                function.replace(exp.Literal.number(0))
    text: str = root.this.sql(dialect="duckdb")
    return text
