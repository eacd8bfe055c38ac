"""A decorated Python function as a function of SQL: its parameters, its type and its settings as those of a prompt."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import dis
import enum
import inspect
import json
import types
import typing
from typing import TYPE_CHECKING, Any

from sqlllm.client import Prompt
from sqlllm.client.media import Media
from sqlllm.errors import OptionError

from . import prompt_functions, queries
from .prompt_functions import PromptFunction
from .tables import identifier

if TYPE_CHECKING:
    from .session import Session

_ATOMS: dict[Any, str] = {
    str: "string", int: "bigint", float: "double", bool: "boolean", decimal.Decimal: "decimal(38,18)",
    datetime.date: "date", datetime.datetime: "timestamp",
}  # fmt: skip
# Settings of a prompt that shape a conversation in Python, and how each is made.
_IN_PYTHON = {
    "_extractor": "with_extractor", "_history": "with_conversation", "_long": "with_response_markers",
    "_meta": "with_meta", "_tools": "with_tools",
}  # fmt: skip


def register(
    session: Session, prompt: Prompt[Any, Any], name: str = "", *, model: str = "", version: str = ""
) -> PromptFunction:
    """Make a function decorated by `sqlllm.prompt` a function of SQL.

    Its template is filled by SQL where it holds `{{ name }}` alone and the body is empty, else by Python in Spark's
    workers. Raises: OptionError for a prompt whose settings, parameters or type SQL does not have.
    """
    if not isinstance(prompt, Prompt):
        raise OptionError(
            f"{getattr(prompt, '__name__', prompt)!s} is not a prompt",
            cure="Decorate the function with @sqlllm.prompt; its docstring is the template.",
        )
    name = name or prompt.__qualname__.rpartition(".")[2]
    for setting, method in _IN_PYTHON.items():
        if getattr(prompt, setting):
            raise OptionError(
                f"the prompt {name} was changed by {method}, which a function of SQL does not have",
                cure="Register the prompt without it, and call the other one in Python.",
            )
    prompt_functions.check_name(name)
    parameters = _parameters(prompt, name)
    try:
        returns, labels = _returns(prompt, name)
    except NameError as error:
        raise OptionError(f"the type of the prompt {name} holds {error.name}, which is not defined") from None
    made = PromptFunction(
        name=name,
        template=prompt._template,
        parameters=parameters,
        model=model or _model(prompt),
        returns=prompt_functions.checked_type(returns),
        labels=tuple(labels),
        options={key: _text(value) for key, value in prompt._params.items()},
        version=version,
    )
    if not prompt._simple and _is_empty(prompt._function):
        try:
            request, named = prompt_functions.plain(prompt._template, name)
        except OptionError:
            pass  # a template with more of Jinja2 than names
        else:
            if set(named) == set(parameters):
                return session.prompts.add(dataclasses.replace(made, request=request))
    made = session.prompts.add(dataclasses.replace(made, renderer="in Python"))
    renderer = f"prompt_{name}_{made.version}"
    in_python = prompt._with(_llm=None)
    with queries.errors_at(None):
        session.spark.udf.register(renderer, lambda *row: None if None in row else in_python.prompt(*row), "string")
    return session.prompts.renew(dataclasses.replace(made, renderer=identifier(renderer)))


def _parameters(prompt: Prompt[Any, Any], name: str) -> tuple[str, ...]:
    hints = prompt._hints or {}
    for parameter in prompt._signature.parameters.values():
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD) or (
            parameter.name == "self"
        ):
            shown = parameter.replace(annotation=parameter.empty)
            raise OptionError(
                f"the prompt {name} has the parameter {shown}, which a function of SQL cannot have",
                cure="Register a function whose parameters each have a name.",
            )
        hint = hints.get(parameter.name)
        if isinstance(hint, type) and issubclass(hint, Media):
            raise OptionError(
                f"the parameter {parameter.name} of the prompt {name} is an {hint.__name__}",
                cure='Send an image from SQL by llm_param(map("instruction", ..., "image", column)).',
            )
    return tuple(prompt._signature.parameters)


def _returns(prompt: Prompt[Any, Any], name: str) -> tuple[str, list[str]]:
    """The type of Spark, and the values of a Literal or an Enum as labels."""
    kind = prompt._kind()
    if labels := _labels(kind):
        return "", labels
    if kind in (None, type(None), str) or typing.get_origin(kind) is collections.abc.Iterator:
        return "", []
    found = data_type(kind)
    if not found:
        raise OptionError(
            f"the prompt {name} returns {kind}, which is not a type of Spark",
            cure="Return str, a number, a list, a dict, a Literal, a dataclass, a TypedDict or a pydantic class.",
        )
    return found, []


def data_type(kind: Any) -> str:
    """A Python type as Spark's; empty if Spark has none."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return data_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        given = [one for one in arguments if one is not type(None)]
        return data_type(given[0]) if len(given) == 1 else ""
    if kind in _ATOMS:
        return _ATOMS[kind]
    if _labels(kind):
        return "string"
    if origin in (list, set, tuple) and arguments and (inner := data_type(arguments[0])):
        return f"array<{inner}>" if origin is not tuple or arguments[1:] == (...,) else ""
    if origin is dict and arguments[0] is str and (inner := data_type(arguments[1])):
        return f"map<string,{inner}>"
    fields = _fields(kind)
    found = {name: data_type(hint) for name, hint in fields.items()}
    return (
        f"struct<{','.join(f'{name}:{one}' for name, one in found.items())}>" if all(found.values()) and found else ""
    )


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass, a TypedDict or a pydantic class; none of another type."""
    if not isinstance(kind, type):
        return {}
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind) or hasattr(kind, "model_fields"):
        hints = typing.get_type_hints(kind, include_extras=True)
        known = getattr(kind, "model_fields", hints)
        return {name: hint for name, hint in hints.items() if name in known}
    return {}


def _labels(kind: Any) -> list[str]:
    """The values of a Literal or an Enum of texts."""
    values: list[Any] = []
    if typing.get_origin(kind) is typing.Literal:
        values = list(typing.get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = [member.value for member in kind]
    return values if values and all(isinstance(value, str) for value in values) else []


def _model(prompt: Prompt[Any, Any]) -> str:
    """The name of the prompt's model; empty if it has none, and SQL asks that of llm.model."""
    if prompt._llm is None:
        return ""
    return prompt._llm if isinstance(prompt._llm, str) else prompt._model().model


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_empty(function: Any) -> bool:
    """Whether a function's body is its docstring alone, `pass` or `...`: it returns None at once."""
    work = [one.opname for one in dis.get_instructions(function) if one.opname not in ("RESUME", "NOP", "CACHE")]
    return not inspect.iscoroutinefunction(function) and work in (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"])
