"""SyntaxAnalyzeExt: the tables that a query reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import OptionError

from .. import options
from ..registry import module
from ..tables import Result
from .inputs import options_of

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Run

    from ..session import Session


@module("SyntaxAnalyzeExt", action="extractTables", sql="the query")
def analyze(session: Session, run: Run) -> Result:
    """One row `tableName` for each table that the query reads."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    given = options_of(session, run)
    options.choice(given, "action", ("extractTables",))
    options.require(given, ["sql"], "SyntaxAnalyzeExt")
    try:
        query = sqlglot.parse_one(given["sql"].strip().rstrip(";"), read="spark")
    except SqlglotError as error:
        raise OptionError(f"the query cannot be read: {error}", key="sql") from None
    own = {name.alias for name in query.find_all(exp.CTE)}
    tables = {
        ".".join(part.name for part in table.parts) for table in query.find_all(exp.Table) if table.name not in own
    }
    return Result(session.table([{"tableName": name} for name in sorted(tables)], "tableName string"), place=run.place)
