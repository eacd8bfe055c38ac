"""`sqlllm check`: every error of scripts, without starting Spark or Ray."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sqlllm.dialect import parse

from .run import read


@click.command("check")
@click.argument("scripts", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON array of all errors, for editors.")
def command(scripts: tuple[Path, ...], as_json: bool) -> None:
    """Parse each script and report every error as FILE:LINE:COL: message.

    Exits with 1 if there is one, with 0 if there is none.
    """
    errors = [error for script in scripts for error in parse(*read(script)).errors]
    if as_json:
        click.echo(json.dumps([error.to_dict() for error in errors], ensure_ascii=False))
    else:
        for error in errors:
            click.echo(f"{error.place}: {error.message}")
            if error.place:
                click.echo(error.place.quote())
            if error.cure:
                click.echo(error.cure)
    if errors:
        raise click.exceptions.Exit(1)
