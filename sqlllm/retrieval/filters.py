"""Which rows a search may find: a condition or a dictionary, read against known columns, its values bound; pure.

    year >= 2020 and lang in ('en', 'de') and title like 'A%'
    {"year >=": 2020, "lang": ["en", "de"]}
    {"type": "and", "filters": [{"type": "gte", "key": "year", "value": 2020}]}

The first is a condition of SQL, the second Databricks' form, the third OpenAI's. All become an expression of Lance that
is written here anew, value by value: nothing that was given is pasted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from sqlllm.errors import OptionError, suggest

from .dataset import listed, literal, quoted

_COMPARED: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
_OPENAI = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "in": "in", "nin": "not in"}
_DEEP = "its parts stand within each other too deeply"
_USAGE = "year >= 2020 and lang in ('en', 'de')"


@lru_cache(maxsize=256)
def condition(text: str, columns: tuple[str, ...]) -> str:
    """Lance's expression for a filter in one of the three forms; "" for a blank one. Raises OptionError."""
    if not text.strip():
        return ""
    if text.lstrip()[:1] == "{":
        try:
            return of_values(json.loads(text), columns)
        except json.JSONDecodeError as error:
            raise _wrong(f"it is not JSON: {error.msg}") from None
        except RecursionError:
            raise _wrong(_DEEP) from None
    try:
        tree = parse_one(text, dialect="spark")
    except (SqlglotError, RecursionError):
        raise _wrong("it is not a condition of SQL") from None
    try:
        return _sql(tree, columns)
    except RecursionError:
        raise _wrong(_DEEP) from None


def of_values(given: Mapping[str, Any], columns: Collection[str]) -> str:
    """The same for a dictionary, in Databricks' form or in OpenAI's."""
    if not isinstance(given, Mapping):
        raise _wrong("it is not a dictionary")
    if "type" in given and ("filters" in given or "key" in given):
        return _openai(given, columns)
    return " and ".join(f"({_entry(key, value, columns)})" for key, value in given.items())


def _entry(key: str, value: Any, columns: Collection[str]) -> str:
    """`"year >=": 2020`; a list means one of it."""
    name, _, operator = str(key).strip().partition(" ")
    if key in columns:
        name, operator = key, ""
    operator = operator.strip().upper()
    many = list(value) if isinstance(value, list | tuple) else [value]
    if operator in ("", "NOT"):
        return _one_of(name, many, columns, negated=bool(operator))
    if operator not in ("<", "<=", ">", ">=", "LIKE", "=", "!=") or len(many) != 1:
        raise _wrong(f"{key!r} is not a column and one of <, <=, >, >=, NOT, LIKE")
    return _compared(name, operator.lower(), many[0], columns)


def _one_of(name: str, values: list[Any], columns: Collection[str], *, negated: bool) -> str:
    column, told = _column(name, columns), [one for one in values if one is not None]
    for one in told:
        _value(one)
    if len(told) < len(values):
        null = f"{column} is {'not ' if negated else ''}null"
        rest = _one_of(name, told, columns, negated=negated) if told else ""
        return f"({rest} {'and' if negated else 'or'} {null})" if told else null
    if not told:
        return "true" if negated else "false"
    return f"{column} {'not ' if negated else ''}in ({listed(told)})"


def _openai(given: Mapping[str, Any], columns: Collection[str]) -> str:
    kind = given.get("type")
    if kind in ("and", "or"):
        inner = given.get("filters")
        if not isinstance(inner, list) or not inner:
            raise _wrong(f"{kind} needs a list under filters")
        if wrong := [one for one in inner if not isinstance(one, Mapping)]:
            raise _wrong(f"{wrong[0]!r} is not a filter")
        return f" {kind} ".join(f"({_openai(one, columns)})" for one in inner)
    operator = _OPENAI.get(str(kind))
    if operator is None or "value" not in given:
        raise _wrong(f"{kind!r} is not a type of filter: {', '.join(['and', 'or', *_OPENAI])}")
    key, value = str(given.get("key")), given["value"]
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise _wrong(f"{kind} needs a list as its value")
        return _one_of(key, value, columns, negated=operator == "not in")
    return _compared(key, operator, value, columns)


