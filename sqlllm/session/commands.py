"""!name arguments; the built-in commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import ParseError, suggest

from . import registry
from .llm import setup
from .tables import Result, table_named

if TYPE_CHECKING:
    from .session import Session


@registry.statement(Macro)
def macro(session: Session, macro: Macro) -> Result | None:
    if handler := registry.commands().get(macro.name.lower()):
        return handler(session, macro)
    known = sorted(registry.commands())
    raise ParseError(
        f"unknown command !{macro.name}", cure=suggest(macro.name, known, what="commands"), place=macro.place
    )


@registry.command("byzerllm", "llm")
def byzerllm(session: Session, macro: Macro) -> Result | None:
    words = [argument.resolve(session.variables) for argument in macro.args]
    if len(words) < 2 or words[0] != "setup":
        raise ParseError(
            f"!{macro.name} does not know {' '.join(words) or 'nothing'}",
            cure=f'Write !{macro.name} setup single; or !{macro.name} setup "num_gpus=1";',
            place=macro.place,
        )
    for word in words[1:]:
        setup.apply(session, word)
    return None


@registry.command("println")
def println(session: Session, macro: Macro) -> None:
    session.observer.printed(" ".join(argument.resolve(session.variables) for argument in macro.args))


@registry.command("head")
def head(session: Session, macro: Macro) -> None:
    """`!head table 5;` shows the table's first rows; 10 if no number is given."""
    if not 1 <= len(macro.args) <= 2:
        raise ParseError("!head takes a table and a number of rows", cure="Write !head my_table 5;", place=macro.place)
    count = macro.args[1].resolve(session.variables) if len(macro.args) == 2 else "10"
    if not count.isdecimal():
        raise ParseError(f"{count} is not a number of rows", cure="Write !head my_table 5;", place=macro.args[1].place)
    session.observer.shown(Result(table_named(session, macro.args[0]).limit(int(count)), place=macro.place))
