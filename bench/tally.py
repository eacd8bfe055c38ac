"""What a session uses of models between two looks."""

from __future__ import annotations

from dataclasses import fields

from sqlllm.session import Observer, Session
from sqlllm.session.meter import Used


class Tally(Observer):
    """A session's observer that adds up what it is shown."""

    def __init__(self) -> None:
        self._total = Used()

    def used(self, used: Used) -> None:
        for field in fields(Used):
            setattr(self._total, field.name, getattr(self._total, field.name) + getattr(used, field.name))

    def take(self, session: Session) -> Used:
        """What was used since the last call."""
        session.tell_usage()
        total, self._total = self._total, Used()
        return total