def _compared(name: str, operator: str, value: Any, columns: Collection[str]) -> str:
    """One column with one value; NULL can be equal, and is neither less nor more."""
    if value is None:
        if operator not in ("=", "!="):
            raise _wrong(f"{name} cannot be {operator} null")
        return f"{_column(name, columns)} is {'not ' if operator == '!=' else ''}null"
    return f"{_column(name, columns)} {operator} {_value(value)}"


def _sql(tree: exp.Expr | None, columns: Collection[str]) -> str:
    match tree:
        case exp.Paren():
            return f"({_sql(tree.this, columns)})"
        case exp.And() | exp.Or():
            word = " and " if isinstance(tree, exp.And) else " or "
            parts = tree.flatten(unnest=False)  # not one within another: a long list of conditions is not a deep one
            return f"({word.join(_sql(one, columns) for one in parts)})"
        case exp.Not():
            return f"(not {_sql(tree.this, columns)})"
        case exp.Is(expression=exp.Null()):
            return f"{_sql(tree.this, columns)} is null"
        case exp.In() if tree.expressions and not tree.args.get("query"):
            inside = ", ".join(_sql(one, columns) for one in tree.expressions)
            return f"{_sql(tree.this, columns)} in ({inside})"
        case exp.Between() if not tree.args.get("symmetric"):
            low, high = (_sql(tree.args[key], columns) for key in ("low", "high"))
            return f"{_sql(tree.this, columns)} between {low} and {high}"
        case exp.Like():
            return f"{_sql(tree.this, columns)} like {_sql(tree.expression, columns)}"
        case exp.Column() if not tree.table:
            return _column(tree.name, columns)
        case exp.Neg(this=exp.Literal(is_string=False)):
            return f"-{_sql(tree.this, columns)}"
        case exp.Literal(is_string=True):
            return literal(tree.name)
        case exp.Concat() if all(one.is_string for one in tree.expressions) and not tree.args.get("safe"):
            return literal("'".join(one.name for one in tree.expressions))  # 'O''Brien'
        case exp.Literal():
            return _number(tree.name)
        case exp.Boolean():
            return literal(tree.this)
        case exp.Cast() if isinstance(tree.this, exp.Literal) and tree.to.this in _DATES:
            return f"{_DATES[tree.to.this]} {literal(tree.this.name)}"
    if tree is not None and (sign := _COMPARED.get(type(tree))):
        return f"{_sql(tree.this, columns)} {sign} {_sql(tree.expression, columns)}"
    told = tree.sql(dialect="spark") if tree is not None else "nothing"
    raise _wrong(f"{told} is not a comparison of a column with a value")


_DATES = {exp.DType.DATE: "date", exp.DType.TIMESTAMP: "timestamp", exp.DType.TIMESTAMPLTZ: "timestamp"}


def _column(name: str, columns: Collection[str]) -> str:
    by_lower = {one.lower(): one for one in columns}
    found = name if name in columns else by_lower.get(name.lower())
    if found is None:
        raise OptionError(
            f"filters: the index has no column {name}", cure=suggest(name, list(columns), what="columns"), key="filters"
        )
    return quoted(found)


def _number(text: str) -> str:
    try:
        return _value(int(text) if text.isdigit() else float(text))
    except ValueError:  # more digits than a number can have
        raise _wrong("a number in it is too large") from None


def _value(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(f"{value} is not a number to compare with")
    try:
        return literal(value)
    except ValueError as error:
        raise _wrong(str(error)) from None


def _wrong(why: str) -> OptionError:
    return OptionError(f"filters cannot be used: {why}", cure=f"Write for example: {_USAGE}", key="filters")
