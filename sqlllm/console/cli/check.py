"""`sqlllm check`: every error of scripts, without starting Spark or Ray."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from sqlllm.dialect import If, Run, Statement, parse
from sqlllm.errors import ParseError, SQLLLMError

from .run import read


@click.command("check")
@click.argument("scripts", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON array of all errors, for editors.")
@click.option("--strict", is_flag=True, help="Count warnings as errors: a select that looks wrong, a module not here.")
def command(scripts: tuple[Path, ...], as_json: bool, strict: bool) -> None:
    """Parse each script and report every error as FILE:LINE:COL: message.

    Exits with 1 if there is one, with 0 if there is none.
    """
    parsed = [parse(*read(script)) for script in scripts]
    errors = [error for script in parsed for error in script.errors]
    warnings = [warning for script in parsed for warning in (*script.warnings, *_unknown_modules(script.statements))]
    if as_json:
        found = [(error, "error") for error in errors] + [(warning, "warning") for warning in warnings]
        click.echo(json.dumps([{**error.to_dict(), "severity": severity} for error, severity in found]))
    else:
        for error in errors:
            _show(error, "")
        for warning in warnings:
            _show(warning, "" if strict else "warning: ")
    if errors or (strict and warnings):
        raise click.exceptions.Exit(1)


def _unknown_modules(statements: Iterable[Statement]) -> Iterator[ParseError]:
    """Modules that `run` would not find; warnings, because another machine may have the package that brings them."""
    from sqlllm.session import registry

    for statement in statements:
        if isinstance(statement, If):
            for branch in statement.branches:
                yield from _unknown_modules(branch.statements)
            yield from _unknown_modules(statement.otherwise)
        elif isinstance(statement, Run) and not statement.module.references:
            try:
                registry.find_module(statement.module.raw)
            except ParseError as error:
                yield error.at(statement.module.place)


def _show(error: SQLLLMError, prefix: str) -> None:
    click.echo(f"{error.place}: {prefix}{error.message}")
    if error.place:
        click.echo(error.place.quote())
    if error.cure:
        click.echo(error.cure)
