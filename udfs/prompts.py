"""llm_prompt and llm_param as expressions of SQL in which every value keeps its kind.

SQL casts the values of an array or a map to one type, so that a whole number beside a fraction is `1.2E11`. Here each
is made a text by itself: as Spark casts it to a string, arrays, maps and structs as JSON. Binary values are refused
when the query is analysed.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from .literals import text, tree
from .templates import Field, Piece

REFUSED = "llm_binary_"
"""The type that Spark is asked for where a value is binary, before the value's SQL in hexadecimal digits."""
NULLS = ("empty", "null", "skip")
"""What a NULL in a prompt is: an empty text, the word NULL, or no prompt: the model is not asked."""

_BINARY = text(r"(^|[<:,])binary([,>]|$)")
_NESTED = text("^(array|map|struct|variant)")
_TEXTS = (
    exp.ConcatWs, exp.Format, exp.Initcap, exp.JSONFormat, exp.Lower, exp.RawString, exp.RegexpReplace, exp.TimeToStr,
    exp.Trim, exp.Upper,
)  # fmt: skip
_OURS = ("llm_result", "llm_response_predict", "llm_prompt", "llm_error", "llm_raw", "llm_thoughts")


def as_text(sql: str) -> str:
    """A value as the text that it is by itself; NULL for NULL."""
    node = tree(sql)
    if is_text(node):
        return sql
    if isinstance(node, exp.Literal):
        return text(node.this)
    # Spark evaluates a schema when it analyses a query, and typeof then, too: both are gone from the plan that runs.
    refused = text(f"a {REFUSED}{sql[:60].encode().hex()}")
    schema = f"if(typeof({sql}) rlike {_BINARY}, {refused}, 'a int')"
    nested = f"get_json_object(to_json(named_struct('v', {sql})), '$.v')"
    value = f"if(typeof({sql}) rlike {_NESTED}, {nested}, cast({sql} as string))"
    return f"coalesce(cast(from_json(NULL, {schema}) as string), {value})"


def is_text(node: exp.Expr | None) -> bool:
    """Whether an expression is a string, as far as its own syntax says."""
    match node:
        case exp.Literal():
            return bool(node.is_string)
        case exp.Concat() | exp.DPipe():  # of arrays, too, but not beside a string
            operands = node.expressions if isinstance(node, exp.Concat) else list(node.flatten())
            return any(isinstance(one, exp.Literal) and one.is_string for one in operands)
        case exp.Cast():
            return bool(node.to.is_type("text"))
        case exp.Anonymous():
            return node.name.lower() in _OURS
    return isinstance(node, _TEXTS)


def filled(pieces: Sequence[Piece], values: Sequence[str], nulls: str = "empty") -> str:
    """The prompt of a template's pieces and the SQL of its values."""
    fields = [piece for piece in pieces if isinstance(piece, Field)]
    again = {field.index for field in fields if [one.index for one in fields].count(field.index) > 1}
    if any(not isinstance(tree(values[index]), (exp.Column, exp.Literal)) for index in again if index < len(values)):
        # A value that is not a column stands in the query once, so that it is computed once and is the same each time.
        named = ", ".join(f"'_{index}', {value}" for index, value in enumerate(values))
        body = _concat(pieces, [f"llm_argument._{index}" for index in range(len(values))], nulls)
        return f"transform(array(named_struct({named})), llm_argument -> {body})[0]"
    return _concat(pieces, values, nulls)


def _concat(pieces: Sequence[Piece], values: Sequence[str], nulls: str) -> str:
    parts = [text(piece) if isinstance(piece, str) else _field(piece, values, nulls) for piece in pieces]
    return f"concat({', '.join(parts or [text('')])})"


def _field(field: Field, values: Sequence[str], nulls: str) -> str:
    if field.index >= len(values):
        return text(field.default or "")
    value = as_text(values[field.index])
    if field.default is None and nulls == "skip":
        return value
    instead = field.default if field.default is not None else "NULL" if nulls == "null" else ""
    return f"coalesce({value}, {text(instead)})"


def listed(values: Sequence[str]) -> str:
    """The values as an array of texts."""
    return f"array({', '.join(map(as_text, values))})" if values else "cast(array() as array<string>)"
