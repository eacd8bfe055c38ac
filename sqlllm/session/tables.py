"""Tables: what a statement gives, and those it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import queries

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from sqlllm.dialect import Text
    from sqlllm.places import Place

    from .origins import Origin
    from .session import Session


@dataclass(frozen=True)
class Result:
    """A statement's table. It is computed when its rows are asked for."""

    frame: DataFrame
    name: str = ""
    place: Place | None = field(default=None, repr=False)
    links: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # where there is more to see: name, address
    first: Callable[[int], DataFrame] | None = field(default=None, repr=False)  # some rows, where all cost more
    origin: Origin | None = field(default=None, repr=False)  # the statement, to find where an error in the rows is

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    def rows(self, limit: int | None = None) -> list[Row]:
        """The rows, at most `limit`; an error in them names the statement that made the table."""
        with queries.made_by(self.origin), queries.errors_at(self.place):
            if limit is None:
                return self.frame.collect()
            return self.frame.take(limit) if self.first is None else self.first(limit).collect()


def identifier(name: str) -> str:
    """`name` as Spark reads one: in backquotes unless it needs none, or is a database's and a table's."""
    return name if re.fullmatch(r"[\w.]+", name, re.ASCII) else quoted(name)


def quoted(name: str) -> str:
    """`name` in backquotes: a name of one part, as that of a function is, whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def table_named(session: Session, name: Text | str) -> DataFrame:
    """The table `name`; a TableError at its place, with the nearest one, if there is none."""
    wanted = name if isinstance(name, str) else name.resolve(session.variables)
    catalog = session.spark.catalog
    with queries.errors_at(None if isinstance(name, str) else name.place):  # a name that Spark refuses
        if catalog.tableExists(identifier(wanted)):
            return session.spark.table(identifier(wanted))
    raise queries.no_table(session, wanted).at(None if isinstance(name, str) else name.place)
