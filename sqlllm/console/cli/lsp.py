"""`sqlllm lsp`: a language server for editors."""

from __future__ import annotations

import logging

import click

from sqlllm.errors import PackageError


@click.command("lsp")
@click.option("--stdio", is_flag=True, hidden=True, expose_value=False)  # which editors add
def command() -> None:
    """Answer an editor on standard input and output, by the Language Server Protocol.

    Diagnostics are those of `sqlllm check`, formatting is that of `sqlllm fmt`; completion and hover know the dialect,
    Spark's functions, `ai_*` and the tables and models that the script names.
    """
    try:
        from sqlllm.console.lsp import server
    except ImportError as error:
        raise PackageError.from_import_error(error, package="pygls", extra="editor") from error
    logging.disable(logging.WARNING)  # pygls logs each message
    server().start_io()
