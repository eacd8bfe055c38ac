"""A run's checkpoints, each whole or not there: written beside, then renamed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from sqlllm.jobs.files import sync, write_whole

from .checkpoints import flush

_LATEST = "latest"  # DeepSpeed's own name: its tools find the newest checkpoint by it
_POSITION = "position.json"


class Position(NamedTuple):
    """How far a run is; what it goes on from besides the weights and the optimizer."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    """Sum over the targets since the last line of metrics."""
    targets: int = 0
    """Their number."""
    workers: int = 1

    @classmethod
    def read(cls, checkpoint: Path) -> Position:
        return cls(**json.loads((checkpoint / _POSITION).read_text()))

    def write(self, checkpoint: Path) -> None:
        (checkpoint / _POSITION).write_text(json.dumps(self._asdict()))


class Checkpoints:
    """The folders `Epoch-<n>` and, for going on within an epoch, the newest `Step-<n>`."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        self.limit = limit

    def last(self) -> Path | None:
        """The newest whole checkpoint; None if there is none yet.

        A machine that stops may leave a pointer to a folder that is gone: the newest of the others is taken then.
        """
        try:
            named = self.folder / (self.folder / _LATEST).read_text().strip()
        except FileNotFoundError:
            named = None
        if named and named != self.folder and (named / _POSITION).is_file():
            return named
        there = [path.parent for path in self.folder.glob(f"*-*/{_POSITION}")]
        return max(there, key=lambda path: Position.read(path).step, default=None)

    def take(self, written: Path) -> None:
        """Make the complete folder `written` the newest checkpoint, and remove those that it replaces."""
        self.folder.mkdir(exist_ok=True)
        flush(written)
        to = self.folder / written.name
        shutil.rmtree(to, ignore_errors=True)
        written.rename(to)
        sync(self.folder)
        write_whole(self.folder / _LATEST, to.name)
        epochs = sorted(self.folder.glob("Epoch-*"), key=_number)
        extra = epochs[: -self.limit] if self.limit else []
        for old in (*self.folder.glob("Step-*"), *extra):
            if old != to:
                shutil.rmtree(old)


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
