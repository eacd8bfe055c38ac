"""Waiting for one's turn on a machine: a folder of tickets, served by age.

Each waiting process holds a lock on its own ticket, which the kernel takes back when the process ends in any way. So
a dead one never stands in the way, and nobody has to clean up.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK = 0.5  # seconds between two looks at those ahead


@contextmanager
def turn(folder: Path, *, at_once: int = 1) -> Iterator[None]:
    """Wait until fewer than `at_once` older tickets of `folder` are held; hold one's own until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}-{os.getpid()}"
    # Locked before it gets its name, so that nobody takes it for a dead one.
    unnamed = folder / f".{name}"
    handle = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    ticket = unnamed.rename(folder / name)
    try:
        while len(_ahead(ticket)) >= at_once:
            time.sleep(_LOOK)
        yield
    finally:
        ticket.unlink(missing_ok=True)
        os.close(handle)


def _ahead(ticket: Path) -> list[Path]:
    """The older tickets that a living process holds; the others are removed."""
    held = []
    for other in sorted(ticket.parent.glob("[0-9]*")):
        if other.name >= ticket.name:
            break
        try:
            handle = os.open(other, os.O_RDWR)
        except FileNotFoundError:  # served meanwhile
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            other.unlink(missing_ok=True)
        except BlockingIOError:
            held.append(other)
        finally:
            os.close(handle)
    return held
