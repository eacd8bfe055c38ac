"""`sqlllm runs`: the training runs, from the folders that hold them; nothing is started to look at them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sqlllm.console import curve
from sqlllm.console import runs as view
from sqlllm.jobs import detached
from sqlllm.jobs.job import last_checkpoint
from sqlllm.jobs.runs import ACTIVE, RunRecord, find_run, list_runs
from sqlllm.jobs.training.progress import read_metrics
from sqlllm.settings import Settings

FORMATS = ("table", "json", "csv")
_EXITS = {"succeeded": 0, "cancelled": 130}  # any other end is 1

_format = click.option("--format", "form", type=click.Choice(FORMATS), default="table", help="How to show it.")
_name = click.argument("name", metavar="NAME")


@click.group("runs")
def command() -> None:
    """The training runs: list, show, follow, cancel, resume, plot.

    A run is named as its row in SQL names it. Nothing is started to look at runs.
    """


@command.command("ls")
@_format
def ls(form: str) -> None:
    """Every run, the oldest first."""
    runs = list_runs(_root())
    if form == "table":
        _out().print(view.table(runs))
    else:
        _give([_row(run) for run in runs], list(view.COLUMNS), form)


@command.command("show")
@_name
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to show it.")
def show(name: str, form: str) -> None:
    """One run in full: options, versions, the table's fingerprint, the loss curve."""
    run = _find(name)
    if form == "table":
        _out().print(view.card(run))
    else:
        click.echo(run.model_dump_json(indent=2))


@command.command("logs")
@_name
@click.option("-n", "--lines", default=200, show_default=True, type=click.IntRange(1), help="How many of the last.")
def logs(name: str, lines: int) -> None:
    """What a run wrote: its log if it ran in the background, else its metrics."""
    run = _find(name)
    path = run.log if run.log.exists() else run.metrics
    if path.exists():
        click.echo("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))
    if run.state not in ACTIVE and run.reason:
        click.echo(run.reason)


@command.command("follow")
@_name
def follow(name: str) -> None:
    """Show a run's progress until it ends. Ctrl-C ends the showing, not the run.

    Exits with 0 if it succeeded, with 130 if it was cancelled, with 1 if it failed or was interrupted.
    """
    _follow(_find(name))


@command.command("cancel")
@_name
def cancel(name: str) -> None:
    """End a queued or running run; its checkpoints stay."""
    run = detached.cancel(_find(name))
    click.echo(f"{run.name}: {run.state}", err=True)


@command.command("resume")
@_name
@click.option("--follow", "followed", is_flag=True, help="Show its progress until it ends.")
def resume(name: str, followed: bool) -> None:
    """Go on with a run that ended without a model, from its last checkpoint, in the background."""
    run = detached.start(detached.resumable(_find(name)), resume=True)
    checkpoint = last_checkpoint(run)
    click.echo(
        f"{run.name}: {run.state}, {f'from {checkpoint.name}' if checkpoint else 'anew: no checkpoint'}", err=True
    )
    if followed:
        _follow(run)


@command.command("plot")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; else standard output.")
def plot(names: tuple[str, ...], output: Path | None) -> None:
    """Draw the loss of one run, or of several in one picture, as SVG."""
    curves = []
    for name in names:
        run = _find(name)
        logged, _ = read_metrics(run.metrics)
        if not logged:
            raise click.ClickException(f"run {name} has logged no step yet")
        held_out = [(at.step, at.eval_loss) for at in logged if at.eval_loss is not None]
        curves.append(curve.Curve(run.name, [(at.step, at.loss) for at in logged], held_out))
    picture = curve.svg(curves, "Loss")
    if output is None:
        click.echo(picture, nl=False)
    else:
        from .run import write

        write(output, picture.encode())


def _follow(run: RunRecord) -> None:
    err = Console(stderr=True)
    run = view.follow(run, err)
    err.print(
        view.table([run]) if err.is_terminal else " ".join(filter(None, [f"{run.name}:", run.reason or run.state]))
    )
    if code := _EXITS.get(run.state, 1):
        raise click.exceptions.Exit(code)


def _root() -> Path:
    return Settings.load().home / "runs"


def _find(name: str) -> RunRecord:
    return find_run(_root(), name)


def _out() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160)


def _row(run: RunRecord) -> dict[str, Any]:
    values = run.model_dump(mode="json")
    return {name: values[name] for name in view.COLUMNS}


def _give(rows: list[dict[str, Any]], columns: list[str], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
