"""A rate that is kept: of a statement, a user, a provider."""

from __future__ import annotations

import time


class Rate:
    """A number of calls a minute: what is taken beyond that is a debt, and nothing more is given until it is paid."""

    def __init__(self, per_minute: float) -> None:
        self._per_second = per_minute / 60
        self._level = self._most = max(1.0, self._per_second)
        self._updated = time.monotonic()

    def wait(self) -> float:
        """Seconds until something can be taken."""
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._updated) * self._per_second)
        self._updated = now
        return 0.0 if self._level > 0 else (1e-3 - self._level) / self._per_second

    def take(self, amount: float) -> None:
        """Use some of it."""
        self._level -= amount
