"""Expressions of SQL that stand for a constant: `array('a', 'b')`, `named_struct('label', 'a')`, `map('a', 1)`."""

from __future__ import annotations

import json
import re
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

_STRINGS = re.compile(r"(?<![\w])(?:'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`)", re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    """A string whose doubled quotes are escaped: sqlglot reads two strings there, and Spark 4 a quote."""
    quote, inside = match[0][0], match[0][1:-1]
    return match[0] if quote == "`" else quote + inside.replace(2 * quote, "\\" + quote) + quote


class NotConstant(ValueError):
    """The expression is not a constant that can be read before a query runs."""


def tree(sql: str) -> exp.Expr | None:
    """The syntax tree of one expression; None if sqlglot cannot read it."""
    try:
        return parse_one(_STRINGS.sub(_escaped, sql), dialect="spark")
    except SqlglotError:
        return None


def constant(sql: str) -> Any:
    """The constant that `sql` is: None, bool, str, int, float, a list or a dict. Raises NotConstant."""
    return _constant(tree(sql))


def pairs(sql: str) -> list[tuple[Any, str]] | None:
    """The keys of a map or of a struct that is written out, and the SQL of their values; None for anything else.

    A key that is not a constant is None.
    """
    node = tree(sql)
    if isinstance(node, exp.VarMap):
        keys, values = node.args["keys"].expressions, node.args["values"].expressions
        return [(_key(key), value.sql("spark")) for key, value in zip(keys, values, strict=True)]
    if isinstance(node, exp.Struct) and all(isinstance(one, exp.PropertyEQ) for one in node.expressions):
        return [(one.this.name, one.expression.sql("spark")) for one in node.expressions]
    return None


def _key(node: exp.Expr) -> Any:
    try:
        return _constant(node)
    except NotConstant:
        return None


def _constant(node: Any) -> Any:
    match node:
        case exp.Literal(is_string=True) | exp.RawString():
            return node.this
        case exp.Literal():
            return int(node.this) if node.this.isdigit() else float(node.this)
        case exp.Boolean():
            return bool(node.this)
        case exp.Null():
            return None
        case exp.Neg():
            return -_constant(node.this)
        case exp.Paren() | exp.ParseJSON():
            return _constant(node.this)
        case exp.Concat():
            return "".join(str(_constant(one)) for one in node.expressions)
        case exp.Array():
            return [_constant(one) for one in node.expressions]
        case exp.VarMap():
            keys, values = node.args["keys"].expressions, node.args["values"].expressions
            return {str(_constant(key)): _constant(value) for key, value in zip(keys, values, strict=True)}
        case exp.Struct() if all(isinstance(one, exp.PropertyEQ) for one in node.expressions):
            return {one.this.name: _constant(one.expression) for one in node.expressions}
    raise NotConstant


def text(said: str) -> str:
    """A text as a literal of SQL."""
    return "'" + said.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def as_text(sql: str) -> str | None:
    """A constant as Spark casts it to a string; None for NULL and for what is not a constant."""
    try:
        value = constant(sql)
    except NotConstant:
        return None
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def alias(sql: str) -> tuple[str, str]:
    """The SQL of `value as name`, and the name; empty if it has none."""
    node = tree(f"struct({sql})")
    if isinstance(node, exp.Struct) and len(node.expressions) == 1:
        (one,) = node.expressions
        if isinstance(one, exp.PropertyEQ):
            return one.expression.sql("spark"), one.this.name
    return sql, ""
