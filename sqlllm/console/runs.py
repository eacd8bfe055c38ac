"""Training runs on a terminal: a table of them, one in full, one followed live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from sqlllm.jobs.runs import ACTIVE, RunRecord
from sqlllm.jobs.training.progress import ago, duration, read_metrics

from . import curve

COLOURS = {
    "queued": "blue", "running": "cyan", "succeeded": "green", "failed": "red", "cancelled": "yellow",
    "interrupted": "magenta",
}  # fmt: skip
COLUMNS = ("name", "kind", "state", "steps", "total_steps", "loss", "tokens", "started", "seconds", "model", "reason")
"""What JSON and CSV give of each run."""
_EVERY = 0.25  # seconds between two looks at a run


def table(runs: list[RunRecord]) -> Table:
    """The runs, the oldest first."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", caption_justify="left")
    for name in ("name", "kind", "state"):
        made.add_column(name, no_wrap=True)
    for name in ("steps", "loss", "started", "took"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("reason" if any(run.reason for run in runs) else "", style="dim")
    for run in runs:
        made.add_row(
            Text(run.name, style="bold"), run.kind, state(run), steps(run), loss(run.loss), ago(run.started), took(run),
            Text(run.reason if len(run.reason) <= 60 else f"{run.reason[:59]}…"),
        )  # fmt: skip
    if not runs:
        made.caption = "no runs"
    return made


def card(run: RunRecord) -> RenderableType:
    """One run in full, with its loss curve."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    logged, _ = read_metrics(run.metrics)
    facts: dict[str, RenderableType | str] = {
        "run": Text(run.name, style="bold"),
        "kind": run.kind,
        "state": state(run),
        "reason": run.reason,
        "started": f"{run.started.astimezone():%Y-%m-%d %H:%M} ({ago(run.started)})",
        "took": took(run),
        "base": f"{run.base or 'from scratch'}{f' (run {run.parent})' if run.parent else ''}",
        "table": f"{run.rows:,} rows" + (f", fingerprint {run.fingerprint}" if run.fingerprint else ""),
        "steps": steps(run),
        "tokens": f"{run.tokens:,}",
        "speed": str(logged[-1]) if logged and run.state == "running" else "",
        "loss": loss(run.loss),
        "seed": str(run.seed),
        "model": str(run.model or ""),
        "folder": str(run.folder),
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "options": "\n".join(f"{key} = {value}" for key, value in run.options.items()),
    }
    for name, fact in facts.items():
        if fact:
            made.add_row(name, fact)
    points = [(progress.step, progress.loss) for progress in logged]
    if len(points) < 2:
        return made
    drawn = Table.grid(padding=(0, 1))
    drawn.add_column(justify="right", style="dim")
    drawn.add_column(style=COLOURS["running"])
    lines = curve.braille(points)
    highest, lowest = max(value for _, value in points), min(value for _, value in points)
    for number, line in enumerate(lines):
        drawn.add_row({0: f"{highest:.4f}", len(lines) - 1: f"{lowest:.4f}"}.get(number, ""), line)
    return Group(made, "", drawn, Text(f"{'':6} loss over {points[-1][0]:,.0f} steps", style="dim"))


def follow(run: RunRecord, err: Console) -> RunRecord:
    """Show a run until it has ended, live on a terminal, else a line every few seconds; returns its last record."""
    return _follow_live(run, err) if err.is_terminal else _follow_plainly(run, err)


def state(run: RunRecord) -> Text:
    """The state in its colour."""
    return Text.assemble(("● ", COLOURS[run.state]), run.state)


def steps(run: RunRecord) -> str:
    """How far it is."""
    return f"{run.steps:,}/{run.total_steps:,}" if run.total_steps else ""


def loss(value: float | None) -> str:
    """A loss, or nothing."""
    return "" if value is None else f"{value:.4f}"


def took(run: RunRecord) -> str:
    """How long it took, or has taken so far."""
    if run.state in ACTIVE:
        return duration((datetime.now(UTC) - run.started).total_seconds())
    return duration(run.seconds) if run.seconds else ""


def _follow_live(run: RunRecord, err: Console) -> RunRecord:
    bar = Progress(
        SpinnerColumn(style="cyan"),
        TextColumn("{task.description}", markup=False, style="bold"),
        BarColumn(bar_width=20),  # all of it fits in 80 columns
        TextColumn("{task.fields[detail]}", style="dim", markup=False),
        console=err,
        transient=True,
    )
    task = bar.add_task(run.name, total=None, detail="")
    with bar:
        for run in _until_the_end(run):  # noqa: B020 (the run as it is now)
            logged, _ = read_metrics(run.metrics)
            if run.state == "running" and logged:
                last = logged[-1]
                bar.update(
                    task, total=last.total_steps, completed=last.step,
                    detail=f"{last.step:,}/{last.total_steps:,}  {last}",
                )  # fmt: skip
            else:
                bar.update(task, detail="starting" if run.state == "running" else run.state)
    return run


def _follow_plainly(run: RunRecord, err: Console) -> RunRecord:
    offset, seen = 0, ""
    for run in _until_the_end(run):  # noqa: B020 (the run as it is now)
        if run.state != seen:
            seen = run.state
            err.print(f"{run.name}: {run.state}", highlight=False, soft_wrap=True)
        new, offset = read_metrics(run.metrics, offset)
        for progress in new:
            err.print(f"step {progress.step}/{progress.total_steps}  {progress}", highlight=False, soft_wrap=True)
    return run


def _until_the_end(run: RunRecord) -> Iterator[RunRecord]:
    while True:
        run = RunRecord.read(run.folder)
        yield run
        if run.state not in ACTIVE:
            return
        time.sleep(_EVERY)
