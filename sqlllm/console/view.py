"""What is shown of a result: its first rows, taken once, and what can be said of the rest without a second run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlllm.session import Result

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")


@dataclass(frozen=True)
class View:
    """The first rows of a table."""

    columns: tuple[tuple[str, str], ...]  # name and Spark's type
    rows: tuple[tuple[Any, ...], ...]
    more: bool  # whether the table goes on

    @classmethod
    def of(cls, result: Result, most: int) -> View:
        """At most `most` rows of `result`: one run of it, which ends when it has them."""
        rows = result.rows(most + 1)
        return cls(tuple(result.frame.dtypes), tuple(tuple(row) for row in rows[:most]), len(rows) > most)

    def with_rows(self, count: int) -> View:
        """The same with fewer rows."""
        return self if count >= len(self.rows) else replace(self, rows=self.rows[:count], more=True)

    @property
    def note(self) -> str:
        """How many rows there are, as far as it is known."""
        count = len(self.rows)
        if self.more:
            return f"the first {count:,} rows; the table has more"
        return "no rows" if count == 0 else f"{count:,} row" + ("s" if count > 1 else "")


def is_number(kind: str) -> bool:
    """Whether a type of Spark's is a number, which stands on the right."""
    return kind.startswith(_NUMBERS)


def cell(value: Any) -> str:
    """One value as text; nested ones as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list, tuple)):
        plain_value = value.asDict(recursive=True) if hasattr(value, "asDict") else value
        return json.dumps(plain_value, default=plain, ensure_ascii=False)
    return str(value)


def plain(value: Any) -> Any:
    """What JSON cannot say, as what it can."""
    if hasattr(value, "asDict"):
        return value.asDict(recursive=True)
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)
