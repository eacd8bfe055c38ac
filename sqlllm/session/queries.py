"""Spark's errors as ours: one message, at its place in the script."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlllm import errors
from sqlllm.errors import SetupError, SQLLLMError, TableError, nearest
from sqlllm.udfs.prompts import REFUSED

from . import ai, called, functions, guard_sql, origins, parsing, prompts, vectors

if TYPE_CHECKING:
    from pyspark.errors import PySparkException
    from pyspark.sql import DataFrame

    from sqlllm.dialect import RenderedSql
    from sqlllm.places import Place

    from .origins import Origin
    from .session import Session

# PySpark logs each of its errors with a stack trace before it raises it; we say it once.
for _name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_OURS = re.compile(r"sqlllm\.errors\.(\w+): (.+?)(?:\n\s*\n|\n\s+at |\Z)", re.DOTALL)
_NAMED = re.compile(r"\s*as\s+`?(\w+)`?\s*(?:;|\Z)", re.IGNORECASE)
_BINARY = re.compile(rf"{REFUSED}([0-9a-f]+)", re.IGNORECASE)
_POSITION = re.compile(r"line (\d+),? pos(?:ition)? (\d+)")


def run_sql(
    session: Session, sql: RenderedSql, *, prefix: str = "", arguments: dict[str, Any] | None = None
) -> DataFrame:
    """`spark.sql`, with errors at their place in the script; `prefix` goes before what the script says."""
    from pyspark.errors import PySparkException

    sql = ai.written_out(session, sql)
    guard_sql.check(session, sql, prefix=prefix)
    sql = prompts.for_spark(sql)
    session.origins.ran(sql)
    try:
        try:
            return session.spark.sql(prefix + sql.text, args=arguments)
        except PySparkException as error:
            if error.getCondition() in functions.REFUSED:
                sql = functions.written_out(sql)
            elif not _registered(session, error):
                raise
            return session.spark.sql(prefix + sql.text, args=arguments)
    except PySparkException as error:
        translated = _translate(error, session)
        translated.place = _place(error, sql, len(prefix))
        translated.cure = translated.cure or _last_alias(error, sql)
        raise translated from None


def _last_alias(error: PySparkException, sql: RenderedSql) -> str:
    """The cure for `select b.x from base as b;`: the last `as b` names the statement's table."""
    name = _NAMED.match(sql.place.source.text, sql.place.end)
    unknown = str((error.getMessageParameters() or {}).get("objectName", "")).lower()
    if name is None or not unknown.startswith(f"`{name[1].lower()}`."):
        return ""
    return (
        f"The last `as {name[1]}` names the statement's table. For an alias inside the query write it without `as`,"
        f" or end the statement with a name: ... as {name[1]} as result;"
    )


def _registered(session: Session, error: PySparkException) -> bool:
    """Whether `error` is about a function that could be registered just now."""
    missing = str((error.getMessageParameters() or {}).get("routineName", "")).replace("`", "")
    return error.getCondition() == "UNRESOLVED_ROUTINE" and (
        vectors.register(session, missing) or parsing.register(session, missing)
    )


@contextmanager
def made_by(origin: Origin | None) -> Iterator[None]:
    """Within, an error of Spark's stands at the statement that wrote the expression: `origin`, or one that it reads."""
    token = _ORIGIN.set(origin or _ORIGIN.get())
    try:
        yield
    finally:
        _ORIGIN.reset(token)


_ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


@contextmanager
def errors_at(place: Place | None) -> Iterator[None]:
    """Spark's errors within become ours, at `place` if the expression at fault has none."""
    if "pyspark" not in sys.modules:  # a statement that needs no Spark must not load it
        yield
        return
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        origin = _ORIGIN.get()
        raise _translate(error).at((origin and origin.find(error)) or place) from None
    except Py4JJavaError as error:  # what PySpark has no class for
        raise TableError(_first_words(str(error.java_exception.getMessage())), place=place) from None


def _translate(error: PySparkException, session: Session | None = None) -> SQLLLMError:
    text = str(error)
    if value := _BINARY.search(_first_words(text)):  # a plan that follows holds every value
        return TableError(
            f"{bytes.fromhex(value[1]).decode(errors='ignore')} is binary, and a request holds texts",
            cure='Write base64(...) under the key image or audio of llm_param, or decode(..., "utf-8") for a text.',
        )
    if error.getCondition() == "JVM_ATTRIBUTE_NOT_SUPPORTED":  # `spark.sparkContext`, for example
        return SetupError(
            "this needs Spark's driver in this process; Spark Connect has it elsewhere",
            cure="Leave it out, or run the script with --master spark://HOST:PORT or without --master.",
        )
    if error.getCondition() == "UNSUPPORTED_FEATURE.PYTHON_UDF_IN_ON_CLAUSE":
        return TableError(
            "a model is called in the ON of an outer join, with columns of both sides",
            cure="Call it in a subquery that joins both sides without LEFT, RIGHT, FULL or ANTI, and join that.",
        )
    if ours := _OURS.search(text):  # raised by a model function in a Python worker
        kind = getattr(errors, ours[1], SQLLLMError)
        message, _, cure = ours[2].strip().partition("\n")
        return kind(message, cure=cure)
    message, _, more = _first_words(text).partition("\n")
    if session is not None and (missing := _MISSING.get(str(error.getCondition()))):
        parameter, translate = missing
        return translate(session, str((error.getMessageParameters() or {}).get(parameter, "")).replace("`", ""))
    if "Traceback" in text:  # a user's Python function: its own last line says it
        lines = [line for line in text.strip().splitlines() if line and not line.startswith((" ", "\t"))]
        return TableError(f"a Python function failed: {lines[-1]}")
    return TableError(message.strip(), cure=more.strip())


def no_table(session: Session, name: str) -> TableError:
    """The error for a table that is not there, with the nearest one."""
    known = [table.name for table in session.spark.catalog.listTables()]
    near = nearest(name, known)
    hint = f"Did you mean {near}? " if near else ""
    return TableError(f"there is no table {name}", cure=f"{hint}Tables: {', '.join(sorted(known)) or 'none yet'}.")


def _no_function(session: Session, name: str) -> TableError:
    models = f"Models: {', '.join(sorted(session.models))}." if session.models else "No model is deployed."
    made = [row[0] for row in session.spark.sql("show user functions").collect()]
    return called.no_function(name, [*session.models, *made], models)


# Spark's conditions: the parameter that holds the name, and our error.
_MISSING: dict[str, tuple[str, Callable[[Session, str], TableError]]] = {
    "TABLE_OR_VIEW_NOT_FOUND": ("relationName", no_table),
    "UNRESOLVED_ROUTINE": ("routineName", _no_function),
}


def _first_words(text: str) -> str:
    """Spark's message without its class, its state and what the JVM adds."""
    words = re.sub(r"^\s*\[[\w.]+\]\s*", "", text).split(" SQLSTATE:")[0]
    return words.split("\n\n")[0].split("\nJVM stacktrace")[0].strip()


def _place(error: PySparkException, sql: RenderedSql, shift: int) -> Place:
    if place := origins.expression(error, sql, shift, anywhere=True):
        return place
    if at := _POSITION.search(str(error)):
        return sql.place_of(int(at[1]), max(int(at[2]) + 1 - (shift if at[1] == "1" else 0), 1))
    return sql.place
