"""How far the running statement is: Spark's tasks and the models' rows, asked from another thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlllm.session.meter import Used

if TYPE_CHECKING:
    from sqlllm.session import Session


@dataclass(frozen=True)
class Activity:
    """A moment of a statement."""

    tasks: int = 0
    tasks_done: int = 0
    used: Used | None = None  # of models, by this statement

    def bars(self) -> list[tuple[float, str]]:
        """A share from 0 to 1 and what to say about it, for each thing that goes on."""
        found = []
        if self.tasks:
            told = f"Spark: {self.tasks_done:,} of {self.tasks:,} tasks"
            found.append((self.tasks_done / self.tasks, told + (f"; {self.models()}" if self.used else "")))
        elif self.used:
            found.append((0.0, self.models()))
        return found

    def models(self) -> str:
        """What models were used for, in words."""
        used = self.used
        if used is None:
            return ""
        told = [f"{used.rows:,} rows", f"{used.calls:,} calls", f"{used.tokens_per_second:,.0f} tok/s"]
        told += [f"{count:,} {what}" for what in ("cached", "failed", "retried") if (count := getattr(used, what))]
        return "models: " + ", ".join([*told, *([f"cost {used.cost:.4f}"] if used.cost else [])])


def activity(session: Session) -> Activity:
    """What `session` does right now; nothing is started to find out."""
    tasks = done = 0
    if session.spark_runs and not session.settings.spark.remote:
        tracker = session.spark.sparkContext.statusTracker()
        for stage in tracker.getActiveStageIds():
            if info := tracker.getStageInfo(stage):
                tasks, done = tasks + info.numTasks, done + info.numCompletedTasks
    return Activity(tasks, done, session.meter.running())
