"""The llm_* functions written out in a query, for the places where Spark takes no SQL function.

These are a function whose argument holds a lambda, as llm_prompt does inside llm_param, and `order by llm_result(q)`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlllm.dialect.tokens import Kind, Token
from sqlllm.udfs.functions import FUNCTIONS, prompt_body

from .calls import tokens_of

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql

REFUSED = frozenset({"UNSUPPORTED_FEATURE.LAMBDA_FUNCTION_WITH_SQL_UDF", "UNSUPPORTED_SQL_UDF_USAGE"})
"""Spark's conditions for a SQL function where it takes none."""


def written_out(sql: RenderedSql) -> RenderedSql:
    """`sql` with each call of an llm_* function replaced by what the function does; each argument stands there once."""
    tokens = tokens_of(sql.text)
    edits: list[tuple[int, int, str]] = []
    for index, (name, bracket) in enumerate(pairwise(tokens)):
        if name.kind is Kind.WORD and name.text.lower() in FUNCTIONS and bracket.text == "(":
            edits += _call(tokens, index)
    return sql.spliced(sorted(edits))


def prompt(template: str, array: str, nulls: str) -> str:
    """llm_prompt of a template that is not known when a query is planned, for the SQL of an array of texts."""
    body = re.sub(r"\b(tpl|args)\b", r"llm_argument.\1", prompt_body(nulls))
    bound = f"named_struct('tpl', cast({template} as string), 'args', cast({array} as array<string>))"
    return f"transform(array({bound}), llm_argument -> {body})[0]"


def _call(tokens: list[Token], index: int) -> list[tuple[int, int, str]]:
    """The edits around the arguments of one call; none if their number is wrong, which Spark then says."""
    parameters, _, body, _ = FUNCTIONS[tokens[index].text.lower()]
    names, types = zip(*(parameter.split(" ", 1) for parameter in re.split(r", (?=\w+ )", parameters)), strict=True)
    commas, end = separators(tokens, index + 1)
    if end is None or end is tokens[index + 2] or len(commas) + 1 != len(names):
        return []
    opened = f"transform(array(named_struct('{names[0]}', cast("
    edits = [(tokens[index].start, tokens[index + 1].end, opened)]
    for comma, before, name in zip(commas, types[:-1], names[1:], strict=True):
        edits.append((comma.start, comma.end, f" as {before}), '{name}', cast("))
    body = re.sub(rf"\b({'|'.join(names)})\b", r"llm_argument.\1", body)
    edits.append((end.start, end.end, f" as {types[-1]}))), llm_argument -> {body})[0]"))
    return edits


def separators(tokens: list[Token], opening: int) -> tuple[list[Token], Token | None]:
    """The commas between the arguments of the bracket at `opening`, and the bracket that closes it."""
    depth, commas = 0, list[Token]()
    for token in tokens[opening:]:
        if token.kind is Kind.SYMBOL:
            depth += (token.text in "([{") - (token.text in ")]}")
            if depth == 0:
                return commas, token
            if depth == 1 and token.text == ",":
                commas.append(token)
    return commas, None
