"""What is shown of a result: its first rows, taken once, and what can be said of the rest without a second run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .words import counted

if TYPE_CHECKING:
    from sqlllm.session import Result

_MEASURE = re.compile(r"-?\d[\d.,/]*( ?(ms|s|min|h|d|B|kB|MB|GB|TB|k|M|G|%|tok/s)( ago)?( \d+)?)*")
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")


@dataclass(frozen=True)
class View:
    """The first rows of a table."""

    columns: tuple[tuple[str, str], ...]  # name and Spark's type
    rows: tuple[tuple[Any, ...], ...]
    more: bool  # whether the table goes on
    name: str = ""  # of the table, if it has one
    links: tuple[tuple[str, str], ...] = ()  # where there is more to see: a name and an address

    @classmethod
    def of(cls, result: Result, most: int) -> View:
        """At most `most` rows of `result`: one run of it, which ends when it has them."""
        rows = result.rows(most + 1)
        shown = tuple(tuple(row) for row in rows[:most])
        return cls(tuple(result.frame.dtypes), shown, len(rows) > most, result.name, result.links)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of each column: `n`, numbers, and `m`, texts of number and unit, stand right; `t`, other texts, left."""
        return tuple(
            "n" if is_number(kind) else "m" if kind == "string" and self._measures(place) else "t"
            for place, (_, kind) in enumerate(self.columns)
        )

    def _measures(self, place: int) -> bool:
        values = [row[place] for row in self.rows if row[place]]
        return bool(values) and all(_MEASURE.fullmatch(value) for value in values)

    def with_rows(self, count: int) -> View:
        """The same with fewer rows."""
        return self if count >= len(self.rows) else replace(self, rows=self.rows[:count], more=True)

    @property
    def note(self) -> str:
        """How many rows there are, as far as it is known."""
        count = len(self.rows)
        if self.more:
            return f"the first {count:,} rows; the table has more"
        return "no rows" if count == 0 else counted(count, "row")


def is_number(kind: str) -> bool:
    """Whether a type of Spark's is a number, which stands on the right."""
    return kind.startswith(_NUMBERS)
