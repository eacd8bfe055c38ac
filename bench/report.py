"""How benchmarks print: a table for people, one JSON object as the last line for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def machine() -> str:
    """The machine in a few words."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


def median_ratio(ours: Sequence[float], plain: Sequence[float]) -> float:
    """The median over the rounds: what slows down both sides of a round leaves its ratio."""
    return statistics.median(one / other for one, other in zip(ours, plain, strict=True))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows; numbers stand to the right."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = rows and isinstance(rows[0][index], (int, float))
        shown.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*(f"{value:,.2f}" if isinstance(value, float) else str(value) for value in row))
    Console(width=120).print(shown)


def last_line(figures: dict[str, Any]) -> None:
    """The figures, as the last line."""
    print(json.dumps({**figures, "machine": machine()}))
