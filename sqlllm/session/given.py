"""What models are given: a column that holds no requests is an error when a select is planned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson
from sqlglot import exp

from sqlllm.errors import ParseError
from sqlllm.udfs import literals

from . import calls

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect import RenderedSql

    from .models import Models


def check(models: Models, frame: DataFrame, sql: RenderedSql) -> None:
    """ParseError for a call of a model with a column that is not an array of texts; `frame` is `sql` analysed."""
    from py4j.protocol import Py4JError

    found = [call for call in _all(calls.calls(sql.text, models)) if _column(sql, call)]
    if not found or not hasattr(frame, "_jdf"):  # Spark Connect shows no plan: the row's own error says it
        return
    try:
        plan = orjson.loads(frame._jdf.queryExecution().analyzed().toJSON())
    except Py4JError:  # a part of it has no JSON
        return
    wrong = {(model.lower(), column.lower()): kind for model, column, kind in _given(plan) if not _is_request(kind)}
    for call in found:
        name = _column(sql, call)
        if kind := wrong.get((call.name, name.lower())):
            (given,) = call.arguments
            text, function = (
                sql.text[given.start : given.end],
                sql.text[call.start : call.end].partition("(")[0].strip(),
            )
            told = kind if isinstance(kind, str) else kind.get("type", "another type")
            raise ParseError(
                f"{call.name} takes a request, and {text} is a column of type {told}",
                cure=f'Write {function}(llm_param(map("instruction", {text}))).',
                place=sql.place_at(call.start, call.end),
            )


def _all(found: Iterator[calls.Call] | list[calls.Call] | tuple[calls.Call, ...]) -> Iterator[calls.Call]:
    for call in found:
        yield call
        yield from _all(call.inside)


def _column(sql: RenderedSql, call: calls.Call) -> str:
    """The name of the column that is the only argument of `call`; empty for another argument."""
    if len(call.arguments) != 1:
        return ""
    (given,) = call.arguments
    node = literals.tree(sql.text[given.start : given.end])
    return node.name if isinstance(node, exp.Column) else ""


def _given(plan: Any) -> Iterator[tuple[str, str, Any]]:
    """The model functions in a plan, which Spark gives as JSON: name, column that is the argument, its type."""
    if isinstance(plan, dict):
        plan = list(plan.values())
    if not isinstance(plan, list):
        return
    for index, node in enumerate(plan):
        yield from _given(node)
        if isinstance(node, dict) and str(node.get("class", "")).endswith(".PythonUDF") and index + 1 < len(plan):
            child = plan[index + 1]
            if isinstance(child, dict) and str(child.get("class", "")).endswith(".AttributeReference"):
                yield node["name"], child["name"], child["dataType"]


def _is_request(kind: Any) -> bool:
    return kind == "void" or (isinstance(kind, dict) and kind.get("elementType") in {"string", "void"})
