"""Commands that look into a table: !profiler, !assert."""

from __future__ import annotations

import io
import re
import time
from contextlib import redirect_stdout
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlllm.dialect import SqlText
from sqlllm.dialect.statements import Macro
from sqlllm.dialect.tokens import Kind, Tokenizer
from sqlllm.errors import TableError
from sqlllm.places import Source

from .. import queries
from ..registry import command
from ..tables import Result, table_named
from . import arguments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect import Text

    from ..session import Session

_PROFILER = "!profiler explain my_table; or !profiler sql '''select ...''';"


@command("profiler")
def profiler(session: Session, macro: Macro) -> Result:
    """`!profiler sql '''select ...''';` runs a query: rows, seconds. `!profiler explain` shows Spark's plan."""
    kind, _ = arguments.words(session, macro, _PROFILER, 2)
    if kind not in {"sql", "explain"}:
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
    """`!assert table ''':column > 0''' "message";` stops the script if a row does not fulfil the condition."""
    found = arguments.words(session, macro, "!assert my_table ''':n > 0''' \"n is positive\";", 2, 3)
    condition = _columns(SqlText.of(macro.args[1]).render(session.variables).text)
    frame = table_named(session, macro.args[0])
    with queries.errors_at(macro.args[1].place):
        wrong = frame.where(f"not coalesce(({condition}), false)")
        rows, first = wrong.count(), wrong.first()
    if first is not None:
        message = found[2] if len(found) == 3 else f"{found[0]} does not fulfil {condition.strip()}"
        raise TableError(message, cure=f"{rows} of {frame.count()} rows, the first: {first.asDict()}")


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
