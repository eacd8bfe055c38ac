"""--%python: code in this process, with the session's Spark and tables."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from sqlllm.dialect.statements import Cell
from sqlllm.errors import TableError

from .. import guard, options, queries
from .. import python as code
from ..tables import Result, table_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session

_BRIDGE = ("cache", "confTable", "dataMode", "env", "model", "runIn", "schema")  # of Byzer's way to Python


def python(session: Session, cell: Cell) -> Result | None:
    """Run the body. It sees `spark`, `session`, each table of `input` by its name, and what earlier cells defined.

    `_` is the last statement's table.

    The cell's table is the variable that `output` names, else its last line: a DataFrame, of pandas too, or rows.
    """
    guard.require(session, "python", "--%python runs code of the script", cell.place.source.place(cell.place.start))
    params = cell.params.resolve(session.variables)
    options.check(params, ("input", "output", *_BRIDGE))
    for key in params.keys() & set(_BRIDGE):
        session.observer.warned(f"--%{key} has no effect here: Python runs in this process")
    inputs = [name.strip() for name in params.get("input", "").split(",") if name.strip() not in {"", "command"}]
    output = params.get("output", "")
    names = session.python_names
    if output not in inputs:
        names.pop(output, None)
    names |= {"spark": session.spark, "session": session, **{name: table_named(session, name) for name in inputs}}
    names["_"] = session.last and session.last.frame
    printed = _Lines(session)
    with redirect_stdout(printed):
        value = code.run(cell.body.resolve(session.variables), cell.body, names)
    printed.close()
    if output in names:
        value = names[output]
    elif output and value is None:
        raise TableError(f"the cell defines no {output}", cure=f"Write {output} = ... in it.", place=cell.body.place)
    with queries.errors_at(cell.body.place):
        frame = _frame(session, value)
    if frame is None:
        if output:
            raise TableError(
                f"{output} is not a table but a {type(value).__name__}",
                cure="Make it a DataFrame or a list of dicts.",
                place=cell.body.place,
            )
        if value is not None:
            session.observer.printed(session.mask(repr(value)))
        return None
    return session.name_table(frame, output, cell.place) if output else Result(frame, place=cell.place)


def _frame(session: Session, value: Any) -> DataFrame | None:
    from pandas import DataFrame as PandasDataFrame
    from pyspark.sql import DataFrame

    if isinstance(value, DataFrame):
        return value
    is_rows = isinstance(value, list) and bool(value) and isinstance(value[0], (dict, tuple))
    if is_rows or isinstance(value, PandasDataFrame):
        return session.spark.createDataFrame(value)
    return None


class _Lines(io.TextIOBase):
    """What the code prints goes to the observer, line by line."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._out = sys.stdout
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        with redirect_stdout(self._out):  # where the observer may print
            for line in lines:
                self._session.observer.printed(self._session.mask(line))
        return len(text)

    def close(self) -> None:
        if self._rest:
            self.write("\n")
        super().close()
