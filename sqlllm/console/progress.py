"""What a person sees while a script runs: a live line on a terminal, plain lines elsewhere. All on standard error."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from sqlllm.places import mask_secrets
from sqlllm.session import Observer

from . import render
from .words import counted

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Statement
    from sqlllm.jobs import training
    from sqlllm.session import Result
    from sqlllm.session.meter import Used

    from .activity import Activity

_PLAIN_EVERY = 5.0  # seconds between training lines where there is no terminal


def headline(statement: Statement, width: int = 72) -> str:
    """The statement on one line, secrets masked."""
    text = " ".join(mask_secrets(statement.place.text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def bill(used: Used) -> str:
    """What models were used for, in a line; what is zero is left out."""
    parts = [counted(used.rows, "row")] if used.rows else []
    parts.append(counted(used.calls, "call"))
    for what in ("cached", "joined", "failed", "retried"):
        parts += [f"{count:,} {what}"] if (count := getattr(used, what)) else []
    if used.calls:
        parts.append(f"{used.prompt_tokens:,} + {used.answer_tokens:,} tokens")
        parts.append(f"{used.seconds:.1f} s, {used.tokens_per_second:,.0f} tok/s")
    if used.cost:
        parts.append(f"cost {used.cost:.4g}")
    return ", ".join(parts)


class TerminalObserver(Observer):
    """A spinner with the running statement, a bar while training, and a line for each statement that took its time."""

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err
        self._bar = Progress(
            SpinnerColumn(style="cyan"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=err,
            transient=True,
        )
        self._task: TaskID | None = None
        self._lock = threading.RLock()
        self.streamed = False  # the last statement's answer has been printed as it came

    def started(self, statement: Statement) -> None:
        self.streamed = False
        self._begin(headline(statement, 48))

    def finished(self, statement: Statement, seconds: float) -> None:
        self.stop()
        if self.streamed:
            self._out.print()
        if seconds >= 0.5:
            line = Text.assemble(("✓ ", "green"), headline(statement), (f"  {seconds:.1f} s", "dim"))
            self._err.print(line, overflow="ellipsis", no_wrap=True)

    def used(self, used: Used) -> None:
        self._err.print(Text(f"  {bill(used)}", style="dim"), overflow="ellipsis", no_wrap=True)

    def step(self, text: str) -> None:
        if self._task is None:
            self._begin(text)
        else:
            self._update(detail=text)

    def training(self, progress: training.Progress) -> None:
        self._update(completed=progress.step, total=progress.total_steps, detail=str(progress))

    def active(self, activity: Activity) -> None:
        """How far the statement is; from any thread."""
        told = [*map(str, activity.stages[-1:]), *filter(None, [activity.models()])]
        if told:
            done, total = (sum(getattr(stage, name) for stage in activity.stages) for name in ("done", "tasks"))
            done, total = (activity.share, 1) if activity.share else (done, total)
            self._update(completed=done, total=total or None, detail="; ".join(told))

    def printed(self, text: str) -> None:
        self._out.print(text, markup=False, highlight=False, soft_wrap=True)

    def answering(self, piece: str) -> None:
        if self._out.is_terminal:  # else the whole answer goes where it is wanted, in the form that is wanted
            self.stop()
            self.streamed = True
            self._out.print(render.printable(piece), end="", markup=False, highlight=False, soft_wrap=True)

    def shown(self, result: Result) -> None:
        render.show(result, "table", self._out)

    def warned(self, text: str) -> None:
        self._err.print(Text.assemble(("note: ", "yellow"), text))

    def stop(self) -> None:
        """Take the live line away."""
        with self._lock:
            if self._task is not None:
                self._bar.stop()
                self._bar.remove_task(self._task)
                self._task = None

    def _begin(self, text: str) -> None:
        self.stop()
        with self._lock:
            self._task = self._bar.add_task(text, total=None, detail="")
            self._bar.start()

    def _update(self, **fields: Any) -> None:
        with self._lock:
            if self._task is not None:
                self._bar.update(self._task, **fields)


class PlainObserver(Observer):
    """A line per event, for logs and pipes."""

    streamed = False

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err
        self._started = time.monotonic()
        self._last = 0.0

    def started(self, statement: Statement) -> None:
        self._line(headline(statement))

    def used(self, used: Used) -> None:
        self._line(f"  {bill(used)}")

    def step(self, text: str) -> None:
        self._line(f"  {text}")

    def training(self, progress: training.Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY or progress.step == progress.total_steps:
            self._last = now
            self._line(f"  step {progress.step}/{progress.total_steps}  {progress}")

    def printed(self, text: str) -> None:
        self._out.print(text, markup=False, highlight=False, soft_wrap=True)

    def shown(self, result: Result) -> None:
        render.show(result, "table", self._out)

    def warned(self, text: str) -> None:
        self._line(f"  note: {text}")

    def active(self, activity: Activity) -> None:
        """A line now and then would say little."""

    def stop(self) -> None:
        """Nothing to take away."""

    def _line(self, text: str) -> None:
        seconds = time.monotonic() - self._started
        self._err.print(f"{seconds:6.1f} s  {text}", markup=False, highlight=False, soft_wrap=True)


def observer(out: Console, err: Console) -> TerminalObserver | PlainObserver:
    """The observer that fits where standard error goes."""
    return TerminalObserver(out, err) if err.is_terminal else PlainObserver(out, err)
