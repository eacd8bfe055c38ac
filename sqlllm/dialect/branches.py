"""The condition of an `!if`."""

from __future__ import annotations

from dataclasses import dataclass

from .text import Text


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression over `:variables`, as written."""

    text: Text
