"""`sqlllm fmt`: rewrite scripts in one style."""

from __future__ import annotations

from pathlib import Path

import click

from sqlllm.dialect import format_script, parse
from sqlllm.errors import ScriptErrors

from .run import read, write


@click.command("fmt")
@click.argument("scripts", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a script would change.")
def command(scripts: tuple[Path, ...], check: bool) -> None:
    """Rewrite each script in one style, comments kept; `-` reads standard input and writes standard output.

    A script that does not parse is left as it is.
    """
    would_change = False
    for script in scripts:
        text, name = read(script)
        if errors := parse(text, name).errors:
            raise ScriptErrors.of(errors)
        styled = format_script(text)
        if check and styled != text:
            would_change = True
            click.echo(f"would change {name}")
        elif not check and str(script) == "-":
            click.echo(styled, nl=False)
        elif not check and styled != text:
            write(script, styled.encode())
            click.echo(f"changed {name}", err=True)
    if would_change:
        raise click.exceptions.Exit(1)
