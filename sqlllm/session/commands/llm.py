"""!byzerllm (also !llm): set-up of what comes next, and the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro

from .. import system
from ..llm import manage, setup
from ..registry import command
from ..tables import Result
from . import arguments

if TYPE_CHECKING:
    from ..session import Session


@command("byzerllm", "llm")
def byzerllm(session: Session, macro: Macro) -> Result | None:
    usage = (
        f'!{macro.name} setup single; !{macro.name} setup "num_gpus=1"; !{macro.name} model list; or'
        f' !{macro.name} model exists "name"; or !{macro.name} model remove "name";'
    )
    words = [argument.resolve(session.variables) for argument in macro.args]
    match words:
        case ["setup", _, *_]:
            for word in words[1:]:
                setup.apply(session, word)
            return None
        case ["model", "list"]:
            frame = system.models(session)
        case ["model", "exists", name]:
            frame = session.table([{"value": manage.exists(session, name)}], "value boolean")
        case ["model", "remove", name]:
            frame = manage.remove(session, name)
        case _:
            raise arguments.misused(macro, usage, " ".join(words))
    return Result(frame, place=macro.place)
