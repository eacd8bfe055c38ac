"""!name arguments; : a built-in command, one file for each group of them, or a macro, which is a variable's script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect import expand
from sqlllm.dialect.statements import Macro
from sqlllm.errors import ParseError, nearest, suggest

from .. import nested, registry
from . import absent, asserts, bridge, export, files, llm, profiler, scripts, show, tables  # noqa: F401

if TYPE_CHECKING:
    from ..session import Session
    from ..tables import Result


@registry.statement(Macro)
def macro(session: Session, macro: Macro) -> Result | None:
    """A built-in command goes before a variable of its name, so that a variable `cache` does no harm to `!cache`."""
    if handler := registry.commands().get(macro.name.lower()):
        return handler(session, macro)
    body = session.variables.source(macro.name)
    if body is None:
        raise unknown(session, macro)
    text, bindings = expand(macro.name, body, [argument.resolve(session.variables) for argument in macro.args])
    with session.variables.bound(bindings):
        return nested.run_script(session, text, f"!{macro.name}", macro.place)


def unknown(session: Session, macro: Macro) -> ParseError:
    """The error for a `!name` that is neither a command nor a variable."""
    known = sorted(registry.commands().keys() - absent.ABSENT.keys())
    near = nearest(macro.name, [*known, *session.variables.names()])
    cure = f"Did you mean !{near}?" if near else suggest(macro.name, known, what="commands")
    cure += f' A macro is a variable: set {macro.name}="...";'
    return ParseError(f"unknown command !{macro.name}", cure=cure, place=macro.place)
