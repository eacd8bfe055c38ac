"""`sqlllm check`: every error of scripts, without starting Spark or Ray."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from sqlllm.dialect import Script, parse
from sqlllm.errors import SQLLLMError

from .run import assign, read


@click.command("check")
@click.argument("scripts", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a variable first, as run does.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of all errors, for editors.")
@click.option("--strict", is_flag=True, help="Count warnings as errors: what may be wrong, a module not here.")
def command(scripts: tuple[Path, ...], assignments: tuple[str, ...], as_json: bool, strict: bool) -> None:
    """Parse each script and report every error as FILE:LINE:COL: message.

    It finds variables that are not set, unknown functions and wrong numbers of arguments, options that a format, a
    model or a run does not take, formats and files that are not there. A script that another one of SCRIPTS includes
    is looked at there, with what is set before. Exits with 1 if there is an error, with 0 if there is none.
    """
    errors, warnings = findings([parse(*read(script)) for script in scripts], assignments)
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


def findings(scripts: list[Script], assignments: Iterable[str]) -> tuple[list[SQLLLMError], list[SQLLLMError]]:
    """The errors and the warnings of all scripts, each once."""
    from sqlllm.session import Session
    from sqlllm.session.rehearsal import Rehearsal

    rehearsals = list[Rehearsal]()
    for script in scripts:
        session = Session()
        for assignment in assignments:
            assign(session, assignment)
        rehearsals.append(Rehearsal(session))
        rehearsals[-1].run(script)
    paths = [Path(script.source.name).resolve() for script in scripts]
    included = [any(path in other.files for other in rehearsals) for path in paths]
    covered, errors, warnings = set[Path](), list[SQLLLMError](), list[SQLLLMError]()
    # Scripts that no other includes go first, so that of scripts that include each other a single error is reported.
    for number in sorted(range(len(scripts)), key=included.__getitem__):
        script, found = scripts[number], rehearsals[number]
        elsewhere = paths[number] in covered
        errors += _in_order(script, [*script.errors, *([] if elsewhere else found.errors)])
        warnings += _in_order(script, [*script.warnings, *([] if elsewhere else found.warnings)])
        covered |= found.files
    return list(_once(errors)), list(_once(warnings))


def _in_order(script: Script, errors: Iterable[SQLLLMError]) -> list[SQLLLMError]:
    """By place; those of included scripts come last, as they were found."""

    def place(error: SQLLLMError) -> tuple[bool, int]:
        own = error.place is not None and error.place.source.name == script.source.name
        return not own, error.place.start if error.place and own else 0

    return sorted(errors, key=place)


def _once(errors: Iterable[SQLLLMError]) -> Iterator[SQLLLMError]:
    seen = set()
    for error in errors:
        at = error.place and (Path(error.place.source.name).resolve(), error.place.start)
        if (at, error.message) not in seen:
            seen.add((at, error.message))
            yield error


def _show(error: SQLLLMError, prefix: str) -> None:
    at = f"{error.place}: " if error.place else ""
    click.echo(f"{at}{prefix}{error.message}")
    if error.place:
        click.echo(error.place.quote())
    if error.cure:
        click.echo(error.cure)
