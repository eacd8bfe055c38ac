"""Following a run: its metrics file, line by line, as progress."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from sqlllm.jobs.files import write_whole


@dataclass(frozen=True)
class Progress:
    """A run after one of its logged steps."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    """Mean over the answer tokens since the last log."""
    learning_rate: float
    tokens: int
    """Tokens read so far, prompts included."""
    tokens_per_second: float
    seconds: float
    """Since the first step began, without start-up."""
    memory: float = 0.0
    """Most memory that the first worker has held so far, in GiB: of its GPU, else of the machine."""
    eval_loss: float | None = None
    """Mean over the answer tokens held out, if they were measured at this step."""
    reward_margin: float | None = None
    """dpo: by how much more the model prefers the better answers than the model it started from does."""

    @property
    def eta(self) -> float:
        """Seconds that the remaining steps take at the mean speed so far."""
        return self.seconds / self.step * (self.total_steps - self.step) if self.step else 0.0

    def __str__(self) -> str:
        """Loss, speed and time left, for a person."""
        return f"loss {self.loss:.4f}  {self.tokens_per_second:,.0f} tok/s  {duration(self.eta)} left"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s` or `5 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(then: datetime) -> str:
    """`3 min ago`."""
    seconds = (datetime.now(UTC) - then).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "now"


def memory() -> float:
    """The most memory this process has held, in GiB: of its GPU if it has one, else of the machine. In workers."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**30 if sys.platform == "darwin" else 2**20), 3)


def read_metrics(path: Path, offset: int = 0) -> tuple[list[Progress], int]:
    """The complete lines after byte `offset`, and the offset after them.

    A run that goes on from a checkpoint takes back what later steps logged; who followed it meanwhile goes on with the
    next line.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(max(0, offset - 1))
        text = file.read()
        if offset and not text.startswith(b"\n"):
            file.seek(0)
            return [], file.read().rfind(b"\n") + 1
    text = text[1:] if offset else text
    # The last line may be half written: it is left for the next call.
    text = text[: text.rfind(b"\n") + 1]
    return [Progress(**json.loads(line)) for line in text.splitlines()], offset + len(text)


def metrics_until(path: Path, step: int) -> None:
    """Take back the lines of steps after `step`, which are about to be done again, and one that was cut short."""
    if path.exists():
        whole = path.read_bytes()
        lines = whole[: whole.rfind(b"\n") + 1].splitlines(keepends=True)
        write_whole(path, b"".join(line for line in lines if json.loads(line)["step"] <= step).decode())


@contextmanager
def following(path: Path, on_progress: Callable[[Progress], None] | None, *, every: float = 0.2) -> Iterator[None]:
    """Call `on_progress` from a thread of its own for each line that appears in `path`, until the block ends."""
    if on_progress is None:
        yield
        return
    done = Event()
    thread = Thread(target=_follow, args=(path, on_progress, done, every), name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(path: Path, on_progress: Callable[[Progress], None], done: Event, every: float) -> None:
    offset, last = 0, False
    while not last:
        # What was written before the block ended is still delivered.
        last = done.wait(every)
        new, offset = read_metrics(path, offset)
        for progress in new:
            on_progress(progress)
