"""A process, known beyond doubt: a number alone may belong to another one by now.

Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import signal
import socket
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class Process(BaseModel):
    """One process of one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(description="name of the machine")
    pid: int = Field(description="its number there")
    started: str = Field(description="boot of the machine, and the clock ticks from there to its start")

    @classmethod
    def of(cls, pid: int) -> Self:
        """The living process of that number on this machine."""
        return cls(host=socket.gethostname(), pid=pid, started=_started(pid))

    @classmethod
    def current(cls) -> Self:
        """This process."""
        return cls.of(os.getpid())

    @property
    def here(self) -> bool:
        """Whether it is one of this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether it still runs; ask only where it is `here`."""
        return bool(self.started) and _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def _started(pid: int) -> str:
    """When the process began; empty if it is gone, or ended and only waits for its parent to notice."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return "" if state in "ZX" else f"{_boot()} {fields[18]}"


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
