"""Commands that print, run and stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import VariableError, suggest

from .. import nested
from ..registry import command
from . import arguments

if TYPE_CHECKING:
    from ..session import Session
    from ..tables import Result


@command("println")
def println(session: Session, macro: Macro) -> None:
    text = " ".join(argument.resolve(session.variables) for argument in macro.args)
    session.observer.printed(session.mask(text))


@command("runscript")
def run_script(session: Session, macro: Macro) -> Result | None:
    """`!runScript '''script''' named t;` runs a text as a script; `named` keeps its last table."""
    usage = "!runScript '''select 1 as a as t;''' named my_table;"
    found = arguments.words(session, macro, usage, 1, 3)
    result = nested.run_script(session, found[0], "!runScript", macro.place)
    if len(found) == 1 or result is None:
        return result
    if len(found) != 3 or found[1] != "named":
        raise arguments.misused(macro, usage, found[1])
    return session.name_table(result.frame, found[2], macro.place)


@command("eval")
def evaluate(session: Session, macro: Macro) -> Result | None:
    """`!eval name;` runs the text of a variable as a script."""
    (name,) = arguments.words(session, macro, "!eval my_variable;", 1)
    text = session.variables.source(name)
    if text is None:
        cure = suggest(name, session.variables.names(), what="variables")
        raise VariableError(f"there is no variable {name}", cure=cure, place=macro.args[0].place)
    return nested.run_script(session, text, f"variable {name}", macro.place)


@command("kill")
def kill(session: Session, macro: Macro) -> None:
    """`!kill group;` stops the Spark jobs of a job group, which another thread or a notebook started."""
    (group,) = arguments.words(session, macro, "!kill my_group;", 1)
    session.spark.sparkContext.cancelJobGroup(group)
