"""`sqlllm mcp`: tools for assistants, by the Model Context Protocol."""

from __future__ import annotations

import click

from sqlllm.errors import PackageError

from .run import assign, by_address, session_at


@click.command("mcp")
@by_address
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a variable or a setting first.")
@click.option("--write", is_flag=True, help="Also statements that write, deploy, train or run code.")
def command(master: str | None, ray_address: str | None, assignments: tuple[str, ...], write: bool) -> None:
    """Serve an assistant on standard input and output, by the Model Context Protocol (MCP).

    Its tools run a script, check one, list tables and models, and read the manual. Without --write they only read.
    """
    try:
        from sqlllm.console.mcp_server import Desk, Notes, server
    except ImportError as error:
        raise PackageError.from_import_error(error, package="mcp", extra="mcp") from error
    notes = Notes(writes=write)
    session = session_at(master, ray_address, notes)
    for assignment in assignments:
        assign(session, assignment)
    desk = Desk(session, notes)
    try:
        server(desk, writes=write).run()
    finally:
        desk.close()
