"""What this process and its children wrote to their output, where Ray has made files of it."""

from __future__ import annotations

from pathlib import Path

_TAIL_BYTES = 2**20


def size(descriptor: int) -> int:
    """Bytes that are in the file behind a descriptor; 0 if it is a terminal or a pipe."""
    path = _path(descriptor)
    return path.stat().st_size if path.is_file() else 0


def tail(descriptor: int, since: int = 0) -> str:
    """The last of it, after `since` bytes; empty if it is a terminal or a pipe."""
    path = _path(descriptor)
    if not path.is_file():
        return ""
    with path.open("rb") as log:
        log.seek(max(since, path.stat().st_size - _TAIL_BYTES))
        return log.read().decode(errors="replace")


def _path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").resolve()
