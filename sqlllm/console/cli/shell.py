"""`sqlllm shell`: statements at a prompt."""

from __future__ import annotations

import logging
import signal

import click
from rich.console import Console

from sqlllm.errors import PackageError

from .run import assign, by_address, session_at


@click.command("shell")
@by_address
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a variable or a setting first.")
def command(master: str | None, ray_address: str | None, assignments: tuple[str, ...]) -> None:
    """Statements at a prompt: history, completion with Tab, multi-line until `;`, Ctrl-C stops one.

    `\\d` lists tables, `\\m` models, `\\r` runs, `\\?` all short cuts.
    """
    try:
        from sqlllm.console.shell import Shell
    except ImportError as error:
        raise PackageError.from_import_error(error, package="prompt_toolkit", extra="console") from error
    # Py4J logs the stack of what Ctrl-C interrupts, to the root logger.
    logging.getLogger().addFilter(lambda record: "py4j" not in record.pathname)
    session = session_at(master, ray_address)
    try:
        for assignment in assignments:
            assign(session, assignment)
        Shell(session, Console(), Console(stderr=True)).run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C now must not leave processes behind
        session.close()
