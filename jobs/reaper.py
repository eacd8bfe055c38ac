"""Ends every process of an embedded Ray once the process that started it is gone.

Run as a script: `python reaper.py MARK`. It waits until its standard input closes, which happens when its parent ends
in any way, then ends all processes that carry MARK in their environment. Ray's own clean-up leaves its agents behind
for a minute after a SIGKILL. It imports nothing of this package, so that it stays small. Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

GRACE = 2.0  # seconds for the processes to end by themselves


def marked(mark: bytes) -> list[int]:
    """The other living processes whose environment holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # it has ended, or belongs to another user
            continue
        if mark in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def main() -> None:
    """Wait for the parent's end, then sweep."""
    mark = sys.argv[1].encode()
    sys.stdin.read()
    if not Path("/proc/self/environ").exists():
        return
    deadline = time.monotonic() + GRACE
    while alive := marked(mark):
        if time.monotonic() > deadline:
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(0.05)


if __name__ == "__main__":
    main()
