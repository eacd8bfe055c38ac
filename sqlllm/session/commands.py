"""!name arguments; the built-in commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import ParseError, suggest

from . import registry
from .llm import setup

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result


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
