"""Tools: Python functions that a model may call, described to it by their signature and docstring."""

from __future__ import annotations

import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlllm.errors import OptionError, suggest

from .hints import resolve
from .replies import ToolCall
from .typed import adapted, closed

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SECTION = re.compile(
    r"^[ \t]*(args|arguments|parameters|params|参数)\s*[:\uff1a]?[ \t]*(\n[ \t]*-{3,})?$", re.I | re.M
)
_OTHER = re.compile(r"^[ \t]*(returns?|raises?|yields?|examples?|notes?|返回|返回值)\s*[:\uff1a]", re.I | re.M)
_ENTRY = re.compile(r"^[ \t]*[*`]*(\w+)[*`]*[ \t]*(?:\([^)]*\))?[ \t]*[:\uff1a][ \t]*(\S.*)$", re.M)
_SPHINX = re.compile(r"^[ \t]*:param\s+(?:[\w\[\], .]+\s+)?(\w+)\s*:[ \t]*(.*)$", re.M)


class Tool:
    """A function as a model sees it: `Tool(function)`; `name` and `description` replace its own.

    A parameter is described by its annotation: `Annotated[int, "days", {"enum": [1, 7]}]`, or in the docstring.
    Raises: OptionError for a signature that cannot be described.
    """

    def __init__(self, function: Callable[..., Any], *, name: str = "", description: str = "") -> None:
        self.function = function
        base = _base(function)
        self.name = name or getattr(base, "__name__", type(function).__name__)
        if not _NAME.fullmatch(self.name):
            raise OptionError(
                f"{self.name} is not a valid name of a tool",
                cure='Use letters, digits, "_" and "-": Tool(function, name="look_up").',
            )
        doc = inspect.getdoc(base) or ""
        self.description = description or _SPHINX.sub("", doc).strip()
        self._signature = inspect.signature(function)
        self._fields: dict[str, str] = {}  # field of the model by parameter
        self._model = self._arguments_model(base, _documented(doc))
        self.parameters: dict[str, Any] = closed(self._model.model_json_schema(by_alias=True))
        self.parameters.pop("description", None)
        self.parameters.setdefault("properties", {})

    def to_dict(self) -> dict[str, Any]:
        """The tool in OpenAI's shape."""
        described = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": described}

    def bind(self, arguments: str) -> Callable[[], Any]:
        """The call with arguments as a model wrote them. Raises: ValueError with what is wrong."""
        from pydantic import ValidationError

        try:
            given = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the arguments are not valid JSON: {error}") from None
        if not isinstance(given, dict):
            raise ValueError(f"the arguments are not a JSON object: {arguments[:100]}")
        try:
            checked = self._model.model_validate(given)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
            raise ValueError(f"wrong arguments: {told}") from None
        positional, named = [], {}
        for name, field in self._fields.items():
            if self._signature.parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(getattr(checked, field))
            elif field in checked.model_fields_set:
                named[name] = getattr(checked, field)
        return functools.partial(self.function, *positional, **named)

    def _arguments_model(self, base: Any, documented: Mapping[str, str]) -> Any:
        from pydantic import ConfigDict, Field, create_model
        from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

        hints = resolve(base, f"the tool {self.name}")
        fields: dict[str, Any] = {}
        for index, parameter in enumerate(self._signature.parameters.values()):
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise OptionError(
                    f"the tool {self.name} takes *{parameter.name}", cure="Take a list instead: `items: list[str]`."
                )
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            kind, described, extra = _annotation(hints.get(parameter.name, Any))
            default = ... if parameter.default is parameter.empty else parameter.default
            self._fields[parameter.name] = f"p{index}"
            fields[f"p{index}"] = (
                adapted(kind),
                Field(
                    default,
                    alias=parameter.name,
                    description=described or documented.get(parameter.name),
                    json_schema_extra=extra or None,
                ),
            )
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        try:
            return create_model(self.name, __config__=config, **fields)
        except (PydanticUserError, PydanticUndefinedAnnotation, TypeError) as error:
            raise OptionError(
                f"the tool {self.name} cannot be described: {str(error).splitlines()[0]}",
                cure="Annotate its parameters with JSON's types, dataclasses or pydantic classes.",
            ) from None


