"""Values of a table as text, for people and for files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from typing import Any

_QUOTED = re.compile(r'[",\r\n]|^$')


def csv_line(values: Iterable[Any]) -> str:
    """One row as a line of CSV (RFC 4180), with its end: NULL is an empty field, the empty text is `""`."""
    return ",".join("" if value is None else _field(cell(value)) for value in values) + "\n"


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def cell(value: Any) -> str:
    """One value as text; nested ones as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
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
