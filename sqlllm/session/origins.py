"""Which SQL made which table. Spark computes a table when it is read: an error in its rows then names the expression,
and this finds the statement that the expression stands in."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.errors import PySparkException

    from sqlllm.dialect import RenderedSql
    from sqlllm.places import Place

_NAME = re.compile(r"`[^`]+`|\w+")


@dataclass(eq=False)
class Origin:
    """A statement: the SQL that it gave to Spark, and the statements that made the tables it names."""

    place: Place | None = None
    ran: list[RenderedSql] = field(default_factory=list)
    sources: list[Origin] = field(default_factory=list)

    def find(self, error: PySparkException) -> Place | None:
        """The place of the expression that `error` is about, in this statement or the nearest one that it reads."""
        waiting, seen = deque([self]), {id(self)}
        while waiting:
            origin = waiting.popleft()
            for sql in origin.ran:
                if place := expression(error, sql):
                    return place
            waiting.extend(one for one in origin.sources if id(one) not in seen)
            seen.update(map(id, origin.sources))
        return None


class Origins:
    """Those of a session's tables."""

    def __init__(self) -> None:
        self._tables: dict[str, Origin] = {}
        self._running: list[Origin] = []

    @contextmanager
    def statement(self, place: Place) -> Iterator[Origin]:
        """The statement at `place` runs within; it may run others."""
        self._running.append(Origin(place))
        self._reads(place.text)
        try:
            yield self._running[-1]
        finally:
            self._running.pop()

    def ran(self, sql: RenderedSql) -> None:
        """The statement gives `sql` to Spark."""
        if self._running:
            self._running[-1].ran.append(sql)
            self._reads(sql.text)

    def named(self, table: str) -> None:
        """The statement's result is `table` from now on."""
        if self._running:
            self._tables[table.lower()] = self._running[-1]

    def _reads(self, text: str) -> None:
        origin = self._running[-1]
        for name in dict.fromkeys(match[0].strip("`").lower() for match in _NAME.finditer(text)):
            made = self._tables.get(name)
            if made is not None and made is not origin and made not in origin.sources:
                origin.sources.append(made)


def expression(error: PySparkException, sql: RenderedSql, shift: int = 0, *, anywhere: bool = False) -> Place | None:
    """The place of the expression of `sql` that `error` is about; `shift` characters stood before what Spark read.

    `anywhere`: also if Spark counts from another text, such as the body of a function.
    """
    for context in error.getQueryContext():
        try:
            start, stop, fragment = context.startIndex() - shift, context.stopIndex() - shift + 1, context.fragment()
        except Exception:  # noqa: BLE001 - of a context without a position Spark raises what Py4J makes of it
            return None
        if start >= 0 and fragment and fragment in (sql.text[start:stop], _java_substring(sql.text, start, stop)):
            return sql.place_at(start, stop)
        if anywhere and (start := sql.text.find(fragment)) >= 0:
            return sql.place_at(start, start + len(fragment))
    return None


def _java_substring(text: str, start: int, stop: int) -> str:
    """What Spark takes for `text[start:stop]`: it counts characters, and then cuts by Java's units of 16 bits."""
    return text.encode("utf-16-le")[2 * start : 2 * stop].decode("utf-16-le", "replace")