@dataclass(frozen=True)
class Outcome:
    """The result of a call: what the tool returned, or the error; `text` is what the model gets."""

    call: ToolCall
    value: Any = None
    error: BaseException | None = None
    text: str = ""

    def message(self) -> dict[str, Any]:
        """The message that takes it to the model."""
        return {"role": "tool", "tool_call_id": self.call.id, "name": self.call.name, "content": self.text}


class Tools:
    """The tools of a call: functions, `Tool`s, and descriptions in OpenAI's shape, which only the caller can run."""

    def __init__(self, tools: Iterable[Any] = ()) -> None:
        self.by_name: dict[str, Tool | None] = {}
        self.described: list[dict[str, Any]] = []
        for given in tools:
            if isinstance(given, Mapping):
                name = given.get("function", {}).get("name", "")
                made = None
                self.described.append(dict(given))
            elif callable(given) or isinstance(given, Tool):
                made = given if isinstance(given, Tool) else Tool(given)
                name = made.name
                self.described.append(made.to_dict())
            else:
                raise OptionError(
                    f"a {type(given).__name__} is not a valid tool", cure="Give functions: tools=[look_up]."
                )
            if name in self.by_name:
                raise OptionError(f"two tools have the name {name}", cure="Rename one: Tool(function, name=...).")
            self.by_name[name] = made

    def __bool__(self) -> bool:
        return bool(self.described)

    @property
    def runs(self) -> bool:
        """Whether every tool can be run here."""
        return bool(self.by_name) and all(self.by_name.values())

    def bound(self, calls: Sequence[ToolCall]) -> list[Callable[[], Any]]:
        """The calls, ready to be made; one that cannot be made raises why."""
        return [self._bound(call) for call in calls]

    def _bound(self, call: ToolCall) -> Callable[[], Any]:
        tool = self.by_name.get(call.name)
        if tool is None:
            cure = suggest(call.name, [name for name in self.by_name if name], what="tools")
            return functools.partial(_raise, ValueError(f"there is no tool {call.name}. {cure}"))
        try:
            return tool.bind(call.arguments)
        except ValueError as error:
            return functools.partial(_raise, error)


def outcome(call: ToolCall, returned: Any) -> Outcome:
    """The result of a call that returned a value or an exception."""
    if isinstance(returned, BaseException):
        words = str(returned) if type(returned) is ValueError else f"{type(returned).__name__}: {returned}"
        return Outcome(call, None, returned, f"error: {words}")
    try:
        return Outcome(call, returned, None, to_text(returned))
    except (ValueError, TypeError) as error:
        return Outcome(call, returned, error, f"error: {error}")


def to_text(value: Any) -> str:
    """A value as a model reads it: text as it is, all else as JSON. Raises: ValueError if it is not JSON."""
    if isinstance(value, str):
        return value
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(value, inf_nan_mode="strings").decode()
    except (PydanticSerializationError, UnicodeDecodeError):
        raise ValueError(f"the tool returned a {type(value).__name__}, which is not JSON") from None


def _raise(error: BaseException) -> typing.NoReturn:
    raise error


def _base(function: Any) -> Any:
    """What carries the annotations."""
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function).__call__
    return inspect.unwrap(function)


def _annotation(hint: Any) -> tuple[Any, str | None, dict[str, Any]]:
    """The type, the meaning and more of the schema in `Annotated[type, "meaning", {"enum": [...]}]`."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, None, {}
    kind, *marks = typing.get_args(hint)
    meaning = next((mark for mark in marks if isinstance(mark, str)), None)
    extra: dict[str, Any] = {}
    others = []
    for mark in marks:
        if isinstance(mark, dict):
            extra |= mark
        elif not isinstance(mark, str):
            others.append(mark)
    if "enum" in extra and kind in (str, int, float, bool):
        kind = typing.Literal[tuple(extra.pop("enum"))]
    for mark in others:
        kind = typing.Annotated[kind, mark]
    return kind, meaning, extra


def _documented(doc: str) -> dict[str, str]:
    """Descriptions of parameters in a docstring: an `Args:` section, or `:param name: ...`."""
    found = dict(_SPHINX.findall(doc))
    if section := _SECTION.search(doc):
        rest = doc[section.end() :]
        end = _OTHER.search(rest)
        found |= dict(_ENTRY.findall(rest[: end.start()] if end else rest))
    return found
