"""What a session reports to its console while it works; this class drops the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Statement
    from sqlllm.jobs.training import Progress

    from .cells.visualize import Chart
    from .meter import Used
    from .tables import Result


class Observer:
    """Override what the console shows. Calls may come from any thread."""

    def started(self, statement: Statement) -> None:
        """A statement begins."""

    def finished(self, statement: Statement, seconds: float) -> None:
        """It ended without an error."""

    def used(self, used: Used) -> None:
        """Models were called, for a statement that has ended or for the table that was shown."""

    def step(self, text: str) -> None:
        """A long step of the statement begins: starting Ray, loading weights."""

    def training(self, progress: Progress) -> None:
        """A training run logged."""

    def printed(self, text: str) -> None:
        """The script prints a line."""

    def shown(self, result: Result) -> None:
        """The script shows a table."""

    def answering(self, piece: str) -> None:
        """The answer of a chat goes on by this piece."""

    def charted(self, chart: Chart, result: Result) -> None:
        """The script draws a chart of a table; where nothing can be drawn, the table is shown."""
        self.shown(result)

    def warned(self, text: str) -> None:
        """Something the user should know, that is not an error."""
