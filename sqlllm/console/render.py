"""A result as a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sqlllm.session import Result

FORMATS = ("table", "json", "csv")
TABLE_ROWS = 50  # a table is for reading; JSON and CSV give every row


def show(result: Result, form: str, out: Console) -> None:
    """Print `result` to `out` in one of FORMATS."""
    if form == "table":
        _table(result, out)
    elif form == "json":
        out.out(json.dumps([row.asDict(recursive=True) for row in result.rows()], default=_plain, ensure_ascii=False))
    else:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows([_cell(value) for value in row] for row in result.rows())
        out.out(text.getvalue(), end="")


def _table(result: Result, out: Console) -> None:
    rows = result.rows(TABLE_ROWS + 1)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", caption_justify="left")
    for name, kind in result.frame.dtypes:
        number = kind.startswith(("tinyint", "smallint", "int", "bigint", "float", "double", "decimal"))
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in rows[:TABLE_ROWS]:
        table.add_row(*(Text("NULL", style="dim") if value is None else Text(_cell(value)) for value in row))
    if len(rows) > TABLE_ROWS:
        table.caption = f"the first {TABLE_ROWS} rows"
    elif not rows:
        table.caption = "no rows"
    out.print(table)


def _cell(value: Any) -> str:
    """One value as text; nested ones as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list, tuple)):
        plain = value.asDict(recursive=True) if hasattr(value, "asDict") else value
        return json.dumps(plain, default=_plain, ensure_ascii=False)
    return str(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "asDict"):
        return value.asDict(recursive=True)
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)
