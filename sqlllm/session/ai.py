"""The functions ai_* in a statement, written out as calls of models."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from sqlllm.dialect.tokens import Kind, Token
from sqlllm.errors import ModelError, ParseError, nearest, suggest
from sqlllm.udfs.ai import FUNCTIONS, Asked, Function

from .functions import separators, tokens_of

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql

    from .session import Session

_MODEL = ("model", "endpoint")  # parameters that name the model


def written_out(session: Session, sql: RenderedSql) -> RenderedSql:
    """`sql` with each call of an ai_* function replaced by calls of models, the inner ones first."""
    while edit := _innermost(session, sql):
        sql = sql.spliced([edit])
    return sql


def _innermost(session: Session, sql: RenderedSql) -> tuple[int, int, str] | None:
    """The last call, inside which there is no other."""
    if "ai_" not in sql.text.lower():
        return None
    tokens = tokens_of(sql.text)
    for index in reversed(range(len(tokens) - 1)):
        name = tokens[index].text.lower()
        if tokens[index].kind is Kind.WORD and name in FUNCTIONS and tokens[index + 1].text == "(":
            if index and tokens[index - 1].text.lower() in (".", "function"):
                continue
            return _written(session, sql, tokens, index)
    return None


def _written(session: Session, sql: RenderedSql, tokens: list[Token], index: int) -> tuple[int, int, str] | None:
    name, function = tokens[index].text.lower(), FUNCTIONS[tokens[index].text.lower()]
    commas, end = separators(tokens, index + 1)
    if end is None:  # Spark says where the bracket is missing
        return None
    place = sql.place_at(tokens[index].start, end.end)
    ends = [tokens[index + 1], *commas, end]
    between = [[token for token in tokens if one.end <= token.start < two.start] for one, two in pairwise(ends)]
    try:
        arguments = _arguments(name, function, sql.text, between if between != [[]] else [])
        model = _model(session, function, arguments)
        text = function.write(Asked(model, session.models[model.lower()].constrains), arguments)
    except ValueError as error:
        raise ParseError(str(error), cure=f"Write {_signature(name, function)}.", place=place) from None
    except ModelError as error:
        raise error.at(place) from None
    return tokens[index].start, end.end, text


def _arguments(name: str, function: Function, text: str, given: list[list[Token]]) -> dict[str, str]:
    """The SQL of each argument by its parameter; ValueError for one that is unknown, double or missing."""
    known = (*function.parameters, *function.named)
    arguments: dict[str, str] = {}
    for position, tokens in enumerate(given):
        named = len(tokens) > 2 and tokens[0].kind is Kind.WORD and [one.text for one in tokens[1:3]] == ["=", ">"]
        if not tokens:
            raise ValueError(f"an argument of {name} is empty")
        if named:
            parameter = next((one for one in known if one.lower() == tokens[0].text.lower()), "")
            if not parameter:
                near = nearest(tokens[0].text, known)
                raise ValueError(f"{name} has no {tokens[0].text}" + (f"; did you mean {near}?" if near else ""))
            tokens = tokens[3:]
        elif position >= len(function.parameters):
            raise ValueError(f"{name} takes {len(function.parameters)} arguments")
        else:
            parameter = function.parameters[position]
        if parameter in arguments or not tokens:
            raise ValueError(f"{name} gets {parameter} {'twice' if tokens else 'without a value'}")
        is_text = len(tokens) == 1 and tokens[0].kind is Kind.STRING
        if parameter in _MODEL and not is_text:
            raise ValueError(f"the model of {name} is a text in quotes: the query is planned by it")
        arguments[parameter] = text[tokens[0].start : tokens[-1].end]
    if missing := [one for one in function.parameters[: function.needed] if one not in arguments]:
        raise ValueError(f"{name} needs {missing[0]}")
    return arguments


def _model(session: Session, function: Function, arguments: dict[str, str]) -> str:
    """The model that is named, else the setting's, else the only one; ModelError if there is none."""
    setting = "embedding_model" if function.embeds else "model"
    settings = session.settings.llm
    name = next((arguments[key].strip()[1:-1] for key in _MODEL if key in arguments), "") or getattr(settings, setting)
    models = sorted(session.models)
    if not name and len(models) == 1:
        return models[0]
    if not name:
        cure = f'Write model => "...", or set llm.{setting} = "...";'
        raise ModelError("which model is meant?" if models else "no model is deployed", cure=cure)
    model = session.models.find(name)
    if model is None:
        cure = suggest(name, models, what="models") if models else "Deploy it first."
        raise ModelError(f"there is no model {name}", cure=cure)
    return model.name


def _signature(name: str, function: Function) -> str:
    needed, more = function.parameters[: function.needed], (*function.parameters[function.needed :], *function.named)
    return f"{name}({', '.join(needed)}{''.join(f' [, {one} => ...]' for one in more)})"
