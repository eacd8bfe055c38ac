"""How far the running statement is: Spark's stages and the models' rows, asked from another thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlllm.errors import ModelError
from sqlllm.jobs.training.progress import duration
from sqlllm.session.meter import Used

from .coming import coming
from .words import counted

if TYPE_CHECKING:
    from sqlllm.session import Session

_EVERY = 0.5  # seconds between two looks
_PATIENCE = 1.0  # seconds that a last look may take: a busy gateway keeps nobody waiting


@dataclass(frozen=True)
class Stage:
    """A stage of Spark that runs."""

    id: int
    tasks: int
    done: int
    seconds: float = 0.0  # since it was first seen

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.done / max(self.tasks, 1)

    def __str__(self) -> str:
        """What it is at, and how long the rest takes at the speed so far."""
        left = f", {duration(self.seconds * (self.tasks / self.done - 1))} left" if self.done else ""
        return f"Spark stage {self.id}: {self.done:,} of {self.tasks:,} tasks{left}"


@dataclass(frozen=True)
class Activity:
    """A moment of a statement."""

    stages: tuple[Stage, ...] = ()
    used: Used | None = None  # of models, by this statement
    prompts: int = 0  # that are sent to models, about; 0: not known
    seconds: float = 0.0  # since models were first seen at work

    @property
    def share(self) -> float:
        """Of the prompts, how many have their answer: from 0 to 1."""
        return min(self.used.prompts / self.prompts, 1.0) if self.used and self.prompts else 0.0

    def models(self) -> str:
        """What models were used for, in words."""
        used = self.used
        if used is None:
            return ""
        told = [counted(used.rows, "row")] if used.rows else []  # tasks report theirs as they end
        told += [counted(used.calls, "call"), f"{used.tokens_per_second:,.0f} tok/s"]
        told += [f"{count:,} {what}" for what in ("cached", "failed", "retried") if (count := getattr(used, what))]
        told += [f"cost {used.cost:.4g}"] if used.cost else []
        told += [f"{duration(self.seconds * (1 / self.share - 1))} left"] if 0 < self.share < 1 else []
        return "models: " + ", ".join(told)


class Watch:
    """Looks at what a session does; nothing is started to find out."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: dict[int, float] = {}  # stages, and when
        self._last = Activity()
        self._looked = time.monotonic()  # when that was
        self._began, self._prompts = self._looked, 0  # of the models' part
        self._stages: list[int] = []  # for which that number holds

    def look(self) -> Activity:
        """Now."""
        session, stages, now = self._session, list[Stage](), time.monotonic()
        # Taken once: the session may be closed before the gateway answers, and would start another.
        spark = session.spark if session.spark_runs and not session.settings.spark.remote else None
        if spark:
            from py4j.protocol import Py4JError

            with suppress(Py4JError):  # its JVM has died, which the statement reports
                tracker = spark.sparkContext.statusTracker()
                for stage in sorted(tracker.getActiveStageIds()):
                    if info := tracker.getStageInfo(stage):
                        seconds = now - self._seen.setdefault(stage, now)
                        stages.append(Stage(stage, info.numTasks, info.numCompletedTasks, seconds))
        try:
            used = session.meter.running()
        except ModelError:  # the gateway is busy: what it said last holds
            return replace(self._last, stages=tuple(stages))
        answered, before = (one.prompts if one else 0 for one in (used, self._last.used))
        if not answered:  # yet, or the statement before has been reported
            self._began, self._prompts = now, 0
        elif answered < before:  # of another statement
            self._began, self._prompts = self._looked, 0
        packed = session.settings.llm.rows_per_prompt > 1  # Spark counts rows, which are more than prompts then
        if spark and answered and not packed and (not self._prompts or self._stages != [one.id for one in stages]):
            self._stages = [stage.id for stage in stages]
            self._prompts = coming(spark, session.models) or self._prompts
        self._last, self._looked = Activity(tuple(stages), used, self._prompts, now - self._began), now
        return self._last


@contextmanager
def watched(session: Session, show: Callable[[Activity], None]) -> Iterator[None]:
    """Call `show` every now and then, from a thread of its own, until the block ends."""
    ended, watch = threading.Event(), Watch(session)

    def go_on() -> None:
        while not ended.wait(_EVERY):
            found = watch.look()
            if not ended.is_set():
                show(found)

    thread = threading.Thread(target=go_on, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE)
