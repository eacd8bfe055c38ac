"""What a module gets: its table, its options, the columns that an option names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest

from .. import options, registry
from ..tables import table_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session

DUMMY = "command"
"""The input table of a module that takes none."""


def input_table(session: Session, run: Run) -> DataFrame:
    """The table that a module works on; `command` is one row. TableError at its place if there is none."""
    if run.table.raw.lower() == DUMMY:
        return session.spark.range(1)
    return table_named(session, run.table)


def options_of(session: Session, run: Run) -> dict[str, str]:
    """The options with their variables filled in; OptionError for one that the module did not declare."""
    given = run.options.resolve(session.variables)
    options.check(given, list(registry.options_of(run.module.resolve(session.variables))))
    return given


def columns_of(frame: DataFrame, given: dict[str, str], key: str, default: str = "") -> list[str]:
    """The columns that option `key` names, separated by commas; OptionError for one that `frame` does not have."""
    names = [name.strip() for name in given.get(key, default).split(",") if name.strip()]
    for name in names:
        if name not in frame.columns:
            raise OptionError(f"there is no column {name}", cure=suggest(name, frame.columns, what="columns"), key=key)
    return names
