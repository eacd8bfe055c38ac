"""What an operator reports of the rows that have no answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tools import Tools


def failures(tools: Tools, name: str, errors: Iterable[str]) -> None:
    """Warn of rows without an answer, with the most frequent reason."""
    counts = Counter(errors)
    if counts:
        (reason, times), rows = counts.most_common(1)[0], sum(counts.values())
        which = "" if times == rows else f" ({times:,} times)"
        tools.note(f"{name} has no answer about {rows:,} {'text' if rows == 1 else 'texts'}: {reason}{which}")
