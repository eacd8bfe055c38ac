"""`sqlllm shell`: statements at a prompt."""

from __future__ import annotations

import logging
import signal
import sys

import click
from rich.console import Console

from sqlllm.console import render
from sqlllm.console.entries import Entries
from sqlllm.errors import PackageError

from .run import assign, by_address, session_at


@click.command("shell")
@by_address
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a variable or a setting first.")
@click.option("-c", "--command", "commands", metavar="TEXT", multiple=True, help="Run these statements and leave.")
@click.option(
    "--format", "form", type=click.Choice(render.FORMATS), default="table", help="How to show tables; also .mode."
)
def command(
    master: str | None, ray_address: str | None, assignments: tuple[str, ...], commands: tuple[str, ...], form: str
) -> None:
    """Statements at a prompt: history, completion with Tab, multi-line until `;`, Ctrl-C stops one.

    `\\d` lists tables, `\\m` models, `\\r` runs; `help` lists all, `exit` leaves. With -c, or with statements from a
    pipe (`sqlllm shell < script.sql`), each runs and shows its table; the first one that fails ends the shell with 1.
    """
    piped = [(text, "<command>") for text in commands]
    if not piped and not sys.stdin.isatty():
        piped = [(sys.stdin.read().removeprefix("\ufeff"), "<stdin>")]
    if not piped:
        try:
            from sqlllm.console.shell import Shell
        except ImportError as error:
            raise PackageError.from_import_error(error, package="prompt_toolkit", extra="console") from error
    # Py4J logs the stack of what Ctrl-C interrupts, to the root logger.
    logging.getLogger().addFilter(lambda record: "py4j" not in record.pathname)
    session = session_at(master, ray_address)
    code = 0
    try:
        for assignment in assignments:
            assign(session, assignment)
        out = Console(soft_wrap=bool(piped), width=None if sys.stdout.isatty() else 160)
        if piped:
            entries = Entries(session, out, Console(stderr=True))
            entries.mode = form
            code = next(filter(None, (entries.run_all(text, name) for text, name in piped if not entries.left)), 0)
        else:
            Shell(session, out, Console(stderr=True), form).run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C now must not leave processes behind
        session.close()
    if code:
        raise click.exceptions.Exit(code)
