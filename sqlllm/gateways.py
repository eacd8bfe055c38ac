"""Where the gateway is: how a process that has neither Spark nor Ray finds the models that others have started.

Looked for in this order: the variable `SQLLLM_BASE_URL`, a gateway of this process (a session's), and the one that
`sqlllm up` has left in the file `gateway.json` of `SQLLLM_HOME`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

ADDRESS_VARIABLE = "SQLLLM_BASE_URL"
KEY_VARIABLE = "SQLLLM_API_KEY"


@dataclass(frozen=True)
class Found:
    """A gateway."""

    url: str
    key: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)  # PEM
    pid: int = 0  # of the process that it ends with; 0: none is known


_here: dict[str, Found] = {}  # of this process, by address; the last one is asked


def find() -> Found | None:
    """The gateway to ask, if there is one."""
    if url := os.environ.get(ADDRESS_VARIABLE, ""):
        return Found(url, os.environ.get(KEY_VARIABLE, ""))
    if _here:
        return next(reversed(_here.values()))
    try:
        found = Found(**json.loads(record().read_text()))
    except (OSError, ValueError, TypeError):  # none, or of another version
        return None
    return found if not found.pid or _lives(found.pid) else None


def opened(found: Found) -> None:
    """A gateway of this process answers."""
    _here.pop(found.url, None)
    _here[found.url] = found


def closed(url: str) -> None:
    """It does so no more."""
    _here.pop(url, None)


def leave(found: Found) -> None:
    """Leave a gateway for other processes of this user to find."""
    path = record()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(found), file)
    beside.replace(path)


def record() -> Path:
    """The file that `leave` writes."""
    return Path(os.environ.get("SQLLLM_HOME", "~/.sqlllm")).expanduser() / "gateway.json"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
