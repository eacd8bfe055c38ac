"""run table as Module.`path` where options as output; (also train, predict)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import ParseError

from . import registry

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result


@registry.statement(Run)
def run(session: Session, run: Run) -> Result | None:
    try:
        handler = registry.find_module(run.module.resolve(session.variables))
    except ParseError as error:
        raise error.at(run.module.place) from None
    result = handler(session, run)
    if result is None or run.output is None:
        return result
    return session.name_table(result.frame, run.output.resolve(session.variables), run.place)
