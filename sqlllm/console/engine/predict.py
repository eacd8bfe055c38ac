"""`POST /model/predict`: a select without `from`, over rows that come with the request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import sqlglot
from sqlglot import exp

from sqlllm.errors import OptionError, ParseError, ScriptError

from .parameters import Parameters

if TYPE_CHECKING:
    from sqlllm.session import Result, Session

_ROWS = "rows_of_the_request"  # the table that the select reads


class Predict(Parameters):
    """Its parameters. `data` is JSON: an array of texts (`string`), of arrays of numbers, of objects."""

    data: Any
    dataType: Literal["vector", "string", "row"] = "vector"  # noqa: N815 - Byzer's names


def work(asked: Predict) -> Callable[[Session], Result]:
    """What the job does: one row of the answer for each of the data. Raises ScriptError for what cannot be."""
    sql, rows = _query(asked.sql), _rows(asked)

    def run(session: Session) -> Result:
        from pyspark.errors import PySparkException

        try:
            if asked.dataType == "row":
                frame = session.spark.createDataFrame(rows)
            else:
                kind = "string" if asked.dataType == "string" else "array<double>"
                frame = session.spark.createDataFrame([(row,) for row in rows], f"feature {kind}")
        except (PySparkException, TypeError, ValueError) as error:
            raise OptionError(f"data is not a table of {asked.dataType}: {str(error).splitlines()[0]}") from None
        session.name_table(frame, _ROWS, None)
        with asked.given(session):
            result = session.run(f"{sql} as predicted;", "sql")
        if result is None:
            raise ScriptError("the select gives no table")
        return result

    return run


def _query(sql: str) -> str:
    """The select, with our rows behind it."""
    text = sql.strip().rstrip(";")
    try:
        query = sqlglot.parse_one(text, dialect="spark")
    except sqlglot.ParseError as error:
        first = error.errors[0]
        raise ParseError(f"sql: {first['description']}, line {first['line']}, column {first['col']}") from None
    if not isinstance(query, exp.Select) or query.args.get("from_") or query.args.get("from"):
        cure = "Write: select model(feature) as value. The rows are those of `data`; scripts go to /run/script."
        raise ParseError("/model/predict takes one select without `from`", cure=cure)
    return query.from_(_ROWS).sql("spark")


def _rows(asked: Predict) -> list[Any]:
    data = asked.data
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError as error:
            raise OptionError(f"data is not JSON: {error}", key="data") from None
    fits = {"string": str, "vector": list, "row": dict}[asked.dataType]
    if not isinstance(data, list) or not data or not all(isinstance(row, fits) for row in data):
        what = {"string": "texts", "vector": "arrays of numbers", "row": "objects"}[asked.dataType]
        raise OptionError(f"data is to be a JSON array of {what}, since dataType is {asked.dataType}", key="data")
    return [[float(number) for number in row] for row in data] if asked.dataType == "vector" else data
