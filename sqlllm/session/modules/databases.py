"""JDBC: a database's own statements, of the connection that the path names: run command as JDBC.`db._` where ..."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError, SetupError

from .. import options, queries
from ..registry import module
from ..tables import Result

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Run

    from ..session import Session

_STATEMENT = re.compile(r"driver-statement-(\d+)")
_QUERY = "driver-statement-query"
_OPTIONS = ("driver", "url", "user", "password", "sqlMode", _QUERY, "driver-statement-0")


@module("JDBC")
def jdbc(session: Session, run: Run) -> Result | None:
    """Runs `driver-statement-0`, `driver-statement-1` ...; with sqlMode="query" gives the rows of one statement."""
    name = run.path.resolve(session.variables).partition(".")[0]
    given = {**session.connections.get(("jdbc", name), {}), **run.options.resolve(session.variables)}
    options.require(given, ["url"], "JDBC")
    numbered = {int(found[1]): key for key in given if (found := _STATEMENT.fullmatch(key))}
    options.check({key: value for key, value in given.items() if key not in numbered.values()}, _OPTIONS)
    mode = options.choice(given, "sqlMode", ("ddl", "query"))
    options.require(
        given, [_QUERY] if mode == "query" else [numbered[min(numbered)] if numbered else _OPTIONS[-1]], mode
    )
    with queries.errors_at(run.place):
        connection = _connect(session, given)
        try:
            statement = connection.createStatement()
            if mode == "query":
                return Result(_rows(session, statement.executeQuery(_bare(given[_QUERY]))), place=run.place)
            for _, key in sorted(numbered.items()):
                statement.execute(_bare(given[key]))
            return None
        finally:
            connection.close()


def _connect(session: Session, given: dict[str, str]) -> Any:
    if session.settings.spark.remote:
        raise SetupError("a remote Spark runs no statements of a database", cure="Write load jdbc with a query.")
    java: Any = session.spark.sparkContext._jvm
    if driver := given.get("driver"):
        # Spark's own way, which finds the drivers that spark.packages brought.
        java.org.apache.spark.sql.execution.datasources.jdbc.DriverRegistry.register(driver)
    login = java.java.util.Properties()
    for key in ("user", "password"):
        if key in given:
            login.setProperty(key, given[key])
    return java.java.sql.DriverManager.getConnection(given["url"], login)


def _rows(session: Session, found: Any) -> Any:
    """The rows as texts: a database's types are its own."""
    about = found.getMetaData()
    width = about.getColumnCount()
    names = [about.getColumnLabel(index + 1) for index in range(width)]
    rows = []
    while found.next():
        rows.append([found.getString(index + 1) for index in range(width)])
    quoted = ("`" + name.replace("`", "``") + "` string" for name in names)
    return session.spark.createDataFrame(rows, ", ".join(quoted))


def _bare(statement: str) -> str:
    """Without the `;` at its end, which some drivers refuse."""
    stripped = statement.strip().rstrip(";")
    if not stripped:
        raise OptionError("an empty statement", cure="Write it between quotes.")
    return stripped
