"""Commands about one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import OptionError, TableError, suggest

from .. import caches
from ..modules.partitions import repartition
from ..registry import command
from ..tables import Result, table_named
from . import arguments

if TYPE_CHECKING:
    from ..session import Session


@command("head")
def head(session: Session, macro: Macro) -> None:
    """`!head table 5;` shows the table's first rows; 10 if no number is given."""
    usage = "!head my_table 5;"
    _, count = [*arguments.words(session, macro, usage, 1, 2), "10"][:2]
    if not count.isdecimal():
        raise arguments.misused(macro, usage, count, macro.args[1].place)
    session.observer.shown(Result(table_named(session, macro.args[0]).limit(int(count)), place=macro.place))


@command("desc")
def desc(session: Session, macro: Macro) -> Result:
    """`!desc table;` gives the table's columns and their types; `!desc table json;` Spark's JSON of them."""
    usage = "!desc my_table; or !desc my_table json;"
    _, *form = arguments.words(session, macro, usage, 1, 2)
    frame = table_named(session, macro.args[0])
    if form == ["json"]:
        return Result(session.table([{"schema": frame.schema.json()}], "schema string"), place=macro.place)
    if form:
        raise arguments.misused(macro, usage, form[0], macro.args[1].place)
    rows = [{"col_name": name, "data_type": kind} for name, kind in frame.dtypes]
    return Result(session.table(rows, "col_name string, data_type string"), place=macro.place)


@command("cache")
def cache(session: Session, macro: Macro) -> None:
    """`!cache table;` computes the table once for this script, `!cache table session;` until the session ends."""
    name, lifecycle = [*arguments.words(session, macro, "!cache my_table session;", 1, 2), "script"][:2]
    if lifecycle not in caches.LIFECYCLES:
        place = macro.args[1].place
        raise OptionError(
            f"unknown lifecycle {lifecycle}", cure=suggest(lifecycle, caches.LIFECYCLES, what="lifecycles"), place=place
        )
    table_named(session, macro.args[0])
    caches.add(session, name, lifecycle)


@command("uncache")
def uncache(session: Session, macro: Macro) -> None:
    (name,) = arguments.words(session, macro, "!unCache my_table;", 1)
    table_named(session, macro.args[0])
    caches.remove(session, name)


@command("lastcommand")
def last_command(session: Session, macro: Macro) -> Result:
    """`!lastCommand named t;` gives a name to the table of the statement before."""
    usage = "!show tables; !lastCommand named my_table;"
    named, name = arguments.words(session, macro, usage, 2)
    if named != "named":
        raise arguments.misused(macro, usage, named)
    return session.name_table(_last(session).frame, name, macro.place)


@command("lasttablename")
def last_table_name(session: Session, macro: Macro) -> None:
    """`!lastTableName;` sets `${__last_table_name__}` to the name of the last table."""
    arguments.words(session, macro, "!lastTableName;", 0)
    session.variables.set("__last_table_name__", _last(session).name)


@command("emptytable")
def empty_table(session: Session, macro: Macro) -> Result:
    """`!emptyTable;` as the last statement shows no rows."""
    arguments.words(session, macro, "!emptyTable;", 0)
    return Result(session.spark.range(0).select(), place=macro.place)


@command("tablerepartition")
def table_repartition(session: Session, macro: Macro) -> Result:
    usage = "!tableRepartition _ -i my_table -num 4 -o other_table;"
    values = arguments.named(session, macro, usage, ("i", "num", "o"))
    frame = repartition(table_named(session, values["i"]), {"partitionNum": values["num"]})
    return session.name_table(frame, values["o"], macro.place)


def _last(session: Session) -> Result:
    if session.last is None:
        raise TableError("no statement before this one gave a table")
    return session.last
