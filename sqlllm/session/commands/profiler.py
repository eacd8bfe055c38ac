"""Commands that look into a table: !profiler, !assert."""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlllm.dialect import SqlText
from sqlllm.dialect.statements import Macro
from sqlllm.dialect.tokens import Kind, Tokenizer
from sqlllm.errors import TableError
from sqlllm.places import Source

from .. import guard_sql, queries
from ..registry import command
from ..tables import Result, table_named
from . import arguments
from .show import conf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect import Text

    from ..session import Session

_PROFILER = "!profiler explain my_table; or !profiler sql '''select ...'''; or !profiler conf;"


@command("profiler")
def profiler(session: Session, macro: Macro) -> Result:
    """`!profiler sql '''select ...''';` runs a query: rows, seconds. `!profiler explain` shows Spark's plan."""
    kind, *_ = found = arguments.words(session, macro, _PROFILER, 1, 2)
    if found == ["conf"]:
        return Result(conf(session), place=macro.place)
    if kind not in {"sql", "explain"} or len(found) < 2:
        raise arguments.misused(macro, _PROFILER, kind)
    frame = _frame(session, macro.args[1])
    if kind == "explain":
        with redirect_stdout(io.StringIO()) as shown:
            frame.explain("formatted")
        return Result(session.table([{"plan": shown.getvalue().strip()}], "plan string"), place=macro.place)
    started = time.monotonic()
    with queries.errors_at(macro.args[1].place):
        row = {"rows": frame.count(), "seconds": time.monotonic() - started}
    return Result(session.table([row], "rows bigint, seconds double"), place=macro.place)


@command("assert")
def assert_(session: Session, macro: Macro) -> None:
    """`!assert table ''':column > 0''' "message";` stops the script if a row does not fulfil the condition.

    `!assert name in __set__ "message";` stops it if the variable `name` is not set.
    """
    found = arguments.words(session, macro, "!assert my_table ''':n > 0''' \"n is positive\";", 2, 4)
    if found[1:3] == ["in", "__set__"]:
        if found[0] not in session.variables:
            raise TableError(found[3].strip() if len(found) == 4 else f"the variable {found[0]} is not set")
        return
    if len(found) == 4:
        raise arguments.misused(macro, '!assert my_variable in __set__ "message";', " ".join(found[1:3]))
    wrong = breaking(session, macro)
    message = found[2] if len(found) == 3 else f"{found[0]} does not fulfil {found[1].strip()}"
    stop_if_any(wrong, message, table_named(session, macro.args[0]))


def breaking(session: Session, macro: Macro) -> DataFrame:
    """The rows of the table, the first argument, that do not fulfil the condition, the second."""
    sql = SqlText.of(macro.args[1]).render(session.variables)
    condition = _columns(sql.text)
    guard_sql.check(session, replace(sql, text=condition), prefix="select ")
    frame = table_named(session, macro.args[0])
    twice = {name for name, count in Counter(map(str.lower, frame.columns)).items() if count > 1}
    for token in Tokenizer(Source(condition)).statement():
        if token.kind in (Kind.WORD, Kind.BACKQUOTED) and token.content.lower() in twice:
            cure = f"Name them apart in the select that makes {macro.args[0]}."
            raise TableError(f"two columns are named {token.content}", cure=cure, place=macro.args[1].place)
    with queries.errors_at(macro.args[1].place):
        return frame.where(f"not coalesce(({condition}), false)")


def stop_if_any(wrong: DataFrame, message: str, frame: DataFrame) -> None:
    """TableError with `message` if there are `wrong` rows of `frame`; it shows the first."""
    rows, first = wrong.count(), wrong.first()
    if first is not None:
        # Not asDict: two columns may have one name.
        shown = ", ".join(f"{name!r}: {value!r}" for name, value in zip(wrong.columns, first, strict=True))
        raise TableError(message, cure=f"{rows} of {frame.count()} rows, the first: {{{shown}}}")


def _frame(session: Session, text: Text) -> DataFrame:
    if re.search(r"\s", text.raw.strip()):
        return queries.run_sql(session, SqlText.of(text).render(session.variables))
    return table_named(session, text)


def _columns(condition: str) -> str:
    """`:name`, as Byzer-SQL writes a column in a condition, without its colon."""
    out, done = [], 0
    for colon, name in pairwise(Tokenizer(Source(condition)).statement()):
        is_column = colon.text == ":" and name.kind is Kind.WORD and name.start == colon.end
        if is_column and not re.match(r"[\w:]", condition[colon.start - 1 : colon.start]):
            out.append(condition[done : colon.start])
            done = colon.end
    return "".join([*out, condition[done:]])
