"""What `sqlllm doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, MISSING, BROKEN = "found", "missing", "broken"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: str
    detail: str = ""
    cure: str = ""
    required: bool = True
