"""SQL mistakes in selects, found before Spark starts, by sqlglot's dialect of Databricks: Spark's with `v:a.b::int`.

Spark accepts more than sqlglot knows, so what is found here is advice: it never stops a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import sqlglot
from sqlglot import exp, parser
from sqlglot.errors import ErrorLevel, ParseError, TokenError

from ..errors import PackageError, nearest
from ..errors import ParseError as ScriptParseError
from .statements import Explain, If, Select, Statement
from .text import Reference, RenderedSql
from .tokens import Kind

# What sqlglot raises by mistake over some wrong SQL (`map("a")`): no advice then.
_STUMBLES = (AssertionError, AttributeError, IndexError, KeyError, TypeError)


def check(statements: Iterable[Statement]) -> list[ScriptParseError]:
    """What looks wrong in the selects of `statements`, each at its place in the script. Raises PackageError."""
    _require_pure_python()
    found = []
    for statement in statements:
        if isinstance(statement, If):
            for branch in statement.branches:
                found += check(branch.statements)
            found += check(statement.otherwise)
        elif isinstance(statement, Explain):
            found += check([statement.select])
        elif isinstance(statement, Select) and (error := _check(statement)):
            found.append(error)
    return found


def _check(select: Select) -> ScriptParseError | None:
    if any(token.kind is Kind.VARIABLE for token in select.sql.tokens):
        return None  # what stands there when it runs may well be right
    try:
        sql = select.sql.render(_Stand())
    except ScriptParseError as error:
        return error
    found = _read(sql.text)
    return None if found is None else _translate(found, sql)


@lru_cache(maxsize=4096)  # an editor asks again after each change of one statement
def _read(sql: str) -> Exception | None:
    """What sqlglot makes of `sql`: None if it reads it, or is not to be asked."""
    try:
        sqlglot.parse_one(sql, read="databricks", error_level=ErrorLevel.IMMEDIATE)
    except _STUMBLES:
        return None
    except (ParseError, TokenError, RecursionError) as error:
        return None if _is_ours(str(error)) else error.with_traceback(None)
    return None


def _is_ours(message: str) -> bool:
    """Whether an error is none of Spark's, or one about the arguments of a function, which is found by its number."""
    missing = re.search(r"missing for <class '[\w.]+\.(\w+)'>", message)
    kind = getattr(exp, missing[1], None) if missing else None
    return "nsupported" in message or (isinstance(kind, type) and issubclass(kind, exp.Func))


def forget() -> None:
    """Ask sqlglot again of SQL that it has read."""
    _read.cache_clear()


class _Stand:
    """A value for every variable."""

    def lookup(self, reference: Reference, *, in_select: bool = False) -> str:
        return "x"


def _translate(error: Exception, sql: RenderedSql) -> ScriptParseError:
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else None
    if details is None or details.get("line") is None:
        message = "the SQL is nested too deeply" if isinstance(error, RecursionError) else "the SQL cannot be read"
        return ScriptParseError(message, place=sql.place)
    lines = sql.text.split("\n")
    line, column = details["line"], details["col"]  # of the end of the token
    end = sum(len(text) + 1 for text in lines[: line - 1]) + column
    start = max(end - max(len(details["highlight"] or ""), 1), 0)
    place = sql.place_at(min(start, len(sql.text) - 1), end)
    return ScriptParseError(_describe(details), cure=_did_you_mean(sql.text[:end]), place=place)


def _describe(details: dict[str, Any]) -> str:
    description, token = str(details["description"]), details["highlight"]
    if "Unexpected token" in description:
        return f"SQL: `{token}` is unexpected here"
    if "Required keyword" in description:
        return f"SQL: something is missing at `{token}`"
    return f"SQL: {description[:1].lower()}{description[1:].rstrip('.')}"


def _did_you_mean(sql: str) -> str:
    """A misspelt keyword reads as an alias, so the parser stumbles over the word after it: look at both."""
    for word in reversed(re.findall(r"\w+", sql)[-2:]):
        near = nearest(word, _CLAUSES) if len(word) > 2 else None
        if near and near != word.lower():
            return f"Did you mean {near} in place of {word}?"
    return ""


_CLAUSES = ("select", "from", "where", "group", "order", "having", "join", "union", "limit", "between", "distinct")


@cache
def _require_pure_python() -> None:
    if not str(parser.__file__).endswith(".py"):
        raise PackageError(
            "sqlllm needs sqlglot in pure Python, but its compiled twin is installed",
            cure="Run: pip uninstall sqlglotc",
        )
