"""The functions ai_* in a statement, written out as calls of models."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from sqlllm.errors import ModelError, ParseError, TableError, nearest
from sqlllm.udfs.ai import FUNCTIONS, Asked, Function

from . import calls, parsing, prompt_functions, prompts
from .calls import Call, Cut
from .indexes import SEARCHES

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql

    from .session import Session

_MODEL = ("model", "endpoint")  # parameters that name the model


def written_out(session: Session, sql: RenderedSql) -> RenderedSql:
    """`sql` with each call of an ai_* function replaced by calls of models, and what is said to models checked."""
    sql = prompts.checked(session, prompt_functions.written_out(session, sql))
    if "ai_answer" in sql.text.lower():  # it searches, and asks a model
        sql = _written(session, sql, ("ai_answer",))
    if any(name in sql.text.lower() for name in SEARCHES):
        from .indexes import asked

        sql = asked.written_out(session, sql)
    return _written(session, sql, FUNCTIONS) if "ai_" in sql.text.lower() else sql


def _written(session: Session, sql: RenderedSql, names: Container[str]) -> RenderedSql:
    """`sql` with each call of one of these functions replaced. Raises ParseError, TableError, ModelError."""

    def write(call: Call, cut: Cut) -> str:
        function = FUNCTIONS[call.name]
        try:
            arguments = _arguments(call, function, cut)
            if not function.asks:
                return parsing.WRITTEN[call.name](session, arguments)
            return function.write(Asked(_model(session, function, arguments)), arguments)
        except ValueError as error:
            place = sql.place_at(call.start, call.end)
            raise ParseError(str(error), cure=f"Write {_signature(call.name, function)}.", place=place) from None
        except (ModelError, TableError) as error:
            raise error.at(sql.place_at(call.start, call.end)) from None

    return calls.written_out(sql, names, write)


def _arguments(call: Call, function: Function, cut: Cut) -> dict[str, str]:
    """The SQL of each argument by its parameter; ValueError for an unknown, repeated or missing argument."""
    name, known = call.name, (*function.parameters, *function.named)
    arguments: dict[str, str] = {}
    for position, given in enumerate(call.arguments):
        if given.name:
            parameter = next((one for one in known if one.lower() == given.name.lower()), "")
            if not parameter:
                near = nearest(given.name, known)
                raise ValueError(f"{name} has no {given.name}" + (f"; did you mean {near}?" if near else ""))
        elif given.start == given.end:
            raise ValueError(f"an argument of {name} is empty")
        elif position >= len(function.parameters):
            raise ValueError(f"{name} takes {len(function.parameters)} arguments")
        else:
            parameter = function.parameters[position]
        if parameter in arguments or given.start == given.end:
            raise ValueError(f"{name} gets {parameter} {'twice' if given.end else 'without a value'}")
        if parameter in _MODEL and not given.is_text:
            raise ValueError(f"the model of {name} is a text in quotes: the query is planned by it")
        arguments[parameter] = cut(given.start, given.end)
    if missing := [one for one in function.parameters[: function.needed] if one not in arguments]:
        raise ValueError(f"{name} needs {missing[0]}")
    return arguments


def _model(session: Session, function: Function, arguments: dict[str, str]) -> str:
    """The model that is named, else the setting's, else the only one; ModelError if there is none."""
    name = next((arguments[key].strip()[1:-1] for key in _MODEL if key in arguments), "")
    return session.models.named(name, "embedding_model" if function.embeds else "model")


def _signature(name: str, function: Function) -> str:
    needed, more = function.parameters[: function.needed], (*function.parameters[function.needed :], *function.named)
    return f"{name}({', '.join(needed)}{''.join(f' [, {one} => ...]' for one in more)})"
