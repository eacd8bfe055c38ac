"""Following a run: its metrics file, line by line, as progress."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread


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

    @property
    def eta(self) -> float:
        """Seconds that the remaining steps take at the mean speed so far."""
        return self.seconds / self.step * (self.total_steps - self.step) if self.step else 0.0


def read_metrics(path: Path, offset: int = 0) -> tuple[list[Progress], int]:
    """The complete lines after byte `offset`, and the offset after them."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    # The last line may be half written: it is left for the next call.
    text = text[: text.rfind(b"\n") + 1]
    return [Progress(**json.loads(line)) for line in text.splitlines()], offset + len(text)


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
