"""`sqlllm run`: run a script and show its last table."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from sqlllm.console import progress, render
from sqlllm.console.activity import watched
from sqlllm.console.interrupts import interruptible
from sqlllm.console.script import needs_ray
from sqlllm.dialect import parse
from sqlllm.errors import OptionError, ScriptErrors
from sqlllm.session import Observer, Session
from sqlllm.settings import Settings


def by_address(command: Callable[..., None]) -> Callable[..., None]:
    """The flags of where Spark and Ray are."""
    master = click.option("--master", metavar="URL", help="Of Spark: spark://HOST:PORT, local[4], or sc://HOST:PORT.")
    ray = click.option("--ray_address", metavar="HOST:PORT", help="Of a Ray cluster.")
    return master(ray(command))


def session_at(master: str | None, ray_address: str | None, observer: Observer | None = None) -> Session:
    """A session on the clusters that the flags name; where they name none, on those of the settings."""
    settings = Settings.load()
    if master:
        is_server = master.startswith("sc://")
        settings.spark.remote = master if is_server else ""
        settings.spark.master = settings.spark.master if is_server else master
    if ray_address:
        settings.ray.address = ray_address
    return Session(settings, observer=observer)


@click.command("run")
@click.argument("script", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@by_address
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a variable or a setting first.")
@click.option(
    "--format", "form", type=click.Choice(render.FORMATS), default="table", help="How to show the last table."
)
def command(script: Path, master: str | None, ray_address: str | None, assignments: tuple[str, ...], form: str) -> None:
    """Run SCRIPT (`-` reads standard input) and show its last table.

    Exits with 1 if the script or the machine is at fault, with 130 after Ctrl-C.
    """
    text, name = read(script)
    parsed = parse(text, name)
    if parsed.errors:  # before Spark starts
        raise ScriptErrors.of(parsed.errors)
    out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    observer = progress.observer(out, Console(stderr=True))
    # Py4J logs the stack of what Ctrl-C interrupts, to the root logger.
    logging.getLogger().addFilter(lambda record: "py4j" not in record.pathname)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # a polite kill is as Ctrl-C
    session = session_at(master, ray_address, observer)
    try:
        with interruptible(session), watched(session, observer.active):
            for assignment in assignments:
                assign(session, assignment)
            if any(map(needs_ray, parsed.statements)):
                session.warm_up()
            result = session.run_all(parsed.statements)
            if result is not None and not (form == "table" and observer.streamed):
                observer.step("computing the last table")
                render.show(result, form, out)
            session.tell_usage()
    finally:
        observer.stop()
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        session.close()


def read(script: Path) -> tuple[str, str]:
    """The text of a script and its name in errors."""
    if str(script) == "-":
        return sys.stdin.read(), "<stdin>"
    try:
        return script.read_text(encoding="utf-8-sig"), str(script)
    except FileNotFoundError:
        raise click.ClickException(f"there is no script {script}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"cannot read {script}: {error}") from None


def write(file: Path, content: bytes) -> None:
    """Write a file, or say why not."""
    try:
        file.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None


def assign(session: Session, assignment: str) -> None:
    """`key=value`: a setting if there is one of that name, else a variable that the script's own `set` leaves alone."""
    key, equals, value = assignment.partition("=")
    if not equals:
        raise OptionError(f"--set {assignment}: there is no `=`", cure="Write --set key=value.")
    session.override(key, value)
