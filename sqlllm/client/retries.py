"""When a request is sent again, and after how long."""

from __future__ import annotations

import re
import time

RETRIED = frozenset({408, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_FIRST, _MOST = 0.5, 8.0  # seconds of back-off
_SECONDS = re.compile(r"\d+(\.\d+)?")


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """The seconds that a `Retry-After` header asks for: a number or a date; None if the header has neither."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    from email.utils import parsedate_to_datetime  # slow to load, and seldom needed

    try:
        seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None  # a date in the past has no use


def back_off(attempt: int) -> float:
    """Seconds before attempt `attempt` + 1 (the first is 1): doubled each time, and spread."""
    import random

    return float(min(_MOST, _FIRST * 2 ** (attempt - 1))) * random.uniform(0.75, 1)  # noqa: S311 (no secret)
