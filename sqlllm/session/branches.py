"""!if '''condition'''; ... !elif '''condition'''; ... !else; ... !fi;"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from sqlllm.dialect import Condition, Expression, typed
from sqlllm.dialect.statements import If
from sqlllm.errors import TableError

from . import queries
from .registry import statement

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result


@statement(If)
def if_(session: Session, block: If) -> Result | None:
    """Run the first branch that holds; what conditions define lives until the `!fi`."""
    with ExitStack() as scope:
        for branch in block.branches:
            if _holds(session, branch.condition, scope):
                return session.run_all(branch.statements)
        return session.run_all(block.otherwise)


def _holds(session: Session, condition: Condition, scope: ExitStack) -> bool:
    for definition in condition.definitions:
        value = _value(session, definition.expression)
        if isinstance(value, (list, tuple, dict)):
            place = definition.expression.sql.place
            raise TableError(f":{definition.name} would hold several values", cure="Take one of them.", place=place)
        scope.enter_context(session.variables.bound({definition.name: _text(value)}))
    found = _text(_value(session, condition.test)).lower()
    if found not in {"true", "false", ""}:
        raise TableError(f"this condition is {found}, neither true nor false", place=condition.test.sql.place)
    return found == "true"


def _value(session: Session, expression: Expression) -> Any:
    """What Spark makes of the expression, with its `:variables` as named parameters."""
    arguments = {one.name: typed(session.variables.lookup(one, in_select=True)) for one in expression.references}
    sql = expression.sql.render(session.variables)
    row = queries.run_sql(session, sql, prefix="select ", arguments=arguments).first()
    return None if row is None else row[0]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
